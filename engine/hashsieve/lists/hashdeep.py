"""hashdeep text: ``%%%% HASHDEEP-1.0``, a line that names the columns, ``##`` comments, then rows.

``size,digest,...,name``: the columns are split from the left, since names are neither quoted nor escaped and may hold
commas. A name with a line feed spills onto lines of its own; such a line does not begin with a size and is dropped. A
row of piecewise hashing describes a part of a file and is refused. Comments hold host facts and are skipped unread.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Iterator
from dataclasses import dataclass

from hashsieve._lists import MAX_COLUMNS, Rules
from hashsieve.errors import ListCutShortError, ListFormatError
from hashsieve.lists.build import new_record
from hashsieve.lists.contract import Batch, FormatInfo, Job, ListReport, PackedRows, excerpt
from hashsieve.lists.digests import UNIVERSAL, size_of, why_bad
from hashsieve.lists.lines import line_end, read_rows
from hashsieve.lists.source import Source, decode_sample
from hashsieve.model import KINDS, DigestKind, Listing, Record

__all__ = ["HASHDEEP", "Hashdeep"]

_MAGIC = b"%%%% HASHDEEP-"
_VERSION = b"%%%% HASHDEEP-1.0"
_COLUMNS = b"%%%% size,"
_KINDS = {b"md5": DigestKind.MD5, b"sha1": DigestKind.SHA1, b"sha256": DigestKind.SHA256}
_PIECE = re.compile(rb" offset \d+-\d+$")


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of the rows: how many there are, where the digests stand, and how many digests are not matched."""

    count: int
    digests: tuple[tuple[int, str, int], ...]
    """Position, kind and length in bytes."""
    ignored: int
    kinds: tuple[DigestKind, ...]
    """The kinds of the digests, in the order of kinds."""
    packed: tuple[tuple[int, int], ...]
    """Length and place in a packed row of each column between size and name; see :class:`hashsieve._lists.Rules`."""


class Hashdeep:
    """The reader. See the text of the module for what it accepts."""

    info = FormatInfo("hashdeep", "hashdeep 1.0 text: size, several digests, name", "hashdeep of the md5deep suite")
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """The first line that is neither blank nor a comment is the hashdeep header."""
        for line in sample.split(line_end(sample)):
            text = line.strip()
            if text and not text.startswith(b"#"):
                return "begins with the hashdeep header" if text.startswith(_MAGIC) else None
        return None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        end = line_end(decode_sample(source.sample()))
        rows = _Rows(job, end)
        yield from read_rows(source.chunks(), end, rows)
        rows.check_header()


