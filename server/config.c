/* SPDX-License-Identifier: Apache-2.0 */
#include "server/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"
#include "proto/name.h"
#include "replication/region/lease.h"
#include "server/config_tree.h"

enum { path_length_max = 900, command_length_max = 4000, text_length_max = 64 };

static const uint64_t kib = 1024;
static const uint64_t mib = 1024 * 1024;
static const uint64_t gib = 1024 * 1024 * 1024;
static const uint64_t second_ms = 1000;

/* ---- The schema ---- */

struct raw_access {
    char *identity;
    enum role role;
};

struct raw_tls {
    char *certificate;
    char *key;
    char *ca;
};

struct raw_encryption {
    char *master_key_file;
    char *master_key_command;
    bool off;
};

struct raw_compression {
    bool off;
};

struct raw_region {
    char *name;
    char *listen;
    char *peers;
    char *clients;
    char *cluster_id;
    char *election_timeout;
    bool lease_off;
    bool upgrade_held;
    unsigned *id;
    char *region_name;
    char **standby_of;
    unsigned standby_of_count;
};

enum raw_promote { PROMOTE_BY_OPERATOR, PROMOTE_AUTOMATIC };

struct raw_witness {
    char **endpoints;
    unsigned endpoints_count;
    char *lease;
    enum raw_promote promote;
    char *lag_max;
    char *cluster_id;
};

struct raw_http {
    char *listen;
};

struct raw_shipping {
    char *retained_size;
};

struct raw_memory {
    char *cache_size;
    char *memtable_size;
};

struct raw_threads {
    unsigned net;
    unsigned *workers;
};

struct raw_limits {
    char *outcome_retention;
    char *outcomes_size;
    char *snapshot_age;
};

struct raw_scrub {
    char *period;
    bool off;
};

struct raw_log {
    enum log_level *level;
};

/* What libcyaml fills; what was not given is zero. */
struct raw {
    char *data;
    char *listen;
    struct raw_tls tls;
    struct raw_encryption encryption;
    struct raw_compression compression;
    struct raw_access *access;
    unsigned access_count;
    struct raw_region region;
    struct raw_witness witness;
    struct raw_http http;
    struct raw_shipping shipping;
    struct raw_memory memory;
    struct raw_threads threads;
    struct raw_limits limits;
    struct raw_scrub scrub;
    struct raw_log log;
};

#define FIELD_TEXT(name, need, type, member, length_max)                                           \
    CYAML_FIELD_STRING_PTR(name, CYAML_FLAG_POINTER | (need), type, member, 1, length_max)

enum { REQUIRED = CYAML_FLAG_DEFAULT, OPTIONAL = CYAML_FLAG_OPTIONAL };

static const cyaml_strval_t role_strings[] = {
    {"reader", ROLE_READER}, {"writer", ROLE_WRITER}, {"admin", ROLE_ADMIN}, {"peer", ROLE_PEER}};
static const cyaml_strval_t promote_strings[] = {{"operator", PROMOTE_BY_OPERATOR},
                                                 {"automatic", PROMOTE_AUTOMATIC}};
static const cyaml_strval_t level_strings[] = {
    {"debug", LOG_DEBUG}, {"info", LOG_INFO}, {"warn", LOG_WARN}, {"error", LOG_ERROR}};

static const cyaml_schema_field_t tls_fields[] = {
    FIELD_TEXT("certificate", REQUIRED, struct raw_tls, certificate, path_length_max),
    FIELD_TEXT("key", REQUIRED, struct raw_tls, key, path_length_max),
    FIELD_TEXT("ca", REQUIRED, struct raw_tls, ca, path_length_max), CYAML_FIELD_END};

static const cyaml_schema_field_t encryption_fields[] = {
    FIELD_TEXT("master_key_file", OPTIONAL, struct raw_encryption, master_key_file,
               path_length_max),
    FIELD_TEXT("master_key_command", OPTIONAL, struct raw_encryption, master_key_command,
               command_length_max),
    CYAML_FIELD_BOOL("off", CYAML_FLAG_OPTIONAL, struct raw_encryption, off), CYAML_FIELD_END};

static const cyaml_schema_field_t compression_fields[] = {
    CYAML_FIELD_BOOL("off", CYAML_FLAG_OPTIONAL, struct raw_compression, off), CYAML_FIELD_END};

