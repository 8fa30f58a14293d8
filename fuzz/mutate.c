/* SPDX-License-Identifier: MIT */
/* mutate.c - libFuzzer's mutator for whole images: it keeps the frame of an input (sparse.h), changes
 * fields by name (fields.c), moves pieces about, and leaves what is inside of them to libFuzzer. */
#include "fuzz.h"

#include <string.h>

#include "fields.h"

/* libFuzzer's own. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static bool take(struct fuzz_draft *draft, const uint8_t *data, size_t size, unsigned seed)
{
    if (size > FUZZ_MAX_INPUT_BYTES) {
        return false;
    }
    memcpy(draft->bytes, data, size);
    draft->used = size;
    draft->noise = seed * UINT32_C(2654435761) | 1;
    return fuzz_sparse_parse(draft->bytes, size, &draft->sparse);
}

static void change_wish(struct fuzz_draft *d)
{
    static const uint8_t places[] = { FUZZ_OPEN_FLAGS,   FUZZ_CACHES,    FUZZ_SOURCE,
                                      FUZZ_GRANT_FORMAT, FUZZ_SEED,      FUZZ_SEED + 1,
                                      FUZZ_SEED + 2,     FUZZ_SEED + 3,  FUZZ_ACTIONS,
                                      FUZZ_FAIL_AT,      FUZZ_FAIL_RATE, FUZZ_FAIL_RATE + 1,
                                      FUZZ_SNAPSHOT };
    uint8_t *wish = &d->sparse.wishes[places[fuzz_choose(d, sizeof places)]];

    if (wish == &d->sparse.wishes[FUZZ_SNAPSHOT]) {
        *wish = (uint8_t) "\0\0001212ab"[fuzz_choose(d, 8)];
    } else if (wish == &d->sparse.wishes[FUZZ_ACTIONS]) {
        *wish = fuzz_one_in(d, 3) ? (uint8_t)fuzz_choose(d, 32) : 0;
    } else if (fuzz_one_in(d, 3)) {
        *wish = 0;
    } else {
        *wish ^= (uint8_t)(1U << fuzz_choose(d, 8));
    }
}

static void change_size(struct fuzz_draft *d)
{
    uint32_t *size = &d->sparse.sizes[fuzz_choose(d, FUZZ_FILES)];

    switch (fuzz_choose(d, 5)) {
    case 0:
        *size -= fuzz_choose(d, *size + 1);
        break;
    case 1:
        *size += fuzz_choose(d, 2048);
        break;
    case 2:
        *size += fuzz_choose(d, 3) - 1;
        break;
    case 3:
        *size &= ~UINT32_C(511);
        break;
    default:
        if (d->sparse.n_pieces > 0) {
            const struct fuzz_piece *piece = &d->sparse.pieces[fuzz_choose(d, d->sparse.n_pieces)];

            *size = piece->offset + (uint32_t)piece->n;
        }
    }
    *size %= FUZZ_MAX_FILE_BYTES + 1;
}

static void remove_piece(struct fuzz_sparse *s, unsigned i)
{
    memmove(&s->pieces[i], &s->pieces[i + 1], (s->n_pieces - i - 1) * sizeof s->pieces[0]);
    s->n_pieces--;
}

static void move_pieces(struct fuzz_draft *d)
{
    struct fuzz_sparse *s = &d->sparse;
    unsigned i = fuzz_choose(d, s->n_pieces), other = fuzz_choose(d, s->n_pieces);
    struct fuzz_piece *piece = &s->pieces[i], copy;

    if (s->n_pieces == 0) {
        return;
    }
    switch (fuzz_choose(d, 6)) {
    case 0:
        remove_piece(s, i);
        break;
    case 1:
        if (s->n_pieces < FUZZ_MAX_PIECES) {
            s->pieces[s->n_pieces] = *piece;
            s->pieces[s->n_pieces++].offset += UINT32_C(512) << fuzz_choose(d, 8);
        }
        break;
    case 2:
        copy = *piece;
        *piece = s->pieces[other];
        s->pieces[other] = copy;
        break;
    case 3:
        piece->offset = s->pieces[other].offset + fuzz_choose(d, 64) * 8;
        break;
    case 4:
        piece->file ^= 1;
        break;
    default:
        piece->n -= fuzz_choose(d, (uint32_t)piece->n + 1);
    }
}

/* What is inside a piece: libFuzzer's business. */
static void change_bytes(struct fuzz_draft *d)
{
    struct fuzz_sparse *s = &d->sparse;
    unsigned i = fuzz_choose(d, s->n_pieces);
    size_t room;
    uint8_t *to;

    if (s->n_pieces == 0 || s->pieces[i].n == 0) {
        return;
    }
    room = s->pieces[i].n + 16;
    to = fuzz_room(d, room);
    if (to != NULL) {
        memcpy(to, s->pieces[i].bytes, s->pieces[i].n);
        s->pieces[i].n = LLVMFuzzerMutate(to, s->pieces[i].n, room);
        s->pieces[i].bytes = to;
    }
}

static unsigned choose_file(struct fuzz_draft *d)
{
    return d->sparse.sizes[1] > 0 && fuzz_one_in(d, 4) ? 1 : 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static struct fuzz_draft draft;
    unsigned file;

    if (!take(&draft, data, size, seed)) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    file = choose_file(&draft);
    for (uint32_t n = 1 + fuzz_choose(&draft, 4); n > 0; n--) {
        switch (fuzz_choose(&draft, 12)) {
        case 0:
            change_wish(&draft);
            break;
        case 1:
            change_size(&draft);
            break;
        case 2:
            move_pieces(&draft);
            break;
        case 3:
        case 4:
        case 5:
            change_bytes(&draft);
            break;
        default:
            fuzz_change_field(&draft, file);
        }
    }
    fuzz_make_plausible(&draft, 0);
    return fuzz_sparse_write(&draft.sparse, data, max_size);
}

/* The first image with some pieces of the second, or with all of it as the other file. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data1, size_t size1, const uint8_t *data2,
                                 size_t size2, uint8_t *out, size_t max_out_size, unsigned seed)
{
    static struct fuzz_draft first, second;
    bool as_other;

    if (!take(&first, data1, size1, seed) || !take(&second, data2, size2, seed)) {
        return 0;
    }
    as_other = fuzz_one_in(&first, 2);
    if (as_other) {
        for (unsigned i = first.sparse.n_pieces; i-- > 0;) {
            if (first.sparse.pieces[i].file == 1) {
                remove_piece(&first.sparse, i);
            }
        }
        first.sparse.sizes[1] = second.sparse.sizes[0];
    }
    for (unsigned i = 0; i < second.sparse.n_pieces; i++) {
        struct fuzz_piece piece = second.sparse.pieces[i];

        if (first.sparse.n_pieces == FUZZ_MAX_PIECES || (as_other && piece.file == 1) ||
            (!as_other && !fuzz_one_in(&first, 3))) {
            continue;
        }
        piece.file = as_other ? 1 : piece.file;
        first.sparse.pieces[first.sparse.n_pieces++] = piece;
    }
    return fuzz_sparse_write(&first.sparse, out, max_out_size);
}
