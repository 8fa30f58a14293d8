/* SPDX-License-Identifier: MIT */
/* bitmap.c - dirty bitmaps: listing them, and walking what they mark.
 * Read when somebody asks; that they are broken never costs the disk. */
#include "image/image.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "format/bitmap.h"

/* How much of a bitmap's bits is looked at together. */
enum { CHUNK_BYTES = 4096 };

/* The longest entry there can be: fixed part, name, padding. */
enum { ENTRY_ROOM = Q2_BITMAP_FIXED_BYTES + Q2_MAX_BITMAP_NAME_BYTES + 8 };

/* Bitmaps are about the live disk, whichever snapshot is open. */
static uint64_t live_size(const struct q2_layer *layer)
{
    return layer->header.size_bytes & ~UINT64_C(511);
}

/* Loads the directory entry at rel_off. */
static int load_entry(const struct q2_layer *layer, uint64_t rel_off, uint8_t bytes[ENTRY_ROOM],
                      struct q2_bitmap_entry *entry, struct qcow2_error *err)
{
    const struct q2_bitmap_directory *dir = &layer->bitmaps;
    uint64_t host_off = dir->host_off + rel_off;
    size_t n = (size_t)q2_min_u64(ENTRY_ROOM, dir->bytes - rel_off);
    int r;

    if ((r = q2_window_read(&layer->file, bytes, n, host_off, "bitmap directory", err)) < 0) {
        return r;
    }
    r = q2_bitmap_entry_decode(bytes, n, host_off, layer->geometry.cluster_bits, live_size(layer),
                               entry, err);
    if (r == Q2_BITMAP_NEED_MORE) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, host_off,
                               "bitmap directory entry at 0x%llx leaves the directory",
                               (unsigned long long)host_off);
    }
    return r;
}

/* The cursor: how many entries are behind, and how many bytes of the directory. */
enum { CURSOR_BYTES_BITS = 32 };

int qcow2_next_bitmap(const struct qcow2_image *image, uint64_t *cursor,
                      struct qcow2_bitmap *bitmap_ret, struct qcow2_error *err)
{
    const struct q2_bitmap_directory *dir;
    struct q2_bitmap_entry entry;
    uint8_t bytes[ENTRY_ROOM];
    uint64_t index, rel_off;
    int r;

    if (image == NULL || cursor == NULL || bitmap_ret == NULL) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "the image, the cursor or the bitmap is NULL");
    }
    dir = &image->layers[0].bitmaps;
    index = *cursor >> CURSOR_BYTES_BITS;
    rel_off = *cursor & UINT32_MAX;
    if (dir->broken) {
        return q2_error_set(err, QCOW2_E_CORRUPT, "the bitmaps extension of the header is broken");
    }
    if (index >= dir->entries && rel_off == dir->bytes) {
        return 0;
    }
    if (index >= dir->entries || rel_off >= dir->bytes) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, dir->host_off,
                               "the bitmap directory does not hold %lu bitmaps in %llu bytes",
                               (unsigned long)dir->entries, (unsigned long long)dir->bytes);
    }
    if ((r = load_entry(&image->layers[0], rel_off, bytes, &entry, err)) < 0) {
        return r;
    }
    *bitmap_ret = (struct qcow2_bitmap){
        .granularity = UINT64_C(1) << entry.granularity_bits,
        .flags =
            (entry.in_use ? QCOW2_BITMAP_IN_USE : 0U) | (entry.automatic ? QCOW2_BITMAP_AUTO : 0U),
        .table_entries = entry.table_entries,
        .table_offset = entry.table_off,
    };
    memcpy(bitmap_ret->name, bytes + entry.name_off, entry.name_bytes);
    *cursor = (index + 1) << CURSOR_BYTES_BITS | (rel_off + entry.entry_bytes);
    return 1;
}

/* One walk over a bitmap. */
struct walk {
    const struct q2_layer *layer;
    const struct qcow2_bitmap *bitmap;
    unsigned granularity_bits;
    uint64_t end_bit; /* bits that the disk, or the caller, has */
};

/* Up to CHUNK_BYTES bytes of bits from byte number `byte` on, not past the end of their cluster; how
 * many, or a code. */
