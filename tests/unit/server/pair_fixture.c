/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/server/pair_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/message.h"

enum { turns_max = 400 * 1000 };

#define NS_PER_MS 1000000ULL

struct pair_server pair_servers[pair_count];
bool pair_is_cut;
unsigned pair_verifications_count;
uint32_t pair_version_max[pair_count];

static struct sim_disk *disk;
static const char *const names[pair_count] = {"one", "two"};
static const char *const endpoints[pair_count] = {"one:7400", "two:7400"};

struct core_fixture *pair_fixture(unsigned number)
{
    return &pair_servers[number].fixture;
}

struct core_facts pair_facts(unsigned number)
{
    return core_facts(pair_fixture(number)->core);
}

/* ---- Links ---- */

static struct pair_link *link_of(struct link *link)
{
    return (struct pair_link *)(void *)link;
}

static void on_attach(struct link *link, const struct link_user *user)
{
    link_of(link)->user = user == NULL ? (struct link_user){0} : *user;
}

static void on_endpoints(struct link *link, const char *const *wanted, size_t count)
{
    const char *other = endpoints[1 - link_of(link)->from];
    link_of(link)->wanted = NULL;
    for (size_t i = 0; i < count; i++)
        if (strcmp(wanted[i], other) == 0)
            link_of(link)->wanted = other;
}

