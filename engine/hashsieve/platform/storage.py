"""The few calls by which small state is made durable, in one object, so that tests can make each of them fail.

Written files stay in place and are overwritten there; what must be durable is synced before the call returns. Names are
never followed through links, and everything is created for its owner only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import stat
import threading

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["FULL_ERRORS", "FileLock", "LockHeldError", "SideSync", "Storage"]

# No more room, by disk, by quota or by a limit on the size of files.
FULL_ERRORS = frozenset(filter(None, (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", None))))

_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class LockHeldError(Exception):
    """Another open handle holds the lock."""


class Storage:
    """Plain system calls. Every method raises OSError as the system has it."""

    def open(self, path: str, *, write: bool = False, create: bool = False) -> int:
        """Opens a regular file; with *create* a new one that must not exist yet, mode 0600."""
        flags = (os.O_RDWR if write else os.O_RDONLY) | _FLAGS | getattr(os, "O_NONBLOCK", 0)
        if create:
            flags |= os.O_CREAT | os.O_EXCL
        fd = os.open(path, flags, 0o600)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file", path)
        return fd

    def read(self, fd: int, size: int, offset: int) -> bytes:
        """Up to *size* bytes at *offset*; fewer only at the end of the file."""
        parts = []
        while size:
            part = _pread(fd, size, offset)
            if not part:
                break
            parts.append(part)
            size -= len(part)
            offset += len(part)
        return b"".join(parts)

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """All of *data* at *offset*."""
        view = memoryview(data)
        while view:
            written = _pwrite(fd, view, offset)
            view = view[written:]
            offset += written

    def sync(self, fd: int) -> None:
        """Content and length are on the medium when this returns."""
        if fcntl is not None and hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync stops at the drive's own cache
            with contextlib.suppress(OSError):
                fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
                return
        getattr(os, "fdatasync", os.fsync)(fd)

    def sync_directory(self, path: str) -> None:
        """Names made or removed in the directory are on the medium when this returns."""
        if os.name != "posix":
            return
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def truncate(self, fd: int, size: int) -> None:
        """Cuts the file to *size* bytes."""
        os.ftruncate(fd, size)

    def unlink(self, path: str) -> None:
        """Removes a name."""
        os.unlink(path)

    def replace(self, path: str, data: bytes) -> None:
        """Makes *data* the content of *path*: written beside it, synced, renamed over it, directory synced."""
        temporary = f"{path}.new"
        with contextlib.suppress(FileNotFoundError):
            self.unlink(temporary)
        fd = self.open(temporary, write=True, create=True)
        try:
            self.write(fd, data, 0)
            self.sync(fd)
        except BaseException:
            with contextlib.suppress(OSError):
                self.unlink(temporary)
            raise
        finally:
            os.close(fd)
        os.replace(temporary, path)
        self.sync_directory(os.path.dirname(path) or ".")

    def lock(self, path: str) -> FileLock:
        """The kernel's lock on *path*, or :class:`LockHeldError`."""
        return FileLock(path)


class SideSync:
    """Syncs a second file while the caller syncs the first: together they cost about one flush of the disk.

    Its thread starts with the first use, sleeps between uses, and ends with :meth:`close` or with the process.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._asked: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[int, BaseException | None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._turn = 0

    def start(self, fd: int) -> None:
        """Begins to sync *fd*; :meth:`wait` must follow."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hashsieve-journal-sync", daemon=True)
            self._thread.start()
        self._turn += 1
        self._asked.put((self._turn, fd))

    def wait(self) -> None:
        """Until that sync is done; raises what it raised."""
        while True:
            turn, problem = self._answers.get()
            if turn != self._turn:  # of a call that was interrupted before it waited
                continue
            if problem is not None:
                raise problem
            return

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            turn, fd = asked
            try:
                self._storage.sync(fd)
            except BaseException as problem:
                self._answers.put((turn, problem))
            else:
                self._answers.put((turn, None))

    def close(self) -> None:
        """Ends the thread."""
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join()
            self._thread = None


def _pread(fd: int, size: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, min(size, 1 << 24), offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, min(size, 1 << 24))


def _pwrite(fd: int, data: memoryview, offset: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(fd, data, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.write(fd, data)


class FileLock:
    """An exclusive lock that the kernel holds on an open handle and drops when its process ends, however it ends.

    The file's existence, age, owner and content say nothing; a process number is written into it as a hint for people.
    """

    def __init__(self, path: str) -> None:
        flags = _FLAGS | getattr(os, "O_NONBLOCK", 0)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
            writable = True
        except PermissionError:
            self._fd = os.open(path, os.O_RDONLY | flags)
            writable = False
        try:
            self._take()
        except OSError as problem:
            os.close(self._fd)
            if problem.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise LockHeldError(path) from None
            raise
        if writable:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
                os.write(self._fd, f"{os.getpid()}\n".encode())

    def _take(self) -> None:
        if fcntl is not None:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            os.lseek(self._fd, 1 << 30, os.SEEK_SET)  # a byte nobody reads or writes
            msvcrt.locking(self._fd, msvcrt.LK_NBLCK, 1)

    def release(self) -> None:
        """Gives the lock back; further calls do nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
