/* SPDX-License-Identifier: MIT */
/* target_bitmap.c - the directory of dirty bitmaps and the entries of their tables. The input: a byte for
 * the cluster size, eight for the disk's, the directory; its words are taken for table entries too. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "format/bitmap.h"

static void require_entry(const struct q2_bitmap_entry *e, unsigned cluster_bits, uint64_t disk)
{
    FUZZ_REQUIRE(e->table_off != 0 && e->table_off % (UINT64_C(1) << cluster_bits) == 0,
                 "a table starts on a cluster that is not the header's");
    FUZZ_REQUIRE(e->table_entries >= 1 &&
                     (uint64_t)e->table_entries << cluster_bits <= Q2_MAX_BITMAP_BYTES,
                 "tables have a limit");
    FUZZ_REQUIRE(e->granularity_bits >= 9 && e->granularity_bits <= 31, "granularities have one");
    FUZZ_REQUIRE(e->name_bytes <= Q2_MAX_BITMAP_NAME_BYTES && e->name_off == 24 &&
                     e->entry_bytes >= e->name_off + e->name_bytes && e->entry_bytes % 8 == 0 &&
                     e->entry_bytes <= 24 + 1023 + 7,
                 "the name is inside the entry");
    if (!e->in_use) {
        /* So many bits, each for a granule, reach the end of the disk, and one table entry less would
         * not. */
        uint64_t granules = (disk >> e->granularity_bits) +
                            ((disk & ((UINT64_C(1) << e->granularity_bits) - 1)) != 0);
        uint64_t bits = (uint64_t)e->table_entries << (cluster_bits + 3);

        FUZZ_REQUIRE(bits >= granules && bits - (UINT64_C(8) << cluster_bits) < granules,
                     "a table is as long as the disk needs");
    }
}

static void require_words(const uint8_t *bytes, size_t n, unsigned cluster_bits)
{
    struct fuzz_input input = { bytes, n };

    for (int i = 0; i < 16 && input.left > 0; i++) {
        uint64_t host_off = 1;
        enum q2_bitmap_cluster kind =
            q2_bitmap_table_decode(fuzz_take(&input, 8), cluster_bits, &host_off);

        FUZZ_REQUIRE((kind == Q2_BITMAP_STORED) == (host_off != 0),
                     "only what is stored is somewhere");
        FUZZ_REQUIRE(host_off % (UINT64_C(1) << cluster_bits) == 0 && host_off < UINT64_C(1) << 56,
                     "bits are stored in a cluster");
    }
}

/* The entry with no byte more than is asked for. */
static int decode_stingily(const uint8_t *bytes, size_t n, unsigned cluster_bits, uint64_t disk,
                           struct q2_bitmap_entry *entry_ret)
{
    size_t have = n < Q2_BITMAP_FIXED_BYTES ? n : Q2_BITMAP_FIXED_BYTES;
    int r = Q2_BITMAP_NEED_MORE;

    for (int round = 0; r == Q2_BITMAP_NEED_MORE; round++) {
        uint8_t *exact = fuzz_exact_copy(bytes, have);

        FUZZ_REQUIRE(round <= 2, "at most twice for one entry");
        r = q2_bitmap_entry_decode(exact, have, 0, cluster_bits, disk, entry_ret, NULL);
        free(exact);
        if (r == Q2_BITMAP_NEED_MORE) {
            FUZZ_REQUIRE(entry_ret->entry_bytes > have, "more is more");
            if (entry_ret->entry_bytes > n) {
                return r;
            }
            have = entry_ret->entry_bytes;
        }
    }
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };
    unsigned cluster_bits = 9 + (unsigned)fuzz_take(&input, 1) % 13;
    uint64_t disk = fuzz_take(&input, 8) & INT64_MAX & ~UINT64_C(511);

    require_words(input.bytes, input.left, cluster_bits);
    for (int i = 0; i < 16; i++) {
        struct qcow2_error err = fuzz_error();
        struct q2_bitmap_entry entry, again;
        int r =
            q2_bitmap_entry_decode(input.bytes, input.left, 512, cluster_bits, disk, &entry, &err);

        FUZZ_REQUIRE(decode_stingily(input.bytes, input.left, cluster_bits, disk, &again) == r,
                     "bytes behind an entry do not matter");
        if (r == Q2_BITMAP_NEED_MORE) {
            FUZZ_REQUIRE(entry.entry_bytes > input.left,
                         "more is asked for only where it is needed");
            return 0;
        }
        fuzz_require_result(r, &err);
        if (r < 0) {
            return 0;
        }
        require_entry(&entry, cluster_bits, disk);
        input.bytes += entry.entry_bytes;
        input.left -= entry.entry_bytes;
    }
    return 0;
}
