"""The scan pipeline: which files it counts, which it tells about, and that nothing is dropped or read in vain."""

import errno
import hashlib
import os
import random
import threading
import time

import blake3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashsieve import HashSet, Scanner, _scan
from hashsieve.errors import SetError
from hashsieve.hashset.compile import SetWriter
from hashsieve.model import Listing, Record, Role
from helpers import record

BAD = b"listed content\n"


@pytest.fixture
def known(open_set):
    return open_set(BAD)


def pump_all(feed, known, **options):
    """Runs a pump to its end: events, and counters at the end."""
    options.setdefault("kinds", ["md5"])
    pump = _scan.Pump(feed, sets=[(known.file, _scan.ASK)], **options)
    events, status = [], None
    try:
        while status != _scan.DONE:
            status, more = pump.run(1.0)
            assert status >= 0
            events += more
        return events, pump.counters()
    finally:
        pump.close()


def paths_feed(*paths):
    return _scan.Feed(files=[(path, -1) for path in paths])


def kinds_of(events):
    return {os.path.basename(event.path): event.event for event in events}


def test_unlisted_files_are_counted_and_listed_ones_told_with_their_digests(known, tmp_path):
    for number in range(100):
        (tmp_path / f"{number}").write_bytes(b"%d" % number * number)
    (tmp_path / "bad").write_bytes(BAD)
    events, counters = pump_all(_scan.Feed(_scan.Walker(tmp_path)), known)
    assert [(e.event, e.path, e.settled) for e in events] == [(_scan.HIT, bytes(tmp_path / "bad"), True)]
    assert events[0].digests == {"md5": hashlib.md5(BAD).digest()}
    assert counters["no_match"] == 100
    assert counters["gated_empty"] == 1
    assert counters["bytes_read"] == sum(len(b"%d" % n * n) for n in range(100)) + len(BAD)


def test_every_file_is_told_on_demand_with_the_digests_of_hashlib(known, tmp_path):
    dice = random.Random(3)
    contents = {bytes(tmp_path / f"{n}"): dice.randbytes(dice.choice([1, 63, 64, 4096, 32768, 32769, 200000]))
                for n in range(120)}  # fmt: skip
    for path, data in contents.items():
        with open(path, "wb") as file:
            file.write(data)
    for kinds in (["md5"], ["sha1"], ["sha256"], ["blake3"], ["md5", "sha1", "sha256", "blake3"]):
        events, _ = pump_all(_scan.Feed(_scan.Walker(tmp_path)), known, kinds=kinds, tell_all=True)
        assert len(events) == len(contents)
        for event in events:
            data = contents[event.path]
            for kind, digest in event.digests.items():
                right = blake3.blake3(data) if kind == "blake3" else hashlib.new(kind, data)
                assert digest == right.digest(), (kind, len(data))


def test_descriptors_that_are_handed_in_are_taken_over(known, tmp_path):
    (tmp_path / "bad").write_bytes(BAD)
    fd = os.open(tmp_path / "bad", os.O_RDONLY)
    events, _ = pump_all(_scan.Feed(files=[(b"from a hook", fd)]), known)
    assert [(e.event, e.path) for e in events] == [(_scan.HIT, b"from a hook")]
    assert events[0].file.fileno() == fd
    events[0].file.close()
    with pytest.raises(OSError):
        os.fstat(fd)


@pytest.mark.parametrize(("size", "kind"), [(999, None), (1000, None), (1001, _scan.TOO_LARGE)])
def test_the_size_limit_is_the_largest_size_that_is_read(known, tmp_path, size, kind):
    (tmp_path / "x").write_bytes(bytes(size))
    events, counters = pump_all(paths_feed(tmp_path / "x"), known, max_size_bytes=1000)
    assert [e.event for e in events] == ([kind] if kind else [])
    assert counters["no_match"] == (kind is None)
    assert counters["bytes_read"] == (size if kind is None else 0)


def test_a_file_that_grows_over_the_limit_while_it_is_read_is_not_counted(known, faults, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(1000))
    faults.after_read = lambda name, offset, got: offset == 0 and path.write_bytes(bytes(100_000))
    events, counters = pump_all(paths_feed(path), known, max_size_bytes=1000, os=faults.capsule)
    assert [e.event for e in events] in ([_scan.MOVED], [_scan.TOO_LARGE])
    assert counters["no_match"] == 0


