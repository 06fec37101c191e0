/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { directories_max = 64, directory_size = 256 };

static char directories[directories_max][directory_size];
static unsigned directories_count;
static pid_t directories_owner;

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static void remove_directories(void)
{
    if (getpid() != directories_owner)
        return;
    for (unsigned i = 0; i < directories_count; i++)
        nftw(directories[i], remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *unit_directory(void)
{
    const char *parent = getenv("TMPDIR");
    char *path = directories[directories_count];
    ck_assert_uint_lt(directories_count, directories_max);
    snprintf(path, directory_size, "%s/strait-unit-XXXXXX", parent != NULL ? parent : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(path));
    if (directories_count++ == 0) {
        directories_owner = getpid();
        atexit(remove_directories);
    }
    return path;
}

void unit_assert_dies(void (*body)(void *), void *context)
{
    int wait_status = 0;
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        body(context);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &wait_status, 0), child);
    ck_assert_msg(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGABRT,
                  "the body did not die of SIGABRT (wait status %d)", wait_status);
}

int main(void)
{
    Suite *suite = suite_create("strait");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 0);
    unit_tests(tests);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int ran = srunner_ntests_run(runner);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    if (ran == 0)
        fprintf(stderr, "no test ran\n");
    return ran == 0 || failed != 0;
}
