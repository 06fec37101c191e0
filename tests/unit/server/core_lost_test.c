/* SPDX-License-Identifier: Apache-2.0 */
/* What a core answers of what was given up, and what it puts into its log about it. */
#include "proto/message.h"
#include "server/core_internal.h"
#include "server/state/state_internal.h"
#include "tests/unit/server/core_fixture.h"

enum { report_id = 100000 };

static struct core_fixture fixture;

static void set_up(void)
{
    core_fixture_begin(&fixture, 1);
    ck_assert_int_eq(core_fixture_open(&fixture), STATUS_OK);
    ck_assert_int_eq(core_fixture_create_table(&fixture, "t"), STATUS_OK);
}

static void tear_down(void)
{
    core_fixture_close(&fixture);
    core_fixture_end(&fixture);
}

static enum status ask(struct core_ask *ask, enum frame_type type, const ProtobufCMessage *message)
{
    core_fixture_ask(&fixture, ask, type, message);
    return core_fixture_wait(&fixture, ask);
}

/* ---- A report ---- */

static struct entry given_up(uint64_t version, uint8_t *body, size_t size)
{
    memset(body, (int)('a' + version % 26), size);
    return (struct entry){.kind = ENTRY_COMMIT,
                          .epoch_number = 1,
                          .epoch_region = 1,
                          .version = version,
                          .log_time_ns = 1000 + version,
                          .identity = bytes_of_text("shop"),
                          .body = bytes_of(body, size)};
}

/* Applies an entry of the log's in place of the core, and files with it, as a rewind does. */
static void file(uint64_t version, size_t size, bool finishes)
{
    struct core *core = fixture.core;
    uint8_t nothing[state_lost_body_size];
    struct log_committed committed;
    struct state_result result;
    enum status status;

    state_lost_close_encode(1, nothing);
    const struct log_proposal proposal = {.kind = ENTRY_LOST,
                                          .body = bytes_of(nothing, sizeof nothing)};
    ck_assert_int_eq(replicated_log_propose(core->log, &proposal), STATUS_OK);
    for (replicated_log_turn(core->log); !replicated_log_take(core->log, &committed);
         replicated_log_turn(core->log))
        io_turn(fixture.io, true);
    ck_assert_int_eq(committed.entry.kind, ENTRY_LOST);
    state_apply_start(core->state, committed.index, committed.term, &committed.entry);
    uint8_t *body = malloc(size + 1);
    ck_assert(body != NULL);
    if (size != 0) {
        const struct entry entry = given_up(version, body, size);
        lost_file(&core->state->apply, report_id, &entry);
    }
    if (finishes)
        lost_finish(&core->state->apply, report_id, (struct epoch){.number = 3, .region = 2});
    while ((status = state_apply_step(core->state, &result)) == STATUS_BUSY)
        core_fixture_turn(&fixture);
    ck_assert_int_eq(status, STATUS_OK);
    free(body);
    replicated_log_applied(core->log, committed.index);
}

static void file_report(unsigned count, size_t size)
{
    for (unsigned i = 0; i < count; i++)
        file(41 + i, size, false);
    file(0, 0, true);
}

static uint64_t reports_count(bool *closed)
{
    Strait__RegionLostList request = STRAIT__REGION_LOST_LIST__INIT;
    struct core_ask asked;
    ck_assert_int_eq(ask(&asked, FRAME_REGION_LOST_LIST, &request.base), STATUS_OK);
    const Strait__RegionLostListReply *reply = (const void *)asked.message;
    size_t count = reply->n_reports;
    *closed = count != 0 && reply->reports[0]->closed;
    if (count != 0)
        ck_assert_uint_eq(reply->reports[0]->id, report_id);
    core_ask_free(&asked);
    return count;
}

/* Reads all of the report, and returns how many pages that took. */
static unsigned read_report(unsigned count, size_t size, uint32_t entries_max)
{
    Strait__RegionLostRead request = STRAIT__REGION_LOST_READ__INIT;
    unsigned pages_count = 0;
    unsigned seen = 0;
    uint8_t *body = malloc(size);

    ck_assert(body != NULL);
    request.id = report_id;
    request.entries_max = entries_max;
    for (bool more = true; more; pages_count++) {
        struct core_ask asked;
        ck_assert_int_eq(ask(&asked, FRAME_REGION_LOST_READ, &request.base), STATUS_OK);
        const Strait__RegionLostReadReply *reply = (const void *)asked.message;
        ck_assert(entries_max == 0 || reply->n_entries <= entries_max);
        ck_assert_uint_gt(reply->n_entries, 0);
        for (size_t i = 0; i < reply->n_entries; i++, seen++) {
            const struct entry expected = given_up(41 + seen, body, size);
            struct entry entry;
            ck_assert_int_eq(entry_decode(bytes_of_field(reply->entries[i]->entry), &entry),
                             STATUS_OK);
            ck_assert(bytes_equal(entry.body, expected.body));
            ck_assert(!reply->entries[i]->has_outcome);
            request.after_epoch_number = entry.epoch_number;
            request.after_epoch_region = entry.epoch_region;
            request.after_version = entry.version;
        }
        more = reply->more;
        core_ask_free(&asked);
    }
    ck_assert_uint_eq(seen, count);
    free(body);
    return pages_count;
}

static enum status close_report(uint64_t id)
{
    Strait__RegionLostClose request = STRAIT__REGION_LOST_CLOSE__INIT;
    struct core_ask asked;
    request.id = id;
    enum status status = ask(&asked, FRAME_REGION_LOST_CLOSE, &request.base);
    core_ask_free(&asked);
    return status;
}

