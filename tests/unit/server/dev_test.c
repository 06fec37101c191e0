/* SPDX-License-Identifier: Apache-2.0 */
#include "server/dev.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/net/certificate.h"
#include "server/net/tls.h"
#include "tests/unit/unit.h"

static char home[256];
static char folder[512];
static struct dev dev;
static struct config config;
static struct error error;

static void setup(void)
{
    snprintf(home, sizeof home, "%s", unit_directory());
    snprintf(folder, sizeof folder, "%s/deep/dev", home);
    ck_assert_int_eq(setenv("HOME", home, 1), 0);
    ck_assert_int_eq(unsetenv("XDG_STATE_HOME"), 0);
    error = (struct error){0};
}

static enum status open_in(const char *directory)
{
    const struct dev_options options = {.directory = directory, .port = 7777};
    return dev_open(&options, &dev, &config, &error);
}

static void open_well(const char *directory)
{
    ck_assert_msg(open_in(directory) == STATUS_OK, "%s", error.text);
}

static void close_all(void)
{
    dev_close(&dev);
    config_free(&config);
}

static const char *path_of(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static char *contents_of(const char *path, char text[4096])
{
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s", path);
    text[fread(text, 1, 4095, file)] = 0;
    fclose(file);
    return text;
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static const char *const files[] = {
    "ca.crt",
    "ca.key",
    "server.crt",
    "server.key",
    "client/dev-admin.crt",
    "client/dev-admin.key",
    "client/dev-writer.crt",
    "client/dev-writer.key",
    "client/dev-reader.crt",
    "client/dev-reader.key",
    "master.key",
    "profile",
};

enum { files_count = sizeof files / sizeof files[0] };

START_TEST(test_makes_what_a_server_needs)
{
    open_well(folder);
    for (int i = 0; i < files_count; i++) {
        struct stat about;
        ck_assert_msg(stat(path_of(files[i]), &about) == 0, "%s", files[i]);
        ck_assert_uint_eq(about.st_mode & 0777, 0600);
    }
    ck_assert_str_eq(config.listen_host, "127.0.0.1");
    ck_assert_uint_eq(config.listen_port, 7777);
    ck_assert_str_eq(config.master_key_file, path_of("master.key"));
    ck_assert(!config.encryption_off);

    /* The certificates do what they are for. */
    SSL_CTX *tls = NULL;
    const struct tls_options options = {
        .certificate = config.tls_certificate, .key = config.tls_key, .ca = config.tls_ca};
    ck_assert_msg(tls_context_open(&options, &tls, &error) == STATUS_OK, "%s", error.text);
    SSL_CTX_free(tls);
    struct access *access = NULL;
    ck_assert_int_eq(config_open_access(&config, &access), STATUS_OK);
    struct certificate client;
    char identity[limit_identity_size + 1];
    char key[1024];
    snprintf(key, sizeof key, "%s", path_of("client/dev-writer.key"));
    ck_assert_int_eq(certificate_read(path_of("client/dev-writer.crt"), key, &client, &error),
                     STATUS_OK);
    ck_assert_int_eq(identity_of_certificate(client.x509, identity, &error), STATUS_OK);
    ck_assert_str_eq(identity, "dev-writer");
    ck_assert_int_eq(access_role(access, identity), ROLE_WRITER);
    certificate_free(&client);
    access_close(access);
    close_all();
}
END_TEST

START_TEST(test_second_run_keeps_all)
{
    static char before[files_count][4096];
    char now[4096];
    open_well(folder);
    for (int i = 0; i < files_count; i++)
        contents_of(path_of(files[i]), before[i]);
    ck_assert_uint_eq(strlen(before[10]), 65); /* the master key in hexadecimal digits */
    close_all();
    open_well(folder);
    for (int i = 0; i < files_count; i++)
        ck_assert_str_eq(contents_of(path_of(files[i]), now), before[i]);
    close_all();
}
END_TEST

/* Whatever a run that was cut short left out, or a person spoiled, the next one mends: certificates
 * all belong together afterwards. */
START_TEST(test_mends)
{
    for (int i = 0; i < files_count; i++) {
        struct certificate authority;
        struct certificate server;
        char key[1024];
        open_well(folder);
        close_all();
        if (i % 2 == 0)
            ck_assert_int_eq(unlink(path_of(files[i])), 0);
        else
            write_text(path_of(files[i]), "spoiled");
        open_well(folder);
        snprintf(key, sizeof key, "%s", path_of("ca.key"));
        ck_assert_int_eq(certificate_read(path_of("ca.crt"), key, &authority, &error), STATUS_OK);
        snprintf(key, sizeof key, "%s", path_of("server.key"));
        ck_assert_int_eq(certificate_read(path_of("server.crt"), key, &server, &error), STATUS_OK);
        ck_assert(certificate_is_usable(&server, &authority, time(NULL) + 86400));
        certificate_free(&server);
        certificate_free(&authority);
        close_all();
    }
}
END_TEST

/* A lost key is not replaced while there is a store that only it opens. */
START_TEST(test_master_key_is_never_made_anew)
{
    open_well(folder);
    close_all();
    ck_assert_int_eq(mkdir(path_of("store"), 0700), 0);
    open_well(folder);
    close_all();
    ck_assert_int_eq(unlink(path_of("master.key")), 0);
    ck_assert_int_eq(open_in(folder), STATUS_KEY_MISSING);
    ck_assert_ptr_nonnull(strstr(error.text, "master.key"));
    ck_assert_int_eq(rmdir(path_of("store")), 0);
    open_well(folder);
    close_all();
}
END_TEST

START_TEST(test_one_server_a_folder)
{
    struct dev other;
    struct config other_config;
    const struct dev_options options = {.directory = folder};
    open_well(folder);
    ck_assert_int_eq(dev_open(&options, &other, &other_config, &error), STATUS_LOCKED);
    ck_assert_ptr_nonnull(strstr(error.text, folder));
    config_free(&other_config);
    close_all();
    ck_assert_int_eq(dev_open(&options, &other, &other_config, &error), STATUS_OK);
    ck_assert_uint_eq(other_config.listen_port, dev_port);
    dev_close(&other);
    config_free(&other_config);
}
END_TEST

/* Members share a folder, and with it the authority, the cluster's id and the profile. */
START_TEST(test_members_of_a_region)
{
    struct dev devs[dev_members_count];
    struct config configs[dev_members_count];
    char text[4096];
    for (unsigned i = 0; i < dev_members_count; i++) {
        const struct dev_options options = {.directory = folder, .port = 7777, .member = i + 1};
        const struct config_region *region = &configs[i].region;
        char expected[64];
        SSL_CTX *tls = NULL;
        struct access *access = NULL;
        ck_assert_msg(dev_open(&options, &devs[i], &configs[i], &error) == STATUS_OK, "%s",
                      error.text);
        snprintf(expected, sizeof expected, "n%u", i + 1);
        ck_assert_str_eq(region->name, expected);
        ck_assert_uint_eq(configs[i].listen_port, 7777 + 10 * i);
        ck_assert_uint_eq(region->listen_port, 7778 + 10 * i);
        snprintf(expected, sizeof expected, "127.0.0.1:%u", 7778 + 10 * i);
        ck_assert_str_eq(region->peers, expected);
        snprintf(expected, sizeof expected, "127.0.0.1:%u", 7777 + 10 * i);
        ck_assert_str_eq(region->clients, expected);
        ck_assert(region->has_cluster_id);
        ck_assert_mem_eq(region->cluster_id, configs[0].region.cluster_id, config_cluster_id_size);
        ck_assert_int_eq(configs[i].bootstrap, i % dev_region_members_count == 0);
        ck_assert_uint_eq(region->id, i < dev_region_members_count ? 1 : 2);
        ck_assert_str_eq(region->region_name,
                         i < dev_region_members_count ? "singapore" : "sydney");
        ck_assert_uint_eq(region->standby_of_count, i < dev_region_members_count ? 0 : 3);
        if (region->standby_of_count != 0)
            ck_assert_str_eq(region->standby_of[1], "127.0.0.1:7787");
        snprintf(expected, sizeof expected, "store-n%u", i + 1);
        ck_assert_str_eq(configs[i].data, path_of(expected));
        const struct tls_options files_of_tls = {.certificate = configs[i].tls_certificate,
                                                 .key = configs[i].tls_key,
                                                 .ca = configs[i].tls_ca};
        ck_assert_msg(tls_peers_context_open(&files_of_tls, &tls, &error) == STATUS_OK, "%s",
                      error.text);
        SSL_CTX_free(tls);
        ck_assert_int_eq(config_open_access(&configs[i], &access), STATUS_OK);
        ck_assert_int_eq(access_role(access, "n1"), ROLE_PEER);
        ck_assert_int_eq(access_role(access, "n6"), ROLE_PEER);
        ck_assert_int_eq(access_role(access, "dev-admin"), ROLE_ADMIN);
        access_close(access);
    }
    ck_assert_ptr_nonnull(strstr(contents_of(path_of("profile"), text),
                                 "endpoint = 127.0.0.1:7777,127.0.0.1:7787,127.0.0.1:7797\n"));
    ck_assert_ptr_nonnull(strstr(contents_of(path_of("profile-sydney"), text),
                                 "endpoint = 127.0.0.1:7807,127.0.0.1:7817,127.0.0.1:7827\n"));
    /* A server on its own does not come between. */
    ck_assert_int_eq(open_in(folder), STATUS_LOCKED);
    for (unsigned i = 0; i < dev_members_count; i++) {
        dev_close(&devs[i]);
        config_free(&configs[i]);
    }
    /* The region begins once. */
    const struct dev_options first = {.directory = folder, .port = 7777, .member = 1};
    ck_assert_int_eq(mkdir(path_of("store-n1"), 0700), 0);
    ck_assert_int_eq(mkdir(path_of("store-n1/wal"), 0700), 0);
    ck_assert_int_eq(dev_open(&first, &dev, &config, &error), STATUS_OK);
    ck_assert(!config.bootstrap);
    close_all();
    /* A lost key is not replaced while any member has a store. */
    const struct dev_options second = {.directory = folder, .port = 7777, .member = 2};
    ck_assert_int_eq(unlink(path_of("master.key")), 0);
    ck_assert_int_eq(dev_open(&second, &dev, &config, &error), STATUS_KEY_MISSING);
    write_text(path_of("master.key"), "x");
    write_text(path_of("cluster_id"), "0011\n");
    ck_assert_int_eq(dev_open(&second, &dev, &config, &error), STATUS_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, "cluster_id"));
    config_free(&config);
}
END_TEST

START_TEST(test_a_region_that_follows_where_it_is_told_to)
{
    static const char *const bad[] = {"", "nowhere", "a:1,", "a:1,,b:2", "a:99999"};
    struct dev_options options = {
        .directory = folder, .port = 7777, .member = 4, .standby_of = "127.0.0.1:9001,far:9002"};
    ck_assert_msg(dev_open(&options, &dev, &config, &error) == STATUS_OK, "%s", error.text);
    ck_assert_uint_eq(config.region.standby_of_count, 2);
    ck_assert_str_eq(config.region.standby_of[0], "127.0.0.1:9001");
    ck_assert_str_eq(config.region.standby_of[1], "far:9002");
    close_all();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        options.standby_of = bad[i];
        ck_assert_int_eq(dev_open(&options, &dev, &config, &error), STATUS_INVALID_ARGUMENT);
        config_free(&config);
    }
}
END_TEST

