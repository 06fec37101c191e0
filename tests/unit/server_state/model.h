/* SPDX-License-Identifier: Apache-2.0 */
/* What a state must do, said again in the plainest way: tables as small arrays, one transaction at
 * a time on a copy. Draws random transactions and ticks, and tells what each must answer. */
#ifndef TESTS_UNIT_SERVER_STATE_MODEL_H
#define TESTS_UNIT_SERVER_STATE_MODEL_H

#include "tests/unit/server_state/harness.h"

enum {
    model_tables_count = 3, /* the first has no indexes; the others `plain` and `only` */
    model_keys_count = 10,
    model_index_keys_count = 6,
    model_items_max = 5,
};

#define MODEL_RETENTION_NS (60 * HARNESS_SECOND_NS)

static const char *const model_tables[model_tables_count] = {"bare", "users", "orders"};
static const char *const model_keys[model_keys_count + 1] = {"a",  "b",  "ba", "bb", "c", "d",
                                                             "da", "db", "e",  "f",  ""};
static const char *const model_index_keys[model_index_keys_count + 1] = {"i", "ia", "j", "ja",
                                                                         "k", "l",  ""};

struct model_record {
    bool present;
    uint64_t version;
    uint64_t touched; /* the newest entry in the tree, tombstones included */
    char value[24];
    uint64_t expires_ms;
    unsigned plain; /* a bit for each index key */
    unsigned only;
};

struct model_table {
    bool expires;
    uint64_t created;
    struct model_record records[model_keys_count];
    uint64_t plain_touched[model_index_keys_count];
    uint64_t only_touched[model_index_keys_count];
};

struct model {
    uint64_t version;
    uint64_t horizon;
    struct model_table tables[model_tables_count];
};

struct model_verdict {
    enum status status;
    uint32_t item;
    bool item_is_condition;
};

static int model_place(const char *const *names, int count, struct bytes name)
{
    for (int i = 0; i < count; i++) {
        if (bytes_equal(bytes_of_text(names[i]), name))
            return i;
    }
    return -1;
}

static struct bytes model_bytes(ProtobufCBinaryData field)
{
    return bytes_of(field.data, field.len);
}

static int model_table_of(const char *name)
{
    return model_place(model_tables, model_tables_count, bytes_of_text(name));
}

static int model_key_of(ProtobufCBinaryData key)
{
    return model_place(model_keys, model_keys_count, model_bytes(key));
}

static bool model_has_indexes(int table)
{
    return table != 0;
}

/* ---- Reads ---- */

static bool model_in_range(struct bytes key, const Strait__Range *range)
{
    return bytes_compare(key, model_bytes(range->start)) >= 0 &&
           (range->end.len == 0 || bytes_compare(key, model_bytes(range->end)) < 0);
}

static bool model_range_changed(const struct model *model, const Strait__Range *range,
                                uint64_t since)
{
    const struct model_table *table = &model->tables[model_table_of(range->table)];
    bool changed = false;
    for (int i = 0; range->index[0] == 0 && i < model_keys_count; i++)
        changed |= model_in_range(bytes_of_text(model_keys[i]), range) &&
                   table->records[i].touched > since;
    for (int i = 0; range->index[0] != 0 && i < model_index_keys_count; i++) {
        uint64_t touched =
            range->index[0] == 'p' ? table->plain_touched[i] : table->only_touched[i];
        changed |= model_in_range(bytes_of_text(model_index_keys[i]), range) && touched > since;
    }
    return changed;
}

static enum status model_validate(const struct model *model, const Strait__Commit *commit)
{
    enum status status = STATUS_OK;
    if (commit->n_reads + commit->n_ranges == 0)
        return STATUS_OK;
    if (commit->snapshot < model->horizon)
        return STATUS_SNAPSHOT_TOO_OLD;
    if (commit->snapshot > model->version)
        return STATUS_HISTORY_LOST;
    for (size_t i = 0; i < commit->n_reads; i++) {
        const struct model_table *table = &model->tables[model_table_of(commit->reads[i]->table)];
        if (table->created > commit->snapshot ||
            table->records[model_key_of(commit->reads[i]->key)].touched > commit->snapshot)
            status = STATUS_CONFLICT;
    }
    for (size_t i = 0; i < commit->n_ranges; i++) {
        const struct model_table *table = &model->tables[model_table_of(commit->ranges[i]->table)];
        if (table->created > commit->snapshot ||
            model_range_changed(model, commit->ranges[i], commit->snapshot))
            status = STATUS_CONFLICT;
    }
    return status;
}

