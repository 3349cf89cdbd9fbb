/* hs_run.c -- see hs_run.h. */
#include "hs_run.h"

#include <errno.h>
#include <stdlib.h>

enum { FIRST_BUFFER_BYTES = 4096, FILE_BUFFER_BYTES = 1 << 20, MAP_FROM_BYTES = 1 << 20 };

int hs_write_all(const hs_os *os, int fd, const void *data, size_t length, uint64_t offset) {
    const uint8_t *from = (const uint8_t *)data;
    while (length) {
        int64_t n = os->pwrite(os->ctx, fd, from, length, offset);
        if (n == -EINTR) continue;
        if (n < 0) return (int)n;
        if (n == 0) return -EIO;
        from += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return 0;
}

/* ---------------------------------------------------------------- spools */

void hs_spool_init(hs_spool *spool, const hs_temp_maker *maker, size_t memory_bytes) {
    memset(spool, 0, sizeof *spool);
    spool->maker = maker;
    spool->fd = -1;
    spool->limit = memory_bytes < FIRST_BUFFER_BYTES ? FIRST_BUFFER_BYTES : memory_bytes;
}

void hs_spool_clear(hs_spool *spool) {
    if (spool->fd >= 0) spool->maker->os->close(spool->maker->os->ctx, spool->fd);
    free(spool->buffer);
    hs_spool_init(spool, spool->maker, spool->limit);
}

int hs_spool_write(const hs_spool *spool, const void *data, size_t length, uint64_t offset) {
    return hs_write_all(spool->maker->os, spool->fd, data, length, offset);
}

/* Everything that was put goes to the file. */
static int flush(hs_spool *spool) {
    if (spool->fd < 0) {
        int fd = spool->maker->make(spool->maker->ctx);
        if (fd < 0) return fd;
        spool->fd = fd;
    }
    int status = hs_spool_write(spool, spool->buffer, spool->used, spool->base);
    if (status < 0) return status;
    spool->base += spool->used;
    spool->used = 0;
    if (spool->capacity > FILE_BUFFER_BYTES) {
        free(spool->buffer);
        spool->buffer = NULL;
        spool->capacity = 0;
    }
    return 0;
}

int hs_spool_put_slowly(hs_spool *spool, const uint8_t *data, size_t length) {
    if (spool->fd < 0 && length <= spool->limit - spool->used) {
        size_t wanted = spool->capacity * 2;
        if (wanted < FIRST_BUFFER_BYTES) wanted = FIRST_BUFFER_BYTES;
        if (wanted < spool->used + length) wanted = spool->used + length;
        if (wanted > spool->limit) wanted = spool->limit;
        uint8_t *grown = realloc(spool->buffer, wanted);
        if (grown == NULL) return -ENOMEM;
        spool->buffer = grown;
        spool->capacity = wanted;
    } else {
        int status = flush(spool);
        if (status < 0) return status;
        if (spool->buffer == NULL) {
            spool->capacity = spool->limit < FILE_BUFFER_BYTES ? spool->limit : FILE_BUFFER_BYTES;
            spool->buffer = malloc(spool->capacity);
            if (spool->buffer == NULL) {
                spool->capacity = 0;
                return -ENOMEM;
            }
        }
        if (length > spool->capacity) {
            status = hs_spool_write(spool, data, length, spool->base);
            if (status == 0) spool->base += length;
            return status;
        }
    }
    memcpy(spool->buffer + spool->used, data, length);
    spool->used += length;
    return 0;
}

int hs_spool_finish(hs_spool *spool) {
    if (spool->fd < 0) return 0;
    int status = flush(spool);
    free(spool->buffer);
    spool->buffer = NULL;
    spool->capacity = 0;
    return status;
}

int hs_spool_reserve(hs_spool *spool, uint64_t length, uint64_t *offset) {
    int status = flush(spool);
    if (status < 0) return status;
    *offset = spool->base;
    spool->base += length;
    return 0;
}

/* ---------------------------------------------------------------- readers */

int hs_reader_open(hs_reader *reader, const hs_spool *spool, uint64_t offset, uint64_t length, size_t buffer_bytes) {
    memset(reader, 0, sizeof *reader);
    reader->spool = spool;
    if (spool->fd < 0) {
        reader->buffer = spool->buffer;
        reader->at = (size_t)offset;
        reader->end = (size_t)(offset + length);
        return 0;
    }
    reader->offset = offset;
    reader->left = length;
    if (buffer_bytes > length) buffer_bytes = length ? (size_t)length : 1;
    reader->buffer = malloc(buffer_bytes);
    if (reader->buffer == NULL) return -ENOMEM;
    reader->capacity = buffer_bytes;
    return 0;
}

void hs_reader_close(hs_reader *reader) {
    if (reader->capacity) free(reader->buffer);
    memset(reader, 0, sizeof *reader);
}

int64_t hs_reader_fill(hs_reader *reader, size_t need) {
    size_t held = reader->end - reader->at;
    if (reader->left == 0 || reader->capacity == 0) return (int64_t)held;
    if (need > reader->capacity) {
        uint8_t *grown = malloc(need);
        if (grown == NULL) return -ENOMEM;
        memcpy(grown, reader->buffer + reader->at, held);
        free(reader->buffer);
        reader->buffer = grown;
        reader->capacity = need;
    } else {
        memmove(reader->buffer, reader->buffer + reader->at, held);
    }
    reader->at = 0;
    reader->end = held;
    const hs_os *os = reader->spool->maker->os;
    while (reader->end < reader->capacity && reader->left) {
        size_t room = reader->capacity - reader->end;
        int64_t n = os->pread(os->ctx, reader->spool->fd, reader->buffer + reader->end,
                              room < reader->left ? room : (size_t)reader->left, reader->offset);
        if (n == -EINTR) continue;
        if (n < 0) return n;
        if (n == 0) return -EIO; /* our own file is shorter than what was written to it */
        reader->end += (size_t)n;
        reader->offset += (uint64_t)n;
        reader->left -= (uint64_t)n;
    }
    return (int64_t)reader->end;
}

int hs_reader_varint(hs_reader *reader, uint64_t *value) {
    int64_t there = hs_reader_need(reader, HS_VARINT_BYTES);
    if (there < 0) return (int)there;
    const uint8_t *p = reader->buffer + reader->at;
    size_t n = hs_load_varint(p, p + there, value);
    if (n == 0) return -EIO;
    reader->at += n;
    return 0;
}

/* ---------------------------------------------------------------- cursors and their merge */

int hs_cursor_next_packed(hs_cursor *cursor) {
    hs_reader *reader = &cursor->reader;
    if (cursor->row != NULL) reader->at += cursor->width;
    int64_t there = hs_reader_need(reader, cursor->width);
    if (HS_UNLIKELY(there < (int64_t)cursor->width)) {
        cursor->row = NULL;
        return there > 0 ? -EIO : (int)there;
    }
    cursor->row = reader->buffer + reader->at;
    return 1;
}

int hs_order_packed(const hs_cursor *a, const hs_cursor *b) { return memcmp(a->row, b->row, a->width); }

HS_INLINE uint64_t key_of(const hs_cursor *cursor) {
    if (HS_UNLIKELY(cursor->row == NULL)) return UINT64_MAX;
    if (HS_LIKELY(cursor->width >= 8)) return hs_load64be(cursor->row);
    uint64_t key = 0;
    for (size_t i = 0; i < cursor->width; i++) key |= (uint64_t)cursor->row[i] << (56 - 8 * i);
    return key;
}

HS_INLINE int before(const hs_merge *merge, unsigned a, unsigned b) {
    if (HS_LIKELY(merge->keys[a] != merge->keys[b])) return merge->keys[a] < merge->keys[b];
    const hs_cursor *x = merge->cursors[a], *y = merge->cursors[b];
    if (x->row == NULL || y->row == NULL) return x->row != NULL;
    return merge->order(x, y) <= 0;
}

void hs_merge_close(hs_merge *merge) {
    free(merge->tree);
    free(merge->keys);
    memset(merge, 0, sizeof *merge);
}

int hs_merge_open(hs_merge *merge, hs_cursor **cursors, unsigned count,
                  int (*order)(const hs_cursor *, const hs_cursor *)) {
    memset(merge, 0, sizeof *merge);
    merge->cursors = cursors;
    merge->count = count;
    merge->order = order;
    merge->tree = malloc(2 * (size_t)count * sizeof *merge->tree);
    merge->keys = malloc(count * sizeof *merge->keys);
    unsigned *winner = merge->tree == NULL ? NULL : malloc(2 * (size_t)count * sizeof *winner);
    if (winner == NULL || merge->keys == NULL) {
        free(winner);
        hs_merge_close(merge);
        return -ENOMEM;
    }
    for (unsigned i = 0; i < count; i++) {
        int status = cursors[i]->next(cursors[i]);
        if (status < 0) {
            free(winner);
            hs_merge_close(merge);
            return status;
        }
        merge->keys[i] = key_of(cursors[i]);
        winner[count + i] = i;
    }
    /* Leaves count .. 2 count - 1, inner nodes 1 .. count - 1: each holds the loser of its two, the winner goes up. */
    for (unsigned node = count - 1; node >= 1 && count > 1; node--) {
        unsigned left = winner[2 * node], right = winner[2 * node + 1];
        int first = before(merge, left, right);
        winner[node] = first ? left : right;
        merge->tree[node] = first ? right : left;
    }
    merge->tree[0] = count > 1 ? winner[1] : 0;
    free(winner);
    return 0;
}

int hs_merge_next(hs_merge *merge) {
    unsigned top = merge->tree[0];
    int status = merge->cursors[top]->next(merge->cursors[top]);
    if (HS_UNLIKELY(status < 0)) return status;
    merge->keys[top] = key_of(merge->cursors[top]);
    for (unsigned node = (merge->count + top) >> 1; node >= 1; node >>= 1) {
        unsigned other = merge->tree[node];
        if (before(merge, other, top)) {
            merge->tree[node] = top;
            top = other;
        }
    }
    merge->tree[0] = top;
    return 0;
}

/* ---------------------------------------------------------------- sorter of packed rows */

int hs_runs_add(hs_runs *runs, uint64_t offset, uint64_t bytes, unsigned layout) {
    if (runs->count == runs->capacity) {
        size_t capacity = runs->capacity ? runs->capacity * 2 : 16;
        hs_run *grown = realloc(runs->list, capacity * sizeof *grown);
        if (grown == NULL) return -ENOMEM;
        runs->list = grown;
        runs->capacity = capacity;
    }
    hs_run *run = &runs->list[runs->count++];
    run->offset = offset;
    run->bytes = bytes;
    run->layout = layout;
    return 0;
}

void hs_runs_clear(hs_runs *runs) {
    free(runs->list);
    memset(runs, 0, sizeof *runs);
}

void hs_rows_free(uint8_t **rows, size_t *mapped_bytes) {
    if (*mapped_bytes) hs_os_unmap(*rows, *mapped_bytes);
    else free(*rows);
    *rows = NULL;
    *mapped_bytes = 0;
}

int hs_rows_grow(uint8_t **rows, size_t *mapped_bytes, uint64_t used_bytes, uint64_t least, uint64_t most) {
    uint64_t wanted = used_bytes * 2;
    if (wanted < FIRST_BUFFER_BYTES) wanted = FIRST_BUFFER_BYTES;
    if (wanted > most) wanted = most;
    if (wanted < least) wanted = least;
    if (wanted > SIZE_MAX / 2) return -ENOMEM;
    int map = wanted >= MAP_FROM_BYTES;
    uint8_t *grown = map ? hs_os_map((size_t)wanted) : malloc((size_t)wanted);
    if (grown == NULL) return -ENOMEM;
    if (used_bytes) memcpy(grown, *rows, (size_t)used_bytes);
    hs_rows_free(rows, mapped_bytes);
    *rows = grown;
    if (map) *mapped_bytes = (size_t)wanted;
    return 0;
}

void hs_sorter_init(hs_sorter *sorter, const hs_temp_maker *maker, size_t width, size_t memory_bytes, size_t buffer_bytes,
                    hs_sort_poll poll, void *poll_ctx) {
    memset(sorter, 0, sizeof *sorter);
    sorter->width = width;
    sorter->memory_bytes = memory_bytes;
    sorter->buffer_bytes = buffer_bytes < width ? width : buffer_bytes;
    sorter->poll = poll;
    sorter->poll_ctx = poll_ctx;
    hs_spool_init(&sorter->spool, maker, 0);
}

static void end_merge(hs_sorter *sorter) {
    if (sorter->merging) hs_merge_close(&sorter->merge);
    sorter->merging = 0;
    for (unsigned i = 0; i < sorter->cursor_count; i++) hs_reader_close(&sorter->cursors[i].reader);
    free(sorter->cursors);
    free(sorter->cursor_list);
    sorter->cursors = NULL;
    sorter->cursor_list = NULL;
    sorter->cursor_count = 0;
}

void hs_sorter_clear(hs_sorter *sorter) {
    end_merge(sorter);
    hs_rows_free(&sorter->rows, &sorter->mapped_bytes);
    hs_runs_clear(&sorter->runs);
    if (sorter->spool.maker != NULL) hs_spool_clear(&sorter->spool);
    sorter->used = sorter->capacity = sorter->count = 0;
}

static int sort_rows(hs_sorter *sorter) {
    int stopped = hs_sort_rows(sorter->rows, sorter->used, sorter->width, sorter->width, sorter->poll, sorter->poll_ctx);
    return stopped ? HS_RUN_STOPPED : 0;
}

static int write_run(hs_sorter *sorter) {
    uint64_t offset, bytes = sorter->used * sorter->width;
    int status = sort_rows(sorter);
    if (status == 0) status = hs_spool_reserve(&sorter->spool, bytes, &offset);
    if (status == 0) status = hs_spool_write(&sorter->spool, sorter->rows, (size_t)bytes, offset);
    if (status == 0) status = hs_runs_add(&sorter->runs, offset, bytes, 0);
    sorter->used = 0;
    return status;
}

int hs_sorter_room(hs_sorter *sorter) {
    uint64_t most = sorter->memory_bytes / sorter->width;
    if (most == 0) most = 1;
    if (sorter->capacity == most) return write_run(sorter);
    uint64_t capacity = sorter->capacity ? sorter->capacity * 2 : 64;
    if (capacity > most) capacity = most;
    uint64_t bytes = capacity * sorter->width;
    int status = hs_rows_grow(&sorter->rows, &sorter->mapped_bytes, sorter->used * sorter->width, bytes, bytes);
    if (status == 0) sorter->capacity = capacity;
    return status;
}

/* Cursors over runs first .. first + count - 1 of the file. */
static int open_runs(hs_sorter *sorter, size_t first, size_t count, size_t buffer_bytes) {
    sorter->cursors = calloc(count, sizeof *sorter->cursors);
    sorter->cursor_list = calloc(count, sizeof *sorter->cursor_list);
    if (sorter->cursors == NULL || sorter->cursor_list == NULL) return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        hs_cursor *cursor = &sorter->cursors[i];
        const hs_run *run = &sorter->runs.list[first + i];
        int status = hs_reader_open(&cursor->reader, &sorter->spool, run->offset, run->bytes, buffer_bytes);
        if (status < 0) return status;
        sorter->cursor_count = (unsigned)i + 1;
        cursor->next = hs_cursor_next_packed;
        cursor->width = sorter->width;
        sorter->cursor_list[i] = cursor;
    }
    int status = hs_merge_open(&sorter->merge, sorter->cursor_list, (unsigned)count, hs_order_packed);
    sorter->merging = status == 0;
    return status;
}

