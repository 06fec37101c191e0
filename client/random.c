/* SPDX-License-Identifier: Apache-2.0 */
#include "client/random.h"

#include <openssl/rand.h>
#include <string.h>

#include "client/fork.h"

enum { ids_drawn = 32 };

static _Thread_local struct {
    unsigned generation; /* of the process that drew */
    unsigned left_count;
    uint8_t ids[ids_drawn][txn_id_size];
} drawn;

enum status random_txn_id(uint8_t bytes[txn_id_size])
{
    unsigned generation = fork_generation();

    if (drawn.left_count == 0 || drawn.generation != generation) {
        drawn.left_count = 0;
        if (RAND_bytes(drawn.ids[0], sizeof drawn.ids) != 1)
            return STATUS_INTERNAL;
        drawn.generation = generation;
        drawn.left_count = ids_drawn;
    }
    memcpy(bytes, drawn.ids[--drawn.left_count], txn_id_size);
    return STATUS_OK;
}
