/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/snapshot_sender.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/generator.h"
#include "proto/base/log.h"
#include "proto/limits.h"
#include "replication/snapshot_message.h"
#include "storage/lsm/export.h"

enum {
    tick_ms = 250,
    room_retry_ms = 20,
    path_size = 512,
    session_message_size_start = 320 * 1024
};

enum session_state {
    SESSION_FREE,
    SESSION_WAITING,
    SESSION_OFFERING,
    SESSION_SENDING,
    SESSION_ENDED
};

enum session_work { SESSION_OPEN, SESSION_READ, SESSION_CLOSE };

struct flight {
    struct lsm_transfer_position position;
    size_t size;
};

struct session {
    enum session_state state;
    struct snapshot_sender *sender;
    uint64_t member;
    uint64_t number;
    uint64_t term;
    enum status status; /* once ended */
    bool quiet;         /* it ends without a word */

    /* The worker's while the job is wanted or taken. */
    struct snapshot_job job;
    enum session_work work;
    struct lsm_export *export; /* NULL: not open */
    bool seek;                 /* the read begins at `seek_position` */
    struct lsm_transfer_position seek_position;
    struct bytes piece; /* within `message`, behind its head */
    uint8_t *message;   /* malloc */
    size_t message_capacity;
    enum status outcome;
    struct error error;

    /* The core's. */
    struct bytes header; /* the export's; constant while it is open */
    uint32_t attempt;
    uint32_t read_attempt;             /* that the read under way is for */
    bool seek_wanted;                  /* by the next read */
    struct lsm_transfer_position at;   /* where this attempt begins */
    struct lsm_transfer_position best; /* the farthest it has stood */
    bool piece_waits;                  /* `piece` is to be sent, when there is room */
    bool read_ended;
    struct flight flights[snapshot_window_count];
    unsigned flights_first;
    unsigned flights_count;
    size_t flights_size;
    unsigned fruitless_count; /* attempts without progress */
    uint64_t heard_ns;
    uint64_t offered_ns;
    uint64_t progress_ns;
    struct snapshot_sender_facts facts;
};

enum checkpoint_state { CHECKPOINT_NONE, CHECKPOINT_MAKING, CHECKPOINT_READY, CHECKPOINT_REMOVING };

struct snapshot_sender {
    struct snapshot_sender_options options;
    char directory[path_size];
    struct generator generator;
    struct session sessions[limit_members_count];
    unsigned sessions_count;
    struct io_timer tick;
    struct io_timer pace; /* the next piece may go, or there may be room */
    bool ticking;
    uint64_t ready_ns; /* by the rate, no piece goes before */

    enum checkpoint_state checkpoint;
    struct lsm_mark mark; /* of the checkpoint, once it is ready */
    uint64_t pin;
    uint8_t id[lsm_transfer_id_size];
    struct snapshot_job remove_job;
    enum status remove_outcome;
};

static void sender_advance(struct snapshot_sender *sender);

static uint64_t milliseconds(uint64_t ms)
{
    return ms * 1000 * 1000;
}

static uint64_t now_ns(const struct snapshot_sender *sender)
{
    return io_boot_ns(sender->options.io);
}

static bool is_before(struct lsm_transfer_position a, struct lsm_transfer_position b)
{
    return a.table != b.table ? a.table < b.table : a.chunk < b.chunk;
}

static void tell_work(struct snapshot_sender *sender)
{
    sender->options.work(sender->options.context);
}

/* ---- Messages out ---- */

static bool send(struct session *session, uint8_t kind, enum bus_lane lane, struct bytes message)
{
    const struct snapshot_sender_options *options = &session->sender->options;
    return options->send(options->context, session->member, kind, lane, message);
}

static void send_offer(struct session *session)
{
    uint8_t *message = malloc(snapshot_offer_head_size + session->header.size);
    session->offered_ns = now_ns(session->sender);
    if (message == NULL)
        return; /* it is repeated */
    const struct snapshot_offer offer = {
        .session = session->number, .term = session->term, .attempt = session->attempt};
    snapshot_offer_encode(&offer, message);
    bytes_copy(message + snapshot_offer_head_size, session->header);
    /* Not sent: not connected; it is repeated. */
    (void)send(session, SNAPSHOT_OFFER, BUS_BULK,
               bytes_of(message, snapshot_offer_head_size + session->header.size));
    free(message);
}

static void send_stop(struct session *session)
{
    uint8_t message[snapshot_stop_size];
    store_u64(message, session->number);
    /* Lost, it is as if we had fallen silent. */
    (void)send(session, SNAPSHOT_STOP, BUS_CONTROL, bytes_of(message, sizeof message));
}

