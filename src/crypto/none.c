/* SPDX-License-Identifier: MIT */
/* none.c - cipher.h and luks.h for builds without libcrypto: every call that would need it fails
 * with a clear word, so that nothing above has to know. Headers can still be decoded. */
#include <stddef.h>

#include <qcow2.h>
#include "base/error.h"
#include "crypto/cipher.h"
#include "crypto/luks.h"

static int not_built_in(struct qcow2_error *err)
{
    return q2_error_set(err, QCOW2_E_UNSUPPORTED,
                        "the image is encrypted and this library was built without libcrypto");
}

int q2_cipher_create(const struct q2_cipher_method *method, const uint8_t *key, size_t key_bytes,
                     struct q2_cipher **cipher_ret, struct qcow2_error *err)
{
    (void)method;
    (void)key;
    (void)key_bytes;
    (void)cipher_ret;
    return not_built_in(err);
}

int q2_cipher_create_legacy_aes(const void *passphrase, size_t passphrase_bytes,
                                struct q2_cipher **cipher_ret, struct qcow2_error *err)
{
    (void)passphrase;
    (void)passphrase_bytes;
    (void)cipher_ret;
    return not_built_in(err);
}

/* No cipher is ever made here, so there are none to destroy or to work with. */
void q2_cipher_destroy(struct q2_cipher *cipher)
{
    (void)cipher;
}

int q2_cipher_worker_create(const struct q2_cipher *cipher, struct q2_cipher_worker **worker_ret,
                            struct qcow2_error *err)
{
    (void)cipher;
    (void)worker_ret;
    return not_built_in(err);
}

void q2_cipher_worker_destroy(struct q2_cipher_worker *worker)
{
    (void)worker;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the real one writes there */
int q2_cipher_decrypt(struct q2_cipher_worker *worker, uint8_t *dst, const uint8_t *src,
                      size_t n_bytes, uint64_t first_sector, struct qcow2_error *err)
{
    (void)worker;
    (void)dst;
    (void)src;
    (void)n_bytes;
    (void)first_sector;
    return not_built_in(err);
}

int q2_luks_unlock(const struct q2_luks_header *header, const void *passphrase,
                   size_t passphrase_bytes, q2_luks_read_material *read_material, void *ctx,
                   struct q2_luks_work *work, struct q2_cipher **cipher_ret,
                   struct qcow2_error *err)
{
    (void)header;
    (void)passphrase;
    (void)passphrase_bytes;
    (void)read_material;
    (void)ctx;
    (void)work;
    (void)cipher_ret;
    return not_built_in(err);
}
