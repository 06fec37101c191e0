/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes in which the content of one LSM travels to another: a header, then pieces.
 *
 * What travels are entries, table by table, in their order; not blocks. The receiver's own table
 * writer makes the blocks, filters and indexes of its files, so all that a reader relies on is true
 * by construction, whatever the sender's version of the table format, and nothing of the structure
 * of a file has to be believed. It costs a compression of what was opened: about as much as a
 * compaction of the same bytes. Tables keep their places in their trees and levels.
 *
 *     header = u32 magic, u32 format (1), cluster id (16), id (16), u32 tables, u32 zero,
 *              u64 size, manifest
 *     piece  = u8 type, u8 level, u16 tree, u32 table, u32 chunk, u32 zero, digest (16), payload
 *
 * `id` names the checkpoint: drawn at random, the same for all who are sent it. `manifest` is one
 * of manifest.h without any tables: mark, attachment, horizon, trees and what they discard; `size`
 * is that of the sender's files, for showing how far it is. Integers are little-endian.
 *
 * Pieces come in the order of (table, chunk), both from 0: the tables in the order in which the
 * sender's manifest names them; of each, pieces of entries, then its end.
 *
 *     entries: payload = entry {entry}
 *              entry   = u16 key size, u16 zero, u32 (value size << 1 | deletion), u64 version,
 *                        key, value
 *     end:     payload = u64 entries, u64 tombstones, u64 version min, u64 version max
 *
 * The digest runs over the table: of the digest before (zeros at first), the piece's first 16
 * bytes, and the hash of its payload. So a piece that is damaged, out of place, of another table or
 * after a gap has another one, and the last one covers all of the table's plain content. It is
 * XXH3-128: against decay and mistakes. Against an adversary stands the mutual TLS that carries it.
 *
 * A piece of entries is filled up to transfer_payload_size; the cuts depend on the entries alone,
 * so a sender that begins a table anew makes the same pieces. */
#ifndef STORAGE_LSM_TRANSFER_H
#define STORAGE_LSM_TRANSFER_H

#include "proto/base/hash.h"
#include "storage/lsm/lsm.h"
#include "storage/lsm/manifest.h"

enum {
    transfer_header_fixed_size = 56,
    transfer_header_size_max = 128 * 1024,
    transfer_piece_head_size = 32,
    transfer_entry_head_size = 16,
    transfer_end_size = 32,
    transfer_payload_size = 256 * 1024, /* a piece with more holds one entry */
    transfer_piece_size_max =
        transfer_piece_head_size + transfer_entry_head_size + lsm_key_size_max + lsm_value_size_max,
    transfer_tables_count_max = 1 << 20,
};

enum transfer_type { TRANSFER_ENTRIES = 1, TRANSFER_END = 2 };

struct transfer_header {
    uint8_t cluster_id[seal_id_size];
    uint8_t id[lsm_transfer_id_size];
    uint32_t tables_count;
    uint64_t size;
    struct manifest manifest; /* without tables */
};

/* From malloc: the caller's. NO_MEMORY, TOO_LARGE. */
MUST_CHECK enum status transfer_header_encode(const struct transfer_header *header, uint8_t **bytes,
                                              size_t *size);

/* Its manifest points into `from`, and is to be freed by manifest_free(). MALFORMED, NEWER_FORMAT,
 * CORRUPT (its manifest), NO_MEMORY: nothing is to be freed. */
MUST_CHECK enum status transfer_header_decode(struct bytes from, struct transfer_header *header,
                                              struct error *error);

struct transfer_piece {
    enum transfer_type type;
    uint8_t level;
    uint16_t tree; /* id */
    struct lsm_transfer_position position;
    struct hash128 digest;
    struct bytes payload;
};

/* Writes the head of a piece whose payload stands behind it already, at to +
 * transfer_piece_head_size, and moves `digest`, the table's so far, over it. */
void transfer_piece_seal(const struct transfer_piece *piece, struct hash128 *digest, uint8_t *to);

/* MALFORMED: too short or too long, another type, or bytes that should be zero. The digest is not
 * looked at. */
MUST_CHECK enum status transfer_piece_decode(struct bytes from, struct transfer_piece *piece);

/* Whether the piece continues the table whose digest was `digest`, which is moved if so. */
bool transfer_piece_holds(const struct transfer_piece *piece, struct bytes bytes,
                          struct hash128 *digest);

size_t transfer_entry_size(const struct lsm_entry *entry);
void transfer_entry_encode(uint8_t *to, const struct lsm_entry *entry); /* its size */

/* The first entry of `*from`, which moves behind it. END: there is none. MALFORMED: it is cut off,
 * or past the bounds of lsm.h, or a deletion with a value. */
MUST_CHECK enum status transfer_entry_decode(struct bytes *from, struct lsm_entry *entry);

struct transfer_end {
    uint64_t entries_count;
    uint64_t tombstones_count;
    uint64_t version_min;
    uint64_t version_max;
};

void transfer_end_encode(uint8_t to[transfer_end_size], const struct table_info *info);
MUST_CHECK enum status transfer_end_decode(struct bytes from, struct transfer_end *end);

#endif
