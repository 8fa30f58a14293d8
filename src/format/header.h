/* SPDX-License-Identifier: MIT */
/* header.h - the fixed header of a qcow2 file, bytes to validated facts. */
#ifndef Q2_FORMAT_HEADER_H
#define Q2_FORMAT_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

/* Every field has passed its checks; what a file says in no valid way is never in here. */
struct q2_header {
    uint32_t version; /* 2 or 3 */
    uint32_t cluster_bits;
    uint64_t size_bytes;  /* as stored */
    uint64_t backing_off; /* where the name stands, 0: none */
    uint32_t backing_bytes;
    uint32_t crypt_method; /* enum qcow2_encryption */
    uint32_t l1_entries;
    uint64_t l1_off;
    uint64_t refcount_table_off;
    uint32_t refcount_table_clusters;
    uint32_t refcount_order;
    uint32_t snapshot_count;
    uint64_t snapshots_off;
    uint64_t incompatible, compatible, autoclear;
    uint32_t header_bytes;
    uint32_t compression; /* enum qcow2_compression */
};

/* Decodes the first n bytes of a file (112 are enough; fewer only if the file is shorter).
 *
 * Two faults are left to the caller: unknown incompatible bits, which it refuses with their names once it
 * has seen the extensions, and the lack of a refcount table, which does not keep a check from running.
 * All else that cannot be read right is refused in the order QEMU would. */
int q2_header_decode(const void *bytes, size_t n, struct q2_header *header_ret,
                     struct qcow2_error *err);

/* Where the header extensions end: at the backing file name, or with the first cluster. */
static inline uint64_t q2_header_extensions_end(const struct q2_header *header)
{
    return header->backing_off != 0 ? header->backing_off : UINT64_C(1) << header->cluster_bits;
}

static inline bool q2_header_has(const struct q2_header *header, uint64_t incompatible_bit)
{
    return (header->incompatible & incompatible_bit) != 0;
}

#endif
