/* SPDX-License-Identifier: Apache-2.0 */
/* The command EPOCH: the primary changes. */
#ifndef SERVER_STATE_EPOCH_CHANGE_H
#define SERVER_STATE_EPOCH_CHANGE_H

#include "server/state/apply.h"

/* Whether the format of the body is one that this version knows. */
bool epoch_change_is_known(struct bytes body);

/* Whether the entry, which is the stream's next, follows this very history: HISTORY_LOST where its
 * chain digest is another, with words in the result. */
MUST_CHECK enum status epoch_change_accept(struct apply *apply);

#endif
