/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/seal/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "tests/unit/unit.h"

/* The address and thread sanitizers make mlock() a no-op that reports success. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool locks_are_real = false;
#else
static const bool locks_are_real = true;
#endif

/* Whether the kernel's account of the mapping at `address` has this flag: "lo" locked, "dd" left
 * out of core dumps. */
static bool mapping_has(const void *address, const char *flag)
{
    char line[512];
    bool is_inside = false, has = false;
    FILE *maps = fopen("/proc/self/smaps", "r");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps) != NULL) {
        uintptr_t begin = 0, end = 0;
        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
            is_inside = (uintptr_t)address >= begin && (uintptr_t)address < end;
        if (is_inside && strncmp(line, "VmFlags:", 8) == 0)
            has = strstr(line, flag) != NULL;
    }
    fclose(maps);
    return has;
}

START_TEST(test_memory_is_locked_and_not_dumped)
{
    struct secret secret;
    ck_assert(secret_allocate(&secret, 100));
    ck_assert_uint_ge(secret.size, 100);
    for (size_t i = 0; i < secret.size; i++)
        ck_assert_uint_eq(secret.data[i], 0);
    memset(secret.data, 7, secret.size);
    ck_assert(mapping_has(secret.data, " dd"));
    if (secret.locked && locks_are_real)
        ck_assert(mapping_has(secret.data, " lo"));
    secret_free(&secret);
    ck_assert_ptr_null(secret.data);
    secret_free(&secret);
}
END_TEST

/* Where the limit forbids locking, memory is given all the same, and the caller is told. Run in a
 * child: the limit stays. Privileged processes have no limit. */
static void allocate_beyond_limit(void *context)
{
    const struct rlimit none = {0, 0};
    struct secret secret;
    (void)context;
    if (setrlimit(RLIMIT_MEMLOCK, &none) == 0 && secret_allocate(&secret, 100) &&
        secret.data != NULL &&
        (!secret.locked || !locks_are_real || mapping_has(secret.data, " lo")))
        abort();
}

START_TEST(test_refused_lock_is_told)
{
    unit_assert_dies(allocate_beyond_limit, NULL);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_memory_is_locked_and_not_dumped);
    tcase_add_test(tests, test_refused_lock_is_told);
}
