"""What this CPU can do, as names."""

cimport hashsieve.core as core


def features():
    """Names of the instruction sets that kernels may use here: present in the CPU and enabled by the system."""
    cdef unsigned have = core.hs_cpu_features()
    names = (
        ("sse2", core.HS_CPU_SSE2), ("ssse3", core.HS_CPU_SSSE3), ("sse4.1", core.HS_CPU_SSE41), ("avx2", core.HS_CPU_AVX2),
        ("sha-ni", core.HS_CPU_SHANI), ("neon", core.HS_CPU_NEON), ("arm-sha1", core.HS_CPU_ARM_SHA1),
        ("arm-sha2", core.HS_CPU_ARM_SHA2),
    )
    return tuple([name for name, bit in names if have & bit])


def portable_build():
    """Was everything but the portable kernels compiled out?"""
    return core.HS_PORTABLE_BUILD != 0
