"""Publishing a set: the live name holds the old or the new complete set whatever happens to the writer."""

import contextlib
import errno
import os
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from hashsieve.cli.compile import Stage
from hashsieve.errors import HashsieveError, OutputError, SetError
from hashsieve.hashset import publish
from hashsieve.hashset.compile import SetWriter
from hashsieve.hashset.hashset import HashSet
from hashsieve.hashset.publish import AtomicFile
from hashsieve.model import Listing, Role

LISTING = Listing("list", Role.KNOWN_BAD)
COUNT = 5000

CHILD = """
import random, sys
from hashsieve.hashset.compile import SetWriter
from hashsieve.model import Listing, Role

def build(path, generation, count=5000):
    writer = SetWriter(generation=generation)
    writer.add_packed("md5", random.Random(generation).randbytes(16 * count), Listing("list", Role.KNOWN_BAD))
    return writer.write(path)
"""


def build(path, generation=1, count=COUNT):
    writer = SetWriter(generation=generation)
    writer.add_packed("md5", random.Random(generation).randbytes(16 * count), LISTING)
    return writer.write(path)


def is_complete(path):
    """The generation of the set, all of which is there."""
    with HashSet.open(path) as known:
        known.verify()
        digests = np.frombuffer(random.Random(known.generation).randbytes(16 * len(known)), np.uint8).reshape(-1, 16)
        assert (known.lookup(digests, "md5") >= 0).all()
        return known.generation


