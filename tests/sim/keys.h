/* SPDX-License-Identifier: Apache-2.0 */
/* The keys on a simulated disk: made as an installation makes them, and opened. */
#ifndef TESTS_SIM_KEYS_H
#define TESTS_SIM_KEYS_H

#include "proto/base/error.h"
#include "storage/io/io.h"
#include "storage/seal/registry.h"

/* Where all that is kept on a simulated disk lies. */
extern const char sim_directory[];

/* Opens the keyring; where `*is_made` does not say that there is one, the master key and the
 * registry are made before: tried again at the next start where that was cut short. `salt` keeps
 * the keys of different disks apart. Blocking. */
MUST_CHECK enum status sim_keys_open(struct io *io, unsigned salt, bool *is_made,
                                     struct keyring **keyring, struct error *error);

#endif
