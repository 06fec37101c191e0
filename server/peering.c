/* SPDX-License-Identifier: Apache-2.0 */
#include "server/peering.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "server/net/tls.h"

enum { cluster_version_oldest = 1 };

/* One that is under way, or whose answer was known at once and is told in the next turn. */
struct question {
    bool in_use;
    struct io_timer later;
    char name[limit_member_name_size + 1];
    enum status status;
    const char *text;
    peering_asked_fn *asked; /* NULL: nobody wants to know any more */
    void *context;
};

struct peering {
    const struct config *config;
    struct io *io;
    struct peers *peers;
    struct question questions[limit_peer_probes_count];
};

struct bus *peering_bus(struct peering *peering)
{
    return peers_bus(peering->peers);
}

struct member peering_self(const struct config *config)
{
    struct member self = {0};
    snprintf(self.name, sizeof self.name, "%s", config->region.name);
    snprintf(self.peers, sizeof self.peers, "%s", config->region.peers);
    snprintf(self.clients, sizeof self.clients, "%s", config->region.clients);
    return self;
}

/* ---- Opening ---- */

enum status peering_tls_open(const struct config *config, SSL_CTX **tls, struct error *error)
{
    const struct tls_options options = {
        .certificate = config->tls_certificate, .key = config->tls_key, .ca = config->tls_ca};
    return tls_peers_context_open(&options, tls, error);
}

enum status peering_open(const struct config *config, struct io *io, const struct access *access,
                         const uint8_t cluster_id[peer_cluster_id_size], uint32_t versions_max,
                         struct peering **peering, struct error *error)
{
    *peering = NULL;
    ASSERT(config->region.name != NULL);
    struct peering *made = calloc(1, sizeof *made);
    if (made == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory for the bus between members.");
    made->config = config;
    made->io = io;
    struct peers_options options = {
        .io = io,
        .access = access,
        .host = config->region.listen_host,
        .port = config->region.listen_port,
        .name = config->region.name,
        .peers_address = config->region.peers,
        .clients_address = config->region.clients,
        .cluster_version_min = cluster_version_oldest,
        .cluster_version_max = versions_max,
    };
    memcpy(options.cluster_id, cluster_id, sizeof options.cluster_id);
    enum status status = peering_tls_open(config, &options.tls, error);
    if (status == STATUS_OK && RAND_bytes((unsigned char *)&options.seed, sizeof options.seed) != 1)
        status = error_set(error, STATUS_INTERNAL, "The system gave no random bytes.");
    if (status == STATUS_OK)
        status = peers_open(&options, &made->peers, error);
    SSL_CTX_free(options.tls);
    if (status != STATUS_OK) {
        free(made);
        return status;
    }
    *peering = made;
    return STATUS_OK;
}

void peering_close(struct peering *peering)
{
    if (peering == NULL)
        return;
    /* Who asked may be gone already. */
    for (int i = 0; i < limit_peer_probes_count; i++) {
        io_timer_stop(peering->io, &peering->questions[i].later);
        peering->questions[i].asked = NULL;
    }
    peers_close(peering->peers);
    free(peering);
}

void peering_reload_access(struct peering *peering, const struct access *access)
{
    peers_reload_access(peering->peers, access);
}

enum status peering_reload(struct peering *peering, struct error *error)
{
    SSL_CTX *tls;
    enum status status = peering_tls_open(peering->config, &tls, error);
    if (status != STATUS_OK)
        return status;
    peers_reload_tls(peering->peers, tls);
    SSL_CTX_free(tls);
    return STATUS_OK;
}

/* ---- Who is there? ---- */

static void tell(struct question *question, enum status status, const struct peers_probed *probed,
                 const char *text)
{
    question->in_use = false;
    if (question->asked != NULL)
        question->asked(question->context, status, probed == NULL ? NULL : &probed->member,
                        probed == NULL ? 0 : probed->cluster_version_max, text);
}

static void answered(void *context, const struct peers_probed *probed)
{
    struct question *question = context;
    char text[error_text_size];
    if (probed->status != STATUS_OK) {
        tell(question, probed->status, NULL, probed->reason);
    } else if (strcmp(probed->member.name, question->name) != 0) {
        snprintf(text, sizeof text, "The server there is %s, not %s.", probed->member.name,
                 question->name);
        tell(question, STATUS_PERMISSION_DENIED, NULL, text);
    } else {
        tell(question, STATUS_OK, probed, "");
    }
}

static void answered_later(struct io_timer *timer)
{
    struct question *question = timer->context;
    tell(question, question->status, NULL, question->text);
}

static struct question *question_take(struct peering *peering)
{
    for (int i = 0; i < limit_peer_probes_count; i++) {
        struct question *question = &peering->questions[i];
        if (question->in_use)
            continue;
        *question = (struct question){.in_use = true};
        question->later = (struct io_timer){.fired = answered_later, .context = question};
        return question;
    }
    return NULL;
}

void peering_ask(struct peering *peering, const char *address, const char *name,
                 peering_asked_fn *asked, void *context)
{
    struct question *question = question_take(peering);
    if (question == NULL) {
        asked(context, STATUS_BUSY, NULL, 0, "Too many servers are being asked who they are.");
        return;
    }
    question->asked = asked;
    question->context = context;
    snprintf(question->name, sizeof question->name, "%s", name);
    question->status = peers_probe(peering->peers, address, answered, question);
    if (question->status == STATUS_OK)
        return;
    question->text = question->status == STATUS_INVALID_ARGUMENT
                         ? "The members' address of a server is HOST:PORT with a numeric HOST, "
                           "like 192.0.2.1:7412."
                         : status_text(question->status);
    io_timer_start(peering->io, &question->later, io_boot_ns(peering->io));
}
