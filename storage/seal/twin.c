/* SPDX-License-Identifier: Apache-2.0 */
/* A copy on disk, little-endian:
 *
 *     offset  size  what
 *     ------  ----  ---------------------------------------------------------------
 *          0     4  magic "TWIN"
 *          4     2  version of this layout: 1
 *          6     2  what it holds (enum seal_format)
 *          8     8  generation, from 1
 *         16     8  size of the contents, bytes
 *         24    96  envelope (seal.c) of file (format, generation)
 *        120    16  tag of the contents
 *        136     8  XXH3-64 of bytes 0..136
 *        144     -  contents, sealed as block 0 with bytes 0..24 bound; then the file ends
 *
 * A write is a chain of operations, one under way at a time:
 *
 *     for each copy:  open PATH.x.tmp (removing one that a crash left)  write and flush  close
 *     for each copy:  rename to PATH.x  flush the directory
 *     done
 *
 * It fails at any of them: before the first rename it closes and removes what it made, from there
 * on it stops where it is. A repair is the same chain for one copy alone. */
#include "storage/seal/twin.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "proto/base/planted.h"
#include "storage/io/blocking.h"

enum {
    twin_magic = 0x4e495754, /* "TWIN" */
    twin_version = 1,

    version_at = 4,
    format_at = 6,
    generation_at = 8,
    size_at = 16,
    bound_size = 24,
    envelope_at = 24,
    tag_at = envelope_at + seal_envelope_size,
    hash_at = tag_at + seal_tag_size,
    header_size = hash_at + 8,

    copies_count = 2,
};

enum twin_step {
    TWIN_IDLE,
    TWIN_OPEN,
    TWIN_REMOVE_STALE, /* then open again */
    TWIN_WRITE,
    TWIN_CLOSE,
    TWIN_RENAME,
    TWIN_FLUSH_DIRECTORY,
    TWIN_ABANDON_CLOSE, /* after a failure */
    TWIN_ABANDON_REMOVE,
};

struct twin {
    struct keyring *keyring;
    enum seal_format format;
    uint64_t generation; /* of what is durable; 0: nothing */
    bool failed;
    char directory[twin_path_size];
    char paths[copies_count][twin_path_size];
    char temporary_paths[copies_count][twin_path_size];

    /* The write under way. */
    enum twin_step step;
    unsigned copy;       /* that the step is about */
    unsigned copy_first; /* of the copies to write */
    unsigned copy_end;
    uint64_t generation_next;
    struct io *io;
    struct io_op op;
    struct io_timer failed_early; /* brings a failure before the first operation to a turn */
    struct io_file *file;
    uint8_t *sealed[copies_count];
    size_t sealed_size;
    enum status status;
    void (*done)(void *context, enum status status);
    void *context;
};

/* ---- One copy ---- */

enum copy_state {
    COPY_NONE,
    COPY_GOOD,
    COPY_BAD,    /* decayed, cut, or not ours */
    COPY_LOCKED, /* whole, but the keyring does not open it: `status` says why */
    COPY_NEWER,
};

struct copy {
    enum copy_state state;
    enum status status;  /* of reading or opening it */
    uint64_t generation; /* unless NONE or BAD */
    uint8_t *contents;   /* GOOD */
    size_t size;
};

static void contents_free(uint8_t *contents, size_t size)
{
    if (contents != NULL)
        bytes_wipe(contents, size);
    free(contents);
}

static void copies_free(struct copy copies[copies_count])
{
    for (unsigned i = 0; i < copies_count; i++) {
        contents_free(copies[i].contents, copies[i].size);
        copies[i] = (struct copy){0};
    }
}

