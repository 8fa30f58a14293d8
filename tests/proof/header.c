/* SPDX-License-Identifier: MIT */
/* header.c - for every file, cut short anywhere: decoding its header reads only bytes that are there,
 * nothing overflows, and what is accepted obeys the limits that the layers above build upon. */
#include "any.h"
#include "format/header.h"
#include "format/layout.h"

static uint8_t whole[Q2_HEADER_KNOWN_BYTES];

static void accepted(const struct q2_header *h)
{
    /*@ assert h->version == 2 || h->version == 3; */
    /*@ assert 9 <= h->cluster_bits <= 21; */
    /*@ assert h->size_bytes <= 9223372036854775807; */
    /*@ assert h->l1_entries <= 4194304; */
    /*@ assert h->refcount_order <= 6; */
    /*@ assert h->backing_off <= 2097152; */
    /*@ assert h->crypt_method <= 2; */
    /*@ assert h->compression <= 1; */
    /*@ assert 72 <= h->header_bytes <= 2097152; */
    (void)q2_header_extensions_end(h);
    (void)q2_header_has(h, any_u64());
}

int main(void)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_header header;
    size_t n = any_size(sizeof whole);

    any_bytes(whole, sizeof whole);
    if (q2_header_decode(whole, n, &header, &err) == 0) {
        accepted(&header);
    }
    return 0;
}
