/* SPDX-License-Identifier: MIT */
/* vet_disguise.c - may a raw disk be taken for an image of another format? A guest can write what it likes
 * to its disk, and some formats name other files. Knows by what QEMU and others tell formats apart,
 * and nothing else of them; that a disk is qcow the library says. */
#include "vet.h"

#include <string.h>
#include <strings.h>

enum {
    HEAD_BYTES = 4096, /* QEMU guesses by the first 512 */
    TAIL_BYTES = 1024  /* a footer has 512, and the file may end anywhere in the last sector */
};

struct ends {
    char head[HEAD_BYTES], tail[TAIL_BYTES];
    size_t head_bytes, tail_bytes;
    uint64_t tail_off; /* of the tail on the disk */
};

struct magic {
    const char *format;
    size_t offset;
    const char *bytes;
    size_t count;
};

#define MAGIC(text) text, sizeof(text) - 1

static const struct magic first_bytes[] = {
    { "VMDK", 0, MAGIC("KDMV") },
    { "VMDK", 0, MAGIC("COWD") },
    { "QED", 0, MAGIC("QED\0") },
    { "VHD", 0, MAGIC("conectix") },
    { "VHDX", 0, MAGIC("vhdxfile") },
    { "VDI", 64, MAGIC("\x7f\x10\xda\xbe") },
    { "Parallels", 0, MAGIC("WithoutFreeSpace") },
    { "Parallels", 0, MAGIC("WithouFreSpacExt") },
    { "Bochs", 0, MAGIC("Bochs Virtual HD Image") },
    { "cloop", 0, MAGIC("#!/bin/sh\n#V2.0 Format") },
    { "LUKS", 0, MAGIC("LUKS\xba\xbe") },
};

/* Anywhere in the tail: a footer ends where the file does, whatever its length, and the disk after a whole
 * sector. */
static const struct magic last_bytes[] = {
    { "VHD", 0, MAGIC("conectix") },
    { "DMG", 0, MAGIC("koly") },
};

static bool is_word(const char *text, const char *end, const char *word)
{
    size_t length = strlen(word);

    return (size_t)(end - text) >= length && strncasecmp(text, word, length) == 0;
}

static const char *skip_blanks(const char *text, const char *end)
{
    while (text < end && (*text == ' ' || *text == '\t' || *text == '\r')) {
        text++;
    }
    return text;
}

/* The title of a VMDK descriptor, in any of the ways in which it is written: "# Disk DescriptorFile". */
static bool is_descriptor_title(const char *comment, const char *end)
{
    static const char *const words[] = { "disk", "descriptor", "file" };
    const char *at = comment + 1;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        at = skip_blanks(at, end);
        if (!is_word(at, end, words[i])) {
            return false;
        }
        at += strlen(words[i]);
    }
    return true;
}

static bool is_version(const char *line, const char *end)
{
    static const char word[] = "version";
    const char *sign;

    if (!is_word(line, end, word)) {
        return false;
    }
    sign = skip_blanks(line + sizeof word - 1, end);
    return sign < end && *sign == '=';
}

/* A VMDK descriptor is text, and names the files that hold the disk. QEMU knows it by its first line that is
 * neither empty nor a comment, others by a comment. */
static bool is_descriptor(const char *text, size_t n)
{
    const char *end = text + n;

    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline != NULL ? newline : end;
        const char *line = skip_blanks(text, line_end);

        if (line < line_end && *line != '#') {
            return is_version(line, line_end);
        }
        if (line < line_end && is_descriptor_title(line, line_end)) {
            return true;
        }
        text = newline != NULL ? newline + 1 : end;
    }
    return false;
}

static void find(struct vet *vet, const char *format, uint64_t offset)
{
    vet_find(vet, VET_DISGUISED, offset,
             "may be taken for a %s image: who guesses its format reads another disk", format);
}

static void look(struct vet *vet, const struct ends *ends)
{
    for (size_t i = 0; i < sizeof first_bytes / sizeof first_bytes[0]; i++) {
        const struct magic *magic = &first_bytes[i];

        if (ends->head_bytes >= magic->offset + magic->count &&
            memcmp(ends->head + magic->offset, magic->bytes, magic->count) == 0) {
            find(vet, magic->format, magic->offset);
        }
    }
    if (is_descriptor(ends->head, ends->head_bytes)) {
        find(vet, "VMDK", 0);
    }
    for (size_t i = 0; i < sizeof last_bytes / sizeof last_bytes[0]; i++) {
        for (size_t at = 0; at + last_bytes[i].count <= ends->tail_bytes; at++) {
            if (memcmp(ends->tail + at, last_bytes[i].bytes, last_bytes[i].count) == 0) {
                find(vet, last_bytes[i].format, ends->tail_off + at);
            }
        }
    }
}

static int read_ends(int fd, struct ends *ends, struct qcow2_error *err)
{
    struct qcow2_image *disk;
    uint64_t size;
    ssize_t r;

    if ((r = vet_open_bytes(fd, &disk, err)) < 0) {
        return (int)r;
    }
    size = qcow2_size(disk);
    ends->head_bytes = size < HEAD_BYTES ? (size_t)size : HEAD_BYTES;
    ends->tail_bytes = size < TAIL_BYTES ? (size_t)size : TAIL_BYTES;
    ends->tail_off = size - ends->tail_bytes;
    if ((r = qcow2_pread(disk, ends->head, ends->head_bytes, 0, err)) >= 0) {
        r = qcow2_pread(disk, ends->tail, ends->tail_bytes, ends->tail_off, err);
    }
    qcow2_close(disk);
    return r < 0 ? (int)r : 0;
}

bool vet_disguise(struct vet *vet)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct ends ends;

    if (read_ends(vet->fd, &ends, &err) < 0) {
        vet->failure = err;
        return false;
    }
    look(vet, &ends);
    return true;
}
