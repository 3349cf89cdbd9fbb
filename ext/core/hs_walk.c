/* hs_walk.c -- see hs_walk.h for the promises.
 *
 * The walk is a stack of frames, one for each directory between the root and the current one. A frame goes through
 *
 *   LISTING    getdents fills the one buffer; files become items at once, names of subdirectories go to the arena
 *   ENTERING   its names in the arena are entered one by one; each that succeeds becomes the frame above
 *   LEAVING    the handle of the parent is made good again if it was closed, then the frame goes
 *
 * A directory is listed to the end before a subdirectory is entered, so one buffer serves all frames, no position in a
 * directory is ever resumed, and arena and path are plain stacks beside the stack of frames.
 *
 * Invariants
 *   - frames[0].fd (the root) and the top frame's fd are open, except that a frame whose handle could not be recovered
 *     has fd -1 and either no name left or `lost` set.
 *   - names of frame i fill arena[names_begin, names_end), and names_end of frame i is names_begin of frame i + 1.
 *   - path holds the path of the top frame, NUL-terminated; the path of frame i is its prefix of path_bytes.
 *   - what can fail for lack of memory or descriptors is done before state moves on, so a failed call can be repeated.
 *   - all items of a batch lie in one directory, and while a FILE item is in the batch that directory is the top frame.
 */
#include "hs_walk.h"

#include <errno.h>
#include <stdlib.h>

#if defined(ESTALE)
#define ANOTHER_DIRECTORY ESTALE
#else
#define ANOTHER_DIRECTORY EIO
#endif
#if defined(ELOOP)
#define IS_A_LINK ELOOP
#else
#define IS_A_LINK ENOTDIR
#endif

enum { LISTING_BYTES = 256 * 1024, DIRECTORIES_A_CALL = 256 };
enum { MODE_TYPE = 0170000, MODE_TYPE_SHIFT = 12 }; /* the file type bits of st_mode are HS_DT_* shifted by this */

/* ------------------------------------------------------------------------------------------------ visited */

enum { FIRST_SLOT_COUNT = 1024 };

void hs_visited_init(hs_visited *visited, size_t limit_count, uint64_t seed) {
    memset(visited, 0, sizeof *visited);
    visited->limit_count = limit_count;
    visited->seed = seed;
}

void hs_visited_clear(hs_visited *visited) {
    free(visited->slots);
    visited->slots = NULL;
    visited->slot_count = visited->count = 0;
}

/* The finaliser of splitmix64: every input bit reaches every output bit. */
static uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Index of the slot that holds the identity, or of the free one where it belongs. The table is never full. */
static size_t slot_of(const hs_visited *visited, const uint64_t *slots, size_t slot_count, uint64_t dev, uint64_t ino) {
    size_t i = (size_t)mixed(mixed(dev ^ visited->seed) ^ ino) & (slot_count - 1);
    while ((slots[2 * i] | slots[2 * i + 1]) != 0 && (slots[2 * i] != dev || slots[2 * i + 1] != ino))
        i = (i + 1) & (slot_count - 1);
    return i;
}

static int grown(hs_visited *visited) {
    size_t slot_count = visited->slot_count ? visited->slot_count * 2 : FIRST_SLOT_COUNT;
    uint64_t *slots = calloc(slot_count, 2 * sizeof *slots);
    if (slots == NULL) return 0;
    for (size_t i = 0; i < visited->slot_count; i++) {
        uint64_t dev = visited->slots[2 * i], ino = visited->slots[2 * i + 1];
        if ((dev | ino) == 0) continue;
        size_t j = slot_of(visited, slots, slot_count, dev, ino);
        slots[2 * j] = dev;
        slots[2 * j + 1] = ino;
    }
    free(visited->slots);
    visited->slots = slots;
    visited->slot_count = slot_count;
    return 1;
}

