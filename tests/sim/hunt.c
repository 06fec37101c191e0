/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/hunt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/base/assert.h"
#include "tests/sim/pair.h"

/* In a process of its own: writes what the run failed with, and nothing where all held. What an
 * assertion says is of no use here. */
_Noreturn static void run_one(const struct world_options *options, int to)
{
    static struct pair_result pair;
    struct world_result result;
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    ASSERT(nowhere >= 0 && dup2(nowhere, STDERR_FILENO) == STDERR_FILENO);
    if (options->regions)
        pair_run(options, &pair);
    else
        world_run(options, &result);
    const char *failure = options->regions ? pair.failure : result.failure;
    size_t size = strlen(failure); /* 0: it has not failed */
    if (size > sizeof((struct hunt *)NULL)->failure - 1)
        size = sizeof((struct hunt *)NULL)->failure - 1;
    ssize_t written = write(to, failure, size); /* a pipe's buffer holds it */
    _exit(written == (ssize_t)size ? 0 : 1);
}

static size_t read_all(int from, char *text, size_t size)
{
    size_t done = 0;
    for (;;) {
        ssize_t count = read(from, text + done, size - done);
        if (count < 0 && errno == EINTR)
            continue;
        ASSERT(count >= 0);
        if (count == 0)
            return done;
        done += (size_t)count;
    }
}

/* False: an assertion failed, or worse. */
static bool run_apart(const struct world_options *options, char *failure, size_t failure_size)
{
    int ends[2];
    int ended;
    int made = pipe2(ends, O_CLOEXEC);
    ASSERT(made == 0);
    pid_t child = fork();
    ASSERT(child >= 0);
    if (child == 0)
        run_one(options, ends[1]);
    close(ends[1]);
    failure[read_all(ends[0], failure, failure_size - 1)] = 0;
    close(ends[0]);
    while (waitpid(child, &ended, 0) < 0)
        ASSERT(errno == EINTR);
    return WIFEXITED(ended) && WEXITSTATUS(ended) == 0;
}

void hunt_run(const struct world_options *options, uint64_t from, uint64_t to, struct hunt *hunt)
{
    struct world_options tried = *options;
    *hunt = (struct hunt){0};
    for (tried.seed = from; tried.seed <= to && !hunt->found; tried.seed++) {
        if (!run_apart(&tried, hunt->failure, sizeof hunt->failure)) {
            if (hunt->assertions_count++ == 0)
                hunt->asserted_seed = tried.seed;
        } else if (hunt->failure[0] != 0) {
            hunt->found = true;
            hunt->seed = tried.seed;
        }
    }
}
