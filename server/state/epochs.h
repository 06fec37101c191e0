/* SPDX-License-Identifier: Apache-2.0 */
/* How the state came to its epoch: where earlier ones ended, and what began the present one.
 *
 * The tree of meta holds the same; it is read at open only. At most epochs_ends_max are kept: with
 * one more, the oldest is forgotten, on every replica by the same entry. What lies before it is
 * answered as lost.
 *
 * In the tree (keys.h), the end of an epoch:
 *     format (1): 1
 *     kind of the change that ended it (1)
 *     0 (2)
 *     region (4) and number (8) of the epoch after it
 *     its last version (8), chain digest there (16), log time there (8)
 * and the change that began the present epoch: the body of its entry (proto/epoch.h), without which
 * the state is still in its first. */
#ifndef SERVER_STATE_EPOCHS_H
#define SERVER_STATE_EPOCHS_H

#include "proto/epoch.h"

enum {
    epochs_ends_max = 1024,
    epochs_end_key_size = 1 + 8 + 4,
    epochs_end_value_size = 48,
};

struct epochs {
    size_t count;
    struct epoch_end ends[epochs_ends_max]; /* ascending; each is followed by the one after it */
    struct epoch_change change;             /* began the present epoch; `to.number` 0: none did */
    uint8_t record[limit_promotion_record_size]; /* what `change.record` refers to */
};

/* The newest that ended at or before `epoch`. NULL where there is none. */
const struct epoch_end *epochs_find(const struct epochs *epochs, struct epoch epoch);

/* What is forgotten when one more is added. NULL: nothing. */
const struct epoch_end *epochs_oldest_of_full(const struct epochs *epochs);

/* Ends `end->epoch`, the present one, with `change`, whose record is copied. */
void epochs_add(struct epochs *epochs, const struct epoch_end *end,
                const struct epoch_change *change);

/* ---- In the tree ---- */

void epochs_end_key(struct epoch epoch, uint8_t to[epochs_end_key_size]);
void epochs_end_encode(const struct epoch_end *end, uint8_t to[epochs_end_value_size]);

/* Adds what an entry of the tree says, whose key begins with 'E' or 'P'; entries come in the tree's
 * order. CORRUPT, NEWER_FORMAT. */
MUST_CHECK enum status epochs_load(struct epochs *epochs, struct bytes key, struct bytes value);

/* After the last of them: CORRUPT where they do not lead to `present`. */
MUST_CHECK enum status epochs_loaded(const struct epochs *epochs, struct epoch present);

#endif
