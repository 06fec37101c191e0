/* SPDX-License-Identifier: Apache-2.0 */
/* Two LSMs, one of which is sent to the other: for the tests of export, import and install. */
#ifndef TESTS_UNIT_STORAGE_LSM_TRANSFER_UNIT_H
#define TESTS_UNIT_STORAGE_LSM_TRANSFER_UNIT_H

#include <limits.h>
#include <stdlib.h>

#include "proto/base/hash.h"
#include "storage/io/blocking.h"
#include "storage/lsm/export.h"
#include "storage/lsm/import.h"
#include "storage/seal/registry.h"
#include "tests/sim/disk.h"
#include "tests/unit/storage_lsm/fixture.h"

static const uint8_t transfer_id[lsm_transfer_id_size] = {7, 7, 7};

/* `count` versions of keys of both trees, values of which `salt` is a part: some deleted, a few
 * large, flushed now and then, so that several levels come to be. */
static inline void transfer_fill(struct fixture *fixture, unsigned count, unsigned salt)
{
    static char value[150000];
    for (unsigned i = 0; i < count; i++) {
        char key[32];
        uint8_t fixed[fixture_fixed_key_size];
        uint8_t four[4];
        snprintf(key, sizeof key, "key-%05u", i * 7919 % 700);
        size_t size = i % 97 == 0 ? sizeof value - salt : 20 + i % 300;
        memset(value, (int)('a' + (i + salt) % 26), size);
        store_u64_be(fixed, i % 900);
        store_u32(four, i + salt);
        struct lsm_write writes[] = {
            {.tree = fixture_bytes_tree,
             .deletion = i % 11 == 5,
             .key = bytes_of_text(key),
             .value = i % 11 == 5 ? (struct bytes){0} : bytes_of(value, size)},
            {.tree = fixture_fixed_tree,
             .key = bytes_of(fixed, sizeof fixed),
             .value = bytes_of(four, sizeof four)},
        };
        while (!lsm_has_room(fixture->lsm, size + 1000))
            ck_assert_int_eq(fixture_run_job(fixture), STATUS_OK);
        fixture_publish(fixture, writes, 2);
        if (i % 400 == 399) {
            lsm_horizon_set(fixture->lsm, fixture->mark.version - 50);
            lsm_seal(fixture->lsm);
            ck_assert_int_eq(fixture_run_jobs(fixture), STATUS_OK);
        }
    }
}

/* Of all that is visible at `version`. */
static inline uint64_t transfer_digest(struct fixture *fixture, uint64_t version)
{
    uint64_t digest = 1;
    struct lsm_view *view;
    ck_assert_int_eq(lsm_view_open(fixture->lsm, version, &view), STATUS_OK);
    for (unsigned t = 0; t < 2; t++) {
        struct lsm_iterator *iterator;
        struct lsm_item item;
        enum status status;
        ck_assert_int_eq(lsm_iterator_open(view, fixture_trees[t].id, (struct bytes){0},
                                           (struct bytes){0}, false, &iterator),
                         STATUS_OK);
        while ((status = fixture_next(fixture, iterator, &item)) == STATUS_OK) {
            digest = hash64_seeded(item.key, digest + item.version);
            digest = hash64_seeded(item.value, digest);
        }
        ck_assert_int_eq(status, STATUS_END);
        lsm_iterator_close(iterator);
    }
    lsm_view_close(view);
    return digest;
}

static inline void transfer_checkpoint_done(void *context, enum status status,
                                            const struct lsm_mark *mark)
{
    (void)mark;
    *(enum status *)context = status;
}

static inline void transfer_checkpoint(struct fixture *fixture, const char *directory)
{
    enum status status = STATUS_AGAIN;
    lsm_checkpoint(fixture->lsm, directory, transfer_checkpoint_done, &status);
    ck_assert_int_eq(fixture_run_jobs(fixture), STATUS_OK);
    ck_assert_int_eq(status, STATUS_OK);
}

static inline struct lsm_export *transfer_export(struct io *io, struct keyring *keyring,
                                                 const char *directory)
{
    struct lsm_export *export;
    struct error error = {0};
    struct lsm_export_options options = {.keyring = keyring, .directory = directory};
    memcpy(options.id, transfer_id, sizeof transfer_id);
    ck_assert_msg(lsm_export_open(io, &options, &export, &error) == STATUS_OK, "%s", error.text);
    return export;
}

static inline enum status transfer_import(struct io *io, struct keyring *keyring,
                                          const char *directory, struct bytes header,
                                          uint64_t number_first, struct lsm_import **import)
{
    return lsm_import_open(io,
                           &(struct lsm_import_options){.keyring = keyring,
                                                        .directory = directory,
                                                        .header = header,
                                                        .trees = fixture_trees,
                                                        .trees_count = 2,
                                                        .number_first = number_first,
                                                        .record_size = 20 * 1024},
                           import, NULL);
}

/* From where the import stands, up to `pieces_max` pieces. END: it has all, and is finished. */
static inline enum status transfer_run(struct lsm_export *export, struct io *export_io,
                                       struct lsm_import *import, struct io *import_io,
                                       unsigned pieces_max)
{
    struct bytes piece;
    struct error error = {0};
    enum status status = lsm_export_seek(export, export_io, lsm_import_position(import));
    ck_assert_int_eq(status, STATUS_OK);
    for (unsigned i = 0; i < pieces_max; i++) {
        while ((status = lsm_export_next(export, export_io, &piece, &error)) == STATUS_AGAIN)
            continue;
        if (status == STATUS_END) {
            status = lsm_import_finish(import, import_io, &error);
            return status == STATUS_OK ? STATUS_END : status;
        }
        ck_assert_msg(status == STATUS_OK, "%s", error.text);
        status = lsm_import_take(import, import_io, piece, &error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

#endif
