/* SPDX-License-Identifier: MIT */
/* probe.c - what the library says about one image, as one line of JSON.
 *
 *     probe [--no-backing] [--metadata-only] [--zeros-past-end] [--table-cache BYTES]
 *           [--cluster-cache BYTES] [--read OFFSET:LENGTH]... [--extents] [--info]
 *           [--extensions] [--features] [--stats] IMAGE
 *
 * For the tests with hand-made images: the exit status is 0 whatever the library answers, so that
 * anything else is a crash, a sanitizer's report or a usage error (2). Codes are printed by the
 * names of enum qcow2_code, bytes as hex, strings of the image with one \u00xx for each byte that
 * is not plain ASCII. Each read is made twice; "stable" says whether both gave the same answer. */
#include <qcow2.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_READS      4096
#define MAX_READ_BYTES (UINT64_C(64) << 20)
/* A walk of more steps than this is reported as endless. */
#define MAX_EXTENTS 2000000

struct request {
    uint64_t offset;
    uint64_t length;
};

struct wishes {
    struct qcow2_options options;
    struct request reads[MAX_READS];
    size_t read_count;
    bool extents, info, extensions, features, stats;
};

static const char *code_text(int code)
{
    static const char *const names[] = {
        "OK",        "ARGUMENT", "NOMEM",     "IO",  "NOT_QCOW2", "UNSUPPORTED", "CORRUPT",
        "TRUNCATED", "LIMIT",    "REFERENCE", "KEY", "NOT_FOUND", "CANCELLED",
    };

    if (code >= 0)
        return names[0];
    return (size_t)-code < sizeof names / sizeof names[0] ? names[-code] : "UNKNOWN";
}

static void print_string(const void *bytes, size_t count)
{
    const unsigned char *p = bytes;

    putchar('"');
    for (size_t i = 0; i < count; i++)
        if (p[i] < 0x20 || p[i] >= 0x7F || p[i] == '"' || p[i] == '\\')
            printf("\\u%04x", p[i]);
        else
            putchar(p[i]);
    putchar('"');
}

static void print_text(const char *key, const char *text)
{
    printf("\"%s\": ", key);
    if (text)
        print_string(text, strlen(text));
    else
        fputs("null", stdout);
}

static void print_hex(const unsigned char *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";

    putchar('"');
    for (size_t i = 0; i < count; i++) {
        putchar(digits[bytes[i] >> 4]);
        putchar(digits[bytes[i] & 15]);
    }
    putchar('"');
}

/* The members every answer has: the code, and for a failure what the error struct says. */
static void print_outcome(int code, const struct qcow2_error *err)
{
    printf("\"code\": \"%s\"", code_text(code));
    if (code >= 0)
        return;
    printf(", \"error\": {\"code\": \"%s\", \"name\": \"%s\", \"errno\": %d, \"depth\": %d, ",
           code_text(err->code), qcow2_code_name(code), err->sys_errno, err->depth);
    printf("\"host_offset\": %" PRIu64 ", \"guest_offset\": %" PRIu64 ", ", err->host_offset,
           err->guest_offset);
    print_text("message", err->message);
    putchar('}');
}

static void print_info(const struct qcow2_image *image)
{
    struct qcow2_info info = QCOW2_INFO_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    int r = qcow2_get_info(image, 0, &info, &err);

    fputs(", \"info\": {", stdout);
    print_outcome(r, &err);
    if (r >= 0) {
        printf(", \"format\": %d, \"version\": %" PRIu32 ", ", info.format, info.version);
        printf("\"virtual_size\": %" PRIu64 ", \"header_size\": %" PRIu64 ", ", info.virtual_size,
               info.header_size);
        printf("\"file_size\": %" PRIu64 ", \"incompatible_features\": %" PRIu64 ", ",
               info.file_size, info.incompatible_features);
        printf("\"compatible_features\": %" PRIu64 ", \"autoclear_features\": %" PRIu64 ", ",
               info.compatible_features, info.autoclear_features);
        printf("\"cluster_size\": %" PRIu32 ", \"refcount_bits\": %" PRIu32 ", ", info.cluster_size,
               info.refcount_bits);
        printf("\"header_length\": %" PRIu32 ", \"compression\": %d, \"encryption\": %d, ",
               info.header_length, info.compression, info.encryption);
        printf("\"l1_entries\": %" PRIu32 ", \"l1_offset\": %" PRIu64 ", ", info.l1_entries,
               info.l1_offset);
        printf("\"refcount_table_offset\": %" PRIu64 ", \"refcount_table_clusters\": %" PRIu32 ", ",
               info.refcount_table_offset, info.refcount_table_clusters);
        printf("\"snapshot_count\": %" PRIu32 ", \"snapshots_offset\": %" PRIu64 ", ",
               info.snapshot_count, info.snapshots_offset);
        print_text("backing_file", info.backing_file);
        fputs(", ", stdout);
        print_text("backing_format", info.backing_format);
        fputs(", ", stdout);
        print_text("data_file", info.data_file);
    }
    putchar('}');
}

