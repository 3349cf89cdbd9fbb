"""Databases and scripts: NSRL RDS 3, full, minimal and delta, Sleuth Kit .kdb, and those that are out to do harm."""

from __future__ import annotations

import gzip
import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from list_files import BAD, hexes, md5, read, sha1, sha256, write

from hashsieve.errors import ListCutShortError, ListEmptyError, ListError, ListFormatError, UsageError
from hashsieve.lists import ListOptions, detect, nsrl_delta
from hashsieve.model import Listing, Record, Role

PLAIN = ListOptions()
MINIMAL = (
    "CREATE TABLE FILE(sha256 VARCHAR NOT NULL, sha1 VARCHAR NOT NULL, md5 VARCHAR NOT NULL, crc32 VARCHAR NOT NULL,"
    " file_name VARCHAR NOT NULL, file_size INTEGER NOT NULL, package_id INTEGER NOT NULL)"
)
FULL = (
    "CREATE TABLE METADATA(metadata_id NUMERIC PRIMARY KEY, object_id INTEGER, path VARCHAR, file_name VARCHAR,"
    " extension VARCHAR, bytes INTEGER, crc32 VARCHAR, md5 VARCHAR, sha1 VARCHAR, sha256 VARCHAR);"
    "CREATE TABLE PACKAGE_OBJECT(package_object_id INTEGER PRIMARY KEY, package_id INTEGER, object_id INTEGER UNIQUE);"
    "CREATE VIEW FILE AS SELECT UPPER(md.sha256) AS sha256, UPPER(md.sha1) AS sha1, UPPER(md.md5) AS md5, md.bytes AS"
    " file_size, po.package_id FROM METADATA AS md, PACKAGE_OBJECT AS po WHERE md.object_id = po.object_id"
)
KDB = (
    "CREATE TABLE db_properties(name TEXT NOT NULL, value TEXT);"
    "INSERT INTO db_properties VALUES('Schema Version', '1');"
    "CREATE TABLE hashes(id INTEGER PRIMARY KEY AUTOINCREMENT, md5 BINARY(16) UNIQUE, sha1 BINARY(20),"
    " sha2_256 BINARY(32));"
    "CREATE TABLE file_names(name TEXT NOT NULL, hash_id INTEGER NOT NULL);"
    "CREATE TABLE comments(comment TEXT NOT NULL, hash_id INTEGER NOT NULL)"
)


def database(path: Path, script: str, *rows: tuple[str, Iterable[tuple[Any, ...]]]) -> Path:
    """A database made by *script*, with *rows* inserted by a statement each."""
    connection = sqlite3.connect(path)
    connection.executescript(script)
    for statement, values in rows:
        connection.executemany(statement, values)
    connection.commit()
    connection.close()
    return path


def file_row(number: int) -> tuple[Any, ...]:
    return sha256(number).upper(), sha1(number).upper(), md5(number).upper(), "0", "Jane Doe", 10 + number, 7


INSERT = "INSERT INTO FILE VALUES(?, ?, ?, ?, ?, ?, ?)"


def minimal(path: Path, rows: Iterable[tuple[Any, ...]]) -> Path:
    return database(path, MINIMAL, (INSERT, rows))


def as_record(number: int, source: str, role: Role = Role.KNOWN_GOOD) -> Record:
    digests = {"md5": md5(number), "sha1": sha1(number), "sha256": sha256(number)}
    return Record({kind: bytes.fromhex(text) for kind, text in digests.items()}, 10 + number, Listing(source, role))


def test_a_minimal_release_is_known_good_by_itself(tmp_path: Path) -> None:
    path = minimal(tmp_path / "RDS_minimal.db", map(file_row, range(5000)))
    records, report = read(path, PLAIN)
    assert records == [as_record(number, "RDS_minimal.db") for number in range(5000)]
    assert (report.format, report.role, report.detail) == ("nsrl-sqlite", "known-good", "NSRL RDS 3, minimal")
    with pytest.raises(UsageError, match="means known-good by itself"):
        read(path, BAD)


def test_of_a_full_release_the_objects_in_packages_count(tmp_path: Path) -> None:
    rows = [(n, 100 + n, "Jane", "Doe", "x", 10 + n, "0", md5(n), sha1(n), sha256(n)) for n in range(4)]
    objects = [(n, 7, 100 + n) for n in range(3)]
    path = database(
        tmp_path / "full.db", FULL,
        ("INSERT INTO METADATA VALUES(?,?,?,?,?,?,?,?,?,?)", rows),
        ("INSERT INTO PACKAGE_OBJECT VALUES(?,?,?)", objects),
    )  # fmt: skip
    records, report = read(path, PLAIN)
    assert records == [as_record(number, "full.db") for number in range(3)]
    assert report.detail == "NSRL RDS 3, full"


