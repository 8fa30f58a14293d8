/* SPDX-License-Identifier: MIT */
/* files.h - the files of an image in memory, handed out as sources that misbehave on request.
 *
 * Knows files and <qcow2.h>, nothing of images. All is loaded before anything is tested, and a read
 * allocates nothing, so that what fails afterwards is the library's business. */
#ifndef FAULTS_FILES_H
#define FAULTS_FILES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

enum { FILES_MAX = 300, FILES_ERRNO = 67 /* ENOLINK: nothing else here gives it */ };

struct file {
    struct files *files;
    char name[256]; /* as images write it: relative to the directory they are in */
    unsigned char *bytes;
    size_t count;
    int depth; /* in the chain, as the last grant said */
};

struct files {
    struct file file[FILES_MAX];
    unsigned n;

    /* What is to go wrong. All zero: nothing. */
    atomic_ulong fail_at;     /* the read that fails, counted from 1 */
    atomic_bool fail_forever; /* and all behind it */
    atomic_uint fail_one_in;  /* so many reads succeed for one that fails, by chance; 0: all */
    atomic_ulong shrink_at;   /* from this read on, files have lost their second half */
    atomic_uint delay_us;     /* what a read takes */
    atomic_bool flipping;     /* bytes of a place that was read before come back changed */
    uint64_t flip_seed;

    /* What happened. */
    atomic_ulong reads;
    atomic_ullong read_bytes;
    atomic_ulong failures;
    atomic_ulong closes, grants;
    atomic_bool strayed; /* a read reached past the end of its file, or was of no bytes */
    _Atomic(struct file *) failed_file;
    atomic_ullong failed_offset;
};

/* Loads every regular file beneath `directory`; false with a message on stderr. */
bool files_load(struct files *files, const char *directory);
void files_unload(struct files *files);

/* Nothing goes wrong any more, and the counts begin anew. */
void files_reset(struct files *files);

/* NULL if there is none. */
struct file *files_find(struct files *files, const char *name);

/* A source over the file. Whoever shortens file->count before makes it a file that was cut. */
void files_source(struct file *file, struct qcow2_source *source_ret);

/* A qcow2_grant_fn; its ctx is the struct files. */
int files_grant(void *ctx, const struct qcow2_reference *reference, struct qcow2_source *source_ret,
                int *format_ret, struct qcow2_error *err);

#endif
