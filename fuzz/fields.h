/* SPDX-License-Identifier: MIT */
/* fields.h - an image as the mutator has it in hand: pieces that it may change, read and written as
 * big-endian numbers at places of the file. */
#ifndef FUZZ_FIELDS_H
#define FUZZ_FIELDS_H

#include "sparse.h"

enum { FUZZ_MAX_INPUT_BYTES = 1 << 16 };

struct fuzz_draft {
    struct fuzz_sparse sparse;
    /* What the pieces point to: the input, and behind it what was added. */
    uint8_t bytes[2 * FUZZ_MAX_INPUT_BYTES];
    size_t used;
    uint32_t noise;
};

/* 0 .. below - 1. */
uint32_t fuzz_choose(struct fuzz_draft *draft, uint32_t below);
bool fuzz_one_in(struct fuzz_draft *draft, uint32_t n);

uint64_t fuzz_get(const struct fuzz_draft *draft, unsigned file, uint64_t offset, unsigned n_bytes);

/* Puts a number down, in the piece that lies there, or in one of its own. */
void fuzz_put(struct fuzz_draft *draft, unsigned file, uint64_t offset, unsigned n_bytes,
              uint64_t value);

/* The bytes of a piece, to be changed. */
uint8_t *fuzz_piece_bytes(struct fuzz_draft *draft, unsigned piece);

/* Room for n bytes that a piece may point to, or NULL. */
uint8_t *fuzz_room(struct fuzz_draft *draft, size_t n);

/* fields.c: changes one field of what the format has, mostly to something that another part of the image
 * would have there. */
void fuzz_change_field(struct fuzz_draft *draft, unsigned file);

/* Makes magic, version, cluster size and disk size what opens, mostly. */
void fuzz_make_plausible(struct fuzz_draft *draft, unsigned file);

#endif
