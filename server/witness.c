/* SPDX-License-Identifier: Apache-2.0 */
#include "server/witness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/base/planted.h"
#include "proto/message.h"
#include "replication/region/lease.h"
#include "storage/seal/twin.h"

#define NS_PER_MS 1000000ULL

static const char file_name[] = "witness";

enum {
    file_format = 2,
    file_list_offset = 40,
    file_regions_offset = 68,
    file_header_size = 136,
    retry_write_ms = 20,
    retry_full_ms = 1000,
};

/* What a region's servers asked last. */
struct asker {
    uint32_t region; /* 0: this place is free */
    struct epoch epoch;
    uint64_t asked_ns;
    bool candidate;
    enum lease_answer answer;
    char server[limit_identity_size + 1];
};

struct witness {
    struct witness_options options;
    struct twin *twin;
    struct lease_voter voter;
    uint64_t started_ns;

    struct error doubt; /* why a record was not believed last */

    /* Of the voter's epoch. */
    size_t record_size;
    uint8_t record[limit_promotion_record_size];

    /* Being written, for `request`. */
    struct request *request; /* NULL: nothing is */
    struct lease_kept next_kept;
    size_t next_size;
    uint8_t next[file_header_size + limit_promotion_record_size];

    struct asker askers[limit_regions_count];
    uint64_t granted_count;
    uint64_t refused_count;
};

/* ---- The file ---- */

static void decode_kept(const uint8_t *from, struct lease_kept *kept)
{
    const uint8_t *list = from + file_list_offset;

    *kept = (struct lease_kept){
        .epoch = {.number = load_u64(from + 8), .region = load_u32(from + 16)},
        .held = load_u32(from + 4) == 1,
        .granted_max_ns = load_u64(from + 24),
        .asked_max_ns = load_u64(from + 32),
        .list = {.version = load_u64(list),
                 .term = load_u64(list + 8),
                 .serial = load_u64(list + 16),
                 .count = load_u32(list + 24)},
    };
    for (unsigned i = 0; i < kept->list.count && i < limit_regions_count; i++)
        kept->list.regions[i] = load_u32(from + file_regions_offset + (size_t)i * 4);
}

static enum status decode(struct witness *witness, struct bytes from, struct error *error)
{
    const char *directory = witness->options.directory;
    size_t record_size = from.size >= file_header_size ? load_u32(from.data + 20) : 0;
    struct lease_kept kept;

    if (from.size >= 4 && load_u32(from.data) > file_format)
        return error_set(error, STATUS_NEWER_FORMAT,
                         "%s holds what a newer witness has kept: start the newer program.",
                         directory);
    if (from.size < file_header_size || load_u32(from.data) != file_format ||
        load_u32(from.data + 4) > 1 || record_size > sizeof witness->record ||
        load_u32(from.data + file_list_offset + 24) > limit_regions_count ||
        from.size != file_header_size + record_size)
        return error_set(error, STATUS_CORRUPT, "What the witness has kept in %s cannot be read.",
                         directory);
    decode_kept(from.data, &kept);
    bytes_copy(witness->record, bytes_of(from.data + file_header_size, record_size));
    witness->record_size = record_size;
    lease_voter_init(&witness->voter, witness->options.lease_ms * NS_PER_MS, &kept,
                     witness->started_ns);
    return STATUS_OK;
}

static void encode(struct witness *witness, const struct lease_kept *kept, struct bytes record)
{
    uint8_t *to = witness->next;
    uint8_t *list = to + file_list_offset;

    memset(to, 0, file_header_size);
    store_u32(to, file_format);
    store_u32(to + 4, kept->held);
    store_u64(to + 8, kept->epoch.number);
    store_u32(to + 16, kept->epoch.region);
    store_u32(to + 20, (uint32_t)record.size);
    store_u64(to + 24, kept->granted_max_ns);
    store_u64(to + 32, kept->asked_max_ns);
    store_u64(list, kept->list.version);
    store_u64(list + 8, kept->list.term);
    store_u64(list + 16, kept->list.serial);
    store_u32(list + 24, kept->list.count);
    for (unsigned i = 0; i < kept->list.count; i++)
        store_u32(to + file_regions_offset + (size_t)i * 4, kept->list.regions[i]);
    bytes_copy(to + file_header_size, record);
    witness->next_size = file_header_size + record.size;
    witness->next_kept = *kept;
}

