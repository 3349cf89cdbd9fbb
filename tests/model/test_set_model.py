"""A compiled set against a plain Python dictionary: what is in it, what is not, and in which order."""

import hashlib
import random
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashsieve.errors import UsageError
from hashsieve.hashset.compile import SetWriter
from hashsieve.hashset.hashset import HashSet
from hashsieve.hashset.testfile import TEST_DIGESTS, TEST_LISTING, TEST_TEXT
from hashsieve.model import KINDS, DigestKind, Listing, Record, Role

sys.path.insert(0, str(Path(__file__).parents[1] / "format"))
sys.path.insert(0, str(Path(__file__).parent))
import every_size
from set_bytes import NAMES, ReferenceSet

WIDTHS = {kind.value: kind.size_bytes for kind in KINDS}
LISTING = Listing("list a", Role.KNOWN_BAD)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sets")


class Model:
    """What a set of these records must answer."""

    def __init__(self, records):
        merged = defaultdict(set)
        for record in records:
            if any(digest != TEST_DIGESTS[kind] for kind, digest in record.digests.items()):
                merged[self.key(record)].add(record.listing)
        self.keys = sorted(merged)
        self.listings = [merged[key] for key in self.keys]
        self.digests = [
            dict(zip((k.value for k in KINDS if key[0] >> k.code - 1 & 1), key[1], strict=True)) for key in self.keys
        ]
        self.sizes = [None if key[2] < 0 else key[2] for key in self.keys]
        self.by_digest = {kind.value: defaultdict(list) for kind in KINDS}
        for number, digests in enumerate(self.digests):
            for kind, digest in digests.items():
                self.by_digest[kind][digest].append(number)
        self.kinds = [kind for kind in KINDS if self.by_digest[kind.value]]

    @staticmethod
    def key(record):
        """The order of entries: shape, digests, size with none first."""
        kinds = [kind for kind in KINDS if kind in record.digests]
        size = -1 if record.size_bytes is None else record.size_bytes
        return sum(1 << kind.code - 1 for kind in kinds), tuple(record.digests[kind] for kind in kinds), size

    def conflicts(self):
        """Digests whose entries carry different digests of another kind."""
        count = 0
        for kind, digests in self.by_digest.items():
            for numbers in digests.values():
                others = defaultdict(set)
                for number in numbers:
                    for other, digest in self.digests[number].items():
                        if other != kind:
                            others[other].add(digest)
                count += any(len(values) > 1 for values in others.values())
        return count

    def role_counts(self):
        roles = [listing.role for listings in self.listings for listing in {x.role: x for x in listings}.values()]
        return {role.value: roles.count(role) for role in set(roles)}


def build(path, records, **options):
    writer = SetWriter(**options)
    for record in records:
        writer.add(record)
    return writer.write(path)


def check(known, records, seed=1):
    """Every member with all its entries and listings, no other, numbers and counts as the model has them."""
    rng = random.Random(seed)
    model = Model(records)
    count = len(model.keys)
    assert len(known) == known.entry_count == count
    assert list(known.kinds) == model.kinds
    assert known.digest_counts == {kind.value: len(model.by_digest[kind.value]) for kind in model.kinds}
    assert known.conflicts == model.conflicts()
    assert known.role_counts == model.role_counts()
    assert known.every_size == all(size is not None for size in model.sizes)
    assert set(known.sources) == {x.source for listings in model.listings for x in listings}
    for number, entry in enumerate(known):
        assert dict(entry.digests) == model.digests[number]
        assert entry.size_bytes == model.sizes[number]
        assert set(entry.listings) == model.listings[number]
        assert len(entry.listings) == len(model.listings[number])
    for kind in KINDS:
        listed = model.by_digest[kind.value]
        others = {rng.randbytes(kind.size_bytes) for _ in range(64)} | {
            bytes(kind.size_bytes),
            b"\xff" * kind.size_bytes,
        }
        for digest in rng.sample(sorted(listed), min(len(listed), 64)):
            for bit in (0, 31, 63, 64, 90, kind.size_bytes * 8 - 1):
                others.add((int.from_bytes(digest, "big") ^ 1 << bit).to_bytes(kind.size_bytes, "big"))
        others = others - listed.keys() - {TEST_DIGESTS[kind]}
        asked = [*listed, *listed, *others]
        rng.shuffle(asked)
        got = known.lookup(np.frombuffer(b"".join(asked), np.uint8).reshape(-1, kind.size_bytes), kind.value)
        assert got.tolist() == [listed[d][0] if d in listed else -1 for d in asked]
        may = known.may_match(np.frombuffer(b"".join(asked), np.uint8).reshape(-1, kind.size_bytes), kind.value)
        assert not (~may & (got >= 0)).any()
        for digest in asked[:2000]:
            if digest in listed:
                expected = list(listed[digest])
                expected += [count] if digest == TEST_DIGESTS[kind] else []
                assert known.find(kind.value, digest) == expected
            else:
                assert known.find(kind.value, digest) is None
        if kind in model.kinds:
            assert known.find(kind.value, TEST_DIGESTS[kind])[-1] == count
            last = known.entry(count)
            assert last.listings == (TEST_LISTING,)
            assert last.size_bytes == len(TEST_TEXT)
            assert dict(last.digests) == {k.value: TEST_DIGESTS[k] for k in model.kinds}
        else:
            assert known.find(kind.value, TEST_DIGESTS[kind]) is None
    for beyond in (-1, count + bool(model.kinds), 2**63, 2**64):
        with pytest.raises(UsageError):
            known.entry(beyond)
    known.verify()


