"""What does it cost to open a set and ask whether digests are listed, for hashsieve and what one would use instead?

Batches of 1,000,000 MD5 digests against sets of 1,000,000, 10,000,000 and 100,000,000 (``--entries``), none of them
listed: the case of nearly every file. CPU time of one pinned core, in nanoseconds a digest, the median of interleaved
rounds; every contender runs in every round, so that a busy machine disturbs all alike. Digests come as each contender
takes them, made beforehand: one array for hashsieve and numpy, a list of bytes for the others.

* hashsieve, filter alone -- may match or no match
* hashsieve, end to end -- filter hits confirmed in the exact table, each page read from the file and verified
* hashsieve, present keys -- the other end: every digest is listed
* hashsieve, open -- wall time of opening the set, file in the page cache, and what private memory it then holds
  beyond page list and filter (a process of its own)
* hashsieve lookup - -- the same absent digests as lines of text through the command, answers thrown away; wall time,
  start and opening included
* Python set -- exact, all digests as objects in memory
* pybloomfiltermmap3, rbloom -- Bloom filters of about the same false-positive rate, unconfirmed
* sqlite3 -- BLOB primary key WITHOUT ROWID, page cache large enough for all of it
* numpy searchsorted -- the digests' first eight bytes sorted, a hit confirmed by the other eight; right only where no
  two digests share their first eight bytes

The peers stay at home beyond ``--peers-up-to`` entries: at 100,000,000 a Python set alone takes 10 GB.

Usage: python bench/lookup.py [--entries N ...] [--keys N] [--rounds N] [--sets DIR] [--machine NAME] [--no-save]
Sets are kept in DIR and used again. Raw figures go to bench/runs/<date>-<machine>/lookup.json.
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
import subprocess
import sys
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
CHUNK = 1_000_000
Contender = Callable[[], int]

# What is promised, by number of entries: filter alone, end to end (ns a digest).
PROMISED_NS = {1_000_000: (4, 12), 10_000_000: (12, 20), 100_000_000: (18, 28)}
PROMISED_PRESENT_NS = {10_000_000: 250}
PROMISED_OPEN_MS = {100_000_000: 200}
PROMISED_MEMORY_MIB = 25

OPEN = """
import json, re, statistics, sys, time
from hashsieve.hashset.hashset import HashSet
def private():
    with open("/proc/self/smaps_rollup") as file:
        return int(re.search(r"Private_Dirty: *([0-9]+)", file.read())[1]) * 1024
walls, cpus = [], []
for _ in range(int(sys.argv[2])):
    start, cpu = time.perf_counter(), time.process_time()
    known = HashSet.open(sys.argv[1])
    walls.append((time.perf_counter() - start) * 1000)
    cpus.append((time.process_time() - cpu) * 1000)
    beyond = private() - known.filter_bytes("md5") - known.page_count * 16
    known.close()
print(json.dumps([walls, cpus, beyond]))
"""


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


def digests_of(seed: int, count: int) -> Iterator[np.ndarray[Any, Any]]:
    """The digests of a set, in stretches, the same for the same seed."""
    rng = np.random.default_rng(seed)
    for start in range(0, count, CHUNK):
        yield rng.integers(0, 256, (min(CHUNK, count - start), WIDTH), np.uint8)


def set_of(entries: int, folder: Path) -> Path:
    path = folder / f"{entries}.hset"
    if not path.exists():
        writer = SetWriter()
        for digests in digests_of(1, entries):
            writer.add_packed("md5", digests.tobytes(), Listing("bench", Role.KNOWN_BAD))
        writer.write(path)
    return path


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

    database = sqlite3.connect(folder / f"{len(listed)}.sqlite")
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


def opening(path: Path, rounds: int) -> dict[str, float]:
    """Wall time of opening a set whose file is in the page cache, and private memory beyond page list and filter."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass
    child = subprocess.run([sys.executable, "-c", OPEN, str(path), str(rounds + 1)], capture_output=True, check=True)
    walls, cpus, beyond = json.loads(child.stdout)
    return {
        "open_ms": round(statistics.median(walls[1:]), 1),
        "open_cpu_ms": round(statistics.median(cpus[1:]), 1),
        "beyond_filter_mib": round(beyond / 2**20, 1),
    }


def lines_per_second(path: Path, absent: np.ndarray[Any, Any], folder: Path) -> float:
    """Lines that ``hashsieve lookup --json -`` answers a second, of ten times the digests given."""
    text = folder / "lines.txt"
    with text.open("wb") as file:
        lines = b"".join(row.tobytes().hex().encode() + b"\n" for row in absent)
        for _ in range(10):
            file.write(lines)
    command = [sys.executable, "-m", "hashsieve", "lookup", "--json", "-s", str(path), "-"]
    with text.open("rb") as source:
        start = time.perf_counter()
        subprocess.run(command, stdin=source, stdout=subprocess.DEVNULL, check=True)
        return 10 * len(absent) / (time.perf_counter() - start)


