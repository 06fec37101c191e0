/* SPDX-License-Identifier: Apache-2.0 */
/* Content on its way between two LSMs: headers, pieces and entries stay within their bounds, and
 * what is taken encodes to the same bytes. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/lsm/transfer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_header(struct bytes from)
{
    struct transfer_header header;
    uint8_t *encoded;
    size_t encoded_size;
    if (transfer_header_decode(from, &header, NULL) != STATUS_OK)
        return;
    ASSERT(header.tables_count <= transfer_tables_count_max);
    ASSERT(transfer_header_encode(&header, &encoded, &encoded_size) == STATUS_OK);
    ASSERT(bytes_equal(bytes_of(encoded, encoded_size), from));
    free(encoded);
    manifest_free(&header.manifest);
}

static void check_entries(struct bytes payload)
{
    struct lsm_entry entry;
    struct bytes left = payload;
    enum status status;
    while ((status = transfer_entry_decode(&left, &entry)) == STATUS_OK) {
        size_t size = transfer_entry_size(&entry);
        uint8_t *encoded = malloc(size);
        ASSERT(encoded != NULL && size <= payload.size);
        transfer_entry_encode(encoded, &entry);
        ASSERT(memcmp(encoded, left.data - size, size) == 0);
        free(encoded);
    }
    ASSERT(status == STATUS_END || status == STATUS_MALFORMED);
}

static void check_piece(struct bytes from)
{
    struct transfer_piece piece;
    struct transfer_end end;
    struct hash128 digest = {0};
    if (transfer_piece_decode(from, &piece) != STATUS_OK)
        return;
    ASSERT(piece.level < lsm_levels_count && piece.payload.size != 0);
    if (transfer_piece_holds(&piece, from, &digest)) {
        uint8_t *again = malloc(from.size);
        ASSERT(again != NULL);
        memcpy(again, from.data, from.size);
        digest = (struct hash128){0};
        transfer_piece_seal(&piece, &digest, again);
        ASSERT(memcmp(again, from.data, from.size) == 0);
        free(again);
    }
    if (piece.type == TRANSFER_ENTRIES)
        check_entries(piece.payload);
    else if (transfer_end_decode(piece.payload, &end) == STATUS_OK)
        ASSERT(piece.payload.size == transfer_end_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_header(bytes_of(data, size));
    check_piece(bytes_of(data, size));
    check_entries(bytes_of(data, size));
    return 0;
}
