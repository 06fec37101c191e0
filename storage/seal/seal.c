/* SPDX-License-Identifier: Apache-2.0 */
/* The envelope, which is the head of every sealed file's own header. Little-endian, plain:
 *
 *     offset  size  what
 *     ------  ----  ----------------------------------------------------------------
 *          0     4  magic "SEAL"
 *          4     2  version of this layout: 1
 *          6     1  cipher: 0 none (encryption is off), 1 AES-256-GCM
 *          7     1  zero
 *          8     4  number of the data key that wraps the file's key; 0 where cipher is 0, or
 *                   where the master key wraps it (the key registry itself)
 *         12    12  nonce of the wrapping, random; zeros where cipher is 0
 *         24    32  the file's key, wrapped. Where cipher is 0: random bytes that tell this life of
 *                   the file from others
 *         56    16  tag over the bound fields below and bytes 0..12 and 72..80: of GCM under the
 *                   data key, or XXH3-128
 *         72     8  check value of the data key, which tells a wrong key from decay; zeros where
 *                   cipher is 0
 *         80     8  zeros
 *         88     8  XXH3-64 of bytes 0..88: tells decay from a key that is missing
 *
 * What is bound to each tag, the envelope's and every block's, is 64 bytes, followed by the
 * caller's `also`:
 *
 *          0    16  cluster id
 *         16    16  store id
 *         32     4  file format
 *         36     4  number of the data key
 *         40     8  file number
 *         48     8  number of the block; 0 for the envelope
 *         56     8  size of `also`
 *
 * A block's nonce is the file format (4 bytes) and the block's number (8). Where encryption is off,
 * a tag is XXH3-128 of: the first 8 of the file's random bytes (zeros for the envelope), the bound
 * fields, XXH3-128 of `also`, XXH3-128 of the block. */
#include "storage/seal/seal.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "storage/seal/cipher.h"
#include "storage/seal/keyring_internal.h"
#include "storage/seal/oracle.h"

enum {
    envelope_magic = 0x4c414553, /* "SEAL" */
    envelope_version = 1,
    envelope_cipher_none = 0,
    envelope_cipher_gcm = 1,

    envelope_version_at = 4,
    envelope_cipher_at = 6,
    envelope_data_key_at = 8,
    envelope_nonce_at = 12,
    envelope_key_at = 24,
    envelope_tag_at = 56,
    envelope_check_at = 72,
    envelope_zeros_at = 80,
    envelope_hash_at = 88,

    bound_size = 64,
    bound_number_at = 48,
    bound_also_at = 56,
};

_Static_assert(envelope_hash_at + 8 == seal_envelope_size, "the envelope is full");
_Static_assert(envelope_key_at + cipher_key_size == envelope_tag_at, "the key fits");
_Static_assert((int)cipher_tag_size == (int)seal_tag_size, "one size of tag");

struct sealer {
    bool plain;
    enum seal_format format;
    struct cipher cipher;      /* unless plain */
    uint64_t seed;             /* of the hash, where plain */
    uint8_t bound[bound_size]; /* all but the last two fields are set once */
    uint8_t key[cipher_key_size];
};

/* ---- What is bound ---- */

static void bound_begin(uint8_t bound[bound_size], const struct keyring *keyring,
                        struct seal_file file, uint32_t data_key)
{
    memcpy(bound, keyring->cluster_id, seal_id_size);
    memcpy(bound + 16, keyring->store_id, seal_id_size);
    store_u32(bound + 32, (uint32_t)file.format);
    store_u32(bound + 36, data_key);
    store_u64(bound + 40, file.number);
    memset(bound + bound_number_at, 0, bound_size - bound_number_at);
}

static struct bytes bound_set(uint8_t bound[bound_size], uint64_t number, struct bytes also)
{
    store_u64(bound + bound_number_at, number);
    store_u64(bound + bound_also_at, also.size);
    return bytes_of(bound, bound_size);
}

