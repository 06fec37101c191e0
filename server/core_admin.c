/* SPDX-License-Identifier: Apache-2.0 */
/* What administrators ask: status, check, who pins what. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/message.h"
#include "server/core_internal.h"
#include "server/net/request.h"

#define NS_PER_MS 1000000ULL

enum { metrics_max = 80, alarms_max = 11, alarm_size = 512, latencies_max = 3, bounds_count = 19 };

#define NS_PER_US 1000ULL

/* What a read from memory takes, up to what nobody waits for. */
static const uint64_t latency_bounds_ns[bounds_count] = {
    10 * NS_PER_US,   25 * NS_PER_US,   50 * NS_PER_US,   100 * NS_PER_US,   250 * NS_PER_US,
    500 * NS_PER_US,  1 * NS_PER_MS,    2500 * NS_PER_US, 5 * NS_PER_MS,     10 * NS_PER_MS,
    25 * NS_PER_MS,   50 * NS_PER_MS,   100 * NS_PER_MS,  250 * NS_PER_MS,   500 * NS_PER_MS,
    1000 * NS_PER_MS, 2500 * NS_PER_MS, 5000 * NS_PER_MS, 10000 * NS_PER_MS,
};

/* A status reply being made. */
struct report {
    Strait__StatusReply reply;
    Strait__StatusReply__Metric metrics[metrics_max];
    Strait__StatusReply__Metric *metric_pointers[metrics_max];
    Strait__StatusReply__Latency latencies[latencies_max];
    Strait__StatusReply__Latency *latency_pointers[latencies_max];
    Strait__StatusReply__Latency__Bucket buckets[latencies_max][bounds_count];
    Strait__StatusReply__Latency__Bucket *bucket_pointers[latencies_max][bounds_count];
    uint8_t chain[region_chain_size];
    char alarms[alarms_max][alarm_size];
    char *alarm_pointers[alarms_max];
};

static void metric(struct report *report, const char *name, uint64_t value)
{
    size_t i = report->reply.n_metrics;
    ASSERT(i < metrics_max);
    strait__status_reply__metric__init(&report->metrics[i]);
    report->metrics[i].name = (char *)(uintptr_t)name;
    report->metrics[i].value = value;
    report->metric_pointers[i] = &report->metrics[i];
    report->reply.n_metrics++;
}

static void latency(struct report *report, const char *name, const struct histogram *histogram)
{
    size_t i = report->reply.n_latencies;
    ASSERT(i < latencies_max);
    Strait__StatusReply__Latency *latency = &report->latencies[i];
    strait__status_reply__latency__init(latency);
    latency->name = (char *)(uintptr_t)name;
    latency->count = histogram->count;
    latency->sum_ns = histogram->sum;
    uint64_t counts[bounds_count];
    histogram_counts(histogram, latency_bounds_ns, bounds_count, counts);
    for (unsigned b = 0; b < bounds_count; b++) {
        strait__status_reply__latency__bucket__init(&report->buckets[i][b]);
        report->buckets[i][b].bound_ns = latency_bounds_ns[b];
        report->buckets[i][b].count = counts[b];
        report->bucket_pointers[i][b] = &report->buckets[i][b];
    }
    latency->buckets = report->bucket_pointers[i];
    latency->n_buckets = bounds_count;
    report->latency_pointers[i] = latency;
    report->reply.n_latencies++;
}

static void alarm_text(struct report *report, const char *text)
{
    size_t i = report->reply.n_alarms;
    ASSERT(i < alarms_max);
    snprintf(report->alarms[i], alarm_size, "%s", text);
    report->alarm_pointers[i] = report->alarms[i];
    report->reply.n_alarms++;
}

/* Of the last check's findings, those that are none any more. */
static uint64_t healed_count(const struct core_check *check)
{
    return check->is_healed ? check->tables_findings_count : 0;
}

