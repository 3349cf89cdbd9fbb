"""The latest state of each record id of a list, in bounded memory and without holding the list.

Custodians send a record again when its grade changes or it is withdrawn, and files are not in the order of time. A
state is *superseded* when the same list has a later one of the same id. States without an id or a time, and states of
equal time, supersede nothing and are kept: the list does not say which is right.

A list is passed over before it is read. The first pass enters every id into a filter, whose size follows the size of
the file up to :data:`MAX_FILTER_BYTES`, and remembers 8 bytes for each id that may have been there before; nearly
always there is none and that was all. Otherwise further passes compare the times of :data:`IDS_A_PASS` such ids each.
The result is one bit for each record. Memory: the filter, 8 to 24 bytes for each repeated id (at most
:data:`MAX_REPEATED`, or the list is refused), about 300 bytes for each id of a pass.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone

from hashsieve._lists_json import SeenIds
from hashsieve.errors import Path

__all__ = ["LatestStates", "State", "Superseded", "instant", "superseded_states"]

MAX_FILTER_BYTES = 64 << 20
IDS_A_PASS = 250_000
MAX_REPEATED = 16_000_000

_MIN_FILTER_BYTES = 64 << 10
_RECORD_BYTES = 150
_WRAPPED_RATIO = 16  # what a compressed file may hold for its size, about


class Superseded:
    """Which records, numbered from 1, a later state replaces."""

    def __init__(self) -> None:
        self._bits = bytearray()
        self.count = 0

    def add(self, number: int) -> None:
        """Mark record *number*."""
        if number >> 3 >= len(self._bits):
            self._bits.extend(bytes(max((number >> 3) + 1 - len(self._bits), len(self._bits) // 2)))
        if not self._bits[number >> 3] >> (number & 7) & 1:
            self._bits[number >> 3] |= 1 << (number & 7)
            self.count += 1

    def __contains__(self, number: int) -> bool:
        return number >> 3 < len(self._bits) and bool(self._bits[number >> 3] >> (number & 7) & 1)

    def none_in(self, first: int, count: int) -> bool:
        """Whether none of *count* records from *first* on is marked."""
        if not self.count:
            return True
        if any(self._bits[(first >> 3) + 1 : (first + count) >> 3]):
            return False
        edges = {*range(first, min(first + 8, first + count)), *range(max(first + count - 8, first), first + count)}
        return not any(number in self for number in edges)


class LatestStates:
    """Finds the superseded records of one list; see the text of the module for how.

    Enter all ids into ``seen`` first, then call :meth:`superseded` with what passes over the list again and gives
    number, id and time of those states that ``seen.has``.
    """

    def __init__(self, path: Path) -> None:
        try:
            file_bytes = os.stat(path).st_size
        except OSError:
            file_bytes = 0  # whoever reads it says so
        wanted_bytes = file_bytes * _WRAPPED_RATIO // _RECORD_BYTES
        filter_bytes = min(max(1 << wanted_bytes.bit_length(), _MIN_FILTER_BYTES), MAX_FILTER_BYTES)
        self.seen = SeenIds(filter_bytes, MAX_REPEATED)

    def superseded(self, states: Callable[[], Iterator[tuple[int, object, int | None]]]) -> Superseded:
        """The superseded records; *states* is called once for each further pass that is needed."""
        replaced = Superseded()
        repeated_count = self.seen.repeated()
        for first in range(0, repeated_count, IDS_A_PASS):
            self.seen.select(first, IDS_A_PASS)
            _compare(states(), replaced)
        return replaced


State = tuple[str | None, str | int | None]
"""The id of a record, and when it was changed: text in a form that :func:`instant` reads, or ns. None where missing."""


def superseded_states(path: Path, states: Callable[[], Iterator[State]]) -> Superseded:
    """The superseded records of the list at *path*; *states* passes over it and gives the state of every record."""
    latest = LatestStates(path)
    for key, time in states():
        if key is not None and time is not None:
            latest.seen.note_text(_bytes(key))

    def repeated() -> Iterator[tuple[int, object, int | None]]:
        for number, (key, time) in enumerate(states(), 1):
            if key is not None and time is not None and latest.seen.has_text(_bytes(key)):
                yield number, key, instant(time) if isinstance(time, str) else time

    return latest.superseded(repeated)


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _compare(states: Iterator[tuple[int, object, int | None]], replaced: Superseded) -> None:
    """Mark every state for which a later one comes, before or after it."""
    latest: dict[object, tuple[int, list[int]]] = {}
    for number, key, time in states:
        if time is None:
            continue
        best = latest.get(key)
        if best is None or time > best[0]:
            if best is not None:
                for older in best[1]:
                    replaced.add(older)
            latest[key] = time, [number]
        elif time == best[0]:
            best[1].append(number)
        else:
            replaced.add(number)


_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?)?\s*(Z|[+-]\d{1,2}:?\d\d)?Z?", re.ASCII
)
_ODATA = re.compile(r"\\?/Date\((-?\d{1,16})(?:[+-]\d{4})?\)\\?/", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(text: str) -> int | None:
    """The moment that *text* names, in ns since 1970 UTC, or None if it cannot be read.

    ISO 8601 with any number of fractional digits, with or without an offset (none means UTC), and ``/Date(ms)/``.
    Offsets with one digit and a further ``Z``, as one writer gives them, are read too.
    """
    found = _ODATA.fullmatch(text.strip())
    if found:
        return int(found[1]) * 1_000_000
    found = _ISO.fullmatch(text.strip())
    if not found:
        return None
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0),
                          tzinfo=_zone(offset))  # fmt: skip
        seconds = (moment - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None
    return seconds * 1_000_000_000 + int((fraction or "0")[:9].ljust(9, "0"))


def _zone(offset: str | None) -> timezone:
    if not offset or offset == "Z":
        return UTC
    digits = offset[1:].replace(":", "").rjust(4, "0")
    shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-shift if offset[0] == "-" else shift)
