/* SPDX-License-Identifier: MIT */
/* fields.c - the fields of the format, for the mutator: where they stand in this image, and what may be
 * worth putting there. */
#include "fields.h"

#include "format/layout.h"

/* What an image's tables look like now; values are taken as they are, however wrong. */
struct view {
    struct fuzz_draft *draft;
    unsigned file;
    unsigned cluster_bits;
    bool extended;
    uint64_t l1_off, l1_entries, snapshots_off, refcounts_off;
};

static uint64_t get(const struct view *v, uint64_t offset, unsigned n_bytes)
{
    return fuzz_get(v->draft, v->file, offset, n_bytes);
}

static void put(const struct view *v, uint64_t offset, unsigned n_bytes, uint64_t value)
{
    fuzz_put(v->draft, v->file, offset, n_bytes, value);
}

static uint32_t choose(const struct view *v, uint32_t below)
{
    return fuzz_choose(v->draft, below);
}

static struct view look(struct fuzz_draft *draft, unsigned file)
{
    struct view v = { .draft = draft, .file = file };

    v.cluster_bits = (unsigned)fuzz_get(draft, file, Q2_H_CLUSTER_BITS, 4);
    if (v.cluster_bits < 9 || v.cluster_bits > 21) {
        v.cluster_bits = 9;
    }
    v.extended = fuzz_get(draft, file, Q2_H_VERSION, 4) >= 3 &&
                 (fuzz_get(draft, file, Q2_H_INCOMPATIBLE, 8) & 16) != 0;
    v.l1_off = fuzz_get(draft, file, Q2_H_L1_OFFSET, 8);
    v.l1_entries = fuzz_get(draft, file, Q2_H_L1_SIZE, 4);
    v.snapshots_off = fuzz_get(draft, file, Q2_H_SNAPSHOTS_OFFSET, 8);
    v.refcounts_off = fuzz_get(draft, file, Q2_H_REFCOUNT_OFFSET, 8);
    return v;
}

/* Numbers at the edges of things. */
static uint64_t edge(const struct view *v, unsigned n_bytes)
{
    static const uint64_t edges[] = { 0,          1,           2,          7,
                                      8,          511,         512,        0x7fff,
                                      0xffff,     0x10000,     0x7fffffff, 0x80000000,
                                      0xffffffff, 0x100000000, INT64_MAX,  UINT64_MAX };
    uint64_t value = edges[choose(v, sizeof edges / sizeof edges[0])];

    if (choose(v, 4) == 0) {
        value = UINT64_C(1) << choose(v, 8 * n_bytes);
    }
    return value + choose(v, 3) - 1;
}

/* Somewhere in the file: a cluster of it, where a piece is, or past its end. */
static uint64_t place(const struct view *v)
{
    const struct fuzz_sparse *s = &v->draft->sparse;
    uint64_t mask = (UINT64_C(1) << v->cluster_bits) - 1, at;

    switch (choose(v, 8)) {
    case 0:
        return edge(v, 8);
    case 1:
        at = v->draft->sparse.sizes[v->file] & ~mask;
        break;
    case 2:
    case 3:
        at = (uint64_t)choose(v, 16) << v->cluster_bits;
        break;
    case 4:
        at = v->l1_off;
        break;
    default:
        at = s->n_pieces > 0 ? s->pieces[choose(v, s->n_pieces)].offset : 0;
        if (choose(v, 4) != 0) {
            at &= ~mask;
        }
    }
    return at;
}

/* A word for an L2 table. */
static uint64_t l2_entry(const struct view *v)
{
    uint64_t offset_bits = 70 - v->cluster_bits;

    switch (choose(v, 9)) {
    case 0:
        return 0;
    case 1:
        return Q2_ENTRY_ZERO;
    case 2:
        return place(v) | Q2_ENTRY_COPIED | Q2_ENTRY_ZERO;
    case 3:
    case 4:
        return place(v) | Q2_ENTRY_COPIED;
    case 5:
        return place(v);
    case 6:
    case 7:
        return Q2_ENTRY_COMPRESSED | (uint64_t)choose(v, 8) << offset_bits |
               (place(v) & ((UINT64_C(1) << offset_bits) - 1));
    default:
        return edge(v, 8) | place(v);
    }
}