static int add(hs_visited *visited, uint64_t dev, uint64_t ino) {
    if (visited->slot_count != 0) {
        size_t i = slot_of(visited, visited->slots, visited->slot_count, dev, ino);
        if ((visited->slots[2 * i] | visited->slots[2 * i + 1]) != 0) return 0;
    }
    /* At most three quarters full: linear probing stays short. Not remembering costs at worst a second reading. */
    if ((dev | ino) == 0 || visited->count >= visited->limit_count ||
        (visited->count >= visited->slot_count / 4 * 3 && !grown(visited))) {
        visited->unrecorded_count++;
        return 1;
    }
    size_t i = slot_of(visited, visited->slots, visited->slot_count, dev, ino);
    visited->slots[2 * i] = dev;
    visited->slots[2 * i + 1] = ino;
    visited->count++;
    return 1;
}

int hs_visited_add(hs_visited *visited, uint64_t dev, uint64_t ino) {
    if (visited->acquire) visited->acquire(visited->lock);
    int is_new = add(visited, dev, ino);
    if (visited->release) visited->release(visited->lock);
    return is_new;
}

/* ------------------------------------------------------------------------------------------------ state */

enum { LISTING, ENTERING, LEAVING };

typedef struct frame {
    uint64_t serial, dev, ino, mnt_id;
    size_t path_bytes, name_offset; /* its path ends, and its last name begins, here in `path` */
    size_t names_begin, names_next, names_end;
    int fd;    /* -1: closed to keep within the limit */
    int state;
    int lost;  /* not 0: the handle could not be recovered, for this errno value; the names left become errors */
} frame;

struct hs_walk {
    const hs_os *os;
    hs_visited *visited;
    hs_walk_skip *skips; /* sorted by length, then bytes; the bytes follow the array in the same block */
    size_t skip_count, max_open_dirs;

    frame *frames;
    size_t depth, frame_capacity; /* frames in use: the top is frames[depth - 1] */
    size_t open_count;
    size_t first_open; /* frames 1 to first_open - 1 are closed: where the search for a spare handle begins */
    uint64_t entered_count;
    int started;

    char *path;
    size_t path_capacity, root_bytes;
    char *arena;
    size_t arena_capacity;

    unsigned char *listing; /* LISTING_BYTES, of which [parsed, filled) is still to be looked at */
    size_t parsed, filled;

    hs_walk_item *items; /* HS_WALK_MAX_BATCH */
    size_t item_count;
};

/* What a step says to the loop in hs_walk_next; negative values are its statuses. */
enum { GO_ON = 0, DELIVER = 1 };

static frame *top(hs_walk *w) { return &w->frames[w->depth - 1]; }

/* Room for `need` elements; what is there stays. 0 or -ENOMEM. */
static int reserve(void **memory, size_t *capacity, size_t need, size_t element_bytes) {
    if (need <= *capacity) return 0;
    size_t grown_to = *capacity < 64 ? 64 : *capacity;
    while (grown_to < need) {
        if (grown_to > SIZE_MAX / 2 / element_bytes) return -ENOMEM;
        grown_to *= 2;
    }
    void *moved = realloc(*memory, grown_to * element_bytes);
    if (moved == NULL) return -ENOMEM;
    *memory = moved;
    *capacity = grown_to;
    return 0;
}

static int reserve_path(hs_walk *w, size_t need) {
    void *memory = w->path;
    int status = reserve(&memory, &w->path_capacity, need, 1);
    w->path = memory;
    return status;
}

static int reserve_arena(hs_walk *w, size_t need) {
    void *memory = w->arena;
    int status = reserve(&memory, &w->arena_capacity, need, 1);
    w->arena = memory;
    return status;
}

static int reserve_frames(hs_walk *w, size_t need) {
    void *memory = w->frames;
    int status = reserve(&memory, &w->frame_capacity, need, sizeof(frame));
    w->frames = memory;
    return status;
}

static hs_walk_item *emit(hs_walk *w, int event, const char *name, size_t name_bytes) {
    hs_walk_item *item = &w->items[w->item_count++];
    memset(item, 0, sizeof *item);
    item->event = (uint8_t)event;
    item->name = name;
    item->name_bytes = (uint32_t)name_bytes;
    return item;
}

