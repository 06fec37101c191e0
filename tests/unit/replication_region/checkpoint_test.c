/* SPDX-License-Identifier: Apache-2.0 */
/* The requests that carry a checkpoint: both ends, over a link that breaks, and the fork. */
#include "replication/region/checkpoint_client.h"
#include "replication/region/checkpoint_server.h"
#include "replication/region/link_fork.h"

#include "proto/message.h"
#include "proto/strait.pb-c.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

enum { flights_max = 128, own_region = 2, ms = 1000000 };

/* A link that keeps what is sent until a test delivers it. */
struct fake {
    struct link link; /* first */
    struct link_user user;
    size_t endpoints_count;
    unsigned leaves_count;
    struct {
        void *context;
        bool wanted;
        uint32_t kind;
        uint32_t wait_ms;
        uint8_t said; /* the message's first byte */
    } flights[flights_max];
    unsigned flights_count;
    bool refuses;
};

static struct sim_disk *disk;
static struct io *io;
static struct fake fake;
static unsigned received_count;
static uint8_t received_last;
static unsigned refused_count;
static struct checkpoint_client *client;

static void on_attach(struct link *link, const struct link_user *user)
{
    (void)link;
    fake.user = user == NULL ? (struct link_user){0} : *user;
}

static void on_endpoints(struct link *link, const char *const *endpoints, size_t count)
{
    (void)link;
    (void)endpoints;
    fake.endpoints_count = count;
}

static enum status on_send(struct link *link, enum frame_type type, const ProtobufCMessage *message,
                           uint32_t timeout_ms, void *request)
{
    (void)link;
    if (fake.refuses)
        return STATUS_BUSY;
    ck_assert_uint_lt(fake.flights_count, flights_max);
    fake.flights[fake.flights_count].context = request;
    if (type == FRAME_REGION_CHECKPOINT) {
        const Strait__RegionCheckpoint *sent = (const void *)message;
        ck_assert_uint_gt(timeout_ms, 0);
        ck_assert_uint_eq(sent->region_id, own_region);
        fake.flights[fake.flights_count].wanted = sent->wanted;
        fake.flights[fake.flights_count].kind = sent->kind;
        fake.flights[fake.flights_count].wait_ms = sent->wait_ms;
        fake.flights[fake.flights_count].said = sent->message.len == 0 ? 0 : sent->message.data[0];
    }
    fake.flights_count++;
    return STATUS_OK;
}

static void on_leave(struct link *link, const char *reason)
{
    (void)link;
    (void)reason;
    fake.leaves_count++;
}

static const char *on_trouble(const struct link *link)
{
    (void)link;
    return "nobody answers";
}

static const struct link_operations operations = {on_attach, on_endpoints, on_send, on_leave,
                                                  on_trouble};

static void on_received(void *context, uint8_t kind, struct bytes message)
{
    (void)context;
    ck_assert_uint_eq(kind, SNAPSHOT_PIECE);
    ck_assert_uint_eq(message.size, 1);
    received_last = message.data[0];
    received_count++;
}

static void on_refused(void *context, enum status status)
{
    (void)context;
    ck_assert_int_ne(status, STATUS_OK);
    refused_count++;
}

static void set_up_disk(void)
{
    disk = sim_disk_create(1);
    io = sim_disk_io(disk);
    fake = (struct fake){.link.operations = &operations};
    received_count = refused_count = 0;
}

static void set_up_client(void)
{
    set_up_disk();
    const struct checkpoint_client_options options = {.io = io,
                                                      .link = &fake.link,
                                                      .region = own_region,
                                                      .received = on_received,
                                                      .refused = on_refused};
    ck_assert_int_eq(checkpoint_client_create(&options, &client), STATUS_OK);
}

static void tear_down_client(void)
{
    checkpoint_client_free(client);
    ck_assert_ptr_null(fake.user.replied);
    sim_disk_destroy(disk);
}

/* The oldest in flight is told of. */
static void deliver(enum status status, uint8_t kind, uint8_t byte)
{
    Strait__RegionCheckpointReply reply = STRAIT__REGION_CHECKPOINT_REPLY__INIT;
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;
    void *context = fake.flights[0].context;

    ck_assert_uint_gt(fake.flights_count, 0);
    memmove(fake.flights, fake.flights + 1, --fake.flights_count * sizeof fake.flights[0]);
    reply.kind = kind;
    reply.message = field_of_bytes(bytes_of(&byte, kind == 0 ? 0 : 1));
    fake.user.replied(fake.user.context, context, status,
                      status == STATUS_OK             ? &reply.base
                      : status == STATUS_DISCONNECTED ? NULL
                                                      : &refusal.base);
}

