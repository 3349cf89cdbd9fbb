"""Demanding digest kernels by name, for support and for measurements.

``HASHSIEVE_KERNEL=md5:portable,sha1:avx2-x8`` forces a kernel for a kind. A demand that cannot be met raises
KernelError with the reason -- no such kernel, not built, not for this CPU -- and is never passed over in silence.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from .._scan import Lanes
from ..errors import KernelError

__all__ = ["demanded_kernels"]


def demanded_kernels(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Kernel name by kind, as ``HASHSIEVE_KERNEL`` demands it; empty without it."""
    text = environment.get("HASHSIEVE_KERNEL", "")
    demanded: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, colon, name = part.partition(":")
        if not colon or not name:
            raise KernelError(f"HASHSIEVE_KERNEL takes kind:kernel pairs such as md5:portable, not {part!r}")
        if kind in demanded:
            raise KernelError(f"HASHSIEVE_KERNEL names a kernel for {kind} twice")
        Lanes(["md5"], {kind: name})  # raises when it cannot be met
        demanded[kind] = name
    return demanded