/* A failed call as an item. `status` is the negated errno value; a name that is not there is gone, not wrong. */
static void emit_failure(hs_walk *w, const char *name, size_t name_bytes, int operation, int status) {
    if (status == -ENOENT && w->depth > 0) {
        emit(w, HS_WALK_GONE, name, name_bytes);
        return;
    }
    hs_walk_item *item = emit(w, HS_WALK_ERROR, name, name_bytes);
    item->operation = (uint8_t)operation;
    item->error = -status;
}

/* ------------------------------------------------------------------------------------------------ handles */

static void close_fd(hs_walk *w, int fd) { (void)w->os->close(w->os->ctx, fd); }

static void hold(hs_walk *w, size_t index, int fd) {
    w->frames[index].fd = fd;
    w->open_count++;
    if (index > 0 && index < w->first_open) w->first_open = index;
}

static void let_go(hs_walk *w, frame *f) {
    if (f->fd < 0) return;
    close_fd(w, f->fd);
    f->fd = -1;
    w->open_count--;
}

/* Closes the shallowest handle that the walk can do without: not the root's or the top's. */
static int close_spare(hs_walk *w) {
    for (size_t i = w->first_open; i + 1 < w->depth; i++) {
        if (w->frames[i].fd < 0) continue;
        let_go(w, &w->frames[i]);
        while (w->first_open + 1 < w->depth && w->frames[w->first_open].fd < 0) w->first_open++;
        return 1;
    }
    return 0;
}

static int no_handles(int status) { return status == -EMFILE || status == -ENFILE; }

/* A directory handle for `name` in `dirfd`, or a negated errno value. When the system has none to give, the spare ones
 * of the walk go first; dirfd must not be one of them. */
static int open_dir(hs_walk *w, int dirfd, const char *name) {
    while (w->open_count >= w->max_open_dirs && close_spare(w)) {}
    for (;;) {
        int fd = w->os->openat(w->os->ctx, dirfd, name, HS_OPEN_DIR);
        if (fd == -EINTR || (no_handles(fd) && close_spare(w))) continue;
        return fd;
    }
}

static int stat_name(hs_walk *w, int dirfd, const char *name, hs_stat *st) {
    int status;
    do status = w->os->statx(w->os->ctx, dirfd, name, st);
    while (status == -EINTR);
    return status;
}

static int is_frame(hs_walk *w, int fd, const frame *f) {
    hs_stat st;
    return stat_name(w, fd, NULL, &st) == 0 && st.dev == f->dev && st.ino == f->ino;
}

/* ------------------------------------------------------------------------------------------------ entering */

/* The path of `name` in the top frame, put into w->path behind the path of that frame. 0 or -ENOMEM. */
static int extend_path(hs_walk *w, const char *name, size_t name_bytes, size_t *name_offset, size_t *path_bytes) {
    const frame *f = top(w);
    size_t slash = w->path[f->path_bytes - 1] != '/';
    *name_offset = f->path_bytes + slash;
    *path_bytes = *name_offset + name_bytes;
    int status = reserve_path(w, *path_bytes + 1);
    if (status) return status;
    if (slash) w->path[f->path_bytes] = '/';
    memcpy(w->path + *name_offset, name, name_bytes);
    w->path[*path_bytes] = 0;
    return 0;
}

static void shorten_path(hs_walk *w) { w->path[top(w)->path_bytes] = 0; }

static int compare_skips(const void *a_, const void *b_) {
    const hs_walk_skip *a = a_, *b = b_;
    if (a->path_bytes != b->path_bytes) return a->path_bytes < b->path_bytes ? -1 : 1;
    return memcmp(a->path, b->path, a->path_bytes);
}

/* The first `path_bytes` of the path, where they lead into an excluded directory. */
static const hs_walk_skip *skip_of(const hs_walk *w, size_t path_bytes) {
    if (w->skip_count == 0) return NULL;
    hs_walk_skip key = {w->path, path_bytes, 0};
    return bsearch(&key, w->skips, w->skip_count, sizeof key, compare_skips);
}

