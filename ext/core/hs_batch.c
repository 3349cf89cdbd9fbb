/* hs_batch.c -- see hs_batch.h. */
#include "hs_batch.h"

#include <errno.h>
#include <stdlib.h>

enum { REF_OFFSET_BYTES = 8, PIECE_BYTES = 1 << 18 };

size_t hs_row_store(uint8_t *to, const uint8_t *digests, unsigned digest_bytes, const hs_row *row) {
    memcpy(to, digests, digest_bytes);
    to += digest_bytes;
    hs_store64be(to, row->size);
    hs_store32be(to + 8, row->class_number);
    to[12] = (uint8_t)row->op;
    to[13] = (uint8_t)row->ref;
    to[14] = (uint8_t)(row->ref >> 8);
    size_t ref_bytes = row->ref ? row->ref - 1 : 0;
    if (ref_bytes) memcpy(to + HS_ROW_FULL_TAIL, row->ref_at, ref_bytes);
    return digest_bytes + HS_ROW_FULL_TAIL + ref_bytes;
}

static unsigned memory_width(unsigned digest_bytes, unsigned layout) {
    return hs_row_bytes(digest_bytes, layout) + (layout == HS_ROW_FULL ? REF_OFFSET_BYTES : 0);
}

void hs_batch_init(hs_batch *batch, const uint8_t widths[HS_KINDS], uint64_t most_bytes) {
    memset(batch, 0, sizeof *batch);
    memcpy(batch->widths, widths, HS_KINDS);
    batch->most_bytes = most_bytes;
}

void hs_batch_clear(hs_batch *batch) {
    for (unsigned shape = 0; shape < HS_SHAPES; shape++)
        for (unsigned layout = 0; layout < HS_LAYOUTS; layout++) {
            hs_pile *pile = &batch->piles[shape][layout];
            hs_rows_free(&pile->rows, &pile->mapped_bytes);
            pile->count = pile->capacity = 0;
        }
    hs_rows_free(&batch->refs, &batch->refs_mapped);
    batch->refs_used = batch->refs_capacity = batch->used_bytes = 0;
}

void hs_batch_reset(hs_batch *batch) {
    uint64_t held = batch->refs_capacity;
    for (unsigned shape = 1; shape < HS_SHAPES; shape++)
        for (unsigned layout = 0; layout < HS_LAYOUTS; layout++) {
            hs_pile *pile = &batch->piles[shape][layout];
            held += pile->capacity * memory_width(hs_shape_bytes(shape, batch->widths), layout);
            pile->count = 0;
        }
    batch->refs_used = batch->used_bytes = 0;
    /* Lists that change their shapes as they go would otherwise hold memory for each of them. */
    if (held > batch->most_bytes + batch->most_bytes / 2) hs_batch_clear(batch);
}

static int grow(hs_batch *batch, hs_pile *pile, unsigned width) {
    /* A pile never needs more than a batch holds; the one row more is the one that fills it. */
    uint64_t most = batch->most_bytes / width + 1, capacity = pile->capacity ? pile->capacity * 2 : 64;
    if (capacity > most) capacity = most;
    if (capacity <= pile->count) capacity = pile->count + 1;
    uint64_t bytes = capacity * width;
    int status = hs_rows_grow(&pile->rows, &pile->mapped_bytes, pile->count * width, bytes, bytes);
    if (status == 0) pile->capacity = capacity;
    return status;
}

