/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot from one store to another: both ends, over a wire that loses, and disks that fail. */
#include "replication/snapshot_receiver.h"
#include "replication/snapshot_sender.h"

#include "proto/base/generator.h"
#include "proto/limits.h"
#include "replication/snapshot_message.h"
#include "tests/unit/storage_lsm/transfer_unit.h"

enum { wire_max = 64, leader_id = 11, member_id = 22, term_now = 5 };

struct letter {
    uint64_t to;
    uint8_t kind;
    uint8_t *bytes; /* malloc */
    size_t size;
};

static struct sim_disk *disks[2]; /* the leader's, the member's */
static struct keyring *keyrings[2];
static struct fixture stores[2];
static struct snapshot_sender *sender;
static struct snapshot_receiver *receiver;

static struct letter wire[wire_max];
static size_t wire_count;
static bool wire_cut;
static unsigned lose_of_100;
static unsigned corrupt_of_100;
static struct generator draws;
static uint64_t piece_letters_count;
static uint64_t offers_count;
static size_t pieces_in_wire_most;

static bool ended;
static enum status ended_status;
static unsigned staged_count;
static unsigned installed_count;
static bool have_it; /* the member's state is at the mark */
static bool install_fails;
static unsigned failed_count;

/* ---- The wire ---- */

static bool send_letter(uint64_t to, uint8_t kind, struct bytes message)
{
    size_t pieces = 0;
    if (wire_cut || wire_count == wire_max)
        return false;
    struct letter *letter = &wire[wire_count++];
    *letter = (struct letter){.to = to, .kind = kind, .size = message.size};
    letter->bytes = malloc(message.size);
    memcpy(letter->bytes, message.data, message.size);
    piece_letters_count += kind == SNAPSHOT_PIECE;
    offers_count += kind == SNAPSHOT_OFFER;
    ck_assert_uint_le(message.size, limit_peer_message_size);
    for (size_t i = 0; i < wire_count; i++)
        pieces += wire[i].kind == SNAPSHOT_PIECE;
    if (pieces > pieces_in_wire_most)
        pieces_in_wire_most = pieces;
    return true;
}

static bool on_send(void *context, uint64_t to, uint8_t kind, enum bus_lane lane,
                    struct bytes message)
{
    (void)context;
    ck_assert(lane == BUS_BULK || message.size <= limit_peer_frame_size);
    return send_letter(to, kind, message);
}

static void deliver(void)
{
    struct letter letters[wire_max];
    size_t count = wire_count;
    memcpy(letters, wire, sizeof letters);
    wire_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct letter *letter = &letters[i];
        bool lost = wire_cut || generator_below(&draws, 100) < lose_of_100;
        if (letter->kind == SNAPSHOT_PIECE && generator_below(&draws, 100) < corrupt_of_100)
            letter->bytes[snapshot_piece_head_size +
                          generator_below(&draws, letter->size - snapshot_piece_head_size)] ^= 4;
        if (!lost && letter->to == member_id && receiver != NULL)
            snapshot_receiver_received(receiver, leader_id, letter->kind,
                                       bytes_of(letter->bytes, letter->size));
        if (!lost && letter->to == leader_id)
            snapshot_sender_received(sender, member_id, letter->kind,
                                     bytes_of(letter->bytes, letter->size));
        free(letter->bytes);
    }
}

/* ---- The owners ---- */

static void on_ended(void *context, uint64_t member, const struct lsm_mark *mark,
                     enum status status)
{
    (void)context;
    ck_assert_uint_eq(member, member_id);
    ck_assert(status != STATUS_OK || mark->index != 0);
    ck_assert(!ended);
    ended = true;
    ended_status = status;
}

static void on_work(void *context)
{
    (void)context;
}

static enum snapshot_verdict on_judge(void *context, uint64_t from, uint64_t term,
                                      const struct lsm_mark *mark)
{
    (void)context;
    ck_assert_uint_ne(mark->index, 0);
    if (from != leader_id || term != term_now)
        return SNAPSHOT_IGNORE;
    return have_it ? SNAPSHOT_KNOWN : SNAPSHOT_ACCEPT;
}

