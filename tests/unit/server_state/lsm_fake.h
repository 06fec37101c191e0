/* SPDX-License-Identifier: Apache-2.0 */
/* An LSM of one sorted array in memory, for tests of what stands on the interface: it answers AGAIN
 * and "no room" as often as asked for, and forgets what it may forget. Included once by a test,
 * whose definitions then stand in for the library's. */
#ifndef TESTS_UNIT_SERVER_STATE_LSM_FAKE_H
#define TESTS_UNIT_SERVER_STATE_LSM_FAKE_H

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/generator.h"
#include "server/state/state.h"
#include "storage/lsm/lsm.h"

struct fake_entry {
    uint16_t tree;
    bool deletion;
    uint64_t version;
    struct bytes key;
    struct bytes value;
};

enum { fake_waits_max = 4096 };

struct lsm {
    struct io io;
    struct fake_entry *entries; /* by tree, key, version from the newest */
    size_t count;
    size_t capacity;
    struct lsm_mark mark;
    uint8_t attachment[lsm_attachment_size_max];
    size_t attachment_size;
    uint64_t horizon;
    uint8_t outcomes_floor[64];
    size_t outcomes_floor_size;
    uint16_t outcomes_tree;
    unsigned views_count;
    unsigned iterators_count;
    struct generator generator;
    unsigned again_percent;
    unsigned full_percent;
    struct lsm_wait *waits[fake_waits_max];
    size_t waits_count;
    uint64_t again_count;
};

struct lsm_view {
    struct lsm *lsm;
    uint64_t version;
    uint64_t index;
};

struct lsm_iterator {
    struct lsm_view *view;
    uint16_t tree;
    bool reverse;
    bool begun;
    struct bytes start;
    struct bytes end;
    struct bytes at; /* the last key given */
};

/* Whose waits lsm_wait_cancel() looks through. */
static struct lsm *fake_of_waits;

static struct bytes fake_copy(struct bytes from)
{
    uint8_t *copy = malloc(from.size + 1);
    ASSERT(copy != NULL);
    bytes_copy(copy, from);
    return bytes_of(copy, from.size);
}

static bool fake_is_regional(uint16_t tree)
{
    for (size_t i = 0; i < state_trees_count; i++) {
        if (state_trees[i].id == tree)
            return state_trees[i].regional;
    }
    UNREACHABLE();
}

static int fake_compare(const struct fake_entry *entry, uint16_t tree, struct bytes key)
{
    if (entry->tree != tree)
        return entry->tree < tree ? -1 : 1;
    return bytes_compare(entry->key, key);
}

