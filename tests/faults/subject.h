/* SPDX-License-Identifier: MIT */
/* subject.h - the image that a program of this directory is about, as its command line says:
 *
 *     --directory DIR     where its files are: the image, and those that it refers to
 *     --image NAME        which of them it is
 *     --raw FILE          the bytes that its disk must have; without, nobody knows them
 *     --limit BYTES       how much of the disk is looked at (default and at most: 4 MiB)
 *     --key TEXT          the passphrase, of every file of the chain
 *     --snapshot NAME     read that, and with --vm-state its VM state
 *     --table-cache, --cluster-cache BYTES
 *
 * and the operations that are tried on it. Each is made of public calls only and allocates nothing
 * itself. */
#ifndef FAULTS_SUBJECT_H
#define FAULTS_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

#include "files.h"

struct subject {
    struct files files;
    struct file *image;
    char path[4096];
    const char *key;
    unsigned char *raw; /* NULL: not known */
    size_t raw_bytes;
    uint64_t limit;
    unsigned char *buffer; /* of limit bytes, for whoever needs one */
    int target_fd;         /* an empty file in memory */
    unsigned threads;      /* of copies and comparisons */
    struct qcow2_options options;
};

/* Takes the options above out of the arguments; the others are left at *argc_ret, argv. False with a
 * message if something is wrong with them. */
bool subject_init(struct subject *subject, int *argc, char **argv);
void subject_deinit(struct subject *subject);

/* Opens the image from its files in memory. */
int subject_open(struct subject *subject, struct qcow2_image **image_ret, struct qcow2_error *err);

/* The end of what is looked at. */
uint64_t subject_end(const struct subject *subject, const struct qcow2_image *image);

/* What came of an operation. */
struct outcome {
    int code;         /* of its last call: 0, or what failed */
    uint64_t hash;    /* of everything it was told */
    uint64_t unknown; /* things that it was told are not known: refcounts, findings "unchecked" */
    uint64_t wrong;   /* bytes that are not those of the raw disk */
    struct qcow2_error err;
};

struct operation {
    const char *name;
    void (*run)(struct subject *subject, struct qcow2_image *image, struct outcome *outcome);
    bool reads; /* its errors name a guest offset */
    bool threads;
    bool opens; /* works without an image */
};

extern const struct operation operations[];
extern const unsigned n_operations;

/* Runs one from a clean outcome. */
void subject_run(struct subject *subject, struct qcow2_image *image,
                 const struct operation *operation, struct outcome *outcome);

#endif
