/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "jepsen/relay/relay.h"

enum { words_max = 3, delay_ms_max = 60 * 1000, listen_backlog = 8, answer_seconds = 10 };

static const uint64_t nanoseconds_in_ms = 1000000;

/* ---- Commands ---- */

struct words {
    unsigned count;
    char text[relay_line_size];
    const char *words[words_max + 1];
};

static void words_split(struct words *words, const char *line)
{
    *words = (struct words){0};
    snprintf(words->text, sizeof words->text, "%s", line);
    char *at = words->text;
    while (words->count <= words_max) {
        at += strspn(at, " \t\r\n");
        if (*at == 0)
            return;
        words->words[words->count++] = at;
        at += strcspn(at, " \t\r\n");
        if (*at != 0)
            *at++ = 0;
    }
}

static bool parse_number(const char *text, uint64_t *number, const char **unit)
{
    char *end = NULL;
    errno = 0;
    *number = strtoull(text, &end, 10);
    *unit = end;
    return text[0] >= '0' && text[0] <= '9' && errno == 0;
}

/* "45", "45ms". */
static bool parse_delay(const char *text, uint64_t *delay_ns)
{
    const char *unit;
    uint64_t delay_ms;
    if (!parse_number(text, &delay_ms, &unit) || delay_ms > delay_ms_max ||
        (unit[0] != 0 && strcmp(unit, "ms") != 0))
        return false;
    *delay_ns = delay_ms * nanoseconds_in_ms;
    return true;
}

/* Bytes a second: "1000000", "1MB", "512KiB"; "off". */
static bool parse_rate(const char *text, uint64_t *rate)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {{"", 1}, {"kB", 1000}, {"MB", 1000000}, {"KiB", 1024}, {"MiB", 1 << 20}};
    const char *unit;
    *rate = 0;
    if (strcmp(text, "off") == 0)
        return true;
    if (!parse_number(text, rate, &unit))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(units[i].name, unit) == 0)
            return !__builtin_mul_overflow(*rate, units[i].factor, rate) && *rate != 0;
    }
    return false;
}

/* One direction, or both where none is named. False: no such direction. */
static bool cut(struct relay *relay, const char *direction, bool is_cut)
{
    bool is_forward = direction == NULL || strcmp(direction, "forward") == 0;
    bool is_back = direction == NULL || strcmp(direction, "back") == 0;
    if (is_forward)
        relay->wires[RELAY_FORWARD].is_cut = is_cut;
    if (is_back)
        relay->wires[RELAY_BACK].is_cut = is_cut;
    return is_forward || is_back;
}

static void tell_status(const struct relay *relay, char answer[relay_answer_size])
{
    const struct relay_wire *forward = &relay->wires[RELAY_FORWARD];
    const struct relay_wire *back = &relay->wires[RELAY_BACK];
    snprintf(answer, relay_answer_size,
             "{\"connections\":%u,\"accepted\":%" PRIu64 ",\"delay_ms\":%" PRIu64
             ",\"rate_bytes_per_second\":%" PRIu64
             ",\"forward_cut\":%s,\"back_cut\":%s,\"forward_bytes\":%" PRIu64
             ",\"back_bytes\":%" PRIu64 ",\"held_bytes\":%" PRIu64 "}\n",
             relay->connections_count, relay->accepted_count, forward->delay_ns / nanoseconds_in_ms,
             forward->rate, forward->is_cut ? "true" : "false", back->is_cut ? "true" : "false",
             forward->passed_size, back->passed_size, relay->held_size);
}

/* Returns whether it is a command, of the right form. */
static bool obey(struct relay *relay, const struct words *words)
{
    const char *name = words->words[0];
    const char *argument = words->words[1];
    struct relay_wire *wires = relay->wires;
    uint64_t value = 0;
    if (words->count > 2)
        return false;
    if (strcmp(name, "cut") == 0 || strcmp(name, "resume") == 0)
        return cut(relay, argument, name[0] == 'c');
    if (strcmp(name, "delay") == 0 && argument != NULL && parse_delay(argument, &value)) {
        wires[RELAY_FORWARD].delay_ns = wires[RELAY_BACK].delay_ns = value;
        return true;
    }
    if (strcmp(name, "rate") == 0 && argument != NULL && parse_rate(argument, &value)) {
        relay_wire_set_rate(&wires[RELAY_FORWARD], value);
        relay_wire_set_rate(&wires[RELAY_BACK], value);
        return true;
    }
    if (argument != NULL)
        return false;
    if (strcmp(name, "drop") == 0)
        relay_drop(relay);
    else if (strcmp(name, "quit") == 0)
        relay->is_ending = true;
    else
        return false;
    return true;
}

bool relay_command(struct relay *relay, const char *line, char answer[relay_answer_size])
{
    struct words words;
    words_split(&words, line);
    if (words.count == 1 && strcmp(words.words[0], "status") == 0) {
        tell_status(relay, answer);
        return true;
    }
    bool is_done = words.count > 0 && obey(relay, &words);
    snprintf(answer, relay_answer_size, "%s",
             is_done ? "ok\n"
                     : "error: commands are delay MS, rate BYTES|off, cut [forward|back], resume "
                       "[forward|back], drop, status and quit\n");
    return is_done;
}

/* ---- Controllers ---- */

