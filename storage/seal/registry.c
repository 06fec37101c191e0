/* SPDX-License-Identifier: Apache-2.0 */
/* The contents of the twin file "keys", little-endian. The twin's copies are sealed by the master
 * key, or plain where the store is; the data keys are wrapped once more, each by itself, so that
 * they are opened into locked memory and nowhere else.
 *
 *     offset  size  what
 *     ------  ----  ----------------------------------------------------------
 *          0     4  magic "KEYR"
 *          4     2  version of this layout: 1
 *          6     1  1 where the store is plain, else 0
 *          7     1  zero
 *          8    16  cluster id
 *         24    16  store id
 *         40     4  the highest data key number ever given out
 *         44     4  count of data keys: 0 where plain, else 1 to 256
 *         48        the data keys, in ascending order of number:
 *
 *          0     4  number, from 1
 *          4     4  zeros
 *          8     8  when it was made: nanoseconds since 1970, for people
 *         16    12  nonce of the wrapping, random
 *         28    32  the data key, wrapped with bytes 0..40 of the contents and 0..16 of this bound
 *         60    16  tag
 *         76
 */
#include "storage/seal/registry.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/seal/keyring_internal.h"
#include "storage/seal/twin.h"

enum {
    registry_magic = 0x5259454b, /* "KEYR" */
    registry_version = 1,

    version_at = 4,
    plain_at = 6,
    cluster_at = 8,
    store_at = 24,
    bound_size = 40,
    last_id_at = 40,
    count_at = 44,
    header_size = 48,

    entry_created_at = 8,
    entry_bound_size = 16,
    entry_nonce_at = 16,
    entry_key_at = entry_nonce_at + cipher_nonce_size,
    entry_tag_at = entry_key_at + cipher_key_size,
    entry_size = entry_tag_at + cipher_tag_size,

    registry_size_max = header_size + keyring_data_keys_max * entry_size,
};

_Static_assert((int)master_key_size == (int)cipher_key_size, "the master key is a key");

static const char registry_name[] = "keys";

static const char *source_text(const struct master_key_source *source)
{
    return source->file != NULL ? source->file : "the command";
}

/* ---- The master key ---- */

/* The keyring that seals the registry itself. */
static enum status master_open(struct io *io, const struct master_key_source *source,
                               struct keyring **master, struct error *error)
{
    static const uint8_t no_id[seal_id_size];
    struct secret secret = {0};
    *master = NULL;
    enum status status = keyring_make(no_id, no_id, source->plain, 1, master);
    if (status == STATUS_OK && source->plain && (source->file != NULL || source->command != NULL)) {
        status = error_set(error, STATUS_INVALID_ARGUMENT,
                           "encryption is off, and yet a master key is named: take one away");
    } else if (status == STATUS_OK && !source->plain) {
        if (!secret_allocate(&secret, master_key_size))
            status = STATUS_NO_MEMORY;
        if (status == STATUS_OK)
            status = master_key_read(io, source, secret.data, error);
        if (status == STATUS_OK)
            status = keyring_add(*master, keyring_master_key_id, 0, secret.data);
        secret_free(&secret);
    }
    if (status != STATUS_OK) {
        keyring_destroy(*master);
        *master = NULL;
        if (error != NULL && error->status == STATUS_OK)
            return error_set(error, status, "opening the key registry: %s", status_text(status));
    }
    return status;
}

static enum status master_cipher(struct keyring *master, struct cipher *cipher)
{
    uint8_t key[cipher_key_size];
    uint8_t check[cipher_key_check_size];
    enum status status = keyring_find(master, keyring_master_key_id, key, check);
    if (status == STATUS_OK)
        status = cipher_init(cipher, key);
    bytes_wipe(key, sizeof key);
    return status;
}

/* ---- The contents ---- */

static void entry_write(struct cipher *cipher, const uint8_t *contents, const struct data_key *key,
                        const uint8_t secret[cipher_key_size],
                        const uint8_t nonce[cipher_nonce_size], uint8_t entry[entry_size])
{
    memset(entry, 0, entry_size);
    store_u32(entry, key->id);
    store_u64(entry + entry_created_at, key->created_ns);
    memcpy(entry + entry_nonce_at, nonce, cipher_nonce_size);
    cipher_seal(cipher, nonce, bytes_of(contents, bound_size), bytes_of(entry, entry_bound_size),
                bytes_of(secret, cipher_key_size), entry + entry_key_at, entry + entry_tag_at);
}

/* A registry that has the keys of `keyring` but those of `mask` (NULL: all), and `added` (NULL:
 * none). The memory is the caller's to free. */
struct change {
    const bool *mask;
    const struct data_key *added;
    const uint8_t *added_secret;
};

