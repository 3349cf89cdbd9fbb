"""The evidence package of one alert: what an investigator needs, in one file, without content.

JSON of one object: the record as it stands in the journal (byte for byte in ``line``), what else the journal says about
the same subject, the way from the record to the head of the chain, and by what and with which settings it was made.
Nothing is read from the file that was found, and nothing is hashed but this package itself. ``docs/format/journal.md``
says how to check it by hand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from .. import __version__
from ..errors import JournalError, Path, UsageError, shown
from ..platform.storage import Storage
from .config import AlertConfig
from .cursor import load_all
from .environment import Environment, utc
from .journal import JournalReader, verify
from .lines import Line
from .merge import expand_ranges

__all__ = ["Sign", "export_alert", "package_bytes"]

Sign = Callable[[bytes], dict[str, str]]
_MAX_RELATED = 500


def package_bytes(package: dict[str, Any]) -> bytes:
    """The bytes that a signature is over: the package without ``signature``, keys sorted, no white space, UTF-8."""
    return json.dumps(
        {name: value for name, value in package.items() if name != "signature"}, sort_keys=True, ensure_ascii=True,
        allow_nan=False, separators=(",", ":"),
    ).encode("ascii")  # fmt: skip


def find(directory: Path, id_: str, *, storage: Storage | None = None) -> tuple[Line, list[Line]]:
    """The line of that id, or of the fold that stands for it, and the other lines about its subject."""
    if len(id_) < 26 or id_[24] != "-" or not id_[25:].isdecimal():
        raise UsageError(f"{shown(id_)!r} is not the id of an alert")
    journal, seq = id_[:24], int(id_[25:])
    found: Line | None = None
    related: list[Line] = []
    lines = [
        line
        for line in JournalReader(directory, storage=storage).lines()
        if line.type in ("alert", "update", "fold", "withdraw")
    ]
    for line in lines:
        record = line.record
        if str(record["id"])[:24] != journal:
            continue
        if line.seq == seq or (line.type == "fold" and seq in expand_ranges(str(record.get("ids", "")))):
            found = found or line
    if found is None:
        raise JournalError(f"{shown(os.fsdecode(directory))}: there is no alert {shown(id_)} in this journal")
    subject = found.record.get("subject")
    related = [line for line in lines if line.seq != found.seq and line.record.get("subject") == subject]
    return found, related[:_MAX_RELATED]


def export_alert(
    directory: Path,
    id_: str,
    *,
    config: AlertConfig | None = None,
    key: bytes | None = None,
    sign: Sign | None = None,
    environment: Environment | None = None,
    storage: Storage | None = None,
) -> dict[str, Any]:
    """The package. *key* lets the macs be proved; *sign* signs :func:`package_bytes` and gives what proves it."""
    env = environment or Environment()
    line, related = find(directory, id_, storage=storage)
    report = verify(directory, key=key, storage=storage)
    record = line.record
    chain = [
        {"seq": each.seq, "type": each.type, "previous": each.prev, "value": each.mac}
        for each in JournalReader(directory, storage=storage).lines(line.seq - 2)
    ]
    settings = config or AlertConfig()
    package: dict[str, Any] = {
        "package": "hashsieve evidence 1",
        "made": utc(env.wall_ns()),
        "engine": f"hashsieve {__version__}",
        "id": id_,
        "record": record,
        "line": line.raw.decode("ascii"),
        "related": [each.raw.decode("ascii") for each in related],
        "set": record.get("set"),
        "chain": {
            "journal": report.journal, "segment": line.segment, "offset": line.offset, "seq": line.seq,
            "value": line.mac, "previous": line.prev, "head": {"seq": report.seq, "value": report.chain},
            "to_head": chain[:2000], "proved_with_key": key is not None, "intact": report.intact,
            "breaks": [each.to_json() for each in report.breaks[:200]],
        },
        "delivered": {each.name: each.delivered(line.seq) for each in load_all(os.fsdecode(directory))},
        "configuration": {
            "omit": sorted(settings.recipe.omit), "neighbours": settings.recipe.max_neighbours,
            "sinks": {name: {"type": x.get("type"), "format": x.get("format", "native")}
                      for name, x in settings.sinks.items()},
        },
        "content": "none: this package holds no part of the file",
    }  # fmt: skip
    if sign is not None:
        package["signature"] = sign(package_bytes(package))
    return package