/* ---- Answers ---- */

static void answered(struct witness *witness, const struct request *request,
                     const struct lease_ask *ask, enum lease_answer answer)
{
    struct asker *asker = &witness->askers[0];
    uint64_t now = io_boot_ns(witness->options.io);

    if (answer == LEASE_GRANTED)
        witness->granted_count++;
    else if (answer != LEASE_NOTED)
        witness->refused_count++;
    /* Its own place, or a free one, or that of whoever asked least recently. */
    for (unsigned i = 0; i < limit_regions_count; i++) {
        struct asker *other = &witness->askers[i];
        if (other->region == ask->region) {
            asker = other;
            break;
        }
        if (other->asked_ns < asker->asked_ns)
            asker = other;
    }
    bool is_news = asker->region != ask->region || asker->answer != answer ||
                   asker->candidate != ask->candidate || !epoch_equal(asker->epoch, ask->epoch) ||
                   strcmp(asker->server, request->session->identity) != 0;
    *asker = (struct asker){.region = ask->region,
                            .epoch = ask->epoch,
                            .asked_ns = now,
                            .candidate = ask->candidate,
                            .answer = answer};
    memcpy(asker->server, request->session->identity, sizeof asker->server);
    static const char *const texts[] = {
        [LEASE_GRANTED] = "granted",
        [LEASE_NOTED] = "a standby",
        [LEASE_WAITS] = "waits",
        [LEASE_HELD] = "another region holds it",
        [LEASE_OLD_EPOCH] = "an old epoch",
        [LEASE_TOO_LONG] = "longer than is granted here",
        [LEASE_NEVER_HELD] = "its primary goes without leases",
        [LEASE_UNPROVEN] = "nothing proves that epoch",
        [LEASE_REMOVED] = "a region that was taken out of the list",
    };
    if (is_news)
        log_info("lease", LOG_U64("region", ask->region), LOG_TEXT("server", asker->server),
                 LOG_U64("number", ask->epoch.number), LOG_U64("epoch_region", ask->epoch.region),
                 LOG_U64("candidate", ask->candidate), LOG_TEXT("answer", texts[answer]));
    if (is_news && witness->doubt.text[0] != 0)
        log_warn("promotion_not_believed", LOG_U64("region", ask->region),
                 LOG_TEXT("server", asker->server), LOG_TEXT("text", witness->doubt.text));
}

static void reply(struct witness *witness, struct request *request, const struct lease_ask *ask,
                  enum lease_answer answer)
{
    static const Strait__WitnessLeaseReply__Answer answers[] = {
        [LEASE_GRANTED] = STRAIT__WITNESS_LEASE_REPLY__ANSWER__GRANTED,
        [LEASE_NOTED] = STRAIT__WITNESS_LEASE_REPLY__ANSWER__NOTED,
        [LEASE_WAITS] = STRAIT__WITNESS_LEASE_REPLY__ANSWER__WAITS,
        [LEASE_HELD] = STRAIT__WITNESS_LEASE_REPLY__ANSWER__HELD,
        [LEASE_OLD_EPOCH] = STRAIT__WITNESS_LEASE_REPLY__ANSWER__OLD_EPOCH,
        [LEASE_TOO_LONG] = STRAIT__WITNESS_LEASE_REPLY__ANSWER__TOO_LONG,
        [LEASE_NEVER_HELD] = STRAIT__WITNESS_LEASE_REPLY__ANSWER__NEVER_HELD,
        [LEASE_UNPROVEN] = STRAIT__WITNESS_LEASE_REPLY__ANSWER__UNPROVEN,
        [LEASE_REMOVED] = STRAIT__WITNESS_LEASE_REPLY__ANSWER__REMOVED,
    };
    const struct lease_voter *voter = &witness->voter;
    Strait__WitnessLeaseReply message = STRAIT__WITNESS_LEASE_REPLY__INIT;
    uint64_t wait_ns = lease_voter_wait_ns(voter, ask->region, io_boot_ns(witness->options.io));

