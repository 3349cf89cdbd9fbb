/* hs_remote.h -- system calls made by a process of their own, for files behind which something may never answer.
 *
 * A call into a FUSE or network mount can wait uninterruptibly for ever, and a process with a thread in such a wait can
 * neither end nor be killed. So a child makes the call. It is forked from C, runs nothing but a loop of system calls in
 * this file, and holds nothing of its parent's: no descriptor but its end of a socket pair. The parent sends a request, and
 * looks for the reply in short steps. What has not answered within the patience is given up: the child is killed, nobody
 * waits for it, and the connection answers with the same status to everything from then on.
 *
 * The connection is a table of system calls (hs_os), so that what walks and reads does not know the difference.
 * Descriptors in it are numbers of the child. Relative paths do not lead anywhere useful: the child works in "/".
 *
 * Time counts only while this process could run: a step of the wait adds its own length at the most, so a process that was
 * stopped for an hour has not waited for an hour.
 *
 * Threads: one call at a time; a second one at the same moment answers -EBUSY. A forked process cannot use the connection
 * of its parent (HS_REMOTE_BROKEN). Linux only: elsewhere hs_remote_new answers -ENOSYS.
 */
#ifndef HS_REMOTE_H
#define HS_REMOTE_H

#include "hs_os.h"

/* Why a connection is over: negated, the answer to every call on it. No system uses these numbers for an error. */
enum {
    HS_REMOTE_NO_ANSWER = 6001, /* a call took longer than the patience */
    HS_REMOTE_ENDED = 6002,     /* a stop word was set, or hs_remote_end called */
    HS_REMOTE_BROKEN = 6003     /* the child is gone, or this is another process */
};
enum { HS_REMOTE_STOPS = 2, HS_REMOTE_NAME_BYTES = 64 * 1024, HS_REMOTE_DATA_BYTES = 256 * 1024 };

typedef struct hs_remote hs_remote;

/* Starts the child. `os`: the table that the child calls, whose functions must be safe in a forked child (no locks, no
 * memory from malloc). `stops`: words that end a call that waits, and whatever would be opened next, once one is nonzero;
 * they must outlive the connection. 0, or a negated errno value: nothing was left behind then. */
int hs_remote_new(hs_remote **out, const hs_os *os, int64_t patience_ns, const volatile uint32_t *const *stops,
                  size_t stop_count);

/* The table; it lives as long as the connection. close() never waits: its answer is not asked for. */
const hs_os *hs_remote_table(const hs_remote *remote);

/* 0 while the connection works, else HS_REMOTE_*. */
int hs_remote_state(const hs_remote *remote);
int64_t hs_remote_child(const hs_remote *remote);

/* What a link says; its length, or a negated errno value. */
int64_t hs_remote_readlink(hs_remote *remote, const char *path, char *target, size_t length);
/* A handle for a directory, to look up names in: every part of the absolute path is opened without following a link, and
 * nothing but the right to pass is needed. */
int hs_remote_open_dir(hs_remote *remote, const char *path);

/* Gives socket and memory back and kills the child. Does not wait. */
void hs_remote_end(hs_remote *remote);
/* 1: there is no child any more; 0: it is still inside its call. Does not wait. */
int hs_remote_reap(hs_remote *remote);
void hs_remote_free(hs_remote *remote);

#endif
