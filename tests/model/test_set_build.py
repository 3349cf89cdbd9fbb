"""Building a set whatever memory, threads, order, bases and removals: the bytes are those of the plain build."""

import contextlib
import errno
import hashlib
import json
import os
import random
import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashsieve import _build
from hashsieve.errors import OutputError, SetDamagedError, UsageError
from hashsieve.hashset import compile as module
from hashsieve.hashset.compile import SetWriter, difference
from hashsieve.hashset.hashset import HashSet
from hashsieve.hashset.seal import SealKey
from hashsieve.hashset.testfile import TEST_DIGESTS
from hashsieve.model import KINDS, DigestKind, Listing, Record, Role

sys.path.insert(0, str(Path(__file__).parents[1] / "format"))
import set_bytes
import set_maker
from set_bytes import ReferenceSet, page_hash

WIDTHS = {kind.value: kind.size_bytes for kind in KINDS}
LISTING = Listing("list a", Role.KNOWN_BAD)
CODES = {kind.value: kind.code for kind in KINDS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sets")


@contextlib.contextmanager
def small_limits(buffer_bytes):
    """Memory limits as small as one likes, so that a few records spill into many runs."""
    saved = module._MIN_MEMORY_BYTES, module._BUFFER_BYTES
    module._MIN_MEMORY_BYTES, module._BUFFER_BYTES = 1, buffer_bytes
    try:
        yield
    finally:
        module._MIN_MEMORY_BYTES, module._BUFFER_BYTES = saved


def build(path, records, memory_bytes=None, buffer_bytes=256, jobs=1, **options):
    if memory_bytes is None:
        with SetWriter(**options) as writer:
            for record in records:
                writer.add(record)
            writer.write(path)
    else:
        with small_limits(buffer_bytes), SetWriter(memory_bytes=memory_bytes, jobs=jobs, **options) as writer:
            for record in records:
                writer.add(record)
            writer.write(path)
    return path.read_bytes()


def truth(records):
    """What a set of these records holds: (digests by code, size, sorted listings with ids as bytes), in order."""
    removed = {(r.listing.source, r.listing.ref) for r in records if r.op == "remove"}
    merged = {}
    for record in records:
        digests = record.digests
        if record.op == "remove" or (
            record.listing.ref is not None and (record.listing.source, record.listing.ref) in removed
        ):
            continue
        if all(digest == TEST_DIGESTS[DigestKind(kind)] for kind, digest in digests.items()):
            continue
        codes = sorted(CODES[kind] for kind in digests)
        by_code = {CODES[kind]: digest for kind, digest in digests.items()}
        size = record.size_bytes
        key = sum(1 << code - 1 for code in codes), [by_code[c] for c in codes], -1 if size is None else size
        ref = record.listing.ref
        listing = (record.listing.source, record.listing.role.value, record.listing.category,
                   None if ref is None else ref.encode("utf-8", "surrogateescape"))  # fmt: skip
        entry = merged.setdefault((key[0], tuple(key[1]), key[2]), (by_code, size, set()))
        entry[2].add(listing)
    return [(digests, size, listings) for _, (digests, size, listings) in sorted(merged.items())]


def agrees(data, records):
    """The bytes say what the records say, by a reader made from the specification alone."""
    reference = ReferenceSet(data)
    expected = truth(records)
    assert reference.entry_count == len(expected)
    for entry, (digests, size, listings) in zip(reference.entries, expected, strict=False):
        assert entry[0] == digests
        assert entry[1] == size
        assert set(entry[2]) == listings
        assert len(entry[2]) == len(listings)
    assert {tuple(c) for c in reference.meta["classes"][:-1]} == {
        x[:3] for _, _, listings in expected for x in listings
    }
    return reference


# Few different digests, so that records share them in every way.
@st.composite
def record(draw, ops=("add",)):
    kinds = draw(st.sets(st.sampled_from(sorted(WIDTHS)), min_size=1))
    pool = st.integers(0, 7)
    digests = {}
    for kind in kinds:
        n = draw(pool)
        digests[kind] = TEST_DIGESTS[DigestKind(kind)] if n == 7 else hashlib.shake_128(b"%d" % n).digest(WIDTHS[kind])
        if n == 6:
            digests[kind] = hashlib.shake_128(b"5").digest(8) + bytes(WIDTHS[kind] - 8)  # shares eight bytes with 5
    source, role = draw(st.sampled_from([("a", Role.KNOWN_BAD), ("b", Role.TRUSTED), ("b", Role.UNDECIDED)]))
    op = draw(st.sampled_from(ops))
    refs = [None, "", "x", "y", "longer id \udcfe"] if op == "add" else ["", "x", "y"]
    listing = Listing(source, role, draw(st.sampled_from([None, "1"])), draw(st.sampled_from(refs)))
    return Record(digests, draw(st.sampled_from([None, 0, 1, 2**40])), listing, op)


records_of = st.lists(record(), max_size=60)


# ---------------------------------------------------------------- memory, threads, order


@settings(max_examples=60, deadline=None)
@given(
    records=records_of,
    memory=st.integers(1, 3000),
    buffer=st.integers(1, 500),
    jobs=st.integers(1, 3),
    rng=st.randoms(),
)
def test_memory_jobs_and_order_do_not_show(folder, records, memory, buffer, jobs, rng):
    plain = build(folder / "plain.hset", records)
    agrees(plain, records)
    again = records + rng.sample(records, len(records) // 2)
    rng.shuffle(again)
    assert build(folder / "small.hset", again, memory, buffer, jobs) == plain
    assert sorted(os.listdir(folder)) == sorted({"plain.hset", "small.hset"} | set(os.listdir(folder)) - {".tmp"})


def mixed(count, seed, kinds=tuple(WIDTHS), shared=0.1):
    rng = random.Random(seed)
    pool = {kind: [rng.randbytes(WIDTHS[kind]) for _ in range(count)] for kind in kinds}
    out = []
    for number in range(count):
        chosen = rng.sample(kinds, rng.randint(1, len(kinds)))
        digests = {kind: pool[kind][rng.randrange(count) if rng.random() < shared else number] for kind in chosen}
        source, role = rng.choice([("a", Role.KNOWN_BAD), ("b", Role.KNOWN_BAD), ("b", Role.UNDECIDED)])
        ref = rng.choice([None, None, f"id {number}", "\udcfe"])
        size = rng.choice([None, rng.randrange(2 ** rng.randrange(1, 60))])
        out.append(Record(digests, size, Listing(source, role, rng.choice([None, "1"]), ref)))
    return out


@pytest.mark.parametrize(
    ("memory", "buffer", "jobs"), [(1000, 16, 1), (20_000, 100, 2), (300_000, 4096, 1), (1 << 20, 1, 3)]
)
def test_thousands_of_records_in_many_runs(folder, memory, buffer, jobs):
    records = mixed(3000, 5)
    plain = build(folder / "plain.hset", records)
    agrees(plain, records)
    assert build(folder / "small.hset", records, memory, buffer, jobs) == plain


@pytest.mark.parametrize("kinds", [("md5",), ("sha1", "sha256"), ("md5", "blake3")])
@pytest.mark.parametrize("shared", [0, 0.3])
def test_one_and_two_kinds_in_many_runs(folder, kinds, shared):
    records = [r for r in mixed(1500, 6, kinds, shared) if len(r.digests) == len(kinds)]
    plain = build(folder / "plain.hset", records)
    reference = agrees(plain, records)
    assert reference.sections[4 << 8 | CODES[kinds[0]]].aux & 0xFF == 0 or shared
    assert build(folder / "small.hset", records, 5000, 64, 2) == plain


@pytest.mark.parametrize("jobs", [1, 2])
def test_packed_digests_in_many_runs(folder, jobs):
    digests = [random.Random(1).randbytes(16) for _ in range(5000)] + [TEST_DIGESTS[DigestKind.MD5]]
    plain = build(folder / "plain.hset", [Record({"md5": digest}, None, LISTING) for digest in digests])
    with small_limits(64), SetWriter(memory_bytes=10_000, jobs=jobs) as writer:
        for at in range(0, len(digests), 700):
            writer.add_packed("md5", b"".join(digests[at : at + 700]), LISTING)
        writer.write(folder / "packed.hset")
    assert (folder / "packed.hset").read_bytes() == plain


@pytest.mark.parametrize("copies", [1, 2, 3, 1000])
def test_copies_of_one_record_are_one_entry_in_any_memory(folder, copies):
    records = [Record({"md5": bytes(16), "sha1": b"s" * 20}, 7, Listing("a", Role.KNOWN_BAD, None, "ref"))] * copies
    plain = build(folder / "plain.hset", records)
    assert len(agrees(plain, records).entries) == 2
    assert build(folder / "small.hset", records, 500, 64) == plain


def test_one_digest_with_more_ids_than_memory_holds(folder):
    rng = random.Random(1)
    records = [Record({"md5": bytes(16)}, None, Listing("a", Role.KNOWN_BAD, None, f"id {rng.randrange(3000)}"))
               for _ in range(6000)]  # fmt: skip
    plain = build(folder / "plain.hset", records)
    agrees(plain, records)
    assert build(folder / "small.hset", records, 3000, 64) == plain


# ---------------------------------------------------------------- removed records


@settings(max_examples=60, deadline=None)
@given(
    records=st.lists(record(ops=("add", "add", "add", "remove")), max_size=40),
    memory=st.one_of(st.none(), st.integers(1, 2000)),
    rng=st.randoms(),
)
def test_a_removal_takes_out_every_record_of_its_source_and_id_whatever_the_order(folder, records, memory, rng):
    gone = {(r.listing.source, r.listing.ref) for r in records if r.op == "remove"}
    left = [r for r in records if r.op == "add" and (r.listing.source, r.listing.ref) not in gone]
    plain = build(folder / "plain.hset", left)
    agrees(plain, records)
    rng.shuffle(records)
    assert build(folder / "removed.hset", records, memory, 64) == plain


def test_more_removed_ids_than_memory_holds(folder):
    records = [Record({"md5": random.Random(n).randbytes(16)}, None, Listing("a", Role.KNOWN_BAD, None, f"id {n}"))
               for n in range(400)]  # fmt: skip
    removals = [Record({}, None, Listing("a", Role.KNOWN_GOOD, "any", f"id {n}"), "remove") for n in range(0, 400, 2)]
    removals += [Record({}, None, Listing("b", Role.KNOWN_BAD, None, f"id {n}"), "remove") for n in range(400)]
    plain = build(folder / "plain.hset", records[1::2])
    for memory in (None, 600, 5000):  # 4 and 39 of the 600 ids at a time
        assert build(folder / "removed.hset", removals[::2] + records + removals[1::2], memory, 64) == plain


def test_a_removal_without_an_id_and_an_unknown_op_are_refused():
    with SetWriter() as writer:
        with pytest.raises(UsageError, match="id"):
            writer.add(Record({"md5": bytes(16)}, None, LISTING, "remove"))
        with pytest.raises(UsageError, match="'replace'"):
            writer.add(Record({"md5": bytes(16)}, None, LISTING, "replace"))


# ---------------------------------------------------------------- bases and differences


def without_limit_or(memory):
    return contextlib.nullcontext() if memory is None else small_limits(64)


@settings(max_examples=60, deadline=None)
@given(old=records_of, new=records_of, memory=st.one_of(st.none(), st.integers(1, 2000)), rng=st.randoms())
def test_base_and_difference_give_the_new_set(folder, old, new, memory, rng):
    new = new + rng.sample(old, len(old) * 3 // 4)
    build(folder / "old.hset", old)
    expected = build(folder / "new.hset", new)
    options = {} if memory is None else {"memory_bytes": memory}
    with (
        HashSet.open(folder / "old.hset") as base,
        HashSet.open(folder / "new.hset") as fresh,
        without_limit_or(memory),
    ):
        with difference(base, fresh, **options) as (classes, pieces):
            rows = list(pieces)
        with SetWriter(**options) as writer:
            writer.add_base(base)
            for piece in rows:
                writer.add_rows(piece, classes)
            writer.write(folder / "applied.hset")
        assert (folder / "applied.hset").read_bytes() == expected
        # By hand, too: what only the old one has is cancelled, what only the new one has is added.
        a, b = truth(old), truth(new)
        statements = [{(tuple(d.items()), s, x) for d, s, listings in side for x in listings} for side in (a, b)]
        with SetWriter(**options) as writer:
            for digests, size, (source, role, category, ref) in sorted(statements[0] ^ statements[1], key=repr):
                text = None if ref is None else ref.decode("utf-8", "surrogateescape")
                listing = Listing(source, Role(role), category, text)
                one = Record({KINDS[code - 1].value: digest for code, digest in digests}, size, listing)
                if (digests, size, (source, role, category, ref)) in statements[0]:
                    writer.cancel(one)
                else:
                    writer.add(one)
            writer.add_base(base)
            writer.write(folder / "applied.hset")
        assert (folder / "applied.hset").read_bytes() == expected
        count = sum(len(parse(piece)) for piece in rows)
        assert count == len(statements[0] ^ statements[1])


def parse(rows):
    out, at = [], 0
    while at < len(rows):
        shape = rows[at]
        width = sum(WIDTHS[kind.value] for kind in KINDS if shape >> kind.code - 1 & 1)
        size, number, op, ref = struct.unpack_from(">QIB", rows, at + 1 + width) + struct.unpack_from(
            "<H", rows, at + 14 + width
        )
        start = at + 16 + width
        at = start + max(ref - 1, 0)
        out.append((shape, rows[start - 15 - width : start - 15], size, number, op, rows[start:at] if ref else None))
    return out


def test_a_difference_says_who_has_what(folder):
    one = Record({"md5": b"a" * 16, "sha1": b"b" * 20}, 9, Listing("s", Role.TRUSTED, "c", "ref"))
    two = Record({"md5": b"a" * 16}, None, LISTING)
    build(folder / "old.hset", [one])
    build(folder / "new.hset", [two])
    with HashSet.open(folder / "old.hset") as old, HashSet.open(folder / "new.hset") as new:
        with difference(old, new) as (classes, pieces):
            assert parse(b"".join(pieces)) == [
                (1, b"a" * 16, 0, classes.index(("list a", "known-bad", None)), 0, None),
                (3, b"a" * 16 + b"b" * 20, 10, classes.index(("s", "trusted", "c")), 2, b"ref"),
            ]
        with difference(old, old) as (_, pieces):
            assert list(pieces) == []


def test_large_bases_apply_in_pieces(folder):
    old, change = mixed(4000, 11), mixed(600, 12)
    new = old[300:] + change
    build(folder / "old.hset", old)
    expected = build(folder / "new.hset", new)
    with (
        HashSet.open(folder / "old.hset") as base,
        HashSet.open(folder / "new.hset") as fresh,
        small_limits(64),
        difference(base, fresh, memory_bytes=30_000) as (classes, pieces),
        SetWriter(memory_bytes=30_000, jobs=2) as writer,
    ):
        for piece in pieces:
            writer.add_rows(piece, classes)
        writer.add_base(base)
        writer.write(folder / "applied.hset")
    assert (folder / "applied.hset").read_bytes() == expected


def test_what_is_not_in_the_base_cannot_be_cancelled(folder):
    build(folder / "old.hset", [Record({"md5": b"a" * 16}, None, LISTING)])
    for wrong in (
        Record({"md5": b"b" * 16}, None, LISTING),
        Record({"md5": b"a" * 16}, 1, LISTING),
        Record({"md5": b"a" * 16}, None, Listing("list a", Role.KNOWN_BAD, None, "ref")),
        Record({"md5": b"a" * 16}, None, Listing("list b", Role.KNOWN_BAD)),
    ):
        with HashSet.open(folder / "old.hset") as base, SetWriter() as writer:
            writer.add_base(base)
            writer.cancel(wrong)
            with pytest.raises(UsageError, match="not in the base"):
                writer.write(folder / "no.hset")
    assert not (folder / "no.hset").exists()


@pytest.mark.parametrize("cut", [1, 10, 17, 31, 32])
def test_rows_that_end_early_or_cannot_be_are_refused(cut):
    row = struct.pack(">B16sQIB", 1, b"a" * 16, 0, 0, 0) + struct.pack("<H", 0)
    with SetWriter() as writer:
        with pytest.raises(ValueError, match=r"early|shape"):
            writer.add_rows(row[:-1] if cut == 31 else row[:cut] if cut < 31 else row + b"\0", [("s", "test", None)])
        with pytest.raises(ValueError, match="cannot be"):
            writer.add_rows(row, [])
        with pytest.raises(ValueError, match="cannot be"):
            writer.add_rows(row[:29] + b"\1" + row[30:], [("s", "test", None)])


def write_over(base, path):
    with SetWriter() as writer:
        writer.add_base(base)
        writer.write(path)


def test_a_damaged_base_is_noticed_and_named(folder):
    path = folder / "old.hset"
    data = bytearray(build(path, mixed(2000, 3)))
    reference = ReferenceSet(bytes(data))
    for section in reference.sections.values():
        if section.type in (1, 2, 3) or section.subject & 0x80 or section.id == 0x501:  # not read for its records
            continue
        damaged = bytearray(data)
        damaged[section.offset + section.length // 2] ^= 4
        path.write_bytes(damaged)
        with HashSet.open(path, load=()) as base, pytest.raises(SetDamagedError, match=r"old\.hset"):
            write_over(base, folder / "no.hset")
        assert not (folder / "no.hset").exists()


# ---------------------------------------------------------------- hashes of pages


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
def test_pages_are_hashed_alike_one_by_one_and_several_at_once(count):
    pages, set_id = random.Random(count).randbytes(4096 * count), bytes(range(16))
    expected = b"".join(page_hash(set_id, 0x401, 9 + n, pages[n * 4096 : n * 4096 + 4096]) for n in range(count))
    tried = 0
    for kernel in (None, "portable", "sse2-x4", "avx2-x8", "shani-x1", "shani-x2", "shani-x3", "neon-x4", "armsha-x4"):
        try:
            assert _build.page_hashes(set_id, 0x401, 9, pages, kernel) == expected, kernel
            tried += 1
        except ValueError:
            continue
    assert tried >= 2


# ---------------------------------------------------------------- trouble


def test_a_place_for_temporary_files_that_cannot_be_is_named(folder):
    digests = random.Random(1).randbytes(16_000)
    with small_limits(64):
        writer = SetWriter(memory_bytes=1000, temp_dir=folder / "missing")
    with pytest.raises(OutputError, match="missing"):
        writer.add_packed("md5", digests, LISTING)
    writer.close()


def test_a_writer_that_fails_or_is_closed_keeps_no_file_open(folder):
    before = len(os.listdir("/proc/self/fd"))
    for stop in range(12):

        def progress(stage, done, total, calls=[0], stop=stop):  # noqa: B006
            calls[0] += 1
            if calls[0] > stop:
                raise KeyboardInterrupt

        with small_limits(64), SetWriter(memory_bytes=2000, jobs=2) as writer:
            for record_ in mixed(300, 1):
                writer.add(record_)
            with contextlib.suppress(KeyboardInterrupt):
                writer.write(folder / "stopped.hset", progress=progress)
        assert len(os.listdir("/proc/self/fd")) == before
        assert not [name for name in os.listdir(folder) if name.startswith(".")]


# ---------------------------------------------------------------- seals and signatures


class PlainSeal:
    """Seals nothing, but shows what a seal is asked for."""

    key_id = bytes(range(16))

    def __init__(self):
        self.asked = []

    def fingerprints(self, code, packed):
        width = WIDTHS[KINDS[code - 1].value]
        return b"".join(fingerprint(code, packed[at : at + width]) for at in range(0, len(packed), width))

    def sealer(self, plain_sha256, set_id):
        self.asked.append((plain_sha256, set_id))
        return self

    @property
    def salt(self):
        return self.asked[-1][0]

    def chunk(self, number, last, plain):
        return plain[::-1] + struct.pack("<QQ", number, last)


def fingerprint(code, digest):
    return hashlib.sha256(bytes([code]) + digest).digest()[:16]


def sealed_entries(data):
    """(fingerprints by code, size, listings) of every entry of a set that PlainSeal sealed, and its description."""
    key_id, (count,) = data[64:80], struct.unpack_from("<I", data, 84)
    assert key_id == PlainSeal.key_id
    lines = [struct.unpack_from("<IIQQQQ", data, 120 + 40 * n) for n in range(count)]
    assert not {line[0] >> 8 for line in lines} & {1, 7, 8}
    section, flags, offset, length, chunks, aux = lines[0]
    assert (section, flags, aux) == (0x900, 1, 65536)
    sealed, text = data[offset + 32 : offset + length], b""
    for number in range(chunks):
        chunk = sealed[number * 65552 : (number + 1) * 65552]
        assert chunk[-16:] == struct.pack("<QQ", number, number == chunks - 1)
        assert len(chunk) == 65552 or number == chunks - 1
        text += chunk[:-16][::-1]
    assert data[offset : offset + 32] == hashlib.sha256(text).digest()
    parts, at = [], 32
    for size in struct.unpack_from("<4Q", text):
        parts.append(text[at : at + size])
        at += size
    assert at == len(text)
    meta, columns, groups, refs = parts
    meta = json.loads(meta)

    def rows(line, width):
        per_page = 4096 // width if width else 1
        for n in range(line[4]):
            at = line[2] + (n // per_page * 4096 + n % per_page * width if width else 0)
            yield data[at : at + width]

    tables = {
        line[0] & 7: [row[:16] for row in rows(line, 16 + (line[5] & 0xFF))] for line in lines if line[0] >> 8 == 4
    }
    assert all(table == sorted(set(table)) for table in tables.values())

    def group(where, at):
        _, at = set_bytes.varint(where, at)
        count, at = set_bytes.varint(where, at)
        listings = []
        for _ in range(count):
            number, at = set_bytes.varint(where, at)
            ref, at = set_bytes.varint(where, at)
            listings.append((*meta["classes"][number], where[at : at + ref - 1] if ref else None))
            at += max(ref - 1, 0)
        return tuple(listings), at

    shared, at = [], 0
    while at < len(groups):
        one, at = group(groups, at)
        shared.append(one)
    size_width, group_width, at, entries = columns[0], columns[1], 2, []
    for line in lines:
        if line[0] >> 8 != 6:
            continue
        row_width, implicit = line[5] & 0xFF, line[5] >> 24
        assert line[5] >> 8 & 0xFFFF == 0
        codes = [code for code in (1, 2, 3, 4) if line[0] >> code - 1 & 1]
        test_row = next(table[5] >> 8 for table in lines if table[0] == 4 << 8 | codes[0])
        for row in rows(line, (len(codes) - implicit) * row_width):
            numbers = [int.from_bytes(row[n : n + row_width], "little") for n in range(0, len(row), row_width)]
            if implicit:
                first = test_row - 1 if line[0] & 0x80 else len(entries) + (len(entries) >= test_row - 1)
                numbers.insert(0, first)
            size = int.from_bytes(columns[at : at + size_width], "little")
            value = int.from_bytes(columns[at + size_width : at + size_width + group_width], "little")
            at += size_width + group_width
            listings = group(refs, value >> 1)[0] if value & 1 else shared[value >> 1]
            held = {code: tables[code][number] for code, number in zip(codes, numbers, strict=True)}
            entries.append((held, size - 1 if size else None, set(listings)))
    assert at == len(columns)
    return entries, meta


@pytest.mark.parametrize(
    ("kinds", "count"),
    [
        (("md5",), 0),
        (("md5",), 1),
        (("sha256",), 500),
        (("md5", "sha1"), 500),
        (tuple(WIDTHS), 1),
        (tuple(WIDTHS), 6000),
    ],
)
def test_a_sealed_set_says_the_same_behind_the_seal(folder, kinds, count):
    records = [r for r in mixed(count, 7, kinds, 0.05) if len(kinds) > 2 or len(r.digests) == len(kinds)]
    seal = PlainSeal()
    data = build(folder / "sealed.hset", records, seal=seal)
    entries, meta = sealed_entries(data)
    assert seal.asked == [(data[4096 : 4096 + 32], data[48:64])]
    assert meta == ReferenceSet(build(folder / "plain.hset", records)).meta
    expected = [
        ({code: fingerprint(code, digest) for code, digest in digests.items()}, size, listings)
        for digests, size, listings in truth(records)
    ]
    assert sorted(entries[: len(expected)], key=repr_of) == sorted(expected, key=repr_of)
    assert [entry[1:] for entry in entries[len(expected) :]] == [
        (68, {("hashsieve test file", "test", None, None)}) for _ in range(bool(expected))
    ]
    assert build(folder / "again.hset", records[::-1], 3000, 64, 2, seal=PlainSeal()) == data


def repr_of(entry):
    digests, size, listings = entry
    return repr((sorted(digests.items()), size, sorted(map(repr, listings))))


def test_packed_digests_are_sealed_like_others(folder):
    digests = [random.Random(n).randbytes(20) for n in range(300)]
    records = [Record({"sha1": digest}, None, LISTING) for digest in digests]
    data = build(folder / "sealed.hset", records, seal=PlainSeal())
    with SetWriter(seal=PlainSeal()) as writer:
        writer.add_packed("sha1", b"".join(digests), LISTING)
        writer.write(folder / "packed.hset")
    assert (folder / "packed.hset").read_bytes() == data


@settings(max_examples=25, deadline=None)
@given(old=records_of, new=records_of, memory=st.one_of(st.none(), st.integers(1, 2000)), rng=st.randoms())
def test_sealed_sets_are_the_slow_writers_and_base_and_difference_give_the_new_one(folder, old, new, memory, rng):
    new = new + rng.sample(old, len(old) * 3 // 4)
    secret = bytes(range(32))
    options = {} if memory is None else {"memory_bytes": memory}
    with SealKey(secret) as key, contextlib.ExitStack() as stack:
        build(folder / "old.hset", old, seal=key)
        expected = build(folder / "new.hset", new, seal=key)
        assert expected == set_maker.make(
            [(r.digests, r.size_bytes, (r.listing.source, r.listing.role.value, r.listing.category),
              None if r.listing.ref is None else r.listing.ref.encode("utf-8", "surrogateescape")) for r in new],
            key=secret,
        )  # fmt: skip
        base = stack.enter_context(HashSet.open(folder / "old.hset", seal_key=key, load=()))
        fresh = stack.enter_context(HashSet.open(folder / "new.hset", seal_key=key, load=()))
        stack.enter_context(without_limit_or(memory))
        classes, pieces = stack.enter_context(difference(base, fresh, **options))
        with SetWriter(seal=key, **options) as writer:
            for piece in pieces:
                writer.add_rows(piece, classes)
            writer.add_base(base)
            writer.write(folder / "applied.hset")
        assert (folder / "applied.hset").read_bytes() == expected
        with SetWriter() as writer, pytest.raises(UsageError, match="sealed"):
            writer.add_base(base)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_signatures_stand_behind_the_root(folder, count):
    asked = []

    def sign(root):
        asked.append(root)
        return bytes(range(96)) * count

    plain = build(folder / "plain.hset", mixed(10, 1))
    signed = build(folder / "signed.hset", mixed(10, 1), sign=sign)
    assert signed[:-4056] == plain[:-4056]
    assert asked == [plain[-4088:-4056]]
    assert signed[-4056:] == (struct.pack("<II", count, 0) + bytes(range(96)) * count).ljust(4056, b"\0")


@pytest.mark.parametrize("length", [0, 64, 95, 97, 96 * 9])
def test_what_is_no_signature_publishes_nothing(folder, length):
    with pytest.raises(UsageError, match="96"):
        build(folder / "no.hset", mixed(10, 1), sign=lambda root: bytes(length))
    assert not (folder / "no.hset").exists()


# ---------------------------------------------------------------- limits, progress


LIMITED = """
import random, resource, sys
from hashsieve.hashset.compile import SetWriter
from hashsieve.model import Listing, Role

count, path = int(sys.argv[1]), sys.argv[2]
rng = random.Random(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with SetWriter(memory_bytes=16 << 20, jobs=2) as writer:
    for _ in range(count // 100_000):
        writer.add_packed("md5", rng.randbytes(1_600_000), Listing("list", Role.KNOWN_BAD))
    report = writer.write(path)
print(report.entries, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_stays_as_it_is_while_records_grow(folder):
    """Records of 54 MB, a set of 60 MB: in 16 MiB, and what the program and its buffers take anyway."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", LIMITED, "3000000", folder / "large.hset"], env=environment,
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert not done.returncode, done.stderr
    entries, kib = map(int, done.stdout.split())
    assert entries == 3_000_000
    assert kib < 36 * 1024
    with HashSet.open(folder / "large.hset") as known:
        known.verify()
        assert len(known) == entries
    os.unlink(folder / "large.hset")


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_names_every_stage_and_ends_at_the_whole(folder, jobs):
    told = []
    with small_limits(64), SetWriter(memory_bytes=20_000, jobs=jobs) as writer:
        for each in mixed(2000, 2):
            writer.add(each)
        writer.write(folder / "told.hset", progress=lambda *step: told.append(step))
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == ["merge", "tables", "conflicts", "write"]
    for stage in ("merge", "tables", "write"):
        steps = [(done, total) for name, done, total in told if name == stage]
        assert steps == sorted(steps)
        assert len({total for _, total in steps}) == 1
        assert 0 <= steps[-1][0] <= steps[-1][1]


@pytest.mark.parametrize("limit", [0, 1, 4095, 20_000, 100_000, 150_000])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_file_size_limit_reached_by_temporary_files_leaves_the_old_set(folder, limit, jobs):
    path = folder / "limited.hset"
    before = build(path, mixed(20, 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    records = mixed(2500, 2)
    writer = None
    try:
        with small_limits(64):
            writer = SetWriter(memory_bytes=30_000, jobs=jobs, temp_dir=folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        with pytest.raises(OutputError, match="free space"):
            fill(writer, records, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        writer.close()
    assert path.read_bytes() == before
    assert not [name for name in os.listdir(folder) if name.startswith(".")]


def fill(writer, records, path):
    for each in records:
        writer.add(each)
    writer.write(path)


def test_writes_that_are_interrupted_or_short_are_continued_and_failing_ones_are_told(folder):
    Faults = pytest.importorskip("hashsieve_faults").Faults  # noqa: N806
    records = mixed(800, 3)
    plain = build(folder / "plain.hset", records)
    for errno_, expected in ((errno.EINTR, None), (errno.EIO, "Input/output error"), (errno.ENOSPC, "free space")):
        faults = Faults()
        faults.short_reads = True
        faults.fail("pwrite", errno_, first=20, times=3)
        with small_limits(64):
            writer = SetWriter(memory_bytes=20_000, temp_dir=folder, os_table=faults.capsule)
        with contextlib.nullcontext() if expected is None else pytest.raises(OutputError, match=expected):
            fill(writer, records, folder / "faulty.hset")
        writer.close()
        if expected is None:
            assert (folder / "faulty.hset").read_bytes() == plain
            os.unlink(folder / "faulty.hset")
        assert not (folder / "faulty.hset").exists()
