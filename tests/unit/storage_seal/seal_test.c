/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/seal/seal.h"

#include <pthread.h>

#include "proto/base/generator.h"
#include "proto/base/hash.h"
#include "storage/seal/registry.h"
#include "tests/unit/unit.h"

enum { block_size = 5000 };

static const uint8_t cluster[seal_id_size] = "cluster of tests";
static const struct seal_file table = {.format = SEAL_FORMAT_TABLE, .number = 7};

struct fixture {
    struct keyring *keyring;
    struct sealer *sealer;
    uint8_t envelope[seal_envelope_size];
    uint8_t plain[block_size];
    uint8_t sealed[block_size];
    uint8_t opened[block_size];
    uint8_t tag[seal_tag_size];
};

static void fixture_open(struct fixture *fixture, bool plain)
{
    struct generator generator;
    memset(fixture, 0, sizeof *fixture);
    generator_init(&generator, 11);
    generator_fill(&generator, fixture->plain, block_size);
    ck_assert_int_eq(keyring_create_in_memory(cluster, plain, &fixture->keyring), STATUS_OK);
    ck_assert_int_eq(seal_create(fixture->keyring, table, fixture->envelope, &fixture->sealer),
                     STATUS_OK);
}

static void fixture_close(struct fixture *fixture)
{
    sealer_free(fixture->sealer);
    keyring_close(fixture->keyring);
}

static void seal_block(struct fixture *fixture, uint64_t number, struct bytes also, size_t size)
{
    sealer_seal(fixture->sealer, number, also, bytes_of(fixture->plain, size), fixture->sealed,
                fixture->tag);
}

static enum status open_block(struct fixture *fixture, uint64_t number, struct bytes also,
                              size_t size)
{
    memset(fixture->opened, 0xee, block_size);
    return sealer_open(fixture->sealer, number, also, bytes_of(fixture->sealed, size), fixture->tag,
                       fixture->opened);
}

/* Sealing and opening alternate on one context, with every size around a cipher's block. */
static void check_round_trips(bool plain)
{
    struct fixture fixture;
    const struct bytes none = {0};
    fixture_open(&fixture, plain);
    for (size_t size = 0; size < 100; size++) {
        struct bytes also = size % 2 == 0 ? none : bytes_of("header", 6);
        seal_block(&fixture, size, also, size);
        ck_assert_int_eq(open_block(&fixture, size, also, size), STATUS_OK);
        ck_assert(bytes_equal(bytes_of(fixture.opened, size), bytes_of(fixture.plain, size)));
    }
    seal_block(&fixture, 1000, none, block_size);
    ck_assert(plain == (memcmp(fixture.sealed, fixture.plain, block_size) == 0));
    sealer_free(fixture.sealer);
    ck_assert_int_eq(seal_open(fixture.keyring, table, fixture.envelope, &fixture.sealer),
                     STATUS_OK);
    ck_assert_int_eq(open_block(&fixture, 1000, none, block_size), STATUS_OK);
    ck_assert_int_eq(memcmp(fixture.opened, fixture.plain, block_size), 0);
    fixture_close(&fixture);
}

START_TEST(test_round_trips)
{
    check_round_trips(false);
    check_round_trips(true);
}
END_TEST

static void check_in_place(bool plain)
{
    struct fixture fixture;
    uint8_t memory[block_size];
    const struct bytes also = bytes_of("a", 1);
    fixture_open(&fixture, plain);
    memcpy(memory, fixture.plain, block_size);
    sealer_seal(fixture.sealer, 1, also, bytes_of(memory, block_size), memory, fixture.tag);
    ck_assert_int_eq(
        sealer_open(fixture.sealer, 1, also, bytes_of(memory, block_size), fixture.tag, memory),
        STATUS_OK);
    ck_assert_int_eq(memcmp(memory, fixture.plain, block_size), 0);
    fixture_close(&fixture);
}

START_TEST(test_works_in_place)
{
    check_in_place(false);
    check_in_place(true);
}
END_TEST

/* Every single bit of block, tag and additional data matters, and what fails leaves zeros. */
static void check_flipped_bits(bool plain)
{
    enum { size = 65 };
    struct fixture fixture;
    uint8_t also[5] = "also";
    const uint8_t zeros[size] = {0};
    fixture_open(&fixture, plain);
    seal_block(&fixture, 3, bytes_of(also, sizeof also), size);
    struct bytes places[] = {bytes_of(fixture.sealed, size), bytes_of(fixture.tag, seal_tag_size),
                             bytes_of(also, sizeof also)};
    for (size_t place = 0; place < 3; place++) {
        for (size_t bit = 0; bit < places[place].size * 8; bit++) {
            uint8_t *byte = (uint8_t *)(uintptr_t)places[place].data + bit / 8;
            *byte ^= (uint8_t)(1u << bit % 8);
            ck_assert_int_eq(open_block(&fixture, 3, bytes_of(also, sizeof also), size),
                             STATUS_CORRUPT);
            ck_assert_int_eq(memcmp(fixture.opened, zeros, size), 0);
            *byte ^= (uint8_t)(1u << bit % 8);
        }
    }
    ck_assert_int_eq(open_block(&fixture, 3, bytes_of(also, sizeof also), size), STATUS_OK);
    fixture_close(&fixture);
}

