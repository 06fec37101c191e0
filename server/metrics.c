/* SPDX-License-Identifier: Apache-2.0 */
#include "server/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"
#include "proto/number.h"

enum { name_size_max = 160 };

#define NS_PER_MS 1000000ULL

struct metrics {
    pthread_mutex_t lock;
    uint8_t *packed; /* under the lock: the status as last published */
    size_t packed_size;
    uint64_t published_ns;
};

struct metrics *metrics_open(void)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics != NULL && pthread_mutex_init(&metrics->lock, NULL) != 0) {
        free(metrics);
        return NULL;
    }
    return metrics;
}

void metrics_close(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    pthread_mutex_destroy(&metrics->lock);
    free(metrics->packed);
    free(metrics);
}

static void lock(struct metrics *metrics)
{
    int failed = pthread_mutex_lock(&metrics->lock);
    ASSERT(failed == 0);
}

static void unlock(struct metrics *metrics)
{
    int failed = pthread_mutex_unlock(&metrics->lock);
    ASSERT(failed == 0);
}

void metrics_publish(struct metrics *metrics, struct bytes status, uint64_t boot_ns)
{
    uint8_t *packed = malloc(status.size == 0 ? 1 : status.size);
    if (packed == NULL)
        return;
    if (status.size != 0)
        memcpy(packed, status.data, status.size);
    lock(metrics);
    uint8_t *before = metrics->packed;
    metrics->packed = packed;
    metrics->packed_size = status.size;
    metrics->published_ns = boot_ns;
    unlock(metrics);
    free(before);
}

/* A copy of the last status; NULL where there is none yet, or no memory. */
static Strait__StatusReply *newest(struct metrics *metrics, uint64_t *published_ns)
{
    Strait__StatusReply *status = NULL;
    lock(metrics);
    *published_ns = metrics->published_ns;
    if (metrics->packed != NULL)
        status = strait__status_reply__unpack(NULL, metrics->packed_size, metrics->packed);
    unlock(metrics);
    return status;
}

/* ---- Prometheus's text ---- */

/* Text that grows; after a failure it stays NULL, and what is added is dropped. */
struct text {
    FILE *stream;
    const char *member;
};

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name);
    size_t end_size = strlen(end);
    return size >= end_size && strcmp(name + size - end_size, end) == 0;
}

static bool is_gauge_count(const char *name)
{
    /* What there is now, as against what has happened so far. */
    static const char *const gauges[] = {
        "requests_open_count",  "snapshots_count",     "tables_count",
        "outcomes_count",       "wal_segments_count",  "memtables_sealed_count",
        "sorted_tables_count",  "level0_tables_count", "workers_busy_count",
        "connections_count",    "inflight_count",      "members_count",
        "remote_waiting_count",
    };
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++) {
        if (strcmp(name, gauges[i]) == 0)
            return true;
    }
    return false;
}

static bool is_counted_bytes(const char *name)
{
    static const char *const counters[] = {"wal_written_bytes", "wal_payload_bytes",
                                           "flushed_bytes", "compacted_bytes"};
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        if (strcmp(name, counters[i]) == 0)
            return true;
    }
    return false;
}

static void line(struct text *text, const char *name, const char *type, double value)
{
    fprintf(text->stream, "# TYPE strait_%s %s\nstrait_%s{member=\"%s\"} %.17g\n", name, type, name,
            text->member, value);
}

/* Our names put the unit last and count in what is measured; Prometheus wants base units, and
 * counters that end in _total. */
static void metric(struct text *text, const Strait__StatusReply__Metric *metric)
{
    char name[name_size_max];
    const char *ours = metric->name;
    size_t size = strlen(ours);
    double value = (double)metric->value;
    const char *type = "gauge";

    if (size + sizeof "_seconds_total" > sizeof name)
        return;
    if (ends_with(ours, "_us")) {
        snprintf(name, sizeof name, "%.*s_seconds_total", (int)(size - 3), ours);
        value /= 1e6;
        type = "counter";
    } else if (ends_with(ours, "_ms")) {
        snprintf(name, sizeof name, "%.*s_seconds", (int)(size - 3), ours);
        value /= 1e3;
    } else if (ends_with(ours, "_percent")) {
        snprintf(name, sizeof name, "%.*s_ratio", (int)(size - 8), ours);
        value /= 100;
    } else if (ends_with(ours, "_count") && !is_gauge_count(ours)) {
        snprintf(name, sizeof name, "%.*s_total", (int)(size - 6), ours);
        type = "counter";
    } else if (ends_with(ours, "_count")) {
        snprintf(name, sizeof name, "%.*s", (int)(size - 6), ours);
    } else if (is_counted_bytes(ours)) {
        snprintf(name, sizeof name, "%s_total", ours);
        type = "counter";
    } else {
        snprintf(name, sizeof name, "%s", ours);
    }
    line(text, name, type, value);
}

