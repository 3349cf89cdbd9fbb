"""Trees: every name has one outcome, whatever its kind, its name, its depth and what happens to it meanwhile."""

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hashsieve import Scanner, _scan
from hashsieve.scan import scanner as scanner_module
from hashsieve.scan.scanner import _special_name
from helpers import scan

BAD = b"listed content\n"


@pytest.fixture
def known(open_set):
    return open_set(BAD)


@pytest.fixture
def scanner(known):
    with Scanner(known) as scanner:
        yield scanner


def counting_scanner(known, faults, **options):
    faults.record_opens = True
    return Scanner(known, os_table=faults.capsule, **options)


# ---------------------------------------------------------------- one bad name


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_name_that_cannot_be_examined_is_an_error_with_its_number_and_its_siblings_go_on(
    known, faults, tmp_path, number, jobs
):
    for name in ("a", "bad", "c", "z"):
        (tmp_path / name).write_bytes(BAD if name == "z" else b"x")
    faults.fail("stat", number, name=b"bad")
    with Scanner(known, os_table=faults.capsule, jobs=jobs) as scanner:
        found = scan(scanner, tmp_path)
    assert found.reason(tmp_path / "bad") == f"stat: {errno.errorcode[number]} {os.strerror(number)}"
    assert found.paths("match") == [bytes(tmp_path / "z")]
    assert (found.summary.no_match, found.summary.errors, found.summary.incomplete) == (2, 1, 1)


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize(("operation", "told"), [("open", "open"), ("pread", "read")])
def test_a_file_that_cannot_be_opened_or_read_is_an_error_and_never_not_listed(
    known, faults, tmp_path, operation, told, jobs
):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "bad").write_bytes(BAD)
    faults.fail(operation, errno.EIO, name=b"bad")
    with Scanner(known, os_table=faults.capsule, jobs=jobs) as scanner:
        found = scan(scanner, tmp_path)
    assert found.reason(tmp_path / "bad") == f"{told}: EIO Input/output error"
    assert found.summary.incomplete == 1


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_read_error_in_the_middle_of_a_file_is_not_the_end_of_it(known, faults, tmp_path, jobs):
    (tmp_path / "x").write_bytes(BAD.ljust(1 << 20, b"."))
    faults.fail("pread", errno.EIO, name=b"x", first=3)
    with Scanner(known, os_table=faults.capsule, jobs=jobs) as scanner:
        assert scan(scanner, tmp_path).paths("error") == [bytes(tmp_path / "x")]


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_exception_that_nobody_foresaw_is_the_outcome_of_one_file(known, monkeypatch, tmp_path, jobs):
    for name in ("a", "bad", "z"):
        (tmp_path / name).write_bytes(name.encode() if name == "a" else BAD)
    looked_up, calls = scanner_module.look_up, []

    def look_up(sets, digests):
        calls.append(digests)
        if len(calls) == 1:
            raise ValueError("the lookup broke")
        return looked_up(sets, digests)

    monkeypatch.setattr(scanner_module, "look_up", look_up)
    with Scanner(known, jobs=jobs) as scanner:
        found = scan(scanner, tmp_path)
    assert [each.reason for each in found.outcomes if each.kind == "error"] == ["read: ValueError the lookup broke"]
    assert found.summary.matched == 1
    assert found.summary.incomplete == 1


def test_a_locked_file_makes_the_scan_incomplete_and_counts_equal_the_list(cli, make_set, tmp_path):
    for name in ("a", "locked", "z"):
        (tmp_path / name).write_bytes(BAD)
    (tmp_path / "a").write_bytes(b"other")
    (tmp_path / "locked").chmod(0)
    (tmp_path / "z").unlink()
    done = cli("scan", "--json", "-s", make_set(BAD), tmp_path, unprivileged=True)
    assert done.code == 3, done
    assert [line["path"] for line in done.events("error")] == [str(tmp_path / "locked")]
    assert (done.summary["seen"], done.summary["no_match"], done.summary["errors"]) == (2, 1, 1)


