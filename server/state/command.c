/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/command.h"

#include "proto/base/assert.h"
#include "proto/membership.h"

/* The leader encoded it: bytes that are none mean that the log is not what it was. */
static enum status membership_execute(struct apply *apply)
{
    struct membership membership;
    if (membership_decode(apply->entry.body, &membership) != STATUS_OK)
        return STATUS_CORRUPT;
    ASSERT(apply->entry.body.size <= lsm_attachment_size_max);
    return STATUS_OK;
}

/* The log's own: they move the mark on, take no version, and are no part of the digest. A
 * membership is kept beside the trees, with each mark from there on (apply_publish). */
static const struct command command_noop = {.kind = ENTRY_NOOP, .name = "noop"};
static const struct command command_membership = {
    .kind = ENTRY_MEMBERSHIP, .name = "membership", .execute = membership_execute};

static const struct command *const commands[] = {
    &command_noop,    &command_membership, &command_fence,   &command_rewind,
    &command_commit,  &command_tick,       &command_regions, &command_epoch,
    &command_version, &command_lost,       &command_adopt,
};

const struct command *command_of(enum entry_kind kind)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (commands[i]->kind == kind)
            return commands[i];
    }
    UNREACHABLE();
}