static void break_link(void)
{
    while (fake.flights_count > 0)
        deliver(STATUS_DISCONNECTED, 0, 0);
    fake.user.disconnected(fake.user.context, "a test");
}

START_TEST(test_requests_are_kept_under_way)
{
    set_up_client();
    checkpoint_client_want(client, true);
    ck_assert_uint_eq(fake.flights_count, 0); /* not connected */
    fake.user.connected(fake.user.context, "there:1");
    ck_assert_uint_eq(fake.flights_count, checkpoint_flights_max - 1);
    for (unsigned i = 0; i < fake.flights_count; i++)
        ck_assert(fake.flights[i].wanted && fake.flights[i].kind == 0 &&
                  fake.flights[i].wait_ms != 0);
    for (uint8_t i = 1; i < 100; i++) {
        deliver(STATUS_OK, SNAPSHOT_PIECE, i);
        ck_assert_uint_eq(received_last, i);
        ck_assert_uint_eq(fake.flights_count, checkpoint_flights_max - 1);
    }
    deliver(STATUS_OK, 0, 0); /* its time was over */
    ck_assert_uint_eq(received_count, 99);
    ck_assert_uint_ne(checkpoint_client_heard_ns(client), 0);

    /* After a break all begins anew, by itself. */
    break_link();
    ck_assert_uint_eq(fake.flights_count, 0);
    fake.user.connected(fake.user.context, "there:1");
    ck_assert_uint_eq(fake.flights_count, checkpoint_flights_max - 1);

    /* What is not wanted any more is passed over, and none follows. */
    checkpoint_client_want(client, false);
    while (fake.flights_count > 0)
        deliver(STATUS_OK, SNAPSHOT_PIECE, 1);
    ck_assert_uint_eq(received_count, 99);
    tear_down_client();
}
END_TEST

START_TEST(test_what_is_said_goes_at_once)
{
    set_up_client();
    checkpoint_client_say(client, SNAPSHOT_ANSWER, bytes_of_text("a"));
    fake.user.connected(fake.user.context, "there:1");
    ck_assert_uint_eq(fake.flights_count, 1); /* also where none is wanted */
    ck_assert(!fake.flights[0].wanted && fake.flights[0].wait_ms == 0);
    ck_assert_uint_eq(fake.flights[0].said, 'a');
    checkpoint_client_want(client, true);
    ck_assert_uint_eq(fake.flights_count, checkpoint_flights_max - 1);
    checkpoint_client_say(client, SNAPSHOT_ANSWER, bytes_of_text("b"));
    ck_assert_uint_eq(fake.flights_count, checkpoint_flights_max);
    ck_assert_uint_eq(fake.flights[checkpoint_flights_max - 1].said, 'b');
    /* There is no room: the newest counts. */
    checkpoint_client_say(client, SNAPSHOT_ANSWER, bytes_of_text("c"));
    checkpoint_client_say(client, SNAPSHOT_ANSWER, bytes_of_text("d"));
    ck_assert_uint_eq(fake.flights_count, checkpoint_flights_max);
    deliver(STATUS_OK, 0, 0);
    ck_assert_uint_eq(fake.flights_count, checkpoint_flights_max);
    ck_assert_uint_eq(fake.flights[checkpoint_flights_max - 1].said, 'd');
    break_link();
    tear_down_client();
}
END_TEST

START_TEST(test_a_refusal_is_told_and_tried_again)
{
    set_up_client();
    fake.user.connected(fake.user.context, "there:1");
    checkpoint_client_want(client, true);
    unsigned count = fake.flights_count;
    for (unsigned i = 0; i < count; i++)
        deliver(STATUS_INVALID_ARGUMENT, 0, 0);
    ck_assert_uint_eq(refused_count, count);
    ck_assert_uint_eq(fake.flights_count, 0);
    uint64_t begun_ns = sim_disk_now_ns(disk);
    while (fake.flights_count == 0)
        ck_assert(sim_disk_turn(disk));
    ck_assert_uint_ge(sim_disk_now_ns(disk) - begun_ns, 100 * ms);
    /* The link has no room. */
    fake.refuses = true;
    deliver(STATUS_OK, 0, 0);
    ck_assert_uint_eq(fake.flights_count, checkpoint_flights_max - 2);
    fake.refuses = false;
    ck_assert(sim_disk_turn(disk));
    ck_assert_uint_eq(fake.flights_count, checkpoint_flights_max - 1);
    break_link();
    tear_down_client();
}
END_TEST

