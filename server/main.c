/* SPDX-License-Identifier: Apache-2.0 */
/* straitd: reads its arguments and its configuration, and serves until it is told to stop. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "proto/base/log.h"
#include "server/config.h"
#include "server/dev.h"
#include "server/preflight.h"
#include "server/serve.h"

static const char usage_text[] =
    "straitd: the Strait datastore server\n"
    "\n"
    "  straitd --dev [--data DIR] [--port PORT]   one process, no configuration, loopback only;\n"
    "                                             makes keys and certificates on the spot\n"
    "  straitd --config FILE                      a real node\n"
    "  straitd --config FILE --bootstrap          the same, and its new store begins a region\n"
    "  straitd --config FILE --check              reads the configuration and the keys that it\n"
    "                                             names, says what is wrong\n"
    "  straitd --witness --config FILE            the witness between two regions: it holds no\n"
    "                                             data, and grants leases; --bootstrap, the first\n"
    "                                             time\n"
    "\n"
    "  --data DIR     where --dev keeps its files (default: ~/.local/state/strait/dev)\n"
    "  --port PORT    where --dev listens, on 127.0.0.1 (default: 7411)\n"
    "  --member N     with --dev: member 1, 2 or 3 of a region whose members share DIR; 1 begins "
    "it,\n"
    "                 the others wait to be added (strait member add n2 127.0.0.1:7422); each is "
    "10\n"
    "                 ports from the one before, and listens for members on the port after its "
    "own;\n"
    "                 4, 5 and 6 are a second region, sydney, that follows the first\n"
    "  --witnessed    with --member: the witness of the two regions is there, or will be:\n"
    "                 straitd --dev --witness --data DIR, 10 ports from member 6\n"
    "  --standby-of HOST:PORT,...   with --member 4, 5 or 6: where the first region is reached\n"
    "                 (default: where its members listen)\n"
    "  --encryption-off    with --dev: store plain, to look at what is stored\n"
    "  --compression-off   with --dev: store uncompressed\n"
    "  --log-level LEVEL   debug, info, warn or error (with --dev; else the configuration says)\n"
    "  --version      prints the version\n"
    "  --help         prints this\n"
    "\n"
    "SIGTERM or SIGINT stops it gracefully; SIGHUP reads its certificates and\n"
    "the access list of FILE anew.\n"
    "Exit status: 0 stopped, 1 failed (the reason on standard error), 2 usage.\n";

struct arguments {
    bool dev;
    bool check;
    bool bootstrap;
    bool witness;
    bool witnessed;
    bool encryption_off;
    bool compression_off;
    const char *data;
    const char *config;
    const char *log_level;
    uint16_t port;
    unsigned member; /* 0: none */
    const char *standby_of;
};

static int usage_error(const char *text, const char *what)
{
    fprintf(stderr, "straitd: %s%s\nstraitd --help shows how it is used.\n", text, what);
    return 2;
}

static bool parse_port(const char *text, uint16_t *port)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == 0 || *end != 0 || value < 1 || value > 65535)
        return false;
    *port = (uint16_t)value;
    return true;
}

/* Whether they go together. -1: go on; else the exit status. */
static int check_arguments(const struct arguments *arguments)
{
    if (arguments->dev == (arguments->config != NULL))
        return usage_error("exactly one of --dev and --config FILE is needed", "");
    if (arguments->witness && arguments->member != 0)
        return usage_error("--witness and --member do not go together", "");
    if (arguments->witnessed && arguments->member == 0)
        return usage_error("--witnessed goes with --dev and --member", "");
    if (arguments->dev && arguments->bootstrap)
        return usage_error("--bootstrap goes with --config; --dev needs none", "");
    if (!arguments->dev &&
        (arguments->data != NULL || arguments->port != 0 || arguments->member != 0 ||
         arguments->encryption_off || arguments->compression_off || arguments->standby_of != NULL))
        return usage_error("--data, --port, --member, --standby-of, --encryption-off and "
                           "--compression-off go with --dev; a configuration says them itself",
                           "");
    if (arguments->standby_of != NULL && arguments->member <= dev_region_members_count)
        return usage_error("--standby-of goes with --member 4, 5 or 6", "");
    return -1;
}

enum {
    DEV = 256,
    DATA,
    CONFIG,
    PORT,
    MEMBER,
    STANDBY_OF,
    CHECK,
    BOOTSTRAP,
    WITNESS,
    WITNESSED,
    PLAIN,
    UNCOMPRESSED,
    LEVEL,
    VERSION,
    HELP
};

static const struct option known_options[] = {
    {"dev", no_argument, NULL, DEV},
    {"data", required_argument, NULL, DATA},
    {"config", required_argument, NULL, CONFIG},
    {"port", required_argument, NULL, PORT},
    {"member", required_argument, NULL, MEMBER},
    {"standby-of", required_argument, NULL, STANDBY_OF},
    {"check", no_argument, NULL, CHECK},
    {"bootstrap", no_argument, NULL, BOOTSTRAP},
    {"witness", no_argument, NULL, WITNESS},
    {"witnessed", no_argument, NULL, WITNESSED},
    {"encryption-off", no_argument, NULL, PLAIN},
    {"compression-off", no_argument, NULL, UNCOMPRESSED},
    {"log-level", required_argument, NULL, LEVEL},
    {"version", no_argument, NULL, VERSION},
    {"help", no_argument, NULL, HELP},
    {0},
};

