/* SPDX-License-Identifier: MIT */
/* survey_bitmaps.c - the bitmaps extensions of the header, the bitmap directory and the bitmap tables:
 * which parts of the file they take, and whether QEMU accepts them. Does not read bits. */
#include "audit/survey.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "format/bitmap.h"
#include "format/extension.h"
#include "format/header.h"
#include "format/layout.h"

static const char what_directory[] = "bitmap directory";
static const char what_table[] = "bitmap table";

enum { EXTENSION_BYTES = 24 };

/* The names of the bitmaps, each as a hash of 64 bits. */
struct names {
    uint64_t *hashes;
    size_t n, room;
};

/* FNV-1a. Two names of one hash count as one name: the image is then denied, and nothing worse happens. */
static uint64_t hash_of(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (; *name != '\0'; name++) {
        hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static int add_name(struct q2_survey *survey, struct names *names, const char *name)
{
    if (names->n == names->room) {
        size_t room = names->room != 0 ? names->room * 2 : 64; /* at most 65536 */
        uint64_t *hashes;
        int r;

        if ((r = q2_survey_memory(survey, (room - names->room) * 2 * sizeof *hashes)) < 0) {
            return r;
        }
        if ((hashes = realloc(names->hashes, room * sizeof *hashes)) == NULL) {
            return q2_error_nomem(survey->err);
        }
        names->hashes = hashes;
        names->room = room;
    }
    names->hashes[names->n++] = hash_of(name);
    return 0;
}

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

/* QEMU refuses an image with two bitmaps of one name, and ends a name at its first NUL. */
static void find_equal_names(struct q2_survey *survey, struct names *names)
{
    if (names->n > 1) {
        qsort(names->hashes, names->n, sizeof *names->hashes, by_value);
    }
    for (size_t i = 1; i < names->n; i++) {
        if (names->hashes[i - 1] == names->hashes[i]) {
            q2_survey_note(survey, QCOW2_ANOMALY_BITMAPS, survey->layer->bitmaps.host_off,
                           "bitmap directory with two bitmaps of one name");
        }
    }
}

/* Whether QEMU opens an image with this extension. It looks at every bitmaps extension, not only at the last,
 * and at the length whether or not the autoclear bit is set. */
static bool is_accepted(const struct q2_layer *layer, const struct q2_extension *ext)
{
    const uint8_t *data = layer->head + ext->data_off;
    uint32_t entries;

    if (ext->length_bytes != EXTENSION_BYTES) {
        return false;
    }
    if ((layer->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS) == 0) {
        return true;
    }
    entries = q2_load_be32(data);
    return q2_load_be32(data + 4) == 0 && entries > 0 && entries <= Q2_MAX_BITMAPS &&
           q2_load_be64(data + 8) <= Q2_MAX_BITMAP_DIRECTORY_BYTES &&
           (q2_load_be64(data + 16) & ((UINT64_C(1) << layer->header.cluster_bits) - 1)) == 0;
}

static void survey_extensions(struct q2_survey *survey)
{
    const struct q2_layer *layer = survey->layer;
    uint64_t end = q2_header_extensions_end(&layer->header), pos = layer->header.header_bytes;
    struct q2_extension ext;

    /* Opening the image has read all of them. */
    while (q2_extension_next(layer->head, layer->head_bytes, &pos, end, &ext, NULL) == 1) {
        if (ext.type == Q2_EXT_BITMAPS && !is_accepted(layer, &ext)) {
            q2_survey_note(survey, QCOW2_ANOMALY_BITMAPS, ext.data_off - 8, "bitmaps extension");
        }
    }
}

static void take_entry(struct q2_survey *survey, uint64_t entry, uint64_t entry_off, bool active)
{
    uint64_t host_off;

    (void)active;
    switch (q2_bitmap_table_decode(entry, survey->layer->header.cluster_bits, &host_off)) {
    case Q2_BITMAP_STORED:
        q2_survey_claim_data(survey, host_off, false, "bitmap data");
        break;
    case Q2_BITMAP_INVALID:
        q2_survey_note(survey, QCOW2_ANOMALY_BITMAPS, entry_off, "bitmap table entry");
        break;
    default:
        break;
    }
}

/* The text of an entry ends at its first NUL; padding follows, zeros in QEMU. */
static void find_stray_bytes(struct q2_survey *survey, const struct qcow2_bitmap *bitmap,
                             uint64_t entry_off, uint64_t entry_end)
{
    uint64_t end = entry_off + Q2_BITMAP_FIXED_BYTES + strlen(bitmap->name);

    q2_survey_text(survey, bitmap->name, strlen(bitmap->name), entry_off + Q2_BITMAP_FIXED_BYTES,
                   "control characters in the name of a bitmap");
    q2_survey_unused(survey, QCOW2_ANOMALY_STRAY, end, entry_end - end,
                     "bytes after the name of a bitmap");
}

/* Adds the bits of a bitmap that covers the disk. Its table bounds them only if it is not in use. */
static void add_bits(struct q2_survey *survey, const struct qcow2_bitmap *bitmap)
{
    const uint64_t disk = survey->layer->size_bytes;
    uint64_t *sum = &survey->result.bitmap_bytes;
    uint64_t bits = disk / bitmap->granularity + (disk % bitmap->granularity != 0);

    if (!q2_add_u64(*sum, q2_blocks_for(bits, 3), sum)) {
        *sum = UINT64_MAX;
    }
}

static int take_bitmap(struct q2_survey *survey, const struct qcow2_bitmap *bitmap)
{
    const uint64_t n_bytes = (uint64_t)bitmap->table_entries * 8;

    survey->result.bitmaps++;
    add_bits(survey, bitmap);
    if (q2_survey_claim_table(survey, bitmap->table_offset, n_bytes, what_table) != Q2_CLAIMED) {
        return 0;
    }
    q2_survey_rest(survey, bitmap->table_offset + n_bytes, "bytes after a bitmap table");
    return q2_survey_walk(survey, bitmap->table_offset, bitmap->table_entries, 0, take_entry,
                          what_table);
}

static int survey_list(struct q2_survey *survey, struct names *names)
{
    const struct q2_bitmap_directory *directory = &survey->layer->bitmaps;
    struct qcow2_error found = QCOW2_ERROR_INIT;
    struct qcow2_bitmap bitmap;
    uint64_t cursor = 0, before = 0; /* the low half of a cursor is a place in the directory */
    int r;

    while ((r = qcow2_next_bitmap(survey->image, &cursor, &bitmap, &found)) == 1) {
        find_stray_bytes(survey, &bitmap, directory->host_off + before,
                         directory->host_off + (uint32_t)cursor);
        before = (uint32_t)cursor;
        if ((r = take_bitmap(survey, &bitmap)) < 0 ||
            (r = add_name(survey, names, bitmap.name)) < 0) {
            return r;
        }
    }
    if (r < 0 && (r = q2_survey_broken_list(survey, r, QCOW2_ANOMALY_BITMAPS, directory->host_off,
                                            what_directory)) < 0) {
        q2_error_copy(survey->err, &found, r);
    }
    return r;
}

int q2_survey_bitmaps(struct q2_survey *survey)
{
    const struct q2_bitmap_directory *directory = &survey->layer->bitmaps;
    struct names names = { NULL, 0, 0 };
    enum q2_claim claim;
    int r;

    survey_extensions(survey);
    if (directory->broken || directory->entries == 0) {
        return 0;
    }
    claim = q2_survey_claim_table(survey, directory->host_off, directory->bytes, what_directory);
    if (claim == Q2_CLAIM_NOT_THERE) {
        return 0;
    }
    if (claim == Q2_CLAIMED) {
        q2_survey_rest(survey, directory->host_off + directory->bytes,
                       "bytes after the bitmap directory");
    }
    if ((r = survey_list(survey, &names)) == 0) {
        find_equal_names(survey, &names);
    }
    free(names.hashes);
    return r;
}
