"""Native maker of ``.hset`` files. Source: ext/hashsieve/_build.pyx and ext/core: hs_batch, hs_run, hs_sort, hs_gather,
hs_tables, hs_emit, hs_pages, hs_base.

Digest kinds are codes: 1 MD5, 2 SHA-1, 3 SHA-256, 4 BLAKE3. A *shape* says which kinds a record carries: bit
``1 << (kind - 1)`` for each. A *class* is a number for (source, role, category); the caller keeps what it stands for.

Everything is done in about ``memory_bytes``: what does not fit waits in temporary files, which ``open_file()`` gives (a
descriptor open for reading and writing, best without a name; it is closed here). Held whatever the limit: the distinct
groups of listings without ids, the listings of one entry, 64 KiB for each run that is read. ``buffer_bytes`` is the
least a run is read by. One object belongs to one thread at a time; it may start ``jobs`` - 1 others. Work is done
without the GIL; Ctrl-C and SIGTERM get through in the middle of it.

``check(stage, done, total)`` arguments are called now and then and may raise to stop the work; the object is then of no
further use, and ``close`` gives everything back. MemoryError where memory runs out, OSError for files, ValueError
for arguments that do not fit, UsageError where one entry has more ids than a reader takes or a record to cancel is in
no base, SetDamagedError and SetFormatError for a base that cannot be read.
"""

from collections.abc import Callable, Iterator
from typing import Protocol, final

from typing_extensions import Buffer

from ._lookup import SetFile

_Check = Callable[[str, int, int | None], object] | None

class _Sealed(Protocol):
    @property
    def widths(self) -> tuple[int, int]: ...
    @property
    def lengths(self) -> tuple[int, ...]: ...
    def part(self, number: int, offset: int, length: int, /) -> bytes: ...

class StoppedError(Exception):
    """Ends the work of another thread; never leaves this module's callers."""

class Work:
    """What everything that works out of core shares: temporary files, the memory to use, the wish to stop."""

