/* SPDX-License-Identifier: Apache-2.0 */
/* `strait region lost ...`, as it is typed, against a fake server that is both the region which has
 * the report and the primary. */
#include <sys/stat.h>

#include "proto/base/assert.h"
#include "proto/entry.h"
#include "tests/unit/cli/typed.h"

enum { entries_max = 8, page_max = 3, kept_version = 40, report_id = 77, body_max = 256 };

/* An entry of the report, and what the primary says of it. */
struct given_up {
    enum entry_kind kind;
    enum status outcome; /* at its time */
    bool has_outcome;
    Strait__TxnStatusReply__State state; /* in the primary */
    enum status answer;                  /* to its replay */
    uint64_t snapshot;                   /* it read at; 0: nothing */
    uint8_t body[body_max];
    size_t body_size;
};

static struct fake_server *server;
static struct {
    pthread_mutex_t lock; /* of all below */
    struct given_up entries[entries_max];
    size_t count;
    bool closed;
    unsigned closes_count;
    unsigned commits_count;
    unsigned wrong_count; /* commits that are not, to the byte, what was given up */
} fake;

/* ---- What was given up ---- */

static void make_body(struct given_up *entry, size_t number)
{
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;
    Strait__Operation *operations[1] = {&operation};
    Strait__Put put = STRAIT__PUT__INIT;
    Strait__Key read = STRAIT__KEY__INIT;
    Strait__Key *reads[1] = {&read};
    uint8_t id[16] = {(uint8_t)number};
    char key[16];

    snprintf(key, sizeof key, "order-%zu", number);
    put.table = (char *)(uintptr_t) "orders";
    put.key = (ProtobufCBinaryData){.data = (uint8_t *)key, .len = strlen(key)};
    put.value = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t) "4111", .len = 4};
    operation.kind_case = STRAIT__OPERATION__KIND_PUT;
    operation.put = &put;
    commit.txn_id = (ProtobufCBinaryData){.data = id, .len = sizeof id};
    commit.issued_ns = 1000 + number;
    commit.operations = operations;
    commit.n_operations = 1;
    if (entry->snapshot != 0) {
        read.table = put.table;
        read.key = put.key;
        commit.snapshot = entry->snapshot;
        commit.reads = reads;
        commit.n_reads = 1;
    }
    entry->body_size = strait__commit__get_packed_size(&commit);
    ck_assert_uint_le(entry->body_size, body_max);
    (void)strait__commit__pack(&commit, entry->body);
}

static struct given_up *add(enum entry_kind kind)
{
    struct given_up *entry = &fake.entries[fake.count];
    ck_assert_uint_lt(fake.count, entries_max);
    *entry = (struct given_up){
        .kind = kind, .has_outcome = true, .state = STRAIT__TXN_STATUS_REPLY__STATE__UNKNOWN};
    if (kind == ENTRY_COMMIT)
        make_body(entry, fake.count);
    fake.count++;
    return entry;
}

/* ---- The server ---- */

static const ProtobufCMessage *decode(const ProtobufCMessageDescriptor *descriptor,
                                      const struct fake_request *request, struct arena *arena)
{
    ProtobufCMessage *message;
    message_arena_init(arena, request->body.size);
    enum status status = message_decode(descriptor, request->body, true, arena, &message);
    ASSERT(status == STATUS_OK);
    return message;
}

static void list(struct fake_connection *connection, const struct fake_request *request)
{
    Strait__RegionLostListReply reply = STRAIT__REGION_LOST_LIST_REPLY__INIT;
    Strait__LostReport report = STRAIT__LOST_REPORT__INIT;
    Strait__LostReport *reports[1] = {&report};

    report.id = report_id;
    report.epoch_number = 1;
    report.epoch_region = 1;
    report.next_number = 3;
    report.next_region = 2;
    report.first_version = kept_version + 1;
    report.last_version = kept_version + fake.count;
    report.count = fake.count;
    report.log_time_ns = 1700000000000000000;
    report.closed = fake.closed;
    reply.reports = reports;
    reply.n_reports = fake.count == 0 ? 0 : 1;
    fake_reply(connection, request, STATUS_OK, &reply.base);
}

