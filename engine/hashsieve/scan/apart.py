"""Mounts that may never answer, read apart: one thread lists, one reads, and neither is waited for.

Behind a FUSE or network mount stands another program or machine. A call into it can take any time, and the thread that
made it cannot be called back. So each such mount has two helper threads of its own: a lister that walks, and a reader
with one lane that examines file by file. A helper whose call has not come back within the patience is abandoned: it
keeps what it holds, nobody waits for it, and another takes its place. The file it was at is tried once more at the end;
what does not answer then is ``not_examined: no-answer``. A result that comes after all is still taken while the mount
is being read.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

from .. import _scan
from .._scan import Directory, WalkItem
from ..errors import StoppedError

__all__ = ["Apart", "ApartFile", "Unanswered"]

PATIENCE_SECONDS = 10.0
_LISTED_AHEAD_COUNT = 1024  # names; with at most that many directory handles
_BATCH_COUNT = 256
_TICK_SECONDS = 0.05
_READERS_LOST_COUNT = 3  # in a row, nothing read between them: the mount counts as dead

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class ApartFile:
    """A file on such a mount: its path, and the directory handle that leads to it (None: by path)."""

    path: bytes
    name: bytes
    directory: Directory | None
    done: bool = False
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No answer came about this path. *whole*: what lies below it was not listed, or not to the end."""

    path: bytes
    whole: bool


class _Helper:
    """A thread that may be lost. ``since``: when the call that it is in began, None while it is in none."""

    def __init__(self, work: Callable[[_Helper], None], name: str) -> None:
        self.since: float | None = None
        self.file: ApartFile | None = None
        self.abandoned = False
        self.ended = False
        self.problem: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work(self)
        except BaseException as problem:
            self.problem = problem
        finally:
            self.since = None
            self.ended = True

    def beat(self) -> None:
        """A call has come back, and the next one begins."""
        self.since = time.monotonic()

    def leave(self) -> None:
        """Waits a moment for a thread that is in no long call, so that it is usually gone."""
        if not self.abandoned:
            self._thread.join(_TICK_SECONDS * 4)

    def overdue(self, patience_seconds: float) -> bool:
        """Has the call that the thread is in taken too long?"""
        since = self.since
        return since is not None and time.monotonic() - since > patience_seconds


