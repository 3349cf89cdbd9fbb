/* hs_md5.c -- MD5 after RFC 1321, section 3.4 and its appendix A.3.
 *
 * MD5 is broken as a signature of anything; it is here because the lists carry it. One stream cannot be made fast: 64
 * dependent steps a block. The vector kernels therefore run 4 to 24 streams, one a lane (hs_md5_lanes_text.h).
 */
#include "hs_md5.h"

#include "hs_vec.h"

/* floor(2^32 * |sin(i + 1)|), i = 0 ... 47, then the last sixteen less `less`. */
#define MD5_CONSTANTS(less)                                                                                            \
    {                                                                                                                  \
        0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,                \
        0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,                \
        0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,                \
        0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,                \
        0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,                \
        0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,                \
        0xf4292244 - (less), 0x432aff97 - (less), 0xab9423a7 - (less), 0xfc93a039 - (less),                            \
        0x655b59c3 - (less), 0x8f0ccc92 - (less), 0xffeff47d - (less), 0x85845dd1 - (less),                            \
        0x6fa87e4f - (less), 0xfe2ce6e0 - (less), 0xa3014314 - (less), 0x4e0811a1 - (less),                            \
        0xf7537e82 - (less), 0xbd3af235 - (less), 0x2ad7d2bb - (less), 0xeb86d391 - (less)                             \
    }

const uint32_t hs_md5_iv[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};

static const uint32_t md5_k[64] = MD5_CONSTANTS(0);

#define F(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
#define G(x, y, z) (((x) & (z)) | ((y) & ~(z)))
#define H(x, y, z) ((x) ^ (y) ^ (z))
#define I(x, y, z) ((y) ^ ((x) | ~(z)))
#define STEP(f, a, b, c, d, g, shift, i)                                                                               \
    a += f(b, c, d) + m[(g) & 15] + md5_k[i];                                                                          \
    a = b + ((a << (shift)) | (a >> (32 - (shift))));
#define ROUND(f, from, first, stride, s0, s1, s2, s3)                                                                  \
    for (int i = from; i < (from) + 16; i += 4) {                                                                      \
        STEP(f, a, b, c, d, (first) + i * (stride), s0, i)                                                             \
        STEP(f, d, a, b, c, (first) + (i + 1) * (stride), s1, i + 1)                                                   \
        STEP(f, c, d, a, b, (first) + (i + 2) * (stride), s2, i + 2)                                                   \
        STEP(f, b, c, d, a, (first) + (i + 3) * (stride), s3, i + 3)                                                   \
    }

void hs_md5_portable(uint32_t *state, const uint8_t *const *data, size_t block_count) {
    const uint8_t *p = data[0];
    for (; block_count; block_count--, p += HS_BLOCK_BYTES) {
        uint32_t m[16], a = state[0], b = state[1], c = state[2], d = state[3];
        for (int i = 0; i < 16; i++) m[i] = hs_load32le(p + 4 * i);
        ROUND(F, 0, 0, 1, 7, 12, 17, 22)
        ROUND(G, 16, 1, 5, 5, 9, 14, 20)
        ROUND(H, 32, 5, 3, 4, 11, 16, 23)
        ROUND(I, 48, 0, 7, 6, 10, 15, 21)
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
    }
}

#if HS_KERNELS_X86 || HS_KERNELS_ARM64
static const uint32_t lane_k[64] = MD5_CONSTANTS(1);
#endif

#if HS_KERNELS_X86
#define HS_KERNEL hs_md5_sse2_x4
#define HS_VEC hs_sse2_
#define HS_SETS 1
#include "hs_md5_lanes_text.h"

#define HS_KERNEL hs_md5_sse2_x8
#define HS_VEC hs_sse2_
#define HS_SETS 2
#include "hs_md5_lanes_text.h"

#define HS_KERNEL hs_md5_avx2_x8
#define HS_VEC hs_avx2_
#define HS_SETS 1
#include "hs_md5_lanes_text.h"

#define HS_KERNEL hs_md5_avx2_x16
#define HS_VEC hs_avx2_
#define HS_SETS 2
#include "hs_md5_lanes_text.h"

#define HS_KERNEL hs_md5_avx2_x24
#define HS_VEC hs_avx2_
#define HS_SETS 3
#include "hs_md5_lanes_text.h"
#endif

#if HS_KERNELS_ARM64
#define HS_KERNEL hs_md5_neon_x4
#define HS_VEC hs_neon_
#define HS_SETS 1
#include "hs_md5_lanes_text.h"
#endif
