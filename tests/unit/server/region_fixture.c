/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/server/region_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/generator.h"
#include "proto/base/log.h"
#include "server/state/state.h"
#include "storage/io/blocking.h"

enum { letters_max = 4096, memtable_bytes = 256 * 1024, segment_bytes = 256 * 1024 };

struct letter {
    unsigned from;
    unsigned to;
    struct bytes bytes;
};

struct sim_disk *region_disk;
struct region_server region_servers[region_servers_count];
static struct letter letters[letters_max];
static size_t letters_count;
static uint64_t numbers;
static uint64_t log_time_ns;
uint64_t region_scrub_period_ms;
uint32_t region_version_max[region_servers_count];
bool region_upgrade_held;
bool region_is_cut[region_servers_count];

/* ---- The bus ---- */

static bool is_up(unsigned from, unsigned to)
{
    return region_servers[from].core != NULL && region_servers[to].core != NULL &&
           !region_is_cut[from] && !region_is_cut[to];
}

static struct region_server *server_of(struct bus *bus)
{
    return (struct region_server *)(void *)bus;
}

static void attach(struct bus *bus, const struct bus_user *user)
{
    server_of(bus)->user = user != NULL ? *user : (struct bus_user){0};
}

static void set_members(struct bus *bus, const struct membership *membership, uint64_t self)
{
    ck_assert_uint_le(membership->count, region_servers_count);
    server_of(bus)->self = self;
}

static bool send(struct bus *bus, uint64_t to, enum bus_lane lane, const struct bytes *pieces,
                 size_t pieces_count)
{
    const struct region_server *from = server_of(bus);
    size_t size = 0;
    unsigned other = 0;
    (void)lane;
    while (other < region_servers_count && region_servers[other].self != to)
        other++;
    if (other == region_servers_count || !is_up(from->number, other) ||
        letters_count == letters_max)
        return false;
    for (size_t i = 0; i < pieces_count; i++)
        size += pieces[i].size;
    uint8_t *bytes = malloc(size);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0, at = 0; i < pieces_count; at += pieces[i++].size)
        bytes_copy(bytes + at, pieces[i]);
    letters[letters_count++] = (struct letter){from->number, other, bytes_of(bytes, size)};
    return true;
}

static size_t room(struct bus *bus, uint64_t to)
{
    (void)bus;
    (void)to;
    return limit_peer_queue_size;
}

static void flush(struct bus *bus)
{
    ck_assert_ptr_nonnull(bus);
}

static const struct bus_operations operations = {attach, set_members, send, room, flush};

static void deliver(void)
{
    static struct letter taken[letters_max];
    size_t count = letters_count;
    memcpy(taken, letters, count * sizeof taken[0]);
    letters_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct region_server *to = &region_servers[taken[i].to];
        if (is_up(taken[i].from, taken[i].to) && to->user.received != NULL)
            to->user.received(to->user.context, region_servers[taken[i].from].self, taken[i].bytes);
        free((void *)(uintptr_t)taken[i].bytes.data);
    }
}

static void tell_connections(void)
{
    for (unsigned a = 0; a < region_servers_count; a++)
        for (unsigned b = 0; b < region_servers_count; b++) {
            struct region_server *server = &region_servers[a];
            bool up = a != b && region_servers[b].self != 0 && is_up(a, b);
            if (up == server->told[b] || server->core == NULL || server->user.happened == NULL)
                continue;
            server->told[b] = up;
            server->user.happened(server->user.context, region_servers[b].self,
                                  up ? BUS_CONNECTED : BUS_DISCONNECTED);
        }
}

/* ---- Servers ---- */

static void on_failed(void *context, const struct error *error)
{
    struct region_server *server = context;
    server->failed = true;
    server->error = *error;
}

static void probe(void *context, const char *address, const char *name, core_probed_fn *probed,
                  void *probed_context)
{
    unsigned asked = (unsigned)(address[0] - '0');
    uint32_t version_max = region_version_max[asked];
    struct member member = {.id = region_servers[asked].self};
    (void)context;
    snprintf(member.name, sizeof member.name, "%s", name);
    snprintf(member.peers, sizeof member.peers, "%s", address);
    snprintf(member.clients, sizeof member.clients, "%s", address);
    probed(probed_context, STATUS_OK, &member,
           version_max == 0 ? state_cluster_version : version_max, "");
}

