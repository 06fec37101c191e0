/* SPDX-License-Identifier: Apache-2.0 */
#include "server/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

static Strait__StatusReply status;
static Strait__StatusReply__Metric metrics[5];
static Strait__StatusReply__Metric *metric_pointers[5];
static Strait__Member member;
static Strait__Member *member_pointers[1] = {&member};

static void setup(void)
{
    static const struct {
        const char *name;
        uint64_t value;
    } wanted[] = {{"commits_count", 12},
                  {"process_cpu_us", 1500000},
                  {"write_pressure_percent", 25},
                  {"requests_open_count", 3},
                  {"wal_written_bytes", 4096}};
    strait__status_reply__init(&status);
    for (size_t i = 0; i < 5; i++) {
        strait__status_reply__metric__init(&metrics[i]);
        metrics[i].name = (char *)(uintptr_t)wanted[i].name;
        metrics[i].value = wanted[i].value;
        metric_pointers[i] = &metrics[i];
    }
    strait__member__init(&member);
    member.name = (char *)"n2";
    member.lag_entries = 7;
    member.connected = true;
    member.cluster_version_max = 3;
    status.metrics = metric_pointers;
    status.n_metrics = 5;
    status.members = member_pointers;
    status.n_members = 1;
    status.member = (char *)"n1";
    status.role = (char *)"leader";
    status.leader = (char *)"n1";
    status.writable = true;
    status.log_index = 100;
    status.commit_index = 100;
    status.cluster_version = 2;
    status.cluster_version_max = 4;
}

static void expect_line(const char *text, const char *line)
{
    const char *found = strstr(text, line);
    ck_assert_msg(found != NULL && (found == text || found[-1] == '\n'), "no line %s in\n%s", line,
                  text);
}

START_TEST(test_units_and_types_are_prometheus_own)
{
    size_t size;
    char *text = metrics_text(&status, &size);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(strlen(text), size);
    expect_line(text, "# TYPE strait_commits_total counter\n");
    expect_line(text, "strait_commits_total{member=\"n1\"} 12\n");
    expect_line(text, "strait_process_cpu_seconds_total{member=\"n1\"} 1.5\n");
    expect_line(text, "strait_write_pressure_ratio{member=\"n1\"} 0.25\n");
    expect_line(text, "# TYPE strait_requests_open gauge\n");
    expect_line(text, "strait_requests_open{member=\"n1\"} 3\n");
    expect_line(text, "strait_wal_written_bytes_total{member=\"n1\"} 4096\n");
    expect_line(text, "strait_leader{member=\"n1\"} 1\n");
    expect_line(text, "strait_member_lag_entries{member=\"n1\",of=\"n2\"} 7\n");
    expect_line(text, "strait_cluster_version{member=\"n1\"} 2\n");
    expect_line(text, "strait_cluster_version_max{member=\"n1\"} 4\n");
    expect_line(text, "strait_member_cluster_version_max{member=\"n1\",of=\"n2\"} 3\n");
    expect_line(text, "strait_member_connected{member=\"n1\",of=\"n2\"} 1\n");
    ck_assert_int_eq(text[size - 1], '\n');
    free(text);
}
END_TEST

START_TEST(test_histograms_are_prometheus_own)
{
    static const uint64_t wanted_buckets[3][2] = {{50000, 1}, {1000000, 5}, {2500000000, 6}};
    Strait__StatusReply__Latency__Bucket buckets[3];
    Strait__StatusReply__Latency__Bucket *bucket_pointers[3];
    Strait__StatusReply__Latency latency = STRAIT__STATUS_REPLY__LATENCY__INIT;
    Strait__StatusReply__Latency *latencies[] = {&latency};
    size_t size;

    latency.name = (char *)"commit";
    latency.count = 7;
    latency.sum_ns = 4500000000;
    for (size_t i = 0; i < 3; i++) {
        strait__status_reply__latency__bucket__init(&buckets[i]);
        buckets[i].bound_ns = wanted_buckets[i][0];
        buckets[i].count = wanted_buckets[i][1];
        bucket_pointers[i] = &buckets[i];
    }
    latency.buckets = bucket_pointers;
    latency.n_buckets = 3;
    status.latencies = latencies;
    status.n_latencies = 1;
    char *text = metrics_text(&status, &size);
    ck_assert_ptr_nonnull(text);
    const char *found = strstr(text, "# TYPE strait_commit_duration_seconds histogram\n");
    ck_assert_ptr_nonnull(found);
    static const char wanted[] =
        "# TYPE strait_commit_duration_seconds histogram\n"
        "strait_commit_duration_seconds_bucket{member=\"n1\",le=\"5e-05\"} 1\n"
        "strait_commit_duration_seconds_bucket{member=\"n1\",le=\"0.001\"} 5\n"
        "strait_commit_duration_seconds_bucket{member=\"n1\",le=\"2.5\"} 6\n"
        "strait_commit_duration_seconds_bucket{member=\"n1\",le=\"+Inf\"} 7\n"
        "strait_commit_duration_seconds_sum{member=\"n1\"} 4.5\n"
        "strait_commit_duration_seconds_count{member=\"n1\"} 7\n";
    ck_assert_msg(strncmp(found, wanted, sizeof wanted - 1) == 0, "%s", found);
    free(text);
}
END_TEST

