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
from hashsieve.lists.contract import FormatInfo, Job
from hashsieve.lists.digests import UNIVERSAL, why_bad
from hashsieve.lists.profiles import NO_PROFILE, PROFILES, Profile, lowered, named_profile
from hashsieve.lists.source import Source
from hashsieve.model import DigestKind, Listing, Record, Role

if TYPE_CHECKING:
    from hashsieve._lists_json import JsonSplitter
    from hashsieve.lists.latest import Superseded
    from hashsieve.lists.vics_records import Loose, Media

__all__ = ["VICS", "Vics"]

_MAX_TEXT_CHARS = 200
_MAX_SIZE_BYTES = (1 << 62) - 1
_SIZE_DIGITS = 19
_MARKER = re.compile(r"DataModels/(\d+\.\d+)\.xml(?:/([^/#$]+))?")
_MARKER_IN_SAMPLE = re.compile(rb"DataModels(?:\\?/)\d+\.\d+\.xml")
_VALUE_IN_SAMPLE = re.compile(rb'"value"\s*:\s*\[')
_MEMBER_IN_SAMPLE = re.compile(rb'"(?:MD5|MediaID|Media)"\s*:')

_SIMILARITY = re.compile(r"photo ?dna|pdna|pdq|p-?hash|ssdeep|tlsh|tmk", re.IGNORECASE)
_ALTERNATIVE_NAMES = {
    "md5": DigestKind.MD5,
    "sha1": DigestKind.SHA1,
    "sha256": DigestKind.SHA256,
    "blake3": DigestKind.BLAKE3,
}

MAX_RECORD_BYTES = 64 << 20
"""Largest record. Some tools embed thumbnails; they stay far below."""

_PATHS = (("value", ""), ("value", "", "media", ""), ("*odata",))

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
    # Imported here: the native part and msgspec are not loaded for lists of other formats.
    from hashsieve._lists_json import MediaRecords

    marker, superseded = _first_pass(source)
    profile = _profile(marker, job.options.profile)
    job.report.detail = _described(marker, profile)
    odd = _OddMedia(job, profile)
    splitter = _splitter()
    records = MediaRecords(
        splitter, Record, Listing, job.source,
        universal=UNIVERSAL, grade=odd.grade_of, odd=odd.record, superseded=superseded,
    )  # fmt: skip
    try:
        for chunk in source.chunks():
            yield from records.feed(chunk)
        splitter.finish()
    finally:
        for reason, count in (("superseded", records.superseded_count), ("similarity", records.similarity_count)):
            if count:
                job.report.drop(reason, count)


def _splitter() -> JsonSplitter:
    """A splitter for both shapes of a document."""
    from hashsieve._lists_json import JsonSplitter
    from hashsieve.lists.vics_records import MEMBERS

    return JsonSplitter(_PATHS, what="a VICS list", max_value_bytes=MAX_RECORD_BYTES, members=MEMBERS)


class _OddMedia:
    """Turns media into records that the native code leaves, and counts what is left out."""

    def __init__(self, job: Job, profile: Profile) -> None:
        self._report = job.report
        self._source = job.source
        self._profile = profile
        self._ceiling = job.options.role

    def grade_of(self, raw: bytes) -> tuple[Role, str | None] | None:
        """The grade of the JSON value *raw*, nothing if it is absent; None if it is no number or text."""
        import msgspec

        from hashsieve.lists.vics_records import decode_loose

        try:
            return self._grade(decode_loose(raw or b"null"))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _grade(self, category: Loose) -> tuple[Role, str | None]:
        """Role and text of *category*."""
        text = _short_text(category)
        return lowered(self._profile.role(text), self._ceiling), text

    def record(self, raw: bytes, flags: int, number: int) -> Record | None:
        """The record of the JSON value *raw*, or None if it is none."""
        import msgspec

        from hashsieve._lists_json import ESCAPED_NAME, ODD_NAME, TOO_DEEP
        from hashsieve.lists.vics_records import decode_media, decode_odd_names

        try:
            if flags & TOO_DEEP:
                raise msgspec.DecodeError("nested too deep")
            media = decode_odd_names(raw) if flags & (ODD_NAME | ESCAPED_NAME) else decode_media(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            reason = "wrong-type" if isinstance(error, msgspec.ValidationError) else "malformed-record"
            self._report.refuse(f"record {number}", reason, str(error))
            return None
        return self._record(media, number)

    def _record(self, media: Media, number: int) -> Record | None:
        """The record of *media*, or None if no digest is left; refused for a bad digest, or for having none."""
        digests: dict[str, bytes] = {}
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
            self._report.refuse(f"record {number}", *bad)
        if not digests:
            return None
        size = _number(media.size)
        role, category = self._grade(media.category)
        listing = Listing(self._source, role, category, _short_text(media.media_id))
        return Record(digests, size if size and 0 < size <= _MAX_SIZE_BYTES else None, listing)

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
                self._report.drop("similarity" if _SIMILARITY.search(alternative.name or "") else "unsupported-kind")
            else:
                found.append((kind.value, kind.size_bytes, alternative.value or ""))
        return found


def _first_pass(source: Source) -> tuple[_Marker | None, Superseded]:
    """The marker of the file, wherever it stands, and the records that a later state of the same id replaces."""
    from hashsieve.lists.latest import LatestStates, instant

    marker: _Marker | None = None
    states = LatestStates(source.path)
    splitter = _splitter()
    for chunk in source.chunks():
        for text in splitter.note_ids(chunk, states.seen):
            # Decoded first: writers may escape the slashes.
            found = _MARKER.search(_text(text))
            if found and marker is None:
                marker = _Marker(found[1], found[2])
    splitter.finish()

    def dated() -> Iterator[tuple[int, object, int | None]]:
        again = _splitter()
        for chunk in source.chunks():
            for number, array, media_id, date in again.dated_ids(chunk, states.seen):
                yield number, (array, media_id), instant(date.decode("utf-8", "replace"))

    return marker, states.superseded(dated)


def _text(raw: bytes) -> str:
    """The text that the JSON value *raw* is, or nothing."""
    import msgspec

    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


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
