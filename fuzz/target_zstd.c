/* SPDX-License-Identifier: MIT */
/* target_zstd.c - zstd frames, with the streaming decoder beside, called as QEMU calls it: until the
 * cluster is full, and then the frame must be over. */
#include "decoding.h"

#include <string.h>

#include <zstd.h>

#include "base/bytes.h"

enum { MAX_BYTES = 65536 };

/* Also: whether a frame stated a size that it did not have, which is overlooked if its last block is empty. */
static bool by_streaming(const struct fuzz_stream *s, void *out, bool *lies_ret)
{
    static ZSTD_DCtx *context;
    ZSTD_inBuffer input = { s->bytes, s->n, 0 };
    ZSTD_outBuffer output = { out, s->cluster_bytes, 0 };
    unsigned long long stated = ZSTD_CONTENTSIZE_UNKNOWN;
    size_t hint = 0, frame_start = 0;

    *lies_ret = false;
    if (context == NULL) {
        context = ZSTD_createDCtx();
        FUZZ_REQUIRE(context != NULL, "the target has a zstd of its own");
    }
    (void)ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
    while (output.pos < output.size) {
        size_t in_before = input.pos, out_before = output.pos;

        if (hint == 0) {
            stated = ZSTD_getFrameContentSize(s->bytes + input.pos, s->n - input.pos);
            frame_start = output.pos;
        }
        hint = ZSTD_decompressStream(context, &output, &input);
        if (ZSTD_isError(hint) || (input.pos == in_before && output.pos == out_before)) {
            return false;
        }
        *lies_ret |=
            hint == 0 && stated < ZSTD_CONTENTSIZE_ERROR && stated != output.pos - frame_start;
    }
    return hint == 0;
}

/* Whether a frame of a format from before the standard is anywhere in there: the library may know those. */
static bool may_be_older(const struct fuzz_stream *s)
{
    for (size_t i = 0; i + 4 <= s->n; i++) {
        uint32_t magic = q2_load_le32(s->bytes + i);

        if (magic == 0x1eb52ffd || (magic >= 0xfd2fb522 && magic <= 0xfd2fb527)) {
            return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t expected[MAX_BYTES];
    struct fuzz_stream s = fuzz_stream_take(data, size);
    const uint8_t *ours = fuzz_decode(&s, QCOW2_COMPRESSION_ZSTD);
    bool lies, theirs = by_streaming(&s, expected, &lies);

    if (ours != NULL) {
        FUZZ_REQUIRE(theirs, "what is read is what QEMU reads");
        FUZZ_REQUIRE(memcmp(ours, expected, s.cluster_bytes) == 0, "QEMU reads the same bytes");
    } else if (theirs) {
        FUZZ_REQUIRE(lies || may_be_older(&s), "a stream that QEMU reads is read");
    }
    return 0;
}