static void on_installed(void *context, enum status status, const struct lsm_mark *mark)
{
    (void)context;
    ck_assert(status != STATUS_OK || mark->index == stores[0].mark.index);
    installed_count++;
    have_it = status == STATUS_OK;
    snapshot_receiver_installed(receiver, status);
}

static void on_staged(void *context, const char *directory, const struct lsm_mark *mark)
{
    (void)context;
    ck_assert_str_eq(directory, "staging");
    ck_assert_uint_eq(mark->index, stores[0].mark.index);
    staged_count++;
    if (install_fails)
        sim_disk_remove(disks[1], "staging/manifest.a");
    if (install_fails)
        sim_disk_remove(disks[1], "staging/manifest.b");
    lsm_install(stores[1].lsm, directory, on_installed, NULL);
}

static void on_failed(void *context, enum status status, const char *text)
{
    (void)context;
    ck_assert_int_eq(status, STATUS_IO_ERROR);
    ck_assert_uint_ne(strlen(text), 0);
    failed_count++;
}

static void open_receiver(void)
{
    const struct snapshot_receiver_options options = {
        .io = stores[1].io,
        .keyring = keyrings[1],
        .lsm = stores[1].lsm,
        .directory = "staging",
        .trees = fixture_trees,
        .trees_count = 2,
        .record_size = 16 * 1024,
        .send = on_send,
        .judge = on_judge,
        .staged = on_staged,
        .work = on_work,
        .failed = on_failed,
    };
    ck_assert_int_eq(snapshot_receiver_open(&options, &receiver), STATUS_OK);
}

static void set_up(unsigned count, uint64_t rate_max)
{
    static const uint8_t cluster[seal_id_size] = {3};
    generator_init(&draws, 77);
    wire_count = 0;
    wire_cut = ended = have_it = install_fails = false;
    lose_of_100 = corrupt_of_100 = staged_count = installed_count = failed_count = 0;
    piece_letters_count = offers_count = pieces_in_wire_most = 0;
    for (unsigned i = 0; i < 2; i++) {
        disks[i] = sim_disk_create(i + 1);
        ck_assert_int_eq(keyring_create_in_memory(cluster, false, &keyrings[i]), STATUS_OK);
        struct io *io = sim_disk_io(disks[i]);
        ck_assert_int_eq(io_make_directory_wait(io, "lsm"), STATUS_OK);
        ck_assert_int_eq(io_flush_directory_wait(io, "."), STATUS_OK);
        fixture_init(&stores[i], io, keyrings[i], "lsm");
        ck_assert_int_eq(fixture_open(&stores[i]), STATUS_OK);
    }
    transfer_fill(&stores[0], count, 0);
    transfer_fill(&stores[1], 100, 9);
    lsm_seal(stores[1].lsm);
    ck_assert_int_eq(fixture_run_jobs(&stores[1]), STATUS_OK);
    const struct snapshot_sender_options options = {
        .io = stores[0].io,
        .keyring = keyrings[0],
        .lsm = stores[0].lsm,
        .directory = "snapshot",
        .seed = 1234,
        .rate_max = rate_max,
        .send = on_send,
        .ended = on_ended,
        .work = on_work,
    };
    ck_assert_int_eq(snapshot_sender_open(&options, &sender), STATUS_OK);
    open_receiver();
}

static void tear_down(void)
{
    snapshot_sender_close(sender);
    snapshot_receiver_close(receiver);
    receiver = NULL;
    for (size_t i = 0; i < wire_count; i++)
        free(wire[i].bytes);
    for (unsigned i = 0; i < 2; i++) {
        fixture_close(&stores[i]);
        ck_assert_uint_eq(sim_disk_open_count(disks[i]), 0);
        keyring_close(keyrings[i]);
        sim_disk_destroy(disks[i]);
    }
}

/* ---- Time ---- */

static void run_job(struct snapshot_job *job, struct io *io)
{
    if (job != NULL)
        snapshot_job_return(job, snapshot_job_step(job, io));
}

/* 10 ms: messages, one step of each job, timers. */
static void turn(void)
{
    deliver();
    for (unsigned i = 0; i < 2; i++) {
        if (i == 1 && receiver == NULL)
            continue;
        enum status status = fixture_run_job(&stores[i]);
        ck_assert(status == STATUS_OK || status == STATUS_END);
        run_job(i == 0 ? snapshot_sender_job(sender) : snapshot_receiver_job(receiver),
                stores[i].io);
        sim_disk_clock_advance(disks[i], 10 * 1000 * 1000);
        io_turn(stores[i].io, false);
    }
}

