/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/digest.h"

#include <stdlib.h>

#include "proto/base/generator.h"
#include "tests/unit/unit.h"

enum { nodes_count = 5, letters_max = 256 };

struct node {
    uint64_t id;
    struct digests *digests;
    uint64_t version;
    uint64_t wrong_from; /* its chain is another one from this version on; 0: never */
    uint64_t odd_version;
    unsigned odd_count;
    unsigned undecided_count;
    uint64_t differs; /* a sum of members' ids */
    bool cut;
};

struct letter {
    uint64_t from;
    uint64_t to;
    uint8_t kind;
    size_t size;
    uint8_t bytes[64];
};

static struct node nodes[nodes_count];
static struct letter letters[letters_max];
static size_t letters_count;
static struct membership membership;

static bool on_send(void *context, uint64_t to, uint8_t kind, enum bus_lane lane,
                    struct bytes message)
{
    const struct node *node = context;
    ck_assert_int_eq(lane, BUS_CONTROL);
    ck_assert_uint_le(message.size, sizeof letters[0].bytes);
    if (node->cut || nodes[to - 1].cut)
        return false;
    ck_assert_uint_lt(letters_count, letters_max);
    struct letter *letter = &letters[letters_count++];
    ck_assert_uint_ge(kind, DIGEST_CHAIN);
    *letter = (struct letter){.from = node->id, .to = to, .kind = kind, .size = message.size};
    memcpy(letter->bytes, message.data, message.size);
    return true;
}

static void on_odd(void *context, uint64_t version)
{
    struct node *node = context;
    node->odd_version = version;
    node->odd_count++;
}

static void on_differs(void *context, uint64_t member, uint64_t version)
{
    struct node *node = context;
    ck_assert_uint_ne(version, 0);
    node->differs += member;
}

static void on_undecided(void *context, uint64_t version)
{
    struct node *node = context;
    ck_assert_uint_ne(version, 0);
    node->undecided_count++;
}

static void set_up(unsigned voters_count, unsigned learners_count)
{
    letters_count = 0;
    membership = (struct membership){.count = voters_count + learners_count};
    for (unsigned i = 0; i < membership.count; i++) {
        nodes[i] = (struct node){.id = i + 1};
        membership.members[i].id = i + 1;
        membership.members[i].kinds = i < voters_count ? MEMBER_VOTER : MEMBER_LEARNER;
        const struct digests_options options = {.series = DIGEST_CHAIN,
                                                .self = i + 1,
                                                .send = on_send,
                                                .odd = on_odd,
                                                .differs = on_differs,
                                                .undecided = on_undecided,
                                                .context = &nodes[i]};
        ck_assert_int_eq(digests_create(&options, &nodes[i].digests), STATUS_OK);
    }
}

static void tear_down(void)
{
    for (unsigned i = 0; i < membership.count; i++)
        digests_free(nodes[i].digests);
}

static struct hash128 chain_of(const struct node *node, uint64_t version)
{
    bool wrong = node->wrong_from != 0 && version >= node->wrong_from;
    return (struct hash128){.low = hash_u64(version) + (wrong ? node->id : 0), .high = version};
}

static void apply_to(struct node *node, uint64_t version)
{
    while (node->version < version) {
        node->version++;
        digests_note(node->digests, node->version, chain_of(node, node->version));
    }
}

static void apply_all(uint64_t version)
{
    for (unsigned i = 0; i < membership.count; i++)
        apply_to(&nodes[i], version);
}

static void deliver(void)
{
    for (size_t i = 0; i < letters_count; i++) {
        struct letter letter = letters[i];
        if (!nodes[letter.to - 1].cut && !nodes[letter.from - 1].cut)
            digests_received(nodes[letter.to - 1].digests, letter.from, letter.kind,
                             bytes_of(letter.bytes, letter.size));
    }
    letters_count = 0;
}

static void lead(unsigned leader)
{
    digests_lead(nodes[leader].digests, &membership);
    deliver();
}

static void expect_all_even(void)
{
    for (unsigned i = 0; i < membership.count; i++) {
        ck_assert_uint_eq(nodes[i].odd_count, 0);
        ck_assert_uint_eq(nodes[i].differs, 0);
        ck_assert_uint_eq(nodes[i].undecided_count, 0);
    }
}

