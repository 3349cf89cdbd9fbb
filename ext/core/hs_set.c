/* hs_set.c -- see hs_set.h for the invariant and docs/format/hset.md for the layout.
 *
 * Everything read from the file is bounded by the file's real size before it is used as a length, a count or a shift.
 */
#include "hs_set.h"

#include <errno.h>
#include <stdlib.h>

#include "hs_sort.h"

static const uint8_t MAGIC[8] = {0x89, 'H', 'S', 'E', 'T', '\r', '\n', 0x1a};
static const uint8_t TRAILER_MAGIC[8] = {'H', 'S', 'E', 'T', 'R', 'O', 'O', 'T'};

static hs_set_status fail(hs_set_error *error, hs_set_status status, const char *text, uint32_t section, uint64_t page) {
    error->status = status;
    error->os_errno = 0;
    error->text = text;
    error->section = section;
    error->page = page;
    return status;
}

static hs_set_status bad(hs_set_error *error, const char *text) { return fail(error, HS_SET_FORMAT, text, 0, 0); }

/* Reads exactly `length` bytes; a file that has become shorter is damage. */
static hs_set_status read_exactly(const hs_set *set, uint64_t offset, void *out, uint64_t length, hs_set_error *error) {
    uint8_t *to = out;
    while (length) {
        size_t want = length > (1u << 30) ? (size_t)1 << 30 : (size_t)length;
        int64_t got = set->os->pread(set->os->ctx, set->fd, to, want, offset);
        if (got == -EINTR) continue;
        if (got < 0) {
            fail(error, HS_SET_IO, "reading failed", 0, offset / HS_SET_PAGE_BYTES);
            error->os_errno = (int)-got;
            return HS_SET_IO;
        }
        if (got == 0) return fail(error, HS_SET_DAMAGED, "the file ends early", 0, offset / HS_SET_PAGE_BYTES);
        to += got;
        offset += (uint64_t)got;
        length -= (uint64_t)got;
    }
    return HS_SET_OK;
}

void hs_set_hash_pages(const uint8_t set_id[16], uint32_t section, const uint64_t *numbers, const uint8_t *const *pages,
                       size_t count, uint32_t features, uint8_t (*out)[HS_SET_HASH_BYTES]) {
    /* The message is 28 bytes and the page: a first block with the page's first 36 bytes, 63 blocks straight from the page,
     * and its last 28 bytes with the padding, which is that of a message of 28 + 4096 bytes. */
    enum { PREFIX = 28, FIRST = HS_BLOCK_BYTES - PREFIX, WHOLE = (HS_SET_PAGE_BYTES - FIRST) / HS_BLOCK_BYTES };
    const size_t rest = FIRST + WHOLE * HS_BLOCK_BYTES;
    uint8_t ends[HS_LANES_MAX][2 * HS_BLOCK_BYTES], digest[HS_SHA256_BYTES];
    uint32_t state[HS_LANES_MAX * HS_STATE_WORDS_MAX];
    const uint8_t *data[HS_LANES_MAX];
    while (count) {
        const hs_kernel *kernel =
            hs_kernel_for(HS_SHA256, features, count < HS_LANES_MAX ? (unsigned)count : HS_LANES_MAX);
        const size_t live = count < kernel->lanes ? count : kernel->lanes;
        for (unsigned lane = 0; lane < kernel->lanes; lane++) {
            const size_t i = lane < live ? lane : 0; /* a lane without a page of its own repeats the first */
            hs_lane_start(HS_SHA256, state, kernel->lanes, lane);
            memcpy(ends[lane], set_id, 16);
            hs_store32le(ends[lane] + 16, section);
            hs_store64le(ends[lane] + 20, numbers[i]);
            memcpy(ends[lane] + PREFIX, pages[i], FIRST);
            data[lane] = ends[lane];
        }
        kernel->run(state, data, 1);
        for (unsigned lane = 0; lane < kernel->lanes; lane++) data[lane] = pages[lane < live ? lane : 0] + FIRST;
        kernel->run(state, data, WHOLE);
        for (unsigned lane = 0; lane < kernel->lanes; lane++) {
            hs_lane_tail(HS_SHA256, pages[lane < live ? lane : 0] + rest, PREFIX + HS_SET_PAGE_BYTES, ends[lane]);
            data[lane] = ends[lane];
        }
        kernel->run(state, data, 1);
        for (size_t i = 0; i < live; i++) {
            hs_lane_digest(HS_SHA256, state, kernel->lanes, (unsigned)i, digest);
            memcpy(out[i], digest, HS_SET_HASH_BYTES);
        }
        numbers += live;
        pages += live;
        out += live;
        count -= live;
    }
}

/* At most HS_SET_WINDOW_PAGES pages of one section against the page list. */
static hs_set_status check_pages(const hs_set *set, uint32_t section, const uint64_t *numbers, const uint8_t *const *pages,
                                 size_t count, hs_set_error *error) {
    uint8_t hashes[HS_SET_WINDOW_PAGES][HS_SET_HASH_BYTES];
    hs_set_hash_pages(set->set_id, section, numbers, pages, count, set->features, hashes);
    for (size_t i = 0; i < count; i++)
        if (memcmp(hashes[i], set->page_hashes + (numbers[i] - 1) * HS_SET_HASH_BYTES, HS_SET_HASH_BYTES) != 0)
            return fail(error, HS_SET_DAMAGED, "a page does not agree with the page list", section, numbers[i]);
    return HS_SET_OK;
}

static uint64_t pages_of(uint64_t length) { return length / HS_SET_PAGE_BYTES + (length % HS_SET_PAGE_BYTES != 0); }

static const hs_section *section_of_page(const hs_set *set, uint64_t number) {
    uint64_t offset = number * HS_SET_PAGE_BYTES;
    for (unsigned i = 0; i < set->section_count; i++) {
        const hs_section *s = &set->sections[i];
        if (offset >= s->offset && offset - s->offset < s->length) return s;
    }
    return NULL;
}

static hs_set_status read_page_of(const hs_set *set, const hs_section *section, uint64_t number, hs_set_page *page,
                                  hs_set_error *error) {
    if (page->number == number) return HS_SET_OK;
    page->number = 0;
    hs_set_status status = read_exactly(set, number * HS_SET_PAGE_BYTES, page->bytes, HS_SET_PAGE_BYTES, error);
    const uint8_t *bytes = page->bytes;
    if (status == HS_SET_OK) status = check_pages(set, section->id, &number, &bytes, 1, error);
    if (status == HS_SET_OK) page->number = number;
    return status;
}

