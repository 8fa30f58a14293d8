/* SPDX-License-Identifier: MIT */
/* tables.c - entries of the snapshot table, the bitmap directory and tables, the refcount table and
 * blocks: any bytes, cut short anywhere. */
#include "any.h"
#include "format/bitmap.h"
#include "format/refcount.h"
#include "format/snapshot.h"

static uint8_t bytes[4096];

static void snapshot(void)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_snapshot_entry entry;
    size_t n = any_size(sizeof bytes);
    int r;

    any_bytes(bytes, sizeof bytes);
    r = q2_snapshot_decode(bytes, n, any_u64(), &entry, any_bool() ? &err : NULL);
    if (r >= 0) {
        /*@ assert 40 <= entry.entry_bytes <= 40 + 1024 + 2 * 65535; */
        (void)q2_snapshot_next_off(any_u64() >> 1, entry.entry_bytes);
    }
    if (r == 0) {
        /*@ assert entry.id_off <= 40 + 1024; */
        /*@ assert entry.name_off <= 40 + 1024 + 65535; */
        (void)entry;
    }
}

static void bitmap(unsigned cluster_bits)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_bitmap_entry entry;
    uint64_t host_off;
    size_t n = any_size(sizeof bytes);
    int r;

    any_bytes(bytes, sizeof bytes);
    r = q2_bitmap_entry_decode(bytes, n, any_u64(), cluster_bits, any_u64() >> 1, &entry,
                               any_bool() ? &err : NULL);
    if (r >= 0) {
        /*@ assert 24 <= entry.entry_bytes <= 1048; */
        (void)entry;
    }
    if (r == 0) {
        /*@ assert 9 <= entry.granularity_bits <= 31; */
        /*@ assert 1 <= entry.table_entries <= 134217728; */
        /*@ assert 24 <= entry.name_off && entry.name_bytes <= 1023; */
        (void)q2_bitmap_table_entries(any_u64() >> 1, entry.granularity_bits, cluster_bits);
    }
    (void)q2_bitmap_table_decode(any_u64(), cluster_bits, &host_off);
}

static void refcounts(unsigned order)
{
    uint64_t count;

    any_bytes(bytes, sizeof bytes);
    /* Every value of a word, and any of a block. */
    for (unsigned index = 0; index <= 63U >> order; index++) {
        count = q2_refcount_from_word(any_u64(), order, index);
        /*@ assert order != 0 || count <= 1; */
        (void)count;
    }
    (void)q2_refcount_from_block(bytes, order, any_size((sizeof bytes * 8 >> order) - 1));
    (void)q2_refcount_block_bits(any_unsigned(9, 21), order);
}

int main(void)
{
    snapshot();
    for (unsigned bits = 9; bits <= 21; bits++) {
        bitmap(bits);
        (void)q2_refcount_entry_decode(any_u64(), bits);
    }
    for (unsigned order = 0; order <= 6; order++) {
        refcounts(order);
    }
    return 0;
}
