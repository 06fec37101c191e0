/* SPDX-License-Identifier: Apache-2.0 */
/* Strict serializability of transactions that append numbers to lists and read lists.
 *
 * As Elle does it (Kingsbury and Alvaro, VLDB 2020): each number is appended to a key once, so that
 * a list that was read tells the order of all its versions, and each version's writer. From these
 * come the dependencies of transactions; a cycle among them and real time is an anomaly.
 *
 * Found besides: lists that do not continue each other ("incompatible-order"), numbers twice in a
 * list ("duplicate-elements"), a transaction that does not see itself ("internal"), reads of what
 * failed ("G1a") or of a transaction's middle ("G1b"). An acknowledged append that no read shows
 * stands after all those reads: where one began after the acknowledgement, that is a cycle; where
 * none did, the history is VACUOUS, as its loss would not have been seen. */
#ifndef JEPSEN_CHECK_LIST_APPEND_H
#define JEPSEN_CHECK_LIST_APPEND_H

#include "jepsen/check/history.h"
#include "jepsen/check/verdict.h"

/* Pairs the history, and looks at its entries of HISTORY_TXN. `verdict` is zeroed first. Time is
 * linear in the numbers read. */
void list_append_check(struct history *history, struct verdict *verdict);

#endif
