/* SPDX-License-Identifier: MIT */
/* test_luks_header.c - every field of a LUKS header, right and wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <qcow2.h>

#include "crypto/luks.h"

enum { CIPHER = 8, MODE = 40, HASH = 72, PAYLOAD = 104, KEY_BYTES = 108, DIGEST_ITERATIONS = 164 };
enum { UUID = 168, SLOTS = 208, SLOT_BYTES = 48 };
enum { STATE = 0, ITERATIONS = 4, SECTOR = 40, STRIPES = 44 }; /* within a slot */

static void put(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

static void put_name(uint8_t *to, const char *name)
{
    memset(to, 0, 32);
    (void)snprintf((char *)to, 32, "%s", name);
}

static uint8_t *slot_field(uint8_t *header, unsigned slot, size_t field)
{
    return header + SLOTS + (size_t)slot * SLOT_BYTES + field;
}

/* As qemu-img writes it: aes-256-xts-plain64, sha256, slot 0 active, slots of 504 sectors. */
static void good_header(uint8_t header[Q2_LUKS_HEADER_BYTES])
{
    static const uint8_t magic_and_version[8] = { 'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1 };
    static const char uuid[] = "01234567-89ab-4cde-8f01-23456789abcd";

    memset(header, 0, Q2_LUKS_HEADER_BYTES);
    memcpy(header, magic_and_version, sizeof magic_and_version);
    put_name(header + CIPHER, "aes");
    put_name(header + MODE, "xts-plain64");
    put_name(header + HASH, "sha256");
    put(header + PAYLOAD, 8 + 8 * 504);
    put(header + KEY_BYTES, 64);
    memset(header + 112, 0xd1, 20);
    memset(header + 132, 0xd2, 32);
    put(header + DIGEST_ITERATIONS, 1000);
    memcpy(header + UUID, uuid, sizeof uuid);
    for (unsigned i = 0; i < 8; i++) {
        put(slot_field(header, i, STATE), i == 0 ? 0x00ac71f3 : 0x0000dead);
        put(slot_field(header, i, ITERATIONS), i == 0 ? 77 : 0);
        memset(slot_field(header, i, 8), (int)(0x40 + i), 32);
        put(slot_field(header, i, SECTOR), 8 + i * 504);
        put(slot_field(header, i, STRIPES), 4000);
    }
}

static void expect(const uint8_t *header, int code, const char *part_of_message)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_luks_header decoded;

    assert_int_equal(q2_luks_decode(header, Q2_LUKS_HEADER_BYTES, &decoded, &err), code);
    if (code < 0) {
        assert_int_equal(err.code, code);
        if (strstr(err.message, part_of_message) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", err.message, part_of_message);
        }
    }
}

static void good_header_is_decoded(void **state)
{
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];
    struct q2_luks_header header;

    (void)state;
    good_header(bytes);
    assert_int_equal(q2_luks_decode(bytes, sizeof bytes, &header, NULL), 0);
    assert_int_equal(header.method.family, Q2_CIPHER_AES);
    assert_int_equal(header.method.mode, Q2_MODE_XTS);
    assert_int_equal(header.method.ivgen, Q2_IVGEN_PLAIN64);
    assert_int_equal(header.method.ivgen_hash, Q2_HASH_NONE);
    assert_int_equal(header.hash, Q2_HASH_SHA256);
    assert_string_equal(header.cipher_alg, "aes-256");
    assert_int_equal(header.key_bytes, 64);
    assert_int_equal(header.payload_off, 4040 * 512);
    assert_int_equal(header.digest_iterations, 1000);
    assert_int_equal(header.digest[19], 0xd1);
    assert_int_equal(header.digest_salt[31], 0xd2);
    assert_string_equal(header.uuid, "01234567-89ab-4cde-8f01-23456789abcd");
    assert_true(header.slots[0].active);
    assert_int_equal(header.slots[0].iterations, 77);
    assert_int_equal(header.slots[0].material_off, 4096);
    assert_int_equal(header.slots[0].salt[31], 0x40);
    assert_false(header.slots[7].active);
    assert_int_equal(header.slots[7].stripes, 4000);
    assert_int_equal(header.slots[7].material_off, (8 + 7 * 504) * 512);
    assert_int_equal(header.slots[7].salt[0], 0x47);
    assert_int_equal(q2_luks_material_bytes(&header), 256000);
}

