"""The digest plan: the cheapest kinds of digest that let every entry of every set be found.

An entry is found if at least one of its kinds is computed. Sets are described by their shapes (combinations of kinds
that occur), so the plan is a smallest-cost cover over at most 15 subsets of four kinds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

from .._cpu import features
from .._scan import kernels
from ..errors import UsageError
from ..model import KINDS, DigestKind

__all__ = ["costs_ns_per_byte", "plan_digests"]

# Plans within this factor of the cheapest are a tie, which the stronger kind wins.
_TIE = 1.15


# The blake3 package, per byte in chunks of 32 KiB, one core of a 2 vCPU EPYC (Zen 3): with AVX2, and with SSE2 alone.
_BLAKE3_NS_PER_BYTE = {True: 0.37, False: 0.9}


def costs_ns_per_byte(demanded: Mapping[str, str] | None = None) -> dict[DigestKind, float]:
    """Cost of a byte of each kind with the kernels that this CPU would run, or with the *demanded* ones.

    Source: the measurements beside each kernel (``hashsieve cpu`` prints them).
    """
    demanded = demanded or {}
    costs = {DigestKind.BLAKE3: _BLAKE3_NS_PER_BYTE["avx2" in features()]}
    for kernel in kernels():
        if demanded.get(kernel["kind"]) == kernel["name"] or (
            kernel["kind"] not in demanded and kernel["state"] == "chosen"
        ):
            costs[DigestKind(kernel["kind"])] = 1 / kernel["gb_per_second"]
    return costs


def plan_digests(
    shapes: Iterable[frozenset[DigestKind]], extra: Iterable[str] = (), costs: dict[DigestKind, float] | None = None
) -> tuple[DigestKind, ...]:
    """Kinds to compute for every file, in the order of :data:`KINDS`.

    *shapes*: combinations of kinds that entries of the open sets carry. *extra* kinds are computed as well. Without any
    entry the cheapest kind is computed: a file counts as examined only when it was read.
    """
    costs = costs or costs_ns_per_byte()
    try:
        wanted = {DigestKind(name) for name in extra}
    except ValueError as problem:
        raise UsageError(f"{problem}; known digests: {', '.join(KINDS)}") from None
    needed = set(shapes)
    best: tuple[DigestKind, ...] = ()
    best_rank: tuple[float, ...] = ()

    def finds_all(kinds: set[DigestKind]) -> bool:
        return bool(kinds) and wanted <= kinds and all(shape & kinds for shape in needed)

    # Without a kind that could be left out: it would find nothing more, however little it costs.
    covers = [
        cover
        for size in range(1, len(KINDS) + 1)
        for cover in combinations(KINDS, size)
        if finds_all(set(cover)) and not any(finds_all(set(cover) - {kind}) for kind in cover)
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