static void print_extensions(const struct qcow2_image *image)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_extension extension;
    uint64_t cursor = 0;
    int r;

    fputs(", \"extensions\": {\"list\": [", stdout);
    for (bool first = true; (r = qcow2_next_extension(image, 0, &cursor, &extension, &err)) > 0;
         first = false) {
        printf("%s{\"type\": %" PRIu32 ", \"host_offset\": %" PRIu64 ", ", first ? "" : ", ",
               extension.type, extension.host_offset);
        print_text("name", extension.name);
        fputs(", \"data\": ", stdout);
        print_hex(extension.data, extension.length);
        putchar('}');
    }
    fputs("], ", stdout);
    print_outcome(r, &err);
    putchar('}');
}

/* All bits that have a name, as "SET.BIT": NAME. */
static void print_features(const struct qcow2_image *image)
{
    bool first = true;

    fputs(", \"features\": {", stdout);
    for (int set = 0; set <= 2; set++)
        for (int bit = 0; bit < 64; bit++) {
            const char *name = qcow2_get_feature_name(image, 0, set, bit);

            if (!name)
                continue;
            printf("%s\"%d.%d\": ", first ? "" : ", ", set, bit);
            print_string(name, strlen(name));
            first = false;
        }
    putchar('}');
}

static int print_read(struct qcow2_image *image, const struct request *request, bool first)
{
    struct qcow2_error err = QCOW2_ERROR_INIT, again_err = QCOW2_ERROR_INIT;
    size_t count = (size_t)request->length;
    unsigned char *buf = malloc(2 * count + 1);
    ssize_t got, again;

    if (!buf)
        return 2;
    memset(buf, 0x5A, count);
    memset(buf + count, 0xA5, count);
    got = qcow2_pread(image, buf, count, request->offset, &err);
    again = qcow2_pread(image, buf + count, count, request->offset, &again_err);
    printf("%s{\"offset\": %" PRIu64 ", \"length\": %" PRIu64 ", ", first ? "" : ", ",
           request->offset, request->length);
    print_outcome(got < 0 ? (int)got : 0, &err);
    if (got >= 0) {
        fputs(", \"data\": ", stdout);
        print_hex(buf, (size_t)got);
    }
    printf(", \"stable\": %s}",
           got == again && (got < 0 || memcmp(buf, buf + count, (size_t)got) == 0) ? "true"
                                                                                   : "false");
    free(buf);
    return 0;
}

static void print_extents(struct qcow2_image *image)
{
    static const char *const kinds[] = { "hole", "zero", "data", "compressed" };
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_extent extent;
    uint64_t cursor = 0;
    size_t steps = 0;
    int r;

    fputs(", \"extents\": {\"list\": [", stdout);
    while ((r = qcow2_next_extent(image, &cursor, UINT64_MAX, &extent, &err)) > 0) {
        if (extent.kind < 0 || extent.kind > 3 || steps == MAX_EXTENTS)
            break;
        printf("%s{\"offset\": %" PRIu64 ", \"length\": %" PRIu64 ", \"kind\": \"%s\", ",
               steps ? ", " : "", extent.offset, extent.length, kinds[extent.kind]);
        printf("\"depth\": %d, \"host_offset\": %" PRIu64 "}", extent.depth, extent.host_offset);
        steps++;
    }
    printf("], \"finished\": %s, \"cursor\": %" PRIu64 ", ", r <= 0 ? "true" : "false", cursor);
    print_outcome(r, &err);
    putchar('}');
}