/* The whole of a copy into fresh memory. */
static enum status copy_seal(const struct twin *twin, struct bytes contents, uint8_t **sealed)
{
    struct seal_file file = {.format = twin->format, .number = twin->generation_next};
    struct sealer *sealer = NULL;
    uint8_t *copy = malloc(header_size + contents.size);
    *sealed = NULL;
    if (copy == NULL)
        return STATUS_NO_MEMORY;
    enum status status = seal_create(twin->keyring, file, copy + envelope_at, &sealer);
    if (status != STATUS_OK) {
        free(copy);
        return status;
    }
    store_u32(copy, twin_magic);
    store_u16(copy + version_at, twin_version);
    store_u16(copy + format_at, (uint16_t)twin->format);
    store_u64(copy + generation_at, twin->generation_next);
    store_u64(copy + size_at, contents.size);
    sealer_seal(sealer, 0, bytes_of(copy, bound_size), contents, copy + header_size, copy + tag_at);
    store_u64(copy + hash_at, hash64(bytes_of(copy, hash_at)));
    sealer_free(sealer);
    *sealed = copy;
    return STATUS_OK;
}

/* What its plain header says: OK, CORRUPT or NEWER_FORMAT. */
static enum status copy_check_header(struct bytes whole, enum seal_format format)
{
    if (whole.size < header_size || load_u32(whole.data) != twin_magic ||
        load_u64(whole.data + hash_at) != hash64(bytes_of(whole.data, hash_at)))
        return STATUS_CORRUPT;
    if (load_u16(whole.data + version_at) > twin_version)
        return STATUS_NEWER_FORMAT;
    if (load_u16(whole.data + version_at) != twin_version ||
        load_u16(whole.data + format_at) != (uint16_t)format ||
        load_u64(whole.data + generation_at) == 0 ||
        load_u64(whole.data + size_at) != whole.size - header_size)
        return STATUS_CORRUPT;
    return STATUS_OK;
}

static enum status copy_decrypt(struct keyring *keyring, enum seal_format format,
                                struct bytes whole, struct copy *copy)
{
    struct seal_file file = {.format = format, .number = copy->generation};
    struct sealer *sealer = NULL;
    struct bytes sealed = bytes_of(whole.data + header_size, whole.size - header_size);
    enum status status = seal_open(keyring, file, whole.data + envelope_at, &sealer);
    if (status != STATUS_OK)
        return status;
    uint8_t *contents = malloc(sealed.size + 1); /* one more, so that empty is not NULL */
    if (contents == NULL) {
        sealer_free(sealer);
        return STATUS_NO_MEMORY;
    }
    status = sealer_open(sealer, 0, bytes_of(whole.data, bound_size), sealed, whole.data + tag_at,
                         contents);
    sealer_free(sealer);
    if (status != STATUS_OK) {
        free(contents);
        return status;
    }
    copy->contents = contents;
    copy->size = sealed.size;
    return STATUS_OK;
}

/* Sorts out a copy whose bytes were read. Other results than OK are the machine's trouble. */
static enum status copy_open(struct keyring *keyring, enum seal_format format, struct bytes whole,
                             struct copy *copy)
{
    copy->status = copy_check_header(whole, format);
    if (copy->status == STATUS_OK) {
        copy->generation = load_u64(whole.data + generation_at);
        copy->status = copy_decrypt(keyring, format, whole, copy);
    }
    switch (copy->status) {
    case STATUS_OK:
        copy->state = COPY_GOOD;
        return STATUS_OK;
    case STATUS_CORRUPT:
        copy->state = COPY_BAD;
        return STATUS_OK;
    case STATUS_NEWER_FORMAT:
        copy->state = COPY_NEWER;
        return STATUS_OK;
    case STATUS_KEY_MISSING:
    case STATUS_KEY_WRONG:
    case STATUS_INVALID_ARGUMENT:
        copy->state = COPY_LOCKED;
        return STATUS_OK;
    default:
        return copy->status;
    }
}

static enum status copy_read(struct io *io, struct keyring *keyring, enum seal_format format,
                             const char *path, struct copy *copy)
{
    uint8_t *whole = NULL;
    size_t size = 0;
    *copy = (struct copy){0};
    enum status status =
        io_read_file_wait(io, path, header_size + (size_t)twin_contents_size_max, &whole, &size);
    copy->status = status;
    if (status == STATUS_OK) {
        status = copy_open(keyring, format, bytes_of(whole, size), copy);
    } else if (status == STATUS_NOT_FOUND) {
        copy->state = COPY_NONE;
        status = STATUS_OK;
    } else if (status == STATUS_IO_ERROR || status == STATUS_TOO_LARGE) {
        copy->state = COPY_BAD; /* a sector that cannot be read has decayed like any other */
        status = STATUS_OK;
    }
    free(whole);
    return status;
}

