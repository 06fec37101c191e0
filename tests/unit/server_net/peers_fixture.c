/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/server_net/peers_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "storage/io/uring.h"
#include "tests/unit/unit.h"

struct io *nodes_io_open(void)
{
    struct io *io = NULL;
    struct error error = {0};
    const struct io_uring_options options = {
        .entries = 256, .receive_buffers_count = 64, .receive_buffer_size = 16 * 1024};
    ck_assert_msg(io_uring_open(&options, &io, &error) == STATUS_OK, "%s", error.text);
    return io;
}

void nodes_patience_ends(struct io_timer *timer)
{
    ck_abort_msg("never: %s", (const char *)timer->context);
}

static void on_over(struct io_timer *timer)
{
    bool *over = timer->context;
    *over = true;
}

void nodes_turn_ms(struct io *io, unsigned milliseconds)
{
    bool over = false;
    struct io_timer timer = {.fired = on_over, .context = &over};
    io_timer_start(io, &timer, io_boot_ns(io) + milliseconds * UINT64_C(1000000));
    while (!over)
        io_turn(io, true);
}

/* ---- Certificates ---- */

static void write_pem(const char *path, BIO *pem)
{
    char *data = NULL;
    long size = BIO_get_mem_data(pem, &data);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(write(file, data, (size_t)size), size);
    ck_assert_int_eq(close(file), 0);
    BIO_free(pem);
}

SSL_CTX *node_tls(const struct authority *authority, const struct authority *trusted,
                  const char *name)
{
    char certificate_path[512];
    char key_path[512];
    char names[256];
    BIO *certificate_pem;
    BIO *key_pem;
    SSL_CTX *tls = NULL;
    struct error error = {0};
    /* The files are read at once, so that all contexts share one folder. */
    static const char *folder;
    if (folder == NULL)
        folder = unit_directory();
    snprintf(certificate_path, sizeof certificate_path, "%s/%s.crt", folder, name);
    snprintf(key_path, sizeof key_path, "%s/%s.key", folder, name);
    snprintf(names, sizeof names, "URI:strait:%s,DNS:localhost,IP:127.0.0.1", name);
    struct certificate certificate = issue(authority, CERTIFICATE_MEMBER, names, -60, 3600);
    ck_assert_int_eq(certificate_write(&certificate, &certificate_pem, &key_pem, &error),
                     STATUS_OK);
    write_pem(certificate_path, certificate_pem);
    write_pem(key_path, key_pem);
    certificate_free(&certificate);
    const struct tls_options options = {
        .certificate = certificate_path, .key = key_path, .ca = trusted->path};
    ck_assert_msg(tls_peers_context_open(&options, &tls, &error) == STATUS_OK, "%s", error.text);
    return tls;
}

/* ---- A node ---- */

static uint64_t hash_bytes(const uint8_t *data, size_t size)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 1099511628211u;
    return hash;
}

static void received(void *context, uint64_t from, struct bytes message)
{
    struct node *node = context;
    ck_assert_uint_ge(message.size, 1);
    ck_assert_uint_lt(node->came_count, node_messages_max);
    node->came[node->came_count++] = (struct came){.from = from,
                                                   .size = message.size,
                                                   .hash = hash_bytes(message.data, message.size),
                                                   .tag = message.data[0]};
}

static void happened(void *context, uint64_t member, enum bus_event event)
{
    struct node *node = context;
    node->connected_count += event == BUS_CONNECTED;
    node->disconnected_count += event == BUS_DISCONNECTED;
    node->room_count += event == BUS_ROOM;
    node->last_event_of = member;
}

void node_up(struct node *node)
{
    struct error error = {0};
    const struct bus_user user = {.received = received, .happened = happened, .context = node};
    enum status status;
    ck_assert_ptr_null(node->peers);
    /* A listener that was closed lets go of its port within a few turns. */
    while ((status = peers_open(&node->options, &node->peers, &error)) == STATUS_LOCKED)
        nodes_turn_ms(node->io, 1);
    ck_assert_msg(status == STATUS_OK, "%s", error.text);
    ck_assert_uint_eq(peers_port(node->peers), node->options.port);
    node->bus = peers_bus(node->peers);
    bus_attach(node->bus, &user);
}

