"""Directory walks and files by handle.

Paths and names are raw bytes, as the system has them. Everything is opened without following a link at its last
component, close-on-exec; files also non-blocking, so that a FIFO which took a file's name cannot hold the caller up.
Whether what was opened is a regular file is the caller's question to ``OpenFile.stat()``: nothing here reads on its
own.

Errors: a failed system call is an ``OSError`` (or its subclass) with ``errno``, ``filename`` and the note
``operation: open|stat|read``. Interrupted calls are repeated and never seen. Using an object in a forked child raises
``hashsieve.errors.ForkError``; dropping it there closes the child's copies of its descriptors.

Threads: every call gives up the GIL while it is in the system. An open file or a kept directory may be closed while
another thread is inside a call on it; the descriptor then lives until that call is over. All else that concerns one
walk waits for its call in progress, so a walk that hangs in a dead mount is dropped, not closed. Read one file in one
thread.

``os`` arguments take a capsule named ``hashsieve.hs_os`` with a table of system calls; None is the real system.
"""

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Final, Literal, Self, TypedDict, final

from _typeshed import ReadableBuffer, StrOrBytesPath, WriteableBuffer

from ._lookup import SetFile

FILE: Final = 0
"""A regular file as listed. ``ino`` as listed: good for ordering reads, not for identity."""
SPECIAL: Final = 1
"""A link, FIFO, socket or device; never opened. ``detail``: symlink, fifo, socket, char, block or other."""
ERROR: Final = 2
"""Something could not be opened, listed or examined. ``errno``, and ``detail``: open, list or stat."""
GONE: Final = 3
"""Listed, but not there any more when it was to be examined or entered."""
SKIPPED: Final = 4
"""A directory that was not entered. ``detail``: the reason given with its path, or ``ALREADY_VISITED``."""

ALREADY_VISITED: Final = "already-visited"
MIN_OPEN_DIRS: Final[int]
MAX_BATCH_COUNT: Final[int]