static uint64_t l2_table(const struct view *v)
{
    uint64_t n = v->l1_entries < 8 ? v->l1_entries : 8;

    return get(v, v->l1_off + 8 * (uint64_t)choose(v, (uint32_t)n), 8) & Q2_OFFSET_MASK;
}

static uint32_t mask_of_subclusters(const struct view *v)
{
    static const uint32_t masks[] = { 0, UINT32_MAX, 1, 0x80000000, 0xffff, 0x55555555 };

    return choose(v, 3) == 0 ? v->draft->noise : masks[choose(v, 6)];
}

static void change_l2(const struct view *v)
{
    unsigned entry_bytes = v->extended ? 16 : 8;
    uint64_t at = l2_table(v) + (uint64_t)choose(v, 12) * entry_bytes;

    switch (choose(v, 6)) {
    case 0:
        /* The entry before it, once more, or as if the run went on. */
        put(v, at + entry_bytes, 8,
            get(v, at, 8) + (choose(v, 2) == 0 ? UINT64_C(1) << v->cluster_bits : 0));
        break;
    case 1:
        put(v, at, 8, get(v, at, 8) ^ UINT64_C(1) << choose(v, 64));
        break;
    default:
        put(v, at, 8, l2_entry(v));
    }
    if (v->extended) {
        put(v, at + 8, 4, mask_of_subclusters(v));
        put(v, at + 12, 4, mask_of_subclusters(v));
    }
}

static void change_l1(const struct view *v)
{
    uint64_t at = v->l1_off + 8 * (uint64_t)choose(v, 8);

    put(v, at, 8, choose(v, 4) == 0 ? l2_entry(v) : place(v) | Q2_ENTRY_COPIED);
}

static void change_header(const struct view *v)
{
    switch (choose(v, 18)) {
    case 0:
        put(v, Q2_H_VERSION, 4, 1 + choose(v, 3));
        break;
    case 1:
        put(v, Q2_H_CLUSTER_BITS, 4, 9 + choose(v, 13));
        break;
    case 2:
        put(v, Q2_H_SIZE, 8, choose(v, 2) == 0 ? edge(v, 8) : (uint64_t)choose(v, 1 << 16) * 512);
        break;
    case 3:
        put(v, Q2_H_CRYPT_METHOD, 4, choose(v, 4));
        break;
    case 4:
        put(v, Q2_H_L1_SIZE, 4, choose(v, 2) == 0 ? edge(v, 4) : choose(v, 64));
        break;
    case 5:
        put(v, Q2_H_L1_OFFSET, 8, place(v));
        break;
    case 6:
        put(v, Q2_H_REFCOUNT_OFFSET, 8, place(v));
        break;
    case 7:
        put(v, Q2_H_REFCOUNT_CLUSTERS, 4, choose(v, 2) == 0 ? edge(v, 4) : choose(v, 4));
        break;
    case 8:
        put(v, Q2_H_SNAPSHOT_COUNT, 4, choose(v, 4) == 0 ? edge(v, 4) : choose(v, 6));
        break;
    case 9:
        put(v, Q2_H_SNAPSHOTS_OFFSET, 8, place(v));
        break;
    case 10:
    case 11:
        put(v, Q2_H_INCOMPATIBLE, 8,
            get(v, Q2_H_INCOMPATIBLE, 8) ^
                UINT64_C(1) << (choose(v, 8) == 0 ? choose(v, 64) : choose(v, 5)));
        break;
    case 12:
        put(v, Q2_H_AUTOCLEAR, 8, choose(v, 4));
        break;
    case 13:
        put(v, Q2_H_REFCOUNT_ORDER, 4, choose(v, 8));
        break;
    case 14:
        put(v, Q2_H_HEADER_LENGTH, 4, choose(v, 3) == 0 ? edge(v, 4) : 72 + 8 * choose(v, 8));
        break;
    case 15:
        /* With its feature bit, or nothing opens. */
        put(v, Q2_H_COMPRESSION_TYPE, 1, choose(v, 2));
        put(v, Q2_H_INCOMPATIBLE, 8,
            (get(v, Q2_H_INCOMPATIBLE, 8) & ~UINT64_C(8)) | get(v, Q2_H_COMPRESSION_TYPE, 1) << 3);
        break;
    case 16:
        put(v, Q2_H_BACKING_OFFSET, 8, choose(v, 4) == 0 ? edge(v, 8) : 72 + choose(v, 440));
        break;
    default:
        put(v, Q2_H_BACKING_SIZE, 4, choose(v, 4) == 0 ? edge(v, 4) : choose(v, 16));
    }
}

