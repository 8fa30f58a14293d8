/* SPDX-License-Identifier: MIT */
/* decrypt_image.c - the crypto modules alone, on whole images: a driver for test_encrypted_images.py.
 *
 *     decrypt_image IMAGE KEY-FILE [DATA-FILE]   the guest's disk to standard output
 *     decrypt_image --info IMAGE                 the LUKS header as JSON, as qemu-img words it
 *
 * Knows as little of qcow2 as it takes to find the data of sound, standard images without backing
 * files and compression, so that a fault in the library proper cannot hide one in src/crypto. */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2.h>

#include "base/bytes.h"
#include "crypto/luks.h"

enum { EXTENSION_LUKS = 0x0537be77 };

struct image {
    FILE *file;
    FILE *data; /* the same, or the external data file */
    uint64_t cluster_bytes;
    uint64_t size_bytes;
    uint32_t crypt_method;
    uint64_t l1_off;
    uint64_t l1_entries;
    uint64_t luks_off;
    uint64_t luks_bytes;
};

static void fail(const char *what)
{
    fprintf(stderr, "decrypt_image: %s\n", what);
    exit(2);
}

static void refuse(const struct qcow2_error *err)
{
    fprintf(stderr, "%s: %s\n", qcow2_code_name(err->code), err->message);
    exit(1);
}

static void *must_have(void *memory)
{
    if (memory == NULL) {
        fail("out of memory");
    }
    return memory;
}

/* Reads what there is and fills the rest with zeros. */
static void read_at(FILE *file, void *buf, size_t count, uint64_t host_off)
{
    size_t got = 0;

    if (fseeko(file, (off_t)host_off, SEEK_SET) == 0) {
        got = fread(buf, 1, count, file);
    }
    memset((char *)buf + got, 0, count - got);
}

static void find_luks(struct image *image, uint64_t at)
{
    uint8_t bytes[24];

    for (;;) {
        read_at(image->file, bytes, sizeof bytes, at);
        if (q2_load_be32(bytes) == EXTENSION_LUKS) {
            image->luks_off = q2_load_be64(bytes + 8);
            image->luks_bytes = q2_load_be64(bytes + 16);
            return;
        }
        if (q2_load_be32(bytes) == 0) {
            fail("no LUKS pointer");
        }
        at += 8 + (q2_load_be32(bytes + 4) + 7) / 8 * 8;
    }
}

static void open_image(struct image *image, const char *path)
{
    uint8_t header[112];

    memset(image, 0, sizeof *image);
    image->file = fopen(path, "rb");
    if (image->file == NULL) {
        fail(strerror(errno));
    }
    image->data = image->file;
    read_at(image->file, header, sizeof header, 0);
    image->cluster_bytes = (uint64_t)1 << q2_load_be32(header + 20);
    image->size_bytes = q2_load_be64(header + 24);
    image->crypt_method = q2_load_be32(header + 32);
    image->l1_entries = q2_load_be32(header + 36);
    image->l1_off = q2_load_be64(header + 40);
    if (image->crypt_method == 2) {
        find_luks(image, q2_load_be32(header + 4) == 2 ? 72 : q2_load_be32(header + 100));
    }
}

static void load_luks(struct image *image, struct q2_luks_header *header)
{
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];
    struct qcow2_error err = QCOW2_ERROR_INIT;

    read_at(image->file, bytes, sizeof bytes, image->luks_off);
    if (q2_luks_decode(bytes, sizeof bytes, header, &err) < 0) {
        refuse(&err);
    }
}

static int read_material(void *ctx, uint8_t *buf, size_t count, uint64_t off,
                         struct qcow2_error *err)
{
    struct image *image = ctx;

    if (off > image->luks_bytes || count > image->luks_bytes - off) {
        err->code = QCOW2_E_TRUNCATED;
        (void)snprintf(err->message, sizeof err->message, "key material outside the LUKS region");
        return QCOW2_E_TRUNCATED;
    }
    read_at(image->file, buf, count, image->luks_off + off);
    return 0;
}

static struct q2_cipher *unlock(struct image *image, const char *key_path)
{
    static char key[100000];
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_cipher *cipher = NULL;
    FILE *file = fopen(key_path, "rb");
    size_t key_bytes;
    int r;

    if (file == NULL) {
        fail(strerror(errno));
    }
    key_bytes = fread(key, 1, sizeof key, file);
    (void)fclose(file);
    if (image->crypt_method == 1) {
        r = q2_cipher_create_legacy_aes(key, key_bytes, &cipher, &err);
    } else {
        struct q2_luks_work work = { .max = QCOW2_DEFAULT_MAX_KEY_ITERATIONS };
        struct q2_luks_header header;

        load_luks(image, &header);
        r = q2_luks_unlock(&header, key, key_bytes, read_material, image, &work, &cipher, &err);
    }
    if (r < 0) {
        refuse(&err);
    }
    return cipher;
}

