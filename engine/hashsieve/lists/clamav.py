"""ClamAV hash signatures: ``HASH:SIZE:NAME[:MinFL[:MaxFL]]``.

The ending of the file name says what they mean: ``.hdb .hsb .hdu .hsu`` known-bad, ``.fp .sfp`` trusted; with any other
ending ``--role`` must be given. The kind follows from the length of the digest (64 digits are SHA-256), whatever the
ending. A size of ``*`` is not known. Names may hold colons and line feeds, since sigtool does not escape them: they are
passed over, and a line that spilled from one is dropped. ``.mdb``, ``.msb`` and ``.imp`` hold digests of parts of
programs, not of files, and are refused; so is a packed database (``.cvd``, ``.cld``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hashsieve.errors import ListFormatError
from hashsieve.lists.contract import Batch, FormatInfo, Job
from hashsieve.lists.digests import size_of
from hashsieve.lists.keyed_lines import keyed_records, share_of_rows
from hashsieve.lists.source import Source
from hashsieve.model import DigestKind, Role

__all__ = ["CLAMAV", "ClamAv"]

_ROLES = {
    "hdb": Role.KNOWN_BAD, "hsb": Role.KNOWN_BAD, "hdu": Role.KNOWN_BAD, "hsu": Role.KNOWN_BAD,
    "fp": Role.TRUSTED, "sfp": Role.TRUSTED,
}  # fmt: skip
_PARTS = frozenset(("mdb", "msb", "mdu", "msu", "imp"))
_ROW = re.compile(rb"(?:[0-9A-Fa-f]{64}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{32}):(?:\d+|\*):.")
_PART_ROW = re.compile(rb"(?:\d+|\*):(?:[0-9A-Fa-f]{64}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{32}):.")


class ClamAv:
    """The reader. See the text of the module for what it does."""

    info = FormatInfo(
        "clamav",
        "ClamAV HASH:SIZE:NAME; .hdb .hsb .hdu .hsu are known-bad, .fp .sfp trusted",
        "ClamAV, its third-party databases, sigtool",
    )
    graded = False

    def own_role(self, name: str) -> Role | None:
        """The role by the ending of *name*; None for other endings."""
        return _ROLES.get(name.rpartition(".")[2].lower())

    def recognise(self, sample: bytes, name: str) -> str | None:
        """At least half of the rows have the shape of a hash signature.

        Raises :class:`ListFormatError` for signatures of parts of programs and for packed databases.
        """
        if sample.startswith(b"ClamAV-VDB:"):
            raise ListFormatError(
                "a packed ClamAV database; unpack it with sigtool --unpack and read its .hdb and .hsb"
            )
        parts, rows = share_of_rows(sample, _PART_ROW)
        if parts and 2 * parts >= rows:
            raise ListFormatError("ClamAV signatures of program sections: digests of parts of files match no file")
        shaped, rows = share_of_rows(sample, _ROW)
        if not shaped or 2 * shaped < rows:
            return None
        if name.rpartition(".")[2].lower() in _PARTS:
            raise ListFormatError("ClamAV signatures of imports: digests of parts of files match no file")
        return f"{shaped} of the first {rows} rows are ClamAV hash signatures"

    def read(self, source: Source, job: Job) -> Iterator[Batch]:
        """The records of all rows; see :class:`~hashsieve.lists.contract.Reader`."""
        yield from keyed_records(source, job, b":", default=DigestKind.SHA256, size=_size, spills=True)


def _size(rest: bytes) -> int | None:
    return size_of(rest.partition(b":")[0])


CLAMAV = ClamAv()
