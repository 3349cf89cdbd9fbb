"""What could not be kept in a full journal: how many matches, and which paths must be scanned again.

One file of fixed size, made in advance and overwritten in place, so that it needs no space when there is none. Page 0
holds the counts, the rest one path a line; when that is used up, ``overflow`` says that everything must be scanned
again.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
from dataclasses import dataclass, replace
from typing import Any

from ..platform.storage import Storage
from .lines import PAGE_BYTES

__all__ = ["MustRescan", "RescanFile"]

FILE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class MustRescan:
    """``count`` matches since ``first`` are in no journal; ``overflow``: ``paths`` are not all of them."""

    count: int = 0
    first: str | None = None
    last: str | None = None
    overflow: bool = False
    paths: tuple[bytes, ...] = ()


class RescanFile:
    """The file ``rescan`` of a journal directory. Where it cannot be written, the facts are kept in memory."""

    def __init__(self, directory: str, *, storage: Storage | None = None) -> None:
        self._path = os.path.join(directory, "rescan")
        self._storage = storage or Storage()
        self._mutex = threading.Lock()
        self._fd = -1
        self._end = PAGE_BYTES
        self._told = 0
        self.now = MustRescan()

    @property
    def untold(self) -> int:
        """Matches of which no record in the journal gives the count yet."""
        return self.now.count - self._told

    def mark_told(self) -> None:
        """A record gives the count now."""
        with self._mutex:
            self._told = self.now.count
            if self._fd >= 0:
                with contextlib.suppress(OSError):
                    self._write_counts()

    def open(self) -> bool:
        """Makes or reads the file; False where what it held cannot be read, which counts as ``overflow``."""
        with self._mutex:
            try:
                self._fd = self._storage.open(self._path, write=True)
            except FileNotFoundError:
                return self._make()
            except OSError:
                return True
            data = self._storage.read(self._fd, FILE_BYTES, 0)
            if len(data) < FILE_BYTES:
                with contextlib.suppress(OSError):
                    self._storage.write(self._fd, b"\n" * (FILE_BYTES - len(data)), len(data))
            return self._load(data)

    def _make(self) -> bool:
        with contextlib.suppress(OSError):
            self._fd = self._storage.open(self._path, write=True, create=True)
            self._storage.write(self._fd, b"\n" * FILE_BYTES, 0)
            self._storage.sync(self._fd)
        return True

    def _load(self, data: bytes) -> bool:
        page, rest = data[:PAGE_BYTES], data[PAGE_BYTES:]
        if not page.strip(b"\n") and not rest.strip(b"\n"):
            return True
        try:
            found = json.loads(page)
            paths = []
            for line in rest[: int(found["bytes"])].split(b"\n"):
                if line:
                    paths.append(base64.b64decode(json.loads(line)["path_b64"], validate=True))
            self.now = MustRescan(
                int(found["count"]), found["first"], found["last"], bool(found["overflow"]), tuple(paths)
            )
            self._end = PAGE_BYTES + int(found["bytes"])
            self._told = int(found["told"])
        except (ValueError, KeyError, TypeError):
            self.now = MustRescan(max(1, self.now.count), overflow=True)
            self._end = FILE_BYTES
            return False
        return True

    def add(self, path: bytes, time: str) -> None:
        """Remembers one match."""
        with self._mutex:
            now = self.now
            line = json.dumps({"path_b64": base64.b64encode(path).decode("ascii")}).encode("ascii") + b"\n"
            fits = self._end + len(line) <= FILE_BYTES and not now.overflow
            known = path in now.paths
            self.now = replace(
                now, count=now.count + 1, first=now.first or time, last=time, overflow=now.overflow or not fits,
                paths=(*now.paths, path) if fits and not known else now.paths,
            )  # fmt: skip
            if self._fd < 0:
                return
            with contextlib.suppress(OSError):
                if fits and not known:
                    self._storage.write(self._fd, line, self._end)
                    self._end += len(line)
                self._write_counts()

    def _write_counts(self) -> None:
        facts: dict[str, Any] = {
            "count": self.now.count, "first": self.now.first, "last": self.now.last, "overflow": self.now.overflow,
            "bytes": self._end - PAGE_BYTES, "told": self._told,
        }  # fmt: skip
        page = json.dumps(facts, separators=(",", ":")).encode("ascii").ljust(PAGE_BYTES - 1) + b"\n"
        self._storage.write(self._fd, page, 0)
        self._storage.sync(self._fd)

    def clear(self) -> None:
        """The paths were scanned again."""
        with self._mutex:
            self.now = MustRescan()
            self._end = PAGE_BYTES
            self._told = 0
            if self._fd >= 0:
                with contextlib.suppress(OSError):
                    self._storage.write(self._fd, b"\n" * FILE_BYTES, 0)
                    self._storage.sync(self._fd)

    def close(self) -> None:
        """Closes the file."""
        with self._mutex:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
