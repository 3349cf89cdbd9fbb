"""Tables whose names are not safe to split at: NSRL text and ILook.

Names of files may hold commas and quotes that nobody doubled. So a row is split from the left as far as the first
column of free text and from the right as far as the last one, and what lies between is never looked at. Quotes around
cells are taken off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hashsieve.errors import ListCutShortError, ListFormatError
from hashsieve.lists.contract import Batch, Job, excerpt
from hashsieve.lists.digests import size_of
from hashsieve.lists.lines import line_end, split_lines
from hashsieve.lists.source import Source, decode_sample
from hashsieve.lists.tables import cells_of
from hashsieve.lists.taking import RowTaker
from hashsieve.model import DigestKind, Record

__all__ = ["SplitColumns", "split_header", "split_records"]


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


def split_header(names: Sequence[str], texts: frozenset[str], kinds: dict[str, DigestKind], size: str) -> SplitColumns:
    """The columns of a header of *names*: free *texts*, *kinds* of digests by name, and the name of the *size*."""
    places = [index for index, name in enumerate(names) if name in texts]
    first, last = (places[0], places[-1]) if places else (len(names), len(names) - 1)

    def place(index: int) -> int | None:
        if index < first:
            return index
        return index - len(names) if index > last else None

    digests, others, size_place = [], 0, None
    for index, name in enumerate(names):
        at = place(index)
        if at is None:
            continue
        if name in kinds:
            digests.append((at, kinds[name]))
        elif name == size:
            size_place = at
        elif "sha" in name.lower() or name in ("MD4", "CRC32"):
            others += 1
    return SplitColumns(len(names), first, len(names) - 1 - last, tuple(digests), size_place, others)


def split_records(source: Source, job: Job, columns: SplitColumns, header: bytes) -> Iterator[Batch]:
    """The records of all rows behind the line *header*, which may come again where lists were joined.

    Raises :class:`ListCutShortError` for a last row that has no end and is not whole.
    """
    taker = RowTaker(job)
    rows = _Rows(taker, columns)
    report = job.report
    started = False
    for number, lines, ended in split_lines(source.chunks(), line_end(decode_sample(source.sample()))):
        if not started:
            while lines and lines[0].strip() != header and not lines[0].strip():
                lines, number = lines[1:], number + 1
            if not lines:
                continue
            if lines[0].strip() != header:
                raise ListFormatError(f"line {number} is not the header: {excerpt(lines[0])}")
            started = True
            lines, number = lines[1:], number + 1
        if ended:
            yield rows.records(number, lines, header)
            continue
        refused_count = sum(report.refused.values())
        records = rows.records(number, lines, header)
        last = lines[0].strip() if lines else b""
        cells = len(cells_of(last.decode("latin-1"), ","))
        if sum(report.refused.values()) > refused_count or (last and cells < columns.count):
            raise ListCutShortError(f"the last row, in line {number}, has no end and is not whole: {excerpt(last)}")
        yield records


class _Rows:
    """The rows of one reading."""

    def __init__(self, taker: RowTaker, columns: SplitColumns) -> None:
        self._taker = taker
        self._columns = columns

    def records(self, number: int, lines: list[bytes], header: bytes) -> list[Record]:
        """The records of *lines*, the first of which has *number*."""
        columns, taker = self._columns, self._taker
        left, right, size_at = columns.left, columns.right, columns.size
        records: list[Record] = []
        for line_number, line in enumerate(lines, number):
            # From the left first: what is left over then begins with free text.
            head = line.split(b",", left)
            tail = head[-1].rsplit(b",", right) if len(head) > left else []
            if len(tail) <= right:
                text = line.strip()
                if text and text != header:
                    taker.report.refuse(f"line {line_number}", "missing-column", line)
                continue
            cells = {index: head[index] if index >= 0 else tail[index] for index, _ in columns.digests}
            if columns.others:
                taker.report.drop("unsupported-kind", columns.others)
            size = None
            if size_at is not None:
                size = size_of((head[size_at] if size_at >= 0 else tail[size_at]).strip(b' "'))
            digests = [(kind, cells[index].strip(b' "')) for index, kind in columns.digests]
            if line.strip() == header:
                continue
            record = taker.record(f"line {line_number}", line, digests, size)
            if record is not None:
                records.append(record)
        return records
