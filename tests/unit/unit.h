/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test stands on: Check, and a main that runs one case list.
 *
 * A test file defines its tests with START_TEST, and `void unit_tests(TCase *tests)`, which adds
 * them; unit.c holds the main. Tests run in one process, so that sanitizers see the whole run; a
 * test that expects an assertion to fire uses unit_assert_dies(). */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <check.h>
#include <stddef.h>

/* Check notes the place of every assertion that holds, in a file, for the case that the test dies.
 * Here tests run in this process and its report names the place of a death; an assertion in a loop
 * over bytes is not to cost a write. */
#define _mark_point(file, line) ((void)0)

/* Adds the file's tests. Each test file defines it. */
void unit_tests(TCase *tests);

/* Runs `body` in a child process and fails the test unless the child died of SIGABRT. */
void unit_assert_dies(void (*body)(void *), void *context);

/* Makes a fresh directory below $TMPDIR (or /tmp) that is removed when the process ends.
 * Returns a static string: copy it before the next call. */
const char *unit_directory(void);

#endif
