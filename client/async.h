/* SPDX-License-Identifier: Apache-2.0 */
/* Asynchronous calls: submitted here, completed in strait_dispatch(). */
#ifndef CLIENT_ASYNC_H
#define CLIENT_ASYNC_H

#include "client/handle.h"

/* Runs all completions that wait; returns their number. */
int async_run_completions(strait *handle);

#endif
