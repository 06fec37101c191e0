/* SPDX-License-Identifier: Apache-2.0 */
/* A fake server's handler that holds records which never change: reads are answered from them, in
 * small pages; commits are kept to be looked at, and answered with what the test asks for. */
#ifndef TESTS_UNIT_CLIENT_FAKE_STORE_H
#define TESTS_UNIT_CLIENT_FAKE_STORE_H

#include "tests/unit/client/fake_server.h"

enum { store_records_max = 64, store_version = 10, store_page_records = 3 };

/* One table "t"; each record has at most one entry, in the index "i". Texts, empty: none. */
struct store_record {
    char key[8];
    char value[24];
    char index_key[8];
};

struct store {
    struct store_record records[store_records_max]; /* in the order of keys */
    size_t count;
    unsigned conflicts;        /* commits that are still to be answered so */
    enum status conflict_with; /* with this */
    struct arena arena;        /* of the last commit */
    const Strait__Commit *commit;
    /* A snapshot's close has no answer that a test could wait for, so they are read meanwhile. */
    atomic_uint commits_count;
    atomic_uint snapshots_count;
    atomic_uint closed_count;
    atomic_uint scans_count;
};

void store_init(struct store *store);
void store_free(struct store *store);

/* A fake_handler; `context` is the store. */
void store_handle(struct fake_connection *connection, const struct fake_request *request,
                  void *context);

#endif
