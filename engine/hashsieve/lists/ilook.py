"""ILook hash sets (``.hsh``) of versions 1, 3 and 4: unquoted rows that begin with an upper-case MD5.

The first line names the columns: ``V1Hash,HashType,...``, ``V3Hash,HashSHA1,...`` or ``V4Hash,HashSHA1,...``. SHA-384
and SHA-512 are counted as dropped; names are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hashsieve.errors import ListFormatError
from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.source import Source, decode_sample
from hashsieve.lists.split_rows import split_header, split_records
from hashsieve.model import DigestKind

__all__ = ["ILOOK", "Ilook"]

_HEADER = re.compile(rb"^\s*(V([134])Hash,[^\r\n\0]*)")
_TEXTS = frozenset(("FileName", "FilePath", "SetDescription"))
_KINDS = {"HashSHA1": DigestKind.SHA1, "HashSHA256": DigestKind.SHA256}


class Ilook:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo("ilook", "ILook hash sets 1, 3 and 4: V4Hash,HashSHA1,...", "ILook Investigator")
    graded = False

    def recognise(self, sample: bytes, name: str) -> str | None:
        """The first line is the header of such a file."""
        found = _HEADER.match(sample)
        return f"the header of an ILook {found[2].decode()} hash set" if found else None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        found = _HEADER.match(decode_sample(source.sample()))
        if found is None:
            raise ListFormatError("line 1 is not the header of an ILook hash set")
        header = found[1].strip()
        names = header.decode("latin-1").split(",")
        job.report.detail = f"ILook {found[2].decode()}"
        columns = split_header(names, _TEXTS, {names[0]: DigestKind.MD5, **_KINDS}, "FileSize")
        yield from split_records(source, job, columns, header)


ILOOK = Ilook()
