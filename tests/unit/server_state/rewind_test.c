/* SPDX-License-Identifier: Apache-2.0 */
/* A state that gives up a tail becomes what one is that never had it: the same log is applied by
 * both, but for the tail. The one that rewinds is cut off at random while it does. */
#include "server/state/rewind.h"

#include "tests/unit/server_state/backend_real.h"
#include "tests/unit/server_state/harness.h"

enum { region_own = 7, region_other = 9, log_max = 4000, keys_count = 40 };

struct logged {
    struct entry entry;
    uint8_t *bytes;
};

static struct generator generator;
static struct harness had;   /* which had the tail */
static struct harness never; /* which never had it */
static struct logged entries[log_max];
static uint64_t last;       /* of the log of `had` */
static uint64_t tail_taken; /* entries that took a version, and are to be given up */
static struct lsm_mark checkpoint;

static const struct epoch first_epoch = {.number = 1, .region = region_own};
static const struct epoch next_epoch = {.number = 3, .region = region_other};

/* Keeps the entry, and has `had` apply it. */
static struct state_result append(const struct entry *entry)
{
    struct logged *logged = &entries[++last];
    ck_assert_uint_lt(last, log_max);
    logged->bytes = malloc(entry_size(entry));
    ck_assert_ptr_nonnull(logged->bytes);
    entry_encode(entry, logged->bytes);
    ck_assert_int_eq(entry_decode(bytes_of(logged->bytes, entry_size(entry)), &logged->entry),
                     STATUS_OK);
    had.index = last;
    return harness_apply_entry(&had, last, &logged->entry);
}

static struct state_result append_kind(enum entry_kind kind, struct bytes body)
{
    struct epoch epoch = state_epoch(had.state);
    struct entry entry = {.kind = kind, .log_time_ns = ++had.time_ns, .body = body};
    if (entry_kind_is_shared(kind)) {
        entry.version = harness_next_version(&had);
        entry.epoch_number = epoch.number;
        entry.epoch_region = epoch.region;
    }
    return append(&entry);
}

static struct bytes make_commit(char salt)
{
    struct txn txn;
    char keys[3][32];
    char value[24];

    txn_begin(&had, &txn);
    snprintf(value, sizeof value, "%c-%llu", salt, (unsigned long long)last);
    unsigned count = 1 + (unsigned)generator_below(&generator, 3);
    for (unsigned i = 0; i < count; i++) {
        snprintf(keys[i], sizeof keys[i], "key-%u-%u", i,
                 (unsigned)generator_below(&generator, keys_count));
        if (generator_chance(&generator, 1, 4))
            txn_delete(&txn, "t", keys[i]);
        else
            txn_put(&txn, "t", keys[i], value, 0);
    }
    return txn_encode(&txn);
}

static void append_commit(char salt)
{
    struct bytes body = make_commit(salt);
    (void)append_kind(ENTRY_COMMIT, body);
    free((void *)(uintptr_t)body.data);
}

static void append_noop(void)
{
    (void)append_kind(ENTRY_NOOP, (struct bytes){0});
}

static void append_tick(void)
{
    struct state_facts facts = state_facts(had.state);
    uint8_t body[state_tick_body_size_max];
    had.time_ns += HARNESS_SECOND_NS * generator_below(&generator, 5);
    uint64_t horizon = facts.position.version > 30 ? facts.position.version - 30 : facts.horizon;
    if (horizon < facts.horizon)
        horizon = facts.horizon;
    size_t size = state_tick_encode(horizon, 0, body);
    (void)append_kind(ENTRY_TICK, bytes_of(body, size));
}

static void append_some(unsigned count, char salt)
{
    for (unsigned i = 0; i < count; i++) {
        if (generator_chance(&generator, 1, 10))
            append_noop();
        else if (generator_chance(&generator, 1, 10))
            append_tick();
        else
            append_commit(salt);
    }
}

static void on_done(void *context, enum status status, const struct lsm_mark *mark)
{
    struct lsm_mark *found = context;
    ck_assert_int_eq(status, STATUS_OK);
    *found = *mark;
}

static void run_until_idle(struct harness *harness)
{
    while (!lsm_is_idle(harness->lsm))
        backend_turn(harness->backend);
}

