"""Sets of every size, of random and of awkward digests: every member is found by a process that did not build them.

python tests/model/every_size.py            everything: sizes 0 to 300, a spread to 2 million, 50 seeds at each boundary
python tests/model/every_size.py --check F  what the fresh process does with a folder of sets
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from hashsieve.hashset.compile import SetWriter
from hashsieve.hashset.hashset import HashSet
from hashsieve.hashset.testfile import TEST_DIGESTS
from hashsieve.model import Listing, Role

WIDTHS = {"md5": 16, "sha1": 20, "sha256": 32, "blake3": 32}
LISTING = Listing("made up", Role.KNOWN_BAD)
PATTERNS = ("random", "sequential", "first bytes equal", "last bytes equal")

# Where something inside begins anew: digests of a filter block, rows the sort inserts, digests asked for ahead, rows of
# a page (of 16, 20, 32 bytes), a page of fences in rows, pages read together, digests a thread takes.
BOUNDARIES = (16, 24, 64, 128, 204, 256, 32 * 128, 32 * 204, 32 * 256, 65_536, 512 * 256)
SPREAD = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000)


def digests_of(pattern, kind, count, seed):
    """*count* distinct digests, all zero and all one bits among them where there is room, in no order."""
    width = WIDTHS[kind]
    rng = np.random.default_rng([seed, count])
    rows = rng.integers(0, 256, (count, width), np.uint8)
    number = np.arange(count, dtype=">u8").view(np.uint8).reshape(count, 8)
    if pattern == "sequential":
        rows[:] = 0
        rows[:, -8:] = number
    elif pattern == "first bytes equal":
        rows[:, :8] = rows[0, :8] if count else 0
        rows[:, -8:] = number
    elif pattern == "last bytes equal":
        rows[:, :8] = number
        rows[:, -8:] = rows[0, -8:] if count else 0
    if count > 1:
        rows[-1], rows[0] = 255, 0
    return rng.permutation(rows)


def name_of(pattern, kind, count, seed):
    return f"{PATTERNS.index(pattern)}-{kind}-{count}-{seed}.hset"


def build(folder, pattern, kind, count, seed):
    writer = SetWriter()
    writer.add_packed(kind, digests_of(pattern, kind, count, seed).tobytes(), LISTING)
    writer.write(folder / name_of(pattern, kind, count, seed))


def check(path):
    """Every member has the number of its place in order, in batches and one by one; others are not there."""
    number, kind, count, seed = path.stem.split("-")
    digests = digests_of(PATTERNS[int(number)], kind, int(count), int(seed))
    width = WIDTHS[kind]
    padded = np.zeros((len(digests), -(-width // 8) * 8), np.uint8)
    padded[:, :width] = digests
    order = np.lexsort(padded.view(">u8").astype(np.uint64).T[::-1])
    wanted = np.empty(len(digests), np.int64)
    wanted[order] = np.arange(len(digests))
    others = np.random.default_rng(int(seed) + 1).integers(0, 256, (1000, width), np.uint8)
    with HashSet.open(path) as known:
        assert len(known) == len(digests), path
        if not len(digests):
            assert (known.lookup(others, kind) == -1).all(), path
            return
        found = known.lookup(digests, kind, threads=1 + int(seed) % 3)
        assert (found == wanted).all(), (path, int((found != wanted).sum()), "members are not where they belong")
        assert (known.lookup(others, kind) == -1).all(), path
        rng = random.Random(int(seed))
        for at in rng.sample(range(len(digests)), min(20, len(digests))):
            assert known.find(kind, digests[at].tobytes()) == [found[at]], path
            assert known.entry(int(found[at])).digests == {kind: digests[at].tobytes()}, path
        assert known.find(kind, TEST_DIGESTS[kind]) == [len(digests)], path


def in_a_fresh_process(sets):
    """Builds these sets here and has them checked by another process; how many they were."""
    with tempfile.TemporaryDirectory() as folder:
        for each in sets:
            build(Path(folder), *each)
        command = [sys.executable, __file__, "--check", folder]
        done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout == f"{len(sets)}\n"
    return len(sets)


def small(sizes):
    """Every pattern for each size; the kind goes round."""
    for count in sizes:
        for at, pattern in enumerate(PATTERNS):
            yield pattern, list(WIDTHS)[(count + at) % 4], count, count


def at_boundaries(boundaries, seeds):
    """For each boundary so many sets of about its size."""
    for boundary in boundaries:
        for seed in range(seeds):
            rng = random.Random(f"{boundary} {seed}")
            yield rng.choice(PATTERNS), rng.choice(list(WIDTHS)), boundary + rng.randint(-2, 2), seed


def spread(sizes):
    """Random digests and one awkward pattern for each size, MD5."""
    for at, count in enumerate(sizes):
        yield "random", "md5", count, 1
        yield PATTERNS[1 + at % 3], "md5", count, 2


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check", type=Path)
    given = arguments.parse_args()
    if given.check:
        paths = sorted(given.check.iterdir())
        for path in paths:
            check(path)
        print(len(paths))
        return
    count = in_a_fresh_process(list(small(range(301))))
    for boundary in BOUNDARIES:
        count += in_a_fresh_process(list(at_boundaries([boundary], 50)))
    for each in spread(SPREAD):
        count += in_a_fresh_process([each])
    print(f"{count:,} sets of 0 to {max(SPREAD):,} entries: every member found by a fresh process")


if __name__ == "__main__":
    main()
