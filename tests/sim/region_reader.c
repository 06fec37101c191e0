/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/region_reader.h"

#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/message.h"
#include "proto/number.h"
#include "proto/txn_id.h"
#include "tests/sim/pair.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
    think_max_ms = 400,
    staleness_min_ms = 1000,
    staleness_max_ms = 8000,
    slack_ms = 20,
    key_size = 32,
    confirm_ms = 1000,
};

static void act(struct client *client);

static struct region_reader *reader_of(const struct client *client)
{
    return client->workload;
}

void region_reader_init(struct region_reader *reader, struct pair *pair, unsigned index,
                        unsigned node)
{
    *reader = (struct region_reader){.pair = pair, .index = index};
    client_init(&reader->client, &pair->worlds[0], node);
    reader->client.workload = reader;
}

void region_reader_free(struct region_reader *reader)
{
    client_free(&reader->client);
}

bool region_reader_is_idle(const struct region_reader *reader)
{
    return !reader->busy;
}

static void think(struct region_reader *reader)
{
    reader->busy = false;
    client_later(&reader->client,
                 NS_PER_MS * generator_between(&reader->client.generator, 1, think_max_ms), act);
}

static void name_key(const struct region_reader *reader, char key[key_size])
{
    snprintf(key, key_size, "r%u-%u", reader->index, reader->serial);
}

/* ---- Writes ---- */

static void note_confirmed(struct region_reader *reader, const Strait__CommitReply *reply)
{
    if (reply->confirmation != NULL && reply->confirmation->confirmed && !reply->repeated_reply &&
        reader->confirmed_count < region_reader_confirmed_max)
        reader->confirmed[reader->confirmed_count++] = reader->client.position;
}

static void wrote(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct region_reader *reader = reader_of(client);
    client->stays = true;
    if (status == STATUS_OK) {
        note_confirmed(reader, (const void *)message);
        reader->token = (struct region_reader_write){.number = reader->number,
                                                     .at_ns = pair_now_ns(reader->pair),
                                                     .position = client->position};
        reader->written[reader->number % region_reader_kept_max] = reader->token;
    } else {
        /* It may come to be yet, after the next one: another record is written from now on. */
        reader->serial++;
        reader->token = (struct region_reader_write){0};
        memset(reader->written, 0, sizeof reader->written);
    }
    think(reader);
}

static void write_next(struct region_reader *reader)
{
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;
    Strait__Operation *operations[] = {&operation};
    Strait__Put put = STRAIT__PUT__INIT;
    uint8_t id[txn_id_size];
    char key[key_size];
    char value[24];

    reader->number++;
    name_key(reader, key);
    snprintf(value, sizeof value, "%" PRId64, reader->number);
    put.table = (char *)"leases"; /* which nobody reads as a whole */
    put.key = field_of_bytes(bytes_of_text(key));
    put.value = field_of_bytes(bytes_of_text(value));
    operation.kind_case = STRAIT__OPERATION__KIND_PUT;
    operation.put = &put;
    commit.operations = operations;
    commit.n_operations = 1;
    generator_fill(&reader->client.generator, id, sizeof id);
    commit.txn_id = field_of_bytes(bytes_of(id, sizeof id));
    commit.issued_ns = reader->client.log_time_ns;
    if (generator_chance(&reader->client.generator, 1, 2)) {
        commit.durability = STRAIT__DURABILITY__REMOTE;
        commit.confirm_within_ms = confirm_ms;
    }
    reader->client.stays = false;
    client_ask(&reader->client, FRAME_COMMIT, &commit.base, false, wrote);
}

/* ---- Reads ---- */

static bool is_before(const struct client_position *a, const struct client_position *b)
{
    int order = epoch_compare(a->epoch, b->epoch);
    return order < 0 || (order == 0 && a->version < b->version);
}

/* The newest write that a read of this age has to show; 0: none. */
static int64_t due_number(const struct region_reader *reader, struct epoch epoch)
{
    if (reader->staleness_ms == 0)
        return reader->token.number;
    int64_t due = 0;
    for (unsigned i = 0; i < region_reader_kept_max; i++) {
        const struct region_reader_write *write = &reader->written[i];
        if (write->number > due && epoch_equal(write->position.epoch, epoch) &&
            write->at_ns + (reader->staleness_ms + slack_ms) * NS_PER_MS < reader->asked_ns)
            due = write->number;
    }
    return due;
}

