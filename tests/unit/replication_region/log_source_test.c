/* SPDX-License-Identifier: Apache-2.0 */
/* A source over a real log: its entries come from memory and from disk, in order, also from another
 * leader. */
#include "replication/region/log_source.h"

#include <stdlib.h>

#include "replication/region/batch.h"
#include "tests/unit/replication/fixture.h"

static struct region *region;
static struct log_source *log_source;
static struct source *source;
static uint64_t next_version;
static unsigned answers_count;
static enum status answer_status;

static bool epoch_find(void *context, struct epoch wanted, struct region_epoch_span *span)
{
    const struct epoch first = {1, 1};
    ck_assert_ptr_null(context);
    *span = (struct region_epoch_span){.epoch = first, .last = UINT64_MAX};
    return epoch_compare(first, wanted) <= 0;
}

static void on_answer(void *context, void *request, enum status status,
                      const ProtobufCMessage *message)
{
    ck_assert_ptr_null(context);
    ck_assert_ptr_eq(request, &next_version);
    answers_count++;
    answer_status = status;
    if (status != STATUS_OK)
        return;
    const Strait__RegionPullReply *reply = (const Strait__RegionPullReply *)(const void *)message;
    uint8_t *raw;
    if (reply->count == 0)
        return;
    ck_assert_uint_eq(reply->first_version, next_version);
    ck_assert_int_eq(
        batch_open(bytes_of(reply->entries.data, reply->entries.len), reply->raw_size, &raw),
        STATUS_OK);
    struct bytes rest = bytes_of(raw, reply->raw_size);
    struct bytes bytes;
    struct entry entry;
    while (batch_next(&rest, &bytes, &entry) == STATUS_OK)
        ck_assert_uint_eq(entry.version, next_version++);
    ck_assert_uint_eq(rest.size, 0);
    free(raw);
}

static void begin(const struct node *node)
{
    const struct region_position position = {.epoch = {1, 1}, .version = node->position.version};
    ck_assert_int_eq(log_source_open(node->log, &log_source), STATUS_OK);
    const struct source_options options = {.io = node->io,
                                           .log = log_source_log(log_source),
                                           .epoch_find = epoch_find,
                                           .answer = on_answer};
    ck_assert_int_eq(source_create(&options, &source), STATUS_OK);
    log_source_attach(log_source, source);
    source_reset(source, &position, node->applied.index);
    source_lead(source, true, NULL);
}

static void end(void)
{
    log_source_attach(log_source, NULL);
    source_free(source);
    log_source_close(log_source);
}

static void pull(uint64_t cursor, uint64_t sequence)
{
    Strait__RegionPull message = STRAIT__REGION_PULL__INIT;
    Strait__RegionPosition from = STRAIT__REGION_POSITION__INIT;
    from.epoch_number = 1;
    from.epoch_region = 1;
    from.version = next_version - 1;
    message.region_id = 2;
    message.cursor = cursor;
    message.sequence = sequence;
    message.from = &from;
    message.acknowledged = &from;
    message.size_max = 64 * 1024;
    message.wait_ms = 5000;
    unsigned before = answers_count;
    source_pull(source, &message, &next_version);
    for (unsigned i = 0; i < 20000 && answers_count == before; i++) {
        source_turn(source);
        region_step(region);
    }
    ck_assert_uint_eq(answers_count, before + 1);
    ck_assert_int_eq(answer_status, STATUS_OK);
}

START_TEST(test_reads_the_log)
{
    region = region_create(3, 1);
    region->cache_size = 64 * 1024;
    next_version = 1;
    region_form(region);
    for (unsigned i = 0; i < 10; i++) {
        region_commit(region, 60, 1500);
        region_run_ms(region, 5);
    }
    region_await_level(region);
    const struct node *leader = region_await_leader(region);
    uint64_t last = leader->position.version;
    ck_assert_uint_ge(last, 600);
    begin(leader);
    for (uint64_t sequence = 1; next_version <= last / 2; sequence++)
        pull(1, sequence);
    end();
    /* Another member's, where the next pull says where to go on. */
    begin(&region->nodes[(leader->number + 1) % 3]);
    for (uint64_t sequence = 1; next_version <= last; sequence++)
        pull(2, sequence);
    ck_assert_uint_eq(next_version, last + 1);
    end();
    region_destroy(region);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_reads_the_log);
}
