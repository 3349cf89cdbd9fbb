"""Mounts that may never answer: what hangs costs its own outcome, and nothing else."""

import contextlib
import ctypes
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashsieve import Scanner, _scan
from hashsieve.errors import ForkError, StoppedError
from hashsieve.platform.mounts import reason_not_to_enter
from hashsieve.scan.apart import _stuck_count
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


@pytest.fixture
def stalls():
    """Calls about some names take long, in the child processes that a scan makes."""
    return pytest.importorskip("hashsieve_faults", reason="built without HASHSIEVE_TEST_MODULES=1").Stalls()


@pytest.fixture(autouse=True)
def nothing_left():
    """No child, no thread and no descriptor stays behind."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    until = time.monotonic() + 5
    while time.monotonic() < until and (children() or helpers_running()):
        _stuck_count(b"")
        time.sleep(0.02)
    assert (children(), helpers_running()) == ([], [])
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the mount table of a machine may be kept open


def children(of=None):
    """Child processes for such mounts."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/stat").read_text()
            name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
            if int(rest[1]) == (of or os.getpid()) and name == "hashsieve-apart":
                found.append(int(pid))
    return found


def helpers_running():
    return [thread.name for thread in threading.enumerate() if thread.name == "hashsieve-apart"]


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


@pytest.mark.parametrize("operation", ["open", "stat", "pread"])
def test_a_file_that_never_answers_is_not_examined_and_all_others_are(known, tree, fuse, stalls, operation):
    stalls.add(operation, b"a")
    with Scanner(known, mounts=fuse, os_table=stalls.capsule, patience_seconds=PATIENCE_SECONDS) as scanner:
        found = soon(lambda: scan(scanner, tree))
    assert found.reason(tree / "local/fuse/a") == "no-answer"
    assert found.summary.matched == 3
    assert found.paths("no_match") == [bytes(tree / "local/fuse/harmless")]
    assert found.summary.incomplete == 1
    assert stalls.seen == [2]  # tried once more at the end


def test_a_file_that_answers_the_second_time_is_examined(known, tree, fuse, stalls):
    stalls.add("open", b"a", times=1)
    with Scanner(known, mounts=fuse, os_table=stalls.capsule, patience_seconds=PATIENCE_SECONDS) as scanner:
        found = soon(lambda: scan(scanner, tree))
    assert stalls.seen == [2]
    assert (found.summary.matched, found.summary.incomplete) == (4, 0)


def test_a_call_that_takes_less_than_the_patience_is_waited_for(known, tree, fuse, stalls):
    for operation in ("open", "stat", "pread"):
        stalls.add(operation, seconds=0.15)
    with Scanner(known, mounts=fuse, os_table=stalls.capsule, patience_seconds=5) as scanner:
        found = soon(lambda: scan(scanner, tree / "local/fuse"))
    assert (found.summary.matched, found.summary.incomplete) == (2, 0)


@pytest.mark.parametrize("operation", ["open", "stat", "pread"])
def test_a_child_that_dies_half_way_is_an_error_of_that_file(known, tree, fuse, stalls, operation):
    stalls.add(operation, b"a", seconds=-1)
    with Scanner(known, mounts=fuse, os_table=stalls.capsule) as scanner:
        found = soon(lambda: scan(scanner, tree))
    assert (found.of(tree / "local/fuse/a").kind, found.summary.matched, found.summary.no_match) == ("error", 3, 1)
    assert "helper process died" in found.reason(tree / "local/fuse/a")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["open", "stat", "pread", "list"]),
            st.sampled_from([b"", b"a", b"deep", b"er", b"b", b"harmless", b"link"]),
            st.sampled_from([-1.0, 0.002, 600.0]),
            st.integers(1, 3),
        ),
        max_size=4,
    )
)
def test_whatever_dies_or_hangs_every_listed_name_has_one_outcome(known, tree, fuse, rules):
    stalls = pytest.importorskip("hashsieve_faults", reason="built without HASHSIEVE_TEST_MODULES=1").Stalls()
    for operation, name, seconds, times in rules:
        stalls.add(operation, name, seconds, times)
    with Scanner(known, mounts=fuse, os_table=stalls.capsule, patience_seconds=0.05) as scanner:
        found = soon(lambda: scan(scanner, tree), seconds=20)
    assert len(found.by_path) == len(found.outcomes)
    names = {tree / "local/fuse" / each for each in ("a", "deep/er/b", "harmless")}
    told = {Path(os.fsdecode(path)) for path in found.by_path}
    assert (
        names <= told
        or found.by_path.get(bytes(tree / "local/fuse"))
        or tree / "local/fuse/deep" in told
        or (tree / "local/fuse/deep/er" in told)
    )
    assert found.summary.matched >= 2
    for path in names & told:
        outcome = found.of(path)
        right = "no_match" if path.name == "harmless" else "match"
        assert outcome.kind in (right, "not_examined", "error")


