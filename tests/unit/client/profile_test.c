/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints and profiles: every error names the line. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/options.h"
#include "tests/unit/unit.h"

static char directory[256];

static void write_profile(const char *text)
{
    char path[512];
    snprintf(directory, sizeof directory, "%s", unit_directory());
    snprintf(path, sizeof path, "%s/profile", directory);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

START_TEST(test_endpoints)
{
    static const char *const bad[] = {"",           "host",     ":1",       "host:",      "host:0",
                                      "host:65536", "host:1x",  "::1:7411", "[]:1",       "a:1,",
                                      ",a:1",       "a:1,,b:2", "host:-1",  "host:123456"};
    strait_options *options = strait_options_new();
    ck_assert_int_eq(strait_options_set_endpoints(options, "a.example:7411,[::1]:1,10.0.0.1:65535"),
                     STRAIT_OK);
    ck_assert_uint_eq(options->endpoints_count, 3);
    ck_assert_str_eq(options->endpoints[0].host, "a.example");
    ck_assert_str_eq(options->endpoints[1].host, "::1");
    ck_assert_str_eq(options->endpoints[2].port, "65535");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(strait_options_set_endpoints(options, bad[i]) == STRAIT_INVALID_ARGUMENT,
                      "'%s' was taken", bad[i]);
    ck_assert_int_eq(strait_options_set_endpoints(options, NULL), STRAIT_INVALID_ARGUMENT);
    ck_assert_int_eq(strait_options_set_endpoints(options, "a:1,b:1,c:1,d:1,e:1,f:1,g:1,h:1,i:1,"
                                                           "j:1,k:1,l:1,m:1,n:1,o:1,p:1,q:1"),
                     STRAIT_INVALID_ARGUMENT);
    ck_assert_uint_eq(options->endpoints_count, 3);
    strait_options_free(options);
}
END_TEST

START_TEST(test_a_profile)
{
    char expected[512];
    char link[512];
    char path[512];
    struct strait_error error;
    strait_options *options = strait_options_new();
    write_profile("# made by hand\n\n endpoint = 127.0.0.1:7411 \nca=ca.pem\n"
                  "certificate = certs/me.pem\nkey = /etc/me.key\r\nserver_name = db\n"
                  "timeout_ms = 1500\nclient_name = shop/1 with = sign\n");
    ck_assert_msg(strait_options_load_profile(options, directory, &error) == STRAIT_OK, "%s",
                  error.text);
    ck_assert_str_eq(options->endpoints[0].host, "127.0.0.1");
    snprintf(expected, sizeof expected, "%s/ca.pem", directory);
    ck_assert_str_eq(options->ca_file, expected);
    snprintf(expected, sizeof expected, "%s/certs/me.pem", directory);
    ck_assert_str_eq(options->certificate_file, expected);
    ck_assert_str_eq(options->key_file, "/etc/me.key");
    ck_assert_str_eq(options->server_name, "db");
    ck_assert_str_eq(options->client_name, "shop/1 with = sign");
    ck_assert_uint_eq(options->timeout_ms, 1500);
    strait_options_free(options);

    /* Through a link, paths still count from where the file is. */
    options = strait_options_new();
    snprintf(path, sizeof path, "%s/profile", directory);
    snprintf(link, sizeof link, "%s/link", unit_directory());
    ck_assert_int_eq(symlink(path, link), 0);
    ck_assert_int_eq(strait_options_load_profile(options, link, &error), STRAIT_OK);
    ck_assert_str_eq(options->certificate_file, expected);
    strait_options_free(options);
}
END_TEST

START_TEST(test_errors_name_the_line)
{
    static const struct {
        const char *text;
        const char *words;
    } bad[] = {
        {"endpoint = a:1\nendpiont = b:1\n", "line 2: 'endpiont' is no setting"},
        {"ca = a\n\nca = b\n", "line 3: 'ca' was set on an earlier line"},
        {"# comment\nnonsense\n", "line 2: this is not of the form"},
        {"timeout_ms = soon\n", "line 1: 'soon' is no valid value of 'timeout_ms'"},
        {"timeout_ms = 0\n", "line 1: '0' is no valid value"},
        {"key =\n", "line 1: '' is no valid value of 'key'"},
        {"endpoint = nowhere\n", "line 1: 'nowhere' is no valid value of 'endpoint'"},
    };
    struct strait_error error;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        strait_options *options = strait_options_new();
        write_profile(bad[i].text);
        ck_assert_int_eq(strait_options_load_profile(options, directory, &error),
                         STRAIT_INVALID_ARGUMENT);
        ck_assert_msg(strstr(error.text, bad[i].words) != NULL, "%s", error.text);
        /* Nothing of it was taken. */
        ck_assert_uint_eq(options->endpoints_count, 0);
        ck_assert_str_eq(options->ca_file, "");
        strait_options_free(options);
    }
    strait_options *options = strait_options_new();
    ck_assert_int_eq(strait_options_load_profile(options, "/nowhere/profile", &error),
                     STRAIT_NOT_FOUND);
    strait_options_free(options);
}
END_TEST

