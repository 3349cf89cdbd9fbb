"""A damaged, cut, forged or exchanged set file gives the right answer or a typed refusal, and never a crash."""

import contextlib
import os
import random
import resource
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import set_bytes as sb
from flip_bits import flip_bits
from set_truth import Truth, make_truths

from hashsieve._lookup import SetFile
from hashsieve.errors import (
    HashsieveError,
    SetDamagedError,
    SetError,
    SetFormatError,
    SetSealError,
    SetVersionError,
    UsageError,
)
from hashsieve.hashset.hashset import HashSet
from hashsieve.hashset.testfile import TEST_DIGESTS
from hashsieve.model import DigestKind


@pytest.fixture(scope="module")
def truths(tmp_path_factory):
    return make_truths(tmp_path_factory.mktemp("truth"))


@pytest.fixture(params=[0, 1, 2], ids=["mixed", "one kind", "one record"])
def truth(truths, request):
    return truths[request.param]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "set.hset"


def put(path, data):
    """A new file each time: rewriting one in place would wait for the disk."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


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


def opens(path):
    try:
        HashSet.open(path).close()
    except HashsieveError as problem:
        return str(path) not in str(problem)  # a refusal that does not name the file is none
    return True


def flips_are_refused(path, data, bits):
    put(path, data)
    with open(path, "r+b", buffering=0) as file:
        for bit in bits:
            at = bit // 8
            os.pwrite(file.fileno(), bytes([data[at] ^ 1 << bit % 8]), at)
            assert not opens(path), f"bit {bit}"
            os.pwrite(file.fileno(), data[at : at + 1], at)
    assert opens(path)


# ---------------------------------------------------------------- damage at rest


def test_every_bit_of_the_header_counts(truths, path):
    flips_are_refused(path, truths[2].data, range(sb.PAGE * 8))


def test_every_bit_of_a_larger_sets_header_fields_counts(truths, path):
    data = truths[0].data
    used = sb.SECTION_TABLE + len(sb.sections_of(data)) * sb.LINE.size
    flips_are_refused(path, data, range(used * 8))


def test_every_bit_of_the_root_page_and_page_list_counts(truths, path):
    data = truths[2].data
    list_offset, list_bytes = struct.unpack_from("<QQ", data, sb.LIST_OFFSET)
    root_page = range((len(data) - sb.PAGE) * 8, (len(data) - sb.PAGE + 128) * 8)
    flips_are_refused(path, data, [*range(list_offset * 8, (list_offset + list_bytes + 8) * 8), *root_page])
    rng = random.Random(1)
    flips_are_refused(path, data, [rng.randrange(list_offset * 8, len(data) * 8) for _ in range(2000)])


def test_cut_anywhere(truth, path):
    data = truth.data
    put(path, data)
    lengths = {*range(sb.PAGE + 65), *range(0, len(data), sb.PAGE), *range(0, len(data), 997), len(data) - 1}
    with open(path, "r+b") as file:
        for length in sorted(lengths - {len(data)}, reverse=True):
            file.truncate(length)
            assert not opens(path), length


def test_longer_than_it_says(truth, path):
    for more in (1, 40, sb.PAGE, 5 * sb.PAGE):
        put(path, truth.data + bytes(more))
        assert not opens(path)
        put(path, truth.data + truth.data[-more:])
        assert not opens(path)


def test_flips_in_every_page_are_found_by_verify_and_never_believed(truth, path):
    rng = random.Random(1)
    data = truth.data
    put(path, data)
    with open(path, "r+b", buffering=0) as file:
        for section in sb.sections_of(data):
            for page in range(section.offset // sb.PAGE, section.offset // sb.PAGE + sb.pages_of(section.length)):
                at = page * sb.PAGE + rng.choice([0, sb.PAGE - 1, rng.randrange(sb.PAGE)])
                os.pwrite(file.fileno(), bytes([data[at] ^ 1 << rng.randrange(8)]), at)
                opened = truth.open_and_hold_against(path)
                if opened:
                    with HashSet.open(path) as known, pytest.raises(SetDamagedError, match=f"page {page}:"):
                        known.verify()
                else:
                    with pytest.raises(SetDamagedError):
                        HashSet.open(path)
                os.pwrite(file.fileno(), data[at : at + 1], at)
    assert truth.open_and_hold_against(path)


def test_single_bits_flipped_before_opening_and_while_open_never_change_an_answer(tmp_path):
    """A part of the 5,000 that bench/prove.py has flipped."""
    came = flip_bits(tmp_path, 360, seed=2, share=0.1)
    assert came["refused to open"] > 20
    assert came["refused to load"] > 5
    assert came["questions refused"] > 20


def test_pages_that_changed_places_or_came_from_another_set(truths, path, tmp_path):
    data = bytearray(truths[1].data)
    table = next(s for s in sb.sections_of(data) if s.type == sb.TABLE)
    a, b = table.offset, table.offset + sb.PAGE
    data[a : a + sb.PAGE], data[b : b + sb.PAGE] = data[b : b + sb.PAGE], data[a : a + sb.PAGE]
    put(path, data)
    truths[1].open_and_hold_against(path)
    with contextlib.closing(SetFile(path)) as file, pytest.raises(SetDamagedError):
        file.verify()
    other = Truth(tmp_path / "other.hset", sb.sample_records(900, 4, ("md5",)))
    data = bytearray(truths[1].data)
    data[a : a + sb.PAGE] = other.data[a : a + sb.PAGE]
    put(path, data)
    truths[1].open_and_hold_against(path)
    with contextlib.closing(SetFile(path)) as file, pytest.raises(SetDamagedError):
        file.verify()


# ---------------------------------------------------------------- headers that lie

FIELDS_64 = {
    "file length": sb.FILE_BYTES,
    "entries": sb.ENTRY_COUNT,
    "page list offset": sb.LIST_OFFSET,
    "page list length": sb.LIST_BYTES,
}


@pytest.mark.parametrize("consistent", [False, True], ids=["root wrong", "root right"])
def test_every_length_field_is_checked_before_it_is_believed(truth, path, consistent):
    """Also where page hashes and root agree with the lie, as in a file that somebody made to be so."""
    fields = dict(FIELDS_64)
    for n, section in enumerate(sb.sections_of(truth.data)):
        for name, offset in (("offset", 8), ("length", 16), ("count", 24), ("aux", 32)):
            fields[f"{name} of section {section.id:#x}"] = sb.SECTION_TABLE + n * sb.LINE.size + offset
    for name, at in fields.items():
        old = struct.unpack_from("<Q", truth.data, at)[0]
        lies = {0, 1, 2**63 - 1, 2**63, 2**64 - 1, 2**62, len(truth.data) + 1, len(truth.data), old + 1, old - 1}
        lies |= {old ^ 1 << bit for bit in range(0, 64, 7)}
        for lie in lies - {old, -1}:
            data = bytearray(truth.data)
            struct.pack_into("<Q", data, at, lie)
            put(path, sb.make_consistent(data) if consistent else data)
            with little_memory():
                try:
                    known = HashSet.open(path)
                except HashsieveError:
                    continue
                assert consistent, (name, lie)
                with known, contextlib.suppress(HashsieveError):
                    known.verify()
                    for kind in truth.kinds:
                        truth.batch(known, kind)
                    for number in range(len(truth.entries)):
                        with contextlib.suppress(HashsieveError):
                            known.entry(number)


def changed(data, *changes, consistent=True):
    data = bytearray(data)
    for at, form, value in changes:
        struct.pack_into(form, data, at, value)
    return sb.make_consistent(data) if consistent else data


def test_the_refusal_says_which(truths, path):
    data = truths[0].data
    cases = [
        (b"SQLite format 3\0".ljust(2 * sb.PAGE), SetFormatError, "magic"),
        (b"", SetFormatError, "length"),
        (changed(data, (0, "<B", 0x88)), SetFormatError, "magic"),
        (changed(data, (sb.BYTE_ORDER, ">I", 0x01020304)), SetFormatError, "byte order"),
        (changed(data, (sb.VERSION, "<I", 0)), SetFormatError, "version 0"),
        (changed(data, (sb.MIN_READER, "<I", 0)), SetFormatError, "version 0"),
        (changed(data, (sb.MIN_READER, "<I", 2)), SetVersionError, "newer"),
        (changed(data, (sb.PAGE_SIZE, "<I", 8192)), SetFormatError, "page size"),
        (changed(data, (sb.FILE_BYTES, "<Q", len(data) + 1)), SetFormatError, "length"),
        (changed(data, (sb.SEAL_KEY_ID, "<B", 1)), SetSealError, "sealed"),
        (changed(data, (sb.GENERATION, "<Q", 2**63)), SetFormatError, "generation"),
        (changed(data, (sb.VALID_UNTIL, "<Q", 253402300800)), SetFormatError, "validity"),
        (changed(data, (sb.SIZES, "<I", 2)), SetFormatError, "sizes"),
        (changed(data, (sb.SECTION_COUNT, "<I", 100)), SetFormatError, "sections"),
        (changed(data, (sb.SECTION_COUNT, "<I", 2**32 - 1)), SetFormatError, "sections"),
        (changed(data, (sb.SECTION_COUNT, "<I", 0)), SetFormatError, "outside of every section"),
        (changed(data, (sb.ENTRY_COUNT, "<Q", 1)), SetFormatError, "entries"),
        (changed(data, (sb.GENERATION, "<Q", 9), consistent=False), SetDamagedError, "root"),
        (changed(data, (len(data) - sb.PAGE, "<B", 0), consistent=False), SetFormatError, "root page"),
        (changed(data, (len(data) - sb.PAGE + 40, "<B", 1), consistent=False), SetDamagedError, "signatures"),
    ]
    for content, error, words in cases:
        put(path, content)
        with pytest.raises(error, match=words) as caught:
            HashSet.open(path)
        assert str(path) in str(caught.value)


def test_the_last_end_of_validity_is_shown(truths, path):
    put(path, changed(truths[0].data, (sb.VALID_UNTIL, "<Q", 253402300799)))
    with HashSet.open(path) as known:
        assert known.info()["valid_until"] == "9999-12-31T23:59:59Z"


def test_a_newer_set_that_this_reader_may_read(truths, path):
    put(path, changed(truths[0].data, (sb.VERSION, "<I", 7)))
    assert truths[0].open_and_hold_against(path)


def test_a_big_endian_copy(truths, path):
    data = bytearray(truths[0].data)
    size, at = sb.HEADER.format[1:], 0
    for form in size.replace("16s", "s"):
        width = {"8": 0, "s": 0, "I": 4, "Q": 8}[form]
        if form == "s":
            at += 8 if at == 0 else 16
        data[at : at + width] = data[at : at + width][::-1]
        at += width
    put(path, sb.make_consistent(data))
    with pytest.raises(SetFormatError, match="byte order"):
        HashSet.open(path)


def line(data, section_id):
    """Offset of a section's line in the header."""
    ids = [section.id for section in sb.sections_of(data)]
    return sb.SECTION_TABLE + ids.index(section_id) * sb.LINE.size


