/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/server_net/region_link_fixture.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/message.h"
#include "tests/unit/unit.h"

/* ---- Bytes out ---- */

static void guest_flush(struct far_guest *guest);

static void sent(struct io_op *op)
{
    struct far_guest *guest = op->context;
    free(guest->sending);
    guest->sending = NULL;
    guest_flush(guest);
}

static void guest_flush(struct far_guest *guest)
{
    if (guest->socket == NULL || guest->sending != NULL || guest->tls.output == NULL)
        return;
    guest->sending = guest->tls.output;
    guest->tls.output = NULL;
    guest->op = (struct io_op){.done = sent, .context = guest};
    io_socket_send(guest->socket, &guest->op, guest->sending->bytes, guest->sending->size);
}

void far_write(struct far_guest *guest, const void *data, size_t size)
{
    ck_assert_int_eq(tls_stream_write(&guest->tls, bytes_of(data, size)), STATUS_OK);
    guest_flush(guest);
}

void far_reply(struct far_guest *guest, const struct frame_header *to, enum status status,
               const ProtobufCMessage *message)
{
    struct arena arena;
    struct bytes frame;
    arena_init(&arena, 4096, limit_frame_size * 2);
    ck_assert_int_eq(message_encode_frame(message, (int)to->type | frame_reply, status, to->request,
                                          &arena, &frame),
                     STATUS_OK);
    far_write(guest, frame.data, frame.size);
    arena_free(&arena);
}

void far_refuse(struct far_guest *guest, const struct frame_header *to, enum status status,
                const char *text, const char *leader)
{
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;
    refusal.text = (char *)(uintptr_t)text;
    refusal.leader = (char *)(uintptr_t)leader;
    far_reply(guest, to, status, &refusal.base);
}

void far_say_hello(struct far_guest *guest)
{
    const struct frame_header header = {.type = FRAME_HELLO};
    Strait__HelloReply reply = STRAIT__HELLO_REPLY__INIT;
    reply.cluster_id = field_of_bytes(bytes_of(guest->far->cluster_id, 16));
    far_reply(guest, &header, STATUS_OK, &reply.base);
}

void far_answer(struct far_guest *guest, const struct frame_header *header, struct bytes body)
{
    Strait__PingReply ping = STRAIT__PING_REPLY__INIT;
    if (header->type == FRAME_PING) {
        far_reply(guest, header, STATUS_OK, &ping.base);
        return;
    }
    Strait__Get *get = strait__get__unpack(NULL, body.size, body.data);
    ck_assert_ptr_nonnull(get);
    Strait__Record record = STRAIT__RECORD__INIT;
    Strait__Record *records[] = {&record};
    record.version = get->snapshot_id;
    Strait__GetReply reply = STRAIT__GET_REPLY__INIT;
    reply.records = records;
    reply.n_records = 1;
    far_reply(guest, header, STATUS_OK, &reply.base);
    strait__get__free_unpacked(get, NULL);
}

/* ---- Bytes in ---- */

static void guest_end(struct far_guest *guest)
{
    if (guest->socket != NULL)
        io_socket_close(guest->socket);
    guest->socket = NULL;
}

static void take_frames(struct far_guest *guest)
{
    struct frame_header header;
    while (guest->socket != NULL && guest->input_size >= frame_header_size) {
        bool is_first = load_u16(guest->input + 4) == FRAME_HELLO;
        ck_assert_int_eq(frame_request_decode(guest->input, is_first, &header), STATUS_OK);
        ck_assert_uint_le(header.body_size, far_body_size_max);
        size_t size = frame_header_size + header.body_size;
        if (guest->input_size < size)
            return;
        guest->far->requests_count += !is_first;
        if (!is_first)
            guest->far->take(guest, &header,
                             bytes_of(guest->input + frame_header_size, header.body_size));
        else if (guest->far->hello != NULL)
            guest->far->hello(guest);
        else
            far_say_hello(guest);
        guest->input_size -= size;
        memmove(guest->input, guest->input + size, guest->input_size);
    }
}

static void received(void *context, const uint8_t *data, size_t size, enum status status)
{
    struct far_guest *guest = context;
    char reason[256];
    size_t got;
    (void)status;
    if (guest->socket == NULL || (size > 0 && guest->far->is_mute))
        return;
    if (size == 0) {
        guest_end(guest);
        return;
    }
    guest->tls.input = bytes_of(data, size);
    enum status result = STATUS_OK;
    if (!guest->tls.is_open)
        result = tls_stream_handshake(&guest->tls, reason, sizeof reason);
    while (result == STATUS_OK && guest->socket != NULL) {
        result =
            tls_stream_read(&guest->tls, guest->input + guest->input_size,
                            sizeof guest->input - guest->input_size, &got, reason, sizeof reason);
        guest->input_size += got;
        if (result == STATUS_OK)
            take_frames(guest);
    }
    guest_flush(guest);
    if (result != STATUS_OK && result != STATUS_AGAIN)
        guest_end(guest);
}

