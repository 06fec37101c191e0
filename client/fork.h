/* SPDX-License-Identifier: Apache-2.0 */
/* Tells a child after fork() from its parent. */
#ifndef CLIENT_FORK_H
#define CLIENT_FORK_H

/* How many fork()s lie between the first process that asked and this one: a child's number differs
 * from that which its parent read before. Any thread. */
unsigned fork_generation(void);

#endif