static hs_set_status read_pages_of(const hs_set *set, const hs_section *section, uint64_t first, uint64_t count,
                                   uint8_t *bytes, hs_set_error *error) {
    uint64_t numbers[HS_SET_WINDOW_PAGES];
    const uint8_t *pages[HS_SET_WINDOW_PAGES];
    while (count) {
        /* In steps that stay in the second-level cache: a page is hashed while it is still there. */
        const unsigned step = count < HS_SET_WINDOW_PAGES ? (unsigned)count : HS_SET_WINDOW_PAGES;
        hs_set_status status = read_exactly(set, first * HS_SET_PAGE_BYTES, bytes, step * HS_SET_PAGE_BYTES, error);
        for (unsigned i = 0; i < step; i++) {
            numbers[i] = first + i;
            pages[i] = bytes + i * HS_SET_PAGE_BYTES;
        }
        if (status == HS_SET_OK) status = check_pages(set, section->id, numbers, pages, step, error);
        if (status != HS_SET_OK) return status;
        first += step;
        count -= step;
        bytes += step * HS_SET_PAGE_BYTES;
    }
    return HS_SET_OK;
}

hs_set_status hs_set_read_raw(const hs_set *set, uint64_t offset, void *out, uint64_t length, hs_set_error *error) {
    return read_exactly(set, offset, out, length, error);
}

uint64_t hs_set_section_run(const hs_set *set, uint64_t first) {
    const hs_section *section = section_of_page(set, first);
    return section ? section->offset / HS_SET_PAGE_BYTES + pages_of(section->length) - first : 0;
}

hs_set_status hs_set_read_pages(const hs_set *set, uint64_t first, uint64_t count, uint8_t *bytes, hs_set_error *error) {
    const hs_section *section = section_of_page(set, first);
    if (!section || count > hs_set_section_run(set, first))
        return fail(error, HS_SET_FORMAT, "page number outside of every section", 0, first);
    return read_pages_of(set, section, first, count, bytes, error);
}

hs_set_status hs_set_read_page(const hs_set *set, uint64_t number, hs_set_page *page, hs_set_error *error) {
    const hs_section *section = section_of_page(set, number);
    if (!section) return fail(error, HS_SET_FORMAT, "page number outside of every section", 0, number);
    return read_page_of(set, section, number, page, error);
}

