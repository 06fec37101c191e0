/* SPDX-License-Identifier: Apache-2.0 */
/* libstrait: the C client of Strait, a transactional datastore.
 *
 *     strait_options *options = strait_options_new();
 *     strait *db = NULL;
 *     struct strait_error error;
 *     if (strait_options_load_default(options, &error) != STRAIT_OK ||
 *         strait_open(options, &db, &error) != STRAIT_OK)
 *         fail(strait_error_text(&error));
 *     strait_options_free(options);
 *
 *     strait_txn *txn = strait_txn_new();
 *     strait_txn_put(txn, "users", strait_text("u1"), strait_text("Ada"), NULL);
 *     if (strait_commit(db, txn, 0, NULL, &error) != STRAIT_OK)
 *         fail(strait_error_text(&error));
 *     strait_txn_free(txn);
 *
 *     struct strait_records *found;
 *     if (strait_get(db, NULL, "users", strait_text("u1"), 0, &found, &error) == STRAIT_OK)
 *         use(found->items[0].value);
 *     strait_free(found);
 *     strait_close(db);
 *
 * Conventions, said once here and held by every function below:
 *
 *  1. Results. What can fail returns `enum strait_status`; STRAIT_OK is 0. The numbers are those of
 *     the wire and never change their meaning. Where a function takes a `struct strait_error *`, it
 *     may be NULL; else it is filled on failure and cleared on success.
 *  2. Threads. A `strait` handle may be used by any number of threads at once, and one handle per
 *     process is enough: all its requests share one connection, and concurrent ones share writes.
 *     Any other object (options, transaction, scan, snapshot, result) belongs to one thread at a
 *     time.
 *  3. Memory. Arguments are copied before a function returns; the caller keeps what is its own.
 *     Where a function gives out a pointer to a `struct strait_...`, the caller owns it and passes
 *     it to strait_free(), which frees all that it points to. Opaque objects have a function of
 *     their own that ends them. All of these take NULL. An out-parameter is set to NULL, or zeroed,
 *     where the call fails. NULL from a `..._new` means out of memory.
 *  4. Bytes. Keys and values are bytes, not text, and may hold zeros. Bytes given out are followed
 *     by a zero byte that is not counted, so that a text can be used as one. Names of tables and
 *     indexes are texts: [a-z][a-z0-9_-]*, at most 64 bytes. Keys are at most 1 KiB and not empty,
 *     values at most 1 MiB; a transaction at most 4 MiB and 10,000 operations.
 *  5. Deadlines. Every call that talks to a server takes `timeout_ms`, counted from the call; 0
 *     stands for the handle's own (strait_options_set_timeout_ms; 10 s at first). Within it the
 *     library connects, reconnects, tries the other endpoints, and repeats what is safe to repeat,
 *     waiting longer from try to try. A reading call past its deadline answers
 *     STRAIT_DEADLINE_EXCEEDED, or STRAIT_UNREACHABLE where no server was reached at all.
 *  6. Commits run at most once. Every commit carries an id; the library repeats it under that id on
 *     any connection, and the server tells an outcome that is there already. STRAIT_OK: done, and
 *     on stable storage. STRAIT_OUTCOME_UNKNOWN: the deadline passed after the commit may have
 *     reached a server; it may have run, or may yet run. `error.txn` then holds the token with
 *     which strait_txn_status() (or `strait txn status TOKEN`) tells the outcome, and calling
 *     strait_commit() again with the same transaction object is safe and finds it too. Any other
 *     status: nothing of it was done, nor ever will be.
 *  7. Blocking. A synchronous call drives the connection on the caller's own thread. The library
 *     starts one thread of its own per handle at the first asynchronous use, and none otherwise;
 *     nor does it where strait_options_set_loop() says that the application's own loop drives.
 *  8. Signals and processes. The library never raises SIGPIPE, installs no signal handler and
 *     blocks all signals in its thread. After fork() a handle works on in the parent; in the child
 *     each call on it answers STRAIT_UNSUPPORTED, and strait_close() only closes descriptors. Open
 *     a handle of the child's own. A handle must not be used by two threads while fork() runs in a
 *     program that goes on to use it in the child.
 *  9. Order. A call that begins after another one returned sees its effects, from any client:
 *     commits and reads at the newest state are strictly serializable.
 * 10. Versions of this interface. Structures that the library gives out may grow at their end
 *     within one soname; those that the caller passes in do not.
 */
#ifndef STRAIT_H
#define STRAIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(STRAIT_BUILD)
#define STRAIT_API __attribute__((visibility("default")))
#else
#define STRAIT_API
#endif

/* ---- Status codes and errors ---- */

enum strait_status {
    STRAIT_OK = 0,
    STRAIT_END = 2, /* of a scan: no more records */

