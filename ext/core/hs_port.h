/* hs_port.h -- the only place that asks which compiler, CPU and system this is.
 *
 * Everything else in core is plain C11 and uses the names below. A kernel carries its instruction set on the function
 * (HS_TARGET), never in compiler flags: one object file then runs everywhere, and MSVC, which needs no flag for
 * intrinsics, compiles the same text.
 */
#ifndef HS_PORT_H
#define HS_PORT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) || defined(_M_X64)
#define HS_X86_64 1
#else
#define HS_X86_64 0
#endif

#if (defined(__aarch64__) || defined(_M_ARM64)) && !defined(__ARM_BIG_ENDIAN)
#define HS_ARM64 1
#else
#define HS_ARM64 0
#endif

/* HS_PORTABLE_ONLY compiles every kernel out but kernel 0, to prove that the rest stands on it alone. */
#if defined(HS_PORTABLE_ONLY)
#define HS_KERNELS_X86 0
#define HS_KERNELS_ARM64 0
#else
#define HS_KERNELS_X86 HS_X86_64
#define HS_KERNELS_ARM64 HS_ARM64
#endif

/* The SHA instructions of arm64 are optional; clang before 16 declares their intrinsics only if the whole file is
 * compiled for them. gcc and clang spell the target differently. */
#if HS_KERNELS_ARM64 && (!defined(__clang__) || __clang_major__ >= 16 || defined(__ARM_FEATURE_SHA2))
#define HS_KERNELS_ARM_SHA 1
#else
#define HS_KERNELS_ARM_SHA 0
#endif
#if defined(__clang__)
#define HS_ARM_SHA_ISA "sha2"
#else
#define HS_ARM_SHA_ISA "+crypto"
#endif

#if defined(__GNUC__) || defined(__clang__)
#define HS_TARGET(isa) __attribute__((target(isa)))
#define HS_INLINE static inline __attribute__((always_inline))
#define HS_NOINLINE __attribute__((noinline))
#define HS_UNUSED __attribute__((unused))
#define HS_PREFETCH(p) __builtin_prefetch((p), 0, 3)
#define HS_CONSTANT(x) __builtin_constant_p(x) /* known to the compiler here; for choices of speed */
#define HS_LIKELY(x) __builtin_expect(!!(x), 1)
#define HS_UNLIKELY(x) __builtin_expect(!!(x), 0)
#elif defined(_MSC_VER)
#include <intrin.h>
#define HS_TARGET(isa)
#define HS_INLINE static __forceinline
#define HS_NOINLINE __declspec(noinline)
#define HS_UNUSED
#if HS_X86_64
#define HS_PREFETCH(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)
#else
#define HS_PREFETCH(p) ((void)(p))
#endif
#define HS_CONSTANT(x) 0
#define HS_LIKELY(x) (x)
#define HS_UNLIKELY(x) (x)
#else
#define HS_TARGET(isa)
#define HS_INLINE static inline
#define HS_NOINLINE
#define HS_UNUSED
#define HS_PREFETCH(p) ((void)(p))
#define HS_CONSTANT(x) 0
#define HS_LIKELY(x) (x)
#define HS_UNLIKELY(x) (x)
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define HS_BIG_ENDIAN 1
#else
#define HS_BIG_ENDIAN 0
#endif

HS_INLINE uint32_t hs_bswap32(uint32_t x) {
#if defined(_MSC_VER)
    return _byteswap_ulong(x);
#elif defined(__GNUC__) || defined(__clang__)
    return __builtin_bswap32(x);
#else
    return (x >> 24) | ((x >> 8) & 0xff00u) | ((x << 8) & 0xff0000u) | (x << 24);
#endif
}

HS_INLINE uint64_t hs_bswap64(uint64_t x) {
#if defined(_MSC_VER)
    return _byteswap_uint64(x);
#elif defined(__GNUC__) || defined(__clang__)
    return __builtin_bswap64(x);
#else
    return ((uint64_t)hs_bswap32((uint32_t)x) << 32) | hs_bswap32((uint32_t)(x >> 32));
#endif
}

/* Takes a variable as it stands: the optimiser may neither regroup the sum that made it nor know where a pointer
 * leads. A hint for speed, never needed for a right answer. */
