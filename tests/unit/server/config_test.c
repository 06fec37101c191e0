/* SPDX-License-Identifier: Apache-2.0 */
#include "server/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replication/region/lease.h"
#include "tests/unit/unit.h"

/* Line by line, so that a test can name the line that it spoils. */
static const char *const good[] = {
    "# a comment",                                  /* 1 */
    "data: /var/lib/strait",                        /* 2 */
    "listen: \"[::1]:7411\"",                       /* 3 */
    "tls:",                                         /* 4 */
    "  certificate: server.crt",                    /* 5 */
    "  key: server.key",                            /* 6 */
    "  ca: ca.crt",                                 /* 7 */
    "encryption:",                                  /* 8 */
    "  master_key_file: master.key",                /* 9 */
    "access:",                                      /* 10 */
    "  - identity: shop",                           /* 11 */
    "    role: writer",                             /* 12 */
    "  - {identity: dba@example.com, role: admin}", /* 13 */
    "memory:",                                      /* 14 */
    "  cache_size: 64MiB",                          /* 15 */
    "  memtable_size: 10 MB",                       /* 16 */
    "threads:",                                     /* 17 */
    "  net: 2",                                     /* 18 */
    "  workers: 3",                                 /* 19 */
    "limits:",                                      /* 20 */
    "  outcome_retention: 90m",                     /* 21 */
    "  outcomes_size: 1GiB",                        /* 22 */
    "  snapshot_age: 5s",                           /* 23 */
    "log:",                                         /* 24 */
    "  level: debug",                               /* 25 */
    "compression:",                                 /* 26 */
    "  off: true",                                  /* 27 */
    "scrub:",                                       /* 28 */
    "  period: 12h",                                /* 29 */
};

enum { lines_count = sizeof good / sizeof good[0] };

static struct config config;
static struct error error;

/* Parses the good text with `line` (from 1; 0: none) replaced by `instead` (NULL: left out). */
static enum status parse_with(unsigned line, const char *instead)
{
    static char text[8192];
    size_t used = 0;
    for (unsigned i = 1; i <= lines_count; i++) {
        const char *written = i == line ? instead : good[i - 1];
        if (written != NULL)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s\n", written);
    }
    error = (struct error){0};
    return config_parse(&config, "straitd.yaml", bytes_of(text, used), &error);
}

static void expect_error(unsigned line, const char *instead, const char *expected)
{
    ck_assert_int_eq(parse_with(line, instead), STATUS_INVALID_ARGUMENT);
    ck_assert_msg(strncmp(error.text, expected, strlen(expected)) == 0, "\"%s\" is not \"%s\"",
                  error.text, expected);
    config_free(&config);
}

START_TEST(test_all_keys)
{
    ck_assert_msg(parse_with(0, NULL) == STATUS_OK, "%s", error.text);
    ck_assert_str_eq(config.data, "/var/lib/strait");
    ck_assert_str_eq(config.listen_host, "::1");
    ck_assert_uint_eq(config.listen_port, 7411);
    ck_assert_str_eq(config.tls_certificate, "server.crt");
    ck_assert_str_eq(config.tls_key, "server.key");
    ck_assert_str_eq(config.tls_ca, "ca.crt");
    ck_assert_str_eq(config.master_key_file, "master.key");
    ck_assert_ptr_null(config.master_key_command);
    ck_assert(!config.encryption_off);
    ck_assert(config.compression_off);
    ck_assert_uint_eq(config.access_count, 2);
    ck_assert_str_eq(config.access[0].identity, "shop");
    ck_assert_int_eq(config.access[0].role, ROLE_WRITER);
    ck_assert_str_eq(config.access[1].identity, "dba@example.com");
    ck_assert_int_eq(config.access[1].role, ROLE_ADMIN);
    ck_assert_uint_eq(config.cache_size, 64 * 1024 * 1024);
    ck_assert_uint_eq(config.memtable_size, 10 * 1000 * 1000);
    ck_assert_uint_eq(config.net_threads, 2);
    ck_assert_uint_eq(config.worker_threads, 3);
    ck_assert_uint_eq(config.outcome_retention_ms, 90 * 60 * 1000);
    ck_assert_uint_eq(config.outcomes_size, 1024 * 1024 * 1024);
    ck_assert_uint_eq(config.snapshot_age_ms, 5000);
    ck_assert_uint_eq(config.scrub_period_ms, 12 * 3600 * 1000);
    ck_assert_int_eq(config.log_level, LOG_DEBUG);
    struct access *access = NULL;
    ck_assert_int_eq(config_open_access(&config, &access), STATUS_OK);
    ck_assert_int_eq(access_role(access, "shop"), ROLE_WRITER);
    ck_assert_int_eq(access_role(access, "sho"), ROLE_NONE);
    access_close(access);
    config_free(&config);
}
END_TEST