static void take_checkpoint(void)
{
    lsm_checkpoint(had.lsm, "back", on_done, &checkpoint);
    run_until_idle(&had);
    ck_assert_uint_eq(checkpoint.index, last);
}

/* What the tables hold at the newest version, as replicas compare it. */
static void on_scrubbed(void *context, enum status status, uint64_t version, struct hash128 digest)
{
    (void)version;
    ck_assert_int_eq(status, STATUS_OK);
    *(struct hash128 *)context = digest;
}

static struct hash128 scrub(struct harness *harness)
{
    struct hash128 digest = {0};
    uint8_t key[state_floor_size_max];
    const struct lsm_scrub_floor floor = state_scrub_floor(harness->state, key);
    ck_assert_int_eq(lsm_scrub(harness->lsm, &floor, 1, on_scrubbed, &digest), STATUS_OK);
    lsm_seal(harness->lsm);
    run_until_idle(harness);
    return digest;
}

static void expect_same(void)
{
    struct state_facts a = state_facts(had.state);
    struct state_facts b = state_facts(never.state);
    ck_assert_uint_eq(a.position.version, b.position.version);
    ck_assert_uint_eq(a.position.epoch_number, b.position.epoch_number);
    ck_assert_uint_eq(a.position.log_time_ns, b.position.log_time_ns);
    ck_assert_mem_eq(&a.chain_digest, &b.chain_digest, sizeof a.chain_digest);
    ck_assert_uint_eq(a.horizon, b.horizon);
    ck_assert_uint_eq(a.outcomes_count, b.outcomes_count);
    ck_assert_uint_eq(a.tables_count, b.tables_count);
    struct hash128 a_digest = scrub(&had);
    struct hash128 b_digest = scrub(&never);
    ck_assert_mem_eq(&a_digest, &b_digest, sizeof a_digest);
}

/* The log up to where `had` is now, to `never`. */
static void never_follows(void)
{
    for (uint64_t i = never.index + 1; i <= last; i++)
        (void)harness_apply_entry(&never, ++never.index, &entries[i].entry);
}

static void append_fence(void)
{
    uint8_t body[fence_header_size];
    const struct fence fence = {.region = region_own, .epoch = next_epoch};
    fence_encode(&fence, body);
    (void)append_kind(ENTRY_FENCE, bytes_of(body, sizeof body));
}

static void set_up(uint64_t seed)
{
    generator_init(&generator, seed);
    last = 0;
    tail_taken = 0;
    harness_open_on(&had, backend_open(seed, 64 * 1024, 1 << 20, 50));
    harness_open_on(&never, backend_open(seed, 64 * 1024, 1 << 20, 50));
    had.index = never.index = last = 1; /* the tick of harness_open_on() */
    struct txn txn;
    txn_begin(&had, &txn);
    txn_table_create(&txn, "t");
    struct bytes body = txn_encode(&txn);
    (void)append_kind(ENTRY_COMMIT, body);
    free((void *)(uintptr_t)body.data);
}

static void tear_down(void)
{
    for (uint64_t i = 2; i <= last; i++)
        free(entries[i].bytes);
    harness_close(&had);
    harness_close(&never);
}

static void reopen(void)
{
    state_close(had.state);
    lsm_close(had.lsm);
    backend_lsm_open(had.backend);
    had.lsm = backend_lsm(had.backend);
    harness_state_open(&had);
}

/* As the owner does it. */
static void go_back(const struct rewind *rewind, uint64_t index)
{
    struct lsm_mark mark;
    struct lsm_mark installed = {0};
    ck_assert_int_eq(state_rewind_mark(&checkpoint, rewind, index, &mark), STATUS_OK);
    state_close(had.state);
    lsm_restore(had.lsm, "back", &mark, on_done, &installed);
    run_until_idle(&had);
    ck_assert_uint_eq(installed.index, checkpoint.index);
    had.backend->mark = mark;
    harness_state_open(&had);
}

