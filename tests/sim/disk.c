/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/disk.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "tests/sim/disk_internal.h"

static const uint64_t first_ns = UINT64_C(3600) * 1000000000;
static const uint64_t capacity_at_first = UINT64_C(1) << 40;

enum {
    cached_percent_at_first = 75,
    path_max = 4096,
    drift_ppm_max = 100000,
};

struct sim_disk *sim_disk_create(uint64_t seed)
{
    struct sim_disk *disk = calloc(1, sizeof *disk);
    ASSERT(disk != NULL);
    generator_init(&disk->generator, seed);
    disk->now_ns = disk->anchor_now_ns = disk->anchor_boot_ns = first_ns;
    disk->cached_percent = cached_percent_at_first;
    disk->capacity_size = capacity_at_first;
    disk->crash_after = UINT64_MAX;
    list_init(&disk->inodes);
    list_init(&disk->ios);
    list_init(&disk->files);
    disk->root = sim_inode_create(disk, true);
    return disk;
}

void sim_disk_destroy(struct sim_disk *disk)
{
    LIST_EACH(link, &disk->files)
    {
        sim_file_free(disk, LIST_ENTRY(link, struct io_file, link));
    }
    LIST_EACH(io_link, &disk->ios)
    {
        sim_io_destroy(LIST_ENTRY(io_link, struct sim_io, link));
    }
    sim_names_drop(disk);
    sim_inode_release(disk->root);
    ASSERT(list_is_empty(&disk->inodes));
    free(disk->names);
    free(disk);
}

struct io *sim_disk_io(struct sim_disk *disk)
{
    return &sim_io_create(disk)->io;
}

/* The io with the earliest event, or NULL. Those that died stand before the ones that live, and are
 * not looked at. */
static struct sim_io *next_io(const struct sim_disk *disk, uint64_t *event_ns)
{
    struct sim_io *first = NULL;
    *event_ns = UINT64_MAX;
    for (const struct list_link *link = disk->ios.previous; link != &disk->ios;
         link = link->previous) {
        struct sim_io *sim = LIST_ENTRY(link, struct sim_io, link);
        if (sim->is_dead)
            break;
        uint64_t next_ns = sim_io_next_ns(sim);
        if (next_ns <= *event_ns && next_ns != UINT64_MAX) {
            *event_ns = next_ns;
            first = sim;
        }
    }
    return first;
}

bool sim_disk_turn(struct sim_disk *disk)
{
    uint64_t first_event_ns;
    struct sim_io *first = next_io(disk, &first_event_ns);
    if (first == NULL)
        return false;
    if (disk->now_ns < first_event_ns)
        disk->now_ns = first_event_ns;
    io_turn(&first->io, false);
    return true;
}

void sim_disk_in_order(struct sim_disk *disk, bool in_order)
{
    disk->in_order = in_order;
}

void sim_disk_cached_percent(struct sim_disk *disk, unsigned percent)
{
    disk->cached_percent = percent;
}

/* ---- Time ---- */

uint64_t sim_disk_now_ns(const struct sim_disk *disk)
{
    return disk->now_ns;
}

void sim_disk_clock_advance(struct sim_disk *disk, uint64_t ns)
{
    disk->now_ns += ns;
}

void sim_disk_clock_advance_to(struct sim_disk *disk, uint64_t now_ns)
{
    if (disk->now_ns < now_ns)
        disk->now_ns = now_ns;
}

uint64_t sim_disk_next_ns(const struct sim_disk *disk)
{
    uint64_t event_ns;
    (void)next_io(disk, &event_ns);
    return event_ns;
}

enum { million = 1000000 };

uint64_t sim_disk_boot_ns(const struct sim_disk *disk)
{
    int64_t passed_ns = (int64_t)(disk->now_ns - disk->anchor_now_ns);
    int64_t gained_ns =
        passed_ns / million * disk->drift_ppm + passed_ns % million * disk->drift_ppm / million;
    return disk->anchor_boot_ns + (uint64_t)(passed_ns + gained_ns);
}

