/* SPDX-License-Identifier: MIT */
/* confine.c - what a command can still reach once it looks at images: the files it was given, and what
 * libraries read behind its back.
 * Knows options and files; must not know how a process is restricted (sandbox.c). */
#include "confine.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "prompt.h"
#include "sandbox.h"

static bool confined;
static int images_left;

/* The image itself, wherever links lead, and what lies beneath the directory it was named in, which it
 * may refer to. */
static void allow_image(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);

    sandbox_allow_reading(path);
    if (directory != NULL) { /* without memory for it, opening will fail as well, and say so */
        sandbox_allow_reading(directory);
    }
    free(directory);
}

static void allow_keys(const struct keys *keys)
{
    for (unsigned i = 0; i < keys->file_count; i++) {
        sandbox_allow_reading(keys->files[i]);
    }
    if (keys->file_count == 0) {
        prompt_prepare();
    }
}

/* OPENSSLDIR: "/usr/lib/ssl" -> the path between the quotes, with `tail`. */
static void allow_openssl(int which, const char *tail)
{
    char path[4096];
    const char *from = strchr(OpenSSL_version(which), '"');
    size_t count = from != NULL ? strcspn(from + 1, "\"") : 0;

    if (count > 0 && count + strlen(tail) < sizeof path) {
        memcpy(path, from + 1, count);
        memcpy(path + count, tail, strlen(tail) + 1);
        sandbox_allow_reading(path);
    }
}

/* What libraries open when they are first asked for something: libcrypto its configuration and the
 * module with old ciphers, libc the number of processors. None of it is anybody's secret. */
static void allow_libraries(void)
{
    allow_openssl(OPENSSL_DIR, "/openssl.cnf");
    allow_openssl(OPENSSL_MODULES_DIR, "");
    sandbox_allow_reading("/sys/devices/system/cpu");
}

bool confine(const struct confinement *needs)
{
    if (confined) {
        return true;
    }
    confined = true;
    images_left = needs->reopens ? -1 : needs->passes > 1 ? needs->passes : needs->image_count;
    sandbox_begin(needs->common->sandbox);
    for (int i = 0; i < needs->image_count; i++) {
        allow_image(needs->images[i]);
    }
    for (unsigned i = 0; i < needs->common->allow_count; i++) {
        sandbox_allow_reading(needs->common->allow[i]);
    }
    allow_keys(needs->common->keys);
    if (needs->second_keys != NULL) {
        allow_keys(needs->second_keys);
    }
    allow_libraries();
    if (needs->target != NULL) {
        target_confine(needs->target);
    }
    return sandbox_enter();
}

bool confine_opened(void)
{
    return images_left < 0 || --images_left > 0 || sandbox_seal();
}