@final
class Builder(Work):
    """Collects records and writes them as sections: records in, then in this order ``merge``, ``tables``, ``plan``,
    ``into``, ``write_sections``; ``merge`` may be called again with other final classes.

    ``widths``: digest bytes of the four kinds. ``os_capsule``: another table of system calls (tests).
    """

    jobs: int
    """Threads that sort and write, this one counted."""
    record_count: int
    """Records taken, those of bases not counted."""
    entry_count: int
    """Distinct combinations of digests and size, after ``merge``; the test entry is not counted."""
    conflicts: int
    """Digests whose entries carry different digests of another kind, after ``tables``."""
    every_size: bool
    """Does every entry have a size? After ``merge``."""
    role_counts: dict[str, int]
    """Entries that have a listing of the role, by role; after ``merge``."""

    def __init__(
        self,
        open_file: Callable[[], int],
        memory_bytes: int,
        buffer_bytes: int,
        os_capsule: object | None = None,
        *,
        jobs: int,
        widths: bytes,
    ) -> None: ...
    def add(
        self, shape: int, digests: bytes, size: int, class_number: int, ref: bytes | None, cancel: bool = False
    ) -> None:
        """One record. ``digests``: bytes in code order; ``size`` in bytes, -1 = none; ``ref``: the custodian's id.

        ``cancel``: the one like it in a base goes.
        """

    def add_packed(self, shape: int, digests: Buffer, class_number: int, sizes: Buffer | None = None) -> None:
        """Many records of one listing without refs: ``digests`` are packed one after another. ``sizes``: one for each,
        as native int64, 0 where there is none."""

    def add_rows(self, rows: Buffer, class_map: Buffer) -> None:
        """Rows as :class:`Difference` gives them; ``class_map`` (unsigned 32 bits): the number here of their
        classes."""

    def remove(self, source: int, ref: bytes) -> None:
        """Takes out every record of this source and id, whenever it was or will be added."""

    def add_base(self, file: SetFile, classes: list[int], sealed: _Sealed | None = None) -> None:
        """All records of an open set file, read by ``merge``; ``classes[n]``: the number here of its class n,
        0xffffffff for the test entry's. ``sealed``: what a sealed set says beside its tables."""

    def merge(
        self,
        final_class: list[int],
        class_roles: list[str],
        class_sources: list[int],
        test_digests: bytes,
        test_class: int,
        test_size: int,
        check: _Check = None,
    ) -> list[int]:
        """Sorts, and makes one entry of equal digests and size; returns the classes that entries have, rising.

        ``final_class[n]`` is the final number of class n, which orders the listings of an entry; the source numbers are
        those of ``remove``. The built-in test entry: digests of all four kinds in code order, final class, size in
        bytes.
        """

    def tables(self, check: _Check = None) -> None:
        """Makes the table of every kind: its distinct digests in order, each with its first entry."""

    def distinct_counts(self) -> dict[int, int]:
        """Distinct digests by kind, the test digest only where a record lists it too; after ``tables``."""

    def plan(self, millibits: int, sealed: bool) -> list[tuple[int, int, int, int, int]]:
        """The sections but the description, in file order: id, flags, length, count, aux. Filters of ``millibits`` /
        1000 bits a digest."""

    def into(self, fd: int, set_id: bytes, list_offset: int) -> None:
        """Where sections go: the file, and the place of the page list in it."""

    def write_bytes(self, section: int, offset: int, data: Buffer) -> None:
        """A section of these bytes, not empty, at this offset, and its page hashes."""

    def write_sections(self, offsets: dict[int, int], sealed: bool = False, check: _Check = None) -> None:
        """All planned sections, at these offsets by section id, and their page hashes."""

    column_widths: tuple[int, int]
    """Bytes of size and of group in a sealed set's columns; after ``plan``."""
    def lengths(self) -> tuple[int, int]:
        """Bytes of listing groups and of record ids; after ``merge``."""

    def column_pieces(self) -> Iterator[bytes]:
        """The columns of a sealed set in pieces; after ``write_sections``."""

    def group_bytes(self) -> bytes:
        """The listing groups, as a section has them; after ``merge``."""

    def ref_pieces(self) -> Iterator[bytes]:
        """The record ids in pieces, as a section has them; after ``merge``."""

    def section(self, section: int, offset: int) -> Section:
        """A section to be written piece by piece."""

    def close(self) -> None:
        """Ends other threads and gives memory and temporary files back; the builder is of no further use."""

@final
class Section:
    """One section, written piece by piece."""

    def put(self, data: Buffer) -> None:
        """The next bytes."""

    def end(self) -> int:
        """No more bytes; how many there were."""

@final
class Difference(Work):
    """The rows that only one of two sets has, in order: an iterator of packed rows, whole ones, up to 1 MiB of them.

    Their form is that of ``hashset.compile.difference``. Both sets are pinned until ``close``.
    """

    def __init__(
        self,
        open_file: Callable[[], int],
        memory_bytes: int,
        buffer_bytes: int,
        os_capsule: object | None = None,
        *,
        old: SetFile,
        old_classes: list[int],
        new: SetFile,
        new_classes: list[int],
        old_sealed: _Sealed | None = None,
        new_sealed: _Sealed | None = None,
        check: _Check = None,
    ) -> None: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def __next__(self) -> bytes: ...
    def close(self) -> None:
        """Gives memory, temporary files and both sets back."""

def sort_rows_once(rows: Buffer, width: int, key_bytes: int) -> None:
    """Tests: sorts packed rows of ``width`` bytes in place by their first ``key_bytes`` bytes with the native sort."""

def page_hashes(set_id: bytes, section: int, number: int, pages: Buffer, kernel: str | None = None) -> bytes:
    """Tests: hashes of consecutive pages by the kernel chosen for this CPU, or by the one of this name."""
