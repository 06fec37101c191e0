/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what was given up, by pages; and what became of transactions, before it is given up. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/state/lost.h"
#include "server/state/state_internal.h"

/* ---- A page of entries ---- */

struct state_lost_walk {
    struct arena *arena;
    struct lsm_iterator *iterator;
    struct state_lost_page page;
    struct lsm_view *view;
    uint64_t telling_id;
    struct state_lost_entry *entries;
    size_t count;
    size_t capacity;
    size_t size;
    bool more;
    bool is_filled;      /* the page has all its entries */
    size_t judged_count; /* of these, what they had come to was looked up */

    /* An entry of several parts, of which `parts_count` are here. */
    uint8_t *joined;
    size_t joined_size;
    unsigned parts_count;
};

enum status state_lost_walk_open(struct state_view *view, const struct state_lost_page *page,
                                 struct arena *arena, struct state_lost_walk **opened,
                                 struct state_refusal *refusal)
{
    const struct lost_item *item = lost_item_find(&view->state->lost, page->id);
    struct lost_range range = lost_range('T', page->id);
    uint8_t after[lost_entry_key_size];
    struct bytes start = bytes_of(range.start, sizeof range.start);

    *opened = NULL;
    if (item == NULL || item->report.closed) {
        *refusal = (struct state_refusal){0};
        (void)snprintf(refusal->text, sizeof refusal->text,
                       item == NULL ? "There is no report %" PRIu64 " of what was given up."
                                    : "Report %" PRIu64 " is closed: what it held is gone.",
                       page->id);
        return STATUS_NOT_FOUND;
    }
    struct state_lost_walk *walk = arena_alloc_zeroed(arena, 1, sizeof *walk);
    if (walk == NULL)
        return STATUS_NO_MEMORY;
    walk->arena = arena;
    walk->page = *page;
    walk->view = view->lsm;
    walk->telling_id = item->telling_id;
    if (page->after_epoch.number != 0) {
        /* Above all parts of that entry. */
        lost_entry_key(page->id, page->after_epoch, page->after_version, 255, 255, after);
        start = bytes_of(after, sizeof after);
    }
    enum status status =
        lsm_iterator_open(view->lsm, STATE_TREE_LOST, start, bytes_of(range.end, sizeof range.end),
                          false, &walk->iterator);
    if (status == STATUS_OK)
        *opened = walk;
    return status;
}

void state_lost_walk_close(struct state_lost_walk *walk)
{
    if (walk != NULL && walk->iterator != NULL)
        lsm_iterator_close(walk->iterator);
    if (walk != NULL)
        walk->iterator = NULL;
}

static enum status page_add(struct state_lost_walk *walk, struct bytes entry, uint64_t version)
{
    if (walk->count == walk->capacity) {
        size_t capacity = walk->capacity == 0 ? 32 : 2 * walk->capacity;
        struct state_lost_entry *entries =
            arena_alloc_zeroed(walk->arena, capacity, sizeof *entries);
        if (entries == NULL)
            return STATUS_NO_MEMORY;
        if (walk->count != 0)
            memcpy(entries, walk->entries, walk->count * sizeof *entries);
        walk->entries = entries;
        walk->capacity = capacity;
    }
    walk->entries[walk->count++] = (struct state_lost_entry){.bytes = entry, .version = version};
    walk->size += entry.size;
    return STATUS_OK;
}

/* The first part says how many follow, so that memory is taken once. */
static enum status take_part(struct state_lost_walk *walk, const struct lsm_item *item)
{
    unsigned part = item->key.data[29];
    unsigned parts_count = item->key.data[30];
    uint64_t version = load_u64_be(item->key.data + 21);
    struct bytes copy;

    if (part != walk->parts_count || part >= parts_count ||
        (part + 1 < parts_count && item->value.size != lost_part_size))
        return STATUS_CORRUPT;
    if (parts_count == 1)
        return arena_copy(walk->arena, item->value, &copy) ? page_add(walk, copy, version)
                                                           : STATUS_NO_MEMORY;
    if (part == 0) {
        walk->joined = arena_alloc(walk->arena, (size_t)parts_count * lost_part_size);
        walk->joined_size = 0;
        if (walk->joined == NULL)
            return STATUS_NO_MEMORY;
    }
    if (item->value.size > lost_part_size)
        return STATUS_CORRUPT;
    bytes_copy(walk->joined + walk->joined_size, item->value);
    walk->joined_size += item->value.size;
    walk->parts_count++;
    if (walk->parts_count < parts_count)
        return STATUS_OK;
    walk->parts_count = 0;
    return page_add(walk, bytes_of(walk->joined, walk->joined_size), version);
}

/* Whether an entry that begins with this part is left to the next page. */
static bool is_full(const struct state_lost_walk *walk, const struct lsm_item *item)
{
    size_t size = (size_t)(item->key.data[30] - 1) * lost_part_size + item->value.size;
    if (walk->count == 0 || walk->parts_count != 0)
        return false;
    return (walk->page.count_max != 0 && walk->count >= walk->page.count_max) ||
           walk->size + size > walk->page.size_max;
}

