/* SPDX-License-Identifier: Apache-2.0 */
/* The source alone: where positions are found, what is refused, what waits, what is kept. */
#include <stdlib.h>

#include "tests/unit/replication_region/fixture.h"

struct asked {
    unsigned answers_count;
    enum status status;
    uint64_t first_version;
    uint32_t count;
    uint32_t raw_size;
    uint64_t source_version;
    uint64_t heard_ns;
    uint64_t answered_ns;
    struct epoch common;
    uint64_t common_version;
    char leader[32];
    uint64_t versions[64]; /* of its entries */
};

static struct world *world;

static void take_entries(struct asked *asked, const Strait__RegionPullReply *reply)
{
    uint8_t *raw;
    struct bytes bytes;
    struct entry entry;

    if (reply->count == 0)
        return;
    ck_assert_int_eq(
        batch_open(bytes_of(reply->entries.data, reply->entries.len), reply->raw_size, &raw),
        STATUS_OK);
    struct bytes rest = bytes_of(raw, reply->raw_size);
    for (uint32_t i = 0; i < reply->count; i++) {
        ck_assert_int_eq(batch_next(&rest, &bytes, &entry), STATUS_OK);
        ck_assert_uint_eq(entry.version, reply->first_version + i);
        const struct item *item = &world->items[world->stream[entry.version]];
        ck_assert(bytes_equal(bytes, bytes_of(item->bytes, item->size)));
        if (i < 64)
            asked->versions[i] = entry.version;
    }
    ck_assert_uint_eq(rest.size, 0);
    free(raw);
}

static void on_replied(void *context, void *request, enum status status,
                       const ProtobufCMessage *message)
{
    struct asked *asked = request;
    ck_assert_ptr_eq(context, world);
    asked->answers_count++;
    asked->status = status;
    asked->answered_ns = world_now_ns(world);
    if (status == STATUS_OK) {
        const Strait__RegionPullReply *reply =
            (const Strait__RegionPullReply *)(const void *)message;
        asked->first_version = reply->first_version;
        asked->count = reply->count;
        asked->raw_size = reply->raw_size;
        asked->source_version = reply->position->version;
        asked->heard_ns = reply->heard_ns;
        take_entries(asked, reply);
        return;
    }
    const Strait__Refusal *refusal = (const Strait__Refusal *)(const void *)message;
    ck_assert_uint_gt(strlen(refusal->text), 10);
    strncpy(asked->leader, refusal->leader, sizeof asked->leader - 1);
    if (refusal->position == NULL)
        return;
    asked->common =
        (struct epoch){refusal->position->epoch_number, refusal->position->epoch_region};
    asked->common_version = refusal->position->version;
}

static void set_up(void)
{
    world = world_create(1);
    world->delay_ns = 0;
    world_restart_source(world);
    const struct link_user user = {.replied = on_replied, .context = world};
    link_attach(&world->link, &user);
    world_connect(world);
}

static void tear_down(void)
{
    world_destroy(world);
}

struct pull {
    uint32_t region;
    uint64_t cursor;
    uint64_t sequence;
    struct region_position from;
    uint64_t acknowledged;
    struct epoch acknowledged_epoch; /* number 0: the present one */
    uint32_t size_max;
    uint32_t wait_ms;
    uint64_t sent_ns;
    Strait__RegionPull__Downstream **downstream;
    size_t downstream_count;
};

