/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that change the schema. */
#ifndef SERVER_STATE_SCHEMA_H
#define SERVER_STATE_SCHEMA_H

#include "server/state/apply.h"

/* Changes the command's draft. OK; NO_TABLE, NO_INDEX, ALREADY_EXISTS, TOO_LARGE (too many), BUSY
 * (too much that was dropped is still to be emptied): a refusal; NO_MEMORY is fatal. */
MUST_CHECK enum status schema_execute(struct apply *apply, const Strait__Operation *operation);

#endif
