/* SPDX-License-Identifier: MIT */
/* test_cipher.c - sector decryption against known answers and against libcrypto's own modes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2.h>

#include "crypto/block.h"
#include "crypto/cipher.h"
#include "maker.h"

static void assert_starts_with(const uint8_t *bytes, const char *hex)
{
    for (size_t i = 0; hex[2 * i] != '\0'; i++) {
        char pair[3] = { hex[2 * i], hex[2 * i + 1], '\0' };

        assert_int_equal(bytes[i], strtoul(pair, NULL, 16));
    }
}

static struct q2_cipher *create(const struct q2_cipher_method *method, const uint8_t *key,
                                size_t key_bytes)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_cipher *cipher = NULL;

    if (q2_cipher_create(method, key, key_bytes, &cipher, &err) != 0) {
        fail_msg("%s", err.message);
    }
    return cipher;
}

static struct q2_cipher_worker *create_worker(const struct q2_cipher *cipher)
{
    struct q2_cipher_worker *worker = NULL;

    assert_int_equal(q2_cipher_worker_create(cipher, &worker, NULL), 0);
    return worker;
}

static void fill_key(uint8_t key[64])
{
    for (unsigned i = 0; i < 64; i++) {
        key[i] = (uint8_t)i;
    }
}

static void aes_256_xts_has_the_known_answer(void **state)
{
    static const struct q2_cipher_method method = { Q2_CIPHER_AES, Q2_MODE_XTS, Q2_IVGEN_PLAIN64,
                                                    Q2_HASH_NONE };
    static const struct maker maker = { .evp = "AES-256-XTS", .number_bytes = 8, .key_bytes = 64 };
    uint8_t key[64], data[512];
    struct q2_cipher *cipher;
    struct q2_cipher_worker *worker;

    (void)state;
    fill_key(key);
    memset(data, 0xa5, sizeof data);
    maker_encrypt(&maker, key, data, sizeof data, 0x1380);
    assert_starts_with(data, "6c88fa5ef092fb6acbc550d65bbbc200");
    cipher = create(&method, key, 64);
    worker = create_worker(cipher);
    assert_int_equal(q2_cipher_decrypt(worker, data, data, sizeof data, 0x1380, NULL), 0);
    for (size_t i = 0; i < sizeof data; i++) {
        assert_int_equal(data[i], 0xa5);
    }
    q2_cipher_worker_destroy(worker);
    q2_cipher_destroy(cipher);
}

/* Under CBC, a sector of which the first block decrypts to D without its IV shows D ^ IV. */
static void essiv_has_the_known_answer(void **state)
{
    static const struct q2_cipher_method plain = { Q2_CIPHER_AES, Q2_MODE_ECB, Q2_IVGEN_PLAIN64,
                                                   Q2_HASH_NONE };
    static const struct q2_cipher_method essiv = { Q2_CIPHER_AES, Q2_MODE_CBC, Q2_IVGEN_ESSIV,
                                                   Q2_HASH_SHA256 };
    uint8_t key[64], zeros[512] = { 0 }, with_iv[512], without_iv[512];
    struct q2_cipher *cipher;
    struct q2_cipher_worker *worker;

    (void)state;
    fill_key(key);
    cipher = create(&essiv, key, 16);
    worker = create_worker(cipher);
    assert_int_equal(q2_cipher_decrypt(worker, with_iv, zeros, 512, 1, NULL), 0);
    q2_cipher_worker_destroy(worker);
    q2_cipher_destroy(cipher);
    cipher = create(&plain, key, 16);
    worker = create_worker(cipher);
    assert_int_equal(q2_cipher_decrypt(worker, without_iv, zeros, 512, 1, NULL), 0);
    q2_cipher_worker_destroy(worker);
    q2_cipher_destroy(cipher);
    for (size_t i = 0; i < 16; i++) {
        with_iv[i] ^= without_iv[i];
    }
    assert_starts_with(with_iv, "c10509c8cf7d6eee55d7205db7845a6f");
}

