/* SPDX-License-Identifier: MIT */
/* test_deflate.c - codec/deflate: streams that end with the cluster, and the many that do not. */
#include "unit.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include <qcow2.h>

#include "codec/codec.h"
#include "codec/deflate_head.h"

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

/* Compresses n bytes of data; window_bits as zlib has them; flush Z_FINISH or Z_SYNC_FLUSH. */
static size_t pack(size_t n, int window_bits, int flush)
{
    z_stream z = { 0 };
    size_t made;

    memset(stream, 0, sizeof stream);
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = data;
    z.avail_in = (uInt)n;
    z.next_out = stream;
    z.avail_out = sizeof stream;
    assert_true(deflate(&z, flush) >= 0);
    made = z.total_out;
    (void)deflateEnd(&z);
    return made;
}

/* A stored block of n bytes (below 65536) of data at stream + at; where it ends. */
static size_t stored(size_t at, size_t n, bool final)
{
    stream[at] = final ? 1 : 0;
    stream[at + 1] = (unsigned char)n;
    stream[at + 2] = (unsigned char)(n >> 8);
    stream[at + 3] = (unsigned char)~n;
    stream[at + 4] = (unsigned char)~(n >> 8);
    memcpy(stream + at + 5, data, n);
    return at + 5 + n;
}

/* Decodes in_bytes of stream into a cluster with a guard behind it, from a buffer of just that size,
 * so that a sanitizer sees a byte read too far. */
static enum q2_codec_result decode(struct q2_decoder *decoder, size_t in_bytes, bool cut)
{
    unsigned char *in = malloc(in_bytes + (in_bytes == 0));
    enum q2_codec_result r;

    assert_non_null(in);
    memcpy(in, stream, in_bytes);
    memset(out, 0x5A, sizeof out);
    r = q2_codec_decode(decoder, QCOW2_COMPRESSION_DEFLATE, in, in_bytes, cut, out, CLUSTER);
    assert_int_equal(out[CLUSTER], 0x5A);
    free(in);
    return r;
}

static void check(size_t in_bytes, bool cut, enum q2_codec_result wanted)
{
    struct q2_decoder decoder;

    q2_decoder_init(&decoder);
    /* Twice: contexts are used again, and what one stream left behind must not reach the next. */
    for (int round = 0; round < 2; round++) {
        assert_int_equal(decode(&decoder, in_bytes, cut), wanted);
        if (wanted == Q2_CODEC_OK) {
            assert_memory_equal(out, data, CLUSTER);
        }
    }
    q2_decoder_deinit(&decoder);
}

static void stream_of_one_cluster_is_decoded(void **state)
{
    (void)state;
    check(pack(CLUSTER, -12, Z_FINISH), false, Q2_CODEC_OK);
    check(pack(CLUSTER, -15, Z_FINISH), false, Q2_CODEC_OK);
    check(pack(CLUSTER, -15, Z_FINISH), true, Q2_CODEC_OK);
    check(stored(0, CLUSTER, true), false, Q2_CODEC_OK);
}

static void padding_after_the_stream_is_ignored(void **state)
{
    size_t n = pack(CLUSTER, -12, Z_FINISH);

    (void)state;
    check(n + 511, false, Q2_CODEC_OK);
    check(n + 3000, false, Q2_CODEC_OK);
    memset(stream + n, 0xFF, 3000);
    check(n + 1, false, Q2_CODEC_OK);
    check(n + 511, false, Q2_CODEC_OK);
    check(n + 3000, false, Q2_CODEC_OK);
}

static void stream_longer_than_the_cluster_is_cut(void **state)
{
    (void)state;
    check(pack(CLUSTER + 1, -12, Z_FINISH), false, Q2_CODEC_OK);
    check(pack(2 * CLUSTER, -12, Z_FINISH), false, Q2_CODEC_OK);
}

static void stream_shorter_than_the_cluster_is_bad(void **state)
{
    (void)state;
    check(pack(CLUSTER - 1, -12, Z_FINISH), false, Q2_CODEC_BAD);
    check(pack(1, -12, Z_FINISH), false, Q2_CODEC_BAD);
    check(pack(0, -12, Z_FINISH), false, Q2_CODEC_BAD);
    check(pack(CLUSTER - 1, -12, Z_FINISH) + 600, false, Q2_CODEC_BAD);
}

