/* SPDX-License-Identifier: Apache-2.0 */
/* Order, bounds, and that no wake-up is lost between two threads. */
#include "server/net/mailbox.h"

#include <pthread.h>
#include <stdlib.h>

#include "storage/io/uring.h"
#include "tests/unit/unit.h"

START_TEST(test_one_thread)
{
    struct mailbox mailbox;
    struct request requests[3] = {0};
    ck_assert_int_eq(mailbox_open(&mailbox, false, 3), STATUS_OK);
    ck_assert_int_eq(mailbox_attach(&mailbox, NULL), STATUS_OK);
    ck_assert(mailbox_may_wait(&mailbox));
    for (int i = 0; i < 3; i++) {
        list_init(&requests[i].link);
        mailbox_post(&mailbox, &requests[i]);
    }
    mailbox_flush(&mailbox);
    ck_assert(!mailbox_may_wait(&mailbox));
    for (int i = 0; i < 3; i++)
        ck_assert_ptr_eq(mailbox_take(&mailbox), &requests[i]);
    ck_assert_ptr_null(mailbox_take(&mailbox));
    ck_assert(mailbox_may_wait(&mailbox));
    mailbox_detach(&mailbox);
    mailbox_close(&mailbox);
}
END_TEST

enum { rounds = 20000, batch_max = 4 };

struct pair {
    struct mailbox there;
    struct mailbox back;
    pthread_barrier_t ready;
};

static struct io *loop_open(void)
{
    struct io *io = NULL;
    struct error error = {0};
    const struct io_uring_options options = {.entries = 64};
    ck_assert_msg(io_uring_open(&options, &io, &error) == STATUS_OK, "%s", error.text);
    return io;
}

/* Sends back what comes, until a request of number `rounds`. */
static void *echo(void *context)
{
    struct pair *pair = context;
    struct io *io = loop_open();
    bool done = false;
    ck_assert_int_eq(mailbox_attach(&pair->there, io), STATUS_OK);
    pthread_barrier_wait(&pair->ready);
    while (!done) {
        struct request *request;
        while ((request = mailbox_take(&pair->there)) != NULL) {
            done = request->number == rounds;
            mailbox_post(&pair->back, request);
        }
        mailbox_flush(&pair->back);
        if (!done)
            io_turn(io, mailbox_may_wait(&pair->there));
    }
    /* The other side posts nothing more, and rings no more. */
    pthread_barrier_wait(&pair->ready);
    mailbox_detach(&pair->there);
    io_uring_close(io);
    return NULL;
}

/* Each round waits for all of its batch: one lost wake-up, and this never ends. */
START_TEST(test_no_wake_up_is_lost)
{
    struct pair pair;
    struct request requests[batch_max] = {0};
    pthread_t thread;
    struct io *io = loop_open();
    ck_assert_int_eq(mailbox_open(&pair.there, true, batch_max), STATUS_OK);
    ck_assert_int_eq(mailbox_open(&pair.back, true, batch_max), STATUS_OK);
    ck_assert_int_eq(mailbox_attach(&pair.back, io), STATUS_OK);
    pthread_barrier_init(&pair.ready, NULL, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, echo, &pair), 0);
    pthread_barrier_wait(&pair.ready);
    for (uint64_t round = 1; round <= rounds; round++) {
        uint64_t batch = round == rounds ? 1 : 1 + round % batch_max;
        uint64_t taken = 0;
        for (uint64_t i = 0; i < batch; i++) {
            requests[i].number = round;
            mailbox_post(&pair.there, &requests[i]);
        }
        mailbox_flush(&pair.there);
        while (taken < batch) {
            struct request *request = mailbox_take(&pair.back);
            if (request == NULL) {
                io_turn(io, mailbox_may_wait(&pair.back));
                continue;
            }
            ck_assert_ptr_eq(request, &requests[taken]);
            taken++;
        }
    }
    pthread_barrier_wait(&pair.ready);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    pthread_barrier_destroy(&pair.ready);
    mailbox_detach(&pair.back);
    mailbox_close(&pair.there);
    mailbox_close(&pair.back);
    io_uring_close(io);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_one_thread);
    tcase_add_test(tests, test_no_wake_up_is_lost);
}
