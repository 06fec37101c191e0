/* SPDX-License-Identifier: Apache-2.0 */
/* What peer_queue.h lays out, peer_stream.h puts together again, however the bytes are cut. */
#include "server/net/peer_stream.h"

#include <stdlib.h>

#include "proto/base/generator.h"
#include "server/net/peer_queue.h"
#include "tests/unit/unit.h"

enum { messages_count = 40, wire_size_max = 12 * 1024 * 1024 };

struct sample {
    enum bus_lane lane;
    uint8_t *data;
    size_t size;
};

static void sample_make(struct sample *sample, struct generator *generator, enum bus_lane lane)
{
    static const size_t bounds[] = {20, 3000, limit_peer_frame_size, 6 * limit_peer_frame_size};
    size_t bound = bounds[generator_below(generator, lane == BUS_BULK ? 4 : 3)];
    sample->lane = lane;
    sample->size = 1 + (size_t)generator_below(generator, bound);
    sample->data = malloc(sample->size);
    generator_fill(generator, sample->data, sample->size);
}

/* Queues and takes at random; what is taken is the wire. */
static size_t write_wire(struct sample *samples, struct generator *generator, uint8_t *wire)
{
    struct peer_queue queue;
    size_t filled = 0;
    unsigned queued = 0;
    peer_queue_init(&queue);
    while (queued < messages_count || !peer_queue_is_empty(&queue)) {
        if (queued < messages_count && generator_chance(generator, 1, 2)) {
            struct sample *sample = &samples[queued++];
            sample_make(sample, generator,
                        generator_chance(generator, 1, 2) ? BUS_CONTROL : BUS_BULK);
            size_t first = (size_t)generator_below(generator, sample->size + 1);
            const struct bytes pieces[] = {bytes_of(sample->data, first),
                                           bytes_of(sample->data + first, sample->size - first)};
            ck_assert(peer_queue_push(&queue, sample->lane, pieces, 2));
        } else if (!peer_queue_is_empty(&queue)) {
            size_t size = peer_queue_next_size(&queue);
            struct bytes frame = peer_queue_take(&queue);
            ck_assert_uint_eq(frame.size, size);
            ck_assert_uint_le(size, peer_frame_header_size + limit_peer_frame_size);
            ck_assert_uint_le(filled + size, wire_size_max);
            memcpy(wire + filled, frame.data, size);
            filled += size;
        }
    }
    ck_assert_uint_eq(peer_queue_next_size(&queue), 0);
    peer_queue_clear(&queue);
    return filled;
}

/* Each lane's messages come in their order. */
static void expect_item(struct sample *samples, unsigned next[2], const struct peer_item *item)
{
    unsigned *which = &next[item->lane];
    ck_assert_int_eq(item->kind, PEER_FRAME_MESSAGE);
    while (*which < messages_count && samples[*which].lane != (enum bus_lane)item->lane)
        ++*which;
    ck_assert_uint_lt(*which, messages_count);
    ck_assert(bytes_equal(item->body, bytes_of(samples[*which].data, samples[*which].size)));
    ++*which;
}

START_TEST(test_random_messages_in_random_parts)
{
    uint8_t *wire = malloc(wire_size_max);
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct sample samples[messages_count] = {0};
        struct peer_stream stream = {.is_greeted = true};
        struct generator generator;
        unsigned next[2] = {0};
        unsigned came_count = 0;
        generator_init(&generator, seed);
        size_t size = write_wire(samples, &generator, wire);
        for (size_t read = 0; read < size;) {
            size_t space;
            uint64_t bound = generator_chance(&generator, 1, 4) ? 20 : 150000;
            size_t part = 1 + (size_t)generator_below(&generator, bound);
            part = part < size - read ? part : size - read;
            struct peer_item item;
            enum status status;
            uint8_t *direct = peer_stream_space(&stream, &space);
            struct bytes input = bytes_of(wire + read, part);
            if (direct != NULL && generator_chance(&generator, 1, 2)) {
                part = part < space ? part : space;
                memcpy(direct, wire + read, part);
                peer_stream_filled(&stream, part);
                input = (struct bytes){0};
            }
            while ((status = peer_stream_take(&stream, &input, &item)) == STATUS_OK) {
                expect_item(samples, next, &item);
                came_count++;
            }
            ck_assert_int_eq(status, STATUS_AGAIN);
            ck_assert_uint_eq(input.size, 0);
            read += part;
        }
        ck_assert_uint_eq(came_count, messages_count);
        /* Between items nothing is held. */
        ck_assert_ptr_null(stream.part);
        ck_assert_ptr_null(stream.message);
        ck_assert_ptr_null(stream.given);
        peer_stream_close(&stream);
        for (unsigned i = 0; i < messages_count; i++)
            free(samples[i].data);
    }
    free(wire);
}
END_TEST

