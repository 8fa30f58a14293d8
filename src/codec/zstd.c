/* SPDX-License-Identifier: MIT */
/* zstd.c - zstd frames (RFC 8878), one or more to a cluster.
 *
 * QEMU runs the streaming decoder until the cluster is full and then wants the
 * last frame to be complete; what follows is padding. We take the frames one by
 * one. A frame that states its content size, as every encoder's does that has
 * the whole cluster in hand, is decoded in a single call, which is what the
 * streaming decoder does with it too. Others go through the streaming decoder,
 * whose rules about windows and blocks are stricter than the single call's. */
#include "codec/codec.h"

#include <string.h>

#include <zstd.h>
#include <zstd_errors.h>

#include "base/bytes.h"

#define FRAME_MAGIC          UINT32_C(0xfd2fb528)
#define SKIPPABLE_MAGIC      UINT32_C(0x184d2a50)
#define SKIPPABLE_MAGIC_MASK UINT32_C(0xfffffff0)

static enum q2_codec_result failure(size_t error)
{
    return ZSTD_getErrorCode(error) == ZSTD_error_memory_allocation ? Q2_CODEC_NOMEM : Q2_CODEC_BAD;
}

/* The window of a frame without content size (RFC 8878, 3.1.1.1.2). */
static uint64_t window_bytes(const uint8_t *in, size_t in_bytes)
{
    enum { DESCRIPTOR_AT = 5 }; /* behind the magic and one byte of flags */
    uint64_t base;

    if (in_bytes <= DESCRIPTOR_AT) {
        return 0;
    }
    base = UINT64_C(1) << (10 + (in[DESCRIPTOR_AT] >> 3));
    return base + base / 8 * (in[DESCRIPTOR_AT] & 7);
}

/* "Stable output buffer": decode into the cluster itself, with no window beside it, so that memory does not
 * follow what a frame declares. Else into a ring, a little larger than the window. (A library without this
 * parameter always makes one.) */
static void choose_window(ZSTD_DCtx *context, bool ring)
{
    (void)ZSTD_DCtx_setParameter(context, ZSTD_d_experimentalParam2, ring ? 0 : 1);
}

/* A frame without content size, by the streaming decoder, whose limit on windows (128 MiB) is QEMU's. */
static enum q2_codec_result decode_streaming(ZSTD_DCtx *context, const uint8_t *in, size_t in_bytes,
                                             void *out, size_t out_bytes, size_t *used_ret,
                                             size_t *made_ret)
{
    ZSTD_inBuffer input = { in, in_bytes, 0 };
    ZSTD_outBuffer output = { out, out_bytes, 0 };

    (void)ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
    choose_window(context, false);
    for (;;) {
        size_t in_before = input.pos, out_before = output.pos;
        size_t hint = ZSTD_decompressStream(context, &output, &input);

        if (ZSTD_isError(hint)) {
            return failure(hint);
        }
        if (hint == 0) {
            *used_ret = input.pos;
            *made_ret = output.pos;
            return Q2_CODEC_OK;
        }
        /* The frame goes on, but the cluster is full or the input is not there. */
        if (output.pos == output.size || (input.pos == in_before && output.pos == out_before)) {
            return Q2_CODEC_BAD;
        }
    }
}

/* Whether the frame makes the same in a ring. Matches must not reach behind the window; the library does not
 * look, and those that do find in the cluster what was there, and in QEMU's ring what has been written over
 * it, or memory that was never written. No encoder makes such a match; damage does. */
static bool same_in_a_ring(ZSTD_DCtx *context, const uint8_t *in, size_t in_bytes,
                           const uint8_t *made, size_t made_bytes)
{
    ZSTD_inBuffer input = { in, in_bytes, 0 };
    size_t hint, done = 0;

    (void)ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
    choose_window(context, true);
    do {
        uint8_t piece[4096];
        ZSTD_outBuffer output = { piece, sizeof piece, 0 };
        size_t in_before = input.pos;

        hint = ZSTD_decompressStream(context, &output, &input);
        if (ZSTD_isError(hint) || output.pos > made_bytes - done ||
            memcmp(piece, made + done, output.pos) != 0 ||
            (hint != 0 && output.pos == 0 && input.pos == in_before)) {
            return false;
        }
        done += output.pos;
    } while (hint != 0);
    return done == made_bytes;
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
    if (magic == FRAME_MAGIC &&
        ZSTD_getFrameContentSize(in, in_bytes) == ZSTD_CONTENTSIZE_UNKNOWN) {
        enum q2_codec_result r =
            decode_streaming(context, in, in_bytes, out, out_bytes, used_ret, made_ret);

        /* The ring is no larger than the cluster and a few blocks. Nothing is behind a window that is larger. */
        if (r == Q2_CODEC_OK && window_bytes(in, in_bytes) < *made_ret &&
            !same_in_a_ring(context, in, *used_ret, out, *made_ret)) {
            return Q2_CODEC_BAD;
        }
        return r;
    }
    used = ZSTD_findFrameCompressedSize(in, in_bytes);
    if (ZSTD_isError(used) || used == 0 || used > in_bytes) {
        return Q2_CODEC_BAD;
    }
    made = ZSTD_decompressDCtx(context, out, out_bytes, in, used);
    if (ZSTD_isError(made)) {
        return failure(made);
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

size_t q2_zstd_bytes(const struct q2_decoder *decoder)
{
    return decoder->zstd != NULL ? ZSTD_sizeof_DCtx(decoder->zstd) : 0;
}
