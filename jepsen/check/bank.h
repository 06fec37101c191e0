/* SPDX-License-Identifier: Apache-2.0 */
/* Money that is moved is neither made nor lost: each read of all accounts has the same total. */
#ifndef JEPSEN_CHECK_BANK_H
#define JEPSEN_CHECK_BANK_H

#include "jepsen/check/history.h"
#include "jepsen/check/verdict.h"

struct bank_options {
    int64_t total;
    bool may_be_negative;
};

/* Pairs the history, and looks at its entries of HISTORY_READ and HISTORY_TRANSFER. Each read that
 * succeeded has the accounts of the first one. VACUOUS without reads or without transfers. */
void bank_check(struct history *history, const struct bank_options *options,
                struct verdict *verdict);

#endif
