/* SPDX-License-Identifier: Apache-2.0 */
#include "jepsen/check/edn.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

#include "jepsen/check/array.h"

enum edn_kind { EDN_NIL, EDN_INTEGER, EDN_KEYWORD, EDN_STRING, EDN_WORD, EDN_SEQUENCE, EDN_MAP };

/* A value of the text, in the history's arena. Of a map, keys and values in turn. */
struct edn {
    enum edn_kind kind;
    int64_t integer;
    struct bytes text; /* as it was written */
    struct edn *items;
    uint32_t count;
};

struct reader {
    struct history *history;
    struct verdict *verdict;
    struct bytes text;
    size_t at;
    uint32_t line;
    unsigned depth;
    bool is_indexed;
    bool index_is_known;
    int64_t last_index;
};

static enum status refuse(struct reader *reader, const char *what)
{
    verdict_set(reader->verdict, VERDICT_MALFORMED, "edn", "Line %u: %s.", reader->line, what);
    return STATUS_MALFORMED;
}

/* ---- Values ---- */

/* The next byte that is not space or comment, which stays; -1 at the end. */
static int peek(struct reader *reader)
{
    while (reader->at < reader->text.size) {
        uint8_t byte = reader->text.data[reader->at];
        if (byte == ';') {
            while (reader->at < reader->text.size && reader->text.data[reader->at] != '\n')
                reader->at++;
        } else if (isspace(byte) || byte == ',') {
            reader->line += byte == '\n';
            reader->at++;
        } else {
            return byte;
        }
    }
    return -1;
}

static bool ends_word(uint8_t byte)
{
    return isspace(byte) || strchr(",;()[]{}\"", byte) != NULL;
}

static enum status read_string(struct reader *reader, struct edn *value)
{
    size_t begin = reader->at++;
    while (reader->at < reader->text.size && reader->text.data[reader->at] != '"') {
        reader->line += reader->text.data[reader->at] == '\n';
        reader->at += reader->text.data[reader->at] == '\\' ? 2 : 1;
    }
    if (reader->at >= reader->text.size)
        return refuse(reader, "a string without an end");
    reader->at++;
    value->kind = EDN_STRING;
    value->text = bytes_of(reader->text.data + begin, reader->at - begin);
    return STATUS_OK;
}

/* At most 18 digits, so that nothing overflows. */
static bool is_integer(struct bytes text, int64_t *integer)
{
    size_t at = text.data[0] == '-' || text.data[0] == '+';
    *integer = 0;
    if (at == text.size || text.size - at > 18)
        return false;
    for (size_t i = at; i < text.size; i++) {
        if (!isdigit(text.data[i]))
            return false;
        *integer = *integer * 10 + (text.data[i] - '0');
    }
    if (text.data[0] == '-')
        *integer = -*integer;
    return true;
}

static enum status read_word(struct reader *reader, struct edn *value)
{
    size_t begin = reader->at;
    while (reader->at < reader->text.size && !ends_word(reader->text.data[reader->at]))
        reader->at++;
    value->text = bytes_of(reader->text.data + begin, reader->at - begin);
    if (value->text.size == 0)
        return refuse(reader, "a bracket that does not fit");
    if (value->text.data[0] == '#')
        return refuse(reader, "sets and tagged values are not of this form");
    if (is_integer(value->text, &value->integer))
        value->kind = EDN_INTEGER;
    else if (value->text.data[0] == ':')
        value->kind = EDN_KEYWORD;
    else if (bytes_equal(value->text, bytes_of_text("nil")))
        value->kind = EDN_NIL;
    else
        value->kind = EDN_WORD;
    return STATUS_OK;
}

static enum status read_value(struct reader *reader, struct edn *value);

static enum status read_items(struct reader *reader, char end, struct edn *value)
{
    struct edn *items = NULL;
    uint32_t capacity = 0;
    enum status status = STATUS_OK;

