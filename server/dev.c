/* SPDX-License-Identifier: Apache-2.0 */
#include "server/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/assert.h"
#include "server/net/address.h"
#include "server/net/certificate.h"

enum {
    master_key_bytes = 32,
    valid_s = 10 * 365 * 24 * 60 * 60, /* a certificate that is made */
    renew_s = 30 * 24 * 60 * 60,       /* one with less than this left is made anew */
    early_s = 24 * 60 * 60,            /* begins so long ago, for clocks that differ */
};

static const char marker[] = "# Made by straitd --dev.";

static const struct {
    const char *identity;
    enum role role;
} clients[] = {{"dev-admin", ROLE_ADMIN}, {"dev-writer", ROLE_WRITER}, {"dev-reader", ROLE_READER}};

enum { clients_count = sizeof clients / sizeof clients[0] };

/* "server", "n2", or "w1"; static until the next call. */
static const char *role_of(unsigned member)
{
    static char name[8];
    if (member == dev_witness)
        return "w1";
    snprintf(name, sizeof name, member != 0 ? "n%u" : "server", member);
    return name;
}

static const char *store_of(unsigned member)
{
    static char name[24];
    if (member == dev_witness)
        return "store-w1";
    snprintf(name, sizeof name, member != 0 ? "store-n%u" : "store", member);
    return name;
}

/* The regions of members 1 to 3, and 4 to 6. */
static const char *const region_names[] = {"singapore", "sydney"};

static unsigned region_of(unsigned member)
{
    return member != 0 ? (member - 1) / dev_region_members_count : 0;
}

/* The first member of a member's region. */
static unsigned first_of(unsigned member)
{
    return region_of(member) * dev_region_members_count + 1;
}

/* ---- Files ---- */

static enum status refuse_path(const char *path, const char *what, struct error *error)
{
    int number = errno;
    enum status status = number == EACCES || number == EPERM    ? STATUS_FORBIDDEN
                         : number == ENOSPC || number == EDQUOT ? STATUS_DISK_FULL
                                                                : STATUS_IO_ERROR;
    return error_set(error, status, "%s: cannot %s: %s.", path, what, strerror(number));
}

/* False, with text, where it does not fit. */
static enum status path_join(char joined[dev_path_size], const char *folder, const char *name,
                             struct error *error)
{
    int size = snprintf(joined, dev_path_size, "%s/%s", folder, name);
    if (size > 0 && size < dev_path_size)
        return STATUS_OK;
    return error_set(error, STATUS_TOO_LARGE, "%s: the path is too long.", folder);
}

static enum status flush_folder(const char *path, struct error *error)
{
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return refuse_path(path, "open it", error);
    enum status status = fsync(folder) == 0 ? STATUS_OK : refuse_path(path, "flush it", error);
    close(folder);
    return status;
}

static bool write_all(int file, struct bytes contents)
{
    size_t written = 0;
    while (written < contents.size) {
        ssize_t result = write(file, contents.data + written, contents.size - written);
        if (result < 0 && errno == EINTR)
            continue;
        if (result <= 0)
            return false;
        written += (size_t)result;
    }
    return true;
}

/* Aside, flushed, renamed, and the folder flushed: the file is there in whole, or as it was. */
static enum status write_file(const char *folder, const char *name, struct bytes contents,
                              struct error *error)
{
    char path[dev_path_size];
    char aside[dev_path_size];
    enum status status = path_join(path, folder, name, error);
    if (status != STATUS_OK)
        return status;
    if (snprintf(aside, sizeof aside, "%s.new", path) >= dev_path_size)
        return error_set(error, STATUS_TOO_LARGE, "%s: the path is too long.", path);
    /* What an earlier run may have left. */
    if (unlink(aside) != 0 && errno != ENOENT)
        return refuse_path(aside, "remove it", error);
    int file = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return refuse_path(aside, "make it", error);
    if (!write_all(file, contents) || fsync(file) != 0)
        status = refuse_path(aside, "write it", error);
    if (close(file) != 0 && status == STATUS_OK)
        status = refuse_path(aside, "write it", error);
    if (status == STATUS_OK && rename(aside, path) != 0)
        status = refuse_path(path, "put it in place", error);
    return status == STATUS_OK ? flush_folder(folder, error) : status;
}

