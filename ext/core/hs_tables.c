/* hs_tables.c -- see hs_tables.h. */
#include "hs_tables.h"

#include <errno.h>
#include <stdlib.h>

#include "hs_set.h"

enum { ROW_BYTES = 32 + 8 };

/* Entries of one shape whose lowest kind is at hand: their digests are in order already. */
typedef struct column_cursor {
    hs_cursor cursor;
    unsigned stride, entry_bytes;
    uint64_t entry;
    uint8_t own[ROW_BYTES];
} column_cursor;

typedef struct sorter_cursor {
    hs_cursor cursor;
    hs_sorter *sorter;
} sorter_cursor;

typedef struct hs_table_work {
    unsigned kind, shape;
    int merging, began;
    hs_sorter sorter;
    hs_reader reader;
    int reading;
    uint64_t entry;
    column_cursor columns[HS_SHAPES];
    sorter_cursor sorted;
    hs_cursor test;
    uint8_t test_row[ROW_BYTES];
    hs_cursor *cursors[HS_SHAPES + 2];
    unsigned cursor_count;
    hs_merge merge;
    /* The row that is being put together. */
    int have, shared;
    uint64_t key, first;
    uint8_t digest[32];
    /* Conflicts. */
    int conflicts;
    hs_notes notes;
    int noting, first_pass;
} hs_table_work;

static unsigned lowest_of(unsigned shape) {
    unsigned k = 0;
    while (!(shape >> k & 1)) k++;
    return k;
}

static unsigned place_of(const hs_tables *t, unsigned shape, unsigned k) {
    return hs_shape_bytes(shape & ((1u << k) - 1), t->widths);
}

static int has(const hs_tables *t, unsigned shape, unsigned k) { return shape >> k & 1 && t->columns[shape].entries; }

static int next_in_column(hs_cursor *cursor) {
    column_cursor *c = (column_cursor *)cursor;
    hs_reader *reader = &cursor->reader;
    unsigned digest_bytes = (unsigned)cursor->width - c->entry_bytes;
    int64_t there = hs_reader_need(reader, c->stride);
    if (there < (int64_t)c->stride) {
        cursor->row = NULL;
        return there > 0 ? -EIO : (int)there;
    }
    memcpy(c->own, reader->buffer + reader->at, digest_bytes);
    hs_store_be(c->own + digest_bytes, c->entry_bytes, c->entry++);
    reader->at += c->stride;
    cursor->row = c->own;
    return 1;
}

static int next_sorted(hs_cursor *cursor) {
    hs_sorter *sorter = ((sorter_cursor *)cursor)->sorter;
    if (cursor->row != NULL) {
        int status = hs_sorter_next(sorter);
        if (status < 0) return status;
    }
    cursor->row = hs_sorter_row(sorter);
    return cursor->row != NULL;
}

static void end_work(hs_tables *t, unsigned k) {
    hs_table_work *w = t->works[k];
    if (w == NULL) return;
    if (w->merging) hs_merge_close(&w->merge);
    for (unsigned shape = 0; shape < HS_SHAPES; shape++) hs_reader_close(&w->columns[shape].cursor.reader);
    if (w->reading) hs_reader_close(&w->reader);
    if (w->noting) hs_notes_close(&w->notes);
    hs_sorter_clear(&w->sorter);
    free(w);
    t->works[k] = NULL;
}

