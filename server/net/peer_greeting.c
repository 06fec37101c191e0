/* SPDX-License-Identifier: Apache-2.0 */
/* Who is let in, and with which words the others are not. */
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/net/peers_internal.h"

/* A reason in words, as long as a refusal may be. */
struct reason {
    char text[peer_reason_size + 1];
};

static void refuse(struct peer_connection *connection, enum status status, const char *reason)
{
    peer_connection_refuse(connection, status, reason);
}

/* ---- The certificate ---- */

/* OK where whoever it names has the role `peer`. */
static enum status identify(struct peer_connection *connection, struct error *error)
{
    const struct peers_options *options = &connection->peers->options;
    const X509 *certificate = SSL_get0_peer_certificate(connection->tls.ssl);
    if (certificate == NULL)
        return error_set(error, STATUS_UNAUTHENTICATED, "There is no certificate.");
    enum status status = identity_of_certificate(certificate, connection->identity, error);
    if (status != STATUS_OK)
        return status;
    if (access_role(options->access, connection->identity) != ROLE_PEER)
        return error_set(error, STATUS_PERMISSION_DENIED,
                         "The identity %s does not have the role peer here: its administrator can "
                         "put it on the access list of member %s.",
                         connection->identity, options->name);
    const struct peer_member *member = connection->member;
    if (member != NULL && strcmp(member->about.name, connection->identity) != 0)
        return error_set(error, STATUS_PERMISSION_DENIED,
                         "The certificate at %s is that of %s, not of member %s.",
                         connection->address, connection->identity, member->about.name);
    return STATUS_OK;
}

static bool say_hello(struct peer_connection *connection)
{
    uint8_t body[peer_hello_size_max];
    struct peer_hello hello = connection->peers->hello;
    hello.is_probe = connection->probe != NULL;
    hello.expected = connection->member != NULL ? connection->member->about.id : 0;
    size_t size = peer_hello_encode(&hello, body);
    return peer_connection_say(connection, PEER_FRAME_HELLO, bytes_of(body, size));
}

void peer_greeting_begin(struct peer_connection *connection)
{
    struct error error = {0};
    enum status status = identify(connection, &error);
    if (status != STATUS_OK) {
        refuse(connection, status, error.text);
        return;
    }
    peer_connection_set_state(connection, PEER_GREETING);
    if (connection->is_dialled && say_hello(connection))
        peer_connection_send(connection);
}

/* ---- What both sides ask of a HELLO ---- */

static enum status check(const struct peer_connection *connection, const struct peer_hello *hello,
                         struct reason *reason)
{
    const struct peer_hello *own = &connection->peers->hello;
    if (strcmp(hello->name, connection->identity) != 0) {
        snprintf(reason->text, sizeof reason->text,
                 "It says that its name is %s; its certificate says %s.", hello->name,
                 connection->identity);
        return STATUS_PERMISSION_DENIED;
    }
    if (memcmp(hello->cluster_id, own->cluster_id, peer_cluster_id_size) != 0) {
        snprintf(reason->text, sizeof reason->text,
                 "%s and %s belong to different clusters: their cluster ids differ.", own->name,
                 hello->name);
        return STATUS_INVALID_ARGUMENT;
    }
    if (hello->cluster_version_min > own->cluster_version_max ||
        hello->cluster_version_max < own->cluster_version_min) {
        snprintf(reason->text, sizeof reason->text,
                 "%s can apply the cluster versions %u to %u, %s those from %u to %u: upgrade by "
                 "way of a program in between.",
                 own->name, own->cluster_version_min, own->cluster_version_max, hello->name,
                 hello->cluster_version_min, hello->cluster_version_max);
        return STATUS_UNSUPPORTED;
    }
    if (hello->member == own->member) {
        snprintf(reason->text, sizeof reason->text,
                 "This is the store of %s itself, or a copy of it.", own->name);
        return STATUS_INVALID_ARGUMENT;
    }
    return STATUS_OK;
}

/* ---- The side that was dialled ---- */

/* The member that says HELLO, or a new guest. */
static enum status find_sender(struct peers *peers, const struct peer_hello *hello,
                               struct peer_member **member, struct reason *reason)
{
    *member = peers_find(peers, hello->member);
    if (*member != NULL && strcmp((*member)->about.name, hello->name) != 0) {
        snprintf(reason->text, sizeof reason->text, "This store belongs to member %s, not to %s.",
                 (*member)->about.name, hello->name);
        return STATUS_PERMISSION_DENIED;
    }
    if (*member != NULL)
        return STATUS_OK;
    if (peers_was_removed(peers, hello->member)) {
        snprintf(reason->text, sizeof reason->text,
                 "%s was removed from the region. To let it in again, add it with a new store.",
                 hello->name);
        return STATUS_NOT_FOUND;
    }
    *member = peers_add_guest(peers, hello);
    if (*member != NULL)
        return STATUS_OK;
    snprintf(reason->text, sizeof reason->text, "Too many that are no members.");
    return STATUS_BUSY;
}

