/* hs_emit.c -- see hs_emit.h. */
#include "hs_emit.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t pages_for(uint64_t rows, unsigned per_page) { return rows / per_page + (rows % per_page != 0); }

static unsigned kinds_in(unsigned shape) {
    unsigned n = 0;
    for (; shape; shape &= shape - 1) n++;
    return n;
}

static unsigned value_bytes(const hs_emit *e, unsigned k) {
    return (int)k == e->tables->implicit ? 0 : e->tables->value_bytes;
}

/* Bytes of an entry's row. */
static unsigned entry_width(const hs_emit *e, unsigned shape) {
    unsigned rows = kinds_in(shape) - (e->tables->implicit >= 0);
    return rows * e->row_width + (e->sealed ? 0 : e->size_width + e->group_width);
}

void hs_emit_init(hs_emit *e, hs_tables *tables, hs_gather *gather, uint64_t millibits, int sealed, uint64_t test_size,
                  uint64_t test_group) {
    memset(e, 0, sizeof *e);
    e->tables = tables;
    e->gather = gather;
    e->millibits = millibits;
    e->sealed = sealed;
    e->test_size = test_size;
    e->test_group = test_group;
    uint64_t rows = 0, group = gather->largest_group, size = gather->largest_size;
    for (unsigned k = 0; k < HS_KINDS; k++)
        if (tables->table[k].row_count > rows) rows = tables->table[k].row_count;
    if (test_group > group) group = test_group;
    if (test_size > size) size = test_size;
    e->row_width = hs_set_width_of(rows);
    e->size_width = size ? hs_set_width_of(size) : 0;
    e->group_width = hs_set_width_of(group);
}

static hs_section *plan(hs_section *sections, unsigned *n, uint32_t id, uint64_t length, uint64_t count, uint64_t aux) {
    hs_section *s = &sections[(*n)++];
    memset(s, 0, sizeof *s);
    s->id = id;
    s->flags = HS_SECTION_MUST_UNDERSTAND;
    s->length = length;
    s->count = count;
    s->aux = aux;
    return s;
}

static void plan_entries(const hs_emit *e, hs_section *sections, unsigned *n, unsigned shape, unsigned bits, uint64_t count) {
    unsigned width = entry_width(e, shape);
    uint64_t pages = width ? pages_for(count, HS_PAGE_BYTES / width) : 1;
    uint64_t aux = e->row_width | (uint64_t)(e->tables->implicit >= 0) << 24;
    if (!e->sealed) aux |= (uint64_t)e->size_width << 8 | (uint64_t)e->group_width << 16;
    plan(sections, n, (uint32_t)HS_SECTION_ENTRIES << 8 | shape | bits, pages * HS_PAGE_BYTES, count, aux);
}

unsigned hs_emit_plan(const hs_emit *e, hs_section sections[HS_EMIT_MAX_SECTIONS]) {
    const hs_tables *t = e->tables;
    unsigned n = 0;
    for (unsigned k = 0; k < HS_KINDS; k++) {
        if (!(t->union_shape >> k & 1)) continue;
        const hs_table *table = &t->table[k];
        unsigned per_page = HS_PAGE_BYTES / (table->width + value_bytes(e, k));
        uint64_t blocks = hs_bloom_block_count(table->row_count, e->millibits), pages = pages_for(table->row_count, per_page);
        int implicit = (int)k == t->implicit;
        plan(sections, &n, (uint32_t)HS_SECTION_FILTER << 8 | (k + 1), blocks * HS_BLOOM_BLOCK_BYTES, blocks, 0);
        plan(sections, &n, (uint32_t)HS_SECTION_FENCES << 8 | (k + 1), pages * 8, pages, 0);
        plan(sections, &n, (uint32_t)HS_SECTION_TABLE << 8 | (k + 1), pages * HS_PAGE_BYTES, table->row_count,
             implicit ? (table->test_row + 1) << 8 : value_bytes(e, k));
        if (!table->pair_count) continue;
        unsigned row = hs_set_width_of(table->row_count), entry = hs_set_width_of(t->entry_count);
        plan(sections, &n, (uint32_t)HS_SECTION_SHARED << 8 | (k + 1),
             pages_for(table->pair_count, HS_PAGE_BYTES / (row + entry)) * HS_PAGE_BYTES, table->pair_count, row | entry << 8);
    }
    for (unsigned shape = 1; shape < HS_SHAPES; shape++)
        if (t->columns[shape].entries) plan_entries(e, sections, &n, shape, 0, t->columns[shape].entries);
    if (t->union_shape) plan_entries(e, sections, &n, t->union_shape, HS_SHAPE_TEST, 1);
    if (!e->sealed && e->gather->groups.count)
        plan(sections, &n, (uint32_t)HS_SECTION_GROUPS << 8, e->gather->groups.used, e->gather->groups.count, 0);
    if (!e->sealed && hs_spool_bytes(&e->gather->refs))
        plan(sections, &n, (uint32_t)HS_SECTION_REFS << 8, hs_spool_bytes(&e->gather->refs), 0, 0);
    return n;
}

