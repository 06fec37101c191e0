/* SPDX-License-Identifier: Apache-2.0 */
/* What get and scan share. */
#ifndef SERVER_STATE_READ_H
#define SERVER_STATE_READ_H

#include "server/state/state_internal.h"

/* Fills `refusal` with the status's words about `name`, and returns the status. */
MUST_CHECK enum status read_refuse(struct state_refusal *refusal, enum status status,
                                   const char *what, const char *name);

/* The table as of the view: one that is younger than its version did not exist. NO_TABLE,
 * INVALID_ARGUMENT. */
MUST_CHECK enum status read_table_find(const struct state_view *view, const char *name,
                                       const struct catalog_table **table,
                                       struct state_refusal *refusal);

/* A message in the arena for what a tree holds; it refers to `value` and to the view's schema.
 * CORRUPT, NO_MEMORY. */
MUST_CHECK enum status read_record(const struct catalog_table *table, struct bytes value,
                                   uint64_t version, struct arena *arena, Strait__Record *record);

/* What a record takes in a reply, roughly from above. */
size_t read_record_size(const Strait__Record *record);

#endif
