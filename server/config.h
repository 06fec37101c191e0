/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of a node: what `straitd --config FILE` reads. server/straitd.yaml.sample says
 * what each key means.
 *
 * The file is YAML. libcyaml loads it after a check of ours, against the same schema, has found
 * every key known, present, single and of its type, and every value within its bounds; so that an
 * error names the file, the line and the key: "straitd.yaml:12: memory.cache_sise: unknown key". */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "proto/base/arena.h"
#include "proto/base/error.h"
#include "proto/base/log.h"
#include "server/net/access.h"

enum {
    config_file_size_max = 1024 * 1024,
    config_depth_max = 8,
    config_host_size = 64,
    config_net_threads_max = 16,
    config_worker_threads_max = 16,
    config_cluster_id_size = 16,
};

struct config_access {
    const char *identity;
    enum role role;
};

/* What makes a server a member of a region with others. */
struct config_region {
    const char *name;                   /* NULL: no such section, a region of one for good */
    char listen_host[config_host_size]; /* for members: a numeric address, without brackets */
    uint16_t listen_port;
    const char *peers;   /* HOST:PORT where members reach it; HOST is numeric */
    const char *clients; /* HOST:PORT where clients do */
    bool has_cluster_id;
    uint8_t cluster_id[config_cluster_id_size];
    uint64_t election_timeout_ms; /* 0: the standard one */
    bool lease_off;               /* clocks' rates are not to be trusted */
    bool upgrade_held;            /* the cluster version waits for an administrator */

    /* The region among the others of its cluster; without the section: 1, "region-1". */
    uint32_t id;             /* never 0 */
    const char *region_name; /* proto/name.h */

    /* HOST:PORT of servers of the region that this one follows, until the replicated list of
     * regions says where the primary is; none: it follows nobody until then. */
    const char **standby_of;
    unsigned standby_of_count;
};

/* The witness between regions: where a member of a region reaches it, or what it is itself. */
struct config_witness {
    const char **endpoints;   /* HOST:PORT */
    unsigned endpoints_count; /* 0: none is configured */
    uint64_t lease_ms;        /* a member's, as it asks; a witness's own, the longest it grants */
    bool automatic;           /* a standby promotes itself */
    uint64_t lag_max_ms;      /* but not with data older than this when the primary was lost */

    bool is_self; /* this server is the witness of this cluster */
    uint8_t cluster_id[config_cluster_id_size];
};

/* Texts live in the arena. */
struct config {
    struct arena arena;
    const char *path; /* of the file; NULL where it comes from none */

    const char *data;                   /* the data directory */
    char listen_host[config_host_size]; /* a numeric address, without brackets */
    uint16_t listen_port;

    const char *tls_certificate; /* PEM files */
    const char *tls_key;
    const char *tls_ca;

    const char *master_key_file;    /* one of the two is set, unless encryption is off */
    const char *master_key_command; /* else NULL */
    bool encryption_off;
    bool compression_off;

    struct config_access *access;
    size_t access_count;

    char http_host[config_host_size]; /* for machines that watch */
    uint16_t http_port;               /* 0: not at all */

    struct config_region region;
    struct config_witness witness;
    bool bootstrap; /* of the command line, not of the file: a new store is a region of one */

    uint64_t cache_size;    /* bytes of the block cache */
    uint64_t memtable_size; /* bytes of memtables, over all trees */
    uint32_t net_threads;   /* 0: the core's own thread */
    uint32_t worker_threads;

    uint64_t outcome_retention_ms; /* how long a transaction's outcome is kept */
    uint64_t outcomes_size;        /* bytes that outcomes may take on disk */
    uint64_t snapshot_age_ms;      /* how long a client's snapshot lives unless renewed */

    uint64_t scrub_period_ms;        /* between two scrubs; 0: only when asked for */
    uint64_t shipping_retained_size; /* bytes of log kept for other regions that lag behind */

    enum log_level log_level;
};

/* Everything that has a default is set to it; the rest is empty. */
void config_init(struct config *config);

/* Reads and checks a file. On failure `config` is as config_init() leaves it. INVALID_ARGUMENT with
 * "FILE:LINE: KEY: what is wrong", NOT_FOUND, FORBIDDEN, TOO_LARGE, IO_ERROR. */
MUST_CHECK enum status config_load(struct config *config, const char *path, struct error *error);

/* The same from memory; `name` stands for the file in errors. */
MUST_CHECK enum status config_parse(struct config *config, const char *name, struct bytes text,
                                    struct error *error);

void config_free(struct config *config);

/* The access list as sessions use it. */
MUST_CHECK enum status config_open_access(const struct config *config, struct access **access);

/* "64MiB", "1GiB", "4096", "10 GB"; INVALID_ARGUMENT. Powers of 1,024 with the i, of 1,000
 * without. */
MUST_CHECK enum status config_parse_size(const char *text, uint64_t *size);

/* "250ms", "60s", "15m", "1h", "7d": a unit is needed. */
MUST_CHECK enum status config_parse_duration(const char *text, uint64_t *duration_ms);

/* 32 hexadecimal digits in lower case. */
MUST_CHECK enum status config_parse_cluster_id(const char *text,
                                               uint8_t id[config_cluster_id_size]);

/* "192.0.2.1:7411", "[::1]:7411". */
MUST_CHECK enum status config_parse_address(const char *text, char host[config_host_size],
                                            uint16_t *port);

/* "db1.example.com:7411", or as above: whom others are told to dial. */
bool config_is_address_of_name(const char *text);

#endif
