"""A set file that is replaced now and then: a handle whose ``current`` is the newest good generation.

Whoever takes ``current`` holds one generation for as long as it keeps the reference; a replaced one frees its memory
and its file when the last holder lets go. A replacement becomes current only after it was opened, verified and found
not to be older; else the old one stays and one HealthEvent says why.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..errors import HashsieveError, Path, SetError, SetRollbackError, UsageError, shown
from ..model import HealthEvent
from .hashset import HashSet
from .install import install, open_installed
from .seal import options_with_keys

__all__ = ["FollowedSet", "follow"]

_Seen = tuple[int, int, int, int, int] | None


class FollowedSet:
    """The newest good generation of the set at a path; made by :func:`follow`.

    Threads: any. One of them looks for a replacement at a time, the others go on with the old generation meanwhile.
    """

    def __init__(
        self,
        path: Path,
        *,
        state_dir: Path | None = None,
        name: str | None = None,
        poll_seconds: float = 1.0,
        verify: bool = True,
        on_event: Callable[[HealthEvent], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        **open_options: Any,
    ) -> None:
        if poll_seconds < 0:
            raise UsageError(f"poll_seconds is a number of at least 0, not {poll_seconds}")
        self.path: str = os.path.abspath(os.fsdecode(path))
        self._state_dir = None if state_dir is None else os.path.abspath(os.fsdecode(state_dir))
        self._name = name
        self._poll_seconds = poll_seconds
        self._verify = verify
        self._on_event = on_event
        self._clock = clock
        self._options = options_with_keys(open_options)
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._told: set[str] = set()
        self._seen: _Seen = self._look()
        self._current: HashSet | None
        try:
            self._current = self._open(None)
        except HashsieveError as problem:
            if self._state_dir is None or name is None:
                raise
            # What was installed before is better than nothing, and the next replacement is looked at again.
            try:
                self._current = open_installed(self._state_dir, name, **self._options)
            except SetError:
                raise problem from None
            self._tell("set-refused", f"{problem}; generation {self._current.generation} stays in use")
        self._asked = clock()

    @property
    def current(self) -> HashSet:
        """The newest good generation, looked for at most every *poll_seconds*. Not to be closed by its users."""
        current = self._current
        if current is None:
            raise SetError(f"{shown(self.path)}: is no longer followed")
        if self._clock() - self._asked < self._poll_seconds:
            return current
        self.refresh(wait=False)
        return self._current or current

    def refresh(self, *, wait: bool = True) -> bool:
        """Looks for a replacement now; True when ``current`` is another one than before. Nothing it finds is raised.

        Without *wait* nothing is done while another thread looks.
        """
        if os.getpid() != self._pid:
            # In a forked child another thread's lock would be held for ever.
            self._pid, self._lock = os.getpid(), threading.Lock()
        if not self._lock.acquire(blocking=wait):
            return False
        try:
            self._asked = self._clock()
            old = self._current
            seen = self._look()
            if old is None or seen == self._seen:
                return False
            # What was seen before the open: a file that comes after it is then new to the next look.
            self._seen = seen
            if seen is None:
                self._tell("set-gone", f"{shown(self.path)}: is no longer there")
                return False
            try:
                new = self._open(old)
            except (HashsieveError, OSError, MemoryError) as problem:
                self._tell("set-refused", f"{problem}; generation {old.generation} stays in use")
                return False
            if self._current is None:  # closed meanwhile
                return False
            self._current = new
            self._told.clear()
            return True
        finally:
            self._lock.release()

    def _look(self) -> _Seen:
        try:
            facts = os.stat(self.path)
        except (OSError, ValueError):
            return None
        return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns

    def _open(self, old: HashSet | None) -> HashSet:
        options = dict(self._options)
        if old is not None and options.get("load") is not None:
            # What is asked of this generation will be asked of the next one too.
            options["load"] = {*options["load"], *(kind for kind in old.kinds if old.loaded(kind))}
        if self._state_dir is not None:
            return install(self.path, self._state_dir, name=self._name, **options)
        new = HashSet.open(self.path, **options)
        try:
            if old is not None and new.generation < old.generation:
                raise SetRollbackError(
                    f"{shown(self.path)}: is generation {new.generation}, older than {old.generation}"
                )
            if self._verify:
                new.verify()
        except BaseException:
            new.close()
            raise
        return new

    def _tell(self, kind: str, text: str) -> None:
        """Once, until something good comes: a file that is written slowly is refused at every look."""
        if text in self._told:
            return
        self._told.add(text)
        if self._on_event is not None:
            self._on_event(HealthEvent(kind, text))

    def close(self) -> None:
        """Follows no longer. Whoever holds a generation keeps it; nobody gets one any more."""
        self._current = None

    def __enter__(self) -> FollowedSet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def follow(
    path: Path,
    *,
    state_dir: Path | None = None,
    name: str | None = None,
    poll_seconds: float = 1.0,
    verify: bool = True,
    on_event: Callable[[HealthEvent], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    **open_options: Any,
) -> FollowedSet:
    """Opens the set at *path* and keeps up with its replacements: ``known.current`` is the newest good generation.

    Looks at the path when ``current`` is asked for, at most every *poll_seconds* by *clock*, or on
    :meth:`FollowedSet.refresh`. A replacement is verified wholly first (without *verify*: header, page list and
    filters), and refused when it is damaged, cannot be opened with *open_options* (those of :meth:`HashSet.open`), or
    is of a lower generation; the old one then stays and *on_event* receives one HealthEvent.

    With *state_dir* a private copy is made of every generation and only that is opened
    (:func:`hashsieve.hashset.install.install`); with *name* too, the copy of an earlier run serves where *path* cannot.

    Raises what :meth:`HashSet.open` raises when there is no good set at the start.
    """
    return FollowedSet(
        path, state_dir=state_dir, name=name, poll_seconds=poll_seconds, verify=verify, on_event=on_event, clock=clock,
        **open_options,
    )  # fmt: skip