static void unfinished_stream_is_good_if_its_input_is_all_there(void **state)
{
    size_t n = stored(0, CLUSTER, false);

    (void)state;
    check(n, false, Q2_CODEC_OK);
}

static void unfinished_stream_is_bad_if_the_file_ends_there(void **state)
{
    size_t n = stored(0, CLUSTER, false);

    (void)state;
    check(n, true, Q2_CODEC_BAD);
}

static void unfinished_stream_with_a_bad_block_behind_it_is_bad(void **state)
{
    size_t n = stored(0, CLUSTER, false);

    (void)state;
    memset(stream + n, 0x06, 16); /* the reserved block type */
    check(n + 16, false, Q2_CODEC_BAD);
    memset(stream + n, 0, 16); /* a stored block whose lengths disagree */
    check(n + 16, false, Q2_CODEC_BAD);
    n = pack(CLUSTER, -12, Z_SYNC_FLUSH);
    check(n + 16, false, Q2_CODEC_BAD);
}

static void unfinished_stream_with_a_good_block_behind_it_is_good(void **state)
{
    size_t n = stored(0, CLUSTER, false);

    (void)state;
    check(stored(n, 100, true), false, Q2_CODEC_OK);
}

static void stream_cut_short_is_bad_wherever(void **state)
{
    size_t n = pack(CLUSTER, -12, Z_FINISH);

    (void)state;
    for (size_t keep = 0; keep < n; keep += keep + 20 < n ? 13 : 1) {
        struct q2_decoder decoder;

        q2_decoder_init(&decoder);
        /* The last bits of a stream say no more than that it ends. */
        if (decode(&decoder, keep, true) == Q2_CODEC_OK) {
            assert_true(n - keep <= 2);
        }
        q2_decoder_deinit(&decoder);
    }
}

static void wrapped_streams_are_bad(void **state)
{
    (void)state;
    check(pack(CLUSTER, 15, Z_FINISH), false, Q2_CODEC_BAD);      /* zlib */
    check(pack(CLUSTER, 15 + 16, Z_FINISH), false, Q2_CODEC_BAD); /* gzip */
}

/* Bits from the least significant one on, as RFC 1951 has them; codes come with their first bit first. */
static void put_bits(size_t *at, unsigned bits, unsigned n)
{
    while (n-- > 0) {
        stream[*at / 8] |= (unsigned char)((bits & 1) << *at % 8);
        bits >>= 1;
        ++*at;
    }
}

static void put_code(size_t *at, unsigned code, unsigned n)
{
    while (n-- > 0) {
        put_bits(at, code >> n & 1, 1);
    }
}

/* A cluster in one block of the fixed code, by its last length: symbol 285 is 258 bytes, 286 is
 * reserved (libdeflate takes it for the same). The first byte, then 15 lengths of 258 and one of 225. */
static size_t fixed_block(unsigned length_symbol)
{
    size_t at = 0;

    memset(stream, 0, sizeof stream);
    put_bits(&at, 1 | 1 << 1, 3);
    put_code(&at, 0x30 + 'x', 8);
    for (int i = 0; i < 15; i++) {
        put_code(&at, 0xC0 + (i == 14 ? length_symbol : 285) - 280, 8);
        put_code(&at, 0, 5);
    }
    put_code(&at, 0xC0 + 283 - 280, 8); /* 195 bytes and 5 bits more */
    put_bits(&at, 225 - 195, 5);
    put_code(&at, 0, 5);
    put_code(&at, 0, 7);
    return (at + 7) / 8;
}

static void reserved_length_is_bad_in_the_fixed_code(void **state)
{
    memset(data, 'x', CLUSTER);
    check(fixed_block(285), false, Q2_CODEC_OK);
    check(fixed_block(286), false, Q2_CODEC_BAD);
    check(fixed_block(287), false, Q2_CODEC_BAD);
    (void)fill_data(state);
}

/* What a block says of its code, and what it uses of that. */
struct look {
    unsigned lengths,
        distances;     /* symbols for literals and lengths (286 to 288), and for distances */
    unsigned used;     /* distances that have a code, of one bit: 2, or 1; the rest has none */
    unsigned beyond;   /* of so many more, 0 or 10 and more, it says that they have none */
    unsigned bit;      /* for the distance: 0 is 1, and 1 is 2, if there are two */
    bool meta_is_open; /* the code of the lengths leaves something open */
};

