/* hs_kernels.c -- the table of digest kernels.
 *
 * step_ns is what one block on all lanes takes; only the ratios decide anything. x86: 2 vCPU EPYC, Zen 3, gcc 12, raw
 * data in bench/runs/2026-11-25-epyc-zen3/kernels.txt. arm64: proven right under emulation, but never timed; the
 * figures there only say which kernel to prefer, and bench/native/kernels.c has to replace them.
 *
 * What did not make it: two interleaved vectors of SHA-1 and SHA-256 (they spill and lose everywhere) and four SHA-NI
 * streams of SHA-256 (4 % ahead for exactly four streams with gcc, behind with clang).
 */
#include "hs_kernels.h"

#include "hs_cpu.h"
#include "hs_md5.h"
#include "hs_sha1.h"
#include "hs_sha256.h"
#include "hs_sha256_lanes.h"

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

static const hs_kernel md5[] = {
    {"portable", HS_MD5, 1, 0, 99, hs_md5_portable},
    {"sse2-x4", HS_MD5, 4, HS_CPU_SSE2, 128, X86(hs_md5_sse2_x4)},
    {"sse2-x8", HS_MD5, 8, HS_CPU_SSE2, 143, X86(hs_md5_sse2_x8)},
    {"avx2-x8", HS_MD5, 8, HS_CPU_AVX2, 125, X86(hs_md5_avx2_x8)},
    {"avx2-x16", HS_MD5, 16, HS_CPU_AVX2, 146, X86(hs_md5_avx2_x16)},
    {"avx2-x24", HS_MD5, 24, HS_CPU_AVX2, 201, X86(hs_md5_avx2_x24)},
    {"neon-x4", HS_MD5, 4, HS_CPU_NEON, 150, ARM64(hs_md5_neon_x4)},
};

static const hs_kernel sha1[] = {
    {"portable", HS_SHA1, 1, 0, 86, hs_sha1_portable},
    {"sse2-x4", HS_SHA1, 4, HS_CPU_SSE2, 155, X86(hs_sha1_sse2_x4)},
    {"avx2-x8", HS_SHA1, 8, HS_CPU_AVX2, 151, X86(hs_sha1_avx2_x8)},
    {"shani-x1", HS_SHA1, 1, HS_CPU_SHANI, 38, X86(hs_sha1_shani_x1)},
    {"shani-x2", HS_SHA1, 2, HS_CPU_SHANI, 43, X86(hs_sha1_shani_x2)},
    {"shani-x3", HS_SHA1, 3, HS_CPU_SHANI, 51, X86(hs_sha1_shani_x3)},
    {"shani-x4", HS_SHA1, 4, HS_CPU_SHANI, 63, X86(hs_sha1_shani_x4)},
    {"neon-x4", HS_SHA1, 4, HS_CPU_NEON, 150, ARM64(hs_sha1_neon_x4)},
    {"armsha-x1", HS_SHA1, 1, HS_CPU_ARM_SHA1, 36, ARM_SHA(hs_sha1_armsha_x1)},
    {"armsha-x2", HS_SHA1, 2, HS_CPU_ARM_SHA1, 45, ARM_SHA(hs_sha1_armsha_x2)},
    {"armsha-x4", HS_SHA1, 4, HS_CPU_ARM_SHA1, 80, ARM_SHA(hs_sha1_armsha_x4)},
};

static const hs_kernel sha256[] = {
    {"portable", HS_SHA256, 1, 0, 233, hs_sha256_portable},
    {"sse2-x4", HS_SHA256, 4, HS_CPU_SSE2, 351, X86(hs_sha256_sse2_x4)},
    {"avx2-x8", HS_SHA256, 8, HS_CPU_AVX2, 321, X86(hs_sha256_avx2_x8)},
    {"shani-x1", HS_SHA256, 1, HS_CPU_SHANI, 40, X86(hs_sha256_shani_x1)},
    {"shani-x2", HS_SHA256, 2, HS_CPU_SHANI, 42, X86(hs_sha256_shani_x2)},
    {"shani-x3", HS_SHA256, 3, HS_CPU_SHANI, 59, X86(hs_sha256_shani_x3)},
    {"neon-x4", HS_SHA256, 4, HS_CPU_NEON, 350, ARM64(hs_sha256_neon_x4)},
    {"armsha-x1", HS_SHA256, 1, HS_CPU_ARM_SHA2, 40, ARM_SHA(hs_sha256_armsha_x1)},
    {"armsha-x2", HS_SHA256, 2, HS_CPU_ARM_SHA2, 45, ARM_SHA(hs_sha256_armsha_x2)},
    {"armsha-x4", HS_SHA256, 4, HS_CPU_ARM_SHA2, 80, ARM_SHA(hs_sha256_armsha_x4)},
};

