/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/pool.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "storage/io/blocking.h"

static void pool_done(struct io_op *op);
static void pool_retry(struct io_timer *timer);

/* Of all pools; nobody writes to it. */
static _Alignas(wal_block_size) uint8_t zeros[wal_pool_chunk_size];

void wal_pool_init(struct wal_pool *pool)
{
    ASSERT(pool->spares_wanted >= 1 && 2 * pool->spares_wanted < wal_pool_spares_max);
    pool->next_number = 1;
    pool->op.done = pool_done;
    pool->op.context = pool;
    pool->retry = (struct io_timer){.fired = pool_retry, .context = pool};
}

/* ---- Start-up ---- */

static enum status adopt_spare(struct wal_pool *pool, uint64_t number)
{
    struct wal_spare spare = {.path = wal_path(pool->directory, WAL_FILE_SPARE, number)};
    uint64_t size = 0;
    enum status status =
        io_open_wait(pool->io, spare.path.text, IO_READ | IO_WRITE | IO_DIRECT, &spare.file);
    if (status != STATUS_OK)
        return status;
    status = io_file_size_wait(pool->io, spare.file, &size);
    if (status == STATUS_OK && size == pool->segment_size &&
        pool->spares_count < 2 * pool->spares_wanted) {
        pool->spares[pool->spares_count++] = spare;
        return STATUS_OK;
    }
    enum status closed = io_close_wait(pool->io, spare.file);
    if (status == STATUS_OK)
        status = closed;
    return status != STATUS_OK ? status : io_unlink_wait(pool->io, spare.path.text);
}

enum status wal_pool_adopt(struct wal_pool *pool, const struct wal_listing *listing)
{
    enum status status = STATUS_OK;
    const struct wal_numbers *preparing = &listing->of[WAL_FILE_PREPARING];
    for (size_t i = 0; i < preparing->count && status == STATUS_OK; i++) {
        struct wal_path path = wal_path(pool->directory, WAL_FILE_PREPARING, preparing->numbers[i]);
        status = io_unlink_wait(pool->io, path.text);
        if (preparing->numbers[i] >= pool->next_number)
            pool->next_number = preparing->numbers[i] + 1;
    }
    const struct wal_numbers *spares = &listing->of[WAL_FILE_SPARE];
    for (size_t i = 0; i < spares->count && status == STATUS_OK; i++) {
        status = adopt_spare(pool, spares->numbers[i]);
        if (spares->numbers[i] >= pool->next_number)
            pool->next_number = spares->numbers[i] + 1;
    }
    return status;
}

/* ---- Steps ---- */

static void pool_open(struct wal_pool *pool, enum wal_pool_step step, const char *path,
                      unsigned flags)
{
    pool->step = step;
    io_open(pool->io, &pool->op, path, flags);
}

static void pool_rename(struct wal_pool *pool, enum wal_pool_step step)
{
    pool->step = step;
    io_rename(pool->io, &pool->op, pool->from.text, pool->to.text);
}

static void pool_unlink(struct wal_pool *pool, enum wal_pool_step step)
{
    pool->step = step;
    io_unlink(pool->io, &pool->op, pool->from.text);
}

static void pool_flush_directory(struct wal_pool *pool, enum wal_pool_step step)
{
    pool->step = step;
    io_flush_directory(pool->io, &pool->op, pool->directory);
}

static void pool_zero(struct wal_pool *pool)
{
    uint64_t left = pool->segment_size - pool->zeroed_size;
    pool->step = WAL_POOL_CREATE_ZERO;
    io_write(pool->io, &pool->op, pool->file, zeros,
             left < wal_pool_chunk_size ? (size_t)left : wal_pool_chunk_size, pool->zeroed_size);
}

static void pool_retry_start(struct wal_pool *pool)
{
    if (pool->retry_started || pool->stopping)
        return;
    pool->retry_started = true;
    io_timer_start(pool->io, &pool->retry,
                   io_boot_ns(pool->io) + (uint64_t)wal_pool_retry_ms * 1000 * 1000);
}

/* Space that cannot be looked at is found out by trying. */
static bool space_suffices(const struct wal_pool *pool)
{
    struct io_space space;
    if (pool->space_kept_size == 0 || pool->awaited ||
        io_space(pool->io, pool->directory, &space) != STATUS_OK)
        return true;
    return space.free_size >= pool->segment_size + pool->space_kept_size;
}

