"""Damage of any kind: passed over, set aside, told once; nothing intact is lost, nothing is overlooked."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import damage_journals
import pytest
from alert_cases import KEY, Disk, all_lines, hurt, records

from hashsieve.alerts.journal import Journal, JournalReader, verify

SMALL = {"cap_bytes": 8 << 20, "segment_bytes": 16 << 10, "reserve_bytes": 32 << 10}


@pytest.fixture
def twenty(tmp_path):
    """A journal of twenty segments and its alerts by number."""
    with Journal(tmp_path / "j", storage=Disk(), **SMALL) as journal:
        n = 0
        while len(journal.segments) < 20:
            n += 1
            journal.append(("alert", {"n": n, "pad": "x" * 700}))
    return tmp_path / "j"


def numbers(directory):
    return [r["n"] for r in records(directory, "alert")]


def restart(directory):
    told = []
    with Journal(directory, storage=Disk(), on_event=told.append, **SMALL) as journal:
        journal.append(("alert", {"n": 0}))
    return [event.kind for event in told]


def test_random_damage_never_loses_an_untouched_record_nor_goes_unnoticed():
    assert damage_journals.run(60, seed=7) == 60


@pytest.mark.parametrize("where", ["header", "body", "last byte"])
def test_one_damaged_segment_of_twenty_costs_what_was_hit_and_nothing_else(twenty, where):
    path = twenty / JournalReader(twenty).segments()[6]
    lines = [line for line in all_lines(twenty) if line.segment == path.name]
    hit = {"header": lines[0], "body": lines[5], "last byte": lines[-1]}[where]
    offset = hit.offset + (len(hit.raw) - 1 if where == "last byte" else 10)
    before = numbers(twenty)
    hurt(path, offset, b"\0")
    lost = [] if where == "header" else [hit.record["n"]]
    assert numbers(twenty) == [n for n in before if n not in lost]
    report = verify(twenty)
    places = [(each.segment, each.offset, each.length_bytes) for each in report.breaks if each.what == "bytes"]
    assert places == [(path.name, hit.offset, len(hit.raw) + 1)]
    assert restart(twenty) == ["journal-damage"]
    aside = list((twenty / "quarantine").iterdir())
    assert [each.name for each in aside] == [f"{path.name}-{hit.offset}"]
    assert aside[0].stat().st_size == len(hit.raw) + 1
    # Told once, kept aside once, and nothing is read twice.
    assert restart(twenty) == []
    assert restart(twenty) == []
    assert len(list((twenty / "quarantine").iterdir())) == 1
    assert numbers(twenty) == [n for n in before if n not in lost] + [0, 0, 0]


@pytest.mark.parametrize("which", [0, 9, -1])
def test_a_removed_segment_is_a_gap_with_its_numbers_and_the_rest_is_there(twenty, which):
    name = JournalReader(twenty).segments()[which]
    gone = [line.seq for line in all_lines(twenty) if line.segment == name]
    kept = [line.seq for line in all_lines(twenty) if line.segment != name]
    (twenty / name).unlink()
    assert [line.seq for line in all_lines(twenty)] == kept
    missing = [each for each in verify(twenty).breaks if each.what == "missing"]
    assert [(each.seq, each.last_seq) for each in missing] == [(gone[0], gone[-1])]
    assert restart(twenty) == ["journal-damage"]
    assert restart(twenty) == []
    assert max(line.seq for line in all_lines(twenty)) > max(gone)


@pytest.mark.parametrize("kind", ["zeros", "nothing", "half", "gone"])
@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "keyed"])
def test_a_lost_head_is_rebuilt_and_numbers_do_not_start_again(tmp_path, kind, key):
    with Journal(tmp_path / "j", key=key) as journal:
        for n in range(5):
            journal.append(("alert", {"n": n}))
        last = journal.head[0]
    head = tmp_path / "j" / "head"
    data = head.read_bytes()
    if kind == "gone":
        head.unlink()
    else:
        head.write_bytes({"zeros": bytes(len(data)), "nothing": b"", "half": data[: len(data) // 2]}[kind])
    assert any(each.what == "head" for each in verify(tmp_path / "j").breaks)
    told = []
    with Journal(tmp_path / "j", on_event=told.append) as journal:
        (new,) = journal.append(("alert", {"n": 5}))
    assert [event.kind for event in told if "damage" in event.kind or "rebuilt" in event.kind]
    assert new.seq > last
    assert numbers(tmp_path / "j") == list(range(6))
    told.clear()
    Journal(tmp_path / "j", on_event=told.append).close()
    assert [event.kind for event in told if event.kind != "journal-key-lost"] == []


def test_one_damaged_copy_of_the_head_costs_nothing(tmp_path):
    with Journal(tmp_path / "j") as journal:
        for n in range(5):
            journal.append(("alert", {"n": n}))
        last = journal.head[0]
    for copy in (0, 1):
        hurt(tmp_path / "j" / "head", 4096 * copy + 30, b"~")
        told = []
        with Journal(tmp_path / "j", on_event=told.append) as journal:
            assert last < journal.append(("alert", {"n": 5}))[0].seq < last + 10
            last = journal.head[0]
        assert [event.kind for event in told] == ["state-rebuilt"]


@pytest.mark.parametrize("content", [b"", b"\0" * 40_000, b"\n" * 40_000, os.urandom(40_000), b"{" * 3_000_000])
def test_a_segment_of_anything_at_all_is_read_to_its_end(twenty, content):
    path = twenty / JournalReader(twenty).segments()[3]
    path.write_bytes(content)
    before = numbers(twenty)
    assert len(before) > 200
    assert any(each.what == "missing" for each in verify(twenty).breaks)
    assert "journal-damage" in restart(twenty)
    assert restart(twenty) == []
    aside = twenty / "quarantine"
    assert not aside.exists() or sum(each.stat().st_size for each in aside.iterdir()) <= 1 << 20


def test_an_unreadable_part_moves_the_position(twenty):
    import errno

    class Bad(Disk):
        def read(self, fd, size, offset):
            if offset == 0 and not self.rule:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(fd, size, offset)

    name = JournalReader(twenty).segments()[3]
    reader = JournalReader(twenty, storage=Bad())
    found = [line.seq for line in reader.lines()]
    assert reader.damaged > 0
    assert len(found) > 100  # what lies behind the first page of each segment
    assert name in {line.segment for line in JournalReader(twenty, storage=Bad()).lines()}


def test_reading_a_damaged_journal_stops_on_a_signal(twenty, cli):
    path = twenty / JournalReader(twenty).segments()[3]
    path.write_bytes(os.urandom(20_000_000))
    code = """
