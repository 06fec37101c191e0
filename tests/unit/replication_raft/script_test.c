/* SPDX-License-Identifier: Apache-2.0 */
/* Protocol tests as text: scripts/NAME.txt holds commands and, below each group of them, the whole
 * trace that they are to give. With STRAIT_SCRIPTS_REWRITE=1 the traces are written anew, to be
 * read in the difference; with STRAIT_SCRIPT=NAME that script runs alone.
 *
 *     # a comment
 *     command
 *     command
 *     ----
 *     what they print; a blank line ends it
 *
 * Commands (N, A, B: members; nothing is written or delivered unless a command says so):
 *
 *     cluster VOTER... [nodes=N] [lease_off] [bound=PPM] [stall=MS] [entries=N] [inflight=N]
 *     rate N PPM      its clock is so much faster
 *     tick N          time goes on to the member's deadline, and it alone is told
 *     wait N          everybody else is told, and all moves, until that deadline has come
 *     time MS         time goes on, nobody is told          run MS   everybody is, all moves
 *     settle          all is written, reported and delivered
 *     state N         its hard state is written
 *     write N [COUNT] its oldest queued entries are written; report N [COUNT]: and reported
 *     persist N       state, write and report
 *     deliver [A B [TYPE]]   messages that are under way now; drop, delay, copy: likewise; late
 *                            [A B]: what was delayed or copied is under way again
 *     cut A B         messages from A to B are lost; isolate N; heal; unreachable N A: N is told
 *     propose N COUNT | change N voters A... [learners B...] | transfer N TO | confirm N | lease N
 *     crash N | start N | hold N on|off | release N INDEX | install FROM TO
 *     show [N]        how they stand
 *     quietly COMMAND without its trace */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/replication_raft/cluster.h"
#include "tests/unit/unit.h"

enum { scripts_max = 64, words_max = 32, delayed_max = 64 };
static const uint64_t millisecond = 1000000;

struct script {
    const char *name;
    struct cluster *cluster;
    FILE *out;
    size_t delayed_count;
    struct cluster_packet delayed[delayed_max];
    char *words[words_max];
    unsigned words_count;
};

static char script_names[scripts_max][64];
static int scripts_count;

/* ---- Words ---- */

static uint64_t number(const struct script *script, unsigned place)
{
    if (place >= script->words_count)
        ck_abort_msg("%s: %s lacks a number", script->name, script->words[0]);
    char *end;
    uint64_t value = strtoull(script->words[place], &end, 10);
    if (*end != '\0')
        ck_abort_msg("%s: %s: %s is no number", script->name, script->words[0],
                     script->words[place]);
    return value;
}

static uint64_t number_or(const struct script *script, unsigned place, uint64_t other)
{
    return place < script->words_count ? number(script, place) : other;
}

static bool is(const struct script *script, unsigned place, const char *word)
{
    return place < script->words_count && strcmp(script->words[place], word) == 0;
}

static struct cluster_node *node_at(const struct script *script, unsigned place)
{
    uint64_t id = number(script, place);
    if (script->cluster == NULL || id == 0 || id > script->cluster->nodes_count)
        ck_abort_msg("%s: no member %s", script->name, script->words[place]);
    return &script->cluster->nodes[id];
}

static struct cluster_node *up_at(const struct script *script, unsigned place)
{
    struct cluster_node *node = node_at(script, place);
    if (node->raft == NULL)
        ck_abort_msg("%s: member %s is down", script->name, script->words[place]);
    return node;
}

static struct raft_configuration configuration_at(const struct script *script, unsigned place)
{
    struct raft_configuration configuration = {0};
    bool learners = false;

    for (; place < script->words_count; place++) {
        if (is(script, place, "voters") || is(script, place, "learners"))
            learners = is(script, place, "learners");
        else if (learners)
            configuration.learners[configuration.learners_count++] = number(script, place);
        else
            configuration.voters[configuration.voters_count++] = number(script, place);
    }
    return configuration;
}

