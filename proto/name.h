/* SPDX-License-Identifier: Apache-2.0 */
/* Names of tables and indexes: [a-z][a-z0-9_-]*, at most limit_name_size bytes. */
#ifndef PROTO_NAME_H
#define PROTO_NAME_H

#include "proto/base/bytes.h"

bool name_is_valid(struct bytes name);

/* The same for a terminated text; NULL is no name. */
bool name_text_is_valid(const char *name);

#endif
