/* SPDX-License-Identifier: Apache-2.0 */
#include "client/fork.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

static atomic_uint generation;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void count_fork(void)
{
    atomic_fetch_add(&generation, 1);
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, count_fork);
}

unsigned fork_generation(void)
{
    pthread_once(&once, watch_forks);
    return atomic_load(&generation);
}