static void encode(size_t number, uint8_t to[2 * body_max], Strait__LostEntry *message)
{
    const struct given_up *from = &fake.entries[number];
    const struct entry entry = {.kind = from->kind,
                                .epoch_number = 1,
                                .epoch_region = 1,
                                .version = kept_version + 1 + number,
                                .log_time_ns = 1700000000000000000 + number,
                                .identity = bytes_of_text("shop"),
                                .body = bytes_of(from->body, from->body_size)};
    entry_encode(&entry, to);
    strait__lost_entry__init(message);
    message->entry = (ProtobufCBinaryData){.data = to, .len = entry_size(&entry)};
    message->has_outcome = from->has_outcome;
    message->outcome = (uint32_t)from->outcome;
}

static void read_page(struct fake_connection *connection, const struct fake_request *request)
{
    Strait__RegionLostReadReply reply = STRAIT__REGION_LOST_READ_REPLY__INIT;
    Strait__LostEntry messages[page_max];
    Strait__LostEntry *pointers[page_max];
    uint8_t bytes[page_max][2 * body_max];
    struct arena arena;

    const Strait__RegionLostRead *asked = (const Strait__RegionLostRead *)(const void *)decode(
        &strait__region_lost_read__descriptor, request, &arena);
    ASSERT(asked->id == report_id);
    size_t at = asked->after_epoch_number == 0 ? 0 : asked->after_version - kept_version;
    reply.entries = pointers;
    for (; at < fake.count && reply.n_entries < page_max; at++) {
        encode(at, bytes[reply.n_entries], &messages[reply.n_entries]);
        pointers[reply.n_entries] = &messages[reply.n_entries];
        reply.n_entries++;
    }
    reply.more = at < fake.count;
    fake_reply(connection, request, STATUS_OK, &reply.base);
    arena_free(&arena);
}

static void tell(struct fake_connection *connection, const struct fake_request *request)
{
    Strait__TxnStatusReply reply = STRAIT__TXN_STATUS_REPLY__INIT;
    struct arena arena;

    const Strait__TxnStatus *asked = (const Strait__TxnStatus *)(const void *)decode(
        &strait__txn_status__descriptor, request, &arena);
    ASSERT(asked->txn_id.data[0] < fake.count);
    reply.state = fake.entries[asked->txn_id.data[0]].state;
    fake_reply(connection, request, STATUS_OK, &reply.base);
    arena_free(&arena);
}

static void commit(struct fake_connection *connection, const struct fake_request *request)
{
    struct arena arena;
    const Strait__Commit *asked =
        (const Strait__Commit *)(const void *)decode(&strait__commit__descriptor, request, &arena);
    struct given_up *entry = &fake.entries[asked->txn_id.data[0]];

    fake.commits_count++;
    fake.wrong_count += !bytes_equal(request->body, bytes_of(entry->body, entry->body_size));
    if (entry->answer != STATUS_OK) {
        fake_refuse(connection, request, entry->answer, 0);
    } else {
        entry->state = STRAIT__TXN_STATUS_REPLY__STATE__COMMITTED;
        fake_accept(connection, request, 90);
    }
    arena_free(&arena);
}

static void serve(struct fake_connection *connection, const struct fake_request *request,
                  void *context)
{
    Strait__RegionLostCloseReply closed = STRAIT__REGION_LOST_CLOSE_REPLY__INIT;
    (void)context;
    pthread_mutex_lock(&fake.lock);
    switch (request->header.type) {
    case FRAME_REGION_LOST_LIST:
        list(connection, request);
        break;
    case FRAME_REGION_LOST_READ:
        read_page(connection, request);
        break;
    case FRAME_REGION_LOST_CLOSE:
        fake.closed = true;
        fake.closes_count++;
        fake_reply(connection, request, STATUS_OK, &closed.base);
        break;
    case FRAME_TXN_STATUS:
        tell(connection, request);
        break;
    case FRAME_COMMIT:
        commit(connection, request);
        break;
    default:
        fake_accept(connection, request, 9);
    }
    pthread_mutex_unlock(&fake.lock);
}

/* Two that are lost, a tick, one that is redone, one that was refused at its time, one that nobody
 * knows of any more, and one of which it is not known what it had come to. */
static void setup(void)
{
    memset(&fake, 0, sizeof fake);
    pthread_mutex_init(&fake.lock, NULL);
    (void)add(ENTRY_COMMIT);
    (void)add(ENTRY_TICK);
    (void)add(ENTRY_COMMIT);
    add(ENTRY_COMMIT)->state = STRAIT__TXN_STATUS_REPLY__STATE__COMMITTED;
    add(ENTRY_COMMIT)->outcome = STATUS_CONDITION_FAILED;
    struct given_up *old = add(ENTRY_COMMIT);
    old->state = STRAIT__TXN_STATUS_REPLY__STATE__EXPIRED;
    old->answer = STATUS_TXN_EXPIRED;
    add(ENTRY_COMMIT)->has_outcome = false;
    server = fake_start(serve, NULL);
    profile_write(server);
}

