"""A system that misbehaves on request; built with HASHSIEVE_TEST_MODULES=1.

Rules by name compare the last name opened or examined, byte for byte; for calls on a descriptor that is the name it was
opened under (``.`` and ``..`` included, the whole path for roots).
"""

from collections.abc import Callable
from typing import Literal, Self, final

OPERATIONS: tuple[str, ...]

@final
class Faults:
    short_reads: bool
    """Reads and writes take 1 to 4096 bytes, by a generator started with the seed."""
    types_unknown: bool
    """Listings do not tell the type of any entry."""
    time_granularity_ns: int
    time_offset_ns: int
    """Modification and change times: shifted, then rounded down."""
    clock_offset_ns: int
    ino_xor: int
    dev_add: int
    listing_bytes: int
    """A listing returns at most this much at once (0: as asked), so that small directories need several calls."""
    listing_damage: Literal["no-length", "long", "no-end", "slash", "no-name", "cut"] | None
    """What is wrong with the last entry of every listing."""
    before_open: Callable[[bytes], object] | None
    after_open: Callable[[bytes, int], object] | None
    before_stat: Callable[[bytes], object] | None
    after_list: Callable[[bytes, int], object] | None
    """Called with the name (and descriptor) around the call, to change the tree at the worst moment."""
    after_read: Callable[[bytes, int, int], object] | None
    """Called after each positional read with the name, the offset and the bytes that came."""
    record_opens: bool
    opened: list[bytes]
    callback_errors: list[BaseException]

    def __init__(self, *, seed: int = 1, optional: bool = False) -> None:
        """*optional*: the table has the calls that a system may lack too; they fail by rule, or are the system's."""

    @property
    def capsule(self) -> object:
        """The table, for ``os=`` arguments; keeps this object alive."""
    def fail(
        self,
        operation: Literal[
            "open",
            "stat",
            "read",
            "pread",
            "list",
            "close",
            "uncached",
            "advise",
            "resident",
            "next-data",
            "noatime",
            "pwrite",
        ],
        errno: int,
        *,
        name: bytes | None = None,
        nth: int = 0,
        every: int = 0,
        first: int = 0,
        times: int = -1,
        how: Literal["file", "file-noatime", "dir"] | None = None,
    ) -> None:
        """Lets matching calls fail: all, the *nth* only, *every* k-th, or those from the *first* on (counted from 1);
        at most *times* of them. Of several rules that fit, the first added says how."""
    def dress(
        self,
        *,
        name: bytes | None = None,
        size_bytes: int | None = None,
        win_attributes: int = 0,
        bsd_flags: int = 0,
    ) -> None:
        """What stat says about a name (None: about all)."""
    def clear(self) -> None: ...
    @property
    def calls(self) -> dict[str, int]: ...
    @property
    def bytes_read(self) -> dict[str, int]: ...
    @property
    def open_count(self) -> int: ...
    @property
    def open_most_count(self) -> int: ...

class Stalls:
    """A system in which calls about some names take long, but only in the child processes of the one that made it.

    Its calls need no GIL, so that a forked child can make them.
    """

    capsule: object
    seen: list[int]
    """How often each rule was met, in all children."""
    def __new__(cls) -> Self: ...
    def add(self, operation: str, name: bytes = b"", seconds: float = 600, times: int = -1) -> None:
        """*operation*: open, stat, pread or list. An empty *name*: all of them. *seconds* below 0: the child dies
        there. *times*: only the first calls."""
