/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void assert_fail(const char *file, int line, const char *expression)
{
    fprintf(stderr, "level=fatal event=assertion_failed place=%s:%d expression=\"%s\"\n", file,
            line, expression);
    fflush(stderr);
    abort();
}
