/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of the other regions, and how much of the log is kept for them. */
#include "replication/region/source_internal.h"

#define PINNED_SIZE_DEFAULT (4ULL << 30)

/* ---- Marks ---- */

const struct mark *source_mark_find(const struct source *source, uint64_t version)
{
    size_t low = 0;
    size_t high = source->marks_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (source->marks[middle].version <= version)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? NULL : &source->marks[low - 1];
}

void source_marks_reset(struct source *source)
{
    source->marks[0] = (struct mark){.index = source->applied_index,
                                     .version = source->position.version,
                                     .size = source->stream_size};
    source->marks_count = 1;
    source->mark_size = source_mark_size_least;
    source->mark_interval_ns = SOURCE_MARK_INTERVAL_LEAST_NS;
    source->mark_ns = io_boot_ns(source->options.io);
    source->open_ns = 0;
}

/* The oldest version that some region still is to get from here on; UINT64_MAX: all have all. */
static uint64_t version_needed(const struct source *source)
{
    uint64_t version = UINT64_MAX;
    for (size_t i = 0; i < source->regions_count; i++) {
        const struct source_region *region = &source->regions[i];
        uint64_t has = region->heard ? region->acknowledged.version : 0;
        version = has < version ? has : version;
    }
    return version;
}

/* Those that nobody needs go first; where all are needed, every second goes, and those to come are
 * farther apart. What lies between two of them is then known less finely. */
static void marks_thin(struct source *source)
{
    const struct mark *needed = source_mark_find(source, version_needed(source));
    size_t drop = needed == NULL ? 0 : (size_t)(needed - source->marks);
    if (drop >= source_marks_max / 2) {
        source->marks_count -= drop;
        memmove(source->marks, source->marks + drop, source->marks_count * sizeof *source->marks);
        source->mark_size = source_mark_size_least;
        source->mark_interval_ns = SOURCE_MARK_INTERVAL_LEAST_NS;
        return;
    }
    size_t kept = 1;
    for (size_t i = 2; i < source->marks_count; i += 2) {
        struct mark merged = source->marks[i];
        merged.begun_ns = source->marks[i - 1].begun_ns;
        source->marks[kept++] = merged;
    }
    source->marks_count = kept;
    source->mark_size *= 2;
    source->mark_interval_ns *= 2;
}

void source_mark_applied(struct source *source, uint64_t index, size_t size)
{
    uint64_t now = io_boot_ns(source->options.io);
    const struct mark *newest = &source->marks[source->marks_count - 1];

    source->stream_size += size;
    if (source->open_ns == 0)
        source->open_ns = now;
    if (source->stream_size - newest->size < source->mark_size &&
        now - source->mark_ns < source->mark_interval_ns)
        return;
    if (source->marks_count == source_marks_max)
        marks_thin(source);
    source->marks[source->marks_count++] = (struct mark){.index = index,
                                                         .version = source->position.version,
                                                         .size = source->stream_size,
                                                         .begun_ns = source->open_ns};
    source->mark_ns = now;
    source->open_ns = 0;
}

/* ---- Regions ---- */

static struct source_region *region_of(struct source *source, uint32_t id)
{
    for (size_t i = 0; i < source->regions_count; i++) {
        if (source->regions[i].region == id)
            return &source->regions[i];
    }
    return NULL;
}

void source_regions(struct source *source, const uint32_t *regions, size_t count)
{
    struct source_region kept[source_regions_max];
    size_t kept_count = 0;

    for (size_t i = 0; i < count && kept_count < source_regions_max; i++) {
        const struct source_region *known = region_of(source, regions[i]);
        kept[kept_count++] = known != NULL ? *known : (struct source_region){.region = regions[i]};
    }
    memcpy(source->regions, kept, kept_count * sizeof *kept);
    source->regions_count = kept_count;
}

/* A region that has a tail which our history lacks says how far it is with that: of ours it has no
 * more than what both share, and once it has rewound it needs all that comes behind. */
static void keep_to_history(struct source *source, struct region_position *acknowledged)
{
    struct region_epoch_span span;
    struct region_position common;

    enum status status = source_position_check(source, acknowledged, &span, &common);
    if (status == STATUS_HISTORY_LOST || status == STATUS_NOT_LEADER)
        *acknowledged = common;
}

/* What is acknowledged under a lower epoch, or is less, came late; but after a rewind a region has
 * less than before, under a higher epoch or in a history that we share: that is believed, from its
 * own leader. */
static bool acknowledge(struct source_region *region, const struct region_position *position)
{
    int order = region_position_compare(position, &region->acknowledged);
    if (region->heard && order == 0)
        return false;
    region->acknowledged = *position;
    region->heard = true;
    return true;
}

/* What a region said of itself. */
struct said {
    struct region_position acknowledged;
    uint64_t oldest_snapshot;
    bool ready;
    uint32_t cluster_version_max;
    uint64_t heard_ns;
};

static void note(struct source *source, struct source_region *region, const struct said *said)
{
    struct region_position acknowledged = said->acknowledged;

    keep_to_history(source, &acknowledged);
    bool changed = acknowledge(region, &acknowledged) || region->ready != said->ready ||
                   region->oldest_snapshot != said->oldest_snapshot ||
                   region->cluster_version_max != said->cluster_version_max;
    region->heard_ns = said->heard_ns;
    region->ready = said->ready;
    region->oldest_snapshot = said->oldest_snapshot;
    region->cluster_version_max = said->cluster_version_max;
    if (changed && source->options.heard != NULL)
        source->options.heard(source->options.context, region->region);
}

