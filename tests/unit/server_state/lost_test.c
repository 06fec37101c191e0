/* SPDX-License-Identifier: Apache-2.0 */
/* What a rewind gave up: filed, found again after a start, read by pages, closed and emptied. */
#include "server/state/lost.h"

#include "server/state/state_internal.h"
#include "tests/unit/server_state/backend_real.h"
#include "tests/unit/server_state/harness.h"

static struct harness harness;
static enum status (*told_status)(uint64_t version); /* what pages are to tell; NULL: nothing */

static void set_up(void)
{
    told_status = NULL;
    harness_open_on(&harness, backend_open(1, 64 << 10, 16 << 20, 20));
    harness_table(&harness, "orders");
}

static void reopen(void)
{
    lsm_seal(harness.lsm);
    while (lsm_installed_index(harness.lsm) != harness.index)
        backend_turn(harness.backend);
    state_close(harness.state);
    lsm_close(harness.lsm);
    backend_lsm_open(harness.backend);
    harness.lsm = backend_lsm(harness.backend);
    harness_state_open(&harness);
}

/* A given-up commit of `version`, whose body begins with the version and is `size` bytes long. */
static struct entry given_up(uint64_t version, uint8_t *body, size_t size)
{
    memset(body, (int)('a' + version % 26), size);
    if (size >= 8)
        store_u64(body, version);
    return (struct entry){.kind = ENTRY_COMMIT,
                          .epoch_number = 1,
                          .epoch_region = 7,
                          .version = version,
                          .log_time_ns = 1000 + version,
                          .identity = bytes_of_text("shop"),
                          .body = bytes_of(body, size)};
}

/* With an entry of the log that changes nothing by itself: files what is given up, or finishes. */
static void step_with(uint64_t id, const struct entry *entries, size_t count, bool finishes)
{
    static const struct entry noop = {.kind = ENTRY_NOOP, .log_time_ns = 1};
    struct state_result result;
    enum status status;

    state_apply_start(harness.state, ++harness.index, 1, &noop);
    for (size_t i = 0; i < count; i++)
        lost_file(&harness.state->apply, id, &entries[i]);
    if (finishes)
        lost_finish(&harness.state->apply, id, (struct epoch){.number = 3, .region = 8});
    while ((status = state_apply_step(harness.state, &result)) == STATUS_BUSY)
        backend_turn(harness.backend);
    ck_assert_int_eq(status, STATUS_OK);
    ck_assert(!result.versioned);
}

static void file(uint64_t id, uint64_t first_version, unsigned count, size_t size)
{
    uint8_t *body = malloc(size);
    ck_assert(body != NULL);
    for (unsigned i = 0; i < count; i++) {
        const struct entry entry = given_up(first_version + i, body, size);
        step_with(id, &entry, 1, false);
    }
    free(body);
}

static struct state_lost_report report_at(size_t place)
{
    struct state_lost_report report;
    ck_assert(state_lost_report_at(harness.state, place, &report));
    return report;
}

/* Reads a report page by page; its entries are those of given_up(), from `first_version` on.
 * Returns how many pages there were. */
static unsigned expect_pages(uint64_t id, uint64_t first_version, unsigned count, size_t size,
                             size_t count_max, size_t size_max)
{
    struct state_lost_page page = {.id = id, .count_max = count_max, .size_max = size_max};
    uint8_t *body = malloc(size);
    unsigned pages_count = 0;
    unsigned seen = 0;
    bool more = true;

    ck_assert(body != NULL);
    for (; more; pages_count++) {
        struct arena arena;
        struct state_view *view;
        struct lsm_wait wait;
        struct state_refusal refusal = {0};
        struct state_lost_walk *walk;
        const struct state_lost_entry *entries;
        size_t found;
        enum status status;

        arena_init(&arena, 4096, 64 << 20);
        lsm_wait_init(&wait, harness_no_wait, NULL);
        ck_assert_int_eq(state_view_open(harness.state, UINT64_MAX, &view), STATUS_OK);
        status = state_lost_walk_open(view, &page, &arena, &walk, &refusal);
        ck_assert_msg(status == STATUS_OK, "%s", refusal.text);
        while ((status = state_lost_walk_step(walk, &wait, &entries, &found, &more)) ==
               STATUS_AGAIN)
            backend_turn(harness.backend);
        ck_assert_int_eq(status, STATUS_OK);
        ck_assert(found != 0 || (!more && count == 0));
        ck_assert(count_max == 0 || found <= count_max);
        for (size_t i = 0; i < found; i++, seen++) {
            struct entry entry;
            const struct entry expected = given_up(first_version + seen, body, size);
            ck_assert_int_eq(entry_decode(entries[i].bytes, &entry), STATUS_OK);
            ck_assert_uint_eq(entry.version, expected.version);
            ck_assert_uint_eq(entries[i].version, expected.version);
            ck_assert(entries[i].has_outcome == (told_status != NULL));
            if (told_status != NULL)
                ck_assert_int_eq(entries[i].outcome, told_status(entry.version));
            ck_assert_uint_eq(entry.log_time_ns, expected.log_time_ns);
            ck_assert(bytes_equal(entry.body, expected.body));
            ck_assert(bytes_equal(entry.identity, expected.identity));
            page.after_epoch =
                (struct epoch){.number = entry.epoch_number, .region = entry.epoch_region};
            page.after_version = entry.version;
        }
        state_lost_walk_close(walk);
        state_view_close(view);
        arena_free(&arena);
    }
    ck_assert_uint_eq(seen, count);
    free(body);
    return pages_count;
}

