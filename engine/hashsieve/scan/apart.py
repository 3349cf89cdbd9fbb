"""Mounts that may never answer, read apart: child processes make the calls, and nobody waits for one that is stuck.

Behind a FUSE or network mount stands another program or machine. A call into it can take any time, and what is inside
it can be neither called back nor killed. So each such mount has one thread here, which never touches the mount: it has
one child process list and another read (:class:`hashsieve._scan.Remote`), and waits for each answer no longer than the
patience. A child that does not answer is killed and left behind, and another takes its place. The file it was at is
tried once more when all others are done; what does not answer then is ``not_examined: no-answer``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

from .. import _scan
from .._scan import Directory, WalkItem
from ..errors import StoppedError
from ..platform.mounts import PSEUDO, MountTable

__all__ = [
    "Apart", "Elsewhere", "Examined", "Failed", "Left", "Root", "Seen",
    "connect", "finish", "let_go", "no_answer_from",
]  # fmt: skip

PATIENCE_SECONDS = 10.0
NO_ANSWER = "no-answer"
HELPER_DIED = "the helper process died"
END_SECONDS = 0.5  # for all mounts together, when a scan ends early
RESULTS_AHEAD_COUNT = 1024
_BATCH_COUNT = 256
_LOST_COUNT = 3  # children in a row, without an answer between them: the mount counts as dead
_STUCK_COUNT = 3  # children that were killed and are still in their call: no further one is risked
_MAX_LINKS = 40  # as Linux counts
_READ_BY_ITSELF = "another-root"

T = TypeVar("T")


# ---- children ------------------------------------------------------------------------------------------------------

# Children that were let go and had not ended yet, with the mount point they were made for. Of the whole process, since
# a mount that swallows one in each scan would swallow any number. Used without a lock: a list is safe as it is.
_let_go: list[tuple[bytes, _scan.Remote]] = []


def _stuck_count(point: bytes) -> int:
    for each in list(_let_go):
        if each[1].reap():
            try:
                _let_go.remove(each)
            except ValueError:
                continue  # another thread has done it
    return sum(each[0] == point for each in list(_let_go))


def no_answer_from(point: bytes) -> bool:
    """Are so many children stuck in calls into this mount that no other is to be sent?"""
    return _stuck_count(point) >= _STUCK_COUNT


def connect(patience_seconds: float, stops: tuple[_scan.StopFlag, ...], os_table: object | None) -> _scan.Remote:
    """A child to make system calls. OSError, noted ``operation: fork``, when there can be none."""
    for attempt in range(3):
        try:
            return _scan.Remote(patience_seconds=patience_seconds, stops=stops, os=os_table)
        except OSError as problem:
            if problem.errno != errno.EAGAIN or attempt == 2:
                raise
            time.sleep(0.05)
    raise AssertionError("unreachable")


def let_go(point: bytes, remote: _scan.Remote) -> None:
    """Ends a child. One that is not stuck is gone in a moment, which is waited for."""
    remote.end()
    until = time.monotonic() + 0.05
    while not remote.reap():
        if time.monotonic() > until:
            _let_go.append((point, remote))
            return
        time.sleep(0.001)


# ---- what a mount tells --------------------------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class Root:
    """A path on such a mount that is to be read: as far as it is known without touching the mount, and as shown.

    ``real``: what it led to, once that is known.
    """

    path: bytes
    shown: bytes
    real: bytes | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """Not examined. *whole*: what lies below *path* was not listed, or not to the end; None: the root."""

    path: bytes | None
    reason: str
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """An error about *path*; None: the root."""

    path: bytes | None
    reason: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The root leads to another mount that is to be read apart."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """This was read, or is going to be, as part of another root."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Examined(Generic[T]):
    """What examining a file came to."""

    path: bytes
    result: T


class _GivenUpError(Exception):
    """The mount is not asked any more; the text says why."""


@dataclass(eq=False, slots=True)
class _File:
    directory: bytes
    name: bytes
    again: bool = False

    @property
    def path(self) -> bytes:
        return os.path.join(self.directory, self.name)


