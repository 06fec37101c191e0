/* SPDX-License-Identifier: Apache-2.0 */
/* A progress bar on standard error, where that is a terminal and nobody asked for quiet. */
#ifndef CLIENT_CLI_PROGRESS_H
#define CLIENT_CLI_PROGRESS_H

#include "client/cli/cli.h"

struct progress {
    bool shown;
    const char *what; /* "loading" */
    const char *unit; /* "invoices"; NULL: a share alone */
    uint64_t begun_ms;
    uint64_t drawn_ms;
};

void progress_begin(struct progress *progress, const struct cli *cli, const char *what,
                    const char *unit);
/* Draws at most ten times a second. */
void progress_show(struct progress *progress, uint64_t done, uint64_t all);
void progress_end(struct progress *progress); /* clears the line */

/* Milliseconds of a clock that never goes back. */
uint64_t progress_now_ms(void);

#endif
