/* SPDX-License-Identifier: MIT */
/* unlock.c - from a passphrase to a layer whose data can be decrypted, and the
 * decrypting. Knows where keys come from and what sectors are counted by. */
#include "image/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "crypto/cipher.h"
#include "crypto/luks.h"

/* Longer than any passphrase that a person or a key file has in practice. */
enum { MAX_KEY_BYTES = 64 * 1024 };

/* Writes that the compiler must not leave out because nobody reads them. */
static void wipe(char *bytes, size_t n)
{
    volatile char *at = bytes;

    while (n-- > 0) {
        *at++ = 0;
    }
}

static int load_luks_header(const struct q2_layer *layer, struct q2_luks_header *header_ret,
                            struct qcow2_error *err)
{
    uint8_t bytes[Q2_LUKS_HEADER_BYTES];
    int r;

    if (layer->luks_bytes < sizeof bytes) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, layer->luks_off,
                               "the image is encrypted, but has no LUKS header");
    }
    if ((r = q2_window_read(&layer->file, bytes, sizeof bytes, layer->luks_off, "LUKS header",
                            err)) < 0) {
        return r;
    }
    return q2_luks_decode(bytes, sizeof bytes, header_ret, err);
}

static void put(char *to, size_t room, const char *text)
{
    (void)snprintf(to, room, "%s", text != NULL ? text : "");
}

static void describe(const struct q2_layer *layer, const struct q2_luks_header *header,
                     struct qcow2_luks_info *info)
{
    put(info->cipher, sizeof info->cipher, header->cipher_alg);
    put(info->cipher_mode, sizeof info->cipher_mode, q2_cipher_mode_name(header->method.mode));
    put(info->iv_generator, sizeof info->iv_generator, q2_ivgen_name(header->method.ivgen));
    if (header->method.ivgen == Q2_IVGEN_ESSIV) {
        put(info->iv_hash, sizeof info->iv_hash, q2_hash_name(header->method.ivgen_hash));
    }
    put(info->hash, sizeof info->hash, q2_hash_name(header->hash));
    put(info->uuid, sizeof info->uuid, header->uuid);
    info->payload_offset = header->payload_off;
    info->header_offset = layer->luks_off;
    info->header_length = layer->luks_bytes;
    info->master_key_iterations = header->digest_iterations;
    for (int i = 0; i < Q2_LUKS_SLOTS; i++) {
        info->slots[i] = (struct qcow2_luks_slot){
            .active = header->slots[i].active,
            .iterations = header->slots[i].iterations,
            .stripes = header->slots[i].stripes,
            .key_offset = header->slots[i].material_off,
        };
        if (header->slots[i].active) {
            info->passphrase_work += q2_luks_slot_work(header, &header->slots[i]);
        }
    }
}

/* Key material, out of the region that the image has set aside for the LUKS header. */
static int read_material(void *ctx, uint8_t *buf, size_t count, uint64_t off,
                         struct qcow2_error *err)
{
    const struct q2_layer *layer = ctx;
    uint64_t host_off, end;

    if (!q2_add_u64(off, count, &end) || end > layer->luks_bytes ||
        !q2_add_u64(layer->luks_off, off, &host_off)) {
        return q2_error_set_at(err, QCOW2_E_CORRUPT, layer->luks_off,
                               "LUKS key material at 0x%llx lies outside the LUKS header",
                               (unsigned long long)off);
    }
    return q2_window_read(&layer->file, buf, count, host_off, "LUKS key material", err);
}

static int make_cipher(struct q2_layer *layer, const char *key, size_t key_bytes,
                       struct q2_luks_work *work, struct qcow2_error *err)
{
    struct q2_luks_header header;
    int r;

    if (layer->header.crypt_method == QCOW2_ENCRYPTION_AES) {
        return q2_cipher_create_legacy_aes(key, key_bytes, &layer->cipher, err);
    }
    if ((r = load_luks_header(layer, &header, err)) < 0) {
        return r;
    }
    return q2_luks_unlock(&header, key, key_bytes, read_material, layer, work, &layer->cipher, err);
}