/* ---- The table of twin.h ---- */

struct decision {
    unsigned take;
    bool repair; /* the other copy */
    bool report;
};

static bool is_crash_of_rewrap(enum seal_format format, const struct copy copies[copies_count])
{
    for (unsigned i = 0; i < copies_count; i++)
        if (copies[i].state == COPY_LOCKED && copies[i].status != STATUS_KEY_WRONG)
            return false;
    return format == SEAL_FORMAT_REGISTRY && copies[0].generation == copies[1].generation + 1;
}

static enum status decide_both_good(const struct copy copies[copies_count],
                                    struct decision *decision)
{
    const struct copy *a = &copies[0];
    const struct copy *b = &copies[1];
    if (a->generation == b->generation)
        return bytes_equal(bytes_of(a->contents, a->size), bytes_of(b->contents, b->size))
                   ? STATUS_OK
                   : STATUS_CORRUPT;
    decision->repair = true;
    return a->generation == b->generation + 1 ? STATUS_OK : STATUS_CORRUPT;
}

static enum status decide(enum seal_format format, const struct copy copies[copies_count],
                          struct decision *decision)
{
    *decision = (struct decision){0};
    for (unsigned i = 0; i < copies_count; i++)
        if (copies[i].state == COPY_NEWER)
            return STATUS_NEWER_FORMAT;
    if (copies[0].state == COPY_GOOD && copies[1].state == COPY_GOOD)
        return decide_both_good(copies, decision);
    if (copies[0].state == COPY_GOOD || copies[1].state == COPY_GOOD) {
        decision->take = copies[0].state == COPY_GOOD ? 0 : 1;
        const struct copy *other = &copies[1 - decision->take];
        if (other->state == COPY_LOCKED && !is_crash_of_rewrap(format, copies))
            return other->status;
        bool is_first_write =
            decision->take == 0 && other->state == COPY_NONE && copies[0].generation == 1;
        decision->repair = true;
        decision->report = !is_first_write && other->state != COPY_LOCKED;
        return STATUS_OK;
    }
    for (unsigned i = 0; i < copies_count; i++)
        if (copies[i].state == COPY_LOCKED)
            return copies[i].status;
    bool is_absent = copies[0].state == COPY_NONE && copies[1].state == COPY_NONE;
    return is_absent ? STATUS_NOT_FOUND : STATUS_CORRUPT;
}

static const char *copy_text(const struct copy *copy)
{
    switch (copy->state) {
    case COPY_NONE:
        return "missing";
    case COPY_GOOD:
        return "whole";
    default:
        return status_text(copy->status);
    }
}

static enum status explain(const struct twin *twin, const struct copy copies[copies_count],
                           enum status status, struct error *error)
{
    switch (status) {
    case STATUS_OK:
    case STATUS_NOT_FOUND:
        return status;
    case STATUS_NEWER_FORMAT:
        return error_set(error, status,
                         "%s was written by a newer version of Strait. Start that version.",
                         twin->paths[copies[0].state == COPY_NEWER ? 0 : 1]);
    case STATUS_CORRUPT:
        return error_set(error, status,
                         "%s (%s, generation %llu) and %s (%s, generation %llu) cannot both be "
                         "right, or are both lost. Restore this store from a backup, or rebuild "
                         "this member from its peers.",
                         twin->paths[0], copy_text(&copies[0]),
                         (unsigned long long)copies[0].generation, twin->paths[1],
                         copy_text(&copies[1]), (unsigned long long)copies[1].generation);
    default:
        return error_set(error, status, "%s (%s), %s (%s)", twin->paths[0], copy_text(&copies[0]),
                         twin->paths[1], copy_text(&copies[1]));
    }
}

/* ---- Writing ---- */

static void write_step(struct twin *twin, enum twin_step step);

