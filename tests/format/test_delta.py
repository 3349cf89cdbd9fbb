"""Delta files: what is written is what the specification says; what is damaged, cut or forged is refused by name."""

import contextlib
import hashlib
import json
import os
import random
import resource
import struct
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import delta_bytes as db
from set_bytes import sample_records

from hashsieve import HashSet, Listing, Record, Role, apply_delta
from hashsieve.errors import (
    DeltaBaseError,
    DeltaDamagedError,
    DeltaError,
    DeltaFormatError,
    DeltaResultError,
    DeltaSignatureError,
    DeltaVersionError,
    HashsieveError,
    OutputError,
    SetDamagedError,
    UsageError,
)
from hashsieve.hashset.compile import SetWriter
from hashsieve.hashset.delta import make_delta
from hashsieve.hashset.delta_file import DeltaFile
from hashsieve.hashset.signature import SignKey, signer

MD5 = 0x01


def build(path, records, generation, **options):
    writer = SetWriter(generation=generation, **options)
    for each in records:
        writer.add(each)
    return writer.write(path)


def record(n, source="list", ref=None, size=None, role=Role.KNOWN_BAD, category=None):
    return Record({"md5": bytes([n]) * 16}, size, Listing(source, role, category, ref))


def mixed(seed, count=60):
    return [Record(digests, size, Listing(source, Role.KNOWN_BAD, None, ref))
            for digests, size, source, ref in sample_records(count, seed)]  # fmt: skip


class Pair:
    """Two sets and the delta between them."""

    def __init__(self, folder, old, new, **options):
        self.folder = folder
        self.old, self.new, self.delta, self.out = (folder / name for name in ("old", "new", "d.hdelta", "out"))
        build(self.old, old, 1)
        build(self.new, new, 2, **options)
        with HashSet.open(self.old) as a, HashSet.open(self.new) as b:
            self.made = make_delta(a, b, self.delta)
        self.data = self.delta.read_bytes()

    def apply(self, data=None, *more):
        """The bytes that applying gives; the delta's own are *data* where that is given."""
        given = self.folder / "given.hdelta"
        if data is not None:
            given.unlink(missing_ok=True)
            given.write_bytes(data)
        try:
            apply_delta(self.old, [self.delta if data is None else given, *more], self.out)
            return self.out.read_bytes()
        finally:
            self.out.unlink(missing_ok=True)

    def outcome(self, data):
        """None for the right result, else the refusal; anything else fails the test."""
        try:
            result = self.apply(data)
        except DeltaError as problem:
            refusal = problem
        else:
            assert result == self.new.read_bytes()
            return None
        assert "given.hdelta" in str(refusal)
        return refusal


def in_memory(tmp_path_factory, name):
    """A folder in memory, where that can be had: the tests below write thousands of files."""
    folder = tmp_path_factory.mktemp(name)
    if os.access("/dev/shm", os.W_OK):
        import tempfile

        return Path(tempfile.mkdtemp(dir="/dev/shm", prefix=f"hashsieve-{name}-"))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import shutil

    folder = in_memory(tmp_path_factory, "deltas")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def small(folder):
    (folder / "small").mkdir()
    return Pair(folder / "small", [record(1), record(2, ref="x")], [record(1), record(3, size=5, ref="é")])


@pytest.fixture(scope="module")
def large(folder):
    """Several chunks, all shapes."""
    (folder / "large").mkdir()
    common = mixed(1)
    rng = random.Random(5)
    many = [
        Record({"md5": rng.randbytes(16)}, rng.choice([None, 7]), Listing("list", Role.TRUSTED)) for _ in range(20000)
    ]
    return Pair(folder / "large", common + mixed(2), common + mixed(3) + many, sizes="trusted", valid_until_seconds=99)


@pytest.fixture(autouse=True)
def nothing_left(folder):
    yield
    assert not [path for path in folder.rglob(".*") if path.name.endswith("-tmp")]


