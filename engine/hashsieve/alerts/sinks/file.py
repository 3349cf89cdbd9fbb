"""A file that grows by one line for each alert, durable before it counts as delivered; or standard output."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Sequence

from ...errors import UsageError, shown
from ..formats import Format
from . import Answer, Delivery, Verdict

__all__ = ["FileSink", "StdoutSink"]


class FileSink:
    """Appends to *path*, made for its owner only where it is new; links are not followed."""

    def __init__(self, name: str, path: str, format: Format, *, batch_count: int = 100) -> None:
        if not path:
            raise UsageError("a file sink needs a path")
        self.name = name
        self.batch_count = batch_count
        self._path = path
        self._format = format

    def send(self, batch: Sequence[Delivery]) -> Answer:
        """Writes and syncs; what was written of a failed batch is taken back."""
        data = b"".join(self._format.line(each) for each in batch)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_BINARY"):
            flags |= getattr(os, name, 0)
        try:
            fd = os.open(self._path, flags, 0o600)
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    return Answer(Verdict.STOP, f"{shown(self._path)}: is not a regular file")
                before = os.fstat(fd).st_size
                try:
                    view = memoryview(data)
                    while view:
                        view = view[os.write(fd, view) :]
                    os.fsync(fd)
                except OSError:
                    with contextlib.suppress(OSError):
                        os.ftruncate(fd, before)
                    raise
            finally:
                os.close(fd)
        except OSError as problem:
            return Answer(Verdict.RETRY, f"{shown(self._path)}: {problem.strerror or problem}")
        return Answer(Verdict.DONE, "", frozenset(each.id for each in batch))

    def close(self) -> None:
        """Nothing is kept open."""


class StdoutSink:
    """One line for each alert on standard output; delivered once it is flushed."""

    def __init__(self, name: str, format: Format, *, batch_count: int = 100) -> None:
        self.name = name
        self.batch_count = batch_count
        self._format = format

    def send(self, batch: Sequence[Delivery]) -> Answer:
        """Writes and flushes."""
        try:
            stream = sys.stdout.buffer
            stream.write(b"".join(self._format.line(each) for each in batch))
            stream.flush()
        except (OSError, ValueError, AttributeError) as problem:
            return Answer(Verdict.RETRY, f"standard output: {problem}")
        return Answer(Verdict.DONE, "", frozenset(each.id for each in batch))

    def close(self) -> None:
        """Standard output stays open."""
