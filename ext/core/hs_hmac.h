/* hs_hmac.h -- HMAC-SHA-256 (RFC 2104, FIPS 198-1) under a key that stays: what a sealed set stores instead of digests.
 *
 * The states behind the two key blocks are computed once. A fingerprint is HMAC(key, kind code || digest) cut to 16 bytes; its
 * text is shorter than a block, so it costs exactly one inner and one outer compression. Many digests go through interleaved
 * streams of the SHA instructions, or through the lanes of a vector register, whichever the CPU has.
 *
 * Any thread; nothing can fail, nothing is allocated. The struct is key material: hs_wipe it.
 */
#ifndef HS_HMAC_H
#define HS_HMAC_H

#include "hs_kernels.h"
#include "hs_sha256.h"

enum { HS_FINGERPRINT_BYTES = 16, HS_SEAL_KEY_BYTES = 32, HS_KEY_ID_BYTES = 16 };

typedef struct hs_hmac_key {
    uint32_t inner[8], outer[8];
} hs_hmac_key;

/* A key of any length, made ready; a longer one than a block is hashed first, as the standard says. */
void hs_hmac_init(hs_hmac_key *key, hs_sha256_compress compress, const void *secret, size_t length);

/* HMAC of one text of any length. */
void hs_hmac(const hs_hmac_key *key, hs_sha256_compress compress, const void *text, size_t length,
             uint8_t mac[HS_SHA256_BYTES]);

/* ---- fingerprints ---- */

/* `count` packed digests of `width` bytes (at most 54) -> `count` fingerprints of 16 bytes, which may not overlap them. */
typedef void hs_hmac_fn(const hs_hmac_key *key, uint8_t code, const uint8_t *digests, size_t width, size_t count,
                        uint8_t *out);

typedef struct hs_hmac_kernel {
    const char *name;
    uint32_t needs;   /* HS_CPU_* bits */
    hs_hmac_fn *run;  /* NULL: not built for this architecture */
} hs_hmac_kernel;

/* All of them, the portable one first: it is the oracle of the others. */
const hs_hmac_kernel *hs_hmac_kernel_table(size_t *count);

/* The measured winner for batches, or for one digest at a time, on a CPU with these HS_CPU_* bits. */
const hs_hmac_kernel *hs_hmac_choose(uint32_t features, int single);

/* ---- the key of sealed sets ---- */

/* What it takes to ask a sealed set: the key made ready, and the number by which a set names the key it was sealed with. */
typedef struct hs_seal {
    hs_hmac_key key;
    uint8_t key_id[HS_KEY_ID_BYTES];
    const hs_hmac_kernel *batch, *single;
    hs_sha256_compress compress;
} hs_seal;

void hs_seal_init(hs_seal *seal, const uint8_t secret[HS_SEAL_KEY_BYTES], uint32_t features);

HS_INLINE void hs_seal_fingerprints(const hs_seal *seal, unsigned code, const uint8_t *digests, size_t width, size_t count,
                                    uint8_t *out) {
    const hs_hmac_kernel *kernel = count > 1 ? seal->batch : seal->single;
    kernel->run(&seal->key, (uint8_t)code, digests, width, count, out);
}

#endif
