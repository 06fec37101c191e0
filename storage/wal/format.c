/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/format.h"

#include "proto/base/assert.h"
#include "proto/base/hash.h"

enum {
    checksum_size = 8,
    id_size = 184,
    run_size = 24,
    segment_id_offset = 120,
    segment_unknown_offset = 400,
    segment_suspect_offset = segment_unknown_offset + 8,
    segment_used_size = segment_suspect_offset + id_size,
    segment_flag_anew = 1,
    batch_id_offset = 64,
    batch_previous_offset = batch_id_offset + id_size,
    batch_used_size = batch_previous_offset + id_size,
};

static const uint8_t segment_magic[8] = {'S', 'T', 'R', 'A', 'I', 'T', 'W', 'L'};
static const uint8_t batch_magic[4] = {'S', 'W', 'B', '1'};

_Static_assert(40 + (int)wal_batch_runs_max * run_size == id_size, "runs fill the identifier");
_Static_assert(segment_id_offset + id_size + (int)seal_envelope_size == segment_unknown_offset,
               "layout");
_Static_assert(batch_used_size <= (int)wal_batch_header_size, "the batch's header is one sector");
_Static_assert((int)wal_bound_offset == (int)checksum_size + (int)seal_tag_size,
               "the tag binds what follows it");

static bool is_zero(const uint8_t *from, size_t size)
{
    /* Equal to itself one byte on, it is the same byte all along. */
    return size == 0 || (from[0] == 0 && memcmp(from, from + 1, size - 1) == 0);
}

static void checksum_store(uint8_t *to, size_t size)
{
    store_u64(to, hash64(bytes_of(to + checksum_size, size - checksum_size)));
}

static bool checksum_holds(const uint8_t *from, size_t size)
{
    return load_u64(from) == hash64(bytes_of(from + checksum_size, size - checksum_size));
}

/* ---- Identifiers ---- */

bool wal_batch_id_equal(const struct wal_batch_id *a, const struct wal_batch_id *b)
{
    return a->segment == b->segment && a->sequence == b->sequence && a->size == b->size &&
           memcmp(a->tag, b->tag, seal_tag_size) == 0;
}

static void id_encode(const struct wal_batch_id *id, uint8_t *to)
{
    ASSERT(id->runs_count <= wal_batch_runs_max);
    store_u64(to, id->segment);
    store_u64(to + 8, id->sequence);
    memcpy(to + 16, id->tag, seal_tag_size);
    store_u32(to + 32, id->size);
    store_u32(to + 36, id->runs_count);
    for (uint32_t i = 0; i < id->runs_count; i++) {
        uint8_t *run = to + 40 + i * run_size;
        store_u64(run, id->runs[i].index);
        store_u64(run + 8, id->runs[i].term);
        store_u32(run + 16, id->runs[i].count);
        store_u32(run + 20, (uint32_t)id->runs[i].kind);
    }
}

static enum status id_decode(const uint8_t *from, struct wal_batch_id *id)
{
    *id = (struct wal_batch_id){0};
    id->segment = load_u64(from);
    id->sequence = load_u64(from + 8);
    memcpy(id->tag, from + 16, seal_tag_size);
    id->size = load_u32(from + 32);
    id->runs_count = load_u32(from + 36);
    if (id->runs_count > wal_batch_runs_max || id->size % wal_block_size != 0)
        return STATUS_CORRUPT;
    for (uint32_t i = 0; i < id->runs_count; i++) {
        const uint8_t *run = from + 40 + i * run_size;
        uint32_t kind = load_u32(run + 20);
        if (kind < WAL_APPEND || kind > WAL_SETTLE)
            return STATUS_CORRUPT;
        id->runs[i] = (struct wal_run){
            .index = load_u64(run),
            .term = load_u64(run + 8),
            .count = load_u32(run + 16),
            .kind = (enum wal_record_kind)kind,
        };
    }
    size_t used_size = 40 + id->runs_count * run_size;
    if (!is_zero(from + used_size, id_size - used_size))
        return STATUS_CORRUPT;
    return STATUS_OK;
}

/* ---- Segment headers ---- */

void wal_segment_header_encode(const struct wal_segment_header *header, uint8_t *to)
{
    memset(to, 0, wal_block_size);
    memcpy(to + 24, segment_magic, sizeof segment_magic);
    store_u32(to + 32, wal_format);
    store_u32(to + 36, header->anew ? segment_flag_anew : 0);
    memcpy(to + 40, header->life, wal_life_size);
    memcpy(to + 56, header->boot, wal_life_size);
    store_u64(to + 72, header->id);
    store_u64(to + 80, header->size);
    store_u64(to + 88, header->base.index);
    store_u64(to + 96, header->base.term);
    store_u64(to + 104, header->previous_id);
    store_u64(to + 112, header->previous_end);
    id_encode(&header->previous, to + segment_id_offset);
    memcpy(to + segment_id_offset + id_size, header->envelope, seal_envelope_size);
    store_u64(to + segment_unknown_offset, header->unknown_first);
    id_encode(&header->suspect, to + segment_suspect_offset);
}

void wal_segment_header_finish(uint8_t *to, const uint8_t tag[seal_tag_size])
{
    memcpy(to + checksum_size, tag, seal_tag_size);
    checksum_store(to, wal_block_size);
}