static void legacy_aes_has_the_known_answers(void **state)
{
    static const struct maker maker = { .evp = "AES-128-CBC", .number_bytes = 8, .key_bytes = 16 };
    static const struct {
        uint64_t sector;
        const char *starts_with;
    } answers[] = { { 0, "80a6024d182811377b330f59e3930479" },
                    { 2048, "4f71c670eab135887f6c73e376589e89" } };
    struct q2_cipher *cipher = NULL;
    struct q2_cipher_worker *worker;

    (void)state;
    assert_int_equal(q2_cipher_create_legacy_aes("short", 5, &cipher, NULL), 0);
    worker = create_worker(cipher);
    for (size_t n = 0; n < 2; n++) {
        uint8_t data[512];

        memset(data, 0xa5, sizeof data);
        maker_encrypt(&maker, (const uint8_t *)"short\0\0\0\0\0\0\0\0\0\0", data, sizeof data,
                      answers[n].sector);
        assert_starts_with(data, answers[n].starts_with);
        assert_int_equal(
            q2_cipher_decrypt(worker, data, data, sizeof data, answers[n].sector, NULL), 0);
        for (size_t i = 0; i < sizeof data; i++) {
            assert_int_equal(data[i], 0xa5);
        }
    }
    q2_cipher_worker_destroy(worker);
    q2_cipher_destroy(cipher);
}

static void legacy_aes_uses_16_bytes_of_a_passphrase(void **state)
{
    static const char *const passphrases[] = { "0123456789abcdef", "0123456789abcdef and more" };
    uint8_t zeros[512] = { 0 }, plain[2][512];

    (void)state;
    for (size_t n = 0; n < 2; n++) {
        struct q2_cipher *cipher = NULL;
        struct q2_cipher_worker *worker;

        assert_int_equal(
            q2_cipher_create_legacy_aes(passphrases[n], strlen(passphrases[n]), &cipher, NULL), 0);
        worker = create_worker(cipher);
        assert_int_equal(q2_cipher_decrypt(worker, plain[n], zeros, 512, 0, NULL), 0);
        q2_cipher_worker_destroy(worker);
        q2_cipher_destroy(cipher);
    }
    assert_memory_equal(plain[0], plain[1], 512);
}

static void legacy_aes_takes_an_empty_passphrase(void **state)
{
    struct q2_cipher *cipher = NULL;

    (void)state;
    assert_int_equal(q2_cipher_create_legacy_aes(NULL, 0, &cipher, NULL), 0);
    q2_cipher_destroy(cipher);
}

struct pair {
    struct q2_cipher_method method;
    struct maker maker;
};

/* All that libcrypto can do in one go, as far as LUKS can name it. */
static const struct pair pairs[] = {
    { { Q2_CIPHER_AES, Q2_MODE_XTS, Q2_IVGEN_PLAIN64, Q2_HASH_NONE },
      { .evp = "AES-256-XTS", .number_bytes = 8, .key_bytes = 64 } },
    { { Q2_CIPHER_AES, Q2_MODE_XTS, Q2_IVGEN_PLAIN, Q2_HASH_NONE },
      { .evp = "AES-128-XTS", .number_bytes = 4, .key_bytes = 32 } },
    { { Q2_CIPHER_AES, Q2_MODE_XTS, Q2_IVGEN_ESSIV, Q2_HASH_SHA256 },
      { .evp = "AES-256-XTS",
        .evp_essiv = "AES-256-ECB",
        .evp_essiv_hash = "sha256",
        .number_bytes = 8,
        .key_bytes = 64 } },
    { { Q2_CIPHER_AES, Q2_MODE_CBC, Q2_IVGEN_ESSIV, Q2_HASH_MD5 },
      { .evp = "AES-256-CBC",
        .evp_essiv = "AES-128-ECB",
        .evp_essiv_hash = "md5",
        .number_bytes = 8,
        .key_bytes = 32 } },
    { { Q2_CIPHER_AES, Q2_MODE_CBC, Q2_IVGEN_PLAIN, Q2_HASH_NONE },
      { .evp = "AES-192-CBC", .number_bytes = 4, .key_bytes = 24 } },
    { { Q2_CIPHER_AES, Q2_MODE_CBC, Q2_IVGEN_PLAIN64, Q2_HASH_NONE },
      { .evp = "AES-128-CBC", .number_bytes = 8, .key_bytes = 16 } },
    { { Q2_CIPHER_AES, Q2_MODE_ECB, Q2_IVGEN_PLAIN64, Q2_HASH_NONE },
      { .evp = "AES-256-ECB", .number_bytes = 8, .key_bytes = 32 } },
    { { Q2_CIPHER_AES, Q2_MODE_CTR, Q2_IVGEN_PLAIN64, Q2_HASH_NONE },
      { .evp = "AES-256-CTR", .number_bytes = 8, .key_bytes = 32 } },
    { { Q2_CIPHER_AES, Q2_MODE_CTR, Q2_IVGEN_ESSIV, Q2_HASH_SHA256 },
      { .evp = "AES-128-CTR",
        .evp_essiv = "AES-256-ECB",
        .evp_essiv_hash = "sha256",
        .number_bytes = 8,
        .key_bytes = 16 } },
    { { Q2_CIPHER_SM4, Q2_MODE_CBC, Q2_IVGEN_PLAIN64, Q2_HASH_NONE },
      { .evp = "SM4-CBC", .number_bytes = 8, .key_bytes = 16 } },
    { { Q2_CIPHER_SM4, Q2_MODE_CBC, Q2_IVGEN_ESSIV, Q2_HASH_MD5 },
      { .evp = "SM4-CBC",
        .evp_essiv = "SM4-ECB",
        .evp_essiv_hash = "md5",
        .number_bytes = 8,
        .key_bytes = 16 } },
};