    ASSERT(answer != LEASE_UNRECORDED);
    answered(witness, request, ask, answer);
    message.answer = answers[answer];
    message.epoch_number = voter->kept.epoch.number;
    message.epoch_region = voter->kept.epoch.region;
    message.region_id = voter->region;
    message.wait_ms = (wait_ns + NS_PER_MS - 1) / NS_PER_MS;
    message.lease_ms = (uint32_t)witness->options.lease_ms;
    message.asked_max_ms = (uint32_t)(voter->kept.asked_max_ns / NS_PER_MS);
    message.list_version = voter->kept.list.version;
    message.list_term = voter->kept.list.term;
    message.list_serial = voter->kept.list.serial;
    if (answer == LEASE_OLD_EPOCH)
        message.promotion = field_of_bytes(bytes_of(witness->record, witness->record_size));
    request_reply(request, &message.base);
}

/* ---- Leases ---- */

static void on_written(void *context, enum status status)
{
    struct witness *witness = context;
    struct request *request = witness->request;

    witness->request = NULL;
    if (status != STATUS_OK && twin_is_usable(witness->twin)) {
        request_refuse(request, status, retry_full_ms, "The witness could not keep this: %s.",
                       status_text(status));
        return;
    }
    if (status != STATUS_OK) {
        struct error error = {0};
        request_refuse(request, STATUS_INTERNAL, 0, "The witness could not keep this.");
        error_set(&error, status, "What the witness has to keep in %s could not be written: %s.",
                  witness->options.directory, status_text(status));
        witness->options.failed(witness->options.context, &error);
        return;
    }
    witness->record_size = witness->next_size - file_header_size;
    memcpy(witness->record, witness->next + file_header_size, witness->record_size);
    const struct lease_kept *kept = &witness->next_kept;
    bool is_epoch = !epoch_equal(kept->epoch, witness->voter.kept.epoch);
    lease_voter_record(&witness->voter, kept);
    log_info(is_epoch ? "epoch" : "kept", LOG_U64("number", kept->epoch.number),
             LOG_U64("region", kept->epoch.region), LOG_U64("held", kept->held),
             LOG_U64("list_version", kept->list.version),
             LOG_U64("regions_count", kept->list.count),
             LOG_TEXT("by", request->session->identity));
    witness_take(witness, request);
}

static void lease(struct witness *witness, struct request *request);

/* What it says is new: it is kept first. */
static void record(struct witness *witness, struct request *request, const struct lease_ask *ask)
{
    const Strait__WitnessLease *message = REQUEST_MESSAGE(request, WitnessLease);
    struct bytes proof = bytes_of(witness->record, witness->record_size);
    struct lease_kept kept;

    if (witness->request != NULL) {
        request_refuse(request, STATUS_BUSY, retry_write_ms, "Another epoch is being written.");
        return;
    }
    lease_voter_next(&witness->voter, ask, io_boot_ns(witness->options.io), &kept);
    if (!epoch_equal(kept.epoch, witness->voter.kept.epoch))
        proof = ask->proven ? bytes_of_field(message->promotion) : (struct bytes){0};
    if (PLANTED(lease_witness_forgets)) {
        lease_voter_record(&witness->voter, &kept);
        lease(witness, request);
        return;
    }
    encode(witness, &kept, proof);
    witness->request = request;
    twin_write(witness->twin, witness->options.io, bytes_of(witness->next, witness->next_size),
               on_written, witness);
}

/* Whether the record is a valid one of that epoch. What is known needs no proof any more. */
static bool is_proof(struct witness *witness, struct bytes proof, struct epoch epoch)
{
    struct epoch to;

    witness->doubt = (struct error){0};
    if (epoch_compare(epoch, witness->voter.kept.epoch) <= 0 || proof.size == 0 ||
        witness->options.verify(witness->options.context, proof, &to, &witness->doubt) != STATUS_OK)
        return false;
    if (epoch_equal(to, epoch))
        return true;
    error_set(&witness->doubt, STATUS_INVALID_ARGUMENT, "The record is of another epoch.");
    return false;
}

