/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/peer.h"

#include <stdlib.h>

#include "tests/unit/unit.h"

/* A message put together as the log's driver does. */
struct built {
    uint8_t bytes[4096];
    size_t size;
};

static void add(struct built *built, const void *bytes, size_t size)
{
    ck_assert_uint_le(size, sizeof built->bytes - built->size);
    memcpy(built->bytes + built->size, bytes, size);
    built->size += size;
}

static void add_header(struct built *built, const struct peer_message *message)
{
    uint8_t header[peer_raft_size];
    peer_encode(message, header);
    add(built, header, peer_size(message->kind));
}

static void add_entry(struct built *built, uint64_t term, const char *text)
{
    uint8_t header[peer_entry_header_size];
    peer_entry_encode(term, strlen(text), header);
    add(built, header, sizeof header);
    add(built, text, strlen(text));
}

static struct built build_append(void)
{
    struct built built = {.size = 0};
    add_header(&built, &(struct peer_message){.kind = PEER_APPEND,
                                              .from = 11,
                                              .to = 12,
                                              .term = 7,
                                              .mark = {.index = 100, .term = 5},
                                              .commit = 99,
                                              .round = 42,
                                              .count = 3});
    add_entry(&built, 5, "one");
    add_entry(&built, 7, "");
    add_entry(&built, 7, "three");
    return built;
}

static struct built build_ask(void)
{
    struct built built = {.size = 0};
    uint8_t place[peer_place_size];
    add_header(&built,
               &(struct peer_message){.kind = PEER_MEND_ASK, .from = 1, .to = 2, .count = 2});
    peer_place_encode((struct peer_place){.index = 8, .term = 3}, place);
    add(&built, place, sizeof place);
    peer_place_encode((struct peer_place){.index = 9}, place);
    add(&built, place, sizeof place);
    return built;
}

static struct built build_answer(void)
{
    struct built built = {.size = 0};
    add_header(&built, &(struct peer_message){.kind = PEER_MEND_ANSWER,
                                              .from = 1,
                                              .to = 2,
                                              .mark = {.index = 8, .term = 3},
                                              .term = 6,
                                              .mend = PEER_MEND_HAVE});
    add(&built, "entry", 5);
    return built;
}

static enum status decode(const struct built *built, struct peer_message *message)
{
    return peer_decode(bytes_of(built->bytes, built->size), message);
}

START_TEST(test_append)
{
    const struct built built = build_append();
    struct peer_message message;
    struct peer_entry entry;
    ck_assert_int_eq(decode(&built, &message), STATUS_OK);
    ck_assert_int_eq(message.kind, PEER_APPEND);
    ck_assert_uint_eq(message.from, 11);
    ck_assert_uint_eq(message.to, 12);
    ck_assert_uint_eq(message.term, 7);
    ck_assert_uint_eq(message.mark.index, 100);
    ck_assert_uint_eq(message.mark.term, 5);
    ck_assert_uint_eq(message.commit, 99);
    ck_assert_uint_eq(message.round, 42);
    ck_assert(!message.reject && !message.transfer);
    ck_assert_uint_eq(message.count, 3);
    const uint64_t terms[] = {5, 7, 7};
    const char *const texts[] = {"one", "", "three"};
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(peer_entry_next(&message.rest, &entry));
        ck_assert_uint_eq(entry.term, terms[i]);
        ck_assert(bytes_equal(entry.bytes, bytes_of_text(texts[i])));
    }
    ck_assert(!peer_entry_next(&message.rest, &entry));
}
END_TEST

START_TEST(test_each_of_rafts)
{
    for (uint8_t kind = PEER_PREVOTE; kind <= PEER_TIMEOUT_NOW; kind++) {
        for (unsigned flags = 0; flags < 4; flags++) {
            struct built built = {.size = 0};
            struct peer_message message;
            add_header(&built, &(struct peer_message){.kind = kind,
                                                      .from = UINT64_MAX,
                                                      .to = 1,
                                                      .term = UINT64_MAX,
                                                      .reject = (flags & 1) != 0,
                                                      .transfer = (flags & 2) != 0});
            ck_assert_int_eq(decode(&built, &message), STATUS_OK);
            ck_assert_int_eq(message.kind, kind);
            ck_assert_uint_eq(message.from, UINT64_MAX);
            ck_assert_int_eq(message.reject, (flags & 1) != 0);
            ck_assert_int_eq(message.transfer, (flags & 2) != 0);
            built.bytes[2] |= 4;
            ck_assert_int_eq(decode(&built, &message), STATUS_MALFORMED);
        }
    }
}
END_TEST

