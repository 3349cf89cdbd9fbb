"""How much later is an alert durable than a plain write and fdatasync of the same bytes in the same directory?

Both in turn, in one run, on one disk: ``python bench/journal.py [DIR] [--count N] [--key] [--bytes N]``. What is
measured is the whole call: the chained line, its sync, and the head. The figure promised is the difference of the 99th
percentiles, at most 2 ms.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time

from hashsieve.alerts.journal import Journal

PROMISED_MS = 2.0


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measure(directory: str, count: int, size: int, key: bytes | None) -> tuple[list[float], list[float]]:
    """Milliseconds of each plain write and of each alert."""
    work = tempfile.mkdtemp(prefix="journal-bench-", dir=directory)
    plain_ms, alert_ms = [], []
    try:
        with Journal(os.path.join(work, "journal"), key=key) as journal:
            fd = os.open(os.path.join(work, "plain"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            for number in range(count + 20):
                record = {"n": number, "pad": "x" * size}
                line = b"x" * (size + 300)
                start = time.perf_counter_ns()
                os.write(fd, line)
                os.fdatasync(fd)
                middle = time.perf_counter_ns()
                journal.append(("alert", record))
                end = time.perf_counter_ns()
                if number >= 20:
                    plain_ms.append((middle - start) / 1e6)
                    alert_ms.append((end - middle) / 1e6)
            os.close(fd)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return plain_ms, alert_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", default=".")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--bytes", type=int, default=1500)
    parser.add_argument("--key", action="store_true", help="with a key that steps forward")
    options = parser.parse_args()
    plain, alert = measure(options.directory, options.count, options.bytes, b"k" * 32 if options.key else None)
    for name, values in (("plain write + fdatasync", plain), ("durable alert", alert)):
        figures = "  ".join(f"p{int(share * 100)} {percentile(values, share):.2f}" for share in (0.5, 0.9, 0.99))
        print(f"{name}: {figures} ms")
    later = percentile(alert, 0.99) - percentile(plain, 0.99)
    ok = "ok" if later <= PROMISED_MS else "FAILED"
    print(f"an alert is durable later by {later:.2f} ms (p99), promised at most {PROMISED_MS:.0f}: {ok}")


if __name__ == "__main__":
    main()
