/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver alone, against a link whose answers are made here: whole, wrong, late, out of order,
 * or none. */
#include <stdlib.h>

#include "proto/message.h"
#include "tests/unit/replication_region/fixture.h"

enum { sent_max = 256, proposed_max = 4096 };

/* A pull that was sent and not answered yet. */
struct sent {
    void *request;
    uint64_t cursor;
    uint64_t sequence;
    uint64_t from_version;
    uint64_t acknowledged;
    uint64_t sent_ns;
    bool ready;
};

static struct fake {
    struct link link; /* first */
    struct sim_disk *disk;
    struct io *io;
    struct link_user user;
    struct receiver *receiver;
    struct sent sent[sent_max];
    unsigned sent_count;
    unsigned sends_count; /* ever */
    enum status send_status;
    unsigned leaves_count;
    struct region_position state;
    uint64_t proposed[proposed_max];
    unsigned proposed_count;
    enum status propose_status;
    enum receiver_trouble trouble;
    unsigned troubles_count;
    struct region_position common;
    char promotion[16];
    bool asks;
    struct region_position ask;
    struct region_position agreed;
    unsigned agreed_count;
} fake;

static void on_attach(struct link *link, const struct link_user *user)
{
    ck_assert_ptr_eq(link, &fake.link);
    fake.user = user == NULL ? (struct link_user){0} : *user;
}

static enum status on_send(struct link *link, enum frame_type type, const ProtobufCMessage *message,
                           uint32_t timeout_ms, void *request)
{
    const Strait__RegionPull *pull = (const Strait__RegionPull *)(const void *)message;
    ck_assert_ptr_eq(link, &fake.link);
    ck_assert_int_eq(type, FRAME_REGION_PULL);
    ck_assert_uint_eq(timeout_ms, 0);
    fake.sends_count++;
    if (fake.send_status != STATUS_OK)
        return fake.send_status;
    ck_assert_uint_lt(fake.sent_count, sent_max);
    ck_assert_ptr_nonnull(pull->acknowledged);
    ck_assert_uint_ne(pull->cursor, 0);
    ck_assert_int_eq(pull->from != NULL, pull->sequence == 1);
    fake.sent[fake.sent_count++] =
        (struct sent){.request = request,
                      .cursor = pull->cursor,
                      .sequence = pull->sequence,
                      .from_version = pull->from == NULL ? 0 : pull->from->version,
                      .acknowledged = pull->acknowledged->version,
                      .sent_ns = pull->sent_ns,
                      .ready = pull->ready != 0};
    return STATUS_OK;
}

static void on_leave(struct link *link, const char *reason)
{
    ck_assert_ptr_eq(link, &fake.link);
    ck_assert_ptr_nonnull(reason);
    fake.leaves_count++;
}

static const struct link_operations operations = {
    .attach = on_attach, .send = on_send, .leave = on_leave};

static void on_standing(void *context, struct receiver_standing *standing)
{
    ck_assert_ptr_eq(context, &fake);
    *standing = (struct receiver_standing){
        .applied = fake.state, .ready = true, .asks = fake.asks, .ask = fake.ask};
}

static void on_agreed(void *context, const struct region_position *position)
{
    ck_assert_ptr_eq(context, &fake);
    fake.agreed = *position;
    fake.agreed_count++;
}

static enum status on_propose(void *context, struct bytes bytes)
{
    struct entry entry;
    ck_assert_ptr_eq(context, &fake);
    ck_assert_int_eq(entry_decode(bytes, &entry), STATUS_OK);
    if (fake.propose_status != STATUS_OK)
        return fake.propose_status;
    ck_assert_uint_lt(fake.proposed_count, proposed_max);
    fake.proposed[fake.proposed_count++] = entry.version;
    return STATUS_OK;
}

static void on_trouble(void *context, enum receiver_trouble trouble,
                       const struct region_position *common, struct bytes promotion)
{
    ck_assert_ptr_eq(context, &fake);
    fake.trouble = trouble;
    fake.troubles_count++;
    fake.common = *common;
    ck_assert_uint_lt(promotion.size, sizeof fake.promotion);
    memset(fake.promotion, 0, sizeof fake.promotion);
    bytes_copy(fake.promotion, promotion);
}

