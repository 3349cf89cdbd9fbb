"""The memory of generations: an older set is refused, whoever signed it, and a damaged memory is no empty one."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashsieve import HashSet
from hashsieve.errors import OutputError, SetRollbackError, StateError, UsageError
from hashsieve.hashset.generations import Generations
from helpers import ENGINE


class Known:
    """As much of an open set as is remembered."""

    def __init__(self, generation, root=b"r" * 32):
        self.generation, self.root, self.path = generation, root, "set.hset"


def test_what_was_remembered_keeps_older_sets_out(tmp_path, make_set):
    memory = Generations(tmp_path / "state")
    paths = {n: make_set(b"one", generation=n) for n in (3, 4, 5)}
    assert memory.highest("list") is None
    memory.check("list", 0, "anything")
    for generation in (4, 4, 5):
        with HashSet.open(paths[generation]) as known:
            memory.remember("list", known)
    assert Generations(str(tmp_path / "state")).highest("list") == 5
    with HashSet.open(paths[4]) as known:
        with pytest.raises(SetRollbackError, match="is generation 4, and generation 5 of list"):
            memory.remember("list", known)
        memory.remember("another list", known)
    with pytest.raises(SetRollbackError):
        memory.check("list", 4, paths[4])
    assert (memory.highest("list"), memory.highest("another list")) == (5, 4)
    memory.forget("list")
    memory.forget("never heard of")
    assert memory.highest("list") is None
    assert os.stat(memory.path).st_mode & 0o077 == 0
    assert os.stat(tmp_path / "state").st_mode & 0o077 == 0
    with pytest.raises(UsageError):
        memory.remember("", Known(1))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "ü\udcff", "/x/y"]), st.integers(0, 2**63 - 1)), max_size=12))
def test_the_highest_of_each_source_is_kept(tmp_path_factory, steps):
    memory, model = Generations(tmp_path_factory.mktemp("state")), {}
    for source, generation in steps:
        if generation < model.get(source, 0):
            with pytest.raises(SetRollbackError):
                memory.remember(source, Known(generation))
        else:
            memory.remember(source, Known(generation))
            model[source] = generation
        assert {name: memory.highest(name) for name in model} == model


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"",
        lambda text: text[:-4],
        lambda text: text.replace(b"5", b'"5"', 1),
        lambda text: text.replace(b"5", b"-5", 1),
        lambda text: text.replace(b"root", b"r00t"),
        lambda text: text.replace(b'"version": 1', b'"version": 2'),
        lambda text: b"[]",
        lambda text: b"[" * 100_000,
        lambda text: b"\xff" * 9,
    ],
)
def test_a_damaged_memory_refuses(tmp_path, change):
    memory = Generations(tmp_path)
    memory.remember("list", Known(5))
    with open(memory.path, "rb") as file:
        text = change(file.read())
    with open(memory.path, "wb") as file:
        file.write(text)
    for question in (
        lambda: memory.highest("list"),
        lambda: memory.check("list", 9, "s"),
        lambda: memory.remember("list", Known(9)),
        lambda: memory.forget("list"),
    ):
        with pytest.raises(StateError, match=r"generations\.json: is damaged"):
            question()
    with open(memory.path, "rb") as file:
        assert file.read() == text


def test_places_that_cannot_be_written_or_read(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        Generations(tmp_path / "file").remember("list", Known(1))
    (tmp_path / "state" / "generations.json").mkdir(parents=True)
    with pytest.raises(StateError, match="cannot be read"):
        Generations(tmp_path / "state").highest("list")


def test_many_processes_lose_nothing(tmp_path):
    code = (
        "import sys\nfrom hashsieve.hashset.generations import Generations\n"
        "class Known: root, path = b'r' * 32, 's'\n"
        "memory = Generations(sys.argv[1])\n"
        "for n in range(15):\n    Known.generation = n\n    memory.remember(sys.argv[2], Known)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path, f"list {n}"], env=os.environ | {"PYTHONPATH": ENGINE})
        for n in range(3)
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    with open(tmp_path / "generations.json", "rb") as file:
        assert {name: each["generation"] for name, each in json.load(file)["sets"].items()} == {
            f"list {n}": 14 for n in range(3)
        }


def test_an_installed_set_is_remembered_even_when_its_copy_is_gone(tmp_path, make_set):
    state = tmp_path / "state"
    with HashSet.install(make_set(b"one", generation=5), state, name="list") as known:
        assert Generations(state).highest("list") == known.generation == 5
    for copy in (state / "sets").iterdir():
        copy.unlink()
    with pytest.raises(SetRollbackError, match="generation 5 of list was in use before"):
        HashSet.install(make_set(b"one", generation=4), state, name="list")
    with HashSet.install(make_set(b"one", generation=4), state, name="another"):
        pass
    with HashSet.install(make_set(b"two", generation=6), state, name="list"):
        assert Generations(state).highest("list") == 6
