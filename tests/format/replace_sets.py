"""Replaces a followed set many times while threads look up: python tests/format/replace_sets.py --replacements 200

Says what went wrong: an answer, an error, memory or open files that grew.
"""

import argparse
import gc
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from hashsieve import follow
from hashsieve.hashset.compile import SetWriter
from hashsieve.model import Listing, Role

THREADS = 4
BAD = Listing("made up", Role.KNOWN_BAD)


def private_bytes():
    gc.collect()
    with open("/proc/self/smaps_rollup") as file:
        return int(re.search(r"Private_Dirty: *([0-9]+)", file.read())[1]) * 1024


def sources(folder, entries):
    """Two sets with different content but for 1,000 digests, and those."""
    rng = np.random.default_rng(3)
    common = rng.integers(0, 256, (1000, 16), np.uint8)
    paths = []
    for number in range(2):
        writer = SetWriter(generation=1, bits_per_entry=64)
        writer.add_packed("md5", rng.integers(0, 256, (entries, 16), np.uint8).tobytes() + common.tobytes(), BAD)
        paths.append(folder / f"{number}.hset")
        writer.write(paths[-1])
    return paths, common


def replaced_under_load(folder, replacements, entries):
    """A list of what went wrong. Filters take 8 bytes an entry: a generation that is kept shows."""
    paths, common = sources(folder, entries)
    path = folder / "followed.hset"
    wrong, asked, ended = [], [0] * THREADS, threading.Event()

    def put(number):
        shutil.copy(paths[number % 2], f"{path}.tmp")
        os.replace(f"{path}.tmp", path)

    put(0)
    with follow(path, poll_seconds=0) as followed:

        def ask(number):
            while not ended.is_set():
                try:
                    if not (followed.current.lookup(common, "md5") >= 0).all():
                        wrong.append("a listed digest was not found")
                except Exception as problem:
                    wrong.append(f"{type(problem).__name__}: {problem}")
                asked[number] += 1
                time.sleep(0.001)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        memory, files, maps = [], [], []
        for number in range(1, replacements + 1):
            before = followed.current.root
            put(number)
            while followed.current.root == before:
                time.sleep(0.001)
            memory.append(private_bytes())
            files.append(len(os.listdir("/proc/self/fd")))
            with open("/proc/self/maps") as file:
                maps.append(sum(1 for _ in file))
        ended.set()
        for thread in threads:
            thread.join()
    if not min(asked):
        wrong.append("a thread never asked")
    # Each thread may hold one older generation at a moment, so the least of several moments counts.
    third = replacements // 3
    early, late = slice(third // 2, 3 * third // 2), slice(-third, None)
    for name, figures, room in (("memory", memory, entries * 8 // 2), ("files", files, 1), ("maps", maps, 8)):
        if min(figures[late]) > min(figures[early]) + room:
            wrong.append(f"{name} grew: {min(figures[early])} early, {min(figures[late])} late")
    return wrong


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--replacements", type=int, default=200)
    arguments.add_argument("--entries", type=int, default=1_000_000)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wrong = replaced_under_load(Path(folder), given.replacements, given.entries)
    for line in wrong[:10]:
        print(line, file=sys.stderr)
    print(
        f"{given.replacements} replacements under {THREADS} threads: {'FAILED' if wrong else 'flat, no wrong answer'}"
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