/* Opens a directory and examines it through its handle. The handle, or a negated errno value of *operation. */
static int open_and_stat(hs_walk *w, int dirfd, const char *name, hs_stat *st, int *operation) {
    *operation = HS_WALK_OPEN;
    int fd = open_dir(w, dirfd, name);
    if (fd < 0) return fd;
    *operation = HS_WALK_STAT;
    int status = stat_name(w, fd, NULL, st);
    if (status == 0 && (st->mode & MODE_TYPE) >> MODE_TYPE_SHIFT != HS_DT_DIR) status = -ENOTDIR;
    if (status == 0) return fd;
    close_fd(w, fd);
    return status;
}

/* Makes an opened directory the top frame. Frames must be reserved; w->path is already its path. */
static void push(hs_walk *w, int fd, const hs_stat *st, size_t name_offset, size_t path_bytes) {
    size_t names_begin = w->depth ? top(w)->names_end : 0;
    frame *f = &w->frames[w->depth++];
    memset(f, 0, sizeof *f);
    f->serial = ++w->entered_count;
    f->dev = st->dev;
    f->ino = st->ino;
    f->mnt_id = st->mnt_id;
    f->name_offset = name_offset;
    f->path_bytes = path_bytes;
    f->names_begin = f->names_next = f->names_end = names_begin;
    f->state = LISTING;
    w->parsed = w->filled = 0;
    hold(w, w->depth - 1, fd);
}

static int enter_root(hs_walk *w) {
    int status = reserve_frames(w, 1);
    if (status) return status;
    hs_stat st;
    int operation;
    int fd = open_and_stat(w, -1, w->path, &st, &operation);
    if (no_handles(fd) || fd == -ENOSYS) return fd;
    w->started = 1;
    if (fd < 0) {
        emit_failure(w, "", 0, operation, fd);
    } else if (!hs_visited_add(w->visited, st.dev, st.ino)) {
        close_fd(w, fd);
        emit(w, HS_WALK_SKIPPED, "", 0)->reason = HS_WALK_ALREADY_VISITED;
    } else {
        push(w, fd, &st, 0, w->root_bytes);
    }
    return GO_ON;
}

/* A name that is no directory, or may be none, as an item of the type a stat tells. Returns HS_DT_DIR if it is one. */
static int emit_by_stat(hs_walk *w, const char *name, size_t name_bytes) {
    hs_stat st;
    int status = stat_name(w, top(w)->fd, name, &st);
    if (status) {
        emit_failure(w, name, name_bytes, HS_WALK_STAT, status);
        return HS_DT_UNKNOWN;
    }
    int type = (int)((st.mode & MODE_TYPE) >> MODE_TYPE_SHIFT);
    if (type == HS_DT_DIR) return type;
    hs_walk_item *item = emit(w, type == HS_DT_REG ? HS_WALK_FILE : HS_WALK_SPECIAL, name, name_bytes);
    item->type = (uint8_t)type;
    item->ino = st.ino;
    return type;
}

