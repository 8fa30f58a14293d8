/* SPDX-License-Identifier: MIT */
/* filter.c - a filter of system calls, put together from rules and given to the kernel.
 * Knows the instructions that seccomp takes (classic BPF); must not know what is allowed, or why.
 *
 * libseccomp would do this too, in ten times the time: a third of what 'qcow2 info' takes as a whole
 * would go into its filter. Here the numbers of the calls are a tree to descend, so that the filter is
 * short, and quick also on kernels that do not remember its answers. */
#include "filter.h"

#if defined(__linux__) && __has_include(<linux/seccomp.h>) && __has_include(<linux/filter.h>)
#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The calling convention this was compiled for: numbers of calls mean something only with it. */
#if defined(__x86_64__) && !defined(__ILP32__)
#define ARCHITECTURE  AUDIT_ARCH_X86_64
#define FIRST_FOREIGN 0x40000000U /* x32 shares its name with x86-64, and not its numbers */
#elif defined(__i386__)
#define ARCHITECTURE AUDIT_ARCH_I386
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#endif
#endif

#if defined(ARCHITECTURE) && defined(SYS_seccomp)

/* 2 for each border between verdicts, and about 30 for each rule with tests. */
enum { PROGRAM_MAX = 2048 };

struct program {
    unsigned count;
    bool full;
    struct sock_filter code[PROGRAM_MAX];
};

/* Calls from `first` on, up to the next span, are decided by `rules`; none: by the general verdict. */
struct span {
    uint32_t first;
    const struct filter_rule *const *rules;
    size_t rule_count;
};

void filter_begin(struct filter *filter, uint32_t otherwise)
{
    filter->otherwise = otherwise;
    filter->count = 0;
}

struct filter_rule *filter_add(struct filter *filter, long number, uint32_t verdict)
{
    struct filter_rule *rule = &filter->rules[filter->count];

    assert(filter->count < FILTER_RULES_MAX);
    filter->count++;
    rule->number = (uint32_t)number;
    rule->verdict = verdict;
    rule->test_count = 0;
    return rule;
}

static void add_test(struct filter_rule *rule, struct filter_test test)
{
    assert(rule->test_count < FILTER_TESTS_MAX);
    rule->tests[rule->test_count++] = test;
}

void filter_bits(struct filter_rule *rule, unsigned arg, uint64_t mask, uint64_t value)
{
    add_test(rule, (struct filter_test){ .arg = arg, .mask = mask, .value = value & mask });
}

void filter_at_least(struct filter_rule *rule, unsigned arg, uint64_t value)
{
    add_test(rule, (struct filter_test){ .arg = arg, .at_least = true, .value = value });
}

static unsigned emit(struct program *program, unsigned code, uint32_t value, unsigned if_true,
                     unsigned if_false)
{
    if (program->count == PROGRAM_MAX || if_true > UINT8_MAX || if_false > UINT8_MAX) {
        program->full = true;
        return 0;
    }
    program->code[program->count] =
        (struct sock_filter){ (uint16_t)code, (uint8_t)if_true, (uint8_t)if_false, value };
    return program->count++;
}

