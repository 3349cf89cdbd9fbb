"""Random trees with random fates: counters add up at every moment, and what matches is what hashlib says is listed."""

import errno
import hashlib
import os
import shutil
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashsieve import HashSet, Listing, Outcome, Record, Role, Scanner, Summary
from hashsieve.hashset.compile import SetWriter
from helpers import record

faults_module = pytest.importorskip("hashsieve_faults", reason="built without HASHSIEVE_TEST_MODULES=1")

LISTED = [b"listed %d" % i * (i + 1) for i in range(4)]
CONTENTS = {f"listed {i}": data for i, data in enumerate(LISTED)} | {
    "empty": b"",
    "plain": b"plain",
    "longer": b"other" * 1000,
    "longest": bytes(300_000),
}
FATES = ["unreadable", "locked", "no facts", "vanishes", "fifo", "link", "cloud"]

names = st.text("abcdefgh", min_size=1, max_size=4)
leaves = st.sampled_from([*CONTENTS, *CONTENTS, *FATES])
trees = st.recursive(
    st.dictionaries(names, leaves, max_size=6),
    lambda below: st.dictionaries(names, st.one_of(leaves, below), max_size=6),
    max_leaves=30,
)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    path = tmp_path_factory.mktemp("set") / "known.hset"
    writer = SetWriter()
    for number, data in enumerate(LISTED):
        writer.add(record(data, *(["md5"], ["sha1"], ["md5", "sha256"], ["sha256"])[number]))
    writer.write(path)
    with HashSet.open(path) as opened:
        yield opened


class Tree:
    """A tree on disk in which every file has a name of its own, so that a fate can be tied to the name."""

    def __init__(self, root, description):
        self.root, self.faults = root, faults_module.Faults()
        self.expected = {}
        self.special_count = 0
        self.vanishing = set()
        self.build(root, description)
        self.faults.before_stat = self.vanish

    def build(self, directory, description):
        for name, content in description.items():
            path = directory / name
            if isinstance(content, dict):
                path.mkdir()
                self.build(path, content)
                continue
            if content in FATES and len(self.expected) >= 30:
                content = "plain"  # the faulty system knows 32 names
            if content in FATES:
                path = directory / f"{name}{len(self.expected) + self.special_count}.{content.replace(' ', '-')}"
            self.place(path, content)

    def place(self, path, content):
        raw, name = bytes(path), os.fsencode(path.name)
        if content in CONTENTS:
            path.write_bytes(CONTENTS[content])
            self.expected[raw] = "match" if CONTENTS[content] in LISTED else "no_match"
        elif content in ("fifo", "link"):
            os.mkfifo(path) if content == "fifo" else path.symlink_to("/")
            self.special_count += 1
        else:
            path.write_bytes(LISTED[0])
            if content == "unreadable":
                self.faults.fail("pread", errno.EIO, name=name)
            elif content == "locked":
                self.faults.fail("open", errno.EACCES, name=name)
            elif content == "no facts":
                self.faults.fail("stat", errno.EIO, name=name)
            elif content == "cloud":
                self.faults.dress(name=name, win_attributes=0x400000)
            else:
                self.vanishing.add(name)
            self.expected[raw] = {"cloud": "not_examined", "vanishes": "gone"}.get(content, "error")

    def vanish(self, name):
        if name in self.vanishing:
            self.vanishing.discard(name)
            for path in self.root.rglob(os.fsdecode(name)):
                path.unlink()


def counters_add_up(counters):
    parts = counters.matched, counters.no_match, counters.not_examined, counters.changed, counters.gone, counters.errors
    return counters.seen >= sum(parts) and min(parts) >= 0


@settings(max_examples=60, deadline=None)
@given(description=trees, jobs=st.sampled_from([1, 3]))
def test_every_name_has_the_outcome_it_deserves_and_counters_always_add_up(known, description, jobs):
    root = Path(tempfile.mkdtemp(prefix="hashsieve-test-"))
    try:
        tree = Tree(root, description)
        told = {}
        with Scanner(known, jobs=jobs, os_table=tree.faults.capsule) as scanner:
            stop = threading.Event()
            moments = []

            def watch():
                while not stop.is_set():
                    moments.append(counters_add_up(scanner.counters))

            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                for outcome in scanner.scan(root, every=True):
                    if isinstance(outcome, Summary):
                        summary = outcome
                        continue
                    assert outcome.path not in told
                    told[outcome.path] = outcome.kind.value
                    assert scanner.counters.seen >= len(told)
            finally:
                stop.set()
                watcher.join()
        assert not tree.faults.callback_errors
        assert told == tree.expected
        assert all(moments)
        assert summary.seen == len(told)
        assert summary.special == tree.special_count
        for kind, count in (
            ("match", summary.matched),
            ("no_match", summary.no_match),
            ("not_examined", summary.not_examined),
            ("gone", summary.gone),
            ("error", summary.errors),
            ("changed", summary.changed),
        ):
            assert count == sum(each == kind for each in told.values())
    finally:
        shutil.rmtree(root)


@settings(max_examples=40, deadline=None)
@given(
    contents=st.lists(st.binary(max_size=40), max_size=30),
    listed=st.lists(st.binary(max_size=40), max_size=10),
    kinds=st.lists(st.sampled_from(["md5", "sha1", "sha256", "blake3"]), min_size=1, max_size=4, unique=True),
    picks=st.lists(st.integers(0, 1000), max_size=10),
)
def test_the_files_that_match_are_exactly_those_whose_digest_is_listed(contents, listed, kinds, picks):
    listed = listed + [contents[pick % len(contents)] for pick in picks if contents]
    with tempfile.TemporaryDirectory() as place:
        writer = SetWriter()
        for number, data in enumerate(listed):
            writer.add(record(data, kinds[number % len(kinds)]))
        writer.add(Record({"md5": bytes(16)}, None, Listing("never", Role.KNOWN_BAD)))
        path = os.path.join(place, "known.hset")
        writer.write(path)
        tree = os.path.join(place, "tree")
        os.mkdir(tree)
        for number, data in enumerate(contents):
            Path(tree, f"{number}").write_bytes(data)
        answers = []
        with HashSet.open(path, load=()) as known:
            for jobs in (1, 3):
                with Scanner(known, jobs=jobs) as scanner:
                    outcomes = [each for each in scanner.scan(tree, every=True) if isinstance(each, Outcome)]
                answers.append({each.path: (each.kind, each.digests, each.size_bytes) for each in outcomes})
        assert answers[0] == answers[1]
        digests = {hashlib.sha256(data).digest() for data in listed if data}
        expected = {
            os.fsencode(os.path.join(tree, f"{number}"))
            for number, data in enumerate(contents)
            if hashlib.sha256(data).digest() in digests
        }
        assert {path for path, (kind, _, _) in answers[0].items() if kind == "match"} == expected
        assert all(kind in ("match", "no_match") for kind, _, _ in answers[0].values())