    if (++reader->depth > edn_depth_max)
        return refuse(reader, "nested too deeply");
    reader->at++;
    for (;;) {
        int next = peek(reader);
        if (next == -1)
            status = refuse(reader, "a bracket without its end");
        if (next == -1 || next == end)
            break;
        items = array_grow(items, value->count, &capacity, sizeof *items);
        status = read_value(reader, &items[value->count]);
        if (status != STATUS_OK)
            break;
        value->count++;
    }
    if (status == STATUS_OK) {
        reader->at++;
        reader->depth--;
        value->kind = end == '}' ? EDN_MAP : EDN_SEQUENCE;
        value->items = arena_alloc_zeroed(&reader->history->arena, value->count, sizeof *items);
        ASSERT(value->items != NULL);
        if (value->count != 0)
            memcpy(value->items, items, value->count * sizeof *items);
        if (end == '}' && value->count % 2 != 0)
            status = refuse(reader, "a map with a key that has no value");
    }
    free(items);
    return status;
}

static enum status read_value(struct reader *reader, struct edn *value)
{
    *value = (struct edn){0};
    switch (peek(reader)) {
    case -1:
        return refuse(reader, "a value is missing");
    case '[':
        return read_items(reader, ']', value);
    case '(':
        return read_items(reader, ')', value);
    case '{':
        return read_items(reader, '}', value);
    case '"':
        return read_string(reader, value);
    default:
        return read_word(reader, value);
    }
}

/* ---- Entries ---- */

static const struct edn *value_of(const struct edn *map, const char *key)
{
    for (uint32_t i = 0; i < map->count; i += 2)
        if (bytes_equal(map->items[i].text, bytes_of_text(key)))
            return &map->items[i + 1];
    return NULL;
}

static bool is_keyword(const struct edn *value, const char *text)
{
    return value != NULL && value->kind == EDN_KEYWORD &&
           bytes_equal(value->text, bytes_of_text(text));
}

static enum status type_of(struct reader *reader, const struct edn *value, enum history_type *type)
{
    static const char *const names[] = {":invoke", ":ok", ":fail", ":info"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (is_keyword(value, names[i])) {
            *type = (enum history_type)i;
            return STATUS_OK;
        }
    }
    return refuse(reader, ":type is none of :invoke, :ok, :fail, :info");
}

static const char *const function_names[] = {
    [HISTORY_TXN] = ":txn", [HISTORY_READ] = ":read", [HISTORY_WRITE] = ":write",
    [HISTORY_CAS] = ":cas", [HISTORY_ADD] = ":add",   [HISTORY_TRANSFER] = ":transfer",
};

static enum history_function function_of(const struct edn *value)
{
    for (unsigned i = 0; i < HISTORY_OTHER; i++)
        if (is_keyword(value, function_names[i]))
            return (enum history_function)i;
    return HISTORY_OTHER;
}

static bool is_scalar(const struct edn *value)
{
    return value->kind == EDN_INTEGER || value->kind == EDN_KEYWORD || value->kind == EDN_STRING;
}

static enum status numbers_of(struct reader *reader, const struct edn *value, uint32_t *count,
                              const int64_t **result)
{
    const struct edn *items = value->kind == EDN_SEQUENCE ? value->items : value;
    *count = value->kind == EDN_SEQUENCE ? value->count : 1;
    int64_t *numbers = history_numbers(reader->history, *count);
    for (uint32_t i = 0; i < *count; i++) {
        if (items[i].kind != EDN_INTEGER)
            return refuse(reader, "an integer is expected in :value");
        numbers[i] = items[i].integer;
    }
    *result = numbers;
    return STATUS_OK;
}

static enum status mop_of(struct reader *reader, const struct edn *value, struct history_mop *mop)
{
    if (value->kind != EDN_SEQUENCE || value->count != 3 || !is_scalar(&value->items[1]))
        return refuse(reader, "a step of a transaction is [what key value]");
    const struct edn *last = &value->items[2];
    mop->key = history_key(reader->history, value->items[1].text);
    if (is_keyword(&value->items[0], ":r")) {
        mop->kind = HISTORY_MOP_READ;
        mop->is_nil = last->kind == EDN_NIL;
        return mop->is_nil ? STATUS_OK : numbers_of(reader, last, &mop->count, &mop->numbers);
    }
    if (is_keyword(&value->items[0], ":append"))
        mop->kind = HISTORY_MOP_APPEND;
    else if (is_keyword(&value->items[0], ":w"))
        mop->kind = HISTORY_MOP_WRITE;
    else
        return refuse(reader, "a step of a transaction is :r, :append or :w");
    if (last->kind != EDN_INTEGER)
        return refuse(reader, "what is written is an integer");
    return numbers_of(reader, last, &mop->count, &mop->numbers);
}