static void print_stats(const struct qcow2_image *image)
{
    struct qcow2_stats s = QCOW2_STATS_INIT;

    qcow2_get_stats(image, &s);
    printf(", \"stats\": {\"reads\": %" PRIu64 ", \"bytes_read\": %" PRIu64 ", ", s.reads,
           s.bytes_read);
    printf("\"cluster_reads\": %" PRIu64 ", \"cluster_holes\": %" PRIu64 ", ", s.cluster_reads,
           s.cluster_holes);
    printf("\"cluster_standard\": %" PRIu64 ", \"cluster_compressed\": %" PRIu64 ", ",
           s.cluster_standard, s.cluster_compressed);
    printf("\"l2_cache_hits\": %" PRIu64 ", \"l2_cache_misses\": %" PRIu64
           ", \"l2_cache_evictions\": %" PRIu64 ", ",
           s.l2_cache_hits, s.l2_cache_misses, s.l2_cache_evictions);
    printf("\"comp_cache_hits\": %" PRIu64 ", \"comp_cache_misses\": %" PRIu64
           ", \"comp_cache_evictions\": %" PRIu64 ", ",
           s.comp_cache_hits, s.comp_cache_misses, s.comp_cache_evictions);
    printf("\"source_reads\": %" PRIu64 ", \"source_bytes\": %" PRIu64 "}", s.source_reads,
           s.source_bytes);
}

static int probe(const char *path, const struct wishes *wishes)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_image *image = NULL;
    int r = qcow2_open(path, &wishes->options, &image, &err);
    int status = 0;

    putchar('{');
    print_outcome(r, &err);
    /* Both promises of the header: no image after a failure, no error after a success. */
    if ((r < 0) != (image == NULL) || (r >= 0 && (err.code != 0 || err.message[0] != '\0')))
        fputs(", \"broken_promise\": true", stdout);
    if (r >= 0) {
        printf(", \"size\": %" PRIu64, qcow2_size(image));
        if (wishes->info)
            print_info(image);
        if (wishes->extensions)
            print_extensions(image);
        if (wishes->features)
            print_features(image);
        fputs(", \"reads\": [", stdout);
        for (size_t i = 0; i < wishes->read_count && status == 0; i++)
            status = print_read(image, &wishes->reads[i], i == 0);
        putchar(']');
        if (wishes->extents)
            print_extents(image);
        if (wishes->stats)
            print_stats(image);
    }
    puts("}");
    qcow2_close(image);
    return fflush(stdout) == 0 ? status : 2;
}

static bool parse_number(const char *text, char stop, uint64_t *value_ret, const char **rest_ret)
{
    char *end;

    errno = 0;
    *value_ret = strtoull(text, &end, 0);
    *rest_ret = end + 1;
    return errno == 0 && end != text && *end == stop;
}

static bool parse_read(const char *text, struct wishes *wishes)
{
    struct request *request = &wishes->reads[wishes->read_count];
    const char *rest;

    if (wishes->read_count == MAX_READS || !parse_number(text, ':', &request->offset, &rest) ||
        !parse_number(rest, '\0', &request->length, &rest) || request->length > MAX_READ_BYTES)
        return false;
    wishes->read_count++;
    return true;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        { "no-backing", no_argument, NULL, 'b' },
        { "metadata-only", no_argument, NULL, 'm' },
        { "zeros-past-end", no_argument, NULL, 'z' },
        { "table-cache", required_argument, NULL, 'T' },
        { "cluster-cache", required_argument, NULL, 'C' },
        { "read", required_argument, NULL, 'r' },
        { "extents", no_argument, NULL, 'e' },
        { "info", no_argument, NULL, 'i' },
        { "extensions", no_argument, NULL, 'x' },
        { "features", no_argument, NULL, 'f' },
        { "stats", no_argument, NULL, 's' },
        { 0 },
    };
    static struct wishes wishes = { .options = QCOW2_OPTIONS_INIT };
    bool good = true;
    const char *rest;
    int option;

    while (good && (option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'b':
            wishes.options.flags |= QCOW2_OPEN_NO_BACKING;
            break;
        case 'm':
            wishes.options.flags |= QCOW2_OPEN_METADATA_ONLY;
            break;
        case 'z':
            wishes.options.flags |= QCOW2_OPEN_ZEROS_PAST_END;
            break;
        case 'T':
            good = parse_number(optarg, '\0', &wishes.options.table_cache_bytes, &rest);
            break;
        case 'C':
            good = parse_number(optarg, '\0', &wishes.options.cluster_cache_bytes, &rest);
            break;
        case 'r':
            good = parse_read(optarg, &wishes);
            break;
        case 'e':
            wishes.extents = true;
            break;
        case 'i':
            wishes.info = true;
            break;
        case 'x':
            wishes.extensions = true;
            break;
        case 'f':
            wishes.features = true;
            break;
        case 's':
            wishes.stats = true;
            break;
        default:
            good = false;
        }
    }
    if (!good || argc - optind != 1) {
        fputs("usage: probe [OPTION]... IMAGE (see the top of probe.c)\n", stderr);
        return 2;
    }
    return probe(argv[optind], &wishes);
}