static void set_up(void)
{
    fake = (struct fake){.link = {.operations = &operations}};
    fake.disk = sim_disk_create(1);
    fake.io = sim_disk_io(fake.disk);
    sim_disk_clock_advance(fake.disk, 1000 * 1000 * 1000);
    io_turn(fake.io, false);
    fake.state.epoch = (struct epoch){1, 1};
    fake.state.version = 10;
    const struct receiver_options options = {.io = fake.io,
                                             .link = &fake.link,
                                             .region = 2,
                                             .seed = 1,
                                             .pulls_max = 4,
                                             .inflight_size_max = 1000,
                                             .standing = on_standing,
                                             .propose = on_propose,
                                             .trouble = on_trouble,
                                             .agreed = on_agreed,
                                             .context = &fake};
    ck_assert_int_eq(receiver_create(&options, &fake.receiver), STATUS_OK);
}

static void tear_down(void)
{
    receiver_free(fake.receiver);
    ck_assert_ptr_null(fake.user.replied);
    sim_disk_destroy(fake.disk);
}

static void run_ms(uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        sim_disk_clock_advance(fake.disk, 1000 * 1000);
        io_turn(fake.io, false);
        receiver_turn(fake.receiver);
    }
}

static void begin(void)
{
    fake.user.connected(fake.user.context, "198.51.100.1:7411");
    receiver_start(fake.receiver);
    receiver_turn(fake.receiver);
    ck_assert_uint_eq(fake.sent_count, 4);
}

static struct sent take_sent(unsigned number)
{
    ck_assert_uint_lt(number, fake.sent_count);
    struct sent sent = fake.sent[number];
    fake.sent_count--;
    memmove(&fake.sent[number], &fake.sent[number + 1], (fake.sent_count - number) * sizeof sent);
    return sent;
}

/* What an answer says; what is zero is as it should be. */
struct said {
    uint64_t first;
    uint32_t count;
    size_t size; /* of each body */
    uint64_t source;
    uint64_t heard_ns;
    uint64_t gap_at; /* this version is left out */
    uint32_t raw_size;
    uint32_t count_said;
    uint64_t first_said;
    bool no_position;
    bool damaged;
};

static void answer(unsigned number, struct said said)
{
    struct sent sent = take_sent(number);
    struct batch batch;
    static uint8_t body[4096];
    Strait__RegionPullReply reply = STRAIT__REGION_PULL_REPLY__INIT;
    Strait__RegionPosition position;
    uint8_t chain[region_chain_size];
    uint8_t *block = NULL;
    const struct region_position source = {.epoch = fake.state.epoch,
                                           .version = said.source == 0 ? said.first + said.count
                                                                       : said.source};

    ck_assert_int_eq(batch_init(&batch), STATUS_OK);
    for (uint64_t version = said.first; version < said.first + said.count; version++) {
        uint8_t bytes[8192];
        const struct entry entry = {.kind = ENTRY_COMMIT,
                                    .epoch_number = 1,
                                    .epoch_region = 1,
                                    .version = version == said.gap_at ? version + 1 : version,
                                    .body = bytes_of(body, said.size)};
        entry_encode(&entry, bytes);
        ck_assert(batch_add(&batch, bytes_of(bytes, entry_size(&entry)), SIZE_MAX));
    }
    region_position_to_message(&source, chain, &position);
    reply.position = said.no_position ? NULL : &position;
    reply.heard_ns = said.heard_ns;
    if (batch.count > 0) {
        size_t block_size = batch_block_size_max(batch.size);
        block = malloc(block_size);
        ck_assert_ptr_nonnull(block);
        size_t size = batch_compress(&batch, block, block_size);
        if (said.damaged)
            memset(block, 0xff, size < 8 ? size : 8);
        reply.entries = field_of_bytes(bytes_of(block, size));
        reply.first_version = said.first_said != 0 ? said.first_said : said.first;
        reply.count = said.count_said != 0 ? said.count_said : said.count;
        reply.raw_size = said.raw_size != 0 ? said.raw_size : (uint32_t)batch.size;
    }
    fake.user.replied(fake.user.context, sent.request, STATUS_OK, &reply.base);
    free(block);
    batch_free(&batch);
}

static void refuse(unsigned number, enum status status, const Strait__Refusal *refusal)
{
    struct sent sent = take_sent(number);
    fake.user.replied(fake.user.context, sent.request, status,
                      refusal == NULL ? NULL : &refusal->base);
}

static void apply(uint64_t version)
{
    fake.state.version = version;
    receiver_applied(fake.receiver, &fake.state);
}

static void expect_proposed(uint64_t last)
{
    ck_assert_uint_eq(fake.proposed_count, last - 10);
    for (unsigned i = 0; i < fake.proposed_count; i++)
        ck_assert_uint_eq(fake.proposed[i], 11 + i);
}

