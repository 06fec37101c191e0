/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/cluster_version.h"

#include "tests/unit/unit.h"

START_TEST(test_a_version_is_read_as_it_was_written)
{
    const uint32_t versions[] = {1, 2, 255, 256, UINT32_MAX};
    uint8_t bytes[cluster_version_size];
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        uint32_t read;
        cluster_version_encode(versions[i], bytes);
        ck_assert_int_eq(cluster_version_decode(bytes_of(bytes, sizeof bytes), &read), STATUS_OK);
        ck_assert_uint_eq(read, versions[i]);
    }
}
END_TEST

START_TEST(test_other_bytes_are_refused)
{
    uint8_t bytes[cluster_version_size + 1] = {0};
    uint32_t read = 7;

    cluster_version_encode(3, bytes);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        if (size == cluster_version_size)
            continue;
        ck_assert_int_eq(cluster_version_decode(bytes_of(bytes, size), &read), STATUS_MALFORMED);
        ck_assert_uint_eq(read, 0);
    }
    for (size_t i = 1; i < 4; i++) {
        bytes[i] = 1;
        ck_assert_int_eq(cluster_version_decode(bytes_of(bytes, cluster_version_size), &read),
                         STATUS_MALFORMED);
        bytes[i] = 0;
    }
    bytes[4] = 0; /* version 0 */
    ck_assert_int_eq(cluster_version_decode(bytes_of(bytes, cluster_version_size), &read),
                     STATUS_MALFORMED);
    bytes[0] = 2; /* a later format, of any size */
    ck_assert_int_eq(cluster_version_decode(bytes_of(bytes, 1), &read), STATUS_UNSUPPORTED);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_a_version_is_read_as_it_was_written);
    tcase_add_test(tests, test_other_bytes_are_refused);
}
