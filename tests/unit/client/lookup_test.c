/* SPDX-License-Identifier: Apache-2.0 */
/* Names are looked up beside: a name server that keeps silent holds nobody up. */
#include "client/lookup.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#include "client/dial.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/unit.h"

/* A name server that is silent until it is told to answer. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool answers;
    unsigned asked_count;
    unsigned ended_count;
} silent = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static const char silent_host[] = "silent.example";

typedef int look_up_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* In the C library's place, in this program. */
int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **found)
{
    look_up_fn *real = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (strcmp(host, silent_host) != 0 || (hints->ai_flags & AI_NUMERICHOST) != 0)
        return real(host, port, hints, found);
    pthread_mutex_lock(&silent.lock);
    silent.asked_count++;
    pthread_cond_broadcast(&silent.changed);
    while (!silent.answers)
        pthread_cond_wait(&silent.changed, &silent.lock);
    silent.ended_count++;
    pthread_cond_broadcast(&silent.changed);
    pthread_mutex_unlock(&silent.lock);
    return real("127.0.0.1", port, hints, found);
}

static void be_silent(void)
{
    pthread_mutex_lock(&silent.lock);
    silent.answers = false;
    silent.asked_count = 0;
    silent.ended_count = 0;
    pthread_mutex_unlock(&silent.lock);
}

static void await_asked(unsigned count)
{
    pthread_mutex_lock(&silent.lock);
    while (silent.asked_count < count)
        pthread_cond_wait(&silent.changed, &silent.lock);
    pthread_mutex_unlock(&silent.lock);
}

/* And waits until all that asked were told. */
static void answer(void)
{
    pthread_mutex_lock(&silent.lock);
    silent.answers = true;
    pthread_cond_broadcast(&silent.changed);
    while (silent.ended_count < silent.asked_count)
        pthread_cond_wait(&silent.changed, &silent.lock);
    pthread_mutex_unlock(&silent.lock);
}

static void accept_all(struct fake_connection *connection, const struct fake_request *request,
                       void *context)
{
    (void)context;
    fake_accept(connection, request, 9);
}

static struct endpoint endpoint_of(const char *host, const char *port)
{
    struct endpoint endpoint = {0};
    snprintf(endpoint.host, sizeof endpoint.host, "%s", host);
    snprintf(endpoint.port, sizeof endpoint.port, "%s", port);
    return endpoint;
}

/* Waits for it. */
static enum status result_of(struct lookup *lookup, struct addrinfo **addresses, const char **why)
{
    struct pollfd polled = {.fd = lookup_descriptor(lookup), .events = POLLIN};
    enum status status;
    while ((status = lookup_take(lookup, addresses, why)) == STATUS_AGAIN)
        ck_assert_int_eq(poll(&polled, 1, 60 * 1000), 1);
    return status;
}

START_TEST(test_addresses_are_there_at_once)
{
    static const char *const hosts[] = {"127.0.0.1", "::1", "10.1.2.3"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        const struct endpoint endpoint = endpoint_of(hosts[i], "7411");
        struct addrinfo *addresses;
        struct lookup *lookup;
        const char *why;
        ck_assert_int_eq(lookup_start(&endpoint, &lookup), STATUS_OK);
        ck_assert_int_eq(lookup_take(lookup, &addresses, &why), STATUS_OK);
        ck_assert_ptr_nonnull(addresses);
        freeaddrinfo(addresses);
    }
}
END_TEST

START_TEST(test_names)
{
    struct endpoint endpoint = endpoint_of("localhost", "7411");
    struct addrinfo *addresses;
    struct lookup *lookup;
    const char *why;
    ck_assert_int_eq(lookup_start(&endpoint, &lookup), STATUS_OK);
    ck_assert_int_eq(result_of(lookup, &addresses, &why), STATUS_OK);
    ck_assert_ptr_nonnull(addresses);
    freeaddrinfo(addresses);
    /* No such name, in any resolver's view: labels have at most 63 bytes. */
    endpoint = endpoint_of("a-label-that-is-longer-than-any-label-of-a-name-may-be-by-its-standard-"
                           "and-so-is-none.example",
                           "7411");
    ck_assert_int_eq(lookup_start(&endpoint, &lookup), STATUS_OK);
    ck_assert_int_eq(result_of(lookup, &addresses, &why), STATUS_UNREACHABLE);
    ck_assert_ptr_null(addresses);
    ck_assert_uint_gt(strlen(why), 3);
}
END_TEST

