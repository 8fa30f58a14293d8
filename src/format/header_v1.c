/* SPDX-License-Identifier: MIT */
/* header_v1.c - version 1: bytes in, struct out. No reads, no memory.
 *
 * The L1 table's length is not stored: it is what the size needs. Nothing is
 * aligned, and there are no flags, refcounts, snapshots or extensions. */
#include "format/header_v1.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "format/layout.h"

enum {
    V1_BACKING_OFFSET = 8,
    V1_BACKING_SIZE = 16,
    V1_SIZE = 24,
    V1_CLUSTER_BITS = 32,
    V1_L2_BITS = 33,
    V1_CRYPT_METHOD = 36,
    V1_L1_OFFSET = 40,
    V1_HEADER_BYTES = 48
};

enum { MIN_CLUSTER_BITS = 9, MAX_CLUSTER_BITS = 16, MIN_L2_BITS = 6, MAX_L2_BITS = 13 };

/* The table's length in bytes is a 31 bit number in QEMU. */
#define MAX_L1_ENTRIES (UINT64_C(0x7fffffff) / 8)

/* QEMU reads the name wherever it is said to be, also one of no bytes, and up to here files can be read. */
#define MAX_NAME_OFFSET (INT64_MAX - ((INT64_C(1) << 30) - 1))

static int check_size(const struct q2_header *h, unsigned l2_bits, uint64_t *l1_entries_ret,
                      struct qcow2_error *err)
{
    unsigned span_bits = h->cluster_bits + l2_bits;

    if (h->size_bytes <= 1) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, V1_SIZE, "disk size %llu is too small",
                               (unsigned long long)h->size_bytes);
    }
    *l1_entries_ret = q2_blocks_for(h->size_bytes, span_bits);
    if (h->size_bytes > INT64_MAX || *l1_entries_ret > MAX_L1_ENTRIES) {
        return q2_error_set_at(err, QCOW2_E_LIMIT, V1_SIZE,
                               "disk size %llu needs an L1 table of more than 2 GiB",
                               (unsigned long long)h->size_bytes);
    }
    return 0;
}

int q2_header_decode_v1(const void *bytes, size_t n, struct q2_header *header_ret,
                        unsigned *l2_bits_ret, struct qcow2_error *err)
{
    const uint8_t *b = bytes;
    struct q2_header h = { .version = 1, .header_bytes = V1_HEADER_BYTES };
    unsigned l2_bits;
    uint64_t l1_entries = 0;
    int r;

    if (n < V1_HEADER_BYTES) {
        return q2_error_set(err, QCOW2_E_TRUNCATED,
                            "the file ends inside the header, after %zu of %d bytes", n,
                            V1_HEADER_BYTES);
    }
    h.backing_off = q2_load_be64(b + V1_BACKING_OFFSET);
    h.backing_bytes = q2_load_be32(b + V1_BACKING_SIZE);
    h.size_bytes = q2_load_be64(b + V1_SIZE);
    h.cluster_bits = b[V1_CLUSTER_BITS];
    l2_bits = b[V1_L2_BITS];
    h.crypt_method = q2_load_be32(b + V1_CRYPT_METHOD);
    h.l1_off = q2_load_be64(b + V1_L1_OFFSET);

    if (h.cluster_bits < MIN_CLUSTER_BITS || h.cluster_bits > MAX_CLUSTER_BITS) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, V1_CLUSTER_BITS,
                               "cluster_bits is %lu; version 1 has %d (512 bytes) to %d (64 KiB)",
                               (unsigned long)h.cluster_bits, MIN_CLUSTER_BITS, MAX_CLUSTER_BITS);
    }
    if (l2_bits < MIN_L2_BITS || l2_bits > MAX_L2_BITS) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, V1_L2_BITS,
                               "l2_bits is %u; version 1 has %d to %d", l2_bits, MIN_L2_BITS,
                               MAX_L2_BITS);
    }
    if (h.crypt_method > QCOW2_ENCRYPTION_AES) {
        return q2_error_set_at(err, QCOW2_E_UNSUPPORTED, V1_CRYPT_METHOD,
                               "encryption method %lu is unknown; version 1 has 1 (AES)",
                               (unsigned long)h.crypt_method);
    }
    if ((r = check_size(&h, l2_bits, &l1_entries, err)) < 0) {
        return r;
    }
    h.l1_entries = (uint32_t)l1_entries;
    if (h.backing_off != 0 && h.backing_bytes > Q2_MAX_BACKING_NAME_BYTES) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, V1_BACKING_SIZE,
                               "backing file name of %lu bytes is longer than %u",
                               (unsigned long)h.backing_bytes, Q2_MAX_BACKING_NAME_BYTES);
    }
    if (h.backing_off > MAX_NAME_OFFSET) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, V1_BACKING_OFFSET,
                               "backing file name at 0x%llx lies behind the end of any file",
                               (unsigned long long)h.backing_off);
    }
    *header_ret = h;
    *l2_bits_ret = l2_bits;
    return 0;
}