/* The tag where encryption is off. */
static void plain_tag(uint64_t seed, struct bytes bound, struct bytes also, struct bytes block,
                      uint8_t tag[seal_tag_size])
{
    uint8_t digest[8 + bound_size + 2 * sizeof(struct hash128)];
    struct hash128 hashes[2] = {hash128(also), hash128(block)};
    store_u64(digest, seed);
    memcpy(digest + 8, bound.data, bound_size);
    memcpy(digest + 8 + bound_size, hashes, sizeof hashes);
    struct hash128 hash = hash128(bytes_of(digest, sizeof digest));
    store_u64(tag, hash.low);
    store_u64(tag + 8, hash.high);
}

/* ---- The envelope ---- */

/* The part of the envelope that its tag covers beside the bound fields. */
enum { envelope_also_size = 12 + cipher_key_check_size };

static struct bytes envelope_also(const uint8_t envelope[seal_envelope_size],
                                  uint8_t also[envelope_also_size])
{
    memcpy(also, envelope, 12);
    memcpy(also + 12, envelope + envelope_check_at, cipher_key_check_size);
    return bytes_of(also, envelope_also_size);
}

static enum status envelope_wrap(struct keyring *keyring, uint8_t bound[bound_size],
                                 const uint8_t key[cipher_key_size],
                                 uint8_t envelope[seal_envelope_size])
{
    uint8_t data_key[cipher_key_size];
    uint8_t also_memory[envelope_also_size];
    struct cipher cipher = {0};
    uint8_t *nonce = envelope + envelope_nonce_at;
    enum status status = keyring_find(keyring, load_u32(envelope + envelope_data_key_at), data_key,
                                      envelope + envelope_check_at);
    if (status == STATUS_OK)
        status = cipher_draw(nonce, cipher_nonce_size);
    if (status == STATUS_OK)
        status = cipher_init(&cipher, data_key);
    bytes_wipe(data_key, sizeof data_key);
    if (status != STATUS_OK)
        return status;
    struct bytes also = envelope_also(envelope, also_memory);
    cipher_seal(&cipher, nonce, bound_set(bound, 0, also), also, bytes_of(key, cipher_key_size),
                envelope + envelope_key_at, envelope + envelope_tag_at);
    cipher_free(&cipher);
    return STATUS_OK;
}

static enum status envelope_write(struct keyring *keyring, uint8_t bound[bound_size],
                                  uint32_t data_key, const uint8_t key[cipher_key_size],
                                  uint8_t envelope[seal_envelope_size])
{
    uint8_t also_memory[envelope_also_size];
    memset(envelope, 0, seal_envelope_size);
    store_u32(envelope, envelope_magic);
    store_u16(envelope + envelope_version_at, envelope_version);
    envelope[envelope_cipher_at] = keyring->plain ? envelope_cipher_none : envelope_cipher_gcm;
    store_u32(envelope + envelope_data_key_at, data_key);
    if (keyring->plain) {
        struct bytes also = envelope_also(envelope, also_memory);
        memcpy(envelope + envelope_key_at, key, cipher_key_size);
        plain_tag(0, bound_set(bound, 0, also), also, bytes_of(key, cipher_key_size),
                  envelope + envelope_tag_at);
    } else {
        enum status status = envelope_wrap(keyring, bound, key, envelope);
        if (status != STATUS_OK)
            return status;
    }
    store_u64(envelope + envelope_hash_at, hash64(bytes_of(envelope, envelope_hash_at)));
    return STATUS_OK;
}

