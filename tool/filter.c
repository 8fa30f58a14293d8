/* SPDX-License-Identifier: MIT */
/* filter.c - a filter of system calls in the making, by libseccomp.
 * Knows libseccomp; must not know which calls this program needs (syscalls.c). */
#include "filter.h"

#ifdef SANDBOX_SECCOMP
#include <errno.h>

struct scmp_arg_cmp filter_bits(unsigned arg, uint64_t mask, uint64_t value)
{
    return (struct scmp_arg_cmp){ arg, SCMP_CMP_MASKED_EQ, mask, value & mask };
}

struct scmp_arg_cmp filter_number(unsigned arg, int value)
{
    return filter_bits(arg, UINT32_MAX, (uint32_t)value);
}

struct scmp_arg_cmp filter_address(unsigned arg, const void *value)
{
    return (struct scmp_arg_cmp){ arg, SCMP_CMP_EQ, (uintptr_t)value, 0 };
}

struct scmp_arg_cmp filter_at_least(unsigned arg, uint64_t value)
{
    return (struct scmp_arg_cmp){ arg, SCMP_CMP_GE, value, 0 };
}

static void note(struct filter *filter, int r)
{
    if (filter->failure == 0) {
        filter->failure = r;
    }
}

void filter_begin(struct filter *filter, uint32_t otherwise)
{
    filter->failure = 0;
    filter->context = seccomp_init(otherwise);
    if (filter->context == NULL) {
        filter->failure = -ENOMEM;
        return;
    }
    /* Calls of another machine that this one can stand in for, such as 32 bits. */
    note(filter, seccomp_attr_set(filter->context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRAP));
    /* "No new privileges" has been set, and is not a call that the first filter allows. */
    note(filter, seccomp_attr_set(filter->context, SCMP_FLTATR_CTL_NNP, 0));
    /* A tree of numbers, not a list: shorter to make and to ask. */
    note(filter, seccomp_attr_set(filter->context, SCMP_FLTATR_CTL_OPTIMIZE, 2));
    /* Else old kernels slow the whole process down, to keep its own secrets from it; those that are
     * older still cannot be told. */
    (void)seccomp_attr_set(filter->context, SCMP_FLTATR_CTL_SSB, 1);
}

void filter_decide(struct filter *filter, uint32_t action, int call, unsigned count,
                   const struct scmp_arg_cmp *tests)
{
    if (filter->failure == 0) {
        note(filter, seccomp_rule_add_array(filter->context, action, call, count, tests));
    }
}

void filter_decide_all(struct filter *filter, uint32_t action, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        filter_decide(filter, action, calls[i], 0, NULL);
    }
}

bool filter_load(struct filter *filter)
{
    if (filter->failure == 0) {
        note(filter, seccomp_load(filter->context));
    }
    if (filter->context != NULL) {
        seccomp_release(filter->context);
    }
    return filter->failure == 0;
}

#endif
