/* SPDX-License-Identifier: Apache-2.0 */
/* "HOST:PORT" into its parts. */
#ifndef SERVER_NET_ADDRESS_H
#define SERVER_NET_ADDRESS_H

#include "proto/base/bytes.h"
#include "proto/limits.h"

/* "HOST:PORT", "[HOST]:PORT"; false for anything else. The host is not looked at. */
bool address_split(const char *address, char host[limit_member_address_size + 1], uint16_t *port);

/* Whether the host is an address, not a name: what can be dialled without looking it up. */
bool address_is_numeric(const char *host);

#endif