static void add_alarms(struct core *core, struct report *report)
{
    char text[alarm_size];
    int64_t offset_ns;

    if (core->disk_low) {
        snprintf(text, sizeof text,
                 "%" PRIu64 " MiB are free on the disk that holds %s, below the reserve of %" PRIu64
                 " MiB: only deletes are taken. Free space there, or delete records.",
                 core->space.free_size >> 20, core->options.directory,
                 core->options.disk_reserve_size >> 20);
        alarm_text(report, text);
    }
    if (core->job_failed_full)
        alarm_text(report, "A table could not be written for lack of space; it is tried again "
                           "each second. Free space on the data disk.");
    if (replicated_log_clock_jumped(core->log, &offset_ns)) {
        snprintf(text, sizeof text,
                 "The wall clock is %" PRId64 " ms away from the log's clock, which does not "
                 "follow a jump: check time synchronisation.",
                 offset_ns / (int64_t)NS_PER_MS);
        alarm_text(report, text);
    }
    if (replicated_log_role(core->log) == LOG_MENDING)
        alarm_text(report, "Entries of this server's log are corrupt: it asks the others for them, "
                           "and takes no part until it has them.");
    else if (replicated_log_leader(core->log) == NULL)
        alarm_text(report, "This server knows of no leader: fewer than a majority of the voters "
                           "answer, or an election is under way.");
    if (core_is_healing(core)) {
        struct snapshot_receiver_facts facts = snapshot_receiver_facts(core->install.receiver);
        snprintf(text, sizeof text,
                 "This server's state is being rebuilt from another member's, %" PRIu64
                 " of %" PRIu64 " MiB so far: %.160s",
                 facts.written_size >> 20, facts.total_size >> 20, core->heal.why);
        alarm_text(report, text);
    }
    if (core->differs_version != 0) {
        snprintf(text, sizeof text,
                 "A member's state differed from a majority's at version %" PRIu64
                 " (replica_differs in this server's log): it is being rebuilt from another's.",
                 core->differs_version);
        alarm_text(report, text);
    }
    if (state_is_fenced(core->state, core->options.region_id) || core->ship.higher.number != 0)
        alarm_text(report, "Another region was promoted: this one takes no writes until it has "
                           "followed it (`strait region status`).");
    if (core->ship.guard.action != 0)
        alarm_text(report, core->ship.guard.text);
    if (core_ship_trouble_text(core)[0] != 0)
        alarm_text(report, core_ship_trouble_text(core));
    if (core->catchup.outrun)
        alarm_text(report, core_catchup_alarm(core));
    if (core->replicas_disagree)
        alarm_text(report, "No majority of the voters has the same state (replicas_disagree in "
                           "this server's log): keep their data directories for a look.");
    if (core->check.findings_count > healed_count(&core->check)) {
        snprintf(text, sizeof text,
                 "The last check found %" PRIu64 " places that are damaged: `strait check` lists "
                 "them.",
                 core->check.findings_count);
        alarm_text(report, text);
    }
}

static void add_core_metrics(struct core *core, struct report *report)
{
    struct state_facts facts = state_facts(core->state);
    metric(report, "commits_count", core->commits_count);
    metric(report, "reads_count", core->reads_count);
    metric(report, "reads_parked_count", core->reads_parked_count);
    metric(report, "refused_count", core->refused_count);
    metric(report, "requests_open_count", core->requests_count);
    metric(report, "snapshots_count", core->snapshots.count);
    metric(report, "horizon_version", facts.horizon);
    metric(report, "tables_count", facts.tables_count);
    metric(report, "outcomes_count", facts.outcomes_count);
    metric(report, "outcomes_size_bytes", state_outcomes_size(core->state));
    metric(report, "outcomes_quota_bytes", core->options.outcomes_size_max);
    metric(report, "disk_free_bytes", core->space.free_size);
    metric(report, "disk_total_bytes", core->space.total_size);
    metric(report, "disk_reserve_bytes", core->options.disk_reserve_size);
    metric(report, "disk_ballast_bytes", core->ballast.held ? core->ballast.size : 0);
    metric(report, "region_checkpoints_sent_count", core->catchup.sent_count);
    metric(report, "region_checkpoints_adopted_count", core->catchup.count);
    struct snapshot_receiver_facts checkpoint = core_catchup_facts(core);
    metric(report, "region_checkpoint_received_bytes", checkpoint.written_size);
    metric(report, "region_checkpoint_total_bytes", checkpoint.total_size);
    if (core->options.processor_us != NULL)
        metric(report, "process_cpu_us", core->options.processor_us(core->options.context));
}