/* ---------------------------------------------------------------- one kind */

int hs_emit_kind_open(hs_emit_kind *p, const hs_emit *e, unsigned k, const hs_pages *pages, uint64_t filter, uint64_t fences,
                      uint64_t table_offset, uint64_t shared) {
    hs_tables *t = e->tables;
    const hs_table *table = &t->table[k];
    memset(p, 0, sizeof *p);
    p->emit = e;
    p->k = k;
    p->width = table->width;
    p->value_bytes = value_bytes(e, k);
    p->per_page = HS_PAGE_BYTES / (p->width + p->value_bytes);
    p->block_count = hs_bloom_block_count(table->row_count, e->millibits);
    const hs_spool *from = &table->rows;
    if ((int)k == t->implicit) {
        unsigned shape = 1;
        while (!t->columns[shape].entries) shape++;
        p->column = &t->columns[shape];
        from = &p->column->digests;
    }
    int status = hs_reader_open(&p->rows, from, 0, hs_spool_bytes(from), t->spool_bytes);
    uint32_t kind = k + 1;
    if (status == 0) status = hs_section_begin(&p->filter, pages, (uint32_t)HS_SECTION_FILTER << 8 | kind, filter);
    if (status == 0) status = hs_section_begin(&p->fences, pages, (uint32_t)HS_SECTION_FENCES << 8 | kind, fences);
    if (status == 0) status = hs_section_begin(&p->table, pages, (uint32_t)HS_SECTION_TABLE << 8 | kind, table_offset);
    if (status == 0 && table->pair_count) {
        p->row_number_bytes = hs_set_width_of(table->row_count);
        p->pair_entry_bytes = hs_set_width_of(t->entry_count);
        p->pairs_per_page = HS_PAGE_BYTES / (p->row_number_bytes + p->pair_entry_bytes);
        status = hs_reader_open(&p->pairs, &table->pairs, 0, hs_spool_bytes(&table->pairs), t->spool_bytes);
        if (status == 0) status = hs_section_begin(&p->shared, pages, (uint32_t)HS_SECTION_SHARED << 8 | kind, shared);
    }
    return status;
}

void hs_emit_kind_close(hs_emit_kind *p) {
    hs_section_free(&p->filter);
    hs_section_free(&p->fences);
    hs_section_free(&p->table);
    hs_section_free(&p->shared);
    hs_reader_close(&p->rows);
    hs_reader_close(&p->pairs);
}

/* Digests come in order, so blocks fill up one after another. */
static int into_filter(hs_emit_kind *p, const uint8_t *digest) {
    uint64_t block = hs_bloom_block_of(digest, p->block_count);
    int status = 0;
    for (; p->block < block && status == 0; p->block++) {
        status = hs_section_put(&p->filter, p->bits, sizeof p->bits);
        memset(p->bits, 0, sizeof p->bits);
    }
    hs_bloom_insert(p->bits, p->block_count, block, digest, p->width, 1);
    return status;
}

static int put_row(hs_emit_kind *p, const uint8_t *row) {
    int status = into_filter(p, row);
    if (status == 0 && p->row % p->per_page == 0) {
        uint8_t fence[8];
        hs_store64le(fence, hs_load64be(row));
        if (p->row) status = hs_section_pad(&p->table);
        if (status == 0) status = hs_section_put(&p->fences, fence, sizeof fence);
    }
    if (status == 0) status = hs_section_put(&p->table, row, p->width + p->value_bytes);
    p->row++;
    return status;
}

