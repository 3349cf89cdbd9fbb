"""Text with one digest at the beginning of each line and something behind a separator: what three formats share.

``HEX<separator>REST``. The digest's kind follows from its length: 32 digits MD5, 40 SHA-1, and 64 what the format or
``--digest`` says. Lines that begin with ``#`` are comments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from hashsieve._lists import Rules
from hashsieve.errors import ListCutShortError, ListFormatError
from hashsieve.lists.contract import Batch, Job, PackedRows, excerpt
from hashsieve.lists.digests import UNIVERSAL, UNSUPPORTED_WIDTHS, is_hex
from hashsieve.lists.lines import line_end, read_rows
from hashsieve.lists.source import SAMPLE_BYTES, Source, decode_sample
from hashsieve.lists.taking import RowTaker, kind_of_width
from hashsieve.model import DigestKind, Listing, Record

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
    end = line_end(decode_sample(source.sample()))
    yield from read_rows(source.chunks(), end, _Rows(job, end, separator, default, size, spills))


class _Rows:
    """The rows of one reading."""

    def __init__(
        self,
        job: Job,
        end: bytes,
        separator: bytes,
        default: DigestKind | None,
        size: Callable[[bytes], int | None] | None,
        spills: bool,
    ) -> None:
        self._taker = RowTaker(job)
        self._report = job.report
        self._separator = separator
        self._declared = job.options.digest or default
        self._rules = Rules(end, UNIVERSAL)
        self._listing = Listing(job.source, job.role)
        self._kind: DigestKind | None = None
        self._size = size
        self._spills = spills
        self._separators = 1 if size is None else 2
        self._after_row = False

    def plain(self, block: bytes, start: int) -> tuple[Batch | None, int]:
        """The run of rows of the kind of the row before; see :class:`~hashsieve.lists.lines.Rows`."""
        if self._kind is None:
            return None, start
        sized = self._size is not None
        digests, sizes, stop = self._rules.keyed_lines(block, start, self._separator, self._kind.size_bytes, sized)
        if not digests:
            return None, stop
        self._after_row = True
        view = memoryview(sizes).cast("q") if sized else None
        return PackedRows((self._kind,), digests, self._listing, view), stop

    def records(self, number: int, lines: list[bytes]) -> list[Record]:
        """The records of *lines*, the first of which has *number*."""
        return [record for at, line in enumerate(lines, number) if (record := self.record(at, line)) is not None]

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
        self._kind = kind
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