static void add_storage_metrics(struct core *core, struct report *report)
{
    struct wal_statistics wal = replicated_log_statistics(core->log);
    struct lsm_statistics lsm = lsm_statistics(core->lsm);
    metric(report, "wal_flushes_count", wal.flushes_count);
    metric(report, "wal_empty_batches_count", wal.empty_count);
    metric(report, "wal_entries_count", wal.entries_count);
    metric(report, "wal_written_bytes", wal.written_size);
    metric(report, "wal_payload_bytes", wal.payload_size);
    metric(report, "wal_segments_count", wal.segments_count);
    metric(report, "wal_recycled_count", wal.recycled_count);
    metric(report, "memtable_size_bytes", lsm.memtable_size);
    metric(report, "memtables_sealed_count", lsm.sealed_count);
    metric(report, "cache_size_bytes", lsm.cache_size);
    metric(report, "cache_hits_count", lsm.cache_hits_count);
    metric(report, "cache_misses_count", lsm.cache_misses_count);
    metric(report, "sorted_tables_count", lsm.tables_count);
    metric(report, "sorted_tables_bytes", lsm.tables_size);
    metric(report, "level0_tables_count", lsm.level0_count);
    metric(report, "flushed_bytes", lsm.flushed_size);
    metric(report, "compacted_bytes", lsm.compacted_size);
    metric(report, "compactions_count", lsm.compactions_count);
    metric(report, "compactions_running", lsm.compactions_running);
    metric(report, "write_pressure_percent", lsm_pressure(core->lsm));
    metric(report, "workers_busy_count", workers_busy_count(core->workers));
    metric(report, "region_lag_bytes", core->ship.guard.lag_size_most);
    metric(report, "region_lag_ms", core->ship.guard.lag_ms_most);
    metric(report, "remote_waiting_count", core->remote.waiting_count);
    metric(report, "remote_confirmed_count", core->remote.confirmed_count);
    metric(report, "remote_unconfirmed_count", core->remote.unconfirmed_count);
}

/* The other regions, as this server knows them; and how old a standby's data is. */
static void add_regions(struct core *core, struct request *request, struct report *report)
{
    const Strait__RegionListReply *list = core_regions_list(core, &request->arena);
    if (list == NULL)
        return;
    report->reply.regions = list->regions;
    report->reply.n_regions = list->n_regions;
    if (list->age_known)
        metric(report, "region_age_ms", list->age_ms);
    if (list->lease == NULL || !core_leads(core))
        return;
    metric(report, "lease_between_held", list->lease->held != 0);
    metric(report, "lease_of_witness_ms", list->lease->witness_ms);
    metric(report, "lease_of_standby_ms", list->lease->standby_ms);
    metric(report, "lease_promised_ms", list->lease->promised_ms);
    metric(report, "witness_connected", list->lease->connected != 0);
}

/* Whose lease it is, the leader's view of the others, and the place in the log. */
static void add_region(struct core *core, struct request *request, struct report *report)
{
    const struct membership *membership = replicated_log_membership(core->log);
    const struct member *self = membership_find(membership, replicated_log_self(core->log));
    const struct member *leader = replicated_log_leader(core->log);
    Strait__StatusReply *reply = &report->reply;

    reply->member = (char *)(uintptr_t)(self != NULL ? self->name : core->options.self.name);
    if (leader != NULL)
        reply->leader = (char *)(uintptr_t)leader->name;
    reply->commit_index = replicated_log_commit_index(core->log);
    reply->lease = replicated_log_may_read(core->log) && replicated_log_lease_holds(core->log);
    reply->members = core_member_messages(core, &request->arena, &reply->n_members);
}

