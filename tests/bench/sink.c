/* SPDX-License-Identifier: Apache-2.0 */
/* The other end of shipping, for benchmarks of what it costs the primary: it pulls as a standby
 * does, over the same link, stores what comes durably, acknowledges it, and applies nothing.
 *
 *     bench_sink CONFIG FILE
 *
 * CONFIG is that of a server of a standby region (`standby_of` says whom to pull from), which does
 * not run meanwhile; FILE takes the entries. SIGUSR1 begins and ends the pulling, which goes on
 * where it was; SIGTERM ends the process. A line says so: "pulls" or "rests", and how many entries
 * came so far, their bytes, and these bytes as they came, compressed. Where the source refuses for
 * good, it says why and exits with 1. */
#include <inttypes.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"
#include "proto/entry.h"
#include "proto/stream.h"
#include "replication/region/receiver.h"
#include "server/config.h"
#include "server/linking.h"
#include "server/state/state.h"
#include "storage/io/blocking.h"
#include "storage/io/uring.h"

enum {
    buffer_size = 8 * 1024 * 1024,
    receive_buffers_count = 128,
    receive_buffer_size = 16 * 1024,
};

struct buffer {
    uint8_t bytes[buffer_size];
    size_t size;
    struct region_position position; /* of the last entry in it */
};

struct sink {
    struct config config;
    struct access *access;
    struct io *io;
    struct io_bell signals;
    struct linking *linking;
    struct receiver *receiver;
    bool pulls;

    struct io_file *file;
    uint64_t file_size;
    struct io_op op; /* writes the one, while the other is filled */
    bool writes;
    struct buffer buffers[2];
    unsigned filled; /* of them */

    struct stream_position taken; /* the newest that came */
    struct region_position stored;
};

static struct sink sink;
static volatile sig_atomic_t turn_wanted;
static volatile sig_atomic_t stop_wanted;

static void fail(const char *what, enum status status, const char *text)
{
    fprintf(stderr, "bench_sink: %s: %s %s\n", what, status_text(status), text);
    exit(1);
}

/* ---- Storing ---- */

static void store(void);

static void on_stored(struct io_op *op)
{
    struct buffer *written = &sink.buffers[1 - sink.filled];

    if (op->status != STATUS_OK)
        fail("the file cannot be written", op->status, "");
    sink.writes = false;
    sink.stored = written->position;
    written->size = 0;
    receiver_applied(sink.receiver, &sink.stored);
    receiver_turn(sink.receiver);
    store();
}

/* What has come since is written while the next comes. */
static void store(void)
{
    struct buffer *buffer = &sink.buffers[sink.filled];

    if (sink.writes || buffer->size == 0)
        return;
    sink.writes = true;
    sink.filled = 1 - sink.filled;
    sink.op = (struct io_op){.done = on_stored};
    io_write_flush(sink.io, &sink.op, sink.file, buffer->bytes, buffer->size, sink.file_size);
    sink.file_size += buffer->size;
}

/* ---- For the receiver ---- */

static void on_standing(void *context, struct receiver_standing *standing)
{
    (void)context;
    *standing = (struct receiver_standing){.applied = sink.stored,
                                           .cluster_version_max = state_cluster_version};
}

static enum status on_propose(void *context, struct bytes bytes)
{
    struct buffer *buffer = &sink.buffers[sink.filled];
    struct entry entry;

    (void)context;
    if (bytes.size > buffer_size - buffer->size)
        return STATUS_BUSY;
    enum status status = entry_decode(bytes, &entry);
    if (status != STATUS_OK)
        return status;
    if (!stream_takes(&sink.taken, NULL, &entry))
        return STATUS_OK; /* it came before */
    memcpy(buffer->bytes + buffer->size, bytes.data, bytes.size);
    buffer->size += bytes.size;
    buffer->position =
        (struct region_position){.epoch = sink.taken.epoch, .version = sink.taken.version};
    return STATUS_OK;
}

