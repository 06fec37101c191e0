/* SPDX-License-Identifier: Apache-2.0 */
/* The command REGIONS: the list of the cluster's regions is replaced by another.
 *
 * The list says which one it was made from, so that of two changes at a time the second is refused
 * and does not undo the first. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "server/state/command.h"
#include "server/state/state_internal.h"

static enum status regions_plan(struct apply *apply)
{
    apply->regions = overlay_alloc(&apply->overlay, sizeof *apply->regions);
    return apply->overlay.failure;
}

static enum status regions_gather(struct apply *apply)
{
    (void)apply;
    return STATUS_OK;
}

/* ---- What is refused ---- */

__attribute__((format(printf, 3, 4))) static enum status
refuse(struct state_refusal *refusal, enum status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(refusal->text, sizeof refusal->text, format, arguments);
    va_end(arguments);
    return status;
}

/* An id stands for one region for ever, and a name for one at a time: positions of the log and
 * operators' commands name regions by them. */
static enum status check_names(const struct regions *before, const struct regions *after,
                               struct state_refusal *refusal)
{
    for (unsigned i = 0; i < after->count; i++) {
        const struct region *region = &after->regions[i];
        const struct region *was = regions_find(before, region->id);
        if (was != NULL && strcmp(was->name, region->name) != 0)
            return refuse(refusal, STATUS_INVALID_ARGUMENT,
                          "Region %" PRIu32 " is named %s: an id stays with its region. Give %s an "
                          "id that was never used.",
                          region->id, was->name, region->name);
        was = regions_find_name(before, region->name);
        if (was != NULL && was->id != region->id)
            return refuse(refusal, STATUS_ALREADY_EXISTS,
                          "%s is the name of region %" PRIu32 ": take another name, or remove that "
                          "region first.",
                          region->name, was->id);
    }
    return STATUS_OK;
}

/* Two steps at most, so that no regions pull from each other in a ring, whichever is the primary.
 */
static enum status check_upstreams(const struct regions *regions, struct state_refusal *refusal)
{
    for (unsigned i = 0; i < regions->count; i++) {
        const struct region *region = &regions->regions[i];
        if (region->upstream == 0)
            continue;
        const struct region *upstream = regions_find(regions, region->upstream);
        if (upstream == NULL)
            return refuse(refusal, STATUS_INVALID_ARGUMENT,
                          "%s pulls from region %" PRIu32 ", which would not be in the list: have "
                          "it pull from the primary first (strait region set %s --upstream "
                          "primary).",
                          region->name, region->upstream, region->name);
        if (upstream->upstream != 0)
            return refuse(refusal, STATUS_INVALID_ARGUMENT,
                          "%s cannot pull from %s, which pulls from another standby itself: an "
                          "upstream pulls from the primary.",
                          region->name, upstream->name);
    }
    return STATUS_OK;
}

enum status state_regions_check(const struct state *state, const struct regions *regions,
                                struct state_refusal *refusal)
{
    uint32_t primary = state->mark.epoch_region;

    *refusal = (struct state_refusal){0};
    if (regions->version != state->regions.version)
        return refuse(refusal, STATUS_CONFLICT,
                      "The list of regions has changed meanwhile: look at it again (strait region "
                      "list), and repeat the change.");
    if (regions_find(regions, primary) == NULL)
        return refuse(refusal, STATUS_INVALID_ARGUMENT,
                      "Region %" PRIu32 " is the primary, and must be in the list of regions: %s.",
                      primary,
                      regions_find(&state->regions, primary) == NULL
                          ? "add it first (strait region add)"
                          : "hand over to another one first (strait region switchover)");
    enum status status = check_names(&state->regions, regions, refusal);
    return status == STATUS_OK ? check_upstreams(regions, refusal) : status;
}

/* ---- The command ---- */

static void write_regions(struct apply *apply)
{
    size_t size = regions_size(apply->regions);
    uint8_t *value = overlay_alloc(&apply->overlay, size);
    if (value == NULL)
        return;
    regions_encode(apply->regions, value);
    overlay_write(&apply->overlay, STATE_TREE_META, bytes_of_text("R"), bytes_of(value, size));
}

static enum status regions_execute(struct apply *apply)
{
    struct state_refusal refusal = {0};
    enum status status = regions_decode(apply->entry.body, apply->regions);

    /* A newer version wrote it, and knows what to make of it. */
    if (status == STATUS_UNSUPPORTED)
        return STATUS_NEWER_FORMAT;
    if (status != STATUS_OK)
        (void)refuse(&refusal, status, "The list of regions cannot be read.");
    else
        status = state_regions_check(apply->state, apply->regions, &refusal);
    apply->result.status = status;
    if (status != STATUS_OK) {
        (void)snprintf(apply->result.text, sizeof apply->result.text, "%s", refusal.text);
        return STATUS_OK;
    }
    apply->regions->version = apply->next.version;
    write_regions(apply);
    return apply->overlay.failure;
}

static void regions_published(struct apply *apply)
{
    if (apply->result.status != STATUS_OK)
        return;
    apply->state->regions = *apply->regions;
    apply->state->written_version = apply->next.version;
}

const struct command command_regions = {
    .kind = ENTRY_REGIONS,
    .name = "regions",
    .versioned = true,
    .depth = 0,
    .plan = regions_plan,
    .gather = regions_gather,
    .execute = regions_execute,
    .published = regions_published,
};

/* ---- Asking ---- */

const struct regions *state_regions(const struct state *state)
{
    return &state->regions;
}
