/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/format.h"

#include "proto/base/generator.h"
#include "proto/base/hash.h"
#include "tests/unit/unit.h"

static const uint8_t life[wal_life_size] = "this life";
static const uint8_t other_life[wal_life_size] = "another";
static const uint8_t tag[seal_tag_size] = "tag of the body";

static struct wal_batch_header sample_batch(void)
{
    struct wal_batch_header header = {
        .offset = 8192,
        .body_size = 4000,
        .records_count = 7,
        .id = {.segment = 5, .sequence = 9, .size = 8192, .runs_count = 2},
        .previous = {.segment = 4, .sequence = 77, .size = 4096, .runs_count = 1},
    };
    memcpy(header.life, life, sizeof life);
    header.id.runs[0] = (struct wal_run){.index = 10, .term = 2, .count = 6, .kind = WAL_APPEND};
    header.id.runs[1] = (struct wal_run){.index = 12, .kind = WAL_TRUNCATE};
    header.previous.runs[0] = (struct wal_run){.index = 9, .term = 2, .count = 1, .kind = WAL_FILL};
    memset(header.previous.tag, 0xab, seal_tag_size);
    return header;
}

static void sample_encode(uint8_t block[wal_batch_header_size])
{
    struct wal_batch_header header = sample_batch();
    wal_batch_header_encode(&header, block);
    wal_batch_header_finish(block, tag);
}

START_TEST(test_batch_header)
{
    uint8_t block[wal_batch_header_size];
    struct wal_batch_header header;
    struct wal_batch_header expected = sample_batch();
    sample_encode(block);
    ck_assert_int_eq(wal_batch_header_decode(block, 5, life, &header), STATUS_OK);
    ck_assert_mem_eq(header.id.tag, tag, seal_tag_size);
    ck_assert_uint_eq(header.offset, expected.offset);
    ck_assert_uint_eq(header.body_size, expected.body_size);
    ck_assert_uint_eq(header.records_count, expected.records_count);
    memcpy(expected.id.tag, tag, seal_tag_size);
    ck_assert(wal_batch_id_equal(&header.id, &expected.id));
    ck_assert(wal_batch_id_equal(&header.previous, &expected.previous));
    ck_assert_uint_eq(header.id.runs_count, 2);
    ck_assert_uint_eq(header.id.runs[0].count, 6);
    ck_assert_int_eq(header.id.runs[1].kind, WAL_TRUNCATE);
    ck_assert_uint_eq(header.previous.runs[0].index, 9);
}
END_TEST

/* Any flipped bit of a header of this life is damage, never the absence of a batch. */
START_TEST(test_batch_header_flips)
{
    uint8_t block[wal_batch_header_size];
    struct wal_batch_header header;
    sample_encode(block);
    for (size_t bit = 0; bit < 8 * sizeof block; bit++) {
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_int_eq(wal_batch_header_decode(block, 5, life, &header), STATUS_CORRUPT);
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    ck_assert_int_eq(wal_batch_header_decode(block, 5, life, &header), STATUS_OK);
}
END_TEST

/* What an earlier life of the file left behind is nothing. */
START_TEST(test_batch_header_of_another_life)
{
    uint8_t block[wal_batch_header_size];
    struct wal_batch_header header;
    sample_encode(block);
    ck_assert_int_eq(wal_batch_header_decode(block, 6, other_life, &header), STATUS_NOT_FOUND);
    ck_assert_int_eq(wal_batch_header_decode(block, 5, other_life, &header), STATUS_NOT_FOUND);
    memset(block, 0, sizeof block);
    ck_assert_int_eq(wal_batch_header_decode(block, 5, life, &header), STATUS_NOT_FOUND);
}
END_TEST

static void refresh_checksum(uint8_t *block, size_t size)
{
    store_u64(block, hash64(bytes_of(block + 8, size - 8)));
}

/* Values that do not go together are refused although the checksum holds. */
START_TEST(test_batch_header_nonsense)
{
    static const struct {
        size_t offset;
        uint32_t value;
    } changes[] = {
        {28, 1},                /* reserved */
        {56, 8192 - 512 + 1},   /* body past the batch */
        {64 + 8, 0},            /* sequence 0 */
        {64 + 32, 8191},        /* size not of blocks */
        {64 + 32, 0},           /* size 0 */
        {64 + 36, 7},           /* too many runs */
        {64 + 36, 1},           /* a run more than counted */
        {64 + 40 + 20, 5},      /* unknown kind */
        {248 + 36, UINT32_MAX}, /* the predecessor's runs */
        {500, 1},               /* the rest is zero */
    };
    uint8_t block[wal_batch_header_size];
    struct wal_batch_header header;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        sample_encode(block);
        store_u32(block + changes[i].offset, changes[i].value);
        refresh_checksum(block, sizeof block);
        ck_assert_msg(wal_batch_header_decode(block, 5, life, &header) == STATUS_CORRUPT,
                      "change %zu", i);
    }
}
END_TEST

static struct wal_segment_header sample_segment(void)
{
    struct wal_segment_header header = {
        .id = 12,
        .size = 1024 * 1024,
        .base = {.index = 100, .term = 3},
        .previous_id = 11,
        .previous_end = 65536,
        .previous = {.segment = 11, .sequence = 3, .size = 4096},
    };
    memcpy(header.life, life, sizeof life);
    memset(header.boot, 0x55, sizeof header.boot);
    memset(header.envelope, 0x66, sizeof header.envelope);
    return header;
}