    /* The state refused: the same may succeed at another time. */
    STRAIT_NOT_FOUND = 10,
    STRAIT_ALREADY_EXISTS = 11,
    STRAIT_CONFLICT = 12,         /* something read has changed: run the transaction again */
    STRAIT_CONDITION_FAILED = 13, /* error.item says which */
    STRAIT_OUT_OF_BOUNDS = 14,    /* an add would leave its bounds; error.item says which */
    STRAIT_UNIQUE_VIOLATION = 15,
    STRAIT_SNAPSHOT_TOO_OLD = 16,
    STRAIT_HISTORY_LOST = 17, /* what was read was given up when another region took over */
    STRAIT_TXN_EXPIRED = 18,  /* first sent too long ago; it has not run under this attempt */
    STRAIT_TXN_MISMATCH = 19, /* the id was used before, with other content */
    STRAIT_NOT_A_NUMBER = 20,
    STRAIT_NO_TABLE = 21,
    STRAIT_NO_INDEX = 22,
    STRAIT_NOT_PRIMARY = 23, /* its region is a standby: the library looks for the primary by
                              * itself, and answers this where it found none before the deadline */
    STRAIT_CANCELLED = 24,
    STRAIT_NO_SNAPSHOT = 25, /* it expired, was ended or cancelled */
    STRAIT_NOT_LEADER = 26,  /* of its region: the library looks for the leader by itself, and
                              * answers UNREACHABLE where there is none before the deadline */

    /* The request can never succeed as it is. */
    STRAIT_INVALID_ARGUMENT = 40,
    STRAIT_MALFORMED = 41,
    STRAIT_TOO_LARGE = 42,
    STRAIT_UNSUPPORTED = 43,
    STRAIT_UNAUTHENTICATED = 44,
    STRAIT_PERMISSION_DENIED = 45,

    /* Not now. */
    STRAIT_BUSY = 60, /* refused before anything was done; error.retry_after_ms */
    STRAIT_DISK_FULL = 61,
    STRAIT_NO_MEMORY = 62,
    STRAIT_SHUTTING_DOWN = 63,
    STRAIT_DEADLINE_EXCEEDED = 64,
    STRAIT_UNREACHABLE = 65,
    STRAIT_OUTCOME_UNKNOWN = 66, /* of a commit: it may have run, or may yet; convention 6 */
    STRAIT_DISCONNECTED = 67,

    /* Trouble with a machine, a disk or keys. */
    STRAIT_IO_ERROR = 80,
    STRAIT_CORRUPT = 81,
    STRAIT_KEY_WRONG = 82,
    STRAIT_KEY_MISSING = 83,
    STRAIT_LOCKED = 84,
    STRAIT_NEWER_FORMAT = 85,
    STRAIT_FORBIDDEN = 86,
    STRAIT_INTERNAL = 99
};

enum {
    STRAIT_TXN_ID_SIZE = 16,
    STRAIT_TXN_TOKEN_SIZE = 50, /* 32 hex digits, "-", 16 hex digits, and the zero byte */
    STRAIT_ERROR_TEXT_SIZE = 512,
    STRAIT_REGION_NAME_SIZE_MAX = 65, /* with the zero byte */
    STRAIT_GET_KEYS_MAX = 1000        /* keys of one strait_get_many */
};

/* The caller's own; filled by the call that fails. */
struct strait_error {
    enum strait_status status;
    uint32_t retry_after_ms; /* with BUSY: when to come again */
    uint32_t item;           /* of a refused commit: 1 + the number of the condition or operation
                              * at fault, in the order they were added; 0: none in particular */
    bool item_is_condition;
    uint64_t version;                /* of a commit that the state refused: the version at which */
    char txn[STRAIT_TXN_TOKEN_SIZE]; /* of a commit: its token; else "" */
    char text[STRAIT_ERROR_TEXT_SIZE]; /* sentences for people: what happened, on what */
};

/* "CONFLICT"; "UNKNOWN" for a number that is none. Static. */
STRAIT_API const char *strait_status_name(enum strait_status status);

/* One phrase, without a full stop. Static. */
STRAIT_API const char *strait_status_text(enum strait_status status);

/* The error's text, or its status's phrase where it has none. Lives as long as `error`. */
STRAIT_API const char *strait_error_text(const struct strait_error *error);

/* "0.1.0". Static. */
STRAIT_API const char *strait_version(void);

/* ---- Bytes ---- */

/* A view: whoever made `data` owns it. `data` may be NULL where `size` is 0. */
struct strait_bytes {
    const void *data;
    size_t size;
};

static inline struct strait_bytes strait_bytes(const void *data, size_t size)
{
    struct strait_bytes bytes = {data, size};
    return bytes;
}

static inline struct strait_bytes strait_text(const char *text)
{
    return strait_bytes(text, strlen(text));
}

/* Frees what convention 3 says is the caller's. NULL is taken. */
STRAIT_API void strait_free(void *result);

/* ---- Options ---- */

typedef struct strait_options strait_options;

/* No endpoint, no files, 10 s. */
STRAIT_API strait_options *strait_options_new(void);
STRAIT_API void strait_options_free(strait_options *options);

/* "HOST:PORT[,HOST:PORT...]"; an IPv6 address stands in brackets: "[::1]:7411". They are members of
 * one cluster, tried in this order, from the one that worked last. At most 16. Where one names
 * another as the leader of their region, the library goes there, also if it is not among these; its
 * certificate has to hold that host's name. So it does where a standby region names the primary's
 * servers, for commits and for reads at the newest state: the handle then stays there, with all its
 * calls, and comes back to these where none of those answers. For reads near a standby that should
 * stay there, open a handle of its own. Endpoints of both regions are best given to an application
 * that has to find the next primary after the loss of either. */
