"""Sealed sets: they answer as the plain ones do, show nothing without the key, and no bit of them goes unchecked."""

import gc
import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import set_bytes as sb
import set_maker

import hashsieve
from hashsieve import HashSet, Scanner, _scan
from hashsieve.errors import (
    HashsieveError,
    SetDamagedError,
    SetFormatError,
    SetSealError,
    SetWrongKeyError,
    UsageError,
)
from hashsieve.hashset.seal import SealKey
from hashsieve.hashset.signature import SignKey
from helpers import digest, scan

KEY = bytes(range(7, 39))
OTHER = bytes(range(8, 40))


def records_of(count, seed=1, kinds=sb.ALL_KINDS):
    """As the slow writer takes them."""
    return [
        (digests, size, (source, random.Random(n).choice(["known-bad", "known-good"]), None),
         None if ref is None else ref.encode("utf-8", "surrogateescape"))
        for n, (digests, size, source, ref) in enumerate(sb.sample_records(count, seed, kinds))
    ]  # fmt: skip


SAMPLES = {
    "none": [],
    "one": records_of(1),
    "all kinds": records_of(400),
    "one kind": records_of(700, 2, ("md5",)),
    "two kinds": records_of(300, 3, ("sha1", "sha256")),
    "no two alike": [({"md5": random.Random(n).randbytes(16)}, n, ("s", "known-bad", None), None) for n in range(900)],
    "many ids": [
        ({"md5": random.Random(n).randbytes(16)}, None, ("s", "known-bad", "c"), b"id %d " % n * 30)
        for n in range(3000)
    ],
}  # fmt: skip


@pytest.fixture(params=SAMPLES, scope="module")
def pair(request, tmp_path_factory):
    """(records, plain set, sealed set), open."""
    folder, records = tmp_path_factory.mktemp("pair"), SAMPLES[request.param]
    (folder / "plain").write_bytes(set_maker.make(records, generation=4, valid_until=4102444800))
    (folder / "sealed").write_bytes(set_maker.make(records, generation=4, valid_until=4102444800, key=KEY))
    with HashSet.open(folder / "plain") as plain, HashSet.open(folder / "sealed", seal_key=lambda: KEY) as sealed:
        yield records, plain, sealed


def told(entries):
    """What entries say but their digests, without their order."""
    return sorted(repr((entry.size_bytes, entry.listings)) for entry in entries)


def test_a_sealed_set_answers_as_the_plain_one_does(pair):
    records, plain, sealed = pair
    rng = random.Random(5)
    for code, kind in sb.NAMES.items():
        asked = [digests[kind] for digests, *_ in records if kind in digests]
        asked += [rng.randbytes(sb.WIDTHS[code]) for _ in range(300)]
        asked += [bytes(sb.WIDTHS[code]), set_maker.test_digest(code)]
        rng.shuffle(asked)
        array = np.frombuffer(b"".join(asked), np.uint8).reshape(-1, sb.WIDTHS[code])
        one, other = plain.lookup(array, kind), sealed.lookup(array, kind)
        assert ((one >= 0) == (other >= 0)).all()
        for each, number in zip(asked, other.tolist(), strict=True):
            found = sealed.find(kind, each)
            assert (found is None) == (plain.find(kind, each) is None)
            assert found is None or found[0] == number
            assert told(sealed.entries(kind, each)) == told(plain.entries(kind, each))
        assert (sealed.may_match(array, kind) >= (other >= 0)).all()
        if kind in sealed.kinds:
            assert sealed.filter_fpr(kind) < 0.01


def test_a_sealed_set_describes_itself_as_the_plain_one_does(pair):
    _, plain, sealed = pair
    one, other = plain.info(), sealed.info()
    for key in one:
        if key not in ("root", "filter", "sealed", "seal_key_id"):
            assert one[key] == other[key], key
    assert (one["sealed"], other["sealed"]) == (False, True)
    assert other["seal_key_id"] == SealKey(KEY).key_id.hex()
    assert (sealed.shapes, sealed.every_size, len(sealed)) == (plain.shapes, plain.every_size, len(plain))
    assert told(sealed) == told(plain)
    assert all(entry.digests == {} for entry in sealed)
    sealed.verify()