enum { SECTORS = 150, BYTES = SECTORS * 512 }; /* more than two batches of IVs, and a rest */

static void compare(const struct pair *pair, uint64_t first_sector)
{
    /* In, out and in place at odd addresses; a byte behind the end must stay as it was. */
    uint8_t *plain = malloc(BYTES), *in = malloc(BYTES + 1), *out = malloc(BYTES + 2);
    uint8_t key[64];
    struct q2_cipher *cipher;
    struct q2_cipher_worker *worker;

    assert_true(plain != NULL && in != NULL && out != NULL);
    fill_key(key);
    for (size_t i = 0; i < BYTES; i++) {
        plain[i] = (uint8_t)(i * 31 + (i >> 9));
    }
    memcpy(in + 1, plain, BYTES);
    maker_encrypt(&pair->maker, key, in + 1, BYTES, first_sector);
    cipher = create(&pair->method, key, pair->maker.key_bytes);
    worker = create_worker(cipher);

    out[BYTES + 1] = 0x77;
    assert_int_equal(q2_cipher_decrypt(worker, out + 1, in + 1, BYTES, first_sector, NULL), 0);
    assert_memory_equal(out + 1, plain, BYTES);
    assert_int_equal(out[BYTES + 1], 0x77);

    /* Any way of cutting the same sectors up gives the same bytes. */
    memset(out, 0, BYTES);
    for (size_t at = 0, n = 0; at < SECTORS; at += n, n = (n * 3 + 1) % 70) {
        n = n < SECTORS - at ? n : SECTORS - at;
        assert_int_equal(q2_cipher_decrypt(worker, out + 1 + at * 512, in + 1 + at * 512, n * 512,
                                           first_sector + at, NULL),
                         0);
    }
    assert_memory_equal(out + 1, plain, BYTES);

    assert_int_equal(q2_cipher_decrypt(worker, in + 1, in + 1, BYTES, first_sector, NULL), 0);
    assert_memory_equal(in + 1, plain, BYTES);

    q2_cipher_worker_destroy(worker);
    q2_cipher_destroy(cipher);
    free(plain);
    free(in);
    free(out);
}

static void sectors_decrypt_as_in_libcryptos_modes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        compare(&pairs[i], 0);
        compare(&pairs[i], 0x1380);
    }
}

/* "plain" goes back to 0 here and "plain64" does not; the counter of CTR carries. */
static void sector_numbers_cross_32_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        compare(&pairs[i], 0xffffffff - 100);
        compare(&pairs[i], 0x00ffffffffffff00);
    }
}

static void workers_of_one_cipher_do_not_disturb_each_other(void **state)
{
    uint8_t key[64], data[512] = { 0 }, one[512], other[512];
    struct q2_cipher *cipher;
    struct q2_cipher_worker *a, *b;

    (void)state;
    fill_key(key);
    cipher = create(&pairs[2].method, key, 64);
    a = create_worker(cipher);
    b = create_worker(cipher);
    assert_int_equal(q2_cipher_decrypt(a, one, data, 512, 5, NULL), 0);
    assert_int_equal(q2_cipher_decrypt(b, other, data, 512, 9, NULL), 0);
    assert_memory_not_equal(one, other, 512);
    q2_cipher_worker_destroy(a);
    assert_int_equal(q2_cipher_decrypt(b, other, data, 512, 5, NULL), 0);
    assert_memory_equal(one, other, 512);
    q2_cipher_worker_destroy(b);
    q2_cipher_destroy(cipher);
}

struct reader {
    const struct q2_cipher *cipher;
    uint8_t data[8192];
    int result;
};

static void *read_on_a_thread(void *argument)
{
    struct reader *reader = argument;
    struct q2_cipher_worker *worker = NULL;

    reader->result = q2_cipher_worker_create(reader->cipher, &worker, NULL);
    for (int i = 0; reader->result == 0 && i < 100; i++) {
        memset(reader->data, 0, sizeof reader->data);
        reader->result =
            q2_cipher_decrypt(worker, reader->data, reader->data, sizeof reader->data, 40, NULL);
    }
    q2_cipher_worker_destroy(worker);
    return NULL;
}

