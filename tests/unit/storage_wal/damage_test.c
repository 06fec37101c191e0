/* SPDX-License-Identifier: Apache-2.0 */
/* What a log with bad batches comes to in a region of several members: holes, suspects, and what
 * mends them, over any restarts. */
#include "storage/wal/recovery.h"

#include <string.h>

#include "tests/unit/storage_wal/log_fixture.h"

static const struct wal_mark nothing = {0};

/* A log that was stopped, of which each case takes a copy. */
static void case_begin(const struct log_fixture *stopped, struct log_fixture *fixture)
{
    *fixture = *stopped;
    fixture->disk = sim_disk_clone(stopped->disk, 9);
    sim_disk_restart(fixture->disk, 9, SIM_RESTART_KEEP_ALL);
    fixture->io = sim_disk_io(fixture->disk);
    fixture->wal = NULL;
}

static void case_end(struct log_fixture *fixture)
{
    log_close(fixture);
    ck_assert_uint_eq(fixture->failed_count, 0);
    sim_disk_destroy(fixture->disk);
}

static void damage(struct log_fixture *fixture, uint64_t index, enum sim_wal_damage kind)
{
    ck_assert(sim_wal_damage(fixture->disk, "wal", index, kind));
}

/* Opens strictly: as a region of one would, whole. */
static void check_whole(struct log_fixture *fixture, uint64_t last)
{
    fixture->alone = true;
    log_open(fixture, nothing);
    log_check_replay(fixture, 1, last, 0);
    ck_assert(wal_is_whole(fixture->wal));
    fixture->alone = false;
}

/* Any one batch of a log over two segments: a hole, told in order, that stays one over restarts and
 * is mended by a fill. */
START_TEST(test_one)
{
    static struct log_fixture stopped, fixture;
    log_fixture_begin(&stopped, 1);
    log_append(&stopped, 1, 20, 1);
    log_idle(&stopped);
    ck_assert_uint_eq(wal_statistics(stopped.wal).segments_count, 2);
    log_stop(&stopped);
    for (uint64_t index = 1; index <= 20; index++) {
        for (unsigned kind = 0; kind < SIM_WAL_DAMAGES_END; kind++) {
            case_begin(&stopped, &fixture);
            damage(&fixture, index, (enum sim_wal_damage)kind);
            fixture.alone = true;
            ck_assert_int_eq(log_try_open(&fixture, nothing), STATUS_CORRUPT);
            ck_assert_ptr_nonnull(strstr(fixture.error.text, "offset"));
            fixture.alone = false;
            for (unsigned life = 0; life < 2; life++) {
                log_open(&fixture, nothing);
                log_check_replay(&fixture, 1, 20, (uint64_t)1 << (index - 1));
                ck_assert_int_eq(fixture.holes[index], WAL_HOLE);
                ck_assert_uint_eq(fixture.report.holes_count, 1);
                ck_assert_uint_eq(fixture.report.suspect.first, 0);
                ck_assert_int_eq(fixture.report.damage.status, STATUS_CORRUPT);
                ck_assert(!wal_is_whole(fixture.wal));
            }
            ck_assert_int_eq(log_fill(&fixture, index, 2), STATUS_INVALID_ARGUMENT);
            ck_assert_int_eq(log_fill(&fixture, 21, 1), STATUS_INVALID_ARGUMENT);
            uint64_t mended = fixture.mended_count;
            log_mend(&fixture);
            ck_assert_uint_eq(fixture.mended_count, mended + 1);
            check_whole(&fixture, 20);
            case_end(&fixture);
        }
    }
    log_fixture_end(&stopped);
}
END_TEST

/* Each of six batches whole or bad in one of three ways, 4,096 logs: where all are of one term,
 * index and term of each follow from what is left. */