static void ask(struct asked *asked, struct pull pull)
{
    Strait__RegionPull message = STRAIT__REGION_PULL__INIT;
    Strait__RegionPosition from;
    Strait__RegionPosition acknowledged;
    uint8_t chains[2][region_chain_size];
    const struct region_position acknowledged_position = {
        .epoch =
            pull.acknowledged_epoch.number == 0 ? world->position.epoch : pull.acknowledged_epoch,
        .version = pull.acknowledged};
    *asked = (struct asked){0};
    message.region_id = pull.region == 0 ? standby_id : pull.region;
    message.cursor = pull.cursor;
    message.sequence = pull.sequence;
    message.size_max = pull.size_max == 0 ? 1000 : pull.size_max;
    message.wait_ms = pull.wait_ms;
    message.sent_ns = pull.sent_ns;
    message.downstream = pull.downstream;
    message.n_downstream = pull.downstream_count;
    region_position_to_message(&acknowledged_position, chains[0], &acknowledged);
    message.acknowledged = &acknowledged;
    if (pull.sequence == 1) {
        if (pull.from.epoch.number == 0)
            pull.from.epoch = world->position.epoch;
        region_position_to_message(&pull.from, chains[1], &from);
        message.from = &from;
    }
    ck_assert_int_eq(link_send(&world->link, FRAME_REGION_PULL, &message.base, 0, asked),
                     STATUS_OK);
}

static void await(struct asked *asked)
{
    for (unsigned i = 0; i < 20000 && asked->answers_count == 0; i++)
        world_step(world);
    ck_assert_uint_eq(asked->answers_count, 1);
}

/* Asks from a position, by a new cursor. */
static void ask_from(struct asked *asked, struct epoch epoch, uint64_t version)
{
    static uint64_t cursor = 1000;
    ask(asked, (struct pull){.cursor = cursor++,
                             .sequence = 1,
                             .wait_ms = 5000,
                             .from = {.epoch = epoch, .version = version}});
    await(asked);
}

static const struct epoch first = {.number = 1, .region = primary_id};
static const struct epoch second = {.number = 3, .region = standby_id};

/* ---- Positions ---- */

/* Every position is found, though the source remembers nothing of what was before it. */
START_TEST(test_found_by_bisection)
{
    struct asked asked;
    world->reads_wait = true;
    for (unsigned i = 0; i < 3000; i++) {
        world_commit(world, 20);
        for (uint64_t n = generator_below(&world->generator, 4); n > 0; n--)
            world_add_regional(world);
    }
    world_restart_source(world);
    for (uint64_t version = 0; version < 3000; version += 37) {
        ask_from(&asked, first, version);
        ck_assert_int_eq(asked.status, STATUS_OK);
        ck_assert_uint_eq(asked.first_version, version + 1);
        ck_assert_uint_gt(asked.count, 1);
    }
    ck_assert_uint_eq(source_statistics(world->source).rescans_count, 0);
}
END_TEST

/* Repetitions, in order and out of it: a standby's log after several starts over. */
START_TEST(test_found_among_repetitions)
{
    struct asked asked;
    for (unsigned i = 0; i < 2000; i++) {
        world_commit(world, 20);
        uint64_t newest = world->position.version;
        if (i % 50 == 49) {
            for (uint64_t version = newest - 30; version <= newest; version++)
                world_add_repeated(world, version);
        }
        if (generator_below(&world->generator, 20) == 0)
            world_add_repeated(world, 1 + generator_below(&world->generator, newest));
    }
    world_restart_source(world);
    for (uint64_t version = 0; version < 1999; version++) {
        ask_from(&asked, first, version);
        ck_assert_int_eq(asked.status, STATUS_OK);
        ck_assert_uint_eq(asked.first_version, version + 1);
        ck_assert_uint_ge(asked.count, 1);
    }
    ck_assert_uint_gt(source_statistics(world->source).rescans_count, 0);
}
END_TEST