def test_unknown_sections_are_refused_when_they_must_be_understood(truths, path):
    data = truths[0].data
    at = line(data, sb.REFS << 8)
    put(path, changed(data, (at, "<I", 99 << 8)))
    with pytest.raises(SetVersionError, match="must be understood"):
        HashSet.open(path)
    put(path, changed(data, (at, "<I", 99 << 8), (at + 4, "<I", 0)))
    with HashSet.open(path) as known:
        known.verify()
        assert truths[0].hold_against(known) > 0  # entries whose listings were there


@pytest.mark.parametrize("kind", [sb.FILTER, sb.FENCES, sb.TABLE])
def test_a_kind_is_whole_or_not_there(truths, path, kind):
    at = line(truths[0].data, kind << 8 | 1)
    put(path, changed(truths[0].data, (at, "<I", 99 << 8), (at + 4, "<I", 0)))
    with pytest.raises(SetFormatError, match="lacks"):
        HashSet.open(path)


def test_sections_that_occur_twice_or_name_what_they_cannot(truths, path):
    data = truths[0].data
    for old, new, words in [
        (sb.REFS << 8, sb.GROUPS << 8, "twice"),
        (sb.REFS << 8, sb.META << 8 | 1, "subject"),
        (sb.REFS << 8, sb.GROUPS << 8 | 7, "subject"),
        (sb.META << 8, 99 << 8, None),
        (sb.TABLE << 8 | 1, sb.TABLE << 8 | 5, "kind"),
        (sb.TABLE << 8 | 1, sb.TABLE << 8, "kind"),
        (sb.ENTRIES << 8 | 1, sb.ENTRIES << 8, "shape"),
        (sb.ENTRIES << 8 | 1, sb.ENTRIES << 8 | 0x11, "shape"),
        (sb.ENTRIES << 8 | 15, sb.ENTRIES << 8 | 0x81, "test entry"),
    ]:
        put(path, changed(data, (line(data, old), "<I", new)))
        with pytest.raises(SetFormatError, match=words):
            HashSet.open(path)


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b"[" * 200_000, b"nonsense", b"\xff", b'{"classes":[],"test_class":1e999,"conflicts":0}',
     b'{"classes":[["a","no role",null]],"test_class":0,"conflicts":0,"digests":{},"roles":{},"every_size":true}',
     b'{"classes":[],"test_class":0,"conflicts":0,"digests":[],"roles":{},"every_size":true}'],
    ids=range(9),
)  # fmt: skip
def test_a_description_that_makes_no_sense(path, text):
    sb.write_sparse(path, [(sb.META << 8, max(len(text), 1), 0, 0, {n: text[n * sb.PAGE : (n + 1) * sb.PAGE]
                    for n in range(sb.pages_of(max(len(text), 1)))})], 0)  # fmt: skip
    with pytest.raises(SetFormatError, match="description"):
        HashSet.open(path)


