/* SPDX-License-Identifier: MIT */
/* files.c - see files.h. */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static bool load(struct file *file, int directory, const char *name)
{
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
    struct stat st;
    size_t done = 0;
    ssize_t got = 1;

    if (fd < 0 || fstat(fd, &st) != 0) {
        return false;
    }
    (void)snprintf(file->name, sizeof file->name, "%s", name);
    file->count = (size_t)st.st_size;
    file->bytes = malloc(file->count + 1);
    while (file->bytes != NULL && done < file->count && got > 0) {
        got = read(fd, file->bytes + done, file->count - done);
        done += got > 0 ? (size_t)got : 0;
    }
    (void)close(fd);
    return file->bytes != NULL && done == file->count;
}

bool files_load(struct files *files, const char *directory)
{
    DIR *listing = opendir(directory);
    const struct dirent *entry;

    memset(files, 0, sizeof *files);
    while (listing != NULL && (entry = readdir(listing)) != NULL) {
        struct stat st;

        if (fstatat(dirfd(listing), entry->d_name, &st, 0) != 0 || !S_ISREG(st.st_mode)) {
            continue;
        }
        if (files->n == FILES_MAX || !load(&files->file[files->n], dirfd(listing), entry->d_name)) {
            (void)fprintf(stderr, "%s/%s: cannot be loaded\n", directory, entry->d_name);
            (void)closedir(listing);
            return false;
        }
        files->file[files->n++].files = files;
    }
    if (listing == NULL) {
        (void)fprintf(stderr, "%s: %s\n", directory, strerror(errno));
        return false;
    }
    (void)closedir(listing);
    return true;
}

void files_unload(struct files *files)
{
    for (unsigned i = 0; i < files->n; i++) {
        free(files->file[i].bytes);
    }
    files->n = 0;
}

void files_reset(struct files *files)
{
    atomic_store(&files->fail_at, 0);
    atomic_store(&files->fail_forever, false);
    atomic_store(&files->fail_one_in, 0);
    atomic_store(&files->shrink_at, 0);
    atomic_store(&files->delay_us, 0);
    atomic_store(&files->flipping, false);
    atomic_store(&files->reads, 0);
    atomic_store(&files->read_bytes, 0);
    atomic_store(&files->failures, 0);
    atomic_store(&files->failed_file, NULL);
}

struct file *files_find(struct files *files, const char *name)
{
    for (unsigned i = 0; i < files->n; i++) {
        if (strcmp(files->file[i].name, name) == 0) {
            return &files->file[i];
        }
    }
    return NULL;
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static bool fails_now(struct files *files, unsigned long number)
{
    unsigned long at = atomic_load(&files->fail_at);
    unsigned one_in = atomic_load(&files->fail_one_in);

    if (at != 0 && (atomic_load(&files->fail_forever) ? number >= at : number == at)) {
        return true;
    }
    return one_in != 0 && mix(number) % one_in == 0;
}

static int fail(struct file *file, uint64_t offset, void *buf, size_t count, int code)
{
    struct files *files = file->files;

    /* What a failing source leaves behind is rubbish. */
    memset(buf, 0xEE, count);
    if (atomic_fetch_add(&files->failures, 1) == 0) {
        atomic_store(&files->failed_file, file);
        atomic_store(&files->failed_offset, offset);
    }
    return code;
}

/* Changes a byte here and there, other ones in each read. */
static void flip(struct files *files, unsigned long number, unsigned char *buf, size_t count)
{
    uint64_t state = mix(files->flip_seed * 1000003 + number);

    for (unsigned changes = (unsigned)(state % 4); changes > 0; changes--) {
        state = mix(state + changes);
        /* The first bytes of what is read are the ones that most depends on. */
        buf[state >> 32 & 1 ? state % count : state % (count < 64 ? count : 64)] ^=
            (unsigned char)(1 << (state >> 40 & 7));
    }
}

static int read_at(void *ctx, void *buf, size_t count, uint64_t offset)
{
    struct file *file = ctx;
    struct files *files = file->files;
    unsigned long number = atomic_fetch_add(&files->reads, 1) + 1;
    unsigned long shrink_at = atomic_load(&files->shrink_at);
    unsigned delay_us = atomic_load(&files->delay_us);
    size_t there = shrink_at != 0 && number >= shrink_at ? file->count / 2 : file->count;

    atomic_fetch_add(&files->read_bytes, count);
    if (delay_us > 0) {
        struct timespec pause = { 0, (long)delay_us * 1000 };

        (void)nanosleep(&pause, NULL);
    }
    if (count == 0 || offset > file->count || count > file->count - offset) {
        atomic_store(&files->strayed, true);
        return EIO;
    }
    if (fails_now(files, number) || offset > there || count > there - offset) {
        return fail(file, offset, buf, count, FILES_ERRNO);
    }
    memcpy(buf, file->bytes + offset, count);
    if (atomic_load(&files->flipping)) {
        flip(files, number, buf, count);
    }
    return 0;
}

static int get_size(void *ctx, uint64_t *bytes_ret)
{
    const struct file *file = ctx;

    *bytes_ret = file->count;
    return 0;
}

static void close_file(void *ctx)
{
    struct file *file = ctx;

    atomic_fetch_add(&file->files->closes, 1);
}

void files_source(struct file *file, struct qcow2_source *source_ret)
{
    atomic_fetch_add(&file->files->grants, 1);
    *source_ret = (struct qcow2_source){
        .size = sizeof *source_ret,
        .ctx = file,
        .name = file->name,
        .read_at = read_at,
        .get_size = get_size,
        .close = close_file,
    };
}

int files_grant(void *ctx, const struct qcow2_reference *reference, struct qcow2_source *source_ret,
                int *format_ret, /* NOLINT(readability-non-const-parameter): fixed type */
                struct qcow2_error *err)
{
    struct file *file = files_find(ctx, reference->name);

    (void)format_ret;
    (void)err;
    if (file == NULL) {
        return QCOW2_E_REFERENCE;
    }
    file->depth = reference->depth + (reference->kind == QCOW2_REFERENCE_BACKING_FILE);
    files_source(file, source_ret);
    return 0;
}