/* ---- Commands ---- */

static void make_cluster(struct script *script)
{
    struct cluster_options options = {.seed = 1};
    struct raft_configuration *c = &options.configuration;
    unsigned long value;

    for (unsigned i = 1; i < script->words_count; i++) {
        const char *word = script->words[i];
        if (sscanf(word, "nodes=%lu", &value) == 1)
            options.nodes_count = (unsigned)value;
        else if (sscanf(word, "bound=%lu", &value) == 1)
            options.clock_bound_ppm = (uint32_t)value;
        else if (sscanf(word, "stall=%lu", &value) == 1)
            options.disk_stall_ns = value * millisecond;
        else if (sscanf(word, "entries=%lu", &value) == 1)
            options.append_size_max = value * 100;
        else if (sscanf(word, "inflight=%lu", &value) == 1)
            options.inflight_count_max = (unsigned)value;
        else if (strcmp(word, "lease_off") == 0)
            options.lease_off = true;
        else
            c->voters[c->voters_count++] = number(script, i);
    }
    if (options.nodes_count == 0)
        options.nodes_count = c->voters_count;
    script->cluster = cluster_create(&options);
}

static bool fits(const struct script *script, const struct cluster_packet *packet)
{
    if (script->words_count < 3)
        return true;
    return packet->message.from == number(script, 1) && packet->message.to == number(script, 2) &&
           (script->words_count < 4 ||
            strcmp(script->words[3], cluster_message_name(packet->message.type)) == 0);
}

/* Those that were under way when the command began; what they cause waits. */
static void move_packets(struct script *script)
{
    struct cluster *cluster = script->cluster;
    size_t place = 0;

    for (size_t left = cluster->packets_count; left > 0; left--) {
        if (!fits(script, &cluster->packets[place])) {
            place++;
        } else if (is(script, 0, "deliver")) {
            cluster_deliver(cluster, place);
        } else if (is(script, 0, "drop")) {
            cluster_drop(cluster, place);
        } else {
            /* A copy goes to the end of the queue, from where it is set aside. */
            if (is(script, 0, "copy"))
                cluster_duplicate(cluster, place++);
            size_t moved = is(script, 0, "copy") ? cluster->packets_count - 1 : place;
            ck_assert_uint_lt(script->delayed_count, delayed_max);
            script->delayed[script->delayed_count++] = cluster_take(cluster, moved);
        }
    }
}

static void bring_late(struct script *script)
{
    size_t kept = 0;

    for (size_t i = 0; i < script->delayed_count; i++)
        if (fits(script, &script->delayed[i]))
            script->cluster->packets[script->cluster->packets_count++] = script->delayed[i];
        else
            script->delayed[kept++] = script->delayed[i];
    script->delayed_count = kept;
}

static void show(struct script *script, struct cluster_node *node)
{
    static const char *const roles[] = {"follower", "pre-candidate", "candidate", "leader"};
    uint64_t index;

    if (node->raft == NULL) {
        fprintf(script->out, "%d: down\n", (int)node->id);
        return;
    }
    struct raft_mark last = raft_last(node->raft);
    fprintf(script->out, "%d: %s term %llu leader %llu last %llu/%llu commit %llu log",
            (int)node->id, roles[raft_role(node->raft)], (unsigned long long)raft_term(node->raft),
            (unsigned long long)raft_leader(node->raft), (unsigned long long)last.index,
            (unsigned long long)last.term, (unsigned long long)raft_commit_index(node->raft));
    fprintf(script->out, " (%llu/%llu)", (unsigned long long)raft_base(node->raft).index,
            (unsigned long long)raft_base(node->raft).term);
    for (size_t i = 0; i < node->log.count; i++)
        fprintf(script->out, " %llu%s", (unsigned long long)node->log.entries[i].term,
                node->log.entries[i].configuration != NULL ? "c" : "");
    fprintf(script->out, " | ");
    cluster_print_configuration(script->out, raft_configuration(node->raft, &index));
    fputc('\n', script->out);
}

