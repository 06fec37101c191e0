/* SPDX-License-Identifier: Apache-2.0 */
/* A history's text: whatever it is, it is judged or refused with words. */
#include "jepsen/check/edn.h"
#include "jepsen/check/list_append.h"
#include "jepsen/check/set_full.h"
#include "proto/base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct history history;
    struct verdict verdict = {0};

    if (size > 16 * 1024)
        return 0;
    history_init(&history);
    if (edn_read(&history, bytes_of(data, size), &verdict) == STATUS_OK) {
        list_append_check(&history, &verdict);
        ASSERT((verdict.kind == VERDICT_VALID) == (verdict.text[0] == 0));
        set_full_check(&history, &verdict);
        ASSERT((verdict.kind == VERDICT_VALID) == (verdict.text[0] == 0));
    } else {
        ASSERT(verdict.kind == VERDICT_MALFORMED && verdict.text[0] != 0);
    }
    history_free(&history);
    return 0;
}
