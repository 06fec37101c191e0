/* SPDX-License-Identifier: Apache-2.0 */
/* What a checker says of a history. Only VALID is good: a history that shows nothing is not. */
#ifndef JEPSEN_CHECK_VERDICT_H
#define JEPSEN_CHECK_VERDICT_H

#include <stdint.h>

enum verdict_kind {
    VERDICT_VALID,
    VERDICT_INVALID,   /* it breaks what was promised */
    VERDICT_MALFORMED, /* it is not a history */
    VERDICT_VACUOUS, /* it looked at too little: no operation, no read, a write never read after */
    VERDICT_UNKNOWN, /* the search took too much */
};

enum { verdict_class_size = 48, verdict_text_size = 1024 };

struct verdict {
    enum verdict_kind kind;
    char class[verdict_class_size]; /* the anomaly's name where INVALID: "G1a"; else empty */
    char text[verdict_text_size];   /* sentences, with the lines of the entries at fault */
    uint64_t operations_count;      /* that happened for sure */
    uint64_t reads_count;           /* of those, the ones that read */
};

/* Sets kind, class and text, unless a kind other than VALID was set before: the first finding
 * counts. `class` may be NULL. */
void verdict_set(struct verdict *verdict, enum verdict_kind kind, const char *class,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* "valid", "invalid", … Static. */
const char *verdict_name(enum verdict_kind kind);

#endif
