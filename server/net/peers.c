/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/peers.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/net/peers_internal.h"

enum { log_lines_per_second_max = 10 };

static const uint64_t ns_per_ms = 1000 * 1000;
static const uint64_t ns_per_second = 1000 * 1000 * 1000;

bool peers_may_log(struct peers *peers)
{
    uint64_t second = io_boot_ns(peers->io) / ns_per_second;
    if (second != peers->log_second) {
        if (peers->log_dropped_count != 0)
            log_warn("log_lines_dropped", LOG_U64("count", peers->log_dropped_count));
        peers->log_second = second;
        peers->log_lines_count = 0;
        peers->log_dropped_count = 0;
    }
    if (peers->log_lines_count < log_lines_per_second_max) {
        peers->log_lines_count++;
        return true;
    }
    peers->log_dropped_count++;
    return false;
}

void peers_timer_start(struct peers *peers, struct io_timer *timer, uint64_t delay_ms)
{
    io_timer_start(peers->io, timer, io_boot_ns(peers->io) + delay_ms * ns_per_ms);
}

void peers_step_later(struct peers *peers)
{
    if (!peers->step.started)
        peers_timer_start(peers, &peers->step, 0);
}

/* ---- The table ---- */

static struct peer_member *table_end(struct peers *peers)
{
    return peers->members + peers_table_size;
}

struct peer_member *peers_find(struct peers *peers, uint64_t id)
{
    ASSERT(id != 0);
    for (struct peer_member *member = peers->members; member < table_end(peers); member++) {
        if (member->about.id == id)
            return member;
    }
    return NULL;
}

bool peers_was_removed(const struct peers *peers, uint64_t id)
{
    for (int i = 0; i < peers_removed_count; i++) {
        if (peers->removed[i] == id)
            return true;
    }
    return false;
}

/* A removal that is undone (its entry was superseded before it was committed) is forgotten. */
static void removed_forget(struct peers *peers, uint64_t id)
{
    for (int i = 0; i < peers_removed_count; i++) {
        if (peers->removed[i] == id)
            peers->removed[i] = 0;
    }
}

static void removed_remember(struct peers *peers, uint64_t id)
{
    peers->removed[peers->removed_next] = id;
    peers->removed_next = (peers->removed_next + 1) % peers_removed_count;
}

/* NULL: all places are taken. */
static struct peer_member *place_take(struct peers *peers, const struct member *about,
                                      bool is_guest)
{
    for (struct peer_member *member = peers->members; member < table_end(peers); member++) {
        if (member->about.id != 0)
            continue;
        *member = (struct peer_member){.peers = peers, .about = *about, .is_guest = is_guest};
        member->dial_timer = (struct io_timer){.fired = peers_dial_fired, .context = member};
        peer_queue_init(&member->queue);
        return member;
    }
    return NULL;
}

static void place_free(struct peer_member *member)
{
    struct peers *peers = member->peers;
    ASSERT(member->out == NULL && member->in == NULL);
    io_timer_stop(peers->io, &member->dial_timer);
    peer_queue_clear(&member->queue);
    member->about.id = 0;
}

struct peer_member *peers_add_guest(struct peers *peers, const struct peer_hello *hello)
{
    struct member about = {.id = hello->member};
    unsigned guests_count = 0;
    for (struct peer_member *member = peers->members; member < table_end(peers); member++) {
        guests_count += member->about.id != 0 && member->is_guest;
    }
    if (guests_count >= limit_members_count)
        return NULL;
    memcpy(about.name, hello->name, sizeof about.name);
    memcpy(about.peers, hello->peers, sizeof about.peers);
    memcpy(about.clients, hello->clients, sizeof about.clients);
    return place_take(peers, &about, true);
}

static bool is_up(const struct peer_member *member)
{
    return member->out != NULL && member->out->state == PEER_OPEN;
}

/* ---- What happens to connections ---- */

bool peers_note_trouble(struct peer_member *member, const char *reason)
{
    char text[peer_reason_size + 1];
    snprintf(text, sizeof text, "%s", reason);
    if (strcmp(text, member->trouble) == 0)
        return false;
    memcpy(member->trouble, text, sizeof text);
    return true;
}

static void log_member(struct peers *peers, const char *event, const struct peer_member *member,
                       const char *reason)
{
    if (peers_may_log(peers))
        log_info(event, LOG_TEXT("name", member->about.name),
                 LOG_TEXT("address", member->about.peers), LOG_TEXT("reason", reason));
}

void peers_opened(struct peers *peers, struct peer_connection *connection)
{
    struct peer_member *member = connection->member;
    if (connection->is_dialled) {
        ASSERT(member->out == connection);
        member->opening = ++peers->openings_count;
        member->back_off_ms = 0;
        member->trouble[0] = 0;
        log_member(peers, "peer_connected", member, "");
    } else {
        struct peer_connection *old = member->in;
        member->in = connection;
        if (old != NULL)
            peer_connection_end(old, "it was opened anew");
        /* Who can reach us can be reached, most likely. */
        peers_dial_soon(member, true);
    }
    peers_step_later(peers);
}

