/* SPDX-License-Identifier: MIT */
/* deflate.c - raw deflate streams (RFC 1951), one cluster each.
 *
 * QEMU decodes a cluster with one call of zlib's inflate and takes the result
 * when the cluster is full, even if the stream has more to say or never ends.
 * libdeflate is more than twice as fast, but takes only streams that end where
 * the cluster ends; nearly all do. So: libdeflate first, and zlib decides
 * whatever libdeflate does not take.
 *
 * libdeflate also takes a few streams that zlib refuses: with symbols that RFC
 * 1951 reserves, or with bits that are no symbol. No encoder writes them; damage
 * can make them. So what a first block says of its code is looked at, and a
 * stream is zlib's to judge if that may mean two things. An undamaged stream
 * ends within the last sector that its descriptor names: one that ends elsewhere
 * is put before zlib as well. What is left takes damage in the head of a later
 * block. */
#include "codec/codec.h"

#include "codec/deflate_head.h"

#include <stdlib.h>

#include <libdeflate.h>
#define ZLIB_CONST
#include <zlib.h>

enum { SECTOR_BYTES = 512 };

/* 32 KiB of window: a superset of the 4 KiB that QEMU's encoder uses, and what its decoder accepts in
 * effect, since the whole output is in one piece. */
enum { WINDOW_BITS = 15 };

static enum q2_codec_result decode_slow(struct q2_decoder *decoder, const void *in, size_t in_bytes,
                                        bool cut, void *out, size_t out_bytes)
{
    z_stream *stream = decoder->deflate_slow;
    int r;

    if (stream == NULL) {
        stream = calloc(1, sizeof *stream);
        if (stream == NULL) {
            return Q2_CODEC_NOMEM;
        }
        if (inflateInit2(stream, -WINDOW_BITS) != Z_OK) {
            free(stream);
            return Q2_CODEC_NOMEM;
        }
        decoder->deflate_slow = stream;
    } else if (inflateReset2(stream, -WINDOW_BITS) != Z_OK) {
        return Q2_CODEC_BAD;
    }
    /* At most 4 MiB in and 2 MiB out. */
    stream->next_in = in;
    stream->avail_in = (uInt)in_bytes;
    stream->next_out = out;
    stream->avail_out = (uInt)out_bytes;
    r = inflate(stream, Z_FINISH);
    if (r == Z_MEM_ERROR) {
        return Q2_CODEC_NOMEM;
    }
    /* All of the input is used and the stream is not over: what the file has lost might be part of it,
     * or make it invalid. */
    if (cut && r == Z_BUF_ERROR && stream->avail_in == 0) {
        return Q2_CODEC_BAD;
    }
    /* "Buffer error" is how inflate says that the stream was not over: the cluster is full all the
     * same. */
    return (r == Z_STREAM_END || r == Z_BUF_ERROR) && stream->avail_out == 0 ? Q2_CODEC_OK
                                                                             : Q2_CODEC_BAD;
}

enum q2_codec_result q2_deflate_decode(struct q2_decoder *decoder, const void *in, size_t in_bytes,
                                       bool cut, void *out, size_t out_bytes)
{
    size_t used = 0, made = 0;

    if (!q2_deflate_head_is_plain(in, in_bytes)) {
        return decode_slow(decoder, in, in_bytes, cut, out, out_bytes);
    }
    if (decoder->deflate == NULL) {
        decoder->deflate = libdeflate_alloc_decompressor();
        if (decoder->deflate == NULL) {
            return Q2_CODEC_NOMEM;
        }
    }
    if (libdeflate_deflate_decompress_ex(decoder->deflate, in, in_bytes, out, out_bytes, &used,
                                         &made) == LIBDEFLATE_SUCCESS &&
        made == out_bytes && in_bytes - used < SECTOR_BYTES) {
        return Q2_CODEC_OK;
    }
    return decode_slow(decoder, in, in_bytes, cut, out, out_bytes);
}

void q2_deflate_deinit(struct q2_decoder *decoder)
{
    if (decoder->deflate != NULL) {
        libdeflate_free_decompressor(decoder->deflate);
        decoder->deflate = NULL;
    }
    if (decoder->deflate_slow != NULL) {
        (void)inflateEnd(decoder->deflate_slow);
        free(decoder->deflate_slow);
        decoder->deflate_slow = NULL;
    }
}

size_t q2_deflate_bytes(const struct q2_decoder *decoder)
{
    /* libdeflate's tables; zlib's state and window. */
    enum { FAST_BYTES = 16 * 1024, SLOW_BYTES = 48 * 1024 };

    return (decoder->deflate != NULL ? FAST_BYTES : (size_t)0) +
           (decoder->deflate_slow != NULL ? SLOW_BYTES : (size_t)0);
}