def test_a_directory_that_cannot_be_listed_makes_the_scan_incomplete(cli, make_set, tmp_path):
    (tmp_path / "locked").mkdir(0)
    done = cli("scan", "--json", "-s", make_set(BAD), tmp_path, unprivileged=True)
    (tmp_path / "locked").chmod(0o700)
    assert done.code == 3, done
    assert done.events("error")[0]["reason"] == "open: EACCES Permission denied"


# ---------------------------------------------------------------- names that come and go


def test_a_name_that_vanishes_before_it_is_examined_is_gone(known, faults, tmp_path):
    for name in ("a", "vanishing", "z"):
        (tmp_path / name).write_bytes(BAD)
    faults.before_stat = lambda name: name == b"vanishing" and (tmp_path / "vanishing").unlink(missing_ok=True)
    with Scanner(known, os_table=faults.capsule) as scanner:
        found = scan(scanner, tmp_path)
    assert found.paths("gone") == [bytes(tmp_path / "vanishing")]
    assert (found.summary.matched, found.summary.incomplete) == (2, 0)


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_name_that_vanishes_before_it_is_opened_is_gone(known, faults, tmp_path, jobs):
    (tmp_path / "vanishing").write_bytes(BAD)
    faults.before_open = lambda name: name == b"vanishing" and (tmp_path / "vanishing").unlink(missing_ok=True)
    with Scanner(known, os_table=faults.capsule, jobs=jobs) as scanner:
        found = scan(scanner, tmp_path)
    assert found.paths("gone") == [bytes(tmp_path / "vanishing")]


def test_a_thousand_short_lived_names_do_not_make_a_scan_incomplete(cli, make_set, tmp_path):
    for i in range(300):
        (tmp_path / f"stays-{i}").write_bytes(b"x")
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            for i in range(1000):
                path = tmp_path / f"{i % 7}-{i}.tmp"
                path.touch()
                path.unlink()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for jobs in ("1", "4"):
            done = cli("scan", "--json", "--jobs", jobs, "-s", make_set(BAD), tmp_path)
            assert done.code == 0, done
            assert done.summary["no_match"] >= 300
            assert done.summary["errors"] == done.summary["incomplete"] == 0
    finally:
        stop.set()
        thread.join()


def test_a_file_replaced_by_a_link_between_listing_and_opening_is_not_followed(known, faults, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(BAD)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "x").write_bytes(b"harmless")

    def swap(name):
        if name == b"x":
            (tree / "x").unlink()
            (tree / "x").symlink_to(outside)

    faults.before_open = swap
    with Scanner(known, os_table=faults.capsule) as scanner:
        found = scan(scanner, tree)
    assert found.summary.specials == {"symlink": 1}
    assert found.summary.seen == found.summary.bytes_read == 0


def test_a_path_that_is_swapped_for_a_link_all_the_time_never_lets_outside_content_in(known, tmp_path):
    (tmp_path / "outside").write_bytes(BAD)
    (tmp_path / "harmless").write_bytes(b"harmless")
    tree = tmp_path / "tree"
    tree.mkdir()
    target = tree / "x"
    target.write_bytes(b"harmless")
    stop = threading.Event()

    def swap():
        for i in range(10**9):
            if stop.is_set():
                return
            name = tmp_path / f"next-{i}"
            if i % 2:
                os.link(tmp_path / "harmless", name)
            else:
                name.symlink_to(tmp_path / "outside")
            os.replace(name, target)

    thread = threading.Thread(target=swap)
    thread.start()
    kinds = set()
    try:
        with Scanner(known) as scanner:
            for _ in range(1500):
                kinds |= {outcome.kind.value for outcome in scanner.scan(tree, every=True) if hasattr(outcome, "kind")}
                kinds.add(scanner.examine(target).kind.value)
    finally:
        stop.set()
        thread.join()
    assert "no_match" in kinds
    assert kinds <= {"no_match", "not_examined", "gone", "changed"}


# ---------------------------------------------------------------- deep, wide, few descriptors


def make_chain(root, name, depth):
    """Directories inside one another with a listed file in the last; no path is ever formed."""
    at = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    file = os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=at)
    os.write(file, BAD)
    os.close(file)
    os.close(at)


