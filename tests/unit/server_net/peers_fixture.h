/* SPDX-License-Identifier: Apache-2.0 */
/* Members of a region on loopback, all on one io, which the test turns: what the tests of the bus
 * stand on. */
#ifndef TESTS_UNIT_SERVER_NET_PEERS_FIXTURE_H
#define TESTS_UNIT_SERVER_NET_PEERS_FIXTURE_H

#include "server/net/peers.h"
#include "tests/unit/server_net/fixture.h"

enum { node_messages_max = 4096 };

/* A message that came. */
struct came {
    uint64_t from;
    size_t size;
    uint64_t hash;
    uint8_t tag; /* its first byte */
};

struct node {
    struct io *io;
    struct peers *peers; /* NULL: down */
    struct bus *bus;
    SSL_CTX *tls;
    struct access *access;
    struct member about;
    struct peers_options options;
    struct came came[node_messages_max];
    unsigned came_count;
    unsigned connected_count;
    unsigned disconnected_count;
    unsigned room_count;
    uint64_t last_event_of;
};

struct io *nodes_io_open(void);

/* A member's context: its certificate is of `authority`, says `name`, and trusts `trusted`. */
SSL_CTX *node_tls(const struct authority *authority, const struct authority *trusted,
                  const char *name);

/* Makes NAME with this id, and opens it on a port of the system's choice. `options`: limits and
 * ranges; may be NULL. The names n1 to n5 have the role peer, shop is a writer. */
void node_make(struct node *node, struct io *io, const struct authority *authority,
               const char *name, uint64_t id, const struct peers_options *options);

/* Again on the port that it had. */
void node_up(struct node *node);
void node_down(struct node *node);
void node_free(struct node *node);

/* Tells `node` that these are the members. */
void node_members(struct node *node, struct node *const *members, unsigned count);

/* One piece that begins with `tag` and is `size` bytes of it. */
bool node_send(struct node *node, uint64_t to, enum bus_lane lane, uint8_t tag, size_t size);
uint64_t node_hash(uint8_t tag, size_t size);

/* Connected both ways, as the bus knows. */
bool nodes_are_linked(const struct node *a, const struct node *b);
struct peers_member_facts node_facts(const struct node *node, uint64_t id);

/* Turns until it holds, or fails after a long while. */
#define TURN_UNTIL(io, expression)                                                                 \
    do {                                                                                           \
        struct io_timer patience_ = {.fired = nodes_patience_ends, .context = #expression};        \
        io_timer_start(io, &patience_, io_boot_ns(io) + UINT64_C(60000000000));                    \
        while (!(expression))                                                                      \
            io_turn(io, true);                                                                     \
        io_timer_stop(io, &patience_);                                                             \
    } while (0)
void nodes_patience_ends(struct io_timer *timer);

/* Turns for so long. */
void nodes_turn_ms(struct io *io, unsigned milliseconds);

#endif
