"""100,000 alerts of 1,000 digests, offline, under a cap of 10 MiB: never over it, and nothing dropped.

``python tests/alerts/flood.py [--alerts N]``; a test runs the same at a smaller size.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from alert_cases import Disk, Machine, match_of, records

from hashsieve.alerts.journal import verify
from hashsieve.alerts.merge import Recorder, folded_ids


def run(directory: Path, alerts: int, digests: int, cap_bytes: int, own_lines: int) -> str:
    """Runs it; a line that says what came out. *own_lines*: matches of one content that get an id of their own."""
    machine = Machine()
    segment_bytes = cap_bytes // 8
    acknowledged = set()
    biggest = counted = 0
    matches = [match_of(f"/offline/{n}", b"content %d" % n) for n in range(digests)]
    options = {"environment": machine, "storage": Disk(), "cap_bytes": cap_bytes, "segment_bytes": segment_bytes}
    with Recorder(directory, own_lines=own_lines, **options) as recorder:
        for number in range(alerts):
            machine.pass_seconds(0.5)
            found = recorder.add(matches[number % digests])
            assert found.state != "must-rescan", "the journal was full"
            if found.state == "stored":
                acknowledged.add(found.id)
            if number % 500 == 0:
                size = sum(path.stat().st_size for path in directory.glob("alerts-*"))
                biggest = max(biggest, size)
        recorder.flush()
    assert biggest <= cap_bytes + segment_bytes + (64 << 10), f"{biggest} bytes"
    known = {record["id"] for record in records(directory, "alert", "update")}
    folds = records(directory, "fold")
    for fold in folds:
        known.update(folded_ids(fold))
    assert acknowledged <= known, "an id was dropped"
    for record in (*records(directory, "alert", "update"), *folds):
        counted += record["count"] if "digests" in record else 0
    assert counted == alerts, f"{counted} of {alerts} are counted"
    assert verify(directory).intact
    most, promised = biggest / 2**20, (cap_bytes + segment_bytes + (64 << 10)) / 2**20
    return (
        f"{alerts} alerts of {digests} digests under {cap_bytes >> 20} MiB: {len(acknowledged)} ids, "
        f"{len(folds)} folds, none dropped, at most {most:.1f} MiB, promised {promised:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=100_000)
    options = parser.parse_args()
    for own_lines in (16, 10**9):
        root = Path(tempfile.mkdtemp(prefix="flood-"))
        try:
            print(run(root / "journal", options.alerts, min(1000, options.alerts // 100), 10 << 20, own_lines))
        finally:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
