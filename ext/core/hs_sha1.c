/* hs_sha1.c -- SHA-1 after FIPS 180-4, sections 4.1.1, 4.2.1 and 6.1. */
#include "hs_sha1.h"

#include "hs_sha_isa.h"

const uint32_t hs_sha1_iv[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};

static const uint32_t hs_sha1_k[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};

HS_INLINE uint32_t rol(uint32_t x, unsigned n) { return (x << n) | (x >> (32 - n)); }

#define CHOOSE(b, c, d) ((d) ^ ((b) & ((c) ^ (d))))
#define PARITY(b, c, d) ((b) ^ (c) ^ (d))
#define MAJORITY(b, c, d) (((b) & (c)) | ((d) & ((b) | (c))))
#define STEP(f, a, b, c, d, e, t)                                                                                      \
    if ((t) >= 16) w[(t) & 15] = rol(w[((t) + 13) & 15] ^ w[((t) + 8) & 15] ^ w[((t) + 2) & 15] ^ w[(t) & 15], 1);     \
    e += rol(a, 5) + f(b, c, d) + w[(t) & 15] + hs_sha1_k[(t) / 20];                                                   \
    b = rol(b, 30);
#define FIVE(f, t)                                                                                                     \
    STEP(f, a, b, c, d, e, t)                                                                                          \
    STEP(f, e, a, b, c, d, (t) + 1)                                                                                    \
    STEP(f, d, e, a, b, c, (t) + 2)                                                                                    \
    STEP(f, c, d, e, a, b, (t) + 3)                                                                                    \
    STEP(f, b, c, d, e, a, (t) + 4)
#define TWENTY(f, t) FIVE(f, t) FIVE(f, (t) + 5) FIVE(f, (t) + 10) FIVE(f, (t) + 15)

void hs_sha1_portable(uint32_t *state, const uint8_t *const *data, size_t block_count) {
    const uint8_t *p = data[0];
    for (; block_count; block_count--, p += HS_BLOCK_BYTES) {
        uint32_t w[16], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
        for (int t = 0; t < 16; t++) w[t] = hs_load32be(p + 4 * t);
        TWENTY(CHOOSE, 0)
        TWENTY(PARITY, 20)
        TWENTY(MAJORITY, 40)
        TWENTY(PARITY, 60)
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
        state[4] += e;
    }
}

#if HS_KERNELS_X86
#define HS_KERNEL hs_sha1_sse2_x4
#define HS_VEC hs_sse2_
#define HS_SETS 1
#include "hs_sha1_lanes_text.h"

#define HS_KERNEL hs_sha1_avx2_x8
#define HS_VEC hs_avx2_
#define HS_SETS 1
#include "hs_sha1_lanes_text.h"

#define HS_KERNEL hs_sha1_shani_x1
#define HS_VEC hs_shani_
#define HS_STREAMS 1
#include "hs_sha1_streams_text.h"

#define HS_KERNEL hs_sha1_shani_x2
#define HS_VEC hs_shani_
#define HS_STREAMS 2
#include "hs_sha1_streams_text.h"

#define HS_KERNEL hs_sha1_shani_x3
#define HS_VEC hs_shani_
#define HS_STREAMS 3
#include "hs_sha1_streams_text.h"

#define HS_KERNEL hs_sha1_shani_x4
#define HS_VEC hs_shani_
#define HS_STREAMS 4
#include "hs_sha1_streams_text.h"
#endif

#if HS_KERNELS_ARM64
#define HS_KERNEL hs_sha1_neon_x4
#define HS_VEC hs_neon_
#define HS_SETS 1
#include "hs_sha1_lanes_text.h"
#endif

#if HS_KERNELS_ARM_SHA
#define HS_KERNEL hs_sha1_armsha_x1
#define HS_VEC hs_armsha_
#define HS_STREAMS 1
#include "hs_sha1_streams_text.h"

#define HS_KERNEL hs_sha1_armsha_x2
#define HS_VEC hs_armsha_
#define HS_STREAMS 2
#include "hs_sha1_streams_text.h"

#define HS_KERNEL hs_sha1_armsha_x4
#define HS_VEC hs_armsha_
#define HS_STREAMS 4
#include "hs_sha1_streams_text.h"
#endif
