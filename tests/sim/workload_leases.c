/* SPDX-License-Identifier: Apache-2.0 */
/* Records that expire: each is there until its time has come by the log's own clock. Ticks remove
 * what is due within bounds, so one that is still there later is no error but at the end. */
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/message.h"
#include "tests/sim/workload_internal.h"

#define NS_PER_MS UINT64_C(1000000)

enum { ttl_min_ms = 300, ttl_max_ms = 20000, key_size = 32 };

static void key_of(const struct workload_client *own, char key[key_size])
{
    snprintf(key, key_size, "c%u-%u", own->client->index, own->leases.serial);
}

static void put_done(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct workload_client *own = workload_of(client);
    enum history_type outcome = workload_outcome(own, status);
    own->leases.is_put = outcome == HISTORY_OK;
    if (outcome == HISTORY_OK) {
        const Strait__CommitReply *reply = (const void *)message;
        own->leases.expires_ns = reply->position->log_time_ns + own->leases.ttl_ms * NS_PER_MS;
        own->leases.epoch = client->position.epoch;
        own->workload->committed_count++;
    }
    workload_ended(own, outcome);
}

static void put(struct workload_client *own)
{
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;
    Strait__Operation *operations[] = {&operation};
    Strait__Put message = STRAIT__PUT__INIT;
    char key[key_size];

    own->leases.serial++;
    own->leases.ttl_ms = generator_between(&own->client->generator, ttl_min_ms, ttl_max_ms);
    key_of(own, key);
    message.table = (char *)"leases";
    message.key = field_of_bytes(bytes_of_text(key));
    message.value = field_of_bytes(bytes_of_text("held"));
    message.ttl_ms = own->leases.ttl_ms;
    operation.kind_case = STRAIT__OPERATION__KIND_PUT;
    operation.put = &message;
    commit.operations = operations;
    commit.n_operations = 1;
    workload_commit(own, &commit, put_done);
}

static void get_done(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct workload_client *own = workload_of(client);
    if (status != STATUS_OK) {
        (void)workload_outcome(own, status);
        workload_ended(own, HISTORY_FAIL);
        return;
    }
    const Strait__GetReply *reply = (const void *)message;
    bool found = reply->n_records == 1 && reply->records[0]->found;
    /* A promotion may have given it up. */
    if (!found && reply->position->log_time_ns < own->leases.expires_ns &&
        epoch_equal(client->position.epoch, own->leases.epoch))
        workload_fail(own->workload, "a lease of client %u is gone %llu ms before its time",
                      client->index,
                      (unsigned long long)(own->leases.expires_ns - reply->position->log_time_ns) /
                          NS_PER_MS);
    if (!found) {
        own->workload->expired_count++;
        own->leases.is_put = false;
    }
    workload_ended(own, HISTORY_OK);
}

static void get(struct workload_client *own)
{
    Strait__Get message = STRAIT__GET__INIT;
    Strait__Key wanted = STRAIT__KEY__INIT;
    Strait__Key *keys[] = {&wanted};
    char key[key_size];

    key_of(own, key);
    wanted.table = (char *)"leases";
    wanted.key = field_of_bytes(bytes_of_text(key));
    message.keys = keys;
    message.n_keys = 1;
    client_ask(own->client, FRAME_GET, &message.base, false, get_done);
}

void workload_lease_begin(struct workload_client *own)
{
    if (own->leases.is_put)
        get(own);
    else
        put(own);
}
