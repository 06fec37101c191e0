/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing: the only cryptography on disk. AES-256-GCM by OpenSSL 3.
 *
 * Keys: a master key (from outside: a file or a command) wraps data keys, which live in the
 * registry (registry.h); a data key wraps the key of each file, which lives, wrapped, in an
 * envelope in the file's own plain header. So no file depends on an entry elsewhere that could be
 * lost or be left over: the one order to keep is that a data key is durable in the registry before
 * any file uses it, and leaves it after none does.
 *
 * A file's key is fresh (random) for each life of each file, and within it each nonce is a number
 * that the format gives out once (a block's number, a batch's sequence). So a nonce is never used
 * twice, and what was sealed is never rewritten in place.
 *
 * Additional data binds each block to (cluster, store, file, number, format, key): a block that was
 * moved, swapped or replayed from elsewhere does not open.
 *
 * With encryption turned off by name, blocks are stored plain with XXH3-128 over the same binding
 * in the tag's place, so that corruption and misplacement are found all the same. */
#ifndef STORAGE_SEAL_SEAL_H
#define STORAGE_SEAL_SEAL_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"

struct keyring; /* registry.h */
struct sealer;  /* one file's keyed context; belongs to one thread */

enum {
    seal_tag_size = 16,
    seal_envelope_size = 96, /* plain, at a place of the file's own format */
    seal_id_size = 16,
};

/* What kind of file: part of the additional data. Numbers are on disk. */
enum seal_format {
    SEAL_FORMAT_REGISTRY = 1,
    SEAL_FORMAT_HARD_STATE = 2,
    SEAL_FORMAT_WAL_SEGMENT = 3,
    SEAL_FORMAT_TABLE = 4,
    SEAL_FORMAT_MANIFEST = 5,
    SEAL_FORMAT_TEMPORARY = 6,
    SEAL_FORMAT_STAGING = 7, /* how far the staging of a snapshot has come */
    SEAL_FORMAT_WITNESS = 8, /* what a witness keeps */
};

/* A file's name within its store: never used again for another life of a file. */
struct seal_file {
    enum seal_format format;
    uint64_t number; /* segment id, table number, generation */
};

/* Begins a new life of a file: draws its key, wraps it under the newest data key into `envelope`.
 */
MUST_CHECK enum status seal_create(struct keyring *keyring, struct seal_file file,
                                   uint8_t envelope[seal_envelope_size], struct sealer **sealer);

/* For a file that exists. CORRUPT: the envelope has decayed, or is another file's. KEY_MISSING: its
 * data key is not in the registry. KEY_WRONG: the registry has another key under that number (the
 * file is of another store). INVALID_ARGUMENT: one of file and store is encrypted, the other not.
 * NEWER_FORMAT. Also NO_MEMORY, and INTERNAL where OpenSSL refuses, as from all that make one. */
MUST_CHECK enum status seal_open(struct keyring *keyring, struct seal_file file,
                                 const uint8_t envelope[seal_envelope_size],
                                 struct sealer **sealer);

/* Another context for the same file: for another thread. On any thread, also while the original is
 * in use, as long as that is not freed meanwhile. */
MUST_CHECK enum status sealer_clone(const struct sealer *sealer, struct sealer **clone);
void sealer_free(struct sealer *sealer); /* NULL is permitted; wipes the key */

/* Seals `plain` into `to` (as many bytes; may be the same memory) and `tag`. `number` is the nonce:
 * the caller never gives it twice for one file. `also` is bound too (a plain header before the
 * block). `also` and `plain` are at most 1 GiB each. */
void sealer_seal(struct sealer *sealer, uint64_t number, struct bytes also, struct bytes plain,
                 uint8_t *to, uint8_t tag[seal_tag_size]);

/* CORRUPT where the tag does not hold; then `to` holds zeros. May work in place. */
MUST_CHECK enum status sealer_open(struct sealer *sealer, uint64_t number, struct bytes also,
                                   struct bytes sealed, const uint8_t tag[seal_tag_size],
                                   uint8_t *to);

/* The data key that a file's envelope names: for retiring keys that no file uses. */
uint32_t seal_envelope_data_key(const uint8_t envelope[seal_envelope_size]);

#if defined(STRAIT_FAULTS)
/* The nonce oracle of the tests: told of every sealing. Aborts the process on the second use of
 * (key, nonce) with other content or additional data. On from the first call, for the process. */
void seal_oracle_start(void);
uint64_t seal_oracle_count(void); /* sealings seen */
#endif

#endif