START_TEST(test_agreement)
{
    set_up(3, 1);
    for (uint64_t version = 1; version < 100; version += 7) {
        apply_all(version);
        lead(0);
        ck_assert_uint_eq(digests_agreed_version(nodes[0].digests), version);
    }
    expect_all_even();
    lead(0); /* nothing was applied since: nothing is asked */
    ck_assert_uint_eq(letters_count, 0);
    tear_down();
}
END_TEST

/* One that is behind answers when it comes there; one that is ahead looks it up; one that is past
 * all that it keeps, or was made by a snapshot past it, says that it does not know. */
START_TEST(test_lag)
{
    set_up(3, 1);
    apply_to(&nodes[0], 50);
    apply_to(&nodes[1], 20);
    apply_to(&nodes[2], 60);
    digests_reset(nodes[3].digests, 55, chain_of(&nodes[3], 55));
    nodes[3].version = 55;
    lead(0);
    deliver();
    ck_assert_uint_eq(digests_agreed_version(nodes[0].digests), 50);
    nodes[1].wrong_from = 30;
    apply_to(&nodes[1], 49);
    deliver();
    ck_assert_uint_eq(nodes[0].differs, 0);
    apply_to(&nodes[1], 51);
    deliver();
    deliver();
    ck_assert_uint_eq(nodes[0].differs, 2);
    ck_assert_uint_eq(nodes[1].odd_count, 1);
    ck_assert_uint_eq(nodes[1].odd_version, 50);

    apply_to(&nodes[2], 60 + digests_kept_count * 2);
    apply_to(&nodes[0], 61);
    lead(0);
    deliver();
    ck_assert_uint_eq(digests_agreed_version(nodes[0].digests), 50);
    ck_assert_uint_eq(nodes[2].odd_count, 0);
    ck_assert_uint_eq(nodes[3].odd_count, 0);
    tear_down();
}
END_TEST

START_TEST(test_odd_follower)
{
    set_up(3, 1);
    nodes[2].wrong_from = 10;
    nodes[3].wrong_from = 12; /* a learner, which has no say, is judged too */
    apply_all(9);
    lead(0);
    deliver();
    expect_all_even();
    apply_all(15);
    for (int i = 0; i < 3; i++)
        lead(0);
    ck_assert_uint_eq(nodes[0].differs, 3 + 4);
    ck_assert_uint_eq(nodes[0].odd_count + nodes[1].odd_count, 0);
    ck_assert_uint_eq(nodes[2].odd_count, 1);
    ck_assert_uint_eq(nodes[3].odd_count, 1);
    ck_assert_uint_eq(nodes[2].odd_version, 15);
    ck_assert_uint_eq(digests_agreed_version(nodes[0].digests), 15);
    apply_all(16);
    for (int i = 0; i < 3; i++)
        lead(0);
    ck_assert_uint_eq(nodes[2].odd_count, 1); /* told once */
    tear_down();
}
END_TEST

START_TEST(test_odd_leader)
{
    set_up(3, 0);
    nodes[0].wrong_from = 3;
    apply_all(5);
    for (int i = 0; i < 3; i++)
        lead(0);
    ck_assert_uint_eq(nodes[0].odd_count, 1);
    ck_assert_uint_eq(nodes[0].odd_version, 5);
    ck_assert_uint_eq(nodes[1].odd_count + nodes[2].odd_count, 0);
    ck_assert_uint_eq(nodes[0].differs, 0);
    ck_assert_uint_eq(digests_agreed_version(nodes[0].digests), 0);
    tear_down();
}
END_TEST

/* Two of three voters do not decide while they disagree; all three apart is said. */
START_TEST(test_no_majority)
{
    set_up(3, 0);
    nodes[1].wrong_from = 5;
    nodes[2].wrong_from = 5;
    nodes[2].cut = true;
    apply_all(8);
    lead(0);
    deliver();
    ck_assert_uint_eq(nodes[0].odd_count + nodes[1].odd_count, 0);
    ck_assert_uint_eq(nodes[0].undecided_count, 0);
    nodes[2].cut = false;
    apply_all(9);
    for (unsigned i = 0; i <= digests_round_patience; i++) {
        lead(0);
        deliver();
    }
    ck_assert_uint_eq(nodes[0].undecided_count, 1);
    ck_assert_uint_eq(nodes[0].odd_count + nodes[1].odd_count + nodes[2].odd_count, 0);
    tear_down();
}
END_TEST