/* False: no list can be that. */
static bool take_list(const Strait__WitnessLease *message, struct lease_list *list)
{
    if (message->n_regions > limit_regions_count)
        return false;
    *list = (struct lease_list){.version = message->list_version,
                                .term = message->list_term,
                                .serial = message->list_serial,
                                .count = (unsigned)message->n_regions};
    for (unsigned i = 0; i < list->count; i++)
        list->regions[i] = message->regions[i];
    return true;
}

static void lease(struct witness *witness, struct request *request)
{
    const Strait__WitnessLease *message = REQUEST_MESSAGE(request, WitnessLease);
    struct lease_ask ask = {
        .region = message->region_id,
        .epoch = {.number = message->epoch_number, .region = message->epoch_region},
        .candidate = message->candidate,
        .lease_ns = message->lease_ms * NS_PER_MS,
    };

    if (!take_list(message, &ask.list) || !lease_ask_is_valid(&ask) ||
        message->promotion.len > sizeof witness->record) {
        request_refuse(request, STATUS_INVALID_ARGUMENT, 0,
                       "A lease is asked for with a region, its epoch, a list of regions with its "
                       "own, and no more than %d bytes of record.",
                       limit_promotion_record_size);
        return;
    }
    ask.proven = is_proof(witness, bytes_of_field(message->promotion), ask.epoch);
    enum lease_answer answer =
        lease_voter_ask(&witness->voter, &ask, io_boot_ns(witness->options.io));
    if (answer == LEASE_UNRECORDED)
        record(witness, request, &ask);
    else
        reply(witness, request, &ask, answer);
}

/* ---- What administrators ask, and what all do ---- */

static void status(struct witness *witness, struct request *request)
{
    Strait__WitnessStatusReply message = STRAIT__WITNESS_STATUS_REPLY__INIT;
    Strait__WitnessRegion regions[limit_regions_count];
    Strait__WitnessRegion *pointers[limit_regions_count];
    uint32_t listed[limit_regions_count];
    const struct lease_voter *voter = &witness->voter;
    uint64_t now = io_boot_ns(witness->options.io);

    message.regions = pointers;
    for (unsigned i = 0; i < limit_regions_count; i++) {
        struct asker *asker = &witness->askers[i];
        Strait__WitnessRegion *region = &regions[message.n_regions];
        if (asker->region == 0)
            continue;
        strait__witness_region__init(region);
        region->id = asker->region;
        region->server = asker->server;
        region->asked_ago_ms = (now - asker->asked_ns) / NS_PER_MS;
        region->candidate = asker->candidate;
        region->answer = (Strait__WitnessLeaseReply__Answer)asker->answer;
        pointers[message.n_regions++] = region;
    }
    message.epoch_number = voter->kept.epoch.number;
    message.epoch_region = voter->kept.epoch.region;
    message.epoch_held = voter->kept.held;
    message.list_version = voter->kept.list.version;
    message.listed = listed;
    message.n_listed = voter->kept.list.count;
    memcpy(listed, voter->kept.list.regions, sizeof listed);
    if (voter->region != 0 && voter->until_ns > now) {
        message.granted_to = voter->region;
        message.candidate = voter->candidate;
        message.granted_ms = (voter->until_ns - now) / NS_PER_MS;
    }
    message.waits_ms = voter->resume_ns > now ? (voter->resume_ns - now) / NS_PER_MS : 0;
    message.lease_ms = (uint32_t)witness->options.lease_ms;
    message.up_ms = (now - witness->started_ns) / NS_PER_MS;
    message.granted_count = witness->granted_count;
    message.refused_count = witness->refused_count;
    request_reply(request, &message.base);
}

static void hello(const struct witness *witness, struct request *request)
{
    Strait__HelloReply message = STRAIT__HELLO_REPLY__INIT;

    message.protocol_version = frame_protocol_version;
    message.server_version = (char *)(uintptr_t)STRAIT_VERSION_TEXT;
    message.cluster_id =
        field_of_bytes(bytes_of(keyring_cluster_id(witness->options.keyring), seal_id_size));
    message.identity = (char *)(uintptr_t)request->session->identity;
    message.role = (char *)(uintptr_t)role_name(request->session->role);
    request_reply(request, &message.base);
}

