"""Chains of deltas against fresh builds, byte by byte, and a delta against the difference of two Python sets."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hashsieve import HashSet, Listing, Record, Role, apply_delta
from hashsieve.hashset.compile import SetWriter
from hashsieve.hashset.delta import make_delta
from hashsieve.hashset.hashset import ref_to_bytes
from hashsieve.hashset.seal import SealKey
from hashsieve.hashset.testfile import TEST_DIGESTS, TEST_LISTING
from hashsieve.model import KINDS

sys.path.insert(0, str(Path(__file__).parents[1] / "format"))
from delta_bytes import ReferenceDelta

sys.path.insert(0, str(Path(__file__).parent))
from delta_chain import chain

# Few digests of each kind, so that records meet: equal ones, conflicts, several listings of one entry, test digests.
DIGESTS = {
    kind: [bytes(kind.size_bytes), b"\xff" * kind.size_bytes, TEST_DIGESTS[kind]]
    + [bytes([n]) * (kind.size_bytes - 1) + b"\x01" for n in range(4)]
    for kind in KINDS
}


@st.composite
def records(draw):
    kinds = draw(st.sets(st.sampled_from(KINDS), min_size=1))
    listing = Listing(
        draw(st.sampled_from(["a", "b", "é\ud800", TEST_LISTING.source])),
        draw(st.sampled_from(list(Role))),
        draw(st.sampled_from([None, "", "1", "2"])),
        draw(st.sampled_from([None, None, "", "x", "\udc80", "\ud800", "é" * 2048])),
    )
    digests = {kind.value: draw(st.sampled_from(DIGESTS[kind])) for kind in KINDS if kind in kinds}
    return Record(digests, draw(st.sampled_from([None, None, 0, 1, 68, 2**40, 2**62 - 1])), listing)


def key(record):
    ref = record.listing.ref
    return (
        tuple(sorted(record.digests.items())),
        record.size_bytes,
        (record.listing.source, str(record.listing.role), record.listing.category),
        None if ref is None else ref_to_bytes(ref),
    )


def of_the_test_file(record):
    return all(digest == TEST_DIGESTS[kind] for kind, digest in record.digests.items())


class Releases(RuleBasedStateMachine):
    """A list that changes, released as a set again and again, with a delta each time."""

    secret = None

    def __init__(self):
        super().__init__()
        # In memory where that can be had: thousands of sets would wait for the disk.
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
        self.state = {}
        self.released = []
        self.generation = 0
        self.seal = None if self.secret is None else SealKey(self.secret)

    def stored(self, rows):
        """Rows as a delta has them: with fingerprints where sets are sealed."""
        if self.seal is None:
            return rows
        return {
            (tuple((kind, self.seal.fingerprint(kind, digest)) for kind, digest in digests), *rest)
            for digests, *rest in rows
        }

    def teardown(self):
        shutil.rmtree(self.folder)

    def path(self, number, kind="hset"):
        return self.folder / f"{number}.{kind}"

    @initialize(first=st.lists(records(), max_size=20))
    def begin(self, first):
        self.state = {key(record): record for record in first}
        self.release(step=1)

    @rule(new=st.lists(records(), min_size=1, max_size=8))
    def add(self, new):
        self.state |= {key(record): record for record in new}

    @precondition(lambda self: self.state)
    @rule(data=st.data())
    def take_out(self, data):
        for _ in range(data.draw(st.integers(1, 5))):
            if self.state:
                del self.state[data.draw(st.sampled_from(sorted(self.state, key=repr)))]

    @rule()
    def take_out_all(self):
        self.state = {}

    @rule(
        step=st.sampled_from([1, 2, 1000]),
        valid_until_seconds=st.sampled_from([0, 1, 253402300799]),
        sizes=st.sampled_from(["ignored", "trusted"]),
        bits_per_entry=st.sampled_from([16, 4, 11.123, 64]),
    )
    def release(self, step, **options):
        self.generation += step
        number = len(self.released)
        writer = SetWriter(generation=self.generation, seal=self.seal, **options)
        for record in self.state.values():
            writer.add(record)
        writer.write(self.path(number))
        rows = {name for name, record in self.state.items() if not of_the_test_file(record)}
        self.released.append(rows)
        if not number:
            return
        with (
            HashSet.open(self.path(number - 1), seal_key=self.seal) as old,
            HashSet.open(self.path(number), seal_key=self.seal) as new,
        ):
            made = make_delta(old, new, self.path(number, "hdelta"), seal=self.seal)
        data = self.path(number, "hdelta").read_bytes()
        said = ReferenceDelta(data, self.secret)
        before = self.released[number - 1]
        assert set(said.adds) == self.stored(rows - before)
        assert set(said.cancels) == self.stored(before - rows)
        assert (made.rows, made.file_bytes) == (len(said.adds) + len(said.cancels), len(data))
        apply_delta(self.path(number - 1), self.path(number, "hdelta"), self.path("new"), seal_key=self.seal)
        assert self.path("new").read_bytes() == self.path(number).read_bytes()

    @precondition(lambda self: len(self.released) > 2)
    @rule(data=st.data())
    def catch_up(self, data):
        """From any old release to any newer one, all deltas between them in one call."""
        first = data.draw(st.integers(0, len(self.released) - 2))
        last = data.draw(st.integers(first + 1, len(self.released) - 1))
        shutil.copy(self.path(first), self.path("live"))
        deltas = [self.path(number, "hdelta") for number in range(first + 1, last + 1)]
        apply_delta(self.path("live"), deltas, self.path("live"), seal_key=self.seal)
        assert self.path("live").read_bytes() == self.path(last).read_bytes()

    @invariant()
    def nothing_is_left_behind(self):
        assert not list(self.folder.glob(".*"))


Releases.TestCase.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
TestReleases = Releases.TestCase


class SealedReleases(Releases):
    """The same with sealed sets."""

    secret = bytes(range(32))


SealedReleases.TestCase.settings = settings(max_examples=10, stateful_step_count=10, deadline=None)
TestSealedReleases = SealedReleases.TestCase


def test_chained_deltas_give_the_bytes_of_a_fresh_build(tmp_path):
    assert chain(tmp_path, deltas=10, entries=300, seed=3) == 10