/* An extension, chosen among the first few: its type, its length, or a new one in its place. */
static void change_extension(const struct view *v)
{
    static const uint32_t types[] = { Q2_EXT_END,     Q2_EXT_BACKING_FORMAT, Q2_EXT_FEATURE_NAMES,
                                      Q2_EXT_BITMAPS, Q2_EXT_ENCRYPTION,     Q2_EXT_DATA_FILE,
                                      0x12345678 };
    static const uint32_t lengths[] = { 0, 4, 48, 24, 16, 4, 8 };
    uint64_t at = get(v, Q2_H_VERSION, 4) < 3 ? Q2_HEADER_V2_BYTES : get(v, Q2_H_HEADER_LENGTH, 4);
    unsigned type = choose(v, 7);

    for (uint32_t n = choose(v, 4); n > 0; n--) {
        at += 8 + ((get(v, at + 4, 4) + 7) & ~UINT64_C(7));
    }
    switch (choose(v, 6)) {
    case 0:
        put(v, at, 4, types[type]);
        break;
    case 1:
        put(v, at + 4, 4, choose(v, 3) == 0 ? edge(v, 4) : choose(v, 64));
        break;
    case 2:
        put(v, at + 8 + (uint64_t)choose(v, 3) * 8, 8, choose(v, 2) == 0 ? edge(v, 8) : place(v));
        break;
    default:
        put(v, at, 4, types[type]);
        put(v, at + 4, 4, lengths[type]);
        if (types[type] == Q2_EXT_BITMAPS) {
            put(v, at + 8, 4, 1 + choose(v, 3));
            put(v, at + 12, 4, 0);
            put(v, at + 16, 8, 32 * (uint64_t)(1 + choose(v, 4)));
            put(v, at + 24, 8, place(v));
        } else if (types[type] == Q2_EXT_BACKING_FORMAT) {
            static const uint32_t names[] = { 0x72617700, 0x71636f77, 0x66696c65, 0x71636f78 };

            put(v, at + 8, 4, names[choose(v, 4)]);
        } else if (types[type] == Q2_EXT_DATA_FILE) {
            put(v, at + 8, 4, 0x64617461);
        } else if (types[type] == Q2_EXT_ENCRYPTION) {
            put(v, at + 8, 8, place(v));
            put(v, at + 16, 8, edge(v, 8));
        }
    }
}

static void change_snapshot(const struct view *v)
{
    uint64_t at = v->snapshots_off;

    for (uint32_t n = choose(v, 3); n > 0; n--) {
        at +=
            (40 + get(v, at + 36, 4) + get(v, at + 12, 2) + get(v, at + 14, 2) + 7) & ~UINT64_C(7);
    }
    switch (choose(v, 8)) {
    case 0:
        put(v, at, 8, place(v));
        break;
    case 1:
        put(v, at + 8, 4, choose(v, 2) == 0 ? edge(v, 4) : choose(v, 16));
        break;
    case 2:
        put(v, at + 12, 2, choose(v, 2) == 0 ? edge(v, 2) : choose(v, 8));
        break;
    case 3:
        put(v, at + 14, 2, choose(v, 2) == 0 ? edge(v, 2) : choose(v, 8));
        break;
    case 4:
        put(v, at + 32, 4, edge(v, 4));
        break;
    case 5:
        put(v, at + 36, 4, choose(v, 3) == 0 ? edge(v, 4) : 8 * choose(v, 5));
        break;
    case 6:
        put(v, at + 40, 8, edge(v, 8));
        break;
    default:
        put(v, at + 48, 8, choose(v, 2) == 0 ? edge(v, 8) : (uint64_t)choose(v, 64) * 512);
    }
}

