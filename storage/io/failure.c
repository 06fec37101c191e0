/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/failure.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Told by whether one more can be had. */
static bool descriptors_are_used_up(void)
{
    int descriptor = eventfd(0, EFD_CLOEXEC);
    if (descriptor == -1)
        return errno == EMFILE || errno == ENFILE;
    close(descriptor);
    return false;
}

const char *io_failure_text(enum status status)
{
    if (status == STATUS_IO_ERROR && descriptors_are_used_up())
        return "no more files can be opened: raise the limit (ulimit -n, or LimitNOFILE= of the "
               "service)";
    return status_text(status);
}