/* Makes a folder and those above it, mode 0700. */
static enum status make_folders(const char *path, struct error *error)
{
    char part[dev_path_size];
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof part)
        return error_set(error, STATUS_INVALID_ARGUMENT, "\"%s\" is no path of a folder.", path);
    for (size_t i = 1; i <= size; i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return refuse_path(part, "make this folder", error);
    }
    return STATUS_OK;
}

/* ---- Certificates ---- */

static struct bytes bytes_of_memory(BIO *memory)
{
    char *data = NULL;
    long size = BIO_get_mem_data(memory, &data);
    return bytes_of(data, (size_t)size);
}

/* The key first: a certificate that is there has its key. */
static enum status store_certificate(const char *folder, const char *name,
                                     const struct certificate *certificate, struct error *error)
{
    char file[limit_name_size];
    BIO *certificate_pem = NULL;
    BIO *key_pem = NULL;
    enum status status = certificate_write(certificate, &certificate_pem, &key_pem, error);
    if (status != STATUS_OK)
        return status;
    snprintf(file, sizeof file, "%s.key", name);
    status = write_file(folder, file, bytes_of_memory(key_pem), error);
    if (status == STATUS_OK) {
        snprintf(file, sizeof file, "%s.crt", name);
        status = write_file(folder, file, bytes_of_memory(certificate_pem), error);
    }
    BIO_free(certificate_pem);
    BIO_free(key_pem);
    return status;
}

/* Reads NAME.crt and NAME.key, and makes them where they are not there, not whole, signed by
 * another authority, or soon no longer valid. `issuer` NULL: an authority. */
static enum status ensure_certificate(const char *folder, const char *name,
                                      enum certificate_purpose purpose, const char *names,
                                      const struct certificate *issuer,
                                      struct certificate *certificate, struct error *error)
{
    char certificate_path[dev_path_size];
    char key_path[dev_path_size];
    char common_name[limit_name_size];
    time_t now = time(NULL);
    if (snprintf(certificate_path, dev_path_size, "%s/%s.crt", folder, name) >= dev_path_size ||
        snprintf(key_path, dev_path_size, "%s/%s.key", folder, name) >= dev_path_size)
        return error_set(error, STATUS_TOO_LARGE, "%s: the path is too long.", folder);
    struct error why = {0};
    enum status status = certificate_read(certificate_path, key_path, certificate, &why);
    if (status == STATUS_OK) {
        if (certificate_is_usable(certificate, issuer != NULL ? issuer : certificate,
                                  now + renew_s))
            return STATUS_OK;
        certificate_free(certificate);
    } else if (status != STATUS_NOT_FOUND && status != STATUS_CORRUPT) {
        return error_set(error, status, "%s", why.text);
    }
    snprintf(common_name, sizeof common_name, "strait dev %s", name);
    const struct certificate_options options = {.purpose = purpose,
                                                .common_name = common_name,
                                                .names = names,
                                                .valid_from = now - early_s,
                                                .valid_until = now + valid_s};
    status = certificate_make(&options, issuer, certificate, error);
    if (status != STATUS_OK)
        return status;
    status = store_certificate(folder, name, certificate, error);
    if (status != STATUS_OK)
        certificate_free(certificate);
    return status;
}