/* Rounded so that the boot clock has reached that time by then. */
uint64_t sim_disk_now_of_boot_ns(const struct sim_disk *disk, uint64_t boot_ns)
{
    if (boot_ns == UINT64_MAX || boot_ns <= disk->anchor_boot_ns)
        return boot_ns == UINT64_MAX ? boot_ns : disk->anchor_now_ns;
    uint64_t passed_ns = boot_ns - disk->anchor_boot_ns;
    uint64_t rate = (uint64_t)(million + disk->drift_ppm);
    if (disk->drift_ppm != 0)
        passed_ns = passed_ns / rate * million + passed_ns % rate * million / rate + 2;
    return disk->anchor_now_ns + passed_ns;
}

void sim_disk_clock_drift(struct sim_disk *disk, int64_t drift_ppm)
{
    ASSERT(drift_ppm >= -drift_ppm_max && drift_ppm <= drift_ppm_max);
    disk->anchor_boot_ns = sim_disk_boot_ns(disk);
    disk->anchor_now_ns = disk->now_ns;
    disk->drift_ppm = drift_ppm;
}

void sim_disk_wall_jump(struct sim_disk *disk, int64_t jump_ns)
{
    disk->wall_error_ns += jump_ns;
}

void sim_disk_slow(struct sim_disk *disk, uint64_t min_ns, uint64_t max_ns, uint64_t until_ns)
{
    ASSERT(min_ns != 0 && min_ns <= max_ns);
    disk->slow_min_ns = min_ns;
    disk->slow_max_ns = max_ns;
    disk->slow_until_ns = until_ns;
    if (until_ns > disk->now_ns)
        return;
    LIST_EACH(link, &disk->ios)
    {
        sim_io_hurry(LIST_ENTRY(link, struct sim_io, link));
    }
}

/* ---- Crashes ---- */

uint64_t sim_disk_steps_count(const struct sim_disk *disk)
{
    return disk->steps_count;
}

void sim_disk_crash_now(struct sim_disk *disk)
{
    if (disk->crashed)
        return;
    disk->crashed = true;
    LIST_EACH(link, &disk->ios)
    {
        struct sim_io *sim = LIST_ENTRY(link, struct sim_io, link);
        if (!sim->is_dead)
            sim_io_absorb(sim, disk);
    }
}

void sim_disk_crash_after(struct sim_disk *disk, uint64_t n)
{
    disk->crash_after = n;
    if (disk->steps_count >= n)
        sim_disk_crash_now(disk);
}

bool sim_disk_crashed(const struct sim_disk *disk)
{
    return disk->crashed;
}

void sim_disk_on_step(struct sim_disk *disk, sim_step_fn *stepped, void *context)
{
    disk->stepped = stepped;
    disk->step_context = context;
}

void sim_disk_step(struct sim_disk *disk)
{
    disk->steps_count++;
    if (disk->stepped != NULL)
        disk->stepped(disk->step_context, disk, disk->steps_count);
    if (disk->steps_count == disk->crash_after)
        sim_disk_crash_now(disk);
}

/* Brings the stable image to what power finds when it comes back. */
static void settle(struct sim_disk *disk, enum sim_restart_mode mode)
{
    if (mode == SIM_RESTART_LOSE_UNFLUSHED)
        sim_names_drop(disk);
    else if (mode == SIM_RESTART_KEEP_ALL)
        sim_names_flush_all(disk);
    else
        sim_names_flush_randomly(disk);
    LIST_EACH(link, &disk->inodes)
    {
        struct sim_inode *inode = LIST_ENTRY(link, struct sim_inode, link);
        if (mode == SIM_RESTART_RANDOM)
            sim_inode_flush_randomly(inode, &disk->generator);
        sim_inode_drop_changes(inode);
        if (mode == SIM_RESTART_KEEP_ALL) {
            sim_content_free(&inode->stable);
            sim_content_copy(&inode->stable, &inode->now);
        }
    }
}

static void show_stable(struct sim_inode *inode)
{
    sim_content_free(&inode->now);
    sim_content_copy(&inode->now, &inode->stable);
    sim_directory_clear(&inode->now_entries);
    for (size_t i = 0; i < inode->stable_entries.count; i++) {
        struct sim_entry *entry = &inode->stable_entries.entries[i];
        sim_directory_set(&inode->now_entries, entry->name, entry->inode);
        entry->inode->names_count++;
    }
    inode->is_locked = false;
    inode->has_forgotten = false;
}

