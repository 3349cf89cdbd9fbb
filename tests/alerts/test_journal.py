"""The journal: durable before acknowledged, in order, one writer, numbers that never start again."""

import errno
import json
import os
import re
import signal
import stat
import sys
import threading

import blake3
import pytest
from alert_cases import KEY, Disk, all_lines, hurt, records
from hypothesis import given, settings
from hypothesis import strategies as st

from hashsieve.alerts.journal import Journal, JournalReader, parse_anchor, verify
from hashsieve.errors import JournalBusyError, JournalError, JournalFullError, UsageError


def fill(directory, count, start=0, **options):
    with Journal(directory, **options) as journal:
        return [journal.append(("alert", {"n": n}))[0] for n in range(start, start + count)]


def segment_of(directory, number=0):
    return directory / JournalReader(directory).segments()[number]


def test_lines_are_json_whose_mac_chains_over_their_exact_bytes(tmp_path):
    with Journal(tmp_path / "j") as journal:
        journal.append(("alert", {"path": 'with "quotes", é and \n', "n": 1}))
        journal.append(("alert", {"n": 2}))
    chain = "0" * 64
    lines = [raw for raw in segment_of(tmp_path / "j").read_bytes().split(b"\n") if raw]
    assert len(lines) == 3
    for number, raw in enumerate(lines, 1):
        found = json.loads(raw)
        assert (found["seq"], found["prev"]) == (number, chain)
        assert list(found)[-3:] == ["prev", "sum", "mac"]
        covered = raw[: raw.rindex(b',"mac":')]
        assert found["mac"] == blake3.blake3(covered).hexdigest()
        assert found["sum"] == blake3.blake3(covered[: covered.rindex(b',"sum":')]).hexdigest()[:32]
        chain = found["mac"]


def test_with_a_key_each_record_has_a_key_of_its_own_that_only_leads_forward(tmp_path):
    fill(tmp_path / "j", 3, key=KEY)
    identity = records(tmp_path / "j", "segment")[0]["journal"]
    key = blake3.blake3(KEY + identity.encode(), derive_key_context="hashsieve journal key 1").digest()
    keys = []
    for line in all_lines(tmp_path / "j"):
        keys.append(key)
        covered = line.raw[: line.raw.rindex(b',"mac":')]
        assert line.mac == blake3.blake3(covered, key=key).hexdigest()
        key = blake3.blake3(key, derive_key_context="hashsieve journal key step 1").digest()
    everything = b"".join(path.read_bytes() for path in (tmp_path / "j").iterdir())
    assert key.hex().encode() in everything  # of the record that will be made next
    for old in keys:
        assert old.hex().encode() not in everything
        assert old not in everything
    assert KEY not in everything
    assert verify(tmp_path / "j", key=KEY).intact
    assert not verify(tmp_path / "j", key=b"another key of length").intact


def test_a_forger_who_has_the_present_key_cannot_rewrite_what_was_before(tmp_path):
    fill(tmp_path / "j", 5, key=KEY)
    path = segment_of(tmp_path / "j")
    raw = path.read_bytes()
    forged = raw.replace(b'"n":2', b'"n":9')
    rewritten, chain = [], "0" * 64
    for each in filter(None, forged.split(b"\n")):
        start = each[: each.rindex(b',"prev":')] + f',"prev":"{chain}"'.encode()
        start += f',"sum":"{blake3.blake3(start).hexdigest()[:32]}"'.encode()
        chain = blake3.blake3(start).hexdigest()
        rewritten.append(start + f',"mac":"{chain}"}}\n'.encode())
    path.write_bytes(b"".join(rewritten))
    report = verify(tmp_path / "j", key=KEY)
    assert [each.seq for each in report.breaks if each.what == "mac"] == [1, 2, 3, 4, 5, 6]
    assert any(each.what == "head" for each in report.breaks)


def test_the_next_start_needs_no_secret_and_the_key_goes_on(tmp_path):
    fill(tmp_path / "j", 3, key=KEY)
    fill(tmp_path / "j", 3)
    fill(tmp_path / "j", 3, key=KEY)
    report = verify(tmp_path / "j", key=KEY)
    assert report.intact
    assert report.unproved == 0
    assert verify(tmp_path / "j").unproved == report.records == 10
    with pytest.raises(JournalError, match="another key"):
        Journal(tmp_path / "j", key=bytes(32))


