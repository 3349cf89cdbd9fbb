"""Deltas of sealed sets: fingerprints and nothing else to read, and the sets that come of them."""

import hashlib
import hmac
import random
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import delta_bytes as db
import set_maker

from hashsieve import HashSet, apply_delta
from hashsieve.errors import (
    DeltaBaseError,
    DeltaDamagedError,
    DeltaError,
    DeltaFormatError,
    DeltaSealError,
    SetSealError,
    UsageError,
)
from hashsieve.hashset.delta import make_delta
from hashsieve.hashset.delta_file import DeltaFile
from hashsieve.hashset.seal import SealKey

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
WIDTHS = {"md5": 16, "sha1": 20, "sha256": 32, "blake3": 32}
LISTED = [("list a", "known-bad", None), ("list b", "trusted", "category 7")]


def random_record(rng):
    kinds = rng.choice([("md5",), ("md5", "sha1"), ("sha256",), ("md5", "sha1", "sha256", "blake3")])
    ref = rng.choice([None, b"ref-%d" % rng.randrange(10**6)])
    return (
        {kind: rng.randbytes(WIDTHS[kind]) for kind in kinds},
        rng.choice([None, rng.randrange(10**6)]),
        rng.choice(LISTED),
        ref,
    )


@pytest.fixture(scope="module")
def folder():
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


class SealedPair:
    def __init__(self, folder, key, old, new):
        self.old, self.new, self.delta = folder / "old", folder / "new", folder / "d.hdelta"
        self.key = SealKey(key)
        self.records = old, new
        self.old.write_bytes(set_maker.make(old, key=key, generation=1))
        self.new.write_bytes(set_maker.make(new, key=key, generation=2))
        with HashSet.open(self.old, seal_key=self.key) as a, HashSet.open(self.new, seal_key=self.key) as b:
            self.made = make_delta(a, b, self.delta, seal=self.key)
        self.data = self.delta.read_bytes()


@pytest.fixture(scope="module")
def pair(folder):
    """More than one chunk of sealed text."""
    rng = random.Random(1)
    (folder / "pair").mkdir()
    common = [random_record(rng) for _ in range(50)]
    return SealedPair(folder / "pair", KEY, common + [random_record(rng) for _ in range(50)],
                      common + [random_record(rng) for _ in range(9000)])  # fmt: skip


def rows_of(records, key=KEY):
    """What rows say in a sealed delta."""
    codes = {"md5": 1, "sha1": 2, "sha256": 3, "blake3": 4}

    def fingerprint(kind, digest):
        return hmac.new(key, bytes([codes[kind]]) + digest, hashlib.sha256).digest()[:16]

    return {
        (tuple(sorted((kind, fingerprint(kind, digest)) for kind, digest in digests.items())), size, listed, ref)
        for digests, size, listed, ref in records
    }


def test_a_sealed_delta_is_what_the_specification_says(pair):
    said = db.ReferenceDelta(pair.data, KEY)
    old, new = (rows_of(records) for records in pair.records)
    assert set(said.adds) == new - old
    assert set(said.cancels) == old - new
    assert len(said.adds) + len(said.cancels) == pair.made.rows == 9050
    (section,) = [s for s in db.sections_of(pair.data) if s.id == 0x900]
    assert section.count > 1


def test_nothing_can_be_read_without_the_key(pair):
    for text in (b"list", b"known", b"trusted", b"category", b"ref-", b"classes"):
        assert text not in pair.data
    found = 0
    windows = {pair.data[at : at + 4] for at in range(len(pair.data) - 3)}
    looked_for = 0
    for digests, *_ in pair.records[1]:
        for digest in digests.values():
            for at in range(0, len(digest) - 3, 4):
                looked_for += 1
                found += digest[at : at + 4] in windows
    expected = looked_for * len(windows) / 2**32
    assert found < expected + 6 * expected**0.5 + 6, (found, expected)


