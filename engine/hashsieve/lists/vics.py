"""Project VIC VICS JSON 1.x and 2.0: hash sets (``value`` holds media) and case files (``value`` holds cases).

The specification is not public; this follows what public readers and writers of the format do.

* Role: the category decides, under the profile given with ``--profile`` or else the one the file declares in its
  marker. Version 1 declares none, and without one every record is undecided. ``--role`` may only lower: ``known-good``
  makes every record known-good (benign lists come in the same dress), ``undecided`` makes none known-bad.
* The marker may stand behind the records, so it is looked for in a pass of its own, which ends where it is found.
* A record is taken by its good digests, and refused by the first bad one. Absent, null and empty digests are just
  absent.
* ``AlternativeHashes`` of supported kinds are taken, others counted as dropped; the ``PhotoDNA`` member is not read.
* Declared totals (``TotalMediaFiles``) are known to be wrong and are not looked at.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hashsieve.errors import shown
from hashsieve.lists.build import new_listing, new_record
from hashsieve.lists.contract import FormatInfo, Job
from hashsieve.lists.digests import UNIVERSAL, why_bad
from hashsieve.lists.profiles import NO_PROFILE, PROFILES, Profile, lowered, named_profile
from hashsieve.lists.source import Source
from hashsieve.model import DigestKind, Record, Role

if TYPE_CHECKING:
    from hashsieve.lists.vics_records import Loose, Media

__all__ = ["VICS", "Vics"]

_BATCH_RECORDS = 512
_MAX_TEXT_CHARS = 200
_MAX_SIZE_BYTES = (1 << 63) - 1
_SIZE_DIGITS = 19
_GRADES_KEPT = 1024
_MARKER = re.compile(r"DataModels/(\d+\.\d+)\.xml(?:/([^/#$]+))?")
_MARKER_IN_SAMPLE = re.compile(rb"DataModels(?:\\?/)\d+\.\d+\.xml")
_VALUE_IN_SAMPLE = re.compile(rb'"value"\s*:\s*\[')
_MEMBER_IN_SAMPLE = re.compile(rb'"(?:MD5|MediaID|Media)"\s*:')

_ALTERNATIVE_NAMES = {
    "md5": DigestKind.MD5,
    "sha1": DigestKind.SHA1,
    "sha256": DigestKind.SHA256,
    "blake3": DigestKind.BLAKE3,
}

_Named = tuple[str, int, str]
"""A digest with its name: kind, length in bytes, text."""


class Vics:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo(
        "vics", "VICS JSON 1.x and 2.0, hash set or case file", "Project VIC and tools that exchange with it"
    )
    graded = True

    def recognise(self, sample: bytes, name: str) -> str | None:
        """A JSON object with a VICS data model marker, or with a ``value`` array and a member of media records."""
        if not sample.lstrip().startswith(b"{"):
            return None
        if _MARKER_IN_SAMPLE.search(sample):
            return "a JSON object with a VICS data model marker"
        if _VALUE_IN_SAMPLE.search(sample) and _MEMBER_IN_SAMPLE.search(sample):
            return "a JSON object with media records in its value array"
        return None

    def read(self, source: Source, job: Job) -> Iterator[list[Record]]:
        """The records of all media; see :class:`~hashsieve.lists.contract.Reader`."""
        return _batches(source, job)


@dataclass(frozen=True, slots=True)
class _Marker:
    """What a file says about itself: data model version, and profile or None."""

    version: str
    profile: str | None


def _batches(source: Source, job: Job) -> Iterator[list[Record]]:
    # Imported here: msgspec is not loaded for lists of other formats.
    import msgspec

    from hashsieve.lists.json_split import RECORD, split_records
    from hashsieve.lists.vics_records import decode_media

    marker = _find_marker(source, to_the_end=job.options.profile is None)
    profile = _profile(marker, job.options.profile)
    job.report.detail = _described(marker, profile)
    media_records = _MediaRecords(job, profile)
    batch: list[Record] = []
    for part, raw in split_records(source.chunks()):
        if part != RECORD:
            continue
        waiting = [raw]
        # A small case comes as one object, and its media then take its place.
        while waiting:
            try:
                media = decode_media(waiting.pop())
            except (msgspec.DecodeError, RecursionError) as error:
                wrong_type = isinstance(error, msgspec.ValidationError)
                media_records.refuse("wrong-type" if wrong_type else "malformed-record", str(error))
                continue
            if media.cases_media is not None:
                waiting.extend(bytes(inner) for inner in reversed(media.cases_media))
                continue
            record = media_records.record(media)
            if record is not None:
                batch.append(record)
        if len(batch) >= _BATCH_RECORDS:
            yield batch
            batch = []
    yield batch


class _MediaRecords:
    """Turns decoded media into records and counts what is left out."""

    def __init__(self, job: Job, profile: Profile) -> None:
        self._report = job.report
        self._source = job.source
        self._profile = profile
        self._ceiling = job.options.role
        self._grades: dict[Loose, tuple[Role, str | None]] = {}
        self._count = 0

    def refuse(self, reason: str, text: str) -> None:
        """Count an element that is no media record; *text* says what the decoder found."""
        self._count += 1
        self._report.refuse(f"record {self._count}", reason, text)

    def record(self, media: Media) -> Record | None:
        """The record of *media*, or None if no digest is left."""
        self._count += 1
        digests: dict[str, bytes] = {}
        plain = True
        # The same three times over: a loop over the kinds took longer than all the rest of this method.
        if (text := media.md5) is not None:
            if raw := _plain_digest(text, 16):
                digests["md5"] = raw
            else:
                plain = False
        if (text := media.sha1) is not None:
            if raw := _plain_digest(text, 20):
                digests["sha1"] = raw
            else:
                plain = False
        if (text := media.sha256) is not None:
            if raw := _plain_digest(text, 32):
                digests["sha256"] = raw
            else:
                plain = False
        if not plain or media.alternatives or not digests:
            self._take_odd(media, digests)
            if not digests:
                return None
        role, category = self._grades.get(media.category) or self._grade(media.category)
        size = media.size
        if type(size) is not int:
            size = _number(size)
        media_id = media.media_id
        ref = str(media_id) if type(media_id) is int else _short_text(media_id)
        listing = new_listing(self._source, role, category, ref)
        return new_record(digests, size if size and 0 < size <= _MAX_SIZE_BYTES else None, listing)

    def _grade(self, category: Loose) -> tuple[Role, str | None]:
        """Role and text of *category*; remembered, since there are few."""
        text = _short_text(category)
        grade = lowered(self._profile.role(text), self._ceiling), text
        if len(self._grades) < _GRADES_KEPT:
            self._grades[category] = grade
        return grade

    def _take_odd(self, media: Media, digests: dict[str, bytes]) -> None:
        """Complete *digests* by what the fast path left; refuse the record for a bad one, or for having none."""
        bad: tuple[str, str] | None = None
        none_reason = "no-digest"
        dropped = False
        members = (("md5", 16, media.md5), ("sha1", 20, media.sha1), ("sha256", 32, media.sha256))
        for kind, length_bytes, text in (*members, *self._alternatives(media)):
            if text is None:
                continue
            reason = why_bad(text.encode("utf-8", "backslashreplace"), length_bytes)
            raw = b"" if reason else unhexlify(text.strip())
            if reason == "empty-value":
                none_reason = reason
            elif raw in UNIVERSAL:
                self._report.drop(UNIVERSAL[raw])
                dropped = True
            elif reason:
                bad = bad or (reason, text)
            elif digests.setdefault(kind, raw) != raw:
                bad = bad or ("contradicting-digests", text)
        if bad is None and not digests and not dropped:
            bad = none_reason, f"MediaID {_short_text(media.media_id)}"
        if bad is not None:
            self._report.refuse(f"record {self._count}", *bad)

    def _alternatives(self, media: Media) -> list[_Named]:
        """The digests of supported kinds in ``AlternativeHashes``; others are counted as dropped."""
        # Imported here for the same reason as in _batches.
        import msgspec

        from hashsieve.lists.vics_records import decode_alternatives

        if not media.alternatives:
            return []
        try:
            alternatives = decode_alternatives(media.alternatives) or []
        except (msgspec.DecodeError, RecursionError):
            self._report.drop("malformed-alternatives")
            return []
        found: list[_Named] = []
        for alternative in alternatives:
            kind = _ALTERNATIVE_NAMES.get((alternative.name or "").strip().lower().replace("-", ""))
            if kind is None:
                self._report.drop("unsupported-kind")
            else:
                found.append((kind.value, kind.size_bytes, alternative.value or ""))
        return found


def _plain_digest(text: str, length_bytes: int) -> bytes:
    """The digest that *text* is, or nothing if it needs a closer look."""
    try:
        raw = unhexlify(text)
    except ValueError:
        return b""
    return raw if len(raw) == length_bytes and raw not in UNIVERSAL else b""


def _find_marker(source: Source, *, to_the_end: bool) -> _Marker | None:
    """The marker of the file; without *to_the_end* only if it stands before the first record."""
    import msgspec

    from hashsieve.lists.json_split import MARKER, split_records

    for part, raw in split_records(source.chunks()):
        if part == MARKER:
            # Decoded first: writers may escape the slashes.
            found = _MARKER.search(msgspec.json.decode(raw, type=str))
            if found:
                return _Marker(found[1], found[2])
        elif not to_the_end:
            return None
    return None


def _profile(marker: _Marker | None, asked: str | None) -> Profile:
    """The profile to read categories with: the one asked for, else the file's own if we know it, else none."""
    if asked is not None:
        return named_profile(asked)
    own = marker.profile if marker else None
    return PROFILES.get(own.lower(), NO_PROFILE) if own else NO_PROFILE


def _described(marker: _Marker | None, profile: Profile) -> str:
    """The version and profiles in words."""
    version = f"VICS {marker.version}" if marker else "VICS without a marker"
    own = shown(marker.profile[:_MAX_TEXT_CHARS]) if marker and marker.profile else "none"
    return f"{version}, profile declared: {own}, used: {profile.name}"


def _short_text(value: Loose) -> str | None:
    """*value* as opaque text: None for nothing, and for text too long to be a number or an id."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value).strip()
    return text if 0 < len(text) <= _MAX_TEXT_CHARS else None


def _number(value: Loose) -> int | None:
    """*value* as a whole number, or None if it is none: a size that cannot be read is not known."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= _SIZE_DIGITS else None
    return value


VICS = Vics()