static void every_short_length_is_truncated(void **state)
{
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];
    struct q2_luks_header header;

    (void)state;
    good_header(bytes);
    for (size_t n = 0; n < sizeof bytes; n++) {
        assert_int_equal(q2_luks_decode(bytes, n, &header, NULL), QCOW2_E_TRUNCATED);
    }
}

static void wrong_magic_is_corrupt(void **state)
{
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        good_header(bytes);
        bytes[i] ^= 1;
        expect(bytes, QCOW2_E_CORRUPT, "magic");
    }
}

static void other_versions_are_unsupported(void **state)
{
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];

    (void)state;
    good_header(bytes);
    bytes[7] = 2;
    expect(bytes, QCOW2_E_UNSUPPORTED, "version 2");
    bytes[7] = 0;
    expect(bytes, QCOW2_E_UNSUPPORTED, "version 0");
    bytes[6] = 1;
    bytes[7] = 1;
    expect(bytes, QCOW2_E_UNSUPPORTED, "version 257");
}

static void names_without_terminator_are_corrupt(void **state)
{
    static const struct {
        size_t at;
        const char *what;
    } names[] = { { CIPHER, "cipher name" }, { MODE, "cipher mode" }, { HASH, "hash name" } };
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        good_header(bytes);
        for (size_t b = 0; b < 32; b++) {
            if (bytes[names[i].at + b] == 0) {
                bytes[names[i].at + b] = 'x';
            }
        }
        expect(bytes, QCOW2_E_CORRUPT, names[i].what);
    }
}

static void names_decide_the_method(void **state)
{
    static const struct {
        const char *cipher, *mode, *hash, *cipher_alg;
        uint32_t key_bytes;
        enum q2_cipher_mode cipher_mode;
        enum q2_ivgen ivgen;
        enum q2_hash ivgen_hash;
    } good[] = {
        { "aes", "cbc-plain", "sha1", "aes-128", 16, Q2_MODE_CBC, Q2_IVGEN_PLAIN, Q2_HASH_NONE },
        { "aes", "cbc-essiv:sha256", "sha224", "aes-192", 24, Q2_MODE_CBC, Q2_IVGEN_ESSIV,
          Q2_HASH_SHA256 },
        { "aes", "xts-plain64", "sha384", "aes-192", 48, Q2_MODE_XTS, Q2_IVGEN_PLAIN64,
          Q2_HASH_NONE },
        /* A hash behind plain64 must be known, but has no effect. */
        { "aes", "ecb-plain64:sha1", "md5", "aes-256", 32, Q2_MODE_ECB, Q2_IVGEN_PLAIN64,
          Q2_HASH_NONE },
        { "serpent", "xts-plain64", "sha512", "serpent-256", 64, Q2_MODE_XTS, Q2_IVGEN_PLAIN64,
          Q2_HASH_NONE },
        { "twofish", "ctr-plain64", "ripemd160", "twofish-192", 24, Q2_MODE_CTR, Q2_IVGEN_PLAIN64,
          Q2_HASH_NONE },
        { "cast5", "cbc-essiv:md5", "sha256", "cast5-128", 16, Q2_MODE_CBC, Q2_IVGEN_ESSIV,
          Q2_HASH_MD5 },
        { "sm4", "xts-plain64", "sm3", "sm4-128", 32, Q2_MODE_XTS, Q2_IVGEN_PLAIN64, Q2_HASH_NONE },
    };
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct q2_luks_header header;

        good_header(bytes);
        put_name(bytes + CIPHER, good[i].cipher);
        put_name(bytes + MODE, good[i].mode);
        put_name(bytes + HASH, good[i].hash);
        put(bytes + KEY_BYTES, good[i].key_bytes);
        assert_int_equal(q2_luks_decode(bytes, sizeof bytes, &header, NULL), 0);
        assert_string_equal(header.cipher_alg, good[i].cipher_alg);
        assert_string_equal(q2_cipher_family_name(header.method.family), good[i].cipher);
        assert_string_equal(q2_hash_name(header.hash), good[i].hash);
        assert_int_equal(header.method.mode, good[i].cipher_mode);
        assert_int_equal(header.method.ivgen, good[i].ivgen);
        assert_int_equal(header.method.ivgen_hash, good[i].ivgen_hash);
        assert_int_equal(header.key_bytes, good[i].key_bytes);
    }
}

