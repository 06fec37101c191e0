/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/reads.h"

#include <inttypes.h>
#include <string.h>

void cli_position_format(const struct strait_token *token, char text[cli_position_size])
{
    snprintf(text, cli_position_size, "%" PRIu64 "-%" PRIu32 "-%" PRIu64, token->epoch_number,
             token->epoch_region, token->version);
}

/* The part up to `end`, a whole number. */
static bool parse_part(const char *text, const char *end, uint64_t high, uint64_t *value)
{
    char part[24];
    size_t size = (size_t)(end - text);
    if (size >= sizeof part)
        return false;
    memcpy(part, text, size);
    part[size] = 0;
    return cli_parse_u64(part, 0, high, value);
}

bool cli_position_parse(const char *text, struct strait_token *token)
{
    uint64_t region;

    *token = (struct strait_token){0};
    const char *first = strchr(text, '-');
    const char *second = first != NULL ? strchr(first + 1, '-') : NULL;
    if (second == NULL || !parse_part(text, first, UINT64_MAX, &token->epoch_number) ||
        !parse_part(first + 1, second, UINT32_MAX, &region) ||
        !cli_parse_u64(second + 1, 0, UINT64_MAX, &token->version))
        return false;
    token->epoch_region = (uint32_t)region;
    return true;
}

bool cli_reads_parse(struct cli *cli, struct cli_reads *reads)
{
    uint64_t age_ms;

    reads->given = reads->at_least != NULL || reads->max_staleness != NULL;
    if (reads->at_least != NULL && reads->max_staleness != NULL) {
        cli_usage(cli, "--at-least and --max-staleness exclude each other: give one of them");
        return false;
    }
    if (reads->at_least != NULL) {
        reads->options.consistency = STRAIT_AT_LEAST;
        if (!cli_position_parse(reads->at_least, &reads->options.token)) {
            cli_usage(cli,
                      "--at-least %s: a position is needed, EPOCH-REGION-VERSION, as `put --json` "
                      "tells it",
                      reads->at_least);
            return false;
        }
    } else if (reads->max_staleness != NULL) {
        reads->options.consistency = STRAIT_BOUNDED_STALE;
        if (!cli_parse_duration(reads->max_staleness, &age_ms) || age_ms > UINT32_MAX) {
            cli_usage(cli, "--max-staleness %s: a time is needed, as 500ms or 10s",
                      reads->max_staleness);
            return false;
        }
        reads->options.max_staleness_ms = (uint32_t)age_ms;
    }
    return true;
}
