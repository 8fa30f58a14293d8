/* SPDX-License-Identifier: MIT */
/* explain_guest.c - how a guest byte is found, entry by entry, in words to learn the format from.
 * Knows what the bits of entries are called; the facts are the library's. */
#include "explain_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "json.h"
#include "open.h"
#include "place.h"
#include "report.h"
#include "size.h"
#include "text.h"

#define BIT(n)      (UINT64_C(1) << (n))
#define OFFSET_MASK UINT64_C(0x00fffffffffffe00)

struct guest {
    struct qcow2_image *image;
    const char *path;
    uint64_t offset;
};

static const char *format_name(int format)
{
    switch (format) {
    case QCOW2_FORMAT_RAW:
        return "raw";
    case QCOW2_FORMAT_QCOW1:
        return "qcow";
    default:
        return "qcow2";
    }
}

/* ---- for people ---- */

static void put_l1(const struct qcow2_explanation *step, const struct qcow2_info *info)
{
    if (step->l1_offset == UINT64_MAX) {
        printf("  L1 entry %" PRIu64 " is past the end of the table, so nothing is stored there\n",
               step->l1_index);
        return;
    }
    printf("  L1 entry %" PRIu64 ", at 0x%" PRIx64 ", is 0x%016" PRIx64 ":\n", step->l1_index,
           step->l1_offset, step->l1_entry);
    if (step->l2_offset == UINT64_MAX) {
        printf("    names no L2 table, so nothing is stored for all that it maps\n");
    } else if (info->format == QCOW2_FORMAT_QCOW1) {
        printf("    the L2 table is at 0x%" PRIx64 "\n", step->l1_entry);
    } else {
        printf("    the L2 table is at 0x%" PRIx64 " (bits 9 to 55)%s\n",
               step->l1_entry & OFFSET_MASK,
               (step->l1_entry & BIT(63)) != 0 ? "; bit 63: it has a refcount of 1" : "");
    }
}

/* What a qcow2 entry without subclusters, or the first word of one with them, says. */
static void put_l2_bits(const struct qcow2_explanation *step, const struct qcow2_info *info)
{
    uint64_t entry = step->l2_entry;
    bool extended = (info->incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2) != 0;

    if (step->kind == QCOW2_EXTENT_COMPRESSED) {
        printf("    compressed (bit 62): the stream begins at 0x%" PRIx64
               " and is no longer than %" PRIu32 " bytes\n",
               step->host_offset, step->compressed_bytes);
        return;
    }
    if ((entry & OFFSET_MASK) != 0) {
        printf("    the cluster is at 0x%" PRIx64 " (bits 9 to 55)%s\n", entry & OFFSET_MASK,
               (entry & BIT(63)) != 0 ? "; bit 63: it has a refcount of 1" : "");
    } else if (step->host_offset != UINT64_MAX) {
        printf("    the cluster is at 0 of the data file (bit 63: it is set aside)\n");
    } else {
        printf("    no cluster is set aside (bits 9 to 55 are 0)\n");
    }
    if (extended) {
        printf("    subcluster %" PRIu32 " of its bitmap 0x%016" PRIx64 ": stored %u (bit %" PRIu32
               "), zeros %u (bit %" PRIu32 ")\n",
               step->subcluster, step->l2_bitmap,
               (unsigned)(step->l2_bitmap >> step->subcluster & 1), step->subcluster,
               (unsigned)(step->l2_bitmap >> (32 + step->subcluster) & 1), 32 + step->subcluster);
    } else if ((entry & 1) != 0) {
        printf("    bit 0: it reads as zeros, whatever is stored there or in a backing file\n");
    }
}

static void put_l2(const struct qcow2_explanation *step, const struct qcow2_info *info)
{
    if (step->l2_offset == UINT64_MAX) {
        return;
    }
    printf("  L2 entry %" PRIu64 ", at 0x%" PRIx64 ", is 0x%016" PRIx64 ":\n", step->l2_index,
           step->l2_offset, step->l2_entry);
    if (info->format == QCOW2_FORMAT_QCOW1) {
        if (step->kind == QCOW2_EXTENT_COMPRESSED) {
            printf("    compressed (bit 63): %" PRIu32 " bytes at 0x%" PRIx64 "\n",
                   step->compressed_bytes, step->host_offset);
        } else if (step->l2_entry != 0) {
            printf("    the cluster is at 0x%" PRIx64 "\n", step->l2_entry);
        }
    } else {
        put_l2_bits(step, info);
    }
    if (step->refcount != UINT64_MAX) {
        printf("    the refcount of that host cluster is %" PRIu64 "%s\n", step->refcount,
               step->refcount > 1 ? ": a snapshot, or another cluster, uses it too" : "");
    }
}

static void put_outcome(const struct guest *guest, const struct qcow2_explanation *step,
                        const struct qcow2_info *info)
{
    switch (step->kind) {
    case QCOW2_EXTENT_DATA:
        printf("  so the byte is stored at 0x%" PRIx64 "%s%s\n", step->host_offset,
               step->in_data_file ? " of the external data file" : "",
               step->encrypted ? ", encrypted" : "");
        break;
    case QCOW2_EXTENT_COMPRESSED:
        printf("  so the byte is number %" PRIu64 " of what that stream decompresses to\n",
               guest->offset % info->cluster_size);
        break;
    case QCOW2_EXTENT_ZERO:
        printf("  so the byte is 0\n");
        break;
    default:
        if (!step->decides) {
            printf("  so the backing file is asked\n");
        } else if (info->backing_file != NULL) {
            printf("  so the byte is 0: its backing file ends before it, or is not used\n");
        } else {
            printf("  so the byte is 0: there is no file below\n");
        }
        break;
    }
}

