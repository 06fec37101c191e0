/* SPDX-License-Identifier: Apache-2.0 */
#include "server/config_tree.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"
#include "server/config.h"

enum { path_size = 160, texts_size = 256 };

/* ---- Reading ---- */

static unsigned line_of_mark(yaml_mark_t mark)
{
    return (unsigned)mark.line + 1;
}

static enum status refuse_syntax(const char *name, const yaml_parser_t *parser, struct error *error)
{
    const char *problem = parser->problem != NULL ? parser->problem : "no YAML";
    return error_set(error, STATUS_INVALID_ARGUMENT, "%s:%u: %s.", name,
                     line_of_mark(parser->problem_mark), problem);
}

/* Why an event may not be in a configuration, or NULL. */
static const char *event_fault(const yaml_event_t *event, unsigned *depth, unsigned *documents)
{
    const yaml_char_t *anchor = NULL;
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return "aliases (*name) are not permitted";
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        if (memchr(event->data.scalar.value, 0, event->data.scalar.length) != NULL)
            return "a value holds a zero byte";
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        ++*depth;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        ++*depth;
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        --*depth;
        break;
    case YAML_DOCUMENT_START_EVENT:
        ++*documents;
        break;
    default:
        break;
    }
    if (anchor != NULL)
        return "anchors (&name) are not permitted";
    if (*depth > config_depth_max)
        return "nested too deeply";
    return *documents > 1 ? "a second document begins" : NULL;
}

static enum status scan(const char *name, struct bytes text, struct error *error)
{
    yaml_parser_t parser;
    enum status status = STATUS_OK;
    unsigned depth = 0;
    unsigned documents = 0;
    bool ended = false;
    if (yaml_parser_initialize(&parser) != 1)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory to read it.", name);
    yaml_parser_set_input_string(&parser, text.data, text.size);
    while (status == STATUS_OK && !ended) {
        yaml_event_t event;
        if (yaml_parser_parse(&parser, &event) != 1) {
            status = refuse_syntax(name, &parser, error);
            break;
        }
        const char *fault = event_fault(&event, &depth, &documents);
        if (fault != NULL)
            status = error_set(error, STATUS_INVALID_ARGUMENT, "%s:%u: %s.", name,
                               line_of_mark(event.start_mark), fault);
        ended = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (status == STATUS_OK && documents == 0)
        status = error_set(error, STATUS_INVALID_ARGUMENT, "%s:1: there is nothing in it.", name);
    return status;
}

enum status config_tree_open(struct config_tree *tree, const char *name, struct bytes text,
                             struct error *error)
{
    static const uint8_t nothing[1];
    yaml_parser_t parser;
    *tree = (struct config_tree){.name = name};
    if (text.size == 0)
        text.data = nothing;
    enum status status = scan(name, text, error);
    if (status != STATUS_OK)
        return status;
    if (yaml_parser_initialize(&parser) != 1)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory to read it.", name);
    yaml_parser_set_input_string(&parser, text.data, text.size);
    if (yaml_parser_load(&parser, &tree->document) != 1)
        status = refuse_syntax(name, &parser, error);
    else if (yaml_document_get_root_node(&tree->document) == NULL) {
        yaml_document_delete(&tree->document);
        status = error_set(error, STATUS_INVALID_ARGUMENT, "%s:1: there is nothing in it.", name);
    }
    yaml_parser_delete(&parser);
    return status;
}

void config_tree_close(struct config_tree *tree)
{
    yaml_document_delete(&tree->document);
}

/* ---- Nodes ---- */

static const char *text_of(const yaml_node_t *scalar)
{
    return (const char *)scalar->data.scalar.value;
}

static unsigned line_of(const yaml_node_t *node)
{
    return line_of_mark(node->start_mark);
}

/* The value of a key, and the key itself; NULL. */
static yaml_node_t *mapping_get(struct config_tree *tree, const yaml_node_t *mapping,
                                const char *name, size_t name_size, yaml_node_t **key_node)
{
    for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
         pair < mapping->data.mapping.pairs.top; pair++) {
        yaml_node_t *key = yaml_document_get_node(&tree->document, pair->key);
        if (key->type == YAML_SCALAR_NODE && key->data.scalar.length == name_size &&
            memcmp(text_of(key), name, name_size) == 0) {
            *key_node = key;
            return yaml_document_get_node(&tree->document, pair->value);
        }
    }
    return NULL;
}