/* A tail that was given up stands in the log, with the versions of what came instead. */
START_TEST(test_given_up_is_not_sent)
{
    struct asked asked;
    for (unsigned i = 0; i < 500; i++)
        world_commit(world, 20);
    struct epoch granted = {.number = 2, .region = 7};
    world_grant(world, granted); /* which nobody ever got */
    for (unsigned i = 0; i < 20; i++)
        world_add_foreign(world, granted, 502 + i);
    world->epochs_count--;
    world->epochs[0].last = 480;
    world_promote(world, 480, second);
    for (unsigned i = 0; i < 500; i++)
        world_commit(world, 20);
    for (unsigned restarted = 0; restarted < 2; restarted++) {
        for (uint64_t version = 0; version <= 480; version++) {
            ask_from(&asked, first, version);
            ck_assert_int_eq(asked.status, STATUS_OK);
            ck_assert_uint_eq(asked.first_version, version + 1);
        }
        for (uint64_t version = 481; version < 980; version++) {
            ask_from(&asked, second, version);
            ck_assert_int_eq(asked.status, STATUS_OK);
            ck_assert_uint_eq(asked.first_version, version + 1);
        }
        /* What the old primary had is lost from the end of its epoch on. */
        for (uint64_t version = 481; version <= 500; version++) {
            ask_from(&asked, first, version);
            ck_assert_int_eq(asked.status, STATUS_HISTORY_LOST);
            ck_assert_int_eq(epoch_compare(asked.common, first), 0);
            ck_assert_uint_eq(asked.common_version, 480);
        }
        ask_from(&asked, granted, 501);
        ck_assert_int_eq(asked.status, STATUS_HISTORY_LOST);
        ck_assert_int_eq(epoch_compare(asked.common, first), 0);
        ck_assert_uint_eq(asked.common_version, 480);
        world_restart_source(world);
    }
}
END_TEST

/* The state goes back under a cursor that is beyond it. */
START_TEST(test_rewind_under_a_cursor)
{
    struct asked ahead;
    struct asked behind;
    for (unsigned i = 0; i < 100; i++)
        world_commit(world, 20);
    ask(&ahead,
        (struct pull){
            .cursor = 1, .sequence = 1, .wait_ms = 5000, .from = {.epoch = first, .version = 100}});
    ask(&behind, (struct pull){.cursor = 2,
                               .sequence = 1,
                               .wait_ms = 5000,
                               .size_max = 100000,
                               .from = {.epoch = first, .version = 100}});
    world_run_ms(world, 10);
    ck_assert_uint_eq(ahead.answers_count + behind.answers_count, 0);
    ask(&behind, (struct pull){.cursor = 3,
                               .sequence = 1,
                               .size_max = 100000,
                               .from = {.epoch = first, .version = 80}});
    await(&behind);
    ck_assert_uint_eq(behind.count, 20);
    world_promote(world, 90, second);
    await(&ahead);
    ck_assert_int_eq(ahead.status, STATUS_HISTORY_LOST);
    ck_assert_uint_eq(ahead.common_version, 90);
    ask(&behind, (struct pull){.cursor = 3, .sequence = 2});
    await(&behind);
    ck_assert_int_eq(behind.status, STATUS_HISTORY_LOST);
}
END_TEST