/* Applies the log from the checkpoint on again; returns how many entries were given up. */
static uint64_t replay(uint64_t until)
{
    uint64_t given_up = 0;
    uint64_t counted = 0; /* up to here */
    for (;;) {
        uint64_t index = state_facts(had.state).applied_index + 1;
        if (index > until)
            break;
        ck_assert(state_is_rewinding(had.state));
        struct state_result result = harness_apply_entry(&had, index, &entries[index].entry);
        ck_assert(!result.given_up || !result.versioned);
        ck_assert_int_eq(result.rewound, index == until);
        if (index > counted) {
            given_up += result.given_up;
            counted = index;
        }
        if (generator_chance(&generator, 1, 40))
            reopen();
        else if (generator_chance(&generator, 1, 20))
            lsm_seal(had.lsm);
        else if (generator_chance(&generator, 1, 5))
            run_until_idle(&had);
    }
    return given_up;
}

static void append_new_history(const struct epoch_change *change)
{
    static uint8_t body[epoch_change_size_max];
    struct entry entry = harness_change_entry(&had, change, body);
    struct state_result result = append(&entry);
    ck_assert(result.versioned);
    append_some(100, 'n');
}

/* A tail of commits and ticks; in some runs also of a table, and of a grant that never left. */
static void append_tail(bool grants)
{
    uint64_t before = state_facts(had.state).position.version;
    append_some(1 + (unsigned)generator_below(&generator, 200), 't');
    if (generator_chance(&generator, 1, 2)) {
        struct txn txn;
        txn_begin(&had, &txn);
        txn_table_create(&txn, "of-the-tail");
        struct bytes body = txn_encode(&txn);
        (void)append_kind(ENTRY_COMMIT, body);
        free((void *)(uintptr_t)body.data);
    }
    if (grants) {
        static uint8_t body[epoch_change_size_max];
        struct epoch_change change;
        state_epoch_next(had.state, EPOCH_GRANT, region_other, &change);
        struct entry entry = harness_change_entry(&had, &change, body);
        ck_assert(append(&entry).versioned);
    }
    tail_taken = state_facts(had.state).position.version - before;
    append_fence();
    /* They were proposed before that was known, and are discarded. */
    for (unsigned i = 0; i < 3; i++) {
        struct bytes body = make_commit('f');
        struct entry entry = {.kind = ENTRY_COMMIT,
                              .version = harness_next_version(&had) + i,
                              .epoch_number = first_epoch.number,
                              .epoch_region = first_epoch.region,
                              .log_time_ns = ++had.time_ns,
                              .body = body};
        ck_assert(!append(&entry).versioned);
        free((void *)(uintptr_t)body.data);
    }
}

/* All that was taken and given up, and nothing else, stands in the report. */
static void expect_report(uint64_t id, uint64_t first_version)
{
    struct state_lost_report report;
    ck_assert(state_lost_report_at(had.state, 0, &report));
    ck_assert_uint_eq(report.id, id);
    ck_assert_uint_eq(report.count, tail_taken);
    ck_assert_uint_eq(report.first_version, first_version);
    ck_assert_uint_eq(report.last_version, first_version + tail_taken - 1);
    ck_assert(epoch_equal(report.next, next_epoch));
    ck_assert(!state_lost_report_at(had.state, 1, &report));
}

START_TEST(test_a_tail_is_given_up)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        uint8_t body[rewind_size];
        struct epoch_change change;
        struct rewind due;

        set_up(seed);
        append_some(100 + (unsigned)generator_below(&generator, 200), 'a');
        take_checkpoint();
        append_some((unsigned)generator_below(&generator, 200), 'b');
        never_follows();
        const struct rewind rewind = {.to = next_epoch,
                                      .from = first_epoch,
                                      .version = state_facts(had.state).position.version};
        state_epoch_next(had.state, EPOCH_PROMOTE, region_other, &change);
        ck_assert(epoch_equal(change.to, next_epoch));
        append_tail(seed % 3 == 0);

        rewind_encode(&rewind, body);
        const struct entry entry = {.kind = ENTRY_REWIND,
                                    .log_time_ns = ++had.time_ns,
                                    .body = bytes_of(body, rewind_size)};
        ck_assert(state_rewind_is_due(had.state, &entry, &due));
        ck_assert_uint_eq(due.version, rewind.version);
        entries[++last].bytes = malloc(entry_size(&entry));
        entry_encode(&entry, entries[last].bytes);
        ck_assert_int_eq(
            entry_decode(bytes_of(entries[last].bytes, entry_size(&entry)), &entries[last].entry),
            STATUS_OK);
        go_back(&rewind, last);
        ck_assert_uint_eq(replay(last), tail_taken);
        ck_assert(!state_is_rewinding(had.state));
        expect_report(last, rewind.version + 1);
        ck_assert_uint_eq(state_rewind_index(had.state), last);
        ck_assert(epoch_equal(state_fence(had.state), next_epoch));
        never.index = last;
        /* The other one's log has the same indexes, as if nothing were in them. */
        uint64_t at = state_facts(never.state).applied_index;
        for (const struct entry noop = {.kind = ENTRY_NOOP}; at < last;)
            (void)harness_apply_entry(&never, ++at, &noop);
        expect_same();
        append_new_history(&change);
        never_follows();
        expect_same();
        ck_assert_uint_eq(state_fence(had.state).number, 0);
        reopen();
        for (uint64_t i = state_facts(had.state).applied_index + 1; i <= last; i++)
            (void)harness_apply_entry(&had, i, &entries[i].entry);
        expect_same();
        ck_assert(state_position_check(had.state, first_epoch, rewind.version + 1) ==
                  STATUS_HISTORY_LOST);
        tear_down();
    }
}
END_TEST

