"""NCMEC hash sharing v2: pages of ``/entries``, XML with images, videos and what was deleted.

* The key of an entry is the member that shared it and its id; the ref is ``MEMBER/ID``. An entry is always sent in its
  latest state and pages are not in the order of time, so within a list the latest time of a key counts.
* ``deletedImage`` and ``deletedVideo`` withdraw an entry: they become records to remove, by source and ref.
* Role: the classification (A1, A2, B1, B2) is the category, and these four are known-bad; an entry without one is
  undecided. ``--profile FILE`` maps categories otherwise, ``--role`` may only lower.
* Members dispute single fingerprints by negative feedback. A disputed digest stands in a record of its own with the
  category ``A1 disputed`` (or ``disputed``), which is undecided unless the operator maps it.
* PhotoDNA, PDQ and other similarity fingerprints are counted, links to large ones are never fetched. Names of members,
  reasons and all other text are dropped while parsing. Stated counts and page links are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hashsieve.errors import ListFormatError
from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.profiles import PROFILES, Profile, lowered, named_profile
from hashsieve.lists.source import Source
from hashsieve.lists.taking import Other, RowTaker, kind_called
from hashsieve.lists.xml_stream import parse_xml, root_name
from hashsieve.model import DigestKind, Record, Role

__all__ = ["NCMEC", "Ncmec"]

CLASSIFICATION = Profile("ncmec", dict.fromkeys(("A1", "A2", "B1", "B2"), Role.KNOWN_BAD))

_LIVE = frozenset(("image", "video"))
_DELETED = frozenset(("deletedimage", "deletedvideo"))
_MAX_VALUE_CHARS = 1024
_MAX_FINGERPRINTS = 64
_MAX_REF_CHARS = 200


class Ncmec:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo(
        "ncmec", "NCMEC hash sharing v2, XML pages of entries", "NCMEC's hash sharing platforms for industry and NGOs"
    )
    graded = True

    def recognise(self, sample: bytes, name: str) -> str | None:
        """An XML document whose root is a ``queryResult`` of hash sharing."""
        if root_name(sample) != "queryresult":
            return None
        return "an XML queryResult of hash sharing"

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all entries; see :class:`~hashsieve.lists.contract.Reader`."""
        from hashsieve.lists.latest import superseded_states

        superseded = superseded_states(
            source.path, lambda: ((each.ref or None, each.time) for each in _entries(source))
        )
        records = _Records(job)
        batch: list[Record] = []
        for number, entry in enumerate(_entries(source), 1):
            if number in superseded:
                job.report.drop("superseded")
                continue
            batch += records.of(number, entry)
            if len(batch) >= 1024:
                yield batch
                batch = []
        yield batch


@dataclass(slots=True)
class _Entry:
    """One entry as far as it is needed; ``negative`` holds the types of disputed fingerprints, in lower case."""

    deleted: bool
    member: str = ""
    own_id: str = ""
    time: str = ""
    classification: str = ""
    fingerprints: list[tuple[str, str]] = field(default_factory=list)
    negative: set[str] = field(default_factory=set)

    @property
    def ref(self) -> str:
        """Member and id, or nothing if they are missing or too long."""
        text = f"{self.member}/{self.own_id}" if self.member else self.own_id
        return text if self.own_id and len(text) <= _MAX_REF_CHARS else ""


class _Listener:
    """Gathers entries from the events of a document."""

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self._rooted = False
        self._entry: _Entry | None = None
        self._open: list[str] = []  # elements within the entry
        self._value: str | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        if not self._rooted and name != "queryresult":
            raise ListFormatError(f"the root of the XML is {name[:40]!r}, not a queryResult of hash sharing")
        self._rooted = True
        entry = self._entry
        if entry is None:
            if name in _LIVE or name in _DELETED:
                self._entry = _Entry(name in _DELETED)
            return
        self._open.append(name)
        self._value = ""
        if len(self._open) == 1 and name == "member":
            entry.member = attributes.get("id", "").strip()
        elif len(self._open) == 2 and name == "negativefeedback" and len(entry.negative) < _MAX_FINGERPRINTS:
            entry.negative.add(attributes.get("type", "").strip().lower())

    def text(self, piece: str) -> None:
        """A piece of text."""
        if self._value is not None and len(self._value) <= _MAX_VALUE_CHARS:
            self._value += piece

    def end(self, name: str) -> None:
        """An element ends."""
        entry, value, self._value = self._entry, (self._value or "").strip(), None
        if entry is None:
            return
        if not self._open:
            self.entries.append(entry)
            self._entry = None
            return
        self._open.pop()
        if not self._open:
            if name == "id":
                entry.own_id = value
            elif name == "timestamp":
                entry.time = value
            elif name == "classification":
                entry.classification = value
        elif self._open == ["fingerprints"]:
            if len(entry.fingerprints) >= _MAX_FINGERPRINTS:
                raise ListFormatError(f"an entry has more than {_MAX_FINGERPRINTS} fingerprints")
            entry.fingerprints.append((name, value))


def _entries(source: Source) -> Iterator[_Entry]:
    """All entries of the document, in its order."""
    listener = _Listener()
    for _ in parse_xml(source, listener):
        yield from listener.entries
        listener.entries.clear()


class _Records:
    """Turns entries into records and counts what is left out."""

    def __init__(self, job: Job) -> None:
        self._taker = RowTaker(job)
        self._report = job.report
        self._ceiling = job.options.role
        self._profile = _profile(job.options.profile)

    def of(self, number: int, entry: _Entry) -> Iterator[Record]:
        """The records of *entry*."""
        position = f"record {number}"
        ref = entry.ref or None
        if entry.deleted:
            if ref is None:
                self._report.refuse(position, "no-id", "")
                return
            yield Record({}, None, self._taker.listing(Role.UNDECIDED, None, ref), "remove")
            return
        agreed: list[tuple[DigestKind, bytes]] = []
        disputed: list[tuple[DigestKind, bytes]] = []
        others = 0
        for name, value in entry.fingerprints:
            kind = kind_called(name)
            if isinstance(kind, DigestKind):
                into = disputed if name in entry.negative else agreed
                into.append((kind, value.encode("utf-8", "backslashreplace")))
            else:
                others += 1
                self._report.drop(kind or Other.SIMILARITY)
        if not agreed and not disputed:
            if not others:
                self._report.refuse(position, "no-digest", entry.own_id[:_MAX_REF_CHARS])
            return
        category = entry.classification[:_MAX_REF_CHARS]
        for digests, suffix in ((agreed, ""), (disputed, "disputed")):
            if not digests:
                continue
            own = f"{category} {suffix}".strip() or None
            role = lowered(self._profile.role(own), self._ceiling)
            record = self._taker.record(position, b"", digests, listing=self._taker.listing(role, own, ref))
            if record is not None:
                yield record


def _profile(asked: str | None) -> Profile:
    """The profile of the file asked for; the built-in ones are of other schemes and do not apply here."""
    return CLASSIFICATION if asked is None or asked.lower() in PROFILES else named_profile(asked)


NCMEC = Ncmec()
