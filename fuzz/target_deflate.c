/* SPDX-License-Identifier: MIT */
/* target_deflate.c - deflate streams, with zlib beside: what it makes of one in a single call is what
 * QEMU makes of it. See src/codec/deflate.c for the two ways a stream can take there. */
#include "decoding.h"

#include <stdlib.h>
#include <string.h>

#include <libdeflate.h>
#define ZLIB_CONST
#include <zlib.h>

enum { MAX_BYTES = 65536, SECTOR_BYTES = 512 };

enum verdict { GOOD, BAD, UNFINISHED };

/* QEMU's way: one call, and the cluster has to be full. */
static enum verdict by_zlib(const struct fuzz_stream *s, uint8_t *out)
{
    static z_stream stream;
    static bool made;
    int r;

    r = made ? inflateReset2(&stream, -15) : inflateInit2(&stream, -15);
    FUZZ_REQUIRE(r == Z_OK, "the target has a zlib of its own");
    made = true;
    stream.next_in = s->bytes;
    stream.avail_in = (uInt)s->n;
    stream.next_out = out;
    stream.avail_out = (uInt)s->cluster_bytes;
    r = inflate(&stream, Z_FINISH);
    if ((r != Z_STREAM_END && r != Z_BUF_ERROR) || stream.avail_out != 0) {
        return BAD;
    }
    return r == Z_BUF_ERROR && stream.avail_in == 0 ? UNFINISHED : GOOD;
}

/* The streams that libdeflate takes and zlib does not: it has to take them wholly, and the damage to be in a
 * block behind the first, which is looked at. */
static bool is_lenient(const struct fuzz_stream *s, uint8_t *out)
{
    static struct libdeflate_decompressor *decompressor;
    size_t used = 0, made = 0;

    if (decompressor == NULL) {
        decompressor = libdeflate_alloc_decompressor();
        FUZZ_REQUIRE(decompressor != NULL, "the target has a libdeflate of its own");
    }
    return (s->bytes[0] & 1) == 0 &&
           libdeflate_deflate_decompress_ex(decompressor, s->bytes, s->n, out, s->cluster_bytes,
                                            &used, &made) == LIBDEFLATE_SUCCESS &&
           made == s->cluster_bytes && s->n - used < SECTOR_BYTES;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t expected[MAX_BYTES];
    struct fuzz_stream s = fuzz_stream_take(data, size);
    const uint8_t *ours = fuzz_decode(&s, QCOW2_COMPRESSION_DEFLATE);
    enum verdict theirs = by_zlib(&s, expected);

    if (theirs == GOOD || (theirs == UNFINISHED && !s.cut)) {
        FUZZ_REQUIRE(ours != NULL, "a stream that QEMU reads is read");
        FUZZ_REQUIRE(memcmp(ours, expected, s.cluster_bytes) == 0, "QEMU reads the same bytes");
    } else if (theirs == UNFINISHED) {
        FUZZ_REQUIRE(ours == NULL, "a stream that is cut short is not read");
    } else if (ours != NULL) {
        FUZZ_REQUIRE(is_lenient(&s, expected), "nothing is taken that neither library takes");
    }
    return 0;
}
