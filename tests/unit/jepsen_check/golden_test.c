/* SPDX-License-Identifier: Apache-2.0 */
/* A good and a bad history for each thing that a checker can say. */
#include "tests/unit/jepsen_check/fixture.h"
#include "tests/unit/unit.h"

#define LINE(type, process, f, value)                                                              \
    "{:type :" type ", :process " process ", :f :" f ", :value " value "}\n"
#define BEGIN(process, value) LINE("invoke", process, "txn", value)
#define DONE(process, value)  LINE("ok", process, "txn", value)
#define TXN(process, value)   BEGIN(process, value) DONE(process, value)

struct golden {
    const char *text;
    enum verdict_kind kind;
    const char *class;
};

static void expect_all(const char *model, const struct golden *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fixture_expect(model, cases[i].text, cases[i].kind, cases[i].class);
}
#define EXPECT_ALL(model, cases) expect_all(model, cases, sizeof(cases) / sizeof((cases)[0]))

static const struct golden list_append_cases[] = {
    {TXN("0", "[[:append 1 1]]") TXN("0", "[[:append 1 2]]") TXN("1", "[[:r 1 [1 2]]]"),
     VERDICT_VALID, ""},
    /* Real time: a stale read, and one that began before the write ended. */
    {TXN("0", "[[:append 1 1]]") TXN("1", "[[:r 1 nil]]") TXN("1", "[[:r 1 [1]]]"), VERDICT_INVALID,
     "G-single-item-realtime"},
    {BEGIN("1", "[[:r 1 nil]]") TXN("0", "[[:append 1 1]]") DONE("1", "[[:r 1 []]]")
         TXN("1", "[[:r 1 [1]]]"),
     VERDICT_VALID, ""},
    /* Appended later and ordered earlier. */
    {TXN("0", "[[:append 1 1]]") TXN("0", "[[:append 1 2]]") TXN("1", "[[:r 1 [2 1]]]"),
     VERDICT_INVALID, "G0-realtime"},
    /* Two keys written in opposite orders. */
    {BEGIN("0", "[[:append 1 1] [:append 2 1]]") BEGIN("1", "[[:append 1 2] [:append 2 2]]")
         DONE("0", "[[:append 1 1] [:append 2 1]]") DONE("1", "[[:append 1 2] [:append 2 2]]")
             TXN("2", "[[:r 1 [1 2]] [:r 2 [2 1]]]"),
     VERDICT_INVALID, "G0"},
    /* Each read what the other wrote. */
    {BEGIN("0", "[[:append 1 1] [:r 2 nil]]") BEGIN("1", "[[:append 2 1] [:r 1 nil]]")
         DONE("0", "[[:append 1 1] [:r 2 [1]]]") DONE("1", "[[:append 2 1] [:r 1 [1]]]"),
     VERDICT_INVALID, "G1c"},
    /* Lost update: both read nothing and wrote. */
    {BEGIN("0", "[[:r 1 nil] [:append 1 1]]") BEGIN("1", "[[:r 1 nil] [:append 1 2]]")
         DONE("0", "[[:r 1 nil] [:append 1 1]]") DONE("1", "[[:r 1 nil] [:append 1 2]]")
             TXN("2", "[[:r 1 [1 2]]]"),
     VERDICT_INVALID, "G-single-item"},
    /* Write skew. */
    {BEGIN("0", "[[:r 1 nil] [:append 2 1]]") BEGIN("1", "[[:r 2 nil] [:append 1 1]]")
         DONE("0", "[[:r 1 nil] [:append 2 1]]") DONE("1", "[[:r 2 nil] [:append 1 1]]")
             TXN("2", "[[:r 1 [1]] [:r 2 [1]]]"),
     VERDICT_INVALID, "G2-item"},
    /* Half of a transaction was seen, the other half not. */
    {BEGIN("0", "[[:append 1 1] [:append 2 1]]") TXN("1", "[[:r 1 [1]] [:r 2 nil]]")
         DONE("0", "[[:append 1 1] [:append 2 1]]") TXN("1", "[[:r 2 [1]]]"),
     VERDICT_INVALID, "G-single-item"},
    /* Its own reads. */
    {TXN("0", "[[:append 1 1] [:r 1 nil]]"), VERDICT_INVALID, "internal"},
    {TXN("0", "[[:append 1 1]]") TXN("0", "[[:r 1 [1]] [:append 1 2] [:r 1 [1]]]"), VERDICT_INVALID,
     "internal"},
    {TXN("0", "[[:append 1 1]]") TXN("0", "[[:r 1 [1]] [:append 1 2] [:r 1 [1 2]]]"), VERDICT_VALID,
     ""},
    {TXN("0", "[[:r 1 [1]] [:append 1 1]]"), VERDICT_INVALID, "internal"},
    {TXN("0", "[[:append 1 1] [:append 1 2] [:r 1 [1 2]]]"), VERDICT_VALID, ""},
    {TXN("0", "[[:append 1 1] [:append 1 2] [:r 1 [2 1]]]"), VERDICT_INVALID, "internal"},
    /* The middle of a transaction; one that failed; twice; two orders; nobody wrote it. */
    {BEGIN("0", "[[:append 1 1] [:append 1 2]]") TXN("1", "[[:r 1 [1]]]")
         DONE("0", "[[:append 1 1] [:append 1 2]]") TXN("1", "[[:r 1 [1 2]]]"),
     VERDICT_INVALID, "G1b"},
    {BEGIN("0", "[[:append 1 1]]") LINE("fail", "0", "txn", "[[:append 1 1]]")
         TXN("1", "[[:r 1 [1]]]"),
     VERDICT_INVALID, "G1a"},
    {TXN("0", "[[:append 1 1]]") TXN("1", "[[:r 1 [1 1]]]"), VERDICT_INVALID, "duplicate-elements"},
    {BEGIN("0", "[[:append 1 1]]") BEGIN("1", "[[:append 1 2]]") TXN("2", "[[:r 1 [1]]]")
         TXN("2", "[[:r 1 [2 1]]]"),
     VERDICT_INVALID, "incompatible-order"},
    {TXN("0", "[[:append 1 1]]") TXN("1", "[[:r 1 [1 9]]]"), VERDICT_MALFORMED, "garbage"},
    {TXN("0", "[[:append 1 1]]") TXN("1", "[[:append 1 1]]"), VERDICT_MALFORMED,
     "duplicate-appends"},
    {TXN("0", "[[:w 1 1]]"), VERDICT_MALFORMED, "mop"},
    /* Of unknown outcome: seen or not, both fit; but seen once, seen always. */
    {BEGIN("0", "[[:append 1 1]]") LINE("info", "0", "txn", "nil") TXN("1", "[[:r 1 nil]]"),
     VERDICT_VALID, ""},
    {BEGIN("0", "[[:append 1 1]]") TXN("1", "[[:r 1 nil]]") TXN("1", "[[:r 1 [1]]]"), VERDICT_VALID,
     ""},
    {BEGIN("0", "[[:append 1 1]]") TXN("1", "[[:r 1 [1]]]") TXN("1", "[[:r 1 nil]]"),
     VERDICT_INVALID, "G-single-item-realtime"},
    /* Too little was seen. */
    {TXN("0", "[[:append 1 1]]"), VERDICT_VACUOUS, ""},
    {TXN("1", "[[:r 2 nil]]") TXN("0", "[[:append 1 1]]"), VERDICT_VACUOUS, ""},
    {BEGIN("0", "[[:r 1 nil]]"), VERDICT_VACUOUS, ""},
    {"", VERDICT_VACUOUS, ""},
    /* Not a history. */
    {BEGIN("0", "[[:r 1 nil]]") BEGIN("0", "[[:r 1 nil]]"), VERDICT_MALFORMED, "double-invoke"},
    {DONE("0", "[[:r 1 nil]]"), VERDICT_MALFORMED, "no-invocation"},
    {BEGIN("0", "[[:r 1 nil]]") LINE("ok", "0", "add", "1"), VERDICT_MALFORMED, "other-function"},
};

