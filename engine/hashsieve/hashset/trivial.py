"""Digests of content so common that listing it says nothing: nothing but zeros, a single byte, an empty line.

Such digests get into lists by mistake (a carved file that was all zeros, an export of a failed copy) and would then be
found on every machine. They are computed when they are needed, not kept as a list: what is trivial is stated here, in a
form that can be read, and the digests follow from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..model import DigestKind, Role

if TYPE_CHECKING:
    from .hashset import HashSet

__all__ = ["Trivial", "listed_trivial", "trivial_digests"]

# Lengths that files of one repeated byte come in: blocks and clusters, floppy and small images, round numbers.
_LENGTHS = sorted(
    {1 << n for n in range(1, 23)}
    | {10**n for n in range(1, 7)}
    | {512 * n for n in range(1, 129)}
    | {4096 * n for n in range(1, 65)}
    | {1474560, 737280, 1228800, 2880 * 1024}  # floppy images
)
_FILLERS = (0x00, 0xFF)
_TEXTS = {
    b"": "nothing",
    b"\r\n": "an empty line",
    b"\n\n": "two empty lines",
    b"\xef\xbb\xbf": "a byte order mark",
    b"\xff\xfe": "a byte order mark",
    b"\xfe\xff": "a byte order mark",
}
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Trivial:
    """A listed digest of trivial content: which, of what, and as what it is listed."""

    kind: DigestKind
    digest: bytes
    content: str
    roles: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the ``compiled`` event tells it."""
        return {
            "kind": str(self.kind),
            "digest": self.digest.hex(),
            "content": self.content,
            "roles": list(self.roles),
        }


def _new(kind: DigestKind) -> Any:
    if kind is DigestKind.BLAKE3:
        import blake3

        return blake3.blake3()
    return hashlib.new(kind.value, usedforsecurity=False)


def trivial_digests(kind: DigestKind) -> Iterator[tuple[bytes, str]]:
    """(digest, what the content is) for all trivial content, empty content first. Some tens of milliseconds a kind."""
    for text, name in _TEXTS.items():
        made = _new(kind)
        made.update(text)
        yield made.digest(), name
    for byte in range(256):
        made = _new(kind)
        made.update(bytes([byte]))
        yield made.digest(), f"the single byte {byte:#04x}"
    for filler in _FILLERS:
        running, done = _new(kind), 0
        piece = bytes([filler]) * _PIECE
        for length in _LENGTHS:
            while done < length:
                take = min(_PIECE, length - done)
                running.update(memoryview(piece)[:take])
                done += take
            yield running.copy().digest(), f"{length:,} bytes of {filler:#04x}"


def listed_trivial(known: HashSet) -> tuple[Trivial, ...]:
    """Trivial content that an open set lists, by kind; where all listings are known-good there is nothing wrong with
    that.
    """
    found = []
    for kind in known.kinds:
        known.load([kind])
        for digest, content in trivial_digests(kind):
            roles = {listing.role for entry in known.entries(kind, digest) for listing in entry.listings}
            if roles - {Role.KNOWN_GOOD, Role.TRUSTED}:
                found.append(Trivial(kind, digest, content, tuple(sorted(map(str, roles)))))
    return tuple(found)