# ---------------------------------------------------------------- as the specification says


def test_a_delta_is_what_the_specification_says(small, large):
    for pair in (small, large):
        said = db.ReferenceDelta(pair.data)
        with HashSet.open(pair.old) as old, HashSet.open(pair.new) as new:
            assert (said.base_root, said.base_generation) == (old.root, 1)
            assert (said.root, said.generation, said.valid_until) == (new.root, 2, new.valid_until_seconds)
            assert said.entries == len(new)
            assert said.sizes == (new.sizes == "trusted")
            assert said.millibits == 16000
            assert pair.made.base == old.root
        assert pair.made.rows == len(said.adds) + len(said.cancels)
        assert pair.made.file_bytes == len(pair.data)
        assert said.own_signatures == said.signatures == b""
    said = db.ReferenceDelta(small.data)
    listed = ("list", "known-bad", None)
    assert said.cancels == [((("md5", bytes([2]) * 16),), None, listed, b"x")]
    assert said.adds == [((("md5", bytes([3]) * 16),), 5, listed, "é".encode())]
    assert len(db.ReferenceDelta(large.data).adds) > 20000
    assert len(large.data) > 2 * db.CHUNK


def test_a_delta_gives_the_bytes_of_the_full_build(small, large):
    for pair in (small, large):
        assert pair.apply() == pair.new.read_bytes()


def test_two_sets_give_one_delta(large):
    with HashSet.open(large.old) as old, HashSet.open(large.new) as new:
        make_delta(old, new, large.folder / "again")
    assert (large.folder / "again").read_bytes() == large.data


@pytest.mark.parametrize(
    ("old", "new", "rows"),
    [
        ([record(1)], [record(1)], 0),
        ([record(1)], [], 1),
        ([], [record(1)], 1),
        ([], [], 0),
        ([record(1)], [record(1, source="other")], 2),
        ([record(1)], [record(1, size=0)], 2),
        ([record(1, ref="")], [record(1)], 2),
        ([record(1)], [record(1, role=Role.TRUSTED), record(1, category="")], 3),
    ],
    ids=["no change", "all gone", "all new", "nothing", "source", "size", "record id", "role and category"],
)
def test_any_change_of_a_listing_is_told(folder, old, new, rows):
    with contextlib.suppress(FileExistsError):
        (folder / "change").mkdir()
    pair = Pair(folder / "change", old, new)
    assert pair.made.rows == rows
    assert pair.apply() == pair.new.read_bytes()


def test_a_change_costs_little_more_than_its_digests(folder):
    rng = random.Random(1)
    records = [Record({"md5": rng.randbytes(16)}, None, Listing("list", Role.KNOWN_BAD)) for _ in range(4000)]
    with contextlib.suppress(FileExistsError):
        (folder / "change").mkdir()
    pair = Pair(folder / "change", records[:3000], records[1000:])
    assert pair.made.rows == 2000
    assert pair.made.file_bytes < 2000 * 17 + 500


def test_record_ids_that_are_no_text_come_through(folder):
    """Ids as raw bytes, of which a text would not give back the same."""
    with contextlib.suppress(FileExistsError):
        (folder / "change").mkdir()
    refs = [b"\xed\xb2\x80", b"\x80", b"\xff\xfe", b"\xed\xa0\x80", bytes(4096)]
    old = [record(n, ref="stays" if n else None) for n in range(3)]
    new = [*old[1:], *(record(9, ref=ref.decode("utf-8", "surrogateescape")) for ref in refs)]
    pair = Pair(folder / "change", old, new)
    assert {ref for *_, ref in db.ReferenceDelta(pair.data).adds} == set(refs)
    assert pair.apply() == pair.new.read_bytes()


# ---------------------------------------------------------------- chains


