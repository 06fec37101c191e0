/* SPDX-License-Identifier: Apache-2.0 */
/* Items by number, modulo a bound: the newest stay. It takes no more memory than the numbers that
 * came ask for, as most runs end long before the bound, and clearing all of it for each would cost
 * more than what is noted there. */
#ifndef TESTS_SIM_NUMBERED_H
#define TESTS_SIM_NUMBERED_H

#include <stddef.h>
#include <stdint.h>

/* Both counts are powers of two. */
struct numbered {
    size_t item_size;
    uint64_t count_max;
    uint64_t count; /* that there is memory for */
    void *items;
};

void numbered_init(struct numbered *numbered, size_t item_size, uint64_t count_max);
void numbered_free(struct numbered *numbered);

/* The item's place, zeros where there was none: valid until the next call. Whose number it is is
 * the owner's to look at. */
void *numbered_at(struct numbered *numbered, uint64_t number);

#endif
