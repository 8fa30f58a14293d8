/* SPDX-License-Identifier: MIT */
/* draft.c - numbers in a draft; see fields.h. Knows nothing of qcow2. */
#include "fields.h"

#include <string.h>

uint32_t fuzz_choose(struct fuzz_draft *d, uint32_t below)
{
    d->noise ^= d->noise << 13;
    d->noise ^= d->noise >> 17;
    d->noise ^= d->noise << 5;
    return below > 0 ? d->noise % below : 0;
}

bool fuzz_one_in(struct fuzz_draft *d, uint32_t n)
{
    return fuzz_choose(d, n) == 0;
}

uint64_t fuzz_get(const struct fuzz_draft *d, unsigned file, uint64_t offset, unsigned n_bytes)
{
    uint8_t bytes[8];
    uint64_t value = 0;

    if (offset > FUZZ_MAX_FILE_BYTES) {
        return 0;
    }
    fuzz_sparse_read(&d->sparse, file, offset, bytes, n_bytes);
    for (unsigned i = 0; i < n_bytes; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

uint8_t *fuzz_piece_bytes(struct fuzz_draft *d, unsigned piece)
{
    return d->bytes + (d->sparse.pieces[piece].bytes - d->bytes);
}

uint8_t *fuzz_room(struct fuzz_draft *d, size_t n)
{
    uint8_t *room = d->bytes + d->used;

    if (n > sizeof d->bytes - d->used) {
        return NULL;
    }
    d->used += n;
    return room;
}

void fuzz_put(struct fuzz_draft *d, unsigned file, uint64_t offset, unsigned n_bytes,
              uint64_t value)
{
    struct fuzz_sparse *s = &d->sparse;
    uint8_t *at = NULL;

    if (offset > FUZZ_MAX_FILE_BYTES) {
        return;
    }
    for (unsigned i = s->n_pieces; i-- > 0 && at == NULL;) {
        const struct fuzz_piece *piece = &s->pieces[i];

        if (piece->file == file && offset >= piece->offset &&
            offset + n_bytes <= piece->offset + piece->n) {
            at = fuzz_piece_bytes(d, i) + (offset - piece->offset);
        }
    }
    if (at == NULL && s->n_pieces < FUZZ_MAX_PIECES && (at = fuzz_room(d, n_bytes)) != NULL) {
        s->pieces[s->n_pieces++] = (struct fuzz_piece){
            .file = (uint8_t)file, .offset = (uint32_t)offset, .n = n_bytes, .bytes = at
        };
    }
    if (at == NULL) {
        return;
    }
    for (unsigned i = n_bytes; i-- > 0; value >>= 8) {
        at[i] = (uint8_t)value;
    }
}