/* One that came by a snapshot has no digest of what was before it: that is no disagreement. */
START_TEST(test_who_has_none_says_nothing)
{
    set_up(2, 0);
    nodes[1].cut = true;
    apply_all(5);
    digests_reset(nodes[1].digests, 9, (struct hash128){.low = 1});
    nodes[1].cut = false;
    lead(0);
    deliver();
    ck_assert_uint_eq(nodes[0].undecided_count, 0);
    ck_assert_uint_eq(nodes[0].odd_count + nodes[1].odd_count, 0);
    tear_down();
}
END_TEST

/* Members that have gone back to version 4, and one that has not yet: the same versions are of two
 * histories, and no digests differ. Once it has gone back too, it is compared again. */
START_TEST(test_histories_are_not_compared)
{
    set_up(3, 0);
    apply_all(9);
    for (unsigned i = 0; i < 3; i++) {
        if (i == 2)
            continue;
        digests_reset(nodes[i].digests, 4, chain_of(&nodes[i], 4));
        digests_history(nodes[i].digests, 2);
        nodes[i].version = 4;
        for (uint64_t version = 5; version <= 8; version++)
            digests_note(nodes[i].digests, version, (struct hash128){.low = version});
    }
    lead(0);
    ck_assert_uint_eq(digests_agreed_version(nodes[0].digests), 8);
    ck_assert_int_eq(digests_verdict(nodes[0].digests, 3), DIGEST_UNKNOWN);
    digests_reset(nodes[2].digests, 4, chain_of(&nodes[2], 4));
    digests_history(nodes[2].digests, 2);
    for (uint64_t version = 5; version <= 8; version++)
        digests_note(nodes[2].digests, version, (struct hash128){.low = version});
    for (unsigned i = 0; i < 3; i++)
        digests_note(nodes[i].digests, 9, (struct hash128){.low = i == 2 ? 7 : 9});
    lead(0);
    ck_assert_int_eq(digests_verdict(nodes[0].digests, 3), DIGEST_DIFFERS);
    deliver();
    ck_assert_uint_eq(nodes[2].odd_version, 9);
    ck_assert_uint_eq(nodes[0].odd_count + nodes[1].odd_count, 0);
    ck_assert_uint_eq(nodes[0].undecided_count, 0);
    tear_down();
}
END_TEST

/* A member that does not answer holds a round up for a while, and no longer. */
START_TEST(test_silent_member)
{
    set_up(3, 0);
    nodes[2].cut = true;
    apply_all(5);
    lead(0);
    ck_assert_uint_eq(digests_agreed_version(nodes[0].digests), 5);
    unsigned rounds = 0;
    for (uint64_t version = 6; version < 30; version++) {
        apply_all(version);
        lead(0);
        rounds += digests_agreed_version(nodes[0].digests) == version;
    }
    ck_assert_uint_ge(rounds, 3);
    expect_all_even();
    tear_down();
}
END_TEST

/* Versions may have gaps, as scrubs have; one that was not scrubbed here is not known. */
START_TEST(test_gaps)
{
    set_up(3, 0);
    for (unsigned i = 0; i < 3; i++)
        for (uint64_t version = 1000; version <= 20000000; version += 1000)
            if (i != 2 || version != 20000000)
                digests_note(nodes[i].digests, version, chain_of(&nodes[i], version));
    lead(0);
    deliver();
    ck_assert_uint_eq(digests_agreed_version(nodes[0].digests), 20000000);
    digests_note(nodes[2].digests, 20000001, (struct hash128){0}); /* past it, without it */
    deliver();
    expect_all_even();
    nodes[1].wrong_from = 1;
    for (unsigned i = 0; i < 3; i++)
        digests_note(nodes[i].digests, 30000000, chain_of(&nodes[i == 1 ? 1 : 0], 30000000));
    for (unsigned i = 0; i <= digests_round_patience; i++) {
        lead(0);
        deliver();
    }
    ck_assert_uint_eq(nodes[0].differs, 2);
    ck_assert_uint_eq(nodes[1].odd_version, 30000000);
    tear_down();
}
END_TEST

