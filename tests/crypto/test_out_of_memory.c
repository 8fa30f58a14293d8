/* SPDX-License-Identifier: MIT */
/* test_out_of_memory.c - each allocation in turn fails, libcrypto's included: the call must fail with
 * a code, leave nothing behind (a sanitizer build sees leaks) and work the next time. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <qcow2.h>

#include "crypto/luks.h"
#include "maker.h"

/* The linker sends the modules' malloc and calloc here (--wrap), libcrypto its own by request. */
void *__real_malloc(size_t n_bytes);
void *__real_calloc(size_t n, size_t each_bytes);
void *__wrap_malloc(size_t n_bytes);
void *__wrap_calloc(size_t n, size_t each_bytes);

static unsigned long until_failure; /* 0: none fails */
static bool has_failed;

static bool fails_now(void)
{
    if (until_failure == 0 || --until_failure > 0) {
        return false;
    }
    has_failed = true;
    return true;
}

void *__wrap_malloc(size_t n_bytes)
{
    return fails_now() ? NULL : __real_malloc(n_bytes);
}

void *__wrap_calloc(size_t n, size_t each_bytes)
{
    return fails_now() ? NULL : __real_calloc(n, each_bytes);
}

static void *libcrypto_malloc(size_t n_bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails_now() ? NULL : __real_malloc(n_bytes);
}

static void *libcrypto_realloc(void *memory, size_t n_bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails_now() ? NULL : realloc(memory, n_bytes);
}

static void libcrypto_free(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    free(memory);
}

static const struct maker maker = {
    "AES-256-CBC", "AES-256-ECB", "sha256", 8, 32, "aes", "cbc-essiv:sha256", "md5",
};
static uint8_t region[MAKER_REGION_BYTES];

static int read_region(void *ctx, uint8_t *buf, size_t count, uint64_t off, struct qcow2_error *err)
{
    (void)ctx;
    (void)err;
    memcpy(buf, region + off, count);
    return 0;
}

/* From header to decrypted data. */
static int decrypt_something(void)
{
    struct q2_luks_work work = { .max = QCOW2_DEFAULT_MAX_KEY_ITERATIONS };
    struct q2_luks_header header;
    struct q2_cipher *cipher = NULL;
    struct q2_cipher_worker *worker = NULL;
    uint8_t data[1024] = { 0 };
    int r = q2_luks_decode(region, sizeof region, &header, NULL);

    assert_int_equal(r, 0);
    r = q2_luks_unlock(&header, "key", 3, read_region, NULL, &work, &cipher, NULL);
    if (r == 0) {
        r = q2_cipher_worker_create(cipher, &worker, NULL);
    }
    if (r == 0) {
        r = q2_cipher_decrypt(worker, data, data, sizeof data, 0, NULL);
    }
    q2_cipher_worker_destroy(worker);
    q2_cipher_destroy(cipher);
    return r;
}

static void every_failed_allocation_is_survived(void **state)
{
    unsigned n_failures = 0;

    (void)state;
    /* libcrypto sets itself up once, and a failure then would be for good. */
    assert_int_equal(decrypt_something(), 0);
    /* The first few hundred one by one; the rest are thousands of digests, all alike. */
    for (unsigned long n = 1;; n += 1 + n / 256) {
        int r;

        has_failed = false;
        until_failure = n;
        r = decrypt_something();
        until_failure = 0;
        if (!has_failed) {
            assert_int_equal(r, 0);
            break;
        }
        /* libcrypto can do without some of what it asks for. */
        assert_true(r == 0 || r == QCOW2_E_NOMEM);
        n_failures += r != 0;
        assert_int_equal(decrypt_something(), 0);
    }
    assert_true(n_failures >= 20);
    /* A program that uses libcrypto too must not find our failures in its queue. */
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    uint8_t key[32];

    if (CRYPTO_set_mem_functions(libcrypto_malloc, libcrypto_realloc, libcrypto_free) != 1) {
        return 1;
    }
    memset(key, 0x21, sizeof key);
    maker_write_header(&maker, key, 1, region);
    maker_write_slot(&maker, key, 2, "key", 1, region);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