MEDIA = {
    "jpeg": b"\xff\xd8\xff\xe0", "png": b"\x89PNG\r\n\x1a\n", "gif": b"GIF89a", "webp": b"RIFF\0\0\0\0WEBP",
    "avi": b"RIFF\0\0\0\0AVI ", "mp4": b"\0\0\0\x18ftypmp42", "heic": b"\0\0\0\x18ftypheic", "mkv": b"\x1aE\xdf\xa3",
    "flv": b"FLV\1", "wmv": b"0&\xb2u\x8ef\xcf\x11", "mpeg": b"\0\0\1\xba", "ts": b"G@\0\x10", "bmp": b"BM",
    "tiff": b"II*\0", "zip": b"PK\3\4", "7z": b"7z\xbc\xaf'\x1c", "rar": b"Rar!\x1a\7", "pdf": b"%PDF-1.7",
}  # fmt: skip
OTHER = {
    "text": b"hello, world",
    "elf": b"\x7fELF",
    "wav": b"RIFF\0\0\0\0WAVE",
    "python": b"import os\n",
    "short": b"\xff",
}


def test_the_media_gate_reads_images_videos_and_containers_and_leaves_the_rest_out_by_rule(known, tmp_path):
    for name, start in (MEDIA | OTHER).items():
        (tmp_path / name).write_bytes(start + bytes(100))
    (tmp_path / "empty").write_bytes(b"")
    events, counters = pump_all(_scan.Feed(_scan.Walker(tmp_path)), known, media_only=True)
    assert kinds_of(events) == {name.encode(): _scan.NOT_MEDIA for name in OTHER}
    assert counters["no_match"] == len(MEDIA) + 1


def test_the_known_sizes_gate_lets_every_listed_size_through(tmp_path):
    writer = SetWriter(sizes="trusted")
    listing = Listing("a", Role.KNOWN_BAD)
    digest = hashlib.md5(BAD).digest()
    for size in (len(BAD), 77):  # one digest, listed with two sizes
        writer.add(Record({"md5": digest}, size, listing))
    writer.write(tmp_path / "known.hset")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "bad").write_bytes(BAD)
    (tree / "same-size").write_bytes(b"x" * 77)
    for number in range(50):
        (tree / f"{number}").write_bytes(bytes(1000 + number))
    with HashSet.open(tmp_path / "known.hset") as known, Scanner(known) as scanner:
        assert scanner.gates == ("empty", "known-sizes")
        *outcomes, summary = scanner.scan(tree)
    assert [outcome.path for outcome in outcomes] == [bytes(tree / "bad")]
    assert summary.gates["known-sizes"] == 50
    assert summary.no_match == 51
    assert summary.bytes_read == len(BAD) + 77


def test_sizes_that_are_not_vouched_for_gate_nothing(open_set, tmp_path):
    (tmp_path / "x").write_bytes(bytes(5))
    with Scanner(open_set(record(BAD))) as scanner:
        assert scanner.gates == ("empty",)
        *_, summary = scanner.scan(tmp_path)
    assert summary.bytes_read == 5


def test_a_file_with_many_names_is_read_once(known, tmp_path):
    (tmp_path / "0").write_bytes(bytes(100_000))
    for number in range(1, 300):
        os.link(tmp_path / "0", tmp_path / f"{number}")
    with Scanner(known) as scanner:
        *_, summary = scanner.scan(tmp_path)
    assert (summary.no_match, summary.bytes_read) == (300, 100_000)


@pytest.mark.parametrize("kind", ["md5", "sha256", "blake3"])
@settings(max_examples=25, deadline=None)
@given(
    extents=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 70_000)), max_size=6), tail=st.integers(0, 5_000_000)
)
def test_a_sparse_file_has_the_digest_of_a_plain_read(known_module, tmp_path_factory, kind, extents, tail):
    path = tmp_path_factory.mktemp("sparse") / "x"
    with open(path, "wb") as file:
        for slot, length in extents:
            file.seek(slot * 100_000)
            file.write(random.Random(length).randbytes(length))
        file.truncate(max(file.seek(0, os.SEEK_END), tail))
    (event,), counters = pump_all(paths_feed(path), known_module, kinds=[kind], tell_all=True)
    data = path.read_bytes()
    assert event.digests[kind] == (blake3.blake3(data) if kind == "blake3" else hashlib.new(kind, data)).digest()
    assert counters["bytes_read"] + counters["hole_bytes"] == len(data)