static void pool_create(struct wal_pool *pool)
{
    if (!space_suffices(pool)) {
        if (pool->spares_count == 0)
            pool->disk_full = true;
        pool_retry_start(pool);
        return;
    }
    pool->from = wal_path(pool->directory, WAL_FILE_PREPARING, pool->next_number);
    pool->to = wal_path(pool->directory, WAL_FILE_SPARE, pool->next_number);
    pool->next_number++;
    pool_open(pool, WAL_POOL_CREATE_OPEN, pool->from.text,
              IO_READ | IO_WRITE | IO_CREATE | IO_DIRECT);
}

void wal_pool_kick(struct wal_pool *pool)
{
    if (pool->step != WAL_POOL_IDLE || pool->stopping)
        return;
    struct wal_segment *oldest = wal_segments_recyclable(pool->segments);
    if (oldest != NULL) {
        oldest->leaving = true;
        pool->leaving(pool->context, oldest, oldest + 1);
        pool->from = wal_path(pool->directory, WAL_FILE_SEGMENT, oldest->id);
        if (oldest->size == pool->segment_size && pool->spares_count < 2 * pool->spares_wanted) {
            pool->to = wal_path(pool->directory, WAL_FILE_SPARE, pool->next_number++);
            pool_rename(pool, WAL_POOL_RECYCLE_RENAME);
        } else {
            pool_unlink(pool, WAL_POOL_DISCARD_UNLINK);
        }
        return;
    }
    if (pool->spares_count < pool->spares_wanted && !pool->retry_started)
        pool_create(pool);
}

static void pool_retry(struct io_timer *timer)
{
    struct wal_pool *pool = timer->context;
    pool->retry_started = false;
    if (pool->wanted && pool->spares_count > 0) {
        pool->wanted = false;
        pool->disk_full = false;
        pool->ready(pool->context);
    }
    wal_pool_kick(pool);
}

static void pool_wait_for_space(struct wal_pool *pool)
{
    pool->step = WAL_POOL_IDLE;
    pool_retry_start(pool);
}

void wal_pool_space_wanted(struct wal_pool *pool)
{
    pool->disk_full = true;
    pool->wanted = true;
    pool_retry_start(pool);
}

static void pool_spare_came(struct wal_pool *pool)
{
    ASSERT(pool->spares_count < wal_pool_spares_max);
    pool->spares[pool->spares_count++] = (struct wal_spare){.path = pool->to, .file = pool->file};
    pool->file = NULL;
    pool->step = WAL_POOL_IDLE;
    if (pool->disk_full)
        log_info("wal_space_returned", LOG_TEXT("directory", pool->directory));
    pool->disk_full = false;
    pool->ready(pool->context);
    wal_pool_kick(pool);
}

static bool step_survives_full_disk(enum wal_pool_step step)
{
    return step == WAL_POOL_RECYCLE_RENAME || step == WAL_POOL_DISCARD_UNLINK ||
           step == WAL_POOL_CREATE_OPEN || step == WAL_POOL_CREATE_ALLOCATE ||
           step == WAL_POOL_CREATE_ZERO || step == WAL_POOL_CREATE_RENAME;
}

static void pool_disk_full(struct wal_pool *pool)
{
    if (!pool->disk_full)
        log_warn("wal_disk_full", LOG_TEXT("directory", pool->directory),
                 LOG_U64("spares", pool->spares_count));
    pool->disk_full = true;
    if (pool->file == NULL) {
        pool_wait_for_space(pool);
        return;
    }
    struct io_file *file = pool->file;
    pool->file = NULL;
    pool->step = WAL_POOL_ABANDON_CLOSE;
    io_close(pool->io, &pool->op, file);
}

static void pool_create_next(struct wal_pool *pool)
{
    switch (pool->step) {
    case WAL_POOL_CREATE_OPEN:
        pool->file = pool->op.file;
        pool->zeroed_size = 0;
        pool->step = WAL_POOL_CREATE_ALLOCATE;
        io_allocate(pool->io, &pool->op, pool->file, pool->segment_size);
        return;
    case WAL_POOL_CREATE_ZERO:
        pool->zeroed_size += pool->op.size;
        /* fall through */
    case WAL_POOL_CREATE_ALLOCATE:
        if (pool->zeroed_size < pool->segment_size) {
            pool_zero(pool);
            return;
        }
        pool->step = WAL_POOL_CREATE_FLUSH;
        io_flush(pool->io, &pool->op, pool->file);
        return;
    case WAL_POOL_CREATE_FLUSH:
        pool_rename(pool, WAL_POOL_CREATE_RENAME);
        return;
    case WAL_POOL_CREATE_RENAME:
        pool_flush_directory(pool, WAL_POOL_CREATE_FLUSH_DIRECTORY);
        return;
    case WAL_POOL_CREATE_FLUSH_DIRECTORY:
        pool_spare_came(pool);
        return;
    default:
        UNREACHABLE();
    }
}