STRAIT_API enum strait_status strait_options_set_endpoints(strait_options *options,
                                                           const char *endpoints);

/* PEM files: whose certificates to trust; one's own certificate with its chain; its key. All three
 * are needed. The files are read by strait_open(). */
STRAIT_API enum strait_status strait_options_set_ca_file(strait_options *options, const char *path);
STRAIT_API enum strait_status strait_options_set_certificate_file(strait_options *options,
                                                                  const char *path);
STRAIT_API enum strait_status strait_options_set_key_file(strait_options *options,
                                                          const char *path);

/* The name or IP address that a server's certificate must hold, in place of its endpoint's host. */
STRAIT_API enum strait_status strait_options_set_server_name(strait_options *options,
                                                             const char *name);

/* The deadline of calls that give none. 1 to 3,600,000. */
STRAIT_API enum strait_status strait_options_set_timeout_ms(strait_options *options,
                                                            uint32_t timeout_ms);

/* With true, the application's own event loop drives the handle, and no thread is started: for many
 * handles on one thread. strait_poll_fd() then becomes readable when the handle has something to
 * do: its socket is ready, a time of its own has come (a deadline, the end of a pause), or
 * completions wait; now and then for nothing. strait_dispatch() does it, and runs completions.
 * Between calls of strait_dispatch() nothing happens on the handle, so call it whenever the
 * descriptor is readable, and once after beginning calls, so that they are sent: all in one write
 * (what a completion begins is sent by the strait_dispatch() that ran it). Synchronous calls work
 * as ever, on their own threads; while one runs, it drives for all. */
STRAIT_API void strait_options_set_loop(strait_options *options, bool loop);

/* What the server's log and `strait txn list` call this program: "shop/3.1". At most 128 bytes. */
STRAIT_API enum strait_status strait_options_set_client_name(strait_options *options,
                                                             const char *name);

/* Reads a profile: a text of lines `name = value`; `#` begins a comment line. Names: `endpoint` (as
 * above), `ca`, `certificate`, `key` (paths, relative ones from the folder of the file, links
 * followed), and
 * `server_name`, `timeout_ms`, `client_name`. Each at most once; an unknown one is an error that
 * names the line. What the profile does not say stays as it was. `path` may be a folder: then the
 * file is PATH/profile, or else PATH/client/profile, where `straitd --dev --data PATH` writes it.
 */
STRAIT_API enum strait_status strait_options_load_profile(strait_options *options, const char *path,
                                                          struct strait_error *error);

/* What programs should do unless told otherwise: loads the profile that STRAIT_PROFILE names, or
 * else ~/.config/strait/profile; then takes the endpoints of STRAIT_ENDPOINT where that is set. */
STRAIT_API enum strait_status strait_options_load_default(strait_options *options,
                                                          struct strait_error *error);

/* ---- The handle ---- */

typedef struct strait strait;

/* Checks the options and reads the files (KEY_MISSING, KEY_WRONG, INVALID_ARGUMENT); connects to
 * nothing: the first call does, so an application may start before its server. `options` may be
 * freed afterwards. */
STRAIT_API enum strait_status strait_open(const strait_options *options, strait **handle,
                                          struct strait_error *error);

/* Ends the connection. No other call on the handle, nor on a transaction, scan or snapshot of it,
 * may be running or come later; those objects must have been ended before. Asynchronous calls that
 * are still on their way complete with CANCELLED (OUTCOME_UNKNOWN for a commit that was sent)
 * before this returns, on the caller's thread. */
STRAIT_API void strait_close(strait *handle);

/* Who answered, and as whom it knows this client. */
struct strait_session {
    const char *server_version;
    const char *endpoint;           /* "HOST:PORT" */
    const char *identity;           /* what the client's certificate names */
    const char *role;               /* "reader", "writer" or "admin" */
    struct strait_bytes cluster_id; /* 16 bytes */
    uint64_t version;
};

/* One round trip. `session` may be NULL. */
STRAIT_API enum strait_status strait_ping(strait *handle, uint32_t timeout_ms,
                                          struct strait_session **session,
                                          struct strait_error *error);

/* ---- Records, as they are read ---- */

struct strait_index_entry {
    const char *index;
    struct strait_bytes key;
};

struct strait_record {
    bool found; /* false: only `key` is set */
    struct strait_bytes key;
    struct strait_bytes value;
    uint64_t version;       /* of the transaction that wrote it; 0: this transaction's own write */
    uint64_t expires_at_ms; /* Unix time by the log's clock; 0: never */
    const struct strait_index_entry *indexes;
    size_t indexes_count;
    struct strait_bytes index_key; /* of a scan of an index: where it stands there */
};

/* A point of the history that all members share: of a commit or of a read. A read at least at it
 * sees what that one saw or did, on any member, through any handle of any process. */
struct strait_token {
    uint64_t epoch_number;
    uint64_t version;
    uint32_t epoch_region;
};