START_TEST(test_all_of_one_term)
{
    static struct log_fixture stopped, fixture;
    enum { entries_count = 6 };
    log_fixture_begin(&stopped, 2);
    log_append(&stopped, 1, 1, 1);
    log_append(&stopped, 2, entries_count + 1, 1);
    log_idle(&stopped);
    log_stop(&stopped);
    for (unsigned combination = _i == 0 ? 0 : 2048; combination < (_i == 0 ? 2048U : 4096U);
         combination++) {
        uint64_t holes = 0;
        case_begin(&stopped, &fixture);
        for (unsigned i = 0; i < entries_count; i++) {
            unsigned draw = combination >> (2 * i) & 3;
            if (draw == 0)
                continue;
            damage(&fixture, i + 2, (enum sim_wal_damage)(draw - 1));
            holes |= (uint64_t)1 << (i + 1);
        }
        log_open(&fixture, nothing);
        log_check_replay(&fixture, 1, entries_count + 1, holes);
        for (uint64_t index = 1; index <= entries_count + 1; index++)
            ck_assert_uint_eq(fixture.terms[index], 1);
        if (combination % 16 == 5) {
            log_mend(&fixture);
            check_whole(&fixture, entries_count + 1);
        }
        case_end(&fixture);
    }
    log_fixture_end(&stopped);
}
END_TEST

/* Where the term changes in batches of which nothing is left, what stood there is not known: then
 * it is said, and nothing is touched; with a state beyond it, it does not matter. */
START_TEST(test_changes_of_term)
{
    static struct log_fixture stopped, fixture;
    enum { entries_count = 8 };
    static const uint64_t terms[entries_count + 1] = {0, 1, 1, 2, 2, 2, 4, 4, 5};
    unsigned corrupt_count = 0;
    log_fixture_begin(&stopped, 3);
    for (uint64_t index = 1; index <= entries_count; index++)
        log_append(&stopped, index, index, terms[index]);
    log_idle(&stopped);
    log_stop(&stopped);
    for (unsigned bad = 0; bad < 1U << entries_count; bad++) {
        bool known = true;
        uint64_t beyond = 0; /* the first index from which on all is known */
        for (uint64_t first = 1; first <= entries_count; first++) {
            uint64_t last = first;
            if ((bad >> (first - 1) & 1) == 0)
                continue;
            while (last < entries_count && (bad >> last & 1) != 0)
                last++;
            if (last > first && terms[first - 1] != terms[last]) {
                known = false;
                beyond = last;
            }
            first = last;
        }
        case_begin(&stopped, &fixture);
        for (uint64_t index = 1; index <= entries_count; index++) {
            if ((bad >> (index - 1) & 1) != 0)
                damage(&fixture, index, SIM_WAL_HEADER);
        }
        uint64_t hash = sim_disk_hash(fixture.disk);
        enum status status = log_try_open(&fixture, nothing);
        ck_assert_int_eq(status, known ? STATUS_OK : STATUS_CORRUPT);
        if (known) {
            log_check_replay(&fixture, 1, entries_count, bad);
        } else {
            corrupt_count++;
            ck_assert_ptr_nonnull(strstr(fixture.error.text, "offset"));
            ck_assert_uint_eq(sim_disk_hash(fixture.disk), hash);
            struct wal_mark base = {.index = beyond, .term = terms[beyond]};
            log_open(&fixture, base);
            if (beyond < entries_count)
                log_check_replay(&fixture, beyond + 1, entries_count, bad);
        }
        for (uint64_t index = 1; index <= entries_count; index++)
            ck_assert(fixture.terms[index] == 0 || fixture.terms[index] == terms[index]);
        case_end(&fixture);
    }
    ck_assert_uint_gt(corrupt_count, 50);
    log_fixture_end(&stopped);
}
END_TEST

