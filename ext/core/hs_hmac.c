/* hs_hmac.c -- see hs_hmac.h. */
#include "hs_hmac.h"

#include "hs_cpu.h"
#include "hs_sha256_lanes.h"
#include "hs_sha_isa.h"

#if HS_KERNELS_X86
#define X86(f) f
#else
#define X86(f) NULL
#endif
#if HS_KERNELS_ARM64
#define ARM64(f) f
#else
#define ARM64(f) NULL
#endif
#if HS_KERNELS_ARM_SHA
#define ARM_SHA(f) f
#else
#define ARM_SHA(f) NULL
#endif

void hs_hmac_init(hs_hmac_key *key, hs_sha256_compress compress, const void *secret, size_t length) {
    uint8_t block[HS_SHA256_BLOCK_BYTES] = {0};
    if (length > sizeof block) hs_sha256_once(compress, secret, length, block);
    else if (length) memcpy(block, secret, length);
    for (size_t i = 0; i < sizeof block; i++) block[i] ^= 0x36;
    memcpy(key->inner, hs_sha256_iv, sizeof key->inner);
    compress(key->inner, block, 1);
    for (size_t i = 0; i < sizeof block; i++) block[i] ^= 0x36 ^ 0x5c;
    memcpy(key->outer, hs_sha256_iv, sizeof key->outer);
    compress(key->outer, block, 1);
    hs_wipe(block, sizeof block);
}

void hs_hmac(const hs_hmac_key *key, hs_sha256_compress compress, const void *text, size_t length,
             uint8_t mac[HS_SHA256_BYTES]) {
    hs_sha256 s;
    uint8_t inner[HS_SHA256_BYTES];
    s.compress = compress;
    s.length = HS_SHA256_BLOCK_BYTES; /* the key block went before */
    memcpy(s.state, key->inner, sizeof s.state);
    hs_sha256_update(&s, text, length);
    hs_sha256_final(&s, inner);
    s.length = HS_SHA256_BLOCK_BYTES;
    memcpy(s.state, key->outer, sizeof s.state);
    hs_sha256_update(&s, inner, sizeof inner);
    hs_sha256_final(&s, mac);
    hs_wipe(&s, sizeof s);
    hs_wipe(inner, sizeof inner);
}

/* ---- fingerprints ----------------------------------------------------------------------------------------------- */

/* A block that ends a text of `length` bytes behind the key block: what follows the text. */
static void set_tail(uint8_t block[HS_SHA256_BLOCK_BYTES], size_t length) {
    memset(block + length, 0, HS_SHA256_BLOCK_BYTES - length);
    block[length] = 0x80;
    hs_store64be(block + HS_SHA256_BLOCK_BYTES - 8, (HS_SHA256_BLOCK_BYTES + length) * 8);
}

/* Texts of the inner compression, all but the digests. */
static void set_texts(uint8_t blocks[][HS_SHA256_BLOCK_BYTES], size_t count, uint8_t code, size_t width) {
    for (size_t i = 0; i < count; i++) {
        blocks[i][0] = code;
        memset(blocks[i] + 1, 0, width);
        set_tail(blocks[i], 1 + width);
    }
}

static void put_digests(uint8_t blocks[][HS_SHA256_BLOCK_BYTES], const uint8_t *digests, size_t width, size_t count) {
    if (width == 16) /* a length that the compiler knows is two moves instead of a call */
        for (size_t i = 0; i < count; i++) memcpy(blocks[i] + 1, digests + i * 16, 16);
    else if (width == 20)
        for (size_t i = 0; i < count; i++) memcpy(blocks[i] + 1, digests + i * 20, 20);
    else if (width == 32)
        for (size_t i = 0; i < count; i++) memcpy(blocks[i] + 1, digests + i * 32, 32);
    else
        for (size_t i = 0; i < count; i++) memcpy(blocks[i] + 1, digests + i * width, width);
}

static void one_by_one(const hs_hmac_key *key, hs_sha256_compress compress, uint8_t code, const uint8_t *digests,
                       size_t width, size_t count, uint8_t *out) {
    uint8_t first[1][HS_SHA256_BLOCK_BYTES], second[HS_SHA256_BLOCK_BYTES];
    uint32_t state[8];
    set_texts(first, 1, code, width);
    set_tail(second, HS_SHA256_BYTES);
    for (; count; count--, digests += width, out += HS_FINGERPRINT_BYTES) {
        put_digests(first, digests, width, 1);
        memcpy(state, key->inner, sizeof state);
        compress(state, first[0], 1);
        for (unsigned w = 0; w < 8; w++) hs_store32be(second + 4 * w, state[w]);
        memcpy(state, key->outer, sizeof state);
        compress(state, second, 1);
        for (unsigned w = 0; w < HS_FINGERPRINT_BYTES / 4; w++) hs_store32be(out + 4 * w, state[w]);
    }
}

