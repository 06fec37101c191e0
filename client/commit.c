/* SPDX-License-Identifier: Apache-2.0 */
/* Sending what a transaction gathered, and learning what became of it. */
#include <stdio.h>
#include <stdlib.h>

#include "client/error.h"
#include "client/random.h"
#include "client/result.h"
#include "client/txn.h"
#include "proto/base/assert.h"
#include "proto/message.h"

/* For `issued_ns` before it is known: makes protobuf-c write the field that call_stamp() fills. */
static const uint64_t issued_place_ns = UINT64_MAX;

static Strait__Commit message_of(strait_txn *txn)
{
    Strait__Commit commit = STRAIT__COMMIT__INIT;

    commit.txn_id = field_of_bytes(bytes_of(txn->id.bytes, txn_id_size));
    commit.issued_ns = txn->id.issued_ns != 0 ? txn->id.issued_ns : issued_place_ns;
    if (txn->reads.count + txn->ranges.count != 0) {
        commit.snapshot = txn->read_version;
        commit.snapshot_epoch_number = txn->read_epoch_number;
        commit.snapshot_epoch_region = txn->read_epoch_region;
    }
    commit.n_reads = txn->reads.count;
    commit.reads = (Strait__Key **)txn->reads.items;
    commit.n_ranges = txn->ranges.count;
    commit.ranges = (Strait__Range **)txn->ranges.items;
    commit.n_conditions = txn->conditions.count;
    commit.conditions = (Strait__Condition **)txn->conditions.items;
    commit.n_operations = txn->operations.count;
    commit.operations = (Strait__Operation **)txn->operations.items;
    if (txn->durability == STRAIT_DURABILITY_REMOTE) {
        commit.durability = STRAIT__DURABILITY__REMOTE;
        commit.remote_region = txn->remote_region;
        commit.confirm_within_ms = txn->confirm_within_ms;
    }
    return commit;
}

static void note_confirmation(strait_txn *txn, const Strait__Confirmation *confirmation)
{
    bool confirmed = confirmation != NULL && confirmation->confirmed;
    snprintf(txn->confirmed_by, sizeof txn->confirmed_by, "%s",
             confirmed ? confirmation->region : "");
}

static enum strait_status check(const strait_txn *txn, struct strait_error *error)
{
    if (txn->failed_text[0] != 0)
        return client_error_set(error, txn->failed, "%s The transaction is not sent.",
                                txn->failed_text);
    if (txn->failed != STATUS_OK)
        return client_error_set(error, txn->failed,
                                "Something could not be added to this transaction (%s), so it is "
                                "not sent.",
                                status_text(txn->failed));
    if (txn->is_committing)
        return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                "This transaction is being committed already.");
    if (txn->reads.count + txn->ranges.count != 0 && txn->read_version == 0)
        return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                "The transaction names reads, but not the version they were read "
                                "at.");
    return STRAIT_OK;
}

enum strait_status txn_encode(strait_txn *txn, struct call *call, uint64_t deadline_ns,
                              struct strait_error *error)
{
    *call = (struct call){.type = FRAME_COMMIT};
    enum strait_status status = check(txn, error);
    if (status != STRAIT_OK)
        return status;
    if (!txn->has_id && random_txn_id(txn->id.bytes) != STATUS_OK)
        return client_error_set(error, STATUS_INTERNAL, "OpenSSL has no random bytes.");
    txn->has_id = true;
    Strait__Commit commit = message_of(txn);
    status = status_public(call_init(call, FRAME_COMMIT, &commit.base, deadline_ns, error));
    if (status == STRAIT_OK) {
        call->issued_ns = txn->id.issued_ns;
        call->unanswered_count = txn->may_have_run ? 1 : 0;
    }
    return status;
}

/* Whether the same transaction can be committed again to some effect. */
static bool can_go_on(enum strait_status status)
{
    return status == STRAIT_OUTCOME_UNKNOWN || status == STRAIT_BUSY ||
           status == STRAIT_UNREACHABLE || status == STRAIT_DEADLINE_EXCEEDED;
}

enum strait_status txn_finish(strait *handle, strait_txn *txn, const struct call *call,
                              struct strait_commit_result *result, struct strait_error *error)
{
    const ProtobufCMessage *message;
    struct result *decoded;

    txn->id.issued_ns = call->issued_ns;
    txn->confirmed_by[0] = 0;
    enum strait_status status =
        result_of_call(call, &strait__commit_reply__descriptor, 0, &decoded, &message, error);
    if (status != STRAIT_OK && call->status == STATUS_OK) {
        /* It was done; only the words about it cannot be read. */
        status = client_error_set(error, STATUS_OUTCOME_UNKNOWN,
                                  "The server's answer to the commit cannot be read.");
    }
    txn->may_have_run = status == STRAIT_OUTCOME_UNKNOWN;
    if (status == STRAIT_OK) {
        const Strait__CommitReply *reply = (const Strait__CommitReply *)message;
        note_position(handle, reply->position);
        txn->position = position_token(reply->position);
        note_confirmation(txn, reply->confirmation);
        if (result != NULL) {
            result->version = position_version(reply->position);
            result->log_time_ns = reply->position != NULL ? reply->position->log_time_ns : 0;
            result->repeated = reply->repeated_reply != 0;
            result->confirmed = txn->confirmed_by[0] != 0;
            strait_txn_token(txn, result->txn);
        }
    } else if (error != NULL) {
        strait_txn_token(txn, error->txn);
    }
    result_free(decoded);
    if (txn->snapshot != NULL && !can_go_on(status)) {
        strait_snapshot_end(txn->snapshot);
        txn->snapshot = NULL;
    }
    return status;
}

enum strait_status strait_commit(strait *handle, strait_txn *txn, uint32_t timeout_ms,
                                 struct strait_commit_result *result, struct strait_error *error)
{
    struct call call;

    if (result != NULL)
        *result = (struct strait_commit_result){0};
    enum strait_status status = handle_check(handle, error);
    if (status != STRAIT_OK)
        return status;
    status = txn_encode(txn, &call, handle_deadline_ns(handle, timeout_ms), error);
    if (status == STRAIT_OK) {
        handle_run(handle, &call);
        status = txn_finish(handle, txn, &call, result, error);
    }
    call_free(&call);
    return status;
}
