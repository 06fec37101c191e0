/* SPDX-License-Identifier: Apache-2.0 */
/* `strait bench`: drives a server, and prints what came of it.
 *
 * The connections are spread over threads. Where each has a thread to itself and carries one
 * request at a time, the thread makes synchronous calls; otherwise each thread drives its
 * connections from one epoll loop, with asynchronous calls. Latency is from before the call to
 * after its completion. The time begins when all connections are made, to the member that leads;
 * its first second is not counted.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/workload.h"
#include "proto/base/histogram.h"
#include "proto/limits.h"

enum {
    clients_max = 4096,
    depth_max = 256,
    seconds_max = 86400,
    keys_max = 1000000000,
    warm_ns = 1000000000,
    slots_max = 1024,
    lone_threads_max = 4, /* up to so many connections have a thread each, unless told otherwise */
    events_max = 64
};

struct bench {
    struct cli *cli;
    struct workload workload;
    const char *workload_name;
    uint64_t clients;
    uint64_t connections;
    uint64_t threads;
    uint64_t depth;
    uint64_t seconds;
    uint64_t seed;
    bool is_synchronous;
    struct driver *drivers;
    struct worker *workers;
    uint64_t counted_from_ns;
    uint64_t end_ns;
    /* Workers wait here with their connections made until the time begins. */
    pthread_mutex_t gate_lock;
    pthread_cond_t gate_changed;
    uint64_t connected_count; /* workers */
    bool is_open;
};

/* One thread and its connections: those whose number, modulo the threads', is its own. */
struct worker {
    struct bench *bench;
    pthread_t thread;
    uint64_t number;
    uint64_t inflight_count;
};

/* One connection and what goes over it. */
struct driver {
    struct bench *bench;
    struct worker *worker;
    strait *handle;
    struct generator generator;
    struct histogram latencies; /* nanoseconds */
    uint64_t errors_count;
    struct strait_error first_error;
    bool is_connected;
    uint64_t slots_count;
    struct slot {
        struct driver *driver;
        struct operation operation;
        uint64_t begun_ns;
    } * slots;
};

/* Readings before and after. */
struct reading {
    uint64_t time_ns;
    uint64_t client_cpu_us;
    uint64_t server_cpu_us;
    uint64_t wal_flushes;
    uint64_t wal_written;
    uint64_t compactions;
};