/* A run of n symbols that have no code, 0 or more than 10, in the code that dynamic_block makes for lengths. */
static void put_absent(size_t *at, unsigned n)
{
    if (n > 0) {
        put_code(at, 0, 1);
        put_bits(at, n - 11, 7);
    }
}

/* The same cluster in a block with a code of its own, all but the needed symbols being without one. */
static size_t dynamic_block(struct look look)
{
    /* How long the codes of lengths are, in the order of RFC 1951: "no code" 11 to 138 times has 0, once
     * 10; "1 bit" has 110, "2 bits" 111. */
    const unsigned char code[18] = { [2] = 1, [3] = 2, [15] = 3, [17] = look.meta_is_open ? 4 : 3 };
    size_t at = 0;

    memset(stream, 0, sizeof stream);
    put_bits(&at, 1 | 2 << 1, 3);
    put_bits(&at, look.lengths - 257, 5);
    put_bits(&at, look.distances - 1, 5);
    put_bits(&at, sizeof code - 4, 4);
    for (size_t i = 0; i < sizeof code; i++) {
        put_bits(&at, code[i], 3);
    }
    put_absent(&at, 'x');
    put_code(&at, 7, 3); /* x: 10 */
    put_absent(&at, 256 - 'x' - 1);
    put_code(&at, 7, 3); /* the end of the block: 11 */
    put_absent(&at, 285 - 257);
    put_code(&at, 6, 3); /* 258 bytes: 0 */
    for (unsigned i = 286; i < look.lengths; i++) {
        put_code(&at, 2, 2);
    }
    for (unsigned i = 0; i < look.used; i++) {
        put_code(&at, 6, 3);
    }
    put_absent(&at, look.distances - look.used + look.beyond);

    put_code(&at, 2, 2);
    put_code(&at, 2, 2);
    for (int i = 0; i < 15; i++) {
        put_code(&at, 0, 1);
        put_code(&at, look.bit, 1);
    }
    for (int i = 0; i < 224; i++) {
        put_code(&at, 2, 2);
    }
    put_code(&at, 3, 2);
    return (at + 7) / 8;
}

/* libdeflate minds none of them, as long as they are not used. */
static void code_with_room_for_reserved_symbols_is_bad(void **state)
{
    memset(data, 'x', CLUSTER);
    check(dynamic_block((struct look){ 286, 2, .used = 2 }), false, Q2_CODEC_OK);
    check(dynamic_block((struct look){ 287, 2, .used = 2 }), false, Q2_CODEC_BAD);
    check(dynamic_block((struct look){ 288, 2, .used = 2 }), false, Q2_CODEC_BAD);
    check(dynamic_block((struct look){ 286, 30, .used = 2 }), false, Q2_CODEC_OK);
    check(dynamic_block((struct look){ 286, 31, .used = 2 }), false, Q2_CODEC_BAD);
    check(dynamic_block((struct look){ 286, 32, .used = 2 }), false, Q2_CODEC_BAD);
    (void)fill_data(state);
}

/* A code of one symbol takes a bit, of which the other value is no code. */
static void bits_that_are_no_code_are_bad(void **state)
{
    memset(data, 'x', CLUSTER);
    check(dynamic_block((struct look){ 286, 2, .used = 2, .bit = 1 }), false, Q2_CODEC_OK);
    check(dynamic_block((struct look){ 286, 1, .used = 1, .bit = 0 }), false, Q2_CODEC_OK);
    check(dynamic_block((struct look){ 286, 1, .used = 1, .bit = 1 }), false, Q2_CODEC_BAD);
    check(dynamic_block((struct look){ 286, 12, .used = 1, .bit = 1 }), false, Q2_CODEC_BAD);
    (void)fill_data(state);
}

/* Which only libdeflate takes, some versions of it. */
static void code_that_says_too_much_or_too_little_of_itself_is_bad(void **state)
{
    memset(data, 'x', CLUSTER);
    check(dynamic_block((struct look){ 286, 13, .used = 2 }), false, Q2_CODEC_OK);
    check(dynamic_block((struct look){ 286, 3, .used = 2, .beyond = 10 }), false, Q2_CODEC_BAD);
    check(dynamic_block((struct look){ 286, 2, .used = 2, .meta_is_open = true }), false,
          Q2_CODEC_BAD);
    (void)fill_data(state);
}