/* ---- Sessions ---- */

static void session_end(struct session *session, enum status status)
{
    if (session->state == SESSION_ENDED)
        return;
    session->state = SESSION_ENDED;
    session->status = status;
    session->piece_waits = false;
    if (status != STATUS_OK)
        log_warn("snapshot_not_sent", LOG_U64("member", session->member),
                 LOG_TEXT("reason", status_text(status)));
}

static void session_offer(struct session *session)
{
    session->state = SESSION_OFFERING;
    session->piece_waits = false;
    send_offer(session);
}

static void flights_clear(struct session *session)
{
    session->flights_first = 0;
    session->flights_count = 0;
    session->flights_size = 0;
}

/* The member stands at `position`, and what we sent before this is lost or dropped. */
static void session_begin_at(struct session *session, const struct snapshot_answer *answer)
{
    session->fruitless_count++;
    if (is_before(session->best, answer->position))
        session->fruitless_count = 0;
    if (session->fruitless_count > snapshot_attempts_max) {
        session_end(session, STATUS_UNREACHABLE);
        return;
    }
    session->state = SESSION_SENDING;
    session->attempt = answer->attempt;
    session->at = answer->position;
    session->seek_wanted = true;
    session->read_ended = false;
    session->piece_waits = false;
    session->facts.attempts_count++;
    session->progress_ns = now_ns(session->sender);
    flights_clear(session);
}

static void session_acknowledge(struct session *session, const struct snapshot_answer *answer)
{
    uint64_t now = now_ns(session->sender);
    while (session->flights_count != 0) {
        const struct flight *flight = &session->flights[session->flights_first];
        if (!is_before(flight->position, answer->position))
            break;
        session->flights_size -= flight->size;
        session->flights_first = (session->flights_first + 1) % snapshot_window_count;
        session->flights_count--;
        session->progress_ns = now;
    }
    if (answer->queued_count != 0)
        session->progress_ns = now;
    else if ((session->flights_count != 0 || session->read_ended) &&
             now - session->progress_ns > milliseconds(snapshot_stall_ms))
        session_offer(session);
}

static void session_answer(struct session *session, const struct snapshot_answer *answer)
{
    session->heard_ns = now_ns(session->sender);
    session->facts.written_size = answer->written_size;
    switch (answer->state) {
    case SNAPSHOT_HAVE:
        session_end(session, STATUS_OK);
        return;
    case SNAPSHOT_REFUSED:
        session_end(session, answer->status == STATUS_OK ? STATUS_INTERNAL : answer->status);
        return;
    case SNAPSHOT_STAGED:
        session->state = SESSION_SENDING;
        session->read_ended = true;
        session->progress_ns = session->heard_ns;
        flights_clear(session);
        return;
    case SNAPSHOT_AT:
        if (answer->attempt > session->attempt)
            session_begin_at(session, answer);
        else if (answer->attempt == session->attempt && session->state == SESSION_SENDING)
            session_acknowledge(session, answer);
        if (is_before(session->best, answer->position))
            session->best = answer->position;
        return;
    }
}

/* ---- A session's job ---- */

static enum status message_room(struct session *session, size_t size)
{
    if (size <= session->message_capacity)
        return STATUS_OK;
    if (size < session_message_size_start)
        size = session_message_size_start;
    uint8_t *grown = realloc(session->message, size);
    if (grown == NULL)
        return STATUS_NO_MEMORY;
    session->message = grown;
    session->message_capacity = size;
    return STATUS_OK;
}

static bool read_step(struct session *session, struct io *io)
{
    struct bytes piece;
    session->outcome = STATUS_OK;
    if (session->seek)
        session->outcome = lsm_export_seek(session->export, io, session->seek_position);
    session->seek = false;
    if (session->outcome == STATUS_OK)
        session->outcome = lsm_export_next(session->export, io, &piece, &session->error);
    if (session->outcome == STATUS_AGAIN)
        return false;
    if (session->outcome == STATUS_OK)
        session->outcome = message_room(session, snapshot_piece_head_size + piece.size);
    if (session->outcome != STATUS_OK)
        return true;
    bytes_copy(session->message + snapshot_piece_head_size, piece);
    session->piece = bytes_of(session->message + snapshot_piece_head_size, piece.size);
    return true;
}