/* Enters the next subdirectory of the top frame, or tells why not. */
static int enter_next(hs_walk *w) {
    frame *f = top(w);
    if (f->names_next == f->names_end) {
        if (w->item_count) return DELIVER;
        f->state = LEAVING;
        return GO_ON;
    }
    const char *name = w->arena + f->names_next;
    size_t name_bytes = strlen(name), after = f->names_next + name_bytes + 1;
    if (f->lost) {
        hs_walk_item *item = emit(w, HS_WALK_ERROR, name, name_bytes);
        item->operation = HS_WALK_OPEN;
        item->error = f->lost;
        f->names_next = after;
        return GO_ON;
    }

    size_t name_offset, path_bytes;
    int status = reserve_frames(w, w->depth + 1);
    if (status == 0) status = extend_path(w, name, name_bytes, &name_offset, &path_bytes);
    if (status) return status;
    f = top(w);
    const hs_walk_skip *skip = skip_of(w, path_bytes);
    if (skip != NULL) {
        emit(w, HS_WALK_SKIPPED, name, name_bytes)->reason = skip->reason;
        f->names_next = after;
        shorten_path(w);
        return GO_ON;
    }

    hs_stat st;
    int operation;
    int fd = open_and_stat(w, f->fd, name, &st, &operation);
    if (no_handles(fd)) {
        shorten_path(w);
        return fd;
    }
    f->names_next = after;
    if (fd >= 0 && hs_visited_add(w->visited, st.dev, st.ino)) {
        push(w, fd, &st, name_offset, path_bytes);
        return GO_ON; /* items so far are delivered before the listing begins */
    }
    shorten_path(w);
    if (fd >= 0) {
        close_fd(w, fd);
        emit(w, HS_WALK_SKIPPED, name, name_bytes)->reason = HS_WALK_ALREADY_VISITED;
        return GO_ON;
    }
    if (operation == HS_WALK_OPEN && (fd == -ENOTDIR || fd == -IS_A_LINK)) {
        /* Listed as a directory and replaced since. Its new self is told, before the walk leaves this directory. */
        if (emit_by_stat(w, name, name_bytes) == HS_DT_DIR) emit_failure(w, name, name_bytes, operation, fd);
        return DELIVER;
    }
    emit_failure(w, name, name_bytes, operation, fd);
    return GO_ON;
}

/* ------------------------------------------------------------------------------------------------ leaving */

/* Opens frame `index` again, name by name from the root. The handle or a negated errno. Called when the frames between
 * are closed: with the handle of one step and the next, three are open. */
static int walk_down(hs_walk *w, size_t index) {
    int at = w->frames[0].fd;
    for (size_t i = 1; i <= index; i++) {
        const frame *f = &w->frames[i];
        char behind = w->path[f->path_bytes];
        w->path[f->path_bytes] = 0;
        int next = open_dir(w, at, w->path + f->name_offset);
        w->path[f->path_bytes] = behind;
        if (i > 1) close_fd(w, at);
        if (next < 0) return next;
        at = next;
    }
    if (is_frame(w, at, &w->frames[index])) return at;
    close_fd(w, at);
    return -ANOTHER_DIRECTORY;
}

/* Leaves the top frame; the one below gets its handle back if it was closed and is needed. */
static int leave(hs_walk *w) {
    frame *f = top(w);
    if (w->depth > 1) {
        size_t index = w->depth - 2;
        frame *parent = &w->frames[index];
        int needed = parent->names_next != parent->names_end && !parent->lost;
        if (parent->fd < 0 && f->fd >= 0) {
            /* Done even for a parent with nothing left to enter: its own parent is reached through it. */
            int fd = open_dir(w, f->fd, "..");
            if (no_handles(fd) && needed) return fd;
            if (fd >= 0 && is_frame(w, fd, parent))
                hold(w, index, fd);
            else if (fd >= 0)
                close_fd(w, fd);
        }
        let_go(w, f);
        if (parent->fd < 0 && needed) {
            int fd = walk_down(w, index);
            if (no_handles(fd)) return fd;
            if (fd >= 0)
                hold(w, index, fd);
            else
                parent->lost = -fd;
        }
    }
    let_go(w, f);
    w->depth--;
    if (w->depth) shorten_path(w);
    if (w->first_open > w->depth) w->first_open = w->depth ? w->depth : 1;
    return GO_ON;
}

/* ------------------------------------------------------------------------------------------------ listing */

static int remember_directory(hs_walk *w, const char *name, size_t name_bytes) {
    frame *f = top(w);
    int status = reserve_arena(w, f->names_end + name_bytes + 1);
    if (status) return status;
    memcpy(w->arena + f->names_end, name, name_bytes);
    w->arena[f->names_end + name_bytes] = 0;
    f->names_end += name_bytes + 1;
    return 0;
}

