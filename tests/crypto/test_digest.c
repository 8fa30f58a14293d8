/* SPDX-License-Identifier: MIT */
/* test_digest.c - PBKDF2 and the anti-forensic merge against known answers and libcrypto's own. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <qcow2.h>

#include "crypto/digest.h"

static void assert_is(const uint8_t *bytes, size_t n, const char *hex)
{
    assert_int_equal(strlen(hex), 2 * n);
    for (size_t i = 0; i < n; i++) {
        char pair[3] = { hex[2 * i], hex[2 * i + 1], '\0' };

        assert_int_equal(bytes[i], strtoul(pair, NULL, 16));
    }
}

static void merge_of_three_stripes_has_the_known_answers(void **state)
{
    uint8_t material[96], key[32];

    (void)state;
    for (unsigned i = 0; i < sizeof material; i++) {
        material[i] = (uint8_t)i;
    }
    assert_int_equal(q2_af_merge(Q2_HASH_SHA1, material, 32, 3, key, NULL), 0);
    assert_is(key, 32, "60bbdd81b29404e5f7631469b8412ae5153655c23e5503a23418423454f2d6ae");
    assert_int_equal(q2_af_merge(Q2_HASH_SHA256, material, 32, 3, key, NULL), 0);
    assert_is(key, 32, "2ec9dd1c376c60c2a1048733968915ec517b026e72b9bb588b696969840225ec");
}

static void merge_of_one_stripe_is_that_stripe(void **state)
{
    uint8_t material[24], key[24];

    (void)state;
    memset(material, 0x3c, sizeof material);
    assert_int_equal(q2_af_merge(Q2_HASH_SHA512, material, sizeof key, 1, key, NULL), 0);
    assert_memory_equal(key, material, sizeof key);
}

/* libcrypto's PBKDF2, which is not what the SHA family uses here. */
static void expect_same(enum q2_hash hash, size_t password_bytes, uint32_t iterations,
                        size_t key_bytes)
{
    uint8_t password[300], salt[Q2_PBKDF2_SALT_BYTES], ours[64 + 1], theirs[64];
    EVP_MD *digest = EVP_MD_fetch(NULL, q2_hash_name(hash), NULL);

    assert_non_null(digest);
    for (unsigned i = 0; i < sizeof password; i++) {
        password[i] = (uint8_t)(i * 7 + 1);
    }
    for (unsigned i = 0; i < sizeof salt; i++) {
        salt[i] = (uint8_t)(200 - i);
    }
    ours[key_bytes] = 0x77;
    assert_int_equal(
        q2_pbkdf2(hash, password, password_bytes, salt, iterations, ours, key_bytes, NULL), 0);
    assert_int_equal(PKCS5_PBKDF2_HMAC((const char *)password, (int)password_bytes, salt,
                                       sizeof salt, (int)iterations, digest, (int)key_bytes,
                                       theirs),
                     1);
    assert_memory_equal(ours, theirs, key_bytes);
    assert_int_equal(ours[key_bytes], 0x77);
    EVP_MD_free(digest);
}

static void pbkdf2_is_libcryptos(void **state)
{
    /* Around the block sizes of the hashes, where a password is hashed before it is used. */
    static const size_t password_bytes[] = { 0, 1, 63, 64, 65, 127, 128, 129, 300 };
    static const size_t key_bytes[] = { 1, 16, 20, 24, 32, 48, 64 };

    (void)state;
    for (enum q2_hash hash = Q2_HASH_MD5; hash <= Q2_HASH_SM3; hash++) {
        for (size_t p = 0; p < sizeof password_bytes / sizeof password_bytes[0]; p++) {
            expect_same(hash, password_bytes[p], 3, 64);
        }
        for (size_t k = 0; k < sizeof key_bytes / sizeof key_bytes[0]; k++) {
            expect_same(hash, 8, 2, key_bytes[k]);
        }
        expect_same(hash, 8, 1, 64);
        expect_same(hash, 8, 1000, 64);
    }
}

static void no_hash_is_unsupported(void **state)
{
    uint8_t in[32] = { 0 }, out[64];

    (void)state;
    assert_int_equal(q2_digest_once(Q2_HASH_NONE, in, sizeof in, out, NULL), QCOW2_E_UNSUPPORTED);
    assert_int_equal(q2_pbkdf2(Q2_HASH_NONE, in, sizeof in, in, 1, out, 32, NULL),
                     QCOW2_E_UNSUPPORTED);
    assert_int_equal(q2_af_merge(Q2_HASH_NONE, in, 16, 2, out, NULL), QCOW2_E_UNSUPPORTED);
}

static void digests_are_as_long_as_the_tables_say(void **state)
{
    (void)state;
    for (enum q2_hash hash = Q2_HASH_MD5; hash <= Q2_HASH_SM3; hash++) {
        EVP_MD *digest = EVP_MD_fetch(NULL, q2_hash_name(hash), NULL);

        assert_non_null(digest);
        assert_int_equal(EVP_MD_get_size(digest), q2_hash_digest_bytes(hash));
        EVP_MD_free(digest);
    }
}

/* Of libcrypto's own loop, which counts with an int; ours go on to where the field ends. */
static void more_iterations_than_libcrypto_can_count_are_unsupported(void **state)
{
    static const uint8_t salt[Q2_PBKDF2_SALT_BYTES];
    struct qcow2_error err = QCOW2_ERROR_INIT;
    uint8_t key[32];

    (void)state;
    assert_int_equal(q2_pbkdf2(Q2_HASH_RIPEMD160, (const uint8_t *)"x", 1, salt, UINT32_C(1) << 31,
                               key, sizeof key, &err),
                     QCOW2_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "ripemd160"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merge_of_three_stripes_has_the_known_answers),
        cmocka_unit_test(merge_of_one_stripe_is_that_stripe),
        cmocka_unit_test(pbkdf2_is_libcryptos),
        cmocka_unit_test(no_hash_is_unsupported),
        cmocka_unit_test(digests_are_as_long_as_the_tables_say),
        cmocka_unit_test(more_iterations_than_libcrypto_can_count_are_unsupported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