int hs_batch_add(hs_batch *batch, unsigned shape, const uint8_t *digests, const hs_row *row) {
    unsigned layout = row->ref || row->op != HS_OP_ADD                              ? HS_ROW_FULL
                      : row->size == 0 && row->class_number < HS_PLAIN_CLASSES ? HS_ROW_PLAIN
                                                                                   : HS_ROW_SIZED;
    unsigned digest_bytes = hs_shape_bytes(shape, batch->widths), width = memory_width(digest_bytes, layout);
    hs_pile *pile = &batch->piles[shape][layout];
    int status;
    if (pile->count == pile->capacity && (status = grow(batch, pile, width)) < 0) return status;
    uint8_t *to = pile->rows + pile->count * width;
    if (layout == HS_ROW_FULL) {
        uint64_t ref_bytes = row->ref ? row->ref - 1 : 0;
        if (ref_bytes > batch->refs_capacity - batch->refs_used) {
            uint64_t least = batch->refs_used + ref_bytes;
            uint64_t most = batch->most_bytes + HS_MAX_REF_BYTES;
            uint64_t wanted = batch->refs_used * 2 < least ? least : batch->refs_used * 2;
            if (wanted > most) wanted = most;
            if ((status = hs_rows_grow(&batch->refs, &batch->refs_mapped, batch->refs_used, wanted, wanted)) < 0)
                return status;
            batch->refs_capacity = wanted;
        }
        hs_row without = *row;
        without.ref = 0;
        hs_row_store(to, digests, digest_bytes, &without);
        to[digest_bytes + HS_ROW_REF_AT] = (uint8_t)row->ref;
        to[digest_bytes + HS_ROW_REF_AT + 1] = (uint8_t)(row->ref >> 8);
        hs_store64le(to + digest_bytes + HS_ROW_FULL_TAIL, batch->refs_used);
        if (ref_bytes) memcpy(batch->refs + batch->refs_used, row->ref_at, (size_t)ref_bytes);
        batch->refs_used += ref_bytes;
        batch->used_bytes += ref_bytes;
    } else {
        memcpy(to, digests, digest_bytes);
        to += digest_bytes;
        if (layout == HS_ROW_PLAIN) {
            to[0] = (uint8_t)(row->class_number >> 8);
            to[1] = (uint8_t)row->class_number;
        } else {
            hs_store64be(to, row->size);
            hs_store32be(to + 8, row->class_number);
        }
    }
    pile->count++;
    batch->used_bytes += width;
    return 0;
}

HS_INLINE void copy_plain(uint8_t *to, const uint8_t *from, uint64_t count, unsigned digest_bytes, const uint8_t tail[2]) {
    for (uint64_t i = 0; i < count; i++, to += digest_bytes + 2, from += digest_bytes) {
        memcpy(to, from, digest_bytes);
        memcpy(to + digest_bytes, tail, 2);
    }
}

int64_t hs_batch_add_packed(hs_batch *batch, unsigned shape, const uint8_t *digests, uint64_t count, uint32_t class_number) {
    unsigned digest_bytes = hs_shape_bytes(shape, batch->widths);
    hs_row row = {0, class_number, HS_OP_ADD, 0, NULL};
    uint64_t taken = 0;
    if (class_number >= HS_PLAIN_CLASSES) {
        for (; taken < count && !hs_batch_full(batch); taken++) {
            int status = hs_batch_add(batch, shape, digests + taken * digest_bytes, &row);
            if (status < 0) return status;
        }
        return (int64_t)taken;
    }
    const uint8_t tail[2] = {(uint8_t)(class_number >> 8), (uint8_t)class_number};
    unsigned width = digest_bytes + 2;
    hs_pile *pile = &batch->piles[shape][HS_ROW_PLAIN];
    while (taken < count && !hs_batch_full(batch)) {
        int status;
        if (pile->count == pile->capacity && (status = grow(batch, pile, width)) < 0) return status;
        uint64_t now = (batch->most_bytes - batch->used_bytes + width - 1) / width;
        if (now > count - taken) now = count - taken;
        if (now > pile->capacity - pile->count) now = pile->capacity - pile->count;
        uint8_t *to = pile->rows + pile->count * width;
        const uint8_t *from = digests + taken * digest_bytes;
        if (digest_bytes == 16) copy_plain(to, from, now, 16, tail);
        else if (digest_bytes == 20) copy_plain(to, from, now, 20, tail);
        else copy_plain(to, from, now, digest_bytes, tail);
        pile->count += now;
        batch->used_bytes += now * width;
        taken += now;
    }
    return (int64_t)taken;
}

uint64_t hs_batch_run_bytes(const hs_batch *batch) {
    uint64_t total = batch->refs_used;
    for (unsigned shape = 1; shape < HS_SHAPES; shape++)
        for (unsigned layout = 0; layout < HS_LAYOUTS; layout++)
            total += batch->piles[shape][layout].count * hs_row_bytes(hs_shape_bytes(shape, batch->widths), layout);
    return total;
}

/* ---------------------------------------------------------------- sorting, ids included */

typedef struct ids {
    const uint8_t *refs;
    unsigned digest_bytes, width;
} ids;

static int compare_ids(const uint8_t *a, unsigned a_ref, const uint8_t *b, unsigned b_ref) {
    unsigned shorter = a_ref < b_ref ? a_ref : b_ref;
    int order = shorter > 1 ? memcmp(a, b, shorter - 1) : 0;
    return order ? order : (a_ref > b_ref) - (a_ref < b_ref);
}

