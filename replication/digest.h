/* SPDX-License-Identifier: Apache-2.0 */
/* Whether replicas agree: the chain digest that each has at the same version is compared.
 *
 * Each notes the digest after every version that it applies, and keeps the last of them. Once a
 * second or so the leader asks all members for theirs at its newest version. A member that is not
 * there yet answers when it is; one that is past it looks it up. What a majority of the voters says
 * is right:
 *
 *     a member says otherwise      it is told, and its owner stops it: what it would go on to say
 *                                  or to keep cannot be relied upon
 *     the leader says otherwise    its owner stops it, so that another one leads
 *     no majority agrees, and      nobody knows who is right: the owner raises an alarm
 *     some differ
 *
 * A chain covers all versions before it, so one comparison vouches for all that was applied up to
 * it. It says nothing about what the disk has made of it since: that is the scrub's (lsm_scrub()),
 * whose digests are a series of their own, compared in the same way: a second `struct digests`, and
 * versions at which all replicas were told to scrub.
 *
 * Pure: no io, no clock. Belongs to one thread. Messages have the kinds below:
 *
 *     ask      u64 version, u64 history                              leader
 *     answer   u64 version, u64 low, u64 high, u8 known, 7 zeros,
 *              u64 history                                           member
 *     verdict  u64 version, u64 low, u64 high, u64 history           leader, to one that differs
 *
 * A version that was given up comes again, in another history (proto/epoch.h): while one member has
 * gone back and another has not yet, they have different digests at it, and both are right. So what
 * is noted says of which history it is, and only what is of the same one is compared. */
#ifndef REPLICATION_DIGEST_H
#define REPLICATION_DIGEST_H

#include "proto/base/hash.h"
#include "proto/membership.h"
#include "proto/peer.h"
#include "replication/bus.h"

/* The first of three kinds, which follow one another: ask, answer, verdict. */
enum digest_series {
    DIGEST_CHAIN = PEER_DIGEST_FIRST,
    DIGEST_SCRUB = PEER_DIGEST_FIRST + 4,
};

enum digest_kind { DIGEST_ASK, DIGEST_ANSWER, DIGEST_VERDICT }; /* added to the series */

enum {
    digests_kept_count = 8192,  /* versions */
    digests_round_patience = 5, /* calls of digests_lead() that wait for answers */
};

struct digests;

struct digests_options {
    enum digest_series series; /* 0: DIGEST_CHAIN */
    uint64_t self;
    /* False: not connected, or no room; it is asked again in another round. */
    bool (*send)(void *context, uint64_t to, uint8_t kind, enum bus_lane lane,
                 struct bytes message);
    /* This replica's state is not what a majority has at `version`. Told once. */
    void (*odd)(void *context, uint64_t version);
    /* At the leader: `member`'s is not; it was told. */
    void (*differs)(void *context, uint64_t member, uint64_t version);
    /* At the leader: all voters have answered, some differ, and no majority agrees. */
    void (*undecided)(void *context, uint64_t version);
    void *context;
};

MUST_CHECK enum status digests_create(const struct digests_options *options,
                                      struct digests **digests);
void digests_free(struct digests *digests); /* NULL is permitted */

/* Of which history is what is noted from here on: any number that differs where the epoch does. 0
 * at first. */
void digests_history(struct digests *digests, uint64_t history);

/* After each version that was applied, or scrubbed: they rise. */
void digests_note(struct digests *digests, uint64_t version, struct hash128 chain);

/* Nothing will be noted at or below `version` any more: who asks for such a one is told so. */
void digests_pass(struct digests *digests, uint64_t version);

/* At opening, and after a snapshot took the state's place: it is at `version` now. Of a series in
 * which that has no digest, digests_pass() follows, with `version` 0 here. */
void digests_reset(struct digests *digests, uint64_t version, struct hash128 chain);

/* The leader, about once a second: asks, unless nothing was applied since, or answers to the last
 * question are still awaited; who has not answered after a while is asked again. Nothing is sent in
 * a region of one. */
void digests_lead(struct digests *digests, const struct membership *membership);

/* A message; those of another series are passed over. */
void digests_received(struct digests *digests, uint64_t from, uint8_t kind, struct bytes message);

/* Newest version at which a majority was seen to agree with this leader; 0: none yet. */
uint64_t digests_agreed_version(const struct digests *digests);

enum digest_verdict {
    DIGEST_SILENT,  /* it has not answered */
    DIGEST_UNKNOWN, /* it has no digest for the version, or no majority agrees on one */
    DIGEST_AGREES,
    DIGEST_DIFFERS,
};

/* The version that the leader asked for last; 0: none. */
uint64_t digests_asked_version(const struct digests *digests);

/* Of that question: what a member said. SILENT where none was asked. */
enum digest_verdict digests_verdict(const struct digests *digests, uint64_t member);

#endif
