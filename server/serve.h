/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a server process: opens the store, the core and the net loops, turns them until a
 * signal comes, and stops gracefully. */
#ifndef SERVER_SERVE_H
#define SERVER_SERVE_H

#include "proto/base/error.h"
#include "server/config.h"
#include "server/dev.h"

/* Returns when the server was told to stop and has stopped: OK, or why it could not start, or could
 * not go on. `dev` is NULL but for a development server. A failure of the disk ends the process
 * here and now, without flushing anything. */
MUST_CHECK enum status serve(const struct config *config, struct dev *dev, struct error *error);

#endif