static void print_status(struct script *script, enum status status)
{
    if (status != STATUS_OK)
        fprintf(script->out, "= %s\n", status_name(status));
}

static void wait_for(struct cluster *cluster, struct cluster_node *waiting)
{
    cluster_settle(cluster);
    while (raft_deadline_ns(waiting->raft) > cluster_time_ns(cluster, waiting)) {
        cluster->now_ns += millisecond;
        for (unsigned id = 1; id <= cluster->nodes_count; id++) {
            struct cluster_node *node = &cluster->nodes[id];
            if (node != waiting && node->raft != NULL &&
                raft_deadline_ns(node->raft) <= cluster_time_ns(cluster, node))
                cluster_tick(cluster, node);
        }
        cluster_settle(cluster);
    }
}

/* Commands that move time, disks and messages. */
static bool run_movement(struct script *script)
{
    struct cluster *cluster = script->cluster;

    if (is(script, 0, "tick")) {
        struct cluster_node *node = up_at(script, 1);
        uint64_t deadline_ns = raft_deadline_ns(node->raft);
        ck_assert_uint_ne(deadline_ns, UINT64_MAX);
        /* By the member's own clock, which may be slow. */
        while (deadline_ns > cluster_time_ns(cluster, node))
            cluster->now_ns += deadline_ns - cluster_time_ns(cluster, node);
        cluster_tick(cluster, node);
    } else if (is(script, 0, "wait")) {
        wait_for(cluster, up_at(script, 1));
    } else if (is(script, 0, "time")) {
        cluster->now_ns += number(script, 1) * millisecond;
    } else if (is(script, 0, "run")) {
        cluster_run(cluster, number(script, 1) * millisecond);
    } else if (is(script, 0, "settle")) {
        cluster_settle(cluster);
    } else if (is(script, 0, "state")) {
        cluster_write_state(cluster, up_at(script, 1));
    } else if (is(script, 0, "write")) {
        cluster_write(cluster, up_at(script, 1), number_or(script, 2, SIZE_MAX));
    } else if (is(script, 0, "report")) {
        cluster_report(cluster, up_at(script, 1), number_or(script, 2, SIZE_MAX));
    } else if (is(script, 0, "persist")) {
        cluster_write_state(cluster, up_at(script, 1));
        cluster_write(cluster, up_at(script, 1), SIZE_MAX);
        cluster_report(cluster, up_at(script, 1), SIZE_MAX);
    } else if (is(script, 0, "deliver") || is(script, 0, "drop") || is(script, 0, "delay") ||
               is(script, 0, "copy")) {
        move_packets(script);
    } else if (is(script, 0, "late")) {
        bring_late(script);
    } else {
        return false;
    }
    return true;
}

/* Commands to a member as from its owner. */
static bool run_request(struct script *script)
{
    struct cluster *cluster = script->cluster;
    struct raft_configuration configuration;
    uint64_t round;

    if (is(script, 0, "propose")) {
        print_status(script,
                     cluster_propose(cluster, up_at(script, 1), (unsigned)number_or(script, 2, 1)));
    } else if (is(script, 0, "change")) {
        configuration = configuration_at(script, 2);
        print_status(script, cluster_change(cluster, up_at(script, 1), &configuration));
    } else if (is(script, 0, "transfer")) {
        print_status(script, cluster_transfer(cluster, up_at(script, 1), number(script, 2)));
    } else if (is(script, 0, "confirm")) {
        print_status(script, cluster_confirm(cluster, up_at(script, 1), &round));
    } else if (is(script, 0, "lease")) {
        struct cluster_node *node = up_at(script, 1);
        fprintf(script->out, "%d: lease %s\n", (int)node->id,
                raft_lease_holds(node->raft, cluster_time_ns(cluster, node)) ? "holds" : "no");
    } else if (is(script, 0, "hold")) {
        cluster_hold(cluster, up_at(script, 1), is(script, 2, "on"));
    } else if (is(script, 0, "unreachable")) {
        raft_unreachable(up_at(script, 1)->raft, number(script, 2));
        cluster_turn(cluster, up_at(script, 1));
    } else if (is(script, 0, "release")) {
        cluster_release(cluster, up_at(script, 1), number(script, 2));
    } else if (is(script, 0, "install")) {
        print_status(script, cluster_install(cluster, up_at(script, 1), up_at(script, 2)));
    } else {
        return false;
    }
    return true;
}

