/* SPDX-License-Identifier: MIT */
/* mapping.c - L2 entries: words in, struct out. No reads, no memory, no image.
 *
 * The order of the tests is part of the format: the compressed flag comes
 * first, because in a compressed descriptor every other bit is part of the
 * offset or the length. Reserved bits are ignored, as QEMU ignores them. */
#include "format/mapping.h"

void q2_geometry_init(struct q2_geometry *geometry_ret, unsigned version, unsigned cluster_bits,
                      bool extended, bool data_file)
{
    *geometry_ret = (struct q2_geometry){
        .cluster_bits = cluster_bits,
        .l2_bits = cluster_bits - (extended ? 4 : 3),
        .subcluster_bits = extended ? cluster_bits - Q2_SUBCLUSTER_BITS : cluster_bits,
        .extended = extended,
        .data_file = data_file,
        .zero_flag = version >= 3,
    };
}

void q2_geometry_init_v1(struct q2_geometry *geometry_ret, unsigned cluster_bits, unsigned l2_bits)
{
    *geometry_ret = (struct q2_geometry){
        .cluster_bits = cluster_bits,
        .l2_bits = l2_bits,
        .subcluster_bits = cluster_bits,
        .version_1 = true,
    };
}

const char *q2_fault_text(enum q2_fault fault)
{
    switch (fault) {
    case Q2_FAULT_UNALIGNED:
        return "its host offset is not aligned";
    case Q2_FAULT_ZERO_FLAG_V2:
        return "it has the zero flag, which version 2 does not know";
    case Q2_FAULT_SUBCLUSTER_CONFLICT:
        return "a subcluster is marked both allocated and zero";
    case Q2_FAULT_SUBCLUSTER_NO_CLUSTER:
        return "a subcluster is marked allocated, but there is no host cluster";
    case Q2_FAULT_DATA_FILE_COMPRESSED:
        return "it is compressed, which an external data file does not allow";
    case Q2_FAULT_DATA_FILE_OFFSET:
        return "its offset in the external data file is not its guest offset";
    case Q2_FAULT_NONE:
        break;
    }
    return "it is in order";
}

static struct q2_mapping faulty(enum q2_fault fault)
{
    return (struct q2_mapping){ .fault = fault, .host_off = Q2_NO_HOST, .subclusters = 1 };
}

/* | 61..x number of further sectors | x-1..0 byte offset |, x = 70 - cluster_bits. The stream may start
 * at any byte; its length is given in the 512 byte sectors of the file that it touches. */
static struct q2_mapping decode_compressed(const struct q2_geometry *g, uint64_t entry,
                                           unsigned subclusters)
{
    unsigned offset_bits = 70 - g->cluster_bits;
    uint64_t host_off = entry & ((UINT64_C(1) << offset_bits) - 1);
    uint64_t more_sectors = (entry & (Q2_ENTRY_COMPRESSED - 1)) >> offset_bits;

    return (struct q2_mapping){
        .kind = Q2_COMPRESSED,
        .host_off = host_off,
        /* At most 2^13 sectors of 512 bytes: two clusters. */
        .compressed_bytes = (uint32_t)((more_sectors + 1) * 512 - (host_off & 511)),
        .subclusters = subclusters,
    };
}

/* Length of the run of equal bits in `bits` that starts at bit `first` of 32. */
static unsigned run_of(uint32_t bits, unsigned first)
{
    uint32_t rest = bits >> first;
    unsigned n = 1;

    while (first + n < Q2_SUBCLUSTERS && ((rest >> n) & 1) == (rest & 1)) {
        n++;
    }
    return n;
}

static struct q2_mapping decode_subclusters(uint64_t bitmap, uint64_t host_off, unsigned subcluster)
{
    uint32_t allocated = (uint32_t)bitmap, zero = (uint32_t)(bitmap >> 32);
    unsigned allocated_run = run_of(allocated, subcluster), zero_run = run_of(zero, subcluster);
    struct q2_mapping m = {
        .host_off = host_off,
        .subclusters = allocated_run < zero_run ? allocated_run : zero_run,
    };

