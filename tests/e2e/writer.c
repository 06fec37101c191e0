/* SPDX-License-Identifier: Apache-2.0 */
/* A load for the tests that kill the server: keeps many transactions under way and writes down, a
 * line each and before the next step, what was sent and what came of it, so that a checker can tell
 * what must be there, what may be, and what must not.
 *
 *     writer SEED SECONDS DEPTH LOG [REMOTE]
 *
 * The server is that of STRAIT_PROFILE. It ends after so many seconds, or when SIGTERM comes. With
 * REMOTE one commit in so many asks for a standby region's confirmation.
 *
 * Lines of LOG, words parted by a blank; N counts the transactions:
 *
 *     sent N put KEY SEED SIZE
 *         a record of the table puts; its value is its key, then bytes drawn from SEED: see fill()
 *     sent N add COUNTER AMOUNT
 *         to a record of the table counters
 *     sent N pair KEY
 *         KEY in the table puts and KEY in the table twins, or neither
 *     sent N slot SLOT SEQUENCE
 *         overwrites a record of the table slots
 *     sent N claim KEY NAME
 *         a record of claims with NAME in its unique index
 *     sent N never KEY
 *         a put under a condition that does not hold
 *     done N TOKEN
 *     done N TOKEN confirmed
 *         a standby region has it too
 *     refused N STATUS TOKEN
 *         without a token: it was never sent
 *     unknown N TOKEN
 *
 * Exit status 0 when all that was sent has an answer. */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/strait.h"

enum {
    depth_max = 512,
    value_size_max = 16 * 1024,
    counters_count = 4,
    claims_count = 200,
    short_timeout_ms = 150, /* of one in four: so that some outcomes are unknown */
    long_timeout_ms = 20000,
    busy_wait_ms = 5,
    confirm_ms = 1000,
};

struct slot {
    strait_txn *txn;
    uint64_t number;
    uint64_t sequence; /* of the record that this one overwrites */
    uint64_t name;     /* of that record: another one after an unknown outcome */
    bool is_overwrite;
    bool is_busy;
};

static strait *handle;
static struct slot slots[depth_max];
static uint64_t generator;
static uint64_t run_seed;
static uint64_t sent_count;
static size_t busy_count;
static uint64_t remote_in; /* 0: none */
static int log_fd = -1;
static volatile sig_atomic_t is_stopping;

static void fail(const char *what)
{
    fprintf(stderr, "writer: %s\n", what);
    exit(1);
}

static void on_signal(int number)
{
    (void)number;
    is_stopping = 1;
}

static uint64_t draw(uint64_t *state)
{
    uint64_t value = *state += 0x9e3779b97f4a7c15ULL;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31);
}

/* One write() a line: it is there even where this process is killed next. */
static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (size <= 0 || (size_t)size >= sizeof line || write(log_fd, line, (size_t)size) != size)
        fail("the log cannot be written");
}

