/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "tests/sim/disk_internal.h"

/* ---- Paths ---- */

/* Takes the next component of `*path` that names something. False: none is left. */
static bool next_component(const char **path, char *name)
{
    for (;;) {
        while (**path == '/')
            (*path)++;
        size_t size = strcspn(*path, "/");
        if (size == 0)
            return false;
        ASSERT(size <= sim_name_max);
        memcpy(name, *path, size);
        name[size] = '\0';
        *path += size;
        ASSERT(strcmp(name, "..") != 0);
        if (strcmp(name, ".") != 0)
            return true;
    }
}

struct sim_inode *sim_path_find(const struct sim_disk *disk, const char *path)
{
    char name[sim_name_max + 1];
    struct sim_inode *inode = disk->root;
    while (inode != NULL && next_component(&path, name))
        inode = sim_directory_find(&inode->now_entries, name);
    return inode;
}

struct sim_inode *sim_path_parent(const struct sim_disk *disk, const char *path, char *name)
{
    char next[sim_name_max + 1];
    struct sim_inode *directory = disk->root;
    bool some = next_component(&path, name);
    ASSERT(some);
    while (next_component(&path, next)) {
        directory = sim_directory_find(&directory->now_entries, name);
        if (directory == NULL)
            return NULL;
        memcpy(name, next, sizeof next);
    }
    return directory->is_directory ? directory : NULL;
}

enum status sim_path_miss(const struct sim_disk *disk, const char *path)
{
    char name[sim_name_max + 1];
    const struct sim_inode *inode = disk->root;
    while (inode != NULL && next_component(&path, name)) {
        if (!inode->is_directory)
            return STATUS_IO_ERROR;
        inode = sim_directory_find(&inode->now_entries, name);
    }
    return STATUS_NOT_FOUND;
}

/* ---- Changes ---- */

static void set_now(const struct sim_set *set)
{
    struct sim_inode *old = sim_directory_find(&set->directory->now_entries, set->name);
    if (old != NULL)
        old->names_count--;
    if (set->inode != NULL)
        set->inode->names_count++;
    sim_directory_set(&set->directory->now_entries, set->name, set->inode);
}

static struct sim_set set_copy(const struct sim_set *set)
{
    struct sim_set copy = *set;
    copy.name = strdup(set->name);
    ASSERT(copy.name != NULL);
    sim_inode_hold(copy.directory);
    if (copy.inode != NULL)
        sim_inode_hold(copy.inode);
    return copy;
}

static void set_free(struct sim_set *set)
{
    if (set->directory == NULL)
        return;
    free(set->name);
    sim_inode_release(set->directory);
    if (set->inode != NULL)
        sim_inode_release(set->inode);
}

void sim_names_change(struct sim_disk *disk, const struct sim_set *first,
                      const struct sim_set *second)
{
    if (disk->names_count == disk->names_capacity) {
        disk->names_capacity = disk->names_capacity * 2 + 16;
        disk->names = realloc(disk->names, disk->names_capacity * sizeof *disk->names);
        ASSERT(disk->names != NULL);
    }
    struct sim_name_change *change = &disk->names[disk->names_count++];
    *change = (struct sim_name_change){.sets = {set_copy(first)}};
    if (second != NULL)
        change->sets[1] = set_copy(second);
    set_now(first);
    if (second != NULL)
        set_now(second);
}

static bool is_kept(const struct sim_name_change *change, size_t index)
{
    const struct sim_inode *first = change->sets[0].directory;
    const struct sim_inode *second = change->sets[1].directory;
    return index < first->cut && (second == NULL || index < second->cut);
}

/* Each directory's `cut` says how many of all changes, in their common order, it takes part in.
 * Applies and drops those; `drop` drops the others too. */
static void apply_cuts(struct sim_disk *disk, bool drop)
{
    size_t left = 0;
    for (size_t i = 0; i < disk->names_count; i++) {
        struct sim_name_change change = disk->names[i];
        bool kept = is_kept(&change, i);
        if (!kept && !drop) {
            disk->names[left++] = change;
            continue;
        }
        for (unsigned k = 0; k < 2; k++) {
            struct sim_set *set = &change.sets[k];
            if (kept && set->directory != NULL)
                sim_directory_set(&set->directory->stable_entries, set->name, set->inode);
        }
        set_free(&change.sets[0]);
        set_free(&change.sets[1]);
    }
    disk->names_count = left;
}

static void cuts_set(struct sim_disk *disk, uint64_t cut)
{
    LIST_EACH(link, &disk->inodes)
    {
        LIST_ENTRY(link, struct sim_inode, link)->cut = cut;
    }
}

/* A change that joins two directories brings all earlier ones of the other with it: seen from the
 * last to the first, a directory's cut is final once its own changes are reached. */
void sim_names_flush(struct sim_disk *disk, struct sim_inode *directory)
{
    cuts_set(disk, 0);
    directory->cut = disk->names_count;
    for (size_t i = disk->names_count; i-- > 0;) {
        struct sim_inode *first = disk->names[i].sets[0].directory;
        struct sim_inode *second = disk->names[i].sets[1].directory;
        if (second == NULL)
            continue;
        if (i < first->cut && second->cut <= i)
            second->cut = i + 1;
        if (i < second->cut && first->cut <= i)
            first->cut = i + 1;
    }
    apply_cuts(disk, false);
}

/* A change that only one of its two directories would keep is kept by neither, nor is what came
 * after it in that directory; which may take the same from others. */
void sim_names_flush_randomly(struct sim_disk *disk)
{
    LIST_EACH(link, &disk->inodes)
    {
        struct sim_inode *inode = LIST_ENTRY(link, struct sim_inode, link);
        inode->cut = generator_below(&disk->generator, disk->names_count + 1);
        if (generator_chance(&disk->generator, 1, 4))
            inode->cut = disk->names_count;
    }
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t i = 0; i < disk->names_count; i++) {
            struct sim_inode *first = disk->names[i].sets[0].directory;
            struct sim_inode *second = disk->names[i].sets[1].directory;
            if (second == NULL || (i < first->cut) == (i < second->cut))
                continue;
            (i < first->cut ? first : second)->cut = i;
            moved = true;
        }
    }
    apply_cuts(disk, true);
}

void sim_names_flush_all(struct sim_disk *disk)
{
    cuts_set(disk, disk->names_count);
    apply_cuts(disk, true);
}

void sim_names_drop(struct sim_disk *disk)
{
    cuts_set(disk, 0);
    apply_cuts(disk, true);
}
