/* SPDX-License-Identifier: MIT */
/* header_v1.c - the same as header.c for version 1. */
#include "any.h"
#include "format/header_v1.h"

static uint8_t whole[48];

int main(void)
{
    struct qcow2_error err = QCOW2_ERROR_INIT;
    struct q2_header header;
    unsigned l2_bits;
    size_t n = any_size(sizeof whole);

    any_bytes(whole, sizeof whole);
    if (q2_header_decode_v1(whole, n, &header, &l2_bits, any_bool() ? &err : NULL) == 0) {
        /*@ assert 9 <= header.cluster_bits <= 16; */
        /*@ assert 6 <= l2_bits <= 13; */
        /*@ assert 2 <= header.size_bytes <= 9223372036854775807; */
        /*@ assert header.l1_entries <= 268435455; */
        /*@ assert header.crypt_method <= 1; */
        (void)header;
    }
    return 0;
}
