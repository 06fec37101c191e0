/* SPDX-License-Identifier: Apache-2.0 */
/* Random histories of a store that executes transactions one at a time are valid, and each of them
 * with one acknowledged read or write tampered with is not. */
#include <stdlib.h>

#include "jepsen/check/list_append.h"
#include "proto/base/generator.h"
#include "tests/unit/unit.h"

enum { processes_count = 5, keys_count = 3, txns_count = 60, list_max = 512, seeds_count = 300 };

struct store {
    int64_t lists[keys_count][list_max];
    uint32_t counts[keys_count];
    int64_t next;
};

/* What a process has under way; executed somewhere between its begin and its end. */
struct client {
    struct history_mop mops[3];
    uint32_t count;
    bool begun;
    bool executed;
};

static void plan(struct generator *generator, struct store *store, struct history *history,
                 struct client *client)
{
    client->count = (uint32_t)generator_between(generator, 1, 3);
    for (uint32_t i = 0; i < client->count; i++) {
        struct history_mop *mop = &client->mops[i];
        int64_t *number = history_numbers(history, 1);
        *number = ++store->next;
        *mop = (struct history_mop){.is_nil = true};
        mop->key = history_key_of_number(history, (int64_t)generator_below(generator, keys_count));
        if (generator_chance(generator, 1, 2))
            *mop = (struct history_mop){
                .kind = HISTORY_MOP_APPEND, .key = mop->key, .count = 1, .numbers = number};
    }
}

static uint32_t list_of(const struct history *history, uint32_t key)
{
    return (uint32_t)(history->keys[key].data[0] - '0');
}

static void execute(struct store *store, struct history *history, struct client *client)
{
    for (uint32_t i = 0; i < client->count; i++) {
        struct history_mop *mop = &client->mops[i];
        uint32_t list = list_of(history, mop->key);
        if (mop->kind == HISTORY_MOP_APPEND) {
            store->lists[list][store->counts[list]++] = mop->numbers[0];
            continue;
        }
        int64_t *numbers = history_numbers(history, store->counts[list]);
        memcpy(numbers, store->lists[list], store->counts[list] * sizeof *numbers);
        mop->is_nil = store->counts[list] == 0;
        mop->count = store->counts[list];
        mop->numbers = numbers;
    }
    client->executed = true;
}

static void note(struct history *history, enum history_type type, int64_t process,
                 const struct client *client)
{
    struct history_mop *mops = history_mops(history, client->count);
    memcpy(mops, client->mops, client->count * sizeof *mops);
    struct history_entry *entry = history_add(history, type, HISTORY_TXN, process);
    entry->shape = HISTORY_MOPS;
    entry->count = client->count;
    entry->mops = mops;
}

static void read_all(struct store *store, struct history *history)
{
    struct client client = {.count = keys_count};
    for (uint32_t i = 0; i < keys_count; i++)
        client.mops[i] =
            (struct history_mop){.key = history_key_of_number(history, i), .is_nil = true};
    note(history, HISTORY_INVOKE, processes_count, &client);
    execute(store, history, &client);
    note(history, HISTORY_OK, processes_count, &client);
}

/* Some operations never end, whether or not they were executed. */
static void generate(uint64_t seed, struct history *history)
{
    struct generator generator;
    struct store store = {0};
    struct client clients[processes_count] = {0};
    int64_t processes[processes_count];
    int64_t next_process = processes_count + 1;

    generator_init(&generator, seed);
    history_init(history);
    for (int64_t i = 0; i < processes_count; i++)
        processes[i] = i;
    for (uint32_t done = 0; done < txns_count;) {
        uint64_t at = generator_below(&generator, processes_count);
        struct client *client = &clients[at];
        if (!client->begun) {
            plan(&generator, &store, history, client);
            note(history, HISTORY_INVOKE, processes[at], client);
            client->begun = true;
        } else if (generator_chance(&generator, 1, 20)) {
            processes[at] = next_process++;
            *client = (struct client){0};
        } else if (!client->executed) {
            execute(&store, history, client);
        } else {
            note(history, HISTORY_OK, processes[at], client);
            *client = (struct client){0};
            done++;
        }
    }
    read_all(&store, history);
}