static unsigned ref_of(const ids *o, const uint8_t *row) {
    return (unsigned)row[o->digest_bytes + HS_ROW_REF_AT] | (unsigned)row[o->digest_bytes + HS_ROW_REF_AT + 1] << 8;
}

static const uint8_t *ref_at(const ids *o, const uint8_t *row) {
    return o->refs + hs_load64le(row + o->digest_bytes + HS_ROW_FULL_TAIL);
}

/* Rows in memory that agree in digests, size and class. */
static int order_in_memory(const ids *o, const uint8_t *a, const uint8_t *b) {
    int order = compare_ids(ref_at(o, a), ref_of(o, a), ref_at(o, b), ref_of(o, b));
    return order ? order : (int)a[o->digest_bytes + 12] - (int)b[o->digest_bytes + 12];
}

static void swap_rows(uint8_t *a, uint8_t *b, size_t width) {
    uint8_t row[HS_SORT_MAX_WIDTH];
    memcpy(row, a, width);
    memcpy(a, b, width);
    memcpy(b, row, width);
}

static void sift(const ids *o, uint8_t *rows, uint64_t at, uint64_t count) {
    for (;;) {
        uint64_t child = 2 * at + 1;
        if (child >= count) return;
        if (child + 1 < count && order_in_memory(o, rows + child * o->width, rows + (child + 1) * o->width) < 0) child++;
        if (order_in_memory(o, rows + at * o->width, rows + child * o->width) >= 0) return;
        swap_rows(rows + at * o->width, rows + child * o->width, o->width);
        at = child;
    }
}

/* Heap sort: one digest may have millions of ids, and nothing may make this quadratic. */
static int sort_ids(const ids *o, uint8_t *rows, uint64_t count, hs_sort_poll poll, void *ctx) {
    for (uint64_t i = count / 2; i-- > 0;) sift(o, rows, i, count);
    for (uint64_t end = count; end-- > 1;) {
        swap_rows(rows, rows + end * o->width, o->width);
        sift(o, rows, 0, end);
        if ((end & 0xfffff) == 0 && poll && poll(ctx)) return HS_RUN_STOPPED;
    }
    return 0;
}

static int sort_full(hs_batch *batch, hs_pile *pile, unsigned digest_bytes, hs_sort_poll poll, void *ctx) {
    unsigned width = memory_width(digest_bytes, HS_ROW_FULL), key = digest_bytes + 12;
    ids o = {batch->refs, digest_bytes, width};
    if (hs_sort_rows(pile->rows, pile->count, width, key, poll, ctx)) return HS_RUN_STOPPED;
    for (uint64_t i = 0; i < pile->count;) {
        const uint8_t *first = pile->rows + i * width;
        uint64_t next = i + 1;
        while (next < pile->count && memcmp(first, pile->rows + next * width, key) == 0) next++;
        int status = next - i > 1 ? sort_ids(&o, pile->rows + i * width, next - i, poll, ctx) : 0;
        if (status < 0) return status;
        i = next;
    }
    return 0;
}

/* ---------------------------------------------------------------- writing runs */

typedef struct outlet {
    hs_spool *spool;
    int reserved;
    uint64_t offset;
} outlet;

static int let_out(outlet *out, const uint8_t *data, size_t length) {
    if (!out->reserved) return hs_spool_put(out->spool, data, length);
    int status = hs_spool_write(out->spool, data, length, out->offset);
    out->offset += length;
    return status;
}

static uint64_t place(const outlet *out) { return out->reserved ? out->offset : hs_spool_bytes(out->spool); }

/* Equal rows once. Returns how many are left. */
static uint64_t drop_equal(uint8_t *rows, uint64_t count, size_t width) {
    uint64_t kept = count ? 1 : 0;
    for (uint64_t i = 1; i < count; i++) {
        const uint8_t *row = rows + i * width, *last = rows + (kept - 1) * width;
        if (hs_load64be(row) == hs_load64be(last) && memcmp(row, last, width) == 0) continue;
        if (kept != i) memcpy(rows + kept * width, row, width);
        kept++;
    }
    return kept;
}

static int write_packed(outlet *out, const uint8_t *rows, uint64_t bytes) {
    /* In pieces, so that a stop need not wait for gigabytes. */
    const uint64_t piece = 8 << 20;
    for (uint64_t at = 0; at < bytes; at += piece) {
        int status = let_out(out, rows + at, (size_t)(bytes - at < piece ? bytes - at : piece));
        if (status < 0) return status;
    }
    return 0;
}

