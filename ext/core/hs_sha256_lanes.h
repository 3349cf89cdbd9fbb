/* hs_sha256_lanes.h -- SHA-256 (FIPS 180-4) of many streams: the kernels. How to call them: hs_kernels.h. One stream by
 * itself, for pages and roots: hs_sha256.h. */
#ifndef HS_SHA256_LANES_H
#define HS_SHA256_LANES_H

#include "hs_kernels.h"

hs_lane_fn hs_sha256_portable;
#if HS_KERNELS_X86
hs_lane_fn hs_sha256_sse2_x4, hs_sha256_avx2_x8;
hs_lane_fn hs_sha256_shani_x1, hs_sha256_shani_x2, hs_sha256_shani_x3;
#endif
#if HS_KERNELS_ARM64
hs_lane_fn hs_sha256_neon_x4;
#endif
#if HS_KERNELS_ARM_SHA
hs_lane_fn hs_sha256_armsha_x1, hs_sha256_armsha_x2, hs_sha256_armsha_x4;
#endif

#endif