static bool session_step(struct snapshot_job *job, struct io *worker_io)
{
    struct session *session = LIST_ENTRY(job, struct session, job);
    switch (session->work) {
    case SESSION_OPEN: {
        struct lsm_export_options options = {.keyring = session->sender->options.keyring,
                                             .directory = session->sender->directory};
        memcpy(options.id, session->sender->id, sizeof options.id);
        session->outcome = lsm_export_open(worker_io, &options, &session->export, &session->error);
        return true;
    }
    case SESSION_READ:
        return read_step(session, worker_io);
    case SESSION_CLOSE:
        lsm_export_close(session->export, worker_io);
        session->export = NULL;
        return true;
    }
    UNREACHABLE();
}

static void opened(struct session *session)
{
    session->header = lsm_export_header(session->export);
    session->facts.total_size = lsm_export_size(session->export);
    session->heard_ns = now_ns(session->sender);
    log_info("snapshot_offered", LOG_U64("member", session->member),
             LOG_U64("index", session->sender->mark.index),
             LOG_U64("size", session->facts.total_size));
    session_offer(session);
}

static void session_returned(struct snapshot_job *job)
{
    struct session *session = LIST_ENTRY(job, struct session, job);
    if (session->work != SESSION_CLOSE && session->outcome != STATUS_OK &&
        session->outcome != STATUS_END) {
        const struct snapshot_sender_options *options = &session->sender->options;
        log_error("snapshot_unreadable", LOG_TEXT("text", session->error.text));
        if (options->unreadable != NULL &&
            (session->outcome == STATUS_CORRUPT || session->outcome == STATUS_IO_ERROR))
            options->unreadable(options->context, session->outcome, session->error.text);
        session_end(session, session->outcome);
    } else if (session->work == SESSION_OPEN && session->state == SESSION_WAITING) {
        opened(session);
    } else if (session->work == SESSION_READ && session->state == SESSION_SENDING &&
               session->read_attempt == session->attempt) {
        session->read_ended |= session->outcome == STATUS_END;
        session->piece_waits = session->outcome == STATUS_OK;
    }
    sender_advance(session->sender);
}

static void session_work(struct session *session, enum session_work work)
{
    session->work = work;
    session->outcome = STATUS_OK;
    session->error = (struct error){0};
    snapshot_job_want(&session->job);
    tell_work(session->sender);
}

/* ---- Sending ---- */

static void pace_at(struct snapshot_sender *sender, uint64_t at_ns)
{
    if (!sender->pace.started || sender->pace.deadline_ns > at_ns)
        io_timer_start(sender->options.io, &sender->pace, at_ns);
}

/* Sends the piece that was read, unless it must wait: for the rate, or for room. */
static void send_piece(struct session *session)
{
    struct snapshot_sender *sender = session->sender;
    uint64_t now = now_ns(sender);
    if (now < sender->ready_ns) {
        pace_at(sender, sender->ready_ns);
        return;
    }
    const struct snapshot_piece head = {.session = session->number, .attempt = session->attempt};
    size_t size = snapshot_piece_head_size + session->piece.size;
    snapshot_piece_encode(&head, session->message);
    if (!send(session, SNAPSHOT_PIECE, BUS_BULK, bytes_of(session->message, size))) {
        pace_at(sender, now + milliseconds(room_retry_ms));
        return;
    }
    if (sender->options.rate_max != 0)
        sender->ready_ns = now + size * 1000000000ull / sender->options.rate_max;
    struct flight *flight =
        &session
             ->flights[(session->flights_first + session->flights_count) % snapshot_window_count];
    flight->position.table = load_u32(session->piece.data + 4);
    flight->position.chunk = load_u32(session->piece.data + 8);
    flight->size = size;
    if (session->flights_count++ == 0)
        session->progress_ns = now;
    session->flights_size += size;
    session->facts.sent_size += size;
    session->piece_waits = false;
}

static void session_send(struct session *session)
{
    if (session->piece_waits)
        send_piece(session);
    if (session->piece_waits || session->read_ended || session->job.wanted ||
        session->flights_count == snapshot_window_count ||
        session->flights_size >= snapshot_window_size)
        return;
    session->seek = session->seek_wanted;
    session->seek_position = session->at;
    session->seek_wanted = false;
    session->read_attempt = session->attempt;
    session_work(session, SESSION_READ);
}

/* ---- The checkpoint ---- */

static bool remove_step(struct snapshot_job *job, struct io *worker_io)
{
    struct snapshot_sender *sender = LIST_ENTRY(job, struct snapshot_sender, remove_job);
    sender->remove_outcome = lsm_directory_remove(worker_io, sender->directory);
    return true;
}

static void remove_returned(struct snapshot_job *job)
{
    struct snapshot_sender *sender = LIST_ENTRY(job, struct snapshot_sender, remove_job);
    if (sender->remove_outcome != STATUS_OK)
        log_warn("checkpoint_not_removed", LOG_TEXT("path", sender->directory),
                 LOG_TEXT("reason", status_text(sender->remove_outcome)));
    sender->checkpoint = CHECKPOINT_NONE;
    sender_advance(sender);
}

