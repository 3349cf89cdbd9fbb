"""What does a sealed set cost a key more than a plain one?

Fingerprints by every kernel that runs here, and lookups of absent digests in the same list plain and sealed.
``python bench/seal.py [--entries N] [--rounds N]``; one line a figure, those that are promised say so.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable

import numpy as np

from hashsieve import HashSet, Listing, Role, _seal
from hashsieve.hashset.compile import SetWriter
from hashsieve.hashset.seal import SealKey

BATCH = 1 << 20
WIDTHS = {"md5": (1, 16), "sha1": (2, 20), "sha256": (3, 32)}
LIMIT_NS = {True: 80, False: 200}  # with the SHA instructions, and without


def best_ns(work: Callable[[], object], count: int, rounds: int) -> float:
    """The least time a key of several rounds, by the thread's own CPU clock: the machine may be busy."""
    times = []
    for _ in range(rounds):
        start = time.thread_time_ns()
        work()
        times.append((time.thread_time_ns() - start) / count)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    digests = rng.integers(0, 256, BATCH * 32, dtype=np.uint8).tobytes()
    secret = bytes(range(32))
    chosen = next(name for name, best in _seal.kernels() if best)
    for name, best in _seal.kernels():
        for kind, (code, width) in WIDTHS.items():
            count = BATCH // (8 if name == "portable" else 1)
            packed = memoryview(digests)[: count * width]
            took = best_ns(
                lambda n=name, c=code, p=packed, w=width: _seal.fingerprints_by(n, secret, c, p, w),
                count,
                options.rounds,
            )
            print(f"fingerprint of {kind}, {name}{' (chosen)' if best else ''}: {took:.1f} ns a key")
    limit = LIMIT_NS["sha" in chosen]
    with tempfile.TemporaryDirectory() as folder:
        keys = SealKey(secret)
        listed = rng.integers(0, 256, options.entries * 16, dtype=np.uint8).tobytes()
        took = {}
        asked = rng.integers(0, 256, (BATCH, 16), dtype=np.uint8)
        for name, seal in (("plain", None), ("sealed", keys)):
            path = os.path.join(folder, f"{name}.hset")
            writer = SetWriter(seal=seal)
            writer.add_packed("md5", listed, Listing("made up", Role.KNOWN_BAD))
            writer.write(path)
            with HashSet.open(path, seal_key=keys) as known:
                took[name] = best_ns(lambda k=known: k.lookup(asked, "md5"), BATCH, options.rounds)
        more = took["sealed"] - took["plain"]
        print(
            f"absent digests at {options.entries:,} entries: plain {took['plain']:.1f} ns, "
            f"sealed {took['sealed']:.1f} ns a key, {more:.1f} ns more, "
            f"promised at most {limit}: {'ok' if more <= limit else 'FAILED'}"
        )


if __name__ == "__main__":
    main()