static void unknown_names_are_unsupported_and_shown(void **state)
{
    static const struct {
        size_t at;
        const char *name, *shown;
    } unknown[] = {
        { CIPHER, "camellia", "unknown cipher \"camellia\"" },
        { CIPHER, "AES", "unknown cipher \"AES\"" },
        { CIPHER, "", "unknown cipher \"\"" },
        { CIPHER, "\x1b[31m", "unknown cipher \"\\x1b[31m\"" },
        { MODE, "lrw-plain64", "unknown cipher mode \"lrw\"" },
        { MODE, "-plain64", "unknown cipher mode \"\"" },
        { MODE, "cbc-benbi", "unknown IV generator \"benbi\"" },
        { MODE, "xts-", "unknown IV generator \"\"" },
        { MODE, "xts-plain64-more", "unknown IV generator \"plain64-more\"" },
        { MODE, "xts-plain64:", "unknown hash \"\" for the IV generator" },
        { MODE, "cbc-essiv:sha256:x", "unknown hash \"sha256:x\" for the IV generator" },
        { HASH, "whirlpool", "unknown hash \"whirlpool\"" },
        { HASH, "SHA256", "unknown hash \"SHA256\"" },
        { HASH, "", "unknown hash \"\"" },
        { CIPHER,
          "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
          "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
          "\\xff\\xff\"" },
    };
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        good_header(bytes);
        put_name(bytes + unknown[i].at, unknown[i].name);
        expect(bytes, QCOW2_E_UNSUPPORTED, unknown[i].shown);
    }
}

static void modes_that_contradict_themselves_are_corrupt(void **state)
{
    static const struct {
        const char *cipher, *mode;
        uint32_t key_bytes;
        const char *message;
    } bad[] = {
        { "aes", "xts", 64, "names no IV generator" },
        { "aes", "cbc-essiv", 32, "without a hash" },
        { "aes", "cbc-essiv:sha1", 32, "no variant of aes" },
        { "aes", "xts-essiv:sha512", 64, "no variant of aes" },
        { "sm4", "cbc-essiv:sha256", 16, "no variant of sm4" },
        { "cast5", "xts-plain64", 32, "blocks of 16 bytes" },
    };
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        good_header(bytes);
        put_name(bytes + CIPHER, bad[i].cipher);
        put_name(bytes + MODE, bad[i].mode);
        put(bytes + KEY_BYTES, bad[i].key_bytes);
        expect(bytes, QCOW2_E_CORRUPT, bad[i].message);
    }
}

static void key_lengths_outside_the_tables_are_corrupt(void **state)
{
    static const uint32_t xts[] = { 0, 1, 16, 33, 63, 65, 66, 72, 128, 0x7fffffff, 0xffffffff };
    static const uint32_t cbc[] = { 0, 8, 17, 20, 31, 33, 40, 64, 0x80000010, 0xffffffff };
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];

    (void)state;
    good_header(bytes);
    for (size_t i = 0; i < sizeof xts / sizeof xts[0]; i++) {
        put(bytes + KEY_BYTES, xts[i]);
        expect(bytes, QCOW2_E_CORRUPT, "cannot have a key of");
    }
    put_name(bytes + MODE, "cbc-plain64");
    for (size_t i = 0; i < sizeof cbc / sizeof cbc[0]; i++) {
        put(bytes + KEY_BYTES, cbc[i]);
        expect(bytes, QCOW2_E_CORRUPT, "cannot have a key of");
    }
}

