/* hs_gather.c -- see hs_gather.h. */
#include "hs_gather.h"

#include <errno.h>
#include <stdlib.h>

/* ---------------------------------------------------------------- groups */

static uint64_t hash_of(const uint8_t *data, size_t length) {
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < length; i++) h = (h ^ data[i]) * 0x100000001b3u;
    return h ^ h >> 32;
}

static uint64_t end_of(const hs_groups *groups, uint64_t number) {
    return number + 1 < groups->count ? groups->starts[number + 1] : groups->used;
}

static void put_in_slot(hs_groups *groups, uint64_t number) {
    uint64_t start = groups->starts[number];
    uint64_t slot = hash_of(groups->bytes + start, (size_t)(end_of(groups, number) - start)) & (groups->slot_count - 1);
    while (groups->slots[slot]) slot = (slot + 1) & (groups->slot_count - 1);
    groups->slots[slot] = number + 1;
}

void hs_groups_clear(hs_groups *groups) {
    free(groups->bytes);
    free(groups->starts);
    free(groups->slots);
    memset(groups, 0, sizeof *groups);
}

/* Makes room for `more` further elements. */
static int room(void *array, uint64_t *capacity, uint64_t used, uint64_t more, size_t element) {
    if (more <= *capacity - used) return 0;
    uint64_t wanted = *capacity * 2 < used + more ? used + more : *capacity * 2;
    if (wanted < 64) wanted = 64;
    if (wanted > SIZE_MAX / element) return -ENOMEM;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    grown = realloc(old, (size_t)wanted * element);
    if (grown == NULL) return -ENOMEM;
    memcpy(array, &grown, sizeof grown);
    *capacity = wanted;
    return 0;
}

int64_t hs_groups_add(hs_groups *groups, const uint8_t *data, size_t length) {
    if (groups->count * 2 >= groups->slot_count) {
        uint64_t slot_count = groups->slot_count ? groups->slot_count * 2 : 64;
        uint64_t *slots = calloc((size_t)slot_count, sizeof *slots);
        if (slots == NULL) return -ENOMEM;
        free(groups->slots);
        groups->slots = slots;
        groups->slot_count = slot_count;
        for (uint64_t i = 0; i < groups->count; i++) put_in_slot(groups, i);
    }
    uint64_t slot = hash_of(data, length) & (groups->slot_count - 1);
    for (; groups->slots[slot]; slot = (slot + 1) & (groups->slot_count - 1)) {
        uint64_t number = groups->slots[slot] - 1, start = groups->starts[number];
        if (end_of(groups, number) - start == length && memcmp(groups->bytes + start, data, length) == 0)
            return (int64_t)number;
    }
    int status = room(&groups->bytes, &groups->capacity, groups->used, length, 1);
    if (status == 0) status = room(&groups->starts, &groups->starts_capacity, groups->count, 1, sizeof *groups->starts);
    if (status < 0) return status;
    groups->starts[groups->count] = groups->used;
    memcpy(groups->bytes + groups->used, data, length);
    groups->used += length;
    groups->slots[slot] = ++groups->count;
    return (int64_t)groups->count - 1;
}

/* ---------------------------------------------------------------- removed records */

void hs_removed_key(uint32_t source, const uint8_t *ref, size_t ref_bytes, hs_sha256_compress compress,
                    uint8_t key[HS_REMOVED_BYTES]) {
    uint8_t number[4], digest[HS_SHA256_BYTES];
    hs_sha256 s;
    hs_store32le(number, source);
    hs_sha256_init(&s, compress);
    hs_sha256_update(&s, number, sizeof number);
    if (ref_bytes) hs_sha256_update(&s, ref, ref_bytes);
    hs_sha256_final(&s, digest);
    memcpy(key, digest, HS_REMOVED_BYTES);
}

