/* hs_base.c -- see hs_base.h. */
#include "hs_base.h"

#include <errno.h>
#include <stdlib.h>

#include "hs_tables.h"

enum { PAGER_PAGES = 64 };

static int fail(hs_base *b, hs_set_status status, const char *text, uint32_t section, uint64_t page) {
    memset(&b->error, 0, sizeof b->error);
    b->error.status = status;
    b->error.text = text;
    b->error.section = section;
    b->error.page = page;
    return HS_BASE_DAMAGED;
}

/* ---------------------------------------------------------------- pages, checked */

static int pager_open(hs_pager *p, const hs_base *b, const hs_section *section) {
    if (p->chunk == NULL) {
        p->chunk = malloc(PAGER_PAGES * (HS_PAGE_BYTES + HS_PAGE_HASH_BYTES));
        if (p->chunk == NULL) return -ENOMEM;
        p->hashes = p->chunk + PAGER_PAGES * HS_PAGE_BYTES;
    }
    p->set = b->set;
    p->kernel = b->kernel;
    p->section = section;
    p->first = p->count = 0;
    return 0;
}

static void pager_close(hs_pager *p) {
    free(p->chunk);
    memset(p, 0, sizeof *p);
}

/* Page `index` of the section, or NULL with *status. */
static const uint8_t *pager_page(hs_pager *p, hs_base *b, uint64_t index, int *status) {
    if (HS_LIKELY(index - p->first < p->count)) return p->chunk + (index - p->first) * HS_PAGE_BYTES;
    const hs_section *section = p->section;
    const hs_set *set = p->set;
    uint64_t pages = section->length / HS_PAGE_BYTES + (section->length % HS_PAGE_BYTES != 0);
    p->count = 0;
    if (index >= pages) {
        *status = fail(b, HS_SET_FORMAT, "a reference points outside of its section", section->id, 0);
        return NULL;
    }
    uint64_t count = pages - index < PAGER_PAGES ? pages - index : PAGER_PAGES;
    uint64_t number = section->offset / HS_PAGE_BYTES + index;
    size_t done = 0, wanted = (size_t)count * HS_PAGE_BYTES;
    while (done < wanted) {
        int64_t n = set->os->pread(set->os->ctx, set->fd, p->chunk + done, wanted - done, number * HS_PAGE_BYTES + done);
        if (n == -EINTR) continue;
        if (n <= 0) {
            *status = fail(b, HS_SET_IO, n ? "cannot be read" : "ends early", section->id, number + done / HS_PAGE_BYTES);
            b->error.os_errno = n ? (int)-n : EIO;
            return NULL;
        }
        done += (size_t)n;
    }
    hs_pages_hash(set->set_id, section->id, number, p->chunk, (size_t)count, p->kernel, p->hashes);
    const uint8_t *listed = set->page_hashes + (number - 1) * HS_PAGE_HASH_BYTES;
    for (uint64_t i = 0; i < count; i++)
        if (memcmp(p->hashes + i * HS_PAGE_HASH_BYTES, listed + i * HS_PAGE_HASH_BYTES, HS_PAGE_HASH_BYTES) != 0) {
            *status = fail(b, HS_SET_DAMAGED, "a page does not agree with the page list", section->id, number + i);
            return NULL;
        }
    p->first = index;
    p->count = count;
    return p->chunk;
}

/* Row `row` of a section of rows of `width` bytes. */
static const uint8_t *pager_row(hs_pager *p, hs_base *b, uint64_t row, unsigned width, unsigned per_page, int *status) {
    const uint8_t *page = pager_page(p, b, row / per_page, status);
    return page == NULL ? NULL : page + row % per_page * width;
}

static int pager_bytes(hs_pager *p, hs_base *b, uint64_t offset, uint8_t *out, uint64_t length) {
    if (offset > p->section->length || length > p->section->length - offset)
        return fail(b, HS_SET_FORMAT, "a reference points outside of its section", p->section->id, 0);
    int status = 0;
    while (length) {
        uint64_t in_page = HS_PAGE_BYTES - offset % HS_PAGE_BYTES;
        if (in_page > length) in_page = length;
        const uint8_t *page = pager_page(p, b, offset / HS_PAGE_BYTES, &status);
        if (page == NULL) return status;
        memcpy(out, page + offset % HS_PAGE_BYTES, (size_t)in_page);
        out += in_page;
        offset += in_page;
        length -= in_page;
    }
    return 0;
}