static enum status ensure_clients(const char *directory, const struct certificate *authority,
                                  struct error *error)
{
    char folder[dev_path_size];
    enum status status = path_join(folder, directory, "client", error);
    if (status == STATUS_OK)
        status = make_folders(folder, error);
    for (int i = 0; i < clients_count && status == STATUS_OK; i++) {
        char names[limit_name_size];
        struct certificate client;
        snprintf(names, sizeof names, "URI:strait:%s", clients[i].identity);
        status = ensure_certificate(folder, clients[i].identity, CERTIFICATE_CLIENT, names,
                                    authority, &client, error);
        if (status == STATUS_OK)
            certificate_free(&client);
    }
    return status;
}

static enum status ensure_certificates(const char *directory, const struct dev_options *options,
                                       struct error *error)
{
    static const char hosts[] = "DNS:localhost,IP:127.0.0.1,IP:::1";
    const char *name = role_of(options->member);
    char names[2 * limit_name_size];
    enum certificate_purpose purpose =
        options->member != 0 ? CERTIFICATE_MEMBER : CERTIFICATE_SERVER;
    if (options->member != 0)
        snprintf(names, sizeof names, "URI:strait:%s,%s", name, hosts);
    else
        snprintf(names, sizeof names, "%s", hosts);
    struct certificate authority;
    struct certificate server;
    enum status status =
        ensure_certificate(directory, "ca", CERTIFICATE_AUTHORITY, NULL, NULL, &authority, error);
    if (status != STATUS_OK)
        return status;
    status = ensure_certificate(directory, name, purpose, names, &authority, &server, error);
    if (status == STATUS_OK) {
        certificate_free(&server);
        status = ensure_clients(directory, &authority, error);
    }
    certificate_free(&authority);
    return status;
}

/* ---- The master key ---- */

static void write_digits(char *to, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        to[2 * i] = digits[bytes[i] >> 4];
        to[2 * i + 1] = digits[bytes[i] & 15];
    }
}

/* Random bytes as hexadecimal digits, in a file that is made once. */
static enum status draw_file(const char *directory, const char *name, size_t size,
                             struct error *error)
{
    uint8_t bytes[master_key_bytes];
    char text[2 * master_key_bytes + 1];
    ASSERT(size <= sizeof bytes);
    if (RAND_bytes(bytes, (int)size) != 1)
        return error_set(error, STATUS_INTERNAL, "OpenSSL could not draw random bytes.");
    write_digits(text, bytes, size);
    text[2 * size] = '\n';
    enum status status = write_file(directory, name, bytes_of(text, 2 * size + 1), error);
    bytes_wipe(bytes, sizeof bytes);
    bytes_wipe(text, sizeof text);
    return status;
}

/* Never replaced: without it a store is lost. */
static enum status ensure_master_key(const char *directory, unsigned member, struct error *error)
{
    char path[dev_path_size];
    enum status status = path_join(path, directory, "master.key", error);
    if (status != STATUS_OK)
        return status;
    if (access(path, F_OK) == 0)
        return STATUS_OK;
    if (errno != ENOENT)
        return refuse_path(path, "look at it", error);
    /* Members share it. */
    unsigned last = member != 0 ? dev_witness : 0;
    for (unsigned i = member != 0 ? 1 : 0; i <= last && status == STATUS_OK; i++) {
        char store[dev_path_size];
        status = path_join(store, directory, store_of(i), error);
        if (status == STATUS_OK && access(store, F_OK) == 0)
            status = error_set(error, STATUS_KEY_MISSING,
                               "%s: the master key is missing, and %s was sealed under it. Put the "
                               "key back, or remove that store to begin anew.",
                               path, store);
    }
    return status == STATUS_OK ? draw_file(directory, "master.key", master_key_bytes, error)
                               : status;
}

/* ---- The region ---- */

