"""Text in chunks to lines in batches, with the line end decided once for the whole file.

Names in hash lists may hold carriage returns, and in NUL-ended lists line feeds too, so splitting at everything that
ends a line somewhere would tear rows apart. The sample decides: NUL if there is one, else line feed (one carriage
return before it belongs to it), else carriage return. Lines are bytes without their end; numbers count from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Protocol

from hashsieve.errors import ListFormatError
from hashsieve.lists.contract import Batch
from hashsieve.model import Record

__all__ = ["MAX_LINE_BYTES", "Rows", "line_end", "read_rows", "split_blocks", "split_lines"]

MAX_LINE_BYTES = 1 << 20
"""Longest line that is read. The longest file name is 4 KiB (Linux) or 64 KiB (Windows), escaped twice that."""

_SHORT_RUN_ROWS = 64
_ODD_BYTES = 16 << 10

BATCH_LINES = 2048
"""Most lines in a batch. With all lines of a chunk at once their records left the cache, at twice the time per row."""

_ROW = rb"\\?(?:[0-9A-Fa-f]{64}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{32})(?![0-9A-Fa-f])"
_HIDDEN_ROW = {
    b"\n": re.compile(rb"\r" + _ROW),
    b"\r": re.compile(rb"\n" + _ROW),
    b"\0": re.compile(rb"[\r\n]" + _ROW),
}


def line_end(sample: bytes) -> bytes:
    """What ends the lines of the text that begins with *sample*: NUL, line feed or carriage return."""
    for end in (b"\0", b"\n", b"\r"):
        if end in sample:
            return end
    return b"\n"


def split_blocks(chunks: Iterable[bytes], end: bytes) -> Iterator[tuple[bytes, bool]]:
    """The text of *chunks* cut behind line ends, about a chunk at a time, and whether the block ends with one.

    Only the last block, a single line, may not: either the text ends with it, or it is the beginning of a line over
    :data:`MAX_LINE_BYTES`, behind which nothing is read.
    """
    rest = b""
    for chunk in chunks:
        cut = chunk.rfind(end) + 1
        if cut:
            yield rest + chunk[:cut] if rest else chunk[:cut], True
            rest = chunk[cut:]
        else:
            rest += chunk
        if len(rest) > MAX_LINE_BYTES:
            break
    if rest:
        yield rest, False


def split_lines(chunks: Iterable[bytes], end: bytes) -> Iterator[tuple[int, list[bytes], bool]]:
    """The lines of *chunks* in batches: number of the first line, lines, and whether they were ended.

    Only the last batch, a single line, may not be ended. Raises :class:`ListFormatError` for a line over
    :data:`MAX_LINE_BYTES`, and where line ends are mixed so that a row would hide in the name of another and be lost.
    """
    number = 1
    for block, ended in split_blocks(chunks, end):
        lines = _lines(block[:-1], end, number) if ended else [_last_line(block, end, number)]
        for start in range(0, len(lines), BATCH_LINES):
            yield number + start, lines[start : start + BATCH_LINES], ended
        number += len(lines)


class Rows(Protocol):
    """The rows of one reading, for :func:`read_rows`."""

    def plain(self, block: bytes, start: int) -> tuple[Batch | None, int]:
        """The run of plain rows, one a line, that begins at *start* of *block*, and the offset behind it; or None and
        *start* if there is none, or if the rows so far do not tell what a plain row is."""

    def records(self, number: int, lines: list[bytes]) -> list[Record]:
        """The records of any *lines*, the first of which has *number*."""

    def check_whole(self, number: int, line: bytes) -> None:
        """Raise :class:`~hashsieve.errors.ListCutShortError` if the last *line*, which has no end, is cut."""


def read_rows(chunks: Iterable[bytes], end: bytes, rows: Rows) -> Iterator[Batch]:
    """The records of all lines: runs of plain rows by ``rows.plain``, everything between them by ``rows.records``.

    Raises :class:`ListFormatError` as :func:`split_lines` does.
    """
    number = 1
    for block, ended in split_blocks(chunks, end):
        if not ended:
            line = _last_line(block, end, number)
            rows.check_whole(number, line)
            yield rows.records(number, [line])
            return
        start = 0
        while start < len(block):
            batch, start = rows.plain(block, start)
            run = len(batch) if batch is not None else 0
            if batch is not None:
                number += run
                yield batch
            if start == len(block):
                break
            # Where runs are short a call for each would cost more than taking all lines one by one.
            stop = block.find(end, start if run > _SHORT_RUN_ROWS else min(start + _ODD_BYTES, len(block) - 1)) + 1
            lines = _lines(block[start : stop - 1], end, number)
            yield rows.records(number, lines)
            number += len(lines)
            start = stop


def _last_line(block: bytes, end: bytes, number: int) -> bytes:
    """The line that *block*, which has no end, is."""
    if len(block) > MAX_LINE_BYTES:
        raise ListFormatError(f"line {number} is longer than {MAX_LINE_BYTES} bytes; this is no text list")
    return _lines(block, end, number)[0]


def _lines(block: bytes, end: bytes, number: int) -> list[bytes]:
    """The lines of *block*, which begins with line *number*."""
    if end == b"\n" and b"\r" in block:
        block = (block + b"\n").replace(b"\r\n", b"\n")[:-1]
    if end != b"\0" and b"\0" in block:
        at = number + block[: block.index(b"\0")].count(end)
        raise ListFormatError(f"line {at} holds a NUL byte, but lines do not end with it; this is no text list")
    if (b"\r" in block or b"\n" in block) and (hidden := _HIDDEN_ROW[end].search(block)):
        at = number + block[: hidden.start()].count(end)
        raise ListFormatError(f"line {at} holds another row behind a different line end; use one line end throughout")
    return block.split(end)