/* Those that were heard: nothing is said of another, which 0 would be. */
START_TEST(test_each_standby_has_its_lag)
{
    Strait__Region regions[] = {STRAIT__REGION__INIT, STRAIT__REGION__INIT, STRAIT__REGION__INIT};
    Strait__Region *pointers[] = {&regions[0], &regions[1], &regions[2]};
    size_t size;

    regions[0].name = (char *)"singapore";
    regions[1].name = (char *)"sydney";
    regions[1].heard = true;
    regions[1].lag_versions = 12;
    regions[1].lag_bytes = 4096;
    regions[1].lag_ms = 1500;
    regions[1].heard_ago_ms = 250;
    regions[1].ready = true;
    regions[2].name = (char *)"perth";
    status.regions = pointers;
    status.n_regions = 3;
    char *text = metrics_text(&status, &size);
    ck_assert_ptr_nonnull(text);
    expect_line(text, "# TYPE strait_standby_lag_versions gauge\n"
                      "strait_standby_lag_versions{member=\"n1\",of=\"sydney\"} 12\n");
    expect_line(text, "strait_standby_lag_bytes{member=\"n1\",of=\"sydney\"} 4096\n");
    expect_line(text, "strait_standby_lag_seconds{member=\"n1\",of=\"sydney\"} 1.5\n");
    expect_line(text, "strait_standby_heard_ago_seconds{member=\"n1\",of=\"sydney\"} 0.25\n");
    expect_line(text, "strait_standby_ready{member=\"n1\",of=\"sydney\"} 1\n");
    ck_assert_ptr_null(strstr(text, "perth"));
    ck_assert_ptr_null(strstr(text, "singapore"));
    free(text);
}
END_TEST

START_TEST(test_a_leader_is_ready_while_it_takes_writes)
{
    ck_assert_ptr_null(metrics_unready(&status, NULL, NULL));
    ck_assert_ptr_null(metrics_unready(&status, "leader", NULL));
    ck_assert_ptr_null(metrics_unready(&status, "any", "0"));
    ck_assert_ptr_nonnull(metrics_unready(&status, "follower", NULL));
    ck_assert_ptr_nonnull(metrics_unready(&status, "boss", NULL));
    status.writable = false;
    ck_assert_ptr_nonnull(metrics_unready(&status, "leader", NULL));
    ck_assert_ptr_null(metrics_unready(&status, "any", NULL));
}
END_TEST

START_TEST(test_a_follower_is_ready_within_its_lag)
{
    status.role = (char *)"follower";
    status.log_index = 90;
    ck_assert_ptr_null(metrics_unready(&status, "follower", NULL));
    ck_assert_ptr_null(metrics_unready(&status, "follower", "10"));
    ck_assert_ptr_nonnull(metrics_unready(&status, "follower", "9"));
    ck_assert_ptr_nonnull(metrics_unready(&status, "follower", "-1"));
    ck_assert_ptr_nonnull(metrics_unready(&status, "follower", "many"));
    ck_assert_ptr_nonnull(metrics_unready(&status, "leader", NULL));
    status.leader = (char *)"";
    ck_assert_ptr_nonnull(metrics_unready(&status, "follower", NULL));
    status.role = (char *)"mending";
    ck_assert_ptr_nonnull(metrics_unready(&status, NULL, NULL));
}
END_TEST

/* No arguments are looked at for these paths. */
static unsigned answer_code(struct metrics *published, const char *path, uint64_t boot_ns)
{
    struct http_reply reply = {.code = 404};
    const struct http_query query = {.path = path};
    metrics_answer(published, boot_ns, &query, &reply);
    free(reply.text);
    return reply.code;
}

START_TEST(test_a_core_that_does_not_turn_is_not_live)
{
    const uint64_t second_ns = 1000000000;
    struct metrics *published = metrics_open();
    size_t size = strait__status_reply__get_packed_size(&status);
    uint8_t *packed = malloc(size);
    ck_assert_ptr_nonnull(published);
    ck_assert_ptr_nonnull(packed);
    strait__status_reply__pack(&status, packed);

    ck_assert_uint_eq(answer_code(published, "/livez", second_ns), 503);
    ck_assert_uint_eq(answer_code(published, "/metrics", second_ns), 503);
    metrics_publish(published, bytes_of(packed, size), 10 * second_ns);
    ck_assert_uint_eq(answer_code(published, "/livez", 11 * second_ns), 200);
    ck_assert_uint_eq(answer_code(published, "/metrics", 11 * second_ns), 200);
    ck_assert_uint_eq(answer_code(published, "/livez", 16 * second_ns), 503);
    metrics_publish(published, bytes_of(packed, size), 16 * second_ns);
    ck_assert_uint_eq(answer_code(published, "/livez", 16 * second_ns), 200);
    ck_assert_uint_eq(answer_code(published, "/elsewhere", 16 * second_ns), 404);
    free(packed);
    metrics_close(published);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, test_units_and_types_are_prometheus_own);
    tcase_add_test(tests, test_histograms_are_prometheus_own);
    tcase_add_test(tests, test_each_standby_has_its_lag);
    tcase_add_test(tests, test_a_leader_is_ready_while_it_takes_writes);
    tcase_add_test(tests, test_a_follower_is_ready_within_its_lag);
    tcase_add_test(tests, test_a_core_that_does_not_turn_is_not_live);
}
