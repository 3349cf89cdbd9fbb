"""Files by handle and the table of system calls beneath them, the real one and one that misbehaves."""

import errno
import hashlib
import itertools
import os
import sys
import threading
import time

import pytest

from hashsieve import _scan
from hashsieve.errors import ForkError, UsageError

faults_module = pytest.importorskip("hashsieve_faults", reason="built without HASHSIEVE_TEST_MODULES=1")
Faults = faults_module.Faults

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="opening by handle needs Linux so far")


def open_fd_count():
    return len(os.listdir("/proc/self/fd"))


def content(opened, buffer_bytes=1 << 16):
    buffer = bytearray(buffer_bytes)
    result = b""
    while count := opened.read_into(buffer):
        result += buffer[:count]
    return result


# ---------------------------------------------------------------- facts


def test_facts_agree_with_those_of_the_standard_library(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"x" * 12345)
    os.link(path, tmp_path / "g")
    expected = path.stat()
    with _scan.open_path(path) as opened:
        for facts in (opened.stat(), _scan.stat_root(path), _scan.stat_root(bytes(path), follow=True)):
            assert facts.dev == expected.st_dev
            assert facts.ino == expected.st_ino
            assert facts.size_bytes == 12345
            assert facts.mtime_ns == expected.st_mtime_ns
            assert facts.ctime_ns == expected.st_ctime_ns
            assert facts.mode == expected.st_mode
            assert facts.uid == expected.st_uid
            assert facts.nlink == 2
            assert facts.blocks_512 == expected.st_blocks
            assert facts.btime_ns == 0 or abs(facts.btime_ns - expected.st_mtime_ns) < 10**10
            assert facts.is_regular()
            assert not facts.is_directory()
            assert not facts.cloud_only