static bool model_condition(const struct model *model, const Strait__Condition *condition)
{
    const struct model_record *record =
        &model->tables[model_table_of(condition->table)].records[model_key_of(condition->key)];
    switch (condition->kind) {
    case STRAIT__CONDITION__KIND__ABSENT:
        return !record->present;
    case STRAIT__CONDITION__KIND__EXISTS:
        return record->present;
    case STRAIT__CONDITION__KIND__VERSION_IS:
        return (record->present ? record->version : 0) == condition->version;
    default:
        return record->present &&
               bytes_equal(bytes_of_text(record->value), model_bytes(condition->value));
    }
}

/* ---- Writes, on a copy; `before` is what was there when the transaction began ---- */

static bool model_put(struct model *model, int at, int key, const struct model_record *record)
{
    struct model_table *table = &model->tables[at];
    for (int i = 0; i < model_keys_count; i++) {
        if (i != key && table->records[i].present && (table->records[i].only & record->only) != 0)
            return false;
    }
    table->records[key].present = true;
    memcpy(table->records[key].value, record->value, sizeof record->value);
    table->records[key].expires_ms = record->expires_ms;
    table->records[key].plain = record->plain;
    table->records[key].only = record->only;
    table->records[key].touched = model->version;
    return true;
}

static void model_clear(struct model_record *record)
{
    uint64_t touched = record->touched;
    *record = (struct model_record){.touched = touched};
}

static void model_delete(struct model *model, int at, int key)
{
    struct model_record *record = &model->tables[at].records[key];
    model_clear(record);
    record->touched = model->version;
}

static enum status model_add(struct model *model, const Strait__Add *add)
{
    int at = model_table_of(add->table);
    int key = model_key_of(add->key);
    struct model_record record = model->tables[at].records[key];
    long long number = add->initial;
    if (!record.present && add->must_exist)
        return STATUS_NOT_FOUND;
    if (!record.present)
        model_clear(&record);
    if (record.present && record.value[0] == 't')
        return STATUS_NOT_A_NUMBER;
    if (record.present)
        number = strtoll(record.value, NULL, 10);
    number += add->amount;
    if ((add->has_minimum && number < add->minimum) || (add->has_maximum && number > add->maximum))
        return STATUS_OUT_OF_BOUNDS;
    memset(record.value, 0, sizeof record.value);
    (void)snprintf(record.value, sizeof record.value, "%lld", number);
    bool put = model_put(model, at, key, &record);
    ck_assert(put);
    return STATUS_OK;
}

static enum status model_operation(struct model *model, const Strait__Operation *operation,
                                   uint64_t time_ns)
{
    if (operation->kind_case == STRAIT__OPERATION__KIND_ADD)
        return model_add(model, operation->add);
    if (operation->kind_case == STRAIT__OPERATION__KIND_DELETE) {
        model_delete(model, model_table_of(operation->delete_->table),
                     model_key_of(operation->delete_->key));
        return STATUS_OK;
    }
    const Strait__Put *put = operation->put;
    int at = model_table_of(put->table);
    struct model_record record = {0};
    bytes_copy(record.value, model_bytes(put->value));
    for (size_t i = 0; i < put->n_indexes; i++) {
        if (!model_has_indexes(at))
            return STATUS_NO_INDEX;
        unsigned bit = 1u << model_place(model_index_keys, model_index_keys_count,
                                         model_bytes(put->indexes[i]->key));
        *(put->indexes[i]->index[0] == 'p' ? &record.plain : &record.only) |= bit;
    }
    if (put->ttl_ms != 0) {
        record.expires_ms = (time_ns + 999999) / 1000000 + put->ttl_ms;
        model->tables[at].expires = true;
    }
    return model_put(model, at, model_key_of(put->key), &record) ? STATUS_OK
                                                                 : STATUS_UNIQUE_VIOLATION;
}

/* What the trees were touched by: records, and index entries that came, went or changed hands. */
static void model_settle(struct model *model, const struct model *before, bool tick)
{
    for (int t = 0; t < model_tables_count; t++) {
        struct model_table *table = &model->tables[t];
        const struct model_table *old = &before->tables[t];
        /* Where old records carry nothing, deletes are written without looking. */
        bool blind = !model_has_indexes(t) && !table->expires && !tick;
        int owner_before[model_index_keys_count];
        int owner_after[model_index_keys_count];
        memset(owner_before, -1, sizeof owner_before);
        memset(owner_after, -1, sizeof owner_after);
        for (int k = 0; k < model_keys_count; k++) {
            struct model_record *record = &table->records[k];
            bool written = record->touched == model->version;
            if (written && record->present)
                record->version = model->version;
            if (written && !record->present && !old->records[k].present && !blind)
                record->touched = old->records[k].touched;
            for (int i = 0; i < model_index_keys_count; i++) {
                if (((record->plain ^ old->records[k].plain) >> i & 1) != 0)
                    table->plain_touched[i] = model->version;
                if ((record->only >> i & 1) != 0)
                    owner_after[i] = k;
                if ((old->records[k].only >> i & 1) != 0)
                    owner_before[i] = k;
            }
        }
        for (int i = 0; i < model_index_keys_count; i++) {
            if (owner_before[i] != owner_after[i])
                table->only_touched[i] = model->version;
        }
    }
}

