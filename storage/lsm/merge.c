/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/merge.h"

#include <stdlib.h>

#include "proto/base/assert.h"

bool merge_open(struct merge *merge, size_t sources_max)
{
    ASSERT(merge->sources == NULL);
    merge->sources = calloc(sources_max + 1, sizeof *merge->sources);
    return merge->sources != NULL;
}

void merge_add(struct merge *merge, struct table_file *const *files, uint32_t count)
{
    if (count != 0)
        merge->sources[merge->sources_count++] =
            (struct merge_source){.files = files, .count = count};
}

void merge_close(struct merge *merge)
{
    for (uint32_t i = 0; i < merge->sources_count; i++)
        table_scanner_close(merge->sources[i].scanner);
    free(merge->sources);
    *merge = (struct merge){0};
}

static enum status source_settle(struct merge_source *source, struct io *io)
{
    while (!source->standing && source->at < source->count) {
        enum status status = STATUS_OK;
        if (source->scanner == NULL)
            status = table_scanner_open(source->files[source->at]->table, &source->scanner);
        if (status == STATUS_OK)
            status = table_scanner_next(source->scanner, io, &source->entry);
        if (status == STATUS_END) {
            table_scanner_close(source->scanner);
            source->scanner = NULL;
            source->at++;
            continue;
        }
        if (status != STATUS_OK)
            return status;
        source->standing = true;
    }
    return STATUS_OK;
}

enum status merge_next(struct merge *merge, struct io *io, struct lsm_entry *entry,
                       struct error *error)
{
    struct merge_source *least = NULL;
    *entry = (struct lsm_entry){0};
    if (merge->last != NULL)
        merge->last->standing = false;
    merge->last = NULL;
    for (uint32_t i = 0; i < merge->sources_count; i++) {
        struct merge_source *source = &merge->sources[i];
        enum status status = source_settle(source, io);
        if (status != STATUS_OK)
            return error_set(error, status, "Reading %s: %s.",
                             table_file_path(source->files[source->at]->table),
                             status_text(status));
        if (source->standing &&
            (least == NULL || lsm_entry_order(source->entry.key, source->entry.version,
                                              least->entry.key, least->entry.version) < 0))
            least = source;
    }
    if (least == NULL)
        return STATUS_END;
    merge->last = least;
    *entry = least->entry;
    return STATUS_OK;
}
