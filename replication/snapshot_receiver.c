/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/snapshot_receiver.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/list.h"
#include "proto/base/log.h"
#include "replication/snapshot_message.h"
#include "replication/snapshot_sender.h"
#include "storage/lsm/import.h"

enum { path_size = 512, queue_size_max = snapshot_window_size + limit_peer_message_size };

enum receiver_state {
    RECEIVER_IDLE,
    RECEIVER_OPENING,
    RECEIVER_RECEIVING,
    RECEIVER_FINISHING,
    RECEIVER_STAGED,
    RECEIVER_CLOSING,
};

enum receiver_work { WORK_OPEN, WORK_TAKE, WORK_FINISH, WORK_CLOSE, WORK_REMOVE };

/* What is sent to whom, and of which session. */
struct source {
    uint64_t from;
    uint64_t session;
    uint8_t *header; /* malloc; NULL: none */
    size_t header_size;
    struct lsm_mark mark;
    uint64_t total_size;
};

struct queued_piece {
    struct list_link link;
    size_t size;
    uint8_t bytes[];
};

struct snapshot_receiver {
    struct snapshot_receiver_options options;
    char directory[path_size];
    enum receiver_state state;
    struct io_timer timer; /* answers while active, and the end of the directory when not */

    struct source source; /* that the import is of, unless idle */
    struct source next;   /* offered meanwhile; its header NULL: none */
    uint32_t attempt;
    bool
        attempt_wanted; /* another one begins when the job is back; until then pieces are dropped */
    struct list_link queue;
    unsigned queue_count;
    size_t queue_size;
    uint64_t heard_ns;       /* of the source, last; 0: it has stopped */
    unsigned failures_count; /* since a table was finished */
    uint32_t failures_table; /* that was under way at the last one */
    bool reopen;             /* after closing: the same source again */
    enum status refusal;     /* after closing: the sender is told */

    /* The worker's while the job is wanted or taken. */
    struct snapshot_job job;
    enum receiver_work work;
    struct lsm_import *import; /* NULL: not open */
    struct queued_piece *piece;
    uint64_t number_first;
    enum status outcome;
    struct error error;

    /* As the last job left it. */
    struct lsm_transfer_position position;
    uint64_t written_size;
};

static void receiver_advance(struct snapshot_receiver *receiver);

/* ---- Answers ---- */

static void answer(struct snapshot_receiver *receiver, const struct source *to,
                   enum snapshot_answer_state state, enum status status)
{
    uint8_t message[snapshot_answer_size];
    bool busy = receiver->job.wanted || receiver->state != RECEIVER_RECEIVING;
    const struct snapshot_answer said = {
        .session = to->session,
        .attempt = receiver->attempt,
        .state = state,
        .status = status,
        .queued_count = (uint16_t)(receiver->queue_count + (busy ? 1 : 0)),
        .position = receiver->position,
        .written_size = receiver->written_size,
    };
    snapshot_answer_encode(&said, message);
    /* What is lost is said again by the timer, or asked for by the next offer. */
    (void)receiver->options.send(receiver->options.context, to->from, SNAPSHOT_ANSWER, BUS_CONTROL,
                                 bytes_of(message, sizeof message));
}

/* Where it stands, unless that is about to change. */
static void answer_now(struct snapshot_receiver *receiver)
{
    if (receiver->state == RECEIVER_STAGED)
        answer(receiver, &receiver->source, SNAPSHOT_STAGED, STATUS_OK);
    else if (receiver->state == RECEIVER_FINISHING ||
             (receiver->state == RECEIVER_RECEIVING && !receiver->attempt_wanted))
        answer(receiver, &receiver->source, SNAPSHOT_AT, STATUS_OK);
}

static void timer_start(struct snapshot_receiver *receiver)
{
    uint64_t ms =
        receiver->state == RECEIVER_IDLE ? receiver->options.idle_ms : (uint64_t)snapshot_answer_ms;
    io_timer_start(receiver->options.io, &receiver->timer,
                   io_boot_ns(receiver->options.io) + ms * 1000 * 1000);
}

