/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/manifest.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/generator.h"
#include "tests/unit/unit.h"

/* One tree of bytes with two tables in level 0 and two in level 1; one fixed tree without tables.
 */
struct sample {
    struct table_info tables[4];
    const struct table_info *level0[2];
    const struct table_info *level1[2];
    struct manifest manifest;
};

static struct table_info sample_table(uint64_t number, uint64_t version_min, uint64_t version_max,
                                      const char *min, const char *max)
{
    return (struct table_info){.number = number,
                               .file_size = number * 4096,
                               .entries_count = number * 10,
                               .tombstones_count = number,
                               .data_key = 1,
                               .version_min = version_min,
                               .version_max = version_max,
                               .smallest = bytes_of_text(min),
                               .largest = bytes_of_text(max)};
}

static void sample_make(struct sample *sample)
{
    memset(sample, 0, sizeof *sample);
    sample->tables[0] = sample_table(9, 80, 99, "b", "x");
    sample->tables[1] = sample_table(8, 60, 79, "a", "y");
    sample->tables[2] = sample_table(3, 1, 50, "a", "k");
    sample->tables[3] = sample_table(4, 2, 59, "l", "z");
    sample->level0[0] = &sample->tables[0];
    sample->level0[1] = &sample->tables[1];
    sample->level1[0] = &sample->tables[2];
    sample->level1[1] = &sample->tables[3];
    struct manifest *manifest = &sample->manifest;
    manifest->numbers_end = 10;
    manifest->horizon = 77;
    manifest->mark = (struct lsm_mark){.index = 500, .term = 3, .version = 99, .state_size = 5};
    memcpy(manifest->mark.state, "state", 5);
    manifest->attachment = bytes_of_text("attachment");
    manifest->trees_count = 2;
    manifest->trees[0] = (struct manifest_tree){
        .id = 1, .kind = LSM_BYTES, .levels = {sample->level0, sample->level1}, .counts = {2, 2}};
    manifest->trees[1] = (struct manifest_tree){.id = 7,
                                                .kind = LSM_FIXED,
                                                .key_size = 24,
                                                .value_size = 8,
                                                .discard_below = bytes_of_text("below")};
}

static enum status encode_decode(const struct manifest *manifest, struct error *error)
{
    uint8_t *contents;
    size_t size;
    struct manifest decoded;
    ck_assert_int_eq(manifest_encode(manifest, &contents, &size), STATUS_OK);
    enum status status = manifest_decode(bytes_of(contents, size), &decoded, error);
    if (status == STATUS_OK)
        manifest_free(&decoded);
    free(contents);
    return status;
}

START_TEST(test_round_trip)
{
    struct sample sample;
    uint8_t *contents;
    uint8_t *again;
    size_t size;
    size_t again_size;
    struct manifest decoded;
    struct error error = {0};
    sample_make(&sample);
    ck_assert_int_eq(manifest_encode(&sample.manifest, &contents, &size), STATUS_OK);
    ck_assert_int_eq(manifest_decode(bytes_of(contents, size), &decoded, &error), STATUS_OK);
    ck_assert_uint_eq(decoded.numbers_end, 10);
    ck_assert_uint_eq(decoded.horizon, 77);
    ck_assert_uint_eq(decoded.mark.index, 500);
    ck_assert_mem_eq(decoded.mark.state, "state", 5);
    ck_assert(bytes_equal(decoded.attachment, bytes_of_text("attachment")));
    ck_assert_uint_eq(decoded.trees_count, 2);
    ck_assert_uint_eq(decoded.trees[0].counts[1], 2);
    ck_assert(bytes_equal(decoded.trees[0].levels[1][1]->largest, bytes_of_text("z")));
    ck_assert_uint_eq(decoded.trees[0].levels[0][0]->number, 9);
    ck_assert(bytes_equal(decoded.trees[1].discard_below, bytes_of_text("below")));
    ck_assert_int_eq(manifest_encode(&decoded, &again, &again_size), STATUS_OK);
    ck_assert_uint_eq(again_size, size);
    ck_assert_mem_eq(again, contents, size);
    manifest_free(&decoded);
    free(contents);
    free(again);
}
END_TEST

/* Each change makes a manifest that no correct writer writes. */
static void spoil(struct sample *sample, int way)
{
    switch (way) {
    case 0: /* a level below 0 overlaps */
        sample->tables[3].smallest = bytes_of_text("k");
        break;
    case 1: /* level 0 is not newest first */
        sample->tables[1].version_max = 80;
        break;
    case 2: /* a number twice */
        sample->tables[3].number = 3;
        break;
    case 3: /* a number never given out */
        sample->tables[0].number = 10;
        break;
    case 4: /* past the mark, by its version and by its index */
        sample->tables[0].version_max = 501;
        break;
    case 5: /* keys out of order */
        sample->tables[0].smallest = bytes_of_text("xx");
        break;
    case 6:
        sample->tables[2].file_size = 0;
        break;
    case 7:
        sample->tables[2].entries_count = 0;
        break;
    case 8: /* trees out of order */
        sample->manifest.trees[1].id = 1;
        break;
    case 9:
        sample->manifest.trees[1].kind = 2;
        break;
    case 10:
        sample->manifest.trees[1].key_size = 0;
        break;
    case 11:
        sample->manifest.trees[0].key_size = 4;
        break;
    case 12: /* keys of another size than the tree's */
        sample->manifest.trees[0].kind = LSM_FIXED;
        sample->manifest.trees[0].key_size = 2;
        break;
    default:
        sample->tables[0].number = 0;
        break;
    }
}

