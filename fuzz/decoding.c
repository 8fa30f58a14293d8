/* SPDX-License-Identifier: MIT */
/* decoding.c - see decoding.h. */
#include "decoding.h"

#include <stdlib.h>
#include <string.h>

#include <zstd.h>

/* However large a window a frame declares. */
enum { MAX_CONTEXT_BYTES = 1 << 20 };

/* Sizes that inputs may choose: mostly small, because they are quick. */
static const size_t sizes[] = { 512, 1024, 4096, 16384, 512, 512, 65536, 2048 };

struct fuzz_stream fuzz_stream_take(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };
    unsigned choice = (unsigned)fuzz_take(&input, 1);

    return (struct fuzz_stream){
        .bytes = input.bytes,
        .n = input.left,
        .cluster_bytes = sizes[choice % 8],
        .cut = (choice & 8) != 0,
    };
}

static void *must_have(size_t n)
{
    void *bytes = malloc(n);

    if (bytes == NULL) {
        exit(1);
    }
    return bytes;
}

/* Memory that ends where a cluster does, one piece for each size: a byte more is noticed, and taking it
 * anew each time would be slow. */
static uint8_t *room(unsigned which, size_t n)
{
    static uint8_t *rooms[2][sizeof sizes / sizeof sizes[0]];
    size_t i = 0;

    while (sizes[i] != n) {
        i++;
    }
    if (rooms[which][i] == NULL) {
        rooms[which][i] = must_have(n);
    }
    return rooms[which][i];
}

const uint8_t *fuzz_decode(const struct fuzz_stream *s, int compression)
{
    static struct q2_decoder old;
    static unsigned executions;
    uint8_t *first = room(0, s->cluster_bytes), *second = room(1, s->cluster_bytes);
    struct q2_decoder fresh;
    enum q2_codec_result r;

    memset(first, 0xa5, s->cluster_bytes);
    memset(second, 0x5a, s->cluster_bytes);
    r = q2_codec_decode(&old, compression, s->bytes, s->n, s->cut, first, s->cluster_bytes);
    FUZZ_REQUIRE(r == Q2_CODEC_OK || r == Q2_CODEC_BAD, "there is memory");
    FUZZ_REQUIRE(ZSTD_sizeof_DCtx(old.zstd) <= MAX_CONTEXT_BYTES, "memory does not follow windows");
    /* New decoders are slow to make; now and then is often enough, small clusters aside. */
    if (executions++ % 64 == 0) {
        q2_decoder_init(&fresh);
        FUZZ_REQUIRE(q2_codec_decode(&fresh, compression, s->bytes, s->n, s->cut, second,
                                     s->cluster_bytes) == r,
                     "what a decoder has seen before does not matter");
        q2_decoder_deinit(&fresh);
    } else if (r == Q2_CODEC_OK) {
        FUZZ_REQUIRE(q2_codec_decode(&old, compression, s->bytes, s->n, s->cut, second,
                                     s->cluster_bytes) == r,
                     "decoding again gives the same");
    }
    if (r != Q2_CODEC_OK) {
        return NULL;
    }
    FUZZ_REQUIRE(memcmp(first, second, s->cluster_bytes) == 0,
                 "every byte of a cluster comes from the stream");
    return first;
}
