/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/seal/cipher.h"

#include <stdio.h>

#include "tests/unit/unit.h"

static void from_hex(const char *hex, uint8_t *to)
{
    for (size_t i = 0; hex[2 * i] != '\0'; i++) {
        unsigned value = 0;
        ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &value), 1);
        to[i] = (uint8_t)value;
    }
}

/* Test case 16 of "The Galois/Counter Mode of Operation" (McGrew and Viega), appendix B: it holds
 * us to the algorithm itself, so that a file sealed today opens with any later OpenSSL. */
START_TEST(test_published_vector)
{
    uint8_t key[cipher_key_size], nonce[cipher_nonce_size], tag[cipher_tag_size];
    uint8_t plain[60], sealed[60], expected[60], also[20], opened[60];
    uint8_t expected_tag[cipher_tag_size];
    struct cipher cipher;
    from_hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", key);
    from_hex("cafebabefacedbaddecaf888", nonce);
    from_hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
             "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
             plain);
    from_hex("feedfacedeadbeeffeedfacedeadbeefabaddad2", also);
    from_hex("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
             "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
             expected);
    from_hex("76fc6ece0f4e1768cddf8853bb2d551b", expected_tag);
    ck_assert_int_eq(cipher_init(&cipher, key), STATUS_OK);
    for (size_t split = 0; split <= sizeof also; split += 5) {
        struct bytes first = bytes_of(also, split);
        struct bytes second = bytes_of(also + split, sizeof also - split);
        cipher_seal(&cipher, nonce, first, second, bytes_of(plain, sizeof plain), sealed, tag);
        ck_assert_mem_eq(sealed, expected, sizeof sealed);
        ck_assert_mem_eq(tag, expected_tag, sizeof tag);
        ck_assert_int_eq(cipher_open(&cipher, nonce, second, first, bytes_of(sealed, sizeof sealed),
                                     tag, opened),
                         split == 0 || split == sizeof also ? STATUS_OK : STATUS_CORRUPT);
    }
    cipher_free(&cipher);
}
END_TEST

START_TEST(test_nothing_to_seal_is_authenticated)
{
    const uint8_t key[cipher_key_size] = {1};
    const uint8_t nonce[cipher_nonce_size] = {2};
    const struct bytes none = {0};
    uint8_t tag[cipher_tag_size];
    struct cipher cipher;
    ck_assert_int_eq(cipher_init(&cipher, key), STATUS_OK);
    cipher_seal(&cipher, nonce, none, none, none, NULL, tag);
    ck_assert_int_eq(cipher_open(&cipher, nonce, none, none, none, tag, NULL), STATUS_OK);
    tag[0] ^= 1;
    ck_assert_int_eq(cipher_open(&cipher, nonce, none, none, none, tag, NULL), STATUS_CORRUPT);
    cipher_free(&cipher);
}
END_TEST

START_TEST(test_key_check_tells_keys_apart)
{
    uint8_t key[cipher_key_size] = {1};
    uint8_t check[cipher_key_check_size], again[cipher_key_check_size];
    ck_assert_int_eq(cipher_key_check(key, check), STATUS_OK);
    ck_assert_int_eq(cipher_key_check(key, again), STATUS_OK);
    ck_assert_mem_eq(check, again, sizeof check);
    for (size_t bit = 0; bit < sizeof key * 8; bit++) {
        key[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert_int_eq(cipher_key_check(key, again), STATUS_OK);
        ck_assert_mem_ne(check, again, sizeof check);
        key[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
END_TEST

START_TEST(test_draws_differ)
{
    uint8_t first[32], second[32];
    ck_assert_int_eq(cipher_draw(first, sizeof first), STATUS_OK);
    ck_assert_int_eq(cipher_draw(second, sizeof second), STATUS_OK);
    ck_assert_mem_ne(first, second, sizeof first);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_published_vector);
    tcase_add_test(tests, test_nothing_to_seal_is_authenticated);
    tcase_add_test(tests, test_key_check_tells_keys_apart);
    tcase_add_test(tests, test_draws_differ);
}