static int write_full(outlet *out, const hs_batch *batch, const hs_pile *pile, unsigned digest_bytes) {
    unsigned width = memory_width(digest_bytes, HS_ROW_FULL), fixed = digest_bytes + HS_ROW_FULL_TAIL;
    ids o = {batch->refs, digest_bytes, width};
    uint8_t *piece = malloc(PIECE_BYTES);
    if (piece == NULL) return -ENOMEM;
    size_t used = 0;
    int status = 0;
    for (uint64_t i = 0; i < pile->count && status == 0; i++) {
        const uint8_t *row = pile->rows + i * width;
        if (i && memcmp(row - width, row, digest_bytes + 12) == 0 && order_in_memory(&o, row - width, row) == 0) continue;
        if (used > PIECE_BYTES - HS_SORT_MAX_WIDTH - HS_MAX_REF_BYTES) {
            status = let_out(out, piece, used);
            used = 0;
        }
        memcpy(piece + used, row, fixed);
        used += fixed;
        unsigned ref = ref_of(&o, row);
        if (ref > 1) {
            memcpy(piece + used, ref_at(&o, row), ref - 1);
            used += ref - 1;
        }
    }
    if (status == 0) status = let_out(out, piece, used);
    free(piece);
    return status;
}

int hs_batch_spill(hs_batch *batch, hs_spool *spool, uint64_t offset, hs_runs runs[HS_SHAPES], hs_sort_poll poll,
                   void *poll_ctx) {
    outlet out = {spool, offset != UINT64_MAX, offset};
    for (unsigned shape = 1; shape < HS_SHAPES; shape++) {
        unsigned digest_bytes = hs_shape_bytes(shape, batch->widths);
        for (unsigned layout = 0; layout < HS_LAYOUTS; layout++) {
            hs_pile *pile = &batch->piles[shape][layout];
            if (pile->count == 0) continue;
            uint64_t start = place(&out);
            int status;
            if (layout == HS_ROW_FULL) {
                status = sort_full(batch, pile, digest_bytes, poll, poll_ctx);
                if (status == 0) status = write_full(&out, batch, pile, digest_bytes);
            } else {
                unsigned width = hs_row_bytes(digest_bytes, layout);
                status = hs_sort_rows(pile->rows, pile->count, width, width, poll, poll_ctx) ? HS_RUN_STOPPED : 0;
                if (status == 0) status = write_packed(&out, pile->rows, drop_equal(pile->rows, pile->count, width) * width);
            }
            if (status == 0) status = hs_runs_add(&runs[shape], start, place(&out) - start, layout);
            if (status < 0) return status;
        }
    }
    return 0;
}

/* ---------------------------------------------------------------- reading runs */

int hs_cursor_next_row(hs_cursor *cursor) {
    hs_reader *reader = &cursor->reader;
    size_t width = cursor->width;
    if (cursor->row != NULL) {
        size_t last = width;
        if (cursor->layout == HS_ROW_FULL) {
            unsigned ref = (unsigned)cursor->row[width - 2] | (unsigned)cursor->row[width - 1] << 8;
            last += ref ? ref - 1 : 0;
        }
        reader->at += last;
    }
    size_t need = cursor->layout == HS_ROW_FULL ? width + HS_MAX_REF_BYTES : width;
    int64_t there = hs_reader_need(reader, need);
    if (HS_UNLIKELY(there < (int64_t)width)) {
        cursor->row = NULL;
        return there > 0 ? -EIO : (int)there;
    }
    cursor->row = reader->buffer + reader->at;
    return 1;
}

int hs_order_rows(const hs_cursor *a, const hs_cursor *b) {
    unsigned digest_bytes = *(const unsigned *)a->ctx;
    int order = memcmp(a->row, b->row, digest_bytes);
    if (order) return order;
    hs_row x = hs_row_parse(a->row + digest_bytes, a->layout), y = hs_row_parse(b->row + digest_bytes, b->layout);
    if (x.size != y.size) return x.size < y.size ? -1 : 1;
    if (x.class_number != y.class_number) return x.class_number < y.class_number ? -1 : 1;
    order = compare_ids(x.ref_at, x.ref, y.ref_at, y.ref);
    return order ? order : (int)x.op - (int)y.op;
}
