/* SPDX-License-Identifier: Apache-2.0 */
/* Regions of three cores on one simulated disk, whose tables are damaged or hold something else. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/generator.h"
#include "proto/base/log.h"
#include "proto/message.h"
#include "server/core.h"
#include "server/state/state.h"
#include "storage/io/blocking.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

enum {
    servers_count = 3,
    letters_max = 4096,
    turns_max = 400 * 1000,
    memtable_bytes = 256 * 1024,
    segment_bytes = 256 * 1024,
    records_count = 150,
};

struct letter {
    unsigned from;
    unsigned to;
    struct bytes bytes;
};

struct server {
    struct bus bus; /* first */
    unsigned number;
    char directory[8];
    struct io *io;
    struct keyring *keyring;
    struct core *core;
    struct bus_user user;
    uint64_t self;
    struct mailbox replies;
    struct session session;
    bool told[servers_count]; /* that the other one is connected */
    bool failed;
    struct error error;
};

/* A request with what became of it. */
struct asked {
    struct request request;
    bool answered;
    enum status status;
    char text[256];
    Strait__CheckReply__Scrub scrub;
};

static struct sim_disk *disk;
static struct server servers[servers_count];
static struct letter letters[letters_max];
static size_t letters_count;
static uint64_t numbers;
static uint64_t log_time_ns;
static uint64_t scrub_period_ms;
static bool is_cut[servers_count]; /* nothing goes to it or comes from it */

/* ---- The bus ---- */

static bool is_up(unsigned from, unsigned to)
{
    return servers[from].core != NULL && servers[to].core != NULL && !is_cut[from] && !is_cut[to];
}

static struct server *server_of(struct bus *bus)
{
    return (struct server *)(void *)bus;
}

static void attach(struct bus *bus, const struct bus_user *user)
{
    server_of(bus)->user = user != NULL ? *user : (struct bus_user){0};
}

static void set_members(struct bus *bus, const struct membership *membership, uint64_t self)
{
    ck_assert_uint_le(membership->count, servers_count);
    server_of(bus)->self = self;
}

static bool send(struct bus *bus, uint64_t to, enum bus_lane lane, const struct bytes *pieces,
                 size_t pieces_count)
{
    const struct server *from = server_of(bus);
    size_t size = 0;
    unsigned other = 0;
    (void)lane;
    while (other < servers_count && servers[other].self != to)
        other++;
    if (other == servers_count || !is_up(from->number, other) || letters_count == letters_max)
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
        struct server *to = &servers[taken[i].to];
        if (is_up(taken[i].from, taken[i].to) && to->user.received != NULL)
            to->user.received(to->user.context, servers[taken[i].from].self, taken[i].bytes);
        free((void *)(uintptr_t)taken[i].bytes.data);
    }
}

static void tell_connections(void)
{
    for (unsigned a = 0; a < servers_count; a++)
        for (unsigned b = 0; b < servers_count; b++) {
            struct server *server = &servers[a];
            bool up = a != b && servers[b].self != 0 && is_up(a, b);
            if (up == server->told[b] || server->core == NULL || server->user.happened == NULL)
                continue;
            server->told[b] = up;
            server->user.happened(server->user.context, servers[b].self,
                                  up ? BUS_CONNECTED : BUS_DISCONNECTED);
        }
}

/* ---- Servers ---- */

static void on_failed(void *context, const struct error *error)
{
    struct server *server = context;
    server->failed = true;
    server->error = *error;
}

static void probe(void *context, const char *address, const char *name, core_probed_fn *probed,
                  void *probed_context)
{
    struct member member = {.id = servers[address[0] - '0'].self};
    (void)context;
    snprintf(member.name, sizeof member.name, "%s", name);
    snprintf(member.peers, sizeof member.peers, "%s", address);
    snprintf(member.clients, sizeof member.clients, "%s", address);
    probed(probed_context, STATUS_OK, &member, "");
}

