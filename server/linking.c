/* SPDX-License-Identifier: Apache-2.0 */
#include "server/linking.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/net/promotion.h"
#include "server/peering.h"

#define NS_PER_MS 1000000ULL

struct linking {
    const struct config *config;
    struct io *io;
    const struct access *access;
    const uint8_t *cluster_id;
    SSL_CTX *tls;
    struct region_link *link;
    struct region_link *herald;
    struct region_link *witness; /* NULL: none is configured */
};

enum status linking_open(const struct config *config, struct io *io, const struct access *access,
                         const uint8_t cluster_id[region_link_cluster_id_size],
                         struct linking **linking, struct error *error)
{
    *linking = NULL;
    ASSERT(config->region.name != NULL);
    struct linking *made = calloc(1, sizeof *made);
    if (made == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory for the link to other regions.");
    *made = (struct linking){
        .config = config, .io = io, .access = access_share(access), .cluster_id = cluster_id};
    char program[limit_name_size + 64];
    snprintf(program, sizeof program, "straitd/%s of %s", STRAIT_VERSION_TEXT,
             config->region.region_name);
    struct region_link_options options = {.io = io, .access = access, .program = program};
    memcpy(options.cluster_id, cluster_id, sizeof options.cluster_id);
    enum status status = peering_tls_open(config, &made->tls, error);
    if (status == STATUS_OK && RAND_bytes((unsigned char *)&options.seed, sizeof options.seed) != 1)
        status = error_set(error, STATUS_INTERNAL, "The system gave no random bytes.");
    options.tls = made->tls;
    if (status == STATUS_OK)
        status = region_link_open(&options, &made->link, error);
    if (status == STATUS_OK)
        status = region_link_open(&options, &made->herald, error);
    if (status == STATUS_OK && config->witness.endpoints_count != 0)
        status = region_link_open(&options, &made->witness, error);
    if (status != STATUS_OK) {
        linking_close(made);
        return status;
    }
    *linking = made;
    return STATUS_OK;
}

void linking_close(struct linking *linking)
{
    if (linking == NULL)
        return;
    if (linking->link != NULL)
        region_link_close(linking->link);
    if (linking->herald != NULL)
        region_link_close(linking->herald);
    if (linking->witness != NULL)
        region_link_close(linking->witness);
    SSL_CTX_free(linking->tls);
    access_close(linking->access);
    free(linking);
}

struct link *linking_link(struct linking *linking)
{
    return region_link_interface(linking->link);
}

struct link *linking_herald(struct linking *linking)
{
    return region_link_interface(linking->herald);
}

struct link *linking_witness(struct linking *linking)
{
    return linking->witness != NULL ? region_link_interface(linking->witness) : NULL;
}

void linking_reload_access(struct linking *linking, const struct access *access)
{
    const struct access *before = linking->access;
    linking->access = access_share(access);
    region_link_reload_access(linking->link, access);
    region_link_reload_access(linking->herald, access);
    if (linking->witness != NULL)
        region_link_reload_access(linking->witness, access);
    access_close(before);
}

enum status linking_reload(struct linking *linking, struct error *error)
{
    SSL_CTX *tls;
    enum status status = peering_tls_open(linking->config, &tls, error);
    if (status != STATUS_OK)
        return status;
    region_link_reload_tls(linking->link, tls);
    region_link_reload_tls(linking->herald, tls);
    if (linking->witness != NULL)
        region_link_reload_tls(linking->witness, tls);
    SSL_CTX_free(linking->tls);
    linking->tls = tls;
    return STATUS_OK;
}

enum status linking_sign(struct linking *linking, const struct epoch_change *change,
                         const struct region *self, uint8_t *record, size_t *size,
                         struct error *error)
{
    struct promotion_record signed_record;
    struct promotion promotion = {
        .from = change->from,
        .to = change->to,
        .version = change->version,
        .chain = change->chain,
        .wall_ms = io_wall_ns(linking->io) / NS_PER_MS,
        .endpoints_count = self->endpoints_count,
    };
    memcpy(promotion.cluster_id, linking->cluster_id, sizeof promotion.cluster_id);
    memcpy(promotion.name, self->name, sizeof promotion.name);
    memcpy(promotion.endpoints, self->endpoints, sizeof promotion.endpoints);
    enum status status = promotion_sign(&promotion, linking->tls, &signed_record, error);
    if (status != STATUS_OK)
        return status;
    memcpy(record, signed_record.bytes, signed_record.size);
    *size = signed_record.size;
    return STATUS_OK;
}

enum status linking_verify(struct linking *linking, struct bytes record, struct epoch *to,
                           struct error *error)
{
    const struct promotion_trust trust = {
        .tls = linking->tls,
        .access = linking->access,
        .cluster_id = linking->cluster_id,
        .wall_ms = io_wall_ns(linking->io) / NS_PER_MS,
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