@pytest.mark.parametrize(("name", "depth"), [("d", 3000), ("n" * 255, 60)])
def test_a_listed_file_at_the_bottom_of_a_deep_tree_is_found(cli, make_set, tmp_path, name, depth):
    make_chain(tmp_path, name, depth)
    try:
        done = cli("scan", "--json", "-s", make_set(BAD), tmp_path)
        assert done.code == 1, done
        assert [line["path"] for line in done.events("match")] == [f"{tmp_path}/{'/'.join([name] * depth)}/bottom"]
        assert done.summary["seen"] == 1
    finally:
        subprocess.run(["rm", "-rf", tmp_path], check=True)  # pytest would recurse


FEW_DESCRIPTORS = """
import json, os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
from hashsieve import HashSet, Scanner, Summary
events = []
with HashSet.open(sys.argv[1]) as known:
    before = len(os.listdir("/proc/self/fd"))
    with Scanner(known, jobs=int(sys.argv[3]), on_event=events.append) as scanner:
        *outcomes, summary = scanner.scan(sys.argv[2])
    after = len(os.listdir("/proc/self/fd"))
print(json.dumps([summary.seen, summary.no_match, summary.matched, before == after, [o.reason for o in outcomes][:3]]))
"""


@pytest.mark.parametrize("jobs", [1, 4])
def test_forty_descriptors_are_enough_for_a_deep_and_wide_tree(cli, make_set, tmp_path, jobs):
    make_chain(tmp_path, "d", 200)
    for i in range(5000):
        (tmp_path / f"{i}").write_bytes(b"x")
    done = cli.python(FEW_DESCRIPTORS, make_set(BAD), tmp_path, str(jobs))
    assert json.loads(done.out or b"0") == [5001, 5000, 1, True, [None]], done


SCARCE_DESCRIPTORS = """
import json, os, resource, sys, threading
from hashsieve import HashSet, Scanner
known = HashSet.open(sys.argv[1])
scanner = Scanner(known, jobs=int(sys.argv[3]), on_event=lambda event: kinds.append(event.kind))
kinds = []
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
hoard = []
try:
    while True:
        hoard.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
named = scanner.examine(sys.argv[2] + "/0").reason
def release():
    for fd in hoard:
        os.close(fd)
timer = threading.Timer(0.5, release)
timer.start()
*_, summary = scanner.scan(sys.argv[2])
timer.join()
print(json.dumps([named, summary.seen, summary.no_match, kinds]))
"""


@pytest.mark.parametrize("jobs", [1, 4])
def test_without_a_free_descriptor_a_scan_waits_and_drops_nothing(cli, make_set, tmp_path, jobs):
    for i in range(50):
        (tmp_path / f"{i}").write_bytes(b"x")
    done = cli.python(SCARCE_DESCRIPTORS, make_set(BAD), tmp_path, str(jobs))
    expected = ["open: EMFILE Too many open files", 50, 50, ["descriptors-scarce"]]
    assert json.loads(done.out or b"0") == expected, done


# ---------------------------------------------------------------- links and specials


def test_links_that_lead_in_circles_or_out_of_the_tree_are_counted_and_not_followed(scanner, tmp_path):
    a = tmp_path / "tree/a"
    a.mkdir(parents=True)
    (a / "file").write_bytes(b"x")
    (tmp_path / "outside").write_bytes(BAD)
    for name, target in {
        "b": "..", "self": ".", "root": "/", "x": "y", "y": "x", "nowhere": "none", "out": "../../outside",
    }.items():  # fmt: skip
        (a / name).symlink_to(target)
    found = scan(scanner, tmp_path / "tree")
    assert found.summary.specials == {"symlink": 7}
    assert (found.summary.seen, found.summary.bytes_read, found.summary.incomplete) == (1, 1, 0)