def test_a_key_given_later_holds_from_there_on(tmp_path):
    fill(tmp_path / "j", 2)
    fill(tmp_path / "j", 2, key=KEY)
    report = verify(tmp_path / "j", key=KEY)
    assert report.intact
    assert [line["keyed"] for line in records(tmp_path / "j", "segment")] == [False, True]


def test_a_lost_key_does_not_stop_alerts_and_is_told(tmp_path):
    fill(tmp_path / "j", 2, key=KEY)
    hurt(tmp_path / "j" / "head", 8192, bytes(8192))
    told = []
    fill(tmp_path / "j", 2, on_event=told.append)
    assert "journal-key-lost" in [event.kind for event in told]
    report = verify(tmp_path / "j", key=KEY)
    assert "key-lost" in [each.what for each in report.breaks]
    assert len(records(tmp_path / "j", "alert")) == 4


def test_ids_go_on_over_restarts_and_name_the_journal(tmp_path):
    ids = [s.id for n in range(5) for s in fill(tmp_path / "j", 3)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 15
    assert len({i[:24] for i in ids}) == 1
    other = fill(tmp_path / "k", 1)[0].id
    assert other[:24] != ids[0][:24]


def test_many_records_become_durable_together(tmp_path):
    with Journal(tmp_path / "j") as journal:
        stored = journal.append(*(("alert", {"n": n}) for n in range(50)))
        assert [s.seq for s in stored] == list(range(2, 52))
        assert journal.head == (51, stored[-1].chain)
    assert verify(tmp_path / "j").intact


def test_segments_rotate_by_size_and_give_their_padding_back(tmp_path):
    with Journal(tmp_path / "j", cap_bytes=1 << 20, segment_bytes=16 << 10) as journal:
        for n in range(100):
            journal.append(("alert", {"n": n, "pad": "x" * 1000}))
        names = [segment.name for segment in journal.segments]
        assert len(names) > 5
        for segment in journal.segments[:-1]:
            assert os.path.getsize(tmp_path / "j" / segment.name) == segment.end
    assert verify(tmp_path / "j").intact
    assert [r["n"] for r in records(tmp_path / "j", "alert")] == list(range(100))


def test_files_are_for_their_owner_only(tmp_path):
    fill(tmp_path / "j", 1, key=KEY)
    assert stat.S_IMODE((tmp_path / "j").stat().st_mode) == 0o700
    for path in (tmp_path / "j").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_directory_that_others_may_enter_is_refused(tmp_path, mode):
    (tmp_path / "j").mkdir(mode=0o700)
    (tmp_path / "j").chmod(mode)
    with pytest.raises(JournalError, match="0700"):
        Journal(tmp_path / "j")
    assert list((tmp_path / "j").iterdir()) == []


def test_links_are_not_followed(tmp_path):
    fill(tmp_path / "j", 2)
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "j" / "head").unlink()
    (tmp_path / "j" / "head").symlink_to(victim)
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(tmp_path / "j")
    assert victim.read_bytes() == b"mine"


def test_a_second_writer_is_refused_before_it_touches_anything(tmp_path):
    with Journal(tmp_path / "j") as journal:
        journal.append(("alert", {"n": 1}))
        before = {path.name: path.read_bytes() for path in (tmp_path / "j").iterdir()}
        with pytest.raises(JournalBusyError, match="another process"):
            Journal(tmp_path / "j")
        assert {path.name: path.read_bytes() for path in (tmp_path / "j").iterdir()} == before
        assert verify(tmp_path / "j").intact  # readers do not mind
        assert len(records(tmp_path / "j", "alert")) == 1
    Journal(tmp_path / "j").close()


_START = """
import sys, time
from hashsieve.alerts.journal import Journal
from hashsieve.errors import JournalBusyError
while time.time() < float(sys.argv[2]):
    pass
try:
    journal = Journal(sys.argv[1])
except JournalBusyError:
    sys.exit(7)
journal.append(("alert", {"n": 1}))
time.sleep(0.5)
"""


def test_of_many_started_at_once_exactly_one_writes(tmp_path, cli):
    import subprocess
    import time

    for round_number in range(2):
        begin = time.time() + 0.8
        started = [
            subprocess.Popen([sys.executable, "-c", _START, str(tmp_path / "j"), str(begin)], env=cli.environment)
            for _ in range(5)
        ]
        assert sorted(each.wait(30) for each in started) == [0, 7, 7, 7, 7]
        assert len(records(tmp_path / "j", "alert")) == round_number + 1
    assert verify(tmp_path / "j").intact


