/* hs_batch.h -- records on their way into a set: rows, as they wait in memory and as they lie in sorted runs.
 *
 * A *shape* says which kinds of digest a record carries (bit kind code - 1 for each). A row begins with the record's digests in
 * the order of codes; what follows depends on its *layout*, so that the millions of plain ones stay short:
 *
 *   HS_ROW_PLAIN    class (2)
 *   HS_ROW_SIZED    size + 1 (8), class (4)
 *   HS_ROW_FULL     size + 1 (8), class (4), op (1), length of the record id + 1 (2, little-endian); then in a run the id
 *                   itself, in memory its offset among the batch's ids (8, little-endian)
 *
 * Numbers are big-endian but where it says otherwise: rows sort by memcmp. The order of rows is digests, size, class, id (none
 * first), op. Size and id length 0 mean that there is none.
 *
 * One thread at a time for one batch. Results: see hs_run.h.
 */
#ifndef HS_BATCH_H
#define HS_BATCH_H

#include "hs_run.h"

enum { HS_ROW_PLAIN = 0, HS_ROW_SIZED = 1, HS_ROW_FULL = 2, HS_LAYOUTS = 3 };
enum { HS_OP_ADD = 0, HS_OP_BASE = 1, HS_OP_CANCEL = 2 };
enum { HS_SHAPES = 16, HS_KINDS = 4, HS_MAX_REF_BYTES = 4096, HS_PLAIN_CLASSES = 1 << 16 };
enum { HS_ROW_FULL_TAIL = 15, HS_ROW_REF_AT = 13 }; /* bytes behind the digests, and where the length of the id is */

/* Digest bytes of a record; `widths` by kind code - 1. */
HS_INLINE unsigned hs_shape_bytes(unsigned shape, const uint8_t widths[HS_KINDS]) {
    unsigned total = 0;
    for (unsigned k = 0; k < HS_KINDS; k++) total += shape >> k & 1 ? widths[k] : 0;
    return total;
}

/* Bytes of a row in a run, without the id. */
HS_INLINE unsigned hs_row_bytes(unsigned digest_bytes, unsigned layout) {
    return digest_bytes + (layout == HS_ROW_PLAIN ? 2 : layout == HS_ROW_SIZED ? 12 : HS_ROW_FULL_TAIL);
}

/* What a row in a run says behind its digests. */
typedef struct hs_row {
    uint64_t size;        /* + 1; 0: none */
    uint32_t class_number;
    unsigned op, ref;     /* length of the id + 1; 0: none */
    const uint8_t *ref_at;
} hs_row;

HS_INLINE hs_row hs_row_parse(const uint8_t *tail, unsigned layout) {
    hs_row row = {0, 0, HS_OP_ADD, 0, NULL};
    if (layout == HS_ROW_PLAIN) {
        row.class_number = (uint32_t)tail[0] << 8 | tail[1];
        return row;
    }
    row.size = hs_load64be(tail);
    row.class_number = hs_load32be(tail + 8);
    if (layout == HS_ROW_FULL) {
        row.op = tail[12];
        row.ref = (unsigned)tail[13] | (unsigned)tail[14] << 8;
        row.ref_at = tail + HS_ROW_FULL_TAIL;
    }
    return row;
}

/* Writes a row of layout HS_ROW_FULL as it lies in a run; returns its bytes. `ref_bytes`: + 1, 0 for none. */
size_t hs_row_store(uint8_t *to, const uint8_t *digests, unsigned digest_bytes, const hs_row *row);

typedef struct hs_pile {
    uint8_t *rows;
    uint64_t count, capacity;
    size_t mapped_bytes;
} hs_pile;

typedef struct hs_batch {
    uint8_t widths[HS_KINDS];
    hs_pile piles[HS_SHAPES][HS_LAYOUTS];
    uint8_t *refs;
    uint64_t refs_used, refs_capacity;
    size_t refs_mapped;
    uint64_t used_bytes, most_bytes;
} hs_batch;

/* `most_bytes`: from when on the batch is full. */
void hs_batch_init(hs_batch *batch, const uint8_t widths[HS_KINDS], uint64_t most_bytes);
/* Forgets the rows, keeps the memory. */
void hs_batch_reset(hs_batch *batch);
void hs_batch_clear(hs_batch *batch);
HS_INLINE int hs_batch_full(const hs_batch *batch) { return batch->used_bytes >= batch->most_bytes; }

int hs_batch_add(hs_batch *batch, unsigned shape, const uint8_t *digests, const hs_row *row);
/* `count` records of one kind or shape with neither size nor id; stops when the batch is full. Returns how many it took. */
int64_t hs_batch_add_packed(hs_batch *batch, unsigned shape, const uint8_t *digests, uint64_t count, uint32_t class_number);

/* Bytes that hs_batch_spill writes at most. */
uint64_t hs_batch_run_bytes(const hs_batch *batch);
/* Sorts the rows and writes them as runs, one for each shape and layout that occurs; equal rows once. Into `spool`: from
 * `offset` on, which hs_spool_reserve gave, or, where `offset` is UINT64_MAX, by hs_spool_put. `runs`: one list a shape. */
int hs_batch_spill(hs_batch *batch, hs_spool *spool, uint64_t offset, hs_runs runs[HS_SHAPES], hs_sort_poll poll,
                   void *poll_ctx);

/* A cursor over a run of rows: set `layout`, `width` = hs_row_bytes and the reader. */
int hs_cursor_next_row(hs_cursor *cursor);
/* The order of rows, for cursors whose ctx points to the digest bytes of their shape (an unsigned). */
int hs_order_rows(const hs_cursor *a, const hs_cursor *b);

#endif