static enum status pairs_of(struct reader *reader, const struct edn *map,
                            struct history_entry *entry)
{
    int64_t *numbers = history_numbers(reader->history, map->count);
    for (uint32_t i = 0; i < map->count; i += 2) {
        if (!is_scalar(&map->items[i]) || map->items[i + 1].kind != EDN_INTEGER)
            return refuse(reader, "a read of accounts is a map of integers");
        numbers[i] = history_key(reader->history, map->items[i].text);
        numbers[i + 1] = map->items[i + 1].integer;
    }
    entry->shape = HISTORY_PAIRS;
    entry->count = map->count;
    entry->numbers = numbers;
    return STATUS_OK;
}

static enum status shape_of(struct reader *reader, const struct edn *value,
                            struct history_entry *entry)
{
    if (value == NULL || value->kind == EDN_NIL || entry->function == HISTORY_OTHER ||
        entry->function == HISTORY_TRANSFER)
        return STATUS_OK;
    if (entry->function == HISTORY_TXN) {
        if (value->kind != EDN_SEQUENCE)
            return refuse(reader, "a transaction is a vector of steps");
        struct history_mop *mops = history_mops(reader->history, value->count);
        for (uint32_t i = 0; i < value->count; i++) {
            enum status status = mop_of(reader, &value->items[i], &mops[i]);
            if (status != STATUS_OK)
                return status;
        }
        entry->shape = HISTORY_MOPS;
        entry->count = value->count;
        entry->mops = mops;
        return STATUS_OK;
    }
    if (value->kind == EDN_MAP)
        return pairs_of(reader, value, entry);
    entry->shape = HISTORY_NUMBERS;
    enum status status = numbers_of(reader, value, &entry->count, &entry->numbers);
    if (status == STATUS_OK && entry->function == HISTORY_CAS && entry->count != 2)
        return refuse(reader, "a compare-and-set has two values");
    if (status == STATUS_OK && entry->count != 1 &&
        (entry->function == HISTORY_WRITE || entry->function == HISTORY_ADD))
        return refuse(reader, "one value is written at a time");
    return status;
}

static enum status check_index(struct reader *reader, const struct edn *index)
{
    bool has_index = index != NULL;
    if (!reader->index_is_known) {
        reader->is_indexed = has_index;
        reader->last_index = -1;
        reader->index_is_known = true;
    }
    if (has_index != reader->is_indexed)
        return refuse(reader, "either all entries have an :index, or none");
    if (!has_index)
        return STATUS_OK;
    if (index->kind != EDN_INTEGER || index->integer <= reader->last_index)
        return refuse(reader, ":index does not grow");
    reader->last_index = index->integer;
    return STATUS_OK;
}

static enum status entry_of(struct reader *reader, const struct edn *map, uint32_t line)
{
    enum history_type type = HISTORY_INFO;
    if (map->kind != EDN_MAP)
        return refuse(reader, "an entry is a map");
    enum status status = check_index(reader, value_of(map, ":index"));
    if (status == STATUS_OK)
        status = type_of(reader, value_of(map, ":type"), &type);
    const struct edn *process = value_of(map, ":process");
    if (status == STATUS_OK && process == NULL)
        status = refuse(reader, "an entry without :process");
    if (status != STATUS_OK || process->kind != EDN_INTEGER)
        return status;
    struct history_entry entry = {.function = function_of(value_of(map, ":f"))};
    status = shape_of(reader, value_of(map, ":value"), &entry);
    if (status != STATUS_OK)
        return status;
    struct history_entry *added =
        history_add(reader->history, type, entry.function, process->integer);
    added->line = line;
    added->shape = entry.shape;
    added->count = entry.count;
    added->numbers = entry.numbers;
    added->mops = entry.mops;
    return STATUS_OK;
}

enum status edn_read(struct history *history, struct bytes text, struct verdict *verdict)
{
    struct reader reader = {.history = history, .verdict = verdict, .text = text, .line = 1};
    char closing = 0;
    enum status status = STATUS_OK;

