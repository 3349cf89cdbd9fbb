"""Roots: every path that was named is accounted for, and none is touched that need not be."""

import errno
import os
import threading
import time

import pytest

from hashsieve import HashSet, Scanner
from hashsieve.platform.mounts import Mount, MountTable
from helpers import mounts, scan

BAD = b"listed content\n"


@pytest.fixture
def known(open_set):
    return open_set(BAD)


@pytest.fixture
def scanner(known):
    with Scanner(known) as scanner:
        yield scanner


def test_a_good_a_missing_and_a_locked_root_are_all_in_the_report_and_the_scan_is_incomplete(cli, make_set, tmp_path):
    good, locked = tmp_path / "good", tmp_path / "locked"
    good.mkdir()
    locked.mkdir()
    (good / "a").write_bytes(b"unlisted")
    locked.chmod(0)
    done = cli("scan", "--json", "-s", make_set(BAD), good, tmp_path / "missing", locked, unprivileged=True)
    locked.chmod(0o700)
    assert done.code == 3, done
    assert {line["path"]: line["reason"] for line in done.events("error")} == {
        str(tmp_path / "missing"): "open: ENOENT No such file or directory",
        str(locked): "open: EACCES Permission denied",
    }
    assert (done.summary["no_match"], done.summary["errors"], done.summary["incomplete"]) == (1, 2, 2)


def test_a_match_in_one_root_outweighs_a_missing_one_and_both_are_told(cli, make_set, tmp_path):
    (tmp_path / "a").write_bytes(BAD)
    done = cli("scan", "--json", "-s", make_set(BAD), tmp_path / "missing", tmp_path / "a")
    assert done.code == 1
    assert [line["event"] for line in done.lines] == ["start", "error", "match", "summary"]


def test_a_root_may_be_a_file_and_a_link_to_one(scanner, tmp_path):
    (tmp_path / "file").write_bytes(BAD)
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        assert scan(scanner, tmp_path / name).paths("match") == [bytes(tmp_path / name)]


def test_a_root_that_is_a_link_to_a_directory_is_scanned_under_the_name_it_was_given(scanner, tmp_path):
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "real/sub/x").write_bytes(BAD)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert scan(scanner, tmp_path / "link").paths("match") == [bytes(tmp_path / "link/sub/x")]


def test_going_up_from_a_link_leads_where_the_system_goes(scanner, tmp_path):
    (tmp_path / "a/target").mkdir(parents=True)
    (tmp_path / "a/x").write_bytes(BAD)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/x").write_bytes(b"not this one")
    (tmp_path / "b/link").symlink_to("../a/target")
    assert scan(scanner, tmp_path / "b/link/../x").paths("match") == [bytes(tmp_path / "a/x")]


@pytest.mark.parametrize("given", ["", "a\0b"])
def test_what_is_no_path_is_an_error_of_its_own(scanner, given):
    found = scan(scanner, given)
    assert found.summary.errors == found.summary.incomplete == 1


def test_links_in_a_ring_as_root_are_an_error(scanner, tmp_path):
    (tmp_path / "x").symlink_to("y")
    (tmp_path / "y").symlink_to("x")
    assert scan(scanner, tmp_path / "x").reason(tmp_path / "x").startswith("open: ELOOP")


def test_a_path_through_a_file_is_an_error(scanner, tmp_path):
    (tmp_path / "file").touch()
    assert scan(scanner, tmp_path / "file/x").reason(tmp_path / "file/x").startswith("open: ENOTDIR")


def test_a_relative_root_after_the_working_directory_was_removed_is_an_error(cli, make_set, tmp_path):
    code = (
        "import os, sys; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        "from hashsieve.cli import main; sys.exit(main(['scan', '-s', sys.argv[1], '.']))"
    )
    done = cli.python(f"import os; os.chdir({str(tmp_path)!r})\n" + code, make_set(BAD))
    assert done.code == 3, done
    assert "ENOENT" in done.text


def test_a_root_without_names_in_it_is_a_clean_scan_of_nothing(scanner, tmp_path):
    found = scan(scanner, tmp_path)
    assert found.summary.seen == found.summary.incomplete == 0