static size_t fan_in(const hs_sorter *sorter) {
    size_t most = sorter->memory_bytes / sorter->buffer_bytes;
    return most < 2 ? 2 : most > 1024 ? 1024 : most;
}

/* Merges the runs in groups into fewer and longer ones, in a new file. */
static int merge_pass(hs_sorter *sorter) {
    size_t at_once = fan_in(sorter);
    hs_spool out;
    hs_runs runs = {0};
    int status = 0;
    uint64_t since_poll = 0;
    hs_spool_init(&out, sorter->spool.maker, FILE_BUFFER_BYTES < sorter->memory_bytes ? FILE_BUFFER_BYTES : sorter->memory_bytes);
    for (size_t first = 0; first < sorter->runs.count && status >= 0; first += at_once) {
        size_t count = sorter->runs.count - first < at_once ? sorter->runs.count - first : at_once;
        uint64_t offset = hs_spool_bytes(&out);
        status = open_runs(sorter, first, count, sorter->buffer_bytes);
        const uint8_t *row;
        while (status >= 0 && (row = hs_sorter_row(sorter)) != NULL) {
            status = hs_spool_put(&out, row, sorter->width);
            if (status >= 0) status = hs_sorter_next(sorter);
            if (++since_poll >> 20) {
                since_poll = 0;
                if (sorter->poll && sorter->poll(sorter->poll_ctx)) status = HS_RUN_STOPPED;
            }
        }
        end_merge(sorter);
        if (status >= 0) status = hs_runs_add(&runs, offset, hs_spool_bytes(&out) - offset, 0);
    }
    if (status >= 0) status = hs_spool_finish(&out);
    hs_spool_clear(&sorter->spool);
    hs_runs_clear(&sorter->runs);
    sorter->spool = out;
    sorter->runs = runs;
    return status < 0 ? status : 0;
}

