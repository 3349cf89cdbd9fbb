/* hs_remote.c -- see hs_remote.h for the promises.
 *
 * The child comes from the clone system call itself, without the C library's fork: no handlers of other libraries run,
 * and no lock that another thread holds at that moment is asked for. It has no exit signal, so that neither a SIGCHLD nor
 * a wait for any child in the host program ever tells of it; it is collected here, by its number.
 *
 * Between the clone and its end the child calls async-signal-safe functions only, all of which the linker has bound before
 * (-z now). The name of a request and the data of an answer lie in memory that both share; the messages are of fixed size,
 * on a socket that keeps their borders. Parent and child are the same program: the checks of what comes back are there so
 * that a child which dies half way is an error and nothing else.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* O_PATH, syscall() */
#endif

#include "hs_remote.h"

#include <errno.h>
#include <stdlib.h>

#if defined(__linux__)

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEP_MS = 50, NS_PER_MS = 1000000, CHILD_SOCKET = 3 };
enum { SHARED_BYTES = HS_REMOTE_NAME_BYTES + HS_REMOTE_DATA_BYTES };
enum { OP_OPEN, OP_OPEN_DIR, OP_STAT, OP_READ, OP_PREAD, OP_LIST, OP_READLINK, OP_CLOSE };

typedef struct request {
    uint64_t serial, offset, length;
    int32_t op, fd, how, named;
} request;

typedef struct reply {
    uint64_t serial;
    int64_t status;
    hs_stat facts;
} reply;

struct hs_remote {
    hs_os table;
    atomic_flag busy;
    int state, fd;
    pid_t child; /* 0: none, or collected */
    int64_t owner, patience_ns;
    uint64_t serial;
    unsigned char *shared;
    const volatile uint32_t *stops[HS_REMOTE_STOPS];
    size_t stop_count;
};

/* ------------------------------------------------------------------------------------------------ the child */

static void close_from(unsigned first) {
#if defined(SYS_close_range)
    if (syscall(SYS_close_range, first, ~0u, 0) == 0) return;
#endif
    /* Kernels before 5.9. Read again from the start until a whole round finds nothing, since closing moves the list. */
    int list = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (list < 0) {
        for (int fd = (int)first; fd < 65536; fd++) (void)close(fd);
        return;
    }
    unsigned char entries[4096];
    for (int found = 1; found;) {
        found = 0;
        (void)lseek(list, 0, SEEK_SET);
        long n;
        while ((n = syscall(SYS_getdents64, list, entries, sizeof entries)) > 0) {
            uint16_t entry_bytes;
            for (long at = 0; at < n; at += entry_bytes) {
                memcpy(&entry_bytes, entries + at + HS_DIRENT_RECLEN, sizeof entry_bytes);
                unsigned fd = 0;
                const unsigned char *digit = entries + at + HS_DIRENT_NAME;
                if (*digit < '0' || *digit > '9') continue;
                for (; *digit; digit++) fd = fd * 10 + (unsigned)(*digit - '0');
                if (fd >= first && fd != (unsigned)list && close((int)fd) == 0) found = 1;
            }
        }
    }
    (void)close(list);
}