/* One result of reads; freed with strait_free(). */
struct strait_records {
    uint64_t version; /* the state they were read at */
    size_t count;
    const struct strait_record *items;
    bool more;                  /* of a page: there is another one after it */
    struct strait_bytes resume; /* of a page with `more`: what asks for the next; opaque */
    struct strait_token token;  /* the same state as `version` */
};

struct strait_key {
    const char *table;
    struct strait_bytes key;
};

/* [start, end) of a table's keys, or with `index` of that index's keys. An empty end is without
 * end. */
struct strait_range {
    const char *table;
    const char *index; /* NULL: the table's own order */
    struct strait_bytes start;
    struct strait_bytes end;
};

/* ---- Snapshots ---- */

typedef struct strait_snapshot strait_snapshot;

/* Pins the newest version: all reads with it see that state. A server lets go of it after 60 s
 * unless it is renewed; reads with it, and scans, renew it when half of that has passed. */
STRAIT_API enum strait_status strait_snapshot_begin(strait *handle, uint32_t timeout_ms,
                                                    strait_snapshot **snapshot,
                                                    struct strait_error *error);
STRAIT_API uint64_t strait_snapshot_version(const strait_snapshot *snapshot);

/* Its number in `strait txn list`. */
STRAIT_API uint64_t strait_snapshot_id(const strait_snapshot *snapshot);

/* Begins its time anew. NO_SNAPSHOT where that was over. */
STRAIT_API enum strait_status strait_snapshot_renew(strait_snapshot *snapshot, uint32_t timeout_ms,
                                                    struct strait_error *error);

/* Tells the server without waiting for its answer, and frees the object. */
STRAIT_API void strait_snapshot_end(strait_snapshot *snapshot);

/* ---- Reads ---- */

/* One record: `(*records)->items[0]`. NOT_FOUND, without a result, where there is none. `snapshot`
 * NULL: the newest state. */
STRAIT_API enum strait_status strait_get(strait *handle, strait_snapshot *snapshot,
                                         const char *table, struct strait_bytes key,
                                         uint32_t timeout_ms, struct strait_records **records,
                                         struct strait_error *error);

/* `items` has one record for each key, in their order, of one version of the state; those that are
 * not there have `found` false. At most STRAIT_GET_KEYS_MAX keys. */
STRAIT_API enum strait_status strait_get_many(strait *handle, strait_snapshot *snapshot,
                                              const struct strait_key *keys, size_t keys_count,
                                              uint32_t timeout_ms, struct strait_records **records,
                                              struct strait_error *error);

/* How new the state must be that a read without a snapshot sees. */
enum strait_consistency {
    STRAIT_LINEARIZABLE = 0,  /* all that was done before the read; the region's leader answers */
    STRAIT_BOUNDED_STALE = 1, /* all that was done `max_staleness_ms` before the read */
    STRAIT_AT_LEAST = 2       /* all up to `token` */
};

/* Any member answers the latter two: a handle that is used for nothing else stays with the first
 * endpoint that it reaches, so give it those of the members that are near. A member that is not so
 * new, nor within about a second, says so, and the library goes to the leader. NULL stands for all
 * zero. */
struct strait_read_options {
    enum strait_consistency consistency;
    uint32_t max_staleness_ms;
    struct strait_token token;
};

/* As strait_get_many() without a snapshot. */
STRAIT_API enum strait_status strait_get_with(strait *handle,
                                              const struct strait_read_options *options,
                                              const struct strait_key *keys, size_t keys_count,
                                              uint32_t timeout_ms, struct strait_records **records,
                                              struct strait_error *error);

/* NULL stands for all zero. */
struct strait_scan_options {
    bool reverse;              /* from the end */
    bool keys_only;            /* without values and index entries */
    bool newest;               /* without a snapshot: see strait_scan() */
    uint32_t page_records;     /* records asked for at a time, at most 10,000; 0: as many as one
                                * reply holds */
    uint64_t records_max;      /* of the whole scan; 0: no bound */
    strait_snapshot *snapshot; /* to read at; NULL: the scan's own */
};

typedef struct strait_scan strait_scan;

/* Reads a range, page by page, as it is asked for. All pages are of one version: that of
 * `options->snapshot`, or of a snapshot that the scan begins and ends itself; with `newest`, each
 * page is of the newest state when it is read. `timeout_ms` holds for each page. */
STRAIT_API enum strait_status strait_scan_begin(strait *handle, const struct strait_range *range,
                                                const struct strait_scan_options *options,
                                                uint32_t timeout_ms, strait_scan **scan,
                                                struct strait_error *error);

/* The next record; it lives until the next call on the scan. END past the last one. After another
 * failure the same call may be tried again. */
STRAIT_API enum strait_status strait_scan_next(strait_scan *scan,
                                               const struct strait_record **record,
                                               struct strait_error *error);
STRAIT_API void strait_scan_end(strait_scan *scan);

/* One page alone: `resume` is empty, or that of the page before with the same range and options.
 * `options->snapshot` NULL: the newest state. */
STRAIT_API enum strait_status strait_page(strait *handle, const struct strait_range *range,
                                          const struct strait_scan_options *options,
                                          struct strait_bytes resume, uint32_t timeout_ms,
                                          struct strait_records **records,
                                          struct strait_error *error);

