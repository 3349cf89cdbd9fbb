/* hs_pipe.h -- the scan pipeline: from names to outcomes without leaving C for the files that nobody lists.
 *
 *   source (walk, or paths and descriptors handed in) -> gates -> open -> facts -> read into reused buffers
 *   -> digest lanes -> filter -> exact table -> counted, or an event for the caller
 *
 * Each pipe keeps as many files open as its widest digest kernel has lanes. A file stays in its slot until its last block,
 * then the next one takes it: files end in another order than they were listed, and every event carries its path.
 *
 * What is decided here: a file that was read to its end, stood still meanwhile, and hits nothing (or hits only sets that
 * cannot make a match) is counted. Everything else -- a hit, a file that moved, an error, a name left out by a rule -- becomes
 * an event, and the caller decides. A digest that was computed to the end of the file is always looked up.
 *
 * Threads: one pipe belongs to one thread at a time. Several pipes may share a source and a link map; both bring their
 * lock. Sets may be shared by all. Nothing is allocated while running but path buffers that grow to the longest path.
 */
#ifndef HS_PIPE_H
#define HS_PIPE_H

#include "hs_lanes.h"
#include "hs_set.h"
#include "hs_walk.h"

/* ---- where files come from ---- */

typedef struct hs_candidate {
    int event;                  /* HS_WALK_*: FILE, or something the caller is told as it is */
    int operation, type, error, reason;
    int dirfd;                  /* of the directory that `name` lies in; -1: `name` is a path */
    int fd;                     /* >= 0: an open descriptor handed in, which the pipe takes over */
    const char *dir, *name;     /* NUL-terminated; valid until the next call of the source */
    size_t dir_bytes, name_bytes;
    uint64_t dev;               /* of the directory, 0 where unknown */
} hs_candidate;

typedef struct hs_source {
    void *ctx;
    /* 1: *out is the next candidate; 0: there are no more; negative: a status as hs_walk_next, call again later. */
    int (*next)(void *ctx, hs_candidate *out);
    void *lock;                 /* taken around next() and until its candidate is opened; functions may be NULL */
    void (*acquire)(void *lock);
    void (*release)(void *lock);
    /* The pipes' own: a candidate that waits for a descriptor. Starts zeroed. */
    int held;
    hs_candidate candidate;
} hs_source;

/* A walk as a source. */
typedef struct hs_walk_source {
    hs_walk *walk;
    const hs_walk_item *items;
    int64_t count, position;
    hs_walk_dir dir;
    int dirfd;
} hs_walk_source;

void hs_walk_source_init(hs_walk_source *source, hs_walk *walk);
int hs_walk_source_next(void *ctx, hs_candidate *out);

/* ---- hard links ---- */

/* What is known of a file with several names. */
enum { HS_LINK_ABSENT = 0, HS_LINK_READING = 1, HS_LINK_ASK = 2, HS_LINK_NOTHING = 3, HS_LINK_KNOWN_GOOD = 4,
       HS_LINK_UNDECIDED = 5 };

typedef struct hs_link {
    uint64_t dev, ino, size;
    int64_t mtime_ns, ctime_ns;
    uint32_t state;
} hs_link;

/* Shared by the pipes of one scan, under the lock of their source. Bounded: past the limit links are read again. */
typedef struct hs_links {
    hs_link *slots;
    size_t slot_count, count, limit_count;
} hs_links;

void hs_links_init(hs_links *links, size_t limit_count);
void hs_links_clear(hs_links *links);
/* State of an identity with this signature; HS_LINK_ABSENT for another signature too. */
uint32_t hs_links_state(const hs_links *links, const hs_stat *st);

/* ---- sizes that any entry has (the known-sizes gate) ---- */

typedef struct hs_sizes {
    uint64_t *slots;            /* size + 1, open addressing; 0 is free */
    size_t slot_count, count;
} hs_sizes;

void hs_sizes_clear(hs_sizes *sizes);
/* Adds the sizes of all entries of a set. HS_SET_OK, or why not; HS_SET_FORMAT when an entry has no size. */
hs_set_status hs_sizes_add_set(hs_sizes *sizes, const hs_set *set, hs_set_page *page, hs_set_error *error);
/* Adds one size. 0: no memory. */
int hs_sizes_add(hs_sizes *sizes, uint64_t size);
int hs_sizes_have(const hs_sizes *sizes, uint64_t size);

/* Does content that starts like this belong to an image, a video, or a container of them? Hand over the first
 * HS_SNIFF_BYTES of a file, or all of a shorter one. */
enum { HS_SNIFF_BYTES = 512 }; /* the last signature that is looked for ends at 262 */
int hs_looks_like_media(const uint8_t *p, size_t have);

/* ---- the pipe ---- */

/* What a hit in a set can mean: one of these if all its listings mean the same, else the caller is asked. */
enum { HS_RULING_ASK = 0, HS_RULING_KNOWN_GOOD = 1, HS_RULING_UNDECIDED = 2 };

