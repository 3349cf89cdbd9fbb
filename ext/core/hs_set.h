/* hs_set.h -- open, verify and ask a compiled hash set (.hset version 1; docs/format/hset.md is the authority).
 *
 * Invariant: no answer is ever given from bytes that were not checked against the root. Header, page list, filters, fences
 * and the small sections are read into private memory and checked when they are loaded; a table page is checked at every
 * read. Nobody outside the process can therefore change an answer: overwriting or truncating the file turns into
 * HS_SET_DAMAGED or HS_SET_IO.
 *
 * Threads: opening and loading are for one thread; afterwards any number of threads may look up at once. Nothing is
 * allocated in a lookup: the caller brings the scratch.
 */
#ifndef HS_SET_H
#define HS_SET_H

#include "hs_bloom.h"
#include "hs_hmac.h"
#include "hs_kernels.h"
#include "hs_os.h"
#include "hs_sha256.h"

#define HS_SET_MAX_VALID_UNTIL 253402300799u /* the end of the year 9999 */

enum {
    HS_SET_PAGE_BYTES = 4096,
    HS_SET_HASH_BYTES = 16,      /* a page hash: SHA-256 cut to 16 bytes */
    HS_SET_HEADER_BYTES = 120,   /* fixed fields, before the section table */
    HS_SET_SECTION_BYTES = 40,   /* one line of the section table */
    HS_SET_MAX_SECTIONS = (HS_SET_PAGE_BYTES - HS_SET_HEADER_BYTES) / HS_SET_SECTION_BYTES,
    HS_SET_VERSION = 1,
    HS_SET_KINDS = 4,            /* MD5, SHA-1, SHA-256, BLAKE3: codes 1..4 */
    HS_SET_MAX_SHAPES = 16,
    HS_SET_MAX_META_BYTES = 64 * 1024 * 1024, /* the description section */
    HS_SET_MAX_SIGNATURES = 8,
    HS_SET_SIGNATURE_BYTES = 32 + 64, /* Ed25519: public key, signature */
    HS_SEALED_SALT_BYTES = 32,   /* what a sealed section begins with */
    HS_SEALED_TAG_BYTES = 16,    /* behind every chunk of it */
    HS_SEALED_CHUNK_BYTES = 65536, /* plaintext of a chunk, the last one excepted */
    HS_SET_WINDOW_PAGES = 32     /* read and checked together by one lookup */
};

/* Section types; a section id is type << 8 | subject (a kind code, or a shape = bit set of kind codes). */
enum {
    HS_SECTION_META = 1,
    HS_SECTION_FILTER = 2,
    HS_SECTION_FENCES = 3,
    HS_SECTION_TABLE = 4,
    HS_SECTION_SHARED = 5,  /* further entries of digests that lead to more than one */
    HS_SECTION_ENTRIES = 6,
    HS_SECTION_GROUPS = 7,  /* listing groups without a ref, stored once each */
    HS_SECTION_REFS = 8,    /* listing groups with a ref, in entry order */
    HS_SECTION_SEALED = 9   /* of a sealed set: description, sizes, groups and refs, encrypted */
};
enum { HS_SECTION_MUST_UNDERSTAND = 1u };
/* The shape of the built-in test entry carries this bit: it comes after all others and is not counted. */
enum { HS_SHAPE_TEST = 0x80 };

typedef enum hs_set_status {
    HS_SET_OK = 0,
    HS_SET_IO,           /* a system call failed; see error.os_errno */
    HS_SET_FORMAT,       /* not a set this reader can read; see error.text */
    HS_SET_NEWER,        /* asks for a newer reader */
    HS_SET_DAMAGED,      /* bytes disagree with the page list or root */
    HS_SET_MEMORY,
    HS_SET_NOT_LOADED,   /* the kind's filter was not loaded */
    HS_SET_SEALED,       /* sealed, and no key was given */
    HS_SET_WRONG_KEY     /* sealed with another key than those given */
} hs_set_status;

typedef struct hs_set_error {
    hs_set_status status;
    int os_errno;          /* positive, with HS_SET_IO */
    uint64_t page;         /* file page number, where one is concerned */
    uint32_t section;      /* section id, 0 outside sections */
    const char *text;      /* static English text */
} hs_set_error;

typedef struct hs_section {
    uint32_t id, flags;
    uint64_t offset, length; /* bytes; the offset is a multiple of the page size */
    uint64_t count, aux;
} hs_section;

