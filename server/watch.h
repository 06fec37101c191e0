/* SPDX-License-Identifier: Apache-2.0 */
/* For machines that watch: asks the core for its status once a second, as a client would, and
 * answers from that over HTTPS (server/metrics.h says what). Belongs to the core's thread. */
#ifndef SERVER_WATCH_H
#define SERVER_WATCH_H

#include "server/config.h"
#include "server/core.h"

struct watch;

/* Listens where the configuration says so; `*watch` is NULL where it does not. */
MUST_CHECK enum status watch_open(const struct config *config, struct io *io, struct core *core,
                                  struct watch **watch, struct error *error);

/* After the core's turn: takes what it answered. NULL is taken, here and below. */
void watch_turn(struct watch *watch);

/* The certificate's files are read anew. */
void watch_reload(struct watch *watch);

/* Asks no more: before the core is drained. */
void watch_stop(struct watch *watch);
void watch_close(struct watch *watch);

#endif
