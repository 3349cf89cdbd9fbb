"""From digests to a verdict: which entries of which sets a file hits, and what their roles mean together.

Precedence of roles: trusted > known-bad > undecided > known-good; ``test`` acts as known-bad. A trusted or known-good
entry whose other digests disagree with the file does not speak for it; a known-bad one still does, since a listed
digest that was computed is a match whatever else is wrong.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ..errors import SetError, shown
from ..hashset.hashset import HashSet
from ..model import KINDS, DigestKind, Entry, Role

__all__ = ["Hit", "Ruling", "Verdict", "judge", "kinds_to_confirm", "look_up"]


class Ruling(enum.Enum):
    """What all hits of a file come to."""

    NOTHING = "nothing"
    KNOWN_GOOD = "known-good"
    UNDECIDED = "undecided"
    KNOWN_BAD = "known-bad"
    SUPPRESSED = "suppressed"


@dataclass(frozen=True, slots=True)
class Hit:
    """One entry of one set that shares a digest with the file.

    ``keys`` is what the set's tables hold for the entry, by kind: its digests, or, where the set is sealed and the
    entry shows none, their fingerprints.
    """

    set: HashSet
    number: int
    entry: Entry
    keys: Mapping[str, bytes]

    def compare(self, digests: Mapping[str, bytes]) -> tuple[AbstractSet[str], AbstractSet[str]]:
        """Kinds of these digests in which the entry agrees, and in which it does not."""
        agree = {kind for kind, key in self.keys.items() if kind in digests and self._is(kind, digests[kind], key)}
        return agree, {kind for kind in self.keys if kind in digests} - agree

    def contradicted(self, digests: Mapping[str, bytes]) -> bool:
        """Does the entry carry another digest of a kind that was computed?"""
        return bool(self.compare(digests)[1])

    def _is(self, kind: str, digest: bytes, key: bytes) -> bool:
        return self.set.table_key(kind, digest) == key


@dataclass(frozen=True, slots=True)
class Verdict:
    """The ruling with what it rests on. ``deciding`` is the hit that a report names the set of."""

    ruling: Ruling
    hits: tuple[Hit, ...] = ()
    deciding: Hit | None = None
    confirmed_by: tuple[str, ...] = ()
    contradicted_by: tuple[str, ...] = ()
    test: bool = False


def look_up(sets: Sequence[HashSet], digests: Mapping[str, bytes]) -> tuple[list[Hit], list[tuple[HashSet, SetError]]]:
    """Entries of all sets that carry one of these digests, and the sets that could not say.

    A kind whose filter is not loaded is not asked: the plan covers every entry without it, and a confirming read looks
    at the entries themselves.
    """
    hits: list[Hit] = []
    failures: list[tuple[HashSet, SetError]] = []
    for each in sets:
        numbers: set[int] = set()
        problems: list[SetError] = []
        # One by one: what one kind found is not lost because the table of another is damaged.
        for kind, digest in digests.items():
            try:
                if kind in each.kinds and each.loaded(kind):
                    numbers.update(each.find(kind, digest) or ())
            except SetError as problem:
                problems.append(problem)
        for number in sorted(numbers):
            try:
                entry = each.entry(number)
                hits.append(Hit(each, number, entry, each.table_keys(number) if each.sealed else entry.digests))
            except SetError as problem:
                problems.append(problem)
        # Asked last: a set that another thread closes meanwhile has no kind loaded, and would be passed over silently.
        if each.closed:
            problems.append(SetError(f"{shown(each.path)}: the set was closed"))
        if problems:
            failures.append((each, problems[0]))
    return hits, failures


def kinds_to_confirm(hits: Sequence[Hit], computed: Mapping[str, bytes]) -> tuple[DigestKind, ...]:
    """All kinds that the hit entries know, if one of them was not computed yet; else nothing."""
    known = {kind for hit in hits for kind in hit.keys}
    if known <= set(computed):
        return ()
    return tuple(kind for kind in KINDS if kind in known or kind in computed)


def judge(hits: Sequence[Hit], digests: Mapping[str, bytes]) -> Verdict:
    """The verdict over *hits* for a file with these *digests*."""
    if not hits:
        return Verdict(Ruling.NOTHING)
    speaking = {Role.TRUSTED: False, Role.UNDECIDED: False}
    bad: list[Hit] = []
    for hit in hits:
        agrees = not hit.contradicted(digests)
        roles = {listing.role for listing in hit.entry.listings}
        if roles & {Role.KNOWN_BAD, Role.TEST}:
            bad.append(hit)
        speaking[Role.TRUSTED] |= agrees and Role.TRUSTED in roles
        speaking[Role.UNDECIDED] |= Role.UNDECIDED in roles
    if bad:
        # Of several, one that agrees in everything speaks first, and a real listing before the built-in test.
        bad.sort(key=lambda hit: (hit.contradicted(digests), _only_test(hit), len(digests) - len(hit.keys)))
        compared = [hit.compare(digests) for hit in bad]
        agree = {kind for same, _ in compared for kind in same}
        disagree = {kind for _, other in compared for kind in other} - agree
        return Verdict(
            Ruling.SUPPRESSED if speaking[Role.TRUSTED] else Ruling.KNOWN_BAD,
            tuple(hits),
            bad[0],
            tuple(kind.value for kind in KINDS if kind in agree),
            tuple(kind.value for kind in KINDS if kind in disagree),
            all(_only_test(hit) for hit in bad),
        )
    if speaking[Role.TRUSTED]:
        return Verdict(Ruling.KNOWN_GOOD, tuple(hits))
    return Verdict(Ruling.UNDECIDED if speaking[Role.UNDECIDED] else Ruling.KNOWN_GOOD, tuple(hits))


def _only_test(hit: Hit) -> bool:
    bad = {Role.KNOWN_BAD, Role.TEST}
    return all(listing.role is Role.TEST for listing in hit.entry.listings if listing.role in bad)