/* Pulls of a cursor that is over: the link tells of them all. */
static void drain(void)
{
    while (fake.sent_count > 0)
        refuse(0, STATUS_DISCONNECTED, NULL);
}

/* The cursor ended, and another begins after a back-off, at what is applied. */
static void expect_start_over(void)
{
    ck_assert_int_eq(receiver_facts(fake.receiver).state, RECEIVER_WAITING);
    drain();
    fake.proposed_count = 0;
    run_ms(51);
    ck_assert_int_eq(receiver_facts(fake.receiver).state, RECEIVER_PULLING);
    ck_assert_uint_ge(fake.sent_count, 1);
    ck_assert_uint_eq(fake.sent[0].sequence, 1);
    ck_assert_uint_eq(fake.sent[0].from_version, fake.state.version);
}

START_TEST(test_in_order)
{
    begin();
    ck_assert_uint_eq(fake.sent[0].from_version, 10);
    ck_assert(fake.sent[0].ready);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(fake.sent[i].sequence, i + 1);
    answer(2, (struct said){.first = 14, .count = 2});
    answer(1, (struct said){.first = 13, .count = 1});
    ck_assert_uint_eq(fake.proposed_count, 0);
    answer(0, (struct said){.first = 11, .count = 2});
    expect_proposed(15);
    /* Three more were asked for. */
    ck_assert_uint_eq(fake.sent_count, 4);
    ck_assert_uint_eq(fake.sent[3].sequence, 7);
    answer(0, (struct said){0});
    answer(0, (struct said){.first = 16, .count = 1});
    expect_proposed(16);
}
END_TEST

START_TEST(test_waits_for_room)
{
    begin();
    answer(0, (struct said){.first = 11, .count = 20, .size = 156});
    /* 200 bytes each, of 1,000. */
    expect_proposed(15);
    ck_assert_uint_eq(receiver_facts(fake.receiver).inflight_size, 5 * 196);
    answer(0, (struct said){.first = 31, .count = 1});
    answer(0, (struct said){.first = 32, .count = 1});
    /* What is held counts, and nothing more is asked for. */
    run_ms(20);
    ck_assert_uint_eq(fake.sent_count, 1);
    apply(12);
    receiver_turn(fake.receiver);
    expect_proposed(17);
    for (uint64_t version = 13; version < 33; version++) {
        apply(version);
        receiver_turn(fake.receiver);
    }
    expect_proposed(32);
    ck_assert_uint_ge(fake.sent_count, 4);
    ck_assert_uint_eq(receiver_facts(fake.receiver).inflight_size, 0);
}
END_TEST

/* One entry that is larger than the bound goes alone. */
START_TEST(test_large_entry)
{
    begin();
    answer(0, (struct said){.first = 11, .count = 1, .size = 50});
    answer(0, (struct said){.first = 12, .count = 1, .size = 3000});
    expect_proposed(11);
    apply(11);
    receiver_turn(fake.receiver);
    expect_proposed(12);
}
END_TEST

START_TEST(test_busy)
{
    begin();
    fake.propose_status = STATUS_BUSY;
    answer(0, (struct said){.first = 11, .count = 3});
    run_ms(30);
    ck_assert_uint_eq(fake.proposed_count, 0);
    ck_assert_int_eq(receiver_facts(fake.receiver).state, RECEIVER_PULLING);
    fake.propose_status = STATUS_OK;
    run_ms(10);
    expect_proposed(13);
    fake.propose_status = STATUS_NOT_LEADER;
    answer(0, (struct said){.first = 14, .count = 3});
    fake.propose_status = STATUS_OK;
    apply(13);
    expect_start_over();
}
END_TEST

START_TEST(test_wrong_answers)
{
    static const struct said wrong[] = {
        {.first = 12, .count = 2},                   /* a gap before it */
        {.first = 10, .count = 2},                   /* what we have */
        {.first = 11, .count = 5, .gap_at = 13},     /* a gap in it */
        {.first = 11, .count = 5, .count_said = 4},  /* more than it says */
        {.first = 11, .count = 5, .count_said = 6},  /* fewer */
        {.first = 11, .count = 5, .first_said = 12}, /* not the ones it says */
        {.first = 11, .count = 5, .raw_size = 100},  /* of another size */
        {.first = 11, .count = 5, .raw_size = UINT32_MAX},
        {.first = 11, .count = 5, .raw_size = 300 * 1024}, /* more than was asked for */
        {.first = 11, .count = 5, .damaged = true},
        {.first = 11, .count = 5, .no_position = true},
        {.heard_ns = UINT64_MAX}, /* a time that has not come */
    };
    begin();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        answer(0, wrong[i]);
        ck_assert_uint_eq(receiver_facts(fake.receiver).malformed_count, i + 1);
        ck_assert_uint_eq(receiver_facts(fake.receiver).inflight_size, 0);
        ck_assert_int_eq(receiver_facts(fake.receiver).state, RECEIVER_WAITING);
        fake.proposed_count = 0;
        receiver_stop(fake.receiver);
        drain();
        receiver_start(fake.receiver);
        run_ms(1);
        ck_assert_uint_eq(fake.sent_count, 4);
    }
}
END_TEST

