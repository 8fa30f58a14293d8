/* SPDX-License-Identifier: MIT */
/* operations.c - all that can be asked of an image, each as one operation with one outcome.
 *
 * An operation ends with the first call that fails. Until then everything that it is told goes into a
 * hash, so that two outcomes can be compared without being kept. */
#include "subject.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

static void add_bytes(struct outcome *o, const void *bytes, size_t count)
{
    const unsigned char *from = bytes;
    uint64_t hash = o->hash;

    for (; count >= 8; count -= 8, from += 8) {
        uint64_t word;

        memcpy(&word, from, 8);
        hash = (hash ^ word) * UINT64_C(0x100000001B3);
        hash ^= hash >> 29;
    }
    for (; count > 0; count--, from++) {
        hash = (hash ^ *from) * UINT64_C(0x100000001B3);
    }
    o->hash = hash;
}

static void add(struct outcome *o, uint64_t value)
{
    add_bytes(o, &value, sizeof value);
}

static void add_text(struct outcome *o, const char *text)
{
    add_bytes(o, text != NULL ? text : "?", text != NULL ? strlen(text) + 1 : 1);
}

/* Bytes of the disk: they go into the hash, and are held against what they must be. */
static void add_disk(const struct subject *subject, struct outcome *o, const unsigned char *bytes,
                     size_t count, uint64_t offset)
{
    add_bytes(o, bytes, count);
    for (size_t i = 0; subject->raw != NULL && i < count && offset + i < subject->raw_bytes; i++) {
        o->wrong += bytes[i] != subject->raw[offset + i];
    }
}

static void read_in(struct subject *subject, struct qcow2_image *image, uint64_t piece,
                    uint64_t stride, struct outcome *o)
{
    uint64_t end = subject_end(subject, image);

    for (uint64_t at = 0; at < end; at += stride) {
        uint64_t want = end - at < piece ? end - at : piece;
        ssize_t got = qcow2_pread(image, subject->buffer, (size_t)want, at, &o->err);

        if (got < 0) {
            o->code = (int)got;
            return;
        }
        add(o, (uint64_t)got);
        add_disk(subject, o, subject->buffer, (size_t)got, at);
    }
}

static void read_bytes(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    read_in(subject, image, 1, subject->limit / 23 + 7, o);
}

static void read_pieces(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    read_in(subject, image, 5000, 5000, o);
}

static void read_whole(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    read_in(subject, image, subject->limit, subject->limit, o);
}

static void walk_extents(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    uint64_t end = subject_end(subject, image), cursor = 0;
    struct qcow2_extent extent, last = { .kind = -1 };

    while ((o->code = qcow2_next_extent(image, &cursor, end, &extent, &o->err)) == 1) {
        /* How a run is cut into extents is not promised; what it is, is. */
        if (extent.kind != last.kind || extent.depth != last.depth ||
            extent.stream_offset != last.stream_offset ||
            (extent.host_offset != UINT64_MAX ? extent.host_offset != last.host_offset + last.length
                                              : last.host_offset != UINT64_MAX)) {
            add(o, extent.offset);
            add(o, (uint64_t)extent.kind);
            add(o, (uint64_t)extent.depth);
            add(o, extent.host_offset);
            add(o, extent.stream_offset);
        }
        last = extent;
    }
    add(o, cursor);
}

static void explain(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    uint64_t end = subject_end(subject, image);

    for (uint64_t at = 0; at < end && o->code >= 0; at += subject->limit / 31 + 3) {
        struct qcow2_explanation e;
        uint64_t cursor = 0;

        while ((o->code = qcow2_next_explanation(image, at, &cursor, &e, &o->err)) == 1) {
            add(o, (uint64_t)e.depth << 32 | (uint64_t)e.kind << 8 | (uint64_t)e.decides);
            add(o, e.l1_entry);
            add(o, e.l2_entry);
            add(o, e.l2_bitmap);
            add(o, e.host_offset);
            add(o, e.refcount);
            o->unknown += e.refcount == UINT64_MAX;
        }
    }
}