/* The same at a state that `reads` permits, in place of a snapshot: options->snapshot is NULL. */
STRAIT_API enum strait_status
strait_page_with(strait *handle, const struct strait_read_options *reads,
                 const struct strait_range *range, const struct strait_scan_options *options,
                 struct strait_bytes resume, uint32_t timeout_ms, struct strait_records **records,
                 struct strait_error *error);

/* ---- Transactions ---- */

/* Operations and conditions, gathered here and sent as one commit: all is done, or nothing. */
typedef struct strait_txn strait_txn;

/* For one commit without reads. */
STRAIT_API strait_txn *strait_txn_new(void);
STRAIT_API void strait_txn_free(strait_txn *txn);

/* Forgets all, the id too: ready for another transaction. Not for one of strait_begin(). */
STRAIT_API void strait_txn_clear(strait_txn *txn);

/* NULL stands for all zero. */
struct strait_put_options {
    uint64_t ttl_ms; /* the record goes so long after the commit, not sooner; 0: it stays */
    const struct strait_index_entry *indexes; /* replace those that the record had */
    size_t indexes_count;                     /* at most 16 */
};

struct strait_add_options {
    bool has_minimum;
    int64_t minimum;
    bool has_maximum;
    int64_t maximum;
    int64_t initial; /* stands for a record that does not exist */
    bool must_exist; /* instead: NOT_FOUND */
};

/* Each adds one operation; they are done in this order. INVALID_ARGUMENT, TOO_LARGE or NO_MEMORY
 * where it was not added; the transaction is then as before, and strait_commit() refuses it with
 * that status, so that a chain of these may be checked once, at its end. */
STRAIT_API enum strait_status strait_txn_put(strait_txn *txn, const char *table,
                                             struct strait_bytes key, struct strait_bytes value,
                                             const struct strait_put_options *options);
/* Deleting what is not there is done, too. */
STRAIT_API enum strait_status strait_txn_del(strait_txn *txn, const char *table,
                                             struct strait_bytes key);
/* For a record whose value is a 64-bit number in decimal text. Outside its bounds the whole
 * transaction is refused: OUT_OF_BOUNDS. "Take 3 if 3 are left" is an add of -3 with minimum 0, and
 * never conflicts with another one. */
STRAIT_API enum strait_status strait_txn_add(strait_txn *txn, const char *table,
                                             struct strait_bytes key, int64_t amount,
                                             const struct strait_add_options *options);

/* Changes of the schema need the role `admin`. */
STRAIT_API enum strait_status strait_txn_create_table(strait_txn *txn, const char *table);
STRAIT_API enum strait_status strait_txn_drop_table(strait_txn *txn, const char *table);
STRAIT_API enum strait_status strait_txn_create_index(strait_txn *txn, const char *table,
                                                      const char *index, bool unique);
STRAIT_API enum strait_status strait_txn_drop_index(strait_txn *txn, const char *table,
                                                    const char *index);

/* Conditions on the state just before the transaction; else CONDITION_FAILED. Errors as above. */
STRAIT_API enum strait_status strait_txn_require_absent(strait_txn *txn, const char *table,
                                                        struct strait_bytes key);
STRAIT_API enum strait_status strait_txn_require_exists(strait_txn *txn, const char *table,
                                                        struct strait_bytes key);
STRAIT_API enum strait_status strait_txn_require_version(strait_txn *txn, const char *table,
                                                         struct strait_bytes key, uint64_t version);
STRAIT_API enum strait_status strait_txn_require_value(strait_txn *txn, const char *table,
                                                       struct strait_bytes key,
                                                       struct strait_bytes value);

/* What was read elsewhere at `version`, to be checked at commit: CONFLICT where it has changed
 * since. strait_begin() does this by itself. */
STRAIT_API enum strait_status strait_txn_read_version(strait_txn *txn, uint64_t version);
STRAIT_API enum strait_status strait_txn_read_key(strait_txn *txn, const char *table,
                                                  struct strait_bytes key);
STRAIT_API enum strait_status strait_txn_read_range(strait_txn *txn,
                                                    const struct strait_range *range);

enum strait_durability {
    STRAIT_DURABILITY_REGION = 0, /* on stable storage in a majority of the primary region */
    STRAIT_DURABILITY_REMOTE = 1  /* and committed in a standby region */
};

/* With REMOTE: in any standby, for up to 5 s; strait_txn_set_remote() says which, and how long. */
STRAIT_API void strait_txn_set_durability(strait_txn *txn, enum strait_durability durability);

/* The commit is to be committed in the standby `region` too, by its name; NULL: in any one. What it
 * has, it keeps when it is made the primary. The reply waits for that, but no longer than
 * `confirm_within_ms` (0: 5 s; at most 60 s), for which the call's deadline has to leave room. Then
 * strait_commit() is OK all the same, as the transaction is done: `confirmed` of its result, and
 * strait_txn_confirmed_by(), tell whether the standby is known to have it. Where it is not yet,
 * committing the same object again waits again, as does strait_txn_confirm().
 *
 * INVALID_ARGUMENT, with nothing done, where there is no such region, or it is the primary itself:
 * with NULL that does not change with a switchover. BUSY where too many wait already. All of this
 * is part of what the transaction is: under the same id (strait_txn_set_token()) it has to be said
 * in the same way. Errors of the call itself are those of the builders above. */
