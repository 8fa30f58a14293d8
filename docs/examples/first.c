/* SPDX-License-Identifier: MIT */
/* first.c - opens an image and reads its first sector.
 *
 *     cc first.c $(pkg-config --cflags --libs libqcow2) && ./a.out disk.qcow2
 *
 * README.md shows this program; a check holds the two together. */
#include <qcow2.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct qcow2_image *image;
    unsigned char sector[512] = { 0 };
    ssize_t count = -1;

    if (argc == 2 && qcow2_open(argv[1], NULL, &image, &err) == 0) {
        count = qcow2_pread(image, sector, sizeof sector, 0, &err);
        printf("%llu bytes, first sector ends in %02x %02x\n",
               (unsigned long long)qcow2_size(image), sector[510], sector[511]);
        qcow2_close(image);
    }
    if (count < 0)
        fprintf(stderr, "%s\n", argc == 2 ? err.message : "usage: first IMAGE");
    return count < 0;
}
