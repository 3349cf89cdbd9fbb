"""Plain rows of text lists to packed digests. Source: ext/hashsieve/_lists.pyx, ext/core/hs_text.c.

A *plain* row is one of which no rule of a list format has anything to say. A run of rows ends just before the first
line that is not plain, so that the caller decides about that line. Texts must hold whole lines, the last one with its
end. The work is done without the GIL; a :class:`Rules` may be used from several threads. ValueError for arguments that
do not fit.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar, final

from typing_extensions import Buffer

_Record = TypeVar("_Record")

SIZE_COLUMN: int
"""The place of a column that holds the size."""
EMPTY_COLUMN: int
"""The place of a column that is empty in a plain row."""
MAX_COLUMNS: int
"""Most columns of a row that are looked at."""

@final
class Rules:
    """Where a run ends. ``end``: the end of a line (line feed, carriage return or NUL). ``stops``: digests of 16, 20 or
    32 bytes that no list may carry."""

    def __init__(self, end: bytes, stops: Iterable[bytes]) -> None: ...
    def digest_lines(self, text: bytes, start: int, digest_bytes: int) -> tuple[bytes, int]:
        """Rows ``HEX``, ``HEX  NAME`` and ``HEX *NAME`` from offset *start* on: their packed digests, and the offset of
        the first line that is not plain."""

    def tagged_lines(self, text: bytes, start: int, tag: bytes, digest_bytes: int) -> tuple[bytes, int]:
        """The same of rows ``TAG (NAME) = HEX``, where *tag* is all before the name, its bracket included."""

    def keyed_lines(
        self, text: bytes, start: int, separator: bytes, digest_bytes: int, sized: bool
    ) -> tuple[bytes, bytes, int]:
        """Rows ``HEX<separator>REST``, or with *sized* ``HEX<separator>SIZE<separator>REST`` where ``*`` is a size of
        0: packed digests, sizes in bytes as native int64 (or nothing), and the offset of the first line that is not
        plain."""

    def sized_rows(self, text: bytes, start: int, columns: Sequence[tuple[int, int]]) -> tuple[bytes, bytes, int]:
        """Rows ``SIZE,COLUMN,...,NAME``: packed digests, sizes, and offset as above. *columns* gives, for each column
        between size and name, the digest's length in bytes and its place in the packed row, or ``(0, 0)`` where it is
        passed over; at most :data:`MAX_COLUMNS`."""

    def split_rows(
        self, text: bytes, start: int, left: Sequence[tuple[int, int]], right: Sequence[tuple[int, int]]
    ) -> tuple[bytes, bytes, int]:
        """Rows of cells between commas, in quotes or not, with free text in the middle: *left* columns are found from
        the left, *right* ones from the right, each as in :meth:`sized_rows` ``(0, SIZE_COLUMN)`` or
        ``(0, EMPTY_COLUMN)``. Sizes are 0 where
        there is no column of them. A row with an empty digest is not plain."""

def records(
    record_type: type[_Record],
    kinds: tuple[tuple[str, int], ...],
    digests: bytes,
    sizes: Buffer | None,
    listing: object,
    start: int,
    stop: int,
) -> list[_Record]:
    """The packed rows *start* to *stop* as objects of *record_type* (a frozen data class with the fields of
    :class:`hashsieve.Record`), set past its own ``__setattr__``. *kinds*: name and length in bytes of each digest of a
    row. *sizes*: native int64, 0 for none; None where no row has one."""