static const cyaml_schema_field_t access_fields[] = {
    CYAML_FIELD_STRING_PTR("identity", CYAML_FLAG_POINTER, struct raw_access, identity, 1,
                           path_length_max),
    CYAML_FIELD_ENUM("role", CYAML_FLAG_STRICT, struct raw_access, role, role_strings,
                     CYAML_ARRAY_LEN(role_strings)),
    CYAML_FIELD_END};

static const cyaml_schema_value_t access_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_access, access_fields)};

static const cyaml_schema_value_t endpoint_schema = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, text_length_max)};

static const cyaml_schema_field_t region_fields[] = {
    FIELD_TEXT("name", REQUIRED, struct raw_region, name, text_length_max),
    FIELD_TEXT("listen", REQUIRED, struct raw_region, listen, text_length_max),
    FIELD_TEXT("peers", OPTIONAL, struct raw_region, peers, text_length_max),
    FIELD_TEXT("clients", OPTIONAL, struct raw_region, clients, text_length_max),
    FIELD_TEXT("cluster_id", OPTIONAL, struct raw_region, cluster_id, text_length_max),
    FIELD_TEXT("election_timeout", OPTIONAL, struct raw_region, election_timeout, text_length_max),
    CYAML_FIELD_BOOL("lease_off", CYAML_FLAG_OPTIONAL, struct raw_region, lease_off),
    CYAML_FIELD_BOOL("upgrade_held", CYAML_FLAG_OPTIONAL, struct raw_region, upgrade_held),
    CYAML_FIELD_UINT_PTR("id", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct raw_region, id),
    FIELD_TEXT("region_name", OPTIONAL, struct raw_region, region_name, text_length_max),
    CYAML_FIELD_SEQUENCE("standby_of", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct raw_region,
                         standby_of, &endpoint_schema, 1, limit_link_endpoints_count),
    CYAML_FIELD_END};

static const cyaml_schema_field_t witness_fields[] = {
    CYAML_FIELD_SEQUENCE("endpoints", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct raw_witness,
                         endpoints, &endpoint_schema, 1, limit_link_endpoints_count),
    FIELD_TEXT("lease", OPTIONAL, struct raw_witness, lease, text_length_max),
    CYAML_FIELD_ENUM("promote", CYAML_FLAG_STRICT | CYAML_FLAG_OPTIONAL, struct raw_witness,
                     promote, promote_strings, CYAML_ARRAY_LEN(promote_strings)),
    FIELD_TEXT("lag_max", OPTIONAL, struct raw_witness, lag_max, text_length_max),
    FIELD_TEXT("cluster_id", OPTIONAL, struct raw_witness, cluster_id, text_length_max),
    CYAML_FIELD_END};

static const cyaml_schema_field_t http_fields[] = {
    FIELD_TEXT("listen", REQUIRED, struct raw_http, listen, text_length_max), CYAML_FIELD_END};

static const cyaml_schema_field_t shipping_fields[] = {
    FIELD_TEXT("retained_size", OPTIONAL, struct raw_shipping, retained_size, text_length_max),
    CYAML_FIELD_END};

static const cyaml_schema_field_t memory_fields[] = {
    FIELD_TEXT("cache_size", OPTIONAL, struct raw_memory, cache_size, text_length_max),
    FIELD_TEXT("memtable_size", OPTIONAL, struct raw_memory, memtable_size, text_length_max),
    CYAML_FIELD_END};

static const cyaml_schema_field_t threads_fields[] = {
    CYAML_FIELD_UINT("net", CYAML_FLAG_OPTIONAL, struct raw_threads, net),
    CYAML_FIELD_UINT_PTR("workers", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct raw_threads,
                         workers),
    CYAML_FIELD_END};

static const cyaml_schema_field_t limits_fields[] = {
    FIELD_TEXT("outcome_retention", OPTIONAL, struct raw_limits, outcome_retention,
               text_length_max),
    FIELD_TEXT("outcomes_size", OPTIONAL, struct raw_limits, outcomes_size, text_length_max),
    FIELD_TEXT("snapshot_age", OPTIONAL, struct raw_limits, snapshot_age, text_length_max),
    CYAML_FIELD_END};