def test_table_keys_are_fingerprints_of_the_digests(pair):
    records, plain, sealed = pair
    key = SealKey(KEY)
    for digests, *_ in records[:50]:
        for kind, each in digests.items():
            expected = key.fingerprint(kind, each)
            assert sealed.table_key(kind, each) == expected
            assert plain.table_key(kind, each) == each
            for number in sealed.find(kind, each):
                assert sealed.table_keys(number)[kind] == expected


def test_no_part_of_a_digest_is_in_the_file(pair):
    """Four bytes of a digest are found as often as by chance: at n places, of m runs, n m / 2^32 times."""
    records, _, sealed = pair
    if not records:
        return
    data = Path(sealed.path).read_bytes()
    runs = {each[at : at + 4] for digests, *_ in records for each in digests.values() for at in range(len(each) - 3)}
    found = sum(data[at : at + 4] in runs for at in range(len(data) - 3))
    by_chance = len(data) * len(runs) / 2**32
    assert found <= 10 + 3 * by_chance
    plain = set_maker.make(records)
    assert sum(plain[at : at + 4] in runs for at in range(len(plain) - 3)) > 13 * min(len(records), 100)


def test_the_same_list_under_two_keys_shares_nothing():
    records = SAMPLES["all kinds"]
    parts = []
    for key in (KEY, OTHER):
        data, runs = set_maker.make(records, key=key), set()
        for section in sb.sections_of(data):
            content = data[section.offset : section.offset + section.length]
            if section.type == sb.FILTER:
                blocks = (content[at : at + 32] for at in range(0, len(content), 32))
                runs.update(block[at : at + 8] for block in blocks if any(block) for at in range(25))
            elif section.type == sb.TABLE:
                row = 16 + (section.aux & 0xFF)
                for number in range(section.count):
                    at = number // (sb.PAGE // row) * sb.PAGE + number % (sb.PAGE // row) * row
                    runs.update(content[at + i : at + i + 8] for i in range(9))
            elif section.type == sb.SEALED:
                runs.update(content[at : at + 8] for at in range(len(content) - 7))
        assert len(runs) > 10_000
        parts.append(runs)
    assert not parts[0] & parts[1]


def sealed_section(data):
    section = next(s for s in sb.sections_of(data) if s.type == sb.SEALED)
    return data[section.offset : section.offset + section.length]


def test_equal_lists_in_any_order_give_equal_bytes_and_another_generation_another_section():
    records = SAMPLES["all kinds"]
    shuffled = random.Random(1).sample(records, len(records))
    assert set_maker.make(records, key=KEY) == set_maker.make(shuffled, key=KEY)
    # The same text in a set of another id has another salt, so another key: no nonce serves twice under one.
    one, other = (sealed_section(set_maker.make(records, key=KEY, generation=n)) for n in (1, 2))
    assert len(one) == len(other)
    assert one[:32] != other[:32]
    assert sum(a == b for a, b in zip(one, other, strict=True)) < len(one) / 64


# ---------------------------------------------------------------- keys


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "sealed.hset"
    path.write_bytes(set_maker.make(SAMPLES["all kinds"], key=KEY))
    return path


def test_without_a_key_and_with_a_wrong_one(path):
    with pytest.raises(SetSealError, match="is sealed; pass --seal-key"):
        HashSet.open(path)
    with pytest.raises(SetWrongKeyError, match=f"another key.*{SealKey(KEY).key_id.hex()}"):
        HashSet.open(path, seal_key=lambda: OTHER)
    # By the key id, before anything else: even where nothing else in the file is good.
    data = bytearray(path.read_bytes())
    data[80:] = bytes(len(data) - 80)
    path.write_bytes(data)
    with pytest.raises(SetWrongKeyError):
        HashSet.open(path, seal_key=lambda: OTHER)


