/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/epochs.h"

#include <stdlib.h>

#include "tests/unit/unit.h"

static struct epoch epoch_of(uint64_t number)
{
    return (struct epoch){.number = number, .region = (uint32_t)(number % 3 + 1)};
}

static struct epoch_end end_of(uint64_t number)
{
    return (struct epoch_end){.epoch = epoch_of(number),
                              .kind = number % 2 == 0 ? EPOCH_PROMOTE : EPOCH_GRANT,
                              .version = 10 * number,
                              .chain = {.low = number, .high = number + 1},
                              .log_time_ns = 1000 * number,
                              .next = epoch_of(number + 1)};
}

static struct epoch_change change_of(uint64_t number, const char *record)
{
    const struct epoch_end end = end_of(number);
    return (struct epoch_change){.kind = end.kind,
                                 .from = end.epoch,
                                 .to = end.next,
                                 .version = end.version,
                                 .chain = end.chain,
                                 .log_time_ns = end.log_time_ns,
                                 .record = bytes_of_text(record)};
}

static struct epochs *epochs_create(uint64_t count)
{
    struct epochs *epochs = calloc(1, sizeof *epochs);
    ck_assert(epochs != NULL);
    for (uint64_t i = 1; i <= count; i++) {
        const struct epoch_end end = end_of(i);
        const struct epoch_change change = change_of(i, "record");
        epochs_add(epochs, &end, &change);
    }
    return epochs;
}

/* Writes all that `epochs` has to a tree, and reads it into another, but for the entry `left_out`.
 */
static enum status reload(const struct epochs *epochs, struct epochs *loaded, size_t left_out)
{
    static uint8_t body[epoch_change_size_max];
    uint8_t key[epochs_end_key_size];
    uint8_t value[epochs_end_value_size];
    enum status status = STATUS_OK;

    memset(loaded, 0, sizeof *loaded);
    for (size_t i = 0; i < epochs->count && status == STATUS_OK; i++) {
        if (i == left_out)
            continue;
        epochs_end_key(epochs->ends[i].epoch, key);
        epochs_end_encode(&epochs->ends[i], value);
        status = epochs_load(loaded, bytes_of(key, sizeof key), bytes_of(value, sizeof value));
    }
    if (epochs->count == 0 || left_out == epochs->count || status != STATUS_OK)
        return status;
    epoch_change_encode(&epochs->change, body);
    return epochs_load(loaded, bytes_of_text("P"),
                       bytes_of(body, epoch_change_size(&epochs->change)));
}

START_TEST(test_finding)
{
    struct epochs *epochs = epochs_create(5);
    ck_assert_ptr_null(epochs_find(epochs, (struct epoch){.number = 1, .region = 1}));
    ck_assert_uint_eq(epochs_find(epochs, epoch_of(1))->version, 10);
    ck_assert_uint_eq(epochs_find(epochs, epoch_of(3))->version, 30);
    ck_assert_uint_eq(epochs_find(epochs, (struct epoch){.number = 4, .region = 1})->version, 30);
    ck_assert_uint_eq(epochs_find(epochs, epoch_of(99))->version, 50);
    free(epochs);
}
END_TEST

START_TEST(test_what_is_written_is_read)
{
    struct epochs *loaded = calloc(1, sizeof *loaded);
    ck_assert(loaded != NULL);
    for (uint64_t count = 0; count < 4; count++) {
        struct epochs *epochs = epochs_create(count);
        ck_assert_int_eq(reload(epochs, loaded, SIZE_MAX), STATUS_OK);
        ck_assert_uint_eq(loaded->count, count);
        ck_assert_int_eq(epochs_loaded(loaded, epoch_of(count + 1)), STATUS_OK);
        for (size_t i = 0; i < count; i++) {
            const struct epoch_end *end = &loaded->ends[i];
            const struct epoch_end expected = end_of(i + 1);
            ck_assert(epoch_equal(end->epoch, expected.epoch));
            ck_assert(epoch_equal(end->next, expected.next));
            ck_assert_int_eq(end->kind, expected.kind);
            ck_assert_uint_eq(end->version, expected.version);
            ck_assert_uint_eq(end->log_time_ns, expected.log_time_ns);
            ck_assert_mem_eq(&end->chain, &expected.chain, sizeof end->chain);
        }
        if (count != 0)
            ck_assert(bytes_equal(loaded->change.record, bytes_of_text("record")));
        free(epochs);
    }
    free(loaded);
}
END_TEST

