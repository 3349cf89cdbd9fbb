"""Native reader of ``.hset`` files: open, verify, look up. Source: ext/hashsieve/_lookup.pyx, ext/core/hs_set.c.

Digest kinds are codes here: 1 MD5 (16 bytes), 2 SHA-1 (20), 3 SHA-256 (32), 4 BLAKE3 (32). Digests are packed: n of
them are n times that many bytes in one contiguous buffer of unsigned bytes.

Every answer comes from bytes that were checked against the set's root: header, page list, filters and fences when they
are loaded, everything else page by page at every read. The file is read by position through the descriptor opened
first; it is never mapped, and replacing it under its name changes nothing.

Threads: any number may look up in one :class:`SetFile` at once, and a kind may be loaded meanwhile;
:meth:`SetFile.load` itself is for one thread at a time. The GIL is released around every batch, read and check. Forks:
usable in both processes.

Errors: SetFormatError (not a set, or one this version cannot read), SetVersionError (made for a newer reader),
SetDamagedError (bytes disagree with the root or cannot be read), SetError (cannot be opened, closed, kind not loaded),
MemoryError, and ValueError for buffers and codes that do not fit.
"""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Final, TypedDict, final

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

from ._seal import Seal

META: Final[int]
FILTER: Final[int]
FENCES: Final[int]
TABLE: Final[int]
SHARED: Final[int]
ENTRIES: Final[int]
GROUPS: Final[int]
REFS: Final[int]
SEALED: Final[int]
SECTION_NAMES: Final[dict[int, str]]
"""Section types (docs/format/hset.md) and what messages call them."""

class Header(TypedDict):
    generation: int
    valid_until: int
    """Seconds since 1970, UTC; 0 = no end."""
    entries: int
    """The built-in test entry not counted."""
    pages: int
    """Pages of 4096 bytes that :meth:`SetFile.verify` checks."""
    file_bytes: int
    sizes: str
    """``trusted`` or ``ignored``."""
    bits_per_entry: float
    root: bytes
    """32 bytes: the set's identity."""
    seal_key_id: bytes
    """16 bytes, zero where the set is not sealed."""
    set_id: bytes
    """16 bytes that tie pages and the sealed section to this set."""
    sealed: bool
    signatures: tuple[tuple[bytes, bytes], ...]
    """(Ed25519 public key, signature of the root), as they stand in the file: not verified."""
    kinds: tuple[int, ...]
    shapes: tuple[tuple[int, int], ...]
    """(shape, number of entries) in the order of entries; a shape is a bit set of ``1 << (kind - 1)``, with 0x80 for
    the built-in test entry."""