/* ---- The queue and the source ---- */

static void queue_clear(struct snapshot_receiver *receiver)
{
    struct list_link *link;
    while ((link = list_pop_first(&receiver->queue)) != NULL)
        free(LIST_ENTRY(link, struct queued_piece, link));
    receiver->queue_count = 0;
    receiver->queue_size = 0;
}

static void source_free(struct source *source)
{
    free(source->header);
    *source = (struct source){0};
}

static struct bytes source_header(const struct source *source)
{
    return bytes_of(source->header, source->header_size);
}

/* ---- The job ---- */

static void begin_work(struct snapshot_receiver *receiver, enum receiver_work work)
{
    receiver->work = work;
    receiver->outcome = STATUS_OK;
    receiver->error = (struct error){0};
    snapshot_job_want(&receiver->job);
    receiver->options.work(receiver->options.context);
}

static enum status open_import(struct snapshot_receiver *receiver, struct io *io)
{
    const struct snapshot_receiver_options *options = &receiver->options;
    const struct lsm_import_options import = {
        .keyring = options->keyring,
        .directory = receiver->directory,
        .header = source_header(&receiver->source),
        .trees = options->trees,
        .trees_count = options->trees_count,
        .number_first = receiver->number_first,
        .record_size = options->record_size,
        .uncompressed = options->uncompressed,
    };
    return lsm_import_open(io, &import, &receiver->import, &receiver->error);
}

static void close_import(struct snapshot_receiver *receiver, struct io *io)
{
    lsm_import_close(receiver->import, io);
    receiver->import = NULL;
}

static bool receiver_step(struct snapshot_job *job, struct io *worker_io)
{
    struct snapshot_receiver *receiver = LIST_ENTRY(job, struct snapshot_receiver, job);
    switch (receiver->work) {
    case WORK_OPEN:
        receiver->outcome = open_import(receiver, worker_io);
        break;
    case WORK_TAKE:
        receiver->outcome = lsm_import_take(receiver->import, worker_io,
                                            bytes_of(receiver->piece->bytes, receiver->piece->size),
                                            &receiver->error);
        break;
    case WORK_FINISH:
        receiver->outcome = lsm_import_finish(receiver->import, worker_io, &receiver->error);
        if (receiver->outcome == STATUS_OK)
            close_import(receiver, worker_io);
        break;
    case WORK_CLOSE:
        close_import(receiver, worker_io);
        break;
    case WORK_REMOVE:
        receiver->outcome = lsm_directory_remove(worker_io, receiver->directory);
        break;
    }
    return true;
}

/* ---- From state to state ---- */

static void begin_opening(struct snapshot_receiver *receiver)
{
    receiver->state = RECEIVER_OPENING;
    receiver->number_first = lsm_staging_number(receiver->options.lsm);
    receiver->reopen = false;
    receiver->attempt_wanted = true;
    timer_start(receiver);
    begin_work(receiver, WORK_OPEN);
}

static void begin_closing(struct snapshot_receiver *receiver, bool reopen, enum status refusal)
{
    receiver->state = RECEIVER_CLOSING;
    receiver->reopen = reopen;
    receiver->refusal = refusal;
    queue_clear(receiver);
    begin_work(receiver, WORK_CLOSE);
}

static void become_idle(struct snapshot_receiver *receiver)
{
    receiver->state = RECEIVER_IDLE;
    receiver->failures_count = 0;
    queue_clear(receiver);
    source_free(&receiver->source);
    timer_start(receiver);
}

static void refuse(struct snapshot_receiver *receiver, enum status status)
{
    log_warn("snapshot_refused", LOG_U64("from", receiver->source.from),
             LOG_U64("index", receiver->source.mark.index),
             LOG_TEXT("reason", status_text(status)));
    answer(receiver, &receiver->source, SNAPSHOT_REFUSED, status);
}

