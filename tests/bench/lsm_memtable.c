/* SPDX-License-Identifier: Apache-2.0 */
/* What a memtable's put, look-up and step cost, by kind and by form of key:
 *
 *     bench_lsm_memtable [entries]        2,000,000 unless said
 *
 * Keys come in random order, 4 puts a published version, values of 64 bytes. The design counts on
 * about 240 ns a put at 2 M keys of kind bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "storage/lsm/memtable.h"

enum { batch_count = 4, value_size = 64, key_size_largest = 32 };

/* Of processor time: what else the machine does is left out. */
static double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

struct form {
    const char *name;
    enum lsm_kind kind;
    const char *start; /* what all keys begin with */
    bool ascending;
};

static struct bytes key_of(const struct form *form, uint64_t number, uint8_t to[key_size_largest])
{
    size_t start = strlen(form->start);
    memcpy(to, form->start, start);
    store_u64_be(to + start, form->ascending ? number : hash_u64(number));
    store_u64_be(to + start + 8, number);
    return bytes_of(to, start + 16);
}

static int order(const void *a, const void *b)
{
    return memcmp(a, b, key_size_largest);
}

static void run(const struct form *form, uint64_t count)
{
    struct lsm_tree_options tree = {.id = 1,
                                    .name = form->name,
                                    .kind = form->kind,
                                    .key_size = (uint32_t)strlen(form->start) + 16,
                                    .value_size = value_size};
    static uint8_t value[value_size];
    struct memtable *memtable;
    ASSERT(memtable_create(&tree, &memtable) == STATUS_OK);
    double start = now_ns();
    double slowest = 0;
    for (uint64_t i = 0; i < count; i += batch_count) {
        uint8_t keys[batch_count][key_size_largest] = {{0}};
        for (uint64_t k = 0; k < batch_count; k++)
            key_of(form, i + k, keys[k]);
        qsort(keys, batch_count, sizeof *keys, order);
        double before = now_ns();
        ASSERT(memtable_reserve(memtable, batch_count, batch_count * (tree.key_size + value_size)));
        for (int k = 0; k < batch_count; k++)
            memtable_put(memtable, &(struct lsm_entry){.key = bytes_of(keys[k], tree.key_size),
                                                       .version = i / batch_count + 1,
                                                       .value = bytes_of(value, value_size)});
        double took = now_ns() - before;
        slowest = took > slowest ? took : slowest;
    }
    double put_ns = (now_ns() - start) / (double)count;

    uint64_t gets_count = 500000;
    struct lsm_entry entry;
    start = now_ns();
    for (uint64_t i = 0; i < gets_count; i++) {
        uint8_t key[key_size_largest];
        bool found =
            memtable_get(memtable, key_of(form, hash_u64(i) % count, key), UINT64_MAX, &entry);
        ASSERT(found);
    }
    double get_ns = (now_ns() - start) / (double)gets_count;

    struct memtable_cursor cursor;
    memtable_cursor_init(&cursor, memtable);
    uint64_t seen = 0;
    start = now_ns();
    for (bool found = memtable_cursor_first(&cursor, &entry); found;
         found = memtable_cursor_next(&cursor, &entry))
        seen++;
    double step_ns = (now_ns() - start) / (double)seen;
    ASSERT(seen == count);
    printf("%-28s put %5.0f ns   publish at most %6.0f us   get %5.0f ns   step %4.0f ns   "
           "%5.0f bytes an entry\n",
           form->name, put_ns, slowest / 1000, get_ns, step_ns,
           (double)memtable_size(memtable) / (double)count);
    memtable_unref(memtable);
}

int main(int count, char **arguments)
{
    static const struct form forms[] = {
        {"bytes, random", LSM_BYTES, "", false},
        {"bytes, random, shared start", LSM_BYTES, "orders/by-day/", false},
        {"bytes, ascending", LSM_BYTES, "", true},
        {"fixed, random", LSM_FIXED, "", false},
        {"fixed, ascending", LSM_FIXED, "", true},
    };
    uint64_t entries = count > 1 ? strtoull(arguments[1], NULL, 10) : 2000000;
    entries = entries / batch_count * batch_count;
    if (entries == 0) {
        fprintf(stderr, "usage: bench_lsm_memtable [entries]\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        run(&forms[i], entries);
    return 0;
}