static const cyaml_schema_field_t scrub_fields[] = {
    FIELD_TEXT("period", OPTIONAL, struct raw_scrub, period, text_length_max),
    CYAML_FIELD_BOOL("off", CYAML_FLAG_OPTIONAL, struct raw_scrub, off), CYAML_FIELD_END};

static const cyaml_schema_field_t log_fields[] = {
    CYAML_FIELD_ENUM_PTR("level", CYAML_FLAG_STRICT | CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                         struct raw_log, level, level_strings, CYAML_ARRAY_LEN(level_strings)),
    CYAML_FIELD_END};

static const cyaml_schema_field_t fields[] = {
    FIELD_TEXT("data", REQUIRED, struct raw, data, path_length_max),
    FIELD_TEXT("listen", REQUIRED, struct raw, listen, text_length_max),
    CYAML_FIELD_MAPPING("tls", CYAML_FLAG_DEFAULT, struct raw, tls, tls_fields),
    CYAML_FIELD_MAPPING("encryption", CYAML_FLAG_DEFAULT, struct raw, encryption,
                        encryption_fields),
    CYAML_FIELD_MAPPING("compression", CYAML_FLAG_OPTIONAL, struct raw, compression,
                        compression_fields),
    CYAML_FIELD_SEQUENCE("access", CYAML_FLAG_POINTER, struct raw, access, &access_schema, 1,
                         limit_access_count),
    CYAML_FIELD_MAPPING("region", CYAML_FLAG_OPTIONAL, struct raw, region, region_fields),
    CYAML_FIELD_MAPPING("witness", CYAML_FLAG_OPTIONAL, struct raw, witness, witness_fields),
    CYAML_FIELD_MAPPING("http", CYAML_FLAG_OPTIONAL, struct raw, http, http_fields),
    CYAML_FIELD_MAPPING("shipping", CYAML_FLAG_OPTIONAL, struct raw, shipping, shipping_fields),
    CYAML_FIELD_MAPPING("memory", CYAML_FLAG_OPTIONAL, struct raw, memory, memory_fields),
    CYAML_FIELD_MAPPING("threads", CYAML_FLAG_OPTIONAL, struct raw, threads, threads_fields),
    CYAML_FIELD_MAPPING("limits", CYAML_FLAG_OPTIONAL, struct raw, limits, limits_fields),
    CYAML_FIELD_MAPPING("scrub", CYAML_FLAG_OPTIONAL, struct raw, scrub, scrub_fields),
    CYAML_FIELD_MAPPING("log", CYAML_FLAG_OPTIONAL, struct raw, log, log_fields),
    CYAML_FIELD_END};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw, fields)};

static const cyaml_config_t loader = {
    .mem_fn = cyaml_mem, .log_fn = NULL, .log_level = CYAML_LOG_ERROR, .flags = CYAML_CFG_DEFAULT};

/* ---- From what libcyaml read ---- */

struct taking {
    struct config *config;
    const struct raw *raw;
    struct config_tree *tree;
    struct error *error;
};

static enum status take_text(const struct taking *taking, const char *from, const char **to)
{
    struct bytes copy;
    *to = NULL;
    if (from == NULL)
        return STATUS_OK;
    if (!arena_copy(&taking->config->arena, bytes_of_text(from), &copy))
        return error_set(taking->error, STATUS_NO_MEMORY, "%s: no memory to read it.",
                         taking->tree->name);
    *to = (const char *)copy.data;
    return STATUS_OK;
}

/* A text with a unit, within bounds; where it was not given, `*to` stays. */
static enum status take_measure(const struct taking *taking, const char *path, const char *text,
                                bool is_size, uint64_t least, uint64_t most, uint64_t *to)
{
    uint64_t value = 0;
    if (text == NULL)
        return STATUS_OK;
    enum status status =
        is_size ? config_parse_size(text, &value) : config_parse_duration(text, &value);
    if (status != STATUS_OK)
        return config_tree_refuse(taking->tree, taking->error, path,
                                  is_size ? "must be a size like 64MiB, not \"%s\""
                                          : "must be a time like 250ms, 60s, 15m, 1h or 7d, "
                                            "not \"%s\"",
                                  text);
    if (value < least || value > most)
        return config_tree_refuse(taking->tree, taking->error, path,
                                  "must be between %" PRIu64 " and %" PRIu64 " %s, not %" PRIu64,
                                  least, most, is_size ? "bytes" : "ms", value);
    *to = value;
    return STATUS_OK;
}