START_TEST(test_defaults)
{
    static const char least[] = "data: d\nlisten: 127.0.0.1:1\n"
                                "tls: {certificate: c, key: k, ca: a}\nencryption: {off: true}\n"
                                "access: [{identity: shop, role: reader}]\n";
    struct config initial;
    config_init(&initial);
    ck_assert_msg(config_parse(&config, "f", bytes_of_text(least), &error) == STATUS_OK, "%s",
                  error.text);
    ck_assert(config.encryption_off);
    ck_assert(!config.compression_off);
    ck_assert_uint_eq(config.cache_size, initial.cache_size);
    ck_assert_uint_eq(config.memtable_size, initial.memtable_size);
    ck_assert_uint_eq(config.net_threads, 0);
    ck_assert_uint_eq(config.worker_threads, 1);
    ck_assert_uint_eq(config.outcome_retention_ms, 3600 * 1000);
    ck_assert_uint_eq(config.snapshot_age_ms, limit_snapshot_age_ms);
    ck_assert_uint_eq(config.scrub_period_ms, 24 * 3600 * 1000);
    ck_assert_int_eq(config.log_level, LOG_INFO);
    config_free(&config);
    config_free(&initial);
}
END_TEST

START_TEST(test_unknown_keys)
{
    expect_error(1, "datta: x", "straitd.yaml:1: datta: unknown key; known here: data, listen, ");
    expect_error(6, "  kee: server.key", "straitd.yaml:6: tls.kee: unknown key");
    expect_error(15, "  cache_sise: 64MiB", "straitd.yaml:15: memory.cache_sise: unknown key");
    expect_error(12, "    rolle: writer", "straitd.yaml:12: access[0].rolle: unknown key");
    expect_error(27, "  on: true", "straitd.yaml:27: compression.on: unknown key");
}
END_TEST

START_TEST(test_missing_keys)
{
    expect_error(2, NULL, "straitd.yaml:2: data: missing key"); /* where the mapping begins */
    expect_error(3, NULL, "straitd.yaml:2: listen: missing key");
    expect_error(6, NULL, "straitd.yaml:4: tls.key: missing key");
    expect_error(12, NULL, "straitd.yaml:11: access[0].role: missing key");
    expect_error(13, "  - {role: admin}", "straitd.yaml:13: access[1].identity: missing key");
    expect_error(9, "  off: false", "straitd.yaml:8: encryption: needs exactly one of");
}
END_TEST

START_TEST(test_duplicate_keys)
{
    expect_error(1, "data: /elsewhere",
                 "straitd.yaml:2: data: duplicate key; it stands in line 1 already");
    expect_error(7, "  key: other.key",
                 "straitd.yaml:7: tls.key: duplicate key; it stands in line 6 already");
    expect_error(13, "  - {identity: a, role: admin, identity: b}",
                 "straitd.yaml:13: access[1].identity: duplicate key");
    expect_error(26, "log:", "straitd.yaml:26: log: duplicate key; it stands in line 24 already");
    expect_error(13, "  - {identity: shop, role: admin}",
                 "straitd.yaml:13: access[1].identity: \"shop\" is on the list already");
}
END_TEST