static uint64_t now_ns(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- The gate ---- */

static void gate_pass(struct bench *bench)
{
    pthread_mutex_lock(&bench->gate_lock);
    bench->connected_count++;
    pthread_cond_broadcast(&bench->gate_changed);
    while (!bench->is_open)
        pthread_cond_wait(&bench->gate_changed, &bench->gate_lock);
    pthread_mutex_unlock(&bench->gate_lock);
}

static void gate_await(struct bench *bench, uint64_t workers_count)
{
    pthread_mutex_lock(&bench->gate_lock);
    while (bench->connected_count < workers_count)
        pthread_cond_wait(&bench->gate_changed, &bench->gate_lock);
    pthread_mutex_unlock(&bench->gate_lock);
}

static void gate_open(struct bench *bench)
{
    pthread_mutex_lock(&bench->gate_lock);
    bench->is_open = true;
    pthread_cond_broadcast(&bench->gate_changed);
    pthread_mutex_unlock(&bench->gate_lock);
}

/* ---- Driving ---- */

static void count(struct driver *driver, uint64_t begun_ns, enum strait_status status,
                  const struct strait_error *error)
{
    uint64_t now = now_ns();
    if (status != STRAIT_OK) {
        if (driver->errors_count++ == 0)
            driver->first_error = *error;
        return;
    }
    if (begun_ns >= driver->bench->counted_from_ns)
        histogram_add(&driver->latencies, now - begun_ns);
}

static void drive_synchronous(struct driver *driver)
{
    const struct bench *bench = driver->bench;
    struct operation *operation = &driver->slots[0].operation;
    const struct strait_scan_options scan = {.page_records = workload_scan_records};

    while (driver->errors_count < 100) {
        struct strait_error error = {0};
        struct strait_records *records = NULL;
        enum strait_status status;
        workload_next(&bench->workload, &driver->generator, operation);
        const struct strait_range range = {.table = "bench", .start = operation->key.key};
        uint64_t begun = now_ns();
        if (begun >= bench->end_ns)
            return;
        if (operation->is_commit)
            status = strait_commit(driver->handle, operation->txn, 0, NULL, &error);
        else if (operation->is_scan)
            status = strait_page(driver->handle, &range, &scan, strait_bytes(NULL, 0), 0, &records,
                                 &error);
        else
            status = strait_get_many(driver->handle, NULL, &operation->key, 1, 0, &records, &error);
        strait_free(records);
        count(driver, begun, status, &error);
    }
}

static void begin_next(struct slot *slot);

static void on_done(void *context, const struct strait_completion *completion)
{
    struct slot *slot = context;
    strait_free(completion->records);
    slot->driver->worker->inflight_count--;
    count(slot->driver, slot->begun_ns, completion->status, completion->error);
    begin_next(slot);
}

static void begin_next(struct slot *slot)
{
    struct driver *driver = slot->driver;
    struct operation *operation = &slot->operation;
    const struct strait_scan_options scan = {.page_records = workload_scan_records};
    enum strait_status status;

    workload_next(&driver->bench->workload, &driver->generator, operation);
    const struct strait_range range = {.table = "bench", .start = operation->key.key};
    slot->begun_ns = now_ns();
    if (slot->begun_ns >= driver->bench->end_ns || driver->errors_count >= 100)
        return;
    if (operation->is_commit)
        status = strait_commit_async(driver->handle, operation->txn, 0, on_done, slot);
    else if (operation->is_scan)
        status = strait_page_async(driver->handle, &range, &scan, strait_bytes(NULL, 0), 0, on_done,
                                   slot);
    else
        status = strait_get_async(driver->handle, NULL, &operation->key, 1, 0, on_done, slot);
    if (status == STRAIT_OK) {
        driver->worker->inflight_count++;
        return;
    }
    const struct strait_error error = {.status = status};
    count(driver, slot->begun_ns, status, &error);
}

static void on_connected(void *context, const struct strait_completion *completion)
{
    struct driver *driver = context;
    strait_free(completion->records);
    driver->worker->inflight_count--;
    driver->is_connected = completion->status == STRAIT_OK;
    if (!driver->is_connected)
        count(driver, 0, completion->status, completion->error);
}

/* A linearizable read, whose answer comes over a connection to the leader and no other. */
static const struct strait_key first_read = {.table = "bench", .key = {"none", 4}};

static void connect_driver(struct driver *driver, int set)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = driver};
    enum strait_status status = STRAIT_NO_MEMORY;

    if (epoll_ctl(set, EPOLL_CTL_ADD, strait_poll_fd(driver->handle), &event) == 0)
        status = strait_get_async(driver->handle, NULL, &first_read, 1, 0, on_connected, driver);
    if (status == STRAIT_OK) {
        driver->worker->inflight_count++;
        strait_dispatch(driver->handle, 0);
    } else {
        const struct strait_error error = {.status = status};
        count(driver, 0, status, &error);
    }
}

/* Until everything under way has its answer. */
static void dispatch_all(const struct worker *worker, int set)
{
    struct epoll_event events[events_max];

    while (worker->inflight_count != 0) {
        /* Less than 0 where a signal came. */
        int ready_count = epoll_wait(set, events, events_max, -1);
        for (int i = 0; i < ready_count; i++)
            strait_dispatch(((struct driver *)events[i].data.ptr)->handle, 0);
    }
}