/* Whether the envelope is one of ours, whole, and of the keyring's kind. */
static enum status envelope_check(const struct keyring *keyring,
                                  const uint8_t envelope[seal_envelope_size])
{
    if (load_u32(envelope) != envelope_magic ||
        load_u64(envelope + envelope_hash_at) != hash64(bytes_of(envelope, envelope_hash_at)))
        return STATUS_CORRUPT;
    if (load_u16(envelope + envelope_version_at) > envelope_version)
        return STATUS_NEWER_FORMAT;
    if (load_u16(envelope + envelope_version_at) != envelope_version ||
        envelope[envelope_cipher_at] > envelope_cipher_gcm ||
        envelope[envelope_cipher_at + 1] != 0 || load_u64(envelope + envelope_zeros_at) != 0)
        return STATUS_CORRUPT;
    bool is_plain = envelope[envelope_cipher_at] == envelope_cipher_none;
    if (is_plain != keyring->plain)
        return STATUS_INVALID_ARGUMENT;
    if (is_plain && load_u32(envelope + envelope_data_key_at) != 0)
        return STATUS_CORRUPT;
    return STATUS_OK;
}

static enum status envelope_unwrap(struct keyring *keyring, uint8_t bound[bound_size],
                                   const uint8_t envelope[seal_envelope_size],
                                   uint8_t key[cipher_key_size])
{
    uint8_t data_key[cipher_key_size];
    uint8_t check[cipher_key_check_size];
    uint8_t also_memory[envelope_also_size];
    struct cipher cipher = {0};
    struct bytes wrapped = bytes_of(envelope + envelope_key_at, cipher_key_size);
    enum status status =
        keyring_find(keyring, load_u32(envelope + envelope_data_key_at), data_key, check);
    if (status == STATUS_OK && memcmp(check, envelope + envelope_check_at, sizeof check) != 0)
        status = STATUS_KEY_WRONG;
    if (status == STATUS_OK)
        status = cipher_init(&cipher, data_key);
    bytes_wipe(data_key, sizeof data_key);
    if (status != STATUS_OK)
        return status;
    struct bytes also = envelope_also(envelope, also_memory);
    status = cipher_open(&cipher, envelope + envelope_nonce_at, bound_set(bound, 0, also), also,
                         wrapped, envelope + envelope_tag_at, key);
    cipher_free(&cipher);
    return status;
}

static enum status envelope_read(struct keyring *keyring, uint8_t bound[bound_size],
                                 const uint8_t envelope[seal_envelope_size],
                                 uint8_t key[cipher_key_size])
{
    uint8_t also_memory[envelope_also_size];
    uint8_t tag[seal_tag_size];
    if (!keyring->plain)
        return envelope_unwrap(keyring, bound, envelope, key);
    struct bytes also = envelope_also(envelope, also_memory);
    struct bytes salt = bytes_of(envelope + envelope_key_at, cipher_key_size);
    plain_tag(0, bound_set(bound, 0, also), also, salt, tag);
    if (memcmp(tag, envelope + envelope_tag_at, sizeof tag) != 0)
        return STATUS_CORRUPT;
    memcpy(key, salt.data, salt.size);
    return STATUS_OK;
}

uint32_t seal_envelope_data_key(const uint8_t envelope[seal_envelope_size])
{
    return load_u32(envelope + envelope_data_key_at);
}

/* ---- The sealer ---- */

/* Keys what is set up so far. Frees `sealer` where that fails. */
static enum status sealer_key(struct sealer *sealer, struct sealer **result)
{
    enum status status = STATUS_OK;
    if (sealer->plain)
        sealer->seed = load_u64(sealer->key);
    else
        status = cipher_init(&sealer->cipher, sealer->key);
    if (status == STATUS_OK)
        *result = sealer;
    else
        sealer_free(sealer);
    return status;
}

static struct sealer *sealer_make(const struct keyring *keyring, struct seal_file file,
                                  uint32_t data_key)
{
    struct sealer *sealer = calloc(1, sizeof *sealer);
    if (sealer == NULL)
        return NULL;
    sealer->plain = keyring->plain;
    sealer->format = file.format;
    bound_begin(sealer->bound, keyring, file, data_key);
    return sealer;
}

