"""EnCase ``.hash`` hash sets: a header of 1152 bytes, then records of an MD5 and two zero bytes.

Offsets: 0 signature, 16 the number of records (little-endian, 4 bytes), 1032 the name of the set, which is not kept.
The stated number is known to be wrong in places, so it is compared and told; ``--strict`` refuses a list that has fewer
records than that. A file that ends within a record is cut short. Source: readers of the Sleuth Kit and of md5deep.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from hashsieve.errors import ListCutShortError, ListFormatError
from hashsieve.lists.contract import Batch, FormatInfo, Job, PackedRows
from hashsieve.lists.digests import UNIVERSAL
from hashsieve.lists.source import Source
from hashsieve.model import DigestKind, Listing

__all__ = ["ENCASE", "Encase"]

_MAGIC = b"HASH\r\n\xff\0"
_HEADER_BYTES = 0x480
_RECORD_BYTES = 18
_MD5_BYTES = 16


class Encase:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo("encase", "EnCase .hash hash sets of versions up to 5", "EnCase")
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """Told by :meth:`recognise_binary`."""
        return None

    def recognise_binary(self, sample: bytes, name: str) -> str | None:
        """The file begins with the signature."""
        return "begins with the signature of an EnCase hash set" if sample.startswith(_MAGIC) else None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records; see :class:`~hashsieve.lists.contract.Reader`."""
        chunks = source.raw_chunks()
        data = b""
        for chunk in chunks:
            data += chunk
            if len(data) >= _HEADER_BYTES:
                break
        if not data.startswith(_MAGIC):
            raise ListFormatError("does not begin with the signature of an EnCase hash set")
        if len(data) < _HEADER_BYTES:
            raise ListCutShortError(f"ends within its header of {_HEADER_BYTES} bytes")
        stated = struct.unpack_from("<I", data, 16)[0]
        records = _Records(job)
        yield from records.batches(data[_HEADER_BYTES:], chunks)
        job.report.detail = f"EnCase hash set, {records.count} records, {stated} stated"
        if stated > records.count:
            job.report.refuse("header", "fewer-than-stated", f"{records.count} records of {stated}")


class _Records:
    """The records of one reading."""

    def __init__(self, job: Job) -> None:
        self._report = job.report
        self._listing = Listing(job.source, job.role)
        self.count = 0

    def batches(self, rest: bytes, chunks: Iterator[bytes]) -> Iterator[Batch]:
        """All records, *rest* being what of them was read already."""
        yield from self._batch(rest[: len(rest) // _RECORD_BYTES * _RECORD_BYTES])
        rest = rest[len(rest) // _RECORD_BYTES * _RECORD_BYTES :]
        for chunk in chunks:
            data = rest + chunk
            whole = len(data) // _RECORD_BYTES * _RECORD_BYTES
            yield from self._batch(data[:whole])
            rest = data[whole:]
        if rest:
            raise ListCutShortError(f"ends within record {self.count + 1}")

    def _batch(self, data: bytes) -> Iterator[Batch]:
        digests = []
        for start in range(0, len(data), _RECORD_BYTES):
            self.count += 1
            raw = data[start : start + _MD5_BYTES]
            if data[start + _MD5_BYTES : start + _RECORD_BYTES] != b"\0\0":
                self._report.refuse(f"record {self.count}", "no-record-end", raw.hex())
            elif raw in UNIVERSAL:
                self._report.drop(UNIVERSAL[raw])
            else:
                digests.append(raw)
        if digests:
            yield PackedRows((DigestKind.MD5,), b"".join(digests), self._listing)


ENCASE = Encase()