/* One that nobody listens on: what a member advertises is said when it is opened. */
static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(descriptor, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(getsockname(descriptor, (struct sockaddr *)&address, &size), 0);
    close(descriptor);
    return ntohs(address.sin_port);
}

void node_make(struct node *node, struct io *io, const struct authority *authority,
               const char *name, uint64_t id, const struct peers_options *options)
{
    static const char *const names[] = {"n1", "n2", "n3", "n4", "n5"};
    memset(node, 0, sizeof *node);
    node->io = io;
    node->tls = node_tls(authority, authority, name);
    ck_assert_int_eq(access_open(&node->access), STATUS_OK);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        ck_assert_int_eq(access_add(node->access, names[i], ROLE_PEER), STATUS_OK);
    ck_assert_int_eq(access_add(node->access, "shop", ROLE_WRITER), STATUS_OK);
    node->about = (struct member){.id = id, .kinds = MEMBER_VOTER};
    snprintf(node->about.name, sizeof node->about.name, "%s", name);
    snprintf(node->about.clients, sizeof node->about.clients, "127.0.0.1:7411");
    if (options != NULL)
        node->options = *options;
    node->options.io = io;
    node->options.tls = node->tls;
    node->options.access = node->access;
    node->options.host = "127.0.0.1";
    node->options.name = node->about.name;
    node->options.port = free_port();
    snprintf(node->about.peers, sizeof node->about.peers, "127.0.0.1:%u", node->options.port);
    node->options.peers_address = node->about.peers;
    node->options.clients_address = node->about.clients;
    node->options.seed = id;
    if (node->options.cluster_version_max == 0)
        node->options.cluster_version_min = node->options.cluster_version_max = 1;
    node_up(node);
}

void node_down(struct node *node)
{
    if (node->peers != NULL)
        peers_close(node->peers);
    node->peers = NULL;
    node->bus = NULL;
}

void node_free(struct node *node)
{
    node_down(node);
    SSL_CTX_free(node->tls);
    access_close(node->access);
}

void node_members(struct node *node, struct node *const *members, unsigned count)
{
    struct membership membership = {0};
    for (unsigned i = 0; i < count; i++)
        ck_assert(membership_set(&membership, &members[i]->about));
    bus_members(node->bus, &membership, node->about.id);
}

/* ---- Messages ---- */

static uint8_t *make_message(uint8_t tag, size_t size)
{
    uint8_t *data = malloc(size);
    ck_assert_ptr_nonnull(data);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(tag + (i * 2654435761u >> 11));
    data[0] = tag;
    return data;
}

bool node_send(struct node *node, uint64_t to, enum bus_lane lane, uint8_t tag, size_t size)
{
    uint8_t *data = make_message(tag, size);
    size_t first = size / 3;
    const struct bytes pieces[] = {bytes_of(data, first), bytes_of(NULL, 0),
                                   bytes_of(data + first, size - first)};
    bool queued = bus_send(node->bus, to, lane, pieces, 3);
    free(data);
    return queued;
}

uint64_t node_hash(uint8_t tag, size_t size)
{
    uint8_t *data = make_message(tag, size);
    uint64_t hash = hash_bytes(data, size);
    free(data);
    return hash;
}

struct peers_member_facts node_facts(const struct node *node, uint64_t id)
{
    struct peers_member_facts facts;
    (void)peers_member_facts(node->peers, id, &facts);
    return facts;
}

bool nodes_are_linked(const struct node *a, const struct node *b)
{
    return node_facts(a, b->about.id).is_sending && node_facts(b, a->about.id).is_sending &&
           node_facts(a, b->about.id).is_receiving && node_facts(b, a->about.id).is_receiving;
}
