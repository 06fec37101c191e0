/* SPDX-License-Identifier: Apache-2.0 */
/* The cluster's regions, and which of them is the primary. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/strait_region.h"

static bool is_primary(const struct strait_regions *regions)
{
    return regions->position.epoch_region == regions->region_id && !regions->fenced;
}

static const struct strait_region *find_id(const struct strait_regions *regions, uint32_t id)
{
    for (size_t i = 0; i < regions->count; i++) {
        if (regions->items[i].id == id)
            return &regions->items[i];
    }
    return NULL;
}

static const struct strait_region *find_name(const struct strait_regions *regions, const char *name)
{
    for (size_t i = 0; i < regions->count; i++) {
        if (strcmp(regions->items[i].name, name) == 0)
            return &regions->items[i];
    }
    return NULL;
}

static const struct strait_region *find_primary(const struct strait_regions *regions)
{
    for (size_t i = 0; i < regions->count; i++) {
        if (regions->items[i].primary)
            return &regions->items[i];
    }
    return NULL;
}

/* "name", or "region 7" where the list does not say how it is called. `text` is the caller's. */
static const char *name_of(const struct strait_regions *regions, uint32_t id, char text[32])
{
    const struct strait_region *region = find_id(regions, id);
    if (region != NULL)
        return region->name;
    snprintf(text, 32, "region %" PRIu32, id);
    return text;
}

static const char *guard_text(enum strait_guard guard)
{
    switch (guard) {
    case STRAIT_GUARD_ALERT:
        return "alert";
    case STRAIT_GUARD_SLOW:
        return "slow";
    case STRAIT_GUARD_REFUSE:
        return "refuse";
    }
    return "unknown";
}

static void print_text(FILE *to, const char *text)
{
    cli_print_bytes(to, strait_text(text));
}

/* "10.0.0.1:7411,10.0.0.2:7411": as --endpoint takes them. */
static void print_endpoints(FILE *to, const struct strait_region *region)
{
    for (size_t i = 0; i < region->endpoints_count; i++) {
        fputs(i == 0 ? "" : ",", to);
        print_text(to, region->endpoints[i]);
    }
}

/* ---- JSON ---- */

static json_t *json_number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *json_known(bool known, uint64_t value)
{
    return known ? json_number(value) : json_null();
}

static json_t *json_epoch(uint64_t number, uint32_t region)
{
    json_t *epoch = json_object();
    json_object_set_new(epoch, "number", json_number(number));
    json_object_set_new(epoch, "region", json_number(region));
    return epoch;
}

static json_t *json_checkpoint(bool known, uint64_t bytes, uint64_t bytes_total)
{
    if (!known)
        return json_null();
    json_t *checkpoint = json_object();
    json_object_set_new(checkpoint, "bytes", json_number(bytes));
    json_object_set_new(checkpoint, "bytes_total", json_number(bytes_total));
    return checkpoint;
}

static json_t *json_region(const struct strait_region *region)
{
    json_t *item = json_object();
    json_t *endpoints = json_array();
    json_t *guard = json_object();

    for (size_t i = 0; i < region->endpoints_count; i++) {
        if (cli_is_text(strait_text(region->endpoints[i])))
            json_array_append_new(endpoints, json_string(region->endpoints[i]));
    }
    json_object_set_new(guard, "action", json_string(guard_text(region->guard)));
    json_object_set_new(guard, "lag_bytes",
                        json_known(region->guard_lag_bytes != 0, region->guard_lag_bytes));
    json_object_set_new(guard, "lag_ms",
                        json_known(region->guard_lag_ms != 0, region->guard_lag_ms));
    json_object_set_new(item, "id", json_number(region->id));
    cli_json_bytes(item, "name", strait_text(region->name));
    json_object_set_new(item, "role", json_string(region->primary ? "primary" : "standby"));
    json_object_set_new(item, "self", json_boolean(region->self));
    if (region->upstream[0] != 0)
        cli_json_bytes(item, "upstream", strait_text(region->upstream));
    else
        json_object_set_new(item, "upstream", json_null());
    json_object_set_new(item, "endpoints", endpoints);
    json_object_set_new(item, "guard", guard);
    json_object_set_new(item, "heard_ago_ms", json_known(region->heard, region->heard_ago_ms));
    json_object_set_new(item, "version", json_known(region->heard, region->version));
    json_object_set_new(item, "lag_versions", json_known(region->heard, region->lag_versions));
    json_object_set_new(item, "lag_bytes", json_known(region->heard, region->lag_bytes));
    json_object_set_new(item, "lag_ms", json_known(region->heard, region->lag_ms));
    json_object_set_new(item, "ready", region->heard ? json_boolean(region->ready) : json_null());
    json_object_set_new(item, "snapshot", json_boolean(region->snapshot));
    json_object_set_new(item, "checkpoint",
                        json_checkpoint(region->checkpoint, region->checkpoint_bytes,
                                        region->checkpoint_bytes_total));
    return item;
}

