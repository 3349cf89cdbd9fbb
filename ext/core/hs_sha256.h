/* hs_sha256.h -- SHA-256 (FIPS 180-4) of one stream: pages, roots and set ids are checked with it.
 *
 * The compression function is passed in, chosen once from the CPU's features; number 0, the portable one, is the oracle
 * of the others. Any thread; nothing can fail, nothing is allocated.
 */
#ifndef HS_SHA256_H
#define HS_SHA256_H

#include "hs_port.h"

enum { HS_SHA256_BLOCK_BYTES = 64, HS_SHA256_BYTES = 32 };

/* Feeds block_count whole blocks of 64 bytes into the eight state words. */
typedef void (*hs_sha256_compress)(uint32_t state[8], const uint8_t *data, size_t block_count);

extern const uint32_t hs_sha256_k[64];
extern const uint32_t hs_sha256_iv[8];

void hs_sha256_compress_portable(uint32_t state[8], const uint8_t *data, size_t block_count);
#if HS_KERNELS_X86
void hs_sha256_compress_shani(uint32_t state[8], const uint8_t *data, size_t block_count);
#endif

/* The measured winner for these HS_CPU_* bits. */
hs_sha256_compress hs_sha256_choose(uint32_t features);

typedef struct hs_sha256 {
    hs_sha256_compress compress;
    uint32_t state[8];
    uint64_t length;
    uint8_t block[HS_SHA256_BLOCK_BYTES];
} hs_sha256;

void hs_sha256_init(hs_sha256 *s, hs_sha256_compress compress);
void hs_sha256_update(hs_sha256 *s, const void *data, size_t length);
void hs_sha256_final(hs_sha256 *s, uint8_t digest[HS_SHA256_BYTES]);

/* All at once. */
void hs_sha256_once(hs_sha256_compress compress, const void *data, size_t length, uint8_t digest[HS_SHA256_BYTES]);

#endif
