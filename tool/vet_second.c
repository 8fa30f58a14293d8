/* SPDX-License-Identifier: MIT */
/* vet_second.c - what a qcow2 file may be taken for besides. Its first four bytes are those of qcow2, but many
 * formats are known by bytes at other places. Knows these places; nothing of what the image uses them for: the
 * other program does not know whether a table or the guest's data has the bytes. */
#include "vet_second.h"

#include <string.h>

enum { MAX_COUNT = 16 };

struct magic {
    const char *format;
    uint64_t offset;
    const char *bytes;
    size_t count;
};

/* By offset. A place is listed if any reader accepts the bytes there without more. Those of two bytes lie in the
 * header, or in what follows a header in clusters of less than 2 KiB, where writers have a table. */
static const struct magic places[] = {
    { "VDI image", 64, MAGIC("\x7f\x10\xda\xbe") },
    { "tar archive", 257, MAGIC("ustar") },
    { "disk with a boot sector", 510, MAGIC("\x55\xaa") },
    { "cramfs file system", 512, MAGIC("\x45\x3d\xcd\x28") },
    { "HFS file system", 1024, MAGIC("BD") },
    { "HFS+ file system", 1024, MAGIC("H+") },
    { "HFS+ file system", 1024, MAGIC("HX") },
    { "MFS file system", 1024, MAGIC("\xd2\xd7") },
    { "F2FS file system", 1024, MAGIC("\x10\x20\xf5\xf2") },
    { "EROFS file system", 1024, MAGIC("\xe2\xe1\xf5\xe0") },
    { "VxFS file system", 1024, MAGIC("\xf5\xfc\x01\xa5") },
    { "OCFS2 file system", 1024, MAGIC("OCFSV2") },
    { "file system (ext2, ext3, ext4)", 1024 + 56, MAGIC("\x53\xef") },
    { "OCFS2 file system", 2048, MAGIC("OCFSV2") },
    { "OCFS2 file system", 4096, MAGIC("OCFSV2") },
    { "bcache device", 4096 + 24, MAGIC("\xc6\x85\x73\xf6\x4e\x1a\x45\xca") },
    { "bcachefs file system", 4096 + 24, MAGIC("\xc6\x85\x73\xf6\x66\xce\x90\xa9") },
    { "F2FS file system", 4096 + 1024, MAGIC("\x10\x20\xf5\xf2") }, /* the second superblock */
    { "HPFS file system", 0x2000, MAGIC("\x49\xe8\x95\xf9\xc5\xe9\x53\xfa") },
    { "OCFS2 file system", 0x2000, MAGIC("OCFSV2") },
    { "ReiserFS file system", 0x2014, MAGIC("ReIsErFs") },
    { "ReiserFS file system", 0x2034, MAGIC("ReIsErFs") },
    { "JFS file system", 0x8000, MAGIC("JFS1") },
    { "CD (ISO 9660)", 0x8001, MAGIC("CD001") },
    { "CD (High Sierra)", 0x8009, MAGIC("CDROM") },
    /* What UDF may begin with; CD001 also. */
    { "UDF file system", 0x8001, MAGIC("BEA01") },
    { "UDF file system", 0x8001, MAGIC("BOOT2") },
    { "UDF file system", 0x8001, MAGIC("CDW02") },
    { "UDF file system", 0x8001, MAGIC("NSR02") },
    { "UDF file system", 0x8001, MAGIC("NSR03") },
    { "UDF file system", 0x8001, MAGIC("TEA01") },
    { "CD of raw sectors (ISO 9660)", 0x9311, MAGIC("CD001") },
    { "CD of raw sectors (ISO 9660)", 0x9319, MAGIC("CD001") },
    { "JFS file system", 0xf000, MAGIC("JFS1") }, /* the second superblock */
    { "Reiser4 file system", 0x10000, MAGIC("ReIsEr4") },
    { "GFS2 file system", 0x10000, MAGIC("\x01\x16\x19\x70\0\0\0\1") },
    { "ReiserFS file system", 0x10014, MAGIC("ReIsErFs") },
    { "ReiserFS file system", 0x10034, MAGIC("ReIsEr") },
    { "Btrfs file system", 0x10040, MAGIC("_BHRfS_M") },
};

