/* SPDX-License-Identifier: MIT */
/* copy.c - the public calls of the copy engine: what was asked for, and by which way it is done.
 * Knows the options; must not know extents, threads or system calls of a target. */
#include "fault.h"
#include "in_order.h"
#include "options.h"
#include "stream.h"
#include "target.h"
#include "team.h"
#include "to_file.h"

enum {
    KNOWN_FLAGS = QCOW2_COPY_TARGET_IS_ZERO | QCOW2_COPY_KEEP_ZEROS,
    /* Zeros of a stream are written, which takes a time in proportion: progress moves meanwhile. */
    STREAM_ZERO_BYTES = 4 * 1024 * 1024
};

/* Sets the fields of *copy that come from the caller. */
static int begin(struct q2_copy *copy, struct qcow2_image *image,
                 const struct qcow2_copy_options *options, struct qcow2_error *err)
{
    struct qcow2_copy_options asked;
    struct qcow2_extent extent;
    uint64_t cursor = 0;
    uint64_t disk;
    int ret;

    if (image == NULL) {
        return q2_fault_set(err, QCOW2_E_ARGUMENT, 0, "no image given");
    }
    ret = q2_copy_read_options(options, KNOWN_FLAGS, &asked, err);
    if (ret < 0) {
        return ret;
    }
    disk = qcow2_size(image);
    copy->image = image;
    copy->flags = asked.flags;
    copy->threads = asked.threads > 0 ? asked.threads : q2_copy_processors();
    copy->start = asked.offset < disk ? asked.offset : disk;
    copy->length = disk - copy->start;
    if (asked.length > 0 && asked.length < copy->length) {
        copy->length = asked.length;
    }
    copy->progress = asked.progress;
    copy->progress_ctx = asked.progress_ctx;
    /* An image that cannot be walked, one opened for its headers alone, should be refused while
     * the target still holds what it held. */
    ret = qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, err);
    return ret < 0 ? ret : 0;
}

static int deliver_to_stream(void *ctx, const void *buf, uint64_t count, uint64_t guest_off,
                             struct qcow2_error *err)
{
    const struct q2_target *target = ctx;

    (void)guest_off;
    return q2_stream_write(target->fd, buf, count, err);
}

static int copy_to_stream(struct q2_copy *copy, struct q2_target *target, struct qcow2_error *err)
{
    struct q2_stream_guard guard;
    int ret;

    q2_stream_guard_enter(&guard);
    ret = q2_copy_in_order(copy, STREAM_ZERO_BYTES, deliver_to_stream, target, err);
    q2_stream_guard_leave(&guard);
    return ret;
}

int qcow2_copy_to_fd(struct qcow2_image *image, int fd, const struct qcow2_copy_options *options,
                     struct qcow2_error *err)
{
    struct qcow2_error fault = QCOW2_ERROR_INIT;
    struct q2_target target;
    struct q2_copy copy;
    int ret = begin(&copy, image, options, &fault);

    if (ret == 0 && qcow2_has_file(image, fd)) {
        ret = q2_fault_set(&fault, QCOW2_E_ARGUMENT, 0, "the target is a file of the image itself");
    }
    if (ret == 0) {
        ret = q2_target_inspect(&target, fd, &fault);
    }
    if (ret == 0) {
        ret = target.kind == Q2_TARGET_STREAM ? copy_to_stream(&copy, &target, &fault)
                                              : q2_copy_to_target(&copy, &target, &fault);
        q2_target_deinit(&target);
    }
    return ret < 0 ? q2_fault_publish(err, &fault) : 0;
}

struct receiver {
    qcow2_copy_callback *callback;
    void *ctx;
};

static int deliver_to_callback(void *ctx, const void *buf, uint64_t count, uint64_t guest_off,
                               struct qcow2_error *err)
{
    const struct receiver *receiver = ctx;

    if (receiver->callback(receiver->ctx, buf, count, guest_off) != 0) {
        return q2_fault_set(err, QCOW2_E_CANCELLED, 0, "the copy callback asked to stop");
    }
    return 0;
}

int qcow2_copy_to_callback(struct qcow2_image *image, qcow2_copy_callback *callback, void *ctx,
                           const struct qcow2_copy_options *options, struct qcow2_error *err)
{
    struct qcow2_error fault = QCOW2_ERROR_INIT;
    struct receiver receiver = { callback, ctx };
    struct q2_copy copy;
    int ret = begin(&copy, image, options, &fault);

    if (ret == 0 && callback == NULL) {
        ret = q2_fault_set(&fault, QCOW2_E_ARGUMENT, 0, "no callback given");
    }
    if (ret == 0) {
        ret = q2_copy_in_order(&copy, UINT64_MAX, deliver_to_callback, &receiver, &fault);
    }
    return ret < 0 ? q2_fault_publish(err, &fault) : 0;
}
