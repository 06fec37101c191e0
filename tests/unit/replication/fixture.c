/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/replication/fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "storage/io/blocking.h"

enum { body_size_least = 24, directory_size = 32 };

static const uint8_t body_mark[8] = "proposal";

static struct node *node_of(struct bus *bus)
{
    return (struct node *)(void *)bus;
}

static struct node *node_by_id(struct region *region, uint64_t id)
{
    for (unsigned i = 0; i < region->count; i++) {
        if (region->nodes[i].id == id)
            return &region->nodes[i];
    }
    return NULL;
}

/* ---- The bus ---- */

static void bus_attach_node(struct bus *bus, const struct bus_user *user)
{
    node_of(bus)->user = user != NULL ? *user : (struct bus_user){0};
}

static bool is_connected(const struct node *from, const struct node *to)
{
    return from->log != NULL && to->log != NULL && !from->region->cut[from->number][to->number];
}

static void bus_set_members(struct bus *bus, const struct membership *membership, uint64_t self)
{
    struct node *node = node_of(bus);
    ck_assert(node->log == NULL || self == replicated_log_self(node->log));
    node->bus_members = *membership;
}

static bool bus_send_pieces(struct bus *bus, uint64_t to, enum bus_lane lane,
                            const struct bytes *pieces, size_t pieces_count)
{
    struct node *from = node_of(bus);
    struct region *region = from->region;
    struct node *node = node_by_id(region, to);
    size_t size = 0;

    if (node == NULL || !is_connected(from, node) || region->messages_count == messages_max)
        return false;
    for (size_t i = 0; i < pieces_count; i++)
        size += pieces[i].size;
    ck_assert_uint_le(size, lane == BUS_CONTROL ? limit_peer_frame_size : limit_peer_message_size);
    if (lane == BUS_BULK && from->queued[node->number] + size > from->room)
        return false;
    uint8_t *bytes = malloc(size);
    ck_assert_ptr_nonnull(bytes);
    size_t at = 0;
    for (size_t i = 0; i < pieces_count; i++) {
        bytes_copy(bytes + at, pieces[i]);
        at += pieces[i].size;
    }
    from->queued[node->number] += size;
    region->messages[(region->messages_first + region->messages_count++) % messages_max] =
        (struct message){from->number, node->number, bytes_of(bytes, size)};
    return true;
}

static size_t bus_room_to(struct bus *bus, uint64_t to)
{
    struct node *from = node_of(bus);
    struct node *node = node_by_id(from->region, to);
    if (node == NULL || !is_connected(from, node) || from->queued[node->number] >= from->room)
        return 0;
    return from->room - from->queued[node->number];
}

static void bus_flush_all(struct bus *bus)
{
    ck_assert_ptr_nonnull(node_of(bus)->region);
}

static const struct bus_operations operations = {
    .attach = bus_attach_node,
    .members = bus_set_members,
    .send = bus_send_pieces,
    .room = bus_room_to,
    .flush = bus_flush_all,
};

static void tell_event(struct region *region, unsigned a, unsigned b, enum bus_event event)
{
    const struct node *node = &region->nodes[a];
    if (node->log != NULL && node->user.happened != NULL && region->nodes[b].id != 0)
        node->user.happened(node->user.context, region->nodes[b].id, event);
}

static void deliver(struct region *region)
{
    for (unsigned count = region->messages_count; count > 0; count--) {
        struct message message = region->messages[region->messages_first];
        region->messages_first = (region->messages_first + 1) % messages_max;
        region->messages_count--;
        struct node *from = &region->nodes[message.from];
        struct node *to = &region->nodes[message.to];
        from->queued[message.to] -= message.bytes.size;
        bool known =
            to->bus_members.count == 0 || membership_find(&to->bus_members, from->id) != NULL;
        if (to->log != NULL && known && !region->cut[message.from][message.to])
            to->user.received(to->user.context, from->id, message.bytes);
        free((void *)(uintptr_t)message.bytes.data);
    }
}

static void drop_messages(struct region *region, unsigned number)
{
    for (unsigned count = region->messages_count; count > 0; count--) {
        struct message message = region->messages[region->messages_first];
        region->messages_first = (region->messages_first + 1) % messages_max;
        region->messages_count--;
        if (message.from == number || message.to == number) {
            region->nodes[message.from].queued[message.to] -= message.bytes.size;
            free((void *)(uintptr_t)message.bytes.data);
            continue;
        }
        region->messages[(region->messages_first + region->messages_count++) % messages_max] =
            message;
    }
}

/* ---- What the log tells ---- */