typedef struct hs_pipe_set {
    const hs_set *set;
    int ruling;
} hs_pipe_set;

/* A digest that core does not compute itself: fed every byte of every file, in order. Calls return 0, or a negated errno
 * value that ends the file as an error. */
typedef struct hs_external_digest {
    void *ctx;
    unsigned code;              /* kind code in sets */
    int (*start)(void *ctx, unsigned slot);
    int (*update)(void *ctx, unsigned slot, const uint8_t *data, size_t length);
    int (*finish)(void *ctx, unsigned slot, uint8_t *digest);
} hs_external_digest;

enum { HS_PIPE_KINDS = HS_KIND_COUNT + 1 };

typedef struct hs_pipe_config {
    const hs_os *os;
    hs_source *source;
    hs_links *links;
    const hs_pipe_set *sets;    /* kinds of the plan are loaded */
    unsigned set_count;
    const int *kinds;           /* HS_MD5 ..., in ascending order */
    unsigned kind_count;
    const hs_external_digest *external; /* NULL: none */
    uint32_t features;
    const hs_kernel *const *forced; /* by kind, or NULL */
    uint64_t max_size_bytes;    /* larger files are left out by rule */
    int media_only;             /* files that do not start like an image or video are left out by rule */
    const hs_sizes *sizes;      /* NULL: no known-sizes gate */
    int tell_all;               /* events for files that hit nothing too */
    volatile uint32_t *stop;    /* nonzero: hs_pipe_run returns soon */
} hs_pipe_config;

enum {
    HS_PIPE_WALK = 0,           /* not a file: event, operation, type, error, reason as the source told */
    HS_PIPE_NO_MATCH = 1,       /* with tell_all */
    HS_PIPE_HIT = 2,            /* a digest is in a set, or a set could not say; `fd` is handed over */
    HS_PIPE_MOVED = 3,          /* read, but not settled; `fd` is handed over */
    HS_PIPE_LINKED = 4,         /* another name of a file that is being read or that the caller knows */
    HS_PIPE_ERROR = 5,          /* operation, error */
    HS_PIPE_GONE = 6,
    HS_PIPE_SPECIAL = 7,        /* by the time it was opened it was no regular file: type */
    HS_PIPE_CLOUD_ONLY = 8,
    HS_PIPE_TOO_LARGE = 9,      /* by rule */
    HS_PIPE_NOT_MEDIA = 10      /* by rule */
};
enum { HS_PIPE_OPEN = 0, HS_PIPE_STAT = 2, HS_PIPE_READ = 3 }; /* operations; 0 to 2 as HS_WALK_* */

typedef struct hs_pipe_event {
    int event, walk_event, operation, type, error, reason;
    int fd;                     /* -1, or the caller's to close */
    int settled, link;          /* link: this identity is in the link map as HS_LINK_ASK */
    char *path;                 /* path_bytes long, the pipe's own, valid until the next hs_pipe_run */
    size_t path_bytes, path_capacity;
    hs_stat before, after;
    uint64_t bytes_read;
    uint8_t digests[HS_PIPE_KINDS][HS_DIGEST_BYTES_MAX]; /* by position in kinds, the external one last; with `ended` */
    int ended;                  /* the end of the file was reached: the digests are there */
} hs_pipe_event;

typedef struct hs_pipe_counters {
    uint64_t no_match, known_good, undecided;
    uint64_t bytes_read;        /* of every file, however it ended */
    uint64_t gated_empty, gated_size; /* of no_match: decided without a digest */
    uint64_t hole_bytes;        /* digested, but not read: holes */
} hs_pipe_counters;

enum { HS_PIPE_EVENTS = 64 };

typedef struct hs_pipe hs_pipe;

/* NULL: no memory. The config is copied; what it points to must outlive the pipe. */
hs_pipe *hs_pipe_new(const hs_pipe_config *config);
/* Closes what is open. */
void hs_pipe_free(hs_pipe *pipe);

enum {
    HS_PIPE_DONE = 0,           /* the source has ended and nothing is in flight */
    HS_PIPE_TICK = 1,           /* time is up; call again */
    HS_PIPE_FULL = 2,           /* events want to be taken; call again */
    HS_PIPE_STOPPED = 3
};

/* Works for up to about `nanoseconds`. HS_PIPE_*, or a negative status when nothing is in flight and no file can be opened
 * (-EMFILE, -ENFILE, -ENOMEM: call again when there is room; -ENOSYS). Events of the last run are forgotten first. */
int hs_pipe_run(hs_pipe *pipe, int64_t nanoseconds);

const hs_pipe_event *hs_pipe_events(const hs_pipe *pipe, size_t *count);
const hs_pipe_counters *hs_pipe_count(const hs_pipe *pipe);
unsigned hs_pipe_slot_count(const hs_pipe *pipe);

#endif
