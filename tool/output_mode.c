/* SPDX-License-Identifier: MIT */
/* output_mode.c - who may read a new file that holds what an encrypted image keeps secret.
 * Knows modes and groups; must not know how images are decrypted.
 *
 * The mode of a file is set before the image is opened, since afterwards nothing can change it: the
 * sandbox allows no such call. Which files of the chain are encrypted is known only then. So the likely
 * bound is taken beforehand, and a file that turns out too wide is refused. */
#include "output_mode.h"

#include <string.h>
#include <unistd.h>

#include "image_directory.h"
#include "keys.h"
#include "own_files.h"
#include "report.h"

/* The fields of the header that are read, and where the method of encryption is in versions 1 and later. */
enum { HEADER_BYTES = 40, VERSION_AT = 4, METHOD_AT = 32, METHOD_1_AT = 36, FIELD_BYTES = 4 };

static bool says_encrypted(int fd)
{
    static const unsigned char version_1[FIELD_BYTES] = { 0, 0, 0, 1 };
    static const unsigned char none[FIELD_BYTES] = { 0 };
    unsigned char header[HEADER_BYTES];
    size_t at;

    if (pread(fd, header, sizeof header, 0) != sizeof header ||
        memcmp(header, "QFI\xfb", FIELD_BYTES) != 0) {
        return false;
    }
    at = memcmp(header + VERSION_AT, version_1, FIELD_BYTES) == 0 ? METHOD_1_AT : METHOD_AT;
    return memcmp(header + at, none, FIELD_BYTES) != 0;
}

void output_mode_find(struct output_mode *mode, const char *image_path,
                      const struct common_options *common)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_source source;
    int fd;

    memset(mode, 0, sizeof *mode);
    if (common->format == QCOW2_FORMAT_RAW || image_directory_open(image_path, &source, &err) < 0) {
        return; /* the image will not open either */
    }
    fd = source.get_fd(source.ctx);
    mode->bounded =
        fstat(fd, &mode->image) == 0 && (common->keys->file_count > 0 || says_encrypted(fd));
    source.close(source.ctx);
}

/* The permissions of a file of this mode and group, for one of group `gid`: members of another group have
 * those of others. */
static mode_t permissions(mode_t mode, gid_t group, gid_t gid)
{
    mode &= 0666;
    if (group != gid) {
        mode &= 0606 | (mode & 06) << 3;
    }
    return mode;
}

mode_t output_mode_of(const struct output_mode *mode, gid_t gid)
{
    return mode->bounded ? permissions(mode->image.st_mode, mode->image.st_gid, gid) : 0666;
}

bool output_mode_fits(const struct own_files *own, const char *output, int fd)
{
    struct qcow2_info info = QCOW2_INFO_INIT;
    struct stat file;

    if (fstat(fd, &file) != 0) {
        return true; /* the first write will fail */
    }
    for (int depth = 0; qcow2_get_info(own->image, depth, &info, NULL) == 0; depth++) {
        const struct layer_files *layers = &own->layers;
        mode_t allowed = 0;

        if (info.encryption == QCOW2_ENCRYPTION_NONE) {
            continue;
        }
        if ((unsigned)depth < layers->count) {
            allowed = permissions(layers->modes[depth], layers->groups[depth], file.st_gid);
        }
        if ((file.st_mode & 0066 & ~allowed) != 0) {
            report(output,
                   "layer %d of the image is encrypted and readable by fewer users than the new "
                   "file would be; set a umask of 077",
                   depth);
            return false;
        }
    }
    return true;
}