STRAIT_API enum strait_status strait_txn_set_remote(strait_txn *txn, const char *region,
                                                    uint32_t confirm_within_ms);

/* After a commit that was OK: the standby that is known to have it; "" where none is. Lives as long
 * as the object, until its next commit. */
STRAIT_API const char *strait_txn_confirmed_by(const strait_txn *txn);

/* An id of the application's own, in place of a random one: the same work under the same id is done
 * once, also from another process, as long as outcomes are kept (an hour unless configured). */
STRAIT_API void strait_txn_set_id(strait_txn *txn, const uint8_t id[STRAIT_TXN_ID_SIZE]);

/* Id and time of an earlier attempt, from its token: sends the same work again, safely. */
STRAIT_API enum strait_status strait_txn_set_token(strait_txn *txn, const char *token);

/* The token of the last attempt to commit; "" before there was one. */
STRAIT_API void strait_txn_token(const strait_txn *txn, char token[STRAIT_TXN_TOKEN_SIZE]);

/* Where the commit of it stands in history, once it was done; else all zero. */
STRAIT_API void strait_txn_position(const strait_txn *txn, struct strait_token *token);

/* Operations gathered so far. */
STRAIT_API size_t strait_txn_operations_count(const strait_txn *txn);

struct strait_commit_result {
    uint64_t version;     /* the transaction's own */
    uint64_t log_time_ns; /* when, by the log's clock */
    bool repeated;        /* an earlier attempt had done it */
    char txn[STRAIT_TXN_TOKEN_SIZE];
    bool confirmed; /* a standby has it too; asked for with strait_txn_set_remote() */
};

/* `result` may be NULL. The object may be committed again: after OUTCOME_UNKNOWN, BUSY or
 * UNREACHABLE that is the safe way to go on; after any other outcome it gives the same again. For
 * other work under another id: strait_txn_clear(). A transaction of strait_begin() is over with
 * this call, unless its result was one of those three; it still has to be freed. */
STRAIT_API enum strait_status strait_commit(strait *handle, strait_txn *txn, uint32_t timeout_ms,
                                            struct strait_commit_result *result,
                                            struct strait_error *error);

/* ---- Interactive transactions ---- */

/* Begins a transaction that reads: at one snapshot, with its own writes visible to its own reads,
 * and nothing visible to others before the commit. All of the functions above take it. What it read
 * through the two below, ranges included, is validated at commit: CONFLICT where any has changed.
 * strait_txn_free() without a commit gives it up. It must be ended before its handle is closed. */
STRAIT_API enum strait_status strait_begin(strait *handle, uint32_t timeout_ms, strait_txn **txn,
                                           struct strait_error *error);

/* As strait_get(). An add of this transaction shows in the value. */
STRAIT_API enum strait_status strait_txn_get(strait_txn *txn, const char *table,
                                             struct strait_bytes key, uint32_t timeout_ms,
                                             struct strait_records **records,
                                             struct strait_error *error);

/* As strait_scan_begin(), over the snapshot and the writes that the transaction had made when the
 * scan began. What has been given out counts as read, not the whole range. `snapshot` and `newest`
 * must not be set. The scan has to be ended before the transaction. */
STRAIT_API enum strait_status strait_txn_scan(strait_txn *txn, const struct strait_range *range,
                                              const struct strait_scan_options *options,
                                              uint32_t timeout_ms, strait_scan **scan,
                                              struct strait_error *error);

/* The body of a transaction, for strait_run(). It may be called several times: it should change
 * nothing but the transaction, and what it keeps of a try it has to forget at the next. Returning
 * STRAIT_OK commits; anything else gives the transaction up. It does not free `txn`. */
typedef enum strait_status (*strait_body)(strait_txn *txn, void *context,
                                          struct strait_error *error);

/* Begins, calls `body`, commits; and again, after a pause that grows, on CONFLICT,
 * SNAPSHOT_TOO_OLD, HISTORY_LOST and NO_SNAPSHOT, until the deadline, which holds for all tries
 * together.
 * OUTCOME_UNKNOWN is never tried again: that could run the body's work twice. */
STRAIT_API enum strait_status strait_run(strait *handle, strait_body body, void *context,
                                         uint32_t timeout_ms, struct strait_commit_result *result,
                                         struct strait_error *error);

/* ---- Asynchronous calls ---- */

/* What a call ended with; alive during the completion only. */
struct strait_completion {
    enum strait_status status;
    const struct strait_error *error;          /* where status is not OK */
    const struct strait_commit_result *commit; /* of a commit that is done */
    struct strait_records *records;            /* of a read: now the callee's, to strait_free() */
};

/* Called once for each call that was accepted, by strait_dispatch() (or strait_close()), on the
 * thread that called that. It may begin other calls, asynchronous ones best; it must not close the
 * handle. */
typedef void (*strait_done)(void *context, const struct strait_completion *completion);

/* A descriptor for poll() or epoll: readable while completions wait, or where the application's
 * loop drives the handle while it has something to do. The handle's own: neither read it nor close
 * it. -1 where it could not be made. */
STRAIT_API int strait_poll_fd(strait *handle);

