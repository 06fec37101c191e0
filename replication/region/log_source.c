/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/region/log_source.h"

#include <stdlib.h>

#include "proto/base/assert.h"

struct log_source {
    struct replicated_log *log;
    struct source *source;
    struct replicated_log_reader *readers[source_cursors_max];
};

static void on_read(void *context)
{
    struct log_source *log_source = context;
    if (log_source->source != NULL)
        source_log_ready(log_source->source);
}

enum status log_source_open(struct replicated_log *log, struct log_source **log_source_out)
{
    struct log_source *log_source = calloc(1, sizeof *log_source);

    *log_source_out = NULL;
    if (log_source == NULL)
        return STATUS_NO_MEMORY;
    log_source->log = log;
    for (unsigned i = 0; i < source_cursors_max; i++) {
        enum status status =
            replicated_log_reader_open(log, on_read, log_source, &log_source->readers[i]);
        if (status != STATUS_OK) {
            log_source_close(log_source);
            return status;
        }
    }
    *log_source_out = log_source;
    return STATUS_OK;
}

void log_source_close(struct log_source *log_source)
{
    if (log_source == NULL)
        return;
    for (unsigned i = 0; i < source_cursors_max; i++)
        replicated_log_reader_close(log_source->readers[i]);
    free(log_source);
}

static enum status entry_at(void *context, unsigned reader, uint64_t index, size_t ahead_size,
                            struct bytes *bytes)
{
    struct log_source *log_source = context;
    ASSERT(reader < source_cursors_max);
    enum status status =
        replicated_log_reader_find(log_source->readers[reader], index, ahead_size, bytes);
    /* The source was told that it is applied before the log was: with the next turn it is. */
    return status == STATUS_END ? STATUS_AGAIN : status;
}

static uint64_t first_index(void *context)
{
    const struct log_source *log_source = context;
    return replicated_log_first_index(log_source->log);
}

static void reader_end(void *context, unsigned reader)
{
    struct log_source *log_source = context;
    ASSERT(reader < source_cursors_max);
    replicated_log_reader_drop(log_source->readers[reader]);
}

struct source_log log_source_log(struct log_source *log_source)
{
    return (struct source_log){.entry_at = entry_at,
                               .first_index = first_index,
                               .reader_end = reader_end,
                               .context = log_source};
}

void log_source_attach(struct log_source *log_source, struct source *source)
{
    log_source->source = source;
}