/* The same. */
static int parse_arguments(int count, char **values, struct arguments *arguments)
{
    int option;

    opterr = 0;
    while ((option = getopt_long(count, values, ":", known_options, NULL)) != -1) {
        switch (option) {
        case DEV:
            arguments->dev = true;
            break;
        case DATA:
            arguments->data = optarg;
            break;
        case CONFIG:
            arguments->config = optarg;
            break;
        case PORT:
            if (!parse_port(optarg, &arguments->port))
                return usage_error("not a port, 1 to 65535: ", optarg);
            break;
        case MEMBER:
            if (strlen(optarg) != 1 || *optarg < '1' || *optarg > '0' + dev_members_count)
                return usage_error("not a member, 1 to 6: ", optarg);
            arguments->member = (unsigned)(*optarg - '0');
            break;
        case STANDBY_OF:
            arguments->standby_of = optarg;
            break;
        case CHECK:
            arguments->check = true;
            break;
        case BOOTSTRAP:
            arguments->bootstrap = true;
            break;
        case WITNESS:
            arguments->witness = true;
            break;
        case WITNESSED:
            arguments->witnessed = true;
            break;
        case PLAIN:
            arguments->encryption_off = true;
            break;
        case UNCOMPRESSED:
            arguments->compression_off = true;
            break;
        case LEVEL:
            arguments->log_level = optarg;
            break;
        case VERSION:
            puts("straitd " STRAIT_VERSION_TEXT);
            return 0;
        case HELP:
            fputs(usage_text, stdout);
            return 0;
        case ':':
            return usage_error("a value is missing after ", values[optind - 1]);
        default:
            return usage_error("unknown option ", values[optind - 1]);
        }
    }
    if (optind < count)
        return usage_error("unexpected argument ", values[optind]);
    return check_arguments(arguments);
}

static bool log_level_of(const char *name, enum log_level *level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* No core file: it would hold keys and records. And as many descriptors as the system permits. */
static void set_limits(void)
{
    const struct rlimit no_core = {0, 0};
    struct rlimit files;

    if (setrlimit(RLIMIT_CORE, &no_core) != 0)
        log_warn("core_dumps_not_disabled", LOG_TEXT("text", strerror(errno)));
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0)
            log_warn("descriptor_limit_kept", LOG_TEXT("text", strerror(errno)));
    }
}

static int fail(const struct error *error)
{
    log_error("failed", LOG_TEXT("status", status_name(error->status)),
              LOG_TEXT("text", error->text));
    fprintf(stderr, "straitd: %s\n", error->text);
    return 1;
}

int main(int count, char **values)
{
    struct arguments arguments = {0};
    struct config config;
    struct dev dev;
    struct error error = {0};
    enum status status;

    int exit_status = parse_arguments(count, values, &arguments);
    if (exit_status >= 0)
        return exit_status;
    config_init(&config);
    if (arguments.dev) {
        const struct dev_options options = {.directory = arguments.data,
                                            .port = arguments.port,
                                            .member =
                                                arguments.witness ? dev_witness : arguments.member,
                                            .witnessed = arguments.witnessed,
                                            .standby_of = arguments.standby_of};
        status = dev_open(&options, &dev, &config, &error);
        config.encryption_off = config.encryption_off || arguments.encryption_off;
        config.compression_off = config.compression_off || arguments.compression_off;
    } else {
        status = config_load(&config, arguments.config, &error);
    }
    if (status != STATUS_OK)
        return fail(&error);
    if (arguments.witness != config.witness.is_self) {
        config_free(&config);
        return usage_error("--witness goes with a configuration that has witness.cluster_id, and "
                           "that with it: ",
                           arguments.dev ? "--dev" : arguments.config);
    }
    if (arguments.bootstrap && config.region.name == NULL && !arguments.witness) {
        config_free(&config);
        return usage_error("--bootstrap begins a region, but there is no section region in ",
                           arguments.config);
    }
    config.bootstrap = config.bootstrap || arguments.bootstrap;
    if (arguments.log_level != NULL && !log_level_of(arguments.log_level, &config.log_level))
        return usage_error("not a log level: ", arguments.log_level);
    if (arguments.check) {
        status = arguments.dev ? STATUS_OK : preflight(&config, &error);
        if (status == STATUS_OK)
            printf("%s is fine\n", arguments.config != NULL ? arguments.config : dev.directory);
        if (arguments.dev)
            dev_close(&dev);
        config_free(&config);
        return status == STATUS_OK ? 0 : fail(&error);
    }
    log_level_set(config.log_level);
    set_limits();
    status = serve(&config, arguments.dev ? &dev : NULL, &error);
    if (arguments.dev)
        dev_close(&dev);
    config_free(&config);
    return status == STATUS_OK ? 0 : fail(&error);
}