def test_odd_values_of_a_release_are_refused_by_row_or_not_known(tmp_path: Path) -> None:
    good = file_row(1)
    rows = [
        good,
        (good[0], good[1], good[2][:30], *good[3:]),
        (good[2], good[1], good[2], *good[3:]),  # an MD5 where a SHA-256 should be
        (good[0], good[1], 5, *good[3:]),
        ("", "", "", *good[3:]),
        (*good[:5], 2**63 - 1, 7),
        (*good[:5], "big", 7),
        (*good[:5], -1, 7),
        ("E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", "0" * 40, md5(2), *good[3:]),
    ]
    records, report = read(minimal(tmp_path / "RDS.db", rows), PLAIN)
    assert [record.size_bytes for record in records] == [11, 11, 11, 11, None, None, None, 11]
    assert report.refused == {"wrong-length": 3, "empty-value": 1}
    assert report.dropped == {"empty-file": 1, "all-zero": 1}
    assert [problem.position for problem in report.problems] == ["row 2", "row 3", "row 4", "row 5"]


def kdb(path: Path, rows: Iterable[tuple[Any, ...]]) -> Path:
    names = ("INSERT INTO file_names VALUES(?, ?)", [("Jane Doe", 1)])
    return database(path, KDB, ("INSERT INTO hashes(md5, sha1, sha2_256) VALUES(?, ?, ?)", rows), names)


def test_a_kdb_gives_its_binary_digests(tmp_path: Path) -> None:
    rows = [(bytes.fromhex(md5(number)), None, None) for number in range(10)]
    records, report = read(kdb(tmp_path / "a.kdb", rows), BAD)
    assert hexes(records, "md5") == [md5(number) for number in range(10)]
    assert (report.format, report.taken) == ("tsk-kdb", 10)
    mixed = [
        *rows[:2],
        (None, bytes.fromhex(sha1(2)), bytes.fromhex(sha256(2))),
        (bytes(16), None, None),
        (b"x", None, None),
    ]
    records, report = read(kdb(tmp_path / "b.kdb", mixed), BAD)
    assert [sorted(record.digests) for record in records] == [["md5"], ["md5"], ["sha1", "sha256"]]
    assert (report.dropped, report.refused) == ({"all-zero": 1}, {"wrong-length": 1})
    with pytest.raises(UsageError, match="give --role"):
        read(tmp_path / "a.kdb", PLAIN)


def test_packed_databases_and_odd_names_of_files_are_read(tmp_path: Path) -> None:
    path = kdb(tmp_path / "a.kdb", [(bytes.fromhex(md5(1)), None, None)])
    packed = write(tmp_path / "a.kdb.gz", gzip.compress(path.read_bytes()))
    assert hexes(read(packed, BAD)[0], "md5") == [md5(1)]
    for name in ("a?mode=rwc#b%20.kdb", "b&c.kdb", "\udcff.kdb"):
        target = tmp_path / name
        target.write_bytes(path.read_bytes())
        assert hexes(read(target, BAD)[0], "md5") == [md5(1)]


def test_a_database_is_not_written_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = minimal(tmp_path / "RDS.db", [file_row(1)])
    before, listing = path.read_bytes(), os.listdir(tmp_path)
    path.chmod(0o444)
    read(path, PLAIN)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (before, listing)


def test_a_database_that_is_cut_or_damaged_is_refused(tmp_path: Path) -> None:
    content = minimal(tmp_path / "RDS.db", map(file_row, range(300))).read_bytes()
    for length in (50, 100, 4096, len(content) - 4096, len(content) - 1):
        with pytest.raises(ListCutShortError, match=r"ends within|bytes"):
            read(write(tmp_path / "cut", content[:length]), ListOptions(format="nsrl-sqlite"))
    with pytest.raises(ListFormatError):
        read(write(tmp_path / "cut", content[:100] + bytes(len(content) - 100)), ListOptions(format="nsrl-sqlite"))
    with pytest.raises(ListFormatError, match="no SQLite database"):
        read(write(tmp_path / "text", "x" * 200), ListOptions(format="nsrl-sqlite"))


