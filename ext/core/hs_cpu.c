/* hs_cpu.c -- the one file that asks the CPU.
 *
 * A wide-vector instruction set counts only when the CPU has it *and* the operating system saves its registers on a
 * context switch (CPUID leaf 1 OSXSAVE, then XGETBV; Intel SDM vol. 1, 14.3). __builtin_cpu_supports is not used: MSVC
 * has no such thing.
 */
#include "hs_cpu.h"

#if HS_X86_64 && !defined(_MSC_VER)
#include <cpuid.h>
#endif
#if HS_ARM64 && defined(__linux__)
#include <sys/auxv.h>
#endif
#if HS_ARM64 && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

static hs_atomic32 hs_cpu_word;

#if HS_X86_64
static void ask(uint32_t leaf, uint32_t sub, uint32_t r[4]) {
#if defined(_MSC_VER)
    int out[4];
    __cpuidex(out, (int)leaf, (int)sub);
    for (int i = 0; i < 4; i++) r[i] = (uint32_t)out[i];
#else
    __cpuid_count(leaf, sub, r[0], r[1], r[2], r[3]);
#endif
}

static uint64_t saved_registers(void) {
#if defined(_MSC_VER)
    return _xgetbv(0);
#else
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return ((uint64_t)hi << 32) | lo;
#endif
}

static uint32_t detect(void) {
    uint32_t r[4], have = HS_CPU_KNOWN | HS_CPU_SSE2;
    ask(0, 0, r);
    uint32_t top = r[0];
    ask(1, 0, r);
    uint32_t ecx = r[2];
    if (ecx & (1u << 9)) have |= HS_CPU_SSSE3;
    if (ecx & (1u << 19)) have |= HS_CPU_SSE41;
    int wide = (ecx & (1u << 27)) && (ecx & (1u << 28)) && (saved_registers() & 6) == 6;
    if (top >= 7) {
        ask(7, 0, r);
        if (wide && (r[1] & (1u << 5))) have |= HS_CPU_AVX2;
        if ((have & HS_CPU_SSE41) && (have & HS_CPU_SSSE3) && (r[1] & (1u << 29))) have |= HS_CPU_SHANI;
    }
    return have;
}
#elif HS_ARM64
static uint32_t detect(void) {
    uint32_t have = HS_CPU_KNOWN | HS_CPU_NEON;
#if defined(__linux__)
    unsigned long caps = getauxval(AT_HWCAP);
    if (caps & (1ul << 5)) have |= HS_CPU_ARM_SHA1; /* HWCAP_SHA1 */
    if (caps & (1ul << 6)) have |= HS_CPU_ARM_SHA2; /* HWCAP_SHA2 */
#elif defined(__APPLE__)
    have |= HS_CPU_ARM_SHA1 | HS_CPU_ARM_SHA2; /* every Apple arm64 CPU has both */
#endif
    return have;
}
#else
static uint32_t detect(void) { return HS_CPU_KNOWN; }
#endif

uint32_t hs_cpu_features(void) {
    uint32_t have = HS_ATOMIC_LOAD(&hs_cpu_word);
    if (HS_UNLIKELY(!have)) {
        have = detect();
        HS_ATOMIC_STORE(&hs_cpu_word, have);
    }
    return have;
}

void hs_cpu_override(uint32_t features) { HS_ATOMIC_STORE(&hs_cpu_word, features ? features | HS_CPU_KNOWN : 0); }
