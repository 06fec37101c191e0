/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/jepsen_check/fixture.h"

#include "tests/unit/unit.h"

struct verdict fixture_judge(const char *model, struct bytes text)
{
    const struct bank_options bank = {.total = 100};
    struct history history;
    struct verdict verdict = {0};

    history_init(&history);
    if (edn_read(&history, text, &verdict) == STATUS_OK) {
        if (strcmp(model, "list-append") == 0)
            list_append_check(&history, &verdict);
        else if (strcmp(model, "bank") == 0)
            bank_check(&history, &bank, &verdict);
        else if (strcmp(model, "set-full") == 0)
            set_full_check(&history, &verdict);
        else
            register_check(&history, &verdict);
    }
    history_free(&history);
    return verdict;
}

void fixture_expect(const char *model, const char *text, enum verdict_kind kind, const char *class)
{
    struct verdict verdict = fixture_judge(model, bytes_of_text(text));
    ck_assert_msg(verdict.kind == kind, "%s where %s was expected: %s of\n%s",
                  verdict_name(verdict.kind), verdict_name(kind), verdict.text, text);
    if (class != NULL)
        ck_assert_str_eq(verdict.class, class);
    ck_assert((kind == VERDICT_VALID) == (verdict.text[0] == 0));
}
