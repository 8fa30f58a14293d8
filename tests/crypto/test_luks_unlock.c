/* SPDX-License-Identifier: MIT */
/* test_luks_unlock.c - passphrases against key slots, on headers written by maker.c. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <qcow2.h>

#include "crypto/luks.h"
#include "maker.h"

static const struct maker aes_xts = {
    "AES-256-XTS", NULL, NULL, 8, 64, "aes", "xts-plain64", "sha256",
};
static const struct maker variants[] = {
    { "AES-256-XTS", NULL, NULL, 8, 64, "aes", "xts-plain64", "sha256" },
    { "AES-128-XTS", NULL, NULL, 4, 32, "aes", "xts-plain", "sha1" },
    { "AES-256-CBC", "AES-256-ECB", "sha256", 8, 32, "aes", "cbc-essiv:sha256", "sha512" },
    /* Material that is not a whole number of sectors, which QEMU cannot write. */
    { "AES-192-CBC", NULL, NULL, 8, 24, "aes", "cbc-plain64", "sha224" },
    { "AES-192-CBC", "AES-256-ECB", "sha256", 8, 24, "aes", "cbc-essiv:sha256", "sha384" },
    { "AES-128-ECB", NULL, NULL, 8, 16, "aes", "ecb-plain64", "md5" },
    { "AES-256-CTR", NULL, NULL, 8, 32, "aes", "ctr-plain64", "ripemd160" },
    { "SM4-CBC", NULL, NULL, 8, 16, "sm4", "cbc-plain64", "sm3" },
};

/* The region a header and its slots lie in, and how it is read. */
struct region {
    uint8_t bytes[MAKER_REGION_BYTES];
    unsigned n_reads;
    int fail_with; /* 0: reads work */
};

static int read_region(void *ctx, uint8_t *buf, size_t count, uint64_t off, struct qcow2_error *err)
{
    struct region *region = ctx;

    (void)err;
    region->n_reads++;
    if (region->fail_with != 0) {
        return region->fail_with;
    }
    assert_true(off <= sizeof region->bytes && count <= sizeof region->bytes - off);
    memcpy(buf, region->bytes + off, count);
    return 0;
}

static void fill_master_key(uint8_t key[64])
{
    for (unsigned i = 0; i < 64; i++) {
        key[i] = (uint8_t)(0xc0 ^ (i * 11));
    }
}

static struct region *make_region(const struct maker *maker)
{
    struct region *region = calloc(1, sizeof *region);
    uint8_t key[64];

    assert_non_null(region);
    fill_master_key(key);
    maker_write_header(maker, key, 5, region->bytes);
    return region;
}

static void write_slot(struct region *region, const struct maker *maker, unsigned index,
                       const char *passphrase)
{
    uint8_t key[64];

    fill_master_key(key);
    maker_write_slot(maker, key, index, passphrase, 10 + index, region->bytes);
}

static int unlock_within(struct region *region, const char *passphrase, struct q2_luks_work *work,
                         struct q2_cipher **cipher_ret, struct qcow2_error *err)
{
    struct q2_luks_header header;

    if (q2_luks_decode(region->bytes, sizeof region->bytes, &header, err) != 0) {
        fail_msg("%s", err->message);
    }
    *cipher_ret = NULL;
    region->n_reads = 0;
    return q2_luks_unlock(&header, passphrase, strlen(passphrase), read_region, region, work,
                          cipher_ret, err);
}

/* max_work 0: the default. */
static int unlock(struct region *region, const char *passphrase, uint64_t max_work,
                  struct q2_cipher **cipher_ret, struct qcow2_error *err)
{
    struct q2_luks_work work = { .max =
                                     max_work != 0 ? max_work : QCOW2_DEFAULT_MAX_KEY_ITERATIONS };

    return unlock_within(region, passphrase, &work, cipher_ret, err);
}

static void expect_refusal(struct region *region, const char *passphrase, uint64_t max_work,
                           int code, const char *part_of_message)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_cipher *cipher;

    assert_int_equal(unlock(region, passphrase, max_work, &cipher, &err), code);
    assert_null(cipher);
    if (part_of_message != NULL) {
        assert_int_equal(err.code, code);
        if (strstr(err.message, part_of_message) == NULL) {
            fail_msg("\"%s\" does not say \"%s\"", err.message, part_of_message);
        }
    }
}

