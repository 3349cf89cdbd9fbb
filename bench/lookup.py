"""What does it cost to ask whether a digest is listed, for hashsieve and for what one would use instead?

A batch of 1,000,000 MD5 digests, none of them listed, against a set of 10,000,000 (``--entries``): the case of nearly
every file. CPU time of one pinned core, in nanoseconds a digest, the median of interleaved rounds; every contender runs
in every round, so that a busy machine disturbs all alike. Digests come as each contender takes them, made beforehand:
one array for hashsieve and numpy, a list of bytes for the others.

* hashsieve, filter alone -- may match or no match
* hashsieve, end to end -- filter hits confirmed in the exact table, each page read from the file and verified
* hashsieve, present keys -- the other end: every digest is listed
* Python set -- exact, all digests as objects in memory
* pybloomfiltermmap3, rbloom -- Bloom filters of about the same false-positive rate, unconfirmed
* sqlite3 -- BLOB primary key WITHOUT ROWID, page cache large enough for all of it
* numpy searchsorted -- the digests' first eight bytes sorted, a hit confirmed by the other eight; right only where no
  two digests share their first eight bytes

Usage: python bench/lookup.py [--entries N] [--keys N] [--rounds N] [--machine NAME] [--date DATE] [--no-save]
Raw figures go to bench/runs/<date>-<machine>/lookup.json.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hashsieve.hashset.compile import SetWriter
from hashsieve.hashset.hashset import HashSet
from hashsieve.model import Listing, Role

WIDTH = 16
Contender = Callable[[], int]


def cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine_name() -> str:
    return re.sub(r"[^a-z0-9]+", "-", cpu_model().lower()).strip("-")


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "in place"


def hashsieve_contenders(
    known: HashSet, absent: np.ndarray[Any, Any], present: np.ndarray[Any, Any]
) -> dict[str, Contender]:
    return {
        "hashsieve, filter alone": lambda: int(known.may_match(absent, "md5").sum()),
        "hashsieve, end to end": lambda: int((known.lookup(absent, "md5") >= 0).sum()),
        "hashsieve, present keys": lambda: int((known.lookup(present, "md5") >= 0).sum()),
    }


def peers(
    digests: np.ndarray[Any, Any], absent: np.ndarray[Any, Any], fpr: float, folder: Path
) -> Iterator[tuple[str, Contender | None, str]]:
    """(name, contender or None where it is not installed, version)."""
    listed = [row.tobytes() for row in digests]
    asked = [row.tobytes() for row in absent]

    everything = set(listed)
    yield "Python set", lambda: sum(map(everything.__contains__, asked)), platform.python_version()

    try:
        from pybloomfilter import BloomFilter  # type: ignore[import-not-found]
    except ImportError:
        yield "pybloomfiltermmap3", None, "not installed"
    else:
        mapped = BloomFilter(len(listed), fpr)
        mapped.update(listed)
        yield "pybloomfiltermmap3", lambda: sum(map(mapped.__contains__, asked)), version("pybloomfiltermmap3")

    try:
        from rbloom import Bloom
    except ImportError:
        yield "rbloom", None, "not installed"
    else:
        rust = Bloom(len(listed), fpr)
        rust.update(listed)
        yield "rbloom", lambda: sum(map(rust.__contains__, asked)), version("rbloom")

    database = sqlite3.connect(folder / "digests.sqlite")
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    database.execute(f"PRAGMA cache_size = {-(len(listed) * 64 // 1024 + 65536)}")
    database.execute("CREATE TABLE digests (digest BLOB PRIMARY KEY) WITHOUT ROWID")
    database.executemany("INSERT OR IGNORE INTO digests VALUES (?)", ((digest,) for digest in sorted(listed)))
    database.commit()
    database.execute("BEGIN")  # one read transaction for all questions: no file locks within
    query = "SELECT 1 FROM digests WHERE digest = ?"

    def ask_database() -> int:
        execute = database.cursor().execute
        return sum(execute(query, (digest,)).fetchone() is not None for digest in asked)

    yield "sqlite3", ask_database, sqlite3.sqlite_version

    halves = np.sort(
        digests.reshape(-1).view(">u8").astype(np.uint64).reshape(-1, 2).view([("a", "u8"), ("b", "u8")]), 0
    )
    first, second = np.ascontiguousarray(halves["a"][:, 0]), np.ascontiguousarray(halves["b"][:, 0])

    def ask_numpy() -> int:
        wanted = absent.reshape(-1).view(">u8").astype(np.uint64).reshape(-1, 2)
        at = np.searchsorted(first, wanted[:, 0])
        at[at == len(first)] = 0
        return int(((first[at] == wanted[:, 0]) & (second[at] == wanted[:, 1])).sum())

    yield "numpy searchsorted", ask_numpy, np.__version__


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--entries", type=int, default=10_000_000)
    arguments.add_argument("--keys", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--machine", default=machine_name(), help="name of the folder under bench/runs")
    arguments.add_argument("--date", default=datetime.date.today().isoformat())
    arguments.add_argument("--no-save", action="store_true")
    given = arguments.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    rng = np.random.default_rng(1)
    digests = rng.integers(0, 256, (given.entries, WIDTH), np.uint8)
    absent = rng.integers(0, 256, (given.keys, WIDTH), np.uint8)
    present = np.ascontiguousarray(digests[rng.integers(0, given.entries, given.keys)])

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = SetWriter()
        writer.add_packed("md5", digests.tobytes(), Listing("bench", Role.KNOWN_BAD))
        writer.write(folder / "known.hset")
        with HashSet.open(folder / "known.hset") as known:
            contenders: dict[str, Contender] = hashsieve_contenders(known, absent, present)
            versions = dict.fromkeys(contenders, version("hashsieve"))
            fpr = known.filter_fpr("md5")
            for label, contender, about in peers(digests, absent, fpr, folder):
                versions[label] = about
                if contender is None:
                    print(f"{label}: not installed, left out")
                else:
                    contenders[label] = contender
            times: dict[str, list[float]] = {label: [] for label in contenders}
            hits: dict[str, int] = {}
            for round_ in range(given.rounds + 1):
                for label, contender in contenders.items():
                    start = time.process_time_ns()
                    hits[label] = contender()
                    elapsed = time.process_time_ns() - start
                    if round_:  # the first round warms up
                        times[label].append(elapsed / given.keys)
            file_bytes = (folder / "known.hset").stat().st_size

    expected = {
        "hashsieve, filter alone": None,
        "hashsieve, present keys": given.keys,
        "pybloomfiltermmap3": None,
        "rbloom": None,
    }
    for label, count in hits.items():
        wanted = expected.get(label, 0)
        if wanted is not None and count != wanted:
            raise SystemExit(f"{label}: {count} hits instead of {wanted}")

    print(f"{given.keys:,} digests against {given.entries:,}, {given.rounds} rounds, CPU time of one core")
    print(f"{'':28}{'ns a digest':>12}{'lowest':>9}{'highest':>9}{'hits':>10}")
    for label, values in times.items():
        print(
            f"{label:28}{statistics.median(values):12.1f}{min(values):9.1f}{max(values):9.1f}{hits[label]:10,}"
            f"   {versions[label]}"
        )
    if given.no_save:
        return
    folder = Path(__file__).parent / "runs" / f"{given.date}-{given.machine}"
    folder.mkdir(parents=True, exist_ok=True)
    result = {
        "question": (__doc__ or "").splitlines()[0],
        "machine": {
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "kernel": platform.release(),
        },
        "python": platform.python_version(),
        "versions": versions,
        "entries": given.entries,
        "keys": given.keys,
        "rounds": given.rounds,
        "unit": "CPU nanoseconds a digest",
        "filter_fpr": fpr,
        "set_file_bytes": file_bytes,
        "median": {label: round(statistics.median(values), 2) for label, values in times.items()},
        "hits": hits,
        "rounds_raw": {label: [round(value, 2) for value in values] for label, values in times.items()},
    }
    path = folder / "lookup.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"raw figures: {path}")


if __name__ == "__main__":
    main()
