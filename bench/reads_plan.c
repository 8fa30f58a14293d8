/* SPDX-License-Identifier: MIT */
/* reads_plan.c - which blocks a timed run reads, and in which order.
 *
 * The order is drawn up before the clock starts: finding the range of a block
 * takes a search, which would weigh on a fast reader more than on a slow one.
 * Knows no reader. */
#include "reads_plan.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than a reader manages in a short run unless it answers from a cache; then it goes round. */
enum { OFFSETS_PER_THREAD = 1 << 17 };

struct reads_range {
    uint64_t first_block; /* number of its first block among those of all ranges */
    uint64_t offset;      /* in the disk */
};

static uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static bool parse_number(const char *text, uint64_t *ret)
{
    char *end;

    errno = 0;
    *ret = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0';
}

const char *reads_plan_parse(struct reads_plan *plan_ret, int argc, char **argv)
{
    static const struct option options[] = {
        { "threads", required_argument, NULL, 't' }, { "block", required_argument, NULL, 'b' },
        { "ms", required_argument, NULL, 'm' },      { "start", required_argument, NULL, 'o' },
        { "span", required_argument, NULL, 'l' },    { "seed", required_argument, NULL, 'r' },
        { "ranges", required_argument, NULL, 'R' },  { "sequential", no_argument, NULL, 's' },
        { "once", no_argument, NULL, '1' },          { "warm", no_argument, NULL, 'w' },
        { "settle", no_argument, NULL, 'S' },        { NULL, 0, NULL, 0 },
    };
    uint64_t threads = 1, block = 4096, ms = 300, number = 0;
    bool good = true;
    int option;

    *plan_ret = (struct reads_plan){ .seed = 1 };
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (strchr("tbmolr", option) != NULL)
            good &= parse_number(optarg, &number);
        switch (option) {
        case 't':
            threads = number;
            break;
        case 'b':
            block = number;
            break;
        case 'm':
            ms = number;
            break;
        case 'o':
            plan_ret->start = number;
            break;
        case 'l':
            plan_ret->span = number;
            break;
        case 'r':
            plan_ret->seed = number;
            break;
        case 'R':
            plan_ret->ranges_path = optarg;
            break;
        case 's':
            plan_ret->sequential = true;
            break;
        case '1':
            plan_ret->once = plan_ret->sequential = true;
            break;
        case 'w':
            plan_ret->warm = true;
            break;
        case 'S':
            plan_ret->settle = true;
            break;
        default:
            good = false;
        }
    }
    good &= optind == argc - 1 && threads >= 1 && threads <= 1024 && block >= 512 &&
            block <= (1 << 26) && block % 512 == 0 && ms <= 60000;
    if (!good) {
        fprintf(stderr,
                "usage: %s [--threads N] [--ms N] [--block BYTES] [--ranges FILE] [--start BYTES]\n"
                "          [--span BYTES] [--seed N] [--warm] [--settle] [--sequential | --once]\n"
                "          IMAGE\n",
                argv[0]);
        return NULL;
    }
    plan_ret->threads = (unsigned)threads;
    plan_ret->block_bytes = (size_t)block;
    plan_ret->seconds = (double)ms / 1000;
    return argv[optind];
}

/* Appends the whole blocks of [offset, offset + length). */
static int add_range(struct reads_plan *plan, uint64_t offset, uint64_t length, size_t *room)
{
    if (length < plan->block_bytes)
        return 0;
    if (plan->range_count == *room) {
        size_t more = *room == 0 ? 64 : *room * 2;
        struct reads_range *grown = realloc(plan->ranges, more * sizeof *grown);

        if (grown == NULL) {
            fprintf(stderr, "out of memory for %zu ranges\n", more);
            return -1;
        }
        plan->ranges = grown;
        *room = more;
    }
    plan->ranges[plan->range_count++] = (struct reads_range){ plan->blocks, offset };
    plan->blocks += length / plan->block_bytes;
    return 0;
}

