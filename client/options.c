/* SPDX-License-Identifier: Apache-2.0 */
#include "client/options.h"

#include <stdlib.h>

#include "client/error.h"

strait_options *strait_options_new(void)
{
    strait_options *options = calloc(1, sizeof *options);
    if (options != NULL)
        options->timeout_ms = timeout_default_ms;
    return options;
}

void strait_options_free(strait_options *options)
{
    free(options);
}

static enum strait_status set_text(char *to, size_t size, const char *from)
{
    size_t length = from == NULL ? 0 : strnlen(from, size);
    if (length == 0 || length == size)
        return STRAIT_INVALID_ARGUMENT;
    memcpy(to, from, length + 1);
    return STRAIT_OK;
}

static bool port_is_valid(const char *port, size_t length)
{
    unsigned number = 0;
    if (length == 0 || length >= endpoint_port_size)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (port[i] < '0' || port[i] > '9')
            return false;
        number = number * 10 + (unsigned)(port[i] - '0');
    }
    return number >= 1 && number <= 65535;
}

bool endpoint_parse(const char *text, size_t length, struct endpoint *endpoint)
{
    const char *colon = memrchr(text, ':', length);
    const char *host = text;

    *endpoint = (struct endpoint){0};
    if (colon == NULL)
        return false;
    size_t host_length = (size_t)(colon - text);
    size_t port_length = length - host_length - 1;
    bool bracketed = host_length >= 2 && host[0] == '[' && host[host_length - 1] == ']';
    if (bracketed) {
        host++;
        host_length -= 2;
    }
    if (host_length == 0 || host_length >= endpoint_host_size ||
        !port_is_valid(colon + 1, port_length))
        return false;
    if (!bracketed && memchr(host, ':', host_length) != NULL)
        return false;
    memcpy(endpoint->host, host, host_length);
    memcpy(endpoint->port, colon + 1, port_length);
    return true;
}

bool endpoint_next(const char **at, struct endpoint *endpoint)
{
    while (**at != 0) {
        const char *text = *at;
        size_t length = strcspn(text, ",");
        *at += length + (text[length] == ',');
        if (endpoint_parse(text, length, endpoint))
            return true;
    }
    return false;
}

enum strait_status strait_options_set_endpoints(strait_options *options, const char *endpoints)
{
    struct endpoint parsed[endpoints_max];
    unsigned count = 0;

    if (endpoints == NULL)
        return STRAIT_INVALID_ARGUMENT;
    for (const char *at = endpoints;; at++) {
        size_t length = strcspn(at, ",");
        if (count == endpoints_max || !endpoint_parse(at, length, &parsed[count]))
            return STRAIT_INVALID_ARGUMENT;
        count++;
        at += length;
        if (*at == 0)
            break;
    }
    memcpy(options->endpoints, parsed, count * sizeof parsed[0]);
    options->endpoints_count = count;
    return STRAIT_OK;
}

enum strait_status strait_options_set_ca_file(strait_options *options, const char *path)
{
    return set_text(options->ca_file, sizeof options->ca_file, path);
}

enum strait_status strait_options_set_certificate_file(strait_options *options, const char *path)
{
    return set_text(options->certificate_file, sizeof options->certificate_file, path);
}

enum strait_status strait_options_set_key_file(strait_options *options, const char *path)
{
    return set_text(options->key_file, sizeof options->key_file, path);
}

enum strait_status strait_options_set_server_name(strait_options *options, const char *name)
{
    return set_text(options->server_name, sizeof options->server_name, name);
}

enum strait_status strait_options_set_client_name(strait_options *options, const char *name)
{
    return set_text(options->client_name, sizeof options->client_name, name);
}

void strait_options_set_loop(strait_options *options, bool loop)
{
    options->loop = loop;
}

enum strait_status strait_options_set_timeout_ms(strait_options *options, uint32_t timeout_ms)
{
    if (timeout_ms == 0 || timeout_ms > timeout_max_ms)
        return STRAIT_INVALID_ARGUMENT;
    options->timeout_ms = timeout_ms;
    return STRAIT_OK;
}