START_TEST(test_refusals)
{
    struct asked asked;
    for (unsigned i = 0; i < 100; i++)
        world_commit(world, 20);
    ask_from(&asked, second, 50);
    ck_assert_int_eq(asked.status, STATUS_NOT_PRIMARY);
    /* Of its own epoch, and not here: this server leads no more, and does not know it yet. */
    ask_from(&asked, first, 101);
    ck_assert_int_eq(asked.status, STATUS_NOT_LEADER);
    ck_assert_str_eq(asked.leader, "");
    /* The same place, another history. */
    struct pull pull = {
        .cursor = 5,
        .sequence = 1,
        .from = {.epoch = first, .version = 50, .chain_known = true, .chain = world->chains[50]}};
    ask(&asked, pull);
    await(&asked);
    ck_assert_int_eq(asked.status, STATUS_OK);
    pull.cursor++;
    pull.from.chain.low++;
    ask(&asked, pull);
    await(&asked);
    ck_assert_int_eq(asked.status, STATUS_CORRUPT);
    /* Cursors that are not known, or miss a pull. */
    ask(&asked, (struct pull){.cursor = 77, .sequence = 2});
    await(&asked);
    ck_assert_int_eq(asked.status, STATUS_NOT_FOUND);
    ask(&asked, (struct pull){.cursor = 5, .sequence = 3});
    await(&asked);
    ck_assert_int_eq(asked.status, STATUS_NOT_FOUND);
    ask(&asked, (struct pull){.cursor = 5, .sequence = 2});
    await(&asked);
    ck_assert_int_eq(asked.status, STATUS_NOT_FOUND);
    /* Numbers that cannot be. */
    ask(&asked, (struct pull){.cursor = 0, .sequence = 1});
    await(&asked);
    ck_assert_int_eq(asked.status, STATUS_MALFORMED);
    ask(&asked, (struct pull){.cursor = 9, .sequence = 1, .size_max = batch_size_asked_max + 1});
    await(&asked);
    ck_assert_int_eq(asked.status, STATUS_MALFORMED);
    ask(&asked, (struct pull){.cursor = 9, .sequence = 1, .wait_ms = source_wait_ms_max + 1});
    await(&asked);
    ck_assert_int_eq(asked.status, STATUS_MALFORMED);
    source_lead(world->source, false, "192.0.2.9:7411");
    ask_from(&asked, first, 50);
    ck_assert_int_eq(asked.status, STATUS_NOT_LEADER);
    ck_assert_str_eq(asked.leader, "192.0.2.9:7411");
}
END_TEST

START_TEST(test_released)
{
    struct asked asked;
    struct source_region region;
    for (unsigned i = 0; i < 1000; i++)
        world_commit(world, 100);
    world_restart_source(world);
    world->first_index = 301;
    ask_from(&asked, first, 300);
    ck_assert_int_eq(asked.status, STATUS_OK);
    ck_assert_uint_eq(asked.first_version, 301);
    ask_from(&asked, first, 299);
    ck_assert_int_eq(asked.status, STATUS_SNAPSHOT_TOO_OLD);
    ck_assert(source_region_find(world->source, standby_id, &region));
    ck_assert(region.snapshot);
    ask_from(&asked, first, 0);
    ck_assert_int_eq(asked.status, STATUS_SNAPSHOT_TOO_OLD);
    /* It goes away under a cursor. */
    ask(&asked, (struct pull){.cursor = 3, .sequence = 1, .from = {.version = 400}});
    await(&asked);
    ck_assert_int_eq(asked.status, STATUS_OK);
    ck_assert(source_region_find(world->source, standby_id, &region));
    ck_assert(!region.snapshot);
    world->first_index = 900;
    ask(&asked, (struct pull){.cursor = 3, .sequence = 2});
    await(&asked);
    ck_assert_int_eq(asked.status, STATUS_SNAPSHOT_TOO_OLD);
}
END_TEST

/* ---- Waiting ---- */

START_TEST(test_waits_for_entries)
{
    struct asked asked[3];
    world_commit(world, 10);
    uint64_t from = world_now_ns(world);
    for (uint64_t i = 0; i < 3; i++)
        ask(&asked[i], (struct pull){.cursor = 1,
                                     .sequence = i + 1,
                                     .wait_ms = 50,
                                     .sent_ns = i + 1,
                                     .from = {.version = 1}});
    world_run_ms(world, 20);
    ck_assert_uint_eq(asked[0].answers_count, 0);
    world_commit(world, 10);
    await(&asked[0]);
    ck_assert_uint_eq(asked[0].versions[0], 2);
    /* It had heard the others by then. */
    ck_assert_uint_eq(asked[0].heard_ns, 3);
    ck_assert_uint_lt(asked[0].answered_ns - from, 25ULL * 1000 * 1000);
    ck_assert_uint_eq(asked[1].answers_count, 0);
    /* The next one's time begins when it is the first; the one after it waits for its own. */
    await(&asked[1]);
    ck_assert_uint_eq(asked[1].count, 0);
    ck_assert_uint_eq(asked[1].source_version, 2);
    ck_assert_uint_ge(asked[1].answered_ns - asked[0].answered_ns, 49ULL * 1000 * 1000);
    await(&asked[2]);
    ck_assert_uint_ge(asked[2].answered_ns - asked[1].answered_ns, 49ULL * 1000 * 1000);
}
END_TEST