static void drive_loop(struct worker *worker, int set)
{
    struct bench *bench = worker->bench;

    for (uint64_t i = worker->number; i < bench->connections; i += bench->threads)
        connect_driver(&bench->drivers[i], set);
    dispatch_all(worker, set);
    gate_pass(bench);
    for (uint64_t i = worker->number; i < bench->connections; i += bench->threads) {
        struct driver *driver = &bench->drivers[i];
        for (uint64_t k = 0; driver->is_connected && k < driver->slots_count; k++)
            begin_next(&driver->slots[k]);
        strait_dispatch(driver->handle, 0);
    }
    dispatch_all(worker, set);
}

static void drive_alone(struct driver *driver)
{
    struct strait_error error;
    struct strait_records *records = NULL;

    enum strait_status status =
        strait_get_many(driver->handle, NULL, &first_read, 1, 0, &records, &error);
    strait_free(records);
    gate_pass(driver->bench);
    if (status == STRAIT_OK)
        drive_synchronous(driver);
    else
        count(driver, 0, status, &error);
}

static void *worker_main(void *context)
{
    struct worker *worker = context;
    struct driver *first = &worker->bench->drivers[worker->number];

    if (worker->bench->is_synchronous) {
        drive_alone(first);
        return NULL;
    }
    int set = epoll_create1(EPOLL_CLOEXEC);
    if (set == -1) {
        const struct strait_error error = {.status = STRAIT_NO_MEMORY};
        count(first, 0, STRAIT_NO_MEMORY, &error);
        gate_pass(worker->bench);
        return NULL;
    }
    drive_loop(worker, set);
    close(set);
    return NULL;
}

/* ---- Set-up ---- */

static enum strait_status open_driver(struct bench *bench, uint64_t number)
{
    struct driver *driver = &bench->drivers[number];
    struct cli other = *bench->cli;
    enum cli_exit exit;

    other.handle = NULL;
    other.loop = !bench->is_synchronous;
    driver->bench = bench;
    driver->worker = &bench->workers[number % bench->threads];
    driver->handle = cli_handle(&other, &exit);
    if (driver->handle == NULL)
        return STRAIT_UNREACHABLE;
    generator_init(&driver->generator, bench->seed + 1 + number);
    histogram_init(&driver->latencies);
    /* Clients are spread evenly; the first connections take those that are left. */
    uint64_t clients = bench->clients / bench->connections +
                       (number < bench->clients % bench->connections ? 1 : 0);
    driver->slots_count = clients * bench->depth;
    driver->slots = calloc(driver->slots_count, sizeof *driver->slots);
    if (driver->slots == NULL)
        return STRAIT_NO_MEMORY;
    for (uint64_t i = 0; i < driver->slots_count; i++) {
        driver->slots[i].driver = driver;
        driver->slots[i].operation.txn = strait_txn_new();
        if (driver->slots[i].operation.txn == NULL)
            return STRAIT_NO_MEMORY;
    }
    return STRAIT_OK;
}

static void close_drivers(struct bench *bench)
{
    for (uint64_t i = 0; bench->drivers != NULL && i < bench->connections; i++) {
        struct driver *driver = &bench->drivers[i];
        strait_close(driver->handle);
        for (uint64_t k = 0; driver->slots != NULL && k < driver->slots_count; k++)
            strait_txn_free(driver->slots[k].operation.txn);
        free(driver->slots);
    }
    free(bench->drivers);
    free(bench->workers);
}

static uint64_t metric(const struct strait_server_status *status, const char *name)
{
    for (size_t i = 0; i < status->metrics_count; i++) {
        if (strcmp(status->metrics[i].name, name) == 0)
            return status->metrics[i].value;
    }
    return 0;
}