/* One name as listed. At most one item. 0 or -ENOMEM. */
static int take_entry(hs_walk *w, const char *name, size_t name_bytes, int type, uint64_t ino) {
    if (name[0] == '.' && (name_bytes == 1 || (name_bytes == 2 && name[1] == '.'))) return 0;
    hs_walk_item *item;
    switch (type) {
    case HS_DT_DIR:
        return remember_directory(w, name, name_bytes);
    case HS_DT_REG:
    case HS_DT_LNK:
    case HS_DT_FIFO:
    case HS_DT_SOCK:
    case HS_DT_CHR:
    case HS_DT_BLK:
        item = emit(w, type == HS_DT_REG ? HS_WALK_FILE : HS_WALK_SPECIAL, name, name_bytes);
        item->type = (uint8_t)type;
        item->ino = ino;
        return 0;
    default: /* the filesystem does not say */
        return emit_by_stat(w, name, name_bytes) == HS_DT_DIR ? remember_directory(w, name, name_bytes) : 0;
    }
}

/* Ends the listing of the top frame; what was listed so far stays. */
static int listed(hs_walk *w, int status) {
    if (status) emit_failure(w, "", 0, HS_WALK_LIST, status);
    w->parsed = w->filled = 0;
    top(w)->state = ENTERING;
    return w->item_count ? DELIVER : GO_ON;
}

