/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of a configuration that mean more than themselves: sizes, times, ids, addresses. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/config.h"

/* ---- Texts with units ---- */

/* Digits, then perhaps spaces: the number, and where the unit begins. */
static bool parse_number(const char *text, uint64_t *number, const char **unit)
{
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    if (errno != 0)
        return false;
    while (*end == ' ')
        end++;
    *unit = end;
    return true;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static enum status parse_with_unit(const char *text, const struct unit *units, uint64_t *result)
{
    uint64_t number = 0;
    const char *unit = NULL;
    *result = 0;
    if (!parse_number(text, &number, &unit))
        return STATUS_INVALID_ARGUMENT;
    for (; units->name != NULL; units++) {
        if (strcmp(units->name, unit) == 0)
            return __builtin_mul_overflow(number, units->factor, result) ? STATUS_INVALID_ARGUMENT
                                                                         : STATUS_OK;
    }
    return STATUS_INVALID_ARGUMENT;
}

enum status config_parse_size(const char *text, uint64_t *size)
{
    static const struct unit units[] = {{"", 1},
                                        {"B", 1},
                                        {"kB", 1000},
                                        {"KB", 1000},
                                        {"MB", 1000 * 1000},
                                        {"GB", 1000 * 1000 * 1000},
                                        {"TB", UINT64_C(1000) * 1000 * 1000 * 1000},
                                        {"KiB", 1024},
                                        {"MiB", 1024 * 1024},
                                        {"GiB", 1024 * 1024 * 1024},
                                        {"TiB", UINT64_C(1024) * 1024 * 1024 * 1024},
                                        {NULL, 0}};
    return parse_with_unit(text, units, size);
}

enum status config_parse_duration(const char *text, uint64_t *duration_ms)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 60 * 60 * 1000}, {"d", 24 * 60 * 60 * 1000},
        {NULL, 0}};
    return parse_with_unit(text, units, duration_ms);
}

enum status config_parse_cluster_id(const char *text, uint8_t id[config_cluster_id_size])
{
    static const char digits[] = "0123456789abcdef";
    memset(id, 0, config_cluster_id_size);
    if (strlen(text) != 2 * config_cluster_id_size ||
        strspn(text, digits) != 2 * config_cluster_id_size)
        return STATUS_INVALID_ARGUMENT;
    for (int i = 0; i < config_cluster_id_size; i++)
        id[i] = (uint8_t)((strchr(digits, text[2 * i]) - digits) << 4 |
                          (strchr(digits, text[2 * i + 1]) - digits));
    return STATUS_OK;
}

static bool host_is_numeric(const char *host, bool bracketed)
{
    struct in6_addr v6;
    struct in_addr v4;
    return bracketed ? inet_pton(AF_INET6, host, &v6) == 1 : inet_pton(AF_INET, host, &v4) == 1;
}

enum status config_parse_address(const char *text, char host[config_host_size], uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    const char *unit = NULL;
    uint64_t number = 0;
    *port = 0;
    host[0] = 0;
    if (colon == NULL)
        return STATUS_INVALID_ARGUMENT;
    bool bracketed = text[0] == '[' && colon > text && colon[-1] == ']';
    size_t size = (size_t)(colon - text) - (bracketed ? 2 : 0);
    if (size >= config_host_size || strlen(colon + 1) > 5 ||
        !parse_number(colon + 1, &number, &unit) || *unit != 0 || number == 0 ||
        number > UINT16_MAX)
        return STATUS_INVALID_ARGUMENT;
    memcpy(host, text + bracketed, size);
    host[size] = 0;
    if (!host_is_numeric(host, bracketed)) {
        host[0] = 0;
        return STATUS_INVALID_ARGUMENT;
    }
    *port = (uint16_t)number;
    return STATUS_OK;
}

bool config_is_address_of_name(const char *text)
{
    const char *colon = strrchr(text, ':');
    const char *unit = NULL;
    uint64_t port = 0;
    char host[config_host_size];
    uint16_t number;
    if (!identity_is_valid(text) || colon == NULL || colon == text || strlen(colon + 1) > 5 ||
        !parse_number(colon + 1, &port, &unit) || *unit != 0 || port == 0 || port > UINT16_MAX)
        return false;
    return config_parse_address(text, host, &number) == STATUS_OK ||
           strcspn(text, "[]:") == (size_t)(colon - text);
}
