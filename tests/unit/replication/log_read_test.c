/* SPDX-License-Identifier: Apache-2.0 */
/* Readers other than apply, and what is kept for them. */
#include "proto/base/hash.h"
#include "tests/unit/replication/fixture.h"

static struct region *region;
static unsigned done_count;

static void on_done(void *context)
{
    ck_assert_ptr_eq(context, region);
    done_count++;
}

static struct replicated_log_reader *reader_open(void)
{
    struct replicated_log_reader *reader;
    ck_assert_int_eq(replicated_log_reader_open(region->nodes[0].log, on_done, region, &reader),
                     STATUS_OK);
    return reader;
}

/* Asks until it is there, which it tells. */
static enum status find(struct replicated_log_reader *reader, uint64_t index, size_t ahead_size,
                        struct bytes *bytes)
{
    enum status status = replicated_log_reader_find(reader, index, ahead_size, bytes);
    while (status == STATUS_AGAIN) {
        unsigned before = done_count;
        for (unsigned i = 0; i < 10000 && done_count == before; i++)
            region_step(region);
        ck_assert_uint_gt(done_count, before);
        status = replicated_log_reader_find(reader, index, ahead_size, bytes);
    }
    return status;
}

/* As the fixture notes what is applied; the term is not told. */
static bool is_as_applied(uint64_t index, const struct entry *entry)
{
    uint64_t hash = hash64(entry->body) ^ hash_u64(entry->kind) ^ hash_u64(entry->log_time_ns);
    for (uint64_t term = 1; term <= region->nodes[0].applied.term; term++) {
        if (region->applied[index] == (hash ^ hash_u64(term)))
            return true;
    }
    return false;
}

/* All that was applied from `first` on is what is read. */
static void read_all(struct replicated_log_reader *reader, uint64_t first, size_t ahead_size)
{
    struct bytes bytes;
    uint64_t last = region->nodes[0].applied.index;
    for (uint64_t index = first; index <= last; index++) {
        struct entry entry;
        ck_assert_int_eq(find(reader, index, ahead_size, &bytes), STATUS_OK);
        ck_assert_int_eq(entry_decode(bytes, &entry), STATUS_OK);
        ck_assert(is_as_applied(index, &entry));
    }
    ck_assert_int_eq(replicated_log_reader_find(reader, last + 1, ahead_size, &bytes), STATUS_END);
    ck_assert_int_eq(replicated_log_reader_find(reader, 0, ahead_size, &bytes), STATUS_END);
}

START_TEST(test_reads_all)
{
    region = region_create((unsigned)_i, 1);
    region->cache_size = 64 * 1024;
    region_form(region);
    region_commit(region, 300, 2000);
    region_await_level(region);
    region_await_leader(region);
    struct replicated_log_reader *readers[3] = {reader_open(), reader_open(), reader_open()};
    done_count = 0;
    read_all(readers[0], 1, 1 << 20);
    unsigned large = done_count;
    ck_assert_uint_gt(large, 0);
    done_count = 0;
    read_all(readers[1], 1, 4096);
    ck_assert_uint_gt(done_count, 10 * large);
    read_all(readers[2], 200, 1 << 20);
    for (unsigned i = 0; i < 3; i++)
        replicated_log_reader_close(readers[i]);
    replicated_log_reader_close(NULL);
    region_destroy(region);
}
END_TEST

/* One that is closed while it reads is given back all the same. */
START_TEST(test_closed_while_reading)
{
    struct bytes bytes;
    region = region_create(1, 2);
    region_form(region);
    region_commit(region, 100, 2000);
    for (unsigned i = 0; i < 2; i++) {
        struct replicated_log_reader *reader = reader_open();
        done_count = 0;
        ck_assert_int_eq(replicated_log_reader_find(reader, 5, 100, &bytes), STATUS_AGAIN);
        replicated_log_reader_close(reader);
        if (i == 0)
            region_run_ms(region, 20);
        ck_assert_uint_eq(done_count, 0);
    }
    region_destroy(region);
}
END_TEST

/* What is pinned outlives releases and restarts, and goes when it is not any more. */
START_TEST(test_pin)
{
    struct bytes bytes;
    struct node *node;
    region = region_create(1, 3);
    node = &region->nodes[0];
    region_form(region);
    region_commit(region, 10, 100);
    uint64_t pin = node->applied.index;
    replicated_log_pin(node->log, pin);
    for (unsigned i = 0; i < 4; i++) {
        region_commit(region, 400, 3000);
        node_flush_state(region, 0);
    }
    ck_assert_uint_le(replicated_log_first_index(node->log), pin + 1);
    node_close(region, 0);
    node_open(region, 0);
    replicated_log_pin(node->log, pin);
    region_await_leader(region);
    region_commit(region, 10, 100);
    node_flush_state(region, 0);
    region_run_ms(region, 100);
    ck_assert_uint_le(replicated_log_first_index(node->log), pin + 1);
    struct replicated_log_reader *reader = reader_open();
    read_all(reader, pin + 1, 1 << 20);
    replicated_log_pin(node->log, UINT64_MAX);
    region_commit(region, 400, 3000);
    node_flush_state(region, 0);
    region_run_ms(region, 100);
    ck_assert_uint_gt(replicated_log_first_index(node->log), pin + 400);
    ck_assert_int_eq(find(reader, pin + 1, 1 << 20, &bytes), STATUS_NOT_FOUND);
    replicated_log_reader_close(reader);
    region_destroy(region);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_loop_test(tests, test_reads_all, 1, 4);
    tcase_add_test(tests, test_closed_while_reading);
    tcase_add_test(tests, test_pin);
}