static double now_s(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void check(enum strait_status status, const char *what)
{
    if (status != STRAIT_OK) {
        fprintf(stderr, "writer: %s: %s\n", what, strait_status_name(status));
        exit(1);
    }
}

/* ---- What is sent ---- */

/* The key, then letters: the checker makes the same from the line in the log. */
static size_t fill(char *value, const char *key, uint64_t seed, size_t size)
{
    size_t used = strlen(key);
    memcpy(value, key, used);
    for (; used < size; used++)
        value[used] = (char)('a' + draw(&seed) % 26);
    return used;
}

static void add_put(struct slot *slot)
{
    static char value[value_size_max];
    char key[64];
    uint64_t seed = draw(&generator) >> 1;
    size_t size = draw(&generator) % 16 == 0 ? 1000 + draw(&generator) % (value_size_max - 1000)
                                             : 40 + draw(&generator) % 400;
    snprintf(key, sizeof key, "put-%" PRIu64 "-%" PRIu64, run_seed, slot->number);
    size = fill(value, key, seed, size);
    note("sent %" PRIu64 " put %s %" PRIu64 " %zu\n", slot->number, key, seed, size);
    check(strait_txn_put(slot->txn, "puts", strait_text(key), strait_bytes(value, size), NULL),
          "put");
}

static void add_add(struct slot *slot)
{
    char key[64];
    int64_t amount = (int64_t)(1 + draw(&generator) % 100);
    snprintf(key, sizeof key, "counter-%" PRIu64, draw(&generator) % counters_count);
    note("sent %" PRIu64 " add %s %" PRId64 "\n", slot->number, key, amount);
    check(strait_txn_add(slot->txn, "counters", strait_text(key), amount, NULL), "add");
}

static void add_pair(struct slot *slot)
{
    char key[64];
    snprintf(key, sizeof key, "pair-%" PRIu64 "-%" PRIu64, run_seed, slot->number);
    note("sent %" PRIu64 " pair %s\n", slot->number, key);
    check(strait_txn_put(slot->txn, "puts", strait_text(key), strait_text(key), NULL), "put");
    check(strait_txn_put(slot->txn, "twins", strait_text(key), strait_text(key), NULL), "put");
}

static void add_overwrite(struct slot *slot)
{
    char key[64];
    char value[32];
    slot->is_overwrite = true;
    if (slot->sequence++ == 0)
        slot->name = slot->number;
    snprintf(key, sizeof key, "slot-%" PRIu64 "-%" PRIu64, run_seed, slot->name);
    snprintf(value, sizeof value, "%" PRIu64, slot->sequence);
    note("sent %" PRIu64 " slot %s %s\n", slot->number, key, value);
    check(strait_txn_put(slot->txn, "slots", strait_text(key), strait_text(value), NULL), "put");
}

/* Many claim the same name; the first one has it. */
static void add_claim(struct slot *slot)
{
    char key[64];
    char name[64];
    snprintf(key, sizeof key, "claim-%" PRIu64 "-%" PRIu64, run_seed, slot->number);
    snprintf(name, sizeof name, "name-%" PRIu64 "-%" PRIu64, run_seed,
             draw(&generator) % claims_count);
    const struct strait_index_entry entry = {.index = "by_name", .key = strait_text(name)};
    const struct strait_put_options options = {.indexes = &entry, .indexes_count = 1};
    note("sent %" PRIu64 " claim %s %s\n", slot->number, key, name);
    check(strait_txn_put(slot->txn, "claims", strait_text(key), strait_text(name), &options),
          "put");
}

static void add_never(struct slot *slot)
{
    char key[64];
    snprintf(key, sizeof key, "never-%" PRIu64 "-%" PRIu64, run_seed, slot->number);
    note("sent %" PRIu64 " never %s\n", slot->number, key);
    check(strait_txn_put(slot->txn, "puts", strait_text(key), strait_text(key), NULL), "put");
    check(strait_txn_add(slot->txn, "counters", strait_text("counter-0"), 1000000, NULL), "add");
    check(strait_txn_require_exists(slot->txn, "slots", strait_text("no such record")), "require");
}

/* ---- Sending and what comes back ---- */

static void on_done(void *context, const struct strait_completion *completion)
{
    struct slot *slot = context;
    char token[STRAIT_TXN_TOKEN_SIZE];
    strait_txn_token(slot->txn, token);
    if (completion->status == STRAIT_OK) {
        note("done %" PRIu64 " %s%s\n", slot->number, token,
             completion->commit->confirmed ? " confirmed" : "");
    } else if (completion->status == STRAIT_OUTCOME_UNKNOWN) {
        note("unknown %" PRIu64 " %s\n", slot->number, token);
        /* It may yet run: nothing else may be written where it writes. */
        if (slot->is_overwrite)
            slot->sequence = 0;
    } else {
        note("refused %" PRIu64 " %s %s\n", slot->number, strait_status_name(completion->status),
             token);
    }
    slot->is_busy = false;
    busy_count--;
}

static void send_one(struct slot *slot)
{
    uint64_t choice = draw(&generator) % 16;
    uint32_t timeout_ms = draw(&generator) % 4 == 0 ? short_timeout_ms : long_timeout_ms;
    enum strait_status status;

    strait_txn_clear(slot->txn);
    slot->number = sent_count++;
    slot->is_overwrite = false;
    if (choice < 7)
        add_put(slot);
    else if (choice < 10)
        add_add(slot);
    else if (choice < 12)
        add_pair(slot);
    else if (choice < 14)
        add_overwrite(slot);
    else if (choice < 15)
        add_claim(slot);
    else
        add_never(slot);
    if (remote_in != 0 && slot->number % remote_in == 0)
        check(strait_txn_set_remote(slot->txn, NULL, confirm_ms), "remote");
    while ((status = strait_commit_async(handle, slot->txn, timeout_ms, on_done, slot)) ==
           STRAIT_BUSY)
        strait_dispatch(handle, busy_wait_ms);
    check(status, "commit");
    slot->is_busy = true;
    busy_count++;
}

static void connect_to_server(void)
{
    struct strait_error error;
    strait_options *options = strait_options_new();
    if (options == NULL || strait_options_load_default(options, &error) != STRAIT_OK ||
        strait_open(options, &handle, &error) != STRAIT_OK)
        fail(options == NULL ? "no memory" : strait_error_text(&error));
    strait_options_free(options);
}

static void run_until(double until, size_t depth)
{
    while ((now_s() < until && !is_stopping) || busy_count != 0) {
        for (size_t i = 0; i < depth && now_s() < until && !is_stopping; i++) {
            if (!slots[i].is_busy)
                send_one(&slots[i]);
        }
        strait_dispatch(handle, 100);
    }
}

int main(int count, char **values)
{
    const struct sigaction action = {.sa_handler = on_signal};
    if (count != 5 && count != 6)
        fail("usage: writer SEED SECONDS DEPTH LOG [REMOTE]");
    run_seed = strtoull(values[1], NULL, 10);
    generator = run_seed;
    double until = now_s() + strtod(values[2], NULL);
    size_t depth = strtoul(values[3], NULL, 10);
    log_fd = open(values[4], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (depth == 0 || depth > depth_max || log_fd < 0)
        fail("a depth from 1 to 512 and a log that can be written are needed");
    if (count == 6)
        remote_in = strtoull(values[5], NULL, 10);
    if (sigaction(SIGTERM, &action, NULL) != 0)
        fail("no handler of SIGTERM");
    connect_to_server();
    for (size_t i = 0; i < depth; i++) {
        slots[i].txn = strait_txn_new();
        if (slots[i].txn == NULL)
            fail("no memory");
    }
    run_until(until, depth);
    for (size_t i = 0; i < depth; i++)
        strait_txn_free(slots[i].txn);
    strait_close(handle);
    close(log_fd);
    return 0;
}