/* Unlocks, then decrypts sectors that were encrypted with the master key. */
static void expect_opens(struct region *region, const struct maker *maker, const char *passphrase)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_cipher *cipher;
    struct q2_cipher_worker *worker = NULL;
    uint8_t key[64], data[4096], plain[4096];

    if (unlock(region, passphrase, 0, &cipher, &err) != 0) {
        fail_msg("%s-%s: %s", maker->cipher, maker->mode, err.message);
    }
    assert_int_equal(q2_cipher_worker_create(cipher, &worker, NULL), 0);
    fill_master_key(key);
    memset(plain, 0x42, sizeof plain);
    memcpy(data, plain, sizeof data);
    maker_encrypt(maker, key, data, sizeof data, 777);
    assert_memory_not_equal(data, plain, sizeof data);
    assert_int_equal(q2_cipher_decrypt(worker, data, data, sizeof data, 777, NULL), 0);
    assert_memory_equal(data, plain, sizeof data);
    q2_cipher_worker_destroy(worker);
    q2_cipher_destroy(cipher);
}

static void every_method_is_unlocked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        struct region *region = make_region(&variants[i]);

        write_slot(region, &variants[i], 0, "open sesame");
        expect_opens(region, &variants[i], "open sesame");
        expect_refusal(region, "open sesam", 0, QCOW2_E_KEY, "none of 1 active LUKS key slot");
        free(region);
    }
}

static void any_slot_opens(void **state)
{
    struct region *region = make_region(&aes_xts);

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        char passphrase[] = "key 0";

        passphrase[4] = (char)('0' + i);
        write_slot(region, &aes_xts, i, passphrase);
    }
    for (unsigned i = 0; i < 8; i++) {
        char passphrase[] = "key 0";

        passphrase[4] = (char)('0' + i);
        expect_opens(region, &aes_xts, passphrase);
        assert_int_equal(region->n_reads, i + 1); /* in order, and no further than needed */
    }
    expect_refusal(region, "key 8", 0, QCOW2_E_KEY, "none of 8 active LUKS key slots");
    free(region);
}

static void inactive_slots_are_not_tried(void **state)
{
    struct region *region = make_region(&aes_xts);

    (void)state;
    write_slot(region, &aes_xts, 0, "retired");
    write_slot(region, &aes_xts, 3, "current");
    maker_store_be32(region->bytes + 208, 0x0000dead);
    expect_refusal(region, "retired", 0, QCOW2_E_KEY, "wrong passphrase");
    expect_opens(region, &aes_xts, "current");
    assert_int_equal(region->n_reads, 1);
    free(region);
}

static void no_active_slot_is_a_key_error(void **state)
{
    struct region *region = make_region(&aes_xts);

    (void)state;
    expect_refusal(region, "any", 0, QCOW2_E_KEY, "no LUKS key slot is active");
    assert_int_equal(region->n_reads, 0);
    free(region);
}

static void empty_and_long_passphrases_are_taken_as_they_are(void **state)
{
    struct region *region = make_region(&aes_xts);
    char long_one[301];

    (void)state;
    memset(long_one, 'p', 300);
    long_one[300] = '\0';
    write_slot(region, &aes_xts, 0, "");
    write_slot(region, &aes_xts, 1, long_one);
    expect_opens(region, &aes_xts, "");
    expect_opens(region, &aes_xts, long_one);
    long_one[299] = '\0';
    expect_refusal(region, long_one, 0, QCOW2_E_KEY, "wrong passphrase");
    free(region);
}