static void put_step(const struct guest *guest, const struct qcow2_explanation *step)
{
    struct qcow2_info info = QCOW2_INFO_INIT;
    char size[SIZE_TEXT_MAX];

    if (qcow2_get_info(guest->image, step->depth, &info, NULL) < 0) {
        return;
    }
    printf("layer %d, ", step->depth);
    text_put(stdout, open_layer_name(guest->image, guest->path, step->depth));
    if (step->format == QCOW2_FORMAT_RAW) {
        printf(" (raw):\n  a raw file is the disk itself\n");
    } else {
        printf(" (%s, clusters of %s):\n", format_name(step->format),
               size_format(size, info.cluster_size));
        printf("  cluster %" PRIu64 ", byte %" PRIu64 " in it\n", guest->offset / info.cluster_size,
               guest->offset % info.cluster_size);
        put_l1(step, &info);
        put_l2(step, &info);
    }
    put_outcome(guest, step, &info);
}

/* ---- for programs ---- */

static json_t *hex(uint64_t value)
{
    char text[32];

    snprintf(text, sizeof text, "0x%016" PRIx64, value);
    return json_string(text);
}

static json_t *entry_json(uint64_t index, uint64_t offset, uint64_t entry, bool *failed)
{
    json_t *object = json_object();

    json_set(object, "index", json_u64(index), failed);
    json_set(object, "offset", json_u64(offset), failed);
    json_set(object, "entry", hex(entry), failed);
    return object;
}

static json_t *step_json(const struct guest *guest, const struct qcow2_explanation *step,
                         bool *failed)
{
    struct qcow2_info info = QCOW2_INFO_INIT;
    json_t *object = json_object();
    json_t *l2;

    json_set(object, "depth", json_integer(step->depth), failed);
    json_set(object, "filename", json_text(open_layer_name(guest->image, guest->path, step->depth)),
             failed);
    json_set(object, "format", json_string(format_name(step->format)), failed);
    json_set(object, "kind", json_string(place_kind_name(step->kind)), failed);
    json_set(object, "decides", json_boolean(step->decides), failed);
    if (step->l1_offset != UINT64_MAX) {
        json_set(object, "l1", entry_json(step->l1_index, step->l1_offset, step->l1_entry, failed),
                 failed);
    }
    if (step->l2_offset != UINT64_MAX) {
        l2 = entry_json(step->l2_index, step->l2_offset, step->l2_entry, failed);
        if (qcow2_get_info(guest->image, step->depth, &info, NULL) == 0 &&
            (info.incompatible_features & QCOW2_INCOMPATIBLE_EXTENDED_L2) != 0) {
            json_set(l2, "bitmap", hex(step->l2_bitmap), failed);
            json_set(l2, "subcluster", json_integer(step->subcluster), failed);
        }
        json_set(object, "l2", l2, failed);
    }
    if (step->host_offset != UINT64_MAX) {
        json_set(object, "host-offset", json_u64(step->host_offset), failed);
        json_set(object, "in-data-file", json_boolean(step->in_data_file), failed);
        json_set(object, "encrypted", json_boolean(step->encrypted), failed);
    }
    if (step->compressed_bytes != 0) {
        json_set(object, "compressed-bytes", json_integer(step->compressed_bytes), failed);
    }
    if (step->refcount != UINT64_MAX) {
        json_set(object, "refcount", json_u64(step->refcount), failed);
    }
    return object;
}

/* Walks the steps, printing them or adding them to the list. */
static int walk(const struct guest *guest, json_t *list, bool *failed)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_explanation step;
    uint64_t cursor = 0;
    int r;

    while ((r = qcow2_next_explanation(guest->image, guest->offset, &cursor, &step, &err)) == 1) {
        if (list != NULL) {
            json_append(list, step_json(guest, &step, failed), failed);
        } else {
            put_step(guest, &step);
        }
    }
    if (r < 0) {
        fflush(stdout); /* what led there comes first */
        open_report(guest->image, guest->path, &err);
    }
    return r;
}

static int guest_json(const struct guest *guest, int byte)
{
    json_t *object = json_object();
    json_t *list = json_array();
    bool failed = list == NULL;
    int r;

    if (failed) {
        return json_print(object, true) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    json_set(object, "filename", json_text(guest->path), &failed);
    json_set(object, "offset", json_u64(guest->offset), &failed);
    json_set(object, "byte", byte >= 0 ? json_integer(byte) : json_null(), &failed);
    r = walk(guest, list, &failed);
    json_set(object, "steps", list, &failed);
    if (r < 0) {
        json_decref(object);
        return EXIT_FAILURE;
    }
    return json_print(object, failed) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int explain_guest(struct qcow2_image *image, const char *path, uint64_t offset, int output)
{
    const struct guest guest = { image, path, offset };
    struct qcow2_error err = QCOW2_ERROR_INIT;
    unsigned char value;
    ssize_t n = qcow2_pread(image, &value, 1, offset, &err);

    if (output == OUTPUT_JSON) {
        return guest_json(&guest, n == 1 ? value : -1);
    }
    printf("byte %" PRIu64 " (0x%" PRIx64 ") of the disk:\n", offset, offset);
    if (walk(&guest, NULL, NULL) < 0) {
        return EXIT_FAILURE;
    }
    if (n < 0) {
        fflush(stdout);
        open_report(image, path, &err);
        return EXIT_FAILURE;
    }
    if (n == 1) {
        printf("its value is 0x%02x\n", (unsigned)value);
    }
    return EXIT_SUCCESS;
}
