"""MISP events as JSON: one event, the events of a feed or of a search, or attributes alone.

* Attributes of the types of digests count, of composites (``filename|sha256``, ``malware-sample``) their digest; all
  other types are counted as dropped, similarity digests apart.
* The attributes of one object describe one file: they become one record, with the object's size. The uuid of the object
  or attribute is the ref; of several states of a uuid the one with the latest ``timestamp`` counts.
* What MISP does not mean for detection (``to_ids`` false) is dropped. Deleted attributes and objects become records to
  remove, by source and ref.
* Values of other types, comments, tags and embedded samples are dropped while parsing. ``manifest.json`` and
  ``hashes.csv`` of a feed hold no digests of files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hashsieve.errors import ListFormatError
from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.json_values import decoded, is_json, is_true, json_values, short_text, whole_number
from hashsieve.lists.source import Source
from hashsieve.lists.taking import RowTaker, kind_called
from hashsieve.model import DigestKind, Record

if TYPE_CHECKING:
    from hashsieve.lists.json_records import MispAttribute, MispObject
    from hashsieve.lists.latest import State

__all__ = ["MISP_JSON", "MispJson"]

_WHAT = "MISP events"
_ROOTS = (
    ("Event",),
    ("", "Event"),
    ("response", "Event"),
    ("response", "", "Event"),
    (),
    ("response",),
    ("response", ""),
)
_PATHS = tuple((*root, name, "") for root in _ROOTS for name in ("Attribute", "Object"))
_TYPE = re.compile(rb'"(?:Event|Attribute|Object|response)"\s*:\s*[\[{]')
_TELLING = re.compile(rb'"(?:to_ids|threat_level_id|distribution|object_relation|Orgc)"\s*:')
_MANIFEST = re.compile(rb'\s*\{\s*"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"\s*:\s*\{')


class MispJson:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo("misp", "MISP events as JSON", "MISP exports, feeds and searches")
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """A JSON document with an event, attributes or objects, and another member of MISP.

        Raises :class:`ListFormatError` for the manifest of a feed.
        """
        if not is_json(sample):
            return None
        if _TYPE.search(sample) and _TELLING.search(sample):
            return "a JSON document with a MISP event"
        if _MANIFEST.match(sample) and _TELLING.search(sample):
            raise ListFormatError("the manifest of a MISP feed names events and holds no digests; give the events")
        return None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all attributes; see :class:`~hashsieve.lists.contract.Reader`."""
        from hashsieve.lists.latest import superseded_states

        superseded = superseded_states(source.path, lambda: _states(source))
        things = _Things(job)
        for number, each, position in _parts(source, job):
            if number in superseded:
                job.report.drop("superseded")
            elif each is not None:
                yield list(things.records(each, position))


def _parts(source: Source, job: Job | None) -> Iterator[tuple[int, MispAttribute | MispObject | None, str]]:
    """The attributes and objects of all events, with number and position; None for what is none."""
    from hashsieve.lists.json_records import MispAttribute, MispObject

    counts = [0, 0]
    for number, (path, flags, raw) in enumerate(json_values(source, _PATHS, _WHAT, many=True), 1):
        is_object = path & 1
        counts[is_object] += 1
        position = f"{'object' if is_object else 'attribute'} {counts[is_object]}"
        if is_object:
            yield number, decoded(raw, flags, MispObject, position, job), position
        else:
            yield number, decoded(raw, flags, MispAttribute, position, job), position


def _states(source: Source) -> Iterator[State]:
    """The uuid and time of every attribute and object."""
    for _, each, _ in _parts(source, None):
        seconds = None if each is None else whole_number(each.timestamp)
        yield (each.uuid or None, seconds) if each is not None else (None, None)


class _Things:
    """Turns attributes and objects into records and counts what is left out."""

    def __init__(self, job: Job) -> None:
        self._taker = RowTaker(job)
        self._report = job.report

    def records(self, each: MispAttribute | MispObject, position: str) -> Iterator[Record]:
        """The records of an attribute or object."""
        from hashsieve.lists.json_records import MispAttribute

        ref = short_text(each.uuid)
        attributes = [each] if isinstance(each, MispAttribute) else each.attributes
        size = None
        digests: list[tuple[DigestKind, bytes]] = []
        further: list[tuple[DigestKind, bytes]] = []
        withdrawn = is_true(each.deleted)
        for attribute in attributes:
            if attribute.object_relation == "size-in-bytes" or attribute.type == "size-in-bytes":
                size = whole_number(attribute.value)
                continue
            kind = self._kind(attribute, withdrawn=withdrawn)
            if kind is not None:
                value = str(attribute.value).rpartition("|")[2].encode("utf-8", "backslashreplace")
                into = further if any(kind == known for known, _ in digests) else digests
                into.append((kind, value))
        if withdrawn:
            if digests and ref is not None:
                yield Record({}, None, self._taker.listing(ref=ref), "remove")
            return
        # Two digests of one kind cannot be of one file: such an object describes several.
        groups = [digests] if not further else [[one] for one in (*digests, *further)]
        for group in groups:
            if group:
                listing = self._taker.listing(ref=ref)
                record = self._taker.record(position, str(ref), group, None if further else size, listing=listing)
                if record is not None:
                    yield record

    def _kind(self, attribute: MispAttribute, *, withdrawn: bool) -> DigestKind | None:
        """The kind of digest an attribute holds; None, counted, where it holds none or is not to be used."""
        name = attribute.type.strip().lower()
        kind = DigestKind.MD5 if name == "malware-sample" else kind_called(name.rpartition("|")[2])
        if not isinstance(kind, DigestKind):
            self._report.drop(kind or "other-type")
            return None
        if withdrawn or is_true(attribute.deleted):
            self._report.drop("withdrawn")
            return kind if withdrawn else None
        if attribute.to_ids is not None and not is_true(attribute.to_ids):
            self._report.drop("not-for-detection")
            return None
        return kind


MISP_JSON = MispJson()