hs_set_status hs_set_read(const hs_set *set, const hs_section *section, uint64_t offset, void *out, uint64_t length,
                          hs_set_page *page, hs_set_error *error) {
    uint8_t *to = out;
    if (offset > section->length || length > section->length - offset)
        return fail(error, HS_SET_FORMAT, "a reference points outside of its section", section->id, 0);
    while (length) {
        uint64_t within = offset % HS_SET_PAGE_BYTES, take = HS_SET_PAGE_BYTES - within;
        if (take > length) take = length;
        hs_set_status status = read_page_of(set, section, (section->offset + offset) / HS_SET_PAGE_BYTES, page, error);
        if (status != HS_SET_OK) return status;
        memcpy(to, page->bytes + within, (size_t)take);
        to += take;
        offset += take;
        length -= take;
    }
    return HS_SET_OK;
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

static int all_zero(const uint8_t *bytes, size_t length) {
    uint8_t any = 0;
    for (size_t i = 0; i < length; i++) any |= bytes[i];
    return !any;
}

static hs_set_status take_key(hs_set *set, const hs_seal *const *keys, unsigned key_count, hs_set_error *error) {
    if (!key_count) return fail(error, HS_SET_SEALED, "the set is sealed, and no key was given", 0, 0);
    for (unsigned i = 0; i < key_count; i++) {
        if (memcmp(keys[i]->key_id, set->seal_key_id, sizeof set->seal_key_id) != 0) continue;
        set->seal = hs_os_map_secret(sizeof *set->seal);
        if (!set->seal) return fail(error, HS_SET_MEMORY, "no memory for the seal key", 0, 0);
        *set->seal = *keys[i];
        return HS_SET_OK;
    }
    return fail(error, HS_SET_WRONG_KEY, "the set was sealed with another key", 0, 0);
}

static hs_set_status parse_header(hs_set *set, const uint8_t *h, const hs_seal *const *keys, unsigned key_count,
                                  hs_set_error *error) {
    if (memcmp(h, MAGIC, sizeof MAGIC) != 0) return bad(error, "not a hash set: the file does not start with its magic");
    if (hs_load32le(h + 16) != 0x01020304u) return bad(error, "the byte order mark is wrong");
    if (hs_load32le(h + 12) > HS_SET_VERSION)
        return fail(error, HS_SET_NEWER, "the set asks for a newer reader", 0, 0);
    if (hs_load32le(h + 8) < 1 || hs_load32le(h + 12) < 1) return bad(error, "format version 0 does not exist");
    if (hs_load32le(h + 20) != HS_SET_PAGE_BYTES) return bad(error, "the page size is not 4096");
    memcpy(set->seal_key_id, h + 64, 16);
    /* Before anything else: with another key nothing in the set means anything. */
    if (!all_zero(set->seal_key_id, sizeof set->seal_key_id)) {
        hs_set_status status = take_key(set, keys, key_count, error);
        if (status != HS_SET_OK) return status;
    }
    if (hs_load64le(h + 24) != set->file_bytes) return bad(error, "the length in the header is not the file's length");
    set->generation = hs_load64le(h + 32);
    set->valid_until = hs_load64le(h + 40);
    memcpy(set->set_id, h + 48, 16);
    set->sizes_policy = hs_load32le(h + 80);
    set->section_count = hs_load32le(h + 84);
    set->entry_count = hs_load64le(h + 88);
    set->page_list_offset = hs_load64le(h + 96);
    set->page_list_bytes = hs_load64le(h + 104);
    set->filter_millibits = hs_load32le(h + 112);
    if (set->generation >> 63) return bad(error, "impossible generation");
    if (set->valid_until > HS_SET_MAX_VALID_UNTIL) return bad(error, "impossible end of validity");
    if (set->sizes_policy > 1) return bad(error, "unknown sizes policy");
    if (set->section_count > HS_SET_MAX_SECTIONS) return bad(error, "too many sections");
    if (set->entry_count >= (uint64_t)1 << 62) return bad(error, "impossible number of entries");
    uint64_t trailer = set->file_bytes - HS_SET_PAGE_BYTES;
    if (set->page_list_offset % HS_SET_PAGE_BYTES || set->page_list_offset < HS_SET_PAGE_BYTES ||
        set->page_list_offset > trailer)
        return bad(error, "the page list lies outside of the file");
    set->page_count = set->page_list_offset / HS_SET_PAGE_BYTES - 1;
    if (set->page_list_bytes != set->page_count * HS_SET_HASH_BYTES ||
        pages_of(set->page_list_bytes) != (trailer - set->page_list_offset) / HS_SET_PAGE_BYTES)
        return bad(error, "the page list has the wrong length");
    return HS_SET_OK;
}

static hs_set_status parse_sections(hs_set *set, const uint8_t *header, hs_set_error *error) {
    uint64_t expected = HS_SET_PAGE_BYTES;
    for (unsigned i = 0; i < set->section_count; i++) {
        const uint8_t *line = header + HS_SET_HEADER_BYTES + i * HS_SET_SECTION_BYTES;
        hs_section *s = &set->sections[i];
        s->id = hs_load32le(line);
        s->flags = hs_load32le(line + 4);
        s->offset = hs_load64le(line + 8);
        s->length = hs_load64le(line + 16);
        s->count = hs_load64le(line + 24);
        s->aux = hs_load64le(line + 32);
        /* Sections follow each other without gaps: no page lies outside of a section. */
        if (s->offset != expected || !s->length || s->length > set->page_list_offset - s->offset)
            return fail(error, HS_SET_FORMAT, "a section lies outside of its place", s->id, 0);
        expected += pages_of(s->length) * HS_SET_PAGE_BYTES;
        for (unsigned j = 0; j < i; j++)
            if (set->sections[j].id == s->id) return fail(error, HS_SET_FORMAT, "a section occurs twice", s->id, 0);
    }
    if (expected != set->page_list_offset) return bad(error, "pages lie outside of every section");
    return HS_SET_OK;
}

/* Rows of `width` bytes, none across a page border: does `count` of them fill exactly the section's pages? */
static int fits(const hs_section *s, unsigned width) {
    if (!width) return s->length == HS_SET_PAGE_BYTES; /* nothing to store, in the one page that a section has at least */
    uint64_t per_page = HS_SET_PAGE_BYTES / width, pages = s->length / HS_SET_PAGE_BYTES;
    return s->length % HS_SET_PAGE_BYTES == 0 && s->count <= pages * per_page && s->count > (pages - 1) * per_page;
}

static hs_set_status parse_kind_section(hs_set *set, const hs_section *s, hs_set_error *error) {
    unsigned code = s->id & 0xff;
    if (code < 1 || code > HS_SET_KINDS) return fail(error, HS_SET_FORMAT, "unknown digest kind", s->id, 0);
    hs_set_kind *kind = &set->kinds[code - 1];
    kind->digest_width = set->seal ? HS_FINGERPRINT_BYTES : hs_set_digest_width(code);
    switch (s->id >> 8) {
    case HS_SECTION_FILTER:
        if (s->length % HS_BLOOM_BLOCK_BYTES || s->count != s->length / HS_BLOOM_BLOCK_BYTES)
            return fail(error, HS_SET_FORMAT, "the filter has the wrong length", s->id, 0);
        kind->filter_section = s;
        return HS_SET_OK;
    case HS_SECTION_FENCES:
        if (s->length % 8 || s->count != s->length / 8)
            return fail(error, HS_SET_FORMAT, "the fences have the wrong length", s->id, 0);
        kind->fence_section = s;
        return HS_SET_OK;
    case HS_SECTION_TABLE:
        kind->entry_width = (unsigned)(s->aux & 0xff);
        kind->test_row = s->aux >> 8;
        if (kind->entry_width > 8 || (kind->entry_width && kind->test_row) || kind->test_row > s->count)
            return fail(error, HS_SET_FORMAT, "impossible row layout", s->id, 0);
        kind->row_width = kind->digest_width + kind->entry_width;
        kind->rows_per_page = HS_SET_PAGE_BYTES / kind->row_width;
        if (!fits(s, kind->row_width)) return fail(error, HS_SET_FORMAT, "the table has the wrong length", s->id, 0);
        kind->row_count = s->count;
        kind->page_count = s->length / HS_SET_PAGE_BYTES;
        kind->table_section = s;
        return HS_SET_OK;
    default: /* HS_SECTION_SHARED */
        kind->shared_row_width = (unsigned)(s->aux & 0xff);
        kind->shared_width = kind->shared_row_width + (unsigned)(s->aux >> 8 & 0xff);
        if (s->aux >> 16 || kind->shared_row_width < 1 || kind->shared_row_width > 8 ||
            kind->shared_width <= kind->shared_row_width || kind->shared_width > kind->shared_row_width + 8)
            return fail(error, HS_SET_FORMAT, "impossible row layout", s->id, 0);
        kind->shared_per_page = HS_SET_PAGE_BYTES / kind->shared_width;
        if (!fits(s, kind->shared_width)) return fail(error, HS_SET_FORMAT, "a section has the wrong length", s->id, 0);
        kind->shared_section = s;
        return HS_SET_OK;
    }
}

static hs_set_status parse_shape(hs_set *set, const hs_section *s, hs_set_error *error) {
    uint32_t shape = s->id & 0xff;
    if (set->shape_count == HS_SET_MAX_SHAPES || !(shape & 15) || shape & 0x70)
        return fail(error, HS_SET_FORMAT, "unknown shape of entries", s->id, 0);
    hs_set_shape *out = &set->shapes[set->shape_count];
    uint64_t first = set->shape_count ? out[-1].first_entry + out[-1].count : 0;
    if (set->shape_count && out[-1].shape >= shape)
        return fail(error, HS_SET_FORMAT, "shapes are out of order", s->id, 0);
    /* The test shape is the greatest, so nothing follows it: a second one would be a second test entry. */
    if (shape & HS_SHAPE_TEST && (s->count != 1 || (set->shape_count && out[-1].shape & HS_SHAPE_TEST)))
        return fail(error, HS_SET_FORMAT, "there is more than one test entry", s->id, 0);
    out->section = s;
    out->shape = shape;
    out->first_entry = first;
    out->count = s->count;
    out->implicit = (int)(s->aux >> 24 & 1);
    out->kinds = 0;
    for (uint32_t bits = shape & 15; bits; bits &= bits - 1) out->kinds++;
    out->row_width = (unsigned)(s->aux & 0xff);
    out->size_width = (unsigned)(s->aux >> 8 & 0xff);
    out->group_width = (unsigned)(s->aux >> 16 & 0xff);
    /* Sizes and listings of a sealed set are sealed. */
    int listed = set->seal ? out->group_width == 0 && out->size_width == 0 : out->group_width >= 1;
    if (s->aux >> 25 || out->row_width < 1 || out->row_width > 8 || out->size_width > 8 || !listed || out->group_width > 8)
        return fail(error, HS_SET_FORMAT, "impossible entry layout", s->id, 0);
    out->width = (out->kinds - (unsigned)out->implicit) * out->row_width + out->size_width + out->group_width;
    out->per_page = out->width ? HS_SET_PAGE_BYTES / out->width : 0;
    if (!fits(s, out->width)) return fail(error, HS_SET_FORMAT, "the entries have the wrong length", s->id, 0);
    set->shape_count++;
    return HS_SET_OK;
}

static hs_set_status parse_sealed(hs_set *set, const hs_section *s, hs_set_error *error) {
    uint64_t rest = s->length - HS_SEALED_SALT_BYTES, most = HS_SEALED_CHUNK_BYTES + HS_SEALED_TAG_BYTES;
    if (s->length <= HS_SEALED_SALT_BYTES || s->aux != HS_SEALED_CHUNK_BYTES || s->count != rest / most + (rest % most != 0) ||
        (rest % most && rest % most <= HS_SEALED_TAG_BYTES))
        return fail(error, HS_SET_FORMAT, "the sealed section has the wrong length", s->id, 0);
    set->sealed = s;
    return HS_SET_OK;
}

/* Signatures are not covered by the root, which they sign: their form is all that can be checked here. */
static int parse_signatures(hs_set *set, const uint8_t *trailer) {
    uint32_t count = hs_load32le(trailer + 40);
    if (count > HS_SET_MAX_SIGNATURES || hs_load32le(trailer + 44)) return 0;
    memcpy(set->signatures, trailer + 48, count * HS_SET_SIGNATURE_BYTES);
    set->signature_count = count;
    if (count && all_zero(set->signatures[0], 32)) return 0; /* nobody's key: the number alone was changed */
    for (unsigned i = 1; i < count; i++)
        if (memcmp(set->signatures[i - 1], set->signatures[i], 32) >= 0) return 0;
    return all_zero(trailer + 48 + count * HS_SET_SIGNATURE_BYTES, HS_SET_PAGE_BYTES - 48 - count * HS_SET_SIGNATURE_BYTES);
}

static unsigned lowest_kind(uint32_t shape) {
    unsigned k = 0;
    while (!(shape >> k & 1)) k++;
    return k;
}

/* Where all entries have one shape and no digest of its lowest kind is shared, that kind's table and the entries are in the
 * same order: neither stores the number of the other. Only the test digest, whose entry is the last, shifts the rows. */
static hs_set_status check_implicit(const hs_set *set, hs_set_error *error) {
    for (unsigned i = 0; i < set->shape_count; i++) {
        const hs_set_shape *shape = &set->shapes[i];
        const hs_set_kind *kind = &set->kinds[lowest_kind(shape->shape)];
        if (shape->implicit != !kind->entry_width)
            return fail(error, HS_SET_FORMAT, "entries and table disagree about row numbers", shape->section->id, 0);
    }
    for (unsigned k = 0; k < HS_SET_KINDS; k++) {
        const hs_set_kind *kind = &set->kinds[k];
        if (!kind->table_section || kind->entry_width) continue;
        int one_shape = set->shape_count == (kind->test_row ? 2u : 1u) && set->shapes[0].count == set->entry_count &&
                        lowest_kind(set->shapes[0].shape) == k &&
                        (!kind->test_row || (set->shapes[1].shape == (set->shapes[0].shape | HS_SHAPE_TEST) &&
                                             set->shapes[1].count == 1));
        if (!one_shape || kind->shared_section || kind->row_count != set->entry_count + (kind->test_row != 0))
            return fail(error, HS_SET_FORMAT, "a table without entry numbers does not fit the entries",
                        kind->table_section->id, 0);
    }
    return HS_SET_OK;
}

/* All sections known and complete: filter, fences and table for a kind that has any, entries as many as the header says. */
static hs_set_status assign_sections(hs_set *set, hs_set_error *error) {
    for (unsigned i = 0; i < set->section_count; i++) {
        const hs_section *s = &set->sections[i];
        hs_set_status status = HS_SET_OK;
        unsigned type = s->id >> 8;
        int listings = type == HS_SECTION_META || type == HS_SECTION_GROUPS || type == HS_SECTION_REFS;
        if ((listings || type == HS_SECTION_SEALED) && s->id & 0xff)
            return fail(error, HS_SET_FORMAT, "a section that has no subject names one", s->id, 0);
        if (set->seal ? listings : type == HS_SECTION_SEALED)
            return fail(error, HS_SET_FORMAT, "a section that does not belong into this set", s->id, 0);
        switch (type) {
        case HS_SECTION_META: set->meta = s; break;
        case HS_SECTION_GROUPS: set->groups = s; break;
        case HS_SECTION_REFS: set->refs = s; break;
        case HS_SECTION_SEALED: status = parse_sealed(set, s, error); break;
        case HS_SECTION_FILTER:
        case HS_SECTION_FENCES:
        case HS_SECTION_TABLE:
        case HS_SECTION_SHARED: status = parse_kind_section(set, s, error); break;
        case HS_SECTION_ENTRIES: status = parse_shape(set, s, error); break;
        default:
            if (s->flags & HS_SECTION_MUST_UNDERSTAND)
                return fail(error, HS_SET_NEWER, "the set has a section that must be understood and is not known", s->id, 0);
        }
        if (status != HS_SET_OK) return status;
    }
    if (!set->meta && !set->sealed) return bad(error, "the description section is missing");
    if (set->meta && set->meta->length > HS_SET_MAX_META_BYTES) return bad(error, "the description section is impossibly long");
    for (unsigned k = 0; k < HS_SET_KINDS; k++) {
        hs_set_kind *kind = &set->kinds[k];
        if (!kind->filter_section && !kind->fence_section && !kind->table_section && !kind->shared_section) continue;
        if (!kind->filter_section || !kind->fence_section || !kind->table_section)
            return bad(error, "a digest kind lacks its filter, fences or table");
        if (kind->fence_section->count != kind->page_count) return bad(error, "the fences do not fit the table");
    }
    uint64_t counted = 0;
    for (unsigned i = 0; i < set->shape_count; i++) {
        for (unsigned k = 0; k < HS_SET_KINDS; k++)
            if (set->shapes[i].shape >> k & 1 && !set->kinds[k].table_section)
                return bad(error, "entries name a digest kind without a table");
        if (!(set->shapes[i].shape & HS_SHAPE_TEST)) counted += set->shapes[i].count;
    }
    if (counted != set->entry_count) return bad(error, "the number of entries is not what the header says");
    return check_implicit(set, error);
}

static hs_set_status open_checked(hs_set *set, uint8_t *buffer, const hs_seal *const *keys, unsigned key_count,
                                  hs_set_error *error) {
    hs_set_status status = read_exactly(set, 0, buffer, HS_SET_PAGE_BYTES, error);
    if (status != HS_SET_OK) return status;
    if ((status = parse_header(set, buffer, keys, key_count, error)) != HS_SET_OK) return status;
    /* The root page first: a file that was cut or stretched is turned away before any memory is asked for. */
    uint8_t trailer[HS_SET_PAGE_BYTES];
    status = read_exactly(set, set->file_bytes - HS_SET_PAGE_BYTES, trailer, sizeof trailer, error);
    if (status != HS_SET_OK) return status;
    if (memcmp(trailer, TRAILER_MAGIC, sizeof TRAILER_MAGIC) != 0) return bad(error, "the last page is not the root page");
    /* The page list is bounded by the real file length by now. Its own padding is read with it and must be zero. */
    uint64_t list_pages = pages_of(set->page_list_bytes) * HS_SET_PAGE_BYTES;
    set->page_hashes = malloc((size_t)(list_pages ? list_pages : 1));
    if (!set->page_hashes) return fail(error, HS_SET_MEMORY, "no memory for the page list", 0, 0);
    status = read_exactly(set, set->page_list_offset, set->page_hashes, list_pages, error);
    if (status != HS_SET_OK) return status;
    hs_sha256 s;
    hs_sha256_init(&s, set->compress);
    hs_sha256_update(&s, buffer, HS_SET_PAGE_BYTES);
    hs_sha256_update(&s, set->page_hashes, (size_t)set->page_list_bytes);
    hs_sha256_final(&s, set->root);
    if (memcmp(trailer + 8, set->root, sizeof set->root) != 0)
        return fail(error, HS_SET_DAMAGED, "header and page list do not agree with the root", 0, 0);
    if (!parse_signatures(set, trailer))
        return fail(error, HS_SET_DAMAGED, "the signatures behind the root are not in order", 0, set->file_bytes / HS_SET_PAGE_BYTES - 1);
    if (!all_zero(set->page_hashes + set->page_list_bytes, (size_t)(list_pages - set->page_list_bytes)))
        return fail(error, HS_SET_DAMAGED, "unused bytes behind the page list are not zero", 0, 0);
    if ((status = parse_sections(set, buffer, error)) != HS_SET_OK) return status;
    return assign_sections(set, error);
}

hs_set_status hs_set_open(hs_set *set, const hs_os *os, int fd, uint32_t cpu_features, const hs_seal *const *keys,
                          unsigned key_count, hs_set_error *error) {
    memset(set, 0, sizeof *set);
    set->os = os;
    set->fd = fd;
    set->features = cpu_features;
    set->compress = hs_sha256_choose(cpu_features);
    set->probe = hs_bloom_choose(cpu_features);
    hs_stat st;
    int got = os->statx(os->ctx, fd, NULL, &st);
    if (got < 0) {
        fail(error, HS_SET_IO, "asking for the file's length failed", 0, 0);
        error->os_errno = -got;
        return HS_SET_IO;
    }
    if ((st.mode & 0170000) != 0100000) return bad(error, "not a regular file");
    set->file_bytes = st.size;
    if (st.size < 2 * HS_SET_PAGE_BYTES || st.size % HS_SET_PAGE_BYTES || st.size >= (uint64_t)1 << 62)
        return bad(error, "the file's length is not that of a hash set");
    uint8_t header[HS_SET_PAGE_BYTES];
    hs_set_status status = open_checked(set, header, keys, key_count, error);
    if (status != HS_SET_OK) hs_set_close(set);
    return status;
}

void hs_set_close(hs_set *set) {
    for (unsigned k = 0; k < HS_SET_KINDS; k++) {
        hs_set_kind *kind = &set->kinds[k];
        if (kind->filter.blocks) hs_os_unmap((void *)(uintptr_t)kind->filter.blocks, kind->filter_bytes);
        if (kind->fences) hs_os_unmap(kind->fences, kind->fence_bytes);
        kind->filter.blocks = NULL;
        kind->fences = NULL;
    }
    free(set->page_hashes);
    set->page_hashes = NULL;
    hs_os_unmap_secret(set->seal, sizeof *set->seal);
    set->seal = NULL;
}

/* Reads a whole section into private memory and checks every page of it. */
static hs_set_status load_section(const hs_set *set, const hs_section *section, uint8_t **out, size_t *out_bytes,
                                  hs_set_error *error) {
    uint64_t length = pages_of(section->length) * HS_SET_PAGE_BYTES;
    if (length > SIZE_MAX / 2) return fail(error, HS_SET_MEMORY, "a section is larger than the address space", section->id, 0);
    uint8_t *memory = hs_os_map((size_t)length);
    if (!memory) return fail(error, HS_SET_MEMORY, "no memory for a section", section->id, 0);
    hs_set_status status = read_pages_of(set, section, section->offset / HS_SET_PAGE_BYTES, pages_of(section->length), memory,
                                         error);
    if (status != HS_SET_OK) {
        hs_os_unmap(memory, (size_t)length);
        return status;
    }
    *out = memory;
    *out_bytes = (size_t)length;
    return HS_SET_OK;
}

hs_set_status hs_set_load_kind(hs_set *set, unsigned code, hs_set_error *error) {
    hs_set_kind *kind = &set->kinds[code - 1];
    if (kind->filter.blocks || !kind->filter_section) return HS_SET_OK;
    uint8_t *filter = NULL, *fences = NULL;
    size_t filter_bytes = 0, fence_bytes = 0;
    hs_set_status status = load_section(set, kind->fence_section, &fences, &fence_bytes, error);
    if (status != HS_SET_OK) return status;
    if ((status = load_section(set, kind->filter_section, &filter, &filter_bytes, error)) != HS_SET_OK) {
        hs_os_unmap(fences, fence_bytes);
        return status;
    }
    kind->fences = (uint64_t *)(void *)fences; /* page aligned */
    kind->fence_bytes = fence_bytes;
    for (uint64_t i = 0; HS_BIG_ENDIAN && i < kind->page_count; i++) kind->fences[i] = hs_load64le(fences + 8 * i);
    kind->filter_bytes = filter_bytes;
    kind->filter.block_count = kind->filter_section->count;
    kind->filter.blocks = filter;
    return HS_SET_OK;
}

/* ---- lookup --------------------------------------------------------------------------------------------------- */

uint64_t hs_set_probe(const hs_set *set, unsigned code, const uint8_t *digests, uint64_t count, uint8_t *may_match) {
    const hs_set_kind *kind = &set->kinds[code - 1];
    return set->probe(&kind->filter, digests, kind->digest_width, (size_t)count, may_match);
}

static unsigned rows_on(const hs_set_kind *kind, uint64_t table_page) {
    uint64_t before = table_page * kind->rows_per_page;
    return kind->row_count - before < kind->rows_per_page ? (unsigned)(kind->row_count - before) : kind->rows_per_page;
}

/* Number of the last table page whose first digest is <= digest, or -1. Fences narrow it down in memory; only where several
 * pages start with the same eight bytes their first rows are compared, by bisection. */
static hs_set_status page_of(const hs_set *set, const hs_set_kind *kind, const uint8_t *digest, hs_set_page *page,
                             int64_t *table_page, hs_set_error *error) {
    uint64_t prefix = hs_load64be(digest), low = 0, high = kind->page_count;
    while (low < high) { /* first page with fence >= prefix */
        uint64_t mid = low + (high - low) / 2;
        if (kind->fences[mid] < prefix) low = mid + 1;
        else high = mid;
    }
    uint64_t first_equal = low;
    high = kind->page_count;
    while (low < high) { /* first page with fence > prefix */
        uint64_t mid = low + (high - low) / 2;
        if (kind->fences[mid] <= prefix) low = mid + 1;
        else high = mid;
    }
    /* Pages first_equal .. low-1 start with the same eight bytes: bisect by their whole first digest. */
    uint64_t a = first_equal, b = low;
    while (a < b) {
        uint64_t mid = a + (b - a) / 2;
        hs_set_status status =
            read_page_of(set, kind->table_section, kind->table_section->offset / HS_SET_PAGE_BYTES + mid, page, error);
        if (status != HS_SET_OK) return status;
        if (memcmp(page->bytes, digest, kind->digest_width) <= 0) a = mid + 1;
        else b = mid;
    }
    *table_page = (int64_t)a - 1;
    return HS_SET_OK;
}

/* The first row from `row` on whose first eight bytes are not below `prefix`; `rows` where there is none. */
static unsigned first_row(const hs_set_kind *kind, const uint8_t *page, unsigned row, unsigned rows, uint64_t prefix) {
    const unsigned width = kind->row_width;
    unsigned count = rows - row;
    while (count > 1) { /* no branch on the digest: it would be mispredicted every other time */
        unsigned half = count / 2;
        row += hs_load64be(page + (row + half - 1) * width) < prefix ? half : 0;
        count -= half;
    }
    return row + (count && hs_load64be(page + row * width) < prefix);
}

/* The row on the page held that equals the digest, or -1. Rows before `*from` are not looked at; it becomes the first row
 * with the digest's first eight bytes, before which no digest with these or greater ones can be. */
static int row_on_page(const hs_set_kind *kind, const uint8_t *page, unsigned *from, unsigned rows,
                       const uint8_t *digest) {
    uint64_t prefix = hs_load64be(digest);
    *from = first_row(kind, page, *from, rows, prefix);
    for (unsigned row = *from; row < rows; row++) {
        const uint8_t *there = page + row * kind->row_width;
        if (hs_load64be(there) != prefix) return -1;
        if (hs_load64be(there + 8) == hs_load64be(digest + 8) &&
            (kind->digest_width == 16 || memcmp(there + 16, digest + 16, kind->digest_width - 16) == 0))
            return (int)row;
    }
    return -1;
}

/* For a table without entry numbers; test_row is the test digest's row + 1, 0 where there is none. */
static uint64_t entry_of_row(const hs_set *set, const hs_set_kind *kind, uint64_t row) {
    if (!kind->test_row || row + 1 < kind->test_row) return row;
    return row + 1 == kind->test_row ? set->entry_count : row - 1;
}

static uint64_t row_of_entry(const hs_set *set, const hs_set_kind *kind, uint64_t entry) {
    if (!kind->test_row) return entry;
    if (entry == set->entry_count) return kind->test_row - 1;
    return entry + 1 < kind->test_row ? entry : entry + 1;
}

static uint64_t table_file_page(const hs_set_kind *kind, uint64_t table_page) {
    return kind->table_section->offset / HS_SET_PAGE_BYTES + table_page;
}

static hs_set_status hit_at(const hs_set *set, const hs_set_kind *kind, const uint8_t *page, uint64_t table_page,
                            unsigned row, hs_set_hit *hit, hs_set_error *error) {
    uint64_t value = hs_load_le(page + row * kind->row_width + kind->digest_width, kind->entry_width);
    hit->row = table_page * kind->rows_per_page + row;
    hit->entry = kind->entry_width ? value >> 1 : entry_of_row(set, kind, hit->row);
    hit->more = (int)(value & 1);
    if (hit->entry > set->entry_count)
        return fail(error, HS_SET_FORMAT, "a row names an entry that is not there", kind->table_section->id,
                    table_file_page(kind, table_page));
    return HS_SET_OK;
}

/* Is the page held the one of the table that the digest belongs to? Then nothing has to be searched for. */
static int holds_place_of(const hs_set_kind *kind, const hs_set_page *page, const uint8_t *digest, int64_t *table_page) {
    const uint64_t first = table_file_page(kind, 0);
    if (page->number < first || page->number - first >= kind->page_count) return 0;
    const unsigned rows = rows_on(kind, page->number - first);
    *table_page = (int64_t)(page->number - first);
    return memcmp(page->bytes, digest, kind->digest_width) <= 0 &&
           memcmp(page->bytes + (rows - 1) * kind->row_width, digest, kind->digest_width) >= 0;
}

hs_set_status hs_set_find(const hs_set *set, unsigned code, const uint8_t *digest, hs_set_page *page, int *found,
                          hs_set_hit *hit, hs_set_error *error) {
    const hs_set_kind *kind = &set->kinds[code - 1];
    int64_t table_page;
    unsigned from = 0;
    *found = 0;
    if (!kind->fences) return fail(error, HS_SET_NOT_LOADED, "the digest kind was not loaded", 0, 0);
    hs_set_status status = HS_SET_OK;
    if (!holds_place_of(kind, page, digest, &table_page)) status = page_of(set, kind, digest, page, &table_page, error);
    if (status != HS_SET_OK || table_page < 0) return status;
    status = read_page_of(set, kind->table_section, table_file_page(kind, (uint64_t)table_page), page, error);
    if (status != HS_SET_OK) return status;
    int row = row_on_page(kind, page->bytes, &from, rows_on(kind, (uint64_t)table_page), digest);
    *found = row >= 0;
    return *found ? hit_at(set, kind, page->bytes, (uint64_t)table_page, (unsigned)row, hit, error) : HS_SET_OK;
}

uint64_t hs_set_collect(const hs_set *set, unsigned code, const uint8_t *digests, const uint8_t *may_match, uint64_t count,
                        unsigned part, unsigned parts, hs_set_candidate *candidates) {
    unsigned width = set->kinds[code - 1].digest_width;
    uint64_t found = 0;
    for (uint64_t i = 0; i < count; i++) {
        /* Nearly all are 0: step over eight at a time. */
        if (count - i >= 8) {
            uint64_t eight;
            memcpy(&eight, may_match + i, 8);
            if (!eight) {
                i += 7;
                continue;
            }
        }
        if (!may_match[i]) continue;
        if (parts > 1 && hs_mulhi64(hs_load64be(digests + i * width), parts) != part) continue;
        if (candidates) {
            memcpy(candidates[found].prefix, digests + i * width, sizeof candidates->prefix);
            candidates[found].index = i;
        }
        found++;
    }
    return found;
}

/* The first page from `from` on whose fence is not below `prefix`: steps that double, then bisection, so that neighbours
 * are near and far pages are not far. */
static uint64_t first_fence(const hs_set_kind *kind, uint64_t from, uint64_t prefix) {
    uint64_t low = from, high = from, step = 1;
    while (high < kind->page_count && kind->fences[high] < prefix) {
        low = high + 1;
        high = kind->page_count - high > step ? high + step : kind->page_count;
        step *= 2;
    }
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (kind->fences[mid] < prefix) low = mid + 1;
        else high = mid;
    }
    return low;
}