/* The cluster's id, which the members share: made by whoever comes first. */
static enum status ensure_cluster_id(const char *directory, uint8_t id[config_cluster_id_size],
                                     struct error *error)
{
    char path[dev_path_size];
    char text[2 * config_cluster_id_size + 2] = {0};
    enum status status = path_join(path, directory, "cluster_id", error);
    if (status != STATUS_OK)
        return status;
    if (access(path, F_OK) != 0)
        status = draw_file(directory, "cluster_id", config_cluster_id_size, error);
    if (status != STATUS_OK)
        return status;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return refuse_path(path, "open it", error);
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    if (size != sizeof text - 1 || text[size - 1] != '\n')
        return error_set(error, STATUS_CORRUPT, "%s: not a cluster's id.", path);
    text[size - 1] = 0;
    if (config_parse_cluster_id(text, id) != STATUS_OK)
        return error_set(error, STATUS_CORRUPT, "%s: not a cluster's id.", path);
    return STATUS_OK;
}

/* Whether there is a store already: what a server makes first of it. */
static bool has_store(const struct dev *dev, unsigned member)
{
    char path[dev_path_size];
    const char *name = member == dev_witness ? "witness.a" : "wal";
    int size = snprintf(path, sizeof path, "%s/%s/%s", dev->directory, store_of(member), name);
    return size > 0 && size < dev_path_size && access(path, F_OK) == 0;
}

static unsigned port_of(unsigned first, unsigned member)
{
    return first + (member != 0 ? member - 1 : 0) * dev_port_step;
}

/* ---- The profile ---- */

enum { endpoints_size = dev_region_members_count * 24 };

/* Where the members of `member`'s region take their clients; of a server on its own, itself. */
static void endpoints_of(uint16_t port, unsigned member, char endpoints[endpoints_size])
{
    bool is_alone = member == 0 || member == dev_witness;
    unsigned first = member == dev_witness ? member : first_of(member);
    unsigned count = is_alone ? 1 : dev_region_members_count;
    size_t used = 0;
    for (unsigned i = first; i < first + count; i++)
        used += (size_t)snprintf(endpoints + used, endpoints_size - used, "%s127.0.0.1:%u",
                                 i > first ? "," : "", port_of(port, i));
    ASSERT(used < endpoints_size);
}

static enum status write_profile(struct dev *dev, uint16_t port, unsigned member,
                                 struct error *error)
{
    char text[4 * dev_path_size];
    char endpoints[endpoints_size];
    const char *name = member == dev_witness    ? "profile-witness"
                       : region_of(member) == 0 ? "profile"
                                                : "profile-sydney";
    enum status status = path_join(dev->profile, dev->directory, name, error);
    if (status != STATUS_OK)
        return status;
    endpoints_of(port, member, endpoints);
    int size = snprintf(text, sizeof text,
                        "%s It is written anew whenever that server starts.\n"
                        "endpoint = %s\n"
                        "ca = %s/ca.crt\n"
                        "certificate = %s/client/dev-admin.crt\n"
                        "key = %s/client/dev-admin.key\n",
                        marker, endpoints, dev->directory, dev->directory, dev->directory);
    if (size <= 0 || (size_t)size >= sizeof text)
        return error_set(error, STATUS_TOO_LARGE, "%s: the path is too long.", dev->directory);
    return write_file(dev->directory, name, bytes_of(text, (size_t)size), error);
}

/* Whether the file at `path` (links followed) begins with our marker. */
static bool is_marked(const char *path)
{
    char first[sizeof marker] = {0};
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t size = fread(first, 1, sizeof marker - 1, file);
    fclose(file);
    return size == sizeof marker - 1 && memcmp(first, marker, size) == 0;
}

/* Whether what is at `path` may be replaced: nothing, or a link of an earlier --dev (perhaps to a
 * folder that is gone). A file, even with our marker, is somebody's copy. */
static bool is_ours(const char *path)
{
    struct stat about;
    char target[dev_path_size];
    if (lstat(path, &about) != 0)
        return errno == ENOENT;
    if (!S_ISLNK(about.st_mode))
        return false;
    if (is_marked(path))
        return true;
    ssize_t size = readlink(path, target, sizeof target - 1);
    if (size <= 0)
        return false;
    target[size] = 0;
    return stat(path, &about) != 0 && errno == ENOENT && strcmp(basename(target), "profile") == 0;
}

