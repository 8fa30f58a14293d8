/* SPDX-License-Identifier: MIT */
/* args.c - the command line of one command: its options, the options all commands share, operands.
 * Knows getopt_long and the table it is given; must not know what any command does. */
#include "args.h"

#include <getopt.h>
#include <qcow2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "help.h"
#include "keys.h"
#include "report.h"
#include "sandbox.h"
#include "size.h"
#include "suggest.h"

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

static const struct arg_option common_table[] = {
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

/* More than any command has; checked below. */
#define TABLE_MAX 48

struct getopt_tables {
    const struct arg_option *options[TABLE_MAX];
    struct option longs[TABLE_MAX + 1];
    char shorts[2 * TABLE_MAX + 2];
    int count;
    int own_count; /* so many of the first are the command's own */
};

/* Does the command have this shared option? */
static bool applies(const struct command *command, const struct arg_option *option)
{
    bool reading = option->id == ID_ALLOW || option->id == ID_NO_BACKING ||
                   option->id == ID_ZEROS_PAST_END || option->id == ID_CACHE_SIZE;

    return !((option->id == ID_SNAPSHOT && (command->without & WITHOUT_SNAPSHOT) != 0) ||
             (option->id == ID_KEY_FILE && (command->without & WITHOUT_KEY) != 0) ||
             (option->id == 'f' && (command->without & WITHOUT_FORMAT) != 0) ||
             (reading && (command->without & WITHOUT_READING) != 0));
}

static void add_table(struct getopt_tables *tables, const struct command *command,
                      const struct arg_option *table)
{
    size_t end = strlen(tables->shorts);

    for (; table != NULL && table->name != NULL && tables->count < TABLE_MAX; table++) {
        struct option *option = &tables->longs[tables->count];

        if (!applies(command, table)) {
            continue;
        }
        option->name = table->name;
        option->has_arg = table->value == NULL     ? no_argument
                          : table->value[0] == '[' ? optional_argument
                                                   : required_argument;
        option->val = table->id;
        if (table->id < ARG_FIRST_LONG) {
            tables->shorts[end++] = (char)table->id;
            if (table->value != NULL) {
                tables->shorts[end++] = ':';
            }
        }
        tables->options[tables->count++] = table;
    }
}

static void build_tables(const struct args *args, struct getopt_tables *tables)
{
    memset(tables, 0, sizeof *tables);
    tables->shorts[0] = ':'; /* makes getopt_long tell a missing value from an unknown option */
    add_table(tables, args->command, args->command->options);
    tables->own_count = tables->count;
    add_table(tables, args->command, common_table);
}

int args_wrong(const struct args *args, const char *format, ...)
{
    char message[4096];
    va_list list;

    va_start(list, format);
    vsnprintf(message, sizeof message, format, list);
    va_end(list);
    /* A question ends itself; anything else is joined to the hint. */
    if (message[0] != '\0' && message[strlen(message) - 1] != '?') {
        strncat(message, ";", sizeof message - strlen(message) - 1);
    }
    report(args->command->name, "%s try 'qcow2 %s --help'", message, args->command->name);
    return EXIT_FAILURE;
}

/* getopt_long could not place `word`, "--something" as it was typed: unknown, or ambiguous? */
static int wrong_long(const struct args *args, const struct getopt_tables *tables, const char *word)
{
    char typed[64];
    size_t count = strcspn(word + 2, "=");
    const char *prefixed[2] = { NULL, NULL };
    struct suggestion suggestion;

    if (count >= sizeof typed) {
        return args_wrong(args, "unknown option '%s'", word);
    }
    memcpy(typed, word + 2, count);
    typed[count] = '\0';
    suggest_begin(&suggestion, typed);
    for (int i = 0; i < tables->count; i++) {
        const char *name = tables->longs[i].name;

        if (strncmp(name, typed, count) == 0 && prefixed[0] == NULL) {
            prefixed[0] = name;
        } else if (strncmp(name, typed, count) == 0) {
            prefixed[1] = name;
        }
        suggest_offer(&suggestion, name);
    }
    if (prefixed[1] != NULL) {
        return args_wrong(args, "option '--%s' may be '--%s' or '--%s'", typed, prefixed[0],
                          prefixed[1]);
    }
    if (suggestion.best != NULL) {
        return args_wrong(args, "unknown option '--%s'; did you mean '--%s'?", typed,
                          suggestion.best);
    }
    return args_wrong(args, "unknown option '--%s'", typed);
}

static const struct arg_option *find_option(const struct getopt_tables *tables, int id,
                                            bool *own_ret)
{
    for (int i = 0; i < tables->count; i++) {
        if (tables->options[i]->id == id) {
            *own_ret = i < tables->own_count;
            return tables->options[i];
        }
    }
    return NULL;
}

/* getopt_long returned '?' or ':'. */
static int wrong_option(const struct args *args, const struct getopt_tables *tables, int answer)
{
    bool own;
    const struct arg_option *option = find_option(tables, optopt, &own);

    if (option == NULL && optopt == 0) {
        return wrong_long(args, tables, args->argv[optind - 1]);
    }
    if (option == NULL) {
        return args_wrong(args, "unknown option '-%c'", optopt);
    }
    return args_wrong(
        args, answer == ':' ? "option '--%s' needs a value" : "option '--%s' takes no value",
        option->name);
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

/* Returns whether the value, if any, was good. */
static bool take_common(struct args *args, int id)
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
        common->sandbox = SANDBOX_OFF;
        return true;
    case ID_REQUIRE_SANDBOX:
        common->sandbox = SANDBOX_REQUIRE;
        return true;
    case 'f':
        return args_format(args, &common->format);
    case 'q':
        common->quiet = true;
        return true;
    default: /* 'U': nothing to do */
        return true;
    }
}

