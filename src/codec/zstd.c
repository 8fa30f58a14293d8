/* SPDX-License-Identifier: MIT */
/* zstd.c - zstd frames (RFC 8878), one or more to a cluster.
 *
 * QEMU runs the streaming decoder until the cluster is full and then wants the
 * last frame to be complete; what follows is padding. We take the frames one by
 * one and decode each in a single call straight into the cluster, which gives
 * the same answers and needs no window buffer, however large a window a frame
 * declares. */
#include "codec/codec.h"

#include <stdbool.h>

#include <zstd.h>

#include "base/bytes.h"

#define FRAME_MAGIC          UINT32_C(0xfd2fb528)
#define SKIPPABLE_MAGIC      UINT32_C(0x184d2a50)
#define SKIPPABLE_MAGIC_MASK UINT32_C(0xfffffff0)

/* The streaming decoder's own default, and so QEMU's: 128 MiB, and one byte. */
#define MAX_WINDOW_BYTES ((UINT64_C(1) << 27) + 1)

/* The window that the header of the frame at `in` declares. The streaming decoder needs that much
 * memory, and so refuses large ones, unless the frame states its content size. */
static bool window_is_acceptable(const uint8_t *in, size_t in_bytes)
{
    enum { DESCRIPTOR = 4, WINDOW = 5, SINGLE_SEGMENT = 1 << 5 };
    unsigned exponent, mantissa;
    uint64_t base;

    if (ZSTD_getFrameContentSize(in, in_bytes) != ZSTD_CONTENTSIZE_UNKNOWN || in_bytes <= WINDOW ||
        (in[DESCRIPTOR] & SINGLE_SEGMENT) != 0) {
        return true;
    }
    exponent = in[WINDOW] >> 3;
    mantissa = in[WINDOW] & 7;
    base = UINT64_C(1) << (10 + exponent);
    return base + base / 8 * mantissa <= MAX_WINDOW_BYTES;
}

/* Decodes the frame at the start of `in`; how much it took and made. */
static enum q2_codec_result decode_frame(ZSTD_DCtx *context, const uint8_t *in, size_t in_bytes,
                                         uint8_t *out, size_t out_bytes, size_t *used_ret,
                                         size_t *made_ret)
{
    uint32_t magic;
    size_t used, made;

    if (in_bytes < 4) {
        return Q2_CODEC_BAD;
    }
    /* The library may also know formats from before the standard; QEMU never wrote those. */
    magic = q2_load_le32(in);
    if (magic != FRAME_MAGIC && (magic & SKIPPABLE_MAGIC_MASK) != SKIPPABLE_MAGIC) {
        return Q2_CODEC_BAD;
    }
    used = ZSTD_findFrameCompressedSize(in, in_bytes);
    if (ZSTD_isError(used) || used == 0 || used > in_bytes) {
        return Q2_CODEC_BAD;
    }
    if (magic == FRAME_MAGIC && !window_is_acceptable(in, in_bytes)) {
        return Q2_CODEC_BAD;
    }
    made = ZSTD_decompressDCtx(context, out, out_bytes, in, used);
    if (ZSTD_isError(made)) {
        return Q2_CODEC_BAD;
    }
    *used_ret = used;
    *made_ret = made;
    return Q2_CODEC_OK;
}

enum q2_codec_result q2_zstd_decode(struct q2_decoder *decoder, const void *in, size_t in_bytes,
                                    void *out, size_t out_bytes)
{
    const uint8_t *next_in = in;
    uint8_t *next_out = out;

    if (decoder->zstd == NULL) {
        decoder->zstd = ZSTD_createDCtx();
        if (decoder->zstd == NULL) {
            return Q2_CODEC_NOMEM;
        }
    }
    /* Every round takes at least one byte of input. */
    while (out_bytes > 0) {
        size_t used = 0, made = 0;
        enum q2_codec_result r =
            decode_frame(decoder->zstd, next_in, in_bytes, next_out, out_bytes, &used, &made);

        if (r != Q2_CODEC_OK) {
            return r;
        }
        next_in += used;
        in_bytes -= used;
        next_out += made;
        out_bytes -= made;
    }
    return Q2_CODEC_OK;
}

void q2_zstd_deinit(struct q2_decoder *decoder)
{
    if (decoder->zstd != NULL) {
        (void)ZSTD_freeDCtx(decoder->zstd);
        decoder->zstd = NULL;
    }
}
