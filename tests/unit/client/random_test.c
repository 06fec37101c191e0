/* SPDX-License-Identifier: Apache-2.0 */
#include "client/random.h"

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/fork.h"
#include "tests/unit/unit.h"

enum { ids_count = 100 }; /* several draws */

struct ids {
    uint8_t ids[ids_count][txn_id_size];
};

static void *draw(void *context)
{
    struct ids *ids = context;
    for (unsigned i = 0; i < ids_count; i++)
        ck_assert_int_eq(random_txn_id(ids->ids[i]), STATUS_OK);
    return NULL;
}

static void differ(const struct ids *a, const struct ids *b)
{
    for (unsigned i = 0; i < ids_count; i++)
        for (unsigned k = 0; k < ids_count; k++)
            ck_assert((a == b && i == k) || memcmp(a->ids[i], b->ids[k], txn_id_size) != 0);
}

START_TEST(test_ids_differ_between_threads)
{
    struct ids mine;
    struct ids other;
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, draw, &other), 0);
    draw(&mine);
    pthread_join(thread, NULL);
    differ(&mine, &mine);
    differ(&other, &other);
    differ(&mine, &other);
}
END_TEST

/* Both have a part of one draw before them when they part. */
START_TEST(test_ids_differ_between_parent_and_child)
{
    struct ids mine;
    struct ids childs;
    uint8_t first[txn_id_size];
    int ends[2];
    ck_assert_int_eq(random_txn_id(first), STATUS_OK);
    unsigned generation = fork_generation();
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        draw(&childs);
        bool told = fork_generation() != generation;
        _exit(told && write(ends[1], &childs, sizeof childs) == sizeof childs ? 0 : 1);
    }
    draw(&mine);
    ck_assert_uint_eq(fork_generation(), generation);
    ck_assert_int_eq(read(ends[0], &childs, sizeof childs), sizeof childs);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    differ(&childs, &childs);
    differ(&mine, &childs);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_ids_differ_between_threads);
    tcase_add_test(tests, test_ids_differ_between_parent_and_child);
}
