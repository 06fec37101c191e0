/* SPDX-License-Identifier: Apache-2.0 */
/* What can be told of a commit without the state, and how refusals are put into words. Words are
 * made from the commit and the status alone, so that a retry reads what its first attempt read. */
#ifndef SERVER_STATE_COMMIT_CHECK_H
#define SERVER_STATE_COMMIT_CHECK_H

#include "proto/strait.pb-c.h"
#include "server/state/state.h"

static inline struct bytes commit_bytes(ProtobufCBinaryData field)
{
    return bytes_of(field.data, field.len);
}

/* Whether the operation changes the schema. */
bool commit_operation_is_schema(const Strait__Operation *operation);

/* Words for a refusal of `commit` (NULL: its bytes were no commit). `item` as in state_result. */
void commit_refusal_text(const Strait__Commit *commit, enum status status, uint32_t item,
                         bool item_is_condition, char text[state_text_size]);

#endif