/* The table pages of a few neighbouring candidates: where in the window each lies. */
typedef struct window_pages {
    uint64_t numbers[HS_SET_WINDOW_PAGES]; /* in the table, rising */
    unsigned slots[HS_SET_WINDOW_PAGES];   /* page places from the window's start */
    unsigned count;
} window_pages;

/* Finds the pages of candidates from `i` on until the window is full. Pages that are next to each other, or next but one, lie
 * in the window as they do in the file, so that one read brings them: a page read for nothing costs less than a call.
 * Returns the first candidate that is left for the next window. */
static uint64_t plan_window(const hs_set_kind *kind, const hs_set_candidate *candidates, uint64_t i, uint64_t count,
                            uint64_t *fence, window_pages *pages) {
    pages->count = 0;
    for (; i < count; i++) {
        *fence = first_fence(kind, *fence, hs_load64be(candidates[i].prefix));
        if (!*fence) continue;
        uint64_t number = *fence - 1;
        unsigned slot = 0;
        if (pages->count) {
            uint64_t last = pages->numbers[pages->count - 1];
            if (number == last) continue;
            slot = pages->slots[pages->count - 1] + (number - last <= 2 ? (unsigned)(number - last) : 1);
            if (slot >= HS_SET_WINDOW_PAGES) break;
        }
        pages->numbers[pages->count] = number;
        pages->slots[pages->count++] = slot;
    }
    return i;
}

