/* SPDX-License-Identifier: MIT */
/* disk.c - small qcow2 images built in memory, and sources that misbehave on request.
 * Writes the format field by field, on its own; knows the public header and nothing inside. */
#include "disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(99); /* a broken test, not a skipped one */
}

static void *allocate(size_t bytes)
{
    void *memory = calloc(1, bytes > 0 ? bytes : 1);

    if (memory == NULL) {
        give_up("no memory for the test");
    }
    return memory;
}

static void put32(unsigned char *p, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (unsigned char)(value >> (24 - 8 * i));
    }
}

static void put64(unsigned char *p, uint64_t value)
{
    put32(p, (uint32_t)(value >> 32));
    put32(p + 4, (uint32_t)value);
}

/* Different for every cluster, easy to compress, with zeros in the middle: 8 KiB of them where the
 * cluster has room, and a few bytes that are not a block. */
static void fill_cluster(unsigned char *p, size_t bytes, uint64_t index)
{
    for (size_t i = 0; i < bytes; i++) {
        p[i] = (unsigned char)(1 + (index * 7 + i / 61) % 251);
    }
    if (bytes >= 32768) {
        memset(p + 16384, 0, 8192);
    }
    memset(p + bytes / 4, 0, 100);
}

/* Raw deflate with the window of 4 KiB that the format prescribes. */
static size_t pack(const unsigned char *plain, size_t bytes, unsigned char *out, size_t room)
{
    z_stream stream = { 0 };
    size_t packed;

    if (deflateInit2(&stream, 6, Z_DEFLATED, -12, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        give_up("deflateInit2 failed");
    }
    stream.next_in = (Bytef *)(uintptr_t)plain;
    stream.avail_in = (uInt)bytes;
    stream.next_out = out;
    stream.avail_out = (uInt)room;
    if (deflate(&stream, Z_FINISH) != Z_STREAM_END) {
        give_up("a cluster did not get smaller");
    }
    packed = room - stream.avail_out;
    deflateEnd(&stream);
    return packed;
}

enum disk_cluster disk_mixed(uint64_t index)
{
    static const enum disk_cluster pattern[] = {
        DISK_DATA,   DISK_DATA,   DISK_PACKED, DISK_PACKED, DISK_PACKED,  DISK_HOLE,   DISK_DATA,
        DISK_ZERO,   DISK_PACKED, DISK_HOLE,   DISK_HOLE,   DISK_NOTHING, DISK_DATA,   DISK_DATA,
        DISK_PACKED, DISK_PACKED, DISK_PACKED, DISK_PACKED, DISK_PACKED,  DISK_PACKED, DISK_ZERO
    };

    return pattern[index % (sizeof pattern / sizeof pattern[0])];
}

struct writer {
    struct disk *disk;
    size_t cluster;
    size_t used; /* of the file; the rest is room */
};

static size_t append(struct writer *writer, size_t bytes)
{
    size_t at = writer->used;

    writer->used += bytes;
    return at;
}

static uint64_t add_cluster(struct writer *writer, uint64_t index, enum disk_cluster kind)
{
    struct disk *disk = writer->disk;
    unsigned char *content = disk->content + index * writer->cluster;
    unsigned shift = 62 - (disk->cluster_bits - 8);
    size_t at, packed, sectors;

    switch (kind) {
    case DISK_HOLE:
        return 0;
    case DISK_ZERO:
        return 1;
    case DISK_DATA:
    case DISK_NOTHING:
        if (kind == DISK_DATA) {
            fill_cluster(content, writer->cluster, index);
        }
        at = append(writer, writer->cluster);
        memcpy(disk->file + at, content, writer->cluster);
        disk->host_off[index] = at;
        return at | UINT64_C(1) << 63;
    case DISK_PACKED:
        break;
    }
    fill_cluster(content, writer->cluster, index);
    at = append(writer, writer->cluster);
    packed = pack(content, writer->cluster, disk->file + at, writer->cluster);
    disk->host_off[index] = at;
    sectors = (packed + 511) / 512 - 1;
    return at | (uint64_t)sectors << shift | UINT64_C(1) << 62;
}

static void add_clusters(struct writer *writer, disk_layout *layout, size_t l1_at)
{
    struct disk *disk = writer->disk;
    uint64_t entries = writer->cluster / 8;
    uint64_t count = (disk->size + writer->cluster - 1) / writer->cluster;
    size_t l2_at = 0;

    for (uint64_t index = 0; index < count; index++) {
        if (index % entries == 0) {
            l2_at = append(writer, writer->cluster);
            put64(disk->file + l1_at + index / entries * 8, l2_at | UINT64_C(1) << 63);
        }
        put64(disk->file + l2_at + index % entries * 8, add_cluster(writer, index, layout(index)));
    }
}

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

void disk_build(struct disk *disk, unsigned cluster_bits, uint64_t size, disk_layout *layout)
{
    struct writer writer = { .disk = disk, .cluster = (size_t)1 << cluster_bits };
    uint64_t table_covers = (uint64_t)writer.cluster * (writer.cluster / 8);
    uint64_t l1_entries = size / table_covers + (size % table_covers != 0);
    uint64_t clusters = layout != NULL ? round_up(size, writer.cluster) / writer.cluster : 0;
    size_t l1_at, l1_bytes, room;

    memset(disk, 0, sizeof *disk);
    disk->cluster_bits = cluster_bits;
    disk->size = size;
    /* Header and refcount table, L1, and with a layout its L2 tables and clusters. */
    l1_bytes = (size_t)round_up(l1_entries * 8 + 8, writer.cluster);
    room = 2 * writer.cluster + l1_bytes;
    if (layout != NULL) {
        room += (size_t)(l1_entries + clusters) * writer.cluster;
        disk->content = allocate((size_t)clusters * writer.cluster);
        disk->host_off = allocate((size_t)clusters * sizeof *disk->host_off);
    }
    disk->file = allocate(room);
    append(&writer, 2 * writer.cluster);
    l1_at = append(&writer, l1_bytes);

    put32(disk->file, 0x514649fb);
    put32(disk->file + 4, 3);
    put32(disk->file + 20, cluster_bits);
    put64(disk->file + 24, size);
    put32(disk->file + 36, (uint32_t)l1_entries);
    put64(disk->file + 40, l1_at);
    put64(disk->file + 48, writer.cluster); /* refcount table: empty, readers have no use for it */
    put32(disk->file + 56, 1);
    put32(disk->file + 96, 4);
    put32(disk->file + 100, 104);
    if (layout != NULL) {
        add_clusters(&writer, layout, l1_at);
    }
    disk->file_bytes = writer.used;
}

void disk_free(struct disk *disk)
{
    free(disk->file);
    free(disk->content);
    free(disk->host_off);
}

static bool touches(uint64_t from, uint64_t bytes, uint64_t offset, size_t count)
{
    return bytes > 0 && offset < from + bytes && offset + count > from;
}

static int read_memory(void *ctx, void *buf, size_t count, uint64_t offset)
{
    struct disk_source *source = ctx;
    const struct disk *disk = source->disk;
    uint64_t bad_bytes = source->bad_to - source->bad_from;
    unsigned number = atomic_fetch_add(&source->reads, 1);

    if (source->dawdle) {
        struct timespec pause = { 0, (long)(number * 7919 % 13) * 100000 };

        nanosleep(&pause, NULL);
    }
    if (touches(source->bad_from, bad_bytes, offset, count) ||
        (source->also_bad_from > 0 && touches(source->also_bad_from, bad_bytes, offset, count))) {
        return source->bad_errno;
    }
    if (offset > disk->file_bytes || count > disk->file_bytes - offset) {
        return EIO;
    }
    memcpy(buf, disk->file + offset, count);
    return 0;
}

static int get_size(void *ctx, uint64_t *bytes_ret)
{
    const struct disk_source *source = ctx;

    *bytes_ret = source->disk->file_bytes;
    return 0;
}

struct qcow2_image *disk_open(const struct disk *disk, struct disk_source *source)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_source given = { .size = sizeof given,
                                  .ctx = source,
                                  .name = "test disk",
                                  .read_at = read_memory,
                                  .get_size = get_size };
    struct qcow2_image *image;

    source->disk = disk;
    atomic_init(&source->reads, 0);
    if (qcow2_open_source(&given, NULL, &image, &err) < 0) {
        give_up(err.message);
    }
    return image;
}