@final
class FileStat:
    """Facts about a file, immutable. Times in ns since 1970 UTC; ``btime_ns`` and ``mnt_id`` are 0 where unknown.

    The constructor is for tests and for callers that have the facts from elsewhere.
    """

    def __init__(
        self,
        *,
        dev: int = 0,
        ino: int = 0,
        size_bytes: int = 0,
        mtime_ns: int = 0,
        ctime_ns: int = 0,
        btime_ns: int = 0,
        mode: int = 0,
        uid: int = 0,
        nlink: int = 1,
        mnt_id: int = 0,
        blocks_512: int = 0,
        win_attributes: int = 0,
        bsd_flags: int = 0,
    ) -> None: ...
    @property
    def dev(self) -> int: ...
    @property
    def ino(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def mtime_ns(self) -> int: ...
    @property
    def ctime_ns(self) -> int: ...
    @property
    def btime_ns(self) -> int: ...
    @property
    def mode(self) -> int: ...
    @property
    def uid(self) -> int: ...
    @property
    def nlink(self) -> int: ...
    @property
    def mnt_id(self) -> int: ...
    @property
    def blocks_512(self) -> int:
        """Allocated blocks of 512 bytes."""
    @property
    def cloud_only(self) -> bool:
        """The content is not on this machine: opening or reading would download it."""
    def is_regular(self) -> bool: ...
    def is_directory(self) -> bool: ...
    def same_signature(self, other: FileStat) -> bool:
        """Equal in device, inode, size, modification and change time."""
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...

def stat_root(path: StrOrBytesPath, follow: bool = False, *, os: object = None) -> FileStat:
    """Facts about *path* without opening it; with *follow*, about what its links lead to."""

def cloud_only(system: Literal["windows", "macos", "linux"] | str, win_attributes: int, bsd_flags: int) -> bool:
    """The decision behind ``FileStat.cloud_only`` for the attributes of one system; those of others do not count."""

@final
class OpenPolicy:
    """Remembers where the system refuses to leave access times alone, so that the refusal is not paid at every open.

    The flag is for owners and privileged processes, and some mounts refuse it to all; hence the memory is by mount,
    device and owner, and needs ``stat`` at the open. Shared by any number of walks and threads.
    """

    retry_count: int
    """Opens that were repeated without the flag."""
    def refuses_noatime(self, stat: FileStat) -> bool: ...

class _Handle:
    def close(self) -> None:
        """Gives the descriptor back, at the latest when calls that are inside it end. May be repeated."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

@final
class OpenFile(_Handle):
    """An open descriptor of a file. Closed at the latest when it is dropped."""

    @staticmethod
    def from_fd(fd: int, *, owned: bool = False, path: StrOrBytesPath = b"", os: object = None) -> OpenFile:
        """Wraps a descriptor handed in; only an *owned* one is closed. *path* is for messages."""
    @property
    def path(self) -> bytes: ...
    @property
    def closed(self) -> bool: ...
    def fileno(self) -> int: ...
    def stat(self) -> FileStat:
        """Facts about the open file, asked of the system at every call."""
    def read_into(self, buffer: WriteableBuffer) -> int:
        """Fills *buffer* from the position of the file. Returns the bytes read: fewer than asked only at the end of the
        file, whatever size it claims to have. On an error after some bytes, only the error."""
    def pread_into(self, buffer: WriteableBuffer, offset_bytes: int) -> int:
        """The same from *offset_bytes*; the position of the file is neither used nor moved."""

def open_path(
    path: StrOrBytesPath, *, policy: OpenPolicy | None = None, stat: FileStat | None = None, os: object = None
) -> OpenFile:
    """Opens a file by path; for roots that are single files."""

@final
class Visited:
    """Directory identities that were entered; share one between walks whose roots may overlap.

    Past *limit_count* directories are entered without being remembered (32 MiB at the default). Safe in threads.
    """

    def __new__(cls, limit_count: int = 1_000_000) -> Self: ...
    def add(self, dev: int, ino: int) -> bool:
        """Remembers a directory; False if it was known."""
    def __len__(self) -> int: ...
    @property
    def unrecorded_count(self) -> int: ...

@final
class Directory(_Handle):
    """The directory that the items of a batch lie in. Two batches of one directory have two of these.

    It works through the handle of the walk, and only until the walk leaves the directory: use it before the next call
    of ``next_batch``, or ``keep()`` it. A kept one costs a descriptor until it is closed or dropped, and does not wait
    for the walk. One that can no longer be used raises ``ValueError``.
    """

    path: bytes
    dev: int
    ino: int
    mnt_id: int
    @property
    def kept(self) -> bool: ...
    def keep(self) -> None:
        """Gives it a handle of its own."""
    def stat(self, name: bytes) -> FileStat:
        """Facts about an entry without opening it, not following a link."""
    def open_file(self, name: bytes, policy: OpenPolicy | None = None, stat: FileStat | None = None) -> OpenFile:
        """Opens an entry, leaving its access time alone where the system lets it. *stat*: facts known about it, for
        *policy*."""

@final
class WalkItem:
    """One thing a walk tells. An empty ``name`` means ``directory`` itself."""

    event: int
    """FILE, SPECIAL, ERROR, GONE or SKIPPED."""
    name: bytes
    directory: Directory
    ino: int
    errno: int
    """Of ERROR, else 0."""
    detail: str | None
    @property
    def path(self) -> bytes:
        """Directory and name, joined when asked."""

@final
class Walker:
    """Walks one directory tree by directory handles; links are not followed, mounts are crossed unless skipped.

    *root*: absolute path of a directory, taken as it is (not resolved; a link as root is an ERROR item). *skip*:
    absolute directories below it that are not to be touched, each with a reason; compared with root + names by bytes.
    At most *max_open_dirs* descriptors are held (kept Directories not counted). *visited*: identities not to be entered
    again.

    Order: the files of a directory, then its subdirectories, depth first. Every name is told once.
    """

    root: bytes
    done: bool
    def __new__(
        cls,
        root: StrOrBytesPath,
        *,
        skip: Iterable[tuple[StrOrBytesPath, str]] = (),
        max_open_dirs: int = 16,
        visited: Visited | None = None,
        os: object = None,
    ) -> Self: ...
    def next_batch(self, max_count: int = 1024) -> list[WalkItem]:
        """The next items, at most *max_count* and ``MAX_BATCH_COUNT``, all of one directory; empty at the end only.

        ``OSError`` with EMFILE or ENFILE and ``MemoryError`` lose nothing: free descriptors or memory and call again.
        ``ScanError`` where the system cannot list directories by handle.
        """
    @property
    def open_count(self) -> int:
        """Directory descriptors held now."""
    @property
    def entered_count(self) -> int:
        """Directories entered so far."""
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

# ---- calls made elsewhere ----------------------------------------------------------------------------------------

NO_ANSWER: Final[int]
"""``errno`` and ``Remote.over``: a call took longer than the patience. No system uses these three numbers."""
ENDED: Final[int]
"""A stop flag was set, or ``end()`` called."""
BROKEN: Final[int]
"""The child is gone, or this is another process than the one that made the Remote."""

@final
class Remote:
    """A child process that makes system calls, so that one which never comes back holds up the child and nothing else.

    ``capsule`` is the table of its system calls: a Walker, an OpenFile or ``stat_root`` made with ``os=capsule`` works
    through it. Once a call has not come back within *patience_seconds*, or one of at most two *stops* is set while one
    waits, the child is killed, and this and every later call is an ``OSError`` with errno ``over``. Nothing ever waits
    for the child. *os*: the table that the child calls; it must be safe in a forked child (no GIL).

    ``OSError`` with the note ``operation: fork`` when no child could be made. Belongs to one thread, which is to live
    as long as it does: Linux ends the child with that thread.
    """

    over: int
    """0 while it works, else NO_ANSWER, ENDED or BROKEN."""
    child_pid: int
    """0: none any more."""
    capsule: object
    def __new__(cls, *, patience_seconds: float, stops: Iterable[StopFlag] = (), os: object = None) -> Self: ...
    def readlink(self, path: StrOrBytesPath) -> bytes: ...
    def open_directory(self, path: StrOrBytesPath) -> Directory:
        """A handle for an absolute path none of whose parts is a link; names can be looked up in it, not listed."""
    def end(self) -> None:
        """Kills the child and gives back the descriptor and the memory. Does not wait."""
    def reap(self) -> bool:
        """Is there no child any more? Collects it, and does not wait."""

# ---- kernels and lanes -------------------------------------------------------------------------------------------

class KernelInfo(TypedDict):
    """One digest kernel. ``state``: chosen, available, no cpu or not built; ``gb_per_second`` as measured with all
    lanes full (bench/runs; 10^9 bytes)."""

    kind: str
    name: str
    lanes: int
    needs: str
    state: str
    gb_per_second: float

def kernels() -> list[KernelInfo]:
    """Every digest kernel there is, portable ones first in each kind. Source: RFC 1321 (MD5), FIPS 180-4 (SHA)."""

class Lanes:
    """The lane scheduler alone, for tests and measurements: streams in slots, fed with whole blocks of 64 bytes.

    *kinds*: some of md5, sha1, sha256, in this order. *forced*: kernel name by kind; KernelError where it cannot run.
    """

    def __init__(self, kinds: Iterable[str], forced: Mapping[str, str] | None = None) -> None: ...
    @property
    def slot_count(self) -> int:
        """Slots that keep the widest kernel full; any slot number below 24 may be used."""
    def start(self, slot: int) -> None:
        """A new stream takes the slot."""
    def feed(self, slot: int, blocks: bytes) -> None:
        """The next blocks; UsageError unless whole, and all fed before were digested."""
    def feed_tails(self, slot: int, md5_tail: bytes, sha_tail: bytes) -> None:
        """The last blocks where kinds with both paddings are planned; equally long."""
    def waiting(self, slot: int) -> int:
        """Blocks fed and not yet digested."""
    def step(self) -> int:
        """Advances every fed slot by as many blocks as the shortest has; that number, 0 when none is fed. No GIL."""
    def digest(self, slot: int) -> dict[str, bytes]:
        """Digest by kind of a stream whose padding was digested."""

# ---- the pipeline ------------------------------------------------------------------------------------------------

WALK: Final = 0
"""Not a file: ``walk_event`` as in a walk, with ``errno_`` and ``detail``."""
NO_MATCH: Final = 1
"""Examined and on no list; told only with *tell_all*, and counted by the pump."""
HIT: Final = 2
"""A digest is in a set, or a set could not say. ``file`` is open, ``digests`` are there."""
MOVED: Final = 3
"""Read, but its signature moved; ``digests`` where the end was reached. ``file`` is open."""
LINKED: Final = 4
"""Another name of a file that is being read, or that was told before."""
PIPE_ERROR: Final = 5
PIPE_GONE: Final = 6
PIPE_SPECIAL: Final = 7
"""By the time it was opened it was no regular file: ``detail``."""
CLOUD_ONLY: Final = 8
TOO_LARGE: Final = 9
NOT_MEDIA: Final = 10

DONE: Final = 0
TICK: Final = 1
FULL: Final = 2
STOPPED: Final = 3

LINK_READING: Final = 1
LINK_ASK: Final = 2
LINK_NOTHING: Final = 3
LINK_KNOWN_GOOD: Final = 4
LINK_UNDECIDED: Final = 5

ASK: Final = 0
KNOWN_GOOD: Final = 1
UNDECIDED: Final = 2

@final
class StopFlag:
    """One word that ends all pumps it was given to, within a chunk. From any thread or signal handler; never taken
    back."""

    def set(self) -> None: ...
    def is_set(self) -> bool: ...

@final
class Sizes:
    """The sizes in bytes that any entry has, for the known-sizes gate. 8 to 16 bytes of memory for each distinct
    size."""

    def add_set(self, set_file: SetFile) -> None:
        """Adds the sizes of all entries of a set, read and checked page by page. SetDamagedError when one cannot be
        read, or when an entry has none; UsageError once a pump uses them."""
    def add_rows(self, rows: ReadableBuffer, row_bytes: int, size_bytes: int) -> None:
        """Adds sizes from packed rows of ``row_bytes``, of which the first ``size_bytes`` are a size + 1,
        little-endian. SetDamagedError when one is 0; UsageError once a pump uses them."""

    def __len__(self) -> int: ...
    def __contains__(self, size_bytes: int) -> bool: ...

SNIFF_BYTES: Final[int]

def looks_like_media(start: bytes | bytearray | memoryview) -> bool:
    """Does content that starts like this belong to an image, a video, or a container of them? *start*: the first
    SNIFF_BYTES of a file, or all of a shorter one."""

@final
class Feed:
    """Where files come from: a walk, or paths and descriptors (``(path, fd)``, fd -1: open the path; else the pump
    takes the descriptor over when it comes to it). Shared by the pumps of one scan, with their memory of hard links.

    A walk then belongs to the feed: ``next_batch`` refuses, ``close`` waits for the feed to be dropped.
    """

    def __init__(
        self,
        walker: Walker | None = None,
        *,
        files: Iterable[tuple[StrOrBytesPath, int]] | None = None,
        link_limit_count: int = 1_000_000,
    ) -> None: ...
    def link_state(self, stat: FileStat) -> int:
        """What is known of a hard-linked file with this signature: 0 nothing, else LINK_*."""

@final
class PipeEvent:
    """One thing a pump tells. Which fields are filled depends on ``event``; see the constants."""

    event: int
    walk_event: int
    errno_: int
    path: bytes
    detail: str | None
    file: OpenFile | None
    before: FileStat
    after: FileStat
    bytes_read: int
    digests: dict[str, bytes] | None
    settled: bool
    linked: bool

@final
class Pump:
    """The native scan pipeline: as many open files as its widest digest kernel has lanes, read, digested and looked up
    without the GIL. Files on no list are counted; everything else is told.

    *sets*: pairs of a set file and what a hit in it means (ASK, KNOWN_GOOD, UNDECIDED); the kinds must be loaded.
    *kinds*: digest kinds in order; blake3 is computed by the blake3 package and costs the GIL once a chunk. *sizes*:
    known-sizes gate. *forced*: kernel name by kind. Threads: each pump in one thread at a time; several pumps may
    share a Feed.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        sets: Iterable[tuple[SetFile, int]],
        kinds: Iterable[str],
        stop: StopFlag | None = None,
        max_size_bytes: int | None = None,
        media_only: bool = False,
        sizes: Sizes | None = None,
        tell_all: bool = False,
        forced: Mapping[str, str] | None = None,
        os: object = None,
    ) -> None: ...
    @property
    def slot_count(self) -> int: ...
    def run(self, seconds: float) -> tuple[int, list[PipeEvent]]:
        """Works for about *seconds*: DONE, TICK, FULL or STOPPED, or a negated errno value when no file could be opened
        for lack of descriptors or memory (call again; nothing was dropped). ScanError (unsupported system)."""
    def counters(self) -> dict[str, int]:
        """So far: no_match, known_good and undecided (parts of it), bytes_read, gated_empty, gated_size, hole_bytes."""
    def close(self) -> None:
        """Closes what is open and lets go of the sets."""
