/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/schema.h"

#include "proto/base/assert.h"

static enum status table_create(struct apply *apply, struct catalog *draft,
                                const Strait__TableCreate *create)
{
    if (apply->next.table_id_next == UINT32_MAX)
        return STATUS_TOO_LARGE;
    enum status status = catalog_table_create(draft, bytes_of_text(create->table),
                                              apply->next.table_id_next, apply->next.version);
    if (status == STATUS_OK)
        apply->next.table_id_next++;
    return status;
}

static enum status table_drop(struct catalog *draft, const Strait__TableDrop *drop)
{
    struct catalog_table *table = catalog_table_find(draft, bytes_of_text(drop->table));
    return table == NULL ? STATUS_NO_TABLE : catalog_table_drop(draft, table);
}

static enum status index_create(struct apply *apply, struct catalog *draft,
                                const Strait__IndexCreate *create)
{
    struct catalog_table *table = catalog_table_find(draft, bytes_of_text(create->table));
    if (table == NULL)
        return STATUS_NO_TABLE;
    if (apply->next.index_id_next == UINT32_MAX)
        return STATUS_TOO_LARGE;
    enum status status =
        catalog_index_create(draft, table, bytes_of_text(create->index), create->unique != 0,
                             apply->next.index_id_next, apply->next.version);
    if (status == STATUS_OK)
        apply->next.index_id_next++;
    return status;
}

static enum status index_drop(struct catalog *draft, const Strait__IndexDrop *drop)
{
    struct catalog_table *table = catalog_table_find(draft, bytes_of_text(drop->table));
    if (table == NULL)
        return STATUS_NO_TABLE;
    const struct catalog_index *index = catalog_index_find(table, bytes_of_text(drop->index));
    return index == NULL ? STATUS_NO_INDEX : catalog_index_drop(draft, table, index);
}

enum status schema_execute(struct apply *apply, const Strait__Operation *operation)
{
    struct catalog *draft = apply_draft(apply);
    if (draft == NULL)
        return STATUS_NO_MEMORY;
    switch (operation->kind_case) {
    case STRAIT__OPERATION__KIND_TABLE_CREATE:
        return table_create(apply, draft, operation->table_create);
    case STRAIT__OPERATION__KIND_TABLE_DROP:
        return table_drop(draft, operation->table_drop);
    case STRAIT__OPERATION__KIND_INDEX_CREATE:
        return index_create(apply, draft, operation->index_create);
    case STRAIT__OPERATION__KIND_INDEX_DROP:
        return index_drop(draft, operation->index_drop);
    default:
        UNREACHABLE();
    }
}
