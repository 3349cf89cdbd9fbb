"""Sleuth Kit ``.kdb`` databases: SQLite with a table ``hashes`` of binary digests.

The Sleuth Kit itself fills MD5 only. Names of files and comments stand in tables of their own and are never read; the
row's number is the tool's, not a custodian's, and is not kept. What the database means is for the operator to say.
"""

from __future__ import annotations

from collections.abc import Iterator

from hashsieve.errors import ListFormatError
from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.source import Source
from hashsieve.lists.sqlite_file import SQLITE_MAGIC, Table, columns_of, names_of, open_list, problems, table_batches
from hashsieve.model import DigestKind

__all__ = ["TSK_KDB", "TskKdb"]

_KINDS = (("md5", DigestKind.MD5), ("sha1", DigestKind.SHA1), ("sha2_256", DigestKind.SHA256))


class TskKdb:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo("tsk-kdb", "Sleuth Kit .kdb hash database (SQLite)", "hfind of the Sleuth Kit, Autopsy")
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """Told by :meth:`recognise_binary`."""
        return None

    def recognise_binary(self, sample: bytes, name: str) -> str | None:
        """An SQLite database whose schema names the tables of the Sleuth Kit, or with the name of a .kdb."""
        if not sample.startswith(SQLITE_MAGIC):
            return None
        names = names_of(sample)
        if {b"db_properties", b"hashes", b"md5", b"sha2_256"} <= names:
            return "an SQLite database with the tables of a Sleuth Kit .kdb"
        if name.lower().endswith(".kdb"):
            return "an SQLite database with the name of a Sleuth Kit .kdb"
        return None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        with open_list(source) as database, problems():
            kind, columns = columns_of(database).get("hashes", ("", []))
            own = {column.lower(): column for column in columns}
            kinds = [(digest, own[column]) for column, digest in _KINDS if column in own]
            if kind != "table" or not kinds:
                raise ListFormatError("the SQLite database has no table hashes with digests, as a .kdb has")
            # Kinds that no row has are not asked for: most databases hold MD5 only.
            filled = [
                (digest, column)
                for digest, column in kinds
                if database.execute(f'SELECT 1 FROM hashes WHERE "{column}" IS NOT NULL LIMIT 1').fetchone()
            ]
            yield from table_batches(database, Table("hashes", filled or kinds, None), job)


TSK_KDB = TskKdb()
