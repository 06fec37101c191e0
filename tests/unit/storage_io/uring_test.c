/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/uring.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/io/blocking.h"
#include "tests/unit/unit.h"

static struct io *open_io(unsigned entries)
{
    struct io *io;
    struct error error = {0};
    const struct io_uring_options options = {.entries = entries};
    enum status status = io_uring_open(&options, &io, &error);
    ck_assert_msg(status == STATUS_OK, "%s", error.text);
    return io;
}

static const char *path_of(const char *directory, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

#define OK(call) ck_assert_int_eq(call, STATUS_OK)

struct many {
    struct io_op op;
    struct many *all;
    unsigned *left;
    uint64_t value;
};

static void many_done(struct io_op *op)
{
    struct many *one = op->context;
    ck_assert_int_eq(op->status, STATUS_OK);
    ck_assert_uint_eq(op->size, sizeof one->value);
    (*one->left)--;
}

START_TEST(test_more_operations_than_the_queue_holds)
{
    enum { count = 500 };
    struct io *io = open_io(4);
    struct io_file *file;
    struct many *all = calloc(count, sizeof *all);
    unsigned left = count;
    OK(io_open_wait(io, path_of(unit_directory(), "f"), IO_READ | IO_WRITE | IO_CREATE, &file));
    for (unsigned i = 0; i < count; i++) {
        all[i].op.done = many_done;
        all[i].op.context = &all[i];
        all[i].left = &left;
        all[i].value = i * UINT64_C(0x9e3779b97f4a7c15);
        if (i % 3 == 0)
            io_write_flush(io, &all[i].op, file, &all[i].value, 8, i * 8);
        else
            io_write(io, &all[i].op, file, &all[i].value, 8, i * 8);
    }
    while (left > 0)
        io_turn(io, true);
    left = count;
    for (unsigned i = 0; i < count; i++) {
        all[i].value = 0;
        io_read(io, &all[i].op, file, &all[i].value, 8, i * 8);
    }
    while (left > 0)
        io_turn(io, true);
    for (unsigned i = 0; i < count; i++)
        ck_assert_uint_eq(all[i].value, i * UINT64_C(0x9e3779b97f4a7c15));
    OK(io_close_wait(io, file));
    free(all);
    io_uring_close(io);
}
END_TEST

static void count_fired(struct io_timer *timer)
{
    (*(unsigned *)timer->context)++;
}

START_TEST(test_a_turn_sleeps_to_the_next_timer)
{
    struct io *io = open_io(0);
    unsigned fired = 0;
    struct io_timer soon = {.fired = count_fired, .context = &fired};
    struct io_timer never = {.fired = count_fired, .context = &fired};
    uint64_t begin_ns = io_boot_ns(io);
    io_timer_start(io, &soon, begin_ns + 20000000);
    io_timer_start(io, &never, begin_ns + 10000000);
    io_timer_stop(io, &never);
    while (fired == 0)
        io_turn(io, true);
    ck_assert_uint_eq(fired, 1);
    ck_assert_uint_ge(io_boot_ns(io), begin_ns + 20000000);
    ck_assert_uint_gt(io_wall_ns(io), UINT64_C(1700000000) * 1000000000);
    io_uring_close(io);
}
END_TEST

struct ringer {
    struct io *io;
    struct io_bell bell;
    unsigned rung;
    _Atomic unsigned sent;
    unsigned seen;
};

enum { rings_count = 20000 };

static void rung(struct io_bell *bell)
{
    struct ringer *ringer = bell->context;
    ringer->rung++;
    ringer->seen = ringer->sent;
}

static void *ring_often(void *context)
{
    struct ringer *ringer = context;
    for (unsigned i = 0; i < rings_count; i++) {
        ringer->sent++;
        io_bell_ring(ringer->io, &ringer->bell);
    }
    return NULL;
}

START_TEST(test_no_ring_is_lost)
{
    struct ringer ringer = {.io = open_io(0), .bell = {.rung = rung}};
    pthread_t thread;
    ringer.bell.context = &ringer;
    OK(io_bell_open(ringer.io, &ringer.bell));
    ck_assert_int_eq(pthread_create(&thread, NULL, ring_often, &ringer), 0);
    /* Hangs where the last ring was swallowed. */
    while (ringer.seen < rings_count)
        io_turn(ringer.io, true);
    pthread_join(thread, NULL);
    ck_assert_uint_ge(ringer.rung, 1);
    io_bell_close(ringer.io, &ringer.bell);
    io_uring_close(ringer.io);
}
END_TEST

/* Makes io_uring_setup answer `error_number`, as a container's profile does, in this process. */
static void forbid_rings(int error_number)
{
    const struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error_number),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof code / sizeof code[0],
                                       .filter = (struct sock_filter *)(uintptr_t)code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(2);
}

static void expect_advice(int error_number, enum status expected, const char *advice)
{
    int wait_status = 0;
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        const struct io_uring_options options = {0};
        struct error error = {0};
        struct io *io;
        forbid_rings(error_number);
        enum status status = io_uring_open(&options, &io, &error);
        _exit(status == expected && io == NULL && strstr(error.text, advice) != NULL ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &wait_status, 0), child);
    ck_assert_int_eq(wait_status, 0);
}

START_TEST(test_a_refusal_says_what_to_change)
{
    expect_advice(EPERM, STATUS_FORBIDDEN, "kernel.io_uring_disabled");
    expect_advice(ENOSYS, STATUS_FORBIDDEN, "seccomp");
    expect_advice(EINVAL, STATUS_UNSUPPORTED, "Linux 6.1");
    expect_advice(ENOMEM, STATUS_NO_MEMORY, "LimitMEMLOCK");
    expect_advice(EMFILE, STATUS_IO_ERROR, "LimitNOFILE");
}
END_TEST

static void nothing(int number)
{
    (void)number;
}

/* So that a main loop sees its flag though nothing else happens. */
START_TEST(test_a_signal_ends_the_wait)
{
    struct io *io = open_io(0);
    const struct sigaction action = {.sa_handler = nothing};
    const struct itimerval soon = {.it_value.tv_usec = 5000};
    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
    io_turn(io, true);
    signal(SIGALRM, SIG_DFL);
    io_uring_close(io);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_a_refusal_says_what_to_change);
    tcase_add_test(tests, test_a_signal_ends_the_wait);
    tcase_add_test(tests, test_more_operations_than_the_queue_holds);
    tcase_add_test(tests, test_a_turn_sleeps_to_the_next_timer);
    tcase_add_test(tests, test_no_ring_is_lost);
}
