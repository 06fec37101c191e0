/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/import.h"

#include "proto/base/generator.h"
#include "storage/lsm/transfer.h"
#include "tests/unit/storage_lsm/transfer_unit.h"

enum { number_first = 1 << 20 };

static struct sim_disk *source_disk;
static struct sim_disk *target_disk;
static struct keyring *source_keyring;
static struct keyring *target_keyring;
static struct fixture source;
static struct lsm_export *export;

static void set_up(unsigned count)
{
    static const uint8_t cluster[seal_id_size] = {3};
    source_disk = sim_disk_create(1);
    target_disk = sim_disk_create(2);
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &source_keyring), STATUS_OK);
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &target_keyring), STATUS_OK);
    struct io *io = sim_disk_io(source_disk);
    ck_assert_int_eq(io_make_directory_wait(io, "lsm"), STATUS_OK);
    fixture_init(&source, io, source_keyring, "lsm");
    ck_assert_int_eq(fixture_open(&source), STATUS_OK);
    lsm_attachment_set(source.lsm, bytes_of_text("the members"));
    transfer_fill(&source, count, 0);
    transfer_checkpoint(&source, "checkpoint");
    export = transfer_export(io, source_keyring, "checkpoint");
#if defined(STRAIT_FAULTS)
    seal_oracle_start();
#endif
}

static void tear_down(void)
{
    lsm_export_close(export, source.io);
    fixture_close(&source);
    ck_assert_uint_eq(sim_disk_open_count(source_disk), 0);
    ck_assert_uint_eq(sim_disk_open_count(target_disk), 0);
    keyring_close(source_keyring);
    keyring_close(target_keyring);
    sim_disk_destroy(source_disk);
    sim_disk_destroy(target_disk);
}

static struct lsm_import *open_import(struct io *io)
{
    struct lsm_import *import;
    ck_assert_int_eq(transfer_import(io, target_keyring, "staging", lsm_export_header(export),
                                     number_first, &import),
                     STATUS_OK);
    return import;
}

/* What was staged opens like any LSM, and is the source's content at its mark. */
static void expect_staged(struct io *io)
{
    struct fixture target;
    fixture_init(&target, io, target_keyring, "staging");
    ck_assert_msg(fixture_open(&target) == STATUS_OK, "%s", target.error.text);
    ck_assert(!target.report.created);
    ck_assert_uint_eq(target.report.removed_count, 0);
    const struct lsm_mark *mark = lsm_export_mark(export);
    ck_assert_uint_eq(target.mark.index, mark->index);
    ck_assert_uint_eq(target.mark.version, mark->version);
    ck_assert_mem_eq(target.mark.state, mark->state, mark->state_size);
    ck_assert(bytes_equal(lsm_attachment(target.lsm), bytes_of_text("the members")));
    ck_assert_uint_eq(target.report.tables_count, lsm_export_tables_count(export));
    for (uint64_t back = 0; back < 50; back += 7)
        ck_assert_uint_eq(transfer_digest(&target, mark->version - back),
                          transfer_digest(&source, mark->version - back));
    fixture_close(&target);
}

START_TEST(test_whole)
{
    set_up(3000);
    struct io *io = sim_disk_io(target_disk);
    struct lsm_import *import = open_import(io);
    ck_assert_uint_gt(lsm_export_tables_count(export), 8);
    ck_assert_int_eq(transfer_run(export, source.io, import, io, UINT_MAX), STATUS_END);
    ck_assert_uint_eq(lsm_import_position(import).table, lsm_export_tables_count(export));
    ck_assert_uint_gt(lsm_import_written_size(import), lsm_export_size(export) / 2);
    lsm_import_close(import, io);
    expect_staged(io);

    /* Once more: all is there. */
    import = open_import(io);
    ck_assert_uint_eq(lsm_import_position(import).table, lsm_export_tables_count(export));
    ck_assert_int_eq(transfer_run(export, source.io, import, io, 1), STATUS_END);
    lsm_import_close(import, io);
    expect_staged(io);
    tear_down();
}
END_TEST

START_TEST(test_empty)
{
    set_up(0);
    struct io *io = sim_disk_io(target_disk);
    struct lsm_import *import = open_import(io);
    ck_assert_int_eq(transfer_run(export, source.io, import, io, 1), STATUS_END);
    lsm_import_close(import, io);
    struct fixture target;
    fixture_init(&target, io, target_keyring, "staging");
    ck_assert_int_eq(fixture_open(&target), STATUS_OK);
    ck_assert_uint_eq(target.report.tables_count, 0);
    fixture_close(&target);
    tear_down();
}
END_TEST

/* The connection breaks after every few pieces: the export goes on at the import's next one, also
 * in the middle of a table, also from an export of its own. */