START_TEST(test_late_answers_do_no_harm)
{
    begin();
    struct sent old = fake.sent[0];
    receiver_discarded(fake.receiver, fake.state.epoch, 12);
    struct sent kept[4];
    memcpy(kept, fake.sent, sizeof kept);
    fake.sent_count = 0;
    expect_start_over();
    uint64_t cursor = fake.sent[0].cursor;
    ck_assert_uint_ne(cursor, old.cursor);
    /* Those of the cursor before come now. */
    unsigned count = fake.sent_count;
    for (unsigned i = 0; i < 4; i++) {
        fake.sent[fake.sent_count++] = kept[i];
        answer(fake.sent_count - 1, (struct said){.first = 11 + i, .count = 1});
    }
    ck_assert_uint_eq(fake.sent_count, count);
    ck_assert_uint_eq(fake.proposed_count, 0);
    answer(0, (struct said){.first = 11, .count = 1});
    expect_proposed(11);
}
END_TEST

START_TEST(test_duplicates_do_not_matter)
{
    begin();
    receiver_discarded(fake.receiver, fake.state.epoch, 10);
    receiver_discarded(fake.receiver, fake.state.epoch, 3);
    ck_assert_int_eq(receiver_facts(fake.receiver).state, RECEIVER_PULLING);
    receiver_discarded(fake.receiver, (struct epoch){2, 2}, 3);
    expect_start_over();
}
END_TEST

START_TEST(test_refusals_are_told)
{
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;
    Strait__Position position = STRAIT__POSITION__INIT;
    static const struct {
        enum status status;
        enum receiver_trouble trouble;
    } told[] = {{STATUS_SNAPSHOT_TOO_OLD, RECEIVER_RELEASED},
                {STATUS_CORRUPT, RECEIVER_DIVERGED},
                {STATUS_NOT_PRIMARY, RECEIVER_BEHIND}};
    begin();
    position.epoch_number = 3;
    position.epoch_region = 4;
    position.version = 7;
    refusal.text = (char *)(uintptr_t) "text";
    refusal.position = &position;
    refusal.promotion = field_of_bytes(bytes_of_text("signed"));
    refuse(0, STATUS_HISTORY_LOST, &refusal);
    ck_assert_uint_eq(fake.troubles_count, 1);
    ck_assert_int_eq(fake.trouble, RECEIVER_HISTORY_LOST);
    ck_assert_uint_eq(fake.common.epoch.number, 3);
    ck_assert_uint_eq(fake.common.epoch.region, 4);
    ck_assert_uint_eq(fake.common.version, 7);
    ck_assert_str_eq(fake.promotion, "signed");
    ck_assert_int_eq(receiver_facts(fake.receiver).last_refusal, STATUS_HISTORY_LOST);
    for (unsigned i = 0; i < 3; i++) {
        receiver_stop(fake.receiver);
        drain();
        receiver_start(fake.receiver);
        run_ms(1);
        refuse(0, told[i].status, i == 0 ? &refusal : NULL);
        ck_assert_uint_eq(fake.troubles_count, 2 + i);
        ck_assert_int_eq(fake.trouble, told[i].trouble);
        ck_assert_uint_eq(fake.common.version, 0);
    }
    /* Those that pass by themselves are not. */
    receiver_stop(fake.receiver);
    drain();
    receiver_start(fake.receiver);
    run_ms(1);
    refuse(0, STATUS_NOT_LEADER, &refusal);
    ck_assert_uint_eq(fake.troubles_count, 4);
    ck_assert_int_eq(receiver_facts(fake.receiver).state, RECEIVER_WAITING);
}
END_TEST

/* Asked whether it has a position, the other region says so, or names another; nothing is proposed,
 * and nothing is told of the age. */
