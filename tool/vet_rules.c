/* SPDX-License-Identifier: MIT */
/* vet_rules.c - the rules by which an image is let in: their codes, how grave each
 * is, and what the user made of that. Knows nothing of how they are applied. */
#include "vet.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Defaults are for a service that takes images from strangers: what could reach other files, hurt a reader,
 * or is in no image that QEMU writes is denied; what is unusual, or says more than the disk, is warned of. */
const struct vet_rule_text vet_rules[VET_RULES] = {
    [VET_NOT_QCOW2] = { "not-qcow2", VET_DENY, "the file is of another kind" },
    [VET_DISGUISED] = { "disguised", VET_DENY, "the file may be taken for one of another format" },
    [VET_UNKNOWN_FEATURE] = { "unknown-feature", VET_DENY,
                              "an incompatible feature bit is set that has no meaning" },
    [VET_UNSUPPORTED] = { "unsupported", VET_DENY, "the image is newer than this program" },
    [VET_BROKEN_HEADER] = { "broken-header", VET_DENY, "a field of the header breaks a rule" },
    [VET_TRUNCATED] = { "truncated", VET_DENY, "the file ends before what it must have" },
    [VET_OVER_LIMIT] = { "over-limit", VET_DENY, "a table is larger than the format allows" },
    [VET_UNCHECKED] = { "unchecked", VET_DENY, "the tables could not be looked at" },
    [VET_BACKING_FILE] = { "backing-file", VET_DENY, "the image refers to a backing file" },
    [VET_BACKING_FORMAT] = { "backing-format", VET_DENY,
                             "the format of the backing file is not stated, so readers guess" },
    [VET_DATA_FILE] = { "data-file", VET_DENY, "the image refers to an external data file" },
    [VET_ENCRYPTION] = { "encryption", VET_DENY, "the disk is encrypted" },
    [VET_KEY_COST] = { "key-cost", VET_DENY,
                       "trying a passphrase takes more than 167772160 iterations" },
    [VET_BROKEN_KEYS] = { "broken-keys", VET_DENY, "the LUKS header is broken" },
    [VET_VERSION_1] = { "version-1", VET_DENY, "a qcow image of version 1, long out of use" },
    [VET_UNKNOWN_COMPATIBLE] = { "unknown-compatible", VET_WARN,
                                 "a compatible or autoclear feature bit is set that has no "
                                 "meaning" },
    [VET_UNKNOWN_EXTENSION] = { "unknown-extension", VET_WARN,
                                "a header extension is of an unknown type" },
    [VET_STRAY_BYTES] = { "stray-bytes", VET_WARN,
                          "the header or a table has bytes that have no meaning" },
    [VET_DIRTY] = { "dirty", VET_WARN, "the image is in use, or was not closed" },
    [VET_CORRUPT] = { "corrupt", VET_DENY, "the image is marked as corrupt" },
    [VET_VIRTUAL_SIZE] = { "virtual-size", VET_DENY,
                           "the disk, or one of a snapshot, is larger than --max-virtual-size" },
    [VET_RATIO] = { "ratio", VET_NOTE, "the disk is more than --max-ratio times the file's size" },
    [VET_LARGE_L1] = { "large-l1", VET_WARN, "the L1 table is far larger than the disk needs" },
    [VET_SNAPSHOTS] = { "snapshots", VET_WARN, "the image has internal snapshots: other disks" },
    [VET_VM_STATE] = { "vm-state", VET_DENY, "a snapshot holds the state of a machine" },
    [VET_BROKEN_SNAPSHOTS] = { "broken-snapshots", VET_DENY, "the snapshot table is broken" },
    [VET_BITMAPS] = { "bitmaps", VET_NOTE, "the image has dirty bitmaps" },
    [VET_BROKEN_BITMAPS] = { "broken-bitmaps", VET_DENY, "the dirty bitmaps are broken" },
    [VET_BITMAP_COST] = { "bitmap-cost", VET_DENY,
                          "all bitmaps take over --max-bitmap-memory, or are over 4096" },
    [VET_OVERLAP] = { "overlap", VET_DENY,
                      "a table lies where another table or data does, or is named twice" },
    [VET_OUTSIDE] = { "outside", VET_DENY, "a table or data lies outside the file" },
    [VET_UNALIGNED] = { "unaligned", VET_DENY, "a table or data is not aligned to a cluster" },
    [VET_BROKEN_ENTRY] = { "broken-entry", VET_DENY, "an L2 entry contradicts itself" },
    [VET_RESERVED_BITS] = { "reserved-bits", VET_WARN, "a table entry has reserved bits set" },
    [VET_SHARED_DATA] = { "shared-data", VET_DENY,
                          "the disk names the same stored or compressed data twice" },
    [VET_EXPANSION] = { "expansion", VET_DENY,
                        "data of the disk or a snapshot is over --max-expansion times the file" },
    [VET_REFCOUNTS] = { "refcounts", VET_DENY, "refcounts are too low, or copied flags are wrong" },
    [VET_LEAKS] = { "leaks", VET_NOTE, "refcounts keep clusters that nothing refers to" },
    [VET_UNUSED] = { "unused", VET_NOTE, "clusters between used ones are named by no table" },
    [VET_LEFTOVER] = { "leftover", VET_NOTE,
                       "the file goes on for a cluster or more behind what its tables name" },
    [VET_SLACK] = { "slack", VET_IGNORE,
                    "tables have bytes after their end, as QEMU leaves them (--strict: deny)" },
};

