/* SPDX-License-Identifier: MIT */
/* target_header.c - the start of a file: headers of versions 1 to 3, header extensions, feature names.
 * The input is the file. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "format/extension.h"
#include "format/header.h"
#include "format/header_v1.h"
#include "format/layout.h"

static void require_header(const struct q2_header *h)
{
    uint64_t cluster = UINT64_C(1) << h->cluster_bits, mask = cluster - 1;
    unsigned entry_bits = q2_header_has(h, QCOW2_INCOMPATIBLE_EXTENDED_L2) ? 4 : 3;
    unsigned span_bits = 2 * h->cluster_bits - entry_bits;

    FUZZ_REQUIRE(h->version == 2 || h->version == 3, "versions are 2 and 3");
    FUZZ_REQUIRE(h->cluster_bits >= 9 && h->cluster_bits <= 21, "clusters are 512 bytes to 2 MiB");
    FUZZ_REQUIRE(h->size_bytes <= INT64_MAX, "a disk has signed offsets");
    FUZZ_REQUIRE(h->size_bytes == 0 || (h->size_bytes - 1) >> span_bits < h->l1_entries,
                 "every guest cluster has an L1 entry");
    FUZZ_REQUIRE(h->l1_entries <= 4194304, "L1 tables have a limit");
    FUZZ_REQUIRE(((h->l1_off | h->refcount_table_off | h->snapshots_off) & mask) == 0,
                 "tables are aligned");
    FUZZ_REQUIRE(h->l1_off <= INT64_MAX - h->l1_entries * UINT64_C(8) &&
                     h->refcount_table_off <= INT64_MAX && h->snapshots_off <= INT64_MAX,
                 "tables have signed offsets");
    FUZZ_REQUIRE((uint64_t)h->refcount_table_clusters << h->cluster_bits <= 8 << 20,
                 "refcount tables have a limit");
    FUZZ_REQUIRE(h->refcount_order <= 6, "refcounts are up to 64 bits wide");
    FUZZ_REQUIRE(h->header_bytes >= 72 && h->header_bytes <= cluster, "the header is in a cluster");
    FUZZ_REQUIRE(h->compression <= 1 && h->crypt_method <= 2, "methods are known");
    FUZZ_REQUIRE(h->backing_off <= cluster, "the extensions end in the first cluster");
    if (h->backing_off != 0 && h->backing_bytes != 0) {
        FUZZ_REQUIRE(h->backing_bytes <= 1023 && h->backing_off >= h->header_bytes &&
                         h->backing_off + h->backing_bytes <= cluster,
                     "the backing name is behind the header, in the first cluster");
    }
    if (h->version == 2) {
        FUZZ_REQUIRE((h->incompatible | h->compatible | h->autoclear | h->compression) == 0 &&
                         h->refcount_order == 4 && h->header_bytes == 72,
                     "version 2 has none of the later fields");
    }
}

static void walk_features(const uint8_t *table, size_t n)
{
    uint8_t *exact = fuzz_exact_copy(table, n);
    struct q2_feature feature;
    size_t pos = 0, steps = 0;

    while (q2_feature_next(exact, n, &pos, &feature)) {
        FUZZ_REQUIRE(feature.name_bytes >= 1 && feature.name_bytes <= Q2_FEATURE_NAME_BYTES,
                     "a feature has a name that fits");
        FUZZ_REQUIRE((const uint8_t *)feature.name >= exact &&
                         (const uint8_t *)feature.name + feature.name_bytes <= exact + n,
                     "a feature's name is inside the table");
        FUZZ_REQUIRE(++steps <= n / 3 + 1, "a feature takes at least three bytes");
    }
    free(exact);
}

static void walk_extensions(const uint8_t *data, size_t n, const struct q2_header *h)
{
    uint64_t end = q2_header_extensions_end(h), pos = h->header_bytes, before = pos;
    struct qcow2_error err = fuzz_error();
    struct q2_extension ext;
    size_t steps = 0;
    int r;

    while ((r = q2_extension_next(data, n, &pos, end, &ext, &err)) == 1) {
        FUZZ_REQUIRE(pos >= before + 8 && (pos - before) % 8 == 0, "extensions go forwards by 8");
        FUZZ_REQUIRE(ext.data_off == before + 8 && ext.data_off + ext.length_bytes <= end &&
                         ext.data_off + ext.length_bytes <= n,
                     "an extension's data is in the area and was there");
        FUZZ_REQUIRE(ext.type != Q2_EXT_END, "the end marker is none");
        FUZZ_REQUIRE(++steps <= (end >> 3) + 1, "an extension takes 8 bytes");
        if (ext.type == Q2_EXT_FEATURE_NAMES) {
            walk_features(data + ext.data_off, ext.length_bytes);
        }
        (void)q2_extension_name(ext.type);
        before = pos;
    }
    FUZZ_REQUIRE(pos == before, "a walk that ends stays where it is");
    FUZZ_REQUIRE(r != Q2_EXTENSION_NEED_MORE || n < end, "all of the area is always enough");
    fuzz_require_result(r, &err);
}

static void decode_v1(const uint8_t *data, size_t n)
{
    struct qcow2_error err = fuzz_error();
    struct q2_header h;
    unsigned l2_bits;
    int r = q2_header_decode_v1(data, n, &h, &l2_bits, &err);

    fuzz_require_result(r, &err);
    if (r == 0) {
        FUZZ_REQUIRE(h.version == 1 && h.cluster_bits >= 9 && h.cluster_bits <= 16 &&
                         l2_bits >= 6 && l2_bits <= 13,
                     "version 1 has its own limits");
        FUZZ_REQUIRE(h.size_bytes > 1 && h.size_bytes <= INT64_MAX &&
                         (h.size_bytes - 1) >> (h.cluster_bits + l2_bits) < h.l1_entries,
                     "every guest cluster has an L1 entry");
        FUZZ_REQUIRE(h.backing_off == 0 || h.backing_bytes <= 1023, "names have a limit");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qcow2_error err = fuzz_error();
    struct q2_header h, again;
    int r = q2_header_decode(data, size, &h, &err);

    fuzz_require_result(r, &err);
    if (size > Q2_HEADER_KNOWN_BYTES) {
        FUZZ_REQUIRE(q2_header_decode(data, Q2_HEADER_KNOWN_BYTES, &again, NULL) == r,
                     "112 bytes are enough, and errors may be NULL");
    }
    if (r == 0) {
        require_header(&h);
        walk_extensions(data, size, &h);
    }
    decode_v1(data, size);
    return 0;
}