static int open_dir_of_path(char *path) {
    int at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (char *part = path; at >= 0;) {
        while (*part == '/') part++;
        if (*part == 0) return at;
        char *end = part;
        while (*end != 0 && *end != '/') end++;
        char behind = *end;
        *end = 0;
        int next = openat(at, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int problem = errno;
        *end = behind;
        (void)close(at);
        if (next < 0) return -problem;
        at = next;
        part = end;
    }
    return -errno;
}

static int64_t answer(const hs_os *os, const request *q, char *name, unsigned char *data, hs_stat *facts) {
    const char *named = q->named ? name : NULL;
    size_t length = q->length < HS_REMOTE_DATA_BYTES ? (size_t)q->length : HS_REMOTE_DATA_BYTES;
    switch (q->op) {
    case OP_OPEN:
        return os->openat(os->ctx, q->fd, name, q->how);
    case OP_OPEN_DIR:
        return open_dir_of_path(name);
    case OP_STAT:
        return os->statx(os->ctx, q->fd, named, facts);
    case OP_READ:
        return os->read(os->ctx, q->fd, data, length);
    case OP_PREAD:
        return os->pread(os->ctx, q->fd, data, length, q->offset);
    case OP_LIST:
        return os->getdents(os->ctx, q->fd, data, length);
    case OP_READLINK: {
        ssize_t n = readlink(name, (char *)data, length);
        return n < 0 ? -errno : n;
    }
    case OP_CLOSE:
        return os->close(os->ctx, q->fd);
    default:
        return -EINVAL;
    }
}

static _Noreturn void serve(int fd, unsigned char *shared, const hs_os *os, pid_t parent) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    for (int number = 1; number < 65; number++) {
        int ignored = number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGTSTP || number == SIGPIPE;
        action.sa_handler = ignored ? SIG_IGN : SIG_DFL;
        (void)sigaction(number, &action, NULL);
    }
    /* The parent may have ended before this: then nobody is there to be told of. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent) _exit(1);
    (void)prctl(PR_SET_NAME, "hashsieve-apart");
    (void)setsid();
    if (fd != CHILD_SOCKET && dup2(fd, CHILD_SOCKET) < 0) _exit(1);
    close_from(CHILD_SOCKET + 1);
    for (int standard = 0; standard < CHILD_SOCKET; standard++) (void)close(standard);
    if (open("/dev/null", O_RDWR) == 0) {
        (void)dup2(0, 1);
        (void)dup2(0, 2);
    }
    if (chdir("/")) _exit(1);
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    for (;;) {
        request q;
        reply a;
        ssize_t n = read(CHILD_SOCKET, &q, sizeof q);
        if (n < 0 && errno == EINTR) continue;
        if (n != (ssize_t)sizeof q) _exit(0); /* the parent has ended */
        memset(&a, 0, sizeof a);
        a.serial = q.serial;
        a.status = answer(os, &q, (char *)shared, shared + HS_REMOTE_NAME_BYTES, &a.facts);
        if (q.op == OP_CLOSE) continue;
        do n = write(CHILD_SOCKET, &a, sizeof a);
        while (n < 0 && errno == EINTR);
        if (n != (ssize_t)sizeof a) _exit(0);
    }
}

/* ------------------------------------------------------------------------------------------------ the parent */

static int ours(const hs_remote *r) { return hs_os_pid() == r->owner; }

/* The connection is over. */
static int lose(hs_remote *r, int why) {
    if (r->state == 0) r->state = why;
    if (r->child > 0 && ours(r)) (void)kill(r->child, SIGKILL);
    if (r->fd >= 0) (void)close(r->fd);
    r->fd = -1;
    if (r->shared != NULL) (void)munmap(r->shared, SHARED_BYTES);
    r->shared = NULL;
    (void)hs_remote_reap(r);
    return -r->state;
}

static int ended(const hs_remote *r) {
    for (size_t i = 0; i < r->stop_count; i++)
        if (*r->stops[i]) return 1;
    return 0;
}

/* 0 once the socket is ready for `events`. */
static int wait_for(hs_remote *r, short events) {
    int64_t silent_ns = 0;
    for (;;) {
        struct pollfd socket = {r->fd, events, 0};
        int64_t left_ms = (r->patience_ns - silent_ns + NS_PER_MS - 1) / NS_PER_MS;
        int64_t before_ns = hs_os_libc.clock_monotonic_ns(NULL);
        int ready = poll(&socket, 1, left_ms < STEP_MS ? (int)left_ms : STEP_MS);
        if (ready > 0) return 0;
        if (ready < 0 && errno != EINTR) return lose(r, HS_REMOTE_BROKEN);
        int64_t took_ns = hs_os_libc.clock_monotonic_ns(NULL) - before_ns;
        if (took_ns > (int64_t)STEP_MS * NS_PER_MS) took_ns = (int64_t)STEP_MS * NS_PER_MS;
        if (took_ns > 0) silent_ns += took_ns;
        if (ended(r)) return lose(r, HS_REMOTE_ENDED);
        if (silent_ns >= r->patience_ns) return lose(r, HS_REMOTE_NO_ANSWER);
    }
}

