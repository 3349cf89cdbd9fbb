"""Native builder of ``.hset`` files. Source: ext/hashsieve/_build.pyx, ext/core/hs_sort.c, ext/core/hs_bloom.c.

Digest kinds are codes: 1 MD5, 2 SHA-1, 3 SHA-256, 4 BLAKE3. A *shape* says which kinds a record carries: bit
``1 << (kind - 1)`` for each. A *class* is a number for (source, role, category); the caller keeps what it stands for.

For one thread at a time. Sorting and page hashing release the GIL; Ctrl-C and SIGTERM get through in the middle of a
sort. Memory, all at once: for a record its digests and 24 bytes; for an entry 16 bytes and 8 for each of its kinds; for
a row of a table its digest and 8 bytes. ``check`` arguments are called now and then and may raise to stop the work; the
builder is then of no further use. MemoryError where memory runs out, ValueError for arguments that do not fit.
"""

from collections.abc import Callable
from typing import Protocol, final

from typing_extensions import Buffer

class _Raw(Protocol):
    def write(self, data: memoryview, /) -> int: ...

@final
class PageWriter:
    """Writes sections as pages of 4096 bytes to a binary file and collects their hashes.

    ``file`` must stand at offset 4096; it may take less than it is given at once. ``set_id``: 16 bytes. Errors of the
    file pass through.
    """

    hashes: list[bytes]
    """The page hashes in order, 16 bytes each, several in one item."""
    sections: list[tuple[int, int, int, int, int, int]]
    """Lines of the section table: id, flags, offset, length, count, aux."""

    def __init__(self, file: _Raw, set_id: bytes) -> None: ...
    def write_section(
        self, section: int, data: bytes, count: int = 0, aux: int = 0, must_understand: bool = True
    ) -> None:
        """A whole section at once; it must not be empty."""

@final
class Builder:
    """Collects records and writes them as sections: ``add`` and ``add_packed``, then once each and in this order
    ``merge``, ``set_test_entry``, ``tables``, ``write_sections``.
    """

    record_count: int
    """Records taken."""
    entry_count: int
    """Distinct combinations of digests and size, after ``merge``; the test entry is not counted."""
    conflicts: int
    """Digests whose entries carry different digests of another kind, after ``tables``."""
    every_size: bool
    """Does every entry have a size? After ``merge``."""
    role_counts: dict[str, int]
    """Entries that have a listing of the role, by role; after ``merge``."""

    def __init__(self) -> None: ...
    def add(self, shape: int, digests: bytes, size: int, class_number: int, ref: bytes | None) -> None:
        """One record. ``digests``: bytes in code order; ``size`` in bytes, -1 = none; ``ref``: the custodian's id."""

    def add_packed(self, shape: int, digests: Buffer, class_number: int) -> None:
        """Many records of one listing without sizes and refs: ``digests`` are packed one after another."""

    def merge(self, final_class: list[int], class_roles: list[str], check: Callable[[], object] | None = None) -> None:
        """Sorts, and makes one entry of equal digests and size. ``final_class[n]`` is the final number of class n,
        which orders the listings of an entry; ``class_roles`` is by final number.
        """

    def set_test_entry(self, digests: bytes, class_number: int, size: int) -> None:
        """The built-in test entry: digests of all four kinds in code order, final class number, size in bytes."""

    def tables(self, check: Callable[[], object] | None = None) -> None:
        """Makes the table of every kind: its distinct digests in order, each with its first entry."""

    def distinct_counts(self) -> dict[int, int]:
        """Distinct digests by kind, the test digest only where a record lists it too; after ``tables``."""

    def write_sections(self, writer: PageWriter, millibits: int, check: Callable[[], object] | None = None) -> None:
        """All sections but the description, in file order; filters of ``millibits`` / 1000 bits a digest."""

def sort_rows_once(rows: Buffer, width: int, key_bytes: int) -> None:
    """Tests: sorts packed rows of ``width`` bytes in place by their first ``key_bytes`` bytes with the native sort."""