void sim_disk_restart(struct sim_disk *disk, uint64_t seed, enum sim_restart_mode mode)
{
    LIST_EACH(io_link, &disk->ios)
    {
        struct sim_io *sim = LIST_ENTRY(io_link, struct sim_io, link);
        ASSERT(list_is_empty(&sim->in_flight));
        sim->is_dead = true;
    }
    generator_init(&disk->generator, seed);
    settle(disk, mode);
    LIST_EACH(file_link, &disk->files)
    {
        struct io_file *file = LIST_ENTRY(file_link, struct io_file, link);
        if (file->inode == NULL)
            continue;
        file->inode->opens_count--;
        sim_inode_release(file->inode);
        file->inode = NULL;
    }
    /* Held, so that none goes while the list is walked; those that no name leads to go at the end.
     */
    LIST_EACH(held_link, &disk->inodes)
    {
        struct sim_inode *inode = LIST_ENTRY(held_link, struct sim_inode, link);
        sim_inode_hold(inode);
        inode->names_count = 0;
    }
    LIST_EACH(shown_link, &disk->inodes)
    {
        show_stable(LIST_ENTRY(shown_link, struct sim_inode, link));
    }
    LIST_EACH(link, &disk->inodes)
    {
        sim_inode_release(LIST_ENTRY(link, struct sim_inode, link));
    }
    disk->steps_count = 0;
    disk->crash_after = UINT64_MAX;
    disk->crashed = false;
    sim_disk_faults_clear(disk);
}

/* ---- Clones ---- */

static void clone_inode(struct sim_inode *inode, struct sim_disk *clone)
{
    struct sim_inode *twin = sim_inode_create(clone, inode->is_directory);
    inode->twin = twin;
    twin->names_count = inode->names_count;
    twin->has_forgotten = inode->has_forgotten;
    sim_content_copy(&twin->now, &inode->now);
    sim_content_copy(&twin->stable, &inode->stable);
    twin->changes_count = twin->changes_capacity = inode->changes_count;
    if (inode->changes_count == 0)
        return;
    twin->changes = malloc(inode->changes_count * sizeof *twin->changes);
    ASSERT(twin->changes != NULL);
    for (size_t i = 0; i < inode->changes_count; i++) {
        twin->changes[i] = inode->changes[i];
        if (twin->changes[i].blob != NULL)
            twin->changes[i].blob->references++;
    }
}

static void clone_entries(struct sim_directory *to, const struct sim_directory *from)
{
    for (size_t i = 0; i < from->count; i++)
        sim_directory_set(to, from->entries[i].name, from->entries[i].inode->twin);
}

static void clone_names(struct sim_disk *clone, const struct sim_disk *disk)
{
    clone->names_count = clone->names_capacity = disk->names_count;
    if (disk->names_count == 0)
        return;
    clone->names = calloc(disk->names_count, sizeof *clone->names);
    ASSERT(clone->names != NULL);
    for (size_t i = 0; i < disk->names_count; i++) {
        for (unsigned k = 0; k < 2; k++) {
            const struct sim_set *from = &disk->names[i].sets[k];
            struct sim_set *to = &clone->names[i].sets[k];
            if (from->directory == NULL)
                continue;
            to->name = strdup(from->name);
            ASSERT(to->name != NULL);
            to->directory = from->directory->twin;
            sim_inode_hold(to->directory);
            if (from->inode != NULL) {
                to->inode = from->inode->twin;
                sim_inode_hold(to->inode);
            }
        }
    }
}