static int64_t exchange(hs_remote *r, request *q, const char *name, reply *a, void *data) {
    if (r->state) return -r->state;
    if (!ours(r)) return -HS_REMOTE_BROKEN;
    /* What is open may be brought to its end after a stop, as long as it answers; nothing new is begun. */
    if ((q->op == OP_OPEN || q->op == OP_OPEN_DIR || q->op == OP_LIST) && ended(r)) return lose(r, HS_REMOTE_ENDED);
    if (name != NULL) {
        size_t name_bytes = strlen(name) + 1;
        if (name_bytes > HS_REMOTE_NAME_BYTES) return -ENAMETOOLONG;
        memcpy(r->shared, name, name_bytes);
        q->named = 1;
    }
    q->serial = ++r->serial;
    for (;;) {
        ssize_t n = send(r->fd, q, sizeof *q, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n == (ssize_t)sizeof *q) break;
        if (n < 0 && errno == EINTR) continue;
        if (n >= 0 || errno != EAGAIN) return lose(r, HS_REMOTE_BROKEN);
        if (q->op == OP_CLOSE) return 0; /* the end of the child closes it */
        int status = wait_for(r, POLLOUT);
        if (status) return status;
    }
    if (q->op == OP_CLOSE) return 0;
    for (;;) {
        int status = wait_for(r, POLLIN);
        if (status) return status;
        ssize_t n = recv(r->fd, a, sizeof *a, MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n != (ssize_t)sizeof *a || a->serial != q->serial) return lose(r, HS_REMOTE_BROKEN);
        break;
    }
    if (data != NULL && a->status > 0) {
        if ((uint64_t)a->status > q->length || a->status > HS_REMOTE_DATA_BYTES) return lose(r, HS_REMOTE_BROKEN);
        memcpy(data, r->shared + HS_REMOTE_NAME_BYTES, (size_t)a->status);
    }
    return a->status;
}

static int64_t call(hs_remote *r, int op, int fd, const char *name, int how, void *data, size_t length, uint64_t offset,
                    hs_stat *facts) {
    request q;
    reply a;
    memset(&q, 0, sizeof q);
    q.op = op;
    q.fd = fd;
    q.how = how;
    q.length = length < HS_REMOTE_DATA_BYTES ? length : HS_REMOTE_DATA_BYTES;
    q.offset = offset;
    if (atomic_flag_test_and_set(&r->busy)) return -EBUSY;
    int64_t status = exchange(r, &q, name, &a, data);
    atomic_flag_clear(&r->busy);
    if (status == 0 && facts != NULL) *facts = a.facts;
    return status;
}

static int remote_openat(void *ctx, int dirfd, const char *name, int how) {
    return (int)call(ctx, OP_OPEN, dirfd, name, how, NULL, 0, 0, NULL);
}

static int remote_statx(void *ctx, int dirfd, const char *name, hs_stat *out) {
    return (int)call(ctx, OP_STAT, dirfd, name, 0, NULL, 0, 0, out);
}

static int64_t remote_read(void *ctx, int fd, void *buffer, size_t length) {
    return call(ctx, OP_READ, fd, NULL, 0, buffer, length, 0, NULL);
}

static int64_t remote_pread(void *ctx, int fd, void *buffer, size_t length, uint64_t offset) {
    return call(ctx, OP_PREAD, fd, NULL, 0, buffer, length, offset, NULL);
}

static int64_t remote_getdents(void *ctx, int fd, void *buffer, size_t length) {
    return call(ctx, OP_LIST, fd, NULL, 0, buffer, length, 0, NULL);
}

static int remote_close(void *ctx, int fd) { return (int)call(ctx, OP_CLOSE, fd, NULL, 0, NULL, 0, 0, NULL); }

static int64_t remote_monotonic(void *ctx) { return (void)ctx, hs_os_libc.clock_monotonic_ns(NULL); }
static int64_t remote_realtime(void *ctx) { return (void)ctx, hs_os_libc.clock_realtime_ns(NULL); }
static int64_t remote_thread_cpu(void *ctx) { return (void)ctx, hs_os_libc.clock_thread_cpu_ns(NULL); }

int64_t hs_remote_readlink(hs_remote *r, const char *path, char *target, size_t length) {
    return call(r, OP_READLINK, -1, path, 0, target, length, 0, NULL);
}

int hs_remote_open_dir(hs_remote *r, const char *path) {
    return (int)call(r, OP_OPEN_DIR, -1, path, 0, NULL, 0, 0, NULL);
}