static void emit_load(struct program *program, size_t offset)
{
    emit(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void emit_verdict(struct program *program, uint32_t verdict)
{
    emit(program, BPF_RET | BPF_K, verdict, 0, 0);
}

/* Loads one half of an argument; the filter's machine has words of 32 bits. */
static void emit_load_half(struct program *program, unsigned arg, bool high)
{
    const bool high_first = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;

    emit_load(program, offsetof(struct seccomp_data, args) + arg * sizeof(uint64_t) +
                           (high == high_first ? 0 : sizeof(uint32_t)));
}

/* Places whose jumps "if false" lead to the next rule, wherever that will be. */
struct exits {
    unsigned count;
    unsigned places[4 * FILTER_TESTS_MAX];
};

static void emit_test_half(struct program *program, const struct filter_test *test, bool high,
                           struct exits *exits)
{
    uint32_t mask = (uint32_t)(high ? test->mask >> 32 : test->mask);
    uint32_t value = (uint32_t)(high ? test->value >> 32 : test->value);

    if (mask == 0) {
        return;
    }
    emit_load_half(program, test->arg, high);
    if (mask != UINT32_MAX) {
        emit(program, BPF_ALU | BPF_AND | BPF_K, mask, 0, 0);
    }
    exits->places[exits->count++] = emit(program, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 0);
}

static void emit_at_least(struct program *program, const struct filter_test *test,
                          struct exits *exits)
{
    uint32_t high = (uint32_t)(test->value >> 32);

    emit_load_half(program, test->arg, true);
    /* More: three on. Less: out. */
    emit(program, BPF_JMP | BPF_JGT | BPF_K, high, 3, 0);
    exits->places[exits->count++] = emit(program, BPF_JMP | BPF_JEQ | BPF_K, high, 0, 0);
    emit_load_half(program, test->arg, false);
    exits->places[exits->count++] =
        emit(program, BPF_JMP | BPF_JGE | BPF_K, (uint32_t)test->value, 0, 0);
}

/* Afterwards the program has returned, if the tests hold. */
static void emit_rule(struct program *program, const struct filter_rule *rule)
{
    struct exits exits = { 0 };

    for (unsigned i = 0; i < rule->test_count; i++) {
        if (rule->tests[i].at_least) {
            emit_at_least(program, &rule->tests[i], &exits);
        } else {
            emit_test_half(program, &rule->tests[i], true, &exits);
            emit_test_half(program, &rule->tests[i], false, &exits);
        }
    }
    emit_verdict(program, rule->verdict);
    for (unsigned i = 0; i < exits.count && !program->full; i++) {
        /* So short that it cannot overflow: a rule has at most 30 instructions. */
        program->code[exits.places[i]].jf = (uint8_t)(program->count - exits.places[i] - 1);
    }
}

/* The number of the call is loaded, and lies in one of these spans. */
static void emit_tree(struct program *program, const struct span *spans, size_t count,
                      uint32_t otherwise)
{
    size_t middle = count / 2;
    unsigned jump;

    if (count == 1) {
        for (size_t i = 0; i < spans->rule_count; i++) {
            emit_rule(program, spans->rules[i]);
            if (spans->rules[i]->test_count == 0) {
                return;
            }
        }
        emit_verdict(program, otherwise);
        return;
    }
    emit(program, BPF_JMP | BPF_JGE | BPF_K, spans[middle].first, 0, 1);
    jump = emit(program, BPF_JMP | BPF_JA, 0, 0, 0);
    emit_tree(program, spans, middle, otherwise);
    program->code[jump].k = program->count - jump - 1;
    emit_tree(program, spans + middle, count - middle, otherwise);
}

/* By number; rules for the same call stay in their order, which is that of their addresses. */
static int compare_rules(const void *a, const void *b)
{
    const struct filter_rule *first = *(const struct filter_rule *const *)a;
    const struct filter_rule *second = *(const struct filter_rule *const *)b;

    if (first->number != second->number) {
        return first->number < second->number ? -1 : 1;
    }
    return first < second ? -1 : first > second;
}

static bool plain(const struct span *span, uint32_t verdict)
{
    return span->rule_count > 0 && span->rules[0]->test_count == 0 &&
           span->rules[0]->verdict == verdict;
}

/* Neighbours with one answer are one span. */
static size_t find_spans(const struct filter_rule *const *sorted, size_t count, struct span *spans)
{
    size_t used = 1;
    uint32_t next = 0; /* calls below are in spans */

    spans[0] = (struct span){ 0, NULL, 0 };
    for (size_t i = 0; i < count;) {
        size_t same = 1;

        while (i + same < count && sorted[i + same]->number == sorted[i]->number) {
            same++;
        }
        if (sorted[i]->number != next && spans[used - 1].rule_count > 0) {
            spans[used++] = (struct span){ next, NULL, 0 };
        }
        if (sorted[i]->test_count > 0 || !plain(&spans[used - 1], sorted[i]->verdict)) {
            spans[used++] = (struct span){ sorted[i]->number, sorted + i, same };
        }
        next = sorted[i]->number + 1;
        i += same;
    }
    spans[used++] = (struct span){ next, NULL, 0 };
    return used;
}

static bool load(const struct program *program)
{
    const struct sock_fprog code = { (unsigned short)program->count,
                                     (struct sock_filter *)program->code };
    unsigned flags = 0;

#ifdef SECCOMP_FILTER_FLAG_SPEC_ALLOW
    /* Else old kernels slow the whole process down, to keep its own secrets from it. */
    flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;
#endif
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &code) == 0 ||
           (errno == EINVAL && flags != 0 &&
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &code) == 0);
}

bool filter_load(const struct filter *filter)
{
    const struct filter_rule *sorted[FILTER_RULES_MAX];
    struct span spans[2 * FILTER_RULES_MAX + 2];
    struct program program;

    for (size_t i = 0; i < filter->count; i++) {
        sorted[i] = &filter->rules[i];
    }
    qsort(sorted, filter->count, sizeof sorted[0], compare_rules);
    program.count = 0;
    program.full = false;
    emit_load(&program, offsetof(struct seccomp_data, arch));
    emit(&program, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    emit_verdict(&program, SECCOMP_RET_TRAP);
    emit_load(&program, offsetof(struct seccomp_data, nr));
#ifdef FIRST_FOREIGN
    emit(&program, BPF_JMP | BPF_JGE | BPF_K, FIRST_FOREIGN, 0, 1);
    emit_verdict(&program, SECCOMP_RET_TRAP);
#endif
    emit_tree(&program, spans, find_spans(sorted, filter->count, spans), filter->otherwise);
    return !program.full && load(&program);
}

#else /* no seccomp, or a machine whose calls are not known here */

void filter_begin(struct filter *filter, uint32_t otherwise)
{
    filter->otherwise = otherwise;
    filter->count = 0;
}

struct filter_rule *filter_add(struct filter *filter, long number, uint32_t verdict)
{
    filter->rules[0].number = (uint32_t)number;
    filter->rules[0].verdict = verdict;
    return &filter->rules[0];
}

void filter_bits(struct filter_rule *rule, unsigned arg, uint64_t mask, uint64_t value)
{
    rule->tests[0] = (struct filter_test){ .arg = arg, .mask = mask, .value = value };
}

void filter_at_least(struct filter_rule *rule, unsigned arg, uint64_t value)
{
    rule->tests[0] = (struct filter_test){ .arg = arg, .at_least = true, .value = value };
}

bool filter_load(const struct filter *filter)
{
    (void)filter;
    return false;
}

#endif
