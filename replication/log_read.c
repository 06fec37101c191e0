/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of the committed log other than apply: those that ship it, archive it, list it. */
#include <stdlib.h>

#include "replication/replicated_log_internal.h"

struct replicated_log_reader {
    struct replicated_log *log;
    struct list_link link; /* of the log's readers */
    struct wal_read read;
    bool reading;        /* `read` belongs to the write-ahead log */
    bool ready;          /* its results can be looked at */
    bool ended;          /* by its owner: freed once nothing is being read */
    uint64_t lost_index; /* of an entry that cannot be read; 0: none */
    enum status lost_status;
    void (*done)(void *context);
    void *context;
};

enum status replicated_log_reader_open(struct replicated_log *log, void (*done)(void *context),
                                       void *context, struct replicated_log_reader **reader_out)
{
    struct replicated_log_reader *reader = calloc(1, sizeof *reader);

    *reader_out = NULL;
    if (reader == NULL)
        return STATUS_NO_MEMORY;
    reader->log = log;
    reader->done = done;
    reader->context = context;
    list_push_last(&log->readers, &reader->link);
    *reader_out = reader;
    return STATUS_OK;
}

static void reader_free(struct replicated_log_reader *reader)
{
    list_remove(&reader->link);
    free(reader);
}

void replicated_log_reader_drop(struct replicated_log_reader *reader)
{
    if (!reader->ready)
        return;
    reader->ready = false;
    wal_read_end(&reader->read);
}

void replicated_log_reader_close(struct replicated_log_reader *reader)
{
    if (reader == NULL)
        return;
    replicated_log_reader_drop(reader);
    reader->ended = true;
    if (!reader->reading)
        reader_free(reader);
}

/* What lies above Raft's base is this member's to have, and a start mends it from others; what lies
 * below is kept for readers alone, who are told. */
static void read_failed(struct replicated_log_reader *reader, enum status status)
{
    struct replicated_log *log = reader->log;
    uint64_t index = reader->read.first;

    if (status == STATUS_NOT_FOUND || status == STATUS_NO_MEMORY || log->closing)
        return; /* released or superseded meanwhile: whoever needs it looks again */
    if (log->raft != NULL && index > raft_base(log->raft).index)
        log_fail(log, status, "an entry of the write-ahead log cannot be read");
    reader->lost_index = index;
    reader->lost_status = status;
}

static void read_done(struct wal_read *read)
{
    struct replicated_log_reader *reader = read->context;

    reader->reading = false;
    reader->ready = read->status == STATUS_OK;
    if (!reader->ready || reader->ended) {
        enum status status = read->status;
        wal_read_end(read);
        reader->ready = false;
        if (reader->ended) {
            reader_free(reader);
            return;
        }
        read_failed(reader, status);
    }
    if (!reader->log->closing)
        reader->done(reader->context);
}

static const struct wal_entry *reader_entry(const struct replicated_log_reader *reader,
                                            uint64_t index)
{
    const struct wal_read *read = &reader->read;
    if (!reader->ready || index < read->first || index - read->first >= read->entries_count)
        return NULL;
    return &read->entries[index - read->first];
}

enum status replicated_log_reader_find(struct replicated_log_reader *reader, uint64_t index,
                                       size_t ahead_size, struct bytes *bytes)
{
    struct replicated_log *log = reader->log;

    *bytes = (struct bytes){0};
    if (index == 0 || index > log->applied_index)
        return STATUS_END;
    const struct cached_entry *cached = entry_cache_find(&log->cache, index);
    if (cached != NULL) {
        *bytes = cached_entry_bytes(cached);
        return STATUS_OK;
    }
    const struct wal_entry *entry = reader_entry(reader, index);
    if (entry != NULL) {
        *bytes = entry->bytes;
        return STATUS_OK;
    }
    if (reader->reading || log->failed)
        return STATUS_AGAIN;
    if (index < wal_first_index(log->wal))
        return STATUS_NOT_FOUND;
    if (index == reader->lost_index)
        return reader->lost_status;
    replicated_log_reader_drop(reader);
    reader->reading = true;
    reader->read = (struct wal_read){
        .first = index,
        .last = log->applied_index,
        .size_max = ahead_size < log_read_size ? ahead_size : log_read_size,
        .done = read_done,
        .context = reader,
    };
    wal_read_start(log->wal, &reader->read);
    return STATUS_AGAIN;
}

uint64_t replicated_log_first_index(const struct replicated_log *log)
{
    return wal_first_index(log->wal);
}

bool log_readers_are_reading(const struct replicated_log *log)
{
    LIST_EACH(link, &log->readers)
    {
        if (LIST_ENTRY(link, struct replicated_log_reader, link)->reading)
            return true;
    }
    return false;
}
