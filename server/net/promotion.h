/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a promotion: which region is the primary now, since which epoch, and where the
 * history before it ended, signed by one of that region's servers. Only such a record stops an old
 * primary: whoever has no member's key cannot, whatever epoch it claims.
 *
 *     offset size
 *      0      1   format, 1
 *      1      1   count of endpoints
 *      2      1   count of certificates: the signer's, then the intermediate ones, if any
 *      3      1   size of the region's name
 *      4      4   0
 *      8     16   cluster's id
 *     24      8   number of the epoch that ended
 *     32      4   region of the epoch that ended
 *     36      4   region of the epoch that began: the new primary
 *     40      8   number of the epoch that began
 *     48      8   last version of the epoch that ended
 *     56     16   chain digest at that version
 *     72      8   when it was signed: Unix time, milliseconds
 *     80          name; each endpoint: its size (1), its text; each certificate: its size (2), DER
 *                 then the signature's size (2), and the signature
 *
 * Texts are not terminated. Integers are little-endian. The signature is of the context below and
 * of all bytes before the signature's size, by the key of the first certificate: SHA-256 with RSA
 * or ECDSA, or Ed25519, or Ed448. The context is there so that no signature made for another
 * purpose with the same key can stand for one (TLS 1.3's begin with 64 spaces: RFC 8446, 4.4.3).
 *
 * A certificate ends, an epoch does not: what counts is whether the certificate is valid when the
 * record is verified. So a primary's servers sign the record anew, with the certificate that they
 * have by then, as long as somebody may have to hear of it. */
#ifndef SERVER_NET_PROMOTION_H
#define SERVER_NET_PROMOTION_H

#include <openssl/ssl.h>

#include "proto/base/error.h"
#include "proto/epoch.h"
#include "server/net/access.h"

enum { promotion_cluster_id_size = 16, promotion_certificates_max = 4 };

struct promotion {
    uint8_t cluster_id[promotion_cluster_id_size];
    struct epoch from;    /* number 0: none */
    struct epoch to;      /* above `from` */
    uint64_t version;     /* the last of `from` */
    struct hash128 chain; /* at `version` */
    uint64_t wall_ms;     /* when it was signed */

    /* The new primary: to.region. */
    char name[limit_name_size + 1]; /* proto/name.h */
    unsigned endpoints_count;
    char endpoints[limit_region_endpoints_count][limit_member_address_size + 1];
};

/* The bytes that travel. */
struct promotion_record {
    size_t size;
    uint8_t bytes[limit_promotion_record_size];
};

/* Signs with the certificate, its chain and its key of `tls` (tls_peers_context_open()).
 * INVALID_ARGUMENT (epochs, name or endpoints that cannot be), TOO_LARGE (certificates past
 * limit_promotion_record_size), INTERNAL (OpenSSL's reason), with text. */
MUST_CHECK enum status promotion_sign(const struct promotion *promotion, SSL_CTX *tls,
                                      struct promotion_record *record, struct error *error);

/* What it says, not whether that is so: MALFORMED for what breaks the grammar, or has a byte too
 * many; UNSUPPORTED for another format. `*promotion` is zeroed then. */
MUST_CHECK enum status promotion_parse(struct bytes record, struct promotion *promotion);

struct promotion_trust {
    SSL_CTX *tls;                /* its authorities are trusted */
    const struct access *access; /* who has the role `peer` */
    const uint8_t *cluster_id;   /* ours */
    uint64_t wall_ms;            /* now */
};

/* OK: it is of our cluster, and its signer has a valid certificate of an authority of ours and the
 * role `peer` here; `signer` is who that was. Else `*promotion` is zeroed, with text: MALFORMED,
 * UNSUPPORTED; INVALID_ARGUMENT (another cluster); UNAUTHENTICATED (the certificate, or the
 * signature); PERMISSION_DENIED (the role); NO_MEMORY. Takes some 100 us. */
MUST_CHECK enum status promotion_verify(struct bytes record, const struct promotion_trust *trust,
                                        struct promotion *promotion,
                                        char signer[limit_identity_size + 1], struct error *error);

#endif
