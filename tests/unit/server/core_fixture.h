/* SPDX-License-Identifier: Apache-2.0 */
/* A core on a simulated disk, with its workers inline, and requests to it. */
#ifndef TESTS_UNIT_SERVER_CORE_FIXTURE_H
#define TESTS_UNIT_SERVER_CORE_FIXTURE_H

#include "server/core.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

struct core_fixture {
    struct sim_disk *disk;
    bool shares_disk; /* with other cores: theirs is not this one's to destroy */
    char directory[8];
    void (*turn)(void); /* what waiting for an answer turns; NULL: this core alone */
    struct keyring *keyring;
    struct io *io;
    struct core_options options;
    struct core *core;
    struct mailbox replies;
    struct session session;
    uint64_t numbers;
    struct error error;
    bool failed;
};

/* A request with its answer. */
struct core_ask {
    struct request request;
    bool answered;
    Strait__Refusal *refusal;  /* where the status is not OK; in the request's arena */
    ProtobufCMessage *message; /* where it is; in the same */
};

void core_fixture_begin(struct core_fixture *fixture, uint64_t seed);

/* The same as one of several on a disk, each in a directory of its own. */
void core_fixture_begin_on(struct core_fixture *fixture, struct sim_disk *disk,
                           const char *directory, uint64_t seed);
void core_fixture_end(struct core_fixture *fixture); /* the core is closed or abandoned */

enum status core_fixture_open(struct core_fixture *fixture);
void core_fixture_close(struct core_fixture *fixture);

/* As a loss of power: what was not flushed is gone or not, as the seed has it. */
void core_fixture_crash(struct core_fixture *fixture, uint64_t seed);

/* One turn; it waits for the next event where there is nothing to do at once. */
void core_fixture_turn(struct core_fixture *fixture);

/* Gives a request to the core. It is freed with core_ask_free() once it was answered. */
void core_fixture_ask(struct core_fixture *fixture, struct core_ask *ask, enum frame_type type,
                      const ProtobufCMessage *message);

/* Turns until it is answered; its status. */
enum status core_fixture_wait(struct core_fixture *fixture, struct core_ask *ask);

/* Takes the answers that are there. */
void core_fixture_collect(struct core_fixture *fixture);
void core_ask_free(struct core_ask *ask);

/* One-shot commits, with ids of their own: the status, and the version. */
enum status core_fixture_create_table(struct core_fixture *fixture, const char *table);
enum status core_fixture_put(struct core_fixture *fixture, const char *table, const char *key,
                             const char *value, uint64_t *version);

/* An addition that is under way. */
void core_fixture_add_begin(struct core_fixture *fixture, const char *table, const char *key,
                            int64_t amount, struct core_ask *ask);

/* The value, or "" where there is none. */
enum status core_fixture_get(struct core_fixture *fixture, const char *table, const char *key,
                             char value[64]);

#endif