static void portable(const hs_hmac_key *key, uint8_t code, const uint8_t *digests, size_t width, size_t count,
                     uint8_t *out) {
    one_by_one(key, hs_sha256_compress_portable, code, digests, width, count, out);
}

#if HS_KERNELS_X86 || HS_KERNELS_ARM64
/* As many digests at once as a vector kernel has lanes. Lanes without one repeat what they held. */
static void by_lanes(hs_lane_fn *run, unsigned lanes, const hs_hmac_key *key, uint8_t code, const uint8_t *digests,
                     size_t width, size_t count, uint8_t *out) {
    enum { MOST = 8 };
    uint8_t first[MOST][HS_SHA256_BLOCK_BYTES], second[MOST][HS_SHA256_BLOCK_BYTES];
    uint32_t inner[8 * MOST], outer[8 * MOST], state[8 * MOST];
    const uint8_t *first_at[MOST], *second_at[MOST];
    const size_t state_bytes = 8 * lanes * sizeof state[0];
    set_texts(first, lanes, code, width);
    for (unsigned lane = 0; lane < lanes; lane++) {
        set_tail(second[lane], HS_SHA256_BYTES);
        first_at[lane] = first[lane];
        second_at[lane] = second[lane];
        for (unsigned w = 0; w < 8; w++) {
            inner[w * lanes + lane] = key->inner[w];
            outer[w * lanes + lane] = key->outer[w];
        }
    }
    while (count) {
        const size_t take = count < lanes ? count : lanes;
        put_digests(first, digests, width, take);
        memcpy(state, inner, state_bytes);
        run(state, first_at, 1);
        for (unsigned w = 0; w < 8; w++)
            for (unsigned lane = 0; lane < lanes; lane++) hs_store32be(second[lane] + 4 * w, state[w * lanes + lane]);
        memcpy(state, outer, state_bytes);
        run(state, second_at, 1);
        for (unsigned w = 0; w < HS_FINGERPRINT_BYTES / 4; w++)
            for (size_t lane = 0; lane < take; lane++)
                hs_store32be(out + lane * HS_FINGERPRINT_BYTES + 4 * w, state[w * lanes + lane]);
        digests += take * width;
        out += take * HS_FINGERPRINT_BYTES;
        count -= take;
    }
    hs_wipe(inner, sizeof inner);
    hs_wipe(outer, sizeof outer);
}
#endif

#if HS_KERNELS_X86
static void sse2_x4(const hs_hmac_key *key, uint8_t code, const uint8_t *digests, size_t width, size_t count,
                    uint8_t *out) {
    by_lanes(hs_sha256_sse2_x4, 4, key, code, digests, width, count, out);
}

static void avx2_x8(const hs_hmac_key *key, uint8_t code, const uint8_t *digests, size_t width, size_t count,
                    uint8_t *out) {
    by_lanes(hs_sha256_avx2_x8, 8, key, code, digests, width, count, out);
}

/* The state as the words of a text, and its first four words as bytes. The instructions hold it as (f e b a) (h g d c). */
#define hs_shani_sha256_words(w0, w1, s0, s1)                                                                          \
    {                                                                                                                  \
        const __m128i abef = _mm_shuffle_epi32((s0), 0x1b), cdgh = _mm_shuffle_epi32((s1), 0x1b);                      \
        (w0) = _mm_unpacklo_epi64(abef, cdgh);                                                                         \
        (w1) = _mm_unpackhi_epi64(abef, cdgh);                                                                         \
    }
#define hs_shani_sha256_store_first(to, s0, s1)                                                                        \
    {                                                                                                                  \
        const __m128i abcd = _mm_unpacklo_epi64(_mm_shuffle_epi32((s0), 0x1b), _mm_shuffle_epi32((s1), 0x1b));         \
        const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);                               \
        _mm_storeu_si128((__m128i *)(void *)(to), _mm_shuffle_epi8(abcd, swap));                                       \
    }

#define HS_KERNEL shani_x1
#define HS_VEC hs_shani_
#define HS_STREAMS 1
#include "hs_hmac_streams_text.h"