    /* One bad subcluster spoils its cluster, whichever was asked for. */
    if ((allocated & zero) != 0) {
        return faulty(host_off == Q2_NO_HOST ? Q2_FAULT_SUBCLUSTER_NO_CLUSTER
                                             : Q2_FAULT_SUBCLUSTER_CONFLICT);
    }
    if (host_off == Q2_NO_HOST && allocated != 0) {
        return faulty(Q2_FAULT_SUBCLUSTER_NO_CLUSTER);
    }
    if ((zero >> subcluster) & 1) {
        m.kind = Q2_ZERO;
    } else if ((allocated >> subcluster) & 1) {
        m.kind = Q2_NORMAL;
    } else {
        m.kind = Q2_UNALLOCATED;
    }
    return m;
}

/* Version 1: | 63 compressed | 62..x length in bytes | x-1..0 offset |, x = 63 - cluster_bits; without
 * the flag all of it is an offset, which QEMU reads only at whole sectors. */
static struct q2_mapping decode_v1(const struct q2_geometry *g, uint64_t entry)
{
    unsigned offset_bits = 63 - g->cluster_bits;

    if ((entry >> 63) != 0) {
        return (struct q2_mapping){
            .kind = Q2_COMPRESSED,
            .host_off = entry & ((UINT64_C(1) << offset_bits) - 1),
            .compressed_bytes =
                (uint32_t)(entry >> offset_bits & ((UINT64_C(1) << g->cluster_bits) - 1)),
            .subclusters = 1,
        };
    }
    if ((entry & 511) != 0) {
        return faulty(Q2_FAULT_UNALIGNED);
    }
    return (struct q2_mapping){
        .kind = entry == 0 ? Q2_UNALLOCATED : Q2_NORMAL,
        .host_off = entry == 0 ? Q2_NO_HOST : entry,
        .subclusters = 1,
    };
}

struct q2_mapping q2_l2_decode(const struct q2_geometry *g, uint64_t entry, uint64_t bitmap,
                               unsigned subcluster, uint64_t cluster_guest_off)
{
    uint64_t host_off = entry & Q2_OFFSET_MASK;
    unsigned rest = g->extended ? Q2_SUBCLUSTERS - subcluster : 1;

    if (g->version_1) {
        return decode_v1(g, entry);
    }
    if (entry & Q2_ENTRY_COMPRESSED) {
        return g->data_file ? faulty(Q2_FAULT_DATA_FILE_COMPRESSED)
                            : decode_compressed(g, entry, rest);
    }
    /* Offset 0 is the header and never data; in an external data file it is the first cluster, and
     * the copied flag tells it from nothing. */
    if (host_off == 0 && !(g->data_file && (entry & Q2_ENTRY_COPIED) != 0 &&
                           (g->extended || (entry & Q2_ENTRY_ZERO) == 0))) {
        host_off = Q2_NO_HOST;
    }
    if (host_off != Q2_NO_HOST) {
        if ((host_off & ((UINT64_C(1) << g->cluster_bits) - 1)) != 0) {
            return faulty(Q2_FAULT_UNALIGNED);
        }
        if (g->data_file && host_off != cluster_guest_off) {
            return faulty(Q2_FAULT_DATA_FILE_OFFSET);
        }
    }
    if (g->extended) {
        return decode_subclusters(bitmap, host_off, subcluster);
    }
    if (entry & Q2_ENTRY_ZERO) {
        return g->zero_flag
                   ? (struct q2_mapping){ .kind = Q2_ZERO, .host_off = host_off, .subclusters = 1 }
                   : faulty(Q2_FAULT_ZERO_FLAG_V2);
    }
    return (struct q2_mapping){
        .kind = host_off == Q2_NO_HOST ? Q2_UNALLOCATED : Q2_NORMAL,
        .host_off = host_off,
        .subclusters = 1,
    };
}
