/* hs_vec.h -- vectors of 32-bit words under one set of names, so that each digest is written once.
 *
 * A lane text (hs_md5_lanes_text.h and its like) is included once per kernel, with HS_VEC naming the family:
 *
 *     hs_sse2_   4 lanes, x86-64 baseline       hs_avx2_   8 lanes       hs_neon_   4 lanes, arm64 baseline
 *
 * and writes V(add)(x, y) for the operation of that family. Lane k of a vector always belongs to stream k.
 *
 *     V(t)                the vector                V(width)            its lanes      V(target) of the function
 *     V(load) V(store)    unaligned, uint32_t *     V(set1)(x)          x in every lane
 *     V(add) V(sub) V(xor) V(and)                   V(andnot)(x, y)     ~x & y
 *     V(sel)(x, y, z)     x ? y : z, bit by bit
 *     V(rol)(x, n) V(shr)(x, n)                     n a constant, 0 < n < 32
 *     V(ror3)(x, p, q, r)                           x rotated right by p, by q and by r, xored; p < q < r
 *     V(load_le)(w, data, offset)                   w[0..15] = the words of the block at data[k] + offset, all streams
 *     V(load_be)(w, data, offset)                   the same for big-endian words
 *
 * Blocks are loaded 16 bytes a stream and transposed in registers. AVX2 puts streams k and k + 4 into the two halves
 * with an inserting load, so nothing has to cross halves afterwards: 12 operations for 4 words of 8 streams, and the
 * pattern is that of the four-lane families.
 */
#ifndef HS_VEC_H
#define HS_VEC_H

#include "hs_port.h"

#if HS_KERNELS_X86
#include <immintrin.h>
#elif HS_KERNELS_ARM64
#include <arm_neon.h>
#endif

#define HS_CAT_(a, b) a##b
#define HS_CAT(a, b) HS_CAT_(a, b)
#define V(name) HS_CAT(HS_VEC, name)

/* m(0, ...) m(1, ...) and so on: interleaves independent vectors in the text, so that arrays indexed by them become
 * registers at any optimisation level. */
#define HS_EACH_1(m, ...) m(0, __VA_ARGS__)
#define HS_EACH_2(m, ...) HS_EACH_1(m, __VA_ARGS__) m(1, __VA_ARGS__)
#define HS_EACH_3(m, ...) HS_EACH_2(m, __VA_ARGS__) m(2, __VA_ARGS__)
#define HS_EACH_4(m, ...) HS_EACH_3(m, __VA_ARGS__) m(3, __VA_ARGS__)
#define HS_EACH(n) HS_CAT(HS_EACH_, n)

/* For HS_EACH in a lane text of HS_SETS vectors: word-major state in and out of registers, copies and sums. */
#define HS_LANES (V(width) * HS_SETS)
#define HS_STATE_READ(s, x, word) x[s] = V(load)(state + (word) * HS_LANES + (s) * V(width));
#define HS_STATE_WRITE(s, x, word) V(store)(state + (word) * HS_LANES + (s) * V(width), x[s]);
#define HS_COPY(s, x, y) x[s] = y[s];
#define HS_SUM(s, x, y) x[s] = V(add)(x[s], y[s]);

#if HS_KERNELS_X86

typedef __m128i hs_sse2_t;
#define hs_sse2_width 4
#define hs_sse2_target HS_TARGET("sse2")
#define hs_sse2_load(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define hs_sse2_store(p, x) _mm_storeu_si128((__m128i *)(void *)(p), (x))
#define hs_sse2_set1(x) _mm_set1_epi32((int)(x))
#define hs_sse2_add(x, y) _mm_add_epi32((x), (y))
#define hs_sse2_sub(x, y) _mm_sub_epi32((x), (y))
#define hs_sse2_xor(x, y) _mm_xor_si128((x), (y))
#define hs_sse2_and(x, y) _mm_and_si128((x), (y))
#define hs_sse2_andnot(x, y) _mm_andnot_si128((x), (y))
#define hs_sse2_sel(x, y, z) hs_sse2_xor((z), hs_sse2_and((x), hs_sse2_xor((y), (z))))
#define hs_sse2_shr(x, n) _mm_srli_epi32((x), (n))
#define hs_sse2_rol(x, n) _mm_or_si128(_mm_slli_epi32((x), (n)), _mm_srli_epi32((x), 32 - (n)))