START_TEST(test_break_and_resume)
{
    set_up(3000);
    struct io *io = sim_disk_io(target_disk);
    struct lsm_import *import = open_import(io);
    enum status status;
    unsigned breaks_count = 0;
    bool within_table = false;
    do {
        status = transfer_run(export, source.io, import, io, 1 + breaks_count % 2);
        within_table |= lsm_import_position(import).chunk != 0;
        if (breaks_count++ % 2 == 0) {
            lsm_export_close(export, source.io);
            export = transfer_export(source.io, source_keyring, "checkpoint");
        }
    } while (status == STATUS_OK);
    ck_assert_int_eq(status, STATUS_END);
    ck_assert(within_table);
    lsm_import_close(import, io);
    expect_staged(io);
    tear_down();
}
END_TEST

START_TEST(test_other_pieces_than_the_next)
{
    set_up(3000);
    struct io *io = sim_disk_io(target_disk);
    struct lsm_import *import = open_import(io);
    struct bytes piece;
    ck_assert_int_eq(transfer_run(export, source.io, import, io, 1), STATUS_OK);
    /* A repetition. */
    ck_assert_int_eq(lsm_export_seek(export, source.io, (struct lsm_transfer_position){0}),
                     STATUS_OK);
    ck_assert_int_eq(lsm_export_next(export, source.io, &piece, NULL), STATUS_OK);
    ck_assert_int_eq(lsm_import_take(import, io, piece, NULL), STATUS_INVALID_ARGUMENT);
    /* A gap. */
    ck_assert_int_eq(lsm_export_seek(export, source.io, (struct lsm_transfer_position){.table = 2}),
                     STATUS_OK);
    ck_assert_int_eq(lsm_export_next(export, source.io, &piece, NULL), STATUS_OK);
    ck_assert_int_eq(lsm_import_take(import, io, piece, NULL), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(transfer_run(export, source.io, import, io, UINT_MAX), STATUS_END);
    lsm_import_close(import, io);
    expect_staged(io);
    ck_assert_int_eq(
        lsm_export_seek(export, source.io,
                        (struct lsm_transfer_position){lsm_export_tables_count(export), 1}),
        STATUS_INVALID_ARGUMENT);
    tear_down();
}
END_TEST

/* A damaged byte anywhere is found before anything of the piece is kept; the import opened anew
 * comes to the same end. */
START_TEST(test_corrupt_pieces)
{
    struct generator generator;
    generator_init(&generator, 5);
    set_up(1500);
    struct io *io = sim_disk_io(target_disk);
    struct lsm_import *import = open_import(io);
    unsigned found_count = 0;
    for (;;) {
        struct bytes piece;
        enum status status;
        ck_assert_int_eq(lsm_export_seek(export, source.io, lsm_import_position(import)),
                         STATUS_OK);
        while ((status = lsm_export_next(export, source.io, &piece, NULL)) == STATUS_AGAIN)
            continue;
        if (status == STATUS_END)
            break;
        ck_assert_int_eq(status, STATUS_OK);
        if (found_count < 100 && generator_chance(&generator, 1, 3)) {
            uint8_t *copy = malloc(piece.size);
            memcpy(copy, piece.data, piece.size);
            size_t place = generator_chance(&generator, 1, 2)
                               ? generator_below(&generator, transfer_piece_head_size)
                               : generator_below(&generator, piece.size);
            copy[place] ^= (uint8_t)(1u << generator_below(&generator, 8));
            status = lsm_import_take(import, io, bytes_of(copy, piece.size), NULL);
            ck_assert(status == STATUS_CORRUPT || status == STATUS_MALFORMED ||
                      status == STATUS_INVALID_ARGUMENT);
            free(copy);
            found_count++;
            if (status != STATUS_INVALID_ARGUMENT) {
                lsm_import_close(import, io);
                import = open_import(io);
            }
            continue;
        }
        ck_assert_int_eq(lsm_import_take(import, io, piece, NULL), STATUS_OK);
    }
    ck_assert_uint_eq(found_count, 100);
    ck_assert_int_eq(lsm_import_finish(import, io, NULL), STATUS_OK);
    lsm_import_close(import, io);
    expect_staged(io);
    tear_down();
}
END_TEST

START_TEST(test_headers)
{
    static const uint8_t other[seal_id_size] = {4};
    struct lsm_import *import;
    struct keyring *stranger;
    set_up(10);
    struct io *io = sim_disk_io(target_disk);
    struct bytes header = lsm_export_header(export);
    ck_assert_int_eq(keyring_create_in_memory(other, false, &stranger), STATUS_OK);
    ck_assert_int_eq(transfer_import(io, stranger, "staging", header, number_first, &import),
                     STATUS_INVALID_ARGUMENT);
    for (size_t cut = 0; cut < header.size; cut++)
        ck_assert_int_ne(transfer_import(io, target_keyring, "staging", bytes_of(header.data, cut),
                                         number_first, &import),
                         STATUS_OK);
    uint8_t *newer = malloc(header.size);
    memcpy(newer, header.data, header.size);
    newer[4]++;
    ck_assert_int_eq(transfer_import(io, target_keyring, "staging", bytes_of(newer, header.size),
                                     number_first, &import),
                     STATUS_NEWER_FORMAT);
    free(newer);
    /* A tree that this version lacks. */
    const struct lsm_import_options options = {.keyring = target_keyring,
                                               .directory = "staging",
                                               .header = header,
                                               .trees = fixture_trees,
                                               .trees_count = 1,
                                               .number_first = number_first};
    struct error error = {0};
    ck_assert_int_eq(lsm_import_open(io, &options, &import, &error), STATUS_NEWER_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.text, "tree 5"));
    ck_assert(!sim_disk_exists(target_disk, "staging"));
    keyring_close(stranger);
    tear_down();
}
END_TEST

