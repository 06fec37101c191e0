/* SPDX-License-Identifier: Apache-2.0 */
/* Puts at a steady rate through libstrait until SIGTERM: faults of a region are measured with it.
 *
 * paced RATE LOG
 *
 * The put of number N writes the record N (12 digits) of the table `paced`. The log has a line for
 * each answer, as soon as it came; times are those of CLOCK_MONOTONIC:
 *   done N ANSWERED_NS SENT_NS
 *   failed N ANSWERED_NS SENT_NS STATUS TEXT
 * Numbers begin with 0 and are sent in order; none is sent twice but by the library itself. After
 * the signal it waits for what is under way. Exit status 0 when all that was sent has an answer. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/strait.h"

enum {
    slots_count = 8192, /* at 1,000 a second, what a pause of eight seconds leaves unanswered */
    value_size = 256,
    timeout_ms = 20000,
    wait_ms = 1,
};

struct slot {
    strait_txn *txn;
    struct slot *next_free;
    uint64_t number;
    uint64_t sent_ns;
};

static strait *handle;
static struct slot slots[slots_count];
static struct slot *first_free;
static uint64_t busy_count;
static FILE *answers;
static volatile sig_atomic_t is_stopping;

static void fail(const char *what)
{
    fprintf(stderr, "paced: %s\n", what);
    exit(1);
}

static void on_signal(int number)
{
    (void)number;
    is_stopping = 1;
}

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void on_done(void *context, const struct strait_completion *completion)
{
    struct slot *slot = context;
    int written;
    if (completion->status == STRAIT_OK)
        written = fprintf(answers, "done %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", slot->number,
                          now_ns(), slot->sent_ns);
    else
        written =
            fprintf(answers, "failed %" PRIu64 " %" PRIu64 " %" PRIu64 " %s %s\n", slot->number,
                    now_ns(), slot->sent_ns, strait_status_name(completion->status),
                    strait_error_text(completion->error));
    if (written < 0)
        fail("the log cannot be written");
    slot->next_free = first_free;
    first_free = slot;
    busy_count--;
}

/* False where the library takes no more at this time: the same number is sent later. */
static bool send_one(uint64_t number)
{
    char key[24];
    char value[value_size];
    struct slot *slot = first_free;

    if (slot == NULL)
        return false;
    snprintf(key, sizeof key, "%012" PRIu64, number);
    memset(value, (int)('a' + number % 26), sizeof value);
    strait_txn_clear(slot->txn);
    slot->number = number;
    slot->sent_ns = now_ns();
    if (strait_txn_put(slot->txn, "paced", strait_text(key), strait_bytes(value, sizeof value),
                       NULL) != STRAIT_OK)
        fail("a put is refused");
    enum strait_status status = strait_commit_async(handle, slot->txn, timeout_ms, on_done, slot);
    if (status == STRAIT_BUSY)
        return false;
    if (status != STRAIT_OK)
        fail(strait_status_name(status));
    first_free = slot->next_free;
    busy_count++;
    return true;
}

static void open_all(const char *log)
{
    struct strait_error error;
    const struct sigaction action = {.sa_handler = on_signal};
    strait_options *options = strait_options_new();

    if (options == NULL || strait_options_load_default(options, &error) != STRAIT_OK ||
        strait_open(options, &handle, &error) != STRAIT_OK)
        fail(options == NULL ? "no memory" : strait_error_text(&error));
    strait_options_free(options);
    /* A line is there as soon as it is written: who started this reads along. */
    answers = fopen(log, "w");
    if (answers == NULL || setvbuf(answers, NULL, _IOLBF, BUFSIZ) != 0 ||
        sigaction(SIGTERM, &action, NULL) != 0)
        fail("the log cannot be opened");
    for (size_t i = 0; i < slots_count; i++) {
        slots[i].txn = strait_txn_new();
        if (slots[i].txn == NULL)
            fail("no memory");
        slots[i].next_free = first_free;
        first_free = &slots[i];
    }
}

int main(int count, char **values)
{
    uint64_t rate = count == 3 ? strtoull(values[1], NULL, 10) : 0;
    if (rate == 0)
        fail("usage: paced RATE LOG");
    open_all(values[2]);
    uint64_t begun_ns = now_ns();
    uint64_t sent_count = 0;
    while (!is_stopping) {
        /* By the schedule and not by the answers: a pause is made up for. */
        uint64_t due_count = (now_ns() - begun_ns) * rate / 1000000000;
        while (sent_count < due_count && send_one(sent_count))
            sent_count++;
        strait_dispatch(handle, wait_ms);
    }
    while (busy_count != 0)
        strait_dispatch(handle, wait_ms);
    for (size_t i = 0; i < slots_count; i++)
        strait_txn_free(slots[i].txn);
    strait_close(handle);
    if (fclose(answers) != 0)
        fail("the log cannot be written");
    return 0;
}
