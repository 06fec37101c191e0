/* SPDX-License-Identifier: Apache-2.0 */
/* Profiles: lines `name = value`, spaces around both free, `#` beginning a comment line. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/error.h"
#include "client/options.h"

enum { profile_line_size = 8192 };

static enum strait_status set_timeout(strait_options *options, const char *text)
{
    char *end = NULL;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != 0 || errno != 0 || value > timeout_max_ms)
        return STRAIT_INVALID_ARGUMENT;
    return strait_options_set_timeout_ms(options, (uint32_t)value);
}

static const struct setting {
    const char *name;
    enum strait_status (*set)(strait_options *options, const char *value);
    bool is_path;
} settings[] = {
    {"endpoint", strait_options_set_endpoints, false},
    {"ca", strait_options_set_ca_file, true},
    {"certificate", strait_options_set_certificate_file, true},
    {"key", strait_options_set_key_file, true},
    {"server_name", strait_options_set_server_name, false},
    {"timeout_ms", set_timeout, false},
    {"client_name", strait_options_set_client_name, false},
};

enum { settings_count = sizeof settings / sizeof settings[0] };

static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t length = strlen(text);
    while (length != 0 && strchr(" \t\r\n", text[length - 1]) != NULL)
        text[--length] = 0;
    return text;
}

static const struct setting *find_setting(const char *name)
{
    for (size_t i = 0; i < settings_count; i++) {
        if (strcmp(settings[i].name, name) == 0)
            return &settings[i];
    }
    return NULL;
}

static enum strait_status apply(strait_options *options, const struct setting *setting,
                                const char *profile, const char *value)
{
    char path[PATH_MAX];
    const char *slash = strrchr(profile, '/');

    if (!setting->is_path || value[0] == '/' || slash == NULL || value[0] == 0)
        return setting->set(options, value);
    int length = snprintf(path, sizeof path, "%.*s/%s", (int)(slash - profile), profile, value);
    if (length < 0 || (size_t)length >= sizeof path)
        return STRAIT_INVALID_ARGUMENT;
    return setting->set(options, path);
}

static enum strait_status read_line(strait_options *options, const char *path, unsigned number,
                                    char *line, unsigned *seen, struct strait_error *error)
{
    char *name = trim(line);
    if (name[0] == 0 || name[0] == '#')
        return STRAIT_OK;
    char *equals = strchr(name, '=');
    if (equals == NULL)
        return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                "%s, line %u: this is not of the form 'name = value'.", path,
                                number);
    *equals = 0;
    char *value = trim(equals + 1);
    name = trim(name);
    const struct setting *setting = find_setting(name);
    if (setting == NULL)
        return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                "%s, line %u: '%.64s' is no setting of a profile; there are "
                                "endpoint, ca, certificate, key, server_name, timeout_ms and "
                                "client_name.",
                                path, number, name);
    unsigned bit = 1U << (setting - settings);
    if ((*seen & bit) != 0)
        return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                "%s, line %u: '%s' was set on an earlier line already.", path,
                                number, name);
    *seen |= bit;
    if (apply(options, setting, path, value) != STRAIT_OK)
        return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                "%s, line %u: '%.128s' is no valid value of '%s'.", path, number,
                                value, name);
    return STRAIT_OK;
}

static enum strait_status read_profile(strait_options *options, const char *path, FILE *file,
                                       struct strait_error *error)
{
    char line[profile_line_size];
    unsigned seen = 0;

    for (unsigned number = 1; fgets(line, sizeof line, file) != NULL; number++) {
        if (strlen(line) == sizeof line - 1)
            return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                    "%s, line %u: the line is too long.", path, number);
        enum strait_status status = read_line(options, path, number, line, &seen, error);
        if (status != STRAIT_OK)
            return status;
    }
    if (ferror(file) != 0)
        return client_error_set(error, STATUS_IO_ERROR, "%s cannot be read: %s.", path,
                                strerror(errno));
    return STRAIT_OK;
}

/* The profile's real path, where `path` may be a folder that holds one. Real, because relative
 * paths in it count from where the file is, not from a link to it. */
static bool find_profile(const char *path, char found[PATH_MAX])
{
    char place[PATH_MAX];
    struct stat status;

    if (stat(path, &status) == 0 && !S_ISDIR(status.st_mode))
        return realpath(path, found) != NULL;
    int length = snprintf(place, sizeof place, "%s/profile", path);
    return length > 0 && (size_t)length < sizeof place && stat(place, &status) == 0 &&
           !S_ISDIR(status.st_mode) && realpath(place, found) != NULL;
}

enum strait_status strait_options_load_profile(strait_options *options, const char *path,
                                               struct strait_error *error)
{
    char found[PATH_MAX];

    client_error_clear(error);
    if (path == NULL || path[0] == 0)
        return client_error_set(error, STATUS_INVALID_ARGUMENT, "No profile is named.");
    if (!find_profile(path, found))
        return client_error_set(error, STATUS_NOT_FOUND,
                                "There is no profile at %s. `straitd --dev --data DIR` writes "
                                "DIR/profile.",
                                path);
    FILE *file = fopen(found, "re");
    if (file == NULL)
        return client_error_set(error, STATUS_IO_ERROR, "%s cannot be opened: %s.", found,
                                strerror(errno));
    /* All or nothing: a profile with an error changes no option. */
    strait_options *changed = malloc(sizeof *changed);
    enum strait_status status = STRAIT_NO_MEMORY;
    if (changed != NULL) {
        *changed = *options;
        status = read_profile(changed, found, file, error);
        if (status == STRAIT_OK)
            *options = *changed;
    } else {
        status = client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
    }
    free(changed);
    fclose(file);
    return status;
}

enum strait_status strait_options_load_default(strait_options *options, struct strait_error *error)
{
    const char *profile = getenv("STRAIT_PROFILE");
    const char *endpoints = getenv("STRAIT_ENDPOINT");
    const char *home = getenv("HOME");
    char path[PATH_MAX];
    enum strait_status status = STRAIT_OK;

    client_error_clear(error);
    if (profile != NULL && profile[0] != 0) {
        status = strait_options_load_profile(options, profile, error);
    } else if (home != NULL &&
               snprintf(path, sizeof path, "%s/.config/strait/profile", home) < (int)sizeof path &&
               access(path, F_OK) == 0) {
        status = strait_options_load_profile(options, path, error);
    }
    if (status != STRAIT_OK)
        return status;
    if (endpoints != NULL && endpoints[0] != 0 &&
        strait_options_set_endpoints(options, endpoints) != STRAIT_OK)
        return client_error_set(
            error, STATUS_INVALID_ARGUMENT,
            "STRAIT_ENDPOINT is '%.128s', which is not HOST:PORT[,HOST:PORT...].", endpoints);
    if (options->endpoints_count == 0)
        return client_error_set(error, STATUS_NOT_FOUND,
                                "No server is known: set STRAIT_PROFILE to a profile (`straitd "
                                "--dev` writes one), or put one at ~/.config/strait/profile.");
    return STRAIT_OK;
}
