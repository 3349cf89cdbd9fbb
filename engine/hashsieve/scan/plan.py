"""The digest plan: the cheapest kinds of digest that let every entry of every set be found.

An entry is found if at least one of its kinds is computed. Sets are described by their shapes (combinations of kinds
that occur), so the plan is a smallest-cost cover over at most 15 subsets of four kinds.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from .._cpu import features
from ..errors import UsageError
from ..model import KINDS, DigestKind

__all__ = ["costs_ns_per_byte", "plan_digests"]

# Plans within this factor of the cheapest are a tie, which the stronger kind wins.
_TIE = 1.15


def costs_ns_per_byte(cpu: Iterable[str]) -> dict[DigestKind, float]:
    """Measured cost of a byte of each kind for these CPU features; one core, buffers of 64 KiB to 1 MiB.

    Source: hashlib (OpenSSL 3) and the blake3 package, 2 vCPU EPYC Zen 3 with SHA-NI and AVX2; without SHA-NI the
    figures of the same machine with the instruction switched off in OpenSSL.
    """
    have = set(cpu)
    sha = bool(have & {"sha-ni", "arm-sha2"})
    return {
        DigestKind.MD5: 1.75,
        DigestKind.SHA1: 0.69 if sha else 1.05,
        DigestKind.SHA256: 0.73 if sha else 2.3,
        DigestKind.BLAKE3: 0.35 if "avx2" in have else 0.9,
    }


def plan_digests(
    shapes: Iterable[frozenset[DigestKind]], extra: Iterable[str] = (), costs: dict[DigestKind, float] | None = None
) -> tuple[DigestKind, ...]:
    """Kinds to compute for every file, in the order of :data:`KINDS`.

    *shapes*: combinations of kinds that entries of the open sets carry. *extra* kinds are computed as well. Without any
    entry the cheapest kind is computed: a file counts as examined only when it was read.
    """
    costs = costs or costs_ns_per_byte(features())
    try:
        wanted = {DigestKind(name) for name in extra}
    except ValueError as problem:
        raise UsageError(f"{problem}; known digests: {', '.join(KINDS)}") from None
    needed = set(shapes)
    best: tuple[DigestKind, ...] = ()
    best_rank: tuple[float, ...] = ()
    covers = [
        cover
        for size in range(1, len(KINDS) + 1)
        for cover in combinations(KINDS, size)
        if wanted <= set(cover) and all(shape & set(cover) for shape in needed)
    ]
    cheapest = min(sum(costs[kind] for kind in cover) for cover in covers)
    for cover in covers:
        cost = sum(costs[kind] for kind in cover)
        if cost > cheapest * _TIE:
            continue
        rank = (*sorted((float(kind.code) for kind in cover), reverse=True), -cost)
        if not best or rank > best_rank:
            best, best_rank = cover, rank
    return best
