/* SPDX-License-Identifier: MIT */
/* codec.h - compressed bytes to exactly one cluster.
 *
 * A decoder holds the contexts of all codecs, made when first needed and used
 * again for every cluster after that. It serves one thread at a time. */
#ifndef Q2_CODEC_CODEC_H
#define Q2_CODEC_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct q2_decoder {
    void *deflate;      /* struct libdeflate_decompressor */
    void *deflate_slow; /* z_stream */
    void *zstd;         /* ZSTD_DCtx */
};

enum q2_codec_result {
    Q2_CODEC_OK = 0,
    Q2_CODEC_NOMEM,
    Q2_CODEC_BAD /* the input does not decode to exactly one cluster */
};

/* All contexts absent; nothing is allocated. */
void q2_decoder_init(struct q2_decoder *decoder);
void q2_decoder_deinit(struct q2_decoder *decoder);

/* The memory that the contexts hold: exact for zstd, whose ring follows the frames it has decoded, and an
 * upper bound for the others. */
size_t q2_decoder_bytes(const struct q2_decoder *decoder);

/* Fills out[0, out_bytes), one whole cluster, from in[0, in_bytes). What follows the stream in the
 * input is ignored. `compression` is an enum qcow2_compression. `cut`: the file ended before the input
 * did, so a stream that would go on reading is not complete. */
enum q2_codec_result q2_codec_decode(struct q2_decoder *decoder, int compression, const void *in,
                                     size_t in_bytes, bool cut, void *out, size_t out_bytes);

/* The two halves, one file each. */
enum q2_codec_result q2_deflate_decode(struct q2_decoder *decoder, const void *in, size_t in_bytes,
                                       bool cut, void *out, size_t out_bytes);
void q2_deflate_deinit(struct q2_decoder *decoder);
size_t q2_deflate_bytes(const struct q2_decoder *decoder);
enum q2_codec_result q2_zstd_decode(struct q2_decoder *decoder, const void *in, size_t in_bytes,
                                    void *out, size_t out_bytes);
void q2_zstd_deinit(struct q2_decoder *decoder);
size_t q2_zstd_bytes(const struct q2_decoder *decoder);

#endif
