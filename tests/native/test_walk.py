"""The directory walk: every name told once, whatever the tree, the limits and the system do."""

import errno
import os
import pickle
import resource
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashsieve import _scan
from hashsieve.errors import ForkError, ScanError, UsageError

faults_module = pytest.importorskip("hashsieve_faults", reason="built without HASHSIEVE_TEST_MODULES=1")
Faults = faults_module.Faults

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the walk needs Linux")

EVENTS = {
    _scan.FILE: "file",
    _scan.SPECIAL: "special",
    _scan.ERROR: "error",
    _scan.GONE: "gone",
    _scan.SKIPPED: "skipped",
}


def told(walker, *, max_count=1024):
    """Everything a walk tells, as (event, path, detail); errors as (event, path, detail, errno)."""
    result = []
    while batch := walker.next_batch(max_count):
        assert len(batch) <= max_count
        assert len({item.directory.path for item in batch}) == 1
        for item in batch:
            row = (EVENTS[item.event], item.path, item.detail)
            result.append((*row, item.errno) if item.event == _scan.ERROR else row)
    assert walker.done
    assert walker.next_batch() == []
    return result


def walk(root, **options):
    with _scan.Walker(root, **options) as walker:
        return told(walker)


def names(rows, event="file"):
    return sorted(row[1] for row in rows if row[0] == event)


def by_os_walk(root):
    """(files, directories, links and other specials) below root, by the standard library."""
    files, directories, specials = [], [], []
    root = os.fsencode(root)
    for path, subdirectories, entries in os.walk(root):
        directories.append(path)
        for name in subdirectories + entries:
            mode = os.lstat(os.path.join(path, name)).st_mode
            if not stat.S_ISDIR(mode):
                (files if stat.S_ISREG(mode) else specials).append(os.path.join(path, name))
    return sorted(files), sorted(directories), sorted(specials)


def open_fd_count():
    return len(os.listdir("/proc/self/fd"))