static void pool_next(struct wal_pool *pool, enum wal_pool_step step)
{
    switch (step) {
    case WAL_POOL_RECYCLE_RENAME:
        pool_flush_directory(pool, WAL_POOL_RECYCLE_FLUSH);
        return;
    case WAL_POOL_RECYCLE_FLUSH:
        wal_segments_remove_oldest(pool->segments);
        pool->recycled_count++;
        pool_open(pool, WAL_POOL_RECYCLE_OPEN, pool->to.text, IO_READ | IO_WRITE | IO_DIRECT);
        return;
    case WAL_POOL_RECYCLE_OPEN:
        pool->file = pool->op.file;
        pool_spare_came(pool);
        return;
    case WAL_POOL_DISCARD_UNLINK:
        pool_flush_directory(pool, WAL_POOL_DISCARD_FLUSH);
        return;
    case WAL_POOL_DISCARD_FLUSH:
        wal_segments_remove_oldest(pool->segments);
        pool->step = WAL_POOL_IDLE;
        wal_pool_kick(pool);
        return;
    case WAL_POOL_ABANDON_CLOSE:
        pool_unlink(pool, WAL_POOL_ABANDON_UNLINK);
        return;
    case WAL_POOL_ABANDON_UNLINK:
        pool_wait_for_space(pool);
        wal_pool_kick(pool); /* a segment may have been released meanwhile: that needs no space */
        return;
    default:
        pool_create_next(pool);
        return;
    }
}

static void pool_done(struct io_op *op)
{
    struct wal_pool *pool = op->context;
    enum wal_pool_step step = pool->step;
    if (op->status == STATUS_DISK_FULL && step_survives_full_disk(step)) {
        pool_disk_full(pool);
        return;
    }
    if (op->status != STATUS_OK) {
        pool->step = WAL_POOL_IDLE;
        pool->stopping = true;
        pool->failed(pool->context, op->status, op->error_number, pool->from.text);
        return;
    }
    /* What is half made and was not asked for any more is left to the next start, which removes
     * it; recycling ends with names that are durable. */
    if (pool->stopping && step == WAL_POOL_CREATE_ZERO) {
        pool->step = WAL_POOL_IDLE;
        return;
    }
    pool_next(pool, step);
}

/* ---- Spares ---- */

bool wal_pool_take(struct wal_pool *pool, struct wal_spare *spare)
{
    *spare = (struct wal_spare){0};
    pool->awaited = pool->spares_count == 0;
    if (pool->awaited)
        return false;
    *spare = pool->spares[--pool->spares_count];
    wal_pool_kick(pool);
    return true;
}

void wal_pool_put_back(struct wal_pool *pool, const struct wal_spare *spare)
{
    ASSERT(pool->spares_count < wal_pool_spares_max);
    pool->spares[pool->spares_count++] = *spare;
}

void wal_pool_stop(struct wal_pool *pool)
{
    pool->stopping = true;
    if (pool->retry_started)
        io_timer_stop(pool->io, &pool->retry);
    pool->retry_started = false;
}

bool wal_pool_is_busy(const struct wal_pool *pool)
{
    return pool->step != WAL_POOL_IDLE;
}

enum status wal_pool_free(struct wal_pool *pool)
{
    enum status status = STATUS_OK;
    ASSERT(!wal_pool_is_busy(pool));
    for (unsigned i = 0; i < pool->spares_count; i++) {
        enum status closed = io_close_wait(pool->io, pool->spares[i].file);
        if (status == STATUS_OK)
            status = closed;
    }
    if (pool->file != NULL) {
        enum status closed = io_close_wait(pool->io, pool->file);
        if (status == STATUS_OK)
            status = closed;
    }
    *pool = (struct wal_pool){0};
    return status;
}
