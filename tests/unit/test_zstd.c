/* SPDX-License-Identifier: MIT */
/* test_zstd.c - codec/zstd: frames until the cluster is full, and then not a byte too many. */
#include "unit.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include <qcow2.h>

#include "codec/codec.h"

enum { CLUSTER = 4096, ROOM = 4 * CLUSTER };

static unsigned char data[2 * CLUSTER]; /* what is compressed */
static unsigned char stream[ROOM];
static unsigned char out[CLUSTER + 1];

static int fill_data(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof data; i++) {
        data[i] = (unsigned char)(i * i >> 7 ^ i);
    }
    return 0;
}

struct look {
    bool checksum;
    bool no_size;
    int window_log;
};

/* Appends a frame of data[from, from + n) to the stream; where it ends. */
static size_t frame(size_t at, size_t from, size_t n, struct look look)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_outBuffer to = { stream, sizeof stream, at };
    ZSTD_inBuffer in = { data + from, n, 0 };

    assert_non_null(context);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, look.checksum);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, !look.no_size);
    if (look.window_log != 0) {
        ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, look.window_log);
    }
    if (!look.no_size) {
        ZSTD_CCtx_setPledgedSrcSize(context, n);
    }
    memset(stream + at, 0, sizeof stream - at);
    while (ZSTD_compressStream2(context, &to, &in, ZSTD_e_end) != 0) {
        assert_true(to.pos < to.size);
    }
    ZSTD_freeCCtx(context);
    return to.pos;
}

/* Appends a frame that decoders step over. */
static size_t skippable(size_t at, size_t n)
{
    const unsigned char magic[8] = { 0x5A, 0x2A, 0x4D, 0x18, (unsigned char)n };

    memcpy(stream + at, magic, 8);
    memset(stream + at + 8, 0xFF, n);
    return at + 8 + n;
}

static enum q2_codec_result decode(struct q2_decoder *decoder, size_t in_bytes)
{
    unsigned char *in = malloc(in_bytes + (in_bytes == 0));
    enum q2_codec_result r;

    assert_non_null(in);
    memcpy(in, stream, in_bytes);
    memset(out, 0x5A, sizeof out);
    r = q2_codec_decode(decoder, QCOW2_COMPRESSION_ZSTD, in, in_bytes, false, out, CLUSTER);
    assert_int_equal(out[CLUSTER], 0x5A);
    free(in);
    return r;
}

static void check(size_t in_bytes, enum q2_codec_result wanted)
{
    struct q2_decoder decoder;

    q2_decoder_init(&decoder);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(decode(&decoder, in_bytes), wanted);
        if (wanted == Q2_CODEC_OK) {
            assert_memory_equal(out, data, CLUSTER);
        }
    }
    q2_decoder_deinit(&decoder);
}

static const struct look plain, summed = { .checksum = true }, sizeless = { .no_size = true },
                                both = { .checksum = true, .no_size = true };

static void frame_of_one_cluster_is_decoded(void **state)
{
    (void)state;
    check(frame(0, 0, CLUSTER, plain), Q2_CODEC_OK);
    check(frame(0, 0, CLUSTER, summed), Q2_CODEC_OK);
    check(frame(0, 0, CLUSTER, sizeless), Q2_CODEC_OK);
    check(frame(0, 0, CLUSTER, both), Q2_CODEC_OK);
}

static void frames_in_a_row_are_joined(void **state)
{
    static const struct look looks[] = { { 0 }, { .checksum = true }, { .no_size = true } };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < 3; k++) {
            size_t n = frame(0, 0, 1000, looks[i]);

            n = frame(n, 1000, 0, looks[k]); /* empty */
            n = frame(n, 1000, 96, looks[k]);
            n = frame(n, 1096, CLUSTER - 1096, looks[i]);
            check(n, Q2_CODEC_OK);
        }
    }
}

static void skippable_frames_are_skipped(void **state)
{
    size_t n = skippable(0, 100);

    (void)state;
    n = frame(n, 0, 1000, plain);
    n = skippable(n, 0);
    n = frame(n, 1000, CLUSTER - 1000, sizeless);
    check(n, Q2_CODEC_OK);
    check(skippable(0, 100), Q2_CODEC_BAD);
}

static void padding_after_the_last_frame_is_ignored(void **state)
{
    size_t n = frame(0, 0, CLUSTER, sizeless);

    (void)state;
    check(n + 500, Q2_CODEC_OK);
    memset(stream + n, 0xFF, 500);
    check(n + 1, Q2_CODEC_OK);
    check(n + 500, Q2_CODEC_OK);
    frame(n, 0, CLUSTER, plain);
    check(n + 20, Q2_CODEC_OK);
}

static void frame_longer_than_the_cluster_is_bad(void **state)
{
    (void)state;
    check(frame(0, 0, CLUSTER + 1, plain), Q2_CODEC_BAD);
    check(frame(0, 0, CLUSTER + 1, sizeless), Q2_CODEC_BAD);
    check(frame(0, 0, 2 * CLUSTER, both), Q2_CODEC_BAD);
    check(frame(frame(0, 0, 1000, plain), 1000, CLUSTER - 999, sizeless), Q2_CODEC_BAD);
    check(frame(frame(0, 0, 1000, sizeless), 1000, CLUSTER - 999, plain), Q2_CODEC_BAD);
}