START_TEST(test_mistyped_values)
{
    expect_error(2, "data: [a, b]", "straitd.yaml:2: data: must be a single value, not a list");
    expect_error(2, "data:", "straitd.yaml:2: data: has no value");
    expect_error(17, "threads: 5\nmore:",
                 "straitd.yaml:17: threads: must be a mapping of keys, not a single value");
    expect_error(18, "  net: two", "straitd.yaml:18: threads.net: must be a whole number");
    expect_error(18, "  net: -1", "straitd.yaml:18: threads.net: must be a whole number");
    expect_error(18, "  net: 0x10", "straitd.yaml:18: threads.net: must be a whole number");
    expect_error(27, "  off: on", "straitd.yaml:27: compression.off: must be true or false");
    expect_error(27, "  off: maybe", "straitd.yaml:27: compression.off: must be true or false");
    expect_error(
        12, "    role: root",
        "straitd.yaml:12: access[0].role: must be one of reader, writer, admin, peer, not");
    expect_error(25, "  level: loud", "straitd.yaml:25: log.level: must be one of debug, info");
    expect_error(24, "log:\n# between\n\n  nothing:", "straitd.yaml:27: log.nothing: unknown key");
    expect_error(13, "  - shop",
                 "straitd.yaml:13: access[1]: must be a mapping of keys, not a single value");
}
END_TEST

START_TEST(test_values_out_of_bounds)
{
    expect_error(15, "  cache_size: lots",
                 "straitd.yaml:15: memory.cache_size: must be a size like 64MiB, not \"lots\"");
    expect_error(15, "  cache_size: 1kB", "straitd.yaml:15: memory.cache_size: must be between");
    expect_error(16, "  memtable_size: 99999999999999999999GiB",
                 "straitd.yaml:16: memory.memtable_size: must be a size");
    expect_error(18, "  net: 17", "straitd.yaml:18: threads.net: must be between 0 and 16");
    expect_error(19, "  workers: 0", "straitd.yaml:19: threads.workers: must be between 1 and 16");
    expect_error(21, "  outcome_retention: 90",
                 "straitd.yaml:21: limits.outcome_retention: must be a time like");
    expect_error(29, "  period: 10ms", "straitd.yaml:29: scrub.period: must be between");
    ck_assert_int_eq(parse_with(29, "  off: true"), STATUS_OK);
    ck_assert_uint_eq(config.scrub_period_ms, 0);
    config_free(&config);
    expect_error(23, "  snapshot_age: 2h", "straitd.yaml:23: limits.snapshot_age: must be between");
    expect_error(3, "listen: localhost:7411", "straitd.yaml:3: listen: must be a numeric address");
    expect_error(11, "  - identity: \"two words\"",
                 "straitd.yaml:11: access[0].identity: must be 1 to 64 printable");
    expect_error(9, "  master_key_file: m\n  off: true",
                 "straitd.yaml:8: encryption: needs exactly one of");
}
END_TEST

START_TEST(test_what_is_no_configuration)
{
    expect_error(5, "  certificate: \"server.crt", "straitd.yaml:");
    expect_error(5, "\tcertificate: server.crt", "straitd.yaml:5: ");
    expect_error(2, "data: &a /x", "straitd.yaml:2: anchors (&name) are not permitted");
    expect_error(3, "listen: *a", "straitd.yaml:3: aliases (*name) are not permitted");
    expect_error(24, "---", "straitd.yaml:24: a second document begins");
    expect_error(2, "data: [[[[[[[[[[x]]]]]]]]]]", "straitd.yaml:2: nested too deeply");
    ck_assert_int_eq(config_parse(&config, "f", bytes_of(NULL, 0), &error),
                     STATUS_INVALID_ARGUMENT);
    ck_assert_str_eq(error.text, "f:1: there is nothing in it.");
    ck_assert_int_eq(config_parse(&config, "f", bytes_of_text("just words"), &error),
                     STATUS_INVALID_ARGUMENT);
    ck_assert_str_eq(error.text, "f:1: must be a mapping of keys, not a single value.");
}
END_TEST

START_TEST(test_files)
{
    ck_assert_int_eq(config_load(&config, "/nowhere/straitd.yaml", &error), STATUS_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.text, "/nowhere/straitd.yaml"));
}
END_TEST

