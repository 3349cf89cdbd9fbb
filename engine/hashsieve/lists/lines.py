"""Text in chunks to lines in batches, with the line end decided once for the whole file.

Names in hash lists may hold carriage returns, and in NUL-ended lists line feeds too, so splitting at everything that
ends a line somewhere would tear rows apart. The sample decides: NUL if there is one, else line feed (one carriage
return before it belongs to it), else carriage return. Lines are bytes without their end; numbers count from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from hashsieve.errors import ListFormatError

__all__ = ["MAX_LINE_BYTES", "line_end", "split_lines"]

MAX_LINE_BYTES = 1 << 20
"""Longest line that is read. The longest file name is 4 KiB (Linux) or 64 KiB (Windows), escaped twice that."""

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


def split_lines(chunks: Iterable[bytes], end: bytes) -> Iterator[tuple[int, list[bytes], bool]]:
    """The lines of *chunks* in batches: number of the first line, lines, and whether they were ended.

    Only the last batch, a single line, may not be ended. Raises :class:`ListFormatError` for a line over
    :data:`MAX_LINE_BYTES`, and where line ends are mixed so that a row would hide in the name of another and be lost.
    """
    number = 1
    rest = b""
    for chunk in chunks:
        head, found, tail = chunk.rpartition(end)
        if found:
            lines = _lines(rest + head, end, number)
            for start in range(0, len(lines), BATCH_LINES):
                yield number + start, lines[start : start + BATCH_LINES], True
            number += len(lines)
            rest = tail
        else:
            rest += tail
        if len(rest) > MAX_LINE_BYTES:
            raise ListFormatError(f"line {number} is longer than {MAX_LINE_BYTES} bytes; this is no text list")
    if rest:
        yield number, _lines(rest, end, number), False


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
