/* SPDX-License-Identifier: MIT */
/* decoding.h - what the targets of both decoders do alike: the same stream into differently dirty
 * memory, through decoders with and without a past, beside what the format's own library says. */
#ifndef FUZZ_DECODING_H
#define FUZZ_DECODING_H

#include "fuzz.h"

#include "codec/codec.h"

/* One stream, as the input describes it: a byte for the size of the cluster and for `cut`, the stream. */
struct fuzz_stream {
    const uint8_t *bytes;
    size_t n;
    size_t cluster_bytes;
    bool cut;
};

struct fuzz_stream fuzz_stream_take(const uint8_t *data, size_t size);

/* Decodes the stream several times and requires that nothing but the stream decides. NULL: it does not
 * decode. The bytes live until the next call. */
const uint8_t *fuzz_decode(const struct fuzz_stream *stream, int compression);

#endif
