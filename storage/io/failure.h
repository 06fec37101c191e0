/* SPDX-License-Identifier: Apache-2.0 */
/* Words for an operation on a file that failed. */
#ifndef STORAGE_IO_FAILURE_H
#define STORAGE_IO_FAILURE_H

#include "proto/base/status.h"

/* status_text(), but for an IO_ERROR while this process can open no more files: then that is what
 * an open has met, most likely, and the words say which limit to raise. Static. For paths that end
 * in an error: it asks the system. Any thread. */
const char *io_failure_text(enum status status);

#endif
