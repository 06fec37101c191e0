/* SPDX-License-Identifier: Apache-2.0 */
/* io_file_mode() of io.h as the operating system answers it: for the table of a real io. */
#ifndef STORAGE_IO_FILE_MODE_H
#define STORAGE_IO_FILE_MODE_H

#include "storage/io/io.h"

MUST_CHECK enum status file_mode_of_system(struct io *io, const char *path, unsigned *mode);

#endif
