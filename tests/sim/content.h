/* SPDX-License-Identifier: Apache-2.0 */
/* The contents of a simulated file: sparse, in pages that copies share until one is written. A page
 * of zeros takes no memory, so that preallocated files cost little. */
#ifndef TESTS_SIM_CONTENT_H
#define TESTS_SIM_CONTENT_H

#include "proto/base/bytes.h"

enum { sim_page_size = 4096 };

struct sim_page;

/* Zeroed: an empty file. Bytes past `size` are zero in the last page. */
struct sim_content {
    struct sim_page **pages; /* NULL: zeros */
    uint64_t pages_count;    /* allocated; covers at least `size` */
    uint64_t size;
};

void sim_content_free(struct sim_content *content);

/* `to` was zeroed or freed. */
void sim_content_copy(struct sim_content *to, const struct sim_content *from);

/* `data` NULL: zeros. Makes the file longer where needed. */
void sim_content_write(struct sim_content *content, uint64_t offset, const void *data,
                       uint64_t size);

/* The count of bytes there were, at most `size`. */
size_t sim_content_read(const struct sim_content *content, uint64_t offset, void *to, size_t size);

/* Longer: zeros. */
void sim_content_resize(struct sim_content *content, uint64_t size);

/* Makes the pages of `to` that meet [offset, offset + size) those of `from`. */
void sim_content_share(struct sim_content *to, const struct sim_content *from, uint64_t offset,
                       uint64_t size);

/* Of size and bytes; equal contents have equal hashes however they came to be. */
uint64_t sim_content_hash(const struct sim_content *content);

/* `bytes` are at most a page and begin with a byte that is not 0. */
bool sim_content_contains(const struct sim_content *content, struct bytes bytes);

#endif
