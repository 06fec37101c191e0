/* SPDX-License-Identifier: Apache-2.0 */
/* Writing: the open memtables, their sealing, and how hard writers are held back. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/lsm/lsm_internal.h"

/* What lsm_has_room() counts for each write beside its key and value. */
enum { write_overhead_size = 64 };

/* ---- Generations of memtables ---- */

/* With the memtables of all trees; or, to carry a mark alone, with none. NULL: no memory. */
static struct memory *memory_create(const struct lsm *lsm, bool with_tables)
{
    struct memory *memory = calloc(1, sizeof *memory);
    if (memory == NULL)
        return NULL;
    memory->references = 1;
    memory->version_first = UINT64_MAX;
    list_init(&memory->link);
    for (; with_tables && memory->trees_count < lsm->trees_count; memory->trees_count++)
        if (memtable_create(&lsm->trees[memory->trees_count],
                            &memory->tables[memory->trees_count]) != STATUS_OK) {
            memory_release(memory);
            return NULL;
        }
    return memory;
}

void memory_release(struct memory *memory)
{
    ASSERT(memory->references > 0);
    if (--memory->references != 0)
        return;
    for (unsigned t = 0; t < memory->trees_count; t++)
        memtable_unref(memory->tables[t]);
    free(memory);
}

static size_t memory_size(const struct memory *memory)
{
    size_t size = 0;
    for (unsigned t = 0; t < memory->trees_count; t++)
        size += memtable_size(memory->tables[t]);
    return size;
}

/* ---- Pressure ---- */

static uint32_t level0_count(const struct lsm *lsm)
{
    uint32_t most = 0;
    for (unsigned t = 0; t < lsm->trees_count; t++)
        if (lsm->current->trees[t]->levels[0].count > most)
            most = lsm->current->trees[t]->levels[0].count;
    return most;
}

/* 0 up to `begin`, 100 from `stop` on, straight between. */
static unsigned ramp(uint64_t value, uint64_t begin, uint64_t stop)
{
    if (value >= stop)
        return 100;
    return value <= begin ? 0 : (unsigned)((value - begin) * 100 / (stop - begin));
}

unsigned lsm_pressure(const struct lsm *lsm)
{
    const struct lsm_options *options = &lsm->options;
    unsigned memory = ramp(lsm->sealed_count, 1, options->memtables_max);
    unsigned begin = options->level0_compact_count * 2;
    if (begin >= options->level0_stop_count)
        begin = options->level0_compact_count;
    unsigned level0 = ramp(level0_count(lsm), begin, options->level0_stop_count);
    return memory > level0 ? memory : level0;
}

bool lsm_has_room(struct lsm *lsm, size_t size)
{
    if (lsm_pressure(lsm) >= 100)
        return false;
    if (lsm->open == NULL)
        lsm->open = memory_create(lsm, true);
    if (lsm->open == NULL)
        return false;
    /* Which trees the writes go to is not known yet: each could take them all. */
    for (unsigned t = 0; t < lsm->trees_count; t++)
        if (!memtable_reserve(lsm->open->tables[t], size / write_overhead_size + 1, size))
            return false;
    return true;
}

/* ---- Publishing ---- */

static void put_writes(struct lsm *lsm, const struct lsm_write *writes, size_t count,
                       const struct lsm_mark *mark)
{
    for (size_t begin = 0, end; begin < count; begin = end) {
        unsigned position = lsm_tree_position(lsm, writes[begin].tree);
        struct memtable *table = lsm->open->tables[position];
        bool regional = lsm->trees[position].regional;
        uint64_t version = regional ? mark->index : mark->version;
        size_t size = 0;
        ASSERT(regional ? mark->index > lsm->mark.index : mark->version > lsm->mark.version);
        for (end = begin; end < count && writes[end].tree == writes[begin].tree; end++) {
            ASSERT(writes[end].key.size <= lsm_key_size_max);
            ASSERT(writes[end].value.size <= lsm_value_size_max);
            size += writes[end].key.size + writes[end].value.size;
        }
        ASSERT(end == count || writes[end].tree > writes[begin].tree);
        bool reserved = memtable_reserve(table, end - begin, size);
        ASSERT(reserved); /* by lsm_has_room() */
        for (size_t i = begin; i < end; i++)
            memtable_put(table, &(struct lsm_entry){.key = writes[i].key,
                                                    .version = version,
                                                    .deletion = writes[i].deletion,
                                                    .value = writes[i].value});
    }
}