static void write_end(struct twin *twin)
{
    void (*done)(void *context, enum status status) = twin->done;
    enum status status = twin->status;
    for (unsigned i = 0; i < copies_count; i++) {
        free(twin->sealed[i]);
        twin->sealed[i] = NULL;
    }
    if (status == STATUS_OK)
        twin->generation = twin->generation_next;
    twin->step = TWIN_IDLE;
    twin->done = NULL;
    done(twin->context, status); /* may start the next write, or close the twin */
}

static void write_fail(struct twin *twin, enum status status)
{
    bool has_changed_nothing = twin->step < TWIN_RENAME;
    twin->status = status;
    if (!has_changed_nothing || status != STATUS_DISK_FULL)
        twin->failed = true;
    twin->copy_end = has_changed_nothing ? twin->copy + 1 : twin->copy_first;
    twin->copy = twin->copy_first;
    write_step(twin, twin->file != NULL ? TWIN_ABANDON_CLOSE : TWIN_ABANDON_REMOVE);
}

static void write_next_copy(struct twin *twin, enum twin_step begin, enum twin_step after)
{
    if (++twin->copy < twin->copy_end) {
        write_step(twin, begin);
        return;
    }
    twin->copy = twin->copy_first;
    if (after == TWIN_IDLE)
        write_end(twin);
    else
        write_step(twin, after);
}

/* An operation failed. Some steps expect that. */
static void write_failed_step(struct twin *twin)
{
    enum status status = twin->op.status;
    switch (twin->step) {
    case TWIN_OPEN:
        if (status == STATUS_ALREADY_EXISTS)
            write_step(twin, TWIN_REMOVE_STALE);
        else
            write_fail(twin, status);
        break;
    case TWIN_CLOSE:
        twin->file = NULL; /* closed all the same */
        write_fail(twin, status);
        break;
    case TWIN_ABANDON_CLOSE:
        twin->file = NULL;
        write_step(twin, TWIN_ABANDON_REMOVE);
        break;
    case TWIN_ABANDON_REMOVE:
        write_next_copy(twin, TWIN_ABANDON_REMOVE, TWIN_IDLE);
        break;
    default:
        write_fail(twin, status);
        break;
    }
}

static void write_step_done(struct io_op *op)
{
    struct twin *twin = op->context;
    if (op->status != STATUS_OK) {
        write_failed_step(twin);
        return;
    }
    switch (twin->step) {
    case TWIN_OPEN:
        twin->file = op->file;
        write_step(twin, TWIN_WRITE);
        break;
    case TWIN_REMOVE_STALE:
        write_step(twin, TWIN_OPEN);
        break;
    case TWIN_WRITE:
        write_step(twin, TWIN_CLOSE);
        break;
    case TWIN_CLOSE:
        twin->file = NULL;
        write_next_copy(twin, TWIN_OPEN, TWIN_RENAME);
        break;
    case TWIN_RENAME:
        write_step(twin, TWIN_FLUSH_DIRECTORY);
        break;
    case TWIN_FLUSH_DIRECTORY:
        write_next_copy(twin, TWIN_RENAME, TWIN_IDLE);
        break;
    case TWIN_ABANDON_CLOSE:
        twin->file = NULL;
        write_step(twin, TWIN_ABANDON_REMOVE);
        break;
    case TWIN_ABANDON_REMOVE:
        write_next_copy(twin, TWIN_ABANDON_REMOVE, TWIN_IDLE);
        break;
    case TWIN_IDLE:
        UNREACHABLE();
    }
}