def test_of_several_keys_the_set_names_its_own(path, make_set):
    for keys in ([lambda: OTHER, lambda: KEY], [SealKey(KEY), SealKey(OTHER)], SealKey(KEY)):
        with HashSet.open(path, seal_key=keys) as known:
            assert known.sealed
            assert len(known) == len(SAMPLES["all kinds"])
    with HashSet.open(make_set(b"plain"), seal_key=[lambda: OTHER]) as plain:
        assert not plain.sealed


def test_an_open_set_keeps_its_key_when_the_callers_is_closed_and_loses_it_when_it_is_closed(path):
    digests = SAMPLES["all kinds"][0][0]
    kind = next(iter(digests))
    with SealKey(KEY) as key:
        known = HashSet.open(path, seal_key=key)
    assert key.native.closed
    gc.collect()
    assert known.find(kind, digests[kind])
    known.close()
    with pytest.raises(HashsieveError, match="closed"):
        known.find(kind, digests[kind])
    with pytest.raises(HashsieveError, match="closed"):
        known.entry(0)
    with pytest.raises(UsageError, match="closed"):
        HashSet.open(path, seal_key=key)


def test_a_key_shows_in_no_text(path):
    with HashSet.open(path, seal_key=lambda: KEY) as known:
        for text in (repr(known), repr(SealKey(KEY)), str(known.info())):
            assert KEY.hex() not in text
    with pytest.raises(TypeError):
        SealKey(KEY).__reduce__()


# ---------------------------------------------------------------- damage


class _Held:
    """All answers of a set that should stay what they are."""

    def __init__(self, known):
        self.asked = [(kind, d) for digests, *_ in SAMPLES["all kinds"][:60] for kind, d in digests.items()]
        self.answers = [told(known.entries(*each)) for each in self.asked]

    def against(self, path):
        """Opens and asks everything; True when all was answered, and right."""
        try:
            with HashSet.open(path, seal_key=lambda: KEY) as known:
                for each, answer in zip(self.asked, self.answers, strict=True):
                    assert told(known.entries(*each)) == answer
                known.verify()
        except (SetDamagedError, SetFormatError, SetSealError):
            return False
        return True


def test_flipped_bits_are_errors_even_where_the_hashes_were_made_to_fit(path):
    with HashSet.open(path, seal_key=lambda: KEY) as known:
        held = _Held(known)
    data = path.read_bytes()
    rng = random.Random(11)
    assert held.against(path)
    sealed = next(s for s in sb.sections_of(data) if s.type == sb.SEALED)
    bits = [rng.randrange(sealed.offset * 8, (sealed.offset + sealed.length) * 8) for _ in range(120)]
    bits += range(sealed.offset * 8, (sealed.offset + 2) * 8)
    for consistent in (False, True):
        for bit in bits:
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            path.unlink()
            path.write_bytes(sb.make_consistent(changed) if consistent else changed)
            assert not held.against(path), (bit, consistent)
    for bit in [rng.randrange(len(data) * 8) for _ in range(300)]:
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.unlink()
        path.write_bytes(changed)
        assert not held.against(path), bit


