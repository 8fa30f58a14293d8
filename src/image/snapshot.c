/* SPDX-License-Identifier: MIT */
/* snapshot.c - internal snapshots: listing them, and reading the image as one.
 *
 * The table is read when somebody asks, not at open: that it is broken must not
 * cost the disk. */
#include "image/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "format/layout.h"
#include "format/snapshot.h"

/* What is read of an entry at first: all of it, unless its names are very long. */
enum { FIRST_READ_BYTES = 1024 };

/* An entry with its bytes, which hold its names: room for the longest there can be. */
struct loaded {
    struct q2_snapshot_entry entry;
    uint8_t bytes[Q2_MAX_SNAPSHOT_ENTRY_BYTES];
};

/* The first n bytes of an entry, zeros where the file has ended inside its last cluster. */
static int load_bytes(const struct q2_layer *layer, uint64_t host_off, size_t n, uint8_t *bytes,
                      struct qcow2_error *err)
{
    size_t there = (size_t)q2_window_existing(&layer->file, host_off, n);
    /* An entry that begins behind the end is not there; what it needs is checked when it is known. */
    int r = q2_window_check(&layer->file, host_off, 1, "snapshot table entry", err);

    memset(bytes + there, 0, n - there);
    if (r < 0 || there == 0) {
        return r;
    }
    return q2_window_read_existing(&layer->file, bytes, there, host_off, "snapshot table entry",
                                   err);
}

/* Loads the entry at rel_off of the table. */
static int load_entry(const struct q2_layer *layer, uint64_t rel_off, struct loaded *loaded,
                      struct qcow2_error *err)
{
    uint64_t host_off = layer->header.snapshots_off + rel_off;
    size_t n = FIRST_READ_BYTES;
    int r = Q2_SNAPSHOT_NEED_MORE;

    if (rel_off > Q2_MAX_SNAPSHOT_TABLE_BYTES) {
        return q2_error_set_at(err, QCOW2_E_LIMIT, host_off,
                               "the snapshot table is longer than 64 MiB");
    }
    while (r == Q2_SNAPSHOT_NEED_MORE) {
        if ((r = load_bytes(layer, host_off, n, loaded->bytes, err)) < 0) {
            return r;
        }
        r = q2_snapshot_decode(loaded->bytes, n, host_off, &loaded->entry, err);
        if (r == Q2_SNAPSHOT_NEED_MORE) {
            n = (size_t)q2_min_u64(loaded->entry.entry_bytes, sizeof loaded->bytes);
        }
    }
    if (r == 0) {
        r = q2_window_check(&layer->file, host_off, loaded->entry.entry_bytes,
                            "snapshot table entry", err);
    }
    return r;
}

static int check_count(const struct q2_layer *layer, struct qcow2_error *err)
{
    if (layer->header.snapshot_count > Q2_MAX_SNAPSHOTS) {
        return q2_error_set_at(err, QCOW2_E_LIMIT, Q2_H_SNAPSHOT_COUNT,
                               "the image says that it has %lu snapshots, more than %lu",
                               (unsigned long)layer->header.snapshot_count,
                               (unsigned long)Q2_MAX_SNAPSHOTS);
    }
    return 0;
}

static void put_text(char *to, size_t room, const uint8_t *text, size_t n)
{
    size_t length = strnlen((const char *)text, n < room - 1 ? n : room - 1);

    memcpy(to, text, length);
    memset(to + length, 0, room - length);
}

static uint64_t disk_bytes(const struct q2_layer *layer, const struct q2_snapshot_entry *entry)
{
    return entry->has_disk_size ? entry->disk_bytes : layer->header.size_bytes;
}

/* The cursor: how many entries are behind, and how many bytes of the table. */
enum { CURSOR_BYTES_BITS = 32 };

int qcow2_next_snapshot(const struct qcow2_image *image, uint64_t *cursor,
                        struct qcow2_snapshot *snapshot_ret, struct qcow2_error *err)
{
    const struct q2_layer *layer;
    const struct q2_snapshot_entry *entry;
    struct loaded *loaded;
    uint64_t index, rel_off;
    int r;

    if (image == NULL || cursor == NULL || snapshot_ret == NULL) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "the image, the cursor or the snapshot is NULL");
    }
    layer = &image->layers[0];
    index = *cursor >> CURSOR_BYTES_BITS;
    rel_off = *cursor & UINT32_MAX;
    if (layer->format != QCOW2_FORMAT_QCOW2 || index >= layer->header.snapshot_count) {
        return 0;
    }
    if ((r = check_count(layer, err)) < 0) {
        return r;
    }
    loaded = calloc(1, sizeof *loaded);
    if (loaded == NULL) {
        return q2_error_nomem(err);
    }
    entry = &loaded->entry;
    if ((r = load_entry(layer, rel_off, loaded, err)) == 0) {
        *snapshot_ret = (struct qcow2_snapshot){
            .disk_size = disk_bytes(layer, entry) & ~UINT64_C(511),
            .vm_state_size = entry->vm_state_bytes,
            .date_seconds = entry->date_seconds,
            .date_nanoseconds = entry->date_nanoseconds,
            .vm_clock_nanoseconds = entry->vm_clock_nanoseconds,
            .icount = entry->icount,
        };
        put_text(snapshot_ret->id, sizeof snapshot_ret->id, loaded->bytes + entry->id_off,
                 entry->id_bytes);
        put_text(snapshot_ret->name, sizeof snapshot_ret->name, loaded->bytes + entry->name_off,
                 entry->name_bytes);
        *cursor =
            (index + 1) << CURSOR_BYTES_BITS | q2_snapshot_next_off(rel_off, entry->entry_bytes);
        r = 1;
    }
    free(loaded);
    return r;
}