#if defined(__GNUC__) || defined(__clang__)
#define HS_PIN(x) __asm__("" : "+r"(x))
#if HS_X86_64
#define HS_PIN_VECTOR(x) __asm__("" : "+x"(x))
#else
#define HS_PIN_VECTOR(x) __asm__("" : "+w"(x))
#endif
#else
#define HS_PIN(x) ((void)0)
#define HS_PIN_VECTOR(x) ((void)0)
#endif

/* Unaligned loads and stores in a stated byte order. */
HS_INLINE uint32_t hs_load32le(const void *p) {
    uint32_t x;
    memcpy(&x, p, 4);
    return HS_BIG_ENDIAN ? hs_bswap32(x) : x;
}
HS_INLINE uint64_t hs_load64le(const void *p) {
    uint64_t x;
    memcpy(&x, p, 8);
    return HS_BIG_ENDIAN ? hs_bswap64(x) : x;
}
HS_INLINE uint32_t hs_load32be(const void *p) {
    uint32_t x;
    memcpy(&x, p, 4);
    return HS_BIG_ENDIAN ? x : hs_bswap32(x);
}
HS_INLINE uint64_t hs_load64be(const void *p) {
    uint64_t x;
    memcpy(&x, p, 8);
    return HS_BIG_ENDIAN ? x : hs_bswap64(x);
}
HS_INLINE void hs_store32le(void *p, uint32_t x) {
    if (HS_BIG_ENDIAN) x = hs_bswap32(x);
    memcpy(p, &x, 4);
}
HS_INLINE void hs_store64le(void *p, uint64_t x) {
    if (HS_BIG_ENDIAN) x = hs_bswap64(x);
    memcpy(p, &x, 8);
}
HS_INLINE void hs_store32be(void *p, uint32_t x) {
    if (!HS_BIG_ENDIAN) x = hs_bswap32(x);
    memcpy(p, &x, 4);
}
HS_INLINE void hs_store64be(void *p, uint64_t x) {
    if (!HS_BIG_ENDIAN) x = hs_bswap64(x);
    memcpy(p, &x, 8);
}

/* Little-endian integers of 0 to 8 bytes, read and written byte by byte: never past their own width. */
HS_INLINE uint64_t hs_load_le(const uint8_t *p, unsigned width) {
    uint64_t x = 0;
    for (unsigned i = 0; i < width; i++) x |= (uint64_t)p[i] << (8 * i);
    return x;
}
HS_INLINE void hs_store_le(uint8_t *p, unsigned width, uint64_t x) {
    for (unsigned i = 0; i < width; i++) p[i] = (uint8_t)(x >> (8 * i));
}

/* Zeros that the compiler may not leave out: for keys. */
HS_INLINE void hs_wipe(void *memory, size_t length) {
    volatile uint8_t *p = memory;
    while (length--) *p++ = 0;
}

/* High 64 bits of a 64 x 64 bit product: maps a uniform 64-bit value to 0..n-1 without division. */
HS_INLINE uint64_t hs_mulhi64(uint64_t a, uint64_t b) {
#if defined(__SIZEOF_INT128__)
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
#elif defined(_MSC_VER) && (HS_X86_64 || HS_ARM64)
    return __umulh(a, b);
#else
    uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
    uint64_t mid = ah * bl + ((al * bl) >> 32);
    uint64_t mid2 = al * bh + (uint32_t)mid;
    return ah * bh + (mid >> 32) + (mid2 >> 32);
#endif
}

/* One word that several threads may read and write; the only mutable global of core is of this type (hs_cpu.c). */
#if defined(_MSC_VER) && !defined(__clang__)
typedef volatile long hs_atomic32;
#define HS_ATOMIC_LOAD(p) ((uint32_t)_InterlockedOr((p), 0))
#define HS_ATOMIC_STORE(p, v) ((void)_InterlockedExchange((p), (long)(v)))
#else
#include <stdatomic.h>
typedef _Atomic uint32_t hs_atomic32;
#define HS_ATOMIC_LOAD(p) atomic_load_explicit((p), memory_order_relaxed)
#define HS_ATOMIC_STORE(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#endif

#endif