/* One of Prometheus's histograms: its buckets hold what the ones before them do. */
static void latency(struct text *text, const Strait__StatusReply__Latency *latency)
{
    const char *name = latency->name;

    fprintf(text->stream, "# TYPE strait_%s_duration_seconds histogram\n", name);
    for (size_t i = 0; i < latency->n_buckets; i++)
        fprintf(text->stream,
                "strait_%s_duration_seconds_bucket{member=\"%s\",le=\"%g\"} %" PRIu64 "\n", name,
                text->member, (double)latency->buckets[i]->bound_ns / 1e9,
                latency->buckets[i]->count);
    fprintf(text->stream,
            "strait_%s_duration_seconds_bucket{member=\"%s\",le=\"+Inf\"} %" PRIu64 "\n"
            "strait_%s_duration_seconds_sum{member=\"%s\"} %.17g\n"
            "strait_%s_duration_seconds_count{member=\"%s\"} %" PRIu64 "\n",
            name, text->member, latency->count, name, text->member, (double)latency->sum_ns / 1e9,
            name, text->member, latency->count);
}

/* How far a standby is, as the primary's leader knows it. */
enum standby_measure {
    STANDBY_LAG_VERSIONS,
    STANDBY_LAG_BYTES,
    STANDBY_LAG_SECONDS,
    STANDBY_HEARD_SECONDS,
    STANDBY_READY,
    STANDBY_MEASURES_COUNT,
};

static double standby_value(const Strait__Region *region, enum standby_measure measure)
{
    switch (measure) {
    case STANDBY_LAG_VERSIONS:
        return (double)region->lag_versions;
    case STANDBY_LAG_BYTES:
        return (double)region->lag_bytes;
    case STANDBY_LAG_SECONDS:
        return (double)region->lag_ms / 1e3;
    case STANDBY_HEARD_SECONDS:
        return (double)region->heard_ago_ms / 1e3;
    case STANDBY_READY:
        return region->ready;
    case STANDBY_MEASURES_COUNT:
        break;
    }
    UNREACHABLE();
}

static void standbys(struct text *text, const Strait__StatusReply *status)
{
    static const char *const names[STANDBY_MEASURES_COUNT] = {
        [STANDBY_LAG_VERSIONS] = "standby_lag_versions",
        [STANDBY_LAG_BYTES] = "standby_lag_bytes",
        [STANDBY_LAG_SECONDS] = "standby_lag_seconds",
        [STANDBY_HEARD_SECONDS] = "standby_heard_ago_seconds",
        [STANDBY_READY] = "standby_ready",
    };
    for (unsigned m = 0; m < STANDBY_MEASURES_COUNT; m++) {
        bool is_first = true;
        for (size_t i = 0; i < status->n_regions; i++) {
            const Strait__Region *region = status->regions[i];
            if (!region->heard)
                continue;
            if (is_first)
                fprintf(text->stream, "# TYPE strait_%s gauge\n", names[m]);
            is_first = false;
            fprintf(text->stream, "strait_%s{member=\"%s\",of=\"%s\"} %.17g\n", names[m],
                    status->member, region->name, standby_value(region, (enum standby_measure)m));
        }
    }
}

