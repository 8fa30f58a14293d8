/* SPDX-License-Identifier: MIT */
/* target_snapshot.c - the table of internal snapshots, entry by entry. The input is the table. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "format/snapshot.h"

static void require_entry(const struct q2_snapshot_entry *e)
{
    FUZZ_REQUIRE(e->extra_bytes <= Q2_MAX_SNAPSHOT_EXTRA_BYTES, "extra data has a limit");
    FUZZ_REQUIRE(e->entry_bytes <= Q2_MAX_SNAPSHOT_ENTRY_BYTES, "entries have a limit");
    FUZZ_REQUIRE(e->id_off == Q2_SNAPSHOT_FIXED_BYTES + e->extra_bytes &&
                     e->name_off == e->id_off + e->id_bytes &&
                     e->entry_bytes == e->name_off + e->name_bytes,
                 "extra data, id and name follow each other");
    FUZZ_REQUIRE(e->has_disk_size == (e->extra_bytes >= 16), "the disk size is in the extra data");
    FUZZ_REQUIRE(e->has_disk_size || e->disk_bytes == 0, "a size that is not there is 0");
    FUZZ_REQUIRE(e->extra_bytes >= 24 || e->icount == UINT64_MAX, "icount is in the extra data");
    FUZZ_REQUIRE(e->extra_bytes >= 8 || e->vm_state_bytes <= UINT32_MAX,
                 "a wide VM state size is in the extra data");
}

/* Decodes as a reader does that takes no byte more than it was told to. */
static int decode_stingily(const uint8_t *bytes, size_t n, struct q2_snapshot_entry *entry_ret)
{
    size_t have = n < Q2_SNAPSHOT_FIXED_BYTES ? n : Q2_SNAPSHOT_FIXED_BYTES;
    int r = Q2_SNAPSHOT_NEED_MORE;

    for (int round = 0; r == Q2_SNAPSHOT_NEED_MORE; round++) {
        struct qcow2_error err = fuzz_error();
        uint8_t *exact = fuzz_exact_copy(bytes, have);

        FUZZ_REQUIRE(round <= 2, "at most twice for one entry");
        r = q2_snapshot_decode(exact, have, 512, entry_ret, &err);
        free(exact);
        if (r == Q2_SNAPSHOT_NEED_MORE) {
            FUZZ_REQUIRE(entry_ret->entry_bytes > have, "more is more");
            if (entry_ret->entry_bytes > n) {
                return r;
            }
            have = entry_ret->entry_bytes;
        } else {
            fuzz_require_result(r, &err);
        }
    }
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t off = 0, next;

    for (int i = 0; i < 16 && off <= size; i++) {
        struct q2_snapshot_entry entry, again;
        struct qcow2_error err = fuzz_error();
        int r = q2_snapshot_decode(data + off, (size_t)(size - off), off, &entry, &err);

        FUZZ_REQUIRE(decode_stingily(data + off, (size_t)(size - off), &again) == r,
                     "bytes behind an entry do not matter");
        if (r == Q2_SNAPSHOT_NEED_MORE) {
            FUZZ_REQUIRE(entry.entry_bytes > size - off,
                         "more is asked for only where it is needed");
            return 0;
        }
        fuzz_require_result(r, &err);
        if (r < 0) {
            return 0;
        }
        require_entry(&entry);
        FUZZ_REQUIRE(entry.name_off == again.name_off && entry.disk_bytes == again.disk_bytes &&
                         entry.icount == again.icount && entry.l1_off == again.l1_off &&
                         entry.vm_state_bytes == again.vm_state_bytes,
                     "the same bytes say the same");
        next = q2_snapshot_next_off(off, entry.entry_bytes);
        FUZZ_REQUIRE(next >= off + entry.entry_bytes && next % 8 == 0 && next - off < 200000,
                     "the next entry is behind this one");
        off = next;
    }
    return 0;
}
