/* SPDX-License-Identifier: Apache-2.0 */
/* A surrender: the region gives up the versions above one, to which nothing leads back, and waits
 * for a checkpoint of the region that it gives way to.
 *
 * It is what a rewind (rewind.h) is where no replica has a checkpoint to begin it from. The leader
 * puts what its log still holds of the tail into the log once more, so that all replicas file it
 * (lost.h), and then says that this was all; from there on the mark says so:
 *
 *     FILE         parts of entries, in the order of (epoch, version), are filed; what comes again
 *                  is passed over, so that the next leader goes on where the one before was
 *                  (state_filed())
 *     SURRENDER    what was filed is a report; of what was not, the report has the range. The
 * mark's tail is the last version that both histories share, and an adoption of any checkpoint of
 * the other history is due (adopt.h)
 *
 * So the state, with what it holds alone, is not let go before the report of it is as durable as
 * the log itself. Whatever follows, the region adopts a checkpoint; or it is promoted all the same,
 * with the tail, and then the report says of what is there that it is not.
 *
 * Both are entries ENTRY_LOST. What follows the 16 bytes that lost.h describes, in FILE, for each
 * piece:
 *
 *     offset size
 *      0      1   number of the part, from 0
 *      1      3   0
 *      4      4   size of the part
 *      8          a part of an entry as it stood in the log: of lost_part_size bytes but for the
 *                 last
 *
 * and in SURRENDER what ENTRY_REWIND has (proto/epoch.h): to which epoch it gives way, and the last
 * version that both share.
 *
 * Of what a rewind is under way for that was surrendered before, the log is applied again: then it
 * is filed as the first time, and the mark is the rewind's. */
#ifndef SERVER_STATE_SURRENDER_H
#define SERVER_STATE_SURRENDER_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"

struct apply;

/* The parts of the command LOST; `text` follows the first 16 bytes of its body. CORRUPT: it is what
 * no leader encodes. Where it cannot be done the result says so, and nothing changes. */
MUST_CHECK enum status surrender_file(struct apply *apply, struct bytes text, uint32_t count);
MUST_CHECK enum status surrender_plan(struct apply *apply, struct bytes text);

#endif