class Apart(Generic[T]):
    """Reads what lies at *path*, on a mount that may never answer.

    *find* resolves the path and says what is there: a Walker for a directory, the real path for a file; it runs in the
    lister. *examine* examines one file in a reader; it is handed a function to call between system calls. Iterating
    :meth:`outcomes` gives WalkItems, ``(ApartFile, T)`` pairs, Unanswered and, now and then, None, so that the caller
    can look at other things. :meth:`end` lets go at once; threads inside a call stay behind and end when it returns.
    """

    def __init__(
        self,
        path: bytes,
        find: Callable[[bytes], _scan.Walker | bytes],
        examine: Callable[[ApartFile, Callable[[], None]], T],
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.path = path
        self._find = find
        self._examine = examine
        self._patience_seconds = patience_seconds
        self._listed: Queue[ApartFile] = Queue(_LISTED_AHEAD_COUNT)
        self._results: Queue[WalkItem | tuple[ApartFile, T]] = Queue(_LISTED_AHEAD_COUNT)
        self._again: deque[ApartFile] = deque()
        self._unanswered: list[ApartFile] = []
        self._lost_in_a_row = 0
        self._over = threading.Event()

    def end(self) -> None:
        """No more work is taken up."""
        self._over.set()

    # ---- in the helpers --------------------------------------------------------------------------------------------

    def _put(self, queue: Queue[ApartFile] | Queue[WalkItem | tuple[ApartFile, T]], what: object, me: _Helper) -> None:
        me.since = None
        while not self._over.is_set():
            try:
                queue.put(what, timeout=0.1)  # type: ignore[arg-type]
                break
            except Full:
                continue
        me.beat()

    def _list(self, me: _Helper) -> None:
        me.beat()
        walker = self._find(self.path)
        if isinstance(walker, bytes):
            self._put(self._listed, ApartFile(walker, walker, None), me)
            return
        while not self._over.is_set():
            me.beat()
            batch = walker.next_batch(_BATCH_COUNT)
            if not batch:
                return
            kept = False
            for item in batch:
                if item.event != _scan.FILE:
                    self._put(self._results, item, me)
                    continue
                if not kept:
                    me.beat()
                    item.directory.keep()  # so that a reader needs nothing of the walk, which may be stuck by then
                    kept = True
                self._put(self._listed, ApartFile(item.path, item.name, item.directory), me)

    def _next(self) -> ApartFile | None:
        """The next file: as listed, then those that are tried again. None: there is none now."""
        try:
            return self._listed.get(timeout=_TICK_SECONDS)
        except Empty:
            if self._listing:
                return None
        try:
            return self._again.popleft()
        except IndexError:
            return None

    def _read(self, me: _Helper) -> None:
        def between() -> None:
            if self._over.is_set():
                raise StoppedError("the mount is not read any more")
            me.beat()

        while not (self._over.is_set() or me.abandoned):
            file = self._next()
            if file is None:
                if self._listing:
                    continue
                return
            if file.done:
                continue
            file.attempts += 1
            me.file = file
            me.beat()
            result = self._examine(file, between)
            me.file = None
            self._put(self._results, (file, result), me)
            me.since = None

    # ---- in the caller's thread ------------------------------------------------------------------------------------

    @property
    def _listing(self) -> bool:
        return not (self._lister.ended or self._lister.abandoned)

    def outcomes(self) -> Generator[WalkItem | tuple[ApartFile, T] | Unanswered | None, None, None]:
        """What came of everything there. An exception of *find* is raised here."""
        whole = True
        self._lister = _Helper(self._list, "hashsieve-lister")
        reader = _Helper(self._read, "hashsieve-apart")
        try:
            while True:
                yield from self._take()
                if (
                    not self._lister.ended
                    and not self._lister.abandoned
                    and self._lister.overdue(self._patience_seconds)
                ):
                    self._lister.abandoned = True
                    whole = False
                if reader.overdue(self._patience_seconds):
                    self._lose(reader)
                    if self._lost_in_a_row >= _READERS_LOST_COUNT:
                        whole = False
                        break
                    reader = _Helper(self._read, "hashsieve-apart")
                if reader.ended:
                    if reader.problem is not None:
                        raise reader.problem
                    if not self._listing and self._listed.empty() and not self._again and self._results.empty():
                        break
                    reader = _Helper(self._read, "hashsieve-apart")
                yield None
            yield from self._take()
            if self._lister.problem is not None:
                raise self._lister.problem
        finally:
            self.end()
            for helper in (self._lister, reader):
                helper.leave()
        for file in (*self._unanswered, *self._again, *self._left()):
            if not file.done:
                file.done = True
                yield Unanswered(file.path, whole=False)
        if not whole:
            yield Unanswered(self.path, whole=True)

    def _left(self) -> Iterator[ApartFile]:
        while True:
            try:
                yield self._listed.get_nowait()
            except Empty:
                return

    def _lose(self, reader: _Helper) -> None:
        """A reader is stuck: its file is queued again, once."""
        reader.abandoned = True
        self._lost_in_a_row += 1
        file = reader.file
        if file is not None and not file.done:
            (self._again if file.attempts < 2 else self._unanswered).append(file)

    def _take(self) -> Iterator[WalkItem | tuple[ApartFile, T]]:
        """What has come, at least for one tick."""
        wait = _TICK_SECONDS
        while True:
            try:
                result = self._results.get(timeout=wait) if wait else self._results.get_nowait()
            except Empty:
                return
            wait = 0.0
            if isinstance(result, tuple):
                self._lost_in_a_row = 0
                if result[0].done:
                    continue  # both tries have answered: the first one counts
                result[0].done = True
            yield result
