/* SPDX-License-Identifier: MIT */
/* test_none.c - a build without libcrypto: headers are decoded, everything else says why not. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include <qcow2.h>

#include "crypto/luks.h"

static void expect_not_built_in(int code, const struct qcow2_error *err)
{
    assert_int_equal(code, QCOW2_E_UNSUPPORTED);
    assert_int_equal(err->code, QCOW2_E_UNSUPPORTED);
    assert_non_null(strstr(err->message, "built without libcrypto"));
}

static void every_call_says_that_libcrypto_is_missing(void **state)
{
    static const struct q2_cipher_method method = { Q2_CIPHER_AES, Q2_MODE_XTS, Q2_IVGEN_PLAIN64,
                                                    Q2_HASH_NONE };
    static const struct q2_luks_header header;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_cipher *cipher = NULL;
    struct q2_cipher_worker *worker = NULL;
    struct q2_luks_work work = { .max = 1 };
    uint8_t bytes[512] = { 0 };

    (void)state;
    expect_not_built_in(q2_cipher_create(&method, bytes, 64, &cipher, &err), &err);
    memset(err.message, 0, sizeof err.message);
    expect_not_built_in(q2_cipher_create_legacy_aes("key", 3, &cipher, &err), &err);
    memset(err.message, 0, sizeof err.message);
    expect_not_built_in(q2_luks_unlock(&header, "key", 3, NULL, NULL, &work, &cipher, &err), &err);
    memset(err.message, 0, sizeof err.message);
    expect_not_built_in(q2_cipher_worker_create(NULL, &worker, &err), &err);
    memset(err.message, 0, sizeof err.message);
    expect_not_built_in(q2_cipher_decrypt(NULL, bytes, bytes, sizeof bytes, 0, &err), &err);
    assert_null(cipher);
    assert_null(worker);
    q2_cipher_destroy(cipher);
    q2_cipher_worker_destroy(worker);
}

static void headers_are_decoded_all_the_same(void **state)
{
    uint8_t bytes[Q2_LUKS_HEADER_BYTES] = { 'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1 };
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_luks_header header;

    (void)state;
    (void)snprintf((char *)bytes + 8, 32, "aes");
    (void)snprintf((char *)bytes + 40, 32, "xts-plain64");
    (void)snprintf((char *)bytes + 72, 32, "sha256");
    bytes[111] = 64;
    assert_int_equal(q2_luks_decode(bytes, sizeof bytes, &header, &err), QCOW2_E_CORRUPT);
    assert_non_null(strstr(err.message, "payload at sector 0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_says_that_libcrypto_is_missing),
        cmocka_unit_test(headers_are_decoded_all_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
