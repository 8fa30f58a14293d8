/* SPDX-License-Identifier: MIT */
/* vet_second.c - what a qcow2 file may be taken for besides. Its first four bytes are those of qcow2, but many
 * formats are known by bytes at other places, and some by the end of the file. Knows these places; nothing of
 * what the image uses them for: to those who look there it does not matter whether a table or the guest's
 * data has the bytes. */
#include "vet.h"

#include <string.h>

enum { SECTOR = 512, MAX_COUNT = 16 };

struct magic {
    const char *format;
    uint64_t offset;
    const char *bytes;
    size_t count;
};

#define MAGIC(text) text, sizeof(text) - 1

/* By offset. Long enough that they do not occur by chance, but for the boot sector, which lies in the header. */
static const struct magic places[] = {
    { "VDI image", 64, MAGIC("\x7f\x10\xda\xbe") },
    { "tar archive", 257, MAGIC("ustar") },
    { "disk with a boot sector", 510, MAGIC("\x55\xaa") },
    { "cramfs file system", 512, MAGIC("\x45\x3d\xcd\x28") },
    { "HFS+ file system", 1024, MAGIC("H+\0\x04") },
    { "HFSX file system", 1024, MAGIC("HX\0\x05") },
    { "F2FS file system", 1024, MAGIC("\x10\x20\xf5\xf2") },
    { "EROFS file system", 1024, MAGIC("\xe2\xe1\xf5\xe0") },
    { "JFS file system", 0x8000, MAGIC("JFS1") },
    { "CD (ISO 9660)", 0x8001, MAGIC("CD001") },
    { "CD (High Sierra)", 0x8009, MAGIC("CDROM") },
    { "CD of raw sectors (ISO 9660)", 0x9311, MAGIC("CD001") },
    { "CD of raw sectors (ISO 9660)", 0x9319, MAGIC("CD001") },
    { "UDF file system", 0x8001, MAGIC("BEA01") },
    { "UDF file system", 0x8001, MAGIC("NSR02") },
    { "UDF file system", 0x8001, MAGIC("NSR03") },
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

/* The file under examination. */
struct file {
    struct vet *vet;
    struct qcow2_image *bytes;
    uint64_t size;
    struct qcow2_error err; /* code 0: all reads were good */
};

/* Whether the file has these bytes there. */
static bool has(struct file *file, uint64_t offset, const char *bytes, size_t count)
{
    char found[MAX_COUNT];

    if (file->err.code != 0 || count > sizeof found || offset > file->size ||
        file->size - offset < count) {
        return false;
    }
    return qcow2_pread(file->bytes, found, count, offset, &file->err) == (ssize_t)count &&
           memcmp(found, bytes, count) == 0;
}

static void find(struct file *file, const char *format, uint64_t offset)
{
    vet_find(file->vet, VET_DISGUISED, offset,
             "may be taken for a %s: a program that looks here reads something else", format);
}

static void look_at_places(struct file *file)
{
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (has(file, places[i].offset, places[i].bytes, places[i].count)) {
            find(file, places[i].format, places[i].offset);
        }
    }
    for (size_t i = 0; i < sizeof first_cluster_places / sizeof first_cluster_places[0]; i++) {
        const struct magic *magic = &first_cluster_places[i];

        if (magic->offset < file->vet->info.cluster_size &&
            has(file, magic->offset, magic->bytes, magic->count)) {
            find(file, magic->format, magic->offset);
        }
    }
}

static unsigned little(const unsigned char *bytes, size_t count)
{
    unsigned value = 0;

    for (size_t i = count; i > 0; i--) {
        value = value << 8 | bytes[i - 1];
    }
    return value;
}

/* Its magic number has two bytes only, so the block size and the revision count too. */
static void look_for_ext(struct file *file)
{
    enum { AT = 1024, BYTES = 80, BLOCK_SIZE = 24, MAGIC_AT = 56, REVISION = 76 };
    unsigned char super[BYTES];

    if (file->size < AT + BYTES || file->err.code != 0 ||
        qcow2_pread(file->bytes, super, BYTES, AT, &file->err) < 0) {
        return;
    }
    if (little(super + MAGIC_AT, 2) == 0xef53 && little(super + BLOCK_SIZE, 4) <= 6 &&
        little(super + REVISION, 4) <= 1) {
        find(file, "file system (ext2, ext3, ext4)", AT + MAGIC_AT);
    }
}

/* Readers accept bytes before the title. */
static void look_for_pdf(struct file *file)
{
    enum { REACH = 1024 };
    static const char title[] = "%PDF-";
    char head[REACH];
    size_t n = file->size < REACH ? (size_t)file->size : REACH;

    if (file->err.code != 0 || qcow2_pread(file->bytes, head, n, 0, &file->err) < 0) {
        return;
    }
    for (size_t at = 0; at + sizeof title - 1 <= n; at++) {
        if (memcmp(head + at, title, sizeof title - 1) == 0) {
            find(file, "PDF document", at);
            return;
        }
    }
}

/* The footer of a virtual disk: the last 512 bytes, or 511, of the file or of its last sector, which a
 * program that reads sectors finds at the end. */
static void look_at_footer(struct file *file)
{
    const uint64_t size = file->size, sectors = (size + SECTOR - 1) / SECTOR * SECTOR;
    const uint64_t starts[] = { size - SECTOR, sectors - SECTOR, size - (SECTOR - 1) };

    for (size_t i = 0; size >= SECTOR && i < sizeof starts / sizeof starts[0]; i++) {
        if (has(file, starts[i], MAGIC("conectix"))) {
            find(file, "VHD image", starts[i]);
        }
        if (has(file, starts[i], MAGIC("koly\0\0\0\4\0\0\2\0"))) {
            find(file, "DMG image", starts[i]);
        }
    }
}

/* An archive ends with a record of 22 bytes, and a comment whose length is in the record. Only one that ends
 * where the file does is looked for: a guest has archives too, somewhere in its last cluster. */
static void look_for_zip(struct file *file)
{
    enum { RECORD = 22, LENGTH_AT = 20, MOST = RECORD + 65535 };
    static unsigned char tail[MOST];
    size_t n = file->size < MOST ? (size_t)file->size : MOST;

    if (file->err.code != 0 || qcow2_pread(file->bytes, tail, n, file->size - n, &file->err) < 0) {
        return;
    }
    for (size_t at = 0; at + RECORD <= n; at++) {
        if (memcmp(tail + at, "PK\5\6", 4) == 0 &&
            little(tail + at + LENGTH_AT, 2) == n - at - RECORD) {
            find(file, "ZIP archive", file->size - n + at);
        }
    }
}

bool vet_second(struct vet *vet)
{
    struct file file = { .vet = vet, .err = QCOW2_ERROR_INIT };

    if (vet->info.format == QCOW2_FORMAT_RAW) {
        return true;
    }
    if (vet_open_bytes(vet->fd, &file.bytes, &file.err) < 0) {
        vet->failure = file.err;
        return false;
    }
    file.size = vet->info.file_size;
    look_at_places(&file);
    look_for_ext(&file);
    look_for_pdf(&file);
    look_at_footer(&file);
    look_for_zip(&file);
    qcow2_close(file.bytes);
    vet->failure = file.err;
    return file.err.code == 0;
}
