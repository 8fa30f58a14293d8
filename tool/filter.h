/* SPDX-License-Identifier: MIT */
/* filter.h - a filter of system calls, put together from rules and given to the kernel. */
#ifndef TOOL_FILTER_H
#define TOOL_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FILTER_TESTS_MAX = 5, FILTER_RULES_MAX = 160 };

/* A test of one argument. */
struct filter_test {
    unsigned arg;
    bool at_least; /* the argument is `value` or more; else its bits in `mask` are `value` */
    uint64_t mask;
    uint64_t value;
};

struct filter_rule {
    uint32_t number;  /* of the system call */
    uint32_t verdict; /* SECCOMP_RET_*, if all tests hold */
    unsigned test_count;
    struct filter_test tests[FILTER_TESTS_MAX];
};

struct filter {
    uint32_t otherwise; /* the verdict on calls that no rule decides */
    size_t count;
    struct filter_rule rules[FILTER_RULES_MAX];
};

void filter_begin(struct filter *filter, uint32_t otherwise);

/* Adds a rule, to which tests may then be added. Of the rules for one call, the first whose tests hold
 * decides. There must be room: both counts are known to the programmer. */
struct filter_rule *filter_add(struct filter *filter, long number, uint32_t verdict);
void filter_bits(struct filter_rule *rule, unsigned arg, uint64_t mask, uint64_t value);
void filter_at_least(struct filter_rule *rule, unsigned arg, uint64_t value);

/* Puts it in force, for this thread and those it starts. Needs no_new_privs. False: the kernel did not
 * take it. */
bool filter_load(const struct filter *filter);

#endif
