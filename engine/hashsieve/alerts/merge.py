"""From matches to journal records: one alert for what is new, a count for what is known, and never over the cap.

The :class:`Recorder` is what a scan or an agent holds. It merges by *subject*: the same content listed by the same
lists. The first match of a subject is an ``alert`` with everything; the next few are an ``update`` each; further ones
are counted and told together. As the journal nears its cap, first neighbours and then all context are left out, then
what every sink has delivered is taken away, then the oldest records are folded into one line for each subject. Where
even that has no room, matches are remembered as to be scanned again.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from ..errors import JournalError, JournalFullError, Path, UsageError, shown
from ..model import HealthEvent, Match
from ..platform.storage import Storage
from .environment import Environment, utc
from .journal import Event, Journal, Segment, Stored
from .lines import Line, alert_id
from .record import Recipe, file_facts, make_record, path_fields, subject_of, without_context
from .rescan import MustRescan, RescanFile

__all__ = ["DELIVERED_TYPES", "Recorded", "Recorder", "expand_ranges", "ranges_text"]

# What goes to the sinks; other types are for the journal itself.
DELIVERED_TYPES = frozenset(
    ("alert", "update", "fold", "withdraw", "heartbeat", "damage", "full", "space", "purge", "compact")
)
_ALERT_TYPES = frozenset(("alert", "update", "fold"))
_MAX_SUBJECTS = 100_000
_MAX_PATHS = 3
_SECOND_NS = 1_000_000_000
_LONG_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a match: ``stored`` (durable under ``id``), ``counted`` (durable with the next :meth:`flush`), or
    ``must-rescan`` (the journal is full; ``id`` is None)."""

    state: str
    id: str | None


@dataclass(slots=True)
class _Subject:
    """What is known of a subject. ``waiting`` are matches that are counted but not written yet."""

    id: str
    seq: int
    total: int = 0
    own_lines: int = 0
    last_seq: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    test: bool = False
    withdrawn: bool = False
    waiting: int = 0
    waiting_first: str = ""
    waiting_last: str = ""
    waiting_paths: list[dict[str, str]] = field(default_factory=list)


def ranges_text(numbers: Iterable[int]) -> str:
    """``3-5,9``: sorted numbers without gaps as ranges."""
    parts: list[str] = []
    start = end = None
    for number in sorted(set(numbers)):
        if end is not None and number == end + 1:
            end = number
            continue
        if start is not None:
            parts.append(f"{start}" if start == end else f"{start}-{end}")
        start = end = number
    if start is not None:
        parts.append(f"{start}" if start == end else f"{start}-{end}")
    return ",".join(parts)


def expand_ranges(text: str) -> list[int]:
    """The numbers that :func:`ranges_text` wrote."""
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