/* What does not hold is asked for once more, from the table's beginning; a few times. */
static void failed_work(struct snapshot_receiver *receiver)
{
    enum status status = receiver->outcome;
    log_warn("snapshot_failed", LOG_TEXT("text", receiver->error.text));
    if (status == STATUS_IO_ERROR) {
        receiver->state = RECEIVER_CLOSING; /* and nothing follows */
        receiver->options.failed(receiver->options.context, status, receiver->error.text);
        return;
    }
    if (receiver->position.table != receiver->failures_table)
        receiver->failures_count = 0;
    receiver->failures_table = receiver->position.table;
    bool again = receiver->work == WORK_TAKE &&
                 (status == STATUS_CORRUPT || status == STATUS_MALFORMED) &&
                 ++receiver->failures_count < snapshot_failures_max;
    begin_closing(receiver, again, status);
}

static void returned_taking(struct snapshot_receiver *receiver)
{
    free(receiver->piece);
    receiver->piece = NULL;
    if (receiver->outcome == STATUS_INVALID_ARGUMENT)
        receiver->attempt_wanted = true; /* a gap; a repetition would be of a lower attempt */
    else if (receiver->outcome != STATUS_OK)
        failed_work(receiver);
    else
        answer_now(receiver);
}

static void returned_finishing(struct snapshot_receiver *receiver)
{
    if (receiver->outcome != STATUS_OK) {
        failed_work(receiver);
        return;
    }
    receiver->state = RECEIVER_STAGED;
    log_info("snapshot_staged", LOG_U64("from", receiver->source.from),
             LOG_U64("index", receiver->source.mark.index),
             LOG_U64("size", receiver->written_size));
    answer_now(receiver);
    receiver->options.staged(receiver->options.context, receiver->directory,
                             &receiver->source.mark);
}

static void returned_closing(struct snapshot_receiver *receiver)
{
    if (receiver->reopen && receiver->next.header == NULL) {
        begin_opening(receiver);
        return;
    }
    if (!receiver->reopen && receiver->refusal != STATUS_OK)
        refuse(receiver, receiver->refusal);
    become_idle(receiver);
}

static void receiver_returned(struct snapshot_job *job)
{
    struct snapshot_receiver *receiver = LIST_ENTRY(job, struct snapshot_receiver, job);
    if (receiver->import != NULL) {
        receiver->position = lsm_import_position(receiver->import);
        receiver->written_size = lsm_import_written_size(receiver->import);
    }
    switch (receiver->work) {
    case WORK_OPEN:
        if (receiver->outcome == STATUS_OK)
            receiver->state = RECEIVER_RECEIVING;
        else
            failed_work(receiver);
        break;
    case WORK_TAKE:
        returned_taking(receiver);
        break;
    case WORK_FINISH:
        returned_finishing(receiver);
        break;
    case WORK_CLOSE:
        returned_closing(receiver);
        break;
    case WORK_REMOVE:
        if (receiver->outcome != STATUS_OK)
            log_warn("staging_not_removed", LOG_TEXT("path", receiver->directory),
                     LOG_TEXT("reason", status_text(receiver->outcome)));
        break;
    }
    receiver_advance(receiver);
}

/* Another source was offered: the same checkpoint goes on from where it is, another one begins. */
static void take_next(struct snapshot_receiver *receiver)
{
    bool same = receiver->source.header != NULL &&
                bytes_equal(source_header(&receiver->source), source_header(&receiver->next));
    if (receiver->state == RECEIVER_RECEIVING && !same) {
        begin_closing(receiver, false, STATUS_OK);
        return;
    }
    source_free(&receiver->source);
    receiver->source = receiver->next;
    receiver->next = (struct source){0};
    if (receiver->state == RECEIVER_RECEIVING) {
        receiver->attempt_wanted = true;
        return;
    }
    receiver->failures_count = 0;
    begin_opening(receiver);
}

