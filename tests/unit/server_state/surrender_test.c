/* SPDX-License-Identifier: Apache-2.0 */
/* A tail that nothing leads back from is filed from the log and surrendered; what was not filed is
 * said as a range; and only then any checkpoint of the other history is adopted. */
#include "server/state/surrender.h"

#include "server/state/lost.h"
#include "tests/unit/server_state/backend_real.h"
#include "tests/unit/server_state/harness.h"

enum { tail_max = 32 };

static const struct epoch first_epoch = {.number = 1, .region = 7};
static const struct epoch next_epoch = {.number = 3, .region = 8};

static struct harness harness;
static uint64_t shared_version;
static struct bytes tail[tail_max]; /* entries, as they stood in the log */
static unsigned tail_count;
static uint8_t body[state_filing_size_max];
static struct state_filing filing;

/* A commit of about so many bytes. */
static void commit(size_t size)
{
    struct txn txn;
    char *value = malloc(size + 1);
    ck_assert_ptr_nonnull(value);
    memset(value, 'v', size);
    value[size] = 0;
    txn_begin(&harness, &txn);
    (void)txn_put(&txn, "t", "k", value, 0);
    struct bytes encoded = txn_encode(&txn);
    const struct entry entry = {.kind = ENTRY_COMMIT,
                                .version = harness_next_version(&harness),
                                .epoch_number = first_epoch.number,
                                .epoch_region = first_epoch.region,
                                .log_time_ns = ++harness.time_ns,
                                .body = encoded};
    uint8_t *bytes = malloc(entry_size(&entry));
    ck_assert_ptr_nonnull(bytes);
    entry_encode(&entry, bytes);
    tail[tail_count++] = bytes_of(bytes, entry_size(&entry));
    ck_assert(harness_apply_entry(&harness, ++harness.index, &entry).versioned);
    free((void *)(uintptr_t)encoded.data);
    free(value);
}

/* So many small ones behind what is shared, and the fence. */
static void set_up(unsigned count)
{
    tail_count = 0;
    harness_open_on(&harness, backend_open(1, 64 << 10, 16 << 20, 20));
    harness_table(&harness, "t");
    shared_version = state_position(harness.state).version;
    for (unsigned i = 0; i < count; i++)
        commit(100);
}

static void tear_down(void)
{
    for (unsigned i = 0; i < tail_count; i++)
        free((void *)(uintptr_t)tail[i].data);
    harness_close(&harness);
}