static void look_at_headers(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    struct qcow2_info info = QCOW2_INFO_INIT;

    (void)subject;
    for (int depth = 0; qcow2_get_info(image, depth, &info, NULL) == 0; depth++) {
        struct qcow2_luks_info luks = QCOW2_LUKS_INFO_INIT;
        struct qcow2_extension extension;
        uint64_t cursor = 0;

        add(o, info.virtual_size);
        add(o, qcow2_max_extents(image) > 0);
        add(o, info.incompatible_features);
        add_text(o, info.source_name);
        add_text(o, info.backing_file);
        add_text(o, info.data_file);
        add_text(o, qcow2_get_feature_name(image, depth, QCOW2_FEATURES_INCOMPATIBLE, 3));
        while ((o->code = qcow2_next_extension(image, depth, &cursor, &extension, &o->err)) == 1) {
            add(o, extension.type);
            add_bytes(o, extension.data, extension.length);
        }
        if (o->code == 0 && info.encryption == QCOW2_ENCRYPTION_LUKS) {
            o->code = qcow2_get_luks_info(image, depth, &luks, &o->err);
            add_text(o, luks.uuid);
            add(o, luks.payload_offset);
            add(o, luks.slots[0].iterations);
        }
        if (o->code < 0) {
            return;
        }
    }
}

static void list_snapshots(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    struct qcow2_snapshot snapshot;
    uint64_t cursor = 0;

    (void)subject;
    while ((o->code = qcow2_next_snapshot(image, &cursor, &snapshot, &o->err)) == 1) {
        add_text(o, snapshot.id);
        add_text(o, snapshot.name);
        add(o, snapshot.disk_size);
        add(o, snapshot.vm_state_size);
    }
}

static void walk_bitmaps(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0;

    (void)subject;
    while ((o->code = qcow2_next_bitmap(image, &cursor, &bitmap, &o->err)) == 1) {
        uint64_t at = 0, offset, length;

        add_text(o, bitmap.name);
        add(o, bitmap.granularity);
        while ((o->code = qcow2_next_dirty(image, &bitmap, &at, UINT64_MAX, &offset, &length,
                                           &o->err)) == 1) {
            add(o, offset);
            add(o, length);
        }
        if (o->code < 0) {
            return;
        }
    }
}

static int hear_finding(void *ctx, int kind, uint64_t host_offset, const char *message)
{
    (void)host_offset;
    add(ctx, (uint64_t)kind);
    add_text(ctx, message);
    return 0;
}

static void check(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;

    (void)subject;
    o->code = qcow2_check(image, NULL, hear_finding, o, &result, &o->err);
    if (o->code == 0) {
        add_bytes(o, &result, sizeof result);
        o->unknown = result.check_errors;
    }
}

static void survey(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    struct qcow2_survey_result result = QCOW2_SURVEY_RESULT_INIT;

    (void)subject;
    o->code = qcow2_survey(image, 0, &result, &o->err);
    for (size_t i = 0; i < sizeof result.anomalies / sizeof result.anomalies[0]; i++) {
        add(o, result.anomalies[i].count);
        add(o, result.anomalies[i].host_offset);
        add_text(o, result.anomalies[i].what);
    }
    add_bytes(o, &result.stored_bytes,
              sizeof result - offsetof(struct qcow2_survey_result, stored_bytes));
}

static void compare(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct qcow2_compare_result result = QCOW2_COMPARE_RESULT_INIT;

    options.threads = subject->threads;
    options.length = subject->limit;
    o->code = qcow2_compare(image, image, &options, &result, &o->err);
    add(o, (uint64_t)(unsigned)o->code);
}