def test_a_listing_that_never_answers_is_told_for_the_mount_and_what_was_listed_is_read(known, tree, fuse, stalls):
    stalls.add("open", b"deep")
    with Scanner(known, mounts=fuse, os_table=stalls.capsule, patience_seconds=PATIENCE_SECONDS) as scanner:
        found = soon(lambda: scan(scanner, tree))
    assert found.reason(tree / "local/fuse") == "no-answer"
    assert found.of(tree / "local/fuse/a").kind == "match"
    assert (found.summary.matched, found.summary.incomplete) == (3, 1)


def test_a_mount_of_which_nothing_answers_is_left_after_a_few_children(known, tree, fuse, stalls):
    for i in range(50):
        (tree / "local/fuse" / f"{i:03}").write_bytes(b"x")
    (tree / "local/fuse/link").unlink()  # which would be an answer in between
    stalls.add("pread")
    with Scanner(known, mounts=fuse, os_table=stalls.capsule, patience_seconds=PATIENCE_SECONDS) as scanner:
        found = soon(lambda: scan(scanner, tree))
    assert found.summary.matched == 2
    assert stalls.seen == [3]
    assert len(found.paths("not_examined")) == 50 + 2 + 1
    assert {outcome.reason for outcome in found.outcomes if outcome.kind == "not_examined"} == {"no-answer"}
    assert found.reason(tree / "local/fuse") == "no-answer"


def test_stop_works_while_a_mount_does_not_answer(known, tree, fuse, stalls):
    stalls.add("open", b"a")
    with Scanner(known, mounts=fuse, os_table=stalls.capsule, patience_seconds=60) as scanner:
        threading.Timer(0.3, scanner.stop).start()
        *_, summary = soon(lambda: list(scanner.scan(tree)), seconds=2)
    assert not summary.complete
    assert summary.matched >= 2


def test_stop_tells_a_match_that_was_computed(known, tree, stalls):
    """Many mounts: eleven do not answer, and the match of the twelfth is waiting to be told when the stop comes."""
    table = {}
    for i in range(12):
        (tree / f"m{i:02}").mkdir()
        (tree / f"m{i:02}" / f"f{i:02}").write_bytes(BAD)
        table[tree / f"m{i:02}"] = "fuse.x"
        if i:
            stalls.add("open", f"f{i:02}".encode())
    with Scanner(known, mounts=mounts(at=table), os_table=stalls.capsule, patience_seconds=60) as scanner:
        original, computed = scanner._examine_apart, []

        def examine(*arguments):
            result = original(*arguments)
            if result.kind == "match":
                computed.append(result)
                scanner.stop()
            return result

        scanner._examine_apart = examine
        *found, summary = soon(lambda: list(scanner.scan(tree)), seconds=5)
    assert len(computed) == 1
    assert not summary.complete
    assert [each.path for each in found if each.path.startswith(bytes(tree / "m"))] == [bytes(tree / "m00/f00")]


