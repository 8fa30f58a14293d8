/* SPDX-License-Identifier: MIT */
/* luks_header.c - the bytes of a LUKS version 1 header into checked facts.
 *
 * Knows neither keys nor a crypto library, allocates nothing. What QEMU refuses is refused here.
 * Specification: LUKS On-Disk Format 1.x, "Partition header". */
#include "crypto/luks.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <qcow2.h>
#include "base/bytes.h"
#include "base/error.h"

/* Offsets of the fields; integers are big-endian. */
enum {
    AT_VERSION = 6,             /* 2 */
    AT_CIPHER = 8,              /* 32, text */
    AT_MODE = 40,               /* 32, text */
    AT_HASH = 72,               /* 32, text */
    AT_PAYLOAD_SECTOR = 104,    /* 4 */
    AT_KEY_BYTES = 108,         /* 4 */
    AT_DIGEST = 112,            /* 20 */
    AT_DIGEST_SALT = 132,       /* 32 */
    AT_DIGEST_ITERATIONS = 164, /* 4 */
    AT_UUID = 168,              /* 40, text */
    AT_SLOTS = 208,

    SLOT_BYTES = 48,
    SLOT_AT_STATE = 0,      /* 4 */
    SLOT_AT_ITERATIONS = 4, /* 4 */
    SLOT_AT_SALT = 8,       /* 32 */
    SLOT_AT_SECTOR = 40,    /* 4 */
    SLOT_AT_STRIPES = 44,   /* 4 */

    NAME_BYTES = 32,
    UUID_BYTES = 40,
    FIRST_FREE_SECTOR = 8 /* the header has the first 4096 bytes to itself */
};

static const uint32_t slot_active = 0x00ac71f3;
static const uint32_t slot_inactive = 0x0000dead;

/* A name as it may be shown: every byte at its worst takes four characters. */
struct shown {
    char text[4 * NAME_BYTES + 1];
};

static const char *show(struct shown *shown, const char *name)
{
    q2_escape(shown->text, sizeof shown->text, name, strlen(name));
    return shown->text;
}

/* A text field that must be terminated inside itself. */
static int get_name(const uint8_t *field, const char *what, char name_ret[NAME_BYTES],
                    struct qcow2_error *err)
{
    if (memchr(field, '\0', NAME_BYTES) == NULL) {
        return q2_error_set(err, QCOW2_E_CORRUPT, "LUKS header: the %s has no terminator", what);
    }
    memcpy(name_ret, field, NAME_BYTES);
    return 0;
}

/* "<mode>-<ivgen>" or "<mode>-<ivgen>:<hash>"; cuts the string up. */
static int decode_mode(char *mode, struct q2_cipher_method *method_ret, struct qcow2_error *err)
{
    struct shown shown;
    char *ivgen = strchr(mode, '-');
    char *hash;

    if (ivgen == NULL) {
        return q2_error_set(err, QCOW2_E_CORRUPT,
                            "LUKS header: cipher mode \"%s\" names no IV generator",
                            show(&shown, mode));
    }
    *ivgen++ = '\0';
    hash = strchr(ivgen, ':');
    if (hash != NULL) {
        *hash++ = '\0';
    }
    if (!q2_cipher_mode_from_name(mode, &method_ret->mode)) {
        return q2_error_set(err, QCOW2_E_UNSUPPORTED, "LUKS header: unknown cipher mode \"%s\"",
                            show(&shown, mode));
    }
    if (!q2_ivgen_from_name(ivgen, &method_ret->ivgen)) {
        return q2_error_set(err, QCOW2_E_UNSUPPORTED, "LUKS header: unknown IV generator \"%s\"",
                            show(&shown, ivgen));
    }
    method_ret->ivgen_hash = Q2_HASH_NONE;
    if (hash != NULL && !q2_hash_from_name(hash, &method_ret->ivgen_hash)) {
        return q2_error_set(err, QCOW2_E_UNSUPPORTED,
                            "LUKS header: unknown hash \"%s\" for the IV generator",
                            show(&shown, hash));
    }
    if (method_ret->ivgen != Q2_IVGEN_ESSIV) {
        method_ret->ivgen_hash = Q2_HASH_NONE; /* must be known, but has no effect */
    } else if (hash == NULL) {
        return q2_error_set(err, QCOW2_E_CORRUPT,
                            "LUKS header: IV generator essiv is named without a hash");
    }
    return 0;
}

/* The raw key length goes no further than this: what is stored is one of the few lengths that the
 * cipher has. */
static int decode_key_length(const struct q2_cipher_method *method, uint32_t raw_bytes,
                             struct q2_luks_header *ret, struct qcow2_error *err)
{
    const char *family = q2_cipher_family_name(method->family);
    uint32_t variant_bytes = method->mode == Q2_MODE_XTS ? raw_bytes / 2 : raw_bytes;
    size_t digest_bytes = q2_hash_digest_bytes(method->ivgen_hash);

