/* SPDX-License-Identifier: Apache-2.0 */
/* Removals name the member by its id: what the server is sent, and what the caller learns. */
#include "client/member.h"

#include "tests/unit/client/fake_server.h"
#include "tests/unit/unit.h"

/* A region of two. n2 was given to another member after it had been listed `lists_before` times. */
struct members {
    pthread_mutex_t lock;
    unsigned lists_before;
    unsigned lists_count;
    unsigned changes_count;
    uint64_t removed_id; /* that the last change asked for */
    bool forced;
};

static void list(struct members *members, struct fake_connection *connection,
                 const struct fake_request *request)
{
    Strait__MemberListReply reply = STRAIT__MEMBER_LIST_REPLY__INIT;
    Strait__Member items[2] = {STRAIT__MEMBER__INIT, STRAIT__MEMBER__INIT};
    Strait__Member *pointers[2] = {&items[0], &items[1]};

    items[0].id = 11;
    items[0].name = (char *)(uintptr_t) "n1";
    items[1].id = members->lists_count < members->lists_before ? 22 : 33;
    items[1].name = (char *)(uintptr_t) "n2";
    members->lists_count++;
    reply.members = pointers;
    reply.n_members = 2;
    fake_reply(connection, request, STATUS_OK, &reply.base);
}

static void change(struct members *members, struct fake_connection *connection,
                   const struct fake_request *request)
{
    Strait__MemberChangeReply reply = STRAIT__MEMBER_CHANGE_REPLY__INIT;
    struct arena arena;
    ProtobufCMessage *message;

    message_arena_init(&arena, request->body.size);
    ck_assert_int_eq(
        message_decode(&strait__member_change__descriptor, request->body, true, &arena, &message),
        STATUS_OK);
    const Strait__MemberChange *wanted = (const Strait__MemberChange *)message;
    ck_assert_int_eq((int)wanted->action, (int)STRAIT__MEMBER_CHANGE__ACTION__REMOVE);
    ck_assert_str_eq(wanted->name, "n2");
    members->changes_count++;
    members->removed_id = wanted->id;
    members->forced = wanted->force != 0;
    arena_free(&arena);
    fake_reply(connection, request, STATUS_OK, &reply.base);
}

static void serve(struct fake_connection *connection, const struct fake_request *request,
                  void *context)
{
    struct members *members = context;
    pthread_mutex_lock(&members->lock);
    if (request->header.type == FRAME_MEMBER_LIST)
        list(members, connection, request);
    else
        change(members, connection, request);
    pthread_mutex_unlock(&members->lock);
}

START_TEST(test_a_removal_names_who_was_there_when_it_was_begun)
{
    struct members members = {.lock = PTHREAD_MUTEX_INITIALIZER, .lists_before = 1};
    struct strait_error error;
    struct fake_server *server = fake_start(serve, &members);
    strait *handle = fake_open(server, 20000);

    ck_assert_msg(strait_member_remove(handle, "n2", true, 0, NULL, &error) == STRAIT_OK, "%s",
                  error.text);
    ck_assert_uint_eq(members.removed_id, 22);
    ck_assert(members.forced);
    /* Another call is of who is there then. */
    ck_assert_int_eq(strait_member_remove(handle, "n2", false, 0, NULL, &error), STRAIT_OK);
    ck_assert_uint_eq(members.removed_id, 33);
    ck_assert(!members.forced);
    ck_assert_uint_eq(members.changes_count, 2);
    /* Who is not there is not asked to go. */
    ck_assert_int_eq(strait_member_remove(handle, "n9", false, 0, NULL, &error), STRAIT_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.text, "n9"));
    ck_assert_uint_eq(members.changes_count, 2);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

START_TEST(test_a_removal_by_id_asks_for_no_list)
{
    struct members members = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct strait_members *left;
    struct strait_error error;
    struct fake_server *server = fake_start(serve, &members);
    strait *handle = fake_open(server, 20000);

    ck_assert_int_eq(strait_member_remove_id(handle, "n2", 22, false, 0, &left, &error), STRAIT_OK);
    ck_assert_uint_eq(members.removed_id, 22);
    ck_assert_uint_eq(members.lists_count, 0);
    ck_assert_uint_eq(left->count, 0);
    strait_free(left);
    ck_assert_int_eq(strait_member_remove_id(handle, "n2", 0, false, 0, &left, &error),
                     STRAIT_INVALID_ARGUMENT);
    ck_assert_ptr_null(left);
    ck_assert_int_eq(strait_member_remove_id(handle, "", 22, false, 0, &left, &error),
                     STRAIT_INVALID_ARGUMENT);
    ck_assert_uint_eq(members.changes_count, 1);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, test_a_removal_names_who_was_there_when_it_was_begun);
    tcase_add_test(tests, test_a_removal_by_id_asks_for_no_list);
}