@pytest.fixture(scope="module")
def known_module(tmp_path_factory):
    writer = SetWriter()
    writer.add(record(BAD))
    path = tmp_path_factory.mktemp("set") / "known.hset"
    writer.write(path)
    with HashSet.open(path) as opened:
        yield opened


def test_holes_are_not_read(known, tmp_path):
    with open(tmp_path / "x", "wb") as file:
        file.truncate(200 << 20)
        file.seek(100 << 20)
        file.write(b"data")
    if os.stat(tmp_path / "x").st_blocks > 1000:
        pytest.skip("this file system keeps no holes")
    _, counters = pump_all(paths_feed(tmp_path / "x"), known)
    assert counters["bytes_read"] < 1 << 20
    assert counters["no_match"] == 1


def test_errors_in_mid_file_interruptions_and_short_reads(known, faults, tmp_path):
    for name in ("a", "broken", "z"):
        (tmp_path / name).write_bytes(name.encode() * 50_000)
    faults.fail("pread", errno.EIO, name=b"broken", first=3)
    faults.fail("pread", errno.EINTR, every=3)
    faults.short_reads = True
    events, counters = pump_all(_scan.Feed(_scan.Walker(tmp_path, os=faults.capsule)), known, os=faults.capsule)
    assert [(os.path.basename(e.path), e.event, e.errno_, e.detail) for e in events] == [
        (b"broken", _scan.PIPE_ERROR, errno.EIO, "read")
    ]
    assert counters["no_match"] == 2


def test_a_lack_of_descriptors_holds_a_file_and_drops_none(known, faults, tmp_path):
    for number in range(200):
        (tmp_path / f"{number}").write_bytes(b"%d" % number)
    faults.fail("open", errno.EMFILE, name=b"100", times=5)
    feed = _scan.Feed(_scan.Walker(tmp_path, os=faults.capsule))
    pump = _scan.Pump(feed, sets=[(known.file, _scan.ASK)], kinds=["md5"], os=faults.capsule)
    statuses = set()
    while _scan.DONE not in statuses:
        statuses.add(pump.run(1.0)[0])
    assert pump.counters()["no_match"] == 200
    assert faults.open_count == 0
    pump.close()


def test_a_large_file_does_not_hold_small_ones_up(known, tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(2 << 30)
    for number in range(2000):
        (tmp_path / f"{number}").write_bytes(b"%d" % number)
    events, _ = pump_all(_scan.Feed(_scan.Walker(tmp_path)), known, tell_all=True)
    assert len(events) == 2001
    assert [os.path.basename(event.path) for event in events].index(b"large") == 2000


def test_a_stop_ends_a_pump_in_the_middle_of_a_file(known, tmp_path):
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 40)
    stop = _scan.StopFlag()
    pump = _scan.Pump(paths_feed(tmp_path / "huge"), sets=[(known.file, _scan.ASK)], kinds=["sha256"], stop=stop)
    threading.Timer(0.2, stop.set).start()
    started = time.monotonic()
    status, _ = pump.run(60.0)
    assert status == _scan.STOPPED
    assert time.monotonic() - started < 10
    pump.close()


def test_a_set_cannot_be_closed_while_a_pump_holds_it(open_set, tmp_path):
    known = open_set(BAD)
    pump = _scan.Pump(paths_feed(tmp_path), sets=[(known.file, _scan.ASK)], kinds=["md5"])
    with pytest.raises(SetError, match="in use"):
        known.close()
    pump.close()
    known.close()


def test_pumps_share_a_feed_and_lose_nothing(known, tmp_path):
    for number in range(3000):
        (tmp_path / f"{number}").write_bytes(b"%d" % (number % 100))
    feed = _scan.Feed(_scan.Walker(tmp_path))
    pumps = [_scan.Pump(feed, sets=[(known.file, _scan.ASK)], kinds=["md5"]) for _ in range(4)]

    def work(pump):
        while pump.run(1.0)[0] != _scan.DONE:
            pass

    threads = [threading.Thread(target=work, args=(pump,)) for pump in pumps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(pump.counters()["no_match"] for pump in pumps) == 3000
    for pump in pumps:
        pump.close()


def test_two_scanners_in_two_threads_share_one_set(known, tmp_path):
    for number in range(500):
        (tmp_path / f"{number}").write_bytes(BAD if number % 100 == 0 else b"%d" % number)
    summaries = []

    def work():
        with Scanner(known) as scanner:
            *outcomes, summary = scanner.scan(tmp_path)
            summaries.append((len(outcomes), summary.matched, summary.seen))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert summaries == [(5, 5, 500)] * 2