typedef struct hs_set_kind {
    const hs_section *filter_section, *fence_section, *table_section, *shared_section;
    hs_bloom filter;           /* blocks NULL until loaded */
    size_t filter_bytes;
    uint64_t *fences;          /* first 8 digest bytes (as a number) of each table page */
    size_t fence_bytes;
    uint64_t row_count, page_count;
    unsigned digest_width; /* of what the table holds: digests, or the fingerprints of a sealed set */
    unsigned entry_width, row_width, rows_per_page; /* entry_width 0: rows and entries run in parallel */
    uint64_t test_row;         /* with entry_width 0: row + 1 of the test digest, 0 where there is none */
    unsigned shared_row_width, shared_width, shared_per_page;
} hs_set_kind;

typedef struct hs_set_shape {
    const hs_section *section;
    uint32_t shape;            /* bit (code - 1) for each kind, HS_SHAPE_TEST for the test entry */
    uint64_t first_entry, count;
    int implicit;              /* the row of the lowest kind is not stored: it runs parallel to the entries */
    unsigned kinds, row_width, size_width, group_width, width, per_page;
} hs_set_shape;

typedef struct hs_set {
    const hs_os *os;
    int fd;
    uint64_t file_bytes, generation, valid_until, entry_count;
    uint32_t sizes_policy, filter_millibits;
    uint8_t set_id[16], seal_key_id[16], root[32];
    uint64_t page_list_offset, page_list_bytes, page_count;
    uint8_t *page_hashes;
    hs_section sections[HS_SET_MAX_SECTIONS];
    unsigned section_count;
    hs_set_kind kinds[HS_SET_KINDS];
    hs_set_shape shapes[HS_SET_MAX_SHAPES];
    unsigned shape_count;
    const hs_section *meta, *groups, *refs, *sealed; /* sealed: instead of the other three */
    hs_seal *seal;             /* NULL: a plain set. Else a copy of the key, in memory of its own, wiped when closed */
    unsigned signature_count;
    uint8_t signatures[HS_SET_MAX_SIGNATURES][HS_SET_SIGNATURE_BYTES]; /* public key, signature of the root: not verified here */
    uint32_t features;         /* HS_CPU_* bits that kernels may use */
    hs_sha256_compress compress;
    hs_bloom_probe probe;
} hs_set;

/* The last page read and checked by one thread. */
typedef struct hs_set_page {
    uint64_t number;  /* file page number held, 0 = none (page 0 is the header) */
    uint8_t bytes[HS_SET_PAGE_BYTES];
} hs_set_page;

/* Pages of one table that one thread has read and checked together. */
typedef struct hs_set_window {
    hs_set_page page;  /* for what is asked one by one */
    uint8_t bytes[HS_SET_WINDOW_PAGES * HS_SET_PAGE_BYTES];
} hs_set_window;

/* Parses and checks header, section table, page list and root of the open file `fd`, which stays the caller's.
 * A sealed set takes the one of `keys` that it was sealed with, and copies it. On failure everything taken is given back. */
hs_set_status hs_set_open(hs_set *set, const hs_os *os, int fd, uint32_t cpu_features, const hs_seal *const *keys,
                          unsigned key_count, hs_set_error *error);
void hs_set_close(hs_set *set);

/* Loads and checks filter and fences of the kind with this code (1..4); nothing happens when they are loaded already. */
hs_set_status hs_set_load_kind(hs_set *set, unsigned kind, hs_set_error *error);

/* Reads and checks page number `page` (1 <= page <= page_count) of the file. */
hs_set_status hs_set_read_page(const hs_set *set, uint64_t page, hs_set_page *out, hs_set_error *error);

/* Reads and checks `count` pages from number `first` on, all of one section, into `bytes`. Several pages at once are hashed
 * side by side and cost half as much a page. */
hs_set_status hs_set_read_pages(const hs_set *set, uint64_t first, uint64_t count, uint8_t *bytes, hs_set_error *error);

/* Reads `length` bytes at `offset` of the file without checking them: for what only the whole root covers. */
hs_set_status hs_set_read_raw(const hs_set *set, uint64_t offset, void *out, uint64_t length, hs_set_error *error);

/* The number of pages from `first` on, `first` included, that belong to the same section; 0: outside of every section. */
uint64_t hs_set_section_run(const hs_set *set, uint64_t first);

/* Reads and checks `length` bytes at `offset` of a section. */
hs_set_status hs_set_read(const hs_set *set, const hs_section *section, uint64_t offset, void *out, uint64_t length,
                          hs_set_page *page, hs_set_error *error);

