/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a promotion. Whatever comes: what is parsed is within its bounds, nothing that was
 * not signed is believed, and what says nothing leaves nothing behind. */
#include <openssl/ssl.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/regions.h"
#include "server/net/promotion.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static SSL_CTX *tls; /* trusts nobody */
static struct access *list;
static const uint8_t zeros[sizeof(struct promotion)];

static void open_once(void)
{
    if (tls != NULL)
        return;
    tls = SSL_CTX_new(TLS_method());
    enum status status = access_open(&list);
    ASSERT(tls != NULL && status == STATUS_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct promotion promotion;
    char signer[limit_identity_size + 1];
    struct error error = {0};
    open_once();
    enum status status = promotion_parse(bytes_of(data, size), &promotion);
    uint8_t cluster_id[promotion_cluster_id_size];
    memcpy(cluster_id, promotion.cluster_id, sizeof cluster_id);
    if (status == STATUS_OK) {
        ASSERT(size <= limit_promotion_record_size && promotion.to.number != 0);
        ASSERT(epoch_compare(promotion.from, promotion.to) < 0);
        ASSERT(promotion.endpoints_count <= limit_region_endpoints_count);
        for (unsigned i = 0; i < promotion.endpoints_count; i++)
            ASSERT(region_endpoint_is_valid(promotion.endpoints[i]));
    } else {
        ASSERT(memcmp(&promotion, zeros, sizeof promotion) == 0);
    }
    const struct promotion_trust trust = {
        .tls = tls, .access = list, .cluster_id = cluster_id, .wall_ms = 1700000000000};
    enum status verified =
        promotion_verify(bytes_of(data, size), &trust, &promotion, signer, &error);
    ASSERT(verified != STATUS_OK && error.text[0] != 0 && signer[0] == 0);
    ASSERT(status == STATUS_OK || verified == status);
    return 0;
}