enum { WINDOW_BYTES = 65536 };

/* Bytes of one part of a sealed set, mostly read front to back. */
static int window_bytes(hs_base *b, hs_base_window *w, int part, uint64_t offset, uint8_t *out, uint64_t length) {
    const hs_base_sealed *sealed = b->sealed;
    if (offset > sealed->lengths[part] || length > sealed->lengths[part] - offset)
        return fail(b, HS_SET_FORMAT, "a reference points outside of its part", HS_SECTION_SEALED << 8, 0);
    if (w->bytes == NULL && (w->bytes = malloc(WINDOW_BYTES)) == NULL) return -ENOMEM;
    while (length) {
        if (offset - w->start >= w->length) {
            uint64_t rest = sealed->lengths[part] - offset;
            uint64_t take = rest < WINDOW_BYTES ? rest : WINDOW_BYTES;
            w->length = 0;
            int status = sealed->read(sealed->ctx, part, offset, w->bytes, take);
            if (status < 0) return status;
            w->start = offset;
            w->length = take;
        }
        uint64_t held = w->length - (offset - w->start);
        if (held > length) held = length;
        memcpy(out, w->bytes + (offset - w->start), (size_t)held);
        out += held;
        offset += held;
        length -= held;
    }
    return 0;
}

static uint64_t refs_length(const hs_base *b) {
    if (b->sealed != NULL) return b->sealed->lengths[HS_BASE_REFS];
    return b->set->refs != NULL ? b->set->refs->length : 0;
}

static int refs_bytes(hs_base *b, uint64_t offset, uint8_t *out, uint64_t length) {
    if (b->sealed != NULL) return window_bytes(b, &b->refs, HS_BASE_REFS, offset, out, length);
    return pager_bytes(&b->cursor.refs, b, offset, out, length);
}

/* ---------------------------------------------------------------- listing groups */

static int grow_to(void *array, uint64_t *capacity, uint64_t wanted, size_t element) {
    if (wanted <= *capacity) return 0;
    if (wanted < *capacity * 2) wanted = *capacity * 2;
    if (wanted > SIZE_MAX / element) return -ENOMEM;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    grown = realloc(old, (size_t)wanted * element);
    if (grown == NULL) return -ENOMEM;
    memcpy(array, &grown, sizeof grown);
    *capacity = wanted;
    return 0;
}

static int bad_group(hs_base *b, uint32_t section) {
    return fail(b, HS_SET_FORMAT, "a listing group cannot be read", section, 0);
}

/* One group's body at p: its listings, classes being the caller's. `most` listings at most fit. */
static int parse_group(hs_base *b, const uint8_t *p, const uint8_t *end, uint32_t section, hs_row **listings,
                       uint64_t *capacity, uint64_t *count) {
    uint64_t n, number, ref;
    size_t took = hs_load_varint(p, end, &n);
    if (!took || n > (uint64_t)(end - p)) return bad_group(b, section);
    p += took;
    int status = grow_to(listings, capacity, n, sizeof **listings);
    if (status < 0) return status;
    for (uint64_t i = 0; i < n; i++) {
        if (!(took = hs_load_varint(p, end, &number))) return bad_group(b, section);
        p += took;
        if (!(took = hs_load_varint(p, end, &ref))) return bad_group(b, section);
        p += took;
        if (number >= b->class_count) return fail(b, HS_SET_FORMAT, "a listing names a class that is not there", section, 0);
        if (ref > HS_MAX_REF_BYTES + 1 || (ref && ref - 1 > (uint64_t)(end - p))) return bad_group(b, section);
        hs_row *row = &(*listings)[i];
        memset(row, 0, sizeof *row);
        row->class_number = b->class_map[number];
        row->op = HS_OP_BASE;
        row->ref = (unsigned)ref;
        row->ref_at = p;
        if (ref) p += ref - 1;
    }
    if (p != end) return bad_group(b, section);
    *count = n;
    return 0;
}