static json_t *json_source(const struct strait_regions *regions)
{
    if (regions->source[0] == 0 && !regions->source_known)
        return json_null();
    json_t *source = json_object();
    cli_json_bytes(source, "endpoint", strait_text(regions->source));
    json_object_set_new(source, "version",
                        json_known(regions->source_known, regions->source_version));
    json_object_set_new(source, "answered_ago_ms",
                        json_known(regions->source_known, regions->answered_ago_ms));
    json_object_set_new(source, "lag_versions",
                        json_known(regions->source_known, regions->lag_versions));
    return source;
}

static json_t *json_lease(const struct strait_lease *lease)
{
    if (lease == NULL)
        return json_null();
    json_t *document = json_object();
    json_object_set_new(document, "held", json_boolean(lease->held));
    json_object_set_new(document, "witness_ms", json_number(lease->witness_ms));
    json_object_set_new(document, "standby_ms", json_number(lease->standby_ms));
    json_object_set_new(document, "waived", json_boolean(lease->waived));
    json_object_set_new(document, "connected", json_boolean(lease->connected));
    json_object_set_new(document, "promised_ms", json_number(lease->promised_ms));
    json_object_set_new(document, "automatic", json_boolean(lease->automatic));
    cli_json_bytes(document, "text", strait_text(lease->text));
    json_object_set_new(document, "lease_ms", json_number(lease->lease_ms));
    return document;
}

static json_t *json_regions(const struct strait_regions *regions, bool by_leader)
{
    json_t *document = json_object();
    json_t *items = json_array();
    const struct strait_region *self = find_id(regions, regions->region_id);

    for (size_t i = 0; i < regions->count; i++)
        json_array_append_new(items, json_region(&regions->items[i]));
    json_object_set_new(document, "by_leader", json_boolean(by_leader));
    json_object_set_new(document, "region_id", json_number(regions->region_id));
    if (self != NULL)
        cli_json_bytes(document, "region", strait_text(self->name));
    json_object_set_new(document, "role",
                        json_string(regions->rewinding    ? "rewinding"
                                    : is_primary(regions) ? "primary"
                                                          : "standby"));
    json_object_set_new(document, "version", json_number(regions->position.version));
    json_object_set_new(document, "epoch",
                        json_epoch(regions->position.epoch_number, regions->position.epoch_region));
    json_object_set_new(document, "list_version", json_number(regions->list_version));
    json_object_set_new(document, "fence",
                        regions->fenced ? json_epoch(regions->fence_number, regions->fence_region)
                                        : json_null());
    json_object_set_new(document, "source", json_source(regions));
    json_object_set_new(document, "age_ms", json_known(regions->age_known, regions->age_ms));
    json_object_set_new(document, "checkpoint",
                        json_checkpoint(regions->checkpoint, regions->checkpoint_bytes,
                                        regions->checkpoint_bytes_total));
    cli_json_bytes(document, "trouble", strait_text(regions->trouble));
    json_object_set_new(document, "unconfirmed", json_number(regions->unconfirmed_count));
    json_object_set_new(document, "lease", json_lease(regions->lease));
    json_object_set_new(document, "regions", items);
    return document;
}

/* ---- The table ---- */

/* What is known of one region, by whoever answers: of itself, of the primary, or of a standby. */
struct row {
    bool version_known;
    bool lag_known;
    bool bytes_known;
    bool seconds_known;
    bool ready_known;
    uint64_t version;
    uint64_t lag_versions;
    uint64_t lag_bytes;
    uint64_t lag_ms;
    char state[64];
};