static void write_step(struct twin *twin, enum twin_step step)
{
    const char *path = twin->paths[twin->copy];
    const char *temporary_path = twin->temporary_paths[twin->copy];
    twin->step = step;
    twin->op = (struct io_op){.done = write_step_done, .context = twin};
    switch (step) {
    case TWIN_OPEN:
        io_open(twin->io, &twin->op, temporary_path, IO_WRITE | IO_CREATE);
        break;
    case TWIN_WRITE:
        if (PLANTED(twin_unflushed))
            io_write(twin->io, &twin->op, twin->file, twin->sealed[twin->copy], twin->sealed_size,
                     0);
        else
            io_write_flush(twin->io, &twin->op, twin->file, twin->sealed[twin->copy],
                           twin->sealed_size, 0);
        break;
    case TWIN_CLOSE:
    case TWIN_ABANDON_CLOSE:
        io_close(twin->io, &twin->op, twin->file);
        break;
    case TWIN_RENAME:
        io_rename(twin->io, &twin->op, temporary_path, path);
        break;
    case TWIN_FLUSH_DIRECTORY:
        io_flush_directory(twin->io, &twin->op, twin->directory);
        break;
    case TWIN_REMOVE_STALE:
        io_unlink(twin->io, &twin->op, temporary_path);
        break;
    case TWIN_ABANDON_REMOVE:
        if (twin->copy >= twin->copy_end) /* it failed when there was nothing to remove any more */
            write_end(twin);
        else
            io_unlink(twin->io, &twin->op, temporary_path);
        break;
    case TWIN_IDLE:
        UNREACHABLE();
    }
}

static void write_failed_early(struct io_timer *timer)
{
    write_end(timer->context);
}