static void look(struct region_reader *reader, const Strait__GetReply *reply)
{
    struct client *client = &reader->client;
    const struct client_position *position = &client->position;
    int64_t number = 0;

    if (reply->records[0]->found &&
        number_parse(bytes_of_field(reply->records[0]->value), &number) != STATUS_OK)
        world_fail(client->world, "the record of reader %u is no number", reader->index);
    if (number > reader->number)
        world_fail(client->world, "reader %u reads what it never wrote", reader->index);
    if (reader->staleness_ms == 0 && is_before(position, &reader->token.position))
        world_fail(client->world,
                   "reader %u asked for version %" PRIu64 " of epoch %" PRIu64
                   ", and was answered at version %" PRIu64 " of epoch %" PRIu64,
                   reader->index, reader->token.position.version,
                   reader->token.position.epoch.number, position->version, position->epoch.number);
    int64_t due = due_number(reader, position->epoch);
    if (number < due)
        world_fail(client->world,
                   "reader %u reads %" PRId64 " in region %c at version %" PRIu64
                   " of epoch %" PRIu64 ", and had written %" PRId64 " (at most %" PRIu64
                   " ms old)",
                   reader->index, number, 'a' + (int)client->world->side, position->version,
                   position->epoch.number, due, reader->staleness_ms);
    reader->reads_count++;
    reader->standby_count += position->epoch.region != client->world->side + 1;
}

static void note_lost(struct region_reader *reader)
{
    if (reader->staleness_ms != 0 || reader->lost_count == region_reader_kept_max)
        return;
    reader->lost[reader->lost_count++] = (struct region_reader_lost){
        .position = reader->token.position, .said = reader->client.position};
}

static void has_read(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct region_reader *reader = reader_of(client);
    if (status == STATUS_OK) {
        look(reader, (const void *)message);
    } else if (status == STATUS_HISTORY_LOST) {
        note_lost(reader);
        reader->token = (struct region_reader_write){0};
    } else if (status != STATUS_OUTCOME_UNKNOWN && status != STATUS_DISCONNECTED) {
        world_fail(client->world, "reader %u was answered %s", reader->index, status_name(status));
    }
    think(reader);
}

static void read_next(struct region_reader *reader)
{
    struct client *client = &reader->client;
    struct generator *generator = &client->generator;
    Strait__Get get = STRAIT__GET__INIT;
    Strait__Key wanted = STRAIT__KEY__INIT;
    Strait__Key *keys[] = {&wanted};
    Strait__Consistency consistency = STRAIT__CONSISTENCY__INIT;
    Strait__Position position = STRAIT__POSITION__INIT;
    char key[key_size];
    /* Mostly at the standby. */
    unsigned primary = pair_epoch(reader->pair).region - 1;
    unsigned side = generator_chance(generator, 3, 4) ? 1 - primary : primary;

    client->world = &reader->pair->worlds[side];
    client->stays = true;
    client->server = (unsigned)generator_below(generator, client->world->options.servers_count);
    name_key(reader, key);
    wanted.table = (char *)"leases";
    wanted.key = field_of_bytes(bytes_of_text(key));
    reader->staleness_ms = generator_chance(generator, 1, 3)
                               ? generator_between(generator, staleness_min_ms, staleness_max_ms)
                               : 0;
    reader->asked_ns = pair_now_ns(reader->pair);
    if (reader->staleness_ms != 0) {
        consistency.kind = STRAIT__CONSISTENCY__KIND__BOUNDED_STALE;
        consistency.max_staleness_ms = reader->staleness_ms;
    } else {
        consistency.kind = STRAIT__CONSISTENCY__KIND__AT_LEAST;
        position.epoch_number = reader->token.position.epoch.number;
        position.epoch_region = reader->token.position.epoch.region;
        position.version = reader->token.position.version;
        consistency.position = &position;
    }
    get.keys = keys;
    get.n_keys = 1;
    get.consistency = &consistency;
    client_ask(client, FRAME_GET, &get.base, false, has_read);
}

static void act(struct client *client)
{
    struct region_reader *reader = reader_of(client);
    if (reader->is_stopping)
        return;
    reader->busy = true;
    if (reader->token.number == 0 || generator_chance(&client->generator, 1, 3))
        write_next(reader);
    else
        read_next(reader);
}

void region_reader_begin(struct region_reader *reader)
{
    reader->client.log_time_ns = reader->pair->worlds[0].clients[0].log_time_ns;
    think(reader);
}

void region_reader_judge(struct region_reader *reader)
{
    for (unsigned i = 0; i < reader->confirmed_count; i++)
        if (!pair_is_kept(reader->pair, &reader->confirmed[i]))
            world_fail(&reader->pair->worlds[0],
                       "version %" PRIu64 " of epoch %" PRIu64
                       " was given up, and the standby was said to have it",
                       reader->confirmed[i].version, reader->confirmed[i].epoch.number);
    /* A promotion that was given up itself, later, said the truth then. */
    for (unsigned i = 0; i < reader->lost_count; i++)
        if (pair_is_kept(reader->pair, &reader->lost[i].said) &&
            pair_is_kept(reader->pair, &reader->lost[i].position))
            world_fail(&reader->pair->worlds[0],
                       "reader %u was told that version %" PRIu64 " of epoch %" PRIu64
                       " was given up, and it was not",
                       reader->index, reader->lost[i].position.version,
                       reader->lost[i].position.epoch.number);
}
