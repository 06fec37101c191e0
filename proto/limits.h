/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of what comes from outside or waits in a queue, by name, in one place. */
#ifndef PROTO_LIMITS_H
#define PROTO_LIMITS_H

enum {
    /* Data. */
    limit_key_size = 1024,           /* a record's key */
    limit_value_size = 1024 * 1024,  /* a record's value */
    limit_name_size = 64,            /* a table's or an index's name: [a-z0-9_-], a letter first */
    limit_identity_size = 64,        /* the identity that a certificate gives */
    limit_index_key_size = 1024,     /* a key within an index */
    limit_record_indexes_count = 16, /* index entries that one record carries */
    limit_tables_count = 1024,
    limit_table_indexes_count = 32,

    /* One transaction. */
    limit_txn_size = 4 * 1024 * 1024,   /* its encoded commit */
    limit_txn_operations_count = 10000, /* puts, deletes, adds and schema changes */
    limit_txn_conditions_count = 10000,
    limit_txn_reads_count = 10000,           /* keys read that are validated */
    limit_txn_ranges_count = 1000,           /* ranges read that are validated */
    limit_txn_arena_size = 48 * 1024 * 1024, /* memory of decoding and executing one */

    /* One request. */
    limit_get_keys_count = 1000,
    limit_scan_records_count = 10000,   /* in one reply; a scan goes on with another request */
    limit_reply_size = 4 * 1024 * 1024, /* records stop being added to a reply past this */
    limit_lost_entries_count = 1000,    /* in one reply, of what a rewind gave up */
    limit_request_get_size = limit_get_keys_count * (limit_key_size + limit_name_size + 32),
    limit_request_scan_size = 16 * 1024,  /* bounds, names and the token to go on from */
    limit_request_pull_size = 16 * 1024,  /* a region's pull, with a promotion record */
    limit_request_region_size = 4 * 1024, /* a region with its endpoints */
    limit_request_small_size = 1024,      /* requests that carry no list */

    /* Decoding one message. The smallest legitimate items (a missing record with a key of one
     * byte) take over 40 times their size in memory; so the budget has a base that holds a
     * thousand of those, and the factor is that of the smallest operations. */
    limit_decode_factor = 24,                     /* arena budget: this many times the body */
    limit_decode_base_size = 1024 * 1024,         /* and this much more */
    limit_decode_size = 48 * 1024 * 1024,         /* and never more than this */
    limit_decode_elements_count = 16 * 1024,      /* of one repeated field */
    limit_decode_allocations_count = 1000 * 1000, /* pieces of one message */
    limit_decode_depth_count = 8,                 /* of messages within messages */

    /* Connections. */
    limit_frame_first_size = 4 * 1024,  /* the first frame's body, before anyone is known */
    limit_frame_size = 6 * 1024 * 1024, /* any frame's body: a reply, its last record and names */
    limit_tls_handshake_size = 64 * 1024,
    limit_handshake_ms = 5000, /* from accept to the first frame read, absolute */
    limit_connections_count = 16384,
    limit_connection_requests_count = 1024,          /* in flight on one connection */
    limit_connection_output_size = 16 * 1024 * 1024, /* replies not taken by a slow reader */
    limit_connection_key_updates_count = 32,         /* between two frames */
    limit_handshakes_count = 4096,                   /* connections that nobody is known of yet */
    limit_frame_ms = 60 * 1000,                      /* from a frame's first byte to its last */
    limit_send_ms = 30 * 1000, /* for the peer to take one send of at most 64 KiB */
    limit_close_ms = 2000,     /* for the peer to close after us, so that it reads what we said */
    limit_requests_count = 64 * 1024,         /* in flight over all connections of a net loop */
    limit_requests_size = 1024 * 1024 * 1024, /* the memory that they and their replies hold */
    limit_access_count = 4096,                /* identities in the access list */

    /* A region. */
    limit_members_count = 16,
    limit_voters_count = 7, /* in each half of a joint configuration */
    limit_member_name_size = 64,
    limit_member_address_size = 64,              /* HOST:PORT */
    limit_peer_frame_size = 64 * 1024,           /* so that heartbeats overtake at frame borders */
    limit_peer_message_size = 8 * 1024 * 1024,   /* put together from frames */
    limit_peer_queue_size = 32 * 1024 * 1024,    /* waiting to be sent to one member */
    limit_peer_queue_control_size = 1024 * 1024, /* of these, kept for CONTROL */
    limit_peer_handshakes_count = 128,           /* of members that dial us, at a time */
    limit_peer_handshakes_host_count = 32,       /* of one host */
    limit_peer_probes_count = 4,                 /* strangers that we dial at a time */

    /* Between regions. */
    limit_regions_count = 16, /* of a cluster */
    limit_region_endpoints_count = limit_members_count,
    limit_promotion_record_size = 8 * 1024,   /* with the signer's certificates */
    limit_promotion_shown_size = 3584,        /* of one that fits a client's Hello */
    limit_link_endpoints_count = 32,          /* of who is followed: an upstream, the primary */
    limit_link_requests_count = 64,           /* in flight to it */
    limit_link_output_size = 8 * 1024 * 1024, /* of these, bytes that wait to be sent */

    /* Snapshots. */
    limit_snapshot_age_ms = 60 * 1000, /* unless renewed */
    limit_snapshots_count = 16384,
    limit_ttl_days = 3650 /* the farthest expiry */
};

#endif