    int first = peek(&reader);
    if (first == '[' || first == '(') {
        closing = first == '[' ? ']' : ')';
        reader.at++;
    }
    while (status == STATUS_OK) {
        struct edn value;
        int next = peek(&reader);
        uint32_t line = reader.line;
        if (next == -1 && closing != 0)
            return refuse(&reader, "a bracket without its end");
        if (next == -1 || next == closing)
            break;
        status = read_value(&reader, &value);
        if (status == STATUS_OK &&
            (value.kind == EDN_NIL || bytes_equal(value.text, bytes_of_text("false"))))
            break;
        if (status == STATUS_OK)
            status = entry_of(&reader, &value, line);
    }
    return status;
}

/* ---- Writing ---- */

static void write_list(FILE *file, const int64_t *numbers, uint32_t count)
{
    fprintf(file, "[");
    for (uint32_t i = 0; i < count; i++)
        fprintf(file, "%s%" PRId64, i == 0 ? "" : " ", numbers[i]);
    fprintf(file, "]");
}

static void write_key(const struct history *history, FILE *file, uint64_t key)
{
    ASSERT(key < history->keys_count);
    fprintf(file, "%.*s", (int)history->keys[key].size, (const char *)history->keys[key].data);
}

static void write_mops(const struct history *history, FILE *file, const struct history_entry *entry)
{
    static const char *const names[] = {
        [HISTORY_MOP_READ] = ":r", [HISTORY_MOP_APPEND] = ":append", [HISTORY_MOP_WRITE] = ":w"};
    fprintf(file, "[");
    for (uint32_t i = 0; i < entry->count; i++) {
        const struct history_mop *mop = &entry->mops[i];
        fprintf(file, "%s[%s ", i == 0 ? "" : " ", names[mop->kind]);
        write_key(history, file, mop->key);
        fprintf(file, " ");
        if (mop->is_nil)
            fprintf(file, "nil");
        else if (mop->kind == HISTORY_MOP_READ)
            write_list(file, mop->numbers, mop->count);
        else
            fprintf(file, "%" PRId64, mop->numbers[0]);
        fprintf(file, "]");
    }
    fprintf(file, "]");
}

static void write_value(const struct history *history, FILE *file,
                        const struct history_entry *entry)
{
    switch (entry->shape) {
    case HISTORY_NIL:
        fprintf(file, "nil");
        break;
    case HISTORY_NUMBERS:
        if (entry->function == HISTORY_WRITE || entry->function == HISTORY_ADD)
            fprintf(file, "%" PRId64, entry->numbers[0]);
        else
            write_list(file, entry->numbers, entry->count);
        break;
    case HISTORY_PAIRS:
        fprintf(file, "{");
        for (uint32_t i = 0; i < entry->count; i += 2) {
            fprintf(file, "%s", i == 0 ? "" : ", ");
            write_key(history, file, (uint64_t)entry->numbers[i]);
            fprintf(file, " %" PRId64, entry->numbers[i + 1]);
        }
        fprintf(file, "}");
        break;
    case HISTORY_MOPS:
        write_mops(history, file, entry);
        break;
    }
}

static void write_entry(const struct history *history, FILE *file,
                        const struct history_entry *entry, uint32_t index, const char *type)
{
    const char *function =
        entry->function == HISTORY_OTHER ? ":other" : function_names[entry->function];
    fprintf(file, "{:index %u, :type %s, :process %" PRId64 ", :f %s, :value ", index, type,
            entry->process, function);
    write_value(history, file, entry);
    fprintf(file, "}\n");
}

enum status edn_write(const struct history *history, FILE *file)
{
    static const char *const types[] = {":invoke", ":ok", ":fail", ":info"};
    uint32_t index = 0;
    for (uint32_t i = 0; i < history->count; i++)
        write_entry(history, file, &history->entries[i], index++, types[history->entries[i].type]);
    for (uint32_t i = 0; i < history->count; i++) {
        const struct history_entry *entry = &history->entries[i];
        if (entry->type == HISTORY_INVOKE && entry->other == history_none)
            write_entry(history, file, entry, index++, ":info");
    }
    return fflush(file) != 0 || ferror(file) ? STATUS_IO_ERROR : STATUS_OK;
}