enum status region_open_server(unsigned number, bool bootstrap)
{
    struct region_server *server = &region_servers[number];
    struct core_options options = {
        .io = server->io,
        .keyring = server->keyring,
        .directory = server->directory,
        .memtable_size = memtable_bytes,
        .segment_size = segment_bytes,
        .cache_size = 1024 * 1024,
        .workers_inline = true,
        .disk_reserve_size = 1024 * 1024,
        .scrub_period_ms = region_scrub_period_ms,
        .cluster_version_max = region_version_max[number],
        .upgrade_held = region_upgrade_held,
        .bus = &server->bus,
        .bootstrap = bootstrap,
        .seed = 7 + number,
        .probe = probe,
        .failed = on_failed,
        .context = server,
    };
    snprintf(options.self.name, sizeof options.self.name, "s%u", number);
    snprintf(options.self.peers, sizeof options.self.peers, "%u:1", number);
    snprintf(options.self.clients, sizeof options.self.clients, "%u:2", number);
    server->error = (struct error){0};
    return core_open(&options, &server->core, &server->error);
}

static void collect(void)
{
    for (unsigned i = 0; i < region_servers_count; i++) {
        struct request *request;
        while ((request = mailbox_take(&region_servers[i].replies)) != NULL) {
            struct region_asked *asked = (struct region_asked *)(void *)request;
            asked->answered = true;
            asked->status = request->status;
        }
    }
}

void region_turn(void)
{
    bool more = letters_count != 0;
    tell_connections();
    deliver();
    for (unsigned i = 0; i < region_servers_count; i++) {
        struct region_server *server = &region_servers[i];
        if (server->core == NULL)
            continue;
        ck_assert_msg(!server->failed, "s%u: %s", i, server->error.text);
        more = core_turn(server->core) || more;
        io_turn(server->io, false);
    }
    collect();
    if (!more && letters_count == 0)
        ck_assert(sim_disk_turn(region_disk));
}

void region_close_server(unsigned number)
{
    struct region_server *server = &region_servers[number];
    enum status status = core_close(server->core, &server->error);
    ck_assert_msg(status == STATUS_OK, "%s", server->error.text);
    server->core = NULL;
    memset(server->told, 0, sizeof server->told);
    tell_connections();
}

/* Without a word: what is in memory only is gone. */
void region_kill_server(unsigned number)
{
    core_abandon(region_servers[number].core);
    region_servers[number].core = NULL;
    memset(region_servers[number].told, 0, sizeof region_servers[number].told);
}

struct core_facts region_facts_of(unsigned number)
{
    return core_facts(region_servers[number].core);
}

unsigned region_wait_leader(void)
{
    for (int turns = 0; turns < region_turns_max; turns++) {
        for (unsigned i = 0; i < region_servers_count; i++)
            if (region_servers[i].core != NULL && region_facts_of(i).leads &&
                !region_facts_of(i).is_rebuilding)
                return i;
        region_turn();
    }
    ck_abort_msg("nobody leads");
    return 0;
}

/* ---- Requests ---- */

void region_ask_begin(unsigned number, struct region_asked *asked, enum frame_type type,
                      const ProtobufCMessage *message)
{
    struct region_server *server = &region_servers[number];
    uint8_t *bytes = malloc(protobuf_c_message_get_packed_size(message) + 1);
    ck_assert_ptr_nonnull(bytes);
    size_t size = protobuf_c_message_pack(message, bytes);
    *asked = (struct region_asked){.request = {.session = &server->session,
                                               .type = type,
                                               .number = ++numbers,
                                               .received_ns = io_boot_ns(server->io),
                                               .replies = &server->replies}};
    struct request *request = &asked->request;
    list_init(&request->link);
    message_arena_init(&request->arena, size);
    ck_assert(arena_copy(&request->arena, bytes_of(bytes, size), &request->body));
    free(bytes);
    ck_assert_int_eq(message_decode(message->descriptor, request->body, true, &request->arena,
                                    &request->message),
                     STATUS_OK);
    core_take(server->core, request);
}

void region_wait(struct region_asked *asked)
{
    collect();
    for (int turns = 0; !asked->answered; turns++) {
        ck_assert_int_lt(turns, region_turns_max);
        region_turn();
        collect();
    }
}

void region_ask(unsigned number, struct region_asked *asked, enum frame_type type,
                const ProtobufCMessage *message)
{
    region_ask_begin(number, asked, type, message);
    region_wait(asked);
}

struct bytes region_reply_of(const struct region_asked *asked)
{
    const struct request *request = &asked->request;
    return bytes_of(request->reply.data + frame_header_size,
                    request->reply.size - frame_header_size);
}