static struct row row_of_self(const struct strait_regions *regions)
{
    struct row row = {.version_known = true, .version = regions->position.version};
    snprintf(row.state, sizeof row.state, "%s", regions->fenced ? "answers; fenced" : "answers");
    if (is_primary(regions))
        return row;
    row.lag_known = regions->source_known;
    row.lag_versions = regions->lag_versions;
    row.seconds_known = regions->age_known;
    row.lag_ms = regions->age_ms;
    return row;
}

static struct row row_of(const struct strait_regions *regions, const struct strait_region *region)
{
    if (region->id == regions->region_id)
        return row_of_self(regions);
    struct row row = {.version_known = region->heard,
                      .lag_known = region->heard,
                      .bytes_known = region->heard,
                      .seconds_known = region->heard,
                      .ready_known = region->heard,
                      .version = region->version,
                      .lag_versions = region->lag_versions,
                      .lag_bytes = region->lag_bytes,
                      .lag_ms = region->lag_ms};
    if (region->primary && !region->heard && regions->source_known) {
        row.version_known = true;
        row.version = regions->source_version;
        snprintf(row.state, sizeof row.state, "answered %" PRIu64 " ms ago",
                 regions->answered_ago_ms);
    } else if (!region->heard) {
        snprintf(row.state, sizeof row.state, "%s",
                 is_primary(regions) ? "not heard" : "not known here");
    } else if (region->checkpoint) {
        snprintf(row.state, sizeof row.state, "checkpoint, %" PRIu64 "/%" PRIu64 " MiB",
                 region->checkpoint_bytes >> 20, region->checkpoint_bytes_total >> 20);
    } else if (region->snapshot) {
        snprintf(row.state, sizeof row.state, "needs a checkpoint");
    } else {
        snprintf(row.state, sizeof row.state, "heard %" PRIu64 " ms ago%s", region->heard_ago_ms,
                 region->upstream[0] != 0 ? ", downstream" : "");
    }
    return row;
}

static void print_number(bool known, uint64_t value, int width)
{
    if (known)
        printf("%*" PRIu64 " ", width, value);
    else
        printf("%*s ", width, "-");
}

static void print_row(const struct strait_regions *regions, const struct strait_region *region)
{
    struct row row = row_of(regions, region);
    int size = (int)strlen(region->name);

    print_text(stdout, region->name);
    printf("%*s %4" PRIu32 " %-8s ", size < 16 ? 16 - size : 0, "", region->id,
           region->primary ? "primary" : "standby");
    print_number(row.version_known, row.version, 12);
    print_number(row.lag_known, row.lag_versions, 10);
    print_number(row.bytes_known, row.lag_bytes, 12);
    if (row.seconds_known)
        printf("%8.3f ", (double)row.lag_ms / 1000);
    else
        printf("%8s ", "-");
    printf("%-5s %-24s ", !row.ready_known ? "-" : region->ready ? "yes" : "no", row.state);
    print_endpoints(stdout, region);
    putchar('\n');
}

static void print_trouble(const struct strait_regions *regions)
{
    char text[32];
    if (regions->trouble[0] == 0)
        return;
    print_text(stdout, name_of(regions, regions->region_id, text));
    fputs(": ", stdout);
    print_text(stdout, regions->trouble);
    putchar('\n');
}

static void print_table(const struct strait_regions *regions, bool by_leader)
{
    if (regions->count == 0) {
        printf("no region is listed: `strait region add` begins with the first\n");
        return;
    }
    printf("%-16s %4s %-8s %12s %10s %12s %8s %-5s %-24s %s\n", "NAME", "ID", "ROLE", "VERSION",
           "BEHIND", "BYTES", "SECONDS", "READY", "STATE", "ENDPOINTS");
    for (size_t i = 0; i < regions->count; i++)
        print_row(regions, &regions->items[i]);
    print_trouble(regions);
    const struct strait_region *primary = find_primary(regions);
    if (!is_primary(regions) && primary != NULL && primary->id != regions->region_id) {
        printf("as a standby knows it; the primary knows how far the others are: --endpoint ");
        print_endpoints(stdout, primary);
        putchar('\n');
    }
    if (!by_leader)
        printf("no leader answers: this is what one server knows\n");
}

