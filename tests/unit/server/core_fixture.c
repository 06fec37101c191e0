/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/server/core_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/log.h"
#include "proto/message.h"
#include "storage/io/blocking.h"

enum { segment_bytes = 256 * 1024, memtable_bytes = 256 * 1024, turns_max = 1000 * 1000 };

static const uint8_t cluster[seal_id_size] = {7};

static void on_failed(void *context, const struct error *error)
{
    struct core_fixture *fixture = context;
    fixture->failed = true;
    fixture->error = *error;
}

void core_fixture_begin(struct core_fixture *fixture, uint64_t seed)
{
    core_fixture_begin_on(fixture, sim_disk_create(seed), "data", seed);
    fixture->shares_disk = false;
}

void core_fixture_begin_on(struct core_fixture *fixture, struct sim_disk *disk,
                           const char *directory, uint64_t seed)
{
    log_descriptor_set(-1);
    *fixture = (struct core_fixture){.disk = disk, .shares_disk = true};
    snprintf(fixture->directory, sizeof fixture->directory, "%s", directory);
    fixture->io = sim_disk_io(fixture->disk);
    ck_assert_int_eq(keyring_create_in_memory(cluster, true, &fixture->keyring), STATUS_OK);
    ck_assert_int_eq(io_make_directory_wait(fixture->io, fixture->directory), STATUS_OK);
    ck_assert_int_eq(io_flush_directory_wait(fixture->io, "/"), STATUS_OK);
    ck_assert_int_eq(mailbox_open(&fixture->replies, false, limit_requests_count), STATUS_OK);
    fixture->session = (struct session){.id = 1, .role = ROLE_ADMIN, .identity = "tester"};
    fixture->options = (struct core_options){
        .keyring = fixture->keyring,
        .directory = fixture->directory,
        .segment_size = segment_bytes,
        .memtable_size = memtable_bytes,
        .workers_inline = true,
        .disk_reserve_size = 1024 * 1024,
        .seed = seed,
        .bootstrap = true,
        .failed = on_failed,
    };
}

void core_fixture_end(struct core_fixture *fixture)
{
    ck_assert_ptr_null(fixture->core);
    mailbox_close(&fixture->replies);
    keyring_close(fixture->keyring);
    if (!fixture->shares_disk)
        sim_disk_destroy(fixture->disk);
}

enum status core_fixture_open(struct core_fixture *fixture)
{
    fixture->options.io = fixture->io;
    fixture->options.context = fixture;
    fixture->failed = false;
    fixture->error = (struct error){0};
    return core_open(&fixture->options, &fixture->core, &fixture->error);
}

void core_fixture_close(struct core_fixture *fixture)
{
    enum status status = core_close(fixture->core, &fixture->error);
    ck_assert_msg(status == STATUS_OK, "%s", fixture->error.text);
    fixture->core = NULL;
}

void core_fixture_crash(struct core_fixture *fixture, uint64_t seed)
{
    sim_disk_crash_now(fixture->disk);
    core_abandon(fixture->core);
    fixture->core = NULL;
    core_fixture_collect(fixture);
    sim_disk_restart(fixture->disk, seed, SIM_RESTART_RANDOM);
    fixture->io = sim_disk_io(fixture->disk);
}

void core_fixture_turn(struct core_fixture *fixture)
{
    bool more = core_turn(fixture->core);
    if (!fixture->failed)
        io_turn(fixture->io, !more);
    core_fixture_collect(fixture);
}

void core_fixture_ask(struct core_fixture *fixture, struct core_ask *ask, enum frame_type type,
                      const ProtobufCMessage *message)
{
    uint8_t *bytes = malloc(protobuf_c_message_get_packed_size(message) + 1);
    ck_assert_ptr_nonnull(bytes);
    size_t size = protobuf_c_message_pack(message, bytes);

    *ask = (struct core_ask){.request = {.session = &fixture->session,
                                         .type = type,
                                         .number = ++fixture->numbers,
                                         .received_ns = io_boot_ns(fixture->io),
                                         .replies = &fixture->replies}};
    struct request *request = &ask->request;
    list_init(&request->link);
    message_arena_init(&request->arena, size);
    ck_assert(arena_copy(&request->arena, bytes_of(bytes, size), &request->body));
    free(bytes);
    enum status status = message_decode(message->descriptor, request->body, true, &request->arena,
                                        &request->message);
    ck_assert_int_eq(status, STATUS_OK);
    /* Decoding is held to its own bounds; answering has others, as in server/net. */
    request->arena.allocations_max = UINT32_MAX;
    request->arena.budget_size = request->arena.used_size + 2 * limit_frame_size + limit_reply_size;
    core_take(fixture->core, request);
}

static const ProtobufCMessageDescriptor *reply_descriptor(enum frame_type type)
{
    switch (type) {
#define REPLY_CASE(name, number, request, reply, request_lower, reply_lower)                       \
    case FRAME_##name:                                                                             \
        return &strait__##reply_lower##__descriptor;
        FRAME_LIST(REPLY_CASE)
#undef REPLY_CASE
    default:
        ck_abort_msg("no request");
    }
    return NULL;
}

