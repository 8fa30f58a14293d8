/* SPDX-License-Identifier: MIT */
/* every_fault.c - every operation on one image, with everything that it asks for failing once.
 *
 *     every_fault allocations|reads|shrinking|short|flipping SUBJECT...
 *
 *   allocations  the n-th allocation fails, for every n there is, and then all from the n-th on
 *   reads        the same with reads of the sources
 *   shrinking    from the n-th read on, the files have lost their second half
 *   short        the file ends after n clusters, from the start
 *   flipping     bytes change between one read and the next: nothing is promised of the answers, but
 *                that there is one, and that nothing of it outlives the handle
 *
 * The answers of a first round, in which nothing fails, are what the others are held against: a fault
 * either changes nothing or is told for what it is, and the same handle then answers as before. Exit
 * status 0: all held; 1: something did not, and standard error says what. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocator.h"
#include "subject.h"

enum { MAX_OPERATIONS = 32, FLIPS = 200, SHORT_STEPS = 40 };

/* Many faults of one kind are alike: the first are tried one by one, later ones in growing steps. Behind a
 * passphrase there are thousands, all in libcrypto, and each costs two derivations of a key. */
enum { ONE_BY_ONE = 48, ONE_BY_ONE_WITH_KEY = 20 };

static struct subject subject;
static struct outcome reference[MAX_OPERATIONS];
static unsigned long tried;
static char doing[128]; /* for messages */

static _Noreturn void die(const char *format, ...)
{
    va_list args;

    allocator_arm(0, false);
    files_reset(&subject.files);
    (void)fprintf(stderr, "%s: %s: ", subject.path, doing);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    exit(1);
}

static struct qcow2_image *must_open(void)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_image *image;

    if (subject_open(&subject, &image, &err) < 0) {
        die("does not open: %s", err.message);
    }
    return image;
}

static bool same(const struct outcome *a, const struct outcome *b)
{
    return a->code == b->code && a->hash == b->hash && a->wrong == b->wrong;
}

/* The answers when nothing fails: the same twice, and the right ones where they are known. Also gets
 * everything out of the way that is set up only once in a process. */
static void take_reference(void)
{
    (void)snprintf(doing, sizeof doing, "without faults");
    for (int round = 0; round < 2; round++) {
        struct qcow2_image *image = must_open();

        for (unsigned i = 0; i < n_operations; i++) {
            struct outcome outcome;

            subject_run(&subject, image, &operations[i], &outcome);
            if (outcome.wrong != 0) {
                die("%s: %llu wrong bytes", operations[i].name, (unsigned long long)outcome.wrong);
            }
            if (subject.raw != NULL && outcome.code < 0 && operations[i].reads) {
                die("%s: %s", operations[i].name, outcome.err.message);
            }
            if (round > 0 && !same(&outcome, &reference[i])) {
                die("%s: two rounds, two answers", operations[i].name);
            }
            reference[i] = outcome;
        }
        qcow2_close(image);
    }
}

static void must_be_as_before(struct qcow2_image *image, unsigned number)
{
    struct outcome outcome;

    subject_run(&subject, image, &operations[number], &outcome);
    if (!same(&outcome, &reference[number])) {
        die("afterwards, '%s' on the same handle: code %d, %llu wrong bytes, another answer (%s)",
            operations[number].name, outcome.code, (unsigned long long)outcome.wrong,
            outcome.code < 0 ? outcome.err.message : "no error");
    }
}

static unsigned number_of(const char *name)
{
    for (unsigned i = 0; i < n_operations; i++) {
        if (strcmp(operations[i].name, name) == 0) {
            return i;
        }
    }
    abort();
}

/* What every error must be, whatever it is about. */
static void judge_error(const struct operation *operation, const struct outcome *outcome)
{
    const struct qcow2_error *err = &outcome->err;

    if (err->code != outcome->code) {
        die("returned %d, but the error says %d", outcome->code, err->code);
    }
    if (err->message[0] == '\0' || memchr(err->message, '\0', sizeof err->message) == NULL) {
        die("an error without a message");
    }
    if (operation->reads && !operation->threads && err->guest_offset >= subject.limit) {
        die("the error names no place of the disk: 0x%llx (%s)",
            (unsigned long long)err->guest_offset, err->message);
    }
}

/* ------------------------------------------------------------------------ */

