/* SPDX-License-Identifier: Apache-2.0 */
#include "client/call.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/error.h"
#include "proto/base/assert.h"
#include "proto/limits.h"
#include "proto/message.h"
#include "proto/strait.pb-c.h"

enum {
    /* In a commit's body: field 1 with its tag and size, then the tag of field 2, a fixed64. */
    commit_issued_tag_offset = 2 + 16,
    commit_issued_tag = 2 << 3 | 1,
    retry_min_ms = 5,
    retry_max_ms = 1000,
    resend_least_ms = 50 /* a round trip, and a commit: what a repeated send is left at least */
};

/* With room for a body of `body_size`. */
static enum status call_create(struct call *call, enum frame_type type, size_t body_size,
                               uint64_t deadline_ns, struct strait_error *error)
{
    *call = (struct call){.type = type, .deadline_ns = deadline_ns};
    list_init(&call->link);
    list_init(&call->waiting);
    list_init(&call->listed);
    if (body_size > frame_body_size_max(type)) {
        client_error_set(error, STATUS_TOO_LARGE,
                         "The request has %zu bytes; at most %u are taken.", body_size,
                         frame_body_size_max(type));
        return STATUS_TOO_LARGE;
    }
    call->frame_size = frame_header_size + body_size;
    call->frame = malloc(call->frame_size);
    if (call->frame == NULL) {
        client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
        return STATUS_NO_MEMORY;
    }
    return STATUS_OK;
}

enum status call_init(struct call *call, enum frame_type type, const ProtobufCMessage *message,
                      uint64_t deadline_ns, struct strait_error *error)
{
    size_t body_size = protobuf_c_message_get_packed_size(message);
    enum status status = call_create(call, type, body_size, deadline_ns, error);
    if (status != STATUS_OK)
        return status;
    size_t packed_size = protobuf_c_message_pack(message, call->frame + frame_header_size);
    ASSERT(packed_size == body_size);
    return STATUS_OK;
}

enum status call_init_encoded(struct call *call, enum frame_type type, struct bytes body,
                              uint64_t deadline_ns, struct strait_error *error)
{
    enum status status = call_create(call, type, body.size, deadline_ns, error);
    if (status == STATUS_OK)
        bytes_copy(call->frame + frame_header_size, body);
    return status;
}

void call_free(struct call *call)
{
    free(call->frame);
    free(call->body);
    call->frame = NULL;
    call->body = NULL;
}

struct call *call_new_ping(void)
{
    Strait__Ping ping = STRAIT__PING__INIT;
    struct call *call = malloc(sizeof *call);
    if (call != NULL && call_init(call, FRAME_PING, &ping.base, UINT64_MAX, NULL) != STATUS_OK) {
        free(call);
        call = NULL;
    }
    return call;
}

void call_stamp(struct call *call, uint64_t issued_ns)
{
    uint8_t *field = call->frame + frame_header_size + commit_issued_tag_offset;
    ASSERT(call_is_commit(call) &&
           call->frame_size >= frame_header_size + commit_issued_tag_offset + 9);
    ASSERT(field[0] == commit_issued_tag);
    store_u64(field + 1, issued_ns);
    call->issued_ns = issued_ns;
}

/* Whether an answer of this status tells what became of all sends under one id. Those that the
 * server gives before it looks at the id do not; nor do those that say that it has lost its way. An
 * argument may be invalid for the primary that there is now (the standby that is to confirm is the
 * primary itself), and have been none for the one before. */
static bool settles_all_sends(enum status status)
{
    switch (status) {
    case STATUS_TXN_EXPIRED:
    case STATUS_NOT_PRIMARY:
    case STATUS_NOT_LEADER:
    case STATUS_CANCELLED:
    case STATUS_INVALID_ARGUMENT:
    case STATUS_UNAUTHENTICATED:
    case STATUS_PERMISSION_DENIED:
    case STATUS_BUSY:
    case STATUS_DISK_FULL:
    case STATUS_NO_MEMORY:
    case STATUS_SHUTTING_DOWN:
    case STATUS_DEADLINE_EXCEEDED:
    case STATUS_UNREACHABLE:
    case STATUS_DISCONNECTED:
        return false;
    default:
        return true;
    }
}

