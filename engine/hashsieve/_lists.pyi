"""Plain rows of text lists to packed digests. Source: ext/hashsieve/_lists.pyx, ext/core/hs_text.c.

A *plain* row is one of which no rule of a list format has anything to say. A run of rows ends just before the first
line that is not plain, so that the caller decides about that line. Texts must hold whole lines, the last one with its
end. The work is done without the GIL; a :class:`Rules` may be used from several threads. ValueError for arguments that
do not fit.
"""

from collections.abc import Iterable, Sequence
from typing import final

@final
class Rules:
    """Where a run ends. ``end``: the end of a line (line feed, carriage return or NUL). ``stops``: digests of 16, 20 or
    32 bytes that no list may carry."""

    def __init__(self, end: bytes, stops: Iterable[bytes]) -> None: ...
    def digest_lines(self, text: bytes, start: int, digest_bytes: int) -> tuple[bytes, int]:
        """Rows ``HEX``, ``HEX  NAME`` and ``HEX *NAME`` from offset *start* on: their packed digests, and the offset of
        the first line that is not plain."""

    def sized_rows(self, text: bytes, start: int, columns: Sequence[tuple[int, int]]) -> tuple[bytes, bytes, int]:
        """Rows ``SIZE,COLUMN,...,NAME``: packed digests, sizes in bytes as native int64, and the offset of the first
        line that is not plain. *columns* gives, for each column between size and name, the digest's length in bytes and
        its place in the packed row, or ``(0, 0)`` where it is passed over; at most 8."""