START_TEST(test_segment_header)
{
    uint8_t block[wal_block_size];
    struct wal_segment_header expected = sample_segment();
    struct wal_segment_header header;
    wal_segment_header_encode(&expected, block);
    wal_segment_header_finish(block, tag);
    ck_assert_int_eq(wal_segment_header_decode(block, &header), STATUS_OK);
    memcpy(expected.tag, tag, seal_tag_size);
    ck_assert_mem_eq(header.tag, expected.tag, seal_tag_size);
    ck_assert_mem_eq(header.life, expected.life, wal_life_size);
    ck_assert_mem_eq(header.boot, expected.boot, wal_life_size);
    ck_assert_mem_eq(header.envelope, expected.envelope, seal_envelope_size);
    ck_assert_uint_eq(header.id, expected.id);
    ck_assert_uint_eq(header.size, expected.size);
    ck_assert_uint_eq(header.base.index, expected.base.index);
    ck_assert_uint_eq(header.base.term, expected.base.term);
    ck_assert_uint_eq(header.previous_id, expected.previous_id);
    ck_assert_uint_eq(header.previous_end, expected.previous_end);
    ck_assert(wal_batch_id_equal(&header.previous, &expected.previous));
    for (size_t bit = 0; bit < 8 * sizeof block; bit += bit < 3600 ? 1 : 97) {
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_int_eq(wal_segment_header_decode(block, &header), STATUS_CORRUPT);
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}
END_TEST

START_TEST(test_segment_header_of_newer_format)
{
    uint8_t block[wal_block_size];
    struct wal_segment_header sample = sample_segment();
    struct wal_segment_header header;
    wal_segment_header_encode(&sample, block);
    store_u32(block + 32, wal_format + 1);
    block[4000] = 1;
    wal_segment_header_finish(block, tag);
    ck_assert_int_eq(wal_segment_header_decode(block, &header), STATUS_NEWER_FORMAT);
    store_u32(block + 32, 0);
    wal_segment_header_finish(block, tag);
    ck_assert_int_eq(wal_segment_header_decode(block, &header), STATUS_CORRUPT);
}
END_TEST

START_TEST(test_records)
{
    uint8_t body[256];
    struct wal_entry entries[] = {
        {.index = 1, .term = 1, .bytes = bytes_of("", 0)},
        {.index = 2, .term = 1, .bytes = bytes_of("12345678", 8)},
        {.index = 3, .term = 2, .bytes = bytes_of("123456789", 9)},
        {.index = 3},
    };
    static const enum wal_record_kind kinds[] = {WAL_APPEND, WAL_APPEND, WAL_FILL, WAL_TRUNCATE};
    size_t size = 0;
    for (size_t i = 0; i < 4; i++) {
        wal_record_encode(kinds[i], &entries[i], body + size);
        size += wal_record_size(entries[i].bytes.size);
        ck_assert_uint_eq(size % 8, 0);
    }
    struct wal_records records = {.body = bytes_of(body, size)};
    struct wal_record record;
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(wal_record_next(&records, &record), STATUS_OK);
        ck_assert_int_eq(record.kind, kinds[i]);
        ck_assert_uint_eq(record.entry.index, entries[i].index);
        ck_assert_uint_eq(record.entry.term, entries[i].term);
        ck_assert(bytes_equal(record.entry.bytes, entries[i].bytes));
    }
    ck_assert_int_eq(wal_record_next(&records, &record), STATUS_END);
    /* Cut anywhere, the last record is not taken. */
    for (size_t cut = 1; cut < wal_record_header_size; cut++) {
        records = (struct wal_records){.body = bytes_of(body, size - cut)};
        enum status status = STATUS_OK;
        unsigned count = 0;
        while ((status = wal_record_next(&records, &record)) == STATUS_OK)
            count++;
        ck_assert_int_eq(status, STATUS_CORRUPT);
        ck_assert_uint_eq(count, 3);
    }
}
END_TEST

/* Random bytes: statuses, and nothing read past the body (the sanitizer looks). */
START_TEST(test_records_hostile)
{
    struct generator generator;
    const uint64_t seed = 20261121;
    generator_init(&generator, seed);
    for (unsigned round = 0; round < 20000; round++) {
        uint8_t body[64];
        size_t size = (size_t)generator_below(&generator, sizeof body + 1);
        generator_fill(&generator, body, size);
        if (size > 8 && generator_chance(&generator, 3, 4)) {
            store_u32(body, (uint32_t)generator_between(&generator, 0, 4));
            store_u32(body + 4, (uint32_t)generator_below(&generator, 80));
        }
        struct wal_records records = {.body = bytes_of(body, size)};
        struct wal_record record;
        enum status status;
        while ((status = wal_record_next(&records, &record)) == STATUS_OK)
            ck_assert_uint_le(record.entry.bytes.size, size);
        ck_assert(status == STATUS_END || status == STATUS_CORRUPT);
    }
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_batch_header);
    tcase_add_test(tests, test_batch_header_flips);
    tcase_add_test(tests, test_batch_header_of_another_life);
    tcase_add_test(tests, test_batch_header_nonsense);
    tcase_add_test(tests, test_segment_header);
    tcase_add_test(tests, test_segment_header_of_newer_format);
    tcase_add_test(tests, test_records);
    tcase_add_test(tests, test_records_hostile);
}
