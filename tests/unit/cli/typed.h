/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines as they are typed, against a fake server: run here, in the test's own process, and
 * what they print and exit with. */
#ifndef TESTS_UNIT_CLI_TYPED_H
#define TESTS_UNIT_CLI_TYPED_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/unit.h"

enum { text_size = 16 * 1024, words_max = 24 };

static char profile[512];
static char out[text_size]; /* what the last command printed */
static char err[text_size];

/* By which commands find the server. */
static inline void profile_write(const struct fake_server *server)
{
    snprintf(profile, sizeof profile, "%s/profile", server->directory);
    FILE *file = fopen(profile, "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "endpoint = 127.0.0.1:%u\nca = ca.pem\ncertificate = client.pem\n", server->port);
    fprintf(file, "key = client.key\ntimeout_ms = 3000\n");
    ck_assert_int_eq(fclose(file), 0);
}

static inline int redirect(FILE *stream, FILE *to)
{
    fflush(stream);
    int kept = dup(fileno(stream));
    ck_assert_int_ge(kept, 0);
    ck_assert_int_ge(dup2(fileno(to), fileno(stream)), 0);
    return kept;
}

static inline void restore(FILE *stream, int kept, FILE *from, char text[text_size])
{
    fflush(stream);
    ck_assert_int_ge(dup2(kept, fileno(stream)), 0);
    close(kept);
    rewind(from);
    size_t size = fread(text, 1, text_size - 1, from);
    text[size] = 0;
    fclose(from);
}

/* Words are split at blanks. */
static inline enum cli_exit run(const char *line)
{
    struct cli cli = {.profile = profile};
    char copy[1024];
    char *words[words_max];
    char *rest = copy;
    char *word;
    int count = 0;

    ck_assert_uint_lt(strlen(line), sizeof copy);
    memcpy(copy, line, strlen(line) + 1);
    while ((word = strtok_r(count == 0 ? copy : NULL, " ", &rest)) != NULL) {
        ck_assert_int_lt(count, words_max);
        words[count++] = word;
    }
    FILE *out_file = tmpfile();
    FILE *err_file = tmpfile();
    ck_assert(out_file != NULL && err_file != NULL);
    int kept_out = redirect(stdout, out_file);
    int kept_err = redirect(stderr, err_file);
    enum cli_exit exit = cli_run(&cli, count, words);
    strait_close(cli.handle);
    restore(stdout, kept_out, out_file, out);
    restore(stderr, kept_err, err_file, err);
    return exit;
}

static inline void assert_done(const char *line)
{
    enum cli_exit exit = run(line);
    ck_assert_msg(exit == CLI_DONE, "%s: exit %d: %s%s", line, exit, out, err);
}

static inline void assert_says(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" is not in:\n%s", part, text);
}

/* The document that the line prints with --json; the caller's. */
static inline json_t *document_of(const char *line, enum cli_exit wanted)
{
    char whole[1024];
    json_error_t error;
    snprintf(whole, sizeof whole, "%s --json", line);
    enum cli_exit exit = run(whole);
    ck_assert_msg(exit == wanted, "%s: exit %d: %s%s", line, exit, out, err);
    json_t *document = json_loads(out, 0, &error);
    ck_assert_msg(document != NULL, "no JSON: %s: %s", error.text, out);
    return document;
}

static inline json_int_t number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    ck_assert_msg(json_is_integer(value), "%s is no number: %s", name, out);
    return json_integer_value(value);
}

static inline const char *text(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    ck_assert_msg(json_is_string(value), "%s is no text: %s", name, out);
    return json_string_value(value);
}

#endif