static enum strait_status read_counters(strait *handle, struct reading *reading,
                                        struct strait_error *error)
{
    struct strait_server_status *status = NULL;
    struct rusage usage = {0};
    enum strait_status result = strait_server_status(handle, 0, &status, error);
    if (result != STRAIT_OK)
        return result;
    reading->server_cpu_us = metric(status, "process_cpu_us");
    reading->wal_flushes = metric(status, "wal_flushes_count");
    reading->wal_written = metric(status, "wal_written_bytes");
    reading->compactions = metric(status, "compactions_count");
    strait_free(status);
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        reading->client_cpu_us =
            (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
            (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    reading->time_ns = now_ns();
    return STRAIT_OK;
}

/* ---- Results ---- */

struct result {
    struct histogram latencies;
    uint64_t errors_count;
    const struct strait_error *first_error;
    double seconds;
    double per_second;
    double client_cpu_per_1000; /* seconds */
    double server_cpu_per_1000;
    double operations_per_flush;
    uint64_t wal_flushes;
    uint64_t wal_written;
    uint64_t compactions;
};

/* A server that was restarted meanwhile counts from nothing. */
static uint64_t grown(uint64_t after, uint64_t before)
{
    return after >= before ? after - before : after;
}

static void gather(const struct bench *bench, const struct reading *before,
                   const struct reading *after, struct result *result)
{
    histogram_init(&result->latencies);
    for (uint64_t i = 0; i < bench->connections; i++) {
        const struct driver *driver = &bench->drivers[i];
        histogram_merge(&result->latencies, &driver->latencies);
        result->errors_count += driver->errors_count;
        if (driver->errors_count != 0 && result->first_error == NULL)
            result->first_error = &driver->first_error;
    }
    double done = (double)result->latencies.count;
    result->seconds = (double)bench->seconds;
    result->per_second = done / result->seconds;
    result->wal_flushes = grown(after->wal_flushes, before->wal_flushes);
    result->wal_written = grown(after->wal_written, before->wal_written);
    result->compactions = grown(after->compactions, before->compactions);
    if (result->latencies.count == 0)
        return;
    /* Counters span the whole run, its first second included: scale what was done to the same. */
    double span = (double)(after->time_ns - before->time_ns) / 1e9;
    double all = result->per_second * span;
    result->client_cpu_per_1000 =
        (double)(after->client_cpu_us - before->client_cpu_us) / 1e6 / all * 1000;
    result->server_cpu_per_1000 =
        (double)grown(after->server_cpu_us, before->server_cpu_us) / 1e6 / all * 1000;
    if (result->wal_flushes != 0)
        result->operations_per_flush = all / (double)result->wal_flushes;
}

static void print_text(const struct bench *bench, const struct result *result)
{
    const struct histogram *latencies = &result->latencies;
    printf("%s: %" PRIu64 " clients over %" PRIu64 " connections on %" PRIu64
           " threads, depth %" PRIu64 ", values of %" PRIu64 " bytes, %.0f s\n",
           bench->workload_name, bench->clients, bench->connections, bench->threads, bench->depth,
           bench->workload.value_size, result->seconds);
    printf("  throughput   %.0f/s (%" PRIu64 " done, %" PRIu64 " errors)\n", result->per_second,
           latencies->count, result->errors_count);
    printf("  latency      p50 %.1f us, p99 %.1f us, p99.9 %.1f us, max %.1f us\n",
           (double)histogram_percentile(latencies, 50) / 1e3,
           (double)histogram_percentile(latencies, 99) / 1e3,
           (double)histogram_percentile(latencies, 99.9) / 1e3, (double)latencies->greatest / 1e3);
    printf("  processor    client %.4f s, server %.4f s per 1,000 operations\n",
           result->client_cpu_per_1000, result->server_cpu_per_1000);
    printf("  log          %" PRIu64 " flushes (%.1f operations each), %.1f MiB, %" PRIu64
           " compactions\n",
           result->wal_flushes, result->operations_per_flush,
           (double)result->wal_written / (1 << 20), result->compactions);
}

static void print_document(const struct bench *bench, const struct result *result)
{
    const struct histogram *latencies = &result->latencies;
    json_t *document = json_object();
    json_object_set_new(document, "workload", json_string(bench->workload_name));
    json_object_set_new(document, "clients", json_integer((json_int_t)bench->clients));
    json_object_set_new(document, "connections", json_integer((json_int_t)bench->connections));
    json_object_set_new(document, "threads", json_integer((json_int_t)bench->threads));
    json_object_set_new(document, "depth", json_integer((json_int_t)bench->depth));
    json_object_set_new(document, "value_size_bytes",
                        json_integer((json_int_t)bench->workload.value_size));
    json_object_set_new(document, "seconds", json_real(result->seconds));
    json_object_set_new(document, "done_count", json_integer((json_int_t)latencies->count));
    json_object_set_new(document, "errors_count", json_integer((json_int_t)result->errors_count));
    json_object_set_new(document, "per_second", json_real(result->per_second));
    json_object_set_new(document, "p50_us",
                        json_real((double)histogram_percentile(latencies, 50) / 1e3));
    json_object_set_new(document, "p99_us",
                        json_real((double)histogram_percentile(latencies, 99) / 1e3));
    json_object_set_new(document, "p999_us",
                        json_real((double)histogram_percentile(latencies, 99.9) / 1e3));
    json_object_set_new(document, "max_us", json_real((double)latencies->greatest / 1e3));
    json_object_set_new(document, "client_cpu_seconds_per_1000",
                        json_real(result->client_cpu_per_1000));
    json_object_set_new(document, "server_cpu_seconds_per_1000",
                        json_real(result->server_cpu_per_1000));
    json_object_set_new(document, "wal_flushes_count",
                        json_integer((json_int_t)result->wal_flushes));
    json_object_set_new(document, "operations_per_flush", json_real(result->operations_per_flush));
    json_object_set_new(document, "wal_written_bytes",
                        json_integer((json_int_t)result->wal_written));
    json_object_set_new(document, "compactions_count",
                        json_integer((json_int_t)result->compactions));
    cli_print_json(document);
}

/* ---- The command ---- */

static enum cli_exit run(struct bench *bench, strait *control)
{
    struct reading before = {0};
    struct reading after = {0};
    struct result result = {0};
    struct strait_error error = {0};
    uint64_t started = 0;

    for (uint64_t i = 0; i < bench->connections; i++) {
        if (open_driver(bench, i) != STRAIT_OK)
            return cli_fail(bench->cli, CLI_REFUSED, "connection %" PRIu64 " could not be opened",
                            i);
    }
    for (; started < bench->threads; started++) {
        struct worker *worker = &bench->workers[started];
        *worker = (struct worker){.bench = bench, .number = started};
        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0)
            break;
    }
    bool all_started = started == bench->threads;
    gate_await(bench, started);
    enum strait_status status = read_counters(control, &before, &error);
    /* Otherwise the end stays in the past, and each worker ends at once. */
    if (all_started && status == STRAIT_OK) {
        bench->counted_from_ns = before.time_ns + warm_ns;
        bench->end_ns = bench->counted_from_ns + bench->seconds * 1000000000;
    }
    gate_open(bench);
    while (started > 0)
        pthread_join(bench->workers[--started].thread, NULL);
    if (!all_started)
        return cli_fail(bench->cli, CLI_REFUSED, "a thread could not be started (ulimit -u)");
    if (status == STRAIT_OK)
        status = read_counters(control, &after, &error);
    if (status != STRAIT_OK)
        return cli_error(bench->cli, &error);
    gather(bench, &before, &after, &result);
    if (bench->cli->json)
        print_document(bench, &result);
    else
        print_text(bench, &result);
    if (result.errors_count == 0)
        return CLI_DONE;
    fprintf(stderr, "strait: %" PRIu64 " operations failed; the first: ", result.errors_count);
    cli_print_bytes(stderr, strait_text(strait_error_text(result.first_error)));
    fputc('\n', stderr);
    return CLI_REFUSED;
}

/* A number of an option, with its bounds. */
struct number {
    const char *name;
    const char *text; /* NULL: not given */
    uint64_t low;
    uint64_t high;
    uint64_t *value; /* as it was, where nothing is given */
};

static bool parse_numbers(struct bench *bench, const struct number *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct number *number = &numbers[i];
        if (number->text == NULL ||
            cli_parse_u64(number->text, number->low, number->high, number->value))
            continue;
        cli_usage(bench->cli, "--%s %s: a whole number from %" PRIu64 " to %" PRIu64 " is needed",
                  number->name, number->text, number->low, number->high);
        return false;
    }
    return true;
}

