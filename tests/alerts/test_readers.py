"""Readers beside a writer: they never stop it, and never take for damage what is being written."""

import subprocess
import sys
import threading
import time

from alert_cases import Disk, all_lines, hurt, records

from hashsieve.alerts.journal import Journal, JournalReader, verify

_WRITER = """
import sys
from hashsieve.alerts.journal import Journal
with Journal(sys.argv[1], key=b"k" * 32, cap_bytes=8 << 20, segment_bytes=16 << 10) as journal:
    n = 0
    while True:
        n += 1
        journal.append(("alert", {"n": n, "pad": "x" * (n * 37 % 900)}))
        if n == 1:
            print("ready", flush=True)
        if n % 150 == 0:
            journal.retire(2, "purge", {"reason": "old"})
"""


def test_a_journal_that_is_being_written_is_never_reported_as_damaged(tmp_path, cli):
    child = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(tmp_path / "j")], env=cli.environment, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout.readline() == b"ready\n"
        end = time.monotonic() + 2.0
        rounds, highest = 0, 0
        while time.monotonic() < end:
            report = verify(tmp_path / "j", key=b"k" * 32)
            assert report.breaks == ()
            assert report.seq >= highest
            highest = report.seq
            reader = JournalReader(tmp_path / "j")
            assert list(reader.lines())
            assert reader.damaged == 0
            rounds += 1
        assert rounds >= 3
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_writer_in_a_thread_of_the_same_process_does_not_mind_readers(tmp_path):
    with Journal(tmp_path / "j", storage=Disk(), segment_bytes=16 << 10, cap_bytes=8 << 20) as journal:
        stop = threading.Event()

        def write():
            n = 0
            while not stop.is_set():
                n += 1
                journal.append(("alert", {"n": n}))

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(20):
                numbers = [r["n"] for r in records(tmp_path / "j", "alert")]
                assert numbers == list(range(1, len(numbers) + 1))
        finally:
            stop.set()
            thread.join()


def test_a_damaged_last_record_that_was_acknowledged_counts_as_damage(tmp_path):
    with Journal(tmp_path / "j") as journal:
        for n in range(3):
            journal.append(("alert", {"n": n}))
    last = all_lines(tmp_path / "j")[-1]
    hurt(tmp_path / "j" / last.segment, last.offset + 30, b"\0")
    reader = JournalReader(tmp_path / "j")
    assert [line.record.get("n") for line in reader.lines()] == [None, 0, 1]
    assert reader.damaged == 1
