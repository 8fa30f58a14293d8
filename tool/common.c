/* SPDX-License-Identifier: MIT */
/* common.c - the options that all commands share: which there are, and what they set.
 * Knows struct common_options; must not know how a command line is taken apart, nor what a command does. */
#include "common.h"

#include <qcow2.h>
#include <string.h>

#include "keys.h"
#include "sandbox.h"

enum common_id {
    ID_ALLOW = ARG_FIRST_COMMON,
    ID_NO_BACKING,
    ID_SNAPSHOT,
    ID_KEY_FILE,
    ID_ZEROS_PAST_END,
    ID_CACHE_SIZE,
    ID_STATS,
    ID_NO_SANDBOX,
    ID_REQUIRE_SANDBOX,
};

const struct arg_option common_table[] = {
    { 'f', "format", "FORMAT",
      "the format of the image: qcow2 (all versions; the default) or raw; never guessed" },
    { ID_ALLOW, "allow", "DIR",
      "the image may refer to files beneath this directory too, beside those beneath its own; may "
      "be "
      "given several times" },
    { ID_NO_BACKING, "no-backing", NULL,
      "read the top layer alone: what it does not hold itself reads as zeros" },
    { ID_SNAPSHOT, "snapshot", "ID|NAME",
      "read the disk as it was when this internal snapshot was taken; an id is tried before a "
      "name" },
    { ID_KEY_FILE, "key-file", "FILE",
      "the passphrase of an encrypted image: the bytes of the file, without one line end; - or "
      "/dev/fd/N is a descriptor. Given several times: for one encrypted file of the chain after "
      "the "
      "other. Without it the terminal is asked" },
    { ID_ZEROS_PAST_END, "zeros-past-end", NULL,
      "where the image refers to a place beyond the end of its file, read zeros, as QEMU does, "
      "instead of failing" },
    { ID_CACHE_SIZE, "cache-size", "SIZE",
      "memory for decompressed clusters (default 16M; 0 turns the cache off)" },
    { ID_STATS, "stats", "[=human|json]",
      "when done, print the counters of the library on standard error; in JSON with =json or "
      "--output=json" },
    { ID_NO_SANDBOX, "no-sandbox", NULL,
      "do not give up the rights that reading an image does not need" },
    { ID_REQUIRE_SANDBOX, "require-sandbox", NULL,
      "fail, with nothing read, where the system cannot take all of these rights away; by default "
      "as many are given up as it can take" },
    { 'q', "quiet", NULL, "print no progress, only results and errors" },
    { 'U', "force-share", NULL,
      "accepted for qemu-img's sake and always so: no lock is taken, a running machine may be "
      "writing to the image" },
    { 'h', "help", NULL, "print this help" },
    { 0, NULL, NULL, NULL }
};

bool common_applies(const struct command *command, const struct arg_option *option)
{
    bool reading = option->id == ID_ALLOW || option->id == ID_NO_BACKING ||
                   option->id == ID_ZEROS_PAST_END || option->id == ID_CACHE_SIZE;

    return !((option->id == ID_SNAPSHOT && (command->without & WITHOUT_SNAPSHOT) != 0) ||
             (option->id == ID_KEY_FILE && (command->without & WITHOUT_KEY) != 0) ||
             (option->id == 'f' && (command->without & WITHOUT_FORMAT) != 0) ||
             (reading && (command->without & WITHOUT_READING) != 0));
}

/* One of the words of "human|json" as an output style; reports any other. */
static bool read_style(struct args *args, const char *words, const char *value, int *style_ret)
{
    static const char *const names[] = { "human", "json", "html" };

    for (int style = 0; style < 3; style++) {
        if (strcmp(value, names[style]) == 0 && strstr(words, names[style]) != NULL) {
            *style_ret = style;
            return true;
        }
    }
    args_wrong(args, "'--%s' takes %s, not '%s'", args->option->name, words, value);
    return false;
}

/* The last one does not win: a script that requires the sandbox would run without it. */
static bool set_sandbox(struct args *args, int mode)
{
    int *before = &args->common.sandbox;

    if (*before != SANDBOX_AUTO && *before != mode) {
        args_wrong(args, "'--no-sandbox' and '--require-sandbox' contradict each other");
        return false;
    }
    *before = mode;
    return true;
}

bool common_take(struct args *args, int id)
{
    struct common_options *common = &args->common;

    switch (id) {
    case ARG_OUTPUT:
        return read_style(args, args->option->value, args->value, &common->output);
    case ID_ALLOW:
        if (common->allow_count == ALLOW_MAX) {
            args_wrong(args, "option '--allow' was given more than %d times", ALLOW_MAX);
            return false;
        }
        common->allow[common->allow_count++] = args->value;
        return true;
    case ID_SNAPSHOT:
        common->snapshot = args->value;
        return true;
    case ID_KEY_FILE:
        if (!keys_add(common->keys, args->value)) {
            args_wrong(args, "option '--key-file' was given more than %d times", KEY_FILES_MAX);
            return false;
        }
        return true;
    case ID_NO_BACKING:
        common->open_flags |= QCOW2_OPEN_NO_BACKING;
        return true;
    case ID_ZEROS_PAST_END:
        common->open_flags |= QCOW2_OPEN_ZEROS_PAST_END;
        return true;
    case ID_CACHE_SIZE:
        if (!args_size(args, &common->cache_bytes)) {
            return false;
        }
        /* For the library 0 is "the default", and less than one cluster is "off". */
        common->cache_bytes = common->cache_bytes == 0 ? 1 : common->cache_bytes;
        return true;
    case ID_STATS:
        common->stats = true;
        common->stats_style = -1;
        return args->value == NULL ||
               read_style(args, "human|json", args->value, &common->stats_style);
    case ID_NO_SANDBOX:
        return set_sandbox(args, SANDBOX_OFF);
    case ID_REQUIRE_SANDBOX:
        return set_sandbox(args, SANDBOX_REQUIRE);
    case 'f':
        return args_format(args, &common->format);
    case 'q':
        common->quiet = true;
        return true;
    default: /* 'U': nothing to do */
        return true;
    }
}