static int after(const hs_row *a, const hs_row *b) {
    /* Ids of one class are in order already, and lie so. */
    if (a->class_number != b->class_number) return a->class_number > b->class_number;
    return a->ref_at > b->ref_at || (a->ref_at == b->ref_at && a->ref > b->ref);
}

static void sift(hs_row *list, uint64_t at, uint64_t count) {
    hs_row moved = list[at];
    for (uint64_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && after(&list[child + 1], &list[child])) child++;
        if (!after(&list[child], &moved)) break;
        list[at] = list[child];
    }
    list[at] = moved;
}

/* The caller's classes may be in another order than the set's. */
static void sort_listings(hs_row *list, uint64_t count) {
    uint64_t i = 1;
    while (i < count && !after(&list[i - 1], &list[i])) i++;
    if (i >= count) return;
    for (i = count / 2; i-- > 0;) sift(list, i, count);
    for (i = count; i-- > 1;) {
        hs_row moved = list[0];
        list[0] = list[i];
        list[i] = moved;
        sift(list, 0, i);
    }
}

static int read_groups(hs_base *b) {
    const hs_section *section = b->set->groups;
    uint64_t total = b->sealed != NULL ? b->sealed->lengths[HS_BASE_GROUPS] : section != NULL ? section->length : 0;
    uint32_t id = b->sealed != NULL ? HS_SECTION_SEALED << 8 : HS_SECTION_GROUPS << 8;
    b->group_starts = calloc(1, sizeof *b->group_starts);
    if (b->group_starts == NULL) return -ENOMEM;
    if (total == 0) return 0;
    if (total > SIZE_MAX / 2) return -ENOMEM;
    uint8_t *bytes = malloc((size_t)total);
    hs_row *listings = NULL;
    uint64_t listing_capacity = 0, classes = 0, class_capacity = 0, start_capacity = 1, count;
    int status = bytes == NULL ? -ENOMEM : 0;
    if (status == 0 && b->sealed != NULL) status = b->sealed->read(b->sealed->ctx, HS_BASE_GROUPS, 0, bytes, total);
    if (status == 0 && b->sealed == NULL) status = pager_open(&b->pager, b, section);
    if (status == 0 && b->sealed == NULL) status = pager_bytes(&b->pager, b, 0, bytes, total);
    const uint8_t *p = bytes, *end = status == 0 ? bytes + total : bytes;
    while (status == 0 && p < end) {
        uint64_t length;
        size_t took = hs_load_varint(p, end, &length);
        if (!took || length > (uint64_t)(end - p) - took) {
            status = bad_group(b, id);
            break;
        }
        p += took;
        status = parse_group(b, p, p + length, id, &listings, &listing_capacity, &count);
        if (status == 0) status = grow_to(&b->group_classes, &class_capacity, classes + count, sizeof *b->group_classes);
        if (status == 0) status = grow_to(&b->group_starts, &start_capacity, b->group_count + 2, sizeof *b->group_starts);
        if (status < 0) break;
        sort_listings(listings, count);
        for (uint64_t i = 0; i < count; i++) b->group_classes[classes++] = listings[i].class_number;
        b->group_starts[++b->group_count] = classes;
        p += length;
    }
    free(listings);
    free(bytes);
    return status;
}

/* ---------------------------------------------------------------- beginning */

static const hs_set_shape *shape_of(const hs_base *b, unsigned shape) {
    for (unsigned i = 0; i < b->set->shape_count; i++)
        if (b->set->shapes[i].shape == shape) return &b->set->shapes[i];
    return NULL;
}

static unsigned lowest_of(unsigned shape) {
    unsigned k = 0;
    while (!(shape >> k & 1)) k++;
    return k;
}

int hs_base_init(hs_base *b, const hs_set *set, const hs_base_sealed *sealed, const hs_temp_maker *maker,
                 const uint32_t *class_map, uint32_t class_count, size_t memory_bytes, size_t buffer_bytes, const hs_kernel *kernel, hs_sort_poll poll,
                 void *poll_ctx) {
    memset(b, 0, sizeof *b);
    b->set = set;
    b->sealed = sealed;
    b->maker = maker;
    b->kernel = kernel;
    b->class_map = class_map;
    b->class_count = class_count;
    for (unsigned k = 0; k < HS_KINDS; k++) {
        unsigned width = sealed != NULL ? HS_FINGERPRINT_BYTES : hs_set_digest_width(k + 1);
        b->widths[k] = (uint8_t)(set->kinds[k].table_section ? set->kinds[k].digest_width : width);
        hs_sorter_init(&b->others[k], maker, 8 + (size_t)b->widths[k], memory_bytes / 3, buffer_bytes, poll, poll_ctx);
    }
    for (unsigned shape = 1; shape < HS_SHAPES; shape++) b->digest_bytes[shape] = hs_shape_bytes(shape, b->widths);
    return read_groups(b);
}