def measure(given: argparse.Namespace, entries: int, sets: Path, folder: Path) -> dict[str, Any]:
    """All figures for one size."""
    rng = np.random.default_rng(2)
    absent = rng.integers(0, 256, (given.keys, WIDTH), np.uint8)
    # Present keys are spread over the whole set: as many from every stretch of it.
    stretches = -(-entries // CHUNK)
    per_stretch = -(-given.keys // stretches)
    present = np.concatenate(
        [part[rng.integers(0, len(part), per_stretch)] for part in digests_of(1, entries)]
    )[: given.keys]  # fmt: skip
    present = np.ascontiguousarray(present[rng.permutation(len(present))])
    path = set_of(entries, sets)
    result: dict[str, Any] = {"entries": entries, "set_file_bytes": path.stat().st_size}
    result |= opening(path, given.rounds)
    result["command_lines_per_second"] = round(lines_per_second(path, absent, folder))
    with HashSet.open(path) as known:
        contenders = hashsieve_contenders(known, absent, present)
        versions = dict.fromkeys(contenders, version("hashsieve"))
        result["filter_fpr"] = fpr = known.filter_fpr("md5")
        if entries <= given.peers_up_to:
            digests = np.concatenate(list(digests_of(1, entries)))
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
    unconfirmed = ("hashsieve, filter alone", "pybloomfiltermmap3", "rbloom")
    for label, count in hits.items():
        wanted = given.keys if label == "hashsieve, present keys" else 0
        if label not in unconfirmed and count != wanted:
            raise SystemExit(f"{label}: {count} hits instead of {wanted}")
    result["versions"] = versions
    result["median"] = {label: round(statistics.median(values), 2) for label, values in times.items()}
    result["hits"] = hits
    result["rounds_raw"] = {label: [round(value, 2) for value in values] for label, values in times.items()}
    return result


def report(result: dict[str, Any], keys: int) -> None:
    """Prints a size's figures, those that are promised with the promise."""
    entries = result["entries"]
    promised: dict[str, int] = {}
    if entries in PROMISED_NS:
        promised = dict(zip(("hashsieve, filter alone", "hashsieve, end to end"), PROMISED_NS[entries], strict=True))
    if entries in PROMISED_PRESENT_NS:
        promised["hashsieve, present keys"] = PROMISED_PRESENT_NS[entries]
    print(f"{keys:,} digests against {entries:,}, CPU time of one core")
    print(f"{'':28}{'ns a digest':>12}{'lowest':>9}{'highest':>9}{'hits':>10}")
    for label, values in result["rounds_raw"].items():
        figure = result["median"][label]
        line = f"{label:28}{figure:12.1f}{min(values):9.1f}{max(values):9.1f}{result['hits'][label]:10,}"
        print(f"{line}   {kept(figure, promised.get(label), 'ns') or result['versions'][label]}")
    print(f"{'hashsieve lookup -':28}{result['command_lines_per_second'] / 1e6:12.1f} million lines a second")
    for label, figure, promise, unit in (
        ("hashsieve, open", result["open_ms"], PROMISED_OPEN_MS.get(entries), "ms"),
        ("hashsieve, open, CPU time", result["open_cpu_ms"], None, "ms"),
        ("hashsieve, memory beyond", result["beyond_filter_mib"], PROMISED_MEMORY_MIB, "MiB"),
    ):
        print(f"{label:28}{figure:12.1f} {unit:27}   {kept(figure, promise, unit)}".rstrip())


def kept(figure: float, promise: float | None, unit: str) -> str:
    if promise is None:
        return ""
    return f"promised {promise} {unit}: {'ok' if figure <= promise else 'FAILED'}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--entries", type=int, nargs="+", default=[1_000_000, 10_000_000, 100_000_000])
    arguments.add_argument("--keys", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--peers-up-to", type=int, default=10_000_000)
    arguments.add_argument("--sets", type=Path, help="folder with sets of earlier runs, for this one and the next")
    arguments.add_argument("--machine", default=machine_name(), help="name of the folder under bench/runs")
    arguments.add_argument("--date", default=datetime.date.today().isoformat())
    arguments.add_argument("--no-save", action="store_true")
    given = arguments.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    with tempfile.TemporaryDirectory() as name:
        sets = given.sets or Path(name)
        sets.mkdir(parents=True, exist_ok=True)
        results = []
        for entries in given.entries:
            results.append(measure(given, entries, sets, Path(name)))
            report(results[-1], given.keys)
    if given.no_save:
        return
    folder = Path(__file__).parent / "runs" / f"{given.date}-{given.machine}"
    folder.mkdir(parents=True, exist_ok=True)
    whole = {
        "question": (__doc__ or "").splitlines()[0],
        "machine": {
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "kernel": platform.release(),
        },
        "python": platform.python_version(),
        "keys": given.keys,
        "rounds": given.rounds,
        "unit": "CPU nanoseconds a digest",
        "sizes": results,
    }
    path = folder / "lookup.json"
    path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    print(f"raw figures: {path}")


if __name__ == "__main__":
    main()