void region_forget(struct region_asked *asked)
{
    arena_free(&asked->request.arena);
}

/* At whoever leads, until one does it. */
static void commit(Strait__Operation *operation)
{
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    Strait__Ping ping = STRAIT__PING__INIT;
    Strait__Operation *list[] = {operation};
    uint8_t id[16] = {2};
    struct region_asked asked;

    store_u64(id + 8, ++numbers);
    commit.txn_id = field_of_bytes(bytes_of(id, sizeof id));
    commit.operations = list;
    commit.n_operations = 1;
    for (int tries = 0; tries < 2000; tries++) {
        unsigned leader = region_wait_leader();
        region_ask(leader, &asked, FRAME_PING, &ping.base);
        Strait__PingReply *pong = strait__ping_reply__unpack(NULL, region_reply_of(&asked).size,
                                                             region_reply_of(&asked).data);
        if (pong->position->log_time_ns > log_time_ns)
            log_time_ns = pong->position->log_time_ns;
        strait__ping_reply__free_unpacked(pong, NULL);
        region_forget(&asked);
        commit.issued_ns = log_time_ns;
        region_ask(leader, &asked, FRAME_COMMIT, &commit.base);
        enum status status = asked.status;
        region_forget(&asked);
        if (status == STATUS_OK)
            return;
        ck_assert_msg(status == STATUS_NOT_LEADER || status == STATUS_OUTCOME_UNKNOWN ||
                          status == STATUS_BUSY || status == STATUS_SHUTTING_DOWN ||
                          status == STATUS_TXN_EXPIRED,
                      "%s", status_text(status));
        region_turn();
    }
    ck_abort_msg("not committed");
}

void region_put(unsigned i, const char *text)
{
    Strait__Put message = STRAIT__PUT__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;
    struct generator generator;
    char key[16];
    uint8_t value[512]; /* that no compression makes small: the records' table is the largest */
    snprintf(key, sizeof key, "key-%04u", i);
    generator_init(&generator, i);
    generator_fill(&generator, value, sizeof value);
    memcpy(value, text, strlen(text));
    message.table = (char *)(uintptr_t) "things";
    message.key = field_of_bytes(bytes_of_text(key));
    message.value = field_of_bytes(bytes_of(value, sizeof value));
    operation.kind_case = STRAIT__OPERATION__KIND_PUT;
    operation.put = &message;
    commit(&operation);
}

/* A read of any age at one server: its status. */
enum status region_read_one(unsigned number, unsigned i)
{
    Strait__Get get = STRAIT__GET__INIT;
    Strait__Key wanted = STRAIT__KEY__INIT;
    Strait__Key *keys[] = {&wanted};
    Strait__Consistency consistency = STRAIT__CONSISTENCY__INIT;
    char key[16];
    struct region_asked asked;
    snprintf(key, sizeof key, "key-%04u", i);
    consistency.kind = STRAIT__CONSISTENCY__KIND__BOUNDED_STALE;
    consistency.max_staleness_ms = 60 * 60 * 1000;
    wanted.table = (char *)(uintptr_t) "things";
    wanted.key = field_of_bytes(bytes_of_text(key));
    get.keys = keys;
    get.n_keys = 1;
    get.consistency = &consistency;
    region_ask(number, &asked, FRAME_GET, &get.base);
    enum status status = asked.status;
    region_forget(&asked);
    return status;
}

static void change(Strait__MemberChange *message)
{
    for (int tries = 0; tries < 2000; tries++) {
        struct region_asked asked;
        region_ask(region_wait_leader(), &asked, FRAME_MEMBER_CHANGE, &message->base);
        enum status status = asked.status;
        region_forget(&asked);
        if (status == STATUS_OK)
            return;
        for (int i = 0; i < 20; i++)
            region_turn();
    }
    ck_abort_msg("the members do not change");
}

/* ---- Regions ---- */

static void join(unsigned number)
{
    Strait__MemberChange message = STRAIT__MEMBER_CHANGE__INIT;
    char name[8];
    char address[8];
    snprintf(name, sizeof name, "s%u", number);
    snprintf(address, sizeof address, "%u:1", number);
    ck_assert_int_eq(region_open_server(number, false), STATUS_OK);
    region_servers[number].self = region_facts_of(number).member;
    message.name = name;
    message.peers = address;
    message.action = STRAIT__MEMBER_CHANGE__ACTION__ADD;
    change(&message);
    message.action = STRAIT__MEMBER_CHANGE__ACTION__PROMOTE;
    change(&message);
}

