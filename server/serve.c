/* SPDX-License-Identifier: Apache-2.0 */
#include "server/serve.h"

#include <errno.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/limits.h"
#include "server/core.h"
#include "server/linking.h"
#include "server/net/promotion.h"
#include "server/net/tls.h"
#include "server/net_threads.h"
#include "server/peering.h"
#include "server/state/state.h"
#include "server/watch.h"
#include "server/witness.h"
#include "storage/io/blocking.h"
#include "storage/io/uring.h"

enum {
    receive_buffers_count = 512,
    receive_buffer_size = 16 * 1024,
    drain_ms = 10000, /* how long connections get to take their replies when we stop */
};

#define NS_PER_MS 1000000ULL

struct server {
    const struct config *config;
    struct io *io;
    struct io_file *lock;
    struct keyring *keyring;
    SSL_CTX *tls;
    struct access *access;
    struct peering *peering; /* NULL: a region of one for good */
    struct linking *linking; /* NULL: it knows of no other region */
    struct core *core;       /* NULL: this is a witness */
    struct witness *witness; /* NULL: it is none */
    struct net_threads *net;
    struct watch *watch;
    struct io_bell signals;
    struct io_timer drain_timer;
    bool drain_over;
};

/* ---- Signals: the handler takes note and rings; the loop looks. ---- */

static volatile sig_atomic_t stop_wanted;
static volatile sig_atomic_t reload_wanted;
static struct server *signalled;

static void on_signal(int number)
{
    int saved = errno;
    if (number == SIGHUP)
        reload_wanted = 1;
    else
        stop_wanted = 1;
    if (signalled != NULL)
        io_bell_ring(signalled->io, &signalled->signals);
    errno = saved;
}

static void on_rung(struct io_bell *bell)
{
    (void)bell; /* the flags say what for */
}

static enum status watch_signals(struct server *server, struct error *error)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    server->signals = (struct io_bell){.rung = on_rung, .context = server};
    enum status status = io_bell_open(server->io, &server->signals);
    if (status != STATUS_OK)
        return error_set(error, status, "A bell could not be made: %s.", status_text(status));
    signalled = server;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGTERM, &action, NULL) != 0 || sigaction(SIGINT, &action, NULL) != 0 ||
        sigaction(SIGHUP, &action, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return error_set(error, STATUS_INTERNAL, "Signals could not be set up: %s.",
                         strerror(errno));
    return STATUS_OK;
}

/* ---- Start ---- */

static enum status open_directory(struct server *server, struct error *error)
{
    const char *data = server->config->data;
    char path[1024];

    enum status status = io_make_directory_wait(server->io, data);
    if (status != STATUS_OK && status != STATUS_ALREADY_EXISTS)
        return error_set(error, status,
                         "The data directory %s could not be made: %s. Its parent must exist and "
                         "be writable.",
                         data, status_text(status));
    if (snprintf(path, sizeof path, "%s/lock", data) >= (int)sizeof path)
        return error_set(error, STATUS_INVALID_ARGUMENT, "The path %s is too long.", data);
    status = io_lock(server->io, path, &server->lock);
    if (status == STATUS_LOCKED)
        return error_set(error, status,
                         "Another straitd serves the data directory %s: stop it, or give this one "
                         "a directory of its own.",
                         data);
    if (status != STATUS_OK)
        return error_set(error, status, "%s could not be locked: %s.", path, status_text(status));
    return STATUS_OK;
}

static void note_store(void *context, const char *name, bool is_directory)
{
    bool *is_there = context;
    if (is_directory && (strcmp(name, "wal") == 0 || strcmp(name, "lsm") == 0))
        *is_there = true;
}

/* The cluster that a new store is to belong to. */
static enum status choose_cluster(const struct config *config, uint8_t cluster_id[seal_id_size],
                                  struct error *error)
{
    _Static_assert((int)seal_id_size == (int)config_cluster_id_size, "the same id");
    if (config->region.has_cluster_id || config->witness.is_self) {
        memcpy(cluster_id,
               config->witness.is_self ? config->witness.cluster_id : config->region.cluster_id,
               seal_id_size);
        return STATUS_OK;
    }
    if (config->region.name != NULL && !config->bootstrap)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "%s holds no store yet. Start this server with --bootstrap to begin a new "
                         "region with it; or, to add it to a region that is there, write that "
                         "region's cluster id (`strait status`) as region.cluster_id.",
                         config->data);
    if (RAND_bytes(cluster_id, seal_id_size) != 1)
        return error_set(error, STATUS_INTERNAL, "The system gave no random bytes.");
    return STATUS_OK;
}

