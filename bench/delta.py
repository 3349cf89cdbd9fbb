"""What does it cost to bring a large set up to date by a delta?

A set of 1,000,000 MD5 digests (``--entries``), and a newer one in which 1 % of them (``--change``) were exchanged for
others. Each step runs in a process of its own, which says its wall time and its maximum resident memory:

* compare -- both sets in, the delta out: what ``compile --base`` does after the full compile
* apply -- the old set and the delta in, the new set out, with as many threads as the command takes; held against the
  full compile byte by byte

Everything lies in one folder (``--folder``, by default a new one under the system's temporary directory), which needs
room for five sets, about 20 bytes an entry each. "promised" is for 100,000,000 entries.

Usage: python bench/delta.py [--entries N] [--change SHARE] [--folder DIR] [--machine NAME] [--date DATE] [--no-save]
Raw figures go to bench/runs/<date>-<machine>/delta.json.
"""

from __future__ import annotations

import argparse
import datetime
import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lookup import cpu_model, machine_name

HERE = Path(__file__).resolve().parent
BLOCK = 1_000_000
PROMISED_SECONDS, PROMISED_MIB = 90, 256

BUILD = """
import sys
import numpy as np
from hashsieve.hashset.compile import SetWriter
from hashsieve.model import Listing, Role
path, entries, generation, change = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
writer = SetWriter(generation=generation)
for start in range(0, entries, 1_000_000):
    count = min(1_000_000, entries - start)
    digests = np.random.default_rng((1, start)).integers(0, 256, (count, 16), np.uint8)
    others = round(count * change)
    digests[:others] = np.random.default_rng((2, start)).integers(0, 256, (others, 16), np.uint8)
    writer.add_packed("md5", digests.tobytes(), Listing("made up", Role.KNOWN_BAD))
writer.write(path)
"""

COMPARE = """
import sys
from hashsieve import HashSet
from hashsieve.hashset.delta import make_delta
with HashSet.open(sys.argv[1], load=()) as old, HashSet.open(sys.argv[2], load=()) as new:
    print(make_delta(old, new, sys.argv[3]).rows)
"""

APPLY = """
import sys
import os
from hashsieve import apply_delta
print(apply_delta(sys.argv[1], sys.argv[2], sys.argv[3], jobs=min(4, os.cpu_count() or 1)).entries)
"""


def run(code: str, *arguments: Any) -> tuple[float, int, str]:
    """Wall seconds, maximum resident bytes and standard output of a process."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"a step ended with {process.returncode}")
    return time.monotonic() - began, usage.ru_maxrss * 1024, out.strip()


def measure(folder: Path, entries: int, change: float) -> dict[str, Any]:
    old, new, delta, applied = (folder / name for name in ("old.hset", "new.hset", "d.hdelta", "applied.hset"))
    run(BUILD, old, entries, 1, 0)
    run(BUILD, new, entries, 2, change)
    out: dict[str, Any] = {"entries": entries, "change": change}
    for name, code, files in (("compare", COMPARE, (old, new, delta)), ("apply", APPLY, (old, delta, applied))):
        seconds, peak, said = run(code, *files)
        out[name] = {"wall_seconds": round(seconds, 2), "max_resident_bytes": peak}
        if name == "compare":
            out["delta_rows"], out["delta_bytes"] = int(said), delta.stat().st_size
    out["set_bytes"] = new.stat().st_size
    out["equal"] = filecmp.cmp(new, applied, shallow=False)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--change", type=float, default=0.01)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--machine", default=machine_name())
    parser.add_argument("--date", default=datetime.date.today().isoformat())
    parser.add_argument("--no-save", action="store_true")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="hashsieve-delta-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        figures = measure(folder, options.entries, options.change)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    rows, size = figures["delta_rows"], figures["delta_bytes"]
    print(f"{options.entries:,} entries, {options.change:.1%} exchanged: a delta of {rows:,} rows, {size:,} bytes")
    for step in ("compare", "apply"):
        seconds, mib = figures[step]["wall_seconds"], figures[step]["max_resident_bytes"] / 2**20
        line = f"{step}: {seconds:.1f} s, {mib:.0f} MiB resident at most"
        if step == "apply":
            ok = seconds < PROMISED_SECONDS and mib <= PROMISED_MIB and figures["equal"]
            line += f"; promised {PROMISED_SECONDS} s, {PROMISED_MIB} MiB: {'ok' if ok else 'FAILED'}"
        print(line)
    print("the result is " + ("equal to the full compile" if figures["equal"] else "NOT EQUAL: FAILED"))
    if not options.no_save:
        save = HERE / "runs" / f"{options.date}-{options.machine}"
        save.mkdir(parents=True, exist_ok=True)
        figures |= {"machine": cpu_model(), "date": options.date}
        (save / "delta.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
