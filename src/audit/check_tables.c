/* SPDX-License-Identifier: MIT */
/* check_tables.c - the set of L2 tables that L1 entries have named, each with how
 * often. Knows offsets and numbers, nothing of tables. */
#include "audit/check.h"

#include <stdlib.h>

#include "base/error.h"

enum { FIRST_CAPACITY = 1024 };

/* The place of an offset, or the empty one where it belongs. There always is one. */
static struct q2_check_table *find_place(const struct q2_check_tables *tables, uint64_t host_off)
{
    /* Offsets are multiples of 512, and mostly of much more. */
    uint64_t hash = (host_off >> 9) * UINT64_C(0x9e3779b97f4a7c15);
    size_t mask = tables->capacity - 1;
    size_t i = (size_t)(hash >> 32) & mask;

    while (tables->places[i].times != 0 && tables->places[i].host_off != host_off) {
        i = (i + 1) & mask;
    }
    return &tables->places[i];
}

static int grow(struct q2_check *check)
{
    struct q2_check_tables *tables = &check->tables, larger = { .n = tables->n };
    int r;

    larger.capacity = tables->capacity != 0 ? tables->capacity * 2 : FIRST_CAPACITY;
    if ((r = q2_check_memory(check, (larger.capacity - tables->capacity) * sizeof *larger.places)) <
        0) {
        return r;
    }
    larger.places = calloc(larger.capacity, sizeof *larger.places);
    if (larger.places == NULL) {
        return q2_error_nomem(check->err);
    }
    for (size_t i = 0; i < tables->capacity; i++) {
        if (tables->places[i].times != 0) {
            *find_place(&larger, tables->places[i].host_off) = tables->places[i];
        }
    }
    free(tables->places);
    *tables = larger;
    return 0;
}

int q2_check_tables_add(struct q2_check *check, uint64_t host_off, bool active, uint64_t times)
{
    struct q2_check_tables *tables = &check->tables;
    struct q2_check_table *place;
    int r;

    if (tables->n * 2 >= tables->capacity && (r = grow(check)) < 0) {
        return r;
    }
    place = find_place(tables, host_off);
    if (place->times == 0) {
        place->host_off = host_off;
        tables->n++;
    }
    place->times += times;
    place->times_active += active ? times : 0;
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct q2_check_table *left = a, *right = b;

    return (left->host_off > right->host_off) - (left->host_off < right->host_off);
}

void q2_check_tables_sort(struct q2_check_tables *tables)
{
    size_t n = 0;

    for (size_t i = 0; i < tables->capacity; i++) {
        if (tables->places[i].times != 0) {
            tables->places[n++] = tables->places[i];
        }
    }
    if (n > 1) {
        qsort(tables->places, n, sizeof *tables->places, by_offset);
    }
}