/* Finds the snapshot at a place of the table. 1, 0 for none, or a code. */
static int find_at(const struct q2_layer *layer, uint32_t index, struct q2_snapshot_entry *found,
                   struct qcow2_error *err)
{
    struct loaded *loaded;
    uint64_t rel_off = 0;
    int r = check_count(layer, err);

    if (r < 0 || index >= layer->header.snapshot_count) {
        return r;
    }
    loaded = calloc(1, sizeof *loaded);
    if (loaded == NULL) {
        return q2_error_nomem(err);
    }
    for (uint32_t i = 0; r == 0 && i <= index; i++) {
        r = load_entry(layer, rel_off, loaded, err);
        rel_off = q2_snapshot_next_off(rel_off, loaded->entry.entry_bytes);
    }
    *found = loaded->entry;
    free(loaded);
    return r < 0 ? r : 1;
}

static bool is_called(const uint8_t *text, size_t n, const char *wanted)
{
    size_t length = strnlen((const char *)text, n);

    return length == strlen(wanted) && memcmp(text, wanted, length) == 0;
}

/* Finds the snapshot: the first whose id it is, else the first whose name it is, as QEMU does. 1, 0 for
 * none, or a code. */
static int find(const struct q2_layer *layer, const char *wanted, struct q2_snapshot_entry *found,
                struct qcow2_error *err)
{
    struct loaded *loaded = calloc(1, sizeof *loaded);
    const struct q2_snapshot_entry *entry;
    bool named = false;
    uint64_t rel_off = 0;
    int r = check_count(layer, err);

    if (loaded == NULL) {
        return q2_error_nomem(err);
    }
    entry = &loaded->entry;
    for (uint32_t i = 0; r == 0 && i < layer->header.snapshot_count; i++) {
        if ((r = load_entry(layer, rel_off, loaded, err)) < 0) {
            break;
        }
        if (is_called(loaded->bytes + entry->id_off, entry->id_bytes, wanted)) {
            *found = *entry;
            r = 1;
        } else if (!named &&
                   is_called(loaded->bytes + entry->name_off, entry->name_bytes, wanted)) {
            *found = *entry;
            named = true;
        }
        rel_off = q2_snapshot_next_off(rel_off, entry->entry_bytes);
    }
    free(loaded);
    return r == 0 && named ? 1 : r;
}

/* Finds the snapshot that the options name. 0, or a code. */
static int find_asked(const struct q2_layer *layer, const struct qcow2_options *options,
                      struct q2_snapshot_entry *found, struct qcow2_error *err)
{
    char name[64];
    int r;

    if ((options->flags & QCOW2_OPEN_SNAPSHOT_INDEX) != 0) {
        r = find_at(layer, options->snapshot_index, found, err);
        if (r == 0) {
            return q2_error_set(err, QCOW2_E_NOT_FOUND, "the image has no snapshot with index %lu",
                                (unsigned long)options->snapshot_index);
        }
    } else {
        r = find(layer, options->snapshot, found, err);
        if (r == 0) {
            q2_escape(name, sizeof name, options->snapshot, SIZE_MAX);
            return q2_error_set(err, QCOW2_E_NOT_FOUND, "the image has no snapshot \"%s\"", name);
        }
    }
    return r < 0 ? r : 0;
}

/* Whether a table of so many entries can be read; the header's own has been checked before. */
static int check_l1(const struct q2_layer *layer, const struct q2_snapshot_entry *entry,
                    struct qcow2_error *err)
{
    if ((entry->l1_off & ((UINT64_C(1) << layer->geometry.cluster_bits) - 1)) != 0) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, entry->l1_off,
                               "the snapshot's L1 table at 0x%llx is not aligned to a cluster",
                               (unsigned long long)entry->l1_off);
    }
    if (entry->l1_entries > Q2_MAX_L1_ENTRIES) {
        return q2_error_set_at(err, QCOW2_E_LIMIT, entry->l1_off,
                               "the snapshot's L1 table of %lu entries is larger than 32 MiB",
                               (unsigned long)entry->l1_entries);
    }
    return 0;
}

int q2_layer_select_snapshot(struct q2_layer *layer, const struct qcow2_options *options,
                             struct q2_open_budget *budget, struct qcow2_error *err)
{
    const struct q2_geometry *g = &layer->geometry;
    struct q2_snapshot_entry entry = { .entry_bytes = 0 };
    uint64_t disk;
    int r;

    if (layer->format != QCOW2_FORMAT_QCOW2 || g->data_file) {
        return q2_error_set(err, QCOW2_E_NOT_FOUND, "the image has no internal snapshots: %s",
                            g->data_file ? "its data is in an external file"
                                         : "only qcow2 has them");
    }
    if ((r = find_asked(layer, options, &entry, err)) < 0 ||
        (r = check_l1(layer, &entry, err)) < 0) {
        return r;
    }
    disk = disk_bytes(layer, &entry);
    if (disk > INT64_MAX || entry.vm_state_bytes > INT64_MAX - disk) {
        return q2_error_set(err, QCOW2_E_CORRUPT,
                            "the snapshot's sizes are beyond the largest file offset");
    }
    layer->size_bytes = disk & ~UINT64_C(511);
    if ((options->flags & QCOW2_OPEN_VM_STATE) != 0) {
        /* The state lies behind the disk, from the first L1 entry on that the disk does not need. */
        layer->guest_base = q2_round_up(disk, g->cluster_bits + g->l2_bits);
        layer->size_bytes = entry.vm_state_bytes;
        if (layer->guest_base > INT64_MAX - layer->size_bytes) {
            return q2_error_set(err, QCOW2_E_CORRUPT,
                                "the VM state lies beyond the largest file offset");
        }
    }
    return q2_layer_load_l1(layer, entry.l1_off, entry.l1_entries, budget, err);
}