struct sim_disk *sim_disk_clone(const struct sim_disk *disk, uint64_t seed)
{
    struct sim_disk *clone = sim_disk_create(seed);
    clone->now_ns = disk->now_ns;
    clone->anchor_now_ns = disk->anchor_now_ns;
    clone->anchor_boot_ns = disk->anchor_boot_ns;
    clone->drift_ppm = disk->drift_ppm;
    clone->wall_error_ns = disk->wall_error_ns;
    clone->slow_min_ns = disk->slow_min_ns;
    clone->slow_max_ns = disk->slow_max_ns;
    clone->slow_until_ns = disk->slow_until_ns;
    clone->in_order = disk->in_order;
    clone->cached_percent = disk->cached_percent;
    clone->capacity_size = disk->capacity_size;
    sim_inode_release(clone->root);
    LIST_EACH(link, &disk->inodes)
    {
        clone_inode(LIST_ENTRY(link, struct sim_inode, link), clone);
    }
    LIST_EACH(entries_link, &disk->inodes)
    {
        struct sim_inode *inode = LIST_ENTRY(entries_link, struct sim_inode, link);
        clone_entries(&inode->twin->now_entries, &inode->now_entries);
        clone_entries(&inode->twin->stable_entries, &inode->stable_entries);
    }
    clone->root = disk->root->twin;
    sim_inode_hold(clone->root);
    clone_names(clone, disk);
    LIST_EACH(io_link, &disk->ios)
    {
        struct sim_io *sim = LIST_ENTRY(io_link, struct sim_io, link);
        if (!sim->is_dead && !disk->crashed)
            sim_io_absorb(sim, clone);
    }
    LIST_EACH(twin_link, &disk->inodes)
    {
        struct sim_inode *inode = LIST_ENTRY(twin_link, struct sim_inode, link);
        sim_inode_release(inode->twin);
        inode->twin = NULL;
    }
    return clone;
}

/* ---- Faults ---- */

void sim_disk_fault(struct sim_disk *disk, const struct sim_fault *fault)
{
    ASSERT(disk->faults_count < sim_faults_max);
    ASSERT(fault->effect >= SIM_FAIL && fault->effect < SIM_EFFECTS_END);
    ASSERT(fault->effect != SIM_FAIL || fault->status != STATUS_OK);
    ASSERT(fault->effect != SIM_LOSE || fault->kind == IO_KIND_WRITE);
    ASSERT(fault->effect != SIM_MISDIRECT || fault->kind == IO_KIND_WRITE ||
           fault->kind == IO_KIND_READ);
    disk->faults[disk->faults_count++] = (struct sim_armed_fault){.fault = *fault};
}

void sim_disk_faults_clear(struct sim_disk *disk)
{
    disk->faults_count = 0;
}

uint64_t sim_disk_fault_hits(const struct sim_disk *disk, enum sim_effect effect)
{
    return disk->fault_hits[effect];
}

static bool matches(const struct sim_fault *fault, enum io_kind kind, const char *path,
                    const char *path_to)
{
    if (fault->kind != 0 && fault->kind != kind)
        return false;
    return fault->path == NULL || strstr(path, fault->path) != NULL ||
           (path_to != NULL && strstr(path_to, fault->path) != NULL);
}

const struct sim_fault *sim_disk_meet(struct sim_disk *disk, enum io_kind kind, const char *path,
                                      const char *path_to, bool at_submission)
{
    const struct sim_fault *met = NULL;
    for (unsigned i = 0; i < disk->faults_count; i++) {
        struct sim_armed_fault *armed = &disk->faults[i];
        const struct sim_fault *fault = &armed->fault;
        if ((fault->effect == SIM_SLOW) != at_submission || !matches(fault, kind, path, path_to))
            continue;
        uint64_t first = fault->nth > 1 ? fault->nth : 1;
        uint64_t count = fault->count > 1 ? fault->count : 1;
        armed->seen++;
        if (met == NULL && armed->seen >= first && armed->seen - first < count) {
            met = fault;
            disk->fault_hits[fault->effect]++;
        }
    }
    return met;
}

static uint64_t blocks_size(uint64_t size)
{
    return (size + sim_page_size - 1) / sim_page_size * sim_page_size;
}

uint64_t sim_disk_used(const struct sim_disk *disk)
{
    uint64_t used = 0;
    LIST_EACH(link, &disk->inodes)
    {
        const struct sim_inode *inode = LIST_ENTRY(link, struct sim_inode, link);
        if (inode->names_count > 0 || inode->opens_count > 0)
            used += blocks_size(inode->now.size);
    }
    return used;
}

void sim_disk_capacity(struct sim_disk *disk, uint64_t size)
{
    disk->capacity_size = size;
}

