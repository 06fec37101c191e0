/* SPDX-License-Identifier: Apache-2.0 */
/* A state on an LSM, and commits made in a line or two.
 *
 * The LSM is the one of backend_fake.h or backend_real.h, whichever was included before. */
#ifndef TESTS_UNIT_SERVER_STATE_HARNESS_H
#define TESTS_UNIT_SERVER_STATE_HARNESS_H

#include <stdio.h>

#include "server/state/state.h"
#include "tests/unit/unit.h"

enum { harness_items_max = 64 };

#define HARNESS_SECOND_NS 1000000000ULL

struct harness {
    struct backend *backend;
    struct lsm *lsm;
    struct state *state;
    uint64_t index;
    uint64_t time_ns;
    uint64_t ids_count;
    bool ready;
    uint32_t version_max; /* of the state that is opened next; 0: the program's */
    struct entry entry;   /* the one that was applied last; its body is the caller's */
};

/* A commit under construction; what it points to lives in it, or is the caller's. */
struct txn {
    Strait__Commit commit;
    uint8_t id[16];
    size_t used;
    Strait__Operation operations[harness_items_max];
    Strait__Operation *operations_list[harness_items_max];
    union {
        Strait__Put put;
        Strait__Delete delete;
        Strait__Add add;
        Strait__TableCreate table_create;
        Strait__TableDrop table_drop;
        Strait__IndexCreate index_create;
        Strait__IndexDrop index_drop;
    } bodies[harness_items_max];
    Strait__IndexEntry entries[harness_items_max];
    Strait__IndexEntry *entries_list[harness_items_max];
    size_t entries_count;
    Strait__Condition conditions[harness_items_max];
    Strait__Condition *conditions_list[harness_items_max];
    Strait__Key reads[harness_items_max];
    Strait__Key *reads_list[harness_items_max];
    Strait__Range ranges[harness_items_max];
    Strait__Range *ranges_list[harness_items_max];
};

static inline void harness_ready(void *context)
{
    struct harness *harness = context;
    harness->ready = true;
}

static inline void harness_state_open(struct harness *harness)
{
    struct error error = {0};
    const struct state_options options = {.lsm = harness->lsm,
                                          .io = backend_io(harness->backend),
                                          .mark = backend_mark(harness->backend),
                                          .cluster_version_max = harness->version_max,
                                          .region_id = 7,
                                          .outcome_retention_ms = 60000,
                                          .apply_ready = harness_ready,
                                          .context = harness};
    enum status status = state_open(&options, &harness->state, &error);
    ck_assert_msg(status == STATUS_OK, "%s", error.text);
}

static inline struct state_result harness_apply_entry(struct harness *harness, uint64_t index,
                                                      const struct entry *entry)
{
    struct state_result result;
    harness->entry = *entry;
    state_apply_start(harness->state, index, 1, entry);
    for (;;) {
        harness->ready = false;
        enum status status = state_apply_step(harness->state, &result);
        if (status == STATUS_OK)
            break;
        ck_assert(status == STATUS_AGAIN || status == STATUS_BUSY);
        if (status == STATUS_BUSY)
            backend_turn(harness->backend);
        while (status == STATUS_AGAIN && !harness->ready)
            backend_turn(harness->backend);
    }
    return result;
}

/* That of the next shared entry. */
static inline uint64_t harness_next_version(const struct harness *harness)
{
    return state_facts(harness->state).position.version + 1;
}

static inline struct state_result harness_apply(struct harness *harness, enum entry_kind kind,
                                                struct bytes body)
{
    struct epoch epoch = state_epoch(harness->state);
    struct entry entry = {.kind = kind,
                          .version = harness_next_version(harness),
                          .epoch_number = epoch.number,
                          .epoch_region = epoch.region,
                          .log_time_ns = ++harness->time_ns,
                          .body = body};
    if (!entry_kind_is_shared(kind))
        entry = (struct entry){.kind = kind, .log_time_ns = entry.log_time_ns, .body = body};
    return harness_apply_entry(harness, ++harness->index, &entry);
}

static inline struct state_result harness_tick(struct harness *harness, uint64_t horizon)
{
    uint8_t body[8];
    store_u64(body, horizon);
    return harness_apply(harness, ENTRY_TICK, bytes_of(body, sizeof body));
}

static inline void harness_open_on(struct harness *harness, struct backend *backend)
{
    *harness = (struct harness){.time_ns = 1700000000 * HARNESS_SECOND_NS, .backend = backend};
    harness->lsm = backend_lsm(backend);
    harness_state_open(harness);
    ck_assert(state_tick_due(harness->state, harness->time_ns));
    struct state_result result = harness_tick(harness, 0);
    ck_assert_int_eq(result.status, STATUS_OK);
}