static void open_connection(struct peer_connection *connection, const struct peer_hello *hello)
{
    connection->member->cluster_version_min = hello->cluster_version_min;
    connection->member->cluster_version_max = hello->cluster_version_max;
    connection->stream.is_greeted = true;
    peer_connection_set_state(connection, PEER_OPEN);
    peers_opened(connection->peers, connection);
}

static void answer(struct peer_connection *connection, const struct peer_hello *hello)
{
    struct peers *peers = connection->peers;
    struct reason reason = {0};
    enum status status = check(connection, hello, &reason);
    if (status == STATUS_OK && hello->expected != 0 && hello->expected != peers->hello.member) {
        snprintf(reason.text, sizeof reason.text,
                 "%s has another store now than the one that is looked for: its disk was lost or "
                 "replaced. Replace the member.",
                 peers->hello.name);
        status = STATUS_NOT_FOUND;
    }
    if (status == STATUS_OK && !hello->is_probe)
        status = find_sender(peers, hello, &connection->member, &reason);
    if (status != STATUS_OK) {
        refuse(connection, status, reason.text);
        return;
    }
    if (!say_hello(connection))
        return;
    if (hello->is_probe)
        peer_connection_close_gently(connection);
    else
        open_connection(connection, hello);
}

/* ---- The side that dialled ---- */

static void conclude_probe(struct peer_connection *connection, const struct peer_hello *hello)
{
    struct peers_probed *result = &connection->probe->result;
    result->cluster_version_min = hello->cluster_version_min;
    result->cluster_version_max = hello->cluster_version_max;
    result->member.id = hello->member;
    memcpy(result->member.name, hello->name, sizeof hello->name);
    memcpy(result->member.peers, hello->peers, sizeof hello->peers);
    memcpy(result->member.clients, hello->clients, sizeof hello->clients);
    peers_probe_done(connection, STATUS_OK, "");
    peer_connection_end(connection, NULL);
}

static void conclude(struct peer_connection *connection, const struct peer_hello *hello)
{
    struct reason reason = {0};
    enum status status = check(connection, hello, &reason);
    if (status == STATUS_OK && connection->probe == NULL &&
        hello->member != connection->member->about.id) {
        snprintf(reason.text, sizeof reason.text,
                 "%s has another store now than the one of the membership.", hello->name);
        status = STATUS_NOT_FOUND;
    }
    if (status != STATUS_OK)
        refuse(connection, status, reason.text);
    else if (connection->probe != NULL)
        conclude_probe(connection, hello);
    else
        open_connection(connection, hello);
}

/* ---- Frames ---- */

static void take_hello(struct peer_connection *connection, struct bytes body)
{
    struct peer_hello hello;
    struct reason reason = {0};
    enum status status = peer_hello_decode(body, &hello);
    if (status == STATUS_UNSUPPORTED) {
        snprintf(reason.text, sizeof reason.text, "%s speaks version %d of the peers' protocol.",
                 connection->peers->hello.name, peer_protocol_version);
        refuse(connection, status, reason.text);
        return;
    }
    if (status != STATUS_OK) {
        connection->peers->statistics.malformed_count++;
        peer_connection_end(connection, "its HELLO is malformed");
        return;
    }
    if (connection->is_dialled)
        conclude(connection, &hello);
    else
        answer(connection, &hello);
}

static void take_refusal(struct peer_connection *connection, struct bytes body)
{
    struct peer_refusal refusal;
    char reason[peer_reason_size + 32];
    if (peer_refusal_decode(body, &refusal) != STATUS_OK) {
        connection->peers->statistics.malformed_count++;
        peer_connection_end(connection, "its refusal is malformed");
        return;
    }
    snprintf(reason, sizeof reason, "refused: %s", refusal.reason);
    if (connection->probe != NULL)
        peers_probe_done(connection, refusal.status, refusal.reason);
    peer_connection_end(connection, reason);
}

void peer_greeting_take(struct peer_connection *connection, const struct peer_item *item)
{
    if (item->kind == PEER_FRAME_REFUSAL) {
        take_refusal(connection, item->body);
        return;
    }
    ASSERT(connection->state == PEER_GREETING);
    ASSERT(item->kind == PEER_FRAME_HELLO);
    take_hello(connection, item->body);
}
