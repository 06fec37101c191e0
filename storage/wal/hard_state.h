/* SPDX-License-Identifier: Apache-2.0 */
/* The hard state's bytes, 64 of them in a twin file (storage/seal/twin.h):
 *
 *     offset size
 *        0     4   format, 2
 *        4     4   0
 *        8     8   term
 *       16     8   vote
 *       24     8   epoch number
 *       32     4   epoch region
 *       36     4   0
 *       40     8   member
 *       48     8   index of the snapshot that takes the state's place
 *       56     8   its term
 *
 * It is made before the first segment: segments without it mean that it was lost, and a vote with
 * it. */
#ifndef STORAGE_WAL_HARD_STATE_H
#define STORAGE_WAL_HARD_STATE_H

#include "storage/seal/twin.h"
#include "storage/wal/wal.h"

enum { wal_hard_state_size = 64, wal_hard_state_format = 2 };

void wal_hard_state_encode(const struct wal_hard_state *state, uint8_t to[wal_hard_state_size]);

/* CORRUPT, NEWER_FORMAT; `directory` is for the text. */
MUST_CHECK enum status wal_hard_state_decode(struct bytes from, const char *directory,
                                             struct wal_hard_state *state, struct error *error);

/* Reads it, or makes an empty one where there is none and no segment either. CORRUPT where both
 * copies are lost: the text says what is left to do. Blocking. The caller closes `*twin`, which may
 * be set also where the status is not OK. */
MUST_CHECK enum status wal_hard_state_open(struct io *io, struct keyring *keyring,
                                           const char *directory, bool has_segments,
                                           struct twin **twin, struct wal_hard_state *state,
                                           struct wal_report *report, struct error *error);

#endif
