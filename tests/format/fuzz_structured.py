"""Small lists of the structured formats, and damage to them, for test_fuzz_structured.py and fuzz_lists.py."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

from list_files import md5, medium, sha1, sha256, vics

from hashsieve.errors import HashsieveError
from hashsieve.lists import ListOptions, read_list
from hashsieve.model import Record, Role


def _vics() -> bytes:
    media = [medium(n, SHA1=sha1(n), DateUpdated="2020-01-01", Tags=["}"], AlternativeHashes=[]) for n in range(5)]
    return json.dumps(vics([*media, {"CaseID": 1, "Media": media}])).encode()


def _stix() -> bytes:
    pattern = f"[file:hashes.MD5 = '{md5(1)}' OR (file:hashes.'SHA-1' IN ('{sha1(1)}') AND file:size = 3)]"
    objects = [
        {"type": "indicator", "id": "indicator--1", "modified": "2026-01-01", "pattern": pattern, "revoked": False},
        {"type": "file", "id": "file--1", "hashes": {"MD5": md5(2), "SHA-256": sha256(2)}, "size": 5},
    ]
    return json.dumps({"type": "bundle", "objects": objects}).encode()


def _misp() -> bytes:
    attributes = [{"type": "filename|md5", "value": f"a|{md5(n)}", "to_ids": True, "uuid": "u"} for n in range(3)]
    inner = {"Attribute": attributes, "Object": [{"uuid": "o", "Attribute": attributes}]}
    return json.dumps({"response": [{"Event": inner}]}).encode()


def _lines(*objects: object) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in objects)


def _ncmec() -> bytes:
    one = (
        f'<image><member id="1">x</member><timestamp>2026-01-01T00:00:00Z</timestamp><id>i</id><classification>A1'
        f"</classification><fingerprints><md5>{md5(1)}</md5><pdna>x</pdna></fingerprints><feedback>"
        f'<negativeFeedback type="Md5"/></feedback></image>'
    )
    gone = '<deletedVideo><member id="1"/><id>v</id><timestamp>2026-01-01</timestamp></deletedVideo>'
    return f'<?xml version="1.0" encoding="UTF-8"?><queryResult><images>{one * 2}{gone}</images></queryResult>'.encode()


def _dfxml() -> bytes:
    one = f"<fileobject><filesize>5</filesize><hashdigest type='MD5'>{md5(1)}</hashdigest></fileobject>"
    return f"<dfxml>{one * 3}</dfxml>".encode()


def _database(script: str) -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.executescript(script)
    connection.commit()
    content = connection.serialize()
    connection.close()
    return content


ROWS = "".join(f"INSERT INTO FILE VALUES('{sha256(n)}', '{sha1(n)}', '{md5(n)}', 'x', {n}, 1);\n" for n in range(20))
MINIMAL = "CREATE TABLE FILE(sha256, sha1, md5, file_name, file_size, package_id);"
KDB = "CREATE TABLE db_properties(name, value); CREATE TABLE hashes(id INTEGER PRIMARY KEY, md5 BLOB, sha1, sha2_256);"

LISTS: dict[str, Callable[[], bytes]] = {
    "vics": _vics,
    "stix": _stix,
    "misp": _misp,
    "hashlookup": lambda: _lines({"MD5": md5(1), "FileSize": "5"}, {"SHA-1": sha1(1), "KnownMalicious": "x"}),
    "signals-json": lambda: _lines({"hashRecords": [{"signalType": "VideoMD5", "hashValue": md5(1)}] * 3}),
    "ncmec": _ncmec,
    "dfxml": _dfxml,
    "nsrl-sqlite": lambda: _database(MINIMAL + ROWS),
    "tsk-kdb": lambda: _database(KDB + "".join(f"INSERT INTO hashes(md5) VALUES(x'{md5(n)}');" for n in range(20))),
    "nsrl-delta": lambda: f"BEGIN;\n{ROWS}DELETE FROM FILE WHERE md5='{md5(3)}';\nCOMMIT;\n".encode(),
}
"""A small list of each format."""

PIECES = [
    b"", b"\0", b'"', b"\\", b"\\u", b"\\ud800", b"{", b"}", b"[", b"]", b",", b":", b"null", b"1e999", b"-", b"9" * 40,
    b"[" * 200, b'{"a":' * 200, b"<", b"</", b">", b"&", b"&#0;", b"&x;", b"<![CDATA[", b"<!--", b"<!DOCTYPE x [",
    b"<a>" * 100, b"'", b";", b"--", b"/*", b"ATTACH 'x' AS y;", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3", b"\xed\xa0\x80",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"\xff" * 16, b"\r", b"\n",
]  # fmt: skip


def damage(content: bytes, rng: random.Random) -> bytes:
    """*content* changed in one to a few places."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        at = rng.randrange(len(data) + 1)
        end = min(at + rng.choice([1, 2, 8, 40, 400]), len(data))
        match rng.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at:at] = rng.choice(PIECES)
            case 2:
                data[at:end] = rng.choice(PIECES)
            case 3:
                del data[at:end]
            case 4:
                data[at:at] = data[at:end]
            case 5:
                to = rng.randrange(len(data) + 1)
                data[to:to] = data[at:end]
            case _ if rng.random() < 0.3:
                del data[at:]
    return bytes(data)


def outcome(path: Path, content: bytes, format: str | None, role: Role | None) -> str:
    """Reads *content* as a list: "records" or the name of the error. Anything else that happens passes through."""
    path.write_bytes(content)
    refusal: HashsieveError | None = None
    try:
        for record in read_list(path, ListOptions(role=role, format=format)):
            assert isinstance(record, Record)
            assert record.op == "remove" or record.digests
    except HashsieveError as error:
        refusal = error
    assert len(str(refusal)) < 20_000
    return type(refusal).__name__ if refusal is not None else "records"