void peers_ended(struct peers *peers, struct peer_connection *connection, const char *reason)
{
    struct peer_member *member = connection->member;
    connection->member = NULL;
    if (member == NULL) {
        if (reason != NULL && !peers->is_closing && peers_may_log(peers))
            log_info("peer_connection_ended", LOG_TEXT("address", connection->address),
                     LOG_TEXT("identity", connection->identity), LOG_TEXT("reason", reason));
        return;
    }
    if (member->in == connection)
        member->in = NULL;
    if (member->out != connection)
        return;
    bool is_news = reason != NULL && peers_note_trouble(member, reason);
    if (member->opening != 0)
        log_member(peers, "peer_disconnected", member, member->trouble);
    else if (is_news)
        log_member(peers, "peer_not_reached", member, reason);
    member->out = NULL;
    member->opening = 0;
    peer_queue_clear(&member->queue);
    peers_dial_soon(member, false);
}

/* ---- What is told, and what is freed ---- */

static void tell(struct peers *peers, const struct peer_member *member, enum bus_event event)
{
    if (peers->user != NULL)
        peers->user->happened(peers->user->context, member->about.id, event);
}

/* What the user does then may change the table: one thing at a time. Returns whether there was one.
 */
static bool tell_member(struct peers *peers, struct peer_member *member)
{
    uint64_t opening = is_up(member) ? member->opening : 0;
    if (member->opening_told != 0 && member->opening_told != opening) {
        member->opening_told = 0;
        member->room_wanted = false;
        tell(peers, member, BUS_DISCONNECTED);
        return true;
    }
    if (member->opening_told != opening) {
        member->opening_told = opening;
        tell(peers, member, BUS_CONNECTED);
        return true;
    }
    if (opening != 0 && member->room_wanted &&
        peer_queue_room(&member->queue) >= limit_peer_queue_size / 2) {
        member->room_wanted = false;
        tell(peers, member, BUS_ROOM);
        return true;
    }
    return false;
}

/* A guest stays as long as its connection does. */
static bool is_leaving(const struct peer_member *member)
{
    return member->is_guest && member->in == NULL;
}

static void tell_all(struct peers *peers)
{
    for (struct peer_member *member = peers->members; member < table_end(peers); member++) {
        if (member->about.id != 0 && is_leaving(member) && member->out != NULL)
            peer_connection_end(member->out, NULL);
        while (member->about.id != 0 && tell_member(peers, member))
            ;
        if (member->about.id != 0 && is_leaving(member) && member->out == NULL)
            place_free(member);
    }
}

static void reap(struct peers *peers)
{
    LIST_EACH(link, &peers->ended)
    {
        struct peer_connection *connection = LIST_ENTRY(link, struct peer_connection, link);
        if (peer_connection_is_done(connection))
            peer_connection_free(connection);
    }
}

static void step(struct io_timer *timer)
{
    struct peers *peers = timer->context;
    if (!peers->is_closing)
        tell_all(peers);
    reap(peers);
}

/* ---- The bus ---- */

static void bus_of_peers_attach(struct bus *bus, const struct bus_user *user)
{
    struct peers *peers = (struct peers *)bus;
    ASSERT((peers->user == NULL) == (user != NULL));
    if (user != NULL)
        peers->attached = *user;
    peers->user = user == NULL ? NULL : &peers->attached;
}

/* Its user is not told: it is who knows. */
static void remove_member(struct peers *peers, struct peer_member *member)
{
    struct peer_connection *in = member->in;
    struct peer_connection *out = member->out;
    removed_remember(peers, member->about.id);
    if (out != NULL)
        peer_connection_end(out, NULL);
    if (in != NULL) {
        member->in = NULL;
        in->member = NULL;
        if (in->state == PEER_OPEN)
            peer_connection_refuse(in, STATUS_NOT_FOUND, "The region has removed this member.");
    }
    log_member(peers, "peer_removed", member, "");
    place_free(member);
}

static void bus_of_peers_members(struct bus *bus, const struct membership *membership,
                                 uint64_t self)
{
    struct peers *peers = (struct peers *)bus;
    ASSERT(self != 0);
    ASSERT(peers->hello.member == 0 || peers->hello.member == self);
    ASSERT(membership->count <= limit_members_count);
    peers->hello.member = self;
    for (struct peer_member *member = peers->members; member < table_end(peers); member++) {
        if (member->about.id != 0 && !member->is_guest &&
            membership_find(membership, member->about.id) == NULL)
            remove_member(peers, member);
    }
    for (unsigned i = 0; i < membership->count; i++) {
        const struct member *about = &membership->members[i];
        removed_forget(peers, about->id);
        if (about->id == self)
            continue;
        struct peer_member *member = peers_find(peers, about->id);
        if (member != NULL) {
            member->about = *about;
            member->is_guest = false;
        } else {
            member = place_take(peers, about, false);
            ASSERT(member != NULL);
        }
        if (member->out == NULL)
            peers_dial_soon(member, true);
    }
}

