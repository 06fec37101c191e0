/* SPDX-License-Identifier: Apache-2.0 */
/* The command strait-relay: arguments; nothing else. */
#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "jepsen/relay/relay.h"

static const char help[] =
    "strait-relay [OPTION...] LISTEN=TARGET...\n"
    "strait-relay --tell PATH COMMAND\n"
    "\n"
    "Passes TCP connections on from each LISTEN to its TARGET (ADDRESS:PORT, IPv4), as a network\n"
    "that is slow, thin or broken would. Prints a line for each when it listens, then \"ready\".\n"
    "\n"
    "  --delay MS        how long bytes are on their way, each way\n"
    "  --rate BYTES      bytes a second, each way, of all connections together: 1MB, 512KiB\n"
    "  --control PATH    takes commands, one a line, at this socket too\n"
    "  --tell PATH       gives a command to the relay whose socket it is; exit status 0 done,\n"
    "                    1 refused, 3 unreachable\n"
    "  --help\n"
    "\n"
    "Commands, also on standard input:\n"
    "  delay MS                 from now on\n"
    "  rate BYTES | off\n"
    "  cut [forward | back]     nothing passes, and nobody is told; LISTEN to TARGET is forward\n"
    "  resume [forward | back]  what was on its way goes on\n"
    "  drop                     ends all connections\n"
    "  status                   as JSON\n"
    "  quit\n";

static struct relay relay;

static int refuse(const char *what, const char *reason)
{
    fprintf(stderr, "strait-relay: %s: %s. See strait-relay --help.\n", what, reason);
    return 2;
}

/* The words of a command, as one line. */
static int tell(const char *path, char **words, int count)
{
    char line[relay_line_size];
    size_t size = 0;
    line[0] = 0;
    for (int i = 0; i < count; i++) {
        int more = snprintf(line + size, sizeof line - size, "%s%s", i > 0 ? " " : "", words[i]);
        if (more < 0 || (size += (size_t)more) >= sizeof line)
            return refuse("--tell", "the command is too long");
    }
    return count > 0 ? relay_tell(path, line) : refuse("--tell", "there is no command");
}

/* A first command, made of an option. */
static bool obey(const char *command, const char *argument)
{
    char line[relay_line_size];
    char answer[relay_answer_size];
    snprintf(line, sizeof line, "%s %s", command, argument);
    return relay_command(&relay, line, answer);
}

static void print_way(const struct relay_way *way)
{
    char listen[INET_ADDRSTRLEN] = "";
    char target[INET_ADDRSTRLEN] = "";
    inet_ntop(AF_INET, &way->listen.sin_addr, listen, sizeof listen);
    inet_ntop(AF_INET, &way->target.sin_addr, target, sizeof target);
    printf("%s:%u=%s:%u\n", listen, ntohs(way->listen.sin_port), target,
           ntohs(way->target.sin_port));
}

static int run(char **ways, int count)
{
    const char *reason;
    if (count == 0)
        return refuse("LISTEN=TARGET", "there is none");
    for (int i = 0; i < count; i++) {
        if (!relay_add_way(&relay, ways[i], &reason))
            return refuse(ways[i], reason);
        print_way(&relay.ways[i]);
    }
    printf("ready\n");
    if (fflush(stdout) != 0)
        return 1;
    relay_control_standard_input(&relay);
    relay_run(&relay);
    relay_close(&relay);
    return 0;
}

int main(int count, char **arguments)
{
    static const struct option options[] = {
        {"control", required_argument, NULL, 'c'}, {"delay", required_argument, NULL, 'd'},
        {"rate", required_argument, NULL, 'r'},    {"tell", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},          {0}};
    const char *reason;
    int option;
    relay_init(&relay);
    (void)signal(SIGPIPE, SIG_IGN); /* what is written to the gone is an error like others */
    while ((option = getopt_long(count, arguments, "+", options, NULL)) != -1) {
        if (option == 'h')
            return printf("%s", help) < 0;
        if (option == 't')
            return tell(optarg, arguments + optind, count - optind);
        if (option == 'c' && !relay_control_open(&relay, optarg, &reason))
            return refuse(optarg, reason);
        if ((option == 'd' && !obey("delay", optarg)) || (option == 'r' && !obey("rate", optarg)))
            return refuse(optarg, option == 'd' ? "it is no delay" : "it is no rate");
        if (option == '?')
            return 2;
    }
    return run(arguments + optind, count - optind);
}
