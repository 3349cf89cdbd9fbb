"""Digital Forensics XML, as ``hashdeep -d`` and fiwalk write it: ``fileobject`` with ``hashdigest`` and ``filesize``.

Only digests of whole files count: those of pieces (``byte_run``) are counted as dropped. Names, times, owners and the
environment of the run are dropped while parsing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hashsieve.errors import ListFormatError
from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.digests import size_of
from hashsieve.lists.source import Source
from hashsieve.lists.taking import BATCH_RECORDS, Other, RowTaker, kind_called
from hashsieve.lists.xml_stream import parse_xml, root_name
from hashsieve.model import DigestKind, Record

__all__ = ["DFXML", "Dfxml"]

_MAX_VALUE_CHARS = 256
_MAX_DIGESTS = 64
_OLD_NAMES = frozenset(("md5", "sha1", "sha256"))


class Dfxml:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo(
        "dfxml", "Digital Forensics XML: fileobject with hashdigest", "hashdeep -d, fiwalk, bulk_extractor"
    )
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """An XML document whose root is ``dfxml``."""
        return "an XML document of the type dfxml" if root_name(sample) in ("dfxml", "fiwalk") else None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all file objects; see :class:`~hashsieve.lists.contract.Reader`."""
        listener = _Listener()
        taker = RowTaker(job)
        batch: list[Record] = []
        number = 0
        for _ in parse_xml(source, listener):
            for each in listener.files:
                number += 1
                record = _record(each, f"fileobject {number}", job, taker)
                if record is not None:
                    batch.append(record)
            listener.files.clear()
            if len(batch) >= BATCH_RECORDS:
                yield batch
                batch = []
        yield batch


@dataclass(slots=True)
class _File:
    """One file object as far as it is needed."""

    size: str = ""
    digests: list[tuple[str, str]] = field(default_factory=list)
    pieces: int = 0


class _Listener:
    """Gathers file objects from the events of a document."""

    def __init__(self) -> None:
        self.files: list[_File] = []
        self._rooted = False
        self._file: _File | None = None
        self._open: list[str] = []  # elements within the file object
        self._kind = ""
        self._value: str | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        if not self._rooted and name not in ("dfxml", "fiwalk"):
            raise ListFormatError(f"the root of the XML is {name[:40]!r}, not dfxml")
        self._rooted = True
        if self._file is None:
            if name == "fileobject":
                self._file = _File()
            return
        self._open.append(name)
        self._value = ""
        self._kind = next((value for key, value in attributes.items() if key.lower() == "type"), "")

    def text(self, piece: str) -> None:
        """A piece of text."""
        if self._value is not None and len(self._value) <= _MAX_VALUE_CHARS:
            self._value += piece

    def end(self, name: str) -> None:
        """An element ends."""
        file, value, self._value = self._file, (self._value or "").strip(), None
        if file is None:
            return
        if not self._open:
            self.files.append(file)
            self._file = None
            return
        self._open.pop()
        if self._open:
            file.pieces += name == "hashdigest"
        elif name == "filesize":
            file.size = value
        elif name == "hashdigest" or name in _OLD_NAMES:
            if len(file.digests) >= _MAX_DIGESTS:
                raise ListFormatError(f"a fileobject has more than {_MAX_DIGESTS} digests")
            file.digests.append((self._kind if name == "hashdigest" else name, value))


def _record(each: _File, position: str, job: Job, taker: RowTaker) -> Record | None:
    """The record of a file object, or None; one without any digest (a folder, say) is no row."""
    if each.pieces:
        job.report.drop("piecewise", each.pieces)
    digests: list[tuple[DigestKind, bytes]] = []
    for name, value in each.digests:
        kind = kind_called(name)
        if isinstance(kind, DigestKind):
            digests.append((kind, value.encode("utf-8", "backslashreplace")))
        else:
            job.report.drop(kind or Other.UNSUPPORTED)
    return taker.record(position, position, digests, size_of(each.size.encode())) if digests else None


DFXML = Dfxml()
