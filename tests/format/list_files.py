"""What the tests of hash lists share: made-up digests, files written from them, and reading back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hashsieve.lists import ListOptions, ListReport, read_list
from hashsieve.model import Record, Role

BAD = ListOptions(role=Role.KNOWN_BAD)
US = "http://github.com/VICSDATAMODEL/ProjectVic/DataModels/2.0.xml/US/$metadata#Media"
UK = "http://github.com/VICSDATAMODEL/ProjectVic/DataModels/2.0.xml/UK/$metadata#Media"


def md5(number: int) -> str:
    """The MD5 of a made-up text, in hex."""
    return hashlib.md5(b"text %d" % number).hexdigest()


def sha1(number: int) -> str:
    """The SHA-1 of a made-up text, in hex."""
    return hashlib.sha1(b"text %d" % number).hexdigest()


def sha256(number: int) -> str:
    """The SHA-256 of a made-up text, in hex."""
    return hashlib.sha256(b"text %d" % number).hexdigest()


def write(path: Path, content: bytes | str) -> Path:
    """*content* as a file."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, options: ListOptions = BAD) -> tuple[list[Record], ListReport]:
    """All records of a list, and the report."""
    reading = read_list(path, options)
    return list(reading), reading.report


def hexes(records: Iterable[Record], kind: str) -> list[str]:
    """The digests of *kind*, in hex and in order."""
    return [record.digests[kind].hex() for record in records if kind in record.digests]


def vics(media: Iterable[Any], marker: str | None = US, **more: Any) -> dict[str, Any]:
    """A VICS hash set."""
    head = {} if marker is None else {"@odata.context": marker}
    return {**head, **more, "value": list(media)}


def medium(number: int, **members: Any) -> dict[str, Any]:
    """A media record; *members* replace or add."""
    return {"MediaID": number, "Category": 1, "MD5": md5(number).upper(), "MediaSize": 100 + number, **members}


def write_json(path: Path, document: Mapping[str, Any], **how: Any) -> Path:
    """*document* as a file; *how* goes to :func:`json.dumps`."""
    return write(path, json.dumps(document, **how))
