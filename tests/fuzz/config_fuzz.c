/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration's text: whatever it is, it is read within its bounds or refused with words. */
#include "server/config.h"

#include "proto/base/assert.h"
#include "proto/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config;
    struct error error = {0};
    struct access *access = NULL;

    if (size > 64 * 1024)
        return 0;
    enum status status = config_parse(&config, "fuzz", bytes_of(data, size), &error);
    if (status != STATUS_OK) {
        ASSERT(error.text[0] != 0);
    } else {
        ASSERT(config.data != NULL && config.listen_port != 0);
        ASSERT(config.access_count >= 1 && config.access_count <= limit_access_count);
        ASSERT(config.worker_threads >= 1);
        ASSERT(config.snapshot_age_ms <= limit_snapshot_age_ms);
        ASSERT(config.region.name == NULL ||
               (identity_is_valid(config.region.name) && identity_is_valid(config.region.peers) &&
                identity_is_valid(config.region.clients)));
        ASSERT(config.region.id != 0 && name_text_is_valid(config.region.region_name));
        ASSERT(config.region.standby_of_count <= limit_link_endpoints_count);
        for (unsigned i = 0; i < config.region.standby_of_count; i++)
            ASSERT(identity_is_valid(config.region.standby_of[i]));
        ASSERT(config_open_access(&config, &access) == STATUS_OK);
        access_close(access);
    }
    config_free(&config);
    return 0;
}
