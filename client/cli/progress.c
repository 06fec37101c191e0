/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/progress.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { bar_size = 30, draw_ms = 100 };

uint64_t progress_now_ms(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void progress_begin(struct progress *progress, const struct cli *cli, const char *what,
                    const char *unit)
{
    *progress = (struct progress){.shown = !cli->quiet && !cli->json && isatty(STDERR_FILENO),
                                  .what = what,
                                  .unit = unit,
                                  .begun_ms = progress_now_ms()};
}

void progress_show(struct progress *progress, uint64_t done, uint64_t all)
{
    char bar[bar_size + 1];
    uint64_t now = progress_now_ms();

    if (!progress->shown || (now - progress->drawn_ms < draw_ms && done != all))
        return;
    progress->drawn_ms = now;
    size_t filled = all == 0 ? bar_size : (size_t)(done * bar_size / all);
    memset(bar, ' ', bar_size);
    memset(bar, '=', filled > bar_size ? bar_size : filled);
    bar[bar_size] = 0;
    fprintf(stderr, "\r%s [%s] %3" PRIu64 " %%", progress->what, bar,
            all == 0 ? 100 : done * 100 / all);
    if (progress->unit != NULL) {
        uint64_t elapsed = now - progress->begun_ms;
        fprintf(stderr, "  %" PRIu64 " of %" PRIu64 " %s, %" PRIu64 "/s  ", done, all,
                progress->unit, elapsed == 0 ? 0 : done * 1000 / elapsed);
    }
}

void progress_end(struct progress *progress)
{
    if (progress->shown)
        fprintf(stderr, "\r%79s\r", "");
}
