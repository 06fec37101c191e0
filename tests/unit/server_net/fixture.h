/* SPDX-License-Identifier: Apache-2.0 */
/* A net loop on real loopback with a small core behind it, and a client made of plain OpenSSL that
 * can misbehave: what the tests of server/net stand on.
 *
 * The core answers HELLO, PING, COMMIT and GET. A GET's first key is the decimal size of the value
 * to answer with. While `hold` is set it keeps requests. */
#ifndef TESTS_UNIT_SERVER_NET_FIXTURE_H
#define TESTS_UNIT_SERVER_NET_FIXTURE_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "proto/base/error.h"
#include "proto/strait.pb-c.h"
#include "server/net/certificate.h"
#include "server/net/net.h"
#include "server/net/tls.h"

/* ---- Certificates, written to files of the test's folder ---- */

struct authority {
    struct certificate certificate;
    char path[256];
};

void authority_make(struct authority *authority, const char *name);
void authority_free(struct authority *authority);

/* `names` as in certificate.h; valid from now + from_s to now + until_s. */
struct certificate issue(const struct authority *authority, enum certificate_purpose purpose,
                         const char *names, long from_s, long until_s);

/* A server's context with a fresh certificate of `authority`, which trusts `trusted`. */
SSL_CTX *server_tls(const struct authority *authority, const struct authority *trusted);

/* ---- The server ---- */

struct server {
    struct net_options options;
    bool is_shared; /* core and net loop on two threads */
    struct mailbox requests;
    struct mailbox replies;
    struct net *net;
    uint16_t port;
    pthread_t net_thread;
    pthread_t core_thread;
    struct io *net_io;
    struct io *core_io;
    struct io_bell net_bell;
    struct io_bell core_bell;
    atomic_bool net_stop;
    atomic_bool core_stop;
    atomic_bool hold;
    struct list_link held;
    _Atomic uint64_t held_count;
    atomic_bool is_drained;
    atomic_bool ready;
    pthread_mutex_t lock;
    struct net_statistics statistics; /* under the lock, of the last turn */
    struct access *access;
    uint8_t cluster_id[16];
};

/* With identities shop (writer), reports (reader), dba (admin), n1 (peer). `options` gives limits
 * only. */
void server_start(struct server *server, SSL_CTX *tls, const struct net_options *options,
                  bool is_shared);
void server_stop(struct server *server);
void server_hold(struct server *server, bool hold);
struct net_statistics server_statistics(struct server *server);

/* Waits until the expression holds, at most ten seconds. */
#define EVENTUALLY(expression)                                                                     \
    do {                                                                                           \
        for (int tries_ = 0; tries_ < 10000 && !(expression); tries_++)                            \
            wait_a_little();                                                                       \
        ck_assert_msg(expression, "never: %s", #expression);                                       \
    } while (0)
void wait_a_little(void);

/* ---- The client ---- */

struct client {
    int descriptor;
    SSL *ssl;
    size_t segment_size; /* bytes to a send; 0: as many as there are */
    bool ended;          /* the server's side is closed, or broken off */
    uint64_t number;     /* of the last request */
};

/* A TCP connection alone. */
void client_connect(struct client *client, uint16_t port);

/* The handshake as whom the certificate says (NULL: nobody): false where it failed. In TLS 1.3 a
 * server's refusal of the certificate shows with the first read only. */
bool client_handshake(struct client *client, const struct certificate *certificate,
                      const struct authority *trusted, int version, SSL_SESSION *resumed);

/* Sealed bytes of OpenSSL's go out. */
void client_flush(struct client *client);

/* Plain bytes, or a frame of a message, sealed and sent. */
void client_write(struct client *client, const void *data, size_t size);
void client_send(struct client *client, int type, const ProtobufCMessage *message);

/* Reads exactly so many plain bytes: false where the connection ended before. */
bool client_read(struct client *client, void *to, size_t size);

struct reply {
    int type;
    enum status status;
    uint64_t number;
    size_t size;
    uint8_t *body;            /* freed with reply_free() */
    Strait__Refusal *refusal; /* where status is not OK */
};
bool client_receive(struct client *client, struct reply *reply);
void reply_free(struct reply *reply);

/* Reads until the server closes, at most ten seconds: whether it did. */
bool client_is_closed(struct client *client);
void client_close(struct client *client);

/* Connects, shakes hands and says hello: all must succeed. */
void client_enter(struct client *client, uint16_t port, const struct certificate *certificate,
                  const struct authority *trusted);
void client_hello(struct client *client, uint32_t version);

/* A ping that must be answered. */
void client_ping(struct client *client);

/* Receives a reply that must have this status. */
void client_expect(struct client *client, enum status status);

#endif