/* A stream of small commits makes few answers. */
START_TEST(test_small_batches_are_gathered)
{
    struct asked asked[16];
    world_commit(world, 10);
    for (uint64_t i = 0; i < 16; i++)
        ask(&asked[i], (struct pull){.cursor = 1,
                                     .sequence = i + 1,
                                     .wait_ms = 1000,
                                     .size_max = 100000,
                                     .from = {.version = 1}});
    for (unsigned i = 0; i < 200; i++) {
        world_commit(world, 10);
        world_step(world);
    }
    world_run_ms(world, 12);
    struct source_statistics statistics = source_statistics(world->source);
    ck_assert_uint_eq(statistics.entries_count, 200);
    ck_assert_uint_le(statistics.batches_count, 12);
    ck_assert_uint_ge(statistics.batches_count, 9);
    source_lead(world->source, false, NULL);
    world_run_ms(world, 2);
    for (unsigned i = 0; i < 16; i++)
        ck_assert_uint_eq(asked[i].answers_count, 1);
    ck_assert_int_eq(asked[15].status, STATUS_NOT_LEADER);
}
END_TEST

START_TEST(test_sizes)
{
    struct asked asked;
    for (unsigned i = 0; i < 20; i++)
        world_commit(world, i == 10 ? 200000 : 300);
    uint64_t version = 0;
    for (uint64_t sequence = 1; version < 20; sequence++) {
        ask(&asked, (struct pull){.cursor = 4, .sequence = sequence, .size_max = 2000});
        await(&asked);
        ck_assert_uint_eq(asked.first_version, version + 1);
        ck_assert(asked.raw_size <= 2000 || asked.count == 1);
        ck_assert(asked.count > 1 || asked.raw_size > 2000 || version + asked.count == 20 ||
                  version + asked.count == 10);
        version += asked.count;
    }
}
END_TEST

/* A turn is bounded, and the cursors take turns. */
START_TEST(test_turns_are_bounded)
{
    struct asked asked[4];
    world->source_options.turn_size_max = 1000;
    world_restart_source(world);
    for (unsigned i = 0; i < 100; i++)
        world_commit(world, 300);
    for (unsigned i = 0; i < 4; i++)
        ask(&asked[i], (struct pull){.cursor = i + 1, .sequence = 1, .size_max = 900});
    for (unsigned i = 0; i < 20; i++) {
        uint64_t before = source_statistics(world->source).raw_size;
        source_turn(world->source);
        ck_assert_uint_le(source_statistics(world->source).raw_size - before, 2000);
    }
    world_run_ms(world, 20);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(asked[i].answers_count, 1);
}
END_TEST

START_TEST(test_places_are_bounded)
{
    struct asked asked[source_cursors_max + 1];
    struct asked pulls[source_pulls_max + 1];
    world_commit(world, 10);
    for (unsigned i = 0; i <= source_cursors_max; i++) {
        ask(&asked[i],
            (struct pull){.cursor = i + 1, .sequence = 1, .wait_ms = 1000, .from = {.version = 1}});
        world_step(world);
    }
    world_run_ms(world, 2);
    ck_assert_int_eq(asked[0].status, STATUS_NOT_FOUND);
    ck_assert_uint_eq(asked[0].answers_count, 1);
    ck_assert_uint_eq(asked[1].answers_count, 0);
    ck_assert_uint_eq(source_statistics(world->source).cursors_count, source_cursors_max);
    for (unsigned i = 0; i <= source_pulls_max; i++)
        ask(&pulls[i],
            (struct pull){
                .cursor = 50, .sequence = i + 1, .wait_ms = 1000, .from = {.version = 1}});
    world_run_ms(world, 2);
    for (unsigned i = 0; i <= source_pulls_max; i++)
        ck_assert_int_eq(pulls[i].status, STATUS_NOT_FOUND);
    world_run_ms(world, 1100);
    for (unsigned i = 2; i <= source_cursors_max; i++)
        ck_assert_int_eq(asked[i].status, STATUS_OK);
}
END_TEST

