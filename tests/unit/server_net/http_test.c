/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/http.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/base/log.h"
#include "tests/unit/server_net/fixture.h"
#include "tests/unit/unit.h"

static char certificate_path[256];
static char key_path[256];
static struct authority ours;
static struct http *http;
static struct error error;

static void write_bio(const char *path, BIO *pem)
{
    char *data = NULL;
    long size = BIO_get_mem_data(pem, &data);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, (size_t)size, file), (size_t)size);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(path, 0600), 0);
    BIO_free(pem);
}

static void write_pair(void)
{
    BIO *certificate_pem;
    BIO *key_pem;
    struct certificate made =
        issue(&ours, CERTIFICATE_SERVER, "DNS:localhost,IP:127.0.0.1", -60, 3600);
    ck_assert_int_eq(certificate_write(&made, &certificate_pem, &key_pem, &error), STATUS_OK);
    write_bio(certificate_path, certificate_pem);
    write_bio(key_path, key_pem);
    certificate_free(&made);
}

/* Echoes the path and the argument `name`; "/large" answers a megabyte. */
static void answer(void *context, const struct http_query *query, struct http_reply *reply)
{
    const char *name = http_argument(query, "name");
    sigset_t blocked;
    (void)context;
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, NULL, &blocked), 0);
    ck_assert(sigismember(&blocked, SIGTERM));
    if (strcmp(query->path, "/missing") == 0)
        return;
    reply->code = 200;
    if (strcmp(query->path, "/large") == 0) {
        reply->size = 1 << 20;
        reply->text = malloc(reply->size);
        ck_assert_ptr_nonnull(reply->text);
        memset(reply->text, 'x', reply->size);
        return;
    }
    ck_assert_int_ge(asprintf(&reply->text, "%s %s", query->path, name == NULL ? "-" : name), 0);
    reply->size = strlen(reply->text);
}

static struct http_options options_of_test(void)
{
    return (struct http_options){
        .host = "127.0.0.1", .certificate = certificate_path, .key = key_path, .answer = answer};
}

static void setup(void)
{
    const char *folder = unit_directory();
    log_descriptor_set(-1);
    snprintf(certificate_path, sizeof certificate_path, "%s/server.crt", folder);
    snprintf(key_path, sizeof key_path, "%s/server.key", folder);
    authority_make(&ours, "ca");
    write_pair();
    struct http_options options = options_of_test();
    ck_assert_msg(http_open(&options, &http, &error) == STATUS_OK, "%s", error.text);
    ck_assert_uint_ne(http_port(http), 0);
}

static void teardown(void)
{
    http_close(http);
    authority_free(&ours);
}

/* What comes for `request`, up to the end of the connection or of `text`. */
static size_t exchange(const char *request, char *text, size_t size)
{
    struct client client = {0};
    size_t filled = 0;
    client_connect(&client, http_port(http));
    ck_assert(client_handshake(&client, NULL, &ours, TLS1_3_VERSION, NULL));
    client_write(&client, request, strlen(request));
    while (filled + 1 < size && client_read(&client, text + filled, 1))
        filled++;
    text[filled] = 0;
    client_close(&client);
    return filled;
}

START_TEST(test_answers_with_path_and_arguments)
{
    char text[4096];
    exchange("GET /readyz?name=leader HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", text,
             sizeof text);
    ck_assert_msg(strstr(text, "HTTP/1.1 200") == text, "%s", text);
    ck_assert_ptr_nonnull(strstr(text, "\r\n\r\n/readyz leader"));
    ck_assert_ptr_nonnull(strstr(text, "no-store"));
}
END_TEST

START_TEST(test_what_is_not_there_is_404)
{
    char text[4096];
    exchange("GET /missing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", text, sizeof text);
    ck_assert_msg(strstr(text, "HTTP/1.1 404") == text, "%s", text);
}
END_TEST

START_TEST(test_only_get_is_served)
{
    char text[4096];
    exchange("DELETE /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", text, sizeof text);
    ck_assert_msg(strstr(text, "HTTP/1.1 405") == text, "%s", text);
    exchange(
        "POST /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
        text, sizeof text);
    ck_assert_ptr_null(strstr(text, "/readyz -"));
}
END_TEST

START_TEST(test_large_answers_come_whole)
{
    static char text[(1 << 20) + 4096];
    size_t size =
        exchange("GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", text, sizeof text);
    ck_assert_uint_gt(size, 1 << 20);
    ck_assert_int_eq(text[size - 1], 'x');
}
END_TEST

START_TEST(test_heads_are_bounded)
{
    static char request[64 * 1024];
    char text[4096];
    int size = snprintf(request, sizeof request, "GET /x HTTP/1.1\r\nHost: ");
    memset(request + size, 'a', 32 * 1024);
    snprintf(request + size + 32 * 1024, 100, "\r\nConnection: close\r\n\r\n");
    exchange(request, text, sizeof text);
    ck_assert_ptr_null(strstr(text, "HTTP/1.1 200"));
}
END_TEST

START_TEST(test_older_tls_is_refused)
{
    struct client client = {0};
    client_connect(&client, http_port(http));
    ck_assert(!client_handshake(&client, NULL, &ours, TLS1_2_VERSION, NULL));
    client_close(&client);
}
END_TEST

START_TEST(test_a_reload_takes_the_new_files_or_keeps_the_old)
{
    char text[4096];
    write_pair();
    ck_assert_msg(http_reload(http, &error) == STATUS_OK, "%s", error.text);
    exchange("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "/a -"));
    FILE *file = fopen(key_path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_gt(fprintf(file, "nonsense\n"), 0);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(http_reload(http, &error), STATUS_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(error.text, key_path));
    exchange("GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "/b -"));
}
END_TEST

START_TEST(test_what_cannot_be_opened_is_told)
{
    struct http *other;
    struct http_options options = options_of_test();
    options.port = http_port(http);
    ck_assert_int_eq(http_open(&options, &other, &error), STATUS_UNREACHABLE);
    ck_assert_ptr_nonnull(strstr(error.text, "port"));
    options = options_of_test();
    options.host = "example.org";
    ck_assert_int_eq(http_open(&options, &other, &error), STATUS_INVALID_ARGUMENT);
    options = options_of_test();
    options.key = "/nowhere/server.key";
    ck_assert_int_eq(http_open(&options, &other, &error), STATUS_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.text, "/nowhere/server.key"));
    ck_assert_ptr_null(other);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_answers_with_path_and_arguments);
    tcase_add_test(tests, test_what_is_not_there_is_404);
    tcase_add_test(tests, test_only_get_is_served);
    tcase_add_test(tests, test_large_answers_come_whole);
    tcase_add_test(tests, test_heads_are_bounded);
    tcase_add_test(tests, test_older_tls_is_refused);
    tcase_add_test(tests, test_a_reload_takes_the_new_files_or_keeps_the_old);
    tcase_add_test(tests, test_what_cannot_be_opened_is_told);
}
