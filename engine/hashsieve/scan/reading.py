"""Reading a file once for all digests that are needed, and knowing whether it stood still meanwhile.

The seam to the hash functions is :func:`hashers`; everything else here is about honest reading: to the real end of the
file, whatever size it claims, but not for ever after a file that grows as fast as it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from .._scan import FileStat, OpenFile
from ..model import DigestKind

__all__ = ["BUFFER_BYTES", "ReadResult", "hashers", "read_digests"]

BUFFER_BYTES = 256 * 1024
# A file may be longer than it said at the start of the read; past this it counts as growing, and is read again.
_GROWTH_BYTES = 64 * 1024 * 1024


class Hasher(Protocol):
    """What hashlib and blake3 objects have in common."""

    def update(self, data: memoryview, /) -> object: ...

    def digest(self) -> bytes: ...


def hashers(kinds: Iterable[DigestKind]) -> dict[str, Hasher]:
    """A fresh hash object for each kind."""
    made: dict[str, Hasher] = {}
    for kind in kinds:
        if kind is DigestKind.BLAKE3:
            import blake3

            made[kind.value] = blake3.blake3()
        else:
            made[kind.value] = hashlib.new(kind.value, usedforsecurity=False)
    return made


@dataclass(frozen=True, slots=True)
class ReadResult:
    """One read of a file. ``digests`` is None unless the end was reached; ``settled``: the signature did not move and
    as many bytes came as the file said. ``after`` holds the facts behind the read."""

    digests: dict[str, bytes] | None
    bytes_read: int
    settled: bool
    after: FileStat


def read_digests(
    file: OpenFile, before: FileStat, kinds: Iterable[DigestKind], buffer: bytearray, check: Callable[[], None]
) -> ReadResult:
    """Reads *file* from its start with positional reads, its own offset untouched.

    *check* is called between chunks and may raise to stop. OSError: a system call failed; nothing can be said then.
    """
    made = hashers(kinds)
    updates = [hasher.update for hasher in made.values()]
    view = memoryview(buffer)
    limit_bytes = before.size_bytes + _GROWTH_BYTES
    offset_bytes = 0
    ended = False
    while not ended and offset_bytes <= limit_bytes:
        check()
        got = file.pread_into(view, offset_bytes)
        chunk = view[:got]
        for update in updates:
            update(chunk)
        offset_bytes += got
        ended = got < len(view)
    after = file.stat()
    return ReadResult(
        digests={kind: hasher.digest() for kind, hasher in made.items()} if ended else None,
        bytes_read=offset_bytes,
        settled=ended and before.same_signature(after) and offset_bytes == after.size_bytes,
        after=after,
    )
