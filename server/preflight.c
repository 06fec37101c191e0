/* SPDX-License-Identifier: Apache-2.0 */
#include "server/preflight.h"

#include "server/net/tls.h"
#include "server/peering.h"
#include "storage/io/uring.h"
#include "storage/seal/registry.h"

static enum status check_tls(const struct config *config, struct error *error)
{
    const struct tls_options options = {
        .certificate = config->tls_certificate, .key = config->tls_key, .ca = config->tls_ca};
    SSL_CTX *tls;

    enum status status = tls_context_open(&options, &tls, error);
    if (status != STATUS_OK)
        return status;
    SSL_CTX_free(tls);
    if (config->region.name == NULL)
        return STATUS_OK;
    status = peering_tls_open(config, &tls, error);
    if (status == STATUS_OK)
        SSL_CTX_free(tls);
    return status;
}

static enum status check_master_key(const struct config *config, struct io *io, struct error *error)
{
    const struct master_key_source source = {.file = config->master_key_file,
                                             .command = config->master_key_command};
    uint8_t key[master_key_size];

    if (config->encryption_off)
        return STATUS_OK;
    enum status status = master_key_read(io, &source, key, error);
    OPENSSL_cleanse(key, sizeof key);
    return status;
}

enum status preflight(const struct config *config, struct error *error)
{
    const struct io_uring_options options = {0};
    struct io *io;

    enum status status = io_uring_open(&options, &io, error);
    if (status != STATUS_OK)
        return status;
    status = check_master_key(config, io, error);
    if (status == STATUS_OK)
        status = check_tls(config, error);
    io_uring_close(io);
    return status;
}
