/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

bool address_split(const char *address, char host[limit_member_address_size + 1], uint16_t *port)
{
    const char *colon = strrchr(address, ':');
    *port = 0;
    host[0] = 0;
    if (colon == NULL)
        return false;
    bool is_bracketed = address[0] == '[' && colon > address + 1 && colon[-1] == ']';
    size_t size = (size_t)(colon - address) - (is_bracketed ? 2 : 0);
    const char *digits = colon + 1;
    size_t digits_count = strspn(digits, "0123456789");
    if (size == 0 || size > limit_member_address_size || digits_count == 0 || digits_count > 5 ||
        digits[digits_count] != 0)
        return false;
    unsigned long number = strtoul(digits, NULL, 10);
    if (number == 0 || number > UINT16_MAX)
        return false;
    memcpy(host, address + is_bracketed, size);
    host[size] = 0;
    *port = (uint16_t)number;
    return true;
}

bool address_is_numeric(const char *host)
{
    struct in6_addr v6;
    struct in_addr v4;
    return inet_pton(AF_INET, host, &v4) == 1 || inet_pton(AF_INET6, host, &v6) == 1;
}
