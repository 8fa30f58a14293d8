/* SPDX-License-Identifier: MIT */
/* vet_open.c - opening an image that nobody vouches for: the file is opened once, no other file ever, and
 * an image that does not open has been judged, not failed. */
#include "vet.h"

#include "report.h"

/* Where the header has its incompatible feature bits. */
#define INCOMPATIBLE_OFFSET 72

/* Whose problem is it? The image's: a finding. The machine's: false. */
static bool judge(struct vet *vet, const struct qcow2_error *err)
{
    enum vet_rule rule;

    switch (err->code) {
    case QCOW2_E_NOT_QCOW2:
        rule = VET_NOT_QCOW2;
        break;
    case QCOW2_E_UNSUPPORTED:
        rule = err->host_offset == INCOMPATIBLE_OFFSET ? VET_UNKNOWN_FEATURE : VET_UNSUPPORTED;
        break;
    case QCOW2_E_CORRUPT:
        rule = VET_BROKEN_HEADER;
        break;
    case QCOW2_E_TRUNCATED:
        rule = VET_TRUNCATED;
        break;
    case QCOW2_E_LIMIT:
        rule = VET_OVER_LIMIT;
        break;
    default:
        vet->failure = *err;
        return false;
    }
    vet_find(vet, rule, err->host_offset, "%s", err->message);
    return true;
}

/* Would the image open for reading? Without a grant and without a key: that one of these is missing is not
 * the question, and what open looks at after them, the L1 table, the survey looks at too. */
static bool try_to_open(struct vet *vet)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_image *image;
    struct qcow2_source source;

    options.flags = QCOW2_OPEN_NO_BACKING;
    options.table_cache_bytes = 1; /* off: nothing is going to be read */
    options.cluster_cache_bytes = 1;
    if (qcow2_source_from_fd(vet->fd, NULL, 0, &source, &err) < 0) {
        vet->failure = err;
        return false;
    }
    if (qcow2_open_source(&source, &options, &image, &err) == 0) {
        qcow2_close(image);
        return true;
    }
    return err.code == QCOW2_E_REFERENCE || err.code == QCOW2_E_KEY || judge(vet, &err);
}

int vet_open_bytes(int fd, struct qcow2_image **bytes_ret, struct qcow2_error *err)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_source source;
    int r;

    options.format = QCOW2_FORMAT_RAW;
    options.table_cache_bytes = 1; /* off: there are no tables */
    options.cluster_cache_bytes = 1;
    if ((r = qcow2_source_from_fd(fd, NULL, 0, &source, err)) < 0) {
        return r;
    }
    return qcow2_open_source(&source, &options, bytes_ret, err);
}

/* A guest can write what it likes to a raw disk; who guesses the format then does what it says. */
static bool open_raw(struct vet *vet, const struct qcow2_source *source)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;

    options.flags = QCOW2_OPEN_METADATA_ONLY;
    options.format = QCOW2_FORMAT_PROBE;
    if (qcow2_open_source(source, &options, &vet->image, &err) < 0) {
        if (err.code == QCOW2_E_IO || err.code == QCOW2_E_NOMEM || err.code == QCOW2_E_ARGUMENT) {
            vet->failure = err;
            return false;
        }
        vet_find(vet, VET_DISGUISED, 0, "begins as a qcow image does (a broken one: %s)",
                 err.message);
        return true;
    }
    qcow2_get_info(vet->image, 0, &vet->info, NULL);
    if (vet->info.format == QCOW2_FORMAT_RAW) {
        return vet_disguise(vet);
    }
    vet_find(vet, VET_DISGUISED, 0,
             "is a qcow image of version %u: who guesses its format reads another disk",
             (unsigned)vet->info.version);
    qcow2_close(vet->image);
    vet->image = NULL;
    return true;
}

bool vet_open(struct vet *vet, const struct qcow2_source *source, int format)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;

    vet->fd = source->get_fd(source->ctx);
    if (format == QCOW2_FORMAT_RAW) {
        return open_raw(vet, source);
    }
    options.flags = QCOW2_OPEN_METADATA_ONLY;
    if (qcow2_open_source(source, &options, &vet->image, &err) < 0) {
        return judge(vet, &err);
    }
    qcow2_get_info(vet->image, 0, &vet->info, NULL);
    return try_to_open(vet);
}