static enum status on_send(struct link *base, enum frame_type type, const ProtobufCMessage *message,
                           uint32_t timeout_ms, void *context)
{
    struct pair_link *link = link_of(base);
    struct pair_server *to = &pair_servers[1 - link->from];
    (void)timeout_ms;

    if (!link->connected)
        return STATUS_UNREACHABLE;
    if (link->letters_count == pair_link_requests_max)
        return STATUS_BUSY;
    struct pair_letter *letter = calloc(1, sizeof *letter);
    ck_assert_ptr_nonnull(letter);
    struct request *request = &letter->request;
    letter->link = link;
    letter->context = context;
    size_t size = protobuf_c_message_get_packed_size(message);
    *request = (struct request){.session = &to->peer,
                                .type = type,
                                .number = ++link->sends_count,
                                .received_ns = io_boot_ns(to->fixture.io),
                                .replies = &to->peer_replies};
    list_init(&request->link);
    message_arena_init(&request->arena, size);
    uint8_t *bytes = malloc(size + 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(protobuf_c_message_pack(message, bytes), size);
    ck_assert(arena_copy(&request->arena, bytes_of(bytes, size), &request->body));
    free(bytes);
    ck_assert_int_eq(message_decode(message->descriptor, request->body, true, &request->arena,
                                    &request->message),
                     STATUS_OK);
    link->letters[link->letters_count++] = letter;
    return STATUS_OK;
}

static void on_leave(struct link *link, const char *reason)
{
    ck_assert_ptr_nonnull(reason);
    link_of(link)->leaves = true;
}

static const char *on_trouble(const struct link *link)
{
    const struct pair_link *from = (const struct pair_link *)link;
    return from->wanted != NULL && !from->connected ? "it is cut" : "";
}

static const struct link_operations operations = {on_attach, on_endpoints, on_send, on_leave,
                                                  on_trouble};

static void letter_free(struct pair_letter *letter)
{
    arena_free(&letter->request.arena);
    free(letter);
}

static void tell_replied(const struct pair_link *link, void *context, enum status status,
                         const ProtobufCMessage *message)
{
    if (link->user.replied != NULL)
        link->user.replied(link->user.context, context, status, message);
}

/* What the other core has taken is freed when it answers. */
static void link_break(struct pair_link *link)
{
    unsigned count = link->letters_count;
    struct pair_letter *lost[pair_link_requests_max];

    memcpy(lost, link->letters, count * sizeof lost[0]);
    link->letters_count = 0;
    link->connected = false;
    link->leaves = false;
    for (unsigned i = 0; i < count; i++) {
        void *context = lost[i]->context;
        lost[i]->link = NULL;
        if (lost[i]->step != PAIR_TAKEN)
            letter_free(lost[i]);
        tell_replied(link, context, STATUS_DISCONNECTED, NULL);
    }
    if (link->user.disconnected != NULL)
        link->user.disconnected(link->user.context, "cut");
}

static void letter_deliver(struct pair_link *link, struct pair_letter *letter)
{
    struct request *request = &letter->request;
    ProtobufCMessage *message;
    const ProtobufCMessageDescriptor *descriptor =
        request->status != STATUS_OK         ? &strait__refusal__descriptor
        : request->type == FRAME_REGION_PULL ? &strait__region_pull_reply__descriptor
                                             : &strait__region_checkpoint_reply__descriptor;
    struct bytes body =
        bytes_of(request->reply.data + frame_header_size, request->reply.size - frame_header_size);

    ck_assert(request->type == FRAME_REGION_PULL || request->type == FRAME_REGION_CHECKPOINT);
    ck_assert_int_eq(message_decode(descriptor, body, true, &request->arena, &message), STATUS_OK);
    tell_replied(link, letter->context, request->status, message);
    letter_free(letter);
}

/* Returns whether anything moved. */
static bool link_turn(struct pair_link *link)
{
    const struct pair_server *other = &pair_servers[1 - link->from];
    bool can = link->wanted != NULL && !pair_is_cut && other->fixture.core != NULL &&
               link->user.replied != NULL && !link->leaves;
    bool moved = can != link->connected;
    struct pair_letter *ready[pair_link_requests_max];
    unsigned ready_count = 0;
    unsigned kept_count = 0;

    if (link->connected && !can)
        link_break(link);
    link->leaves = false;
    if (!can)
        return moved;
    if (!link->connected) {
        link->connected = true;
        link->user.connected(link->user.context, link->wanted);
    }
    for (unsigned i = 0; i < link->letters_count; i++) {
        if (link->letters[i]->step == PAIR_ANSWERED)
            ready[ready_count++] = link->letters[i];
        else
            link->letters[kept_count++] = link->letters[i];
    }
    link->letters_count = kept_count;
    for (unsigned i = 0; i < kept_count; i++) {
        if (link->letters[i]->step != PAIR_SENT)
            continue;
        link->letters[i]->step = PAIR_TAKEN;
        core_take(other->fixture.core, &link->letters[i]->request);
        moved = true;
    }
    for (unsigned i = 0; i < ready_count; i++)
        letter_deliver(link, ready[i]);
    return moved || ready_count != 0;
}

static void collect_peers(struct pair_server *server)
{
    struct request *request;
    while ((request = mailbox_take(&server->peer_replies)) != NULL) {
        struct pair_letter *letter = (struct pair_letter *)(void *)request;
        ck_assert_int_eq(letter->step, PAIR_TAKEN);
        letter->step = PAIR_ANSWERED;
        if (letter->link == NULL)
            letter_free(letter);
    }
}

/* ---- Turns ---- */

void pair_turn(void)
{
    bool more = false;
    for (unsigned i = 0; i < pair_count; i++) {
        struct pair_server *server = &pair_servers[i];
        if (server->fixture.core == NULL)
            continue;
        ck_assert_msg(!server->fixture.failed, "%s: %s", names[i], server->fixture.error.text);
        more = core_turn(server->fixture.core) || more;
        io_turn(server->fixture.io, false);
        core_fixture_collect(&server->fixture);
        collect_peers(server);
    }
    for (unsigned i = 0; i < pair_count; i++) {
        more = link_turn(&pair_servers[i].link) || more;
        more = link_turn(&pair_servers[i].herald) || more;
    }
    if (!more)
        ck_assert(sim_disk_turn(disk));
}

void pair_run_ms(uint64_t ms)
{
    uint64_t until_ns = sim_disk_now_ns(disk) + ms * NS_PER_MS;
    for (int turns = 0; sim_disk_now_ns(disk) < until_ns; turns++) {
        ck_assert_int_lt(turns, turns_max);
        pair_turn();
    }
}

void pair_wait_level(void)
{
    for (int turns = 0; turns < turns_max; turns++) {
        struct core_facts one = pair_facts(0);
        struct core_facts two = pair_facts(1);
        if (one.version == two.version) {
            ck_assert(memcmp(&one.chain_digest, &two.chain_digest, sizeof one.chain_digest) == 0);
            return;
        }
        pair_turn();
    }
    ck_abort_msg("the two do not become level");
}

/* ---- Records ---- */

void pair_record_make(struct epoch epoch, uint8_t record[pair_record_size])
{
    record[0] = 'P';
    store_u64(record + 1, epoch.number);
    store_u32(record + 9, epoch.region);
}

static enum status promotion_sign(void *context, const struct epoch_change *change,
                                  const struct region *self, uint8_t *record, size_t *size,
                                  struct error *error)
{
    const struct core_fixture *fixture = context;
    (void)error;
    ck_assert_uint_eq(self->id, fixture->options.region_id);
    ck_assert_uint_eq(change->to.region, self->id);
    pair_record_make(change->to, record);
    *size = pair_record_size;
    return STATUS_OK;
}

static enum status promotion_verify(void *context, struct bytes record, struct epoch *to,
                                    struct error *error)
{
    (void)context;
    pair_verifications_count++;
    *to = (struct epoch){0};
    if (record.size != pair_record_size || record.data[0] != 'P')
        return error_set(error, STATUS_MALFORMED, "That is no record.");
    *to = (struct epoch){.number = load_u64(record.data + 1), .region = load_u32(record.data + 9)};
    return STATUS_OK;
}

/* ---- Servers ---- */

static void server_begin(unsigned number)
{
    struct pair_server *server = &pair_servers[number];
    struct core_fixture *fixture = &server->fixture;

    *server = (struct pair_server){0};
    core_fixture_begin_on(fixture, disk, names[number], 20 + number);
    fixture->turn = pair_turn;
    server->link = (struct pair_link){.link.operations = &operations, .from = number};
    server->herald = (struct pair_link){.link.operations = &operations, .from = number};
    server->peer = (struct session){.id = 2, .role = ROLE_PEER};
    snprintf(server->peer.identity, sizeof server->peer.identity, "%s", names[1 - number]);
    ck_assert_int_eq(mailbox_open(&server->peer_replies, false, limit_requests_count), STATUS_OK);
    fixture->options.region_id = number + 1;
    fixture->options.link = &server->link.link;
    fixture->options.herald_link = &server->herald.link;
    fixture->options.promotion_sign = promotion_sign;
    fixture->options.promotion_verify = promotion_verify;
    if (number != 0) {
        fixture->options.standby_of = &endpoints[0];
        fixture->options.standby_of_count = 1;
    }
}

void pair_open(unsigned number)
{
    pair_fixture(number)->options.cluster_version_max = pair_version_max[number];
    enum status status = core_fixture_open(pair_fixture(number));
    ck_assert_msg(status == STATUS_OK, "%s: %s", names[number], pair_fixture(number)->error.text);
}

/* A core that closes knows of no connections: those to it end after that. */
static void end_connections(struct pair_server *server)
{
    core_fixture_collect(&server->fixture);
    collect_peers(server);
    for (unsigned i = 0; i < pair_count; i++) {
        if (pair_servers[i].link.connected)
            link_break(&pair_servers[i].link);
        if (pair_servers[i].herald.connected)
            link_break(&pair_servers[i].herald);
    }
    server->link.wanted = NULL;
    server->herald.wanted = NULL;
}

void pair_close(unsigned number)
{
    core_fixture_close(&pair_servers[number].fixture);
    end_connections(&pair_servers[number]);
}

void pair_abandon(unsigned number)
{
    struct core_fixture *fixture = pair_fixture(number);
    ck_assert(fixture->failed);
    core_abandon(fixture->core);
    fixture->core = NULL;
    fixture->failed = false;
    end_connections(&pair_servers[number]);
}

void pair_crash(uint64_t seed)
{
    sim_disk_crash_now(disk);
    for (unsigned i = 0; i < pair_count; i++) {
        core_abandon(pair_servers[i].fixture.core);
        pair_servers[i].fixture.core = NULL;
    }
    for (unsigned i = 0; i < pair_count; i++)
        end_connections(&pair_servers[i]);
    sim_disk_restart(disk, seed, SIM_RESTART_RANDOM);
    for (unsigned i = 0; i < pair_count; i++)
        pair_servers[i].fixture.io = sim_disk_io(disk);
}

void pair_begin(void)
{
    disk = sim_disk_create(4);
    pair_is_cut = false;
    for (unsigned i = 0; i < pair_count; i++)
        server_begin(i);
    pair_open(0);
}

void pair_set_up(void)
{
    pair_begin();
    for (unsigned i = 0; i < pair_count; i++)
        ck_assert_int_eq(
            pair_change(0, STRAIT__REGION_CHANGE__ACTION__ADD, i + 1, names[i], endpoints[i]),
            STATUS_OK);
    ck_assert_int_eq(core_fixture_create_table(pair_fixture(0), "t"), STATUS_OK);
    pair_open(1);
    pair_wait_level();
}

void pair_tear_down(void)
{
    for (unsigned i = 0; i < pair_count; i++)
        if (pair_servers[i].fixture.core != NULL)
            pair_close(i);
    for (unsigned i = 0; i < pair_count; i++) {
        mailbox_close(&pair_servers[i].peer_replies);
        core_fixture_end(&pair_servers[i].fixture);
    }
    ck_assert_uint_eq(sim_disk_open_count(disk), 0);
    sim_disk_destroy(disk);
}

/* ---- Requests ---- */

enum status pair_ask(unsigned number, struct core_ask *ask, enum frame_type type,
                     const ProtobufCMessage *message)
{
    core_fixture_ask(pair_fixture(number), ask, type, message);
    return core_fixture_wait(pair_fixture(number), ask);
}

enum status pair_put(unsigned number, const char *key, const char *value)
{
    return core_fixture_put(pair_fixture(number), "t", key, value, NULL);
}

enum status pair_change(unsigned number, Strait__RegionChange__Action action, uint32_t id,
                        const char *name, const char *endpoint)
{
    Strait__RegionChange change = STRAIT__REGION_CHANGE__INIT;
    Strait__Region region = STRAIT__REGION__INIT;
    char *list[] = {(char *)(uintptr_t)endpoint};
    struct core_ask ask;

    region.id = id;
    region.name = (char *)(uintptr_t)name;
    region.endpoints = list;
    region.n_endpoints = endpoint == NULL ? 0 : 1;
    change.action = action;
    change.region = name == NULL ? NULL : &region;
    enum status status = pair_ask(number, &ask, FRAME_REGION_CHANGE, &change.base);
    core_ask_free(&ask);
    return status;
}

void pair_switchover_begin(unsigned number, const char *to, uint32_t timeout_ms,
                           struct core_ask *ask)
{
    Strait__RegionSwitchover switchover = STRAIT__REGION_SWITCHOVER__INIT;
    switchover.to = (char *)(uintptr_t)to;
    switchover.timeout_ms = timeout_ms;
    core_fixture_ask(pair_fixture(number), ask, FRAME_REGION_SWITCHOVER, &switchover.base);
}

enum status pair_promote(unsigned number, bool force, struct core_ask *ask)
{
    Strait__RegionPromote promote = STRAIT__REGION_PROMOTE__INIT;
    promote.force = force;
    return pair_ask(number, ask, FRAME_REGION_PROMOTE, &promote.base);
}

const Strait__RegionListReply *pair_list(unsigned number, struct core_ask *ask)
{
    Strait__RegionList list = STRAIT__REGION_LIST__INIT;
    list.any = true;
    ck_assert_int_eq(pair_ask(number, ask, FRAME_REGION_LIST, &list.base), STATUS_OK);
    return (const Strait__RegionListReply *)(const void *)ask->message;
}

void pair_commit_begin(unsigned number, uint8_t id, const char *key, struct core_ask *ask)
{
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    Strait__Put put = STRAIT__PUT__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;
    Strait__Operation *list[] = {&operation};
    uint8_t bytes[16] = {7, id};

    put.table = (char *)(uintptr_t) "t";
    put.key = field_of_bytes(bytes_of_text(key));
    put.value = field_of_bytes(bytes_of_text("v"));
    operation.kind_case = STRAIT__OPERATION__KIND_PUT;
    operation.put = &put;
    commit.issued_ns = io_wall_ns(pair_fixture(number)->io);
    commit.txn_id = field_of_bytes(bytes_of(bytes, sizeof bytes));
    commit.operations = list;
    commit.n_operations = 1;
    core_fixture_ask(pair_fixture(number), ask, FRAME_COMMIT, &commit.base);
}

void pair_check_refuses(unsigned number, unsigned primary)
{
    struct core_ask ask;

    pair_commit_begin(number, 255, "refused", &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(number), &ask), STATUS_NOT_PRIMARY);
    ck_assert_str_eq(ask.refusal->leader, endpoints[primary]);
    ck_assert_ptr_nonnull(ask.refusal->position);
    ck_assert_uint_eq(ask.refusal->position->epoch_region, primary + 1);
    core_ask_free(&ask);
}

void pair_tell(unsigned number, struct bytes record)
{
    Strait__RegionPull pull = STRAIT__REGION_PULL__INIT;
    Strait__RegionPosition acknowledged = STRAIT__REGION_POSITION__INIT;
    struct core_ask ask;

    acknowledged.epoch_number = 1;
    acknowledged.epoch_region = 1;
    pull.region_id = 2 - number;
    pull.cursor = 1;
    pull.acknowledged = &acknowledged;
    pull.promotion = field_of_bytes(record);
    core_fixture_ask(pair_fixture(number), &ask, FRAME_REGION_PULL, &pull.base);
    /* Whatever is answered: what follows shows in its state. */
    (void)core_fixture_wait(pair_fixture(number), &ask);
    core_ask_free(&ask);
}
