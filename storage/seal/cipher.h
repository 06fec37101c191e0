/* SPDX-License-Identifier: Apache-2.0 */
/* AES-256-GCM under one key, and the random numbers that keys and nonces are drawn from. Only this
 * folder uses it.
 *
 * The algorithm is fetched from OpenSSL once per process; a cipher is keyed once, and each call
 * sets the nonce alone. A cipher belongs to one thread at a time. */
#ifndef STORAGE_SEAL_CIPHER_H
#define STORAGE_SEAL_CIPHER_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"

enum {
    cipher_key_size = 32,
    cipher_nonce_size = 12,
    cipher_tag_size = 16,
    cipher_key_check_size = 8,
    cipher_call_size_max = 1 << 30, /* bytes of one call; far below what GCM permits */
};

struct cipher {
    struct evp_cipher_ctx_st *context; /* keyed; serves both directions. NULL: not initialised */
#if defined(STRAIT_FAULTS)
    uint64_t oracle_key; /* stands for the key in the nonce oracle */
#endif
};

/* NO_MEMORY; INTERNAL where OpenSSL offers no AES-256-GCM. `key` is copied. */
MUST_CHECK enum status cipher_init(struct cipher *cipher, const uint8_t key[cipher_key_size]);
void cipher_free(struct cipher *cipher); /* wipes the key; may be called on zeroes */

/* Additional data is `first` and `second` one after the other; the caller sees to it that their
 * border is not in doubt. `to` may be `plain.data`, but not overlap it otherwise. */
void cipher_seal(struct cipher *cipher, const uint8_t nonce[cipher_nonce_size], struct bytes first,
                 struct bytes second, struct bytes plain, uint8_t *to,
                 uint8_t tag[cipher_tag_size]);

/* CORRUPT where the tag does not hold; then `to` holds zeros. */
MUST_CHECK enum status cipher_open(struct cipher *cipher, const uint8_t nonce[cipher_nonce_size],
                                   struct bytes first, struct bytes second, struct bytes sealed,
                                   const uint8_t tag[cipher_tag_size], uint8_t *to);

/* A value that tells a wrong key from decayed data, and tells nothing of the key: the head of
 * HMAC-SHA-256(key, a constant). INTERNAL where OpenSSL refuses. */
MUST_CHECK enum status cipher_key_check(const uint8_t key[cipher_key_size],
                                        uint8_t check[cipher_key_check_size]);

/* Random bytes fit for keys. INTERNAL where the system has no randomness to give. */
MUST_CHECK enum status cipher_draw(void *to, size_t size);

#endif
