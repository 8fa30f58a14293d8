/* SPDX-License-Identifier: MIT */
/* standalone.c - a fuzz target as a plain program: PROGRAM FILE|DIRECTORY... runs each file, and each
 * file of a directory, once. For seeds in continuous integration, for debuggers and for compilers that
 * have no fuzzer. A target that finds something ends the process. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_INPUT_BYTES = 1 << 20 };

static unsigned long n_inputs;
static const char *current;

/* Which input it was: nothing else would tell. */
static void name_input(void)
{
    if (current != NULL) {
        (void)fprintf(stderr, "the last input was %s\n", current);
    }
}

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(MAX_INPUT_BYTES), *exact;
    size_t n;
    int failed;

    if (file == NULL || bytes == NULL) {
        perror(path);
        if (file != NULL) {
            (void)fclose(file);
        }
        free(bytes);
        return 1;
    }
    n = fread(bytes, 1, MAX_INPUT_BYTES, file);
    failed = ferror(file);
    (void)fclose(file);
    if (failed) {
        (void)fprintf(stderr, "%s: cannot be read\n", path);
    } else {
        exact = fuzz_exact_copy(bytes, n);
        current = path;
        (void)LLVMFuzzerTestOneInput(exact, n);
        current = NULL;
        free(exact);
        n_inputs++;
    }
    free(bytes);
    return failed;
}

static int run_directory(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    int failed = 0;

    if (directory == NULL) {
        perror(path);
        return 1;
    }
    while ((entry = readdir(directory)) != NULL) {
        char name[4096];

        if (entry->d_name[0] == '.') {
            continue;
        }
        if ((size_t)snprintf(name, sizeof name, "%s/%s", path, entry->d_name) >= sizeof name) {
            (void)fprintf(stderr, "%s/%s: the name is too long\n", path, entry->d_name);
            failed = 1;
            continue;
        }
        failed |= run_file(name);
    }
    (void)closedir(directory);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;

    if (argc < 2) {
        (void)fprintf(stderr, "usage: %s FILE|DIRECTORY...\n", argv[0]);
        return 2;
    }
    if (atexit(name_input) != 0) {
        return 1;
    }
    for (int i = 1; i < argc; i++) {
        struct stat st;

        if (stat(argv[i], &st) != 0) {
            perror(argv[i]);
            failed = 1;
        } else if (S_ISDIR(st.st_mode)) {
            failed |= run_directory(argv[i]);
        } else {
            failed |= run_file(argv[i]);
        }
    }
    printf("%lu inputs\n", n_inputs);
    return failed || n_inputs == 0;
}