static inline void harness_close(struct harness *harness)
{
    state_close(harness->state);
    backend_close(harness->backend);
}

/* ---- Regions and epochs ---- */

/* Stamped as it has to be; `body` holds epoch_change_size_max bytes. */
static inline struct entry harness_change_entry(struct harness *harness,
                                                const struct epoch_change *change, uint8_t *body)
{
    struct epoch epoch = change->kind == EPOCH_GRANT ? change->from : change->to;
    epoch_change_encode(change, body);
    return (struct entry){.kind = ENTRY_EPOCH,
                          .version = change->version + 1,
                          .epoch_number = epoch.number,
                          .epoch_region = epoch.region,
                          .log_time_ns = ++harness->time_ns,
                          .body = bytes_of(body, epoch_change_size(change))};
}

static inline struct state_result harness_change(struct harness *harness,
                                                 const struct epoch_change *change)
{
    static uint8_t body[epoch_change_size_max];
    struct entry entry = harness_change_entry(harness, change, body);
    return harness_apply_entry(harness, ++harness->index, &entry);
}

static inline struct state_result harness_fence(struct harness *harness, uint32_t region,
                                                struct epoch epoch)
{
    uint8_t body[fence_header_size];
    const struct fence fence = {.region = region, .epoch = epoch};
    fence_encode(&fence, body);
    return harness_apply(harness, ENTRY_FENCE, bytes_of(body, sizeof body));
}

static inline struct state_result harness_regions(struct harness *harness,
                                                  const struct regions *regions)
{
    static uint8_t body[regions_size_max];
    regions_encode(regions, body);
    return harness_apply(harness, ENTRY_REGIONS, bytes_of(body, regions_size(regions)));
}

/* Region `id`, named "region-" and a letter. */
static inline struct region harness_region(uint32_t id)
{
    struct region region;
    memset(&region, 0, sizeof region);
    region.id = id;
    region.guard.action = REGION_GUARD_ALERT;
    region.endpoints_count = 1;
    (void)snprintf(region.name, sizeof region.name, "region-%c", (char)('a' + id % 26));
    (void)snprintf(region.endpoints[0], sizeof region.endpoints[0], "r%u.example:7000", id);
    return region;
}

/* ---- Commits ---- */

static inline ProtobufCBinaryData txn_bytes(const char *text)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text, .len = strlen(text)};
}

static inline char *txn_text(const char *text)
{
    return (char *)(uintptr_t)text;
}

static inline void txn_begin(struct harness *harness, struct txn *txn)
{
    memset(txn, 0, sizeof *txn);
    strait__commit__init(&txn->commit);
    store_u64(txn->id, ++harness->ids_count);
    txn->commit.txn_id = (ProtobufCBinaryData){.data = txn->id, .len = sizeof txn->id};
    txn->commit.issued_ns = harness->time_ns;
    txn->commit.operations = txn->operations_list;
    txn->commit.conditions = txn->conditions_list;
    txn->commit.reads = txn->reads_list;
    txn->commit.ranges = txn->ranges_list;
}

static inline size_t txn_operation(struct txn *txn, Strait__Operation__KindCase kind)
{
    size_t at = txn->commit.n_operations++;
    ASSERT(at < harness_items_max);
    Strait__Operation *operation = &txn->operations[at];
    strait__operation__init(operation);
    operation->kind_case = kind;
    operation->put = &txn->bodies[at].put;
    txn->operations_list[at] = operation;
    return at;
}

static inline Strait__Put *txn_put(struct txn *txn, const char *table, const char *key,
                                   const char *value, uint64_t ttl_ms)
{
    Strait__Put *put = &txn->bodies[txn_operation(txn, STRAIT__OPERATION__KIND_PUT)].put;
    strait__put__init(put);
    put->table = txn_text(table);
    put->key = txn_bytes(key);
    put->value = txn_bytes(value);
    put->ttl_ms = ttl_ms;
    return put;
}

/* Adds an index entry to the put that was made last. */
static inline void txn_index_entry(struct txn *txn, Strait__Put *put, const char *index,
                                   const char *key)
{
    size_t at = txn->entries_count++;
    ASSERT(at < harness_items_max);
    strait__index_entry__init(&txn->entries[at]);
    txn->entries[at].index = txn_text(index);
    txn->entries[at].key = txn_bytes(key);
    txn->entries_list[at] = &txn->entries[at];
    if (put->n_indexes == 0)
        put->indexes = &txn->entries_list[at];
    put->n_indexes++;
}

