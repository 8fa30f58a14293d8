/* SPDX-License-Identifier: MIT */
/* keys.h - the passphrases of encrypted images: from files, descriptors or the terminal, never from
 * the command line. */
#ifndef TOOL_KEYS_H
#define TOOL_KEYS_H

#include <stdbool.h>
#include <stddef.h>

/* As much as the library takes. */
#define KEY_BYTES_MAX 65536
#define KEY_FILES_MAX 16

struct keys {
    const char *files[KEY_FILES_MAX]; /* as given with --key-file */
    unsigned file_count;
    char *bytes[KEY_FILES_MAX]; /* what they hold, once they have been read */
    size_t lengths[KEY_FILES_MAX];
    unsigned images_left; /* to be opened with these keys, after which they are forgotten */
    bool remember;        /* an answer of the user is kept, as if it were a key file */
    unsigned next;        /* the file for the next encrypted layer of the image being opened */
    bool asked;           /* the image being opened wanted a key */
    char problem[1024];   /* why none could be had; "" */
};

/* Adds a file. False: there are too many. */
bool keys_add(struct keys *keys, const char *file);

/* The descriptor that a key file is by its name: "-" and "/dev/fd/N" mean one that is open already. -1: `file`
 * is a name like others. */
int keys_descriptor(const char *file);

/* Before an image is opened. */
void keys_begin(struct keys *keys);

/* For the library; `ctx` is the struct. The first encrypted file of a chain gets the first key file
 * and so on, all that are left the last. Without key files the user is asked, if standard input is
 * a terminal. */
int keys_get(void *ctx, int depth, const char *name, char *buf, size_t buf_bytes,
             size_t *length_ret);

/* Wipes and frees what has been read. It is read again when needed, as far as that can be done. */
void keys_forget(struct keys *keys);

/* Overwrites bytes that nobody will read. */
void keys_wipe(void *bytes, size_t count);

#endif
