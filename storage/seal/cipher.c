/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/seal/cipher.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "storage/seal/oracle.h"

static pthread_once_t algorithm_once = PTHREAD_ONCE_INIT;
static EVP_CIPHER *algorithm; /* lives as long as the process */

static void algorithm_fetch(void)
{
    algorithm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
}

enum status cipher_init(struct cipher *cipher, const uint8_t key[cipher_key_size])
{
    *cipher = (struct cipher){0};
    int failed = pthread_once(&algorithm_once, algorithm_fetch);
    ASSERT(failed == 0);
    if (algorithm == NULL)
        return STATUS_INTERNAL;
    cipher->context = EVP_CIPHER_CTX_new();
    if (cipher->context == NULL)
        return STATUS_NO_MEMORY;
    if (EVP_CipherInit_ex2(cipher->context, algorithm, key, NULL, 1, NULL) != 1) {
        cipher_free(cipher);
        return STATUS_INTERNAL;
    }
#if defined(STRAIT_FAULTS)
    cipher->oracle_key = hash64(bytes_of(key, cipher_key_size));
#endif
    return STATUS_OK;
}

void cipher_free(struct cipher *cipher)
{
    EVP_CIPHER_CTX_free(cipher->context); /* wipes the key schedule */
    *cipher = (struct cipher){0};
}

/* GCM uses one key schedule for both directions, so that setting the nonce may also change the
 * direction, without keying anew. */
static void cipher_begin(struct cipher *cipher, const uint8_t *nonce, struct bytes first,
                         struct bytes second, int direction)
{
    int size = 0;
    ASSERT(cipher->context != NULL);
    ASSERT(first.size <= cipher_call_size_max && second.size <= cipher_call_size_max);
    int done = EVP_CipherInit_ex2(cipher->context, NULL, NULL, nonce, direction, NULL);
    ASSERT(done == 1);
    if (first.size != 0) {
        done = EVP_CipherUpdate(cipher->context, NULL, &size, first.data, (int)first.size);
        ASSERT(done == 1);
    }
    if (second.size != 0) {
        done = EVP_CipherUpdate(cipher->context, NULL, &size, second.data, (int)second.size);
        ASSERT(done == 1);
    }
}

static void cipher_run(struct cipher *cipher, struct bytes from, uint8_t *to)
{
    int size = 0;
    ASSERT(from.size <= cipher_call_size_max);
    if (from.size == 0)
        return;
    int done = EVP_CipherUpdate(cipher->context, to, &size, from.data, (int)from.size);
    ASSERT(done == 1 && (size_t)size == from.size);
}

void cipher_seal(struct cipher *cipher, const uint8_t nonce[cipher_nonce_size], struct bytes first,
                 struct bytes second, struct bytes plain, uint8_t *to, uint8_t tag[cipher_tag_size])
{
    uint8_t rest[cipher_tag_size]; /* GCM has nothing left to write at the end */
    int size = 0;
#if defined(STRAIT_FAULTS)
    oracle_observe(cipher->oracle_key, bytes_of(nonce, cipher_nonce_size), first, second, plain);
#endif
    cipher_begin(cipher, nonce, first, second, 1);
    cipher_run(cipher, plain, to);
    int done = EVP_CipherFinal_ex(cipher->context, rest, &size);
    ASSERT(done == 1 && size == 0);
    done = EVP_CIPHER_CTX_ctrl(cipher->context, EVP_CTRL_AEAD_GET_TAG, cipher_tag_size, tag);
    ASSERT(done == 1);
}

enum status cipher_open(struct cipher *cipher, const uint8_t nonce[cipher_nonce_size],
                        struct bytes first, struct bytes second, struct bytes sealed,
                        const uint8_t tag[cipher_tag_size], uint8_t *to)
{
    uint8_t expected[cipher_tag_size]; /* a copy: OpenSSL asks for memory that it could write */
    uint8_t rest[cipher_tag_size];
    int size = 0;
    memcpy(expected, tag, sizeof expected);
    cipher_begin(cipher, nonce, first, second, 0);
    cipher_run(cipher, sealed, to);
    int done =
        EVP_CIPHER_CTX_ctrl(cipher->context, EVP_CTRL_AEAD_SET_TAG, cipher_tag_size, expected);
    ASSERT(done == 1);
    if (EVP_CipherFinal_ex(cipher->context, rest, &size) == 1)
        return STATUS_OK;
    if (sealed.size != 0)
        memset(to, 0, sealed.size);
    return STATUS_CORRUPT;
}

enum status cipher_key_check(const uint8_t key[cipher_key_size],
                             uint8_t check[cipher_key_check_size])
{
    static const char constant[] = "strait: key check";
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    memset(check, 0, cipher_key_check_size);
    if (HMAC(EVP_sha256(), key, cipher_key_size, (const uint8_t *)constant, sizeof constant - 1,
             digest, &size) == NULL)
        return STATUS_INTERNAL;
    ASSERT(size >= cipher_key_check_size);
    memcpy(check, digest, cipher_key_check_size);
    bytes_wipe(digest, sizeof digest);
    return STATUS_OK;
}

enum status cipher_draw(void *to, size_t size)
{
    ASSERT(size <= cipher_call_size_max);
    return RAND_priv_bytes(to, (int)size) == 1 ? STATUS_OK : STATUS_INTERNAL;
}
