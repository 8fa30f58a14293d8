/* SPDX-License-Identifier: MIT */
/* target_luks.c - LUKS headers, and unlocking by them. The input: a byte of what to do, a seed for key
 * material and passphrase, the header.
 *
 * Key material is noise from the seed: it needs no room in inputs. So that a passphrase can fit at all,
 * the target may put the digest of what the noise decrypts to into the header. */
#include "fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "crypto/cipher.h"
#include "crypto/digest.h"
#include "crypto/luks.h"

/* Work of all slots at no more iterations than these, with the slowest hash and the longest key. */
enum {
    MAX_ITERATIONS = 3,
    MAX_WORK = Q2_LUKS_SLOTS * 4 * ((MAX_ITERATIONS + Q2_LUKS_MERGE_WORK) * 4 + MAX_ITERATIONS * 2)
};
enum { SECTOR_BYTES = 512, PASSPHRASE_BYTES = 8 };

/* What the first byte asks for: unlocking takes a millisecond, so it is done rarely. */
enum { DO_MASK = 0x0f, DO_UNLOCK = 1, FIT = 0x10, FAIL_SECOND_READ = 0x20, FAIL_FIRST_READ = 0x40 };

struct material {
    uint8_t seed;
    unsigned reads, fail_at;
};

static int read_material(void *ctx, uint8_t *buf, size_t count, uint64_t off,
                         struct qcow2_error *err)
{
    struct material *material = ctx;
    uint32_t noise = material->seed * UINT32_C(2654435761) + (uint32_t)off + 1;

    FUZZ_REQUIRE(count > 0 && count <= Q2_LUKS_MAX_MATERIAL_BYTES && count % SECTOR_BYTES == 0,
                 "key material has a limit");
    FUZZ_REQUIRE(off >= 4096 && off % SECTOR_BYTES == 0 && off <= UINT64_C(1) << 41,
                 "key material is behind the header");
    if (++material->reads == material->fail_at) {
        return q2_error_set_errno(err, QCOW2_E_IO, EIO, off, "the target makes this read fail");
    }
    for (size_t i = 0; i < count; i++) {
        noise = noise * 1664525 + 1013904223;
        buf[i] = (uint8_t)(noise >> 24);
    }
    return 0;
}

static void require_header(const struct q2_luks_header *h)
{
    uint64_t n_bytes = q2_luks_material_bytes(h);

    FUZZ_REQUIRE(h->key_bytes >= 16 && h->key_bytes <= Q2_CRYPTO_MAX_KEY_BYTES, "keys have limits");
    FUZZ_REQUIRE(n_bytes >= h->key_bytes * Q2_LUKS_STRIPES &&
                     n_bytes <= Q2_LUKS_MAX_MATERIAL_BYTES && n_bytes % SECTOR_BYTES == 0,
                 "key material is all stripes, in sectors");
    FUZZ_REQUIRE(h->hash != Q2_HASH_NONE && h->digest_iterations >= 1, "keys are derived");
    FUZZ_REQUIRE(h->method.ivgen != Q2_IVGEN_ESSIV || h->method.ivgen_hash != Q2_HASH_NONE,
                 "essiv has a hash");
    FUZZ_REQUIRE(h->payload_off >= 4096, "the payload is behind the header");
    FUZZ_REQUIRE(strnlen(h->uuid, sizeof h->uuid) < sizeof h->uuid &&
                     strnlen(h->cipher_alg, sizeof h->cipher_alg) < sizeof h->cipher_alg,
                 "texts are terminated");
    for (int i = 0; i < Q2_LUKS_SLOTS; i++) {
        const struct q2_luks_slot *slot = &h->slots[i];

        FUZZ_REQUIRE(slot->stripes == Q2_LUKS_STRIPES && (!slot->active || slot->iterations >= 1),
                     "a slot can be used");
        FUZZ_REQUIRE(slot->material_off >= 4096 && slot->material_off + n_bytes <= h->payload_off,
                     "key material is between header and payload");
        for (int j = 0; j < i; j++) {
            uint64_t other = h->slots[j].material_off;

            FUZZ_REQUIRE(slot->material_off >= other + n_bytes ||
                             other >= slot->material_off + n_bytes,
                         "key material does not overlap");
        }
    }
}