enum status call_outcome(const struct call *call, enum status status)
{
    if (!call_is_commit(call) || status == STATUS_OK)
        return status;
    if (status >= STATUS_IO_ERROR || status == STATUS_OUTCOME_UNKNOWN)
        return STATUS_OUTCOME_UNKNOWN;
    return call->unanswered_count != 0 && !settles_all_sends(status) ? STATUS_OUTCOME_UNKNOWN
                                                                     : status;
}

bool call_is_late(const struct call *call, uint64_t now_ns)
{
    bool is_certain = call_is_commit(call) && call->was_refused && call->unanswered_count == 0;
    uint64_t least_ns = is_certain ? (uint64_t)resend_least_ms * 1000000 : 0;
    return now_ns >= call->deadline_ns || call->deadline_ns - now_ns <= least_ns;
}

static const Strait__Refusal *decode_refusal(struct bytes body, struct arena *arena)
{
    ProtobufCMessage *message;
    message_arena_init(arena, body.size);
    if (message_decode(&strait__refusal__descriptor, body, false, arena, &message) != STATUS_OK)
        return NULL;
    return (const Strait__Refusal *)message;
}

uint32_t call_retry_after_ms(const struct call *call, struct bytes body)
{
    struct arena arena;
    const Strait__Refusal *refusal = decode_refusal(body, &arena);
    uint32_t asked_ms = refusal != NULL ? refusal->retry_after_ms : 0;
    arena_free(&arena);
    if (asked_ms != 0)
        return asked_ms;
    uint32_t doublings = call->tries_count < 8 ? call->tries_count : 8;
    uint32_t pause_ms = (uint32_t)retry_min_ms << doublings;
    return pause_ms < retry_max_ms ? pause_ms : retry_max_ms;
}

uint64_t call_log_time_ns(struct bytes body)
{
    struct arena arena;
    const Strait__Refusal *refusal = decode_refusal(body, &arena);
    uint64_t log_time_ns =
        refusal != NULL && refusal->position != NULL ? refusal->position->log_time_ns : 0;
    arena_free(&arena);
    return log_time_ns;
}

_Static_assert((int)call_leader_size >
                   (int)limit_region_endpoints_count * ((int)limit_member_address_size + 1),
               "all endpoints of a region fit");

void call_leader(struct bytes body, char leader[call_leader_size], struct epoch *epoch)
{
    struct arena arena;
    const Strait__Refusal *refusal = decode_refusal(body, &arena);
    size_t size = refusal != NULL ? strlen(refusal->leader) : 0;
    if (size >= call_leader_size)
        size = 0;
    if (size != 0)
        memcpy(leader, refusal->leader, size);
    leader[size] = 0;
    if (epoch != NULL)
        *epoch = (struct epoch){0};
    if (epoch != NULL && refusal != NULL && refusal->position != NULL)
        *epoch = (struct epoch){.number = refusal->position->epoch_number,
                                .region = refusal->position->epoch_region};
    arena_free(&arena);
}

void call_note_promotion(struct bytes body, struct promotion_known *known)
{
    struct arena arena;
    const Strait__Refusal *refusal = decode_refusal(body, &arena);
    if (refusal != NULL && refusal->position != NULL) {
        const struct epoch epoch = {.number = refusal->position->epoch_number,
                                    .region = refusal->position->epoch_region};
        promotion_note(known, epoch, bytes_of(refusal->promotion.data, refusal->promotion.len));
    }
    arena_free(&arena);
}

enum strait_status call_error(const struct call *call, struct strait_error *error)
{
    struct arena arena;

    ASSERT(call->state == CALL_DONE && call->status != STATUS_OK);
    if (call->text[0] != 0 || call->body_size == 0)
        return client_error_set(error, call->status, "%s",
                                call->text[0] != 0 ? call->text : status_text(call->status));
    const Strait__Refusal *refusal = decode_refusal(bytes_of(call->body, call->body_size), &arena);
    if (refusal == NULL) {
        client_error_set(error, call->status, "%s", status_text(call->status));
    } else {
        client_error_set(error, call->status, "%s",
                         refusal->text[0] != 0 ? refusal->text : status_text(call->status));
        if (error != NULL) {
            error->retry_after_ms = refusal->retry_after_ms;
            error->item = refusal->item;
            error->item_is_condition = refusal->item_is_condition;
            error->version = refusal->position != NULL ? refusal->position->version : 0;
        }
    }
    arena_free(&arena);
    return status_public(call->status);
}
