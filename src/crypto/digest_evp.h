/* SPDX-License-Identifier: MIT */
/* digest_evp.h - shared by the files that call libcrypto; of no use to others. */
#ifndef Q2_CRYPTO_DIGEST_EVP_H
#define Q2_CRYPTO_DIGEST_EVP_H

#include <stdbool.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "crypto/algorithms.h"

struct qcow2_error;

/* Looks a hash up; free it with EVP_MD_free. QCOW2_E_UNSUPPORTED when libcrypto lacks it. */
int q2_digest_fetch(enum q2_hash hash, EVP_MD **digest_ret, struct qcow2_error *err);

/* After a look-up that failed: was it for want of memory? Then either the first error that libcrypto
 * noted says so, or it could not even note one. */
static inline bool q2_evp_no_memory(void)
{
    return ERR_peek_error() == 0 || ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE ||
           ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;
}

#endif