int hs_tables_init(hs_tables *t, const hs_temp_maker *maker, hs_column *columns, const uint8_t widths[HS_KINDS],
                   uint64_t entry_count, const uint8_t *const test[HS_KINDS], size_t sort_bytes, size_t back_bytes,
                   size_t buffer_bytes, size_t spool_bytes, hs_sort_poll poll, void *poll_ctx) {
    memset(t, 0, sizeof *t);
    t->maker = maker;
    t->columns = columns;
    memcpy(t->widths, widths, HS_KINDS);
    memcpy(t->test, test, sizeof t->test);
    t->entry_count = entry_count;
    t->sort_bytes = sort_bytes;
    t->buffer_bytes = buffer_bytes;
    t->spool_bytes = spool_bytes;
    t->poll = poll;
    t->poll_ctx = poll_ctx;
    t->entry_bytes = hs_set_width_of(entry_count);
    t->note_bytes = hs_set_width_of((entry_count + 1) << 1 | 1);
    t->value_bytes = hs_set_width_of(entry_count << 1 | 1);
    t->implicit = -1;
    unsigned shapes = 0, only = 0;
    for (unsigned shape = 1; shape < HS_SHAPES; shape++)
        if (columns[shape].entries) {
            t->union_shape |= shape;
            shapes++;
            only = shape;
        }
    if (shapes == 1 && !columns[only].lowest_shared) t->implicit = (int)lowest_of(only);
    for (unsigned k = 0; k < HS_KINDS; k++) {
        hs_table *table = &t->table[k];
        table->width = widths[k];
        hs_spool_init(&table->rows, maker, spool_bytes);
        hs_spool_init(&table->pairs, maker, spool_bytes);
        for (unsigned shape = 0; shape < HS_SHAPES; shape++) hs_spool_init(&table->own[shape], maker, spool_bytes);
        hs_sorter_init(&table->others, maker, t->entry_bytes + t->note_bytes, back_bytes, buffer_bytes, poll, poll_ctx);
    }
    if (t->implicit >= 0) {
        t->table[t->implicit].row_count = entry_count + 1;
        t->table[t->implicit].test_row = columns[only].before_test;
        t->table[t->implicit].test_alone = 1;
    }
    return 0;
}

void hs_tables_clear(hs_tables *t) {
    if (t->maker == NULL) return;
    for (unsigned k = 0; k < HS_KINDS; k++) {
        hs_table *table = &t->table[k];
        end_work(t, k);
        hs_spool_clear(&table->rows);
        hs_spool_clear(&table->pairs);
        for (unsigned shape = 0; shape < HS_SHAPES; shape++) hs_spool_clear(&table->own[shape]);
        hs_sorter_clear(&table->others);
    }
    t->maker = NULL;
}

/* ---------------------------------------------------------------- a table */

static hs_table_work *begin_work(hs_tables *t, unsigned k) {
    hs_table_work *w = calloc(1, sizeof *w);
    if (w == NULL) return NULL;
    w->kind = k;
    w->shape = 1;
    hs_sorter_init(&w->sorter, t->maker, t->widths[k] + t->entry_bytes, t->sort_bytes, t->buffer_bytes, t->poll,
                   t->poll_ctx);
    t->works[k] = w;
    return w;
}

/* Digests of shapes of which kind k is not the lowest go to the sorter. Returns 0 when all are there. */
static int collect(hs_tables *t, hs_table_work *w, uint64_t most, uint64_t *done) {
    unsigned k = w->kind, width = t->widths[k];
    int status = 0;
    for (; w->shape < HS_SHAPES; w->shape++) {
        if (!has(t, w->shape, k) || lowest_of(w->shape) == k) continue;
        hs_column *column = &t->columns[w->shape];
        unsigned at = place_of(t, w->shape, k);
        if (!w->reading) {
            status = hs_reader_open(&w->reader, &column->digests, 0, hs_spool_bytes(&column->digests), t->spool_bytes);
            if (status < 0) return status;
            w->reading = 1;
            w->entry = column->first_entry;
        }
        while (w->entry < column->first_entry + column->entries) {
            if (most-- == 0) return 1;
            int64_t there = hs_reader_need(&w->reader, column->digest_bytes);
            if (there < (int64_t)column->digest_bytes) return there < 0 ? (int)there : -EIO;
            uint8_t *row = hs_sorter_add(&w->sorter, &status);
            if (row == NULL) return status;
            memcpy(row, w->reader.buffer + w->reader.at + at, width);
            hs_store_be(row + width, t->entry_bytes, w->entry++);
            w->reader.at += column->digest_bytes;
            ++*done;
        }
        hs_reader_close(&w->reader);
        w->reading = 0;
    }
    return 0;
}