/* Not being able to is no failure: the profile can be named by hand, and the text says so. */
void dev_link(struct dev *dev)
{
    const char *home = getenv("HOME");
    char folder[dev_path_size];
    char link[dev_path_size];
    char aside[dev_path_size + 8];
    struct error error = {0};
    if (home == NULL || home[0] != '/' ||
        path_join(folder, home, ".config/strait", NULL) != STATUS_OK ||
        path_join(link, folder, "profile", NULL) != STATUS_OK) {
        snprintf(dev->link_kept, sizeof dev->link_kept,
                 "HOME names no folder, so no link to the profile was made; set STRAIT_PROFILE.");
        return;
    }
    if (make_folders(folder, &error) != STATUS_OK) {
        snprintf(dev->link_kept, sizeof dev->link_kept, "%.400s Set STRAIT_PROFILE.", error.text);
        return;
    }
    if (!is_ours(link)) {
        snprintf(dev->link_kept, sizeof dev->link_kept,
                 "%.300s was not made by --dev and was left as it is; set STRAIT_PROFILE.", link);
        return;
    }
    snprintf(aside, sizeof aside, "%s.new", link);
    if ((unlink(aside) != 0 && errno != ENOENT) || symlink(dev->profile, aside) != 0 ||
        rename(aside, link) != 0) {
        snprintf(dev->link_kept, sizeof dev->link_kept,
                 "%.300s could not be made (%s); set STRAIT_PROFILE.", link, strerror(errno));
        return;
    }
    memcpy(dev->link, link, sizeof dev->link);
}

/* ---- Opening ---- */

static enum status choose_directory(const char *given, char directory[dev_path_size],
                                    struct error *error)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    if (given != NULL)
        return snprintf(directory, dev_path_size, "%s", given) < dev_path_size
                   ? STATUS_OK
                   : error_set(error, STATUS_TOO_LARGE, "%s: the path is too long.", given);
    if (state != NULL && state[0] == '/')
        return path_join(directory, state, "strait/dev", error);
    if (home != NULL && home[0] == '/')
        return path_join(directory, home, ".local/state/strait/dev", error);
    return error_set(error, STATUS_INVALID_ARGUMENT,
                     "Neither XDG_STATE_HOME nor HOME names a folder; use --data DIR.");
}

static enum status make_directory(const struct dev_options *options, struct dev *dev,
                                  struct error *error)
{
    char given[dev_path_size];
    char *absolute = NULL;
    enum status status = choose_directory(options->directory, given, error);
    if (status == STATUS_OK)
        status = make_folders(given, error);
    if (status != STATUS_OK)
        return status;
    absolute = realpath(given, NULL);
    if (absolute == NULL)
        return refuse_path(given, "find it", error);
    /* Room for the longest name below it. */
    if (strlen(absolute) + limit_name_size >= dev_path_size)
        status = error_set(error, STATUS_TOO_LARGE, "%s: the path is too long.", absolute);
    else
        snprintf(dev->directory, sizeof dev->directory, "%s", absolute);
    free(absolute);
    return status;
}

static enum status take_lock(const struct dev *dev, const char *name, int how, int *lock,
                             struct error *error)
{
    char path[dev_path_size];
    enum status status = path_join(path, dev->directory, name, error);
    if (status != STATUS_OK)
        return status;
    *lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*lock < 0)
        return refuse_path(path, "open it", error);
    if (flock(*lock, how) == 0)
        return STATUS_OK;
    if (errno == EWOULDBLOCK)
        return error_set(error, STATUS_LOCKED,
                         "%s: a development server runs on this folder already. Stop it, or use "
                         "--data with another.",
                         dev->directory);
    return refuse_path(path, "lock it", error);
}

/* A server on its own has the directory for itself; members share it, and make what they share one
 * after the other: `making` is closed when all is made. */
