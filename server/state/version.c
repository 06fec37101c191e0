/* SPDX-License-Identifier: Apache-2.0 */
/* The command VERSION: the cluster version is raised.
 *
 * It is shared: it stands in the one stream, so that every member of every region does what it
 * brings from the same version of the data on. Whoever cannot apply what follows stops before it:
 * it can go on with a newer program, from just there. It only rises. */
#include "server/state/version.h"

#include "proto/base/assert.h"
#include "proto/cluster_version.h"
#include "server/state/command.h"
#include "server/state/state_internal.h"

/* STRAIT_NEXT: the build that tests take for tomorrow's. What else it changes is in commit.c. */
#if defined(STRAIT_NEXT)
const uint32_t state_cluster_version = 2;
#else
const uint32_t state_cluster_version = 1;
#endif

static enum status version_plan(struct apply *apply)
{
    (void)apply;
    return STATUS_OK;
}

static enum status version_gather(struct apply *apply)
{
    (void)apply;
    return STATUS_OK;
}

static void write_version(struct apply *apply)
{
    struct bytes body = apply->entry.body;
    struct bytes value;
    if (overlay_copy(&apply->overlay, body, &value))
        overlay_write(&apply->overlay, STATE_TREE_META, bytes_of_text("V"), value);
}

static enum status version_execute(struct apply *apply)
{
    uint32_t version;
    enum status status = cluster_version_decode(apply->entry.body, &version);

    if (status == STATUS_UNSUPPORTED ||
        (status == STATUS_OK && version > apply->state->cluster_version_max))
        return STATUS_NEWER_FORMAT;
    if (status == STATUS_OK && version <= apply->next.cluster_version)
        status = STATUS_CONFLICT;
    apply->result.status = status;
    if (status != STATUS_OK)
        return STATUS_OK;
    write_version(apply);
    apply->next.cluster_version = version;
    return apply->overlay.failure;
}

static void version_published(struct apply *apply)
{
    if (apply->result.status == STATUS_OK)
        apply->state->written_version = apply->next.version;
}

const struct command command_version = {
    .kind = ENTRY_VERSION,
    .name = "version",
    .versioned = true,
    .depth = 0,
    .plan = version_plan,
    .gather = version_gather,
    .execute = version_execute,
    .published = version_published,
};

/* ---- Opening ---- */

enum status version_load(const struct mark_state *mark, struct bytes key, struct bytes value)
{
    uint32_t version;
    enum status status = cluster_version_decode(value, &version);
    if (status == STATUS_UNSUPPORTED)
        return STATUS_NEWER_FORMAT;
    return status == STATUS_OK && key.size == 1 && version == mark->cluster_version
               ? STATUS_OK
               : STATUS_CORRUPT;
}

uint32_t state_cluster_version_present(const struct state *state)
{
    return state->mark.cluster_version;
}

uint32_t state_cluster_version_max(const struct state *state)
{
    return state->cluster_version_max;
}
