/* SPDX-License-Identifier: Apache-2.0 */
/* What a start would need of its surroundings, tried without starting: `straitd --check`. */
#ifndef SERVER_PREFLIGHT_H
#define SERVER_PREFLIGHT_H

#include "proto/base/error.h"
#include "server/config.h"

/* Reads the certificates, keys and authorities that the configuration names, and the master key
 * (running its command), and sees that this kernel gives io_uring. Nothing is written, and nothing
 * is listened on. Errors are those that a start would end with. Blocking. */
MUST_CHECK enum status preflight(const struct config *config, struct error *error);

#endif
