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
    return memcmp(a + depth, b + depth, key_bytes - depth) > 0;
}

HS_INLINE void insertion(uint8_t *rows, uint64_t count, size_t width, size_t depth, size_t key_bytes) {
    uint8_t row[HS_SORT_MAX_WIDTH];
    for (uint64_t i = 1; i < count; i++) {
        uint8_t *at = rows + i * width;
        if (!after(at - width, at, depth, key_bytes)) continue;
        memcpy(row, at, width);
        do {
            memcpy(at, at - width, width);
            at -= width;
        } while (at != rows && after(at - width, row, depth, key_bytes));
        memcpy(at, row, width);
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
            memcpy(row, home, width);
            do {
                uint8_t *place = rows + next[to]++ * width;
                memcpy(swap, place, width);
                memcpy(place, row, width);
                memcpy(row, swap, width);
                to = row[d];
            } while (to != b);
            memcpy(home, row, width);
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

/* The same for the candidates of a lookup: with constant widths the compiler moves a row in one register. */
static void sort_candidates(sorter *s, uint8_t *rows, uint64_t count, size_t depth) {
    uint64_t end[256];
    if (stopped(s, count) || !partition(rows, count, 16, &depth, 8, end)) return;
    for (int b = 0; b < 256; b++) {
        uint64_t from = b ? end[b - 1] : 0;
        if (end[b] - from > 1) sort_candidates(s, rows + from * 16, end[b] - from, depth + 1);
    }
}

int hs_sort_rows(uint8_t *rows, uint64_t count, size_t width, size_t key_bytes, hs_sort_poll poll, void *ctx) {
    sorter s = {width, key_bytes, poll, ctx, 0, 0};
    if (width == 16 && key_bytes == 8) sort_candidates(&s, rows, count, 0);
    else sort_from(&s, rows, count, 0);
    return s.stopped;
}
