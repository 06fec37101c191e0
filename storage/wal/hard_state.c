/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/hard_state.h"

#include "proto/base/planted.h"

#include <stdio.h>
#include <stdlib.h>

/* What to do without a hard state: a vote that was forgotten could be given twice. */
static const char lost_text[] =
    "This member may have forgotten a vote, and never takes part again under its identity. In a "
    "region of several members: wipe its data directory, start it as a new member, and run `strait "
    "member replace`. In a region of one: restore a backup.";

void wal_hard_state_encode(const struct wal_hard_state *state, uint8_t to[wal_hard_state_size])
{
    memset(to, 0, wal_hard_state_size);
    store_u32(to, wal_hard_state_format);
    store_u64(to + 8, state->term - (PLANTED(wal_term_lost) && state->term > 1));
    store_u64(to + 16, PLANTED(wal_vote_lost) ? 0 : state->vote);
    store_u64(to + 24, state->epoch_number);
    store_u32(to + 32, state->epoch_region);
    store_u64(to + 40, state->member);
    store_u64(to + 48, state->snapshot.index);
    store_u64(to + 56, state->snapshot.term);
}

enum status wal_hard_state_decode(struct bytes from, const char *directory,
                                  struct wal_hard_state *state, struct error *error)
{
    *state = (struct wal_hard_state){0};
    if (from.size >= 4 && load_u32(from.data) > wal_hard_state_format)
        return error_set(error, STATUS_NEWER_FORMAT,
                         "%s/hard-state: a newer version of this program wrote it: start that one",
                         directory);
    if (from.size != wal_hard_state_size || load_u32(from.data) != wal_hard_state_format ||
        load_u32(from.data + 4) != 0 || load_u32(from.data + 36) != 0)
        return error_set(error, STATUS_CORRUPT, "%s/hard-state: it does not follow its format",
                         directory);
    state->term = load_u64(from.data + 8);
    state->vote = load_u64(from.data + 16);
    state->epoch_number = load_u64(from.data + 24);
    state->epoch_region = load_u32(from.data + 32);
    state->member = load_u64(from.data + 40);
    state->snapshot.index = load_u64(from.data + 48);
    state->snapshot.term = load_u64(from.data + 56);
    return STATUS_OK;
}

/* The first one of a new store. */
static enum status hard_state_make(struct io *io, const char *directory, struct twin *twin,
                                   struct error *error)
{
    uint8_t fresh[wal_hard_state_size];
    wal_hard_state_encode(&(struct wal_hard_state){0}, fresh);
    enum status status = twin_write_wait(twin, io, bytes_of(fresh, sizeof fresh));
    if (status != STATUS_OK)
        error_set(error, status, "%s/hard-state: writing: %s", directory, status_text(status));
    else if (error != NULL)
        *error = (struct error){0};
    return status;
}

enum status wal_hard_state_open(struct io *io, struct keyring *keyring, const char *directory,
                                bool has_segments, struct twin **twin, struct wal_hard_state *state,
                                struct wal_report *report, struct error *error)
{
    struct twin_report twin_report = {0};
    uint8_t *contents = NULL;
    size_t size = 0;
    *state = (struct wal_hard_state){0};
    enum status status = twin_open(io, keyring, directory, "hard-state", SEAL_FORMAT_HARD_STATE,
                                   twin, &contents, &size, &twin_report, error);
    if (status == STATUS_OK)
        status = wal_hard_state_decode(bytes_of(contents, size), directory, state, error);
    else if (status == STATUS_NOT_FOUND && has_segments)
        status = error_set(error, STATUS_CORRUPT,
                           "%s/hard-state: both copies are missing, although there is a log. %s",
                           directory, lost_text);
    else if (status == STATUS_NOT_FOUND)
        status = hard_state_make(io, directory, *twin, error);
    else if (status == STATUS_CORRUPT)
        status = error_set(error, STATUS_CORRUPT, "%s/hard-state: neither copy holds. %s",
                           directory, lost_text);
    report->hard_state.repaired = twin_report.repaired;
    snprintf(report->hard_state.path, sizeof report->hard_state.path, "%s",
             twin_report.repaired_path);
    free(contents);
    return status;
}