/* A registry is made only where there is nothing that one could have sealed. */
static enum status make_keyring(struct server *server, const struct master_key_source *source,
                                bool has_store, struct error *error)
{
    const struct config *config = server->config;
    uint8_t cluster_id[seal_id_size];
    if (has_store)
        return error_set(error, STATUS_KEY_MISSING,
                         "%s holds a store, but no key registry (both copies are gone): put one "
                         "back from a backup. Nothing was touched.",
                         config->data);
    enum status status = choose_cluster(config, cluster_id, error);
    return status == STATUS_OK ? keyring_create(server->io, config->data, source, cluster_id, error)
                               : status;
}

/* That the store is what the command line and the configuration take it for. */
static enum status check_store(const struct server *server, bool has_store, struct error *error)
{
    const struct config *config = server->config;
    if (config->bootstrap && has_store)
        return error_set(error, STATUS_ALREADY_EXISTS,
                         "%s holds a store already: start without --bootstrap, which begins a new "
                         "region.",
                         config->data);
    const uint8_t *expected = config->region.has_cluster_id ? config->region.cluster_id
                              : config->witness.is_self     ? config->witness.cluster_id
                                                            : NULL;
    if (config->witness.is_self && has_store)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "%s holds a store of records: a witness needs a directory of its own.",
                         config->data);
    if (expected != NULL &&
        memcmp(expected, keyring_cluster_id(server->keyring), seal_id_size) != 0)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "The store in %s belongs to another cluster than %s.cluster_id says.",
                         config->data, config->witness.is_self ? "witness" : "region");
    return STATUS_OK;
}

static enum status open_keyring(struct server *server, struct error *error)
{
    const struct config *config = server->config;
    const struct master_key_source source = {
        .file = config->encryption_off ? NULL : config->master_key_file,
        .command = config->encryption_off ? NULL : config->master_key_command,
        .plain = config->encryption_off,
    };
    struct keyring_report report = {0};
    bool has_store = false;

    enum status status = io_list(server->io, config->data, note_store, &has_store);
    if (status != STATUS_OK)
        return error_set(error, status, "The data directory %s could not be listed: %s.",
                         config->data, status_text(status));
    status = keyring_open(server->io, config->data, &source, &server->keyring, &report, error);
    if (status == STATUS_NOT_FOUND) {
        status = make_keyring(server, &source, has_store, error);
        if (status == STATUS_OK)
            status =
                keyring_open(server->io, config->data, &source, &server->keyring, &report, error);
    }
    if (status == STATUS_OK)
        status = check_store(server, has_store, error);
    if (status != STATUS_OK)
        return status;
    if (report.repaired)
        log_warn("metadata_repaired", LOG_TEXT("file", report.repaired_path));
    if (report.unlocked)
        log_warn("keys_not_locked", LOG_TEXT("text", "the keys' memory could not be locked against "
                                                     "swapping: raise RLIMIT_MEMLOCK"));
    if (!keyring_is_encrypted(server->keyring))
        log_warn("encryption_off", LOG_TEXT("text", "data at rest is stored plain, by choice"));
    return STATUS_OK;
}

/* Before the core, which speaks to the other members from its opening on. */
static enum status open_peering(struct server *server, struct error *error)
{
    const struct config *config = server->config;
    enum status status = config_open_access(config, &server->access);
    if (status != STATUS_OK)
        return error_set(error, status, "The access list could not be made: %s.",
                         status_text(status));
    if (config->region.name == NULL)
        return STATUS_OK;
    const uint8_t *cluster_id = keyring_cluster_id(server->keyring);
    status = linking_open(config, server->io, server->access, cluster_id, &server->linking, error);
    if (status != STATUS_OK)
        return status;
    status = peering_open(config, server->io, server->access, cluster_id, state_cluster_version,
                          &server->peering, error);
    if (status == STATUS_OK)
        log_info("member", LOG_TEXT("name", config->region.name),
                 LOG_TEXT("peers", config->region.peers),
                 LOG_TEXT("clients", config->region.clients),
                 LOG_HEX("cluster_id", bytes_of(cluster_id, seal_id_size)));
    return status;
}

