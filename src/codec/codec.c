/* SPDX-License-Identifier: MIT */
/* codec.c - picks the decoder. */
#include "codec/codec.h"

#include <qcow2.h>

void q2_decoder_init(struct q2_decoder *decoder)
{
    *decoder = (struct q2_decoder){ 0 };
}

void q2_decoder_deinit(struct q2_decoder *decoder)
{
    q2_deflate_deinit(decoder);
    q2_zstd_deinit(decoder);
}

size_t q2_decoder_bytes(const struct q2_decoder *decoder)
{
    return q2_deflate_bytes(decoder) + q2_zstd_bytes(decoder);
}

enum q2_codec_result q2_codec_decode(struct q2_decoder *decoder, int compression, const void *in,
                                     size_t in_bytes, bool cut, void *out, size_t out_bytes)
{
    if (compression == QCOW2_COMPRESSION_ZSTD) {
        return q2_zstd_decode(decoder, in, in_bytes, out, out_bytes);
    }
    return q2_deflate_decode(decoder, in, in_bytes, cut, out, out_bytes);
}
