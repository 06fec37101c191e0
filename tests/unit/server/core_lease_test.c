/* SPDX-License-Identifier: Apache-2.0 */
/* A primary, its standby and a witness: what is answered with a lease, and without. */
#include <stdio.h>
#include <string.h>

#include "proto/message.h"
#include "replication/region/lease.h"
#include "tests/unit/server/pair_fixture.h"

enum { lease_ms = 6000, delay_ms = 1 };

#define NS_PER_MS 1000000ULL

static const char *const witnesses[] = {"w:7400"};

/* The link of one region to a witness that is a voter and nothing else; one question at a time. */
struct witness_link {
    struct link link; /* first */
    unsigned from;
    bool is_wanted;
    bool is_cut;
    bool connected;
    bool asked;
    bool is_lost; /* its answer */
    void *request;
    uint64_t timeout_ns;
    Strait__WitnessLeaseReply reply;
    struct link_user user;
    struct io_timer timer;
};

static struct witness_link links[pair_count];
static struct lease_voter voter;
static bool answers_lost; /* all that the witness says */

static struct io *io_of(const struct witness_link *link)
{
    return pair_fixture(link->from)->io;
}

static struct witness_link *link_of(struct link *link)
{
    return (struct witness_link *)(void *)link;
}

static void look_again(struct witness_link *link, uint64_t in_ns)
{
    io_timer_start(io_of(link), &link->timer, io_boot_ns(io_of(link)) + in_ns);
}

static void on_attach(struct link *base, const struct link_user *user)
{
    struct witness_link *link = link_of(base);
    link->user = user == NULL ? (struct link_user){0} : *user;
    if (user == NULL)
        io_timer_stop(io_of(link), &link->timer);
}

static void on_endpoints(struct link *base, const char *const *wanted, size_t count)
{
    struct witness_link *link = link_of(base);
    if (count != 0)
        ck_assert_str_eq(wanted[0], witnesses[0]);
    link->is_wanted = count != 0;
    look_again(link, delay_ms * NS_PER_MS);
}

static enum status on_send(struct link *base, enum frame_type type, const ProtobufCMessage *message,
                           uint32_t timeout_ms, void *request)
{
    struct witness_link *link = link_of(base);
    const Strait__WitnessLease *asked = (const Strait__WitnessLease *)(const void *)message;
    struct lease_ask ask = {
        .region = asked->region_id,
        .epoch = {.number = asked->epoch_number, .region = asked->epoch_region},
        .candidate = asked->candidate,
        .lease_ns = asked->lease_ms * NS_PER_MS,
    };
    struct lease_kept kept;
    struct epoch to;
    struct error error;

    for (size_t i = 0; i < asked->n_regions; i++)
        ask.list.regions[ask.list.count++] = asked->regions[i];
    ask.list.version = asked->list_version;
    ask.list.term = asked->list_term;
    ask.list.serial = asked->list_serial;
    struct core_options *options = &pair_fixture(link->from)->options;
    ask.proven = asked->promotion.len != 0 &&
                 options->promotion_verify(options->context, bytes_of_field(asked->promotion), &to,
                                           &error) == STATUS_OK &&
                 epoch_equal(to, ask.epoch);
    ck_assert_int_eq(type, FRAME_WITNESS_LEASE);
    ck_assert(link->connected && !link->asked && lease_ask_is_valid(&ask));
    ck_assert_uint_gt(timeout_ms, 0);
    link->asked = true;
    link->request = request;
    link->is_lost = link->is_cut || answers_lost;
    strait__witness_lease_reply__init(&link->reply);
    look_again(link, (link->is_lost ? timeout_ms : delay_ms) * NS_PER_MS);
    if (link->is_cut)
        return STATUS_OK;
    uint64_t now = io_boot_ns(io_of(link));
    enum lease_answer answer = lease_voter_ask(&voter, &ask, now);
    if (answer == LEASE_UNRECORDED) {
        lease_voter_next(&voter, &ask, now, &kept);
        lease_voter_record(&voter, &kept);
        answer = lease_voter_ask(&voter, &ask, now);
    }
    link->reply.answer = (Strait__WitnessLeaseReply__Answer)answer;
    link->reply.epoch_number = voter.kept.epoch.number;
    link->reply.epoch_region = voter.kept.epoch.region;
    link->reply.asked_max_ms = (uint32_t)(voter.kept.asked_max_ns / NS_PER_MS);
    link->reply.list_version = voter.kept.list.version;
    link->reply.list_term = voter.kept.list.term;
    link->reply.list_serial = voter.kept.list.serial;
    link->reply.region_id = voter.region;
    link->reply.wait_ms = lease_voter_wait_ns(&voter, ask.region, now) / NS_PER_MS + 1;
    link->reply.lease_ms = lease_ms;
    return STATUS_OK;
}

