"""Digests of content that no list should carry, though it is not empty: blocks of zeros, single bytes, bare marks.

Published lists have held them, and each then matches files on every machine. They are taken, since they are exact, but
told: an operator can leave them out or list them as trusted.
"""

from __future__ import annotations

import functools
import hashlib
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

from hashsieve._lists import count_known
from hashsieve.lists.contract import Batch, PackedRows
from hashsieve.model import DigestKind

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["count_trivial", "trivial_digests"]

_SHORT = (b"\0", b"\n", b"\r\n", b" ", b"\xef\xbb\xbf", b"\xff\xfe", b"{}", b"[]")
_BLOCK_BYTES = tuple(1 << power for power in range(1, 21))
_HASHLIB_KINDS = (DigestKind.MD5, DigestKind.SHA1, DigestKind.SHA256)
_digests = attrgetter("digests")


@functools.cache
def trivial_digests() -> Mapping[DigestKind, frozenset[bytes]]:
    """By kind: the digests of short content and of blocks of zeros and of ones of 2 bytes to 1 MiB (powers of two).

    Of BLAKE3 there are none: no published list has any.
    """
    found: dict[DigestKind, frozenset[bytes]] = {}
    for kind in _HASHLIB_KINDS:
        digests = {hashlib.new(kind.value, content, usedforsecurity=False).digest() for content in _SHORT}
        for byte in (b"\0", b"\xff"):
            state = hashlib.new(kind.value, byte, usedforsecurity=False)
            done_bytes = 1
            for size_bytes in _BLOCK_BYTES if byte == b"\0" else _BLOCK_BYTES[:16]:
                state.update(byte * (size_bytes - done_bytes))
                done_bytes = size_bytes
                digests.add(state.copy().digest())
        found[kind] = frozenset(digests)
    return found


@functools.cache
def _all() -> frozenset[bytes]:
    return frozenset(chain.from_iterable(trivial_digests().values()))


def count_trivial(batch: Batch) -> int:
    """How many digests of trivial content *batch* holds."""
    if isinstance(batch, PackedRows):
        known = trivial_digests()
        count, offset = 0, 0
        for kind in batch.kinds:
            if kind in known:
                count += count_known(batch.digests, batch.row_bytes, offset, kind.size_bytes, known[kind])
            offset += kind.size_bytes
        return count
    every = _all()
    # All in C while there is nothing to count.
    if every.isdisjoint(chain.from_iterable(map(dict.values, map(_digests, batch)))):
        return 0
    return sum(raw in every for record in batch for raw in record.digests.values())
