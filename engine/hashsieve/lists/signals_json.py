"""Shared signals as JSON: StopNCII ``hashRecords``, Tech Against Terrorism, and ThreatExchange indicators.

* The kind comes from ``signalType`` (``VideoMD5``), ``algorithm`` or ``type`` (``HASH_SHA256``). PDQ, PhotoDNA, TMK and
  other similarity signals are counted, other types of indicators dropped.
* Withdrawn, deleted and ``should_delete`` records become records to remove where they have an id, which is the ref.
  StopNCII gives none, so there a withdrawn value only cancels the same value in the same list.
* Of several states the one changed last counts. Case numbers, feedback, ideologies and descriptions are dropped while
  parsing. The indexes that tools make from signals are Python pickles: those are never read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.json_values import Loose, decoded, is_json, is_true, json_values, short_text, starts_with
from hashsieve.lists.source import Source
from hashsieve.lists.taking import RowTaker, kind_called
from hashsieve.model import DigestKind, Record

if TYPE_CHECKING:
    from hashsieve.lists.json_records import Signal
    from hashsieve.lists.latest import State

__all__ = ["SIGNALS_JSON", "SignalsJson"]

_WHAT = "shared signals"
_ARRAYS = (("hashRecords", ""), ("data", ""), ("results", ""), ("threat_updates", ""))
_STOPNCII = re.compile(rb'"hashRecords"\s*:\s*\[|"signalType"\s*:')
_TAT = re.compile(rb'"hash_digest"\s*:')
_THREATEXCHANGE = re.compile(rb'"type"\s*:\s*"HASH_[A-Z0-9_]+"')
_GONE = frozenset(("withdrawn", "deleted"))
_MS_DIGITS = 12


class SignalsJson:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo(
        "signals-json", "StopNCII, Tech Against Terrorism and ThreatExchange JSON", "signal sharing programmes"
    )
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """A JSON document with the members of one of the three."""
        if not is_json(sample):
            return None
        for pattern, what in (
            (_STOPNCII, "StopNCII"),
            (_TAT, "Tech Against Terrorism"),
            (_THREATEXCHANGE, "ThreatExchange"),
        ):
            if pattern.search(sample):
                return f"a JSON document with records of {what}"
        return None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all signals; see :class:`~hashsieve.lists.contract.Reader`."""
        from hashsieve.lists.latest import superseded_states

        paths = (*_ARRAYS, ("",) if starts_with(source, b"[") else ())
        superseded = superseded_states(source.path, lambda: _states(source, paths))
        taker = RowTaker(job)
        for number, each in _signals(source, paths, job):
            if number in superseded:
                job.report.drop("superseded")
            elif each is not None:
                record = _record(each, f"record {number}", job, taker)
                yield [] if record is None else [record]


def _signals(
    source: Source, paths: tuple[tuple[str, ...], ...], job: Job | None
) -> Iterator[tuple[int, Signal | None]]:
    """All signals with their numbers; None for what is none."""
    from hashsieve.lists.json_records import Signal

    for number, (_, flags, raw) in enumerate(json_values(source, paths, _WHAT, many=True), 1):
        yield number, decoded(raw, flags, Signal, f"record {number}", job)


def _states(source: Source, paths: tuple[tuple[str, ...], ...]) -> Iterator[State]:
    """The id and time of every signal; where there is no id, its kind and value stand for it."""
    for _, each in _signals(source, paths, None):
        if each is None:
            yield None, None
            continue
        key = short_text(each.id)
        if key is None and each.hash_value is not None:
            key = f"{each.signal_type} {str(each.hash_value).strip().lower()}"
        yield key, _time(next((t for t in (each.modified, each.updated_on, each.last_updated) if t is not None), None))


def _time(value: Loose) -> str | int | None:
    """A time as text, or in ns where it is a number of seconds or milliseconds."""
    if isinstance(value, str) and value.strip().isdigit() and len(value) < 19:
        value = int(value)
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        return value
    if abs(value) >= 10**18:
        return None
    return int(value * (10**6 if abs(value) >= 10 ** (_MS_DIGITS - 1) else 10**9))


def _record(each: Signal, position: str, job: Job, taker: RowTaker) -> Record | None:
    """The record of a signal, or None; what is left out is counted."""
    name = short_text(each.signal_type) or short_text(each.algorithm) or short_text(each.type) or ""
    kind = kind_called(name)
    ref = short_text(each.id)
    if is_true(each.deleted) or is_true(each.should_delete) or (short_text(each.hash_status) or "").lower() in _GONE:
        job.report.drop("withdrawn")
        if ref is None or not isinstance(kind, DigestKind):
            return None
        return Record({}, None, taker.listing(ref=ref), "remove")
    if not isinstance(kind, DigestKind):
        job.report.drop(kind or "other-type")
        return None
    value = _value(each)
    return taker.record(position, position, [(kind, value)], listing=taker.listing(ref=ref))


def _value(each: Signal) -> bytes:
    """The digest of a signal as text."""
    import msgspec

    value: Loose = each.hash_value if each.hash_value is not None else each.hash_digest
    if value is None:
        value = each.raw_indicator
    if value is None and each.indicator:
        try:
            value = msgspec.json.decode(each.indicator, type=str)
        except (msgspec.DecodeError, UnicodeDecodeError):
            value = ""
    return str("" if value is None else value).encode("utf-8", "backslashreplace")


SIGNALS_JSON = SignalsJson()