static hs_set_status read_window(const hs_set *set, const hs_set_kind *kind, const window_pages *pages,
                                 hs_set_window *window, hs_set_error *error) {
    uint64_t numbers[HS_SET_WINDOW_PAGES];
    const uint8_t *at[HS_SET_WINDOW_PAGES];
    for (unsigned first = 0, end; first < pages->count; first = end) {
        for (end = first + 1; end < pages->count && pages->numbers[end] - pages->numbers[first] ==
                                                        pages->slots[end] - pages->slots[first];)
            end++;
        unsigned length = pages->slots[end - 1] - pages->slots[first] + 1;
        hs_set_status status =
            read_exactly(set, table_file_page(kind, pages->numbers[first]) * HS_SET_PAGE_BYTES,
                         window->bytes + pages->slots[first] * HS_SET_PAGE_BYTES, length * HS_SET_PAGE_BYTES, error);
        if (status != HS_SET_OK) return status;
    }
    for (unsigned i = 0; i < pages->count; i++) {
        numbers[i] = table_file_page(kind, pages->numbers[i]);
        at[i] = window->bytes + pages->slots[i] * HS_SET_PAGE_BYTES;
    }
    return check_pages(set, kind->table_section->id, numbers, at, pages->count, error);
}

/* Heap sort by whole digests of the candidates that share their first eight bytes with the first one. No digests of a hash
 * function do, but whoever lists what else has that many bytes shall not wait for a search over the table for each of them. */