static int is_removed(const hs_gather *g, const hs_row *row) {
    uint8_t key[HS_REMOVED_BYTES];
    if (g->removed_count == 0 || row->ref == 0) return 0;
    hs_removed_key(g->source_of_class[row->class_number], row->ref_at, row->ref - 1, g->compress, key);
    uint64_t low = 0, high = g->removed_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int order = memcmp(g->removed + middle * HS_REMOVED_BYTES, key, HS_REMOVED_BYTES);
        if (order == 0) return 1;
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return 0;
}

/* ---------------------------------------------------------------- entries */

int hs_gather_init(hs_gather *g, const hs_temp_maker *maker, size_t spool_bytes, uint32_t class_count,
                   const uint32_t *final_class, const uint32_t *source_of_class, const uint8_t *role_of_class,
                   hs_sha256_compress compress) {
    memset(g, 0, sizeof *g);
    hs_spool_init(&g->refs, maker, spool_bytes);
    g->class_count = class_count;
    g->final_class = final_class;
    g->source_of_class = source_of_class;
    g->role_of_class = role_of_class;
    g->compress = compress;
    g->every_size = 1;
    g->single = malloc((class_count + (size_t)1) * sizeof *g->single);
    g->single_counts = calloc(class_count + (size_t)1, sizeof *g->single_counts);
    g->used = calloc(class_count + (size_t)1, 1);
    if (g->single == NULL || g->single_counts == NULL || g->used == NULL) return -ENOMEM;
    memset(g->single, 0xff, (class_count + (size_t)1) * sizeof *g->single);
    return 0;
}

void hs_gather_clear(hs_gather *g) {
    if (g->refs.maker != NULL) hs_spool_clear(&g->refs);
    hs_groups_clear(&g->groups);
    free(g->listings);
    free(g->arena);
    free(g->body);
    free(g->single);
    free(g->single_counts);
    free(g->used);
    memset(g, 0, sizeof *g);
}

/* Listings in the order of their final classes; those of one class keep theirs, which is the order of ids. */
static int comes_after(const hs_gather *g, const hs_listing *a, const hs_listing *b) {
    uint32_t x = g->final_class[a->class_number], y = g->final_class[b->class_number];
    if (x != y) return x > y;
    return a->ref_at != b->ref_at ? a->ref_at > b->ref_at : a->ref > b->ref;
}

static void sift(const hs_gather *g, uint64_t at, uint64_t count) {
    hs_listing *list = g->listings, moved = list[at];
    for (uint64_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && comes_after(g, &list[child + 1], &list[child])) child++;
        if (!comes_after(g, &list[child], &moved)) break;
        list[at] = list[child];
    }
    list[at] = moved;
}

static void sort_listings(const hs_gather *g) {
    hs_listing *list = g->listings;
    uint64_t count = g->listing_count, i = 1;
    while (i < count && !comes_after(g, &list[i - 1], &list[i])) i++;
    if (i >= count) return;
    for (i = count / 2; i-- > 0;) sift(g, i, count);
    for (i = count; i-- > 1;) {
        hs_listing moved = list[0];
        list[0] = list[i];
        list[i] = moved;
        sift(g, 0, i);
    }
}

