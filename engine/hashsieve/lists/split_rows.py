"""Tables whose names are not safe to split at: NSRL text and ILook.

Names of files may hold commas and quotes that nobody doubled. So a row is split from the left as far as the first
column of free text and from the right as far as the last one, and what lies between is never looked at. Quotes around
cells are taken off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from hashsieve._lists import EMPTY_COLUMN, MAX_COLUMNS, SIZE_COLUMN, Rules
from hashsieve.errors import ListCutShortError, ListFormatError
from hashsieve.lists.contract import Batch, Job, PackedRows, excerpt
from hashsieve.lists.digests import UNIVERSAL, size_of, why_bad
from hashsieve.lists.lines import line_end, read_rows
from hashsieve.lists.source import Source, decode_sample
from hashsieve.lists.tables import cells_of
from hashsieve.lists.taking import RowTaker
from hashsieve.model import KINDS, DigestKind, Listing, Record, Role

__all__ = ["SplitColumns", "split_header", "split_records"]

_MAX_CODE_CHARS = 20
_FINE = (None, "empty-value")


@dataclass(frozen=True, slots=True)
class SplitColumns:
    """Where the cells of a row are: those left of all free text by their place from the left (0, 1, ...), those right
    of it by their place from the right (-1, -2, ...)."""

    count: int
    left: int
    """Cells left of the free text."""
    right: int
    digests: tuple[tuple[int, DigestKind], ...]
    size: int | None
    others: int
    """Columns of digests that are not matched."""
    code: int | None = None
    """A column that is mostly empty and else says what kind of file it is: the category."""


def split_header(
    names: Sequence[str], texts: frozenset[str], kinds: dict[str, DigestKind], size: str, code: str = ""
) -> SplitColumns:
    """The columns of a header of *names*: free *texts*, *kinds* of digests by name, the names of *size* and *code*."""
    places = [index for index, name in enumerate(names) if name in texts]
    first, last = (places[0], places[-1]) if places else (len(names), len(names) - 1)

    def place(index: int) -> int | None:
        if index < first:
            return index
        return index - len(names) if index > last else None

    digests, others = [], 0
    size_place: int | None = None
    code_place: int | None = None
    for index, name in enumerate(names):
        at = place(index)
        if at is None:
            continue
        if name in kinds:
            digests.append((at, kinds[name]))
        elif name == size:
            size_place = at
        elif name == code:
            code_place = at
        elif "sha" in name.lower() or name in ("MD4", "CRC32"):
            others += 1
    return SplitColumns(len(names), first, len(names) - 1 - last, tuple(digests), size_place, others, code_place)


def split_records(
    source: Source, job: Job, columns: SplitColumns, header: bytes, codes: Mapping[str, Role] = MappingProxyType({})
) -> Iterator[Batch]:
    """The records of all rows behind the line *header*, which may come again where lists were joined. *codes* gives the
    role that a row of a code has at most.

    Raises :class:`ListCutShortError` for a last row that has no end and is not whole.
    """
    end = line_end(decode_sample(source.sample()))
    yield from read_rows(source.chunks(), end, _Rows(job, end, columns, header, codes))


class _Rows:
    """The rows of one reading."""

    def __init__(self, job: Job, end: bytes, columns: SplitColumns, header: bytes, codes: Mapping[str, Role]) -> None:
        self._codes = codes
        self._role = job.role
        self._taker = RowTaker(job)
        self._report = job.report
        self._columns = columns
        self._header = header
        self._started = False
        self._rules = Rules(end, UNIVERSAL)
        self._listing = Listing(job.source, job.role)
        self._kinds, self._left, self._right = _packed(columns)

    def plain(self, block: bytes, start: int) -> tuple[Batch | None, int]:
        """The run of rows in which every digest is there; see :class:`~hashsieve.lists.lines.Rows`."""
        if not self._started or len(self._left) + len(self._right) > MAX_COLUMNS:
            return None, start
        digests, sizes, stop = self._rules.split_rows(block, start, self._left, self._right)
        if not digests:
            return None, stop
        rows = PackedRows(self._kinds, digests, self._listing, memoryview(sizes).cast("q"))
        if self._columns.others:
            self._report.drop("unsupported-kind", self._columns.others * len(rows))
        return rows, stop

    def check_whole(self, number: int, line: bytes) -> None:
        """Raise :class:`ListCutShortError` if the last *line*, which has no end, is no whole row."""
        text = line.strip()
        if not text or text == self._header:
            return
        digests = self._digests(line)
        bad = digests is None or any(why_bad(cell, kind.size_bytes) not in _FINE for kind, cell in digests)
        if bad or len(cells_of(text.decode("latin-1"), ",")) < self._columns.count:
            raise ListCutShortError(f"the last row, in line {number}, has no end and is not whole: {excerpt(text)}")

    def records(self, number: int, lines: list[bytes]) -> list[Record]:
        """The records of *lines*, the first of which has *number*."""
        columns, taker = self._columns, self._taker
        records: list[Record] = []
        for line_number, line in enumerate(lines, number):
            digests = self._digests(line) if self._started else None
            if digests is None or line.strip() == self._header:
                self._odd_line(line_number, line)
                continue
            if columns.others:
                self._report.drop("unsupported-kind", columns.others)
            listing = self._coded(line)
            record = taker.record(f"line {line_number}", line, digests, self._size(line), listing=listing)
            if record is not None:
                records.append(record)
        return records

    def _odd_line(self, number: int, line: bytes) -> None:
        """A line that is no row: the header, a blank one, or a refused one."""
        text = line.strip()
        if text == self._header:
            self._started = True
        elif text and not self._started:
            raise ListFormatError(f"line {number} is not the header: {excerpt(line)}")
        elif text:
            self._report.refuse(f"line {number}", "missing-column", line)

    def _cell(self, line: bytes, place: int) -> bytes | None:
        columns = self._columns
        # From the left first: what is left over then begins with free text.
        head = line.split(b",", columns.left)
        if len(head) <= columns.left:
            return None
        tail = head[-1].rsplit(b",", columns.right)
        if len(tail) <= columns.right:
            return None
        return (head[place] if place >= 0 else tail[place]).strip(b' "\r')

    def _digests(self, line: bytes) -> list[tuple[DigestKind, bytes]] | None:
        """The digests of a row as text; None if it has too few cells."""
        found = []
        for place, kind in self._columns.digests:
            cell = self._cell(line, place)
            if cell is None:
                return None
            found.append((kind, cell))
        return found

    def _coded(self, line: bytes) -> Listing | None:
        """The listing of a row with a code; None for that of the whole list."""
        code = (self._cell(line, self._columns.code) if self._columns.code is not None else None) or b""
        text = code.decode("latin-1")
        if not text or len(text) > _MAX_CODE_CHARS:
            return None
        return self._taker.listing(self._codes.get(text, self._role), text)

    def _size(self, line: bytes) -> int | None:
        cell = self._cell(line, self._columns.size) if self._columns.size is not None else None
        return size_of(cell) if cell is not None else None


def _packed(
    columns: SplitColumns,
) -> tuple[tuple[DigestKind, ...], list[tuple[int, int]], list[tuple[int, int]]]:
    """The kinds in their order, and the columns from the left and from the right, as the native part takes them."""
    kinds = tuple(kind for kind in KINDS if kind in {named for _, named in columns.digests})
    left: list[tuple[int, int]] = [(0, 0)] * columns.left
    right: list[tuple[int, int]] = [(0, 0)] * columns.right
    for place, kind in columns.digests:
        offset = sum(each.size_bytes for each in kinds[: kinds.index(kind)])
        (left if place >= 0 else right)[place] = (kind.size_bytes, offset)
    if columns.size is not None:
        (left if columns.size >= 0 else right)[columns.size] = (0, SIZE_COLUMN)
    if columns.code is not None:
        (left if columns.code >= 0 else right)[columns.code] = (0, EMPTY_COLUMN)
    return kinds, left, right
