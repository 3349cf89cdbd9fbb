"""What only rhash writes: rows with the name first and several digests behind it, and magnet links.

``NAME  HEX  HEX...``: two blanks before each digest; the digests of all rows have the same lengths in the same order,
and what they are follows from the length: 32 digits MD5, 40 SHA-1, 64 what ``--digest`` says. Two of one length cannot
be told apart and refuse the list; other lengths are counted as dropped. A line without digests is the beginning of a
name with a line feed and is dropped. ``magnet:?xl=SIZE&dn=NAME&xt=urn:KIND:DIGEST...``: SHA-1 in base32 or hex. All
other forms of rhash are digest lines.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterator

from hashsieve.errors import ListCutShortError, ListFormatError
from hashsieve.lists.contract import Batch, FormatInfo, Job, excerpt
from hashsieve.lists.digests import HEX_WIDTHS, size_of
from hashsieve.lists.keyed_lines import share_of_rows
from hashsieve.lists.lines import line_end, split_lines
from hashsieve.lists.source import Source, decode_sample
from hashsieve.lists.taking import Other, RowTaker, kind_called, kind_of_width
from hashsieve.model import DigestKind, Record

__all__ = ["RHASH", "Rhash"]

_TAIL = re.compile(rb"(?:  +[0-9A-Fa-f]{8,128}){2,}\s*$")
_ROW = re.compile(rb".*\S" + _TAIL.pattern, re.DOTALL)
_MAGNET = re.compile(rb"magnet:\?(?:.*&)?xt=urn:")
_URN = re.compile(rb"[?&]xt=urn:([a-z0-9:-]{1,20}):([A-Za-z0-9]{8,128})(?=&|$)")
_LENGTH = re.compile(rb"[?&]xl=(\d{1,19})(?=&|$)")
_BASE32_SHA1 = 32


class Rhash:
    """The reader. See the text of the module for what it accepts."""

    info = FormatInfo("rhash", "rhash rows with the name first and several digests, and magnet links", "rhash")
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """At least half of the rows are magnet links, or names with at least two digests behind them."""
        for pattern, what in ((_MAGNET, "magnet links"), (_ROW, "names with several digests behind them")):
            shaped, rows = share_of_rows(sample, pattern)
            if shaped and 2 * shaped >= rows:
                return f"{shaped} of the first {rows} rows are {what}"
        return None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        sample = decode_sample(source.sample())
        end = line_end(sample)
        magnets, count = share_of_rows(sample, _MAGNET)
        rows: _Magnets | _Rows
        rows = _Magnets(job) if magnets and 2 * magnets >= count else _Rows(job, _widths(sample.split(end)))
        for number, lines, ended in split_lines(source.chunks(), end):
            if not ended and not rows.is_whole(lines[0]):
                raise ListCutShortError(f"the last line, {number}, has no end and is not whole: {excerpt(lines[0])}")
            yield [record for at, line in enumerate(lines, number) if (record := rows.record(at, line)) is not None]


def _widths(lines: list[bytes]) -> tuple[int, ...]:
    """The lengths of the digests in most rows."""
    counts = Counter(tuple(map(len, tail[0].split())) for line in lines if (tail := _TAIL.search(line)))
    if not counts:
        raise ListFormatError("no row has a name and several digests behind it")
    widths = counts.most_common(1)[0][0]
    known = [width for width in widths if width in HEX_WIDTHS]
    if len(set(known)) < len(known):
        raise ListFormatError("the rows have several digests of the same length, which cannot be told apart")
    return widths


class _Rows:
    """Rows with the name first."""

    def __init__(self, job: Job, widths: tuple[int, ...]) -> None:
        self._taker = RowTaker(job)
        self._report = job.report
        self._row = re.compile(b"".join(b"  +([0-9A-Fa-f]{%d})" % width for width in widths) + rb"\s*$")
        self._kinds: list[tuple[int, DigestKind]] = []
        self._others = 0
        for group, width in enumerate(widths, 1):
            kind = kind_of_width(width, job.options.digest)
            if kind is not None:
                self._kinds.append((group, kind))
            elif width == 2 * DigestKind.SHA256.size_bytes:
                raise ListFormatError(
                    "a digest of 64 hex digits can be of several kinds; give --digest sha256 or --digest blake3"
                )
            else:
                self._others += 1
        if not self._kinds:
            raise ListFormatError("the rows hold no digest of a supported kind")

    def record(self, number: int, line: bytes) -> Record | None:
        """The record of a line, or None."""
        row = self._row.search(line)
        if row is None or not row.start():
            if _TAIL.search(line):
                self._report.refuse(f"line {number}", "wrong-length", line)
            elif line.strip() and not line.startswith((b"#", b";")):
                self._report.drop("spilled-name")
            return None
        if self._others:
            self._report.drop(Other.UNSUPPORTED, self._others)
        return self._taker.record(f"line {number}", line, [(kind, row[group]) for group, kind in self._kinds])

    def is_whole(self, line: bytes) -> bool:
        """Whether a line without an end can be a whole one."""
        return not line.strip() or self._row.search(line) is not None


class _Magnets:
    """Magnet links."""

    def __init__(self, job: Job) -> None:
        self._taker = RowTaker(job)
        self._report = job.report
        self._whole_bytes = 0

    def record(self, number: int, line: bytes) -> Record | None:
        """The record of a line, or None."""
        text = line.strip()
        if not text or text.startswith(b"#"):
            return None
        digests = []
        others = 0
        for name, value in _URN.findall(text) if _MAGNET.match(text) else ():
            kind = kind_called(name.decode("latin-1"))
            if not isinstance(kind, DigestKind):
                others += 1
                continue
            if kind == DigestKind.SHA1 and len(value) == _BASE32_SHA1:
                try:
                    value = binascii.hexlify(base64.b32decode(value.upper()))
                except binascii.Error:
                    pass  # refused as what it is
            digests.append((kind, value))
        if others:
            self._report.drop(Other.UNSUPPORTED, others)
        if not digests:
            self._report.refuse(f"line {number}", "no-digest", line)
            return None
        length = _LENGTH.search(text)
        return self._taker.record(f"line {number}", line, digests, size_of(length[1]) if length else None)

    def is_whole(self, line: bytes) -> bool:
        """Whether a line without an end can be a whole one. A link that was cut behind a digest looks whole."""
        found = _URN.findall(line.strip())
        tail = line.strip().rpartition(b"&")[2]
        return not line.strip() or (bool(found) and (not tail.startswith(b"xt=") or bool(_URN.search(b"&" + tail))))


RHASH = Rhash()