def test_a_fifo_as_root_is_counted_and_never_opened(known, faults, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    faults.record_opens = True
    with Scanner(known, os_table=faults.capsule) as scanner:
        found = scan(scanner, tmp_path / "fifo")
    assert (found.summary.special, found.summary.specials) == (1, {"fifo": 1})
    assert faults.opened == []


def test_overlapping_roots_are_read_once(known, tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    for name in ("a/x", "a/b/y", "z"):
        (tmp_path / name).write_bytes(name.encode())
    events = []
    with Scanner(known, on_event=events.append) as scanner:
        found = scan(scanner, tmp_path, tmp_path / "a/b", tmp_path)
    assert found.summary.no_match == 3
    assert found.summary.bytes_read == len("a/xa/b/yz")
    assert {event.kind for event in events} == {"already-visited"}
    assert len(events) == 2


def test_the_same_file_named_twice_as_root_has_an_outcome_each_time(known, tmp_path):
    (tmp_path / "x").write_bytes(BAD)
    with Scanner(known) as scanner:
        *outcomes, summary = scanner.scan(tmp_path / "x", tmp_path / "x")
    assert len(outcomes) == summary.matched == 2


def test_a_second_scan_of_the_same_scanner_starts_from_nothing(scanner, tmp_path):
    (tmp_path / "x").write_bytes(BAD)
    first, second = scan(scanner, tmp_path), scan(scanner, tmp_path)
    assert first.outcomes == second.outcomes
    assert first.summary.seen == second.summary.seen == 1


# ---------------------------------------------------------------- mounts


class Touched:
    """Paths that were examined or opened by path through the standard library."""

    def __init__(self, monkeypatch):
        self.paths = []
        for name in ("stat", "lstat", "open", "readlink", "scandir", "listdir", "statvfs"):
            monkeypatch.setattr(os, name, self.recorded(getattr(os, name)))

    def recorded(self, function):
        def call(path, *arguments, **options):
            if not isinstance(path, int):
                self.paths.append(os.fsencode(path))
            return function(path, *arguments, **options)

        return call

    def below(self, path):
        prefix = os.fsencode(path)
        return [each for each in self.paths if each == prefix or each.startswith(prefix + b"/")]


@pytest.mark.parametrize("fs_type", ["nfs4", "cifs", "fuse.sshfs", "9p", "autofs"])
def test_a_dead_mount_inside_a_root_costs_no_call_and_the_next_root_is_scanned(
    known, faults, monkeypatch, tmp_path, fs_type
):
    for name in ("home/net/deep", "home/local", "other"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("home/net/deep/x", "home/local/x", "other/x"):
        (tmp_path / name).write_bytes(BAD)
    stats = []
    faults.record_opens = True
    faults.before_stat = stats.append
    net = tmp_path / "home/net"
    with Scanner(known, os_table=faults.capsule, mounts=mounts(at={net: fs_type})) as scanner:
        touched = Touched(monkeypatch)
        found = scan(scanner, tmp_path / "home", tmp_path / "other")
    assert found.paths("match") == [bytes(tmp_path / "home/local/x"), bytes(tmp_path / "other/x")]
    assert found.of(net).kind == "not_examined"
    assert found.reason(net).endswith(fs_type.removeprefix("fuse."))
    assert found.summary.incomplete == 1
    assert b"net" not in {*faults.opened, *stats}
    assert touched.below(net) == []


@pytest.mark.parametrize("root", ["home/net", "home/net/deep/x", "link", "through/deep", "home/../link/deep"])
def test_a_root_in_a_dead_mount_is_refused_without_a_call_on_it(known, faults, monkeypatch, tmp_path, root):
    (tmp_path / "home/net/deep").mkdir(parents=True)
    net = tmp_path / "home/net"
    (tmp_path / "link").symlink_to(net)
    (tmp_path / "through").symlink_to("home/net/../../home/net")
    with Scanner(known, os_table=faults.capsule, mounts=mounts(at={net: "nfs"})) as scanner:
        touched = Touched(monkeypatch)
        found = scan(scanner, tmp_path / root)
    assert [outcome.reason for outcome in found.outcomes] == ["network-mount:nfs"]
    assert found.summary.incomplete == 1
    assert faults.calls == dict.fromkeys(faults.calls, 0)
    assert touched.below(net) == []


def test_what_is_stored_inside_a_kernel_interface_is_scanned_too(known, tmp_path):
    (tmp_path / "dev/shm/sub").mkdir(parents=True)
    (tmp_path / "dev/net/x").mkdir(parents=True)
    (tmp_path / "dev/shm/sub/x").write_bytes(BAD)
    (tmp_path / "dev/node").write_bytes(BAD)
    (tmp_path / "dev/net/x/y").write_bytes(BAD)
    table = mounts(
        at={
            tmp_path / "dev": "sysfs",
            tmp_path / "dev/shm": "tmpfs",
            tmp_path / "dev/net": "nfs",
            tmp_path / "dev/net/x": "tmpfs",
        }
    )
    with Scanner(known, mounts=table) as scanner:
        found = scan(scanner, tmp_path)
        assert found.paths("match") == [bytes(tmp_path / "dev/shm/sub/x")]
        assert found.reason(tmp_path / "dev") == "pseudo-filesystem:sysfs"
        # The share inside it is left out like any other, and told.
        assert found.reason(tmp_path / "dev/net") == "network-mount:nfs"
        assert found.summary.incomplete == 1
        # Named as a root, an interface was not examined as asked for; what is stored in it can be named.
        assert scan(scanner, tmp_path / "dev").summary.incomplete == 1
        assert scan(scanner, tmp_path / "dev/shm").summary.matched == 1


def test_mounts_inside_each_other_are_all_reached_or_told(known, tmp_path):
    for name in ("fuse/dev/shm/x", "sys/inner/x", "sys/deep/sys/shm/x"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(BAD)
    table = mounts(
        at={
            tmp_path / "fuse": "fuse.encfs",
            tmp_path / "fuse/dev": "sysfs",
            tmp_path / "fuse/dev/shm": "tmpfs",
            tmp_path / "sys": "proc",
            tmp_path / "sys/inner": "fuse.gocryptfs",
            tmp_path / "sys/deep/sys": "sysfs",
            tmp_path / "sys/deep/sys/shm": "ext4",
        }
    )
    with Scanner(known, mounts=table) as scanner:
        found = scan(scanner, tmp_path)
    assert found.paths("match") == sorted(
        bytes(tmp_path / name) for name in ("fuse/dev/shm/x", "sys/inner/x", "sys/deep/sys/shm/x")
    )


def test_a_mount_that_another_one_hides_does_not_decide():
    table = MountTable(
        [
            Mount(1, 0, "8:1", b"/", b"/", b"ext4", b"/dev/sda1"),
            Mount(2, 1, "0:2", b"/", b"/x/proc", b"proc", b"none"),
            Mount(3, 1, "0:3", b"/", b"/x", b"tmpfs", b"none"),  # over the directory that the other one lies in
            Mount(4, 3, "0:4", b"/", b"/x/in", b"sysfs", b"none"),
            Mount(5, 4, "0:5", b"/", b"/x/in", b"ext4", b"/dev/sdb1"),  # on top of it
        ]
    )
    assert table.reason_at(b"/x/proc/file") is None
    assert table.reason_at(b"/x/in/file") is None
    assert table.skips_below(b"/") == []


def test_what_was_a_file_when_it_was_listed_and_is_a_directory_now_is_walked(known, faults, tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in "abc":
        (tree / name).write_bytes(b"x")
    done = []

    def replace(name, *_):
        if name == b"b" and not done:
            done.append(name)
            (tree / "b").unlink()
            (tree / "b").mkdir()
            (tree / "b/listed").write_bytes(BAD)

    faults.before_open = replace
    with Scanner(known, os_table=faults.capsule) as scanner:
        found = scan(scanner, tree)
    assert done
    assert found.paths("match") == [bytes(tree / "b/listed")]
    assert (found.summary.seen, found.summary.special) == (3, 0)


def test_a_callback_that_fails_costs_no_outcome(make_set, faults, tmp_path):
    (tmp_path / "x").write_bytes(BAD)

    def fail(event):
        raise RuntimeError("the embedder's own trouble")

    with HashSet.open(make_set(BAD)) as known, HashSet.open(make_set(BAD), os_table=faults.capsule) as damaged:
        faults.fail("pread", errno.EIO)
        with Scanner([damaged, known], on_event=fail) as scanner:
            assert scan(scanner, tmp_path).summary.matched == 1


def test_kernel_interfaces_are_refused_by_type_and_at_once(cli, make_set, tmp_path):
    (tmp_path / "version").symlink_to("/proc/version")
    began = time.monotonic()
    done = cli("scan", "--json", "-s", make_set(BAD), "/proc", "/sys", "/proc/self", tmp_path, tmp_path / "version")
    assert time.monotonic() - began < 10
    reasons = {line["path"]: line["reason"].partition(":")[0] for line in done.events("not_examined")}
    assert reasons == dict.fromkeys(["/proc", "/sys", "/proc/self", str(tmp_path / "version")], "pseudo-filesystem")
    assert done.code == 3
    assert done.summary["bytes_read"] == 0
    assert done.summary["special"] == 1
    assert done.summary["wall_seconds"] < 1


IN_NAMESPACE = 'cd "$1" && {commands} && shift && exec "$@"'


@pytest.fixture
def in_namespace(cli, make_set):
    """Scans a tree as JSON in a mount namespace of its own, after shell commands in that tree."""

    def run(root, commands, code="import sys\nfrom hashsieve.cli import main\nsys.exit(main(sys.argv[1:]))"):
        arguments = ["unshare", "-Urm", "sh", "-c", IN_NAMESPACE.format(commands=commands), "sh", root]
        done = cli.python(code, "scan", "--json", "-s", make_set(BAD), root, start=arguments)
        if "unshare" in done.err or "mount:" in done.err:
            pytest.skip(f"no mounts in a user namespace here: {done.err.strip()}")
        return done

    return run


def test_content_under_a_bind_mount_is_read_once_and_the_second_way_is_told(in_namespace, tmp_path):
    (tmp_path / "a/sub").mkdir(parents=True)
    (tmp_path / "z").mkdir()
    (tmp_path / "a/sub/f").write_bytes(BAD)
    (tmp_path / "a/sub/linked").write_bytes(b"two names")
    os.link(tmp_path / "a/sub/linked", tmp_path / "a/linked")
    done = in_namespace(tmp_path, "mount --bind a z")
    assert done.code == 1, done
    assert len(done.events("match")) == 1
    assert done.summary["seen"] == 3
    assert done.summary["bytes_read"] == len(BAD) + len(b"two names")
    assert "already-visited" in done.err


def test_a_file_system_mounted_inside_the_root_is_scanned(in_namespace, tmp_path):
    (tmp_path / "m").mkdir()
    done = in_namespace(tmp_path, "mount -t tmpfs none m && printf 'listed content\\n' > m/f")
    assert [line["path"] for line in done.events("match")] == [str(tmp_path / "m/f")], done


def test_a_kernel_interface_mounted_anywhere_is_listed_as_skipped_and_the_scan_stays_complete(in_namespace, tmp_path):
    (tmp_path / "p").mkdir()
    done = in_namespace(tmp_path, "mount -t tmpfs none p && mkdir p/s && mount --rbind /sys p/s && touch p/f")
    assert done.code == 0, done
    assert done.events("not_examined")[0] | {"path": None} == {
        "event": "not_examined",
        "path": None,
        "reason": "pseudo-filesystem:sysfs",
    }
    assert done.summary["incomplete"] == 0


# ---------------------------------------------------------------- access times


def test_reading_leaves_access_times_as_they_were(in_namespace, tmp_path):
    (tmp_path / "m").mkdir()
    code = """
import os, sys
from hashsieve.cli import main
code = main(sys.argv[1:])
after_scan = os.stat(sys.argv[-1] + "/m/f").st_atime
open(sys.argv[-1] + "/m/f").read()
after_read = os.stat(sys.argv[-1] + "/m/f").st_atime
sys.stderr.write(f"{after_scan == 1} {after_read > 1}")
"""
    done = in_namespace(
        tmp_path, "mount -t tmpfs -o strictatime none m && printf x > m/f && touch -a -d @1 m/f", code=code
    )
    assert done.summary["no_match"] == 1
    assert done.err == "True True"


def test_a_root_that_is_swapped_for_another_directory_in_between_is_still_accounted_for(scanner, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x").write_bytes(b"one")
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            os.rename(tmp_path / "a", tmp_path / "b")
            os.rename(tmp_path / "b", tmp_path / "a")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(200):
            summary = scan(scanner, tmp_path / "a").summary
            assert summary.seen == 1
    finally:
        stop.set()
        thread.join()