static struct state_result append_rewind(const struct rewind *rewind)
{
    uint8_t body[rewind_size];
    rewind_encode(rewind, body);
    return append_kind(ENTRY_REWIND, bytes_of(body, sizeof body));
}

/* Without a fence, of an epoch that is not known, or with nothing to give up, it changes nothing.
 */
START_TEST(test_one_that_is_not_due_changes_nothing)
{
    set_up(5);
    append_some(50, 'a');
    struct state_facts before = state_facts(had.state);
    struct rewind rewind = {
        .to = next_epoch, .from = first_epoch, .version = before.position.version - 5};
    ck_assert_int_eq(append_rewind(&rewind).status, STATUS_OK);
    append_fence();
    rewind.to.number++;
    ck_assert_int_eq(append_rewind(&rewind).status, STATUS_OK);
    rewind.to = next_epoch;
    rewind.version = before.position.version;
    ck_assert_int_eq(append_rewind(&rewind).status, STATUS_OK);
    rewind.version++;
    ck_assert_int_eq(append_rewind(&rewind).status, STATUS_OK);
    rewind.version = 3;
    rewind.from.region++;
    ck_assert_int_eq(append_rewind(&rewind).status, STATUS_OK);
    struct state_facts after = state_facts(had.state);
    ck_assert_uint_eq(after.position.version, before.position.version);
    ck_assert_mem_eq(&after.chain_digest, &before.chain_digest, sizeof after.chain_digest);
    ck_assert_uint_eq(state_rewind_index(had.state), 0);
    rewind.from = first_epoch;
    ck_assert(state_rewind_is_possible(had.state, &rewind));
    tear_down();
}
END_TEST

/* Too new, of the entry itself, or from before another rewind. */
START_TEST(test_checkpoints_that_will_not_do)
{
    struct lsm_mark mark;
    struct rewind rewind = {.to = next_epoch, .from = first_epoch};

    set_up(6);
    append_some(50, 'a');
    take_checkpoint();
    rewind.version = checkpoint.version - 1;
    ck_assert_int_eq(state_rewind_mark(&checkpoint, &rewind, last + 1, &mark),
                     STATUS_INVALID_ARGUMENT);
    rewind.version = checkpoint.version;
    ck_assert_int_eq(state_rewind_mark(&checkpoint, &rewind, last, &mark), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(state_rewind_mark(&checkpoint, &rewind, last + 1, &mark), STATUS_OK);
    struct state_mark_facts facts;
    ck_assert_int_eq(state_mark_look(&mark, &facts), STATUS_OK);
    ck_assert(facts.is_rewinding);
    ck_assert_uint_eq(facts.rewind_index, last + 1);
    ck_assert_uint_eq(facts.version, checkpoint.version);
    ck_assert_int_eq(state_rewind_mark(&mark, &rewind, last + 1, &mark), STATUS_INVALID_ARGUMENT);
    tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_a_tail_is_given_up);
    tcase_add_test(tests, test_one_that_is_not_due_changes_nothing);
    tcase_add_test(tests, test_checkpoints_that_will_not_do);
}
