/* SPDX-License-Identifier: Apache-2.0 */
/* The check of a log that may be in use. Its writer goes on meanwhile: a segment may be recycled
 * while it is read, and batches may come. So a finding counts only if the segment is still in the
 * same life afterwards, and what follows the durable end is not judged. */
#include "storage/seal/twin.h"
#include "storage/wal/reader.h"

struct check {
    struct io *io;
    struct keyring *keyring;
    const char *directory;
    uint64_t durable_index;
    uint64_t index_max; /* largest index met */
    uint64_t checked_size;
    void (*bad)(void *context, const char *path, uint64_t offset, const char *text);
    void *context;
};

/* Whether segment `id` is gone, or in another life than the one that was read. */
static enum status life_is_over(struct check *check, uint64_t id, const uint8_t *life, bool *over)
{
    struct wal_reader reader;
    enum status status =
        wal_reader_open(check->io, check->keyring, check->directory, id, &reader, NULL);
    *over = status == STATUS_NOT_FOUND;
    if (status == STATUS_CORRUPT || status == STATUS_NOT_FOUND)
        return STATUS_OK;
    if (status != STATUS_OK)
        return status;
    *over = memcmp(reader.header.life, life, wal_life_size) != 0;
    return wal_reader_close(&reader);
}

static enum status check_report(struct check *check, const struct wal_reader *reader,
                                uint64_t offset, const char *text)
{
    bool over = false;
    enum status status = life_is_over(check, reader->header.id, reader->header.life, &over);
    if (status == STATUS_OK && !over)
        check->bad(check->context, reader->path.text, offset, text);
    return status;
}

static enum status check_records(struct check *check, const struct wal_reader *reader,
                                 uint64_t offset, struct wal_records *records)
{
    for (;;) {
        struct wal_record record;
        enum status status = wal_record_next(records, &record);
        if (status == STATUS_END)
            return STATUS_OK;
        if (status != STATUS_OK)
            return check_report(check, reader, offset, "a record does not follow the grammar");
        if (wal_record_has_entry(record.kind) && record.entry.index > check->index_max)
            check->index_max = record.entry.index;
    }
}

/* The first place without a valid batch, at or before `limit`. Goes on after a bad batch where its
 * successor says how, with that one's number: one finding does not hide the next. */
static enum status check_bad_batch(struct check *check, struct wal_reader *reader, bool is_newest,
                                   uint64_t offset, uint64_t limit, uint64_t *sequence,
                                   uint64_t *next)
{
    bool found = false;
    uint64_t wanted = *sequence;
    struct wal_batch_header header;
    enum status status = wal_reader_find_successor(
        reader, offset + wal_block_size, reader->header.size, wanted, &found, next, &header, NULL);
    if (status != STATUS_OK)
        return status;
    *sequence = header.id.sequence;
    if (!found || *next >= limit)
        *next = limit;
    bool judged = !is_newest || found || check->index_max < check->durable_index;
    if (!judged)
        return STATUS_OK;
    /* The writer may have come past here since: look again, at the disk. */
    enum wal_batch_state state;
    struct wal_records records;
    wal_reader_forget(reader);
    status = wal_reader_batch(reader, offset, limit, wanted, NULL, &state, &header, &records, NULL);
    if (status != STATUS_OK)
        return status;
    if (state == WAL_BATCH_VALID) {
        *next = offset;
        *sequence = wanted;
        return STATUS_OK;
    }
    return check_report(check, reader, offset,
                        "the batch that stood here does not hold: it was durable, and is damaged");
}

