/* SPDX-License-Identifier: MIT */
/* output_mode.c - who may read a new file that holds what an encrypted image keeps secret.
 * Knows modes and groups; must not know how images are decrypted.
 *
 * A new file is created with the least permissions and gets more by its descriptor: whoever opens a file keeps what
 * it could do then. This is done while the file is empty and before the image is opened, since afterwards nothing can change it: the
 * sandbox allows no such call. Which files of the chain are encrypted is known only then. So the likely
 * bound is taken beforehand, and a file that turns out too wide is refused. */
#include "output_mode.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "image_directory.h"
#include "keys.h"
#include "own_files.h"
#include "posix_acl.h"
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

mode_t output_mode_of_image(const struct stat *image, int fd)
{
    const mode_t owner = image->st_mode >> 6 & 07;

    /* A list may deny what the mode shows. */
    if (posix_acl_exists(fd)) {
        return image->st_mode & 0700;
    }
    /* Its owner may be one of the others for the new file. */
    return image->st_mode & (0700 | owner << 3 | owner);
}

void output_mode_find(struct output_mode *mode, const char *image_path,
                      const struct common_options *common)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_source source;
    struct stat info;
    int fd;

    memset(mode, 0, sizeof *mode);
    if (common->format == QCOW2_FORMAT_RAW || image_directory_open(image_path, &source, &err) < 0) {
        return; /* the image will not open either */
    }
    fd = source.get_fd(source.ctx);
    mode->bounded = fstat(fd, &info) == 0 && (common->keys->file_count > 0 || says_encrypted(fd));
    if (mode->bounded) {
        mode->image_group = info.st_gid;
        mode->image_mode = output_mode_of_image(&info, fd);
    }
    source.close(source.ctx);
}

/* The permissions of a file of this mode and group, for one of group `gid`. Members of another group have those of
 * others, and others may be members of the group, so that both get what both have. */
static mode_t permissions(mode_t mode, gid_t group, gid_t gid)
{
    mode &= 0777;
    if (group != gid) {
        const mode_t both = mode >> 3 & mode & 07;

        mode = (mode & 0700) | both << 3 | both;
    }
    return mode;
}

static mode_t current_umask(void)
{
    const mode_t mask = umask(0);

    umask(mask);
    return mask;
}

int output_mode_create(const struct output_mode *mode, int directory_fd, const char *name)
{
    return openat(directory_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                  mode->bounded ? 0600 : 0666);
}

static bool remove_acl(const char *output, int fd)
{
    const int failed = posix_acl_remove(fd);

    if (failed != 0) {
        report_errno(output, failed, "cannot remove the access control list of the new file");
    }
    return failed == 0;
}

bool output_mode_set(const struct output_mode *mode, const char *output, int fd)
{
    struct stat info;

    if (!mode->bounded) {
        return true; /* open(2) has set it */
    }
    /* One that the directory gives to each new file. With the mode of creation it grants nothing yet. */
    if (!remove_acl(output, fd)) {
        return false;
    }
    /* The directory may have decided about the group. */
    if (fstat(fd, &info) != 0 ||
        fchmod(fd, permissions(mode->image_mode, mode->image_group, info.st_gid) & 0666 &
                       ~current_umask()) != 0) {
        report_errno(output, errno, "cannot set the mode of the new file");
        return false;
    }
    return true;
}

/* Owner before mode: changing the owner may clear bits of the mode. Only root can keep a foreign owner; for others
 * the new file is their own, as it is with every program that replaces files. Of the groups they can keep their
 * own ones. */
static bool keep_owner(const struct stat *before, const char *output, int fd, gid_t *group_ret)
{
    const bool is_root = geteuid() == 0;
    struct stat info;

    if (fchown(fd, is_root ? before->st_uid : (uid_t)-1, before->st_gid) != 0 && is_root) {
        report_errno(output, errno, "cannot keep the owner of the file it replaces");
        return false;
    }
    if (fstat(fd, &info) != 0) {
        report_errno(output, errno, "cannot get the mode of the new file");
        return false;
    }
    *group_ret = info.st_gid;
    return true;
}

bool output_mode_keep(const struct stat *before, int before_fd, const char *output, int fd)
{
    mode_t mode = before->st_mode & 0777;
    enum posix_acl_copy copied;
    gid_t group;

    if (!remove_acl(output, fd) || !keep_owner(before, output, fd, &group)) {
        return false;
    }
    if (group == before->st_gid) {
        copied = posix_acl_copy(before_fd, fd);
    } else {
        copied = posix_acl_exists_at(before_fd) ? POSIX_ACL_UNKNOWN : POSIX_ACL_NONE;
    }
    if (copied == POSIX_ACL_COPIED) {
        return true;
    }
    mode = copied == POSIX_ACL_NONE ? permissions(mode, before->st_gid, group) : mode & 0700;
    if (fchmod(fd, mode) != 0) {
        report_errno(output, errno, "cannot keep the mode of the file it replaces");
        return false;
    }
    return true;
}

bool output_mode_fits(const struct own_files *own, const char *output, int fd, bool has_acl)
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
        if (has_acl && (file.st_mode & 0070) != 0) {
            report(output,
                   "layer %d of the image is encrypted, and the new file would have the access "
                   "control list that its directory gives; choose another directory",
                   depth);
            return false;
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