static void sort_alike(const uint8_t *digests, unsigned width, hs_set_candidate *c, uint64_t count) {
    uint64_t end = 1;
    while (end < count && memcmp(c[end].prefix, c[0].prefix, sizeof c->prefix) == 0) end++;
    for (uint64_t start = end / 2; end > 1;) {
        if (start) start--;
        else {
            hs_set_candidate last = c[--end];
            c[end] = c[0];
            c[0] = last;
        }
        for (uint64_t root = start, child; (child = 2 * root + 1) < end; root = child) {
            if (child + 1 < end && memcmp(digests + c[child].index * width, digests + c[child + 1].index * width, width) < 0)
                child++;
            if (memcmp(digests + c[root].index * width, digests + c[child].index * width, width) >= 0) break;
            hs_set_candidate swap = c[root];
            c[root] = c[child];
            c[child] = swap;
        }
    }
}

hs_set_status hs_set_confirm(const hs_set *set, unsigned code, const uint8_t *digests, hs_set_candidate *candidates,
                             uint64_t count, int64_t *entries, hs_set_window *window, hs_set_error *error) {
    enum { AHEAD = 16 }; /* digests lie in the caller's order: ask for their lines this many candidates before */
    const hs_set_kind *kind = &set->kinds[code - 1];
    const unsigned width = kind->digest_width;
    window_pages pages;
    uint64_t fence = 0;
    if (!kind->fences) return fail(error, HS_SET_NOT_LOADED, "the digest kind was not loaded", 0, 0);
    hs_sort_rows((uint8_t *)candidates, count, sizeof *candidates, sizeof candidates->prefix, NULL, NULL);
    for (uint64_t i = 0, end; i < count; i = end) {
        end = plan_window(kind, candidates, i, count, &fence, &pages);
        hs_set_status status = read_window(set, kind, &pages, window, error);
        if (status != HS_SET_OK) return status;
        unsigned at = 0, from = 0;
        for (; i < end; i++) {
            const uint64_t prefix = hs_load64be(candidates[i].prefix);
            hs_set_hit hit;
            int found = 0;
            if (count - i > AHEAD) HS_PREFETCH(digests + candidates[i + AHEAD].index * width);
            for (; at + 1 < pages.count && kind->fences[pages.numbers[at + 1]] < prefix; at++) from = 0;
            const uint64_t before = pages.count && kind->fences[pages.numbers[at]] < prefix ? pages.numbers[at] + 1 : 0;
            const int alike = before < kind->page_count && kind->fences[before] == prefix;
            if (alike && (!i || memcmp(candidates[i - 1].prefix, candidates[i].prefix, sizeof candidates->prefix) != 0))
                sort_alike(digests, width, candidates + i, count - i);
            const uint8_t *digest = digests + candidates[i].index * width;
            if (alike) {
                /* A page starts with these eight bytes: which of several it is, only the whole digest tells. */
                if ((status = hs_set_find(set, code, digest, &window->page, &found, &hit, error)) != HS_SET_OK) return status;
            } else if (before) {
                const uint8_t *bytes = window->bytes + pages.slots[at] * HS_SET_PAGE_BYTES;
                int row = row_on_page(kind, bytes, &from, rows_on(kind, before - 1), digest);
                found = row >= 0;
                if (found && (status = hit_at(set, kind, bytes, before - 1, (unsigned)row, &hit, error)) != HS_SET_OK)
                    return status;
            }
            entries[candidates[i].index] = found ? (int64_t)hit.entry : -1;
        }
    }
    return HS_SET_OK;
}

