/* SPDX-License-Identifier: MIT */
/* sparse.c - see sparse.h. */
#include "sparse.h"

#include <string.h>

static uint32_t load(const uint8_t *bytes, unsigned n)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < n; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

static void store(uint8_t *bytes, unsigned n, uint32_t value)
{
    for (unsigned i = n; i-- > 0; value >>= 8) {
        bytes[i] = (uint8_t)value;
    }
}

static uint32_t clipped(uint32_t size)
{
    return size % (FUZZ_MAX_FILE_BYTES + 1);
}

bool fuzz_sparse_parse(const uint8_t *data, size_t size, struct fuzz_sparse *s)
{
    size_t at = FUZZ_WISHES_BYTES;

    if (size < FUZZ_WISHES_BYTES) {
        return false;
    }
    memcpy(s->wishes, data, FUZZ_WISHES_BYTES);
    for (unsigned i = 0; i < FUZZ_FILES; i++) {
        s->sizes[i] = clipped(load(data + FUZZ_SIZES + (size_t)i * 4, 4));
    }
    s->n_pieces = 0;
    while (s->n_pieces < FUZZ_MAX_PIECES && size - at >= FUZZ_PIECE_HEAD_BYTES) {
        struct fuzz_piece *piece = &s->pieces[s->n_pieces++];
        size_t n = load(data + at + 5, 2);

        piece->file = data[at] % FUZZ_FILES;
        piece->offset = load(data + at + 1, 4);
        at += FUZZ_PIECE_HEAD_BYTES;
        piece->n = n < size - at ? n : size - at;
        piece->bytes = data + at;
        at += piece->n;
    }
    return true;
}

size_t fuzz_sparse_write(const struct fuzz_sparse *s, uint8_t *data, size_t max_size)
{
    size_t at = FUZZ_WISHES_BYTES;

    if (max_size < FUZZ_WISHES_BYTES) {
        return 0;
    }
    memcpy(data, s->wishes, FUZZ_WISHES_BYTES);
    for (unsigned i = 0; i < FUZZ_FILES; i++) {
        store(data + FUZZ_SIZES + (size_t)i * 4, 4, s->sizes[i]);
    }
    for (unsigned i = 0; i < s->n_pieces; i++) {
        const struct fuzz_piece *piece = &s->pieces[i];

        if (max_size - at < FUZZ_PIECE_HEAD_BYTES + piece->n || piece->n > UINT16_MAX) {
            continue;
        }
        data[at] = piece->file;
        store(data + at + 1, 4, piece->offset);
        store(data + at + 5, 2, (uint32_t)piece->n);
        if (piece->n > 0) {
            memcpy(data + at + FUZZ_PIECE_HEAD_BYTES, piece->bytes, piece->n);
        }
        at += FUZZ_PIECE_HEAD_BYTES + piece->n;
    }
    return at;
}

void fuzz_sparse_read(const struct fuzz_sparse *s, unsigned file, uint64_t offset, void *buf,
                      size_t count)
{
    uint64_t end = offset + count;

    memset(buf, 0, count);
    for (unsigned i = 0; i < s->n_pieces; i++) {
        const struct fuzz_piece *piece = &s->pieces[i];
        uint64_t from = piece->offset, to = from + piece->n;

        if (piece->file != file || from >= end || to <= offset) {
            continue;
        }
        from = from > offset ? from : offset;
        to = to < end ? to : end;
        /* What lies past the end of the file is not there. */
        to = to < s->sizes[file] ? to : s->sizes[file];
        if (from < to) {
            memcpy((uint8_t *)buf + (from - offset), piece->bytes + (from - piece->offset),
                   (size_t)(to - from));
        }
    }
}
