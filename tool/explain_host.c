/* SPDX-License-Identifier: MIT */
/* explain_host.c - what in an image refers to a byte of its file: the question, and how the answer is
 * printed. Where to look is known to host_parts.c and host_disks.c. */
#include "explain_print.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "host.h"
#include "json.h"
#include "report.h"
#include "text.h"

void host_use(struct host *host, const char *what, uint64_t guest_off, const char *of,
              const char *format, ...)
{
    char text[512];
    json_t *entry;
    va_list args;

    host->count++;
    if (host->count > HOST_USES_MAX) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (host->list == NULL) {
        text_put(stdout, text);
        if (of != NULL) {
            fputs(", of ", stdout);
            text_put(stdout, of);
        }
        putchar('\n');
        return;
    }
    entry = json_object();
    json_set(entry, "what", json_string(what), &host->failed);
    if (guest_off != UINT64_MAX) {
        json_set(entry, "guest-offset", json_u64(guest_off), &host->failed);
    }
    if (of != NULL) {
        json_set(entry, "of", json_text(of), &host->failed);
    }
    json_set(entry, "text", json_text(text), &host->failed);
    json_append(host->list, entry, &host->failed);
}

bool host_within(uint64_t offset, uint64_t start, uint64_t bytes)
{
    return offset >= start && offset - start < bytes;
}

static int print_json(struct host *host, const char *path)
{
    json_t *object = json_object();

    json_set(object, "filename", json_text(path), &host->failed);
    json_set(object, "host-offset", json_u64(host->offset), &host->failed);
    json_set(object, "uses", host->list, &host->failed);
    json_set(object, "uses-not-listed", json_boolean(host->count > HOST_USES_MAX), &host->failed);
    json_set(object, "limit-reached", json_boolean(host->limit_reached), &host->failed);
    json_set(object, "snapshots-not-looked-at", json_u64(host->snapshots_passed_over),
             &host->failed);
    json_set(object, "bitmaps-not-looked-at", json_u64(host->bitmaps_passed_over), &host->failed);
    return json_print(object, host->failed) ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* What is to be known of the lines above: whether they are all. */
static void print_end(const struct host *host)
{
    bool complete = host->snapshots_passed_over == 0 && host->bitmaps_passed_over == 0 &&
                    !host->disk_passed_over;

    if (host->count > HOST_USES_MAX) {
        printf("and more, which are not listed\n");
    } else if (host->count == 0 && host->offset >= host->info.file_size) {
        printf("past the end of the file\n");
    } else if (host->count == 0) {
        printf("%s\n", complete
                           ? "nothing refers to it: free, leaked, or the padding of its cluster"
                           : "nothing that was looked at refers to it");
    }
    if (host->limit_reached) {
        printf(
            "not all of the disks was looked at: they have more tables than a sound image of this "
            "size; --no-limit goes on\n");
    }
    if (host->snapshots_passed_over > 0) {
        printf("not looked at: %" PRIu64 " of %" PRIu32 " snapshots\n", host->snapshots_passed_over,
               host->info.snapshot_count);
    }
    if (host->bitmaps_passed_over > 0) {
        printf("not looked at: the bits of %" PRIu64 " bitmaps (too many, with too long tables)\n",
               host->bitmaps_passed_over);
    }
}

int explain_host(struct qcow2_image *image, const char *path, int fd,
                 const struct common_options *common, uint64_t offset, bool no_limit)
{
    struct host host = {
        .info = QCOW2_INFO_INIT, .fd = fd, .offset = offset, .no_limit = no_limit
    };
    struct qcow2_error err = QCOW2_ERROR_INIT;

    if (qcow2_get_info(image, 0, &host.info, &err) < 0) {
        report_library(path, &err);
        return EXIT_FAILURE;
    }
    if (host.info.format != QCOW2_FORMAT_QCOW2) {
        report(path, "'--host' is for qcow2 images of version 2 and 3");
        return EXIT_FAILURE;
    }
    if (common->output == OUTPUT_JSON) {
        host.list = json_array();
        if (host.list == NULL) {
            report(NULL, "out of memory");
            return EXIT_FAILURE;
        }
    } else {
        printf("byte %" PRIu64 " (0x%" PRIx64 ") of ", offset, offset);
        text_put(stdout, path);
        printf(", host cluster %" PRIu64 ":\n", offset / host.info.cluster_size);
    }
    host_look_at_parts(&host, image);
    host_look_at_disks(&host, image, path, common);
    if (host.list != NULL) {
        return print_json(&host, path);
    }
    print_end(&host);
    return EXIT_SUCCESS;
}
