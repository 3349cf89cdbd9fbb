/* hs_sha1.h -- SHA-1 (FIPS 180-4): the kernels. How to call them: hs_kernels.h. */
#ifndef HS_SHA1_H
#define HS_SHA1_H

#include "hs_kernels.h"

extern const uint32_t hs_sha1_iv[5];

hs_lane_fn hs_sha1_portable;
#if HS_KERNELS_X86
hs_lane_fn hs_sha1_sse2_x4, hs_sha1_avx2_x8;
hs_lane_fn hs_sha1_shani_x1, hs_sha1_shani_x2, hs_sha1_shani_x3, hs_sha1_shani_x4;
#endif
#if HS_KERNELS_ARM64
hs_lane_fn hs_sha1_neon_x4;
#endif
#if HS_KERNELS_ARM_SHA
hs_lane_fn hs_sha1_armsha_x1, hs_sha1_armsha_x2, hs_sha1_armsha_x4;
#endif

#endif
