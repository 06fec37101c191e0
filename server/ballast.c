/* SPDX-License-Identifier: Apache-2.0 */
#include "server/ballast.h"

#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "storage/io/blocking.h"

uint64_t ballast_low_size(const struct ballast *ballast)
{
    return ballast->size / 2;
}

static void say_trouble(const struct ballast *ballast, const char *what, enum status status)
{
    log_warn("ballast_trouble", LOG_TEXT("file", ballast->path), LOG_TEXT("while", what),
             LOG_TEXT("text", status_text(status)));
}

static void ballast_remove(struct ballast *ballast)
{
    ballast->step = BALLAST_REMOVE;
    io_unlink(ballast->io, &ballast->op, ballast->path);
}

static void ballast_taken(struct ballast *ballast)
{
    ballast->step = BALLAST_IDLE;
    ballast->held = true;
    log_info("ballast_taken", LOG_TEXT("file", ballast->path), LOG_U64("bytes", ballast->size));
}

static void ballast_done(struct io_op *op)
{
    struct ballast *ballast = op->context;
    switch (ballast->step) {
    case BALLAST_CREATE:
        if (op->status != STATUS_OK) {
            ballast->step = BALLAST_IDLE;
            say_trouble(ballast, "making it", op->status);
            return;
        }
        ballast->step = BALLAST_ALLOCATE;
        io_allocate(ballast->io, op, op->file, ballast->size);
        return;
    case BALLAST_ALLOCATE:
        ballast->status = op->status;
        ballast->step = BALLAST_CLOSE;
        io_close(ballast->io, op, op->file);
        return;
    case BALLAST_CLOSE:
        if (ballast->status == STATUS_OK)
            ballast->status = op->status;
        if (ballast->status == STATUS_OK) {
            ballast_taken(ballast);
        } else {
            say_trouble(ballast, "taking its space", ballast->status);
            ballast_remove(ballast);
        }
        return;
    case BALLAST_REMOVE:
        ballast->step = BALLAST_IDLE;
        if (op->status != STATUS_OK && op->status != STATUS_NOT_FOUND)
            say_trouble(ballast, "letting go of it", op->status);
        else if (ballast->held)
            log_warn("ballast_released", LOG_TEXT("file", ballast->path),
                     LOG_U64("bytes", ballast->size));
        ballast->held = false;
        return;
    case BALLAST_IDLE:
        UNREACHABLE();
    }
}

void ballast_look(struct ballast *ballast, const struct io_space *space)
{
    if (ballast->step != BALLAST_IDLE)
        return;
    if (ballast->held && space->free_size < ballast_low_size(ballast)) {
        ballast_remove(ballast);
    } else if (!ballast->held && space->free_size >= ballast->size + ballast->reserve_size) {
        ballast->step = BALLAST_CREATE;
        io_open(ballast->io, &ballast->op, ballast->path, IO_WRITE | IO_CREATE);
    }
}

static void wait_idle(struct ballast *ballast)
{
    while (ballast->step != BALLAST_IDLE)
        io_turn(ballast->io, true);
}

/* Whether it is there, whole. One that a crash left half made is removed. */
static bool is_there(struct ballast *ballast)
{
    struct io_file *file;
    uint64_t size = 0;
    if (io_open_wait(ballast->io, ballast->path, IO_READ, &file) != STATUS_OK)
        return false;
    enum status status = io_file_size_wait(ballast->io, file, &size);
    enum status closed = io_close_wait(ballast->io, file);
    if (status == STATUS_OK && closed == STATUS_OK && size == ballast->size)
        return true;
    status = io_unlink_wait(ballast->io, ballast->path);
    if (status != STATUS_OK)
        say_trouble(ballast, "removing one of another size", status);
    return false;
}

void ballast_open(struct ballast *ballast, struct io *io, const char *directory,
                  uint64_t reserve_size)
{
    struct io_space space;
    *ballast = (struct ballast){
        .io = io, .reserve_size = reserve_size, .size = reserve_size / 4096 / 4 * 3 * 4096};
    ballast->op = (struct io_op){.done = ballast_done, .context = ballast};
    int length = snprintf(ballast->path, sizeof ballast->path, "%s/ballast", directory);
    ASSERT(length > 0 && (size_t)length < sizeof ballast->path);
    if (ballast->size == 0)
        return;
    ballast->held = is_there(ballast);
    enum status status = io_space(io, directory, &space);
    if (status != STATUS_OK) {
        say_trouble(ballast, "looking at the disk's space", status);
        return;
    }
    ballast_look(ballast, &space);
    wait_idle(ballast);
}

void ballast_close(struct ballast *ballast)
{
    if (ballast->io != NULL)
        wait_idle(ballast);
}
