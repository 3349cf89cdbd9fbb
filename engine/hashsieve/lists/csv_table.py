"""Tables of indicators: CSV, TSV and their like with any separator, with a header or without.

With a header, columns are taken by their names (``MD5``, ``file_sha256``, ``SHA-1 hash``, ...), and a column that only
says that it holds a value (``hash``, ``indicator``, ``value``) by the type beside it (``type``, ``hash_type``, ...) or,
without one, as untagged digests are: 32 hex digits MD5, 40 SHA-1, 64 what ``--digest`` says. A header may be commented
out. Without a header, the columns are those in which digests stand. ``--map`` names the columns, by name or by number
from 1, and nothing is guessed then.

A composite value ``name|digest`` counts as its digest. Rows of another type, withdrawn rows (``to_ids`` 0), similarity
digests and kinds that are not matched are counted as dropped. A mapped ``category`` is kept as text, and decides the
role where a profile is given; ``ref`` is kept as the custodian's own id. All other columns are dropped unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hashsieve.errors import ListFormatError, UsageError
from hashsieve.lists.contract import Batch, FormatInfo, Job, excerpt
from hashsieve.lists.digests import HEX_WIDTHS, PLACEHOLDERS, UNSUPPORTED_WIDTHS, is_hex, size_of
from hashsieve.lists.profiles import Profile, lowered, named_profile
from hashsieve.lists.source import Source, decode_sample
from hashsieve.lists.tables import (
    DELIMITERS,
    Row,
    cells_of,
    plain_name,
    sample_lines,
    sample_rows,
    table_records,
    table_rows,
)
from hashsieve.lists.taking import Other, RowTaker, kind_called, kind_of_width
from hashsieve.model import DigestKind, Listing, Record

__all__ = ["CSV", "MAP_FIELDS", "CsvTable"]

MAP_FIELDS = (*DigestKind, "size", "category", "ref")
"""What ``--map`` can say a column is."""

_HEADER_LINES = 50
_DIGEST = re.compile(r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{64}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{32})(?![0-9A-Za-z])")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_SIZE_NAMES = frozenset(("size", "filesize", "sizebytes", "filesizebytes", "sizeinbytes", "mediasize", "length"))
_VALUE_NAMES = frozenset(
    ("hash", "filehash", "digest", "hashdigest", "hashvalue", "value", "indicator", "indicatorvalue", "ioc", "iocvalue",
     "signalstr", "checksum")
)  # fmt: skip
_TYPE_NAMES = frozenset(
    ("type", "hashtype", "algorithm", "algo", "hashalgorithm", "hashname", "indicatortype", "ioctype", "signaltype",
     "kind", "digesttype")
)  # fmt: skip
_MAX_REF_CHARS = 200
_SAMPLE_ROWS = 1000


@dataclass(slots=True)
class _Layout:
    """Where a table has what: columns from 0."""

    delimiter: str
    skip: int = 0
    comment: str = ""
    digests: list[tuple[int, DigestKind]] = field(default_factory=list)
    others: list[tuple[int, Other]] = field(default_factory=list)
    value: int | None = None
    type: int | None = None
    size: int | None = None
    to_ids: int | None = None
    category: int | None = None
    named_category: int | None = None
    """A column whose header says it holds categories: it counts where a profile is asked for."""
    ref: int | None = None
    width: int = 0
    """Cells of a whole row; 0 where that is not known."""


class CsvTable:
    """The reader. See the text of the module for what it accepts."""

    info = FormatInfo(
        "csv", "CSV, TSV and the like with digest columns, also by --map", "threat feeds, spreadsheets, agent exports"
    )
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """A header with digest columns, or digests in the same columns of at least half of the rows."""
        lines = sample_lines(sample)
        layout = _by_header(lines)
        if layout is not None:
            return "a table whose header names digest columns"
        layout = _by_content(lines, None)
        if layout is None:
            return None
        return f"a table without a header, with digests in {len(layout.digests)} columns"

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        lines = sample_lines(decode_sample(source.sample()))
        if job.options.columns is not None:
            layout = _by_map(lines, job.options.columns)
        else:
            header = _by_header(lines)
            if header is None and _names_others_only(lines):
                raise ListFormatError(
                    "the header names only values that are not matched; if a column holds digests of the files "
                    "themselves, name it with --map md5=COLUMN,..."
                )
            layout = header or _by_content(lines, job.options.digest) or _no_layout()
        if job.options.profile is not None and layout.category is None:
            layout.category = layout.named_category
        rows = _Rows(job, layout)
        yield from table_records(
            table_rows(source, layout.delimiter, skip=layout.skip, comment=layout.comment),
            job.report,
            layout.width,
            rows.record,
        )


def _no_layout() -> _Layout:
    raise ListFormatError("no column holds digests; name the columns with --map md5=COLUMN,...")


class _Rows:
    """The rows of one reading."""

    def __init__(self, job: Job, layout: _Layout) -> None:
        self._taker = RowTaker(job)
        self._report = job.report
        self._layout = layout
        self._declared = job.options.digest
        self._role = job.options.role
        profile = job.options.profile
        self._profile: Profile | None = named_profile(profile) if profile and layout.category is not None else None
        self._kinds: dict[str, DigestKind | Other | None] = {}

    def record(self, row: Row) -> Record | None:
        """The record of a row, or None."""
        layout, cells = self._layout, row.cells
        count = len(cells)
        digests: list[tuple[DigestKind, bytes]] = []
        for index, kind in layout.digests:
            if index < count:
                digests.append((kind, _bytes(_digest_part(cells[index]))))
        for index, other in layout.others:
            if index < count and _bytes(cells[index]).strip().lower() not in PLACEHOLDERS:
                self._report.drop(other)
        if layout.to_ids is not None and layout.to_ids < count and cells[layout.to_ids].strip().lower() in _NO:
            self._report.drop("not-for-detection")
            return None
        if layout.value is not None:
            text = _digest_part(cells[layout.value]) if layout.value < count else ""
            kind_or_other = self._kind(row, cells, text)
            if kind_or_other is None and not digests:
                return None
            if isinstance(kind_or_other, DigestKind):
                digests.append((kind_or_other, _bytes(text)))
        size = size_of(_bytes(cells[layout.size]).strip()) if layout.size is not None and layout.size < count else None
        return self._taker.record(row.position, row.text, digests, size, listing=self._listing(cells))

    def _kind(self, row: Row, cells: list[str], text: str) -> DigestKind | None:
        """The kind of the value of a row that says its type, or of an untagged digest. None where the row is done."""
        layout = self._layout
        if layout.type is not None:
            name = cells[layout.type] if layout.type < len(cells) else ""
            if name not in self._kinds and len(self._kinds) < _SAMPLE_ROWS:
                self._kinds[name] = _typed(name)
            kind = self._kinds[name] if name in self._kinds else _typed(name)
            if isinstance(kind, DigestKind):
                return kind
            if kind is not None or plain_name(name) not in _UNTYPED:
                self._report.drop(kind or "other-type")
                return None
        raw = _bytes(text).strip()
        if raw.lower() in PLACEHOLDERS:
            if not layout.digests:
                self._report.refuse(row.position, "empty-value", row.text)
            return None
        if not is_hex(raw):
            self._report.refuse(row.position, "not-hex", row.text)
            return None
        kind = kind_of_width(len(raw), self._declared)
        if kind is None and len(raw) == 2 * DigestKind.SHA256.size_bytes:
            raise ListFormatError(
                f"{row.position}: a digest of 64 hex digits can be of several kinds; "
                f"give --digest sha256 or --digest blake3"
            )
        if kind is None:
            reason = "unsupported-kind" if len(raw) in UNSUPPORTED_WIDTHS else "wrong-length"
            self._report.refuse(row.position, reason, row.text)
        return kind

    def _listing(self, cells: list[str]) -> Listing | None:
        """The listing of a row with an id or a category; None for that of the whole list."""
        layout = self._layout
        ref = _short(cells, layout.ref)
        category = _short(cells, layout.category)
        if ref is None and category is None and self._profile is None:
            return None
        role = self._role
        if self._profile is not None:
            role = lowered(self._profile.role(category), self._role)
        return self._taker.listing(role, category, ref)


_NO = frozenset(("0", "false", "no"))
_CATEGORY_NAMES = frozenset(("category", "categorization", "categorisation", "categoryid", "classification"))
_UNTYPED = frozenset(("", "hash", "filehash", "file", "digest"))


def _typed(name: str) -> DigestKind | Other | None:
    """The kind that a row says its value is. Of a composite such as ``filename|md5`` the last part counts."""
    return kind_called(name.rpartition("|")[2])


def _digest_part(cell: str) -> str:
    """What stands for the digest in a cell, without the name before it in a composite."""
    return cell.rpartition("|")[2] if "|" in cell else cell


def _bytes(cell: str) -> bytes:
    return cell.encode("latin-1", "replace")


def _short(cells: list[str], index: int | None) -> str | None:
    """The text of a cell, as opaque text; None for nothing, and for text too long to be a category or an id."""
    if index is None or index >= len(cells):
        return None
    text = _bytes(cells[index]).decode("utf-8", "backslashreplace").strip()
    return text if 0 < len(text) <= _MAX_REF_CHARS else None


def _by_header(lines: list[str]) -> _Layout | None:
    """The layout by the first line that names digest columns; nothing but comments may stand before it."""
    for number, line in enumerate(lines[:_HEADER_LINES]):
        text = line.strip().lstrip("#;").strip()
        if _DIGEST.search(text):
            return None
        for delimiter in DELIMITERS:
            if delimiter not in text:
                continue
            layout = _named_columns(cells_of(text, delimiter), delimiter)
            if layout is not None and (layout.digests or layout.type is not None or _holds_digests(lines, layout)):
                layout.skip = number + 1
                layout.comment = _comment(lines[layout.skip :])
                return layout
        # A title, or what tells a spreadsheet the delimiter (sep=;): the names of the columns may come behind it.
    return None


def _names_others_only(lines: list[str]) -> bool:
    """Whether a line before the first digest names values that are never matched, such as the hash of a parent."""
    for line in lines[:_HEADER_LINES]:
        text = line.strip().lstrip("#;").strip()
        if _DIGEST.search(text):
            return False
        for delimiter in DELIMITERS:
            names = cells_of(text, delimiter) if delimiter in text else []
            if any(isinstance(kind_called(name), Other) for name in names if len(name) <= 32):
                return True
    return False


def _named_columns(names: list[str], delimiter: str) -> _Layout | None:
    """The layout that a header of *names* gives, or None if it names no digests."""
    layout = _Layout(delimiter, width=len(names))
    if len(names) < 2:
        return None
    for index, name in enumerate(names):
        plain = plain_name(name)
        if plain in _VALUE_NAMES:
            layout.value = index if layout.value is None else layout.value
        elif plain in _TYPE_NAMES:
            layout.type = index if layout.type is None else layout.type
        elif plain in _SIZE_NAMES:
            layout.size = index if layout.size is None else layout.size
        elif plain == "toids":
            layout.to_ids = index
        elif plain in _CATEGORY_NAMES:
            layout.named_category = index
        else:
            kind = kind_called(name) if len(plain) <= 32 else None
            if isinstance(kind, DigestKind) and not any(known == kind for _, known in layout.digests):
                layout.digests.append((index, kind))
            elif isinstance(kind, Other):
                layout.others.append((index, kind))
    if layout.value is None:
        layout.type = None
    return layout if layout.digests or layout.value is not None else None


def _holds_digests(lines: list[str], layout: _Layout) -> bool:
    """Whether the value column of at least half of the rows holds digests: the name alone says too little."""
    rows = sample_rows(lines, layout.delimiter)[1 : _SAMPLE_ROWS + 1]
    index = layout.value or 0
    count = sum(1 for cells in rows if len(cells) > index and _width(_digest_part(cells[index])))
    return bool(rows) and 2 * count >= len(rows)


def _comment(lines: list[str]) -> str:
    """The mark of comment lines, if the sample has any."""
    return "#" if any(line.startswith("#") and not _DIGEST.search(line[:130]) for line in lines) else ""


def _by_content(lines: list[str], declared: DigestKind | None) -> _Layout | None:
    """The layout of a table without a header: columns in which at least half of the rows have digests."""
    data = [line for line in lines if line.strip() and not line.startswith("#")][:_SAMPLE_ROWS]
    for delimiter in DELIMITERS:
        rows = sample_rows(data, delimiter)
        if not rows or sum(len(cells) > 1 for cells in rows) * 2 < len(rows):
            continue
        widths: dict[int, dict[int, int]] = {}
        for cells in rows:
            for index, cell in enumerate(cells):
                width = _width(cell)
                if width:
                    counts = widths.setdefault(index, {})
                    counts[width] = counts.get(width, 0) + 1
        columns = [
            (index, width)
            for index, counts in sorted(widths.items())
            for width, count in counts.items()
            if 2 * count >= len(rows)
        ]
        if _are_values_of_attributes(rows):
            raise ListFormatError(
                "looks like the hashes.csv of a MISP feed: digests of attribute values, not of files; read the feed's "
                "events instead"
            )
        if not columns or (columns[0][0] == 0 and len(columns) == 1 and not data[0].lstrip().startswith('"')):
            continue
        if [index for index, _ in columns] == [1, 2] and all(cells[0].isdigit() for cells in rows):
            continue  # md5deep -Z: size, digest of the beginning, digest; taken as digest lines
        return _untagged(columns, delimiter, declared)
    return None


def _are_values_of_attributes(rows: list[list[str]]) -> bool:
    """Whether the rows are a digest and the UUID of an event."""
    return all(len(cells) == 2 and _width(cells[0]) == 32 and _UUID.match(cells[1].strip()) for cells in rows)


def _untagged(columns: list[tuple[int, int]], delimiter: str, declared: DigestKind | None) -> _Layout:
    """The layout of digests without names: each length once, in the place it stands."""
    layout = _Layout(delimiter, comment="#", width=columns[-1][0] + 1)
    widths = [width for _, width in columns]
    if len(set(widths)) < len(widths):
        raise ListFormatError("two columns hold digests of the same length; name the columns with --map md5=COLUMN,...")
    for index, width in columns:
        kind = kind_of_width(width, declared)
        layout.digests.append((index, kind or DigestKind.SHA256))
        if kind is None:
            layout.digests.pop()
            layout.value = index
    return layout


def _width(cell: str) -> int:
    """The length of the digest that *cell* is, or 0."""
    text = cell.strip()
    return len(text) if len(text) in HEX_WIDTHS and is_hex(_bytes(text)) else 0


def _by_map(lines: list[str], columns: Mapping[str, str]) -> _Layout:
    """The layout that ``--map`` asks for."""
    unknown = [name for name in columns if name not in MAP_FIELDS]
    if unknown or not columns:
        raise UsageError(f"--map knows no {', '.join(unknown) or 'columns'}; known: {', '.join(MAP_FIELDS)}")
    if not any(name in columns for name in DigestKind):
        raise UsageError(f"--map names no digest column; give one of {', '.join(DigestKind)}")
    places = {what: int(column) - 1 for what, column in columns.items() if column.isascii() and column.isdigit()}
    if min(places.values(), default=0) < 0:
        raise UsageError("--map: columns are counted from 1")
    names = {what: column for what, column in columns.items() if what not in places}
    if names:
        found = _mapped_header(lines, names)
        if found is None:
            raise ListFormatError(f"no header line names the columns {', '.join(map(excerpt, names.values()))}")
        delimiter, skip, named = found
        places |= named
    else:
        delimiter, skip = _likely_delimiter(lines, max(places.values())), 0
        rows = sample_rows(lines[:1], delimiter)
        if rows and not any(_width(_digest_part(cell)) for cell in rows[0]) and len(lines) > 1:
            skip = 1  # a header
    layout = _Layout(delimiter, skip=skip, comment=_comment(lines[skip:]))
    layout.digests = [(places[kind.value], kind) for kind in DigestKind if kind.value in places]
    layout.size, layout.category, layout.ref = (places.get(name) for name in ("size", "category", "ref"))
    return layout


def _mapped_header(lines: list[str], columns: Mapping[str, str]) -> tuple[str, int, dict[str, int]] | None:
    """Separator, lines to skip and places, by the first line that holds all the names asked for."""
    for number, line in enumerate(lines[:_HEADER_LINES]):
        text = line.strip().lstrip("#").strip()
        for delimiter in DELIMITERS:
            names = cells_of(text, delimiter)
            for same in (str.strip, plain_name):
                known = [same(name) for name in names]
                wanted = {what: same(column) for what, column in columns.items()}
                if all(name and name in known for name in wanted.values()):
                    return delimiter, number + 1, {what: known.index(name) for what, name in wanted.items()}
    return None


def _likely_delimiter(lines: list[str], last: int) -> str:
    """The separator by which most rows of the sample reach to the column *last*."""
    data = [line for line in lines if line.strip() and not line.startswith("#")][:_SAMPLE_ROWS]
    reach = {each: sum(len(cells) > last for cells in sample_rows(data, each)) for each in DELIMITERS}
    return max(DELIMITERS, key=lambda each: reach[each])


CSV = CsvTable()