static void run_until_ended(unsigned turns_max)
{
    for (unsigned i = 0; i < turns_max && !ended; i++)
        turn();
    ck_assert(ended);
}

static void run_turns(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        turn();
}

static void begin(void)
{
    ck_assert_int_eq(snapshot_sender_begin(sender, member_id, term_now), STATUS_OK);
}

static void expect_same(void)
{
    ck_assert_int_eq(ended_status, STATUS_OK);
    ck_assert_uint_eq(installed_count, 1);
    ck_assert_uint_eq(lsm_installed_index(stores[1].lsm), stores[0].mark.index);
    ck_assert_uint_eq(transfer_digest(&stores[1], UINT64_MAX),
                      transfer_digest(&stores[0], UINT64_MAX));
    run_turns(5);
    ck_assert(!sim_disk_exists(disks[0], "snapshot")); /* nobody needs it any more */
    ck_assert(!sim_disk_exists(disks[1], "staging"));
    ck_assert_uint_eq(snapshot_sender_pin(sender), UINT64_MAX);
    ck_assert(!snapshot_receiver_facts(receiver).active);
}

/* ---- Tests ---- */

START_TEST(test_sent_and_installed)
{
    set_up(2500, 0);
    struct snapshot_sender_facts facts;
    ck_assert_uint_eq(snapshot_sender_pin(sender), UINT64_MAX);
    uint64_t index = lsm_installed_index(stores[0].lsm);
    begin();
    ck_assert_int_eq(snapshot_sender_begin(sender, member_id, term_now), STATUS_OK);
    run_turns(2);
    ck_assert_uint_eq(snapshot_sender_pin(sender), index); /* from the asking on */
    while (snapshot_receiver_facts(receiver).written_size == 0)
        turn();
    ck_assert(snapshot_sender_facts(sender, member_id, &facts));
    ck_assert_uint_gt(facts.total_size, 0);
    ck_assert_uint_eq(snapshot_receiver_facts(receiver).total_size, facts.total_size);
    ck_assert_uint_eq(snapshot_sender_pin(sender), stores[0].mark.index);
    run_until_ended(1000);
    ck_assert(!snapshot_sender_facts(sender, member_id, &facts));
    ck_assert_uint_eq(offers_count, 1);
    ck_assert_uint_le(pieces_in_wire_most, snapshot_window_count);
    expect_same();
    tear_down();
}
END_TEST

/* The connection breaks again and again; what is there is not sent again. */
START_TEST(test_breaks)
{
    set_up(2500, 0);
    begin();
    for (unsigned i = 0; !ended; i++) {
        ck_assert_uint_lt(i, 200);
        run_turns(8);
        wire_cut = true;
        run_turns(130);
        wire_cut = false;
    }
    ck_assert_uint_gt(offers_count, 2);
    expect_same();
    tear_down();
}
END_TEST

START_TEST(test_loss_and_damage)
{
    set_up(1500, 0);
    lose_of_100 = 4;
    corrupt_of_100 = 2;
    begin();
    run_until_ended(100000);
    expect_same();
    tear_down();
}
END_TEST

/* All that comes is damaged: it is given up, and what there was stays. */
START_TEST(test_hopeless_damage)
{
    set_up(1500, 0);
    uint64_t before = transfer_digest(&stores[1], UINT64_MAX);
    corrupt_of_100 = 100;
    begin();
    run_until_ended(100000);
    ck_assert_int_eq(ended_status, STATUS_CORRUPT);
    ck_assert_uint_eq(staged_count, 0);
    ck_assert_uint_eq(transfer_digest(&stores[1], UINT64_MAX), before);

    /* Asked for again over a good wire, it comes. */
    corrupt_of_100 = 0;
    ended = false;
    run_turns(5);
    begin();
    run_until_ended(1000);
    expect_same();
    tear_down();
}
END_TEST

