/* SPDX-License-Identifier: MIT */
/* rows.c - the extents of a disk joined into the longest runs, in qemu-img's terms.
 * Knows what qemu-img's map calls each kind of extent; must not know how rows are printed. */
#include "rows.h"

#include <string.h>

#include "limit.h"

void rows_begin(struct row_walk *walk, struct qcow2_image *image, uint64_t start, uint64_t end,
                uint64_t max_pieces)
{
    struct qcow2_info info = QCOW2_INFO_INIT;

    memset(walk, 0, sizeof *walk);
    walk->image = image;
    walk->cursor = start;
    walk->end = end;
    walk->max_pieces = max_pieces;
    limit_lookups_begin(&walk->lookups, image, max_pieces == UINT64_MAX);
    holes_begin(&walk->holes, image);
    /* Nothing is asked about holes of the image file where the data is in another. */
    walk->guesses = qcow2_get_info(image, 0, &info, NULL) == 0 &&
                    info.format == QCOW2_FORMAT_QCOW2 &&
                    (info.incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE) == 0;
    layer_views_begin(&walk->layers, image);
}

/* The next piece whose bytes are all of one sort: an extent, or as much of it as the file
 * underneath treats alike. */
static int next_piece(struct row_walk *walk, struct row *piece_ret, struct qcow2_error *err)
{
    struct qcow2_extent *extent = &walk->extent;
    uint64_t length;
    bool in_raw_hole;
    bool in_hole;

    if (walk->pieces >= walk->max_pieces && walk->cursor < walk->end) {
        return limit_reached(err, "extents", walk->max_pieces);
    }
    walk->pieces++;
    if (limit_lookups_check(&walk->lookups, err) < 0) {
        return QCOW2_E_LIMIT;
    }
    if (extent->length == 0) {
        int r = qcow2_next_extent(walk->image, &walk->cursor, walk->end, extent, err);

        if (r <= 0) {
            return r;
        }
    }
    length = extent->length;
    in_raw_hole = layer_views_clip(&walk->layers, extent, &length);
    in_hole = walk->guesses && !in_raw_hole && holes_clip(&walk->holes, extent, &length);
    memset(piece_ret, 0, sizeof *piece_ret);
    piece_ret->start = extent->offset;
    piece_ret->length = length;
    piece_ret->depth = extent->depth;
    piece_ret->present = extent->kind != QCOW2_EXTENT_HOLE;
    piece_ret->data = (extent->kind == QCOW2_EXTENT_DATA && !in_raw_hole) ||
                      extent->kind == QCOW2_EXTENT_COMPRESSED;
    piece_ret->zero = !piece_ret->data || in_hole;
    piece_ret->compressed = extent->kind == QCOW2_EXTENT_COMPRESSED;
    piece_ret->has_offset =
        extent->host_offset != UINT64_MAX && !layer_views_encrypted(&walk->layers, extent->depth);
    piece_ret->offset = piece_ret->has_offset ? extent->host_offset : 0;

    extent->offset += length;
    extent->length -= length;
    if (extent->host_offset != UINT64_MAX) {
        extent->host_offset += length;
    }
    return 1;
}

static bool continues(const struct row_walk *walk, const struct row *row, const struct row *piece)
{
    return row->depth == piece->depth && row->present == piece->present &&
           row->zero == piece->zero && row->data == piece->data &&
           (row->compressed == piece->compressed || walk->joins_compressed) &&
           row->has_offset == piece->has_offset &&
           (!row->has_offset || row->offset + row->length == piece->offset);
}

int rows_next(struct row_walk *walk, struct row *row_ret, struct qcow2_error *err)
{
    struct row row = walk->next;
    int r;

    if (row.length == 0 && (r = next_piece(walk, &row, err)) <= 0) {
        return r;
    }
    walk->next.length = 0;
    while ((r = next_piece(walk, &walk->next, err)) > 0) {
        if (!continues(walk, &row, &walk->next)) {
            break;
        }
        row.length += walk->next.length;
        walk->next.length = 0;
    }
    if (r < 0) {
        return r;
    }
    *row_ret = row;
    return 1;
}
