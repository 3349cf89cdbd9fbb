"""Reading: to the real end, whatever the file claims and does meanwhile, or an outcome that says why not."""

import errno
import hashlib
import json
import os
import random
import threading

import pytest

from hashsieve import DigestKind, Scanner
from hashsieve._scan import FileStat
from hashsieve.model import KINDS
from hashsieve.scan import reading
from helpers import digest, record, scan

BAD = b"listed content\n"


@pytest.fixture
def known(open_set):
    return open_set(BAD)


@pytest.fixture
def scanner(known, faults):
    with Scanner(known, os_table=faults.capsule) as scanner:
        yield scanner


@pytest.fixture
def while_read(faults):
    """``while_read(callback)``: called with the number of the read (from 1) and of the chunk (from 1) in it."""

    def install(callback):
        reads = []

        def after_read(_name, offset_bytes, got):
            if offset_bytes == 0:
                reads.append(0)
            # Not for the few bytes that a callback has just added: it would feed itself for ever.
            if got > 0 and (offset_bytes == 0 or got >= 4096):
                reads[-1] += 1
                callback(len(reads), reads[-1])

        faults.after_read = after_read
        return reads

    yield install
    assert not faults.callback_errors


# ---------------------------------------------------------------- what is read


def test_short_reads_and_interruptions_never_change_a_digest(known, faults, tmp_path):
    sizes = random.Random(7)
    contents = {}
    for i in range(1000):
        contents[bytes(tmp_path / f"{i}")] = data = sizes.randbytes(sizes.choice([1, 100, 4096, 5000, 20000]))
        (tmp_path / f"{i}").write_bytes(data)
    faults.short_reads = True
    faults.fail("pread", errno.EINTR, every=3)
    with Scanner(known, digests=KINDS, os_table=faults.capsule) as scanner:
        found = scan(scanner, tmp_path)
    assert found.summary.no_match == 1000
    for path, data in contents.items():
        assert found.of(path).digests == {kind: digest(kind, data) for kind in KINDS}
    assert found.summary.bytes_read == sum(map(len, contents.values()))


@pytest.mark.parametrize("size", [0, 1, 2, *(reading.BUFFER_BYTES + i for i in (-1, 0, 1)), 10**6])
def test_files_around_the_size_of_a_buffer_are_read_to_the_end(known, tmp_path, size):
    data = random.Random(size).randbytes(size)
    (tmp_path / "x").write_bytes(data)
    with Scanner(known, digests=KINDS) as scanner:
        found = scan(scanner, tmp_path)
    assert found.summary.bytes_read == size
    if size:
        assert found.of(tmp_path / "x").digests == {kind: digest(kind, data) for kind in KINDS}


def test_bytes_are_bytes_however_they_come(known, tmp_path):
    data = b"one\r\ntwo\x1athree\n\r\0"
    (tmp_path / "x").write_bytes(data)
    with Scanner(known, digests=KINDS) as scanner, open(tmp_path / "x", "rb") as file:
        outcomes = [scanner.examine(tmp_path / "x"), scanner.examine_fd(file.fileno()), scanner.examine_bytes(data)]
        outcomes += [scanner.examine_bytes(bytearray(data)), scanner.examine_bytes(memoryview(data))]
    assert [outcome.digests for outcome in outcomes] == [{kind: digest(kind, data) for kind in KINDS}] * 5


def test_a_hole_has_the_digest_of_its_zeros(known, tmp_path):
    with open(tmp_path / "x", "wb") as file:
        file.truncate(5_000_000)
        file.seek(2_500_000)
        file.write(b"block")
    with Scanner(known, digests=["sha256"]) as scanner:
        outcome = scanner.examine(tmp_path / "x")
    assert outcome.digests["sha256"] == hashlib.sha256((tmp_path / "x").read_bytes()).digest()


# ---------------------------------------------------------------- sizes that lie


@pytest.mark.parametrize(("claimed", "content_bytes"), [(0, 3000), (10_000, 4000), (2**50, 10), (1, 2)])
@pytest.mark.parametrize("listed", [False, True])
def test_a_size_that_is_not_true_ends_neither_a_read_early_nor_late(
    open_set, faults, tmp_path, claimed, content_bytes, listed
):
    data = random.Random(3).randbytes(content_bytes)
    (tmp_path / "x").write_bytes(data)
    faults.dress(name=b"x", size_bytes=claimed)
    with Scanner(open_set(data if listed else BAD), os_table=faults.capsule) as scanner:
        outcome = scan(scanner, tmp_path).of(tmp_path / "x")
    assert outcome.kind == ("match" if listed else "changed")
    if listed:
        assert outcome.digests["md5"] == digest("md5", data)