/* What the numbers have to be to each other. */
static bool check_numbers(struct bench *bench)
{
    if (bench->connections > bench->clients) {
        cli_usage(bench->cli,
                  "--connections %" PRIu64 ": there are more of them than clients (%" PRIu64 ")",
                  bench->connections, bench->clients);
        return false;
    }
    if (bench->clients * bench->depth > slots_max * bench->connections) {
        cli_usage(bench->cli,
                  "--clients %" PRIu64 " with --depth %" PRIu64 " over %" PRIu64
                  " connections: at most %d requests are under way on one connection",
                  bench->clients, bench->depth, bench->connections, slots_max);
        return false;
    }
    return true;
}

static bool parse_options(struct bench *bench, int *count, char **arguments)
{
    struct number numbers[] = {
        {"clients", NULL, 1, clients_max, &bench->clients},
        {"connections", NULL, 1, clients_max, &bench->connections},
        {"depth", NULL, 1, depth_max, &bench->depth},
        {"seconds", NULL, 1, seconds_max, &bench->seconds},
        {"size", NULL, 1, limit_value_size, &bench->workload.value_size},
        {"keys", NULL, 1, keys_max, &bench->workload.keys_count},
        {"seed", NULL, 0, UINT64_MAX / 2, &bench->seed},
        {"threads", NULL, 1, clients_max, &bench->threads},
    };
    enum { numbers_count = sizeof numbers / sizeof numbers[0] };
    struct cli_option options[numbers_count + 1] = {0};

    for (size_t i = 0; i < numbers_count; i++)
        options[i] = (struct cli_option){numbers[i].name, &numbers[i].text, NULL};
    *count = cli_options(bench->cli, options, *count, arguments);
    if (*count < 0 || !parse_numbers(bench, numbers, numbers_count))
        return false;
    if (bench->connections == 0)
        bench->connections = bench->clients;
    if (!check_numbers(bench))
        return false;
    if (bench->threads == 0)
        bench->threads = bench->connections <= lone_threads_max ? bench->connections : 1;
    if (bench->threads > bench->connections)
        bench->threads = bench->connections;
    bench->is_synchronous = bench->threads == bench->connections &&
                            bench->clients == bench->connections && bench->depth == 1;
    return true;
}

