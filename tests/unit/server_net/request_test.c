/* SPDX-License-Identifier: Apache-2.0 */
/* Replies and refusals, and that each request gets exactly one whatever its arena holds. */
#include "server/net/request.h"

#include <stdlib.h>

#include "proto/message.h"
#include "server/net/mailbox.h"
#include "tests/unit/unit.h"

static struct mailbox replies;
static struct request request;

static void setup(void)
{
    ck_assert_int_eq(mailbox_open(&replies, false, 1), STATUS_OK);
    request = (struct request){.type = FRAME_GET, .number = 77, .replies = &replies};
    list_init(&request.link);
    arena_init(&request.arena, 1024, 1 << 20);
}

static void teardown(void)
{
    arena_free(&request.arena);
    mailbox_close(&replies);
}

/* The one reply that was posted. */
static struct bytes take(enum status status)
{
    struct frame_header header;
    ck_assert_ptr_eq(mailbox_take(&replies), &request);
    ck_assert_ptr_null(mailbox_take(&replies));
    ck_assert_uint_ge(request.reply.size, frame_header_size);
    ck_assert_int_eq(frame_reply_decode(request.reply.data, &header), STATUS_OK);
    ck_assert_int_eq(header.type, FRAME_GET_REPLY);
    ck_assert_int_eq(header.status, status);
    ck_assert_int_eq(request.status, status);
    ck_assert_uint_eq(header.request, 77);
    ck_assert_uint_eq(header.body_size, request.reply.size - frame_header_size);
    return bytes_of(request.reply.data + frame_header_size, header.body_size);
}

static Strait__Refusal *take_refusal(enum status status)
{
    struct bytes body = take(status);
    Strait__Refusal *refusal = strait__refusal__unpack(NULL, body.size, body.data);
    ck_assert_ptr_nonnull(refusal);
    return refusal;
}

START_TEST(test_reply)
{
    Strait__GetReply reply = STRAIT__GET_REPLY__INIT;
    request_reply(&request, &reply.base);
    take(STATUS_OK);
}
END_TEST

START_TEST(test_refusal)
{
    request_refuse(&request, STATUS_BUSY, 25, "No more than %d.", 5);
    Strait__Refusal *refusal = take_refusal(STATUS_BUSY);
    ck_assert_str_eq(refusal->text, "No more than 5.");
    ck_assert_uint_eq(refusal->retry_after_ms, 25);
    strait__refusal__free_unpacked(refusal, NULL);
}
END_TEST

START_TEST(test_reply_past_a_frame)
{
    Strait__Record record = STRAIT__RECORD__INIT;
    Strait__Record *records[] = {&record};
    Strait__GetReply reply = STRAIT__GET_REPLY__INIT;
    record.value.len = limit_frame_size + 1;
    record.value.data = calloc(1, record.value.len);
    reply.records = records;
    reply.n_records = 1;
    request_reply(&request, &reply.base);
    Strait__Refusal *refusal = take_refusal(STATUS_TOO_LARGE);
    ck_assert_uint_gt(strlen(refusal->text), 10);
    strait__refusal__free_unpacked(refusal, NULL);
    free(record.value.data);
}
END_TEST

START_TEST(test_no_memory_for_a_reply)
{
    Strait__GetReply reply = STRAIT__GET_REPLY__INIT;
    ck_assert_ptr_nonnull(arena_alloc(&request.arena, request.arena.budget_size));
    request_reply(&request, &reply.base);
    struct bytes body = take(STATUS_NO_MEMORY);
    ck_assert_uint_eq(body.size, 0);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_reply);
    tcase_add_test(tests, test_refusal);
    tcase_add_test(tests, test_reply_past_a_frame);
    tcase_add_test(tests, test_no_memory_for_a_reply);
}
