"""The scan pipeline itself, without the scanner around it: what it reads, what it tells, what it leaves alone."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import mmap
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashsieve import HashSet, Record, Scanner, Summary
from hashsieve import _scan as s
from hashsieve.errors import ForkError, KernelError, SetDamagedError, SetError, UsageError
from hashsieve.hashset.compile import SetWriter
from helpers import digest, record

BAD = b"listed content\n"
CHUNK = 32 * 1024  # what the pipeline reads at once
CONTENT = random.Random(9).randbytes(1 << 20)
PLANS = [("md5",), ("sha1",), ("sha256",), ("md5", "sha1"), ("sha1", "sha256"), ("md5", "sha1", "sha256")]
EXTERNAL = [("blake3",), ("md5", "blake3"), ("md5", "sha1", "sha256", "blake3")]


@pytest.fixture
def known(open_set: Any) -> HashSet:
    return open_set(BAD)


@pytest.fixture
def optional_faults() -> Any:
    """A system that misbehaves on request, with the calls that a system may lack."""
    module = pytest.importorskip("hashsieve_faults", reason="built without HASHSIEVE_TEST_MODULES=1")
    return module.Faults(optional=True)


def make_pump(feed: s.Feed, *sets: HashSet | tuple[HashSet, int], **options: Any) -> s.Pump:
    """A pump over these sets; hits are asked about unless a ruling is given."""
    pairs = [each if isinstance(each, tuple) else (each, s.ASK) for each in sets]
    options.setdefault("kinds", ["md5"])
    return s.Pump(feed, sets=[(known.file, ruling) for known, ruling in pairs], **options)


def files(*paths: Any, **options: Any) -> s.Feed:
    return s.Feed(files=[(path, -1) for path in paths], **options)


def drain(pump: s.Pump, seconds: float = 0.05) -> list[s.PipeEvent]:
    """Everything it tells until it is done."""
    told: list[s.PipeEvent] = []
    while True:
        status, events = pump.run(seconds)
        told += events
        if status == s.DONE:
            return told
        assert status in (s.TICK, s.FULL), status


def pumped(
    feed: s.Feed, *sets: HashSet | tuple[HashSet, int], **options: Any
) -> tuple[list[s.PipeEvent], dict[str, int]]:
    """All events and the counters at the end."""
    pump = make_pump(feed, *sets, **options)
    try:
        return drain(pump), pump.counters()
    finally:
        pump.close()


def by_name(events: Iterable[s.PipeEvent]) -> dict[str, s.PipeEvent]:
    """Events by the last part of their path; every path at most once."""
    found: dict[str, s.PipeEvent] = {}
    for event in events:
        name = os.fsdecode(os.path.basename(event.path))
        assert name not in found, name
        found[name] = event
    return found


def kinds_of(events: Iterable[s.PipeEvent]) -> dict[str, int]:
    return {name: event.event for name, event in by_name(events).items()}


def is_closed(fd: int) -> bool:
    return not os.path.exists(f"/proc/self/fd/{fd}")


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# ---- where files come from ---------------------------------------------------------------------------------------


def test_paths_and_descriptors_are_taken_in_one_feed(tmp_path, known):
    contents = {f"file-{n}": CONTENT[: n * 97] for n in range(1, 60)} | {"bad": BAD}
    handed = []
    for number, (name, data) in enumerate(contents.items()):
        path = write(tmp_path / name, data)
        handed.append((path, os.open(path, os.O_RDONLY) if number % 2 else -1))
    events, counters = pumped(s.Feed(files=handed), known, tell_all=True)
    told = by_name(events)
    assert set(told) == set(contents)
    for name, data in contents.items():
        assert told[name].event == (s.HIT if name == "bad" else s.NO_MATCH)
        assert told[name].digests == {"md5": hashlib.md5(data).digest()}
        assert told[name].before.size_bytes == told[name].bytes_read == len(data)
        assert told[name].path == os.fsencode(tmp_path / name)
    assert counters["no_match"] == len(contents) - 1
    assert counters["bytes_read"] == sum(map(len, contents.values()))
    assert told["bad"].file is not None
    told["bad"].file.close()
    assert all(is_closed(fd) for _, fd in handed if fd >= 0)


def test_a_descriptor_is_read_from_its_start_and_its_offset_and_flags_stay(tmp_path, known):
    path = write(tmp_path / "bad", BAD)
    own = os.open(path, os.O_RDONLY)
    os.lseek(own, 5, os.SEEK_SET)
    flags = fcntl.fcntl(own, fcntl.F_GETFL)
    ((event,), _) = pumped(s.Feed(files=[(b"", os.dup(own))]), known)
    assert event.event == s.HIT
    assert event.path == b""
    assert os.lseek(own, 0, os.SEEK_CUR) == 5
    assert fcntl.fcntl(own, fcntl.F_GETFL) == flags
    os.close(own)


def test_a_descriptor_of_a_deleted_file_is_read(tmp_path, known):
    path = write(tmp_path / "bad", BAD)
    fd = os.open(path, os.O_RDONLY)
    path.unlink()
    ((event,), _) = pumped(s.Feed(files=[(path, fd)]), known)
    assert (event.event, event.settled) == (s.HIT, True)


def test_a_hit_comes_with_its_open_file(tmp_path, known):
    path = write(tmp_path / "bad", BAD)
    ((event,), counters) = pumped(files(path), known)
    assert event.event == s.HIT
    assert event.settled
    assert not event.linked
    assert event.file is not None
    buffer = bytearray(100)
    assert event.file.pread_into(buffer, 0) == len(BAD)
    assert event.file.path == os.fsencode(path)
    assert event.file.stat() == event.before == event.after
    fd = event.file.fileno()
    event.file.close()
    assert is_closed(fd)
    assert counters["no_match"] == 0


def test_what_is_no_file_is_told_and_never_read(tmp_path, known):
    write(tmp_path / "file", b"x")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(tmp_path):
        server.bind("socket")
    ends = os.pipe()
    os.write(ends[1], b"tokens")
    kept = os.dup(ends[0])
    names = ["link", "fifo", "directory", "socket", "missing", "file/below", "/dev/null"]
    feed = s.Feed(files=[*((tmp_path / name, -1) for name in names), (b"pipe", ends[0])])
    events, counters = pumped(feed, known)
    told = by_name(events)
    assert {name: (e.event, e.detail) for name, e in told.items()} == {
        "link": (s.PIPE_SPECIAL, "symlink"),
        "fifo": (s.PIPE_SPECIAL, "fifo"),
        "directory": (s.PIPE_SPECIAL, "directory"),
        "socket": (s.PIPE_SPECIAL, "socket"),
        "missing": (s.PIPE_GONE, None),
        "below": (s.PIPE_ERROR, "open"),
        "null": (s.PIPE_SPECIAL, "char"),
        "pipe": (s.PIPE_SPECIAL, "fifo"),
    }
    assert told["below"].errno_ == errno.ENOTDIR
    assert counters["bytes_read"] == counters["no_match"] == 0
    assert os.read(kept, 100) == b"tokens"
    os.close(kept)
    os.close(ends[1])


def test_a_descriptor_that_is_none_is_an_error_of_its_own(tmp_path, known):
    fd = os.open(tmp_path, os.O_RDONLY)
    write_only = os.open(tmp_path / "write-only", os.O_WRONLY | os.O_CREAT)
    os.write(write_only, b"text")
    os.close(fd)
    events, _ = pumped(s.Feed(files=[(b"closed", fd), (b"write-only", write_only)]), known)
    assert {name: (e.event, e.detail, e.errno_) for name, e in by_name(events).items()} == {
        "closed": (s.PIPE_ERROR, "stat", errno.EBADF),
        "write-only": (s.PIPE_ERROR, "read", errno.EBADF),
    }
    assert is_closed(write_only)


def test_descriptors_that_were_never_taken_stay_the_callers(tmp_path, known):
    path = write(tmp_path / "file", b"x")
    fds = [os.open(path, os.O_RDONLY) for _ in range(3)]
    make_pump(s.Feed(files=[(path, fd) for fd in fds]), known).close()
    assert not any(is_closed(fd) for fd in fds)
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize("kinds", [*PLANS, *EXTERNAL], ids="+".join)
def test_every_name_of_a_walk_is_told_once_with_digests_of_all_planned_kinds(tmp_path, known, kinds):
    source = random.Random(str(kinds))
    contents = {}
    for number in range(150):
        directory = tmp_path / str(number % 7) / str(number % 3)
        directory.mkdir(parents=True, exist_ok=True)
        length = source.choice([0, 1, 55, 56, 63, 64, 65, 4096, CHUNK - 1, CHUNK, CHUNK + 1, source.randrange(300_000)])
        contents[f"file-{number}"] = CONTENT[number : number + length]
        write(directory / f"file-{number}", contents[f"file-{number}"])
    (tmp_path / "1" / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "2" / "fifo")
    with s.Walker(tmp_path) as walker:
        events, counters = pumped(s.Feed(walker), known, kinds=kinds, tell_all=True)
    told = by_name(events)
    assert {name: (e.event, e.walk_event, e.detail) for name, e in told.items() if name not in contents} == {
        "link": (s.WALK, s.SPECIAL, "symlink"),
        "fifo": (s.WALK, s.SPECIAL, "fifo"),
    }
    for name, data in contents.items():
        assert told[name].event == s.NO_MATCH
        assert told[name].digests == {kind: digest(kind, data) for kind in kinds}, (name, len(data))
    assert counters["no_match"] == len(contents)
    assert counters["gated_empty"] == sum(not data for data in contents.values())
    assert counters["bytes_read"] == sum(map(len, contents.values()))


def test_a_walk_tells_what_it_skips_and_cannot_list(tmp_path, known, faults):
    for name in ("skipped", "locked", "open"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / f"in-{name}", b"x")
    faults.fail("open", errno.EACCES, name=b"locked", how="dir")
    walker = s.Walker(tmp_path, skip=[(tmp_path / "skipped", "by-rule:test")], os=faults.capsule)
    events, counters = pumped(s.Feed(walker), known, os=faults.capsule)
    assert {name: (e.event, e.walk_event, e.errno_, e.detail) for name, e in by_name(events).items()} == {
        "skipped": (s.WALK, s.SKIPPED, 0, "by-rule:test"),
        "locked": (s.WALK, s.ERROR, errno.EACCES, "open"),
    }
    assert counters["no_match"] == 1


def test_a_walk_that_feeds_pumps_is_not_to_be_used_beside_them(tmp_path, known):
    for number in range(100):
        write(tmp_path / str(number), CONTENT[:9999])
    walker = s.Walker(tmp_path)
    feed = s.Feed(walker)
    with pytest.raises(UsageError, match="belongs to a Feed"):
        walker.next_batch()
    with pytest.raises(UsageError, match="another Feed"):
        s.Feed(walker)
    pump = make_pump(feed, known)
    pump.run(0)
    walker.close()  # waits for the feed
    drain(pump)
    assert pump.counters()["no_match"] == 100
    pump.close()
    closed = s.Walker(tmp_path)
    closed.close()
    with pytest.raises(UsageError, match="closed"):
        s.Feed(closed)


def test_a_dropped_feed_lets_go_of_its_walk(tmp_path, known):
    (tmp_path / "a/b/c").mkdir(parents=True)
    write(tmp_path / "a/b/c/file", b"x")
    write(tmp_path / "file", b"x")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with s.Walker(tmp_path) as walker:
            pump = make_pump(s.Feed(walker), known)
            pump.run(0)
            pump.close()
        del pump, walker
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("arguments", [{}, {"walker": True, "files": []}])
def test_a_feed_takes_a_walk_or_files(tmp_path, arguments):
    if "walker" in arguments:
        arguments = arguments | {"walker": s.Walker(tmp_path)}
    with pytest.raises(UsageError):
        s.Feed(**arguments)


def test_no_files_are_done_at_once(known):
    assert pumped(s.Feed(files=[]), known)[0] == []


# ---- counters and rulings ----------------------------------------------------------------------------------------


def test_hits_that_cannot_be_a_match_are_counted_by_what_they_mean(tmp_path, open_set):
    good = open_set(record(b"good", role="known-good"))
    undecided = open_set(record(b"undecided", role="undecided"), record(b"both", role="undecided"))
    also_good = open_set(record(b"both", role="known-good"))
    bad = open_set(record(b"good and bad"))
    for data in (b"good", b"undecided", b"both", b"neither", b"good and bad"):
        write(tmp_path / data.decode(), data)
    sets = [(good, s.KNOWN_GOOD), (undecided, s.UNDECIDED), (also_good, s.KNOWN_GOOD), (bad, s.ASK)]
    events, counters = pumped(s.Feed(s.Walker(tmp_path)), *sets)
    assert kinds_of(events) == {"good and bad": s.HIT}
    assert (counters["no_match"], counters["known_good"], counters["undecided"]) == (4, 1, 2)


def test_the_published_test_text_is_asked_about_in_a_set_of_any_role(tmp_path, open_set):
    from hashsieve.hashset.testfile import TEST_TEXT

    write(tmp_path / "test", TEST_TEXT)
    for role, ruling in (("known-good", s.KNOWN_GOOD), ("undecided", s.UNDECIDED), ("known-bad", s.ASK)):
        events, _ = pumped(s.Feed(s.Walker(tmp_path)), (open_set(record(b"x", role=role)), ruling))
        assert kinds_of(events) == {"test": s.HIT}


def test_every_one_of_many_hits_is_told(tmp_path, known):
    for number in range(1000):
        write(tmp_path / f"bad-{number}", BAD)
        write(tmp_path / f"other-{number}", b"%d" % number)
    pump = make_pump(s.Feed(s.Walker(tmp_path)), known)
    told, status = [], None
    while status != s.DONE:
        status, events = pump.run(5)
        assert len(events) <= 64
        assert status in (s.FULL, s.DONE)
        told += [event.path for event in events if event.event == s.HIT]
    assert len(told) == len(set(told)) == 1000
    assert pump.counters()["no_match"] == 1000


def test_an_empty_file_is_on_no_list_that_means_anything(tmp_path, open_set):
    write(tmp_path / "empty", b"")
    events, counters = pumped(s.Feed(s.Walker(tmp_path)), open_set(record(b"")), tell_all=True)
    assert kinds_of(events) == {"empty": s.NO_MATCH}
    assert counters["gated_empty"] == counters["no_match"] == 1


# ---- gates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 1, 1000, CHUNK, 3 * CHUNK + 5])
def test_the_size_limit_is_exact(tmp_path, known, limit):
    sizes = {size for size in (0, limit - 1, limit, limit + 1, limit + 10 * CHUNK) if size >= 0}
    for size in sizes:
        write(tmp_path / str(size), CONTENT[:size])
    events, counters = pumped(s.Feed(s.Walker(tmp_path)), known, max_size_bytes=limit, tell_all=True)
    assert kinds_of(events) == {str(size): s.NO_MATCH if size <= limit else s.TOO_LARGE for size in sizes}
    assert counters["no_match"] == sum(size <= limit for size in sizes)
    assert counters["bytes_read"] == sum(size for size in sizes if size <= limit)
    told = by_name(events)
    for size in sizes:
        assert told[str(size)].before.size_bytes == size
        assert (told[str(size)].digests is None) == (size > limit)


def test_a_file_over_the_limit_is_not_opened_and_a_descriptor_of_one_is_not_read(tmp_path, known, faults):
    path = write(tmp_path / "large", CONTENT)
    events, _ = pumped(files(path), known, max_size_bytes=100, os=faults.capsule)
    assert [event.event for event in events] == [s.TOO_LARGE]
    assert faults.calls["open"] == 0
    feed = s.Feed(files=[(path, os.open(path, os.O_RDONLY))])
    events, counters = pumped(feed, known, max_size_bytes=100)
    assert [event.event for event in events] == [s.TOO_LARGE]
    assert counters["bytes_read"] == 0


def test_a_file_that_grows_over_the_limit_while_it_is_read_is_too_large(tmp_path, known, faults):
    limit = 4 * CHUNK
    path = write(tmp_path / "grows", CONTENT[:limit])

    def grow(name: bytes, offset: int, got: int) -> None:
        if offset < limit:
            with open(path, "ab") as file:
                file.write(CONTENT[:CHUNK])

    faults.after_read = grow
    ((event,), counters) = pumped(files(path), known, max_size_bytes=limit, os=faults.capsule)
    assert event.event == s.TOO_LARGE
    assert event.digests is None
    assert limit < event.bytes_read <= limit + CHUNK
    assert counters["no_match"] == 0


def test_a_file_that_grew_over_the_limit_behind_the_last_read_has_moved_and_is_looked_up(tmp_path, known, faults):
    path = write(tmp_path / "grows", BAD)
    faults.after_read = lambda name, offset, got: os.truncate(path, 5000)
    ((event,), _) = pumped(files(path), known, max_size_bytes=100, os=faults.capsule)
    assert (event.event, event.settled) == (s.HIT, False)


FTYP = b"\0\0\0\x20ftyp"
MEDIA = {
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF", "jpeg-exif": b"\xff\xd8\xff\xe1\0\x10Exif",
    "jpeg-raw": b"\xff\xd8\xff\xdb\0C", "png": b"\x89PNG\r\n\x1a\n", "gif87": b"GIF87a", "gif89": b"GIF89a",
    "bmp": b"BM\x36\0\0\0", "webp": b"RIFF\1\2\3\4WEBPVP8 ", "tiff-le": b"II*\0\x08\0\0\0",
    "tiff-be": b"MM\0*\0\0\0\x08", "bigtiff-le": b"II+\0\x08\0", "bigtiff-be": b"MM\0+\0\x08", "ico": b"\0\0\1\0\1\0",
    "cur": b"\0\0\2\0\1\0", "psd": b"8BPS\0\1", "psb": b"8BPS\0\2", "jxl": b"\xff\x0a\0",
    "jxl-box": b"\0\0\0\x0cJXL \r\n\x87\n", "jp2": b"\0\0\0\x0cjP  \r\n\x87\n", "j2k": b"\xff\x4f\xff\x51\0",
    "qoi": b"qoif\0\0", "heic": FTYP + b"heic", "avif": FTYP + b"avif", "cr3": FTYP + b"crx ",
    "cr2": b"II*\0\x10\0\0\0CR\2\0", "orf": b"IIRO\x08\0", "rw2": b"IIU\0\x18\0", "raf": b"FUJIFILMCCD-RAW ",
    "x3f": b"FOVb\0\0", "exr": b"\x76\x2f\x31\x01\2\0", "dds": b"DDS |\0\0\0", "bpg": b"BPG\xfb\0",
    "mng": b"\x8aMNG\r\n\x1a\n", "jng": b"\x8bJNG\r\n\x1a\n", "djvu": b"AT&TFORM\0\0", "hdr": b"#?RADIANCE\n",
    "xcf": b"gimp xcf file\0", "ppm": b"P6\n640 480\n255\n", "pbm": b"P1 5 5\n", "pam": b"P7\nWIDTH 5\n",
    "svg": b"<svg xmlns=", "svg-xml": b'<?xml version="1.0"?><svg', "dicom": bytes(128) + b"DICM\2\0",
    "mp4": FTYP + b"isom", "mov": b"\0\0\0\x14ftypqt  ", "mov-old": b"\0\0\0\x08wide\0\0\1\0mdat",
    "mov-moov": b"\0\0\1\0moov", "3gp": FTYP + b"3gp5", "mkv": b"\x1a\x45\xdf\xa3\x93B\x82\x88matroska",
    "webm": b"\x1a\x45\xdf\xa3\x9fB\x86\x81\1webm", "avi": b"RIFF\1\2\3\4AVI LIST", "ogv": b"OggS\0\2\0\0",
    "flv": b"FLV\1\5\0\0\0\x09", "wmv": bytes.fromhex("3026b2758e66cf11a6d9"), "rm": b".RMF\0\0\0\x12",
    "mpeg-ps": b"\0\0\1\xba\x44", "mpeg-video": b"\0\0\1\xb3\x14", "mpeg4-visual": b"\0\0\1\xb0\1\0",
    "h264": b"\0\0\0\1\x67\x42", "hevc": b"\0\0\0\1\x40\1", "h264-short": b"\0\0\1\x67\x42", "mpeg-ts": b"G\x40\0\x10",
    "swf": b"CWS\x09", "m2ts": b"\0\0\0\0G\x40\0\x10", "ivf": b"DKIF\0\0\x20\0",
    "mxf": bytes.fromhex("060e2b34020501010d01"), "vcd": b"RIFF\1\2\3\4CDXA", "zip": b"PK\3\4\x14\0",
    "zip-empty": b"PK\5\6", "7z": b"7z\xbc\xaf\x27\x1c\0", "rar": b"Rar!\x1a\7\0", "rar5": b"Rar!\x1a\7\1\0",
    "pdf": b"%PDF-1.7\n", "ole": bytes.fromhex("d0cf11e0a1b11ae1"), "gz": b"\x1f\x8b\x08", "bz2": b"BZh9",
    "xz": b"\xfd7zXZ\0", "zst": b"\x28\xb5\x2f\xfd", "cab": b"MSCF\0\0",
    "tar": b"name".ljust(257, b"\0") + b"ustar\x0000", "sqlite": b"SQLite format 3\0",
}  # fmt: skip
NO_MEDIA = {
    "text": b"Lorem ipsum dolor sit amet", "elf": b"\x7fELF\2\1\1\0", "exe": b"MZ\x90\0\3",
    "python": b"#!/usr/bin/python\n", "html": b"<!DOCTYPE html><html>", "json": b'{"a": 1}',
    "wav": b"RIFF\1\2\3\4WAVEfmt ", "mp3": b"ID3\4\0\0", "flac": b"fLaC\0\0", "zeros": bytes(600),
    "ones": b"\xff" * 600, "short": b"x", "cut-png": b"\x89PNG\r\n", "cut-riff": b"RIFF\1\2\3\4WEB", "p8": b"P8\n",
    "page6": b"P6x", "java": b"\xca\xfe\xba\xbe\0\0", "ttf": b"\0\1\0\0\0\x12", "utf16": b"\xff\xfeh\0i\0",
    "cut-ftyp": b"\0\0\0\x20fty",
}  # fmt: skip


@pytest.mark.parametrize("length", [0, 5000, 3 * CHUNK])
def test_only_media_leaves_out_what_does_not_start_like_it(tmp_path, known, length):
    samples = MEDIA | (NO_MEDIA if length == 0 else {k: v for k, v in NO_MEDIA.items() if not k.startswith("cut")})
    for name, start in samples.items():
        write(tmp_path / name, start + b"\x55" * length)
    events, counters = pumped(s.Feed(s.Walker(tmp_path)), known, media_only=True, tell_all=True)
    assert kinds_of(events) == {name: s.NO_MATCH if name in MEDIA else s.NOT_MEDIA for name in samples}
    told = by_name(events)
    assert counters["no_match"] == len(MEDIA)
    for name in set(samples) - set(MEDIA):
        assert told[name].bytes_read <= CHUNK
        assert told[name].digests is None


def test_only_media_does_not_leave_out_empty_files_and_sniffs_short_reads_whole(tmp_path, known, faults):
    write(tmp_path / "empty", b"")
    for name, start in MEDIA.items():
        write(tmp_path / name, start + CONTENT[:50_000])
    faults.short_reads = True
    faults.fail("pread", errno.EINTR, every=3)
    walker = s.Walker(tmp_path, os=faults.capsule)
    events, counters = pumped(s.Feed(walker), known, media_only=True, os=faults.capsule)
    assert kinds_of(events) == {}
    assert counters["no_match"] == len(MEDIA) + 1


def test_a_listed_file_that_is_no_media_is_left_out_by_the_rule(tmp_path, known):
    write(tmp_path / "bad", BAD)
    assert kinds_of(pumped(s.Feed(s.Walker(tmp_path)), known, media_only=True)[0]) == {"bad": s.NOT_MEDIA}


def sized_set(path: Path, *records: Record) -> HashSet:
    writer = SetWriter(sizes="trusted")
    for each in records:
        writer.add(each)
    writer.write(path)
    return HashSet.open(path)


def test_the_known_sizes_gate_passes_what_has_a_listed_size_and_opens_nothing_else(tmp_path, faults):
    tree = tmp_path / "tree"
    tree.mkdir()
    for size in range(1, 200):
        write(tree / str(size), CONTENT[:size])
    listed = [CONTENT[:size] for size in (17, 64, 150)]
    with sized_set(tmp_path / "set", *(record(data, size_bytes=len(data)) for data in listed)) as known:
        sizes = s.Sizes()
        sizes.add_set(known.file)
        assert len(sizes) == 4  # the published test text has a size too
        assert [size for size in range(300) if size in sizes] == [17, 64, 68, 150]
        faults.record_opens = True
        walker = s.Walker(tree, os=faults.capsule)
        events, counters = pumped(s.Feed(walker), known, sizes=sizes, os=faults.capsule)
        assert kinds_of(events) == {"17": s.HIT, "64": s.HIT, "150": s.HIT}
        assert counters["gated_size"] == 195
        assert counters["no_match"] == 196
        assert counters["bytes_read"] == 17 + 64 + 68 + 150
        assert {name for name in faults.opened if name.isdigit()} == {b"17", b"64", b"68", b"150"}


def test_a_digest_listed_with_two_sizes_keeps_both(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for data in (BAD, b"x" * 999, b"x" * 5):
        write(tree / str(len(data)), data)
    records = [record(BAD, size_bytes=len(BAD)), record(BAD, size_bytes=999)]
    with sized_set(tmp_path / "set", *records) as known:
        sizes = s.Sizes()
        sizes.add_set(known.file)
        assert {len(BAD), 999} <= {size for size in range(1000) if size in sizes}
        events, counters = pumped(s.Feed(s.Walker(tree)), known, sizes=sizes)
    assert kinds_of(events) == {str(len(BAD)): s.HIT}
    assert counters["gated_size"] == 1


def test_the_published_test_file_passes_the_known_sizes_gate(tmp_path):
    from hashsieve.hashset.testfile import TEST_TEXT

    path = write(tmp_path / "test", TEST_TEXT)
    with sized_set(tmp_path / "set", record(b"x" * 7, size_bytes=7)) as known:
        sizes = s.Sizes()
        sizes.add_set(known.file)
        events, _ = pumped(files(path), known, sizes=sizes)
    assert [event.event for event in events] == [s.HIT]


def test_a_claim_to_be_empty_does_not_pass_for_a_size(tmp_path, faults):
    path = write(tmp_path / "kernel-file", BAD)
    faults.dress(name=os.fsencode(path), size_bytes=0)
    with sized_set(tmp_path / "set", record(BAD, size_bytes=len(BAD))) as known:
        sizes = s.Sizes()
        sizes.add_set(known.file)
        events, counters = pumped(files(path), known, sizes=sizes, os=faults.capsule)
    assert [(event.event, event.settled) for event in events] == [(s.HIT, False)]
    assert counters["gated_size"] == 0


def test_sizes_are_not_taken_from_a_set_where_an_entry_has_none(tmp_path):
    with sized_set(tmp_path / "set", record(b"a", size_bytes=1), record(b"b")) as known:
        sizes = s.Sizes()
        with pytest.raises(SetDamagedError, match="an entry has no size"):
            sizes.add_set(known.file)


def test_sizes_in_use_are_not_to_be_changed(tmp_path):
    with sized_set(tmp_path / "set", record(b"a", size_bytes=1)) as known:
        sizes = s.Sizes()
        sizes.add_set(known.file)
        pump = make_pump(s.Feed(files=[]), known, sizes=sizes)
        with pytest.raises(UsageError):
            sizes.add_set(known.file)
        pump.close()


def test_many_sizes_are_all_there(tmp_path):
    source = random.Random(1)
    listed = {source.randrange(1 << 40) for _ in range(20_000)} | {0, 2**62 - 1}
    records = (record(b"%d" % size, size_bytes=size) for size in listed)
    with sized_set(tmp_path / "set", *records) as known:
        sizes = s.Sizes()
        sizes.add_set(known.file)
        sizes.add_set(known.file)
    assert len(sizes) == len(listed | {68})
    assert all(size in sizes for size in listed)
    assert not any(size in sizes for size in (source.randrange(1 << 40) for _ in range(1000)) if size not in listed)
    assert 2**64 - 1 not in sizes


# ---- hard links --------------------------------------------------------------------------------------------------


def linked(directory: Path, name: str, data: bytes, count: int) -> list[Path]:
    first = write(directory / f"{name}-0", data)
    paths = [first, *(directory / f"{name}-{number}" for number in range(1, count))]
    for path in paths[1:]:
        os.link(first, path)
    return paths


def test_content_with_many_names_is_read_once(tmp_path, known):
    others = [write(tmp_path / f"between-{number}", b"%d" % number) for number in range(100)]
    other, bad = linked(tmp_path, "other", CONTENT[:50], 300), linked(tmp_path, "bad", BAD, 300)
    events, counters = pumped(files(other[0], bad[0], *others, *other[1:], *bad[1:]), known)
    assert Counter(event.event for event in events) == {s.HIT: 1, s.LINKED: 299}
    assert all(event.linked == (event.event == s.HIT) for event in events)
    assert counters["no_match"] == 400
    assert counters["bytes_read"] == 50 + len(BAD) + sum(len(b"%d" % number) for number in range(100))


def test_names_that_come_while_the_first_is_read_are_told_to_wait_for_it(tmp_path, known):
    feed = files(*linked(tmp_path, "other", CONTENT[:5000], 300))
    events, counters = pumped(feed, known)
    assert {event.event for event in events} <= {
        s.LINKED
    }  # with a single lane the first is read before the others come
    assert all(feed.link_state(event.before) == s.LINK_NOTHING for event in events)
    assert len(events) + counters["no_match"] == 300


def test_link_states(tmp_path, open_set):
    good, undecided = open_set(record(b"good", role="known-good")), open_set(record(b"undecided", role="undecided"))
    bad = open_set(BAD)
    states = {}
    feed_paths = []
    for data in (b"good", b"undecided", BAD, b"nothing", b"locked"):
        feed_paths += linked(tmp_path, data.decode().strip(), data, 2)[:1]
    single = write(tmp_path / "single", b"single")
    feed = files(*feed_paths, single)
    pumped(feed, (good, s.KNOWN_GOOD), (undecided, s.UNDECIDED), bad)
    for path in [*feed_paths, single]:
        states[path.name.removesuffix("-0")] = feed.link_state(s.stat_root(path))
    assert states == {
        "good": s.LINK_KNOWN_GOOD,
        "undecided": s.LINK_UNDECIDED,
        BAD.decode().strip(): s.LINK_ASK,
        "nothing": s.LINK_NOTHING,
        "locked": s.LINK_NOTHING,
        "single": 0,
    }
    # Another signature is another content.
    os.utime(feed_paths[3], ns=(1, 1))
    assert feed.link_state(s.stat_root(feed_paths[3])) == 0


def test_a_link_whose_first_name_failed_is_asked_about(tmp_path, known, faults):
    paths = linked(tmp_path, "file", b"x" * 100, 3)
    faults.fail("pread", errno.EIO, times=1)
    feed = files(*paths)
    events, counters = pumped(feed, known, os=faults.capsule)
    assert sorted(event.event for event in events) == [s.LINKED, s.LINKED, s.PIPE_ERROR]
    assert counters["no_match"] == 0
    assert feed.link_state(s.stat_root(paths[0])) == s.LINK_ASK


def test_beyond_the_limit_of_what_is_remembered_links_are_read_again(tmp_path, known):
    paths = linked(tmp_path, "bad", BAD, 10)
    events, counters = pumped(files(*paths, link_limit_count=0), known)
    assert [event.event for event in events] == [s.HIT] * 10
    assert not any(event.linked for event in events)
    assert counters["bytes_read"] == 10 * len(BAD)


def test_ten_thousand_linked_identities_are_all_remembered(tmp_path, known):
    paths = [path for number in range(5000) for path in linked(tmp_path, f"f{number}", b"%d" % number, 2)]
    feed = files(*sorted(paths, key=lambda path: path.name[::-1]))  # all first names, then all second ones
    events, counters = pumped(feed, known)
    assert counters["no_match"] == 10_000 - len(events)
    assert counters["bytes_read"] == sum(len(b"%d" % number) for number in range(5000))
    assert all(feed.link_state(s.stat_root(path)) == s.LINK_NOTHING for path in paths[::97])


def test_pumps_that_share_a_feed_share_its_links(tmp_path, known):
    paths = linked(tmp_path, "bad", BAD, 500) + linked(tmp_path, "other", b"other", 500)
    feed = files(*paths)
    told, counters = together([make_pump(feed, known) for _ in range(3)])
    kinds = Counter(event.event for event in told)
    assert kinds[s.HIT] == 1
    assert kinds[s.LINKED] + counters["no_match"] == 999
    assert counters["bytes_read"] == len(BAD) + len(b"other")


# ---- faults ------------------------------------------------------------------------------------------------------


def test_a_read_error_in_mid_file_ends_that_file_without_a_digest(tmp_path, known, faults):
    contents = {f"file-{n}": CONTENT[: 5 * CHUNK + n] for n in range(40)}
    for name, data in contents.items():
        write(tmp_path / name, data)
    faults.fail("pread", errno.EIO, name=b"file-7", nth=3)
    walker = s.Walker(tmp_path, os=faults.capsule)
    events, counters = pumped(s.Feed(walker), known, os=faults.capsule, tell_all=True)
    told = by_name(events)
    assert set(told) == set(contents)
    failed = told.pop("file-7")
    assert (failed.event, failed.detail, failed.errno_, failed.digests) == (s.PIPE_ERROR, "read", errno.EIO, None)
    assert failed.bytes_read == 2 * CHUNK
    assert all(event.digests == {"md5": hashlib.md5(contents[name]).digest()} for name, event in told.items())
    assert counters["no_match"] == 39
    assert faults.open_count == 0


@pytest.mark.parametrize("kinds", [("md5",), ("md5", "sha1", "sha256", "blake3")], ids="+".join)
def test_short_reads_and_interruptions_never_change_a_digest(tmp_path, known, faults, kinds):
    source = random.Random(4)
    contents = {f"file-{n}": CONTENT[n:][: source.randrange(200_000)] for n in range(200)}
    for name, data in contents.items():
        write(tmp_path / name, data)
    faults.short_reads = True
    for operation in ("open", "stat", "pread", "list"):
        faults.fail(operation, errno.EINTR, every=2)
    walker = s.Walker(tmp_path, os=faults.capsule)
    events, counters = pumped(s.Feed(walker), known, kinds=kinds, os=faults.capsule, tell_all=True)
    told = by_name(events)
    assert {name: event.digests for name, event in told.items()} == {
        name: {kind: digest(kind, data) for kind in kinds} for name, data in contents.items()
    }
    assert counters["bytes_read"] == sum(map(len, contents.values()))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_without_a_free_descriptor_nothing_is_dropped(tmp_path, known, faults, number):
    for each in range(300):
        write(tmp_path / f"file-{each}", b"%d" % each)
    write(tmp_path / "bad", BAD)
    faults.fail("open", number, every=3, times=150)
    faults.fail("open", number, first=200, times=20)  # also when nothing is in flight
    walker = s.Walker(tmp_path, os=faults.capsule)
    pump = make_pump(s.Feed(walker), known, os=faults.capsule, tell_all=True)
    told: list[s.PipeEvent] = []
    refused = 0
    status = s.TICK
    while status != s.DONE:
        status, events = pump.run(0.01)
        told += events
        assert status in (s.TICK, s.FULL, s.DONE, -errno.EMFILE, -errno.ENFILE)
        refused += status < 0
    assert refused
    assert kinds_of(told) == {f"file-{n}": s.NO_MATCH for n in range(300)} | {"bad": s.HIT}
    pump.close()


def test_a_file_that_waits_for_a_descriptor_is_taken_by_another_pump(tmp_path, known, faults):
    paths = [write(tmp_path / str(number), b"%d" % number) for number in range(5)]
    faults.fail("open", errno.EMFILE, times=1)
    feed = files(*paths)
    first, second = make_pump(feed, known, os=faults.capsule), make_pump(feed, known, tell_all=True)
    assert first.run(1) == (-errno.EMFILE, [])
    first.close()
    assert kinds_of(drain(second)) == {str(number): s.NO_MATCH for number in range(5)}


def test_names_that_vanish_or_change_their_type_are_told_as_what_they_are(tmp_path, known, faults):
    for name in ("gone", "stale", "link", "fifo", "directory", "stays"):
        write(tmp_path / name, b"content")
    faults.fail("open", errno.ESTALE, name=b"stale")

    def swap(name: bytes) -> None:
        path = tmp_path / os.fsdecode(name)
        if name not in (b"gone", b"link", b"fifo", b"directory"):
            return
        path.unlink(missing_ok=True)
        if name == b"link":
            path.symlink_to("stays")
        elif name == b"fifo":
            os.mkfifo(path)
        elif name == b"directory":
            path.mkdir()

    faults.before_open = swap
    walker = s.Walker(tmp_path, os=faults.capsule)
    events, counters = pumped(s.Feed(walker), known, os=faults.capsule)
    assert {name: (e.event, e.detail) for name, e in by_name(events).items()} == {
        "gone": (s.PIPE_GONE, None),
        "stale": (s.PIPE_GONE, None),
        "link": (s.PIPE_SPECIAL, "symlink"),
        "fifo": (s.PIPE_SPECIAL, "fifo"),
        "directory": (s.PIPE_SPECIAL, "directory"),
    }
    assert counters["no_match"] == 1
    assert not faults.callback_errors


@pytest.mark.parametrize("operation", ["open", "stat"])
def test_a_failure_before_the_read_is_the_outcome_of_one_name(tmp_path, known, faults, operation):
    for number in range(50):
        write(tmp_path / f"file-{number}", b"x")
    faults.fail(operation, errno.EACCES, name=b"file-3")
    faults.fail(operation, errno.EIO, name=b"file-4")
    walker = s.Walker(tmp_path, os=faults.capsule)
    events, counters = pumped(s.Feed(walker), known, os=faults.capsule)
    assert {name: (e.event, e.detail, e.errno_) for name, e in by_name(events).items()} == {
        "file-3": (s.PIPE_ERROR, operation, errno.EACCES),
        "file-4": (s.PIPE_ERROR, operation, errno.EIO),
    }
    assert counters["no_match"] == 48


@pytest.mark.parametrize("move", ["append", "truncate", "touch", "rewrite"])
@pytest.mark.parametrize("data", [b"harmless" * 10_000, BAD], ids=["other", "bad"])
def test_a_file_that_moves_under_the_read_is_told_with_its_digests(tmp_path, known, faults, move, data):
    path = write(tmp_path / "file", data)

    def disturb(name: bytes, offset: int, got: int) -> None:
        if offset + got < len(data):
            return
        if move == "append":
            os.truncate(path, len(data) + 1)
        elif move == "truncate":
            os.truncate(path, 1)
        elif move == "touch":
            os.utime(path, ns=(1, 1))
        else:
            path.write_bytes(data[::-1])

    faults.after_read = disturb
    ((event,), counters) = pumped(files(path), known, os=faults.capsule)
    assert event.event == (s.HIT if data == BAD else s.MOVED)
    assert not event.settled
    assert event.digests == {"md5": hashlib.md5(data).digest()}
    assert event.file is not None
    assert not event.before.same_signature(event.after)
    assert counters["no_match"] == 0


@pytest.mark.parametrize(("claim", "content"), [(0, 3000), (10_000, 4000), (4000, 10_000), (CHUNK, CHUNK - 1), (5, 0)])
def test_a_size_that_is_not_true_is_no_end_and_no_answer(tmp_path, known, faults, claim, content):
    path = write(tmp_path / "file", CONTENT[:content])
    faults.dress(name=os.fsencode(path), size_bytes=claim)
    ((event,), counters) = pumped(files(path), known, os=faults.capsule)
    assert (event.event, event.settled) == (s.MOVED, False)
    assert event.digests == {"md5": hashlib.md5(CONTENT[:content]).digest()}
    assert counters["bytes_read"] == content
    assert counters["no_match"] == counters["gated_empty"] == 0


def test_a_file_that_grows_as_fast_as_it_is_read_is_given_up(tmp_path, known, faults):
    path = write(tmp_path / "endless", CONTENT[:CHUNK])
    faults.after_read = lambda name, offset, got: os.truncate(path, offset + got + (1 << 20))
    ((event,), counters) = pumped(files(path), known, os=faults.capsule)
    assert (event.event, event.settled, event.digests) == (s.MOVED, False, None)
    assert event.file is not None
    assert 64 << 20 < counters["bytes_read"] <= (64 << 20) + 2 * CHUNK
    assert counters["no_match"] == 0


def test_content_that_is_elsewhere_is_never_opened(tmp_path, known, faults):
    for name in ("here", "recalled"):
        write(tmp_path / name, b"x")
    faults.dress(name=b"recalled", win_attributes=0x400000)
    faults.record_opens = True
    walker = s.Walker(tmp_path, os=faults.capsule)
    events, counters = pumped(s.Feed(walker), known, os=faults.capsule)
    assert kinds_of(events) == {"recalled": s.CLOUD_ONLY}
    assert b"recalled" not in faults.opened
    assert counters["no_match"] == 1


def test_a_pump_that_is_closed_in_the_middle_leaves_no_descriptor(tmp_path, known, faults):
    for number in range(100):
        write(tmp_path / str(number), CONTENT)
    walker = s.Walker(tmp_path, os=faults.capsule)
    feed = s.Feed(walker)
    pump = make_pump(feed, known, os=faults.capsule)
    pump.run(0)
    assert faults.open_count > 1
    pump.close()
    pump.close()
    with pytest.raises(UsageError):
        pump.run(1)
    with pytest.raises(UsageError):
        pump.counters()
    assert pump.slot_count == 0
    del pump, feed, walker
    assert faults.open_count == 0


# ---- holes -------------------------------------------------------------------------------------------------------


def has_holes(path: Path) -> bool:
    with open(path, "wb") as file:
        file.truncate(1 << 20)
        with contextlib.suppress(OSError):
            os.lseek(file.fileno(), 0, os.SEEK_DATA)
            return False
        return os.fstat(file.fileno()).st_blocks == 0


def lay_out(path: Path, size: int, pieces: Iterable[tuple[int, int]]) -> bytes:
    """A file of *size* with data at these places and holes elsewhere; its content."""
    with open(path, "wb") as file:
        file.truncate(size)
        for at, length in pieces:
            file.seek(at)
            file.write(CONTENT[at % 1000 :][: min(length, size - at)])
    return path.read_bytes()


PAGE = 4096
places = st.tuples(st.integers(0, 400).map(lambda n: n * PAGE // 2), st.integers(1, 5 * PAGE))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(1, 200 * PAGE),
    pieces=st.lists(places, max_size=12),
    kinds=st.sampled_from([("md5",), ("md5", "sha256"), ("sha1", "blake3")]),
)
def test_data_at_any_places_has_the_digest_of_a_plain_read(tmp_path, known, size, pieces, kinds):
    path = tmp_path / "sparse"
    data = lay_out(path, size, [(at, length) for at, length in pieces if at < size])
    ((event,), counters) = pumped(files(path), known, kinds=kinds, tell_all=True)
    assert event.event == s.NO_MATCH
    assert event.digests == {kind: digest(kind, data) for kind in kinds}
    assert event.bytes_read == size == counters["bytes_read"] + counters["hole_bytes"]


def test_holes_are_digested_and_not_read(tmp_path, known):
    if not has_holes(tmp_path / "probe"):
        pytest.skip("this file system does not tell where holes are")
    path = tmp_path / "sparse"
    size, at = (512 << 20) + 5, 256 << 20
    with open(path, "wb") as file:
        file.truncate(size)
        file.seek(at)
        file.write(b"data")
    hasher = hashlib.md5()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            hasher.update(piece)
    ((event,), counters) = pumped(files(path), known, tell_all=True)
    assert event.digests == {"md5": hasher.digest()}
    assert counters["bytes_read"] + counters["hole_bytes"] == size
    assert counters["bytes_read"] <= 4 * CHUNK
    assert s.stat_root(path).blocks_512 * 512 <= 4 * CHUNK


def test_a_listed_sparse_file_is_a_hit_and_one_that_only_begins_with_a_hole_is_no_media(tmp_path, open_set):
    data = lay_out(tmp_path / "listed", 50 * PAGE, [(20 * PAGE, 100)])
    lay_out(tmp_path / "hole-first", 50 * PAGE, [(20 * PAGE, 100)])
    known = open_set(record(data, "sha256"))
    ((event,), _) = pumped(files(tmp_path / "listed"), known, kinds=("sha256",))
    assert event.event == s.HIT
    ((event,), _) = pumped(files(tmp_path / "hole-first"), known, kinds=("sha256",), media_only=True)
    assert event.event == s.NOT_MEDIA


@pytest.mark.parametrize("refusal", [errno.EINVAL, errno.EOPNOTSUPP, errno.EINTR])
def test_where_holes_cannot_be_asked_for_the_file_is_read(tmp_path, known, optional_faults, refusal):
    data = lay_out(tmp_path / "sparse", 300 * PAGE, [(100 * PAGE, 5000)])
    optional_faults.fail("next-data", refusal)
    feed = files(tmp_path / "sparse")
    ((event,), counters) = pumped(feed, known, tell_all=True, os=optional_faults.capsule)
    assert event.digests == {"md5": hashlib.md5(data).digest()}
    assert (counters["bytes_read"], counters["hole_bytes"]) == (len(data), 0)


def test_a_hole_that_is_filled_meanwhile_is_told_as_moved(tmp_path, known, optional_faults):
    path = tmp_path / "sparse"
    lay_out(path, 300 * PAGE, [(200 * PAGE, 5000)])
    filled = []

    def fill(name: bytes) -> None:
        if optional_faults.calls["next-data"] and not filled:
            filled.append(True)
            with open(path, "r+b") as file:
                file.write(BAD)

    optional_faults.before_stat = fill
    ((event,), _) = pumped(files(path), known, os=optional_faults.capsule)
    assert event.event == s.MOVED


# ---- access times and the page cache -----------------------------------------------------------------------------


def old_access_time(path: Path) -> int:
    os.utime(path, ns=(10**9, 2 * 10**9))
    return os.stat(path).st_atime_ns


def moves_access_times(path: Path) -> bool:
    before = old_access_time(path)
    path.read_bytes()
    return os.stat(path).st_atime_ns != before


def test_access_times_of_own_files_stay(tmp_path, known):
    path = write(tmp_path / "own", b"x" * 10_000)
    if not moves_access_times(path):
        pytest.skip("this mount does not move access times")
    before = old_access_time(path)
    pumped(files(path), known)
    assert os.stat(path).st_atime_ns == before


def test_a_refusal_to_leave_access_times_alone_is_paid_once_a_mount(tmp_path, known, optional_faults):
    for number in range(100):
        write(tmp_path / f"file-{number}", b"x")
    optional_faults.fail("open", errno.EPERM, how="file-noatime")
    walker = s.Walker(tmp_path, os=optional_faults.capsule)
    _, counters = pumped(s.Feed(walker), known, os=optional_faults.capsule)
    assert counters["no_match"] == 100
    opens = optional_faults.calls["open"]
    assert opens <= 100 + 1 + 3  # one retry, and the directory itself
    # Own files are asked for the same by another call, once they are open.
    assert optional_faults.calls["noatime"] == 100


def test_access_times_of_own_files_stay_beside_those_of_others(tmp_path, cli, make_set):
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a file of another owner")
    own, foreign = write(tmp_path / "own", b"x"), write(tmp_path / "foreign", b"y")
    if not moves_access_times(own):
        pytest.skip("this mount does not move access times")
    os.chown(foreign, 12345, 12345)
    before = old_access_time(own)
    code = """if True:
        import sys
        from hashsieve import HashSet, _scan
        known = HashSet.open(sys.argv[1])
        feed = _scan.Feed(files=[(path, -1) for path in sys.argv[2:]])
        pump = _scan.Pump(feed, sets=[(known.file, 0)], kinds=["md5"])
        assert pump.run(10) == (0, [])
        print(pump.counters()["no_match"])
    """
    done = cli.python(code, make_set(b"z"), str(foreign), str(own), unprivileged=True)
    assert done.text == "2\n", done.err
    assert os.stat(own).st_atime_ns == before


def resident(path: Path) -> int:
    """Pages of the file in the page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        length = len(mapping)
        answer = (ctypes.c_ubyte * (-(-length // mmap.PAGESIZE)))()
        view = (ctypes.c_char * length).from_buffer(mapping)
        status = libc.mincore(ctypes.c_void_p(ctypes.addressof(view)), ctypes.c_size_t(length), answer)
        del view
        assert status == 0, os.strerror(ctypes.get_errno())
        return sum(page & 1 for page in answer)


def make_cold(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident(path):
        pytest.skip("this file system keeps its pages")


def reads_uncached(path: Path) -> bool:
    """Does the kernel have RWF_DONTCACHE for this file system?"""
    with open(path, "rb") as file:
        try:
            os.preadv(file.fileno(), [bytearray(100)], 0, 0x80)
        except OSError:
            return False
    return True


@pytest.mark.parametrize(("refused", "size"), [(False, 100_000), (False, 9 << 20), (True, 9 << 20)])
def test_the_page_cache_is_left_as_it_was(tmp_path, known, optional_faults, refused, size):
    warm, cold = (write(tmp_path / name, CONTENT[:1000] * (size // 1000)) for name in ("warm", "cold"))
    if not refused and not reads_uncached(warm):
        pytest.skip("this kernel cannot read past the page cache here")
    if refused:
        optional_faults.fail("uncached", errno.EOPNOTSUPP)
    make_cold(cold)
    pages = resident(warm)
    assert pages == -(-len(warm.read_bytes()) // mmap.PAGESIZE)
    make_cold(cold)
    _, counters = pumped(files(cold, warm), known, os=optional_faults.capsule)
    assert counters["no_match"] == 2
    assert resident(warm) == pages
    deadline = time.monotonic() + 5
    while (left := resident(cold)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left <= 8, f"{left} of {pages} pages stayed"


def test_a_large_file_never_fills_the_page_cache_while_it_is_read(tmp_path, known, faults):
    path = write(tmp_path / "cold", CONTENT * 64)
    make_cold(path)
    pump = make_pump(files(path), known)
    most = 0
    while pump.run(0.001)[0] != s.DONE:
        most = max(most, resident(path))
    assert 0 < most < (64 << 20) // mmap.PAGESIZE // 2


@pytest.mark.parametrize("how", ["error", "too large", "stopped"])
def test_a_large_file_that_is_given_up_leaves_no_pages_either(tmp_path, known, optional_faults, how):
    path = write(tmp_path / "cold", CONTENT * 9)
    make_cold(path)
    if how == "error":
        optional_faults.fail("pread", errno.EIO, nth=200)
    if how == "too large":
        optional_faults.dress(name=os.fsencode(path), size_bytes=6 << 20)
    limit = 6 << 20 if how == "too large" else None
    pump = make_pump(files(path), known, os=optional_faults.capsule, max_size_bytes=limit)
    if how == "stopped":
        pump.run(0)
        time.sleep(0.5)  # pages that are still on their way from the disk cannot be given back
    else:
        assert [event.event for event in drain(pump)] == [s.PIPE_ERROR if how == "error" else s.TOO_LARGE]
    pump.close()
    assert optional_faults.calls["uncached"] == 0
    assert resident(path) <= 8


@pytest.mark.parametrize("refused", [False, True])
def test_what_was_resident_in_part_is_not_thrown_out(tmp_path, known, optional_faults, refused):
    path = write(tmp_path / "half", CONTENT[:1000] * 8000)
    make_cold(path)
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for number in range(100):
            os.pread(file.fileno(), 1, number * mmap.PAGESIZE)
    before = resident(path)
    if refused:
        optional_faults.fail("uncached", errno.EOPNOTSUPP)
    pumped(files(path), known, os=optional_faults.capsule)
    assert resident(path) >= before >= 100
    assert optional_faults.calls["advise"] == 1  # that it is read from start to end


def test_where_residency_cannot_be_asked_nothing_is_thrown_out(tmp_path, known, optional_faults):
    path = write(tmp_path / "large", CONTENT * 2)
    optional_faults.fail("uncached", errno.EOPNOTSUPP)
    optional_faults.fail("resident", errno.ENOSYS)
    pages = resident(path)
    pumped(files(path), known, os=optional_faults.capsule)
    assert resident(path) == pages
    assert optional_faults.calls["advise"] == 1  # that it is read from start to end


def test_a_refusal_to_read_past_the_page_cache_is_paid_once_a_mount(tmp_path, known, optional_faults):
    for number in range(50):
        write(tmp_path / str(number), CONTENT[: 3 * CHUNK])
    optional_faults.fail("uncached", errno.EOPNOTSUPP)
    walker = s.Walker(tmp_path, os=optional_faults.capsule)
    _, counters = pumped(s.Feed(walker), known, os=optional_faults.capsule)
    assert counters["no_match"] == 50
    assert optional_faults.calls["uncached"] == 1


# ---- fairness, stretches and stopping ----------------------------------------------------------------------------


def test_small_files_are_told_before_a_large_one_ends(tmp_path, known):
    large = write(tmp_path / "large", CONTENT * 48)
    small = [write(tmp_path / f"small-{number}", CONTENT[number : number + 4096]) for number in range(2000)]
    pump = make_pump(files(large, *small), known, tell_all=True)
    lanes, events = pump.slot_count, drain(pump)
    pump.close()
    if lanes == 1:
        pytest.skip("a single lane has nothing to share")
    assert len(events) == 2001
    assert events[-1].path == os.fsencode(large)


def endless(tmp_path: Path) -> Path:
    path = tmp_path / "endless"
    with open(path, "wb") as file:
        try:
            file.truncate(1 << 40)
        except OSError as problem:
            pytest.skip(f"no file of this size here: {problem}")
    return path


def seconds_to_stop(pump: s.Pump, flag: s.StopFlag) -> float:
    asked = []

    def stop() -> None:
        time.sleep(0.1)
        asked.append(time.monotonic())
        flag.set()

    thread = threading.Thread(target=stop)
    thread.start()
    status, _ = pump.run(60)
    ended = time.monotonic()
    thread.join()
    assert status == s.STOPPED
    assert pump.run(60) == (s.STOPPED, [])
    return ended - asked[0]


@pytest.mark.parametrize("kinds", [("md5",), ("md5", "sha1", "sha256", "blake3")], ids="+".join)
def test_a_stop_in_the_middle_of_a_large_file_is_heard_within_a_tenth_of_a_second(tmp_path, known, kinds):
    path = endless(tmp_path)
    taken = []
    for _ in range(5):
        flag = s.StopFlag()
        pump = make_pump(files(path), known, kinds=kinds, stop=flag)
        taken.append(seconds_to_stop(pump, flag))
        pump.close()
        if taken[-1] < 0.1:
            return
    pytest.fail(f"{taken}")  # of five, since the machine may be busy


@pytest.mark.parametrize("read", [True, False])
def test_stretches_end_in_time_and_a_stop_is_heard_where_a_gate_lets_everything_by(tmp_path, read):
    path = write(tmp_path / "file", b"x")
    with sized_set(tmp_path / "set", record(b"xx", size_bytes=2)) as known:
        sizes = s.Sizes()
        if read:
            with sized_set(tmp_path / "more", record(b"y", size_bytes=1)) as more:
                sizes.add_set(more.file)
        sizes.add_set(known.file)
        flag = s.StopFlag()
        pump = make_pump(s.Feed(files=[(path, -1)] * 1_000_000), known, sizes=sizes, stop=flag)
        for _ in range(3):
            began = time.monotonic()
            status, _ = pump.run(0.02)
            assert status == s.TICK
            assert time.monotonic() - began < 1
        assert 0 < pump.counters()["no_match"] < 1_000_000
        assert seconds_to_stop(pump, flag) < 0.5
        assert not flag.is_set() or pump.counters()["no_match"] < 1_000_000
        pump.close()


def test_a_stretch_of_no_time_still_moves_on(tmp_path, known):
    for number in range(50):
        write(tmp_path / str(number), CONTENT[: number * 5000])
    pump = make_pump(s.Feed(s.Walker(tmp_path)), known)
    stretches = 0
    while pump.run(0)[0] != s.DONE:
        stretches += 1
        assert stretches < 100_000
    assert pump.counters()["no_match"] == 50


# ---- threads, forks, lifetimes -----------------------------------------------------------------------------------


def together(pumps: list[s.Pump]) -> tuple[list[s.PipeEvent], dict[str, int]]:
    """Runs pumps in threads at once; all events, and the sums of their counters."""
    told: list[s.PipeEvent] = []
    problems: list[BaseException] = []

    def work(pump: s.Pump) -> None:
        try:
            told.extend(drain(pump))
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(pump,)) for pump in pumps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    sums: Counter[str] = Counter()
    for pump in pumps:
        sums.update(pump.counters())
        pump.close()
    return told, dict(sums)


@pytest.mark.parametrize("kinds", [("md5",), ("sha1", "blake3")], ids="+".join)
def test_pumps_on_one_feed_share_the_work_and_tell_every_name_once(tmp_path, known, kinds):
    contents = {f"file-{n}": CONTENT[n : n * 37] for n in range(1, 1500)}
    for name, data in contents.items():
        write(tmp_path / name, data)
    feed = s.Feed(s.Walker(tmp_path))
    told, counters = together([make_pump(feed, known, kinds=kinds, tell_all=True) for _ in range(4)])
    events = by_name(told)
    assert {name: event.digests for name, event in events.items()} == {
        name: {kind: digest(kind, data) for kind in kinds} for name, data in contents.items()
    }
    assert counters["no_match"] == len(contents)


def test_two_scanners_on_one_set_at_once(tmp_path, known):
    for number in range(500):
        write(tmp_path / f"file-{number}", CONTENT[number : number * 50])
        write(tmp_path / f"bad-{number}", BAD)
    results: list[Summary] = []

    def work() -> None:
        with Scanner(known) as scanner:
            *_, summary = scanner.scan(tmp_path)
            assert isinstance(summary, Summary)
            results.append(summary)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(each.matched, each.no_match, each.incomplete) for each in results] == [(500, 500, 0)] * 2


def test_a_running_pump_is_neither_closed_nor_run_twice(tmp_path, known):
    flag = s.StopFlag()
    pump = make_pump(files(endless(tmp_path)), known, stop=flag)
    results: list[tuple[int, list[s.PipeEvent]]] = []
    thread = threading.Thread(target=lambda: results.append(pump.run(30)))
    thread.start()
    time.sleep(0.1)
    with pytest.raises(UsageError, match="running"):
        pump.close()
    with pytest.raises(UsageError, match="running"):
        pump.run(1)
    assert pump.counters()["hole_bytes"] > 0
    flag.set()
    thread.join()
    assert results == [(s.STOPPED, [])]
    pump.close()


def test_a_set_is_not_closed_under_a_pump_and_can_be_afterwards(tmp_path, make_set):
    path = write(tmp_path / "bad", BAD)
    known = HashSet.open(make_set(BAD))
    pump = make_pump(files(path), known)
    with pytest.raises(SetError):
        known.close()
    assert [event.event for event in drain(pump)] == [s.HIT]
    with pytest.raises(SetError):
        known.close()
    pump.close()
    known.close()
    again = HashSet.open(make_set(BAD))
    pump = make_pump(files(path), again)
    del pump  # dropped, not closed
    again.close()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"forced": {"md5": "nonesuch"}}, KernelError),
        ({"forced": {"blake3": "portable"}}, KernelError),
        ({"kinds": []}, UsageError),
        ({"kinds": ["sha1", "md5"]}, UsageError),
        ({"kinds": ["md5", "md5"]}, UsageError),
        ({"kinds": ["md5"] * 100}, UsageError),
        ({"kinds": ["crc32"]}, UsageError),
        ({"kinds": ["blake3", "md5"]}, UsageError),
        ({"max_size_bytes": -1}, OverflowError),
    ],
)
def test_a_pump_that_cannot_be_made_lets_go_of_the_set(tmp_path, make_set, options, problem):
    known = HashSet.open(make_set(BAD))
    with pytest.raises(problem):
        make_pump(files(tmp_path), known, **options)
    known.close()


def test_a_pump_over_a_closed_set_is_refused(tmp_path, make_set):
    known, open_one = HashSet.open(make_set(BAD)), HashSet.open(make_set(BAD))
    known.close()
    with pytest.raises(SetError):
        make_pump(files(tmp_path), open_one, known)
    open_one.close()


def test_in_a_forked_child_a_pump_says_so_and_the_parents_goes_on(tmp_path, known):
    for number in range(200):
        write(tmp_path / str(number), CONTENT[:50_000])
    feed = s.Feed(s.Walker(tmp_path))
    pump = make_pump(feed, known)
    pump.run(0)
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            answers = 0
            for call in (lambda: pump.run(1), lambda: feed.link_state(s.stat_root(tmp_path))):
                try:
                    call()
                except ForkError:
                    answers += 1
            pump.close()
            code = 0 if answers == 2 else 2
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    drain(pump)
    assert pump.counters()["no_match"] == 200
    pump.close()


def test_a_fork_while_a_pump_runs_elsewhere_leaves_the_child_usable(cli, make_set, tmp_path):
    endless(tmp_path)
    code = """if True:
        import os, sys, threading, time, warnings
        from hashsieve import HashSet, _scan
        warnings.simplefilter("ignore")
        known = HashSet.open(sys.argv[1])
        flag = _scan.StopFlag()
        feed = _scan.Feed(files=[(sys.argv[2], -1)])
        pump = _scan.Pump(feed, sets=[(known.file, 0)], kinds=["md5"], stop=flag)
        thread = threading.Thread(target=pump.run, args=(60,))
        thread.start()
        for _ in range(20):
            time.sleep(0.01)
            child = os.fork()
            if child == 0:
                del pump, feed
                path = sys.argv[2] + "-other"
                open(path, "wb").write(b"x")
                own = HashSet.open(sys.argv[1])
                other = _scan.Pump(_scan.Feed(files=[(path, -1)]), sets=[(own.file, 0)], kinds=["md5"])
                status, _ = other.run(10)
                os._exit(0 if status == 0 and other.counters()["no_match"] == 1 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        flag.set()
        thread.join()
        print("fine")
    """
    done = cli.python(code, make_set(b"z"), str(tmp_path / "endless"), timeout=60)
    assert (done.text, done.err, done.code) == ("fine\n", "", 0)


# ---- memory ------------------------------------------------------------------------------------------------------


def test_memory_is_flat_over_a_large_tree(cli, make_set, tmp_path):
    for number in range(12_000):
        directory = tmp_path / f"{number // 500:04}-{'x' * 150}"
        directory.mkdir(exist_ok=True)
        write(directory / f"file-{number}", CONTENT[number : number + number % 9000])
    write(tmp_path / "large", CONTENT * 64)
    code = """if True:
        import json, re, sys
        from hashsieve import HashSet, _scan
        known = HashSet.open(sys.argv[1])
        pump = _scan.Pump(_scan.Feed(_scan.Walker(sys.argv[2])), sets=[(known.file, 0)], kinds=["md5"])
        seen = []
        status = None
        while status != 0:
            status, _ = pump.run(0.01)
            text = open("/proc/self/smaps_rollup").read()
            dirty = int(re.search(r"^Private_Dirty: +([0-9]+) kB", text, re.M)[1])
            seen.append((pump.counters()["no_match"], dirty))
        print(json.dumps(seen))
    """
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("no /proc/self/smaps_rollup here")
    done = cli.python(code, make_set(b"z"), str(tmp_path), timeout=60)
    seen = json.loads(done.text)
    assert seen[-1][0] == 12_001
    early = next(dirty for count, dirty in seen if count > 500)
    assert seen[-1][1] - early < 3 * 1024, seen[:: max(1, len(seen) // 20)]


def test_a_thousand_pumps_leave_nothing(tmp_path, known):
    for number in range(30):
        write(tmp_path / str(number), CONTENT[:100_000])

    def once(close: bool) -> None:
        pump = make_pump(s.Feed(s.Walker(tmp_path)), known, kinds=("md5", "blake3"), tell_all=True)
        pump.run(0)
        if close:
            pump.close()

    def resident_kib() -> Iterator[int]:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                yield int(line.split()[1])

    for _ in range(50):
        once(True)
    before, descriptors = next(resident_kib()), len(os.listdir("/proc/self/fd"))
    for number in range(1000):
        once(bool(number % 2))
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert next(resident_kib()) - before < 8 * 1024
