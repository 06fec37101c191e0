/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/request.h"

#include <stdarg.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/message.h"
#include "server/net/mailbox.h"

/* A frame without a body: a Refusal that has only its status. */
static void request_encode_bare(struct request *request, enum status status)
{
    struct frame_header header = {.body_size = 0,
                                  .type = (enum frame_type)((int)request->type | frame_reply),
                                  .status = status,
                                  .request = request->number};
    frame_header_encode(&header, request->reply_space);
    request->status = status;
    request->reply = bytes_of(request->reply_space, sizeof request->reply_space);
}

static enum status request_encode(struct request *request, enum status status,
                                  const ProtobufCMessage *message)
{
    ASSERT(request->reply.size == 0);
    request->status = status;
    return message_encode_frame(message, (int)request->type | frame_reply, status, request->number,
                                &request->arena, &request->reply);
}

static void encode_refusal(struct request *request, enum status status,
                           const Strait__Refusal *refusal)
{
    ASSERT(status != STATUS_OK && status != STATUS_AGAIN && status != STATUS_END);
    if (request_encode(request, status, &refusal->base) != STATUS_OK)
        request_encode_bare(request, status);
}

void request_reply(struct request *request, const ProtobufCMessage *message)
{
    enum status status = request_encode(request, STATUS_OK, message);
    if (status != STATUS_OK) {
        Strait__Refusal refusal = STRAIT__REFUSAL__INIT;
        refusal.text = status == STATUS_TOO_LARGE
                           ? (char *)"The reply is larger than a frame may be; ask for less."
                           : (char *)"The reply found no memory; ask for less, or later.";
        request->reply = (struct bytes){0};
        encode_refusal(request, status, &refusal);
    }
    mailbox_post(request->replies, request);
}

void request_refuse_with(struct request *request, enum status status,
                         const Strait__Refusal *refusal)
{
    encode_refusal(request, status, refusal);
    mailbox_post(request->replies, request);
}

void request_refuse(struct request *request, enum status status, uint32_t retry_after_ms,
                    const char *format, ...)
{
    char text[error_text_size];
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    refusal.text = text;
    refusal.retry_after_ms = retry_after_ms;
    request_refuse_with(request, status, &refusal);
}

void request_encode_refusal(struct request *request, enum status status, uint32_t retry_after_ms,
                            const char *text)
{
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;
    refusal.text = (char *)(uintptr_t)text;
    refusal.retry_after_ms = retry_after_ms;
    encode_refusal(request, status, &refusal);
}
