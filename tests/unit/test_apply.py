"""Applying and writing deltas: the live name holds the old or the new complete set, and nothing else stays."""

import os
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hashsieve import HashSet, Listing, Role, apply_delta, compile_lists
from hashsieve.errors import OutputError, UsageError
from hashsieve.hashset.compile import SetWriter
from hashsieve.hashset.delta import make_delta
from hashsieve.hashset.scratch import ScratchFolder

sys.path.insert(0, str(Path(__file__).parent))
from apply_kills import kill_while_applying

LISTING = Listing("list", Role.KNOWN_BAD)


def build(path, first, count, generation):
    writer = SetWriter(generation=generation)
    writer.add_packed("md5", random.Random(1).randbytes(16 * (first + count))[16 * first :], LISTING)
    return writer.write(path)


def names(folder):
    return sorted(entry.name for entry in os.scandir(folder))


@pytest.fixture
def releases(tmp_path):
    """Sets 1 and 2 of 5000 entries each, half of them shared, set 3, and the deltas between them."""
    folder = tmp_path / "releases"
    folder.mkdir()
    for number in (1, 2, 3):
        build(folder / f"{number}.hset", 2500 * number, 5000, number)
        if number > 1:
            with HashSet.open(folder / f"{number - 1}.hset") as old, HashSet.open(folder / f"{number}.hset") as new:
                make_delta(old, new, folder / f"{number}.hdelta")
    return folder


def write_list(path, numbers):
    path.write_text("".join(f"{n:032x}\n" for n in numbers))
    return path


# ---------------------------------------------------------------- compile with a base


def test_compiling_with_a_base_writes_the_delta_and_nothing_else(tmp_path):
    old = write_list(tmp_path / "old.txt", range(1, 100))
    new = write_list(tmp_path / "new.txt", range(11, 120))
    how = {"role": "known-bad", "source": "list"}
    first = compile_lists([old], tmp_path / "old.hset", **how)
    made = compile_lists([new], tmp_path / "d.hdelta", base=tmp_path / "old.hset", **how)
    assert names(tmp_path) == ["d.hdelta", "new.txt", "old.hset", "old.txt"]
    full = compile_lists([new], tmp_path / "full.hset", generation=2, **how)
    assert (made.generation, made.root, made.entries) == (2, full.root, full.entries)
    assert (made.path, made.delta.base, made.delta.rows) == (str(tmp_path / "d.hdelta"), first.root, 30)
    assert made.delta.file_bytes == (tmp_path / "d.hdelta").stat().st_size
    apply_delta(tmp_path / "old.hset", tmp_path / "d.hdelta", tmp_path / "new.hset")
    assert (tmp_path / "new.hset").read_bytes() == (tmp_path / "full.hset").read_bytes()


def test_a_generation_that_is_not_higher_is_refused_before_the_lists_are_read(tmp_path):
    one = write_list(tmp_path / "one.txt", [1])
    compile_lists([one], tmp_path / "old.hset", role="known-bad", generation=7)
    for generation in (7, 6, 0, 2**63):
        with pytest.raises(UsageError, match="has generation 7"):
            compile_lists([tmp_path / "none.txt"], tmp_path / "d", role="known-bad", base=tmp_path / "old.hset",
                          generation=generation)  # fmt: skip
    made = compile_lists([one], tmp_path / "d", role="known-bad", base=tmp_path / "old.hset", generation=70)
    assert made.generation == 70
    compile_lists([one], tmp_path / "last.hset", role="known-bad", generation=2**63 - 1)
    with pytest.raises(UsageError, match=str(2**63 - 1)):
        compile_lists([one], tmp_path / "d2", role="known-bad", base=tmp_path / "last.hset")
    assert names(tmp_path) == ["d", "last.hset", "old.hset", "one.txt"]


def test_the_base_is_never_written_over(tmp_path):
    one = write_list(tmp_path / "one.txt", [1])
    compile_lists([one], tmp_path / "old.hset", role="known-bad")
    before = (tmp_path / "old.hset").read_bytes()
    with pytest.raises(OutputError, match="one of the files to read"):
        compile_lists([one], tmp_path / "old.hset", role="known-bad", base=tmp_path / "old.hset")
    assert (tmp_path / "old.hset").read_bytes() == before


def test_an_output_that_cannot_be_is_told_before_the_work(tmp_path, releases):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")

    def never(stage, done, total):
        raise AssertionError("the work began")

    for output in ("none/x", "folder", "folder/", "link", "", "/dev/full"):
        out = output if output in ("", "/dev/full") else f"{tmp_path}/{output}"
        with pytest.raises(OutputError) as caught:
            apply_delta(releases / "1.hset", releases / "2.hdelta", out, progress=never)
        assert out in str(caught.value)
        with pytest.raises(OutputError):
            compile_lists([releases / "none"], out, role="known-bad", base=releases / "1.hset", progress=never)
    assert names(tmp_path) == ["folder", "link", "releases"]
    assert names(tmp_path / "folder") == []


# ---------------------------------------------------------------- stopped, killed, no room