static void on_dropped(void *context, void *proposal)
{
    struct node *node = context;
    struct region *region = node->region;
    if (proposal == NULL)
        return;
    struct proposal *dropped = proposal;
    ck_assert(dropped >= region->proposals &&
              dropped < region->proposals + region->proposals_count);
    ck_assert_uint_eq(dropped->node, node->number);
    /* Exactly once, and not after it was applied. */
    ck_assert_int_eq(dropped->fate, FATE_PROPOSED);
    dropped->fate = FATE_DROPPED;
}

static void on_changed(void *context)
{
    struct node *node = context;
    node->changed_count++;
}

static void on_confirmed(void *context, uint64_t round)
{
    struct node *node = context;
    ck_assert_uint_ge(round, node->confirmed);
    node->confirmed = round;
}

static void on_unconfirmed(void *context)
{
    struct node *node = context;
    node->unconfirmed_count++;
}

static void on_snapshot_needed(void *context, uint64_t member)
{
    struct node *node = context;
    node->snapshot_member = member;
}

static void on_failed(void *context, enum status status, const char *text)
{
    struct node *node = context;
    node->failed = true;
    (void)status;
    (void)text;
}

/* ---- Nodes ---- */

struct region *region_create(unsigned count, uint64_t seed)
{
    static const uint8_t cluster[seal_id_size] = "cluster of tests";
    struct region *region = calloc(1, sizeof *region);
    ck_assert_ptr_nonnull(region);
    log_descriptor_set(-1);
    region->count = count;
    region->segment_size = 1024 * 1024;
    for (unsigned i = 0; i < count; i++) {
        struct node *node = &region->nodes[i];
        node->bus.operations = &operations;
        node->region = region;
        node->number = i;
        node->room = 16 * 1024 * 1024;
        node->disk = sim_disk_create(seed * 16 + i);
        node->io = sim_disk_io(node->disk);
        ck_assert_int_eq(keyring_create_in_memory(cluster, true, &node->keyring), STATUS_OK);
        ck_assert_int_eq(io_make_directory_wait(node->io, "wal"), STATUS_OK);
        ck_assert_int_eq(io_flush_directory_wait(node->io, "/"), STATUS_OK);
    }
    return region;
}

void region_destroy(struct region *region)
{
    for (unsigned i = 0; i < region->count; i++) {
        if (region->nodes[i].log != NULL)
            node_close(region, i);
        drop_messages(region, i);
        if (!region->is_clone)
            keyring_close(region->nodes[i].keyring);
        sim_disk_destroy(region->nodes[i].disk);
    }
    free(region);
}

struct region *region_clone(const struct region *region, uint64_t seed)
{
    struct region *clone = malloc(sizeof *clone);
    ck_assert_ptr_nonnull(clone);
    ck_assert_uint_eq(region->messages_count, 0);
    *clone = *region;
    clone->is_clone = true;
    for (unsigned i = 0; i < clone->count; i++) {
        struct node *node = &clone->nodes[i];
        ck_assert_ptr_null(node->log);
        node->region = clone;
        node->disk = sim_disk_clone(region->nodes[i].disk, seed * 16 + i);
        node->io = sim_disk_io(node->disk);
    }
    return clone;
}

enum status node_try_open(struct region *region, unsigned number, struct error *error)
{
    struct node *node = &region->nodes[number];
    uint8_t membership[membership_size_max];
    struct replicated_log_options options = {
        .io = node->io,
        .keyring = node->keyring,
        .directory = "wal",
        .segment_size = region->segment_size,
        .cache_size_max = region->cache_size,
        .retained_size_max = region->retained_size,
        .base = node->base,
        .log_time_ns = node->base_time_ns,
        .bootstrap = number == 0,
        .bus = region->count == 1 ? NULL : &node->bus,
        .seed = number + 1,
        .dropped = on_dropped,
        .changed = on_changed,
        .confirmed = on_confirmed,
        .unconfirmed = on_unconfirmed,
        .snapshot_needed = on_snapshot_needed,
        .failed = on_failed,
        .context = node,
    };
    if (node->base_membership.count != 0) {
        membership_encode(&node->base_membership, membership);
        options.membership = bytes_of(membership, membership_size(&node->base_membership));
    }
    snprintf(options.self.name, sizeof options.self.name, "node-%u", number);
    snprintf(options.self.peers, sizeof options.self.peers, "10.0.0.%u:1", number);
    snprintf(options.self.clients, sizeof options.self.clients, "10.0.0.%u:2", number);
    enum status status = replicated_log_open(&options, &node->log, &node->report, error);
    if (status != STATUS_OK)
        return status;
    node->applied = node->base;
    node->log_time_ns = node->base_time_ns;
    node->membership = node->base_membership;
    uint64_t id = replicated_log_self(node->log);
    ck_assert(node->id == 0 || node->id == id); /* for good */
    node->id = id;
    for (unsigned i = 0; i < region->count; i++) {
        if (i == number || region->nodes[i].log == NULL || region->cut[i][number])
            continue;
        tell_event(region, number, i, BUS_CONNECTED);
        tell_event(region, i, number, BUS_CONNECTED);
    }
    return STATUS_OK;
}

