/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/state.h"

#include "server/state/outcome.h"

const struct lsm_tree_options state_trees[state_trees_count] = {
    {.id = STATE_TREE_RECORDS, .name = "records", .kind = LSM_BYTES},
    {.id = STATE_TREE_INDEXES, .name = "indexes", .kind = LSM_BYTES},
    {.id = STATE_TREE_EXPIRY, .name = "expiry", .kind = LSM_BYTES},
    {.id = STATE_TREE_META, .name = "meta", .kind = LSM_BYTES},
    {.id = STATE_TREE_OUTCOMES,
     .name = "outcomes",
     .kind = LSM_FIXED,
     .key_size = outcome_key_size,
     .value_size = outcome_value_size},
    {.id = STATE_TREE_LOST, .name = "lost", .kind = LSM_BYTES, .regional = true},
};
