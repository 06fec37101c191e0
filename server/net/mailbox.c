/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/mailbox.h"

#include "proto/base/assert.h"

enum status mailbox_open(struct mailbox *mailbox, bool is_shared, uint64_t capacity)
{
    *mailbox = (struct mailbox){.is_shared = is_shared};
    list_init(&mailbox->list);
    return is_shared ? ring_open(&mailbox->ring, capacity) : STATUS_OK;
}

/* That the bell rang is all there is to tell: the taker's turn has begun. */
static void mailbox_rung(struct io_bell *bell)
{
    (void)bell;
}

enum status mailbox_attach(struct mailbox *mailbox, struct io *taker_io)
{
    ASSERT(mailbox->taker_io == NULL);
    if (!mailbox->is_shared)
        return STATUS_OK;
    mailbox->bell = (struct io_bell){.rung = mailbox_rung, .context = mailbox};
    enum status status = io_bell_open(taker_io, &mailbox->bell);
    if (status == STATUS_OK)
        mailbox->taker_io = taker_io;
    return status;
}

void mailbox_detach(struct mailbox *mailbox)
{
    if (mailbox->taker_io == NULL)
        return;
    io_bell_close(mailbox->taker_io, &mailbox->bell);
    mailbox->taker_io = NULL;
}

void mailbox_close(struct mailbox *mailbox)
{
    ASSERT(mailbox->taker_io == NULL);
    ASSERT(list_is_empty(&mailbox->list));
    if (!mailbox->is_shared)
        return;
    ASSERT(ring_is_empty(&mailbox->ring));
    ring_close(&mailbox->ring);
}

void mailbox_post(struct mailbox *mailbox, struct request *request)
{
    if (!mailbox->is_shared) {
        list_push_last(&mailbox->list, &request->link);
        return;
    }
    /* The net loop's bound on requests keeps the ring from ever being full. */
    bool has_room = ring_push(&mailbox->ring, request);
    ASSERT(has_room);
    mailbox->posted = true;
}

/* The taker says that it waits, then looks once more; this side posts, then looks whether the taker
 * waits. Both do so in one total order (seq_cst), so at least one of them sees the other. */
void mailbox_flush(struct mailbox *mailbox)
{
    if (!mailbox->posted)
        return;
    mailbox->posted = false;
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_exchange(&mailbox->taker_waits, false))
        io_bell_ring(mailbox->taker_io, &mailbox->bell);
}

struct request *mailbox_take(struct mailbox *mailbox)
{
    if (mailbox->is_shared)
        return ring_pop(&mailbox->ring);
    struct list_link *first = list_pop_first(&mailbox->list);
    return first != NULL ? LIST_ENTRY(first, struct request, link) : NULL;
}

bool mailbox_may_wait(struct mailbox *mailbox)
{
    if (!mailbox->is_shared)
        return list_is_empty(&mailbox->list);
    atomic_store(&mailbox->taker_waits, true);
    atomic_thread_fence(memory_order_seq_cst);
    if (ring_is_empty(&mailbox->ring))
        return true;
    atomic_store(&mailbox->taker_waits, false);
    return false;
}
