/* SPDX-License-Identifier: MIT */
/* pinned.c - the two names of a conversion's output, in memory that cannot be written any more.
 * Knows pages; must not know files or system call filters.
 *
 * A filter of system calls sees the addresses of names, not their text. If the one rename that it lets
 * through must have these two addresses, and what stands there can change no more, then so must the
 * rename have these two names, whoever has got hold of the program by then.
 *
 * The page is read-only, and lies lower than all else in the process. The filter therefore keeps it
 * so with one comparison: nothing is unmapped, moved or protected anew that begins below its end. */
#include "pinned.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Multiples of every page size up to 64 KiB, which is also as low as Linux lets anybody map, and
 * below where any program is loaded. */
#define FIRST_PLACE 0x10000
#define LAST_PLACE  0x100000

static void *map_low(size_t bytes)
{
#ifdef MAP_FIXED_NOREPLACE
    for (uintptr_t place = FIRST_PLACE; place <= LAST_PLACE; place += FIRST_PLACE) {
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): an address is what is meant */
        void *wanted = (void *)place;
        void *memory = mmap(wanted, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

        if (memory == wanted) {
            return memory;
        }
        if (memory != MAP_FAILED) { /* a kernel that takes the address for a hint */
            munmap(memory, bytes);
        }
    }
#else
    (void)bytes;
#endif
    return NULL;
}

bool pinned_create(struct pinned_names *names, const char *temporary, const char *final)
{
    size_t first = strlen(temporary) + 1;
    size_t second = strlen(final) + 1;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *text = first + second <= page ? map_low(page) : NULL;

    memset(names, 0, sizeof *names);
    if (text != NULL) {
        names->memory_bytes = page;
        names->end = (uintptr_t)text + page;
    } else {
        text = malloc(first + second);
    }
    if (text == NULL) {
        return false;
    }
    memcpy(text, temporary, first);
    memcpy(text + first, final, second);
    names->memory = text;
    names->temporary = text;
    names->final = text + first;
    if (names->end != 0 && mprotect(text, page, PROT_READ) != 0) {
        names->end = 0;
    }
    return true;
}

void pinned_destroy(struct pinned_names *names)
{
    /* A page that is protected to the end of the program cannot be unmapped; that does not matter. */
    if (names->memory_bytes > 0) {
        munmap(names->memory, names->memory_bytes);
    } else {
        free(names->memory);
    }
    memset(names, 0, sizeof *names);
}
