/* SPDX-License-Identifier: Apache-2.0 */
/* Histories that Elle and Knossos have judged: ours agree with them, or are stricter. They are not
 * part of this tree: STRAIT_HISTORIES names their folder; else it is looked for beside the tree. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/unit/jepsen_check/fixture.h"
#include "tests/unit/unit.h"

enum { file_size_max = 1 << 20, path_size = 1024 };

static const char *folder(void)
{
    static const char *const places[] = {"../shared/histories", "../../shared/histories",
                                         "../../../shared/histories",
                                         "../../../../shared/histories"};
    const char *named = getenv("STRAIT_HISTORIES");
    struct stat facts;
    if (named != NULL && named[0] != 0)
        return named;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (stat(places[i], &facts) == 0)
            return places[i];
    return NULL;
}

static struct verdict judge_file(const char *model, const char *path)
{
    static uint8_t text[file_size_max];
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s cannot be opened", path);
    size_t size = fread(text, 1, sizeof text, file);
    ck_assert_uint_lt(size, sizeof text);
    ck_assert_int_eq(fclose(file), 0);
    return fixture_judge(model, bytes_of(text, size));
}

static void skip(const char *what)
{
    printf("known_test: SKIPPED: %s: no folder of known histories (STRAIT_HISTORIES)\n", what);
}

/* What Elle calls true is valid, or vacuous where nobody read what was acknowledged; what it calls
 * false is invalid, by the same class; where it throws, the history is malformed. */
static void expect_elle(const char *file, const char *said, const struct verdict *verdict)
{
    if (strncmp(said, "true (missed", 12) == 0)
        ck_assert_msg(verdict->kind != VERDICT_VALID, "%s", file);
    else if (strncmp(said, "true", 4) == 0)
        ck_assert_msg(verdict->kind == VERDICT_VALID, "%s: %s", file, verdict->text);
    else if (strncmp(said, "false ", 6) == 0)
        ck_assert_msg(verdict->kind == VERDICT_INVALID &&
                          strncmp(said + 6, verdict->class, strlen(verdict->class)) == 0,
                      "%s: %s, not %s", file, verdict->class, said);
    else if (strncmp(said, "unknown", 7) == 0)
        ck_assert_msg(verdict->kind == VERDICT_VACUOUS, "%s", file);
    else
        ck_assert_msg(verdict->kind == VERDICT_MALFORMED && verdict->text[0] != 0, "%s: %s", file,
                      verdict_name(verdict->kind));
}

START_TEST(test_list_append_as_elle_says)
{
    char path[path_size];
    char line[1024];
    unsigned judged = 0;
    if (folder() == NULL) {
        skip("list-append");
        return;
    }
    snprintf(path, sizeof path, "%s/elle/EXPECTED.tsv", folder());
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s cannot be opened", path);
    while (fgets(line, sizeof line, file) != NULL) {
        char name[64];
        char model[32];
        char option[64];
        char said[512];
        if (sscanf(line, "%63[^\t]\t%31[^\t]\t%63[^\t]\t%511[^\n]", name, model, option, said) !=
                4 ||
            strcmp(model, "list-append") != 0 ||
            (strcmp(option, "strict-serializable") != 0 && strcmp(option, "-") != 0))
            continue;
        snprintf(path, sizeof path, "%s/elle/%s", folder(), name);
        struct verdict verdict = judge_file("list-append", path);
        expect_elle(name, said, &verdict);
        judged++;
    }
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_uint_ge(judged, 15);
}
END_TEST

static void judge_folder(const char *name, enum verdict_kind expected)
{
    char path[path_size];
    unsigned judged = 0;
    snprintf(path, sizeof path, "%s/cas-register/%s", folder(), name);
    DIR *directory = opendir(path);
    ck_assert_msg(directory != NULL, "%s cannot be opened", path);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (strstr(entry->d_name, ".edn") == NULL)
            continue;
        snprintf(path, sizeof path, "%s/cas-register/%s/%s", folder(), name, entry->d_name);
        struct verdict verdict = judge_file("register", path);
        ck_assert_msg(verdict.kind == expected, "%s: %s", path, verdict_name(verdict.kind));
        judged++;
    }
    ck_assert_int_eq(closedir(directory), 0);
    ck_assert_uint_ge(judged, 4);
}

START_TEST(test_registers_as_knossos_says)
{
    if (folder() == NULL) {
        skip("registers");
        return;
    }
    judge_folder("good", VERDICT_VALID);
    judge_folder("bad", VERDICT_INVALID);
}
END_TEST

/* Elle's own option misses these; a search for an order does not. */
START_TEST(test_registers_that_elle_misses)
{
    char path[path_size];
    if (folder() == NULL) {
        skip("registers that are missed");
        return;
    }
    snprintf(path, sizeof path, "%s/elle/rw_stale.edn", folder());
    ck_assert_int_eq(judge_file("register", path).kind, VERDICT_INVALID);
    snprintf(path, sizeof path, "%s/elle/rw_garbage.edn", folder());
    ck_assert_int_eq(judge_file("register", path).kind, VERDICT_INVALID);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_list_append_as_elle_says);
    tcase_add_test(tests, test_registers_as_knossos_says);
    tcase_add_test(tests, test_registers_that_elle_misses);
}
