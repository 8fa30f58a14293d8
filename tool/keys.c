/* SPDX-License-Identifier: MIT */
/* keys.c - the passphrases of encrypted images: from files, descriptors or the terminal.
 * Knows where they come from and how long they live; must not know what they unlock.
 *
 * Nothing here goes through stdio, whose buffers would keep a copy. */
#include "keys.h"

#include <errno.h>
#include <fcntl.h>
#include <qcow2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prompt.h"

void keys_wipe(void *bytes, size_t count)
{
    volatile char *at = bytes;

    while (count-- > 0) {
        *at++ = 0;
    }
}

bool keys_add(struct keys *keys, const char *file)
{
    if (keys->file_count == KEY_FILES_MAX) {
        return false;
    }
    keys->files[keys->file_count++] = file;
    return true;
}

void keys_begin(struct keys *keys)
{
    keys->next = 0;
    keys->asked = false;
    keys->problem[0] = '\0';
}

void keys_forget(struct keys *keys)
{
    for (unsigned i = 0; i < keys->file_count; i++) {
        if (keys->bytes[i] != NULL) {
            keys_wipe(keys->bytes[i], KEY_BYTES_MAX);
            free(keys->bytes[i]);
            keys->bytes[i] = NULL;
        }
    }
}

__attribute__((format(printf, 2, 3))) static int fail(struct keys *keys, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(keys->problem, sizeof keys->problem, format, args);
    va_end(args);
    return QCOW2_E_KEY;
}

/* It is read from where it stands, which opening it anew would not do. */
int keys_descriptor(const char *file)
{
    static const char directory[] = "/dev/fd/";
    const char *number = file + sizeof directory - 1;
    char *end;
    long fd;

    if (strcmp(file, "-") == 0) {
        return STDIN_FILENO;
    }
    if (strncmp(file, directory, sizeof directory - 1) != 0 || number[0] < '0' || number[0] > '9') {
        return -1;
    }
    fd = strtol(number, &end, 10);
    return *end == '\0' && fd <= 65535 ? (int)fd : -1;
}

/* Reads all there is: the count, or -1 with errno set; EFBIG: more than KEY_BYTES_MAX. */
static ssize_t read_all(int fd, char *bytes)
{
    size_t count = 0;

    for (;;) {
        char surplus;
        size_t room = KEY_BYTES_MAX - count;
        ssize_t n = room > 0 ? read(fd, bytes + count, room) : read(fd, &surplus, 1);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n > 0 && room == 0) {
            errno = EFBIG;
            return -1;
        }
        if (n <= 0) {
            return n < 0 ? -1 : (ssize_t)count;
        }
        count += (size_t)n;
    }
}

static int load(struct keys *keys, unsigned index)
{
    const char *file = keys->files[index];
    int given = keys_descriptor(file);
    int fd = given >= 0 ? given : open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat info;
    char *bytes;
    ssize_t count;

    /* The sandbox lets neither be read. */
    if (given == STDOUT_FILENO || given == STDERR_FILENO) {
        return fail(keys, "the key file %s is an output of the program", file);
    }
    if (fd < 0 && errno == EACCES) {
        /* The sandbox has no rule for it. */
        errno = stat(file, &info) == 0 && S_ISDIR(info.st_mode) ? EISDIR : EACCES;
    }
    if (fd < 0) {
        return fail(keys, "the key file %s cannot be opened: %s", file, strerror(errno));
    }
    bytes = malloc(KEY_BYTES_MAX);
    if (bytes == NULL) {
        if (given < 0) {
            close(fd);
        }
        return fail(keys, "out of memory");
    }
    count = read_all(fd, bytes);
    if (count < 0) {
        fail(keys, "the key file %s cannot be read: %s", file,
             errno == EFBIG ? "it is longer than 65536 bytes" : strerror(errno));
    } else if (count > 0 && bytes[count - 1] == '\n') {
        count--;
    }
    if (given < 0) {
        close(fd);
    }
    if (count < 0) {
        keys_wipe(bytes, KEY_BYTES_MAX);
        free(bytes);
        return QCOW2_E_KEY;
    }
    keys->bytes[index] = bytes;
    keys->lengths[index] = (size_t)count;
    return 0;
}

static int ask_user(struct keys *keys, const char *name, char *buf, size_t buf_bytes,
                    size_t *length_ret)
{
    if (isatty(STDIN_FILENO) != 1) {
        return fail(keys, "the image is encrypted; give its passphrase with --key-file FILE (a "
                          "descriptor: --key-file -)");
    }
    switch (prompt_passphrase(name, buf, buf_bytes, length_ret)) {
    case PROMPT_DONE:
        if (keys->remember && (keys->bytes[0] = malloc(KEY_BYTES_MAX)) != NULL) {
            memcpy(keys->bytes[0], buf, *length_ret);
            keys->lengths[0] = *length_ret;
            keys_add(keys, "-");
        }
        return 0;
    case PROMPT_NO_TERMINAL:
        return fail(keys, "the image is encrypted, and there is no terminal to ask for its "
                          "passphrase; give it with --key-file FILE");
    case PROMPT_TOO_LONG:
        return fail(keys, "the passphrase is too long");
    default:
        return fail(keys, "the image is encrypted, and no passphrase was entered");
    }
}

int keys_get(void *ctx, int depth, const char *name, char *buf, size_t buf_bytes,
             size_t *length_ret)
{
    struct keys *keys = ctx;
    unsigned index = keys->next;

    (void)depth;
    keys->asked = true;
    if (keys->file_count == 0) {
        return ask_user(keys, name, buf, buf_bytes, length_ret);
    }
    if (index + 1 < keys->file_count) {
        keys->next++;
    }
    if (keys->bytes[index] == NULL) {
        int r = load(keys, index);

        if (r < 0) {
            return r;
        }
    }
    if (keys->lengths[index] > buf_bytes) {
        return fail(keys, "the key is too long");
    }
    memcpy(buf, keys->bytes[index], keys->lengths[index]);
    *length_ret = keys->lengths[index];
    return 0;
}
