/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/region/position.h"

#include "proto/message.h"

void region_position_to_message(const struct region_position *position,
                                uint8_t chain_space[region_chain_size],
                                Strait__RegionPosition *message)
{
    strait__region_position__init(message);
    message->epoch_number = position->epoch.number;
    message->epoch_region = position->epoch.region;
    message->version = position->version;
    message->log_time_ns = position->log_time_ns;
    if (!position->chain_known)
        return;
    store_u64(chain_space, position->chain.low);
    store_u64(chain_space + 8, position->chain.high);
    message->chain = field_of_bytes(bytes_of(chain_space, region_chain_size));
}

enum status region_position_of_message(const Strait__RegionPosition *message,
                                       struct region_position *position)
{
    *position = (struct region_position){0};
    if (message == NULL || (message->chain.len != 0 && message->chain.len != region_chain_size))
        return STATUS_MALFORMED;
    position->epoch =
        (struct epoch){.number = message->epoch_number, .region = message->epoch_region};
    position->version = message->version;
    position->log_time_ns = message->log_time_ns;
    if (message->chain.len == 0)
        return STATUS_OK;
    position->chain_known = true;
    position->chain.low = load_u64(message->chain.data);
    position->chain.high = load_u64(message->chain.data + 8);
    return STATUS_OK;
}
