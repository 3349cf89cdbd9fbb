"""Matches, a machine and a disk made up for the tests of alerts."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

from hashsieve.alerts.environment import Environment
from hashsieve.alerts.journal import JournalReader
from hashsieve.model import Entry, FileIdentity, Listing, Match, Role
from hashsieve.platform.storage import Storage

KEY = bytes(range(32))
NOON_NS = 1_780_000_000 * 1_000_000_000  # a Thursday


class Machine(Environment):
    """A machine whose clocks move only when they are told to."""

    def __init__(self, wall_ns: int = NOON_NS) -> None:
        super().__init__()
        self.wall = wall_ns
        self.monotonic = 5_000_000_000
        self.draws: list[float] = []

    def wall_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.monotonic

    def pass_seconds(self, seconds: float) -> None:
        self.wall += int(seconds * 1e9)
        self.monotonic += int(seconds * 1e9)

    def offset_minutes(self, wall_ns: int) -> int:
        return 120

    def boot_id(self) -> str | None:
        return "0d9bd1b7-boot"

    def host(self) -> dict[str, Any]:
        return {"name": "laptop-7", "system": "Linux", "release": "6", "machine": "x86_64"}

    def users(self) -> list[str]:
        return ["ada"]

    def network(self) -> dict[str, Any]:
        return {"state": "offline", "company": "off"}

    def power(self) -> dict[str, Any]:
        return {"source": "battery", "percent": 3}


class Disk(Storage):
    """A disk on which calls can be made to fail: ``rule(call, path or fd, size)`` gives an errno, or None."""

    def __init__(self) -> None:
        self.rule: Any = None
        self.free_bytes: int | None = None

    def _ask(self, call: str, what: Any = None, size: int = 0) -> None:
        number = self.rule(call, what, size) if self.rule is not None else None
        if number:
            raise OSError(number, os.strerror(number))

    def _grow(self, fd: int, end: int) -> None:
        if self.free_bytes is None:
            return
        growth = max(0, end - os.fstat(fd).st_size)
        if growth > self.free_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.free_bytes -= growth

    def open(self, path: str, *, write: bool = False, create: bool = False) -> int:
        self._ask("create" if create else "open", path)
        return super().open(path, write=write, create=create)

    def write(self, fd: int, data: bytes, offset: int) -> None:
        self._ask("write", fd, len(data))
        self._grow(fd, offset + len(data))
        super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        self._ask("sync", fd)  # and no real one: what is tested here is the order of things, not the disk

    def sync_directory(self, path: str) -> None:
        self._ask("sync_directory", path)

    def truncate(self, fd: int, size: int) -> None:
        self._ask("truncate", fd, size)
        if self.free_bytes is not None:
            self.free_bytes += max(0, os.fstat(fd).st_size - size)
        super().truncate(fd, size)

    def unlink(self, path: str) -> None:
        self._ask("unlink", path)
        if self.free_bytes is not None:
            self.free_bytes += os.stat(path).st_size
        super().unlink(path)


def match_of(
    path: bytes | str | Path,
    content: bytes = b"BAD",
    *,
    source: str = "custodian",
    role: str = "known-bad",
    kinds: tuple[str, ...] = ("md5", "sha1"),
    ref: str | None = "ref-1",
    test: bool = False,
) -> Match:
    """A match of *content* at *path*, as a scan gives it."""
    raw = os.fsencode(path)
    digests = {kind: hashlib.new(kind, content).digest() for kind in kinds}
    try:
        facts = os.lstat(raw)
        identity = FileIdentity(facts.st_dev, facts.st_ino)
    except OSError:
        identity = FileIdentity(1, 2)
    return Match(
        path=raw, size_bytes=len(content), digests=digests, confirmed_by=kinds, contradicted_by=(),
        set_root=bytes(range(32)), set_path="/sets/known.hset", generation=7,
        entries=(Entry(digests, len(content), (Listing(source, Role(role), "1", ref),)),), identity=identity, test=test,
    )  # fmt: skip


def all_lines(directory: Any) -> list[Any]:
    """Every intact line, in order."""
    return list(JournalReader(directory).lines())


def records(directory: Any, *types: str) -> list[dict[str, Any]]:
    """What the intact lines of these types say."""
    return [line.record for line in all_lines(directory) if line.type in types]


def hurt(path: Path, offset: int, data: bytes) -> None:
    """Overwrites bytes of a file in place."""
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)