/* The group value of the listings at hand. */
static int group_of(hs_gather *g, uint64_t *value) {
    uint64_t bytes = HS_VARINT_BYTES, used = 0;
    int with_ref = 0;
    for (uint64_t i = 0; i < g->listing_count; i++) {
        const hs_listing *l = &g->listings[i];
        bytes += 5 + 3 + (l->ref ? l->ref - 1 : 0);
        with_ref |= l->ref != 0;
    }
    int status = room(&g->body, &g->body_capacity, 0, bytes + HS_VARINT_BYTES, 1);
    if (status < 0) return status;
    uint8_t *p = g->body + HS_VARINT_BYTES; /* the length goes before it */
    used += hs_store_varint(p, g->listing_count);
    for (uint64_t i = 0; i < g->listing_count; i++) {
        const hs_listing *l = &g->listings[i];
        used += hs_store_varint(p + used, g->final_class[l->class_number]);
        used += hs_store_varint(p + used, l->ref);
        if (l->ref > 1) {
            memcpy(p + used, g->arena + l->ref_at, l->ref - 1);
            used += l->ref - 1;
        }
    }
    if (with_ref && used > HS_MAX_GROUP_BYTES) return HS_GATHER_TOO_MANY_IDS;
    uint8_t length[HS_VARINT_BYTES];
    size_t n = hs_store_varint(length, used);
    memcpy(p - n, length, n);
    if (!with_ref) {
        int64_t number = hs_groups_add(&g->groups, p - n, (size_t)used + n);
        if (number < 0) return (int)number;
        *value = (uint64_t)number << 1;
        return 0;
    }
    *value = hs_spool_bytes(&g->refs) << 1 | 1;
    return hs_spool_put(&g->refs, p - n, (size_t)used + n);
}

/* Takes out the listings that were cancelled or never there; < 0 where one to cancel is not in the base. */
static int settle(hs_gather *g) {
    uint64_t kept = 0;
    for (uint64_t i = 0; i < g->listing_count; i++) {
        hs_listing *l = &g->listings[i];
        if (l->ops >> HS_OP_CANCEL & 1) {
            if (!(l->ops >> HS_OP_BASE & 1)) return HS_GATHER_NOT_IN_BASE;
            g->cancelled_rows++;
            if (!(l->ops >> HS_OP_ADD & 1)) continue;
        }
        g->listings[kept++] = *l;
    }
    g->listing_count = kept;
    return 0;
}

/* What an entry shares with the one before decides whether rows can be left unsaid in the file. */
static void note_lowest(const hs_gather *g, hs_column *c) {
    if (c->entries && g->key == c->last_key && memcmp(g->digests, c->last_lowest, c->lowest_bytes) == 0) c->lowest_shared = 1;
    if (c->test_lowest != NULL) {
        int order = memcmp(g->digests, c->test_lowest, c->lowest_bytes);
        if (order == 0) c->lowest_shared = 1;
        c->before_test += order < 0;
    }
    c->last_key = g->key;
    memcpy(c->last_lowest, g->digests, c->lowest_bytes);
}

static int finish_entry(hs_gather *g, hs_column *c) {
    uint64_t value;
    int status;
    if (HS_LIKELY(g->listing_count == 1 && g->listings->ref == 0 && !(g->listings->ops >> HS_OP_CANCEL & 1))) {
        /* By far the most common case. */
        uint32_t number = g->listings->class_number;
        if (g->single[number] == UINT64_MAX && (status = group_of(g, &g->single[number])) < 0) return status;
        value = g->single[number];
        g->single_counts[number]++;
    } else {
        if ((status = settle(g)) < 0) return status;
        if (g->listing_count == 0) return 0;
        sort_listings(g);
        if ((status = group_of(g, &value)) < 0) return status;
        unsigned roles = 0;
        for (uint64_t i = 0; i < g->listing_count; i++) {
            roles |= 1u << g->role_of_class[g->listings[i].class_number];
            g->used[g->listings[i].class_number] = 1;
        }
        for (unsigned r = 0; r < HS_ROLES; r++) g->role_counts[r] += roles >> r & 1;
    }
    uint8_t packed[2 * HS_VARINT_BYTES];
    size_t n = 1;
    if (g->size == 0) {
        packed[0] = 0;
        g->every_size = 0;
    } else {
        n = hs_store_varint(packed, g->size);
        if (g->size > g->largest_size) g->largest_size = g->size;
    }
    n += hs_store_varint(packed + n, value);
    if (value > g->largest_group) g->largest_group = value;
    note_lowest(g, c);
    if ((status = hs_spool_put(&c->digests, g->digests, c->digest_bytes)) < 0) return status;
    c->entries++;
    g->entry_count++;
    return hs_spool_put(&c->values, packed, n);
}