void node_open(struct region *region, unsigned number)
{
    struct error error = {0};
    enum status status = node_try_open(region, number, &error);
    ck_assert_msg(status == STATUS_OK, "%s", error.text);
}

static void node_is_gone(struct region *region, unsigned number)
{
    region->nodes[number].log = NULL;
    region->nodes[number].bus_members = (struct membership){0};
    drop_messages(region, number);
    for (unsigned i = 0; i < region->count; i++)
        tell_event(region, i, number, BUS_DISCONNECTED);
}

void node_close(struct region *region, unsigned number)
{
    struct node *node = &region->nodes[number];
    ck_assert_int_eq(replicated_log_close(node->log), STATUS_OK);
    node_is_gone(region, number);
}

void node_crash(struct region *region, unsigned number, enum sim_restart_mode mode)
{
    struct node *node = &region->nodes[number];
    sim_disk_crash_now(node->disk);
    /* Unwinds on a disk that answers nothing but errors. */
    enum status status = replicated_log_close(node->log);
    ck_assert(status == STATUS_OK || status == STATUS_IO_ERROR);
    node_is_gone(region, number);
    node->failed = false;
    while (sim_disk_turn(node->disk))
        ;
    sim_disk_restart(node->disk, region->steps, mode);
    node->io = sim_disk_io(node->disk);
}

void node_flush_state(struct region *region, unsigned number)
{
    struct node *node = &region->nodes[number];
    node->base = node->applied;
    node->base_time_ns = node->log_time_ns;
    node->base_membership = node->membership;
    replicated_log_release(node->log, node->base.index);
}

struct member node_member(const struct node *node, unsigned kinds)
{
    struct member member = {.id = node->id, .kinds = kinds};
    snprintf(member.name, sizeof member.name, "node-%u", node->number);
    snprintf(member.peers, sizeof member.peers, "10.0.0.%u:1", node->number);
    snprintf(member.clients, sizeof member.clients, "10.0.0.%u:2", node->number);
    return member;
}

/* ---- Applying ---- */

static void apply(struct region *region, struct node *node, const struct log_committed *committed)
{
    const struct entry *entry = &committed->entry;
    uint64_t hash = hash64(entry->body) ^ hash_u64(committed->term) ^ hash_u64(entry->kind) ^
                    hash_u64(entry->log_time_ns);

    ck_assert_uint_eq(committed->index, node->applied.index + 1);
    ck_assert_uint_ge(committed->term, node->applied.term);
    ck_assert_uint_gt(entry->log_time_ns, node->log_time_ns);
    ck_assert_uint_lt(committed->index, applied_max);
    if (committed->index > region->applied_last) {
        ck_assert_uint_eq(committed->index, region->applied_last + 1);
        region->applied_last = committed->index;
        region->applied[committed->index] = hash;
    }
    ck_assert_uint_eq(region->applied[committed->index], hash);
    node->applied = (struct wal_mark){committed->index, committed->term};
    node->log_time_ns = entry->log_time_ns;
    if (entry->kind == ENTRY_MEMBERSHIP)
        ck_assert_int_eq(membership_decode(entry->body, &node->membership), STATUS_OK);
    if (entry_kind_is_shared(entry->kind))
        node->position =
            (struct log_position){entry->epoch_number, entry->epoch_region, entry->version};
    if (committed->context != NULL) {
        struct proposal *proposal = committed->context;
        ck_assert_uint_eq(proposal->node, node->number);
        ck_assert_int_eq(proposal->fate, FATE_PROPOSED);
        proposal->fate = FATE_APPLIED;
        ck_assert_uint_eq(load_u64(entry->body.data + sizeof body_mark),
                          (uint64_t)(proposal - region->proposals));
    }
    replicated_log_applied(node->log, committed->index);
}

static void node_step(struct region *region, struct node *node)
{
    struct log_committed committed;
    sim_disk_clock_advance(node->disk, step_ns);
    if (node->log == NULL)
        return;
    io_turn(node->io, false);
    replicated_log_turn(node->log);
    while (!node->stopped && replicated_log_take(node->log, &committed))
        apply(region, node, &committed);
    replicated_log_turn(node->log);
}

