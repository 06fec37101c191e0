/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile commits through apply, on a state whose LSM is an array in memory. The input is a list of
 * bodies, each with two bytes of size before it; the first of a size byte's bits picks a tick.
 * After each entry the state must have taken one version; in the end it must be readable, and the
 * same entries on a second state must give the same digest. */
#include "tests/unit/server_state/lsm_fake.h"

#include "server/state/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzzed {
    struct lsm *lsm;
    struct state *state;
    uint64_t index;
    uint64_t time_ns;
};

static void fuzzed_apply(struct fuzzed *fuzzed, enum entry_kind kind, struct bytes body)
{
    struct state_result result;
    fuzzed->time_ns += 1000000;
    struct entry entry = {.kind = kind,
                          .version = fuzzed->index + 1,
                          .epoch_number = 1,
                          .epoch_region = 1,
                          .log_time_ns = fuzzed->time_ns,
                          .body = body};
    enum status status;
    state_apply_start(fuzzed->state, ++fuzzed->index, 1, &entry);
    while ((status = state_apply_step(fuzzed->state, &result)) == STATUS_AGAIN ||
           status == STATUS_BUSY)
        fake_turn(fuzzed->lsm);
    ASSERT(status == STATUS_OK && result.versioned);
    ASSERT(state_facts(fuzzed->state).position.version == fuzzed->index);
}

/* Table "t" with the indexes "i" and "u", as a commit's bytes. */
static void fuzzed_table(struct fuzzed *fuzzed)
{
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    Strait__TableCreate table = STRAIT__TABLE_CREATE__INIT;
    Strait__IndexCreate plain = STRAIT__INDEX_CREATE__INIT;
    Strait__IndexCreate only = STRAIT__INDEX_CREATE__INIT;
    Strait__Operation operations[3];
    Strait__Operation *list[3] = {&operations[0], &operations[1], &operations[2]};
    uint8_t id[16] = {255};
    uint8_t body[256];

    for (int i = 0; i < 3; i++)
        strait__operation__init(&operations[i]);
    table.table = (char *)(uintptr_t) "t";
    plain.table = only.table = table.table;
    plain.index = (char *)(uintptr_t) "i";
    only.index = (char *)(uintptr_t) "u";
    only.unique = true;
    operations[0].kind_case = STRAIT__OPERATION__KIND_TABLE_CREATE;
    operations[0].table_create = &table;
    operations[1].kind_case = STRAIT__OPERATION__KIND_INDEX_CREATE;
    operations[1].index_create = &plain;
    operations[2].kind_case = STRAIT__OPERATION__KIND_INDEX_CREATE;
    operations[2].index_create = &only;
    commit.txn_id.data = id;
    commit.txn_id.len = sizeof id;
    commit.issued_ns = 1000;
    commit.operations = list;
    commit.n_operations = 3;
    size_t size = strait__commit__get_packed_size(&commit);
    ASSERT(size <= sizeof body);
    (void)strait__commit__pack(&commit, body);
    fuzzed_apply(fuzzed, ENTRY_COMMIT, bytes_of(body, size));
    ASSERT(state_facts(fuzzed->state).tables_count == 1);
}

static void fuzzed_open(struct fuzzed *fuzzed, uint64_t seed, unsigned again_percent)
{
    struct error error = {0};
    *fuzzed = (struct fuzzed){.lsm = fake_open(seed, again_percent, again_percent)};
    const struct state_options options = {
        .lsm = fuzzed->lsm, .io = &fuzzed->lsm->io, .mark = &fuzzed->lsm->mark, .region_id = 1};
    enum status status = state_open(&options, &fuzzed->state, &error);
    ASSERT(status == STATUS_OK);
    fuzzed_table(fuzzed);
}

static void fuzzed_run(struct fuzzed *fuzzed, struct bytes input)
{
    while (input.size >= 2) {
        bool tick = (input.data[0] & 0x80) != 0;
        size_t size = (size_t)(input.data[0] & 0x7f) << 8 | input.data[1];
        input = bytes_of(input.data + 2, input.size - 2);
        if (size > input.size)
            size = input.size;
        const struct entry entry = {.kind = ENTRY_COMMIT, .body = bytes_of(input.data, size)};
        if (!tick)
            state_prefetch(fuzzed->state, &entry);
        fuzzed_apply(fuzzed, tick ? ENTRY_TICK : ENTRY_COMMIT, entry.body);
        input = bytes_of(input.data + size, input.size - size);
    }
}

static void ready(struct lsm_wait *wait)
{
    (void)wait;
}

static void fuzzed_scan(struct fuzzed *fuzzed, const char *index)
{
    struct arena arena;
    struct lsm_wait wait;
    struct state_view *view;
    struct state_scan *scan;
    struct state_refusal refusal;
    Strait__Range range = STRAIT__RANGE__INIT;
    Strait__Scan request = STRAIT__SCAN__INIT;
    Strait__ScanReply reply = STRAIT__SCAN_REPLY__INIT;

    range.table = (char *)(uintptr_t) "t";
    range.index = (char *)(uintptr_t)index;
    request.range = &range;
    arena_init(&arena, 4096, 64 << 20);
    lsm_wait_init(&wait, ready, NULL);
    enum status status = state_view_open(fuzzed->state, UINT64_MAX, &view);
    ASSERT(status == STATUS_OK);
    status = state_scan_open(view, &request, &arena, &scan, &refusal);
    ASSERT(status == STATUS_OK || status == STATUS_NO_TABLE || status == STATUS_NO_INDEX);
    while (status == STATUS_OK && (status = state_scan_step(scan, &wait, &reply)) == STATUS_AGAIN) {
        fake_turn(fuzzed->lsm);
        status = STATUS_OK;
    }
    ASSERT(status != STATUS_CORRUPT);
    state_scan_close(scan);
    state_view_close(view);
    arena_free(&arena);
}

static void fuzzed_close(struct fuzzed *fuzzed)
{
    state_close(fuzzed->state);
    fake_close(fuzzed->lsm);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzzed first;
    struct fuzzed second;

    fuzzed_open(&first, 1, 0);
    fuzzed_run(&first, bytes_of(data, size));
    fuzzed_scan(&first, "");
    fuzzed_scan(&first, "i");
    fuzzed_scan(&first, "u");
    fuzzed_open(&second, 2, 30);
    fuzzed_run(&second, bytes_of(data, size));
    struct hash128 a = state_facts(first.state).chain_digest;
    struct hash128 b = state_facts(second.state).chain_digest;
    ASSERT(a.low == b.low && a.high == b.high);
    fuzzed_close(&first);
    fuzzed_close(&second);
    return 0;
}
