/* SPDX-License-Identifier: Apache-2.0 */
/* A doubly linked list whose links live in its members. The head is a link too, so that neither
 * insertion nor removal has a special case. Not thread-safe. */
#ifndef PROTO_BASE_LIST_H
#define PROTO_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_link {
    struct list_link *previous;
    struct list_link *next;
};

/* The struct of `type` whose field `member` is `link`. */
#define LIST_ENTRY(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

/* Walks from first to last; the body may remove `link` from the list. */
#define LIST_EACH(link, list)                                                                      \
    for (struct list_link *link = (list)->next, *link##_next = link->next; link != (list);         \
         link = link##_next, link##_next = link->next)

/* For a head: an empty list. For a member: in no list. */
static inline void list_init(struct list_link *link)
{
    link->previous = link;
    link->next = link;
}

static inline bool list_is_empty(const struct list_link *list)
{
    return list->next == list;
}

/* Whether a member that was initialised is in a list now. */
static inline bool list_is_linked(const struct list_link *member)
{
    return member->next != member;
}

static inline void list_insert_before(struct list_link *place, struct list_link *member)
{
    member->previous = place->previous;
    member->next = place;
    place->previous->next = member;
    place->previous = member;
}

static inline void list_push_last(struct list_link *list, struct list_link *member)
{
    list_insert_before(list, member);
}

static inline void list_push_first(struct list_link *list, struct list_link *member)
{
    list_insert_before(list->next, member);
}

/* Removes and initialises; removing what is in no list does nothing. */
static inline void list_remove(struct list_link *member)
{
    member->previous->next = member->next;
    member->next->previous = member->previous;
    list_init(member);
}

/* NULL where the list is empty. */
static inline struct list_link *list_first(const struct list_link *list)
{
    return list->next == list ? NULL : list->next;
}

static inline struct list_link *list_last(const struct list_link *list)
{
    return list->previous == list ? NULL : list->previous;
}

static inline struct list_link *list_pop_first(struct list_link *list)
{
    struct list_link *first = list_first(list);
    if (first != NULL)
        list_remove(first);
    return first;
}

#endif
