"""What a match becomes: everything an investigator will ask for, except content, of which there is never any."""

from __future__ import annotations

import base64
import datetime
import hashlib
import heapq
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .. import __version__
from ..errors import UsageError, shown
from ..model import KINDS, Entry, Match, Role
from .environment import Environment, utc

__all__ = [
    "CONTEXT",
    "Recipe",
    "WorkingHours",
    "make_record",
    "path_fields",
    "subject_of",
    "without_context",
]

# Fields that may be left out by choice; ids, times, path and digests never are.
CONTEXT = (
    "neighbours", "origin", "process", "users", "network", "power", "hours", "volume", "owner", "host",
)  # fmt: skip
# As space runs short: all but the name of the machine, without which nobody knows whose alert it is.
_FIRST_TO_GO = tuple(name for name in CONTEXT if name != "host")
MAX_NEIGHBOURS = 200
_MAX_LOOKED_AT = 10_000
_MAX_ENTRIES = 50
_MAX_LISTINGS = 50

CachedDigests = Callable[[bytes, os.stat_result], Mapping[str, bytes] | None]


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """Local time; days are numbered from Monday = 0. ``start`` after ``end`` runs over midnight."""

    days: frozenset[int] = frozenset(range(5))
    start_minute: int = 8 * 60
    end_minute: int = 18 * 60

    def contains(self, wall_ns: int, offset_minutes: int) -> bool:
        """Is that moment inside?"""
        moment = datetime.datetime.fromtimestamp(wall_ns // 1_000_000_000, datetime.UTC)
        moment += datetime.timedelta(minutes=offset_minutes)
        minute = moment.hour * 60 + moment.minute
        if self.start_minute <= self.end_minute:
            return moment.weekday() in self.days and self.start_minute <= minute < self.end_minute
        day = moment.weekday() if minute >= self.start_minute else (moment.weekday() - 1) % 7
        return day in self.days and not self.end_minute <= minute < self.start_minute


@dataclass(frozen=True, slots=True)
class Recipe:
    """What records are made of. ``omit`` names context fields to leave out; ``cached_digests`` may know neighbours."""

    omit: frozenset[str] = frozenset()
    hours: WorkingHours | None = None
    max_neighbours: int = MAX_NEIGHBOURS
    cached_digests: CachedDigests | None = None

    def __post_init__(self) -> None:
        unknown = self.omit - set(CONTEXT)
        if unknown:
            raise UsageError(f"an alert has no field {sorted(unknown)} to leave out; there are {', '.join(CONTEXT)}")


def path_fields(path: bytes) -> dict[str, str]:
    """``path`` exact: as text where it is UTF-8, else also its bytes; ``display`` cannot play tricks on a reader."""
    display = shown(path)
    try:
        return {"path": path.decode("utf-8"), "display": display}
    except UnicodeDecodeError:
        text = path.decode("utf-8", "backslashreplace")
        return {"path": text, "path_b64": base64.b64encode(path).decode("ascii"), "display": display}


def _digests(digests: Mapping[str, bytes]) -> dict[str, str]:
    return {kind.value: digests[kind].hex() for kind in KINDS if kind in digests}


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "digests": _digests(entry.digests),
        "size": entry.size_bytes,
        "listings": [
            {"source": x.source, "role": x.role.value, "category": x.category, "ref": x.ref}
            for x in entry.listings[:_MAX_LISTINGS]
        ],
    }


def subject_of(match: Match) -> str:
    """The same for the same content listed by the same lists in the same way: what is merged."""
    strongest = next((kind for kind in reversed(KINDS) if kind in match.confirmed_by), None)
    if strongest is None:
        strongest = next(kind for kind in reversed(KINDS) if kind in match.digests)
    who = sorted(
        {
            (x.source, x.role.value, x.category or "")
            for entry in match.entries
            for x in entry.listings
            if x.role in (Role.KNOWN_BAD, Role.TEST)
        }
    )
    text = repr((strongest.value, match.digests[strongest].hex(), who))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def file_facts(match: Match, environment: Environment) -> tuple[dict[str, Any], os.stat_result | None]:
    """Identity, times and owner of the file as it is now; nothing of another file that has taken its name."""
    facts: dict[str, Any] = {}
    if match.identity is not None:
        facts = {"volume": match.identity.volume, "file_id": match.identity.file_id}
    try:
        now = environment.stat(match.path)
    except (OSError, ValueError):
        return facts | {"state": "gone"}, None
    if match.identity is not None and (now.st_dev, now.st_ino) != (match.identity.volume, match.identity.file_id):
        return facts | {"state": "replaced"}, None
    return {
        "volume": now.st_dev, "file_id": now.st_ino, "state": "there", "mtime_ns": now.st_mtime_ns,
        "ctime_ns": now.st_ctime_ns, "links": now.st_nlink, "mode": stat.S_IMODE(now.st_mode),
    }, now  # fmt: skip


