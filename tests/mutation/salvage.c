/* SPDX-License-Identifier: MIT */
/* salvage.c - all that the library can read of one disk, and where it cannot.
 *
 *     salvage [--zeros-past-end] [--key-file FILE] [--snapshot ID] [--limit BYTES]
 *             [--piece BYTES] [--memory BYTES] IMAGE OUT
 *
 * Reads the disk up to the limit; what fails is tried again piece by piece. Bytes go to OUT, with
 * zeros for the pieces that fail. Prints, a line each:
 *
 *     opened SIZE
 *     refused CODE MESSAGE
 *     bad OFFSET LENGTH CODE MESSAGE        pieces that cannot be read
 *     contradiction TEXT                    a promise of qcow2.h that was not kept
 *
 * The contradictions it looks for: an error that names another place than the first bad byte, a
 * hole that has bytes, and a copy (which goes by extents, from several threads) that differs from
 * what reading gave. The exit status is 0 whatever the library answers; 2 is a usage error, and all
 * else a crash. --memory bounds the address space, so that an image cannot ask for what it likes. */
#include <qcow2.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define STEP_BYTES     65536
#define MAX_KEY_BYTES  1024
#define MAX_EXTENTS    100000
#define COPY_THREADS   2
#define DEFAULT_LIMIT  (UINT64_C(8) << 20)
#define SECTOR_BYTES   512
#define MAX_PIECE_LINE 400

struct wishes {
    struct qcow2_options options;
    uint64_t limit, piece, memory;
    const char *key_file;
};

/* The part of the disk that was asked for. */
struct disk {
    struct qcow2_image *image;
    unsigned char *bytes; /* zeros where `bad` */
    unsigned char *bad;   /* one for each piece */
    uint64_t length, piece;
    bool any_bad;
};

static void contradiction(const char *what, uint64_t offset)
{
    printf("contradiction %s at %" PRIu64 "\n", what, offset);
}

/* Pieces that fail alike and touch are one line. */
struct run {
    uint64_t offset, length;
    char why[MAX_PIECE_LINE];
};

static void end_run(struct run *run)
{
    if (run->length)
        printf("bad %" PRIu64 " %" PRIu64 " %s\n", run->offset, run->length, run->why);
    run->length = 0;
}

static void bad_piece(struct run *run, uint64_t offset, uint64_t length,
                      const struct qcow2_error *err)
{
    char why[MAX_PIECE_LINE];

    (void)snprintf(why, sizeof why, "%s %s", qcow2_code_name(err->code), err->message);
    if (run->length && (run->offset + run->length != offset || strcmp(run->why, why) != 0))
        end_run(run);
    if (!run->length) {
        run->offset = offset;
        memcpy(run->why, why, sizeof why);
    }
    run->length += length;
}

/* A step that failed, piece by piece. `named` is the byte that the failure named: no piece before it
 * may fail, and the one it lies in must. */
static void read_pieces(struct disk *disk, uint64_t start, uint64_t end, uint64_t named,
                        struct run *run)
{
    if (named < start || named >= end)
        contradiction("a failure names a byte outside the read", start);
    for (uint64_t at = start; at < end; at += disk->piece) {
        uint64_t length = end - at < disk->piece ? end - at : disk->piece;
        struct qcow2_error err = QCOW2_ERROR_INIT;
        ssize_t got = qcow2_pread(disk->image, disk->bytes + at, (size_t)length, at, &err);

        if (got >= 0) {
            if ((uint64_t)got != length)
                contradiction("a short read", at);
            if (named >= at && named < at + length)
                contradiction("a byte named as unreadable is readable", named);
            continue;
        }
        if (at + length <= named)
            contradiction("a byte before the one named is unreadable", at);
        memset(disk->bytes + at, 0, (size_t)length);
        disk->bad[at / disk->piece] = 1;
        disk->any_bad = true;
        bad_piece(run, at, length, &err);
    }
}

static void read_disk(struct disk *disk)
{
    uint64_t step = disk->piece > STEP_BYTES ? disk->piece : STEP_BYTES;
    struct run run = { 0 };

    for (uint64_t at = 0; at < disk->length; at += step) {
        uint64_t length = disk->length - at < step ? disk->length - at : step;
        struct qcow2_error err = QCOW2_ERROR_INIT;
        ssize_t got = qcow2_pread(disk->image, disk->bytes + at, (size_t)length, at, &err);

        if (got < 0)
            read_pieces(disk, at, at + length, err.guest_offset, &run);
        else if ((uint64_t)got != length)
            contradiction("a short read", at);
    }
    end_run(&run);
}

/* What the tables call a hole or zero must have read as zeros. */
static void compare_extents(struct disk *disk)
{
    struct qcow2_extent extent;
    uint64_t cursor = 0;

    for (int n = 0; n < MAX_EXTENTS; n++) {
        if (qcow2_next_extent(disk->image, &cursor, disk->length, &extent, NULL) <= 0)
            return;
        if (extent.kind != QCOW2_EXTENT_HOLE && extent.kind != QCOW2_EXTENT_ZERO)
            continue;
        for (uint64_t at = extent.offset; at < extent.offset + extent.length; at++)
            if (disk->bytes[at] || (disk->piece == SECTOR_BYTES && disk->bad[at / SECTOR_BYTES])) {
                contradiction("a hole that is none", at);
                return;
            }
    }
}

