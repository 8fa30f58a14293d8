/* SPDX-License-Identifier: MIT */
/* confine.c - what a command can still reach once it looks at images: the files it was given, and what
 * libraries read behind its back.
 * Knows options and files; must not know how a process is restricted (sandbox.c). */
#include "confine.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_directory.h"
#include "prompt.h"
#include "report.h"
#include "sandbox.h"

static bool confined;
static int images_left;

/* Which kinds of file a name may lead to. */
enum kinds { FILES_OF_IMAGES, FILES_OF_KEYS, FILES_AND_DIRECTORIES };

/* What the name leads to, wherever links lead. Nothing is opened by O_PATH, which systems with a sandbox
 * have. A directory that an operand leads to would be a right to all beneath it, so it gets no rule. */
static void allow_name(int directory, const char *name, enum kinds kinds)
{
#ifdef O_PATH
    int fd = openat(directory, name, O_PATH | O_CLOEXEC);
    struct stat info;

    if (fd < 0) {
        return;
    }
    if (kinds != FILES_OF_IMAGES ||
        (fstat(fd, &info) == 0 && (S_ISREG(info.st_mode) || S_ISBLK(info.st_mode)))) {
        sandbox_allow_file(fd);
    }
    if (kinds == FILES_AND_DIRECTORIES) {
        sandbox_allow_directory(fd);
    }
    close(fd);
#else
    (void)directory;
    (void)name;
    (void)kinds;
#endif
}

/* An image, and with `references` what lies beneath its own directory. Where one of them cannot be opened,
 * opening the image reports it. */
static void allow_image(const char *path, bool references)
{
    const struct image_directory *image = image_directory_of(path);

    if (image == NULL || image->fd < 0) {
        return;
    }
    if (references && image->is_own) {
        sandbox_allow_directory(image->fd);
    }
    allow_name(image->fd, image->name, FILES_OF_IMAGES);
    image_directory_rest(path);
}

/* False after a report: the user is not left to wonder why a file beneath is refused. */
static bool allow_directories(const struct common_options *common)
{
    for (unsigned i = 0; i < common->allow_count; i++) {
        int fd = allowed_directory(common->allow[i]);

        if (fd < 0) {
            report_errno(common->allow[i], -fd, "cannot open the directory given with --allow");
            return false;
        }
        sandbox_allow_directory(fd);
    }
    return true;
}

/* A key that is read from a descriptor has no name: a file that has the name "-" is another one. */
static void allow_keys(const struct keys *keys)
{
    for (unsigned i = 0; i < keys->file_count; i++) {
        if (keys_descriptor(keys->files[i]) < 0) {
            allow_name(AT_FDCWD, keys->files[i], FILES_OF_KEYS);
        }
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
        allow_name(AT_FDCWD, path, FILES_AND_DIRECTORIES);
    }
}

/* What libraries open when they are first asked for something: libcrypto its configuration and the
 * module with old ciphers, libc the number of processors. None of it is anybody's secret. */
static void allow_libraries(void)
{
    allow_openssl(OPENSSL_DIR, "/openssl.cnf");
    allow_openssl(OPENSSL_MODULES_DIR, "");
    allow_name(AT_FDCWD, "/sys/devices/system/cpu", FILES_AND_DIRECTORIES);
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
        allow_image(needs->images[i], !needs->no_references);
    }
    if (!needs->no_references && !allow_directories(needs->common)) {
        return false;
    }
    if (!needs->no_keys) {
        allow_keys(needs->common->keys);
    }
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
    if (images_left < 0 || --images_left > 0) {
        return true;
    }
    prompt_end();
    return sandbox_seal();
}