static void frames_shorter_than_the_cluster_are_bad(void **state)
{
    (void)state;
    check(0, Q2_CODEC_BAD);
    check(frame(0, 0, 0, plain), Q2_CODEC_BAD);
    check(frame(0, 0, CLUSTER - 1, plain), Q2_CODEC_BAD);
    check(frame(0, 0, CLUSTER - 1, sizeless), Q2_CODEC_BAD);
    check(frame(0, 0, CLUSTER - 1, plain) + 300, Q2_CODEC_BAD);
    check(frame(0, 0, CLUSTER - 1, sizeless) + 300, Q2_CODEC_BAD);
}

static void frame_cut_short_is_bad_wherever(void **state)
{
    static const struct look looks[] = { { 0 }, { .no_size = true }, { true, true, 0 } };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        size_t n = frame(0, 0, CLUSTER, looks[i]);

        for (size_t keep = 0; keep<n; keep += keep> 20 && keep + 20 < n ? 17 : 1) {
            check(keep, Q2_CODEC_BAD);
        }
    }
}

static void checksum_is_verified(void **state)
{
    (void)state;
    for (int no_size = 0; no_size < 2; no_size++) {
        size_t n = frame(0, 0, CLUSTER, no_size ? both : summed);

        stream[n - 1] ^= 1;
        check(n, Q2_CODEC_BAD);
        n = frame(0, 0, 1000, no_size ? both : summed);
        stream[n - 2] ^= 0x80;
        check(frame(n, 1000, CLUSTER - 1000, plain), Q2_CODEC_BAD);
    }
}

static void window_above_128_mib_is_bad_unless_the_size_is_known(void **state)
{
    size_t n = frame(0, 0, CLUSTER, sizeless);

    (void)state;
    assert_int_equal(stream[4] & 0x20, 0); /* the window byte is there */
    stream[5] = (27 - 10) << 3;
    check(n, Q2_CODEC_OK);
    stream[5] = (27 - 10) << 3 | 1;
    check(n, Q2_CODEC_BAD);
    stream[5] = (28 - 10) << 3;
    check(n, Q2_CODEC_BAD);
    stream[5] = 0xFF;
    check(n, Q2_CODEC_BAD);
}

/* A cluster is at most 2 MiB, so a larger window is never needed, however large a frame says its own
 * is: with 128 MiB for each reader a small image could take all memory. */
static void window_memory_is_bounded(void **state)
{
    struct q2_decoder decoder;
    size_t n = frame(0, 0, CLUSTER, sizeless);

    (void)state;
    stream[5] = (27 - 10) << 3;
    q2_decoder_init(&decoder);
    assert_int_equal(decode(&decoder, n), Q2_CODEC_OK);
    assert_memory_equal(out, data, CLUSTER);
    assert_true(ZSTD_sizeof_DCtx(decoder.zstd) < (size_t)4 << 20);
    q2_decoder_deinit(&decoder);
}

enum { LARGE = 1 << 18, LARGE_ROOM = LARGE + (1 << 16) };

/* What QEMU makes of one frame: the streaming decoder as it is, once over all of it. */
static bool by_streaming(const unsigned char *in, size_t in_bytes, void *to, size_t room)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    ZSTD_outBuffer output = { to, room, 0 };
    ZSTD_inBuffer input = { in, in_bytes, 0 };
    size_t hint = 1, before;

    assert_non_null(context);
    do {
        before = input.pos + output.pos;
        hint = ZSTD_decompressStream(context, &output, &input);
    } while (!ZSTD_isError(hint) && hint != 0 && output.pos < room &&
             input.pos + output.pos != before);
    ZSTD_freeDCtx(context);
    return hint == 0 && output.pos == room;
}

/* A large cluster without content size, made of pieces of a few thousand bytes of noise, from here and there,
 * in blocks that every window allows. How long it is. */
static size_t pack_large(unsigned char *cluster, void *packed, unsigned seed, int window_log)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_outBuffer to = { packed, LARGE_ROOM, 0 };
    ZSTD_inBuffer in = { cluster, 0, 0 };
    uint32_t noise = seed;

    assert_non_null(context);
    for (size_t i = 0, from = 0, left = 0; i < LARGE; i++, left--) {
        noise = noise * 1664525 + 1013904223;
        if (left == 0) {
            from = (noise >> 8) % (1000 * seed);
            left = 10 + (noise >> 16) % 900;
        }
        cluster[i] = (unsigned char)(i < 2000 * seed ? noise >> 24 : cluster[from++]);
    }
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    while (in.size < LARGE) {
        in.size += 1024;
        assert_int_equal(
            ZSTD_compressStream2(context, &to, &in, in.size < LARGE ? ZSTD_e_flush : ZSTD_e_end),
            0);
    }
    ZSTD_freeCCtx(context);
    return to.pos;
}