/* The sample is a valid file, and its values are the defaults that it speaks of. */
START_TEST(test_sample)
{
    const char *paths[] = {"../server/straitd.yaml.sample", "../../server/straitd.yaml.sample"};
    struct config initial;
    config_init(&initial);
    enum status status = STATUS_NOT_FOUND;
    for (size_t i = 0; i < 2 && status == STATUS_NOT_FOUND; i++)
        status = config_load(&config, paths[i], &error);
    ck_assert_msg(status == STATUS_OK, "%s", error.text);
    ck_assert_uint_eq(config.cache_size, initial.cache_size);
    ck_assert_uint_eq(config.memtable_size, initial.memtable_size);
    ck_assert_uint_eq(config.net_threads, initial.net_threads);
    ck_assert_uint_eq(config.worker_threads, initial.worker_threads);
    ck_assert_uint_eq(config.outcome_retention_ms, initial.outcome_retention_ms);
    ck_assert_uint_eq(config.outcomes_size, initial.outcomes_size);
    ck_assert_uint_eq(config.snapshot_age_ms, initial.snapshot_age_ms);
    ck_assert_int_eq(config.log_level, initial.log_level);
    ck_assert_uint_eq(config.access_count, 3);
    config_free(&config);
    config_free(&initial);
}
END_TEST

/* ---- The region ---- */

static enum status parse_region(const char *listen, const char *region)
{
    static char text[2048];
    int size = snprintf(text, sizeof text,
                        "data: d\nlisten: %s\ntls: {certificate: c, key: k, ca: a}\n"
                        "encryption: {off: true}\n"
                        "access: [{identity: n2, role: peer}, {identity: shop, role: reader}]\n"
                        "region:\n%s",
                        listen, region);
    error = (struct error){0};
    return config_parse(&config, "f", bytes_of(text, (size_t)size), &error);
}

START_TEST(test_a_region)
{
    static const uint8_t id[] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    ck_assert_msg(parse_region("127.0.0.1:7411",
                               "  name: n1\n  listen: \"[::]:7412\"\n  peers: 192.0.2.1:7000\n"
                               "  clients: db1.example.com:7001\n"
                               "  cluster_id: 00112233445566778899aabbccddeeff\n"
                               "  election_timeout: 2s\n  lease_off: true\n"
                               "  upgrade_held: true\n") == STATUS_OK,
                  "%s", error.text);
    ck_assert_str_eq(config.region.name, "n1");
    ck_assert_str_eq(config.region.listen_host, "::");
    ck_assert_uint_eq(config.region.listen_port, 7412);
    ck_assert_str_eq(config.region.peers, "192.0.2.1:7000");
    ck_assert_str_eq(config.region.clients, "db1.example.com:7001");
    ck_assert(config.region.has_cluster_id);
    ck_assert_mem_eq(config.region.cluster_id, id, sizeof id);
    ck_assert_uint_eq(config.region.election_timeout_ms, 2000);
    ck_assert(config.region.lease_off);
    ck_assert(config.region.upgrade_held);
    ck_assert(!config.bootstrap);
    ck_assert_int_eq(config.access[0].role, ROLE_PEER);
    config_free(&config);
    /* What is left out. */
    ck_assert_msg(parse_region("\"[::1]:7411\"", "  {name: n1, listen: 127.0.0.1:7412}\n") ==
                      STATUS_OK,
                  "%s", error.text);
    ck_assert_str_eq(config.region.peers, "127.0.0.1:7412");
    ck_assert_str_eq(config.region.clients, "[::1]:7411");
    ck_assert(!config.region.has_cluster_id);
    ck_assert_uint_eq(config.region.election_timeout_ms, 0);
    ck_assert(!config.region.lease_off);
    ck_assert(!config.region.upgrade_held);
    config_free(&config);
}
END_TEST