/* Commands to the world around. */
static bool run_world(struct script *script)
{
    struct cluster *cluster = script->cluster;

    if (is(script, 0, "cluster")) {
        ck_assert_ptr_null(cluster);
        make_cluster(script);
    } else if (is(script, 0, "rate")) {
        up_at(script, 1)->rate_ppm = strtoll(script->words[2], NULL, 10);
    } else if (is(script, 0, "crash")) {
        cluster_crash(cluster, up_at(script, 1));
    } else if (is(script, 0, "start")) {
        cluster_start(cluster, node_at(script, 1));
    } else if (is(script, 0, "cut")) {
        cluster->cut[node_at(script, 1)->id][node_at(script, 2)->id] = true;
    } else if (is(script, 0, "isolate") || is(script, 0, "heal")) {
        uint64_t alone = is(script, 0, "heal") ? 0 : node_at(script, 1)->id;
        for (unsigned a = 1; a <= cluster->nodes_count; a++)
            for (unsigned b = 1; b <= cluster->nodes_count; b++)
                cluster->cut[a][b] = alone != 0 && (a == alone || b == alone || cluster->cut[a][b]);
    } else if (is(script, 0, "show")) {
        for (unsigned id = 1; id <= cluster->nodes_count; id++)
            if (script->words_count == 1 || number(script, 1) == id)
                show(script, &cluster->nodes[id]);
    } else {
        return false;
    }
    return true;
}

static void run_command(struct script *script, const char *line)
{
    char *copy = strdup(line);
    char *rest = copy;
    bool quiet = false;

    ck_assert_ptr_nonnull(copy);
    script->words_count = 0;
    for (char *word; (word = strsep(&rest, " ")) != NULL;) {
        if (*word == '\0')
            continue;
        if (script->words_count == 0 && !quiet && strcmp(word, "quietly") == 0) {
            quiet = true;
            continue;
        }
        ck_assert_uint_lt(script->words_count, words_max);
        script->words[script->words_count++] = word;
    }
    if (script->words_count == 0 || (script->cluster == NULL && !is(script, 0, "cluster")))
        ck_abort_msg("%s: no command, or no cluster yet: %s", script->name, line);
    if (!quiet)
        fprintf(script->out, "> %s\n", line);
    if (script->cluster != NULL)
        script->cluster->trace = quiet ? NULL : script->out;
    if (!run_movement(script) && !run_request(script) && !run_world(script))
        ck_abort_msg("%s: what is this: %s", script->name, line);
    free(copy);
}

/* ---- Scripts ---- */

static void directory(char *path, size_t size)
{
    const char *slash = strrchr(__FILE__, '/');
    int written = snprintf(path, size, "%.*s/scripts", (int)(slash - __FILE__), __FILE__);
    ck_assert(written > 0 && (size_t)written < size);
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t size = 0;

    if (file == NULL)
        ck_abort_msg("%s cannot be read", path);
    if (getdelim(&text, &size, '\0', file) < 0)
        ck_abort_msg("%s is empty", path);
    fclose(file);
    return text;
}

