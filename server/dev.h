/* SPDX-License-Identifier: Apache-2.0 */
/* What `straitd --dev` makes on the spot, so that a server with TLS and encryption on needs no
 * preparation:
 *
 *     DIR/ca.crt  ca.key              an authority of its own, which signs nothing else
 *     DIR/server.crt  server.key      for localhost, 127.0.0.1 and ::1
 *     DIR/client/NAME.crt  NAME.key   dev-admin, dev-writer, dev-reader: identity and role
 *     DIR/master.key                  64 hexadecimal digits
 *     DIR/profile                     how dev-admin reaches the server: `strait` reads it
 *     DIR/store/                      the data directory; made by the server, not here
 *
 * Members of a development region (--member N) share a DIR of their own. Instead of server.* and
 * store/ each has
 *
 *     DIR/nN.crt  nN.key              named nN, to serve and to dial the others
 *     DIR/store-nN/
 *
 * and the witness w1.crt, w1.key, store-w1 and profile-witness;
 * and they share DIR/cluster_id; the profile names them all. Member 1 begins the region where it
 * has no store; the others wait to be added: `strait member add n2 127.0.0.1:7422`.
 *
 * and ~/.config/strait/profile, a link to DIR/profile, unless something is there that --dev did not
 * make. Each file is written aside, flushed and renamed, 0600; each is made once and kept: a key
 * before what needs it, so a run that was cut short is completed by the next. Certificates that
 * have expired are made anew, with the authority where it is that one. */
#ifndef SERVER_DEV_H
#define SERVER_DEV_H

#include "server/config.h"

enum {
    dev_port = 7411,
    dev_port_step = 10, /* from one member's to the next one's; a member's peers dial one more */
    dev_region_members_count = 3,
    dev_members_count = 2 * dev_region_members_count,
    dev_witness = dev_members_count + 1, /* the witness's number */
    dev_path_size = 1024,
};

struct dev_options {
    const char *directory; /* NULL: $XDG_STATE_HOME/strait/dev, or ~/.local/state/strait/dev */
    uint16_t port;         /* of 127.0.0.1, and of the first member; 0: dev_port */
    unsigned member;       /* 1 to dev_members_count, or dev_witness; 0: a server on its own */
    bool witnessed;        /* a member goes by the witness's leases */

    /* HOST:PORT[,HOST:PORT...]: where members of the second region reach the first one; NULL: where
     * its servers listen. */
    const char *standby_of;
};

struct dev {
    char directory[dev_path_size]; /* absolute */
    char profile[dev_path_size];   /* DIR/profile, -sydney or -witness */
    char link[dev_path_size];      /* ~/.config/strait/profile; empty where it was left alone... */
    char link_kept[error_text_size]; /* ... and why, in a sentence; empty where it was made */
    int lock; /* held until dev_close(): only members of one region share a directory */
};

/* Makes what is missing, and fills `config` with what a development server runs with. LOCKED where
 * another process has the directory (or the directory's other use). Errors name the path. Blocking.
 */
MUST_CHECK enum status dev_open(const struct dev_options *options, struct dev *dev,
                                struct config *config, struct error *error);

/* Makes the link in the home folder, once the server is ready: one that cannot start leaves that of
 * another as it is. Says in `link` and `link_kept` what came of it. */
void dev_link(struct dev *dev);
void dev_close(struct dev *dev);

#endif