static void teardown(void)
{
    fake_stop(server);
    pthread_mutex_destroy(&fake.lock);
}

/* ---- Looking ---- */

START_TEST(test_list)
{
    assert_done("region lost list");
    assert_says(out, "77");
    assert_says(out, "open");
    json_t *document = document_of("region lost list", CLI_DONE);
    const json_t *report = json_array_get(json_object_get(document, "reports"), 0);
    ck_assert_int_eq(number(report, "report"), 77);
    ck_assert_int_eq(number(report, "first_version"), 41);
    ck_assert_int_eq(number(report, "last_version"), 47);
    ck_assert_int_eq(number(report, "entries"), 7);
    ck_assert(json_is_false(json_object_get(report, "closed")));
    json_decref(document);
    fake.count = 0;
    assert_done("region lost list");
    assert_says(out, "nothing");
}
END_TEST

START_TEST(test_show)
{
    assert_done("region lost show 77");
    assert_says(out, "orders order-0");
    assert_says(out, "7 of 7 entries: 3 transactions lost, 1 redone, 1 refused at their time");
}
END_TEST

static const char *const states[] = {"lost", NULL, "lost", "redone", "refused", "unknown", "lost"};

static void check_items(const json_t *items, bool values)
{
    ck_assert_uint_eq(json_array_size(items), 7);
    for (size_t i = 0; i < 7; i++) {
        const json_t *item = json_array_get(items, i);
        ck_assert_int_eq(number(item, "version"), 41 + (json_int_t)i);
        ck_assert_str_eq(text(item, "identity"), "shop");
        if (states[i] == NULL) {
            ck_assert_str_eq(text(item, "kind"), "tick");
            ck_assert(json_object_get(item, "txn") == NULL);
            continue;
        }
        ck_assert_str_eq(text(item, "state"), states[i]);
        const json_t *operation = json_array_get(json_object_get(item, "operations"), 0);
        ck_assert_str_eq(text(operation, "operation"), "put");
        ck_assert_str_eq(text(operation, "table"), "orders");
        ck_assert((json_object_get(operation, "value") != NULL) == values);
        if (values)
            ck_assert_str_eq(text(operation, "value"), "4111");
    }
}

START_TEST(test_values_are_shown_only_where_asked_for)
{
    json_t *document = document_of("region lost show 77", CLI_DONE);
    check_items(json_object_get(document, "items"), false);
    json_decref(document);
    document = document_of("region lost show 77 --values", CLI_DONE);
    check_items(json_object_get(document, "items"), true);
    json_decref(document);
    document = document_of("region lost show 77 --limit 2", CLI_DONE);
    ck_assert_int_eq(number(document, "shown"), 2);
    json_decref(document);
    assert_done("region lost show 77");
    ck_assert(strstr(out, "4111") == NULL);
    assert_done("region lost show 77 --values");
    assert_says(out, "order-0 = 4111");
}
END_TEST

START_TEST(test_export)
{
    char line[600];
    char path[512];
    struct stat facts;
    json_t *items = json_array();
    char *read = NULL;
    size_t size = 0;

    snprintf(path, sizeof path, "%s/lost.json", server->directory);
    snprintf(line, sizeof line, "region lost export 77 %s", path);
    assert_done(line);
    ck_assert_int_eq(stat(path, &facts), 0);
    ck_assert_uint_eq(facts.st_mode & 0777, 0600);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    while (getline(&read, &size, file) > 0)
        json_array_append_new(items, json_loads(read, 0, NULL));
    free(read);
    ck_assert_int_eq(fclose(file), 0);
    check_items(items, true);
    json_decref(items);
    /* What is there is never written over. */
    ck_assert_int_eq(run(line), CLI_REFUSED);
    assert_says(err, "exists");
    ck_assert_int_eq(stat(path, &facts), 0);
}
END_TEST

/* ---- Doing it again ---- */