FTS5 = any("ENABLE_FTS5" in row[0] for row in sqlite3.connect(":memory:").execute("PRAGMA compile_options"))
PACKAGES = "PACKAGE_OBJECT(package_object_id INTEGER PRIMARY KEY, package_id INTEGER, object_id INTEGER UNIQUE)"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i"
HOSTILE = {
    "a trigger": f"{MINIMAL}; CREATE TRIGGER t AFTER INSERT ON FILE BEGIN DELETE FROM FILE; END",
    "a view that never ends": "CREATE VIEW FILE(sha256, sha1, md5, file_size, package_id) AS "
        f"{ENDLESS}, 1, 1, 1, 1 FROM n",
    "a view for the packages": FULL.replace(f"TABLE {PACKAGES}", f"VIEW PACKAGE_OBJECT(object_id) AS {ENDLESS} FROM n"),
    "generated columns": "CREATE TABLE FILE(package_id INTEGER, sha256 AS (hex(zeroblob(500000000))), sha1 AS (1),"
        " md5 AS (hex(zeroblob(500000000))))",
    "a virtual table": "CREATE VIRTUAL TABLE FILE USING fts5(sha256, sha1, md5, package_id)",
    "no table": "CREATE TABLE OTHER(sha256, sha1, md5, package_id)",
    "a column with quotes": 'CREATE TABLE FILE("md5""; DROP TABLE x", package_id)',
}  # fmt: skip


@pytest.mark.parametrize("script", HOSTILE.values(), ids=HOSTILE)
def test_hostile_databases_are_refused(tmp_path: Path, script: str) -> None:
    path = tmp_path / "RDS.db"
    if "fts5" in script and not FTS5:
        pytest.skip("this SQLite has no fts5")
    database(path, script)
    with pytest.raises((ListFormatError, ListEmptyError)):
        read(path, ListOptions(format="nsrl-sqlite"))


def test_a_huge_value_is_refused(tmp_path: Path) -> None:
    row = (sha256(1), sha1(1), "a" * (3 << 20), *file_row(1)[3:])
    with pytest.raises(ListFormatError, match="too big"):
        read(minimal(tmp_path / "RDS.db", [row]), PLAIN)


def values(number: int, *, crc: bool = True) -> str:
    row = file_row(number)
    return ", ".join(repr(value) for value in (row if crc else row[:3] + row[4:]))


def script(*statements: str) -> str:
    return "BEGIN TRANSACTION;\n" + "".join(f"{statement};\n" for statement in statements) + "COMMIT;\n"


@pytest.mark.parametrize(
    "insert",
    [
        lambda n: f"INSERT INTO FILE VALUES({values(n)})",
        lambda n: f'INSERT OR REPLACE INTO "FILE" VALUES({values(n)})',
        lambda n: f"insert into file values({values(n, crc=False)})",
        lambda n: f"REPLACE INTO main.FILE(sha256, sha1, md5, crc32, file_name, file_size, package_id)"
                  f" VALUES({values(n)})",
        lambda n: f"-- a; comment's\n/* ; */ INSERT INTO [FILE] VALUES({values(n)})",
    ],
)  # fmt: skip
def test_a_delta_without_its_base_gives_what_it_inserts(tmp_path: Path, insert: Callable[[int], str]) -> None:
    text = script(
        insert(1),
        "INSERT INTO VERSION VALUES('x;''y', 1)",
        insert(2),
        insert(3),
        f"DELETE FROM FILE WHERE md5='{md5(2).upper()}'",
    )
    path = write(tmp_path / "RDS_2026.02.1_modern_minimal_delta.sql", text)
    records, report = read(path, PLAIN)
    assert records == [as_record(number, path.name) for number in (1, 3)]
    assert (report.format, report.role, report.refused) == ("nsrl-delta", "known-good", {})


def test_changes_of_rows_that_are_not_there_need_the_base(tmp_path: Path) -> None:
    text = script(
        f"INSERT INTO FILE VALUES({values(1)})",
        "DELETE FROM FILE WHERE rowid=5",
        "UPDATE FILE SET file_size=3 WHERE rowid=9",
    )
    records, report = read(write(tmp_path / "delta.sql", text), PLAIN)
    assert hexes(records, "md5") == [md5(1)]
    assert report.refused == {"needs-base-release": 2}
    assert [problem.position for problem in report.problems] == ["statement 3", "statement 4"]


def test_a_delta_runs_on_a_copy_of_the_latest_earlier_release_beside_it(tmp_path: Path) -> None:
    for name, rows in (("RDS_2025.09.1_modern_minimal.db", []), ("RDS_2026.01.1_modern_minimal.db", [1, 2, 3]),
                       ("RDS_2026.03.1_modern_minimal.db", [8]), ("RDS_2026.01.1_legacy_minimal.db", [9])):  # fmt: skip
        minimal(tmp_path / name, map(file_row, rows))
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    text = script(
        f"INSERT INTO FILE VALUES({values(4)})", "DELETE FROM FILE WHERE rowid=2",
        "UPDATE FILE SET file_size=99 WHERE rowid=3", f"DELETE FROM FILE WHERE sha1='{sha1(7)}'",
    )  # fmt: skip
    path = write(tmp_path / "RDS_2026.02.1_modern_minimal_delta.sql", text)
    records, report = read(path, PLAIN)
    assert [(record.digests["md5"].hex(), record.size_bytes) for record in records] == [
        (md5(1), 11), (md5(3), 99), (md5(4), 14),
    ]  # fmt: skip
    assert (report.refused, "RDS_2026.01.1_modern_minimal.db" in report.detail) == ({}, True)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