def test_a_description_that_is_impossibly_long_is_not_read(path):
    sb.write_sparse(path, [(sb.META << 8, 2**36, 0, 0, {})], 0)
    with pytest.raises(SetFormatError, match="impossibly long"):
        HashSet.open(path)


def test_a_stretched_file_is_refused_before_memory_is_asked_for(truths, path):
    """A hole of many gigabytes whose header fits its length: the page list alone would take more than there is."""
    list_offset = 2**40
    list_bytes = (list_offset // sb.PAGE - 1) * 16
    file_bytes = list_offset + sb.pages_of(list_bytes) * sb.PAGE + sb.PAGE
    header = changed(truths[1].data, (sb.FILE_BYTES, "<Q", file_bytes), (sb.LIST_OFFSET, "<Q", list_offset),
                     (sb.LIST_BYTES, "<Q", list_bytes), consistent=False)[: sb.PAGE]  # fmt: skip
    put(path, header)
    os.truncate(path, file_bytes)
    with little_memory(), pytest.raises(SetFormatError, match="root page"):
        HashSet.open(path)


@pytest.mark.parametrize("kind", ["directory", "fifo", "device", "missing", "nul", "link to nowhere"])
def test_what_is_no_file(tmp_path, kind):
    path = tmp_path / "x"
    match kind:
        case "directory":
            path.mkdir()
            for n in range(300):
                (path / f"a rather long name {n}").touch()
        case "fifo":
            os.mkfifo(path)
        case "device":
            path = Path("/dev/zero")
        case "nul":
            path = f"{tmp_path}/a\0b"
        case "link to nowhere":
            path.symlink_to("nowhere")
    with pytest.raises(SetError):
        HashSet.open(path)


# ---------------------------------------------------------------- large claims

CLAIMED = [2**31 - 1, 2**31, 2**32 + 1]


@pytest.mark.parametrize("rows", CLAIMED)
def test_tables_of_more_rows_than_32_bits_open_and_answer_at_their_end(path, rows):
    """All zero but for the last rows; holes, of which only the pages that are read have hashes."""
    last, test = b"\xff" * 16, TEST_DIGESTS[DigestKind.MD5]
    pages = -(-rows // 256)
    at_end = {}
    for row, digest in ((rows - 2, test), (rows - 1, last)):
        page = at_end.setdefault(row // 256, bytearray(sb.PAGE))
        page[row % 256 * 16 : row % 256 * 16 + 16] = digest
    fence_pages = dict.fromkeys(range(sb.pages_of(pages * 8)), b"")
    if rows % 256 == 1:  # the last page starts with the last digest
        fence = bytearray(sb.PAGE)
        struct.pack_into("<Q", fence, (pages - 1) * 8 % sb.PAGE, 2**64 - 1)
        fence_pages[max(fence_pages)] = bytes(fence)
    meta = (b'{"classes":[["s","known-bad",null],["hashsieve test file","test",null]],"conflicts":0,'
            b'"digests":{"md5":1},"every_size":false,"roles":{"known-bad":1},"test_class":1}')  # fmt: skip
    entries = rows - 1
    sb.write_sparse(path, [
        (sb.META << 8, len(meta), 0, 0, {0: meta}),
        (sb.FILTER << 8 | 1, 32, 1, 0, {0: b"\xff" * 32}),
        (sb.FENCES << 8 | 1, pages * 8, pages, 0, fence_pages),
        (sb.TABLE << 8 | 1, pages * sb.PAGE, rows, (rows - 1) << 8, {n: bytes(p) for n, p in at_end.items()}),
        (sb.ENTRIES << 8 | 1, -(-entries // sb.PAGE) * sb.PAGE, entries, 1 | 1 << 16 | 1 << 24,
         {(entries - 1) // sb.PAGE: b""}),
        (sb.ENTRIES << 8 | 0x81, sb.PAGE, 1, 1 | 1 << 8 | 1 << 16 | 1 << 24, {0: bytes([69, 2])}),
        (sb.GROUPS << 8, 8, 2, 0, {0: bytes([3, 1, 0, 0, 3, 1, 1, 0])}),
    ], entries)  # fmt: skip
    with HashSet.open(path) as known:
        assert len(known) == entries
        assert known.find("md5", last) == [entries - 1]
        assert known.find("md5", test) == [entries]
        assert known.entries("md5", last)[0].digests == {"md5": last}
        assert known.entries("md5", last)[0].listings[0].source == "s"
        asked = np.frombuffer(last + test + b"\xfe" * 16, np.uint8).reshape(3, 16)
        assert known.lookup(asked, "md5").tolist() == [entries - 1, entries, -1]
        with pytest.raises(SetDamagedError):
            known.find("md5", b"\0" * 16)


# ---------------------------------------------------------------- damage while open


def test_changes_under_an_open_set_are_noticed_or_harmless(truth, path):
    rng = random.Random(5)
    data = truth.data
    put(path, data)
    with HashSet.open(path) as known, open(path, "r+b", buffering=0) as file:
        assert truth.hold_against(known) == 0
        for section in sb.sections_of(data):
            for page in range(section.offset // sb.PAGE, section.offset // sb.PAGE + sb.pages_of(section.length)):
                at = page * sb.PAGE + rng.randrange(sb.PAGE)
                os.pwrite(file.fileno(), bytes([data[at] ^ 1 << rng.randrange(8)]), at)
                refused = truth.hold_against(known, rng, 0.3)
                if section.type in (sb.FILTER, sb.FENCES, sb.META):
                    assert not refused  # these are in private memory
                os.pwrite(file.fileno(), data[at : at + 1], at)
        assert truth.hold_against(known) == 0


@pytest.mark.parametrize("how", ["cut to nothing", "cut", "zeroed", "another set", "noise"])
def test_an_open_sets_file_is_overwritten(truths, path, how):
    truth = truths[0]
    put(path, truth.data)
    with HashSet.open(path) as known, open(path, "r+b", buffering=0) as file:
        match how:
            case "cut to nothing":
                file.truncate(0)
            case "cut":
                file.truncate(2 * sb.PAGE + 100)
            case "zeroed":
                file.write(bytes(len(truth.data)))
            case "another set":
                file.write(truths[1].data)
            case "noise":
                file.write(random.Random(1).randbytes(len(truth.data)))
        assert truth.hold_against(known) > 0
        with pytest.raises(SetDamagedError):
            known.verify()
        digest = next(d for d, found in zip(truth.asked["md5"], truth.found["md5"], strict=True) if found)
        with pytest.raises(SetDamagedError):
            known.find("md5", digest)


def test_an_open_set_outlives_its_replacement_and_removal(truths, path, tmp_path):
    truth = truths[0]
    put(path, truth.data)
    with HashSet.open(path) as known:
        (tmp_path / "new").write_bytes(truths[1].data)
        os.replace(tmp_path / "new", path)
        assert truth.hold_against(known) == 0
        with HashSet.open(path) as newer:
            assert truths[1].hold_against(newer) == 0
        path.unlink()
        assert truth.hold_against(known) == 0
        known.verify()


def test_reads_that_fail_or_come_in_pieces(truths, path):
    faults_module = pytest.importorskip("hashsieve_faults", reason="built without HASHSIEVE_TEST_MODULES=1")
    truth = truths[0]
    put(path, truth.data)
    faults = faults_module.Faults(seed=3)
    faults.short_reads = True
    with HashSet.open(path, os_table=faults.capsule) as known:
        assert truth.hold_against(known) == 0
        faults.fail("pread", 4, every=2)  # EINTR
        assert truth.hold_against(known) == 0
        faults.clear()
        faults.fail("pread", 5)  # EIO
        assert truth.hold_against(known) > 0
        faults.clear()
        assert truth.hold_against(known) == 0
    for nth in range(1, 40):
        faults = faults_module.Faults(seed=3)
        faults.fail("pread", 5, nth=nth, times=1)
        with contextlib.suppress(SetDamagedError):
            HashSet.open(path, os_table=faults.capsule).close()
            assert faults.calls["pread"] < nth


# ---------------------------------------------------------------- use and misuse


def test_a_closed_set_answers_nothing(truths, path):
    put(path, truths[0].data)
    known = HashSet.open(path)
    known.close()
    known.close()
    for question in (
        lambda: known.find("md5", bytes(16)),
        lambda: known.entry(0),
        lambda: known.lookup(np.zeros((1, 16), np.uint8), "md5"),
        lambda: known.may_match(np.zeros((1, 16), np.uint8), "md5"),
        lambda: known.verify(),
        lambda: known.filter_fpr("md5"),
        lambda: known.load(["md5"]),
    ):
        with pytest.raises(SetError, match="closed"):
            question()


def test_a_kind_that_was_not_loaded_is_an_error_and_no_answer(truths, path):
    put(path, truths[0].data)
    with HashSet.open(path, load=["sha1"]) as known:
        assert known.loaded("sha1")
        assert not known.loaded("md5")
        with pytest.raises(SetError, match="not loaded"):
            known.find("md5", bytes(16))
        with pytest.raises(SetError, match="not loaded"):
            known.lookup(np.zeros((1, 16), np.uint8), "md5")
        known.load(["md5", "sha256", "blake3"])
        assert truths[0].hold_against(known) == 0


def test_digests_of_the_wrong_form_are_refused(truths, path):
    put(path, truths[0].data)
    with HashSet.open(path) as known:
        for wrong in (np.zeros((2, 20), np.uint8), np.zeros(16, np.uint8), np.zeros((2, 16), np.int8)):
            with pytest.raises(UsageError):
                known.lookup(wrong, "md5")
            with pytest.raises(UsageError):
                known.may_match(wrong, "md5")
        with pytest.raises(UsageError):
            known.find("md5", bytes(15))
        with pytest.raises(UsageError, match="crc32"):
            known.find("crc32", bytes(4))
        every_other = np.zeros((10, 32), np.uint8)[::2, :16]
        assert known.lookup(every_other, "md5").tolist() == [-1] * 5


@pytest.mark.parametrize(
    "name", ["with space.hset", "Zürich 漢字 \U0001f600.hset", "\udcff\udcfe.hset", "漢" * 80, "trailing. "]
)
def test_names_and_folders_of_all_kinds(truths, tmp_path, monkeypatch, name):
    folder = tmp_path / "a folder. ü" / "deep"
    folder.mkdir(parents=True)
    truth = Truth(folder / name, sb.sample_records(20, 8))
    assert truth.open_and_hold_against(folder / name)
    monkeypatch.chdir(folder)
    with HashSet.open(name) as known:  # relative, and the working directory changes while it is open
        monkeypatch.chdir("/")
        assert truth.hold_against(known) == 0
        known.verify()
    with HashSet.open(os.fsencode(folder / name)) as known:
        assert truth.hold_against(known) == 0
    assert [entry.name for entry in os.scandir(folder)] == [name]
    shutil.rmtree(folder)
