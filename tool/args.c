/* SPDX-License-Identifier: MIT */
/* args.c - the command line of one command: options and operands.
 * Knows getopt_long and the tables it is given; must not know what any option does. */
#include "args.h"

#include <getopt.h>
#include <qcow2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "help.h"
#include "refused.h"
#include "report.h"
#include "size.h"
#include "suggest.h"

/* More options than any command has, shared ones included. */
#define TABLE_MAX 48

struct getopt_tables {
    const struct arg_option *options[TABLE_MAX];
    struct option longs[TABLE_MAX + 1];
    char shorts[2 * TABLE_MAX + 2];
    int count;
    int own_count; /* so many of the first are the command's own */
};

static void add_table(struct getopt_tables *tables, const struct command *command,
                      const struct arg_option *table)
{
    size_t end = strlen(tables->shorts);

    for (; table != NULL && table->name != NULL && tables->count < TABLE_MAX; table++) {
        struct option *option = &tables->longs[tables->count];

        if (!common_applies(command, table)) {
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
    const char *why;

    if (count >= sizeof typed) {
        return args_wrong(args, "unknown option '%s'", word);
    }
    memcpy(typed, word + 2, count);
    typed[count] = '\0';
    why = refused_why(args->command, 0, typed);
    if (why != NULL) {
        return args_wrong(args, "there is no option '--%s': %s", typed, why);
    }
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
        const char *why = refused_why(args->command, optopt, NULL);

        return why != NULL ? args_wrong(args, "there is no option '-%c': %s", optopt, why)
                           : args_wrong(args, "unknown option '-%c'", optopt);
    }
    return args_wrong(
        args, answer == ':' ? "option '--%s' needs a value" : "option '--%s' takes no value",
        option->name);
}

static void print_help(const struct args *args)
{
    struct arg_option shared[TABLE_MAX] = { { .name = NULL } };
    size_t count = 0;

    for (const struct arg_option *option = common_table; option->name != NULL; option++) {
        if (common_applies(args->command, option)) {
            shared[count++] = *option;
        }
    }
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
        if (!common_take(args, id)) {
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

bool args_cache_mode(const struct args *args, bool *flush_ret)
{
    /* "off" is what "none" was called once. */
    static const char *const modes[] = { "none",         "writeback", "directsync",
                                         "writethrough", "unsafe",    "off" };

    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(args->value, modes[i]) == 0) {
            *flush_ret = strcmp(modes[i], "unsafe") != 0;
            return true;
        }
    }
    args_wrong(args, "'--%s' takes none, writeback, unsafe, directsync or writethrough, not '%s'",
               args->option->name, args->value);
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
