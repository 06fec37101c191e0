/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL's source of random bytes, replaced by a seeded generator: what draws keys and ids is the
 * real code, and draws the same in each run. For programs that seal nothing of value. */
#ifndef TESTS_SIM_RANDOM_H
#define TESTS_SIM_RANDOM_H

#include <stdint.h>

/* From here on, for the whole process, which has one thread. */
void random_seed(uint64_t seed);

#endif