START_TEST(test_a_position_is_asked_for)
{
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;
    Strait__Position position = STRAIT__POSITION__INIT;

    fake.asks = true;
    fake.ask = (struct region_position){.epoch = {1, 1}, .version = 7};
    fake.user.connected(fake.user.context, "198.51.100.1:7411");
    receiver_start(fake.receiver);
    receiver_turn(fake.receiver);
    ck_assert_uint_eq(fake.sent_count, 1);
    ck_assert_uint_eq(fake.sent[0].from_version, 7);
    ck_assert_uint_eq(fake.sent[0].acknowledged, 10);
    position.epoch_number = 1;
    position.epoch_region = 1;
    position.version = 5;
    refusal.text = (char *)(uintptr_t) "text";
    refusal.position = &position;
    refuse(0, STATUS_HISTORY_LOST, &refusal);
    ck_assert_uint_eq(fake.agreed_count, 0);
    ck_assert_uint_eq(fake.common.version, 5);

    fake.ask.version = 5;
    run_ms(200);
    ck_assert_uint_eq(fake.sent_count, 1);
    ck_assert_uint_eq(fake.sent[0].from_version, 5);
    answer(0,
           (struct said){.first = 6, .count = 1, .size = 10, .source = 40, .heard_ns = UINT64_MAX});
    ck_assert_uint_eq(fake.agreed_count, 0); /* no such time was sent */
    run_ms(400);
    ck_assert_uint_eq(fake.sent_count, 1);
    uint64_t sent_ns = fake.sent[0].sent_ns;
    answer(0, (struct said){.first = 6, .count = 1, .size = 10, .source = 40, .heard_ns = sent_ns});
    ck_assert_uint_eq(fake.agreed_count, 1);
    ck_assert_uint_eq(fake.agreed.version, 5);
    ck_assert_uint_eq(fake.proposed_count, 0);
    ck_assert(!receiver_facts(fake.receiver).fresh);

    /* Once it has gone back it follows from there. */
    fake.asks = false;
    fake.state.version = 5;
    run_ms(1000);
    ck_assert_uint_eq(fake.sent_count, 4);
    ck_assert_uint_eq(fake.sent[0].from_version, 5);
}
END_TEST

/* Its log does not reach back to there, which it would not say of what is none of its history. */
START_TEST(test_it_agrees_on_what_its_log_lacks)
{
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;

    fake.asks = true;
    fake.ask = (struct region_position){.epoch = {1, 1}, .version = 7};
    fake.user.connected(fake.user.context, "198.51.100.1:7411");
    receiver_start(fake.receiver);
    receiver_turn(fake.receiver);
    ck_assert_uint_eq(fake.sent_count, 1);
    refusal.text = (char *)(uintptr_t) "text";
    refuse(0, STATUS_SNAPSHOT_TOO_OLD, &refusal);
    ck_assert_uint_eq(fake.agreed_count, 1);
    ck_assert_uint_eq(fake.agreed.version, 7);
    ck_assert_uint_eq(fake.troubles_count, 0);
}
END_TEST

START_TEST(test_backs_off)
{
    uint64_t begun[6];
    begin();
    for (unsigned i = 0; i < 6; i++) {
        begun[i] = 0;
        refuse(0, STATUS_BUSY, NULL);
        drain();
        while (fake.sent_count == 0) {
            run_ms(1);
            begun[i]++;
        }
        ck_assert_uint_ge(begun[i] + 1, 25ULL << i);
        ck_assert_uint_le(begun[i], (50ULL << i) + 1);
    }
    /* Something good: from the start. */
    answer(0, (struct said){.first = 11, .count = 1});
    apply(11);
    refuse(0, STATUS_BUSY, NULL);
    expect_start_over();
}
END_TEST

START_TEST(test_connection)
{
    receiver_start(fake.receiver);
    run_ms(100);
    ck_assert_uint_eq(fake.sends_count, 0);
    fake.user.connected(fake.user.context, "198.51.100.1:7411");
    run_ms(1);
    ck_assert_uint_eq(fake.sent_count, 4);
    ck_assert_str_eq(receiver_facts(fake.receiver).endpoint, "198.51.100.1:7411");
    while (fake.sent_count > 0)
        refuse(0, STATUS_DISCONNECTED, NULL);
    fake.user.disconnected(fake.user.context, "cut");
    ck_assert_str_eq(receiver_facts(fake.receiver).endpoint, "");
    run_ms(1000);
    ck_assert_uint_eq(fake.sent_count, 0);
    fake.send_status = STATUS_UNREACHABLE;
    fake.user.connected(fake.user.context, "198.51.100.2:7411");
    run_ms(1);
    ck_assert_int_eq(receiver_facts(fake.receiver).state, RECEIVER_WAITING);
    fake.send_status = STATUS_BUSY;
    run_ms(200);
    ck_assert_int_eq(receiver_facts(fake.receiver).state, RECEIVER_PULLING);
    fake.send_status = STATUS_OK;
    run_ms(1);
    ck_assert_uint_eq(fake.sent_count, 4);
}
END_TEST