START_TEST(test_profile_and_its_link)
{
    char link[512];
    char text[4096];
    char expected[1024];
    open_well(folder);
    snprintf(link, sizeof link, "%s/.config/strait/profile", home);
    ck_assert_int_eq(access(link, F_OK), -1); /* nobody is there yet */
    dev_link(&dev);
    ck_assert_str_eq(dev.link, link);
    contents_of(link, text);
    snprintf(expected, sizeof expected, "endpoint = 127.0.0.1:7777\nca = %s/ca.crt\n", folder);
    ck_assert_ptr_nonnull(strstr(text, expected));
    snprintf(expected, sizeof expected, "certificate = %s/client/dev-admin.crt\n", folder);
    ck_assert_ptr_nonnull(strstr(text, expected));
    close_all();

    /* Another folder's --dev takes the link over... */
    char second[512];
    snprintf(second, sizeof second, "%s/second", home);
    open_well(second);
    ck_assert_ptr_nonnull(strstr(contents_of(link, text), folder));
    dev_link(&dev);
    ck_assert_str_eq(dev.link, link);
    ck_assert_ptr_nonnull(strstr(contents_of(link, text), second));
    close_all();

    /* ... but never what a person put there. */
    ck_assert_int_eq(unlink(link), 0);
    write_text(link, "endpoint = shop.example.com:7411\n");
    open_well(folder);
    dev_link(&dev);
    ck_assert_str_eq(dev.link, "");
    ck_assert_ptr_nonnull(strstr(dev.link_kept, link));
    ck_assert_str_eq(contents_of(link, text), "endpoint = shop.example.com:7411\n");
    close_all();
}
END_TEST