hs_set_status hs_set_further(const hs_set *set, unsigned code, uint64_t row, uint64_t index, hs_set_page *page,
                             int *found, uint64_t *entry, hs_set_error *error) {
    const hs_set_kind *kind = &set->kinds[code - 1];
    const hs_section *s = kind->shared_section;
    *found = 0;
    if (!s) return fail(error, HS_SET_FORMAT, "a row points to further entries that are not there", 0, 0);
    uint64_t low = 0, high = s->count, base = s->offset / HS_SET_PAGE_BYTES;
    while (low < high) { /* first pair with this row */
        uint64_t mid = low + (high - low) / 2;
        hs_set_status status = read_page_of(set, s, base + mid / kind->shared_per_page, page, error);
        if (status != HS_SET_OK) return status;
        if (hs_load_le(page->bytes + mid % kind->shared_per_page * kind->shared_width, kind->shared_row_width) < row) low = mid + 1;
        else high = mid;
    }
    if (index >= s->count - low) return HS_SET_OK;
    low += index;
    hs_set_status status = read_page_of(set, s, base + low / kind->shared_per_page, page, error);
    if (status != HS_SET_OK) return status;
    const uint8_t *pair = page->bytes + low % kind->shared_per_page * kind->shared_width;
    if (hs_load_le(pair, kind->shared_row_width) != row) return HS_SET_OK;
    *found = 1;
    *entry = hs_load_le(pair + kind->shared_row_width, kind->shared_width - kind->shared_row_width);
    if (*entry > set->entry_count)
        return fail(error, HS_SET_FORMAT, "a row names an entry that is not there", s->id, page->number);
    return HS_SET_OK;
}