START_TEST(test_what_lies_whole_is_not_copied)
{
    uint8_t wire[200];
    struct peer_stream stream = {.is_greeted = true};
    struct peer_item item;
    const struct peer_frame_header header = {
        .kind = PEER_FRAME_MESSAGE, .lane = BUS_BULK, .body_size = 100, .message_size = 100};
    peer_frame_encode(&header, wire);
    struct bytes input = bytes_of(wire, sizeof wire - 84);
    ck_assert_int_eq(peer_stream_take(&stream, &input, &item), STATUS_OK);
    ck_assert_ptr_eq(item.body.data, wire + peer_frame_header_size);
    ck_assert_uint_eq(item.body.size, 100);
    ck_assert_int_eq(peer_stream_take(&stream, &input, &item), STATUS_AGAIN);
    peer_stream_close(&stream);
}
END_TEST

START_TEST(test_nothing_is_taken_before_the_greeting)
{
    uint8_t wire[peer_frame_header_size];
    const struct peer_frame_header wrong[] = {
        {.kind = PEER_FRAME_KEEP_ALIVE},
        {.kind = PEER_FRAME_MESSAGE,
         .lane = BUS_BULK,
         .body_size = limit_peer_frame_size,
         .message_size = limit_peer_message_size},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct peer_stream stream = {0};
        struct peer_item item;
        struct bytes input = bytes_of(wire, sizeof wire);
        peer_frame_encode(&wrong[i], wire);
        ck_assert_int_eq(peer_stream_take(&stream, &input, &item), STATUS_MALFORMED);
        ck_assert_ptr_null(stream.message);
        peer_stream_close(&stream);
    }
}
END_TEST

START_TEST(test_the_queue_is_bounded_in_each_lane)
{
    static uint8_t zeros[limit_peer_message_size];
    struct peer_queue queue;
    const struct bytes one = bytes_of(zeros, 1);
    const struct bytes frame = bytes_of(zeros, limit_peer_frame_size);
    const struct bytes message = bytes_of(zeros, sizeof zeros);
    unsigned bulk_count = 0;
    unsigned control_count = 0;
    peer_queue_init(&queue);
    while (peer_queue_push(&queue, BUS_BULK, &message, 1))
        bulk_count++;
    ck_assert_uint_eq(bulk_count, 3);
    size_t room = peer_queue_room(&queue);
    ck_assert_uint_gt(room, 0);
    struct bytes rest = bytes_of(zeros, room);
    ck_assert(peer_queue_push(&queue, BUS_BULK, &rest, 1));
    ck_assert_uint_eq(peer_queue_room(&queue), 0);
    while (peer_queue_push(&queue, BUS_CONTROL, &frame, 1))
        control_count++;
    ck_assert_uint_eq(control_count, 15);
    while (peer_queue_push(&queue, BUS_CONTROL, &one, 1))
        ck_assert_uint_lt(++control_count, 100000);
    /* What was taken in whole makes room; a part of it does not yet. */
    while (!list_is_empty(&queue.lanes[BUS_CONTROL]))
        (void)peer_queue_take(&queue);
    (void)peer_queue_take(&queue);
    ck_assert_uint_eq(peer_queue_room(&queue), 0);
    for (unsigned i = 1; i < limit_peer_message_size / limit_peer_frame_size; i++)
        (void)peer_queue_take(&queue);
    ck_assert_uint_ge(peer_queue_room(&queue), limit_peer_message_size);
    ck_assert(peer_queue_push(&queue, BUS_BULK, &message, 1));
    peer_queue_clear(&queue);
    ck_assert(peer_queue_is_empty(&queue));
    ck_assert_uint_ge(peer_queue_room(&queue), 3 * limit_peer_message_size);
}
END_TEST

static void push_nothing(void *context)
{
    struct peer_queue *queue = context;
    const struct bytes nothing = {0};
    (void)!peer_queue_push(queue, BUS_BULK, &nothing, 1);
}

static void push_too_much(void *context)
{
    struct peer_queue *queue = context;
    static uint8_t zeros[limit_peer_frame_size + 1];
    const struct bytes piece = bytes_of(zeros, sizeof zeros);
    (void)!peer_queue_push(queue, BUS_CONTROL, &piece, 1);
}

START_TEST(test_what_no_lane_permits_is_a_mistake)
{
    struct peer_queue queue;
    peer_queue_init(&queue);
    unit_assert_dies(push_nothing, &queue);
    unit_assert_dies(push_too_much, &queue);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_random_messages_in_random_parts);
    tcase_add_test(tests, test_what_lies_whole_is_not_copied);
    tcase_add_test(tests, test_nothing_is_taken_before_the_greeting);
    tcase_add_test(tests, test_the_queue_is_bounded_in_each_lane);
    tcase_add_test(tests, test_what_no_lane_permits_is_a_mistake);
}