/* By the decoder; what it makes is what QEMU makes, in whose memory odd bytes may lie. True: it is good. */
static bool decode_large(const unsigned char *packed, size_t n, const unsigned char *cluster)
{
    unsigned char *ours = malloc(LARGE), *theirs = malloc(LARGE);
    struct q2_decoder decoder;
    bool good;

    assert_non_null(ours);
    assert_non_null(theirs);
    q2_decoder_init(&decoder);
    good = q2_codec_decode(&decoder, QCOW2_COMPRESSION_ZSTD, packed, n, false, ours, LARGE) ==
           Q2_CODEC_OK;
    q2_decoder_deinit(&decoder);
    if (good) {
        assert_true(by_streaming(packed, n, theirs, LARGE));
        assert_memory_equal(ours, theirs, LARGE);
        assert_memory_equal(ours, cluster, LARGE);
    }
    free(ours);
    free(theirs);
    return good;
}

/* Nobody writes one, but damage to one byte makes it: then the window byte says 1 KiB, and matches go
 * further back. */
static void match_behind_the_window_is_bad(void **state)
{
    unsigned char *cluster = malloc(LARGE), *packed = malloc(LARGE_ROOM);

    (void)state;
    assert_non_null(cluster);
    assert_non_null(packed);
    for (unsigned seed = 1; seed <= 12; seed++) {
        size_t n = pack_large(cluster, packed, seed, 18);

        assert_true(decode_large(packed, n, cluster));
        packed[5] = 0;
        assert_false(decode_large(packed, n, cluster));
    }
    free(cluster);
    free(packed);
}

static void window_smaller_than_the_cluster_is_fine(void **state)
{
    unsigned char *cluster = malloc(LARGE), *packed = malloc(LARGE_ROOM);

    (void)state;
    assert_non_null(cluster);
    assert_non_null(packed);
    for (int window_log = 10; window_log <= 18; window_log++) {
        size_t n = pack_large(cluster, packed, 7, window_log);

        assert_true(decode_large(packed, n, cluster));
    }
    free(cluster);
    free(packed);
}

static void block_larger_than_its_window_is_bad(void **state)
{
    /* No content size, a window of 1 KiB, one stored block of a cluster. */
    static const unsigned char head[] = { 0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x00, 0x01, 0x80, 0x00 };

    (void)state;
    memcpy(stream, head, sizeof head);
    memcpy(stream + sizeof head, data, CLUSTER);
    check(sizeof head + CLUSTER, Q2_CODEC_BAD);
    stream[5] = 2 << 3; /* 4 KiB */
    check(sizeof head + CLUSTER, Q2_CODEC_OK);
}

static void deflate_and_old_formats_are_bad(void **state)
{
    size_t n = frame(0, 0, CLUSTER, plain);

    (void)state;
    for (unsigned char magic = 0x1E; magic < 0x28; magic++) {
        stream[0] = magic;
        check(n, Q2_CODEC_BAD);
    }
    memset(stream, 0, 600);
    check(600, Q2_CODEC_BAD);
}

static void decoder_is_as_good_as_new_after_a_bad_frame(void **state)
{
    struct q2_decoder decoder;

    (void)state;
    q2_decoder_init(&decoder);
    for (int round = 0; round < 3; round++) {
        size_t n = frame(0, 0, CLUSTER, round == 1 ? sizeless : plain);

        assert_int_equal(decode(&decoder, n / 2), Q2_CODEC_BAD);
        assert_int_equal(decode(&decoder, n), Q2_CODEC_OK);
        assert_memory_equal(out, data, CLUSTER);
        n = frame(0, 0, CLUSTER + 1, sizeless);
        assert_int_equal(decode(&decoder, n), Q2_CODEC_BAD);
        n = frame(0, 0, CLUSTER, both);
        assert_int_equal(decode(&decoder, n), Q2_CODEC_OK);
        assert_memory_equal(out, data, CLUSTER);
    }
    q2_decoder_deinit(&decoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_of_one_cluster_is_decoded),
        cmocka_unit_test(frames_in_a_row_are_joined),
        cmocka_unit_test(skippable_frames_are_skipped),
        cmocka_unit_test(padding_after_the_last_frame_is_ignored),
        cmocka_unit_test(frame_longer_than_the_cluster_is_bad),
        cmocka_unit_test(frames_shorter_than_the_cluster_are_bad),
        cmocka_unit_test(frame_cut_short_is_bad_wherever),
        cmocka_unit_test(checksum_is_verified),
        cmocka_unit_test(window_above_128_mib_is_bad_unless_the_size_is_known),
        cmocka_unit_test(window_memory_is_bounded),
        cmocka_unit_test(match_behind_the_window_is_bad),
        cmocka_unit_test(window_smaller_than_the_cluster_is_fine),
        cmocka_unit_test(block_larger_than_its_window_is_bad),
        cmocka_unit_test(deflate_and_old_formats_are_bad),
        cmocka_unit_test(decoder_is_as_good_as_new_after_a_bad_frame),
    };

    return cmocka_run_group_tests(tests, fill_data, NULL);
}
