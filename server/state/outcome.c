/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/outcome.h"

#include "proto/base/assert.h"

enum { outcome_flag_condition = 1 };

void outcome_key_encode(uint64_t issued_ns, const uint8_t id[outcome_id_size],
                        uint8_t to[outcome_key_size])
{
    store_u64_be(to, issued_ns);
    memcpy(to + 8, id, outcome_id_size);
}

void outcome_encode(const struct outcome *outcome, uint8_t to[outcome_value_size])
{
    ASSERT(outcome->status != STATUS_AGAIN && status_is_known((int)outcome->status));
    store_u64(to, outcome->content.low);
    store_u64(to + 8, outcome->content.high);
    store_u64(to + 16, outcome->version);
    store_u64(to + 24, outcome->log_time_ns);
    store_u32(to + 32, outcome->item);
    store_u16(to + 36, (uint16_t)outcome->status);
    to[38] = outcome->item_is_condition ? outcome_flag_condition : 0;
    to[39] = 0;
}

enum status outcome_decode(struct bytes from, struct outcome *outcome)
{
    *outcome = (struct outcome){0};
    if (from.size != outcome_value_size || (from.data[38] & ~outcome_flag_condition) != 0 ||
        from.data[39] != 0)
        return STATUS_CORRUPT;
    outcome->content.low = load_u64(from.data);
    outcome->content.high = load_u64(from.data + 8);
    outcome->version = load_u64(from.data + 16);
    outcome->log_time_ns = load_u64(from.data + 24);
    outcome->item = load_u32(from.data + 32);
    int status = load_u16(from.data + 36);
    outcome->status = status_is_known(status) ? (enum status)status : STATUS_INTERNAL;
    outcome->item_is_condition = from.data[38] != 0;
    return STATUS_OK;
}
