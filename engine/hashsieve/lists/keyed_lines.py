"""Text with one digest at the beginning of each line and something behind a separator: what three formats share.

``HEX<separator>REST``. The digest's kind follows from its length: 32 digits MD5, 40 SHA-1, and 64 what the format or
``--digest`` says. Lines that begin with ``#`` are comments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from hashsieve.errors import ListCutShortError, ListFormatError
from hashsieve.lists.contract import Batch, Job, excerpt
from hashsieve.lists.digests import UNSUPPORTED_WIDTHS, is_hex
from hashsieve.lists.lines import line_end, split_lines
from hashsieve.lists.source import SAMPLE_BYTES, Source, decode_sample
from hashsieve.lists.taking import RowTaker, kind_of_width
from hashsieve.model import DigestKind, Record

__all__ = ["keyed_records", "share_of_rows"]


def share_of_rows(sample: bytes, row: re.Pattern[bytes]) -> tuple[int, int]:
    """How many rows of a decoded *sample*, comments and blank lines aside, match *row*, and how many there are."""
    lines = sample.split(line_end(sample))
    if len(sample) >= SAMPLE_BYTES // 2 and len(lines) > 1:
        lines.pop()  # perhaps cut by the end of the sample, which UTF-16 has halved
    rows = [text for line in lines if (text := line.strip()) and not text.startswith(b"#")]
    return sum(1 for text in rows if row.match(text)), len(rows)


def keyed_records(
    source: Source,
    job: Job,
    separator: bytes,
    *,
    default: DigestKind | None = None,
    size: Callable[[bytes], int | None] | None = None,
    spills: bool = False,
) -> Iterator[Batch]:
    """The records of all rows. *default* is the kind of 64 digits where none is declared; *size* takes the size from
    the rest of a row; where a format *spills*, lines without a digest behind a row belong to its name.

    Raises :class:`ListFormatError` for 64 digits of an unknown kind, :class:`ListCutShortError` for a last line that
    has no end and no whole digest.
    """
    rows = _Rows(job, separator, job.options.digest or default, size, spills)
    for number, lines, ended in split_lines(source.chunks(), line_end(decode_sample(source.sample()))):
        if not ended:
            rows.check_whole(number, lines[0])
        yield [record for at, line in enumerate(lines, number) if (record := rows.record(at, line)) is not None]


class _Rows:
    """The rows of one reading."""

    def __init__(
        self,
        job: Job,
        separator: bytes,
        declared: DigestKind | None,
        size: Callable[[bytes], int | None] | None,
        spills: bool,
    ) -> None:
        self._taker = RowTaker(job)
        self._report = job.report
        self._separator = separator
        self._declared = declared
        self._size = size
        self._spills = spills
        self._separators = 1 if size is None else 2
        self._after_row = False

    def record(self, number: int, line: bytes) -> Record | None:
        """The record of a line, or None."""
        text = line.strip()
        if not text or text.startswith(b"#"):
            return None
        digest, found, rest = line.partition(self._separator)
        digest = digest.strip().strip(b'"')
        if not is_hex(digest):
            if self._spills and self._after_row and not found:
                self._report.drop("spilled-name")
            else:
                self._report.refuse(f"line {number}", "not-hex" if digest else "empty-value", line)
            return None
        kind = kind_of_width(len(digest), self._declared)
        if kind is None:
            if len(digest) == 2 * DigestKind.SHA256.size_bytes:
                raise ListFormatError(
                    f"line {number}: a digest of 64 hex digits can be of several kinds; "
                    f"give --digest sha256 or --digest blake3"
                )
            reason = "unsupported-kind" if len(digest) in UNSUPPORTED_WIDTHS else "wrong-length"
            self._report.refuse(f"line {number}", reason, line)
            return None
        self._after_row = True
        return self._taker.record(f"line {number}", line, [(kind, digest)], self._size(rest) if self._size else None)

    def check_whole(self, number: int, line: bytes) -> None:
        """Raise :class:`ListCutShortError` if the last line, which has no end, stops before its separators."""
        text = line.strip()
        if not text or text.startswith(b"#") or text.count(self._separator) >= self._separators:
            return
        digest = text.partition(self._separator)[0].strip().strip(b'"')
        if self._spills and self._after_row and digest and not is_hex(digest):
            return  # the rest of a name
        raise ListCutShortError(f"the last line, {number}, has no end and is not whole: {excerpt(line)}")
