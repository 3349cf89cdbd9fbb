"""The highest generation that was ever in use, by source: an older set is refused even if its signature is good.

One small file in an agent's state directory. Whoever may write that directory can make it forget; a user without that
right cannot put last month's list back.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

from ..errors import OutputError, Path, SetRollbackError, StateError, UsageError, shown
from .hashset import HashSet
from .publish import AtomicFile

try:
    import fcntl
except ImportError:  # Windows: one agent at a time, as its own lock on the state directory sees to
    fcntl = None  # type: ignore[assignment]

__all__ = ["Generations"]

_MAX_BYTES = 16 << 20


class Generations:
    """The memory of generations in *state_dir*, which is made (for its owner only) when something is remembered.

    A source is the name under which an agent follows a set, such as its absolute path. Threads and processes: any
    number at once. Raises StateError when the memory is there but cannot be read: it is never started afresh silently,
    since that would let an older set in.
    """

    def __init__(self, state_dir: Path) -> None:
        self._directory = os.fsdecode(state_dir)
        self.path = os.path.join(self._directory, "generations.json")

    def highest(self, source: str) -> int | None:
        """The highest generation remembered for a source, or None."""
        found = self._read().get(source)
        return None if found is None else int(found["generation"])

    def check(self, source: str, generation: int, path: Path) -> None:
        """SetRollbackError when a set of this generation would be a step back. *path* is for the message."""
        self._check(self._read(), source, generation, path)

    def remember(self, source: str, known: HashSet) -> None:
        """Checks an open set and remembers its generation, in one step."""
        if not source:
            raise UsageError("a source needs a name")
        with self._locked():
            held = self._read()
            self._check(held, source, known.generation, known.path)
            before = held.get(source)
            if before is not None and before["generation"] == known.generation and before["root"] == known.root.hex():
                return
            held[source] = {"generation": known.generation, "root": known.root.hex()}
            self._write(held)

    def forget(self, source: str) -> None:
        """Forgets a source, for an operator who goes back on purpose."""
        with self._locked():
            held = self._read()
            if held.pop(source, None) is not None:
                self._write(held)

    def _check(self, held: dict[str, dict[str, Any]], source: str, generation: int, path: Path) -> None:
        found = held.get(source)
        if found is not None and generation < found["generation"]:
            raise SetRollbackError(
                f"{shown(path)}: is generation {generation}, and generation {found['generation']} of {shown(source)} "
                "was in use before; an older set is not taken back"
            )

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            with open(self.path, "rb") as file:
                text = file.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            return {}
        except OSError as problem:
            raise StateError(f"{shown(self.path)}: cannot be read: {problem.strerror or problem}") from None
        try:
            if len(text) > _MAX_BYTES:
                raise ValueError("too long")
            read = json.loads(text)
            sets = read["sets"]
            if read["version"] != 1 or not isinstance(sets, dict):
                raise ValueError("of another version")
            for entry in sets.values():
                good = isinstance(entry["generation"], int) and 0 <= entry["generation"] < 2**63
                if not good or len(bytes.fromhex(entry["root"])) != 32:
                    raise ValueError("not a generation")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
            raise StateError(
                f"{shown(self.path)}: is damaged ({problem}); it keeps older sets out, so look into why before you "
                "remove it"
            ) from None
        return sets

    def _write(self, held: dict[str, dict[str, Any]]) -> None:
        text = json.dumps({"sets": held, "version": 1}, sort_keys=True, indent=1).encode() + b"\n"
        with AtomicFile(self.path) as output, output.problems():
            view = memoryview(text)
            while view:
                view = view[output.file.write(view) :]
            output.publish()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            fd = os.open(self.path + ".lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        except OSError as problem:
            raise OutputError(f"{shown(self.path)}: cannot be written: {problem.strerror or problem}") from None
        try:
            if fcntl is not None:
                fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