def test_a_process_that_was_stopped_has_not_waited_meanwhile(make_set, tree, stalls):
    code = (
        "import sys, os\n"
        "from hashsieve import HashSet, Scanner\n"
        "from helpers import mounts\n"
        "import hashsieve_faults\n"
        "stalls = hashsieve_faults.Stalls()\n"
        "stalls.add('pread', b'a', seconds=1.0)\n"
        "with HashSet.open(sys.argv[1]) as known:\n"
        "    table = mounts(at={sys.argv[2]: 'fuse.x'})\n"
        "    with Scanner(known, mounts=table, os_table=stalls.capsule, patience_seconds=1.5) as scanner:\n"
        "        print('ready', flush=True)\n"
        "        *_, summary = scanner.scan(sys.argv[2])\n"
        "print(summary.matched, summary.incomplete)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, make_set(BAD), tree / "local/fuse"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGSTOP)
    helpers = children(of=process.pid)
    for pid in helpers:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(2)
    process.send_signal(signal.SIGCONT)
    for pid in helpers:
        os.kill(pid, signal.SIGCONT)
    out, _ = process.communicate(timeout=30)
    assert out == b"2 0\n"


def test_no_child_can_be_made_is_told_and_nothing_is_left(known, tree, fuse, monkeypatch):
    def none(*arguments):
        problem = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        problem.add_note("operation: fork")
        raise problem

    monkeypatch.setattr("hashsieve.scan.apart.connect", none)
    with Scanner(known, mounts=fuse) as scanner:
        found = scan(scanner, tree)
        assert scanner.examine(tree / "local/fuse/a").reason == "fork: ENOMEM Cannot allocate memory"
    assert found.reason(tree / "local/fuse") == "fork: ENOMEM Cannot allocate memory"
    assert (found.summary.matched, found.summary.errors) == (2, 1)


def test_no_thread_can_be_started_is_told_and_nothing_is_left(known, tree, fuse, monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with Scanner(known, mounts=fuse) as scanner:
        found = scan(scanner, tree)
    assert "can't start new thread" in found.reason(tree / "local/fuse")
    assert (found.summary.matched, found.summary.errors) == (2, 1)


def test_fifty_scans_leave_nothing_behind(known, tree, fuse):
    with Scanner(known, mounts=fuse) as scanner:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            assert scan(scanner, tree / "local/fuse").summary.matched == 2
        assert len(os.listdir("/proc/self/fd")) == before
    assert children() == []


def test_a_mount_reached_through_several_roots_is_read_once(known, tree, fuse):
    (tree / "way").symlink_to("local/fuse")
    with Scanner(known, mounts=fuse) as scanner:
        for roots in (("local/fuse/deep", "local/fuse", "way", "local"), ("local", "local/fuse/deep", "way")):
            found = scan(scanner, *(tree / root for root in roots))
            assert len(found.by_path) == len(found.outcomes)
            assert (found.summary.matched, found.summary.no_match, found.summary.incomplete) == (3, 1, 0)


def test_a_link_into_another_mount_is_told_or_followed_as_that_mount_is(known, tree):
    for name in ("nfs", "auto", "fuse2"):
        (tree / name / "in").mkdir(parents=True)
        (tree / name / "in/bad").write_bytes(BAD)
        (tree / f"local/fuse/to-{name}").symlink_to(tree / name / "in")
    at = {tree / "local/fuse": "fuse.x", tree / "nfs": "nfs4", tree / "auto": "autofs", tree / "fuse2": "fuse.y"}
    with Scanner(known, mounts=mounts(at=at)) as scanner:
        for name, reason in (("nfs", "network-mount:nfs4"), ("auto", "automount:autofs")):
            root = tree / f"local/fuse/to-{name}"
            found = scan(scanner, root)
            assert (found.reason(root), found.summary.incomplete) == (reason, 1)
        found = scan(scanner, tree / "local/fuse/to-fuse2")
        assert found.paths("match") == [bytes(tree / "local/fuse/to-fuse2/bad")]
        (tree / "fuse2/loop").symlink_to(tree / "local/fuse/loop")
        (tree / "local/fuse/loop").symlink_to(tree / "fuse2/loop")
        assert "ELOOP" in scan(scanner, tree / "local/fuse/loop").reason(tree / "local/fuse/loop")


def test_examining_one_file_of_such_a_mount_ends_too(known, tree, fuse, stalls):
    stalls.add("pread", os.fsencode(tree / "local/fuse/a"))
    (tree / "way").symlink_to("local/fuse")
    with Scanner(known, mounts=fuse, os_table=stalls.capsule, patience_seconds=PATIENCE_SECONDS) as scanner:
        assert soon(lambda: scanner.examine(tree / "local/fuse/a")).reason == "no-answer"
        assert scanner.examine(tree / "way/deep/er/b").kind == "match"
        assert scanner.examine(tree / "local/fuse/harmless").kind == "no_match"
        assert scanner.examine(tree / "local/fuse/nothing").kind == "gone"
        assert scanner.examine(tree / "local/fuse/link").reason == "special:symlink"
        assert scanner.examine(tree / "local/x").kind == "match"
    with Scanner(known, mounts=fuse, os_table=stalls.capsule, patience_seconds=60) as scanner:
        threading.Timer(0.2, scanner.stop).start()
        with pytest.raises(StoppedError):
            soon(lambda: scanner.examine(tree / "local/fuse/a"), seconds=2)


def test_a_child_process_of_the_host_cannot_use_the_connection_and_does_not_hang():
    remote = _scan.Remote(patience_seconds=5)
    directory = remote.open_directory("/")
    pid = os.fork()
    if pid == 0:
        try:
            directory.stat(b"usr")
        except ForkError:
            os._exit(0 if remote.reap() else 2)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert directory.stat(b"usr").is_directory()
    child = remote.child_pid
    remote.end()
    with pytest.raises(OSError, match=str(_scan.ENDED)):
        remote.readlink("/proc/self/exe")
    until = time.monotonic() + 5
    while not remote.reap() and time.monotonic() < until:
        time.sleep(0.005)
    assert remote.reap()
    assert child not in children()


def test_a_child_holds_nothing_of_its_parent():
    read_end, write_end = os.pipe()
    remote = _scan.Remote(patience_seconds=5)
    try:
        remote.open_directory("/").close()
        remote.open_directory("/").close()
        held = {
            fd: os.readlink(f"/proc/{remote.child_pid}/fd/{fd}") for fd in os.listdir(f"/proc/{remote.child_pid}/fd")
        }
        assert [held[each] for each in "012"] == ["/dev/null"] * 3
        assert held["3"].startswith("socket:")
        assert len(held) <= 5
        assert os.readlink(f"/proc/{remote.child_pid}/cwd") == "/"
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)  # a host that waits for any child of its own does not meet ours
    finally:
        remote.end()
        os.close(read_end)
        os.close(write_end)


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


def test_leaving_a_scan_early_does_not_wait_for_a_mount(known, tree, fuse, stalls):
    stalls.add("open", b"a")
    stalls.add("open", b"harmless")
    with Scanner(known, mounts=fuse, os_table=stalls.capsule, patience_seconds=60) as scanner:
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


# ---- a real FUSE file system, served by a process of the test ------------------------------------------------------


@pytest.fixture
def serve(tmp_path):
    """``serve(tree={...}, ...)`` mounts a FUSE file system that behaves as told (fuse_server.py)."""
    with contextlib.ExitStack() as stack:

        def start(**description):
            point = tmp_path / f"mount{len(os.listdir(tmp_path))}"
            point.mkdir()
            server = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("fuse_server.py"), point],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            stack.callback(subprocess.run, ["umount", "-l", point], check=False, capture_output=True)
            stack.enter_context(server)
            stack.callback(server.kill)  # which ends whatever waits for it
            assert server.stdin is not None
            assert server.stdout is not None
            assert server.stderr is not None
            server.stdin.write(json.dumps(description).encode())
            server.stdin.close()
            if server.stdout.readline() != b"mounted\n":
                pytest.skip(f"no FUSE mount can be made here: {server.stderr.read().decode().strip()[-200:]}")
            return point

        yield start