START_TEST(test_flipped_bits_are_found)
{
    check_flipped_bits(false);
    check_flipped_bits(true);
}
END_TEST

/* A block that was moved to another number, cut, or given another split of header and block. */
static void check_misplaced(bool plain)
{
    struct fixture fixture;
    const struct bytes none = {0};
    fixture_open(&fixture, plain);
    seal_block(&fixture, 3, none, 100);
    ck_assert_int_eq(open_block(&fixture, 4, none, 100), STATUS_CORRUPT);
    ck_assert_int_eq(open_block(&fixture, UINT64_MAX, none, 100), STATUS_CORRUPT);
    ck_assert_int_eq(open_block(&fixture, 3, none, 99), STATUS_CORRUPT);
    ck_assert_int_eq(open_block(&fixture, 3, none, 0), STATUS_CORRUPT);
    ck_assert_int_eq(sealer_open(fixture.sealer, 3, bytes_of(fixture.sealed, 10),
                                 bytes_of(fixture.sealed + 10, 90), fixture.tag, fixture.opened),
                     STATUS_CORRUPT);
    fixture_close(&fixture);
}

START_TEST(test_misplaced_blocks_are_found)
{
    check_misplaced(false);
    check_misplaced(true);
}
END_TEST

/* An envelope opens for its own file, store and cluster only. */
static void check_envelope_binding(bool plain)
{
    static const uint8_t other_cluster[seal_id_size] = "another cluster.";
    struct fixture fixture;
    struct fixture life;
    struct keyring *stranger = NULL;
    struct sealer *sealer = NULL;
    struct seal_file file = table;
    fixture_open(&fixture, plain);
    file.number++;
    ck_assert_int_eq(seal_open(fixture.keyring, file, fixture.envelope, &sealer), STATUS_CORRUPT);
    ck_assert_ptr_null(sealer);
    file = (struct seal_file){.format = SEAL_FORMAT_MANIFEST, .number = table.number};
    ck_assert_int_eq(seal_open(fixture.keyring, file, fixture.envelope, &sealer), STATUS_CORRUPT);
    ck_assert_int_eq(keyring_create_in_memory(other_cluster, plain, &stranger), STATUS_OK);
    ck_assert_int_eq(seal_open(stranger, table, fixture.envelope, &sealer),
                     plain ? STATUS_CORRUPT : STATUS_KEY_WRONG);
    keyring_close(stranger);
    ck_assert_int_eq(keyring_create_in_memory(cluster, !plain, &stranger), STATUS_OK);
    ck_assert_int_eq(seal_open(stranger, table, fixture.envelope, &sealer),
                     STATUS_INVALID_ARGUMENT);
    keyring_close(stranger);

    /* A block of another life of the same file does not open in this one. */
    seal_block(&fixture, 1, bytes_of(NULL, 0), 50);
    life = fixture;
    ck_assert_int_eq(seal_create(life.keyring, table, life.envelope, &life.sealer), STATUS_OK);
    ck_assert_int_eq(open_block(&life, 1, bytes_of(NULL, 0), 50), STATUS_CORRUPT);
    sealer_free(life.sealer);
    fixture_close(&fixture);
}

START_TEST(test_envelope_is_bound)
{
    check_envelope_binding(false);
    check_envelope_binding(true);
}
END_TEST