static int load_bits(const struct walk *walk, uint64_t byte, uint8_t *bits, struct qcow2_error *err)
{
    unsigned cluster_bits = walk->layer->geometry.cluster_bits;
    uint64_t index = byte >> cluster_bits, skip = byte & ((UINT64_C(1) << cluster_bits) - 1);
    size_t n = (size_t)q2_min_u64(CHUNK_BYTES, (UINT64_C(1) << cluster_bits) - skip);
    uint64_t table_off = walk->bitmap->table_offset + index * 8, host_off;
    uint8_t entry[8];
    int r;

    if ((r = q2_window_read(&walk->layer->file, entry, sizeof entry, table_off, "bitmap table",
                            err)) < 0) {
        return r;
    }
    switch (q2_bitmap_table_decode(q2_load_be64(entry), cluster_bits, &host_off)) {
    case Q2_BITMAP_ALL_ZEROS:
        memset(bits, 0, n);
        break;
    case Q2_BITMAP_ALL_ONES:
        memset(bits, 0xff, n);
        break;
    case Q2_BITMAP_STORED:
        r = q2_window_read(&walk->layer->file, bits, n, host_off + skip, "bitmap", err);
        break;
    case Q2_BITMAP_INVALID:
        r = q2_error_set_at(err, QCOW2_E_CORRUPT, table_off,
                            "bitmap table entry %llu (0x%016llx) breaks the rules for one",
                            (unsigned long long)index, (unsigned long long)q2_load_be64(entry));
        break;
    }
    return r < 0 ? r : (int)n;
}

/* Moves *bit to the first bit of value `wanted` at or behind it, or to the end. */
static int seek(const struct walk *walk, uint64_t *bit, bool wanted, struct qcow2_error *err)
{
    const uint8_t skip_byte = wanted ? 0x00 : 0xff;
    uint8_t bits[CHUNK_BYTES];

    while (*bit < walk->end_bit) {
        uint64_t first_byte = *bit / 8;
        int n = load_bits(walk, first_byte, bits, err);

        if (n < 0) {
            return n;
        }
        while (*bit < walk->end_bit && *bit / 8 < first_byte + (unsigned)n) {
            uint8_t byte = bits[*bit / 8 - first_byte];

            if (*bit % 8 == 0 && byte == skip_byte) {
                *bit += 8;
            } else if (((byte >> (*bit % 8)) & 1) == wanted) {
                return 0;
            } else {
                (*bit)++;
            }
        }
    }
    *bit = walk->end_bit;
    return 0;
}

static int check_bitmap(const struct q2_layer *layer, const struct qcow2_bitmap *bitmap,
                        unsigned *granularity_bits_ret, struct qcow2_error *err)
{
    unsigned bits = Q2_MIN_BITMAP_GRANULARITY_BITS;

    while (bits < Q2_MAX_BITMAP_GRANULARITY_BITS && bitmap->granularity != UINT64_C(1) << bits) {
        bits++;
    }
    *granularity_bits_ret = bits;
    if ((bitmap->flags & QCOW2_BITMAP_IN_USE) != 0) {
        return q2_error_set(
            err, QCOW2_E_CORRUPT,
            "the bitmap was not closed properly: it does not tell what has changed");
    }
    if (bitmap->granularity != UINT64_C(1) << bits ||
        bitmap->table_entries !=
            q2_bitmap_table_entries(live_size(layer), bits, layer->geometry.cluster_bits)) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "this is no bitmap of this image");
    }
    return 0;
}

int qcow2_next_dirty(const struct qcow2_image *image, const struct qcow2_bitmap *bitmap,
                     uint64_t *cursor, uint64_t end, uint64_t *offset_ret, uint64_t *length_ret,
                     struct qcow2_error *err)
{
    struct walk walk;
    uint64_t bit, first;
    int r;

    if (image == NULL || bitmap == NULL || cursor == NULL || offset_ret == NULL ||
        length_ret == NULL) {
        return q2_error_set(err, QCOW2_E_ARGUMENT,
                            "the image, the bitmap, the cursor or a result is NULL");
    }
    walk = (struct walk){ .layer = &image->layers[0], .bitmap = bitmap };
    if ((r = check_bitmap(walk.layer, bitmap, &walk.granularity_bits, err)) < 0) {
        return r;
    }
    end = q2_min_u64(end, live_size(walk.layer));
    if (*cursor >= end) {
        return 0;
    }
    walk.end_bit = q2_blocks_for(end, walk.granularity_bits);
    first = *cursor >> walk.granularity_bits;
    if ((r = seek(&walk, &first, true, err)) < 0) {
        return r;
    }
    if (first == walk.end_bit) {
        *cursor = end;
        return 0;
    }
    bit = first;
    if ((r = seek(&walk, &bit, false, err)) < 0) {
        return r;
    }
    first <<= walk.granularity_bits;
    *offset_ret = first > *cursor ? first : *cursor;
    *length_ret = q2_min_u64(bit << walk.granularity_bits, end) - *offset_ret;
    *cursor = *offset_ret + *length_ret;
    return 1;
}