static void on_leave(struct link *link, const char *reason)
{
    (void)link;
    ck_abort_msg("%s", reason);
}

static const char *on_trouble(const struct link *link)
{
    (void)link;
    return "";
}

static const struct link_operations operations = {on_attach, on_endpoints, on_send, on_leave,
                                                  on_trouble};

static void on_timer(struct io_timer *timer)
{
    struct witness_link *link = timer->context;
    if (link->asked) {
        link->asked = false;
        link->user.replied(link->user.context, link->request,
                           link->is_lost ? STATUS_DEADLINE_EXCEEDED : STATUS_OK,
                           link->is_lost ? NULL : &link->reply.base);
    }
    if (link->connected == link->is_wanted)
        return;
    link->connected = link->is_wanted;
    if (link->connected)
        link->user.connected(link->user.context, witnesses[0]);
    else
        link->user.disconnected(link->user.context, "nobody is wanted");
}

/* ---- Both regions with it ---- */

static void reopen(unsigned number, bool automatic)
{
    struct core_options *options = &pair_fixture(number)->options;
    pair_close(number);
    links[number] = (struct witness_link){.link.operations = &operations, .from = number};
    links[number].timer = (struct io_timer){.fired = on_timer, .context = &links[number]};
    options->witness_link = &links[number].link;
    options->witnesses = witnesses;
    options->witnesses_count = 1;
    options->lease_ms = lease_ms;
    options->promote_automatic = automatic;
    options->promote_lag_max_ms = 10000;
    pair_open(number);
}

static void begin(bool automatic)
{
    pair_set_up();
    lease_voter_init(&voter, lease_ms * NS_PER_MS, &(struct lease_kept){0},
                     io_boot_ns(pair_fixture(0)->io));
    for (unsigned i = 0; i < pair_count; i++)
        reopen(i, automatic);
    pair_run_ms(lease_ms + 3000);
}

static void cut(bool between, bool of_one, bool of_two)
{
    pair_is_cut = between;
    links[0].is_cut = of_one;
    links[1].is_cut = of_two;
}

static enum status get(unsigned number)
{
    char value[64];
    return core_fixture_get(pair_fixture(number), "t", "k", value);
}

static bool is_primary(unsigned number)
{
    return core_region_facts(pair_fixture(number)->core).is_primary;
}

static Strait__RegionLease lease_of(unsigned number, char text[240])
{
    struct core_ask ask;
    const Strait__RegionListReply *list = pair_list(number, &ask);
    ck_assert_ptr_nonnull(list->lease);
    Strait__RegionLease lease = *list->lease;
    snprintf(text, 240, "%s", list->lease->text);
    core_ask_free(&ask);
    return lease;
}

/* ---- What is answered ---- */

START_TEST(test_either_grant_is_enough)
{
    char text[240];

    begin(true);
    Strait__RegionLease lease = lease_of(0, text);
    ck_assert(lease.held && lease.connected && !lease.waived);
    ck_assert_uint_gt(lease.witness_ms, 0);
    ck_assert_uint_gt(lease.standby_ms, 0);
    lease = lease_of(1, text);
    ck_assert(!lease.held && lease.automatic);
    ck_assert_uint_gt(lease.promised_ms, 0);

    cut(false, true, true);
    for (int i = 0; i < 20; i++) {
        pair_run_ms(1000);
        ck_assert_int_eq(pair_put(0, "k", "without a witness"), STATUS_OK);
        ck_assert_int_eq(get(0), STATUS_OK);
    }
    ck_assert_uint_eq(lease_of(0, text).witness_ms, 0);
    cut(false, false, false);
    pair_run_ms(3000);
    ck_assert_uint_gt(lease_of(0, text).witness_ms, 0);

    cut(true, false, false);
    for (int i = 0; i < 20; i++) {
        pair_run_ms(1000);
        ck_assert_int_eq(pair_put(0, "k", "without a standby"), STATUS_OK);
        ck_assert_int_eq(get(0), STATUS_OK);
    }
    ck_assert_uint_eq(lease_of(0, text).standby_ms, 0);
    ck_assert(is_primary(0) && !is_primary(1));
    pair_tear_down();
}
END_TEST

