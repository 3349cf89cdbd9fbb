"""What this CPU can do, as names."""

def features() -> tuple[str, ...]:
    """Names of the instruction sets that kernels may use here (``avx2``, ``sha-ni``, ...): present in the CPU and
    enabled by the operating system. Source: CPUID and XGETBV on x86-64, the auxiliary vector on Linux arm64."""

def portable_build() -> bool:
    """Was everything but the portable kernels compiled out?"""
