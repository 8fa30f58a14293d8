/* SPDX-License-Identifier: MIT */
/* attempts DIRECTORY STAGE ATTEMPT - does what a program that an image got hold of might do, from within
 * the tool's own sandbox, and says what came of it: "done", or the number of the error. Exit code 99: the
 * sandbox stopped the program. 77: there is no sandbox here.
 *
 * Knows the sandbox's stages as the tool uses them; must not know what ought to come out. DIRECTORY has
 * files "file", "image" and "temporary", of which "image" is open; the conversion that is let through renames "temporary" to "final". */
#ifdef __linux__
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "landlock.h"
#include "sandbox.h"

static int directory = -1;
static int file = -1; /* of "temporary", open for writing */
static int image = -1;
static struct pinned_names names;

static long try_reading_inside(void)
{
    return openat(directory, "file", O_RDONLY);
}

/* As the library does, to ask for holes. */
static long try_reopening_the_image(void)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/fd/%d", image);
    return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

static long try_reopening_for_writing(void)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/self/fd/%d", image);
    return open(path, O_RDWR);
}

static long try_reading_outside(void)
{
    return open("/etc/passwd", O_RDONLY);
}

static long try_listing_outside(void)
{
    return open("/etc", O_RDONLY | O_DIRECTORY);
}

static long try_looking_at_names(void)
{
    struct stat info;

    return fstatat(directory, "file", &info, 0);
}

static long try_writing_to_a_file(void)
{
    return openat(directory, "file", O_WRONLY);
}

static long try_creating_a_file(void)
{
    return openat(directory, "new", O_RDONLY | O_CREAT, 0600);
}

static long try_emptying_a_file(void)
{
    return openat(directory, "file", O_RDONLY | O_TRUNC);
}

static long try_an_unnamed_file(void)
{
    return openat(directory, ".", O_WRONLY | O_TMPFILE, 0600);
}

/* openat2, whose flags the filter does not see. */
static long try_writing_the_new_way(void)
{
    uint64_t how[3] = { O_WRONLY, 0, 0 };

    return syscall(SYS_openat2, directory, "file", how, sizeof how);
}

static long try_linking(void)
{
    return linkat(directory, "file", directory, "link", 0);
}

static long try_a_symbolic_link(void)
{
    return symlinkat("/etc/passwd", directory, "link");
}

static long try_a_directory(void)
{
    return mkdirat(directory, "new", 0700);
}

static long try_removing_a_file(void)
{
    return unlinkat(directory, "file", 0);
}

static long try_renaming_a_file(void)
{
    return renameat(directory, "file", directory, "final");
}

/* The right names, but not those in the page that nobody can change. */
static long try_renaming_by_other_words(void)
{
    return renameat(directory, "temporary", directory, "final");
}

static long try_renaming_to_another_name(void)
{
    return renameat(directory, names.temporary, directory, "file");
}

static long try_finishing(void)
{
    int r = fchmod(file, 0640);

    return r != 0 ? r : renameat(directory, names.temporary, directory, names.final);
}

static long try_giving_up(void)
{
    return unlinkat(directory, names.temporary, 0);
}

/* What could be done to the page with the names. */
static long try_unprotecting_names(void)
{
    return mprotect(names.memory, names.memory_bytes, PROT_READ | PROT_WRITE);
}

static long try_unmapping_names(void)
{
    return munmap(names.memory, names.memory_bytes);
}

static long try_forgetting_names(void)
{
    return madvise(names.memory, names.memory_bytes, MADV_DONTNEED);
}

static long try_mapping_over_names(void)
{
    return mmap(names.memory, names.memory_bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED
               ? -1
               : 0;
}

static long try_moving_memory_onto_names(void)
{
    void *other = mmap(NULL, names.memory_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (other == MAP_FAILED) {
        return -1;
    }
    return mremap(other, names.memory_bytes, names.memory_bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
                  names.memory) == MAP_FAILED
               ? -1
               : 0;
}

static long try_changing_a_mode(void)
{
    return fchmodat(directory, "file", 0777, 0);
}

static long try_a_new_descriptor(void)
{
    return dup2(file, 200);
}

static long try_running_a_program(void)
{
    char name[] = "/bin/true";
    char *argv[] = { name, NULL };

    return execve(name, argv, NULL);
}

static long try_a_new_process(void)
{
    pid_t child = fork();

    if (child == 0) {
        _exit(0);
    }
    return child > 0 ? (waitpid(child, NULL, 0) == child ? 0 : -1) : -1;
}

static void *set_flag(void *flag)
{
    *(int *)flag = 1;
    return NULL;
}

static long try_a_thread(void)
{
    pthread_t thread;
    int flag = 0;

    errno = pthread_create(&thread, NULL, set_flag, &flag);
    if (errno != 0 || (errno = pthread_join(thread, NULL)) != 0) {
        return -1;
    }
    return flag == 1 ? 0 : -1;
}

static long try_a_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}

static long try_a_signal_to_another(void)
{
    return kill(getppid(), 0);
}

static long try_a_signal_to_anothers_thread(void)
{
    return syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static long try_owning_a_descriptor(void)
{
    return fcntl(file, F_SETOWN, getppid());
}

static long try_tracing(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static long try_typing_for_the_user(void)
{
    return ioctl(STDIN_FILENO, TIOCSTI, "x");
}

static long try_raising_a_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_CORE, &limit) != 0) {
        return -1;
    }
    return setrlimit(RLIMIT_CORE, &limit);
}