@pytest.mark.parametrize("content", [b"", b"garbage", b"1\n", str(os.getpid()).encode()])
def test_what_the_lock_file_says_does_not_matter(tmp_path, content):
    fill(tmp_path / "j", 1)
    (tmp_path / "j" / "lock").write_bytes(content)
    (tmp_path / "j" / "lock").chmod(0o400)
    fill(tmp_path / "j", 1)
    assert verify(tmp_path / "j").intact


def test_threads_share_a_journal(tmp_path):
    with Journal(tmp_path / "j", storage=Disk()) as journal:

        def work():
            for n in range(50):
                journal.append(("alert", {"n": n}))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert len(records(tmp_path / "j", "alert")) == 200
    assert verify(tmp_path / "j").intact


def test_a_child_after_a_fork_may_not_write(tmp_path):
    with Journal(tmp_path / "j") as journal:
        child = os.fork()
        if child == 0:
            try:
                journal.append(("alert", {}))
            except JournalError:
                os._exit(5)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        journal.append(("alert", {"n": 1}))
    assert len(records(tmp_path / "j", "alert")) == 1


_KILLED = """
import sys
from hashsieve.alerts.journal import Journal
journal = Journal(sys.argv[1])
n = 0
while True:
    n += 1
    stored = journal.append(("alert", {"n": n}))[0]
    print(stored.id, flush=True)
"""


def test_what_was_acknowledged_before_a_kill_is_there_afterwards(tmp_path, cli):
    import subprocess

    acknowledged = []
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", _KILLED, str(tmp_path / "j")], env=cli.environment, stdout=subprocess.PIPE
        )
        for _ in range(25):
            acknowledged.append(child.stdout.readline().decode().strip())
        child.send_signal(signal.SIGKILL)
        acknowledged += child.stdout.read().decode().split()
        child.wait()
        child.stdout.close()
        assert verify(tmp_path / "j").intact
    assert acknowledged == sorted(acknowledged)
    ids = [r["id"] for r in records(tmp_path / "j", "alert")]
    assert set(acknowledged) <= set(ids)
    assert len(ids) - len(acknowledged) <= 4  # at most the one that each kill cut short of its acknowledgement
    fill(tmp_path / "j", 1)
    assert verify(tmp_path / "j").intact


@pytest.mark.parametrize("cut", [1, 40, 200, 250])
def test_a_torn_tail_that_nobody_was_told_of_is_no_damage(tmp_path, cut):
    fill(tmp_path / "j", 3)
    before = segment_of(tmp_path / "j").read_bytes()
    head = (tmp_path / "j" / "head").read_bytes()
    fill(tmp_path / "j", 1, start=3)
    after = segment_of(tmp_path / "j").read_bytes()
    end = len(before.rstrip(b"\n")) + 1
    # As a power cut would leave it: a part of the line, and the head of before.
    hurt(segment_of(tmp_path / "j"), end, after[end : end + cut] + b"\n" * 2000)
    (tmp_path / "j" / "head").write_bytes(head)
    assert verify(tmp_path / "j").intact
    told = []
    (stored,) = fill(tmp_path / "j", 1, start=9, on_event=told.append)
    assert told == []
    assert stored.seq == 5
    assert [r["n"] for r in records(tmp_path / "j", "alert")] == [0, 1, 2, 9]
    assert verify(tmp_path / "j").intact


def test_a_record_that_was_written_but_never_acknowledged_is_kept(tmp_path):
    fill(tmp_path / "j", 3)
    head = (tmp_path / "j" / "head").read_bytes()
    fill(tmp_path / "j", 1, start=3)
    (tmp_path / "j" / "head").write_bytes(head)
    assert verify(tmp_path / "j").intact
    fill(tmp_path / "j", 1, start=4)
    assert [r["n"] for r in records(tmp_path / "j", "alert")] == [0, 1, 2, 3, 4]
    assert verify(tmp_path / "j").intact


# Full and failing disks