static int by_ino(const void *a, const void *b) {
    const hs_walk_item *x = a, *y = b;
    return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* Files are made one after another and get inodes and blocks in that order; a directory lists them by hash. Read in inode
 * order, /usr/share from a cold ext4 makes half as many requests that do not follow on the one before (61,000 -> 30,000 of
 * 64,000), which is what a disk with heads pays for. Sorting costs 40 ns a name. */
static void sort_items(hs_walk *w) {
    if (w->item_count > 1) qsort(w->items, w->item_count, sizeof *w->items, by_ino);
}

static int list(hs_walk *w, size_t max_count) {
    if (w->parsed == w->filled) {
        if (w->item_count) return DELIVER; /* the names of its items lie in the buffer */
        int64_t n;
        do n = w->os->getdents(w->os->ctx, top(w)->fd, w->listing, LISTING_BYTES);
        while (n == -EINTR);
        if (n == -ENOSYS && w->depth == 1) return -ENOSYS;
        if (n <= 0) return listed(w, (int)n);
        w->parsed = 0;
        w->filled = n < LISTING_BYTES ? (size_t)n : LISTING_BYTES;
    }
    while (w->parsed < w->filled && w->item_count < max_count) {
        const unsigned char *entry = w->listing + w->parsed;
        size_t left = w->filled - w->parsed;
        uint16_t entry_bytes = 0;
        uint64_t ino = 0;
        if (left <= HS_DIRENT_NAME) return listed(w, -EIO);
        memcpy(&entry_bytes, entry + HS_DIRENT_RECLEN, sizeof entry_bytes);
        memcpy(&ino, entry + HS_DIRENT_INO, sizeof ino);
        if (entry_bytes <= HS_DIRENT_NAME || entry_bytes > left) return listed(w, -EIO);
        const char *name = (const char *)entry + HS_DIRENT_NAME;
        const char *end = memchr(name, 0, entry_bytes - (size_t)HS_DIRENT_NAME);
        /* A slash would lead out of the directory; no sound filesystem lists one. */
        if (end == NULL || end == name || memchr(name, '/', (size_t)(end - name)) != NULL) return listed(w, -EIO);
        int status = take_entry(w, name, (size_t)(end - name), entry[HS_DIRENT_TYPE], ino);
        if (status) return status;
        w->parsed += entry_bytes;
    }
    sort_items(w);
    return GO_ON;
}

/* ------------------------------------------------------------------------------------------------ the walk */

int64_t hs_walk_next(hs_walk *w, size_t max_count, const hs_walk_item **items, hs_walk_dir *dir) {
    if (max_count == 0 || max_count > HS_WALK_MAX_BATCH) max_count = HS_WALK_MAX_BATCH;
    w->item_count = 0;
    memset(dir, 0, sizeof *dir);
    size_t batch_depth = 0; /* the frame of the items, counted like depth */
    int status = GO_ON;
    const uint64_t entered = w->entered_count;
    while (status == GO_ON && w->item_count < max_count) {
        if (w->item_count == 0 && w->entered_count - entered > DIRECTORIES_A_CALL) return -EAGAIN;
        size_t before = w->item_count, depth = w->depth;
        if (depth == 0) {
            if (w->started) break;
            status = enter_root(w);
        } else if (top(w)->state == LISTING) {
            status = list(w, max_count);
        } else if (top(w)->state == ENTERING) {
            status = enter_next(w);
        } else {
            status = leave(w);
        }
        if (w->item_count > before) batch_depth = depth;
    }
    *items = w->items;
    if (w->item_count == 0) return status < 0 ? status : 0;
    dir->path = w->path;
    dir->path_bytes = w->root_bytes;
    if (batch_depth) {
        const frame *f = &w->frames[batch_depth - 1];
        dir->serial = f->serial;
        dir->dev = f->dev;
        dir->ino = f->ino;
        dir->mnt_id = f->mnt_id;
        dir->path_bytes = f->path_bytes;
    }
    return (int64_t)w->item_count;
}

int hs_walk_dir_fd(const hs_walk *w, uint64_t serial) {
    for (size_t i = w->depth; i-- > 0 && w->frames[i].serial >= serial;) {
        if (w->frames[i].serial == serial) return w->frames[i].fd < 0 ? -EBADF : w->frames[i].fd;
    }
    return -EBADF;
}

size_t hs_walk_open_count(const hs_walk *w) { return w->open_count; }

uint64_t hs_walk_entered_count(const hs_walk *w) { return w->entered_count; }

static int copy_skips(hs_walk *w, const hs_walk_skip *skips, size_t skip_count) {
    if (skip_count == 0) return 0;
    if (skip_count > SIZE_MAX / 2 / sizeof *skips) return -ENOMEM;
    size_t total_bytes = skip_count * sizeof *skips;
    for (size_t i = 0; i < skip_count; i++) {
        if (skips[i].path_bytes > SIZE_MAX / 2 - total_bytes) return -ENOMEM;
        total_bytes += skips[i].path_bytes;
    }
    w->skips = malloc(total_bytes);
    if (w->skips == NULL) return -ENOMEM;
    char *bytes = (char *)(w->skips + skip_count);
    for (size_t i = 0; i < skip_count; i++) {
        memcpy(bytes, skips[i].path, skips[i].path_bytes);
        w->skips[i] = skips[i];
        w->skips[i].path = bytes;
        bytes += skips[i].path_bytes;
    }
    w->skip_count = skip_count;
    qsort(w->skips, skip_count, sizeof *skips, compare_skips);
    return 0;
}

int hs_walk_new(hs_walk **out, const hs_os *os, const char *root, size_t root_bytes, const hs_walk_skip *skips,
                size_t skip_count, hs_visited *visited, unsigned max_open_dirs) {
    *out = NULL;
    if (root_bytes == 0 || memchr(root, 0, root_bytes) != NULL || max_open_dirs < HS_WALK_MIN_OPEN_DIRS) return -EINVAL;
    hs_walk *w = calloc(1, sizeof *w);
    if (w == NULL) return -ENOMEM;
    w->os = os;
    w->visited = visited;
    w->max_open_dirs = max_open_dirs;
    w->first_open = 1;
    w->root_bytes = root_bytes;
    w->listing = malloc(LISTING_BYTES);
    w->items = malloc(HS_WALK_MAX_BATCH * sizeof *w->items);
    if (w->listing == NULL || w->items == NULL || reserve_path(w, root_bytes + 1) || copy_skips(w, skips, skip_count)) {
        hs_walk_free(w);
        return -ENOMEM;
    }
    memcpy(w->path, root, root_bytes);
    w->path[root_bytes] = 0;
    *out = w;
    return 0;
}

void hs_walk_free(hs_walk *w) {
    if (w == NULL) return;
    for (size_t i = 0; i < w->depth; i++) let_go(w, &w->frames[i]);
    free(w->frames);
    free(w->path);
    free(w->arena);
    free(w->skips);
    free(w->listing);
    free(w->items);
    free(w);
}