START_TEST(test_without_either_nothing_is_answered)
{
    char text[240];

    begin(false);
    ck_assert_int_eq(pair_put(0, "k", "v"), STATUS_OK);
    cut(true, true, false);
    pair_run_ms(lease_ms - 2000);
    ck_assert_int_eq(pair_put(0, "k", "within the lease"), STATUS_OK);
    ck_assert_int_eq(get(0), STATUS_OK);
    pair_run_ms(2000);
    ck_assert_int_eq(pair_put(0, "k", "past it"), STATUS_NOT_LEADER);
    ck_assert_int_eq(get(0), STATUS_NOT_LEADER);
    ck_assert(!lease_of(0, text).held);
    ck_assert_msg(strstr(text, "did not answer") != NULL, "%s", text);
    /* Nobody was promoted: it goes on. */
    cut(false, false, false);
    pair_run_ms(5000);
    ck_assert(lease_of(0, text).held);
    ck_assert_int_eq(pair_put(0, "k", "again"), STATUS_OK);
    ck_assert_int_eq(get(0), STATUS_OK);
    pair_wait_level();
    pair_tear_down();
}
END_TEST

/* The same transaction each time. */
static void commit_begin(struct core_ask *ask, uint64_t issued_ns)
{
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    Strait__Put put = STRAIT__PUT__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;
    Strait__Operation *list[] = {&operation};
    uint8_t bytes[16] = {9};

    put.table = (char *)(uintptr_t) "t";
    put.key = field_of_bytes(bytes_of("k", 1));
    put.value = field_of_bytes(bytes_of("v", 1));
    operation.kind_case = STRAIT__OPERATION__KIND_PUT;
    operation.put = &put;
    commit.issued_ns = issued_ns;
    commit.txn_id = field_of_bytes(bytes_of(bytes, sizeof bytes));
    commit.operations = list;
    commit.n_operations = 1;
    core_fixture_ask(pair_fixture(0), ask, FRAME_COMMIT, &commit.base);
}

/* It was proposed with a lease, and is applied without: its answer waits. */
START_TEST(test_an_answer_waits_for_a_lease)
{
    struct core_ask ask;

    begin(false);
    cut(true, true, false);
    pair_commit_begin(0, 1, "k", &ask);
    sim_disk_clock_advance(pair_fixture(0)->disk, (lease_ms + 500) * NS_PER_MS);
    pair_run_ms(500);
    ck_assert(!ask.answered);
    cut(false, false, false);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_OK);
    core_ask_free(&ask);

    pair_run_ms(3000);
    cut(true, true, false);
    uint64_t issued_ns = io_wall_ns(pair_fixture(0)->io);
    commit_begin(&ask, issued_ns);
    sim_disk_clock_advance(pair_fixture(0)->disk, (lease_ms + 500) * NS_PER_MS);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_OUTCOME_UNKNOWN);
    core_ask_free(&ask);
    /* Nobody was promoted: what became of it can be told again. */
    cut(false, false, false);
    pair_run_ms(3000);
    commit_begin(&ask, issued_ns);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_OK);
    ck_assert(((const Strait__CommitReply *)(const void *)ask.message)->repeated_reply);
    core_ask_free(&ask);
    pair_tear_down();
}
END_TEST

/* ---- Promotions ---- */

