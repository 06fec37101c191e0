/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/txn_id.h"

static const char digits[] = "0123456789abcdef";

static void hex_format(const uint8_t *from, size_t size, char *to)
{
    for (size_t i = 0; i < size; i++) {
        to[2 * i] = digits[from[i] >> 4];
        to[2 * i + 1] = digits[from[i] & 15];
    }
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static bool hex_parse(const uint8_t *from, uint8_t *to, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(from[2 * i]);
        int low = hex_digit(from[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        to[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void txn_id_format(const struct txn_id *id, char text[txn_id_text_size])
{
    uint8_t issued[sizeof id->issued_ns];

    store_u64_be(issued, id->issued_ns);
    hex_format(id->bytes, txn_id_size, text);
    text[2 * txn_id_size] = '-';
    hex_format(issued, sizeof issued, text + 2 * txn_id_size + 1);
    text[txn_id_text_size - 1] = 0;
}

enum status txn_id_parse(struct bytes text, struct txn_id *id)
{
    struct txn_id parsed;
    uint8_t issued[sizeof parsed.issued_ns];

    *id = (struct txn_id){0};
    if (text.size != txn_id_text_size - 1 || text.data[2 * txn_id_size] != '-' ||
        !hex_parse(text.data, parsed.bytes, txn_id_size) ||
        !hex_parse(text.data + 2 * txn_id_size + 1, issued, sizeof issued))
        return STATUS_INVALID_ARGUMENT;
    parsed.issued_ns = load_u64_be(issued);
    *id = parsed;
    return STATUS_OK;
}

int txn_id_compare(const struct txn_id *a, const struct txn_id *b)
{
    int order = memcmp(a->bytes, b->bytes, txn_id_size);
    return order != 0 ? order : (a->issued_ns > b->issued_ns) - (a->issued_ns < b->issued_ns);
}
