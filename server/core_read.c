/* SPDX-License-Identifier: Apache-2.0 */
/* Reads: answered from a view of the applied state; parked while a block is being read. Snapshots.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/message.h"
#include "server/core_internal.h"
#include "server/net/request.h"

#define SERVER_VERSION "0.1.0"

/* A read under way; lives in its request's arena. */
struct read {
    struct list_link link; /* of reads_ready or reads_parked */
    struct core *core;
    struct request *request;
    struct lsm_wait wait;
    struct state_view *view;
    struct state_scan *scan;
    struct state_refusal refusal;
    union {
        Strait__GetReply get;
        Strait__ScanReply scan;
        Strait__TxnStatusReply txn_status;
        ProtobufCMessage base;
    } reply;
};

static void on_ready(struct lsm_wait *wait)
{
    struct read *read = wait->context;
    list_remove(&read->link);
    list_push_last(&read->core->reads_ready, &read->link);
}

static Strait__Position *position_of(struct read *read)
{
    struct state_position position = state_view_position(read->view);
    return state_position_message(&position, &read->request->arena);
}

/* Gives back what the read holds, and answers. The read's memory is gone after it. */
static void read_finish(struct read *read, enum status status)
{
    struct core *core = read->core;
    struct request *request = read->request;
    struct state_view *view = read->view;

    lsm_wait_cancel(&read->wait);
    list_remove(&read->link);
    if (read->scan != NULL)
        state_scan_close(read->scan);
    if (status == STATUS_OK) {
        core->reads_count++;
        core_reply(core, request, &read->reply.base);
    } else if (read->refusal.text[0] != 0) {
        core_refuse(core, request, status, 0, "%s", read->refusal.text);
    } else {
        log_error("read_failed", LOG_TEXT("request", frame_type_name(request->type)),
                  LOG_TEXT("reason", status_text(status)));
        core_refuse(core, request, status, 0, "The read failed: %s. `strait check` tells more.",
                    status_text(status));
    }
    state_view_close(view);
}

static enum status read_step(struct read *read)
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
    default:
        UNREACHABLE();
    }
}

static void read_run(struct read *read)
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

void core_reads_run(struct core *core)
{
    struct list_link ready;

    /* Only those that are ready now: what becomes ready meanwhile runs in the next turn. */
    list_init(&ready);
    while (!list_is_empty(&core->reads_ready))
        list_push_last(&ready, list_pop_first(&core->reads_ready));
    while (!list_is_empty(&ready)) {
        struct list_link *link = list_pop_first(&ready);
        read_run(LIST_ENTRY(link, struct read, link));
    }
}

static void refuse_all(struct list_link *list)
{
    struct list_link *link;
    while ((link = list_first(list)) != NULL) {
        struct read *read = LIST_ENTRY(link, struct read, link);
        snprintf(read->refusal.text, sizeof read->refusal.text, "This server stopped.");
        read_finish(read, STATUS_SHUTTING_DOWN);
    }
}

void core_reads_refuse(struct core *core)
{
    refuse_all(&core->reads_ready);
    refuse_all(&core->reads_parked);
}

/* The version to read at: UINT64_MAX for the newest. False: refused. */
static bool version_of(struct core *core, struct request *request, uint64_t snapshot_id,
                       uint64_t *version)
{
    *version = UINT64_MAX;
    if (snapshot_id == 0)
        return true;
    struct snapshot *snapshot =
        snapshots_find(&core->snapshots, snapshot_id, request->session->identity);
    if (snapshot == NULL) {
        core_refuse(core, request, STATUS_NO_SNAPSHOT, 0,
                    "Snapshot %" PRIu64 " is not open: it was closed, was cancelled, or lived past "
                    "its %" PRIu32 " ms. Begin again.",
                    snapshot_id, core->options.snapshot_age_ms);
        return false;
    }
    *version = snapshot->version;
    return true;
}

static enum status read_open(struct read *read)
{
    struct request *request = read->request;
    enum status status = STATUS_OK;

    switch (request->type) {
    case FRAME_GET:
        strait__get_reply__init(&read->reply.get);
        read->reply.get.position = position_of(read);
        break;
    case FRAME_SCAN:
        strait__scan_reply__init(&read->reply.scan);
        read->reply.scan.position = position_of(read);
        status = state_scan_open(read->view, REQUEST_MESSAGE(request, Scan), &request->arena,
                                 &read->scan, &read->refusal);
        break;
    case FRAME_TXN_STATUS:
        strait__txn_status_reply__init(&read->reply.txn_status);
        break;
    default:
        UNREACHABLE();
    }
    return status;
}

static void start(struct core *core, struct request *request, uint64_t snapshot_id)
{
    uint64_t version;
    if (!version_of(core, request, snapshot_id, &version))
        return;
    struct read *read = arena_alloc_zeroed(&request->arena, 1, sizeof *read);
    if (read == NULL) {
        core_refuse(core, request, STATUS_NO_MEMORY, 0, "No memory for this read.");
        return;
    }
    read->core = core;
    read->request = request;
    list_init(&read->link);
    lsm_wait_init(&read->wait, on_ready, read);
    enum status status = state_view_open(core->state, version, &read->view);
    if (status != STATUS_OK) {
        core_refuse(core, request, status, 0, "Version %" PRIu64 " cannot be read: %s.", version,
                    status_text(status));
        return;
    }
    status = read_open(read);
    if (status != STATUS_OK)
        read_finish(read, status);
    else
        read_run(read);
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
    reply.protocol_version = frame_protocol_version;
    reply.server_version = (char *)(uintptr_t)SERVER_VERSION;
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

static void tables(struct core *core, struct request *request)
{
    Strait__TableListReply reply = STRAIT__TABLE_LIST_REPLY__INIT;
    struct state_view *view;

    enum status status = state_view_open(core->state, UINT64_MAX, &view);
    if (status == STATUS_OK) {
        status = state_tables(view, &request->arena, &reply);
        state_view_close(view);
    }
    if (status != STATUS_OK)
        core_refuse(core, request, status, 0, "The tables could not be listed: %s.",
                    status_text(status));
    else
        core_reply(core, request, &reply.base);
}

static void snapshot_open(struct core *core, struct request *request)
{
    Strait__SnapshotOpenReply reply = STRAIT__SNAPSHOT_OPEN_REPLY__INIT;
    struct state_facts facts = state_facts(core->state);
    struct snapshot *snapshot;

    enum status status =
        snapshots_open(&core->snapshots, request->session->identity, request->session->client,
                       facts.position.version, io_boot_ns(core->options.io), &snapshot);
    if (status != STATUS_OK) {
        core_refuse(core, request, status, core->options.snapshot_age_ms,
                    "%d snapshots are open, as many as may be: `strait txn list` shows whose.",
                    limit_snapshots_count);
        return;
    }
    reply.snapshot_id = snapshot->id;
    reply.position = newest(core, request);
    reply.age_max_ms = core->options.snapshot_age_ms;
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
        start(core, request, REQUEST_MESSAGE(request, Get)->snapshot_id);
        break;
    case FRAME_SCAN:
        start(core, request, REQUEST_MESSAGE(request, Scan)->snapshot_id);
        break;
    case FRAME_TXN_STATUS:
        start(core, request, 0);
        break;
    case FRAME_TABLE_LIST:
        tables(core, request);
        break;
    case FRAME_SNAPSHOT_OPEN:
        snapshot_open(core, request);
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
