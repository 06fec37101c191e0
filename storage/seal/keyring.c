/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/seal/keyring_internal.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/seal/twin.h"

static uint8_t *key_at(const struct keyring *keyring, uint32_t position)
{
    ASSERT(position < keyring->keys_max);
    return keyring->secret.data + (size_t)position * cipher_key_size;
}

enum status keyring_make(const uint8_t cluster_id[seal_id_size],
                         const uint8_t store_id[seal_id_size], bool plain, uint32_t keys_max,
                         struct keyring **keyring)
{
    *keyring = NULL;
    ASSERT(keys_max >= 1 && keys_max <= keyring_data_keys_max);
    struct keyring *made = calloc(1, sizeof *made);
    if (made == NULL)
        return STATUS_NO_MEMORY;
    if (!secret_allocate(&made->secret, (size_t)keys_max * cipher_key_size)) {
        free(made);
        return STATUS_NO_MEMORY;
    }
    memcpy(made->cluster_id, cluster_id, seal_id_size);
    memcpy(made->store_id, store_id, seal_id_size);
    made->plain = plain;
    made->keys_max = keys_max;
    int failed = pthread_mutex_init(&made->mutex, NULL);
    ASSERT(failed == 0);
    *keyring = made;
    return STATUS_OK;
}

void keyring_destroy(struct keyring *keyring)
{
    if (keyring == NULL)
        return;
    secret_free(&keyring->secret);
    pthread_mutex_destroy(&keyring->mutex);
    free(keyring);
}

enum status keyring_add(struct keyring *keyring, uint32_t id, uint64_t created_ns,
                        const uint8_t key[cipher_key_size])
{
    struct data_key added = {.id = id, .created_ns = created_ns};
    ASSERT(!keyring->plain);
    ASSERT(id > keyring->last_id || (id == keyring_master_key_id && keyring->keys_count == 0));
    enum status status = cipher_key_check(key, added.check);
    if (status != STATUS_OK)
        return status;
    pthread_mutex_lock(&keyring->mutex);
    ASSERT(keyring->keys_count < keyring->keys_max);
    memcpy(key_at(keyring, keyring->keys_count), key, cipher_key_size);
    keyring->keys[keyring->keys_count++] = added;
    keyring->last_id = id;
    pthread_mutex_unlock(&keyring->mutex);
    return STATUS_OK;
}

void keyring_remove(struct keyring *keyring, const bool mask[keyring_data_keys_max])
{
    uint32_t kept = 0;
    pthread_mutex_lock(&keyring->mutex);
    for (uint32_t i = 0; i < keyring->keys_count; i++) {
        if (mask[i])
            continue;
        keyring->keys[kept] = keyring->keys[i];
        memmove(key_at(keyring, kept++), key_at(keyring, i), cipher_key_size);
    }
    for (uint32_t i = kept; i < keyring->keys_count; i++)
        bytes_wipe(key_at(keyring, i), cipher_key_size);
    keyring->keys_count = kept;
    pthread_mutex_unlock(&keyring->mutex);
}

enum status keyring_find(struct keyring *keyring, uint32_t id, uint8_t key[cipher_key_size],
                         uint8_t check[cipher_key_check_size])
{
    enum status status = STATUS_KEY_MISSING;
    memset(key, 0, cipher_key_size);
    memset(check, 0, cipher_key_check_size);
    pthread_mutex_lock(&keyring->mutex);
    for (uint32_t i = keyring->keys_count; i-- > 0;) { /* the newest is what is asked for most */
        if (keyring->keys[i].id != id)
            continue;
        memcpy(key, key_at(keyring, i), cipher_key_size);
        memcpy(check, keyring->keys[i].check, cipher_key_check_size);
        status = STATUS_OK;
        break;
    }
    pthread_mutex_unlock(&keyring->mutex);
    return status;
}

enum status keyring_create_in_memory(const uint8_t cluster_id[seal_id_size], bool plain,
                                     struct keyring **keyring)
{
    uint8_t store_id[seal_id_size];
    uint8_t key[cipher_key_size];
    *keyring = NULL;
    struct keyring *made = NULL;
    enum status status = cipher_draw(store_id, sizeof store_id);
    if (status == STATUS_OK)
        status = keyring_make(cluster_id, store_id, plain, keyring_data_keys_max, &made);
    if (status == STATUS_OK && !plain) {
        status = cipher_draw(key, sizeof key);
        if (status == STATUS_OK)
            status = keyring_add(made, 1, 0, key);
        bytes_wipe(key, sizeof key);
    }
    if (status != STATUS_OK) {
        keyring_destroy(made);
        return status;
    }
    *keyring = made;
    return STATUS_OK;
}

const uint8_t *keyring_cluster_id(const struct keyring *keyring)
{
    return keyring->cluster_id;
}

const uint8_t *keyring_store_id(const struct keyring *keyring)
{
    return keyring->store_id;
}

bool keyring_is_encrypted(const struct keyring *keyring)
{
    return !keyring->plain;
}

uint32_t keyring_data_key(const struct keyring *keyring)
{
    struct keyring *guarded = (struct keyring *)(uintptr_t)keyring; /* the mutex is not its value */
    uint32_t id = 0;
    pthread_mutex_lock(&guarded->mutex);
    if (keyring->keys_count != 0)
        id = keyring->keys[keyring->keys_count - 1].id;
    pthread_mutex_unlock(&guarded->mutex);
    return id;
}

void keyring_close(struct keyring *keyring)
{
    if (keyring == NULL)
        return;
    twin_close(keyring->twin);
    keyring_destroy(keyring->master);
    keyring_destroy(keyring);
}
