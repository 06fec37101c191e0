/* SPDX-License-Identifier: Apache-2.0 */
/* Assertions on what must be true. They stay on in release builds: a server that has lost its
 * footing stops before it writes. Never on input from outside: that gets a status. */
#ifndef PROTO_BASE_ASSERT_H
#define PROTO_BASE_ASSERT_H

/* Prints one log line with the place and the expression, and aborts. */
_Noreturn void assert_fail(const char *file, int line, const char *expression);

#define ASSERT(expression)                                                                         \
    (__builtin_expect(!!(expression), 1) ? (void)0 : assert_fail(__FILE__, __LINE__, #expression))

/* For checks too costly for every build: on where faults or sanitizers are. */
#if defined(STRAIT_FAULTS)
#define DCHECK(expression) ASSERT(expression)
#else
#define DCHECK(expression) ((void)sizeof(!!(expression)))
#endif

/* A place that no execution reaches. */
#define UNREACHABLE() assert_fail(__FILE__, __LINE__, "unreachable")

#endif