#define HS_KERNEL shani_x2
#define HS_VEC hs_shani_
#define HS_STREAMS 2
#include "hs_hmac_streams_text.h"

#define HS_KERNEL shani_x3
#define HS_VEC hs_shani_
#define HS_STREAMS 3
#include "hs_hmac_streams_text.h"
#endif

#if HS_KERNELS_ARM64
static void neon_x4(const hs_hmac_key *key, uint8_t code, const uint8_t *digests, size_t width, size_t count,
                    uint8_t *out) {
    by_lanes(hs_sha256_neon_x4, 4, key, code, digests, width, count, out);
}
#endif

#if HS_KERNELS_ARM_SHA
#define hs_armsha_sha256_words(w0, w1, s0, s1)                                                                         \
    {                                                                                                                  \
        (w0) = (s0);                                                                                                   \
        (w1) = (s1);                                                                                                   \
    }
#define hs_armsha_sha256_store_first(to, s0, s1)                                                                       \
    {                                                                                                                  \
        (void)(s1);                                                                                                    \
        vst1q_u8((to), vrev32q_u8(vreinterpretq_u8_u32(s0)));                                                          \
    }

#define HS_KERNEL armsha_x1
#define HS_VEC hs_armsha_
#define HS_STREAMS 1
#include "hs_hmac_streams_text.h"

#define HS_KERNEL armsha_x2
#define HS_VEC hs_armsha_
#define HS_STREAMS 2
#include "hs_hmac_streams_text.h"

#define HS_KERNEL armsha_x4
#define HS_VEC hs_armsha_
#define HS_STREAMS 4
#include "hs_hmac_streams_text.h"
#endif

static const hs_hmac_kernel kernels[] = {
    {"portable", 0, portable},
    {"sse2-x4", HS_CPU_SSE2, X86(sse2_x4)},
    {"avx2-x8", HS_CPU_AVX2, X86(avx2_x8)},
    {"shani-x1", HS_CPU_SHANI, X86(shani_x1)},
    {"shani-x2", HS_CPU_SHANI, X86(shani_x2)},
    {"shani-x3", HS_CPU_SHANI, X86(shani_x3)},
    {"neon-x4", HS_CPU_NEON, ARM64(neon_x4)},
    {"armsha-x1", HS_CPU_ARM_SHA2, ARM_SHA(armsha_x1)},
    {"armsha-x2", HS_CPU_ARM_SHA2, ARM_SHA(armsha_x2)},
    {"armsha-x4", HS_CPU_ARM_SHA2, ARM_SHA(armsha_x4)},
};
enum { PORTABLE, SSE2_X4, AVX2_X8, SHANI_X1, SHANI_X2, SHANI_X3, NEON_X4, ARMSHA_X1, ARMSHA_X2, ARMSHA_X4, KERNELS };

const hs_hmac_kernel *hs_hmac_kernel_table(size_t *count) {
    *count = KERNELS;
    return kernels;
}

const hs_hmac_kernel *hs_hmac_choose(uint32_t features, int single) {
    static const unsigned for_batches[] = {ARMSHA_X4, SHANI_X3, AVX2_X8, NEON_X4, SSE2_X4}, for_one[] = {ARMSHA_X1, SHANI_X1};
    const unsigned *order = single ? for_one : for_batches;
    for (size_t i = 0; i < (single ? sizeof for_one : sizeof for_batches) / sizeof *order; i++) {
        const hs_hmac_kernel *kernel = kernels + order[i];
        if (kernel->run && !(kernel->needs & ~features)) return kernel;
    }
    return kernels;
}

/* ---- the key of sealed sets ------------------------------------------------------------------------------------- */

void hs_seal_init(hs_seal *seal, const uint8_t secret[HS_SEAL_KEY_BYTES], uint32_t features) {
    static const char label[] = "hashsieve seal key id 1";
    uint8_t mac[HS_SHA256_BYTES];
    seal->compress = hs_sha256_choose(features);
    seal->batch = hs_hmac_choose(features, 0);
    seal->single = hs_hmac_choose(features, 1);
    hs_hmac_init(&seal->key, seal->compress, secret, HS_SEAL_KEY_BYTES);
    hs_hmac(&seal->key, seal->compress, label, sizeof label - 1, mac);
    memcpy(seal->key_id, mac, sizeof seal->key_id);
    hs_wipe(mac, sizeof mac);
}
