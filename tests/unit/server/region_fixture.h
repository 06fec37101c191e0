/* SPDX-License-Identifier: Apache-2.0 */
/* A region of three cores on one simulated disk, each in a directory of its own, with a bus in
 * memory between them, and requests to them. Its files begin with d0/, d1/, d2/. */
#ifndef TESTS_UNIT_SERVER_REGION_FIXTURE_H
#define TESTS_UNIT_SERVER_REGION_FIXTURE_H

#include "proto/message.h"
#include "server/core.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

enum { region_servers_count = 3, region_records_count = 150, region_turns_max = 400 * 1000 };

struct region_server {
    struct bus bus; /* first */
    unsigned number;
    char directory[8];
    struct io *io;
    struct keyring *keyring;
    struct core *core;
    struct bus_user user;
    uint64_t self;
    struct mailbox replies;
    struct session session;
    bool told[region_servers_count]; /* that the other one is connected */
    bool failed;
    struct error error;
};

/* A request with what became of it. */
struct region_asked {
    struct request request;
    bool answered;
    enum status status;
};

extern struct sim_disk *region_disk;
extern struct region_server region_servers[region_servers_count];
extern bool region_is_cut[region_servers_count]; /* nothing goes to it or comes from it */
extern uint64_t region_scrub_period_ms;          /* of those that are opened from now on */
/* The same: the highest cluster versions that they can apply; 0: the program's. */
extern uint32_t region_version_max[region_servers_count];
extern bool region_upgrade_held; /* of those that are opened from now on */

/* All have the same records of a table "things", in tables; and one of them anew, in memory. */
void region_set_up(void);
void region_tear_down(void); /* closes all; no file is left open */

enum status region_open_server(unsigned number, bool bootstrap);
void region_close_server(unsigned number);
void region_kill_server(unsigned number); /* what is in memory only is gone */
void region_open_all(void);               /* that are closed */
void region_close_all(void);
struct core_facts region_facts_of(unsigned number);

/* One turn of each, or of the clock where nobody has anything to do. */
void region_turn(void);

/* One that leads, and has a state. */
unsigned region_wait_leader(void);

/* Until all have applied the same; digests of the same version are equal. */
void region_wait_equal(void);

/* Gives a request to a core; region_wait() turns until it is answered. */
void region_ask_begin(unsigned number, struct region_asked *asked, enum frame_type type,
                      const ProtobufCMessage *message);
void region_wait(struct region_asked *asked);

/* Both; then it is freed by region_forget(). */
void region_ask(unsigned number, struct region_asked *asked, enum frame_type type,
                const ProtobufCMessage *message);
struct bytes region_reply_of(const struct region_asked *asked);
void region_forget(struct region_asked *asked);

/* At whoever leads, until one does it. */
void region_put(unsigned i, const char *text);

/* A read of any age at one server: its status. */
enum status region_read_one(unsigned number, unsigned i);

#endif
