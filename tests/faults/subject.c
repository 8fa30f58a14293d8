/* SPDX-License-Identifier: MIT */
/* subject.c - see subject.h: command line, opening. */
#include "subject.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_LIMIT = 4 << 20 };

static int give_key(void *ctx, int depth, const char *name, char *buf, size_t buf_bytes,
                    size_t *length_ret)
{
    const struct subject *subject = ctx;
    size_t length = strlen(subject->key);

    (void)depth;
    (void)name;
    if (length > buf_bytes) {
        return QCOW2_E_KEY;
    }
    memcpy(buf, subject->key, length);
    *length_ret = length;
    return 0;
}

static bool load_raw(struct subject *subject, const char *path)
{
    FILE *stream = fopen(path, "rb");

    if (stream == NULL || (subject->raw = malloc((size_t)subject->limit + 1)) == NULL) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return false;
    }
    subject->raw_bytes = fread(subject->raw, 1, (size_t)subject->limit, stream);
    return fclose(stream) == 0;
}

static bool parse_number(const char *text, uint64_t *number_ret)
{
    char *end;

    errno = 0;
    *number_ret = strtoull(text, &end, 0);
    return errno == 0 && end != text && *end == '\0';
}

/* One option with its argument; false if it is none of ours. */
static bool take(struct subject *subject, const char *name, const char *value, const char **words)
{
    static const char *const strings[] = { "--directory", "--image", "--raw" };
    uint64_t number = 0;

    for (int i = 0; i < 3; i++) {
        if (strcmp(name, strings[i]) == 0) {
            words[i] = value;
            return true;
        }
    }
    if (strcmp(name, "--key") == 0) {
        subject->key = value;
        subject->options.get_key = give_key;
        subject->options.get_key_ctx = subject;
        return true;
    }
    if (strcmp(name, "--snapshot") == 0) {
        subject->options.snapshot = value;
        return true;
    }
    if (!parse_number(value, &number)) {
        return false;
    }
    if (strcmp(name, "--limit") == 0) {
        subject->limit = number < MAX_LIMIT ? number : MAX_LIMIT;
    } else if (strcmp(name, "--table-cache") == 0) {
        subject->options.table_cache_bytes = number;
    } else if (strcmp(name, "--cluster-cache") == 0) {
        subject->options.cluster_cache_bytes = number;
    } else {
        return false;
    }
    return true;
}

bool subject_init(struct subject *subject, int *argc, char **argv)
{
    const char *words[3] = { NULL, NULL, NULL };
    int left = 1;

    memset(subject, 0, sizeof *subject);
    subject->options = (struct qcow2_options)QCOW2_OPTIONS_INIT;
    subject->limit = MAX_LIMIT;
    subject->threads = 2;
    /* Damage must not cost seconds. */
    subject->options.max_key_iterations = 100000;
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "--vm-state") == 0) {
            subject->options.flags |= QCOW2_OPEN_VM_STATE;
        } else if (i + 1 < *argc && take(subject, argv[i], argv[i + 1], words)) {
            i++;
        } else {
            argv[left++] = argv[i];
        }
    }
    *argc = left;
    if (words[0] == NULL || words[1] == NULL) {
        (void)fputs("no --directory or no --image given\n", stderr);
        return false;
    }
    (void)snprintf(subject->path, sizeof subject->path, "%s/%s", words[0], words[1]);
    subject->buffer = malloc((size_t)subject->limit + 1);
    subject->target_fd = memfd_create("target", MFD_CLOEXEC);
    if (subject->buffer == NULL || subject->target_fd < 0 ||
        !files_load(&subject->files, words[0]) ||
        (words[2] != NULL && !load_raw(subject, words[2]))) {
        return false;
    }
    subject->image = files_find(&subject->files, words[1]);
    if (subject->image == NULL) {
        (void)fprintf(stderr, "%s: no such file\n", subject->path);
    }
    return subject->image != NULL;
}

void subject_deinit(struct subject *subject)
{
    files_unload(&subject->files);
    free(subject->raw);
    free(subject->buffer);
    (void)close(subject->target_fd);
}

int subject_open(struct subject *subject, struct qcow2_image **image_ret, struct qcow2_error *err)
{
    struct qcow2_options options = subject->options;
    struct qcow2_source source;

    options.grant = files_grant;
    options.grant_ctx = &subject->files;
    subject->image->depth = 0;
    files_source(subject->image, &source);
    return qcow2_open_source(&source, &options, image_ret, err);
}

uint64_t subject_end(const struct subject *subject, const struct qcow2_image *image)
{
    uint64_t size = qcow2_size(image);

    return size < subject->limit ? size : subject->limit;
}