START_TEST(test_standard_folders)
{
    char expected[1024];
    open_well(NULL);
    snprintf(expected, sizeof expected, "%s/.local/state/strait/dev", home);
    ck_assert_str_eq(dev.directory, expected);
    close_all();
    snprintf(expected, sizeof expected, "%s/state", home);
    ck_assert_int_eq(setenv("XDG_STATE_HOME", expected, 1), 0);
    open_well(NULL);
    snprintf(expected, sizeof expected, "%s/state/strait/dev", home);
    ck_assert_str_eq(dev.directory, expected);
    close_all();
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    ck_assert_int_eq(open_in(NULL), STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(test_folder_that_cannot_be)
{
    char path[600];
    snprintf(path, sizeof path, "%s/file", home);
    write_text(path, "x");
    snprintf(path, sizeof path, "%s/file/dev", home);
    ck_assert_int_ne(open_in(path), STATUS_OK);
    ck_assert_ptr_nonnull(strstr(error.text, "file"));
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, test_makes_what_a_server_needs);
    tcase_add_test(tests, test_second_run_keeps_all);
    tcase_add_test(tests, test_mends);
    tcase_add_test(tests, test_master_key_is_never_made_anew);
    tcase_add_test(tests, test_one_server_a_folder);
    tcase_add_test(tests, test_members_of_a_region);
    tcase_add_test(tests, test_a_region_that_follows_where_it_is_told_to);
    tcase_add_test(tests, test_profile_and_its_link);
    tcase_add_test(tests, test_standard_folders);
    tcase_add_test(tests, test_folder_that_cannot_be);
}