class Recorder:
    """Writes the alerts of this machine. Thread-safe; one for each journal directory.

    *delivered* gives the number up to which every sink has everything (0: nobody has). *own_lines* matches of a subject
    get a line of their own, the first one included; further ones wait until *merge_count* of them or *merge_seconds*
    have come together, or :meth:`flush`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        key: bytes | None = None,
        cap_bytes: int = 256 << 20,
        segment_bytes: int = 4 << 20,
        reserve_bytes: int = 256 << 10,
        environment: Environment | None = None,
        recipe: Recipe | None = None,
        storage: Storage | None = None,
        on_event: Event | None = None,
        delivered: Callable[[], int] = lambda: 0,
        own_lines: int = 16,
        merge_count: int = 1000,
        merge_seconds: float = 60.0,
        floor_seq: int = 0,
    ) -> None:
        if own_lines < 1 or merge_count < 1:
            raise UsageError("own_lines and merge_count are at least 1")
        self.environment = environment or Environment()
        self.recipe = recipe or Recipe()
        self._delivered = delivered
        self._own_lines = own_lines
        self._merge_count = merge_count
        self._merge_ns = int(merge_seconds * _SECOND_NS)
        self._on_event = on_event
        self._mutex = threading.RLock()
        self._subjects: OrderedDict[str, _Subject] = OrderedDict()
        self._waiting_since_ns: int | None = None
        self._full = False
        self._no_compact_until_ns = 0
        self._compacted_at_delivered = -1
        self._heartbeat_time: str | None = None
        self._heartbeat_ns: int | None = None
        self.journal = Journal(
            directory, key=key, cap_bytes=cap_bytes, segment_bytes=segment_bytes, reserve_bytes=reserve_bytes,
            storage=storage, wall_ns=self.environment.wall_ns, on_event=on_event, on_line=self._learn,
            floor_seq=floor_seq,
        )  # fmt: skip
        self._rescan = RescanFile(self.journal.directory, storage=storage)
        if not self._rescan.open():
            self._tell(
                "rescan-list-damaged",
                f"{shown(self.journal.directory)}: the list of matches that found no room in the journal is damaged; "
                f"everything must be scanned again",
            )
        self._full = self._rescan.untold > 0

    # What the journal already holds

    def _learn(self, line: Line) -> None:
        if line.type == "heartbeat":
            self._heartbeat_time = str(line.record.get("time"))
        if line.type not in _ALERT_TYPES and line.type != "withdraw":
            return
        record = line.record
        key = str(record.get("subject"))
        if key.startswith("type:"):
            return
        known = self._subjects.get(key)
        if line.type == "withdraw":
            if known is not None:
                known.withdrawn = True
            return
        if known is None:
            known = self._remember(key, str(record.get("of") or record.get("id")), line.seq)
        known.digests = dict(record.get("digests") or known.digests)
        known.test = bool(record.get("test"))
        known.total += int(record.get("count", 1))
        known.own_lines += 1 if line.type != "fold" else self._own_lines
        known.last_seq = line.seq
        known.withdrawn = bool(record.get("withdrawn"))

    def _remember(self, key: str, id_: str, seq: int) -> _Subject:
        subject = self._subjects[key] = _Subject(id_, seq)
        if len(self._subjects) > _MAX_SUBJECTS:
            # The one not seen longest is a new alert when it comes again.
            for old, each in self._subjects.items():
                if not each.waiting:
                    del self._subjects[old]
                    break
        return subject

    # Matches

    def add(
        self,
        match: Match,
        *,
        found_by: str = "scan",
        feed: str | None = None,
        process: Mapping[str, Any] | None = None,
    ) -> Recorded:
        """Records a match. For ``stored`` it is on the disk when this returns. Never raises for want of space."""
        with self._mutex:
            key = subject_of(match)
            known = self._subjects.get(key)
            if known is not None:
                self._subjects.move_to_end(key)
            try:
                self._make_room()
                if known is None or known.withdrawn:
                    return self._add_alert(key, match, found_by, feed, process)
                if known.own_lines < self._own_lines:
                    return self._add_update(key, known, match, found_by, feed)
                return self._count(known, match)
            except JournalError as problem:
                return self._no_room(match, problem)

    def _host(self) -> dict[str, Any]:
        """Whose record it is, where that may be said."""
        if "host" in self.recipe.omit:
            return {}
        try:
            return {"host": dict(self.environment.host())}
        except OSError:
            return {}

    def _detail(self) -> int:
        used = self.journal.used_bytes / self.journal.cap_bytes
        if self.journal.tight or used > 0.8:
            return 0
        return 1 if used > 0.6 else 2

    def _add_alert(
        self, key: str, match: Match, found_by: str, feed: str | None, process: Mapping[str, Any] | None
    ) -> Recorded:
        record = make_record(
            match, self.environment, self.recipe, found_by=found_by, feed=feed, process=process, detail=self._detail()
        )
        stored = self._append("alert", _bounded(record))
        known = self._remember(key, stored.id, stored.seq)
        known.digests, known.test = record["digests"], match.test
        known.total = known.own_lines = 1
        known.last_seq = stored.seq
        return Recorded("stored", stored.id)

    def _add_update(self, key: str, known: _Subject, match: Match, found_by: str, feed: str | None) -> Recorded:
        now = utc(self.environment.wall_ns())
        record = {
            "time": now, "test": match.test, "subject": key, "of": known.id, **path_fields(match.path),
            "size": match.size_bytes, "digests": known.digests, "found_by": found_by, "feed": feed,
            "file": file_facts(match, self.environment)[0], "count": 1, "total": known.total + known.waiting + 1,
            "first": now, "last": now, **self._host(),
        }  # fmt: skip
        stored = self._append("update", record)
        known.total += 1
        known.own_lines += 1
        known.last_seq = stored.seq
        return Recorded("stored", stored.id)

    def _count(self, known: _Subject, match: Match) -> Recorded:
        now = utc(self.environment.wall_ns())
        if not known.waiting:
            known.waiting_first, known.waiting_paths = now, []
        known.waiting += 1
        known.waiting_last = now
        if len(known.waiting_paths) < _MAX_PATHS:
            known.waiting_paths.append(path_fields(match.path))
        if self._waiting_since_ns is None:
            self._waiting_since_ns = self.environment.monotonic_ns()
        if known.waiting >= self._merge_count:
            self._write_waiting([known])
        self.tick()
        return Recorded("counted", known.id)

    def _write_waiting(self, subjects: Sequence[_Subject] | None = None) -> None:
        by_id = {id(each): key for key, each in self._subjects.items() if each.waiting}
        chosen = subjects if subjects is not None else [each for each in self._subjects.values() if each.waiting]
        for start in range(0, len(chosen), 100):
            part = chosen[start : start + 100]
            bodies = [
                {
                    "time": utc(self.environment.wall_ns()), "test": each.test, "subject": by_id[id(each)],
                    "of": each.id, "digests": each.digests, "count": each.waiting,
                    "total": each.total + each.waiting, "first": each.waiting_first, "last": each.waiting_last,
                    "paths": each.waiting_paths, **self._host(),
                }
                for each in part
            ]  # fmt: skip
            for each, stored in zip(part, self._store(*(("update", body) for body in bodies)), strict=True):
                each.total += each.waiting
                each.waiting, each.waiting_paths = 0, []
                each.last_seq = stored.seq

    def tick(self) -> None:
        """Writes what has waited long enough; an agent calls it now and then."""
        with self._mutex:
            since = self._waiting_since_ns
            if since is not None and self.environment.monotonic_ns() - since >= self._merge_ns:
                self.flush()

    def flush(self) -> bool:
        """Makes every count durable. False where the journal has no room; they go on waiting then."""
        with self._mutex:
            try:
                self._make_room()
                self._write_waiting()
            except JournalError as problem:
                self._tell("journal-full", str(problem))
                return False
            self._waiting_since_ns = None
            return True

    # Room

    def _append(self, kind: str, record: Mapping[str, Any]) -> Stored:
        return self._store((kind, record))[0]

    def _store(self, *records: tuple[str, Mapping[str, Any]]) -> list[Stored]:
        try:
            stored = self.journal.append(*records)
        except JournalFullError:
            if not self._compact(force=True):
                raise
            stored = self.journal.append(*records)
        if self._full:
            self._space_again()
        return stored

    def _make_room(self) -> None:
        if self.journal.used_bytes > 0.85 * self.journal.cap_bytes:
            self._compact()

    def _no_room(self, match: Match, problem: JournalError) -> Recorded:
        now = utc(self.environment.wall_ns())
        self._rescan.add(match.path, now)
        if not self._full:
            self._full = True
            self._tell("journal-full", f"{problem}; matches are remembered as to be scanned again", count=1)
            try:
                self.journal.append(("full", {"time": now, "reason": str(problem), **self._host()}), system=True)
            except JournalError:
                pass  # told already, and counted in the list of what must be scanned again
        return Recorded("must-rescan", None)

    def _space_again(self) -> None:
        """The journal takes records again: how many it could not take is told as an alert of its own."""
        self._full = False
        now = self._rescan.now
        if not self._rescan.untold:
            return
        body = {
            "time": utc(self.environment.wall_ns()), "count": now.count, "first": now.first, "last": now.last,
            "overflow": now.overflow, "paths": [path_fields(path) for path in now.paths[:_MAX_PATHS]], **self._host(),
        }  # fmt: skip
        try:
            self.journal.append(("space", body), system=True)
            self._rescan.mark_told()
        except JournalError:
            self._full = True

    @property
    def full(self) -> bool:
        """Could the last match not be kept?"""
        return self._full

    @property
    def must_rescan(self) -> MustRescan:
        """Matches that are in no journal, for whoever scans."""
        return self._rescan.now

    def rescanned(self) -> None:
        """What :attr:`must_rescan` names was scanned again."""
        self._rescan.clear()

    # Taking away and folding

    def _deliverable_segments(self) -> int:
        """How many of the oldest closed segments every sink has everything of."""
        done = self._delivered()
        count = 0
        for segment in self.journal.segments[:-1]:
            if segment.last_seq > done:
                break
            count += 1
        return count

    def _compact(self, *, force: bool = False) -> bool:
        """Brings the journal below its cap; True when something was gained. Not tried again at once after failing."""
        now_ns = self.environment.monotonic_ns()
        done = self._delivered()
        if now_ns < self._no_compact_until_ns and done == self._compacted_at_delivered:
            return False
        before = self.journal.used_bytes
        try:
            delivered = self._deliverable_segments()
            if delivered:
                self.journal.retire(delivered, "purge", {"reason": "near the cap, and delivered"})
            if self.journal.used_bytes > 0.7 * self.journal.cap_bytes:
                self._fold()
        except JournalError as problem:
            self._tell("journal-full", str(problem))
        gained = self.journal.used_bytes < 0.9 * before
        if not gained:
            self._no_compact_until_ns = now_ns + 60 * _SECOND_NS
            self._compacted_at_delivered = done
        return gained

    def _fold(self) -> None:
        """The older half of the closed segments, as one line for each subject."""
        if len(self.journal.segments) < 2:
            self.journal.rotate()
        closed = self.journal.segments[:-1]
        count = max(1, (len(closed) + 1) // 2)
        lines = [line for segment in closed[:count] for line in self.journal.lines(segment)]
        folds = _folds(lines, utc(self.environment.wall_ns()))
        self.journal.retire(
            count, "compact", {"reason": "near the cap", "records": len(lines)}, [("fold", each) for each in folds]
        )
        for each in folds:
            known = self._subjects.get(each["subject"])
            if known is not None:
                known.last_seq = self.journal.seq

    def purge(self, older_than_days: float) -> Stored | None:
        """Takes away whole segments of which everything is delivered to every sink and older than that; recorded."""
        if older_than_days < 0:
            raise UsageError("--older-than takes a number of days")
        with self._mutex:
            before = utc(self.environment.wall_ns() - int(older_than_days * 86_400 * _SECOND_NS))
            active = self.journal.segments[-1]
            if active.last_seq <= self._delivered() and self._last_time(active) < before and self._holds_alerts(active):
                self.journal.rotate()
            count = 0
            for segment in self.journal.segments[: self._deliverable_segments()]:
                if self._last_time(segment) >= before:
                    break
                count += 1
            if not count:
                return None
            facts = {"reason": f"older than {older_than_days:g} days, and delivered", "segments": count}
            return self.journal.retire(count, "purge", facts)

    def _last_time(self, segment: Segment) -> str:
        return max((str(line.record.get("time", "")) for line in self.journal.lines(segment)), default="")

    def _holds_alerts(self, segment: Segment) -> bool:
        return any(line.type in DELIVERED_TYPES for line in self.journal.lines(segment))

    # Other records

    def withdraw(self, trusted: Callable[[Mapping[str, bytes]], bool]) -> int:
        """Withdraws alerts that still wait and whose digests are trusted by now; how many subjects that were.

        Where the journal has no room for that, they stay: better an alert too many.
        """
        with self._mutex:
            done = self._delivered()
            count = 0
            for key, known in list(self._subjects.items()):
                if known.withdrawn or (known.last_seq <= done and not known.waiting):
                    continue
                if not trusted({kind: bytes.fromhex(digest) for kind, digest in known.digests.items()}):
                    continue
                body = {
                    "time": utc(self.environment.wall_ns()), "subject": key, "of": known.id, "digests": known.digests,
                    "test": known.test, "reason": "a trusted set lists it", **self._host(),
                }  # fmt: skip
                try:
                    self._append("withdraw", body)
                except JournalError as problem:
                    self._tell("journal-full", str(problem))
                    break
                known.withdrawn = True
                known.waiting, known.waiting_paths = 0, []
                count += 1
            return count

    def heartbeat_due(self) -> bool:
        """Has there been no heartbeat for a day? By the clock that cannot jump; by the other one after a start."""
        now_ns = self.environment.monotonic_ns()
        if self._heartbeat_ns is not None:
            return now_ns - self._heartbeat_ns >= 86_400 * _SECOND_NS
        if self._heartbeat_time is None:
            return True
        wall_ns = self.environment.wall_ns()
        # A last one in the future is a clock that was wrong then or is wrong now: better one too many.
        return not utc(wall_ns - 86_400 * _SECOND_NS) < self._heartbeat_time <= utc(wall_ns)

    def heartbeat(
        self,
        *,
        sets: Iterable[Mapping[str, Any]] = (),
        coverage: Mapping[str, Any] | None = None,
        health: Iterable[HealthEvent] = (),
    ) -> Stored:
        """Records that the machine is alive, what it covers and how it is, with the head of the chain."""
        with self._mutex:
            seq, chain = self.journal.head
            now = self._rescan.now
            stored = self._append(
                "heartbeat",
                {
                    "time": utc(self.environment.wall_ns()), "boot_id": self.environment.boot_id(),
                    "monotonic_ns": self.environment.monotonic_ns(), "head": {"seq": seq, "chain": chain},
                    "sets": [dict(each) for each in sets], "coverage": dict(coverage or {}),
                    "health": [{"kind": x.kind, "text": x.text, "counts": dict(x.counts)} for x in health],
                    "must_rescan": now.count, "used_bytes": self.journal.used_bytes, **self._host(),
                },
            )  # fmt: skip
            self._heartbeat_ns = self.environment.monotonic_ns()
            return stored

    def _tell(self, kind: str, text: str, **counts: int) -> None:
        if self._on_event is not None:
            self._on_event(HealthEvent(kind, text, counts))

    def close(self) -> None:
        """Writes what waits, and gives the journal back."""
        with self._mutex:
            if self._waiting_since_ns is not None:
                self.flush()
            self._rescan.close()
            self.journal.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _bounded(record: dict[str, Any]) -> dict[str, Any]:
    """A record of a size that a line and a receiver can take: context goes first, then all but a few listings."""
    if len(json.dumps(record)) <= _LONG_BYTES:
        return record
    record = without_context(record)
    if len(json.dumps(record)) > _LONG_BYTES:
        record["entries"] = [each | {"listings": each["listings"][:3]} for each in record["entries"][:5]]
        record["omitted"] = [*record["omitted"], "entries"]
    return record


def _folds(lines: Sequence[Line], now: str) -> list[dict[str, Any]]:
    """One body for each subject of alerts; one for each other type that is delivered."""
    folds: dict[str, dict[str, Any]] = {}
    numbers: dict[str, list[int]] = {}
    for line in lines:
        if line.type not in DELIVERED_TYPES:
            continue
        record = line.record
        is_alert = line.type in _ALERT_TYPES
        key = str(record.get("subject")) if is_alert or line.type == "withdraw" else f"type:{line.type}"
        own = expand_ranges(str(record["ids"])) if line.type == "fold" else [line.seq]
        first, last = str(record.get("first") or record.get("time")), str(record.get("last") or record.get("time"))
        fold = folds.get(key)
        if fold is None:
            fold = folds[key] = {
                "time": now, "test": bool(record.get("test")), "subject": key, "of": record.get("of") or record["id"],
                "folded": record.get("folded", "alert") if is_alert else line.type, "count": 0, "first": first,
                "last": last, "paths": [],
            }  # fmt: skip
            numbers[key] = []
        for name in ("host", "digests", "size", "confirmed_by", "contradicted_by", "set", "entries", "found_by"):
            if name in record and name not in fold:
                fold[name] = record[name]
        if line.type == "withdraw":
            fold["withdrawn"] = True
        elif is_alert:
            fold["withdrawn"] = bool(record.get("withdrawn"))
        fold["count"] += int(record.get("count") or 1) if line.type != "damage" else 1
        fold["first"], fold["last"] = min(fold["first"], first), max(fold["last"], last)
        numbers[key].extend(own)
        own_paths = record.get("paths") or ([{n: record[n] for n in _PATH_NAMES if n in record}] if is_alert else [])
        for each in own_paths:
            if len(fold["paths"]) < _MAX_PATHS and each not in fold["paths"]:
                fold["paths"].append(each)
    bodies = []
    for key, fold in folds.items():
        parts = _split(ranges_text(numbers[key]))
        bodies.append(fold | {"ids": parts[0]})
        bodies.extend(fold | {"ids": part, "count": 0, "paths": []} for part in parts[1:])
    return bodies


def _split(ranges: str) -> list[str]:
    """Ranges in pieces that fit a line."""
    pieces = [""]
    for part in ranges.split(","):
        if len(pieces[-1]) + len(part) > _LONG_BYTES:
            pieces.append("")
        pieces[-1] += f",{part}" if pieces[-1] else part
    return pieces


_PATH_NAMES = ("path", "path_b64", "display")


def folded_ids(record: Mapping[str, Any]) -> list[str]:
    """The ids that a ``fold`` stands for."""
    journal = str(record["id"])[:24]
    return [alert_id(journal, seq) for seq in expand_ranges(str(record["ids"]))]
