/* SPDX-License-Identifier: MIT */
/* mapping.h - what one L1 or L2 entry says about a guest cluster. */
#ifndef Q2_FORMAT_MAPPING_H
#define Q2_FORMAT_MAPPING_H

#include <stdbool.h>
#include <stdint.h>

#include "format/layout.h"

/* The shape of an image's tables; fixed once the header is read. */
struct q2_geometry {
    unsigned cluster_bits;    /* 9 .. 21 */
    unsigned l2_bits;         /* entries in an L2 table, as a power of two */
    unsigned subcluster_bits; /* of a subcluster's bytes; cluster_bits where there are none */
    bool version_1;           /* plain offsets, no alignment, no flags but one */
    bool extended;            /* L2 entries of 16 bytes */
    bool data_file;           /* guest data lies in another file */
    bool zero_flag;           /* version 3: bit 0 of an L2 entry has a meaning */
};

void q2_geometry_init(struct q2_geometry *geometry_ret, unsigned version, unsigned cluster_bits,
                      bool extended, bool data_file);

void q2_geometry_init_v1(struct q2_geometry *geometry_ret, unsigned cluster_bits, unsigned l2_bits);

/* The L2 table that an L1 entry names; 0: none. */
static inline uint64_t q2_l1_table_off(const struct q2_geometry *geometry, uint64_t entry)
{
    return geometry->version_1 ? entry : entry & Q2_OFFSET_MASK;
}

/* The size of an L2 table. */
static inline uint64_t q2_l2_table_bytes(const struct q2_geometry *geometry)
{
    return UINT64_C(8) << (geometry->l2_bits + geometry->extended);
}

/* Zero and unallocated are different answers: an unallocated cluster shows the backing file, a zero
 * cluster hides it. They must never share a flag. */
enum q2_kind { Q2_UNALLOCATED, Q2_ZERO, Q2_NORMAL, Q2_COMPRESSED };

/* What is wrong with an entry; each makes every read of its cluster fail. */
enum q2_fault {
    Q2_FAULT_NONE = 0,
    Q2_FAULT_UNALIGNED,             /* the host offset is not aligned to a cluster */
    Q2_FAULT_ZERO_FLAG_V2,          /* a zero cluster, which version 2 does not have */
    Q2_FAULT_SUBCLUSTER_CONFLICT,   /* a subcluster both allocated and zero */
    Q2_FAULT_SUBCLUSTER_NO_CLUSTER, /* a subcluster allocated in no cluster */
    Q2_FAULT_DATA_FILE_COMPRESSED,  /* compressed, though the data is in an external file */
    Q2_FAULT_DATA_FILE_OFFSET       /* external data that is not where the guest has it */
};

const char *q2_fault_text(enum q2_fault fault);

#define Q2_NO_HOST UINT64_MAX

struct q2_mapping {
    enum q2_kind kind;
    enum q2_fault fault; /* not NONE: nothing else in here counts */
    /* NORMAL: where the cluster starts. COMPRESSED: where the stream starts. Else Q2_NO_HOST, or the
     * cluster that is set aside (zero, or unallocated subclusters of an allocated cluster). */
    uint64_t host_off;
    uint32_t compressed_bytes; /* COMPRESSED: the longest the stream can be */
    unsigned subclusters;      /* how many from the given one on share this answer */
};

/* Decodes the L2 entry of the guest cluster that starts at cluster_guest_off, as seen by subcluster
 * `subcluster`. `bitmap` is the second word of an extended entry and ignored otherwise. */
struct q2_mapping q2_l2_decode(const struct q2_geometry *geometry, uint64_t entry, uint64_t bitmap,
                               unsigned subcluster, uint64_t cluster_guest_off);

#endif