def test_a_file_that_claims_content_and_has_none_is_not_taken_for_an_empty_one(open_set, faults, tmp_path):
    (tmp_path / "x").touch()
    faults.dress(name=b"x", size_bytes=100)
    with Scanner(open_set(b""), os_table=faults.capsule) as scanner:
        outcome = scan(scanner, tmp_path).of(tmp_path / "x")
    assert outcome.kind == "changed"


# ---------------------------------------------------------------- files that move


def append(path):
    def do(_number, _chunk):
        with open(path, "ab") as file:
            file.write(b"more")

    return do


def touch(path):
    def do(number, chunk):
        os.utime(path, ns=(1, number * 1000 + chunk))

    return do


def chmod(path):
    return lambda number, chunk: path.chmod(0o600 | (number + chunk) % 2)


def truncate(path):
    return lambda number, chunk: os.truncate(path, 10 - number)


@pytest.mark.parametrize("move", [append, touch, chmod, truncate])
def test_a_file_that_moves_in_every_read_is_changed(scanner, while_read, tmp_path, move):
    (tmp_path / "x").write_bytes(b"x" * 100)
    reads = while_read(move(tmp_path / "x"))
    found = scan(scanner, tmp_path)
    assert found.reason(tmp_path / "x") == "signature moved in 3 reads"
    assert len(reads) == 3
    assert found.summary.incomplete == 1


@pytest.mark.parametrize("move", [append, touch, chmod, truncate])
def test_a_file_that_moves_once_is_read_again_and_has_an_answer(scanner, while_read, tmp_path, move):
    path = tmp_path / "x"
    path.write_bytes(b"x" * 100)
    reads = while_read(lambda number, chunk: number == 1 and move(path)(number, chunk))
    found = scan(scanner, tmp_path)
    assert found.of(path).kind == "no_match"
    assert found.of(path).digests == {kind: digest(kind, path.read_bytes()) for kind in scanner.plan}
    assert found.of(path).size_bytes == path.stat().st_size
    assert len(reads) == 2


@pytest.mark.parametrize("move", [touch, chmod])
def test_listed_content_in_a_file_that_never_stands_still_is_a_match(scanner, while_read, tmp_path, move):
    (tmp_path / "x").write_bytes(BAD)
    while_read(move(tmp_path / "x"))
    found = scan(scanner, tmp_path)
    assert found.of(tmp_path / "x").match.confirmed_by == ("md5",)


def test_listed_content_that_is_overwritten_behind_the_read_is_a_match(scanner, while_read, tmp_path):
    (tmp_path / "x").write_bytes(BAD)
    while_read(lambda number, chunk: (tmp_path / "x").write_bytes(b"something else, harmless"))
    assert scan(scanner, tmp_path).summary.matched == 1


def test_listed_content_that_is_deleted_while_it_is_read_is_a_match(scanner, while_read, tmp_path):
    (tmp_path / "x").write_bytes(BAD)
    while_read(lambda number, chunk: (tmp_path / "x").unlink(missing_ok=True))
    assert scan(scanner, tmp_path).summary.matched == 1


def test_a_file_that_grows_as_fast_as_it_is_read_ends_as_changed(scanner, while_read, monkeypatch, tmp_path):
    monkeypatch.setattr(reading, "_GROWTH_BYTES", 1 << 20)
    path = tmp_path / "x"
    path.write_bytes(b"x" * reading.BUFFER_BYTES * 2)

    def grow(_number, _chunk):
        with open(path, "ab") as file:
            file.write(b"x" * 64 * 1024)

    while_read(grow)
    found = scan(scanner, tmp_path)
    assert found.of(path).kind == "changed"
    assert found.summary.bytes_read < 500 << 20


class Endless:
    """An open file without an end."""

    def __init__(self, facts):
        self.facts = facts
        self.offsets = []

    def stat(self):
        return self.facts

    def pread_into(self, buffer, offset_bytes):
        self.offsets.append(offset_bytes)
        return len(buffer)


def test_a_file_without_an_end_is_given_up_and_has_no_digest():
    file = Endless(FileStat(mode=0o100600, size_bytes=5))
    result = reading.read_digests(file, file.facts, [DigestKind.MD5], bytearray(1 << 20), lambda: None)
    assert result.digests is None
    assert not result.settled
    assert result.bytes_read <= 10 + reading._GROWTH_BYTES + (1 << 20)
    assert file.offsets == list(range(0, result.bytes_read, 1 << 20))


