"""What a scanner asks: its sets with all that follows from them, and the files that they could not decide.

A :class:`Known` never changes. Whoever examines takes one and goes by it to the end, so that digests planned for one
choice of sets are never looked up in another, whichever thread replaces the sets meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import _scan
from ..hashset.hashset import HashSet
from ..model import DigestKind
from .plan import plan_digests

if TYPE_CHECKING:
    from .._scan import FileStat

__all__ = ["Known", "Undecided", "UndecidedFile", "load_known"]


@dataclass(frozen=True, slots=True)
class Known:
    """Open sets, the kinds of digest that find every entry of them, and the sizes of all entries where these gate."""

    sets: tuple[HashSet, ...]
    plan: tuple[DigestKind, ...]
    sizes: _scan.Sizes | None


def load_known(sets: Sequence[HashSet], extra: Iterable[str], costs: dict[DigestKind, float]) -> Known:
    """Plans for *sets* and loads what the plan needs of each. SetError: one of them cannot be used."""
    plan = plan_digests({shape for each in sets for shape in each.shapes}, extra, costs)
    for each in sets:
        each.load(plan)
    return Known(tuple(sets), plan, _known_sizes(sets))


def _known_sizes(sets: Sequence[HashSet]) -> _scan.Sizes | None:
    """Sizes of all entries of all sets, where every one of them has a size that its custodian vouches for."""
    if not all(each.sizes == "trusted" and each.every_size and len(each) for each in sets):
        return None
    sizes = _scan.Sizes()
    for each in sets:
        each.add_sizes_to(sizes)
    return sizes


@dataclass(slots=True)
class UndecidedFile:
    """A file that a damaged set could not decide: its facts and digests when it was read, and its names."""

    stat: FileStat
    digests: dict[str, bytes]
    paths: set[bytes] = field(default_factory=set)


class Undecided:
    """Files left undecided, by identity, up to *limit_count* names. Any thread.

    Past the limit nothing more is remembered, and ``overflowed`` says that only a pass over everything decides the
    rest.
    """

    def __init__(self, limit_count: int) -> None:
        self.limit_count = limit_count
        self.overflowed = False
        self._lock = threading.Lock()
        self._files: dict[tuple[int, int], UndecidedFile] = {}
        self._name_count = 0

    def __len__(self) -> int:
        return self._name_count

    def add(self, path: bytes, stat: FileStat, digests: dict[str, bytes]) -> bool:
        """Remembers a name; False when there is no room. A name of the same file with other content replaces it."""
        with self._lock:
            key = (stat.dev, stat.ino)
            known = self._files.get(key)
            if known is not None and not known.stat.same_signature(stat):
                self._drop(key)
                known = None
            if known is not None and path in known.paths:
                return True
            if self._name_count >= self.limit_count:
                self.overflowed = True
                return False
            if known is None:
                known = self._files[key] = UndecidedFile(stat, digests)
            known.paths.add(path)
            self._name_count += 1
            return True

    def discard(self, stat: FileStat) -> None:
        """The file was decided after all."""
        if self._files:
            with self._lock:
                self._drop((stat.dev, stat.ino))

    def take(self) -> Iterator[UndecidedFile]:
        """Takes out, one by one, what is remembered now; what is added meanwhile stays."""
        with self._lock:
            keys = list(self._files)
        for key in keys:
            with self._lock:
                taken = self._drop(key)
            if taken is not None:
                yield taken

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._files.clear()
            self._name_count, self.overflowed = 0, False

    def _drop(self, key: tuple[int, int]) -> UndecidedFile | None:
        known = self._files.pop(key, None)
        self._name_count -= len(known.paths) if known is not None else 0
        return known