START_TEST(test_silent_member)
{
    set_up(1500, 0);
    begin();
    run_turns(20);
    wire_cut = true;
    run_until_ended(3200);
    ck_assert_int_eq(ended_status, STATUS_UNREACHABLE);
    run_turns(5);
    ck_assert(!sim_disk_exists(disks[0], "snapshot"));
    ck_assert_uint_eq(snapshot_sender_pin(sender), UINT64_MAX);

    /* The member waits for another offer, and at last clears its staging. */
    ck_assert(snapshot_receiver_facts(receiver).active);
    run_turns(6500);
    ck_assert(!snapshot_receiver_facts(receiver).active);
    ck_assert(sim_disk_exists(disks[1], "staging"));
    run_turns(61000);
    ck_assert(!sim_disk_exists(disks[1], "staging"));
    tear_down();
}
END_TEST

/* Leadership is lost in the middle: the member hears of it, and another term's offer goes on. */
START_TEST(test_stop)
{
    set_up(2500, 0);
    begin();
    while (snapshot_receiver_facts(receiver).written_size == 0)
        turn();
    snapshot_sender_stop(sender);
    run_turns(250);
    ck_assert(!ended);
    ck_assert(!snapshot_receiver_facts(receiver).active);
    ck_assert(!sim_disk_exists(disks[0], "snapshot"));

    /* An offer of an old term is not heard. */
    ck_assert_int_eq(snapshot_sender_begin(sender, member_id, term_now - 1), STATUS_OK);
    run_turns(100);
    ck_assert(!snapshot_receiver_facts(receiver).active);
    begin();
    run_until_ended(3000);
    expect_same();
    tear_down();
}
END_TEST

/* The member is killed at a random moment, again and again, and comes back with what its disk has.
 */
START_TEST(test_crash_of_the_member)
{
    set_up(2500, 0);
    begin();
    unsigned crashes_count = 0;
    for (unsigned i = 0; !ended; i++) {
        ck_assert_uint_lt(i, 100);
        run_turns((unsigned)generator_between(&draws, 10, 60));
        if (ended)
            break;
        snapshot_receiver_close(receiver);
        receiver = NULL;
        while (lsm_job_take(stores[1].lsm) != NULL)
            ck_abort_msg("no job is out between turns");
        fixture_close(&stores[1]);
        sim_disk_restart(disks[1], i, (enum sim_restart_mode)(i % 3));
        stores[1].io = sim_disk_io(disks[1]);
        stores[1].options.io = stores[1].io;
        ck_assert_int_eq(fixture_open(&stores[1]), STATUS_OK);
        have_it = stores[1].mark.index == stores[0].mark.index;
        open_receiver();
        crashes_count++;
    }
    ck_assert_uint_gt(crashes_count, 2);
    ck_assert_int_eq(ended_status, STATUS_OK);
    ck_assert_uint_eq(transfer_digest(&stores[1], UINT64_MAX),
                      transfer_digest(&stores[0], UINT64_MAX));
    tear_down();
}
END_TEST

START_TEST(test_refusals)
{
    set_up(800, 0);
    /* It has it already. */
    have_it = true;
    begin();
    run_until_ended(1000);
    ck_assert_int_eq(ended_status, STATUS_OK);
    ck_assert_uint_eq(piece_letters_count, 0);
    have_it = ended = false;
    run_turns(5);

    /* Its disk is full. */
    sim_disk_capacity(disks[1], sim_disk_used(disks[1]) + 48 * 1024);
    begin();
    run_until_ended(3000);
    ck_assert_int_eq(ended_status, STATUS_DISK_FULL);
    sim_disk_capacity(disks[1], (uint64_t)1 << 40);
    ended = false;
    run_turns(5);

    /* It cannot be installed. */
    install_fails = true;
    begin();
    run_until_ended(3000);
    ck_assert_int_eq(ended_status, STATUS_CORRUPT);
    ck_assert_uint_eq(failed_count, 0);
    install_fails = ended = false;
    installed_count = 0;
    run_turns(5);
    ck_assert(!sim_disk_exists(disks[1], "staging"));
    begin();
    run_until_ended(3000);
    expect_same();
    tear_down();
}
END_TEST

