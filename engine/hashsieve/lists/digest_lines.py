"""Plain text with one digest a line: bare, as ``md5sum``, ``sha*sum`` and ``b3sum`` write it, or with a BSD tag.

Rows that are read, in hex of any letter case (names are not kept):

===========================  ======================================================================================
``HEX``                      bare; blanks around it do not count
``HEX  NAME``, ``HEX *NAME`` GNU; with a leading backslash where the name is escaped
``HEX,NAME``, ``HEX<TAB>..``  md5deep ``-c`` and tables with the digest first, if no other digest follows
``SIZE  HEX  NAME``          md5deep ``-z``; SIZE is decimal
``SIZE HEX HEX NAME``        md5deep ``-Z``, with tabs: the second digest is that of the whole file
``TAG (NAME) = HEX``         BSD and GNU ``--tag``; the last ``) = `` counts, since names may hold it too
===========================  ======================================================================================

In the place of HEX base64 is read too, and base32 where the kind is declared (rhash).

Lines that begin with ``#`` and blank lines are skipped. A first line that only names a kind (X-Ways) declares it.

What kind an untagged digest has does not show in its length. By custom 32 digits are MD5 and 40 are SHA-1, unless
another kind is declared; 64 digits are SHA-256 or BLAKE3 or something else, so a declaration is demanded. Under a
declaration all other lengths are refused. A list that names the empty file by the digest of another kind, and never by
its own, is refused as a whole: its digests would be loaded and never match anything.

Tools that escape nothing let a name with a line feed spill onto lines of its own: where names are paths and no line
shows escaping, such a line is dropped.
"""

from __future__ import annotations

import base64
import binascii
import re
from binascii import unhexlify
from collections.abc import Iterator

from hashsieve._lists import Rules
from hashsieve.errors import ListCutShortError, ListFormatError, ListRefusedError
from hashsieve.lists.build import new_record
from hashsieve.lists.contract import Batch, FormatInfo, Job, PackedRows, excerpt
from hashsieve.lists.digests import (
    EMPTY,
    FOREIGN_EMPTY,
    HEX_WIDTHS,
    MAX_SIZE_BYTES,
    PLACEHOLDERS,
    UNIVERSAL,
    UNSUPPORTED_WIDTHS,
    is_hex,
    why_bad,
)
from hashsieve.lists.lines import line_end, read_rows
from hashsieve.lists.source import SAMPLE_BYTES, Source, decode_sample
from hashsieve.lists.taking import Other, kind_called
from hashsieve.model import DigestKind, Listing, Record

__all__ = ["DIGEST_LINES", "DigestLines"]

_NAMES = {
    b"md5": DigestKind.MD5,
    b"sha1": DigestKind.SHA1,
    b"sha256": DigestKind.SHA256,
    b"sha2256": DigestKind.SHA256,
    b"blake3": DigestKind.BLAKE3,
}
"""Kinds by the name tools give them, in lower case and without punctuation."""

_UNSUPPORTED_NAME = re.compile(
    rb"(?:crc|adler|md[24]|sha-?\d|blake|sm3|rmd|ripemd|tiger|whirlpool|xxh|gost|ed2k|aich|tth|edon|photodna|pdq)[-\w/]*",
    re.IGNORECASE,
)
_TAG = re.compile(rb"([A-Za-z][-A-Za-z0-9/]{1,15})[ \t]*\(")
_SEPARATED = re.compile(rb"([0-9A-Fa-f]{8,128})([,\t])(.*)", re.DOTALL)
_TRIAGE = re.compile(rb"(\d{1,19})\t([0-9A-Fa-f]{32,128})\t([0-9A-Fa-f]{32,128})\t")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{22}==|[A-Za-z0-9+/]{27}=|[A-Za-z0-9+/]{43}=")
_BASE32_DIGITS = {DigestKind.MD5: 26, DigestKind.SHA1: 32, DigestKind.SHA256: 52, DigestKind.BLAKE3: 52}
_BASE32 = re.compile(rb"[A-Za-z2-7]+")
_NAMED_PATH = re.compile(rb" *(?:\d+ +)?[0-9A-Fa-f]{32,128}(?:  | \*|,| \d{4}:).*[/\\]", re.DOTALL)
_PIECE = re.compile(rb" offset \d+-\d+$")
_BY_CUSTOM = {32: DigestKind.MD5, 40: DigestKind.SHA1}
_NAME_FOLLOWS = frozenset((b"", b"  ", b" *"))
_SIZE_DIGITS = 19
MOST_SPILLED = 10
_CHECKSUM_DIGITS = 10  # below 2**32
_WHOLE_WIDTHS = HEX_WIDTHS | UNSUPPORTED_WIDTHS