START_TEST(test_silence)
{
    begin();
    run_ms(2990);
    ck_assert_uint_eq(fake.leaves_count, 0);
    answer(0, (struct said){0});
    run_ms(2990);
    ck_assert_uint_eq(fake.leaves_count, 0);
    run_ms(20);
    ck_assert_uint_eq(fake.leaves_count, 1);
    ck_assert_int_ne(receiver_facts(fake.receiver).state, RECEIVER_RESTING);
}
END_TEST

START_TEST(test_acknowledges)
{
    begin();
    answer(0, (struct said){.first = 11, .count = 3});
    unsigned count = fake.sent_count;
    run_ms(10);
    ck_assert_uint_eq(fake.sent_count, count);
    apply(13);
    run_ms(6);
    ck_assert_uint_eq(fake.sent_count, count + 1);
    ck_assert_uint_eq(fake.sent[count].sequence, 0);
    ck_assert_uint_eq(fake.sent[count].acknowledged, 13);
    /* It says nothing but how things stand. */
    answer(count, (struct said){.first = 14, .count = 1});
    ck_assert_uint_eq(receiver_facts(fake.receiver).malformed_count, 1);
    ck_assert_int_eq(receiver_facts(fake.receiver).state, RECEIVER_WAITING);
}
END_TEST

START_TEST(test_age)
{
    begin();
    ck_assert_uint_eq(receiver_age_ns(fake.receiver), UINT64_MAX);
    uint64_t sent = fake.sent[3].sent_ns;
    run_ms(50);
    answer(0, (struct said){.first = 11, .count = 2, .source = 13, .heard_ns = sent});
    ck_assert_uint_eq(receiver_age_ns(fake.receiver), UINT64_MAX);
    apply(12);
    ck_assert_uint_eq(receiver_age_ns(fake.receiver), UINT64_MAX);
    uint64_t later = fake.sent[2].sent_ns;
    answer(0, (struct said){.first = 13, .count = 1, .source = 13, .heard_ns = later});
    apply(13);
    ck_assert(receiver_facts(fake.receiver).fresh);
    ck_assert_uint_eq(receiver_facts(fake.receiver).fresh_ns, later);
    ck_assert_uint_eq(receiver_age_ns(fake.receiver), io_boot_ns(fake.io) - later);
    ck_assert_uint_eq(receiver_facts(fake.receiver).lag_versions, 0);
    /* Who rests hears nothing more, and knows what it knew. */
    receiver_stop(fake.receiver);
    ck_assert_int_eq(receiver_facts(fake.receiver).state, RECEIVER_RESTING);
    run_ms(1000);
    ck_assert_uint_eq(receiver_age_ns(fake.receiver), io_boot_ns(fake.io) - later);
    ck_assert(receiver_facts(fake.receiver).source_known);
    receiver_start(fake.receiver);
    ck_assert_uint_eq(receiver_facts(fake.receiver).fresh_ns, later);
    receiver_forget(fake.receiver);
    ck_assert_uint_eq(receiver_age_ns(fake.receiver), UINT64_MAX);
    ck_assert(!receiver_facts(fake.receiver).source_known);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, test_in_order);
    tcase_add_test(tests, test_waits_for_room);
    tcase_add_test(tests, test_large_entry);
    tcase_add_test(tests, test_busy);
    tcase_add_test(tests, test_wrong_answers);
    tcase_add_test(tests, test_late_answers_do_no_harm);
    tcase_add_test(tests, test_duplicates_do_not_matter);
    tcase_add_test(tests, test_refusals_are_told);
    tcase_add_test(tests, test_a_position_is_asked_for);
    tcase_add_test(tests, test_it_agrees_on_what_its_log_lacks);
    tcase_add_test(tests, test_backs_off);
    tcase_add_test(tests, test_connection);
    tcase_add_test(tests, test_silence);
    tcase_add_test(tests, test_acknowledges);
    tcase_add_test(tests, test_age);
}
