/* SPDX-License-Identifier: Apache-2.0 */
/* Members of a region, as replies tell of them. */
#ifndef CLIENT_MEMBER_H
#define CLIENT_MEMBER_H

#include "client/result.h"

/* In the result's arena, referring to the reply in it. NULL where memory ran out; not for none. */
const struct strait_member *members_translate(struct result *result, Strait__Member *const *members,
                                              size_t count);

#endif