START_TEST(test_replay_twice)
{
    fake.entries[2].answer = STATUS_UNIQUE_VIOLATION;
    json_t *document = document_of("region lost replay 77", CLI_REFUSED);
    const json_t *results = json_object_get(document, "results");
    ck_assert_int_eq(number(document, "offered"), 6);
    ck_assert_int_eq(number(results, "applied"), 1);
    ck_assert_int_eq(number(results, "already_there"), 1);
    ck_assert_int_eq(number(results, "refused_then"), 1);
    ck_assert_int_eq(number(results, "too_old"), 1);
    ck_assert_int_eq(number(results, "refused"), 2); /* one by the primary, one is not known of */
    const json_t *refused = json_array_get(json_object_get(document, "items"), 1);
    ck_assert_str_eq(text(refused, "result"), "refused");
    ck_assert_str_eq(text(refused, "status"), "UNIQUE_VIOLATION");
    assert_says(text(refused, "text"), "refused by the test");
    json_decref(document);
    /* What is known to be done, was refused at its time, or may have been then, is never sent. */
    ck_assert_uint_eq(fake.commits_count, 3);
    ck_assert_uint_eq(fake.wrong_count, 0);

    document = document_of("region lost replay 77", CLI_REFUSED);
    results = json_object_get(document, "results");
    ck_assert_int_eq(number(results, "applied"), 0);
    ck_assert_int_eq(number(results, "already_there"), 2);
    json_decref(document);
    ck_assert_uint_eq(fake.commits_count, 5);
}
END_TEST

START_TEST(test_replay_of_those_that_are_chosen)
{
    const char *first = "00000000000000000000000000000000-00000000000003e8";
    const char *third = "02000000000000000000000000000000-00000000000003ea";
    char line[256];

    snprintf(line, sizeof line, "region lost replay 77 --txn %s", third);
    assert_done(line);
    assert_says(out, "1 transactions: 1 applied");
    ck_assert_uint_eq(fake.commits_count, 1);
    snprintf(line, sizeof line, "region lost replay 77 --txn %s,%s", first, third);
    assert_done(line);
    assert_says(out, "2 transactions: 1 applied, 1 already there");
    snprintf(line, sizeof line, "region lost replay 77 --txn 99%s", third + 2);
    ck_assert_int_eq(run(line), CLI_REFUSED);
    ck_assert_uint_eq(fake.commits_count, 2);
}
END_TEST

/* Versions past the last that was kept mean something else in the history that there is now. */
START_TEST(test_what_goes_by_what_is_lost_is_not_sent)
{
    fake.count = 0;
    struct given_up *entry = add(ENTRY_COMMIT);
    entry->snapshot = kept_version + 1;
    make_body(entry, 0);
    entry = add(ENTRY_COMMIT);
    entry->snapshot = kept_version;
    make_body(entry, 1);
    ck_assert_int_eq(run("region lost replay 77"), CLI_REFUSED);
    assert_says(out, "given up");
    assert_says(out, "1 applied");
    ck_assert_uint_eq(fake.commits_count, 1);
}
END_TEST

START_TEST(test_close)
{
    assert_done("region lost close 77");
    ck_assert_uint_eq(fake.closes_count, 1);
    ck_assert_int_eq(run("region lost show 77"), CLI_REFUSED);
    assert_says(err, "closed");
    ck_assert_int_eq(run("region lost replay 77"), CLI_REFUSED);
    assert_done("region lost close 77");
    ck_assert_int_eq(run("region lost close 78"), CLI_REFUSED);
    ck_assert_uint_eq(fake.closes_count, 2);
}
END_TEST

START_TEST(test_usage)
{
    static const char *const lines[] = {"region lost",
                                        "region lost look",
                                        "region lost list more",
                                        "region lost show",
                                        "region lost show x",
                                        "region lost show 0",
                                        "region lost show 77 --limit x",
                                        "region lost export 77",
                                        "region lost replay",
                                        "region lost close"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        ck_assert_msg(run(lines[i]) == CLI_USAGE, "%s: %s%s", lines[i], out, err);
    ck_assert_uint_eq(fake.commits_count, 0);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_list);
    tcase_add_test(tests, test_show);
    tcase_add_test(tests, test_values_are_shown_only_where_asked_for);
    tcase_add_test(tests, test_export);
    tcase_add_test(tests, test_replay_twice);
    tcase_add_test(tests, test_replay_of_those_that_are_chosen);
    tcase_add_test(tests, test_what_goes_by_what_is_lost_is_not_sent);
    tcase_add_test(tests, test_close);
    tcase_add_test(tests, test_usage);
}
