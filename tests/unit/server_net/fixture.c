/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/server_net/fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/message.h"
#include "storage/io/uring.h"
#include "tests/unit/unit.h"

enum { patience_ms = 10000 };

void wait_a_little(void)
{
    poll(NULL, 0, 1);
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

static struct certificate make(const struct certificate *issuer, enum certificate_purpose purpose,
                               const char *names, long from_s, long until_s)
{
    struct certificate certificate;
    struct error error = {0};
    time_t now = time(NULL);
    const struct certificate_options options = {.purpose = purpose,
                                                .common_name = "a name that counts for nothing",
                                                .names = names,
                                                .valid_from = now + from_s,
                                                .valid_until = now + until_s};
    ck_assert_msg(certificate_make(&options, issuer, &certificate, &error) == STATUS_OK, "%s",
                  error.text);
    return certificate;
}

void authority_make(struct authority *authority, const char *name)
{
    BIO *certificate_pem;
    BIO *key_pem;
    struct error error = {0};
    authority->certificate = make(NULL, CERTIFICATE_AUTHORITY, NULL, -60, 3600);
    snprintf(authority->path, sizeof authority->path, "%s/%s.crt", unit_directory(), name);
    ck_assert_int_eq(certificate_write(&authority->certificate, &certificate_pem, &key_pem, &error),
                     STATUS_OK);
    write_pem(authority->path, certificate_pem);
    BIO_free(key_pem);
}

void authority_free(struct authority *authority)
{
    certificate_free(&authority->certificate);
}

struct certificate issue(const struct authority *authority, enum certificate_purpose purpose,
                         const char *names, long from_s, long until_s)
{
    return make(&authority->certificate, purpose, names, from_s, until_s);
}

SSL_CTX *server_tls(const struct authority *authority, const struct authority *trusted)
{
    char certificate_path[256];
    char key_path[256];
    BIO *certificate_pem;
    BIO *key_pem;
    SSL_CTX *tls = NULL;
    struct error error = {0};
    const char *folder = unit_directory();
    snprintf(certificate_path, sizeof certificate_path, "%s/server.crt", folder);
    snprintf(key_path, sizeof key_path, "%s/server.key", folder);
    struct certificate server =
        issue(authority, CERTIFICATE_SERVER, "DNS:localhost,IP:127.0.0.1", -60, 3600);
    ck_assert_int_eq(certificate_write(&server, &certificate_pem, &key_pem, &error), STATUS_OK);
    write_pem(certificate_path, certificate_pem);
    write_pem(key_path, key_pem);
    certificate_free(&server);
    const struct tls_options options = {
        .certificate = certificate_path, .key = key_path, .ca = trusted->path};
    ck_assert_msg(tls_context_open(&options, &tls, &error) == STATUS_OK, "%s", error.text);
    return tls;
}

/* ---- The core ---- */

static void answer_get(struct request *request)
{
    const Strait__Get *get = REQUEST_MESSAGE(request, Get);
    char digits[32] = {0};
    ck_assert_uint_ge(get->n_keys, 1);
    ck_assert_uint_lt(get->keys[0]->key.len, sizeof digits);
    memcpy(digits, get->keys[0]->key.data, get->keys[0]->key.len);
    Strait__Record record = STRAIT__RECORD__INIT;
    Strait__Record *records[] = {&record};
    record.found = true;
    record.value.len = strtoul(digits, NULL, 10);
    record.value.data = calloc(1, record.value.len + 1);
    Strait__GetReply reply = STRAIT__GET_REPLY__INIT;
    reply.records = records;
    reply.n_records = 1;
    request_reply(request, &reply.base);
    free(record.value.data);
}

static void answer(const struct server *server, struct request *request)
{
    Strait__HelloReply hello = STRAIT__HELLO_REPLY__INIT;
    Strait__PingReply ping = STRAIT__PING_REPLY__INIT;
    Strait__CommitReply commit = STRAIT__COMMIT_REPLY__INIT;
    Strait__Position position = STRAIT__POSITION__INIT;
    switch (request->type) {
    case FRAME_HELLO:
        hello.cluster_id = field_of_bytes(bytes_of(server->cluster_id, sizeof server->cluster_id));
        hello.identity = (char *)(uintptr_t)request->session->identity;
        hello.role = (char *)(uintptr_t)role_name(request->session->role);
        hello.server_version = (char *)(uintptr_t)request->session->client;
        request_reply(request, &hello.base);
        break;
    case FRAME_COMMIT:
        /* Tells the body's size, so that a test sees that it came whole. */
        position.version = request->body.size;
        commit.position = &position;
        request_reply(request, &commit.base);
        break;
    case FRAME_GET:
        answer_get(request);
        break;
    case FRAME_PING:
        request_reply(request, &ping.base);
        break;
    default:
        request_refuse(request, STATUS_NOT_FOUND, 0, "Not in this test.");
    }
}

static void core_turn(struct server *server)
{
    struct request *request;
    while ((request = mailbox_take(&server->requests)) != NULL) {
        list_push_last(&server->held, &request->link);
        atomic_fetch_add(&server->held_count, 1);
    }
    while (!atomic_load(&server->hold)) {
        struct list_link *link = list_pop_first(&server->held);
        if (link == NULL)
            break;
        atomic_fetch_sub(&server->held_count, 1);
        answer(server, LIST_ENTRY(link, struct request, link));
    }
    mailbox_flush(&server->replies);
}

/* ---- The loops ---- */

static void rung(struct io_bell *bell)
{
    (void)bell;
}

static struct io *loop_open(struct io_bell *bell)
{
    struct io *io = NULL;
    struct error error = {0};
    const struct io_uring_options options = {
        .entries = 256, .receive_buffers_count = 64, .receive_buffer_size = 16 * 1024};
    ck_assert_msg(io_uring_open(&options, &io, &error) == STATUS_OK, "%s", error.text);
    *bell = (struct io_bell){.rung = rung};
    ck_assert_int_eq(io_bell_open(io, bell), STATUS_OK);
    return io;
}

static void net_turn(struct server *server)
{
    net_turn_end(server->net);
    pthread_mutex_lock(&server->lock);
    server->statistics = net_statistics(server->net);
    pthread_mutex_unlock(&server->lock);
    atomic_store(&server->is_drained, net_is_drained(server->net));
}

/* Who told the loop to stop may still be ringing its bell, which is about to be closed. */
static void wait_for_ringer(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    pthread_mutex_unlock(&server->lock);
}

static void *net_main(void *context)
{
    struct server *server = context;
    struct error error = {0};
    server->net_io = loop_open(&server->net_bell);
    ck_assert_int_eq(mailbox_attach(&server->replies, server->net_io), STATUS_OK);
    if (!server->is_shared)
        ck_assert_int_eq(mailbox_attach(&server->requests, server->net_io), STATUS_OK);
    server->options.io = server->net_io;
    ck_assert_msg(net_open(&server->options, &server->net, &error) == STATUS_OK, "%s", error.text);
    server->port = net_port(server->net);
    atomic_store(&server->ready, true);
    while (!atomic_load(&server->net_stop)) {
        bool may_wait = mailbox_may_wait(&server->replies);
        if (!server->is_shared)
            may_wait = mailbox_may_wait(&server->requests) && may_wait;
        io_turn(server->net_io, may_wait);
        if (!server->is_shared)
            core_turn(server);
        net_turn(server);
    }
    wait_for_ringer(server);
    /* What is held is answered before the loop closes. */
    atomic_store(&server->hold, false);
    if (!server->is_shared)
        core_turn(server);
    net_close(server->net);
    mailbox_detach(&server->replies);
    io_bell_close(server->net_io, &server->net_bell);
    io_uring_close(server->net_io);
    return NULL;
}

static void *core_main(void *context)
{
    struct server *server = context;
    server->core_io = loop_open(&server->core_bell);
    ck_assert_int_eq(mailbox_attach(&server->requests, server->core_io), STATUS_OK);
    atomic_store(&server->ready, true);
    while (!atomic_load(&server->core_stop)) {
        io_turn(server->core_io, mailbox_may_wait(&server->requests));
        core_turn(server);
    }
    wait_for_ringer(server);
    mailbox_detach(&server->requests);
    io_bell_close(server->core_io, &server->core_bell);
    io_uring_close(server->core_io);
    return NULL;
}

void server_start(struct server *server, SSL_CTX *tls, const struct net_options *options,
                  bool is_shared)
{
    *server = (struct server){.is_shared = is_shared};
    if (options != NULL)
        server->options = *options;
    pthread_mutex_init(&server->lock, NULL);
    list_init(&server->held);
    ck_assert_int_eq(access_open(&server->access), STATUS_OK);
    ck_assert_int_eq(access_add(server->access, "shop", ROLE_WRITER), STATUS_OK);
    ck_assert_int_eq(access_add(server->access, "reports", ROLE_READER), STATUS_OK);
    ck_assert_int_eq(access_add(server->access, "dba", ROLE_ADMIN), STATUS_OK);
    ck_assert_int_eq(access_add(server->access, "n1", ROLE_PEER), STATUS_OK);
    ck_assert_int_eq(mailbox_open(&server->requests, is_shared, limit_requests_count), STATUS_OK);
    ck_assert_int_eq(mailbox_open(&server->replies, is_shared, limit_requests_count), STATUS_OK);
    server->options.host = "127.0.0.1";
    server->options.tls = tls;
    server->options.access = server->access;
    server->options.requests = &server->requests;
    server->options.replies = &server->replies;
    if (is_shared) {
        ck_assert_int_eq(pthread_create(&server->core_thread, NULL, core_main, server), 0);
        EVENTUALLY(atomic_load(&server->ready));
        atomic_store(&server->ready, false);
    }
    ck_assert_int_eq(pthread_create(&server->net_thread, NULL, net_main, server), 0);
    EVENTUALLY(atomic_load(&server->ready));
}

static void server_wake(struct server *server)
{
    io_bell_ring(server->net_io, &server->net_bell);
    if (server->is_shared)
        io_bell_ring(server->core_io, &server->core_bell);
}

void server_hold(struct server *server, bool hold)
{
    atomic_store(&server->hold, hold);
    server_wake(server);
}

static void stop_loop(struct server *server, atomic_bool *stop, struct io *io, struct io_bell *bell)
{
    pthread_mutex_lock(&server->lock);
    atomic_store(stop, true);
    io_bell_ring(io, bell);
    pthread_mutex_unlock(&server->lock);
}

void server_stop(struct server *server)
{
    if (server->is_shared) {
        /* The core has answered all before either loop ends. */
        server_hold(server, false);
        EVENTUALLY(server_statistics(server).requests_in_flight_count == 0);
        stop_loop(server, &server->core_stop, server->core_io, &server->core_bell);
        pthread_join(server->core_thread, NULL);
    }
    stop_loop(server, &server->net_stop, server->net_io, &server->net_bell);
    pthread_join(server->net_thread, NULL);
    if (!server->is_shared)
        mailbox_detach(&server->requests);
    mailbox_close(&server->requests);
    mailbox_close(&server->replies);
    access_close(server->access);
    pthread_mutex_destroy(&server->lock);
}

struct net_statistics server_statistics(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    struct net_statistics statistics = server->statistics;
    pthread_mutex_unlock(&server->lock);
    return statistics;
}

/* ---- The client's bytes ---- */

void client_connect(struct client *client, uint16_t port)
{
    const int on = 1;
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons(port),
                                        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    *client = (struct client){.descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    ck_assert_int_ge(client->descriptor, 0);
    ck_assert_int_eq(connect(client->descriptor, (const struct sockaddr *)&address, sizeof address),
                     0);
    ck_assert_int_eq(setsockopt(client->descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
}

void client_flush(struct client *client)
{
    BIO *out = SSL_get_wbio(client->ssl);
    char buffer[16 * 1024];
    int size;
    size_t most = client->segment_size != 0 ? client->segment_size : sizeof buffer;
    while ((size = BIO_read(out, buffer, (int)most)) > 0) {
        for (int sent = 0; sent < size;) {
            ssize_t result =
                send(client->descriptor, buffer + sent, (size_t)(size - sent), MSG_NOSIGNAL);
            if (result <= 0) {
                client->ended = true;
                return;
            }
            sent += (int)result;
        }
    }
}

/* Takes what the server sends; false where nothing comes any more. */
static bool client_fill(struct client *client)
{
    char buffer[64 * 1024];
    struct pollfd ready = {.fd = client->descriptor, .events = POLLIN};
    if (client->ended || poll(&ready, 1, patience_ms) <= 0)
        return false;
    ssize_t size = recv(client->descriptor, buffer, sizeof buffer, 0);
    if (size <= 0) {
        client->ended = true;
        return false;
    }
    ck_assert_int_eq(BIO_write(SSL_get_rbio(client->ssl), buffer, (int)size), size);
    return true;
}

bool client_handshake(struct client *client, const struct certificate *certificate,
                      const struct authority *trusted, int version, SSL_SESSION *resumed)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    ck_assert_int_eq(
        X509_STORE_add_cert(SSL_CTX_get_cert_store(context), trusted->certificate.x509), 1);
    if (certificate != NULL) {
        ck_assert_int_eq(SSL_CTX_use_certificate(context, certificate->x509), 1);
        ck_assert_int_eq(SSL_CTX_use_PrivateKey(context, certificate->key), 1);
    }
    client->ssl = SSL_new(context);
    SSL_CTX_free(context);
    SSL_set_bio(client->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set1_host(client->ssl, "localhost");
    if (resumed != NULL)
        ck_assert_int_eq(SSL_set_session(client->ssl, resumed), 1);
    for (;;) {
        int result = SSL_connect(client->ssl);
        client_flush(client);
        if (result == 1)
            return true;
        if (SSL_get_error(client->ssl, result) != SSL_ERROR_WANT_READ || !client_fill(client)) {
            ERR_clear_error();
            return false;
        }
    }
}

void client_write(struct client *client, const void *data, size_t size)
{
    size_t written = 0;
    ck_assert_int_eq(SSL_write_ex(client->ssl, data, size, &written), 1);
    ck_assert_uint_eq(written, size);
    client_flush(client);
}

void client_send(struct client *client, int type, const ProtobufCMessage *message)
{
    struct arena arena;
    struct bytes frame;
    arena_init(&arena, 4096, 2 * limit_frame_size);
    ck_assert_int_eq(
        message_encode_frame(message, type, STATUS_OK, ++client->number, &arena, &frame),
        STATUS_OK);
    client_write(client, frame.data, frame.size);
    arena_free(&arena);
}

bool client_read(struct client *client, void *to, size_t size)
{
    size_t filled = 0;
    while (filled < size) {
        size_t got = 0;
        if (SSL_read_ex(client->ssl, (char *)to + filled, size - filled, &got) == 1) {
            filled += got;
            continue;
        }
        if (SSL_get_error(client->ssl, 0) != SSL_ERROR_WANT_READ) {
            ERR_clear_error();
            return false;
        }
        client_flush(client);
        if (!client_fill(client))
            return false;
    }
    return true;
}

bool client_receive(struct client *client, struct reply *reply)
{
    uint8_t bytes[frame_header_size];
    struct frame_header header;
    *reply = (struct reply){0};
    if (!client_read(client, bytes, sizeof bytes))
        return false;
    enum status status = frame_reply_decode(bytes, &header);
    ck_assert(status == STATUS_OK || status == STATUS_UNSUPPORTED);
    reply->type = load_u16(bytes + 4);
    reply->status = (enum status)load_u16(bytes + 6);
    reply->number = load_u64(bytes + 8);
    reply->size = load_u32(bytes);
    reply->body = malloc(reply->size + 1);
    if (!client_read(client, reply->body, reply->size)) {
        free(reply->body);
        return false;
    }
    if (reply->status != STATUS_OK) {
        reply->refusal = strait__refusal__unpack(NULL, reply->size, reply->body);
        ck_assert_ptr_nonnull(reply->refusal);
    }
    return true;
}

void reply_free(struct reply *reply)
{
    if (reply->refusal != NULL)
        strait__refusal__free_unpacked(reply->refusal, NULL);
    free(reply->body);
}

bool client_is_closed(struct client *client)
{
    char byte;
    if (client->ssl != NULL) {
        while (client_read(client, &byte, 1))
            ;
        if (SSL_get_shutdown(client->ssl) & SSL_RECEIVED_SHUTDOWN)
            return true;
    }
    struct pollfd ready = {.fd = client->descriptor, .events = POLLIN};
    while (!client->ended && poll(&ready, 1, patience_ms) > 0)
        client->ended = recv(client->descriptor, &byte, 1, 0) <= 0;
    return client->ended;
}

void client_close(struct client *client)
{
    /* OpenSSL takes a session for bad whose connection is freed without a word. */
    if (client->ssl != NULL)
        SSL_set_shutdown(client->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(client->ssl);
    close(client->descriptor);
}

void client_hello(struct client *client, uint32_t version)
{
    Strait__Hello hello = STRAIT__HELLO__INIT;
    hello.protocol_version = version;
    hello.client = (char *)(uintptr_t) "test 1.0";
    client_send(client, FRAME_HELLO, &hello.base);
}

void client_expect(struct client *client, enum status status)
{
    struct reply reply;
    ck_assert(client_receive(client, &reply));
    ck_assert_msg(reply.status == status, "%s, not %s: %s", status_name(reply.status),
                  status_name(status), reply.refusal != NULL ? reply.refusal->text : "");
    reply_free(&reply);
}

void client_enter(struct client *client, uint16_t port, const struct certificate *certificate,
                  const struct authority *trusted)
{
    client_connect(client, port);
    ck_assert(client_handshake(client, certificate, trusted, TLS1_3_VERSION, NULL));
    client_hello(client, frame_protocol_version);
    client_expect(client, STATUS_OK);
}

void client_ping(struct client *client)
{
    Strait__Ping ping = STRAIT__PING__INIT;
    struct reply reply;
    client_send(client, FRAME_PING, &ping.base);
    ck_assert(client_receive(client, &reply));
    ck_assert_int_eq(reply.status, STATUS_OK);
    ck_assert_int_eq(reply.type, FRAME_PING_REPLY);
    ck_assert_uint_eq(reply.number, client->number);
    reply_free(&reply);
}
