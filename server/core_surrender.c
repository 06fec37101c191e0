/* SPDX-License-Identifier: Apache-2.0 */
/* A tail to whose beginning no member of the region can go back: the leader reports it from its own
 * log, and the region then catches up by a checkpoint of the new primary's (core_catchup.c).
 *
 * By the leader, where core_rewind.c has found no checkpoint at any voter that is there:
 *
 *     telling    what the tail's commits had come to is told in the log (core_lost.c)
 *     looking    the log is read from its beginning, a bounded part in each turn: what the state
 *                took of it above the shared version is collected
 *     filing     what was collected is proposed (server/state/surrender.h); one entry at a time
 *     ending     all that is there is filed: the entry that surrenders is proposed. Once it is
 *                applied the report stands, at each member, and a checkpoint is wanted
 *
 * A leader that takes over in between goes on behind what is filed. While a region is fenced, and
 * has not surrendered, its members let go of nothing that their logs hold.
 *
 * The log is looked through for the successor of what was filed last. Where it has none, because it
 * begins later or cannot be read there, it goes on with the first that comes next; the report then
 * says that versions are missing. */
#include "server/core_surrender.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/base/planted.h"
#include "server/core_internal.h"

enum {
    looks_max = 1024, /* entries in one turn */
    looked_size_max = 1024 * 1024,
    ahead_size = 1024 * 1024,
};

/* ---- Beginning and ending ---- */

static void stop(struct core *core)
{
    struct core_surrender *surrender = &core->surrender;

    replicated_log_reader_close(surrender->reader);
    surrender->reader = NULL;
    free(surrender->body);
    surrender->body = NULL;
    surrender->active = false;
}

void core_surrender_begin(struct core *core, const struct rewind *rewind)
{
    struct core_surrender *surrender = &core->surrender;

    if (surrender->active || surrender->logging || PLANTED(region_adopted_unreported))
        return;
    *surrender = (struct core_surrender){.active = true,
                                         .term = replicated_log_term(core->log),
                                         .rewind = *rewind,
                                         .stands = surrender->stands,
                                         .count = surrender->count};
    log_warn("surrender_begun", LOG_U64("version", rewind->version),
             LOG_U64("log_begins", replicated_log_first_index(core->log)),
             LOG_TEXT("text", "no server of this region has a checkpoint from before what is to be "
                              "given up: it is reported from the log"));
}

void core_surrender_close(struct core *core)
{
    stop(core);
}

bool core_surrender_is_active(const struct core *core)
{
    return core->surrender.active;
}

bool core_surrender_keeps_log(const struct core *core)
{
    return (core->ship.higher.number != 0 ||
            state_is_fenced(core->state, core->options.region_id)) &&
           !state_is_surrendered(core->state) && !state_is_adopting(core->state);
}

bool core_surrender_goes_on(const struct core *core)
{
    const struct core_surrender *surrender = &core->surrender;
    return surrender->active && surrender->reader != NULL && !surrender->logging &&
           !surrender->reading && !surrender->waits;
}

void core_surrender_look(struct core *core)
{
    core->surrender.waits = false;
}

/* ---- The log ---- */

static void on_read(void *context)
{
    struct core *core = context;
    core->surrender.reading = false;
}

static bool has_end(const struct core *core, struct epoch epoch, struct epoch_end *end)
{
    return state_epoch_end(core->state, epoch, end) == STATUS_OK;
}

/* Whether the state took the entry when it came, behind `position`: then moves it there. */
static bool is_next(const struct core *core, struct stream_position *position,
                    const struct entry *entry)
{
    struct stream_position moved = *position;
    struct epoch_end end;
    bool ended = has_end(core, position->epoch, &end);

    if (!stream_takes(&moved, ended ? &end : NULL, entry) ||
        state_position_check(core->state, moved.epoch, moved.version) != STATUS_OK)
        return false;
    *position = moved;
    return true;
}

/* Of those that come later than the next: the first, from which the look goes on where the next is
 * not there. How an epoch began, only its successor can follow. */
static void note_later(struct core *core, const struct entry *entry)
{
    struct core_surrender *surrender = &core->surrender;
    const struct epoch epoch = {.number = entry->epoch_number, .region = entry->epoch_region};
    bool has_later =
        surrender->later_index != 0 && surrender->later.version > surrender->position.version;

    if (!entry_kind_is_shared(entry->kind) || entry->kind == ENTRY_EPOCH ||
        entry->version <= surrender->position.version + 1 ||
        (has_later && surrender->later.version < entry->version) ||
        state_position_check(core->state, epoch, entry->version) != STATUS_OK)
        return;
    surrender->later = (struct stream_position){.epoch = epoch, .version = entry->version - 1};
    surrender->later_index = surrender->index;
}

/* The log is looked through. True: the look goes on behind a gap. */
static bool skip_gap(struct core *core)
{
    struct core_surrender *surrender = &core->surrender;

    if (surrender->later_index == 0 || surrender->later.version <= surrender->position.version)
        return false;
    log_warn("surrender_gap", LOG_U64("after_version", surrender->position.version),
             LOG_U64("to_version", surrender->later.version + 1),
             LOG_TEXT("text", "the log does not hold them any more: the report says so"));
    surrender->position = surrender->later;
    surrender->index = surrender->later_index;
    surrender->later_index = 0;
    return true;
}

enum looked { LOOKED_MORE, LOOKED_FULL, LOOKED_END };

/* Looks at the entry at `index`. */
static enum looked look_at(struct core *core, struct bytes bytes)
{
    struct core_surrender *surrender = &core->surrender;
    struct stream_position moved = surrender->position;
    struct entry entry;

