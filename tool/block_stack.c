/* SPDX-License-Identifier: MIT */
/* block_stack.c - see block_stack.h. Knows how Linux describes block devices; must not know images. */
#include "block_stack.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#endif

/* As many devices on top of each other as anybody has. */
enum { MAX_DEPTH = 8 };

static struct storage *add(struct block_stack *stack, const struct storage *storage)
{
    if (stack->count == BLOCK_STACK_MAX) {
        stack->complete = false;
        return NULL;
    }
    stack->storage[stack->count] = *storage;
    return &stack->storage[stack->count++];
}

#ifdef __linux__
#define SYS_PATH_MAX 128

static void sys_path(char path[SYS_PATH_MAX], dev_t device, const char *tail)
{
    snprintf(path, SYS_PATH_MAX, "/sys/dev/block/%u:%u/%s", major(device), minor(device), tail);
}

/* The text of an attribute, without its line end. False: the device has none of this name. */
static bool attribute(dev_t device, const char *tail, char *text, size_t bytes)
{
    char path[SYS_PATH_MAX];
    ssize_t n;
    int fd;

    sys_path(path, device, tail);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    n = read(fd, text, bytes - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return n > 0;
}

static bool number(dev_t device, const char *tail, uint64_t *number_ret)
{
    char text[32];

    if (!attribute(device, tail, text, sizeof text)) {
        return false;
    }
    *number_ret = strtoull(text, NULL, 10);
    return true;
}

/* "8:1" */
static bool device_number(dev_t device, const char *tail, dev_t *device_ret)
{
    char text[32];
    char *colon;
    unsigned long first;

    if (!attribute(device, tail, text, sizeof text)) {
        return false;
    }
    first = strtoul(text, &colon, 10);
    if (*colon != ':') {
        return false;
    }
    *device_ret = makedev((unsigned)first, (unsigned)strtoul(colon + 1, NULL, 10));
    return true;
}

/* What a loop device shows a part of: a file, or another device. The device itself knows it whatever has become of its
 * name; else the name in /sys is asked. */
static bool loop_backing(dev_t device, struct storage *below)
{
    char path[4096];
    struct loop_info64 info;
    struct stat st;
    int fd;

    snprintf(path, sizeof path, "/dev/loop%u", minor(device));
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
        bool known = fstat(fd, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == device &&
                     ioctl(fd, LOOP_GET_STATUS64, &info) == 0;

        close(fd);
        if (known) {
            below->is_file = info.lo_rdevice == 0;
            below->device = (dev_t)(below->is_file ? info.lo_device : info.lo_rdevice);
            below->inode = (ino_t)info.lo_inode;
            return true;
        }
    }
    if (!attribute(device, "loop/backing_file", path, sizeof path) || stat(path, &st) != 0) {
        return false;
    }
    below->is_file = !S_ISBLK(st.st_mode);
    below->device = below->is_file ? st.st_dev : st.st_rdev;
    below->inode = st.st_ino;
    return true;
}

/* Where a part of a device of `bytes` bytes (0: not known) lies in the one below, in which the device begins at
 * `offset`. */
static void move_below(struct storage *part, uint64_t offset, uint64_t bytes)
{
    if (bytes > 0 && part->end > bytes) {
        part->end = bytes;
    }
    part->start = part->start < UINT64_MAX - offset ? part->start + offset : UINT64_MAX;
    part->end = part->end < UINT64_MAX - offset ? part->end + offset : UINT64_MAX;
}

/* A device, as found so far, and a level more of what it occupies. */
struct level {
    dev_t device;
    struct storage part; /* of the device */
    int depth;
};

static void walk(struct block_stack *stack, const struct level *level);

static void walk_below(struct block_stack *stack, const struct level *level, dev_t device,
                       const struct storage *part)
{
    struct level below = { .device = device, .part = *part, .depth = level->depth + 1 };

    below.part.device = device;
    walk(stack, &below);
}

static void walk_slaves(struct block_stack *stack, const struct level *level)
{
    char path[SYS_PATH_MAX];
    const struct dirent *entry;
    DIR *slaves;

    sys_path(path, level->device, "slaves");
    slaves = opendir(path);
    while (slaves != NULL && (entry = readdir(slaves)) != NULL) {
        struct storage part = { .end = UINT64_MAX, .partly = true };
        char tail[sizeof entry->d_name + 16];
        dev_t device;

        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(tail, sizeof tail, "slaves/%s/dev", entry->d_name);
        if (strlen(tail) < SYS_PATH_MAX - 64 && device_number(level->device, tail, &device)) {
            walk_below(stack, level, device, &part);
        } else {
            stack->complete = false;
        }
    }
    if (slaves != NULL) {
        closedir(slaves);
    }
}

/* NOLINTNEXTLINE(misc-no-recursion): at most MAX_DEPTH levels */
static void walk(struct block_stack *stack, const struct level *level)
{
    struct storage part = level->part;
    uint64_t offset = 0, bytes = 0;
    dev_t disk;

    if (level->depth > MAX_DEPTH || add(stack, &part) == NULL) {
        stack->complete = false;
        return;
    }
    if (number(level->device, "start", &offset) && number(level->device, "size", &bytes) &&
        device_number(level->device, "../dev", &disk)) {
        move_below(&part, offset * 512, bytes * 512);
        walk_below(stack, level, disk, &part);
        return;
    }
    if (number(level->device, "loop/offset", &offset)) {
        (void)number(level->device, "size", &bytes);
        move_below(&part, offset, bytes * 512);
        if (!loop_backing(level->device, &part)) {
            stack->complete = false;
        } else if (part.is_file) { /* the file system that it is in is left alone */
            (void)add(stack, &part);
        } else {
            walk_below(stack, level, part.device, &part);
        }
        return;
    }
    walk_slaves(stack, level);
}

/* The device that has the file system, of which a file is an unknown part. Those without one have major number 0. */
static void walk_file_system(struct block_stack *stack, dev_t device)
{
    const struct level level = { .device = device,
                                 .part = { .device = device, .end = UINT64_MAX, .partly = true } };

    if (major(device) != 0) {
        walk(stack, &level);
    }
}
#endif

void block_stack_find(struct block_stack *stack, const struct stat *file)
{
    struct storage whole = { .is_file = S_ISREG(file->st_mode), .end = UINT64_MAX };

    memset(stack, 0, sizeof *stack);
    stack->complete = true;
    if (S_ISREG(file->st_mode)) {
        whole.device = file->st_dev;
        whole.inode = file->st_ino;
        (void)add(stack, &whole);
#ifdef __linux__
        walk_file_system(stack, file->st_dev);
#endif
    } else if (S_ISBLK(file->st_mode)) {
        whole.device = file->st_rdev;
#ifdef __linux__
        walk(stack, &(const struct level){ .device = file->st_rdev, .part = whole });
#else
        (void)add(stack, &whole);
#endif
    }
}

static bool is_same(const struct storage *a, const struct storage *b)
{
    return a->is_file == b->is_file && a->device == b->device &&
           (!a->is_file || a->inode == b->inode);
}

bool block_stack_overlap(const struct block_stack *a, const struct block_stack *b)
{
    for (unsigned i = 0; i < a->count; i++) {
        for (unsigned k = 0; k < b->count; k++) {
            const struct storage *one = &a->storage[i], *other = &b->storage[k];

            if (is_same(one, other) && one->start < other->end && other->start < one->end &&
                !(one->partly && other->partly)) {
                return true;
            }
        }
    }
    return false;
}
