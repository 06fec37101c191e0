/* SPDX-License-Identifier: Apache-2.0 */
/* How new what is read has to be: the options that `get`, `scan` and `index scan` share, and
 * positions as text.
 *
 * A position is EPOCH-REGION-VERSION, three whole numbers: what `put --json` and the like tell of a
 * commit. */
#ifndef CLIENT_CLI_READS_H
#define CLIENT_CLI_READS_H

#include "client/cli/cli.h"

enum { cli_position_size = 64 };

struct cli_reads {
    const char *at_least;      /* --at-least POSITION */
    const char *max_staleness; /* --max-staleness TIME */
    bool given;                /* either was: `options` says what */
    struct strait_read_options options;
};

/* After cli_options(). False: it was said what is wrong. */
bool cli_reads_parse(struct cli *cli, struct cli_reads *reads);

void cli_position_format(const struct strait_token *token, char text[cli_position_size]);
bool cli_position_parse(const char *text, struct strait_token *token);

#endif