@pytest.fixture(scope="module")
def releases(folder):
    """Sets 0 to 3 with generations 1, 2, 3, 4, and the deltas between neighbours; "other" is of another maker."""
    at = folder / "releases"
    at.mkdir()
    for number in range(4):
        build(at / f"{number}.hset", [record(n) for n in range(number, number + 3)], number + 1)
        if number:
            with HashSet.open(at / f"{number - 1}.hset") as old, HashSet.open(at / f"{number}.hset") as new:
                make_delta(old, new, at / f"{number}.hdelta")
    build(at / "other.hset", [record(77)], 2)
    return at


def test_a_chain_in_one_call_is_the_same_as_step_by_step(releases):
    apply_delta(releases / "0.hset", [releases / f"{n}.hdelta" for n in (1, 2, 3)], releases / "out")
    assert (releases / "out").read_bytes() == (releases / "3.hset").read_bytes()
    report = apply_delta(str(releases / "0.hset"), str(releases / "1.hdelta"), str(releases / "out"))
    assert (releases / "out").read_bytes() == (releases / "1.hset").read_bytes()
    assert (report.generation, report.entries, report.path) == (2, 3, str(releases / "out"))


def test_a_set_may_be_replaced_by_what_its_delta_makes_of_it(releases):
    live = releases / "live"
    live.write_bytes((releases / "1.hset").read_bytes())
    live.chmod(0o640)
    apply_delta(live, [releases / "2.hdelta", releases / "3.hdelta"], live)
    assert live.read_bytes() == (releases / "3.hset").read_bytes()
    assert live.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("base", "deltas", "says"),
    [
        (0, [2], "a delta between them is missing"),
        (0, [1, 3], "a delta between them is missing"),
        (1, [1], "nothing to do"),
        (2, [1], "older"),
        (3, [1, 2], "older"),
        (1, [2, 2], "nothing to do"),
        (1, [3, 2], "a delta between them is missing"),
        ("other", [2], "starts from another set"),
        ("other", [1], "older"),
        ("other", [3], "missing"),
    ],
)
def test_a_delta_that_does_not_follow_is_refused_as_what_it_is(releases, base, deltas, says):
    out = releases / "never"
    with pytest.raises(DeltaBaseError, match=says) as caught:
        apply_delta(releases / f"{base}.hset", [releases / f"{n}.hdelta" for n in deltas], out)
    text = str(caught.value)
    wrong = next(n for n in deltas[::-1] if f"{n}.hdelta: leads" in text)
    said = db.ReferenceDelta((releases / f"{wrong}.hdelta").read_bytes())
    for root in (said.base_root, said.root):
        assert root.hex()[:16] in text
    if text.count(".hdelta") == 1:  # the first of the call
        with HashSet.open(releases / f"{base}.hset") as known:
            assert known.root.hex()[:16] in text
        assert str(releases / f"{base}.hset") in text
    assert not out.exists()


def test_a_generation_that_is_not_the_bases_is_refused(releases):
    data = bytearray((releases / "2.hdelta").read_bytes())
    struct.pack_into("<Q", data, db.BASE_GENERATION, 1)
    (releases / "lies.hdelta").write_bytes(db.make_consistent(data))
    with pytest.raises(DeltaFormatError, match="generation 1"):
        apply_delta(releases / "1.hset", releases / "lies.hdelta", releases / "never")


def test_a_delta_leads_to_a_higher_generation_only(releases):
    for old, new in ((1, 1), (2, 1)):
        with (
            HashSet.open(releases / f"{old}.hset") as a,
            HashSet.open(releases / f"{new}.hset") as b,
            pytest.raises(UsageError, match="a delta leads to a higher one"),
        ):
            make_delta(a, b, releases / "never")
    assert not (releases / "never").exists()