/* Gives `regions` up. */
static enum cli_exit print_list(struct cli *cli, struct strait_regions *regions, bool by_leader,
                                const char *done)
{
    enum cli_exit exit = CLI_DONE;
    if (cli->json) {
        exit = cli_print_json(json_regions(regions, by_leader));
    } else {
        if (done != NULL)
            printf("%s\n", done);
        print_table(regions, by_leader);
    }
    strait_free(regions);
    return exit;
}

/* What the region's leader says, or with --any, and where there is no leader, one of its servers.
 * NULL: it was said why not, and `*exit` is set. */
static struct strait_regions *ask_list(struct cli *cli, int count, char **arguments,
                                       const char *wanted, bool *by_leader, enum cli_exit *exit)
{
    struct strait_regions *regions = NULL;
    struct strait_error error;
    bool any = false;
    const struct cli_option options[] = {{"any", NULL, &any}, {0}};

    *exit = CLI_USAGE;
    if (!cli_arguments(cli, options, &count, arguments, 0, 0, wanted))
        return NULL;
    strait *handle = cli_handle(cli, exit);
    if (handle == NULL)
        return NULL;
    enum strait_status status = strait_region_list(handle, any, cli->timeout_ms, &regions, &error);
    if (!any && status == STRAIT_UNREACHABLE) {
        any = true;
        status = strait_region_list(handle, true, cli->timeout_ms, &regions, NULL);
    }
    *by_leader = !any;
    *exit = status == STRAIT_OK ? CLI_DONE : cli_error(cli, &error);
    return regions;
}

enum cli_exit cli_region_list(struct cli *cli, int count, char **arguments)
{
    enum cli_exit exit;
    bool by_leader;
    struct strait_regions *regions = ask_list(
        cli, count, arguments, "nothing is expected after `region list`", &by_leader, &exit);
    return regions == NULL ? exit : print_list(cli, regions, by_leader, NULL);
}

/* ---- One region, by itself ---- */

static void print_standby(const struct strait_region *region)
{
    printf("standby    ");
    print_text(stdout, region->name);
    if (!region->heard) {
        printf(" has not been heard\n");
        return;
    }
    printf(" is at version %" PRIu64 ", %" PRIu64 " versions, %" PRIu64
           " bytes and %.3f s behind, %s; heard %" PRIu64 " ms ago%s\n",
           region->version, region->lag_versions, region->lag_bytes, (double)region->lag_ms / 1000,
           region->ready ? "ready" : "not ready", region->heard_ago_ms,
           region->snapshot && !region->checkpoint ? "; it needs a checkpoint" : "");
    if (region->upstream[0] != 0) {
        printf("           it pulls from ");
        print_text(stdout, region->upstream);
        putchar('\n');
    }
    if (region->checkpoint)
        printf("           it is being sent a checkpoint: %" PRIu64 " of %" PRIu64 " MiB so far\n",
               region->checkpoint_bytes >> 20, region->checkpoint_bytes_total >> 20);
    if (region->guard_lag_bytes == 0 && region->guard_lag_ms == 0)
        return;
    printf("           its guard: %s", guard_text(region->guard));
    if (region->guard_lag_bytes != 0)
        printf(", past %" PRIu64 " bytes", region->guard_lag_bytes);
    if (region->guard_lag_ms != 0)
        printf(", past %.3f s", (double)region->guard_lag_ms / 1000);
    putchar('\n');
}

static void print_source(const struct strait_regions *regions)
{
    printf("follows    ");
    if (regions->source[0] != 0)
        print_text(stdout, regions->source);
    else
        printf("nobody: none of the primary's servers answers");
    if (regions->source_known)
        printf("; version %" PRIu64 " was heard of there, %" PRIu64 " ms ago: %" PRIu64
               " versions ahead",
               regions->source_version, regions->answered_ago_ms, regions->lag_versions);
    putchar('\n');
    if (regions->checkpoint)
        printf("catches up by a checkpoint of the primary's: %" PRIu64 " of %" PRIu64
               " MiB so far\n",
               regions->checkpoint_bytes >> 20, regions->checkpoint_bytes_total >> 20);
    if (regions->age_known)
        printf("age        at most %.3f s: nothing older is missing\n",
               (double)regions->age_ms / 1000);
    else
        printf("age        not known: the primary was not heard\n");
}

