"""Stopping, closing, leaving early and forking: soon, without a hang, and with nothing left behind."""

import contextlib
import gc
import hashlib
import json
import os
import sys
import threading
import time

import pytest

from hashsieve import HashSet, Outcome, Scanner
from hashsieve.errors import StoppedError, UsageError
from helpers import scan

BAD = b"listed content\n"
SOON_SECONDS = 5  # promised is one; two loaded cores get some more


@pytest.fixture
def known(open_set):
    return open_set(BAD)


@pytest.fixture
def endless(tmp_path):
    """A file that takes an hour to read."""
    path = tmp_path / "tree/endless"
    path.parent.mkdir()
    with open(path, "wb") as file:
        try:
            file.truncate(1 << 40)
        except OSError as problem:
            pytest.skip(f"no file of this size here: {problem}")
    return path


def soon(function):
    began = time.monotonic()
    result = function()
    assert time.monotonic() - began < SOON_SECONDS
    return result


@pytest.mark.parametrize("jobs", [1, 3])
def test_stop_from_another_thread_ends_a_scan_in_the_middle_of_a_file(known, endless, jobs):
    (endless.parent / "other").write_bytes(b"x")
    with Scanner(known, jobs=jobs) as scanner:
        threading.Timer(0.3, scanner.stop).start()
        found = soon(lambda: scan(scanner, endless.parent))
        assert not found.summary.complete
        assert found.summary.seen <= 1
        assert scanner.stopped
        with pytest.raises(StoppedError):
            scanner.scan(endless)


def test_stop_ends_an_examination_in_another_thread(known, endless):
    problems = []

    def examine():
        try:
            scanner.examine(endless)
        except StoppedError as problem:
            problems.append(problem)

    with Scanner(known) as scanner:
        thread = threading.Thread(target=examine)
        thread.start()
        time.sleep(0.2)
        scanner.stop()
        soon(thread.join)
    assert len(problems) == 1


def test_what_readers_found_before_the_stop_is_told(known, endless):
    for i in range(5):
        (endless.parent / f"bad-{i}").write_bytes(BAD)
    with Scanner(known, jobs=3) as scanner:
        threading.Timer(0.5, scanner.stop).start()
        *outcomes, summary = soon(lambda: list(scanner.scan(endless.parent)))
    # All readers but one were free to read them, whatever the order of the listing.
    assert len(outcomes) == summary.matched == 5
    assert not summary.complete


@pytest.mark.parametrize("how", ["break", "close", "drop", "exception"])
def test_leaving_a_scan_early_does_not_wait_for_files_in_progress(known, endless, how):
    (endless.parent.parent / "a").write_bytes(BAD)

    def leave():
        outcomes = scanner.scan(endless.parent.parent / "a", endless.parent)
        if how == "exception":
            with contextlib.suppress(KeyError):
                for _ in outcomes:
                    raise KeyError
        elif how == "break":
            for _ in outcomes:
                break
        elif how == "close":
            next(outcomes)
            outcomes.close()
        else:
            next(outcomes)
        del outcomes
        gc.collect()

    with Scanner(known, jobs=2) as scanner:
        # The first outcome comes when the walk looks back, so let there be more files than readers look ahead.
        for i in range(10):
            (endless.parent / f"{i}").write_bytes(b"x")
        soon(leave)
        (endless.parent / "endless").unlink()
        assert scan(scanner, endless.parent).summary.seen == 10


def test_a_scan_that_was_never_begun_leaves_nothing(known, tmp_path):
    with Scanner(known) as scanner:
        scanner.scan(tmp_path)
        scanner.scan(tmp_path)
        assert scan(scanner, tmp_path).summary.complete


def threads_and_descriptors():
    gc.collect()
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
def test_a_thousand_scanners_and_sets_leave_no_thread_and_no_descriptor(make_set, tmp_path):
    path = make_set(BAD)
    (tmp_path / "x").write_bytes(BAD)
    (tmp_path / "y").write_bytes(b"y")
    before = threads_and_descriptors()
    for i in range(1000):
        known = HashSet.open(path)
        scanner = Scanner(known, jobs=2 if i % 5 == 0 else 1)
        if i % 4 == 0:
            assert scan(scanner, tmp_path).summary.matched == 1
        elif i % 4 == 1:
            with contextlib.suppress(KeyError), known, scanner:
                for _ in scanner.scan(tmp_path):
                    raise KeyError
        elif i % 4 == 2:
            outcomes = scanner.scan(tmp_path)
            assert isinstance(next(outcomes), Outcome)
            del outcomes
        if i % 3 == 0:
            scanner.close()
            known.close()
        del scanner, known  # else left to the garbage collector
    assert threads_and_descriptors() == before


