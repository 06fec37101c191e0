/* SPDX-License-Identifier: Apache-2.0 */
/* A tail that no member can go back from is reported from the log: what the rest of the core knows
 * of it. */
#ifndef SERVER_CORE_SURRENDER_H
#define SERVER_CORE_SURRENDER_H

#include "proto/epoch.h"
#include "proto/stream.h"
#include "replication/replicated_log.h"
#include "server/state/state.h"

struct core;

/* At the leader; core_surrender.c. */
struct core_surrender {
    bool active;
    bool logging; /* an entry of ours is in the log */
    bool reading; /* the log tells when it has read on */
    bool waits;   /* until the next second */
    uint64_t term;
    struct rewind rewind; /* what it would be, if anything led back */

    struct replicated_log_reader *reader; /* NULL: not yet */
    uint64_t index;                       /* of the log: to be looked at next */
    struct stream_position position;      /* of what was collected last */
    struct stream_position later;         /* before the first that comes behind a gap */
    uint64_t later_index;                 /* 0: none was seen */
    unsigned part;                        /* of the entry at `index`: the first not collected */
    uint8_t *body;
    struct state_filing filing;
    uint64_t count; /* that are through, since the start */

    bool stands; /* on each member: the state has surrendered, when it was looked at last */
};

/* No checkpoint leads back for `rewind`, at any voter that is there. */
void core_surrender_begin(struct core *core, const struct rewind *rewind);
void core_surrender_turn(struct core *core);
void core_surrender_look(struct core *core); /* each second */
void core_surrender_close(struct core *core);
void core_surrender_applied(struct core *core); /* an ENTRY_LOST was applied */
bool core_surrender_is_active(const struct core *core);

/* There is something to do at once. */
bool core_surrender_goes_on(const struct core *core);

/* What the log holds may have to be reported: nothing of it is let go of. */
bool core_surrender_keeps_log(const struct core *core);

/* Whether `context` is that of a proposal of this file's; then it is done with. `result` NULL: it
 * was dropped. */
bool core_surrender_ended(struct core *core, const void *context,
                          const struct state_result *result);

#endif