def make_record(
    match: Match,
    environment: Environment,
    recipe: Recipe,
    *,
    found_by: str,
    feed: str | None = None,
    process: Mapping[str, Any] | None = None,
    detail: int = 2,
) -> dict[str, Any]:
    """The fields of an ``alert``. *detail* 2: everything; 1: no neighbours; 0: no context, as space runs short."""
    wall_ns = environment.wall_ns()
    offset = environment.offset_minutes(wall_ns)
    file, facts = file_facts(match, environment)
    record: dict[str, Any] = {
        "time": utc(wall_ns),
        "offset_minutes": offset,
        "monotonic_ns": environment.monotonic_ns(),
        "boot_id": environment.boot_id(),
        "test": match.test,
        "subject": subject_of(match),
        **path_fields(match.path),
        "size": match.size_bytes,
        "digests": _digests(match.digests),
        "confirmed_by": [str(kind) for kind in match.confirmed_by],
        "contradicted_by": [str(kind) for kind in match.contradicted_by],
        "set": {"root": match.set_root.hex(), "generation": match.generation},
        "entries": [_entry(entry) for entry in match.entries[:_MAX_ENTRIES]],
        "found_by": found_by,
        "feed": feed,
        "file": file,
        "count": 1,
        "engine": f"hashsieve {__version__}",
    }
    makers: dict[str, Callable[[], Any]] = {
        "host": lambda: dict(environment.host()),
        "owner": lambda: None if facts is None else {"uid": facts.st_uid, "name": environment.owner(facts.st_uid)},
        "users": lambda: list(environment.users()),
        "process": lambda: None if process is None else dict(process),
        "volume": lambda: None if facts is None else dict(environment.volume(match.path, facts.st_dev)),
        "origin": lambda: {} if facts is None else dict(environment.origin(match.path)),
        "network": lambda: dict(environment.network()),
        "power": lambda: dict(environment.power()),
        "hours": lambda: _hours(recipe.hours, wall_ns, offset),
        "neighbours": lambda: neighbours(match.path, facts, environment, recipe),
    }
    missing = [name for name in _FIRST_TO_GO if detail == 0 or (detail == 1 and name == "neighbours")]
    for name, make in makers.items():
        if name not in recipe.omit and name not in missing:
            try:
                record[name] = make()
            except (OSError, ValueError):  # a fact less, never an alert less
                record[name] = None
    if missing:
        record["omitted"] = [name for name in missing if name not in recipe.omit]
    return record


def _hours(hours: WorkingHours | None, wall_ns: int, offset_minutes: int) -> str:
    if hours is None:
        return "unknown"
    return "inside" if hours.contains(wall_ns, offset_minutes) else "outside"


def without_context(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with nothing in it that may be left out."""
    kept = {name: value for name, value in record.items() if name not in _FIRST_TO_GO}
    return kept | {"omitted": [name for name in _FIRST_TO_GO if name in record or name in record.get("omitted", ())]}


def neighbours(
    path: bytes, facts: os.stat_result | None, environment: Environment, recipe: Recipe
) -> dict[str, Any] | None:
    """Names, sizes and times of the files around it, those nearest in time first chosen; nothing is opened.

    ``total`` counts regular files looked at; ``more`` says that the folder holds more than was looked at.
    """
    if facts is None or recipe.max_neighbours <= 0:
        return None
    folder, own = os.path.split(path)
    found: list[tuple[int, bytes, os.stat_result]] = []
    more = False
    for number, entry in enumerate(environment.folder(folder or b".")):
        if number >= _MAX_LOOKED_AT:
            more = True
            break
        if entry.name == own:
            continue
        try:
            if not entry.is_file(follow_symlinks=False):
                continue
            each = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        found.append((abs(each.st_mtime_ns - facts.st_mtime_ns), entry.name, each))
    chosen: Iterable[tuple[int, bytes, os.stat_result]] = heapq.nsmallest(
        min(recipe.max_neighbours, MAX_NEIGHBOURS), found, key=lambda each: each[:2]
    )
    files = []
    for _, name, each in sorted(chosen, key=lambda each: each[1]):
        fields = path_fields(name)
        one: dict[str, Any] = {"name": fields["path"], "size": each.st_size, "mtime_ns": each.st_mtime_ns}
        if "path_b64" in fields:
            one["name_b64"] = fields["path_b64"]
        if recipe.cached_digests is not None:
            digests = recipe.cached_digests(os.path.join(folder, name), each)
            if digests:
                one["digests"] = _digests(digests)
        files.append(one)
    return {"total": len(found), "more": more, "files": files}
