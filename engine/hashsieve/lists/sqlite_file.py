"""SQLite databases as lists: opened so that nothing in the file can do more than be read.

A database is code as much as data: views, triggers, virtual tables, generated columns and functions run when it is
used. So only plain tables are read, by statements of ours, read-only, as a file that does not change; an authorizer
allows those columns and nothing else, and the limits of SQLite are set low. A file that is shorter than its header says
is cut short. Memory: the page cache of :data:`CACHE_KIB` and one batch of rows.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sqlite3
import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import quote

from hashsieve.errors import ListCutShortError, ListFormatError
from hashsieve.lists.contract import Batch, Job, PackedRows
from hashsieve.lists.digests import MAX_SIZE_BYTES, UNIVERSAL
from hashsieve.lists.source import Source
from hashsieve.lists.taking import RowTaker
from hashsieve.model import DigestKind, Record

__all__ = [
    "CACHE_KIB",
    "SQLITE_MAGIC",
    "Table",
    "allow",
    "columns_of",
    "harden",
    "names_of",
    "open_list",
    "problems",
    "table_batches",
]

SQLITE_MAGIC = b"SQLite format 3\0"
CACHE_KIB = 16 << 10

_ROWS = 2048
_MAX_VALUE_BYTES = 1 << 20
_NAMES_IN_SAMPLE = 64 << 10

_WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{0,63}")

Row = tuple[object, ...]


class Table:
    """A plain table to be read: its name, the columns of the digests, and that of the size or None."""

    def __init__(self, name: str, kinds: Sequence[tuple[DigestKind, str]], size: str | None, where: str = "") -> None:
        self.name = name
        self.kinds = tuple(kinds)
        self.size = size
        self.where = where


def names_of(sample: bytes) -> set[bytes]:
    """Words in the first pages of a database, where the schema stands; for telling databases apart."""
    return {word.lower() for word in _WORD.findall(sample[:_NAMES_IN_SAMPLE])}


@contextlib.contextmanager
def problems() -> Iterator[None]:
    """Errors of SQLite as errors of the list."""
    try:
        yield
    except sqlite3.Error as error:
        raise ListFormatError(f"the SQLite database cannot be read: {error}") from error
    except (UnicodeDecodeError, OverflowError) as error:
        raise ListFormatError(f"the SQLite database holds a value that cannot be read: {error}") from error


@contextlib.contextmanager
def open_list(source: Source) -> Iterator[sqlite3.Connection]:
    """The database, read-only. Raises :class:`ListFormatError` for what is none, :class:`ListCutShortError`."""
    with source.file_path() as path, problems():
        _check_length(path)
        database = sqlite3.connect(
            f"file:{quote(os.fsencode(os.path.abspath(path)))}?mode=ro&immutable=1", uri=True, isolation_level=None
        )
        with contextlib.closing(database):
            harden(database)
            database.execute("PRAGMA query_only = ON")
            yield database


def harden(database: sqlite3.Connection) -> None:
    """The settings for a database that nobody vouches for."""
    for limit, value in (
        (sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES),
        (sqlite3.SQLITE_LIMIT_SQL_LENGTH, _MAX_VALUE_BYTES),
        (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
        (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 0),
        (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 100),
        (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 10),
        (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
    ):
        database.setlimit(limit, value)
    # Digests are ASCII, and everything else is not looked at. Text stays apart from binary values: 32 characters may be
    # an MD5 in hex, 32 bytes a SHA-256.
    database.text_factory = functools.partial(str, encoding="latin-1")
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0", f"cache_size = -{CACHE_KIB}"):
        database.execute(f"PRAGMA {pragma}")


def allow(database: sqlite3.Connection, allowed: Callable[[int, str | None, str | None, str | None], bool]) -> None:
    """From here on *database* does only what *allowed* says for action, two arguments and trigger or view."""

    def authorize(action: int, one: str | None, two: str | None, _: str | None, inner: str | None) -> int:
        return sqlite3.SQLITE_OK if allowed(action, one, two, inner) else sqlite3.SQLITE_DENY

    database.set_authorizer(authorize)


def _check_length(path: str) -> None:
    """Raise if the file is no database or shorter than its header says."""
    with open(path, "rb") as file:
        header = file.read(100)
        length_bytes = file.seek(0, os.SEEK_END)
    if not header.startswith(SQLITE_MAGIC):
        raise ListFormatError("the file is no SQLite database")
    if len(header) < 100:
        raise ListCutShortError("the SQLite database ends within its header")
    page_bytes = struct.unpack_from(">H", header, 16)[0]
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    changes, pages = struct.unpack_from(">II", header, 24)
    valid_for = struct.unpack_from(">I", header, 92)[0]
    if changes == valid_for and pages * page_bytes > length_bytes:
        raise ListCutShortError(f"the SQLite database has {length_bytes} of {pages * page_bytes} bytes")


def columns_of(database: sqlite3.Connection) -> dict[str, tuple[str, list[str]]]:
    """What there is, by name in lower case: ``table``, ``view`` or ``virtual``, and the columns of plain tables.

    Raises :class:`ListFormatError` if the schema has triggers: no list has them.
    """
    found: dict[str, tuple[str, list[str]]] = {}
    for kind, name, root in database.execute("SELECT type, name, rootpage FROM sqlite_master").fetchall():
        if kind == "trigger":
            raise ListFormatError("the SQLite database has triggers, which no list has")
        if kind == "table" and root and isinstance(name, str) and name.isidentifier():
            # A hidden value above 1 is a generated column: an expression, not data.
            rows = database.execute(f'PRAGMA table_xinfo("{name}")').fetchall()
            found[name.lower()] = "table", [row[1] for row in rows if not row[6] and '"' not in row[1]]
        elif kind in ("table", "view"):
            found[str(name).lower()] = ("view" if kind == "view" else "virtual"), []
    return found


def table_batches(database: sqlite3.Connection, table: Table, job: Job) -> Iterator[Batch]:
    """The records of all rows of *table*; bad ones go to the report by number."""
    columns = [column for _, column in table.kinds]
    wanted = [*columns, *([table.size] if table.size else [])]
    tables = {table.name.lower(), "package_object", "metadata"}

    def allowed(action: int, one: str | None, two: str | None, inner: str | None) -> bool:
        if inner is not None:
            return False
        return action == sqlite3.SQLITE_SELECT or (action == sqlite3.SQLITE_READ and (one or "").lower() in tables)

    allow(database, allowed)
    rows = _Rows(job, table)
    selected = ", ".join(f'"{name}"' for name in wanted)
    # Not by an index: a damaged one may lack rows, and the order is that of the file.
    cursor = database.execute(f'SELECT {selected} FROM "{table.name}" NOT INDEXED {table.where}')
    number = 1
    while batch := cursor.fetchmany(_ROWS):
        yield from rows.batches(number, batch)
        number += len(batch)


class _Rows:
    """Turns rows into records."""

    def __init__(self, job: Job, table: Table) -> None:
        self._taker = RowTaker(job)
        self._listing = self._taker.listing()
        self._kinds = tuple(kind for kind, _ in table.kinds)
        order = sorted(range(len(self._kinds)), key=lambda at: list(DigestKind).index(self._kinds[at]))
        self._order = order
        self._sorted_kinds = tuple(self._kinds[at] for at in order)
        self._has_size = table.size is not None

    def batches(self, number: int, rows: list[Row]) -> Iterator[Batch]:
        """The records of *rows*, the first of which has *number*; packed where all of them are plain."""
        packed = self._packed(rows)
        if packed is not None:
            yield packed
        else:
            records = (self._record(at, row) for at, row in enumerate(rows, number))
            yield [record for record in records if record is not None]

    def _packed(self, rows: list[Row]) -> PackedRows | None:
        """All rows at once, or None if one of them needs a closer look."""
        columns = list(zip(*rows, strict=True))
        texts: list[tuple[str, ...] | tuple[bytes, ...]] = []
        for at in self._order:
            column, size_bytes = columns[at], self._kinds[at].size_bytes
            types = set(map(type, column))
            if types != {str} and types != {bytes}:
                return None
            if {len(each) for each in column} != {2 * size_bytes if types == {str} else size_bytes}:
                return None
            texts.append(column)
        sizes = columns[-1] if self._has_size else None
        if sizes is not None and not all(type(size) is int and 0 <= size <= MAX_SIZE_BYTES for size in sizes):
            return None
        raws: list[list[bytes]] = []
        for at, column in zip(self._order, texts, strict=True):
            size_bytes = self._kinds[at].size_bytes
            if isinstance(column[0], str):
                try:
                    joined = bytes.fromhex("".join(column))
                except ValueError:
                    return None
                if len(joined) != size_bytes * len(column):
                    return None
                column = tuple(joined[start : start + size_bytes] for start in range(0, len(joined), size_bytes))
            if not UNIVERSAL_VALUES.isdisjoint(column):
                return None
            raws.append(list(column))
        digests = b"".join(map(b"".join, zip(*raws, strict=True)))
        packed_sizes = None if sizes is None else memoryview(array("q", sizes))
        return PackedRows(self._sorted_kinds, digests, self._listing, packed_sizes)

    def _record(self, number: int, row: Row) -> Record | None:
        digests = []
        for kind, value in zip(self._kinds, row, strict=False):
            if value is None or value in ("", b""):
                continue
            if isinstance(value, bytes):
                digests.append((kind, value.hex().encode()))
            else:
                digests.append((kind, str(value).encode("utf-8", "backslashreplace")))
        size = row[-1] if self._has_size else None
        size_bytes = size if isinstance(size, int) and 0 < size <= MAX_SIZE_BYTES else None
        return self._taker.record(f"row {number}", f"row {number}", digests, size_bytes, listing=self._listing)


UNIVERSAL_VALUES = frozenset(UNIVERSAL)
