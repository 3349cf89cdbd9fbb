/* hs_pipe.c -- see hs_pipe.h.
 *
 * A slot goes FREE -> BODY (whole chunks are read and digested) -> TAIL (padding; only where kinds with different padding are
 * planned, else it is part of the last chunk) -> finished, looked up, FREE.
 */
#include "hs_pipe.h"

#include <errno.h>
#include <stdlib.h>

enum {
    /* Sixteen of these and their states stay in a second-level cache of 512 KiB. Whole-tree scan, MD5, 2 vCPU EPYC Zen 3:
     * 16 KiB 3 % slower (more calls), 64 KiB 4 % slower (the cache), 128 KiB 9 %. */
    CHUNK_BYTES = 32 * 1024,
    /* Room behind a chunk for the padding, and 64 bytes more for every slot, so that not all begin on one cache line set. */
    TAIL_BYTES = 2 * HS_BLOCK_BYTES,
    STAGGER_BYTES = 64,
    LARGE_BYTES = 1 << 20,             /* from here on a file is worth advice to the system */
    DROP_BYTES = 4 << 20,              /* of a large file, after which its pages are given back; see read_at */
    GROWTH_BYTES = 64 << 20,           /* a file may be this much longer than it said; past it, it moved */
    MOUNTS = 16,
    STEPS_A_CLOCK = 8,                 /* looks at the clock */
    CANDIDATES_A_CLOCK = 64            /* the same, while none of them has to be read */
};
enum { SLOT_FREE = 0, SLOT_BODY, SLOT_TAIL };

typedef struct slot {
    int phase, fd, linked, ended, sparse, external_status;
    int uncached;                      /* large, and no page of it was in the page cache when it was opened */
    hs_stat before;
    uint64_t offset;                   /* bytes read so far */
    uint64_t dropped;                  /* uncached: so far, pages were given back */
    uint64_t next_data;                /* sparse: where the next data begins, known from here back */
    uint8_t *buffer;
    uint8_t tails[2][TAIL_BYTES];
    uint8_t external[HS_DIGEST_BYTES_MAX];
    size_t tail_blocks;
    char *path;
    size_t path_bytes, path_capacity;
} slot;

/* What was learned about a mount: asked once, not paid for every file. */
typedef struct mount_facts {
    uint64_t dev;
    int no_noatime, no_uncached;
} mount_facts;

struct hs_pipe {
    hs_pipe_config config;
    int kinds[HS_KIND_COUNT];
    hs_pipe_set *sets;
    const hs_kernel *forced[HS_KIND_COUNT];
    hs_external_digest external;
    unsigned position_count;           /* planned kinds and the external one */
    hs_lanes lanes;
    slot slots[HS_SLOTS_MAX];
    unsigned slot_count, live;
    int source_ended, two_tails;
    mount_facts mounts[MOUNTS];
    unsigned mount_count;
    int64_t euid;
    uint8_t *memory, *zeros;
    hs_pipe_event events[HS_PIPE_EVENTS];
    size_t event_count;
    hs_pipe_counters counters;
    hs_set_page page;
};

/* ---- walk source ----------------------------------------------------------------------------------------------- */

void hs_walk_source_init(hs_walk_source *source, hs_walk *walk) {
    memset(source, 0, sizeof *source);
    source->walk = walk;
}

int hs_walk_source_next(void *ctx, hs_candidate *out) {
    hs_walk_source *source = ctx;
    if (source->position == source->count) {
        int64_t got = hs_walk_next(source->walk, HS_WALK_MAX_BATCH, &source->items, &source->dir);
        if (got <= 0) return (int)got;
        source->count = got;
        source->position = 0;
        source->dirfd = hs_walk_dir_fd(source->walk, source->dir.serial);
    }
    const hs_walk_item *item = &source->items[source->position++];
    out->event = item->event;
    out->operation = item->operation;
    out->type = item->type;
    out->error = item->error;
    out->reason = item->reason;
    out->dirfd = source->dirfd;
    out->fd = -1;
    out->dir = source->dir.path;
    out->dir_bytes = source->dir.path_bytes;
    out->name = item->name;
    out->name_bytes = item->name_bytes;
    out->dev = source->dir.dev;
    return 1;
}

/* ---- links ------------------------------------------------------------------------------------------------------ */

static size_t mix(uint64_t a, uint64_t b) {
    uint64_t x = a * 0x9e3779b97f4a7c15u ^ b;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (size_t)(x ^ (x >> 31));
}

void hs_links_init(hs_links *links, size_t limit_count) {
    memset(links, 0, sizeof *links);
    links->limit_count = limit_count;
}

void hs_links_clear(hs_links *links) {
    free(links->slots);
    links->slots = NULL;
    links->slot_count = links->count = 0;
}

static hs_link *link_at(const hs_links *links, uint64_t dev, uint64_t ino) {
    if (!links->slot_count) return NULL;
    for (size_t i = mix(dev, ino);; i++) {
        hs_link *link = &links->slots[i & (links->slot_count - 1)];
        if (link->state == HS_LINK_ABSENT || (link->dev == dev && link->ino == ino)) return link;
    }
}

static int same_file(const hs_link *link, const hs_stat *st) {
    return link->state != HS_LINK_ABSENT && link->size == st->size && link->mtime_ns == st->mtime_ns &&
           link->ctime_ns == st->ctime_ns;
}