static int finish_kind(hs_emit_kind *p) {
    int status = 0;
    for (; p->block < p->block_count && status == 0; p->block++) {
        status = hs_section_put(&p->filter, p->bits, sizeof p->bits);
        memset(p->bits, 0, sizeof p->bits);
    }
    if (status == 0) status = hs_section_pad(&p->table);
    if (status == 0) status = hs_section_flush(&p->table);
    if (status == 0) status = hs_section_flush(&p->fences);
    if (status == 0) status = hs_section_flush(&p->filter);
    return status;
}

int hs_emit_kind_step(hs_emit_kind *p, uint64_t most, uint64_t *done) {
    const hs_table *table = &p->emit->tables->table[p->k];
    unsigned stride = p->column ? p->column->digest_bytes : p->width + p->value_bytes;
    int status = 0;
    for (; p->row < table->row_count; most--) {
        if (most == 0) return 1;
        if (p->column && p->row == table->test_row) {
            status = put_row(p, p->emit->tables->test[p->k]);
        } else {
            int64_t there = hs_reader_need(&p->rows, stride);
            if (there < (int64_t)stride) return there < 0 ? (int)there : -EIO;
            status = put_row(p, p->rows.buffer + p->rows.at);
            p->rows.at += stride;
        }
        if (status < 0) return status;
        ++*done;
        if (p->row == table->row_count && (status = finish_kind(p)) < 0) return status;
    }
    for (; p->pair < table->pair_count; most--) {
        if (most == 0) return 1;
        uint8_t packed[16];
        int64_t there = hs_reader_need(&p->pairs, 16);
        if (there < 16) return there < 0 ? (int)there : -EIO;
        memcpy(packed, p->pairs.buffer + p->pairs.at, p->row_number_bytes);
        memcpy(packed + p->row_number_bytes, p->pairs.buffer + p->pairs.at + 8, p->pair_entry_bytes);
        p->pairs.at += 16;
        if (p->pair && p->pair % p->pairs_per_page == 0) status = hs_section_pad(&p->shared);
        if (status == 0) status = hs_section_put(&p->shared, packed, p->row_number_bytes + p->pair_entry_bytes);
        if (status < 0) return status;
        p->pair++;
    }
    if (table->pair_count) {
        status = hs_section_pad(&p->shared);
        if (status == 0) status = hs_section_flush(&p->shared);
    }
    return status;
}

/* ---------------------------------------------------------------- entries */

int hs_emit_entries_open(hs_emit_entries *p, const hs_emit *e, const hs_pages *pages, const uint64_t offsets[HS_SHAPES],
                         hs_spool *columns) {
    memset(p, 0, sizeof *p);
    p->emit = e;
    p->pages = pages;
    p->offsets = offsets;
    p->columns = columns;
    p->shape = 1;
    p->first = 1;
    if (columns == NULL) return 0;
    const uint8_t widths[2] = {(uint8_t)e->size_width, (uint8_t)e->group_width};
    return hs_spool_put(columns, widths, sizeof widths);
}

static int begin_shape(hs_emit_entries *p, uint32_t bits, uint64_t offset) {
    unsigned width = entry_width(p->emit, p->shape);
    p->per_page = width ? HS_PAGE_BYTES / width : 0;
    return hs_section_begin(&p->section, p->pages, (uint32_t)HS_SECTION_ENTRIES << 8 | p->shape | bits, offset);
}

static int end_shape(hs_emit_entries *p) {
    int status = 0;
    if (!p->per_page) status = hs_section_put(&p->section, "", 1); /* entries of no bytes have a page all the same */
    if (status == 0) status = hs_section_pad(&p->section);
    if (status == 0) status = hs_section_flush(&p->section);
    hs_section_free(&p->section);
    return status;
}

