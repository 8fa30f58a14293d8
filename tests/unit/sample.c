/* SPDX-License-Identifier: MIT */
/* sample.c - see sample.h. The layout: header, refcount table and block (left empty: reading never
 * looks at refcounts), L1, L2 tables, then data in the order of the clusters. */
#include "unit.h"

#include "sample.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>
#include <zstd.h>

#define COPIED     (UINT64_C(1) << 63)
#define COMPRESSED (UINT64_C(1) << 62)

void sample_store(void *to, uint64_t value, unsigned bytes)
{
    unsigned char *b = to;

    while (bytes-- > 0) {
        b[bytes] = (unsigned char)value;
        value >>= 8;
    }
}

static void must(bool good)
{
    if (!good) {
        abort();
    }
}

/* Half noise, half repetition, so that it compresses, but not to nothing. */
static void fill_cluster(unsigned char *to, uint64_t bytes, uint64_t number)
{
    uint64_t state = number * UINT64_C(0x9E3779B97F4A7C15) + 1;

    for (uint64_t i = 0; i < bytes; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        to[i] = (i & 64) != 0 ? (unsigned char)(state >> 56) : (unsigned char)(number + 1);
    }
}

static size_t compress_cluster(int compression, unsigned char *to, size_t room,
                               const unsigned char *from, size_t bytes)
{
    z_stream stream = { 0 };
    size_t made;

    if (compression == QCOW2_COMPRESSION_ZSTD) {
        made = ZSTD_compress(to, room, from, bytes, 3);
        must(!ZSTD_isError(made));
        return made;
    }
    must(deflateInit2(&stream, 6, Z_DEFLATED, -12, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    stream.next_in = (unsigned char *)(uintptr_t)from;
    stream.avail_in = (uInt)bytes;
    stream.next_out = to;
    stream.avail_out = (uInt)room;
    must(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    made = stream.total_out;
    deflateEnd(&stream);
    return made;
}

/* To a multiple of unit, a power of two. */
static uint64_t round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) & ~(unit - 1);
}

static void write_header(struct sample *s, unsigned cluster_bits, int compression,
                         uint32_t l1_entries, uint64_t l1_off)
{
    unsigned char *h = s->file;

    sample_store(h, 0x514649FB, 4);
    sample_store(h + 4, 3, 4);
    sample_store(h + 20, cluster_bits, 4);
    sample_store(h + 24, s->size, 8);
    sample_store(h + 36, l1_entries, 4);
    sample_store(h + 40, l1_off, 8);
    sample_store(h + 48, s->cluster_bytes, 8); /* refcount table */
    sample_store(h + 56, 1, 4);
    sample_store(h + 72, compression == QCOW2_COMPRESSION_ZSTD ? 8 : 0, 8);
    sample_store(h + 96, 4, 4);
    sample_store(h + 100, 112, 4);
    sample_store(h + 104, (uint64_t)compression, 1);
}

/* Puts cluster i down at *next, if there is something to put; returns its L2 entry. */
static uint64_t place(struct sample *s, unsigned cluster_bits, int compression, char kind,
                      const unsigned char *content, uint64_t *next)
{
    uint64_t at, sectors;
    size_t made;

    switch (kind) {
    case 'Z':
        return 1;
    case 'D':
        at = round_up(*next, s->cluster_bytes);
        memcpy(s->file + at, content, (size_t)s->cluster_bytes);
        *next = at + s->cluster_bytes;
        break;
    case 'C':
        at = *next;
        made = compress_cluster(compression, s->file + at, (size_t)(s->file_bytes - at), content,
                                (size_t)s->cluster_bytes);
        *next = at + made;
        sectors = (at % 512 + made - 1) / 512;
        break;
    default:
        return 0;
    }
    if (s->data_off == 0) {
        s->data_off = at;
    }
    return kind == 'D' ? at | COPIED : COMPRESSED | sectors << (70 - cluster_bits) | at;
}

void sample_init(struct sample *s, unsigned cluster_bits, int compression, const char *layout,
                 uint64_t cut_bytes)
{
    uint64_t clusters = strlen(layout), per_table, l1_entries, l1_off, l2_off, next;
    unsigned char *content;

    memset(s, 0, sizeof *s);
    s->cluster_bytes = UINT64_C(1) << cluster_bits;
    s->size = clusters * s->cluster_bytes - cut_bytes;
    per_table = s->cluster_bytes / 8;
    l1_entries = (clusters + per_table - 1) / per_table;
    l1_off = 3 * s->cluster_bytes;
    l2_off = l1_off + round_up(l1_entries * 8, s->cluster_bytes);
    next = l2_off + l1_entries * s->cluster_bytes;
    s->file_bytes = (size_t)(next + (2 * clusters + 2) * s->cluster_bytes);
    s->file = calloc(1, s->file_bytes);
    s->disk = calloc(1, (size_t)(clusters * s->cluster_bytes) + 1);
    content = malloc((size_t)s->cluster_bytes);
    must(s->file != NULL && s->disk != NULL && content != NULL);

    for (uint64_t i = 0; i < l1_entries; i++) {
        sample_store(s->file + l1_off + i * 8, (l2_off + i * s->cluster_bytes) | COPIED, 8);
    }
    for (uint64_t i = 0; i < clusters; i++) {
        uint64_t entry;

        fill_cluster(content, s->cluster_bytes, i);
        entry = place(s, cluster_bits, compression, layout[i], content, &next);
        sample_store(s->file + l2_off + i * 8, entry, 8);
        if (layout[i] == 'D' || layout[i] == 'C') {
            memcpy(s->disk + i * s->cluster_bytes, content, (size_t)s->cluster_bytes);
        }
    }
    write_header(s, cluster_bits, compression, (uint32_t)l1_entries, l1_off);
    s->file_bytes = (size_t)round_up(next, s->cluster_bytes);
    free(content);
}

void sample_deinit(struct sample *s)
{
    free(s->file);
    free(s->disk);
    memset(s, 0, sizeof *s);
}

static int source_read_at(void *ctx, void *buf, size_t count, uint64_t offset)
{
    struct sample_source *source = ctx;
    unsigned number = atomic_fetch_add(&source->reads, 1) + 1;

    if (count == 0 || offset > source->size_told || count > source->size_told - offset) {
        atomic_store(&source->strayed, true);
    }
    if (source->fail_from != 0 && number >= source->fail_from &&
        number - source->fail_from < source->fail_count) {
        /* What a failing source leaves behind is rubbish. */
        memset(buf, 0xEE, count);
        return ETIMEDOUT;
    }
    if (offset > source->count || count > source->count - offset) {
        return EIO;
    }
    memcpy(buf, source->bytes + offset, count);
    return 0;
}

static int source_get_size(void *ctx, uint64_t *bytes_ret)
{
    struct sample_source *source = ctx;

    if (source->size_errno != 0) {
        return source->size_errno;
    }
    *bytes_ret = source->size_told;
    return 0;
}

static void source_close(void *ctx)
{
    struct sample_source *source = ctx;

    atomic_fetch_add(&source->closes, 1);
}

void sample_source_init(struct sample_source *source, const void *bytes, size_t count)
{
    memset(source, 0, sizeof *source);
    source->bytes = bytes;
    source->count = count;
    source->size_told = count;
    source->source = (struct qcow2_source){
        .size = sizeof source->source,
        .ctx = source,
        .name = "sample",
        .read_at = source_read_at,
        .get_size = source_get_size,
        .close = source_close,
    };
}

struct qcow2_image *sample_open(struct sample_source *source, const struct sample *sample,
                                const struct qcow2_options *options)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_image *image = NULL;

    sample_source_init(source, sample->file, sample->file_bytes);
    if (qcow2_open_source(&source->source, options, &image, &err) != 0) {
        fail_msg("open: %s", err.message);
    }
    assert_non_null(image);
    return image;
}

void sample_check_read(struct qcow2_image *image, const struct sample *sample, uint64_t offset,
                       size_t count)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    uint64_t expected = offset < sample->size ? sample->size - offset : 0;
    unsigned char *buf = malloc(count + 1);
    ssize_t got;

    must(buf != NULL);
    expected = count < expected ? count : expected;
    buf[expected] = 0x77;
    got = qcow2_pread(image, buf, count, offset, &err);
    if (got < 0) {
        fail_msg("read of %zu bytes at %llu: %s", count, (unsigned long long)offset, err.message);
    }
    assert_int_equal((uint64_t)got, expected);
    if (expected > 0) {
        assert_memory_equal(buf, sample->disk + offset, (size_t)expected);
    }
    assert_int_equal(buf[expected], 0x77);
    free(buf);
}
