/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/seal/secret.h"

#include <sys/mman.h>
#include <unistd.h>

#include "proto/base/assert.h"

bool secret_allocate(struct secret *secret, size_t size)
{
    size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
    *secret = (struct secret){0};
    ASSERT(size != 0 && size <= SIZE_MAX - page_size);
    size = (size + page_size - 1) / page_size * page_size;
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return false;
    bool is_locked = mlock(pages, size) == 0;
    bool is_hidden = madvise(pages, size, MADV_DONTDUMP) == 0;
    *secret = (struct secret){.data = pages, .size = size, .locked = is_locked && is_hidden};
    return true;
}

void secret_free(struct secret *secret)
{
    if (secret->data != NULL) {
        bytes_wipe(secret->data, secret->size);
        int failed = munmap(secret->data, secret->size);
        ASSERT(failed == 0);
    }
    *secret = (struct secret){0};
}
