/* hs_bloom.h -- the filter: a split-block Bloom filter over digests.
 *
 * Problem: nearly every file is on no list, so the answer "no match" must cost one cache line and no comparison.
 * Layout (after F. Putze, P. Sanders, J. Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", JEA 14, 2009, and the
 * split-block form of the Apache Parquet specification): blocks of 256 bits, eight words of 32 bits; a digest sets one
 * bit in each word of one block. One probe reads 32 bytes of one cache line.
 *
 * Digest bits are the hash, no second hash function is used:
 *   block = high 64 bits of (first 8 digest bytes, big-endian) x (number of blocks)
 *   word i gets bit ((bytes 8..11, little-endian) x salt[i]) >> 27
 * The block number grows with the digest in byte order, so a filter is built front to back from sorted digests.
 * Digests must be at least 12 bytes. Any thread may probe; building is for one thread.
 */
#ifndef HS_BLOOM_H
#define HS_BLOOM_H

#include "hs_port.h"

enum { HS_BLOOM_BLOCK_BYTES = 32, HS_BLOOM_WORDS = 8, HS_BLOOM_MIN_DIGEST_BYTES = 12 };

typedef struct hs_bloom {
    const uint8_t *blocks; /* 32-byte aligned, 8 little-endian words a block */
    uint64_t block_count;  /* > 0 */
} hs_bloom;

/* Tests every digest of `digests` (count of them, `width` bytes apart): may_match[i] becomes 1 or 0. Returns how many may
 * match. Lines are prefetched ahead of the test, so a large batch is cheaper a digest than a small one. */
typedef size_t (*hs_bloom_probe)(const hs_bloom *filter, const uint8_t *digests, size_t width, size_t count,
                                 uint8_t *may_match);

size_t hs_bloom_probe_portable(const hs_bloom *filter, const uint8_t *digests, size_t width, size_t count,
                               uint8_t *may_match);
#if HS_KERNELS_X86
size_t hs_bloom_probe_avx2(const hs_bloom *filter, const uint8_t *digests, size_t width, size_t count,
                           uint8_t *may_match);
#endif

/* The measured winner for these HS_CPU_* bits. */
hs_bloom_probe hs_bloom_choose(uint32_t features);

/* Number of blocks for `digest_count` digests at `millibits` / 1000 bits each; at least 1. */
uint64_t hs_bloom_block_count(uint64_t digest_count, uint64_t millibits);

/* Sets the bits of `count` packed digests in zeroed `blocks`, of which the first is block number `first_block` of the
 * whole filter: a filter larger than memory is built in windows. Digests outside the window are a caller's error. */
void hs_bloom_insert(uint8_t *blocks, uint64_t block_count, uint64_t first_block, const uint8_t *digests, size_t width,
                     size_t count);

/* The block a digest falls into. */
HS_INLINE uint64_t hs_bloom_block_of(const uint8_t *digest, uint64_t block_count) {
    return hs_mulhi64(hs_load64be(digest), block_count);
}

/* Probability that a random digest which is not in the filter may match it: exact for these very bits, the mean over
 * all blocks of the product of the shares of set bits of their eight words. */
double hs_bloom_fpr(const hs_bloom *filter);

#endif