static void receive_on(struct snapshot_receiver *receiver)
{
    if (receiver->attempt_wanted) {
        receiver->attempt_wanted = false;
        receiver->attempt++;
        queue_clear(receiver);
        answer_now(receiver);
    }
    if (receiver->position.table == lsm_import_tables_count(receiver->import)) {
        receiver->state = RECEIVER_FINISHING;
        begin_work(receiver, WORK_FINISH);
        return;
    }
    struct list_link *link = list_pop_first(&receiver->queue);
    if (link == NULL)
        return;
    receiver->piece = LIST_ENTRY(link, struct queued_piece, link);
    receiver->queue_count--;
    receiver->queue_size -= receiver->piece->size;
    begin_work(receiver, WORK_TAKE);
}

static void receiver_advance(struct snapshot_receiver *receiver)
{
    if (receiver->job.wanted)
        return;
    if (receiver->next.header != NULL &&
        (receiver->state == RECEIVER_IDLE || receiver->state == RECEIVER_RECEIVING))
        take_next(receiver);
    if (receiver->state == RECEIVER_RECEIVING && !receiver->job.wanted)
        receive_on(receiver);
}

static void fired(struct io_timer *timer)
{
    struct snapshot_receiver *receiver = timer->context;
    uint64_t silence_ns = io_boot_ns(receiver->options.io) - receiver->heard_ns;
    if (receiver->state != RECEIVER_IDLE) {
        answer_now(receiver);
        timer_start(receiver);
        if (receiver->state == RECEIVER_RECEIVING && !receiver->job.wanted &&
            silence_ns >= (uint64_t)snapshot_silence_ms * 1000 * 1000)
            begin_closing(receiver, false, STATUS_OK);
    } else if (!receiver->job.wanted) {
        begin_work(receiver, WORK_REMOVE); /* nobody goes on with what is there */
    }
}

/* ---- Messages in ---- */

static void take_offer(struct snapshot_receiver *receiver, uint64_t from,
                       const struct snapshot_offer *offer)
{
    struct source source = {.from = from, .session = offer->session};
    enum status status = lsm_import_look(offer->header, &source.mark, &source.total_size);
    if (status != STATUS_OK) {
        answer(receiver, &source, SNAPSHOT_REFUSED, status);
        return;
    }
    enum snapshot_verdict verdict =
        receiver->options.judge(receiver->options.context, from, offer->term, &source.mark);
    bool known = receiver->source.from == from && receiver->source.session == offer->session;
    if (verdict == SNAPSHOT_IGNORE)
        return;
    if (receiver->state == RECEIVER_FINISHING || receiver->state == RECEIVER_STAGED) {
        if (known)
            answer_now(receiver);
        return; /* any other is heard once this one is installed */
    }
    if (verdict == SNAPSHOT_KNOWN) {
        answer(receiver, &source, SNAPSHOT_HAVE, STATUS_OK);
        return;
    }
    if (offer->attempt > receiver->attempt)
        receiver->attempt = offer->attempt;
    source.header = malloc(offer->header.size);
    if (source.header == NULL)
        return; /* it is repeated */
    bytes_copy(source.header, offer->header);
    source.header_size = offer->header.size;
    source_free(&receiver->next);
    receiver->next = source;
    receiver->heard_ns = io_boot_ns(receiver->options.io);
    receiver->attempt_wanted = true;
    receiver_advance(receiver);
}

static void take_piece(struct snapshot_receiver *receiver, uint64_t from,
                       const struct snapshot_piece *piece)
{
    if (receiver->state != RECEIVER_RECEIVING || receiver->attempt_wanted ||
        receiver->source.from != from || receiver->source.session != piece->session ||
        receiver->attempt != piece->attempt)
        return;
    struct queued_piece *queued = NULL;
    receiver->heard_ns = io_boot_ns(receiver->options.io);
    if (receiver->queue_count < snapshot_window_count &&
        receiver->queue_size + piece->piece.size <= queue_size_max)
        queued = malloc(sizeof *queued + piece->piece.size);
    if (queued == NULL) {
        receiver->attempt_wanted = true; /* what follows would have a gap before it */
        receiver_advance(receiver);
        return;
    }
    list_init(&queued->link);
    queued->size = piece->piece.size;
    bytes_copy(queued->bytes, piece->piece);
    list_push_last(&receiver->queue, &queued->link);
    receiver->queue_count++;
    receiver->queue_size += queued->size;
    receiver_advance(receiver);
}

