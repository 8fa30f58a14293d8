/* SPDX-License-Identifier: MIT */
/* digest_evp.h - shared by the files that call libcrypto for hashes; of no use to others. */
#ifndef Q2_CRYPTO_DIGEST_EVP_H
#define Q2_CRYPTO_DIGEST_EVP_H

#include <openssl/evp.h>

#include "crypto/algorithms.h"

struct qcow2_error;

/* Looks a hash up; free it with EVP_MD_free. QCOW2_E_UNSUPPORTED when libcrypto lacks it. */
int q2_digest_fetch(enum q2_hash hash, EVP_MD **digest_ret, struct qcow2_error *err);

#endif
