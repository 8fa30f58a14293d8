/* SPDX-License-Identifier: MIT */
/* vet.h - what the parts of qcow2 vet share.
 *
 *   cmd_vet.c      the command line, the order of things, the exit code
 *   vet_rules.c    the table of rules, and which severity each has now
 *   vet_open.c     opening the image, and what it means that it does not open
 *   vet_disguise.c what a raw disk may be taken for
 *   vet_second.c   what a qcow2 file may be taken for besides, by bytes at fixed places
 *   vet_records.c  the same, by records
 *   vet_header.c   rules about what the headers say
 *   vet_stray.c    bytes of the first cluster that no header accounts for
 *   vet_tables.c   rules about what the tables say
 *   vet_print.c    findings, verdict and bounds, for people and for programs */
#ifndef TOOL_VET_H
#define TOOL_VET_H

#include <qcow2.h>
#include <stdbool.h>
#include <stdint.h>

enum vet_severity { VET_IGNORE, VET_NOTE, VET_WARN, VET_DENY, VET_SEVERITIES };

/* In the order in which they are listed. */
enum vet_rule {
    /* What keeps it from being opened, or read for sure. */
    VET_NOT_QCOW2,
    VET_DISGUISED,
    VET_UNKNOWN_FEATURE,
    VET_UNSUPPORTED,
    VET_BROKEN_HEADER,
    VET_TRUNCATED,
    VET_OVER_LIMIT,
    VET_UNCHECKED,
    /* Headers. */
    VET_BACKING_FILE,
    VET_BACKING_FORMAT,
    VET_DATA_FILE,
    VET_ENCRYPTION,
    VET_KEY_COST,
    VET_BROKEN_KEYS,
    VET_VERSION_1,
    VET_UNKNOWN_COMPATIBLE,
    VET_UNKNOWN_EXTENSION,
    VET_STRAY_BYTES,
    VET_DIRTY,
    VET_CORRUPT,
    VET_VIRTUAL_SIZE,
    VET_RATIO,
    /* Tables. */
    VET_LARGE_L1,
    VET_SNAPSHOTS,
    VET_VM_STATE,
    VET_BROKEN_SNAPSHOTS,
    VET_BITMAPS,
    VET_BROKEN_BITMAPS,
    VET_BITMAP_COST,
    VET_OVERLAP,
    VET_OUTSIDE,
    VET_UNALIGNED,
    VET_BROKEN_ENTRY,
    VET_RESERVED_BITS,
    VET_SHARED_DATA,
    VET_EXPANSION,
    VET_REFCOUNTS,
    VET_LEAKS,
    VET_UNUSED,
    VET_LEFTOVER,
    VET_SLACK,
    VET_RULES
};

struct vet_rule_text {
    const char *code; /* stable: programs depend on it */
    enum vet_severity severity;
    const char *text; /* what the rule looks for, one line */
};

/* What to make of what is found. */
struct vet_policy {
    enum vet_severity severities[VET_RULES];
    bool chosen[VET_RULES]; /* the severity is the user's */
    bool strict;            /* warnings deny too */
    uint64_t max_virtual_bytes;
    uint32_t max_ratio;
    uint32_t max_expansion;
    uint64_t max_memory_bytes;
    uint64_t max_bitmap_bytes;
};

/* Each rule is found at most once; the message counts. */
struct vet_finding {
    enum vet_rule rule;
    uint64_t offset;    /* in the file, or UINT64_MAX */
    char message[1536]; /* may hold text from the image: to be escaped when printed */
};

struct vet {
    const char *path;
    const struct vet_policy *policy;
    int fd;                    /* of the file, and the image's own while that is open */
    struct qcow2_image *image; /* for metadata only; NULL: it does not open */
    struct qcow2_info info;    /* of it */
    bool surveyed;
    struct qcow2_survey_result survey; /* if so */
    struct vet_finding findings[VET_RULES];
    int count;
    struct qcow2_error failure; /* why the image could not be looked at; code 0: it could */
};

/* ---- vet_rules.c ---- */

extern const struct vet_rule_text vet_rules[VET_RULES];

/* "deny" and so on. */
const char *vet_severity_name(enum vet_severity severity);

void vet_policy_begin(struct vet_policy *policy);

/* Gives the rules of `list`, codes or "all" with commas between, a severity. NULL, or the word that is none,
 * in `list`, with its length. */
const char *vet_policy_set(struct vet_policy *policy, const char *list, enum vet_severity severity,
                           int *length_ret);

/* Warnings deny too, and so does what is ignored for the sake of images that QEMU has changed. */
void vet_policy_make_strict(struct vet_policy *policy);

/* Notes that the rule applies, unless it is to be ignored or has been noted before. */
void vet_find(struct vet *vet, enum vet_rule rule, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Is a more than `times` times b? */
bool vet_exceeds(uint64_t a, uint64_t b, uint32_t times);

/* Does a finding of this severity say no? */
bool vet_denies(const struct vet_policy *policy, enum vet_severity severity);
bool vet_verdict(const struct vet *vet);

/* ---- vet_open.c ---- */

/* Opens the image out of its file, which it takes over, or finds why it does not open. False: it could not be
 * looked at, and `failure` says why. */
bool vet_open(struct vet *vet, const struct qcow2_source *source, int format);

/* The file as a raw disk, to look at its bytes. 0 or a code. */
int vet_open_bytes(int fd, struct qcow2_image **bytes_ret, struct qcow2_error *err);

/* ---- vet_disguise.c ---- */

/* May the raw disk in the file be taken for an image of another format than qcow? False: it could not be
 * read, and `failure` says why. */
bool vet_disguise(struct vet *vet);

/* ---- vet_second.c ---- */

/* The same for an image that has been opened, and for programs that look at other places than its first bytes. */
bool vet_second(struct vet *vet);

/* ---- vet_header.c, vet_stray.c, vet_tables.c ---- */

/* False: the file could not be read; vet->failure says why. */
bool vet_header(struct vet *vet);
bool vet_stray(struct vet *vet);
bool vet_tables(struct vet *vet);

/* ---- vet_print.c ---- */

void vet_print_human(const struct vet *vet, bool quiet);
bool vet_print_json(const struct vet *vet);
void vet_print_rules_human(const struct vet_policy *policy);
bool vet_print_rules_json(const struct vet_policy *policy);

#endif
