/* SPDX-License-Identifier: Apache-2.0 */
/* A view: a version, and the memtables and tables that hold all of it, kept until it is closed. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/lsm/lsm_internal.h"

enum status lsm_view_open(struct lsm *lsm, uint64_t version, struct lsm_view **view)
{
    *view = NULL;
    if (version < lsm->horizon)
        return STATUS_SNAPSHOT_TOO_OLD;
    unsigned count = lsm->sealed_count + (lsm->open != NULL);
    struct lsm_view *made = malloc(sizeof *made + count * sizeof(struct memory *));
    if (made == NULL)
        return STATUS_NO_MEMORY;
    *made = (struct lsm_view){.lsm = lsm};
    /* The newest is fixed here: what is published later is not seen. */
    made->version = version > lsm->mark.version ? lsm->mark.version : version;
    made->index = lsm->mark.index;
    made->set = version_set_hold(lsm->current);
    if (lsm->open != NULL)
        made->memories[made->memories_count++] = memory_hold(lsm->open);
    for (struct list_link *link = lsm->sealed.previous; link != &lsm->sealed; link = link->previous)
        made->memories[made->memories_count++] = memory_hold(LIST_ENTRY(link, struct memory, link));
    ASSERT(made->memories_count == count);
    lsm->views_count++;
    *view = made;
    return STATUS_OK;
}

void lsm_view_release(struct lsm_view *view)
{
    for (size_t i = 0; i < view->pins_count; i++)
        cache_unpin(view->pins[i]);
    view->pins_count = 0;
    changed_progress_free(view->progress);
    view->progress = NULL;
}

void lsm_view_close(struct lsm_view *view)
{
    if (view == NULL)
        return;
    struct lsm *lsm = view->lsm;
    ASSERT(view->iterators_count == 0 && lsm->views_count > 0);
    lsm_view_release(view);
    free(view->pins);
    for (unsigned i = 0; i < view->memories_count; i++)
        memory_release(view->memories[i]);
    version_set_release(view->set, &lsm->obsolete);
    lsm->views_count--;
    free(view);
    if (!list_is_empty(&lsm->obsolete) && !lsm->remove_running)
        lsm_work(lsm);
}

uint64_t lsm_view_version(const struct lsm_view *view)
{
    return view->version;
}