enum status wal_segment_header_decode(const uint8_t *from, struct wal_segment_header *header)
{
    *header = (struct wal_segment_header){0};
    if (memcmp(from + 24, segment_magic, sizeof segment_magic) != 0 ||
        !checksum_holds(from, wal_block_size))
        return STATUS_CORRUPT;
    if (load_u32(from + 32) > wal_format)
        return STATUS_NEWER_FORMAT;
    if (load_u32(from + 32) != wal_format || load_u32(from + 36) > segment_flag_anew ||
        !is_zero(from + segment_used_size, wal_block_size - segment_used_size))
        return STATUS_CORRUPT;
    memcpy(header->tag, from + checksum_size, seal_tag_size);
    memcpy(header->life, from + 40, wal_life_size);
    memcpy(header->boot, from + 56, wal_life_size);
    header->id = load_u64(from + 72);
    header->size = load_u64(from + 80);
    header->base.index = load_u64(from + 88);
    header->base.term = load_u64(from + 96);
    header->previous_id = load_u64(from + 104);
    header->previous_end = load_u64(from + 112);
    memcpy(header->envelope, from + segment_id_offset + id_size, seal_envelope_size);
    header->anew = load_u32(from + 36) == segment_flag_anew;
    header->unknown_first = load_u64(from + segment_unknown_offset);
    if (header->id == 0 || header->size % wal_block_size != 0 ||
        header->size < 2 * wal_block_size || header->previous_end % wal_block_size != 0)
        return STATUS_CORRUPT;
    enum status status = id_decode(from + segment_id_offset, &header->previous);
    return status != STATUS_OK ? status
                               : id_decode(from + segment_suspect_offset, &header->suspect);
}

/* ---- Batch headers ---- */

void wal_batch_header_encode(const struct wal_batch_header *header, uint8_t *to)
{
    memset(to, 0, wal_batch_header_size);
    memcpy(to + 24, batch_magic, sizeof batch_magic);
    memcpy(to + 32, header->life, wal_life_size);
    store_u64(to + 48, header->offset);
    store_u32(to + 56, header->body_size);
    store_u32(to + 60, header->records_count);
    id_encode(&header->id, to + batch_id_offset);
    memset(to + batch_id_offset + 16, 0, seal_tag_size);
    id_encode(&header->previous, to + batch_previous_offset);
}

void wal_batch_header_finish(uint8_t *to, const uint8_t tag[seal_tag_size])
{
    memcpy(to + checksum_size, tag, seal_tag_size);
    checksum_store(to, wal_batch_header_size);
}

enum status wal_batch_header_decode(const uint8_t *from, uint64_t segment,
                                    const uint8_t life[wal_life_size],
                                    struct wal_batch_header *header)
{
    *header = (struct wal_batch_header){0};
    /* One damaged field does not make a batch look like something that was never begun. */
    bool life_fits = memcmp(from + 32, life, wal_life_size) == 0;
    bool segment_fits = memcmp(from + 24, batch_magic, sizeof batch_magic) == 0 &&
                        load_u64(from + batch_id_offset) == segment;
    if (!life_fits && !segment_fits)
        return STATUS_NOT_FOUND;
    if (!checksum_holds(from, wal_batch_header_size))
        return STATUS_CORRUPT;
    if (!life_fits)
        return STATUS_NOT_FOUND; /* whole, and of another life */
    if (!segment_fits || load_u32(from + 28) != 0 ||
        !is_zero(from + batch_used_size, wal_batch_header_size - batch_used_size))
        return STATUS_CORRUPT;
    memcpy(header->life, from + 32, wal_life_size);
    header->offset = load_u64(from + 48);
    header->body_size = load_u32(from + 56);
    header->records_count = load_u32(from + 60);
    enum status status = id_decode(from + batch_id_offset, &header->id);
    if (status == STATUS_OK)
        status = id_decode(from + batch_previous_offset, &header->previous);
    memcpy(header->id.tag, from + checksum_size, seal_tag_size);
    if (status == STATUS_OK && (header->id.sequence == 0 || header->id.size < wal_block_size ||
                                header->body_size > header->id.size - wal_batch_header_size))
        status = STATUS_CORRUPT;
    return status;
}

/* ---- Records ---- */

void wal_record_encode(enum wal_record_kind kind, const struct wal_entry *entry, uint8_t *to)
{
    size_t size = entry->bytes.size;
    ASSERT(size <= UINT32_MAX);
    memset(to, 0, 4);
    to[0] = (uint8_t)kind;
    store_u32(to + 4, (uint32_t)size);
    store_u64(to + 8, entry->index);
    store_u64(to + 16, entry->term);
    bytes_copy(to + wal_record_header_size, entry->bytes);
    memset(to + wal_record_header_size + size, 0,
           wal_record_size(size) - wal_record_header_size - size);
}

enum status wal_record_next(struct wal_records *records, struct wal_record *record)
{
    *record = (struct wal_record){0};
    size_t left = records->body.size - records->offset;
    if (left == 0)
        return STATUS_END;
    if (left < wal_record_header_size)
        return STATUS_CORRUPT;
    const uint8_t *from = records->body.data + records->offset;
    size_t size = load_u32(from + 4);
    if (from[0] < WAL_APPEND || from[0] > WAL_SETTLE || from[1] != 0 || from[2] != 0 ||
        from[3] != 0 || wal_record_size(size) > left)
        return STATUS_CORRUPT;
    record->kind = (enum wal_record_kind)from[0];
    record->entry = (struct wal_entry){
        .index = load_u64(from + 8),
        .term = load_u64(from + 16),
        .bytes = bytes_of(from + wal_record_header_size, size),
    };
    if (record->entry.index == 0 || record->entry.index == UINT64_MAX)
        return STATUS_CORRUPT;
    if (!wal_record_has_entry(record->kind) && (size != 0 || record->entry.term != 0))
        return STATUS_CORRUPT;
    records->offset += wal_record_size(size);
    return STATUS_OK;
}