static enum status take_count(const struct taking *taking, const char *path, unsigned value,
                              unsigned least, unsigned most, uint32_t *to)
{
    if (value < least || value > most)
        return config_tree_refuse(taking->tree, taking->error, path,
                                  "must be between %u and %u, not %u", least, most, value);
    *to = value;
    return STATUS_OK;
}

static enum status take_paths(const struct taking *taking)
{
    struct config *config = taking->config;
    const struct raw *raw = taking->raw;
    const struct {
        const char *from;
        const char **to;
    } texts[] = {
        {raw->data, &config->data},
        {raw->tls.certificate, &config->tls_certificate},
        {raw->tls.key, &config->tls_key},
        {raw->tls.ca, &config->tls_ca},
        {raw->encryption.master_key_file, &config->master_key_file},
        {raw->encryption.master_key_command, &config->master_key_command},
    };
    enum status status = STATUS_OK;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0] && status == STATUS_OK; i++)
        status = take_text(taking, texts[i].from, texts[i].to);
    if (status == STATUS_OK &&
        config_parse_address(raw->listen, config->listen_host, &config->listen_port) != STATUS_OK)
        status = config_tree_refuse(taking->tree, taking->error, "listen",
                                    "must be a numeric address and a port, like 192.0.2.1:7411 "
                                    "or \"[::1]:7411\", not \"%s\"",
                                    raw->listen);
    return status;
}

static enum status take_encryption(const struct taking *taking)
{
    const struct raw *raw = taking->raw;
    bool has_file = raw->encryption.master_key_file != NULL;
    bool has_command = raw->encryption.master_key_command != NULL;
    if (has_file + has_command + raw->encryption.off != 1)
        return config_tree_refuse(taking->tree, taking->error, "encryption",
                                  "needs exactly one of master_key_file, master_key_command and "
                                  "off: true");
    taking->config->encryption_off = raw->encryption.off;
    taking->config->compression_off = raw->compression.off;
    return STATUS_OK;
}

static enum status take_access(const struct taking *taking)
{
    struct config *config = taking->config;
    const struct raw *raw = taking->raw;
    struct access *access = NULL;
    enum status status = access_open(&access);
    config->access =
        arena_alloc_zeroed(&config->arena, raw->access_count, sizeof config->access[0]);
    if (status != STATUS_OK || config->access == NULL) {
        access_close(access);
        return error_set(taking->error, STATUS_NO_MEMORY, "%s: no memory to read it.",
                         taking->tree->name);
    }
    for (unsigned i = 0; i < raw->access_count && status == STATUS_OK; i++) {
        char path[64];
        const struct raw_access *entry = &raw->access[i];
        snprintf(path, sizeof path, "access[%u].identity", i);
        status = access_add(access, entry->identity, entry->role);
        if (status == STATUS_ALREADY_EXISTS)
            status = config_tree_refuse(taking->tree, taking->error, path,
                                        "\"%s\" is on the list already", entry->identity);
        else if (status != STATUS_OK)
            status = config_tree_refuse(taking->tree, taking->error, path,
                                        "must be 1 to %d printable ASCII characters without "
                                        "spaces",
                                        limit_identity_size);
        else
            status = take_text(taking, entry->identity, &config->access[i].identity);
        config->access[i].role = entry->role;
        config->access_count = i + 1;
    }
    access_close(access);
    return status;
}

/* ---- The region ---- */