static void fence(void)
{
    ck_assert_int_eq(harness_fence(&harness, 7, next_epoch).status, STATUS_OK);
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

static enum status apply_filing(void)
{
    return harness_apply(&harness, ENTRY_LOST, bytes_of(body, filing.size)).status;
}

/* Files whole entries, as many with each of the log's entries as there is room for. */
static void file(unsigned from, unsigned to)
{
    unsigned part = 0;
    state_filing_begin(&filing, body);
    while (from < to) {
        if (state_filing_add(&filing, tail[from], &part)) {
            from += part == 0;
            continue;
        }
        ck_assert_int_eq(apply_filing(), STATUS_OK);
        state_filing_begin(&filing, body);
    }
    ck_assert_int_eq(apply_filing(), STATUS_OK);
}

static enum status surrender(uint64_t version)
{
    uint8_t bytes[state_surrender_size];
    const struct rewind rewind = {.to = next_epoch, .from = first_epoch, .version = version};
    state_surrender_encode(&rewind, bytes);
    return harness_apply(&harness, ENTRY_LOST, bytes_of(bytes, sizeof bytes)).status;
}

static struct state_lost_report report_at(size_t place)
{
    struct state_lost_report report;
    ck_assert(state_lost_report_at(harness.state, place, &report));
    return report;
}

/* A report's entries, of one page, are those of the tail. */
static void expect_entries(uint64_t id, unsigned from, unsigned count)
{
    struct state_lost_page page = {.id = id, .size_max = 64 << 20};
    const struct state_lost_entry *entries;
    struct state_refusal refusal = {0};
    struct state_lost_walk *walk;
    struct state_view *view;
    struct lsm_wait wait;
    struct arena arena;
    enum status status;
    size_t found;
    bool more;

    arena_init(&arena, 4096, 64 << 20);
    lsm_wait_init(&wait, harness_no_wait, NULL);
    ck_assert_int_eq(state_view_open(harness.state, UINT64_MAX, &view), STATUS_OK);
    ck_assert_int_eq(state_lost_walk_open(view, &page, &arena, &walk, &refusal), STATUS_OK);
    while ((status = state_lost_walk_step(walk, &wait, &entries, &found, &more)) == STATUS_AGAIN)
        backend_turn(harness.backend);
    ck_assert_int_eq(status, STATUS_OK);
    ck_assert(!more);
    ck_assert_uint_eq(found, count);
    for (unsigned i = 0; i < count; i++)
        ck_assert(bytes_equal(entries[i].bytes, tail[from + i]));
    state_lost_walk_close(walk);
    state_view_close(view);
    arena_free(&arena);
}

static bool adoption_is_due(struct epoch epoch, uint64_t version)
{
    const struct adoption adoption = {.epoch = epoch, .version = version, .id = {.low = 5}};
    return state_adoption_is_due(harness.state, &adoption);
}

START_TEST(test_filed_and_surrendered)
{
    struct epoch epoch;
    uint64_t version;

    set_up(20);
    fence();
    ck_assert(!state_filed(harness.state, &epoch, &version));
    file(0, 7);
    ck_assert(state_filed(harness.state, &epoch, &version));
    ck_assert_uint_eq(version, shared_version + 7);
    struct state_lost_report none;
    ck_assert(!state_lost_report_at(harness.state, 0, &none));
    /* Another leader goes on, and says some of it again. */
    reopen();
    file(3, 20);
    ck_assert(!state_is_surrendered(harness.state));
    ck_assert(!adoption_is_due(next_epoch, shared_version + 2));
    struct hash128 chain = state_chain(harness.state);
    ck_assert_int_eq(surrender(shared_version), STATUS_OK);
    struct hash128 after = state_chain(harness.state);
    ck_assert_mem_eq(&chain, &after, sizeof chain);
    for (int again = 0; again < 2; again++) {
        struct state_lost_report report = report_at(0);
        ck_assert_uint_eq(report.first_version, shared_version + 1);
        ck_assert_uint_eq(report.last_version, shared_version + 20);
        ck_assert_uint_eq(report.count, 20);
        ck_assert_uint_eq(report.unlisted_first, 0);
        ck_assert(epoch_equal(report.next, next_epoch));
        ck_assert(epoch_equal(report.epoch, first_epoch));
        expect_entries(report.id, 0, 20);
        ck_assert(state_is_surrendered(harness.state));
        reopen();
    }
    /* Once. */
    ck_assert_int_eq(surrender(shared_version), STATUS_CONFLICT);
    state_filing_begin(&filing, body);
    ck_assert_int_eq(apply_filing(), STATUS_CONFLICT);
    ck_assert(!state_lost_report_at(harness.state, 1, &none));
    tear_down();
}
END_TEST

/* Large ones are filed in parts, with a start in between, and begun anew by another leader. */
START_TEST(test_large_entries)
{
    unsigned part = 0;

    set_up(2);
    commit(900 * 1000);
    commit(lost_part_size);
    commit(50);
    fence();
    file(0, 2);
    for (unsigned i = 0; i < 2; i++) {
        state_filing_begin(&filing, body);
        ck_assert(state_filing_add(&filing, tail[2], &part));
        ck_assert_uint_eq(part, i + 1);
        ck_assert_int_eq(apply_filing(), STATUS_OK);
        reopen();
    }
    part = 3; /* one that is left out: it is passed over */
    state_filing_begin(&filing, body);
    ck_assert(state_filing_add(&filing, tail[2], &part));
    ck_assert_int_eq(apply_filing(), STATUS_OK);
    file(2, 5);
    ck_assert_int_eq(surrender(shared_version), STATUS_OK);
    ck_assert_uint_eq(report_at(0).count, 5);
    ck_assert_uint_eq(report_at(0).unlisted_first, 0);
    expect_entries(report_at(0).id, 0, 5);
    tear_down();
}
END_TEST

/* A large one that cannot be ended is none of the report, which says so. */
START_TEST(test_what_is_cut_short_is_not_listed)
{
    unsigned part = 0;

    set_up(1);
    commit(900 * 1000);
    commit(50);
    fence();
    file(0, 1);
    state_filing_begin(&filing, body);
    ck_assert(state_filing_add(&filing, tail[1], &part));
    ck_assert_int_eq(apply_filing(), STATUS_OK);
    reopen();
    file(2, 3);
    ck_assert_int_eq(surrender(shared_version), STATUS_OK);
    reopen();
    struct state_lost_report report = report_at(0);
    ck_assert_uint_eq(report.count, 2);
    ck_assert_uint_eq(report.first_version, shared_version + 1);
    ck_assert_uint_eq(report.unlisted_first, shared_version + 1);
    ck_assert_uint_eq(report.unlisted_last, shared_version + 2);
    ck_assert_uint_eq(report.last_version, shared_version + 3);
    tear_down();
}
END_TEST

/* Two leaders begin a large one, the second one anew, and none ends it: nothing of it stays. */
START_TEST(test_what_is_begun_twice_leaves_nothing)
{
    static const unsigned parts[] = {0, 1, 0};

    set_up(2);
    commit(900 * 1000);
    fence();
    file(0, 2);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        unsigned part = parts[i];
        state_filing_begin(&filing, body);
        ck_assert(state_filing_add(&filing, tail[2], &part));
        ck_assert_uint_eq(part, parts[i] + 1);
        ck_assert_int_eq(apply_filing(), STATUS_OK);
    }
    ck_assert_int_eq(surrender(shared_version), STATUS_OK);
    for (int again = 0; again < 2; again++) {
        ck_assert_uint_eq(report_at(0).count, 2);
        expect_entries(report_at(0).id, 0, 2);
        reopen();
    }
    tear_down();
}
END_TEST

