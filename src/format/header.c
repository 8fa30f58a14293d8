/* SPDX-License-Identifier: MIT */
/* header.c - the fixed header: bytes in, struct out. No reads, no memory.
 * Knows nothing of extensions beyond where they may stand. */
#include "format/header.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "format/layout.h"

/* Tables start on a cluster and end inside what a signed file offset can say. */
static int check_table(const struct q2_header *h, uint64_t off, uint64_t bytes, const char *what,
                       struct qcow2_error *err)
{
    uint64_t end;

    if ((off & ((UINT64_C(1) << h->cluster_bits) - 1)) != 0) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, off,
                               "%s at 0x%llx is not aligned to a cluster", what,
                               (unsigned long long)off);
    }
    if (!q2_add_u64(off, bytes, &end) || end > INT64_MAX) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, off,
                               "%s at 0x%llx ends beyond the largest file offset", what,
                               (unsigned long long)off);
    }
    return 0;
}

static int decode_v3_fields(const uint8_t *b, size_t n, struct q2_header *h,
                            struct qcow2_error *err)
{
    if (n < Q2_HEADER_V3_BYTES) {
        return q2_error_set(err, QCOW2_E_TRUNCATED,
                            "the file ends inside the header, after %zu of %d bytes", n,
                            Q2_HEADER_V3_BYTES);
    }
    h->incompatible = q2_load_be64(b + Q2_H_INCOMPATIBLE);
    h->compatible = q2_load_be64(b + Q2_H_COMPATIBLE);
    h->autoclear = q2_load_be64(b + Q2_H_AUTOCLEAR);
    h->refcount_order = q2_load_be32(b + Q2_H_REFCOUNT_ORDER);
    h->header_bytes = q2_load_be32(b + Q2_H_HEADER_LENGTH);
    if (h->header_bytes < Q2_HEADER_V3_BYTES) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, Q2_H_HEADER_LENGTH,
                               "header length %lu is below %d, the least a version 3 header has",
                               (unsigned long)h->header_bytes, Q2_HEADER_V3_BYTES);
    }
    if (h->header_bytes > UINT32_C(1) << h->cluster_bits) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, Q2_H_HEADER_LENGTH,
                               "header length %lu is larger than a cluster (%lu bytes)",
                               (unsigned long)h->header_bytes, 1UL << h->cluster_bits);
    }
    /* The field exists only if the header says that it reaches that far; a file that ends before it
     * has a 0 there, as everything just past the end of a file is. */
    if (h->header_bytes > Q2_H_COMPRESSION_TYPE && n > Q2_H_COMPRESSION_TYPE) {
        h->compression = b[Q2_H_COMPRESSION_TYPE];
    }
    return 0;
}

/* The type field and its feature bit must tell the same story: readers older than the field rely on
 * the bit to be kept away. */
static int check_compression(const struct q2_header *h, struct qcow2_error *err)
{
    bool bit = q2_header_has(h, QCOW2_INCOMPATIBLE_COMPRESSION_TYPE);

    if (h->compression > QCOW2_COMPRESSION_ZSTD) {
        return q2_error_set_at(
            err, QCOW2_E_UNSUPPORTED, Q2_H_COMPRESSION_TYPE,
            "compression type %lu is unknown; 0 (deflate) and 1 (zstd) are known",
            (unsigned long)h->compression);
    }
    if (bit != (h->compression != QCOW2_COMPRESSION_DEFLATE)) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, Q2_H_COMPRESSION_TYPE,
                               "compression type %lu needs incompatible feature bit 3 to be %s",
                               (unsigned long)h->compression, bit ? "clear" : "set");
    }
    return 0;
}

