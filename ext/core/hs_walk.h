/* hs_walk.h -- walks a directory tree by directory handles.
 *
 * What it promises
 *   - Every name below the root is told exactly once, as an item: a file, a special, or why it was not entered. What
 *     could not be listed, opened or found again is an error item; nothing is left out in silence.
 *   - No path is handed to the system but the root's. Each directory is opened relative to its parent, not following a
 *     link, and then examined through its own handle. Depth and path length are bounded by memory only.
 *   - The C stack does not grow with depth. At most `max_open_dirs` handles are held: the root's, the deepest ones and,
 *     while it is being opened, the next. A handle that was closed meanwhile is opened again through ".." of the child,
 *     else name by name from the root; either way it counts only if device and inode are those recorded on the way down.
 *   - A directory identity (device, inode) is entered once per hs_visited, whatever mounts or roots lead to it.
 *   - A directory whose path the caller excluded is compared by its bytes and never touched, not even by a stat.
 *
 * Order: the files of a directory by inode, in chunks of some thousand names, then its subdirectories, depth first.
 * Memory: one listing buffer, one frame for each level, and the names of the subdirectories not yet entered.
 *
 * Threads: one walk is used by one thread at a time. An hs_visited may serve several walks; give it a lock if they run
 * in several threads. Interrupted system calls are repeated here.
 */
#ifndef HS_WALK_H
#define HS_WALK_H

#include "hs_os.h"

/* ---- directory identities met so far ---- */

typedef struct hs_visited {
    uint64_t *slots; /* pairs (dev, ino), open addressing; (0, 0) is a free slot */
    size_t slot_count, count, limit_count;
    uint64_t unrecorded_count; /* entered without being remembered: over the limit, or no memory */
    uint64_t seed;
    void *lock; /* handed to acquire and release, which may be NULL: then one thread only */
    void (*acquire)(void *lock);
    void (*release)(void *lock);
} hs_visited;

/* Starts empty; allocates nothing. `seed` should differ between runs: a foreign filesystem can choose its inodes. */
void hs_visited_init(hs_visited *visited, size_t limit_count, uint64_t seed);
void hs_visited_clear(hs_visited *visited);
/* 1: not met before (now remembered, or not: see unrecorded_count); 0: met before. */
int hs_visited_add(hs_visited *visited, uint64_t dev, uint64_t ino);

/* ---- the walk ---- */

/* What an item tells. An empty name means the directory of the batch itself. */
enum {
    HS_WALK_FILE = 0,    /* a regular file as listed; the file may have been replaced since */
    HS_WALK_SPECIAL = 1, /* `type`: link, FIFO, socket, device or unknown; never opened */
    HS_WALK_ERROR = 2,   /* `operation` on the name failed with `error` */
    HS_WALK_GONE = 3,    /* listed, but not there any more */
    HS_WALK_SKIPPED = 4  /* a directory not entered: `reason` */
};
enum { HS_WALK_OPEN = 0, HS_WALK_LIST = 1, HS_WALK_STAT = 2 };
enum { HS_WALK_ALREADY_VISITED = -1 };

typedef struct hs_walk_item {
    const char *name; /* NUL-terminated; valid until the next call */
    uint32_t name_bytes;
    uint8_t event, operation;
    uint8_t type;   /* HS_DT_*, of FILE and SPECIAL */
    int32_t error;  /* positive errno value, of ERROR */
    int32_t reason; /* of SKIPPED: HS_WALK_ALREADY_VISITED, or the reason of the hs_walk_skip that matched */
    uint64_t ino;   /* of FILE and SPECIAL, as listed: good for ordering, not for identity (mount points differ) */
} hs_walk_item;

/* The directory that all items of the last batch lie in. */
typedef struct hs_walk_dir {
    uint64_t serial; /* differs for every directory entered; 0: the root, which could not be entered */
    uint64_t dev, ino, mnt_id;
    const char *path; /* valid until the next call */
    size_t path_bytes;
} hs_walk_dir;

/* A directory not to be entered: absolute path without a slash at the end, and a number (>= 0) for the reason. */
typedef struct hs_walk_skip {
    const char *path;
    size_t path_bytes;
    int32_t reason;
} hs_walk_skip;

enum { HS_WALK_MIN_OPEN_DIRS = 3, HS_WALK_MAX_BATCH = 8192 };

typedef struct hs_walk hs_walk;

/* Starts a walk of the directory `root` (absolute, no slash at the end unless it is "/"); touches nothing yet. Copies
 * root and skips; `os` and `visited` must outlive the walk. Returns 0, -EINVAL or -ENOMEM. */
int hs_walk_new(hs_walk **out, const hs_os *os, const char *root, size_t root_bytes, const hs_walk_skip *skips,
                size_t skip_count, hs_visited *visited, unsigned max_open_dirs);
void hs_walk_free(hs_walk *walk);

/* The next 1 to max_count items, all of one directory, and 0 at the end. Negative, with nothing lost:
 *   -EMFILE, -ENFILE, -ENOMEM   nothing left to give back; call again when descriptors or memory are free,
 *   -EAGAIN                     nothing to tell in many directories, so that the caller can look up; call again,
 *   -ENOSYS                     the system cannot list directories by handle. */
int64_t hs_walk_next(hs_walk *walk, size_t max_count, const hs_walk_item **items, hs_walk_dir *dir);

/* The handle of the directory with this serial while the walk holds it, else -EBADF. It stays the walk's own. */
int hs_walk_dir_fd(const hs_walk *walk, uint64_t serial);

/* Number of directory handles held now, and of directories entered so far. */
size_t hs_walk_open_count(const hs_walk *walk);
uint64_t hs_walk_entered_count(const hs_walk *walk);

#endif
