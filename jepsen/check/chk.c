/* SPDX-License-Identifier: Apache-2.0 */
/* chk: judges a history from a file. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jepsen/check/array.h"
#include "jepsen/check/bank.h"
#include "jepsen/check/edn.h"
#include "jepsen/check/list_append.h"
#include "jepsen/check/register.h"
#include "jepsen/check/set_full.h"

enum chk_exit { CHK_VALID, CHK_INVALID, CHK_USAGE, CHK_MALFORMED, CHK_VACUOUS };

static const char usage[] =
    "chk MODEL FILE [--total N] [--negative]\n"
    "    MODEL: list-append, bank (with --total), set-full, register\n"
    "    FILE: a history in EDN; - is the standard input\n"
    "Prints the verdict. Exit status: 0 valid, 1 invalid, 2 usage, 3 malformed,\n"
    "4 vacuous or unknown.\n";

struct chk_options {
    const char *model;
    const char *path;
    struct bank_options bank;
    bool has_total;
};

static bool read_file(const char *path, struct bytes *text)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    uint8_t *bytes = NULL;
    uint32_t capacity = 0;
    uint32_t size = 0;

    if (file == NULL)
        return false;
    for (;;) {
        bytes = array_grow(bytes, size, &capacity, 1);
        size_t got = fread(bytes + size, 1, capacity - size, file);
        if (got == 0)
            break;
        size += (uint32_t)got;
    }
    bool good = !ferror(file);
    if (file != stdin)
        good = fclose(file) == 0 && good;
    *text = bytes_of(bytes, size);
    return good;
}

static bool parse(struct chk_options *options, int count, char **values)
{
    for (int i = 1; i < count; i++) {
        if (strcmp(values[i], "--negative") == 0) {
            options->bank.may_be_negative = true;
        } else if (strcmp(values[i], "--total") == 0 && i + 1 < count) {
            char *end;
            options->bank.total = strtoll(values[++i], &end, 10);
            options->has_total = *end == 0 && end != values[i];
        } else if (values[i][0] == '-' && values[i][1] != 0) {
            return false;
        } else if (options->model == NULL) {
            options->model = values[i];
        } else if (options->path == NULL) {
            options->path = values[i];
        } else {
            return false;
        }
    }
    return options->path != NULL;
}

static bool check(const struct chk_options *options, struct history *history,
                  struct verdict *verdict)
{
    if (strcmp(options->model, "list-append") == 0)
        list_append_check(history, verdict);
    else if (strcmp(options->model, "bank") == 0 && options->has_total)
        bank_check(history, &options->bank, verdict);
    else if (strcmp(options->model, "set-full") == 0)
        set_full_check(history, verdict);
    else if (strcmp(options->model, "register") == 0)
        register_check(history, verdict);
    else
        return false;
    return true;
}

int main(int count, char **values)
{
    static const enum chk_exit exits[] = {
        [VERDICT_VALID] = CHK_VALID,         [VERDICT_INVALID] = CHK_INVALID,
        [VERDICT_MALFORMED] = CHK_MALFORMED, [VERDICT_VACUOUS] = CHK_VACUOUS,
        [VERDICT_UNKNOWN] = CHK_VACUOUS,
    };
    struct chk_options options = {0};
    struct history history;
    struct verdict verdict = {0};
    struct bytes text;

    if (!parse(&options, count, values)) {
        fputs(usage, stderr);
        return CHK_USAGE;
    }
    if (!read_file(options.path, &text)) {
        fprintf(stderr, "chk: %s cannot be read\n", options.path);
        return CHK_USAGE;
    }
    history_init(&history);
    bool known = true;
    if (edn_read(&history, text, &verdict) == STATUS_OK)
        known = check(&options, &history, &verdict);
    if (!known)
        fputs(usage, stderr);
    else
        printf("%s%s%s: %" PRIu64 " operations, %" PRIu64 " reads%s%s\n",
               verdict_name(verdict.kind), verdict.class[0] != 0 ? " " : "", verdict.class,
               verdict.operations_count, verdict.reads_count, verdict.text[0] != 0 ? ". " : "",
               verdict.text);
    history_free(&history);
    free((void *)(uintptr_t)text.data);
    return known ? (int)exits[verdict.kind] : CHK_USAGE;
}
