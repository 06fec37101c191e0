/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to the line between two regions: drawn, within the atlas. */
#ifndef TESTS_SIM_LINE_FAULTS_H
#define TESTS_SIM_LINE_FAULTS_H

#include "proto/base/generator.h"

struct pair;

/* X(NAME, name) */
#define LINE_FAULTS(X)                                                                             \
    X(CUT, "line-cut")                                                                             \
    X(DEAF, "line-one-way")                                                                        \
    X(SLOW, "line-slow")                                                                           \
    X(STALLS, "line-stalls")                                                                       \
    X(BREAK, "line-break")

enum line_fault {
#define LINE_FAULT_ENUM(name, text) LINE_##name,
    LINE_FAULTS(LINE_FAULT_ENUM)
#undef LINE_FAULT_ENUM
        LINE_FAULTS_END,
};

struct line_faults {
    struct generator generator;
    bool is_active;
    bool is_gentle; /* in this run they are few */
    bool has_cut;   /* one at a time */
    bool has_slowness;
    uint64_t cuts_count; /* ever: which one is healed */
    uint64_t counts[LINE_FAULTS_END];
};

void line_faults_begin(struct pair *pair);
void line_faults_end(struct pair *pair);

/* The line is cut both ways, for so long; what was cut before is cut until then. */
void line_faults_cut(struct pair *pair, uint64_t span_ns);

/* `act` after a while, at a time of the first region. Also for others. */
void line_faults_later(struct pair *pair, uint64_t delay_ns, uint64_t number,
                       void (*act)(struct pair *pair, uint64_t number));

const char *line_fault_name(enum line_fault fault);

#endif
