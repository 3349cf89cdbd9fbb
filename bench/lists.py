"""How many rows of a hash list are read in a second, format by format, on one core.

Lists are made up (seeded) and written to a temporary folder; every figure is the best of the rounds, process CPU time,
the file in the page cache. *batches* is what a compilation takes; *records* makes one object a row, as an embedder that
iterates a list does. Beside them what one would write without us: a loop over the lines of the file.

Usage: python bench/lists.py [--rows N] [--rounds N] [--formats NAME,...] [--out DIR]
Raw figures go to OUT/lists.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import time
from binascii import unhexlify
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from hashsieve.lists import ListOptions, read_list
from hashsieve.model import DigestKind, Role

PROMISED_ROWS_PER_S = 1_500_000
FOLDER = "some folder/of a made-up tree/"


def digests(kind: str, rows: int) -> Iterator[str]:
    """Made-up digests in hex, from one stream of pseudo-random bytes."""
    width = DigestKind(kind).size_bytes
    stream = hashlib.shake_128(f"hashsieve bench {kind}".encode())
    raw = stream.digest(rows * width)
    return (raw[at : at + width].hex() for at in range(0, len(raw), width))


def bare(kind: str, rows: int) -> Iterator[str]:
    return (f"{digest}\n" for digest in digests(kind, rows))


def checksum_lines(kind: str, rows: int) -> Iterator[str]:
    return (f"{digest}  {FOLDER}{number}.jpg\n" for number, digest in enumerate(digests(kind, rows)))


def tagged(kind: str, rows: int) -> Iterator[str]:
    tag = kind.upper()
    return (f"{tag} ({FOLDER}{number}.jpg) = {digest}\n" for number, digest in enumerate(digests(kind, rows)))


def hashdeep(kind: str, rows: int) -> Iterator[str]:
    yield "%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n## \n"
    pairs = zip(digests("md5", rows), digests("sha256", rows), strict=True)
    for number, (md5, sha256) in enumerate(pairs, 1):
        yield f"{number},{md5},{sha256},{FOLDER}{number}.jpg\n"


def nsrl(kind: str, rows: int) -> Iterator[str]:
    yield '"SHA-1","MD5","CRC32","FileName","FileSize","ProductCode","OpSystemCode","SpecialCode"\n'
    pairs = zip(digests("sha1", rows), digests("md5", rows), strict=True)
    for number, (sha1, md5) in enumerate(pairs, 1):
        yield f'"{sha1.upper()}","{md5.upper()}","{number:08X}","file {number}.jpg",{number},{number % 999},"WIN",""\n'


def csv_rows(kind: str, rows: int) -> Iterator[str]:
    yield '"MD5","SHA1","FileName","FileSize"\n'
    for number, (sha1, md5) in enumerate(zip(digests("sha1", rows), digests("md5", rows), strict=True), 1):
        yield f'"{md5}","{sha1}","{FOLDER}{number}.jpg","{number}"\n'


def clamav(kind: str, rows: int) -> Iterator[str]:
    return (f"{digest}:{number + 1}:Some.Name-{number}\n" for number, digest in enumerate(digests(kind, rows)))


def ioc(kind: str, rows: int) -> Iterator[str]:
    return (f"{digest};a comment, number {number}\n" for number, digest in enumerate(digests(kind, rows)))


# Name: what writes the rows, kind of digest, whether the figure is promised.
LISTS: dict[str, tuple[Callable[[str, int], Iterator[str]], str, bool]] = {
    "md5 bare": (bare, "md5", True),
    "sha1 bare": (bare, "sha1", True),
    "sha256 bare": (bare, "sha256", True),
    "md5sum": (checksum_lines, "md5", True),
    "sha256sum": (checksum_lines, "sha256", True),
    "hashdeep": (hashdeep, "sha256", True),
    "md5 tagged": (tagged, "md5", False),
    "nsrl-text": (nsrl, "md5", False),
    "csv": (csv_rows, "md5", False),
    "clamav": (clamav, "md5", False),
    "ioc-lines": (ioc, "md5", False),
}


def best_rate(work: Callable[[], int], rows: int, rounds: int) -> float:
    """Rows a second of CPU time, the best of *rounds*; *work* gives the rows it saw, to be checked."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        seen = work()
        seconds.append(time.process_time() - start)
        if seen != rows:
            raise SystemExit(f"read {seen} rows of {rows}")
    return rows / min(seconds)


def line_loop(path: Path) -> int:
    """What one would write: the first word that is hex of a likely length."""
    count = 0
    with open(path, "rb") as file:
        for line in file:
            for word in line.replace(b",", b" ").split():
                if len(word) in (32, 40, 64):
                    unhexlify(word)
                    count += 1
                    break
    return count


def main() -> None:
    """Measure and print one line a list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--formats", default=",".join(LISTS))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.formats.split(","):
            write, kind, promised = LISTS[name]
            path = Path(folder) / "list"
            with open(path, "w", encoding="ascii") as file:
                file.writelines(write(kind, arguments.rows))
            declared = DigestKind(kind) if kind == "sha256" and name != "hashdeep" else None
            options = ListOptions(role=Role.KNOWN_GOOD if name == "nsrl-text" else Role.KNOWN_BAD, digest=declared)

            def batches(path: Path = path, options: ListOptions = options) -> int:
                return sum(map(len, read_list(path, options).batches()))

            def records(path: Path = path, options: ListOptions = options) -> int:
                return sum(1 for _ in read_list(path, options))

            rates = {
                "batches": best_rate(batches, arguments.rows, arguments.rounds),
                "records": best_rate(records, arguments.rows, arguments.rounds),
            }
            if promised:
                rates["line loop"] = best_rate(partial(line_loop, path), arguments.rows, arguments.rounds)
            ok = rates["batches"] >= PROMISED_ROWS_PER_S
            verdict = f" (promised {PROMISED_ROWS_PER_S:,}: {'ok' if ok else 'MISSED'})" if promised else ""
            figures = ", ".join(f"{what} {rate:,.0f}" for what, rate in rates.items())
            print(f"{name}: rows/s: {figures}{verdict}")
            results.append({"list": name, "rows": arguments.rows, "file_bytes": path.stat().st_size, **rates})
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "lists.json").write_text(json.dumps(results, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
