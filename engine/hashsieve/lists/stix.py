"""STIX 2.x bundles and TAXII envelopes: the digests of indicators, and of file and artifact objects.

* Of an indicator's pattern those digests count that alone say which file is meant; see ``stix_pattern``. Patterns in
  other languages (YARA, Snort) are counted as dropped.
* Revoked indicators become records to remove, by source and ref; expired ones (``valid_until``) are dropped. The id of
  the object is the ref; of several versions of an id the one last modified counts.
* An indicator of the type ``benign`` is at most known-good, whatever role the list was given.
* Similarity digests and kinds that are not matched are counted. Names, descriptions, references and all other members
  are dropped while parsing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.json_values import decoded, is_json, is_true, json_values, short_text, whole_number
from hashsieve.lists.profiles import lowered
from hashsieve.lists.source import Source
from hashsieve.lists.stix_pattern import PatternError, files_meant
from hashsieve.lists.taking import Other, RowTaker, kind_called
from hashsieve.model import DigestKind, Record, Role

if TYPE_CHECKING:
    from hashsieve.lists.json_records import StixObject

__all__ = ["STIX", "Stix"]

_PATHS = (("objects", ""), ("", "objects", ""), ("bundle", "objects", ""))
_BUNDLE = re.compile(rb'"type"\s*:\s*"bundle"|"id"\s*:\s*"bundle--')
_OBJECT = re.compile(rb'"id"\s*:\s*"(?:indicator|file|artifact|observed-data)--|"pattern_type"\s*:\s*"stix"')
_OBJECTS = re.compile(rb'"objects"\s*:\s*\[')
_MAX_PARTS = 1000
_WHAT = "a STIX bundle"


class Stix:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo("stix", "STIX 2 bundles: indicators, file and artifact objects", "threat intelligence platforms")
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """A JSON document with a bundle, or with objects of STIX in an ``objects`` array."""
        if not is_json(sample):
            return None
        if _BUNDLE.search(sample):
            return "a JSON object of the type bundle"
        if _OBJECTS.search(sample) and _OBJECT.search(sample):
            return "a JSON object with STIX objects"
        return None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all objects; see :class:`~hashsieve.lists.contract.Reader`."""
        from hashsieve.lists.json_records import StixObject
        from hashsieve.lists.latest import State, superseded_states

        def states() -> Iterator[State]:
            for _, flags, raw in json_values(source, _PATHS, _WHAT):
                each = decoded(raw, flags, StixObject, "", None)
                yield (each.id or None, each.modified) if each is not None else (None, None)

        superseded = superseded_states(source.path, states)
        objects = _Objects(job)
        for number, (_, flags, raw) in enumerate(json_values(source, _PATHS, _WHAT), 1):
            position = f"object {number}"
            if number in superseded:
                job.report.drop("superseded")
                continue
            each = decoded(raw, flags, StixObject, position, job)
            if each is not None:
                yield list(objects.records(each, position))


class _Objects:
    """Turns objects into records and counts what is left out."""

    def __init__(self, job: Job) -> None:
        self._taker = RowTaker(job)
        self._report = job.report
        self._role = job.role
        self._now = time.time_ns()

    def records(self, each: StixObject, position: str) -> Iterator[Record]:
        """The records of an object."""
        ref = short_text(each.id)
        if each.type == "indicator":
            yield from self._indicator(each, position, ref)
        elif each.type in ("file", "artifact"):
            yield from self._file(each, position, ref)
        elif each.type == "observed-data":
            for inner in list((each.objects or {}).values())[:_MAX_PARTS]:
                if inner.type in ("file", "artifact"):
                    yield from self._file(inner, position, ref)

    def _indicator(self, each: StixObject, position: str, ref: str | None) -> Iterator[Record]:
        from hashsieve.lists.latest import instant

        if is_true(each.revoked):
            self._report.drop("withdrawn")
            if ref is not None:
                yield Record({}, None, self._taker.listing(ref=ref), "remove")
            return
        if each.valid_until is not None:
            until = instant(each.valid_until)
            if until is not None and until <= self._now:
                self._report.drop("expired")
                return
        if each.pattern is None or (each.pattern_type or "stix").lower() != "stix":
            self._report.drop("other-type")
            return
        try:
            meaning = files_meant(each.pattern)
        except PatternError as error:
            self._report.refuse(position, "malformed-pattern", str(error))
            return
        for reason, count in meaning.left_out.items():
            self._report.drop(reason, count)
        role = self._role
        if any(name.lower() == "benign" for name in each.indicator_types or ()):
            role = Role.TRUSTED if role is Role.TRUSTED else lowered(role, Role.KNOWN_GOOD)
        listing = self._taker.listing(role, None, ref)
        for file in meaning.files:
            digests = [(kind, text.encode("utf-8", "backslashreplace")) for kind, text in file.digests]
            record = self._taker.record(position, str(ref), digests, file.size_bytes or None, listing=listing)
            if record is not None:
                yield record

    def _file(self, each: StixObject, position: str, ref: str | None) -> Iterator[Record]:
        digests: list[tuple[DigestKind, bytes]] = []
        for name, value in (each.hashes or {}).items():
            kind = kind_called(name)
            if not isinstance(kind, DigestKind):
                self._report.drop(kind or Other.UNSUPPORTED)
            else:
                digests.append((kind, str(value).encode("utf-8", "backslashreplace")))
        if digests:
            listing = self._taker.listing(ref=ref)
            record = self._taker.record(position, str(ref), digests, whole_number(each.size), listing=listing)
            if record is not None:
                yield record


STIX = Stix()