/* Nested: two-operand code would have to copy x before each of six shifts. 0.73 against 0.54 GB/s of SHA-256 (2 vCPU
 * EPYC, Zen 3); with three-operand code the flat form of AVX2 is 4 % faster. */
#define hs_sse2_ror3(x, p, q, r)                                                                                       \
    hs_sse2_rol(                                                                                                       \
        hs_sse2_xor(hs_sse2_rol(hs_sse2_xor(hs_sse2_rol((x), 32 - (r) + (q)), (x)), 32 - (q) + (p)), (x)), 32 - (p))

hs_sse2_target HS_INLINE __m128i hs_sse2_bswap(__m128i x) {
    x = _mm_or_si128(_mm_slli_epi16(x, 8), _mm_srli_epi16(x, 8));
    return _mm_shufflehi_epi16(_mm_shufflelo_epi16(x, 0xb1), 0xb1);
}

hs_sse2_target
HS_INLINE void hs_sse2_load_words(__m128i *w, const uint8_t *const *data, size_t offset, int big_endian) {
    for (int j = 0; j < 16; j += 4, offset += 16) {
        __m128i r0 = hs_sse2_load(data[0] + offset), r1 = hs_sse2_load(data[1] + offset);
        __m128i r2 = hs_sse2_load(data[2] + offset), r3 = hs_sse2_load(data[3] + offset);
        __m128i lo01 = _mm_unpacklo_epi32(r0, r1), hi01 = _mm_unpackhi_epi32(r0, r1);
        __m128i lo23 = _mm_unpacklo_epi32(r2, r3), hi23 = _mm_unpackhi_epi32(r2, r3);
        w[j] = _mm_unpacklo_epi64(lo01, lo23);
        w[j + 1] = _mm_unpackhi_epi64(lo01, lo23);
        w[j + 2] = _mm_unpacklo_epi64(hi01, hi23);
        w[j + 3] = _mm_unpackhi_epi64(hi01, hi23);
        if (big_endian)
            for (int i = j; i < j + 4; i++) w[i] = hs_sse2_bswap(w[i]);
    }
}

typedef __m256i hs_avx2_t;
#define hs_avx2_width 8
#define hs_avx2_target HS_TARGET("avx2")
#define hs_avx2_load(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define hs_avx2_store(p, x) _mm256_storeu_si256((__m256i *)(void *)(p), (x))
#define hs_avx2_set1(x) _mm256_set1_epi32((int)(x))
#define hs_avx2_add(x, y) _mm256_add_epi32((x), (y))
#define hs_avx2_sub(x, y) _mm256_sub_epi32((x), (y))
#define hs_avx2_xor(x, y) _mm256_xor_si256((x), (y))
#define hs_avx2_and(x, y) _mm256_and_si256((x), (y))
#define hs_avx2_andnot(x, y) _mm256_andnot_si256((x), (y))
#define hs_avx2_sel(x, y, z) hs_avx2_xor((z), hs_avx2_and((x), hs_avx2_xor((y), (z))))
#define hs_avx2_shr(x, n) _mm256_srli_epi32((x), (n))
/* Moving bytes is one operation instead of three. */
#define hs_avx2_rol(x, n)                                                                                              \
    ((n) == 16 ? _mm256_shuffle_epi8((x), hs_avx2_repeat(0x0d0c0f0e09080b0aLL, 0x0504070601000302LL))                  \
               : _mm256_or_si256(_mm256_slli_epi32((x), (n)), _mm256_srli_epi32((x), 32 - (n))))
#define hs_avx2_ror3(x, p, q, r)                                                                                       \
    hs_avx2_xor(hs_avx2_xor(hs_avx2_rol((x), 32 - (p)), hs_avx2_rol((x), 32 - (q))), hs_avx2_rol((x), 32 - (r)))
#define hs_avx2_repeat(hi, lo) _mm256_set_epi64x((hi), (lo), (hi), (lo))

hs_avx2_target HS_INLINE __m256i hs_avx2_row(const uint8_t *lower, const uint8_t *upper) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(hs_sse2_load(lower)), hs_sse2_load(upper), 1);
}

