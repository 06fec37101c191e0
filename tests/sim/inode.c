/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "tests/sim/disk_internal.h"

/* ---- Bytes written ---- */

static bool is_zero(const uint8_t *data, uint64_t size)
{
    static const uint8_t zeros[sim_page_size];
    uint64_t first = size < sizeof zeros ? size : sizeof zeros;
    return memcmp(data, zeros, first) == 0 && memcmp(data, data + first, size - first) == 0;
}

struct sim_blob *sim_blob_create(const void *data, uint64_t size)
{
    if (is_zero(data, size))
        return NULL;
    struct sim_blob *blob = malloc(sizeof *blob + size);
    ASSERT(blob != NULL);
    blob->references = 1;
    memcpy(blob->bytes, data, size);
    return blob;
}

void sim_blob_release(struct sim_blob *blob)
{
    if (blob != NULL && --blob->references == 0)
        free(blob);
}

bool sim_blob_is(const struct sim_blob *blob, const void *data, uint64_t size)
{
    return blob == NULL ? is_zero(data, size) : memcmp(blob->bytes, data, size) == 0;
}

/* ---- Inodes ---- */

struct sim_inode *sim_inode_create(struct sim_disk *disk, bool is_directory)
{
    struct sim_inode *inode = calloc(1, sizeof *inode);
    ASSERT(inode != NULL);
    inode->references = 1;
    inode->is_directory = is_directory;
    list_push_last(&disk->inodes, &inode->link);
    return inode;
}

void sim_inode_hold(struct sim_inode *inode)
{
    inode->references++;
}

void sim_inode_release(struct sim_inode *inode)
{
    if (--inode->references > 0)
        return;
    sim_inode_drop_changes(inode);
    sim_directory_clear(&inode->now_entries);
    sim_directory_clear(&inode->stable_entries);
    sim_content_free(&inode->now);
    sim_content_free(&inode->stable);
    free(inode->changes);
    list_remove(&inode->link);
    free(inode);
}

/* ---- Contents ---- */

static void note(struct sim_inode *inode, struct sim_change change)
{
    if (inode->changes_count == inode->changes_capacity) {
        inode->changes_capacity = inode->changes_capacity * 2 + 8;
        inode->changes = realloc(inode->changes, inode->changes_capacity * sizeof *inode->changes);
        ASSERT(inode->changes != NULL);
    }
    inode->changes[inode->changes_count++] = change;
}

void sim_inode_write_blob(struct sim_inode *inode, uint64_t offset, struct sim_blob *blob,
                          uint64_t size)
{
    if (size == 0)
        return;
    if (blob != NULL)
        blob->references++;
    sim_content_write(&inode->now, offset, blob != NULL ? blob->bytes : NULL, size);
    note(inode, (struct sim_change){offset, size, inode->now.size, blob});
}

void sim_inode_write(struct sim_inode *inode, uint64_t offset, const void *data, uint64_t size)
{
    struct sim_blob *blob = data != NULL ? sim_blob_create(data, size) : NULL;
    sim_inode_write_blob(inode, offset, blob, size);
    sim_blob_release(blob);
}

void sim_inode_resize(struct sim_inode *inode, uint64_t size)
{
    uint64_t old_size = inode->now.size;
    if (size == old_size)
        return;
    sim_content_resize(&inode->now, size);
    /* What was cut off reads as zeros should the file grow again. */
    note(inode, (struct sim_change){.offset = size < old_size ? size : 0,
                                    .size = size < old_size ? old_size - size : 0,
                                    .size_after = size});
}

void sim_inode_drop_changes(struct sim_inode *inode)
{
    for (size_t i = 0; i < inode->changes_count; i++)
        sim_blob_release(inode->changes[i].blob);
    inode->changes_count = 0;
}

/* Writes what [begin, end) and the change have in common to the stable image, whose length stays.
 */
static void apply(struct sim_inode *inode, const struct sim_change *change, uint64_t begin,
                  uint64_t end)
{
    if (begin < change->offset)
        begin = change->offset;
    if (end > change->offset + change->size)
        end = change->offset + change->size;
    if (end > inode->stable.size)
        end = inode->stable.size;
    if (begin < end)
        sim_content_write(&inode->stable, begin,
                          change->blob != NULL ? change->blob->bytes + (begin - change->offset)
                                               : NULL,
                          end - begin);
}

void sim_inode_flush(struct sim_inode *inode)
{
    if (inode->changes_count == 0)
        return;
    sim_content_resize(&inode->stable, inode->changes[inode->changes_count - 1].size_after);
    for (size_t i = 0; i < inode->changes_count; i++) {
        const struct sim_change *change = &inode->changes[i];
        if (inode->has_forgotten)
            apply(inode, change, 0, UINT64_MAX);
        else
            sim_content_share(&inode->stable, &inode->now, change->offset, change->size);
    }
    sim_inode_drop_changes(inode);
}

/* How a crash picks among the changes: any of these, for no one of them alone meets all the cases
 * that matter. */
enum choice {
    CHOICE_PREFIX, /* all before one that is torn, nothing after it */
    CHOICE_WHOLE,  /* each change whole or not at all */
    CHOICE_SECTOR, /* each sector of each change for itself */
    CHOICES_COUNT,
};

struct chooser {
    struct generator *generator;
    enum choice choice;
    unsigned percent; /* kept, where coins are thrown */
    size_t prefix;
    bool keep_change; /* the coin of the current change */
};