/* These count in the first cluster only. A disk of a guest begins with such a thing, not with a header before it;
 * in clusters of 4 KiB or less it may come to lie here by chance. GPT also is none without a boot sector. */
static const struct magic first_cluster_places[] = {
    { "disk with a partition table (GPT)", 512, MAGIC("EFI PART") },
    { "disk with a partition table (GPT)", 2048, MAGIC("EFI PART") },
    { "disk with a partition table (GPT)", 4096, MAGIC("EFI PART") },
    { "LVM volume", 512, MAGIC("LABELONE") },
    { "LVM volume", 1024, MAGIC("LABELONE") },
    { "LVM volume", 1536, MAGIC("LABELONE") },
    { "member of a RAID", 4096, MAGIC("\xfc\x4e\x2b\xa9\x01\0\0\0") },
    { "swap area", 4086, MAGIC("SWAPSPACE2") },
    { "swap area", 8182, MAGIC("SWAPSPACE2") },
    { "swap area", 16374, MAGIC("SWAPSPACE2") },
    { "swap area", 32758, MAGIC("SWAPSPACE2") },
    { "swap area", 65526, MAGIC("SWAPSPACE2") },
    { "LUKS volume", 0x4000, MAGIC("SKUL\xba\xbe") },
    { "LUKS volume", 0x8000, MAGIC("SKUL\xba\xbe") },
    { "LUKS volume", 0x10000, MAGIC("SKUL\xba\xbe") },
    { "LUKS volume", 0x20000, MAGIC("SKUL\xba\xbe") },
    { "LUKS volume", 0x40000, MAGIC("SKUL\xba\xbe") },
    { "LUKS volume", 0x80000, MAGIC("SKUL\xba\xbe") },
    { "LUKS volume", 0x100000, MAGIC("SKUL\xba\xbe") },
    { "LUKS volume", 0x200000, MAGIC("SKUL\xba\xbe") },
    { "LUKS volume", 0x400000, MAGIC("SKUL\xba\xbe") },
};

bool vet_second_has(struct vet_file *file, uint64_t offset, const char *bytes, size_t count)
{
    char found[MAX_COUNT];

    if (file->err.code != 0 || count > sizeof found || offset > file->size ||
        file->size - offset < count) {
        return false;
    }
    return qcow2_pread(file->bytes, found, count, offset, &file->err) == (ssize_t)count &&
           memcmp(found, bytes, count) == 0;
}

void vet_second_find(struct vet_file *file, const char *format, uint64_t offset)
{
    vet_find(file->vet, VET_DISGUISED, offset,
             "may be taken for a %s: a program that looks here reads something else", format);
}

static void look_at_places(struct vet_file *file)
{
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (vet_second_has(file, places[i].offset, places[i].bytes, places[i].count)) {
            vet_second_find(file, places[i].format, places[i].offset);
        }
    }
    for (size_t i = 0; i < sizeof first_cluster_places / sizeof first_cluster_places[0]; i++) {
        const struct magic *magic = &first_cluster_places[i];

        if (magic->offset < file->vet->info.cluster_size &&
            vet_second_has(file, magic->offset, magic->bytes, magic->count)) {
            vet_second_find(file, magic->format, magic->offset);
        }
    }
}

bool vet_second(struct vet *vet)
{
    struct vet_file file = { .vet = vet, .err = QCOW2_ERROR_INIT };

    if (vet->info.format == QCOW2_FORMAT_RAW) {
        return true;
    }
    if (vet_open_bytes(vet->fd, &file.bytes, &file.err) < 0) {
        vet->failure = file.err;
        return false;
    }
    file.size = vet->info.file_size;
    look_at_places(&file);
    vet_second_records(&file);
    qcow2_close(file.bytes);
    vet->failure = file.err;
    return file.err.code == 0;
}