static void on_trouble(void *context, enum receiver_trouble trouble,
                       const struct region_position *common, struct bytes promotion)
{
    static const char *const texts[] = {
        [RECEIVER_HISTORY_LOST] = "its history does not have what was stored",
        [RECEIVER_RELEASED] = "its log does not reach back",
        [RECEIVER_DIVERGED] = "its state is another one",
        [RECEIVER_BEHIND] = "it is of an older epoch",
    };
    (void)context;
    (void)common;
    (void)promotion;
    fail("the source refuses", STATUS_HISTORY_LOST, texts[trouble]);
}

/* ---- Signals ---- */

static void on_signal(int number)
{
    if (number == SIGUSR1)
        turn_wanted = 1;
    else
        stop_wanted = 1;
    io_bell_ring(sink.io, &sink.signals);
}

static void on_rung(struct io_bell *bell)
{
    (void)bell; /* the flags say what for */
}

static void say(const char *word)
{
    const struct receiver_facts facts = receiver_facts(sink.receiver);
    int size = printf("%s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", word, facts.entries_count,
                      facts.raw_size, facts.received_size);
    if (size < 0 || fflush(stdout) != 0)
        fail("standard output", STATUS_IO_ERROR, "");
}

static void pull_or_rest(void)
{
    struct link *link = linking_link(sink.linking);

    sink.pulls = !sink.pulls;
    if (sink.pulls) {
        link_endpoints(link, sink.config.region.standby_of, sink.config.region.standby_of_count);
        receiver_start(sink.receiver);
    } else {
        receiver_stop(sink.receiver);
        link_endpoints(link, NULL, 0);
    }
    say(sink.pulls ? "pulls" : "rests");
}

/* ---- Life ---- */

static void open_all(const char *config, const char *path)
{
    const struct io_uring_options io_options = {.receive_buffers_count = receive_buffers_count,
                                                .receive_buffer_size = receive_buffer_size};
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct error error = {0};

    config_init(&sink.config);
    enum status status = config_load(&sink.config, config, &error);
    if (status == STATUS_OK && !sink.config.region.has_cluster_id)
        status = error_set(&error, STATUS_INVALID_ARGUMENT, "It names no cluster.");
    if (status == STATUS_OK)
        status = config_open_access(&sink.config, &sink.access);
    if (status == STATUS_OK)
        status = io_uring_open(&io_options, &sink.io, &error);
    if (status != STATUS_OK)
        fail(config, status, error.text);
    status = io_open_wait(sink.io, path, IO_WRITE | IO_CREATE, &sink.file);
    if (status != STATUS_OK)
        fail(path, status, "");
    sink.signals = (struct io_bell){.rung = on_rung};
    status = io_bell_open(sink.io, &sink.signals);
    if (status == STATUS_OK)
        status = linking_open(&sink.config, sink.io, sink.access, sink.config.region.cluster_id,
                              &sink.linking, &error);
    const struct receiver_options options = {
        .io = sink.io,
        .link = status == STATUS_OK ? linking_link(sink.linking) : NULL,
        .region = sink.config.region.id,
        .seed = (uint64_t)getpid(),
        .standing = on_standing,
        .propose = on_propose,
        .trouble = on_trouble,
    };
    if (status == STATUS_OK)
        status = receiver_create(&options, &sink.receiver);
    if (status != STATUS_OK)
        fail("the link", status, error.text);
    if (sigaction(SIGUSR1, &action, NULL) != 0 || sigaction(SIGTERM, &action, NULL) != 0)
        fail("signals", STATUS_INTERNAL, "");
}

static void close_all(void)
{
    receiver_free(sink.receiver);
    linking_close(sink.linking);
    while (sink.writes)
        io_turn(sink.io, true);
    enum status status = io_close_wait(sink.io, sink.file);
    if (status != STATUS_OK)
        fail("the file cannot be closed", status, "");
    io_bell_close(sink.io, &sink.signals);
    io_uring_close(sink.io);
    access_close(sink.access);
    config_free(&sink.config);
}

int main(int count, char **values)
{
    if (count != 3) {
        fprintf(stderr, "usage: bench_sink CONFIG FILE\n");
        return 2;
    }
    open_all(values[1], values[2]);
    say("rests");
    while (!stop_wanted) {
        if (turn_wanted) {
            turn_wanted = 0;
            pull_or_rest();
        }
        receiver_turn(sink.receiver);
        store();
        io_turn(sink.io, true);
    }
    close_all();
    return 0;
}