static struct state_result apply_lost(const uint8_t body[state_lost_body_size])
{
    return harness_apply(&harness, ENTRY_LOST, bytes_of(body, state_lost_body_size));
}

static struct state_result close_report(uint64_t id)
{
    uint8_t body[state_lost_body_size];
    state_lost_close_encode(id, body);
    return apply_lost(body);
}

/* How many entries of the tree there are. */
static size_t keys_count(void)
{
    struct lsm_view *view;
    struct lsm_iterator *iterator;
    struct lsm_wait wait;
    struct lsm_item item;
    size_t count = 0;
    enum status status;
    lsm_wait_init(&wait, harness_no_wait, NULL);
    ck_assert_int_eq(lsm_view_open(harness.lsm, UINT64_MAX, &view), STATUS_OK);
    ck_assert_int_eq(lsm_iterator_open(view, STATE_TREE_LOST, (struct bytes){0}, (struct bytes){0},
                                       false, &iterator),
                     STATUS_OK);
    while ((status = lsm_iterator_next(iterator, &wait, &item)) != STATUS_END) {
        if (status == STATUS_AGAIN)
            backend_turn(harness.backend);
        else
            count++;
    }
    lsm_iterator_close(iterator);
    lsm_view_close(view);
    return count;
}

START_TEST(test_filed_and_read_by_pages)
{
    set_up();
    struct state_facts before = state_facts(harness.state);
    file(900, 41, 250, 300);
    struct state_lost_report none;
    ck_assert(!state_lost_report_at(harness.state, 0, &none)); /* not finished */
    step_with(900, NULL, 0, true);
    struct state_facts after = state_facts(harness.state);
    /* No version, and no part of the digest. */
    ck_assert_uint_eq(after.position.version, before.position.version);
    ck_assert_mem_eq(&after.chain_digest, &before.chain_digest, sizeof after.chain_digest);
    for (int again = 0; again < 2; again++) {
        struct state_lost_report report = report_at(0);
        ck_assert_uint_eq(report.id, 900);
        ck_assert_uint_eq(report.first_version, 41);
        ck_assert_uint_eq(report.last_version, 290);
        ck_assert_uint_eq(report.count, 250);
        ck_assert_uint_eq(report.size, 250 * (entry_header_size + 4 + 300));
        ck_assert_uint_eq(report.log_time_ns, 1290);
        ck_assert_uint_eq(report.epoch.region, 7);
        ck_assert_uint_eq(report.next.number, 3);
        ck_assert(!report.closed);
        ck_assert_uint_eq(expect_pages(900, 41, 250, 300, 0, 1 << 20), 1);
        ck_assert_uint_eq(expect_pages(900, 41, 250, 300, 100, 1 << 20), 3);
        ck_assert_uint_eq(expect_pages(900, 41, 250, 300, 0, 1), 250);
        reopen();
    }
    harness_close(&harness);
}
END_TEST

/* A start while a rewind is being replayed: what was filed is counted with what follows. */
START_TEST(test_a_tail_is_found_again)
{
    set_up();
    file(70, 5, 3, 50);
    step_with(70, NULL, 0, true);
    file(80, 10, 20, 2 * lost_part_size + 17);
    reopen();
    ck_assert_uint_eq(report_at(0).count, 3);
    struct state_lost_report none;
    ck_assert(!state_lost_report_at(harness.state, 1, &none));
    file(80, 30, 1, 2 * lost_part_size + 17);
    step_with(80, NULL, 0, true);
    ck_assert_uint_eq(report_at(1).id, 80);
    ck_assert_uint_eq(report_at(1).count, 21);
    ck_assert_uint_eq(report_at(1).first_version, 10);
    ck_assert_uint_eq(report_at(1).last_version, 30);
    ck_assert_uint_eq(report_at(1).size, 21 * (entry_header_size + 4 + 2 * lost_part_size + 17));
    ck_assert_uint_eq(expect_pages(80, 10, 21, 2 * lost_part_size + 17, 0, 6 * lost_part_size), 11);
    ck_assert_uint_eq(expect_pages(70, 5, 3, 50, 0, 1 << 20), 1);
    harness_close(&harness);
}
END_TEST