static void add_region_metrics(struct core *core, struct report *report)
{
    struct raft_statistics raft = replicated_log_raft_statistics(core->log);
    metric(report, "elections_count", raft.elections_count);
    metric(report, "elections_won_count", raft.won_count);
    metric(report, "stepped_down_count", raft.stepped_down_count);
    metric(report, "commits_dropped_count", core->commits_dropped_count);
    metric(report, "reads_confirmed_count", core->reads_confirmed_count);
    metric(report, "reads_stale_count", core->reads_stale_count);
    metric(report, "digests_differ_count", core->digests_differ_count);
    metric(report, "rebuilding", core_is_healing(core) ? 1 : 0);
    metric(report, "rebuilds_count", core->heal.rebuilt_count);
    metric(report, "scrubs_count", core->scrub.count);
    metric(report, "scrub_version", core->scrub.version);
    if (core->scrub.digests != NULL)
        metric(report, "scrub_agreed_version", digests_agreed_version(core->scrub.digests));
    if (core->digests != NULL)
        metric(report, "digests_agreed_version", digests_agreed_version(core->digests));
}

static void status(struct core *core, struct request *request)
{
    struct state_facts facts = state_facts(core->state);
    struct report *report = arena_alloc_zeroed(&request->arena, 1, sizeof *report);

    if (report == NULL) {
        core_refuse(core, request, STATUS_NO_MEMORY, 0, "No memory for the status.");
        return;
    }
    strait__status_reply__init(&report->reply);
    report->reply.metrics = report->metric_pointers;
    report->reply.alarms = report->alarm_pointers;
    report->reply.latencies = report->latency_pointers;
    report->reply.server_version = (char *)(uintptr_t)STRAIT_VERSION_TEXT;
    report->reply.cluster_id =
        field_of_bytes(bytes_of(keyring_cluster_id(core->options.keyring), seal_id_size));
    report->reply.role = (char *)(uintptr_t)core_role_text(core);
    add_region(core, request, report);
    report->reply.position = state_position_message(&facts.position, &request->arena);
    store_u64(report->chain, facts.chain_digest.low);
    store_u64(report->chain + 8, facts.chain_digest.high);
    report->reply.chain_digest = field_of_bytes(bytes_of(report->chain, sizeof report->chain));
    report->reply.cluster_version = facts.cluster_version;
    report->reply.cluster_version_max = state_cluster_version_max(core->state);
    report->reply.log_index = facts.applied_index;
    report->reply.log_term = replicated_log_term(core->log);
    report->reply.uptime_ms = (io_boot_ns(core->options.io) - core->started_ns) / NS_PER_MS;
    report->reply.encrypted = keyring_is_encrypted(core->options.keyring);
    report->reply.writable = core_leads(core) && !core_is_healing(core) && !core->disk_low &&
                             lsm_pressure(core->lsm) < 100;
    add_alarms(core, report);
    add_core_metrics(core, report);
    add_region_metrics(core, report);
    add_storage_metrics(core, report);
    add_regions(core, request, report);
    latency(report, "commit", &core->commits_ns);
    latency(report, "read", &core->reads_ns);
    latency(report, "wal_flush", replicated_log_flushes_ns(core->log));
    core_reply(core, request, &report->reply.base);
}