START_TEST(test_a_region_that_cannot_be)
{
    static const struct {
        const char *region;
        const char *expected;
    } cases[] = {
        {"  listen: 127.0.0.1:7412\n", "f:6: region.name: missing key"},
        {"  name: n1\n", "f:6: region.listen: missing key"},
        {"  name: n 1\n  listen: 127.0.0.1:7412\n", "f:7: region.name: must be 1 to 64"},
        {"  name: n1\n  listen: db1:7412\n", "f:8: region.listen: must be a numeric address"},
        {"  name: n1\n  listen: 127.0.0.1:7411\n", "f:8: region.listen: must be another port"},
        {"  name: n1\n  listen: 0.0.0.0:7412\n", "f:6: region: region.peers is needed"},
        {"  name: n1\n  listen: 127.0.0.1:7412\n  peers: db1:7412\n",
         "f:9: region.peers: must be the numeric"},
        {"  name: n1\n  listen: 127.0.0.1:7412\n  peers: 0.0.0.0:7412\n",
         "f:9: region.peers: must be the numeric"},
        {"  name: n1\n  listen: 127.0.0.1:7412\n  clients: db1\n",
         "f:9: region.clients: must be an address or a name"},
        {"  name: n1\n  listen: 127.0.0.1:7412\n  clients: \"a:b:1\"\n",
         "f:9: region.clients: must be an address or a name"},
        {"  name: n1\n  listen: 127.0.0.1:7412\n  clients: \"db1:70000\"\n",
         "f:9: region.clients: must be an address or a name"},
        {"  name: n1\n  listen: 127.0.0.1:7412\n  cluster_id: 0011\n",
         "f:9: region.cluster_id: must be 32 hexadecimal digits"},
        {"  name: n1\n  listen: 127.0.0.1:7412\n"
         "  cluster_id: 00112233445566778899AABBCCDDEEFF\n",
         "f:9: region.cluster_id: must be 32 hexadecimal digits"},
        {"  name: n1\n  listen: 127.0.0.1:7412\n  election_timeout: 49ms\n",
         "f:9: region.election_timeout: must be between 50 and 60000 ms"},
        {"  name: n1\n  listen: 127.0.0.1:7412\n  lease_off: maybe\n",
         "f:9: region.lease_off: must be"},
        {"  name: n1\n  listen: 127.0.0.1:7412\n  leese_off: true\n",
         "f:9: region.leese_off: unknown key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *expected = cases[i].expected;
        ck_assert_int_eq(parse_region("127.0.0.1:7411", cases[i].region), STATUS_INVALID_ARGUMENT);
        ck_assert_msg(strncmp(error.text, expected, strlen(expected)) == 0, "\"%s\" is not \"%s\"",
                      error.text, expected);
        ck_assert_ptr_null(config.region.name);
        config_free(&config);
    }
    ck_assert_int_eq(parse_region("0.0.0.0:7411", "  {name: n1, listen: 127.0.0.1:7412}\n"),
                     STATUS_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "region.clients is needed"));
    config_free(&config);
}
END_TEST

static const char member[] = "  name: n1\n  listen: 127.0.0.1:7412\n";

static enum status parse_member(const char *more)
{
    char region[2048];
    snprintf(region, sizeof region, "%s%s", member, more);
    return parse_region("127.0.0.1:7411", region);
}

START_TEST(test_a_region_among_others)
{
    ck_assert_msg(parse_member("  id: 2\n  region_name: sydney\n"
                               "  cluster_id: 00112233445566778899aabbccddeeff\n"
                               "  standby_of:\n    - db1.example.com:7411\n    - 192.0.2.1:7411\n"
                               "    - \"[2001:db8::1]:7411\"\n"
                               "shipping:\n  retained_size: 1GiB\n") == STATUS_OK,
                  "%s", error.text);
    ck_assert_uint_eq(config.region.id, 2);
    ck_assert_str_eq(config.region.region_name, "sydney");
    ck_assert_uint_eq(config.region.standby_of_count, 3);
    ck_assert_str_eq(config.region.standby_of[0], "db1.example.com:7411");
    ck_assert_str_eq(config.region.standby_of[1], "192.0.2.1:7411");
    ck_assert_str_eq(config.region.standby_of[2], "[2001:db8::1]:7411");
    ck_assert_uint_eq(config.shipping_retained_size, UINT64_C(1) << 30);
    config_free(&config);
    /* What is left out. */
    ck_assert_msg(parse_member("") == STATUS_OK, "%s", error.text);
    ck_assert_uint_eq(config.region.id, 1);
    ck_assert_str_eq(config.region.region_name, "region-1");
    ck_assert_uint_eq(config.region.standby_of_count, 0);
    ck_assert_uint_eq(config.shipping_retained_size, UINT64_C(8) << 30);
    config_free(&config);
    ck_assert_msg(parse_member("  id: 999999999\n") == STATUS_OK, "%s", error.text);
    ck_assert_uint_eq(config.region.id, 999999999);
    ck_assert_str_eq(config.region.region_name, "region-999999999");
    config_free(&config);
}
END_TEST