static enum status check_batches(struct check *check, struct wal_reader *reader, bool is_newest,
                                 uint64_t limit, struct wal_batch_id *last)
{
    uint64_t offset = wal_block_size;
    uint64_t sequence = 1;
    const struct wal_batch_id *previous = last;
    *last = reader->header.previous;
    while (offset + wal_block_size <= limit) {
        enum wal_batch_state state;
        struct wal_batch_header header;
        struct wal_records records;
        enum status status = wal_reader_batch(reader, offset, limit, sequence, previous, &state,
                                              &header, &records, NULL);
        if (status != STATUS_OK)
            return status;
        if (state == WAL_BATCH_VALID) {
            status = check_records(check, reader, offset, &records);
            check->checked_size += header.id.size;
            offset += header.id.size;
            *last = header.id;
            sequence = header.id.sequence + 1;
            previous = last;
        } else {
            uint64_t next = 0;
            status = check_bad_batch(check, reader, is_newest, offset, limit, &sequence, &next);
            previous = next == offset ? previous : NULL;
            offset = next;
        }
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status check_segment(struct check *check, uint64_t id, const struct wal_reader *after)
{
    struct wal_reader reader;
    struct error error = {0};
    struct wal_batch_id last;
    enum status status =
        wal_reader_open(check->io, check->keyring, check->directory, id, &reader, &error);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK; /* recycled since it was listed */
    if (status == STATUS_CORRUPT) {
        /* Being recycled, its header may change under the reader, but never under this name. */
        struct wal_path path = wal_path(check->directory, WAL_FILE_SEGMENT, id);
        struct wal_reader again;
        status = wal_reader_open(check->io, check->keyring, check->directory, id, &again, &error);
        if (status == STATUS_OK)
            return wal_reader_close(&again);
        if (status == STATUS_CORRUPT)
            check->bad(check->context, path.text, 0, error.text);
        return status == STATUS_CORRUPT || status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    if (status != STATUS_OK)
        return status;
    uint64_t limit = after == NULL ? reader.header.size : after->header.previous_end;
    check->checked_size += wal_block_size;
    if (after != NULL && (after->header.previous_id != id || limit > reader.header.size)) {
        status = check_report(check, after, 0, "it does not follow the segment before it");
    } else {
        status = check_batches(check, &reader, after == NULL, limit, &last);
        if (status == STATUS_OK && after != NULL &&
            !wal_batch_id_equal(&last, &after->header.previous))
            status = check_report(check, &reader, limit,
                                  "its last batch is not the one that the next segment names");
    }
    enum status closed = wal_reader_close(&reader);
    return status != STATUS_OK ? status : closed;
}

static void hard_state_bad(void *context, const char *path, const char *text)
{
    struct check *check = context;
    check->bad(check->context, path, 0, text);
}

enum status
wal_check(struct io *io, struct keyring *keyring, const char *directory, uint64_t durable_index,
          void (*bad)(void *context, const char *path, uint64_t offset, const char *text),
          uint64_t *checked_size, void *context)
{
    struct check check = {
        .io = io,
        .keyring = keyring,
        .directory = directory,
        .durable_index = durable_index,
        .bad = bad,
        .context = context,
    };
    struct wal_listing listing;
    *checked_size = 0;
    if (!wal_path_fits(directory))
        return STATUS_INVALID_ARGUMENT;
    enum status status = wal_listing_read(io, directory, &listing);
    if (status != STATUS_OK)
        return status;
    const struct wal_numbers *ids = &listing.of[WAL_FILE_SEGMENT];
    for (size_t i = 0; i < ids->count && status == STATUS_OK; i++) {
        struct wal_reader after;
        bool has_after = false;
        if (i + 1 < ids->count) {
            status = wal_reader_open(io, keyring, directory, ids->numbers[i + 1], &after, NULL);
            has_after = status == STATUS_OK;
            if (status == STATUS_NOT_FOUND || status == STATUS_CORRUPT)
                status = STATUS_OK; /* said when its turn comes */
        }
        if (status == STATUS_OK)
            status = check_segment(&check, ids->numbers[i], has_after ? &after : NULL);
        if (has_after) {
            enum status closed = wal_reader_close(&after);
            if (status == STATUS_OK)
                status = closed;
        }
    }
    wal_listing_free(&listing);
    if (status == STATUS_OK)
        status = twin_check(io, keyring, directory, "hard-state", SEAL_FORMAT_HARD_STATE,
                            hard_state_bad, &check);
    *checked_size = check.checked_size;
    return status;
}