def test_links_are_followed_only_on_demand(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("d")
    assert not _scan.stat_root(tmp_path / "link").is_directory()
    assert _scan.stat_root(tmp_path / "link", follow=True).is_directory()
    with pytest.raises(FileNotFoundError) as caught:
        _scan.stat_root(tmp_path / "none")
    assert caught.value.filename == bytes(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        _scan.stat_root(tmp_path / "none", follow=True)


def test_facts_are_immutable_values(tmp_path):
    facts = _scan.stat_root(tmp_path)
    assert facts == _scan.stat_root(tmp_path)
    assert hash(facts) == hash(_scan.stat_root(tmp_path))
    assert facts != _scan.FileStat()
    with pytest.raises(AttributeError):
        facts.size_bytes = 1


@pytest.mark.parametrize("field", ["dev", "ino", "size_bytes", "mtime_ns", "ctime_ns"])
def test_a_signature_moves_with_each_of_its_parts(field):
    base = {"dev": 1, "ino": 2, "size_bytes": 3, "mtime_ns": 4, "ctime_ns": 5}
    assert _scan.FileStat(**base).same_signature(_scan.FileStat(**base, nlink=9, mode=0o644))
    assert not _scan.FileStat(**base).same_signature(_scan.FileStat(**{**base, field: 99}))


def test_times_before_1970_are_negative(tmp_path):
    path = tmp_path / "old"
    path.touch()
    os.utime(path, ns=(-1_500_000_001, -1_500_000_001))
    if path.stat().st_mtime_ns == -1_500_000_001:
        assert _scan.stat_root(path).mtime_ns == -1_500_000_001


OFFLINE, ON_OPEN, ON_ACCESS, DATALESS = 0x1000, 0x40000, 0x400000, 0x40000000


def test_cloud_placeholders_are_told_by_each_attribute_of_their_system():
    harmless = [0, 0x1, 0x20, 0x80, 0x200, 0x400, 0x800, 0x80000, 0x100000, 0x200000]  # pinned and reparse among them
    for chosen in itertools.product([False, True], repeat=3):
        recall = sum(bit for bit, is_set in zip((OFFLINE, ON_OPEN, ON_ACCESS), chosen, strict=True) if is_set)
        for other in harmless:
            assert _scan.cloud_only("windows", recall | other, 0) == any(chosen)
            assert _scan.FileStat(win_attributes=recall | other).cloud_only == any(chosen)
            assert not _scan.cloud_only("macos", recall | other, 0)
            assert not _scan.cloud_only("linux", recall | other, DATALESS)
    for bit in range(32):
        assert _scan.cloud_only("windows", 1 << bit, 0) == ((1 << bit) in (OFFLINE, ON_OPEN, ON_ACCESS))
        assert _scan.cloud_only("macos", 0, 1 << bit) == ((1 << bit) == DATALESS)
        assert not _scan.cloud_only("windows", 0, 1 << bit)


def test_a_placeholder_is_seen_from_the_listing_without_an_open(tmp_path):
    (tmp_path / "cloud").touch()
    (tmp_path / "local").touch()
    faults = Faults()
    faults.record_opens = True
    faults.dress(name=b"cloud", bsd_flags=DATALESS, size_bytes=10**9)
    with _scan.Walker(tmp_path, os=faults.capsule) as walker:
        facts = {item.name: item.directory.stat(item.name) for item in walker.next_batch()}
    assert facts[b"cloud"].cloud_only
    assert facts[b"cloud"].size_bytes == 10**9
    assert not facts[b"local"].cloud_only
    assert faults.opened == [bytes(tmp_path)]


def test_times_can_be_coarse_and_shifted(tmp_path):
    (tmp_path / "f").touch()
    real = _scan.stat_root(tmp_path / "f")
    faults = Faults()
    faults.time_granularity_ns, faults.time_offset_ns = 2_000_000_000, -7_200_000_000_000
    seen = _scan.stat_root(tmp_path / "f", os=faults.capsule)
    shifted = real.mtime_ns - 7_200_000_000_000
    assert seen.mtime_ns == shifted - shifted % 2_000_000_000


# ---------------------------------------------------------------- opening


def test_a_link_is_never_opened(tmp_path):
    (tmp_path / "f").touch()
    (tmp_path / "link").symlink_to("f")
    with pytest.raises(OSError) as caught:
        _scan.open_path(tmp_path / "link")
    assert caught.value.errno == errno.ELOOP


def test_a_fifo_without_a_writer_is_opened_at_once_and_recognised(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    with _scan.open_path(tmp_path / "fifo") as opened:
        assert not opened.stat().is_regular()
    with pytest.raises(OSError):
        _scan.open_path(tmp_path / "link")


def test_descriptors_are_not_inherited(tmp_path):
    (tmp_path / "f").touch()
    with _scan.open_path(tmp_path / "f") as opened:
        assert not os.get_inheritable(opened.fileno())


def test_a_file_swapped_for_a_link_is_never_read_from_outside(tmp_path):
    inside, outside, x = tmp_path / "inside", tmp_path / "outside", tmp_path / "x"
    inside.write_bytes(b"inside")
    outside.write_bytes(b"outside")
    stop = threading.Event()

    def swap():
        n = 0
        while not stop.is_set():
            fresh = tmp_path / "fresh"
            if n % 2:
                fresh.symlink_to(outside)
            else:
                os.link(inside, fresh)
            os.replace(fresh, x)
            n += 1
            fresh.unlink(missing_ok=True)  # replacing a name by another of the same file leaves both

    os.link(inside, x)
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        seen = set()
        for _ in range(10_000):
            try:
                with _scan.open_path(x) as opened:
                    seen.add(content(opened, 16))
            except OSError as error:
                seen.add(error.errno)
    finally:
        stop.set()
        thread.join()
    assert b"inside" in seen
    assert seen <= {b"inside", errno.ELOOP, errno.ENOENT}


def test_the_refusal_of_no_access_time_is_paid_once_for_each_mount_and_owner(tmp_path):
    for i in range(10):
        (tmp_path / f"f{i}").touch()
    faults = Faults()
    faults.fail("open", errno.EPERM, how="file-noatime")
    policy = _scan.OpenPolicy()
    with _scan.Walker(tmp_path, os=faults.capsule) as walker:
        for item in walker.next_batch():
            facts = item.directory.stat(item.name)
            item.directory.open_file(item.name, policy, facts).close()
    assert policy.retry_count == 1
    assert policy.refuses_noatime(facts)
    assert not policy.refuses_noatime(_scan.FileStat(dev=facts.dev, mnt_id=facts.mnt_id, uid=facts.uid + 1))
    assert faults.calls["open"] == 1 + 10 + 1


def test_without_facts_every_refusal_is_answered_and_none_remembered(tmp_path):
    (tmp_path / "f").touch()
    faults = Faults()
    faults.fail("open", errno.EPERM, how="file-noatime")
    policy = _scan.OpenPolicy()
    for _ in range(3):
        _scan.open_path(tmp_path / "f", policy=policy, os=faults.capsule).close()
    _scan.open_path(tmp_path / "f", os=faults.capsule).close()
    assert policy.retry_count == 3
    assert faults.calls["open"] == 8


def test_an_open_that_is_not_permitted_at_all_is_an_error_and_not_remembered(tmp_path):
    (tmp_path / "f").touch()
    facts = _scan.stat_root(tmp_path / "f")
    faults = Faults()
    faults.fail("open", errno.EPERM)
    policy = _scan.OpenPolicy()
    with pytest.raises(PermissionError):
        _scan.open_path(tmp_path / "f", policy=policy, stat=facts, os=faults.capsule)
    assert not policy.refuses_noatime(facts)
    assert policy.retry_count == 0


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="gives up the rights of root")
def test_files_of_others_are_read_by_an_ordinary_user(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"readable")
    path.chmod(0o644)
    for parent in [tmp_path, *tmp_path.parents][:-2]:
        parent.chmod(parent.stat().st_mode | 0o755)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            policy = _scan.OpenPolicy()
            facts = _scan.stat_root(path)
            for _ in range(2):
                with _scan.open_path(path, policy=policy, stat=facts) as opened:
                    assert content(opened) == b"readable"
            assert policy.retry_count == 1
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_reading_own_files_leaves_their_access_time_alone(tmp_path):
    for name in ("plain", "ours"):
        (tmp_path / name).write_bytes(b"x" * 100)
        os.utime(tmp_path / name, ns=(10**18, 10**18 + 10**9))  # accessed before it was modified: relatime would update
    (tmp_path / "plain").read_bytes()
    with _scan.open_path(tmp_path / "ours") as opened:
        content(opened)
    assert (tmp_path / "ours").stat().st_atime_ns == 10**18
    if (tmp_path / "plain").stat().st_atime_ns == 10**18:
        pytest.skip("this filesystem keeps no access times")


# ---------------------------------------------------------------- reading


def test_short_and_interrupted_reads_give_the_same_bytes(tmp_path):
    expected = os.urandom(300_001)
    (tmp_path / "f").write_bytes(expected)
    for seed in range(20):
        faults = Faults(seed=seed)
        faults.short_reads = True
        faults.fail("read", errno.EINTR, every=3)
        faults.fail("pread", errno.EINTR, every=3)
        with _scan.open_path(tmp_path / "f", os=faults.capsule) as opened:
            assert hashlib.sha256(content(opened)).digest() == hashlib.sha256(expected).digest()
            buffer = bytearray(100_000)
            assert opened.pread_into(buffer, 50_000) == 100_000
            assert buffer == expected[50_000:150_000]
            assert opened.pread_into(buffer, 300_000) == 1
            assert opened.pread_into(buffer, 10**12) == 0
        assert faults.bytes_read["read"] == 300_001


@pytest.mark.parametrize(("claimed", "actual"), [(0, 3000), (10_000, 4000)])
def test_a_read_ends_where_the_file_ends_whatever_size_it_claims(tmp_path, claimed, actual):
    (tmp_path / "f").write_bytes(b"z" * actual)
    faults = Faults()
    faults.dress(name=bytes(tmp_path / "f"), size_bytes=claimed)
    with _scan.open_path(tmp_path / "f", os=faults.capsule) as opened:
        assert opened.stat().size_bytes == claimed
        assert len(content(opened)) == actual


def test_a_file_of_the_kernel_that_claims_no_size_is_read():
    with _scan.open_path("/proc/self/status") as opened:
        assert opened.stat().size_bytes == 0
        assert b"VmRSS" in content(opened)


def test_a_failed_read_names_the_file_and_the_operation(tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 10)
    faults = Faults()
    faults.fail("read", errno.EIO, nth=2)
    with _scan.open_path(tmp_path / "f", os=faults.capsule) as opened:
        with pytest.raises(OSError) as caught:
            opened.read_into(bytearray(20))
        assert caught.value.errno == errno.EIO
        assert caught.value.filename == bytes(tmp_path / "f")
        assert caught.value.__notes__ == ["operation: read"]
        assert opened.read_into(bytearray(20)) == 0


def test_buffers_must_be_writable_and_contiguous(tmp_path):
    (tmp_path / "f").write_bytes(b"abcdef")
    with _scan.open_path(tmp_path / "f") as opened:
        with pytest.raises(BufferError):
            opened.read_into(b"not writable")
        with pytest.raises(BufferError):
            opened.read_into(memoryview(bytearray(10))[::2])
        with pytest.raises(TypeError):
            opened.read_into(5)
        buffer = bytearray(b"........")
        assert opened.read_into(memoryview(buffer)[2:5]) == 3
        assert buffer == b"..abc..."
        assert opened.read_into(bytearray()) == 0


# ---------------------------------------------------------------- descriptors


def test_a_descriptor_handed_in_is_left_open_and_where_it_was(tmp_path):
    (tmp_path / "f").write_bytes(b"abcdef")
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    os.lseek(fd, 4, os.SEEK_SET)
    opened = _scan.OpenFile.from_fd(fd, path="label")
    buffer = bytearray(6)
    assert opened.pread_into(buffer, 0) == 6
    assert opened.path == b"label"
    opened.close()
    del opened
    assert os.lseek(fd, 0, os.SEEK_CUR) == 4
    owned = _scan.OpenFile.from_fd(fd, owned=True)
    owned.close()
    with pytest.raises(OSError):
        os.fstat(fd)
    with pytest.raises(UsageError):
        _scan.OpenFile.from_fd(-1)


def test_a_dropped_file_gives_its_descriptor_back(tmp_path):
    (tmp_path / "f").touch()
    start = open_fd_count()
    for _ in range(100):
        _scan.open_path(tmp_path / "f")
    assert open_fd_count() == start


def test_a_closed_file_refuses(tmp_path):
    (tmp_path / "f").touch()
    opened = _scan.open_path(tmp_path / "f")
    opened.close()
    opened.close()
    assert opened.closed
    for use in (opened.stat, opened.fileno, lambda: opened.read_into(bytearray(1))):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_a_file_closed_during_a_read_lives_until_the_read_is_over():
    reader, writer = os.pipe()
    opened = _scan.OpenFile.from_fd(reader, owned=True)
    buffer, counts = bytearray(4), []
    thread = threading.Thread(target=lambda: counts.append(opened.read_into(buffer)))
    thread.start()
    time.sleep(0.1)
    opened.close()
    assert opened.closed
    os.fstat(reader)
    os.write(writer, b"abcd")
    thread.join()
    assert (counts, buffer) == ([4], b"abcd")
    with pytest.raises(OSError):
        os.fstat(reader)
    os.close(writer)


def test_a_file_opened_before_a_fork_refuses_in_the_child(tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    opened, visited = _scan.open_path(tmp_path / "f"), _scan.Visited()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for use in (opened.stat, lambda: opened.read_into(bytearray(1)), lambda: visited.add(1, 1)):
                with pytest.raises(ForkError):
                    use()
            opened.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert content(opened) == b"x"


def test_a_foreign_capsule_is_refused(tmp_path):
    import datetime

    with pytest.raises(ValueError):
        _scan.Walker(tmp_path, os=datetime.datetime_CAPI)
    with pytest.raises((TypeError, ValueError)):
        _scan.open_path(tmp_path, os=object())


def test_the_table_outlives_those_who_use_it(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    opened = _scan.open_path(tmp_path / "f", os=Faults().capsule)
    walker = _scan.Walker(tmp_path, os=Faults().capsule)
    assert content(opened) == b"abc"
    (item,) = walker.next_batch()
    item.directory.keep()
    del walker, opened
    assert item.directory.stat(b"f").size_bytes == 3


@pytest.mark.parametrize("kind", ["Directory", "OpenFile"])
def test_handles_are_not_made_by_hand(kind):
    with pytest.raises(TypeError):
        getattr(_scan, kind)()