static void write_disk(struct image *image, struct q2_cipher_worker *worker)
{
    const size_t cluster_bytes = (size_t)image->cluster_bytes;
    uint64_t entries = cluster_bytes / 8;
    uint8_t *cluster = must_have(malloc(cluster_bytes));
    uint8_t *l2 = must_have(malloc(cluster_bytes));

    for (uint64_t guest_off = 0; guest_off < image->size_bytes; guest_off += cluster_bytes) {
        uint64_t index = guest_off / cluster_bytes;
        uint64_t left = image->size_bytes - guest_off;
        uint64_t l2_off, host_off, entry;
        uint8_t bytes[8];

        read_at(image->file, bytes, 8, image->l1_off + index / entries * 8);
        l2_off = q2_load_be64(bytes) & 0x00fffffffffffe00;
        memset(l2, 0, cluster_bytes);
        if (l2_off != 0) {
            read_at(image->file, l2, cluster_bytes, l2_off);
        }
        entry = q2_load_be64(l2 + index % entries * 8);
        host_off = entry & 0x00fffffffffffe00;
        memset(cluster, 0, cluster_bytes);
        if (entry >> 62 & 1) {
            fail("compressed cluster");
        }
        if ((entry & 1) == 0 && (host_off != 0 || (entry >> 63 && image->data != image->file))) {
            uint64_t sector = (image->crypt_method == 1 ? guest_off : host_off) / 512;

            read_at(image->data, cluster, cluster_bytes, host_off);
            if (q2_cipher_decrypt(worker, cluster, cluster, cluster_bytes, sector, NULL) != 0) {
                fail("cannot decrypt");
            }
        }
        if (fwrite(cluster, 1, left < cluster_bytes ? (size_t)left : cluster_bytes, stdout) == 0) {
            fail("cannot write");
        }
    }
    free(cluster);
    free(l2);
}

static void print_info(struct image *image)
{
    struct q2_luks_header header;

    load_luks(image, &header);
    printf("{\"format\":\"luks\",\"cipher-alg\":\"%s\",\"cipher-mode\":\"%s\",\"ivgen-alg\":\"%s\","
           "\"hash-alg\":\"%s\",\"uuid\":\"%s\",\"payload-offset\":%" PRIu64
           ",\"master-key-iters\":%" PRIu32,
           header.cipher_alg, q2_cipher_mode_name(header.method.mode),
           q2_ivgen_name(header.method.ivgen), q2_hash_name(header.hash), header.uuid,
           header.payload_off, header.digest_iterations);
    if (header.method.ivgen == Q2_IVGEN_ESSIV) {
        printf(",\"ivgen-hash-alg\":\"%s\"", q2_hash_name(header.method.ivgen_hash));
    }
    for (int i = 0; i < Q2_LUKS_SLOTS; i++) {
        const struct q2_luks_slot *slot = &header.slots[i];

        printf("%s{\"active\":%s,\"key-offset\":%" PRIu64, i == 0 ? ",\"slots\":[" : ",",
               slot->active ? "true" : "false", slot->material_off);
        if (slot->active) {
            printf(",\"iters\":%" PRIu32 ",\"stripes\":%" PRIu32, slot->iterations, slot->stripes);
        }
        printf("}");
    }
    printf("]}\n");
}

int main(int argc, char **argv)
{
    struct image image;

    if (argc == 3 && strcmp(argv[1], "--info") == 0) {
        open_image(&image, argv[2]);
        print_info(&image);
    } else if (argc == 3 || argc == 4) {
        struct q2_cipher *cipher;
        struct q2_cipher_worker *worker = NULL;

        open_image(&image, argv[1]);
        if (argc == 4 && (image.data = fopen(argv[3], "rb")) == NULL) {
            fail(strerror(errno));
        }
        cipher = unlock(&image, argv[2]);
        if (q2_cipher_worker_create(cipher, &worker, NULL) != 0) {
            fail("out of memory");
        }
        write_disk(&image, worker);
        q2_cipher_worker_destroy(worker);
        q2_cipher_destroy(cipher);
        if (image.data != image.file) {
            (void)fclose(image.data);
        }
    } else {
        fail("usage: decrypt_image [--info] IMAGE [KEY-FILE [DATA-FILE]]");
    }
    (void)fclose(image.file);
    return fflush(stdout) == 0 ? 0 : 2;
}