START_TEST(test_the_environment)
{
    struct strait_error error;
    char config[512];
    strait_options *options = strait_options_new();
    write_profile("endpoint = a:1\n");
    setenv("HOME", directory, 1);
    unsetenv("STRAIT_ENDPOINT");
    unsetenv("STRAIT_PROFILE");
    ck_assert_int_eq(strait_options_load_default(options, &error), STRAIT_NOT_FOUND);
    setenv("STRAIT_PROFILE", directory, 1);
    ck_assert_int_eq(strait_options_load_default(options, &error), STRAIT_OK);
    ck_assert_str_eq(options->endpoints[0].host, "a");
    setenv("STRAIT_ENDPOINT", "b:2", 1);
    ck_assert_int_eq(strait_options_load_default(options, &error), STRAIT_OK);
    ck_assert_str_eq(options->endpoints[0].host, "b");
    setenv("STRAIT_ENDPOINT", "b", 1);
    ck_assert_int_eq(strait_options_load_default(options, &error), STRAIT_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "STRAIT_ENDPOINT"));
    unsetenv("STRAIT_ENDPOINT");
    unsetenv("STRAIT_PROFILE");
    snprintf(config, sizeof config, "%s/.config", directory);
    ck_assert_int_eq(mkdir(config, 0700), 0);
    snprintf(config, sizeof config, "%s/.config/strait", directory);
    char from[512];
    snprintf(from, sizeof from, "%s/profile", directory);
    ck_assert_int_eq(mkdir(config, 0700), 0);
    snprintf(config, sizeof config, "%s/.config/strait/profile", directory);
    ck_assert_int_eq(rename(from, config), 0);
    ck_assert_int_eq(strait_options_load_default(options, &error), STRAIT_OK);
    ck_assert_str_eq(options->endpoints[0].host, "a");
    strait_options_free(options);
}
END_TEST

START_TEST(test_open_says_what_is_missing)
{
    struct strait_error error;
    char path[512];
    strait *handle;
    strait_options *options = strait_options_new();
    ck_assert_int_eq(strait_open(options, &handle, &error), STRAIT_INVALID_ARGUMENT);
    ck_assert_ptr_null(handle);
    ck_assert_int_eq(strait_options_set_endpoints(options, "127.0.0.1:1"), STRAIT_OK);
    ck_assert_int_eq(strait_open(options, &handle, &error), STRAIT_KEY_MISSING);
    write_profile("this is no certificate\n");
    snprintf(path, sizeof path, "%s/profile", directory);
    strait_options_set_ca_file(options, path);
    strait_options_set_certificate_file(options, path);
    strait_options_set_key_file(options, path);
    ck_assert_int_eq(strait_open(options, &handle, &error), STRAIT_KEY_MISSING);
    ck_assert_ptr_nonnull(strstr(error.text, path));
    strait_options_free(options);
    strait_close(NULL);
    strait_free(NULL);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_endpoints);
    tcase_add_test(tests, test_a_profile);
    tcase_add_test(tests, test_errors_name_the_line);
    tcase_add_test(tests, test_the_environment);
    tcase_add_test(tests, test_open_says_what_is_missing);
}