int qcow2_get_luks_info(const struct qcow2_image *image, int depth,
                        struct qcow2_luks_info *info_ret, struct qcow2_error *err)
{
    const struct q2_layer *layer;
    struct qcow2_luks_info info = QCOW2_LUKS_INFO_INIT;
    struct q2_luks_header header;
    int r;

    if (image == NULL || info_ret == NULL || info_ret->size == 0) {
        return q2_error_set(err, QCOW2_E_ARGUMENT, "the image or the info is NULL, or its size 0");
    }
    layer = q2_image_layer(image, depth);
    if (layer == NULL || layer->header.crypt_method != QCOW2_ENCRYPTION_LUKS) {
        return q2_error_set(err, QCOW2_E_NOT_FOUND, "there is no LUKS header at depth %d", depth);
    }
    if ((r = load_luks_header(layer, &header, err)) < 0) {
        q2_error_depth(err, depth);
        return r;
    }
    describe(layer, &header, &info);
    info.size = info_ret->size;
    memcpy(info_ret, &info, info.size < sizeof info ? info.size : sizeof info);
    return 0;
}

int q2_layer_unlock(struct q2_layer *layer, const struct qcow2_options *options,
                    struct q2_open_budget *budget, struct qcow2_error *err)
{
    size_t key_bytes = 0;
    char *key;
    int r;

    if (layer->header.crypt_method == QCOW2_ENCRYPTION_NONE) {
        return 0;
    }
    if (options->get_key == NULL) {
        return q2_error_set(err, QCOW2_E_KEY, "the image is encrypted (%s), and no key was given",
                            layer->header.crypt_method == QCOW2_ENCRYPTION_LUKS ? "LUKS" : "AES");
    }
    key = malloc(MAX_KEY_BYTES);
    if (key == NULL) {
        return q2_error_nomem(err);
    }
    r = options->get_key(options->get_key_ctx, (int)layer->depth, layer->file.name, key,
                         MAX_KEY_BYTES, &key_bytes);
    if (r != 0 || key_bytes > MAX_KEY_BYTES) {
        r = q2_error_set(err, r < 0 ? r : QCOW2_E_KEY,
                         "the image is encrypted, and its key could not be had");
    } else {
        r = make_cipher(layer, key, key_bytes, &budget->keys, err);
    }
    wipe(key, MAX_KEY_BYTES);
    free(key);
    return r;
}

/* The lane's worker for the layer's cipher, made when first needed. */
static struct q2_cipher_worker *worker_for(struct q2_lane *lane, const struct q2_layer *layer,
                                           struct qcow2_error *err)
{
    if (layer->depth < lane->n_ciphers && lane->ciphers[layer->depth] != NULL) {
        return lane->ciphers[layer->depth];
    }
    lane->grew = true;
    if (layer->depth >= lane->n_ciphers) {
        unsigned n = layer->depth + 1;
        struct q2_cipher_worker **ciphers = realloc(lane->ciphers, n * sizeof(*ciphers));

        if (ciphers == NULL) {
            (void)q2_error_nomem(err);
            return NULL;
        }
        for (unsigned i = lane->n_ciphers; i < n; i++) {
            ciphers[i] = NULL;
        }
        lane->ciphers = ciphers;
        lane->n_ciphers = n;
    }
    if (q2_cipher_worker_create(layer->cipher, &lane->ciphers[layer->depth], err) == 0) {
        lane->n_workers++;
    }
    return lane->ciphers[layer->depth];
}

int q2_layer_decrypt(struct q2_lane *lane, const struct q2_layer *layer, void *bytes, size_t n,
                     uint64_t guest_off, uint64_t host_off, struct qcow2_error *err)
{
    struct q2_cipher_worker *worker = worker_for(lane, layer, err);
    /* Method 1 counts sectors of the guest's disk, LUKS those of the file the data is in. */
    uint64_t counted = layer->header.crypt_method == QCOW2_ENCRYPTION_AES ? guest_off : host_off;

    if (worker == NULL) {
        return QCOW2_E_NOMEM;
    }
    return q2_cipher_decrypt(worker, bytes, bytes, n, counted / 512, err);
}
