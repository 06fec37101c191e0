/* SPDX-License-Identifier: Apache-2.0 */
/* Reads, each from a view of the applied state; and snapshots.
 *
 *     taken -> (waiting) -> ready <-> parked -> answered
 *                                            -> unconfirmed -> decided -> answered
 *
 * A linearizable one is begun by the leader alone, once its term's first entry is applied. When it
 * has run, the lease is looked at last of all; where that does not hold, the finished reply waits
 * until a quorum has confirmed the leader after the read began. Others are begun by any member,
 * when its state is new enough (core_fresh.c). A read of a snapshot is begun by the server that
 * opened it, whether or not that leads still. Parked: a block is being read. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/base/planted.h"
#include "proto/message.h"
#include "server/core_internal.h"
#include "server/net/request.h"

#define NS_PER_MS 1000000ULL

enum { retry_term_ms = 20 };

static void on_ready(struct lsm_wait *wait)
{
    struct core_read *read = wait->context;
    list_remove(&read->link);
    list_push_last(&read->core->reads_ready, &read->link);
}

/* ---- The end of a read ---- */

/* What a refused read leaves behind. */
static void close_snapshot(struct core_read *read)
{
    struct snapshot *snapshot = snapshots_find(&read->core->snapshots, read->snapshot_id, NULL);
    if (snapshot != NULL)
        snapshots_close(&read->core->snapshots, snapshot);
}

static void refuse_unconfirmed(struct core *core, struct request *request)
{
    if (core_leads(core) && core_is_primary(core) && !core_lease_is_held(core))
        core_lease_refuse_out(core, request);
    else if (core_leads(core))
        core_refuse(core, request, STATUS_BUSY, retry_term_ms,
                    "The leadership changed while this was being read: try again.");
    else
        core_refuse_not_leader(core, request, "This server has ceased to lead its region");
}

/* Answers. The read's memory is gone after it. */
static void read_end(struct core_read *read)
{
    struct core *core = read->core;
    struct request *request = read->request;
    struct state_view *view = read->view;
    enum status status = read->status;

    list_remove(&read->link);
    /* Of one that has heard of a higher epoch meanwhile, or whose lease has run out, nothing is
     * promised any more. */
    if (read->is_linearizable && (!read->is_confirmed || !core_is_primary(core) ||
                                  (!core_lease_is_held(core) && !PLANTED(lease_unread)))) {
        close_snapshot(read);
        refuse_unconfirmed(core, request);
    } else if (status == STATUS_OK) {
        core->reads_count++;
        core_note_latency(core, &core->reads_ns, request);
        if (request->type == FRAME_TXN_STATUS && request->context != NULL)
            core_remote_hold_status(core, request, &read->reply.txn_status);
        else
            core_reply(core, request, &read->reply.base);
    } else if (status == STATUS_BUSY) {
        core_refuse(core, request, status, core->options.snapshot_age_ms, "%s", read->refusal.text);
    } else if (status == STATUS_CORRUPT && read->refusal.text[0] == 0 &&
               core_damaged(core, 0, "A read met a table whose bytes do not hold.")) {
        core_refuse_not_leader(core, request, "This server's state is being rebuilt");
    } else if (read->refusal.text[0] != 0) {
        core_refuse(core, request, status, 0, "%s", read->refusal.text);
    } else {
        char text[core_failure_size];
        core_failure_text(core, status, text);
        log_error("read_failed", LOG_TEXT("request", frame_type_name(request->type)),
                  LOG_TEXT("reason", text));
        core_refuse(core, request, status, 0, "The read failed: %s. `strait check` tells more.",
                    text);
    }
    if (view != NULL)
        state_view_close(view);
}

static void walks_close(struct core_read *read)
{
    state_scan_close(read->scan);
    state_lost_walk_close(read->lost);
    read->scan = NULL;
    read->lost = NULL;
}