static void close_cursor(hs_base *b) {
    pager_close(&b->cursor.entries);
    pager_close(&b->cursor.table);
    pager_close(&b->cursor.refs);
    free(b->cursor.listings);
    free(b->cursor.body);
    memset(&b->cursor, 0, sizeof b->cursor);
}

void hs_base_clear(hs_base *b) {
    if (b->set == NULL) return;
    close_cursor(b);
    pager_close(&b->pager);
    free(b->columns.bytes);
    free(b->refs.bytes);
    free(b->group_classes);
    free(b->group_starts);
    for (unsigned k = 0; k < HS_KINDS; k++) hs_sorter_clear(&b->others[k]);
    b->set = NULL;
}

uint64_t hs_base_entries(const hs_base *b, unsigned shape) {
    const hs_set_shape *s = shape_of(b, shape);
    return s == NULL ? 0 : s->count;
}

/* Is kind k of this entry one whose digests have to be sorted? */
static int wanted(const hs_base *b, unsigned k, uint64_t entry) {
    for (unsigned i = 0; i < b->set->shape_count; i++) {
        const hs_set_shape *s = &b->set->shapes[i];
        if (entry - s->first_entry < s->count)
            return !(s->shape & HS_SHAPE_TEST) && s->shape >> k & 1 && lowest_of(s->shape) != k;
    }
    return 0;
}

static int kind_is_wanted(const hs_base *b, unsigned k) {
    for (unsigned i = 0; i < b->set->shape_count; i++) {
        const hs_set_shape *s = &b->set->shapes[i];
        if (!(s->shape & HS_SHAPE_TEST) && s->shape >> k & 1 && lowest_of(s->shape) != k) return 1;
    }
    return 0;
}

static int add_other(hs_base *b, unsigned k, uint64_t entry, const uint8_t *digest) {
    int status = 0;
    if (!wanted(b, k, entry)) return 0;
    uint8_t *row = hs_sorter_add(&b->others[k], &status);
    if (row == NULL) return status;
    hs_store64be(row, entry);
    memcpy(row + 8, digest, b->widths[k]);
    return 0;
}

int hs_base_prepare_step(hs_base *b, uint64_t most, uint64_t *done) {
    int status = 0;
    for (; b->kind < HS_KINDS; b->kind++, b->pairs = 0, b->place = 0) {
        unsigned k = b->kind;
        const hs_set_kind *kind = &b->set->kinds[k];
        if (kind->table_section == NULL || !kind_is_wanted(b, k)) continue;
        hs_pager *table = &b->cursor.table;
        if (!b->place && !b->pairs && (status = pager_open(table, b, kind->table_section)) < 0) return status;
        unsigned width = kind->digest_width + kind->entry_width;
        for (; !b->pairs && b->place < kind->row_count; b->place++) {
            if (most-- == 0) return 1;
            const uint8_t *row = pager_row(table, b, b->place, width, kind->rows_per_page, &status);
            if (row == NULL) return status;
            /* Only the lowest kind of the set's only shape has no entry numbers, and that is not wanted. */
            uint64_t entry = hs_load_le(row + kind->digest_width, kind->entry_width) >> 1;
            if ((status = add_other(b, k, entry, row)) < 0) return status;
            ++*done;
        }
        if (kind->shared_section != NULL) {
            if (!b->pairs) {
                b->place = 0;
                if ((status = pager_open(&b->pager, b, kind->shared_section)) < 0) return status;
                if ((status = pager_open(table, b, kind->table_section)) < 0) return status;
            }
            b->pairs = 1;
            unsigned pair = kind->shared_width;
            for (; b->place < kind->shared_section->count; b->place++) {
                if (most-- == 0) return 1;
                const uint8_t *at = pager_row(&b->pager, b, b->place, pair, kind->shared_per_page, &status);
                if (at == NULL) return status;
                uint64_t row = hs_load_le(at, kind->shared_row_width);
                uint64_t entry = hs_load_le(at + kind->shared_row_width, pair - kind->shared_row_width);
                if (row >= kind->row_count)
                    return fail(b, HS_SET_FORMAT, "a pair names a row that is not there", kind->shared_section->id, 0);
                const uint8_t *digest = pager_row(table, b, row, width, kind->rows_per_page, &status);
                if (digest == NULL) return status;
                if ((status = add_other(b, k, entry, digest)) < 0) return status;
            }
        }
        if ((status = hs_sorter_finish(&b->others[k])) < 0) return status;
        if (b->others[k].count && (status = hs_sorter_rewind(&b->others[k])) < 0) return status;
    }
    return 0;
}