def test_chmod_in_a_loop_gives_changed_or_an_honest_answer(known, tmp_path):
    (tmp_path / "plain").write_bytes(b"x" * 100_000)
    (tmp_path / "listed").write_bytes(BAD)
    stop = threading.Event()

    def loop():
        mode = 0
        while not stop.is_set():
            for name in ("plain", "listed"):
                (tmp_path / name).chmod(0o600 | mode)
            mode ^= 0o44

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        with Scanner(known) as scanner:
            for _ in range(300):
                found = scan(scanner, tmp_path)
                assert found.of(tmp_path / "listed").kind == "match"
                assert found.of(tmp_path / "plain").kind in ("no_match", "changed")
    finally:
        stop.set()
        thread.join()


TRUNCATED = """
import json, os, random, sys, threading, time
from hashsieve import HashSet, Scanner
path, pause = sys.argv[2], random.Random(5)
kinds = {}
with HashSet.open(sys.argv[1]) as known, Scanner(known, jobs=2) as scanner:
    for _ in range(100):
        with open(path, "wb") as file:
            file.truncate(1 << 26)
        timer = threading.Timer(pause.random() * 0.05, os.truncate, (path, 0))
        timer.start()
        outcome = next(scanner.scan(path, every=True))
        timer.join()
        kinds[outcome.kind] = kinds.get(outcome.kind, 0) + 1
print(json.dumps(kinds))
"""


def test_truncation_while_a_file_is_read_is_survived(cli, make_set, tmp_path):
    done = cli.python(TRUNCATED, make_set(BAD), tmp_path / "x")
    assert done.code == 0, done
    kinds = json.loads(done.out)
    assert sum(kinds.values()) == 100
    assert set(kinds) <= {"no_match", "changed"}


# ---------------------------------------------------------------- access times, other people's files


def test_a_refusal_to_leave_access_times_alone_costs_one_retry_for_each_owner_and_mount(known, faults, tmp_path):
    for i in range(100):
        (tmp_path / f"{i}").write_bytes(b"x")
    faults.fail("open", errno.EPERM, how="file-noatime")
    with Scanner(known, os_table=faults.capsule) as scanner:
        found = scan(scanner, tmp_path)
        assert found.summary.no_match == 100
        assert faults.calls["open"] == 1 + 100 + 1
        scanner.examine(tmp_path / "1")
    # The directory, the files and one retry; then the examination and its own.
    assert faults.calls["open"] == 1 + 100 + 1 + 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file of another owner")
def test_a_readable_file_of_another_owner_is_examined(cli, make_set, tmp_path):
    (tmp_path / "theirs").write_bytes(BAD)
    (tmp_path / "theirs").chmod(0o644)
    os.chown(tmp_path / "theirs", 12345, 12345)
    done = cli("scan", "--json", "-s", make_set(BAD), tmp_path, unprivileged=True)
    assert done.code == 1, done


# ---------------------------------------------------------------- memory


FLAT = """
import json, os, resource, sys
from hashsieve import HashSet, Scanner
with open(sys.argv[2], "wb") as file:
    file.truncate(1 << 30)
with HashSet.open(sys.argv[1]) as known, Scanner(known, digests=["sha1"]) as scanner:
    scanner.examine(sys.argv[1])  # whatever is loaded on demand is loaded now
    pages = int(open("/proc/self/statm").read().split()[0])
    limit = pages * resource.getpagesize() + (32 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = scanner.examine(sys.argv[2])
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([outcome.kind, outcome.size_bytes, (after - before) < 16 << 10]))
"""


def test_a_gigabyte_is_read_in_flat_memory(cli, make_set, tmp_path):
    done = cli.python(FLAT, make_set(record(BAD, "sha1")), tmp_path / "x")
    assert json.loads(done.out or b"0") == ["no_match", 1 << 30, True], done


def test_a_lack_of_memory_is_the_outcome_of_one_file(scanner, monkeypatch, tmp_path):
    for name in ("a", "z"):
        (tmp_path / name).write_bytes(BAD if name == "z" else b"x")
    made, failures = reading.hashers, [MemoryError()]

    def hashers(kinds):
        if failures:
            raise failures.pop()
        return made(kinds)

    monkeypatch.setattr(reading, "hashers", hashers)
    assert scanner.examine(tmp_path / "a").reason == "read: no memory"
    assert scanner.examine(tmp_path / "z").kind == "match"