/* It has run. What it holds is given back, but the view, which the reply refers to. */
static void read_finish(struct core_read *read, enum status status)
{
    struct core *core = read->core;

    lsm_wait_cancel(&read->wait);
    walks_close(read);
    read->status = status;
    if (read->is_linearizable && !read->is_confirmed &&
        replicated_log_term(core->log) == read->term) {
        if (replicated_log_lease_holds(core->log) || PLANTED(core_read_unconfirmed)) {
            read->is_confirmed = true;
        } else if (replicated_log_confirm(core->log, &read->round) == STATUS_OK) {
            core->reads_confirmed_count++;
            list_remove(&read->link);
            list_push_last(&core->reads_unconfirmed, &read->link);
            return;
        }
    }
    read_end(read);
}

/* ---- Running ---- */

static enum status read_step(struct core_read *read)
{
    struct request *request = read->request;
    switch (request->type) {
    case FRAME_GET:
        return state_get(read->view, &read->wait, REQUEST_MESSAGE(request, Get), &request->arena,
                         &read->reply.get, &read->refusal);
    case FRAME_SCAN:
        return state_scan_step(read->scan, &read->wait, &read->reply.scan);
    case FRAME_TXN_STATUS:
        return state_outcome(read->view, &read->wait, REQUEST_MESSAGE(request, TxnStatus),
                             &request->arena, &read->reply.txn_status, &read->refusal);
    case FRAME_TABLE_LIST:
        return state_tables(read->view, &request->arena, &read->reply.tables);
    case FRAME_REGION_LOST_READ:
        return core_lost_read_step(read);
    case FRAME_SNAPSHOT_OPEN:
        return STATUS_OK;
    default:
        UNREACHABLE();
    }
}

static void read_run(struct core_read *read)
{
    enum status status = read_step(read);
    if (status != STATUS_AGAIN) {
        read_finish(read, status);
        return;
    }
    read->core->reads_parked_count++;
    list_remove(&read->link);
    list_push_last(read->wait.pending_count != 0 ? &read->core->reads_parked
                                                 : &read->core->reads_ready,
                   &read->link);
}

static void take_all(struct list_link *to, struct list_link *from)
{
    list_init(to);
    while (!list_is_empty(from))
        list_push_last(to, list_pop_first(from));
}

void core_reads_run(struct core *core)
{
    struct list_link ready;
    struct list_link *link;

    /* Only those that are ready now: what becomes ready meanwhile runs in the next turn. */
    take_all(&ready, &core->reads_decided);
    while ((link = list_pop_first(&ready)) != NULL)
        read_end(LIST_ENTRY(link, struct core_read, link));
    take_all(&ready, &core->reads_ready);
    while ((link = list_pop_first(&ready)) != NULL)
        read_run(LIST_ENTRY(link, struct core_read, link));
}

static void refuse_all(struct list_link *list, enum status status, const char *text)
{
    struct list_link *link;
    while ((link = list_first(list)) != NULL) {
        struct core_read *read = LIST_ENTRY(link, struct core_read, link);
        lsm_wait_cancel(&read->wait);
        walks_close(read);
        close_snapshot(read);
        read->is_linearizable = false;
        read->status = status;
        snprintf(read->refusal.text, sizeof read->refusal.text, "%s", text);
        read_end(read);
    }
}

void core_reads_refuse(struct core *core, enum status status, const char *text)
{
    core_lost_tell_stop(core);
    refuse_all(&core->fresh.waiting, status, text);
    refuse_all(&core->reads_ready, status, text);
    refuse_all(&core->reads_parked, status, text);
    refuse_all(&core->reads_unconfirmed, status, text);
    refuse_all(&core->reads_decided, status, text);
}

/* ---- Beginning ---- */

static Strait__Position *position_of(struct core_read *read)
{
    struct state_position position = state_view_position(read->view);
    return state_position_message(&position, &read->request->arena);
}

/* The snapshot is opened right away, so that its version stays; it ends with a refusal. */
static enum status open_snapshot(struct core_read *read)
{
    struct core *core = read->core;
    struct request *request = read->request;
    Strait__SnapshotOpenReply *reply = &read->reply.snapshot;
    struct snapshot *snapshot;