static int check_backing_name(const struct q2_header *h, struct qcow2_error *err)
{
    if (h->backing_off == 0 || h->backing_bytes == 0) {
        return 0;
    }
    if (h->backing_bytes > Q2_MAX_BACKING_NAME_BYTES) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, Q2_H_BACKING_SIZE,
                               "backing file name of %lu bytes is longer than %u",
                               (unsigned long)h->backing_bytes, Q2_MAX_BACKING_NAME_BYTES);
    }
    if (h->backing_off < h->header_bytes) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, Q2_H_BACKING_OFFSET,
                               "backing file name at 0x%llx lies inside the header (%lu bytes)",
                               (unsigned long long)h->backing_off, (unsigned long)h->header_bytes);
    }
    if (h->backing_off + h->backing_bytes > UINT64_C(1) << h->cluster_bits) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, Q2_H_BACKING_OFFSET,
                               "backing file name at 0x%llx (%lu bytes) leaves the first cluster",
                               (unsigned long long)h->backing_off, (unsigned long)h->backing_bytes);
    }
    return 0;
}

static int check_refcounts(const struct q2_header *h, struct qcow2_error *err)
{
    uint64_t table_bytes = (uint64_t)h->refcount_table_clusters << h->cluster_bits;

    if (h->refcount_order > Q2_MAX_REFCOUNT_ORDER) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, Q2_H_REFCOUNT_ORDER,
                               "refcount order %lu is above %u (64 bit refcounts)",
                               (unsigned long)h->refcount_order, Q2_MAX_REFCOUNT_ORDER);
    }
    if (table_bytes > Q2_MAX_REFCOUNT_TABLE_BYTES) {
        return q2_error_set_at(err, QCOW2_E_LIMIT, Q2_H_REFCOUNT_CLUSTERS,
                               "refcount table of %lu clusters is larger than 8 MiB",
                               (unsigned long)h->refcount_table_clusters);
    }
    return check_table(h, h->refcount_table_off, table_bytes, "refcount table", err);
}

/* Every guest cluster must have an L1 entry. The size is used as stored, not as rounded down. */
static int check_l1(const struct q2_header *h, struct qcow2_error *err)
{
    unsigned entry_bits = q2_header_has(h, QCOW2_INCOMPATIBLE_EXTENDED_L2) ? 4 : 3;
    unsigned l1_entry_span_bits = h->cluster_bits + (h->cluster_bits - entry_bits);
    uint64_t needed;

    if (h->l1_entries > Q2_MAX_L1_ENTRIES) {
        return q2_error_set_at(err, QCOW2_E_LIMIT, Q2_H_L1_SIZE,
                               "L1 table of %lu entries is larger than 32 MiB",
                               (unsigned long)h->l1_entries);
    }
    if (h->size_bytes > INT64_MAX) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, Q2_H_SIZE,
                               "disk size %llu is beyond the largest file offset",
                               (unsigned long long)h->size_bytes);
    }
    needed = q2_blocks_for(h->size_bytes, l1_entry_span_bits);
    if (needed > h->l1_entries) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, Q2_H_L1_SIZE,
                               "L1 table has %lu entries, a disk of %llu bytes needs %llu",
                               (unsigned long)h->l1_entries, (unsigned long long)h->size_bytes,
                               (unsigned long long)needed);
    }
    return check_table(h, h->l1_off, (uint64_t)h->l1_entries * 8, "L1 table", err);
}