/* Applies the commit as the next version. */
static struct model_verdict model_commit(struct model *model, const Strait__Commit *commit,
                                         uint64_t time_ns)
{
    struct model_verdict verdict = {.status = model_validate(model, commit)};
    struct model after = *model;

    model->version++;
    after.version++;
    for (size_t i = 0; i < commit->n_conditions && verdict.status == STATUS_OK; i++) {
        if (!model_condition(model, commit->conditions[i]))
            verdict = (struct model_verdict){STATUS_CONDITION_FAILED, (uint32_t)i + 1, true};
    }
    for (size_t i = 0; i < commit->n_operations && verdict.status == STATUS_OK; i++) {
        verdict.status = model_operation(&after, commit->operations[i], time_ns);
        if (verdict.status != STATUS_OK)
            verdict.item = (uint32_t)i + 1;
    }
    if (verdict.status == STATUS_OK) {
        model_settle(&after, model, false);
        *model = after;
    }
    return verdict;
}

static void model_tick(struct model *model, uint64_t horizon, uint64_t time_ns)
{
    struct model after = *model;
    if (horizon > model->horizon)
        after.horizon = horizon < model->version ? horizon : model->version;
    after.version++;
    for (int t = 0; t < model_tables_count; t++) {
        for (int k = 0; k < model_keys_count; k++) {
            const struct model_record *record = &after.tables[t].records[k];
            if (record->present && record->expires_ms != 0 &&
                record->expires_ms <= time_ns / 1000000)
                model_delete(&after, t, k);
        }
    }
    model_settle(&after, model, true);
    *model = after;
}

/* Drops the table and makes it again. */
static void model_recreate(struct model *model, int at)
{
    model->version++;
    model->tables[at] = (struct model_table){.created = model->version};
}

static bool model_is_due(const struct model *model, uint64_t time_ns)
{
    bool due = false;
    for (int t = 0; t < model_tables_count; t++) {
        for (int k = 0; k < model_keys_count; k++) {
            const struct model_record *record = &model->tables[t].records[k];
            due |= record->present && record->expires_ms != 0 &&
                   record->expires_ms <= time_ns / 1000000;
        }
    }
    return due;
}

/* ---- Drawing ---- */

static const char *draw_table(struct generator *g)
{
    return model_tables[generator_below(g, model_tables_count)];
}

static const char *draw_key(struct generator *g)
{
    return model_keys[generator_below(g, model_keys_count)];
}

static void draw_put(struct generator *g, struct txn *txn)
{
    static const char *const values[] = {"0", "1", "-7", "42", "text", "t"};
    const char *table = draw_table(g);
    uint64_t ttl_ms = generator_chance(g, 1, 4) ? generator_between(g, 1, 20000) : 0;
    Strait__Put *put =
        txn_put(txn, table, draw_key(g),
                values[generator_below(g, sizeof values / sizeof values[0])], ttl_ms);
    size_t count = model_has_indexes(model_table_of(table)) ? generator_below(g, 4) : 0;
    if (count == 0 && generator_chance(g, 1, 100))
        count = 1;
    for (size_t i = 0; i < count; i++)
        txn_index_entry(txn, put, generator_chance(g, 2, 3) ? "plain" : "only",
                        model_index_keys[generator_below(g, model_index_keys_count)]);
}

static void draw_add(struct generator *g, struct txn *txn)
{
    Strait__Add *add =
        txn_add(txn, draw_table(g), draw_key(g), (int64_t)generator_below(g, 21) - 10);
    add->has_minimum = generator_chance(g, 1, 3);
    add->minimum = -20;
    add->has_maximum = generator_chance(g, 1, 3);
    add->maximum = 20;
    add->must_exist = generator_chance(g, 1, 4);
    add->initial = (int64_t)generator_below(g, 3);
}

static void draw_condition(struct generator *g, const struct model *model, struct txn *txn)
{
    const char *table = draw_table(g);
    const char *key = draw_key(g);
    const struct model_record *record =
        &model->tables[model_table_of(table)]
             .records[model_place(model_keys, model_keys_count, bytes_of_text(key))];
    Strait__Condition__Kind kind = (Strait__Condition__Kind)generator_between(g, 1, 4);
    /* Mostly one that holds. */
    if (generator_chance(g, 3, 4) && kind <= STRAIT__CONDITION__KIND__EXISTS)
        kind = record->present ? STRAIT__CONDITION__KIND__EXISTS : STRAIT__CONDITION__KIND__ABSENT;
    Strait__Condition *condition = txn_condition(txn, kind, table, key);
    condition->version = record->version;
    condition->value = txn_bytes(generator_chance(g, 1, 2) ? "42" : "text");
}