def compiled(folder, records, **options):
    report = build(folder / "set.hset", records, **options)
    known = HashSet.open(folder / "set.hset")
    assert known.root == report.root
    return known


# ---------------------------------------------------------------- any records at all

PREFIXES = {kind: hashlib.shake_128(kind.encode()).digest(WIDTHS[kind]) for kind in WIDTHS}


@st.composite
def digests_of(draw, kind):
    width = WIDTHS[kind]
    shared = draw(st.sampled_from([0, 4, 8, 12, 15]))
    tail = draw(st.integers(0, 5))
    return draw(
        st.sampled_from(
            [
                PREFIXES[kind][:shared] + tail.to_bytes(width - shared, "big"),
                PREFIXES[kind][:shared] + bytes([tail]) * (width - shared),
                bytes(width),
                b"\xff" * width,
                tail.to_bytes(width, "big"),
                TEST_DIGESTS[DigestKind(kind)],
            ]
        )
    )


REFS = st.none() | st.sampled_from(
    ["", "a", "Zürich 7", "\udcff\udc80", "\ud800", "\ud800\udcfe", "x" * 300, "漢" * 40]
)
LISTINGS = st.builds(
    Listing,
    st.sampled_from(["list a", "list b", "Liste ü", "\udcff"]),
    st.sampled_from([Role.KNOWN_BAD, Role.KNOWN_GOOD, Role.TRUSTED, Role.UNDECIDED]),
    st.none() | st.sampled_from(["", "1", "2"]),
    REFS,
)
RECORDS = st.builds(
    Record,
    st.fixed_dictionaries({}, optional={kind: digests_of(kind) for kind in WIDTHS}).filter(bool),
    st.none() | st.sampled_from([0, 1, 68, 255, 256, 2**62 - 1]),
    LISTINGS,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORDS, max_size=40), st.randoms(use_true_random=False))
def test_any_records_answer_as_a_dictionary_does_in_any_order(folder, records, rng):
    with compiled(folder, records) as known:
        check(known, records)
    first = (folder / "set.hset").read_bytes()
    shuffled = records * 2
    rng.shuffle(shuffled)
    build(folder / "again.hset", shuffled)
    assert (folder / "again.hset").read_bytes() == first
    reference = ReferenceSet(first)
    model = Model(records)
    assert [entry[0] for entry in reference.entries[: len(model.keys)]] == [
        {DigestKind(kind).code: digest for kind, digest in digests.items()} for digests in model.digests
    ]
    assert [entry[1] for entry in reference.entries[: len(model.keys)]] == model.sizes
    for code, (digests, _) in reference.tables.items():
        for digest in digests:
            expected = model.by_digest[NAMES[code]].get(digest, [])
            expected = expected + [len(model.keys)] * (digest == TEST_DIGESTS[KINDS[code - 1]])
            assert reference.find(code, digest) == expected


# ---------------------------------------------------------------- sizes and shapes