static void passphrase_beyond_the_bound_is_an_argument_error(void **state)
{
    struct region *region = make_region(&aes_xts);
    struct q2_luks_work work = { .max = QCOW2_DEFAULT_MAX_KEY_ITERATIONS };
    struct q2_luks_header header;
    struct q2_cipher *cipher = NULL;
    char *passphrase = calloc(1, Q2_LUKS_MAX_PASSPHRASE_BYTES + 1);

    (void)state;
    assert_non_null(passphrase);
    assert_int_equal(q2_luks_decode(region->bytes, sizeof region->bytes, &header, NULL), 0);
    assert_int_equal(q2_luks_unlock(&header, passphrase, Q2_LUKS_MAX_PASSPHRASE_BYTES + 1,
                                    read_region, region, &work, &cipher, NULL),
                     QCOW2_E_ARGUMENT);
    assert_int_equal(q2_luks_unlock(&header, passphrase, Q2_LUKS_MAX_PASSPHRASE_BYTES, read_region,
                                    region, &work, &cipher, NULL),
                     QCOW2_E_KEY);
    free(passphrase);
    free(region);
}

/* A key of two digests of SHA-256, the work of merging stripes and the 5 iterations of the master key: for slot n. */
enum { STRIPES = 2 * 16000, SLOT_0 = STRIPES + 2 * 10 + 5, SLOT_1 = STRIPES + 2 * 11 + 5 };

static void iterations_of_the_master_key_are_bounded(void **state)
{
    struct region *region = make_region(&aes_xts);

    (void)state;
    write_slot(region, &aes_xts, 0, "secret");
    maker_store_be32(region->bytes + 164, 0xffffffff);
    expect_refusal(region, "secret", 0, QCOW2_E_LIMIT,
                   "takes 4294999315 iterations, over the limit of 167772160 for one open");
    maker_store_be32(region->bytes + 164, 1001);
    expect_refusal(region, "secret", STRIPES + 1020, QCOW2_E_LIMIT, "takes 33021 iterations");
    assert_int_equal(region->n_reads, 0);
    free(region);
}

static void a_slot_over_the_limit_does_not_block_the_others(void **state)
{
    struct region *region = make_region(&aes_xts);

    (void)state;
    write_slot(region, &aes_xts, 0, "greedy");
    write_slot(region, &aes_xts, 1, "modest");
    maker_store_be32(region->bytes + 208 + 4, 0xffffffff);
    expect_opens(region, &aes_xts, "modest");
    expect_refusal(region, "greedy", 0, QCOW2_E_LIMIT, "takes 8589998622 iterations");
    free(region);
}

static void the_limit_itself_is_allowed(void **state)
{
    struct region *region = make_region(&aes_xts);
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_cipher *cipher;

    (void)state;
    write_slot(region, &aes_xts, 0, "secret");
    expect_refusal(region, "secret", SLOT_0 - 1, QCOW2_E_LIMIT, "takes 32025 iterations");
    assert_int_equal(unlock(region, "secret", SLOT_0, &cipher, &err), 0);
    q2_cipher_destroy(cipher);
    free(region);
}

/* Eight slots just below it would take eight times as long. */
static void all_slots_share_one_limit(void **state)
{
    struct region *region = make_region(&aes_xts);
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_cipher *cipher;

    (void)state;
    write_slot(region, &aes_xts, 0, "first");
    write_slot(region, &aes_xts, 1, "second");
    expect_refusal(region, "second", SLOT_0 + SLOT_1 - 1, QCOW2_E_LIMIT, "takes 64052 iterations");
    assert_int_equal(unlock(region, "second", SLOT_0 + SLOT_1, &cipher, &err), 0);
    q2_cipher_destroy(cipher);
    expect_refusal(region, "third", SLOT_0 + SLOT_1, QCOW2_E_KEY, "wrong passphrase");
    free(region);
}

/* A chain of 256 files, each just below the limit, took an hour and a half. */
static void all_headers_of_one_open_share_one_limit(void **state)
{
    struct region *region = make_region(&aes_xts);
    struct q2_luks_work work = { .max = 2 * SLOT_0 + SLOT_1 };
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_cipher *cipher;

    (void)state;
    write_slot(region, &aes_xts, 0, "first");
    write_slot(region, &aes_xts, 1, "second");
    assert_int_equal(unlock_within(region, "first", &work, &cipher, &err), 0);
    q2_cipher_destroy(cipher);
    assert_int_equal(work.spent, SLOT_0);
    assert_int_equal(unlock_within(region, "second", &work, &cipher, &err), 0);
    q2_cipher_destroy(cipher);
    assert_int_equal(work.spent, work.max);
    assert_int_equal(unlock_within(region, "first", &work, &cipher, &err), QCOW2_E_LIMIT);
    assert_non_null(strstr(err.message, "takes 160129 iterations, over the limit of 96077"));
    assert_int_equal(work.spent, work.max);
    free(region);
}

