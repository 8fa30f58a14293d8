/* SPDX-License-Identifier: MIT */
/* host_tables.h - the L2 tables that have been looked at, and what was found in each.
 *
 * Snapshots share most of their L2 tables, and a broken image can name one table from all L1 entries. Each
 * table is walked once. */
#ifndef TOOL_HOST_TABLES_H
#define TOOL_HOST_TABLES_H

#include <qcow2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A place of an L2 table whose cluster holds the byte. */
struct host_match {
    struct host_match *next;
    struct qcow2_extent extent; /* its offset is counted from the first byte that the table maps */
};

struct host_table {
    uint64_t host_off; /* 0: an empty slot */
    uint64_t walked;   /* bytes of disk that were looked at, of those it maps */
    bool broken;       /* not all of them could be */
    struct host_match *matches;
    size_t n_matches;
    uint64_t disk;    /* the last disk that named it */
    uint64_t entries; /* L1 entries of that disk that name it */
    bool reported;    /* as named by that disk */
};

/* Open addressing; capacity 0 or a power of two. */
struct host_tables {
    struct host_table *slots;
    size_t n, capacity;
};

/* The table at host_off (not 0), which is added if it is new. Valid until the next call. NULL: out of
 * memory. */
struct host_table *host_tables_get(struct host_tables *tables, uint64_t host_off);

/* Adds a match after those that the table has. False: out of memory. */
bool host_table_add(struct host_table *table, const struct qcow2_extent *extent);

void host_tables_free(struct host_tables *tables);

#endif