def test_closing_twice_is_fine_and_ends_use(known, tmp_path):
    scanner = Scanner(known)
    scanner.close()
    scanner.close()
    for use in (lambda: scanner.scan(tmp_path), lambda: scanner.examine(tmp_path), lambda: scanner.examine_bytes(b"x")):
        with pytest.raises(UsageError, match="closed"):
            use()
    assert known.entry_count == 1


# ---------------------------------------------------------------- forks

FORK = """
import json, os, sys
from hashsieve import HashSet, Scanner
from hashsieve.errors import ForkError
known = HashSet.open(sys.argv[1])
scanner = Scanner(known, jobs=2)
assert scanner.examine(sys.argv[2]).kind == "match"
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    refused = 0
    for use in (
        lambda: scanner.examine(sys.argv[2]),
        lambda: scanner.examine_bytes(b"x"),
        lambda: scanner.scan(sys.argv[2]),
    ):
        try:
            use()
        except ForkError:
            refused += 1
    with Scanner(known) as own:
        found = own.examine(sys.argv[2]).kind
    entries = len(known.entries("md5", bytes.fromhex(sys.argv[3])))
    known.close()
    scanner.close()
    os.write(writer, json.dumps([refused, found, entries]).encode())
    os._exit(0)
os.waitpid(pid, 0)
print(os.read(reader, 1000).decode())
assert scanner.examine(sys.argv[2]).kind == "match"
"""


def test_after_a_fork_the_child_is_told_to_make_a_scanner_of_its_own_and_may_use_the_set(cli, make_set, tmp_path):
    (tmp_path / "x").write_bytes(BAD)
    done = cli.python(FORK, make_set(BAD), tmp_path / "x", hashlib.md5(BAD).hexdigest())
    assert done.code == 0, done
    assert json.loads(done.out) == [3, "match", 1]


FORK_LOOP = """
import multiprocessing, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what this is about
from hashsieve import HashSet, Scanner
known = HashSet.open(sys.argv[1])
scanner = Scanner(known, jobs=4)

def work():
    with Scanner(known, jobs=2) as own:
        *_, summary = own.scan(sys.argv[2])
        assert summary.seen == 300, summary

context = multiprocessing.get_context("fork")
count = 0
for outcome in scanner.scan(sys.argv[2], every=True):
    count += 1
    if count % 25 == 0:
        pid = os.fork()
        if pid == 0:
            if count % 50 == 0:
                sys.exit(7)  # unwinds through the scan of the parent
            work()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    if count % 100 == 0:
        child = context.Process(target=work)
        child.start()
        child.join()
        assert child.exitcode == 0
print(count)
"""


def test_forks_in_the_middle_of_a_scan_never_hang(cli, make_set, tmp_path):
    for i in range(300):
        (tmp_path / f"{i}").write_bytes(b"%d" % i * 1000)
    done = cli.python(FORK_LOOP, make_set(BAD), tmp_path)
    assert (done.code, done.out) == (0, b"301\n"), done


FORK_LOCKED = """
import os, sys, threading
from hashsieve import HashSet
known = HashSet.open(sys.argv[1], load=())
held, release = threading.Event(), threading.Event()

def hold():
    with known._lock:
        held.set()
        release.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
pid = os.fork()
if pid == 0:
    known.load(known.kinds)
    os._exit(0 if known.entries("md5", bytes.fromhex(sys.argv[2])) else 1)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
release.set()
thread.join()
sys.exit(code)
"""


def test_a_set_that_another_thread_was_loading_at_the_fork_works_in_the_child(cli, make_set):
    done = cli.python(FORK_LOCKED, make_set(BAD), hashlib.md5(BAD).hexdigest(), timeout=30)
    assert done.code == 0, done


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the interpreter lock can be absent from 3.13 on")
def test_the_natives_ask_for_the_interpreter_lock():
    import sysconfig

    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("this interpreter always has its lock")
    import hashsieve._scan  # noqa: F401

    assert sys._is_gil_enabled()
