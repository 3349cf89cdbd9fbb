/* hs_tables.h -- the tables of a new set: distinct digests of each kind in order, and who is where.
 *
 * Entries are numbered already (hs_gather.h). For each kind its digests are brought into order with the numbers of their entries:
 * where the kind is the lowest of a shape they are in order as they lie, the others are sorted out of core. From that come the
 * rows of the table, the pairs of digests that several entries share, and, sorted back, the *note* of each entry: 2 x row of
 * its digest + (1 where the digest is shared). Where rows and entries run in parallel (docs/format/hset.md, section 7) nothing
 * is sorted and there are no notes.
 *
 * Work is done in steps; different kinds may be at work in different threads. Results: see hs_run.h.
 */
#ifndef HS_TABLES_H
#define HS_TABLES_H

#include "hs_gather.h"

typedef struct hs_table {
    unsigned width;                 /* digest bytes */
    hs_spool rows;                  /* digest, value of `value_bytes`: as the section has them, without the pages */
    hs_spool pairs;                 /* row (8), entry (8) */
    hs_spool own[HS_SHAPES];        /* notes of entries whose lowest kind this is */
    hs_sorter others;               /* entry, note of the others, big-endian */
    uint64_t row_count, pair_count, test_row;
    int test_alone;                 /* no record lists the test digest */
} hs_table;

typedef struct hs_tables {
    const hs_temp_maker *maker;
    hs_column *columns;             /* by shape; those without entries are left out */
    uint8_t widths[HS_KINDS];
    unsigned union_shape;
    uint64_t entry_count;
    int implicit;                   /* kind whose rows and entries run in parallel, -1: none */
    const uint8_t *test[HS_KINDS];  /* digests of the test entry */
    size_t sort_bytes, buffer_bytes, spool_bytes;
    hs_sort_poll poll;
    void *poll_ctx;
    unsigned entry_bytes, note_bytes, value_bytes;
    hs_table table[HS_KINDS];
    uint64_t conflicts;
    struct hs_table_work *works[HS_KINDS];
} hs_tables;

/* `columns`: HS_SHAPES of them, finished. There is at least one entry. Memory: `sort_bytes` for each kind at work, and
 * `back_bytes` for each kind until the tables are cleared. */
int hs_tables_init(hs_tables *tables, const hs_temp_maker *maker, hs_column *columns, const uint8_t widths[HS_KINDS],
                   uint64_t entry_count, const uint8_t *const test[HS_KINDS], size_t sort_bytes, size_t back_bytes,
                   size_t buffer_bytes, size_t spool_bytes, hs_sort_poll poll, void *poll_ctx);
void hs_tables_clear(hs_tables *tables);

/* Makes the table of kind k (code - 1), `most` digests a step. Returns 1 while there is more to do; *done counts up to twice the
 * digests of the kind. Then the next kind. */
int hs_tables_step(hs_tables *tables, unsigned k, uint64_t most, uint64_t *done);
/* After the tables: counts the digests whose entries carry different digests of another kind. Returns 1 while there is more. */
int hs_conflicts_step(hs_tables *tables, uint64_t most, uint64_t *done);

/* The notes of all entries of a shape, in order. */
typedef struct hs_notes {
    hs_tables *tables;
    unsigned shape, lowest;
    uint64_t entry;
    hs_reader own;
} hs_notes;

/* Shapes in rising order; `first` where it is the first one of a pass over all entries. */
int hs_notes_open(hs_notes *notes, hs_tables *tables, unsigned shape, int first, size_t buffer_bytes);
void hs_notes_close(hs_notes *notes);
/* The notes of the next entry, by kind. */
int hs_notes_next(hs_notes *notes, uint64_t note[HS_KINDS]);

HS_INLINE void hs_store_be(uint8_t *p, unsigned width, uint64_t x) {
    while (width--) {
        p[width] = (uint8_t)x;
        x >>= 8;
    }
}
HS_INLINE uint64_t hs_load_be(const uint8_t *p, unsigned width) {
    uint64_t x = 0;
    for (unsigned i = 0; i < width; i++) x = x << 8 | p[i];
    return x;
}

#endif