class Apart(Generic[T]):
    """Reads what lies on the mount at *point*, root after root, in a thread of its own.

    *examine* examines a name: it is handed a function that gives the directory's handle, the name, the path and a
    function to call between system calls, and answers None for a directory. *counts*: does this result stand, even
    though the child was lost just then? *is_apart* says whether a mount with this reason not to be entered is read
    apart. What comes out goes into *results*, each with its Root; an unforeseen exception is put there too, and
    None when the thread ends. *stop* and :meth:`end` end it within a step of the waiting.
    """

    def __init__(
        self,
        point: bytes,
        mounts: MountTable,
        examine: Callable[[Callable[[], Directory], bytes, Callable[[], None]], T | None],
        counts: Callable[[T], bool],
        is_apart: Callable[[str], bool],
        results: Queue[tuple[Root, object]],
        *,
        stop: _scan.StopFlag,
        patience_seconds: float = PATIENCE_SECONDS,
        os_table: object | None = None,
    ) -> None:
        self.point = point
        self._mounts = mounts
        self._examine = examine
        self._counts = counts
        self._is_apart = is_apart
        self._results = results
        self._end = _scan.StopFlag()
        self._stops = (stop, self._end)
        self._patience_seconds = patience_seconds
        self._os = os_table
        self._roots: deque[Root] = deque()
        self._visited = _scan.Visited()
        self._done: list[bytes] = []
        self._lister: _scan.Remote | None = None
        self._reader: _scan.Remote | None = None
        self._at: Directory | None = None
        self._lost_in_a_row = 0
        self._given: str | None = None
        self._abandoned = False
        self._running = False

    # ---- in the caller's thread ------------------------------------------------------------------------------------

    def add(self, root: Root) -> None:
        """Another root to read. OSError or RuntimeError: no thread could be started."""
        self._roots.append(root)
        self.go_on()

    def go_on(self) -> bool:
        """Sees to it that every root is read; False once nothing more can come. Raises like :meth:`add`."""
        if not self.busy and self._roots and not self._end.is_set():
            self._running = True
            try:
                threading.Thread(target=self._run, name="hashsieve-apart", daemon=True).start()
            except BaseException:
                self._running = False
                self._roots.pop()
                raise
        return self.busy

    @property
    def busy(self) -> bool:
        """May its thread have anything to tell still?"""
        return self._running

    def end(self) -> None:
        """No more work is taken up."""
        self._end.set()

    def abandon(self) -> None:
        """What it has to tell is not taken any more."""
        self._end.set()
        self._abandoned = True

    # ---- in the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        root = Root(self.point, self.point)
        try:
            while self._roots:
                root = self._roots.popleft()
                self._read_root(root)
        except StoppedError:
            pass
        except BaseException as problem:
            self._put(root, problem)
        finally:
            try:
                self._at = None
                for remote in (self._lister, self._reader):
                    if remote is not None:
                        let_go(self.point, remote)
            finally:
                self._lister = self._reader = None
                self._running = False
            with contextlib.suppress(Full):
                self._results.put_nowait((root, None))  # wakes whoever waits

    def _put(self, root: Root, told: object) -> None:
        while not self._abandoned:
            try:
                self._results.put((root, told), timeout=0.1)
                return
            except Full:
                continue

    def _between(self) -> None:
        if any(flag.is_set() for flag in self._stops):
            raise StoppedError("the mount is not read any more")

    # -- children --

    def _new(self) -> _scan.Remote:
        self._between()
        if self._given is None and no_answer_from(self.point):
            self._given = NO_ANSWER
        if self._given is not None:
            raise _GivenUpError(self._given)
        return connect(self._patience_seconds, self._stops, self._os)

    def _listing(self) -> _scan.Remote:
        if self._lister is None:
            self._lister = self._new()
        return self._lister

    def _reading(self) -> _scan.Remote:
        if self._reader is None:
            self._reader = self._new()
        return self._reader

    def _answered(self) -> None:
        self._lost_in_a_row = 0

    def _lose(self, remote: _scan.Remote) -> str:
        """A child is over; why. StoppedError when it was ended on purpose."""
        over = remote.over
        if remote is self._lister:
            self._lister = None
        if remote is self._reader:
            self._reader, self._at = None, None
        let_go(self.point, remote)
        if over == _scan.ENDED:
            raise StoppedError("the mount is not read any more")
        self._lost_in_a_row += 1
        why = NO_ANSWER if over == _scan.NO_ANSWER else HELPER_DIED
        if self._lost_in_a_row >= _LOST_COUNT or no_answer_from(self.point):
            self._given = why
        return why

    # -- a root --

    def _read_root(self, root: Root) -> None:
        again: deque[_File] = deque()
        try:
            if self._find(root):
                assert root.real is not None
                self._walk(root, root.real, again)
            elif root.real is not None:
                directory, _, name = root.real.rpartition(b"/")
                self._read(root, directory or b"/", [name], again, None)
        except _GivenUpError as given:
            self._leave(root, None, str(given), whole=True)
        except OSError as problem:
            self._put(root, Failed(None, _reason(problem)))
        while again:
            self._try(root, again.popleft(), again, None)

    def _leave(self, root: Root, path: bytes | None, why: str, *, whole: bool = False) -> None:
        told = Left(path, why, whole) if why == NO_ANSWER else Failed(path, f"open: {why}")
        self._put(root, told)

    def _find(self, root: Root) -> bool:
        """Finds out what a root is, which stays None where it is not read here. True: a directory to walk."""
        remote = self._listing()
        try:
            real, reason, mode = self._resolve(remote, root.path)
        except OSError as problem:
            if remote.over:
                self._leave(root, None, self._lose(remote), whole=True)
            else:
                self._put(root, Failed(None, _reason(problem)))
            return False
        if reason is not None and self._is_apart(reason):
            self._put(root, Elsewhere(real))
        elif reason is not None:
            self._put(root, Left(None, reason, whole=True))
        elif any(real == done or real.startswith(done.rstrip(b"/") + b"/") for done in self._done):
            self._put(root, Seen(root.path))
        else:
            root.real = real
            self._answered()
            return stat.S_ISDIR(mode)
        return False

    def _resolve(self, remote: _scan.Remote, path: bytes) -> tuple[bytes, str | None, int]:
        """*path* without links and ``..``, its mode, and the reason why it is not read here, with how far it was
        resolved. The mount table is asked before each step, the child takes it."""
        capsule = remote.capsule
        pending, real, mode, link_count = _steps(path), b"/", stat.S_IFDIR, 0
        home = self._mounts.of(b"/")
        while pending:
            self._between()
            part = pending.pop()
            if part == b"..":
                real = os.path.dirname(real)
                continue
            step = os.path.join(real, part)
            mount, reason = self._mounts.of(step), self._mounts.reason_at(step)
            if (
                reason is not None
                and mount is not None
                and mount is not home
                and mount.mount_point != self.point
                and not reason.startswith(PSEUDO)
            ):
                return os.path.join(step, *reversed(pending)), reason, 0
            mode = _scan.stat_root(step, os=capsule).mode
            if stat.S_ISLNK(mode):
                link_count += 1
                if link_count > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), step)
                target = remote.readlink(step)
                pending += _steps(target)
                real = b"/" if target.startswith(b"/") else real
            elif pending and not stat.S_ISDIR(mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), step)
            else:
                real = step
        mount, reason = self._mounts.of(real), self._mounts.reason_at(real)
        if reason is not None and mount is not None and mount.mount_point == self.point:
            reason = None
        elif reason is not None and self._is_apart(reason):
            reason = None  # "/" itself is such a mount
        return real, reason, mode

    # -- listing --

    def _walk(self, root: Root, top: bytes, again: deque[_File]) -> None:
        skips = dict(self._mounts.skips_below(top))
        skips.update((done, _READ_BY_ITSELF) for done in self._done if done.startswith(top.rstrip(b"/") + b"/"))
        self._done.append(top)
        pending = [top]
        while pending:
            directory = pending.pop()
            path = None if directory == top else directory
            try:
                self._walk_from(root, directory, path, skips, pending, again)
            except _GivenUpError as given:
                self._leave(root, path, str(given), whole=True)
            except OSError as problem:
                self._put(root, Failed(path, _reason(problem)))

    def _walk_from(
        self,
        root: Root,
        directory: bytes,
        path: bytes | None,
        skips: dict[bytes, str],
        pending: list[bytes],
        again: deque[_File],
    ) -> None:
        remote = self._listing()
        walker = _scan.Walker(directory, skip=skips.items(), visited=self._visited, os=remote.capsule)
        while self._given is None:
            self._between()
            batch = walker.next_batch(_BATCH_COUNT)
            names = []
            for item in batch:
                if item.event in (_scan.FILE, _scan.SPECIAL):
                    names.append(item.name)  # what it is, a stat decides
                elif item.event != _scan.ERROR or item.errno != remote.over or not remote.over:
                    self._put(root, self._told(item))
            if not remote.over:
                self._answered()
            if names:
                where = batch[0].directory.path
                for name in names:
                    if (reason := skips.get(os.path.join(where, name))) is not None:
                        self._put(root, Left(os.path.join(where, name), reason))
                self._read(root, where, [n for n in names if os.path.join(where, n) not in skips], again, pending)
            if remote.over:
                self._leave(root, path, self._lose(remote), whole=True)
                return
            if not batch:
                return
        self._leave(root, path, self._given or NO_ANSWER, whole=True)

    def _told(self, item: WalkItem) -> object:
        if item.event == _scan.SKIPPED and item.detail == _READ_BY_ITSELF:
            return Seen(item.path)
        if item.event == _scan.SKIPPED and item.detail == _scan.ALREADY_VISITED:
            # The file system gives two directories one number: which of them it is cannot be told.
            return Left(item.path, _scan.ALREADY_VISITED)
        return item

    # -- reading --

    def _read(
        self, root: Root, directory: bytes, names: list[bytes], again: deque[_File], pending: list[bytes] | None
    ) -> None:
        for name in names:
            self._try(root, _File(directory, name), again, pending)

    def _try(self, root: Root, file: _File, again: deque[_File], pending: list[bytes] | None) -> None:
        """Has a file examined, once."""
        self._between()
        if self._given is not None:
            self._leave(root, file.path, self._given)
            return
        try:
            remote = self._reading()
        except _GivenUpError as given:
            self._leave(root, file.path, str(given))
            return
        except OSError as problem:
            self._put(root, Failed(file.path, _reason(problem)))
            return

        def directory() -> Directory:
            if self._at is None or self._at.path != file.directory:
                self._at = None
                self._at = remote.open_directory(file.directory)
            return self._at

        try:
            result = self._examine(directory, file.name, self._between)
        except StoppedError:
            self._between()
            raise
        if remote.over and (result is None or not self._counts(result)):
            why = self._lose(remote)
            if file.again or self._given is not None:
                self._leave(root, file.path, why)
            else:
                file.again = True
                again.append(file)
            return
        if remote.over:
            self._put(root, Examined(file.path, result))
            self._lose(remote)
            return
        self._answered()
        if result is not None:
            self._put(root, Examined(file.path, result))
        elif pending is not None:
            pending.append(file.path)
        else:
            self._walk_late(root, file.path, again)

    def _walk_late(self, root: Root, path: bytes, again: deque[_File]) -> None:
        """A name that was tried again at the end turned out to be a directory."""
        pending = [path]
        skips = dict(self._mounts.skips_below(path))
        while pending:
            directory = pending.pop()
            try:
                self._walk_from(root, directory, directory, skips, pending, again)
            except _GivenUpError as given:
                self._leave(root, directory, str(given), whole=True)
            except OSError as problem:
                self._put(root, Failed(directory, _reason(problem)))


def finish(mounts: list[Apart[T]], results: Queue[tuple[Root, object]]) -> Iterator[tuple[Root, object]]:
    """Ends all of them, waits a moment for all together, and gives what they had to tell still."""
    for each in mounts:
        each.end()
    until = time.monotonic() + END_SECONDS
    while any(each.busy for each in mounts) and time.monotonic() < until:
        try:
            yield results.get(timeout=0.01)
        except Empty:
            continue
    for each in mounts:
        each.abandon()
    while True:
        try:
            yield results.get_nowait()
        except Empty:
            return


def _steps(path: bytes) -> list[bytes]:
    """The names of a path, the last one first."""
    return [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]


def _reason(problem: OSError) -> str:
    number = problem.errno or 0
    operation = "open"
    for note in getattr(problem, "__notes__", ()):
        if note == "operation: fork":
            operation = "fork"
    return f"{operation}: {errno.errorcode.get(number, number)} {problem.strerror or problem}"
