/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/seal/seal.h"

#include <pthread.h>
#include <stdatomic.h>

#include "storage/seal/registry.h"
#include "tests/unit/unit.h"

static const uint8_t cluster[seal_id_size] = "cluster of tests";

static bool is_never_used(void *context, uint32_t data_key)
{
    (void)context;
    (void)data_key;
    return false;
}

static bool is_key(void *context, uint32_t data_key)
{
    return data_key == *(uint32_t *)context;
}

static enum status try_open(struct keyring *keyring, struct seal_file file,
                            const uint8_t envelope[seal_envelope_size])
{
    struct sealer *sealer = NULL;
    enum status status = seal_open(keyring, file, envelope, &sealer);
    sealer_free(sealer);
    return status;
}

/* Each key opens what was sealed under it until it is retired, by number and not by place. */
START_TEST(test_keys_by_age)
{
    enum { keys_count = 5 };
    uint8_t envelopes[keys_count][seal_envelope_size];
    struct keyring *keyring = NULL;
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &keyring), STATUS_OK);
    for (uint32_t i = 0; i < keys_count; i++) {
        struct seal_file file = {.format = SEAL_FORMAT_TABLE, .number = i};
        struct sealer *sealer = NULL;
        ck_assert_uint_eq(keyring_data_key(keyring), i + 1);
        ck_assert_int_eq(seal_create(keyring, file, envelopes[i], &sealer), STATUS_OK);
        ck_assert_uint_eq(seal_envelope_data_key(envelopes[i]), i + 1);
        sealer_free(sealer);
        ck_assert_int_eq(keyring_rotate(keyring, NULL, NULL), STATUS_OK);
    }
    uint32_t used = 3;
    ck_assert_int_eq(keyring_retire(keyring, NULL, is_key, &used, NULL), STATUS_OK);
    for (uint32_t i = 0; i < keys_count; i++) {
        struct seal_file file = {.format = SEAL_FORMAT_TABLE, .number = i};
        ck_assert_int_eq(try_open(keyring, file, envelopes[i]),
                         i + 1 == used ? STATUS_OK : STATUS_KEY_MISSING);
    }
    ck_assert_int_eq(keyring_retire(keyring, NULL, is_never_used, NULL, NULL), STATUS_OK);
    ck_assert_uint_eq(keyring_data_key(keyring), keys_count + 1);
    keyring_close(keyring);
}
END_TEST

START_TEST(test_count_of_keys_is_bounded)
{
    struct keyring *keyring = NULL;
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &keyring), STATUS_OK);
    for (uint32_t i = 1; i < keyring_data_keys_max; i++)
        ck_assert_int_eq(keyring_rotate(keyring, NULL, NULL), STATUS_OK);
    ck_assert_int_eq(keyring_rotate(keyring, NULL, NULL), STATUS_OUT_OF_BOUNDS);
    ck_assert_uint_eq(keyring_data_key(keyring), keyring_data_keys_max);
    ck_assert_int_eq(keyring_retire(keyring, NULL, is_never_used, NULL, NULL), STATUS_OK);
    ck_assert_int_eq(keyring_rotate(keyring, NULL, NULL), STATUS_OK);
    ck_assert_uint_eq(keyring_data_key(keyring), keyring_data_keys_max + 1);
    keyring_close(keyring);
}
END_TEST

START_TEST(test_plain_has_no_keys)
{
    struct keyring *keyring = NULL;
    ck_assert_int_eq(keyring_create_in_memory(cluster, true, &keyring), STATUS_OK);
    ck_assert(!keyring_is_encrypted(keyring));
    ck_assert_uint_eq(keyring_data_key(keyring), 0);
    ck_assert_int_eq(keyring_rotate(keyring, NULL, NULL), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(keyring_retire(keyring, NULL, is_never_used, NULL, NULL), STATUS_OK);
    ck_assert_mem_eq(keyring_cluster_id(keyring), cluster, seal_id_size);
    keyring_close(keyring);
}
END_TEST

struct rotation {
    struct keyring *keyring;
    atomic_bool stop;
    atomic_uint failures;
};

static void *create_files(void *context)
{
    struct rotation *rotation = context;
    for (uint64_t number = 0; !atomic_load(&rotation->stop); number++) {
        struct seal_file file = {.format = SEAL_FORMAT_TABLE, .number = number};
        uint8_t envelope[seal_envelope_size];
        struct sealer *sealer = NULL;
        if (seal_create(rotation->keyring, file, envelope, &sealer) != STATUS_OK ||
            try_open(rotation->keyring, file, envelope) != STATUS_OK)
            atomic_fetch_add(&rotation->failures, 1);
        sealer_free(sealer);
    }
    return NULL;
}

/* Workers make files while the keys rotate. */
START_TEST(test_rotation_beside_sealing)
{
    struct rotation rotation = {0};
    pthread_t thread;
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &rotation.keyring), STATUS_OK);
    ck_assert_int_eq(pthread_create(&thread, NULL, create_files, &rotation), 0);
    for (uint32_t i = 1; i < keyring_data_keys_max; i++)
        ck_assert_int_eq(keyring_rotate(rotation.keyring, NULL, NULL), STATUS_OK);
    atomic_store(&rotation.stop, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(atomic_load(&rotation.failures), 0);
    keyring_close(rotation.keyring);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_keys_by_age);
    tcase_add_test(tests, test_count_of_keys_is_bounded);
    tcase_add_test(tests, test_plain_has_no_keys);
    tcase_add_test(tests, test_rotation_beside_sealing);
}