/* Seals what is to be written: everything but the disk that can fail does so here. */
static enum status write_prepare(struct twin *twin, struct bytes contents)
{
    if (contents.size > twin_contents_size_max)
        return STATUS_TOO_LARGE;
    twin->sealed_size = header_size + contents.size;
    for (unsigned i = twin->copy_first; i < twin->copy_end; i++) {
        enum status status = copy_seal(twin, contents, &twin->sealed[i]);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* Writes the copies in [first, end). */
static void write_begin(struct twin *twin, struct io *io, struct bytes contents,
                        uint64_t generation, unsigned first, unsigned end,
                        void (*done)(void *context, enum status status), void *context)
{
    ASSERT(twin->step == TWIN_IDLE && twin->done == NULL);
    ASSERT(!twin->failed);
    ASSERT(done != NULL && first < end && end <= copies_count);
    twin->io = io;
    twin->done = done;
    twin->context = context;
    twin->copy = first;
    twin->copy_first = first;
    twin->copy_end = end;
    twin->generation_next = generation;
    twin->status = write_prepare(twin, contents);
    if (twin->status == STATUS_OK) {
        write_step(twin, TWIN_OPEN);
        return;
    }
    twin->failed_early = (struct io_timer){.fired = write_failed_early, .context = twin};
    io_timer_start(io, &twin->failed_early, io_boot_ns(io));
}

struct waiting {
    bool done;
    enum status status;
};

static void wait_done(void *context, enum status status)
{
    struct waiting *waiting = context;
    *waiting = (struct waiting){.done = true, .status = status};
}

static enum status write_wait(struct twin *twin, struct io *io, struct bytes contents,
                              uint64_t generation, unsigned first, unsigned end)
{
    struct waiting waiting = {0};
    write_begin(twin, io, contents, generation, first, end, wait_done, &waiting);
    while (!waiting.done)
        io_turn(io, true);
    return waiting.status;
}

void twin_write(struct twin *twin, struct io *io, struct bytes contents,
                void (*done)(void *context, enum status status), void *context)
{
    write_begin(twin, io, contents, twin->generation + 1, 0, copies_count, done, context);
}

enum status twin_write_wait(struct twin *twin, struct io *io, struct bytes contents)
{
    return write_wait(twin, io, contents, twin->generation + 1, 0, copies_count);
}

/* ---- Opening ---- */

static bool path_make(char path[twin_path_size], const char *directory, const char *name,
                      const char *suffix)
{
    int size = snprintf(path, twin_path_size, "%s/%s%s", directory, name, suffix);
    return size > 0 && size < twin_path_size;
}

static enum status twin_make(struct keyring *keyring, const char *directory, const char *name,
                             enum seal_format format, struct twin **result, struct error *error)
{
    struct twin *twin = calloc(1, sizeof *twin);
    if (twin == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory to open %s/%s", directory, name);
    bool fits = path_make(twin->paths[0], directory, name, ".a") &&
                path_make(twin->paths[1], directory, name, ".b") &&
                path_make(twin->temporary_paths[0], directory, name, ".a.tmp") &&
                path_make(twin->temporary_paths[1], directory, name, ".b.tmp");
    if (!fits) {
        free(twin);
        return error_set(error, STATUS_TOO_LARGE, "the path %s/%s is too long", directory, name);
    }
    memcpy(twin->directory, directory, strlen(directory) + 1); /* shorter than the paths */
    twin->keyring = keyring;
    twin->format = format;
    *result = twin;
    return STATUS_OK;
}

static enum status read_copies(struct io *io, const struct twin *twin,
                               struct copy copies[copies_count], struct error *error)
{
    for (unsigned i = 0; i < copies_count; i++) {
        enum status status = copy_read(io, twin->keyring, twin->format, twin->paths[i], &copies[i]);
        if (status != STATUS_OK)
            return error_set(error, status, "reading %s: %s", twin->paths[i], status_text(status));
    }
    return STATUS_OK;
}

static enum status repair(struct io *io, struct twin *twin, const struct copy *taken,
                          const struct decision *decision, struct twin_report *report,
                          struct error *error)
{
    unsigned other = 1 - decision->take;
    enum status status = write_wait(twin, io, bytes_of(taken->contents, taken->size),
                                    taken->generation, other, other + 1);
    if (status != STATUS_OK)
        return error_set(error, status, "writing %s anew from its other copy: %s",
                         twin->paths[other], status_text(status));
    if (decision->report && report != NULL) {
        report->repaired = true;
        memcpy(report->repaired_path, twin->paths[other], twin_path_size);
    }
    return STATUS_OK;
}

enum status twin_open(struct io *io, struct keyring *keyring, const char *directory,
                      const char *name, enum seal_format format, struct twin **twin,
                      uint8_t **contents, size_t *size, struct twin_report *report,
                      struct error *error)
{
    struct copy copies[copies_count] = {0};
    struct decision decision;
    struct twin *made = NULL;
    *twin = NULL;
    *contents = NULL;
    *size = 0;
    if (report != NULL)
        *report = (struct twin_report){0};
    enum status status = twin_make(keyring, directory, name, format, &made, error);
    if (status != STATUS_OK)
        return status;
    status = read_copies(io, made, copies, error);
    if (status == STATUS_OK)
        status = explain(made, copies, decide(format, copies, &decision), error);
    if (status == STATUS_OK) {
        struct copy *taken = &copies[decision.take];
        made->generation = taken->generation;
        if (decision.repair)
            status = repair(io, made, taken, &decision, report, error);
        if (status == STATUS_OK) {
            *contents = taken->contents;
            *size = taken->size;
            taken->contents = NULL;
        }
    }
    copies_free(copies);
    if (status == STATUS_OK || status == STATUS_NOT_FOUND)
        *twin = made;
    else
        twin_close(made);
    return status;
}

void twin_close(struct twin *twin)
{
    if (twin == NULL)
        return;
    ASSERT(twin->step == TWIN_IDLE && twin->done == NULL);
    free(twin);
}

enum status twin_check(struct io *io, struct keyring *keyring, const char *directory,
                       const char *name, enum seal_format format,
                       void (*bad)(void *context, const char *path, const char *text),
                       void *context)
{
    struct copy copies[copies_count] = {0};
    struct twin *twin = NULL;
    enum status status = twin_make(keyring, directory, name, format, &twin, NULL);
    if (status != STATUS_OK)
        return status;
    status = read_copies(io, twin, copies, NULL);
    if (status == STATUS_OK && copies[0].state == COPY_NONE && copies[1].state == COPY_NONE)
        status = STATUS_NOT_FOUND;
    for (unsigned i = 0; i < copies_count && (status == STATUS_OK || status == STATUS_CORRUPT);
         i++) {
        if (copies[i].state == COPY_GOOD)
            continue;
        status = STATUS_CORRUPT;
        bad(context, twin->paths[i], copy_text(&copies[i]));
    }
    copies_free(copies);
    twin_close(twin);
    return status;
}

uint64_t twin_generation(const struct twin *twin)
{
    return twin->generation;
}

bool twin_is_usable(const struct twin *twin)
{
    return !twin->failed;
}