static void draw_reads(struct generator *g, const struct model *model, struct txn *txn)
{
    uint64_t back = generator_below(g, 8);
    txn->commit.snapshot = model->version > back ? model->version - back : 1;
    if (generator_chance(g, 1, 50))
        txn->commit.snapshot = model->version + 1;
    for (uint64_t i = generator_below(g, 3); i != 0; i--)
        txn_read(txn, draw_table(g), draw_key(g));
    for (uint64_t i = generator_below(g, 3); i != 0; i--) {
        const char *table = draw_table(g);
        if (!model_has_indexes(model_table_of(table)) || generator_chance(g, 1, 2))
            txn_range(txn, table, "", model_keys[generator_below(g, model_keys_count + 1)],
                      model_keys[generator_below(g, model_keys_count + 1)]);
        else
            txn_range(txn, table, generator_chance(g, 1, 2) ? "plain" : "only",
                      model_index_keys[generator_below(g, model_index_keys_count + 1)],
                      model_index_keys[generator_below(g, model_index_keys_count + 1)]);
    }
}

static void model_draw(struct generator *g, const struct model *model, struct txn *txn)
{
    for (uint64_t i = generator_between(g, 1, model_items_max); i != 0; i--) {
        uint64_t kind = generator_below(g, 10);
        if (kind < 6)
            draw_put(g, txn);
        else if (kind < 8)
            txn_delete(txn, draw_table(g), draw_key(g));
        else
            draw_add(g, txn);
    }
    if (generator_chance(g, 1, 3))
        draw_condition(g, model, txn);
    if (generator_chance(g, 1, 3))
        draw_reads(g, model, txn);
}

/* ---- Comparing what can be seen ---- */

static const char *model_scan(const struct model *model, int at, const char *index, bool reverse)
{
    static char text[65536];
    const struct model_table *table = &model->tables[at];
    int groups = index[0] == 0 ? 1 : model_index_keys_count;
    size_t used = 0;
    text[0] = 0;
    for (int n = 0; n < groups * model_keys_count; n++) {
        int place = reverse ? groups * model_keys_count - 1 - n : n;
        const struct model_record *record = &table->records[place % model_keys_count];
        unsigned bits = index[0] == 0 ? 1 : index[0] == 'p' ? record->plain : record->only;
        if (!record->present || (bits >> (place / model_keys_count) & 1) == 0)
            continue;
        used += (size_t)snprintf(text + used, sizeof text - used, "%s=%s ",
                                 model_keys[place % model_keys_count], record->value);
    }
    return text;
}

/* `version` is the model's; UINT64_MAX asks for the newest by that name. */
static void model_compare(struct harness *harness, const struct model *model, uint64_t version,
                          struct generator *g)
{
    static const char *const indexes[] = {"", "plain", "only"};
    for (int t = 0; t < model_tables_count; t++) {
        for (int i = 0; i < (model_has_indexes(t) ? 3 : 1); i++) {
            bool reverse = generator_chance(g, 1, 2);
            const char *seen = harness_scan(harness, version, model_tables[t], indexes[i], "", "",
                                            reverse, (uint32_t)generator_below(g, 5));
            const char *expected = model_scan(model, t, indexes[i], reverse);
            ck_assert_msg(strcmp(seen, expected) == 0, "table %s index '%s': %s instead of %s",
                          model_tables[t], indexes[i], seen, expected);
        }
    }
}

/* The transaction that makes the tables. */
static void model_create_txn(struct txn *txn)
{
    for (int t = 0; t < model_tables_count; t++) {
        txn_table_create(txn, model_tables[t]);
        if (!model_has_indexes(t))
            continue;
        txn_index_create(txn, model_tables[t], "plain", false);
        txn_index_create(txn, model_tables[t], "only", true);
    }
}

/* That one was applied as `version`. */
static void model_begin(struct model *model, uint64_t version)
{
    *model = (struct model){.version = version};
    for (int t = 0; t < model_tables_count; t++)
        model->tables[t].created = version;
}

static void model_recreate_txn(struct txn *txn, int at)
{
    txn_table_drop(txn, model_tables[at]);
    txn_table_create(txn, model_tables[at]);
    if (model_has_indexes(at)) {
        txn_index_create(txn, model_tables[at], "plain", false);
        txn_index_create(txn, model_tables[at], "only", true);
    }
}

#endif