    strait__snapshot_open_reply__init(reply);
    enum status status = snapshots_open(
        &core->snapshots, request->session->identity, request->session->client,
        state_view_position(read->view).version, io_boot_ns(core->options.io), &snapshot);
    if (status != STATUS_OK) {
        snprintf(read->refusal.text, sizeof read->refusal.text,
                 "%d snapshots are open, as many as may be: `strait txn list` shows whose.",
                 limit_snapshots_count);
        return status;
    }
    read->snapshot_id = snapshot->id;
    reply->snapshot_id = snapshot->id;
    reply->position = position_of(read);
    reply->age_max_ms = core->options.snapshot_age_ms;
    return STATUS_OK;
}

static enum status read_open(struct core_read *read)
{
    struct request *request = read->request;

    switch (request->type) {
    case FRAME_GET:
        strait__get_reply__init(&read->reply.get);
        read->reply.get.position = position_of(read);
        return STATUS_OK;
    case FRAME_SCAN:
        strait__scan_reply__init(&read->reply.scan);
        read->reply.scan.position = position_of(read);
        return state_scan_open(read->view, REQUEST_MESSAGE(request, Scan), &request->arena,
                               &read->scan, &read->refusal);
    case FRAME_TXN_STATUS:
        strait__txn_status_reply__init(&read->reply.txn_status);
        return STATUS_OK;
    case FRAME_TABLE_LIST:
        strait__table_list_reply__init(&read->reply.tables);
        return STATUS_OK;
    case FRAME_REGION_LOST_READ:
        return core_lost_read_open(read);
    case FRAME_SNAPSHOT_OPEN:
        return open_snapshot(read);
    default:
        UNREACHABLE();
    }
}

void core_read_begin(struct core_read *read)
{
    struct core *core = read->core;

    read->term = replicated_log_term(core->log);
    enum status status = state_view_open(core->state, read->version, &read->view);
    if (status != STATUS_OK) {
        core_refuse(core, read->request, status, 0, "Version %" PRIu64 " cannot be read: %s.",
                    read->version, status_text(status));
        return;
    }
    status = read_open(read);
    if (status != STATUS_OK)
        read_finish(read, status);
    else
        read_run(read);
}

/* ---- What a read may see ---- */

/* The version to read at. False: refused. */
static bool find_snapshot(struct core_read *read, uint64_t snapshot_id)
{
    struct core *core = read->core;
    struct snapshot *snapshot =
        snapshots_find(&core->snapshots, snapshot_id, read->request->session->identity);
    if (snapshot == NULL) {
        core_refuse(core, read->request, STATUS_NO_SNAPSHOT, 0,
                    "Snapshot %" PRIu64
                    " is not open here: it was closed, was cancelled, was opened by another "
                    "server, or lived past its %" PRIu32 " ms. Begin again.",
                    snapshot_id, core->options.snapshot_age_ms);
        return false;
    }
    read->version = snapshot->version;
    return true;
}

/* Linearizable: the leader's alone. False: refused. */
static bool check_leads(struct core *core, struct request *request)
{
    if (!core_lease_is_held(core) && core_leads(core) && !PLANTED(lease_unread)) {
        core_lease_refuse_out(core, request);
        return false;
    }
    if (replicated_log_may_read(core->log))
        return true;
    if (core_leads(core))
        core_refuse(core, request, STATUS_BUSY, retry_term_ms,
                    "This server has just begun to lead: try again in %d ms.", retry_term_ms);
    else
        core_refuse_not_leader(core, request, NULL);
    return false;
}

void core_refuse_history_lost(struct core_read *read)
{
    struct core *core = read->core;
    struct epoch epoch = state_epoch(core->state);
    core_refuse(core, read->request, STATUS_HISTORY_LOST, 0,
                "Version %" PRIu64 " of epoch %" PRIu64 " of region %" PRIu32
                " is no part of this history: another region was promoted without it. Here the "
                "epoch is %" PRIu64 " of region %" PRIu32 ".",
                read->fresh_version, read->fresh_epoch.number, read->fresh_epoch.region,
                epoch.number, epoch.region);
}

