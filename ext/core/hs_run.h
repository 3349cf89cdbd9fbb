/* hs_run.h -- more rows than memory holds: spools, sorted runs, and their merge.
 *
 * Rows are sorted in memory, piece by piece, and written out as *runs*; a merge of many cursors then gives all rows in order,
 * each read once and front to back (D. Knuth, The Art of Computer Programming, volume 3, section 5.4.1: tree of losers). A
 * merge compares rows by their first eight bytes as a number, which for digests nearly always decides, and only where these are
 * equal by what the maker of the cursors gave it.
 *
 * A *spool* is a temporary file written front to back and read again, kept in memory while it is small. The file itself comes
 * from the caller, who knows where such files may lie; it should have no name, so that nothing is left when the process dies.
 *
 * Units: bytes, 64-bit. One thread at a time for one object; several readers of one finished spool may be in different
 * threads. Results are >= 0 or negative: a negated errno value or one of HS_RUN_*.
 */
#ifndef HS_RUN_H
#define HS_RUN_H

#include "hs_os.h"
#include "hs_sort.h"

enum {
    HS_RUN_STOPPED = -100001,  /* a poll said so */
    HS_RUN_CALLER = -100002    /* the maker of temporary files failed and knows why */
};

typedef struct hs_temp_maker {
    const hs_os *os;
    int (*make)(void *ctx);  /* a new temporary file open for reading and writing, or < 0 */
    void *ctx;
} hs_temp_maker;

/* Whole positional writes, interrupted or short as they may be. */
int hs_write_all(const hs_os *os, int fd, const void *data, size_t length, uint64_t offset);

/* ---------------------------------------------------------------- spools */

typedef struct hs_spool {
    const hs_temp_maker *maker;
    int fd;              /* -1: all of it is in `buffer` */
    uint64_t base;       /* bytes in the file */
    uint8_t *buffer;
    size_t used, capacity, limit;
} hs_spool;

/* `memory_bytes`: how much is kept in memory before there is a file, and how much is written at once afterwards. */
void hs_spool_init(hs_spool *spool, const hs_temp_maker *maker, size_t memory_bytes);
int hs_spool_put_slowly(hs_spool *spool, const uint8_t *data, size_t length);
/* Nothing is put any more; the buffer goes where a file holds everything. */
int hs_spool_finish(hs_spool *spool);
/* Takes `length` bytes of the file, to be written by hs_spool_write in any thread; gives their offset. */
int hs_spool_reserve(hs_spool *spool, uint64_t length, uint64_t *offset);
int hs_spool_write(const hs_spool *spool, const void *data, size_t length, uint64_t offset);
/* Gives everything back; the spool may be used again. */
void hs_spool_clear(hs_spool *spool);

HS_INLINE uint64_t hs_spool_bytes(const hs_spool *spool) { return spool->base + spool->used; }

HS_INLINE int hs_spool_put(hs_spool *spool, const void *data, size_t length) {
    if (HS_UNLIKELY(length > spool->capacity - spool->used)) return hs_spool_put_slowly(spool, (const uint8_t *)data, length);
    memcpy(spool->buffer + spool->used, data, length);
    spool->used += length;
    return 0;
}

