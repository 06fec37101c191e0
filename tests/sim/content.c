/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/content.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"

struct sim_page {
    uint32_t references; /* contents that show it; only a page of one is written to */
    bool hashed;
    uint64_t hash;
    uint8_t bytes[sim_page_size];
};

static const uint8_t zeros[sim_page_size];

static void page_release(struct sim_page *page)
{
    if (page != NULL && --page->references == 0)
        free(page);
}

static void page_set(struct sim_page **slot, struct sim_page *page)
{
    if (page != NULL)
        page->references++;
    page_release(*slot);
    *slot = page;
}

/* The page in `slot`, made its own. `whole`: the caller overwrites all of it. */
static uint8_t *page_for_writing(struct sim_page **slot, bool whole)
{
    struct sim_page *old = *slot;
    if (old == NULL || old->references > 1) {
        struct sim_page *page = malloc(sizeof *page);
        ASSERT(page != NULL);
        page->references = 1;
        if (!whole)
            memcpy(page->bytes, old != NULL ? old->bytes : zeros, sim_page_size);
        page_release(old);
        *slot = page;
    }
    (*slot)->hashed = false;
    return (*slot)->bytes;
}

static void reserve(struct sim_content *content, uint64_t size)
{
    uint64_t count = (size + sim_page_size - 1) / sim_page_size;
    if (count <= content->pages_count)
        return;
    if (count < content->pages_count * 2)
        count = content->pages_count * 2;
    content->pages = realloc(content->pages, count * sizeof(struct sim_page *));
    ASSERT(content->pages != NULL);
    memset(content->pages + content->pages_count, 0,
           (count - content->pages_count) * sizeof(struct sim_page *));
    content->pages_count = count;
}

void sim_content_free(struct sim_content *content)
{
    for (uint64_t i = 0; i < content->pages_count; i++)
        page_release(content->pages[i]);
    free(content->pages);
    *content = (struct sim_content){0};
}

void sim_content_copy(struct sim_content *to, const struct sim_content *from)
{
    *to = (struct sim_content){0};
    reserve(to, from->size);
    to->size = from->size;
    sim_content_share(to, from, 0, from->size);
}

static void write_in_page(struct sim_page **slot, unsigned begin, const uint8_t *data,
                          unsigned size)
{
    bool whole = size == sim_page_size;
    bool is_zero = data == NULL || (whole && memcmp(data, zeros, sim_page_size) == 0);
    if (is_zero && (whole || *slot == NULL)) {
        page_set(slot, NULL);
        return;
    }
    uint8_t *bytes = page_for_writing(slot, whole) + begin;
    if (data == NULL)
        memset(bytes, 0, size);
    else
        memcpy(bytes, data, size);
}

void sim_content_write(struct sim_content *content, uint64_t offset, const void *data,
                       uint64_t size)
{
    const uint8_t *from = data;
    if (size == 0)
        return;
    reserve(content, offset + size);
    if (content->size < offset + size)
        content->size = offset + size;
    while (size > 0) {
        unsigned begin = (unsigned)(offset % sim_page_size);
        unsigned part = sim_page_size - begin;
        if (part > size)
            part = (unsigned)size;
        write_in_page(&content->pages[offset / sim_page_size], begin, from, part);
        from = from != NULL ? from + part : NULL;
        offset += part;
        size -= part;
    }
}

size_t sim_content_read(const struct sim_content *content, uint64_t offset, void *to, size_t size)
{
    if (offset >= content->size)
        return 0;
    if (size > content->size - offset)
        size = (size_t)(content->size - offset);
    for (size_t done = 0; done < size;) {
        const struct sim_page *page = content->pages[(offset + done) / sim_page_size];
        size_t begin = (offset + done) % sim_page_size;
        size_t part = sim_page_size - begin < size - done ? sim_page_size - begin : size - done;
        if (page != NULL)
            memcpy((uint8_t *)to + done, page->bytes + begin, part);
        else
            memset((uint8_t *)to + done, 0, part);
        done += part;
    }
    return size;
}

void sim_content_resize(struct sim_content *content, uint64_t size)
{
    uint64_t old_size = content->size;
    reserve(content, size);
    if (size < old_size) {
        uint64_t kept = (size + sim_page_size - 1) / sim_page_size;
        if (size % sim_page_size != 0) {
            unsigned begin = (unsigned)(size % sim_page_size);
            write_in_page(&content->pages[kept - 1], begin, NULL, sim_page_size - begin);
        }
        for (uint64_t i = kept; i * sim_page_size < old_size; i++)
            page_set(&content->pages[i], NULL);
    }
    content->size = size;
}

void sim_content_share(struct sim_content *to, const struct sim_content *from, uint64_t offset,
                       uint64_t size)
{
    if (offset >= to->size || size == 0)
        return;
    uint64_t end = offset + size < to->size ? offset + size : to->size;
    for (uint64_t i = offset / sim_page_size; i * sim_page_size < end; i++)
        page_set(&to->pages[i], i < from->pages_count ? from->pages[i] : NULL);
}

uint64_t sim_content_hash(const struct sim_content *content)
{
    uint64_t hash = hash_u64(content->size + 1);
    for (uint64_t i = 0; i * sim_page_size < content->size; i++) {
        struct sim_page *page = content->pages[i];
        if (page == NULL)
            continue;
        if (!page->hashed) {
            page->hash = memcmp(page->bytes, zeros, sim_page_size) == 0
                             ? 0
                             : hash64(bytes_of(page->bytes, sim_page_size)) | 1;
            page->hashed = true;
        }
        if (page->hash != 0)
            hash = hash_u64(hash ^ page->hash) + hash_u64(i + 1);
    }
    return hash;
}

bool sim_content_contains(const struct sim_content *content, struct bytes bytes)
{
    uint8_t window[2 * sim_page_size];
    ASSERT(bytes.size > 0 && bytes.size <= sim_page_size && bytes.data[0] != 0);
    for (uint64_t i = 0; i * sim_page_size < content->size; i++) {
        if (content->pages[i] == NULL)
            continue;
        size_t size = sim_content_read(content, i * sim_page_size, window, sizeof window);
        if (memmem(window, size, bytes.data, bytes.size) != NULL)
            return true;
    }
    return false;
}