START_TEST(test_a_standby_that_lost_its_primary_promotes_itself)
{
    begin(true);
    ck_assert_int_eq(pair_put(0, "k", "old"), STATUS_OK);
    pair_wait_level();
    cut(true, true, false);
    for (int i = 0; i < 300 && !is_primary(1); i++) {
        pair_run_ms(100);
        /* Never both: by then the old one answers nothing. */
        if (is_primary(1))
            ck_assert_int_eq(get(0), STATUS_NOT_LEADER);
    }
    ck_assert(is_primary(1));
    pair_run_ms(1000);
    ck_assert_int_eq(pair_put(1, "k", "new"), STATUS_OK);
    ck_assert_int_eq(pair_put(0, "k", "late"), STATUS_NOT_LEADER);
    ck_assert_uint_eq(voter.kept.epoch.region, 2);
    /* The old one is told, and follows. */
    cut(false, false, false);
    pair_run_ms(10000);
    ck_assert(!is_primary(0));
    ck_assert_int_eq(pair_put(1, "k", "newer"), STATUS_OK);
    pair_wait_level();
    pair_tear_down();
}
END_TEST

/* The primary went on by the witness's grant alone, for longer than what may be given up. */
START_TEST(test_a_standby_that_has_not_heard_for_long_does_not)
{
    begin(true);
    cut(true, false, false);
    for (int i = 0; i < 20; i++) {
        pair_run_ms(1000);
        ck_assert_int_eq(pair_put(0, "k", "not shipped"), STATUS_OK);
    }
    cut(true, true, false);
    pair_run_ms(4 * lease_ms);
    ck_assert(!is_primary(1));
    ck_assert_int_eq(pair_put(0, "k", "late"), STATUS_NOT_LEADER);
    /* It is there again, and nothing was given up. */
    cut(false, false, false);
    pair_run_ms(5000);
    ck_assert_int_eq(pair_put(0, "k", "again"), STATUS_OK);
    pair_wait_level();
    pair_tear_down();
}
END_TEST

START_TEST(test_an_operators_promotion_needs_the_witness)
{
    char text[240];
    struct core_ask ask;

    begin(false);
    cut(true, false, false);
    pair_run_ms(15000);
    /* The primary renews at the witness. */
    ck_assert_int_eq(pair_promote(1, false, &ask), STATUS_CONDITION_FAILED);
    ck_assert_msg(strstr(ask.refusal->text, "region 1's") != NULL, "%s", ask.refusal->text);
    core_ask_free(&ask);
    ck_assert(is_primary(0) && !is_primary(1));
    ck_assert_int_eq(pair_put(0, "k", "v"), STATUS_OK);

    /* It does not any more. */
    cut(true, true, false);
    pair_run_ms(lease_ms + 1000);
    ck_assert_int_eq(pair_promote(1, false, &ask), STATUS_OK);
    core_ask_free(&ask);
    pair_run_ms(1000);
    ck_assert_int_eq(pair_put(1, "k", "w"), STATUS_OK);
    ck_assert(lease_of(1, text).held && !lease_of(1, text).waived);
    ck_assert_int_eq(pair_put(0, "k", "late"), STATUS_NOT_LEADER);
    cut(false, false, false);
    pair_tear_down();
}
END_TEST

/* An operator was too early: what this region knows of its age is not gone by that. */
START_TEST(test_a_refused_promotion_does_not_end_the_automatic_one)
{
    struct core_ask ask;

    begin(true);
    ck_assert_int_eq(pair_put(0, "k", "old"), STATUS_OK);
    pair_wait_level();
    cut(true, true, true);
    pair_run_ms(10500);
    ck_assert_int_eq(pair_promote(1, false, &ask), STATUS_CONDITION_FAILED);
    core_ask_free(&ask);
    ck_assert(!is_primary(1));
    links[1].is_cut = false;
    for (int i = 0; i < 20 && !is_primary(1); i++)
        pair_run_ms(100);
    ck_assert(is_primary(1));
    pair_run_ms(1000);
    ck_assert_int_eq(pair_put(1, "k", "new"), STATUS_OK);
    cut(false, false, false);
    pair_tear_down();
}
END_TEST

/* ---- Regions that are taken out ---- */

static enum status remove_two(bool force, char text[512])
{
    Strait__RegionChange change = STRAIT__REGION_CHANGE__INIT;
    Strait__Region region = STRAIT__REGION__INIT;
    struct core_ask ask;

    region.name = (char *)(uintptr_t) "two";
    change.action = STRAIT__REGION_CHANGE__ACTION__REMOVE;
    change.region = &region;
    change.force = force;
    enum status status = pair_ask(0, &ask, FRAME_REGION_CHANGE, &change.base);
    snprintf(text, 512, "%s", status == STATUS_OK ? "" : ask.refusal->text);
    core_ask_free(&ask);
    return status;
}