int disk_temporary_file(void)
{
    const char *directory = getenv("TMPDIR");
    char path[4096];
    int fd;

    snprintf(path, sizeof path, "%s/qcow2-copy-XXXXXX", directory != NULL ? directory : "/tmp");
    fd = mkstemp(path);
    if (fd < 0) {
        give_up("cannot make a temporary file");
    }
    unlink(path);
    return fd;
}

struct qcow2_image *disk_open_file(const struct disk *disk)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_source source;
    struct qcow2_image *image;
    int fd = disk_temporary_file();

    if (pwrite(fd, disk->file, disk->file_bytes, 0) != (ssize_t)disk->file_bytes) {
        give_up("cannot write a temporary file");
    }
    if (qcow2_source_from_fd(fd, "test disk", 1, &source, &err) < 0 ||
        qcow2_open_source(&source, NULL, &image, &err) < 0) {
        give_up(err.message);
    }
    return image;
}

bool disk_file_is(int fd, const unsigned char *content, uint64_t bytes)
{
    unsigned char buf[65536];
    struct stat st;

    if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != bytes) {
        return false;
    }
    for (uint64_t at = 0; at < bytes;) {
        size_t want = bytes - at < sizeof buf ? (size_t)(bytes - at) : sizeof buf;
        ssize_t n = pread(fd, buf, want, (off_t)at);

        if (n <= 0 || memcmp(buf, content + at, (size_t)n) != 0) {
            return false;
        }
        at += (uint64_t)n;
    }
    return true;
}
