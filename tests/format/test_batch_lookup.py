"""Batches: the same answers as one by one, whatever the number of threads, hits, and pages between them."""

import hashlib
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from hashsieve.errors import SetDamagedError, UsageError
from hashsieve.hashset.compile import SetWriter
from hashsieve.hashset.hashset import HashSet
from hashsieve.hashset.testfile import TEST_DIGESTS
from hashsieve.model import Listing, Role

sys.path.insert(0, str(Path(__file__).parent))
import set_maker

BAD = Listing("made up", Role.KNOWN_BAD)
COUNT = 200_000
WIDTHS = {"md5": 16, "sha1": 20, "sha256": 32, "blake3": 32}


def write(path, kind, digests):
    writer = SetWriter()
    writer.add_packed(kind, digests.tobytes(), BAD)
    writer.write(path)


def rows_of(digests):
    return sorted(row.tobytes() for row in digests)


@pytest.fixture(scope="module", params=["md5", "sha256"])
def large(request, tmp_path_factory):
    kind = request.param
    path = tmp_path_factory.mktemp("large") / "known.hset"
    digests = np.random.default_rng(5).integers(0, 256, (COUNT, WIDTHS[kind]), np.uint8)
    write(path, kind, digests)
    # Entries of one kind are numbered in the order of their digests.
    number = {digest: at for at, digest in enumerate(rows_of(digests))}
    number[TEST_DIGESTS[kind]] = COUNT
    with HashSet.open(path) as known:
        yield kind, digests, number, known


@pytest.mark.parametrize("threads", [1, 2, 3, 16])
@pytest.mark.parametrize("share", [0.0, 0.0005, 0.01, 0.5, 1.0])
def test_hits_and_misses_in_any_order_and_by_any_number_of_threads(large, share, threads):
    kind, digests, number, known = large
    rng = np.random.default_rng(int(share * 1000) + threads)
    asked = rng.integers(0, 256, (220_000, digests.shape[1]), np.uint8)
    listed = rng.random(len(asked)) < share
    asked[listed] = digests[rng.integers(0, COUNT, listed.sum())]
    asked[rng.integers(0, len(asked))] = np.frombuffer(TEST_DIGESTS[kind], np.uint8)
    wanted = [number.get(row.tobytes(), -1) for row in asked]
    assert known.lookup(asked, kind, threads=threads).tolist() == wanted
    may = known.may_match(asked, kind, threads=threads)
    assert may[np.array(wanted) >= 0].all()
    assert may.sum() - (np.array(wanted) >= 0).sum() < 0.0025 * len(asked)


@pytest.mark.parametrize("every", [1, 2, 3, 4, 5, 31, 32, 33, 64, 100])
def test_pages_with_gaps_of_every_width_between_them(large, every):
    kind, _, number, known = large
    in_order = np.frombuffer(b"".join(sorted(number)), np.uint8).reshape(-1, WIDTHS[kind])
    per_page = 4096 // WIDTHS[kind]
    asked = in_order[:: every * per_page].copy()
    asked = np.concatenate([asked, in_order[per_page - 1 :: every * per_page]])
    assert known.lookup(asked, kind).tolist() == [number[row.tobytes()] for row in asked]


@pytest.mark.parametrize("kind", WIDTHS)
@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 8191, 8192, 8193])
def test_members_and_their_neighbours(tmp_path, kind, count):
    width = WIDTHS[kind]
    listed = np.frombuffer(
        b"".join(hashlib.shake_128(n.to_bytes(4, "big")).digest(width) for n in range(count)), np.uint8
    ).reshape(-1, width)
    write(tmp_path / "x.hset", kind, listed)
    number = {digest: at for at, digest in enumerate(rows_of(listed))}
    asked = np.concatenate([listed, listed, listed, np.zeros((1, width), np.uint8), np.full((1, width), 255, np.uint8)])
    asked[count : 2 * count, -1] ^= 1
    asked[2 * count : 3 * count, 0] ^= 1
    with HashSet.open(tmp_path / "x.hset") as known:
        assert known.lookup(asked, kind).tolist() == [number.get(row.tobytes(), -1) for row in asked]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_damaged_page_fails_the_batch_that_needs_it_and_no_other(tmp_path, threads):
    path = tmp_path / "known.hset"
    digests = np.random.default_rng(6).integers(0, 256, (COUNT, 16), np.uint8)
    write(path, "md5", digests)
    in_order = np.frombuffer(b"".join(rows_of(digests)), np.uint8).reshape(-1, 16)
    data = bytearray(path.read_bytes())
    spot = data.index(in_order[COUNT // 2].tobytes())
    data[spot] ^= 1
    path.write_bytes(data)
    with HashSet.open(path) as known:
        with pytest.raises(SetDamagedError, match=f"page {spot // 4096}:"):
            known.lookup(digests, "md5", threads=threads)
        far = in_order[: COUNT // 4]
        assert known.lookup(far, "md5", threads=threads).tolist() == list(range(len(far)))


def test_many_callers_with_threads_of_their_own(large):
    kind, digests, number, known = large
    wanted = [number[row.tobytes()] for row in digests]
    answers = []

    def ask():
        answers.append(known.lookup(digests, kind, threads=2).tolist() == wanted)

    callers = [threading.Thread(target=ask) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert answers == [True] * 4


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_sealed_sets_answer_batches_as_plain_ones_do(tmp_path, threads):
    rng = np.random.default_rng(8)
    listed = rng.integers(0, 256, (400, 20), np.uint8)
    records = [({"sha1": row.tobytes()}, None, ("made up", "known-bad", None), None) for row in listed]
    for name, key in (("plain", None), ("sealed", bytes(range(32)))):
        (tmp_path / name).write_bytes(set_maker.make(records, key=key))
    asked = rng.integers(0, 256, (350_000, 20), np.uint8)
    asked[::100] = listed[rng.integers(0, 400, 3500)]
    with (
        HashSet.open(tmp_path / "plain") as plain,
        HashSet.open(tmp_path / "sealed", seal_key=lambda: bytes(range(32))) as known,
    ):
        found = known.lookup(asked, "sha1", threads=threads)
        assert (found >= 0).tolist() == [n % 100 == 0 for n in range(len(asked))]
        assert (known.may_match(asked, "sha1", threads=threads) >= (found >= 0)).all()
        flags = bytearray(len(asked))
        assert known.mark_listed("sha1", asked.tobytes(), flags) == 3500
        assert flags == bytearray((found >= 0).astype(np.uint8).tobytes())
        # The order of fingerprints is another one, so entries are compared by what they are.
        for at in range(0, 5000, 100):
            (one,), (other,) = plain.entries("sha1", asked[at].tobytes()), known.entries("sha1", asked[at].tobytes())
            assert one.listings == other.listings
            assert known.find("sha1", asked[at].tobytes()) == [found[at]]


def test_no_threads_are_refused(large):
    kind, digests, _, known = large
    with pytest.raises(UsageError, match="threads"):
        known.lookup(digests, kind, threads=0)
    with pytest.raises(UsageError, match="threads"):
        known.may_match(digests, kind, threads=-1)
