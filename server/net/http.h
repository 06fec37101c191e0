/* SPDX-License-Identifier: Apache-2.0 */
/* The port for machines that watch: HTTPS, GET only, on libmicrohttpd and a thread of its own.
 *
 * Strangers may ask here (a load balancer has no certificate), so it holds nothing secret, changes
 * nothing, and never touches the core's state: the answerer works on what the core has published.
 * Bounded: http_connections_max connections at once, http_connection_seconds idle time, 8 KiB for
 * a request's head; a body is refused. */
#ifndef SERVER_NET_HTTP_H
#define SERVER_NET_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/error.h"

enum { http_connections_max = 64, http_connection_seconds = 10 };

struct http;

/* One request. Valid during the answer. */
struct http_query {
    const char *path; /* "/metrics" */
    void *private_pointer;
};

/* The value of an argument in the address, as "role" in "/readyz?role=leader"; NULL where it is not
 * there. */
const char *http_argument(const struct http_query *query, const char *name);

struct http_reply {
    unsigned code;            /* 200; 404 at first */
    const char *content_type; /* static; "text/plain; charset=utf-8" at first */
    char *text;               /* from malloc(), freed by http; NULL: empty */
    size_t size;
};

/* On http's own thread. */
typedef void http_answer_fn(void *context, const struct http_query *query,
                            struct http_reply *reply);

struct http_options {
    const char *host;        /* a numeric address */
    uint16_t port;           /* 0: any */
    const char *certificate; /* PEM files */
    const char *key;
    http_answer_fn *answer;
    void *context;
};

/* Listens, and answers from then on. Errors have text for the operator. */
MUST_CHECK enum status http_open(const struct http_options *options, struct http **http,
                                 struct error *error);
uint16_t http_port(const struct http *http);

/* Takes the certificate's files anew: the port closes for a moment. Where they cannot be used it
 * stays as it was. */
MUST_CHECK enum status http_reload(struct http *http, struct error *error);

/* Ends the thread; no answer is under way afterwards. NULL is taken. */
void http_close(struct http *http);

#endif
