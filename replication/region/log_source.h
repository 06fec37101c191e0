/* SPDX-License-Identifier: Apache-2.0 */
/* The region's own log as what a source reads: one reader of it for each cursor. */
#ifndef REPLICATION_REGION_LOG_SOURCE_H
#define REPLICATION_REGION_LOG_SOURCE_H

#include "replication/region/source.h"
#include "replication/replicated_log.h"

struct log_source;

/* For source_options.log. Closed after the source is freed, and before the log is closed.
 * NO_MEMORY. */
MUST_CHECK enum status log_source_open(struct replicated_log *log, struct log_source **log_source);
void log_source_close(struct log_source *log_source); /* NULL is permitted */
struct source_log log_source_log(struct log_source *log_source);

/* Whom reads are for: it is told when one is done. NULL before that source is freed. */
void log_source_attach(struct log_source *log_source, struct source *source);

#endif