@final
class SetFile:
    """An open set file, one generation for ever."""

    path: str

    def __init__(
        self,
        path: str | bytes | PathLike[str] | PathLike[bytes],
        *,
        seals: Sequence[Seal] = (),
        os_capsule: object | None = None,
    ) -> None:
        """Checks header, section table, page list and root; loads no filter.

        A sealed set takes a copy of the one of ``seals`` that it names, and wipes it when it is closed; SetSealError
        without any, SetWrongKeyError without that one. ``os_capsule``: a table of system calls to read through, named
        ``hashsieve.hs_os`` (tests).
        """

    def close(self) -> None:
        """Gives memory and file back. SetError while another thread is in a lookup. Closing twice is fine."""

    @property
    def closed(self) -> bool: ...
    def file_state(self) -> str:
        """Is the file still what it was when it was opened: ``same``, ``changed`` (written to), ``replaced`` (another
        one lies under its name) or ``gone``.
        """

    @property
    def header(self) -> Header: ...
    def keys(self, kind: int, digests: Buffer) -> bytes:
        """What the kind's table holds for packed digests: they themselves, or in a sealed set 16 bytes each."""

    def sealed_length(self) -> int:
        """Length in bytes of the sealed section, 0 where there is none."""

    def sealed_bytes(self, offset: int, length: int) -> bytes:
        """``length`` bytes at ``offset`` of the sealed section as they are stored, checked against the root."""

    def meta(self) -> bytes:
        """The description section, checked: JSON in UTF-8."""

    def groups(self) -> bytes:
        """The listing groups section, checked; empty where there is none."""

    def refs(self, offset: int, length: int) -> bytes:
        """``length`` bytes (cut at the section's end) at ``offset`` of the record id section, checked."""

    def load(self, kind: int) -> None:
        """Loads filter and fences of a kind into private memory and checks every page of them; a kind that the set does
        not have, or that is loaded already, costs nothing.
        """

    def loaded(self, kind: int) -> bool: ...
    def filter_bytes(self, kind: int) -> int:
        """Size of the kind's filter in bytes, whether loaded or not; 0 where the set has no such kind."""

    def fpr(self, kind: int) -> float:
        """False-positive rate (0 to 1) of the loaded filter for a random digest, from its very bits."""

    def verify(self, progress: Callable[[int], object] | None = None) -> None:
        """Reads and checks every page. ``progress(done_pages)`` is called every 4096 pages and may raise to stop."""

    def copy_into(self, fd: int) -> None:
        """Writes the whole file to a descriptor. Every page is checked on its way; only the signatures in the root page
        are for whoever opens the copy to check. OSError: it cannot be written.
        """

    def probe_into(
        self,
        kind: int,
        digests: Buffer | npt.NDArray[np.uint8],
        may_match: Buffer | npt.NDArray[np.uint8],
        threads: int = 1,
    ) -> int:
        """Filter only: ``may_match``, n writable bytes, become 1 or 0. Returns how many may match. Reads no file.

        ``threads``: as many work on a batch of 65,536 digests for each of them or more.
        """

    def lookup_into(
        self,
        kind: int,
        digests: Buffer | npt.NDArray[np.uint8],
        entries: Buffer | npt.NDArray[np.int64],
        threads: int = 1,
    ) -> None:
        """Sets each of the n signed 64-bit numbers ``entries`` to the first entry of its digest or -1.

        Filter hits are confirmed in the order of the table: each page is read and checked once, neighbours together.
        Takes n bytes, 16 for each filter hit and 132 KiB for each of the ``threads`` while it runs. When it raises,
        ``entries`` hold nothing of use.
        """

    def mark_listed(self, kind: int, digests: Buffer, flags: Buffer, threads: int = 1) -> int:
        """Sets the byte of each listed digest in ``flags`` to 1 and leaves the others. Returns how many are listed."""

    def find(self, kind: int, digest: bytes) -> list[int] | None:
        """One digest: None, or the numbers of all its entries, rising. Most unlisted digests cost no read."""

    def entry(self, number: int) -> tuple[dict[int, bytes], int | None, int, bool]:
        """(digests by kind code, size in bytes or None, group, whether the group lies in the record id section); of a
        sealed set (fingerprints by kind code, None, 0, False).

        ``number`` runs from 0 to ``header["entries"]``, the last being the test entry. The group is a number in
        :meth:`groups`, or an offset for :meth:`refs`.
        """

@final
class DigestLines:
    """A stretch of text with a hexadecimal digest on each line, and the text of the answers to it.

    A line is blank, a digest of 16, 20 or 32 bytes (32, 40 or 64 digits of either case, white space around them), or
    something else. Source: ext/core/hs_hex.c.
    """

    def __init__(self, text: bytes, last: bool, room: int = 65536) -> None:
        """Takes at most ``room`` lines. What follows the last line feed counts only when it is the ``last`` text."""
    consumed: int
    """Bytes of the text that the lines take."""

    def __len__(self) -> int:
        """Number of lines."""

    def digests_of(self, width: int) -> memoryview:
        """The digests of this width, packed, in the order of their lines."""

    def answer(
        self, before: dict[int, bytes], after: dict[int, bytes], hits: dict[int, bytearray]
    ) -> tuple[bytes, tuple[int, int, bytes] | None]:
        """Goes on to the next line that is something else, or a digest whose flag in ``hits`` is set.

        Everything passed on the way is a miss: before + digits in lower case + after, by width. Returns the text of the
        misses and (line from 0, place among the digests of its width, digest), or (line from 0, -1, text of the line)
        for a line that is something else, or None at the end.
        """

def sha256_once(data: Buffer, portable: bool = False) -> bytes:
    """SHA-256 of a buffer: by the kernel chosen for this CPU, or by the portable one."""

def page_hashes(set_id: Buffer, section: int, first: int, pages: Buffer, features: int = 0xFFFFFFFF) -> bytes:
    """Tests: what the page list holds for packed pages numbered from ``first`` on, 16 bytes each, several hashed at
    once by the kernels that these bits of the CPU's allow.
    """

def probe_agrees(blocks: Buffer, digests: Buffer, width: int) -> tuple[bytes, bytes]:
    """Tests: the answers of the chosen probe kernel and of the portable one for the same blocks of 32 bytes."""