/* The line of a path, or of the nearest part of it that is there. */
static unsigned line_of_path(struct config_tree *tree, const char *path)
{
    yaml_node_t *node = yaml_document_get_root_node(&tree->document);
    unsigned line = line_of(node);
    while (*path != 0 && node != NULL) {
        yaml_node_t *key = NULL;
        if (*path == '[') {
            char *end;
            size_t item = strtoul(path + 1, &end, 10);
            size_t count =
                node->type != YAML_SEQUENCE_NODE
                    ? 0
                    : (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
            path = end + (*end == ']');
            node = item < count ? yaml_document_get_node(&tree->document,
                                                         node->data.sequence.items.start[item])
                                : NULL;
            key = node;
        } else {
            path += *path == '.';
            size_t size = strcspn(path, ".[");
            node =
                node->type == YAML_MAPPING_NODE ? mapping_get(tree, node, path, size, &key) : NULL;
            path += size;
        }
        if (node != NULL)
            line = node->type == YAML_SCALAR_NODE ? line_of(node) : line_of(key);
    }
    return line;
}

static enum status refuse_at(struct config_tree *tree, struct error *error, unsigned line,
                             const char *path, const char *format, va_list arguments)
    __attribute__((format(printf, 5, 0)));

static enum status refuse_at(struct config_tree *tree, struct error *error, unsigned line,
                             const char *path, const char *format, va_list arguments)
{
    char text[error_text_size];
    vsnprintf(text, sizeof text, format, arguments);
    return error_set(error, STATUS_INVALID_ARGUMENT, "%s:%u: %s%s%s.", tree->name, line, path,
                     path[0] != 0 ? ": " : "", text);
}

enum status config_tree_refuse(struct config_tree *tree, struct error *error, const char *path,
                               const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    enum status status = refuse_at(tree, error, line_of_path(tree, path), path, format, arguments);
    va_end(arguments);
    return status;
}

/* ---- The check ---- */

struct check {
    struct config_tree *tree;
    struct error *error;
};

static enum status refuse(const struct check *check, unsigned line, const char *path,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));

static enum status refuse(const struct check *check, unsigned line, const char *path,
                          const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    enum status status = refuse_at(check->tree, check->error, line, path, format, arguments);
    va_end(arguments);
    return status;
}

/* "a, b, c" in a fixed space; what does not fit is left out. */
static void texts_add(char texts[texts_size], const char *text)
{
    size_t used = strlen(texts);
    if (used + strlen(text) + 3 < texts_size)
        snprintf(texts + used, texts_size - used, "%s%s", used != 0 ? ", " : "", text);
}

static enum status check_value(const struct check *check, const struct cyaml_schema_value *schema,
                               yaml_node_t *node, unsigned key_line, const char *path);

static const char *kind_of(const yaml_node_t *node)
{
    switch (node->type) {
    case YAML_MAPPING_NODE:
        return "a mapping of keys";
    case YAML_SEQUENCE_NODE:
        return "a list";
    default:
        return "a single value";
    }
}

static enum status check_scalar(const struct check *check, const struct cyaml_schema_value *schema,
                                const yaml_node_t *node, const char *path)
{
    const char *text = text_of(node);
    unsigned line = line_of(node);
    char texts[texts_size] = "";
    switch (schema->type) {
    case CYAML_BOOL:
        if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
            return STATUS_OK;
        return refuse(check, line, path, "must be true or false, not \"%.64s\"", text);
    case CYAML_UINT:
        if (text[0] != 0 && strlen(text) <= 9 && strspn(text, "0123456789") == strlen(text))
            return STATUS_OK;
        return refuse(check, line, path, "must be a whole number, not \"%.64s\"", text);
    case CYAML_ENUM:
        for (uint32_t i = 0; i < schema->enumeration.count; i++) {
            if (strcmp(text, schema->enumeration.strings[i].str) == 0)
                return STATUS_OK;
            texts_add(texts, schema->enumeration.strings[i].str);
        }
        return refuse(check, line, path, "must be one of %s, not \"%.64s\"", texts, text);
    case CYAML_STRING:
        if (node->data.scalar.length >= schema->string.min &&
            node->data.scalar.length <= schema->string.max)
            return STATUS_OK;
        return refuse(check, line, path, text[0] == 0 ? "has no value" : "is too long");
    default:
        UNREACHABLE();
    }
}