static int add_listing(hs_gather *g, const hs_row *row) {
    if (row->class_number >= g->class_count) return -EINVAL;
    if (g->listing_count) {
        hs_listing *last = &g->listings[g->listing_count - 1];
        if (last->class_number == row->class_number && last->ref == row->ref &&
            (row->ref < 2 || memcmp(g->arena + last->ref_at, row->ref_at, row->ref - 1) == 0)) {
            last->ops |= 1u << row->op;
            return 0;
        }
    }
    int status = room(&g->listings, &g->listing_capacity, g->listing_count, 1, sizeof *g->listings);
    if (status < 0) return status;
    hs_listing *l = &g->listings[g->listing_count++];
    l->class_number = row->class_number;
    l->ref = row->ref;
    l->ops = 1u << row->op;
    l->ref_at = g->arena_used;
    if (row->ref > 1) {
        /* Base, added and cancelled ids may be twice what a group may have. */
        if (g->arena_used > 2u * HS_MAX_GROUP_BYTES) return HS_GATHER_TOO_MANY_IDS;
        if ((status = room(&g->arena, &g->arena_capacity, g->arena_used, row->ref - 1, 1)) < 0) return status;
        memcpy(g->arena + g->arena_used, row->ref_at, row->ref - 1);
        g->arena_used += row->ref - 1;
    }
    return 0;
}

int hs_gather_step(hs_gather *g, hs_column *c, hs_merge *merge, uint64_t most, uint64_t *rows) {
    int status;
    for (uint64_t i = 0; i < most; i++) {
        const hs_cursor *top = hs_merge_top(merge);
        if (HS_UNLIKELY(top->row == NULL)) {
            *rows += i;
            status = g->have && g->listing_count ? finish_entry(g, c) : 0;
            g->have = 0;
            g->listing_count = g->arena_used = 0;
            return status;
        }
        uint64_t key = hs_merge_key(merge);
        hs_row row = hs_row_parse(top->row + c->digest_bytes, top->layout);
        if (!is_removed(g, &row)) {
            if (!g->have || key != g->key || row.size != g->size || memcmp(top->row, g->digests, c->digest_bytes) != 0) {
                if (g->have && (status = finish_entry(g, c)) < 0) return status;
                g->have = 1;
                g->key = key;
                g->size = row.size;
                memcpy(g->digests, top->row, c->digest_bytes);
                g->listing_count = g->arena_used = 0;
            }
            if ((status = add_listing(g, &row)) < 0) return status;
        } else {
            g->removed_rows++;
        }
        if ((status = hs_merge_next(merge)) < 0) return status;
    }
    *rows += most;
    return 1;
}

void hs_gather_end(hs_gather *g) {
    for (uint32_t i = 0; i < g->class_count; i++) {
        g->role_counts[g->role_of_class[i]] += g->single_counts[i];
        if (g->single_counts[i]) g->used[i] = 1;
    }
}

int hs_gather_copy_step(const hs_gather *g, hs_merge *merge, unsigned digest_bytes, hs_spool *out, uint64_t most,
                        uint64_t *rows) {
    uint8_t packed[HS_SORT_MAX_WIDTH + HS_MAX_REF_BYTES];
    for (uint64_t i = 0; i < most; i++) {
        const hs_cursor *top = hs_merge_top(merge);
        if (top->row == NULL) {
            *rows += i;
            return 0;
        }
        hs_row row = hs_row_parse(top->row + digest_bytes, top->layout);
        int status = 0;
        if (!is_removed(g, &row)) {
            size_t n = hs_row_store(packed, top->row, digest_bytes, &row);
            status = hs_spool_put(out, packed, n);
        }
        if (status == 0) status = hs_merge_next(merge);
        if (status < 0) return status;
    }
    *rows += most;
    return 1;
}