START_TEST(test_the_oldest_is_forgotten)
{
    struct epochs *epochs = epochs_create(epochs_ends_max - 1);
    struct epochs *loaded = calloc(1, sizeof *loaded);
    ck_assert(loaded != NULL);
    ck_assert_ptr_null(epochs_oldest_of_full(epochs));
    for (uint64_t i = epochs_ends_max; i < epochs_ends_max + 10; i++) {
        const struct epoch_end end = end_of(i);
        const struct epoch_change change = change_of(i, "");
        const struct epoch_end *oldest = epochs_oldest_of_full(epochs);
        if (i == epochs_ends_max)
            ck_assert_ptr_null(oldest);
        else
            ck_assert(epoch_equal(oldest->epoch, epoch_of(i - epochs_ends_max)));
        epochs_add(epochs, &end, &change);
    }
    ck_assert_uint_eq(epochs->count, epochs_ends_max);
    ck_assert_ptr_null(epochs_find(epochs, epoch_of(9)));
    ck_assert_uint_eq(epochs_find(epochs, epoch_of(10))->version, 100);
    ck_assert_int_eq(reload(epochs, loaded, SIZE_MAX), STATUS_OK);
    ck_assert_int_eq(epochs_loaded(loaded, epoch_of(epochs_ends_max + 10)), STATUS_OK);
    free(epochs);
    free(loaded);
}
END_TEST

START_TEST(test_what_does_not_hang_together_is_corrupt)
{
    struct epochs *epochs = epochs_create(4);
    struct epochs *loaded = calloc(1, sizeof *loaded);
    uint8_t key[epochs_end_key_size];
    uint8_t value[epochs_end_value_size];
    ck_assert(loaded != NULL);
    /* One in the middle, the last one, or the change is missing; or the mark says otherwise. */
    ck_assert_int_eq(reload(epochs, loaded, 1), STATUS_CORRUPT);
    ck_assert_int_eq(reload(epochs, loaded, 3), STATUS_OK);
    ck_assert_int_eq(epochs_loaded(loaded, epoch_of(5)), STATUS_CORRUPT);
    ck_assert_int_eq(reload(epochs, loaded, 4), STATUS_OK);
    ck_assert_int_eq(epochs_loaded(loaded, epoch_of(5)), STATUS_CORRUPT);
    ck_assert_int_eq(reload(epochs, loaded, SIZE_MAX), STATUS_OK);
    ck_assert_int_eq(epochs_loaded(loaded, epoch_of(6)), STATUS_CORRUPT);
    ck_assert_int_eq(epochs_loaded(loaded, epoch_of(5)), STATUS_OK);

    memset(loaded, 0, sizeof *loaded);
    epochs_end_key(epochs->ends[0].epoch, key);
    epochs_end_encode(&epochs->ends[0], value);
    const struct bytes key_bytes = bytes_of(key, sizeof key);
    for (size_t size = 0; size < sizeof value; size++)
        ck_assert_int_eq(epochs_load(loaded, key_bytes, bytes_of(value, size)), STATUS_CORRUPT);
    ck_assert_int_eq(
        epochs_load(loaded, bytes_of(key, sizeof key - 1), bytes_of(value, sizeof value)),
        STATUS_CORRUPT);
    ck_assert_int_eq(epochs_load(loaded, bytes_of_text("P"), bytes_of_text("\x01xyz")),
                     STATUS_CORRUPT);
    ck_assert_int_eq(epochs_load(loaded, bytes_of_text("P"), bytes_of_text("\x02xyz")),
                     STATUS_NEWER_FORMAT);
    value[1] = 7;
    ck_assert_int_eq(epochs_load(loaded, key_bytes, bytes_of(value, sizeof value)), STATUS_CORRUPT);
    value[0] = 2;
    ck_assert_int_eq(epochs_load(loaded, key_bytes, bytes_of(value, sizeof value)),
                     STATUS_NEWER_FORMAT);
    ck_assert_uint_eq(loaded->count, 0);
    free(epochs);
    free(loaded);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_finding);
    tcase_add_test(tests, test_what_is_written_is_read);
    tcase_add_test(tests, test_the_oldest_is_forgotten);
    tcase_add_test(tests, test_what_does_not_hang_together_is_corrupt);
}