def test_a_full_disk_is_met_with_a_reserve_and_writing_goes_on_when_there_is_space(tmp_path):
    disk, told = Disk(), []
    with Journal(tmp_path / "j", storage=disk, on_event=told.append, reserve_bytes=64 << 10) as journal:
        journal.append(("alert", {"n": 0}))
        disk.free_bytes = 0
        kept = 0
        with pytest.raises(JournalFullError, match="no space"):  # noqa: PT012
            while True:
                kept += 1
                journal.append(("alert", {"n": kept, "pad": "x" * 600}))
        assert kept > 40  # what the reserve held
        journal.append(("full", {"of": "it"}), system=True)
        size = sum(path.stat().st_size for path in (tmp_path / "j").iterdir())
        for _ in range(20):
            with pytest.raises(JournalFullError):
                journal.append(("alert", {"pad": "x" * 600}))
        assert sum(path.stat().st_size for path in (tmp_path / "j").iterdir()) == size
        disk.free_bytes = 10 << 20
        journal.append(("alert", {"n": -1}))
    assert [event.kind for event in told] == ["journal-tight", "journal-space"]
    numbers = [r["n"] for r in records(tmp_path / "j", "alert")]
    assert numbers == [*range(kept), -1]
    assert verify(tmp_path / "j").intact


def test_a_start_on_a_full_disk_uses_the_reserve_that_was_left(tmp_path):
    disk = Disk()
    fill(tmp_path / "j", 3, storage=disk)
    disk.free_bytes = 0
    fill(tmp_path / "j", 3, storage=disk, start=3)
    assert [r["n"] for r in records(tmp_path / "j", "alert")] == list(range(6))


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path, cli):
    code = """
import resource, sys
from hashsieve.alerts.journal import Journal
from hashsieve.errors import JournalFullError
journal = Journal(sys.argv[1], reserve_bytes=64 << 10)
resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))
n = 0
try:
    while True:
        journal.append(("alert", {"n": n, "pad": "x" * 30000}))
        n += 1
except JournalFullError as problem:
    print(n)
"""
    done = cli.python(code, str(tmp_path / "j"))
    assert done.code == 0, done.err
    count = int(done.text)
    assert count > 50
    assert [r["n"] for r in records(tmp_path / "j", "alert")] == list(range(count))
    fill(tmp_path / "j", 1, start=count)
    assert verify(tmp_path / "j").intact


def test_a_read_only_place_is_an_error_with_a_text(tmp_path):
    disk = Disk()
    fill(tmp_path / "j", 1)
    with Journal(tmp_path / "j", storage=disk) as journal:
        disk.rule = lambda call, what, size: errno.EROFS if call in ("write", "create", "sync") else None
        with pytest.raises(JournalError, match="Read-only"):
            journal.append(("alert", {}))
        disk.rule = None
        journal.append(("alert", {"n": 1}))
    assert verify(tmp_path / "j").intact
    disk.rule = lambda call, what, size: errno.EROFS if call in ("write", "create", "sync") else None
    with pytest.raises(JournalError, match="Read-only"):
        Journal(tmp_path / "k", storage=disk)


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    calls=st.lists(st.sampled_from(["write", "sync", "create", "truncate", "unlink", "sync_directory"]), max_size=3),
)
def test_any_call_may_fail_and_no_acknowledged_record_is_lost(tmp_path_factory, data, calls):
    directory = tmp_path_factory.mktemp("faulty") / "j"
    disk, acknowledged, n = Disk(), [], 0
    left = {"skip": data.draw(st.integers(0, 40)), "fail": data.draw(st.integers(1, 6))}
    number = data.draw(st.sampled_from([errno.EIO, errno.ENOSPC, errno.EROFS]))

    def rule(call, what, size):
        if call not in calls:
            return None
        if left["skip"]:
            left["skip"] -= 1
            return None
        left["fail"] -= 1
        return number if left["fail"] >= 0 else None

    disk.rule = rule
    for _ in range(4):
        try:
            journal = Journal(directory, storage=disk, cap_bytes=1 << 20, segment_bytes=16 << 10)
        except JournalError:
            continue
        with journal:
            for _ in range(12):
                n += 1
                try:
                    journal.append(("alert", {"n": n, "pad": "y" * data.draw(st.integers(0, 3000))}))
                except JournalError:
                    continue
                acknowledged.append(n)
    disk.rule = None
    with Journal(directory, storage=disk) as journal:
        journal.append(("alert", {"n": 0}))
    found = [r["n"] for r in records(directory, "alert")]
    assert set(acknowledged) <= set(found)
    seqs = [line.seq for line in all_lines(directory)]
    assert seqs == sorted(set(seqs))


