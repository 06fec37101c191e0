/* SPDX-License-Identifier: Apache-2.0 */
/* The one list of status codes.
 *
 * A fallible function returns `enum status`, marked MUST_CHECK, and gives its results through
 * out-parameters, which it zeroes on entry. The numbers are part of the wire format and of the
 * outcomes on disk: a number is never used again for something else. */
#ifndef PROTO_BASE_STATUS_H
#define PROTO_BASE_STATUS_H

#include <stdbool.h>

#define MUST_CHECK __attribute__((warn_unused_result))

/* X(name, number, text for people) */
#define STATUS_LIST(X)                                                                             \
    X(OK, 0, "done")                                                                               \
    /* Never leaves the process: what was asked for is being read; ask again when told. */         \
    X(AGAIN, 1, "not in memory yet")                                                               \
    /* The end of a scan or of a file; never leaves the process. */                                \
    X(END, 2, "no more")                                                                           \
    /* Refusals by the state: the same request may succeed at another time. */                     \
    X(NOT_FOUND, 10, "not found")                                                                  \
    X(ALREADY_EXISTS, 11, "exists already")                                                        \
    X(CONFLICT, 12, "something read has changed since the snapshot")                               \
    X(CONDITION_FAILED, 13, "a condition does not hold")                                           \
    X(OUT_OF_BOUNDS, 14, "the result would leave its bounds")                                      \
    X(UNIQUE_VIOLATION, 15, "another record has this key in a unique index")                       \
    X(SNAPSHOT_TOO_OLD, 16, "the snapshot is older than what is kept")                             \
    X(HISTORY_LOST, 17, "the position lies past the end of its epoch")                             \
    X(TXN_EXPIRED, 18, "first sent too long ago to be run safely")                                 \
    X(TXN_MISMATCH, 19, "this transaction id was used with other content")                         \
    X(NOT_A_NUMBER, 20, "the record's value is not a 64-bit integer")                              \
    X(NO_TABLE, 21, "no such table")                                                               \
    X(NO_INDEX, 22, "no such index")                                                               \
    X(NOT_PRIMARY, 23, "not the primary")                                                          \
    X(CANCELLED, 24, "cancelled")                                                                  \
    X(NO_SNAPSHOT, 25, "no such snapshot: it expired or was cancelled")                            \
    X(NOT_LEADER, 26, "not the leader of its region")                                              \
    /* Refusals of the request itself: it will never succeed as it is. */                          \
    X(INVALID_ARGUMENT, 40, "invalid argument")                                                    \
    X(MALFORMED, 41, "malformed")                                                                  \
    X(TOO_LARGE, 42, "too large")                                                                  \
    X(UNSUPPORTED, 43, "not supported by this version")                                            \
    X(UNAUTHENTICATED, 44, "not authenticated")                                                    \
    X(PERMISSION_DENIED, 45, "the role does not permit this")                                      \
    /* The server cannot now. */                                                                   \
    X(BUSY, 60, "too busy: try again later")                                                       \
    X(DISK_FULL, 61, "the disk is full")                                                           \
    X(NO_MEMORY, 62, "out of memory")                                                              \
    X(SHUTTING_DOWN, 63, "shutting down")                                                          \
    X(DEADLINE_EXCEEDED, 64, "the deadline has passed")                                            \
    X(UNREACHABLE, 65, "no server could be reached")                                               \
    X(OUTCOME_UNKNOWN, 66, "the outcome is not known")                                             \
    X(DISCONNECTED, 67, "the connection ended")                                                    \
    /* Trouble with the machine, the disk or the keys. */                                          \
    X(IO_ERROR, 80, "the disk reported an error")                                                  \
    X(CORRUPT, 81, "the data is corrupt")                                                          \
    X(KEY_WRONG, 82, "the key does not open this")                                                 \
    X(KEY_MISSING, 83, "the key is missing")                                                       \
    X(LOCKED, 84, "in use by another process")                                                     \
    X(NEWER_FORMAT, 85, "written by a newer version")                                              \
    X(FORBIDDEN, 86, "forbidden by the system")                                                    \
    X(INTERNAL, 99, "internal error")

enum status {
#define STATUS_ENUM(name, number, text) STATUS_##name = number,
    STATUS_LIST(STATUS_ENUM)
#undef STATUS_ENUM
};

/* "CONFLICT"; "UNKNOWN" for a number that is not of the list. Static. */
const char *status_name(enum status status);

/* One phrase for people, without a full stop. Static. */
const char *status_text(enum status status);

/* Whether `number`, from outside, is a status of the list. */
bool status_is_known(int number);

#endif
