/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/decay.h"

#include <string.h>

#include "proto/base/assert.h"
#include "tests/sim/wal_damage.h"

enum { block_size = 4096, files_max = 256 };

/* False: it is what it was. */
static bool flip_bit(struct sim_disk *disk, const char *path, uint64_t offset, uint64_t size,
                     struct generator *generator)
{
    sim_disk_flip_bit(disk, path, offset + generator_below(generator, size),
                      (unsigned)generator_below(generator, 8));
    return true;
}

static bool replace(struct sim_disk *disk, const char *path, uint64_t offset, const uint8_t *by,
                    size_t size)
{
    uint8_t was[block_size];
    ASSERT(size <= sizeof was);
    if (sim_disk_peek(disk, path, offset, was, size) != size || memcmp(was, by, size) == 0)
        return false;
    sim_disk_overwrite(disk, path, offset, by, size);
    return true;
}

static bool lose_sector(struct sim_disk *disk, const char *path, uint64_t offset, uint64_t size,
                        struct generator *generator)
{
    static const uint8_t zeros[sim_sector_size];
    if (size <= sim_sector_size)
        return replace(disk, path, offset, zeros, (size_t)size);
    uint64_t sector = generator_below(generator, size / sim_sector_size);
    return replace(disk, path, offset + sector * sim_sector_size, zeros, sim_sector_size);
}

bool decay_log(struct sim_disk *disk, const char *directory, uint64_t index, uint64_t other,
               enum decay decay, struct generator *generator)
{
    struct sim_wal_place place;
    struct sim_wal_place source;
    uint8_t block[block_size];
    if (!sim_wal_find(disk, directory, index, &place))
        return false;
    switch (decay) {
    case DECAY_BIT:
        return flip_bit(disk, place.path.text, place.offset, place.size, generator);
    case DECAY_SECTOR:
        return lose_sector(disk, place.path.text, place.offset, place.size, generator);
    case DECAY_MISDIRECTED:
        return sim_wal_find(disk, directory, other, &source) &&
               sim_disk_peek(disk, source.path.text, source.offset, block, sizeof block) ==
                   sizeof block &&
               replace(disk, place.path.text, place.offset, block, sizeof block);
    }
    UNREACHABLE();
}

/* ---- Files of a kind ---- */

struct files {
    const struct sim_disk *disk;
    char paths[files_max][decay_path_size];
    uint64_t sizes[files_max];
    unsigned count;
};

static void note(struct files *files, const char *path, uint64_t size)
{
    ASSERT(strlen(path) < decay_path_size);
    if (size == 0 || files->count == files_max)
        return;
    memcpy(files->paths[files->count], path, strlen(path) + 1);
    files->sizes[files->count++] = size;
}

/* NULL: there is none; the result is valid until the next call. */
static const struct files *find(const struct sim_disk *disk,
                                void (*each)(void *context, const char *path, uint64_t size))
{
    static struct files files;
    files.disk = disk;
    files.count = 0;
    sim_disk_each_file(disk, each, &files);
    return files.count == 0 ? NULL : &files;
}

static void note_copy(void *context, const char *path, uint64_t size)
{
    struct files *files = context;
    char other[decay_path_size];
    size_t length = strlen(path);
    ASSERT(length < decay_path_size);
    memcpy(other, path, length + 1);
    if (length < 2 || other[length - 2] != '.')
        return;
    if (other[length - 1] != 'a' && other[length - 1] != 'b')
        return;
    other[length - 1] = other[length - 1] == 'a' ? 'b' : 'a';
    if (sim_disk_exists(files->disk, other))
        note(files, path, size);
}

bool decay_copy(struct sim_disk *disk, struct generator *generator)
{
    const struct files *copies = find(disk, note_copy);
    if (copies == NULL)
        return false;
    unsigned i = (unsigned)generator_below(generator, copies->count);
    if (generator_chance(generator, 1, 2))
        return flip_bit(disk, copies->paths[i], 0, copies->sizes[i], generator);
    return lose_sector(disk, copies->paths[i], 0, copies->sizes[i], generator);
}

/* Checkpoints hold the same files under other names. */
static void note_table(void *context, const char *path, uint64_t size)
{
    static const char directory[] = "data/lsm/";
    static const char ending[] = ".table";
    size_t length = strlen(path);
    if (path[0] == '/')
        path++, length--;
    if (strncmp(path, directory, sizeof directory - 1) == 0 && length > sizeof ending - 1 &&
        strcmp(path + length - (sizeof ending - 1), ending) == 0)
        note(context, path, size);
}

/* A sector of one comes to stand in another one, or elsewhere in the same. */
static bool misdirect(struct sim_disk *disk, const char *from, uint64_t from_size, const char *to,
                      uint64_t to_size, struct generator *generator)
{
    uint8_t sector[sim_sector_size];
    if (from_size < sizeof sector || to_size < sizeof sector)
        return false;
    uint64_t from_offset = generator_below(generator, from_size / sizeof sector) * sizeof sector;
    uint64_t to_offset = generator_below(generator, to_size / sizeof sector) * sizeof sector;
    size_t size = sim_disk_peek(disk, from, from_offset, sector, sizeof sector);
    ASSERT(size == sizeof sector);
    return replace(disk, to, to_offset, sector, sizeof sector);
}

bool decay_table(struct sim_disk *disk, enum decay decay, struct generator *generator,
                 char path[decay_path_size])
{
    const struct files *tables = find(disk, note_table);
    path[0] = 0;
    if (tables == NULL)
        return false;
    unsigned i = (unsigned)generator_below(generator, tables->count);
    unsigned other = (unsigned)generator_below(generator, tables->count);
    memcpy(path, tables->paths[i], decay_path_size);
    switch (decay) {
    case DECAY_BIT:
        return flip_bit(disk, path, 0, tables->sizes[i], generator);
    case DECAY_SECTOR:
        return lose_sector(disk, path, 0, tables->sizes[i], generator);
    case DECAY_MISDIRECTED:
        return misdirect(disk, tables->paths[other], tables->sizes[other], path, tables->sizes[i],
                         generator);
    }
    UNREACHABLE();
}