/* Batches of superseding and truncating records that are lost do what they did. */
START_TEST(test_lost_records)
{
    static struct log_fixture stopped, fixture;
    log_fixture_begin(&stopped, 4);
    log_append(&stopped, 1, 6, 1);
    log_append(&stopped, 4, 4, 2); /* 4 to 6 are superseded */
    log_append(&stopped, 5, 7, 2);
    ck_assert_int_eq(wal_truncate(stopped.wal, 6), STATUS_OK);
    wal_flush(stopped.wal);
    while (!wal_is_whole(stopped.wal))
        io_turn(stopped.io, true);
    log_append(&stopped, 6, 6, 3);
    log_idle(&stopped);
    log_stop(&stopped);
    for (unsigned kind = 0; kind < SIM_WAL_DAMAGES_END; kind++) {
        case_begin(&stopped, &fixture);
        damage(&fixture, 4, (enum sim_wal_damage)kind);
        /* The batch of the TRUNCATE is the eleventh of the segment. */
        uint8_t zeros[4096] = {0};
        uint64_t size = sim_disk_file_size(fixture.disk, "wal/segment-0000000000000001");
        ck_assert_uint_gt(size, 12 * 4096);
        sim_disk_overwrite(fixture.disk, "wal/segment-0000000000000001", 11 * 4096, zeros,
                           sizeof zeros);
        log_open(&fixture, nothing);
        log_check_replay(&fixture, 1, 6, 1 << 3);
        ck_assert_uint_eq(fixture.terms[4], 2);
        ck_assert_uint_eq(fixture.terms[6], 3);
        log_mend(&fixture);
        check_whole(&fixture, 6);
        case_end(&fixture);
    }
    log_fixture_end(&stopped);
}
END_TEST

/* A fill whose batch is lost leaves the hole that it had mended. */
START_TEST(test_lost_fill)
{
    static struct log_fixture fixture;
    log_fixture_begin(&fixture, 5);
    log_append(&fixture, 1, 5, 1);
    log_idle(&fixture);
    log_stop(&fixture);
    damage(&fixture, 3, SIM_WAL_BODY);
    for (unsigned round = 0; round < 4; round++) {
        log_open(&fixture, nothing);
        log_check_replay(&fixture, 1, 5, 1 << 2);
        log_mend(&fixture);
        log_idle(&fixture);
        log_open(&fixture, nothing);
        log_check_replay(&fixture, 1, 5, 0);
        ck_assert_int_eq(fixture.report.damage.status, STATUS_CORRUPT); /* it is there, mended */
        log_close(&fixture);
        damage(&fixture, 3, (enum sim_wal_damage)(round % SIM_WAL_DAMAGES_END));
    }
    log_fixture_end(&fixture);
}
END_TEST

/* A bad last batch whose header is whole: its entries are suspect, over restarts, until they are
 * filled, superseded or discarded. */
START_TEST(test_suspect)
{
    static struct log_fixture fixture;
    log_fixture_begin(&fixture, 6);
    log_append(&fixture, 1, 8, 1);
    ck_assert_int_eq(log_try_append(&fixture, 9, 1), STATUS_OK);
    ck_assert_int_eq(log_try_append(&fixture, 10, 2), STATUS_OK);
    log_settle(&fixture);
    log_stop(&fixture);
    damage(&fixture, 10, SIM_WAL_BODY);
    for (unsigned life = 0; life < 3; life++) {
        log_open(&fixture, nothing);
        log_check_replay(&fixture, 1, 10, 3 << 8);
        ck_assert_int_eq(fixture.holes[9], WAL_HOLE_SUSPECT);
        ck_assert_uint_eq(fixture.terms[10], 2);
        ck_assert_uint_eq(fixture.report.holes_count, 2);
        ck_assert_uint_eq(fixture.report.suspect.first, 9);
        ck_assert_uint_eq(fixture.report.suspect.last, 10);
        ck_assert(!fixture.report.suspect.is_unknown);
        ck_assert(!fixture.report.torn);
    }
    if (_i == 0) {
        log_mend(&fixture);
    } else if (_i == 1) {
        ck_assert_int_eq(log_fill(&fixture, 9, 1), STATUS_OK);
        ck_assert_int_eq(wal_discard_suspect(fixture.wal), STATUS_OK);
        ck_assert_uint_eq(wal_last(fixture.wal).index, 8); /* the fill is not durable yet */
    } else if (_i == 2) {
        log_append(&fixture, 9, 10, 3);
    } else {
        ck_assert_int_eq(log_fill(&fixture, 9, 1), STATUS_OK);
        wal_flush(fixture.wal);
        while (wal_holes_count(fixture.wal) > 1)
            io_turn(fixture.io, true);
        ck_assert_int_eq(wal_discard_suspect(fixture.wal), STATUS_OK);
        ck_assert_uint_eq(wal_last(fixture.wal).index, 9);
    }
    wal_flush(fixture.wal);
    while (!wal_is_whole(fixture.wal))
        io_turn(fixture.io, true);
    uint64_t last = wal_last(fixture.wal).index;
    for (unsigned life = 0; life < 2; life++) {
        log_open(&fixture, nothing);
        log_check_replay(&fixture, 1, last, 0);
        ck_assert_uint_eq(fixture.report.suspect.first, 0);
    }
    check_whole(&fixture, last);
    log_fixture_end(&fixture);
}
END_TEST

