"""Following a set: the newest good generation, nothing older or broken, flat over many replacements."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hashsieve
from hashsieve import follow
from hashsieve.errors import SetError, SetFormatError, UsageError
from helpers import ENGINE, digest, record

sys.path.insert(0, str(Path(__file__).parent))
import set_maker
from replace_sets import replaced_under_load

BAD, OTHER = b"listed content\n", b"other listed content\n"


class Clock:
    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def events():
    return []


@pytest.fixture
def path(make_set, tmp_path):
    return shutil.copy(make_set(BAD, generation=5), tmp_path / "followed.hset")


@pytest.fixture
def followed(path, clock, events):
    with follow(path, poll_seconds=10, clock=clock, on_event=events.append) as known:
        yield known


def put(path, source):
    shutil.copy(source, f"{path}.tmp")
    os.replace(f"{path}.tmp", path)


def knows(known, data=BAD):
    return known.find("md5", digest("md5", data)) is not None


def test_it_is_part_of_the_public_names():
    assert hashsieve.follow is follow
    assert "follow" in hashsieve.__all__


def test_a_replacement_is_noticed_when_the_time_has_come(followed, make_set, clock):
    old = followed.current
    put(followed.path, make_set(OTHER, generation=6))
    clock.seconds += 9.9
    assert followed.current is old
    clock.seconds += 0.2
    assert followed.current.generation == 6
    assert knows(followed.current, OTHER)
    assert knows(old)  # whoever holds it goes on with it


def test_refresh_looks_at_once(followed, make_set):
    assert not followed.refresh()
    put(followed.path, make_set(OTHER, generation=6))
    assert followed.refresh()
    assert not followed.refresh()
    assert followed.current.generation == 6


def test_the_same_generation_replaces_and_an_older_one_does_not(followed, make_set, events):
    put(followed.path, make_set(OTHER, generation=5))
    assert followed.refresh()
    assert knows(followed.current, OTHER)
    put(followed.path, make_set(BAD, generation=4))
    for _ in range(3):
        assert not followed.refresh()
    assert followed.current.generation == 5
    assert [event.kind for event in events] == ["set-refused"]
    assert followed.path in events[0].text
    assert "4" in events[0].text


def every_byte_of(make_set):
    with open(make_set(OTHER, generation=6), "rb") as file:
        return file.read()


@pytest.mark.parametrize("offset", [0, 40, 4096, 8192, 12288, 16384, 20480, -4096, -1])
def test_a_broken_replacement_is_refused_once_wherever_it_is_broken(followed, make_set, events, offset):
    data = bytearray(every_byte_of(make_set))
    data[offset] ^= 4
    with open(f"{followed.path}.tmp", "wb") as file:
        file.write(data)
    os.replace(f"{followed.path}.tmp", followed.path)
    for _ in range(3):
        assert not followed.refresh()
    assert followed.current.generation == 5
    assert knows(followed.current)
    assert [event.kind for event in events] == ["set-refused"]
    put(followed.path, make_set(OTHER, generation=6))
    assert followed.refresh()


def test_a_file_that_is_written_slowly_is_refused_once_and_taken_when_it_is_whole(tmp_path, path, make_set, events):
    data = every_byte_of(make_set)
    with follow(path, poll_seconds=0, on_event=events.append) as followed:
        with open(f"{path}.tmp", "wb", buffering=0) as file:
            file.write(data[:8192])
            os.replace(f"{path}.tmp", path)
            for start in range(8192, len(data) - 4096, 4096):
                file.write(data[start : start + 4096])
                assert followed.current.generation == 5
            file.write(data[len(data) - 4096 :])
        assert followed.current.generation == 6
        assert len(events) == 1


def test_a_path_that_is_gone_keeps_the_set_and_is_told_once(followed, make_set, events):
    os.unlink(followed.path)
    for _ in range(3):
        assert not followed.refresh()
    assert knows(followed.current)
    assert [event.kind for event in events] == ["set-gone"]
    put(followed.path, make_set(OTHER, generation=6))
    assert followed.refresh()
    os.unlink(followed.path)
    followed.refresh()
    assert [event.kind for event in events] == ["set-gone", "set-gone"]


def test_a_good_copy_of_the_same_set_replaces_one_damaged_in_place(followed, make_set, tmp_path):
    good = shutil.copy(followed.path, tmp_path / "good.hset")
    with open(followed.path, "r+b", buffering=0) as file:
        file.seek(4096)
        file.write(bytes(os.fstat(file.fileno()).st_size - 4096))
    assert not followed.refresh()
    with pytest.raises(SetError):
        knows(followed.current)
    put(followed.path, good)
    assert followed.refresh()
    assert knows(followed.current)


def test_without_a_good_set_at_the_start_there_is_nothing_to_follow(tmp_path):
    with pytest.raises(SetError, match="nothing-here"):
        follow(tmp_path / "nothing-here")
    (tmp_path / "text").write_bytes(b"text" * 10_000)
    with pytest.raises(SetFormatError):
        follow(tmp_path / "text")
    with pytest.raises(UsageError):
        follow(tmp_path, poll_seconds=-1)


def test_what_was_loaded_is_loaded_of_the_next_generation_too(tmp_path, make_set):
    path = shutil.copy(make_set(record(BAD, "md5", "sha1", "sha256")), tmp_path / "x")
    with follow(path, load=["md5"], poll_seconds=0) as followed:
        followed.current.load(["sha256"])
        put(path, make_set(record(OTHER, "md5", "sha1", "sha256"), generation=2))
        current = followed.current
        assert current.generation == 2
        assert [current.loaded(kind) for kind in ("md5", "sha1", "sha256")] == [True, False, True]


def test_a_relative_path_is_that_of_the_start(path, make_set, monkeypatch, tmp_path):
    monkeypatch.chdir(os.path.dirname(path))
    with follow(os.path.basename(path), poll_seconds=0) as followed:
        monkeypatch.chdir("/")
        assert followed.current.generation == 5
        put(path, make_set(OTHER, generation=6))
        assert followed.current.generation == 6


def test_after_close_nobody_gets_it_and_holders_keep_it(followed):
    held = followed.current
    followed.close()
    with pytest.raises(SetError, match="no longer"):
        followed.current  # noqa: B018
    assert not followed.refresh()
    assert knows(held)


def test_a_forked_child_follows_on_its_own(path, make_set):
    code = """