bool relay_control_open(struct relay *relay, const char *path, const char **reason)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *reason = "the path is too long";
    if (strlen(path) >= sizeof address.sun_path)
        return false;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int control = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (control >= 0 && (unlink(path) == 0 || errno == ENOENT) &&
        bind(control, (const struct sockaddr *)&address, sizeof address) == 0 &&
        listen(control, listen_backlog) == 0) {
        relay->control = control;
        relay->control_path = path;
        return true;
    }
    *reason = strerror(errno);
    if (control >= 0)
        close(control);
    return false;
}

static struct relay_controller *place_find(struct relay *relay)
{
    for (unsigned i = 0; i < relay_controllers_max; i++) {
        if (relay->controllers[i].from < 0)
            return &relay->controllers[i];
    }
    return NULL;
}

static void controller_end(struct relay_controller *controller)
{
    /* Standard input and output are the process's. */
    if (controller->from > STDERR_FILENO)
        close(controller->from);
    controller->from = -1;
}

void relay_control_standard_input(struct relay *relay)
{
    struct relay_controller *controller = place_find(relay);
    if (controller != NULL)
        *controller = (struct relay_controller){.from = STDIN_FILENO, .to = STDOUT_FILENO};
}

void relay_control_close(struct relay *relay)
{
    for (unsigned i = 0; i < relay_controllers_max; i++)
        controller_end(&relay->controllers[i]);
    if (relay->control < 0)
        return;
    close(relay->control);
    /* Where it cannot be removed, the next relay does. */
    (void)unlink(relay->control_path);
}

unsigned relay_control_poll(struct relay *relay, struct pollfd *polls)
{
    for (unsigned i = 0; i < relay_controllers_max; i++)
        polls[i] = (struct pollfd){.fd = relay->controllers[i].from, .events = POLLIN};
    polls[relay_controllers_max] =
        (struct pollfd){.fd = place_find(relay) != NULL ? relay->control : -1, .events = POLLIN};
    return relay_controllers_max + 1;
}

static void controller_line(struct relay *relay, struct relay_controller *controller)
{
    char answer[relay_answer_size];
    controller->line[controller->size] = 0;
    if (controller->is_too_long)
        snprintf(answer, sizeof answer, "error: the line is too long\n");
    else
        (void)relay_command(relay, controller->line, answer); /* the answer says whether */
    controller->size = 0;
    controller->is_too_long = false;
    /* Who does not take so little is not waited for. */
    if (write(controller->to, answer, strlen(answer)) < 0)
        controller_end(controller);
}

static void controller_take(struct relay *relay, struct relay_controller *controller)
{
    char bytes[relay_line_size];
    ssize_t got = read(controller->from, bytes, sizeof bytes);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        controller_end(controller);
        return;
    }
    for (ssize_t i = 0; i < got && controller->from >= 0; i++) {
        if (bytes[i] == '\n')
            controller_line(relay, controller);
        else if (controller->size == relay_line_size - 1)
            controller->is_too_long = true;
        else
            controller->line[controller->size++] = bytes[i];
    }
}

void relay_control_take(struct relay *relay, const struct pollfd *polls, unsigned count)
{
    for (unsigned i = 0; i + 1 < count; i++) {
        if (polls[i].revents != 0 && relay->controllers[i].from >= 0)
            controller_take(relay, &relay->controllers[i]);
    }
    if (polls[relay_controllers_max].revents == 0)
        return;
    struct relay_controller *controller = place_find(relay);
    int accepted = accept4(relay->control, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted >= 0 && controller != NULL)
        *controller = (struct relay_controller){.from = accepted, .to = accepted};
    else if (accepted >= 0)
        close(accepted);
}

/* ---- Who tells a relay ---- */

/* Sends the line and reads the answer to its end. False: nobody is there, or no more. */
static bool converse(int to, const char *line, char answer[relay_answer_size])
{
    size_t size = 0;
    ssize_t got;
    if (send(to, line, strlen(line), MSG_NOSIGNAL) != (ssize_t)strlen(line))
        return false;
    while (size < relay_answer_size - 1 && (size == 0 || answer[size - 1] != '\n') &&
           (got = recv(to, answer + size, relay_answer_size - 1 - size, 0)) > 0)
        size += (size_t)got;
    answer[size] = 0;
    return size > 0 && answer[size - 1] == '\n';
}

int relay_tell(const char *path, const char *line)
{
    char answer[relay_answer_size];
    char command[relay_line_size];
    const struct timeval patience = {.tv_sec = answer_seconds};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path || strlen(line) + 2 > sizeof command) {
        fprintf(stderr, "strait-relay: the path or the command is too long\n");
        return 2;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    snprintf(command, sizeof command, "%s\n", line);
    int to = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_answered = to >= 0 &&
                       setsockopt(to, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
                       connect(to, (const struct sockaddr *)&address, sizeof address) == 0 &&
                       converse(to, command, answer);
    if (!is_answered)
        fprintf(stderr, "strait-relay: no relay answers at %s: %s\n", path, strerror(errno));
    if (to >= 0)
        close(to);
    if (!is_answered)
        return 3;
    bool is_refused = strncmp(answer, "error", 5) == 0;
    return fputs(answer, is_refused ? stderr : stdout) < 0 || is_refused ? 1 : 0;
}