static int compare_part(void *ctx, const void *buf, uint64_t count, uint64_t offset)
{
    struct disk *disk = ctx;

    if (offset + count > disk->length)
        return 1;
    if (buf)
        return memcmp(disk->bytes + offset, buf, (size_t)count) != 0;
    for (uint64_t at = offset; at < offset + count; at++)
        if (disk->bytes[at])
            return 1;
    return 0;
}

/* Copying gives the same bytes, and fails if and only if something cannot be read. */
static void compare_copy(struct disk *disk)
{
    struct qcow2_copy_options options = QCOW2_COPY_OPTIONS_INIT;
    struct qcow2_error err = QCOW2_ERROR_INIT;
    int r;

    if (disk->length == 0)
        return;
    options.threads = COPY_THREADS;
    options.length = disk->length;
    r = qcow2_copy_to_callback(disk->image, compare_part, disk, &options, &err);
    if (r == QCOW2_E_CANCELLED)
        contradiction("a copy has other bytes", 0);
    else if ((r < 0) != disk->any_bad)
        contradiction(r < 0 ? "a copy fails where reading does not"
                            : "a copy succeeds where reading fails",
                      err.guest_offset);
    else if (r < 0 &&
             (err.guest_offset >= disk->length || !disk->bad[err.guest_offset / disk->piece]))
        contradiction("a copy names a byte that is readable", err.guest_offset);
}

static int save(const struct disk *disk, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    uint64_t done = 0;

    if (fd < 0)
        return -1;
    while (done < disk->length) {
        ssize_t n = write(fd, disk->bytes + done, (size_t)(disk->length - done));

        if (n <= 0)
            break;
        done += (uint64_t)n;
    }
    return close(fd) == 0 && done == disk->length ? 0 : -1;
}

static int get_key(void *ctx, int depth, const char *name, char *buf, size_t buf_bytes,
                   size_t *length_ret)
{
    const struct wishes *wishes = ctx;
    FILE *file = wishes->key_file ? fopen(wishes->key_file, "rb") : NULL;

    (void)depth;
    (void)name;
    if (!file)
        return QCOW2_E_KEY;
    *length_ret = fread(buf, 1, buf_bytes < MAX_KEY_BYTES ? buf_bytes : MAX_KEY_BYTES, file);
    (void)fclose(file);
    return 0;
}

static int salvage(const struct wishes *wishes, const char *path, const char *out)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct disk disk = { .piece = wishes->piece };
    int r = qcow2_open(path, &wishes->options, &disk.image, &err);
    int status = 2;

    if (r < 0) {
        printf("refused %s %s\n", qcow2_code_name(r), err.message);
        return fflush(stdout) == 0 ? 0 : 2;
    }
    disk.length = qcow2_size(disk.image);
    printf("opened %" PRIu64 "\n", disk.length);
    if (disk.length > wishes->limit)
        disk.length = wishes->limit;
    disk.bytes = calloc(1, (size_t)disk.length + 1);
    disk.bad = calloc(1, (size_t)(disk.length / disk.piece) + 1);
    if (disk.bytes && disk.bad) {
        read_disk(&disk);
        compare_extents(&disk);
        compare_copy(&disk);
        status = save(&disk, out) == 0 && fflush(stdout) == 0 ? 0 : 2;
    }
    free(disk.bytes);
    free(disk.bad);
    qcow2_close(disk.image);
    return status;
}

static bool parse_number(const char *text, uint64_t *value_ret)
{
    char *end;

    errno = 0;
    *value_ret = strtoull(text, &end, 0);
    return errno == 0 && end != text && *end == '\0';
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        { "zeros-past-end", no_argument, NULL, 'z' },
        { "key-file", required_argument, NULL, 'k' },
        { "limit", required_argument, NULL, 'l' },
        { "piece", required_argument, NULL, 'p' },
        { "memory", required_argument, NULL, 'm' },
        { "snapshot", required_argument, NULL, 's' },
        { 0 },
    };
    struct wishes wishes = { .options = QCOW2_OPTIONS_INIT,
                             .limit = DEFAULT_LIMIT,
                             .piece = SECTOR_BYTES };
    bool good = true;
    int option;

    while (good && (option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'z':
            wishes.options.flags |= QCOW2_OPEN_ZEROS_PAST_END;
            break;
        case 'k':
            wishes.key_file = optarg;
            break;
        case 's':
            wishes.options.snapshot = optarg;
            break;
        case 'l':
            good = parse_number(optarg, &wishes.limit);
            break;
        case 'p':
            good = parse_number(optarg, &wishes.piece) && wishes.piece >= SECTOR_BYTES;
            break;
        case 'm':
            good = parse_number(optarg, &wishes.memory);
            break;
        default:
            good = false;
        }
    }
    if (!good || argc - optind != 2) {
        fputs("usage: salvage [OPTION]... IMAGE OUT (see the top of salvage.c)\n", stderr);
        return 2;
    }
    if (wishes.memory) {
        struct rlimit bound = { wishes.memory, wishes.memory };

        if (setrlimit(RLIMIT_AS, &bound) != 0)
            return 2;
    }
    wishes.options.get_key = get_key;
    wishes.options.get_key_ctx = &wishes;
    return salvage(&wishes, argv[optind], argv[optind + 1]);
}