bool sim_disk_has_room(const struct sim_disk *disk, const struct sim_inode *inode, uint64_t size)
{
    uint64_t now_size = blocks_size(inode->now.size);
    if (blocks_size(size) <= now_size)
        return true;
    return sim_disk_used(disk) + (blocks_size(size) - now_size) <= disk->capacity_size;
}

static struct sim_inode *existing(const struct sim_disk *disk, const char *path)
{
    struct sim_inode *inode = sim_path_find(disk, path);
    ASSERT(inode != NULL);
    return inode;
}

static void damage(struct sim_content *content, uint64_t offset, const void *data, size_t size)
{
    if (offset >= content->size)
        return;
    if (size > content->size - offset)
        size = (size_t)(content->size - offset);
    sim_content_write(content, offset, data, size);
}

void sim_disk_overwrite(struct sim_disk *disk, const char *path, uint64_t offset, const void *data,
                        size_t size)
{
    struct sim_inode *inode = existing(disk, path);
    ASSERT(offset + size <= inode->now.size);
    damage(&inode->now, offset, data, size);
    damage(&inode->stable, offset, data, size);
}

void sim_disk_flip_bit(struct sim_disk *disk, const char *path, uint64_t offset, unsigned bit)
{
    uint8_t byte;
    ASSERT(bit < 8);
    ASSERT(sim_disk_peek(disk, path, offset, &byte, 1) == 1);
    byte ^= (uint8_t)(1u << bit);
    sim_disk_overwrite(disk, path, offset, &byte, 1);
}

void sim_disk_remove(struct sim_disk *disk, const char *path)
{
    char name[sim_name_max + 1];
    struct sim_inode *directory = sim_path_parent(disk, path, name);
    existing(disk, path);
    const struct sim_set set = {.directory = directory, .name = name};
    sim_names_change(disk, &set, NULL);
    sim_names_flush(disk, directory);
}

/* ---- A look from outside ---- */

bool sim_disk_exists(const struct sim_disk *disk, const char *path)
{
    return sim_path_find(disk, path) != NULL;
}

uint64_t sim_disk_file_size(const struct sim_disk *disk, const char *path)
{
    return existing(disk, path)->now.size;
}

size_t sim_disk_peek(const struct sim_disk *disk, const char *path, uint64_t offset, void *to,
                     size_t size)
{
    return sim_content_read(&existing(disk, path)->now, offset, to, size);
}

bool sim_disk_contains(const struct sim_disk *disk, struct bytes bytes)
{
    LIST_EACH(link, &disk->inodes)
    {
        if (sim_content_contains(&LIST_ENTRY(link, struct sim_inode, link)->now, bytes))
            return true;
    }
    return false;
}

static uint64_t hash_of(const struct sim_inode *inode)
{
    uint64_t hash = sim_content_hash(&inode->now) + inode->is_directory;
    for (size_t i = 0; i < inode->now_entries.count; i++) {
        const struct sim_entry *entry = &inode->now_entries.entries[i];
        hash = hash64_seeded(bytes_of_text(entry->name), hash);
        hash = hash_u64(hash ^ hash_of(entry->inode));
    }
    return hash;
}

uint64_t sim_disk_hash(const struct sim_disk *disk)
{
    return hash_of(disk->root);
}

static void each_below(const struct sim_inode *directory, char *path, size_t path_size,
                       void (*each)(void *context, const char *path, uint64_t size), void *context)
{
    for (size_t i = 0; i < directory->now_entries.count; i++) {
        const struct sim_entry *entry = &directory->now_entries.entries[i];
        size_t name_size = strlen(entry->name);
        ASSERT(path_size + name_size + 2 <= path_max);
        path[path_size] = '/';
        memcpy(path + path_size + 1, entry->name, name_size + 1);
        if (entry->inode->is_directory)
            each_below(entry->inode, path, path_size + 1 + name_size, each, context);
        else
            each(context, path, entry->inode->now.size);
    }
}

void sim_disk_each_file(const struct sim_disk *disk,
                        void (*each)(void *context, const char *path, uint64_t size), void *context)
{
    char path[path_max];
    each_below(disk->root, path, 0, each, context);
}

uint64_t sim_disk_open_count(const struct sim_disk *disk)
{
    return disk->open_count;
}