/* A bad last batch of which nothing can be read: no restart, segment or recycling makes it
 * forgotten, until it is settled. */
START_TEST(test_unknown_tail)
{
    static struct log_fixture fixture;
    log_fixture_begin(&fixture, 7);
    log_append(&fixture, 1, 10, 1);
    log_stop(&fixture);
    damage(&fixture, 10, SIM_WAL_HEADER);
    for (unsigned life = 0; life < 2; life++) {
        log_open(&fixture, nothing);
        log_check_replay(&fixture, 1, 9, 0);
        ck_assert_uint_eq(fixture.report.suspect.first, 10);
        ck_assert(fixture.report.suspect.is_unknown);
        ck_assert(!wal_is_whole(fixture.wal));
    }
    log_append(&fixture, 10, 60, 2);
    log_release_wait(&fixture, 58);
    ck_assert_uint_gt(wal_first_index(fixture.wal), 40);
    struct wal_mark base = {.index = 58, .term = 2};
    log_open(&fixture, base);
    log_check_replay(&fixture, 59, 60, 0);
    ck_assert(wal_suspect(fixture.wal).is_unknown);
    ck_assert(!wal_is_whole(fixture.wal));
    if (_i == 1) { /* nor does a log that begins anew forget it */
        log_open(&fixture, (struct wal_mark){.index = 70, .term = 3});
        ck_assert(wal_suspect(fixture.wal).is_unknown);
        ck_assert_uint_eq(wal_suspect(fixture.wal).first, 71);
        log_append(&fixture, 71, 90, 3);
        base = (struct wal_mark){.index = 70, .term = 3};
    }
    uint64_t last = wal_last(fixture.wal).index;
    ck_assert_int_eq(wal_discard_suspect(fixture.wal), STATUS_OK);
    ck_assert_int_eq(wal_discard_suspect(fixture.wal), STATUS_OK); /* is one */
    ck_assert(!wal_is_whole(fixture.wal));
    wal_flush(fixture.wal);
    while (!wal_is_whole(fixture.wal))
        io_turn(fixture.io, true);
    ck_assert_uint_eq(fixture.mended_count, 1);
    ck_assert_uint_eq(wal_last(fixture.wal).index, last);
    for (unsigned life = 0; life < 2; life++) {
        log_open(&fixture, base);
        log_check_replay(&fixture, base.index + 1, last, 0);
        ck_assert_uint_eq(fixture.report.suspect.first, 0);
        ck_assert(wal_is_whole(fixture.wal));
    }
    log_fixture_end(&fixture);
}
END_TEST