static bool is_any_address(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/* What is told to others: as given, or else what is listened on, where that names one place. */
static enum status take_advertised(const struct taking *taking, const char *path, const char *given,
                                   const char *listen, const char *host, const char **to)
{
    if (given == NULL && is_any_address(host))
        return config_tree_refuse(taking->tree, taking->error, "region",
                                  "%s is needed where %s is every address of the machine: it is "
                                  "what others are told",
                                  path, listen);
    return take_text(taking, given != NULL ? given : listen, to);
}

static enum status take_addresses(const struct taking *taking)
{
    struct config *config = taking->config;
    struct config_region *region = &config->region;
    const struct raw_region *raw = &taking->raw->region;
    char host[config_host_size];
    uint16_t port;
    if (config_parse_address(raw->listen, region->listen_host, &region->listen_port) != STATUS_OK)
        return config_tree_refuse(taking->tree, taking->error, "region.listen",
                                  "must be a numeric address and a port, like 192.0.2.1:7412, not "
                                  "\"%s\"",
                                  raw->listen);
    if (region->listen_port == config->listen_port)
        return config_tree_refuse(taking->tree, taking->error, "region.listen",
                                  "must be another port than that of listen: clients and members "
                                  "do not share one");
    if (raw->peers != NULL &&
        (config_parse_address(raw->peers, host, &port) != STATUS_OK || is_any_address(host)))
        return config_tree_refuse(taking->tree, taking->error, "region.peers",
                                  "must be the numeric address and the port where members reach "
                                  "this one, like 192.0.2.1:7412, not \"%s\"",
                                  raw->peers);
    if (raw->clients != NULL && !config_is_address_of_name(raw->clients))
        return config_tree_refuse(taking->tree, taking->error, "region.clients",
                                  "must be an address or a name, and a port, where clients reach "
                                  "this member, like db1.example.com:7411, not \"%s\"",
                                  raw->clients);
    enum status status = take_advertised(taking, "region.peers", raw->peers, raw->listen,
                                         region->listen_host, &region->peers);
    if (status == STATUS_OK)
        status = take_advertised(taking, "region.clients", raw->clients, taking->raw->listen,
                                 config->listen_host, &region->clients);
    return status;
}

/* Whom a region's first start follows. */
static enum status take_standby_of(const struct taking *taking)
{
    struct config *config = taking->config;
    struct config_region *region = &config->region;
    const struct raw_region *raw = &taking->raw->region;
    if (raw->standby_of_count == 0)
        return STATUS_OK;
    if (raw->id == NULL)
        return config_tree_refuse(taking->tree, taking->error, "region.standby_of",
                                  "needs region.id: another than the primary region's");
    if (raw->cluster_id == NULL)
        return config_tree_refuse(taking->tree, taking->error, "region.standby_of",
                                  "needs region.cluster_id: the primary region's, as `strait "
                                  "status` says it there");
    region->standby_of =
        arena_alloc_zeroed(&config->arena, raw->standby_of_count, sizeof region->standby_of[0]);
    if (region->standby_of == NULL)
        return error_set(taking->error, STATUS_NO_MEMORY, "%s: no memory to read it.",
                         taking->tree->name);
    for (unsigned i = 0; i < raw->standby_of_count; i++) {
        char path[64];
        const char *endpoint = raw->standby_of[i];
        snprintf(path, sizeof path, "region.standby_of[%u]", i);
        if (!config_is_address_of_name(endpoint))
            return config_tree_refuse(taking->tree, taking->error, path,
                                      "must be an address or a name, and a port, where a server of "
                                      "the primary region takes its clients, like "
                                      "db1.example.com:7411, not \"%s\"",
                                      endpoint);
        if (strcmp(endpoint, region->clients) == 0)
            return config_tree_refuse(taking->tree, taking->error, path,
                                      "is this server's own: a region does not follow itself");
        enum status status = take_text(taking, endpoint, &region->standby_of[i]);
        if (status != STATUS_OK)
            return status;
        region->standby_of_count = i + 1;
    }
    return STATUS_OK;
}

/* The region among the others of its cluster. */
static enum status take_place(const struct taking *taking)
{
    struct config_region *region = &taking->config->region;
    const struct raw_region *raw = &taking->raw->region;
    char standard[limit_name_size];
    if (raw->id != NULL && *raw->id == 0)
        return config_tree_refuse(taking->tree, taking->error, "region.id",
                                  "must be 1 or more, and another for each region of the cluster");
    if (raw->id != NULL)
        region->id = *raw->id;
    if (raw->region_name != NULL && !name_text_is_valid(raw->region_name))
        return config_tree_refuse(taking->tree, taking->error, "region.region_name",
                                  "must be 1 to %d of the characters a to z, 0 to 9, _ and -, a "
                                  "letter first, not \"%s\"",
                                  limit_name_size, raw->region_name);
    snprintf(standard, sizeof standard, "region-%u", region->id);
    enum status status = take_text(taking, raw->region_name != NULL ? raw->region_name : standard,
                                   &region->region_name);
    return status == STATUS_OK ? take_standby_of(taking) : status;
}

/* ---- The witness ---- */

static enum status take_witness_endpoints(const struct taking *taking)
{
    struct config_witness *witness = &taking->config->witness;
    const struct raw_witness *raw = &taking->raw->witness;
    witness->endpoints = arena_alloc_zeroed(&taking->config->arena, raw->endpoints_count,
                                            sizeof witness->endpoints[0]);
    if (witness->endpoints == NULL)
        return error_set(taking->error, STATUS_NO_MEMORY, "%s: no memory to read it.",
                         taking->tree->name);
    for (unsigned i = 0; i < raw->endpoints_count; i++) {
        char path[64];
        snprintf(path, sizeof path, "witness.endpoints[%u]", i);
        if (!config_is_address_of_name(raw->endpoints[i]))
            return config_tree_refuse(taking->tree, taking->error, path,
                                      "must be an address or a name, and a port, where the witness "
                                      "listens, like witness.example.com:7411, not \"%s\"",
                                      raw->endpoints[i]);
        enum status status = take_text(taking, raw->endpoints[i], &witness->endpoints[i]);
        if (status != STATUS_OK)
            return status;
        witness->endpoints_count = i + 1;
    }
    return STATUS_OK;
}

/* Of a server that is the witness itself. */
static enum status take_witness_self(const struct taking *taking)
{
    const struct raw *raw = taking->raw;
    struct config_witness *witness = &taking->config->witness;
    if (raw->region.name != NULL || raw->witness.endpoints_count != 0 || raw->http.listen != NULL)
        return config_tree_refuse(taking->tree, taking->error, "witness.cluster_id",
                                  "is of a server that is the witness itself: it has no "
                                  "witness.endpoints, no section region and no section http");
    if (config_parse_cluster_id(raw->witness.cluster_id, witness->cluster_id) != STATUS_OK)
        return config_tree_refuse(taking->tree, taking->error, "witness.cluster_id",
                                  "must be %d hexadecimal digits in lower case",
                                  2 * config_cluster_id_size);
    witness->is_self = true;
    return STATUS_OK;
}

static enum status take_witness(const struct taking *taking)
{
    const struct raw *raw = taking->raw;
    struct config_witness *witness = &taking->config->witness;
    bool given = raw->witness.endpoints_count != 0;

    enum status status = take_measure(taking, "witness.lease", raw->witness.lease, false,
                                      lease_ms_min, lease_ms_max, &witness->lease_ms);
    if (status == STATUS_OK)
        status = take_measure(taking, "witness.lag_max", raw->witness.lag_max, false, 0,
                              7 * 24 * 60 * 60 * second_ms, &witness->lag_max_ms);
    if (status != STATUS_OK)
        return status;
    witness->automatic = raw->witness.promote == PROMOTE_AUTOMATIC;
    if (raw->witness.cluster_id != NULL)
        return take_witness_self(taking);
    if (!given &&
        (raw->witness.lease != NULL || raw->witness.lag_max != NULL || witness->automatic))
        return config_tree_refuse(taking->tree, taking->error, "witness",
                                  "needs endpoints: where the witness is reached");
    if (given && raw->region.name == NULL)
        return config_tree_refuse(taking->tree, taking->error, "witness.endpoints",
                                  "needs a section region: a witness is for several of them");
    if (given && raw->region.lease_off)
        return config_tree_refuse(taking->tree, taking->error, "witness.endpoints",
                                  "cannot be where region.lease_off says that clocks' rates are "
                                  "not to be trusted: a witness's leases rest on them too");
    return given ? take_witness_endpoints(taking) : STATUS_OK;
}

static enum status take_http(const struct taking *taking)
{
    struct config *config = taking->config;
    const char *listen = taking->raw->http.listen;
    if (listen == NULL)
        return STATUS_OK;
    if (config_parse_address(listen, config->http_host, &config->http_port) != STATUS_OK)
        return config_tree_refuse(taking->tree, taking->error, "http.listen",
                                  "must be ADDRESS:PORT with a numeric address, like "
                                  "0.0.0.0:7413, not \"%s\"",
                                  listen);
    if (config->http_port == config->listen_port)
        return config_tree_refuse(taking->tree, taking->error, "http.listen",
                                  "must be another port than that of clients");
    return STATUS_OK;
}

static enum status take_region(const struct taking *taking)
{
    struct config_region *region = &taking->config->region;
    const struct raw_region *raw = &taking->raw->region;
    if (raw->name == NULL)
        return STATUS_OK;
    if (!identity_is_valid(raw->name))
        return config_tree_refuse(taking->tree, taking->error, "region.name",
                                  "must be 1 to %d printable ASCII characters without spaces: what "
                                  "the member's certificate says",
                                  limit_member_name_size);
    enum status status = take_addresses(taking);
    if (status != STATUS_OK)
        return status;
    if (raw->cluster_id != NULL &&
        config_parse_cluster_id(raw->cluster_id, region->cluster_id) != STATUS_OK)
        return config_tree_refuse(taking->tree, taking->error, "region.cluster_id",
                                  "must be %d hexadecimal digits in lower case",
                                  2 * config_cluster_id_size);
    region->has_cluster_id = raw->cluster_id != NULL;
    region->lease_off = raw->lease_off;
    region->upgrade_held = raw->upgrade_held;
    status = take_place(taking);
    if (status != STATUS_OK)
        return status;
    status = take_measure(taking, "region.election_timeout", raw->election_timeout, false, 50,
                          60 * second_ms, &region->election_timeout_ms);
    return status == STATUS_OK ? take_text(taking, raw->name, &region->name) : status;
}

static enum status take_measures(const struct taking *taking)
{
    struct config *config = taking->config;
    const struct raw *raw = taking->raw;
    const struct {
        const char *path;
        const char *text;
        bool is_size;
        uint64_t least;
        uint64_t most;
        uint64_t *to;
    } measures[] = {
        {"memory.cache_size", raw->memory.cache_size, true, mib, 1024 * gib, &config->cache_size},
        {"memory.memtable_size", raw->memory.memtable_size, true, 4 * mib, 64 * gib,
         &config->memtable_size},
        {"limits.outcome_retention", raw->limits.outcome_retention, false, 60 * second_ms,
         30 * 24 * 60 * 60 * second_ms, &config->outcome_retention_ms},
        {"limits.outcomes_size", raw->limits.outcomes_size, true, 16 * mib, 1024 * gib,
         &config->outcomes_size},
        {"limits.snapshot_age", raw->limits.snapshot_age, false, second_ms, limit_snapshot_age_ms,
         &config->snapshot_age_ms},
        {"scrub.period", raw->scrub.period, false, second_ms, 365 * 24 * 60 * 60 * second_ms,
         &config->scrub_period_ms},
        {"shipping.retained_size", raw->shipping.retained_size, true, 64 * mib, 16 * 1024 * gib,
         &config->shipping_retained_size},
    };
    enum status status = STATUS_OK;
    for (size_t i = 0; i < sizeof measures / sizeof measures[0] && status == STATUS_OK; i++)
        status = take_measure(taking, measures[i].path, measures[i].text, measures[i].is_size,
                              measures[i].least, measures[i].most, measures[i].to);
    if (status == STATUS_OK)
        status = take_count(taking, "threads.net", raw->threads.net, 0, config_net_threads_max,
                            &config->net_threads);
    if (status == STATUS_OK && raw->threads.workers != NULL)
        status = take_count(taking, "threads.workers", *raw->threads.workers, 1,
                            config_worker_threads_max, &config->worker_threads);
    if (raw->scrub.off)
        config->scrub_period_ms = 0;
    if (raw->log.level != NULL)
        config->log_level = *raw->log.level;
    return status;
}

static enum status take_all(const struct taking *taking)
{
    enum status status = take_paths(taking);
    if (status == STATUS_OK)
        status = take_encryption(taking);
    if (status == STATUS_OK)
        status = take_access(taking);
    if (status == STATUS_OK)
        status = take_region(taking);
    if (status == STATUS_OK)
        status = take_witness(taking);
    if (status == STATUS_OK)
        status = take_http(taking);
    if (status == STATUS_OK)
        status = take_measures(taking);
    return status;
}

/* ---- Loading ---- */

void config_init(struct config *config)
{
    *config = (struct config){
        .cache_size = 256 * mib,
        .memtable_size = 64 * mib,
        .net_threads = 0,
        .worker_threads = 1,
        .outcome_retention_ms = 60 * 60 * second_ms,
        .outcomes_size = gib,
        .snapshot_age_ms = limit_snapshot_age_ms,
        .scrub_period_ms = 24 * 60 * 60 * second_ms,
        .shipping_retained_size = 8 * gib,
        .region = {.id = 1, .region_name = "region-1"},
        .witness = {.lease_ms = lease_ms_default, .lag_max_ms = 10 * second_ms},
        .log_level = LOG_INFO,
    };
    arena_init(&config->arena, 4 * kib, 4 * mib);
}

enum status config_parse(struct config *config, const char *name, struct bytes text,
                         struct error *error)
{
    struct config_tree tree;
    cyaml_data_t *data = NULL;
    config_init(config);
    enum status status = config_tree_open(&tree, name, text, error);
    if (status != STATUS_OK)
        return status;
    status = config_tree_check(&tree, &schema, error);
    if (status == STATUS_OK) {
        cyaml_err_t result = cyaml_load_data(text.data, text.size, &loader, &schema, &data, NULL);
        if (result != CYAML_OK)
            status =
                error_set(error, STATUS_INVALID_ARGUMENT, "%s: %s.", name, cyaml_strerror(result));
    }
    if (status == STATUS_OK) {
        const struct taking taking = {
            .config = config, .raw = (struct raw *)data, .tree = &tree, .error = error};
        status = take_all(&taking);
        cyaml_free(&loader, &schema, data, 0);
    }
    config_tree_close(&tree);
    if (status != STATUS_OK) {
        config_free(config);
        config_init(config);
    }
    return status;
}

static enum status read_file(const char *path, uint8_t **contents, size_t *size,
                             struct error *error)
{
    *contents = NULL;
    *size = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        enum status status = errno == ENOENT   ? STATUS_NOT_FOUND
                             : errno == EACCES ? STATUS_FORBIDDEN
                                               : STATUS_IO_ERROR;
        return error_set(error, status, "%s: cannot open it: %s.", path, strerror(errno));
    }
    uint8_t *buffer = malloc(config_file_size_max + 1);
    size_t got = buffer != NULL ? fread(buffer, 1, config_file_size_max + 1, file) : 0;
    enum status status = STATUS_OK;
    if (buffer == NULL)
        status = error_set(error, STATUS_NO_MEMORY, "%s: no memory to read it.", path);
    else if (ferror(file) != 0)
        status =
            error_set(error, STATUS_IO_ERROR, "%s: cannot read it: %s.", path, strerror(errno));
    else if (got > config_file_size_max)
        status = error_set(error, STATUS_TOO_LARGE, "%s: larger than %d bytes.", path,
                           config_file_size_max);
    /* Nothing was written, so closing has nothing to lose. */
    (void)fclose(file);
    if (status != STATUS_OK) {
        free(buffer);
        return status;
    }
    *contents = buffer;
    *size = got;
    return STATUS_OK;
}

enum status config_load(struct config *config, const char *path, struct error *error)
{
    uint8_t *contents = NULL;
    size_t size = 0;
    config_init(config);
    enum status status = read_file(path, &contents, &size, error);
    if (status == STATUS_OK)
        status = config_parse(config, path, bytes_of(contents, size), error);
    free(contents);
    if (status == STATUS_OK) {
        struct bytes copy;
        if (arena_copy(&config->arena, bytes_of(path, strlen(path) + 1), &copy)) {
            config->path = (const char *)copy.data;
        } else {
            config_free(config);
            config_init(config);
            status = error_set(error, STATUS_NO_MEMORY, "%s: no memory to read it.", path);
        }
    }
    return status;
}

void config_free(struct config *config)
{
    arena_free(&config->arena);
    *config = (struct config){0};
}

enum status config_open_access(const struct config *config, struct access **access)
{
    enum status status = access_open(access);
    for (size_t i = 0; i < config->access_count && status == STATUS_OK; i++)
        status = access_add(*access, config->access[i].identity, config->access[i].role);
    if (status != STATUS_OK) {
        access_close(*access);
        *access = NULL;
    }
    return status;
}
