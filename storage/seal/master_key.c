/* SPDX-License-Identifier: Apache-2.0 */
/* Where the master key comes from: a file, or what a command prints. Either form: 32 raw bytes, or
 * 64 hexadecimal digits with white space after them. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/assert.h"
#include "storage/io/blocking.h"
#include "storage/seal/registry.h"

enum { text_size_max = 4096 }; /* of what a file or command may give */

static int command_timeout_ms = 30000;

/* ---- The two forms ---- */

static int digit_value(uint8_t digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

static size_t digits_count(struct bytes text)
{
    size_t count = 0;
    while (count < text.size && digit_value(text.data[count]) >= 0)
        count++;
    return count;
}

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static enum status key_parse(struct bytes text, const char *origin, uint8_t key[master_key_size],
                             struct error *error)
{
    size_t digits = digits_count(text);
    size_t end = digits;
    while (end < text.size && is_space(text.data[end]))
        end++;
    if (digits == 2 * (size_t)master_key_size && end == text.size) {
        for (size_t i = 0; i < master_key_size; i++)
            key[i] =
                (uint8_t)(digit_value(text.data[2 * i]) << 4 | digit_value(text.data[2 * i + 1]));
        return STATUS_OK;
    }
    if (text.size == master_key_size && digits != text.size) {
        memcpy(key, text.data, master_key_size);
        return STATUS_OK;
    }
    return error_set(error, STATUS_KEY_WRONG,
                     "%s gives %zu bytes that are no master key: 64 hexadecimal digits or 32 raw "
                     "bytes are expected. One can be made with: openssl rand -hex 32",
                     origin, text.size);
}

/* ---- From a file ---- */

static enum status key_from_file(struct io *io, const char *path, uint8_t key[master_key_size],
                                 struct error *error)
{
    unsigned mode = 0;
    uint8_t *text = NULL;
    size_t size = 0;
    enum status status = io_file_mode(io, path, &mode);
    if (status == STATUS_OK && (mode & 077) != 0)
        return error_set(error, STATUS_FORBIDDEN,
                         "the master key file %s can be used by others than its owner (mode %04o). "
                         "Run: chmod 600 %s",
                         path, mode & 07777, path);
    if (status == STATUS_OK)
        status = io_read_file_wait(io, path, text_size_max, &text, &size);
    if (status == STATUS_OK)
        status = key_parse(bytes_of(text, size), path, key, error);
    else if (status == STATUS_NOT_FOUND)
        status = error_set(error, STATUS_KEY_MISSING, "there is no master key file %s", path);
    else
        status = error_set(error, status, "reading the master key file %s: %s", path,
                           status_text(status));
    if (text != NULL)
        bytes_wipe(text, size);
    free(text);
    return status;
}

/* ---- From a command ---- */

static int64_t now_ms(void)
{
    struct timespec now;
    int failed = clock_gettime(CLOCK_MONOTONIC, &now);
    ASSERT(failed == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Starts the command in a process group of its own, so that all of it can be ended, with its
 * standard output on `output`, nothing on its standard input, and our standard error. */
static int command_start(const char *command, int output, pid_t *child)
{
    char shell[] = "/bin/sh";
    char option[] = "-c";
    char *arguments[] = {shell, option, (char *)(uintptr_t)command, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed != 0)
        return failed;
    failed = posix_spawnattr_init(&attributes);
    if (failed != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return failed;
    }
    failed = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", 0, 0);
    failed = failed != 0 ? failed : posix_spawn_file_actions_adddup2(&actions, output, 1);
    failed = failed != 0 ? failed : posix_spawnattr_setsigmask(&attributes, &none);
    failed = failed != 0 ? failed : posix_spawnattr_setsigdefault(&attributes, &all);
    failed = failed != 0 ? failed : posix_spawnattr_setpgroup(&attributes, 0);
    failed = failed != 0 ? failed
                         : posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
                                                                     POSIX_SPAWN_SETSIGDEF |
                                                                     POSIX_SPAWN_SETPGROUP);
    failed =
        failed != 0 ? failed : posix_spawn(child, shell, &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

/* Waits until `descriptor` has something to say. DEADLINE_EXCEEDED, IO_ERROR. */
static enum status ready_wait(int descriptor, int64_t deadline_ms)
{
    for (;;) {
        struct pollfd ready = {.fd = descriptor, .events = POLLIN};
        int64_t left_ms = deadline_ms - now_ms();
        int count = left_ms > 0 ? poll(&ready, 1, (int)left_ms) : 0;
        if (count > 0)
            return STATUS_OK;
        if (count == 0)
            return STATUS_DEADLINE_EXCEEDED;
        if (errno != EINTR)
            return STATUS_IO_ERROR;
    }
}

/* Everything up to the end of the output. TOO_LARGE, DEADLINE_EXCEEDED, IO_ERROR. */
static enum status output_gather(int input, int64_t deadline_ms, uint8_t text[text_size_max],
                                 size_t *size)
{
    for (;;) {
        enum status status = ready_wait(input, deadline_ms);
        if (status != STATUS_OK)
            return status;
        if (*size == text_size_max)
            return STATUS_TOO_LARGE;
        ssize_t got = recv(input, text + *size, text_size_max - *size, 0);
        if (got == 0)
            return STATUS_OK;
        if (got < 0 && errno != EINTR)
            return STATUS_IO_ERROR;
        *size += got > 0 ? (size_t)got : 0;
    }
}

/* Waits for the command's own end, which may come later than that of its output. */
static enum status end_wait(pid_t child, int64_t deadline_ms)
{
    int descriptor = pidfd_open(child, 0);
    if (descriptor < 0)
        return STATUS_IO_ERROR;
    enum status status = ready_wait(descriptor, deadline_ms);
    close(descriptor);
    return status;
}

/* Takes the exit status, or -1 where it was killed; kills all that it started where asked to. */
static int command_end(pid_t child, bool kill_it)
{
    int wait_status = 0;
    pid_t ended = -1;
    if (kill_it)
        (void)kill(-child, SIGKILL); /* it may have ended by itself */
    do {
        ended = waitpid(child, &wait_status, 0);
    } while (ended < 0 && errno == EINTR);
    return ended == child && WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
}

/* Runs the command and gives its output. */
static enum status command_run(const char *command, uint8_t text[text_size_max], size_t *size,
                               struct error *error)
{
    int ends[2]; /* sockets: only storage/io reads files and pipes */
    pid_t child = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return error_set(error, STATUS_IO_ERROR, "no socket pair for the master key command: %s",
                         strerror(errno));
    int failed = command_start(command, ends[1], &child);
    close(ends[1]);
    if (failed != 0) {
        close(ends[0]);
        return error_set(error, STATUS_KEY_MISSING, "the master key command cannot be run: %s",
                         strerror(failed));
    }
    int64_t deadline_ms = now_ms() + command_timeout_ms;
    enum status status = output_gather(ends[0], deadline_ms, text, size);
    if (status == STATUS_OK)
        status = end_wait(child, deadline_ms);
    close(ends[0]);
    int exit_status = command_end(child, status != STATUS_OK);
    if (status != STATUS_OK)
        return error_set(error, STATUS_KEY_MISSING,
                         "the master key command was ended: %s (it may take %d ms and print %d "
                         "bytes)",
                         status_text(status), command_timeout_ms, text_size_max);
    if (exit_status != 0)
        return error_set(error, STATUS_KEY_MISSING,
                         "the master key command failed with exit status %d. What it said is on "
                         "standard error",
                         exit_status);
    return STATUS_OK;
}

static enum status key_from_command(const char *command, uint8_t key[master_key_size],
                                    struct error *error)
{
    uint8_t text[text_size_max];
    size_t size = 0;
    enum status status = command_run(command, text, &size, error);
    if (status == STATUS_OK)
        status = key_parse(bytes_of(text, size), "the master key command", key, error);
    bytes_wipe(text, sizeof text);
    return status;
}

enum status master_key_read(struct io *io, const struct master_key_source *source,
                            uint8_t key[master_key_size], struct error *error)
{
    memset(key, 0, master_key_size);
    if (source->plain || (source->file == NULL) == (source->command == NULL))
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "an encrypted store takes its master key either from a file or from a "
                         "command: name one of them");
    enum status status = source->file != NULL ? key_from_file(io, source->file, key, error)
                                              : key_from_command(source->command, key, error);
    if (status != STATUS_OK)
        bytes_wipe(key, master_key_size);
    return status;
}

#if defined(STRAIT_FAULTS)
void master_key_timeout_set(int timeout_ms)
{
    command_timeout_ms = timeout_ms;
}
#endif
