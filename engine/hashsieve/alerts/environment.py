"""Everything an alert takes from outside: clocks, randomness, the machine and its files. Tests hand in their own."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..platform import host
from ..platform.host import NetworkRule

__all__ = ["Environment", "utc"]

_LAST_SECOND = 253402300799  # end of the year 9999


def utc(wall_ns: int) -> str:
    """UTC in ISO 8601 with milliseconds."""
    import datetime

    seconds = min(max(wall_ns // 1_000_000_000, 0), _LAST_SECOND)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{wall_ns // 1_000_000 % 1000:03d}Z"


class Environment:
    """The real one. Facts that do not change are read once."""

    def __init__(self, network_rule: NetworkRule | None = None) -> None:
        self._network_rule = network_rule
        self._host: Mapping[str, Any] | None = None
        self._boot_id: str | None = None

    def wall_ns(self) -> int:
        """Nanoseconds since 1970, UTC; may jump."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back; time asleep counts where the system has such a clock."""
        clock = getattr(time, "CLOCK_BOOTTIME", None)
        return time.monotonic_ns() if clock is None else time.clock_gettime_ns(clock)

    def offset_minutes(self, wall_ns: int) -> int:
        """Local time minus UTC at that moment."""
        try:
            return time.localtime(wall_ns / 1e9).tm_gmtoff // 60
        except (OverflowError, OSError, ValueError):
            return 0

    def random(self) -> float:
        """Evenly from 0 up to 1."""
        return random.random()

    def boot_id(self) -> str | None:
        """Changes with every start of the system."""
        if self._boot_id is None:
            self._boot_id = host.boot_id()
        return self._boot_id

    def host(self) -> Mapping[str, Any]:
        """Name and system of the machine."""
        if self._host is None:
            self._host = host.host_facts()
        return self._host

    def users(self) -> list[str]:
        """Who has a session now."""
        return host.logged_in_users()

    def owner(self, uid: int) -> str | None:
        """The account of a user number."""
        return host.owner_name(uid)

    def power(self) -> Mapping[str, Any]:
        """Mains or battery."""
        return host.power_facts()

    def network(self) -> Mapping[str, Any]:
        """Online or not, on the company's network or not."""
        return host.network_facts(self._network_rule)

    def volume(self, path: bytes, device: int) -> Mapping[str, Any]:
        """The volume a file lies on."""
        return host.volume_facts(path, device)

    def origin(self, path: bytes) -> Mapping[str, str]:
        """What the system noted about a download."""
        return host.origin_hints(path)

    def stat(self, path: bytes) -> os.stat_result:
        """The file itself, links not followed; OSError as the system has it."""
        return os.lstat(path)

    def folder(self, path: bytes) -> Iterator[os.DirEntry[bytes]]:
        """Entries of a folder; OSError as the system has it."""
        with os.scandir(path) as entries:
            yield from entries
