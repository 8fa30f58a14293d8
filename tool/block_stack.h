/* SPDX-License-Identifier: MIT */
/* block_stack.h - the storage that a file or block device occupies: a partition a part of a disk, a loop device a part
 * of a file, a device of the device mapper parts of others. */
#ifndef TOOL_BLOCK_STACK_H
#define TOOL_BLOCK_STACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Bytes [start, end) of a file, or of a block device. */
struct storage {
    bool is_file;
    dev_t device; /* of the file's file system; the block device itself */
    ino_t inode;  /* of a file */
    uint64_t start, end;
    bool partly; /* unknown parts of the range */
};

#define BLOCK_STACK_MAX 64

struct block_stack {
    unsigned
        count; /* the file or device itself, then what is below it; 0: neither a file nor a block device */
    struct storage storage[BLOCK_STACK_MAX];
    bool complete; /* false: there is more, or something of it could not be found */
};

/* Finds the storage of what `file` describes. Linux' /sys tells it; elsewhere a file or device is its own storage
 * alone. Before the sandbox, which allows no look at /sys. */
void block_stack_find(struct block_stack *stack, const struct stat *file);

/* Do both occupy the same bytes of something? Parts of one device that are not known do not count: two logical volumes of
 * one disk are two. */
bool block_stack_overlap(const struct block_stack *a, const struct block_stack *b);

#endif
