/* hs_lanes.h -- the lane scheduler: many streams, each digested for one or more kinds, through the multi-lane kernels.
 *
 * MD5 and SHA are serial within a stream, but different streams are independent. A *slot* is one stream with its state of
 * each planned kind. The caller keeps slots fed with whole blocks; one step advances every fed slot by as many blocks as the
 * shortest has, through the kernel that measured best for the number of slots that are alive. A stream keeps its slot until its
 * last block, then the next one takes it: long streams share the lanes with short ones.
 *
 * Units: blocks of 64 bytes. One scheduler belongs to one thread. Nothing allocates, nothing can fail after hs_lanes_init.
 */
#ifndef HS_LANES_H
#define HS_LANES_H

#include "hs_kernels.h"

enum { HS_SLOTS_MAX = HS_LANES_MAX };

typedef struct hs_lanes {
    uint32_t features;                       /* HS_CPU_* bits that kernels may use */
    unsigned kind_count, kinds[HS_KIND_COUNT];
    const hs_kernel *forced[HS_KIND_COUNT];  /* by kind; NULL: the measured winner for the slots alive */
    uint32_t state[HS_KIND_COUNT][HS_SLOTS_MAX][HS_STATE_WORDS_MAX]; /* by position in kinds */
    const uint8_t *data[2][HS_SLOTS_MAX];    /* by order of the length in the tail: 0 MD5, 1 the SHA kinds */
    size_t blocks[HS_SLOTS_MAX];             /* fed and not yet digested; 0: nothing to do for this slot */
} hs_lanes;

/* `forced` (by kind HS_MD5 ...) may be NULL. */
void hs_lanes_init(hs_lanes *lanes, const int *kinds, unsigned kind_count, uint32_t features,
                   const hs_kernel *const forced[HS_KIND_COUNT]);

/* Slots that keep the widest kernel of the plan full. */
unsigned hs_lanes_slot_count(const hs_lanes *lanes);

/* A new stream takes the slot. */
void hs_lanes_start(hs_lanes *lanes, unsigned slot);

/* The next whole blocks of the slot's stream; they must stay where they are until digested. */
void hs_lanes_feed(hs_lanes *lanes, unsigned slot, const uint8_t *data, size_t block_count);

/* The last blocks of the stream, where kinds of both orders are planned: the same number of blocks, padded for each. */
void hs_lanes_feed_tails(hs_lanes *lanes, unsigned slot, const uint8_t *md5_tail, const uint8_t *sha_tail,
                         size_t block_count);

/* Nonzero when MD5 and a SHA kind are both planned: their tails differ, so body and tail cannot be fed as one. */
int hs_lanes_two_tails(const hs_lanes *lanes);

/* Advances every fed slot by the same number of blocks, returned; 0 when none is fed. */
size_t hs_lanes_step(hs_lanes *lanes);

/* The digest of the slot's stream for the kind at this position of `kinds`, after its tail was digested. */
void hs_lanes_digest(const hs_lanes *lanes, unsigned slot, unsigned position, uint8_t *digest);

#endif