void witness_take(struct witness *witness, struct request *request)
{
    Strait__PingReply ping = STRAIT__PING_REPLY__INIT;

    switch (request->type) {
    case FRAME_HELLO:
        hello(witness, request);
        break;
    case FRAME_PING:
        request_reply(request, &ping.base);
        break;
    case FRAME_WITNESS_LEASE:
        lease(witness, request);
        break;
    case FRAME_WITNESS_STATUS:
        status(witness, request);
        break;
    default:
        request_refuse(request, STATUS_UNSUPPORTED, 0,
                       "This is a witness, which holds no data: it does not serve %s. The servers "
                       "of the regions do.",
                       frame_type_name(request->type));
    }
}

uint64_t witness_requests_count(const struct witness *witness)
{
    return witness->request != NULL;
}

/* ---- Opening and closing ---- */

static enum status open_file(struct witness *witness, struct error *error)
{
    const struct witness_options *options = &witness->options;
    const struct lease_kept none = {.granted_max_ns = options->lease_ms * NS_PER_MS};
    struct twin_report report = {0};
    uint8_t *contents = NULL;
    size_t size = 0;

    enum status status =
        twin_open(options->io, options->keyring, options->directory, file_name, SEAL_FORMAT_WITNESS,
                  &witness->twin, &contents, &size, &report, error);
    if (status == STATUS_NOT_FOUND && !options->is_new) {
        *error = (struct error){0};
        return error_set(error, status,
                         "%s holds no epoch that a witness has kept. Start this one with "
                         "--bootstrap if there never was any; where it was lost, first make sure "
                         "that the primary region's leader is up, so that it learns of its epoch "
                         "again.",
                         options->directory);
    }
    if (status == STATUS_NOT_FOUND) {
        *error = (struct error){0};
        lease_voter_init(&witness->voter, options->lease_ms * NS_PER_MS, &none,
                         witness->started_ns);
        encode(witness, &none, (struct bytes){0});
        status = twin_write_wait(witness->twin, options->io,
                                 bytes_of(witness->next, witness->next_size));
        return status == STATUS_OK
                   ? status
                   : error_set(error, status, "The witness's file in %s could not be made: %s.",
                               options->directory, status_text(status));
    }
    if (status == STATUS_OK && options->is_new)
        status = error_set(error, STATUS_ALREADY_EXISTS,
                           "%s holds what a witness has kept already: start without --bootstrap.",
                           options->directory);
    if (status == STATUS_OK)
        status = decode(witness, bytes_of(contents, size), error);
    if (status == STATUS_OK && report.repaired)
        log_warn("metadata_repaired", LOG_TEXT("file", report.repaired_path));
    free(contents);
    return status;
}

enum status witness_open(const struct witness_options *options, struct witness **opened,
                         struct error *error)
{
    struct witness *witness = calloc(1, sizeof *witness);

    *opened = NULL;
    ASSERT(options->lease_ms >= lease_ms_min && options->lease_ms <= lease_ms_max &&
           options->verify != NULL);
    if (witness == NULL)
        return error_set(error, STATUS_NO_MEMORY, "Out of memory at start.");
    witness->options = *options;
    witness->started_ns = io_boot_ns(options->io);
    enum status status = open_file(witness, error);
    if (status != STATUS_OK) {
        witness_close(witness);
        return status;
    }
    log_info("witness", LOG_U64("number", witness->voter.kept.epoch.number),
             LOG_U64("region", witness->voter.kept.epoch.region),
             LOG_U64("lease_ms", options->lease_ms),
             LOG_U64("waits_ms", (witness->voter.resume_ns - witness->started_ns) / NS_PER_MS),
             LOG_TEXT("text", "nothing is granted until the longest lease from before is over"));
    *opened = witness;
    return STATUS_OK;
}

void witness_close(struct witness *witness)
{
    if (witness == NULL)
        return;
    while (witness->request != NULL)
        io_turn(witness->options.io, true);
    if (witness->twin != NULL)
        twin_close(witness->twin);
    free(witness);
}