static inline void txn_delete(struct txn *txn, const char *table, const char *key)
{
    Strait__Delete *body = &txn->bodies[txn_operation(txn, STRAIT__OPERATION__KIND_DELETE)].delete;
    strait__delete__init(body);
    body->table = txn_text(table);
    body->key = txn_bytes(key);
}

static inline Strait__Add *txn_add(struct txn *txn, const char *table, const char *key,
                                   int64_t amount)
{
    Strait__Add *add = &txn->bodies[txn_operation(txn, STRAIT__OPERATION__KIND_ADD)].add;
    strait__add__init(add);
    add->table = txn_text(table);
    add->key = txn_bytes(key);
    add->amount = amount;
    return add;
}

static inline void txn_table_create(struct txn *txn, const char *table)
{
    size_t at = txn_operation(txn, STRAIT__OPERATION__KIND_TABLE_CREATE);
    strait__table_create__init(&txn->bodies[at].table_create);
    txn->bodies[at].table_create.table = txn_text(table);
}

static inline void txn_table_drop(struct txn *txn, const char *table)
{
    size_t at = txn_operation(txn, STRAIT__OPERATION__KIND_TABLE_DROP);
    strait__table_drop__init(&txn->bodies[at].table_drop);
    txn->bodies[at].table_drop.table = txn_text(table);
}

static inline void txn_index_create(struct txn *txn, const char *table, const char *index,
                                    bool unique)
{
    size_t at = txn_operation(txn, STRAIT__OPERATION__KIND_INDEX_CREATE);
    strait__index_create__init(&txn->bodies[at].index_create);
    txn->bodies[at].index_create.table = txn_text(table);
    txn->bodies[at].index_create.index = txn_text(index);
    txn->bodies[at].index_create.unique = unique;
}

static inline void txn_index_drop(struct txn *txn, const char *table, const char *index)
{
    size_t at = txn_operation(txn, STRAIT__OPERATION__KIND_INDEX_DROP);
    strait__index_drop__init(&txn->bodies[at].index_drop);
    txn->bodies[at].index_drop.table = txn_text(table);
    txn->bodies[at].index_drop.index = txn_text(index);
}

static inline Strait__Condition *txn_condition(struct txn *txn, Strait__Condition__Kind kind,
                                               const char *table, const char *key)
{
    size_t at = txn->commit.n_conditions++;
    ASSERT(at < harness_items_max);
    Strait__Condition *condition = &txn->conditions[at];
    strait__condition__init(condition);
    condition->kind = kind;
    condition->table = txn_text(table);
    condition->key = txn_bytes(key);
    txn->conditions_list[at] = condition;
    return condition;
}

static inline void txn_read(struct txn *txn, const char *table, const char *key)
{
    size_t at = txn->commit.n_reads++;
    ASSERT(at < harness_items_max);
    strait__key__init(&txn->reads[at]);
    txn->reads[at].table = txn_text(table);
    txn->reads[at].key = txn_bytes(key);
    txn->reads_list[at] = &txn->reads[at];
}

static inline void txn_range(struct txn *txn, const char *table, const char *index,
                             const char *start, const char *end)
{
    size_t at = txn->commit.n_ranges++;
    ASSERT(at < harness_items_max);
    strait__range__init(&txn->ranges[at]);
    txn->ranges[at].table = txn_text(table);
    txn->ranges[at].index = txn_text(index);
    txn->ranges[at].start = txn_bytes(start);
    txn->ranges[at].end = txn_bytes(end);
    txn->ranges_list[at] = &txn->ranges[at];
}

/* Encodes into memory that the caller frees. */
static inline struct bytes txn_encode(const struct txn *txn)
{
    size_t size = strait__commit__get_packed_size(&txn->commit);
    uint8_t *body = malloc(size + 1);
    ASSERT(body != NULL);
    (void)strait__commit__pack(&txn->commit, body);
    return bytes_of(body, size);
}

static inline struct state_result txn_commit(struct harness *harness, const struct txn *txn)
{
    struct bytes body = txn_encode(txn);
    struct state_result result = harness_apply(harness, ENTRY_COMMIT, body);
    free((void *)(uintptr_t)body.data);
    return result;
}