def test_what_is_wrong_with_the_call_is_said(releases):
    with pytest.raises(UsageError, match="at least one delta"):
        apply_delta(releases / "0.hset", [], releases / "never")
    with pytest.raises(DeltaError, match=r"none\.hdelta: cannot be opened: No such file"):
        apply_delta(releases / "0.hset", releases / "none.hdelta", releases / "never")
    with pytest.raises(DeltaFormatError, match="does not start as a delta does"):
        apply_delta(releases / "0.hset", releases / "1.hset", releases / "never")
    with pytest.raises(DeltaFormatError, match="not a regular file"):
        apply_delta(releases / "0.hset", releases, releases / "never")
    with pytest.raises(OutputError, match="is one of the deltas"):
        apply_delta(releases / "0.hset", releases / "1.hdelta", releases / "1.hdelta")
    with pytest.raises(OutputError, match="not a regular file"):
        apply_delta(releases / "0.hset", releases / "1.hdelta", releases)
    with pytest.raises(OutputError, match="NUL"):
        apply_delta(releases / "0.hset", releases / "1.hdelta", "a\0b")
    assert not (releases / "never").exists()


# ---------------------------------------------------------------- damage


def test_every_bit_of_a_small_delta_counts(small):
    refused = 0
    for bit in range(len(small.data) * 8):
        data = bytearray(small.data)
        data[bit // 8] ^= 1 << bit % 8
        problem = small.outcome(bytes(data))
        assert problem is not None, f"bit {bit}"
        refused += isinstance(problem, DeltaDamagedError)
        if bit // 8 >= db.HEADER_BYTES:
            assert isinstance(problem, DeltaDamagedError), f"bit {bit}: {problem}"
    assert refused > len(small.data) * 8 * 0.8


def test_cut_anywhere_or_longer(small, large):
    for length in range(len(small.data)):
        problem = small.outcome(small.data[:length])
        assert isinstance(problem, DeltaFormatError if not length else DeltaDamagedError), length
    for length in {*range(0, len(large.data), 4999), len(large.data) - 1}:
        assert large.outcome(large.data[:length]) is not None, length
    for more in (b"\0", small.data[-1:], small.data[-32:], small.data):
        assert isinstance(small.outcome(small.data + more), DeltaDamagedError)


def test_random_flips_of_a_large_delta_are_refused(large):
    rng = random.Random(2)
    for _ in range(300):
        data = bytearray(large.data)
        for _ in range(rng.choice([1, 1, 2, 8])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        assert bytes(data) == large.data or isinstance(large.outcome(bytes(data)), DeltaError)


def test_chunks_that_changed_places_are_refused(large):
    first = db.sections_of(large.data)[0].offset
    data = bytearray(large.data)
    a, b = slice(first, first + db.CHUNK), slice(first + db.CHUNK, first + 2 * db.CHUNK)
    data[a], data[b] = data[b], data[a]
    with pytest.raises(DeltaDamagedError, match="chunk 0"):
        large.apply(bytes(data))


def test_a_delta_that_changes_while_it_is_read_is_noticed(large):
    path = large.folder / "changing.hdelta"
    path.write_bytes(large.data)
    with DeltaFile(path) as delta:
        delta.verify()
        rows = delta.rows(list(range(len(delta.classes))))
        next(rows)
        os.truncate(path, 1000)
        with pytest.raises(DeltaDamagedError, match=r"changing\.hdelta"):
            list(rows)
        path.write_bytes(large.data[:-200000] + bytes(200000))
        with pytest.raises(DeltaDamagedError, match="checksum"):
            delta.verify()


def test_a_damaged_base_is_refused(large):
    data = bytearray(large.old.read_bytes())
    rng = random.Random(3)
    for page in rng.sample(range(1, len(data) // 4096), 12):
        at = page * 4096 + rng.randrange(4096)
        data[at] ^= 1
        (large.folder / "damaged").write_bytes(data)
        data[at] ^= 1
        try:
            apply_delta(large.folder / "damaged", large.delta, large.out)
        except SetDamagedError as problem:
            assert "damaged" in str(problem)  # noqa: PT017 -- the other outcome is checked below
            assert not large.out.exists()
        else:  # a page that the new set is not made from: a filter or fences
            assert large.out.read_bytes() == large.new.read_bytes()
            large.out.unlink()


@contextlib.contextmanager
def little_memory(extra_bytes=96 << 20):
    """Within, whoever believes a length and asks for the memory gets a MemoryError, which no test here expects."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + extra_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_length_is_believed_before_it_was_compared_with_the_file(small):
    numbers = [0, 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**64 - 1, len(small.data) + 1]
    places = [db.TRAILER, db.BODY_BYTES, db.ADDS, db.CANCELS, db.ENTRIES]
    lines = [db.HEADER_BYTES + db.LINE.size * n for n in range(3)]
    places += [line + at for line in lines for at in (8, 16, 24)]
    with little_memory():
        for place in places:
            for number in numbers:
                data = bytearray(small.data)
                struct.pack_into("<Q", data, place, number)
                if bytes(data) == small.data:
                    continue
                problem = small.outcome(bytes(data))
                assert problem is not None
                if place not in (db.TRAILER, db.BODY_BYTES):
                    problem = small.outcome(db.make_consistent(data))
                    assert place == db.ENTRIES or isinstance(problem, DeltaFormatError), (place, number)


# ---------------------------------------------------------------- consistent, but wrong


def parts(data):
    return {s.id: (s.id, s.flags, s.count, data[s.offset : s.offset + s.length]) for s in db.sections_of(data)}


def changed(data, number, **values):
    """Sections of *data*, one of them changed."""
    out = parts(data)
    id_, flags, count, content = out[number]
    out[number] = values.get("id", id_), values.get("flags", flags), values.get("count", count), values.get(
        "content", content)  # fmt: skip
    return list(out.values())


def test_a_forgery_that_changes_nothing_is_the_delta(small):
    assert db.forge(small.data, list(parts(small.data).values())) == small.data
    assert db.make_consistent(small.data) == small.data


TAIL_2, TAIL_3 = b"\x05\x01x", b"\x06\x05\x02\xc3\xa9"  # of the two rows of the small delta


def test_the_forged_tails_below_start_from_the_real_ones(small):
    assert parts(small.data)[0x301][3] == TAIL_2 + TAIL_3


@pytest.mark.parametrize(
    "tails",
    [
        b"\x05\x01x\x06\x05\x03\xc3\xa9",
        b"\x05\x01x\x06\x05\x02\xc3",
        b"\x05\x01x\x06\x05\x02\xc3\xa9\x00",
        b"\x05\x01x\x06\x85\x00\x02\xc3\xa9",
        b"\x05\x01x\x06" + b"\xff" * 9 + b"\x02\x02\xc3\xa9",
        b"\x05\x01x\x06" + b"\x80" * 11 + b"\x01\x02\xc3\xa9",
        b"\x05\x01x\x06" + db.varint(2**62) + b"\x02\xc3\xa9",
        b"\x05\x01x\x0e\x05\x02\xc3\xa9",
        b"\x05\x01x" + db.varint(2**60) + b"\x05\x02\xc3\xa9",
        b"\x05" + db.varint(4097) + bytes(4097) + TAIL_3,
        b"\x05" + db.varint(2**63) + b"x" + TAIL_3,
        b"\x04\x01x" + TAIL_3,
        b"\x00",
        b"\x05\x01x\x06\x05\x02\xc3\xa9" + bytes(200000),
    ],
    ids=["id too long", "cut", "too long", "varint with a zero", "varint over 64 bits", "varint without end", "size",
         "class", "class far away", "id over the limit", "id of 8 EB", "cancel to add", "one row less", "much longer"],
)  # fmt: skip
def test_rows_that_cannot_be_are_refused(small, tails):
    with pytest.raises(DeltaFormatError, match=r"given\.hdelta"):
        small.apply(db.forge(small.data, changed(small.data, 0x301, content=tails)))


def test_rows_out_of_order_or_twice_are_refused(small):
    a, b = bytes([2]) * 16, bytes([3]) * 16
    for digests, tails in ((b + a, TAIL_3 + TAIL_2), (a + a, TAIL_2 + TAIL_2), (a + a, b"\x05\x01x" + b"\x04\x01x")):
        sections = parts(small.data) | {0x201: (0x201, 1, 2, digests), 0x301: (0x301, 1, 2, tails)}
        with pytest.raises(DeltaFormatError, match="not in order"):
            small.apply(db.forge(small.data, list(sections.values())))


def test_a_row_to_cancel_that_is_not_there_is_refused(small):
    forged = db.forge(small.data, changed(small.data, 0x201, content=bytes([1, *[2] * 15, *[3] * 16])))
    with pytest.raises(DeltaFormatError, match="does not fit its base: a record to cancel is not in the base"):
        small.apply(forged)


@pytest.mark.parametrize(
    "fields",
    [
        {"root": bytes(32)},
        {"generation": 3},
        {"valid_until": 5},
        {"sizes": 1},
        {"millibits": 16001},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_another_result_than_the_promised_one_is_never_published(small, fields):
    with pytest.raises(DeltaResultError, match="not the promised") as caught:
        small.apply(db.forge(small.data, list(parts(small.data).values()), **fields))
    with HashSet.open(small.old) as old:
        assert old.root.hex()[:16] in str(caught.value)
    assert not small.out.exists()


def test_other_rows_than_the_right_ones_are_never_published(small):
    for digests in (bytes([2]) * 16 + bytes([4]) * 16, bytes([2]) * 16 + b"\xff" * 16):
        with pytest.raises(DeltaResultError):
            small.apply(db.forge(small.data, changed(small.data, 0x201, content=digests)))


@pytest.mark.parametrize(
    ("number", "values"),
    [
        (0x100, {"content": b"{"}),
        (0x100, {"content": b"[]"}),
        (0x100, {"content": b"{}"}),
        (0x100, {"content": b"[" * 100000}),
        (0x100, {"content": b'{"classes":[["list","bad",null]]}'}),
        (0x100, {"content": b'{"classes":[["list","known-bad"]]}'}),
        (0x100, {"content": b'{"classes":[["list","known-bad",3]]}'}),
        (0x100, {"content": b'{"classes":[[7,"known-bad",null]]}'}),
        (0x100, {"content": b'{"classes":[["list","known-bad",null],["list","known-bad",null]]}'}),
        (0x100, {"content": b'{"classes":[["list","known-bad",null],["a","known-bad",null]]}'}),
        (0x100, {"content": b"\xff"}),
        (0x100, {"content": b""}),
        (0x100, {"count": 1}),
        (0x100, {"id": 0x101}),
        (0x100, {"id": 0x901, "flags": 0}),
        (0x201, {"id": 0x202}),
        (0x201, {"id": 0x210}),
        (0x201, {"id": 0x200}),
        (0x201, {"count": 1}),
        (0x201, {"count": 3}),
        (0x201, {"content": bytes(31)}),
        (0x301, {"id": 0x302}),
        (0x301, {"id": 0x201}),
        (0x301, {"count": 1}),
        (0x301, {"id": 0x400, "count": 1}),
    ],
)
def test_sections_that_cannot_be_are_refused(small, number, values):
    with pytest.raises(DeltaFormatError, match=r"given\.hdelta"):
        small.apply(db.forge(small.data, changed(small.data, number, **values)))


def test_sections_out_of_order_are_refused(small):
    rest = list(parts(small.data).values())
    with pytest.raises(DeltaFormatError, match="cannot be"):
        small.apply(db.forge(small.data, [*rest[1:], rest[0]]))


@pytest.mark.parametrize(
    "fields",
    [
        {"generation": 2**63},
        {"generation": 1},
        {"base_generation": 2},
        {"valid_until": 253402300800},
        {"entries": 2**62},
        {"sizes": 2},
        {"millibits": 3999},
        {"millibits": 64001},
        {"adds": 2},
        {"cancels": 0},
    ],
)
def test_header_facts_that_cannot_be_are_refused(small, fields):
    with pytest.raises(DeltaFormatError):
        small.apply(db.forge(small.data, list(parts(small.data).values()), **fields))


def test_a_newer_delta_asks_for_a_newer_hashsieve(small):
    rest = list(parts(small.data).values())
    for forged in (
        db.forge(small.data, rest, version=2, min_reader=2),
        db.forge(small.data, [*rest, (0x4200, 1, 0, b"must be understood")]),
    ):
        with pytest.raises(DeltaVersionError, match="newer hashsieve"):
            small.apply(forged)
    # What a newer writer marks as readable by this version is read.
    assert small.apply(db.forge(small.data, rest, version=9)) == small.new.read_bytes()
    passed_over = db.forge(small.data, [*rest, (0x4200, 0, 7, b"may be passed over")])
    assert small.apply(passed_over) == small.new.read_bytes()


def test_any_forgery_is_refused_or_gives_the_right_result(small, large):
    """Random changes with all checksums right: the root has the last word."""
    rng = random.Random(11)
    refused = 0
    for turn in range(400):
        pair = large if turn % 20 == 0 else small
        data = bytearray(pair.data)
        for _ in range(rng.choice([1, 1, 2, 3])):
            end = u64_end(data)
            at = rng.choice([rng.randrange(db.HEADER_BYTES), rng.randrange(db.HEADER_BYTES, end)])
            data[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, data[at] ^ 1 << rng.randrange(8)])
        with contextlib.suppress(struct.error, AssertionError):
            data = db.make_consistent(data)
        refused += pair.outcome(bytes(data)) is not None
    assert refused > 200


def u64_end(data):
    return max(min(db.u64(data, db.TRAILER), len(data)), db.HEADER_BYTES + 1)


def test_every_refusal_is_of_the_one_tree_and_ends_with_2():
    for cls in (
        DeltaFormatError,
        DeltaVersionError,
        DeltaDamagedError,
        DeltaBaseError,
        DeltaResultError,
        DeltaSignatureError,
    ):
        assert issubclass(cls, DeltaError)
        assert issubclass(cls, HashsieveError)
        assert cls.exit_code == 2


def test_the_description_holds_the_classes_of_both_sets(folder):
    with contextlib.suppress(FileExistsError):
        (folder / "change").mkdir()
    pair = Pair(folder / "change", [record(1, source="b")], [record(1, source="a", category="")])
    description = json.loads(parts(pair.data)[0x100][3])
    assert description == {"classes": [["a", "known-bad", ""], ["b", "known-bad", None]]}


# ---------------------------------------------------------------- signatures


@pytest.fixture(scope="module")
def keys():
    """Three sign keys; the last one is nobody's."""
    return [SignKey(bytes([n]) * 32) for n in (1, 2, 3)]


@pytest.fixture(scope="module")
def signed(folder, keys):
    """``signed(sets, deltas)``: sets of generation 1, 2, 3, of which *sets* signs the newer two, and their deltas."""
    made = {}

    def make(sets, deltas):
        name = f"signed {sets} {deltas}"
        at = made.get(name)
        if at is None:
            at = made[name] = folder / name
            at.mkdir()
            for number in (1, 2, 3):
                by = [keys[n] for n in sets] if number > 1 else []
                build(at / f"{number}.hset", [record(n) for n in range(number, number + 3)], number,
                      sign=signer(by) if by else None, valid_until_seconds=1000)  # fmt: skip
                if number > 1:
                    with HashSet.open(at / f"{number - 1}.hset") as a, HashSet.open(at / f"{number}.hset") as b:
                        make_delta(a, b, at / f"{number}.hdelta",
                                   sign=signer([keys[n] for n in deltas]) if deltas else None)  # fmt: skip
        return at

    return make


def catch_up(at, **options):
    try:
        apply_delta(at / "1.hset", [at / "2.hdelta", at / "3.hdelta"], at / "out", **options)
        return (at / "out").read_bytes() == (at / "3.hset").read_bytes()
    finally:
        (at / "out").unlink(missing_ok=True)


@pytest.mark.parametrize("sets", [(), (0,), (0, 1)], ids=["unsigned", "one", "two"])
def test_the_signatures_of_the_new_set_come_along(signed, keys, sets):
    at = signed(sets, (0, 1))
    said = db.ReferenceDelta((at / "2.hdelta").read_bytes())
    with HashSet.open(at / "2.hset") as new:
        pairs = new.file.header["signatures"]
        assert len(pairs) == len(sets)
        assert said.signatures == b"".join(public + signature for public, signature in pairs)
    assert len(said.own_signatures) == 192
    for n in range(2):
        public, signature = said.own_signatures[96 * n :][:32], said.own_signatures[96 * n + 32 :][:64]
        (key,) = [key for key in keys if key.public == public]
        assert signature == key.sign(said.id)
    assert catch_up(at)


def test_with_trusted_keys_delta_and_result_must_be_signed_by_one_of_them(signed, keys):
    ours, theirs = [keys[0].public, keys[1].public], [keys[2].public]
    assert catch_up(signed((0,), (1,)), trusted_keys=ours)
    assert catch_up(signed((0, 2), (0,)), trusted_keys=ours)
    for sets, deltas, trusted, says in (
        ((0,), (1,), theirs, f"the delta is signed by {keys[1].public.hex()}, and none of these is trusted"),
        ((0,), (), ours, "the delta is not signed"),
        ((), (0,), ours, "the set it leads to is not signed"),
        ((2,), (0,), ours, "the set it leads to is signed by"),
        ((0,), (0,), [keys[1].public], "none of these is trusted"),
    ):
        with pytest.raises(DeltaSignatureError, match=says):
            catch_up(signed(sets, deltas), trusted_keys=trusted)
        assert catch_up(signed(sets, deltas))


def test_no_work_is_done_on_a_delta_of_unknown_origin(signed, keys, folder):
    def never(stage, done, total):
        raise AssertionError("the work began")

    at = signed((0,), (0,))
    for options in (
        {"trusted_keys": [keys[2].public]},
        {"minimum_generation": 4},
        {"require_valid": True, "clock": lambda: 1001.0},
    ):
        with pytest.raises(DeltaError, match=r"\.hdelta"):
            catch_up(at, progress=never, **options)
    assert catch_up(at, trusted_keys=[keys[0].public], minimum_generation=3, require_valid=True, clock=lambda: 999.0)


def test_a_signature_that_does_not_fit_is_refused_even_where_none_is_demanded(signed, keys):
    at = signed((0,), (0,))
    data = (at / "2.hdelta").read_bytes()
    own = bytearray(data)
    own[-40] ^= 1  # in the delta's own signature
    trailer = db.u64(own, db.TRAILER)
    own[-32:] = hashlib.sha256(own[trailer:-32]).digest()
    block = parts(data)[0x400][3]
    forged = db.forge(data, changed(data, 0x400, content=block[:-1] + bytes([block[-1] ^ 1])))
    for given, says in ((bytes(own), "signature of the delta by"), (forged, "signature of the set it leads to by")):
        (at / "given").write_bytes(given)
        with pytest.raises(DeltaSignatureError, match=says):
            apply_delta(at / "1.hset", at / "given", at / "out")
        assert not (at / "out").exists()


def test_any_bit_of_a_signature_counts(signed, keys):
    at = signed((0,), (0,))
    data = (at / "2.hdelta").read_bytes()
    rng = random.Random(3)
    for bit in rng.sample(range((len(data) - 128) * 8, len(data) * 8), 100):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        (at / "given").write_bytes(damaged)
        with pytest.raises(DeltaDamagedError):
            apply_delta(at / "1.hset", at / "given", at / "out")