def mixed_records(count, seed, kinds=tuple(WIDTHS)):
    """Records of all shapes with shared digests, sizes and refs here and there."""
    rng = random.Random(seed)
    pool = {kind: [rng.randbytes(WIDTHS[kind]) for _ in range(max(count, 1))] for kind in kinds}
    records = []
    for number in range(count):
        chosen = rng.sample(kinds, rng.randint(1, len(kinds)))
        digests = {kind: pool[kind][number if rng.random() < 0.9 else rng.randrange(count)] for kind in chosen}
        size = rng.choice([None, rng.randrange(2 ** rng.randrange(1, 60))])
        ref = rng.choice([None, None, None, f"id {number}", "Ä\udcfe"])
        source, role = rng.choice([("a", Role.KNOWN_BAD), ("b", Role.KNOWN_BAD), ("b", Role.UNDECIDED)])
        records.append(Record(digests, size, Listing(source, role, rng.choice([None, "1", "2"]), ref)))
    return records


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 15, 16, 17, 127, 128, 129, 255, 256, 257, 1000, 5000])
def test_all_kinds_and_shapes_mixed(folder, count):
    records = mixed_records(count, count)
    with compiled(folder, records) as known:
        check(known, records)


@pytest.mark.parametrize("kinds", [("md5",), ("sha1",), ("sha256", "blake3"), ("md5", "sha1"), tuple(WIDTHS)])
@pytest.mark.parametrize("count", [1, 2, 127, 254, 255, 256, 257, 3000])
def test_one_shape_without_shared_digests_stores_no_entry_numbers(folder, kinds, count):
    rng = random.Random(count)
    records = [Record({kind: rng.randbytes(WIDTHS[kind]) for kind in kinds}, None, LISTING) for _ in range(count)]
    with compiled(folder, records) as known:
        check(known, records)
    reference = ReferenceSet((folder / "set.hset").read_bytes())
    code = DigestKind(kinds[0]).code
    section = reference.sections[4 << 8 | code]
    assert section.aux & 0xFF == 0
    assert reference.tables[code][0][(section.aux >> 8) - 1] == TEST_DIGESTS[DigestKind(kinds[0])]


@pytest.mark.parametrize(
    "first", ["00" * 16, "0b3be58aabf872fb602c24e5d2bf6629", "0b3be58aabf872fb602c24e5d2bf662b", "ff" * 16]
)
def test_implicit_rows_around_the_test_digest(folder, first):
    records = [Record({"md5": bytes.fromhex(first)}, 5, LISTING)]
    with compiled(folder, records) as known:
        check(known, records)


ADVERSARIAL = {
    "share 4 bytes": lambda n, w: b"\x5a" * 4 + hashlib.shake_128(n.to_bytes(4, "big")).digest(w - 4),
    "share 8 bytes": lambda n, w: b"\x5a" * 8 + hashlib.shake_128(n.to_bytes(4, "big")).digest(w - 8),
    "share all but one byte or two": lambda n, w: b"\x5a" * (w - 2) + n.to_bytes(2, "big"),
    "share 15 bytes": lambda n, w: b"\x5a" * 15 + (n % 256).to_bytes(w - 15, "big"),
    "sequential": lambda n, w: n.to_bytes(w, "big"),
    "sequential, little-endian": lambda n, w: n.to_bytes(w, "little"),
    "one bit": lambda n, w: (1 << n % (8 * w)).to_bytes(w, "big"),
    "two pages of one prefix among others": lambda n, w: (
        (b"\x77" * 8 if n % 2 else n.to_bytes(8, "big")) + n.to_bytes(w - 8, "big")
    ),
    "all zero": lambda n, w: bytes(w),
    "all ones": lambda n, w: b"\xff" * w,
}


@pytest.mark.parametrize("shape", [("md5",), ("md5", "sha1", "sha256", "blake3")], ids=["one kind", "four kinds"])
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_digests(folder, name, shape):
    records = [Record({kind: ADVERSARIAL[name](n, WIDTHS[kind]) for kind in shape}, None, LISTING) for n in range(3000)]
    with compiled(folder, records) as known:
        check(known, records)


# ---------------------------------------------------------------- merging, conflicts, order


@pytest.mark.parametrize("copies", [1, 2, 3, 1000])
def test_copies_merge_and_keep_every_listing(folder, copies):
    records = [
        Record({"md5": bytes(16)}, 7, Listing(f"list {n % 4}", Role.KNOWN_BAD, None, f"ref {n % 100}"))
        for n in range(copies)
    ]
    with compiled(folder, records) as known:
        check(known, records)
        assert len(known) == 1
        assert len(known.entries("md5", bytes(16))[0].listings) == len({r.listing for r in records})