int hs_remote_new(hs_remote **out, const hs_os *os, int64_t patience_ns, const volatile uint32_t *const *stops,
                  size_t stop_count) {
    *out = NULL;
    if (stop_count > HS_REMOTE_STOPS || patience_ns < 0) return -EINVAL;
    hs_remote *r = calloc(1, sizeof *r);
    if (r == NULL) return -ENOMEM;
    r->table.ctx = r;
    r->table.openat = remote_openat;
    r->table.statx = remote_statx;
    r->table.read = remote_read;
    r->table.pread = remote_pread;
    r->table.getdents = remote_getdents;
    r->table.close = remote_close;
    r->table.clock_monotonic_ns = remote_monotonic;
    r->table.clock_realtime_ns = remote_realtime;
    r->table.clock_thread_cpu_ns = remote_thread_cpu;
    atomic_flag_clear(&r->busy);
    r->fd = -1;
    r->owner = hs_os_pid();
    r->patience_ns = patience_ns;
    for (size_t i = 0; i < stop_count; i++) r->stops[i] = stops[i];
    r->stop_count = stop_count;

    void *shared = mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int problem = shared == MAP_FAILED ? errno : 0, ends[2] = {-1, -1};
    if (!problem && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) problem = errno;
    if (!problem) {
        /* No handler of the host's may run in the child. */
        sigset_t all, before;
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        pid_t self = getpid();
        long child = syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
        if (child == 0) serve(ends[1], shared, os, self);
        if (child < 0) problem = errno;
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        r->child = child > 0 ? (pid_t)child : 0;
        (void)close(ends[1]);
    }
    if (problem) {
        if (ends[0] >= 0) (void)close(ends[0]);
        if (shared != MAP_FAILED) (void)munmap(shared, SHARED_BYTES);
        free(r);
        return -problem;
    }
    r->fd = ends[0];
    r->shared = shared;
    *out = r;
    return 0;
}

void hs_remote_end(hs_remote *r) {
    if (atomic_flag_test_and_set(&r->busy)) return; /* a call is in it, and sees the stop word */
    (void)lose(r, HS_REMOTE_ENDED);
    atomic_flag_clear(&r->busy);
}

int hs_remote_reap(hs_remote *r) {
    if (r->child <= 0 || !ours(r)) return 1;
    if (r->state == 0) return 0;
    pid_t got = waitpid(r->child, NULL, WNOHANG | __WALL);
    if (got == 0 || (got < 0 && errno == EINTR)) return 0;
    r->child = 0;
    return 1;
}

int64_t hs_remote_child(const hs_remote *r) { return r->child; }

void hs_remote_free(hs_remote *r) {
    if (r == NULL) return;
    (void)lose(r, HS_REMOTE_ENDED);
    /* A child that is in no call is gone in a moment. One that is stuck stays behind, for this process to end over. */
    for (int i = 0; i < 20 && !hs_remote_reap(r); i++) (void)poll(NULL, 0, 1);
    free(r);
}

int hs_remote_state(const hs_remote *r) { return r->state; }

const hs_os *hs_remote_table(const hs_remote *r) { return &r->table; }

#else

int hs_remote_new(hs_remote **out, const hs_os *os, int64_t patience_ns, const volatile uint32_t *const *stops,
                  size_t stop_count) {
    (void)os, (void)patience_ns, (void)stops, (void)stop_count;
    *out = NULL;
    return -ENOSYS;
}

const hs_os *hs_remote_table(const hs_remote *remote) { return (void)remote, &hs_os_libc; }
int hs_remote_state(const hs_remote *remote) { return (void)remote, HS_REMOTE_BROKEN; }
int64_t hs_remote_child(const hs_remote *remote) { return (void)remote, 0; }
int64_t hs_remote_readlink(hs_remote *remote, const char *path, char *target, size_t length) {
    return (void)remote, (void)path, (void)target, (void)length, -ENOSYS;
}
int hs_remote_open_dir(hs_remote *remote, const char *path) { return (void)remote, (void)path, -ENOSYS; }
void hs_remote_end(hs_remote *remote) { (void)remote; }
int hs_remote_reap(hs_remote *remote) { return (void)remote, 1; }
void hs_remote_free(hs_remote *remote) { (void)remote; }

#endif
