"""NSRL RDS 3 delta: an SQL script of INSERT, UPDATE and DELETE that turns the last full release into the next.

A script is a program by a stranger. It is cut into statements by us, each has to be one of the three on a table of the
RDS, and they run in a private database that is thrown away, under an authorizer: no ATTACH, PRAGMA, trigger, view,
function or recursion, with bounds on the length and the steps of a statement.

Where the database of an earlier release of the same set lies beside the script (``RDS_2026.01.1_modern_minimal.db`` for
``RDS_2026.04.1_modern_minimal_delta.sql``), the latest such one is copied, the script runs on the copy, and the list is
the complete next release. Otherwise the list is what the script inserts. Statements that then change or delete rows
which are not there are refused as ``needs-base-release``, by number, and refuse the list as bad rows do.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator

from hashsieve.errors import ListCutShortError, ListError, ListFormatError, shown
from hashsieve.lists.contract import Batch, FormatInfo, Job, excerpt
from hashsieve.lists.nsrl_sqlite import nsrl_table
from hashsieve.lists.source import Source
from hashsieve.lists.sqlite_file import allow, columns_of, harden, problems, table_batches
from hashsieve.model import Role

__all__ = ["MAX_STATEMENT_BYTES", "NSRL_DELTA", "NsrlDelta"]

MAX_STATEMENT_BYTES = 1 << 20
_MAX_STEPS = 200_000_000
_MAX_STEPS_ON_BASE = 100_000_000_000
_STEPS_A_CALL = 1_000_000

_SKIP = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_STATEMENT = re.compile(
    rb"(?:[^'\"`\[;/-]++|'[^']*+'|\"[^\"]*+\"|`[^`]*+`|\[[^\]]*+\]|--[^\n]*+\n|/\*.*?\*/|-(?!-)|/(?!\*))*+;", re.DOTALL
)
_CHANGE = re.compile(
    _SKIP + r"(?:(?:INSERT|REPLACE)(?:\s+OR\s+\w+)?\s+INTO|UPDATE(?:\s+OR\s+\w+)?|(DELETE)\s+FROM)\s+"
    r"(?:\"?main\"?\.)?[\"`\[]?(\w+)",
    re.IGNORECASE | re.DOTALL,
)
_FRAME = re.compile(_SKIP + r"(?:BEGIN|COMMIT|END)(?:\s+\w+)?\s*;$", re.IGNORECASE | re.DOTALL)
_BLANK = re.compile(rb"(?:\s|--[^\n]*\n?|/\*.*?\*/|;)*", re.DOTALL)
_IN_SAMPLE = re.compile(
    _SKIP
    + r"(?:(?:BEGIN|PRAGMA)[^;]*;"
    + _SKIP
    + r")*(?:(?:INSERT|REPLACE)(?:\s+OR\s+\w+)?\s+INTO|UPDATE|DELETE\s+FROM)\s+"
    r"(?:\"?main\"?\.)?[\"`\[]?(\w+)",
    re.IGNORECASE | re.DOTALL,
)
_NAME = re.compile(r"RDS_(\d{4}\.\d\d\.\d+)_(.+?)_delta\.sql", re.IGNORECASE)
_BASE_NAME = re.compile(r"RDS_(\d{4}\.\d\d\.\d+)_(.+)\.db", re.IGNORECASE)

_FILES = ("file", "metadata", "package_object")
_OTHERS = frozenset(
    ("application", "application_type", "hash", "language", "manufacturer", "mfg", "object", "operating_system", "os")
) | frozenset(("package", "pkg", "version"))
_COLUMNS = {
    "FILE": (
        "sha256, sha1, md5, crc32, file_name, file_size, package_id",
        "sha256, sha1, md5, file_name, file_size, package_id",
    ),
    "METADATA": (
        "metadata_id, object_id, key_hash, image_hash, path, path_b64, path_coding, file_name, file_name_b64, "
        "file_name_coding, extension, extension_b64, extension_coding, bytes, mtime, used_in_rds, update_date, "
        "recursion_level, extractee_id, crc32, md5, sha1, sha256",
    ),
    "PACKAGE_OBJECT": ("package_object_id, package_id, object_id",),
}


class NsrlDelta:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo(
        "nsrl-delta", "NSRL RDS 3 delta SQL, with the release before it where that lies beside it; known-good",
        "NIST, National Software Reference Library",
    )  # fmt: skip
    graded = False

    def own_role(self, name: str) -> Role:
        """Known-good: the NSRL lists files of published software."""
        return Role.KNOWN_GOOD

    def recognise(self, sample: bytes, name: str) -> str | None:
        """The first statement changes a table of NSRL RDS 3."""
        found = _IN_SAMPLE.match(sample[: 16 << 10].decode("latin-1"))
        if found and found[1].lower() in {*_FILES, *_OTHERS}:
            return f"SQL that changes the table {found[1]} of NSRL RDS 3"
        return None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        base = _base_beside(source)
        with tempfile.TemporaryDirectory(prefix="hashsieve-") as folder:
            path = os.path.join(folder, "release.db")
            if base is not None:
                try:
                    shutil.copyfile(base, path)
                except OSError as error:
                    raise ListError(f"{shown(base)} cannot be copied to {shown(folder)}: {error.strerror}") from error
            with problems(), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
                harden(database)
                database.execute("PRAGMA journal_mode = OFF")
                database.execute("PRAGMA synchronous = OFF")
                script = _Script(database, job, on_base=base is not None)
                script.run(source)
                database.set_authorizer(None)
                database.set_progress_handler(None, 0)
                job.report.detail = f"NSRL RDS 3 delta, {script.count} statements on " + (
                    f"a copy of {shown(os.path.basename(base))}" if base is not None else "an empty database"
                )
                yield from table_batches(database, nsrl_table(database), job)


def _base_beside(source: Source) -> str | None:
    """The database of the latest earlier release of the same set in the folder of the script, or None."""
    folder, name = os.path.split(os.path.abspath(os.fsdecode(source.path)))
    found = _NAME.search(os.path.basename(source.member) if source.member else name)
    if found is None:
        return None
    release, which = _release(found[1]), found[2].lower()
    candidates = []
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    for each in names:
        base = _BASE_NAME.fullmatch(each)
        if base and base[2].lower() == which and _release(base[1]) < release:
            candidates.append((_release(base[1]), each))
    return os.path.join(folder, max(candidates)[1]) if candidates else None


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


class _Script:
    """Runs a script on a private database."""

    def __init__(self, database: sqlite3.Connection, job: Job, *, on_base: bool) -> None:
        self._database = database
        self._report = job.report
        self._on_base = on_base
        self._steps = 0
        self._max_steps = _MAX_STEPS_ON_BASE if on_base else _MAX_STEPS
        self._shaped: set[str] = set()
        self.count = 0

    def run(self, source: Source) -> None:
        """Runs all statements."""
        if self._on_base:
            columns_of(self._database)  # refuses triggers
        self._database.execute("BEGIN")
        for statement in _statements(source):
            self.count += 1
            if _FRAME.match(statement):
                continue
            found = _CHANGE.match(statement)
            table = found[2].lower() if found else ""
            if found is None or table not in {*_FILES, *_OTHERS}:
                what = f"statement {self.count} is no INSERT, UPDATE or DELETE on a table of NSRL RDS 3"
                raise ListFormatError(f"{what}: {excerpt(statement)}")
            if table in _FILES:
                self._change(statement, table, inserts=found[1] is None and not _is_update(statement))
        self._database.set_authorizer(None)
        if not self._on_base:
            for name in ("FILE", "METADATA", "PACKAGE_OBJECT"):
                if name.lower() in self._shaped and not self._any_row(name):
                    self._database.execute(f'DROP TABLE "{name}"')
        self._database.execute("COMMIT")

    def _any_row(self, name: str) -> bool:
        return self._database.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() is not None

    def _change(self, statement: str, table: str, *, inserts: bool) -> None:
        """Runs one statement."""
        if not self._on_base and table not in self._shaped:
            self._create(statement, table)
        self._lock(self._database)
        self._steps = 0
        try:
            changed = self._database.execute(statement).rowcount
        except sqlite3.Error as error:
            raise ListFormatError(f"statement {self.count} fails: {error}: {excerpt(statement)}") from error
        if not changed and not inserts and not self._on_base:
            self._report.refuse(f"statement {self.count}", "needs-base-release", statement)

    def _create(self, statement: str, table: str) -> None:
        """The table that the first statement about it fits."""
        shapes = _COLUMNS[table.upper()]
        chosen = shapes[0]
        for shape in shapes:
            with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as trial:
                harden(trial)
                trial.execute(f"CREATE TABLE {table.upper()}({shape})")
                self._lock(trial)
                try:
                    trial.execute(statement)
                except sqlite3.Error:
                    continue
                chosen = shape
                break
        self._database.set_authorizer(None)
        self._database.execute(f"CREATE TABLE {table.upper()}({chosen})")
        self._shaped.add(table)

    def _lock(self, database: sqlite3.Connection) -> None:
        """Only changes of the tables of files, and bounded."""
        reads = (sqlite3.SQLITE_READ, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)

        def allowed(action: int, one: str | None, two: str | None, inner: str | None) -> bool:
            if inner is not None:
                return False
            return action == sqlite3.SQLITE_SELECT or (action in reads and (one or "").lower() in _FILES)

        allow(database, allowed)
        database.set_progress_handler(self._step, _STEPS_A_CALL)

    def _step(self) -> int:
        self._steps += _STEPS_A_CALL
        return int(self._steps > self._max_steps)


def _is_update(statement: str) -> bool:
    return re.match(_SKIP + "UPDATE", statement, re.IGNORECASE | re.DOTALL) is not None


def _statements(source: Source) -> Iterator[str]:
    """The statements of the script, each with its semicolon."""
    rest = b""
    for chunk in source.chunks():
        rest += chunk
        at = 0
        while found := _STATEMENT.match(rest, at):
            text = found.group()
            at = found.end()
            if _BLANK.fullmatch(text) is None:
                if len(text) > MAX_STATEMENT_BYTES:
                    raise ListFormatError(f"a statement is longer than {MAX_STATEMENT_BYTES} bytes")
                yield text.decode("utf-8", "replace").strip()
        rest = rest[at:]
        if len(rest) > MAX_STATEMENT_BYTES:
            raise ListFormatError(f"a statement is longer than {MAX_STATEMENT_BYTES} bytes")
    if _BLANK.fullmatch(rest) is None:
        raise ListCutShortError(f"the SQL ends within a statement: {excerpt(rest.lstrip())}")


NSRL_DELTA = NsrlDelta()
