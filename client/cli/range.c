/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/range.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { limit_default = 100, page_records_max = 10000 };

/* The first bytes after all that begin with `prefix`: its last byte below 0xff, one higher. Empty
 * (without end) where there is none. */
static bool set_prefix(struct cli_range *range, const char *prefix)
{
    size_t size = strlen(prefix);
    range->range.start = strait_text(prefix);
    while (size > 0 && (unsigned char)prefix[size - 1] == 0xff)
        size--;
    if (size == 0)
        return true;
    range->end_memory = malloc(size);
    if (range->end_memory == NULL)
        return false;
    memcpy(range->end_memory, prefix, size);
    range->end_memory[size - 1]++;
    range->range.end = strait_bytes(range->end_memory, size);
    return true;
}

bool cli_range_set_key(struct cli_range *range, struct strait_bytes key)
{
    /* The next possible key is this one and a zero byte. */
    range->end_memory = calloc(1, key.size + 1);
    if (range->end_memory == NULL)
        return false;
    if (key.size != 0)
        memcpy(range->end_memory, key.data, key.size);
    range->range.start = key;
    range->range.end = strait_bytes(range->end_memory, key.size + 1);
    return true;
}

int cli_range_options(struct cli *cli, struct cli_range *range, int count, char **arguments)
{
    const char *from = NULL;
    const char *to = NULL;
    const char *prefix = NULL;
    const char *limit = NULL;
    const struct cli_option options[] = {{"from", &from, NULL},
                                         {"to", &to, NULL},
                                         {"prefix", &prefix, NULL},
                                         {"limit", &limit, NULL},
                                         {"reverse", NULL, &range->scan.reverse},
                                         {"keys", NULL, &range->scan.keys_only},
                                         {"at-least", &range->reads.at_least, NULL},
                                         {"max-staleness", &range->reads.max_staleness, NULL},
                                         {0}};

    range->scan.records_max = limit_default;
    count = cli_options(cli, options, count, arguments);
    if (count < 0)
        return -1;
    if (prefix != NULL && (from != NULL || to != NULL)) {
        cli_usage(cli, "--prefix stands for --from and --to: give one or the other");
        return -1;
    }
    if (limit != NULL && !cli_parse_u64(limit, 0, UINT64_MAX, &range->scan.records_max)) {
        cli_usage(cli, "--limit %s: a whole number is needed; 0 stands for all", limit);
        return -1;
    }
    if (!cli_reads_parse(cli, &range->reads))
        return -1;
    if (from != NULL)
        range->range.start = strait_text(from);
    if (to != NULL)
        range->range.end = strait_text(to);
    if (prefix != NULL && !set_prefix(range, prefix))
        return -1;
    return count;
}

/* With keys alone the value was not asked for, which is not an empty one; and an index knows no
 * versions. */
static json_t *json_record(const struct cli_range *range, const struct strait_record *record)
{
    json_t *item = cli_json_record(record);
    if (range->scan.keys_only)
        json_object_del(item, "value");
    if (record->version == 0)
        json_object_del(item, "version");
    return item;
}

static void print_record(const struct cli_range *range, const struct strait_record *record)
{
    if (range->range.index != NULL) {
        cli_print_bytes(stdout, record->index_key);
        putchar('\t');
    }
    cli_print_bytes(stdout, record->key);
    if (!range->scan.keys_only) {
        putchar('\t');
        cli_print_bytes(stdout, record->value);
    }
    putchar('\n');
}

/* ---- Where the records come from ---- */

/* A scan, all of one version; or pages of states that are new enough, each at least as new as the
 * one before, from whichever member answers. */
struct source {
    strait *handle;
    const struct cli_range *range;
    struct strait_scan_options options;
    uint32_t timeout_ms;
    strait_scan *scan;
    struct strait_read_options reads;
    struct strait_records *page;
    size_t page_at;
};

