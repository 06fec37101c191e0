/* SPDX-License-Identifier: Apache-2.0 */
/* The key registry: the store's identity, and its data keys, wrapped by the master key.
 *
 * It is a twin file (twin.h), replaced as a whole. Order of operations, each step durable before
 * the next: a new data key enters the registry, then files are sealed under it; a data key is
 * marked retired only when no file, checkpoint or backup names it. A change of master key rewraps
 * all data keys in one replacement.
 *
 * A keyring is given to all threads of the process: sealing, opening and the questions below may be
 * asked on any; rotate, rewrap and retire on one thread at a time. */
#ifndef STORAGE_SEAL_REGISTRY_H
#define STORAGE_SEAL_REGISTRY_H

#include "proto/base/error.h"
#include "storage/io/io.h"
#include "storage/seal/seal.h"

enum { master_key_size = 32, keyring_data_keys_max = 256 };

/* Where the master key comes from: exactly one of `file` and `command` is set, unless `plain`. */
struct master_key_source {
    const char *file;    /* 64 hexadecimal digits or 32 raw bytes; mode 0600 or 0400, or refused */
    const char *command; /* run with /bin/sh -c; prints the key in either form on standard output */
    bool plain;          /* encryption is off, by name */
};

struct keyring_report {
    bool repaired; /* one copy of the registry was bad and was written anew */
    char repaired_path[256];
    bool unlocked; /* the keys' memory could not be locked (RLIMIT_MEMLOCK): swap may see it */
};

/* Makes a new store's registry in `directory`, which exists and holds none (ALREADY_EXISTS). Draws
 * the store's id and the first data key. Blocking. */
MUST_CHECK enum status keyring_create(struct io *io, const char *directory,
                                      const struct master_key_source *source,
                                      const uint8_t cluster_id[seal_id_size], struct error *error);

/* Opens it. NOT_FOUND: no registry there. KEY_WRONG, KEY_MISSING, FORBIDDEN (a key file that others
 * can read), CORRUPT, NEWER_FORMAT: with text that names the file and what to do; nothing on disk
 * is touched. A store made plain opens only as plain, and the reverse: INVALID_ARGUMENT. Blocking.
 */
MUST_CHECK enum status keyring_open(struct io *io, const char *directory,
                                    const struct master_key_source *source,
                                    struct keyring **keyring, struct keyring_report *report,
                                    struct error *error);

/* A keyring that is on no disk: for stores that end with the process (temporary files, tests).
 * Draws a store id and, unless `plain`, a data key. NO_MEMORY; INTERNAL without randomness. */
MUST_CHECK enum status keyring_create_in_memory(const uint8_t cluster_id[seal_id_size], bool plain,
                                                struct keyring **keyring);

void keyring_close(struct keyring *keyring); /* wipes all keys; NULL is permitted */

const uint8_t *keyring_cluster_id(const struct keyring *keyring); /* seal_id_size bytes */
const uint8_t *keyring_store_id(const struct keyring *keyring);   /* seal_id_size bytes */
bool keyring_is_encrypted(const struct keyring *keyring);

/* The newest: what new files use. 0 where plain. */
uint32_t keyring_data_key(const struct keyring *keyring);

/* The three that follow are blocking, and change the disk first and the keyring then. Where one
 * fails the keyring stays as it was; after DISK_FULL, NO_MEMORY and INVALID_ARGUMENT the registry
 * does too, and all may be tried again. After any other failure the disk may hold the old or the
 * new registry: the caller ends the process. */

/* Adds a new data key, which new files use from then on. OUT_OF_BOUNDS where there are too many. */
MUST_CHECK enum status keyring_rotate(struct keyring *keyring, struct io *io, struct error *error);

/* Wraps all data keys anew under another master key. After a crash within it the store opens with
 * one of the two master keys, or with both; once it is done, with the new one alone. */
MUST_CHECK enum status keyring_rewrap(struct keyring *keyring, struct io *io,
                                      const struct master_key_source *source, struct error *error);

/* Removes the data keys that `is_used` denies, but never the newest. A file that is being made
 * counts as using the key that was newest when it began. */
MUST_CHECK enum status keyring_retire(struct keyring *keyring, struct io *io,
                                      bool (*is_used)(void *context, uint32_t data_key),
                                      void *context, struct error *error);

/* Reads both copies of the registry from the disk, repairing nothing, and calls `bad` for each that
 * does not hold: then CORRUPT. Blocking; any thread's io, but not beside keyring_rewrap(). */
MUST_CHECK enum status keyring_check(struct io *io, struct keyring *keyring, const char *directory,
                                     void (*bad)(void *context, const char *path, const char *text),
                                     void *context);

/* Reads the master key into locked memory of the caller's; wiped by its owner. KEY_MISSING: no such
 * file, or the command failed, printed more than 4 KiB or took longer than 30 s. KEY_WRONG: what is
 * there is no key. FORBIDDEN. INVALID_ARGUMENT: both or none of file and command. Blocking. */
MUST_CHECK enum status master_key_read(struct io *io, const struct master_key_source *source,
                                       uint8_t key[master_key_size], struct error *error);

#if defined(STRAIT_FAULTS)
/* For tests: how long a master key command may take, in place of 30 s. */
void master_key_timeout_set(int timeout_ms);
#endif

#endif