/* What follows a bad batch tells that it was durable, even where that is bad itself. */
START_TEST(test_two_last)
{
    static const struct {
        enum sim_wal_damage first;
        enum sim_wal_damage second;
        uint64_t last;
        uint64_t holes;
        uint64_t suspect;
        bool unknown;
    } rows[] = {
        {SIM_WAL_BODY, SIM_WAL_BODY, 10, 3 << 8, 10, false},
        {SIM_WAL_BODY, SIM_WAL_HEADER, 9, 1 << 8, 10, true},
        {SIM_WAL_BODY, SIM_WAL_BLANK, 9, 1 << 8, 9, false},
        {SIM_WAL_HEADER, SIM_WAL_BODY, 10, 3 << 8, 10, false},
        {SIM_WAL_HEADER, SIM_WAL_HEADER, 8, 0, 9, true},
        {SIM_WAL_HEADER, SIM_WAL_BLANK, 8, 0, 9, true},
        {SIM_WAL_BLANK, SIM_WAL_BODY, 10, 3 << 8, 10, false},
    };
    static struct log_fixture fixture;
    log_fixture_begin(&fixture, 8);
    log_append(&fixture, 1, 10, 1);
    log_stop(&fixture);
    damage(&fixture, 9, rows[_i].first);
    damage(&fixture, 10, rows[_i].second);
    for (unsigned life = 0; life < 2; life++) {
        log_open(&fixture, nothing);
        log_check_replay(&fixture, 1, rows[_i].last, rows[_i].holes);
        ck_assert_uint_eq(fixture.report.suspect.first, rows[_i].suspect);
        ck_assert_int_eq(fixture.report.suspect.is_unknown, rows[_i].unknown);
    }
    ck_assert_int_eq(wal_discard_suspect(fixture.wal), STATUS_OK);
    log_mend(&fixture);
    check_whole(&fixture, wal_last(fixture.wal).index);
    log_fixture_end(&fixture);
}
END_TEST

/* The owner may know only from the log that it is alone: then the findings are judged so, before
 * anything is written. */
START_TEST(test_is_alone)
{
    static struct log_fixture stopped, fixture;
    log_fixture_begin(&stopped, 9);
    log_append(&stopped, 1, 10, 1);
    log_stop(&stopped);
    stopped.has_is_alone = true;
    stopped.is_alone = true;
    /* Nothing to judge: nobody is asked. */
    case_begin(&stopped, &fixture);
    log_open(&fixture, nothing);
    ck_assert_uint_eq(fixture.asked_count, 0);
    case_end(&fixture);
    case_begin(&stopped, &fixture);
    damage(&fixture, 4, SIM_WAL_BODY);
    uint64_t hash = sim_disk_hash(fixture.disk);
    ck_assert_int_eq(log_try_open(&fixture, nothing), STATUS_CORRUPT);
    ck_assert_uint_eq(fixture.asked_count, 1);
    ck_assert_ptr_nonnull(strstr(fixture.error.text, "offset 16384"));
    ck_assert_uint_eq(sim_disk_hash(fixture.disk), hash);
    fixture.is_alone = false;
    log_open(&fixture, nothing);
    log_check_replay(&fixture, 1, 10, 1 << 3);
    case_end(&fixture);
    for (unsigned kind = 0; kind < 2; kind++) {
        case_begin(&stopped, &fixture);
        damage(&fixture, 10, kind == 0 ? SIM_WAL_BODY : SIM_WAL_HEADER);
        log_open(&fixture, nothing);
        ck_assert(fixture.report.torn);
        ck_assert_uint_eq(fixture.report.torn_index, 10);
        ck_assert_uint_eq(fixture.report.last.index, 9);
        ck_assert_uint_eq(wal_last(fixture.wal).index, 9);
        ck_assert_uint_eq(fixture.report.suspect.first, kind == 0 ? 0 : 10);
        log_append(&fixture, 10, 12, 2);
        ck_assert(wal_is_whole(fixture.wal));
        check_whole(&fixture, 12);
        ck_assert_uint_eq(fixture.terms[10], 2);
        case_end(&fixture);
    }
    log_fixture_end(&stopped);
}
END_TEST

