/* SPDX-License-Identifier: MIT */
/* vet_records.c - formats besides qcow2 that are recognized by a record: its checksum, its place among
 * others, or its distance from the end of the file. */
#include <string.h>

#include "vet_second.h"

enum { SECTOR = 512 };

/* Reads n bytes, all of which are in the file. */
static bool load(struct vet_file *file, void *buf, size_t n, uint64_t offset)
{
    return file->err.code == 0 && offset <= file->size && file->size - offset >= n &&
           qcow2_pread(file->bytes, buf, n, offset, &file->err) == (ssize_t)n;
}

static unsigned little(const unsigned char *bytes, size_t count)
{
    unsigned value = 0;

    for (size_t i = count; i > 0; i--) {
        value = value << 8 | bytes[i - 1];
    }
    return value;
}

/* Readers accept bytes before the title. */
static void look_for_pdf(struct vet_file *file)
{
    enum { REACH = 1024 };
    static const char title[] = "%PDF-";
    char head[REACH];
    size_t n = file->size < REACH ? (size_t)file->size : REACH;

    if (!load(file, head, n, 0)) {
        return;
    }
    for (size_t at = 0; at + sizeof title - 1 <= n; at++) {
        if (memcmp(head + at, title, sizeof title - 1) == 0) {
            vet_second_find(file, "PDF document", at);
            return;
        }
    }
}

enum { SUM_AT = 148, SUM_BYTES = 8, SUM_END = SUM_AT + SUM_BYTES };

static bool is_octal(unsigned char c)
{
    return c >= '0' && c <= '7';
}

/* The octal number in the field of a checksum. Readers differ in what they accept before the digits, between
 * them and after them: the digits up to the first other byte count, or all of them. */
static long octal(const unsigned char *field, bool all)
{
    long value = -1;

    for (size_t i = 0; i < SUM_BYTES; i++) {
        if (is_octal(field[i])) {
            value = (value < 0 ? 0 : value * 8) + (field[i] - '0');
        } else if (value >= 0 && !all) {
            break;
        }
    }
    return value;
}

/* Some writers add bytes as signed. The field may also have a binary number, marked by the top bit. */
static bool is_sum(const unsigned char *field, long sum)
{
    const unsigned char *low = field + SUM_BYTES - 4;

    if ((field[0] & 0x80) != 0) {
        unsigned long binary = (unsigned long)low[0] << 24 | (unsigned long)low[1] << 16 |
                               (unsigned long)low[2] << 8 | low[3];

        return binary == ((unsigned long)sum & 0xffffffffUL);
    }
    sum = sum < 0 ? -sum : sum;
    return octal(field, false) == sum || octal(field, true) == sum;
}

/* A header of before POSIX has no magic number: it is recognized by the sum of its bytes, those of the sum
 * taken as blanks. */
static void look_for_tar(struct vet_file *file)
{
    unsigned char header[SECTOR];
    long plain = 0, with_sign = 0;

    if (!load(file, header, sizeof header, 0)) {
        return;
    }
    for (size_t i = 0; i < sizeof header; i++) {
        unsigned char byte = i >= SUM_AT && i < SUM_END ? ' ' : header[i];

        plain += byte;
        with_sign += byte < 128 ? byte : byte - 256;
    }
    if (is_sum(header + SUM_AT, plain) || is_sum(header + SUM_AT, with_sign)) {
        vet_second_find(file, "tar archive", SUM_AT);
    }
}

enum { PRIMARY = 1, JOLIET = 2 };

/* The two layouts of the descriptor of a CD. */
struct cd {
    const char *format;
    const char *name;
    size_t type_at, block_at, root_at, flags_at; /* the flags: in a directory record */
};

static const struct cd cds[] = {
    { "CD (ISO 9660)", "CD001", 0, 128, 156, 25 },
    { "CD (High Sierra)", "CDROM", 8, 136, 180, 24 },
};

/* Whether the descriptor names a directory as its root. An image whose guest has a CD as its disk has descriptors
 * too, but their addresses count from where that disk begins, which leads to a sector before the root. The
 * directories of the primary descriptor lie before the root of Joliet, which must therefore name itself. */
