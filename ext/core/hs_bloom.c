/* hs_bloom.c -- build and probe the split-block Bloom filter described in hs_bloom.h.
 *
 * A probe runs two heads over the batch: one computes the block of a later digest and prefetches it, the other tests the
 * current digest, so that its line is on its way or there.
 */
#include "hs_bloom.h"

#include "hs_cpu.h"

#if HS_KERNELS_X86
#include <immintrin.h>
#endif

/* Odd multipliers of the Apache Parquet split-block filter specification. */
static const uint32_t SALT[HS_BLOOM_WORDS] = {0x47b6137bu, 0x44974d91u, 0x8824ad5bu, 0xa2b7289du,
                                              0x705495c7u, 0x2df1424bu, 0x9efc4947u, 0x5c6bfb31u};

HS_INLINE uint32_t bit_hash(const uint8_t *digest) { return hs_load32le(digest + 8); }

/* Lines asked for ahead of the test. Measured at 10 M keys (20 MB filter, 2 vCPU EPYC Zen 3, AVX2): distance 8: 14 ns a
 * key, 16: 12, 32: 7.5, 64: 7, 128: 6 to 9; asking for a whole batch of 256 first and testing it afterwards: 13.5, since
 * the fill buffers are then full in one half of the time and idle in the other. */
enum { AHEAD = 64 };

HS_INLINE const uint8_t *block_at(const hs_bloom *filter, const uint8_t *digest) {
    return filter->blocks + HS_BLOOM_BLOCK_BYTES * hs_bloom_block_of(digest, filter->block_count);
}

size_t hs_bloom_probe_portable(const hs_bloom *filter, const uint8_t *digests, size_t width, size_t count,
                               uint8_t *may_match) {
    size_t found = 0;
    for (size_t i = 0; i < count && i < AHEAD; i++) HS_PREFETCH(block_at(filter, digests + i * width));
    for (size_t i = 0; i < count; i++) {
        const uint8_t *digest = digests + i * width, *block = block_at(filter, digest);
        if (count - i > AHEAD) HS_PREFETCH(block_at(filter, digest + AHEAD * width));
        uint32_t h = bit_hash(digest), missing = 0;
        for (int w = 0; w < HS_BLOOM_WORDS; w++)
            missing |= ~hs_load32le(block + 4 * w) & (1u << ((h * SALT[w]) >> 27));
        may_match[i] = !missing;
        found += !missing;
    }
    return found;
}

#if HS_KERNELS_X86
HS_TARGET("avx2")
size_t hs_bloom_probe_avx2(const hs_bloom *filter, const uint8_t *digests, size_t width, size_t count,
                           uint8_t *may_match) {
    size_t found = 0;
    const __m256i salt = _mm256_loadu_si256((const __m256i *)(const void *)SALT);
    const __m256i one = _mm256_set1_epi32(1);
    for (size_t i = 0; i < count && i < AHEAD; i++) HS_PREFETCH(block_at(filter, digests + i * width));
    for (size_t i = 0; i < count; i++) {
        const uint8_t *digest = digests + i * width, *block = block_at(filter, digest);
        if (count - i > AHEAD) HS_PREFETCH(block_at(filter, digest + AHEAD * width));
        __m256i h = _mm256_set1_epi32((int)bit_hash(digest));
        __m256i bit = _mm256_sllv_epi32(one, _mm256_srli_epi32(_mm256_mullo_epi32(h, salt), 27));
        int all = _mm256_testc_si256(_mm256_loadu_si256((const __m256i *)(const void *)block), bit);
        may_match[i] = (uint8_t)all;
        found += (size_t)all;
    }
    return found;
}
#endif

hs_bloom_probe hs_bloom_choose(uint32_t features) {
#if HS_KERNELS_X86
    if (features & HS_CPU_AVX2) return hs_bloom_probe_avx2;
#endif
    (void)features;
    return hs_bloom_probe_portable;
}

uint64_t hs_bloom_block_count(uint64_t digest_count, uint64_t millibits) {
    const uint64_t block_millibits = 256 * 1000;
    /* digest_count x millibits needs more than 64 bits from 10^15 digests on: split it. */
    uint64_t blocks = digest_count / block_millibits * millibits;
    uint64_t rest = digest_count % block_millibits * millibits;
    blocks += (rest + block_millibits - 1) / block_millibits;
    return blocks ? blocks : 1;
}

void hs_bloom_insert(uint8_t *blocks, uint64_t block_count, uint64_t first_block, const uint8_t *digests, size_t width,
                     size_t count) {
    for (size_t i = 0; i < count; i++) {
        const uint8_t *digest = digests + i * width;
        uint8_t *block = blocks + HS_BLOOM_BLOCK_BYTES * (hs_bloom_block_of(digest, block_count) - first_block);
        uint32_t h = bit_hash(digest);
        for (int w = 0; w < HS_BLOOM_WORDS; w++) {
            uint32_t bits = hs_load32le(block + 4 * w) | 1u << ((h * SALT[w]) >> 27);
            hs_store32le(block + 4 * w, bits);
        }
    }
}

HS_INLINE unsigned popcount32(uint32_t x) {
    x -= (x >> 1) & 0x55555555u;
    x = (x & 0x33333333u) + ((x >> 2) & 0x33333333u);
    return (unsigned)((((x + (x >> 4)) & 0x0f0f0f0fu) * 0x01010101u) >> 24);
}

double hs_bloom_fpr(const hs_bloom *filter) {
    double sum = 0;
    for (uint64_t b = 0; b < filter->block_count; b++) {
        double share = 1;
        for (int w = 0; w < HS_BLOOM_WORDS; w++)
            share *= popcount32(hs_load32le(filter->blocks + b * HS_BLOOM_BLOCK_BYTES + 4 * w)) / 32.0;
        sum += share;
    }
    return sum / (double)filter->block_count;
}