/* Two numbers and nothing else. */
static bool parse_range(const char *line, uint64_t *offset_ret, uint64_t *length_ret)
{
    char *end;

    errno = 0;
    *offset_ret = strtoull(line, &end, 10);
    *length_ret = strtoull(end, &end, 10);
    return errno == 0 && *end == '\n';
}

static int load_ranges(struct reads_plan *plan, uint64_t disk_bytes)
{
    uint64_t offset, length;
    char line[64];
    size_t room = 0;
    FILE *file;
    int result = 0;

    if (plan->ranges_path == NULL)
        return add_range(plan, 0, disk_bytes, &room);
    file = fopen(plan->ranges_path, "r");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", plan->ranges_path, strerror(errno));
        return -1;
    }
    while (result == 0 && fgets(line, sizeof line, file) != NULL) {
        if (!parse_range(line, &offset, &length) || offset > disk_bytes ||
            length > disk_bytes - offset) {
            fprintf(stderr, "%s: not a range of the disk: %s", plan->ranges_path, line);
            result = -1;
        } else {
            result = add_range(plan, offset, length, &room);
        }
    }
    fclose(file);
    return result;
}

/* First block of a thread's share of the area. */
static uint64_t share_start(const struct reads_plan *plan, unsigned thread)
{
    return plan->blocks / plan->threads * thread;
}

int reads_plan_prepare(struct reads_plan *plan, uint64_t disk_bytes)
{
    uint64_t skipped = plan->start / plan->block_bytes;
    uint64_t wanted = plan->span / plan->block_bytes;
    uint64_t state = plan->seed;

    if (load_ranges(plan, disk_bytes) < 0)
        return -1;
    if (plan->blocks <= skipped) {
        fprintf(stderr, "no block to read in the area\n");
        return -1;
    }
    plan->blocks -= skipped;
    if (wanted > 0 && wanted < plan->blocks)
        plan->blocks = wanted;
    if (plan->once)
        return 0;
    plan->offsets = malloc((size_t)plan->threads * OFFSETS_PER_THREAD * sizeof *plan->offsets);
    if (plan->offsets == NULL) {
        fprintf(stderr, "out of memory for the order of reads\n");
        return -1;
    }
    for (unsigned thread = 0; thread < plan->threads; thread++)
        for (uint64_t i = 0; i < OFFSETS_PER_THREAD; i++) {
            uint64_t index = plan->sequential ? share_start(plan, thread) + i : random_next(&state);

            plan->offsets[(size_t)thread * OFFSETS_PER_THREAD + i] =
                reads_plan_block(plan, index % plan->blocks);
        }
    return 0;
}

uint64_t reads_plan_block(const struct reads_plan *plan, uint64_t index)
{
    uint64_t block = index + plan->start / plan->block_bytes;
    size_t low = 0, high = plan->range_count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (plan->ranges[middle].first_block <= block)
            low = middle;
        else
            high = middle;
    }
    return plan->ranges[low].offset + (block - plan->ranges[low].first_block) * plan->block_bytes;
}

uint64_t reads_plan_offset(const struct reads_plan *plan, unsigned thread, uint64_t step)
{
    if (plan->once)
        return reads_plan_block(plan, share_start(plan, thread) + step);
    return plan->offsets[(size_t)thread * OFFSETS_PER_THREAD + step % OFFSETS_PER_THREAD];
}

uint64_t reads_plan_distinct(const struct reads_plan *plan)
{
    return plan->once ? 0 : OFFSETS_PER_THREAD;
}

uint64_t reads_plan_count(const struct reads_plan *plan, unsigned thread)
{
    if (!plan->once)
        return UINT64_MAX;
    if (thread + 1 == plan->threads)
        return plan->blocks - share_start(plan, thread);
    return share_start(plan, thread + 1) - share_start(plan, thread);
}

void reads_plan_free(struct reads_plan *plan)
{
    free(plan->ranges);
    free(plan->offsets);
}
