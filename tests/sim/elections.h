/* SPDX-License-Identifier: Apache-2.0 */
/* Who votes for whom, who leads, and who may read because of it; seen from outside, by what members
 * send and by what they are.
 *
 * - A member votes for one candidate in a term, whatever happens to it in between; and never speaks
 *   in an older term than it did before (Ongaro and Ousterhout 2014, 5.2: both are durable). When
 *   it starts again, it knows what it has said.
 * - At most one member leads in a term (election safety), and a majority had voted for it by then.
 * - While a member holds a lease, nobody leads in a newer term (Ongaro 2014, 6.4.1). */
#ifndef TESTS_SIM_ELECTIONS_H
#define TESTS_SIM_ELECTIONS_H

#include "proto/peer.h"
#include "server/core.h"
#include "tests/sim/bus.h"

struct world;

enum { elections_votes_max = 16 };

struct elections_vote {
    uint64_t voter; /* members' ids */
    uint64_t candidate;
};

struct elections_term {
    uint64_t leader; /* its member's id; 0: nobody led */
    unsigned votes_count;
    struct elections_vote votes[elections_votes_max];
};

/* The newest term in which a member was heard. */
struct elections_said {
    uint64_t member;
    uint64_t term;
    bool is_asked; /* since the server's start, what it knows of that */
};

struct elections {
    struct elections_term *terms;
    uint64_t terms_capacity;
    uint64_t count; /* of terms with a leader */
    struct elections_said said[sim_servers_max];
    /* The newest term with a leader. */
    uint64_t newest_term;
    uint64_t newest_since_ns;
    unsigned newest_server;
    uint64_t votes_count;  /* looked at */
    uint64_t leases_count; /* that held when they were looked at */
};

void elections_free(struct elections *elections);

/* A message of Raft's leaves a server. */
void elections_heard(struct elections *elections, struct world *world, unsigned server,
                     const struct peer_message *message);

/* Before the first look at a server after its start. */
void elections_started(struct elections *elections, unsigned server);

/* After a turn. `log` is the server's, `before` the configuration as it was when it was last looked
 * at. True: its reign begins. */
bool elections_look(struct elections *elections, struct world *world, unsigned server,
                    const struct core_facts *facts, const struct log_facts *log,
                    const struct raft_configuration *before);

/* Of both halves of a configuration, whether a majority is such. */
bool elections_majority(const struct raft_configuration *configuration,
                        bool (*is_such)(const void *context, uint64_t member), const void *context);

#endif
