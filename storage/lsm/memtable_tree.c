/* SPDX-License-Identifier: Apache-2.0 */
/* Kind bytes: a B+tree whose nodes and records live in the memtable's arena. Nothing is ever
 * removed, so nodes only fill and split. Leaves are linked both ways. */
#include "storage/lsm/memtable_internal.h"

/* Separators begin with the second: see struct memtable_inner. */
enum { from_leaf = 0, from_inner = 1 };

enum { skip_min = 4 };

/* ---- Nodes ---- */

static uint64_t prefix_after(struct bytes key, uint32_t skip)
{
    return memtable_prefix(bytes_of(key.data + skip, key.size - skip));
}

static uint32_t shared_size(struct bytes a, struct bytes b, size_t most)
{
    size_t size = 0;
    most = most < a.size ? most : a.size;
    most = most < b.size ? most : b.size;
    while (size < most && a.data[size] == b.data[size])
        size++;
    return (uint32_t)size;
}

/* The first member, from `from` on, after (key, version), or at it unless `past_equal`. */
static uint32_t node_search(const struct memtable_node *node, uint32_t from, struct bytes key,
                            uint64_t version, bool past_equal)
{
    if (node->count == from)
        return from;
    if (node->skip != 0) {
        size_t size = key.size < node->skip ? key.size : node->skip;
        int order = size == 0 ? 0 : memcmp(key.data, node->records[from]->bytes, size);
        if (order != 0 || size < node->skip)
            return order <= 0 ? from : node->count;
    }
    struct bytes rest = bytes_of(key.data + node->skip, key.size - node->skip);
    uint64_t prefix = memtable_prefix(rest);
    uint32_t low = from;
    uint32_t high = node->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order;
        if (node->prefixes[middle] != prefix) {
            order = node->prefixes[middle] < prefix ? -1 : 1;
        } else {
            const struct memtable_record *record = node->records[middle];
            order =
                lsm_entry_order(bytes_of(record->bytes + node->skip, record->key_size - node->skip),
                                record->version, rest, version);
        }
        if (order < 0 || (order == 0 && past_equal))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void node_set_skip(struct memtable_node *node, uint32_t from, uint32_t skip)
{
    node->skip = skip;
    for (uint32_t i = from; i < node->count; i++)
        node->prefixes[i] = prefix_after(memtable_record_key(node->records[i]), skip);
}

/* Skips all that the keys share. A little is not worth it: to skip, a search must look at a record,
 * and 8 bytes tell keys apart that share less. */
static void node_refit(struct memtable_node *node, uint32_t from)
{
    uint32_t skip = 0;
    if (node->count > from + 1)
        skip = shared_size(memtable_record_key(node->records[from]),
                           memtable_record_key(node->records[node->count - 1]), SIZE_MAX);
    node_set_skip(node, from, skip < skip_min ? 0 : skip);
}

static void array_insert(void *array, size_t element_size, uint32_t count, uint32_t place,
                         const void *element)
{
    uint8_t *at = (uint8_t *)array + place * element_size;
    memmove(at + element_size, at, (count - place) * element_size);
    memcpy(at, element, element_size);
}

static void node_insert(struct memtable_node *node, uint32_t from, uint32_t place,
                        const struct memtable_record *record)
{
    struct bytes key = memtable_record_key(record);
    if (node->skip != 0) {
        uint32_t shared = shared_size(memtable_record_key(node->records[from]), key, node->skip);
        if (shared < node->skip)
            node_set_skip(node, from, shared);
    }
    uint64_t prefix = prefix_after(key, node->skip);
    array_insert(node->prefixes, sizeof prefix, node->count, place, &prefix);
    array_insert(node->records, sizeof record, node->count, place, &record);
    node->count++;
}

/* Moves the members from `split` on to an empty node on the right. */
static void node_split(struct memtable_node *node, struct memtable_node *right, uint32_t split)
{
    right->count = node->count - split;
    right->skip = 0;
    memcpy(right->records, node->records + split, right->count * sizeof *right->records);
    node->count = split;
}

/* Which child holds (key, version): the last whose separator is at or before it. */
static uint32_t child_of(const struct memtable_inner *inner, struct bytes key, uint64_t version)
{
    return node_search(&inner->node, from_inner, key, version, true) - 1;
}

/* The leaf for (key, version), and in it the first place at or after, which may be its end. */
static struct memtable_leaf *descend(const struct memtable_tree *tree, struct bytes key,
                                     uint64_t version, uint32_t *slot)
{
    *slot = 0;
    if (tree->root == NULL)
        return NULL;
    void *node = tree->root;
    for (unsigned level = tree->height; level > 0; level--) {
        struct memtable_inner *inner = node;
        node = inner->children[child_of(inner, key, version)];
    }
    struct memtable_leaf *leaf = node;
    *slot = node_search(&leaf->node, from_leaf, key, version, false);
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

/* Where to split a full node for an insertion at `place`: in the middle, but at the end where that
 * is where the tree grows, so that ascending keys leave full nodes behind. */
static uint32_t split_point(uint32_t place, bool is_last)
{
    return is_last && place == memtable_order_max ? memtable_order_max : memtable_order_max / 2;
}

static void inner_insert(struct memtable_inner *inner, uint32_t place,
                         const struct memtable_record *record, void *child)
{
    array_insert(inner->children, sizeof child, inner->node.count, place, &child);
    node_insert(&inner->node, from_inner, place, record);
}

/* Splits a full inner node and inserts; gives the new one on the right. */
static struct memtable_inner *inner_split(struct memtable *memtable, unsigned level,
                                          struct memtable_inner *inner, uint32_t place,
                                          bool is_last, const struct memtable_record *record,
                                          void *child)
{
    struct memtable_inner *right = node_make(memtable, level);
    uint32_t split = split_point(place, is_last);
    memcpy(right->children, inner->children + split,
           (memtable_order_max - split) * sizeof *right->children);
    node_split(&inner->node, &right->node, split);
    node_refit(&inner->node, from_inner);
    node_refit(&right->node, from_inner);
    if (place > split) {
        inner_insert(right, place - split, record, child);
    } else if (right->node.count == 0) {
        right->node.records[0] = record;
        right->children[0] = child;
        right->node.count = 1;
    } else {
        inner_insert(inner, place, record, child);
    }
    return right;
}

/* Inserts `child` after `path[level]`'s child `places[level]`, and splits upwards as needed. */
static void insert_upwards(struct memtable *memtable, struct memtable_inner **path,
                           const uint32_t *places, bool is_last,
                           const struct memtable_record *record, void *child)
{
    struct memtable_tree *tree = &memtable->tree;
    for (unsigned level = 1; level <= tree->height; level++) {
        struct memtable_inner *inner = path[level];
        uint32_t place = places[level] + 1;
        if (inner->node.count < memtable_order_max) {
            inner_insert(inner, place, record, child);
            return;
        }
        struct memtable_inner *right =
            inner_split(memtable, level, inner, place, is_last, record, child);
        record = right->node.records[0];
        child = right;
    }
    ASSERT(tree->height < memtable_height_max);
    struct memtable_inner *root = node_make(memtable, tree->height + 1);
    root->node.count = 1;
    root->node.skip = 0;
    root->node.records[0] = record;
    root->children[0] = tree->root;
    inner_insert(root, 1, record, child);
    tree->root = root;
    tree->height++;
}

/* Splits a full leaf and inserts; gives the new leaf on the right. */
static struct memtable_leaf *leaf_split(struct memtable *memtable, struct memtable_leaf *leaf,
                                        uint32_t place, const struct memtable_record *record)
{
    struct memtable_leaf *right = node_make(memtable, 0);
    uint32_t split = split_point(place, leaf->next == NULL);
    node_split(&leaf->node, &right->node, split);
    node_refit(&leaf->node, from_leaf);
    node_refit(&right->node, from_leaf);
    right->previous = leaf;
    right->next = leaf->next;
    if (leaf->next != NULL)
        leaf->next->previous = right;
    else
        memtable->tree.last = right;
    leaf->next = right;
    if (place > split || right->node.count == 0)
        node_insert(&right->node, from_leaf, place - split, record);
    else
        node_insert(&leaf->node, from_leaf, place, record);
    return right;
}

static void put_first(struct memtable *memtable, const struct memtable_record *record)
{
    struct memtable_tree *tree = &memtable->tree;
    struct memtable_leaf *leaf = node_make(memtable, 0);
    leaf->previous = NULL;
    leaf->next = NULL;
    leaf->node.count = 0;
    leaf->node.skip = 0;
    node_insert(&leaf->node, from_leaf, 0, record);
    tree->root = leaf;
    tree->first = leaf;
    tree->last = leaf;
}

void memtable_tree_put(struct memtable *memtable, const struct memtable_record *record)
{
    struct memtable_tree *tree = &memtable->tree;
    struct bytes key = memtable_record_key(record);
    memtable->modifications_count++;
    if (tree->root == NULL) {
        put_first(memtable, record);
        return;
    }
    struct memtable_inner *path[memtable_height_max + 1];
    uint32_t places[memtable_height_max + 1];
    void *node = tree->root;
    for (unsigned level = tree->height; level > 0; level--) {
        path[level] = node;
        places[level] = child_of(path[level], key, record->version);
        node = path[level]->children[places[level]];
    }
    struct memtable_leaf *leaf = node;
    uint32_t place = node_search(&leaf->node, from_leaf, key, record->version, false);
    if (leaf->node.count < memtable_order_max) {
        node_insert(&leaf->node, from_leaf, place, record);
        return;
    }
    struct memtable_leaf *right = leaf_split(memtable, leaf, place, record);
    insert_upwards(memtable, path, places, right->next == NULL, right->node.records[0], right);
}

/* ---- Reading ---- */

const struct memtable_record *memtable_tree_get(const struct memtable *memtable, struct bytes key,
                                                uint64_t version)
{
    uint32_t slot;
    struct memtable_leaf *leaf = descend(&memtable->tree, key, version, &slot);
    if (leaf != NULL && slot == leaf->node.count) {
        leaf = leaf->next;
        slot = 0;
    }
    if (leaf == NULL || !bytes_equal(memtable_record_key(leaf->node.records[slot]), key))
        return NULL;
    return leaf->node.records[slot];
}

/* Stands on the slot, or on the next leaf's first where it is past the leaf's end. */
static void stand(struct memtable_cursor *cursor, struct memtable_leaf *leaf, uint32_t slot)
{
    if (leaf != NULL && slot == leaf->node.count) {
        leaf = leaf->next;
        slot = 0;
    }
    cursor->leaf = leaf;
    cursor->slot = slot;
    cursor->record = leaf != NULL ? leaf->node.records[slot] : NULL;
    cursor->modifications_count = cursor->memtable->modifications_count;
}

static void stand_before(struct memtable_cursor *cursor, struct memtable_leaf *leaf, uint32_t slot)
{
    if (leaf != NULL && slot == 0) {
        leaf = leaf->previous;
        slot = leaf != NULL ? leaf->node.count : 0;
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
    stand(cursor, last, last != NULL ? last->node.count - 1 : 0);
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