def child(code, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", CHILD + code, *map(os.fspath, arguments)], env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)  # fmt: skip


def names(folder):
    return sorted(entry.name for entry in os.scandir(folder))


# ---------------------------------------------------------------- outputs that cannot be


@pytest.mark.parametrize(
    "output", ["missing/set.hset", "", "folder", "folder/", "a\0b", "link to folder", "/dev/full", "fifo"]
)
def test_an_output_that_cannot_be_is_refused_by_name(tmp_path, output):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link to folder").symlink_to("folder")
    os.mkfifo(tmp_path / "fifo")
    path = output if output in ("", "/dev/full") else f"{tmp_path}/{output}"
    before = names(tmp_path)
    with pytest.raises(OutputError) as caught:
        build(path)
    assert path.replace("\0", "\\x00") in str(caught.value)
    assert names(tmp_path) == before
    assert names(tmp_path / "folder") == []


def test_a_folder_that_cannot_be_written(tmp_path):
    """By a user who is not root, for whom permissions count."""
    with tempfile.TemporaryDirectory() as open_to_all:
        os.chmod(open_to_all, 0o755)
        folder = Path(open_to_all) / "locked"
        folder.mkdir()
        build(folder / "set.hset")
        os.chmod(folder / "set.hset", 0o644)
        os.chmod(folder, 0o555)
        code = """
import os
from hashsieve.errors import OutputError
if os.geteuid() == 0:
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
try:
    build(sys.argv[1], 2)
except OutputError as problem:
    print(problem)
"""
        process = child(code, folder / "set.hset")
        out, errors = process.communicate(timeout=60)
        os.chmod(folder, 0o755)
        assert "Permission denied" in out, errors
        assert str(folder) in out
        assert is_complete(folder / "set.hset") == 1
        assert names(folder) == ["set.hset"]


# ---------------------------------------------------------------- disks that fill up


def test_a_file_size_limit_leaves_the_old_set(tmp_path):
    path = tmp_path / "set.hset"
    build(path)
    size = path.stat().st_size
    limits = [0, 1, 4095, 4096, 5000, size // 3, size // 2, size - 4097, size - 4096, size - 1]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in limits:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OutputError, match="free space") as caught:
                build(path, 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert str(path) in str(caught.value)
        assert "nothing was published" in str(caught.value)
        assert is_complete(path) == 1
        assert names(tmp_path) == ["set.hset"]
    build(path, 2)
    assert is_complete(path) == 2


def test_a_full_disk_leaves_the_old_set(tmp_path):
    """A file system of its own in a user namespace, with room for one set but not for two."""
    code = """
import os
from hashsieve.errors import OutputError
from hashsieve.hashset.hashset import HashSet
path = sys.argv[1] + "/set.hset"
build(path, 1)
for count in (5000, 5500, 6000, 50000, 200000):
    try:
        build(path, 2, count)
    except OutputError as problem:
        print(problem)
    with HashSet.open(path) as known:
        known.verify()
        assert known.generation == 1
    assert os.listdir(sys.argv[1]) == ["set.hset"]
print("done")
"""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    script = 'mount -t tmpfs -o size=220k none "$1" || exit 77; exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, "sh", tmp_path, sys.executable, CHILD + code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if done.returncode and ("unshare" in done.stderr or done.returncode == 77):
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    assert done.stdout.count("No space left on device; free space") == 5, done.stderr
    assert done.stdout.endswith("done\n")


class SlowDisk:
    """A raw file that takes a few bytes at a time."""

    def __init__(self, file, rng):
        self.file, self.rng = file, rng

    def write(self, data):
        return self.file.write(memoryview(data)[: self.rng.randrange(1, 5000)])

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_writes_that_take_only_a_part_are_continued(tmp_path, monkeypatch):
    build(tmp_path / "a.hset")
    create = AtomicFile._create

    def slow(self, *arguments):
        done = create(self, *arguments)
        self.file = SlowDisk(self.file, random.Random(1))
        return done

    monkeypatch.setattr(AtomicFile, "_create", slow)
    build(tmp_path / "b.hset")
    assert (tmp_path / "a.hset").read_bytes() == (tmp_path / "b.hset").read_bytes()


@pytest.mark.parametrize("call", ["fsync", "replace", "open", "fchmod"])
@pytest.mark.parametrize("nth", [1, 2])
def test_any_call_that_fails_leaves_a_complete_set_and_no_trace(tmp_path, monkeypatch, call, nth):
    path = tmp_path / "set.hset"
    build(path)
    real, calls = getattr(os, call), 0

    def failing(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == nth:
            raise OSError(errno.EIO, "Input/output error")
        return real(*arguments, **options)

    monkeypatch.setattr(publish.os, call, failing)
    try:
        build(path, 2)
    except OutputError as problem:
        expected = 2 if "is in place" in str(problem) else 1
    else:
        expected = 2
    monkeypatch.undo()
    assert is_complete(path) == expected
    assert names(tmp_path) == ["set.hset"]


def test_whatever_raises_in_the_middle_leaves_no_trace(tmp_path):
    class Stop(BaseException):
        pass

    def progress(stage, done, total):
        raise Stop

    writer = SetWriter()
    writer.add_packed("md5", bytes(16), LISTING)
    with pytest.raises(Stop):
        writer.write(tmp_path / "set.hset", progress=progress)
    assert names(tmp_path) == []


# ---------------------------------------------------------------- writers that die or meet


def test_a_killed_builder_leaves_the_old_or_the_new_set(tmp_path):
    rng = random.Random(4)
    path = tmp_path / "set.hset"
    build(path)
    code = """
build(sys.argv[1] + ".warm", 1, 10)
print("ready", flush=True)
for generation in range(int(sys.argv[2]), 10**6):
    build(sys.argv[1], generation)
"""
    generation = 1
    for _ in range(20):
        process = child(code, path, str(generation + 1))
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        time.sleep(rng.random() * 0.06)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        now = is_complete(path)
        assert now >= generation
        generation = now
    build(path, 999)
    assert is_complete(path) == 999
    assert names(tmp_path) == ["set.hset", "set.hset.warm"]


def test_a_builder_killed_while_it_spills_and_merges_leaves_the_old_or_the_new_set(tmp_path):
    rng = random.Random(5)
    path = tmp_path / "set.hset"
    build(path, count=20_000)
    code = """
from hashsieve.hashset import compile as module
module._MIN_MEMORY_BYTES, module._BUFFER_BYTES = 1, 1024
print("ready", flush=True)
for generation in range(int(sys.argv[2]), 10**6):
    writer = SetWriter(generation=generation, memory_bytes=100_000, jobs=2)
    writer.add_packed("md5", random.Random(generation).randbytes(16 * 20_000), Listing("list", Role.KNOWN_BAD))
    writer.write(sys.argv[1])
"""
    generation = 1
    for _ in range(5):
        process = child(code, path, str(generation + 1))
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        time.sleep(rng.random() * 0.15)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        now = is_complete(path)
        assert now >= generation
        generation = now
    build(path, 999)
    assert is_complete(path) == 999
    assert names(tmp_path) == ["set.hset"]


def leftover_of(path):
    leftover = path.parent / f".{path.name[:40]}.0123456789abcdef.hashsieve-tmp"
    leftover.write_bytes(b"half")
    return leftover


def test_leftovers_go_but_not_those_of_a_living_writer_or_of_another_name(tmp_path):
    path = tmp_path / "set.hset"
    leftover, other = leftover_of(path), leftover_of(tmp_path / "other.hset")
    with AtomicFile(path) as first:
        assert not leftover.exists()
        with AtomicFile(path) as second:
            second.file.write(b"second")
            second.publish()
        first.file.write(b"first")
        assert path.read_bytes() == b"second"
        first.publish()
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == sorted([other.name, "set.hset"])


def test_many_writers_of_one_name_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "set.hset"
    problems = []

    def write(number):
        try:
            for _ in range(25):
                with AtomicFile(path) as output:
                    output.file.write(bytes([number]) * 1000)
                    output.publish()
        except HashsieveError as problem:
            problems.append(problem)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(set(path.read_bytes())) == 1
    assert names(tmp_path) == ["set.hset"]


def test_a_temporary_file_taken_for_a_leftover_is_made_again(tmp_path, monkeypatch):
    real, taken = publish.fcntl.flock, []

    def flock(fd, how):
        if not taken:
            taken.extend(names(tmp_path))
            os.unlink(tmp_path / taken[0])
        real(fd, how)

    monkeypatch.setattr(publish.fcntl, "flock", flock)
    build(tmp_path / "set.hset")
    assert taken
    assert is_complete(tmp_path / "set.hset") == 1


def test_the_new_set_has_the_old_ones_mode_and_a_first_one_is_private(tmp_path):
    path = tmp_path / "set.hset"
    build(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    build(path, 2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


# ---------------------------------------------------------------- replaced while in use


def rss_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def map_count():
    with open("/proc/self/maps") as file:
        return sum(1 for _ in file)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_hundred_reloads_under_lookups_keep_memory_and_files_flat(tmp_path):
    paths = [tmp_path / "even.hset", tmp_path / "odd.hset"]
    for n, path in enumerate(paths):
        build(path, n + 1, 50_000)
    live = tmp_path / "live.hset"
    os.link(paths[0], live)
    batches = {
        n + 1: np.frombuffer(random.Random(n + 1).randbytes(16 * 50_000), np.uint8).reshape(-1, 16)[:: 97 + n].copy()
        for n in range(2)
    }
    current, done, problems = HashSet.open(live), threading.Event(), []
    rounds = [0] * 4

    def look_up(me):
        rng = random.Random(me)
        while not done.is_set():
            known = current  # a batch uses one snapshot
            for generation, digests in batches.items():
                answers = known.lookup(digests, "md5")
                if (answers >= 0).all() != (generation == known.generation):
                    problems.append((known.generation, generation))
            digest = bytes(batches[known.generation][rng.randrange(100)])
            if not known.entries("md5", digest):
                problems.append(digest)
            rounds[me] += 1

    threads = [threading.Thread(target=look_up, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        flat = None
        for reload_ in range(1, 201):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(tmp_path / "next")
            os.link(paths[reload_ % 2], tmp_path / "next")
            os.replace(tmp_path / "next", live)
            current = HashSet.open(live)
            if reload_ == 40:
                flat = rss_bytes(), len(os.listdir("/proc/self/fd")), map_count()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert min(rounds) > 0
    assert rss_bytes() - flat[0] < 4 << 20
    assert len(os.listdir("/proc/self/fd")) <= flat[1]
    assert map_count() <= flat[2] + 20


def test_closing_waits_for_no_lookup_and_breaks_none(tmp_path):
    build(tmp_path / "set.hset", 1, 200_000)
    digests = np.frombuffer(random.Random(1).randbytes(16 * 200_000), np.uint8).reshape(-1, 16)
    for _ in range(5):
        known, started, answers = HashSet.open(tmp_path / "set.hset"), threading.Event(), []

        def look_up(known=known, started=started, answers=answers):
            started.set()
            with contextlib.suppress(SetError):  # closed before it began
                answers.append(known.lookup(digests, "md5"))

        thread = threading.Thread(target=look_up)
        thread.start()
        started.wait()
        while thread.is_alive():
            with contextlib.suppress(SetError):
                known.close()
        thread.join()
        assert all((found >= 0).all() for found in answers)
        known.close()


# ---------------------------------------------------------------- what people see of it


def test_the_time_that_is_left_is_told_for_the_step_at_hand():
    now = [0.0]
    stage = Stage(clock=lambda: now[0])
    stage.update("read", 1000, None)
    assert stage.text() == "reading lists: 1,000 records"
    now[0] = 100.0
    stage.update("merge", 0, 4000)
    assert stage.text() == "merging: 0 of 4,000"
    now[0] = 110.0
    stage.update("merge", 1000, 4000)
    assert stage.text() == "merging: 1,000 of 4,000, 30 s left in this step"
    now[0] = 700.0
    assert stage.text() == "merging: 1,000 of 4,000, 30 min 0 s left in this step"
