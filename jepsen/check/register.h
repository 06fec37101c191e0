/* SPDX-License-Identifier: Apache-2.0 */
/* Linearizability of registers with reads, writes and compare-and-set, each key for itself
 * (Herlihy and Wing, TOPLAS 1990: what holds of each object holds of all).
 *
 * The search is Lowe's just-in-time linearization ("Testing for linearizability", 2017): entry by
 * entry it keeps all states that the register may be in, each with the set of operations under way
 * that have had their effect in it. Operations whose end is not known stay under way for ever;
 * those of them that do the same are interchangeable, and are taken in their order. */
#ifndef JEPSEN_CHECK_REGISTER_H
#define JEPSEN_CHECK_REGISTER_H

#include "jepsen/check/history.h"
#include "jepsen/check/verdict.h"

enum {
    register_under_way_max = 512,     /* operations under way at once, of one key */
    register_states_max = 1024 * 1024 /* states kept at once; past it the verdict is UNKNOWN */
};

/* Pairs the history, and looks at its entries of HISTORY_READ, HISTORY_WRITE and HISTORY_CAS, which
 * are of one register, and at HISTORY_TXN of one step each, which are of the register that the step
 * names. A register begins as nil; a failed compare-and-set has had no effect. */
void register_check(struct history *history, struct verdict *verdict);

#endif
