/* SPDX-License-Identifier: Apache-2.0 */
/* A version that the server keeps for this client. */
#ifndef CLIENT_SNAPSHOT_H
#define CLIENT_SNAPSHOT_H

#include "client/handle.h"

struct strait_snapshot {
    strait *handle;
    uint64_t id;
    uint64_t version;
    uint64_t epoch_number; /* in which it was made */
    uint32_t epoch_region;
    uint64_t age_max_ns;
    uint64_t renewed_ns; /* when its time began, by this side's clock */
};

/* Renews where half of its age has passed; else does nothing. Before each read with it. */
enum strait_status snapshot_keep(strait_snapshot *snapshot, uint64_t deadline_ns,
                                 struct strait_error *error);

enum strait_status snapshot_begin(strait *handle, uint64_t deadline_ns, strait_snapshot **snapshot,
                                  struct strait_error *error);

#endif