/* ---- What is kept ---- */

static void acknowledge(uint64_t version)
{
    struct asked asked;
    ask(&asked, (struct pull){.cursor = 99, .sequence = 0, .acknowledged = version, .sent_ns = 5});
    await(&asked);
    ck_assert_int_eq(asked.status, STATUS_OK);
    ck_assert_uint_eq(asked.heard_ns, 5);
    ck_assert_uint_eq(asked.count, 0);
}

START_TEST(test_pins)
{
    struct source_region region;
    world->source_options.pinned_size_max = 8 * 1000 * 1000;
    world_restart_source(world);
    for (unsigned i = 0; i < 3000; i++) {
        world_commit(world, 1000);
        if (i % 50 == 0)
            world_step(world);
    }
    /* Nobody was heard of: all is kept. */
    ck_assert_uint_eq(source_pin_index(world->source), 0);
    ck_assert(source_region_find(world->source, standby_id, &region));
    ck_assert(!region.heard);
    ck_assert_uint_eq(region.lag_versions, 3000);
    acknowledge(2000);
    uint64_t pin = source_pin_index(world->source);
    ck_assert_uint_le(pin, world->stream[2000]);
    ck_assert_uint_gt(pin, world->stream[1800]);
    ck_assert(source_region_find(world->source, standby_id, &region));
    ck_assert_uint_eq(region.lag_versions, 1000);
    ck_assert_uint_gt(region.lag_size, 900 * 1000);
    ck_assert_uint_lt(region.lag_size, 1200 * 1000);
    ck_assert_uint_gt(region.lag_ms, 5);
    unsigned heard = world->heard_count;
    acknowledge(2000);
    ck_assert_uint_eq(world->heard_count, heard);
    /* Up to a limit. */
    for (unsigned i = 0; i < 10000; i++)
        world_commit(world, 1000);
    pin = source_pin_index(world->source);
    ck_assert_uint_gt(pin, world->stream[4500]);
    ck_assert_uint_lt(pin, world->stream[5700]);
    acknowledge(world->position.version);
    ck_assert_uint_gt(source_pin_index(world->source), world->stream[12900]);
    ck_assert(source_region_find(world->source, standby_id, &region));
    ck_assert_uint_eq(region.lag_size + region.lag_versions + region.lag_ms, 0);
    /* A region that is removed needs nothing; one that is not of the list neither. */
    source_regions(world->source, NULL, 0);
    ck_assert_uint_eq(source_pin_index(world->source), UINT64_MAX);
    ck_assert(!source_region_find(world->source, standby_id, &region));
    ck_assert(!source_region_at(world->source, 0, &region));
}
END_TEST

/* More than marks can tell apart. */
START_TEST(test_marks_thin_out)
{
    struct source_region region;
    for (unsigned i = 0; i < 39000; i++) {
        world_commit(world, 10);
        if (i % 2 == 0)
            sim_disk_clock_advance(world->disk, 60ULL * 1000 * 1000);
        if (i % 1000 == 0)
            io_turn(world->io, false);
    }
    io_turn(world->io, false);
    for (uint64_t version = 1000; version < 39000; version += 1900) {
        acknowledge(version);
        uint64_t pin = source_pin_index(world->source);
        ck_assert_uint_le(pin, world->stream[version]);
        ck_assert_uint_gt(pin, world->stream[version - 50]);
        ck_assert(source_region_find(world->source, standby_id, &region));
        ck_assert_uint_eq(region.lag_versions, 39000 - version);
    }
}
END_TEST

