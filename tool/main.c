/* SPDX-License-Identifier: MIT */
/* main.c - the qcow2 program: which command is meant, and what holds for all of them.
 * Knows the table of commands; must not know what any of them does. */
#include <fcntl.h>
#include <qcow2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "inherited.h"
#include "keys.h"
#include "out.h"
#include "report.h"
#include "sandbox.h"
#include "signals.h"
#include "suggest.h"

static const struct command *const commands[] = {
    &command_info,  &command_map,     &command_convert, &command_cat, &command_digest,
    &command_check, &command_compare, &command_explain, &command_vet,
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

#define STRING_OF(x)  #x
#define DECIMAL_OF(x) STRING_OF(x)
#define TOOL_VERSION                                                                               \
    DECIMAL_OF(QCOW2_VERSION_MAJOR)                                                                \
    "." DECIMAL_OF(QCOW2_VERSION_MINOR) "." DECIMAL_OF(QCOW2_VERSION_PATCH)

/* The three standard descriptors must be taken, or the next file opened becomes standard output and
 * receives what is printed. They are taken the wrong way round, so that using them still fails. */
static void take_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0) {
            _exit(EXIT_FAILURE); /* nowhere to say why */
        }
    }
}

static void print_overview(FILE *stream)
{
    fprintf(stream, "Usage: qcow2 COMMAND [options] IMAGE...\n"
                    "\n"
                    "Reads qcow2 disk images; never writes to one.\n"
                    "\n"
                    "Commands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fprintf(stream, "  %-10s%s\n", commands[i]->name, commands[i]->summary);
    }
    fprintf(stream,
            "  %-10s%s\n"
            "\n"
            "Examples:\n"
            "  qcow2 info disk.qcow2               what it is\n"
            "  qcow2 convert disk.qcow2 disk.raw   its disk as a raw file\n"
            "  qcow2 help convert                  all about one command\n",
            "help", "all about a command; 'qcow2 COMMAND --help' does the same");
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    struct suggestion suggestion;

    suggest_begin(&suggestion, name);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        suggest_offer(&suggestion, commands[i]->name);
    }
    suggest_offer(&suggestion, "help");
    if (suggestion.best != NULL) {
        report(NULL, "unknown command '%s'; did you mean '%s'? try 'qcow2 --help'", name,
               suggestion.best);
    } else {
        report(NULL, "unknown %s '%s'; try 'qcow2 --help'", name[0] == '-' ? "option" : "command",
               name);
    }
    return EXIT_FAILURE;
}

/* The exit code of failures that come to light here. */
static int error_code = EXIT_FAILURE;

static int run_command(const struct command *command, int argc, char **argv)
{
    struct keys keys;
    struct args args;
    int code;

    memset(&keys, 0, sizeof keys);
    memset(&args, 0, sizeof args);
    args.common.keys = &keys;
    args.common.raw_option = "a raw disk needs -f raw";
    args.command = command;
    args.argc = argc;
    args.argv = argv;
    if (command->error_code != 0) {
        error_code = command->error_code;
    }
    sandbox_init(error_code);
    code = command->run(&args);
    keys_forget(&keys);
    return code;
}

static int run_help(int argc, char **argv)
{
    char help_option[] = "--help";
    const struct command *command;
    char *help_argv[3];

    if (argc < 2) {
        print_overview(stdout);
        return EXIT_SUCCESS;
    }
    command = find_command(argv[1]);
    if (command == NULL) {
        return unknown_command(argv[1]);
    }
    help_argv[0] = argv[1];
    help_argv[1] = help_option;
    help_argv[2] = NULL;
    return run_command(command, 2, help_argv);
}

static int dispatch(int argc, char **argv)
{
    const struct command *command;

    if (argc < 2) {
        print_overview(stderr);
        return EXIT_FAILURE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("qcow2 %s (libqcow2 %s)\n", TOOL_VERSION, qcow2_version());
        return EXIT_SUCCESS;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        return run_help(argc - 1, argv + 1);
    }
    command = find_command(argv[1]);
    if (command == NULL) {
        return unknown_command(argv[1]);
    }
    return run_command(command, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    int code;

    take_standard_descriptors();
    inherited_close(argc, argv);
    signals_init();
    /* One write for each line: lines of several processes do not mix. */
    setvbuf(stderr, NULL, _IOLBF, BUFSIZ);
    code = dispatch(argc, argv);
    if (!out_close() && code < error_code) {
        code = error_code;
    }
    return code;
}