void core_fixture_collect(struct core_fixture *fixture)
{
    struct request *request;
    while ((request = mailbox_take(&fixture->replies)) != NULL) {
        struct core_ask *ask = (struct core_ask *)(void *)request;
        ProtobufCMessage **to =
            request->status == STATUS_OK ? &ask->message : (ProtobufCMessage **)&ask->refusal;
        const ProtobufCMessageDescriptor *descriptor = request->status == STATUS_OK
                                                           ? reply_descriptor(request->type)
                                                           : &strait__refusal__descriptor;
        struct bytes body = bytes_of(request->reply.data + frame_header_size,
                                     request->reply.size - frame_header_size);
        ck_assert(!ask->answered);
        ck_assert_int_eq(message_decode(descriptor, body, true, &request->arena, to), STATUS_OK);
        ask->answered = true;
    }
}

enum status core_fixture_wait(struct core_fixture *fixture, struct core_ask *ask)
{
    core_fixture_collect(fixture);
    for (int turns = 0; !ask->answered; turns++) {
        ck_assert_int_lt(turns, turns_max);
        ck_assert_msg(!fixture->failed, "%s", fixture->error.text);
        if (fixture->turn != NULL)
            fixture->turn();
        else
            core_fixture_turn(fixture);
    }
    return ask->request.status;
}

void core_ask_free(struct core_ask *ask)
{
    ck_assert(ask->answered);
    arena_free(&ask->request.arena);
}

/* ---- Commits and reads ---- */

static void commit_begin(struct core_fixture *fixture, Strait__Operation *operation,
                         struct core_ask *ask)
{
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    Strait__Ping ping = STRAIT__PING__INIT;
    Strait__Operation *operations[] = {operation};
    uint8_t id[16] = {1};

    core_fixture_ask(fixture, ask, FRAME_PING, &ping.base);
    ck_assert_int_eq(core_fixture_wait(fixture, ask), STATUS_OK);
    commit.issued_ns = ((Strait__PingReply *)(void *)ask->message)->position->log_time_ns;
    core_ask_free(ask);
    store_u64(id + 8, fixture->numbers + 1);
    commit.txn_id = field_of_bytes(bytes_of(id, sizeof id));
    commit.operations = operations;
    commit.n_operations = 1;
    core_fixture_ask(fixture, ask, FRAME_COMMIT, &commit.base);
}

static enum status commit_one(struct core_fixture *fixture, Strait__Operation *operation,
                              uint64_t *version)
{
    struct core_ask ask;
    commit_begin(fixture, operation, &ask);
    enum status status = core_fixture_wait(fixture, &ask);
    if (status == STATUS_OK && version != NULL)
        *version = ((Strait__CommitReply *)(void *)ask.message)->position->version;
    core_ask_free(&ask);
    return status;
}

enum status core_fixture_create_table(struct core_fixture *fixture, const char *table)
{
    Strait__TableCreate create = STRAIT__TABLE_CREATE__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;
    create.table = (char *)(uintptr_t)table;
    operation.kind_case = STRAIT__OPERATION__KIND_TABLE_CREATE;
    operation.table_create = &create;
    return commit_one(fixture, &operation, NULL);
}

enum status core_fixture_put(struct core_fixture *fixture, const char *table, const char *key,
                             const char *value, uint64_t *version)
{
    Strait__Put put = STRAIT__PUT__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;
    put.table = (char *)(uintptr_t)table;
    put.key = field_of_bytes(bytes_of_text(key));
    put.value = field_of_bytes(bytes_of_text(value));
    operation.kind_case = STRAIT__OPERATION__KIND_PUT;
    operation.put = &put;
    return commit_one(fixture, &operation, version);
}

void core_fixture_add_begin(struct core_fixture *fixture, const char *table, const char *key,
                            int64_t amount, struct core_ask *ask)
{
    Strait__Add add = STRAIT__ADD__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;
    add.table = (char *)(uintptr_t)table;
    add.key = field_of_bytes(bytes_of_text(key));
    add.amount = amount;
    operation.kind_case = STRAIT__OPERATION__KIND_ADD;
    operation.add = &add;
    commit_begin(fixture, &operation, ask);
}

enum status core_fixture_get(struct core_fixture *fixture, const char *table, const char *key,
                             char value[64])
{
    Strait__Get get = STRAIT__GET__INIT;
    Strait__Key wanted = STRAIT__KEY__INIT;
    Strait__Key *keys[] = {&wanted};
    struct core_ask ask;

    value[0] = 0;
    wanted.table = (char *)(uintptr_t)table;
    wanted.key = field_of_bytes(bytes_of_text(key));
    get.keys = keys;
    get.n_keys = 1;
    core_fixture_ask(fixture, &ask, FRAME_GET, &get.base);
    enum status status = core_fixture_wait(fixture, &ask);
    if (status == STATUS_OK) {
        const Strait__GetReply *reply = (const void *)ask.message;
        ck_assert_uint_eq(reply->n_records, 1);
        if (reply->records[0]->found)
            snprintf(value, 64, "%.*s", (int)reply->records[0]->value.len,
                     (const char *)reply->records[0]->value.data);
    }
    core_ask_free(&ask);
    return status;
}
