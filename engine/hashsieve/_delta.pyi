"""Native codec of the rows of a delta. Source: ext/hashsieve/_delta.pyx.

In a delta file the rows of a shape lie in two sections, digests and tails (docs/format/hdelta.md, sections 5 and 6). In
the *builder's form* a row is: its shape (1 byte); its digests, by kind code; size + 1, 0 where there is none (8 bytes,
big-endian); class (4, big-endian); 0 to add, 2 to cancel (1); length of the record id + 1, 0 where there is none (2,
little-endian); the record id. ``class_map[n]`` is the number a class gets on the way. With ``sealed`` a digest of any
kind is a fingerprint of 16 bytes.
"""

from typing import final

from typing_extensions import Buffer

def encode(rows: Buffer, class_map: list[int], sealed: bool = False) -> list[tuple[int, bytes, bytes, int, int]]:
    """Whole rows of the builder's form: (shape, packed digests, tails, rows to add, rows to cancel), shape by shape."""

@final
class Decoder:
    """Turns the digests and tails of one shape into rows of the builder's form, piece by piece.

    ValueError, with what is wrong, for rows that cannot be or are not in order.
    """

    add_count: int
    """Rows to add so far."""
    cancel_count: int
    """Rows to cancel so far."""

    def __init__(self, shape: int, class_map: list[int], sealed: bool = False) -> None: ...
    def feed(self, digests: Buffer, tails: Buffer, last: bool) -> tuple[bytes, int, int]:
        """As many rows as are whole in both: (rows, bytes of digests used, bytes of tails used).

        ``last``: nothing follows behind the tails.
        """