/* Runs the commands of `text`, and gives the whole script as it should be. */
static char *run_text(const char *name, char *text)
{
    char *made = NULL;
    size_t made_size = 0;
    struct script script = {.name = name, .out = open_memstream(&made, &made_size)};
    bool expected = false;

    ck_assert_ptr_nonnull(script.out);
    for (char *line; (line = strsep(&text, "\n")) != NULL;) {
        if (expected) {
            expected = *line != '\0';
            if (!expected && text != NULL)
                fputc('\n', script.out);
            continue;
        }
        if (*line == '\0' && text == NULL)
            break;
        fprintf(script.out, "%s\n", line);
        if (strcmp(line, "----") == 0)
            expected = true;
        else if (*line != '\0' && *line != '#') {
            /* What it prints comes below the commands: they are put in front of it later. */
            fputc('\1', script.out);
            run_command(&script, line);
            fputc('\2', script.out);
        }
    }
    for (size_t i = 0; i < script.delayed_count; i++)
        free(script.delayed[i].entries);
    if (script.cluster != NULL)
        cluster_destroy(script.cluster);
    fclose(script.out);
    return made;
}

/* Moves what stands between \1 and \2 below the next "----". */
static char *arrange(const char *made)
{
    char *arranged = NULL, *held = NULL;
    size_t arranged_size = 0, held_size = 0;
    FILE *out = open_memstream(&arranged, &arranged_size);
    FILE *hold = open_memstream(&held, &held_size);
    bool inside = false;

    ck_assert(out != NULL && hold != NULL);
    for (const char *at = made; *at != '\0'; at++) {
        if (*at == '\1' || *at == '\2') {
            inside = *at == '\1';
        } else if (inside) {
            fputc(*at, hold);
        } else if (strncmp(at, "----\n", 5) == 0) {
            fflush(hold);
            fprintf(out, "----\n%.*s", (int)held_size, held);
            rewind(hold);
            held_size = 0;
            at += 4;
        } else {
            fputc(*at, out);
        }
    }
    fclose(hold);
    free(held);
    fclose(out);
    return arranged;
}

/* The first line that differs. */
static void report_difference(const char *name, char *wanted, char *made)
{
    for (unsigned line = 1;; line++) {
        char *a = strsep(&wanted, "\n");
        char *b = strsep(&made, "\n");
        if (a == NULL || b == NULL || strcmp(a, b) != 0)
            ck_abort_msg("%s:%u: expected \"%s\", got \"%s\"", name, line, a == NULL ? "" : a,
                         b == NULL ? "" : b);
    }
}

START_TEST(test_script)
{
    const char *name = script_names[_i];
    const char *chosen = getenv("STRAIT_SCRIPT");
    char folder[400];
    char path[512];

    if (chosen != NULL && strncmp(name, chosen, strlen(chosen)) != 0)
        return;
    directory(folder, sizeof(folder));
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    char *wanted = read_file(path);
    char *text = strdup(wanted);
    ck_assert_ptr_nonnull(text);
    char *made = run_text(name, text);
    char *arranged = arrange(made);
    if (strcmp(arranged, wanted) != 0 && getenv("STRAIT_SCRIPTS_REWRITE") != NULL) {
        FILE *file = fopen(path, "w");
        ck_assert_ptr_nonnull(file);
        fputs(arranged, file);
        ck_assert_int_eq(fclose(file), 0);
    } else if (strcmp(arranged, wanted) != 0) {
        report_difference(name, wanted, arranged);
    }
    free(arranged);
    free(made);
    free(text);
    free(wanted);
}
END_TEST

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

void unit_tests(TCase *tests)
{
    char folder[400];

    directory(folder, sizeof(folder));
    DIR *opened = opendir(folder);
    if (opened == NULL)
        abort();
    for (struct dirent *entry; (entry = readdir(opened)) != NULL;) {
        size_t size = strlen(entry->d_name);
        if (size < 5 || size >= sizeof(script_names[0]) || scripts_count == scripts_max ||
            strcmp(entry->d_name + size - 4, ".txt") != 0)
            continue;
        memcpy(script_names[scripts_count++], entry->d_name, size + 1);
    }
    closedir(opened);
    qsort(script_names, (size_t)scripts_count, sizeof(script_names[0]), by_name);
    tcase_add_loop_test(tests, test_script, 0, scripts_count);
}
