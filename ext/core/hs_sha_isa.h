/* hs_sha_isa.h -- the SHA instructions of x86 and arm64 under one set of names.
 *
 * Sources: Intel SDM vol. 2 (SHA1RNDS4, SHA1NEXTE, SHA1MSG1, SHA1MSG2, SHA256RNDS2, SHA256MSG1, SHA256MSG2) and the Arm
 * C Language Extensions (vsha1*, vsha256*). Both do four rounds on a vector of four words of *one* stream, so a stream
 * text (hs_sha1_streams_text.h, hs_sha256_streams_text.h) differs only in where the words lie and in what the
 * instructions fold in. HS_VEC is hs_shani_ or hs_armsha_; V() and HS_EACH come from hs_vec.h.
 *
 *     V(sha1_load)(p) V(sha256_load)(p)      four message words
 *     V(sha1_next)(w0, w1, w2, w3)           the four message words after these sixteen; likewise V(sha256_next)
 *     V(sha1_order) V(sha256_order)          which state word lies in which lane, lane 0 first
 *     V(sha1_rounds)(abcd, e, w, quad)       rounds 4 quad ... 4 quad + 3; e: the fifth word as the next rounds want it
 *     V(sha1_e) V(sha1_e_word)               the fifth word into and out of that form
 *     V(sha1_e_sum)(e, e0)                   its sum at the end of a block
 *     V(sha256_rounds)(s0, s1, wk)           four rounds, message words and constants already added
 */
#ifndef HS_SHA_ISA_H
#define HS_SHA_ISA_H

#include "hs_vec.h"

#if HS_KERNELS_X86

typedef __m128i hs_shani_t;
typedef __m128i hs_shani_e_t;
#define hs_shani_target HS_TARGET("sha,sse4.1,ssse3")
#define hs_shani_load hs_sse2_load
#define hs_shani_store hs_sse2_store
#define hs_shani_add hs_sse2_add

static const uint8_t hs_shani_sha1_order[4] HS_UNUSED = {3, 2, 1, 0};
static const uint8_t hs_shani_sha256_order[8] HS_UNUSED = {5, 4, 1, 0, 7, 6, 3, 2};

#define hs_shani_sha1_load(p)                                                                                          \
    _mm_shuffle_epi8(hs_sse2_load(p), _mm_set_epi64x(0x0001020304050607LL, 0x08090a0b0c0d0e0fLL))
#define hs_shani_sha256_load(p)                                                                                        \
    _mm_shuffle_epi8(hs_sse2_load(p), _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL))
#define hs_shani_sha1_next(w0, w1, w2, w3)                                                                             \
    _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32((w0), (w1)), (w2)), (w3))
#define hs_shani_sha256_next(w0, w1, w2, w3)                                                                           \
    _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32((w0), (w1)), _mm_alignr_epi8((w3), (w2), 4)), (w3))

/* The instruction takes the fifth word from the vector of four rounds ago and rotates it itself, except at the start
 * of a block, where it is given. */
#define hs_shani_sha1_rounds(abcd, e, w, quad)                                                                         \
    {                                                                                                                  \
        const __m128i ew = (quad) == 0 ? _mm_add_epi32((e), (w)) : _mm_sha1nexte_epu32((e), (w));                      \
        (e) = (abcd);                                                                                                  \
        (abcd) = _mm_sha1rnds4_epu32((abcd), ew, (quad) / 5);                                                          \
    }
#define hs_shani_sha1_e(word) _mm_set_epi32((int)(word), 0, 0, 0)
#define hs_shani_sha1_e_word(e) ((uint32_t)_mm_extract_epi32((e), 3))
#define hs_shani_sha1_e_sum(e, e0) _mm_sha1nexte_epu32((e), (e0))

#define hs_shani_sha256_rounds(s0, s1, wk)                                                                             \
    {                                                                                                                  \
        (s1) = _mm_sha256rnds2_epu32((s1), (s0), (wk));                                                                \
        (s0) = _mm_sha256rnds2_epu32((s0), (s1), _mm_shuffle_epi32((wk), 0x0e));                                       \
    }

#elif HS_KERNELS_ARM_SHA

typedef uint32x4_t hs_armsha_t;
typedef uint32_t hs_armsha_e_t;
#define hs_armsha_target HS_TARGET(HS_ARM_SHA_ISA)
#define hs_armsha_load vld1q_u32
#define hs_armsha_store vst1q_u32
#define hs_armsha_add vaddq_u32

static const uint8_t hs_armsha_sha1_order[4] HS_UNUSED = {0, 1, 2, 3};
static const uint8_t hs_armsha_sha256_order[8] HS_UNUSED = {0, 1, 2, 3, 4, 5, 6, 7};

#define hs_armsha_sha1_load(p) vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(p)))
#define hs_armsha_sha256_load(p) hs_armsha_sha1_load(p)
#define hs_armsha_sha1_next(w0, w1, w2, w3) vsha1su1q_u32(vsha1su0q_u32((w0), (w1), (w2)), (w3))
#define hs_armsha_sha256_next(w0, w1, w2, w3) vsha256su1q_u32(vsha256su0q_u32((w0), (w1)), (w2), (w3))

#define hs_armsha_sha1_rounds(abcd, e, w, quad)                                                                        \
    {                                                                                                                  \
        const uint32x4_t wk = vaddq_u32((w), vdupq_n_u32(hs_sha1_k[(quad) / 5]));                                      \
        const uint32_t next = vsha1h_u32(vgetq_lane_u32((abcd), 0));                                                   \
        (abcd) = (quad) / 5 == 0   ? vsha1cq_u32((abcd), (e), wk)                                                      \
                 : (quad) / 5 == 2 ? vsha1mq_u32((abcd), (e), wk)                                                      \
                                   : vsha1pq_u32((abcd), (e), wk);                                                     \
        (e) = next;                                                                                                    \
    }
#define hs_armsha_sha1_e(word) (word)
#define hs_armsha_sha1_e_word(e) (e)
#define hs_armsha_sha1_e_sum(e, e0) ((e) + (e0))

#define hs_armsha_sha256_rounds(s0, s1, wk)                                                                            \
    {                                                                                                                  \
        const uint32x4_t abcd = (s0);                                                                                  \
        (s0) = vsha256hq_u32((s0), (s1), (wk));                                                                        \
        (s1) = vsha256h2q_u32((s1), abcd, (wk));                                                                       \
    }

#endif
#endif
