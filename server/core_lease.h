/* SPDX-License-Identifier: Apache-2.0 */
/* Leases between regions, as the core keeps and uses them; core_lease.c. */
#ifndef SERVER_CORE_LEASE_H
#define SERVER_CORE_LEASE_H

#include "proto/base/list.h"
#include "proto/strait.pb-c.h"
#include "replication/region/lease.h"
#include "replication/region/receiver.h"
#include "server/net/request.h"
#include "server/state/state.h"
#include "storage/io/io.h"

struct core;

/* All of it is this leadership's alone. */
struct core_lease {
    bool open;          /* a witness is configured */
    uint64_t holder_id; /* ours, in what is asked of a standby */
    uint64_t led_ns;    /* since when this server leads; 0: it does not */
    uint64_t led_term;
    struct epoch epoch; /* of which the grants are */

    /* Of the primary's leader. */
    struct lease_holder holder;
    struct epoch waived;      /* this epoch goes without, by force; number 0: none does */
    struct list_link waiting; /* struct lease_wait: commits that are not answered, oldest first */
    bool told_acts;
    bool told_held;

    /* Of a standby's. */
    uint64_t source_holder;   /* who asked for a lease last; 0: nobody */
    uint32_t source_lease_ms; /* that was asked for */
    bool source_is_longer;    /* than this region grants */
    uint64_t source_asked_ns;
    uint64_t promised_ns; /* no promotion before */
    bool candidate;       /* it wants to be promoted: nothing is promised any more */
    uint64_t granted_ns;  /* until when the witness has granted that */
    uint64_t promote_ns;  /* not by itself before */

    /* The witness. */
    bool connected;
    bool asking; /* one question is under way; what it was: */
    bool asked_candidate;
    uint64_t asked_ns;
    uint64_t asked_led_ns;
    struct epoch asked_epoch;
    struct lease_list asked_list;
    uint64_t next_ns;      /* the next one is due */
    uint64_t asked_max_ns; /* the longest that the epoch's primary asked for, as the witness says */

    /* What it is told of the regions that may be primary. */
    uint64_t list_version; /* of the list in the state, as seen last */
    uint32_t standby;      /* who granted last, of the regions; 0: none has */
    uint64_t list_serial;
    uint32_t leaving; /* a region that is to be taken out of the list; 0: none */
    bool is_let_go;   /* the witness grants it nothing any more, and has nothing granted to it */

    /* A record of this region's epoch, signed for the witness; of epoch number 0: none. */
    struct epoch proof_epoch;
    bool proof_needed; /* the witness did not take what the epoch began with */
    size_t proof_size;
    uint8_t proof[limit_promotion_record_size];
    char said[240]; /* what it, or its link, said last that is no grant; empty: nothing */
    struct io_timer timer;
};

void core_lease_open(struct core *core);
void core_lease_close(struct core *core);
void core_lease_turn(struct core *core);

/* Whether what is asked here may be answered only with a lease; and whether there is one, now. The
 * latter is looked at last of all, before an answer is given. */
bool core_lease_is_needed(const struct core *core);
bool core_lease_is_held(const struct core *core);

/* Refuses what asks for one, where it is out, before anything is done. */
void core_lease_refuse_out(struct core *core, struct request *request);

/* A commit was applied: true where its answer waits, or was refused; then it is answered later, by
 * core_commit_answer(). */
bool core_lease_hold(struct core *core, struct request *request, const struct state_result *result);
void core_lease_refuse(struct core *core); /* what waits: the core ends */

/* What passes between regions with pulls. */
void core_lease_ask(struct core *core, Strait__RegionPullReply *reply);
void core_lease_pulled(struct core *core, const Strait__RegionPull *pull);
void core_lease_asked(struct core *core, uint64_t holder, uint64_t asked_ns, uint32_t lease_ms);
void core_lease_standing(struct core *core, struct receiver_standing *standing);

/* Whether this region may be promoted without force. */
bool core_lease_permits_promotion(struct core *core);
const char *core_lease_step_text(struct core *core); /* what it lacks for that, or what was said */

/* The epoch, which is begun by force, is to go without a lease until there is one; `by`: who wants
 * that. */
void core_lease_waive(struct core *core, struct epoch epoch, const char *by);

/* The region is to be taken out of the list: the witness is told so; 0: none is. Whether it keeps
 * that, and has granted that region nothing that is not over. */
void core_lease_let_go(struct core *core, uint32_t region);
bool core_lease_has_let_go(const struct core *core);

/* In the arena; NULL: no witness is configured, or there is no memory. */
Strait__RegionLease *core_lease_message(struct core *core, struct arena *arena);

#endif