/* Makes the passphrase fit the first slot that is active: 0, or a code of what it takes. */
static int make_fit(struct q2_luks_header *h, const uint8_t *passphrase, uint8_t seed)
{
    struct material place = { .seed = seed };
    uint8_t *material = malloc(Q2_LUKS_MAX_MATERIAL_BYTES);
    uint8_t key[Q2_CRYPTO_MAX_KEY_BYTES], master[Q2_CRYPTO_MAX_KEY_BYTES];
    struct q2_cipher *cipher = NULL;
    struct q2_cipher_worker *worker = NULL;
    size_t n = q2_luks_material_bytes(h);
    unsigned i = 0;
    int r = material == NULL ? QCOW2_E_NOMEM : 0;

    while (i < Q2_LUKS_SLOTS && !h->slots[i].active) {
        i++;
    }
    if (i == Q2_LUKS_SLOTS || h->slots[i].iterations > MAX_ITERATIONS) {
        r = QCOW2_E_KEY;
    }
    if (r == 0 && (r = read_material(&place, material, n, h->slots[i].material_off, NULL)) == 0 &&
        (r = q2_pbkdf2(h->hash, passphrase, PASSPHRASE_BYTES, h->slots[i].salt,
                       h->slots[i].iterations, key, h->key_bytes, NULL)) == 0 &&
        (r = q2_cipher_create(&h->method, key, h->key_bytes, &cipher, NULL)) == 0 &&
        (r = q2_cipher_worker_create(cipher, &worker, NULL)) == 0 &&
        (r = q2_cipher_decrypt(worker, material, material, n, 0, NULL)) == 0 &&
        (r = q2_af_merge(h->hash, material, h->key_bytes, Q2_LUKS_STRIPES, master, NULL)) == 0) {
        r = q2_pbkdf2(h->hash, master, h->key_bytes, h->digest_salt, h->digest_iterations,
                      h->digest, sizeof h->digest, NULL);
    }
    q2_cipher_worker_destroy(worker);
    q2_cipher_destroy(cipher);
    free(material);
    return r;
}

/* The same sectors decrypted together, and one by one in another place. */
static void require_cipher(const struct q2_cipher *cipher, uint8_t seed)
{
    struct q2_cipher_worker *worker = NULL;
    uint8_t stored[2 * SECTOR_BYTES], together[sizeof stored], one[SECTOR_BYTES];

    memset(stored, seed, sizeof stored);
    memset(together, 0xa5, sizeof together);
    FUZZ_REQUIRE(q2_cipher_worker_create(cipher, &worker, NULL) == 0, "there is memory");
    FUZZ_REQUIRE(q2_cipher_decrypt(worker, together, stored, sizeof stored, seed, NULL) == 0,
                 "every sector can be decrypted");
    for (unsigned i = 0; i < 2; i++) {
        memcpy(one, stored, sizeof one);
        FUZZ_REQUIRE(q2_cipher_decrypt(worker, one, one, sizeof one, seed + i, NULL) == 0,
                     "in place as well");
        FUZZ_REQUIRE(memcmp(one, together + (size_t)i * SECTOR_BYTES, sizeof one) == 0,
                     "a sector depends on nothing but its number");
    }
    q2_cipher_worker_destroy(worker);
}

static void unlock(struct q2_luks_header *h, unsigned what, uint8_t seed)
{
    uint8_t passphrase[PASSPHRASE_BYTES];
    struct material material = { .seed = seed };
    struct qcow2_error err = fuzz_error();
    struct q2_cipher *cipher = NULL;
    bool fits = false;
    struct q2_luks_work work = { .max = MAX_WORK };
    int r;

    memset(passphrase, seed, sizeof passphrase);
    if ((what & FIT) != 0 && h->digest_iterations <= MAX_ITERATIONS) {
        fits = make_fit(h, passphrase, seed) == 0;
    }
    material.fail_at = (what & FAIL_FIRST_READ) != 0 ? 1 : (what & FAIL_SECOND_READ) != 0 ? 2 : 0;
    r = q2_luks_unlock(h, passphrase, sizeof passphrase, read_material, &material, &work, &cipher,
                       &err);
    fuzz_require_result(r, &err);
    FUZZ_REQUIRE(work.spent <= work.max, "the work stays within its limit");
    FUZZ_REQUIRE(r <= 0 && (r == 0) == (cipher != NULL), "a cipher comes with success alone");
    FUZZ_REQUIRE(material.reads <= Q2_LUKS_SLOTS, "a slot's material is read once");
    FUZZ_REQUIRE(!fits || material.fail_at == 1 || r == 0, "a passphrase that fits unlocks");
    FUZZ_REQUIRE(r != QCOW2_E_IO || material.reads >= material.fail_at,
                 "a failed read is reported");
    if (r == 0) {
        require_cipher(cipher, seed);
    }
    q2_cipher_destroy(cipher);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };
    unsigned what = (unsigned)fuzz_take(&input, 1);
    uint8_t seed = (uint8_t)fuzz_take(&input, 1);
    struct qcow2_error err = fuzz_error();
    struct q2_luks_header header;
    int r = q2_luks_decode(input.bytes, input.left, &header, &err);

    fuzz_require_result(r, &err);
    FUZZ_REQUIRE((input.left < Q2_LUKS_HEADER_BYTES) == (r == QCOW2_E_TRUNCATED),
                 "truncated is what is shorter than a header, and nothing else");
    if (r == 0) {
        require_header(&header);
        if ((what & DO_MASK) == DO_UNLOCK) {
            unlock(&header, what, seed);
        }
    }
    return 0;
}
