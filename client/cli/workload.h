/* SPDX-License-Identifier: Apache-2.0 */
/* What `strait bench` does to a server: its operations, and the records that they need. */
#ifndef CLIENT_CLI_WORKLOAD_H
#define CLIENT_CLI_WORKLOAD_H

#include "client/cli/cli.h"
#include "proto/base/generator.h"

enum workload_kind {
    WORKLOAD_PUT,
    WORKLOAD_GET,
    WORKLOAD_MIXED, /* four gets to one put */
    WORKLOAD_SCAN,  /* 100 records from a random one on */
    WORKLOAD_CHECKOUT,
    WORKLOAD_HOT_SKU,
};

enum { run_size = 17 };

struct workload {
    enum workload_kind kind;
    uint64_t keys_count;
    uint64_t value_size;
    const char *value;  /* that many bytes, which do not compress */
    char run[run_size]; /* begins the orders' keys: no other run's are the same */
    double *zipf;       /* of the catalogue: the share of SKUs up to each */
};

enum { workload_catalogue_count = 10000, workload_scan_records = 100 };

/* One client's next operation: either a transaction or a read. */
struct operation {
    strait_txn *txn; /* cleared and filled */
    bool is_commit;
    bool is_scan;
    struct strait_key key;
    char key_text[32];
};

/* False: no such workload. */
bool workload_find(const char *name, enum workload_kind *kind);

/* `value_size` random bytes, the catalogue, and the run's own id. False: no memory, or no random
 * bytes. */
bool workload_init(struct workload *workload, uint64_t seed);
void workload_free(struct workload *workload);

/* Makes the tables and writes the records that reads and checkouts need; says how far it is. */
enum strait_status workload_prepare(struct cli *cli, strait *handle,
                                    const struct workload *workload, struct strait_error *error);

/* Draws the next operation. */
void workload_next(const struct workload *workload, struct generator *generator,
                   struct operation *operation);

#endif
