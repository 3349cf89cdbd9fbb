"""Question: how fast is each digest kernel on files of each size, beside hashlib and the blake3 package?

Contents lie in memory, different for every stream; each kernel gets as many streams of equal length as it has lanes,
through the lane scheduler, padding and reading the digest out included. ``winner``: what the scheduler chooses by
itself, with as many streams as it asks for, and with a single one. Python calls are part of it on all sides, and most
of the time of the shortest files. Rounds are interleaved; printed are 10^9 bytes for each second of CPU time, in the
fastest round, and the ratios that were promised for 64 KiB. Raw numbers go to ``digest.json`` in
``bench/runs/<date>-<machine>/`` or ``--out``.

    python bench/digest.py --rounds 5
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "engine"))

from hashsieve._scan import Lanes, kernels
from scan import default_out, machine

KIB, MIB = 1 << 10, 1 << 20
SIZES = [KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 16 * MIB, 64 * MIB]
STREAMS = 24
AT_LEAST_BYTES = 24 * MIB  # digested for one number


@dataclass
class Row:
    """One way to digest. ``prepare(contents)`` gives a function that digests all of them once."""

    kind: str
    name: str
    streams: int
    prepare: Callable[[list[bytes]], Callable[[], object]]
    gb_per_second: dict[int, list[float]] = field(default_factory=dict)


def padded(kind: str, data: bytes) -> bytes:
    """*data* with the end that the kind asks for, as whole blocks."""
    order = "little" if kind == "md5" else "big"
    return data + b"\x80" + bytes(-(len(data) + 9) % 64) + (8 * len(data)).to_bytes(8, order)  # type: ignore[arg-type]


def by_lanes(kind: str, forced: dict[str, str]) -> Callable[[list[bytes]], Callable[[], object]]:
    """Through the scheduler, one slot for each content."""

    def prepare(contents: list[bytes]) -> Callable[[], object]:
        lanes = Lanes([kind], forced)
        streams = [padded(kind, data) for data in contents]

        def digest() -> object:
            for slot, stream in enumerate(streams):
                lanes.start(slot)
                lanes.feed(slot, stream)
            while lanes.step():
                pass
            return [lanes.digest(slot) for slot in range(len(streams))]

        for slot, each in enumerate(digest()):  # type: ignore[arg-type, var-annotated]
            assert each[kind] == hashlib.new(kind, contents[slot]).digest()
        return digest

    return prepare


def one_by_one(new: Callable[[bytes], Any]) -> Callable[[list[bytes]], Callable[[], object]]:
    """A hash object for each content."""
    return lambda contents: lambda: [new(data).digest() for data in contents]


def rows() -> list[Row]:
    """Every kernel that runs here, the scheduler's own choice, and the others."""
    made = []
    for kind in ("md5", "sha1", "sha256"):
        made.append(Row(kind, "hashlib", 1, one_by_one(getattr(hashlib, kind))))
        for each in kernels():
            if each["kind"] == kind and each["state"] in ("chosen", "available"):
                made.append(Row(kind, each["name"], each["lanes"], by_lanes(kind, {kind: each["name"]})))
        made.append(Row(kind, "winner", Lanes([kind]).slot_count, by_lanes(kind, {})))
        made.append(Row(kind, "winner, alone", 1, by_lanes(kind, {})))
    try:
        import blake3
    except ImportError:
        print("left out: blake3 is not installed")
    else:
        made.append(Row("blake3", "blake3 package", 1, one_by_one(blake3.blake3)))
    return made


def measure(table: list[Row], size: int, rounds: int) -> None:
    """Adds the numbers for files of one size."""
    source = random.Random(size)
    block = source.randbytes(min(size, MIB))
    contents = []
    for number in range(STREAMS):
        head = number.to_bytes(8, "little")
        contents.append((head + block[8:]) * (size // len(block)))
    ready = [(row, row.prepare(contents[: row.streams])) for row in table]
    for _ in range(rounds):
        for row, digest in ready:
            once = row.streams * size
            times = max(1, AT_LEAST_BYTES // once)
            began = time.process_time()
            for _ in range(times):
                digest()
            seconds = time.process_time() - began
            row.gb_per_second.setdefault(size, []).append(times * once / seconds / 1e9)


def label(size: int) -> str:
    """``64 KiB``."""
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"


def main() -> int:
    """Measures and prints; exit code 1 when a promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (%(default)s)")
    parser.add_argument(
        "--largest", type=int, default=SIZES[-1], help="largest file in bytes (%(default)s; needs 50 x)"
    )
    parser.add_argument("--out", type=Path, default=None, help="where results go")
    options = parser.parse_args()
    out = options.out or default_out()
    out.mkdir(parents=True, exist_ok=True)
    sizes = [size for size in SIZES if size <= options.largest]
    table = rows()
    for size in sizes:
        measure(table, size, options.rounds)
        print(f"{label(size)} done", file=sys.stderr)
    print(f"{'GB/s, fastest round':30}{'streams':>8}" + "".join(f"{label(size):>9}" for size in sizes))
    for row in table:
        numbers = "".join(f"{max(row.gb_per_second[size]):9.2f}" for size in sizes)
        print(f"{row.kind:8}{row.name:22}{row.streams:8}{numbers}")
    best = {(row.kind, row.name): max(row.gb_per_second[64 * KIB]) for row in table}
    promises = []
    for kind, factor, needed in (("md5", 8.0, "avx2"), ("sha1", 2.1, "shani"), ("sha256", 2.0, "shani")):
        able = [value for (of, name), value in best.items() if of == kind and name.startswith(needed)]
        if able:
            ratio = max(able) / best[kind, "hashlib"]
            what, kept = f"{kind}, {needed}, 64 KiB / hashlib", ratio >= factor
            promises.append({"what": what, "value": ratio, "promised": f">= {factor}", "kept": kept})
            print(f"  {'pass' if kept else 'FAIL'}  {what}: {ratio:.2f} (promised >= {factor})")
    raw = [
        {
            "kind": row.kind, "name": row.name, "streams": row.streams,
            "gb_per_second": {str(size): values for size, values in row.gb_per_second.items()},
            "median": {str(size): statistics.median(values) for size, values in row.gb_per_second.items()},
        }
        for row in table
    ]  # fmt: skip
    result = {"machine": machine(), "rounds": options.rounds, "rows": raw, "promises": promises}
    (out / "digest.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0 if all(each["kept"] for each in promises) else 1


if __name__ == "__main__":
    sys.exit(main())
