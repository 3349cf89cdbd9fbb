"""Helpers that several rooms of the tests use: records of given content, the command line as a process, whole scans."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hashsieve
from hashsieve import Listing, Outcome, Record, Role, Scanner, Summary
from hashsieve.platform.mounts import Mount, MountTable

ENGINE = str(Path(hashsieve.__file__).parents[1])

# Starts Python without the rights by which root opens what it may not open; for anybody else it changes nothing.
_UNPRIVILEGED = """
import ctypes, os, sys
for capability in (1, 2, 3):  # DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def digest(kind: str, data: bytes) -> bytes:
    """What hashlib (or the blake3 package) says."""
    if kind == "blake3":
        import blake3

        return blake3.blake3(data).digest()
    return hashlib.new(kind, data).digest()


def record(
    data: bytes,
    *kinds: str,
    role: str = "known-bad",
    source: str = "list",
    category: str | None = None,
    ref: str | None = None,
    size_bytes: int | None = None,
    **other: bytes,
) -> Record:
    """A record with the digests of *data*; *other* gives digests by kind that are not those of *data*."""
    digests = {kind: digest(kind, data) for kind in kinds or ("md5",)} | other
    return Record(digests, size_bytes, Listing(source, Role(role), category, ref))


@dataclass
class Result:
    """What a process ended with. ``lines``: standard output as JSON lines."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line, parse_constant=_refuse) for line in self.out.split(b"\n") if line]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]

    @property
    def summary(self) -> dict[str, Any]:
        assert self.lines[-1]["event"] == "summary"
        return self.lines[-1]


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


class CommandLine:
    """The command line as a process of its own; ``cli("scan", "-s", set, tree)``."""

    def __init__(self) -> None:
        self.environment = {**os.environ, "PYTHONPATH": ENGINE}
        self.environment.pop("PYTHONIOENCODING", None)

    def command(self, *arguments: Any, unprivileged: bool = False) -> list[Any]:
        start = [sys.executable, "-c", _UNPRIVILEGED] if unprivileged else [sys.executable]
        return [*start, "-m", "hashsieve", *arguments]

    def __call__(
        self,
        *arguments: Any,
        stdin: bytes = b"",
        timeout: float = 60,
        unprivileged: bool = False,
        env: dict[str, str] | None = None,
        cwd: Any = None,
    ) -> Result:
        done = subprocess.run(
            self.command(*arguments, unprivileged=unprivileged),
            input=stdin,
            capture_output=True,
            timeout=timeout,
            env=self.environment | (env or {}),
            cwd=cwd,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr.decode(errors="backslashreplace"))

    def python(
        self, code: str, *arguments: Any, timeout: float = 60, unprivileged: bool = False, start: Iterable[Any] = ()
    ) -> Result:
        """Runs a piece of Python that may use the package, within a hard limit of time."""
        own = [sys.executable, "-c", _UNPRIVILEGED] if unprivileged else [sys.executable]
        done = subprocess.run(
            [*start, *own, "-c", code, *arguments],
            capture_output=True,
            timeout=timeout,
            env=self.environment,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr.decode(errors="backslashreplace"))

    def start(self, *arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(self.command(*arguments), env=self.environment, **options)


@dataclass
class Scanned:
    """All outcomes of a scan, by path, and its summary."""

    outcomes: list[Outcome]
    summary: Summary
    by_path: dict[bytes, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.by_path = {outcome.path: outcome for outcome in self.outcomes}
        s = self.summary
        assert s.seen == s.matched + s.no_match + s.not_examined + s.changed + s.gone + s.errors
        assert s.seen == len(self.outcomes)
        for kind, count in (
            ("match", s.matched),
            ("no_match", s.no_match),
            ("not_examined", s.not_examined),
            ("changed", s.changed),
            ("gone", s.gone),
            ("error", s.errors),
        ):
            assert sum(outcome.kind == kind for outcome in self.outcomes) == count, kind

    def paths(self, kind: str) -> list[bytes]:
        return sorted(outcome.path for outcome in self.outcomes if outcome.kind == kind)

    def of(self, path: Any) -> Outcome:
        return self.by_path[os.fsencode(path)]

    def reason(self, path: Any) -> str | None:
        return self.of(path).reason


def mounts(**types: Any) -> MountTable:
    """A mount table with an ordinary root and one mount for each path of *at*, given by its file system type."""
    table = [Mount(1, 0, "8:1", b"/", b"/", b"ext4", b"/dev/sda1")]
    for number, (path, fs_type) in enumerate(types.get("at", {}).items(), start=2):
        point = os.fsencode(path)
        around = max((each for each in table if (point + b"/").startswith(each.mount_point.rstrip(b"/") + b"/")),
                     key=lambda each: len(each.mount_point))  # fmt: skip
        table.append(Mount(number, around.mount_id, f"0:{number}", b"/", point, os.fsencode(fs_type), b"none"))
    return MountTable(table)


def scan(scanner: Scanner, *roots: Any) -> Scanned:
    """Scans, with every outcome, and holds the summary against them."""
    *outcomes, summary = scanner.scan(*roots, every=True)
    assert isinstance(summary, Summary)
    return Scanned([outcome for outcome in outcomes if isinstance(outcome, Outcome)], summary)
