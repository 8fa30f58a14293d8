/* SPDX-License-Identifier: MIT */
/* explain.c - the steps that lead to a guest byte, as JSON, for comparing with maps and tables.
 *
 *     explain [--snapshot S] IMAGE OFFSET...
 *
 * Prints a list with one item for each offset: a list of steps, with {"error": CODE} last where a step
 * failed. Offsets that the extents of the image disagree with end the program with status 1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2.h>

static void print_step(const struct qcow2_explanation *e)
{
    printf("{\"depth\": %d, \"format\": %d, \"kind\": %d, \"decides\": %d, "
           "\"l1_offset\": %llu, \"l1_index\": %llu, \"l1_entry\": %llu, "
           "\"l2_offset\": %llu, \"l2_index\": %llu, \"l2_entry\": %llu, \"l2_bitmap\": %llu, "
           "\"subcluster\": %lu, \"compressed_bytes\": %lu, \"host_offset\": %llu, "
           "\"refcount\": %llu, \"encrypted\": %d, \"in_data_file\": %d}",
           e->depth, e->format, e->kind, e->decides, (unsigned long long)e->l1_offset,
           (unsigned long long)e->l1_index, (unsigned long long)e->l1_entry,
           (unsigned long long)e->l2_offset, (unsigned long long)e->l2_index,
           (unsigned long long)e->l2_entry, (unsigned long long)e->l2_bitmap,
           (unsigned long)e->subcluster, (unsigned long)e->compressed_bytes,
           (unsigned long long)e->host_offset, (unsigned long long)e->refcount, e->encrypted,
           e->in_data_file);
}

/* The extent at the same place must be of the same kind, from the same file and place. */
static int same_as_extent(struct qcow2_image *image, uint64_t offset,
                          const struct qcow2_explanation *e)
{
    struct qcow2_extent extent;
    uint64_t cursor = offset;

    if (qcow2_next_extent(image, &cursor, offset + 1, &extent, NULL) != 1) {
        return 0;
    }
    return extent.kind == e->kind && extent.depth == e->depth &&
           (e->kind == QCOW2_EXTENT_COMPRESSED || extent.host_offset == e->host_offset);
}

static int explain(struct qcow2_image *image, uint64_t offset)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_explanation e = { 0 };
    uint64_t cursor = 0;
    int r, steps = 0;

    printf("[");
    while ((r = qcow2_next_explanation(image, offset, &cursor, &e, &err)) == 1) {
        printf("%s", steps++ > 0 ? ",\n  " : "");
        print_step(&e);
    }
    if (r < 0) {
        printf("%s{\"error\": \"%s\", \"depth\": %d}", steps > 0 ? ", " : "", qcow2_code_name(r),
               err.depth);
    }
    printf("]");
    return r < 0 || (steps > 0 && e.decides && same_as_extent(image, offset, &e));
}

int main(int argc, char **argv)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_image *image;
    int arg = 1, status = 0;

    if (argc > 2 && strcmp(argv[1], "--snapshot") == 0) {
        options.snapshot = argv[2];
        arg = 3;
    }
    if (arg >= argc) {
        fprintf(stderr, "usage: explain [--snapshot S] IMAGE OFFSET...\n");
        return 64;
    }
    if (qcow2_open(argv[arg], &options, &image, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("[");
    for (int i = arg + 1; i < argc; i++) {
        printf("%s", i > arg + 1 ? ",\n " : "");
        if (!explain(image, strtoull(argv[i], NULL, 0))) {
            fprintf(stderr, "explanation and extent at %s differ\n", argv[i]);
            status = 1;
        }
    }
    printf("]\n");
    qcow2_close(image);
    return status;
}