    if (method->mode == Q2_MODE_XTS && q2_cipher_family_block_bytes(method->family) != 16) {
        return q2_error_set(err, QCOW2_E_CORRUPT,
                            "LUKS header: mode xts needs blocks of 16 bytes, %s has others",
                            family);
    }
    if ((method->mode == Q2_MODE_XTS && raw_bytes % 2 != 0) ||
        !q2_cipher_family_has_key(method->family, variant_bytes)) {
        return q2_error_set(err, QCOW2_E_CORRUPT,
                            "LUKS header: %s in mode %s cannot have a key of %lu bytes", family,
                            q2_cipher_mode_name(method->mode), (unsigned long)raw_bytes);
    }
    if (method->ivgen == Q2_IVGEN_ESSIV &&
        !q2_cipher_family_has_key(method->family, digest_bytes)) {
        return q2_error_set(err, QCOW2_E_CORRUPT,
                            "LUKS header: essiv with %s, whose digest no variant of %s takes as a "
                            "key",
                            q2_hash_name(method->ivgen_hash), family);
    }
    ret->key_bytes = raw_bytes;
    (void)snprintf(ret->cipher_alg, sizeof ret->cipher_alg, "%s-%u", family,
                   (unsigned)(variant_bytes * 8));
    return 0;
}

static int decode_algorithms(const uint8_t *bytes, struct q2_luks_header *ret,
                             struct qcow2_error *err)
{
    char cipher[NAME_BYTES], mode[NAME_BYTES], hash[NAME_BYTES];
    struct shown shown;
    int r;

    if ((r = get_name(bytes + AT_CIPHER, "cipher name", cipher, err)) < 0 ||
        (r = get_name(bytes + AT_MODE, "cipher mode", mode, err)) < 0 ||
        (r = get_name(bytes + AT_HASH, "hash name", hash, err)) < 0) {
        return r;
    }
    if (!q2_cipher_family_from_name(cipher, &ret->method.family)) {
        return q2_error_set(err, QCOW2_E_UNSUPPORTED, "LUKS header: unknown cipher \"%s\"",
                            show(&shown, cipher));
    }
    if ((r = decode_mode(mode, &ret->method, err)) < 0) {
        return r;
    }
    if (!q2_hash_from_name(hash, &ret->hash)) {
        return q2_error_set(err, QCOW2_E_UNSUPPORTED, "LUKS header: unknown hash \"%s\"",
                            show(&shown, hash));
    }
    return decode_key_length(&ret->method, q2_load_be32(bytes + AT_KEY_BYTES), ret, err);
}

/* Sectors that a slot's key material takes: whole pages of eight. */
static uint64_t material_sectors(const struct q2_luks_header *header)
{
    uint64_t sectors = q2_luks_material_bytes(header) / Q2_CRYPTO_SECTOR_BYTES;

    return (sectors + 7) / 8 * 8;
}

static int decode_slot(const uint8_t *bytes, unsigned index, struct q2_luks_header *header,
                       struct qcow2_error *err)
{
    struct q2_luks_slot *slot = &header->slots[index];
    uint32_t state = q2_load_be32(bytes + SLOT_AT_STATE);
    uint32_t sector = q2_load_be32(bytes + SLOT_AT_SECTOR);

    slot->active = state == slot_active;
    slot->iterations = q2_load_be32(bytes + SLOT_AT_ITERATIONS);
    slot->stripes = q2_load_be32(bytes + SLOT_AT_STRIPES);
    slot->material_off = (uint64_t)sector * Q2_CRYPTO_SECTOR_BYTES;
    memcpy(slot->salt, bytes + SLOT_AT_SALT, sizeof slot->salt);

    if (state != slot_active && state != slot_inactive) {
        return q2_error_set(err, QCOW2_E_CORRUPT,
                            "LUKS key slot %u: state 0x%08lx is neither active nor inactive", index,
                            (unsigned long)state);
    }
    if (slot->stripes != Q2_LUKS_STRIPES) {
        return q2_error_set(err, QCOW2_E_CORRUPT, "LUKS key slot %u: %lu stripes instead of %d",
                            index, (unsigned long)slot->stripes, Q2_LUKS_STRIPES);
    }
    if (slot->active && slot->iterations == 0) {
        return q2_error_set(err, QCOW2_E_CORRUPT, "LUKS key slot %u: iteration count is 0", index);
    }
    if (sector < FIRST_FREE_SECTOR) {
        return q2_error_set(err, QCOW2_E_CORRUPT,
                            "LUKS key slot %u: key material at sector %lu overlaps the header",
                            index, (unsigned long)sector);
    }
    if (slot->material_off + material_sectors(header) * Q2_CRYPTO_SECTOR_BYTES >
        header->payload_off) {
        return q2_error_set(err, QCOW2_E_CORRUPT,
                            "LUKS key slot %u: key material at sector %lu reaches past the payload "
                            "offset",
                            index, (unsigned long)sector);
    }
    return 0;
}

