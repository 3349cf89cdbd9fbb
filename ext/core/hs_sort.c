/* hs_sort.c -- see hs_sort.h. */
#include "hs_sort.h"

enum {
    SMALL = 24,          /* below this many rows insertion wins (16, 24 and 32 were within 3 %) */
    POLL_ROWS = 1 << 20  /* rows between two questions: some 50 ms */
};

typedef struct sorter {
    size_t width, key_bytes;
    hs_sort_poll poll;
    void *ctx;
    uint64_t since_poll;
    int stopped;
} sorter;

static int stopped(sorter *s, uint64_t rows) {
    s->since_poll += rows;
    if (s->since_poll >= POLL_ROWS && !s->stopped) {
        s->since_poll = 0;
        if (s->poll) s->stopped = s->poll(s->ctx);
    }
    return s->stopped;
}

/* The order of two rows that share their first `depth` bytes. Keys of eight bytes are compared as numbers. */
HS_INLINE int after(const uint8_t *a, const uint8_t *b, size_t depth, size_t key_bytes) {
    if (key_bytes == 8) return hs_load64be(a) > hs_load64be(b);
    if (depth + 8 <= key_bytes) {
        uint64_t x = hs_load64be(a + depth), y = hs_load64be(b + depth);
        if (x != y) return x > y;
        depth += 8;
    }
    return memcmp(a + depth, b + depth, key_bytes - depth) > 0;
}

/* A row in pieces that do not overlap: a row that was stored a moment ago is then loaded the way it was stored, which the
 * CPU forwards; the overlapping moves that compilers make of odd sizes wait for the cache (80 against 53 ns a row of 22). */
HS_INLINE void copy_row(uint8_t *to, const uint8_t *from, size_t width) {
    if (!HS_CONSTANT(width)) {
        memcpy(to, from, width);
        return;
    }
    size_t at = 0;
    for (; width - at >= 16; at += 16) memcpy(to + at, from + at, 16);
    if (width & 8) memcpy(to + at, from + at, 8), at += 8;
    if (width & 4) memcpy(to + at, from + at, 4), at += 4;
    if (width & 2) memcpy(to + at, from + at, 2), at += 2;
    if (width & 1) to[at] = from[at];
}

HS_INLINE void insertion(uint8_t *rows, uint64_t count, size_t width, size_t depth, size_t key_bytes) {
    uint8_t row[HS_SORT_MAX_WIDTH];
    for (uint64_t i = 1; i < count; i++) {
        uint8_t *at = rows + i * width;
        if (!after(at - width, at, depth, key_bytes)) continue;
        copy_row(row, at, width);
        do {
            copy_row(at, at - width, width);
            at -= width;
        } while (at != rows && after(at - width, row, depth, key_bytes));
        copy_row(at, row, width);
    }
}

/* Puts the rows into 256 buckets by their first byte that differs, of which the number goes to *depth; bucket b then ends
 * at end[b]. Returns 0 when nothing is left to do. */
HS_INLINE int partition(uint8_t *rows, uint64_t count, size_t width, size_t *depth, size_t key_bytes, uint64_t end[256]) {
    uint64_t next[256];
    size_t d = *depth;
    for (;; d++) {
        if (d >= key_bytes || count < 2) return 0;
        if (count <= SMALL) {
            insertion(rows, count, width, d, key_bytes);
            return 0;
        }
        memset(end, 0, 256 * sizeof end[0]);
        for (uint64_t i = 0; i < count; i++) end[rows[i * width + d]]++;
        if (end[rows[d]] != count) break;
    }
    uint64_t sum = 0;
    for (int b = 0; b < 256; b++) {
        next[b] = sum;
        sum += end[b];
        end[b] = sum;
    }
    uint8_t row[HS_SORT_MAX_WIDTH], swap[HS_SORT_MAX_WIDTH];
    for (int b = 0; b < 256; b++) {
        while (next[b] < end[b]) {
            uint8_t *home = rows + next[b] * width;
            int to = home[d];
            if (to == b) {
                next[b]++;
                continue;
            }
            /* Carry the row to its bucket, take what stood there, until one belongs here. */
            copy_row(row, home, width);
            do {
                uint8_t *place = rows + next[to]++ * width;
                copy_row(swap, place, width);
                copy_row(place, row, width);
                copy_row(row, swap, width);
                to = row[d];
            } while (to != b);
            copy_row(home, row, width);
            next[b]++;
        }
    }
    *depth = d;
    return 1;
}

static void sort_from(sorter *s, uint8_t *rows, uint64_t count, size_t depth) {
    uint64_t end[256];
    if (stopped(s, count) || !partition(rows, count, s->width, &depth, s->key_bytes, end)) return;
    for (int b = 0; b < 256; b++) {
        uint64_t from = b ? end[b - 1] : 0;
        if (end[b] - from > 1) sort_from(s, rows + from * s->width, end[b] - from, depth + 1);
    }
}

/* The same with constant widths, for which the compiler moves a row in a few registers: candidates of a lookup, and the
 * rows that a set is compiled from (digests of one or two kinds with what most often follows them). */
#define HS_SORT_OF(name, row_bytes, key)                                                               \
    static void name(sorter *s, uint8_t *rows, uint64_t count, size_t depth) {                         \
        uint64_t end[256];                                                                             \
        if (stopped(s, count) || !partition(rows, count, row_bytes, &depth, key, end)) return;         \
        for (int b = 0; b < 256; b++) {                                                                \
            uint64_t from = b ? end[b - 1] : 0;                                                        \
            if (end[b] - from > 1) name(s, rows + from * (row_bytes), end[b] - from, depth + 1);       \
        }                                                                                              \
    }
HS_SORT_OF(sort_candidates, 16, 8)
HS_SORT_OF(sort_18, 18, 18)
HS_SORT_OF(sort_22, 22, 22)
HS_SORT_OF(sort_25, 25, 25)
HS_SORT_OF(sort_28, 28, 28)
HS_SORT_OF(sort_48, 48, 48)

int hs_sort_rows(uint8_t *rows, uint64_t count, size_t width, size_t key_bytes, hs_sort_poll poll, void *ctx) {
    sorter s = {width, key_bytes, poll, ctx, 0, 0};
    size_t special = width == key_bytes ? width : 0;
    if (width == 16 && key_bytes == 8) sort_candidates(&s, rows, count, 0);
    else if (special == 18) sort_18(&s, rows, count, 0);
    else if (special == 22) sort_22(&s, rows, count, 0);
    else if (special == 25) sort_25(&s, rows, count, 0);
    else if (special == 28) sort_28(&s, rows, count, 0);
    else if (special == 48) sort_48(&s, rows, count, 0);
    else sort_from(&s, rows, count, 0);
    return s.stopped;
}