static bool bus_of_peers_send(struct bus *bus, uint64_t to, enum bus_lane lane,
                              const struct bytes *pieces, size_t pieces_count)
{
    struct peers *peers = (struct peers *)bus;
    struct peer_member *member = peers_find(peers, to);
    if (member != NULL && is_up(member)) {
        if (peer_queue_push(&member->queue, lane, pieces, pieces_count)) {
            peers->statistics.messages_sent_count++;
            return true;
        }
        member->room_wanted = member->room_wanted || lane == BUS_BULK;
    }
    peers->statistics.messages_refused_count++;
    return false;
}

static size_t bus_of_peers_room(struct bus *bus, uint64_t to)
{
    struct peer_member *member = peers_find((struct peers *)bus, to);
    if (member == NULL || !is_up(member))
        return 0;
    size_t room = peer_queue_room(&member->queue);
    member->room_wanted = member->room_wanted || room == 0;
    return room;
}

static void bus_of_peers_flush(struct bus *bus)
{
    struct peers *peers = (struct peers *)bus;
    for (struct peer_member *member = peers->members; member < table_end(peers); member++) {
        if (member->about.id != 0 && is_up(member) && !peer_queue_is_empty(&member->queue))
            peer_connection_send(member->out);
    }
}

static const struct bus_operations bus_of_peers = {
    .attach = bus_of_peers_attach,
    .members = bus_of_peers_members,
    .send = bus_of_peers_send,
    .room = bus_of_peers_room,
    .flush = bus_of_peers_flush,
};

struct bus *peers_bus(struct peers *peers)
{
    return &peers->bus;
}

/* ---- Accepting ---- */

static bool is_same_host(const char *a, const char *b)
{
    const char *a_end = strrchr(a, ':');
    const char *b_end = strrchr(b, ':');
    return a_end != NULL && b_end != NULL && a_end - a == b_end - b &&
           memcmp(a, b, (size_t)(a_end - a)) == 0;
}

/* Whether there may be one more handshake: one host alone cannot take all places. */
static bool has_place_for(const struct peers *peers, const char *address)
{
    unsigned count = 0;
    unsigned count_of_host = 0;
    LIST_EACH(link, &peers->connections)
    {
        const struct peer_connection *connection = LIST_ENTRY(link, struct peer_connection, link);
        if (connection->is_dialled || connection->state == PEER_OPEN)
            continue;
        count++;
        count_of_host += is_same_host(connection->address, address);
    }
    return count < limit_peer_handshakes_count && count_of_host < limit_peer_handshakes_host_count;
}

static void accepted(void *context, struct io_socket *socket, enum status status)
{
    struct peers *peers = context;
    const char *reason = NULL;
    if (socket == NULL)
        reason = status_text(status);
    else if (!has_place_for(peers, io_socket_peer(socket).text))
        reason = "too many handshakes at a time";
    if (reason == NULL && peers->hello.member != 0 && !peers->is_closing) {
        peers->statistics.accepted_count++;
        peer_connection_accept(peers, socket);
        return;
    }
    peers->statistics.turned_away_count++;
    if (reason != NULL && peers_may_log(peers))
        log_warn("peer_turned_away", LOG_TEXT("reason", reason));
    if (socket != NULL)
        io_socket_close(socket);
}

/* ---- Opening and closing ---- */

static void options_fill(struct peers_options *options)
{
    const struct {
        uint32_t *option;
        uint32_t standard;
    } standards[] = {
        {&options->handshake_ms, limit_handshake_ms},
        {&options->keep_alive_ms, 1000},
        {&options->silent_ms, 5000},
        {&options->back_off_min_ms, 50},
        {&options->back_off_max_ms, 1000},
    };
    for (size_t i = 0; i < sizeof standards / sizeof standards[0]; i++) {
        if (*standards[i].option == 0)
            *standards[i].option = standards[i].standard;
    }
}