#define ROWS(table) (sizeof(table) / sizeof(table)[0])

const hs_kernel *hs_kernel_table(int kind, size_t *count) {
    switch (kind) {
    case HS_MD5:
        *count = ROWS(md5);
        return md5;
    case HS_SHA1:
        *count = ROWS(sha1);
        return sha1;
    default:
        *count = ROWS(sha256);
        return sha256;
    }
}

HS_INLINE int runs(const hs_kernel *k, uint32_t features) { return k->run && (k->needs & ~features) == 0; }

const hs_kernel *hs_kernel_default(int kind, uint32_t features) {
    size_t count;
    const hs_kernel *table = hs_kernel_table(kind, &count), *best = table;
    for (size_t i = 1; i < count; i++)
        if (runs(table + i, features) && table[i].step_ns * best->lanes < best->step_ns * table[i].lanes)
            best = table + i;
    return best;
}

const hs_kernel *hs_kernel_for(int kind, uint32_t features, unsigned live) {
    size_t count;
    const hs_kernel *table = hs_kernel_table(kind, &count), *best = table;
    unsigned best_ns = table->step_ns * live;
    for (size_t i = 1; i < count; i++) {
        unsigned ns = table[i].step_ns * ((live + table[i].lanes - 1) / table[i].lanes);
        if (runs(table + i, features) && ns < best_ns) {
            best = table + i;
            best_ns = ns;
        }
    }
    return best;
}

const hs_kernel *hs_kernel_find(int kind, const char *name, uint32_t features, int *status) {
    size_t count;
    const hs_kernel *table = hs_kernel_table(kind, &count);
    *status = HS_KERNEL_UNKNOWN;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(table[i].name, name) != 0) continue;
        *status = !table[i].run ? HS_KERNEL_NOT_BUILT : !runs(table + i, features) ? HS_KERNEL_NO_CPU : HS_KERNEL_OK;
        return *status == HS_KERNEL_OK ? table + i : NULL;
    }
    return NULL;
}

unsigned hs_digest_words(int kind) { return kind == HS_MD5 ? 4 : kind == HS_SHA1 ? 5 : 8; }

void hs_lane_start(int kind, uint32_t *state, unsigned lanes, unsigned lane) {
    const uint32_t *iv = kind == HS_MD5 ? hs_md5_iv : kind == HS_SHA1 ? hs_sha1_iv : hs_sha256_iv;
    hs_lane_move(kind, state, lanes, lane, iv, 1, 0);
}

void hs_lane_move(int kind, uint32_t *to, unsigned to_lanes, unsigned to_lane, const uint32_t *from,
                  unsigned from_lanes, unsigned from_lane) {
    for (unsigned w = 0; w < hs_digest_words(kind); w++) to[w * to_lanes + to_lane] = from[w * from_lanes + from_lane];
}

size_t hs_lane_tail(int kind, const uint8_t *rest, uint64_t length_bytes, uint8_t tail[2 * HS_BLOCK_BYTES]) {
    size_t held = (size_t)(length_bytes % HS_BLOCK_BYTES);
    size_t blocks = held < HS_BLOCK_BYTES - 8 ? 1 : 2;
    uint8_t *length = tail + blocks * HS_BLOCK_BYTES - 8;
    if (held) memcpy(tail, rest, held);
    tail[held] = 0x80;
    memset(tail + held + 1, 0, (size_t)(length - tail) - held - 1);
    if (kind == HS_MD5)
        hs_store64le(length, length_bytes * 8);
    else
        hs_store64be(length, length_bytes * 8);
    return blocks;
}

void hs_lane_digest(int kind, const uint32_t *state, unsigned lanes, unsigned lane, uint8_t *digest) {
    for (unsigned w = 0; w < hs_digest_words(kind); w++, digest += 4) {
        if (kind == HS_MD5)
            hs_store32le(digest, state[w * lanes + lane]);
        else
            hs_store32be(digest, state[w * lanes + lane]);
    }
}