TEXT = BAD.decode()


def test_a_request_that_was_taken_and_is_never_answered_does_not_keep_the_process(cli, make_set, serve):
    mount = serve(tree={"a": "x" * 5000, "bad": TEXT}, silent=[("read", "a")])
    code = (
        "import sys\n"
        "from hashsieve import HashSet, Scanner\n"
        "with HashSet.open(sys.argv[1]) as known, Scanner(known, patience_seconds=0.5) as scanner:\n"
        "    for each in scanner.scan(sys.argv[2]):\n"
        "        if hasattr(each, 'path'): print(each.kind.value, each.path.decode(), flush=True)\n"
        "print('END', flush=True)\n"
    )
    # As in a shell pipe: the reader of the output ends with it.
    process = subprocess.Popen(
        [sys.executable, "-c", code, make_set(BAD), mount], stdout=subprocess.PIPE, env=cli.environment
    )
    assert process.stdout is not None
    with process:
        lines = [line.decode().strip() for line in process.stdout]
        soon(lambda: process.wait(10), seconds=3)
    assert process.returncode == 0
    assert sorted(lines) == ["END", f"match {mount}/bad", f"not_examined {mount}/a"]


def test_a_process_inside_such_a_scan_can_be_killed(cli, make_set, serve):
    mount = serve(tree={"a": "x" * 5000}, silent=[("read", "a")])
    process = cli.start("scan", "-s", make_set(BAD), mount)
    until = time.monotonic() + 20
    while len(children(of=process.pid)) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.3)
    process.kill()
    soon(lambda: process.communicate(timeout=10), seconds=3)
    assert process.returncode == -signal.SIGKILL