void lsm_publish(struct lsm *lsm, const struct lsm_write *writes, size_t count,
                 const struct lsm_mark *mark)
{
    ASSERT(!lsm->replace.asked);
    ASSERT(mark->index >= lsm->mark.index && mark->version >= lsm->mark.version);
    ASSERT(mark->version <= lsm_entry_version_max && mark->index <= lsm_entry_version_max);
    ASSERT(mark->state_size <= lsm_mark_state_size_max);
    if (count != 0) {
        if (lsm->open == NULL)
            lsm->open = memory_create(lsm, true);
        ASSERT(lsm->open != NULL);
        put_writes(lsm, writes, count, mark);
        if (lsm->open->version_first > mark->version)
            lsm->open->version_first = mark->version;
        lsm->open->version_last = mark->version;
    }
    lsm->mark = *mark;
    lsm->attachment = lsm->attachment_next;
    if (lsm->open != NULL && memory_size(lsm->open) >= lsm->options.memtable_size)
        lsm_seal(lsm);
}

void lsm_attachment_set(struct lsm *lsm, struct bytes attachment)
{
    ASSERT(attachment.size <= lsm_attachment_size_max);
    lsm->attachment_next.size = (uint32_t)attachment.size;
    bytes_copy(lsm->attachment_next.bytes, attachment);
}

struct bytes lsm_attachment(const struct lsm *lsm)
{
    return attachment_bytes(&lsm->attachment_next);
}

void lsm_seal(struct lsm *lsm)
{
    struct memory *memory = lsm->open;
    if (lsm->mark.index == lsm->index_sealed && (memory == NULL || memory->version_last == 0))
        return;
    /* A mark past the last sealed one is worth installing also where nothing was written. */
    if (memory == NULL)
        memory = memory_create(lsm, false);
    ASSERT(memory != NULL);
    for (unsigned t = 0; t < memory->trees_count; t++)
        memtable_seal(memory->tables[t]);
    memory->mark = lsm->mark;
    memory->attachment = lsm->attachment;
    lsm->open = NULL;
    list_push_last(&lsm->sealed, &memory->link);
    lsm->sealed_count++;
    lsm->index_sealed = lsm->mark.index;
    lsm_work(lsm);
}

/* ---- What may go ---- */

void lsm_horizon_set(struct lsm *lsm, uint64_t version)
{
    if (version > lsm->horizon)
        lsm->horizon = version;
}

struct bytes lsm_discard_key(const struct lsm *lsm, unsigned tree)
{
    const struct discard *discard = lsm->discards[tree];
    return discard == NULL ? (struct bytes){0} : bytes_of(discard->key, discard->size);
}

void lsm_discard_below(struct lsm *lsm, uint16_t tree, struct bytes key)
{
    unsigned position = lsm_tree_position(lsm, tree);
    ASSERT(key.size <= lsm_key_size_max);
    if (bytes_compare(key, lsm_discard_key(lsm, position)) <= 0)
        return;
    struct discard *discard = lsm->discards[position];
    if (discard == NULL)
        discard = calloc(1, sizeof *discard);
    if (discard == NULL)
        return; /* it is asked for again with the next key */
    discard->size = key.size;
    bytes_copy(discard->key, key);
    lsm->discards[position] = discard;
    compaction_discard(lsm);
}