def test_a_link_to_a_pipe_is_counted_as_a_link_and_costs_no_wait(cli, make_set, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    os.mkfifo(tmp_path / "outside")
    os.mkfifo(tree / "inside")
    (tree / "to-inside").symlink_to("inside")
    (tree / "to-outside").symlink_to(tmp_path / "outside")
    done = cli("scan", "--json", "-s", make_set(BAD), tree, timeout=30)
    assert done.code == 0
    assert done.summary["specials"] == {"symlink": 2, "fifo": 1}


def test_specials_are_counted_by_type_and_what_comes_after_them_is_found(known, faults, tmp_path):
    os.mkfifo(tmp_path / "a")
    listener = socket.socket(socket.AF_UNIX)
    try:
        previous = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket must be short
        try:
            listener.bind("b")
        finally:
            os.chdir(previous)
        expected = {"fifo": 1, "socket": 1}
        with contextlib.suppress(PermissionError):
            os.mknod(tmp_path / "c", 0o20600, os.makedev(1, 3))
            expected["char"] = 1
        (tmp_path / "z").write_bytes(BAD)
        with counting_scanner(known, faults) as scanner:
            found = scan(scanner, tmp_path)
    finally:
        listener.close()
    assert found.summary.specials == expected
    assert found.paths("match") == [bytes(tmp_path / "z")]
    assert not {b"a", b"b", b"c"} & {*faults.opened}


def test_a_pipe_keeps_its_bytes_and_a_waiting_writer_keeps_waiting(scanner, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    fd = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(fd, b"x" * 24)
        found = scan(scanner, tmp_path, pipe)
        outcome = scanner.examine(pipe)
        given = scanner.examine_fd(fd)
        assert os.read(fd, 100) == b"x" * 24
    finally:
        os.close(fd)
    assert found.summary.special == 2
    assert (outcome.kind, outcome.reason) == (given.kind, given.reason) == ("not_examined", "special:fifo")


def test_a_writer_that_waits_at_a_pipe_is_not_let_go_by_an_examination(scanner, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = subprocess.Popen([sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write('x')", pipe])
    try:
        for _ in range(50):
            assert scanner.examine(pipe).reason == "special:fifo"
            assert scan(scanner, tmp_path).summary.special == 1
            with contextlib.suppress(subprocess.TimeoutExpired):
                writer.wait(0.01)
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()


def test_a_file_that_became_a_pipe_is_not_read(known, faults, tmp_path):
    (tmp_path / "x").write_bytes(BAD)

    def swap(name):
        if name == b"x" and (tmp_path / "x").is_file():
            (tmp_path / "x").unlink()
            os.mkfifo(tmp_path / "x")

    faults.before_open = swap
    with Scanner(known, os_table=faults.capsule) as scanner:
        found = scan(scanner, tmp_path)
    assert found.summary.specials == {"fifo": 1}
    assert faults.calls["pread"] == 0


def test_every_file_type_has_a_name():
    names = {4: "directory", 10: "symlink", 1: "fifo", 12: "socket", 2: "char", 6: "block", 15: "other"}
    assert {kind: _special_name(kind << 12) for kind in names} == names


# ---------------------------------------------------------------- hard links


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_thousand_hard_links_are_read_once_and_every_name_is_told(known, tmp_path, jobs):
    original = tmp_path / "original"
    original.write_bytes(BAD)
    for i in range(10):
        (tmp_path / f"{i}").mkdir()
        for j in range(100):
            os.link(original, tmp_path / f"{i}/{j}")
    with Scanner(known, jobs=jobs) as scanner:
        found = scan(scanner, tmp_path)
    assert found.summary.matched == 1001
    assert found.summary.bytes_read == len(BAD)
    identities = {outcome.match.identity for outcome in found.outcomes}
    assert len(identities) == 1
    assert len({outcome.match.path for outcome in found.outcomes}) == 1001


def test_a_hard_link_to_content_that_changed_meanwhile_is_read_again(known, faults, tmp_path):
    (tmp_path / "a").write_bytes(b"harmless")
    os.link(tmp_path / "a", tmp_path / "b")
    seen = []

    def change(name):
        seen.append(name)
        if len(seen) == 2:
            (tmp_path / "a").write_bytes(BAD)

    faults.before_stat = lambda name: name in (b"a", b"b") and change(name)
    with Scanner(known, os_table=faults.capsule) as scanner:
        found = scan(scanner, tmp_path)
    assert found.summary.matched >= 1


# ---------------------------------------------------------------- names

NAMES = {
    "latin-1": b"V\xedctor",
    "no text at all": b"\xff\xfe",
    "surrogate": b"\xed\xa0\x80",
    "newline": b"two\nlines",
    "tab": b"a\tb",
    "escape": b"\x1b[2J",
    "carriage return": b"good\rbad",
    "right to left": "‮gpj".encode(),
    "cjk": ("漢" * 65).encode() + ("字" * 20).encode(),
    "longest": b"n" * 255,
    "emoji": "🙂é".encode(),
    "half a path": b"0\xbf0",
}


def test_a_name_of_any_bytes_is_found_and_told_exactly(cli, make_set, tmp_path):
    import base64

    for name in NAMES.values():
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(BAD)
    done = cli("scan", "--json", "-s", make_set(BAD), tmp_path)
    assert done.code == 1
    told = set()
    for line in done.events("match"):
        if "path_b64" in line:
            raw = base64.b64decode(line["path_b64"])
            with pytest.raises(UnicodeDecodeError):
                raw.decode()
        else:
            raw = line["path"].encode()
        told.add(raw.removeprefix(bytes(tmp_path) + b"/"))
    assert told == set(NAMES.values())
    assert done.out.isascii()


def test_a_name_of_any_bytes_is_shown_on_one_line_without_control_characters(cli, make_set, tmp_path):
    for name in NAMES.values():
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(BAD)
    done = cli("scan", "-s", make_set(BAD), tmp_path, env={"PYTHONIOENCODING": "utf-8"})
    lines = [line for line in done.text.split("\n") if line.startswith("MATCH")]
    assert len(lines) == len(NAMES)
    assert all(character.isprintable() for line in lines for character in line)


def test_a_cjk_name_of_130_characters_is_examined_below_long_paths(scanner, tmp_path):
    # 255 bytes is what Linux gives a name; 130 characters of three bytes need two levels.
    at = tmp_path / ("漢" * 85) / ("字" * 45)
    at.mkdir(parents=True)
    (at / "x").write_bytes(BAD)
    assert scan(scanner, tmp_path).paths("match") == [bytes(at / "x")]


# ---------------------------------------------------------------- files that are not here


def test_content_that_is_only_in_the_cloud_is_never_opened(known, faults, tmp_path):
    for name in ("here", "cloud"):
        (tmp_path / name).write_bytes(BAD)
    for name in (b"cloud", bytes(tmp_path / "cloud")):
        faults.dress(name=name, size_bytes=5_000_000_000, win_attributes=0x400000, bsd_flags=0x40000000)
    with counting_scanner(known, faults) as scanner:
        found = scan(scanner, tmp_path, tmp_path / "cloud")
        alone = scanner.examine(tmp_path / "cloud")
    assert found.paths("match") == [bytes(tmp_path / "here")]
    assert found.summary.not_examined_reasons == {"cloud-only": 2}
    assert found.summary.incomplete == 2
    assert found.of(tmp_path / "cloud").size_bytes == 5_000_000_000
    assert (alone.kind, alone.reason) == ("not_examined", "cloud-only")
    assert not {b"cloud", bytes(tmp_path / "cloud")} & {*faults.opened}


def test_a_file_that_is_in_the_cloud_no_more_is_examined(known, faults, tmp_path):
    (tmp_path / "x").write_bytes(BAD)
    faults.dress(name=b"x", win_attributes=0x400000, bsd_flags=0x40000000)
    with Scanner(known, os_table=faults.capsule) as scanner:
        scan(scanner, tmp_path)
        faults.clear()
        assert scan(scanner, tmp_path).summary.matched == 1


@pytest.mark.parametrize("bit", range(32))
def test_which_attributes_mean_that_content_is_elsewhere(bit):
    recall = {12, 18, 22}  # FILE_ATTRIBUTE_OFFLINE, _RECALL_ON_OPEN, _RECALL_ON_DATA_ACCESS
    assert _scan.cloud_only("windows", 1 << bit, 0) is (bit in recall)
    assert _scan.cloud_only("macos", 0, 1 << bit) is (bit == 30)  # SF_DATALESS
    assert _scan.cloud_only("windows", 0, 1 << bit) is False
    assert _scan.cloud_only("macos", 1 << bit, 0) is False
    assert _scan.cloud_only("linux", 1 << bit, 1 << bit) is False