/* The bitmaps extension is found by its type, the directory by what it says. */
static void change_bitmap(const struct view *v)
{
    uint64_t at = get(v, Q2_H_HEADER_LENGTH, 4), directory, table;

    for (int i = 0; i < 8 && get(v, at, 4) != Q2_EXT_BITMAPS; i++) {
        at += 8 + ((get(v, at + 4, 4) + 7) & ~UINT64_C(7));
    }
    directory = get(v, at + 24, 8);
    for (uint32_t n = choose(v, 3); n > 0; n--) {
        directory += (24 + get(v, directory + 18, 2) + 7) & ~UINT64_C(7);
    }
    table = get(v, directory, 8);
    switch (choose(v, 9)) {
    case 0:
        put(v, directory, 8, place(v));
        break;
    case 1:
        put(v, directory + 8, 4, choose(v, 2) == 0 ? edge(v, 4) : choose(v, 8));
        break;
    case 2:
        put(v, directory + 12, 4, choose(v, 8));
        break;
    case 3:
        put(v, directory + 16, 2, 0x100 + choose(v, 40));
        break;
    case 4:
        put(v, directory + 18, 2, choose(v, 2) == 0 ? edge(v, 2) : choose(v, 16));
        break;
    case 5:
        put(v, at + 8, 4, choose(v, 4));
        break;
    case 6:
        put(v, at + 16, 8, choose(v, 2) == 0 ? edge(v, 8) : 8 * (uint64_t)choose(v, 16));
        break;
    default:
        put(v, table + (uint64_t)choose(v, 4) * 8, 8, choose(v, 2) == 0 ? choose(v, 2) : place(v));
    }
}

static void change_refcount(const struct view *v)
{
    uint64_t block = get(v, v->refcounts_off, 8);

    if (choose(v, 3) == 0) {
        put(v, v->refcounts_off + (uint64_t)choose(v, 4) * 8, 8, place(v));
    } else {
        put(v, block + choose(v, 64), 1, choose(v, 4) == 0 ? choose(v, 256) : choose(v, 3));
    }
}

void fuzz_change_field(struct fuzz_draft *draft, unsigned file)
{
    static void (*const changes[])(const struct view *) = {
        change_header, change_l2,       change_l2,       change_l2,       change_l1,
        change_bitmap, change_refcount, change_snapshot, change_extension
    };
    struct view v = look(draft, file);

    changes[choose(&v, sizeof changes / sizeof(changes[0]))](&v);
}

void fuzz_make_plausible(struct fuzz_draft *draft, unsigned file)
{
    struct view v;
    uint64_t size, span;

    if (fuzz_one_in(draft, 16)) {
        return;
    }
    fuzz_put(draft, file, Q2_H_MAGIC, 4, Q2_MAGIC);
    if (fuzz_get(draft, file, Q2_H_VERSION, 4) - 1 > 2) {
        fuzz_put(draft, file, Q2_H_VERSION, 4, 2 + fuzz_choose(draft, 2));
    }
    if (fuzz_get(draft, file, Q2_H_VERSION, 4) < 2) {
        return; /* of another layout */
    }
    v = look(draft, file);
    if (get(&v, Q2_H_CLUSTER_BITS, 4) != v.cluster_bits) {
        put(&v, Q2_H_CLUSTER_BITS, 4, 9 + choose(&v, 8));
    }
    span = UINT64_C(1) << (2 * v.cluster_bits - (v.extended ? 4 : 3));
    size = get(&v, Q2_H_SIZE, 8);
    if (v.l1_entries != 0 && v.l1_entries < 1 << 22 && size > v.l1_entries * span) {
        put(&v, Q2_H_SIZE, 8, v.l1_entries * span - (uint64_t)choose(&v, 3) * 512);
    }
    if (v.cluster_bits < 14 && v.extended) {
        put(&v, Q2_H_INCOMPATIBLE, 8, get(&v, Q2_H_INCOMPATIBLE, 8) & ~UINT64_C(16));
    }
}
