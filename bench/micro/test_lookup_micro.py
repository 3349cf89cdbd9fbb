"""What one question to an open set costs, alone and in batches, of 1,000,000 MD5 digests.

Run with: python -m pytest bench/micro/test_lookup_micro.py
"""

import random

import numpy as np
import pytest

from hashsieve.hashset.compile import SetWriter
from hashsieve.hashset.hashset import HashSet
from hashsieve.model import Listing, Role

ENTRIES = 1_000_000


@pytest.fixture(scope="module")
def listed():
    return np.random.default_rng(1).integers(0, 256, (ENTRIES, 16), np.uint8)


@pytest.fixture(scope="module")
def known(tmp_path_factory, listed):
    path = tmp_path_factory.mktemp("bench") / "known.hset"
    writer = SetWriter()
    writer.add_packed("md5", listed.tobytes(), Listing("bench", Role.KNOWN_BAD))
    writer.write(path)
    with HashSet.open(path) as opened:
        yield opened


def test_find_a_digest_that_is_not_listed(benchmark, known):
    digest = next(d for d in (random.Random(n).randbytes(16) for n in range(100)) if known.find("md5", d) is None)
    assert benchmark(known.find, "md5", digest) is None


def test_find_a_digest_that_is_listed(benchmark, known, listed):
    assert benchmark(known.find, "md5", listed[12345].tobytes())


def test_entries_of_a_digest_that_is_listed(benchmark, known, listed):
    assert benchmark(known.entries, "md5", listed[12345].tobytes())


@pytest.mark.parametrize("count", [256, 65536])
def test_batch_of_digests_that_are_not_listed(benchmark, known, count):
    absent = np.random.default_rng(2).integers(0, 256, (count, 16), np.uint8)
    assert (benchmark(known.lookup, absent, "md5") == -1).all()


@pytest.mark.parametrize("count", [256, 65536])
def test_batch_of_digests_that_are_listed(benchmark, known, listed, count):
    present = np.ascontiguousarray(listed[np.random.default_rng(3).integers(0, ENTRIES, count)])
    assert (benchmark(known.lookup, present, "md5") >= 0).all()


def test_filter_alone_on_a_batch_of_65536(benchmark, known):
    absent = np.random.default_rng(2).integers(0, 256, (65536, 16), np.uint8)
    assert benchmark(known.may_match, absent, "md5").mean() < 0.01