hs_avx2_target
HS_INLINE void hs_avx2_load_words(__m256i *w, const uint8_t *const *data, size_t offset, int big_endian) {
    const __m256i swap = hs_avx2_repeat(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    for (int j = 0; j < 16; j += 4, offset += 16) {
        __m256i r0 = hs_avx2_row(data[0] + offset, data[4] + offset);
        __m256i r1 = hs_avx2_row(data[1] + offset, data[5] + offset);
        __m256i r2 = hs_avx2_row(data[2] + offset, data[6] + offset);
        __m256i r3 = hs_avx2_row(data[3] + offset, data[7] + offset);
        __m256i lo01 = _mm256_unpacklo_epi32(r0, r1), hi01 = _mm256_unpackhi_epi32(r0, r1);
        __m256i lo23 = _mm256_unpacklo_epi32(r2, r3), hi23 = _mm256_unpackhi_epi32(r2, r3);
        w[j] = _mm256_unpacklo_epi64(lo01, lo23);
        w[j + 1] = _mm256_unpackhi_epi64(lo01, lo23);
        w[j + 2] = _mm256_unpacklo_epi64(hi01, hi23);
        w[j + 3] = _mm256_unpackhi_epi64(hi01, hi23);
        if (big_endian)
            for (int i = j; i < j + 4; i++) w[i] = _mm256_shuffle_epi8(w[i], swap);
    }
}

#define hs_sse2_load_le(w, data, offset) hs_sse2_load_words((w), (data), (offset), 0)
#define hs_sse2_load_be(w, data, offset) hs_sse2_load_words((w), (data), (offset), 1)
#define hs_avx2_load_le(w, data, offset) hs_avx2_load_words((w), (data), (offset), 0)
#define hs_avx2_load_be(w, data, offset) hs_avx2_load_words((w), (data), (offset), 1)

#elif HS_KERNELS_ARM64

typedef uint32x4_t hs_neon_t;
#define hs_neon_width 4
#define hs_neon_target
#define hs_neon_load(p) vld1q_u32(p)
#define hs_neon_store(p, x) vst1q_u32((p), (x))
#define hs_neon_set1(x) vdupq_n_u32(x)
#define hs_neon_add(x, y) vaddq_u32((x), (y))
#define hs_neon_sub(x, y) vsubq_u32((x), (y))
#define hs_neon_xor(x, y) veorq_u32((x), (y))
#define hs_neon_and(x, y) vandq_u32((x), (y))
#define hs_neon_andnot(x, y) vbicq_u32((y), (x))
#define hs_neon_sel(x, y, z) vbslq_u32((x), (y), (z))
#define hs_neon_shr(x, n) vshrq_n_u32((x), (n))
#define hs_neon_rol(x, n)                                                                                              \
    ((n) == 16 ? vreinterpretq_u32_u16(vrev32q_u16(vreinterpretq_u16_u32(x)))                                          \
               : vsriq_n_u32(vshlq_n_u32((x), (n)), (x), 32 - (n)))
#define hs_neon_ror3(x, p, q, r)                                                                                       \
    hs_neon_xor(hs_neon_xor(hs_neon_rol((x), 32 - (p)), hs_neon_rol((x), 32 - (q))), hs_neon_rol((x), 32 - (r)))

HS_INLINE void hs_neon_load_words(uint32x4_t *w, const uint8_t *const *data, size_t offset, int big_endian) {
    for (int j = 0; j < 16; j += 4, offset += 16) {
        uint8x16_t r[4];
        for (int i = 0; i < 4; i++) {
            r[i] = vld1q_u8(data[i] + offset);
            if (big_endian) r[i] = vrev32q_u8(r[i]);
        }
        uint32x4x2_t x01 = vtrnq_u32(vreinterpretq_u32_u8(r[0]), vreinterpretq_u32_u8(r[1]));
        uint32x4x2_t x23 = vtrnq_u32(vreinterpretq_u32_u8(r[2]), vreinterpretq_u32_u8(r[3]));
        w[j] = vcombine_u32(vget_low_u32(x01.val[0]), vget_low_u32(x23.val[0]));
        w[j + 1] = vcombine_u32(vget_low_u32(x01.val[1]), vget_low_u32(x23.val[1]));
        w[j + 2] = vcombine_u32(vget_high_u32(x01.val[0]), vget_high_u32(x23.val[0]));
        w[j + 3] = vcombine_u32(vget_high_u32(x01.val[1]), vget_high_u32(x23.val[1]));
    }
}

#define hs_neon_load_le(w, data, offset) hs_neon_load_words((w), (data), (offset), 0)
#define hs_neon_load_be(w, data, offset) hs_neon_load_words((w), (data), (offset), 1)

#endif
#endif
