/* SPDX-License-Identifier: Apache-2.0 */
#include "client/result.h"

#include <stdlib.h>

#include "client/error.h"
#include "proto/base/assert.h"
#include "proto/message.h"

struct result *result_new(size_t public_size, size_t body_size)
{
    struct result *result = calloc(1, sizeof *result + public_size);
    if (result != NULL) {
        message_arena_init(&result->arena, body_size);
        /* The translation comes on top of the decoded form, and is about as large. */
        result->arena.budget_size *= 2;
        result->arena.allocations_max *= 2;
    }
    return result;
}

void result_free(struct result *result)
{
    if (result == NULL)
        return;
    arena_free(&result->arena);
    free(result);
}

void strait_free(void *public_part)
{
    if (public_part != NULL)
        result_free((struct result *)(void *)((uint8_t *)public_part -
                                              offsetof(struct result, public_part)));
}

const ProtobufCMessageDescriptor *result_descriptor(enum frame_type type)
{
    switch (type) {
#define DESCRIPTOR(name, number, request, reply, request_lower, reply_lower)                       \
    case FRAME_##name:                                                                             \
        return &strait__##reply_lower##__descriptor;
        FRAME_LIST(DESCRIPTOR)
#undef DESCRIPTOR
    default:
        UNREACHABLE();
    }
}

enum strait_status result_of_call(const struct call *call,
                                  const ProtobufCMessageDescriptor *descriptor, size_t public_size,
                                  struct result **result, const ProtobufCMessage **reply,
                                  struct strait_error *error)
{
    ProtobufCMessage *message = NULL;

    *result = NULL;
    *reply = NULL;
    if (call->status != STATUS_OK)
        return call_error(call, error);
    struct result *made = result_new(public_size, call->body_size);
    if (made == NULL)
        return client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
    enum status status = message_decode(descriptor, bytes_of(call->body, call->body_size), false,
                                        &made->arena, &message);
    if (status != STATUS_OK) {
        result_free(made);
        return client_error_set(error, status,
                                "The server's answer cannot be read: it is no %s of this protocol.",
                                descriptor->short_name);
    }
    *result = made;
    *reply = message;
    return STRAIT_OK;
}

enum strait_status result_of_request(strait *handle, enum frame_type type,
                                     const ProtobufCMessage *request, uint64_t deadline_ns,
                                     const ProtobufCMessageDescriptor *descriptor,
                                     size_t public_size, struct result **result,
                                     const ProtobufCMessage **reply, struct strait_error *error)
{
    struct call call;

    *result = NULL;
    *reply = NULL;
    enum status status = call_init(&call, type, request, deadline_ns, error);
    if (status == STATUS_OK) {
        handle_run(handle, &call);
        status = (enum status)result_of_call(&call, descriptor, public_size, result, reply, error);
    }
    call_free(&call);
    return status_public(status);
}

static bool translate_indexes(struct arena *arena, const Strait__Record *from,
                              struct strait_record *to)
{
    if (from->n_indexes == 0)
        return true;
    struct strait_index_entry *indexes =
        arena_alloc_zeroed(arena, from->n_indexes, sizeof *indexes);
    if (indexes == NULL)
        return false;
    for (size_t i = 0; i < from->n_indexes; i++) {
        indexes[i].index = from->indexes[i]->index;
        indexes[i].key = bytes_public(from->indexes[i]->key);
    }
    to->indexes = indexes;
    to->indexes_count = from->n_indexes;
    return true;
}

bool result_records(struct result *result, Strait__Record *const *records, size_t count,
                    struct strait_records *to)
{
    struct strait_record *items = arena_alloc_zeroed(&result->arena, count, sizeof *items);
    if (items == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        const Strait__Record *from = records[i];
        items[i] = (struct strait_record){.found = from->found != 0,
                                          .key = bytes_public(from->key),
                                          .value = bytes_public(from->value),
                                          .version = from->version,
                                          .expires_at_ms = from->expires_at_ms,
                                          .index_key = bytes_public(from->index_key)};
        if (!translate_indexes(&result->arena, from, &items[i]))
            return false;
    }
    to->count = count;
    to->items = items;
    return true;
}
