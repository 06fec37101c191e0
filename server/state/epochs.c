/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/epochs.h"

#include "proto/base/assert.h"

enum { epochs_format = 1 };

const struct epoch_end *epochs_find(const struct epochs *epochs, struct epoch epoch)
{
    size_t low = 0;
    size_t high = epochs->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (epoch_compare(epochs->ends[middle].epoch, epoch) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? NULL : &epochs->ends[low - 1];
}

const struct epoch_end *epochs_oldest_of_full(const struct epochs *epochs)
{
    return epochs->count == epochs_ends_max ? &epochs->ends[0] : NULL;
}

static void change_set(struct epochs *epochs, const struct epoch_change *change)
{
    ASSERT(change->record.size <= sizeof epochs->record);
    bytes_copy(epochs->record, change->record);
    epochs->change = *change;
    epochs->change.record = bytes_of(epochs->record, change->record.size);
}

static void end_push(struct epochs *epochs, const struct epoch_end *end)
{
    if (epochs->count == epochs_ends_max) {
        epochs->count--;
        memmove(&epochs->ends[0], &epochs->ends[1], epochs->count * sizeof epochs->ends[0]);
    }
    epochs->ends[epochs->count++] = *end;
}

void epochs_add(struct epochs *epochs, const struct epoch_end *end,
                const struct epoch_change *change)
{
    ASSERT(epoch_equal(end->epoch, change->from) && epoch_equal(end->next, change->to));
    ASSERT(epochs->count == 0 || epoch_equal(epochs->ends[epochs->count - 1].next, end->epoch));
    end_push(epochs, end);
    change_set(epochs, change);
}

/* ---- In the tree ---- */

void epochs_end_key(struct epoch epoch, uint8_t to[epochs_end_key_size])
{
    to[0] = 'E';
    store_u64_be(to + 1, epoch.number);
    store_u32_be(to + 9, epoch.region);
}

void epochs_end_encode(const struct epoch_end *end, uint8_t to[epochs_end_value_size])
{
    memset(to, 0, epochs_end_value_size);
    to[0] = epochs_format;
    to[1] = (uint8_t)end->kind;
    store_u32(to + 4, end->next.region);
    store_u64(to + 8, end->next.number);
    store_u64(to + 16, end->version);
    store_u64(to + 24, end->chain.low);
    store_u64(to + 32, end->chain.high);
    store_u64(to + 40, end->log_time_ns);
}

static enum status load_end(struct epochs *epochs, struct bytes key, struct bytes value)
{
    if (value.size > 0 && value.data[0] > epochs_format)
        return STATUS_NEWER_FORMAT;
    if (value.size != epochs_end_value_size || value.data[0] != epochs_format ||
        (value.data[1] != EPOCH_GRANT && value.data[1] != EPOCH_PROMOTE) ||
        load_u16(value.data + 2) != 0 || epochs->count == epochs_ends_max)
        return STATUS_CORRUPT;
    const uint8_t *from = value.data;
    const struct epoch_end end = {
        .epoch = {.number = load_u64_be(key.data + 1), .region = load_u32_be(key.data + 9)},
        .kind = (enum epoch_change_kind)from[1],
        .next = {.number = load_u64(from + 8), .region = load_u32(from + 4)},
        .version = load_u64(from + 16),
        .chain = {.low = load_u64(from + 24), .high = load_u64(from + 32)},
        .log_time_ns = load_u64(from + 40)};
    const struct epoch_end *before = epochs->count == 0 ? NULL : &epochs->ends[epochs->count - 1];
    if (epoch_compare(end.epoch, end.next) >= 0 ||
        (before != NULL &&
         (!epoch_equal(before->next, end.epoch) || before->version >= end.version)))
        return STATUS_CORRUPT;
    end_push(epochs, &end);
    return STATUS_OK;
}

enum status epochs_load(struct epochs *epochs, struct bytes key, struct bytes value)
{
    struct epoch_change change;

    if (key.size == epochs_end_key_size && key.data[0] == 'E')
        return load_end(epochs, key, value);
    if (key.size != 1 || key.data[0] != 'P')
        return STATUS_CORRUPT;
    enum status status = epoch_change_decode(value, &change);
    if (status != STATUS_OK)
        return status == STATUS_UNSUPPORTED ? STATUS_NEWER_FORMAT : STATUS_CORRUPT;
    change_set(epochs, &change);
    return STATUS_OK;
}

enum status epochs_loaded(const struct epochs *epochs, struct epoch present)
{
    const struct epoch_change *change = &epochs->change;

    if (epochs->count == 0)
        return change->to.number == 0 ? STATUS_OK : STATUS_CORRUPT;
    const struct epoch_end *last = &epochs->ends[epochs->count - 1];
    return epoch_equal(last->next, present) && epoch_equal(change->to, present) &&
                   epoch_equal(change->from, last->epoch) && change->version == last->version
               ? STATUS_OK
               : STATUS_CORRUPT;
}
