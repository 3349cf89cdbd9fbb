"""The nouns that all rooms share: kinds of digest, records, listings, entries, outcomes.

Plain immutable values, no input or output. Units are in the names: ``_bytes``, ``_ns``, ``_seconds``, ``_count``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "KINDS",
    "DigestKind",
    "Entry",
    "FileIdentity",
    "HealthEvent",
    "Listing",
    "Match",
    "Outcome",
    "OutcomeKind",
    "Record",
    "Role",
    "StatSignature",
    "Summary",
]


class DigestKind(enum.StrEnum):
    """A full cryptographic digest a set may hold. Members compare equal to their names (``"md5"``, ...).

    The order is the strength order used on near ties and the order of kinds in a set file.
    """

    MD5 = "md5"
    SHA1 = "sha1"
    SHA256 = "sha256"
    BLAKE3 = "blake3"

    @property
    def size_bytes(self) -> int:
        """Length of the digest in bytes: 16, 20, 32 or 32."""
        return _SIZES[self]

    @property
    def code(self) -> int:
        """Number of the kind in set files: 1, 2, 3 or 4."""
        return _CODES[self]


_SIZES = {DigestKind.MD5: 16, DigestKind.SHA1: 20, DigestKind.SHA256: 32, DigestKind.BLAKE3: 32}
_CODES = {kind: number for number, kind in enumerate(DigestKind, start=1)}
KINDS: tuple[DigestKind, ...] = tuple(DigestKind)


class Role(enum.StrEnum):
    """What a listing means. Precedence: trusted > known-bad > undecided > known-good; ``test`` acts as known-bad."""

    KNOWN_BAD = "known-bad"
    KNOWN_GOOD = "known-good"
    TRUSTED = "trusted"
    UNDECIDED = "undecided"
    TEST = "test"


@dataclass(frozen=True, slots=True, order=True)
class Listing:
    """One custodian's statement about an entry.

    ``source`` names the list, ``category`` is the custodian's own grade as text, ``ref`` the custodian's own record id;
    both may be missing and are opaque here.
    """

    source: str
    role: Role
    category: str | None = None
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a hash list. ``digests`` maps a kind to the raw digest bytes; ``size_bytes`` is None where not listed.

    ``op`` is ``"add"`` or ``"remove"`` (a tombstone for the same source and ``ref``).
    """

    digests: Mapping[str, bytes]
    size_bytes: int | None
    listing: Listing
    op: str = "add"


@dataclass(frozen=True, slots=True)
class Entry:
    """One distinct combination of digests and size, with every listing that named it."""

    digests: Mapping[str, bytes]
    size_bytes: int | None
    listings: tuple[Listing, ...]

    @property
    def size(self) -> int | None:
        """The listed size in bytes, or None."""
        return self.size_bytes


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """A file independent of its names: volume and file id (device and inode number on POSIX)."""

    volume: int
    file_id: int


@dataclass(frozen=True, slots=True)
class StatSignature:
    """What must not move while a file is read: identity, size in bytes, modification and change time in ns."""

    identity: FileIdentity
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


class OutcomeKind(enum.StrEnum):
    """The one honest result of a name."""

    MATCH = "match"
    NO_MATCH = "no_match"
    NOT_EXAMINED = "not_examined"
    CHANGED = "changed"
    GONE = "gone"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Match:
    """A confirmed hit: which digests were computed, which of the entry's kinds agree or disagree, and who listed it.

    ``set_root`` and ``generation`` name the set of the deciding listing; ``set_path`` is where it was opened.
    """

    path: bytes
    size_bytes: int
    digests: Mapping[str, bytes]
    confirmed_by: tuple[str, ...]
    contradicted_by: tuple[str, ...]
    set_root: bytes
    set_path: str
    generation: int
    entries: tuple[Entry, ...]
    identity: FileIdentity | None = None
    test: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one name. ``path`` is bytes-exact; ``reason`` says why for all but match, no_match and gone."""

    kind: OutcomeKind
    path: bytes
    reason: str | None = None
    match: Match | None = None
    size_bytes: int | None = None
    digests: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """Counters of a whole scan. ``seen`` is always the sum of the six outcomes; ``special`` lies outside it.

    ``incomplete`` counts outcomes that leave open whether the name is listed (what a named rule left out is not among
    them); ``complete`` is False when the scan was stopped before its end. ``started`` and ``ended`` are UTC, ISO 8601.
    ``expired_sets`` are the paths of sets whose end of validity had passed when the scan ended.
    """

    seen: int
    matched: int
    no_match: int
    not_examined: int
    changed: int
    gone: int
    errors: int
    special: int
    known_good: int
    undecided: int
    suppressed: int
    bytes_read: int
    cache_hits: int
    cpu_seconds: float
    wall_seconds: float
    started: str
    ended: str
    complete: bool = True
    incomplete: int = 0
    gates: Mapping[str, int] = field(default_factory=dict)
    not_examined_reasons: Mapping[str, int] = field(default_factory=dict)
    specials: Mapping[str, int] = field(default_factory=dict)
    expired_sets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HealthEvent:
    """Something an operator should know that is not about one file: what, in words, and counts by name."""

    kind: str
    text: str
    counts: Mapping[str, int] = field(default_factory=dict)