/* ---- The server ---- */

static struct checkpoint_server *server;
static unsigned replied_count;
static unsigned replied_request; /* the last */
static uint8_t replied_kind;
static unsigned heard_count;

static void on_reply(void *context, void *request, const Strait__RegionCheckpointReply *reply)
{
    (void)context;
    replied_request = *(unsigned *)request;
    replied_kind = (uint8_t)reply->kind;
    replied_count++;
}

/* It answers at once, by the request that brought it. */
static void on_heard(void *context, uint32_t region, uint8_t kind, struct bytes message)
{
    (void)context;
    ck_assert_uint_eq(kind, SNAPSHOT_ANSWER);
    ck_assert_uint_eq(message.size, 3);
    heard_count++;
    ck_assert(checkpoint_server_send(server, region, SNAPSHOT_OFFER, bytes_of_text("o")));
}

static void set_up_server(void)
{
    set_up_disk();
    const struct checkpoint_server_options options = {
        .io = io, .received = on_heard, .reply = on_reply};
    replied_count = heard_count = 0;
    ck_assert_int_eq(checkpoint_server_create(&options, &server), STATUS_OK);
}

static void tear_down_server(void)
{
    checkpoint_server_stop(server);
    checkpoint_server_free(server);
    sim_disk_destroy(disk);
}

static enum status take(uint32_t region, uint32_t wait_ms, unsigned *number)
{
    Strait__RegionCheckpoint message = STRAIT__REGION_CHECKPOINT__INIT;
    message.region_id = region;
    message.wait_ms = wait_ms;
    return checkpoint_server_take(server, &message, number);
}

START_TEST(test_a_request_waits_for_a_message)
{
    static unsigned numbers[] = {0, 1, 2, 3};

    set_up_server();
    ck_assert(!checkpoint_server_send(server, 2, SNAPSHOT_PIECE, bytes_of_text("p")));
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(take(2, 1000, &numbers[i]), STATUS_OK);
    ck_assert(!checkpoint_server_send(server, 3, SNAPSHOT_PIECE, bytes_of_text("p")));
    ck_assert(checkpoint_server_send(server, 2, SNAPSHOT_PIECE, bytes_of_text("p")));
    ck_assert_uint_eq(replied_count, 1);
    ck_assert_uint_eq(replied_request, 0);
    ck_assert_uint_eq(replied_kind, SNAPSHOT_PIECE);

    /* Those that wait for too long are answered with nothing. */
    uint64_t begun_ns = sim_disk_now_ns(disk);
    ck_assert_int_eq(take(2, 5000, &numbers[3]), STATUS_OK);
    while (replied_count < 3)
        ck_assert(sim_disk_turn(disk));
    ck_assert_uint_eq(replied_kind, 0);
    ck_assert_uint_eq(replied_request, 2);
    ck_assert_uint_ge(sim_disk_now_ns(disk) - begun_ns, (uint64_t)1000 * ms);
    ck_assert(checkpoint_server_send(server, 2, SNAPSHOT_PIECE, bytes_of_text("p")));
    ck_assert_uint_eq(replied_request, 3);
    tear_down_server();
}
END_TEST

START_TEST(test_what_comes_is_bounded)
{
    static unsigned numbers[checkpoint_polls_max + 1];
    Strait__RegionCheckpoint message = STRAIT__REGION_CHECKPOINT__INIT;
    unsigned number = 99;

    set_up_server();
    ck_assert_int_eq(take(0, 0, &number), STATUS_MALFORMED);
    ck_assert_int_eq(take(1, checkpoint_wait_ms_max + 1, &number), STATUS_MALFORMED);
    message.region_id = 1;
    message.message = field_of_bytes(bytes_of_text("abc"));
    ck_assert_int_eq(checkpoint_server_take(server, &message, &number), STATUS_MALFORMED);
    message.kind = 256 + SNAPSHOT_ANSWER;
    ck_assert_int_eq(checkpoint_server_take(server, &message, &number), STATUS_MALFORMED);
    ck_assert_uint_eq(replied_count, 0);
    message.kind = SNAPSHOT_ANSWER;
    ck_assert_int_eq(checkpoint_server_take(server, &message, &number), STATUS_OK);
    ck_assert_uint_eq(heard_count, 1);
    ck_assert_uint_eq(replied_count, 1);
    ck_assert_uint_eq(replied_kind, SNAPSHOT_OFFER);
    ck_assert_uint_eq(replied_request, 99);

    /* One more than wait at a time: the oldest is answered. */
    for (unsigned i = 0; i <= checkpoint_polls_max; i++) {
        numbers[i] = i;
        ck_assert_int_eq(take(1, 1000, &numbers[i]), STATUS_OK);
    }
    ck_assert_uint_eq(replied_count, 2);
    ck_assert_uint_eq(replied_request, 0);
    /* And of more regions than there may be. */
    for (uint32_t region = 2; region <= checkpoint_regions_max; region++)
        ck_assert_int_eq(take(region, 1000, &number), STATUS_OK);
    ck_assert_int_eq(take(checkpoint_regions_max + 1, 1000, &number), STATUS_BUSY);
    ck_assert(checkpoint_server_send(server, 2, SNAPSHOT_PIECE, bytes_of_text("p")));
    ck_assert_int_eq(take(checkpoint_regions_max + 1, 1000, &number), STATUS_OK);
    tear_down_server();
    ck_assert_uint_eq(replied_count, 1 + 1 + checkpoint_polls_max + checkpoint_regions_max);
}
END_TEST

