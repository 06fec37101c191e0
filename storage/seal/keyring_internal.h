/* SPDX-License-Identifier: Apache-2.0 */
/* The keyring in memory: what seal.c wraps file keys with. registry.c fills it from the disk and
 * writes its changes there first.
 *
 * Two kinds exist. A store's keyring has the store's ids and data keys 1, 2, 3, ... The registry's
 * own copies are sealed by another one, whose ids are zeros (the registry is what says them) and
 * whose only key, number 0, is the master key. */
#ifndef STORAGE_SEAL_KEYRING_INTERNAL_H
#define STORAGE_SEAL_KEYRING_INTERNAL_H

#include <pthread.h>

#include "storage/seal/cipher.h"
#include "storage/seal/registry.h"
#include "storage/seal/secret.h"

enum { keyring_path_size = 256, keyring_master_key_id = 0 };

struct data_key {
    uint32_t id;         /* ascending; never used again for another key */
    uint64_t created_ns; /* wall clock; for people */
    uint8_t check[cipher_key_check_size];
};

struct keyring {
    uint8_t cluster_id[seal_id_size];
    uint8_t store_id[seal_id_size];
    bool plain;
    uint32_t keys_max;
    uint32_t last_id; /* the highest id ever given out */

    /* The keys change (rotate, retire) on one thread while others create and open files. */
    pthread_mutex_t mutex;
    uint32_t keys_count; /* 0 where plain, else at least 1 */
    struct data_key keys[keyring_data_keys_max];
    struct secret secret; /* keys_max keys, in the order of `keys` */

    /* Where it is kept; all NULL and empty for one in memory. The registry's own copies are sealed
     * by `master`, which this keyring owns. */
    struct keyring *master;
    struct twin *twin;
    char directory[keyring_path_size];
};

/* Without keys. NO_MEMORY. */
MUST_CHECK enum status keyring_make(const uint8_t cluster_id[seal_id_size],
                                    const uint8_t store_id[seal_id_size], bool plain,
                                    uint32_t keys_max, struct keyring **keyring);
void keyring_destroy(struct keyring *keyring); /* NULL is permitted; wipes all keys */

/* Adds a key, which becomes the newest. Its id is above all others, or the master key's; there is
 * room for it. */
MUST_CHECK enum status keyring_add(struct keyring *keyring, uint32_t id, uint64_t created_ns,
                                   const uint8_t key[cipher_key_size]);

/* Removes the keys that `mask` names, by position. */
void keyring_remove(struct keyring *keyring, const bool mask[keyring_data_keys_max]);

/* Copies out the key of `id`, and its check value: KEY_MISSING. The caller wipes it. */
MUST_CHECK enum status keyring_find(struct keyring *keyring, uint32_t id,
                                    uint8_t key[cipher_key_size],
                                    uint8_t check[cipher_key_check_size]);

#endif