class DigestLines:
    """The reader. See the text of the module for what it accepts."""

    info = FormatInfo(
        "digest-lines",
        "one digest a line: bare hex, GNU checksum lines, BSD tags, md5deep",
        "md5sum, sha1sum, sha256sum, b3sum, rhash, md5deep, OpenSSL, X-Ways and people",
    )
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """At least half of the rows in the sample (blank and comment lines aside) have the shape of a row.

        A text of nothing but blank and comment lines counts too: as a list without rows.
        """
        lines = sample.split(line_end(sample))
        if len(sample) >= SAMPLE_BYTES // 2 and len(lines) > 1:
            lines.pop()  # perhaps cut by the end of the sample, which UTF-16 has halved
        rows = [row for line in lines if (row := line.strip()) and not row.startswith(b"#")]
        if not rows:
            return "holds only blank and comment lines"
        shaped = sum(map(_has_shape, rows))
        if not shaped or 2 * shaped < len(rows):
            return None
        return f"{shaped} of the first {len(rows)} rows are digest lines"

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        if job.options.digest is None and "xxh" in source.name.lower():
            raise ListFormatError("the name says xxHash, which is no cryptographic digest; give --digest if it is one")
        end = line_end(decode_sample(source.sample()))
        rows = _Rows(job, end)
        yield from read_rows(source.chunks(), end, rows)
        rows.finish()