static void check(struct core *core, struct request *request)
{
    Strait__CheckReply reply = STRAIT__CHECK_REPLY__INIT;
    struct core_check *check = &core->check;
    const Strait__Check *asked = REQUEST_MESSAGE(request, Check);
    bool running = check->lsm_running || check->rest_running;

    if (asked->scrub && (!core_leads(core) || core_is_healing(core))) {
        core_refuse_not_leader(core, request, NULL);
        return;
    }
    if (asked->start && asked->scrub)
        core_scrub_want(core);
    if (asked->start && !asked->scrub && !running) {
        enum status started = core_check_start(core);
        if (started != STATUS_OK) {
            core_refuse(core, request, started, 0, "The check could not be started: %s.",
                        status_text(started));
            return;
        }
        running = true;
    }
    struct lsm_check_progress progress = lsm_check_progress(core->lsm);
    size_t listed =
        check->findings_count < core_findings_max ? check->findings_count : core_findings_max;
    Strait__CheckReply__Finding **pointers =
        arena_alloc_zeroed(&request->arena, listed, sizeof(Strait__CheckReply__Finding *));
    Strait__CheckReply__Finding *findings =
        arena_alloc_zeroed(&request->arena, listed, sizeof *findings);
    if (asked->scrub)
        reply.scrub = core_scrub_message(core, &request->arena);
    if (pointers == NULL || findings == NULL || (asked->scrub && reply.scrub == NULL)) {
        core_refuse(core, request, STATUS_NO_MEMORY, 0, "No memory for the check's reply.");
        return;
    }
    for (size_t i = 0; i < listed; i++) {
        strait__check_reply__finding__init(&findings[i]);
        findings[i].file = check->findings[i].file;
        findings[i].offset = check->findings[i].offset;
        findings[i].text = check->findings[i].text;
        pointers[i] = &findings[i];
    }
    reply.running = running;
    reply.checked_size_bytes = progress.checked_size;
    reply.total_size_bytes = progress.total_size;
    if (!check->rest_running) {
        reply.checked_size_bytes += check->rest_checked_size;
        reply.total_size_bytes += check->rest_checked_size;
    }
    reply.files_count = progress.files_count;
    reply.findings = pointers;
    reply.n_findings = listed;
    reply.findings_count = check->findings_count;
    core_reply(core, request, &reply.base);
}

static void txn_list(struct core *core, struct request *request)
{
    Strait__TxnListReply reply = STRAIT__TXN_LIST_REPLY__INIT;
    uint64_t now = io_boot_ns(core->options.io);
    size_t count = core->snapshots.count;
    struct arena *arena = &request->arena;
    Strait__TxnListReply__Item **pointers =
        arena_alloc_zeroed(arena, count, sizeof(Strait__TxnListReply__Item *));
    Strait__TxnListReply__Item *items = arena_alloc_zeroed(arena, count, sizeof *items);

    if (pointers == NULL || items == NULL) {
        core_refuse(core, request, STATUS_NO_MEMORY, 0, "No memory to list %zu snapshots.", count);
        return;
    }
    LIST_EACH(link, &core->snapshots.open)
    {
        struct snapshot *snapshot = LIST_ENTRY(link, struct snapshot, link);
        Strait__TxnListReply__Item *item = &items[reply.n_items];
        strait__txn_list_reply__item__init(item);
        item->snapshot_id = snapshot->id;
        item->identity = snapshot->identity;
        item->client = snapshot->client;
        item->version = snapshot->version;
        item->age_ms = (now - snapshot->opened_ns) / NS_PER_MS;
        item->expires_in_ms =
            snapshot->deadline_ns > now ? (snapshot->deadline_ns - now) / NS_PER_MS : 0;
        pointers[reply.n_items++] = item;
    }
    reply.items = pointers;
    reply.horizon = state_facts(core->state).horizon;
    core_reply(core, request, &reply.base);
}

static void txn_cancel(struct core *core, struct request *request)
{
    Strait__TxnCancelReply reply = STRAIT__TXN_CANCEL_REPLY__INIT;
    uint64_t id = REQUEST_MESSAGE(request, TxnCancel)->snapshot_id;
    struct snapshot *snapshot = snapshots_find(&core->snapshots, id, NULL);

    if (snapshot == NULL) {
        core_refuse(core, request, STATUS_NO_SNAPSHOT, 0,
                    "No snapshot %" PRIu64 " is open: `strait txn list` shows those that are.", id);
        return;
    }
    log_info("snapshot_cancelled", LOG_U64("snapshot", id), LOG_TEXT("of", snapshot->identity),
             LOG_TEXT("by", request->session->identity));
    snapshots_close(&core->snapshots, snapshot);
    core_reply(core, request, &reply.base);
}

void core_admin(struct core *core, struct request *request)
{
    switch (request->type) {
    case FRAME_STATUS:
        status(core, request);
        break;
    case FRAME_CHECK:
        check(core, request);
        break;
    case FRAME_TXN_LIST:
        txn_list(core, request);
        break;
    case FRAME_TXN_CANCEL:
        txn_cancel(core, request);
        break;
    default:
        UNREACHABLE();
    }
}