char *metrics_text(const Strait__StatusReply *status, size_t *size)
{
    char *bytes = NULL;
    struct text text = {.member = status->member};

    *size = 0;
    text.stream = open_memstream(&bytes, size);
    if (text.stream == NULL)
        return NULL;
    fprintf(text.stream,
            "# TYPE strait_build_info gauge\nstrait_build_info{member=\"%s\",version=\"%s\"} 1\n",
            status->member, status->server_version);
    line(&text, "leader", "gauge", strcmp(status->role, "leader") == 0);
    line(&text, "writable", "gauge", status->writable);
    line(&text, "alarms", "gauge", (double)status->n_alarms);
    line(&text, "uptime_seconds", "gauge", (double)status->uptime_ms / 1e3);
    line(&text, "log_term", "gauge", (double)status->log_term);
    line(&text, "log_applied_index", "gauge", (double)status->log_index);
    line(&text, "log_commit_index", "gauge", (double)status->commit_index);
    line(&text, "cluster_version", "gauge", (double)status->cluster_version);
    line(&text, "cluster_version_max", "gauge", (double)status->cluster_version_max);
    if (status->position != NULL)
        line(&text, "version", "gauge", (double)status->position->version);
    for (size_t i = 0; i < status->n_metrics; i++)
        metric(&text, status->metrics[i]);
    for (size_t i = 0; i < status->n_latencies; i++)
        latency(&text, status->latencies[i]);
    if (status->n_members != 0)
        fprintf(text.stream, "# TYPE strait_member_cluster_version_max gauge\n");
    for (size_t i = 0; i < status->n_members; i++)
        fprintf(text.stream, "strait_member_cluster_version_max{member=\"%s\",of=\"%s\"} %u\n",
                status->member, status->members[i]->name, status->members[i]->cluster_version_max);
    if (status->n_members != 0)
        fprintf(text.stream, "# TYPE strait_member_lag_entries gauge\n");
    for (size_t i = 0; i < status->n_members; i++)
        fprintf(text.stream, "strait_member_lag_entries{member=\"%s\",of=\"%s\"} %" PRIu64 "\n",
                status->member, status->members[i]->name, status->members[i]->lag_entries);
    if (status->n_members != 0)
        fprintf(text.stream, "# TYPE strait_member_connected gauge\n");
    for (size_t i = 0; i < status->n_members; i++)
        fprintf(text.stream, "strait_member_connected{member=\"%s\",of=\"%s\"} %d\n",
                status->member, status->members[i]->name, status->members[i]->connected);
    standbys(&text, status);
    if (fclose(text.stream) != 0) {
        free(bytes);
        *size = 0;
        return NULL;
    }
    return bytes;
}

/* ---- Yes or no ---- */

const char *metrics_unready(const Strait__StatusReply *status, const char *role, const char *lag)
{
    bool leads = strcmp(status->role, "leader") == 0;
    int64_t lag_max;

    if (!leads && strcmp(status->role, "follower") != 0)
        return "this server neither leads nor follows now";
    if (role != NULL && strcmp(role, "leader") == 0) {
        if (!leads)
            return "this server does not lead";
        if (!status->writable)
            return "this server leads, and takes no writes now";
    } else if (role != NULL && strcmp(role, "follower") == 0) {
        if (leads)
            return "this server leads";
    } else if (role != NULL && strcmp(role, "any") != 0) {
        return "role is leader, follower or any";
    }
    if (!leads && status->leader[0] == 0)
        return "no leader is known";
    if (lag != NULL) {
        if (number_parse(bytes_of_text(lag), &lag_max) != STATUS_OK || lag_max < 0)
            return "lag is a number of entries";
        if (status->commit_index > status->log_index &&
            status->commit_index - status->log_index > (uint64_t)lag_max)
            return "this server lags behind";
    }
    return NULL;
}

static void answer_text(struct http_reply *reply, unsigned code, const char *sentence)
{
    reply->code = code;
    if (asprintf(&reply->text, "%s\n", sentence) < 0)
        reply->text = NULL;
    reply->size = reply->text == NULL ? 0 : strlen(reply->text);
}

void metrics_answer(struct metrics *metrics, uint64_t boot_ns, const struct http_query *query,
                    struct http_reply *reply)
{
    uint64_t published_ns;
    bool is_metrics = strcmp(query->path, "/metrics") == 0;
    bool is_ready = strcmp(query->path, "/readyz") == 0;
    bool is_live = strcmp(query->path, "/livez") == 0;

    if (!is_metrics && !is_ready && !is_live) {
        answer_text(reply, 404, "There are /metrics, /livez and /readyz.");
        return;
    }
    Strait__StatusReply *status = newest(metrics, &published_ns);
    bool live = status != NULL &&
                (boot_ns < published_ns || boot_ns - published_ns <= metrics_live_ms * NS_PER_MS);
    if (!live) {
        answer_text(reply, 503, "the server's core does not turn");
    } else if (is_metrics) {
        reply->text = metrics_text(status, &reply->size);
        reply->code = reply->text == NULL ? 503 : 200;
        reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    } else if (is_live) {
        answer_text(reply, 200, "live");
    } else {
        const char *why =
            metrics_unready(status, http_argument(query, "role"), http_argument(query, "lag"));
        answer_text(reply, why == NULL ? 200 : 503, why == NULL ? "ready" : why);
    }
    if (status != NULL)
        strait__status_reply__free_unpacked(status, NULL);
}