START_TEST(test_a_region_among_others_that_cannot_be)
{
    static const struct {
        const char *more;
        const char *expected;
    } cases[] = {
        {"  id: 0\n", "f:9: region.id: must be 1 or more"},
        {"  id: -1\n", "f:9: region.id: must be"},
        {"  id: 4294967296\n", "f:9: region.id: must be"},
        {"  region_name: Sydney\n", "f:9: region.region_name: must be 1 to 64"},
        {"  standby_of: [a.example.com:1]\n", "f:9: region.standby_of: needs region.id"},
        {"  id: 2\n  standby_of: [a.example.com:1]\n",
         "f:10: region.standby_of: needs region.cluster_id"},
        {"  id: 2\n  cluster_id: 00112233445566778899aabbccddeeff\n  standby_of: []\n",
         "f:11: region.standby_of: needs at least 1"},
        {"  id: 2\n  cluster_id: 00112233445566778899aabbccddeeff\n"
         "  standby_of: a.example.com:1\n",
         "f:11: region.standby_of: must be"},
        {"  id: 2\n  cluster_id: 00112233445566778899aabbccddeeff\n"
         "  standby_of:\n    - a.example.com:1\n    - a.example.com\n",
         "f:13: region.standby_of[1]: must be an address or a name"},
        {"  id: 2\n  cluster_id: 00112233445566778899aabbccddeeff\n"
         "  standby_of: [127.0.0.1:7411]\n",
         "f:11: region.standby_of[0]: is this server's own"},
        {"shipping:\n  retained_size: 1MiB\n", "f:10: shipping.retained_size: must be between"},
        {"shipping:\n  kept: 1GiB\n", "f:10: shipping.kept: unknown key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *expected = cases[i].expected;
        ck_assert_int_eq(parse_member(cases[i].more), STATUS_INVALID_ARGUMENT);
        ck_assert_msg(strncmp(error.text, expected, strlen(expected)) == 0, "\"%s\" is not \"%s\"",
                      error.text, expected);
        ck_assert_ptr_null(config.region.name);
        ck_assert_uint_eq(config.region.standby_of_count, 0);
        config_free(&config);
    }
}
END_TEST

/* ---- The witness ---- */

START_TEST(test_a_witness)
{
    ck_assert_msg(parse_member("\nwitness:\n  endpoints: [w.example.com:7411, 192.0.2.9:7411]\n"
                               "  lease: 3s\n  promote: automatic\n  lag_max: 30s\n") == STATUS_OK,
                  "%s", error.text);
    ck_assert_uint_eq(config.witness.endpoints_count, 2);
    ck_assert_str_eq(config.witness.endpoints[1], "192.0.2.9:7411");
    ck_assert_uint_eq(config.witness.lease_ms, 3000);
    ck_assert_uint_eq(config.witness.lag_max_ms, 30000);
    ck_assert(config.witness.automatic && !config.witness.is_self);
    config_free(&config);
    ck_assert_int_eq(parse_member("\nwitness:\n  endpoints: [192.0.2.9:7411]\n"), STATUS_OK);
    ck_assert_uint_eq(config.witness.lease_ms, lease_ms_default);
    ck_assert_uint_eq(config.witness.lag_max_ms, 10000);
    ck_assert(!config.witness.automatic);
    config_free(&config);
    ck_assert_int_eq(parse_member(""), STATUS_OK);
    ck_assert_uint_eq(config.witness.endpoints_count, 0);
    config_free(&config);
}
END_TEST

START_TEST(test_wrong_witnesses)
{
    static const struct {
        const char *more;
        const char *expected;
    } cases[] = {
        {"\nwitness:\n  lease: 3s\n", "witness: needs endpoints"},
        {"\nwitness:\n  endpoints: [nowhere]\n", "witness.endpoints[0]: must be an address"},
        {"\nwitness:\n  endpoints: [a:1]\n  lease: 499ms\n", "witness.lease: must be between"},
        {"\nwitness:\n  endpoints: [a:1]\n  lease: 61s\n", "witness.lease: must be between"},
        {"\nwitness:\n  endpoints: [a:1]\n  promote: perhaps\n", "witness.promote"},
        {"\n  lease_off: true\nwitness:\n  endpoints: [a:1]\n", "witness.endpoints: cannot be"},
        {"\nwitness:\n  cluster_id: 00112233445566778899aabbccddeeff\n",
         "witness.cluster_id: is of a server that is the witness itself"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_int_eq(parse_member(cases[i].more), STATUS_INVALID_ARGUMENT);
        ck_assert_msg(strstr(error.text, cases[i].expected) != NULL, "\"%s\" is not \"%s\"",
                      error.text, cases[i].expected);
        ck_assert_uint_eq(config.witness.endpoints_count, 0);
        config_free(&config);
    }
}
END_TEST

/* What the sample shows of a region, behind comment signs, is right too. */
START_TEST(test_the_samples_region)
{
    static char text[16384];
    FILE *file = fopen("../server/straitd.yaml.sample", "re");
    if (file == NULL)
        file = fopen("../../server/straitd.yaml.sample", "re");
    ck_assert_ptr_nonnull(file);
    char line[512];
    size_t used = 0;
    bool is_region = false;
    while (fgets(line, sizeof line, file) != NULL) {
        is_region = strcmp(line, "# region:\n") == 0 || (is_region && line[0] == '#');
        used += (size_t)snprintf(text + used, sizeof text - used, "%s", line + (is_region ? 2 : 0));
        ck_assert_uint_lt(used, sizeof text);
    }
    fclose(file);
    ck_assert_msg(config_parse(&config, "sample", bytes_of(text, used), &error) == STATUS_OK, "%s",
                  error.text);
    ck_assert_str_eq(config.region.name, "n1");
    ck_assert(config.region.has_cluster_id);
    ck_assert_uint_eq(config.region.id, 2);
    ck_assert_str_eq(config.region.region_name, "sydney");
    ck_assert_uint_eq(config.region.standby_of_count, 2);
    config_free(&config);
}
END_TEST

START_TEST(test_sizes_and_durations)
{
    uint64_t value = 0;
    ck_assert_int_eq(config_parse_size("0", &value), STATUS_OK);
    ck_assert_int_eq(config_parse_size("4096", &value), STATUS_OK);
    ck_assert_uint_eq(value, 4096);
    ck_assert_int_eq(config_parse_size("1 TiB", &value), STATUS_OK);
    ck_assert_uint_eq(value, UINT64_C(1) << 40);
    ck_assert_int_eq(config_parse_size("16777216TiB", &value), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(config_parse_size("", &value), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(config_parse_size("-1", &value), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(config_parse_size(" 1", &value), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(config_parse_size("1mib", &value), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(config_parse_size("1.5GiB", &value), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(config_parse_duration("250ms", &value), STATUS_OK);
    ck_assert_uint_eq(value, 250);
    ck_assert_int_eq(config_parse_duration("7d", &value), STATUS_OK);
    ck_assert_uint_eq(value, 7 * 86400 * UINT64_C(1000));
    ck_assert_int_eq(config_parse_duration("7", &value), STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(test_addresses)
{
    static const char *const wrong[] = {
        "",          "1.2.3.4", "1.2.3.4:",   "1.2.3.4:0", ":7411", "[::1]", "1.2.3.4:65536",
        "[::1:7411", "::1:741", "1.2.3.4:1x", "[]:1",      "]:1",   "[:1",   "example.com:1"};
    char host[config_host_size];
    uint16_t port = 0;
    ck_assert_int_eq(config_parse_address("1.2.3.4:65535", host, &port), STATUS_OK);
    ck_assert_str_eq(host, "1.2.3.4");
    ck_assert_uint_eq(port, 65535);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_msg(config_parse_address(wrong[i], host, &port) == STATUS_INVALID_ARGUMENT, "%s",
                      wrong[i]);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_all_keys);
    tcase_add_test(tests, test_defaults);
    tcase_add_test(tests, test_unknown_keys);
    tcase_add_test(tests, test_missing_keys);
    tcase_add_test(tests, test_duplicate_keys);
    tcase_add_test(tests, test_mistyped_values);
    tcase_add_test(tests, test_values_out_of_bounds);
    tcase_add_test(tests, test_what_is_no_configuration);
    tcase_add_test(tests, test_files);
    tcase_add_test(tests, test_sample);
    tcase_add_test(tests, test_a_region);
    tcase_add_test(tests, test_a_region_that_cannot_be);
    tcase_add_test(tests, test_a_region_among_others);
    tcase_add_test(tests, test_a_region_among_others_that_cannot_be);
    tcase_add_test(tests, test_a_witness);
    tcase_add_test(tests, test_wrong_witnesses);
    tcase_add_test(tests, test_the_samples_region);
    tcase_add_test(tests, test_sizes_and_durations);
    tcase_add_test(tests, test_addresses);
}