static enum status open_server(unsigned number, bool bootstrap)
{
    struct server *server = &servers[number];
    struct core_options options = {
        .io = server->io,
        .keyring = server->keyring,
        .directory = server->directory,
        .memtable_size = memtable_bytes,
        .segment_size = segment_bytes,
        .cache_size = 1024 * 1024,
        .workers_inline = true,
        .disk_reserve_size = 1024 * 1024,
        .scrub_period_ms = scrub_period_ms,
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
    for (unsigned i = 0; i < servers_count; i++) {
        struct request *request;
        while ((request = mailbox_take(&servers[i].replies)) != NULL) {
            struct asked *asked = (struct asked *)(void *)request;
            asked->answered = true;
            asked->status = request->status;
        }
    }
}

static void turn(void)
{
    bool more = letters_count != 0;
    tell_connections();
    deliver();
    for (unsigned i = 0; i < servers_count; i++) {
        struct server *server = &servers[i];
        if (server->core == NULL)
            continue;
        ck_assert_msg(!server->failed, "s%u: %s", i, server->error.text);
        more = core_turn(server->core) || more;
        io_turn(server->io, false);
    }
    collect();
    if (!more && letters_count == 0)
        ck_assert(sim_disk_turn(disk));
}

static void close_server(unsigned number)
{
    struct server *server = &servers[number];
    enum status status = core_close(server->core, &server->error);
    ck_assert_msg(status == STATUS_OK, "%s", server->error.text);
    server->core = NULL;
    memset(server->told, 0, sizeof server->told);
    tell_connections();
}

/* Without a word: what is in memory only is gone. */
static void kill_server(unsigned number)
{
    core_abandon(servers[number].core);
    servers[number].core = NULL;
    memset(servers[number].told, 0, sizeof servers[number].told);
}

static struct core_facts facts_of(unsigned number)
{
    return core_facts(servers[number].core);
}

static unsigned wait_leader(void)
{
    for (int turns = 0; turns < turns_max; turns++) {
        for (unsigned i = 0; i < servers_count; i++)
            if (servers[i].core != NULL && facts_of(i).leads && !facts_of(i).is_rebuilding)
                return i;
        turn();
    }
    ck_abort_msg("nobody leads");
    return 0;
}

/* ---- Requests ---- */

static void ask(unsigned number, struct asked *asked, enum frame_type type,
                const ProtobufCMessage *message)
{
    struct server *server = &servers[number];
    uint8_t *bytes = malloc(protobuf_c_message_get_packed_size(message) + 1);
    ck_assert_ptr_nonnull(bytes);
    size_t size = protobuf_c_message_pack(message, bytes);
    *asked = (struct asked){.request = {.session = &server->session,
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
    for (int turns = 0; !asked->answered; turns++) {
        ck_assert_int_lt(turns, turns_max);
        turn();
        collect();
    }
}

static struct bytes reply_of(const struct asked *asked)
{
    const struct request *request = &asked->request;
    return bytes_of(request->reply.data + frame_header_size,
                    request->reply.size - frame_header_size);
}

static void forget(struct asked *asked)
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
    struct asked asked;

    store_u64(id + 8, ++numbers);
    commit.txn_id = field_of_bytes(bytes_of(id, sizeof id));
    commit.operations = list;
    commit.n_operations = 1;
    for (int tries = 0; tries < 2000; tries++) {
        unsigned leader = wait_leader();
        ask(leader, &asked, FRAME_PING, &ping.base);
        Strait__PingReply *pong =
            strait__ping_reply__unpack(NULL, reply_of(&asked).size, reply_of(&asked).data);
        if (pong->position->log_time_ns > log_time_ns)
            log_time_ns = pong->position->log_time_ns;
        strait__ping_reply__free_unpacked(pong, NULL);
        forget(&asked);
        commit.issued_ns = log_time_ns;
        ask(leader, &asked, FRAME_COMMIT, &commit.base);
        enum status status = asked.status;
        forget(&asked);
        if (status == STATUS_OK)
            return;
        ck_assert_msg(status == STATUS_NOT_LEADER || status == STATUS_OUTCOME_UNKNOWN ||
                          status == STATUS_BUSY || status == STATUS_SHUTTING_DOWN ||
                          status == STATUS_TXN_EXPIRED,
                      "%s", status_text(status));
        turn();
    }
    ck_abort_msg("not committed");
}

static void put(unsigned i, const char *text)
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
static enum status read_one(unsigned number, unsigned i)
{
    Strait__Get get = STRAIT__GET__INIT;
    Strait__Key wanted = STRAIT__KEY__INIT;
    Strait__Key *keys[] = {&wanted};
    Strait__Consistency consistency = STRAIT__CONSISTENCY__INIT;
    char key[16];
    struct asked asked;
    snprintf(key, sizeof key, "key-%04u", i);
    consistency.kind = STRAIT__CONSISTENCY__KIND__BOUNDED_STALE;
    consistency.max_staleness_ms = 60 * 60 * 1000;
    wanted.table = (char *)(uintptr_t) "things";
    wanted.key = field_of_bytes(bytes_of_text(key));
    get.keys = keys;
    get.n_keys = 1;
    get.consistency = &consistency;
    ask(number, &asked, FRAME_GET, &get.base);
    enum status status = asked.status;
    forget(&asked);
    return status;
}

static void change(Strait__MemberChange *message)
{
    for (int tries = 0; tries < 2000; tries++) {
        struct asked asked;
        ask(wait_leader(), &asked, FRAME_MEMBER_CHANGE, &message->base);
        enum status status = asked.status;
        forget(&asked);
        if (status == STATUS_OK)
            return;
        for (int i = 0; i < 20; i++)
            turn();
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
    ck_assert_int_eq(open_server(number, false), STATUS_OK);
    servers[number].self = facts_of(number).member;
    message.name = name;
    message.peers = address;
    message.action = STRAIT__MEMBER_CHANGE__ACTION__ADD;
    change(&message);
    message.action = STRAIT__MEMBER_CHANGE__ACTION__PROMOTE;
    change(&message);
}

static void wait_equal(void)
{
    for (int turns = 0; turns < turns_max; turns++) {
        bool same = true;
        for (unsigned i = 0; i < servers_count; i++) {
            struct core_facts facts = facts_of(i);
            struct core_facts first = facts_of(0);
            same = same && !facts.is_rebuilding && facts.applied_index == first.applied_index;
            if (same && facts.version == first.version)
                ck_assert(facts.chain_digest.low == first.chain_digest.low &&
                          facts.chain_digest.high == first.chain_digest.high);
        }
        if (same)
            return;
        turn();
    }
    ck_abort_msg("the replicas do not become equal");
}

static void close_all(void)
{
    for (unsigned i = 0; i < servers_count; i++)
        if (servers[i].core != NULL)
            close_server(i);
}

static void open_all(void)
{
    for (unsigned i = 0; i < servers_count; i++)
        if (servers[i].core == NULL)
            ck_assert_msg(open_server(i, false) == STATUS_OK, "s%u: %s", i, servers[i].error.text);
}

/* As an installation does. */
static void make_keys(struct server *server)
{
    static const uint8_t cluster[seal_id_size] = {9};
    static const char *const names[servers_count] = {"key0", "key1", "key2"};
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
static void set_up(void)
{
    Strait__TableCreate create = STRAIT__TABLE_CREATE__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;

    log_descriptor_set(-1);
    disk = sim_disk_create(5);
    log_time_ns = 0;
    letters_count = 0;
    memset(is_cut, 0, sizeof is_cut);
    for (unsigned i = 0; i < servers_count; i++) {
        struct server *server = &servers[i];
        *server = (struct server){.bus.operations = &operations, .number = i};
        snprintf(server->directory, sizeof server->directory, "d%u", i);
        server->io = sim_disk_io(disk);
        server->session = (struct session){.id = i + 1, .role = ROLE_ADMIN, .identity = "tester"};
        ck_assert_int_eq(io_make_directory_wait(server->io, server->directory), STATUS_OK);
        make_keys(server);
        ck_assert_int_eq(mailbox_open(&server->replies, false, limit_requests_count), STATUS_OK);
    }
    ck_assert_msg(open_server(0, true) == STATUS_OK, "%s", servers[0].error.text);
    servers[0].self = facts_of(0).member;
    for (unsigned i = 1; i < servers_count; i++)
        join(i);
    create.table = (char *)(uintptr_t) "things";
    operation.kind_case = STRAIT__OPERATION__KIND_TABLE_CREATE;
    operation.table_create = &create;
    commit(&operation);
    for (unsigned i = 0; i < records_count; i++)
        put(i, "first");
    wait_equal();
    close_all();
    open_all();
    put(0, "second");
    wait_equal();
}

static void tear_down(void)
{
    close_all();
    for (size_t i = 0; i < letters_count; i++)
        free((void *)(uintptr_t)letters[i].bytes.data);
    letters_count = 0;
    for (unsigned i = 0; i < servers_count; i++) {
        mailbox_close(&servers[i].replies);
        keyring_close(servers[i].keyring);
    }
    ck_assert_uint_eq(sim_disk_open_count(disk), 0);
    sim_disk_destroy(disk);
}

/* ---- Damage ---- */

struct largest {
    char prefix[16];
    char path[64];
    uint64_t size;
};

static void look(void *context, const char *path, uint64_t size)
{
    struct largest *largest = context;
    if (strstr(path, largest->prefix) != NULL && strstr(path, ".table") != NULL &&
        size > largest->size) {
        snprintf(largest->path, sizeof largest->path, "%s", path);
        largest->size = size;
    }
}

/* One bit of the first block of a server's largest table, or of its end. */
static void damage(unsigned number, bool at_end, char path[64])
{
    struct largest largest = {0};
    snprintf(largest.prefix, sizeof largest.prefix, "d%u/lsm/", number);
    sim_disk_each_file(disk, look, &largest);
    ck_assert_uint_ne(largest.size, 0);
    sim_disk_flip_bit(disk, largest.path, at_end ? largest.size - 40 : 6000, 3);
    memcpy(path, largest.path, sizeof largest.path);
}

static void wait_rebuilt(unsigned number)
{
    for (int turns = 0; facts_of(number).rebuilds_count == 0; turns++) {
        ck_assert_int_lt(turns, turns_max);
        turn();
    }
    ck_assert(!facts_of(number).is_rebuilding);
}

static void check_server(unsigned number)
{
    Strait__Check check = STRAIT__CHECK__INIT;
    check.start = true;
    for (bool running = true; running; check.start = false) {
        struct asked asked;
        ask(number, &asked, FRAME_CHECK, &check.base);
        ck_assert_int_eq(asked.status, STATUS_OK);
        Strait__CheckReply *reply =
            strait__check_reply__unpack(NULL, reply_of(&asked).size, reply_of(&asked).data);
        running = reply->running;
        strait__check_reply__free_unpacked(reply, NULL);
        forget(&asked);
        turn();
    }
}

/* All agree, by what they have on disk. */
static void scrub_all(unsigned agreed_wanted)
{
    Strait__Check check = STRAIT__CHECK__INIT;
    check.start = true;
    check.scrub = true;
    for (int tries = 0; tries < 20000; tries++) {
        struct asked asked;
        bool done = false;
        ask(wait_leader(), &asked, FRAME_CHECK, &check.base);
        if (asked.status == STATUS_OK) {
            check.start = false;
            Strait__CheckReply *reply =
                strait__check_reply__unpack(NULL, reply_of(&asked).size, reply_of(&asked).data);
            done = !reply->scrub->running;
            if (done) {
                ck_assert(!reply->scrub->failed);
                ck_assert_uint_eq(reply->scrub->members_count, servers_count);
                ck_assert_uint_eq(reply->scrub->agreed_count, agreed_wanted);
            }
            strait__check_reply__free_unpacked(reply, NULL);
        }
        forget(&asked);
        if (done)
            return;
        turn();
    }
    ck_abort_msg("the scrub does not end");
}

static unsigned other_than(unsigned number)
{
    return (number + 1) % servers_count;
}

/* ---- Tests ---- */

START_TEST(test_a_scrub_agrees)
{
    set_up();
    scrub_all(3);
    for (unsigned i = 0; i < servers_count; i++) {
        ck_assert_uint_eq(facts_of(i).rebuilds_count, 0);
        ck_assert_uint_ge(facts_of(i).scrubs_count, 1);
    }
    tear_down();
}
END_TEST

START_TEST(test_scrubs_come_by_themselves)
{
    scrub_period_ms = 3000;
    set_up();
    uint64_t before = facts_of(1).scrubs_count;
    for (int turns = 0; facts_of(1).scrubs_count < before + 3; turns++) {
        ck_assert_int_lt(turns, turns_max);
        turn();
    }
    wait_equal();
    tear_down();
    scrub_period_ms = 0;
}
END_TEST

/* Met by a check, a scrub, a read or a start; at a follower or the leader. */
START_TEST(test_damage_is_healed)
{
    bool of_leader = _i % 2 != 0;
    char path[64];
    set_up();
    unsigned leader = wait_leader();
    unsigned hurt = of_leader ? leader : other_than(leader);
    switch (_i / 2) {
    case 0:
        damage(hurt, false, path);
        check_server(hurt);
        break;
    case 1:
        damage(hurt, false, path);
        scrub_all(2);
        break;
    case 2:
        damage(hurt, false, path);
        for (unsigned i = 0; i < records_count && !facts_of(hurt).is_rebuilding; i++) {
            enum status status = read_one(hurt, i);
            ck_assert(status == STATUS_OK || status == STATUS_NOT_LEADER);
        }
        break;
    default:
        close_server(hurt);
        damage(hurt, true, path);
        ck_assert_msg(open_server(hurt, false) == STATUS_OK, "%s", servers[hurt].error.text);
        ck_assert(facts_of(hurt).is_rebuilding);
        ck_assert_str_eq(facts_of(hurt).role, "rebuilding");
    }
    wait_rebuilt(hurt);
    for (unsigned i = 0; i < 20; i++)
        put(i, "third");
    wait_equal();
    ck_assert_uint_eq(facts_of(hurt).odd_version, 0);
    scrub_all(3);
    for (unsigned i = 0; i < servers_count; i++)
        ck_assert_uint_eq(facts_of(i).rebuilds_count, i == hurt);
    /* Nothing of the old content is left. */
    ck_assert(!sim_disk_exists(disk, path));
    close_all();
    open_all();
    ck_assert(!facts_of(hurt).is_rebuilding);
    wait_equal();
    tear_down();
}
END_TEST

/* While nobody can serve it, it answers nothing, and it neither gives up nor forgets. */
START_TEST(test_it_waits_and_begins_again)
{
    char path[64];
    char mark[16];
    set_up();
    unsigned hurt = other_than(wait_leader());
    for (unsigned i = 0; i < servers_count; i++)
        is_cut[i] = i != hurt;
    is_cut[hurt] = true;
    damage(hurt, false, path);
    check_server(hurt);
    snprintf(mark, sizeof mark, "d%u/rebuild", hurt);
    for (int turns = 0; !sim_disk_exists(disk, mark); turns++) {
        ck_assert_int_lt(turns, turns_max);
        turn();
    }
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(facts_of(hurt).is_rebuilding);
        ck_assert_int_eq(read_one(hurt, 1), STATUS_NOT_LEADER);
        if (i % 2 == 0)
            kill_server(hurt);
        else
            close_server(hurt);
        ck_assert_msg(open_server(hurt, false) == STATUS_OK, "%s", servers[hurt].error.text);
        for (int turns = 0; turns < 200; turns++)
            turn();
    }
    memset(is_cut, 0, sizeof is_cut);
    wait_rebuilt(hurt);
    for (int turns = 0; sim_disk_exists(disk, mark); turns++) {
        ck_assert_int_lt(turns, turns_max);
        turn();
    }
    wait_equal();
    scrub_all(3);
    tear_down();
}
END_TEST

/* Killed at many moments of the rebuild, it comes to its end all the same. */
START_TEST(test_killed_within)
{
    char path[64];
    set_up();
    unsigned hurt = other_than(wait_leader());
    damage(hurt, false, path);
    check_server(hurt);
    unsigned kills_count = 0;
    for (unsigned span = 5; kills_count < 25; span += 23) {
        for (unsigned i = 0; i < span && facts_of(hurt).rebuilds_count == 0; i++)
            turn();
        if (facts_of(hurt).rebuilds_count != 0)
            break;
        kill_server(hurt);
        kills_count++;
        ck_assert_msg(open_server(hurt, false) == STATUS_OK, "%s", servers[hurt].error.text);
    }
    ck_assert_uint_ge(kills_count, 3);
    wait_equal();
    put(1, "third");
    wait_equal();
    scrub_all(3);
    tear_down();
}
END_TEST

static struct lsm *open_lsm(unsigned number, struct lsm_mark *mark)
{
    struct server *server = &servers[number];
    char directory[32];
    struct lsm *lsm;
    struct lsm_report report;
    snprintf(directory, sizeof directory, "%s/lsm", server->directory);
    const struct lsm_options options = {.io = server->io,
                                        .keyring = server->keyring,
                                        .directory = directory,
                                        .trees = state_trees,
                                        .trees_count = state_trees_count};
    ck_assert_int_eq(lsm_open(&options, &lsm, mark, &report, &server->error), STATUS_OK);
    return lsm;
}

/* A replica that was killed gets the mark that another one has come to, and not what was written up
 * to it, but something else, all of it properly sealed: what a bug would make. */
static void make_other(unsigned number, unsigned donor, bool is_chain)
{
    static const uint8_t key[] = {0, 0, 0, 1, 'x'};
    const struct lsm_write write = {.tree = STATE_TREE_INDEXES, .key = bytes_of(key, sizeof key)};
    struct lsm_mark mark;
    struct lsm_mark own;
    struct lsm_job *job;
    struct error error = {0};

    lsm_close(open_lsm(donor, &mark));
    struct lsm *lsm = open_lsm(number, &own);
    ck_assert_uint_lt(own.version, mark.version);
    mark.state[33] ^= is_chain ? 1 : 0; /* within the chain's digest */
    ck_assert(lsm_has_room(lsm, 4096));
    lsm_publish(lsm, &write, 1, &mark);
    lsm_seal(lsm);
    while ((job = lsm_job_take(lsm)) != NULL) {
        while (!lsm_job_step(job, servers[number].io))
            continue;
        ck_assert_int_eq(lsm_job_return(lsm, job, &error), STATUS_OK);
    }
    lsm_close(lsm);
}

START_TEST(test_another_state_is_rebuilt)
{
    bool is_chain = _i != 0;
    set_up();
    unsigned hurt = other_than(wait_leader());
    unsigned donor = other_than(hurt);
    wait_equal();
    kill_server(hurt);
    close_server(donor);
    make_other(hurt, donor, is_chain);
    open_all();
    put(2, "third");
    if (!is_chain)
        scrub_all(2);
    wait_rebuilt(hurt);
    ck_assert_uint_ne(facts_of(hurt).odd_version, 0);
    put(3, "third");
    wait_equal();
    scrub_all(3);
    tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_a_scrub_agrees);
    tcase_add_test(tests, test_scrubs_come_by_themselves);
    tcase_add_loop_test(tests, test_damage_is_healed, 0, 8);
    tcase_add_test(tests, test_it_waits_and_begins_again);
    tcase_add_test(tests, test_killed_within);
    tcase_add_loop_test(tests, test_another_state_is_rebuilt, 0, 2);
}