static void threads_share_one_cipher(void **state)
{
    static struct reader readers[4];
    pthread_t threads[4];
    struct q2_cipher *cipher;
    uint8_t key[64];

    (void)state;
    fill_key(key);
    cipher = create(&pairs[2].method, key, 64);
    for (int i = 0; i < 4; i++) {
        readers[i].cipher = cipher;
        assert_int_equal(pthread_create(&threads[i], NULL, read_on_a_thread, &readers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(readers[i].result, 0);
        assert_memory_equal(readers[i].data, readers[0].data, sizeof readers[i].data);
    }
    q2_cipher_destroy(cipher);
}

static void a_cipher_the_library_lacks_is_unsupported_and_named(void **state)
{
    static const struct {
        enum q2_cipher_family family;
        const char *name;
    } lacking[] = { { Q2_CIPHER_SERPENT, "serpent" }, { Q2_CIPHER_TWOFISH, "twofish" } };
    uint8_t key[64];

    (void)state;
    fill_key(key);
    for (size_t i = 0; i < 2; i++) {
        struct q2_cipher_method method = { lacking[i].family, Q2_MODE_XTS, Q2_IVGEN_PLAIN64,
                                           Q2_HASH_NONE };
        struct qcow2_error err = QCOW2_ERROR_INIT;
        struct q2_cipher *cipher = NULL;

        assert_int_equal(q2_cipher_create(&method, key, 64, &cipher, &err), QCOW2_E_UNSUPPORTED);
        assert_non_null(strstr(err.message, lacking[i].name));
        assert_null(cipher);
    }
}

static void parts_that_do_not_fit_are_corrupt(void **state)
{
    static const struct {
        struct q2_cipher_method method;
        size_t key_bytes;
    } bad[] = {
        { { Q2_CIPHER_AES, Q2_MODE_CBC, Q2_IVGEN_PLAIN64, Q2_HASH_NONE }, 0 },
        { { Q2_CIPHER_AES, Q2_MODE_CBC, Q2_IVGEN_PLAIN64, Q2_HASH_NONE }, 33 },
        { { Q2_CIPHER_AES, Q2_MODE_CBC, Q2_IVGEN_PLAIN64, Q2_HASH_NONE }, 64 },
        { { Q2_CIPHER_AES, Q2_MODE_XTS, Q2_IVGEN_PLAIN64, Q2_HASH_NONE }, 16 },
        { { Q2_CIPHER_AES, Q2_MODE_XTS, Q2_IVGEN_PLAIN64, Q2_HASH_NONE }, 33 },
        { { Q2_CIPHER_AES, Q2_MODE_XTS, Q2_IVGEN_PLAIN64, Q2_HASH_NONE }, SIZE_MAX },
        { { Q2_CIPHER_CAST5, Q2_MODE_XTS, Q2_IVGEN_PLAIN64, Q2_HASH_NONE }, 32 },
        { { Q2_CIPHER_AES, Q2_MODE_CBC, Q2_IVGEN_ESSIV, Q2_HASH_SHA1 }, 32 },
        { { Q2_CIPHER_AES, Q2_MODE_CBC, Q2_IVGEN_ESSIV, Q2_HASH_NONE }, 32 },
    };
    uint8_t key[64] = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct q2_cipher *cipher = NULL;

        assert_int_equal(q2_cipher_create(&bad[i].method, key, bad[i].key_bytes, &cipher, NULL),
                         QCOW2_E_CORRUPT);
        assert_null(cipher);
    }
}

static void destroy_accepts_null(void **state)
{
    (void)state;
    q2_cipher_destroy(NULL);
    q2_cipher_worker_destroy(NULL);
    q2_block_destroy(NULL);
    q2_block_key_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aes_256_xts_has_the_known_answer),
        cmocka_unit_test(essiv_has_the_known_answer),
        cmocka_unit_test(legacy_aes_has_the_known_answers),
        cmocka_unit_test(legacy_aes_uses_16_bytes_of_a_passphrase),
        cmocka_unit_test(legacy_aes_takes_an_empty_passphrase),
        cmocka_unit_test(sectors_decrypt_as_in_libcryptos_modes),
        cmocka_unit_test(sector_numbers_cross_32_bits),
        cmocka_unit_test(workers_of_one_cipher_do_not_disturb_each_other),
        cmocka_unit_test(threads_share_one_cipher),
        cmocka_unit_test(a_cipher_the_library_lacks_is_unsupported_and_named),
        cmocka_unit_test(parts_that_do_not_fit_are_corrupt),
        cmocka_unit_test(destroy_accepts_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