static int put_entry(hs_emit_entries *p, uint64_t number, const uint64_t note_of[HS_KINDS], uint64_t size, uint64_t group) {
    const hs_emit *e = p->emit;
    uint8_t row[8 * (HS_KINDS + 2) + 8], *to = row;
    for (unsigned k = 0; k < HS_KINDS; k++) {
        if (!(p->shape >> k & 1) || (int)k == e->tables->implicit) continue;
        hs_store64le(to, note_of[k] >> 1);
        to += e->row_width;
    }
    uint8_t *facts = to;
    hs_store64le(to, size);
    to += e->size_width;
    hs_store64le(to, group);
    to += e->group_width;
    int status = 0;
    if (p->columns != NULL) {
        status = hs_spool_put(p->columns, facts, (size_t)(to - facts));
        to = facts;
    }
    if (status < 0 || to == row) return status;
    if (number && number % p->per_page == 0) status = hs_section_pad(&p->section);
    return status < 0 ? status : hs_section_put(&p->section, row, (size_t)(to - row));
}

static void close_shape(hs_emit_entries *p) {
    if (p->open) {
        hs_notes_close(&p->notes);
        hs_reader_close(&p->values);
        p->open = 0;
    }
}

void hs_emit_entries_close(hs_emit_entries *p) {
    close_shape(p);
    hs_section_free(&p->section);
}

static int test_entry(hs_emit_entries *p) {
    hs_tables *t = p->emit->tables;
    uint64_t note_of[HS_KINDS];
    for (unsigned k = 0; k < HS_KINDS; k++) note_of[k] = t->table[k].test_row << 1;
    p->shape = t->union_shape;
    int status = begin_shape(p, HS_SHAPE_TEST, p->offsets[0]);
    if (status == 0) status = put_entry(p, 0, note_of, p->emit->test_size, p->emit->test_group);
    return status < 0 ? status : end_shape(p);
}

int hs_emit_entries_step(hs_emit_entries *p, uint64_t most, uint64_t *done) {
    hs_tables *t = p->emit->tables;
    for (; p->shape < HS_SHAPES; p->shape++) {
        const hs_column *column = &t->columns[p->shape];
        int status;
        if (!column->entries) continue;
        if (!p->open) {
            p->open = 1;
            status = hs_notes_open(&p->notes, t, p->shape, p->first, t->spool_bytes);
            p->first = 0;
            if (status == 0)
                status = hs_reader_open(&p->values, &column->values, 0, hs_spool_bytes(&column->values), t->spool_bytes);
            if (status == 0) status = begin_shape(p, 0, p->offsets[p->shape]);
            if (status < 0) return status;
        }
        while (p->notes.entry < column->first_entry + column->entries) {
            uint64_t note_of[HS_KINDS], size, group, number = p->notes.entry - column->first_entry;
            if (most-- == 0) return 1;
            if ((status = hs_notes_next(&p->notes, note_of)) < 0) return status;
            if ((status = hs_reader_varint(&p->values, &size)) < 0) return status;
            if ((status = hs_reader_varint(&p->values, &group)) < 0) return status;
            if ((status = put_entry(p, number, note_of, size, group)) < 0) return status;
            ++*done;
        }
        close_shape(p);
        if ((status = end_shape(p)) < 0) return status;
    }
    return test_entry(p);
}

/* ---------------------------------------------------------------- the rest */

int hs_emit_bytes(const hs_pages *pages, uint32_t id, uint64_t offset, const uint8_t *data, uint64_t length) {
    hs_section_out section;
    int status = hs_section_begin(&section, pages, id, offset);
    for (uint64_t at = 0; at < length && status == 0; at += 1 << 20)
        status = hs_section_put(&section, data + at, (size_t)(length - at < 1 << 20 ? length - at : 1 << 20));
    if (status == 0) status = hs_section_flush(&section);
    hs_section_free(&section);
    return status;
}

int hs_emit_spool(const hs_pages *pages, uint32_t id, uint64_t offset, const hs_spool *spool) {
    hs_section_out section;
    hs_reader reader;
    int status = hs_reader_open(&reader, spool, 0, hs_spool_bytes(spool), 1 << 18);
    if (status < 0) return status;
    status = hs_section_begin(&section, pages, id, offset);
    while (status == 0) {
        int64_t there = hs_reader_need(&reader, 1);
        if (there <= 0) {
            status = (int)there;
            break;
        }
        status = hs_section_put(&section, reader.buffer + reader.at, (size_t)there);
        reader.at += (size_t)there;
    }
    if (status == 0) status = hs_section_flush(&section);
    hs_section_free(&section);
    hs_reader_close(&reader);
    return status;
}