class _Rows:
    """The rows of one reading: what was declared and what was seen so far."""

    def __init__(self, job: Job, end: bytes) -> None:
        self._rules = Rules(end, (*UNIVERSAL, *FOREIGN_EMPTY))
        self._report = job.report
        self._listing = Listing(job.source, job.role)
        self._declared = job.options.digest
        self._row_count = 0
        # The fast path takes rows like the last one that was taken: width in hex digits, kind, and the tag with its
        # bracket, or nothing for untagged rows.
        self._width = 0
        self._kind = ""
        self._tag = b""
        # For the checks at the end of the list.
        self._widths_seen: set[int] = set()
        self._last_tag = b""
        # A tagged line without its digest, because the name holds a line feed: position and text.
        self._open_line: tuple[int, bytes] | None = None
        self._base64_seen = False
        self._triage_seen = False
        # For names that spill onto further lines: whether the tool escapes, and the lines before the one at hand.
        self._escapes = False
        self._end = end
        self._before: tuple[bytes, int] = (b"", 0)
        self._lines: list[bytes] = []
        self._first_number = 0
        self._last_spilled: bytes | None = None
        self._own_empty: set[DigestKind] = set()
        self._other_empty: dict[DigestKind, str] = {}

    def plain(self, block: bytes, start: int) -> tuple[Batch | None, int]:
        """The run of rows of the form and kind of the row before; see :class:`~hashsieve.lists.lines.Rows`."""
        if not self._width or self._open_line is not None:
            return None, start
        if self._tag:
            digests, stop = self._rules.tagged_lines(block, start, self._tag, self._width // 2)
        else:
            digests, stop = self._rules.digest_lines(block, start, self._width // 2)
        if digests:
            self._before, self._lines = (block, stop), []
        return (PackedRows((DigestKind(self._kind),), digests, self._listing) if digests else None), stop

    def records(self, number: int, lines: list[bytes]) -> list[Record]:
        """The records of *lines*, the first of which has *number*."""
        records: list[Record] = []
        take = records.append
        if self._lines:
            self._before = self._lines[-1] + self._end, len(self._lines[-1]) + 1
        self._lines, self._first_number = lines, number
        listing, width, kind, tag = self._listing, self._width, self._kind, self._tag
        for line_number, line in enumerate(lines, number):
            # Most rows look like the row before; taking those here makes the whole list three times as fast.
            if tag:
                digest = line[-width:] if line.startswith(tag) and line[-width - 4 : -width] == b") = " else b""
            else:
                digest = line[:width] if line[width : width + 2] in _NAME_FOLLOWS else b""
            if digest and b" offset " not in line and self._open_line is None:
                try:
                    raw = unhexlify(digest)
                except ValueError:
                    raw = b""
                if 2 * len(raw) == width and raw not in UNIVERSAL and raw not in FOREIGN_EMPTY:
                    take(new_record({kind: raw}, None, listing))
                    continue
            record = self._row(line_number, line)
            if record is not None:
                take(record)
            width, kind, tag = self._width, self._kind, self._tag
        return records

    def check_whole(self, number: int, line: bytes) -> None:
        """Raise :class:`ListCutShortError` if the last line, which has no end, stops within its digest."""
        text = line.strip()
        if not text or text.startswith(b"#"):
            return
        if self._open_line is not None:
            line = self._open_line[1] + b"\n" + line
        tag, digest, _ = _parse(line)
        if tag:
            kind = _named(tag)
            cut = kind is not None and len(digest) < 2 * kind.size_bytes
        elif self._base64_seen and not is_hex(digest):
            cut = b" " not in text and not _BASE64.fullmatch(digest)
        elif is_hex(digest):
            widths = {2 * self._declared.size_bytes} if self._declared else self._widths_seen or _WHOLE_WIDTHS
            cut = len(digest) not in widths
        else:
            # In a list of tags or of fixed columns a last line that is no row is a row that was cut.
            cut = bool(self._last_tag) or (self._triage_seen and not _TRIAGE.match(text))
        if cut:
            raise ListCutShortError(f"the last line, {number}, has no end and no whole digest: {excerpt(line)}")

    def finish(self) -> None:
        """Raise :class:`ListFormatError` if the list is of another kind than it was read as, and
        :class:`ListRefusedError` if more lines are no rows than names can have spilled."""
        if self._open_line is not None:
            self._report.refuse(f"line {self._open_line[0]}", "no-digest", self._open_line[1])
        spilled_count = self._report.dropped.get("spilled-name", 0)
        if spilled_count > MOST_SPILLED and 100 * spilled_count > self._report.taken:
            raise ListRefusedError(
                f"{spilled_count} lines are no rows, more than {MOST_SPILLED} and more than 1 %: "
                f"too many to be the rest of names with line feeds"
            )
        for kind, other in self._other_empty.items():
            if kind not in self._own_empty:
                raise ListFormatError(
                    f"read as {kind}, but the list holds the {other} digest of the empty file and not the {kind} one: "
                    f"its digests are of another kind; give the right one with --digest if it is supported"
                )

    def _row(self, number: int, line: bytes) -> Record | None:
        """The record of any line, or None; what is refused or dropped goes to the report."""
        text = line.strip()
        if not text or text.startswith(b"#"):
            return None
        self._row_count += 1
        if self._row_count == 1 and self._declares(text):
            return None
        line = self._joined(number, line)
        if self._open_line is not None:
            return None
        tag, digest, size_bytes = _parse(line)
        self._triage_seen = self._triage_seen or (size_bytes is not None and b"\t" in text)
        self._escapes = self._escapes or text.startswith(b"\\")
        if not is_hex(digest):
            digest = self._decoded(digest)
        kind, reason = self._kind_of(number, tag, digest)
        if kind is not None:
            reason = "piecewise" if b" offset " in text and _PIECE.search(text) else why_bad(digest, kind.size_bytes)
        if kind is None or reason:
            if not tag and not is_hex(digest) and self._has_spilled(number, line, text):
                self._report.drop("spilled-name")
                return None
            self._report.refuse(f"line {number}", reason or "not-hex", line)
            return None
        raw = unhexlify(digest)
        if self._left_out(number, line, kind, raw):
            return None
        if size_bytes is None:
            self._width, self._kind = len(digest), kind.value
            self._tag = line[: line.index(b"(") + 1] if tag else b""
        size_bytes = size_bytes if size_bytes and size_bytes <= MAX_SIZE_BYTES else None
        return new_record({kind.value: raw}, size_bytes, self._listing)

    def _decoded(self, digest: bytes) -> bytes:
        """*digest* in hex, if it is base64, or base32 of the declared kind; else as it is."""
        if _BASE64.fullmatch(digest):
            self._base64_seen = True
            return binascii.hexlify(base64.b64decode(digest))
        if self._declared is not None and len(digest) == _BASE32_DIGITS[self._declared] and _BASE32.fullmatch(digest):
            return binascii.hexlify(base64.b32decode(digest.upper() + b"=" * (-len(digest) % 8)))
        return digest

    def _has_spilled(self, number: int, line: bytes, text: bytes) -> bool:
        """Whether *line* (*text* without blanks around), which is no row, belongs to the name in the row before it."""
        index = number - self._first_number - 1
        while index >= 0 and not self._lines[index]:
            index -= 1
        if index >= 0:
            before = self._lines[index]
        else:
            block, stop = self._before
            before = block[:stop].rstrip(self._end).rpartition(self._end)[2]
        follows = before == self._last_spilled or bool(_NAMED_PATH.match(before))
        if self._escapes or not follows or text.lower() in PLACEHOLDERS or _SEPARATED.match(text):
            return False
        self._last_spilled = line
        return True

    def _joined(self, number: int, line: bytes) -> bytes:
        """*line*, with the tagged line before it if that waits for the rest of its name. May leave *line* waiting."""
        waiting, self._open_line = self._open_line, None
        tagged = _TAG.match(line)
        if waiting is not None:
            if b") = " in line and not tagged:
                return waiting[1] + b"\n" + line
            self._report.refuse(f"line {waiting[0]}", "no-digest", waiting[1])
        if tagged and b") =" not in line and b")= " not in line:
            self._open_line = number, line
        return line

    def _declares(self, text: bytes) -> bool:
        """Whether *text*, the first row, is no row but the name of the kind of all others."""
        kind = _named(text)
        if kind is None:
            if _UNSUPPORTED_NAME.fullmatch(text) or isinstance(kind_called(text.decode("latin-1")), Other):
                raise ListFormatError(f"declares the kind {excerpt(text)}, which is not supported")
            return False
        if self._declared not in (None, kind):
            raise ListFormatError(f"declares the kind {kind}, but {self._declared} was asked for")
        self._declared = kind
        return True

    def _kind_of(self, number: int, tag: bytes, digest: bytes) -> tuple[DigestKind | None, str | None]:
        """The kind of a row, or None and the reason why it has none."""
        if tag:
            self._last_tag = tag
            kind = _named(tag)
            return kind, None if kind else "unsupported-kind"
        if not is_hex(digest):
            return self._declared, why_bad(digest, 0)
        width = len(digest)
        self._widths_seen.add(width)
        if self._declared is not None:
            return self._declared, None
        if width in _BY_CUSTOM:
            return _BY_CUSTOM[width], None
        if width == 2 * DigestKind.SHA256.size_bytes:
            raise ListFormatError(
                f"line {number}: a digest of 64 hex digits can be of several kinds; "
                f"give --digest sha256 or --digest blake3"
            )
        checksum = width in UNSUPPORTED_WIDTHS or (width <= _CHECKSUM_DIGITS and digest.isdigit())
        return None, "unsupported-kind" if checksum else "wrong-length"

    def _left_out(self, number: int, line: bytes, kind: DigestKind, raw: bytes) -> bool:
        """Whether *raw* is no digest of a listed file; counts it, and remembers whose empty file it is."""
        if raw in FOREIGN_EMPTY:
            self._other_empty[kind] = FOREIGN_EMPTY[raw]
            self._report.refuse(f"line {number}", "other-kind", line)
            return True
        if raw not in UNIVERSAL:
            return False
        self._report.drop(UNIVERSAL[raw])
        if raw == EMPTY[kind]:
            self._own_empty.add(kind)
        elif UNIVERSAL[raw] == "empty-file":
            self._other_empty[kind] = next(other for other, empty in EMPTY.items() if empty == raw)
        return True


def _named(name: bytes) -> DigestKind | None:
    """The kind that tools call *name*."""
    return _NAMES.get(name.lower().translate(None, b"-_/"))


def _parse(line: bytes) -> tuple[bytes, bytes, int | None]:
    """The tag of *line* (empty if untagged), the text in the place of its digest, and its size in bytes or None."""
    body = line.strip()
    if body.startswith(b"\\"):
        body = body[1:]
    # Split at blanks only: a digest with a tab behind it is a cell of a table, and tables are read by their columns.
    first, _, rest = body.partition(b" ")
    second = rest.lstrip(b" ").partition(b" ")[0]
    if is_hex(first):
        sized = len(first) <= _SIZE_DIGITS and first.isdigit() and len(second) in HEX_WIDTHS and is_hex(second)
        return (b"", second, int(first)) if sized else (b"", first, None)
    tag = _TAG.match(body)
    if tag:
        # A missing digest leaves ") =" without the blank that was stripped.
        # OpenSSL has no blank behind the bracket.
        padded = body + b" "
        start = max(padded.rfind(b") = ") + 4, padded.rfind(b")= ") + 3)
        return tag[1], padded[start:].strip() if start > 3 else b"", None
    if line.startswith((b"  ", b" *")):
        return b"", b"", None  # a name with nothing before it
    separated = _SEPARATED.match(body)
    if separated:
        other = separated[3].partition(separated[2])[0].strip()
        if not (len(other) in HEX_WIDTHS and is_hex(other)):
            return b"", separated[1], None
    triage = _TRIAGE.match(body)
    if triage:
        return b"", triage[3], int(triage[1])
    return b"", first, None


def _has_shape(row: bytes) -> bool:
    """Whether *row* looks like a row of some tool, also of one whose digests are refused."""
    tag, digest, _ = _parse(row)
    if tag:
        return b") =" in row or b")= " in row
    words = row.split(None, 2)
    if _BASE64.fullmatch(words[0]) or (len(words[0]) in _BASE32_DIGITS.values() and _BASE32.fullmatch(words[0])):
        return True
    return is_hex(digest) and (
        len(digest) in _WHOLE_WIDTHS or (len(words) > 1 and words[0].isdigit() and words[1].isdigit())
    )


DIGEST_LINES = DigestLines()