static enum status fill_page(struct state_lost_walk *walk, struct lsm_wait *wait)
{
    struct lsm_item item;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && !walk->more) {
        status = lsm_iterator_next(walk->iterator, wait, &item);
        if (status == STATUS_OK && item.key.size != lost_entry_key_size)
            status = STATUS_CORRUPT;
        if (status == STATUS_OK && is_full(walk, &item))
            walk->more = true;
        else if (status == STATUS_OK)
            status = take_part(walk, &item);
    }
    if (status == STATUS_END)
        status = walk->parts_count == 0 ? STATUS_OK : STATUS_CORRUPT;
    walk->is_filled = status == STATUS_OK;
    return status;
}

/* Looks up what the page's entries had come to. */
static enum status judge_page(struct state_lost_walk *walk, struct lsm_wait *wait)
{
    uint8_t key[lost_outcome_key_size];
    struct lsm_value value;

    for (; walk->telling_id != 0 && walk->judged_count < walk->count; walk->judged_count++) {
        struct state_lost_entry *entry = &walk->entries[walk->judged_count];
        lost_outcome_key(walk->telling_id, entry->version, key);
        enum status status =
            lsm_get(walk->view, wait, STATE_TREE_LOST, bytes_of(key, sizeof key), &value);
        if (status == STATUS_NOT_FOUND)
            continue;
        if (status != STATUS_OK)
            return status;
        if (value.value.size != 2)
            return STATUS_CORRUPT;
        int outcome = load_u16(value.value.data);
        entry->has_outcome = true;
        entry->outcome = status_is_known(outcome) ? (enum status)outcome : STATUS_INTERNAL;
        lsm_view_release(walk->view);
    }
    return STATUS_OK;
}

enum status state_lost_walk_step(struct state_lost_walk *walk, struct lsm_wait *wait,
                                 const struct state_lost_entry **entries, size_t *count, bool *more)
{
    *entries = NULL;
    *count = 0;
    enum status status = walk->is_filled ? STATUS_OK : fill_page(walk, wait);
    if (status == STATUS_OK)
        status = judge_page(walk, wait);
    if (status != STATUS_OK)
        return status;
    *entries = walk->entries;
    *count = walk->count;
    *more = walk->more;
    return STATUS_OK;
}

/* ---- Telling what commits had come to ---- */

enum { tell_looks_max = 4096 }; /* in one step: others take their turn */

struct state_lost_telling {
    struct state_view *view;
    struct lsm_iterator *iterator;
    uint64_t version;
    uint32_t count; /* in the body that is being made */
};

enum status state_lost_telling_open(struct state *state, uint64_t version,
                                    struct state_lost_telling **opened)
{
    *opened = NULL;
    struct state_lost_telling *telling = calloc(1, sizeof *telling);
    if (telling == NULL)
        return STATUS_NO_MEMORY;
    telling->version = version;
    enum status status = state_view_open(state, UINT64_MAX, &telling->view);
    if (status == STATUS_OK)
        status = lsm_iterator_open(telling->view->lsm, STATE_TREE_OUTCOMES, (struct bytes){0},
                                   (struct bytes){0}, false, &telling->iterator);
    if (status != STATUS_OK) {
        state_lost_telling_close(telling);
        return status;
    }
    *opened = telling;
    return STATUS_OK;
}

void state_lost_telling_close(struct state_lost_telling *telling)
{
    if (telling == NULL)
        return;
    if (telling->iterator != NULL)
        lsm_iterator_close(telling->iterator);
    state_view_close(telling->view);
    free(telling);
}

static enum status tell(struct state_lost_telling *telling, const struct lsm_item *item,
                        uint8_t body[state_lost_tell_size_max])
{
    struct outcome outcome;
    enum status status = outcome_decode(item->value, &outcome);

    if (status != STATUS_OK || item->version <= telling->version)
        return status;
    uint8_t *to = body + state_lost_body_size + (size_t)telling->count * lost_told_size;
    store_u64(to, item->version);
    store_u16(to + 8, (uint16_t)outcome.status);
    telling->count++;
    return STATUS_OK;
}

enum status state_lost_telling_step(struct state_lost_telling *telling, struct lsm_wait *wait,
                                    uint8_t body[state_lost_tell_size_max], size_t *size,
                                    bool *more)
{
    struct lsm_item item;
    enum status status = STATUS_OK;

    *size = 0;
    *more = true;
    for (unsigned looks = 0; status == STATUS_OK && telling->count < lost_tell_count_max; looks++) {
        if (looks == tell_looks_max)
            return STATUS_AGAIN;
        status = lsm_iterator_next(telling->iterator, wait, &item);
        if (status == STATUS_OK)
            status = tell(telling, &item, body);
    }
    if (status != STATUS_OK && status != STATUS_END)
        return status;
    *more = status == STATUS_OK;
    lost_tell_encode(telling->count, body);
    *size = state_lost_body_size + (size_t)telling->count * lost_told_size;
    telling->count = 0;
    return STATUS_OK;
}