/* Little-endian numbers of as many bytes as they need: seven bits a byte, bit 7 in all but the last. Returns the bytes. */
enum { HS_VARINT_BYTES = 10 };
HS_INLINE size_t hs_store_varint(uint8_t *p, uint64_t value) {
    size_t n = 0;
    while (value >= 0x80) {
        p[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    p[n++] = (uint8_t)value;
    return n;
}
/* 0 where the number does not end before `end` or has more than 64 bits. */
HS_INLINE size_t hs_load_varint(const uint8_t *p, const uint8_t *end, uint64_t *value) {
    uint64_t x = 0;
    for (size_t n = 0; n < HS_VARINT_BYTES && p + n < end; n++) {
        if (n == 9 && p[n] > 1) return 0;
        x |= (uint64_t)(p[n] & 0x7f) << (7 * n);
        if (p[n] < 0x80) {
            *value = x;
            return n + 1;
        }
    }
    return 0;
}

/* ---------------------------------------------------------------- readers */

typedef struct hs_reader {
    const hs_spool *spool;
    uint64_t offset, left;   /* of what is not in the buffer yet */
    uint8_t *buffer;
    size_t capacity, at, end; /* capacity 0: the buffer is the spool's own */
} hs_reader;

/* Of `length` bytes at `offset` of a finished spool, at most `buffer_bytes` of them at a time. */
int hs_reader_open(hs_reader *reader, const hs_spool *spool, uint64_t offset, uint64_t length, size_t buffer_bytes);
int64_t hs_reader_fill(hs_reader *reader, size_t need);
void hs_reader_close(hs_reader *reader);

/* Sees to `need` bytes at buffer + at, or what there is before the end. Returns how many there are, at least. */
HS_INLINE int64_t hs_reader_need(hs_reader *reader, size_t need) {
    if (HS_LIKELY(reader->end - reader->at >= need)) return (int64_t)(reader->end - reader->at);
    return hs_reader_fill(reader, need);
}
int hs_reader_varint(hs_reader *reader, uint64_t *value);

/* ---------------------------------------------------------------- cursors and their merge */

typedef struct hs_cursor hs_cursor;
struct hs_cursor {
    int (*next)(hs_cursor *cursor);  /* moves to the next row: 1, or 0 when there is none, or < 0 */
    const uint8_t *row;              /* NULL at the end */
    unsigned layout;                 /* what rows look like, where cursors of one merge differ */
    size_t width;                    /* bytes of a row; without what follows it in some layouts */
    hs_reader reader;
    void *ctx;
};

/* A cursor over packed rows of `width` bytes. */
int hs_cursor_next_packed(hs_cursor *cursor);

typedef struct hs_merge {
    hs_cursor **cursors;
    unsigned count, *tree;
    uint64_t *keys;
    /* > 0 where the row of a comes after that of b, whose first eight bytes (or all, when fewer) are equal. */
    int (*order)(const hs_cursor *a, const hs_cursor *b);
} hs_merge;

/* Takes the cursors, which have not been moved yet; the array must stay. */
int hs_merge_open(hs_merge *merge, hs_cursor **cursors, unsigned count, int (*order)(const hs_cursor *, const hs_cursor *));
void hs_merge_close(hs_merge *merge);
int hs_merge_next(hs_merge *merge);

/* The cursor that holds the lowest row; its row is NULL when there is none left. */
HS_INLINE hs_cursor *hs_merge_top(const hs_merge *merge) { return merge->cursors[merge->tree[0]]; }
HS_INLINE uint64_t hs_merge_key(const hs_merge *merge) { return merge->keys[merge->tree[0]]; }

/* memcmp of whole rows of equal width. */
int hs_order_packed(const hs_cursor *a, const hs_cursor *b);

/* ---------------------------------------------------------------- sorter of packed rows */

typedef struct hs_run {
    uint64_t offset, bytes;
    unsigned layout;
} hs_run;

typedef struct hs_runs {
    hs_run *list;
    size_t count, capacity;
} hs_runs;

int hs_runs_add(hs_runs *runs, uint64_t offset, uint64_t bytes, unsigned layout);
void hs_runs_clear(hs_runs *runs);

/* Rows of one width in, the same rows in the order of memcmp out, as often as one likes. */
typedef struct hs_sorter {
    size_t width, memory_bytes, buffer_bytes;
    hs_spool spool;
    hs_runs runs;
    uint8_t *rows;
    uint64_t used, capacity, count;  /* rows in memory, room for, and taken at all */
    size_t mapped_bytes;
    hs_sort_poll poll;
    void *poll_ctx;
    hs_cursor *cursors, **cursor_list;
    unsigned cursor_count;
    hs_merge merge;
    int merging;
} hs_sorter;

/* `buffer_bytes`: the least a run is read in one piece by; memory_bytes / buffer_bytes runs are merged at once. */
void hs_sorter_init(hs_sorter *sorter, const hs_temp_maker *maker, size_t width, size_t memory_bytes, size_t buffer_bytes,
                    hs_sort_poll poll, void *poll_ctx);
int hs_sorter_room(hs_sorter *sorter);
/* No more rows; sorts what is left, and merges runs until few enough are left for one merge. */
int hs_sorter_finish(hs_sorter *sorter);
/* Begins to give the rows, from the first. */
int hs_sorter_rewind(hs_sorter *sorter);
void hs_sorter_clear(hs_sorter *sorter);

/* Room for one more row, or NULL with *status. */
HS_INLINE uint8_t *hs_sorter_add(hs_sorter *sorter, int *status) {
    if (HS_UNLIKELY(sorter->used == sorter->capacity) && (*status = hs_sorter_room(sorter)) < 0) return NULL;
    sorter->count++;
    return sorter->rows + sorter->used++ * sorter->width;
}
/* The current row, NULL at the end. */
HS_INLINE const uint8_t *hs_sorter_row(const hs_sorter *sorter) { return hs_merge_top(&sorter->merge)->row; }
HS_INLINE int hs_sorter_next(hs_sorter *sorter) { return hs_merge_next(&sorter->merge); }

/* Memory for many rows: huge pages where offered, ordinary memory when small. Grows to twice its size, at most `most`. */
int hs_rows_grow(uint8_t **rows, size_t *mapped_bytes, uint64_t used_bytes, uint64_t least, uint64_t most);
void hs_rows_free(uint8_t **rows, size_t *mapped_bytes);

#endif