/* ---- A sender that lies, with digests that hold ---- */

struct liar {
    struct hash128 digest;
    struct lsm_transfer_position position;
    uint8_t level;
    uint16_t tree;
    uint8_t bytes[64 * 1024];
};

static struct bytes liar_piece(struct liar *liar, enum transfer_type type, size_t size)
{
    const struct transfer_piece piece = {
        .type = type,
        .level = liar->level,
        .tree = liar->tree,
        .position = liar->position,
        .payload = bytes_of(liar->bytes + transfer_piece_head_size, size)};
    transfer_piece_seal(&piece, &liar->digest, liar->bytes);
    return bytes_of(liar->bytes, transfer_piece_head_size + size);
}

static enum status lie_entries(struct io *io, struct liar *liar, const struct lsm_entry *entries,
                               size_t count)
{
    struct lsm_import *import = open_import(io);
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        transfer_entry_encode(liar->bytes + transfer_piece_head_size + size, &entries[i]);
        size += transfer_entry_size(&entries[i]);
    }
    enum status status =
        lsm_import_take(import, io, liar_piece(liar, TRANSFER_ENTRIES, size), NULL);
    lsm_import_close(import, io);
    return status;
}

START_TEST(test_lies)
{
    static struct liar liar;
    const struct liar honest = {.tree = fixture_bytes_tree};
    set_up(500);
    struct io *io = sim_disk_io(target_disk);
    uint64_t mark = lsm_export_mark(export)->version;
    struct lsm_entry a = {.key = bytes_of_text("a"), .version = 5, .value = bytes_of_text("1")};
    struct lsm_entry b = {.key = bytes_of_text("b"), .version = 5, .value = bytes_of_text("1")};
    liar = honest;
    ck_assert_int_eq(lie_entries(io, &liar, (struct lsm_entry[]){a, b}, 2), STATUS_OK);
    liar = honest;
    ck_assert_int_eq(lie_entries(io, &liar, (struct lsm_entry[]){b, a}, 2), STATUS_CORRUPT);
    liar = honest;
    ck_assert_int_eq(lie_entries(io, &liar, (struct lsm_entry[]){a, a}, 2), STATUS_CORRUPT);
    liar = honest;
    a.version = mark + 1;
    ck_assert_int_eq(lie_entries(io, &liar, &a, 1), STATUS_CORRUPT);
    a.version = 5;
    liar = honest;
    liar.tree = 99;
    ck_assert_int_eq(lie_entries(io, &liar, &a, 1), STATUS_CORRUPT);
    liar = honest;
    liar.tree = fixture_fixed_tree; /* whose sizes these are not */
    ck_assert_int_eq(lie_entries(io, &liar, &a, 1), STATUS_CORRUPT);
    liar = honest;
    liar.level = lsm_levels_count;
    ck_assert_int_eq(lie_entries(io, &liar, &a, 1), STATUS_MALFORMED);

    /* An end without entries, and one that counts others. */
    struct lsm_import *import = open_import(io);
    liar = honest;
    transfer_end_encode(liar.bytes + transfer_piece_head_size, &(struct table_info){0});
    struct bytes end = liar_piece(&liar, TRANSFER_END, transfer_end_size);
    ck_assert_int_eq(lsm_import_take(import, io, end, NULL), STATUS_MALFORMED);
    lsm_import_close(import, io);
    import = open_import(io);
    liar = honest;
    transfer_entry_encode(liar.bytes + transfer_piece_head_size, &a);
    ck_assert_int_eq(lsm_import_take(import, io,
                                     liar_piece(&liar, TRANSFER_ENTRIES, transfer_entry_size(&a)),
                                     NULL),
                     STATUS_OK);
    liar.position.chunk = 1;
    const struct table_info counted = {.entries_count = 2, .version_min = 5, .version_max = 5};
    transfer_end_encode(liar.bytes + transfer_piece_head_size, &counted);
    end = liar_piece(&liar, TRANSFER_END, transfer_end_size);
    ck_assert_int_eq(lsm_import_take(import, io, end, NULL), STATUS_CORRUPT);
    lsm_import_close(import, io);

    /* All that was lied is gone when the truth comes. */
    import = open_import(io);
    ck_assert_uint_eq(lsm_import_position(import).table, 0);
    ck_assert_int_eq(transfer_run(export, source.io, import, io, UINT_MAX), STATUS_END);
    lsm_import_close(import, io);
    expect_staged(io);
    tear_down();
}
END_TEST