static void print_help(const struct args *args)
{
    struct arg_option shared[sizeof common_table / sizeof common_table[0]];
    size_t count = 0;

    for (const struct arg_option *option = common_table; option->name != NULL; option++) {
        if (applies(args->command, option)) {
            shared[count++] = *option;
        }
    }
    memset(&shared[count], 0, sizeof shared[count]);
    help_print(args->command, shared);
}

static int stop(struct args *args, int exit_code)
{
    args->exit_code = exit_code;
    return -1;
}

int args_next(struct args *args)
{
    struct getopt_tables tables;
    int id;

    build_tables(args, &tables);
    opterr = 0;
    while ((id = getopt_long(args->argc, args->argv, tables.shorts, tables.longs, NULL)) != -1) {
        bool own = false;

        if (id == '?' || id == ':') {
            return stop(args, wrong_option(args, &tables, id));
        }
        args->value = optarg;
        args->option = find_option(&tables, id, &own);
        if (own && id != ARG_OUTPUT) {
            return id;
        }
        if (id == 'h') {
            print_help(args);
            return stop(args, EXIT_SUCCESS);
        }
        if (!take_common(args, id)) {
            return stop(args, EXIT_FAILURE);
        }
    }
    if (args->common.stats_style < 0) {
        args->common.stats_style = args->common.output == OUTPUT_JSON ? OUTPUT_JSON : OUTPUT_HUMAN;
    }
    args->operand_count = args->argc - optind;
    args->operands = args->argv + optind;
    return 0;
}

bool args_operands(const struct args *args, int least, int most)
{
    if (args->operand_count < least) {
        args_wrong(args, "%s is missing",
                   args->operand_count == 0 ? "the name of an image" : "the name of the output");
        return false;
    }
    if (args->operand_count > most) {
        args_wrong(args, "one argument too many: '%s'", args->operands[most]);
        return false;
    }
    return true;
}

bool args_size(const struct args *args, uint64_t *bytes_ret)
{
    const char *problem = size_parse(args->value, bytes_ret);

    if (problem != NULL) {
        args_wrong(args, "'%s' for '--%s' %s", args->value, args->option->name, problem);
    }
    return problem == NULL;
}

bool args_number(const struct args *args, uint32_t least, uint32_t most, uint32_t *number_ret)
{
    char *end;
    unsigned long number = strtoul(args->value, &end, 10);

    if (args->value[0] < '0' || args->value[0] > '9' || *end != '\0' || number < least ||
        number > most) {
        args_wrong(args, "'%s' for '--%s' is not a number from %u to %u", args->value,
                   args->option->name, (unsigned)least, (unsigned)most);
        return false;
    }
    *number_ret = (uint32_t)number;
    return true;
}

bool args_format(const struct args *args, int *format_ret)
{
    static const struct {
        const char *name;
        int format;
    } formats[] = { { "qcow2", QCOW2_FORMAT_QCOW2 },
                    { "qcow", QCOW2_FORMAT_QCOW2 },
                    { "raw", QCOW2_FORMAT_RAW } };

    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(args->value, formats[i].name) == 0) {
            *format_ret = formats[i].format;
            return true;
        }
    }
    args_wrong(args, "'--%s' takes qcow2, qcow or raw, not '%s'", args->option->name, args->value);
    return false;
}

bool args_only(const struct args *args, const char *word, const char *why)
{
    if (strcmp(args->value, word) != 0) {
        args_wrong(args, "'--%s' takes %s, not '%s': %s", args->option->name, word, args->value,
                   why);
        return false;
    }
    return true;
}
