/* SPDX-License-Identifier: Apache-2.0 */
/* Two regions of one server each, "one" and "two", on one simulated disk and clock, with links in
 * memory between them. `one` begins as the primary; `two` is opened to follow it.
 *
 * A link carries messages as their bytes, and hands them to the other core as the requests of an
 * authenticated server; replies come with a later turn. Time limits of single requests it leaves
 * to the connection: one that is cut is told so, and what was in flight is lost. */
#ifndef TESTS_UNIT_SERVER_PAIR_FIXTURE_H
#define TESTS_UNIT_SERVER_PAIR_FIXTURE_H

#include "tests/unit/server/core_fixture.h"

enum { pair_count = 2, pair_link_requests_max = 32, pair_record_size = 13 };

/* A request that is on its way; where its connection ended, `link` is NULL. */
struct pair_letter {
    struct request request; /* first */
    struct pair_link *link;
    void *context; /* the sender's */
    enum { PAIR_SENT, PAIR_TAKEN, PAIR_ANSWERED } step;
};

struct pair_link {
    struct link link;   /* first */
    unsigned from;      /* whose it is */
    const char *wanted; /* the other's endpoint, where that is among those it is told; NULL */
    bool connected;
    bool leaves;
    unsigned sends_count; /* taken since the beginning */
    struct link_user user;
    struct pair_letter *letters[pair_link_requests_max];
    unsigned letters_count;
};

struct pair_server {
    struct core_fixture fixture;
    struct pair_link link;   /* to the primary */
    struct pair_link herald; /* to whoever is to know of its promotion */
    struct session peer;     /* as which the other one asks */
    struct mailbox peer_replies;
};

extern struct pair_server pair_servers[pair_count];
extern bool pair_is_cut;                  /* nothing passes between them */
extern unsigned pair_verifications_count; /* of records, by both */
/* Of those that are opened from now on: as in struct core_options. */
extern uint32_t pair_version_max[pair_count];

/* Opens both, with a table "t" and the list of both regions, and waits until they are level. */
void pair_set_up(void);
void pair_tear_down(void); /* closes those that are open */

/* The same without lists or tables: `two` is not open yet. */
void pair_begin(void);
void pair_open(unsigned number);
void pair_close(unsigned number);
void pair_abandon(unsigned number); /* of one that has failed */

/* Both lose power: what was not flushed is gone or not, as the seed has it. Neither is open then.
 */
void pair_crash(uint64_t seed);

/* One turn of each, or of the clock where nobody has anything to do; and for as long. */
void pair_turn(void);
void pair_run_ms(uint64_t ms);

struct core_fixture *pair_fixture(unsigned number);
struct core_facts pair_facts(unsigned number);

/* Until both have applied the same versions: their chain digests are equal. */
void pair_wait_level(void);

/* Asks, and waits for the status. The answer stays in *ask, to be freed by core_ask_free(). */
enum status pair_ask(unsigned number, struct core_ask *ask, enum frame_type type,
                     const ProtobufCMessage *message);
enum status pair_put(unsigned number, const char *key, const char *value);

/* A put that is under way, of the transaction `id`. */
void pair_commit_begin(unsigned number, uint8_t id, const char *key, struct core_ask *ask);

/* Region changes, by what they are asked: the status. */
enum status pair_change(unsigned number, Strait__RegionChange__Action action, uint32_t id,
                        const char *name, const char *endpoint);
void pair_switchover_begin(unsigned number, const char *to, uint32_t timeout_ms,
                           struct core_ask *ask);
enum status pair_promote(unsigned number, bool force, struct core_ask *ask);

/* What the region says of itself, as any of its servers; core_ask_free() ends it. */
const Strait__RegionListReply *pair_list(unsigned number, struct core_ask *ask);

/* A commit is refused with NOT_PRIMARY, in favour of `primary` and its endpoint. */
void pair_check_refuses(unsigned number, unsigned primary);

/* A record as promotion_sign makes it here: an epoch in bytes. */
void pair_record_make(struct epoch epoch, uint8_t record[pair_record_size]);

/* Tells a core of a promotion by a pull that does nothing else; whatever it answers. */
void pair_tell(unsigned number, struct bytes record);

#endif
