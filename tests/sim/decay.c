/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/decay.h"

#include <string.h>

#include "proto/base/assert.h"
#include "tests/sim/wal_damage.h"

enum { block_size = 4096, path_size = 512, copies_max = 64 };

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

/* ---- Copies ---- */

struct copies {
    const struct sim_disk *disk;
    char paths[copies_max][path_size];
    uint64_t sizes[copies_max];
    unsigned count;
};

static void note_copy(void *context, const char *path, uint64_t size)
{
    struct copies *copies = context;
    char other[path_size];
    size_t length = strlen(path);
    ASSERT(length < path_size);
    memcpy(other, path, length + 1);
    if (length < 2 || other[length - 2] != '.' || size == 0 || copies->count == copies_max)
        return;
    if (other[length - 1] != 'a' && other[length - 1] != 'b')
        return;
    other[length - 1] = other[length - 1] == 'a' ? 'b' : 'a';
    if (!sim_disk_exists(copies->disk, other))
        return;
    memcpy(copies->paths[copies->count], path, length + 1);
    copies->sizes[copies->count++] = size;
}

bool decay_copy(struct sim_disk *disk, struct generator *generator)
{
    static struct copies copies;
    copies.disk = disk;
    copies.count = 0;
    sim_disk_each_file(disk, note_copy, &copies);
    if (copies.count == 0)
        return false;
    unsigned i = (unsigned)generator_below(generator, copies.count);
    if (generator_chance(generator, 1, 2))
        return flip_bit(disk, copies.paths[i], 0, copies.sizes[i], generator);
    return lose_sector(disk, copies.paths[i], 0, copies.sizes[i], generator);
}
