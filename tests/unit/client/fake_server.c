/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/client/fake_server.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/unit.h"

/* ---- Certificates ---- */

static void add_extension(X509 *certificate, X509 *issuer, int name, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, name, value);
    ck_assert_ptr_nonnull(extension);
    ck_assert_int_eq(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static X509 *make_certificate(EVP_PKEY *key, const char *name, X509 *issuer, EVP_PKEY *issuer_key,
                              const char *alternative_name)
{
    X509 *certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), (long)(uintptr_t)certificate & 0xffffff);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME *subject = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(certificate, issuer != NULL ? X509_get_subject_name(issuer) : subject);
    if (issuer == NULL)
        add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE");
    if (alternative_name != NULL)
        add_extension(certificate, issuer, NID_subject_alt_name, alternative_name);
    ck_assert_int_gt(X509_sign(certificate, issuer_key, EVP_sha256()), 0);
    return certificate;
}

static void write_pem(const char *directory, const char *name, X509 *certificate, EVP_PKEY *key)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    if (certificate != NULL)
        ck_assert_int_eq(PEM_write_X509(file, certificate), 1);
    if (key != NULL)
        ck_assert_int_eq(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
}

static void make_keys(struct fake_server *server)
{
    EVP_PKEY *ca_key = EVP_EC_gen("P-256");
    EVP_PKEY *server_key = EVP_EC_gen("P-256");
    EVP_PKEY *client_key = EVP_EC_gen("P-256");
    X509 *ca = make_certificate(ca_key, "test authority", NULL, ca_key, NULL);
    X509 *own = make_certificate(server_key, "server", ca, ca_key, "IP:127.0.0.1,DNS:localhost");
    X509 *client = make_certificate(client_key, "client", ca, ca_key, "DNS:client");

    write_pem(server->directory, "ca.pem", ca, NULL);
    write_pem(server->directory, "client.pem", client, NULL);
    write_pem(server->directory, "client.key", NULL, client_key);
    server->tls = SSL_CTX_new(TLS_server_method());
    ck_assert_int_eq(SSL_CTX_set_min_proto_version(server->tls, TLS1_3_VERSION), 1);
    ck_assert_int_eq(SSL_CTX_use_certificate(server->tls, own), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(server->tls, server_key), 1);
    ck_assert_int_eq(X509_STORE_add_cert(SSL_CTX_get_cert_store(server->tls), ca), 1);
    SSL_CTX_set_verify(server->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_session_id_context(server->tls, (const unsigned char *)"fake", 4);
    X509_free(ca);
    X509_free(own);
    X509_free(client);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(server_key);
    EVP_PKEY_free(client_key);
}

/* ---- Connections ---- */

static bool read_all(struct fake_connection *connection, uint8_t *to, size_t size)
{
    for (size_t used = 0; used < size;) {
        size_t read = 0;
        if (SSL_read_ex(connection->ssl, to + used, size - used, &read) != 1)
            return false;
        used += read;
    }
    return true;
}

static void write_frame(struct fake_connection *connection, const ProtobufCMessage *message,
                        enum frame_type type, enum status status, uint64_t number)
{
    struct arena arena;
    struct bytes frame;
    size_t written;

    arena_init(&arena, 4096, 64 * 1024 * 1024);
    ck_assert_int_eq(message_encode_frame(message, (int)type, status, number, &arena, &frame),
                     STATUS_OK);
    /* The client may be gone: that is its right. */
    (void)SSL_write_ex(connection->ssl, frame.data, frame.size, &written);
    arena_free(&arena);
}

void fake_reply(struct fake_connection *connection, const struct fake_request *request,
                enum status status, const ProtobufCMessage *message)
{
    write_frame(connection, message, (enum frame_type)(request->header.type | frame_reply), status,
                request->header.request);
}

void fake_refuse(struct fake_connection *connection, const struct fake_request *request,
                 enum status status, uint32_t retry_after_ms)
{
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;
    refusal.text = (char *)(uintptr_t) "refused by the test";
    refusal.retry_after_ms = retry_after_ms;
    refusal.item = 3;
    fake_reply(connection, request, status, &refusal.base);
}

void fake_accept(struct fake_connection *connection, const struct fake_request *request,
                 uint64_t version)
{
    Strait__Position position = STRAIT__POSITION__INIT;
    Strait__CommitReply commit = STRAIT__COMMIT_REPLY__INIT;
    Strait__PingReply ping = STRAIT__PING_REPLY__INIT;
    Strait__SnapshotOpenReply snapshot = STRAIT__SNAPSHOT_OPEN_REPLY__INIT;
    Strait__SnapshotCloseReply close = STRAIT__SNAPSHOT_CLOSE_REPLY__INIT;
    const ProtobufCMessage *message = &close.base;

    position.epoch_number = fake_epoch_number;
    position.epoch_region = fake_epoch_region;
    position.version = version;
    position.log_time_ns = fake_log_time_ns + version;
    commit.position = &position;
    ping.position = &position;
    snapshot.position = &position;
    snapshot.snapshot_id = 7;
    snapshot.age_max_ms = 60000;
    if (request->header.type == FRAME_COMMIT)
        message = &commit.base;
    else if (request->header.type == FRAME_PING)
        message = &ping.base;
    else if (request->header.type == FRAME_SNAPSHOT_OPEN)
        message = &snapshot.base;
    fake_reply(connection, request, STATUS_OK, message);
}

void fake_drop(struct fake_connection *connection)
{
    connection->ended = true;
}

static void note_hello(struct fake_server *server, const struct fake_request *request)
{
    struct arena arena;
    ProtobufCMessage *message;

    message_arena_init(&arena, request->body.size);
    ck_assert_int_eq(
        message_decode(&strait__hello__descriptor, request->body, true, &arena, &message),
        STATUS_OK);
    const Strait__Promotion *promotion = ((const Strait__Hello *)message)->promotion;
    atomic_store(&server->told, promotion == NULL ? 0 : promotion->epoch_number);
    atomic_store(&server->told_size, promotion == NULL ? 0 : (unsigned)promotion->record.len);
    arena_free(&arena);
}

static void answer_hello(struct fake_connection *connection, uint64_t number)
{
    const struct fake_server *server = connection->server;
    Strait__HelloReply reply = STRAIT__HELLO_REPLY__INIT;
    Strait__Promotion promotion = STRAIT__PROMOTION__INIT;
    Strait__Position position = STRAIT__POSITION__INIT;
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;
    static const uint8_t cluster_id[16] = "the test cluster";
    enum status status = connection->server->hello_status;

    position.version = 1;
    position.log_time_ns = fake_log_time_ns;
    reply.protocol_version = frame_protocol_version;
    reply.server_version = (char *)(uintptr_t) "fake";
    reply.identity = (char *)(uintptr_t) "client";
    reply.role = (char *)(uintptr_t) "admin";
    reply.cluster_id = field_of_bytes(bytes_of(cluster_id, sizeof cluster_id));
    reply.position = &position;
    if (server->promotion.number != 0) {
        promotion.epoch_number = server->promotion.number;
        promotion.epoch_region = server->promotion.region;
        promotion.record =
            field_of_bytes(bytes_of(&server->promotion.number, sizeof server->promotion.number));
        reply.promotion = &promotion;
    }
    refusal.text = (char *)(uintptr_t) "not today";
    write_frame(connection, status == STATUS_OK ? &reply.base : &refusal.base, FRAME_HELLO_REPLY,
                status, number);
}

static void *serve(void *argument)
{
    struct fake_connection *connection = argument;
    struct fake_server *server = connection->server;
    uint8_t header[frame_header_size];
    bool first = true;

    if (SSL_accept(connection->ssl) != 1)
        connection->ended = true;
    else if (SSL_session_reused(connection->ssl) == 1)
        atomic_fetch_add(&server->resumed_count, 1);
    while (!connection->ended && read_all(connection, header, sizeof header)) {
        struct fake_request request;
        if (frame_request_decode(header, first, &request.header) != STATUS_OK)
            break;
        uint8_t *body = malloc(request.header.body_size + 1);
        request.body = bytes_of(body, request.header.body_size);
        if (!read_all(connection, body, request.header.body_size)) {
            free(body);
            break;
        }
        if (first) {
            note_hello(server, &request);
            answer_hello(connection, request.header.request);
        } else {
            atomic_fetch_add(&server->requests_count, 1);
            server->handler(connection, &request, server->context);
        }
        first = false;
        free(body);
    }
    shutdown(connection->descriptor, SHUT_RDWR);
    return NULL;
}

static void *accept_all(void *argument)
{
    struct fake_server *server = argument;
    for (;;) {
        int descriptor = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
        unsigned number = atomic_load(&server->connections_count);
        if (descriptor < 0 || number == fake_connections_max || atomic_load(&server->stopping)) {
            if (descriptor >= 0)
                close(descriptor);
            return NULL;
        }
        int one = 1;
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct fake_connection *connection = &server->connections[number];
        *connection = (struct fake_connection){
            .server = server, .descriptor = descriptor, .ssl = SSL_new(server->tls)};
        SSL_set_fd(connection->ssl, descriptor);
        ck_assert_int_eq(pthread_create(&connection->thread, NULL, serve, connection), 0);
        atomic_store(&server->connections_count, number + 1);
    }
}

/* ---- The server ---- */

static struct fake_server *start(const struct fake_server *first, fake_handler handler,
                                 void *context)
{
    struct fake_server *server = calloc(1, sizeof *server);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    ck_assert_ptr_nonnull(server);
    server->handler = handler;
    server->context = context;
    if (first == NULL) {
        snprintf(server->directory, sizeof server->directory, "%s", unit_directory());
        make_keys(server);
    } else {
        memcpy(server->directory, first->directory, sizeof server->directory);
        server->tls = first->tls;
        SSL_CTX_up_ref(server->tls);
    }
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(server->listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(server->listener, 64), 0);
    ck_assert_int_eq(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
    server->port = ntohs(address.sin_port);
    ck_assert_int_eq(pthread_create(&server->thread, NULL, accept_all, server), 0);
    return server;
}

struct fake_server *fake_start(fake_handler handler, void *context)
{
    return start(NULL, handler, context);
}

struct fake_server *fake_start_beside(const struct fake_server *first, fake_handler handler,
                                      void *context)
{
    return start(first, handler, context);
}

void fake_stop(struct fake_server *server)
{
    atomic_store(&server->stopping, true);
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
    for (unsigned i = 0; i < atomic_load(&server->connections_count); i++) {
        struct fake_connection *connection = &server->connections[i];
        shutdown(connection->descriptor, SHUT_RDWR);
        pthread_join(connection->thread, NULL);
        SSL_free(connection->ssl);
        close(connection->descriptor);
    }
    SSL_CTX_free(server->tls);
    free(server);
}

strait_options *fake_options(const struct fake_server *server, uint32_t timeout_ms)
{
    char text[512];
    strait_options *options = strait_options_new();

    snprintf(text, sizeof text, "127.0.0.1:%u", server->port);
    ck_assert_int_eq(strait_options_set_endpoints(options, text), STRAIT_OK);
    snprintf(text, sizeof text, "%s/ca.pem", server->directory);
    ck_assert_int_eq(strait_options_set_ca_file(options, text), STRAIT_OK);
    snprintf(text, sizeof text, "%s/client.pem", server->directory);
    ck_assert_int_eq(strait_options_set_certificate_file(options, text), STRAIT_OK);
    snprintf(text, sizeof text, "%s/client.key", server->directory);
    ck_assert_int_eq(strait_options_set_key_file(options, text), STRAIT_OK);
    ck_assert_int_eq(strait_options_set_client_name(options, "unit test"), STRAIT_OK);
    ck_assert_int_eq(strait_options_set_timeout_ms(options, timeout_ms), STRAIT_OK);
    return options;
}

strait *fake_open(const struct fake_server *server, uint32_t timeout_ms)
{
    strait_options *options = fake_options(server, timeout_ms);
    struct strait_error error;
    strait *handle;
    ck_assert_msg(strait_open(options, &handle, &error) == STRAIT_OK, "%s", error.text);
    strait_options_free(options);
    return handle;
}
