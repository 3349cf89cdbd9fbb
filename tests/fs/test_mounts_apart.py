"""Mounts that may never answer: what hangs costs its own outcome, and nothing else."""

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import threading
import time
import zipfile

import pytest

from hashsieve import Scanner
from hashsieve.platform.mounts import reason_not_to_enter
from helpers import mounts, record, scan

BAD = b"listed content\n"
PATIENCE_SECONDS = 0.4


@pytest.fixture
def known(open_set):
    return open_set(BAD)


@pytest.fixture
def tree(tmp_path):
    """A local tree with a FUSE mount in it."""
    for name in ("local/x", "local/fuse/a", "local/fuse/deep/er/b", "other/x"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(BAD)
    (tmp_path / "local/fuse/harmless").write_bytes(b"harmless")
    (tmp_path / "local/fuse/link").symlink_to("a")
    return tmp_path


@pytest.fixture
def fuse(tree):
    return mounts(at={tree / "local/fuse": "fuse.gocryptfs"})


class Stuck:
    """Calls about some names that do not come back before :meth:`let_go`."""

    def __init__(self, *names):
        self.names = {os.fsencode(name) for name in names}
        self.times = 0
        self.gate = threading.Event()

    def __call__(self, name, *rest):
        if name in self.names:
            self.times += 1
            self.gate.wait(30)

    def let_go(self):
        self.gate.set()


@pytest.fixture
def stuck():
    made = []

    def make(*names):
        made.append(Stuck(*names))
        return made[-1]

    yield make
    for each in made:
        each.let_go()


def soon(function, seconds=10):
    began = time.monotonic()
    result = function()
    assert time.monotonic() - began < seconds
    return result


def test_a_fuse_mount_below_a_root_is_scanned_like_everything_else(known, tree, fuse):
    with Scanner(known, mounts=fuse) as scanner:
        found = scan(scanner, tree)
    assert found.paths("match") == sorted(
        bytes(tree / each) for each in ("local/x", "local/fuse/a", "local/fuse/deep/er/b", "other/x")
    )
    assert found.paths("no_match") == [bytes(tree / "local/fuse/harmless")]
    assert (found.summary.special, found.summary.incomplete) == (1, 0)
    assert found.summary.bytes_read >= 4 * len(BAD)


@pytest.mark.parametrize("root", ["local/fuse", "local/fuse/deep", "local/fuse/a", "local/fuse/link"])
def test_a_root_on_a_fuse_mount_is_scanned_under_the_name_that_was_given(known, tree, fuse, root):
    with Scanner(known, mounts=fuse) as scanner:
        found = scan(scanner, tree / root)
    assert found.summary.matched == {"local/fuse": 2}.get(root, 1)
    assert all(path.startswith(bytes(tree / root)) for path in found.paths("match"))
    assert found.summary.incomplete == 0


def test_network_mounts_are_entered_on_request_only(known, tree):
    table = mounts(at={tree / "local/fuse": "nfs4"})
    with Scanner(known, mounts=table) as scanner:
        assert scan(scanner, tree).reason(tree / "local/fuse") == "network-mount:nfs4"
    with Scanner(known, mounts=table, network=True) as scanner:
        found = scan(scanner, tree)
    assert (found.summary.matched, found.summary.not_examined) == (4, 0)


@pytest.mark.parametrize("subtype", ["sshfs", "rclone", "gvfsd-fuse"])
def test_a_fuse_file_system_that_fetches_from_elsewhere_counts_as_network(subtype):
    assert reason_not_to_enter(b"fuse." + subtype.encode()) == f"network-mount:{subtype}"
    assert reason_not_to_enter(b"fuse.encfs") == "fuse-mount:encfs"


@pytest.mark.parametrize("operation", ["before_open", "before_stat"])
def test_a_file_that_never_answers_is_not_examined_and_all_others_are(known, tree, fuse, faults, stuck, operation):
    hang = stuck("a")
    setattr(faults, operation, hang)
    with Scanner(known, mounts=fuse, os_table=faults.capsule, patience_seconds=PATIENCE_SECONDS) as scanner:
        found = soon(lambda: scan(scanner, tree))
        assert found.reason(tree / "local/fuse/a") == "no-answer"
        assert found.summary.matched == 3
        assert found.paths("no_match") == [bytes(tree / "local/fuse/harmless")]
        assert found.summary.incomplete == 1
        assert hang.times == 2  # tried once more at the end
    hang.let_go()


def test_a_read_that_never_answers_costs_its_own_file_only(known, tree, fuse, faults, stuck):
    hang = stuck("a")
    faults.after_read = hang
    with Scanner(known, mounts=fuse, os_table=faults.capsule, patience_seconds=PATIENCE_SECONDS) as scanner:
        found = soon(lambda: scan(scanner, tree))
    assert hang.times
    assert found.reason(tree / "local/fuse/a") == "no-answer"
    assert (found.summary.matched, found.summary.no_match) == (3, 1)


def test_a_late_answer_is_taken_as_long_as_the_mount_is_read(known, tree, fuse, faults, stuck):
    hang, first = stuck("a"), threading.Event()

    def once(name):
        if name == b"a" and not first.is_set():
            first.set()
            threading.Timer(3 * PATIENCE_SECONDS, hang.let_go).start()
            hang(name)

    faults.before_open = once
    with Scanner(known, mounts=fuse, os_table=faults.capsule, patience_seconds=PATIENCE_SECONDS) as scanner:
        found = soon(lambda: scan(scanner, tree))
    assert (found.summary.matched, found.summary.incomplete) == (4, 0)


def test_a_listing_that_never_answers_is_told_for_the_mount_and_what_was_listed_is_read(
    known, tree, fuse, faults, stuck
):
    hang = stuck("deep")
    faults.before_open = hang
    with Scanner(known, mounts=fuse, os_table=faults.capsule, patience_seconds=PATIENCE_SECONDS) as scanner:
        found = soon(lambda: scan(scanner, tree))
    assert found.reason(tree / "local/fuse") == "no-answer"
    assert found.of(tree / "local/fuse/a").kind == "match"
    assert (found.summary.matched, found.summary.incomplete) == (3, 1)


def test_a_mount_of_which_nothing_answers_is_left_after_a_few_helpers(known, tree, fuse, faults, stuck):
    names = [f"{i:03}" for i in range(50)]
    for name in names:
        (tree / "local/fuse" / name).write_bytes(b"x")
    hang = stuck(*names, "a", "b", "harmless")
    faults.before_open = hang
    before = threading.active_count()
    with Scanner(known, mounts=fuse, os_table=faults.capsule, patience_seconds=PATIENCE_SECONDS) as scanner:
        found = soon(lambda: scan(scanner, tree))
        assert threading.active_count() - before <= 4
    assert found.summary.matched == 2
    assert len(found.paths("not_examined")) == 50 + 3 + 1
    assert {outcome.reason for outcome in found.outcomes if outcome.kind == "not_examined"} == {"no-answer"}


def test_stop_works_while_a_mount_does_not_answer(known, tree, fuse, faults, stuck):
    faults.before_open = stuck("a")
    with Scanner(known, mounts=fuse, os_table=faults.capsule, patience_seconds=60) as scanner:
        threading.Timer(0.3, scanner.stop).start()
        *_, summary = soon(lambda: list(scanner.scan(tree)), seconds=2)
    assert not summary.complete
    assert summary.matched >= 2


def test_gates_stand_before_files_of_such_mounts_too(open_set, tmp_path):
    fuse_mount = tmp_path / "fuse"
    fuse_mount.mkdir()
    (fuse_mount / "large").write_bytes(bytes(5000))
    (fuse_mount / "text").write_bytes(b"plain text")
    (fuse_mount / "empty").write_bytes(b"")
    with zipfile.ZipFile(fuse_mount / "media", "w") as made:
        made.writestr("x", "x")
    table = mounts(at={fuse_mount: "fuse.bindfs"})
    with Scanner(open_set(BAD), mounts=table, only="media", max_size_bytes=4096) as scanner:
        found = scan(scanner, tmp_path)
    assert found.reason(fuse_mount / "large") == "by-rule:max-size"
    assert found.reason(fuse_mount / "text") == "by-rule:only-media"
    assert found.paths("no_match") == [bytes(fuse_mount / "empty"), bytes(fuse_mount / "media")]


def test_the_gate_of_known_sizes_counts_files_of_such_mounts_too(tmp_path, tree, fuse):
    from hashsieve import HashSet
    from hashsieve.hashset.compile import SetWriter

    writer = SetWriter(sizes="trusted")
    writer.add(record(BAD, size_bytes=len(BAD)))
    writer.write(tmp_path / "sized.hset")
    with HashSet.open(tmp_path / "sized.hset") as sized, Scanner(sized, mounts=fuse) as scanner:
        found = scan(scanner, tree / "local/fuse")
    assert (found.summary.matched, found.summary.no_match) == (2, 1)
    assert found.summary.gates["known-sizes"] == 1


def test_leaving_a_scan_early_does_not_wait_for_a_mount(known, tree, fuse, faults, stuck):
    faults.before_open = stuck("a", "harmless")
    with Scanner(known, mounts=fuse, os_table=faults.capsule, patience_seconds=60) as scanner:
        outcomes = scanner.scan(tree)
        for _ in range(2):
            next(outcomes)
        soon(outcomes.close, seconds=2)


def mount_that_never_answers(path):
    """A FUSE mount whose program reads no request. Gives the descriptor that keeps it up."""
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"dead", os.fsencode(path), b"fuse.dead", 0, options):
        number = ctypes.get_errno()
        os.close(fd)
        raise OSError(number, os.strerror(number))
    return fd


