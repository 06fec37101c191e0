/* SPDX-License-Identifier: Apache-2.0 */
/* A set to which unique numbers are added, and which is read whole, linearizably.
 *
 * A number whose addition was acknowledged, or that a read has shown, is in each read that begins
 * after that. One that was never tried, whose addition failed, or that is there twice, is an error.
 * An acknowledged addition after which nobody read makes the history VACUOUS. */
#ifndef JEPSEN_CHECK_SET_FULL_H
#define JEPSEN_CHECK_SET_FULL_H

#include "jepsen/check/history.h"
#include "jepsen/check/verdict.h"

/* Pairs the history, and looks at its entries of HISTORY_ADD and HISTORY_READ. Time is the number
 * of reads times that of additions. */
void set_full_check(struct history *history, struct verdict *verdict);

#endif