static void judge_allocation(unsigned number, const struct outcome *outcome)
{
    const struct operation *operation = &operations[number];

    if (same(outcome, &reference[number])) {
        return;
    }
    if (outcome->code != QCOW2_E_NOMEM) {
        die("code %d (%s), %llu wrong bytes", outcome->code,
            outcome->code < 0 ? outcome->err.message : "another answer",
            (unsigned long long)outcome->wrong);
    }
    judge_error(operation, outcome);
}

/* Whether blocks can be counted: libcrypto and threads keep some for the next time. */
static bool counts_blocks(const struct operation *operation)
{
    return subject.key == NULL && !(allocator_sees_all() && operation->threads);
}

static bool fail_allocation(unsigned number, unsigned long nth, bool forever)
{
    const struct operation *operation = &operations[number];
    long blocks = allocator_live_blocks();
    struct qcow2_image *image = must_open();
    struct outcome outcome;
    unsigned long failures;

    allocator_arm(nth, forever);
    subject_run(&subject, image, operation, &outcome);
    failures = allocator_failures();
    allocator_arm(0, false);

    judge_allocation(number, &outcome);
    must_be_as_before(image, number);
    must_be_as_before(image, number_of("read whole"));
    qcow2_close(image);
    if (counts_blocks(operation) && allocator_live_blocks() != blocks) {
        die("%ld blocks are left", allocator_live_blocks() - blocks);
    }
    return failures > 0;
}

/* ------------------------------------------------------------------------ */

static void judge_read(unsigned number, const struct outcome *outcome, bool once)
{
    const struct operation *operation = &operations[number];
    const struct file *failed = atomic_load(&subject.files.failed_file);
    const struct qcow2_error *err = &outcome->err;

    /* What could not be read may also be told as not known. */
    if (same(outcome, &reference[number]) ||
        (outcome->code == reference[number].code && outcome->unknown > reference[number].unknown)) {
        return;
    }
    if (outcome->code != QCOW2_E_IO || err->sys_errno != FILES_ERRNO) {
        die("code %d, errno %d (%s), %llu wrong bytes", outcome->code, err->sys_errno,
            outcome->code < 0 ? err->message : "another answer",
            (unsigned long long)outcome->wrong);
    }
    judge_error(operation, outcome);
    if (once && (err->depth != failed->depth ||
                 err->host_offset != atomic_load(&subject.files.failed_offset))) {
        die("failed at 0x%llx of the file at depth %d, the error says 0x%llx at depth %d (%s)",
            (unsigned long long)atomic_load(&subject.files.failed_offset), failed->depth,
            (unsigned long long)err->host_offset, err->depth, err->message);
    }
}

static void must_have_kept_to_files(void)
{
    if (atomic_load(&subject.files.strayed)) {
        die("a read past the end of a file, or of no bytes");
    }
    if (atomic_load(&subject.files.closes) != atomic_load(&subject.files.grants)) {
        die("%lu sources given, %lu closed", atomic_load(&subject.files.grants),
            atomic_load(&subject.files.closes));
    }
}

static bool fail_read(unsigned number, unsigned long nth, bool forever, bool shrink)
{
    struct qcow2_image *image = must_open();
    struct outcome outcome;
    unsigned long failures, reads;

    files_reset(&subject.files);
    atomic_store(&subject.files.fail_forever, forever);
    atomic_store(shrink ? &subject.files.shrink_at : &subject.files.fail_at, nth);
    subject_run(&subject, image, &operations[number], &outcome);
    failures = atomic_load(&subject.files.failures);
    reads = atomic_load(&subject.files.reads);
    /* What failed is still wanted. */
    atomic_store(&subject.files.fail_at, 0);
    atomic_store(&subject.files.shrink_at, 0);

    judge_read(number, &outcome, failures == 1);
    must_be_as_before(image, number);
    must_be_as_before(image, number_of("read whole"));
    qcow2_close(image);
    must_have_kept_to_files();
    return shrink ? reads >= nth : failures > 0;
}

/* ------------------------------------------------------------------------ */