/* A read that loses its last number, or gains one that is out of order, or is emptied. */
static bool tamper(struct generator *generator, struct history *history)
{
    uint32_t at = (uint32_t)generator_below(generator, history->count);
    struct history_entry *entry = &history->entries[at];
    if (entry->type != HISTORY_OK)
        return false;
    struct history_mop *mops = history_mops(history, entry->count);
    memcpy(mops, entry->mops, entry->count * sizeof *mops);
    struct history_mop *mop = &mops[generator_below(generator, entry->count)];
    if (mop->kind != HISTORY_MOP_READ || mop->count < 2)
        return false;
    int64_t *numbers = history_numbers(history, mop->count);
    memcpy(numbers, mop->numbers, mop->count * sizeof *numbers);
    switch (generator_below(generator, 3)) {
    case 0: /* the first is lost */
        memmove(numbers, numbers + 1, (mop->count - 1) * sizeof *numbers);
        mop->count--;
        break;
    case 1: /* two change places */
        numbers[0] = mop->numbers[1];
        numbers[1] = mop->numbers[0];
        break;
    default: /* one is there twice */
        numbers[mop->count - 1] = numbers[0];
    }
    mop->numbers = numbers;
    entry->mops = mops;
    return true;
}

START_TEST(test_what_a_serial_store_does_is_valid)
{
    for (uint64_t seed = 0; seed < seeds_count; seed++) {
        struct history history;
        struct verdict verdict;
        generate(seed, &history);
        list_append_check(&history, &verdict);
        ck_assert_msg(verdict.kind == VERDICT_VALID, "seed %lu: %s", (unsigned long)seed,
                      verdict.text);
        ck_assert_uint_gt(verdict.operations_count, txns_count);
        history_free(&history);
    }
}
END_TEST

START_TEST(test_a_tampered_read_is_found)
{
    unsigned tampered = 0;
    for (uint64_t seed = 0; seed < seeds_count; seed++) {
        struct history history;
        struct verdict verdict;
        struct generator generator;
        generator_init(&generator, ~seed);
        generate(seed, &history);
        while (!tamper(&generator, &history))
            ;
        list_append_check(&history, &verdict);
        ck_assert_msg(verdict.kind == VERDICT_INVALID, "seed %lu: %s", (unsigned long)seed,
                      verdict_name(verdict.kind));
        tampered++;
        history_free(&history);
    }
    ck_assert_uint_eq(tampered, seeds_count);
}
END_TEST

/* Reads as of one write ago, after that write was acknowledged. */
START_TEST(test_a_stale_final_read_is_found)
{
    for (uint64_t seed = 0; seed < seeds_count; seed++) {
        struct history history;
        struct verdict verdict;
        generate(seed, &history);
        struct history_entry *last = &history.entries[history.count - 1];
        struct history_mop *mops = history_mops(&history, last->count);
        memcpy(mops, last->mops, last->count * sizeof *mops);
        uint32_t longest = 0;
        for (uint32_t i = 1; i < last->count; i++)
            if (mops[i].count > mops[longest].count)
                longest = i;
        mops[longest].count /= 2;
        last->mops = mops;
        list_append_check(&history, &verdict);
        ck_assert_msg(verdict.kind == VERDICT_INVALID, "seed %lu: %s", (unsigned long)seed,
                      verdict_name(verdict.kind));
        history_free(&history);
    }
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_what_a_serial_store_does_is_valid);
    tcase_add_test(tests, test_a_tampered_read_is_found);
    tcase_add_test(tests, test_a_stale_final_read_is_found);
}