    enum status status = entry_decode(bytes, &entry);
    ASSERT(status == STATUS_OK); /* it was when it was applied */
    if (!is_next(core, &moved, &entry)) {
        ASSERT(surrender->part == 0);
        note_later(core, &entry);
        surrender->index++;
        return LOOKED_MORE;
    }
    if (!state_filing_add(&surrender->filing, bytes, &surrender->part) || surrender->part != 0)
        return LOOKED_FULL;
    surrender->position = moved;
    surrender->index++;
    return LOOKED_MORE;
}

/* Collects until the body is full, the log ends or the turn has looked at enough of it. */
static enum looked look(struct core *core)
{
    struct core_surrender *surrender = &core->surrender;
    uint64_t applied = state_facts(core->state).applied_index;
    uint64_t version = state_position(core->state).version;
    enum looked looked = LOOKED_MORE;
    size_t size = 0;

    for (unsigned looks = 0; looked == LOOKED_MORE; looks++) {
        struct bytes bytes;
        if (surrender->position.version >= version)
            return LOOKED_END;
        if (surrender->index > applied) {
            if (!skip_gap(core))
                return LOOKED_END;
            continue;
        }
        if (looks == looks_max || size > looked_size_max)
            return LOOKED_MORE;
        enum status status =
            replicated_log_reader_find(surrender->reader, surrender->index, ahead_size, &bytes);
        if (status == STATUS_AGAIN || status == STATUS_END) {
            surrender->reading = status == STATUS_AGAIN; /* else with the log's next turn */
            return LOOKED_MORE;
        }
        if (status == STATUS_OK) {
            size += bytes.size;
            looked = look_at(core, bytes);
            continue;
        }
        /* Of what cannot be read nothing is filed: not half of it either. */
        surrender->part = 0;
        uint64_t first = replicated_log_first_index(core->log);
        surrender->index = surrender->index < first ? first : surrender->index + 1;
    }
    return looked;
}

/* ---- Proposing ---- */

static void propose(struct core *core, struct bytes body)
{
    struct core_surrender *surrender = &core->surrender;
    const struct log_proposal proposal = {
        .kind = ENTRY_LOST, .body = body, .context = &surrender->logging};
    enum status status = replicated_log_propose(core->log, &proposal);

    surrender->logging = status == STATUS_OK;
    surrender->waits = status != STATUS_OK; /* the next second tries it again */
    if (status == STATUS_OK)
        state_filing_begin(&surrender->filing, surrender->body);
    else if (status != STATUS_BUSY && status != STATUS_NOT_LEADER)
        log_warn("surrender_not_logged", LOG_TEXT("reason", status_text(status)));
}

static void propose_end(struct core *core)
{
    uint8_t body[state_surrender_size];

    state_surrender_encode(&core->surrender.rewind, body);
    propose(core, bytes_of(body, sizeof body));
}

static enum status open_log(struct core *core)
{
    struct core_surrender *surrender = &core->surrender;
    struct epoch epoch;
    uint64_t version;

    surrender->body = malloc(state_filing_size_max);
    if (surrender->body == NULL)
        return STATUS_NO_MEMORY;
    enum status status = replicated_log_reader_open(core->log, on_read, core, &surrender->reader);
    if (status != STATUS_OK)
        return status;
    state_filing_begin(&surrender->filing, surrender->body);
    surrender->position = (struct stream_position){.epoch = surrender->rewind.from,
                                                   .version = surrender->rewind.version};
    if (state_filed(core->state, &epoch, &version) && version > surrender->position.version)
        surrender->position = (struct stream_position){.epoch = epoch, .version = version};
    surrender->index = replicated_log_first_index(core->log);
    return STATUS_OK;
}

void core_surrender_turn(struct core *core)
{
    struct core_surrender *surrender = &core->surrender;

    if (!surrender->active || surrender->logging || surrender->reading || surrender->waits)
        return;
    if (!core_leads(core) || surrender->term != replicated_log_term(core->log) ||
        !state_rewind_is_possible(core->state, &surrender->rewind)) {
        stop(core);
        return;
    }
    enum status status = STATUS_OK;
    if (surrender->reader == NULL) {
        status = core_lost_tell(core, surrender->rewind.version);
        if (status == STATUS_AGAIN)
            return;
        if (status == STATUS_OK)
            status = open_log(core);
    }
    if (status != STATUS_OK) {
        log_error("surrender_failed", LOG_TEXT("reason", status_text(status)));
        stop(core); /* the primary's next refusal begins it anew */
        return;
    }
    if (look(core) == LOOKED_MORE)
        return;
    if (surrender->filing.count != 0)
        propose(core, bytes_of(surrender->body, surrender->filing.size));
    else
        propose_end(core);
}

bool core_surrender_ended(struct core *core, const void *context, const struct state_result *result)
{
    struct core_surrender *surrender = &core->surrender;

    if (context != &surrender->logging)
        return false;
    surrender->logging = false;
    if (result == NULL || result->status != STATUS_OK) {
        stop(core);
    } else if (state_is_surrendered(core->state)) {
        stop(core);
        surrender->count++;
    }
    return true;
}

void core_surrender_applied(struct core *core)
{
    bool stands = state_is_surrendered(core->state);

    if (stands == core->surrender.stands)
        return;
    core->surrender.stands = stands;
    if (!stands)
        return;
    core_rewind_forget(core);
    /* Another tail is another search for who has a checkpoint from before it. */
    core->rewind.handovers_count = 0;
    core->rewind.lacking_ns = 0;
    core->catchup.look = true;
    core_ship_roles_changed(core);
    log_warn("surrendered", LOG_U64("version", state_position(core->state).version),
             LOG_TEXT("text", "what this region had committed alone is reported, and given up: it "
                              "catches up by a checkpoint of the primary's"));
}