import os, sys, threading
from hashsieve import follow
followed = follow(sys.argv[1], poll_seconds=0)
followed._lock.acquire()  # another thread of the parent looks just now
child = os.fork()
if not child:
    os.replace(sys.argv[2], sys.argv[1])
    os._exit(0 if followed.current.generation == 6 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    source = shutil.copy(make_set(OTHER, generation=6), f"{path}.next")
    done = subprocess.run(
        [sys.executable, "-c", code, path, source], env={**os.environ, "PYTHONPATH": ENGINE}, timeout=30, check=False
    )
    assert done.returncode == 0


# ---------------------------------------------------------------- private copies


def test_with_a_state_directory_only_private_copies_are_opened(path, make_set, tmp_path, events):
    with follow(path, state_dir=tmp_path / "state", poll_seconds=0, on_event=events.append) as followed:
        assert os.path.dirname(followed.current.path) == str(tmp_path / "state" / "sets")
        with open(path, "r+b") as file:
            file.truncate(0)
        assert knows(followed.current)
        put(path, make_set(OTHER, generation=6))
        assert knows(followed.current, OTHER)
        put(path, make_set(BAD, generation=1))
        assert followed.current.generation == 6
        assert len(os.listdir(tmp_path / "state" / "sets")) == 3
        assert [event.kind for event in events] == ["set-refused"] * 2


def test_the_copy_of_an_earlier_run_serves_where_the_path_cannot(path, tmp_path, make_set, events):
    options = {"state_dir": tmp_path / "state", "name": "list", "poll_seconds": 0, "on_event": events.append}
    follow(path, **options).close()
    os.unlink(path)
    with follow(path, **options) as followed:
        assert knows(followed.current)
        assert [event.kind for event in events] == ["set-refused"]
        put(path, make_set(OTHER, generation=6))
        assert followed.current.generation == 6
    os.unlink(path)
    with pytest.raises(SetError):
        follow(path, state_dir=tmp_path / "other", name="list")


def test_the_key_of_sealed_sets_is_read_once_for_all_generations(tmp_path):
    def put_sealed(generation):
        records = [({"md5": bytes([generation] * 16)}, None, ("list", "known-bad", None), None)]
        (tmp_path / "new").write_bytes(set_maker.make(records, generation=generation, key=bytes(range(32))))
        os.replace(tmp_path / "new", tmp_path / "x.hset")

    keys = iter([bytes(range(32))])
    put_sealed(1)
    with follow(tmp_path / "x.hset", poll_seconds=0, seal_key=lambda: next(keys)) as followed:
        for generation in (1, 2, 3):
            put_sealed(generation)
            assert followed.current.find("md5", bytes([generation] * 16)) == [0]


# ---------------------------------------------------------------- flat


def test_memory_and_files_stay_flat_over_replacements_under_load(tmp_path):
    """A few of the replacements that bench/prove.py makes 200 of."""
    assert replaced_under_load(tmp_path, 15, 300_000) == []