static void expect_verdicts(enum digest_verdict one, enum digest_verdict two)
{
    ck_assert_int_eq(digests_verdict(nodes[0].digests, 1), DIGEST_AGREES);
    ck_assert_int_eq(digests_verdict(nodes[0].digests, 2), one);
    ck_assert_int_eq(digests_verdict(nodes[0].digests, 3), two);
}

/* What comes seldom is asked for again, until it is there or will never be. */
START_TEST(test_asked_again)
{
    set_up(3, 0);
    ck_assert_uint_eq(digests_asked_version(nodes[0].digests), 0);
    ck_assert_int_eq(digests_verdict(nodes[0].digests, 1), DIGEST_SILENT);
    apply_to(&nodes[0], 9);
    apply_to(&nodes[1], 9);
    nodes[1].cut = true;
    for (unsigned i = 0; i < 3 * digests_round_patience; i++)
        lead(0);
    ck_assert_uint_eq(digests_asked_version(nodes[0].digests), 9);
    nodes[1].cut = false;
    for (unsigned i = 0; i < 2 * digests_round_patience; i++)
        lead(0);
    expect_verdicts(DIGEST_AGREES, DIGEST_SILENT);
    digests_pass(nodes[2].digests, 8);
    deliver();
    expect_verdicts(DIGEST_AGREES, DIGEST_SILENT);
    digests_pass(nodes[2].digests, 9); /* it waits for nothing else now */
    deliver();
    expect_verdicts(DIGEST_AGREES, DIGEST_UNKNOWN);
    expect_all_even();
    tear_down();
}
END_TEST

/* One that differed, and was given the others' state, can differ again. */
START_TEST(test_reset_after_odd)
{
    set_up(3, 0);
    apply_all(5);
    nodes[2].wrong_from = 6;
    for (unsigned i = 0; i < 2; i++) {
        apply_all(6 + i * 10);
        lead(0);
        lead(0);
        ck_assert_uint_eq(nodes[2].odd_count, i + 1);
        expect_verdicts(DIGEST_AGREES, DIGEST_DIFFERS);
        nodes[2].wrong_from = 8 + i * 10;
        nodes[2].version = 7 + i * 10;
        digests_reset(nodes[2].digests, nodes[2].version, chain_of(&nodes[2], nodes[2].version));
        apply_to(&nodes[0], 7 + i * 10);
        apply_to(&nodes[1], 7 + i * 10);
        lead(0);
        lead(0);
        expect_verdicts(DIGEST_AGREES, DIGEST_AGREES);
    }
    ck_assert_uint_eq(nodes[2].odd_count, 2);
    tear_down();
}
END_TEST

START_TEST(test_garbage)
{
    struct generator generator;
    uint8_t bytes[64];
    generator_init(&generator, 3);
    set_up(3, 0);
    apply_all(50);
    lead(0);
    for (unsigned i = 0; i < 20000; i++) {
        size_t size = generator_below(&generator, sizeof bytes);
        generator_fill(&generator, bytes, size);
        uint8_t kind = (uint8_t)generator_between(&generator, DIGEST_CHAIN - 1, DIGEST_CHAIN + 7);
        letters_count = 0;
        digests_received(nodes[0].digests, 1 + generator_below(&generator, 3), kind,
                         bytes_of(bytes, size));
    }
    letters_count = 0;
    apply_all(51);
    for (int i = 0; i < 2; i++)
        lead(0);
    expect_all_even();
    ck_assert_uint_eq(digests_agreed_version(nodes[0].digests), 51);
    tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_agreement);
    tcase_add_test(tests, test_lag);
    tcase_add_test(tests, test_odd_follower);
    tcase_add_test(tests, test_odd_leader);
    tcase_add_test(tests, test_no_majority);
    tcase_add_test(tests, test_who_has_none_says_nothing);
    tcase_add_test(tests, test_histories_are_not_compared);
    tcase_add_test(tests, test_silent_member);
    tcase_add_test(tests, test_gaps);
    tcase_add_test(tests, test_asked_again);
    tcase_add_test(tests, test_reset_after_odd);
    tcase_add_test(tests, test_garbage);
}
