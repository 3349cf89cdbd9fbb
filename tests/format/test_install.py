"""Private copies of sets: verified, owned, replaced whole, never by something older or broken."""

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hashsieve import HashSet
from hashsieve.errors import (
    OutputError,
    SetDamagedError,
    SetError,
    SetFormatError,
    SetRollbackError,
    SetSignatureError,
    UsageError,
)
from hashsieve.hashset.install import open_installed
from helpers import ENGINE, digest, record

sys.path.insert(0, str(Path(__file__).parent))
import set_maker

BAD, OTHER = b"listed content\n", b"other listed content\n"


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state" / "deep"


def copies(state):
    return sorted(path.name for path in (state / "sets").glob("*.hset"))


def knows(known, data=BAD):
    return known.find("md5", digest("md5", data)) is not None


def flip(path, offset):
    with open(path, "r+b", buffering=0) as file:
        (byte,) = os.pread(file.fileno(), 1, offset)
        os.pwrite(file.fileno(), bytes([byte ^ 1]), offset)


def test_a_copy_is_equal_private_and_what_is_opened(make_set, state):
    path = make_set(BAD, generation=7)
    os.chmod(path, 0o644)
    with HashSet.install(path, state) as known:
        assert Path(known.path).parent == state / "sets"
        assert Path(known.path).read_bytes() == Path(path).read_bytes()
        assert stat.S_IMODE(os.stat(known.path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(state / "sets").st_mode) == 0o700
        assert (known.generation, knows(known), knows(known, OTHER)) == (7, True, False)
        os.unlink(path)
        assert known.file_state() == "same"
        assert knows(known)
    with open_installed(state, "known") as again:
        assert again.root == known.root


def test_installing_the_same_again_copies_nothing(make_set, state):
    path = make_set(BAD)
    with HashSet.install(path, state) as known:
        before = os.stat(known.path)
        with HashSet.install(path, state) as again:
            assert os.stat(again.path).st_ino == before.st_ino
    assert len(copies(state)) == 1


def test_a_newer_one_takes_its_place_and_the_old_one_goes_while_it_is_read_on(make_set, state):
    older, newer = make_set(BAD, generation=1), make_set(OTHER, generation=2)
    with HashSet.install(older, state) as old, HashSet.install(newer, state) as new:
        assert (knows(old), knows(old, OTHER)) == (True, False)
        assert (knows(new), knows(new, OTHER)) == (False, True)
        old.verify()
        assert copies(state) == [os.path.basename(new.path)]


def test_an_older_one_is_refused_and_the_same_one_is_not(make_set, state):
    newer, older = make_set(BAD, generation=10), make_set(OTHER, generation=9)
    HashSet.install(newer, state).close()
    with pytest.raises(SetRollbackError, match=r"generation 9\b.*\b10\b") as told:
        HashSet.install(older, state)
    assert older in str(told.value)
    with HashSet.install(newer, state) as known:
        assert knows(known)
    with open_installed(state, "known") as known:
        assert known.generation == 10


def test_the_highest_generation_is_remembered_without_its_copy(make_set, state):
    HashSet.install(make_set(BAD, generation=10), state).close()
    shutil.rmtree(state / "sets")
    with pytest.raises(SetRollbackError):
        HashSet.install(make_set(BAD, generation=9), state)
    assert copies(state) == []
    with HashSet.install(make_set(BAD, generation=10), state) as known:
        assert knows(known)


def test_a_key_from_a_descriptor_is_read_once(state, tmp_path):
    key = bytes(range(32))
    records = [({"md5": bytes(16)}, None, ("list", "known-bad", None), None)]
    (tmp_path / "x.hset").write_bytes(set_maker.make(records, key=key))
    read, write = os.pipe()
    os.write(write, b"hashsieve seal key 1\n" + key.hex().encode() + b"\n")
    os.close(write)
    with HashSet.install(tmp_path / "x.hset", state, seal_key=f"fd:{read}") as known:
        assert known.find("md5", bytes(16)) == [0]


def test_the_signature_of_the_copy_counts_too(make_set, state):
    path = make_set(BAD)
    with pytest.raises(SetSignatureError):
        HashSet.install(path, state, trusted_keys=[bytes(32)])
    assert not (state / "sets").exists()


def test_names_keep_sets_apart(make_set, state):
    with (
        HashSet.install(make_set(BAD, generation=5), state, name="bad") as bad,
        HashSet.install(make_set(OTHER, generation=1), state, name="bad.more") as other,
        HashSet.install(make_set(BAD, generation=6), state, name="bad") as newer,
    ):
        assert (bad.generation, other.generation, newer.generation) == (5, 1, 6)
        with open_installed(state, "bad.more") as known:
            assert known.root == other.root
        assert len(copies(state)) == 2
    for name in ("", "../up", ".hidden", "a/b", "x" * 101, "naïve"):
        with pytest.raises(UsageError):
            HashSet.install(bad.path, state, name=name)


@pytest.mark.parametrize("file_name", ["Liste \u00fc.hset", ".hset", "x" * 240, "...", "-a.b"])
def test_any_file_name_gives_a_name_to_install_under(make_set, state, tmp_path, file_name):
    shutil.copy(make_set(BAD), tmp_path / file_name)
    with HashSet.install(tmp_path / file_name, state) as known:
        assert knows(known)
    with HashSet.install(tmp_path / file_name, state) as known:
        assert len(copies(state)) == 1


def test_every_page_is_verified_on_its_way(make_set, state):
    HashSet.install(make_set(BAD, generation=1), state).close()
    path = make_set(OTHER, generation=2)
    size = os.stat(path).st_size
    for offset in range(5, size, 1024):
        flip(path, offset)
        with pytest.raises((SetDamagedError, SetFormatError)) as told:
            HashSet.install(path, state)
        assert path in str(told.value), offset
        flip(path, offset)
        assert len(list((state / "sets").iterdir())) == 3, "copy, pointer and lock, and nothing left over"
        with open_installed(state, "known") as known:
            assert known.generation == 1
    os.truncate(path, size - 4096)
    with pytest.raises(SetFormatError):
        HashSet.install(path, state)


def test_an_installed_copy_that_was_damaged_is_made_anew(make_set, state):
    path = make_set(BAD)
    with HashSet.install(path, state) as known:
        copy = known.path
    flip(copy, 100)
    with HashSet.install(path, state) as known:
        known.verify()
        assert known.path == copy
    os.unlink(copy)
    with HashSet.install(path, state) as known:
        known.verify()


def test_a_pointer_that_names_no_copy_of_ours_is_not_followed(make_set, state, tmp_path):
    outside = shutil.copy(make_set(OTHER), tmp_path / "known.0000000000000000001.x.hset")
    HashSet.install(make_set(BAD), state).close()
    pointer = state / "sets" / "known.current"
    for text in (b"", b"\xff", b"../" + os.fsencode(os.path.basename(outside)), b"known.1.hset", b"x" * 10_000):
        pointer.write_bytes(text)
        with pytest.raises(SetError, match="no set"):
            open_installed(state, "known")
    with HashSet.install(make_set(BAD), state) as known:
        assert knows(known)
    with open_installed(state, "known") as known:
        assert knows(known)


def test_what_a_killed_install_left_is_removed(make_set, state):
    HashSet.install(make_set(BAD, generation=1), state).close()
    left = state / "sets" / ".known.0000000000000000002.abcdefabcdefabc.0123456789abcdef.hashsieve-tmp"
    left.write_bytes(b"half a set")
    others = [
        state / "sets" / f".{name}.0000000000000000002.abcdef.0123456789abcdef.hashsieve-tmp"
        for name in ("known-other", "known.other", "known.2", "know")
    ]
    for other in others:
        other.write_bytes(b"that of another name, perhaps still written")
    HashSet.install(make_set(BAD, generation=2), state).close()
    assert not left.exists()
    assert all(other.exists() for other in others)


def test_options_of_opening_count_for_source_and_copy(make_set, state):
    with HashSet.install(make_set(record(BAD, "md5", "sha1")), state, load=["sha1"]) as known:
        assert known.loaded("sha1")
        assert not known.loaded("md5")


@pytest.mark.parametrize("what", ["a file", "a link", "no rights"])
def test_a_state_directory_that_cannot_be_private_is_refused(make_set, tmp_path, what):
    path = make_set(BAD)
    state = tmp_path / "state"
    state.mkdir()
    if what == "a file":
        (state / "sets").write_bytes(b"")
    elif what == "a link":
        (tmp_path / "elsewhere").mkdir()
        (state / "sets").symlink_to(tmp_path / "elsewhere")
    else:
        state = Path("/proc/1/nothing")
    with pytest.raises(OutputError, match=str(state)):
        HashSet.install(path, state)


def test_a_directory_open_to_others_is_closed(make_set, state):
    (state / "sets").mkdir(parents=True, mode=0o777)
    os.chmod(state / "sets", 0o777)
    HashSet.install(make_set(BAD), state).close()
    assert stat.S_IMODE(os.stat(state / "sets").st_mode) == 0o700


def test_a_full_disk_leaves_what_was_installed(make_set, state):
    HashSet.install(make_set(BAD, generation=1), state).close()
    code = """
import resource, signal, sys
from hashsieve import HashSet
from hashsieve.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    HashSet.install(sys.argv[1], sys.argv[2])
except OutputError as problem:
    print(problem)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, make_set(OTHER, generation=2), state],
        env={**os.environ, "PYTHONPATH": ENGINE}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "nothing was published" in done.stdout
    assert len(list((state / "sets").iterdir())) == 3
    with open_installed(state, "known") as known:
        assert known.generation == 1


def test_many_installers_at_once_leave_the_newest(make_set, state):
    paths = [make_set(BAD, generation=number) for number in range(1, 9)]
    refused = []

    def install(path):
        try:
            known = HashSet.install(path, state)
            assert knows(known)
            known.close()
        except SetError as problem:
            refused.append(str(problem))

    threads = [threading.Thread(target=install, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_installed(state, "known") as known:
        assert known.generation == 8
        assert knows(known)
    assert len(copies(state)) == 1
    assert all(re.search("is installed already|is not taken back", text) for text in refused)