def test_many_entries_of_one_digest(folder):
    rng = random.Random(3)
    records = [Record({"md5": b"a" * 16, "sha1": rng.randbytes(20)}, n % 3 or None, LISTING) for n in range(2000)]
    records += [Record({"md5": rng.randbytes(16)}, None, LISTING) for _ in range(2000)]
    with compiled(folder, records) as known:
        check(known, records)
        assert known.conflicts == 1
        assert len(known.find("md5", b"a" * 16)) == 2000


def test_a_conflict_is_a_digest_whose_entries_differ_in_another(folder):
    a, b, c = bytes(16), b"b" * 20, b"c" * 20
    cases = [
        ([({"md5": a, "sha1": b}, 1), ({"md5": a, "sha1": b}, 2)], 0),  # sizes alone do not contradict
        ([({"md5": a, "sha1": b}, None), ({"md5": a}, None)], 0),  # neither does a digest that is not there
        ([({"md5": a, "sha1": b}, None), ({"md5": a, "sha1": c}, None)], 1),
        ([({"md5": a, "sha1": b}, None), ({"md5": a, "sha1": c}, None), ({"md5": b"x" * 16, "sha1": c}, None)], 2),
    ]
    for rows, expected in cases:
        records = [Record(digests, size, LISTING) for digests, size in rows]
        with compiled(folder, records) as known:
            check(known, records)
            assert known.conflicts == expected


def test_equal_records_give_equal_bytes_whatever_their_order_and_number(folder):
    records = mixed_records(1500, 9)
    build(folder / "a.hset", records, generation=4)
    rng = random.Random(1)
    for _ in range(3):
        again = records + rng.sample(records, 700)
        rng.shuffle(again)
        build(folder / "b.hset", again, generation=4)
        assert (folder / "a.hset").read_bytes() == (folder / "b.hset").read_bytes()
    build(folder / "b.hset", records, generation=5)
    assert (folder / "a.hset").read_bytes() != (folder / "b.hset").read_bytes()


def test_packed_digests_are_the_same_as_records(folder):
    digests = [random.Random(1).randbytes(16) for _ in range(500)] + [TEST_DIGESTS[DigestKind.MD5]]
    records = [Record({"md5": digest}, None, LISTING) for digest in digests]
    build(folder / "a.hset", records)
    writer = SetWriter()
    writer.add_packed("md5", b"".join(digests[:250]), LISTING)
    writer.add_packed("md5", TEST_DIGESTS[DigestKind.MD5] + b"".join(digests[250:]), LISTING)
    writer.write(folder / "b.hset")
    assert writer.test_records == 2
    assert (folder / "a.hset").read_bytes() == (folder / "b.hset").read_bytes()


def test_an_id_that_is_no_text_comes_back(folder):
    refs = ["", "\udc80", "\udcff" * 4096, "\ud800", "\udfff\ud83d", "\U0001f600", "a\0b", "é" * 2048]
    records = [
        Record({"sha1": bytes([n]) * 20}, None, Listing("s", Role.TRUSTED, None, ref)) for n, ref in enumerate(refs)
    ]
    with compiled(folder, records) as known:
        check(known, records)
    with pytest.raises(UsageError, match="4096"):
        build(folder / "no.hset", [Record({"md5": bytes(16)}, None, Listing("s", Role.TRUSTED, None, "é" * 2049))])


def test_more_ids_for_one_entry_than_a_reader_takes_are_refused(folder):
    writer = SetWriter()
    for n in range(64 * 256 + 1):
        writer.add(Record({"md5": bytes(16)}, None, Listing("s", Role.TRUSTED, None, f"{n:04096}")))
    with pytest.raises(UsageError, match="67108864"):
        writer.write(folder / "no.hset")
    assert not (folder / "no.hset").exists()


def test_one_record_with_an_empty_id(folder):
    records = [Record({"md5": bytes(16)}, None, Listing("s", Role.TRUSTED, None, ""))]
    with compiled(folder, records) as known:
        check(known, records)


# ---------------------------------------------------------------- the test file


def test_the_test_texts_digests_are_what_the_format_says():
    blake3 = pytest.importorskip("blake3")
    assert len(TEST_TEXT) == 68
    assert {
        "md5": hashlib.md5(TEST_TEXT).digest(),
        "sha1": hashlib.sha1(TEST_TEXT).digest(),
        "sha256": hashlib.sha256(TEST_TEXT).digest(),
        "blake3": blake3.blake3(TEST_TEXT).digest(),
    } == TEST_DIGESTS


