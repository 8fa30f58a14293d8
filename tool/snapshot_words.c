/* SPDX-License-Identifier: MIT */
/* snapshot_words.c - a snapshot as qemu-img's -l takes it.
 * Knows these words and how the library looks for a snapshot; must not know what is read of it. */
#include "snapshot_words.h"

#include <stdlib.h>
#include <string.h>

#include "report.h"

static const char prefix[] = "snapshot.";
static const char id_key[] = "snapshot.id=";
static const char name_key[] = "snapshot.name=";

/* Takes the value up to the next comma off *text; two commas are one that belongs to it. NULL without
 * memory. */
static char *take_value(const char **text)
{
    const char *from = *text;
    char *value = malloc(strlen(from) + 1);
    size_t count = 0;

    if (value == NULL) {
        return NULL;
    }
    for (; *from != '\0' && (*from != ',' || from[1] == ','); from++) {
        from += *from == ',' ? 1 : 0;
        value[count++] = *from;
    }
    value[count] = '\0';
    *text = *from == ',' ? from + 1 : from;
    return value;
}

static bool take_pair(struct snapshot_words *words, const struct args *args, const char **text)
{
    bool is_id = strncmp(*text, id_key, sizeof id_key - 1) == 0;
    char **place = is_id ? &words->id : &words->name;

    if (!is_id && strncmp(*text, name_key, sizeof name_key - 1) != 0) {
        args_wrong(args,
                   "'%s' for '--%s' is none of ID, NAME, snapshot.id=ID, snapshot.name=NAME and "
                   "both of these with a comma between",
                   args->value, args->option->name);
        return false;
    }
    *text += (is_id ? sizeof id_key : sizeof name_key) - 1;
    free(*place);
    *place = take_value(text);
    if (*place == NULL) {
        report(args->command->name, "out of memory");
    }
    return *place != NULL;
}

bool snapshot_words_read(struct snapshot_words *words, struct args *args)
{
    const char *text = args->value;

    snapshot_words_free(words);
    if (strncmp(text, prefix, sizeof prefix - 1) != 0) {
        args->common.snapshot = text;
        return true;
    }
    while (*text != '\0') {
        if (!take_pair(words, args, &text)) {
            return false;
        }
    }
    args->common.snapshot = words->id != NULL ? words->id : words->name;
    return true;
}

/* The snapshots that the words could mean: the first of that id, the first of that name. */
struct candidates {
    struct qcow2_snapshot by_id;
    struct qcow2_snapshot by_name;
    bool has_id;
    bool has_name;
};

static int find(const char *id, const char *name, const struct qcow2_image *image,
                struct candidates *found, struct qcow2_error *err)
{
    struct qcow2_snapshot snapshot;
    uint64_t cursor = 0;
    int r;

    found->has_id = false;
    found->has_name = false;
    while ((r = qcow2_next_snapshot(image, &cursor, &snapshot, err)) == 1) {
        if (!found->has_id && strcmp(snapshot.id, id) == 0) {
            found->by_id = snapshot;
            found->has_id = true;
        }
        if (!found->has_name && name != NULL && strcmp(snapshot.name, name) == 0) {
            found->by_name = snapshot;
            found->has_name = true;
        }
    }
    return r;
}

static bool has_this_id(const struct snapshot_words *words, const struct candidates *found,
                        const char *path)
{
    if (!found->has_id || (words->name != NULL && strcmp(found->by_id.name, words->name) != 0)) {
        report(path, "has no snapshot with the id '%s'%s%s%s; 'qcow2 info' lists the snapshots",
               words->id, words->name != NULL ? " and the name '" : "",
               words->name != NULL ? words->name : "", words->name != NULL ? "'" : "");
        return false;
    }
    return true;
}

/* What was opened is the first of that id if there is one. */
static bool has_this_name(const struct snapshot_words *words, const struct candidates *found,
                          const char *path)
{
    if (!found->has_name) {
        report(path, "has no snapshot with the name '%s'; 'qcow2 info' lists the snapshots",
               words->name);
        return false;
    }
    if (found->has_id && strcmp(found->by_id.id, found->by_name.id) != 0) {
        report(path, "'%s' is also the id of another snapshot; say snapshot.id=%s", words->name,
               found->by_name.id);
        return false;
    }
    return true;
}

bool snapshot_words_hold(const struct snapshot_words *words, const char *asked,
                         const struct qcow2_image *image, const char *path)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct candidates found;

    if (asked == NULL || (asked != words->id && asked != words->name)) {
        return true;
    }
    if (find(asked, words->name, image, &found, &err) < 0) {
        report_library(path, &err);
        return false;
    }
    return words->id != NULL ? has_this_id(words, &found, path)
                             : has_this_name(words, &found, path);
}

void snapshot_words_free(struct snapshot_words *words)
{
    free(words->id);
    free(words->name);
    words->id = NULL;
    words->name = NULL;
}
