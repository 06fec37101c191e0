/* SPDX-License-Identifier: Apache-2.0 */
/* What strait_options holds, and how an endpoint's text is read. */
#ifndef CLIENT_OPTIONS_H
#define CLIENT_OPTIONS_H

#include <limits.h>

#include "client/strait.h"

enum {
    endpoints_max = 16,
    endpoints_told_max = 16, /* that servers named, besides those of the options: all of a region */
    endpoint_host_size = 256,
    endpoint_port_size = 6,
    client_name_size = 129,
    timeout_default_ms = 10 * 1000,
    timeout_max_ms = 3600 * 1000
};

struct endpoint {
    char host[endpoint_host_size]; /* without brackets */
    char port[endpoint_port_size]; /* 1 to 65535 */
};

/* A text is empty where it was not set. */
struct strait_options {
    struct endpoint endpoints[endpoints_max];
    unsigned endpoints_count;
    char ca_file[PATH_MAX];
    char certificate_file[PATH_MAX];
    char key_file[PATH_MAX];
    char server_name[endpoint_host_size];
    char client_name[client_name_size];
    uint32_t timeout_ms;
    bool loop;
};

/* "HOST:PORT" or "[ADDRESS]:PORT", of `length` bytes. False: it is neither. */
bool endpoint_parse(const char *text, size_t length, struct endpoint *endpoint);

/* The next endpoint of a list "HOST:PORT[,HOST:PORT...]" from a server, from `*at` on, which moves
 * past it. What is none is passed over. False: there is none left. */
bool endpoint_next(const char **at, struct endpoint *endpoint);

#endif
