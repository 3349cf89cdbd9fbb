"""What the writer seals is, byte for byte, what a slow writer makes after the specification."""

import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import set_bytes as sb
import set_maker

from hashsieve import HashSet, Listing, Record, Role, compile_lists
from hashsieve.hashset.compile import SetWriter
from hashsieve.hashset.seal import SealKey
from hashsieve.hashset.signature import SignKey, signer
from helpers import digest

KEY = bytes(range(3, 35))


def written(path, records, *, seal=True, **options):
    """The bytes that the code under test writes for records as the slow writer takes them."""
    with SealKey(KEY) as key:
        writer = SetWriter(seal=key if seal else None, **options)
        for digests, size, (source, role, category), ref in records:
            text = None if ref is None else ref.decode("utf-8", "surrogateescape")
            writer.add(Record(digests, size, Listing(source, Role(role), category, text)))
        writer.write(path)
    return path.read_bytes()


def sample(count, seed, kinds=sb.ALL_KINDS):
    return [
        (digests, size, (source, "known-bad", None), None if ref is None else ref.encode("utf-8", "surrogateescape"))
        for digests, size, source, ref in sb.sample_records(count, seed, kinds)
    ]


@pytest.mark.parametrize("seal", [False, True], ids=["plain", "sealed"])
@pytest.mark.parametrize(
    "records",
    [
        [],
        sample(1, 1),
        sample(40, 2),
        sample(1500, 3),
        sample(800, 4, ("md5",)),
        sample(600, 5, ("sha1", "sha256")),
        [({"md5": random.Random(n).randbytes(16)}, None, ("s", "known-bad", None), None) for n in range(2000)],
        [({"sha256": random.Random(n).randbytes(32)}, n, ("s", "known-bad", "c"), b"%d" % n) for n in range(6000)],
    ],
    ids=["none", "one", "forty", "all kinds", "one kind", "two kinds", "implicit rows", "several chunks"],
)
def test_the_writer_agrees_with_the_slow_one(tmp_path, records, seal):
    made = set_maker.make(records, key=KEY if seal else None, generation=9, valid_until=5_000_000_000)
    assert written(tmp_path / "s", records, seal=seal, generation=9, valid_until_seconds=5_000_000_000) == made


_DIGEST = st.integers(0, 5).map(lambda n: random.Random(n).randbytes(32))
_RECORD = st.tuples(
    st.dictionaries(st.sampled_from(sb.ALL_KINDS), _DIGEST, min_size=1),
    st.none() | st.integers(0, 3),
    st.tuples(st.sampled_from("ab"), st.sampled_from(["known-bad", "trusted"]), st.none() | st.just("c")),
    st.none() | st.sampled_from([b"1", b"two"]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_RECORD, max_size=12))
def test_any_few_records_agree(tmp_path_factory, rows):
    records = [
        ({kind: d[: sb.WIDTHS[set_maker.CODES[kind]]] for kind, d in digests.items()}, *rest) for digests, *rest in rows
    ]
    path = tmp_path_factory.mktemp("any") / "s"
    assert written(path, records) == set_maker.make(records, key=KEY)


def test_packed_digests_are_sealed_as_single_ones_are(tmp_path):
    packed = random.Random(1).randbytes(16 * 3000)
    with SealKey(KEY) as key:
        writer = SetWriter(seal=key)
        writer.add_packed("md5", packed, Listing("s", Role.KNOWN_BAD))
        writer.write(tmp_path / "s")
    records = [
        ({"md5": packed[at : at + 16]}, None, ("s", "known-bad", None), None) for at in range(0, len(packed), 16)
    ]
    assert (tmp_path / "s").read_bytes() == set_maker.make(records, key=KEY)


def test_sealed_and_signed_at_once(tmp_path):
    records, ours = sample(30, 6), SignKey(b"o" * 32)
    made = set_maker.make(records, key=KEY, signatures=[(ours.public, ours.sign)])
    assert written(tmp_path / "s", records, sign=signer([ours])) == made


def test_lists_are_compiled_into_a_sealed_set(tmp_path):
    (tmp_path / "list").write_text(f"{digest('md5', b'x').hex()}\n{digest('md5', bytes(512)).hex()}\n{'5' * 32}\n")
    with SealKey(KEY) as key:
        report = compile_lists([tmp_path / "list"], tmp_path / "s", role="known-bad", seal=key)
        assert [each.content for each in report.trivial] == ["the single byte 0x78", "512 bytes of 0x00"]
        with HashSet.open(tmp_path / "s", seal_key=key) as known:
            assert known.sealed
            assert known.entries("md5", bytes.fromhex("5" * 32))[0].listings[0].source == "list"