const char *vet_severity_name(enum vet_severity severity)
{
    static const char *const names[VET_SEVERITIES] = { "ignore", "note", "warn", "deny" };

    return names[severity];
}

void vet_policy_begin(struct vet_policy *policy)
{
    *policy = (struct vet_policy){
        .max_virtual_bytes = UINT64_C(64) << 40,
        .max_ratio = 1000000,
        .max_expansion = 100,
        .max_memory_bytes = UINT64_C(256) << 20,
        .max_bitmap_bytes = UINT64_C(256) << 20,
    };
    for (int rule = 0; rule < VET_RULES; rule++) {
        policy->severities[rule] = vet_rules[rule].severity;
    }
}

void vet_policy_make_strict(struct vet_policy *policy)
{
    policy->strict = true;
    if (!policy->chosen[VET_SLACK]) {
        policy->severities[VET_SLACK] = VET_WARN;
    }
}

static bool is_word(const char *word, const char *text, size_t length)
{
    return strlen(word) == length && strncmp(word, text, length) == 0;
}

const char *vet_policy_set(struct vet_policy *policy, const char *list, enum vet_severity severity,
                           int *length_ret)
{
    for (;;) {
        size_t length = strcspn(list, ",");
        bool known = false;

        for (int rule = 0; rule < VET_RULES; rule++) {
            if (is_word("all", list, length) || is_word(vet_rules[rule].code, list, length)) {
                policy->severities[rule] = severity;
                policy->chosen[rule] = true;
                known = true;
            }
        }
        if (!known) {
            *length_ret = (int)length;
            return list;
        }
        if (list[length] == '\0') {
            return NULL;
        }
        list += length + 1;
    }
}

void vet_find(struct vet *vet, enum vet_rule rule, uint64_t offset, const char *format, ...)
{
    struct vet_finding *finding = &vet->findings[vet->count];
    va_list args;

    if (vet->policy->severities[rule] == VET_IGNORE) {
        return;
    }
    for (int i = 0; i < vet->count; i++) {
        if (vet->findings[i].rule == rule) {
            return;
        }
    }
    finding->rule = rule;
    finding->offset = offset;
    va_start(args, format);
    vsnprintf(finding->message, sizeof finding->message, format, args);
    va_end(args);
    vet->count++;
}

bool vet_exceeds(uint64_t a, uint64_t b, uint32_t times)
{
    /* Their product may not fit. */
    return a / times > b || (a / times == b && a % times > 0);
}

bool vet_denies(const struct vet_policy *policy, enum vet_severity severity)
{
    return severity == VET_DENY || (severity == VET_WARN && policy->strict);
}

bool vet_verdict(const struct vet *vet)
{
    for (int i = 0; i < vet->count; i++) {
        if (vet_denies(vet->policy, vet->policy->severities[vet->findings[i].rule])) {
            return false;
        }
    }
    return true;
}