/* Fills our own HELLO. */
static enum status hello_fill(struct peers *peers, const struct peers_options *options,
                              struct error *error)
{
    struct peer_hello *hello = &peers->hello;
    char identity[limit_identity_size + 1];
    char host[limit_member_address_size + 1];
    uint16_t port;
    const X509 *certificate = SSL_CTX_get0_certificate(options->tls);
    enum status status = identity_of_certificate(certificate, identity, error);
    if (status != STATUS_OK)
        return status;
    if (strcmp(identity, options->name) != 0)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "The member's name is %s, but its certificate says %s. Give it a "
                         "certificate with the subject alternative name URI:strait:%s.",
                         options->name, identity, options->name);
    if (strlen(options->peers_address) > limit_member_address_size ||
        strlen(options->clients_address) > limit_member_address_size ||
        !address_split(options->peers_address, host, &port) ||
        !address_split(options->clients_address, host, &port))
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "The addresses that a member advertises are HOST:PORT, of at most %d "
                         "characters.",
                         limit_member_address_size);
    ASSERT(options->cluster_version_min <= options->cluster_version_max);
    hello->cluster_version_min = options->cluster_version_min;
    hello->cluster_version_max = options->cluster_version_max;
    memcpy(hello->cluster_id, options->cluster_id, peer_cluster_id_size);
    snprintf(hello->name, sizeof hello->name, "%s", options->name);
    snprintf(hello->peers, sizeof hello->peers, "%s", options->peers_address);
    snprintf(hello->clients, sizeof hello->clients, "%s", options->clients_address);
    return STATUS_OK;
}

static void peers_free(struct peers *peers)
{
    SSL_CTX_free(peers->tls);
    access_close(peers->options.access);
    BIO_meth_free(peers->bio_method);
    free(peers);
}

enum status peers_open(const struct peers_options *options, struct peers **peers,
                       struct error *error)
{
    *peers = NULL;
    struct peers *made = calloc(1, sizeof *made);
    if (made == NULL || (made->bio_method = tls_stream_method()) == NULL) {
        free(made);
        return error_set(error, STATUS_NO_MEMORY, "No memory for the bus between members.");
    }
    made->bus.operations = &bus_of_peers;
    made->options = *options;
    made->options.access = access_share(options->access);
    options_fill(&made->options);
    made->io = options->io;
    made->step = (struct io_timer){.fired = step, .context = made};
    list_init(&made->connections);
    list_init(&made->ended);
    generator_init(&made->generator, options->seed);
    SSL_CTX_up_ref(options->tls);
    made->tls = options->tls;
    enum status status = hello_fill(made, options, error);
    made->options.name = made->hello.name;
    if (status == STATUS_OK)
        status = io_listen(made->io, options->host, options->port, accepted, made, &made->listener,
                           error);
    if (status != STATUS_OK) {
        peers_free(made);
        return status;
    }
    *peers = made;
    return STATUS_OK;
}

void peers_close(struct peers *peers)
{
    peers->is_closing = true;
    peers->user = NULL;
    io_listener_close(peers->io, peers->listener);
    LIST_EACH(link, &peers->connections)
    {
        peer_connection_end(LIST_ENTRY(link, struct peer_connection, link), NULL);
    }
    for (struct peer_member *member = peers->members; member < table_end(peers); member++) {
        if (member->about.id != 0)
            place_free(member);
    }
    /* What is left waits for its send or connect alone, which was cancelled. */
    for (reap(peers); !list_is_empty(&peers->ended); reap(peers))
        io_turn(peers->io, true);
    io_timer_stop(peers->io, &peers->step);
    peers_free(peers);
}

uint16_t peers_port(const struct peers *peers)
{
    return io_listener_port(peers->listener);
}

void peers_reload_tls(struct peers *peers, SSL_CTX *tls)
{
    SSL_CTX_up_ref(tls);
    SSL_CTX_free(peers->tls);
    peers->tls = tls;
}

void peers_reload_access(struct peers *peers, const struct access *access)
{
    access_close(peers->options.access);
    peers->options.access = access_share(access);
    LIST_EACH(link, &peers->connections)
    {
        struct peer_connection *connection = LIST_ENTRY(link, struct peer_connection, link);
        if (connection->identity[0] != 0 && access_role(access, connection->identity) != ROLE_PEER)
            peer_connection_end(connection, "its identity does not have the role peer any more");
    }
}

/* ---- How it stands ---- */

bool peers_member_facts(const struct peers *peers, uint64_t id, struct peers_member_facts *facts)
{
    *facts = (struct peers_member_facts){0};
    for (const struct peer_member *member = peers->members;
         member < peers->members + peers_table_size; member++) {
        if (id == 0 || member->about.id != id)
            continue;
        facts->is_sending = is_up(member);
        facts->is_receiving = member->in != NULL;
        facts->is_guest = member->is_guest;
        facts->cluster_version_min = member->cluster_version_min;
        facts->cluster_version_max = member->cluster_version_max;
        memcpy(facts->trouble, member->trouble, sizeof member->trouble);
        return true;
    }
    return false;
}

struct peers_statistics peers_statistics(const struct peers *peers)
{
    return peers->statistics;
}