/* Every operation, with fault number 1, 2, 3 and so on until there is none. */
static void walk(const char *what, bool allocations, bool shrink)
{
    const unsigned one_by_one = subject.key != NULL ? ONE_BY_ONE_WITH_KEY : ONE_BY_ONE;

    for (unsigned i = 0; i < n_operations; i++) {
        for (int forever = 0; forever < (shrink ? 1 : 2); forever++) {
            bool failed = true;

            for (unsigned long n = 1; failed; n += 1 + n / one_by_one) {
                (void)snprintf(doing, sizeof doing, "%s, %s number %lu%s", operations[i].name, what,
                               n, forever ? " and all behind it" : "");
                failed = allocations ? fail_allocation(i, n, forever != 0)
                                     : fail_read(i, n, forever != 0, shrink);
                tried += failed;
            }
        }
    }
}

/* Of a file that ends early, an operation either fails or is not concerned. A check and a survey are
 * about what is there, and refcounts past the end are 0. */
static void try_short(unsigned long clusters)
{
    struct outcome outcome;
    struct qcow2_image *image;

    (void)snprintf(doing, sizeof doing, "of %lu clusters", clusters);
    if (subject_open(&subject, &image, NULL) < 0) {
        tried++;
        return;
    }
    for (unsigned i = 0; i < n_operations; i++) {
        bool any = operations[i].opens || i == number_of("check") || i == number_of("survey") ||
                   i == number_of("explain");

        subject_run(&subject, image, &operations[i], &outcome);
        tried += outcome.code < 0;
        if (outcome.wrong > 0 || (outcome.code >= 0 && !any && !same(&outcome, &reference[i]))) {
            die("%s: %llu wrong bytes, another answer", operations[i].name,
                (unsigned long long)outcome.wrong);
        }
        if (outcome.code < 0) {
            judge_error(&operations[i], &outcome);
        }
    }
    qcow2_close(image);
    must_have_kept_to_files();
}

static void shorten(void)
{
    struct qcow2_image *image = must_open();
    struct qcow2_info info = QCOW2_INFO_INIT;
    size_t whole = subject.image->count, clusters;

    (void)qcow2_get_info(image, 0, &info, NULL);
    qcow2_close(image);
    clusters = whole / info.cluster_size;
    for (size_t n = 0; n < clusters; n += 1 + n / SHORT_STEPS) {
        subject.image->count = n * info.cluster_size;
        try_short(n);
    }
    subject.image->count = whole;
}

static void flip(void)
{
    for (unsigned seed = 1; seed <= FLIPS; seed++) {
        struct qcow2_image *image;

        (void)snprintf(doing, sizeof doing, "bytes change, seed %u", seed);
        files_reset(&subject.files);
        subject.files.flip_seed = seed;
        /* Every other time not before the image is open: most changes there keep it from that. */
        atomic_store(&subject.files.flipping, seed % 2 == 0);
        if (subject_open(&subject, &image, NULL) == 0) {
            atomic_store(&subject.files.flipping, true);
            for (unsigned i = 0; i < n_operations; i++) {
                struct outcome outcome;

                subject_run(&subject, image, &operations[i], &outcome);
                tried += !same(&outcome, &reference[i]);
                if (outcome.code > 1 || outcome.code < QCOW2_E_CANCELLED) {
                    die("%s: code %d", operations[i].name, outcome.code);
                }
            }
            qcow2_close(image);
        }
        must_have_kept_to_files();
    }
    files_reset(&subject.files);
    take_reference();
}

/* Reads that take their time change nothing. */
static void slow_down(void)
{
    struct qcow2_image *image = must_open();

    (void)snprintf(doing, sizeof doing, "slow reads");
    atomic_store(&subject.files.delay_us, 20);
    for (unsigned i = 0; i < n_operations; i++) {
        must_be_as_before(image, i);
    }
    qcow2_close(image);
    files_reset(&subject.files);
}

int main(int argc, char **argv)
{
    allocator_start();
    if (!subject_init(&subject, &argc, argv) || argc != 2) {
        (void)fputs("usage: every_fault allocations|reads|shrinking|short|flipping SUBJECT...\n",
                    stderr);
        return 2;
    }
    take_reference();
    if (strcmp(argv[1], "allocations") == 0) {
        walk("allocation", true, false);
    } else if (strcmp(argv[1], "reads") == 0) {
        walk("read", false, false);
        slow_down();
    } else if (strcmp(argv[1], "shrinking") == 0) {
        walk("read", false, true);
    } else if (strcmp(argv[1], "short") == 0) {
        shorten();
    } else if (strcmp(argv[1], "flipping") == 0) {
        flip();
    } else {
        return 2;
    }
    subject_deinit(&subject);
    printf("%lu faults\n", tried);
    return 0;
}
