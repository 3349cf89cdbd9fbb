/* hs_sha256.c -- SHA-256 after FIPS 180-4, sections 5 and 6.2; the SHA-NI form after the instruction descriptions in
 * the Intel SDM vol. 2 (SHA256RNDS2, SHA256MSG1, SHA256MSG2).
 */
#include "hs_sha256.h"

#include "hs_cpu.h"

#if HS_KERNELS_X86
#include <immintrin.h>
#endif

const uint32_t hs_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

const uint32_t hs_sha256_iv[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

HS_INLINE uint32_t ror(uint32_t x, unsigned n) { return (x >> n) | (x << (32 - n)); }

void hs_sha256_compress_portable(uint32_t state[8], const uint8_t *data, size_t block_count) {
    for (; block_count; block_count--, data += HS_SHA256_BLOCK_BYTES) {
        uint32_t w[64];
        for (int t = 0; t < 16; t++) w[t] = hs_load32be(data + 4 * t);
        for (int t = 16; t < 64; t++) {
            uint32_t s0 = ror(w[t - 15], 7) ^ ror(w[t - 15], 18) ^ (w[t - 15] >> 3);
            uint32_t s1 = ror(w[t - 2], 17) ^ ror(w[t - 2], 19) ^ (w[t - 2] >> 10);
            w[t] = s1 + w[t - 7] + s0 + w[t - 16];
        }
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (int t = 0; t < 64; t++) {
            uint32_t t1 = h + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + (g ^ (e & (f ^ g))) + hs_sha256_k[t] + w[t];
            uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) | (c & (a | b)));
            h = g;
            g = f;
            f = e;
            e = d + t1;
            d = c;
            c = b;
            b = a;
            a = t1 + t2;
        }
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
        state[4] += e;
        state[5] += f;
        state[6] += g;
        state[7] += h;
    }
}

#if HS_KERNELS_X86
HS_TARGET("sha,sse4.1,ssse3")
void hs_sha256_compress_shani(uint32_t state[8], const uint8_t *data, size_t block_count) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    /* The instructions want the words as (a b e f) and (c d g h), most significant first. */
    __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xb1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(abcd, efgh, 8);
    __m128i cdgh = _mm_blend_epi16(efgh, abcd, 0xf0);
    for (; block_count; block_count--, data += HS_SHA256_BLOCK_BYTES) {
        const __m128i abef0 = abef, cdgh0 = cdgh;
        __m128i w[4];
        for (int i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(data + 16 * i)), swap);
        for (int i = 0; i < 16; i++) {
            __m128i x = w[i & 3];
            if (i >= 4) {
                __m128i q = _mm_sha256msg1_epu32(x, w[(i + 1) & 3]);
                q = _mm_add_epi32(q, _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4));
                x = w[i & 3] = _mm_sha256msg2_epu32(q, w[(i + 3) & 3]);
            }
            x = _mm_add_epi32(x, _mm_loadu_si128((const __m128i *)(const void *)(hs_sha256_k + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, x);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(x, 0x0e));
        }
        abef = _mm_add_epi32(abef, abef0);
        cdgh = _mm_add_epi32(cdgh, cdgh0);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
    __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}
#endif

hs_sha256_compress hs_sha256_choose(uint32_t features) {
#if HS_KERNELS_X86
    if (features & HS_CPU_SHANI) return hs_sha256_compress_shani;
#endif
    (void)features;
    return hs_sha256_compress_portable;
}

void hs_sha256_init(hs_sha256 *s, hs_sha256_compress compress) {
    s->compress = compress;
    s->length = 0;
    memcpy(s->state, hs_sha256_iv, sizeof s->state);
}

void hs_sha256_update(hs_sha256 *s, const void *data, size_t length) {
    const uint8_t *p = data;
    size_t held = (size_t)(s->length % HS_SHA256_BLOCK_BYTES);
    s->length += length;
    if (held) {
        size_t room = HS_SHA256_BLOCK_BYTES - held, take = length < room ? length : room;
        memcpy(s->block + held, p, take);
        if (take < room) return;
        s->compress(s->state, s->block, 1);
        p += take;
        length -= take;
    }
    size_t whole = length / HS_SHA256_BLOCK_BYTES;
    if (whole) s->compress(s->state, p, whole);
    if (length % HS_SHA256_BLOCK_BYTES)
        memcpy(s->block, p + whole * HS_SHA256_BLOCK_BYTES, length % HS_SHA256_BLOCK_BYTES);
}

void hs_sha256_final(hs_sha256 *s, uint8_t digest[HS_SHA256_BYTES]) {
    uint8_t tail[2 * HS_SHA256_BLOCK_BYTES] = {0};
    size_t held = (size_t)(s->length % HS_SHA256_BLOCK_BYTES);
    size_t blocks = held < 56 ? 1 : 2;
    if (held) memcpy(tail, s->block, held);
    tail[held] = 0x80;
    hs_store64be(tail + blocks * HS_SHA256_BLOCK_BYTES - 8, s->length * 8);
    s->compress(s->state, tail, blocks);
    for (int i = 0; i < 8; i++) hs_store32be(digest + 4 * i, s->state[i]);
}

void hs_sha256_once(hs_sha256_compress compress, const void *data, size_t length, uint8_t digest[HS_SHA256_BYTES]) {
    hs_sha256 s;
    hs_sha256_init(&s, compress);
    hs_sha256_update(&s, data, length);
    hs_sha256_final(&s, digest);
}
