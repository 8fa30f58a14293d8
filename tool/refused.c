/* SPDX-License-Identifier: MIT */
/* refused.c - options of qemu-img that there is no use for here, and why.
 * Who replaces qemu-img by this program should read what to do instead, not that the option is unknown.
 * Those that change nothing here are accepted, and stand in the tables of the commands. */
#include "refused.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *command; /* NULL: all */
    unsigned unless;     /* enum args_without: not for commands without these */
    int letter;          /* 0: it has none */
    const char *name;    /* NULL: it has none */
    const char *why;
} options[] = {
    { NULL, WITHOUT_KEY, 0, "object", "a passphrase is given with --key-file FILE" },
    { NULL, 0, 0, "object", "no secret is needed" },
    { NULL, WITHOUT_KEY, 0, "image-opts",
      "the image is named as a file, its passphrase with --key-file FILE" },
    { NULL, 0, 0, "image-opts", "the image is named as a file" },
    { "check", 0, 'r', "repair",
      "nothing is repaired, since this program never writes to an image" },
    { "convert", 0, 'c', "compress", "only raw disks are written, and they are not compressed" },
    { "convert", 0, 'B', "backing", "only raw disks are written, and they have no backing file" },
    { "convert", 0, 'F', "backing-format",
      "only raw disks are written, and they have no backing file" },
    { "convert", 0, 'r', "rate-limit", "there is no limit to the rate" },
    { "convert", 0, 0, "target-image-opts", "the output is named as a file" },
    { "convert", 0, 0, "bitmaps", "only raw disks are written, and they have no bitmaps" },
    { "convert", 0, 0, "salvage", "what cannot be read is an error, never zeros" },
};

const char *refused_why(const struct command *command, int letter, const char *name)
{
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        bool has_it = options[i].command == NULL || strcmp(options[i].command, command->name) == 0;
        bool is_it = name != NULL ? options[i].name != NULL && strcmp(options[i].name, name) == 0
                                  : options[i].letter == letter;

        if (has_it && is_it && (command->without & options[i].unless) == 0) {
            return options[i].why;
        }
    }
    return NULL;
}