static void work_goes_by_the_length_of_the_key_and_the_hash(void **state)
{
    /* Of variants[]: digests in the key, and in what is kept of the master key's digest; and times 4. */
    static const struct {
        unsigned variant, key_digests, digest_digests, times;
    } wanted[] = { { 0, 2, 1, 1 }, { 1, 2, 1, 1 }, { 2, 1, 1, 4 }, { 3, 1, 1, 4 },
                   { 5, 1, 2, 4 }, { 6, 2, 1, 4 }, { 7, 1, 1, 4 } };

    (void)state;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        struct region *region = make_region(&variants[wanted[i].variant]);
        const struct q2_luks_slot slot = { .active = true, .iterations = 100 };
        struct q2_luks_header header;

        assert_int_equal(q2_luks_decode(region->bytes, sizeof region->bytes, &header, NULL), 0);
        assert_int_equal(q2_luks_slot_work(&header, &slot),
                         ((100 + 16000) * wanted[i].key_digests + 5 * wanted[i].digest_digests) *
                             wanted[i].times);
        free(region);
    }
}

static void a_failed_read_is_handed_on(void **state)
{
    struct region *region = make_region(&aes_xts);

    (void)state;
    write_slot(region, &aes_xts, 0, "secret");
    region->fail_with = QCOW2_E_TRUNCATED;
    expect_refusal(region, "secret", 0, QCOW2_E_TRUNCATED, NULL);
    region->fail_with = 0;
    expect_opens(region, &aes_xts, "secret");
    free(region);
}

static void damaged_key_material_opens_nothing(void **state)
{
    struct region *region = make_region(&aes_xts);

    (void)state;
    write_slot(region, &aes_xts, 0, "secret");
    region->bytes[MAKER_FIRST_SLOT + 123456] ^= 1;
    expect_refusal(region, "secret", 0, QCOW2_E_KEY, "wrong passphrase");
    region->bytes[MAKER_FIRST_SLOT + 123456] ^= 1;
    expect_opens(region, &aes_xts, "secret");
    region->bytes[112] ^= 1; /* the digest */
    expect_refusal(region, "secret", 0, QCOW2_E_KEY, "wrong passphrase");
    free(region);
}

static void a_cipher_the_library_lacks_is_reported_before_any_work(void **state)
{
    struct region *region = make_region(&aes_xts);

    (void)state;
    write_slot(region, &aes_xts, 0, "secret");
    memcpy(region->bytes + 8, "serpent", 8);
    expect_refusal(region, "secret", 0, QCOW2_E_UNSUPPORTED,
                   "no cipher serpent with keys of 256 bits");
    assert_int_equal(region->n_reads, 0);
    free(region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_is_unlocked),
        cmocka_unit_test(any_slot_opens),
        cmocka_unit_test(inactive_slots_are_not_tried),
        cmocka_unit_test(no_active_slot_is_a_key_error),
        cmocka_unit_test(empty_and_long_passphrases_are_taken_as_they_are),
        cmocka_unit_test(passphrase_beyond_the_bound_is_an_argument_error),
        cmocka_unit_test(iterations_of_the_master_key_are_bounded),
        cmocka_unit_test(a_slot_over_the_limit_does_not_block_the_others),
        cmocka_unit_test(the_limit_itself_is_allowed),
        cmocka_unit_test(all_slots_share_one_limit),
        cmocka_unit_test(all_headers_of_one_open_share_one_limit),
        cmocka_unit_test(work_goes_by_the_length_of_the_key_and_the_hash),
        cmocka_unit_test(a_failed_read_is_handed_on),
        cmocka_unit_test(damaged_key_material_opens_nothing),
        cmocka_unit_test(a_cipher_the_library_lacks_is_reported_before_any_work),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
