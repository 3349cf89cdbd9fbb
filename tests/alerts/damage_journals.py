"""Random damage to whole journals: no start is ever stopped, no untouched record lost, no case overlooked.

``python tests/alerts/damage_journals.py [--cases N] [--seed S]``; tests run the same with fewer cases.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from alert_cases import KEY, Disk

from hashsieve.alerts.journal import Journal, JournalReader, verify
from hashsieve.errors import JournalError

OPTIONS = {"cap_bytes": 1 << 20, "segment_bytes": 16 << 10, "reserve_bytes": 32 << 10}


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("alerts-*.jsonl"))


def lines_in(directory: Path) -> list[bytes]:
    """Every stretch between two line feeds in any segment, whole or not."""
    return [raw for path in segments(directory) for raw in path.read_bytes().split(b"\n")[:-1] if raw]


class Case:
    """One journal with copies of how it was before, and what is done to it."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.chance = chance
        self.directory = root / "journal"
        self.old = root / "old"
        self.done: list[str] = []
        self.key = KEY if chance.random() < 0.5 else None
        snapshot_at = chance.randint(1, 60)
        with Journal(self.directory, storage=Disk(), key=self.key, **OPTIONS) as journal:
            for number in range(chance.randint(snapshot_at + 4, 110)):
                if number == snapshot_at:
                    shutil.copytree(self.directory, self.old)
                journal.append(("alert", {"n": number, "pad": "x" * chance.randint(0, 1500)}))
            self.anchor = journal.head
        self.before = lines_in(self.directory)
        self.state = self._content()

    def _files(self) -> list[Path]:
        return [*segments(self.directory), *filter(Path.exists, [self.directory / "head"])]

    def changed(self) -> bool:
        return self._content() != self.state

    def _content(self) -> dict[str, object]:
        """What the files say: padding says nothing, nor does the order of the copies in the head."""
        content: dict[str, object] = {path.name: path.read_bytes().rstrip(b"\n") for path in self._files()}
        if "head" in content:
            pages = bytes(content["head"]).split(b"\n")  # type: ignore[call-overload]
            content["head"] = [sorted(pages[:2]), sorted(pages[2:])]
        return content

    def _data(self, path: Path) -> bytearray:
        return bytearray(path.read_bytes().rstrip(b"\n"))

    def _put(self, path: Path, data: bytes) -> None:
        """Content in place, padding as it was."""
        size = path.stat().st_size
        path.write_bytes(bytes(data) + b"\n" * max(0, size - len(data)))

    def hurt(self) -> None:
        kind = self.chance.choice(["truncate", "zero", "garbage", "flip", "swap", "delete", "older", "lines"])
        files = self._files()
        if not files:
            return
        path = self.chance.choice(files)
        data = self._data(path)
        if not data:
            return
        start = self.chance.randrange(len(data))
        end = min(len(data), start + self.chance.choice([1, 20, 600, 5000]))
        if kind == "truncate":
            path.write_bytes(data[:start])
        elif kind == "zero":
            data[start:end] = bytes(end - start)
            self._put(path, data)
        elif kind == "garbage":
            data[start:end] = self.chance.randbytes(end - start)
            self._put(path, data)
        elif kind == "flip":
            data[start] ^= 1 << self.chance.randrange(8)
            self._put(path, data)
        elif kind == "swap":
            other = self.chance.choice(files)
            if other == path:
                return
            mine, others = path.read_bytes(), other.read_bytes()
            path.write_bytes(others)
            other.write_bytes(mine)
        elif kind == "lines":
            parts = bytes(data).split(b"\n")
            one, two = self.chance.randrange(len(parts)), self.chance.randrange(len(parts))
            parts[one], parts[two] = parts[two], parts[one]
            self._put(path, b"\n".join(parts))
        elif kind == "delete":
            path.unlink()
        elif kind == "older":
            old = self.old / path.name
            if not old.exists():
                return
            shutil.copyfile(old, path)
        self.done.append(f"{kind} {path.name} {start}..{end}")

    def rolled_back(self) -> bool:
        """Is all of it now as it was before? Only an anchor can tell that."""
        if not self.old.exists():
            return False
        then = {path.name: path.read_bytes().rstrip(b"\n") for path in [*segments(self.old), self.old / "head"]}
        now = {path.name: path.read_bytes().rstrip(b"\n") for path in self._files()}
        return now == then

    def check(self) -> None:
        changed, rolled_back = self.changed(), self.rolled_back()
        there = set(lines_in(self.directory))
        untouched = [raw for raw in self.before if raw in there]
        try:
            found = not verify(self.directory, key=self.key).intact
        except JournalError:
            found = True
        if rolled_back:
            assert not verify(self.directory, key=self.key, anchor=self.anchor).intact, "not found with an anchor"
        else:
            assert found == changed, f"verify found {found}"
        read = {line.raw for line in JournalReader(self.directory).lines()}
        assert set(untouched) <= read, "an untouched record is not read"
        told: list[str] = []
        with Journal(self.directory, storage=Disk(), on_event=lambda event: told.append(event.kind), **OPTIONS) as each:
            (new,) = each.append(("alert", {"n": -1}))
        assert bool(told) == changed or rolled_back, f"told {told}"
        read = {line.raw for line in JournalReader(self.directory).lines()}
        assert set(untouched) <= read, "an untouched record was lost by the start"
        # Head and tail both set back are the state of before, as far as anybody can see.
        if not any(each.startswith("older head") for each in self.done):
            old_numbers = {int(raw.split(b":")[1].split(b",")[0]) for raw in self.before}
            assert not there or new.seq not in old_numbers, f"number {new.seq} was given twice"
        told.clear()
        for _ in range(2):
            with Journal(
                self.directory, storage=Disk(), on_event=lambda event: told.append(event.kind), **OPTIONS
            ) as each:
                each.append(("alert", {"n": -2}))
        assert not told or told == ["journal-key-lost"] * 2, f"told again: {told}"
        aside = self.directory / "quarantine"
        assert not aside.exists() or sum(path.stat().st_size for path in aside.iterdir()) <= 1 << 20


def run(cases: int, seed: int) -> int:
    """Runs that many cases; AssertionError names the case that failed."""
    for number in range(cases):
        chance = random.Random(f"{seed}:{number}")
        root = Path(tempfile.mkdtemp(prefix="journal-"))
        try:
            case = Case(root, chance)
            for _ in range(chance.choice([1, 1, 1, 2, 3])):
                case.hurt()
            try:
                case.check()
            except Exception as problem:
                raise AssertionError(f"case {seed}:{number}, {case.done}, key {case.key is not None}: {problem}") from (
                    problem
                )
        finally:
            shutil.rmtree(root, ignore_errors=True)
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options = parser.parse_args()
    print(
        f"{run(options.cases, options.seed)} damaged journals, none overlooked, no untouched record lost, promised 1000"
    )


if __name__ == "__main__":
    main()
