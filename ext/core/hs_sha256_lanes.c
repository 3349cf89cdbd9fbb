/* hs_sha256_lanes.c -- SHA-256 after FIPS 180-4, section 6.2, of many streams at once. Constants and the one-stream
 * functions are those of hs_sha256.c. */
#include "hs_sha256_lanes.h"

#include "hs_sha256.h"
#include "hs_sha_isa.h"

void hs_sha256_portable(uint32_t *state, const uint8_t *const *data, size_t block_count) {
    hs_sha256_compress_portable(state, data[0], block_count);
}

#if HS_KERNELS_X86
void hs_sha256_shani_x1(uint32_t *state, const uint8_t *const *data, size_t block_count) {
    hs_sha256_compress_shani(state, data[0], block_count);
}

#define HS_KERNEL hs_sha256_sse2_x4
#define HS_VEC hs_sse2_
#define HS_SETS 1
#include "hs_sha256_lanes_text.h"

#define HS_KERNEL hs_sha256_avx2_x8
#define HS_VEC hs_avx2_
#define HS_SETS 1
#include "hs_sha256_lanes_text.h"

#define HS_KERNEL hs_sha256_shani_x2
#define HS_VEC hs_shani_
#define HS_STREAMS 2
#include "hs_sha256_streams_text.h"

#define HS_KERNEL hs_sha256_shani_x3
#define HS_VEC hs_shani_
#define HS_STREAMS 3
#include "hs_sha256_streams_text.h"
#endif

#if HS_KERNELS_ARM64
#define HS_KERNEL hs_sha256_neon_x4
#define HS_VEC hs_neon_
#define HS_SETS 1
#include "hs_sha256_lanes_text.h"
#endif

#if HS_KERNELS_ARM_SHA
#define HS_KERNEL hs_sha256_armsha_x1
#define HS_VEC hs_armsha_
#define HS_STREAMS 1
#include "hs_sha256_streams_text.h"

#define HS_KERNEL hs_sha256_armsha_x2
#define HS_VEC hs_armsha_
#define HS_STREAMS 2
#include "hs_sha256_streams_text.h"

#define HS_KERNEL hs_sha256_armsha_x4
#define HS_VEC hs_armsha_
#define HS_STREAMS 4
#include "hs_sha256_streams_text.h"
#endif
