"""NSRL RDS 1.5 and 2.x: ``NSRLFile.txt``, quoted rows with SHA-1, MD5, CRC-32, name and size.

The header tells the versions apart; columns are taken by its names. The list names files of published software, so it
is known-good by itself. CRC-32 and the MD4 of version 1.5 are counted as dropped. Of a release archive only NSRLFile is
read: ``hashes.txt`` and ``version.txt`` beside it hold digests of the release's own files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hashsieve.errors import ListFormatError
from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.source import Source, decode_sample
from hashsieve.lists.split_rows import split_header, split_records
from hashsieve.model import DigestKind, Role

__all__ = ["NSRL_TEXT", "NsrlText"]

_KINDS = {"SHA-1": DigestKind.SHA1, "MD5": DigestKind.MD5, "SHA-256": DigestKind.SHA256}
_CODES = {"M": Role.UNDECIDED}
_TEXTS = frozenset(("FileName",))
_HEADER = re.compile(rb'^\s*("SHA-(?:1|256)",[^\r\n\0]*"FileName"[^\r\n\0]*)')


class NsrlText:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo(
        "nsrl-text",
        "NSRL RDS 1.5 and 2.x, NSRLFile.txt or the release's zip; known-good",
        "NIST, National Software Reference Library",
    )
    graded = False

    def own_role(self, name: str) -> Role:
        """Known-good: the NSRL lists files of published software."""
        return Role.KNOWN_GOOD

    def recognise(self, sample: bytes, name: str) -> str | None:
        """The first line is the header of such a file."""
        return "the header of an NSRL RDS file" if _HEADER.match(sample) else None

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        found = _HEADER.match(decode_sample(source.sample()))
        if found is None:
            raise ListFormatError("line 1 is not the header of an NSRL RDS file")
        header = found[1].strip()
        names = [name.strip().strip('"') for name in header.decode("latin-1").split(",")]
        job.report.detail = f"NSRL RDS {'1.5' if 'MD4' in names else '2'}"
        columns = split_header(names, _TEXTS, _KINDS, "FileSize", "SpecialCode")
        yield from split_records(source, job, columns, header, _CODES)


NSRL_TEXT = NsrlText()