START_TEST(test_bad_contents_are_refused)
{
    for (int way = 0; way <= 13; way++) {
        struct sample sample;
        struct error error = {0};
        sample_make(&sample);
        spoil(&sample, way);
        ck_assert_msg(encode_decode(&sample.manifest, &error) == STATUS_CORRUPT, "way %d", way);
        ck_assert_uint_ne(strlen(error.text), 0);
    }
}
END_TEST

START_TEST(test_every_cut_is_refused)
{
    struct sample sample;
    uint8_t *contents;
    size_t size;
    struct manifest decoded;
    sample_make(&sample);
    ck_assert_int_eq(manifest_encode(&sample.manifest, &contents, &size), STATUS_OK);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *copy = malloc(cut + 1); /* exact, so that sanitizers see a read past the end */
        memcpy(copy, contents, cut);
        copy = realloc(copy, cut == 0 ? 1 : cut);
        struct error error = {0};
        ck_assert_int_eq(manifest_decode(bytes_of(copy, cut), &decoded, &error), STATUS_CORRUPT);
        free(copy);
    }
    uint8_t *longer = calloc(1, size + 1);
    memcpy(longer, contents, size);
    ck_assert_int_eq(manifest_decode(bytes_of(longer, size + 1), &decoded, NULL), STATUS_CORRUPT);
    free(longer);
    free(contents);
}
END_TEST

START_TEST(test_newer_format_is_named)
{
    struct sample sample;
    uint8_t *contents;
    size_t size;
    struct manifest decoded;
    sample_make(&sample);
    ck_assert_int_eq(manifest_encode(&sample.manifest, &contents, &size), STATUS_OK);
    store_u32(contents + 4, 3);
    ck_assert_int_eq(manifest_decode(bytes_of(contents, size), &decoded, NULL),
                     STATUS_NEWER_FORMAT);
    free(contents);
}
END_TEST

/* The largest attachment passes; one byte more, which no encoder writes, does not. */
START_TEST(test_attachment_is_bounded)
{
    static uint8_t bytes[lsm_attachment_size_max];
    struct sample sample;
    struct error error = {0};
    uint8_t *contents;
    size_t size;
    struct manifest decoded;
    sample_make(&sample);
    sample.manifest.attachment = bytes_of(bytes, sizeof bytes);
    ck_assert_int_eq(encode_decode(&sample.manifest, &error), STATUS_OK);
    ck_assert_int_eq(manifest_encode(&sample.manifest, &contents, &size), STATUS_OK);
    size_t at = 6 * 8 + 2 + 5; /* magic and format, five integers, the mark's state */
    ck_assert_uint_eq(load_u16(contents + at), sizeof bytes);
    store_u16(contents + at, sizeof bytes + 1);
    ck_assert_int_eq(manifest_decode(bytes_of(contents, size), &decoded, &error), STATUS_CORRUPT);
    free(contents);
}
END_TEST

/* Whatever random damage decodes, encodes again to the same bytes. */
START_TEST(test_random_damage)
{
    enum { rounds = 20000 };
    struct generator generator;
    struct sample sample;
    uint8_t *contents;
    size_t size;
    uint64_t seed = 20101201;
    printf("manifest_test: seed %llu\n", (unsigned long long)seed);
    generator_init(&generator, seed);
    sample_make(&sample);
    ck_assert_int_eq(manifest_encode(&sample.manifest, &contents, &size), STATUS_OK);
    uint8_t *copy = malloc(size);
    for (int round = 0; round < rounds; round++) {
        struct manifest decoded;
        memcpy(copy, contents, size);
        for (uint64_t i = generator_between(&generator, 1, 3); i > 0; i--)
            copy[generator_below(&generator, size)] = (uint8_t)generator_draw(&generator);
        if (manifest_decode(bytes_of(copy, size), &decoded, NULL) != STATUS_OK)
            continue;
        uint8_t *again;
        size_t again_size;
        ck_assert_int_eq(manifest_encode(&decoded, &again, &again_size), STATUS_OK);
        ck_assert_uint_eq(again_size, size);
        ck_assert_mem_eq(again, copy, size);
        free(again);
        manifest_free(&decoded);
    }
    free(copy);
    free(contents);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_round_trip);
    tcase_add_test(tests, test_bad_contents_are_refused);
    tcase_add_test(tests, test_every_cut_is_refused);
    tcase_add_test(tests, test_newer_format_is_named);
    tcase_add_test(tests, test_attachment_is_bounded);
    tcase_add_test(tests, test_random_damage);
}