START_TEST(test_list_append)
{
    EXPECT_ALL("list-append", list_append_cases);
}
END_TEST

#define READ(value) LINE("invoke", "1", "read", "nil") LINE("ok", "1", "read", value)
#define TRANSFER                                                                                   \
    LINE("invoke", "0", "transfer", "{:from 0, :to 1, :amount 5}")                                 \
    LINE("ok", "0", "transfer", "{:from 0, :to 1, :amount 5}")

START_TEST(test_bank)
{
    static const struct golden cases[] = {
        {READ("{0 100, 1 0}") TRANSFER READ("{1 5, 0 95}"), VERDICT_VALID, ""},
        {TRANSFER READ("{0 95, 1 6}"), VERDICT_INVALID, "wrong-total"},
        {TRANSFER READ("{0 -5, 1 105}"), VERDICT_INVALID, "negative-value"},
        {TRANSFER READ("{0 95, 1 5}") READ("{0 100}"), VERDICT_INVALID, "wrong-accounts"},
        {TRANSFER READ("{0 95, 1 5}") READ("{0 95, 2 5}"), VERDICT_INVALID, "wrong-accounts"},
        {TRANSFER READ("{0 50, 0 50}"), VERDICT_INVALID, "wrong-accounts"},
        {TRANSFER READ("[95 5]"), VERDICT_MALFORMED, "value"},
        {TRANSFER, VERDICT_VACUOUS, ""},
        {READ("{0 100}"), VERDICT_VACUOUS, ""},
    };
    EXPECT_ALL("bank", cases);
}
END_TEST

