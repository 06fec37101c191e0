/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/access.h"

#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"
#include "proto/strait.pb-c.h"

struct access_entry {
    char identity[limit_identity_size + 1];
    enum role role;
};

/* Sorted by identity. */
struct access {
    atomic_uint shares_count;
    struct access_entry *entries;
    size_t count;
    size_t capacity;
};

static const char *const role_names[] = {"peer", "none", "reader", "writer", "admin"};

const char *role_name(enum role role)
{
    ASSERT(role >= ROLE_PEER && role <= ROLE_ADMIN);
    return role_names[role - ROLE_PEER];
}

enum role role_of_name(const char *name)
{
    for (int role = ROLE_PEER; role <= ROLE_ADMIN; role++) {
        if (strcmp(name, role_names[role - ROLE_PEER]) == 0)
            return (enum role)role;
    }
    return ROLE_NONE;
}

enum status access_open(struct access **access)
{
    *access = calloc(1, sizeof **access);
    if (*access == NULL)
        return STATUS_NO_MEMORY;
    atomic_init(&(*access)->shares_count, 1);
    return STATUS_OK;
}

const struct access *access_share(const struct access *access)
{
    struct access *shared = (struct access *)(uintptr_t)access;
    atomic_fetch_add(&shared->shares_count, 1);
    return access;
}

void access_close(const struct access *access)
{
    struct access *shared = (struct access *)(uintptr_t)access;
    if (shared == NULL || atomic_fetch_sub(&shared->shares_count, 1) > 1)
        return;
    free(shared->entries);
    free(shared);
}

/* The place of `identity`, or where it would be. */
static size_t access_place(const struct access *access, const char *identity, bool *found)
{
    size_t low = 0;
    size_t high = access->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(access->entries[middle].identity, identity);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool access_grow(struct access *access)
{
    if (access->count < access->capacity)
        return true;
    size_t capacity = access->capacity == 0 ? 16 : access->capacity * 2;
    struct access_entry *entries = realloc(access->entries, capacity * sizeof *entries);
    if (entries == NULL)
        return false;
    access->entries = entries;
    access->capacity = capacity;
    return true;
}

enum status access_add(struct access *access, const char *identity, enum role role)
{
    bool found;
    ASSERT(role != ROLE_NONE && atomic_load(&access->shares_count) == 1);
    if (!identity_is_valid(identity))
        return STATUS_INVALID_ARGUMENT;
    size_t place = access_place(access, identity, &found);
    if (found)
        return STATUS_ALREADY_EXISTS;
    if (access->count >= limit_access_count)
        return STATUS_TOO_LARGE;
    if (!access_grow(access))
        return STATUS_NO_MEMORY;
    memmove(&access->entries[place + 1], &access->entries[place],
            (access->count - place) * sizeof access->entries[0]);
    access->entries[place] = (struct access_entry){.role = role};
    memcpy(access->entries[place].identity, identity, strlen(identity) + 1);
    access->count++;
    return STATUS_OK;
}

enum role access_role(const struct access *access, const char *identity)
{
    bool found;
    size_t place = access_place(access, identity, &found);
    return found ? access->entries[place].role : ROLE_NONE;
}

/* ---- The identity that a certificate gives ---- */

static bool identity_bytes_are_valid(struct bytes text)
{
    if (text.size == 0 || text.size > limit_identity_size)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= 0x20 || text.data[i] >= 0x7f)
            return false;
    }
    return true;
}

bool identity_is_valid(const char *identity)
{
    return identity_bytes_are_valid(bytes_of_text(identity));
}

/* The first name of `kind` that begins with `prefix`, without the prefix, and how many there are.
 */
static size_t name_find(const GENERAL_NAMES *names, int kind, const char *prefix,
                        struct bytes *first)
{
    size_t count = 0;
    size_t prefix_size = strlen(prefix);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != kind)
            continue;
        const ASN1_IA5STRING *text = name->d.ia5;
        struct bytes all = bytes_of(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
        if (!bytes_has_prefix(all, bytes_of(prefix, prefix_size)))
            continue;
        if (count++ == 0)
            *first = bytes_of(all.data + prefix_size, all.size - prefix_size);
    }
    return count;
}

static enum status identity_of_names(const GENERAL_NAMES *names,
                                     char identity[limit_identity_size + 1], struct error *error)
{
    struct bytes found = {0};
    size_t uris = name_find(names, GEN_URI, "strait:", &found);
    if (uris > 1)
        return error_set(error, STATUS_UNAUTHENTICATED,
                         "The certificate names %zu identities (strait: URIs); one is needed.",
                         uris);
    if (uris == 0 && name_find(names, GEN_DNS, "", &found) == 0 &&
        name_find(names, GEN_EMAIL, "", &found) == 0)
        return error_set(error, STATUS_UNAUTHENTICATED,
                         "The certificate's subject alternative names hold no strait: URI, DNS "
                         "name or e-mail address, so it names nobody.");
    if (!identity_bytes_are_valid(found))
        return error_set(error, STATUS_UNAUTHENTICATED,
                         "The certificate's identity is not 1 to %d printable ASCII characters.",
                         limit_identity_size);
    memcpy(identity, found.data, found.size);
    identity[found.size] = 0;
    return STATUS_OK;
}

enum status identity_of_certificate(const X509 *certificate, char identity[limit_identity_size + 1],
                                    struct error *error)
{
    identity[0] = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    if (names == NULL)
        return error_set(error, STATUS_UNAUTHENTICATED,
                         "The certificate has no (valid) subject alternative names, so it names "
                         "nobody; its common name does not count.");
    enum status status = identity_of_names(names, identity, error);
    GENERAL_NAMES_free(names);
    return status;
}

/* ---- What a request needs ---- */

static bool commit_changes_schema(const Strait__Commit *commit)
{
    for (size_t i = 0; i < commit->n_operations; i++) {
        switch (commit->operations[i]->kind_case) {
        case STRAIT__OPERATION__KIND_TABLE_CREATE:
        case STRAIT__OPERATION__KIND_TABLE_DROP:
        case STRAIT__OPERATION__KIND_INDEX_CREATE:
        case STRAIT__OPERATION__KIND_INDEX_DROP:
            return true;
        default:
            break;
        }
    }
    return false;
}

enum role access_role_needed(enum frame_type type, const ProtobufCMessage *message)
{
    switch (type) {
    case FRAME_HELLO:
    case FRAME_PING:
    case FRAME_GET:
    case FRAME_SCAN:
    case FRAME_SNAPSHOT_OPEN:
    case FRAME_SNAPSHOT_RENEW:
    case FRAME_SNAPSHOT_CLOSE:
    case FRAME_TXN_STATUS:
    case FRAME_TABLE_LIST:
    case FRAME_STATUS:
        return ROLE_READER;
    case FRAME_COMMIT:
        return commit_changes_schema((const Strait__Commit *)(const void *)message) ? ROLE_ADMIN
                                                                                    : ROLE_WRITER;
    case FRAME_REGION_PULL:
    case FRAME_WITNESS_LEASE:
    case FRAME_REGION_CHECKPOINT:
        return ROLE_PEER;
    default:
        return ROLE_ADMIN;
    }
}

bool access_permits(enum role role, enum frame_type type, const ProtobufCMessage *message)
{
    enum role needed = access_role_needed(type, message);
    if (role == ROLE_PEER)
        return needed == ROLE_PEER || type == FRAME_HELLO || type == FRAME_PING;
    return needed != ROLE_PEER && role >= needed;
}