static long try_executable_memory(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? -1
               : 0;
}

static long try_making_memory_executable(void)
{
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory != MAP_FAILED ? mprotect(memory, 4096, PROT_READ | PROT_EXEC) : -1;
}

/* A call of no meaning here, as one that is newer than this filter would be. */
static long try_an_unknown_call(void)
{
    return syscall(SYS_sync);
}

#define ATTEMPT(name)                                                                              \
    {                                                                                              \
#name, try_##name                                                                          \
    }

static const struct {
    const char *name;
    long (*function)(void);
} attempts[] = { ATTEMPT(reading_inside),
                 ATTEMPT(reopening_the_image),
                 ATTEMPT(reopening_for_writing),
                 ATTEMPT(reading_outside),
                 ATTEMPT(listing_outside),
                 ATTEMPT(looking_at_names),
                 ATTEMPT(writing_to_a_file),
                 ATTEMPT(creating_a_file),
                 ATTEMPT(emptying_a_file),
                 ATTEMPT(an_unnamed_file),
                 ATTEMPT(writing_the_new_way),
                 ATTEMPT(linking),
                 ATTEMPT(a_symbolic_link),
                 ATTEMPT(a_directory),
                 ATTEMPT(removing_a_file),
                 ATTEMPT(renaming_a_file),
                 ATTEMPT(renaming_by_other_words),
                 ATTEMPT(renaming_to_another_name),
                 ATTEMPT(finishing),
                 ATTEMPT(giving_up),
                 ATTEMPT(unprotecting_names),
                 ATTEMPT(unmapping_names),
                 ATTEMPT(forgetting_names),
                 ATTEMPT(mapping_over_names),
                 ATTEMPT(moving_memory_onto_names),
                 ATTEMPT(changing_a_mode),
                 ATTEMPT(a_new_descriptor),
                 ATTEMPT(running_a_program),
                 ATTEMPT(a_new_process),
                 ATTEMPT(a_thread),
                 ATTEMPT(a_socket),
                 ATTEMPT(a_signal_to_another),
                 ATTEMPT(a_signal_to_anothers_thread),
                 ATTEMPT(owning_a_descriptor),
                 ATTEMPT(tracing),
                 ATTEMPT(typing_for_the_user),
                 ATTEMPT(raising_a_limit),
                 ATTEMPT(executable_memory),
                 ATTEMPT(making_memory_executable),
                 ATTEMPT(an_unknown_call) };

/* Landlock or seccomp alone, as on a kernel that lacks the other. */
static bool enter_alone(const char *stage, const char *path, const struct syscalls_commit *commit)
{
    struct landlock landlock;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return false;
    }
    if (strcmp(stage, "calls") == 0) {
        return syscalls_restrict(commit, false);
    }
    if (!landlock_begin(&landlock)) {
        return false;
    }
    landlock_allow_reading(&landlock, path);
    landlock_allow_renaming(&landlock, commit->directory_fd);
    return landlock_enforce(&landlock);
}

static bool enter(const char *stage, const char *path)
{
    const struct syscalls_commit commit = { directory, &names, file };

    if (strcmp(stage, "none") == 0) {
        return true;
    }
    if (strcmp(stage, "calls") == 0 || strcmp(stage, "files") == 0) {
        return enter_alone(stage, path, &commit);
    }
    sandbox_init(99);
    sandbox_begin(SANDBOX_REQUIRE);
    sandbox_allow_reading(path);
    sandbox_allow_commit(&commit);
    sandbox_allow_reopening(image);
    return sandbox_enter() && (strcmp(stage, "sealed") != 0 || sandbox_seal());
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 4 && i < sizeof attempts / sizeof attempts[0]; i++) {
        if (strcmp(attempts[i].name, argv[3]) != 0) {
            continue;
        }
        directory = open(argv[1], O_PATH | O_DIRECTORY);
        file = openat(directory, "temporary", O_RDWR);
        image = openat(directory, "image", O_RDONLY);
        if (file < 0 || image < 0 || !pinned_create(&names, "temporary", "final") ||
            names.end == 0 || !enter(argv[2], argv[1])) {
            return 77;
        }
        if (attempts[i].function() >= 0) {
            puts("done");
        } else {
            printf("%d\n", errno);
        }
        return 0;
    }
    fprintf(stderr, "usage: attempts DIRECTORY STAGE ATTEMPT\n");
    return 2;
}

#else /* no sandbox to try */

int main(void)
{
    return 77;
}

#endif
