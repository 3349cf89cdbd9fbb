"""Tables with separators and quotes, row by row, as RFC 4180 and what is called CSV elsewhere have them.

A quote that is opened and never closed makes a table of millions of rows into one cell, silently. So a cell of several
lines that has digests behind a line end is no cell: the list is refused. And a table that ends within quotes is cut
short. Cells are text in which each character is one byte of the file: names need no decoding, since nobody keeps them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hashsieve.errors import ListCutShortError, ListFormatError
from hashsieve.lists.contract import ListReport
from hashsieve.lists.lines import line_end, split_lines
from hashsieve.lists.source import SAMPLE_BYTES, Source, decode_sample
from hashsieve.lists.taking import BATCH_RECORDS
from hashsieve.model import Record

__all__ = ["DELIMITERS", "Row", "cells_of", "plain_name", "sample_lines", "sample_rows", "table_records", "table_rows"]

DELIMITERS = ",\t;|"
_MAX_CELL_CHARS = 1 << 20
_DIGEST_LATER = re.compile(
    r"[\r\n].*?(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{64}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{32})(?![0-9A-Za-z])", re.S
)


@dataclass(slots=True)
class Row:
    """One row: the number of its first line, its cells, and whether its line has an end."""

    number: int
    cells: list[str]
    ended: bool = True

    @property
    def position(self) -> str:
        """Where it is, for a report."""
        return f"line {self.number}"

    @property
    def text(self) -> str:
        """The row for an excerpt."""
        return ",".join(self.cells)


def table_rows(source: Source, delimiter: str, *, skip: int = 0, comment: str = "") -> Iterator[Row]:
    """The rows of a table behind its first *skip* lines; blank ones and those that begin with *comment* left out.

    Raises :class:`ListFormatError` where quotes swallow rows, :class:`ListCutShortError` where the table ends in them.
    """
    lines = _Lines(source, skip, comment)
    # The limit is one of the process; it is only ever raised here.
    if csv.field_size_limit() < _MAX_CELL_CHARS:
        csv.field_size_limit(_MAX_CELL_CHARS)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != "\t")
    while True:
        lines.begin_row()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ListFormatError(f"line {lines.first}: {error}; the quotes of this table do not close") from error
        if cells is None:
            return
        if lines.row_lines > 1 and any(_DIGEST_LATER.search(cell) for cell in cells):
            raise ListFormatError(f"line {lines.first} opens a quote that swallows the rows behind it")
        if lines.asked_for_more:
            raise ListCutShortError(f"the last row, in line {lines.first}, ends within quotes")
        if any(cells):
            yield Row(lines.first, cells, lines.ended)


class _Lines:
    """The lines of a table for the parser, with a count of those it took for the row at hand."""

    def __init__(self, source: Source, skip: int, comment: str) -> None:
        end = line_end(decode_sample(source.sample()))
        self._lines = _numbered(source, end)
        self._skip = skip
        self._comment = comment.encode()
        self._taken: list[str] = []
        self.first = 0
        self.ended = True
        self.asked_for_more = False

    def begin_row(self) -> None:
        """Forget the lines of the row before."""
        self._taken = []

    @property
    def row_lines(self) -> int:
        """How many lines the row at hand has."""
        return len(self._taken)

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        for number, line, ended in self._lines:
            if number <= self._skip:
                continue
            if not self._taken:
                if self._comment and line.lstrip().startswith(self._comment):
                    continue
                self.first = number
            # A carriage return outside of quotes would end a row for the parser; in a name it does not.
            text = line.decode("latin-1") + "\n"
            self._taken.append(text)
            self.ended = ended
            return text.replace("\r", " ")
        self.asked_for_more = True
        raise StopIteration


def _numbered(source: Source, end: bytes) -> Iterator[tuple[int, bytes, bool]]:
    for first, lines, ended in split_lines(source.chunks(), end):
        for number, line in enumerate(lines, first):
            yield number, line, ended


def table_records(
    rows: Iterable[Row], report: ListReport, width: int, record_of: Callable[[Row], Record | None]
) -> Iterator[list[Record]]:
    """The records that *record_of* makes of *rows*, in batches.

    Raises :class:`ListCutShortError` if the last row has no end and is bad, or has fewer cells than the *width* of the
    table.
    """
    batch: list[Record] = []
    for row in rows:
        refused_count = sum(report.refused.values()) if not row.ended else 0
        record = record_of(row)
        if not row.ended and (len(row.cells) < width or sum(report.refused.values()) > refused_count):
            raise ListCutShortError(f"the last row, in line {row.number}, has no end and is not whole")
        if record is not None:
            batch.append(record)
            if len(batch) >= BATCH_RECORDS:
                yield batch
                batch = []
    yield batch


def sample_lines(sample: bytes) -> list[str]:
    """The whole lines of a decoded *sample*, without their ends."""
    lines = sample.split(line_end(sample))
    if len(sample) >= SAMPLE_BYTES // 2 and len(lines) > 1:
        lines.pop()  # perhaps cut by the end of the sample, which UTF-16 has halved
    return [line.decode("latin-1").removesuffix("\r") for line in lines]


def sample_rows(lines: Iterable[str], delimiter: str) -> list[list[str]]:
    """The rows of some *lines* of a sample, for a guess: what does not parse is left out."""
    rows: list[list[str]] = []
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, skipinitialspace=delimiter != "\t")
    while True:
        try:
            cells = next(reader, None)
        except csv.Error:
            continue
        if cells is None:
            return rows
        if any(cells):
            rows.append(cells)


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of one *line*."""
    rows = sample_rows((line,), delimiter)
    return rows[0] if rows else []


def plain_name(cell: str) -> str:
    """The name of a column in lower case and without punctuation."""
    return re.sub(r"[^a-z0-9]", "", cell.lower())
