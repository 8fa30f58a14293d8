/* SPDX-License-Identifier: MIT */
/* check.c - the check as callers see it: what is looked at in which order, what
 * becomes of findings, and how much memory and work they may cost. */
#include "audit/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/sized.h"

static void count(struct q2_check *check, int kind, uint64_t times)
{
    struct qcow2_check_result *result = &check->result;

    switch (kind) {
    case QCOW2_FINDING_CORRUPTION:
        result->corruptions += times;
        break;
    case QCOW2_FINDING_LEAK:
        result->leaks += times;
        break;
    default:
        result->check_errors += times;
        break;
    }
}

int q2_check_find(struct q2_check *check, int kind, uint64_t times, uint64_t host_off,
                  const char *fmt, ...)
{
    char message[256];
    va_list args;
    int r;

    count(check, kind, times);
    if (check->callback == NULL) {
        return 0;
    }
    /* An image of a megabyte can have a thousand million findings: text is made for those alone that are
     * shown. */
    if (check->messages_left > 0) {
        check->messages_left--;
        va_start(args, fmt);
        r = vsnprintf(message, sizeof message, fmt, args);
        va_end(args);
        if (r < 0) {
            message[0] = '\0';
        }
        r = check->callback(check->ctx, kind, host_off, message);
    } else {
        r = check->callback(check->ctx, kind, host_off, NULL);
    }
    return r == 0 ? 0 : q2_error_set(check->err, QCOW2_E_CANCELLED, "the check was stopped");
}

void q2_check_find_last(struct q2_check *check, int kind, uint64_t host_off, const char *message)
{
    struct qcow2_error *err = check->err;

    check->err = NULL;
    (void)q2_check_find(check, kind, 1, host_off, "%s", message);
    check->err = err;
}

int q2_check_memory(struct q2_check *check, uint64_t n_bytes)
{
    if (n_bytes > check->max_memory_bytes - check->memory_bytes) {
        return q2_error_set(check->err, QCOW2_E_LIMIT,
                            "the check needs more than the %llu bytes of memory that it may use",
                            (unsigned long long)check->max_memory_bytes);
    }
    check->memory_bytes += n_bytes;
    return 0;
}

int q2_check_work(struct q2_check *check, uint64_t n)
{
    if (n > check->max_entries - check->entries) {
        return q2_error_set(check->err, QCOW2_E_LIMIT,
                            "the tables of the image have more than the %llu entries that the "
                            "check may read",
                            (unsigned long long)check->max_entries);
    }
    check->entries += n;
    return 0;
}

static int check_references(struct q2_check *check)
{
    const struct q2_layer *layer = check->layer;
    const struct q2_header *h = &layer->header;
    uint64_t refcount_table_bytes = (uint64_t)h->refcount_table_clusters << h->cluster_bits;
    int r;

    if ((r = q2_check_reference(check, 0, check->cluster_bytes, 1, "header")) < 0 ||
        (r = q2_check_l1(check)) < 0 || (r = q2_check_snapshots(check)) < 0 ||
        (r = q2_check_l2_tables(check)) < 0 ||
        (r = q2_check_reference(check, h->refcount_table_off, refcount_table_bytes, 1,
                                "refcount table")) < 0 ||
        (r = q2_check_reference(check, layer->luks_off, layer->luks_bytes, 1,
                                "encryption header")) < 0 ||
        (r = q2_check_bitmaps(check)) < 0) {
        return r;
    }
    /* Last, because the file may turn out to be one cluster longer until then. */
    return q2_check_refcount_blocks(check);
}

static int check_all(struct q2_check *check)
{
    int r;

    if ((r = q2_check_clusters_init(check)) < 0 || (r = q2_check_snapshot_table(check)) < 0 ||
        (r = q2_check_stored_load(check)) < 0 || (r = check_references(check)) < 0) {
        return r;
    }
    return q2_check_compare(check);
}

/* The caller's options in a struct of ours. */
static int take_options(const struct qcow2_check_options *from,
                        struct qcow2_check_options *options_ret, struct qcow2_error *err)
{
    *options_ret = (struct qcow2_check_options)QCOW2_CHECK_OPTIONS_INIT;
    if (from == NULL) {
        return 0;
    }
    return q2_sized_copy(options_ret, from, from->size, sizeof *options_ret, err);
}

/* a + b, but at most `most`. */
static uint64_t add_up_to(uint64_t a, uint64_t b, uint64_t most)
{
    uint64_t sum;

    return q2_add_u64(a, b, &sum) ? q2_min_u64(sum, most) : most;
}

static void take_bounds(struct q2_check *check, const struct qcow2_check_options *options)
{
    uint64_t stored = check->layer->file.stored_bytes;

    check->max_memory_bytes = options->max_memory_bytes;
    if (check->max_memory_bytes == 0) {
        check->max_memory_bytes = add_up_to(Q2_CHECK_SPARE_BYTES, stored, Q2_CHECK_MAX_BYTES);
    }
    check->max_entries = options->max_entries;
    if (check->max_entries == 0) {
        check->max_entries = add_up_to(Q2_CHECK_SPARE_ENTRIES, stored, Q2_CHECK_MAX_ENTRIES);
    }
    check->messages_left = options->max_messages != 0 ? options->max_messages : UINT64_MAX;
}

static int prepare(struct q2_check *check, const struct qcow2_check_options *options)
{
    const struct q2_layer *layer = check->layer;

    if (layer->format != QCOW2_FORMAT_QCOW2) {
        return q2_error_set(check->err, QCOW2_E_UNSUPPORTED,
                            "the format has no refcounts, so there is nothing to check");
    }
    if (layer->file.size_bytes == UINT64_MAX) {
        return q2_error_set(check->err, QCOW2_E_UNSUPPORTED,
                            "the length of the file is not known, which the check needs");
    }
    check->cluster_bytes = UINT64_C(1) << layer->header.cluster_bits;
    check->file_bytes = q2_round_up(layer->file.size_bytes, 9);
    take_bounds(check, options);
    check->table_piece.host_off = UINT64_MAX;
    check->block_piece.host_off = UINT64_MAX;
    check->result.total_clusters =
        q2_blocks_for(layer->header.size_bytes & ~UINT64_C(511), layer->header.cluster_bits);
    return 0;
}

int qcow2_check(struct qcow2_image *image, const struct qcow2_check_options *options,
                qcow2_check_callback *callback, void *ctx, struct qcow2_check_result *result_ret,
                struct qcow2_error *err)
{
    struct qcow2_check_options asked;
    struct q2_check *check;
    size_t room;
    int r;

    if (image == NULL || result_ret == NULL || result_ret->size == 0) {
        return q2_error_set(err, QCOW2_E_ARGUMENT,
                            "the image or the result is NULL, or its size 0");
    }
    if ((r = take_options(options, &asked, err)) < 0) {
        return r;
    }
    check = calloc(1, sizeof *check);
    if (check == NULL) {
        return q2_error_nomem(err);
    }
    check->layer = &image->layers[0];
    check->callback = callback;
    check->ctx = ctx;
    check->err = err;
    room = result_ret->size;
    check->result.size = room;
    r = prepare(check, &asked);
    if (r == 0) {
        r = check_all(check);
    }
    if (r == 0) {
        memcpy(result_ret, &check->result,
               room < sizeof check->result ? room : sizeof check->result);
    }
    free(check->clusters.words);
    free(check->tables.places);
    free(check);
    return r;
}