/* Nothing more may be written or answered: what is not on stable storage was not acknowledged. */
static void on_failed(void *context, const struct error *error)
{
    (void)context;
    log_error("failed", LOG_TEXT("status", status_name(error->status)),
              LOG_TEXT("text", error->text));
    fprintf(stderr, "straitd: %s\n", error->text);
    _exit(1);
}

/* Of all of this process's threads. */
static uint64_t processor_us(void *context)
{
    struct timespec used = {0};
    (void)context;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0)
        return 0;
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

static void ask(void *context, const char *address, const char *name, core_probed_fn *probed,
                void *probed_context)
{
    struct server *server = context;
    peering_ask(server->peering, address, name, probed, probed_context);
}

static enum status sign_promotion(void *context, const struct epoch_change *change,
                                  const struct region *self, uint8_t *record, size_t *size,
                                  struct error *error)
{
    struct server *server = context;
    return linking_sign(server->linking, change, self, record, size, error);
}

static enum status verify_promotion(void *context, struct bytes record, struct epoch *to,
                                    struct error *error)
{
    struct server *server = context;
    return linking_verify(server->linking, record, to, error);
}

static enum status open_core(struct server *server, struct error *error)
{
    const struct config *config = server->config;
    uint64_t seed;

    if (RAND_bytes((unsigned char *)&seed, sizeof seed) != 1)
        return error_set(error, STATUS_INTERNAL, "The system gave no random bytes.");
    const struct core_options options = {
        .io = server->io,
        .keyring = server->keyring,
        .directory = config->data,
        .memtable_size = config->memtable_size,
        .cache_size = config->cache_size,
        .workers_count = config->worker_threads,
        .uncompressed = config->compression_off,
        .outcome_retention_ms = config->outcome_retention_ms,
        .outcomes_size_max = config->outcomes_size,
        .snapshot_age_ms = (uint32_t)config->snapshot_age_ms,
        .scrub_period_ms = config->scrub_period_ms,
        .bus = server->peering != NULL ? peering_bus(server->peering) : NULL,
        .self = server->peering != NULL ? peering_self(config) : (struct member){0},
        .bootstrap = config->bootstrap,
        .election_timeout_ms = config->region.election_timeout_ms,
        .lease_off = config->region.lease_off,
        .upgrade_held = config->region.upgrade_held,
        .probe = server->peering != NULL ? ask : NULL,
        .region_id = config->region.id,
        .link = server->linking != NULL ? linking_link(server->linking) : NULL,
        .herald_link = server->linking != NULL ? linking_herald(server->linking) : NULL,
        .witness_link = server->linking != NULL ? linking_witness(server->linking) : NULL,
        .witnesses = config->witness.endpoints,
        .witnesses_count = config->witness.endpoints_count,
        .lease_ms = (uint32_t)config->witness.lease_ms,
        .promote_automatic = config->witness.automatic,
        .promote_lag_max_ms = config->witness.lag_max_ms,
        .standby_of = config->region.standby_of,
        .standby_of_count = config->region.standby_of_count,
        .shipping_retained_size = config->shipping_retained_size,
        .promotion_sign = server->linking != NULL ? sign_promotion : NULL,
        .promotion_verify = server->linking != NULL ? verify_promotion : NULL,
        .seed = seed,
        .processor_us = processor_us,
        .failed = on_failed,
        .context = server,
    };
    return core_open(&options, &server->core, error);
}

/* Of a promotion, by a server of either region. */
static enum status witness_verify(void *context, struct bytes record, struct epoch *to,
                                  struct error *error)
{
    struct server *server = context;
    const struct promotion_trust trust = {
        .tls = server->tls,
        .access = server->access,
        .cluster_id = keyring_cluster_id(server->keyring),
        .wall_ms = io_wall_ns(server->io) / NS_PER_MS,
    };
    char signer[limit_identity_size + 1];
    struct promotion promotion;

    *to = (struct epoch){0};
    enum status status = promotion_verify(record, &trust, &promotion, signer, error);
    if (status != STATUS_OK)
        return status;
    *to = promotion.to;
    log_info("promotion_valid", LOG_TEXT("signer", signer), LOG_TEXT("region", promotion.name),
             LOG_U64("number", promotion.to.number));
    return STATUS_OK;
}