static void key_material_is_rounded_up_to_sectors(void **state)
{
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];
    struct q2_luks_header header;

    (void)state;
    good_header(bytes);
    put_name(bytes + MODE, "cbc-plain64");
    put(bytes + KEY_BYTES, 24);
    assert_int_equal(q2_luks_decode(bytes, sizeof bytes, &header, NULL), 0);
    assert_int_equal(q2_luks_material_bytes(&header), 188 * 512); /* 187.5 sectors are used */
}

static void payload_offset_is_behind_header_and_slots(void **state)
{
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];

    (void)state;
    good_header(bytes);
    put(bytes + PAYLOAD, 0);
    expect(bytes, QCOW2_E_CORRUPT, "payload at sector 0 overlaps");
    put(bytes + PAYLOAD, 7);
    expect(bytes, QCOW2_E_CORRUPT, "payload at sector 7 overlaps");
    put(bytes + PAYLOAD, 8);
    expect(bytes, QCOW2_E_CORRUPT, "slot 0: key material at sector 8 reaches past");
    put(bytes + PAYLOAD, 8 + 8 * 504 - 1);
    expect(bytes, QCOW2_E_CORRUPT, "slot 7: key material at sector 3536 reaches past");
    put(bytes + PAYLOAD, 0xffffffff);
    expect(bytes, 0, "");
}

static void iteration_counts_of_0_are_corrupt(void **state)
{
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];

    (void)state;
    good_header(bytes);
    put(bytes + DIGEST_ITERATIONS, 0);
    expect(bytes, QCOW2_E_CORRUPT, "iteration count of the master key is 0");
    good_header(bytes);
    put(slot_field(bytes, 0, ITERATIONS), 0);
    expect(bytes, QCOW2_E_CORRUPT, "slot 0: iteration count is 0");
    /* An inactive slot has none. */
    good_header(bytes);
    put(slot_field(bytes, 5, ITERATIONS), 0);
    expect(bytes, 0, "");
    put(bytes + DIGEST_ITERATIONS, 0xffffffff);
    put(slot_field(bytes, 0, ITERATIONS), 0xffffffff);
    expect(bytes, 0, "");
}

/* Inactive slots are held to the same rules as active ones. */
static void slot_fields_are_checked_in_every_slot(void **state)
{
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        good_header(bytes);
        put(slot_field(bytes, i, STATE), 0x0000beef);
        expect(bytes, QCOW2_E_CORRUPT, "state 0x0000beef");
        good_header(bytes);
        put(slot_field(bytes, i, STRIPES), 0);
        expect(bytes, QCOW2_E_CORRUPT, "0 stripes instead of 4000");
        put(slot_field(bytes, i, STRIPES), 4001);
        expect(bytes, QCOW2_E_CORRUPT, "4001 stripes instead of 4000");
        good_header(bytes);
        put(slot_field(bytes, i, SECTOR), 0);
        expect(bytes, QCOW2_E_CORRUPT, "at sector 0 overlaps the header");
        put(slot_field(bytes, i, SECTOR), 7);
        expect(bytes, QCOW2_E_CORRUPT, "at sector 7 overlaps the header");
        put(slot_field(bytes, i, SECTOR), 0xffffffff);
        expect(bytes, QCOW2_E_CORRUPT, "at sector 4294967295 reaches past");
        put(slot_field(bytes, i, SECTOR), 8 + 7 * 504 + 1);
        expect(bytes, QCOW2_E_CORRUPT, "reaches past");
    }
}