/* The place of the first entry at or above (tree, key). */
static size_t fake_place(const struct lsm *lsm, uint16_t tree, struct bytes key)
{
    size_t low = 0;
    size_t high = lsm->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (fake_compare(&lsm->entries[middle], tree, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Blocks arrive: tells all that wait. */
static inline void fake_turn(struct lsm *lsm)
{
    while (lsm->waits_count != 0) {
        struct lsm_wait *wait = lsm->waits[--lsm->waits_count];
        if (--wait->pending_count == 0)
            wait->ready(wait);
    }
}

static inline void fake_io_turn(struct io *io, bool wait)
{
    (void)wait;
    fake_turn((struct lsm *)(void *)((char *)io - offsetof(struct lsm, io)));
}

static const struct io_operations fake_io_operations = {.turn = fake_io_turn};

static inline struct lsm *fake_open(uint64_t seed, unsigned again_percent, unsigned full_percent)
{
    struct lsm *lsm = calloc(1, sizeof *lsm);
    ASSERT(lsm != NULL);
    generator_init(&lsm->generator, seed);
    lsm->again_percent = again_percent;
    lsm->full_percent = full_percent;
    lsm->io.operations = &fake_io_operations;
    return lsm;
}

static inline void fake_entry_free(struct fake_entry *entry)
{
    free((void *)(uintptr_t)entry->key.data);
    free((void *)(uintptr_t)entry->value.data);
}

static inline void fake_close(struct lsm *lsm)
{
    ASSERT(lsm->views_count == 0 && lsm->iterators_count == 0);
    for (size_t i = 0; i < lsm->count; i++)
        fake_entry_free(&lsm->entries[i]);
    if (fake_of_waits == lsm)
        fake_of_waits = NULL;
    free(lsm->entries);
    free(lsm);
}

/* Forgets versions hidden below the horizon, tombstones that nobody needs, and outcomes below their
 * floor: what compaction would do, all of it or, by the generator, some. */
static inline void fake_compact(struct lsm *lsm)
{
    size_t kept = 0;
    if (lsm->views_count != 0)
        return;
    for (size_t i = 0; i < lsm->count; i++) {
        struct fake_entry *entry = &lsm->entries[i];
        uint64_t horizon = fake_is_regional(entry->tree) ? UINT64_MAX : lsm->horizon;
        bool newer_below = i != 0 && kept != 0 &&
                           fake_compare(&lsm->entries[kept - 1], entry->tree, entry->key) == 0 &&
                           lsm->entries[kept - 1].version <= horizon;
        bool tombstone = entry->deletion && entry->version <= horizon;
        bool below =
            entry->tree == lsm->outcomes_tree &&
            bytes_compare(entry->key, bytes_of(lsm->outcomes_floor, lsm->outcomes_floor_size)) < 0;
        /* A tombstone may go only with all that it hides: which here is what follows it. */
        if ((newer_below || below) && (generator_chance(&lsm->generator, 1, 2) || newer_below)) {
            fake_entry_free(entry);
            continue;
        }
        bool last_of_key =
            i + 1 == lsm->count || fake_compare(&lsm->entries[i + 1], entry->tree, entry->key) != 0;
        if (tombstone && last_of_key &&
            (kept == 0 || fake_compare(&lsm->entries[kept - 1], entry->tree, entry->key) != 0)) {
            fake_entry_free(entry);
            continue;
        }
        lsm->entries[kept++] = *entry;
    }
    lsm->count = kept;
}

bool lsm_has_room(struct lsm *lsm, size_t size)
{
    (void)size;
    return !generator_chance(&lsm->generator, lsm->full_percent, 100);
}

void lsm_attachment_set(struct lsm *lsm, struct bytes attachment)
{
    ASSERT(attachment.size <= sizeof lsm->attachment);
    bytes_copy(lsm->attachment, attachment);
    lsm->attachment_size = attachment.size;
}

struct bytes lsm_attachment(const struct lsm *lsm)
{
    return bytes_of(lsm->attachment, lsm->attachment_size);
}

void lsm_publish(struct lsm *lsm, const struct lsm_write *writes, size_t count,
                 const struct lsm_mark *mark)
{
    ASSERT(mark->index > lsm->mark.index && mark->term >= lsm->mark.term);
    ASSERT(mark->version >= lsm->mark.version);
    uint64_t version_before = lsm->mark.version;
    lsm->mark = *mark;
    for (size_t i = 0; i < count; i++) {
        const struct lsm_write *write = &writes[i];
        bool regional = fake_is_regional(write->tree);
        ASSERT(regional || mark->version > version_before);
        ASSERT(write->key.size != 0 && write->key.size <= lsm_key_size_max);
        ASSERT(write->value.size <= lsm_value_size_max);
        ASSERT(i == 0 || writes[i - 1].tree < write->tree ||
               (writes[i - 1].tree == write->tree &&
                bytes_compare(writes[i - 1].key, write->key) < 0));
        if (lsm->count == lsm->capacity) {
            lsm->capacity = 2 * lsm->capacity + 1024;
            lsm->entries = realloc(lsm->entries, lsm->capacity * sizeof *lsm->entries);
            ASSERT(lsm->entries != NULL);
        }
        size_t place = fake_place(lsm, write->tree, write->key);
        memmove(lsm->entries + place + 1, lsm->entries + place,
                (lsm->count - place) * sizeof *lsm->entries);
        lsm->entries[place] = (struct fake_entry){.tree = write->tree,
                                                  .deletion = write->deletion,
                                                  .version = regional ? mark->index : mark->version,
                                                  .key = fake_copy(write->key),
                                                  .value = fake_copy(write->value)};
        lsm->count++;
    }
}

uint64_t lsm_installed_index(const struct lsm *lsm)
{
    return lsm->mark.index;
}

void lsm_horizon_set(struct lsm *lsm, uint64_t version)
{
    ASSERT(version >= lsm->horizon && version <= lsm->mark.version);
    lsm->horizon = version;
}

void lsm_discard_below(struct lsm *lsm, uint16_t tree, struct bytes key)
{
    ASSERT(key.size <= sizeof lsm->outcomes_floor);
    lsm->outcomes_tree = tree;
    bytes_copy(lsm->outcomes_floor, key);
    lsm->outcomes_floor_size = key.size;
}

void lsm_wait_init(struct lsm_wait *wait, void (*ready)(struct lsm_wait *wait), void *context)
{
    *wait = (struct lsm_wait){.ready = ready, .context = context};
}

void lsm_wait_cancel(struct lsm_wait *wait)
{
    struct lsm *lsm = fake_of_waits;
    size_t kept = 0;
    for (size_t i = 0; lsm != NULL && i < lsm->waits_count; i++) {
        if (lsm->waits[i] != wait)
            lsm->waits[kept++] = lsm->waits[i];
    }
    if (lsm != NULL)
        lsm->waits_count = kept;
    wait->pending_count = 0;
}

static bool fake_again(struct lsm *lsm, struct lsm_wait *wait)
{
    ASSERT(wait != NULL);
    if (!generator_chance(&lsm->generator, lsm->again_percent, 100) ||
        lsm->waits_count == fake_waits_max)
        return false;
    fake_of_waits = lsm;
    lsm->waits[lsm->waits_count++] = wait;
    wait->pending_count++;
    lsm->again_count++;
    return true;
}

enum status lsm_view_open(struct lsm *lsm, uint64_t version, struct lsm_view **view)
{
    ASSERT(version >= lsm->horizon);
    *view = malloc(sizeof **view);
    ASSERT(*view != NULL);
    (*view)->lsm = lsm;
    (*view)->version = version == UINT64_MAX ? lsm->mark.version : version;
    (*view)->index = lsm->mark.index;
    lsm->views_count++;
    return STATUS_OK;
}

void lsm_view_close(struct lsm_view *view)
{
    view->lsm->views_count--;
    free(view);
}

void lsm_view_release(struct lsm_view *view)
{
    (void)view;
}

uint64_t lsm_view_version(const struct lsm_view *view)
{
    return view->version;
}

/* The newest entry at or below the view's version; NULL. */
static const struct fake_entry *fake_find(const struct lsm_view *view, uint16_t tree,
                                          struct bytes key)
{
    const struct lsm *lsm = view->lsm;
    uint64_t version = fake_is_regional(tree) ? view->index : view->version;
    for (size_t i = fake_place(lsm, tree, key);
         i < lsm->count && fake_compare(&lsm->entries[i], tree, key) == 0; i++) {
        if (lsm->entries[i].version <= version)
            return &lsm->entries[i];
    }
    return NULL;
}

enum status lsm_get(struct lsm_view *view, struct lsm_wait *wait, uint16_t tree, struct bytes key,
                    struct lsm_value *value)
{
    *value = (struct lsm_value){0};
    if (fake_again(view->lsm, wait))
        return STATUS_AGAIN;
    const struct fake_entry *entry = fake_find(view, tree, key);
    if (entry == NULL)
        return STATUS_NOT_FOUND;
    value->version = entry->version;
    if (entry->deletion)
        return STATUS_NOT_FOUND;
    value->value = entry->value;
    return STATUS_OK;
}

enum status lsm_changed(struct lsm_view *view, struct lsm_wait *wait, uint16_t tree,
                        struct bytes start, struct bytes end, uint64_t since, bool *changed)
{
    const struct lsm *lsm = view->lsm;
    *changed = false;
    ASSERT(since >= lsm->horizon);
    if (fake_again(view->lsm, wait))
        return STATUS_AGAIN;
    for (size_t i = fake_place(lsm, tree, start); i < lsm->count; i++) {
        const struct fake_entry *entry = &lsm->entries[i];
        if (entry->tree != tree || (end.size != 0 && bytes_compare(entry->key, end) >= 0))
            break;
        *changed |= entry->version > since && entry->version <= view->version;
    }
    return STATUS_OK;
}

enum status lsm_iterator_open(struct lsm_view *view, uint16_t tree, struct bytes start,
                              struct bytes end, bool reverse, struct lsm_iterator **opened)
{
    struct lsm_iterator *iterator = calloc(1, sizeof *iterator);
    ASSERT(iterator != NULL);
    iterator->view = view;
    iterator->tree = tree;
    iterator->reverse = reverse;
    iterator->start = fake_copy(start);
    iterator->end = fake_copy(end);
    view->lsm->iterators_count++;
    *opened = iterator;
    return STATUS_OK;
}

/* Whether the entry is of the range and past what was given. */
static bool fake_in_range(const struct lsm_iterator *iterator, const struct fake_entry *entry)
{
    if (entry->tree != iterator->tree || bytes_compare(entry->key, iterator->start) < 0 ||
        (iterator->end.size != 0 && bytes_compare(entry->key, iterator->end) >= 0))
        return false;
    if (!iterator->begun)
        return true;
    int order = bytes_compare(entry->key, iterator->at);
    return iterator->reverse ? order < 0 : order > 0;
}

static enum status fake_give(struct lsm_iterator *iterator, const struct fake_entry *entry,
                             struct lsm_item *item)
{
    free((void *)(uintptr_t)iterator->at.data);
    iterator->begun = true;
    iterator->at = fake_copy(entry->key);
    *item =
        (struct lsm_item){.key = iterator->at, .value = entry->value, .version = entry->version};
    return STATUS_OK;
}

enum status lsm_iterator_next(struct lsm_iterator *iterator, struct lsm_wait *wait,
                              struct lsm_item *item)
{
    const struct lsm *lsm = iterator->view->lsm;
    *item = (struct lsm_item){0};
    if (fake_again(iterator->view->lsm, wait))
        return STATUS_AGAIN;
    for (size_t n = 0; n < lsm->count; n++) {
        size_t i = iterator->reverse ? lsm->count - 1 - n : n;
        const struct fake_entry *entry = &lsm->entries[i];
        if (fake_in_range(iterator, entry) &&
            fake_find(iterator->view, entry->tree, entry->key) == entry && !entry->deletion)
            return fake_give(iterator, entry, item);
    }
    return STATUS_END;
}

void lsm_iterator_close(struct lsm_iterator *iterator)
{
    iterator->view->lsm->iterators_count--;
    free((void *)(uintptr_t)iterator->start.data);
    free((void *)(uintptr_t)iterator->end.data);
    free((void *)(uintptr_t)iterator->at.data);
    free(iterator);
}

#endif
