/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/planted.h"

const char *planted_name(enum planted bug)
{
    static const char *const names[PLANTED_END] = {"",
#define PLANTED_NAME(name, text) #name,
                                                   PLANTED_LIST(PLANTED_NAME)
#undef PLANTED_NAME
    };
    return names[bug];
}

const char *planted_text(enum planted bug)
{
    static const char *const texts[PLANTED_END] = {"",
#define PLANTED_TEXT(name, text) text,
                                                   PLANTED_LIST(PLANTED_TEXT)
#undef PLANTED_TEXT
    };
    return texts[bug];
}

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
    for (unsigned i = 0; i < PLANTED_END; i++)
        if (strcmp(planted_name((enum planted)i), name) == 0) {
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
