/* SPDX-License-Identifier: Apache-2.0 */
/* Servers of another region that do as a test says, and a link to them, all on one io that the test
 * turns: what the tests of the link stand on. */
#ifndef TESTS_UNIT_SERVER_NET_REGION_LINK_FIXTURE_H
#define TESTS_UNIT_SERVER_NET_REGION_LINK_FIXTURE_H

#include "proto/frame.h"
#include "server/net/region_link.h"
#include "server/net/tls_stream.h"
#include "storage/io/socket.h"
#include "tests/unit/server_net/peers_fixture.h"

enum { far_guests_max = 64, far_body_size_max = 64 * 1024, link_told_max = 256 };

/* ---- A server of the other region ---- */

/* Whoever dialled it. */
struct far_guest {
    struct far *far;
    struct io_socket *socket; /* NULL: gone */
    struct tls_stream tls;
    struct tls_output *sending;
    struct io_op op;
    uint8_t input[frame_header_size + far_body_size_max];
    size_t input_size;
};

struct far {
    struct io *io;
    struct io_listener *listener;
    uint16_t port;
    char address[32];
    SSL_CTX *tls;
    BIO_METHOD *bio_method;
    uint8_t cluster_id[16];
    bool is_mute; /* takes all, says nothing; not even in TLS */

    /* Each request but HELLO, which is answered where `hello` is NULL. */
    void (*take)(struct far_guest *guest, const struct frame_header *header, struct bytes body);
    void (*hello)(struct far_guest *guest);

    struct far_guest *guests[far_guests_max];
    unsigned guests_count;
    unsigned requests_count;
};

/* Its certificate is of `authority`, says `name`, and trusts `trusted`. */
void far_open(struct far *far, struct io *io, const struct authority *authority,
              const struct authority *trusted, const char *name);
void far_close(struct far *far);

/* Ends every connection that there is. */
void far_drop(struct far *far);

void far_write(struct far_guest *guest, const void *data, size_t size);
void far_reply(struct far_guest *guest, const struct frame_header *to, enum status status,
               const ProtobufCMessage *message);
void far_refuse(struct far_guest *guest, const struct frame_header *to, enum status status,
                const char *text, const char *leader);
void far_say_hello(struct far_guest *guest);

/* Answers each GET with a record whose version is the snapshot that was asked for; and PING. */
void far_answer(struct far_guest *guest, const struct frame_header *header, struct bytes body);

/* ---- The link, and what its user is told ---- */

struct told {
    uintptr_t request;
    enum status status;
    bool has_message;
    uint64_t version; /* of a GET's reply */
    size_t value_size;
    char leader[80]; /* of a refusal */
};

struct near {
    struct region_link *link;
    struct link *interface;
    SSL_CTX *tls;
    struct access *access;
    unsigned connected_count;
    unsigned disconnected_count;
    char endpoint[80];
    char reason[256];
    struct told told[link_told_max];
    unsigned told_count;
};

/* `name`'s link; n1 to n5 and localhost have the role peer. `options`: times; may be NULL. */
void near_open(struct near *near, struct io *io, const struct authority *authority,
               const char *name, const struct region_link_options *options);
void near_close(struct near *near);

/* A GET at a snapshot, whose number is also the request's. */
enum status near_ask(struct near *near, uint64_t snapshot, uint32_t timeout_ms);

/* One endpoint, or as many as there are before a NULL. */
void near_endpoints(struct near *near, const char *first, ...) __attribute__((sentinel));

#endif