OUTSIDE = "{folder}/outside.db"
BAD_STATEMENTS = [
    f"ATTACH DATABASE '{OUTSIDE}' AS o",
    f"INSERT INTO FILE VALUES({values(1)}); ATTACH '{OUTSIDE}' AS o",
    f"VACUUM INTO '{OUTSIDE}'",
    "PRAGMA writable_schema = ON",
    "CREATE TRIGGER t AFTER INSERT ON FILE BEGIN DELETE FROM FILE; END",
    "CREATE TABLE x(y)",
    "DROP TABLE FILE",
    "SELECT load_extension('x')",
    "INSERT INTO sqlite_master VALUES(1, 2, 3, 4, 5)",
    "INSERT INTO OTHER VALUES(1)",
    "UPDATE FILE SET md5 = (SELECT sql FROM sqlite_master)",
    f"INSERT INTO FILE VALUES({values(1).replace(repr('0'), 'randomblob(9)')})",
    f"INSERT INTO FILE SELECT {values(1).replace(repr('0'), 'i')} FROM ({ENDLESS} FROM n)",
    "INSERT INTO FILE VALUES(1, 2)",
    "INSERT INTO FILE VALUES(zeroblob(900000000), 1, 1, 1, 1, 1, 1)",
    "INSERT INTO FILE VALUES('" + "a" * (2 << 20) + "', 1, 1, 1, 1, 1, 1)",
    "EXPLAIN DELETE FROM FILE",
    "nonsense",
    "'",
    "/* no end",
]  # fmt: skip


@pytest.mark.parametrize("on_base", [False, True])
@pytest.mark.parametrize("statement", BAD_STATEMENTS, ids=range(len(BAD_STATEMENTS)))
def test_statements_that_are_no_plain_change_are_refused(tmp_path: Path, statement: str, on_base: bool) -> None:
    if on_base:
        minimal(tmp_path / "RDS_2026.01.1_x.db", [file_row(1)])
    text = script(f"INSERT INTO FILE VALUES({values(5)})", statement.format(folder=tmp_path))
    path = write(tmp_path / "RDS_2026.02.1_x_delta.sql", text)
    with pytest.raises((ListFormatError, ListCutShortError)):
        read(path, PLAIN)
    assert not (tmp_path / "outside.db").exists()


def test_a_base_with_a_trigger_is_refused(tmp_path: Path) -> None:
    database(
        tmp_path / "RDS_2026.01.1_x.db", f"{MINIMAL}; CREATE TRIGGER t AFTER INSERT ON FILE BEGIN DELETE FROM FILE; END"
    )
    path = write(tmp_path / "RDS_2026.02.1_x_delta.sql", script(f"INSERT INTO FILE VALUES({values(5)})"))
    with pytest.raises(ListFormatError, match="triggers"):
        read(path, PLAIN)


def test_a_statement_that_takes_too_many_steps_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nsrl_delta, "_MAX_STEPS", 1_000_000)
    doubling = "INSERT INTO FILE SELECT * FROM FILE"
    path = write(tmp_path / "delta.sql", script(f"INSERT INTO FILE VALUES({values(1)})", *[doubling] * 25))
    with pytest.raises(ListFormatError, match="interrupted"):
        read(path, PLAIN)


def test_a_script_that_is_cut_fails(tmp_path: Path) -> None:
    text = script(f"INSERT INTO FILE VALUES({values(1)})", f"INSERT INTO FILE VALUES({values(2)})")
    cut = text.index("COMMIT") - 5
    with pytest.raises(ListCutShortError, match="ends within a statement"):
        read(write(tmp_path / "delta.sql", text[:cut]), PLAIN)


def test_detection_of_databases_and_scripts(tmp_path: Path) -> None:
    assert detect(minimal(tmp_path / "a", [file_row(1)]).read_bytes(), "x").format == "nsrl-sqlite"
    assert detect(database(tmp_path / "b", FULL).read_bytes(), "x").format == "nsrl-sqlite"
    assert detect(kdb(tmp_path / "c", []).read_bytes(), "x").format == "tsk-kdb"
    assert detect(script(f"INSERT INTO FILE VALUES({values(1)})").encode(), "x").format == "nsrl-delta"
    for content in (database(tmp_path / "d", "CREATE TABLE x(md5)").read_bytes(), b"INSERT INTO x VALUES(1);"):
        try:
            assert detect(content, "x").format is None
        except ListError:
            pass
