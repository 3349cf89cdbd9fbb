/* hs_sort.c -- see hs_sort.h. */
#include "hs_sort.h"

enum { SMALL = 24 }; /* below this many rows insertion wins (16, 24 and 32 were within 3 %) */

static void insertion(uint8_t *rows, uint64_t count, size_t width, size_t depth, size_t key_bytes) {
    uint8_t row[HS_SORT_MAX_WIDTH];
    for (uint64_t i = 1; i < count; i++) {
        uint8_t *at = rows + i * width;
        if (memcmp(at - width + depth, at + depth, key_bytes - depth) <= 0) continue;
        memcpy(row, at, width);
        uint64_t j = i;
        do {
            j--;
        } while (j && memcmp(rows + (j - 1) * width + depth, row + depth, key_bytes - depth) > 0);
        memmove(rows + (j + 1) * width, rows + j * width, (size_t)(i - j) * width);
        memcpy(rows + j * width, row, width);
    }
}

static void sort_from(uint8_t *rows, uint64_t count, size_t width, size_t depth, size_t key_bytes) {
    uint64_t next[256], end[256];
    for (;;) {
        if (depth >= key_bytes || count < 2) return;
        if (count <= SMALL) {
            insertion(rows, count, width, depth, key_bytes);
            return;
        }
        memset(end, 0, sizeof end);
        for (uint64_t i = 0; i < count; i++) end[rows[i * width + depth]]++;
        if (end[rows[depth]] != count) break;
        depth++; /* all rows share this byte */
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
            int to = home[depth];
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
                to = row[depth];
            } while (to != b);
            memcpy(home, row, width);
            next[b]++;
        }
    }
    for (int b = 0; b < 256; b++) {
        uint64_t from = b ? end[b - 1] : 0;
        if (end[b] - from > 1) sort_from(rows + from * width, end[b] - from, width, depth + 1, key_bytes);
    }
}

void hs_sort_rows(uint8_t *rows, uint64_t count, size_t width, size_t key_bytes) {
    sort_from(rows, count, width, 0, key_bytes);
}