def test_whatever_raises_in_the_middle_leaves_no_trace(releases):
    class Stop(BaseException):
        pass

    def stop_at(wanted):
        def progress(stage, done, total):
            stages.append(stage)
            if stage == wanted:
                raise Stop

        return progress

    lists = [write_list(releases / "list.txt", range(17000))]
    before = names(releases)
    out = releases / "out"

    def apply(progress):
        apply_delta(releases / "1.hset", [releases / "2.hdelta", releases / "3.hdelta"], out, progress=progress)

    def compile_(progress):
        compile_lists(lists, out, role="known-bad", base=releases / "1.hset", progress=progress)

    for work, some in ((apply, {"base", "merge", "write"}), (compile_, {"read", "merge", "write", "compare"})):
        stages = []
        work(stop_at(None))
        out.unlink()
        all_stages = set(stages)
        assert some <= all_stages
        for wanted in sorted(all_stages):
            with pytest.raises(Stop):
                work(stop_at(wanted))
            assert names(releases) == before, wanted


def test_killed_while_applying_the_live_name_holds_the_old_or_the_new_set(tmp_path):
    said = kill_while_applying(tmp_path, kills=6, entries=3000, seed=2)
    assert said["wrong"] == 0
    assert said["old"] + said["new"] == 6
    assert said["left"] == []


def test_a_file_size_limit_leaves_the_old_set(releases):
    out = releases / "out.hset"
    shutil.copy(releases / "1.hset", out)
    old, size = out.read_bytes(), out.stat().st_size
    before = names(releases)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 1, 4096, 5000, size // 2, size - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(OutputError, match="free space"):
                apply_delta(releases / "1.hset", [releases / "2.hdelta", releases / "3.hdelta"], out)
            if limit < (releases / "2.hdelta").stat().st_size:
                with (
                    HashSet.open(releases / "1.hset") as a,
                    HashSet.open(releases / "2.hset") as b,
                    pytest.raises(OutputError, match="free space"),
                ):
                    make_delta(a, b, releases / "new.hdelta")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert out.read_bytes() == old
        assert names(releases) == before
    apply_delta(releases / "1.hset", [releases / "2.hdelta", releases / "3.hdelta"], out)
    assert out.read_bytes() == (releases / "3.hset").read_bytes()


def test_a_full_disk_leaves_the_old_set(tmp_path, releases):
    """A file system of its own in a user namespace, with room for one set but not for two."""
    code = """
import os, shutil, sys
from hashsieve import apply_delta
from hashsieve.errors import OutputError
small, releases = sys.argv[1:]
live = small + "/live.hset"
shutil.copy(releases + "/1.hset", live)
old = open(live, "rb").read()
try:
    apply_delta(live, [releases + "/2.hdelta"], live)
except OutputError as problem:
    print(problem)
assert open(live, "rb").read() == old
assert os.listdir(small) == ["live.hset"]
print("done")
"""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    script = 'mount -t tmpfs -o size=220k none "$1" || exit 77; exec "$2" -c "$3" "$1" "$4"'
    (tmp_path / "small").mkdir()
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, "sh", tmp_path / "small", sys.executable, code, releases],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if done.returncode and ("unshare" in done.stderr or done.returncode == 77):
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    assert "No space left on device; free space" in done.stdout, done.stderr
    assert done.stdout.endswith("done\n")


# ---------------------------------------------------------------- the folder for unfinished work


def test_unfinished_work_lies_beside_the_output_for_its_owner_only(tmp_path):
    with ScratchFolder(tmp_path / "set.hset") as scratch:
        (name,) = names(tmp_path)
        assert name.startswith(".set.hset.")
        assert name.endswith(".hashsieve-tmp")
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o700
        assert os.path.dirname(scratch.path("x")) == str(tmp_path / name)
        Path(scratch.path("x")).write_bytes(b"x")
    assert names(tmp_path) == []


def test_folders_of_killed_work_go_but_not_those_of_the_living_or_of_another_name(tmp_path):
    left = tmp_path / ".set.hset.0123456789abcdef.hashsieve-tmp"
    other = tmp_path / ".other.hset.0123456789abcdef.hashsieve-tmp"
    link = tmp_path / ".set.hset.aaaaaaaaaaaaaaaa.hashsieve-tmp"
    for each in (left, other):
        each.mkdir()
        (each / "half").write_bytes(b"half")
    link.symlink_to(other)
    with ScratchFolder(tmp_path / "set.hset") as first:
        Path(first.path("mine")).write_bytes(b"mine")
        assert not left.exists()
        with ScratchFolder(tmp_path / "set.hset"):
            assert Path(first.path("mine")).read_bytes() == b"mine"
    assert names(tmp_path) == sorted([other.name, link.name])
    assert names(other) == ["half"]


def test_a_folder_taken_for_a_leftover_is_made_again(tmp_path, monkeypatch):
    from hashsieve.hashset import scratch

    real, taken = scratch.fcntl.flock, []

    def flock(fd, how):
        if not taken:
            taken.extend(names(tmp_path))
            os.rmdir(tmp_path / taken[0])
        real(fd, how)

    monkeypatch.setattr(scratch.fcntl, "flock", flock)
    with ScratchFolder(tmp_path / "set.hset"):
        assert taken
        assert len(names(tmp_path)) == 1
        assert names(tmp_path) != taken
    assert names(tmp_path) == []