/* Holes that the state has already do not count; a release takes the rest. */
START_TEST(test_holes_below_the_base)
{
    static struct log_fixture fixture;
    log_fixture_begin(&fixture, 10);
    log_append(&fixture, 1, 10, 1);
    log_idle(&fixture);
    log_stop(&fixture);
    damage(&fixture, 3, SIM_WAL_BODY);
    damage(&fixture, 8, SIM_WAL_BODY);
    log_open(&fixture, (struct wal_mark){.index = 5, .term = 1});
    log_check_replay(&fixture, 6, 10, 1 << 7);
    ck_assert_uint_eq(wal_holes_count(fixture.wal), 1);
    struct wal_mark mark;
    enum wal_hole hole;
    ck_assert(wal_hole_next(fixture.wal, 0, &mark, &hole));
    ck_assert_uint_eq(mark.index, 8);
    ck_assert_uint_eq(mark.term, 1);
    ck_assert(!wal_hole_next(fixture.wal, 8, &mark, &hole));
    /* Nobody mends the one below: it ends what others can be given. */
    ck_assert_uint_eq(wal_served_after(fixture.wal, 5).index, 3);
    ck_assert_uint_eq(wal_served_after(fixture.wal, 5).term, 1);
    ck_assert_uint_eq(wal_served_after(fixture.wal, 2).index, 0);
    ck_assert_uint_eq(wal_served_after(fixture.wal, 3).index, 3);
    wal_release(fixture.wal, 8);
    ck_assert_uint_eq(wal_holes_count(fixture.wal), 0);
    ck_assert(wal_is_whole(fixture.wal));
    ck_assert_uint_eq(wal_served_after(fixture.wal, 10).index, 8);
    log_fixture_end(&fixture);
}
END_TEST

/* What a log can give after a start: from its first entry on, as far as the terms are known. */
START_TEST(test_served_after)
{
    static struct log_fixture fixture;
    log_fixture_begin(&fixture, 11);
    ck_assert_uint_eq(wal_served_after(fixture.wal, 0).index, 0);
    log_append(&fixture, 1, 6, 1);
    log_append(&fixture, 7, 60, 2);
    ck_assert_uint_eq(wal_served_after(fixture.wal, 60).index, 0);
    log_open(&fixture, (struct wal_mark){.index = 50, .term = 2});
    struct wal_mark mark = wal_served_after(fixture.wal, 50);
    ck_assert_uint_eq(mark.index, 0);
    ck_assert_uint_eq(mark.term, 0);
    /* Segments that are gone. */
    log_release_wait(&fixture, 40);
    uint64_t first = wal_first_index(fixture.wal);
    ck_assert_uint_gt(first, 7);
    log_open(&fixture, (struct wal_mark){.index = 50, .term = 2});
    mark = wal_served_after(fixture.wal, 50);
    ck_assert_uint_ge(mark.index + 1, first);
    ck_assert_uint_lt(mark.index, 50);
    ck_assert_uint_eq(mark.term, 2);
    for (uint64_t index = mark.index + 1; index <= 60; index++) {
        uint64_t term;
        ck_assert(wal_term_at(fixture.wal, index, &term));
        ck_assert_uint_eq(term, 2);
    }
    /* A state that the log does not reach: it begins there. */
    log_open(&fixture, (struct wal_mark){.index = 80, .term = 3});
    mark = wal_served_after(fixture.wal, 80);
    ck_assert_uint_eq(mark.index, 80);
    ck_assert_uint_eq(mark.term, 3);
    log_fixture_end(&fixture);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_one);
    tcase_add_loop_test(tests, test_all_of_one_term, 0, 2);
    tcase_add_test(tests, test_changes_of_term);
    tcase_add_test(tests, test_lost_records);
    tcase_add_test(tests, test_lost_fill);
    tcase_add_loop_test(tests, test_suspect, 0, 4);
    tcase_add_loop_test(tests, test_unknown_tail, 0, 2);
    tcase_add_loop_test(tests, test_two_last, 0, 7);
    tcase_add_test(tests, test_is_alone);
    tcase_add_test(tests, test_holes_below_the_base);
    tcase_add_test(tests, test_served_after);
}
