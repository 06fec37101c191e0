/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/wal_damage.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"

struct search {
    const struct sim_disk *disk;
    const char *directory;
    uint64_t index;
    /* The newest batch found. */
    uint64_t segment; /* 0: none */
    uint64_t sequence;
    uint64_t offset;
    size_t size;
    struct wal_path path;
};

static bool batch_holds(const struct wal_batch_id *id, uint64_t index)
{
    for (uint32_t i = 0; i < id->runs_count; i++) {
        if (index >= id->runs[i].index && index - id->runs[i].index < id->runs[i].count)
            return true;
    }
    return false;
}

static void search_segment(struct search *search, const struct wal_path *path, uint64_t size)
{
    uint8_t block[wal_block_size];
    struct wal_segment_header segment;
    if (sim_disk_peek(search->disk, path->text, 0, block, sizeof block) != sizeof block ||
        wal_segment_header_decode(block, &segment) != STATUS_OK)
        return;
    uint64_t offset = wal_block_size;
    while (offset + wal_block_size <= size) {
        struct wal_batch_header header;
        size_t got = sim_disk_peek(search->disk, path->text, offset, block, sizeof block);
        ASSERT(got == sizeof block);
        if (wal_batch_header_decode(block, segment.id, segment.life, &header) != STATUS_OK) {
            offset += wal_block_size;
            continue;
        }
        bool newer = segment.id > search->segment ||
                     (segment.id == search->segment && header.id.sequence > search->sequence);
        if (newer && batch_holds(&header.id, search->index)) {
            search->segment = segment.id;
            search->sequence = header.id.sequence;
            search->offset = offset;
            search->size = header.id.size;
            search->path = *path;
        }
        offset += header.id.size;
    }
}

static void search_file(void *context, const char *path, uint64_t size)
{
    struct search *search = context;
    const char *name = strrchr(path, '/');
    uint64_t id = 0;
    if (name == NULL || wal_name_parse(name + 1, &id) != WAL_FILE_SEGMENT)
        return;
    struct wal_path expected = wal_path(search->directory, WAL_FILE_SEGMENT, id);
    size_t skip = path[0] == '/' && expected.text[0] != '/';
    if (strcmp(path + skip, expected.text) == 0)
        search_segment(search, &expected, size);
}

bool sim_wal_find(const struct sim_disk *disk, const char *directory, uint64_t index,
                  struct sim_wal_place *place)
{
    struct search search = {.disk = disk, .directory = directory, .index = index};
    sim_disk_each_file(disk, search_file, &search);
    *place =
        (struct sim_wal_place){.path = search.path, .offset = search.offset, .size = search.size};
    return search.segment != 0;
}

bool sim_wal_damage(struct sim_disk *disk, const char *directory, uint64_t index,
                    enum sim_wal_damage damage)
{
    static const uint8_t noise[16] = {0xa5, 0x5a, 0xc3, 0x3c, 0xe1, 0x1e, 0x77, 0x99,
                                      0xa5, 0x5a, 0xc3, 0x3c, 0xe1, 0x1e, 0x77, 0x99};
    struct sim_wal_place search;
    if (!sim_wal_find(disk, directory, index, &search))
        return false;
    /* Overwritten, not flipped: so that it stays damaged if it is damaged again. */
    if (damage == SIM_WAL_BODY) {
        sim_disk_overwrite(disk, search.path.text, search.offset + wal_batch_header_size + 8, noise,
                           sizeof noise);
    } else if (damage == SIM_WAL_HEADER) {
        sim_disk_overwrite(disk, search.path.text, search.offset + 60, noise, 4);
    } else {
        uint8_t *zeros = calloc(1, search.size);
        ASSERT(zeros != NULL);
        sim_disk_overwrite(disk, search.path.text, search.offset, zeros, search.size);
        free(zeros);
    }
    return true;
}
