/* SPDX-License-Identifier: Apache-2.0 */
/* A small file kept twice, PATH.a and PATH.b, and replaced as a whole: metadata whose loss would
 * cost the store (key registry, hard state, manifest).
 *
 * A replacement has a generation, one higher than the last. It writes and flushes two temporary
 * files (so that all that needs space is done before anything changes); renames the first over copy
 * a and flushes the directory; then the same for copy b; only then is it done and may be acted
 * upon. So at any crash at least one copy is whole, and:
 *
 *     a        b        meaning                                    recovery
 *     ------   ------   ----------------------------------------   -------------------------------
 *     g        g        done                                       take it
 *     g+1      g        crash between; nobody acted on g+1         take a, write b anew
 *     g        bad      b decayed                                  take a, write b anew, report
 *     bad      g        a decayed (or decayed after a crash in     take b, write a anew, report
 *                       between: nobody acted on what it held)
 *     none     none     never made                                 NOT_FOUND
 *     bad      bad/none both lost                                  CORRUPT
 *     g        none     crash while being made first               take a, write b anew
 *     none     g        a was removed                              take b, write a anew, report
 *     else              copies that no crash leaves                CORRUPT
 *
 * A copy that is whole but does not open (its key is missing or another, it is plain where the
 * store is encrypted or the reverse, or its format is newer) is not "bad": nothing is written, and
 * its status is the answer. One exception: the registry, whose crash in between may fall into a
 * change of master key. There, with copy a one generation above copy b, the copy that the given
 * master key opens is taken, and the other one written anew.
 *
 * Each copy is sealed under a fresh key of its own: by a data key of the keyring, or, for the
 * registry itself, by the master key. */
#ifndef STORAGE_SEAL_TWIN_H
#define STORAGE_SEAL_TWIN_H

#include "proto/base/error.h"
#include "storage/io/io.h"
#include "storage/seal/seal.h"

enum { twin_path_size = 512, twin_contents_size_max = 64 * 1024 * 1024 };

struct twin;

struct twin_report {
    bool repaired;
    char repaired_path[twin_path_size];
};

/* Reads both copies (see the table), repairs, and gives the contents in memory from malloc, which
 * the caller frees. `directory` and `name` make the path; `format` is bound. NOT_FOUND: `*twin` is
 * made all the same, at generation 0, and twin_write() makes the file. The keyring must outlive the
 * twin. Other errors, with text, nothing written: CORRUPT, KEY_MISSING, KEY_WRONG,
 * INVALID_ARGUMENT, NEWER_FORMAT, FORBIDDEN, NO_MEMORY, TOO_LARGE (the path). Blocking. */
MUST_CHECK enum status twin_open(struct io *io, struct keyring *keyring, const char *directory,
                                 const char *name, enum seal_format format, struct twin **twin,
                                 uint8_t **contents, size_t *size, struct twin_report *report,
                                 struct error *error);
void twin_close(struct twin *twin); /* nothing under way */

/* Replaces the contents (sealed at once: they are the caller's again on return). `done` is called
 * from a turn of `io`, with the status; it may start the next write. DISK_FULL, TOO_LARGE and
 * NO_MEMORY: nothing has changed where twin_is_usable() says so, and the write may be tried again.
 * After any other failure nothing may be written through this twin, and the caller ends the process
 * where it needed the write. One at a time. */
void twin_write(struct twin *twin, struct io *io, struct bytes contents,
                void (*done)(void *context, enum status status), void *context);

bool twin_is_usable(const struct twin *twin);

/* The same, waited for. */
MUST_CHECK enum status twin_write_wait(struct twin *twin, struct io *io, struct bytes contents);

/* The same read without repair, for a check of what is on disk: calls `bad` for each copy that is
 * missing or does not open. CORRUPT where there was one, NOT_FOUND where neither copy exists.
 * Blocking; any thread's io, also while the owner writes. */
MUST_CHECK enum status twin_check(struct io *io, struct keyring *keyring, const char *directory,
                                  const char *name, enum seal_format format,
                                  void (*bad)(void *context, const char *path, const char *text),
                                  void *context);

uint64_t twin_generation(const struct twin *twin);

#endif