static int begin_merge(hs_tables *t, hs_table_work *w) {
    unsigned k = w->kind, width = t->widths[k], row_bytes = width + t->entry_bytes;
    int status = 0;
    for (unsigned shape = 1; shape < HS_SHAPES; shape++) {
        if (!has(t, shape, k) || lowest_of(shape) != k) continue;
        hs_column *column = &t->columns[shape];
        column_cursor *c = &w->columns[shape];
        c->cursor.next = next_in_column;
        c->cursor.width = row_bytes;
        c->stride = column->digest_bytes;
        c->entry_bytes = t->entry_bytes;
        c->entry = column->first_entry;
        status = hs_reader_open(&c->cursor.reader, &column->digests, 0, hs_spool_bytes(&column->digests), t->spool_bytes);
        if (status < 0) return status;
        w->cursors[w->cursor_count++] = &c->cursor;
    }
    if (w->sorter.count) {
        if ((status = hs_sorter_finish(&w->sorter)) < 0 || (status = hs_sorter_rewind(&w->sorter)) < 0) return status;
        w->sorted.cursor.next = next_sorted;
        w->sorted.cursor.width = row_bytes;
        w->sorted.sorter = &w->sorter;
        w->cursors[w->cursor_count++] = &w->sorted.cursor;
    }
    memcpy(w->test_row, t->test[k], width);
    hs_store_be(w->test_row + width, t->entry_bytes, t->entry_count);
    w->test.next = hs_cursor_next_packed;
    w->test.width = row_bytes;
    w->test.reader.buffer = w->test_row;
    w->test.reader.end = row_bytes;
    w->cursors[w->cursor_count++] = &w->test;
    status = hs_merge_open(&w->merge, w->cursors, w->cursor_count, hs_order_packed);
    w->merging = status == 0;
    return status;
}

static int note(hs_tables *t, unsigned k, uint64_t entry, uint64_t row, int shared) {
    hs_table *table = &t->table[k];
    if (entry == t->entry_count) {
        table->test_row = row;
        return 0;
    }
    unsigned shape = 1;
    while (!has(t, shape, k) || entry - t->columns[shape].first_entry >= t->columns[shape].entries) shape++;
    uint64_t value = row << 1 | (uint64_t)shared;
    if (lowest_of(shape) == k) {
        uint8_t packed[8];
        hs_store64le(packed, value);
        return hs_spool_put(&table->own[shape], packed, t->note_bytes);
    }
    int status = 0;
    uint8_t *to = hs_sorter_add(&table->others, &status);
    if (to == NULL) return status;
    hs_store_be(to, t->entry_bytes, entry);
    hs_store_be(to + t->entry_bytes, t->note_bytes, value);
    return 0;
}

static int finish_row(hs_tables *t, hs_table_work *w) {
    hs_table *table = &t->table[w->kind];
    if (!w->have) return 0;
    uint64_t row = table->row_count++;
    int status = w->shared ? 0 : note(t, w->kind, w->first, row, 0);
    if (w->first == t->entry_count) table->test_alone = 1;
    uint8_t packed[ROW_BYTES];
    memcpy(packed, w->digest, table->width);
    hs_store64le(packed + table->width, w->first << 1 | (uint64_t)w->shared);
    return status < 0 ? status : hs_spool_put(&table->rows, packed, table->width + t->value_bytes);
}

static int add_pair(hs_tables *t, hs_table_work *w, uint64_t entry) {
    hs_table *table = &t->table[w->kind];
    uint64_t row = table->row_count;
    int status = 0;
    if (!w->shared) {
        w->shared = 1;
        status = note(t, w->kind, w->first, row, 1);
    }
    if (status == 0) status = note(t, w->kind, entry, row, 1);
    if (status < 0) return status;
    uint8_t packed[16];
    hs_store64le(packed, row);
    hs_store64le(packed + 8, entry);
    table->pair_count++;
    return hs_spool_put(&table->pairs, packed, sizeof packed);
}