def test_children_that_cannot_be_killed_are_few(known, serve):
    mount = serve(tree={f"{i:02}": "x" * 100 for i in range(20)}, silent=[("read", f"{i:02}") for i in range(0, 20, 2)])
    with Scanner(known, patience_seconds=0.2) as scanner:
        for _ in range(5):
            found = soon(lambda: scan(scanner, mount))
            assert len(found.by_path) == len(found.outcomes)
            assert found.summary.incomplete
            assert len(children()) <= 4


def test_slow_directories_with_nothing_in_them_are_not_silence(known, serve):
    empty = {f"{i:03}": {} for i in range(60)}
    mount = serve(tree={"objects": empty, "z": {"bad": TEXT}}, delay_seconds=0.005)
    with Scanner(known, patience_seconds=0.5) as scanner:
        found = scan(scanner, mount)
    assert (found.summary.matched, found.summary.incomplete) == (1, 0)


def test_two_directories_of_one_number_are_not_both_taken_as_read(known, serve):
    mount = serve(tree={"p": {"bad": TEXT}, "q": {"bad": TEXT}}, numbers={"p": 77, "q": 77})
    with Scanner(known) as scanner:
        found = scan(scanner, mount)
    assert (found.summary.matched, found.summary.incomplete) == (1, 1)
    assert found.reason(mount / "q") == "already-visited"


@pytest.mark.parametrize("types", [{"p": 8, "f": 4}, {"p": 1, "f": 10}, {"p": 0, "f": 0}])
def test_what_a_listing_says_about_types_is_not_believed(known, serve, types):
    mount = serve(tree={"p": {"bad": TEXT, "deeper": {"bad": TEXT}}, "f": TEXT}, types=types)
    with Scanner(known) as scanner:
        found = scan(scanner, mount)
    assert found.paths("match") == sorted(bytes(mount / each) for each in ("f", "p/bad", "p/deeper/bad"))
    assert found.summary.special == 0


SCAN_APART = (
    "import sys\n"
    "from hashsieve import HashSet, Scanner\n"
    "from helpers import mounts\n"
    "with HashSet.open(sys.argv[1]) as known:\n"
    "    with Scanner(known, mounts=mounts(at={sys.argv[2]: 'fuse.x'})) as scanner:\n"
    "        for each in scanner.scan(sys.argv[2]):\n"
    "            if hasattr(each, 'path'): print(each.kind.value, each.path.decode(), each.reason)\n"
    "            else: print(each.matched, each.no_match, each.incomplete)\n"
)


def test_many_directories_need_few_descriptors(cli, make_set, tmp_path):
    mount = tmp_path / "mount"
    for i in range(1500):
        (mount / f"d{i:04}").mkdir(parents=True)
        (mount / f"d{i:04}/f").write_bytes(BAD if i == 1234 else b"y")
    cli.environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    limit = ["bash", "-c", 'ulimit -n 64; exec "$@"', "bash"]
    done = cli.python(SCAN_APART, make_set(BAD), mount, start=limit)
    assert done.text.splitlines() == [f"match {mount}/d1234/f None", "1 1499 0"], done.err


def test_a_directory_that_may_not_be_listed_costs_itself_only(cli, make_set, tree):
    mount = tree / "local/fuse"
    for name, mode in (("no", 0o000), ("list", 0o444)):
        (mount / name).mkdir()
        (mount / name / "f").write_bytes(BAD)
        (mount / name).chmod(mode)
    cli.environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    try:
        done = cli.python(SCAN_APART, make_set(BAD), mount, unprivileged=True)
    finally:
        for name in ("no", "list"):
            (mount / name).chmod(0o755)
    *lines, summary = done.text.splitlines()
    assert summary == "2 1 2"
    assert sorted(lines) == [
        f"error {mount}/list/f stat: EACCES Permission denied",
        f"error {mount}/no open: EACCES Permission denied",
        f"match {mount}/a None",
        f"match {mount}/deep/er/b None",
    ], done.err