enum status seal_create(struct keyring *keyring, struct seal_file file,
                        uint8_t envelope[seal_envelope_size], struct sealer **sealer)
{
    *sealer = NULL;
    memset(envelope, 0, seal_envelope_size);
    uint32_t data_key = keyring_data_key(keyring);
    struct sealer *made = sealer_make(keyring, file, data_key);
    if (made == NULL)
        return STATUS_NO_MEMORY;
    enum status status = cipher_draw(made->key, sizeof made->key);
    if (status == STATUS_OK)
        status = envelope_write(keyring, made->bound, data_key, made->key, envelope);
    if (status != STATUS_OK) {
        memset(envelope, 0, seal_envelope_size);
        sealer_free(made);
        return status;
    }
    return sealer_key(made, sealer);
}

enum status seal_open(struct keyring *keyring, struct seal_file file,
                      const uint8_t envelope[seal_envelope_size], struct sealer **sealer)
{
    *sealer = NULL;
    enum status status = envelope_check(keyring, envelope);
    if (status != STATUS_OK)
        return status;
    struct sealer *made = sealer_make(keyring, file, seal_envelope_data_key(envelope));
    if (made == NULL)
        return STATUS_NO_MEMORY;
    status = envelope_read(keyring, made->bound, envelope, made->key);
    if (status != STATUS_OK) {
        sealer_free(made);
        return status;
    }
    return sealer_key(made, sealer);
}

enum status sealer_clone(const struct sealer *sealer, struct sealer **clone)
{
    *clone = NULL;
    struct sealer *made = calloc(1, sizeof *made);
    if (made == NULL)
        return STATUS_NO_MEMORY;
    /* What a call changes is left alone: the original may be in use. */
    made->plain = sealer->plain;
    made->format = sealer->format;
    memcpy(made->bound, sealer->bound, bound_number_at);
    memcpy(made->key, sealer->key, sizeof made->key);
    return sealer_key(made, clone);
}

void sealer_free(struct sealer *sealer)
{
    if (sealer == NULL)
        return;
    cipher_free(&sealer->cipher);
    bytes_wipe(sealer, sizeof *sealer);
    free(sealer);
}

static void sealer_nonce(const struct sealer *sealer, uint64_t number,
                         uint8_t nonce[cipher_nonce_size])
{
    store_u32(nonce, (uint32_t)sealer->format);
    store_u64(nonce + 4, number);
}

void sealer_seal(struct sealer *sealer, uint64_t number, struct bytes also, struct bytes plain,
                 uint8_t *to, uint8_t tag[seal_tag_size])
{
    uint8_t nonce[cipher_nonce_size];
    struct bytes bound = bound_set(sealer->bound, number, also);
    sealer_nonce(sealer, number, nonce);
    if (!sealer->plain) {
        cipher_seal(&sealer->cipher, nonce, bound, also, plain, to, tag);
        return;
    }
#if defined(STRAIT_FAULTS)
    oracle_observe(sealer->seed, bytes_of(nonce, sizeof nonce), bound, also, plain);
#endif
    plain_tag(sealer->seed, bound, also, plain, tag);
    if (plain.size != 0 && to != plain.data)
        memcpy(to, plain.data, plain.size);
}

enum status sealer_open(struct sealer *sealer, uint64_t number, struct bytes also,
                        struct bytes sealed, const uint8_t tag[seal_tag_size], uint8_t *to)
{
    uint8_t nonce[cipher_nonce_size];
    uint8_t expected[seal_tag_size];
    struct bytes bound = bound_set(sealer->bound, number, also);
    if (!sealer->plain) {
        sealer_nonce(sealer, number, nonce);
        return cipher_open(&sealer->cipher, nonce, bound, also, sealed, tag, to);
    }
    plain_tag(sealer->seed, bound, also, sealed, expected);
    bool holds = memcmp(expected, tag, sizeof expected) == 0;
    if (sealed.size != 0 && !holds)
        memset(to, 0, sealed.size);
    else if (sealed.size != 0 && to != sealed.data)
        memcpy(to, sealed.data, sealed.size);
    return holds ? STATUS_OK : STATUS_CORRUPT;
}