static enum status open_witness(struct server *server, struct error *error)
{
    const struct witness_options options = {
        .io = server->io,
        .keyring = server->keyring,
        .directory = server->config->data,
        .lease_ms = server->config->witness.lease_ms,
        .is_new = server->config->bootstrap,
        .verify = witness_verify,
        .failed = on_failed,
        .context = server,
    };
    return witness_open(&options, &server->witness, error);
}

/* Half of the descriptors at most are for connections: those of the log and the tables never lack,
 * however many strangers knock. */
static uint32_t connections_max(void)
{
    struct rlimit files;
    uint64_t standard = limit_connections_count;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur / 2 >= standard)
        return (uint32_t)standard;
    log_warn("files_few", LOG_U64("limit", files.rlim_cur),
             LOG_U64("connections_max", files.rlim_cur / 2),
             LOG_TEXT("text", "the limit on open files (ulimit -n, LimitNOFILE of systemd) lets "
                              "fewer clients in: half of it is kept for the store"));
    return (uint32_t)files.rlim_cur / 2;
}

static enum status open_net(struct server *server, struct error *error)
{
    const struct config *config = server->config;
    const struct tls_options tls = {
        .certificate = config->tls_certificate, .key = config->tls_key, .ca = config->tls_ca};
    enum status status = tls_context_open(&tls, &server->tls, error);
    if (status != STATUS_OK)
        return status;
    const struct net_threads_options options = {
        .core_io = server->io,
        .count = config->net_threads,
        .host = config->listen_host,
        .port = config->listen_port,
        .connections_max = connections_max(),
        .tls = server->tls,
        .access = server->access,
    };
    return net_threads_open(&options, &server->net, error);
}

static enum status open_all(struct server *server, struct error *error)
{
    const struct io_uring_options options = {.receive_buffers_count = receive_buffers_count,
                                             .receive_buffer_size = receive_buffer_size};
    enum status status = io_uring_open(&options, &server->io, error);
    if (status == STATUS_OK)
        status = watch_signals(server, error);
    if (status == STATUS_OK)
        status = open_directory(server, error);
    if (status == STATUS_OK)
        status = open_keyring(server, error);
    if (status == STATUS_OK)
        status = open_peering(server, error);
    bool is_witness = server->config->witness.is_self;
    if (status == STATUS_OK)
        status = is_witness ? open_witness(server, error) : open_core(server, error);
    if (status == STATUS_OK)
        status = open_net(server, error);
    if (status == STATUS_OK && !is_witness)
        status = watch_open(server->config, server->io, server->core, &server->watch, error);
    return status;
}

/* ---- Run ---- */

static void reload_certificates(struct server *server)
{
    const struct config *config = server->config;
    const struct tls_options options = {
        .certificate = config->tls_certificate, .key = config->tls_key, .ca = config->tls_ca};
    struct error error = {0};
    SSL_CTX *tls;

    if (tls_context_open(&options, &tls, &error) != STATUS_OK ||
        (server->peering != NULL && peering_reload(server->peering, &error) != STATUS_OK) ||
        (server->linking != NULL && linking_reload(server->linking, &error) != STATUS_OK)) {
        SSL_CTX_free(tls);
        log_error("reload_failed", LOG_TEXT("text", error.text),
                  LOG_TEXT("next", "the certificates of before stay in use"));
        return;
    }
    net_threads_reload(server->net, tls);
    watch_reload(server->watch);
    SSL_CTX_free(server->tls);
    server->tls = tls;
    log_info("certificates_reloaded", LOG_TEXT("certificate", config->tls_certificate));
}

/* Who may come in, by the file as it is now; the rest of it waits for the next start. */
static void reload_access(struct server *server)
{
    struct config fresh;
    struct error error = {0};
    struct access *access = NULL;

    if (server->config->path == NULL)
        return; /* a development server's list is what its certificates are made for */
    enum status status = config_load(&fresh, server->config->path, &error);
    if (status == STATUS_OK) {
        status = config_open_access(&fresh, &access);
        if (status != STATUS_OK)
            error_set(&error, status, "The access list could not be made: %s.",
                      status_text(status));
    }
    if (status != STATUS_OK) {
        log_error("reload_failed", LOG_TEXT("text", error.text),
                  LOG_TEXT("next", "the access list of before stays in force"));
        config_free(&fresh);
        return;
    }
    if (server->peering != NULL)
        peering_reload_access(server->peering, access);
    if (server->linking != NULL)
        linking_reload_access(server->linking, access);
    net_threads_reload_access(server->net, access);
    access_close(server->access);
    server->access = access;
    log_info("access_reloaded", LOG_U64("identities", fresh.access_count));
    config_free(&fresh);
}

