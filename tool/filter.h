/* SPDX-License-Identifier: MIT */
/* filter.h - a filter of system calls in the making, by libseccomp. */
#ifndef TOOL_FILTER_H
#define TOOL_FILTER_H

#ifdef SANDBOX_SECCOMP
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Begin with filter_begin, decide on calls, end with filter_load. */
struct filter {
    scmp_filter_ctx context;
    int failure; /* of the first step that failed, or 0 */
};

/* Tests of one argument. A call may have several, each of another argument, and all must hold. */
struct scmp_arg_cmp filter_bits(unsigned arg, uint64_t mask, uint64_t value);
/* An int in a register: the upper half is no part of it. */
struct scmp_arg_cmp filter_number(unsigned arg, int value);
struct scmp_arg_cmp filter_address(unsigned arg, const void *value);
struct scmp_arg_cmp filter_at_least(unsigned arg, uint64_t value);

/* `otherwise` happens to calls that nothing decides on. */
void filter_begin(struct filter *filter, uint32_t otherwise);

/* Calls that this machine does not have are passed over. */
void filter_decide(struct filter *filter, uint32_t action, int call, unsigned count,
                   const struct scmp_arg_cmp *tests);
void filter_decide_all(struct filter *filter, uint32_t action, const int *calls, size_t count);

#define FILTER_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Does `action` to a call whose arguments pass. */
#define FILTER_IF(filter, action, call, ...)                                                       \
    filter_decide(filter, action, call,                                                            \
                  FILTER_COUNT_OF(((const struct scmp_arg_cmp[]){ __VA_ARGS__ })),                 \
                  (const struct scmp_arg_cmp[]){ __VA_ARGS__ })
#define ALLOW_IF(filter, call, ...) FILTER_IF(filter, SCMP_ACT_ALLOW, call, __VA_ARGS__)

/* Puts it in force for this thread and those it starts, and frees it. False: it is not in force. */
bool filter_load(struct filter *filter);

#endif
#endif