/* A region that was rewound has less than before. */
START_TEST(test_a_region_may_go_back)
{
    struct source_region region;
    for (unsigned i = 0; i < 100; i++)
        world_commit(world, 100);
    acknowledge(60);
    ck_assert(source_region_find(world->source, standby_id, &region));
    ck_assert_uint_eq(region.lag_versions, 40);
    acknowledge(50);
    ck_assert(source_region_find(world->source, standby_id, &region));
    ck_assert_uint_eq(region.lag_versions, 50);
}
END_TEST

/* A region with a tail that was given up here has of this history what both share, and no more:
 * what it needs once it has rewound is kept. */
START_TEST(test_what_lies_past_an_end_is_not_acknowledged)
{
    struct source_region region;
    struct asked asked;
    for (unsigned i = 0; i < 1000; i++)
        world_commit(world, 1000);
    world_promote(world, 500, second);
    for (unsigned i = 0; i < 1000; i++) {
        world_commit(world, 1000);
        if (i % 50 == 0)
            world_step(world);
    }
    ask(&asked, (struct pull){.cursor = 99, .acknowledged = 900, .acknowledged_epoch = first});
    await(&asked);
    ck_assert_int_eq(asked.status, STATUS_OK);
    ck_assert(source_region_find(world->source, standby_id, &region));
    ck_assert_uint_eq(region.acknowledged.version, 500);
    ck_assert(epoch_equal(region.acknowledged.epoch, first));
    ck_assert_uint_eq(region.lag_versions, world->position.version - 500);
    ck_assert_uint_lt(source_pin_index(world->source), world->stream[501]);
    acknowledge(900);
    ck_assert(source_region_find(world->source, standby_id, &region));
    ck_assert_uint_eq(region.acknowledged.version, 900);
}
END_TEST

/* ---- Chains ---- */

/* What a standby answers is as old as its own data, and a little more, as clocks differ. */
START_TEST(test_age_adds_up)
{
    struct asked asked;
    world_commit(world, 10);
    world->age_ns = 5000;
    ask(&asked, (struct pull){.cursor = 1, .sent_ns = 100000});
    await(&asked);
    ck_assert_uint_eq(asked.heard_ns, 100000 - 5000 - 5);
    world->age_ns = 200000;
    ask(&asked, (struct pull){.cursor = 1, .sent_ns = 100000});
    await(&asked);
    ck_assert_uint_eq(asked.heard_ns, 0);
    world->age_ns = 0;
    world->is_deposed = true;
    ask(&asked, (struct pull){.cursor = 1, .sent_ns = 100000});
    await(&asked);
    ck_assert_uint_eq(asked.heard_ns, 0);
}
END_TEST

/* A pull of the standby that passes on what the region downstream has. */
static enum status pass_on(uint32_t region, uint64_t version, uint64_t ago_ms, unsigned count)
{
    Strait__RegionPull__Downstream message = STRAIT__REGION_PULL__DOWNSTREAM__INIT;
    Strait__RegionPull__Downstream *messages[source_regions_max + 1];
    Strait__RegionPosition acknowledged;
    uint8_t chain[region_chain_size];
    struct asked asked;
    const struct region_position position = {.epoch = world->position.epoch, .version = version};

    region_position_to_message(&position, chain, &acknowledged);
    message.region_id = region;
    message.acknowledged = &acknowledged;
    message.heard_ago_ms = ago_ms;
    message.ready = true;
    message.oldest_snapshot = 7;
    for (unsigned i = 0; i < count; i++)
        messages[i] = &message;
    ask(&asked, (struct pull){.cursor = 1,
                              .acknowledged = world->position.version,
                              .downstream = messages,
                              .downstream_count = count});
    await(&asked);
    return asked.status;
}

