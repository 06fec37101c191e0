/* SPDX-License-Identifier: Apache-2.0 */
/* The key registry, from its bytes on disk up: twin file, envelope, contents. An input is
 *
 *     0  1  bits: 0 the store is plain; 1 copies as given, else contents that are sealed here
 *           (plain only); 2 plain headers get a good hash, so that what lies behind is reached
 *     1  2  where copy b begins in the rest, if copies as given
 *
 * The files are in memory, and each operation is done in the next turn. */
#include "storage/seal/registry.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "storage/seal/twin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { copy_header_size = 144, copy_hash_at = 136, envelope_at = 24, envelope_hash_at = 88 };

struct io_file {
    struct bytes contents;
};

struct memory_io {
    struct io io;
    struct list_link queue;
    struct io_file files[3]; /* copy a, copy b, the master key */
    struct io_file written;  /* all that is written goes nowhere */
};

static struct io_file *file_find(struct memory_io *memory, const char *path)
{
    size_t size = strlen(path);
    return &memory->files[path[size - 1] == 'a' ? 0 : path[size - 1] == 'b' ? 1 : 2];
}

static void op_run(struct memory_io *memory, struct io_op *op)
{
    switch (op->kind) {
    case IO_KIND_OPEN:
        op->file = op->flags & IO_CREATE ? &memory->written : file_find(memory, op->path);
        break;
    case IO_KIND_FILE_SIZE:
        op->size = op->file->contents.size;
        break;
    case IO_KIND_READ:
        ASSERT(op->offset == 0);
        op->size = op->wanted < op->file->contents.size ? op->wanted : op->file->contents.size;
        bytes_copy(op->buffer, bytes_of(op->file->contents.data, op->size));
        break;
    default: /* what is written and renamed is not read again */
        break;
    }
}

static void memory_submit(struct io *io, struct io_op *op)
{
    list_push_last(&((struct memory_io *)io)->queue, &op->link);
}

static void memory_turn(struct io *io, bool wait)
{
    struct memory_io *memory = (struct memory_io *)io;
    struct list_link *link = list_pop_first(&memory->queue);
    ASSERT(!wait || link != NULL);
    if (link == NULL)
        return;
    struct io_op *op = LIST_ENTRY(link, struct io_op, link);
    op_run(memory, op);
    op->pending = false;
    io->pending_count--;
    if (op->done != NULL)
        op->done(op);
}

static uint64_t memory_ns(struct io *io)
{
    (void)io;
    return 1;
}

static const struct io_operations operations = {
    .submit = memory_submit, .turn = memory_turn, .boot_ns = memory_ns, .wall_ns = memory_ns};

/* A copy in memory of its own, exactly as large, with good hashes where asked for. */
static uint8_t *copy_make(struct bytes from, bool hashed)
{
    uint8_t *copy = malloc(from.size + 1);
    ASSERT(copy != NULL);
    bytes_copy(copy, from);
    if (hashed && from.size >= copy_header_size) {
        uint8_t *envelope = copy + envelope_at;
        store_u64(envelope + envelope_hash_at, hash64(bytes_of(envelope, envelope_hash_at)));
        store_u64(copy + copy_hash_at, hash64(bytes_of(copy, copy_hash_at)));
    }
    return copy;
}

/* A copy of a plain registry with these contents: what twin.c writes. */
static uint8_t *copy_seal(struct bytes contents)
{
    static const uint8_t no_id[seal_id_size];
    static struct keyring *keyring;
    const struct seal_file file = {.format = SEAL_FORMAT_REGISTRY, .number = 1};
    struct sealer *sealer = NULL;
    uint8_t *copy = calloc(1, copy_header_size + contents.size);
    ASSERT(copy != NULL);
    if (keyring == NULL) {
        enum status made = keyring_create_in_memory(no_id, true, &keyring);
        ASSERT(made == STATUS_OK);
        memset((uint8_t *)(uintptr_t)keyring_store_id(keyring), 0, seal_id_size);
    }
    enum status status = seal_create(keyring, file, copy + envelope_at, &sealer);
    ASSERT(status == STATUS_OK);
    memcpy(copy, "TWIN", 4);
    store_u16(copy + 4, 1);
    store_u16(copy + 6, (uint16_t)SEAL_FORMAT_REGISTRY);
    store_u64(copy + 8, 1);
    store_u64(copy + 16, contents.size);
    sealer_seal(sealer, 0, bytes_of(copy, envelope_at), contents, copy + copy_header_size,
                copy + envelope_at + seal_envelope_size);
    store_u64(copy + copy_hash_at, hash64(bytes_of(copy, copy_hash_at)));
    sealer_free(sealer);
    return copy;
}

static void open_all(struct memory_io *memory, bool plain)
{
    const struct master_key_source source = {.plain = plain, .file = plain ? NULL : "master.key"};
    struct keyring *keyring = NULL;
    struct keyring_report report;
    struct error error = {0};
    enum status status = keyring_open(&memory->io, "d", &source, &keyring, &report, &error);
    ASSERT((status == STATUS_OK) == (keyring != NULL));
    ASSERT(status == STATUS_OK || error.text[0] != '\0');
    if (keyring != NULL)
        ASSERT(keyring_is_encrypted(keyring) == !plain);
    keyring_close(keyring);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char hex[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    struct memory_io memory = {.io = {.operations = &operations}};
    uint8_t *copies[2] = {NULL, NULL};
    size_t sizes[2];
    if (size < 3)
        return 0;
    bool plain = (data[0] & 1) != 0;
    struct bytes rest = bytes_of(data + 3, size - 3);
    if ((data[0] & 2) != 0 || !plain) {
        sizes[0] = load_u16(data + 1) < rest.size ? load_u16(data + 1) : rest.size;
        sizes[1] = rest.size - sizes[0];
        copies[0] = copy_make(bytes_of(rest.data, sizes[0]), (data[0] & 4) != 0);
        copies[1] = copy_make(bytes_of(rest.data + sizes[0], sizes[1]), (data[0] & 4) != 0);
    } else {
        sizes[0] = sizes[1] = copy_header_size + rest.size;
        copies[0] = copy_seal(rest);
        copies[1] = copy_seal(rest);
    }
    list_init(&memory.queue);
    for (unsigned i = 0; i < 2; i++)
        memory.files[i].contents = bytes_of(copies[i], sizes[i]);
    memory.files[2].contents = bytes_of_text(hex);
    open_all(&memory, plain);
    free(copies[0]);
    free(copies[1]);
    return 0;
}