# Segments and state that go away while it runs


def test_a_segment_removed_under_the_writer_is_noticed_before_the_next_record_is_acknowledged(tmp_path):
    told = []
    with Journal(tmp_path / "j", on_event=told.append) as journal:
        journal.append(("alert", {"n": 1}))
        segment_of(tmp_path / "j").unlink()
        journal.append(("alert", {"n": 2}))
        journal.append(("alert", {"n": 3}))
        assert "journal-segment-removed" in [event.kind for event in told]
    assert [r["n"] for r in records(tmp_path / "j", "alert")] == [2, 3]
    missing = [each for each in verify(tmp_path / "j").breaks if each.what == "missing"]
    assert [(each.seq, each.last_seq) for each in missing] == [(1, 2)]


def test_a_head_removed_under_the_writer_is_made_again(tmp_path):
    with Journal(tmp_path / "j") as journal:
        journal.append(("alert", {"n": 1}))
        (tmp_path / "j" / "head").unlink()
        journal.append(("alert", {"n": 2}))
    assert verify(tmp_path / "j").intact


# Purging and anchors


def test_what_was_taken_away_on_the_record_is_no_break_and_anything_else_is(tmp_path):
    with Journal(tmp_path / "j", cap_bytes=1 << 20, segment_bytes=16 << 10) as journal:
        for n in range(60):
            journal.append(("alert", {"n": n, "pad": "x" * 1000}))
        early = journal.segments[0].last_seq, journal.segments[0].last_chain
        journal.retire(2, "purge", {"reason": "old"})
    assert verify(tmp_path / "j").intact
    assert verify(tmp_path / "j", anchor=early).intact
    segment_of(tmp_path / "j").unlink()
    breaks = verify(tmp_path / "j").breaks
    assert [each.what for each in breaks] == ["missing"]
    with Journal(tmp_path / "j"):
        pass
    assert verify(tmp_path / "j").breaks[0].name in verify(tmp_path / "j").recorded


def test_a_whole_directory_set_back_is_found_with_an_anchor_only(tmp_path):
    import shutil

    fill(tmp_path / "j", 3)
    shutil.copytree(tmp_path / "j", tmp_path / "copy")
    anchor = fill(tmp_path / "j", 3)[-1]
    shutil.rmtree(tmp_path / "j")
    (tmp_path / "copy").rename(tmp_path / "j")
    assert verify(tmp_path / "j").intact
    found = verify(tmp_path / "j", anchor=(anchor.seq, anchor.chain))
    assert [each.what for each in found.breaks] == ["anchor"]
    # And a fork of it, made longer than the anchor, too.
    fill(tmp_path / "j", 9, start=100)
    found = verify(tmp_path / "j", anchor=(anchor.seq, anchor.chain))
    assert "rewritten" in found.breaks[0].text


def test_a_whole_directory_set_back_is_found_with_the_secret_if_the_key_was_kept_forward(tmp_path):
    fill(tmp_path / "j", 3, key=KEY)
    lines = segment_of(tmp_path / "j").read_bytes()
    head = (tmp_path / "j" / "head").read_bytes()
    fill(tmp_path / "j", 3, key=KEY)
    # The segment set back, and the head rewritten by somebody who has the present key only.
    stolen = (tmp_path / "j" / "head").read_bytes()
    segment_of(tmp_path / "j").write_bytes(lines)
    (tmp_path / "j" / "head").write_bytes(head[:8192] + stolen[8192:])
    assert any("records up to 7 were made" in each.text for each in verify(tmp_path / "j", key=KEY).breaks)


@pytest.mark.parametrize("text", ["", "5", "5:", ":" + "a" * 64, "x:" + "a" * 64, "5:" + "A" * 64, "5:" + "a" * 63])
def test_an_anchor_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="SEQ:CHAIN"):
        parse_anchor(text)


def test_verify_says_when_there_is_nothing(tmp_path):
    with pytest.raises(JournalError, match="no journal"):
        verify(tmp_path)
    with pytest.raises(JournalError, match="cannot be read"):
        verify(tmp_path / "none")


def test_a_journal_is_plain_text(tmp_path):
    fill(tmp_path / "j", 2, key=KEY)
    for path in (tmp_path / "j").iterdir():
        assert re.fullmatch(rb"[\x20-\x7e\n]*", path.read_bytes()), path.name
