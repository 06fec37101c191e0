/* SPDX-License-Identifier: Apache-2.0 */
/* The newest promotion of a region that servers have told of: the epoch that it began, and its
 * signed record, which is passed on as it came. It is shown to each server that is connected to, so
 * that an old primary learns of the new one from its clients too; the servers alone can tell
 * whether it holds. */
#ifndef CLIENT_PROMOTION_H
#define CLIENT_PROMOTION_H

#include "proto/base/bytes.h"
#include "proto/epoch.h"
#include "proto/limits.h"

struct promotion_known {
    struct epoch epoch; /* number 0: of none */
    size_t record_size;
    uint8_t record[limit_promotion_shown_size];
};

/* Remembers it where its epoch is above the one that is known. An empty record, or one that is too
 * large to be shown (of a signer with several long certificates), is passed over. */
static inline void promotion_note(struct promotion_known *known, struct epoch epoch,
                                  struct bytes record)
{
    if (record.size == 0 || record.size > sizeof known->record ||
        epoch_compare(epoch, known->epoch) <= 0)
        return;
    known->epoch = epoch;
    known->record_size = record.size;
    bytes_copy(known->record, record);
}

#endif