/* The fields that all versions have, and what can be said about them at once. */
static int decode_common_fields(const uint8_t *b, size_t n, struct q2_header *h,
                                struct qcow2_error *err)
{
    if (n < 4 || q2_load_be32(b + Q2_H_MAGIC) != Q2_MAGIC) {
        return q2_error_set_at(err, QCOW2_E_NOT_QCOW2, 0,
                               n == 0 ? "not a qcow2 image: the file is empty"
                                      : "not a qcow2 image: it does not begin with \"QFI\\xfb\"");
    }
    if (n >= 8) {
        h->version = q2_load_be32(b + Q2_H_VERSION);
        if (h->version < 2 || h->version > 3) {
            return q2_error_set_at(err, QCOW2_E_UNSUPPORTED, Q2_H_VERSION,
                                   h->version == 1
                                       ? "qcow version %lu where the format is said to be qcow2"
                                       : "qcow version %lu is not supported; versions 1 to 3 are",
                                   (unsigned long)h->version);
        }
    }
    if (n < Q2_HEADER_V2_BYTES) {
        return q2_error_set(err, QCOW2_E_TRUNCATED,
                            "the file ends inside the header, after %zu of %d bytes", n,
                            Q2_HEADER_V2_BYTES);
    }
    h->backing_off = q2_load_be64(b + Q2_H_BACKING_OFFSET);
    h->backing_bytes = q2_load_be32(b + Q2_H_BACKING_SIZE);
    h->cluster_bits = q2_load_be32(b + Q2_H_CLUSTER_BITS);
    h->size_bytes = q2_load_be64(b + Q2_H_SIZE);
    h->crypt_method = q2_load_be32(b + Q2_H_CRYPT_METHOD);
    h->l1_entries = q2_load_be32(b + Q2_H_L1_SIZE);
    h->l1_off = q2_load_be64(b + Q2_H_L1_OFFSET);
    h->refcount_table_off = q2_load_be64(b + Q2_H_REFCOUNT_OFFSET);
    h->refcount_table_clusters = q2_load_be32(b + Q2_H_REFCOUNT_CLUSTERS);
    h->snapshot_count = q2_load_be32(b + Q2_H_SNAPSHOT_COUNT);
    h->snapshots_off = q2_load_be64(b + Q2_H_SNAPSHOTS_OFFSET);

    /* Before any shift by it. */
    if (h->cluster_bits < Q2_MIN_CLUSTER_BITS || h->cluster_bits > Q2_MAX_CLUSTER_BITS) {
        return q2_error_set_at(
            err, h->cluster_bits < Q2_MIN_CLUSTER_BITS ? QCOW2_E_CORRUPT : QCOW2_E_UNSUPPORTED,
            Q2_H_CLUSTER_BITS, "cluster_bits is %lu; it must be %u (512 bytes) to %u (2 MiB)",
            (unsigned long)h->cluster_bits, Q2_MIN_CLUSTER_BITS, Q2_MAX_CLUSTER_BITS);
    }
    return 0;
}

int q2_header_decode(const void *bytes, size_t n, struct q2_header *header_ret,
                     struct qcow2_error *err)
{
    struct q2_header h = { .refcount_order = 4, .header_bytes = Q2_HEADER_V2_BYTES };
    int r;

    if ((r = decode_common_fields(bytes, n, &h, err)) < 0) {
        return r;
    }
    /* In version 2 the extensions start at byte 72: nothing there is a version 3 field. */
    if (h.version >= 3 && (r = decode_v3_fields(bytes, n, &h, err)) < 0) {
        return r;
    }
    if (h.backing_off > UINT64_C(1) << h.cluster_bits) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, Q2_H_BACKING_OFFSET,
                               "backing file name at 0x%llx lies outside the first cluster",
                               (unsigned long long)h.backing_off);
    }
    if ((r = check_compression(&h, err)) < 0) {
        return r;
    }
    if (q2_header_has(&h, QCOW2_INCOMPATIBLE_EXTENDED_L2) &&
        h.cluster_bits < Q2_MIN_EXTENDED_CLUSTER_BITS) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, Q2_H_CLUSTER_BITS,
                               "extended L2 entries need clusters of at least 16 KiB");
    }
    if (h.crypt_method > QCOW2_ENCRYPTION_LUKS) {
        return q2_error_set_at(err, QCOW2_E_UNSUPPORTED, Q2_H_CRYPT_METHOD,
                               "encryption method %lu is unknown; 1 (AES) and 2 (LUKS) are known",
                               (unsigned long)h.crypt_method);
    }
    if ((r = check_refcounts(&h, err)) < 0 ||
        /* How many snapshots there are is looked at when they are: their table being broken must
         * not cost the disk. */
        (r = check_table(&h, h.snapshots_off, 0, "snapshot table", err)) < 0 ||
        (r = check_l1(&h, err)) < 0 || (r = check_backing_name(&h, err)) < 0) {
        return r;
    }
    *header_ret = h;
    return 0;
}
