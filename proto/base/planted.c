/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/planted.h"

#if defined(STRAIT_PLANTED)

#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"

static bool looked;
static enum planted chosen;

enum planted planted_chosen(void)
{
    if (!looked) {
        const char *name = getenv("STRAIT_PLANTED_BUG");
        bool known = planted_choose(name == NULL ? "" : name);
        ASSERT(known);
    }
    return chosen;
}

bool planted_choose(const char *name)
{
    static const char *const names[] = {"",
#define PLANTED_NAME(name, text) #name,
                                        PLANTED_LIST(PLANTED_NAME)
#undef PLANTED_NAME
    };

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], name) == 0) {
            chosen = (enum planted)i;
            looked = true;
            return true;
        }
    return false;
}

#else

bool planted_choose(const char *name)
{
    return *name == '\0';
}

#endif
