/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/file_mode.h"

#include <errno.h>
#include <sys/stat.h>

enum status io_file_mode(struct io *io, const char *path, unsigned *mode)
{
    *mode = 0600;
    return io->operations->file_mode == NULL ? STATUS_OK
                                             : io->operations->file_mode(io, path, mode);
}

enum status file_mode_of_system(struct io *io, const char *path, unsigned *mode)
{
    struct stat found;
    (void)io;
    *mode = 0;
    if (stat(path, &found) == 0) {
        *mode = found.st_mode & 07777;
        return STATUS_OK;
    }
    if (errno == ENOENT || errno == ENOTDIR)
        return STATUS_NOT_FOUND;
    return errno == EACCES ? STATUS_FORBIDDEN : STATUS_IO_ERROR;
}
