/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/directory.h"

#include <stdio.h>
#include <stdlib.h>

#include "storage/io/blocking.h"
#include "storage/lsm/lsm.h"
#include "storage/lsm/table.h"

static void collect_name(void *context, const char *name, bool is_directory)
{
    struct directory_names *names = context;
    if (is_directory || strlen(name) >= directory_name_size_max || names->no_memory)
        return;
    void *grown = realloc(names->names, (names->count + 1) * sizeof *names->names);
    if (grown == NULL) {
        names->no_memory = true;
        return;
    }
    names->names = grown;
    memcpy(names->names[names->count++], name, strlen(name) + 1);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

enum status directory_list(struct io *io, const char *directory, struct directory_names *names)
{
    *names = (struct directory_names){0};
    enum status status = io_list(io, directory, collect_name, names);
    if (status == STATUS_OK && names->no_memory)
        status = STATUS_NO_MEMORY;
    if (status != STATUS_OK)
        directory_names_free(names);
    else if (names->count != 0)
        qsort(names->names, names->count, sizeof *names->names, compare_names);
    return status;
}

void directory_names_free(struct directory_names *names)
{
    free(names->names);
    *names = (struct directory_names){0};
}

enum status directory_empty(struct io *io, const char *directory)
{
    struct directory_names names;
    char path[table_path_size + directory_name_size_max];
    enum status status = directory_list(io, directory, &names);
    for (size_t i = 0; i < names.count && status == STATUS_OK; i++) {
        int size = snprintf(path, sizeof path, "%s/%s", directory, names.names[i]);
        status = size < (int)sizeof path ? io_unlink_wait(io, path) : STATUS_INVALID_ARGUMENT;
    }
    directory_names_free(&names);
    return status;
}

enum status lsm_directory_remove(struct io *io, const char *directory)
{
    enum status status = directory_empty(io, directory);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    return status == STATUS_OK ? io_remove_directory_wait(io, directory) : status;
}