START_TEST(test_mending)
{
    const struct built ask = build_ask();
    const struct built answer = build_answer();
    struct peer_message message;
    struct peer_place place;
    ck_assert_int_eq(decode(&ask, &message), STATUS_OK);
    ck_assert_uint_eq(message.count, 2);
    ck_assert(peer_place_next(&message.rest, &place));
    ck_assert(place.index == 8 && place.term == 3);
    ck_assert(peer_place_next(&message.rest, &place));
    ck_assert(place.index == 9 && place.term == 0);
    ck_assert(!peer_place_next(&message.rest, &place));

    ck_assert_int_eq(decode(&answer, &message), STATUS_OK);
    ck_assert_int_eq(message.mend, PEER_MEND_HAVE);
    ck_assert(message.mark.index == 8 && message.mark.term == 3);
    ck_assert_uint_eq(message.term, 6);
    ck_assert(bytes_equal(message.rest, bytes_of_text("entry")));
}
END_TEST

START_TEST(test_an_owners)
{
    struct built built = {.size = 0};
    struct peer_message message;
    add_header(&built, &(struct peer_message){.kind = PEER_SNAPSHOT_FIRST + 2, .from = 3, .to = 4});
    add(&built, "payload", 7);
    ck_assert_int_eq(decode(&built, &message), STATUS_OK);
    ck_assert(peer_kind_is_owned(message.kind) && !peer_kind_is_raft(message.kind));
    ck_assert_uint_eq(message.from, 3);
    ck_assert(bytes_equal(message.rest, bytes_of_text("payload")));
}
END_TEST

static void each_cut_is_malformed(struct built built, size_t from)
{
    struct peer_message message;
    size_t whole = built.size;
    for (built.size = 0; built.size < whole; built.size++) {
        enum status status = decode(&built, &message);
        if (built.size < from)
            ck_assert_int_eq(status, STATUS_MALFORMED);
        if (status != STATUS_OK)
            ck_assert_uint_eq(message.from, 0);
    }
    built.bytes[whole] = 0;
    built.size = whole + 1;
    enum status status = decode(&built, &message);
    ck_assert(from == whole ? status == STATUS_MALFORMED : status == STATUS_OK);
}

START_TEST(test_cuts)
{
    const struct built append = build_append();
    const struct built ask = build_ask();
    each_cut_is_malformed(append, append.size);
    each_cut_is_malformed(ask, ask.size);
    each_cut_is_malformed(build_answer(), peer_answer_size);
}
END_TEST

static enum status decode_with(struct built built, size_t offset, uint8_t value)
{
    struct peer_message message;
    built.bytes[offset] = value;
    return decode(&built, &message);
}

START_TEST(test_hostile_bytes)
{
    const struct built append = build_append();
    ck_assert_int_eq(decode_with(append, 0, 2), STATUS_UNSUPPORTED);
    ck_assert_int_eq(decode_with(append, 1, 0), STATUS_UNSUPPORTED);
    ck_assert_int_eq(decode_with(append, 1, 10), STATUS_UNSUPPORTED);
    ck_assert_int_eq(decode_with(append, 1, PEER_SHARED + 1), STATUS_UNSUPPORTED);
    ck_assert_int_eq(decode_with(append, 1, PEER_VOTE), STATUS_MALFORMED); /* with entries */
    ck_assert_int_eq(decode_with(append, 3, 1), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(append, 4, 2), STATUS_MALFORMED); /* bytes are left over */
    ck_assert_int_eq(decode_with(append, 4, 4), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(append, 7, 0xff), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(append, 64 + 8, 4), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(append, 64 + 11, 0xff), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(build_ask(), 2, 1), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(build_ask(), 4, 3), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(build_answer(), 2, 0), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(build_answer(), 2, 7), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(build_answer(), 2, PEER_MEND_NEVER), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(build_answer(), 4, 1), STATUS_MALFORMED);
}
END_TEST

START_TEST(test_too_large)
{
    struct peer_message message;
    uint8_t *bytes = calloc(1, limit_peer_message_size + 1);
    ck_assert_ptr_nonnull(bytes);
    peer_encode(&(struct peer_message){.kind = PEER_DIGEST_LAST}, bytes);
    ck_assert_int_eq(peer_decode(bytes_of(bytes, limit_peer_message_size), &message), STATUS_OK);
    ck_assert_int_eq(peer_decode(bytes_of(bytes, limit_peer_message_size + 1), &message),
                     STATUS_TOO_LARGE);
    /* An entry that could never have been proposed. */
    peer_encode(&(struct peer_message){.kind = PEER_APPEND, .count = 1}, bytes);
    store_u32(bytes + peer_raft_size + 8, peer_entry_size_max + 1);
    size_t size = peer_raft_size + peer_entry_header_size + peer_entry_size_max + 1;
    ck_assert_int_eq(peer_decode(bytes_of(bytes, size), &message), STATUS_MALFORMED);
    store_u32(bytes + peer_raft_size + 8, peer_entry_size_max);
    ck_assert_int_eq(peer_decode(bytes_of(bytes, size - 1), &message), STATUS_OK);
    free(bytes);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_append);
    tcase_add_test(tests, test_each_of_rafts);
    tcase_add_test(tests, test_mending);
    tcase_add_test(tests, test_an_owners);
    tcase_add_test(tests, test_cuts);
    tcase_add_test(tests, test_hostile_bytes);
    tcase_add_test(tests, test_too_large);
}
