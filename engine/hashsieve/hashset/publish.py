"""Publishing a file: the live name always holds the old or the new complete content, never a part.

The new content is written to a temporary file in the same directory, flushed to the disk, renamed over the live name,
and the directory is flushed. A killed writer leaves its temporary file behind; the next one removes it, after asking
the kernel lock that a living writer holds on it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO

from ..errors import OutputError, Path, shown

try:
    import fcntl
except ImportError:  # Windows: an open temporary file cannot be removed there, so no lock is needed.
    fcntl = None  # type: ignore[assignment]

__all__ = ["AtomicFile", "nameless_file"]

_SUFFIX = ".hashsieve-tmp"
_NAME_CHARS = 40  # of the live name in that of the temporary file: with 4 bytes each still below every limit on names


def nameless_file(directory: str) -> int:
    """A new temporary file without a name in *directory*: nothing of it is left when the process ends, however it
    ends."""
    flags = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    if hasattr(os, "O_TMPFILE"):
        try:
            return os.open(directory, flags | os.O_TMPFILE, 0o600)
        except OSError as problem:
            if problem.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS):
                raise
    # Windows forgets a file with O_TEMPORARY when it is closed; elsewhere the name goes at once.
    flags |= os.O_CREAT | os.O_EXCL | getattr(os, "O_TEMPORARY", 0)
    name = os.path.join(directory, f".{secrets.token_hex(8)}{_SUFFIX}")
    fd = os.open(name, flags, 0o600)
    if not hasattr(os, "O_TEMPORARY"):
        os.unlink(name)
    return fd


class AtomicFile:
    """Context manager around a binary file that replaces *path* when :meth:`publish` is called, or leaves no trace.

    Every failure of the file system is an :class:`OutputError` that names the path.
    """

    def __init__(self, path: Path) -> None:
        self.path = os.fsdecode(path)
        self.file: BinaryIO
        self._directory = os.path.dirname(self.path) or "."
        self._temporary: str | None = None
        self._published = False

    def __enter__(self) -> AtomicFile:
        with self.problems():
            if "\0" in self.path:
                raise OutputError(f"{shown(self.path)}: a path cannot hold a NUL character")
            name = os.path.basename(self.path)
            if not name:
                raise OutputError(f"{shown(self.path)}: is a directory; name a file")
            mode = self._mode_of_old()
            self._remove_leftovers(name)
            try:
                while not self._create(name, mode):
                    pass
            except BaseException:
                self._drop()
                raise
        return self

    def _create(self, name: str, mode: int) -> bool:
        """A new locked temporary file; False when another writer took it for a leftover before it was locked."""
        temporary = os.path.join(self._directory, f".{name[:_NAME_CHARS]}.{secrets.token_hex(8)}{_SUFFIX}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        fd = os.open(temporary, flags, 0o600)
        self.file = open(fd, "w+b", buffering=0)  # noqa: SIM115 -- closed by _drop
        self._temporary = temporary
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks: leftovers then stay
                fcntl.flock(fd, fcntl.LOCK_EX)
            if not os.fstat(fd).st_nlink:
                self._drop()
                return False
            os.fchmod(fd, mode)
        return True

    def _mode_of_old(self) -> int:
        try:
            old = os.lstat(self.path)
        except FileNotFoundError:
            return 0o600  # lists are secret: whoever is to read the set is given it on purpose
        if not stat.S_ISREG(old.st_mode):
            raise OutputError(f"{shown(self.path)}: exists and is not a regular file; name another output")
        return stat.S_IMODE(old.st_mode)

    def _remove_leftovers(self, name: str) -> None:
        for entry in os.listdir(self._directory):
            if not (entry.startswith(f".{name[:_NAME_CHARS]}.") and entry.endswith(_SUFFIX)):
                continue
            leftover = os.path.join(self._directory, entry)
            with contextlib.suppress(OSError):
                if fcntl is not None:
                    fd = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                    try:
                        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        os.unlink(leftover)
                    finally:
                        os.close(fd)
                else:
                    os.unlink(leftover)

    def publish(self) -> None:
        """Makes the written content the content of *path*, durably."""
        with self.problems():
            assert self._temporary is not None
            self.file.flush()
            os.fsync(self.file.fileno())
            os.replace(self._temporary, self.path)
            self._temporary, self._published = None, True
            if os.name == "posix":
                directory = os.open(self._directory, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(directory)
                finally:
                    os.close(directory)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()

    def _drop(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self.file.close()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)
            self._temporary = None

    @contextlib.contextmanager
    def problems(self) -> Iterator[None]:
        """Turns an OSError inside the block into an OutputError for this path."""
        try:
            yield
        except OSError as problem:
            text = f"{shown(self.path)}: cannot be written: {problem.strerror or problem}"
            if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                text += "; free space or choose another place"
            if self._published:
                text += "; the new file is in place, but may be lost in a power cut"
            else:
                text += "; nothing was published"
            raise OutputError(text) from problem
