"""MISP attributes as CSV: ``uuid,event_id,category,type,value,...``, quoted, one attribute a row.

The type names the kind of the value; of composites (``filename|sha256``, ``malware-sample``) the digest counts. Rows
that MISP does not mean for detection (``to_ids`` 0) and deleted ones are dropped, so are all other types. The uuid of
the attribute is the ref; values and comments of other columns are dropped unread.
"""

from __future__ import annotations

from collections.abc import Iterator

from hashsieve.errors import ListFormatError
from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.source import Source, decode_sample
from hashsieve.lists.tables import Row, cells_of, plain_name, sample_lines, table_records, table_rows
from hashsieve.lists.taking import RowTaker, kind_called
from hashsieve.model import DigestKind, Record

__all__ = ["MISP_CSV", "MispCsv"]

_NEEDED = ("uuid", "type", "value")
_TELLING = frozenset(("eventid", "category", "toids", "objectrelation", "objectuuid"))
_NO = frozenset(("0", "false", "no"))
_YES = frozenset(("1", "true", "yes"))


class MispCsv:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo("misp-csv", "MISP attributes as CSV: uuid, event_id, category, type, value, ...", "MISP exports")
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """The first line names the columns uuid, type and value and another one of MISP."""
        lines = [line for line in sample_lines(sample) if line.strip()]
        return "the header of a MISP export" if lines and _columns(lines[0]) else None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        lines = sample_lines(decode_sample(source.sample()))
        skip = next((number for number, line in enumerate(lines, 1) if line.strip()), 0)
        columns = _columns(lines[skip - 1]) if skip else None
        if columns is None:
            raise ListFormatError("line 1 is not the header of a MISP export")
        rows = _Rows(job, columns)
        yield from table_records(table_rows(source, ",", skip=skip), job.report, len(columns), rows.record)


def _columns(line: str) -> dict[str, int] | None:
    names = [plain_name(cell) for cell in cells_of(line, ",")]
    if all(name in names for name in _NEEDED) and _TELLING.intersection(names):
        return {name: names.index(name) for name in names}
    return None


class _Rows:
    """The rows of one reading."""

    def __init__(self, job: Job, columns: dict[str, int]) -> None:
        self._taker = RowTaker(job)
        self._report = job.report
        self._columns = columns

    def record(self, row: Row) -> Record | None:
        """The record of a row, or None."""
        kind = self._kind(row)
        if kind is None:
            return None
        value = self._cell(row, "value").rpartition("|")[2].encode("latin-1", "replace")
        uuid = self._cell(row, "uuid").strip()
        listing = self._taker.listing(ref=uuid if 0 < len(uuid) <= 64 else None)
        return self._taker.record(row.position, row.text, [(kind, value)], listing=listing)

    def _kind(self, row: Row) -> DigestKind | None:
        """The kind of digest a row holds; None, counted, where it holds none or is not to be used."""
        if self._cell(row, "toids").strip().lower() in _NO:
            self._report.drop("not-for-detection")
        elif self._cell(row, "deleted").strip().lower() in _YES:
            self._report.drop("withdrawn")
        else:
            name = self._cell(row, "type").strip().lower()
            kind = DigestKind.MD5 if name == "malware-sample" else kind_called(name.rpartition("|")[2])
            if isinstance(kind, DigestKind):
                return kind
            self._report.drop(kind or "other-type")
        return None

    def _cell(self, row: Row, name: str) -> str:
        index = self._columns.get(name)
        return row.cells[index] if index is not None and index < len(row.cells) else ""


MISP_CSV = MispCsv()