static void check_envelope_bits(bool plain)
{
    struct fixture fixture;
    struct sealer *sealer = NULL;
    fixture_open(&fixture, plain);
    ck_assert_uint_eq(seal_envelope_data_key(fixture.envelope), plain ? 0 : 1);
    for (size_t bit = 0; bit < seal_envelope_size * 8; bit++) {
        fixture.envelope[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(seal_open(fixture.keyring, table, fixture.envelope, &sealer),
                         STATUS_CORRUPT);
        fixture.envelope[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    fixture_close(&fixture);
}

START_TEST(test_envelope_decay_is_found)
{
    check_envelope_bits(false);
    check_envelope_bits(true);
}
END_TEST

/* Envelopes whose hash is good, so that each field is judged by itself. */
static enum status open_edited(struct fixture *fixture, size_t at, uint8_t value)
{
    uint8_t envelope[seal_envelope_size];
    struct sealer *sealer = NULL;
    memcpy(envelope, fixture->envelope, sizeof envelope);
    envelope[at] = value;
    store_u64(envelope + 88, hash64(bytes_of(envelope, 88)));
    enum status status = seal_open(fixture->keyring, table, envelope, &sealer);
    sealer_free(sealer);
    return status;
}

static void check_edited_envelopes(bool plain)
{
    struct fixture fixture;
    fixture_open(&fixture, plain);
    ck_assert_int_eq(open_edited(&fixture, 0, 'S'), STATUS_OK); /* as it was */
    ck_assert_int_eq(open_edited(&fixture, 0, 'X'), STATUS_CORRUPT);
    ck_assert_int_eq(open_edited(&fixture, 4, 2), STATUS_NEWER_FORMAT);
    ck_assert_int_eq(open_edited(&fixture, 4, 0), STATUS_CORRUPT);
    ck_assert_int_eq(open_edited(&fixture, 6, plain ? 1 : 0), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(open_edited(&fixture, 6, 2), STATUS_CORRUPT);
    ck_assert_int_eq(open_edited(&fixture, 7, 1), STATUS_CORRUPT);
    ck_assert_int_eq(open_edited(&fixture, 8, 9), plain ? STATUS_CORRUPT : STATUS_KEY_MISSING);
    for (size_t at = 12; at < 72; at++) { /* nonce, key, tag; plain envelopes have no nonce */
        uint8_t other = (uint8_t)(fixture.envelope[at] + 1);
        if (!plain || at >= 24)
            ck_assert_int_eq(open_edited(&fixture, at, other), STATUS_CORRUPT);
    }
    ck_assert_int_eq(open_edited(&fixture, 72, (uint8_t)(fixture.envelope[72] + 1)),
                     plain ? STATUS_CORRUPT : STATUS_KEY_WRONG);
    ck_assert_int_eq(open_edited(&fixture, 80, 1), STATUS_CORRUPT);
    fixture_close(&fixture);
}

START_TEST(test_each_field_of_the_envelope)
{
    check_edited_envelopes(false);
    check_edited_envelopes(true);
}
END_TEST

START_TEST(test_clone_opens_what_the_original_sealed)
{
    struct fixture fixture;
    struct sealer *clone = NULL;
    for (int plain = 0; plain < 2; plain++) {
        fixture_open(&fixture, plain == 1);
        seal_block(&fixture, 9, bytes_of("x", 1), 777);
        ck_assert_int_eq(sealer_clone(fixture.sealer, &clone), STATUS_OK);
        sealer_free(fixture.sealer);
        fixture.sealer = clone;
        ck_assert_int_eq(open_block(&fixture, 9, bytes_of("x", 1), 777), STATUS_OK);
        ck_assert_int_eq(memcmp(fixture.opened, fixture.plain, 777), 0);
        fixture_close(&fixture);
    }
}
END_TEST

struct cloning {
    struct sealer *sealer; /* of a table that the main thread reads */
    const uint8_t *sealed;
    const uint8_t *tag;
    unsigned failures;
};

static void *clone_and_open(void *context)
{
    struct cloning *cloning = context;
    uint8_t opened[100];
    for (int i = 0; i < 500; i++) {
        struct sealer *clone = NULL;
        if (sealer_clone(cloning->sealer, &clone) != STATUS_OK ||
            sealer_open(clone, 3, bytes_of("h", 1), bytes_of(cloning->sealed, sizeof opened),
                        cloning->tag, opened) != STATUS_OK)
            cloning->failures++;
        sealer_free(clone);
    }
    return NULL;
}

START_TEST(test_cloned_while_in_use)
{
    struct fixture fixture;
    pthread_t thread;
    for (int plain = 0; plain < 2; plain++) {
        fixture_open(&fixture, plain == 1);
        seal_block(&fixture, 3, bytes_of("h", 1), 100);
        struct cloning cloning = {
            .sealer = fixture.sealer, .sealed = fixture.sealed, .tag = fixture.tag};
        ck_assert_int_eq(pthread_create(&thread, NULL, clone_and_open, &cloning), 0);
        for (int i = 0; i < 500; i++)
            ck_assert_int_eq(open_block(&fixture, 3, bytes_of("h", 1), 100), STATUS_OK);
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ck_assert_uint_eq(cloning.failures, 0);
        fixture_close(&fixture);
    }
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_round_trips);
    tcase_add_test(tests, test_works_in_place);
    tcase_add_test(tests, test_flipped_bits_are_found);
    tcase_add_test(tests, test_misplaced_blocks_are_found);
    tcase_add_test(tests, test_envelope_is_bound);
    tcase_add_test(tests, test_envelope_decay_is_found);
    tcase_add_test(tests, test_each_field_of_the_envelope);
    tcase_add_test(tests, test_clone_opens_what_the_original_sealed);
    tcase_add_test(tests, test_cloned_while_in_use);
}