uint32_t hs_links_state(const hs_links *links, const hs_stat *st) {
    const hs_link *link = link_at(links, st->dev, st->ino);
    return link && same_file(link, st) ? link->state : HS_LINK_ABSENT;
}

/* Remembers an identity as being read; 0 when there is no room. An entry with an older signature is taken over. */
static int links_begin(hs_links *links, const hs_stat *st) {
    if (links->count * 4 >= links->slot_count * 3) {
        if (links->count >= links->limit_count) return 0;
        size_t grown_count = links->slot_count ? links->slot_count * 2 : 256;
        hs_links grown = {calloc(grown_count, sizeof *grown.slots), grown_count, links->count, links->limit_count};
        if (!grown.slots) return 0;
        for (size_t i = 0; i < links->slot_count; i++) {
            const hs_link *old = &links->slots[i];
            if (old->state != HS_LINK_ABSENT) *link_at(&grown, old->dev, old->ino) = *old;
        }
        free(links->slots);
        *links = grown;
    }
    hs_link *link = link_at(links, st->dev, st->ino);
    if (link->state == HS_LINK_ABSENT) links->count++;
    *link = (hs_link){st->dev, st->ino, st->size, st->mtime_ns, st->ctime_ns, HS_LINK_READING};
    return 1;
}

static void lock(hs_pipe *pipe) {
    if (pipe->config.source->acquire) pipe->config.source->acquire(pipe->config.source->lock);
}

static void unlock(hs_pipe *pipe) {
    if (pipe->config.source->release) pipe->config.source->release(pipe->config.source->lock);
}

static void links_end(hs_pipe *pipe, const hs_stat *st, uint32_t state) {
    lock(pipe);
    hs_link *link = link_at(pipe->config.links, st->dev, st->ino);
    /* Another pipe may have begun it anew by now, with another signature: what was read before says nothing of that. */
    if (link && link->state == HS_LINK_READING && same_file(link, st)) link->state = state;
    unlock(pipe);
}

/* ---- sizes ------------------------------------------------------------------------------------------------------ */

void hs_sizes_clear(hs_sizes *sizes) {
    free(sizes->slots);
    memset(sizes, 0, sizeof *sizes);
}

static uint64_t *size_at(uint64_t *slots, size_t slot_count, uint64_t size) {
    for (size_t i = mix(size, 1);; i++) {
        uint64_t *at = &slots[i & (slot_count - 1)];
        if (*at == 0 || *at == size + 1) return at;
    }
}

int hs_sizes_add(hs_sizes *sizes, uint64_t size) {
    if (sizes->count * 2 >= sizes->slot_count) {
        size_t grown_count = sizes->slot_count ? sizes->slot_count * 2 : 1024;
        uint64_t *grown = calloc(grown_count, sizeof *grown);
        if (!grown) return 0;
        for (size_t i = 0; i < sizes->slot_count; i++)
            if (sizes->slots[i]) *size_at(grown, grown_count, sizes->slots[i] - 1) = sizes->slots[i];
        free(sizes->slots);
        sizes->slots = grown;
        sizes->slot_count = grown_count;
    }
    uint64_t *at = size_at(sizes->slots, sizes->slot_count, size);
    if (!*at) sizes->count++;
    *at = size + 1;
    return 1;
}

hs_set_status hs_sizes_add_set(hs_sizes *sizes, const hs_set *set, hs_set_page *page, hs_set_error *error) {
    for (unsigned i = 0; i < set->shape_count; i++) {
        const hs_set_shape *shape = &set->shapes[i];
        for (uint64_t n = 0; n < shape->count; n++) {
            hs_set_entry entry;
            hs_set_status status = hs_set_entry_at(set, shape->first_entry + n, page, &entry, error);
            if (status != HS_SET_OK) return status;
            if (!entry.has_size) return error->text = "an entry has no size", error->status = HS_SET_FORMAT;
            if (!hs_sizes_add(sizes, entry.size)) return error->text = "no memory for sizes", error->status = HS_SET_MEMORY;
        }
    }
    return HS_SET_OK;
}

int hs_sizes_have(const hs_sizes *sizes, uint64_t size) {
    return sizes->slot_count && size < UINT64_MAX && *size_at(sizes->slots, sizes->slot_count, size) != 0;
}

/* ---- media ------------------------------------------------------------------------------------------------------ */

static int is(const uint8_t *p, size_t have, size_t at, const char *text, size_t length) {
    return have >= at + length && memcmp(p + at, text, length) == 0;
}
#define IS(at, text) is(p, have, at, text, sizeof(text) - 1)

