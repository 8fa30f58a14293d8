/* SPDX-License-Identifier: MIT */
/* attempts DIRECTORY STAGE ATTEMPT - does what a program that an image got hold of might do, from within
 * the tool's own sandbox, and says what came of it: "done", or the number of the error. Exit code 99: the
 * sandbox stopped the program. 77: there is no sandbox here.
 * attempts list - the names of all attempts.
 * attempts DIRECTORY STAGE calls - the numbers of all system calls that are made, whatever their arguments
 * are.
 *
 * Knows the sandbox's stages as the tool uses them; must not know what ought to come out. DIRECTORY has
 * files "file", "image" and "temporary", all of them open; the conversion that is let through writes to
 * "temporary" and renames it to "final". */
#ifdef __linux__
#include "attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "landlock.h"
#include "sandbox.h"

enum { NO_SANDBOX = 77, STOPPED = 99, CALL_IS_NOT_MADE = 98, CALLS_END = 600 };

struct place place = { .directory = -1, .output = -1, .image = -1, .stray = -1 };

static const struct attempt *const tables[] = { attempts_on_files, attempts_on_descriptors,
                                                attempts_on_memory, attempts_on_others };
enum { TABLE_COUNT = sizeof tables / sizeof tables[0] };

/* Landlock or seccomp alone, as on a kernel that lacks the other. */
static bool enter_alone(const char *stage, const struct syscalls_commit *commit)
{
    const struct syscalls_needs needs = { commit, place.output, -1 };
    struct landlock landlock;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return false;
    }
    if (strcmp(stage, "calls") == 0) {
        return syscalls_restrict(&needs);
    }
    if (!landlock_begin(&landlock)) {
        return false;
    }
    landlock_allow_directory(&landlock, place.directory);
    landlock_allow_renaming(&landlock, commit->directory_fd);
    return landlock_enforce(&landlock);
}

static bool enter(const char *stage)
{
    const struct syscalls_commit commit = { place.directory, &place.names };

    if (strcmp(stage, "none") == 0) {
        return true;
    }
    if (strcmp(stage, "calls") == 0 || strcmp(stage, "files") == 0) {
        return enter_alone(stage, &commit);
    }
    sandbox_init(STOPPED);
    sandbox_begin(SANDBOX_REQUIRE);
    sandbox_allow_directory(place.directory);
    sandbox_allow_commit(&commit);
    sandbox_allow_output(place.output);
    return sandbox_enter() && (strcmp(stage, "sealed") != 0 || sandbox_seal());
}

static bool prepare(const char *directory)
{
    place.directory = open(directory, O_PATH | O_DIRECTORY);
    place.output = openat(place.directory, "temporary", O_RDWR);
    place.image = openat(place.directory, "image", O_RDONLY);
    place.stray = openat(place.directory, "file", O_RDWR);
    return place.output >= 0 && place.image >= 0 && place.stray >= 0 && chdir(directory) == 0 &&
           pinned_create(&place.names, "temporary", "final") && place.names.end != 0;
}

static const struct attempt *find(const char *name)
{
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        for (const struct attempt *attempt = tables[i]; attempt->name != NULL; attempt++) {
            if (name == NULL) {
                puts(attempt->name);
            } else if (strcmp(attempt->name, name) == 0) {
                return attempt;
            }
        }
    }
    return NULL;
}

/* With arguments that no call can do anything with, in a process of its own. */
static void try_call(long number, const char *stage)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        if (!enter(stage)) {
            _exit(NO_SANDBOX);
        }
        close(STDERR_FILENO); /* where the sandbox tells of what it stops */
        _exit(syscall(number, -1L, -1L, -1L, -1L, -1L, -1L) == -1 &&
                      (errno == ENOSYS || errno == EACCES) /* as the sandbox answers */
                  ? CALL_IS_NOT_MADE
                  : 0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child ||
        (WIFEXITED(status) && WEXITSTATUS(status) == NO_SANDBOX)) {
        exit(NO_SANDBOX);
    }
    if (!WIFEXITED(status) ||
        (WEXITSTATUS(status) != CALL_IS_NOT_MADE && WEXITSTATUS(status) != STOPPED)) {
        printf("%ld\n", number);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    const struct attempt *attempt;

    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        find(NULL);
        return 0;
    }
    if (argc != 4) {
        fprintf(stderr, "usage: attempts DIRECTORY STAGE ATTEMPT\n");
        return 2;
    }
    if (!prepare(argv[1])) {
        return NO_SANDBOX;
    }
    for (long number = 0; strcmp(argv[3], "calls") == 0 && number < CALLS_END; number++) {
        try_call(number, argv[2]);
    }
    attempt = find(argv[3]);
    if (attempt == NULL) {
        return strcmp(argv[3], "calls") == 0 ? 0 : 2;
    }
    if (!enter(argv[2])) {
        return NO_SANDBOX;
    }
    if (attempt->function() >= 0) {
        puts("done");
    } else {
        printf("%d\n", errno);
    }
    return 0;
}

#else /* no sandbox to try */

int main(void)
{
    return 77;
}

#endif
