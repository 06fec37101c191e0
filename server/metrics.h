/* SPDX-License-Identifier: Apache-2.0 */
/* What machines that watch are told: the last status that the core published, as Prometheus's text
 * format and as yes or no for load balancers.
 *
 *     /metrics   Prometheus's text format 0.0.4; base units (seconds, bytes), counters end in
 *                _total, every line carries the member's name; histograms of how long commits,
 *                reads and the log's flushes took, whose buckets' bounds are within 0.8 %
 *     /livez     200 while the core turns: it published within metrics_live_ms
 *     /readyz    200 where this server can serve; with role=leader only where it leads, with
 *                role=follower only where it does not; with lag=N only where it has applied all but
 *                N entries of what it knows to be committed
 *
 * The core's thread publishes, about once a second; HTTP's thread answers. They share one lock,
 * held for the copying of a pointer. */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "proto/base/bytes.h"
#include "proto/strait.pb-c.h"
#include "server/net/http.h"

enum { metrics_live_ms = 5000 };

struct metrics;

/* NULL: no memory. */
struct metrics *metrics_open(void);
void metrics_close(struct metrics *metrics);

/* By the core's thread: what is answered from now on, a StatusReply's bytes, copied. `boot_ns` is
 * the time of it. Without memory for the copy the last one stays, and grows old. */
void metrics_publish(struct metrics *metrics, struct bytes status, uint64_t boot_ns);

/* What /metrics, /livez and /readyz answer at `boot_ns`: http_answer_fn's body, but for the clock.
 */
void metrics_answer(struct metrics *metrics, uint64_t boot_ns, const struct http_query *query,
                    struct http_reply *reply);

/* The parts of it, on a status alone. Text from malloc(), NULL without memory. */
char *metrics_text(const Strait__StatusReply *status, size_t *size);

/* NULL: ready; else why not, a static sentence. `role` and `lag` as in the address, or NULL. */
const char *metrics_unready(const Strait__StatusReply *status, const char *role, const char *lag);

#endif
