/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/segment.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"

enum { digits_count = 16, name_size_max = 32 };

static const char *const prefixes[] = {
    [WAL_FILE_PREPARING] = "preparing-",
    [WAL_FILE_SPARE] = "spare-",
    [WAL_FILE_SEGMENT] = "segment-",
};

/* ---- Names ---- */

bool wal_path_fits(const char *directory)
{
    return strlen(directory) + 1 + name_size_max < wal_path_size;
}

struct wal_path wal_path(const char *directory, enum wal_file_kind kind, uint64_t number)
{
    struct wal_path path;
    ASSERT(kind != WAL_FILE_OTHER);
    int size = snprintf(path.text, sizeof path.text, "%s/%s%0*llx", directory, prefixes[kind],
                        (int)digits_count, (unsigned long long)number);
    ASSERT(size > 0 && (size_t)size < sizeof path.text);
    return path;
}

enum wal_file_kind wal_name_parse(const char *name, uint64_t *number)
{
    *number = 0;
    for (enum wal_file_kind kind = WAL_FILE_PREPARING; kind <= WAL_FILE_SEGMENT; kind++) {
        size_t prefix_size = strlen(prefixes[kind]);
        if (strncmp(name, prefixes[kind], prefix_size) != 0)
            continue;
        const char *digits = name + prefix_size;
        if (strlen(digits) != digits_count || strspn(digits, "0123456789abcdef") != digits_count)
            return WAL_FILE_OTHER;
        *number = strtoull(digits, NULL, 16);
        return kind;
    }
    return WAL_FILE_OTHER;
}

static void listing_add(void *context, const char *name, bool is_directory)
{
    struct wal_listing *listing = context;
    uint64_t number = 0;
    enum wal_file_kind kind = is_directory ? WAL_FILE_OTHER : wal_name_parse(name, &number);
    struct wal_numbers *of = &listing->of[kind];
    if (kind == WAL_FILE_OTHER)
        return;
    if (of->count == of->capacity) {
        size_t capacity = of->capacity == 0 ? 16 : 2 * of->capacity;
        uint64_t *numbers = realloc(of->numbers, capacity * sizeof *numbers);
        if (numbers == NULL) {
            listing->no_memory = true;
            return;
        }
        of->numbers = numbers;
        of->capacity = capacity;
    }
    of->numbers[of->count++] = number;
}

static int number_compare(const void *a, const void *b)
{
    uint64_t left = load_u64(a);
    uint64_t right = load_u64(b);
    return (left > right) - (left < right);
}

enum status wal_listing_read(struct io *io, const char *directory, struct wal_listing *listing)
{
    *listing = (struct wal_listing){0};
    enum status status = io_list(io, directory, listing_add, listing);
    if (status == STATUS_OK && listing->no_memory)
        status = STATUS_NO_MEMORY;
    for (size_t kind = 0; kind <= WAL_FILE_SEGMENT; kind++) {
        struct wal_numbers *of = &listing->of[kind];
        if (of->count > 1)
            qsort(of->numbers, of->count, sizeof *of->numbers, number_compare);
    }
    if (status != STATUS_OK)
        wal_listing_free(listing);
    return status;
}

void wal_listing_free(struct wal_listing *listing)
{
    for (size_t kind = 0; kind <= WAL_FILE_SEGMENT; kind++)
        free(listing->of[kind].numbers);
    *listing = (struct wal_listing){0};
}

/* ---- The list ---- */

struct wal_segment wal_segment_of(const struct wal_segment_header *header)
{
    struct wal_segment segment = {
        .id = header->id,
        .size = header->size,
        .base = header->base,
        .index_max = header->base.index,
    };
    memcpy(segment.life, header->life, wal_life_size);
    memcpy(segment.envelope, header->envelope, seal_envelope_size);
    return segment;
}

enum status wal_segments_add(struct wal_segments *segments, const struct wal_segment *segment)
{
    if (segments->first > 0 && segments->first + segments->count == segments->capacity) {
        memmove(segments->segments, segments->segments + segments->first,
                segments->count * sizeof *segments->segments);
        segments->first = 0;
    }
    if (segments->count == segments->capacity) {
        size_t capacity = segments->capacity == 0 ? 16 : 2 * segments->capacity;
        struct wal_segment *larger = realloc(segments->segments, capacity * sizeof *larger);
        if (larger == NULL)
            return STATUS_NO_MEMORY;
        segments->segments = larger;
        segments->capacity = capacity;
    }
    segments->segments[segments->first + segments->count++] = *segment;
    return STATUS_OK;
}

void wal_segments_free(struct wal_segments *segments)
{
    free(segments->segments);
    *segments = (struct wal_segments){0};
}

struct wal_segment *wal_segments_oldest(struct wal_segments *segments)
{
    return segments->count == 0 ? NULL : &segments->segments[segments->first];
}

struct wal_segment *wal_segments_newest(struct wal_segments *segments)
{
    return segments->count == 0 ? NULL : &segments->segments[segments->first + segments->count - 1];
}

void wal_segments_remove_oldest(struct wal_segments *segments)
{
    ASSERT(segments->count > 0);
    segments->first++;
    segments->count--;
}

struct wal_segment *wal_segments_find(struct wal_segments *segments, uint32_t id)
{
    /* Ids have no gap. */
    struct wal_segment *oldest = wal_segments_oldest(segments);
    uint32_t position = oldest == NULL ? 0 : id - (uint32_t)oldest->id;
    return position < segments->count ? oldest + position : NULL;
}

void wal_segments_obsolete(struct wal_segments *segments)
{
    for (size_t i = 0; i + 1 < segments->count; i++)
        segments->segments[segments->first + i].obsolete = true;
}

struct wal_segment *wal_segments_recyclable(struct wal_segments *segments)
{
    if (segments->count < 2)
        return NULL;
    struct wal_segment *oldest = wal_segments_oldest(segments);
    bool released = oldest->obsolete || (oldest->index_max <= segments->released &&
                                         oldest[1].base.index <= segments->released);
    return released && oldest->pins_count == 0 ? oldest : NULL;
}