static int merge_rows(hs_tables *t, hs_table_work *w, uint64_t most, uint64_t *done) {
    unsigned width = t->widths[w->kind];
    for (; most; most--) {
        const uint8_t *row = hs_merge_top(&w->merge)->row;
        if (row == NULL) return finish_row(t, w);
        uint64_t key = hs_merge_key(&w->merge), entry = hs_load_be(row + width, t->entry_bytes);
        int status;
        if (w->have && key == w->key && memcmp(row, w->digest, width) == 0) {
            status = add_pair(t, w, entry);
        } else {
            status = finish_row(t, w);
            w->have = 1;
            w->shared = 0;
            w->key = key;
            w->first = entry;
            memcpy(w->digest, row, width);
        }
        if (status == 0) status = hs_merge_next(&w->merge);
        if (status < 0) return status;
        ++*done;
    }
    return 1;
}

int hs_tables_step(hs_tables *t, unsigned k, uint64_t most, uint64_t *done) {
    if ((int)k == t->implicit || !(t->union_shape >> k & 1)) return 0;
    hs_table_work *w = t->works[k] != NULL ? t->works[k] : begin_work(t, k);
    if (w == NULL) return -ENOMEM;
    int status;
    if (!w->merging) {
        status = collect(t, w, most, done);
        if (status == 0) status = begin_merge(t, w);
        return status < 0 ? status : 1;
    }
    status = merge_rows(t, w, most, done);
    if (status) return status;
    hs_table *table = &t->table[k];
    status = hs_spool_finish(&table->rows);
    if (status == 0) status = hs_spool_finish(&table->pairs);
    for (unsigned shape = 1; shape < HS_SHAPES && status == 0; shape++) status = hs_spool_finish(&table->own[shape]);
    if (status == 0) status = hs_sorter_finish(&table->others);
    end_work(t, k);
    return status;
}

/* ---------------------------------------------------------------- notes */

int hs_notes_open(hs_notes *notes, hs_tables *t, unsigned shape, int first, size_t buffer_bytes) {
    memset(notes, 0, sizeof *notes);
    notes->tables = t;
    notes->shape = shape;
    notes->lowest = lowest_of(shape);
    notes->entry = t->columns[shape].first_entry;
    int status = 0;
    for (unsigned k = 0; k < HS_KINDS && first && status == 0; k++)
        if (t->table[k].others.count) status = hs_sorter_rewind(&t->table[k].others);
    if (status == 0 && (int)notes->lowest != t->implicit) {
        const hs_spool *own = &t->table[notes->lowest].own[shape];
        status = hs_reader_open(&notes->own, own, 0, hs_spool_bytes(own), buffer_bytes);
    }
    return status;
}

void hs_notes_close(hs_notes *notes) { hs_reader_close(&notes->own); }

int hs_notes_next(hs_notes *notes, uint64_t note_of[HS_KINDS]) {
    hs_tables *t = notes->tables;
    for (unsigned k = notes->lowest; k < HS_KINDS; k++) {
        if (!(notes->shape >> k & 1)) continue;
        if ((int)k == t->implicit) {
            note_of[k] = (notes->entry + (notes->entry >= t->table[k].test_row)) << 1;
        } else if (k == notes->lowest) {
            int64_t there = hs_reader_need(&notes->own, t->note_bytes);
            if (there < (int64_t)t->note_bytes) return there < 0 ? (int)there : -EIO;
            note_of[k] = hs_load_le(notes->own.buffer + notes->own.at, t->note_bytes);
            notes->own.at += t->note_bytes;
        } else {
            hs_sorter *others = &t->table[k].others;
            const uint8_t *row = hs_sorter_row(others);
            if (row == NULL || hs_load_be(row, t->entry_bytes) != notes->entry) return -EIO;
            note_of[k] = hs_load_be(row + t->entry_bytes, t->note_bytes);
            int status = hs_sorter_next(others);
            if (status < 0) return status;
        }
    }
    notes->entry++;
    return 0;
}

