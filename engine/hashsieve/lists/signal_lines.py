"""Signals as the threatexchange tool keeps them in local files: ``signal_type value``, one a line.

``video_md5`` and its like are digests; PDQ, TMK and other similarity signals are counted as dropped, and so are all
other types. The indexes that the tool makes from such files are Python pickles: those are never read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hashsieve.errors import ListCutShortError
from hashsieve.lists.contract import Batch, FormatInfo, Job, excerpt
from hashsieve.lists.keyed_lines import share_of_rows
from hashsieve.lists.lines import line_end, split_lines
from hashsieve.lists.source import Source, decode_sample
from hashsieve.lists.taking import RowTaker, kind_called
from hashsieve.model import DigestKind, Record

__all__ = ["SIGNAL_LINES", "SignalLines"]

_ROW = re.compile(
    rb"(?:(?:video|photo|image)_(?:md5|sha1|sha256|pdq|tmk_pdqf|vpdq)|"
    rb"pdq(?:_ocr)?|vpdq|photodna|raw_text|trend_query|url)[ \t]+\S"
)
_DIGEST_ROW = re.compile(rb"(?:(?:video|photo|image)_)?(?:md5|sha1|sha256)[ \t]+[0-9A-Fa-f]{32,64}$")


class SignalLines:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo(
        "signal-lines", "signal_type value, such as video_md5 HEX", "threatexchange, hasher-matcher-actioner"
    )
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """At least half of the rows are the name of a signal and a value, one of them a digest."""
        shaped, rows = share_of_rows(sample, re.compile(_ROW.pattern + b"|" + _DIGEST_ROW.pattern))
        digests, _ = share_of_rows(sample, _DIGEST_ROW)
        if not digests or 2 * shaped < rows:
            return None
        return f"{shaped} of the first {rows} rows are signals with their type"

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        rows = _Rows(job)
        for number, lines, ended in split_lines(source.chunks(), line_end(decode_sample(source.sample()))):
            refused_count = sum(job.report.refused.values())
            batch = [record for at, line in enumerate(lines, number) if (record := rows.record(at, line)) is not None]
            if not ended and sum(job.report.refused.values()) > refused_count:
                raise ListCutShortError(f"the last line, {number}, has no end and is not whole: {excerpt(lines[0])}")
            yield batch


class _Rows:
    """The rows of one reading."""

    def __init__(self, job: Job) -> None:
        self._taker = RowTaker(job)
        self._report = job.report

    def record(self, number: int, line: bytes) -> Record | None:
        """The record of a line, or None."""
        words = line.split(None, 1)
        if not words or words[0].startswith(b"#"):
            return None
        kind = kind_called(words[0].decode("latin-1"))
        if not isinstance(kind, DigestKind):
            if kind is None and not _ROW.match(line):
                self._report.refuse(f"line {number}", "unknown-type", line)
            else:
                self._report.drop(kind or "other-type")
            return None
        value = words[1] if len(words) > 1 else b""
        return self._taker.record(f"line {number}", line, [(kind, value.strip())])


SIGNAL_LINES = SignalLines()