static enum status lock_directory(struct dev *dev, unsigned member, int *making,
                                  struct error *error)
{
    enum status status =
        take_lock(dev, "dev.lock", (member != 0 ? LOCK_SH : LOCK_EX) | LOCK_NB, &dev->lock, error);
    if (status == STATUS_OK && member != 0)
        status = take_lock(dev, "region.lock", LOCK_EX, making, error);
    return status;
}

/* A text in the configuration's arena. NULL: no memory. */
static const char *config_text(struct config *config, const char *text)
{
    struct bytes copy;
    if (!arena_copy(&config->arena, bytes_of_text(text), &copy))
        return NULL;
    return (const char *)copy.data;
}

/* The path of NAME and ENDING below the directory. The same. */
static const char *config_path(struct config *config, const struct dev *dev, const char *name,
                               const char *ending)
{
    char path[dev_path_size];
    int size = snprintf(path, sizeof path, "%s/%s%s", dev->directory, name, ending);
    return size > 0 && size < dev_path_size ? config_text(config, path) : NULL;
}

/* The second region's servers follow the first's, wherever `endpoints` says that these are. */
static enum status fill_standby_of(const char *endpoints, struct config *config,
                                   struct error *error)
{
    struct config_region *region = &config->region;
    char host[limit_member_address_size + 1];
    uint16_t port;
    region->standby_of = arena_alloc_zeroed(&config->arena, limit_link_endpoints_count,
                                            sizeof region->standby_of[0]);
    char *rest = arena_alloc(&config->arena, strlen(endpoints) + 1);
    if (region->standby_of == NULL || rest == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory for the configuration.");
    memcpy(rest, endpoints, strlen(endpoints) + 1);
    for (char *one = strsep(&rest, ","); one != NULL; one = strsep(&rest, ",")) {
        if (region->standby_of_count == limit_link_endpoints_count ||
            strlen(one) > limit_member_address_size || !address_split(one, host, &port))
            return error_set(error, STATUS_INVALID_ARGUMENT,
                             "\"%s\" is no list of at most %d addresses HOST:PORT.", endpoints,
                             limit_link_endpoints_count);
        region->standby_of[region->standby_of_count++] = one;
    }
    return STATUS_OK;
}

/* The witness itself, or where a member finds it. */
static enum status fill_witness(const struct dev *dev, const struct dev_options *options,
                                uint16_t port, struct config *config, struct error *error)
{
    struct config_witness *witness = &config->witness;
    char text[limit_member_address_size];
    if (options->member == dev_witness) {
        witness->is_self = true;
        config->bootstrap = !has_store(dev, dev_witness);
        return ensure_cluster_id(dev->directory, witness->cluster_id, error);
    }
    snprintf(text, sizeof text, "127.0.0.1:%u", port_of(port, dev_witness));
    witness->endpoints = arena_alloc_zeroed(&config->arena, 1, sizeof witness->endpoints[0]);
    if (witness->endpoints != NULL)
        witness->endpoints[0] = config_text(config, text);
    if (witness->endpoints == NULL || witness->endpoints[0] == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory for the configuration.");
    witness->endpoints_count = 1;
    return STATUS_OK;
}

static enum status fill_region(const struct dev *dev, const struct dev_options *options,
                               uint16_t port, struct config *config, struct error *error)
{
    unsigned member = options->member;
    char first_region[endpoints_size];
    struct config_region *region = &config->region;
    char text[limit_member_address_size];
    enum status status = ensure_cluster_id(dev->directory, region->cluster_id, error);
    if (status != STATUS_OK)
        return status;
    region->has_cluster_id = true;
    region->listen_port = (uint16_t)(port_of(port, member) + 1);
    snprintf(region->listen_host, sizeof region->listen_host, "127.0.0.1");
    region->name = config_text(config, role_of(member));
    snprintf(text, sizeof text, "127.0.0.1:%u", region->listen_port);
    region->peers = config_text(config, text);
    snprintf(text, sizeof text, "127.0.0.1:%u", port_of(port, member));
    region->clients = config_text(config, text);
    if (region->name == NULL || region->peers == NULL || region->clients == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory for the configuration.");
    config->bootstrap = member == first_of(member) && !has_store(dev, member);
    region->id = region_of(member) + 1;
    region->region_name = region_names[region_of(member)];
    if (region_of(member) == 0)
        return STATUS_OK;
    endpoints_of(port, 1, first_region);
    return fill_standby_of(options->standby_of != NULL ? options->standby_of : first_region, config,
                           error);
}

/* The clients' identities, the members' and the witness's. */
static bool fill_access(unsigned member, struct config *config)
{
    unsigned members_count = member != 0 ? dev_witness : 0;
    config->access =
        arena_alloc_zeroed(&config->arena, clients_count + members_count, sizeof config->access[0]);
    if (config->access == NULL)
        return false;
    for (int i = 0; i < clients_count; i++)
        config->access[i] =
            (struct config_access){.identity = clients[i].identity, .role = clients[i].role};
    config->access_count = clients_count;
    for (unsigned i = 1; i <= members_count; i++) {
        const char *name = config_text(config, role_of(i));
        if (name == NULL)
            return false;
        config->access[config->access_count++] =
            (struct config_access){.identity = name, .role = ROLE_PEER};
    }
    return true;
}

static enum status fill_config(const struct dev *dev, const struct dev_options *options,
                               uint16_t port, struct config *config, struct error *error)
{
    unsigned member = options->member;
    config_init(config);
    config->data = config_path(config, dev, store_of(member), "");
    config->tls_certificate = config_path(config, dev, role_of(member), ".crt");
    config->tls_key = config_path(config, dev, role_of(member), ".key");
    config->tls_ca = config_path(config, dev, "ca.crt", "");
    config->master_key_file = config_path(config, dev, "master.key", "");
    if (config->data == NULL || config->tls_certificate == NULL || config->tls_key == NULL ||
        config->tls_ca == NULL || config->master_key_file == NULL || !fill_access(member, config))
        return error_set(error, STATUS_NO_MEMORY, "No memory for the configuration.");
    snprintf(config->listen_host, sizeof config->listen_host, "127.0.0.1");
    config->listen_port = (uint16_t)port_of(port, member);
    enum status status = STATUS_OK;
    if (member == dev_witness || options->witnessed)
        status = fill_witness(dev, options, port, config, error);
    if (status == STATUS_OK && member != 0 && member != dev_witness)
        status = fill_region(dev, options, port, config, error);
    return status;
}

enum status dev_open(const struct dev_options *options, struct dev *dev, struct config *config,
                     struct error *error)
{
    uint16_t port = options->port != 0 ? options->port : dev_port;
    unsigned member = options->member;
    int making = -1;
    *dev = (struct dev){.lock = -1};
    config_init(config);
    ASSERT(member <= dev_witness);
    if (member != 0 && port_of(port, dev_witness) + 1 > UINT16_MAX)
        return error_set(error, STATUS_INVALID_ARGUMENT, "Port %u leaves no room for the others.",
                         port);
    enum status status = make_directory(options, dev, error);
    if (status == STATUS_OK)
        status = lock_directory(dev, member, &making, error);
    if (status == STATUS_OK)
        status = ensure_certificates(dev->directory, options, error);
    if (status == STATUS_OK)
        status = ensure_master_key(dev->directory, member, error);
    if (status == STATUS_OK)
        status = write_profile(dev, port, member, error);
    if (status == STATUS_OK)
        status = fill_config(dev, options, port, config, error);
    if (making >= 0)
        close(making);
    if (status != STATUS_OK) {
        dev_close(dev);
        config_free(config);
        config_init(config);
        return status;
    }
    return STATUS_OK;
}

void dev_close(struct dev *dev)
{
    if (dev->lock >= 0)
        close(dev->lock);
    dev->lock = -1;
}