START_TEST(test_the_largest_entry)
{
    set_up();
    file(80, 10, 2, limit_txn_size);
    step_with(80, NULL, 0, true);
    ck_assert_uint_eq(expect_pages(80, 10, 2, limit_txn_size, 0, limit_reply_size), 2);
    harness_close(&harness);
}
END_TEST

/* Several entries with one, the report with the last of them; nothing filed is no report. */
START_TEST(test_several_at_once)
{
    uint8_t bodies[3][20];
    struct state_lost_report none;
    set_up();
    step_with(60, NULL, 0, true);
    ck_assert(!state_lost_report_at(harness.state, 0, &none));
    const struct entry entries[] = {given_up(4, bodies[0], 20), given_up(5, bodies[1], 20),
                                    given_up(6, bodies[2], 20)};
    step_with(80, entries, 3, true);
    ck_assert_uint_eq(report_at(0).count, 3);
    ck_assert_uint_eq(expect_pages(80, 4, 3, 20, 0, 1 << 20), 1);
    harness_close(&harness);
}
END_TEST

START_TEST(test_closed_and_emptied)
{
    uint8_t body[state_lost_body_size];
    set_up();
    file(80, 10, 3000, 40);
    step_with(80, NULL, 0, true);
    file(90, 5000, 10, 40);
    step_with(90, NULL, 0, true);
    ck_assert(!state_lost_due(harness.state, body));
    struct state_result result = close_report(81);
    ck_assert_int_eq(result.status, STATUS_NOT_FOUND);
    ck_assert(result.text[0] != 0);
    struct hash128 chain = state_facts(harness.state).chain_digest;
    ck_assert_int_eq(close_report(80).status, STATUS_OK);
    ck_assert(report_at(0).closed && !report_at(1).closed);
    ck_assert_uint_eq(keys_count(), 2 + 3010 - lost_removals_max);
    reopen(); /* it goes on where it stopped */
    ck_assert(report_at(0).closed);
    ck_assert(state_lost_due(harness.state, body));
    ck_assert_int_eq(apply_lost(body).status, STATUS_OK);
    ck_assert_uint_eq(keys_count(), 2 + 3010 - 2 * lost_removals_max);
    ck_assert(state_lost_due(harness.state, body));
    ck_assert_int_eq(apply_lost(body).status, STATUS_OK);
    ck_assert(!state_lost_due(harness.state, body));
    ck_assert_uint_eq(keys_count(), 2 + 10);
    /* Again, and late: nothing comes of it. */
    ck_assert_int_eq(close_report(80).status, STATUS_OK);
    ck_assert_int_eq(apply_lost(body).status, STATUS_OK);
    ck_assert_uint_eq(keys_count(), 2 + 10);
    struct hash128 after = state_facts(harness.state).chain_digest;
    ck_assert_mem_eq(&chain, &after, sizeof chain);
    ck_assert_uint_eq(expect_pages(90, 5000, 10, 40, 0, 1 << 20), 1);
    harness_close(&harness);
}
END_TEST

/* Tells what became of the commits above a version, and returns how many entries that took. */
static unsigned tell(uint64_t above)
{
    static uint8_t body[state_lost_tell_size_max];
    struct state_lost_telling *telling;
    struct lsm_wait wait;
    unsigned count = 0;
    bool more = true;
    size_t size;

    lsm_wait_init(&wait, harness_no_wait, NULL);
    ck_assert_int_eq(state_lost_telling_open(harness.state, above, &telling), STATUS_OK);
    for (; more; count++) {
        enum status status;
        while ((status = state_lost_telling_step(telling, &wait, body, &size, &more)) ==
               STATUS_AGAIN)
            backend_turn(harness.backend);
        ck_assert_int_eq(status, STATUS_OK);
        ck_assert_int_eq(harness_apply(&harness, ENTRY_LOST, bytes_of(body, size)).status,
                         STATUS_OK);
    }
    state_lost_telling_close(telling);
    return count;
}

static uint64_t first_told;

/* Every third was refused. */
static enum status as_committed(uint64_t version)
{
    return (version - first_told) % 3 == 2 ? STATUS_CONDITION_FAILED : STATUS_OK;
}

