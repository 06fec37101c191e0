/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/witness.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "tests/sim/keys.h"
#include "tests/sim/pair.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
    turn_ns = 10000, /* what a turn takes */
    again_ms = 200,  /* after a start that was cut short */
    key_salt = 200,
};

void sim_witness_init(struct sim_witness *witness, struct pair *pair, uint64_t seed)
{
    *witness = (struct sim_witness){.pair = pair};
    generator_init(&witness->generator, seed);
    witness->disk = sim_disk_create(generator_draw(&witness->generator));
    witness->restart_ns = sim_disk_now_ns(witness->disk);
    witness->session = (struct session){.id = 200, .role = ROLE_PEER};
    snprintf(witness->session.identity, sizeof witness->session.identity, "of-a-region");
    enum status status = mailbox_open(&witness->replies, false, limit_requests_count);
    ASSERT(status == STATUS_OK);
}

static void drop_what_has_come(struct sim_witness *witness)
{
    for (size_t i = 0; i < witness->inbox_count; i++)
        witness->inbox[i]->drop(witness->inbox[i]);
    witness->inbox_count = 0;
}

void sim_witness_free(struct sim_witness *witness)
{
    if (witness->state == SIM_SERVER_UP)
        sim_witness_crash(witness, SIM_RESTART_KEEP_ALL, UINT64_MAX);
    drop_what_has_come(witness);
    mailbox_close(&witness->replies);
    sim_disk_destroy(witness->disk);
    free(witness->inbox);
}

/* ---- Starts and stops ---- */

static void on_failed(void *context, const struct error *error)
{
    struct sim_witness *witness = context;
    witness->failed = true;
    witness->error = *error;
}

static void stop(struct sim_witness *witness, enum sim_restart_mode mode, uint64_t restart_ns)
{
    sim_disk_crash_now(witness->disk);
    witness_close(witness->witness);
    witness->witness = NULL;
    drop_what_has_come(witness);
    region_link_drop_replies(&witness->replies);
    keyring_close(witness->keyring);
    witness->keyring = NULL;
    sim_disk_restart(witness->disk, generator_draw(&witness->generator), mode);
    witness->io = NULL;
    witness->state = SIM_SERVER_DOWN;
    witness->restart_ns = restart_ns;
    witness->paused_until_ns = 0;
}

void sim_witness_crash(struct sim_witness *witness, enum sim_restart_mode mode, uint64_t restart_ns)
{
    ASSERT(witness->state == SIM_SERVER_UP);
    region_links_witness_stopped(witness->pair, mode == SIM_RESTART_KEEP_ALL);
    stop(witness, mode, restart_ns);
}

static enum status open_witness(struct sim_witness *witness)
{
    const struct witness_options options = {
        .io = witness->io,
        .keyring = witness->keyring,
        .directory = sim_directory,
        .lease_ms = witness->pair->lease_ms,
        .is_new = !witness->has_begun,
        .verify = pair_promotion_verify,
        .failed = on_failed,
        .context = witness,
    };
    enum status status = witness_open(&options, &witness->witness, &witness->error);
    /* A first start that was cut short may have made the file: whoever starts it sees that. */
    if (status == STATUS_ALREADY_EXISTS && !witness->has_begun) {
        struct witness_options again = options;
        again.is_new = false;
        witness->error = (struct error){0};
        status = witness_open(&again, &witness->witness, &witness->error);
    }
    return status;
}

static void start(struct sim_witness *witness)
{
    struct pair *pair = witness->pair;
    sim_disk_clock_advance_to(witness->disk, pair_now_ns(pair));
    witness->io = sim_disk_io(witness->disk);
    witness->failed = false;
    witness->error = (struct error){0};
    witness->lives++;
    enum status status = sim_keys_open(witness->io, key_salt, &witness->has_keys, &witness->keyring,
                                       &witness->error);
    if (status == STATUS_OK)
        status = open_witness(witness);
    if (status != STATUS_OK) {
        if (!sim_disk_crashed(witness->disk))
            world_fail(&pair->worlds[0], "the witness does not open: %s", witness->error.text);
        stop(witness, SIM_RESTART_RANDOM, sim_disk_now_ns(witness->disk) + again_ms * NS_PER_MS);
        return;
    }
    witness->state = SIM_SERVER_UP;
    witness->has_begun = true;
    witness->restart_ns = UINT64_MAX;
    world_note(&pair->worlds[0], NULL, "the witness is started");
}

/* ---- Turns ---- */

void sim_witness_receive(struct sim_witness *witness, struct event *event)
{
    if (witness->inbox_count == witness->inbox_capacity) {
        witness->inbox_capacity = witness->inbox_capacity * 2 + 16;
        witness->inbox = realloc(witness->inbox, witness->inbox_capacity * sizeof *witness->inbox);
        ASSERT(witness->inbox != NULL);
    }
    witness->inbox[witness->inbox_count++] = event;
}

uint64_t sim_witness_next_ns(const struct sim_witness *witness)
{
    if (witness->state != SIM_SERVER_UP)
        return witness->restart_ns;
    uint64_t now_ns = sim_disk_now_ns(witness->disk);
    uint64_t next_ns = witness->inbox_count != 0 ? now_ns : sim_disk_next_ns(witness->disk);
    if (next_ns < now_ns)
        next_ns = now_ns;
    return next_ns < witness->paused_until_ns ? witness->paused_until_ns : next_ns;
}

static void take_what_has_come(struct sim_witness *witness)
{
    size_t count = witness->inbox_count;
    witness->inbox_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct request *request = region_link_request(witness->inbox[i]);
        request->session = &witness->session;
        request->replies = &witness->replies;
        request->received_ns = io_boot_ns(witness->io);
        witness_take(witness->witness, request);
    }
}

static void send_replies(struct sim_witness *witness)
{
    struct request *request;
    while ((request = mailbox_take(&witness->replies)) != NULL) {
        lease_watch_answered(witness->pair, request, sim_disk_now_ns(witness->disk));
        region_link_send_reply(request, sim_disk_now_ns(witness->disk));
    }
}

void sim_witness_turn(struct sim_witness *witness)
{
    struct pair *pair = witness->pair;
    if (witness->state != SIM_SERVER_UP) {
        start(witness);
        return;
    }
    sim_disk_clock_advance_to(witness->disk, pair_now_ns(pair));
    sim_disk_clock_advance(witness->disk, turn_ns);
    take_what_has_come(witness);
    io_turn(witness->io, false);
    if (!witness->failed && !sim_disk_crashed(witness->disk)) {
        send_replies(witness);
        return;
    }
    world_note(&pair->worlds[0], NULL, "the witness lost power");
    if (!sim_disk_crashed(witness->disk))
        world_fail(&pair->worlds[0], "the witness ended: %s", witness->error.text);
    sim_witness_crash(witness, SIM_RESTART_RANDOM,
                      sim_disk_now_ns(witness->disk) +
                          NS_PER_MS * generator_between(&witness->generator, 50, 3000));
}
