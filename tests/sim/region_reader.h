/* SPDX-License-Identifier: Apache-2.0 */
/* A client that writes where the primary is and reads in any region, the standby above all: what it
 * wrote, by the token of its commit, and what is at most so old.
 *
 * It alone writes its record, so it knows what a read may show: no version before the token's, its
 * own write or a later one, or else the answer that the token's history was given up, which must be
 * true in the end. Half of its writes ask that the standby has them too: what was confirmed is
 * kept, whoever is promoted. */
#ifndef TESTS_SIM_REGION_READER_H
#define TESTS_SIM_REGION_READER_H

#include "tests/sim/client.h"

struct pair;

enum { region_reader_kept_max = 64 };

/* A write that was acknowledged. */
struct region_reader_write {
    int64_t number;
    uint64_t at_ns; /* when the reply was there */
    struct client_position position;
};

/* A write that the standby had too, as it was said. */
enum { region_reader_confirmed_max = 1024 };

/* What a server said to be given up, and in which history that was. */
struct region_reader_lost {
    struct client_position position;
    struct client_position said;
};

struct region_reader {
    struct pair *pair;
    struct client client;
    unsigned index;
    unsigned serial; /* of its record */
    bool is_stopping;
    bool busy;
    int64_t number;                                             /* of the newest write */
    struct region_reader_write written[region_reader_kept_max]; /* by their numbers */
    struct region_reader_write token; /* the newest acknowledged; number 0: none */
    uint64_t asked_ns;
    uint64_t staleness_ms; /* 0: at least at the token */
    struct region_reader_lost lost[region_reader_kept_max];
    unsigned lost_count;
    struct client_position confirmed[region_reader_confirmed_max];
    unsigned confirmed_count;
    uint64_t reads_count;   /* answered */
    uint64_t standby_count; /* of these, by a standby */
};

void region_reader_init(struct region_reader *reader, struct pair *pair, unsigned index,
                        unsigned node);
void region_reader_free(struct region_reader *reader);
void region_reader_begin(struct region_reader *reader);
bool region_reader_is_idle(const struct region_reader *reader);

/* What was said to be given up was, and what the standby was said to have is kept; fails the world.
 */
void region_reader_judge(struct region_reader *reader);

#endif
