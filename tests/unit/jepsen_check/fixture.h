/* SPDX-License-Identifier: Apache-2.0 */
/* Histories as text, judged. */
#ifndef TESTS_UNIT_JEPSEN_CHECK_FIXTURE_H
#define TESTS_UNIT_JEPSEN_CHECK_FIXTURE_H

#include "jepsen/check/bank.h"
#include "jepsen/check/edn.h"
#include "jepsen/check/list_append.h"
#include "jepsen/check/register.h"
#include "jepsen/check/set_full.h"

/* `model` as chk names it; of a bank the total is 100 and nothing may be negative. */
struct verdict fixture_judge(const char *model, struct bytes text);

/* Fails the test unless the text is judged like this; `class` NULL: any. */
void fixture_expect(const char *model, const char *text, enum verdict_kind kind, const char *class);

#endif
