/* SPDX-License-Identifier: Apache-2.0 */
/* The witness: a third party that keeps epochs and grants leases, and holds no data
 * (replication/region/lease.h says what for). It answers the leaders of regions, who come with
 * their members' certificates, and administrators who ask how it stands.
 *
 * What it keeps, in a twin file "witness" (storage/seal/twin.h), sealed as all else on disk:
 *
 *     offset size
 *        0     4   format, 2
 *        4     4   1: the epoch's primary has asked for a lease; else 0
 *        8     8   number of the highest epoch that is known
 *       16     4   region of that epoch
 *       20     4   the record's size
 *       24     8   the longest grant that may not be over, nanoseconds
 *       32     8   the longest lease that the epoch's primary has asked for, nanoseconds
 *       40     8   version of the list of regions that this primary told; 0: none
 *       48     8   term of the leader that told it
 *       56     8   its serial, of that leader
 *       64     4   count of regions in it
 *       68    64   their ids; 0 for those that are none
 *      132     4   0
 *      136         the record of that epoch's promotion; empty where the epoch began without
 *
 * Integers are little-endian. It is written before anything that depends on it is answered, which
 * is seldom: with epochs, with leaders, and with changes of the list or the configuration. Grants
 * are not kept: after a start nothing is granted until the longest one would be over.
 *
 * An epoch above the one that is known is believed where its record is valid (`verify`).
 *
 * Belongs to one thread, that of its io. One write is under way at a time, for one request; what
 * would need another meanwhile is refused with BUSY. */
#ifndef SERVER_WITNESS_H
#define SERVER_WITNESS_H

#include "proto/base/error.h"
#include "proto/epoch.h"
#include "server/net/request.h"
#include "storage/io/io.h"
#include "storage/seal/registry.h"

struct witness;

struct witness_options {
    struct io *io;
    struct keyring *keyring;
    const char *directory;
    uint64_t lease_ms; /* the longest that it grants */
    bool is_new;       /* there is nothing yet, and is to be: else what it knew was lost */

    /* As in struct core_options: whether that is a record of a promotion that a server of this
     * cluster signed, and of which epoch. Errors are for people. */
    enum status (*verify)(void *context, struct bytes record, struct epoch *to,
                          struct error *error);

    /* It cannot keep what it has to: the process ends. Told once. */
    void (*failed)(void *context, const struct error *error);
    void *context;
};

/* Errors are for the operator. Blocking. */
MUST_CHECK enum status witness_open(const struct witness_options *options, struct witness **witness,
                                    struct error *error);

/* Takes a request, which is answered at once, or from a turn of the io. */
void witness_take(struct witness *witness, struct request *request);

/* Requests that are not answered yet. */
uint64_t witness_requests_count(const struct witness *witness);

/* Waits for the write under way, if any. NULL does nothing. Blocking. */
void witness_close(struct witness *witness);

#endif