static void commit_some(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct txn txn;
        txn_begin(&harness, &txn);
        txn_put(&txn, "orders", "key", "value", 0);
        uint64_t version = harness_next_version(&harness);
        if (as_committed(version) != STATUS_OK)
            txn_condition(&txn, STRAIT__CONDITION__KIND__ABSENT, "orders", "key");
        ck_assert_int_eq(txn_commit(&harness, &txn).status, as_committed(version));
    }
}

/* What they had come to is told before it is given up, twice where it was cut short, and goes with
 * the report. */
START_TEST(test_what_they_had_come_to)
{
    uint8_t body[state_lost_body_size];
    set_up();
    first_told = harness_next_version(&harness);
    commit_some(30);
    uint64_t kept = state_facts(harness.state).position.version;
    commit_some(5000);
    ck_assert_uint_eq(tell(kept), 2);
    reopen();
    ck_assert_uint_eq(tell(kept), 2);
    told_status = as_committed;
    file(harness.index + 9000, kept + 1, 5000, 30);
    uint64_t id = harness.index - 5000 + 9000;
    step_with(id, NULL, 0, true);
    reopen();
    (void)expect_pages(id, kept + 1, 5000, 30, 1000, 1 << 20);
    /* The next one is not told of. */
    file(id + 1, kept + 1, 3, 30);
    step_with(id + 1, NULL, 0, true);
    told_status = NULL;
    (void)expect_pages(id + 1, kept + 1, 3, 30, 1000, 1 << 20);
    ck_assert_uint_eq(keys_count(), 2 + 5000 + 5000 + 3);
    ck_assert_int_eq(close_report(id).status, STATUS_OK);
    unsigned count = 1;
    for (; state_lost_due(harness.state, body); count++) {
        ck_assert_int_eq(apply_lost(body).status, STATUS_OK);
        if (count % 4 == 0)
            reopen();
    }
    ck_assert_uint_ge(count, 10);
    ck_assert_uint_eq(keys_count(), 2 + 3);
    harness_close(&harness);
}
END_TEST

START_TEST(test_a_closed_report_is_not_read)
{
    struct state_lost_page page = {.id = 80, .size_max = 100};
    struct state_refusal refusal = {0};
    struct state_lost_walk *walk;
    struct state_view *view;
    struct arena arena;
    set_up();
    file(80, 10, 2, 40);
    step_with(80, NULL, 0, true);
    ck_assert_int_eq(close_report(80).status, STATUS_OK);
    arena_init(&arena, 4096, 1 << 20);
    ck_assert_int_eq(state_view_open(harness.state, UINT64_MAX, &view), STATUS_OK);
    ck_assert_int_eq(state_lost_walk_open(view, &page, &arena, &walk, &refusal), STATUS_NOT_FOUND);
    ck_assert(refusal.text[0] != 0);
    page.id = 81;
    ck_assert_int_eq(state_lost_walk_open(view, &page, &arena, &walk, &refusal), STATUS_NOT_FOUND);
    ck_assert(walk == NULL);
    state_view_close(view);
    arena_free(&arena);
    harness_close(&harness);
}
END_TEST

/* The oldest that is closed and emptied makes room; an open one never does. */
START_TEST(test_reports_are_bounded)
{
    set_up();
    for (uint64_t id = 1; id <= lost_reports_max; id++) {
        file(id, id, 1, 10);
        step_with(id, NULL, 0, true);
    }
    ck_assert_int_eq(close_report(5).status, STATUS_OK);
    file(5000, 9000, 1, 10);
    step_with(5000, NULL, 0, true);
    for (int again = 0; again < 2; again++) {
        struct state_lost_report report;
        ck_assert_uint_eq(report_at(3).id, 4);
        ck_assert_uint_eq(report_at(4).id, 6);
        ck_assert(state_lost_report_at(harness.state, lost_reports_max - 1, &report));
        ck_assert_uint_eq(report.id, 5000);
        ck_assert(!state_lost_report_at(harness.state, lost_reports_max, &report));
        reopen();
    }
    harness_close(&harness);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_filed_and_read_by_pages);
    tcase_add_test(tests, test_a_tail_is_found_again);
    tcase_add_test(tests, test_the_largest_entry);
    tcase_add_test(tests, test_several_at_once);
    tcase_add_test(tests, test_closed_and_emptied);
    tcase_add_test(tests, test_what_they_had_come_to);
    tcase_add_test(tests, test_a_closed_report_is_not_read);
    tcase_add_test(tests, test_reports_are_bounded);
}
