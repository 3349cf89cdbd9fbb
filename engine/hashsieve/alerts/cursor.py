"""How far each sink has come: a small file for each, replaced whole, with the one before kept beside it.

Losing one costs nothing but repetition: what was delivered is delivered again under the same ids.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..errors import JournalError, UsageError, shown
from ..platform.storage import Storage
from .merge import expand_ranges, ranges_text

__all__ = ["Cursor", "Parked", "delivered_up_to", "highest_seen", "load_all"]

FOLDER = "delivery"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Parked:
    """A record that a sink will not take."""

    id: str
    reason: str
    time: str


@dataclass(slots=True)
class Cursor:
    """Everything up to ``upto`` is done with, and ``done`` beyond it; ``parked`` are done with, but not delivered."""

    name: str
    journal: str = ""
    upto: int = 0
    chain: str = ""
    done: set[int] = field(default_factory=set)
    parked: dict[int, Parked] = field(default_factory=dict)
    delivered_count: int = 0
    stopped: str | None = None
    damaged: bool = False

    def finished(self, seq: int) -> bool:
        """Needs nothing more to be done for that record?"""
        return seq <= self.upto or seq in self.done

    def delivered(self, seq: int) -> bool:
        """Has the sink acknowledged that record, or passed over it on the record?"""
        return self.finished(seq) and seq not in self.parked

    def finish(self, seqs: Iterable[int]) -> None:
        """These are done with."""
        self.done.update(seq for seq in seqs if seq > self.upto)

    def advance(self, seqs: Iterable[int], chain: str = "") -> None:
        """Moves ``upto`` along *seqs*, the numbers of all records in order, as far as they are done with."""
        for seq in seqs:
            if seq <= self.upto:
                continue
            if seq not in self.done:
                break
            self.upto = seq
        self.done = {seq for seq in self.done if seq > self.upto}

    def to_json(self) -> dict[str, Any]:
        """What the file holds."""
        return {
            "journal": self.journal, "upto": self.upto, "done": ranges_text(self.done),
            "parked": {
                str(seq): {"id": each.id, "reason": each.reason, "time": each.time} for seq, each in self.parked.items()
            },
            "delivered": self.delivered_count, "stopped": self.stopped,
        }  # fmt: skip


def _sum(text: str) -> str:
    import hashlib

    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _path(directory: str, name: str) -> str:
    if not _NAME.match(name):
        raise UsageError(f"{shown(name)!r}: a sink is named with up to 64 letters, digits, '_', '-' and '.'")
    return os.path.join(directory, FOLDER, f"{name}.json")


def _parse(name: str, data: bytes) -> Cursor:
    found = json.loads(data)
    text = json.dumps(found["cursor"], sort_keys=True)
    if found["sum"] != _sum(text):
        raise ValueError("sum differs")
    cursor = found["cursor"]
    return Cursor(
        name, str(cursor["journal"]), int(cursor["upto"]), "", set(expand_ranges(str(cursor["done"]))),
        {int(seq): Parked(x["id"], x["reason"], x["time"]) for seq, x in cursor["parked"].items()},
        int(cursor["delivered"]), cursor["stopped"],
    )  # fmt: skip


def load(directory: str, name: str, *, storage: Storage | None = None) -> Cursor:
    """The cursor of a sink; the copy of before, or a new one, where the file is damaged (``damaged`` says so)."""
    use = storage or Storage()
    path = _path(directory, name)
    damaged = False
    for candidate in (path, f"{path}.old"):
        try:
            fd = use.open(candidate)
        except FileNotFoundError:
            continue
        except OSError as problem:
            raise JournalError(f"{shown(candidate)}: cannot be read: {problem.strerror or problem}") from problem
        try:
            cursor = _parse(name, use.read(fd, 64 << 20, 0))
        except (ValueError, KeyError, TypeError, AttributeError):
            damaged = True
            continue
        finally:
            os.close(fd)
        cursor.damaged = damaged
        return cursor
    return Cursor(name, damaged=damaged)


def save(directory: str, cursor: Cursor, *, storage: Storage | None = None) -> None:
    """Makes the cursor durable; the file of before stays as ``.old``."""
    use = storage or Storage()
    path = _path(directory, cursor.name)
    body = cursor.to_json()
    data = json.dumps({"cursor": body, "sum": _sum(json.dumps(body, sort_keys=True))}).encode("ascii")
    with contextlib.suppress(OSError):
        os.replace(path, f"{path}.old")
    use.replace(path, data)


def load_all(directory: str, *, storage: Storage | None = None) -> list[Cursor]:
    """The cursors of all sinks that ever were."""
    try:
        names = sorted(os.listdir(os.path.join(directory, FOLDER)))
    except OSError:
        return []
    stems = {name.removesuffix(".old").removesuffix(".json") for name in names if ".json" in name}
    return [load(directory, stem, storage=storage) for stem in sorted(stems) if _NAME.match(stem)]


def delivered_up_to(directory: str, journal: str, *, storage: Storage | None = None) -> int:
    """The number up to which every sink has everything; what is parked anywhere is not delivered. 0 without sinks."""
    found = None
    for cursor in load_all(directory, storage=storage):
        upto = cursor.upto if cursor.journal == journal else 0
        if cursor.parked:
            upto = min(upto, min(cursor.parked) - 1)
        found = upto if found is None else min(found, upto)
    return found or 0


def highest_seen(directory: str, *, storage: Storage | None = None) -> int:
    """The highest number that a sink was ever sent: numbering never starts below it again."""
    return max((max([each.upto, *each.done, *each.parked]) for each in load_all(directory, storage=storage)), default=0)
