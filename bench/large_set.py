"""Does a set of more than 4 GiB work like any other? Offsets and counts beyond 32 bits, built, opened, asked, verified.

220,000,000 random MD5 digests through the compiler's writer (``--entries``), in bounded memory. Wants 15 GB of disk in
``--folder`` for a while, and some ten minutes.

Usage: python bench/large_set.py [--entries N] [--folder DIR] [--jobs N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hashsieve.hashset.compile import SetWriter
from hashsieve.hashset.hashset import HashSet
from hashsieve.model import Listing, Role

CHUNK = 1_000_000


def digests_of(count: int) -> Iterator[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(11)
    for start in range(0, count, CHUNK):
        yield rng.integers(0, 256, (min(CHUNK, count - start), 16), np.uint8)


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--entries", type=int, default=220_000_000)
    arguments.add_argument("--folder", type=Path)
    arguments.add_argument("--jobs", type=int, default=2)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        path = Path(name) / "large.hset"
        start = time.monotonic()
        writer = SetWriter(jobs=given.jobs, temp_dir=Path(name))
        for digests in digests_of(given.entries):
            writer.add_packed("md5", digests.tobytes(), Listing("bench", Role.KNOWN_BAD))
        writer.write(path)
        built = time.monotonic() - start
        size_bytes = path.stat().st_size
        missing = wrong = 0
        with HashSet.open(path) as known:
            in_order = np.full(len(known), False)
            for digests in digests_of(given.entries):
                found = known.lookup(digests, "md5", threads=given.jobs)
                missing += int((found < 0).sum())
                in_order[found[found >= 0]] = True
            # Each entry is some member's, and the last ones are where their numbers need more than 32 bits of offset.
            wrong += int(len(known) - in_order.sum())
            for number in range(len(known) - 100, len(known)):
                wrong += known.find("md5", known.entry(number).digests["md5"]) != [number]
            known.verify()
    good = not missing and not wrong
    print(
        f"a set of {given.entries:,} entries and {size_bytes / 2**30:.2f} GiB, built in {built:.0f} s: "
        + ("every member found, every page intact" if good else f"FAILED: {missing} members missing, {wrong} wrong")
    )
    return not good


if __name__ == "__main__":
    sys.exit(main())
