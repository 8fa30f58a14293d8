/* SPDX-License-Identifier: MIT */
/* open.c - opening the image a command was given, and naming its files afterwards.
 * The one place where shared options become options of the library, and where a refusal to open
 * becomes advice. After the last image nothing can be opened any more (confine.h). */
#include "open.h"

#include <stdio.h>

#include "confine.h"
#include "image_directory.h"
#include "keys.h"
#include "report.h"

/* What can be done about a failure, as the end of a sentence; NULL: nothing that is known here. */
static const char *advice(const struct qcow2_error *err, const struct grants *grants,
                          const struct common_options *common)
{
    bool refused = grants->refused && err->code == QCOW2_E_REFERENCE;

    if (refused && !grants->is_backing_file) {
        return grants->allow_may_help ? "if the image may use it, name its directory with --allow "
                                        "DIR"
                                      : NULL;
    }
    if (refused && grants->allow_may_help) {
        return "if the image may use it, name its directory with --allow DIR; --no-backing reads "
               "the top layer alone";
    }
    if (err->code == QCOW2_E_REFERENCE && grants->is_backing_file) {
        return "--no-backing reads the top layer alone";
    }
    if (err->code == QCOW2_E_KEY && common->keys->asked) {
        return common->keys->file_count > 0
                   ? "the passphrase is what --key-file names, without one "
                     "line end"
                   : NULL;
    }
    if (err->code == QCOW2_E_KEY) {
        return "give its passphrase with --key-file FILE";
    }
    if (err->code == QCOW2_E_NOT_QCOW2 && err->depth == 0) {
        return common->raw_option;
    }
    if (err->code == QCOW2_E_NOT_FOUND && common->snapshot != NULL) {
        return "'qcow2 info' lists the snapshots";
    }
    return NULL;
}

static void report_failure(const char *path, const struct qcow2_error *err,
                           const struct grants *grants, const struct common_options *common)
{
    const char *layer =
        err->depth > 0 && err->depth == grants->layer_depth ? grants->layer_name : NULL;

    if (err->code == QCOW2_E_KEY && common->keys->problem[0] != '\0') {
        report(path, "%s%s%s", layer != NULL ? layer : "", layer != NULL ? ": " : "",
               common->keys->problem);
    } else {
        report_library_more(path, layer, err, advice(err, grants, common));
    }
}

struct qcow2_image *open_image_files(const char *path, const struct common_options *common,
                                     uint32_t flags, struct layer_files *files_ret)
{
    struct qcow2_options options = QCOW2_OPTIONS_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_image *image = NULL;
    const struct image_directory *directory;
    struct qcow2_source source;
    struct grants grants;
    const struct confinement alone = { .common = common,
                                       .images = &path,
                                       .image_count = 1,
                                       .no_keys = (flags & QCOW2_OPEN_METADATA_ONLY) != 0 };
    int r;

    if (!confine(&alone)) {
        return NULL;
    }
    directory = image_directory_of(path);
    if (directory == NULL) {
        report(path, "out of memory");
        return NULL;
    }
    grants_begin(&grants, directory, common);
    grants.files = files_ret;
    keys_begin(common->keys);
    options.flags = common->open_flags | flags;
    options.format = (uint32_t)common->format;
    options.cluster_cache_bytes = common->cache_bytes;
    options.snapshot = common->snapshot;
    if (common->snapshot_index != NULL) {
        options.flags |= QCOW2_OPEN_SNAPSHOT_INDEX;
        options.snapshot_index = *common->snapshot_index;
    }
    options.grant = grants_decide;
    options.grant_ctx = &grants;
    options.get_key = keys_get;
    options.get_key_ctx = common->keys;
    r = image_directory_open(path, &source, &err);
    if (r == 0) {
        if (files_ret != NULL) {
            layer_files_add(files_ret, 0, &source);
        }
        r = qcow2_open_source(&source, &options, &image, &err);
    }
    if (common->keys->images_left <= 1) {
        keys_forget(common->keys);
    } else {
        common->keys->images_left--;
    }
    if (r < 0) {
        report_failure(path, &err, &grants, common);
    }
    grants_end(&grants);
    image_directory_rest(path);
    if (!confine_opened()) {
        qcow2_close(image);
        return NULL;
    }
    return image;
}

struct qcow2_image *open_image(const char *path, const struct common_options *common,
                               uint32_t flags)
{
    return open_image_files(path, common, flags, NULL);
}

const char *open_layer_name(const struct qcow2_image *image, const char *path, int depth)
{
    struct qcow2_info info = QCOW2_INFO_INIT;

    if (depth > 0 && qcow2_get_info(image, depth, &info, NULL) == 0) {
        return info.source_name;
    }
    return path;
}

void open_report(const struct qcow2_image *image, const char *path, const struct qcow2_error *err)
{
    report_library_more(path, err->depth > 0 ? open_layer_name(image, path, err->depth) : NULL, err,
                        NULL);
}
