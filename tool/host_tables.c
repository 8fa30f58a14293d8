/* SPDX-License-Identifier: MIT */
/* host_tables.c - the L2 tables that have been looked at, by their place in the file.
 * Knows offsets; must not know what a match means. */
#include "host_tables.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 256 };

/* The slot of an offset, or the empty one where it belongs. At least half of the slots are empty. */
static struct host_table *find_slot(const struct host_tables *tables, uint64_t host_off)
{
    uint64_t hash = (host_off >> 9) * UINT64_C(0x9e3779b97f4a7c15);
    size_t mask = tables->capacity - 1;
    size_t i = (size_t)(hash >> 32) & mask;

    while (tables->slots[i].host_off != 0 && tables->slots[i].host_off != host_off) {
        i = (i + 1) & mask;
    }
    return &tables->slots[i];
}

static bool grow(struct host_tables *tables)
{
    struct host_tables larger = { .n = tables->n };

    larger.capacity = tables->capacity != 0 ? tables->capacity * 2 : FIRST_CAPACITY;
    larger.slots = calloc(larger.capacity, sizeof *larger.slots);
    if (larger.slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < tables->capacity; i++) {
        if (tables->slots[i].host_off != 0) {
            *find_slot(&larger, tables->slots[i].host_off) = tables->slots[i];
        }
    }
    free(tables->slots);
    *tables = larger;
    return true;
}

struct host_table *host_tables_get(struct host_tables *tables, uint64_t host_off)
{
    struct host_table *slot;

    if (tables->n * 2 >= tables->capacity && !grow(tables)) {
        return NULL;
    }
    slot = find_slot(tables, host_off);
    if (slot->host_off == 0) {
        slot->host_off = host_off;
        tables->n++;
    }
    return slot;
}

bool host_table_add(struct host_table *table, const struct qcow2_extent *extent)
{
    struct host_match *match = malloc(sizeof *match);
    struct host_match **end = &table->matches;

    if (match == NULL) {
        return false;
    }
    match->next = NULL;
    match->extent = *extent;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = match;
    table->n_matches++;
    return true;
}

void host_tables_free(struct host_tables *tables)
{
    for (size_t i = 0; i < tables->capacity; i++) {
        while (tables->slots[i].matches != NULL) {
            struct host_match *match = tables->slots[i].matches;

            tables->slots[i].matches = match->next;
            free(match);
        }
    }
    free(tables->slots);
}