static void checkpoint_remove(struct snapshot_sender *sender)
{
    sender->checkpoint = CHECKPOINT_REMOVING;
    sender->pin = UINT64_MAX;
    snapshot_job_want(&sender->remove_job);
    tell_work(sender);
}

static void checkpoint_done(void *context, enum status status, const struct lsm_mark *mark)
{
    struct snapshot_sender *sender = context;
    if (status == STATUS_OK) {
        sender->checkpoint = CHECKPOINT_READY;
        sender->mark = *mark;
        sender->pin = mark->index;
    } else {
        log_error("snapshot_checkpoint_failed", LOG_TEXT("path", sender->directory),
                  LOG_TEXT("reason", status_text(status)));
        for (unsigned i = 0; i < limit_members_count; i++)
            if (sender->sessions[i].state == SESSION_WAITING)
                session_end(&sender->sessions[i], status);
        checkpoint_remove(sender);
    }
    /* Not from within: it may have been refused at once. */
    io_timer_start(sender->options.io, &sender->pace, now_ns(sender));
}

static void checkpoint_make(struct snapshot_sender *sender)
{
    sender->checkpoint = CHECKPOINT_MAKING;
    sender->pin = lsm_installed_index(sender->options.lsm);
    generator_fill(&sender->generator, sender->id, sizeof sender->id);
    lsm_checkpoint(sender->options.lsm, sender->directory, checkpoint_done, sender);
}

static void checkpoint_advance(struct snapshot_sender *sender)
{
    if (sender->checkpoint == CHECKPOINT_NONE && sender->sessions_count != 0)
        checkpoint_make(sender);
    else if (sender->checkpoint == CHECKPOINT_READY && sender->sessions_count == 0)
        checkpoint_remove(sender);
}

/* ---- What follows ---- */

/* The session is over, and so is its job. */
static void session_forget(struct session *session)
{
    struct snapshot_sender *sender = session->sender;
    const struct session ended = *session;
    ASSERT(session->export == NULL && !session->job.wanted);
    free(session->message);
    memset(session, 0, sizeof *session);
    sender->sessions_count--;
    if (!ended.quiet)
        sender->options.ended(sender->options.context, ended.member, &sender->mark, ended.status);
}

static void session_advance(struct session *session)
{
    struct snapshot_sender *sender = session->sender;
    switch (session->state) {
    case SESSION_FREE:
    case SESSION_OFFERING:
        return;
    case SESSION_WAITING:
        if (sender->checkpoint == CHECKPOINT_READY && !session->job.wanted)
            session_work(session, SESSION_OPEN);
        return;
    case SESSION_SENDING:
        session_send(session);
        return;
    case SESSION_ENDED:
        if (session->job.wanted)
            return;
        if (session->export != NULL)
            session_work(session, SESSION_CLOSE);
        else
            session_forget(session);
        return;
    }
}

static void sender_advance(struct snapshot_sender *sender)
{
    for (unsigned i = 0; i < limit_members_count; i++)
        session_advance(&sender->sessions[i]);
    checkpoint_advance(sender);
    if (sender->sessions_count != 0 && !sender->ticking) {
        sender->ticking = true;
        io_timer_start(sender->options.io, &sender->tick, now_ns(sender) + milliseconds(tick_ms));
    }
}

static void session_tick(struct session *session, uint64_t now)
{
    if (session->state != SESSION_OFFERING && session->state != SESSION_SENDING)
        return;
    if (now - session->heard_ns > milliseconds(session->sender->options.silence_ms))
        session_end(session, STATUS_UNREACHABLE);
    else if (session->state == SESSION_OFFERING
                 ? now - session->offered_ns >= milliseconds(snapshot_retry_ms)
                 : now - session->heard_ns > milliseconds(snapshot_stall_ms))
        session_offer(session);
}

static void ticked(struct io_timer *timer)
{
    struct snapshot_sender *sender = timer->context;
    uint64_t now = now_ns(sender);
    sender->ticking = false;
    for (unsigned i = 0; i < limit_members_count; i++)
        session_tick(&sender->sessions[i], now);
    sender_advance(sender);
}

static void paced(struct io_timer *timer)
{
    sender_advance(timer->context);
}

/* ---- The interface ---- */