static void overlapping_slots_are_corrupt(void **state)
{
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];

    (void)state;
    good_header(bytes);
    put(slot_field(bytes, 6, SECTOR), 8 + 5 * 504);
    expect(bytes, QCOW2_E_CORRUPT, "slots 5 and 6: their key material overlaps");
    put(slot_field(bytes, 6, SECTOR), 8 + 6 * 504 + 1);
    expect(bytes, QCOW2_E_CORRUPT, "slots 6 and 7: their key material overlaps");
    put(slot_field(bytes, 6, SECTOR), 8 + 6 * 504 - 1);
    expect(bytes, QCOW2_E_CORRUPT, "slots 5 and 6: their key material overlaps");
    /* In another order they may be. */
    put(slot_field(bytes, 6, SECTOR), 8 + 7 * 504);
    put(slot_field(bytes, 7, SECTOR), 8 + 6 * 504);
    expect(bytes, 0, "");
}

/* 500 sectors of key material are given 504: a neighbour may not use the rest of them. */
static void slots_are_whole_pages(void **state)
{
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];

    (void)state;
    good_header(bytes);
    put(bytes + PAYLOAD, 100000);
    put(slot_field(bytes, 0, SECTOR), 50000);
    put(slot_field(bytes, 1, SECTOR), 50500);
    expect(bytes, QCOW2_E_CORRUPT, "slots 0 and 1");
    put(slot_field(bytes, 1, SECTOR), 50504);
    expect(bytes, 0, "");
}

static void uuid_without_terminator_is_terminated(void **state)
{
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];
    struct q2_luks_header header;

    (void)state;
    good_header(bytes);
    memset(bytes + UUID, 'u', 40);
    assert_int_equal(q2_luks_decode(bytes, sizeof bytes, &header, NULL), 0);
    assert_int_equal(strlen(header.uuid), 40);
}

/* Whatever the bytes, the answer is a verdict; under a sanitizer this is worth something. */
static void damaged_headers_never_do_harm(void **state)
{
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];
    struct q2_luks_header header;
    uint32_t random = 12345;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        int r;

        good_header(bytes);
        for (unsigned n = round % 4; n < 4; n++) {
            random = random * 1664525 + 1013904223;
            bytes[(random >> 8) % sizeof bytes] = (uint8_t)(random >> 24);
        }
        r = q2_luks_decode(bytes, sizeof bytes, &header, NULL);
        assert_true(r == 0 || r == QCOW2_E_CORRUPT || r == QCOW2_E_UNSUPPORTED);
        if (r == 0) {
            assert_true(q2_luks_material_bytes(&header) <= Q2_LUKS_MAX_MATERIAL_BYTES);
            assert_true(header.key_bytes <= Q2_CRYPTO_MAX_KEY_BYTES);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_header_is_decoded),
        cmocka_unit_test(every_short_length_is_truncated),
        cmocka_unit_test(wrong_magic_is_corrupt),
        cmocka_unit_test(other_versions_are_unsupported),
        cmocka_unit_test(names_without_terminator_are_corrupt),
        cmocka_unit_test(names_decide_the_method),
        cmocka_unit_test(unknown_names_are_unsupported_and_shown),
        cmocka_unit_test(modes_that_contradict_themselves_are_corrupt),
        cmocka_unit_test(key_lengths_outside_the_tables_are_corrupt),
        cmocka_unit_test(key_material_is_rounded_up_to_sectors),
        cmocka_unit_test(payload_offset_is_behind_header_and_slots),
        cmocka_unit_test(iteration_counts_of_0_are_corrupt),
        cmocka_unit_test(slot_fields_are_checked_in_every_slot),
        cmocka_unit_test(overlapping_slots_are_corrupt),
        cmocka_unit_test(slots_are_whole_pages),
        cmocka_unit_test(uuid_without_terminator_is_terminated),
        cmocka_unit_test(damaged_headers_never_do_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