/* And the primary region's. False: refused. */
static bool check_primary(struct core *core, struct request *request)
{
    if (core_is_primary(core))
        return true;
    core_refuse_not_primary(core, request);
    return false;
}

static bool check_position(struct core_read *read, const Strait__Position *position)
{
    struct core *core = read->core;

    if (position == NULL) {
        core_refuse(core, read->request, STATUS_INVALID_ARGUMENT, 0,
                    "A read at least at a position names none.");
        return false;
    }
    read->fresh_epoch =
        (struct epoch){.number = position->epoch_number, .region = position->epoch_region};
    read->fresh_version = position->version;
    if (state_position_check(core->state, read->fresh_epoch, position->version) !=
        STATUS_HISTORY_LOST)
        return true;
    core_refuse_history_lost(read);
    return false;
}

/* False: refused. */
static bool choose_state(struct core_read *read, uint64_t snapshot_id,
                         const Strait__Consistency *consistency)
{
    struct core *core = read->core;
    Strait__Consistency__Kind kind =
        consistency == NULL ? STRAIT__CONSISTENCY__KIND__LINEARIZABLE : consistency->kind;
    uint64_t now = read->request->received_ns;

    if (snapshot_id != 0)
        return find_snapshot(read, snapshot_id);
    switch (kind) {
    case STRAIT__CONSISTENCY__KIND__LINEARIZABLE:
        read->is_linearizable = true;
        read->is_confirmed = PLANTED(core_lease_first) && replicated_log_lease_holds(core->log);
        return check_primary(core, read->request) && check_leads(core, read->request);
    case STRAIT__CONSISTENCY__KIND__BOUNDED_STALE:
        core->reads_stale_count++;
        read->is_linearizable =
            replicated_log_may_read(core->log) && core_is_primary(core) && core_lease_is_held(core);
        read->fresh_ns = consistency->max_staleness_ms < now / NS_PER_MS
                             ? now - consistency->max_staleness_ms * NS_PER_MS
                             : 0;
        return true;
    case STRAIT__CONSISTENCY__KIND__AT_LEAST:
        core->reads_stale_count++;
        return check_position(read, consistency->position);
    default:
        core_refuse(core, read->request, STATUS_UNSUPPORTED, 0,
                    "This server knows no consistency of kind %d.", (int)kind);
        return false;
    }
}

bool core_refuse_while_resting(struct core *core, struct request *request)
{
    const char *why = core_is_healing(core)      ? "This server's state is being rebuilt"
                      : core_is_rewinding(core)  ? "This server goes back to an earlier version"
                      : core_is_adopting(core)   ? "This region takes over another one's checkpoint"
                      : core_is_installing(core) ? "This server is being given a snapshot"
                                                 : NULL;
    if (why != NULL)
        core_refuse_not_leader(core, request, why);
    return why != NULL;
}

static void start(struct core *core, struct request *request, uint64_t snapshot_id,
                  const Strait__Consistency *consistency)
{
    if (core_refuse_while_resting(core, request))
        return;
    struct core_read *read = arena_alloc_zeroed(&request->arena, 1, sizeof *read);
    if (read == NULL) {
        core_refuse(core, request, STATUS_NO_MEMORY, 0, "No memory for this read.");
        return;
    }
    read->core = core;
    read->request = request;
    read->version = UINT64_MAX;
    list_init(&read->link);
    lsm_wait_init(&read->wait, on_ready, read);
    if (!choose_state(read, snapshot_id, consistency))
        return;
    if (read->is_linearizable || core_fresh_is_enough(core, read))
        core_read_begin(read);
    else
        core_fresh_wait(read);
}

/* What is this region's own is read from what this server has of it, however old that is. */
static void start_here(struct core *core, struct request *request)
{
    Strait__Consistency any = STRAIT__CONSISTENCY__INIT;
    any.kind = STRAIT__CONSISTENCY__KIND__BOUNDED_STALE;
    any.max_staleness_ms = UINT64_MAX;
    start(core, request, 0, &any);
}

