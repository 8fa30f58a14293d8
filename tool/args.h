/* SPDX-License-Identifier: MIT */
/* args.h - the command line of one command: its options, those that all commands share (common.h),
 * operands. */
#ifndef TOOL_ARGS_H
#define TOOL_ARGS_H

#include <stdbool.h>
#include <stdint.h>

/* One option. A table of them ends with an entry whose name is NULL. */
struct arg_option {
    int id;           /* its letter, or ARG_FIRST_LONG and up for one without a letter */
    const char *name; /* without the dashes */
    /* What its value is called in the help, "[=WORD]" if it may be left out; NULL: it takes none. */
    const char *value;
    const char *help; /* one or a few sentences; wrapped when printed */
};
#define ARG_FIRST_LONG   256
#define ARG_OUTPUT       511 /* "output", its value "human|json" or the like; dealt with in common.c */
#define ARG_FIRST_COMMON 512 /* from here on: the options in common.c */

/* Shared options that make no sense for a command, which then does not have them. */
enum args_without {
    WITHOUT_SNAPSHOT = 1 << 0,
    WITHOUT_KEY = 1 << 1,
    WITHOUT_FORMAT = 1 << 2,
    WITHOUT_READING = 1 << 3 /* neither other files nor data: --allow, --no-backing and the like */
};

/* The most --allow options of one command line. */
#define ALLOW_MAX 64

struct keys;

enum output_style { OUTPUT_HUMAN, OUTPUT_JSON, OUTPUT_HTML };

/* What the shared options said. */
struct common_options {
    uint32_t open_flags;    /* QCOW2_OPEN_* */
    int format;             /* enum qcow2_format: what the image is */
    const char *raw_option; /* advice for a file that is no qcow2 image; NULL: none */
    const char *snapshot;   /* NULL: the live disk */
    const uint32_t
        *snapshot_index; /* of the snapshot in the table, in place of `snapshot`; or NULL */
    const char *allow[ALLOW_MAX];
    unsigned allow_count;
    struct keys *keys;    /* of the encrypted files; never NULL */
    uint64_t cache_bytes; /* cluster_cache_bytes of struct qcow2_options */
    int output;           /* enum output_style; OUTPUT_HUMAN without --output */
    int sandbox;          /* enum sandbox_mode */
    bool stats;
    int stats_style; /* enum output_style */
    bool quiet;
};

struct args;

/* A command of the tool: what the table in main.c lists. */
struct command {
    const char *name;
    const char *summary;              /* one line, for the list of commands */
    const char *operands;             /* "IMAGE OUT" */
    int error_code;                   /* exit code of what cannot be done; 0: EXIT_FAILURE */
    unsigned without;                 /* enum args_without */
    const char *text;                 /* paragraphs for --help */
    const struct arg_option *options; /* its own; NULL: none */
    const char *examples;             /* lines "command\n    what it does\n", printed as they are */
    int (*run)(struct args *args);    /* returns the exit code */
};

/* The command line being read. Made by main, read by the command's run function. */
struct args {
    const struct command *command;
    int argc;
    char **argv; /* argv[0] is the name of the command */
    struct common_options common;
    const char *value;               /* of the option args_next returned */
    const struct arg_option *option; /* the option args_next returned */
    int exit_code;                   /* when args_next returned a negative value */
    int operand_count;
    char **operands;
};

/* The next option of the command's own table, by its id; shared options are dealt with on the way.
 * 0: no more options, operands are set. Negative: stop and return args->exit_code (help was
 * printed, or the error was reported). */
int args_next(struct args *args);

/* Were `least` to `most` operands given? Reports otherwise. */
bool args_operands(const struct args *args, int least, int most);

/* The value of the current option as a size, or as a number from `least` to `most`. Report
 * otherwise. */
bool args_size(const struct args *args, uint64_t *bytes_ret);
bool args_number(const struct args *args, uint32_t least, uint32_t most, uint32_t *number_ret);

/* The value of the current option as the format of an image (enum qcow2_format). Reports otherwise. */
bool args_format(const struct args *args, int *format_ret);

/* The value of the current option as one of QEMU's cache modes: does it ask for what is written to be on
 * the medium at the end? Reports otherwise. */
bool args_cache_mode(const struct args *args, bool *flush_ret);

/* Is the value of the current option `word`? Reports otherwise, `why` being the reason. */
bool args_only(const struct args *args, const char *word, const char *why);

/* Reports wrong usage, with the hint where to read more. Returns EXIT_FAILURE. */
int args_wrong(const struct args *args, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
