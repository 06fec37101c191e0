/* SPDX-License-Identifier: Apache-2.0 */
/* Two streams, face to face, without sockets. */
#include "server/net/tls_stream.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/log.h"
#include "proto/limits.h"
#include "tests/unit/server_net/peers_fixture.h"
#include "tests/unit/unit.h"

static struct authority ours;
static struct authority foreign;
static SSL_CTX *contexts[2];
static BIO_METHOD *method;
static struct tls_stream streams[2]; /* the one that dials, the one that is dialled */
static char reason[256];

static void setup(void)
{
    log_descriptor_set(-1);
    authority_make(&ours, "ca");
    authority_make(&foreign, "foreign");
    contexts[0] = node_tls(&ours, &ours, "n1");
    contexts[1] = node_tls(&ours, &ours, "n2");
    method = tls_stream_method();
    ck_assert_ptr_nonnull(method);
}

static void teardown(void)
{
    BIO_meth_free(method);
    SSL_CTX_free(contexts[0]);
    SSL_CTX_free(contexts[1]);
    authority_free(&ours);
    authority_free(&foreign);
}

static void open_both(void)
{
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(tls_stream_open(&streams[i], contexts[i], method, i == 0), STATUS_OK);
}

static void close_both(void)
{
    tls_stream_close(&streams[0]);
    tls_stream_close(&streams[1]);
}

/* What `from` sealed is the input of the other until the next call. */
static void carry(int from)
{
    static struct tls_output *carried;
    free(carried);
    carried = streams[from].output;
    streams[from].output = NULL;
    streams[1 - from].input =
        carried != NULL ? bytes_of(carried->bytes, carried->size) : (struct bytes){0};
}

/* Returns how it ended for the one that is dialled. */
static enum status shake_hands(void)
{
    enum status dialler = tls_stream_handshake(&streams[0], reason, sizeof reason);
    enum status other = STATUS_AGAIN;
    for (int i = 0; i < 10 && (dialler == STATUS_AGAIN || other == STATUS_AGAIN); i++) {
        carry(0);
        if (other == STATUS_AGAIN)
            other = tls_stream_handshake(&streams[1], reason, sizeof reason);
        carry(1);
        if (dialler == STATUS_AGAIN)
            dialler = tls_stream_handshake(&streams[0], reason, sizeof reason);
    }
    return other;
}

static void expect_plain(int at, const void *data, size_t size)
{
    static uint8_t plain[256 * 1024];
    size_t filled = 0;
    size_t got;
    while (filled < size) {
        ck_assert_int_eq(tls_stream_read(&streams[at], plain + filled, sizeof plain - filled, &got,
                                         reason, sizeof reason),
                         STATUS_OK);
        filled += got;
    }
    ck_assert_uint_eq(filled, size);
    ck_assert_mem_eq(plain, data, size);
    ck_assert_int_eq(
        tls_stream_read(&streams[at], plain, sizeof plain, &got, reason, sizeof reason),
        STATUS_AGAIN);
    ck_assert_uint_eq(got, 0);
}

START_TEST(test_bytes_both_ways)
{
    static uint8_t data[200000];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 9);
    open_both();
    ck_assert_int_eq(shake_hands(), STATUS_OK);
    ck_assert(streams[0].is_open && streams[1].is_open);
    for (int from = 0; from < 2; from++) {
        ck_assert_int_eq(tls_stream_write(&streams[from], bytes_of(data, sizeof data)), STATUS_OK);
        ck_assert_int_eq(tls_stream_write(&streams[from], bytes_of(data, 1)), STATUS_OK);
        carry(from);
        uint8_t *all = malloc(sizeof data + 1);
        memcpy(all, data, sizeof data);
        all[sizeof data] = data[0];
        expect_plain(1 - from, all, sizeof data + 1);
        free(all);
    }
    close_both();
}
END_TEST

/* Long before AES-GCM wears out the key is changed, and the other side reads on. */
START_TEST(test_the_key_is_changed_in_time)
{
    open_both();
    ck_assert_int_eq(shake_hands(), STATUS_OK);
    uint64_t worn = (UINT64_C(1) << 23) - 3;
    streams[0].records_count = worn;
    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(tls_stream_write(&streams[0], bytes_of("hello", 5)), STATUS_OK);
        carry(0);
        expect_plain(1, "hello", 5);
    }
    ck_assert_uint_lt(streams[0].records_count, 10);
    ck_assert_uint_eq(streams[1].key_updates_count, 0); /* since plain bytes came */
    close_both();
}
END_TEST

START_TEST(test_a_close_is_told)
{
    uint8_t byte;
    size_t got;
    open_both();
    ck_assert_int_eq(shake_hands(), STATUS_OK);
    tls_stream_say_close(&streams[0]);
    carry(0);
    ck_assert_int_eq(tls_stream_read(&streams[1], &byte, 1, &got, reason, sizeof reason),
                     STATUS_END);
    close_both();
}
END_TEST

START_TEST(test_a_bent_record_breaks_the_stream)
{
    uint8_t byte;
    size_t got;
    open_both();
    ck_assert_int_eq(shake_hands(), STATUS_OK);
    ck_assert_int_eq(tls_stream_write(&streams[0], bytes_of("hello", 5)), STATUS_OK);
    streams[0].output->bytes[streams[0].output->size - 1] ^= 1;
    carry(0);
    ck_assert_int_eq(tls_stream_read(&streams[1], &byte, 1, &got, reason, sizeof reason),
                     STATUS_DISCONNECTED);
    ck_assert_uint_gt(strlen(reason), 3);
    close_both();
}
END_TEST

START_TEST(test_handshakes_that_fail_say_why)
{
    SSL_CTX *own = contexts[0];
    contexts[0] = node_tls(&foreign, &ours, "n1");
    open_both();
    ck_assert_int_eq(shake_hands(), STATUS_DISCONNECTED);
    ck_assert_ptr_nonnull(strstr(reason, "certificate"));
    close_both();
    SSL_CTX_free(contexts[0]);
    contexts[0] = own;
    /* No TLS at all. */
    open_both();
    streams[1].input = bytes_of("GET / HTTP/1.1\r\n\r\n", 18);
    ck_assert_int_eq(tls_stream_handshake(&streams[1], reason, sizeof reason), STATUS_DISCONNECTED);
    close_both();
}
END_TEST

/* A hello in so many pieces that it never ends. */
START_TEST(test_a_handshake_without_end_is_refused)
{
    static const uint8_t start[] = {0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff};
    static uint8_t record[5 + 16384] = {0x16, 3, 1, 0x40, 0};
    enum status status = STATUS_AGAIN;
    memcpy(record, start, sizeof start); /* a ClientHello that says it is of 64 KiB */
    open_both();
    size_t fed = 0;
    while (status == STATUS_AGAIN && fed < 4 * limit_tls_handshake_size) {
        streams[1].input = bytes_of(record, sizeof record);
        status = tls_stream_handshake(&streams[1], reason, sizeof reason);
        fed += sizeof record;
        memset(record + 5, 0, 4);
    }
    ck_assert_int_eq(status, STATUS_DISCONNECTED);
    ck_assert_uint_le(fed, limit_tls_handshake_size + 2 * sizeof record);
    close_both();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_unchecked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_bytes_both_ways);
    tcase_add_test(tests, test_the_key_is_changed_in_time);
    tcase_add_test(tests, test_a_close_is_told);
    tcase_add_test(tests, test_a_bent_record_breaks_the_stream);
    tcase_add_test(tests, test_handshakes_that_fail_say_why);
    tcase_add_test(tests, test_a_handshake_without_end_is_refused);
}
