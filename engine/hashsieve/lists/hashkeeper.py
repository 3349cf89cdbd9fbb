"""HashKeeper hash sets (``.hsh``): a quoted table with ``file_id``, ``hashset_id``, ``hash`` (MD5) and ``file_size``.

The ``.hke`` file beside it describes the set and holds no digests. The file id is the ref; names are dropped unread.
"""

from __future__ import annotations

from collections.abc import Iterator

from hashsieve.errors import ListFormatError
from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.digests import size_of
from hashsieve.lists.source import Source, decode_sample
from hashsieve.lists.tables import Row, cells_of, sample_lines, table_records, table_rows
from hashsieve.lists.taking import RowTaker
from hashsieve.model import DigestKind, Record

__all__ = ["HASHKEEPER", "HashKeeper"]

_NEEDED = ("file_id", "hashset_id", "hash")


class HashKeeper:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo("hashkeeper", "HashKeeper .hsh: file_id, hashset_id, ..., MD5, size", "HashKeeper of the NDIC")
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """The first line names the columns file_id, hashset_id and hash.

        Raises :class:`ListFormatError` for the description of a set, which holds no digests.
        """
        lines = [line for line in sample_lines(sample) if line.strip()]
        names = _names(lines[0]) if lines else []
        if "hashset_id" in names and "hash" not in names:
            raise ListFormatError("describes a HashKeeper set and holds no digests; read the .hsh file beside it")
        return "the header of a HashKeeper hash set" if all(each in names for each in _NEEDED) else None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        lines = sample_lines(decode_sample(source.sample()))
        skip = next((number for number, line in enumerate(lines, 1) if line.strip()), 0)
        names = _names(lines[skip - 1]) if skip else []
        if not all(each in names for each in _NEEDED):
            raise ListFormatError("line 1 is not the header of a HashKeeper hash set")
        taker = RowTaker(job)
        file_id, digest = names.index("file_id"), names.index("hash")
        size = names.index("file_size") if "file_size" in names else -1

        def record(row: Row) -> Record | None:
            cells = row.cells
            if len(cells) <= max(digest, file_id):
                job.report.refuse(row.position, "missing-column", row.text)
                return None
            ref = cells[file_id].strip()
            return taker.record(
                row.position,
                row.text,
                [(DigestKind.MD5, cells[digest].encode("latin-1", "replace"))],
                size_of(cells[size].strip().encode("latin-1", "replace")) if 0 <= size < len(cells) else None,
                listing=taker.listing(ref=ref if 0 < len(ref) <= 64 else None),
            )

        yield from table_records(table_rows(source, ",", skip=skip), job.report, len(names), record)


def _names(line: str) -> list[str]:
    return [cell.strip().lower() for cell in cells_of(line, ",")]


HASHKEEPER = HashKeeper()
