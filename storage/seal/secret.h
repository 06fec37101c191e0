/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for keys: its own pages, kept out of swap and of core dumps, and wiped before it goes. */
#ifndef STORAGE_SEAL_SECRET_H
#define STORAGE_SEAL_SECRET_H

#include "proto/base/bytes.h"

struct secret {
    uint8_t *data; /* zeroed at first; NULL: none */
    size_t size;   /* whole pages */
    bool locked;   /* false: the system refused (RLIMIT_MEMLOCK), and swap may see it */
};

/* False where memory is out. Whether it could be locked is in `locked`: not fatal. */
bool secret_allocate(struct secret *secret, size_t size);
void secret_free(struct secret *secret); /* may be called on zeroes */

#endif