def in_child(function, *arguments):
    """The result of a function in a forked child, which may give up rights and limits for good."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            try:
                answer = (True, function(*arguments))
            except BaseException as error:
                answer = (False, repr(error))
            with os.fdopen(writer, "wb") as stream:
                pickle.dump(answer, stream)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    assert data, "the child died"
    succeeded, answer = pickle.loads(data)
    assert succeeded, answer
    return answer


def make_chain(root, name, depth):
    """depth directories inside one another, with the file ``bottom`` in the last; no path is ever formed."""
    at = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)


def remove_chain(root, name):
    at = os.open(root, os.O_RDONLY)
    depth = 0
    while True:
        try:
            below = os.open(name, os.O_RDONLY, dir_fd=at)
        except FileNotFoundError:
            break
        os.close(at)
        at = below
        depth += 1
    os.unlink("bottom", dir_fd=at)
    for _ in range(depth):
        above = os.open("..", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = above
        os.rmdir(name, dir_fd=at)
    os.close(at)


# ---------------------------------------------------------------- the tree as it is

entry_names = st.binary(min_size=1, max_size=12).filter(
    lambda b: b"/" not in b and b"\0" not in b and b not in (b".", b"..")
)
trees = st.recursive(
    st.dictionaries(entry_names, st.sampled_from(["file", "link"]), max_size=6),
    lambda below: st.dictionaries(entry_names, st.one_of(st.sampled_from(["file", "link"]), below), max_size=6),
    max_leaves=25,
)


def build(root, tree):
    for name, content in tree.items():
        path = os.path.join(root, name)
        if content == "file":
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        elif content == "link":
            os.symlink(b"..", path)
        else:
            os.mkdir(path)
            build(path, content)


@settings(max_examples=150, deadline=None)
@given(
    tree=trees,
    max_open_dirs=st.integers(3, 6),
    max_count=st.sampled_from([1, 2, 3, 7, 1024]),
    unknown=st.booleans(),
    listing_bytes=st.sampled_from([0, 280, 600]),
)
def test_a_walk_tells_what_os_walk_finds(tree, max_open_dirs, max_count, unknown, listing_bytes):
    with tempfile.TemporaryDirectory() as root:
        build(os.fsencode(root), tree)
        faults = Faults()
        faults.types_unknown, faults.listing_bytes = unknown, listing_bytes
        with _scan.Walker(root, max_open_dirs=max_open_dirs, os=faults.capsule) as walker:
            rows = told(walker, max_count=max_count)
            files, directories, specials = by_os_walk(root)
            assert names(rows) == files
            assert names(rows, "special") == specials
            assert len(rows) == len(files) + len(specials)
            assert walker.entered_count == len(directories)
        assert faults.open_most_count <= max_open_dirs
        assert faults.open_count == 0


def test_files_of_a_directory_come_before_those_of_its_subdirectories(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    for path in ("1", "a/2", "a/b/3"):
        (tmp_path / path).touch()
    assert [row[1] for row in walk(tmp_path)] == [bytes(tmp_path / p) for p in ("1", "a/2", "a/b/3")]


def test_names_that_are_not_text_are_told_byte_for_byte(tmp_path):
    odd = [b"V\xedctor", b"\xff\xfe", b"new\nline", b"tab\t", b"esc\x1b[31m", b"-rf", b"...", b" ", b"\xe2\x80\xae"]
    for name in odd:
        directory = os.path.join(bytes(tmp_path), name)
        os.mkdir(directory)
        os.close(os.open(os.path.join(directory, name), os.O_CREAT))
    assert names(walk(tmp_path)) == sorted(os.path.join(bytes(tmp_path), name, name) for name in odd)


def test_a_root_is_named_without_its_last_slash(tmp_path):
    (tmp_path / "f").touch()
    assert names(walk(bytes(tmp_path) + b"///")) == [bytes(tmp_path / "f")]


def test_the_root_directory_is_joined_with_one_slash():
    with _scan.Walker("/", skip=[(b"/" + n, "no") for n in os.listdir(b"/")]) as walker:
        rows = told(walker)
    assert all(row[1].startswith(b"/") and not row[1].startswith(b"//") for row in rows)
    assert walker.root == b"/"


def test_a_thousand_hard_links_are_a_thousand_names_of_one_inode(tmp_path):
    first = tmp_path / "first"
    first.touch()
    for i in range(1, 1000):
        (tmp_path / str(i % 7)).mkdir(exist_ok=True)
        os.link(first, tmp_path / str(i % 7) / str(i))
    inodes = []
    with _scan.Walker(tmp_path) as walker:
        while batch := walker.next_batch():
            inodes += [item.ino for item in batch if item.event == _scan.FILE]
    assert inodes == [first.stat().st_ino] * 1000


def test_a_hundred_thousand_siblings_take_no_more_memory_than_a_batch(tmp_path):
    at = os.open(tmp_path, os.O_RDONLY)
    for i in range(100_000):
        os.close(os.open(f"sibling-{i:06}", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)

    def growth():
        page = os.sysconf("SC_PAGESIZE")

        def resident():
            return int(Path("/proc/self/statm").read_text().split()[1]) * page

        count, most = 0, 0
        with _scan.Walker(tmp_path) as walker:
            count += len(walker.next_batch())
            start = resident()
            while batch := walker.next_batch():
                count += len(batch)
                most = max(most, resident() - start)
        return count, most

    count, most = in_child(growth)
    assert count == 100_000
    assert most < 4 << 20


# ---------------------------------------------------------------- depth and handles


@pytest.mark.parametrize(("name", "depth"), [("d", 3000), ("n" * 255, 60)])
@pytest.mark.parametrize("max_open_dirs", [3, 16])
def test_the_bottom_of_a_deep_tree_is_found(tmp_path, name, depth, max_open_dirs):
    make_chain(tmp_path, name, depth)
    try:
        start = open_fd_count()
        with _scan.Walker(tmp_path, max_open_dirs=max_open_dirs) as walker:
            rows = told(walker)
            assert walker.entered_count == depth + 1
            assert open_fd_count() == start
        assert rows == [("file", bytes(tmp_path) + b"/" + (name.encode() + b"/") * depth + b"bottom", None)]
        assert len(rows[0][1]) > 4096
    finally:
        remove_chain(tmp_path, name)


def test_a_file_at_the_bottom_of_a_deep_tree_can_be_opened(tmp_path):
    make_chain(tmp_path, "d", 3000)
    try:
        with _scan.Walker(tmp_path) as walker:
            (item,) = walker.next_batch()
            with item.directory.open_file(item.name) as opened:
                assert opened.stat().is_regular()
                assert opened.path == item.path
    finally:
        remove_chain(tmp_path, "d")


def test_a_comb_is_walked_with_three_handles(tmp_path):
    at, expected = tmp_path, []
    for level in range(60):
        for name in ("m", "n", "o"):
            (at / name).mkdir()
            (at / name / "f").touch()
            expected.append(bytes(at / name / "f"))
        at = at / ("m", "n", "o")[level % 3]
    faults = Faults()
    rows = walk(tmp_path, max_open_dirs=3, os=faults.capsule)
    assert names(rows) == sorted(expected)
    assert len(rows) == len(expected)
    assert faults.open_most_count == 3


def test_forty_descriptors_are_enough_for_200_levels_and_5000_siblings(tmp_path):
    make_chain(tmp_path, "d", 200)
    for i in range(5000):
        (tmp_path / f"s{i}").mkdir()
        if i % 10 == 0:
            (tmp_path / f"s{i}/f").touch()

    def limited():
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        start = open_fd_count()
        with _scan.Walker(tmp_path) as walker:
            rows = told(walker)
            entered = walker.entered_count
        return len(rows), entered, Counter(row[0] for row in rows), open_fd_count() - start

    count, entered, events, leaked = in_child(limited)
    assert (count, entered, leaked) == (501, 5201, 0)
    assert events == {"file": 501}


def test_running_out_of_descriptors_gives_spare_handles_back_first(tmp_path):
    make_chain(tmp_path, "d", 40)
    faults = Faults()
    faults.fail("open", errno.EMFILE, name=b"d", nth=30)
    faults.fail("open", errno.ENFILE, name=b"d", nth=32)
    with _scan.Walker(tmp_path, os=faults.capsule) as walker:
        assert [row[0] for row in told(walker)] == ["file"]
        assert walker.entered_count == 41


def test_running_out_of_descriptors_for_good_is_told_and_loses_nothing(tmp_path):
    make_chain(tmp_path, "d", 40)
    for i in range(5):
        (tmp_path / "d" / f"x{i}").mkdir()
        (tmp_path / "d" / f"x{i}/f").touch()
    expected = by_os_walk(tmp_path)[0]
    for nth in range(1, 140, 3):
        faults = Faults()
        faults.fail("open", errno.EMFILE, first=nth, times=17)
        files, refused = [], []
        with _scan.Walker(tmp_path, max_open_dirs=4, os=faults.capsule) as walker:
            while not walker.done:
                try:
                    files += [item.path for item in walker.next_batch()]
                except OSError as error:
                    refused.append(error.errno)
        assert sorted(files) == expected
        assert set(refused) <= {errno.EMFILE}
        assert refused or faults.calls["open"] < nth + 17
        assert faults.open_most_count <= 4
        assert faults.open_count == 0


def test_a_process_without_free_descriptors_is_told_so_and_can_go_on(tmp_path):
    make_chain(tmp_path, "d", 10)

    def starved():
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))
        walker = _scan.Walker(tmp_path)
        taken = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            pass
        with pytest.raises(OSError) as caught:
            walker.next_batch()
        assert caught.value.errno == errno.EMFILE
        for fd in taken[:2]:
            os.close(fd)
        with pytest.raises(OSError) as caught:
            walker.next_batch()
        assert caught.value.errno == errno.EMFILE
        for fd in taken[2:4]:
            os.close(fd)
        return len(told(walker))

    assert in_child(starved) == 1


# ---------------------------------------------------------------- links, specials, cycles


def test_links_are_told_and_never_followed(tmp_path):
    (tmp_path / "a").mkdir()
    links = {"a/b": "..", "a/self": ".", "a/root": "/", "x": "y", "y": "x", "dangling": "nowhere"}
    for link, target in links.items():
        (tmp_path / link).symlink_to(target)
    rows = walk(tmp_path)
    assert sorted(rows) == sorted(("special", bytes(tmp_path / link), "symlink") for link in links)


@pytest.mark.parametrize("unknown", [False, True])
def test_specials_are_told_by_type_and_never_opened(tmp_path, unknown):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    (tmp_path / "file").touch()
    expected = {b"fifo": "fifo", b"link": "symlink", b"sock": "socket"}
    with socket.socket(socket.AF_UNIX) as bound:
        at = os.getcwd()
        os.chdir(tmp_path)
        try:
            bound.bind("sock")
        finally:
            os.chdir(at)
        if os.geteuid() == 0:
            try:
                os.mknod(tmp_path / "char", stat.S_IFCHR | 0o600, os.makedev(1, 3))
                os.mknod(tmp_path / "block", stat.S_IFBLK | 0o600, os.makedev(7, 99))
                expected |= {b"char": "char", b"block": "block"}
            except PermissionError:
                pass
        faults = Faults()
        faults.types_unknown, faults.record_opens = unknown, True
        rows = walk(tmp_path, os=faults.capsule)
    assert {os.path.basename(row[1]): row[2] for row in rows if row[0] == "special"} == expected
    assert names(rows) == [bytes(tmp_path / "file")]
    assert faults.opened == [bytes(tmp_path)]


def test_overlapping_roots_that_share_what_was_visited_enter_each_directory_once(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    for path in ("1", "a/2", "a/b/3"):
        (tmp_path / path).touch()
    visited = _scan.Visited()
    inner = walk(tmp_path / "a", visited=visited)
    outer = walk(tmp_path, visited=visited)
    again = walk(tmp_path / "a/b", visited=visited)
    assert names(inner) == [bytes(tmp_path / "a/2"), bytes(tmp_path / "a/b/3")]
    assert outer == [("file", bytes(tmp_path / "1"), None), ("skipped", bytes(tmp_path / "a"), "already-visited")]
    assert again == [("skipped", bytes(tmp_path / "a/b"), "already-visited")]
    assert len(visited) == 3


def test_what_was_visited_is_remembered_up_to_its_limit(tmp_path):
    for i in range(30):
        (tmp_path / str(i)).mkdir()
    visited = _scan.Visited(limit_count=10)
    walk(tmp_path, visited=visited)
    assert len(visited) == 10
    assert visited.unrecorded_count == 21


def test_visited_holds_a_hundred_thousand_identities():
    visited = _scan.Visited()
    assert all(visited.add(7, i) for i in range(100_000))
    assert not any(visited.add(7, i) for i in range(100_000))
    assert visited.add(8, 5)
    assert len(visited) == 100_001


def test_walks_in_many_threads_share_what_was_visited(tmp_path):
    for i in range(300):
        (tmp_path / str(i)).mkdir()
        (tmp_path / f"{i}/f").touch()
    visited = _scan.Visited()
    roots = [tmp_path / str(i) for i in range(300)]
    found = []

    def work():
        for root in roots:
            found.extend(names(walk(root, visited=visited)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(bytes(root / "f") for root in roots)


IN_NAMESPACE = """
import sys
from hashsieve import _scan
with _scan.Walker(sys.argv[1]) as walker:
    while batch := walker.next_batch():
        for item in batch:
            print(item.event, item.path.decode(), item.detail)
