/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/random.h"

#include <openssl/rand.h>

#include "proto/base/assert.h"
#include "proto/base/generator.h"

/* The one way to replace the source for all callers at once, deprecated or not. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static struct generator source;

static int fill(unsigned char *to, int size)
{
    generator_fill(&source, to, (size_t)size);
    return 1;
}

static int is_ready(void)
{
    return 1;
}

void random_seed(uint64_t seed)
{
    static const RAND_METHOD method = {.bytes = fill, .pseudorand = fill, .status = is_ready};
    generator_init(&source, seed);
    int replaced = RAND_set_rand_method(&method);
    ASSERT(replaced == 1);
}