/* Runs the completions that wait, after waiting up to `wait_ms` for a first one (0: not at all; -1:
 * for ever). Returns how many it ran. One thread at a time. Where the application's loop drives the
 * handle, it first does what there is to do. */
STRAIT_API int strait_dispatch(strait *handle, int wait_ms);

/* Each returns at once; none renews a snapshot. OK: accepted, `done` will be called. BUSY: 1,024
 * calls are on their way already, or 16 MiB; any other: refused; `done` will not be called. The
 * transaction must stay untouched until its completion; the other arguments are copied. */
STRAIT_API enum strait_status strait_commit_async(strait *handle, strait_txn *txn,
                                                  uint32_t timeout_ms, strait_done done,
                                                  void *context);
STRAIT_API enum strait_status strait_get_async(strait *handle, strait_snapshot *snapshot,
                                               const struct strait_key *keys, size_t keys_count,
                                               uint32_t timeout_ms, strait_done done,
                                               void *context);
STRAIT_API enum strait_status strait_page_async(strait *handle, const struct strait_range *range,
                                                const struct strait_scan_options *options,
                                                struct strait_bytes resume, uint32_t timeout_ms,
                                                strait_done done, void *context);
STRAIT_API enum strait_status strait_ping_async(strait *handle, uint32_t timeout_ms,
                                                strait_done done, void *context);

/* ---- Administration ---- */

enum strait_outcome_state {
    STRAIT_OUTCOME_NONE = 0,      /* none known: it never came, or has not yet */
    STRAIT_OUTCOME_COMMITTED = 1, /* done */
    STRAIT_OUTCOME_REFUSED = 2,   /* nothing was done; `status` says why */
    STRAIT_OUTCOME_EXPIRED = 3    /* older than what is kept */
};

struct strait_outcome {
    enum strait_outcome_state state;
    enum strait_status status;
    uint64_t version;
    uint64_t log_time_ns;
};

/* What became of a transaction, by its token. */
STRAIT_API enum strait_status strait_txn_status(strait *handle, const char *token,
                                                uint32_t timeout_ms, struct strait_outcome *outcome,
                                                struct strait_error *error);

struct strait_confirmation {
    struct strait_outcome outcome;
    bool confirmed;                           /* a standby has it too */
    char region[STRAIT_REGION_NAME_SIZE_MAX]; /* which; "" where none is known to */
};

/* The same, and of one that is committed, whether a standby has it: waits for it as a commit with
 * strait_txn_set_remote() does, with the same errors. */
STRAIT_API enum strait_status strait_txn_confirm(strait *handle, const char *token,
                                                 const char *region, uint32_t confirm_within_ms,
                                                 uint32_t timeout_ms,
                                                 struct strait_confirmation *confirmation,
                                                 struct strait_error *error);

struct strait_metric {
    const char *name; /* lower_case, unit last */
    uint64_t value;
};

struct strait_server_status {
    const char *server_version;
    const char *role;
    struct strait_bytes cluster_id;
    uint64_t version;
    uint64_t epoch_number;
    uint32_t epoch_region;
    uint64_t log_time_ns;
    uint64_t log_index;
    uint64_t log_term;
    uint64_t uptime_ms;
    bool encrypted;
    bool writable;
    const char *const *alarms; /* sentences: what is wrong, what to do */
    size_t alarms_count;
    const struct strait_metric *metrics;
    size_t metrics_count;
    const char *member; /* the server's own name in its region */
    const char *leader; /* the leader's; "" where it is not known */
    uint64_t commit_index;
    bool lease; /* it leads, and reads without asking the others */
    const struct strait_member *members;
    size_t members_count;
    uint32_t cluster_version;     /* what the servers do, as a number that all share */
    uint32_t cluster_version_max; /* the highest that this server's program can do */

    /* 16 bytes, over all that was written up to `version`: equal at all servers of all regions. */
    struct strait_bytes chain_digest;
};

/* A member of a region. What follows `self` is the leader's view of the others, and zero where
 * another server tells it. */
struct strait_member {
    uint64_t id;
    const char *name;
    const char *peers;   /* HOST:PORT for other members */
    const char *clients; /* HOST:PORT for clients */
    const char *kind;    /* "voter", "learner"; "joining" or "leaving" while that changes */
    bool leader;
    bool self; /* the server that tells it */
    bool connected;
    bool answered; /* ever in this term */
    uint64_t answered_ago_ms;
    uint64_t match_index; /* up to here its log agrees with the leader's */
    uint64_t lag_entries;
    bool snapshot;                /* it is being given one */
    uint32_t cluster_version_max; /* the highest that its program can do; 0: not known */
};

STRAIT_API enum strait_status strait_server_status(strait *handle, uint32_t timeout_ms,
                                                   struct strait_server_status **status,
                                                   struct strait_error *error);

struct strait_members {
    uint64_t log_term;
    size_t count;
    const struct strait_member *items;
};

/* The region's members, as its leader sees them; with `any`, as whichever server answers does. */
STRAIT_API enum strait_status strait_member_list(strait *handle, bool any, uint32_t timeout_ms,
                                                 struct strait_members **members,
                                                 struct strait_error *error);

