"""INTERPOL ICSE exports: a table with semicolons that begins ``MD5;SHA1;PhotoDNA;Image ID;...``.

There is no public description; this follows what readers of such files do. Columns are taken by name, rows may have
more or fewer cells than the header. Role: the international baseline is what is illegal everywhere, so rows with the
flag ``Baseline`` have the category ``baseline`` and are known-bad; all others have the category ``not-baseline``, or
``unstated`` without the column, and are undecided. ``--profile FILE`` maps these three categories otherwise, and
``--role`` may only lower. The image id is the ref; series names and all other columns are dropped unread, and PhotoDNA
is counted.
"""

from __future__ import annotations

from collections.abc import Iterator

from hashsieve.errors import ListFormatError
from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.profiles import PROFILES, Profile, lowered, named_profile
from hashsieve.lists.source import Source, decode_sample
from hashsieve.lists.tables import Row, cells_of, plain_name, sample_lines, table_records, table_rows
from hashsieve.lists.taking import Other, RowTaker
from hashsieve.model import DigestKind, Record, Role

__all__ = ["ICSE", "Icse"]

BASELINE = Profile("icse", {"baseline": Role.KNOWN_BAD})
_NAMES = frozenset(("imageid", "baseline", "victimidentified", "offenderidentified", "seriesname", "isdistributed"))
_YES = frozenset(("y", "yes", "t", "true", "1"))
_NO = frozenset(("n", "no", "f", "false", "0", ""))
_KINDS = {"md5": DigestKind.MD5, "sha1": DigestKind.SHA1, "sha256": DigestKind.SHA256}
_MAX_REF_CHARS = 200


class Icse:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo("icse", "ICSE export: MD5;SHA1;PhotoDNA;Image ID;...;Baseline", "INTERPOL's ICSE database")
    graded = True

    def recognise(self, sample: bytes, name: str) -> str | None:
        """The first line names digests and at least two columns that only such exports have."""
        lines = [line for line in sample_lines(sample) if line.strip()]
        return "the header of an ICSE export" if lines and _columns(lines[0]) else None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        lines = sample_lines(decode_sample(source.sample()))
        skip = next((number for number, line in enumerate(lines, 1) if line.strip()), 0)
        found = _columns(lines[skip - 1]) if skip else None
        if found is None:
            raise ListFormatError("line 1 is not the header of an ICSE export")
        delimiter, columns = found
        rows = _Rows(job, columns)
        yield from table_records(table_rows(source, delimiter, skip=skip), job.report, len(columns), rows.record)


def _columns(line: str) -> tuple[str, dict[str, int]] | None:
    """The separator and the columns by plain name, if *line* is the header of an export."""
    for delimiter in ";,\t":
        names = [plain_name(cell) for cell in cells_of(line, delimiter)]
        if ("md5" in names or "sha1" in names) and len(_NAMES.intersection(names)) >= 2:
            return delimiter, {name: names.index(name) for name in names}
    return None


class _Rows:
    """The rows of one reading."""

    def __init__(self, job: Job, columns: dict[str, int]) -> None:
        self._taker = RowTaker(job)
        self._report = job.report
        self._ceiling = job.options.role
        asked = job.options.profile
        # The built-in ones grade by other schemes and say nothing of these categories.
        self._profile = BASELINE if asked is None or asked.lower() in PROFILES else named_profile(asked)
        self._width = max(columns.values(), default=0) + 1
        self._digests = [(columns[name], kind) for name, kind in _KINDS.items() if name in columns]
        self._photodna = columns.get("photodna")
        self._baseline = columns.get("baseline")
        self._id = columns.get("imageid")

    def record(self, row: Row) -> Record | None:
        """The record of a row, or None."""
        cells = row.cells
        if self._photodna is not None and self._photodna < len(cells) and cells[self._photodna].strip():
            self._report.drop(Other.SIMILARITY)
        digests = [
            (kind, cells[index].encode("latin-1", "replace")) for index, kind in self._digests if index < len(cells)
        ]
        category = "unstated"
        if self._baseline is not None and self._baseline < len(cells):
            # A delimiter that was not quoted, in the name of a series, moves what stands behind it.
            stands = {cells[self._baseline].strip().lower()}
            if len(cells) > self._width:
                stands.add(cells[self._baseline - self._width].strip().lower())
            words = {each in _YES for each in stands if each in _YES or each in _NO}
            if len(words) > 1:
                self._report.refuse(row.position, "ambiguous-columns", row.text)
                return None
            if words:
                category = "baseline" if words.pop() else "not-baseline"
        ref = cells[self._id].strip() if self._id is not None and self._id < len(cells) else ""
        role = lowered(self._profile.role(category), self._ceiling)
        listing = self._taker.listing(role, category, ref if 0 < len(ref) <= _MAX_REF_CHARS else None)
        return self._taker.record(row.position, row.text, digests, listing=listing)


ICSE = Icse()
