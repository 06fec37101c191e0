/* SPDX-License-Identifier: Apache-2.0 */
/* A YAML document with the lines of its nodes, and a check of it against a schema of libcyaml's.
 *
 * libcyaml says what is wrong, but not reliably where: for an unknown or a duplicate key it names
 * the line before, for a missing key none, and it reads any word as a truth value. So the document
 * is checked here first, and given to libcyaml only when it fits. */
#ifndef SERVER_CONFIG_TREE_H
#define SERVER_CONFIG_TREE_H

#include <cyaml/cyaml.h>
#include <yaml.h>

#include "proto/base/bytes.h"
#include "proto/base/error.h"

struct config_tree {
    const char *name; /* of the file, for errors */
    yaml_document_t document;
};

/* `name` outlives the tree. INVALID_ARGUMENT with "NAME:LINE: ..." for what is no YAML, for aliases
 * and anchors (they could multiply a small file into a large one), for more than one document, for
 * nesting past config_depth_max, and for no document at all. */
MUST_CHECK enum status config_tree_open(struct config_tree *tree, const char *name,
                                        struct bytes text, struct error *error);
void config_tree_close(struct config_tree *tree);

/* Against mappings, sequences, strings, enumerations, unsigned integers and truth values ("true",
 * "false"). Every fault is named with its own line: an unknown key and a duplicate one by the
 * key's, a mistyped value by the value's, a missing key by that of the mapping's own key. */
MUST_CHECK enum status config_tree_check(struct config_tree *tree,
                                         const struct cyaml_schema_value *schema,
                                         struct error *error);

/* For a value that fits the schema and is wrong all the same: "NAME:LINE: PATH: " and the text.
 * `path` is like "memory.cache_size" or "access[2].role"; where it is not in the document, the
 * nearest mapping above it gives the line. */
enum status config_tree_refuse(struct config_tree *tree, struct error *error, const char *path,
                               const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
