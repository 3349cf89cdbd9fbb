"""What passes between the rest of hashsieve and the readers of hash lists: options, report, detection, reader.

Plain values and one protocol, no input or output. A reader of a new format is one small file that provides
:class:`Reader`; it is added to the tuple in ``reading.py`` and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from hashsieve._lists import records
from hashsieve.errors import UsageError, shown
from hashsieve.model import DigestKind, Listing, Record, Role

if TYPE_CHECKING:
    from hashsieve.lists.source import Source

__all__ = [
    "BY_CATEGORY",
    "Batch",
    "BinaryReader",
    "Detection",
    "FormatInfo",
    "Job",
    "ListOptions",
    "ListReport",
    "PackedRows",
    "Problem",
    "Reader",
    "RoleReader",
    "excerpt",
]

BY_CATEGORY = "by-category"
"""The ``role`` a report shows for formats whose records carry a grade of their own."""

PROBLEMS_KEPT = 20
"""Problems kept in a report with their position; later ones are only counted."""

_RECORDS_AT_ONCE = 512

EXCERPT_CHARS = 40
"""Longest excerpt of a bad row. Rows can hold names of files: enough to find the row, not to copy it."""


@dataclass(frozen=True, slots=True)
class ListOptions:
    """How one list is to be read; every field may be left out.

    ``role`` is what an ungraded list means and is required there; in a graded format it may only lower (see ``vics``).
    ``source`` names the list in every listing, by default the base name of the file. ``format`` skips the detection.
    ``digest`` is the kind of digests that stand without a name. ``profile`` names the category profile of a graded
    format, or the file of one; ungraded formats ignore it. ``strict`` makes any refused row fail the list. ``columns``
    says in which columns of a table what stands: ``md5``, ``sha1``, ``sha256``, ``blake3``, ``size`` or ``ref`` to the
    column's name in the header, or its number from 1.
    """

    role: Role | None = None
    source: str | None = None
    format: str | None = None
    digest: DigestKind | None = None
    profile: str | None = None
    strict: bool = False
    columns: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class FormatInfo:
    """A format for people: the name ``--format`` takes, one line about it, and who makes such lists."""

    name: str
    summary: str
    origin: str


@dataclass(frozen=True, slots=True)
class Detection:
    """The format a sample was recognised as, or None, and the reason in words."""

    format: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One refused row: where it is ("line 17", "record 3"), why, and a short escaped excerpt."""

    position: str
    reason: str
    excerpt: str

    def __str__(self) -> str:
        return f"{self.position}: {self.reason} ({self.excerpt})"


@dataclass(slots=True)
class ListReport:
    """What was taken from a list and what was not. Complete when the iteration of its :class:`ListRead` has ended.

    ``taken`` counts records. ``refused`` counts rows by the first thing found wrong with them; a row with one bad and
    one good digest is refused for the bad one and taken for the good one. ``dropped`` counts single digests left out on
    purpose (universal values, kinds that are not matched) and lines that are no rows. ``path`` and ``source`` are
    escaped for showing. ``detail`` says in words what the file declared about itself, such as its version. ``member``
    is the member of an archive that is being read.
    """

    path: str
    format: str
    role: str
    source: str
    taken: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    detail: str = ""
    member: str = ""

    def refuse(self, position: str, reason: str, text: bytes | str) -> None:
        """Count one bad row; the first ones are kept with *position* and an excerpt of *text*."""
        self.refused[reason] = self.refused.get(reason, 0) + 1
        if len(self.problems) < PROBLEMS_KEPT:
            position = f"{self.member}: {position}" if self.member else position
            self.problems.append(Problem(position, reason, excerpt(text)))

    def drop(self, reason: str, count: int = 1) -> None:
        """Count *count* digests or lines left out on purpose."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def to_json(self) -> dict[str, object]:
        """The object that stands for this list in the output of ``compile --json``."""
        return {
            "path": self.path,
            "format": self.format,
            "role": self.role,
            "source": self.source,
            "taken": self.taken,
            "refused": dict(self.refused),
            "dropped": dict(self.dropped),
        }


@dataclass(frozen=True, slots=True)
class Job:
    """One reading of one list: its options with the defaults filled in, and the report to write into."""

    options: ListOptions
    source: str
    report: ListReport

    @property
    def role(self) -> Role:
        """The role of all records of an ungraded list; raises :class:`UsageError` if none was given."""
        if self.options.role is None:
            raise UsageError("the list does not say what it means and no role was given")
        return self.options.role


@dataclass(frozen=True, slots=True)
class PackedRows:
    """Many records of one listing without a ref, as bytes: what a list of plain rows gives, at a tenth of the time.

    ``digests`` holds for each row its digests of ``kinds`` (in the order of kinds) one after another. ``sizes_bytes``
    holds the size of each row as native 64-bit integers, 0 where it is not known, or is None if no row has one.
    """

    kinds: tuple[DigestKind, ...]
    digests: bytes
    listing: Listing
    sizes_bytes: memoryview[int] | None = None

    @property
    def row_bytes(self) -> int:
        """Length of one row of ``digests``."""
        return sum(kind.size_bytes for kind in self.kinds)

    def __len__(self) -> int:
        return len(self.digests) // self.row_bytes

    def __iter__(self) -> Iterator[Record]:
        """The rows as records, made some hundreds at a time."""
        kinds = tuple((kind.value, kind.size_bytes) for kind in self.kinds)
        for start in range(0, len(self), _RECORDS_AT_ONCE):
            stop = min(start + _RECORDS_AT_ONCE, len(self))
            yield from records(Record, kinds, self.digests, self.sizes_bytes, self.listing, start, stop)


Batch = list[Record] | PackedRows
"""What readers hand on: records of bounded number, in the order of the file."""


class Reader(Protocol):
    """One format. Readers have no state: everything of one reading lives in the :class:`Job` or in locals."""

    @property
    def info(self) -> FormatInfo:
        """Name, summary and origin."""

    @property
    def graded(self) -> bool:
        """Whether records carry a category that decides their role."""

    def recognise(self, sample: bytes, name: str) -> str | None:
        """Why *sample* (decoded, without byte order mark) is of this format, or None if it is not."""

    def read(self, source: Source, job: Job) -> Iterable[Batch]:
        """The records in batches of bounded size, in the order of the file.

        Bad rows go to ``job.report``. Raises :class:`~hashsieve.errors.ListFormatError` and
        :class:`~hashsieve.errors.ListCutShortError` with texts that do not name the file; the caller adds that.
        """


@runtime_checkable
class RoleReader(Protocol):
    """A reader of a format whose lists say themselves what they mean; beside :class:`Reader`."""

    def own_role(self, name: str) -> Role | None:
        """The role of a list whose file has the base name *name*, which ``--role`` may only lower; None if it must be
        given."""


@runtime_checkable
class BinaryReader(Protocol):
    """A reader of a format that is no text; beside :class:`Reader`. ``recognise`` is not called for it."""

    def recognise_binary(self, sample: bytes, name: str) -> str | None:
        """Why *sample*, unpacked and otherwise as it is in the file, is of this format, or None if it is not.

        Raises :class:`~hashsieve.errors.ListFormatError` for what is recognised and never read, with the reason.
        """


def excerpt(text: bytes | str) -> str:
    """The beginning of *text* for a message: one line, quoted, everything unprintable escaped."""
    if isinstance(text, bytes):
        text = text[: 4 * EXCERPT_CHARS].decode("utf-8", "backslashreplace")
    cut = text[:EXCERPT_CHARS]
    return f'"{shown(cut)}{"..." if len(text) > len(cut) else ""}"'
