/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges: the options that `scan` and `index scan` share, and the printing of what lies in them. */
#ifndef CLIENT_CLI_RANGE_H
#define CLIENT_CLI_RANGE_H

#include "client/cli/cli.h"
#include "client/cli/reads.h"

struct cli_range {
    struct strait_range range;
    struct strait_scan_options scan;
    struct cli_reads reads;
    char *end_memory; /* of a prefix's end */
};

/* Reads --from, --to, --prefix, --limit, --reverse, --keys, --at-least, --max-staleness; the result
 * is cli_options()'s. */
int cli_range_options(struct cli *cli, struct cli_range *range, int count, char **arguments);

/* Exactly one key. */
bool cli_range_set_key(struct cli_range *range, struct strait_bytes key);

/* Prints the records: a line each, or one JSON document. */
enum cli_exit cli_range_scan(struct cli *cli, const struct cli_range *range);
void cli_range_free(struct cli_range *range);

/* In place; false where the text is no hexadecimal. */
bool cli_decode_hex(char *text, struct strait_bytes *bytes);

#endif