/* What the log lacks at its beginning, or all of it, is said as a range. */
START_TEST(test_what_is_not_there_is_a_range)
{
    set_up(20);
    fence();
    file(12, 20);
    ck_assert_int_eq(surrender(shared_version), STATUS_OK);
    reopen();
    struct state_lost_report report = report_at(0);
    ck_assert_uint_eq(report.first_version, shared_version + 1);
    ck_assert_uint_eq(report.last_version, shared_version + 20);
    ck_assert_uint_eq(report.count, 8);
    ck_assert_uint_eq(report.unlisted_first, shared_version + 1);
    ck_assert_uint_eq(report.unlisted_last, shared_version + 12);
    expect_entries(report.id, 12, 8);
    tear_down();

    set_up(5);
    fence();
    ck_assert_int_eq(surrender(shared_version + 2), STATUS_OK);
    reopen();
    report = report_at(0);
    ck_assert_uint_eq(report.count, 0);
    ck_assert_uint_eq(report.unlisted_first, shared_version + 3);
    ck_assert_uint_eq(report.unlisted_last, shared_version + 5);
    ck_assert_uint_eq(report.last_version, shared_version + 5);
    ck_assert(epoch_equal(report.epoch, first_epoch));
    expect_entries(report.id, 0, 0);
    tear_down();
}
END_TEST

START_TEST(test_not_without_a_fence)
{
    struct state_lost_report none;

    set_up(5);
    state_filing_begin(&filing, body);
    ck_assert_int_eq(apply_filing(), STATUS_CONFLICT);
    ck_assert_int_eq(surrender(shared_version), STATUS_CONFLICT);
    fence();
    ck_assert_int_eq(surrender(shared_version + 5), STATUS_CONFLICT); /* there is nothing above */
    ck_assert_int_eq(surrender(shared_version + 6), STATUS_CONFLICT);
    ck_assert(!state_is_surrendered(harness.state));
    ck_assert(!state_lost_report_at(harness.state, 0, &none));
    tear_down();
}
END_TEST

/* From then on any checkpoint of the other history is waited for, and no rewind comes any more; the
 * state that has one is surrendered no longer. */
START_TEST(test_an_adoption_follows)
{
    uint8_t bytes[adoption_size];
    struct adoption stands;

    set_up(20);
    fence();
    const struct rewind rewind = {.to = next_epoch, .from = first_epoch, .version = shared_version};
    ck_assert(state_rewind_is_possible(harness.state, &rewind));
    file(0, 20);
    ck_assert_int_eq(surrender(shared_version), STATUS_OK);
    ck_assert(!state_rewind_is_possible(harness.state, &rewind));
    ck_assert(!adoption_is_due(first_epoch, shared_version + 100));
    ck_assert(adoption_is_due(next_epoch, shared_version + 1));
    ck_assert(adoption_is_due((struct epoch){.number = 4, .region = 9}, shared_version));
    const struct adoption adoption = {
        .epoch = next_epoch, .version = shared_version + 2, .id = {.low = 5}};
    adoption_encode(&adoption, bytes);
    ck_assert_int_eq(harness_apply(&harness, ENTRY_ADOPT, bytes_of(bytes, sizeof bytes)).status,
                     STATUS_OK);
    ck_assert(state_is_adopting(harness.state) && !state_is_surrendered(harness.state));
    reopen();
    state_adoption(harness.state, &stands);
    ck_assert_uint_eq(stands.version, shared_version + 2);
    ck_assert_uint_eq(report_at(0).count, 20);
    tear_down();
}
END_TEST

/* It is promoted with the tail all the same. */
START_TEST(test_promoted_all_the_same)
{
    struct epoch_change change;

    set_up(3);
    fence();
    file(0, 3);
    ck_assert_int_eq(surrender(shared_version), STATUS_OK);
    state_epoch_next(harness.state, EPOCH_PROMOTE, 7, &change);
    ck_assert(harness_change(&harness, &change).versioned);
    ck_assert(!state_is_surrendered(harness.state));
    ck_assert(!adoption_is_due(next_epoch, shared_version + 100));
    reopen();
    ck_assert(!state_is_surrendered(harness.state));
    tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_filed_and_surrendered);
    tcase_add_test(tests, test_large_entries);
    tcase_add_test(tests, test_what_is_cut_short_is_not_listed);
    tcase_add_test(tests, test_what_is_begun_twice_leaves_nothing);
    tcase_add_test(tests, test_what_is_not_there_is_a_range);
    tcase_add_test(tests, test_not_without_a_fence);
    tcase_add_test(tests, test_an_adoption_follows);
    tcase_add_test(tests, test_promoted_all_the_same);
}
