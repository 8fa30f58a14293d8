/* SPDX-License-Identifier: MIT */
/* snapshot.c - entries of the snapshot table: bytes in, facts and places out. No
 * reads, no memory; knows nothing of the table as a whole. */
#include "format/snapshot.h"

#include "base/bytes.h"
#include "base/error.h"

/* An entry, in bytes from its start. Extra data follows, then the id, then the name. */
enum {
    S_L1_OFFSET = 0,
    S_L1_ENTRIES = 8,
    S_ID_LENGTH = 12,
    S_NAME_LENGTH = 14,
    S_DATE_SECONDS = 16,
    S_DATE_NANOSECONDS = 20,
    S_VM_CLOCK = 24,
    S_VM_STATE_SIZE = 32, /* 32 bits; superseded by extra data, if there is enough of that */
    S_EXTRA_LENGTH = 36
};

/* Extra data, in bytes from its start. A field is there if all of it is. */
enum { X_VM_STATE_SIZE = 0, X_DISK_SIZE = 8, X_ICOUNT = 16 };

static bool has_extra(const struct q2_snapshot_entry *entry, uint32_t field)
{
    return entry->extra_bytes >= field + 8;
}

static void decode_extra(const uint8_t *extra, struct q2_snapshot_entry *entry)
{
    entry->icount = UINT64_MAX;
    if (has_extra(entry, X_VM_STATE_SIZE)) {
        entry->vm_state_bytes = q2_load_be64(extra + X_VM_STATE_SIZE);
    }
    if (has_extra(entry, X_DISK_SIZE)) {
        entry->has_disk_size = true;
        entry->disk_bytes = q2_load_be64(extra + X_DISK_SIZE);
    }
    if (has_extra(entry, X_ICOUNT)) {
        entry->icount = q2_load_be64(extra + X_ICOUNT);
    }
}

int q2_snapshot_decode(const uint8_t *bytes, size_t n, uint64_t host_off,
                       struct q2_snapshot_entry *entry_ret, struct qcow2_error *err)
{
    struct q2_snapshot_entry entry = { .entry_bytes = Q2_SNAPSHOT_FIXED_BYTES };

    if (n < Q2_SNAPSHOT_FIXED_BYTES) {
        *entry_ret = entry;
        return Q2_SNAPSHOT_NEED_MORE;
    }
    entry.l1_off = q2_load_be64(bytes + S_L1_OFFSET);
    entry.l1_entries = q2_load_be32(bytes + S_L1_ENTRIES);
    entry.id_bytes = q2_load_be16(bytes + S_ID_LENGTH);
    entry.name_bytes = q2_load_be16(bytes + S_NAME_LENGTH);
    entry.date_seconds = q2_load_be32(bytes + S_DATE_SECONDS);
    entry.date_nanoseconds = q2_load_be32(bytes + S_DATE_NANOSECONDS);
    entry.vm_clock_nanoseconds = q2_load_be64(bytes + S_VM_CLOCK);
    entry.vm_state_bytes = q2_load_be32(bytes + S_VM_STATE_SIZE);
    entry.extra_bytes = q2_load_be32(bytes + S_EXTRA_LENGTH);
    /* Before the sum below, which could wrap without. */
    if (entry.extra_bytes > Q2_MAX_SNAPSHOT_EXTRA_BYTES) {
        return q2_error_set_at(err, QCOW2_E_LIMIT, host_off,
                               "snapshot table entry at 0x%llx has %lu bytes of extra data, more "
                               "than %d",
                               (unsigned long long)host_off, (unsigned long)entry.extra_bytes,
                               Q2_MAX_SNAPSHOT_EXTRA_BYTES);
    }
    entry.id_off = Q2_SNAPSHOT_FIXED_BYTES + entry.extra_bytes;
    entry.name_off = entry.id_off + entry.id_bytes;
    entry.entry_bytes = entry.name_off + entry.name_bytes;
    if (n < entry.entry_bytes) {
        *entry_ret = entry;
        return Q2_SNAPSHOT_NEED_MORE;
    }
    decode_extra(bytes + Q2_SNAPSHOT_FIXED_BYTES, &entry);
    *entry_ret = entry;
    return 0;
}