/* ---------------------------------------------------------------- rows */

static int read_group(hs_base *b, hs_base_cursor *c, uint64_t group) {
    int status;
    c->listing = 0;
    if (!(group & 1)) {
        uint64_t number = group >> 1;
        if (number >= b->group_count)
            return fail(b, HS_SET_FORMAT, "an entry names a listing group that is not there", c->shape->section->id, 0);
        uint64_t start = b->group_starts[number], count = b->group_starts[number + 1] - start;
        if ((status = grow_to(&c->listings, &c->listing_capacity, count, sizeof *c->listings)) < 0) return status;
        for (uint64_t i = 0; i < count; i++) {
            hs_row *row = &c->listings[i];
            memset(row, 0, sizeof *row);
            row->class_number = b->group_classes[start + i];
            row->op = HS_OP_BASE;
        }
        c->listing_count = count;
        return 0;
    }
    uint32_t id = b->sealed != NULL ? HS_SECTION_SEALED << 8 : HS_SECTION_REFS << 8;
    uint64_t offset = group >> 1, length, total = refs_length(b);
    if (offset >= total)
        return fail(b, HS_SET_FORMAT, "an entry points to a record id that is not there", c->shape->section->id, 0);
    uint8_t head[HS_VARINT_BYTES];
    uint64_t there = total - offset < sizeof head ? total - offset : sizeof head;
    if ((status = refs_bytes(b, offset, head, there)) < 0) return status;
    size_t took = hs_load_varint(head, head + there, &length);
    if (!took || length > 64 * 1024 * 1024) return bad_group(b, id);
    if ((status = grow_to(&c->body, &c->body_capacity, length + 1, 1)) < 0) return status;
    if ((status = refs_bytes(b, offset + took, c->body, length)) < 0) return status;
    status = parse_group(b, c->body, c->body + length, id, &c->listings, &c->listing_capacity, &c->listing_count);
    if (status == 0) sort_listings(c->listings, c->listing_count);
    return status;
}

/* Reads the next entry: digests, size, listings. */
static int next_entry(hs_base *b, hs_base_cursor *c) {
    const hs_set_shape *shape = c->shape;
    int status = 0;
    static const uint8_t nothing[1];
    const uint8_t *row = nothing; /* entries of a sealed set may have no bytes */
    if (shape->width && (row = pager_row(&c->entries, b, c->entry, shape->width, shape->per_page, &status)) == NULL)
        return status;
    uint64_t number = shape->first_entry + c->entry;
    uint8_t *to = c->digests;
    for (unsigned k = c->lowest; k < HS_KINDS; k++) {
        if (!(shape->shape >> k & 1)) continue;
        const hs_set_kind *kind = &b->set->kinds[k];
        uint64_t at;
        if (shape->implicit && k == c->lowest) {
            at = kind->test_row && number >= kind->test_row - 1 ? number + 1 : number;
        } else {
            at = hs_load_le(row, shape->row_width);
            row += shape->row_width;
        }
        if (at >= kind->row_count)
            return fail(b, HS_SET_FORMAT, "an entry names a row that is not there", shape->section->id, 0);
        if (k == c->lowest) {
            const uint8_t *digest = pager_row(&c->table, b, at, kind->digest_width + kind->entry_width, kind->rows_per_page,
                                              &status);
            if (digest == NULL) return status;
            memcpy(to, digest, kind->digest_width);
        } else {
            hs_sorter *others = &b->others[k];
            const uint8_t *other = others->count ? hs_sorter_row(others) : NULL;
            if (other == NULL || hs_load64be(other) != number)
                return fail(b, HS_SET_FORMAT, "an entry and its digest do not name each other", shape->section->id, 0);
            memcpy(to, other + 8, kind->digest_width);
            if ((status = hs_sorter_next(others)) < 0) return status;
        }
        to += kind->digest_width;
    }
    unsigned size_width = shape->size_width, group_width = shape->group_width;
    uint8_t facts[16];
    if (b->sealed != NULL) {
        size_width = b->sealed->size_width;
        group_width = b->sealed->group_width;
        uint64_t stride = size_width + group_width;
        status = window_bytes(b, &b->columns, HS_BASE_COLUMNS, 2 + number * stride, facts, stride);
        if (status < 0) return status;
        row = facts;
    }
    c->size = hs_load_le(row, size_width);
    uint64_t group = hs_load_le(row + size_width, group_width);
    c->entry++;
    return read_group(b, c, group);
}