static enum status contents_write_keys(const struct keyring *keyring, const struct change *change,
                                       uint8_t *contents, size_t *size)
{
    struct cipher cipher;
    uint8_t nonce[cipher_nonce_size];
    uint32_t count = 0;
    enum status status = master_cipher(keyring->master, &cipher);
    for (uint32_t i = 0; i < keyring->keys_count && status == STATUS_OK; i++) {
        if (change->mask != NULL && change->mask[i])
            continue;
        status = cipher_draw(nonce, sizeof nonce);
        if (status == STATUS_OK)
            entry_write(&cipher, contents, &keyring->keys[i],
                        keyring->secret.data + (size_t)i * cipher_key_size, nonce,
                        contents + header_size + count++ * (size_t)entry_size);
    }
    if (status == STATUS_OK && change->added != NULL) {
        ASSERT(count < keyring_data_keys_max);
        status = cipher_draw(nonce, sizeof nonce);
        if (status == STATUS_OK)
            entry_write(&cipher, contents, change->added, change->added_secret, nonce,
                        contents + header_size + count++ * (size_t)entry_size);
    }
    cipher_free(&cipher);
    store_u32(contents + count_at, count);
    *size = header_size + count * (size_t)entry_size;
    return status;
}

static enum status contents_write(const struct keyring *keyring, const struct change *change,
                                  uint8_t contents[registry_size_max], size_t *size)
{
    memset(contents, 0, header_size);
    store_u32(contents, registry_magic);
    store_u16(contents + version_at, registry_version);
    contents[plain_at] = keyring->plain;
    memcpy(contents + cluster_at, keyring->cluster_id, seal_id_size);
    memcpy(contents + store_at, keyring->store_id, seal_id_size);
    store_u32(contents + last_id_at, change->added != NULL ? change->added->id : keyring->last_id);
    *size = header_size;
    return keyring->plain ? STATUS_OK : contents_write_keys(keyring, change, contents, size);
}

/* Adds the data keys of `contents`, whose header was checked, to the keyring. */
static enum status contents_read_keys(struct bytes contents, struct keyring *keyring)
{
    struct secret secret = {0};
    struct cipher cipher = {0};
    enum status status = master_cipher(keyring->master, &cipher);
    if (status == STATUS_OK && !secret_allocate(&secret, cipher_key_size))
        status = STATUS_NO_MEMORY;
    for (size_t at = header_size; at < contents.size && status == STATUS_OK; at += entry_size) {
        const uint8_t *entry = contents.data + at;
        uint32_t id = load_u32(entry);
        if (id <= keyring->last_id || load_u32(entry + 4) != 0) {
            status = STATUS_CORRUPT;
            break;
        }
        status = cipher_open(&cipher, entry + entry_nonce_at, bytes_of(contents.data, bound_size),
                             bytes_of(entry, entry_bound_size),
                             bytes_of(entry + entry_key_at, cipher_key_size), entry + entry_tag_at,
                             secret.data);
        if (status == STATUS_OK)
            status = keyring_add(keyring, id, load_u64(entry + entry_created_at), secret.data);
    }
    cipher_free(&cipher);
    secret_free(&secret);
    return status;
}

static enum status contents_check(struct bytes contents, bool plain)
{
    if (contents.size < header_size || load_u32(contents.data) != registry_magic)
        return STATUS_CORRUPT;
    if (load_u16(contents.data + version_at) > registry_version)
        return STATUS_NEWER_FORMAT;
    uint32_t count = load_u32(contents.data + count_at);
    bool is_plain = contents.data[plain_at] == 1;
    if (load_u16(contents.data + version_at) != registry_version || contents.data[plain_at] > 1 ||
        contents.data[plain_at + 1] != 0 || is_plain != plain || (count == 0) != plain ||
        count > keyring_data_keys_max || contents.size != header_size + count * (size_t)entry_size)
        return STATUS_CORRUPT;
    return STATUS_OK;
}

/* Makes the keyring that `contents` describe; it takes `master` where that succeeds. */
static enum status contents_read(struct bytes contents, struct keyring *master,
                                 struct keyring **result)
{
    struct keyring *keyring = NULL;
    *result = NULL;
    enum status status = contents_check(contents, master->plain);
    if (status == STATUS_OK)
        status = keyring_make(contents.data + cluster_at, contents.data + store_at, master->plain,
                              keyring_data_keys_max, &keyring);
    if (status != STATUS_OK)
        return status;
    keyring->master = master;
    if (!master->plain)
        status = contents_read_keys(contents, keyring);
    uint32_t last_id = load_u32(contents.data + last_id_at);
    if (status == STATUS_OK && last_id < keyring->last_id)
        status = STATUS_CORRUPT;
    if (status != STATUS_OK) {
        keyring_destroy(keyring);
        return status;
    }
    keyring->last_id = last_id;
    *result = keyring;
    return STATUS_OK;
}