class _Rows:
    """The rows of one reading."""

    def __init__(self, job: Job, end: bytes) -> None:
        self._rules = Rules(end, UNIVERSAL)
        self._report: ListReport = job.report
        self._listing = Listing(job.source, job.role)
        self._columns: _Columns | None = None
        self._versioned = False
        self._rows_seen = False

    def plain(self, block: bytes, start: int) -> tuple[Batch | None, int]:
        """The run of rows that agree with the header; see :class:`~hashsieve.lists.lines.Rows`."""
        columns = self._columns
        if columns is None or not columns.packed:
            return None, start
        digests, sizes, stop = self._rules.sized_rows(block, start, columns.packed)
        if not digests:
            return None, stop
        self._rows_seen = True
        rows = PackedRows(columns.kinds, digests, self._listing, memoryview(sizes).cast("q"))
        if columns.ignored:
            self._report.drop("unsupported-kind", columns.ignored * len(rows))
        return rows, stop

    def records(self, number: int, lines: list[bytes]) -> list[Record]:
        """The records of *lines*, the first of which has *number*."""
        records: list[Record] = []
        columns = self._columns
        for line_number, line in enumerate(lines, number):
            if columns is not None:
                cells = line.split(b",", columns.count - 1)
                if len(cells) == columns.count and cells[0].isdigit() and b" offset " not in cells[-1]:
                    digests = self._digests(cells, columns)
                    if digests is not None:
                        if digests:
                            records.append(new_record(digests, size_of(cells[0]), self._listing))
                        continue
            record = self._odd_line(line_number, line)
            if record is not None:
                records.append(record)
            columns = self._columns
        return records

    def check_whole(self, number: int, line: bytes) -> None:
        """Raise :class:`ListCutShortError` if the last line, which has no end, stops before its name."""
        text = line.strip()
        if text.startswith(b"%%%%") and not text.endswith((_VERSION, b",filename")):
            raise ListCutShortError(f"the last line, {number}, has no end and is no whole header: {excerpt(line)}")
        if self._columns is None or not text or text.startswith((b"##", b"%%%%")):
            return
        cells = text.split(b",", self._columns.count - 1)
        if not cells[0].isdigit():
            return  # a spilled name
        whole = len(cells) == self._columns.count and not any(
            why_bad(cells[index], size_bytes) for index, _, size_bytes in self._columns.digests
        )
        if not whole:
            raise ListCutShortError(f"the last line, {number}, has no end and is no whole row: {excerpt(line)}")

    def check_header(self) -> None:
        """Raise :class:`ListCutShortError` if the list ended before its rows could begin."""
        if self._columns is None:
            raise ListCutShortError("ends before the line that names the columns")

    def _digests(self, cells: list[bytes], columns: _Columns) -> dict[str, bytes] | None:
        """The digests of a row, without universal ones, or None if one of them is bad."""
        self._rows_seen = True
        digests: dict[str, bytes] = {}
        universal = False
        try:
            for index, kind, size_bytes in columns.digests:
                raw = unhexlify(cells[index])
                if len(raw) != size_bytes:
                    return None
                digests[kind] = raw
                universal = universal or raw in UNIVERSAL
        except ValueError:
            return None
        if columns.ignored:
            self._report.drop("unsupported-kind", columns.ignored)
        if universal:
            for kind, raw in list(digests.items()):
                if raw in UNIVERSAL:
                    self._report.drop(UNIVERSAL[raw])
                    del digests[kind]
        return digests

    def _odd_line(self, number: int, line: bytes) -> Record | None:
        """The record of a line that is no plain row, or None."""
        text = line.strip()
        if not text or text.startswith(b"#" if self._columns is None else b"##"):
            return None
        if text.startswith(b"%%%% "):
            self._header(number, text)
            return None
        if self._columns is None:
            raise ListFormatError(f"line {number} stands before the line that names the columns (%%%% size,...)")
        return self._odd_row(number, line, self._columns)

    def _header(self, number: int, text: bytes) -> None:
        """Take one of the two header lines. They come again where lists were joined."""
        if text == _VERSION:
            self._versioned = True
        elif text.startswith(_COLUMNS) and self._versioned:
            self._columns = _parse_columns(number, text)
        elif self._columns is None:
            raise ListFormatError(f"line {number}: {excerpt(text)} is not the header of a hashdeep 1.0 list")
        else:
            self._report.drop("spilled-name")

    def _odd_row(self, number: int, line: bytes, columns: _Columns) -> Record | None:
        """The record of a row the fast path left, or None; counts why."""
        cells = line.split(b",", columns.count - 1)
        if len(cells) == 1 or not cells[0].isdigit():
            if self._rows_seen:
                self._report.drop("spilled-name")
            else:
                self._report.refuse(f"line {number}", "not-a-row", line)
            return None
        reason = _why_refused(cells, columns)
        if reason:
            self._rows_seen = True
            self._report.refuse(f"line {number}", reason, line)
            return None
        digests = self._digests(cells, columns)
        return new_record(digests, size_of(cells[0]), self._listing) if digests else None


def _why_refused(cells: list[bytes], columns: _Columns) -> str | None:
    """Why a line that begins with a size is no row of a whole file, or None if it is one."""
    if len(cells) < columns.count:
        return "missing-column"
    if _PIECE.search(cells[-1]):
        return "piecewise"
    return next((reason for index, _, size in columns.digests if (reason := why_bad(cells[index], size))), None)


def _parse_columns(number: int, text: bytes) -> _Columns:
    """The columns that the header line *text* names."""
    names = [name.strip() for name in text.removeprefix(b"%%%% ").split(b",")]
    digests = tuple(
        (index, _KINDS[name].value, _KINDS[name].size_bytes) for index, name in enumerate(names) if name in _KINDS
    )
    if names[-1] != b"filename":
        raise ListFormatError(f"line {number}: the last column is not filename: {excerpt(text)}")
    if not digests:
        raise ListFormatError(f"line {number}: no column holds a supported digest (md5, sha1, sha256): {excerpt(text)}")
    kinds = tuple(kind for kind in KINDS if kind in {named for _, named, _ in digests})
    places, at = {}, 0
    for kind in kinds:
        places[kind.value] = at
        at += kind.size_bytes
    by_index = {index: (size_bytes, places[kind]) for index, kind, size_bytes in digests}
    packed = tuple(by_index.get(index, (0, 0)) for index in range(1, len(names) - 1))
    if len(packed) > MAX_COLUMNS or len(kinds) < len(digests) or 0 in by_index:
        packed = ()  # no list of the tool looks like this; such rows are taken one by one
    return _Columns(len(names), digests, len(names) - 2 - len(digests), kinds, packed)


HASHDEEP = Hashdeep()