START_TEST(test_nothing_was_given_up)
{
    Strait__RegionLostRead request = STRAIT__REGION_LOST_READ__INIT;
    struct core_ask asked;
    bool closed;
    set_up();
    ck_assert_uint_eq(reports_count(&closed), 0);
    request.id = 5;
    ck_assert_int_eq(ask(&asked, FRAME_REGION_LOST_READ, &request.base), STATUS_NOT_FOUND);
    ck_assert(asked.refusal->text[0] != 0);
    core_ask_free(&asked);
    ck_assert_int_eq(close_report(5), STATUS_NOT_FOUND);
    tear_down();
}
END_TEST

START_TEST(test_a_report_is_read_and_closed)
{
    uint8_t body[state_lost_body_size];
    Strait__RegionLostRead request = STRAIT__REGION_LOST_READ__INIT;
    struct core_ask asked;
    bool closed;
    set_up();
    file_report(1500, 200);
    ck_assert_uint_eq(reports_count(&closed), 1);
    ck_assert(!closed);
    ck_assert_uint_eq(read_report(1500, 200, 400), 4);
    ck_assert_uint_eq(read_report(1500, 200, 0), 2); /* limit_lost_entries_count a page */
    ck_assert_int_eq(close_report(report_id), STATUS_OK);
    ck_assert_int_eq(close_report(report_id), STATUS_OK);
    /* The leader empties it, entry by entry of the log. */
    while (state_lost_due(fixture.core->state, body))
        core_fixture_turn(&fixture);
    ck_assert_uint_eq(reports_count(&closed), 1);
    ck_assert(closed);
    request.id = report_id;
    ck_assert_int_eq(ask(&asked, FRAME_REGION_LOST_READ, &request.base), STATUS_NOT_FOUND);
    core_ask_free(&asked);
    /* And it goes on. */
    ck_assert_int_eq(core_fixture_put(&fixture, "t", "k", "v", NULL), STATUS_OK);
    core_fixture_close(&fixture);
    ck_assert_int_eq(core_fixture_open(&fixture), STATUS_OK);
    ck_assert_uint_eq(reports_count(&closed), 1);
    ck_assert(closed);
    tear_down();
}
END_TEST

START_TEST(test_large_entries_come_one_at_a_time)
{
    set_up();
    file_report(3, limit_txn_size);
    ck_assert_uint_eq(read_report(3, limit_txn_size, 0), 3);
    tear_down();
}
END_TEST

/* ---- Telling ---- */

/* The status that is told of a version; -1: nothing is. */
static int told_of(uint64_t version)
{
    struct core *core = fixture.core;
    uint8_t key[lost_outcome_key_size];
    struct lsm_value value;
    struct lsm_view *view;
    struct lsm_wait wait;
    enum status status;
    ck_assert_uint_ne(core->state->lost.telling_id, 0);
    lost_outcome_key(core->state->lost.telling_id, version, key);
    ck_assert_int_eq(lsm_view_open(core->lsm, UINT64_MAX, &view), STATUS_OK);
    lsm_wait_init(&wait, NULL, NULL);
    status = lsm_get(view, &wait, STATE_TREE_LOST, bytes_of(key, sizeof key), &value);
    ck_assert(status == STATUS_OK || status == STATUS_NOT_FOUND);
    int told = status == STATUS_OK ? load_u16(value.value.data) : -1;
    lsm_view_close(view);
    return told;
}

START_TEST(test_what_commits_came_to_is_told_once_a_term)
{
    uint64_t kept;
    uint64_t version = 0;
    enum status status;
    set_up();
    ck_assert_int_eq(core_fixture_put(&fixture, "t", "k", "v", &kept), STATUS_OK);
    ck_assert_int_eq(core_fixture_put(&fixture, "t", "k", "w", &version), STATUS_OK);
    ck_assert_int_eq(core_fixture_put(&fixture, "none", "k", "v", NULL), STATUS_NO_TABLE);
    unsigned turns = 0;
    for (; (status = core_lost_tell(fixture.core, kept)) == STATUS_AGAIN; turns++)
        core_fixture_turn(&fixture);
    ck_assert_int_eq(status, STATUS_OK);
    ck_assert_uint_gt(turns, 0);
    ck_assert_int_eq(told_of(kept), -1);
    ck_assert_int_eq(told_of(version), STATUS_OK);
    ck_assert_int_eq(told_of(version + 1), STATUS_NO_TABLE);
    ck_assert_int_eq(core_lost_tell(fixture.core, kept), STATUS_OK);
    /* Of another version, or after a start, it is told anew. */
    ck_assert_int_eq(core_lost_tell(fixture.core, kept - 1), STATUS_AGAIN);
    core_fixture_close(&fixture);
    ck_assert_int_eq(core_fixture_open(&fixture), STATUS_OK);
    ck_assert_int_eq(core_fixture_put(&fixture, "t", "k", "x", NULL), STATUS_OK);
    while ((status = core_lost_tell(fixture.core, kept - 1)) == STATUS_AGAIN)
        core_fixture_turn(&fixture);
    ck_assert_int_eq(status, STATUS_OK);
    ck_assert_int_eq(told_of(kept), STATUS_OK);
    tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_nothing_was_given_up);
    tcase_add_test(tests, test_a_report_is_read_and_closed);
    tcase_add_test(tests, test_large_entries_come_one_at_a_time);
    tcase_add_test(tests, test_what_commits_came_to_is_told_once_a_term);
}