int hs_sorter_finish(hs_sorter *sorter) {
    int status = 0;
    if (sorter->runs.count == 0) return sort_rows(sorter);
    if (sorter->used) status = write_run(sorter);
    hs_rows_free(&sorter->rows, &sorter->mapped_bytes);
    sorter->capacity = 0;
    if (status == 0) status = hs_spool_finish(&sorter->spool);
    while (status == 0 && sorter->runs.count > fan_in(sorter)) status = merge_pass(sorter);
    return status;
}

int hs_sorter_rewind(hs_sorter *sorter) {
    end_merge(sorter);
    if (sorter->runs.count) {
        size_t share = sorter->memory_bytes / sorter->runs.count;
        if (share > 4 * FILE_BUFFER_BYTES) share = 4 * FILE_BUFFER_BYTES;
        return open_runs(sorter, 0, sorter->runs.count, share < sorter->buffer_bytes ? sorter->buffer_bytes : share);
    }
    /* All in memory: one cursor whose buffer is the rows themselves. */
    sorter->cursors = calloc(1, sizeof *sorter->cursors);
    sorter->cursor_list = calloc(1, sizeof *sorter->cursor_list);
    if (sorter->cursors == NULL || sorter->cursor_list == NULL) return -ENOMEM;
    hs_cursor *cursor = &sorter->cursors[0];
    cursor->next = hs_cursor_next_packed;
    cursor->width = sorter->width;
    cursor->reader.spool = &sorter->spool;
    cursor->reader.buffer = sorter->rows;
    cursor->reader.end = (size_t)(sorter->used * sorter->width);
    sorter->cursor_list[0] = cursor;
    sorter->cursor_count = 1;
    int status = hs_merge_open(&sorter->merge, sorter->cursor_list, 1, hs_order_packed);
    sorter->merging = status == 0;
    return status;
}