static void copy_to_file(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    ssize_t got;

    options.threads = subject->threads;
    options.length = subject->limit;
    o->code = qcow2_copy_to_fd(image, subject->target_fd, &options, &o->err);
    if (o->code == 0) {
        got = pread(subject->target_fd, subject->buffer, (size_t)subject->limit, 0);
        add(o, (uint64_t)got);
        add_disk(subject, o, subject->buffer, got > 0 ? (size_t)got : 0, 0);
    }
}

struct receiver {
    const struct subject *subject;
    struct outcome *o;
};

static int receive(void *ctx, const void *buf, uint64_t count, uint64_t offset)
{
    static const unsigned char zeros[4096];
    const struct receiver *receiver = ctx;

    while (buf == NULL && count > 0) {
        size_t n = count < sizeof zeros ? (size_t)count : sizeof zeros;

        add_disk(receiver->subject, receiver->o, zeros, n, offset);
        count -= n;
        offset += n;
    }
    if (count > 0) {
        add_disk(receiver->subject, receiver->o, buf, (size_t)count, offset);
    }
    return 0;
}

static void copy_in_order(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct receiver receiver = { subject, o };

    options.threads = subject->threads;
    options.length = subject->limit;
    o->code = qcow2_copy_to_callback(image, receive, &receiver, &options, &o->err);
}

static void open_again(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    struct qcow2_image *opened;

    (void)image;
    o->code = subject_open(subject, &opened, &o->err);
    if (o->code == 0) {
        look_at_headers(subject, opened, o);
        add(o, qcow2_size(opened));
    }
    qcow2_close(opened);
}

/* Headers alone, of all the chain. */
static void open_headers(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    const struct qcow2_options before = subject->options;

    subject->options.flags = QCOW2_OPEN_METADATA_ONLY | QCOW2_OPEN_METADATA_CHAIN;
    subject->options.snapshot = NULL;
    open_again(subject, image, o);
    subject->options = before;
}

/* The first snapshot, by its place: as a disk, where there is one. */
static void open_first_snapshot(struct subject *subject, struct qcow2_image *image,
                                struct outcome *o)
{
    const struct qcow2_options before = subject->options;

    subject->options.flags |= QCOW2_OPEN_SNAPSHOT_INDEX;
    subject->options.snapshot = NULL;
    open_again(subject, image, o);
    subject->options = before;
}

/* With the library's own sources and grants. */
static void open_by_path(struct subject *subject, struct qcow2_image *image, struct outcome *o)
{
    struct qcow2_image *opened;

    (void)image;
    o->code = qcow2_open(subject->path, &subject->options, &opened, &o->err);
    if (o->code == 0) {
        add(o, qcow2_size(opened));
    }
    qcow2_close(opened);
}

const struct operation operations[] = {
    { "open", open_again, false, false, true },
    { "open headers", open_headers, false, false, true },
    { "open first snapshot", open_first_snapshot, false, false, true },
    { "open by path", open_by_path, false, false, true },
    { "read bytes", read_bytes, true, false, false },
    { "read pieces", read_pieces, true, false, false },
    { "read whole", read_whole, true, false, false },
    { "extents", walk_extents, true, false, false },
    { "explain", explain, true, false, false },
    { "headers", look_at_headers, false, false, false },
    { "snapshots", list_snapshots, false, false, false },
    { "bitmaps", walk_bitmaps, false, false, false },
    { "check", check, false, false, false },
    { "survey", survey, false, false, false },
    { "compare", compare, true, true, false },
    { "copy to file", copy_to_file, true, true, false },
    { "copy in order", copy_in_order, true, true, false },
};
const unsigned n_operations = sizeof operations / sizeof operations[0];

void subject_run(struct subject *subject, struct qcow2_image *image,
                 const struct operation *operation, struct outcome *outcome)
{
    *outcome = (struct outcome){ .hash = 1, .err = QCOW2_ERROR_INIT };
    operation->run(subject, image, outcome);
}