static bool has_root(struct vet_file *file, const struct cd *cd, const unsigned char *descriptor)
{
    enum { EXTENT_AT = 2, SIZE_AT = 10, DIRECTORY = 2, RECORD_BYTES = 34 };
    unsigned block = little(descriptor + cd->block_at, 2);
    uint64_t root = little(descriptor + cd->root_at + EXTENT_AT, 4);
    unsigned char record[RECORD_BYTES];
    uint64_t extent;

    if ((block != 512 && block != 1024 && block != 2048) ||
        !load(file, record, sizeof record, root * block)) {
        return false;
    }
    extent = little(record + EXTENT_AT, 4);
    return (record[cd->flags_at] & DIRECTORY) != 0 && extent != 0 && extent * block < file->size &&
           little(record + SIZE_AT, 4) <= file->size &&
           (descriptor[cd->type_at] == PRIMARY || extent == root);
}

/* The descriptors of a CD begin at its sector 16. Linux passes over what it does not know up to sector 115. */
static void look_for_cd(struct vet_file *file)
{
    enum { DESCRIPTOR_BYTES = 256 };
    const uint64_t sector = 2048, first = 17 * sector, end = 116 * sector;
    unsigned char descriptor[DESCRIPTOR_BYTES];

    for (uint64_t at = first; at < end; at += sector) {
        if (!load(file, descriptor, sizeof descriptor, at)) {
            return;
        }
        for (size_t i = 0; i < sizeof cds / sizeof cds[0]; i++) {
            const unsigned char *type = descriptor + cds[i].type_at;

            if ((*type == PRIMARY || *type == JOLIET) &&
                memcmp(type + 1, cds[i].name, strlen(cds[i].name)) == 0 &&
                has_root(file, &cds[i], descriptor)) {
                vet_second_find(file, cds[i].format, at);
            }
        }
    }
}

/* The footer of a virtual disk: the last 512 bytes, or 511, of the file or of its last sector, which a
 * program that reads sectors finds at the end. */
static void look_for_vhd(struct vet_file *file)
{
    const uint64_t size = file->size, sectors = (size + SECTOR - 1) / SECTOR * SECTOR;
    const uint64_t starts[] = { size - SECTOR, sectors - SECTOR, size - (SECTOR - 1) };

    for (size_t i = 0; size >= SECTOR && i < sizeof starts / sizeof starts[0]; i++) {
        if (vet_second_has(file, starts[i], MAGIC("conectix"))) {
            vet_second_find(file, "VHD image", starts[i]);
        }
    }
}

/* QEMU accepts these four bytes anywhere in the 515 bytes from 1023 before the end, whatever follows; and the
 * end may be that of the file, or of the last sector. */
static void look_for_dmg(struct vet_file *file)
{
    enum { REACH = 1023 + SECTOR - 1 };
    static const char name[4] = "koly";
    char tail[REACH];
    size_t n = file->size < REACH ? (size_t)file->size : REACH;

    if (!load(file, tail, n, file->size - n)) {
        return;
    }
    for (size_t at = 0; at + sizeof name <= n; at++) {
        if (memcmp(tail + at, name, sizeof name) == 0) {
            vet_second_find(file, "DMG image", file->size - n + at);
            return;
        }
    }
}

/* An archive ends with a record of 22 bytes, and a comment whose length is in the record. Only one that ends
 * where the file does is looked for: a guest has archives too, somewhere in its last cluster. */
static void look_for_zip(struct vet_file *file)
{
    enum { RECORD = 22, LENGTH_AT = 20, MOST = RECORD + 65535 };
    static unsigned char tail[MOST];
    size_t n = file->size < MOST ? (size_t)file->size : MOST;

    if (!load(file, tail, n, file->size - n)) {
        return;
    }
    for (size_t at = 0; at + RECORD <= n; at++) {
        if (memcmp(tail + at, "PK\5\6", 4) == 0 &&
            little(tail + at + LENGTH_AT, 2) == n - at - RECORD) {
            vet_second_find(file, "ZIP archive", file->size - n + at);
        }
    }
}

void vet_second_records(struct vet_file *file)
{
    look_for_pdf(file);
    look_for_tar(file);
    look_for_cd(file);
    look_for_vhd(file);
    look_for_dmg(file);
    look_for_zip(file);
}