static void print_status(const struct strait_regions *regions, bool by_leader)
{
    char text[32];

    printf("region     ");
    print_text(stdout, name_of(regions, regions->region_id, text));
    printf(" (id %" PRIu32 "), %s\n", regions->region_id,
           regions->rewinding    ? "an old primary that is rewinding"
           : is_primary(regions) ? "the primary"
                                 : "a standby");
    printf("position   version %" PRIu64 ", epoch %" PRIu64 " of ", regions->position.version,
           regions->position.epoch_number);
    print_text(stdout, name_of(regions, regions->position.epoch_region, text));
    putchar('\n');
    if (regions->fenced) {
        printf("fenced     by epoch %" PRIu64 " of ", regions->fence_number);
        print_text(stdout, name_of(regions, regions->fence_region, text));
        printf(": it takes no writes\n");
    } else {
        printf("fenced     no\n");
    }
    if (is_primary(regions)) {
        for (size_t i = 0; i < regions->count; i++) {
            if (regions->items[i].id != regions->region_id)
                print_standby(&regions->items[i]);
        }
        if (by_leader)
            printf("waiting    %" PRIu32 " commits, for a standby to confirm them\n",
                   regions->unconfirmed_count);
    } else if (by_leader) {
        print_source(regions);
    }
    if (by_leader && regions->lease != NULL)
        cli_print_lease(regions->lease, is_primary(regions));
    printf("trouble    ");
    print_text(stdout, regions->trouble[0] != 0 ? regions->trouble : "none");
    putchar('\n');
    if (!by_leader)
        printf("no leader answers: this is what one server knows\n");
}

enum cli_exit cli_region_status(struct cli *cli, int count, char **arguments)
{
    enum cli_exit exit;
    bool by_leader;
    struct strait_regions *regions = ask_list(
        cli, count, arguments, "nothing is expected after `region status`", &by_leader, &exit);
    if (regions == NULL)
        return exit;
    if (cli->json)
        exit = cli_print_json(json_regions(regions, by_leader));
    else
        print_status(regions, by_leader);
    strait_free(regions);
    return exit;
}

/* ---- Changes of the list ---- */

/* What a command line says of a region; NULL where it does not. */
struct region_words {
    const char *id;
    const char *endpoints;
    const char *guard;
    const char *lag_bytes;
    const char *lag;
    const char *upstream;
};

static const char upstream_none[] = "primary"; /* as a command line says that there is none */

/* Puts what is said in place of what `settings` holds. False: it was said what is wrong. */
static bool take_words(struct cli *cli, const struct region_words *words,
                       struct strait_region_settings *settings)
{
    uint64_t id;

    if (words->id != NULL) {
        if (!cli_parse_u64(words->id, 1, UINT32_MAX, &id)) {
            cli_usage(cli, "--id %s: a number from 1 is needed", words->id);
            return false;
        }
        settings->id = (uint32_t)id;
    }
    if (words->endpoints != NULL)
        settings->endpoints = words->endpoints;
    if (words->upstream != NULL)
        settings->upstream = strcmp(words->upstream, upstream_none) == 0 ? "" : words->upstream;
    if (words->guard != NULL) {
        enum strait_guard guard = STRAIT_GUARD_ALERT;
        while (guard <= STRAIT_GUARD_REFUSE && strcmp(words->guard, guard_text(guard)) != 0)
            guard++;
        if (guard > STRAIT_GUARD_REFUSE) {
            cli_usage(cli, "--guard %s: alert, slow or refuse is needed", words->guard);
            return false;
        }
        settings->guard = guard;
    }
    if (words->lag_bytes != NULL &&
        !cli_parse_u64(words->lag_bytes, 0, INT64_MAX, &settings->guard_lag_bytes)) {
        cli_usage(cli, "--lag-bytes %s: a number of bytes is needed; 0: however many",
                  words->lag_bytes);
        return false;
    }
    if (words->lag != NULL && !cli_parse_duration(words->lag, &settings->guard_lag_ms)) {
        cli_usage(cli, "--lag %s: a time is needed, as 500ms or 10s; 0s: however long", words->lag);
        return false;
    }
    return true;
}