/* Signatures after the formats' own specifications and the WHATWG MIME Sniffing standard; in doubt the file is read. */
int hs_looks_like_media(const uint8_t *p, size_t have) {
    if (IS(0, "\xff\xd8\xff") || IS(0, "\x89PNG\r\n\x1a\n") || IS(0, "GIF8") || IS(0, "BM") || IS(0, "II*\0") ||
        IS(0, "MM\0*") || IS(0, "II+\0") || IS(0, "MM\0+") || IS(0, "\0\0\1\0") || IS(0, "\0\0\2\0") || IS(0, "8BPS") ||
        IS(0, "\xff\x0a") || IS(0, "\0\0\0\x0cJXL ") || IS(0, "\0\0\0\x0cjP  ") || IS(0, "\xff\x4f\xff\x51") ||
        IS(0, "IIRO") || IS(0, "IIU\0") || IS(0, "FUJIFILM") || IS(0, "FOVb") || IS(0, "qoif"))
        return 1; /* JPEG, PNG, GIF, BMP, TIFF and raw formats on it, ICO, PSD, JPEG XL, JPEG 2000, raw, QOI */
    if (IS(0, "\x76\x2f\x31\x01") || IS(0, "DDS ") || IS(0, "BPG\xfb") || IS(0, "\x8aMNG") || IS(0, "\x8bJNG") ||
        IS(0, "AT&TFORM") || IS(0, "#?RADIANCE") || IS(0, "gimp xcf") || IS(128, "DICM"))
        return 1; /* OpenEXR, DDS, BPG, MNG, JNG, DjVu, Radiance, XCF, DICOM */
    if (have >= 3 && p[0] == 'P' && p[1] >= '1' && p[1] <= '7' && (p[2] == '\n' || p[2] == ' ' || p[2] == '\r' || p[2] == '\t'))
        return 1; /* PBM, PGM, PPM, PAM */
    if (IS(0, "RIFF") || IS(0, "RIFX")) return IS(8, "WEBP") || IS(8, "AVI ") || IS(8, "CDXA") || IS(8, "ACON");
    if (IS(4, "ftyp") || IS(4, "moov") || IS(4, "mdat") || IS(4, "wide") || IS(4, "free") || IS(4, "skip") || IS(4, "pnot"))
        return 1; /* ISO base media: MP4, MOV, HEIC, AVIF, 3GP */
    if (IS(0, "\x1a\x45\xdf\xa3") || IS(0, "OggS") || IS(0, "FLV\1") || IS(0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11") ||
        IS(0, ".RMF") || IS(0, "\0\0\1") || IS(0, "\0\0\0\1") || IS(0, "FWS") || IS(0, "CWS") || IS(0, "ZWS") ||
        IS(0, "MVI\1") || IS(0, "DKIF") || IS(0, "\x06\x0e\x2b\x34"))
        return 1; /* Matroska and WebM, Ogg, FLV, ASF and WMV, RealMedia, MPEG start codes (program and video streams, H.264,
                     HEVC), SWF, IVF, MXF */
    if (have >= 1 && p[0] == 0x47) return 1; /* MPEG transport stream */
    if (have >= 5 && p[4] == 0x47) return 1; /* M2TS: four bytes of time before each packet */
    /* Containers that people keep pictures in. */
    return IS(0, "PK\3\4") || IS(0, "PK\5\6") || IS(0, "7z\xbc\xaf\x27\x1c") || IS(0, "Rar!\x1a\7") || IS(0, "%PDF-") ||
           IS(0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") || IS(0, "\x1f\x8b") || IS(0, "BZh") || IS(0, "\xfd" "7zXZ") ||
           IS(0, "\x28\xb5\x2f\xfd") || IS(0, "MSCF") || IS(257, "ustar") || IS(0, "SQLite format 3") || IS(0, "<svg") ||
           IS(0, "<?xml");
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

static int set_path(char **path, size_t *capacity, size_t *length, const hs_candidate *from) {
    int joined = from->name_bytes && from->dir_bytes && from->dir[from->dir_bytes - 1] != '/';
    size_t need = from->dir_bytes + from->name_bytes + 2;
    if (*capacity < need) {
        size_t grown_bytes = need + need / 2;
        char *grown = realloc(*path, grown_bytes);
        if (!grown) return 0;
        *path = grown;
        *capacity = grown_bytes;
    }
    char *p = *path;
    if (from->dir_bytes) memcpy(p, from->dir, from->dir_bytes);
    p += from->dir_bytes;
    if (joined) *p++ = '/';
    if (from->name_bytes) memcpy(p, from->name, from->name_bytes);
    p[from->name_bytes] = 0;
    *length = (size_t)(p - *path) + from->name_bytes;
    return 1;
}

static hs_pipe_event *new_event(hs_pipe *pipe, int kind) {
    hs_pipe_event *e = &pipe->events[pipe->event_count++];
    char *path = e->path;
    size_t capacity = e->path_capacity;
    memset(e, 0, sizeof *e);
    e->path = path;
    e->path_capacity = capacity;
    e->event = kind;
    e->fd = -1;
    return e;
}

/* An event about a candidate that never got a slot. No memory for its path is the one thing that cannot be told by path:
 * the event then has none. */
static hs_pipe_event *tell(hs_pipe *pipe, int kind, const hs_candidate *c) {
    hs_pipe_event *e = new_event(pipe, kind);
    if (!set_path(&e->path, &e->path_capacity, &e->path_bytes, c)) e->path_bytes = 0;
    return e;
}

/* An event about a slot takes the slot's path over. */
static hs_pipe_event *tell_slot(hs_pipe *pipe, int kind, slot *s) {
    hs_pipe_event *e = new_event(pipe, kind);
    char *path = e->path;
    size_t capacity = e->path_capacity;
    e->path = s->path;
    e->path_bytes = s->path_bytes;
    e->path_capacity = s->path_capacity;
    s->path = path;
    s->path_capacity = capacity;
    e->before = s->before;
    e->after = s->before;
    e->bytes_read = s->offset;
    e->link = s->linked;
    return e;
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static mount_facts *facts_of(hs_pipe *pipe, uint64_t dev) {
    for (unsigned i = 0; i < pipe->mount_count; i++)
        if (pipe->mounts[i].dev == dev) return &pipe->mounts[i];
    mount_facts *facts = &pipe->mounts[pipe->mount_count < MOUNTS ? pipe->mount_count++ : MOUNTS - 1];
    *facts = (mount_facts){dev, 0, 0};
    return facts;
}

static int close_fd(hs_pipe *pipe, int fd) { return pipe->config.os->close(pipe->config.os->ctx, fd); }

static int stat_fd(hs_pipe *pipe, int dirfd, const char *name, hs_stat *out) {
    const hs_os *os = pipe->config.os;
    int status;
    do status = os->statx(os->ctx, dirfd, name, out);
    while (status == -EINTR);
    return status;
}

/* Opens without moving the access time where the system allows it. Where a mount refused that once, files of our own get
 * the same by a call behind the open, and those of others are not asked about again. */
static int open_candidate(hs_pipe *pipe, const hs_candidate *c, mount_facts *facts) {
    const hs_os *os = pipe->config.os;
    int how = facts->no_noatime ? HS_OPEN_FILE : HS_OPEN_FILE_NOATIME;
    for (;;) {
        int fd = os->openat(os->ctx, c->dirfd, c->name, how);
        if (fd == -EINTR) continue;
        if (fd == -EPERM && how == HS_OPEN_FILE_NOATIME) {
            how = HS_OPEN_FILE;
            continue;
        }
        if (fd >= 0 && how == HS_OPEN_FILE) facts->no_noatime = 1;
        return fd;
    }
}

static int is_regular(const hs_stat *st) { return (st->mode & 0170000) == 0100000; }

/* Pages of a large file that came into the page cache by our reads alone leave it again. */
static void drop_pages(hs_pipe *pipe, slot *s, uint64_t length) {
    const hs_os *os = pipe->config.os;
    if (s->uncached) (void)os->advise(os->ctx, s->fd, s->dropped, length, HS_ADVISE_DONT_NEED);
    s->dropped += length;
}

static void free_slot(hs_pipe *pipe, slot *s, int keep_fd) {
    s->dropped = 0;
    drop_pages(pipe, s, 0); /* to the end, and pages that were cut in two before: what was read ahead, too */
    if (!keep_fd && s->fd >= 0) close_fd(pipe, s->fd);
    s->fd = -1;
    s->phase = SLOT_FREE;
    pipe->live--;
}

/* The candidate cannot be examined here: tell why. Returns 1 (go on with the next). */
static int refuse(hs_pipe *pipe, const hs_candidate *c, int kind, int operation, int error, const hs_stat *st) {
    hs_pipe_event *e = tell(pipe, kind, c);
    e->operation = operation;
    e->error = error;
    if (st) {
        e->before = e->after = *st;
        e->type = (int)(st->mode >> 12 & 15);
    }
    return 1;
}

static void count_no_match(hs_pipe *pipe, uint32_t link_state) {
    pipe->counters.no_match++;
    pipe->counters.known_good += link_state == HS_LINK_KNOWN_GOOD;
    pipe->counters.undecided += link_state == HS_LINK_UNDECIDED;
}

/* Gates by facts alone. Returns 0 when the file must be read, 1 when it is told or counted. */
static int gated(hs_pipe *pipe, const hs_candidate *c, const hs_stat *st) {
    if (!is_regular(st)) return refuse(pipe, c, HS_PIPE_SPECIAL, HS_PIPE_STAT, 0, st);
    if (hs_os_cloud_only(st)) return refuse(pipe, c, HS_PIPE_CLOUD_ONLY, HS_PIPE_STAT, 0, st);
    if (st->size > pipe->config.max_size_bytes) return refuse(pipe, c, HS_PIPE_TOO_LARGE, HS_PIPE_STAT, 0, st);
    /* A size of 0 may be a lie (kernel files); one read tells. */
    if (pipe->config.sizes && st->size && !hs_sizes_have(pipe->config.sizes, st->size)) {
        pipe->counters.gated_size++;
        count_no_match(pipe, HS_LINK_NOTHING);
        if (pipe->config.tell_all) refuse(pipe, c, HS_PIPE_NO_MATCH, HS_PIPE_STAT, 0, st);
        return 1;
    }
    return 0;
}

/* Puts one candidate into a free slot, or tells about it. 1: go on; 0: it must be tried again later (descriptors). */
static int admit(hs_pipe *pipe, const hs_candidate *c, slot *s) {
    const hs_os *os = pipe->config.os;
    hs_stat st;
    if (c->event != HS_WALK_FILE) {
        hs_pipe_event *e = tell(pipe, HS_PIPE_WALK, c);
        e->walk_event = c->event;
        e->operation = c->operation;
        e->type = c->type;
        e->error = c->error;
        e->reason = c->reason;
        return 1;
    }
    int fd = c->fd;
    mount_facts *facts = facts_of(pipe, c->dev);
    if (fd < 0) {
        if (os->has_placeholders || pipe->config.sizes || pipe->config.max_size_bytes != UINT64_MAX) {
            int status = stat_fd(pipe, c->dirfd, c->name, &st);
            if (status == -ENOENT || status == -ESTALE) return refuse(pipe, c, HS_PIPE_GONE, HS_PIPE_STAT, -status, NULL);
            if (status < 0) return refuse(pipe, c, HS_PIPE_ERROR, HS_PIPE_STAT, -status, NULL);
            if (gated(pipe, c, &st)) return 1;
        }
        fd = open_candidate(pipe, c, facts);
        if (fd == -EMFILE || fd == -ENFILE) return 0;
        if (fd == -ENOENT || fd == -ESTALE) return refuse(pipe, c, HS_PIPE_GONE, HS_PIPE_OPEN, -fd, NULL);
        if (fd == -ELOOP) {
            refuse(pipe, c, HS_PIPE_SPECIAL, HS_PIPE_OPEN, -fd, NULL);
            pipe->events[pipe->event_count - 1].type = HS_DT_LNK;
            return 1;
        }
        if (fd == -ENXIO) {
            refuse(pipe, c, HS_PIPE_SPECIAL, HS_PIPE_OPEN, -fd, NULL);
            pipe->events[pipe->event_count - 1].type = HS_DT_SOCK;
            return 1;
        }
        if (fd < 0) return refuse(pipe, c, HS_PIPE_ERROR, HS_PIPE_OPEN, -fd, NULL);
    }
    int status = stat_fd(pipe, fd, NULL, &st);
    if (status < 0) {
        close_fd(pipe, fd);
        return refuse(pipe, c, HS_PIPE_ERROR, HS_PIPE_STAT, -status, NULL);
    }
    if (gated(pipe, c, &st)) {
        close_fd(pipe, fd);
        return 1;
    }
    s->linked = 0;
    if (st.nlink > 1 && pipe->config.links) {
        uint32_t state = hs_links_state(pipe->config.links, &st);
        if (state >= HS_LINK_NOTHING) {
            close_fd(pipe, fd);
            count_no_match(pipe, state);
            if (pipe->config.tell_all) refuse(pipe, c, HS_PIPE_NO_MATCH, HS_PIPE_STAT, 0, &st);
            return 1;
        }
        if (state != HS_LINK_ABSENT) {
            close_fd(pipe, fd);
            return refuse(pipe, c, HS_PIPE_LINKED, HS_PIPE_STAT, 0, &st);
        }
        s->linked = links_begin(pipe->config.links, &st);
    }
    if (!set_path(&s->path, &s->path_capacity, &s->path_bytes, c)) {
        if (s->linked) { /* under the source's lock already */
            hs_link *link = link_at(pipe->config.links, st.dev, st.ino);
            if (link) link->state = HS_LINK_ASK;
        }
        close_fd(pipe, fd);
        return refuse(pipe, c, HS_PIPE_ERROR, HS_PIPE_OPEN, ENOMEM, &st);
    }
    /* Not of a descriptor that was handed in: its flags may be shared with whoever opened it. */
    if (c->fd < 0 && facts->no_noatime && os->set_noatime && pipe->euid >= 0 && (uint64_t)pipe->euid == st.uid)
        (void)os->set_noatime(os->ctx, fd);
    s->fd = fd;
    s->before = st;
    s->phase = SLOT_BODY;
    s->offset = 0;
    s->ended = 0;
    s->next_data = 0;
    s->sparse = os->next_data != NULL && st.blocks_512 * 512 < st.size;
    s->dropped = 0;
    s->uncached = 0;
    if (st.size >= LARGE_BYTES && os->advise) {
        (void)os->advise(os->ctx, fd, 0, 0, HS_ADVISE_SEQUENTIAL);
        /* Where it cannot be asked, nothing is thrown out afterwards: the pages may be somebody's. */
        s->uncached = os->resident_pages && os->resident_pages(os->ctx, fd, 0, st.size) == 0;
    }
    pipe->live++;
    hs_lanes_start(&pipe->lanes, (unsigned)(s - pipe->slots));
    s->external_status = pipe->external.start ? pipe->external.start(pipe->external.ctx, (unsigned)(s - pipe->slots)) : 0;
    return 1;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* Leaves the page cache as it was, in one of two ways. The system's own reads that do so know what was there before, page by
 * page, but hardly read ahead: from a disk, 32 KiB at once, they take 3.5 times as long (ext4 on Linux 6.18). Of a large file
 * with no page in the cache all pages are ours: it is read the usual way, and they are given back by advice. */
static int64_t read_at(hs_pipe *pipe, slot *s, uint8_t *to, size_t length, uint64_t offset) {
    const hs_os *os = pipe->config.os;
    mount_facts *facts = facts_of(pipe, s->before.dev);
    for (;;) {
        int64_t got;
        if (os->pread_uncached && !facts->no_uncached && !s->uncached) {
            got = os->pread_uncached(os->ctx, s->fd, to, length, offset);
            if (got == -EOPNOTSUPP || got == -ENOSYS || got == -EINVAL) {
                facts->no_uncached = 1;
                continue;
            }
        } else {
            got = os->pread(os->ctx, s->fd, to, length, offset);
        }
        if (got != -EINTR) return got;
    }
}

/* Length of the hole that begins at the slot's offset, at most `length`; 0 when there is data. */
static size_t hole_at(hs_pipe *pipe, slot *s, size_t length) {
    const hs_os *os = pipe->config.os;
    if (s->offset >= s->next_data) {
        int64_t data = os->next_data(os->ctx, s->fd, s->offset);
        if (data == -ENXIO) data = (int64_t)s->before.size; /* nothing but a hole is left, as far as the size is true */
        if (data < 0) {
            s->sparse = 0; /* the system cannot say: read page by page */
            return 0;
        }
        s->next_data = (uint64_t)data;
    }
    if (s->next_data <= s->offset) {
        s->next_data = s->offset + length; /* data here: read one chunk, then ask again */
        return 0;
    }
    uint64_t hole = s->next_data - s->offset;
    return hole < length ? (size_t)hole / HS_BLOCK_BYTES * HS_BLOCK_BYTES : length;
}

/* By the first bytes of a slot that has just read its first chunk. */
static int sniffed(const slot *s) {
    return hs_looks_like_media(s->buffer, s->offset < HS_SNIFF_BYTES ? (size_t)s->offset : HS_SNIFF_BYTES);
}

/* Reads the next chunk of a slot and feeds it. Returns 0, or a negated errno value. */
static int refill(hs_pipe *pipe, slot *s) {
    const unsigned number = (unsigned)(s - pipe->slots);
    size_t have = 0;
    if (s->external_status < 0) return s->external_status;
    if (s->sparse && s->offset < s->before.size) {
        size_t hole = hole_at(pipe, s, CHUNK_BYTES);
        if (hole && s->offset + hole <= s->before.size) {
            pipe->counters.hole_bytes += hole;
            if (s->offset == 0) memset(s->buffer, 0, HS_SNIFF_BYTES); /* what a gate by content would have seen */
            s->offset += hole;
            hs_lanes_feed(&pipe->lanes, number, pipe->zeros, hole / HS_BLOCK_BYTES);
            return pipe->external.update ? pipe->external.update(pipe->external.ctx, number, pipe->zeros, hole) : 0;
        }
    }
    while (have < CHUNK_BYTES) {
        int64_t got = read_at(pipe, s, s->buffer + have, CHUNK_BYTES - have, s->offset + have);
        if (got < 0) return (int)got;
        have += (size_t)got;
        pipe->counters.bytes_read += (uint64_t)got;
        /* A read that came back short where the file said it ends has reached the end; if the file has grown since, the
         * facts asked for afterwards say so. */
        if (got == 0 || (have < CHUNK_BYTES && s->offset + have == s->before.size)) {
            s->ended = 1;
            break;
        }
    }
    size_t blocks = have / HS_BLOCK_BYTES, rest = have % HS_BLOCK_BYTES;
    s->offset += have;
    if (s->offset - s->dropped >= DROP_BYTES) drop_pages(pipe, s, s->offset - s->dropped);
    if (pipe->external.update) {
        int status = have ? pipe->external.update(pipe->external.ctx, number, s->buffer, have) : 0;
        if (!status && s->ended) status = pipe->external.finish(pipe->external.ctx, number, s->external);
        if (status < 0) return status;
    }
    if (s->ended && !pipe->lanes.kind_count) {
        s->phase = SLOT_TAIL;
    } else if (s->ended) {
        const uint8_t *last = s->buffer + blocks * HS_BLOCK_BYTES;
        int sha = pipe->kinds[pipe->lanes.kind_count - 1]; /* MD5 comes first: the last kind is a SHA where there is one */
        if (!pipe->two_tails) {
            uint8_t tail[TAIL_BYTES];
            size_t more = hs_lane_tail(sha, rest ? last : NULL, s->offset, tail);
            memcpy(s->buffer + blocks * HS_BLOCK_BYTES, tail, more * HS_BLOCK_BYTES);
            blocks += more;
            s->phase = SLOT_TAIL;
        } else {
            s->tail_blocks = hs_lane_tail(HS_MD5, rest ? last : NULL, s->offset, s->tails[0]);
            (void)hs_lane_tail(sha, rest ? last : NULL, s->offset, s->tails[1]);
        }
    }
    if (blocks) hs_lanes_feed(&pipe->lanes, number, s->buffer, blocks);
    return 0;
}

/* ---- finishing -------------------------------------------------------------------------------------------------- */

static void give_up(hs_pipe *pipe, slot *s, int kind, int operation, int error, int keep_fd) {
    if (s->linked) links_end(pipe, &s->before, HS_LINK_ASK);
    hs_pipe_event *e = tell_slot(pipe, kind, s);
    e->operation = operation;
    e->error = error;
    if (keep_fd) {
        e->fd = s->fd;
        (void)stat_fd(pipe, s->fd, NULL, &e->after);
    }
    free_slot(pipe, s, keep_fd);
}

/* Kind code of the digest at a position: the planned kinds in order, then the external one. */
static unsigned code_of(const hs_pipe *pipe, unsigned position) {
    return position < pipe->lanes.kind_count ? (unsigned)pipe->kinds[position] + 1 : pipe->external.code;
}

/* What the sets say about `count` finished slots; ruling[i] becomes the highest HS_LINK_* of its hits. */
static void look_up(hs_pipe *pipe, slot *const *finished, unsigned count,
                    uint8_t digests[HS_PIPE_KINDS][HS_SLOTS_MAX * HS_DIGEST_BYTES_MAX], uint32_t *ruling) {
    uint8_t may[HS_SLOTS_MAX], room[HS_SLOTS_MAX * HS_FINGERPRINT_BYTES];
    for (unsigned i = 0; i < count; i++) ruling[i] = HS_LINK_NOTHING;
    for (unsigned k = 0; k < pipe->position_count; k++) {
        const unsigned code = code_of(pipe, k), width = hs_set_digest_width(code);
        for (unsigned i = 0; i < count; i++) {
            const unsigned number = (unsigned)(finished[i] - pipe->slots);
            if (k < pipe->lanes.kind_count) hs_lanes_digest(&pipe->lanes, number, k, digests[k] + i * width);
            else memcpy(digests[k] + i * width, finished[i]->external, width);
        }
        for (unsigned n = 0; n < pipe->config.set_count; n++) {
            const hs_pipe_set *each = &pipe->sets[n];
            if (!each->set->kinds[code - 1].filter.blocks) continue;
            const uint8_t *keys = hs_set_keys(each->set, code, digests[k], count, room);
            const unsigned key_width = each->set->kinds[code - 1].digest_width;
            if (!hs_set_probe(each->set, code, keys, count, may)) continue;
            for (unsigned i = 0; i < count; i++) {
                hs_set_hit hit;
                hs_set_error error;
                int found;
                if (!may[i]) continue;
                /* Damage is the caller's to report: it asks again and sees it. */
                if (hs_set_find(each->set, code, keys + i * key_width, &pipe->page, &found, &hit, &error) != HS_SET_OK) {
                    ruling[i] = HS_LINK_ASK;
                    pipe->page.number = 0;
                    continue;
                }
                if (!found || ruling[i] == HS_LINK_ASK) continue;
                int test_entry = hit.entry >= each->set->entry_count || hit.more;
                if (each->ruling == HS_RULING_ASK || test_entry) ruling[i] = HS_LINK_ASK;
                else if (each->ruling == HS_RULING_UNDECIDED) ruling[i] = HS_LINK_UNDECIDED;
                else if (ruling[i] == HS_LINK_NOTHING) ruling[i] = HS_LINK_KNOWN_GOOD;
            }
            pipe->page.number = 0; /* the page belonged to this set */
        }
    }
}

static int settled(const slot *s, const hs_stat *after) {
    const hs_stat *b = &s->before;
    return b->dev == after->dev && b->ino == after->ino && b->size == after->size && b->mtime_ns == after->mtime_ns &&
           b->ctime_ns == after->ctime_ns && s->offset == after->size;
}

static void copy_digests(const hs_pipe *pipe, hs_pipe_event *e,
                         uint8_t digests[HS_PIPE_KINDS][HS_SLOTS_MAX * HS_DIGEST_BYTES_MAX], unsigned i) {
    e->ended = 1;
    for (unsigned k = 0; k < pipe->position_count; k++) {
        const unsigned width = hs_set_digest_width(code_of(pipe, k));
        memcpy(e->digests[k], digests[k] + i * width, width);
    }
}

static void finish(hs_pipe *pipe, slot *const *finished, unsigned count) {
    uint8_t digests[HS_PIPE_KINDS][HS_SLOTS_MAX * HS_DIGEST_BYTES_MAX];
    uint32_t ruling[HS_SLOTS_MAX];
    look_up(pipe, finished, count, digests, ruling);
    for (unsigned i = 0; i < count; i++) {
        slot *s = finished[i];
        hs_stat after;
        int status = stat_fd(pipe, s->fd, NULL, &after), still = status >= 0 && settled(s, &after);
        if (!s->offset) ruling[i] = HS_LINK_NOTHING; /* an empty file is on no list that means anything */
        if (ruling[i] == HS_LINK_ASK || !still) {
            if (s->linked) links_end(pipe, &s->before, HS_LINK_ASK);
            hs_pipe_event *e = tell_slot(pipe, ruling[i] == HS_LINK_ASK ? HS_PIPE_HIT : HS_PIPE_MOVED, s);
            if (status >= 0) e->after = after;
            e->settled = still;
            e->fd = s->fd;
            copy_digests(pipe, e, digests, i);
            free_slot(pipe, s, 1);
            continue;
        }
        if (!s->offset) pipe->counters.gated_empty++;
        count_no_match(pipe, ruling[i]);
        if (s->linked) links_end(pipe, &s->before, ruling[i]);
        if (pipe->config.tell_all) {
            hs_pipe_event *e = tell_slot(pipe, HS_PIPE_NO_MATCH, s);
            copy_digests(pipe, e, digests, i);
        }
        free_slot(pipe, s, 0);
    }
}

/* ---- the pipe --------------------------------------------------------------------------------------------------- */

hs_pipe *hs_pipe_new(const hs_pipe_config *config) {
    hs_pipe *pipe = calloc(1, sizeof *pipe);
    if (!pipe) return NULL;
    pipe->config = *config;
    if (config->forced) memcpy(pipe->forced, config->forced, sizeof pipe->forced);
    pipe->config.forced = pipe->forced;
    memcpy(pipe->kinds, config->kinds, config->kind_count * sizeof *config->kinds);
    pipe->config.kinds = pipe->kinds;
    if (config->external) pipe->external = *config->external;
    pipe->position_count = config->kind_count + (config->external != NULL);
    hs_lanes_init(&pipe->lanes, pipe->kinds, config->kind_count, config->features, pipe->forced);
    pipe->slot_count = hs_lanes_slot_count(&pipe->lanes);
    pipe->two_tails = hs_lanes_two_tails(&pipe->lanes);
    pipe->euid = config->os->effective_uid ? config->os->effective_uid(config->os->ctx) : -1;
    for (unsigned i = 0; i < HS_SLOTS_MAX; i++) pipe->slots[i].fd = -1;
    size_t each = CHUNK_BYTES + TAIL_BYTES + STAGGER_BYTES;
    pipe->sets = calloc(config->set_count ? config->set_count : 1, sizeof *pipe->sets);
    pipe->memory = malloc(each * pipe->slot_count + STAGGER_BYTES);
    pipe->zeros = calloc(1, CHUNK_BYTES);
    if (!pipe->sets || !pipe->memory || !pipe->zeros) {
        hs_pipe_free(pipe);
        return NULL;
    }
    memcpy(pipe->sets, config->sets, config->set_count * sizeof *pipe->sets);
    pipe->config.sets = pipe->sets;
    uint8_t *aligned = pipe->memory + (STAGGER_BYTES - (uintptr_t)pipe->memory % STAGGER_BYTES);
    for (unsigned i = 0; i < pipe->slot_count; i++) pipe->slots[i].buffer = aligned + i * each;
    return pipe;
}

void hs_pipe_free(hs_pipe *pipe) {
    if (!pipe) return;
    for (unsigned i = 0; i < HS_SLOTS_MAX; i++) {
        if (pipe->slots[i].fd >= 0) free_slot(pipe, &pipe->slots[i], 0);
        free(pipe->slots[i].path);
    }
    for (unsigned i = 0; i < HS_PIPE_EVENTS; i++) free(pipe->events[i].path);
    free(pipe->sets);
    free(pipe->memory);
    free(pipe->zeros);
    free(pipe);
}

const hs_pipe_event *hs_pipe_events(const hs_pipe *pipe, size_t *count) {
    *count = pipe->event_count;
    return pipe->events;
}

const hs_pipe_counters *hs_pipe_count(const hs_pipe *pipe) { return &pipe->counters; }

unsigned hs_pipe_slot_count(const hs_pipe *pipe) { return pipe->slot_count; }

/* Every slot may tell once a step, and one candidate may tell twice. */
static int room(const hs_pipe *pipe) { return pipe->event_count + HS_SLOTS_MAX + 2 <= HS_PIPE_EVENTS; }

static int stopped(const hs_pipe *pipe) { return pipe->config.stop && *pipe->config.stop; }

/* Fills free slots. Returns 0, or the status that keeps it from going on, or HS_PIPE_TICK: time is up. A gate may let by any
 * number of candidates before one has to be read. */
static int fill(hs_pipe *pipe, int64_t until) {
    hs_source *source = pipe->config.source;
    const hs_os *os = pipe->config.os;
    unsigned taken = 0;
    for (unsigned i = 0; i < pipe->slot_count && !pipe->source_ended;) {
        if (pipe->slots[i].phase != SLOT_FREE) {
            i++;
            continue;
        }
        if (!room(pipe) || stopped(pipe)) return 0;
        if (++taken % CANDIDATES_A_CLOCK == 0 && os->clock_monotonic_ns(os->ctx) >= until) return HS_PIPE_TICK;
        lock(pipe);
        /* A candidate that could not be opened for lack of descriptors is held, in the source, until it can. */
        int got = source->held ? 1 : source->next(source->ctx, &source->candidate);
        if (got > 0) source->held = !admit(pipe, &source->candidate, &pipe->slots[i]);
        int held = source->held;
        unlock(pipe);
        if (got < 0) return got;
        if (got == 0) pipe->source_ended = 1;
        if (held) return -EMFILE;
    }
    return 0;
}

/* Gives slots without blocks their next ones. Slots that are at their end go to `finished`. */
static unsigned feed(hs_pipe *pipe, slot **finished) {
    unsigned count = 0;
    for (unsigned i = 0; i < pipe->slot_count; i++) {
        slot *s = &pipe->slots[i];
        while (s->phase != SLOT_FREE && !pipe->lanes.blocks[i]) {
            if (s->phase == SLOT_TAIL) {
                finished[count++] = s;
                break;
            }
            if (s->ended) { /* with two kinds of padding the tails come by themselves */
                hs_lanes_feed_tails(&pipe->lanes, i, s->tails[0], s->tails[1], s->tail_blocks);
                s->phase = SLOT_TAIL;
                break;
            }
            if (s->offset > pipe->config.max_size_bytes) {
                give_up(pipe, s, HS_PIPE_TOO_LARGE, HS_PIPE_READ, 0, 0);
                break;
            }
            if (s->offset > s->before.size && s->offset - s->before.size > GROWTH_BYTES) {
                give_up(pipe, s, HS_PIPE_MOVED, HS_PIPE_READ, 0, 1);
                break;
            }
            const int first = s->offset == 0;
            const int status = refill(pipe, s);
            if (status < 0) {
                give_up(pipe, s, HS_PIPE_ERROR, HS_PIPE_READ, -status, 0);
                break;
            }
            if (first && pipe->config.media_only && s->offset && !sniffed(s)) {
                pipe->lanes.blocks[i] = 0;
                give_up(pipe, s, HS_PIPE_NOT_MEDIA, HS_PIPE_READ, 0, 0);
                break;
            }
        }
    }
    return count;
}

int hs_pipe_run(hs_pipe *pipe, int64_t nanoseconds) {
    const hs_os *os = pipe->config.os;
    const int64_t until = os->clock_monotonic_ns(os->ctx) + nanoseconds;
    slot *finished[HS_SLOTS_MAX];
    pipe->event_count = 0;
    for (unsigned step = 1;; step++) {
        if (stopped(pipe)) return HS_PIPE_STOPPED;
        const int status = fill(pipe, until);
        if (!room(pipe)) return HS_PIPE_FULL;
        if (status == HS_PIPE_TICK) return HS_PIPE_TICK;
        if (!pipe->live) {
            if (status < 0 && status != -EAGAIN) return status;
            if (pipe->source_ended) return HS_PIPE_DONE;
        }
        const unsigned count = feed(pipe, finished);
        if (count) finish(pipe, finished, count);
        else (void)hs_lanes_step(&pipe->lanes);
        if (step % STEPS_A_CLOCK == 0 && os->clock_monotonic_ns(os->ctx) >= until) return HS_PIPE_TICK;
    }
}