static uint64_t requests_count(const struct server *server)
{
    return server->witness != NULL ? witness_requests_count(server->witness)
                                   : core_requests_count(server->core);
}

/* Whether a stop waits for something yet. */
static bool is_draining(const struct server *server)
{
    return (!net_threads_are_drained(server->net) && !server->drain_over) ||
           requests_count(server) != 0;
}

static void turn(struct server *server, bool stops)
{
    struct request *request;
    bool more = false;

    while ((request = net_threads_take(server->net)) != NULL) {
        if (server->witness != NULL)
            witness_take(server->witness, request);
        else
            core_take(server->core, request);
    }
    if (server->core != NULL)
        more = core_turn(server->core);
    watch_turn(server->watch);
    net_threads_turn_end(server->net);
    /* Where the turn itself has ended the last request, no event may come that tells of it. */
    io_turn(server->io,
            !more && net_threads_may_wait(server->net) && (!stops || is_draining(server)));
}

static void on_drain_over(struct io_timer *timer)
{
    struct server *server = timer->context;
    server->drain_over = true;
    if (server->core != NULL)
        core_refuse_rest(server->core);
}

static void run(struct server *server)
{
    while (!stop_wanted) {
        turn(server, false);
        if (reload_wanted) {
            reload_wanted = 0;
            reload_certificates(server);
            reload_access(server);
        }
    }
    log_info("stopping");
    if (sd_notify(0, "STOPPING=1") < 0)
        log_warn("sd_notify_failed");
    if (server->core != NULL)
        core_stop(server->core);
    watch_stop(server->watch);
    net_threads_drain(server->net);
    server->drain_timer = (struct io_timer){.fired = on_drain_over, .context = server};
    io_timer_start(server->io, &server->drain_timer, io_boot_ns(server->io) + drain_ms * NS_PER_MS);
    while (is_draining(server))
        turn(server, true);
    io_timer_stop(server->io, &server->drain_timer);
}

static void say_ready(struct server *server, struct dev *dev)
{
    uint16_t port = net_threads_port(server->net);
    log_info("ready", LOG_TEXT("host", server->config->listen_host), LOG_U64("port", port),
             LOG_TEXT("data", server->config->data), LOG_U64("pid", (uint64_t)getpid()));
    if (sd_notify(0, "READY=1") < 0)
        log_warn("sd_notify_failed");
    if (dev != NULL) {
        dev_link(dev);
        printf("straitd %s is ready on %s:%u (TLS 1.3, mutual; data at rest %s).\n"
               "  files    %s\n"
               "  profile  %s\n",
               STRAIT_VERSION_TEXT, server->config->listen_host, port,
               server->config->encryption_off ? "PLAIN, by choice" : "encrypted", dev->directory,
               dev->link[0] != 0 ? dev->link : dev->profile);
        if (dev->link_kept[0] != 0)
            printf("  %s\n", dev->link_kept);
        printf("Try: strait status\n");
        fflush(stdout);
    }
}

/* In reverse order; whatever was opened. */
static enum status close_all(struct server *server, struct error *error)
{
    enum status status = STATUS_OK;
    if (server->net != NULL)
        net_threads_close(server->net);
    watch_close(server->watch);
    if (server->core != NULL)
        status = core_close(server->core, error);
    witness_close(server->witness);
    linking_close(server->linking);
    peering_close(server->peering);
    access_close(server->access);
    SSL_CTX_free(server->tls);
    keyring_close(server->keyring);
    if (server->lock != NULL && io_close_wait(server->io, server->lock) != STATUS_OK)
        log_warn("lock_close_failed");
    if (signalled != NULL) {
        signalled = NULL;
        io_bell_close(server->io, &server->signals);
    }
    if (server->io != NULL)
        io_uring_close(server->io);
    return status;
}

enum status serve(const struct config *config, struct dev *dev, struct error *error)
{
    struct server server = {.config = config};
    struct error close_error = {0};

    enum status status = open_all(&server, error);
    if (status == STATUS_OK) {
        say_ready(&server, dev);
        run(&server);
    }
    enum status closed = close_all(&server, &close_error);
    if (status != STATUS_OK)
        return status;
    if (closed != STATUS_OK)
        return error_set(error, closed, "%s", close_error.text);
    log_info("stopped");
    return STATUS_OK;
}
