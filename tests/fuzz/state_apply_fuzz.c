/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile commands through apply, on a state whose LSM is an array in memory. The input is a list
 * of bodies, each with two bytes of size before it; the first bits of a size pick the kind:
 *
 *     0..     a commit              100     a tick
 *     101     a list of regions, or with the size of one, a raise of the cluster version
 *     110     a change of the epoch: its first bytes choose one that may fit, or the body is taken
 *             as it is              111     a fence, or where its first byte is 255 a report's
 *                                           closing
 *
 * After each entry the state must have taken one version, or have discarded it; in the end it must
 * be readable, and the same entries on a second state must give the same digest. */
#include "tests/unit/server_state/lsm_fake.h"

#include "proto/cluster_version.h"
#include "server/state/state.h"
#include "server/state/state_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { fuzzed_body_max = 32 * 1024, fuzzed_report = 9 };

struct fuzzed {
    struct lsm *lsm;
    struct state *state;
    uint64_t index;
    uint64_t time_ns;
};

static struct state_result fuzzed_entry(struct fuzzed *fuzzed, const struct entry *entry)
{
    struct state_result result;
    struct state_facts before = state_facts(fuzzed->state);
    enum status status;

    state_apply_start(fuzzed->state, ++fuzzed->index, 1, entry);
    while ((status = state_apply_step(fuzzed->state, &result)) == STATUS_AGAIN ||
           status == STATUS_BUSY)
        fake_turn(fuzzed->lsm);
    ASSERT(status == STATUS_OK);
    struct state_facts after = state_facts(fuzzed->state);
    ASSERT(after.position.version == before.position.version + result.versioned);
    ASSERT(result.versioned || after.chain_digest.low == before.chain_digest.low);
    return result;
}

/* Stamped by the present primary, as the next version. */
static struct entry fuzzed_next(struct fuzzed *fuzzed, enum entry_kind kind, struct bytes body)
{
    struct epoch epoch = state_epoch(fuzzed->state);
    fuzzed->time_ns += 1000000;
    return (struct entry){.kind = kind,
                          .version = state_facts(fuzzed->state).position.version + 1,
                          .epoch_number = epoch.number,
                          .epoch_region = epoch.region,
                          .log_time_ns = fuzzed->time_ns,
                          .body = body};
}

static void fuzzed_apply(struct fuzzed *fuzzed, enum entry_kind kind, struct bytes body)
{
    const struct entry entry = fuzzed_next(fuzzed, kind, body);
    bool is_fenced = state_is_fenced(fuzzed->state, entry.epoch_region);
    struct state_result result = fuzzed_entry(fuzzed, &entry);
    ASSERT(result.versioned != is_fenced);
    ASSERT(result.status != STATUS_NOT_PRIMARY || is_fenced);
}

/* The first byte is the format, of which no other is passed on: those of the future stop apply. */
static struct bytes known_format(struct bytes body, uint8_t to[static fuzzed_body_max])
{
    size_t size = body.size < fuzzed_body_max ? body.size : fuzzed_body_max;
    bytes_copy(to, bytes_of(body.data, size));
    if (size != 0)
        to[0] = 1;
    return bytes_of(to, size);
}

static void fuzzed_change(struct fuzzed *fuzzed, struct bytes input)
{
    uint8_t body[fuzzed_body_max];
    struct epoch_change change;
    struct state_refusal refusal;

    if (input.size < 3 || input.data[0] == 1) {
        const struct entry raw = fuzzed_next(fuzzed, ENTRY_EPOCH, known_format(input, body));
        (void)fuzzed_entry(fuzzed, &raw);
        return;
    }
    bool is_grant = (input.data[0] & 1) != 0;
    uint32_t region = 1 + input.data[1] % 4;
    if (is_grant && region == state_epoch(fuzzed->state).region)
        return;
    state_epoch_next(fuzzed->state, is_grant ? EPOCH_GRANT : EPOCH_PROMOTE, region, &change);
    enum status allowed = state_epoch_check(fuzzed->state, &change, &refusal);
    change.chain.low ^= input.data[0] >> 4 == 15;
    change.version += (input.data[0] >> 4 == 14) - (uint64_t)(input.data[0] >> 4 == 13);
    change.record = bytes_of(input.data + 2, input.size - 2);
    struct entry entry = fuzzed_next(fuzzed, ENTRY_EPOCH, (struct bytes){0});
    if (!is_grant) {
        entry.epoch_number = change.to.number;
        entry.epoch_region = change.to.region;
    }
    ASSERT(epoch_change_size(&change) <= sizeof body);
    epoch_change_encode(&change, body);
    entry.body = bytes_of(body, epoch_change_size(&change));
    struct state_result result = fuzzed_entry(fuzzed, &entry);
    ASSERT(result.versioned == epoch_equal(state_epoch(fuzzed->state), change.to));
    ASSERT(result.versioned || input.data[0] >> 4 >= 13 || allowed != STATUS_OK);
}

static void fuzzed_fence(struct fuzzed *fuzzed, struct bytes input)
{
    uint8_t body[fence_size_max];
    if (input.size < 3)
        return;
    const struct fence fence = {
        .region = 1 + input.data[0] % 4,
        .epoch = {.number = state_epoch(fuzzed->state).number + input.data[1] % 4,
                  .region = 1 + input.data[2] % 4}};
    fence_encode(&fence, body);
    const struct entry entry = {.kind = ENTRY_FENCE,
                                .log_time_ns = fuzzed->time_ns,
                                .body = bytes_of(body, fence_size(&fence))};
    struct state_result result = fuzzed_entry(fuzzed, &entry);
    ASSERT(!result.versioned && result.status == STATUS_OK);
    /* Another region takes over, so that there are commands again. */
    if (state_is_fenced(fuzzed->state, state_epoch(fuzzed->state).region))
        fuzzed_change(fuzzed, bytes_of("\x02\x03", 3));
}