void region_step(struct region *region)
{
    region->steps++;
    for (unsigned i = 0; i < region->count; i++)
        node_step(region, &region->nodes[i]);
    deliver(region);
    for (unsigned i = 0; i < region->count; i++) {
        for (unsigned j = 0; j < region->count; j++) {
            if (i != j && is_connected(&region->nodes[i], &region->nodes[j]))
                tell_event(region, i, j, BUS_ROOM);
        }
    }
    (void)region_leader(region);
}

void region_run_ms(struct region *region, uint64_t ms)
{
    for (uint64_t i = 0; i < ms * 1000 * 1000 / step_ns; i++)
        region_step(region);
}

void region_until(struct region *region, bool (*done)(struct region *region), uint64_t ms)
{
    for (uint64_t i = 0; i < ms * 1000 * 1000 / step_ns; i++) {
        if (done(region))
            return;
        region_step(region);
    }
    ck_abort_msg("it did not come to that within %llu ms", (unsigned long long)ms);
}

struct node *region_leader(struct region *region)
{
    struct node *leader = NULL;
    for (unsigned i = 0; i < region->count; i++) {
        struct node *node = &region->nodes[i];
        if (node->log == NULL || replicated_log_role(node->log) != LOG_LEADER)
            continue;
        for (unsigned j = 0; j < i; j++) {
            const struct node *other = &region->nodes[j];
            ck_assert(other->log == NULL || replicated_log_role(other->log) != LOG_LEADER ||
                      replicated_log_term(other->log) != replicated_log_term(node->log));
        }
        if (replicated_log_may_read(node->log) &&
            (leader == NULL || replicated_log_term(leader->log) < replicated_log_term(node->log)))
            leader = node;
    }
    return leader;
}

static bool has_leader(struct region *region)
{
    return region_leader(region) != NULL;
}

struct node *region_await_leader(struct region *region)
{
    region_until(region, has_leader, 10000);
    return region_leader(region);
}

/* ---- Proposing ---- */

enum status node_propose(struct node *node, size_t size, unsigned *number)
{
    struct region *region = node->region;
    ck_assert_uint_lt(region->proposals_count, proposals_max);
    *number = region->proposals_count;
    size = size < body_size_least ? body_size_least : size;
    uint8_t *body = malloc(size);
    ck_assert_ptr_nonnull(body);
    memset(body, 'b', size);
    memcpy(body, body_mark, sizeof body_mark);
    store_u64(body + sizeof body_mark, *number);
    const struct log_proposal proposal = {
        .kind = ENTRY_COMMIT,
        .identity = bytes_of_text("app"),
        .body = bytes_of(body, size),
        .context = &region->proposals[*number],
    };
    const struct log_position position = {.epoch_number = 1, .epoch_region = 1};
    if (replicated_log_role(node->log) == LOG_LEADER && !replicated_log_has_position(node->log))
        replicated_log_position_set(node->log, &position);
    enum status status = replicated_log_propose(node->log, &proposal);
    free(body);
    if (status == STATUS_OK)
        region->proposals[region->proposals_count++] =
            (struct proposal){.fate = FATE_PROPOSED, .node = node->number};
    return status;
}

void region_commit(struct region *region, unsigned count, size_t size)
{
    unsigned number;
    for (unsigned i = 0; i < count;) {
        struct node *leader = region_await_leader(region);
        enum status status = node_propose(leader, size, &number);
        ck_assert(status == STATUS_OK || status == STATUS_BUSY || status == STATUS_NOT_LEADER);
        if (status != STATUS_OK) {
            region_step(region);
            continue;
        }
        i++;
        if (i % 16 != 0 && i != count)
            continue;
        uint64_t steps = region->steps;
        while (region->proposals[number].fate == FATE_PROPOSED) {
            region_step(region);
            ck_assert_uint_lt(region->steps, steps + 50000);
        }
        if (region->proposals[number].fate == FATE_DROPPED)
            i--;
    }
}

bool region_is_level(struct region *region)
{
    for (unsigned i = 0; i < region->count; i++) {
        if (region->nodes[i].log != NULL && region->nodes[i].applied.index != region->applied_last)
            return false;
    }
    return region_leader(region) != NULL;
}

void region_await_level(struct region *region)
{
    region_until(region, region_is_level, 20000);
}

/* ---- Membership ---- */

static bool membership_is_settled(struct region *region)
{
    struct node *leader = region_leader(region);
    return leader != NULL && !membership_is_joint(&leader->membership) &&
           leader->applied.index == replicated_log_commit_index(leader->log) &&
           region->steps % 8 == 0;
}