/* Else all would be right still, and slow. Alphabets of all sizes, so that codes of all kinds are made. */
static void what_an_encoder_says_of_its_code_is_plain(void **state)
{
    unsigned dynamic = 0;

    for (unsigned letters = 2; letters <= 256; letters += letters < 20 ? 1 : 7) {
        uint32_t noise = letters;
        size_t n;

        for (unsigned i = 0; i < CLUSTER; i++) {
            noise = noise * 1664525 + 1013904223;
            data[i] = (unsigned char)(((noise >> 8 & 0xFFF) * (noise >> 20) >> 12) * letters >> 12);
        }
        n = pack(CLUSTER, -12, Z_FINISH);
        if ((stream[0] >> 1 & 3) == 2) {
            assert_true(q2_deflate_head_is_plain(stream, n));
            for (size_t cut = 0; cut < 8; cut++) {
                assert_false(q2_deflate_head_is_plain(stream, cut));
            }
            dynamic++;
        }
    }
    assert_true(dynamic > 20);
    (void)fill_data(state);
}

/* Behind a first block that is sound, libdeflate has the word, if the stream ends in its last sector, as what
 * an encoder wrote does; else zlib. */
static void damage_in_a_later_block_is_bad_if_a_sector_is_left(void **state)
{
    const struct look damaged = { 286, 3, .used = 2, .beyond = 10 };
    unsigned char second[600];
    size_t n = dynamic_block(damaged);

    assert_true(n <= sizeof second);
    memcpy(second, stream, n);
    memset(data, 'x', CLUSTER);
    memmove(stream + 5, second, n);
    (void)stored(0, 0, false);
    check(5 + n + 512, false, Q2_CODEC_BAD);
    (void)fill_data(state);
}

static void decoder_is_as_good_as_new_after_a_bad_stream(void **state)
{
    struct q2_decoder decoder;
    size_t n;

    (void)state;
    q2_decoder_init(&decoder);
    for (int round = 0; round < 3; round++) {
        memset(stream, 0x06, 600);
        assert_int_equal(decode(&decoder, 600, false), Q2_CODEC_BAD);
        n = pack(CLUSTER, -12, Z_FINISH);
        assert_int_equal(decode(&decoder, n, false), Q2_CODEC_OK);
        assert_memory_equal(out, data, CLUSTER);
        assert_int_equal(decode(&decoder, n - n / 3, false), Q2_CODEC_BAD);
        n = pack(2 * CLUSTER, -12, Z_FINISH);
        assert_int_equal(decode(&decoder, n, false), Q2_CODEC_OK);
        assert_memory_equal(out, data, CLUSTER);
    }
    q2_decoder_deinit(&decoder);
}

static void decoder_never_used_is_deinited(void **state)
{
    struct q2_decoder decoder;

    (void)state;
    q2_decoder_init(&decoder);
    q2_decoder_deinit(&decoder);
    q2_decoder_deinit(&decoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_of_one_cluster_is_decoded),
        cmocka_unit_test(padding_after_the_stream_is_ignored),
        cmocka_unit_test(stream_longer_than_the_cluster_is_cut),
        cmocka_unit_test(stream_shorter_than_the_cluster_is_bad),
        cmocka_unit_test(unfinished_stream_is_good_if_its_input_is_all_there),
        cmocka_unit_test(unfinished_stream_is_bad_if_the_file_ends_there),
        cmocka_unit_test(unfinished_stream_with_a_bad_block_behind_it_is_bad),
        cmocka_unit_test(unfinished_stream_with_a_good_block_behind_it_is_good),
        cmocka_unit_test(stream_cut_short_is_bad_wherever),
        cmocka_unit_test(wrapped_streams_are_bad),
        cmocka_unit_test(reserved_length_is_bad_in_the_fixed_code),
        cmocka_unit_test(code_with_room_for_reserved_symbols_is_bad),
        cmocka_unit_test(bits_that_are_no_code_are_bad),
        cmocka_unit_test(code_that_says_too_much_or_too_little_of_itself_is_bad),
        cmocka_unit_test(what_an_encoder_says_of_its_code_is_plain),
        cmocka_unit_test(damage_in_a_later_block_is_bad_if_a_sector_is_left),
        cmocka_unit_test(decoder_is_as_good_as_new_after_a_bad_stream),
        cmocka_unit_test(decoder_never_used_is_deinited),
    };

    return cmocka_run_group_tests(tests, fill_data, NULL);
}
