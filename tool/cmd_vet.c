/* SPDX-License-Identifier: MIT */
/* cmd_vet.c - qcow2 vet: may this image, that nobody vouches for, be let in?
 * Reads the command line and asks the parts that vet.h lists. */
#include "commands.h"

#include <stdio.h>
#include <stdlib.h>

#include "confine.h"
#include "image_directory.h"
#include "report.h"
#include "stats.h"
#include "suggest.h"
#include "vet.h"

enum { EXIT_NO = 1, EXIT_ERROR = 2 };

enum {
    ID_DENY = ARG_FIRST_LONG,
    ID_WARN,
    ID_NOTE,
    ID_IGNORE,
    ID_STRICT,
    ID_MAX_VIRTUAL_SIZE,
    ID_MAX_RATIO,
    ID_MAX_EXPANSION,
    ID_MAX_MEMORY,
    ID_MAX_BITMAP_MEMORY,
    ID_LIST_RULES,
};

static const struct arg_option options[] = {
    { ID_DENY, "deny", "RULE[,RULE]",
      "say no to what this rule finds; \"all\" is every rule. Of several options for one rule the "
      "last one counts" },
    { ID_WARN, "warn", "RULE[,RULE]", "warn of it only" },
    { ID_NOTE, "note", "RULE[,RULE]", "mention it only" },
    { ID_IGNORE, "ignore", "RULE[,RULE]", "do not even mention it" },
    { ID_STRICT, "strict", NULL,
      "say no to what would be warned of, and to bytes after the end of tables (rule slack)" },
    { ID_MAX_VIRTUAL_SIZE, "max-virtual-size", "SIZE",
      "the largest disk, also of a snapshot, that rule virtual-size lets pass (default 64T)" },
    { ID_MAX_RATIO, "max-ratio", "N",
      "how many times larger than its file a disk may be for rule ratio (default 1000000)" },
    { ID_MAX_EXPANSION, "max-expansion", "N",
      "how many times larger than its file the data of a disk, or of a snapshot, may be for rule "
      "expansion (default 100)" },
    { ID_MAX_MEMORY, "max-memory", "SIZE",
      "memory that looking at the tables may take, 4 bytes for each cluster of the file (default "
      "256M)" },
    { ID_MAX_BITMAP_MEMORY, "max-bitmap-memory", "SIZE",
      "the memory that the dirty bitmaps may take when they are loaded, for rule bitmap-cost "
      "(default "
      "256M)" },
    { ID_LIST_RULES, "list-rules", NULL,
      "print every rule with its severity, as the options before make it, and look at nothing" },
    { ARG_OUTPUT, "output", "human|json",
      "a line for each finding, the verdict and what the image may cost (the default), or the same "
      "as JSON" },
    { 0, NULL, NULL, NULL }
};

static bool set_rules(const struct args *args, struct vet_policy *policy,
                      enum vet_severity severity)
{
    struct suggestion suggestion;
    char typed[64];
    int length = 0;
    const char *word = vet_policy_set(policy, args->value, severity, &length);

    if (word == NULL) {
        return true;
    }
    snprintf(typed, sizeof typed, "%.*s", length, word);
    suggest_begin(&suggestion, typed);
    for (int rule = 0; rule < VET_RULES; rule++) {
        suggest_offer(&suggestion, vet_rules[rule].code);
    }
    if (suggestion.best != NULL) {
        args_wrong(args, "'%s' for '--%s' is no rule; did you mean '%s'?", typed,
                   args->option->name, suggestion.best);
    } else {
        args_wrong(args, "'%s' for '--%s' is no rule; 'qcow2 vet --list-rules' lists them", typed,
                   args->option->name);
    }
    return false;
}

static bool take_option(const struct args *args, int option, struct vet_policy *policy,
                        bool *list_ret)
{
    switch (option) {
    case ID_DENY:
        return set_rules(args, policy, VET_DENY);
    case ID_WARN:
        return set_rules(args, policy, VET_WARN);
    case ID_NOTE:
        return set_rules(args, policy, VET_NOTE);
    case ID_IGNORE:
        return set_rules(args, policy, VET_IGNORE);
    case ID_STRICT:
        policy->strict = true;
        return true;
    case ID_MAX_VIRTUAL_SIZE:
        return args_size(args, &policy->max_virtual_bytes);
    case ID_MAX_RATIO:
        return args_number(args, 1, UINT32_MAX, &policy->max_ratio);
    case ID_MAX_EXPANSION:
        return args_number(args, 1, UINT32_MAX, &policy->max_expansion);
    case ID_MAX_MEMORY:
        return args_size(args, &policy->max_memory_bytes);
    case ID_MAX_BITMAP_MEMORY:
        return args_size(args, &policy->max_bitmap_bytes);
    default:
        *list_ret = true;
        return true;
    }
}

