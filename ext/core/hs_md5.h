/* hs_md5.h -- MD5 (RFC 1321): the kernels. How to call them: hs_kernels.h. */
#ifndef HS_MD5_H
#define HS_MD5_H

#include "hs_kernels.h"

extern const uint32_t hs_md5_iv[4];

hs_lane_fn hs_md5_portable;
#if HS_KERNELS_X86
hs_lane_fn hs_md5_sse2_x4, hs_md5_sse2_x8, hs_md5_avx2_x8, hs_md5_avx2_x16, hs_md5_avx2_x24;
#endif
#if HS_KERNELS_ARM64
hs_lane_fn hs_md5_neon_x4;
#endif

#endif
