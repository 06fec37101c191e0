/* SPDX-License-Identifier: Apache-2.0 */
#include "jepsen/check/edn.h"

#include <stdlib.h>

#include "tests/unit/unit.h"

static enum status read_text(struct history *history, const char *text, struct verdict *verdict)
{
    *verdict = (struct verdict){0};
    history_init(history);
    return edn_read(history, bytes_of_text(text), verdict);
}

START_TEST(test_reads_entries_of_each_kind)
{
    static const char text[] =
        "; a comment\n"
        "{:index 0, :time -1, :type :invoke, :process 0, :f :txn,\n"
        "  :value [[:append \"k\" -5] [:r :b nil] [:r 7 [1 2]]], :error [:x {:y \"z\"}]}\n"
        "{:index 3 :type :info :process :nemesis :f :kill :value [\"n1\"]}\n"
        "{:index 4 :type :ok :process 0 :f :read :value {0 95, 1 5}}\n";
    struct history history;
    struct verdict verdict;
    ck_assert_int_eq(read_text(&history, text, &verdict), STATUS_OK);
    ck_assert_uint_eq(history.count, 2);
    const struct history_entry *entry = &history.entries[0];
    ck_assert_uint_eq(entry->line, 2);
    ck_assert_int_eq(entry->type, HISTORY_INVOKE);
    ck_assert_int_eq(entry->shape, HISTORY_MOPS);
    ck_assert_uint_eq(entry->count, 3);
    ck_assert_int_eq(entry->mops[0].kind, HISTORY_MOP_APPEND);
    ck_assert_int_eq(entry->mops[0].numbers[0], -5);
    ck_assert(entry->mops[1].is_nil);
    ck_assert_uint_eq(entry->mops[2].count, 2);
    ck_assert_int_eq(entry->mops[2].numbers[1], 2);
    ck_assert(bytes_equal(history.keys[entry->mops[0].key], bytes_of_text("\"k\"")));
    ck_assert_int_eq(history.entries[1].shape, HISTORY_PAIRS);
    ck_assert_int_eq(history.entries[1].numbers[1], 95);
    history_free(&history);
}
END_TEST

START_TEST(test_refuses_what_is_no_history)
{
    static const struct {
        const char *text;
        const char *where;
    } cases[] = {
        {"{:type :invoke :process 0 :f :txn :value [[:append 1 1]]", "Line 1"},
        {"[{:type :invoke :process 0 :f :read :value nil}\n", "Line 2"},
        {"{:type :ok :process}", "Line 1"},
        {"\n7", "Line 2"},
        {"{:type \"ok\" :process 0 :f :read :value nil}", "Line 1"},
        {"{:type :ok :f :read :value nil}", "Line 1"},
        {"{:type :ok :process 0 :f :txn :value [[:append 1]]}", "Line 1"},
        {"{:type :ok :process 0 :f :txn :value [[:append 1 nil]]}", "Line 1"},
        {"{:type :ok :process 0 :f :txn :value [[:pop 1 nil]]}", "Line 1"},
        {"{:type :ok :process 0 :f :cas :value [1 2 3]}", "Line 1"},
        {"{:type :ok :process 0 :f :read :value #{1 2}}", "Line 1"},
        {"{:type :ok :process 0 :f :read :value {0 x}}", "Line 1"},
        {"{:type :ok :process 0 :f :read :value 12345678901234567890}", "Line 1"},
        {"{:type :ok :process 0 :f :read :value \"x}", "Line 1"},
        {"{:index 1 :type :ok :process 0}\n{:type :ok :process 0}", "Line 2"},
        {"{:index 1 :type :ok :process 0}\n{:index 1 :type :ok :process 0}", "Line 2"},
        {"[[[[[[[[[[[[[[[[[[[[[[[[", "Line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct history history;
        struct verdict verdict;
        ck_assert_msg(read_text(&history, cases[i].text, &verdict) == STATUS_MALFORMED, "%s",
                      cases[i].text);
        ck_assert_int_eq(verdict.kind, VERDICT_MALFORMED);
        ck_assert_msg(strncmp(verdict.text, cases[i].where, 6) == 0, "%s", verdict.text);
        history_free(&history);
    }
}
END_TEST

START_TEST(test_a_bare_nil_ends_the_reading)
{
    struct history history;
    struct verdict verdict;
    ck_assert_int_eq(read_text(&history,
                               "{:type :invoke :process 0 :f :read :value nil} nil {:broken",
                               &verdict),
                     STATUS_OK);
    ck_assert_uint_eq(history.count, 1);
    history_free(&history);
}
END_TEST

/* What is written is read again as the same, and what never ended is closed. */
START_TEST(test_writes_what_it_reads)
{
    static const char text[] =
        "{:index 0, :type :invoke, :process 0, :f :txn, :value [[:append \"k\" -5] [:r :b nil]]}\n"
        "{:index 1, :type :ok, :process 0, :f :txn, :value [[:append \"k\" -5] [:r :b [1 2]]]}\n"
        "{:index 2, :type :invoke, :process 0, :f :read, :value nil}\n"
        "{:index 3, :type :ok, :process 0, :f :read, :value {0 95, 1 5}}\n"
        "{:index 4, :type :invoke, :process 0, :f :cas, :value [1 2]}\n"
        "{:index 5, :type :fail, :process 0, :f :cas, :value [1 2]}\n"
        "{:index 6, :type :invoke, :process 0, :f :add, :value 9}\n"
        "{:index 7, :type :info, :process 0, :f :add, :value 9}\n";
    struct history history;
    struct verdict verdict;
    char *written = NULL;
    size_t size = 0;
    ck_assert_int_eq(read_text(&history, text, &verdict), STATUS_OK);
    history.count--; /* the addition has no end now */
    ck_assert_int_eq(history_pair(&history, &verdict), STATUS_OK);
    FILE *file = open_memstream(&written, &size);
    ck_assert_int_eq(edn_write(&history, file), STATUS_OK);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_str_eq(written, text);
    free(written);
    history_free(&history);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_reads_entries_of_each_kind);
    tcase_add_test(tests, test_refuses_what_is_no_history);
    tcase_add_test(tests, test_a_bare_nil_ends_the_reading);
    tcase_add_test(tests, test_writes_what_it_reads);
}