/* What the leader proposes about reports; there is one, of two entries. */
static void fuzzed_lost(struct fuzzed *fuzzed, struct bytes input)
{
    uint8_t body[state_lost_body_size];
    uint64_t id = input.size < 2 ? 0 : input.data[1];
    if (!state_lost_due(fuzzed->state, body))
        state_lost_close_encode(id, body);
    const struct entry entry = {
        .kind = ENTRY_LOST, .log_time_ns = fuzzed->time_ns, .body = bytes_of(body, sizeof body)};
    struct state_result result = fuzzed_entry(fuzzed, &entry);
    ASSERT(!result.versioned);
    ASSERT(result.status == (load_u64(body + 8) == fuzzed_report ? STATUS_OK : STATUS_NOT_FOUND));
}

/* Files two entries that were given up, as a rewind does. */
static void fuzzed_file(struct fuzzed *fuzzed)
{
    const struct entry noop = {.kind = ENTRY_NOOP, .log_time_ns = 1};
    struct entry entry = fuzzed_next(fuzzed, ENTRY_COMMIT, bytes_of_text("lost"));
    struct state_result result;
    enum status status;

    state_apply_start(fuzzed->state, ++fuzzed->index, 1, &noop);
    lost_file(&fuzzed->state->apply, fuzzed_report, &entry);
    entry.version++;
    lost_file(&fuzzed->state->apply, fuzzed_report, &entry);
    lost_finish(&fuzzed->state->apply, fuzzed_report, (struct epoch){.number = 2, .region = 2});
    while ((status = state_apply_step(fuzzed->state, &result)) == STATUS_BUSY)
        fake_turn(fuzzed->lsm);
    ASSERT(status == STATUS_OK);
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
    fuzzed_file(fuzzed);
}

/* A higher version than the program's is not passed on: it stops apply, as a later format does. */
static void fuzzed_raise(struct fuzzed *fuzzed, struct bytes input)
{
    uint8_t body[fuzzed_body_max];
    uint32_t before = state_facts(fuzzed->state).cluster_version;
    struct bytes known = known_format(input, body);
    if (load_u32(body + 4) > state_cluster_version)
        store_u32(body + 4, state_cluster_version);
    fuzzed_apply(fuzzed, ENTRY_VERSION, known);
    uint32_t after = state_facts(fuzzed->state).cluster_version;
    ASSERT(after >= before && after <= state_cluster_version);
}

static void fuzzed_command(struct fuzzed *fuzzed, unsigned kind, struct bytes body)
{
    uint8_t regions[fuzzed_body_max];

    switch (kind) {
    case 4:
        fuzzed_apply(fuzzed, ENTRY_TICK, body);
        break;
    case 5:
        if (body.size == cluster_version_size)
            fuzzed_raise(fuzzed, body);
        else
            fuzzed_apply(fuzzed, ENTRY_REGIONS, known_format(body, regions));
        break;
    case 6:
        fuzzed_change(fuzzed, body);
        break;
    case 7:
        if (body.size != 0 && body.data[0] == 255)
            fuzzed_lost(fuzzed, body);
        else
            fuzzed_fence(fuzzed, body);
        break;
    default: {
        const struct entry entry = {.kind = ENTRY_COMMIT, .body = body};
        state_prefetch(fuzzed->state, &entry);
        fuzzed_apply(fuzzed, ENTRY_COMMIT, body);
    }
    }
}

static void fuzzed_run(struct fuzzed *fuzzed, struct bytes input)
{
    while (input.size >= 2) {
        unsigned kind = input.data[0] >> 5;
        size_t size = (size_t)(input.data[0] & (kind < 4 ? 0x7f : 0x1f)) << 8 | input.data[1];
        input = bytes_of(input.data + 2, input.size - 2);
        if (size > input.size)
            size = input.size;
        fuzzed_command(fuzzed, kind, bytes_of(input.data, size));
        input = bytes_of(input.data + size, input.size - size);
    }
}

/* What is kept of the history hangs together, and is what is found when it is opened again. */
static void fuzzed_history(struct fuzzed *fuzzed)
{
    const struct epoch_end *ends;
    struct error error = {0};
    struct epoch epoch = state_epoch(fuzzed->state);
    uint64_t regions_version = state_regions(fuzzed->state)->version;
    size_t count = state_epoch_ends(fuzzed->state, &ends);

    for (size_t i = 0; i < count; i++) {
        struct epoch next = i + 1 < count ? ends[i + 1].epoch : epoch;
        ASSERT(epoch_equal(ends[i].next, next));
        enum status last = state_position_check(fuzzed->state, ends[i].epoch, ends[i].version);
        enum status past = state_position_check(fuzzed->state, ends[i].epoch, ends[i].version + 1);
        ASSERT(last == STATUS_OK && past == STATUS_HISTORY_LOST);
    }
    const struct state_options options = {
        .lsm = fuzzed->lsm, .io = &fuzzed->lsm->io, .mark = &fuzzed->lsm->mark, .region_id = 1};
    state_close(fuzzed->state);
    enum status status = state_open(&options, &fuzzed->state, &error);
    ASSERT(status == STATUS_OK);
    ASSERT(epoch_equal(state_epoch(fuzzed->state), epoch));
    ASSERT(state_epoch_ends(fuzzed->state, &ends) == count);
    ASSERT(state_regions(fuzzed->state)->version == regions_version);
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
    fuzzed_history(&first);
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