/* ---- The file ---- */

static enum status registry_write(struct keyring *keyring, struct io *io,
                                  const struct change *change, struct error *error)
{
    size_t size = 0;
    uint8_t *contents = malloc(registry_size_max);
    if (contents == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory to write the key registry");
    enum status status = contents_write(keyring, change, contents, &size);
    if (status == STATUS_OK)
        status = twin_write_wait(keyring->twin, io, bytes_of(contents, size));
    free(contents);
    if (status != STATUS_OK)
        return error_set(error, status, "writing the key registry in %s: %s", keyring->directory,
                         status_text(status));
    return STATUS_OK;
}

/* Says in the operator's words why the twin did not open. */
static enum status explain(const char *directory, const struct master_key_source *source,
                           enum status status, struct error *error)
{
    if (status != STATUS_KEY_WRONG && status != STATUS_INVALID_ARGUMENT)
        return status;
    if (error != NULL)
        *error = (struct error){0};
    if (status == STATUS_KEY_WRONG)
        return error_set(error, status,
                         "the master key from %s is not the one that %s/%s was sealed with. Give "
                         "the right one; nothing was changed.",
                         source_text(source), directory, registry_name);
    return error_set(error, status,
                     source->plain ? "the store in %s is encrypted: name its master key"
                                   : "the store in %s was made without encryption: turn it off by "
                                     "name, or make a new store",
                     directory);
}

/* Opens the twin: its contents are the caller's. With NOT_FOUND the twin is made all the same. */
static enum status registry_open(struct io *io, const char *directory,
                                 const struct master_key_source *source, struct keyring *master,
                                 struct twin **twin, uint8_t **contents, size_t *size,
                                 struct keyring_report *report, struct error *error)
{
    struct twin_report repaired;
    enum status status = twin_open(io, master, directory, registry_name, SEAL_FORMAT_REGISTRY, twin,
                                   contents, size, &repaired, error);
    if (report != NULL && repaired.repaired) {
        report->repaired = true;
        memcpy(report->repaired_path, repaired.repaired_path, sizeof report->repaired_path);
        report->repaired_path[sizeof report->repaired_path - 1] = '\0';
    }
    return explain(directory, source, status, error);
}

static bool directory_set(struct keyring *keyring, const char *directory)
{
    size_t size = strlen(directory) + 1;
    if (size > sizeof keyring->directory)
        return false;
    memcpy(keyring->directory, directory, size);
    return true;
}

/* Writes the first generation, of a store that begins. */
static enum status registry_begin(struct io *io, const char *directory, struct keyring *master,
                                  struct twin *twin, const uint8_t cluster_id[seal_id_size],
                                  struct error *error)
{
    struct keyring *keyring = NULL;
    const struct change change = {0};
    enum status status = keyring_create_in_memory(cluster_id, master->plain, &keyring);
    if (status != STATUS_OK)
        return error_set(error, status, "making the key registry in %s: %s", directory,
                         status_text(status));
    if (!keyring->plain)
        keyring->keys[0].created_ns = io_wall_ns(io);
    keyring->master = master;
    keyring->twin = twin;
    if (directory_set(keyring, directory))
        status = registry_write(keyring, io, &change, error);
    else
        status = error_set(error, STATUS_TOO_LARGE, "the path %s is too long", directory);
    keyring_destroy(keyring);
    return status;
}

enum status keyring_create(struct io *io, const char *directory,
                           const struct master_key_source *source,
                           const uint8_t cluster_id[seal_id_size], struct error *error)
{
    struct keyring *master = NULL;
    struct twin *twin = NULL;
    uint8_t *contents = NULL;
    size_t size = 0;
    enum status status = master_open(io, source, &master, error);
    if (status != STATUS_OK)
        return status;
    status = registry_open(io, directory, source, master, &twin, &contents, &size, NULL, error);
    if (status == STATUS_NOT_FOUND) {
        status = registry_begin(io, directory, master, twin, cluster_id, error);
    } else if (status == STATUS_OK || status == STATUS_KEY_WRONG ||
               status == STATUS_INVALID_ARGUMENT) {
        if (error != NULL)
            *error = (struct error){0};
        status =
            error_set(error, STATUS_ALREADY_EXISTS, "%s has a key registry already", directory);
    }
    free(contents);
    twin_close(twin);
    keyring_destroy(master);
    return status;
}

enum status keyring_open(struct io *io, const char *directory,
                         const struct master_key_source *source, struct keyring **keyring,
                         struct keyring_report *report, struct error *error)
{
    struct keyring *master = NULL;
    struct keyring *opened = NULL;
    struct twin *twin = NULL;
    uint8_t *contents = NULL;
    size_t size = 0;
    *keyring = NULL;
    if (report != NULL)
        *report = (struct keyring_report){0};
    enum status status = master_open(io, source, &master, error);
    if (status != STATUS_OK)
        return status;
    status = registry_open(io, directory, source, master, &twin, &contents, &size, report, error);
    if (status == STATUS_NOT_FOUND) {
        status = error_set(error, status, "there is no key registry in %s", directory);
    } else if (status == STATUS_OK) {
        status = contents_read(bytes_of(contents, size), master, &opened);
        if (status == STATUS_OK && !directory_set(opened, directory)) {
            keyring_destroy(opened);
            status = STATUS_TOO_LARGE;
        }
        if (status != STATUS_OK)
            status = error_set(error, status, "the key registry in %s: %s", directory,
                               status_text(status));
    }
    free(contents);
    if (status != STATUS_OK) {
        twin_close(twin);
        keyring_destroy(master);
        return status;
    }
    opened->twin = twin;
    if (report != NULL)
        report->unlocked = !opened->secret.locked;
    *keyring = opened;
    return STATUS_OK;
}

/* ---- Changes ---- */

enum status keyring_rotate(struct keyring *keyring, struct io *io, struct error *error)
{
    uint8_t secret[cipher_key_size];
    struct data_key added = {.id = keyring->last_id + 1};
    const struct change change = {.added = &added, .added_secret = secret};
    if (keyring->plain)
        return error_set(error, STATUS_INVALID_ARGUMENT, "a plain store has no keys to rotate");
    if (keyring->keys_count == keyring->keys_max || added.id == 0)
        return error_set(
            error, STATUS_OUT_OF_BOUNDS,
            "the store has %u data keys, which is the most: let compaction rewrite old "
            "files and retire the keys that no file uses",
            keyring->keys_count);
    enum status status = cipher_draw(secret, sizeof secret);
    if (status != STATUS_OK)
        status = error_set(error, status, "no randomness for a new data key");
    if (status == STATUS_OK && keyring->twin != NULL) {
        added.created_ns = io_wall_ns(io);
        status = registry_write(keyring, io, &change, error);
    }
    if (status == STATUS_OK)
        status = keyring_add(keyring, added.id, added.created_ns, secret);
    bytes_wipe(secret, sizeof secret);
    return status;
}

/* Exchanges the master key that seals the registry with that of `other`, which no one else has. */
static void master_swap(struct keyring *keyring, struct keyring *other)
{
    struct keyring *master = keyring->master;
    uint8_t key[cipher_key_size];
    uint8_t check[cipher_key_check_size];
    pthread_mutex_lock(&master->mutex);
    memcpy(key, master->secret.data, sizeof key);
    memcpy(check, master->keys[0].check, sizeof check);
    memcpy(master->secret.data, other->secret.data, sizeof key);
    memcpy(master->keys[0].check, other->keys[0].check, sizeof check);
    memcpy(other->secret.data, key, sizeof key);
    memcpy(other->keys[0].check, check, sizeof check);
    pthread_mutex_unlock(&master->mutex);
    bytes_wipe(key, sizeof key);
}

enum status keyring_rewrap(struct keyring *keyring, struct io *io,
                           const struct master_key_source *source, struct error *error)
{
    struct keyring *other = NULL;
    const struct change change = {0};
    if (keyring->plain || keyring->twin == NULL || source->plain)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "only an encrypted store on disk can change its master key, and only for "
                         "another one");
    enum status status = master_open(io, source, &other, error);
    if (status != STATUS_OK)
        return status;
    master_swap(keyring, other);
    status = registry_write(keyring, io, &change, error);
    if (status != STATUS_OK)
        master_swap(keyring, other);
    keyring_destroy(other);
    return status;
}

enum status keyring_retire(struct keyring *keyring, struct io *io,
                           bool (*is_used)(void *context, uint32_t data_key), void *context,
                           struct error *error)
{
    bool mask[keyring_data_keys_max] = {false};
    const struct change change = {.mask = mask};
    uint32_t retired_count = 0;
    for (uint32_t i = 0; i + 1 < keyring->keys_count; i++) {
        mask[i] = !is_used(context, keyring->keys[i].id);
        retired_count += mask[i];
    }
    if (retired_count == 0)
        return STATUS_OK;
    if (keyring->twin != NULL) {
        enum status status = registry_write(keyring, io, &change, error);
        if (status != STATUS_OK)
            return status;
    }
    keyring_remove(keyring, mask);
    return STATUS_OK;
}

enum status keyring_check(struct io *io, struct keyring *keyring, const char *directory,
                          void (*bad)(void *context, const char *path, const char *text),
                          void *context)
{
    ASSERT(keyring->master != NULL);
    return twin_check(io, keyring->master, directory, registry_name, SEAL_FORMAT_REGISTRY, bad,
                      context);
}
