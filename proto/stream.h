/* SPDX-License-Identifier: Apache-2.0 */
/* The one stream that all regions share, as it lies in a region's log: which entry comes next.
 *
 * Each shared entry carries its epoch and its version. It belongs to the stream exactly where it is
 * the successor of what came before; so apply decides, and so whoever reads a log finds the stream
 * in it, without any record of which index holds which version. What is not the successor (sent
 * twice, sent too early, or proposed by a region that is not the primary) is discarded: it takes no
 * version. */
#ifndef PROTO_STREAM_H
#define PROTO_STREAM_H

#include "proto/entry.h"
#include "proto/epoch.h"

struct stream_position {
    struct epoch epoch; /* number 0: of a region that has nothing yet, and will follow another */
    uint64_t version;   /* the newest that was taken */
};

/* Whether `entry` comes next after `position`; where it does, moves it there. A change of the epoch
 * comes next where it says that it follows just this epoch and version.
 *
 * A log also holds entries that would come next and that apply discarded all the same: those of a
 * region that was fenced, and those that a rewind gave up. So whoever reads a log that is longer
 * than the state goes by how the epoch ended: `end`, of the position's epoch, where it has ended
 * (state_epoch_end()). NULL where it is the present one: the reader then stops at the state's
 * version by itself. */
bool stream_takes(struct stream_position *position, const struct epoch_end *end,
                  const struct entry *entry);

#endif
