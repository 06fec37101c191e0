/* SPDX-License-Identifier: Apache-2.0 */
/* What a round trip over loopback takes with TLS 1.3 and nothing else: two processes, blocking
 * sockets, plain OpenSSL, 300 bytes each way, one at a time, unpinned. Prints JSON.
 *
 *     bench_tls_echo CERTIFICATE KEY SECONDS */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/histogram.h"

enum { message_size = 300 };

static uint64_t now_ns(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int fail(const char *what)
{
    fprintf(stderr, "bench_tls_echo: %s\n", what);
    ERR_print_errors_fp(stderr);
    return 1;
}

/* Reads exactly one message. */
static int read_message(SSL *tls, char *message)
{
    int got = 0;
    while (got < message_size) {
        int part = SSL_read(tls, message + got, message_size - got);
        if (part <= 0)
            return 0;
        got += part;
    }
    return 1;
}

static int serve(int listener, const char *certificate, const char *key)
{
    char message[message_size];
    int on = 1;
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        return fail("server's certificate or key");
    int socket = accept(listener, NULL, NULL);
    if (socket < 0 || setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        return fail("accept");
    SSL *tls = SSL_new(context);
    if (tls == NULL || SSL_set_fd(tls, socket) != 1 || SSL_accept(tls) != 1)
        return fail("server's handshake");
    while (read_message(tls, message) && SSL_write(tls, message, message_size) == message_size)
        ;
    SSL_free(tls);
    SSL_CTX_free(context);
    return 0;
}

static int drive(const struct sockaddr_in *address, double seconds)
{
    static struct histogram latencies;
    char message[message_size] = {1};
    int on = 1;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    int socket_descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        socket_descriptor < 0 ||
        connect(socket_descriptor, (const struct sockaddr *)address, sizeof *address) != 0 ||
        setsockopt(socket_descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        return fail("connect");
    SSL *tls = SSL_new(context);
    if (tls == NULL || SSL_set_fd(tls, socket_descriptor) != 1 || SSL_connect(tls) != 1)
        return fail("client's handshake");
    histogram_init(&latencies);
    uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
    while (now_ns() < end) {
        uint64_t begun = now_ns();
        if (SSL_write(tls, message, message_size) != message_size || !read_message(tls, message))
            return fail("round trip");
        histogram_add(&latencies, now_ns() - begun);
    }
    printf("{\"count\": %llu, \"p50_us\": %.2f, \"p99_us\": %.2f}\n",
           (unsigned long long)latencies.count, (double)histogram_percentile(&latencies, 50) / 1e3,
           (double)histogram_percentile(&latencies, 99) / 1e3);
    SSL_free(tls);
    SSL_CTX_free(context);
    close(socket_descriptor);
    return 0;
}

int main(int count, char **values)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    if (count != 4 || atof(values[3]) <= 0) {
        fprintf(stderr, "usage: bench_tls_echo CERTIFICATE KEY SECONDS\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 1) != 0 || getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        return fail("listen");
    pid_t child = fork();
    if (child < 0)
        return fail("fork");
    if (child == 0)
        _exit(serve(listener, values[1], values[2]));
    close(listener);
    int result = drive(&address, atof(values[3]));
    if (result != 0)
        kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return result;
}