START_TEST(test_other_cluster)
{
    static const uint8_t other[seal_id_size] = {4};
    set_up(300, 0);
    snapshot_receiver_close(receiver);
    struct keyring *kept = keyrings[1];
    ck_assert_int_eq(keyring_create_in_memory(other, false, &keyrings[1]), STATUS_OK);
    open_receiver();
    begin();
    run_until_ended(3000);
    ck_assert_int_eq(ended_status, STATUS_INVALID_ARGUMENT);
    ck_assert_uint_eq(piece_letters_count, 0);
    keyring_close(kept);
    tear_down();
}
END_TEST

/* The leader's disk is damaged: it says so, and the member keeps what it has. */
START_TEST(test_unreadable_checkpoint)
{
    set_up(2500, 0);
    begin();
    while (snapshot_receiver_facts(receiver).written_size == 0)
        turn();
    sim_disk_fault(disks[0], &(struct sim_fault){.effect = SIM_FAIL,
                                                 .kind = IO_KIND_READ,
                                                 .path = "snapshot/",
                                                 .count = UINT64_MAX,
                                                 .status = STATUS_IO_ERROR,
                                                 .error_number = 5});
    run_until_ended(1000);
    ck_assert_int_eq(ended_status, STATUS_IO_ERROR);
    sim_disk_faults_clear(disks[0]);
    ck_assert_uint_eq(staged_count, 0);
    tear_down();
}
END_TEST

/* The member's disk refuses a write: that ends its process. */
START_TEST(test_failing_disk_of_the_member)
{
    set_up(2500, 0);
    begin();
    while (snapshot_receiver_facts(receiver).written_size == 0)
        turn();
    sim_disk_fault(disks[1], &(struct sim_fault){.effect = SIM_FAIL,
                                                 .kind = IO_KIND_FLUSH,
                                                 .count = UINT64_MAX,
                                                 .status = STATUS_IO_ERROR,
                                                 .error_number = 5});
    run_turns(300);
    ck_assert_uint_eq(failed_count, 1);
    sim_disk_faults_clear(disks[1]);
    tear_down();
}
END_TEST

/* The rate holds over the whole: so many bytes take so long. */
START_TEST(test_rate)
{
    enum { rate = 500 * 1000 };
    set_up(1500, rate);
    begin();
    uint64_t began = io_boot_ns(stores[0].io);
    struct snapshot_sender_facts facts = {0};
    struct snapshot_sender_facts now;
    for (unsigned i = 0; i < 10000 && !ended; i++) {
        turn();
        if (snapshot_sender_facts(sender, member_id, &now))
            facts = now;
    }
    ck_assert(ended);
    uint64_t took_ms = (io_boot_ns(stores[0].io) - began) / 1000000;
    ck_assert_uint_gt(facts.sent_size, rate);
    ck_assert_uint_ge(took_ms + 1000, facts.sent_size * 1000 / rate);
    expect_same();
    tear_down();
}
END_TEST

/* Garbage is dropped. */
START_TEST(test_garbage)
{
    uint8_t bytes[200];
    set_up(300, 0);
    begin();
    for (unsigned i = 0; i < 3000; i++) {
        size_t size = generator_below(&draws, sizeof bytes);
        generator_fill(&draws, bytes, size);
        uint8_t kind = (uint8_t)generator_between(&draws, SNAPSHOT_OFFER, SNAPSHOT_STOP + 1);
        snapshot_receiver_received(receiver, leader_id, kind, bytes_of(bytes, size));
        snapshot_sender_received(sender, member_id, kind, bytes_of(bytes, size));
        if (i % 100 == 0)
            turn();
    }
    if (!ended)
        run_until_ended(3000);
    expect_same();
    tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_sent_and_installed);
    tcase_add_test(tests, test_breaks);
    tcase_add_test(tests, test_loss_and_damage);
    tcase_add_test(tests, test_hopeless_damage);
    tcase_add_test(tests, test_silent_member);
    tcase_add_test(tests, test_stop);
    tcase_add_test(tests, test_crash_of_the_member);
    tcase_add_test(tests, test_refusals);
    tcase_add_test(tests, test_other_cluster);
    tcase_add_test(tests, test_unreadable_checkpoint);
    tcase_add_test(tests, test_failing_disk_of_the_member);
    tcase_add_test(tests, test_rate);
    tcase_add_test(tests, test_garbage);
}
