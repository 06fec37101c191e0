/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/content.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/generator.h"
#include "tests/unit/unit.h"

enum { size_max = 6 * sim_page_size, copies_count = 3 };

/* A plain array of bytes, which must stay equal to the content. */
struct model {
    struct sim_content content;
    uint8_t bytes[size_max];
    uint64_t size;
};

static void expect_equal(const struct model *model)
{
    static uint8_t bytes[size_max];
    ck_assert_uint_eq(model->content.size, model->size);
    ck_assert_uint_eq(sim_content_read(&model->content, 0, bytes, sizeof bytes), model->size);
    ck_assert(memcmp(bytes, model->bytes, model->size) == 0);
}

static void change(struct model *model, struct generator *generator)
{
    static uint8_t data[size_max];
    uint64_t offset = generator_below(generator, size_max);
    uint64_t size = generator_below(generator, size_max - offset + 1);
    if (generator_chance(generator, 1, 5)) {
        if (offset < model->size)
            memset(model->bytes + offset, 0, size_max - offset);
        model->size = offset;
        sim_content_resize(&model->content, offset);
        return;
    }
    bool zeros = generator_chance(generator, 1, 3);
    memset(data, zeros ? 0 : (int)generator_below(generator, 256), size);
    memcpy(model->bytes + offset, data, size);
    if (size > 0 && model->size < offset + size)
        model->size = offset + size;
    sim_content_write(&model->content, offset, zeros ? NULL : data, size);
}

START_TEST(test_copies_are_equal_and_independent)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        static struct model models[copies_count];
        struct generator generator;
        generator_init(&generator, seed);
        memset(models, 0, sizeof models);
        for (unsigned i = 0; i < 200; i++) {
            unsigned which = (unsigned)generator_below(&generator, copies_count);
            if (generator_chance(&generator, 1, 6)) {
                unsigned from = (which + 1) % copies_count;
                sim_content_free(&models[which].content);
                models[which] = models[from];
                sim_content_copy(&models[which].content, &models[from].content);
                ck_assert_uint_eq(sim_content_hash(&models[which].content),
                                  sim_content_hash(&models[from].content));
            } else {
                change(&models[which], &generator);
            }
            for (unsigned k = 0; k < copies_count; k++)
                expect_equal(&models[k]);
        }
        for (unsigned k = 0; k < copies_count; k++)
            sim_content_free(&models[k].content);
    }
}
END_TEST

START_TEST(test_hash_is_of_bytes_and_not_of_their_history)
{
    struct sim_content a = {0};
    struct sim_content b = {0};
    sim_content_write(&a, 5000, "x", 1);
    sim_content_write(&a, 5000, NULL, 1);
    sim_content_resize(&b, 5001);
    ck_assert_uint_eq(sim_content_hash(&a), sim_content_hash(&b));
    sim_content_resize(&b, 5002);
    ck_assert_uint_ne(sim_content_hash(&a), sim_content_hash(&b));
    sim_content_resize(&b, 5001);
    sim_content_write(&b, 100, "y", 1);
    ck_assert_uint_ne(sim_content_hash(&a), sim_content_hash(&b));
    sim_content_write(&a, 4096 + 100, "y", 1);
    ck_assert_uint_ne(sim_content_hash(&a), sim_content_hash(&b));
    sim_content_free(&a);
    sim_content_free(&b);
}
END_TEST

START_TEST(test_search_crosses_pages)
{
    struct sim_content content = {0};
    sim_content_write(&content, sim_page_size - 3, "lantern", 7);
    ck_assert(sim_content_contains(&content, bytes_of_text("lantern")));
    ck_assert(sim_content_contains(&content, bytes_of_text("tern")));
    ck_assert(!sim_content_contains(&content, bytes_of_text("lanterns")));
    sim_content_free(&content);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_copies_are_equal_and_independent);
    tcase_add_test(tests, test_hash_is_of_bytes_and_not_of_their_history);
    tcase_add_test(tests, test_search_crosses_pages);
}