enum cli_exit cli_bench(struct cli *cli, int count, char **arguments)
{
    struct bench bench = {.cli = cli,
                          .clients = 64,
                          .depth = 1,
                          .seconds = 10,
                          .seed = 1,
                          .workload = {.value_size = 256, .keys_count = 100000},
                          .gate_lock = PTHREAD_MUTEX_INITIALIZER,
                          .gate_changed = PTHREAD_COND_INITIALIZER};
    struct strait_error error = {0};
    enum cli_exit exit = CLI_DONE;

    if (!parse_options(&bench, &count, arguments))
        return CLI_USAGE;
    if (count != 1 || !workload_find(arguments[0], &bench.workload.kind))
        return cli_usage(cli, "a workload is needed: put, get, mixed, scan, checkout or hot-sku");
    bench.workload_name = arguments[0];
    strait *control = cli_handle(cli, &exit);
    if (control == NULL)
        return exit;
    bench.drivers = calloc(bench.connections, sizeof *bench.drivers);
    bench.workers = calloc(bench.threads, sizeof *bench.workers);
    if (bench.drivers == NULL || bench.workers == NULL ||
        !workload_init(&bench.workload, bench.seed))
        exit = cli_fail(cli, CLI_REFUSED, "out of memory, or of random bytes");
    else if (workload_prepare(cli, control, &bench.workload, &error) != STRAIT_OK)
        exit = cli_error(cli, &error);
    else
        exit = run(&bench, control);
    close_drivers(&bench);
    workload_free(&bench.workload);
    return exit;
}
