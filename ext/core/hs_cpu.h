/* hs_cpu.h -- which instruction sets this CPU has and the operating system lets us use. Any thread; no errors. */
#ifndef HS_CPU_H
#define HS_CPU_H

#include "hs_port.h"

enum {
    HS_CPU_KNOWN = 1u << 0, /* the question was asked: distinguishes "nothing" from "not asked yet" */
    HS_CPU_SSE2 = 1u << 1,
    HS_CPU_SSSE3 = 1u << 2,
    HS_CPU_SSE41 = 1u << 3,
    HS_CPU_AVX2 = 1u << 4, /* includes the operating system saving the wide registers (XGETBV) */
    HS_CPU_SHANI = 1u << 5,
    HS_CPU_NEON = 1u << 8,
    HS_CPU_ARM_SHA1 = 1u << 9,
    HS_CPU_ARM_SHA2 = 1u << 10
};

#if defined(HS_PORTABLE_ONLY)
enum { HS_PORTABLE_BUILD = 1 };
#else
enum { HS_PORTABLE_BUILD = 0 };
#endif

/* Feature bits of this machine, asked once and kept in one atomic word. */
uint32_t hs_cpu_features(void);

/* Tests only: pretend that the CPU has exactly these bits (0 asks the machine again at the next call). */
void hs_cpu_override(uint32_t features);

#endif
