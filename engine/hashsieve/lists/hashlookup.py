"""CIRCL hashlookup: answers as JSON objects, one, in an array or one a line, and the reports of its tools.

The database names files of published software, but some answers carry ``KnownMalicious``: such a record has the
category ``known-malicious`` and is at most undecided, whatever role the list was given. In a report the files that were
known are taken; those that were not are in no list and are counted as dropped. Names, packages and sources are dropped
while parsing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.json_values import decoded, is_json, json_values, starts_with, whole_number
from hashsieve.lists.source import Source
from hashsieve.lists.taking import BY_CUSTOM, Other, RowTaker
from hashsieve.model import DigestKind, Record, Role

__all__ = ["HASHLOOKUP", "Hashlookup"]

_REPORT = (("known_files", ""), ("unknown_files", ""))
_UNKNOWN_PATH = 1
_REPORT_IN_SAMPLE = re.compile(rb'"(?:known_files|unknown_files)"\s*:\s*\[')
_DIGEST_IN_SAMPLE = re.compile(rb'"(?:SHA-1|SHA-256)"\s*:\s*"')
_TELLING = re.compile(
    rb'"(?:FileName|FileSize|hashlookup:[a-z-]+|KnownMalicious|ProductCode|PackageName|insert-timestamp)"\s*:'
)
_BATCH = 512


class Hashlookup:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo("hashlookup", "hashlookup answers and reports, JSON or a JSON object a line", "CIRCL hashlookup")
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """A report, or JSON objects with SHA-1 or SHA-256 and another member of hashlookup."""
        if not is_json(sample):
            return None
        if _REPORT_IN_SAMPLE.search(sample):
            return "a report of hashlookup"
        if _DIGEST_IN_SAMPLE.search(sample) and _TELLING.search(sample):
            return "JSON objects of hashlookup"
        return None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all answers; see :class:`~hashsieve.lists.contract.Reader`."""
        from hashsieve.lists.json_records import HashlookupEntry

        paths = (*_REPORT, ("",) if starts_with(source, b"[") else ())
        entries = _Entries(job)
        batch: list[Record] = []
        for number, (path, flags, raw) in enumerate(json_values(source, paths, "hashlookup", many=True), 1):
            if path == _UNKNOWN_PATH:
                job.report.drop("not-listed")
                continue
            entry = decoded(raw, flags, HashlookupEntry, f"record {number}", job)
            record = entries.record(entry, f"record {number}") if entry is not None else None
            if record is not None:
                batch.append(record)
            if len(batch) >= _BATCH:
                yield batch
                batch = []
        yield batch


class _Entries:
    """Turns answers into records and counts what is left out."""

    def __init__(self, job: Job) -> None:
        from hashsieve.lists.json_records import HashlookupEntry

        self._shape = HashlookupEntry
        self._taker = RowTaker(job)
        self._report = job.report
        self._listing = self._taker.listing()
        good = job.role in (Role.KNOWN_GOOD, Role.TRUSTED)
        self._malicious = self._taker.listing(Role.UNDECIDED if good else job.role, "known-malicious")

    def record(self, entry: object, position: str) -> Record | None:
        """The record of an answer, or None."""
        assert isinstance(entry, self._shape)
        named = ((DigestKind.MD5, entry.md5), (DigestKind.SHA1, entry.sha1), (DigestKind.SHA256, entry.sha256))
        digests = [(kind, text.encode("utf-8", "backslashreplace")) for kind, text in named if text is not None]
        if entry.bare is not None:
            bare = entry.bare.strip().encode("utf-8", "backslashreplace")
            digests.append((BY_CUSTOM.get(len(bare), DigestKind.SHA256), bare))
        for similarity in (entry.ssdeep, entry.tlsh):
            if similarity:
                self._report.drop(Other.SIMILARITY)
        malicious = entry.malicious and bytes(entry.malicious) not in (b"null", b"false", b'""', b"[]")
        listing = self._malicious if malicious else self._listing
        return self._taker.record(position, position, digests, whole_number(entry.size), listing=listing)


HASHLOOKUP = Hashlookup()