/* Changes of the membership: each answers once it is committed, with the members as they are then
 * (`members` may be NULL). BUSY while another is under way. OUTCOME_UNKNOWN: the leader changed
 * meanwhile; the list tells.
 *
 * Adding: the leader asks the server at that peers' address who it is; its certificate has to say
 * `name`. It becomes a learner, which gets the log and has no vote. Promoting gives it one: BUSY,
 * after repeats until the deadline, while it is far behind. Removing: the last voter, the leader,
 * and, unless `force`, one without which the others that answer are no majority, are refused with
 * CONDITION_FAILED. A member that was removed never comes back: its server needs an empty store. */
STRAIT_API enum strait_status strait_member_add(strait *handle, const char *name, const char *peers,
                                                uint32_t timeout_ms,
                                                struct strait_members **members,
                                                struct strait_error *error);
STRAIT_API enum strait_status strait_member_promote(strait *handle, const char *name,
                                                    uint32_t timeout_ms,
                                                    struct strait_members **members,
                                                    struct strait_error *error);
STRAIT_API enum strait_status strait_member_remove(strait *handle, const char *name, bool force,
                                                   uint32_t timeout_ms,
                                                   struct strait_members **members,
                                                   struct strait_error *error);

/* The same of the member that was listed with this id, and of no later one of its name: NOT_FOUND
 * where it is gone. strait_member_remove() looks the id up itself, once it is called. */
STRAIT_API enum strait_status strait_member_remove_id(strait *handle, const char *name, uint64_t id,
                                                      bool force, uint32_t timeout_ms,
                                                      struct strait_members **members,
                                                      struct strait_error *error);

struct strait_leader {
    const char *name;
    const char *clients; /* HOST:PORT */
};

/* Hands the leadership to a voter; `name` NULL: to the one that has the most of the log. Answers
 * once that one leads. `leader` may be NULL. */
STRAIT_API enum strait_status strait_leader_transfer(strait *handle, const char *name,
                                                     uint32_t timeout_ms,
                                                     struct strait_leader **leader,
                                                     struct strait_error *error);

/* Raises the cluster version to the highest that all servers can do, where their configuration
 * holds that back (`upgrade_held`); an older program is refused from there on. Done before, it
 * answers with the version there is. CONDITION_FAILED names a server or a region that cannot yet.
 */
STRAIT_API enum strait_status strait_cluster_upgrade(strait *handle, uint32_t timeout_ms,
                                                     uint32_t *cluster_version,
                                                     struct strait_error *error);

struct strait_finding {
    const char *file;
    uint64_t offset;
    const char *text;
};

struct strait_check {
    bool running;
    uint64_t checked_size_bytes;
    uint64_t total_size_bytes;
    uint64_t files_count;
    const struct strait_finding *findings;
    size_t findings_count;
    uint64_t findings_total_count; /* also those past the ones listed */
};

/* Verifies all that the server has on disk. With `start`, begins a check unless one runs; either
 * way tells how far it is: ask again while `running`. */
STRAIT_API enum strait_status strait_check(strait *handle, bool start, uint32_t timeout_ms,
                                           struct strait_check **check, struct strait_error *error);

struct strait_scrub {
    bool running;
    bool failed;      /* the leader could not read its own tables */
    uint64_t version; /* that was looked at; 0: none yet */
    uint32_t members_count;
    uint32_t agreed_count;        /* that have on disk what a majority has */
    const char *const *differing; /* names of the members that have something else */
    size_t differing_count;
};

/* Compares what all members of the region have on disk of one version: the leader answers. With
 * `start`, begins one; either way tells how far it is: ask again
 * while `running`. A member that differs is rebuilt from another one by itself. */
STRAIT_API enum strait_status strait_scrub(strait *handle, bool start, uint32_t timeout_ms,
                                           struct strait_scrub **scrub, struct strait_error *error);

struct strait_index {
    const char *name;
    bool unique;
};

struct strait_table {
    const char *name;
    const struct strait_index *indexes;
    size_t indexes_count;
};

struct strait_tables {
    uint64_t version;
    size_t count;
    const struct strait_table *items;
};

STRAIT_API enum strait_status strait_table_list(strait *handle, uint32_t timeout_ms,
                                                struct strait_tables **tables,
                                                struct strait_error *error);

/* A snapshot that somebody holds: an interactive transaction, a scan, or one of its own. */
struct strait_open_txn {
    uint64_t snapshot_id;
    const char *identity;
    const char *client;
    uint64_t version;
    uint64_t age_ms;
    uint64_t expires_in_ms;
};

struct strait_open_txns {
    uint64_t horizon; /* the oldest version that can still be read */
    size_t count;
    const struct strait_open_txn *items;
};

STRAIT_API enum strait_status strait_txn_list(strait *handle, uint32_t timeout_ms,
                                              struct strait_open_txns **txns,
                                              struct strait_error *error);

/* Ends a snapshot of anybody's: its reads get NO_SNAPSHOT from then on. */
STRAIT_API enum strait_status strait_txn_cancel(strait *handle, uint64_t snapshot_id,
                                                uint32_t timeout_ms, struct strait_error *error);

#ifdef __cplusplus
}
#endif

#endif