/* What tables and filters of this set hold for `count` packed digests: these themselves, or, where it is sealed, their
 * fingerprints, which are written to `room` (HS_FINGERPRINT_BYTES each; not used by a plain set). Everything below that takes
 * digests to look for takes these, kinds[code - 1].digest_width bytes each. */
HS_INLINE const uint8_t *hs_set_keys(const hs_set *set, unsigned code, const uint8_t *digests, uint64_t count, uint8_t *room);

typedef struct hs_set_hit {
    uint64_t row;    /* row number in the kind's table */
    uint64_t entry;  /* its first entry */
    int more;        /* further entries in the shared section */
} hs_set_hit;

/* One digest in the exact table. *found is 0 or 1. `page` keeps the last page read between calls. */
hs_set_status hs_set_find(const hs_set *set, unsigned kind, const uint8_t *digest, hs_set_page *page, int *found,
                          hs_set_hit *hit, hs_set_error *error);

/* Filter only: may_match[i] for `count` packed digests, any count. Returns how many may match. */
uint64_t hs_set_probe(const hs_set *set, unsigned kind, const uint8_t *digests, uint64_t count, uint8_t *may_match);

typedef struct hs_set_candidate {
    uint8_t prefix[8]; /* first digest bytes: the order of the table */
    uint64_t index;    /* position in the caller's batch */
} hs_set_candidate;

/* Writes a candidate for every i with may_match[i] whose digest lies in this one of `parts` equal parts of all digests (part 0
 * of 1: everything), or only counts them where `candidates` is NULL. Returns how many there are. */
uint64_t hs_set_collect(const hs_set *set, unsigned kind, const uint8_t *digests, const uint8_t *may_match, uint64_t count,
                        unsigned part, unsigned parts, hs_set_candidate *candidates);

/* Confirms candidates of a batch in the exact table, in table order so that each page is read and checked once, neighbours
 * together: entries[index] becomes the first entry or -1. Sorts `candidates`. */
hs_set_status hs_set_confirm(const hs_set *set, unsigned kind, const uint8_t *digests, hs_set_candidate *candidates,
                             uint64_t count, int64_t *entries, hs_set_window *window, hs_set_error *error);

/* The entry number `index` (0 = second entry) beyond the first of table row `row`; *found 0 when there are no more. */
hs_set_status hs_set_further(const hs_set *set, unsigned kind, uint64_t row, uint64_t index, hs_set_page *page,
                             int *found, uint64_t *entry, hs_set_error *error);

typedef struct hs_set_entry {
    uint32_t shape;
    int has_size, group_in_refs;
    uint64_t size, group;          /* group: number in the groups section, or offset in the refs section */
    uint64_t rows[HS_SET_KINDS];   /* table row per kind code - 1, where the shape has the kind */
} hs_set_entry;

hs_set_status hs_set_entry_at(const hs_set *set, uint64_t entry, hs_set_page *page, hs_set_entry *out,
                              hs_set_error *error);

/* What table row `row` holds: a digest, or a fingerprint. */
hs_set_status hs_set_digest_at(const hs_set *set, unsigned kind, uint64_t row, hs_set_page *page, uint8_t *digest,
                               hs_set_error *error);

/* The hashes of `count` pages of one section as the page list holds them, several at once through the kernels that are best
 * for so many: out[i] = SHA-256(set id, section id as u32, file page number numbers[i] as u64, the 4096 bytes at pages[i])
 * cut to 16 bytes. */
void hs_set_hash_pages(const uint8_t set_id[16], uint32_t section, const uint64_t *numbers, const uint8_t *const *pages,
                       size_t count, uint32_t features, uint8_t (*out)[HS_SET_HASH_BYTES]);

HS_INLINE unsigned hs_set_digest_width(unsigned kind) {
    return kind == 1 ? 16 : kind == 2 ? 20 : kind == 3 || kind == 4 ? 32 : 0;
}

HS_INLINE const uint8_t *hs_set_keys(const hs_set *set, unsigned code, const uint8_t *digests, uint64_t count, uint8_t *room) {
    if (!set->seal) return digests;
    hs_seal_fingerprints(set->seal, code, digests, hs_set_digest_width(code), (size_t)count, room);
    return room;
}

/* Bytes needed for a number: 1..8. */
HS_INLINE unsigned hs_set_width_of(uint64_t largest) {
    unsigned width = 1;
    while (width < 8 && largest >> (8 * width)) width++;
    return width;
}

#endif
