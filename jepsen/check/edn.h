/* SPDX-License-Identifier: Apache-2.0 */
/* Histories as text: the part of EDN that Jepsen's, Elle's and Knossos's histories use.
 *
 *     file    = entry* | "[" entry* "]" | "(" entry* ")"
 *     entry   = "{" (keyword value)* "}"
 *     value   = nil | true | false | integer | keyword | string | word | vector | list | map
 *
 * Commas are spaces, ";" begins a comment. Tagged values and sets are refused. A bare nil or false
 * between entries ends the reading. An entry has :type (:invoke, :ok, :fail, :info), :process, :f
 * and :value; others are read over. Entries whose :process is no integer (a nemesis) are left out.
 * Where the first entry has an :index, all have, and it grows.
 *
 * Values by :f:  :txn [[:append key n] [:r key nil|n|[n …]] [:w key n] …]
 *                :read nil | n | [n …] | {account n …}     :write n    :cas [n n]
 *                :add n     :transfer and others: not looked at */
#ifndef JEPSEN_CHECK_EDN_H
#define JEPSEN_CHECK_EDN_H

#include <stdio.h>

#include "jepsen/check/history.h"
#include "jepsen/check/verdict.h"

enum { edn_depth_max = 16 };

/* Appends to `history`. MALFORMED, with the line and what is wrong there in `verdict`. */
MUST_CHECK enum status edn_read(struct history *history, struct bytes text,
                                struct verdict *verdict);

/* One entry a line, as Elle reads it. An invocation that never ended is closed by an :info at the
 * end. IO_ERROR where the file cannot be written. */
MUST_CHECK enum status edn_write(const struct history *history, FILE *file);

#endif
