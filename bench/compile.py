"""How long and in how much memory a set is compiled from records that are at hand, and how large it comes out.

Random digests go in packed (one kind) or as rows with MD5, SHA-1 and size, as a list reader hands them over. Each
case runs in a process of its own, whose maximum resident set is measured. ``apply`` takes a set of that many MD5
digests as the base, adds 1 % and cancels 1 %.

``python bench/compile.py [--entries N] [--case md5|pair|apply] [--memory MIB] [--jobs N] [--json FILE] [--dir DIR]``
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine"))

PROMISES = {"md5": (24.0, 1024), "pair": (60.0, 1024), "apply": (24.0, 256)}


def child(case: str, entries: int, memory: int, jobs: int, folder: str) -> dict[str, Any]:
    """Builds one set and says what it cost."""
    import random

    from hashsieve.hashset.compile import SetWriter
    from hashsieve.hashset.hashset import HashSet
    from hashsieve.model import Listing, Role

    rng = random.Random(entries)
    listing = Listing("made up", Role.KNOWN_BAD)
    began = time.monotonic()
    stages: list[tuple[str, float]] = []

    def progress(stage: str, done: int, total: int | None) -> None:
        if not stages or stages[-1][0] != stage:
            stages.append((stage, time.monotonic() - began))

    writer = SetWriter(memory_bytes=memory << 20, jobs=jobs, temp_dir=folder)
    out = os.path.join(folder, "known.hset")
    making = 0.0
    if case == "apply":
        with HashSet.open(os.path.join(folder, "base.hset"), load=()) as base:
            writer.add_base(base)
            one_percent = entries // 100
            writer.add_packed("md5", rng.randbytes(16 * one_percent), listing)
            rows = bytearray()
            step = max(len(base) // one_percent, 1)
            for number in range(0, len(base), step):
                digest = base.file.entry(number)[0][1]
                rows += struct.pack(">B16sQIBH", 1, digest, 0, 0, 2, 0)
            writer.add_rows(bytes(rows), [("made up", "known-bad", None)])
            began = time.monotonic()
            report = writer.write(out, progress=progress)
    else:
        left = entries
        while left:
            count = min(left, 1_000_000)
            left -= count
            now = time.process_time()
            if case == "md5":
                digests = rng.randbytes(16 * count)
                making += time.process_time() - now
                writer.add_packed("md5", digests, listing)
            else:
                width = 1 + 36 + 15
                import numpy as np

                rows = np.zeros((count, width), np.uint8)
                rows[:, 0] = 3
                rows[:, 1:37] = np.frombuffer(rng.randbytes(36 * count), np.uint8).reshape(count, 36)
                rows[:, 41:45] = np.frombuffer(rng.randbytes(4 * count), np.uint8).reshape(count, 4) & 63
                rows[:, 44] |= 1
                making += time.process_time() - now
                writer.add_rows(rows.tobytes(), [("made up", "known-bad", None)])
        stages.append(("added", time.monotonic() - began))
        report = writer.write(out, progress=progress)
    wall = time.monotonic() - began - making
    with HashSet.open(out, load=()) as known:
        filters = sum(known.filter_bytes(kind) for kind in known.kinds)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "case": case,
        "entries": report.entries,
        "memory_mib": memory,
        "jobs": jobs,
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime - making, 2),
        "max_rss_mib": round(used.ru_maxrss / 1024, 1),
        "file_bytes": os.path.getsize(out),
        "bytes_an_entry_without_filters": round((os.path.getsize(out) - filters) / max(report.entries, 1), 3),
        "stages": [(stage, round(at, 2)) for stage, at in stages],
    }


def measure(case: str, entries: int, memory: int, jobs: int, folder: str) -> dict[str, Any]:
    """One case in a process of its own."""
    here = Path(__file__).resolve()
    done = subprocess.run(
        [sys.executable, str(here), "--child", case, "--entries", str(entries), "--memory", str(memory), "--jobs",
         str(jobs), "--dir", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--case", choices=PROMISES, action="append")
    parser.add_argument("--memory", type=int, default=512, help="MiB")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="raw figures as JSON lines")
    parser.add_argument("--dir", help="where the sets go")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.child, options.entries, options.memory, options.jobs, options.dir)))
        return
    lines = []
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        for case in options.case or ["md5", "pair"]:
            if case == "apply" and not os.path.exists(os.path.join(folder, "base.hset")):
                measure("md5", options.entries, 512, options.jobs, folder)
                os.replace(os.path.join(folder, "known.hset"), os.path.join(folder, "base.hset"))
            result = measure(case, options.entries, options.memory, options.jobs, folder)
            lines.append(json.dumps(result))
            size, rss = PROMISES[case]
            kept = result["bytes_an_entry_without_filters"] <= size and result["max_rss_mib"] <= rss
            print(
                f"compile {case} {result['entries']:,} entries, --memory {options.memory}: "
                f"{result['wall_seconds']} s wall, "
                f"{result['cpu_seconds']} s CPU, {result['max_rss_mib']} MiB (promised {rss}), "
                f"{result['bytes_an_entry_without_filters']} bytes an entry (promised {size:g}): "
                f"{'ok' if kept else 'FAILED'}  {result['stages']}",
                flush=True,
            )
    if options.json:
        options.json.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
