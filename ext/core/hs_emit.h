/* hs_emit.h -- writes the sections of a new set (docs/format/hset.md, sections 5 to 11) from finished tables.
 *
 * First the lengths: hs_emit_plan says which sections there will be, so that every section's place is known. Then each part is
 * written front to back, in steps, in any order and by any thread: one thread for one part.
 */
#ifndef HS_EMIT_H
#define HS_EMIT_H

#include "hs_pages.h"
#include "hs_set.h"
#include "hs_tables.h"

typedef struct hs_emit {
    hs_tables *tables;
    hs_gather *gather;
    uint64_t millibits;
    int sealed;                     /* entries hold rows only */
    uint64_t test_size, test_group; /* size + 1; group value */
    unsigned row_width, size_width, group_width;
} hs_emit;

void hs_emit_init(hs_emit *emit, hs_tables *tables, hs_gather *gather, uint64_t millibits, int sealed, uint64_t test_size,
                  uint64_t test_group);

enum { HS_EMIT_MAX_SECTIONS = 4 * HS_KINDS + HS_SHAPES + 3 };

/* The sections in file order, but for the description: id, flags, length, count, aux; no offsets. Returns how many. */
unsigned hs_emit_plan(const hs_emit *emit, hs_section sections[HS_EMIT_MAX_SECTIONS]);

/* One kind: filter, fences, table and shared pairs in one pass. */
typedef struct hs_emit_kind {
    const hs_emit *emit;
    unsigned k, width, value_bytes;
    const hs_column *column;        /* rows and entries in parallel: the digests as they lie with the entries */
    hs_section_out filter, fences, table, shared;
    hs_reader rows, pairs;
    uint64_t row, block, block_count, pair;
    unsigned per_page, pairs_per_page, row_number_bytes, pair_entry_bytes;
    uint8_t bits[32];
} hs_emit_kind;

/* Offsets of the sections; that of `shared` is not looked at where there are no pairs. */
int hs_emit_kind_open(hs_emit_kind *part, const hs_emit *emit, unsigned k, const hs_pages *pages, uint64_t filter,
                      uint64_t fences, uint64_t table, uint64_t shared);
/* Returns 1 while there is more. */
int hs_emit_kind_step(hs_emit_kind *part, uint64_t most, uint64_t *done);
void hs_emit_kind_close(hs_emit_kind *part);

/* The entries of all shapes, the test entry last. */
typedef struct hs_emit_entries {
    const hs_emit *emit;
    const hs_pages *pages;
    const uint64_t *offsets;        /* of the entries section, by shape; [0]: of the test entry */
    hs_spool *columns;              /* sealed: takes size and group of each entry */
    unsigned shape, per_page;
    int open, first;
    hs_notes notes;
    hs_reader values;
    hs_section_out section;
} hs_emit_entries;

int hs_emit_entries_open(hs_emit_entries *part, const hs_emit *emit, const hs_pages *pages, const uint64_t offsets[HS_SHAPES],
                         hs_spool *columns);
int hs_emit_entries_step(hs_emit_entries *part, uint64_t most, uint64_t *done);
void hs_emit_entries_close(hs_emit_entries *part);

/* A section of what a finished spool holds. */
int hs_emit_spool(const hs_pages *pages, uint32_t id, uint64_t offset, const hs_spool *spool);
/* A section of bytes at hand. */
int hs_emit_bytes(const hs_pages *pages, uint32_t id, uint64_t offset, const uint8_t *data, uint64_t length);

#endif
