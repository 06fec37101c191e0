/* SPDX-License-Identifier: Apache-2.0 */
#include "server/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/message.h"
#include "server/metrics.h"
#include "server/net/http.h"
#include "server/net/mailbox.h"
#include "server/net/request.h"

enum { ask_ms = 1000, status_arena_size = 256 * 1024 };

#define NS_PER_MS 1000000ULL

struct watch {
    struct io *io;
    struct core *core;
    struct metrics *metrics;
    struct http *http;
    struct io_timer timer;
    struct mailbox replies;
    struct session session;
    struct request request; /* one at a time */
    Strait__Status message;
    bool asked;
    bool stopped;
};

/* On HTTP's thread, which has no io: the same clock as the io's. */
static uint64_t boot_ns(void)
{
    struct timespec now = {0};
    int failed = clock_gettime(CLOCK_BOOTTIME, &now);
    ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void on_query(void *context, const struct http_query *query, struct http_reply *reply)
{
    metrics_answer(context, boot_ns(), query, reply);
}

static void ask(struct watch *watch)
{
    struct request *request = &watch->request;

    *request = (struct request){.session = &watch->session,
                                .type = FRAME_STATUS,
                                .received_ns = io_boot_ns(watch->io),
                                .replies = &watch->replies};
    list_init(&request->link);
    arena_init(&request->arena, 16 * 1024, status_arena_size);
    request->arena.allocations_max = limit_decode_allocations_count;
    strait__status__init(&watch->message);
    request->message = &watch->message.base;
    watch->asked = true;
    core_take(watch->core, request);
}

static void on_timer(struct io_timer *timer)
{
    struct watch *watch = timer->context;
    if (!watch->asked)
        ask(watch);
    io_timer_start(watch->io, timer, io_boot_ns(watch->io) + ask_ms * NS_PER_MS);
}

void watch_turn(struct watch *watch)
{
    if (watch == NULL)
        return;
    struct request *request = mailbox_take(&watch->replies);
    if (request == NULL)
        return;
    ASSERT(request == &watch->request && request->reply.size >= frame_header_size);
    if (request->status == STATUS_OK)
        metrics_publish(watch->metrics,
                        bytes_of(request->reply.data + frame_header_size,
                                 request->reply.size - frame_header_size),
                        io_boot_ns(watch->io));
    else
        log_warn("metrics_not_told", LOG_TEXT("reason", status_text(request->status)));
    arena_free(&request->arena);
    watch->asked = false;
}

enum status watch_open(const struct config *config, struct io *io, struct core *core,
                       struct watch **watch_out, struct error *error)
{
    *watch_out = NULL;
    if (config->http_port == 0)
        return STATUS_OK;
    struct watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return error_set(error, STATUS_NO_MEMORY, "Out of memory for HTTPS.");
    watch->io = io;
    watch->core = core;
    watch->session = (struct session){.id = UINT64_MAX, .role = ROLE_READER};
    snprintf(watch->session.identity, sizeof watch->session.identity, "https");
    watch->timer = (struct io_timer){.fired = on_timer, .context = watch};
    watch->metrics = metrics_open();
    enum status status = mailbox_open(&watch->replies, false, 1);
    if (status != STATUS_OK || watch->metrics == NULL) {
        metrics_close(watch->metrics);
        if (status == STATUS_OK)
            mailbox_close(&watch->replies);
        free(watch);
        return error_set(error, STATUS_NO_MEMORY, "Out of memory for HTTPS.");
    }
    const struct http_options options = {.host = config->http_host,
                                         .port = config->http_port,
                                         .certificate = config->tls_certificate,
                                         .key = config->tls_key,
                                         .answer = on_query,
                                         .context = watch->metrics};
    status = http_open(&options, &watch->http, error);
    if (status != STATUS_OK) {
        watch_close(watch);
        return status;
    }
    on_timer(&watch->timer);
    log_info("https_ready", LOG_TEXT("host", config->http_host),
             LOG_U64("port", config->http_port));
    *watch_out = watch;
    return STATUS_OK;
}

void watch_reload(struct watch *watch)
{
    struct error error = {0};
    if (watch != NULL && http_reload(watch->http, &error) != STATUS_OK)
        log_error("https_reload_failed", LOG_TEXT("text", error.text));
}

void watch_stop(struct watch *watch)
{
    if (watch == NULL || watch->stopped)
        return;
    watch->stopped = true;
    io_timer_stop(watch->io, &watch->timer);
}

/* The core has answered all requests, or is not turned any more. */
void watch_close(struct watch *watch)
{
    if (watch == NULL)
        return;
    watch_stop(watch);
    watch_turn(watch);
    http_close(watch->http);
    metrics_close(watch->metrics);
    mailbox_close(&watch->replies);
    free(watch);
}