def test_one_list_under_two_keys_shares_nothing_but_the_frame(folder):
    rng = random.Random(2)
    (folder / "keys").mkdir()
    old, new = [random_record(rng) for _ in range(20)], [random_record(rng) for _ in range(500)]
    a, b = (SealedPair(folder / "keys", key, old, new).data for key in (KEY, OTHER))
    for x in db.sections_of(a):
        for y in db.sections_of(b):
            left, right = a[x.offset : x.offset + x.length], b[y.offset : y.offset + y.length]
            runs = {left[at : at + 8] for at in range(len(left) - 7)}
            assert not any(right[at : at + 8] in runs for at in range(len(right) - 7))


def test_equal_sets_give_equal_deltas(pair, folder):
    with HashSet.open(pair.old, seal_key=pair.key) as a, HashSet.open(pair.new, seal_key=pair.key) as b:
        make_delta(a, b, folder / "again", seal=pair.key)
    assert (folder / "again").read_bytes() == pair.data


def test_the_key_of_both_sets_is_needed(pair, folder):
    (folder / "other").mkdir()
    plain = folder / "plain"
    plain.write_bytes(set_maker.make(pair.records[1], generation=3))
    sealed = folder / "sealed"
    sealed.write_bytes(set_maker.make(pair.records[1], key=OTHER, generation=3))
    with HashSet.open(pair.old, seal_key=pair.key) as old:
        for newer in (plain, sealed):
            with HashSet.open(newer, seal_key=SealKey(OTHER)) as new, pytest.raises(UsageError, match="same key"):
                make_delta(old, new, folder / "never", seal=pair.key)
        with HashSet.open(pair.new, seal_key=pair.key) as new:
            for seal in (None, SealKey(OTHER)):
                with pytest.raises(UsageError, match="takes its key"):
                    make_delta(old, new, folder / "never", seal=seal)
    for keys, says in (((), "no key was given"), ((SealKey(OTHER),), "another key")):
        with pytest.raises(DeltaSealError, match=says) as caught:
            DeltaFile(pair.delta, keys)
        assert pair.key.key_id.hex() in str(caught.value)
    assert not (folder / "never").exists()


def read(path):
    with DeltaFile(path, [SealKey(KEY), SealKey(OTHER)]) as delta:
        return b"".join(delta.rows(list(range(len(delta.classes)))))


def test_applying_gives_the_bytes_of_another_maker_of_sealed_sets(pair, folder):
    out = folder / "out"
    apply_delta(pair.old, pair.delta, out, seal_key=pair.key)
    assert out.read_bytes() == pair.new.read_bytes()
    again = [random_record(random.Random(9))]
    third = folder / "third"
    third.write_bytes(set_maker.make(again, key=KEY, generation=7))
    with HashSet.open(pair.new, seal_key=pair.key) as a, HashSet.open(third, seal_key=pair.key) as b:
        make_delta(a, b, folder / "third.hdelta", seal=pair.key)
    apply_delta(pair.old, [pair.delta, folder / "third.hdelta"], out, seal_key=[lambda: OTHER, lambda: KEY])
    assert out.read_bytes() == third.read_bytes()


def test_applying_takes_the_key(pair, folder):
    for key in (None, lambda: OTHER):
        with pytest.raises(SetSealError, match="old"):
            apply_delta(pair.old, pair.delta, folder / "never", seal_key=key)
    plain = folder / "plain old"
    plain.write_bytes(set_maker.make(pair.records[0], generation=1))
    with pytest.raises(DeltaBaseError, match="starts from another set"):
        apply_delta(plain, pair.delta, folder / "never", seal_key=pair.key)
    assert not (folder / "never").exists()