hs_set_status hs_set_entry_at(const hs_set *set, uint64_t entry, hs_set_page *page, hs_set_entry *out,
                              hs_set_error *error) {
    for (unsigned i = 0; i < set->shape_count; i++) {
        const hs_set_shape *shape = &set->shapes[i];
        if (entry - shape->first_entry >= shape->count || entry < shape->first_entry) continue;
        uint64_t at = entry - shape->first_entry;
        const uint8_t *p = page->bytes;
        if (shape->width) {
            hs_set_status status = read_page_of(
                set, shape->section, shape->section->offset / HS_SET_PAGE_BYTES + at / shape->per_page, page, error);
            if (status != HS_SET_OK) return status;
            p += at % shape->per_page * shape->width;
        }
        memset(out, 0, sizeof *out);
        out->shape = shape->shape;
        for (unsigned k = 0; k < HS_SET_KINDS; k++) {
            if (!(shape->shape >> k & 1)) continue;
            if (shape->implicit && k == lowest_kind(shape->shape)) {
                out->rows[k] = row_of_entry(set, &set->kinds[k], entry);
                continue;
            }
            out->rows[k] = hs_load_le(p, shape->row_width);
            p += shape->row_width;
        }
        uint64_t size = hs_load_le(p, shape->size_width), group = hs_load_le(p + shape->size_width, shape->group_width);
        out->has_size = size != 0;
        out->size = size ? size - 1 : 0;
        out->group_in_refs = (int)(group & 1);
        out->group = group >> 1;
        return HS_SET_OK;
    }
    return fail(error, HS_SET_FORMAT, "there is no entry with this number", 0, 0);
}

hs_set_status hs_set_digest_at(const hs_set *set, unsigned code, uint64_t row, hs_set_page *page, uint8_t *digest,
                               hs_set_error *error) {
    const hs_set_kind *kind = &set->kinds[code - 1];
    if (row >= kind->row_count) return fail(error, HS_SET_FORMAT, "there is no table row with this number", 0, 0);
    hs_set_status status = read_page_of(
        set, kind->table_section, kind->table_section->offset / HS_SET_PAGE_BYTES + row / kind->rows_per_page, page, error);
    if (status != HS_SET_OK) return status;
    memcpy(digest, page->bytes + row % kind->rows_per_page * kind->row_width, kind->digest_width);
    return HS_SET_OK;
}