@pytest.fixture
def dead_mount(tmp_path):
    path = tmp_path / "home/dead"
    path.mkdir(parents=True)
    try:
        fd = mount_that_never_answers(path)
    except OSError as problem:
        pytest.skip(f"no FUSE mount can be made here: {problem}")
    yield path
    os.close(fd)  # aborts what is waiting
    subprocess.run(["umount", "-l", path], check=False)


def test_a_real_mount_that_never_answers_stops_neither_its_neighbours_nor_the_stop(make_set, dead_mount):
    home, other = dead_mount.parent, dead_mount.parent.parent / "other"
    other.mkdir()
    (home / "x").write_bytes(BAD)
    (other / "x").write_bytes(BAD)
    code = (
        "import sys, json, time, threading\n"
        "from hashsieve import HashSet, Scanner\n"
        "with HashSet.open(sys.argv[1]) as known:\n"
        "    with Scanner(known, patience_seconds=1) as scanner:\n"
        "        *found, summary = scanner.scan(*sys.argv[2:])\n"
        "    with Scanner(known, patience_seconds=60) as scanner:\n"
        "        threading.Timer(0.5, scanner.stop).start()\n"
        "        began = time.monotonic()\n"
        "        list(scanner.scan(*sys.argv[2:]))\n"
        "        stopped = time.monotonic() - began\n"
        "print(json.dumps([[each.kind, each.path.decode(), each.reason] for each in found] + [stopped]))\n"
    )
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen([sys.executable, "-c", code, make_set(BAD), home, other], stdout=subprocess.PIPE)
        )
        stack.callback(process.kill)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    *found, stopped_seconds = json.loads(out)
    assert sorted(found) == [
        ["match", str(home / "x"), None],
        ["match", str(other / "x"), None],
        ["not_examined", str(dead_mount), "no-answer"],
    ]
    assert stopped_seconds < 2.5