START_TEST(test_a_standby_that_was_taken_out_is_not_promoted)
{
    char text[512];
    struct core_ask ask;

    begin(true);
    ck_assert_int_eq(pair_put(0, "k", "old"), STATUS_OK);
    pair_wait_level();
    cut(true, false, false);
    ck_assert_int_eq(remove_two(false, text), STATUS_OK);
    ck_assert_uint_eq(voter.kept.list.count, 1);
    /* The witness cannot be reached from there any more: it goes on alone. */
    cut(true, true, false);
    for (int i = 0; i < 30; i++) {
        pair_run_ms(1000);
        ck_assert_int_eq(pair_put(0, "k", "alone"), STATUS_OK);
        ck_assert_int_eq(get(0), STATUS_OK);
        ck_assert(!is_primary(1));
    }
    ck_assert_int_eq(pair_promote(1, false, &ask), STATUS_CONDITION_FAILED);
    ck_assert_msg(strstr(ask.refusal->text, "taken it out") != NULL, "%s", ask.refusal->text);
    core_ask_free(&ask);

    /* It is added again, and takes over where it may. */
    cut(true, false, false);
    pair_run_ms(3000);
    ck_assert_int_eq(pair_change(0, STRAIT__REGION_CHANGE__ACTION__ADD, 2, "two", "two:7411"),
                     STATUS_OK);
    pair_run_ms(3000);
    ck_assert_uint_eq(voter.kept.list.count, 2);
    cut(true, true, false);
    pair_run_ms(lease_ms + 11000);
    ck_assert_int_eq(pair_promote(1, false, &ask), STATUS_OK);
    core_ask_free(&ask);
    ck_assert_int_eq(pair_put(0, "k", "late"), STATUS_NOT_LEADER);
    cut(false, false, false);
    pair_tear_down();
}
END_TEST

START_TEST(test_none_is_taken_out_that_may_be_promoted)
{
    char text[512];
    struct core_ask ask;

    begin(false);
    ck_assert_int_eq(pair_put(0, "k", "old"), STATUS_OK);
    pair_wait_level();
    /* The witness cannot be told, with a lease or without. */
    cut(true, true, false);
    ck_assert_int_eq(remove_two(false, text), STATUS_CONDITION_FAILED);
    ck_assert_msg(strstr(text, "--force") != NULL, "%s", text);
    pair_run_ms(lease_ms);
    ck_assert_int_eq(remove_two(false, text), STATUS_CONDITION_FAILED);
    ck_assert_int_eq(pair_put(0, "k", "past it"), STATUS_NOT_LEADER);
    ck_assert_uint_eq(voter.kept.list.count, 2);
    ck_assert_int_eq(pair_change(0, STRAIT__REGION_CHANGE__ACTION__ADD, 3, "three", "three:7411"),
                     STATUS_NOT_LEADER);

    /* It is being promoted: that is not over when the witness can be told. */
    pair_run_ms(6000);
    ck_assert_int_eq(pair_promote(1, false, &ask), STATUS_OK);
    core_ask_free(&ask);
    links[0].is_cut = false;
    ck_assert_int_ne(remove_two(false, text), STATUS_OK);
    pair_run_ms(2000);
    ck_assert(is_primary(1));
    ck_assert_int_eq(pair_put(0, "k", "late"), STATUS_NOT_LEADER);
    cut(false, false, false);
    pair_run_ms(5000);
    ck_assert(is_primary(1) && !is_primary(0));
    pair_wait_level();
    pair_tear_down();
}
END_TEST

START_TEST(test_one_that_was_not_taken_out_after_all_may_be_promoted)
{
    char text[512];

    begin(true);
    /* The witness hears of it, and its answer is lost. */
    cut(true, false, true);
    pair_run_ms(1000);
    answers_lost = true;
    ck_assert_int_eq(remove_two(false, text), STATUS_CONDITION_FAILED);
    answers_lost = false;
    pair_run_ms(1000);
    ck_assert_uint_eq(voter.kept.list.count, 2);
    pair_tear_down();
}
END_TEST

