"""A folder for unfinished work beside a file that is to be published: gone afterwards, whatever happens.

It lies in the directory of the output, so that there is room for it wherever there is room for the result, and so that
what is in it never leaves the file system the result is protected by. A killed process leaves it behind; the next work
for the same output removes it, after asking the kernel lock that a living process holds on it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from types import TracebackType

from ..errors import OutputError, Path, shown

try:
    import fcntl
except ImportError:  # Windows: without the lock nobody can tell a leftover from the work of another process.
    fcntl = None  # type: ignore[assignment]

__all__ = ["ScratchFolder"]

_SUFFIX = ".hashsieve-tmp"
_NAME_CHARS = 40


class ScratchFolder:
    """Context manager around a hidden folder beside *output*, for its owner only; :meth:`path` names files in it."""

    def __init__(self, output: Path) -> None:
        self._output = os.fsdecode(output)
        self._directory = os.path.dirname(self._output) or "."
        self._folder: str | None = None
        self._fd = -1

    def __enter__(self) -> ScratchFolder:
        if "\0" in self._output:
            raise OutputError(f"{shown(self._output)}: a path cannot hold a NUL character")
        name = os.path.basename(self._output)
        if not name:
            raise OutputError(f"{shown(self._output)}: is a directory; name a file")
        prefix = f".{name[:_NAME_CHARS]}."
        try:
            if not self._may_replace():  # better said now than when hours of work are done
                raise OutputError(f"{shown(self._output)}: exists and is not a regular file; name another output")
            self._remove_leftovers(prefix)
            while not self._create(prefix):
                pass
        except BaseException as problem:
            self._drop()
            if not isinstance(problem, OSError):
                raise
            raise OutputError(
                f"{shown(self._output)}: cannot be written: {problem.strerror or problem}; nothing was published"
            ) from problem
        return self

    def _may_replace(self) -> bool:
        try:
            return stat.S_ISREG(os.lstat(self._output).st_mode)
        except FileNotFoundError:
            return True

    def _create(self, prefix: str) -> bool:
        """A new locked folder; False when another process took it for a leftover before it was locked."""
        folder = os.path.join(self._directory, f"{prefix}{secrets.token_hex(8)}{_SUFFIX}")
        os.mkdir(folder, 0o700)
        self._folder = folder
        if fcntl is None:
            return True
        try:
            self._fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            with contextlib.suppress(OSError):  # a file system without locks: leftovers then stay
                fcntl.flock(self._fd, fcntl.LOCK_EX)
            os.stat(folder)
        except FileNotFoundError:
            self._drop()
            return False
        return True

    def _remove_leftovers(self, prefix: str) -> None:
        if fcntl is None:
            return
        for entry in os.listdir(self._directory):
            if not (entry.startswith(prefix) and entry.endswith(_SUFFIX)):
                continue
            leftover = os.path.join(self._directory, entry)
            with contextlib.suppress(OSError):
                fd = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(leftover)
                finally:
                    os.close(fd)

    def path(self, name: str) -> str:
        """Where a file of this name would lie in the folder."""
        assert self._folder is not None
        return os.path.join(self._folder, name)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()

    def _drop(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