static bool downstream_is_valid(const Strait__RegionPull *pull)
{
    struct region_position acknowledged;

    if (pull->n_downstream > source_regions_max)
        return false;
    for (size_t i = 0; i < pull->n_downstream; i++) {
        const Strait__RegionPull__Downstream *from = pull->downstream[i];
        if (from->region_id == 0 || from->region_id == pull->region_id ||
            region_position_of_message(from->acknowledged, &acknowledged) != STATUS_OK)
            return false;
    }
    return true;
}

/* Of what a region said itself, and what was passed on, the later counts. */
static void note_downstream(struct source *source, const Strait__RegionPull *pull)
{
    uint64_t now = io_boot_ns(source->options.io);

    for (size_t i = 0; i < pull->n_downstream; i++) {
        const Strait__RegionPull__Downstream *from = pull->downstream[i];
        struct source_region *region = region_of(source, from->region_id);
        struct region_position acknowledged;
        if (region == NULL || from->heard_ago_ms >= now / SOURCE_NS_PER_MS)
            continue;
        uint64_t heard_ns = now - from->heard_ago_ms * SOURCE_NS_PER_MS;
        if (region->heard && heard_ns <= region->heard_ns)
            continue;
        enum status status = region_position_of_message(from->acknowledged, &acknowledged);
        ASSERT(status == STATUS_OK); /* it was looked at */
        note(source, region,
             &(const struct said){.acknowledged = acknowledged,
                                  .oldest_snapshot = from->oldest_snapshot,
                                  .ready = from->ready != 0,
                                  .cluster_version_max = from->cluster_version_max,
                                  .heard_ns = heard_ns});
    }
}

enum status source_note_pull(struct source *source, const Strait__RegionPull *pull)
{
    struct region_position acknowledged;
    struct source_region *region = region_of(source, pull->region_id);

    enum status status = region_position_of_message(pull->acknowledged, &acknowledged);
    if (status != STATUS_OK || pull->region_id == 0 || !downstream_is_valid(pull))
        return STATUS_MALFORMED;
    note_downstream(source, pull);
    /* One that is not of the list yet, or not any more, is served, and nothing is kept for it. */
    if (region == NULL)
        return STATUS_OK;
    note(source, region,
         &(const struct said){.acknowledged = acknowledged,
                              .oldest_snapshot = pull->oldest_snapshot,
                              .ready = pull->ready != 0,
                              .cluster_version_max = pull->cluster_version_max,
                              .heard_ns = io_boot_ns(source->options.io)});
    return STATUS_OK;
}

void source_note_snapshot(struct source *source, uint32_t id, bool needed)
{
    struct source_region *region = region_of(source, id);
    if (region != NULL)
        region->snapshot = needed;
}

void source_note_heard(struct source *source, uint32_t id)
{
    struct source_region *region = region_of(source, id);
    if (region != NULL && region->heard)
        region->heard_ns = io_boot_ns(source->options.io);
}

/* ---- What is kept ---- */

uint64_t source_pin_index(struct source *source)
{
    uint64_t size_max = source->options.pinned_size_max;
    if (size_max == 0)
        size_max = PINNED_SIZE_DEFAULT;
    if (source->regions_count == 0)
        return UINT64_MAX;
    uint64_t pin = 0;
    const struct mark *needed = source_mark_find(source, version_needed(source));
    if (needed != NULL && needed->version <= source->position.version)
        pin = needed->index;
    /* The newest `size_max` bytes, whoever needs more. */
    size_t low = 0;
    size_t high = source->marks_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (source->stream_size - source->marks[middle].size >= size_max)
            low = middle + 1;
        else
            high = middle;
    }
    if (low > 0 && source->marks[low - 1].index > pin)
        pin = source->marks[low - 1].index;
    return pin;
}

/* ---- Facts ---- */

static void add_lag(const struct source *source, struct source_region *region)
{
    uint64_t has = region->heard ? region->acknowledged.version : 0;
    const struct mark *end = source->marks + source->marks_count;

    if (has >= source->position.version)
        return;
    region->lag_versions = source->position.version - has;
    const struct mark *before = source_mark_find(source, has);
    const struct mark *after = before == NULL ? source->marks : before + 1;
    region->lag_size = source->stream_size - (before == NULL ? after : before)->size;
    uint64_t begun_ns = after < end ? after->begun_ns : source->open_ns;
    uint64_t now = io_boot_ns(source->options.io);
    /* The first mark stands for all that was there at the start. */
    if (before == NULL)
        begun_ns = end - source->marks > 1 ? source->marks[1].begun_ns : source->open_ns;
    if (begun_ns != 0 && now > begun_ns)
        region->lag_ms = (now - begun_ns) / SOURCE_NS_PER_MS;
}

bool source_region_at(struct source *source, size_t number, struct source_region *region)
{
    *region = (struct source_region){0};
    if (number >= source->regions_count)
        return false;
    *region = source->regions[number];
    add_lag(source, region);
    return true;
}

bool source_region_find(struct source *source, uint32_t id, struct source_region *region)
{
    const struct source_region *known = region_of(source, id);
    *region = (struct source_region){0};
    return known != NULL && source_region_at(source, (size_t)(known - source->regions), region);
}
