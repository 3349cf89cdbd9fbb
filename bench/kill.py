"""Kills whoever builds a set, at random moments: the live name holds the old or the new complete set every time.

Builds out of core (small memory, so that there are temporary files) and builds on a base are killed in turn; after
each, every page of the live set is checked and its digests are looked up. At the end one more build cleans up.

``python bench/kill.py [--times N] [--entries N] [--seed N]``; exit code 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "engine"))

CHILD = """
import random, sys
from hashsieve.hashset.compile import SetWriter, difference
from hashsieve.hashset.hashset import HashSet
from hashsieve.model import Listing, Role

path, how, generation, entries = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
listing = Listing("list", Role.KNOWN_BAD)
print("ready", flush=True)
while True:
    generation += 1
    with SetWriter(generation=generation, memory_bytes=16 << 20, jobs=2) as writer:
        if how == "apply":
            with HashSet.open(path, load=()) as base, HashSet.open(path + ".other", load=()) as other:
                with difference(base, other, memory_bytes=16 << 20) as (classes, rows):
                    for piece in rows:
                        writer.add_rows(piece, classes)
                writer.add_base(base)
                writer.write(path)
        else:
            writer.add_packed("md5", random.Random(generation % 2).randbytes(16 * entries), listing)
            writer.write(path)
"""


def state(path: str, entries: int) -> int:
    """The generation of the set, all of which is there; raises when it is not."""
    import numpy as np

    from hashsieve.hashset.hashset import HashSet

    with HashSet.open(path) as known:
        known.verify()
        for seed in (0, 1):
            digests = np.frombuffer(random.Random(seed).randbytes(16 * entries), np.uint8).reshape(-1, 16)
            found = known.lookup(digests, "md5") >= 0
            if found.all():
                break
        else:
            raise AssertionError(f"{path} holds neither list")
        if len(known) != entries:
            raise AssertionError(f"{path} holds {len(known)} entries")
        generation: int = known.generation
        return generation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--entries", type=int, default=1_500_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "engine")}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "live.hset")

        def start(how: str, generation: int) -> subprocess.Popen[str]:
            return subprocess.Popen(
                [sys.executable, "-c", CHILD, path, how, str(generation), str(options.entries)],
                env=environment, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip

        from hashsieve.hashset.compile import SetWriter
        from hashsieve.model import Listing, Role

        for name, seed in ((path, 0), (path + ".other", 1)):
            with SetWriter(generation=0) as writer:
                digests = random.Random(seed).randbytes(16 * options.entries)
                writer.add_packed("md5", digests, Listing("list", Role.KNOWN_BAD))
                writer.write(name)
        generation, moved, longest = 0, 0, 2.5
        for number in range(options.times):
            how = ("compile", "apply")[number % 2]
            process = start(how, generation)
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.random() * longest)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            now = state(path, options.entries)
            if now < generation:
                raise SystemExit(f"FAILED: generation {now} after {generation}")
            moved += now > generation
            generation = now
        left = sorted(os.listdir(folder))
        with SetWriter(generation=generation + 1) as writer:
            digests = random.Random(0).randbytes(16 * options.entries)
            writer.add_packed("md5", digests, Listing("list", Role.KNOWN_BAD))
            writer.write(path)
        state(path, options.entries)
        if sorted(os.listdir(folder)) != ["live.hset", "live.hset.other"]:
            raise SystemExit(f"FAILED: left behind: {os.listdir(folder)}")
        print(
            f"{options.times} builders killed, {moved} of them after they had published; the live set was complete "
            f"every time; {len(left) - 2} temporary files were left and cleaned up by the next build"
        )


if __name__ == "__main__":
    main()