static bool keeps(struct chooser *chooser, size_t change)
{
    switch (chooser->choice) {
    case CHOICE_PREFIX:
        return change < chooser->prefix ||
               (change == chooser->prefix && generator_chance(chooser->generator, 1, 2));
    case CHOICE_WHOLE:
        return chooser->keep_change;
    default:
        return generator_chance(chooser->generator, chooser->percent, 100);
    }
}

static struct chooser choose(const struct sim_inode *inode, struct generator *generator)
{
    static const unsigned percents[] = {10, 50, 90};
    return (struct chooser){
        .generator = generator,
        .choice = (enum choice)generator_below(generator, CHOICES_COUNT),
        .percent = percents[generator_below(generator, 3)],
        .prefix = generator_below(generator, inode->changes_count + 1),
    };
}

/* A sector reaches the disk whole, with all that was written to it up to some moment. So each
 * sector is given a cut: the changes before it are applied there. */
static void apply_sectors(struct sim_inode *inode, struct chooser *chooser)
{
    uint64_t first = UINT64_MAX;
    uint64_t last = 0;
    for (size_t i = 0; i < inode->changes_count; i++) {
        const struct sim_change *change = &inode->changes[i];
        if (change->size == 0)
            continue;
        uint64_t begin = change->offset / sim_sector_size;
        uint64_t end = (change->offset + change->size - 1) / sim_sector_size;
        first = begin < first ? begin : first;
        last = end > last ? end : last;
    }
    if (first == UINT64_MAX)
        return;
    uint32_t *cuts = calloc(last - first + 1, sizeof *cuts);
    ASSERT(cuts != NULL);
    for (size_t i = 0; i < inode->changes_count; i++) {
        const struct sim_change *change = &inode->changes[i];
        chooser->keep_change = generator_chance(chooser->generator, chooser->percent, 100);
        for (uint64_t at = change->offset; at < change->offset + change->size;
             at = (at / sim_sector_size + 1) * sim_sector_size)
            if (keeps(chooser, i))
                cuts[at / sim_sector_size - first] = (uint32_t)i + 1;
    }
    for (size_t i = 0; i < inode->changes_count; i++) {
        const struct sim_change *change = &inode->changes[i];
        for (uint64_t at = change->offset; at < change->offset + change->size;) {
            uint64_t sector = at / sim_sector_size;
            uint64_t end = (sector + 1) * sim_sector_size;
            if (i < cuts[sector - first])
                apply(inode, change, at, end);
            at = end;
        }
    }
    free(cuts);
}

void sim_inode_flush_randomly(struct sim_inode *inode, struct generator *generator)
{
    if (inode->changes_count == 0)
        return;
    struct chooser chooser = choose(inode, generator);
    /* The length moves for itself: a file may be longer than what was written of it, and hold
     * zeros there, or shorter. */
    uint64_t cut = generator_chance(generator, 1, 2)
                       ? inode->changes_count
                       : generator_below(generator, inode->changes_count + 1);
    if (cut > 0)
        sim_content_resize(&inode->stable, inode->changes[cut - 1].size_after);
    apply_sectors(inode, &chooser);
    sim_inode_drop_changes(inode);
}

void sim_inode_flush_failing(struct sim_inode *inode, struct generator *generator)
{
    inode->has_forgotten = true;
    sim_inode_flush_randomly(inode, generator);
}

/* ---- Entries ---- */

/* The place of `name`, or where it belongs. */
static size_t place_of(const struct sim_directory *directory, const char *name, bool *found)
{
    size_t low = 0;
    size_t high = directory->count;
    *found = false;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(directory->entries[middle].name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct sim_inode *sim_directory_find(const struct sim_directory *directory, const char *name)
{
    bool found;
    size_t place = place_of(directory, name, &found);
    return found ? directory->entries[place].inode : NULL;
}

static void entry_remove(struct sim_directory *directory, size_t place)
{
    struct sim_entry entry = directory->entries[place];
    directory->count--;
    memmove(directory->entries + place, directory->entries + place + 1,
            (directory->count - place) * sizeof entry);
    free(entry.name);
    sim_inode_release(entry.inode);
}

void sim_directory_set(struct sim_directory *directory, const char *name, struct sim_inode *inode)
{
    bool found;
    size_t place = place_of(directory, name, &found);
    if (inode != NULL)
        sim_inode_hold(inode);
    if (found && inode != NULL) {
        struct sim_inode *old = directory->entries[place].inode;
        directory->entries[place].inode = inode;
        sim_inode_release(old);
        return;
    }
    if (found)
        entry_remove(directory, place);
    if (inode == NULL)
        return;
    if (directory->count == directory->capacity) {
        directory->capacity = directory->capacity * 2 + 8;
        directory->entries =
            realloc(directory->entries, directory->capacity * sizeof *directory->entries);
        ASSERT(directory->entries != NULL);
    }
    memmove(directory->entries + place + 1, directory->entries + place,
            (directory->count - place) * sizeof *directory->entries);
    directory->entries[place] = (struct sim_entry){.name = strdup(name), .inode = inode};
    ASSERT(directory->entries[place].name != NULL);
    directory->count++;
}

void sim_directory_clear(struct sim_directory *directory)
{
    while (directory->count > 0)
        entry_remove(directory, directory->count - 1);
    free(directory->entries);
    *directory = (struct sim_directory){0};
}