/* Makes `table` with an index `plain` and a unique index `only`. */
static inline void harness_table(struct harness *harness, const char *table)
{
    struct txn txn;
    txn_begin(harness, &txn);
    txn_table_create(&txn, table);
    txn_index_create(&txn, table, "plain", false);
    txn_index_create(&txn, table, "only", true);
    struct state_result result = txn_commit(harness, &txn);
    ck_assert_msg(result.status == STATUS_OK, "%s", result.text);
}

/* ---- Reads ---- */

static inline void harness_no_wait(struct lsm_wait *wait)
{
    (void)wait;
}

/* The record's value as a text in `to`; "-" where there is none. Returns its version. */
static inline uint64_t harness_get(struct harness *harness, uint64_t version, const char *table,
                                   const char *key, char to[64])
{
    struct arena arena;
    struct state_view *view;
    struct lsm_wait wait;
    struct state_refusal refusal = {0};
    Strait__Get request = STRAIT__GET__INIT;
    Strait__Key wanted = STRAIT__KEY__INIT;
    Strait__Key *wanted_list[1] = {&wanted};
    Strait__GetReply reply = STRAIT__GET_REPLY__INIT;
    enum status status;

    wanted.table = txn_text(table);
    wanted.key = txn_bytes(key);
    request.keys = wanted_list;
    request.n_keys = 1;
    arena_init(&arena, 4096, 1 << 24);
    lsm_wait_init(&wait, harness_no_wait, NULL);
    ck_assert_int_eq(state_view_open(harness->state, version, &view), STATUS_OK);
    while ((status = state_get(view, &wait, &request, &arena, &reply, &refusal)) == STATUS_AGAIN)
        backend_turn(harness->backend);
    ck_assert_msg(status == STATUS_OK, "%s", refusal.text);
    ck_assert_uint_eq(reply.n_records, 1);
    uint64_t found = reply.records[0]->version;
    if (reply.records[0]->found)
        (void)snprintf(to, 64, "%.*s", (int)reply.records[0]->value.len,
                       (const char *)reply.records[0]->value.data);
    else
        (void)snprintf(to, 64, "-");
    state_view_close(view);
    arena_free(&arena);
    return found;
}

static inline const char *harness_value(struct harness *harness, const char *table, const char *key)
{
    static char value[64];
    (void)harness_get(harness, UINT64_MAX, table, key, value);
    return value;
}

/* A scan's records as "key=value " in one text, page by page of `page` records. */
static inline const char *harness_scan(struct harness *harness, uint64_t version, const char *table,
                                       const char *index, const char *start, const char *end,
                                       bool reverse, uint32_t page)
{
    static char text[65536];
    size_t used = 0;
    uint8_t resume[4096];
    size_t resume_size = 0;
    bool more = true;

    text[0] = 0;
    while (more) {
        struct arena arena;
        struct state_view *view;
        struct lsm_wait wait;
        struct state_refusal refusal = {0};
        struct state_scan *scan;
        Strait__Scan request = STRAIT__SCAN__INIT;
        Strait__Range range = STRAIT__RANGE__INIT;
        Strait__ScanReply reply = STRAIT__SCAN_REPLY__INIT;
        enum status status;

        range.table = txn_text(table);
        range.index = txn_text(index);
        range.start = txn_bytes(start);
        range.end = txn_bytes(end);
        request.range = &range;
        request.reverse = reverse;
        request.records_max = page;
        request.resume = (ProtobufCBinaryData){.data = resume, .len = resume_size};
        arena_init(&arena, 4096, 1 << 26);
        lsm_wait_init(&wait, harness_no_wait, NULL);
        ck_assert_int_eq(state_view_open(harness->state, version, &view), STATUS_OK);
        status = state_scan_open(view, &request, &arena, &scan, &refusal);
        ck_assert_msg(status == STATUS_OK, "%s", refusal.text);
        while ((status = state_scan_step(scan, &wait, &reply)) == STATUS_AGAIN)
            backend_turn(harness->backend);
        ck_assert_int_eq(status, STATUS_OK);
        for (size_t i = 0; i < reply.n_records; i++)
            used += (size_t)snprintf(
                text + used, sizeof text - used, "%.*s=%.*s ", (int)reply.records[i]->key.len,
                (const char *)reply.records[i]->key.data, (int)reply.records[i]->value.len,
                (const char *)reply.records[i]->value.data);
        ck_assert_uint_lt(used, sizeof text - 1);
        more = reply.more;
        resume_size = reply.resume.len;
        ck_assert_uint_le(resume_size, sizeof resume);
        if (resume_size != 0)
            memcpy(resume, reply.resume.data, resume_size);
        state_scan_close(scan);
        state_view_close(view);
        arena_free(&arena);
    }
    return text;
}

#endif
