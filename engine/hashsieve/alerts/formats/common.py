"""What several forms need from a record, taken once and without surprises."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping
from typing import Any

from ... import __version__
from ..sinks import Delivery

__all__ = [
    "NAMESPACE",
    "Facts",
    "clean",
    "facts_of",
]

NAMESPACE = uuid.UUID("5d3bd2c2-6a0c-4c0e-9d0a-2f6d2b7c9f10")  # of ids made from ours

# Severity of a type where no alert decides: 0 is quiet, 1 wants a look, 2 wants action.
_OWN_SEVERITY = {"damage": 2, "full": 2, "space": 1, "purge": 0, "compact": 1, "heartbeat": 0}
_TITLES = {
    "alert": "Known file found",
    "update": "Known file found again",
    "fold": "Known files found",
    "withdraw": "Alert withdrawn",
    "damage": "Alert journal damaged",
    "full": "Alert journal full",
    "space": "Alert journal takes alerts again",
    "purge": "Delivered alerts taken away",
    "compact": "Alerts folded",
    "heartbeat": "Heartbeat",
}


def clean(text: object) -> str:
    """Text that every encoder takes: lone surrogates escaped."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


class Facts:
    """A record read for people and their systems."""

    def __init__(self, delivery: Delivery) -> None:
        self.id = delivery.id
        self.seq = delivery.seq
        self.type = delivery.type
        self.record: Mapping[str, Any] = delivery.record
        record = self.record
        folded = str(record.get("folded", "alert")) if delivery.type == "fold" else "alert"
        self.about = delivery.type if delivery.type != "fold" or folded == "alert" else folded
        self.is_finding = self.about in ("alert", "update", "fold", "withdraw")
        self.test = bool(record.get("test"))
        self.subject_id = str(record.get("of") or delivery.id)
        self.time = str(record.get("time", ""))
        self.digests: dict[str, str] = dict(record.get("digests") or {})
        self.size: int | None = record.get("size")
        self.count = int(record.get("count") or 1)
        paths = record.get("paths") or []
        where: Mapping[str, Any] = record if "path" in record else (paths[0] if paths else {})
        self.path: str | None = clean(where["path"]) if "path" in where else None
        self.path_b64: str | None = where.get("path_b64")
        self.display: str | None = clean(where["display"]) if "display" in where else None
        self.host: Mapping[str, Any] = record.get("host") or {}
        self.file: Mapping[str, Any] = record.get("file") or {}
        self.owner: Mapping[str, Any] = record.get("owner") or {}
        self.process: Mapping[str, Any] = record.get("process") or {}
        self.set: Mapping[str, Any] = record.get("set") or {}
        self.chain: Mapping[str, Any] = record.get("chain") or {}
        self.engine = str(record.get("engine") or "").partition(" ")[2] or __version__
        self.listings: list[Mapping[str, Any]] = [
            listing for entry in record.get("entries") or () for listing in entry.get("listings") or ()
        ]

    @property
    def title(self) -> str:
        """A few words."""
        title = _TITLES.get(self.about, self.about)
        return f"Test: {title.lower()}" if self.test else title

    @property
    def severity(self) -> int:
        """0 quiet, 1 wants a look, 2 wants action."""
        if self.test or self.about == "withdraw":
            return 0
        return 2 if self.is_finding else _OWN_SEVERITY.get(self.about, 1)

    @property
    def name(self) -> str | None:
        """The last part of the path."""
        return None if self.path is None else (self.path.rpartition("/")[2] or self.path)

    @property
    def directory(self) -> str | None:
        """All but the last part of the path."""
        if self.path is None or "/" not in self.path:
            return None
        return self.path.rpartition("/")[0] or "/"

    @property
    def sources(self) -> list[str]:
        """Which lists name it."""
        return sorted({clean(each.get("source")) for each in self.listings})

    @property
    def refs(self) -> list[str]:
        """The custodians' own record ids."""
        return sorted({clean(each["ref"]) for each in self.listings if each.get("ref")})

    @property
    def categories(self) -> list[str]:
        """The custodians' own grades."""
        return sorted({clean(each["category"]) for each in self.listings if each.get("category")})

    @property
    def message(self) -> str:
        """One sentence."""
        if not self.is_finding:
            return f"{self.title}: {clean(self.record.get('reason') or self.about)}"
        where = f" at {self.display}" if self.display else ""
        who = f", listed by {', '.join(self.sources)}" if self.sources else ""
        times = f", {self.count} times" if self.count > 1 else ""
        return f"{self.title}{where}{times}{who}"

    @property
    def time_ms(self) -> int:
        """Milliseconds since 1970."""
        return milliseconds(self.time)


def milliseconds(text: object) -> int:
    """Milliseconds since 1970 of an ISO time; 0 where it is none."""
    try:
        return int(datetime.datetime.fromisoformat(str(text)).timestamp() * 1000)
    except ValueError:
        return 0


def iso_of_ns(value: object) -> str | None:
    """UTC in ISO 8601 of nanoseconds since 1970; None where that is no time."""
    if not isinstance(value, int):
        return None
    try:
        moment = datetime.datetime.fromtimestamp(value // 1_000_000_000, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{value // 1_000_000 % 1000:03d}Z"


def facts_of(delivery: Delivery) -> Facts:
    """Reads a record."""
    return Facts(delivery)


def without_nothing(value: Any) -> Any:
    """The same with everything left out that is None or empty."""
    if isinstance(value, dict):
        kept = {name: without_nothing(each) for name, each in value.items()}
        return {name: each for name, each in kept.items() if each not in (None, {}, [], "")}
    if isinstance(value, list):
        return [without_nothing(each) for each in value]
    return value