/* The sender is done with us: what was staged stays for the next one's offer. */
static void take_stop(struct snapshot_receiver *receiver, uint64_t from, uint64_t session)
{
    if (receiver->next.from == from && receiver->next.session == session)
        source_free(&receiver->next);
    if (receiver->source.from != from || receiver->source.session != session ||
        receiver->state != RECEIVER_RECEIVING)
        return;
    if (receiver->job.wanted)
        receiver->heard_ns = 0; /* the timer sees to it */
    else
        begin_closing(receiver, false, STATUS_OK);
}

void snapshot_receiver_received(struct snapshot_receiver *receiver, uint64_t from, uint8_t kind,
                                struct bytes message)
{
    struct snapshot_offer offer;
    struct snapshot_piece piece;
    uint64_t session;
    if (kind == SNAPSHOT_OFFER && snapshot_offer_decode(message, &offer) == STATUS_OK)
        take_offer(receiver, from, &offer);
    else if (kind == SNAPSHOT_PIECE && snapshot_piece_decode(message, &piece) == STATUS_OK)
        take_piece(receiver, from, &piece);
    else if (kind == SNAPSHOT_STOP && snapshot_stop_decode(message, &session) == STATUS_OK)
        take_stop(receiver, from, session);
}

/* ---- The interface ---- */

enum status snapshot_receiver_open(const struct snapshot_receiver_options *options,
                                   struct snapshot_receiver **receiver)
{
    *receiver = NULL;
    if (strlen(options->directory) >= path_size)
        return STATUS_INVALID_ARGUMENT;
    struct snapshot_receiver *made = calloc(1, sizeof *made);
    if (made == NULL)
        return STATUS_NO_MEMORY;
    made->options = *options;
    if (made->options.idle_ms == 0)
        made->options.idle_ms = (uint64_t)10 * 60 * 1000;
    memcpy(made->directory, options->directory, strlen(options->directory) + 1);
    list_init(&made->queue);
    made->timer = (struct io_timer){.fired = fired, .context = made};
    made->job.step = receiver_step;
    made->job.returned = receiver_returned;
    timer_start(made);
    *receiver = made;
    return STATUS_OK;
}

void snapshot_receiver_close(struct snapshot_receiver *receiver)
{
    if (receiver == NULL)
        return;
    ASSERT(!receiver->job.taken);
    io_timer_stop(receiver->options.io, &receiver->timer);
    lsm_import_close(receiver->import, receiver->options.io);
    free(receiver->piece);
    queue_clear(receiver);
    source_free(&receiver->source);
    source_free(&receiver->next);
    free(receiver);
}

void snapshot_receiver_installed(struct snapshot_receiver *receiver, enum status status)
{
    ASSERT(receiver->state == RECEIVER_STAGED && !receiver->job.wanted);
    if (status == STATUS_OK)
        answer(receiver, &receiver->source, SNAPSHOT_HAVE, STATUS_OK);
    else
        refuse(receiver, status);
    become_idle(receiver);
    if (status == STATUS_CORRUPT || status == STATUS_INVALID_ARGUMENT)
        begin_work(receiver, WORK_REMOVE);
}

struct snapshot_job *snapshot_receiver_job(struct snapshot_receiver *receiver)
{
    return snapshot_job_take(&receiver->job);
}

struct snapshot_receiver_facts snapshot_receiver_facts(const struct snapshot_receiver *receiver)
{
    if (receiver->state == RECEIVER_IDLE)
        return (struct snapshot_receiver_facts){0};
    return (struct snapshot_receiver_facts){.active = true,
                                            .from = receiver->source.from,
                                            .index = receiver->source.mark.index,
                                            .written_size = receiver->written_size,
                                            .total_size = receiver->source.total_size};
}
