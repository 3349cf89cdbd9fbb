"""Which kinds of digest are computed of every file."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from hashsieve.model import DigestKind
from hashsieve.scan.plan import plan_digests

SHAPES = st.frozensets(st.sampled_from(list(DigestKind)), min_size=1)
COSTS = st.fixed_dictionaries({kind: st.floats(0.1, 10) for kind in DigestKind})


def test_a_cheap_kind_that_finds_nothing_more_is_not_computed() -> None:
    costs = {DigestKind.MD5: 1.5, DigestKind.SHA1: 1.3, DigestKind.SHA256: 3.6, DigestKind.BLAKE3: 0.1}
    assert plan_digests({frozenset({DigestKind.SHA256})}, (), costs) == (DigestKind.SHA256,)


@given(st.sets(SHAPES), st.frozensets(st.sampled_from(list(DigestKind))), COSTS)
def test_every_entry_is_found_and_no_kind_of_the_plan_can_be_left_out(shapes, extra, costs) -> None:
    def finds_all(kinds):
        return kinds and extra <= kinds and all(shape & kinds for shape in shapes)

    plan = set(plan_digests(shapes, extra, costs))
    assert finds_all(plan)
    assert not any(finds_all(plan - {kind}) for kind in plan)
    cheapest = min(
        sum(costs[kind] for kind in cover)
        for size in range(1, 5)
        for cover in combinations(DigestKind, size)
        if finds_all(set(cover))
    )
    assert sum(costs[kind] for kind in plan) <= 1.2 * cheapest