import sys
from hashsieve.alerts.journal import verify
print("ready", flush=True)
while True:
    verify(sys.argv[1])
"""
    child = subprocess.Popen([sys.executable, "-c", code, str(twenty)], env=cli.environment, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"ready\n"
    time.sleep(0.2)
    start = time.monotonic()
    child.send_signal(signal.SIGTERM)
    assert child.wait(10) == -signal.SIGTERM
    child.stdout.close()
    assert time.monotonic() - start < 10


def test_readers_write_nothing_on_any_damaged_journal(twenty):
    path = twenty / JournalReader(twenty).segments()[3]
    hurt(path, 100, b"garbage")
    hurt(twenty / "head", 10, b"\0\0")
    before = {each.name: (each.read_bytes(), each.stat().st_mtime_ns) for each in twenty.iterdir()}
    twenty.chmod(0o500)
    try:
        assert not verify(twenty).intact
        assert numbers(twenty)
    finally:
        twenty.chmod(0o700)
    assert {each.name: (each.read_bytes(), each.stat().st_mtime_ns) for each in twenty.iterdir()} == before


def test_an_older_copy_of_a_part_is_found(twenty, tmp_path):
    with Journal(twenty, storage=Disk(), **SMALL) as journal:
        journal.append(("alert", {"n": -1}))
        shutil.copytree(twenty, tmp_path / "old")
        for n in range(3):
            journal.append(("alert", {"n": n}))
    names = JournalReader(tmp_path / "old").segments()
    for part in (names[-1], "head"):
        shutil.copytree(twenty, tmp_path / f"with-{part}")
        shutil.copyfile(tmp_path / "old" / part, tmp_path / f"with-{part}" / part)
        assert not verify(tmp_path / f"with-{part}").intact, part


def test_a_damage_record_says_where(twenty):
    path = twenty / JournalReader(twenty).segments()[2]
    line = next(line for line in all_lines(twenty) if line.segment == path.name and line.type == "alert")
    hurt(path, line.offset + 40, b"\0\0\0")
    restart(twenty)
    (record,) = records(twenty, "damage")
    assert record["count"] == 2
    assert {each["what"] for each in record["breaks"]} == {"bytes", "missing"}
    found = next(each for each in record["breaks"] if each["what"] == "bytes")
    assert (found["segment"], found["offset"]) == (path.name, line.offset)
    assert json.dumps(record)
