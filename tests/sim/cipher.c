/* SPDX-License-Identifier: Apache-2.0 */
/* A stand-in for storage/seal/cipher.c, linked into strait-sim in its place where no sanitizer is:
 * AES and what OpenSSL does around it take a sixth of a run, and a run is the same with either, as
 * it depends on what opens and what does not.
 *
 * It hides nothing from an adversary. It opens what was sealed with the same key, nonce and
 * additional data and not altered since, and nothing else, by a hash of all of it; what it writes
 * is not the plain text. Builds with sanitizers run the seeds with the real one. */
#include "storage/seal/cipher.h"

#include <openssl/rand.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h> /* by the processor's widest registers */
#else
#include <xxhash.h>
#endif

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "storage/seal/oracle.h"

/* What a cipher's opaque context is here. */
struct stand_in {
    struct hash128 key;
};

static const struct stand_in *stand_in_of(const struct cipher *cipher)
{
    ASSERT(cipher->context != NULL);
    return (const struct stand_in *)cipher->context;
}

enum status cipher_init(struct cipher *cipher, const uint8_t key[cipher_key_size])
{
    *cipher = (struct cipher){0};
    struct stand_in *made = malloc(sizeof *made);
    if (made == NULL)
        return STATUS_NO_MEMORY;
    made->key = hash128(bytes_of(key, cipher_key_size));
    cipher->context = (struct evp_cipher_ctx_st *)made;
#if defined(STRAIT_FAULTS)
    cipher->oracle_key = hash64(bytes_of(key, cipher_key_size));
#endif
    return STATUS_OK;
}

void cipher_free(struct cipher *cipher)
{
    free(cipher->context);
    *cipher = (struct cipher){0};
}

enum { mask_words = 8 };

/* The same both ways: each word is changed by one that follows from key and nonce. */
static void mask(const struct cipher *cipher, const uint8_t nonce[cipher_nonce_size],
                 struct bytes from, uint8_t *to)
{
    uint64_t word =
        hash64_seeded(bytes_of(nonce, cipher_nonce_size), stand_in_of(cipher)->key.low) | 1;
    uint64_t words[mask_words];
    size_t at = 0;
    for (; at + sizeof words <= from.size; at += sizeof words) {
        memcpy(words, from.data + at, sizeof words);
        for (unsigned i = 0; i < mask_words; i++)
            words[i] ^= word;
        memcpy(to + at, words, sizeof words);
    }
    for (; at < from.size; at++)
        to[at] = from.data[at] ^ (uint8_t)word;
}

/* The same as hash128(), sooner where it is much. */
static struct hash128 hash128_long(struct bytes bytes)
{
    XXH128_hash_t hash = XXH3_128bits(bytes.data, bytes.size);
    return (struct hash128){.low = hash.low64, .high = hash.high64};
}

static void sign(const struct cipher *cipher, const uint8_t nonce[cipher_nonce_size],
                 struct bytes first, struct bytes second, struct bytes sealed,
                 uint8_t tag[cipher_tag_size])
{
    const struct hash128 parts[] = {
        stand_in_of(cipher)->key, hash128(bytes_of(nonce, cipher_nonce_size)),
        hash128_long(first),      hash128(second),
        hash128_long(sealed),     {.low = first.size, .high = second.size},
    };
    struct hash128 whole = hash128(bytes_of(parts, sizeof parts));
    _Static_assert(sizeof whole == cipher_tag_size, "a hash is a tag");
    memcpy(tag, &whole, cipher_tag_size);
}

void cipher_seal(struct cipher *cipher, const uint8_t nonce[cipher_nonce_size], struct bytes first,
                 struct bytes second, struct bytes plain, uint8_t *to, uint8_t tag[cipher_tag_size])
{
    ASSERT(first.size <= cipher_call_size_max && second.size <= cipher_call_size_max &&
           plain.size <= cipher_call_size_max);
#if defined(STRAIT_FAULTS)
    oracle_observe(cipher->oracle_key, bytes_of(nonce, cipher_nonce_size), first, second, plain);
#endif
    mask(cipher, nonce, plain, to);
    sign(cipher, nonce, first, second, bytes_of(to, plain.size), tag);
}

enum status cipher_open(struct cipher *cipher, const uint8_t nonce[cipher_nonce_size],
                        struct bytes first, struct bytes second, struct bytes sealed,
                        const uint8_t tag[cipher_tag_size], uint8_t *to)
{
    uint8_t expected[cipher_tag_size];
    sign(cipher, nonce, first, second, sealed, expected);
    if (memcmp(expected, tag, sizeof expected) == 0) {
        mask(cipher, nonce, sealed, to);
        return STATUS_OK;
    }
    if (sealed.size != 0)
        memset(to, 0, sealed.size);
    return STATUS_CORRUPT;
}

enum status cipher_key_check(const uint8_t key[cipher_key_size],
                             uint8_t check[cipher_key_check_size])
{
    uint64_t hash = hash64_seeded(bytes_of(key, cipher_key_size), 1);
    _Static_assert(sizeof hash == cipher_key_check_size, "a hash is a check");
    memcpy(check, &hash, cipher_key_check_size);
    return STATUS_OK;
}

enum status cipher_draw(void *to, size_t size)
{
    ASSERT(size <= cipher_call_size_max);
    return RAND_priv_bytes(to, (int)size) == 1 ? STATUS_OK : STATUS_INTERNAL;
}
