/* SPDX-License-Identifier: Apache-2.0 */
/* Kind bytes: a B+tree whose nodes and records live in the memtable's arena. Nothing is ever
 * removed, so nodes only fill and split. Leaves are linked both ways. */
#include "storage/lsm/memtable_internal.h"

/* The first of `count` members, in order, at or after (key, version); `from` where to begin. */
static uint32_t lower_bound(const uint64_t *prefixes, const struct memtable_record *const *records,
                            uint32_t from, uint32_t count, uint64_t key_prefix, struct bytes key,
                            uint64_t version)
{
    uint32_t low = from;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (memtable_record_order(prefixes[middle], records[middle], key_prefix, key, version) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Which child holds (key, version): the last whose separator is at or before it. */
static uint32_t child_of(const struct memtable_inner *inner, uint64_t key_prefix, struct bytes key,
                         uint64_t version)
{
    uint32_t place =
        lower_bound(inner->prefixes, inner->records, 1, inner->count, key_prefix, key, version);
    if (place < inner->count && inner->prefixes[place] == key_prefix &&
        inner->records[place]->version == version &&
        bytes_equal(memtable_record_key(inner->records[place]), key))
        return place;
    return place - 1;
}

/* The leaf for (key, version), and in it the first place at or after, which may be its end. */
static struct memtable_leaf *descend(const struct memtable_tree *tree, struct bytes key,
                                     uint64_t version, uint32_t *slot)
{
    *slot = 0;
    if (tree->root == NULL)
        return NULL;
    uint64_t key_prefix = memtable_prefix(key);
    void *node = tree->root;
    for (unsigned level = tree->height; level > 0; level--) {
        struct memtable_inner *inner = node;
        node = inner->children[child_of(inner, key_prefix, key, version)];
    }
    struct memtable_leaf *leaf = node;
    *slot = lower_bound(leaf->prefixes, leaf->records, 0, leaf->count, key_prefix, key, version);
    return leaf;
}

/* ---- Writing ---- */

/* A level's splits are at most its insertions; and at most one for each node that there was, one
 * for each 16 insertions (a half-full node becomes full), and two for each 31 (the level's last
 * node is split at its end, which leaves a full one behind that may split once more). */
bool memtable_tree_reserve(const struct memtable_tree *tree, size_t entries_count, size_t *size)
{
    uint64_t insertions = entries_count;
    uint64_t total = 0;
    for (unsigned level = 0; level <= memtable_height_max; level++) {
        uint64_t splits = tree->nodes_count[level] + insertions / 8 + 2;
        if (splits > insertions)
            splits = insertions;
        /* And one for a new root. */
        uint64_t node_size =
            level == 0 ? sizeof(struct memtable_leaf) : sizeof(struct memtable_inner);
        if (__builtin_mul_overflow(splits + 1, node_size, &node_size) ||
            __builtin_add_overflow(total, node_size, &total))
            return false;
        if (level > tree->height && splits <= 2)
            break;
        insertions = splits;
    }
    *size = total;
    return true;
}

static void *node_make(struct memtable *memtable, unsigned level)
{
    memtable->tree.nodes_count[level]++;
    return memtable_arena_take(&memtable->arena, level == 0 ? sizeof(struct memtable_leaf)
                                                            : sizeof(struct memtable_inner));
}

static void array_insert(void *array, size_t element_size, uint32_t count, uint32_t place,
                         const void *element)
{
    uint8_t *at = (uint8_t *)array + place * element_size;
    memmove(at + element_size, at, (count - place) * element_size);
    memcpy(at, element, element_size);
}

/* Where to split a full node for an insertion at `place`: in the middle, but at the end where that
 * is where the tree grows, so that ascending keys leave full nodes behind. */
static uint32_t split_point(uint32_t place, bool is_last)
{
    return is_last && place == memtable_order_max ? memtable_order_max : memtable_order_max / 2;
}

static void inner_insert(struct memtable_inner *inner, uint32_t place, uint64_t prefix,
                         const struct memtable_record *record, void *child)
{
    array_insert(inner->prefixes, sizeof prefix, inner->count, place, &prefix);
    array_insert(inner->records, sizeof record, inner->count, place, &record);
    array_insert(inner->children, sizeof child, inner->count, place, &child);
    inner->count++;
}

/* Inserts after `path[level]`'s child `places[level]`, and splits upwards as needed. */
static void insert_upwards(struct memtable *memtable, struct memtable_inner **path,
                           const uint32_t *places, bool is_last, uint64_t prefix,
                           const struct memtable_record *record, void *child)
{
    struct memtable_tree *tree = &memtable->tree;
    for (unsigned level = 1; level <= tree->height; level++) {
        struct memtable_inner *inner = path[level];
        uint32_t place = places[level] + 1;
        if (inner->count < memtable_order_max) {
            inner_insert(inner, place, prefix, record, child);
            return;
        }
        struct memtable_inner *right = node_make(memtable, level);
        uint32_t split = split_point(place, is_last);
        right->count = memtable_order_max - split;
        memcpy(right->prefixes, inner->prefixes + split, right->count * sizeof *right->prefixes);
        memcpy(right->records, inner->records + split, right->count * sizeof *right->records);
        memcpy(right->children, inner->children + split, right->count * sizeof *right->children);
        inner->count = split;
        if (place >= split && (place > split || right->count == 0))
            inner_insert(right, place - split, prefix, record, child);
        else
            inner_insert(inner, place, prefix, record, child);
        prefix = right->prefixes[0];
        record = right->records[0];
        child = right;
    }
    ASSERT(tree->height < memtable_height_max);
    struct memtable_inner *root = node_make(memtable, tree->height + 1);
    /* Separator 0 is not compared; it is set for the day the node's right part moves. */
    root->count = 2;
    root->prefixes[0] = prefix;
    root->records[0] = record;
    root->children[0] = tree->root;
    root->prefixes[1] = prefix;
    root->records[1] = record;
    root->children[1] = child;
    tree->root = root;
    tree->height++;
}

static void leaf_insert(struct memtable_leaf *leaf, uint32_t place, uint64_t prefix,
                        const struct memtable_record *record)
{
    array_insert(leaf->prefixes, sizeof prefix, leaf->count, place, &prefix);
    array_insert(leaf->records, sizeof record, leaf->count, place, &record);
    leaf->count++;
}

/* Splits a full leaf and inserts; gives the new leaf on the right. */
static struct memtable_leaf *leaf_split(struct memtable *memtable, struct memtable_leaf *leaf,
                                        uint32_t place, uint64_t prefix,
                                        const struct memtable_record *record)
{
    struct memtable_leaf *right = node_make(memtable, 0);
    uint32_t split = split_point(place, leaf->next == NULL);
    right->count = memtable_order_max - split;
    memcpy(right->prefixes, leaf->prefixes + split, right->count * sizeof *right->prefixes);
    memcpy(right->records, leaf->records + split, right->count * sizeof *right->records);
    leaf->count = split;
    right->previous = leaf;
    right->next = leaf->next;
    if (leaf->next != NULL)
        leaf->next->previous = right;
    else
        memtable->tree.last = right;
    leaf->next = right;
    if (place > split || right->count == 0)
        leaf_insert(right, place - split, prefix, record);
    else
        leaf_insert(leaf, place, prefix, record);
    return right;
}

void memtable_tree_put(struct memtable *memtable, const struct memtable_record *record)
{
    struct memtable_tree *tree = &memtable->tree;
    struct bytes key = memtable_record_key(record);
    uint64_t prefix = memtable_prefix(key);
    memtable->modifications_count++;
    if (tree->root == NULL) {
        struct memtable_leaf *leaf = node_make(memtable, 0);
        leaf->previous = NULL;
        leaf->next = NULL;
        leaf->count = 0;
        leaf_insert(leaf, 0, prefix, record);
        tree->root = leaf;
        tree->first = leaf;
        tree->last = leaf;
        return;
    }
    struct memtable_inner *path[memtable_height_max + 1];
    uint32_t places[memtable_height_max + 1];
    void *node = tree->root;
    for (unsigned level = tree->height; level > 0; level--) {
        path[level] = node;
        places[level] = child_of(path[level], prefix, key, record->version);
        node = path[level]->children[places[level]];
    }
    struct memtable_leaf *leaf = node;
    uint32_t place =
        lower_bound(leaf->prefixes, leaf->records, 0, leaf->count, prefix, key, record->version);
    if (leaf->count < memtable_order_max) {
        leaf_insert(leaf, place, prefix, record);
        return;
    }
    struct memtable_leaf *right = leaf_split(memtable, leaf, place, prefix, record);
    insert_upwards(memtable, path, places, right->next == NULL, right->prefixes[0],
                   right->records[0], right);
}

/* ---- Reading ---- */

const struct memtable_record *memtable_tree_get(const struct memtable *memtable, struct bytes key,
                                                uint64_t version)
{
    uint32_t slot;
    struct memtable_leaf *leaf = descend(&memtable->tree, key, version, &slot);
    if (leaf != NULL && slot == leaf->count) {
        leaf = leaf->next;
        slot = 0;
    }
    if (leaf == NULL || !bytes_equal(memtable_record_key(leaf->records[slot]), key))
        return NULL;
    return leaf->records[slot];
}

/* Stands on the slot, or on the next leaf's first where it is past the leaf's end. */
static void stand(struct memtable_cursor *cursor, struct memtable_leaf *leaf, uint32_t slot)
{
    if (leaf != NULL && slot == leaf->count) {
        leaf = leaf->next;
        slot = 0;
    }
    cursor->leaf = leaf;
    cursor->slot = slot;
    cursor->record = leaf != NULL ? leaf->records[slot] : NULL;
    cursor->modifications_count = cursor->memtable->modifications_count;
}

static void stand_before(struct memtable_cursor *cursor, struct memtable_leaf *leaf, uint32_t slot)
{
    if (leaf != NULL && slot == 0) {
        leaf = leaf->previous;
        slot = leaf != NULL ? leaf->count : 0;
    }
    stand(cursor, leaf, leaf != NULL ? slot - 1 : 0);
}

/* Finds the record's place again where puts have come in between. */
static void find_again(struct memtable_cursor *cursor)
{
    if (cursor->modifications_count == cursor->memtable->modifications_count)
        return;
    const struct memtable_record *record = cursor->record;
    memtable_tree_seek(cursor, memtable_record_key(record), record->version);
    ASSERT(cursor->record == record);
}

void memtable_tree_seek(struct memtable_cursor *cursor, struct bytes key, uint64_t version)
{
    uint32_t slot;
    struct memtable_leaf *leaf = descend(&cursor->memtable->tree, key, version, &slot);
    stand(cursor, leaf, slot);
}

void memtable_tree_seek_before(struct memtable_cursor *cursor, struct bytes key, uint64_t version)
{
    uint32_t slot;
    struct memtable_leaf *leaf = descend(&cursor->memtable->tree, key, version, &slot);
    stand_before(cursor, leaf, slot);
}

void memtable_tree_first(struct memtable_cursor *cursor)
{
    stand(cursor, cursor->memtable->tree.first, 0);
}

void memtable_tree_last(struct memtable_cursor *cursor)
{
    struct memtable_leaf *last = cursor->memtable->tree.last;
    stand(cursor, last, last != NULL ? last->count - 1 : 0);
}

void memtable_tree_next(struct memtable_cursor *cursor)
{
    find_again(cursor);
    stand(cursor, cursor->leaf, cursor->slot + 1);
}

void memtable_tree_previous(struct memtable_cursor *cursor)
{
    find_again(cursor);
    stand_before(cursor, cursor->leaf, cursor->slot);
}
