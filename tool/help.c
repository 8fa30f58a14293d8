/* SPDX-License-Identifier: MIT */
/* help.c - what --help prints: made from the same tables that the options are parsed with, so that
 * it
 * cannot tell another story. */
#include "help.h"

#include <stdio.h>
#include <string.h>

#define WIDTH       79
#define HELP_COLUMN 28

/* Prints `text` word by word from `column` on, breaking lines before WIDTH and beginning further
 * ones at `indent`. A line end in `text` is kept. */
static void put_wrapped(const char *text, int column, int indent)
{
    while (*text != '\0') {
        int count = (int)strcspn(text, " \n");

        if (column > indent && column + 1 + count > WIDTH) {
            printf("\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        printf("%.*s", count, text);
        column += count;
        text += count;
        if (*text == '\n') {
            printf("\n%*s", indent, "");
            column = indent;
        }
        if (*text != '\0') {
            text++;
        }
    }
    putchar('\n');
}

static void put_option(const struct arg_option *option)
{
    char left[80];
    const char *value = option->value != NULL ? option->value : "";
    const char *equals = value[0] != '\0' && value[0] != '[' ? "=" : "";
    int count;

    if (option->id < ARG_FIRST_LONG) {
        count =
            snprintf(left, sizeof left, "  -%c, --%s%s%s", option->id, option->name, equals, value);
    } else {
        count = snprintf(left, sizeof left, "      --%s%s%s", option->name, equals, value);
    }
    fputs(left, stdout);
    if (count > HELP_COLUMN - 2) {
        printf("\n%*s", HELP_COLUMN, "");
    } else {
        printf("%*s", HELP_COLUMN - count, "");
    }
    put_wrapped(option->help, HELP_COLUMN, HELP_COLUMN);
}

void help_print(const struct command *command, const struct arg_option *common)
{
    printf("Usage: qcow2 %s [options] %s\n\n", command->name, command->operands);
    put_wrapped(command->text, 0, 0);
    printf("\nExamples:\n%s", command->examples);
    if (command->options != NULL) {
        printf("\nOptions:\n");
        for (const struct arg_option *option = command->options; option->name != NULL; option++) {
            put_option(option);
        }
    }
    printf("\nOptions of every command:\n");
    for (const struct arg_option *option = common; option->name != NULL; option++) {
        put_option(option);
    }
    printf("\nSizes and offsets are bytes: 4096, 0x1000, 64K, 1.5G (K to E: powers of 1024).\n");
}