void region_change(struct region *region, const struct membership *target)
{
    enum status status;
    do {
        struct node *leader = region_await_leader(region);
        status = replicated_log_change(leader->log, target);
        ck_assert(status == STATUS_OK || status == STATUS_BUSY || status == STATUS_NOT_LEADER);
        region_step(region);
    } while (status != STATUS_OK);
    region_run_ms(region, 20);
    region_until(region, membership_is_settled, 10000);
}

void region_form(struct region *region)
{
    struct membership target = {0};
    for (unsigned i = 0; i < region->count; i++)
        node_open(region, i);
    (void)region_await_leader(region);
    for (unsigned i = 0; i < region->count; i++) {
        struct member member = node_member(&region->nodes[i], MEMBER_VOTER);
        if (i > 0)
            member.kinds = MEMBER_LEARNER;
        ck_assert(membership_set(&target, &member));
        if (i > 0)
            region_change(region, &target);
    }
    region_await_level(region);
    for (unsigned i = 0; i < region->count; i++) {
        struct member member = node_member(&region->nodes[i], MEMBER_VOTER);
        ck_assert(membership_set(&target, &member));
    }
    if (region->count > 1)
        region_change(region, &target);
    region_await_level(region);
}

void region_isolate(struct region *region, unsigned number, bool isolated)
{
    for (unsigned i = 0; i < region->count; i++) {
        if (i == number)
            continue;
        region->cut[i][number] = isolated;
        region->cut[number][i] = isolated;
        tell_event(region, i, number, isolated ? BUS_DISCONNECTED : BUS_CONNECTED);
        tell_event(region, number, i, isolated ? BUS_DISCONNECTED : BUS_CONNECTED);
    }
}

/* ---- Snapshots ---- */

static void on_prepared(void *context, enum status status)
{
    struct node *node = context;
    ck_assert_int_eq(status, STATUS_OK);
    node->prepared = true;
}

static void on_installed(void *context, enum status status)
{
    struct node *node = context;
    node->install_status = status;
    node->installed = true;
}

enum status region_install(struct region *region, const struct node *from, struct node *to)
{
    uint8_t encoded[membership_size_max];
    to->prepared = false;
    to->installed = false;
    replicated_log_hold(to->log, true);
    replicated_log_snapshot_prepare(to->log, from->applied, on_prepared);
    while (!to->prepared)
        region_step(region);
    struct wal_mark mark = from->applied;
    membership_encode(&from->membership, encoded);
    replicated_log_snapshot_installed(to->log, mark,
                                      bytes_of(encoded, membership_size(&from->membership)),
                                      from->log_time_ns, on_installed);
    if (mark.index > to->applied.index) {
        to->applied = mark;
        to->log_time_ns = from->log_time_ns;
        to->membership = from->membership;
    }
    while (!to->installed)
        region_step(region);
    replicated_log_hold(to->log, false);
    if (to->install_status == STATUS_OK)
        node_flush_state(region, to->number);
    return to->install_status;
}

/* ---- Damage ---- */

struct damage {
    struct node *node;
    uint8_t wanted[sizeof body_mark + 8];
    char path[64];
    uint64_t offset;
    bool found;
};

static void search(void *context, const char *path, uint64_t size)
{
    struct damage *damage = context;
    if (damage->found || strstr(path, "segment-") == NULL)
        return;
    uint8_t *bytes = malloc((size_t)size);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(sim_disk_peek(damage->node->disk, path, 0, bytes, (size_t)size), size);
    const uint8_t *at = memmem(bytes, (size_t)size, damage->wanted, sizeof damage->wanted);
    if (at != NULL) {
        damage->found = true;
        damage->offset = (uint64_t)(at - bytes);
        snprintf(damage->path, sizeof damage->path, "%s", path);
    }
    free(bytes);
}

static struct damage find(struct node *node, unsigned proposal)
{
    struct damage damage = {.node = node};
    memcpy(damage.wanted, body_mark, sizeof body_mark);
    store_u64(damage.wanted + sizeof body_mark, proposal);
    sim_disk_each_file(node->disk, search, &damage);
    return damage;
}

bool node_damage(struct node *node, unsigned proposal)
{
    struct damage damage = find(node, proposal);
    if (damage.found)
        sim_disk_flip_bit(node->disk, damage.path, damage.offset, 3);
    return damage.found;
}

bool node_damage_header(struct node *node, unsigned proposal)
{
    struct damage damage = find(node, proposal);
    if (damage.found)
        sim_disk_flip_bit(node->disk, damage.path, damage.offset / 4096 * 4096 + 16, 3);
    return damage.found;
}
