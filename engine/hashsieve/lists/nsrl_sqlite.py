"""NSRL RDS 3: the SQLite database of a release, full or minimal.

In minimal releases ``FILE`` is a table. In full ones it is a view over ``METADATA`` and ``PACKAGE_OBJECT``; a view of a
database that nobody vouches for is code, so those tables are read instead, with the same meaning: objects that stand
in a package. The list names files of published software, so it is known-good by itself. Names are never read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hashsieve.errors import ListFormatError
from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.source import Source
from hashsieve.lists.sqlite_file import SQLITE_MAGIC, Table, columns_of, names_of, open_list, problems, table_batches
from hashsieve.model import DigestKind, Role

if TYPE_CHECKING:
    import sqlite3

__all__ = ["NSRL_SQLITE", "NsrlSqlite", "nsrl_table"]

_NAME = re.compile(r"RDS_\d{4}\.\d\d\..*\.db", re.IGNORECASE)
_KINDS = (("md5", DigestKind.MD5), ("sha1", DigestKind.SHA1), ("sha256", DigestKind.SHA256))


class NsrlSqlite:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo(
        "nsrl-sqlite",
        "NSRL RDS 3 SQLite database, full or minimal; known-good",
        "NIST, National Software Reference Library",
    )
    graded = False

    def own_role(self, name: str) -> Role:
        """Known-good: the NSRL lists files of published software."""
        return Role.KNOWN_GOOD

    def recognise(self, sample: bytes, name: str) -> str | None:
        """Told by :meth:`recognise_binary`."""
        return None

    def recognise_binary(self, sample: bytes, name: str) -> str | None:
        """An SQLite database whose schema names the digests and the package of a file, or with a release's name.

        The sample may end before a long schema does.
        """
        if not sample.startswith(SQLITE_MAGIC):
            return None
        names = names_of(sample)
        if {b"sha256", b"sha1", b"md5"} <= names and (b"package_id" in names or b"package_object" in names):
            return "an SQLite database with the tables of NSRL RDS 3"
        if _NAME.match(name):
            return "an SQLite database with the name of an NSRL RDS 3 release"
        return None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        with open_list(source) as database, problems():
            table = nsrl_table(database)
            job.report.detail = f"NSRL RDS 3, {'minimal' if table.name.lower() == 'file' else 'full'}"
            yield from table_batches(database, table, job)


def nsrl_table(database: sqlite3.Connection) -> Table:
    """The table of the files of *database*. Raises :class:`ListFormatError` if it has none that can be read."""
    there = columns_of(database)
    for name, size in (("file", "file_size"), ("metadata", "bytes")):
        kind, columns = there.get(name, ("", []))
        own = {column.lower(): column for column in columns}
        kinds = [(digest, own[column]) for column, digest in _KINDS if column in own]
        if kind != "table" or not kinds:
            continue
        where = ""
        if name == "metadata" and "package_object" in there:
            if "object_id" not in own or there["package_object"][0] != "table":
                continue
            where = 'WHERE object_id IN (SELECT object_id FROM "PACKAGE_OBJECT")'
        return Table(name, kinds, own.get(size), where)
    raise ListFormatError("the SQLite database has neither a FILE nor a METADATA table with digests, as NSRL RDS 3 has")


NSRL_SQLITE = NsrlSqlite()