static enum strait_status source_begin(struct source *source, struct strait_error *error)
{
    const struct cli_range *range = source->range;
    if (!range->reads.given)
        return strait_scan_begin(source->handle, &range->range, &source->options,
                                 source->timeout_ms, &source->scan, error);
    source->reads = range->reads.options;
    source->options.page_records =
        source->options.records_max < page_records_max ? (uint32_t)source->options.records_max : 0;
    return STRAIT_OK;
}

static enum strait_status next_page(struct source *source, struct strait_error *error)
{
    struct strait_bytes resume = strait_bytes(NULL, 0);
    struct strait_records *page = NULL;

    if (source->page != NULL && !source->page->more)
        return STRAIT_END;
    if (source->page != NULL) {
        resume = source->page->resume;
        source->reads.consistency = STRAIT_AT_LEAST;
        source->reads.token = source->page->token;
    }
    enum strait_status status =
        strait_page_with(source->handle, &source->reads, &source->range->range, &source->options,
                         resume, source->timeout_ms, &page, error);
    if (status != STRAIT_OK)
        return status;
    strait_free(source->page);
    source->page = page;
    source->page_at = 0;
    return STRAIT_OK;
}

static enum strait_status source_next(struct source *source, const struct strait_record **record,
                                      struct strait_error *error)
{
    if (source->scan != NULL)
        return strait_scan_next(source->scan, record, error);
    while (source->page == NULL || source->page_at == source->page->count) {
        enum strait_status status = next_page(source, error);
        if (status != STRAIT_OK)
            return status;
    }
    *record = &source->page->items[source->page_at++];
    return STRAIT_OK;
}

static void source_end(struct source *source)
{
    if (source->scan != NULL)
        strait_scan_end(source->scan);
    strait_free(source->page);
}

enum cli_exit cli_range_scan(struct cli *cli, const struct cli_range *range)
{
    const struct strait_record *record;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;
    uint64_t count = 0;
    uint64_t limit = range->scan.records_max;
    struct source source = {.range = range, .options = range->scan, .timeout_ms = cli->timeout_ms};

    source.handle = cli_handle(cli, &exit);
    if (source.handle == NULL)
        return exit;
    if (limit != 0 && limit != UINT64_MAX)
        source.options.records_max = limit + 1; /* one more tells whether there are more */
    if (source_begin(&source, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    json_t *records = cli->json ? json_array() : NULL;
    enum strait_status status;
    while ((status = source_next(&source, &record, &error)) == STRAIT_OK) {
        if (limit != 0 && count == limit)
            break;
        count++;
        if (cli->json)
            json_array_append_new(records, json_record(range, record));
        else
            print_record(range, record);
    }
    bool more = status == STRAIT_OK;
    source_end(&source);
    if (status != STRAIT_OK && status != STRAIT_END) {
        json_decref(records);
        return cli_error(cli, &error);
    }
    if (cli->json) {
        json_t *document = json_object();
        json_object_set_new(document, "records", records);
        json_object_set_new(document, "more", json_boolean(more));
        return cli_print_json(document);
    }
    if (more && !cli->quiet)
        fprintf(stderr, "(the first %" PRIu64 "; --limit 0 prints all)\n", count);
    return CLI_DONE;
}

void cli_range_free(struct cli_range *range)
{
    free(range->end_memory);
}

static int digit_of(char letter)
{
    if (letter >= '0' && letter <= '9')
        return letter - '0';
    if (letter >= 'a' && letter <= 'f')
        return letter - 'a' + 10;
    if (letter >= 'A' && letter <= 'F')
        return letter - 'A' + 10;
    return -1;
}

bool cli_decode_hex(char *text, struct strait_bytes *bytes)
{
    size_t size = strlen(text);
    if (size == 0 || size % 2 != 0)
        return false;
    for (size_t i = 0; i < size / 2; i++) {
        int high = digit_of(text[2 * i]);
        int low = digit_of(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        text[i] = (char)(high * 16 + low);
    }
    *bytes = strait_bytes(text, size / 2);
    return true;
}
