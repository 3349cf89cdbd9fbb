/* hs_base.h -- the records of an open set file, given back as sorted rows: one for each listing of each entry.
 *
 * The pages are read in order, many at a time, and checked as always: a row never comes from bytes that do not agree with the
 * root. Entries name the rows of their digests, and only those of their lowest kind are in order; the other kinds' tables are
 * read front to back and sorted by entry, out of core. So a base of any size is read in bounded memory; listing groups are held.
 *
 * Rows have layout HS_ROW_FULL and op HS_OP_BASE (hs_batch.h), their classes being the caller's. One thread.
 */
#ifndef HS_BASE_H
#define HS_BASE_H

#include "hs_batch.h"
#include "hs_pages.h"
#include "hs_set.h"

enum { HS_BASE_DAMAGED = -100021 }; /* see base->error */

/* What a sealed set says beside its tables, decrypted by the caller piece by piece; never written anywhere. */
enum { HS_BASE_COLUMNS = 1, HS_BASE_GROUPS = 2, HS_BASE_REFS = 3 };
typedef struct hs_base_sealed {
    int (*read)(void *ctx, int part, uint64_t offset, uint8_t *out, uint64_t length); /* 0, or < 0 */
    void *ctx;
    unsigned size_width, group_width;
    uint64_t lengths[4];       /* of the parts */
} hs_base_sealed;

typedef struct hs_base_window {
    uint8_t *bytes;
    uint64_t start, length;
} hs_base_window;

typedef struct hs_pager {
    const hs_set *set;
    const hs_kernel *kernel;
    const hs_section *section;
    uint8_t *chunk, *hashes;
    uint64_t first, count;     /* pages of the section that are in the chunk */
} hs_pager;

typedef struct hs_base_cursor {
    hs_cursor cursor;          /* first: a cursor is given out as a pointer to it */
    struct hs_base *base;
    const hs_set_shape *shape;
    unsigned digest_bytes, lowest;
    uint64_t entry, table_row; /* the next entry of the shape; row of its lowest digest */
    uint8_t digests[HS_SORT_MAX_WIDTH];
    uint64_t size;
    hs_row *listings;          /* of the entry at hand */
    uint64_t listing_count, listing, listing_capacity;
    uint8_t *body;
    uint64_t body_capacity;
    uint8_t row[HS_SORT_MAX_WIDTH + HS_MAX_REF_BYTES];
    hs_pager entries, table, refs;
} hs_base_cursor;

typedef struct hs_base {
    const hs_set *set;
    const hs_temp_maker *maker;
    const hs_kernel *kernel;
    const uint32_t *class_map; /* the caller's class of each class of the set; UINT32_MAX: of no entry */
    uint32_t class_count;
    const hs_base_sealed *sealed; /* NULL: a plain set */
    hs_base_window columns, refs; /* of a sealed set */
    unsigned digest_bytes[HS_SHAPES];
    uint8_t widths[HS_KINDS];
    uint32_t *group_classes;   /* of all groups, one after another, each in order */
    uint64_t *group_starts, group_count;
    hs_sorter others[HS_KINDS]; /* entry (8, big-endian), digest: of entries whose lowest kind is another */
    /* hs_base_prepare_step: kind and place. */
    unsigned kind;
    int pairs;
    uint64_t place;
    hs_pager pager;
    hs_base_cursor cursor;
    unsigned last_shape;
    hs_set_error error;
} hs_base;

/* `class_map`, `set` and `sealed` must stay. Reads the listing groups. */
int hs_base_init(hs_base *base, const hs_set *set, const hs_base_sealed *sealed, const hs_temp_maker *maker,
                 const uint32_t *class_map, uint32_t class_count, size_t memory_bytes, size_t buffer_bytes, const hs_kernel *kernel, hs_sort_poll poll,
                 void *poll_ctx);
void hs_base_clear(hs_base *base);

/* Entries of a shape. */
uint64_t hs_base_entries(const hs_base *base, unsigned shape);

/* Brings the digests of the other kinds into the order of entries. Returns 1 while there is more to do. */
int hs_base_prepare_step(hs_base *base, uint64_t most, uint64_t *done);

/* All shapes once more. */
int hs_base_rewind(hs_base *base);

/* After that: a cursor over a shape that has entries, shapes in rising order, each read to its end. One at a time. */
int hs_base_open(hs_base *base, unsigned shape, hs_cursor **cursor);

/* Rows of one of two cursors over the same shape only, with op HS_OP_CANCEL (only in a) or HS_OP_ADD (only in b), each behind a
 * byte that holds the shape. `a` or `b` may be NULL. Both must have been moved to their first row. Stops when fewer than
 * HS_DIFF_ROW_BYTES of `out` are left; returns 1 while there is more, 0 at the end. */
enum { HS_DIFF_ROW_BYTES = 1 + HS_SORT_MAX_WIDTH + HS_MAX_REF_BYTES };
int hs_base_diff_step(hs_cursor *a, hs_cursor *b, unsigned shape, unsigned digest_bytes, uint8_t *out, size_t capacity,
                      size_t *used, uint64_t most, uint64_t *done);

#endif