static void accepted(void *context, struct io_socket *socket, enum status status)
{
    struct far *far = context;
    ck_assert_int_eq(status, STATUS_OK);
    ck_assert_uint_lt(far->guests_count, far_guests_max);
    struct far_guest *guest = calloc(1, sizeof *guest);
    far->guests[far->guests_count++] = guest;
    guest->far = far;
    guest->socket = socket;
    ck_assert_int_eq(tls_stream_open(&guest->tls, far->tls, far->bio_method, false), STATUS_OK);
    io_socket_receive_start(socket, received, guest);
}

void far_open(struct far *far, struct io *io, const struct authority *authority,
              const struct authority *trusted, const char *name)
{
    struct error error = {0};
    *far = (struct far){.io = io, .take = far_answer};
    far->tls = node_tls(authority, trusted, name);
    far->bio_method = tls_stream_method();
    ck_assert_msg(io_listen(io, "127.0.0.1", 0, accepted, far, &far->listener, &error) == STATUS_OK,
                  "%s", error.text);
    far->port = io_listener_port(far->listener);
    snprintf(far->address, sizeof far->address, "127.0.0.1:%u", far->port);
}

void far_drop(struct far *far)
{
    for (unsigned i = 0; i < far->guests_count; i++)
        guest_end(far->guests[i]);
}

void far_close(struct far *far)
{
    far_drop(far);
    io_listener_close(far->io, far->listener);
    for (unsigned i = 0; i < far->guests_count; i++) {
        while (far->guests[i]->op.pending)
            io_turn(far->io, true);
        tls_stream_close(&far->guests[i]->tls);
        free(far->guests[i]->sending);
        free(far->guests[i]);
    }
    SSL_CTX_free(far->tls);
    BIO_meth_free(far->bio_method);
}

/* ---- The link ---- */

static void connected(void *context, const char *endpoint)
{
    struct near *near = context;
    ck_assert_uint_eq(near->connected_count, near->disconnected_count);
    near->connected_count++;
    snprintf(near->endpoint, sizeof near->endpoint, "%s", endpoint);
}

static void disconnected(void *context, const char *reason)
{
    struct near *near = context;
    near->disconnected_count++;
    ck_assert_uint_eq(near->connected_count, near->disconnected_count);
    snprintf(near->reason, sizeof near->reason, "%s", reason);
}

static void replied(void *context, void *request, enum status status,
                    const ProtobufCMessage *message)
{
    struct near *near = context;
    ck_assert_uint_lt(near->told_count, link_told_max);
    struct told *told = &near->told[near->told_count++];
    *told = (struct told){
        .request = (uintptr_t)request, .status = status, .has_message = message != NULL};
    if (message == NULL) {
        ck_assert_int_ne(status, STATUS_OK);
    } else if (message->descriptor == &strait__get_reply__descriptor) {
        const Strait__GetReply *reply = (const Strait__GetReply *)(const void *)message;
        ck_assert_int_eq(status, STATUS_OK);
        ck_assert_uint_eq(reply->n_records, 1);
        told->version = reply->records[0]->version;
        told->value_size = reply->records[0]->value.len;
    } else {
        const Strait__Refusal *refusal = (const Strait__Refusal *)(const void *)message;
        ck_assert_ptr_eq(message->descriptor, &strait__refusal__descriptor);
        snprintf(told->leader, sizeof told->leader, "%s", refusal->leader);
    }
}

void near_open(struct near *near, struct io *io, const struct authority *authority,
               const char *name, const struct region_link_options *options)
{
    static const char *const names[] = {"n1", "n2", "n3", "n4", "n5", "localhost"};
    struct error error = {0};
    struct region_link_options all =
        options != NULL ? *options
                        : (struct region_link_options){.back_off_min_ms = 2, .back_off_max_ms = 20};
    *near = (struct near){0};
    ck_assert_int_eq(access_open(&near->access), STATUS_OK);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        ck_assert_int_eq(access_add(near->access, names[i], ROLE_PEER), STATUS_OK);
    ck_assert_int_eq(access_add(near->access, "shop", ROLE_WRITER), STATUS_OK);
    near->tls = node_tls(authority, authority, name);
    all.io = io;
    all.tls = near->tls;
    all.access = near->access;
    all.program = "test 1.0";
    all.seed = 7;
    ck_assert_msg(region_link_open(&all, &near->link, &error) == STATUS_OK, "%s", error.text);
    near->interface = region_link_interface(near->link);
    const struct link_user user = {
        .connected = connected, .disconnected = disconnected, .replied = replied, .context = near};
    link_attach(near->interface, &user);
}

void near_close(struct near *near)
{
    region_link_close(near->link);
    access_close(near->access);
    SSL_CTX_free(near->tls);
}

enum status near_ask(struct near *near, uint64_t snapshot, uint32_t timeout_ms)
{
    Strait__Get get = STRAIT__GET__INIT;
    get.snapshot_id = snapshot;
    return link_send(near->interface, FRAME_GET, &get.base, timeout_ms,
                     (void *)(uintptr_t)snapshot);
}

void near_endpoints(struct near *near, const char *first, ...)
{
    const char *endpoints[limit_link_endpoints_count + 4];
    size_t count = 0;
    va_list rest;
    va_start(rest, first);
    for (const char *each = first; each != NULL; each = va_arg(rest, const char *))
        endpoints[count++] = each;
    va_end(rest);
    link_endpoints(near->interface, endpoints, count);
}