static enum status check_sequence(const struct check *check,
                                  const struct cyaml_schema_value *schema, const yaml_node_t *node,
                                  unsigned key_line, const char *path)
{
    const yaml_node_item_t *items = node->data.sequence.items.start;
    size_t count = (size_t)(node->data.sequence.items.top - items);
    if (count < schema->sequence.min)
        return refuse(check, key_line, path, "needs at least %u entries", schema->sequence.min);
    if (count > schema->sequence.max)
        return refuse(check, key_line, path, "has %zu entries; at most %u are permitted", count,
                      schema->sequence.max);
    for (size_t i = 0; i < count; i++) {
        char item_path[path_size];
        snprintf(item_path, sizeof item_path, "%s[%zu]", path, i);
        yaml_node_t *item = yaml_document_get_node(&check->tree->document, items[i]);
        enum status status =
            check_value(check, schema->sequence.entry, item, line_of(item), item_path);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static void path_join(char joined[path_size], const char *path, const char *key)
{
    snprintf(joined, path_size, "%s%s%.64s", path, path[0] != 0 ? "." : "", key);
}

/* One key of a mapping: of a name that is known, the first of its name, with a value that fits. */
static enum status check_pair(const struct check *check, const struct cyaml_schema_field *fields,
                              const yaml_node_t *mapping, const yaml_node_pair_t *pair,
                              const char *path)
{
    struct config_tree *tree = check->tree;
    yaml_node_t *key = yaml_document_get_node(&tree->document, pair->key);
    yaml_node_t *first = NULL;
    char key_path[path_size];
    char known[texts_size] = "";
    if (key->type != YAML_SCALAR_NODE)
        return refuse(check, line_of(key), path, "a key must be a single word");
    path_join(key_path, path, text_of(key));
    mapping_get(tree, mapping, text_of(key), key->data.scalar.length, &first);
    if (first != key)
        return refuse(check, line_of(key), key_path, "duplicate key; it stands in line %u already",
                      line_of(first));
    for (const struct cyaml_schema_field *field = fields; field->key != NULL; field++) {
        if (strcmp(field->key, text_of(key)) == 0)
            return check_value(check, &field->value,
                               yaml_document_get_node(&tree->document, pair->value), line_of(key),
                               key_path);
        texts_add(known, field->key);
    }
    return refuse(check, line_of(key), key_path, "unknown key; known here: %s", known);
}

static enum status check_mapping(const struct check *check, const struct cyaml_schema_field *fields,
                                 yaml_node_t *node, unsigned key_line, const char *path)
{
    enum status status = STATUS_OK;
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top && status == STATUS_OK; pair++)
        status = check_pair(check, fields, node, pair, path);
    for (; fields->key != NULL && status == STATUS_OK; fields++) {
        yaml_node_t *key = NULL;
        char key_path[path_size];
        path_join(key_path, path, fields->key);
        if ((fields->value.flags & CYAML_FLAG_OPTIONAL) == 0 &&
            mapping_get(check->tree, node, fields->key, strlen(fields->key), &key) == NULL)
            status = refuse(check, key_line, key_path, "missing key");
    }
    return status;
}

static enum status check_value(const struct check *check, const struct cyaml_schema_value *schema,
                               yaml_node_t *node, unsigned key_line, const char *path)
{
    bool is_empty = node->type == YAML_SCALAR_NODE && node->data.scalar.length == 0;
    switch (schema->type) {
    case CYAML_MAPPING:
        if (node->type == YAML_MAPPING_NODE)
            return check_mapping(check, schema->mapping.fields, node, key_line, path);
        break;
    case CYAML_SEQUENCE:
        if (node->type == YAML_SEQUENCE_NODE)
            return check_sequence(check, schema, node, key_line, path);
        break;
    default:
        if (node->type == YAML_SCALAR_NODE)
            return check_scalar(check, schema, node, path);
        break;
    }
    const char *wanted = schema->type == CYAML_MAPPING    ? "a mapping of keys"
                         : schema->type == CYAML_SEQUENCE ? "a list"
                                                          : "a single value";
    return refuse(check, is_empty ? key_line : line_of(node), path, "must be %s, not %s", wanted,
                  is_empty ? "empty" : kind_of(node));
}

enum status config_tree_check(struct config_tree *tree, const struct cyaml_schema_value *schema,
                              struct error *error)
{
    const struct check check = {.tree = tree, .error = error};
    yaml_node_t *root = yaml_document_get_root_node(&tree->document);
    return check_value(&check, schema, root, line_of(root), "");
}