"""


def in_mount_namespace(root, commands):
    """Lines told by a walk of root in a namespace of its own, after mount commands."""
    shell = f'{commands} && exec "$0" -c "$1" "$2"'
    result = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", shell, sys.executable, IN_NAMESPACE, root],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode and ("unshare" in result.stderr or "mount" in result.stderr):
        pytest.skip(f"no mounts in a user namespace here: {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr
    return sorted(result.stdout.splitlines())


def test_a_bind_mount_inside_the_root_is_entered_once(tmp_path):
    (tmp_path / "a/sub").mkdir(parents=True)
    (tmp_path / "z").mkdir()
    (tmp_path / "a/sub/f").touch()
    lines = in_mount_namespace(tmp_path, "mount --bind a z")
    assert len([line for line in lines if line.startswith("0 ")]) == 1
    assert len([line for line in lines if line.endswith("already-visited")]) == 1


def test_a_mounted_filesystem_inside_the_root_is_crossed(tmp_path):
    (tmp_path / "m").mkdir()
    lines = in_mount_namespace(tmp_path, "mount -t tmpfs none m && touch m/f")
    assert lines == [f"0 {tmp_path}/m/f None"]


# ---------------------------------------------------------------- mounts not to be entered


def test_excluded_directories_are_told_with_their_reason_and_not_touched(tmp_path):
    for path in ("net/deep", "local/proc/x", "nets"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "f").touch()
    faults = Faults()
    faults.record_opens = True
    stats = []
    faults.before_stat = stats.append
    skip = [
        (bytes(tmp_path / "net"), "by-rule:network"),
        (f"{tmp_path}/local/proc/", "by-rule:pseudo"),
        ("/other", "x"),
    ]
    rows = walk(tmp_path, skip=skip, os=faults.capsule)
    assert names(rows) == [bytes(tmp_path / "nets/f")]
    assert sorted(row for row in rows if row[0] == "skipped") == [
        ("skipped", bytes(tmp_path / "local/proc"), "by-rule:pseudo"),
        ("skipped", bytes(tmp_path / "net"), "by-rule:network"),
    ]
    assert not {b"net", b"proc"} & ({*faults.opened} | {*stats})


def test_among_many_excluded_directories_the_right_reason_is_found(tmp_path):
    for i in range(200):
        (tmp_path / f"{i:03}").mkdir()
    skip = [(tmp_path / f"{i:03}", f"reason {i}") for i in range(0, 200, 2)]
    rows = walk(tmp_path, skip=skip)
    assert {row[1:] for row in rows} == {(bytes(tmp_path / f"{i:03}"), f"reason {i}") for i in range(0, 200, 2)}


def test_a_root_is_walked_even_if_it_is_excluded_elsewhere(tmp_path):
    (tmp_path / "f").touch()
    assert len(names(walk(tmp_path, skip=[(tmp_path, "no")]))) == 1


# ---------------------------------------------------------------- a system that fails


def test_a_root_that_is_missing_or_no_directory_is_an_error_not_silence(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    assert walk(tmp_path / "none") == [("error", bytes(tmp_path / "none"), "open", errno.ENOENT)]
    assert walk(tmp_path / "file") == [("error", bytes(tmp_path / "file"), "open", errno.ENOTDIR)]
    assert walk(tmp_path / "link") == [("error", bytes(tmp_path / "link"), "open", errno.ENOTDIR)]
    assert walk(b"/" + b"x/" * 4000)[0][3] == errno.ENAMETOOLONG


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="gives up the rights of root")
def test_an_unreadable_directory_is_told_and_its_siblings_are_walked(tmp_path):
    for name in ("a", "locked", "z"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").touch()
    (tmp_path / "locked").chmod(0)
    for parent in [tmp_path, *tmp_path.parents][:-2]:
        parent.chmod(parent.stat().st_mode | 0o755)

    def unprivileged():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        return walk(tmp_path)

    rows = in_child(unprivileged)
    assert names(rows) == [bytes(tmp_path / "a/f"), bytes(tmp_path / "z/f")]
    assert [row for row in rows if row[0] != "file"] == [("error", bytes(tmp_path / "locked"), "open", errno.EACCES)]


def test_a_directory_that_cannot_be_examined_is_an_error_of_its_own(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").touch()
    faults = Faults()
    faults.fail("stat", errno.EIO, name=b"a")
    rows = walk(tmp_path, os=faults.capsule)
    assert sorted(rows) == [
        ("error", bytes(tmp_path / "a"), "stat", errno.EIO),
        ("file", bytes(tmp_path / "b/f"), None),
    ]
    assert faults.open_count == 0


def test_a_listing_that_breaks_off_keeps_what_it_had(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/inner").touch()
    for i in range(200):
        (tmp_path / f"file-{i:03}").touch()
    faults = Faults()
    faults.listing_bytes = 1024
    faults.fail("list", errno.EIO, name=bytes(tmp_path), nth=4)
    rows = walk(tmp_path, os=faults.capsule)
    assert ("error", bytes(tmp_path), "list", errno.EIO) in rows
    assert 30 < len(names(rows)) < 200
    assert len([row for row in rows if row[0] == "error"]) == 1


def test_a_listing_that_breaks_off_late_still_enters_the_subdirectories(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/inner").touch()
    faults = Faults()
    faults.fail("list", errno.EIO, name=bytes(tmp_path), nth=2)
    rows = walk(tmp_path, os=faults.capsule)
    assert rows == [("error", bytes(tmp_path), "list", errno.EIO), ("file", bytes(tmp_path / "d/inner"), None)]


@pytest.mark.parametrize("damage", ["no-length", "long", "no-end", "slash", "no-name", "cut"])
def test_a_damaged_listing_is_an_error_and_harmless(tmp_path, damage):
    for i in range(20):
        (tmp_path / f"file-{i:03}").touch()
    faults = Faults()
    faults.listing_damage = damage
    rows = walk(tmp_path, os=faults.capsule)
    assert rows[-1] == ("error", bytes(tmp_path), "list", errno.EIO)
    assert 17 <= len(names(rows)) <= 19


@pytest.mark.parametrize("count", [1, 2, 5])
def test_an_entry_of_unknown_type_that_cannot_be_examined_is_one_error(tmp_path, count):
    for i in range(count + 3):
        (tmp_path / f"f{i}").touch()
    faults = Faults()
    faults.types_unknown = True
    for i in range(count):
        faults.fail("stat", (errno.EIO, errno.EACCES)[i % 2], name=b"f%d" % i)
    rows = walk(tmp_path, os=faults.capsule)
    assert names(rows) == [bytes(tmp_path / f"f{i}") for i in range(count, count + 3)]
    assert {row[2] for row in rows if row[0] == "error"} == {"stat"}
    assert names(rows, "error") == [bytes(tmp_path / f"f{i}") for i in range(count)]


def test_a_storm_of_interruptions_changes_nothing(tmp_path):
    make_chain(tmp_path, "d", 50)
    for i in range(50):
        (tmp_path / f"x{i}").mkdir()
        (tmp_path / f"x{i}/f").touch()
    faults = Faults()
    faults.types_unknown = True
    for operation in ("open", "stat", "list"):
        faults.fail(operation, errno.EINTR, every=2)
    rows = walk(tmp_path, max_open_dirs=4, os=faults.capsule)
    assert len(rows) == 51
    assert names(rows) == by_os_walk(tmp_path)[0]


def test_a_system_that_cannot_list_by_handle_is_unsupported(tmp_path):
    for operation in ("open", "list"):
        faults = Faults()
        faults.fail(operation, errno.ENOSYS)
        with _scan.Walker(tmp_path, os=faults.capsule) as walker:
            for _ in range(2):
                with pytest.raises(ScanError, match="not supported"):
                    walker.next_batch()


def test_inode_and_device_numbers_may_be_any(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/f").touch()
    faults = Faults()
    faults.ino_xor, faults.dev_add = 0xFFFF_0000_0000_0000, 1 << 63
    with _scan.Walker(tmp_path, os=faults.capsule) as walker:
        (item,) = walker.next_batch()
        assert item.ino == (tmp_path / "a/f").stat().st_ino ^ faults.ino_xor
        assert item.directory.ino == (tmp_path / "a").stat().st_ino ^ faults.ino_xor


# ---------------------------------------------------------------- a tree that moves


def test_a_directory_that_vanishes_before_it_is_entered_is_gone(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "b/f").touch()
    faults = Faults()

    def remove(name):
        if name == b"a":
            (tmp_path / "a").rmdir()

    faults.before_open = remove
    rows = walk(tmp_path, os=faults.capsule)
    assert sorted(rows) == [("file", bytes(tmp_path / "b/f"), None), ("gone", bytes(tmp_path / "a"), None)]
    assert not faults.callback_errors


def test_a_directory_that_vanishes_while_it_is_listed_is_gone(tmp_path):
    (tmp_path / "a").mkdir()
    faults = Faults()

    def remove(name, fd):
        if name == b"a":
            (tmp_path / "a").rmdir()

    faults.after_open = remove
    assert walk(tmp_path, os=faults.capsule) == [("gone", bytes(tmp_path / "a"), None)]


def test_an_entry_that_vanishes_before_it_is_examined_is_gone(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    faults = Faults()
    faults.types_unknown = True

    def remove(name):
        if name == b"b":
            (tmp_path / "b").unlink()

    faults.before_stat = remove
    rows = walk(tmp_path, os=faults.capsule)
    assert names(rows, "gone") == [bytes(tmp_path / "b")]
    assert len(names(rows)) == 2


@pytest.mark.parametrize("becomes", ["file", "link", "fifo"])
def test_a_directory_that_becomes_something_else_is_told_as_that(tmp_path, becomes):
    (tmp_path / "a").mkdir()
    outside = tmp_path.parent / f"outside-{becomes}"
    outside.mkdir()
    (outside / "secret").touch()
    faults = Faults()

    def swap(name):
        if name == b"a" and (tmp_path / "a").is_dir() and not (tmp_path / "a").is_symlink():
            (tmp_path / "a").rmdir()
            if becomes == "file":
                (tmp_path / "a").touch()
            elif becomes == "link":
                (tmp_path / "a").symlink_to(outside)
            else:
                os.mkfifo(tmp_path / "a")

    faults.before_open = swap
    with _scan.Walker(tmp_path, os=faults.capsule) as walker:
        (item,) = walker.next_batch()
        assert (EVENTS[item.event], item.detail) == {
            "file": ("file", None),
            "link": ("special", "symlink"),
            "fifo": ("special", "fifo"),
        }[becomes]
        if becomes == "file":
            item.directory.open_file(item.name).close()
        assert walker.next_batch() == []


def spine(root):
    """Five directories inside one another, each with a sibling that is listed after it, and a file in all of them, so
    that every level is needed again on the way back. Returns the names from the top down, as (deeper, sibling)."""
    levels, at = [], root
    for level in range(5):
        for name in (f"p{level}", f"q{level}"):
            (at / name).mkdir()
            (at / name / "f").touch()
        deeper, sibling = (name for name in os.listdir(at) if name != "f")
        levels.append((deeper, sibling))
        at = at / deeper
    return levels


def walk_while_moving(root, deepest, move):
    """A walk with the fewest handles, in which move() is called while the deepest directory is listed."""
    faults = Faults()
    calls = []

    def hook(name, fd):
        if name == os.fsencode(deepest) and not calls:
            calls.append(name)
            move()

    faults.after_list = hook
    rows = walk(root, max_open_dirs=3, os=faults.capsule)
    assert calls
    assert not faults.callback_errors
    assert faults.open_count == 0
    return rows


def test_a_directory_moved_away_while_it_is_walked_does_not_lose_its_old_siblings(tmp_path):
    (a, _), (b, _), (c, _), _, (e, _) = spine(tmp_path)
    expected = by_os_walk(tmp_path)[0]
    rows = walk_while_moving(tmp_path, e, lambda: (tmp_path / a / b / c).rename(tmp_path / "elsewhere"))
    # Told under the paths they were met by; the way back to the parent of the moved one led down from the root.
    assert names(rows) == expected
    assert {row[0] for row in rows} <= {"file", "skipped"}


def test_the_way_up_is_tried_again_when_descriptors_are_free(tmp_path):
    # After the move only ".." leads back, so taking the way down for want of a descriptor would lose the siblings.
    (a, _), _, _, _, (e, _) = spine(tmp_path)
    expected = by_os_walk(tmp_path)[0]
    faults = Faults()
    faults.fail("open", errno.EMFILE, name=b"..", times=1)
    moved, files, refused = [], [], []

    def hook(name, fd):
        if name == os.fsencode(e) and not moved:
            moved.append((tmp_path / a).rename(tmp_path / "another"))

    faults.after_list = hook
    with _scan.Walker(tmp_path, max_open_dirs=3, os=faults.capsule) as walker:
        while not walker.done:
            try:
                files += [item.path for item in walker.next_batch()]
            except OSError as error:
                refused.append(error.errno)
    assert refused == [errno.EMFILE]
    assert sorted(files) == expected


def test_the_way_down_from_the_root_is_tried_again_when_descriptors_are_free(tmp_path):
    spine(tmp_path)
    expected = by_os_walk(tmp_path)[0]
    for first in range(1, 40):
        faults = Faults()
        faults.fail("open", errno.EMFILE, first=first, times=2)
        faults.fail("open", errno.EACCES, name=b"..")
        files = []
        with _scan.Walker(tmp_path, max_open_dirs=3, os=faults.capsule) as walker:
            while not walker.done:
                try:
                    batch = walker.next_batch()
                except OSError as error:
                    assert error.errno == errno.EMFILE  # noqa: PT017
                else:
                    assert {item.event for item in batch} <= {_scan.FILE}
                    files += [item.path for item in batch]
        assert sorted(files) == expected
        assert faults.open_most_count <= 3
        assert faults.open_count == 0


def test_what_can_not_be_found_again_is_an_error_for_each_name(tmp_path):
    (a, z1), (b, z2), (c, z3), _, (e, _) = spine(tmp_path)
    expected = by_os_walk(tmp_path)[0]

    def move():
        (tmp_path / a / b / c).rename(tmp_path / "elsewhere")
        (tmp_path / a).rename(tmp_path / "another")

    rows = walk_while_moving(tmp_path, e, move)
    # With c the way up from it is gone, and with a the way down to b. a itself is reached neither way.
    lost = [bytes(tmp_path / a / b / z3), bytes(tmp_path / a / z2)]
    assert sorted(row for row in rows if row[0] == "error") == sorted(
        ("error", path, "open", errno.ENOENT) for path in lost
    )
    assert names(rows) == [path for path in expected if os.path.dirname(path) not in lost]
    assert bytes(tmp_path / z1 / "f") in names(rows)


def test_another_directory_in_the_place_of_a_moved_one_is_not_taken_for_it(tmp_path):
    (a, _), (b, _), (c, z3), _, (e, _) = spine(tmp_path)

    def move():
        (tmp_path / a / b / c).rename(tmp_path / "elsewhere")
        (tmp_path / a / b).rename(tmp_path / "another")
        (tmp_path / a / b / z3).mkdir(parents=True)
        (tmp_path / a / b / z3 / "planted").touch()

    rows = walk_while_moving(tmp_path, e, move)
    assert ("error", bytes(tmp_path / a / b / z3), "open", errno.ESTALE) in rows
    assert not [row for row in rows if b"planted" in row[1]]


def test_files_made_and_removed_during_a_walk_do_not_disturb_it(tmp_path):
    for i in range(200):
        (tmp_path / str(i)).mkdir()
        (tmp_path / f"{i}/stays").touch()
    stop = threading.Event()

    def churn():
        n = 0
        while not stop.is_set():
            path = tmp_path / str(n % 200) / f"tmp{n}"
            path.touch()
            path.unlink()
            n += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(5):
            rows = walk(tmp_path)
            assert len([row for row in rows if row[1].endswith(b"/stays")]) == 200
            assert not [row for row in rows if row[0] == "error"]
    finally:
        stop.set()
        thread.join()


# ---------------------------------------------------------------- the directory of an item


def two_levels(root):
    (root / "sub").mkdir()
    (root / "top").write_bytes(b"top")
    (root / "sub/inner").write_bytes(b"inner")


def test_files_are_examined_and_opened_relative_to_the_walk(tmp_path):
    two_levels(tmp_path)
    with _scan.Walker(tmp_path) as walker:
        while batch := walker.next_batch():
            for item in batch:
                facts = item.directory.stat(item.name)
                with item.directory.open_file(item.name) as opened:
                    assert opened.stat() == facts
                    buffer = bytearray(10)
                    assert buffer[: opened.read_into(buffer)] == os.path.basename(item.path)


def test_a_directory_left_by_the_walk_refuses(tmp_path):
    two_levels(tmp_path)
    with _scan.Walker(tmp_path) as walker:
        walker.next_batch()
        (item,) = walker.next_batch()
        assert walker.next_batch() == []
        with pytest.raises(ValueError, match="keep"):
            item.directory.open_file(item.name)
    with pytest.raises(ValueError, match="keep"):
        item.directory.stat(item.name)


def test_a_kept_directory_outlives_the_walk(tmp_path):
    two_levels(tmp_path)
    start = open_fd_count()
    kept = []
    with _scan.Walker(tmp_path) as walker:
        while batch := walker.next_batch():
            batch[0].directory.keep()
            batch[0].directory.keep()
            assert batch[0].directory.kept
            kept.append(batch[0])
    (tmp_path / "sub").rename(tmp_path / "renamed")
    results = []

    def work():
        for item in kept:
            with item.directory.open_file(item.name) as opened:
                results.append(opened.stat().size_bytes)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [3, 5]
    kept[0].directory.close()
    with pytest.raises(ValueError, match="keep"):
        kept[0].directory.stat(b"top")
    del kept[:], batch
    assert open_fd_count() == start


@pytest.mark.parametrize("name", [b"", b"a/b", b"/etc/passwd", b"a\0b"])
def test_only_a_single_name_is_looked_up_in_a_directory(tmp_path, name):
    two_levels(tmp_path)
    with _scan.Walker(tmp_path) as walker:
        directory = walker.next_batch()[0].directory
        for method in (directory.stat, directory.open_file):
            with pytest.raises(UsageError):
                method(name)


def test_errors_of_a_directory_name_the_path_and_the_operation(tmp_path):
    two_levels(tmp_path)
    with _scan.Walker(tmp_path) as walker:
        directory = walker.next_batch()[0].directory
        with pytest.raises(FileNotFoundError) as caught:
            directory.stat(b"none")
        assert caught.value.filename == bytes(tmp_path / "none")
        assert caught.value.__notes__ == ["operation: stat"]
        with pytest.raises(FileNotFoundError) as caught:
            directory.open_file(b"none")
        assert caught.value.filename == bytes(tmp_path / "none")
        assert caught.value.__notes__ == ["operation: open"]


def test_a_walk_dropped_half_way_gives_its_handles_back(tmp_path):
    make_chain(tmp_path, "d", 30)
    start = open_fd_count()
    walker = _scan.Walker(tmp_path)
    walker.next_batch()
    assert walker.open_count == 16
    assert open_fd_count() == start + 16
    del walker
    assert open_fd_count() == start


def test_a_closed_walk_refuses(tmp_path):
    walker = _scan.Walker(tmp_path)
    walker.close()
    walker.close()
    with pytest.raises(ValueError, match="closed"):
        walker.next_batch()


def test_a_walk_made_before_a_fork_refuses_in_the_child(tmp_path):
    two_levels(tmp_path)
    walker = _scan.Walker(tmp_path)
    directory = walker.next_batch()[0].directory

    def child():
        for use in (walker.next_batch, lambda: directory.stat(b"top"), directory.keep):
            with pytest.raises(ForkError):
                use()
        walker.close()
        return True

    assert in_child(child)
    assert len(told(walker)) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"root": "relative"},
        {"root": b""},
        {"root": b"/a\0b"},
        {"root": "/", "max_open_dirs": 2},
        {"root": "/", "skip": [("relative", "x")]},
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments):
    with pytest.raises(UsageError):
        _scan.Walker(**arguments)


def test_a_batch_of_nothing_is_refused(tmp_path):
    with _scan.Walker(tmp_path) as walker, pytest.raises(UsageError):
        walker.next_batch(0)


def test_names_come_in_inode_order_which_is_how_their_content_lies_on_a_disk(tmp_path):
    for name in "".join(chr(97 + i * 7 % 26) for i in range(26)) + "ABCDEFGHIJ":
        (tmp_path / name).write_bytes(b"x")
    # So that the order of names, of making and of inodes differ where the file system lists by one of the first two.
    for name in "agmsz":
        os.rename(tmp_path / name, tmp_path / f"{name}-moved")
    with _scan.Walker(tmp_path) as walker:
        batch = walker.next_batch(1000)
        inodes = [item.ino for item in batch]
    assert len(inodes) == 36
    assert inodes == sorted(inodes)
    assert [os.stat(item.path).st_ino for item in batch] == inodes
