/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/seal/oracle.h"

#include "storage/seal/registry.h"
#include "tests/unit/unit.h"

static const uint8_t cluster[seal_id_size] = "cluster of tests";
static const struct seal_file table = {.format = SEAL_FORMAT_TABLE, .number = 7};

static struct keyring *keyring;
static struct sealer *sealer;
static uint8_t to[64];
static uint8_t tag[seal_tag_size];

static void sealer_begin(bool plain)
{
    uint8_t envelope[seal_envelope_size];
    ck_assert_int_eq(keyring_create_in_memory(cluster, plain, &keyring), STATUS_OK);
    ck_assert_int_eq(seal_create(keyring, table, envelope, &sealer), STATUS_OK);
}

static void sealer_end(void)
{
    sealer_free(sealer);
    keyring_close(keyring);
}

/* Sealing is a function of (key, number, also, plain): what is sealed twice alike is alike, which
 * is why the oracle lets it pass. */
START_TEST(test_same_input_gives_same_bytes)
{
    uint8_t again[64];
    uint8_t tag_again[seal_tag_size];
    sealer_begin(false);
    sealer_seal(sealer, 5, bytes_of("also", 4), bytes_of("plain", 5), to, tag);
    sealer_seal(sealer, 5, bytes_of("also", 4), bytes_of("plain", 5), again, tag_again);
    ck_assert_int_eq(memcmp(to, again, 5), 0);
    ck_assert_int_eq(memcmp(tag, tag_again, sizeof tag), 0);
    sealer_end();
}
END_TEST

#if defined(STRAIT_FAULTS)

static void seal_other_content(void *context)
{
    (void)context;
    sealer_seal(sealer, 5, bytes_of("also", 4), bytes_of("other", 5), to, tag);
}

static void seal_other_also(void *context)
{
    (void)context;
    sealer_seal(sealer, 5, bytes_of("ALSO", 4), bytes_of("plain", 5), to, tag);
}

START_TEST(test_second_use_aborts)
{
    for (int plain = 0; plain < 2; plain++) {
        sealer_begin(plain == 1);
        seal_oracle_start();
        uint64_t seen_count = seal_oracle_count();
        sealer_seal(sealer, 5, bytes_of("also", 4), bytes_of("plain", 5), to, tag);
        sealer_seal(sealer, 5, bytes_of("also", 4), bytes_of("plain", 5), to, tag);
        sealer_seal(sealer, 6, bytes_of("also", 4), bytes_of("other", 5), to, tag);
        ck_assert_uint_eq(seal_oracle_count(), seen_count + 3);
        unit_assert_dies(seal_other_content, NULL);
        unit_assert_dies(seal_other_also, NULL);
        sealer_end();
    }
}
END_TEST

/* The table grows many times over and still knows its first entry. */
START_TEST(test_growth_forgets_nothing)
{
    sealer_begin(false);
    seal_oracle_start();
    for (uint64_t number = 0; number < 50000; number++)
        sealer_seal(sealer, number, bytes_of("also", 4), bytes_of("plain", 5), to, tag);
    unit_assert_dies(seal_other_content, NULL);
    sealer_end();
}
END_TEST

#endif

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_same_input_gives_same_bytes);
#if defined(STRAIT_FAULTS)
    tcase_add_test(tests, test_second_use_aborts);
    tcase_add_test(tests, test_growth_forgets_nothing);
#endif
}