/* Those that were given up count, until they have ended. */
START_TEST(test_look_ups_are_bounded)
{
    const struct endpoint endpoint = endpoint_of(silent_host, "7411");
    struct lookup *lookups[lookups_max];
    struct lookup *more;
    struct addrinfo *addresses;
    const char *why;
    be_silent();
    for (unsigned i = 0; i < lookups_max; i++)
        ck_assert_int_eq(lookup_start(&endpoint, &lookups[i]), STATUS_OK);
    await_asked(lookups_max);
    for (unsigned i = 1; i < lookups_max; i++)
        lookup_give_up(lookups[i]);
    ck_assert_int_eq(lookup_start(&endpoint, &more), STATUS_BUSY);
    ck_assert_ptr_null(more);
    ck_assert_int_eq(lookup_take(lookups[0], &addresses, &why), STATUS_AGAIN);
    answer();
    ck_assert_int_eq(result_of(lookups[0], &addresses, &why), STATUS_OK);
    freeaddrinfo(addresses);
    enum status status;
    while ((status = lookup_start(&endpoint, &more)) == STATUS_BUSY)
        sched_yield(); /* each is about to end */
    ck_assert_int_eq(status, STATUS_OK);
    ck_assert_int_eq(result_of(more, &addresses, &why), STATUS_OK);
    freeaddrinfo(addresses);
}
END_TEST

/* The name server answers only once the call has come back. */
START_TEST(test_a_call_keeps_its_deadline)
{
    char endpoints[128];
    struct strait_error error;
    strait *handle;
    struct fake_server *server = fake_start(accept_all, NULL);
    strait_options *options = fake_options(server, 10000);
    be_silent();
    ck_assert_int_eq(strait_options_set_server_name(options, "127.0.0.1"), STRAIT_OK);
    snprintf(endpoints, sizeof endpoints, "%s:%u", silent_host, server->port);
    ck_assert_int_eq(strait_options_set_endpoints(options, endpoints), STRAIT_OK);
    ck_assert_int_eq(strait_open(options, &handle, &error), STRAIT_OK);
    ck_assert_int_eq(strait_ping(handle, 200, NULL, &error), STRAIT_UNREACHABLE);
    answer();
    ck_assert_msg(strait_ping(handle, 30 * 1000, NULL, &error) == STRAIT_OK, "%s", error.text);
    strait_close(handle);
    strait_options_free(options);
    fake_stop(server);
}
END_TEST

/* A handle is closed under a look-up, and another endpoint's turn comes in spite of one. */
START_TEST(test_others_are_not_held_up)
{
    char endpoints[128];
    struct strait_error error;
    strait *handle;
    struct fake_server *server = fake_start(accept_all, NULL);
    strait_options *options = fake_options(server, 10000);
    be_silent();
    snprintf(endpoints, sizeof endpoints, "%s:1,127.0.0.1:%u", silent_host, server->port);
    ck_assert_int_eq(strait_options_set_endpoints(options, endpoints), STRAIT_OK);
    ck_assert_int_eq(strait_open(options, &handle, &error), STRAIT_OK);
    ck_assert_msg(strait_ping(handle, 60 * 1000, NULL, &error) == STRAIT_OK, "%s", error.text);
    strait_close(handle);

    ck_assert_int_eq(strait_options_set_endpoints(options, "silent.example:1"), STRAIT_OK);
    ck_assert_int_eq(strait_open(options, &handle, &error), STRAIT_OK);
    ck_assert_int_eq(strait_ping(handle, 100, NULL, &error), STRAIT_UNREACHABLE);
    strait_close(handle);
    answer();
    strait_options_free(options);
    fake_stop(server);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_addresses_are_there_at_once);
    tcase_add_test(tests, test_names);
    tcase_add_test(tests, test_look_ups_are_bounded);
    tcase_add_test(tests, test_a_call_keeps_its_deadline);
    tcase_add_test(tests, test_others_are_not_held_up);
}
