/* SPDX-License-Identifier: Apache-2.0 */
#include "jepsen/check/bank.h"

#include <inttypes.h>
#include <stdlib.h>

#include "jepsen/check/array.h"

struct checker {
    const struct history *history;
    const struct bank_options *options;
    struct verdict *verdict;
    bool *is_account; /* of the first read */
    uint32_t accounts_count;
    uint32_t *seen; /* keys: the last read that had them */
    uint32_t reads_count;
    uint64_t transfers_count;
};

static void check_accounts(struct checker *checker, const struct history_entry *read)
{
    if (checker->reads_count == 1) {
        checker->accounts_count = read->count / 2;
        for (uint32_t i = 0; i < read->count; i += 2)
            checker->is_account[read->numbers[i]] = true;
    }
    bool fits = checker->accounts_count == read->count / 2;
    for (uint32_t i = 0; i < read->count; i += 2) {
        uint32_t account = (uint32_t)read->numbers[i];
        fits =
            fits && checker->is_account[account] && checker->seen[account] != checker->reads_count;
        checker->seen[account] = checker->reads_count;
    }
    if (!fits)
        verdict_set(checker->verdict, VERDICT_INVALID, "wrong-accounts",
                    "Line %u: a read has other accounts than the first one.", read->line);
}

static void check_read(struct checker *checker, const struct history_entry *read)
{
    int64_t total = 0;
    if (read->shape != HISTORY_PAIRS) {
        verdict_set(checker->verdict, VERDICT_MALFORMED, "value",
                    "Line %u: a read of accounts is a map.", read->line);
        return;
    }
    checker->reads_count++;
    check_accounts(checker, read);
    for (uint32_t i = 0; i < read->count; i += 2) {
        if (read->numbers[i + 1] < 0 && !checker->options->may_be_negative)
            verdict_set(checker->verdict, VERDICT_INVALID, "negative-value",
                        "Line %u: an account has %" PRId64 ".", read->line, read->numbers[i + 1]);
        if (__builtin_add_overflow(total, read->numbers[i + 1], &total))
            verdict_set(checker->verdict, VERDICT_INVALID, "wrong-total",
                        "Line %u: the total is out of all bounds.", read->line);
    }
    if (total != checker->options->total)
        verdict_set(checker->verdict, VERDICT_INVALID, "wrong-total",
                    "Line %u: the total is %" PRId64 " and not %" PRId64 ".", read->line, total,
                    checker->options->total);
}

void bank_check(struct history *history, const struct bank_options *options,
                struct verdict *verdict)
{
    struct checker checker = {.history = history, .options = options, .verdict = verdict};

    *verdict = (struct verdict){0};
    if (history_pair(history, verdict) != STATUS_OK)
        return;
    checker.is_account = array_create(history->keys_count, sizeof *checker.is_account);
    checker.seen = array_create(history->keys_count, sizeof *checker.seen);
    for (uint32_t i = 0; i < history->count && verdict->kind == VERDICT_VALID; i++) {
        const struct history_entry *entry = &history->entries[i];
        if (entry->type == HISTORY_OK && entry->function == HISTORY_READ)
            check_read(&checker, entry);
        if (entry->type == HISTORY_OK && entry->function == HISTORY_TRANSFER)
            checker.transfers_count++;
    }
    verdict->reads_count = checker.reads_count;
    verdict->operations_count = checker.transfers_count + checker.reads_count;
    if (checker.reads_count == 0)
        verdict_set(verdict, VERDICT_VACUOUS, NULL, "No read of the accounts succeeded.");
    if (checker.transfers_count == 0)
        verdict_set(verdict, VERDICT_VACUOUS, NULL, "No transfer succeeded.");
    free(checker.is_account);
    free(checker.seen);
}