static void txn_status(struct core *core, struct request *request)
{
    const Strait__TxnStatus *asked = REQUEST_MESSAGE(request, TxnStatus);
    if (asked->durability == STRAIT__DURABILITY__REMOTE &&
        (!check_primary(core, request) || !check_leads(core, request) ||
         !core_remote_prepare(core, request)))
        return;
    start(core, request, 0, NULL);
}

/* ---- What is answered at once ---- */

static Strait__Position *newest(struct core *core, struct request *request)
{
    struct state_facts facts = state_facts(core->state);
    return state_position_message(&facts.position, &request->arena);
}

static void hello(struct core *core, struct request *request)
{
    Strait__HelloReply reply = STRAIT__HELLO_REPLY__INIT;

    core_claim_take(core, REQUEST_MESSAGE(request, Hello)->promotion);
    reply.promotion = core_claim_message(core, &request->arena);
    reply.protocol_version = frame_protocol_version;
    reply.server_version = (char *)(uintptr_t)STRAIT_VERSION_TEXT;
    reply.cluster_id =
        field_of_bytes(bytes_of(keyring_cluster_id(core->options.keyring), seal_id_size));
    reply.identity = (char *)(uintptr_t)request->session->identity;
    reply.role = (char *)(uintptr_t)role_name(request->session->role);
    reply.position = newest(core, request);
    core_reply(core, request, &reply.base);
}

static void ping(struct core *core, struct request *request)
{
    Strait__PingReply reply = STRAIT__PING_REPLY__INIT;
    reply.position = newest(core, request);
    core_reply(core, request, &reply.base);
}

static void snapshot_renew(struct core *core, struct request *request)
{
    Strait__SnapshotRenewReply reply = STRAIT__SNAPSHOT_RENEW_REPLY__INIT;
    uint64_t id = REQUEST_MESSAGE(request, SnapshotRenew)->snapshot_id;
    struct snapshot *snapshot = snapshots_find(&core->snapshots, id, request->session->identity);
    if (snapshot == NULL) {
        core_refuse(core, request, STATUS_NO_SNAPSHOT, 0,
                    "Snapshot %" PRIu64 " is not open any more: begin again.", id);
        return;
    }
    snapshots_renew(&core->snapshots, snapshot, io_boot_ns(core->options.io));
    core_reply(core, request, &reply.base);
}

/* Closing what is closed already is fine: a retry may come after the first attempt did it. */
static void snapshot_close(struct core *core, struct request *request)
{
    Strait__SnapshotCloseReply reply = STRAIT__SNAPSHOT_CLOSE_REPLY__INIT;
    uint64_t id = REQUEST_MESSAGE(request, SnapshotClose)->snapshot_id;
    struct snapshot *snapshot = snapshots_find(&core->snapshots, id, request->session->identity);
    if (snapshot != NULL)
        snapshots_close(&core->snapshots, snapshot);
    core_reply(core, request, &reply.base);
}

void core_read(struct core *core, struct request *request)
{
    switch (request->type) {
    case FRAME_HELLO:
        hello(core, request);
        break;
    case FRAME_PING:
        ping(core, request);
        break;
    case FRAME_GET:
        start(core, request, REQUEST_MESSAGE(request, Get)->snapshot_id,
              REQUEST_MESSAGE(request, Get)->consistency);
        break;
    case FRAME_SCAN:
        start(core, request, REQUEST_MESSAGE(request, Scan)->snapshot_id,
              REQUEST_MESSAGE(request, Scan)->consistency);
        break;
    case FRAME_TXN_STATUS:
        txn_status(core, request);
        break;
    case FRAME_REGION_LOST_READ:
        start_here(core, request);
        break;
    case FRAME_TABLE_LIST:
    case FRAME_SNAPSHOT_OPEN:
        start(core, request, 0, NULL);
        break;
    case FRAME_SNAPSHOT_RENEW:
        snapshot_renew(core, request);
        break;
    case FRAME_SNAPSHOT_CLOSE:
        snapshot_close(core, request);
        break;
    default:
        UNREACHABLE();
    }
}
