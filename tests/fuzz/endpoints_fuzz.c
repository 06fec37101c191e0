/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of endpoints, as servers name them to clients: whatever they hold, what is found is
 * HOST:PORT, and found again in its own text. */
#include <stdio.h>
#include <stdlib.h>

#include "client/options.h"
#include "proto/base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct endpoint endpoint;
    struct endpoint again;
    size_t count = 0;

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    const char *at = text;
    while (endpoint_next(&at, &endpoint)) {
        char written[sizeof endpoint.host + sizeof endpoint.port + 4];
        int length = snprintf(written, sizeof written, "[%s]:%s", endpoint.host, endpoint.port);
        ASSERT(endpoint.host[0] != 0 && atoi(endpoint.port) >= 1 && atoi(endpoint.port) <= 65535);
        ASSERT(endpoint_parse(written, (size_t)length, &again));
        ASSERT(memcmp(&endpoint, &again, sizeof again) == 0);
        ASSERT(++count <= size);
    }
    ASSERT(*at == 0);
    free(text);
    return 0;
}