/* ---- The fork ---- */

struct user {
    unsigned connected_count;
    unsigned disconnected_count;
    unsigned replied_count;
    void *request;
};

static void user_connected(void *context, const char *endpoint)
{
    ck_assert_str_eq(endpoint, "there:1");
    ((struct user *)context)->connected_count++;
}

static void user_disconnected(void *context, const char *reason)
{
    ck_assert_str_eq(reason, "a test");
    ((struct user *)context)->disconnected_count++;
}

static void user_replied(void *context, void *request, enum status status,
                         const ProtobufCMessage *message)
{
    struct user *user = context;
    (void)status;
    (void)message;
    user->request = request;
    user->replied_count++;
}

START_TEST(test_each_user_is_told_of_its_own)
{
    struct user users[2] = {0};
    struct link *links[2];
    struct link_fork *fork;
    Strait__Ping ping = STRAIT__PING__INIT;
    unsigned sent = 0;

    set_up_disk();
    ck_assert_int_eq(link_fork_create(&fake.link, &fork), STATUS_OK);
    links[0] = link_fork_first(fork);
    links[1] = link_fork_second(fork);
    for (unsigned i = 0; i < 2; i++)
        link_attach(links[i], &(struct link_user){.connected = user_connected,
                                                  .disconnected = user_disconnected,
                                                  .replied = user_replied,
                                                  .context = &users[i]});
    link_endpoints(links[0], (const char *const[]){"there:1"}, 1);
    ck_assert_uint_eq(fake.endpoints_count, 1);
    link_leave(links[0], "it is of no use");
    ck_assert_uint_eq(fake.leaves_count, 1);
    ck_assert_str_eq(link_trouble(links[1]), "nobody answers");
    fake.user.connected(fake.user.context, "there:1");

    /* Each reply to whoever asked; as many at a time as the link has. */
    while (link_send(links[sent % 2], FRAME_PING, &ping.base, 0, &users[sent % 2]) == STATUS_OK)
        sent++;
    ck_assert_uint_eq(sent, limit_link_requests_count);
    for (unsigned i = 0; i < 10; i++) {
        deliver(STATUS_BUSY, 0, 0);
        ck_assert_ptr_eq(users[i % 2].request, &users[i % 2]);
        ck_assert_uint_eq(users[i % 2].replied_count, i / 2 + 1);
    }
    /* One that the link does not take holds no place. */
    fake.refuses = true;
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_eq(link_send(links[0], FRAME_PING, &ping.base, 0, &users[0]), STATUS_BUSY);
    fake.refuses = false;
    ck_assert_int_eq(link_send(links[0], FRAME_PING, &ping.base, 0, &users[0]), STATUS_OK);
    link_attach(links[1], NULL);
    break_link();
    ck_assert_uint_eq(users[0].disconnected_count, 1);
    ck_assert_uint_eq(users[1].disconnected_count, 0);
    ck_assert_uint_eq(users[1].replied_count, 5); /* it is not there any more */
    ck_assert_uint_eq(users[0].replied_count, limit_link_requests_count / 2 + 1);
    link_attach(links[0], NULL);
    link_fork_free(fork);
    ck_assert_ptr_null(fake.user.replied);
    sim_disk_destroy(disk);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_requests_are_kept_under_way);
    tcase_add_test(tests, test_what_is_said_goes_at_once);
    tcase_add_test(tests, test_a_refusal_is_told_and_tried_again);
    tcase_add_test(tests, test_a_request_waits_for_a_message);
    tcase_add_test(tests, test_what_comes_is_bounded);
    tcase_add_test(tests, test_each_user_is_told_of_its_own);
}