enum cli_exit cli_region_add(struct cli *cli, int count, char **arguments)
{
    struct strait_region_settings settings = {.guard = STRAIT_GUARD_ALERT};
    struct strait_regions *regions = NULL;
    struct region_words words = {0};
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;
    const struct cli_option options[] = {{"id", &words.id, NULL},
                                         {"endpoints", &words.endpoints, NULL},
                                         {"guard", &words.guard, NULL},
                                         {"lag-bytes", &words.lag_bytes, NULL},
                                         {"lag", &words.lag, NULL},
                                         {"upstream", &words.upstream, NULL},
                                         {0}};

    if (!cli_arguments(cli, options, &count, arguments, 1, 1, "a region's name is needed"))
        return CLI_USAGE;
    if (words.id == NULL || words.endpoints == NULL)
        return cli_usage(cli, "--id and --endpoints are needed: the id that the region's servers "
                              "are configured with, and where they take clients");
    settings.name = arguments[0];
    if (!take_words(cli, &words, &settings))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (strait_region_add(handle, &settings, cli->timeout_ms, &regions, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    return print_list(cli, regions, true, "added");
}

/* "a,b": what strait_region_set() takes. False where it does not fit, which no valid list does. */
static bool join_endpoints(const struct strait_region *region, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < region->endpoints_count; i++) {
        int written =
            snprintf(text + used, size - used, "%s%s", i == 0 ? "" : ",", region->endpoints[i]);
        if (written < 0 || (size_t)written >= size - used)
            return false;
        used += (size_t)written;
    }
    return true;
}

/* Changes what `words` say of a region, and keeps the rest as the primary has it. */
static enum cli_exit set_region(struct cli *cli, strait *handle, const char *name,
                                const struct region_words *words)
{
    struct strait_regions *before = NULL;
    struct strait_regions *after = NULL;
    struct strait_error error;
    char endpoints[2048];

    if (strait_region_list(handle, false, cli->timeout_ms, &before, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    const struct strait_region *region = find_name(before, name);
    enum cli_exit exit = CLI_DONE;
    if (!is_primary(before))
        exit = cli_fail(cli, CLI_REFUSED,
                        "a standby answered: say --endpoint with those of the primary, which "
                        "`strait region list` shows");
    else if (region == NULL)
        exit = cli_fail(cli, CLI_REFUSED, "there is no region %s: `strait region list` shows them",
                        name);
    else if (!join_endpoints(region, endpoints, sizeof endpoints))
        exit = cli_fail(cli, CLI_REFUSED, "the region's endpoints are longer than any may be");
    if (exit != CLI_DONE) {
        strait_free(before);
        return exit;
    }
    struct strait_region_settings settings = {.id = region->id,
                                              .name = region->name,
                                              .endpoints = endpoints,
                                              .guard = region->guard,
                                              .guard_lag_bytes = region->guard_lag_bytes,
                                              .guard_lag_ms = region->guard_lag_ms,
                                              .upstream = region->upstream};
    bool taken = take_words(cli, words, &settings);
    enum strait_status status =
        taken ? strait_region_set(handle, &settings, cli->timeout_ms, &after, &error) : STRAIT_OK;
    strait_free(before);
    if (!taken)
        return CLI_USAGE;
    return status == STRAIT_OK ? print_list(cli, after, true, "set") : cli_error(cli, &error);
}

enum cli_exit cli_region_set(struct cli *cli, int count, char **arguments)
{
    struct strait_region_settings checked = {0};
    struct region_words words = {0};
    enum cli_exit exit = CLI_DONE;
    const struct cli_option options[] = {
        {"endpoints", &words.endpoints, NULL}, {"guard", &words.guard, NULL},
        {"lag-bytes", &words.lag_bytes, NULL}, {"lag", &words.lag, NULL},
        {"upstream", &words.upstream, NULL},   {0}};

    if (!cli_arguments(cli, options, &count, arguments, 1, 1, "a region's name is needed"))
        return CLI_USAGE;
    if (words.endpoints == NULL && words.guard == NULL && words.lag_bytes == NULL &&
        words.lag == NULL && words.upstream == NULL)
        return cli_usage(cli, "nothing is said that is to be set");
    if (!take_words(cli, &words, &checked))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    return handle == NULL ? exit : set_region(cli, handle, arguments[0], &words);
}

enum cli_exit cli_region_remove(struct cli *cli, int count, char **arguments)
{
    struct strait_regions *regions = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;
    bool force = false;
    const struct cli_option options[] = {{"force", NULL, &force}, {0}};

    if (!cli_arguments(cli, options, &count, arguments, 1, 1, "a region's name is needed"))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (strait_region_remove(handle, arguments[0], force, cli->timeout_ms, &regions, &error) !=
        STRAIT_OK)
        return cli_error(cli, &error);
    return print_list(cli, regions, true, "removed");
}

/* ---- The primary ---- */

enum cli_exit cli_region_switchover(struct cli *cli, int count, char **arguments)
{
    struct strait_switchover *switchover = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;

    if (!cli_arguments(cli, NULL, &count, arguments, 1, 1,
                       "the name of the region that is to be the primary is needed"))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (!cli->quiet && !cli->json && isatty(STDERR_FILENO)) {
        fprintf(stderr, "commits wait while ");
        print_text(stderr, arguments[0]);
        fprintf(stderr, " catches up\n");
    }
    if (strait_region_switchover(handle, arguments[0], cli->timeout_ms, 0, &switchover, &error) !=
        STRAIT_OK)
        return cli_error(cli, &error);
    if (cli->json) {
        json_t *document = json_object();
        cli_json_bytes(document, "primary", strait_text(arguments[0]));
        json_object_set_new(document, "was_primary_before",
                            json_boolean(switchover->was_primary_before));
        json_object_set_new(document, "version", json_number(switchover->position.version));
        json_object_set_new(
            document, "epoch",
            json_epoch(switchover->position.epoch_number, switchover->position.epoch_region));
        json_object_set_new(document, "paused_ms", json_number(switchover->paused_ms));
        exit = cli_print_json(document);
    } else {
        print_text(stdout, arguments[0]);
        if (switchover->was_primary_before)
            printf(" was the primary already: nothing was done\n");
        else
            printf(" is the primary from version %" PRIu64 " on; commits waited %" PRIu64 " ms\n",
                   switchover->position.version, switchover->paused_ms);
    }
    strait_free(switchover);
    return exit;
}

/* The region that was asked; `expected` (may be NULL) is what the operator takes it for. */
static enum cli_exit check_asked(struct cli *cli, const struct strait_regions *regions,
                                 const char *expected)
{
    char text[32];
    const char *name = name_of(regions, regions->region_id, text);

    if (expected == NULL || strcmp(name, expected) == 0)
        return CLI_DONE;
    if (!cli_is_text(strait_text(name)))
        name = "another region";
    return cli_fail(cli, CLI_REFUSED,
                    "the server that answers belongs to %s, not to %s: nothing was done; say "
                    "--endpoint with a server of %s",
                    name, expected, expected);
}

/* What a promotion gives up, as far as it is known. */
static void print_explanation(const struct strait_regions *regions,
                              const struct strait_promotion *promotion)
{
    char text[32];

    print_text(stdout, name_of(regions, regions->region_id, text));
    printf(" is at version %" PRIu64 ", epoch %" PRIu64 " of ", promotion->position.version,
           promotion->position.epoch_number);
    print_text(stdout, name_of(regions, promotion->position.epoch_region, text));
    putchar('\n');
    if (promotion->source_known) {
        printf("the primary was heard %.3f s ago; its newest version that was heard of is %" PRIu64
               "\n",
               (double)promotion->answered_ago_ms / 1000, promotion->source_version);
        if (promotion->lost_versions_min != 0)
            printf("given up: at least %" PRIu64 " versions that are not here\n",
                   promotion->lost_versions_min);
    } else {
        printf("the primary has not been heard: how much is missing here is not known\n");
    }
    if (promotion->age_known)
        printf(
            "given up: whatever the primary acknowledged in the last %.3f s, unless it came here\n",
            (double)promotion->age_ms / 1000);
    else
        printf("given up: whatever the primary acknowledged and did not come here; since when is "
               "not known\n");
    if (promotion->lease != NULL) {
        printf("lease: ");
        print_text(stdout, promotion->lease->text);
        putchar('\n');
    }
}

static json_t *json_promotion(const struct strait_regions *regions,
                              const struct strait_promotion *before,
                              const struct strait_promotion *after)
{
    json_t *document = json_object();
    json_t *given_up = json_object();
    char text[32];

    json_object_set_new(given_up, "lost_versions_min",
                        json_known(before->source_known, before->lost_versions_min));
    json_object_set_new(given_up, "source_version",
                        json_known(before->source_known, before->source_version));
    json_object_set_new(given_up, "answered_ago_ms",
                        json_known(before->source_known, before->answered_ago_ms));
    json_object_set_new(given_up, "age_ms", json_known(before->age_known, before->age_ms));
    cli_json_bytes(document, "region", strait_text(name_of(regions, regions->region_id, text)));
    json_object_set_new(document, "done", json_boolean(after->done));
    json_object_set_new(document, "was_primary_before", json_boolean(before->was_primary_before));
    json_object_set_new(document, "version", json_number(after->position.version));
    json_object_set_new(document, "epoch",
                        json_epoch(after->position.epoch_number, after->position.epoch_region));
    json_object_set_new(document, "given_up",
                        before->was_primary_before ? json_null() : json_incref(given_up));
    json_object_set_new(document, "lease", json_lease(before->lease));
    json_decref(given_up);
    return document;
}

static void print_promoted(const struct strait_regions *regions,
                           const struct strait_promotion *promotion)
{
    char text[32];
    print_text(stdout, name_of(regions, regions->region_id, text));
    printf(" is the primary now: version %" PRIu64 ", epoch %" PRIu64 "\n",
           promotion->position.version, promotion->position.epoch_number);
}

/* Explains, and then does it unless only that was asked for. */
static enum cli_exit promote(struct cli *cli, strait *handle, const struct strait_regions *regions,
                             bool explain, bool force)
{
    struct strait_promotion *before = NULL;
    struct strait_promotion *after = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;
    char text[32];

    if (strait_region_promote(handle, true, force, cli->timeout_ms, &before, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    bool waives = before->was_primary_before && force && before->lease != NULL &&
                  !before->lease->held && !before->lease->waived;
    bool acts = !explain && (!before->was_primary_before || waives);
    if (!cli->json && waives) {
        print_text(stdout, name_of(regions, regions->region_id, text));
        printf(" is the primary already, and its lease is out\n");
    } else if (!cli->json && before->was_primary_before) {
        print_text(stdout, name_of(regions, regions->region_id, text));
        printf(" is the primary already: nothing was done\n");
    } else if (!cli->json) {
        print_explanation(regions, before);
        fflush(stdout);
    }
    enum strait_status status =
        acts ? strait_region_promote(handle, false, force, cli->timeout_ms, &after, &error)
             : STRAIT_OK;
    if (status != STRAIT_OK)
        exit = cli_error(cli, &error);
    else if (cli->json)
        exit = cli_print_json(json_promotion(regions, before, acts ? after : before));
    else if (waives && acts)
        printf("by force it acknowledges without a lease until it has one\n");
    else if (acts)
        print_promoted(regions, after);
    else if (!before->was_primary_before)
        printf("nothing was done: without --explain it is\n");
    strait_free(after);
    strait_free(before);
    return exit;
}

enum cli_exit cli_region_promote(struct cli *cli, int count, char **arguments)
{
    struct strait_regions *regions = NULL;
    struct strait_error error;
    enum cli_exit exit = CLI_DONE;
    bool explain = false;
    bool force = false;
    const struct cli_option options[] = {{"explain", NULL, &explain}, {"force", NULL, &force}, {0}};

    if (!cli_arguments(cli, options, &count, arguments, 0, 1,
                       "at most one region's name is "
                       "expected"))
        return CLI_USAGE;
    strait *handle = cli_handle(cli, &exit);
    if (handle == NULL)
        return exit;
    if (strait_region_list(handle, false, cli->timeout_ms, &regions, &error) != STRAIT_OK)
        return cli_error(cli, &error);
    exit = check_asked(cli, regions, count == 1 ? arguments[0] : NULL);
    if (exit == CLI_DONE)
        exit = promote(cli, handle, regions, explain, force);
    strait_free(regions);
    return exit;
}