static int check_overlaps(const struct q2_luks_header *header, struct qcow2_error *err)
{
    uint64_t n_bytes = material_sectors(header) * Q2_CRYPTO_SECTOR_BYTES;

    for (unsigned i = 0; i < Q2_LUKS_SLOTS; i++) {
        for (unsigned j = i + 1; j < Q2_LUKS_SLOTS; j++) {
            uint64_t a = header->slots[i].material_off, b = header->slots[j].material_off;

            if (a + n_bytes > b && b + n_bytes > a) {
                return q2_error_set(err, QCOW2_E_CORRUPT,
                                    "LUKS key slots %u and %u: their key material overlaps", i, j);
            }
        }
    }
    return 0;
}

size_t q2_luks_material_bytes(const struct q2_luks_header *header)
{
    size_t n_bytes = header->key_bytes * Q2_LUKS_STRIPES;

    /* Keys of 24 bytes fill the last sector only in part. */
    return (n_bytes + Q2_CRYPTO_SECTOR_BYTES - 1) / Q2_CRYPTO_SECTOR_BYTES * Q2_CRYPTO_SECTOR_BYTES;
}

int q2_luks_decode(const uint8_t *bytes, size_t n, struct q2_luks_header *header_ret,
                   struct qcow2_error *err)
{
    static const uint8_t magic[6] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };
    uint32_t payload_sector;
    int r;

    static_assert(AT_SLOTS + Q2_LUKS_SLOTS * SLOT_BYTES == Q2_LUKS_HEADER_BYTES, "field offsets");
    static_assert(Q2_CRYPTO_MAX_KEY_BYTES * Q2_LUKS_STRIPES == Q2_LUKS_MAX_MATERIAL_BYTES,
                  "size of the buffer for key material");
    if (n < Q2_LUKS_HEADER_BYTES) {
        return q2_error_set(err, QCOW2_E_TRUNCATED, "LUKS header: %zu bytes instead of %d", n,
                            Q2_LUKS_HEADER_BYTES);
    }
    memset(header_ret, 0, sizeof *header_ret);
    if (memcmp(bytes, magic, sizeof magic) != 0) {
        return q2_error_set(err, QCOW2_E_CORRUPT,
                            "LUKS header: it does not begin with the LUKS magic");
    }
    if (q2_load_be16(bytes + AT_VERSION) != 1) {
        return q2_error_set(err, QCOW2_E_UNSUPPORTED, "LUKS header: version %u, only 1 is known",
                            q2_load_be16(bytes + AT_VERSION));
    }
    if ((r = decode_algorithms(bytes, header_ret, err)) < 0) {
        return r;
    }
    payload_sector = q2_load_be32(bytes + AT_PAYLOAD_SECTOR);
    header_ret->payload_off = (uint64_t)payload_sector * Q2_CRYPTO_SECTOR_BYTES;
    header_ret->digest_iterations = q2_load_be32(bytes + AT_DIGEST_ITERATIONS);
    memcpy(header_ret->digest, bytes + AT_DIGEST, sizeof header_ret->digest);
    memcpy(header_ret->digest_salt, bytes + AT_DIGEST_SALT, sizeof header_ret->digest_salt);
    memcpy(header_ret->uuid, bytes + AT_UUID, UUID_BYTES); /* the byte behind it is 0 already */
    if (payload_sector < FIRST_FREE_SECTOR) {
        return q2_error_set(err, QCOW2_E_CORRUPT,
                            "LUKS header: payload at sector %lu overlaps the header",
                            (unsigned long)payload_sector);
    }
    if (header_ret->digest_iterations == 0) {
        return q2_error_set(err, QCOW2_E_CORRUPT,
                            "LUKS header: iteration count of the master key is 0");
    }
    for (unsigned i = 0; i < Q2_LUKS_SLOTS; i++) {
        if ((r = decode_slot(bytes + AT_SLOTS + (size_t)i * SLOT_BYTES, i, header_ret, err)) < 0) {
            return r;
        }
    }
    return check_overlaps(header_ret, err);
}

/* Below 2^37: fewer than 2^32 iterations, at most four digests and a factor of four. No sum of these for
 * the slots of a chain wraps. */
static uint64_t work_of(enum q2_hash hash, size_t key_bytes, uint32_t iterations)
{
    const size_t digest_bytes = q2_hash_digest_bytes(hash);
    const uint64_t digests = (key_bytes + digest_bytes - 1) / digest_bytes;

    return iterations * digests * (hash == Q2_HASH_SHA1 || hash == Q2_HASH_SHA256 ? 1 : 4);
}

uint64_t q2_luks_slot_work(const struct q2_luks_header *header, const struct q2_luks_slot *slot)
{
    return work_of(header->hash, header->key_bytes, slot->iterations) +
           work_of(header->hash, header->key_bytes, Q2_LUKS_MERGE_WORK) +
           work_of(header->hash, Q2_LUKS_DIGEST_BYTES, header->digest_iterations);
}