void region_wait_equal(void)
{
    for (int turns = 0; turns < region_turns_max; turns++) {
        bool same = true;
        for (unsigned i = 0; i < region_servers_count; i++) {
            struct core_facts facts = region_facts_of(i);
            struct core_facts first = region_facts_of(0);
            same = same && !facts.is_rebuilding && facts.applied_index == first.applied_index;
            if (same && facts.version == first.version)
                ck_assert(facts.chain_digest.low == first.chain_digest.low &&
                          facts.chain_digest.high == first.chain_digest.high);
        }
        if (same)
            return;
        region_turn();
    }
    ck_abort_msg("the replicas do not become equal");
}

void region_close_all(void)
{
    for (unsigned i = 0; i < region_servers_count; i++)
        if (region_servers[i].core != NULL)
            region_close_server(i);
}

void region_open_all(void)
{
    for (unsigned i = 0; i < region_servers_count; i++)
        if (region_servers[i].core == NULL)
            ck_assert_msg(region_open_server(i, false) == STATUS_OK, "s%u: %s", i,
                          region_servers[i].error.text);
}

/* As an installation does. */
static void make_keys(struct region_server *server)
{
    static const uint8_t cluster[seal_id_size] = {9};
    static const char *const names[region_servers_count] = {"key0", "key1", "key2"};
    const struct master_key_source source = {.file = names[server->number]};
    struct keyring_report report;
    struct io_file *file;
    uint8_t key[master_key_size];

    memset(key, (int)server->number + 1, sizeof key);
    ck_assert_int_eq(io_open_wait(server->io, source.file, IO_READ | IO_WRITE | IO_CREATE, &file),
                     STATUS_OK);
    ck_assert_int_eq(io_write_wait(server->io, file, key, sizeof key, 0), STATUS_OK);
    ck_assert_int_eq(io_close_wait(server->io, file), STATUS_OK);
    ck_assert_int_eq(
        keyring_create(server->io, server->directory, &source, cluster, &server->error), STATUS_OK);
    ck_assert_int_eq(keyring_open(server->io, server->directory, &source, &server->keyring, &report,
                                  &server->error),
                     STATUS_OK);
}

/* All have the same records, in tables. */
void region_set_up(void)
{
    Strait__TableCreate create = STRAIT__TABLE_CREATE__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;

    log_descriptor_set(-1);
    region_disk = sim_disk_create(5);
    log_time_ns = 0;
    letters_count = 0;
    memset(region_is_cut, 0, sizeof region_is_cut);
    for (unsigned i = 0; i < region_servers_count; i++) {
        struct region_server *server = &region_servers[i];
        *server = (struct region_server){.bus.operations = &operations, .number = i};
        snprintf(server->directory, sizeof server->directory, "d%u", i);
        server->io = sim_disk_io(region_disk);
        server->session = (struct session){.id = i + 1, .role = ROLE_ADMIN, .identity = "tester"};
        ck_assert_int_eq(io_make_directory_wait(server->io, server->directory), STATUS_OK);
        make_keys(server);
        ck_assert_int_eq(mailbox_open(&server->replies, false, limit_requests_count), STATUS_OK);
    }
    ck_assert_msg(region_open_server(0, true) == STATUS_OK, "%s", region_servers[0].error.text);
    region_servers[0].self = region_facts_of(0).member;
    for (unsigned i = 1; i < region_servers_count; i++)
        join(i);
    create.table = (char *)(uintptr_t) "things";
    operation.kind_case = STRAIT__OPERATION__KIND_TABLE_CREATE;
    operation.table_create = &create;
    commit(&operation);
    for (unsigned i = 0; i < region_records_count; i++)
        region_put(i, "first");
    region_wait_equal();
    region_close_all();
    region_open_all();
    region_put(0, "second");
    region_wait_equal();
}

void region_tear_down(void)
{
    region_close_all();
    for (size_t i = 0; i < letters_count; i++)
        free((void *)(uintptr_t)letters[i].bytes.data);
    letters_count = 0;
    for (unsigned i = 0; i < region_servers_count; i++) {
        mailbox_close(&region_servers[i].replies);
        keyring_close(region_servers[i].keyring);
    }
    ck_assert_uint_eq(sim_disk_open_count(region_disk), 0);
    sim_disk_destroy(region_disk);
}