static int next_row(hs_cursor *cursor) {
    hs_base_cursor *c = (hs_base_cursor *)cursor;
    int status;
    if (cursor->row != NULL) c->listing++;
    while (c->listing >= c->listing_count) {
        if (c->entry >= c->shape->count) {
            cursor->row = NULL;
            return 0;
        }
        if ((status = next_entry(c->base, c)) < 0) return status;
    }
    hs_row *listing = &c->listings[c->listing];
    if (listing->class_number == UINT32_MAX)
        return fail(c->base, HS_SET_FORMAT, "an entry has the listing of the test entry", c->shape->section->id, 0);
    listing->size = c->size;
    hs_row_store(c->row, c->digests, c->digest_bytes, listing);
    cursor->row = c->row;
    return 1;
}

int hs_base_rewind(hs_base *b) {
    int status = 0;
    for (unsigned k = 0; k < HS_KINDS && status == 0; k++)
        if (b->others[k].count) status = hs_sorter_rewind(&b->others[k]);
    return status;
}

int hs_base_open(hs_base *b, unsigned shape, hs_cursor **cursor) {
    close_cursor(b);
    hs_base_cursor *c = &b->cursor;
    c->base = b;
    c->shape = shape_of(b, shape);
    if (c->shape == NULL) return -EINVAL;
    c->digest_bytes = b->digest_bytes[shape];
    c->lowest = lowest_of(shape);
    c->cursor.next = next_row;
    c->cursor.layout = HS_ROW_FULL;
    c->cursor.width = hs_row_bytes(c->digest_bytes, HS_ROW_FULL);
    c->cursor.ctx = &b->digest_bytes[shape];
    int status = pager_open(&c->entries, b, c->shape->section);
    if (status == 0) status = pager_open(&c->table, b, b->set->kinds[c->lowest].table_section);
    if (status == 0 && b->set->refs != NULL) status = pager_open(&c->refs, b, b->set->refs);
    *cursor = &c->cursor;
    return status;
}

/* ---------------------------------------------------------------- differences */

int hs_base_diff_step(hs_cursor *a, hs_cursor *b, unsigned shape, unsigned digest_bytes, uint8_t *out, size_t capacity,
                      size_t *used, uint64_t most, uint64_t *done) {
    for (; most; most--) {
        int has_a = a != NULL && a->row != NULL, has_b = b != NULL && b->row != NULL, status;
        if (!has_a && !has_b) return 0;
        if (capacity - *used < HS_DIFF_ROW_BYTES) return 1;
        int order = !has_a ? 1 : !has_b ? -1 : hs_order_rows(a, b);
        if (order) {
            const hs_cursor *from = order < 0 ? a : b;
            hs_row row = hs_row_parse(from->row + digest_bytes, HS_ROW_FULL);
            row.op = order < 0 ? HS_OP_CANCEL : HS_OP_ADD;
            out[(*used)++] = (uint8_t)shape;
            *used += hs_row_store(out + *used, from->row, digest_bytes, &row);
        }
        if (order <= 0 && (status = a->next(a)) < 0) return status;
        if (order >= 0 && (status = b->next(b)) < 0) return status;
        ++*done;
    }
    return 1;
}