START_TEST(test_what_is_downstream_is_heard_of)
{
    const uint32_t regions[] = {standby_id, downstream_id};
    struct source_region region;
    sim_disk_clock_advance(world->disk, 60ULL * 1000 * 1000 * 1000);
    source_regions(world->source, regions, 2);
    for (unsigned i = 0; i < 100; i++)
        world_commit(world, 100);
    ck_assert_int_eq(pass_on(downstream_id, 60, 500, 1), STATUS_OK);
    ck_assert(source_region_find(world->source, downstream_id, &region));
    ck_assert(region.heard && region.ready);
    ck_assert_uint_eq(region.acknowledged.version, 60);
    ck_assert_uint_eq(region.lag_versions, 40);
    ck_assert_uint_eq(region.oldest_snapshot, 7);
    ck_assert_uint_le(region.heard_ns, world_now_ns(world) - 500ULL * 1000 * 1000);
    /* The log is kept for it, too. */
    ck_assert_uint_le(source_pin_index(world->source), world->stream[60]);
    /* What was said before that comes late. */
    ck_assert_int_eq(pass_on(downstream_id, 50, 40000, 1), STATUS_OK);
    ck_assert(source_region_find(world->source, downstream_id, &region));
    ck_assert_uint_eq(region.acknowledged.version, 60);
    ck_assert_int_eq(pass_on(downstream_id, 90, 0, 1), STATUS_OK);
    ck_assert(source_region_find(world->source, downstream_id, &region));
    ck_assert_uint_eq(region.acknowledged.version, 90);
    /* It may have begun to pull from here since. */
    struct asked asked;
    ask(&asked, (struct pull){.region = downstream_id, .cursor = 5, .acknowledged = 95});
    await(&asked);
    ck_assert_int_eq(pass_on(downstream_id, 91, 300, 1), STATUS_OK);
    ck_assert(source_region_find(world->source, downstream_id, &region));
    ck_assert_uint_eq(region.acknowledged.version, 95);
    /* Nobody answers for itself twice, for no region, for a time before time, or for too many. */
    ck_assert_int_eq(pass_on(standby_id, 1, 0, 1), STATUS_MALFORMED);
    ck_assert_int_eq(pass_on(0, 1, 0, 1), STATUS_MALFORMED);
    ck_assert_int_eq(pass_on(downstream_id, 1, 0, source_regions_max + 1), STATUS_MALFORMED);
    ck_assert_int_eq(pass_on(downstream_id, 1, UINT64_MAX, 1), STATUS_OK);
    ck_assert_int_eq(pass_on(77, 1, 0, 1), STATUS_OK);
    ck_assert(source_region_find(world->source, downstream_id, &region));
    ck_assert_uint_eq(region.acknowledged.version, 95);
    ck_assert(!source_region_find(world->source, 77, &region));
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, test_found_by_bisection);
    tcase_add_test(tests, test_found_among_repetitions);
    tcase_add_test(tests, test_given_up_is_not_sent);
    tcase_add_test(tests, test_rewind_under_a_cursor);
    tcase_add_test(tests, test_refusals);
    tcase_add_test(tests, test_released);
    tcase_add_test(tests, test_waits_for_entries);
    tcase_add_test(tests, test_small_batches_are_gathered);
    tcase_add_test(tests, test_sizes);
    tcase_add_test(tests, test_turns_are_bounded);
    tcase_add_test(tests, test_places_are_bounded);
    tcase_add_test(tests, test_pins);
    tcase_add_test(tests, test_marks_thin_out);
    tcase_add_test(tests, test_a_region_may_go_back);
    tcase_add_test(tests, test_what_lies_past_an_end_is_not_acknowledged);
    tcase_add_test(tests, test_age_adds_up);
    tcase_add_test(tests, test_what_is_downstream_is_heard_of);
}
