/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/terms.h"

#include <stdio.h>

#include "proto/base/generator.h"
#include "tests/unit/unit.h"

/* Against a plain array of terms by index. */
enum { indexes_max = 300 };

struct model {
    uint64_t begin;
    uint64_t last;
    uint64_t terms[indexes_max + 1]; /* terms[begin] too */
};

static void compare(const struct wal_terms *terms, const struct model *model)
{
    struct wal_mark last = wal_terms_last(terms);
    ck_assert_uint_eq(last.index, model->last);
    ck_assert_uint_eq(last.term, model->terms[model->last]);
    for (uint64_t index = 0; index <= indexes_max; index++) {
        uint64_t term = 0;
        bool covered = index >= model->begin && index <= model->last;
        ck_assert_int_eq(wal_terms_find(terms, index, &term), covered);
        ck_assert_uint_eq(term, covered ? model->terms[index] : 0);
    }
}

START_TEST(test_against_model)
{
    struct generator generator;
    const uint64_t seed = 7100 + (uint64_t)_i;
    generator_init(&generator, seed);
    struct model model = {.begin = 3, .last = 3, .terms = {[3] = 1}};
    struct wal_terms terms;
    wal_terms_init(&terms, (struct wal_mark){.index = 3, .term = 1});
    for (unsigned step = 0; step < 400; step++) {
        uint64_t draw = generator_below(&generator, 10);
        if (draw < 6 && model.last + 5 < indexes_max) {
            uint64_t count = generator_below(&generator, 5);
            uint64_t term = 1 + generator_below(&generator, 3);
            ck_assert_int_eq(wal_terms_append(&terms, term, count), STATUS_OK);
            while (count-- > 0)
                model.terms[++model.last] = term;
        } else if (draw < 8) {
            uint64_t index = generator_between(&generator, 1, model.last + 2);
            wal_terms_cut(&terms, index);
            if (index <= model.last) {
                model.last = index - 1;
                if (model.last < model.begin) {
                    model.begin = model.last;
                    model.terms[model.begin] = 0;
                }
            }
        } else {
            uint64_t index = generator_between(&generator, 0, model.last);
            struct wal_mark mark = {.index = index, .term = model.terms[index]};
            wal_terms_release(&terms, mark);
            if (index > model.begin)
                model.begin = index;
        }
        compare(&terms, &model);
    }
    wal_terms_free(&terms);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_loop_test(tests, test_against_model, 0, 20);
}