START_TEST(test_force_takes_out_whatever_the_witness_knows)
{
    char text[512];

    begin(false);
    cut(true, true, false);
    pair_run_ms(lease_ms);
    ck_assert_int_eq(pair_put(0, "k", "past it"), STATUS_NOT_LEADER);
    ck_assert_int_eq(remove_two(true, text), STATUS_OK);
    ck_assert_int_eq(pair_put(0, "k", "alone"), STATUS_OK);
    /* It is told as soon as it can be. */
    links[0].is_cut = false;
    pair_run_ms(3000);
    ck_assert_uint_eq(voter.kept.list.count, 1);
    cut(false, false, false);
    pair_tear_down();
}
END_TEST

/* With nobody left, force goes on without a lease, until there is one. */
START_TEST(test_force_waives_the_lease)
{
    char text[240];
    struct core_ask ask;

    begin(false);
    cut(true, true, true);
    pair_run_ms(1000);
    ck_assert_int_eq(pair_promote(1, true, &ask), STATUS_OK);
    core_ask_free(&ask);
    ck_assert(is_primary(1));
    ck_assert_int_eq(pair_put(1, "k", "forced"), STATUS_OK);
    ck_assert(lease_of(1, text).waived);
    pair_run_ms(2 * lease_ms);
    ck_assert_int_eq(pair_put(1, "k", "forced yet"), STATUS_OK);
    links[1].is_cut = false;
    pair_run_ms(2 * lease_ms);
    ck_assert(lease_of(1, text).held && !lease_of(1, text).waived);
    ck_assert_int_eq(pair_put(1, "k", "leased"), STATUS_OK);
    cut(false, false, false);
    pair_tear_down();
}
END_TEST

START_TEST(test_a_switchover_takes_the_lease_along)
{
    struct core_ask ask;
    char text[240];

    begin(true);
    pair_switchover_begin(0, "two", 0, &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_OK);
    core_ask_free(&ask);
    pair_run_ms(1000); /* far less than a lease */
    ck_assert_int_eq(pair_put(1, "k", "v"), STATUS_OK);
    pair_wait_level();
    pair_run_ms(2 * lease_ms);
    ck_assert(is_primary(1) && !is_primary(0));
    /* The epoch began without a record: the new primary has signed one. */
    ck_assert_uint_eq(voter.kept.epoch.region, 2);
    ck_assert_uint_gt(lease_of(1, text).witness_ms, 0);
    pair_tear_down();
}
END_TEST

/* They are configured apart: the standby grants nothing, and says so. */
START_TEST(test_a_standby_with_shorter_leases_says_so)
{
    char text[240];

    begin(false);
    pair_fixture(1)->options.lease_ms = lease_ms / 2;
    pair_close(1);
    links[1] = (struct witness_link){.link.operations = &operations, .from = 1};
    links[1].timer = (struct io_timer){.fired = on_timer, .context = &links[1]};
    pair_open(1);
    pair_run_ms(lease_ms + 3000);
    (void)lease_of(1, text);
    ck_assert_msg(strstr(text, "longer leases") != NULL, "%s", text);
    ck_assert_uint_eq(lease_of(0, text).standby_ms, 0);
    ck_assert(lease_of(0, text).held);
    pair_tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_either_grant_is_enough);
    tcase_add_test(tests, test_without_either_nothing_is_answered);
    tcase_add_test(tests, test_an_answer_waits_for_a_lease);
    tcase_add_test(tests, test_a_standby_that_lost_its_primary_promotes_itself);
    tcase_add_test(tests, test_a_standby_that_has_not_heard_for_long_does_not);
    tcase_add_test(tests, test_an_operators_promotion_needs_the_witness);
    tcase_add_test(tests, test_a_refused_promotion_does_not_end_the_automatic_one);
    tcase_add_test(tests, test_a_standby_that_was_taken_out_is_not_promoted);
    tcase_add_test(tests, test_none_is_taken_out_that_may_be_promoted);
    tcase_add_test(tests, test_one_that_was_not_taken_out_after_all_may_be_promoted);
    tcase_add_test(tests, test_force_takes_out_whatever_the_witness_knows);
    tcase_add_test(tests, test_force_waives_the_lease);
    tcase_add_test(tests, test_a_switchover_takes_the_lease_along);
    tcase_add_test(tests, test_a_standby_with_shorter_leases_says_so);
}
