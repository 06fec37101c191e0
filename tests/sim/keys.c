/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/keys.h"

#include "storage/io/blocking.h"

const char sim_directory[] = "data";

static const char key_file[] = "key";
static const struct master_key_source key_source = {.file = key_file};
static const uint8_t cluster[seal_id_size] = {'s', 'i', 'm'};

static enum status write_master_key(struct io *io, unsigned salt)
{
    uint8_t key[master_key_size];
    struct io_file *file;

    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(i * 7 + salt);
    enum status status = io_open_wait(io, key_file, IO_READ | IO_WRITE | IO_CREATE, &file);
    if (status != STATUS_OK)
        return status;
    status = io_write_wait(io, file, key, sizeof key, 0);
    if (status == STATUS_OK)
        status = io_flush_wait(io, file);
    enum status closed = io_close_wait(io, file);
    return status == STATUS_OK ? closed : status;
}

static enum status make(struct io *io, unsigned salt, struct error *error)
{
    enum status status = io_make_directory_wait(io, sim_directory);
    if (status == STATUS_OK || status == STATUS_ALREADY_EXISTS)
        status = write_master_key(io, salt);
    if (status == STATUS_OK)
        status = io_flush_directory_wait(io, "/");
    if (status == STATUS_OK)
        status = keyring_create(io, sim_directory, &key_source, cluster, error);
    return status;
}

enum status sim_keys_open(struct io *io, unsigned salt, bool *is_made, struct keyring **keyring,
                          struct error *error)
{
    struct keyring_report report;
    if (!*is_made) {
        enum status status = make(io, salt, error);
        if (status != STATUS_OK)
            return status;
        *is_made = true;
    }
    return keyring_open(io, sim_directory, &key_source, keyring, &report, error);
}