def test_damage_under_an_open_set_is_an_error_and_never_another_answer(path):
    data = path.read_bytes()
    rng = random.Random(13)
    with HashSet.open(path, seal_key=lambda: KEY) as known:
        held = _Held(known)
    bad = 0
    for bit in [rng.randrange(len(data) * 8) for _ in range(60)]:
        path.unlink()
        path.write_bytes(data)
        with HashSet.open(path, seal_key=lambda: KEY) as known, open(path, "r+b") as file:
            for at in range(0, len(data), 64):  # a bit in every stretch of the file, and one more
                file.seek(at)
                file.write(bytes([data[at] ^ 1]))
            file.seek(bit // 8)
            file.write(bytes([data[bit // 8] ^ 1 << bit % 8 ^ 2]))
            file.flush()
            for each, answer in zip(held.asked[:20], held.answers, strict=False):
                try:
                    assert told(known.entries(*each)) == answer
                except SetDamagedError:
                    bad += 1
    assert bad >= 60 * 20 * 0.9


def test_chunks_that_were_exchanged_cut_or_taken_from_another_set_are_errors(tmp_path):
    path = tmp_path / "s"
    records = SAMPLES["many ids"]
    data = set_maker.make(records, key=KEY)
    other = set_maker.make(records, key=KEY, generation=2)
    path.write_bytes(data)
    with HashSet.open(path, seal_key=lambda: KEY) as known:
        known.verify()
        assert told(known) == sorted(told(known))
    sealed = next(s for s in sb.sections_of(data) if s.type == sb.SEALED)
    assert sealed.count >= 3
    step, at = 65536 + 16, sealed.offset + 32
    whole = slice(sealed.offset, sealed.offset + sealed.length)

    def exchanged(changed):
        changed[at : at + step], changed[at + step : at + 2 * step] = (
            data[at + step : at + 2 * step],
            data[at : at + step],
        )

    def of_another_set(changed):
        changed[whole] = other[whole]

    for change in (exchanged, of_another_set):
        changed = bytearray(data)
        change(changed)
        path.write_bytes(sb.make_consistent(changed))
        with (
            pytest.raises(SetDamagedError, match="sealed section, chunk"),
            HashSet.open(path, seal_key=lambda: KEY) as known,
        ):
            known.verify()


def line_of(data, kind, subject=0):
    """Where the section table names a section."""
    return next(
        sb.SECTION_TABLE + n * sb.LINE.size for n, s in enumerate(sb.sections_of(data)) if s.id == kind << 8 | subject
    )


def test_headers_that_do_not_fit_a_sealed_set_are_refused(path, make_set):
    data = path.read_bytes()
    line = line_of(data, sb.SEALED)
    plain = Path(make_set(b"one")).read_bytes()
    cases = [
        (data, [(line + 24, 8, 2)], "wrong length"),
        (data, [(line + 32, 8, 4096)], "wrong length"),
        (data, [(line, 4, sb.SEALED << 8 | 1)], "subject"),
        (data, [(line, 4, 0x6300)], "newer hashsieve"),
        (data, [(line, 4, sb.META << 8)], "does not belong"),
        (plain, [(line_of(plain, sb.GROUPS), 4, sb.SEALED << 8)], "does not belong"),
        (data, [(sb.SEAL_KEY_ID, 8, 0), (sb.SEAL_KEY_ID + 8, 8, 0)], "does not belong|impossible|wrong length"),
    ]
    for content, changes, words in cases:
        changed = bytearray(content)
        for place, width, value in changes:
            changed[place : place + width] = value.to_bytes(width, "little")
        path.write_bytes(sb.make_consistent(changed))
        with pytest.raises(SetFormatError, match=words):
            HashSet.open(path, seal_key=lambda: KEY)


def test_an_entry_layout_with_sizes_or_listings_is_refused_in_a_sealed_set(path):
    data = path.read_bytes()
    shape = next(s for s in sb.sections_of(data) if s.type == sb.ENTRIES)
    line = line_of(data, sb.ENTRIES, shape.subject)
    for aux in (shape.aux | 1 << 8, shape.aux | 1 << 16):
        changed = bytearray(data)
        changed[line + 32 : line + 40] = aux.to_bytes(8, "little")
        path.write_bytes(sb.make_consistent(changed))
        with pytest.raises(SetFormatError, match="layout"):
            HashSet.open(path, seal_key=lambda: KEY)


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        (lambda m, c, g, r: (m, c, g, r + 1), "do not fill"),
        (lambda m, c, g, r: (m + 1, c - 1, g, r), "do not fit|cannot be read"),
        (lambda m, c, g, r: (2**63, c, g, r), "do not fill"),
        (lambda m, c, g, r: (m, c + g + r, 0, 0), "do not fit"),
        (lambda m, c, g, r: (0, c, g, r + m), "cannot be read|do not fit"),
    ],
)
def test_a_sealed_text_whose_parts_do_not_fit_is_refused(tmp_path, monkeypatch, lengths, words):
    pack = set_maker.struct.pack

    def twisted(form, *values):
        return pack(form, *lengths(*values)) if form == "<4Q" else pack(form, *values)

    monkeypatch.setattr(set_maker.struct, "pack", twisted)
    made = set_maker.make(SAMPLES["all kinds"], key=KEY)
    monkeypatch.undo()
    (tmp_path / "s").write_bytes(made)
    with pytest.raises(SetFormatError, match=words):
        HashSet.open(tmp_path / "s", seal_key=lambda: KEY)


# ---------------------------------------------------------------- scanning


def file_record(data, *kinds, role="known-bad", size=None, ref=None, **other):
    digests = {kind: digest(kind, data) for kind in kinds} | other
    return digests, size, ("s", role, None), ref


@pytest.fixture
def tree(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    rng = random.Random(3)
    for n in range(60):
        (tree / f"f{n:02}").write_bytes(rng.randbytes(rng.choice([10, 64, 1000, 70000])))
    (tree / "test").write_bytes(set_maker.TEXT)
    return tree


def outcomes(known, tree, **options):
    with Scanner(known, **options) as scanner:
        done = scan(scanner, tree)
        gates = scanner.gates
    told = {
        o.path: (
            o.kind,
            o.reason,
            o.match and (o.match.confirmed_by, o.match.contradicted_by, o.match.test, o.match.digests),
        )
        for o in done.outcomes
    }
    s = done.summary
    return told, (s.matched, s.known_good, s.undecided, s.suppressed, dict(s.gates)), gates


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_scan_comes_to_the_same(tree, tmp_path, jobs):
    content = {n: (tree / f"f{n:02}").read_bytes() for n in range(60)}
    records = [
        file_record(content[1], "md5"),
        file_record(content[2], "md5", "sha1", "sha256", size=len(content[2]), ref=b"case 2"),
        file_record(content[3], "md5", sha1=bytes(20)),
        file_record(content[4], "sha256", role="known-good"),
        file_record(content[5], "md5", role="undecided"),
        file_record(content[6], "md5"),
        file_record(content[6], "sha1", role="trusted"),
        file_record(content[7], "blake3"),
        *(file_record(random.Random(n).randbytes(9), "md5") for n in range(500)),
    ]
    (tmp_path / "p").write_bytes(set_maker.make(records))
    (tmp_path / "s").write_bytes(set_maker.make(records, key=KEY))
    with (
        HashSet.open(tmp_path / "p", load=()) as plain,
        HashSet.open(tmp_path / "s", load=(), seal_key=lambda: KEY) as sealed,
    ):
        one, other = (outcomes(known, tree, jobs=jobs) for known in (plain, sealed))
        assert one == other
        assert one[1][0] == 5
        assert one[1][1:4] == (1, 1, 1)
        assert outcomes([plain, sealed], tree, jobs=jobs)[0] == one[0]
        for n in (1, 2, 3, 6, 7, 20):
            found = []
            for known in (plain, sealed):
                with Scanner(known) as scanner:
                    outcome = scanner.examine_bytes(content[n])
                    found.append((outcome.kind, outcome.match and outcome.match.confirmed_by,
                                  outcome.match and outcome.match.contradicted_by))  # fmt: skip
            assert found[0] == found[1]


def test_the_gate_of_known_sizes_works_from_the_sealed_sizes(tree, tmp_path):
    content = (tree / "f05").read_bytes()
    records = [file_record(content, "md5", size=len(content)), *SAMPLES["no two alike"]]
    records = [(d, size if size is not None else 3, *rest) for d, size, *rest in records]
    (tmp_path / "p").write_bytes(set_maker.make(records, sizes=1))
    (tmp_path / "s").write_bytes(set_maker.make(records, sizes=1, key=KEY))
    with (
        HashSet.open(tmp_path / "p", load=()) as plain,
        HashSet.open(tmp_path / "s", load=(), seal_key=lambda: KEY) as sealed,
    ):
        one, other = (outcomes(known, tree) for known in (plain, sealed))
        assert one == other
        assert "known-sizes" in one[2]
        assert one[1][4]["known-sizes"] > 0
        sizes = [_scan.Sizes(), _scan.Sizes()]
        for known, each in zip((plain, sealed), sizes, strict=True):
            known.add_sizes_to(each)
        assert len(sizes[0]) == len(sizes[1])
        assert all((n in sizes[0]) == (n in sizes[1]) for n in range(2000))


def test_rows_of_sizes_that_are_none_are_refused():
    sizes = _scan.Sizes()
    sizes.add_rows(bytes([5, 9, 1, 9]), 2, 1)
    assert len(sizes) == 2
    assert 4 in sizes
    assert 0 in sizes
    for rows, row_bytes, size_bytes in (
        (bytes([0, 1]), 2, 1),
        (bytes(4), 2, 0),
        (bytes([1] * 5), 2, 1),
        (bytes(9), 9, 9),
    ):
        with pytest.raises(SetDamagedError):
            sizes.add_rows(rows, row_bytes, size_bytes)


# ---------------------------------------------------------------- batches, following, installing


def test_large_batches_in_threads_answer_as_one_by_one(path):
    records = SAMPLES["all kinds"]
    rng = np.random.default_rng(1)
    with HashSet.open(path, seal_key=lambda: KEY) as known:
        members = np.frombuffer(b"".join(d["md5"] for d, *_ in records if "md5" in d), np.uint8).reshape(-1, 16)
        absent = rng.integers(0, 256, (200_000, 16), dtype=np.uint8)
        batch = np.concatenate([absent, members])[rng.permutation(len(absent) + len(members))]
        alone = known.lookup(batch, "md5")
        assert (alone >= 0).sum() == len(members)
        for threads in (2, 3):
            assert (known.lookup(batch, "md5", threads=threads) == alone).all()
            assert (known.may_match(batch, "md5", threads=threads) >= (alone >= 0)).all()
        flags = bytearray(len(batch))
        assert known.mark_listed("md5", batch.tobytes(), flags) == len(members)
        assert (np.frombuffer(flags, np.uint8) == (alone >= 0)).all()


def test_a_followed_set_reads_its_key_once(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, b"hashsieve seal key 1\n%s\n" % KEY.hex().encode())
    os.close(writing)
    path = tmp_path / "s"
    told = []
    path.write_bytes(set_maker.make(SAMPLES["one kind"], key=KEY))
    options = {"seal_key": f"fd:{reading}", "poll_seconds": 0, "on_event": told.append}
    try:
        followed = hashsieve.follow(path, state_dir=tmp_path / "state", **options)
    finally:
        os.close(reading)
    with followed:
        for generation in (2, 3):
            (tmp_path / "new").write_bytes(set_maker.make(SAMPLES["one kind"], key=KEY, generation=generation))
            os.replace(tmp_path / "new", path)
            assert followed.current.generation == generation
            assert followed.current.sealed
        (tmp_path / "new").write_bytes(set_maker.make(SAMPLES["one kind"], key=OTHER, generation=4))
        os.replace(tmp_path / "new", path)
        assert followed.current.generation == 3
        assert [event.kind for event in told] == ["set-refused"]
        assert "another key" in told[0].text


def test_a_signature_is_required_of_every_replacement(tmp_path):
    ours, theirs = SignKey(b"o" * 32), SignKey(b"t" * 32)
    path, told = tmp_path / "s", []

    def put(key, generation):
        made = set_maker.make(SAMPLES["one"], generation=generation, signatures=[(key.public, key.sign)])
        (tmp_path / "new").write_bytes(made)
        os.replace(tmp_path / "new", path)

    put(ours, 1)
    with hashsieve.follow(path, trusted_keys=[ours.public], poll_seconds=0, on_event=told.append) as followed:
        put(theirs, 2)
        assert followed.current.generation == 1
        assert "none of these is trusted" in told[0].text
        put(ours, 3)
        assert followed.current.generation == 3
        assert followed.current.signed_by == ours.public