#define ADD(n)      LINE("invoke", "0", "add", n) LINE("ok", "0", "add", n)
#define TRY_ADD(n)  LINE("invoke", "0", "add", n) LINE("info", "0", "add", n)
#define FAIL_ADD(n) LINE("invoke", "0", "add", n) LINE("fail", "0", "add", n)

START_TEST(test_set_full)
{
    static const struct golden cases[] = {
        {ADD("1") READ("[1]") ADD("2") READ("[2 1]"), VERDICT_VALID, ""},
        {TRY_ADD("3") ADD("1") READ("[1]") READ("[1 3]"), VERDICT_VALID, ""},
        {LINE("invoke", "1", "read", "nil") ADD("1") LINE("ok", "1", "read", "[]") READ("[1]"),
         VERDICT_VALID, ""},
        {ADD("1") READ("[]"), VERDICT_INVALID, "lost"},
        {TRY_ADD("3") ADD("1") READ("[1 3]") READ("[1]"), VERDICT_INVALID, "lost"},
        {ADD("1") READ("[1 2]") ADD("2"), VERDICT_INVALID, "unexpected"},
        {FAIL_ADD("2") ADD("1") READ("[1 2]"), VERDICT_INVALID, "failed-add"},
        {ADD("1") READ("[1 1]"), VERDICT_INVALID, "duplicated"},
        {ADD("1") ADD("1"), VERDICT_MALFORMED, "duplicate-adds"},
        {ADD("1") READ("nil"), VERDICT_MALFORMED, "value"},
        {ADD("1"), VERDICT_VACUOUS, ""},
        {READ("[]"), VERDICT_VACUOUS, ""},
        {ADD("1") READ("[1]") ADD("2"), VERDICT_VACUOUS, ""},
    };
    EXPECT_ALL("set-full", cases);
}
END_TEST

#define WRITE(n) LINE("invoke", "0", "write", n) LINE("ok", "0", "write", n)
#define CAS(two) LINE("invoke", "0", "cas", two) LINE("ok", "0", "cas", two)

START_TEST(test_register)
{
    static const struct golden cases[] = {
        {READ("nil") WRITE("3") CAS("[3 4]") READ("4"), VERDICT_VALID, ""},
        {WRITE("3") CAS("[2 4]") READ("4"), VERDICT_INVALID, "nonlinearizable"},
        {WRITE("3") WRITE("4") READ("3"), VERDICT_INVALID, "nonlinearizable"},
        {WRITE("3") LINE("invoke", "2", "write", "4") READ("3") READ("4"), VERDICT_VALID, ""},
        {WRITE("3") LINE("invoke", "2", "write", "4") READ("4") READ("3"), VERDICT_INVALID,
         "nonlinearizable"},
        {WRITE("3") LINE("invoke", "2", "write", "4") LINE("info", "2", "write", "4")
             LINE("invoke", "3", "write", "3") READ("4") READ("3"),
         VERDICT_VALID, ""},
        {WRITE("3") LINE("invoke", "2", "write", "4") LINE("fail", "2", "write", "4") READ("4"),
         VERDICT_INVALID, "nonlinearizable"},
        {TXN("0", "[[:w 1 1]]") TXN("0", "[[:w 2 2]]") TXN("1", "[[:r 1 1]]")
             TXN("1", "[[:r 2 2]]"),
         VERDICT_VALID, ""},
        {TXN("0", "[[:w 1 1]]") TXN("0", "[[:w 2 2]]") TXN("1", "[[:r 1 2]]"), VERDICT_INVALID,
         "nonlinearizable"},
        {TXN("0", "[[:w 1 1] [:w 2 2]]"), VERDICT_MALFORMED, "mop"},
        {WRITE("3"), VERDICT_VACUOUS, ""},
        {"", VERDICT_VACUOUS, ""},
    };
    EXPECT_ALL("register", cases);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_list_append);
    tcase_add_test(tests, test_bank);
    tcase_add_test(tests, test_set_full);
    tcase_add_test(tests, test_register);
}