enum status snapshot_sender_open(const struct snapshot_sender_options *options,
                                 struct snapshot_sender **sender)
{
    *sender = NULL;
    if (strlen(options->directory) >= path_size)
        return STATUS_INVALID_ARGUMENT;
    struct snapshot_sender *made = calloc(1, sizeof *made);
    if (made == NULL)
        return STATUS_NO_MEMORY;
    made->options = *options;
    if (made->options.silence_ms == 0)
        made->options.silence_ms = 30 * 1000;
    memcpy(made->directory, options->directory, strlen(options->directory) + 1);
    generator_init(&made->generator, options->seed);
    made->tick = (struct io_timer){.fired = ticked, .context = made};
    made->pace = (struct io_timer){.fired = paced, .context = made};
    made->remove_job.step = remove_step;
    made->remove_job.returned = remove_returned;
    *sender = made;
    checkpoint_remove(made); /* what an earlier process left */
    return STATUS_OK;
}

void snapshot_sender_close(struct snapshot_sender *sender)
{
    if (sender == NULL)
        return;
    io_timer_stop(sender->options.io, &sender->tick);
    io_timer_stop(sender->options.io, &sender->pace);
    ASSERT(!sender->remove_job.taken);
    for (unsigned i = 0; i < limit_members_count; i++) {
        ASSERT(!sender->sessions[i].job.taken);
        lsm_export_close(sender->sessions[i].export, sender->options.io);
        free(sender->sessions[i].message);
    }
    enum status status = lsm_directory_remove(sender->options.io, sender->directory);
    if (status != STATUS_OK) /* the next start does it */
        log_warn("checkpoint_not_removed", LOG_TEXT("path", sender->directory),
                 LOG_TEXT("reason", status_text(status)));
    free(sender);
}

static struct session *find_session(const struct snapshot_sender *sender, uint64_t member)
{
    for (unsigned i = 0; i < limit_members_count; i++)
        if (sender->sessions[i].state != SESSION_FREE && sender->sessions[i].member == member)
            return (struct session *)(uintptr_t)&sender->sessions[i];
    return NULL;
}

enum status snapshot_sender_begin(struct snapshot_sender *sender, uint64_t member, uint64_t term)
{
    ASSERT(member != 0);
    struct session *session = find_session(sender, member);
    if (session != NULL) {
        session->term = term;
        /* One that is ending is told of first; then it is asked for again. */
        return session->state == SESSION_ENDED ? STATUS_BUSY : STATUS_OK;
    }
    for (unsigned i = 0; i < limit_members_count && session == NULL; i++)
        if (sender->sessions[i].state == SESSION_FREE)
            session = &sender->sessions[i];
    if (session == NULL)
        return STATUS_BUSY;
    *session = (struct session){
        .state = SESSION_WAITING,
        .sender = sender,
        .member = member,
        .number = generator_draw(&sender->generator) | 1,
        .term = term,
        .heard_ns = now_ns(sender),
        .job = {.step = session_step, .returned = session_returned},
    };
    sender->sessions_count++;
    sender_advance(sender);
    return STATUS_OK;
}

void snapshot_sender_stop(struct snapshot_sender *sender)
{
    for (unsigned i = 0; i < limit_members_count; i++) {
        struct session *session = &sender->sessions[i];
        if (session->state == SESSION_FREE)
            continue;
        if (session->state != SESSION_ENDED)
            send_stop(session);
        session->quiet = true;
        session_end(session, STATUS_OK);
    }
    sender_advance(sender);
}

void snapshot_sender_received(struct snapshot_sender *sender, uint64_t from, uint8_t kind,
                              struct bytes message)
{
    struct snapshot_answer answer;
    struct session *session = find_session(sender, from);
    if (kind != SNAPSHOT_ANSWER || snapshot_answer_decode(message, &answer) != STATUS_OK ||
        session == NULL || session->number != answer.session ||
        (session->state != SESSION_OFFERING && session->state != SESSION_SENDING))
        return;
    session_answer(session, &answer);
    sender_advance(sender);
}

void snapshot_sender_room(struct snapshot_sender *sender)
{
    sender_advance(sender);
}

struct snapshot_job *snapshot_sender_job(struct snapshot_sender *sender)
{
    struct snapshot_job *job = snapshot_job_take(&sender->remove_job);
    for (unsigned i = 0; i < limit_members_count && job == NULL; i++)
        job = snapshot_job_take(&sender->sessions[i].job);
    return job;
}

uint64_t snapshot_sender_pin(const struct snapshot_sender *sender)
{
    return sender->pin;
}

bool snapshot_sender_facts(const struct snapshot_sender *sender, uint64_t member,
                           struct snapshot_sender_facts *facts)
{
    const struct session *session = find_session(sender, member);
    *facts = session == NULL ? (struct snapshot_sender_facts){0} : session->facts;
    return session != NULL;
}