def test_rows_that_do_not_fit_a_sealed_base_are_refused(folder):
    (folder / "fit").mkdir()
    a, b = ({"md5": bytes([n]) * 16} for n in (1, 2))
    pair = SealedPair(folder / "fit", KEY, [(a, None, LISTED[0], b"x")], [(b, 5, LISTED[0], None)])
    sections = [(s.id, s.flags, s.count, pair.data[s.offset : s.offset + s.length]) for s in db.sections_of(pair.data)]
    forged = [(*rest, content if id_ != 0x201 else bytes(16) + b"\xff" * 16) for id_, *rest, content in sections]
    forged = [(sections[n][0], *each) for n, each in enumerate(forged)]
    (folder / "forged").write_bytes(db.forge(pair.data, forged))
    with pytest.raises(DeltaError, match="forged"):
        apply_delta(pair.old, folder / "forged", folder / "never", seal_key=pair.key)
    assert not (folder / "never").exists()


def test_damage_of_a_sealed_delta_is_told(pair, folder):
    path, rng = folder / "damaged", random.Random(3)
    path.write_bytes(pair.data)
    whole = read(path)
    for _ in range(100):
        data = bytearray(pair.data)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with pytest.raises(DeltaError):
            read(path)
    for _ in range(60):  # with checksums that fit
        data = bytearray(pair.data)
        (section,) = [s for s in db.sections_of(data) if s.id == 0x900]
        data[section.offset + rng.randrange(section.length)] ^= 1 << rng.randrange(8)
        path.write_bytes(db.make_consistent(data))
        with pytest.raises(DeltaDamagedError, match="was not sealed with this key for these sets"):
            read(path)
    path.write_bytes(pair.data)
    assert read(path) == whole


def test_a_sealed_text_does_not_fit_other_sets(pair, folder):
    path = folder / "moved"
    data = bytearray(pair.data)
    data[db.BASE_ROOT] ^= 1
    path.write_bytes(db.make_consistent(data))
    with pytest.raises(DeltaDamagedError, match="was not sealed with this key for these sets"):
        read(path)


def seal(data, text):
    """A sealed delta like *data* with another text, as whoever has the key could make it."""
    with SealKey(KEY) as key:
        seal_id = hashlib.sha256(b"hashsieve delta seal id 1\0" + data[db.BASE_ROOT : db.BASE_ROOT + 64]).digest()[:16]
        sealer = key.sealer(hashlib.sha256(text).digest(), seal_id)
        pieces = [text[at : at + 65536] for at in range(0, len(text), 65536)] or [b""]
        body = sealer.salt + b"".join(sealer.chunk(n, n == len(pieces) - 1, p) for n, p in enumerate(pieces))
    sections = [(0x900, 1, len(pieces), body)]
    for section in db.sections_of(data):
        if section.id != 0x900:
            content = data[section.offset : section.offset + section.length]
            sections.append((section.id, section.flags, section.count, content))
    return db.forge(data, sections)


def test_a_sealed_text_that_cannot_be_is_refused(folder):
    (folder / "small").mkdir()
    a, b = ({"md5": bytes([n]) * 16} for n in (1, 2))
    pair = SealedPair(folder / "small", KEY, [(a, None, LISTED[0], b"x")], [(b, 5, LISTED[0], None)])
    (section,) = [s for s in db.sections_of(pair.data) if s.id == 0x900]
    body = pair.data[section.offset : section.offset + section.length]
    text = db.ReferenceDelta(pair.data, KEY).unseal(KEY, body, section.count)
    assert seal(pair.data, text) == pair.data
    path = folder / "text"
    description = int.from_bytes(text[:8], "little")
    huge = (2**63).to_bytes(8, "little")
    for forged in (
        b"x",
        text[:15],
        text[:-1],
        text + b"\0",
        huge + text[8:],
        text[:8] + huge + text[16:],
        text[:8] + bytes(8) + text[16:],
        text[:16] + b"[" + text[17:],
        text[: 16 + description] + b"\xff" * (len(text) - 16 - description),
    ):
        path.write_bytes(seal(pair.data, forged))
        with pytest.raises(DeltaFormatError):
            read(path)
