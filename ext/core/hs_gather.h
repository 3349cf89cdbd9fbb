/* hs_gather.h -- from sorted rows to entries: equal digests and size become one entry with all its listings.
 *
 * Rows of one shape come from a merge in the order of hs_batch.h; entries go out in the same order, as two spools: the digests,
 * packed, and the *values*, two varints an entry (size + 1 or 0, group value). Groups of listings without a record id are kept
 * once each in a dictionary; the others go to one spool of record ids, inline. Both are in the file's own form
 * (docs/format/hset.md, sections 10 and 11).
 *
 * Memory: the dictionary of groups, the listings of one entry, buffers. One thread. Results: see hs_run.h.
 */
#ifndef HS_GATHER_H
#define HS_GATHER_H

#include "hs_batch.h"
#include "hs_sha256.h"

enum {
    HS_GATHER_TOO_MANY_IDS = -100011, /* the group of one entry would be longer than a reader takes */
    HS_GATHER_NOT_IN_BASE = -100012   /* a row to cancel is not there */
};
enum { HS_MAX_GROUP_BYTES = 64 * 1024 * 1024, HS_ROLES = 5 };

typedef struct hs_listing {
    uint32_t class_number;
    unsigned ref, ops;   /* ref: length + 1, 0 for none; ops: bit HS_OP_* */
    uint64_t ref_at;     /* in the arena */
} hs_listing;

/* Distinct byte strings, numbered in the order they came. */
typedef struct hs_groups {
    uint8_t *bytes;              /* one after another: the section as it is written */
    uint64_t used, capacity;
    uint64_t *starts, count, starts_capacity;
    uint64_t *slots, slot_count; /* number + 1, 0 = free; slot_count a power of two */
} hs_groups;

/* Returns the number of the string, or < 0. */
int64_t hs_groups_add(hs_groups *groups, const uint8_t *data, size_t length);
void hs_groups_clear(hs_groups *groups);

/* What a removed record is known by: the first bytes of SHA-256 over the number of its source and its id. */
enum { HS_REMOVED_BYTES = 16 };
void hs_removed_key(uint32_t source, const uint8_t *ref, size_t ref_bytes, hs_sha256_compress compress,
                    uint8_t key[HS_REMOVED_BYTES]);

typedef struct hs_gather {
    /* By class as rows have it; the caller's. */
    const uint32_t *final_class, *source_of_class;
    const uint8_t *role_of_class;
    uint32_t class_count;
    hs_sha256_compress compress;
    const uint8_t *removed;      /* sorted keys of HS_REMOVED_BYTES */
    uint64_t removed_count;
    /* Results over all shapes. */
    hs_spool refs;
    hs_groups groups;
    uint64_t entry_count, removed_rows, cancelled_rows, role_counts[HS_ROLES], largest_size, largest_group;
    int every_size;
    uint8_t *used;               /* by class: an entry has a listing of it; after hs_gather_end */
    /* The entry that is being put together. */
    int have;
    uint64_t key, size;
    uint8_t digests[HS_SORT_MAX_WIDTH];
    hs_listing *listings;
    uint64_t listing_count, listing_capacity;
    uint8_t *arena, *body;
    uint64_t arena_used, arena_capacity, body_capacity;
    uint64_t *single;            /* group value of one listing without id, by class; UINT64_MAX: not known yet */
    uint64_t *single_counts;     /* entries with it, by class */
} hs_gather;

typedef struct hs_column {
    hs_spool digests, values;
    unsigned shape, digest_bytes, lowest_bytes; /* bytes of the first digest */
    uint64_t first_entry, entries;
    int lowest_shared;           /* a digest of the lowest kind leads to several entries, the test entry counted */
    uint64_t before_test;        /* entries whose lowest digest comes before the test entry's */
    const uint8_t *test_lowest;
    uint64_t last_key;           /* of the last entry that went out, and its lowest digest */
    uint8_t last_lowest[32];
} hs_column;

int hs_gather_init(hs_gather *gather, const hs_temp_maker *maker, size_t spool_bytes, uint32_t class_count,
                   const uint32_t *final_class, const uint32_t *source_of_class, const uint8_t *role_of_class,
                   hs_sha256_compress compress);
void hs_gather_clear(hs_gather *gather);

/* Takes up to `most` rows from the merge. Returns 1 while there are more, 0 when the shape is done. */
int hs_gather_step(hs_gather *gather, hs_column *column, hs_merge *merge, uint64_t most, uint64_t *rows);
/* After the last shape: adds what entries of one listing count to the roles. */
void hs_gather_end(hs_gather *gather);

/* Rows of the merge as one run of layout HS_ROW_FULL, without those that were removed: for merges in several passes. Returns
 * 1 while there are more, 0 at the end. */
int hs_gather_copy_step(const hs_gather *gather, hs_merge *merge, unsigned digest_bytes, hs_spool *out, uint64_t most,
                        uint64_t *rows);

#endif