static int list_rules(const struct args *args, const struct vet_policy *policy)
{
    if (args->common.output != OUTPUT_JSON) {
        vet_print_rules_human(policy);
        return EXIT_SUCCESS;
    }
    return vet_print_rules_json(policy) ? EXIT_SUCCESS : EXIT_ERROR;
}

/* False: reported. Nothing but the file itself can be opened, and once it is, nothing at all. */
static bool open_file(struct vet *vet, const struct common_options *common,
                      struct qcow2_source *source_ret)
{
    const struct confinement alone = {
        .common = common,
        .images = &vet->path,
        .image_count = 1,
        .no_references = true,
        .no_keys = true,
    };
    struct qcow2_error err = QCOW2_ERROR_INIT;

    if (!confine(&alone)) {
        return false;
    }
    if (image_directory_open(vet->path, source_ret, &err) < 0) {
        report_library(vet->path, &err);
        return false;
    }
    if (!confine_opened()) {
        source_ret->close(source_ret->ctx);
        return false;
    }
    return true;
}

/* False: reported. */
static bool look(struct vet *vet, const struct common_options *common)
{
    struct qcow2_source source;

    if (!open_file(vet, common, &source)) {
        return false;
    }
    if (!vet_open(vet, &source, common->format) ||
        (vet->image != NULL &&
         !(vet_header(vet) && vet_second(vet) && vet_stray(vet) && vet_tables(vet)))) {
        report_library(vet->path, &vet->failure);
        return false;
    }
    return true;
}

static int vet_image(const struct args *args, const struct vet_policy *policy)
{
    struct vet *vet = calloc(1, sizeof *vet);
    int code = EXIT_ERROR;

    if (vet == NULL) {
        report(args->operands[0], "out of memory");
        return EXIT_ERROR;
    }
    vet->path = args->operands[0];
    vet->policy = policy;
    vet->info.size = sizeof vet->info;
    if (!look(vet, &args->common)) {
        code = EXIT_ERROR;
    } else if (args->common.output != OUTPUT_JSON) {
        vet_print_human(vet, args->common.quiet);
        code = vet_verdict(vet) ? EXIT_SUCCESS : EXIT_NO;
    } else if (vet_print_json(vet)) {
        code = vet_verdict(vet) ? EXIT_SUCCESS : EXIT_NO;
    }
    if (vet->image != NULL) {
        stats_print(vet->path, vet->image, &args->common);
    }
    qcow2_close(vet->image);
    free(vet);
    return code;
}

static int run(struct args *args)
{
    struct vet_policy policy;
    bool list = false;
    int option;

    vet_policy_begin(&policy);
    while ((option = args_next(args)) > 0) {
        if (!take_option(args, option, &policy, &list)) {
            return EXIT_ERROR;
        }
    }
    if (option < 0) {
        return args->exit_code == EXIT_SUCCESS ? EXIT_SUCCESS : EXIT_ERROR;
    }
    if (!args_operands(args, list ? 0 : 1, list ? 0 : 1)) {
        return EXIT_ERROR;
    }
    if (policy.strict) {
        vet_policy_make_strict(&policy);
    }
    if (list) {
        return list_rules(args, &policy);
    }
    return vet_image(args, &policy);
}

const struct command command_vet = {
    .name = "vet",
    .summary = "may this untrusted image be let in?",
    .operands = "IMAGE",
    .error_code = EXIT_ERROR,
    .without = WITHOUT_SNAPSHOT | WITHOUT_KEY | WITHOUT_READING,
    .text = "Judges an image that a stranger has sent by named rules: does it refer to other "
            "files, does "
            "it say more than it is, are its tables those of a sound image? Each finding has a "
            "line with "
            "a severity, a rule and a place; \"deny\" says no. Then come the verdict and what the "
            "image "
            "may cost: the size of its disk, memory and work.\n"
            "\n"
            "No other file is opened, no data is read, nothing is decompressed and no key is "
            "needed. The "
            "work follows what the file stores, not the size of the disk.\n"
            "\n"
            "Exit code: 0 yes, 1 no, 2 an error, so that nothing is known. An image that is broken "
            "is a "
            "no; a file that cannot be read is an error.",
    .options = options,
    .examples = "  qcow2 vet upload.qcow2 && qcow2 convert upload.qcow2 disk.raw\n"
                "      only if the answer is yes\n"
                "  qcow2 vet --ignore snapshots --max-virtual-size 100G upload.qcow2\n"
                "      another policy\n"
                "  qcow2 vet --output=json upload.qcow2 | jq -r '.findings[].rule'\n"
                "      for programs: the codes of rules do not change\n",
    .run = run,
};