def test_the_test_file_is_answered_for_the_kinds_of_the_set_and_not_counted(folder):
    records = [Record({"sha1": b"s" * 20}, 1, LISTING), Record({"md5": TEST_DIGESTS[DigestKind.MD5]}, 68, LISTING)]
    with compiled(folder, records) as known:
        check(known, records)
        assert list(known.kinds) == ["sha1"]
        assert known.role_counts == {"known-bad": 1}
        assert known.sources == ("list a",)
        assert known.find("sha1", TEST_DIGESTS[DigestKind.SHA1]) == [1]
        assert known.info()["digests"] == {"sha1": 1}


def test_a_record_that_shares_one_digest_with_the_test_file_stays_an_entry(folder):
    records = [Record({"md5": TEST_DIGESTS[DigestKind.MD5], "sha1": b"s" * 20}, None, LISTING)]
    with compiled(folder, records) as known:
        check(known, records)
        assert known.find("md5", TEST_DIGESTS[DigestKind.MD5]) == [0, 1]
        assert known.conflicts == 0


def test_a_set_of_nothing_answers_nothing_even_in_dirty_memory(folder):
    dirty = bytearray(b"\xff") * 100_000_000
    del dirty
    with compiled(folder, []) as known:
        check(known, [])
        digests = np.random.default_rng(1).integers(0, 256, (100_000, 16), np.uint8)
        assert (known.lookup(digests, "md5") == -1).all()
        assert not known.may_match(digests, "md5").any()


def test_a_new_filter_holds_nothing_but_its_digests_even_in_dirty_memory(folder):
    writer = SetWriter()
    writer.add_packed("md5", random.Random(1).randbytes(16 * 200_000), LISTING)
    dirty = [bytearray(b"\xff") * 1_000_000 for _ in range(100)]
    del dirty
    writer.write(folder / "set.hset")
    records = mixed_records(300, 5)
    with HashSet.open(folder / "set.hset") as known, compiled(folder, records) as small:
        digests = np.random.default_rng(1).integers(0, 256, (100_000, 16), np.uint8)
        assert (known.lookup(digests, "md5") == -1).all()
        assert known.may_match(digests, "md5").mean() < 0.002
        check(small, records)
    ReferenceSet((folder / "set.hset").read_bytes())


# ---------------------------------------------------------------- rate and size


def test_the_measured_rate_of_false_positives_is_the_stated_one(folder):
    """For a large set, over random digests, at several densities."""
    rng = np.random.default_rng(11)
    absent = rng.integers(0, 256, (1_000_000, 16), np.uint8)
    for bits, count in ((16, 2_000_000), (8, 100_000), (24, 50_000)):
        writer = SetWriter(bits_per_entry=bits)
        writer.add_packed("md5", rng.bytes(16 * count), LISTING)
        writer.write(folder / "large.hset")
        with HashSet.open(folder / "large.hset") as known:
            stated = known.filter_fpr("md5")
            measured = known.may_match(absent, "md5").mean()
            assert stated / 1.3 <= measured <= stated * 1.3
            assert known.filter_bytes("md5") <= (count + 1) * bits / 8 + 32
            assert (known.lookup(absent, "md5") == -1).all()
            if bits == 16:
                assert stated < 0.0015


def test_a_set_of_four_digests_takes_at_most_64_kib(folder):
    for kinds in (["md5"], ["sha256"], ["md5", "sha1"]):
        records = [Record({kind: bytes([n]) * WIDTHS[kind] for kind in kinds}, n, LISTING) for n in range(4)]
        with compiled(folder, records) as known:
            check(known, records)
        assert (folder / "set.hset").stat().st_size <= 64 * 1024


# ---------------------------------------------------------------- fresh processes

EVERY_TENTH = [*range(12), *range(12, 301, 10), 254, 255, 256, 257, 258]


def test_every_member_of_a_set_of_any_size_is_found_by_a_fresh_process():
    """A part of what bench/prove.py has checked: all sizes to 300, 50 seeds at each boundary, sizes to 2 million."""
    sets = [*every_size.small(EVERY_TENTH), *every_size.at_boundaries(every_size.BOUNDARIES[:8], 2)]
    sets += [*every_size.at_boundaries(every_size.BOUNDARIES[8:], 1), ("random", "md5", 150_000, 1)]
    assert every_size.in_a_fresh_process(sets) == len(sets)