/* Another checkpoint's remains, and other numbers, are not mixed with this one's. */
START_TEST(test_other_remains_are_cleared)
{
    set_up(1500);
    struct io *io = sim_disk_io(target_disk);
    struct lsm_import *import = open_import(io);
    ck_assert_int_eq(transfer_run(export, source.io, import, io, UINT_MAX), STATUS_END);
    lsm_import_close(import, io);

    ck_assert_int_eq(transfer_import(io, target_keyring, "staging", lsm_export_header(export),
                                     number_first * 2, &import),
                     STATUS_OK);
    ck_assert_uint_eq(lsm_import_position(import).table, 0);
    ck_assert(!sim_disk_exists(target_disk, "staging/manifest.a"));
    ck_assert_int_eq(transfer_run(export, source.io, import, io, UINT_MAX), STATUS_END);
    lsm_import_close(import, io);
    expect_staged(io);

    fixture_put(&source, "later", "on");
    transfer_checkpoint(&source, "checkpoint-2");
    lsm_export_close(export, source.io);
    export = transfer_export(source.io, source_keyring, "checkpoint-2");
    import = open_import(io);
    ck_assert_uint_eq(lsm_import_position(import).table, 0);
    ck_assert_int_eq(transfer_run(export, source.io, import, io, UINT_MAX), STATUS_END);
    lsm_import_close(import, io);
    expect_staged(io);
    tear_down();
}
END_TEST

/* Power fails at the receiver after each step of the disk, and what is found goes on to the end. */
START_TEST(test_crash_of_the_receiver)
{
    set_up(1200);
    unsigned resumed_count = 0;
    for (uint64_t n = 0;; n++) {
        sim_disk_destroy(target_disk);
        target_disk = sim_disk_create(n + 10);
        struct io *io = sim_disk_io(target_disk);
        struct lsm_import *import = NULL;
        sim_disk_crash_after(target_disk, n);
        enum status status = transfer_import(io, target_keyring, "staging",
                                             lsm_export_header(export), number_first, &import);
        if (status == STATUS_OK)
            status = transfer_run(export, source.io, import, io, UINT_MAX);
        lsm_import_close(import, io);
        bool crashed = sim_disk_crashed(target_disk);
        ck_assert(crashed || status == STATUS_END);
        sim_disk_restart(target_disk, n, (enum sim_restart_mode)(n % 3));
        io = sim_disk_io(target_disk);
        import = open_import(io);
        resumed_count += lsm_import_position(import).table != 0;
        ck_assert_int_eq(transfer_run(export, source.io, import, io, UINT_MAX), STATUS_END);
        lsm_import_close(import, io);
        expect_staged(io);
        if (!crashed)
            break;
    }
    ck_assert_uint_gt(resumed_count, 20);
    tear_down();
}
END_TEST

START_TEST(test_full_disk)
{
    set_up(1200);
    struct io *io = sim_disk_io(target_disk);
    struct lsm_import *import = open_import(io);
    sim_disk_capacity(target_disk, sim_disk_used(target_disk) + 40 * 1024);
    ck_assert_int_eq(transfer_run(export, source.io, import, io, UINT_MAX), STATUS_DISK_FULL);
    lsm_import_close(import, io);
    sim_disk_capacity(target_disk, (uint64_t)1 << 40);
    import = open_import(io);
    ck_assert_int_eq(transfer_run(export, source.io, import, io, UINT_MAX), STATUS_END);
    lsm_import_close(import, io);
    expect_staged(io);
    tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_whole);
    tcase_add_test(tests, test_empty);
    tcase_add_test(tests, test_break_and_resume);
    tcase_add_test(tests, test_other_pieces_than_the_next);
    tcase_add_test(tests, test_corrupt_pieces);
    tcase_add_test(tests, test_headers);
    tcase_add_test(tests, test_lies);
    tcase_add_test(tests, test_other_remains_are_cleared);
    tcase_add_test(tests, test_crash_of_the_receiver);
    tcase_add_test(tests, test_full_disk);
}
