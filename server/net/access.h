/* SPDX-License-Identifier: Apache-2.0 */
/* Who a peer is, and what that permits.
 *
 * The identity comes from the peer certificate's subject alternative names, never from its common
 * name: the URI `strait:NAME` where there is one (two are refused), else the first DNS name, else
 * the first e-mail address. It is 1 to limit_identity_size printable ASCII characters without
 * spaces.
 *
 * The role comes from an explicit list. Who is not on it is refused: being signed by the right
 * authority says who somebody is, not that they may come in. */
#ifndef SERVER_NET_ACCESS_H
#define SERVER_NET_ACCESS_H

#include <openssl/x509.h>
#include <protobuf-c/protobuf-c.h>

#include "proto/base/error.h"
#include "proto/base/status.h"
#include "proto/frame.h"
#include "proto/limits.h"

/* From reader to admin each permits what the one before does. A peer is apart: it alone permits to
 * be a member of the region (peers.h), and to ask what regions ask of each other (region_link.h);
 * of what clients ask it permits HELLO and PING, and nothing that tells or changes data. */
enum role {
    ROLE_PEER = -1,
    ROLE_NONE = 0,
    ROLE_READER, /* reads, snapshots, the outcome of a transaction, status, tables */
    ROLE_WRITER, /* and commits of puts, deletes and adds */
    ROLE_ADMIN,  /* and schema changes, `txn list`, `txn cancel`, `check` */
};

/* "reader", "writer", "admin", "peer"; "none". Static. */
const char *role_name(enum role role);

/* ROLE_NONE for any other text. */
enum role role_of_name(const char *name);

/* Identity -> role. Not changed any more once it is shared; whoever shares it, from any thread,
 * closes it. */
struct access;

MUST_CHECK enum status access_open(struct access **access);
const struct access *access_share(const struct access *access);
void access_close(const struct access *access);

/* `identity` is copied. INVALID_ARGUMENT for one that no certificate could give, ALREADY_EXISTS,
 * TOO_LARGE past limit_access_count, NO_MEMORY. `role` is not ROLE_NONE. */
MUST_CHECK enum status access_add(struct access *access, const char *identity, enum role role);

/* ROLE_NONE for who is not on the list. */
enum role access_role(const struct access *access, const char *identity);

/* Whether a text could be an identity. */
bool identity_is_valid(const char *identity);

/* UNAUTHENTICATED with text where the certificate gives none. */
MUST_CHECK enum status identity_of_certificate(const X509 *certificate,
                                               char identity[limit_identity_size + 1],
                                               struct error *error);

/* What a request needs. `message` is the decoded request: a commit that changes the schema needs
 * more than one that does not. */
enum role access_role_needed(enum frame_type type, const ProtobufCMessage *message);

/* Whether `role` permits it. */
bool access_permits(enum role role, enum frame_type type, const ProtobufCMessage *message);

#endif