/* ---------------------------------------------------------------- conflicts */

/* For every entry with a shared digest: (kind, row of that digest, other kind, row of the entry's digest of it). A digest is in
 * conflict where two of these differ in nothing but the last. */
static int collect_conflicts(hs_tables *t, hs_table_work *w, uint64_t most, uint64_t *done) {
    unsigned n = t->note_bytes;
    int status = 0;
    for (; w->shape < HS_SHAPES; w->shape++) {
        hs_column *column = &t->columns[w->shape];
        if (!column->entries) continue;
        if (!w->noting) {
            status = hs_notes_open(&w->notes, t, w->shape, w->first_pass, t->spool_bytes);
            w->noting = 1;
            w->first_pass = 0;
            if (status < 0) return status;
        }
        while (w->notes.entry < column->first_entry + column->entries) {
            uint64_t note_of[HS_KINDS];
            if (most-- == 0) return 1;
            if ((status = hs_notes_next(&w->notes, note_of)) < 0) return status;
            ++*done;
            for (unsigned k = 0; k < HS_KINDS; k++) {
                if (!(w->shape >> k & 1) || !(note_of[k] & 1)) continue;
                for (unsigned j = 0; j < HS_KINDS; j++) {
                    if (j == k || !(w->shape >> j & 1)) continue;
                    uint8_t *row = hs_sorter_add(&w->sorter, &status);
                    if (row == NULL) return status;
                    row[0] = (uint8_t)k;
                    hs_store_be(row + 1, n, note_of[k] >> 1);
                    row[1 + n] = (uint8_t)j;
                    hs_store_be(row + 2 + n, n, note_of[j] >> 1);
                }
            }
        }
        hs_notes_close(&w->notes);
        w->noting = 0;
    }
    if ((status = hs_sorter_finish(&w->sorter)) < 0) return status;
    if (w->sorter.count && (status = hs_sorter_rewind(&w->sorter)) < 0) return status;
    w->began = 1;
    return 1;
}

static int count_conflicts(hs_tables *t, hs_table_work *w, uint64_t most) {
    unsigned n = t->note_bytes;
    if (!w->sorter.count) return 0;
    /* w->digest: the row before; w->shared: its digest was counted. */
    for (; most; most--) {
        const uint8_t *row = hs_sorter_row(&w->sorter);
        if (row == NULL) return 0;
        if (!w->have || memcmp(row, w->digest, 1 + n) != 0) w->shared = 0;
        else if (!w->shared && row[1 + n] == w->digest[1 + n] && memcmp(row + 2 + n, w->digest + 2 + n, n) != 0) {
            w->shared = 1;
            t->conflicts++;
        }
        w->have = 1;
        memcpy(w->digest, row, 2 + 2 * n);
        int status = hs_sorter_next(&w->sorter);
        if (status < 0) return status;
    }
    return 1;
}

int hs_conflicts_step(hs_tables *t, uint64_t most, uint64_t *done) {
    hs_table_work *w = t->works[0];
    if (w == NULL) {
        uint64_t pairs = 0;
        for (unsigned k = 0; k < HS_KINDS; k++) pairs += t->table[k].pair_count;
        if (!pairs || !(t->union_shape & (t->union_shape - 1))) return 0;
        if ((w = begin_work(t, 0)) == NULL) return -ENOMEM;
        hs_sorter_init(&w->sorter, t->maker, 2 + 2 * (size_t)t->note_bytes, t->sort_bytes, t->buffer_bytes, t->poll,
                       t->poll_ctx);
        w->first_pass = 1;
    }
    int status = w->began ? count_conflicts(t, w, most) : collect_conflicts(t, w, most, done);
    if (status == 0) end_work(t, 0);
    return status;
}
