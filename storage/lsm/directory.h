/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that are made and removed as a whole: checkpoints, and what is staged. Blocking; any
 * thread's io. */
#ifndef STORAGE_LSM_DIRECTORY_H
#define STORAGE_LSM_DIRECTORY_H

#include "storage/io/io.h"

enum { directory_name_size_max = 256 };

/* The names of the files in a directory, sorted, so that the same directory is gone through in the
 * same order wherever it is. */
struct directory_names {
    char (*names)[directory_name_size_max]; /* malloc */
    size_t count;
    bool no_memory;
};

/* NOT_FOUND, IO_ERROR, NO_MEMORY: nothing is to be freed. */
MUST_CHECK enum status directory_list(struct io *io, const char *directory,
                                      struct directory_names *names);
void directory_names_free(struct directory_names *names);

/* Unlinks all files in it; the directory stays. */
MUST_CHECK enum status directory_empty(struct io *io, const char *directory);

#endif
