"""How fast VICS documents are read on one core, how much memory that takes, and what a whole compile of one costs.

Documents are made up (seeded): one line, about 400 bytes a record, MD5 and SHA-1, text with escapes. *read* is process
CPU time of iterating the list, the best of the rounds, the file in the page cache; beside it msgspec decoding the whole
document into typed objects, which a list of several GB does not allow. Memory is the highest resident size of a process
of its own, the interpreter included. ``--compile`` adds ``hashsieve compile``, its time and its memory.

Usage: python bench/lists_json.py [--records N] [--rounds N] [--compile] [--memory-only] [--out DIR]
The full-size question is --records 5000000 --compile (2 GB of disk). Raw figures go to OUT/lists_json.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from hashsieve.lists import read_list

PROMISED_RECORDS_PER_S = 500_000
PROMISED_MIB = 600
MARKER = "http://github.com/VICSDATAMODEL/ProjectVic/DataModels/2.0.xml/US/$metadata#Media"


def write_document(path: Path, records: int) -> None:
    """A hash set in one line."""
    rng = random.Random(1)
    with open(path, "wb", buffering=1 << 20) as file:
        file.write(b'{"@odata.context":"%b","value":[' % MARKER.encode())
        for number in range(records):
            digests = rng.randbytes(36).hex().upper()
            file.write(
                b'%b{"MediaID":%d,"Category":%d,"MD5":"%b","SHA1":"%b","MediaSize":%d,"VictimIdentified":"false",'
                b'"OffenderIdentified":"false","IsDistributed":"true","IsPrecategorized":true,"MimeType":"image/jpeg",'
                b'"DateUpdated":"2023-05-06T07:08:09.1234567Z","Series":"S\\u00e9rie %d } ] \\" x","Tags":"",'
                b'"RelativeFilePath":"a\\\\b\\\\%d.jpg"}'
                % (
                    b"," if number else b"",
                    number + 1,
                    rng.randrange(6),
                    digests[:32].encode(),
                    digests[32:].encode(),
                    rng.randrange(1, 10**7),
                    number % 100,
                    number,
                )
            )
        file.write(b"]}")


class Medium(msgspec.Struct, gc=False):
    """The members a reader needs."""

    MediaID: int
    Category: int
    MD5: str
    SHA1: str
    MediaSize: int


class Document(msgspec.Struct, gc=False):
    """The whole document."""

    value: list[Medium]


def best_seconds(work: object, rounds: int) -> float:
    """CPU time of *work*, the best of *rounds*."""
    assert callable(work)
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def peak_mib(*command: str) -> tuple[float, float]:
    """Highest resident size in MiB and wall seconds of a Python process."""
    start = time.perf_counter()
    code = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, sys.executable, *command], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1]) / 1024, time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--memory-only", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    figures: dict[str, float] = {"records": arguments.records}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.json"
        write_document(path, arguments.records)
        figures["file_bytes"] = path.stat().st_size
        if not arguments.memory_only:
            seconds = best_seconds(lambda: sum(1 for _ in read_list(path)), arguments.rounds)
            rate = figures["read_records_per_s"] = arguments.records / seconds
            ok = "ok" if rate >= PROMISED_RECORDS_PER_S else "MISSED"
            print(f"vics read: {rate:,.0f} records/s on one core (promised {PROMISED_RECORDS_PER_S:,}: {ok})")
            if figures["file_bytes"] < 1 << 29:
                content = path.read_bytes()
                decode = msgspec.json.Decoder(Document).decode
                rate = arguments.records / best_seconds(lambda: decode(content), arguments.rounds)
                figures["msgspec_document_records_per_s"] = rate
                print(f"msgspec, whole document in memory, no records made: {rate:,.0f} records/s")
                del content
        code = "import sys; from hashsieve.lists import read_list; print(sum(1 for _ in read_list(sys.argv[1])))"
        figures["read_peak_mib"], figures["read_wall_s"] = peak_mib("-c", code, str(path))
        print(
            f"vics read: {figures['read_peak_mib']:.0f} MiB at most, {figures['read_wall_s']:.1f} s with start and end"
        )
        if arguments.compile:
            out = str(Path(folder) / "out.hset")
            mib, wall = peak_mib("-m", "hashsieve", "compile", "-o", out, str(path))
            figures["compile_peak_mib"], figures["compile_wall_s"] = mib, wall
            ok = "ok" if mib <= PROMISED_MIB else "MISSED"
            print(f"vics compile: {mib:.0f} MiB at most (promised {PROMISED_MIB}: {ok}), {wall:.1f} s")
    print(f"this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "lists_json.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
