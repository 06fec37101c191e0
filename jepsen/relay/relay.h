/* SPDX-License-Identifier: Apache-2.0 */
/* A network between addresses that does as it is told: TCP connections are passed on, each way with
 * a delay, at a limited rate, or not at all.
 *
 * Both ways are as of one cable that all connections share: bytes wait until those before them are
 * through at the rate, and then the delay. What is cut is a network that swallows: nothing passes,
 * no end of a connection either, and whoever connects waits; what was on its way goes on when it
 * resumes, as TCP's repeats would. Dropping ends connections with a reset.
 *
 * One thread, poll(2). Bounded: relay_connections_max connections, relay_stream_size_max bytes on
 * their way in each of their directions and relay_size_max in all; past them nothing is read, so
 * that the senders wait. */
#ifndef JEPSEN_RELAY_RELAY_H
#define JEPSEN_RELAY_RELAY_H

#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/base/list.h"
#include "proto/base/status.h"

enum {
    relay_ways_max = 16,
    relay_connections_max = 1024,
    relay_controllers_max = 8,
    relay_line_size = 256,
    relay_answer_size = 512,
    relay_stream_size_max = 16 * 1024 * 1024,
    relay_size_max = 512 * 1024 * 1024,
};

enum relay_direction { RELAY_FORWARD, RELAY_BACK, relay_directions_count };

/* One direction, of all connections. */
struct relay_wire {
    uint64_t delay_ns;
    uint64_t rate;        /* bytes a second; 0: any */
    uint64_t free_ns;     /* when what was taken last is through, at the rate */
    uint64_t passed_size; /* bytes that were given on */
    bool is_cut;
};

/* An address that is listened on, and the one that its connections lead to. */
struct relay_way {
    struct sockaddr_in listen;
    struct sockaddr_in target;
    int listener;
};

/* Whoever commands: standard input, or a connection to the control socket. */
struct relay_controller {
    int from; /* -1: nobody */
    int to;
    char line[relay_line_size];
    size_t size;
    bool is_too_long; /* the rest of the line is passed over */
};

struct relay {
    struct relay_wire wires[relay_directions_count];
    struct relay_way ways[relay_ways_max];
    unsigned ways_count;
    struct list_link connections;
    unsigned connections_count;
    uint64_t accepted_count;
    uint64_t held_size; /* on its way */
    bool is_ending;

    int control; /* listens for controllers; -1: none */
    const char *control_path;
    struct relay_controller controllers[relay_controllers_max];

    struct pollfd polls[relay_ways_max + relay_controllers_max + 1 + 2 * relay_connections_max];
};

/* ---- relay.c ---- */

void relay_init(struct relay *relay);

/* "HOST:PORT=HOST:PORT", numeric IPv4 addresses; the first is listened on, and where its port is 0
 * the system chooses one. False, with the reason. */
bool relay_add_way(struct relay *relay, const char *text, const char **reason);

/* Until `is_ending`. */
void relay_run(struct relay *relay);
void relay_close(struct relay *relay);

/* Ends all connections. */
void relay_drop(struct relay *relay);

/* Waiting at a rate or in a cut begins anew. */
void relay_wire_set_rate(struct relay_wire *wire, uint64_t rate);

uint64_t relay_now_ns(void);

/* ---- control.c ---- */

/* Makes the socket, in place of one that an earlier relay left. False, with the reason. */
bool relay_control_open(struct relay *relay, const char *path, const char **reason);
void relay_control_close(struct relay *relay);

/* Lines on standard input are commands too; its end is no command. */
void relay_control_standard_input(struct relay *relay);

/* Adds what it waits for to `polls`, and returns how many those are; and takes what came. */
unsigned relay_control_poll(struct relay *relay, struct pollfd *polls);
void relay_control_take(struct relay *relay, const struct pollfd *polls, unsigned count);

/* One line: "delay 45". The answer is one line too, with its end: "ok", "error: WHY", or of
 * "status" a JSON document. Returns whether it was done. */
bool relay_command(struct relay *relay, const char *line, char answer[relay_answer_size]);

/* Sends a line to the relay that listens at `path`, and prints its answer. Returns the exit status:
 * 0 done, 1 refused, 3 unreachable. */
int relay_tell(const char *path, const char *line);

#endif
