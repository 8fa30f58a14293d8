/* SPDX-License-Identifier: MIT */
/* check_clusters.c - how often each cluster of the file is referred to. */
#include "audit/check.h"

#include <stdlib.h>

#include "base/checked.h"
#include "base/error.h"
#include "format/refcount.h"

int q2_check_clusters_init(struct q2_check *check)
{
    const struct q2_header *h = &check->layer->header;
    struct q2_check_clusters *clusters = &check->clusters;
    uint64_t max = q2_refcount_max(h->refcount_order);
    uint64_t n_bytes;
    int r;

    clusters->n = q2_blocks_for(check->file_bytes, h->cluster_bits);
    clusters->n_max = clusters->n + 1;
    /* A file ends before 2^63, so this does not wrap. */
    n_bytes = clusters->n_max * sizeof *clusters->words;
    if ((r = q2_check_memory(check, n_bytes)) < 0) {
        return r;
    }
    /* Counts of wide refcounts, of 32 and 64 bits, stop at what fits here: a thousand million references
     * to one cluster are wrong enough without another message. */
    clusters->overflows = max <= Q2_CLUSTER_COUNT;
    clusters->limit = clusters->overflows ? (uint32_t)max : Q2_CLUSTER_COUNT;
    if (n_bytes > SIZE_MAX ||
        (clusters->words = calloc((size_t)clusters->n_max, sizeof *clusters->words)) == NULL) {
        return q2_error_nomem(check->err);
    }
    return 0;
}

static int count_overflow(struct q2_check *check, uint64_t cluster, uint64_t times,
                          const char *what)
{
    uint64_t host_off = cluster << check->layer->header.cluster_bits;

    return q2_check_find(check, QCOW2_FINDING_CORRUPTION, times, host_off,
                         "cluster %llu at 0x%llx (%s) has more references than its refcount can "
                         "count, %lu",
                         (unsigned long long)cluster, (unsigned long long)host_off, what,
                         (unsigned long)check->clusters.limit);
}

int q2_check_clusters_of(struct q2_check *check, uint64_t host_off, uint64_t n_bytes,
                         uint64_t times, const char *what, uint64_t *first_ret, uint64_t *last_ret)
{
    unsigned cluster_bits = check->layer->header.cluster_bits;
    uint64_t end;

    /* Lengths are signed in QEMU, and one below 0 refers to nothing. */
    if (n_bytes == 0 || n_bytes > INT64_MAX) {
        return 0;
    }
    /* The last cluster of a file need not be all there. */
    if (!q2_add_u64(host_off, n_bytes, &end) ||
        (end > check->file_bytes && end - check->file_bytes >= check->cluster_bytes)) {
        return q2_check_find(check, QCOW2_FINDING_CORRUPTION, times, host_off,
                             "%s at 0x%llx (%llu bytes) lies outside the file (%llu bytes)", what,
                             (unsigned long long)host_off, (unsigned long long)n_bytes,
                             (unsigned long long)check->layer->file.size_bytes);
    }
    *first_ret = host_off >> cluster_bits;
    *last_ret = (end - 1) >> cluster_bits;
    return 1;
}

int q2_check_count(struct q2_check *check, uint64_t first, uint64_t last, uint64_t times,
                   const char *what)
{
    struct q2_check_clusters *clusters = &check->clusters;
    int r;

    if (last > first && (r = q2_check_work(check, last - first)) < 0) {
        return r;
    }
    if (last >= clusters->n) {
        clusters->n = last + 1;
    }
    for (uint64_t cluster = first; cluster <= last; cluster++) {
        uint32_t *word = &clusters->words[cluster];
        uint32_t room = clusters->limit - (*word & Q2_CLUSTER_COUNT);

        if (times <= room) {
            *word += (uint32_t)times;
        } else {
            *word += room;
            if (clusters->overflows &&
                (r = count_overflow(check, cluster, times - room, what)) < 0) {
                return r;
            }
        }
    }
    return 0;
}

int q2_check_reference(struct q2_check *check, uint64_t host_off, uint64_t n_bytes, uint64_t times,
                       const char *what)
{
    uint64_t first = 0, last = 0;
    int r = q2_check_clusters_of(check, host_off, n_bytes, times, what, &first, &last);

    return r <= 0 ? r : q2_check_count(check, first, last, times, what);
}
