"""What lists are wrapped in: the same records come out of every wrapper, cuts are told, and bombs are refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from list_files import BAD, hexes, md5, read, sha1, write, write_json
from list_files import vics as vics_document

from hashsieve.errors import ListCutShortError, ListEmptyError, ListError, ListFormatError, UsageError
from hashsieve.lists import ListOptions, detect, read_list
from hashsieve.lists.source import Source
from hashsieve.model import Role

ROWS = [md5(number) for number in range(200)]
TEXT = "".join(f"{digest}  name {number}\n" for number, digest in enumerate(ROWS)).encode()
PLAIN = ListOptions()
README = "Digests of the month.\nHandle with care.\n"
SKIPPED = b"\x50\x2a\x4d\x18" + struct.pack("<I", 3) + b"abc"


def zipped(**members: bytes | str) -> bytes:
    """A zip archive; double underscores in names stand for dots."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return buffer.getvalue()


def in_parts(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Packed in three members one after another, cut within a row."""
    return lambda data: b"".join(pack(part) for part in (data[:1000], data[1000:1001], data[1001:]))


WRAPPERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "gzip of several members": in_parts(gzip.compress),
    "gzip with zeros behind it": lambda data: gzip.compress(data) + bytes(1000),
    "xz": lzma.compress,
    "xz of several streams": lambda data: in_parts(lzma.compress)(data) + bytes(4),
    "zstd": zstandard.compress,
    "zstd of several frames": in_parts(zstandard.compress),
    "zstd with a frame to skip": lambda data: SKIPPED + zstandard.compress(data),
    "zstd without a stated size": lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
    "bzip2": in_parts(bz2.compress),
    "zip": lambda data: zipped(list__txt=data),
    "zip with a read-me text": lambda data: zipped(README__txt=README, a__txt=data),
    "gzip in zip": lambda data: zipped(list__gz=gzip.compress(data)),
    "zip in gzip": lambda data: gzip.compress(zipped(list__txt=data)),
    "zip in zip": lambda data: zipped(list__zip=zipped(list__txt=data)),
}  # fmt: skip


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_wrapper_gives_the_same_records(tmp_path: Path, wrapper: str) -> None:
    records, report = read(write(tmp_path / "list", WRAPPERS[wrapper](TEXT)))
    assert hexes(records, "md5") == ROWS
    assert (report.format, report.refused) == ("digest-lines", {})
    assert report.dropped == ({"other-member": 1} if "read-me" in wrapper else {})


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_encodings_are_told_behind_wrappers_too(tmp_path: Path, wrapper: str, encoding: str) -> None:
    text = TEXT.decode().replace("\n", "\r\n").encode(encoding)
    assert hexes(read(write(tmp_path / "list", WRAPPERS[wrapper](text)))[0], "md5") == ROWS


@pytest.mark.parametrize("wrapper", [name for name in WRAPPERS if "zeros" not in name])
def test_every_cut_of_a_wrapper_is_an_error(tmp_path: Path, wrapper: str) -> None:
    packed = WRAPPERS[wrapper](TEXT[: 37 * 40])
    whole = {0} if "several" in wrapper or wrapper == "bzip2" else set()
    # A cut between two members leaves whole members, which no wrapper tells; rows that are cut in two do.
    for length in range(1, len(packed), 7):
        path = write(tmp_path / "list", packed[:length])
        try:
            got = hexes(read(path)[0], "md5")
        except (ListCutShortError, ListFormatError, ListEmptyError):
            continue
        assert whole, length
        assert got == ROWS[: len(got)]
        assert len(got) in (27, 28, 40)


@settings(deadline=None, max_examples=60)
@given(
    wrapper=st.sampled_from(sorted(WRAPPERS)),
    places=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_a_damaged_wrapper_gives_the_records_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, wrapper: str, places: list[tuple[int, int]]
) -> None:
    packed = bytearray(WRAPPERS[wrapper](TEXT[: 37 * 40]))
    for place, value in places:
        packed[place % len(packed)] = value
    path = write(tmp_path_factory.getbasetemp() / "damaged", bytes(packed))
    try:
        read(path)
    except (ListError, UsageError):
        pass


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstandard.compress, bz2.compress])
def test_garbage_behind_a_stream_is_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ListFormatError, match="damaged"):
        read(write(tmp_path / "list", pack(TEXT) + b"garbage that is no member"))


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd", "bzip2"])
def test_a_bomb_is_refused_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("hashsieve.lists.wrappers.FREE_BYTES", 8 << 20)
    packs = {"gzip": gzip.compress, "xz": lzma.compress, "zstd": zstandard.compress, "bzip2": bz2.compress}
    path = write(tmp_path / "list", packs[name](TEXT) + packs[name]((b"#" + b" " * 1023 + b"\n") * (20 << 10)))
    tracemalloc.start()
    try:
        with pytest.raises(ListFormatError, match="more than 200 times its size"):
            list(read_list(path, BAD))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 40 << 20


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashsieve.lists.wrappers.FREE_BYTES", 1 << 20)
    path = write(tmp_path / "list", zipped(**{f"m{number}": b"\n" * (1 << 20) for number in range(4)}))
    with pytest.raises(ListFormatError, match="more than 200 times its size"):
        read_list(path, BAD)


def test_a_zip_whose_sizes_lie_is_an_error(tmp_path: Path) -> None:
    packed = bytearray(zipped(list__txt=TEXT))
    directory = packed.index(b"PK\x01\x02")
    struct.pack_into("<I", packed, directory + 24, len(TEXT) - 37)
    with pytest.raises(ListError):
        read(write(tmp_path / "list", bytes(packed)))


def test_a_zip_that_claims_a_huge_directory_is_refused_unread(tmp_path: Path) -> None:
    packed = bytearray(zipped(list__txt=TEXT))
    end = packed.rindex(b"PK\x05\x06")
    struct.pack_into("<I", packed, end + 12, 0xFFFFFFF0)
    with pytest.raises(ListFormatError, match="directory"):
        read(write(tmp_path / "list", bytes(packed)))


def test_an_encrypted_member_is_named(tmp_path: Path) -> None:
    packed = bytearray(zipped(secret__txt=TEXT))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(mark) + place] |= 1
    with pytest.raises(ListFormatError, match=r"secret\.txt in the zip archive is encrypted"):
        read(write(tmp_path / "list", bytes(packed)))


def test_a_member_packed_in_an_unbounded_way_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "list", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("list.txt", TEXT)
    with pytest.raises(ListFormatError, match="method 14; unpack it first"):
        read(tmp_path / "list")


def test_wrappers_within_wrappers_have_an_end(tmp_path: Path) -> None:
    data = TEXT
    for _ in range(3):
        data = gzip.compress(data)
    assert hexes(read(write(tmp_path / "three", data))[0], "md5") == ROWS
    with pytest.raises(ListFormatError, match="packed more than 3 times"):
        read(write(tmp_path / "four", gzip.compress(data)))
    data = TEXT
    for _ in range(5):
        data = zipped(a__zip=data)
    with pytest.raises(ListFormatError, match="archives within archives"):
        read(write(tmp_path / "zips", data))


def test_tar_and_7z_are_refused_by_name(tmp_path: Path) -> None:
    tar = bytes(257) + b"ustar\0" + bytes(500)
    with pytest.raises(ListFormatError, match=r"packed \(tar\)"):
        read(write(tmp_path / "list.tgz", gzip.compress(tar)))
    with pytest.raises(ListFormatError, match=r"packed \(7z\)"):
        read(write(tmp_path / "list.7z", b"7z\xbc\xaf\x27\x1c" + bytes(40)))


def test_the_most_telling_format_of_an_archive_is_read_and_the_rest_counted(tmp_path: Path) -> None:
    nsrl = '"SHA-1","MD5","CRC32","FileName","FileSize","ProductCode","OpSystemCode","SpecialCode"\n'
    nsrl += f'"{sha1(1).upper()}","{md5(1).upper()}","00000000","a, b",5,1,"WIN",""\n'
    content = zipped(
        NSRLFile__txt=nsrl,
        NSRLMfg__txt='"MfgCode","MfgName"\n"SYM","Symantec"\n',
        hashes__txt=f"{sha1(7)}\n{sha1(8)}\n",
        version__txt=f'"SHA-1","RDSVersion"\n"{sha1(9)}",""\n',
    )
    records, report = read(write(tmp_path / "rds.zip", content), PLAIN)
    assert [dict(record.digests) for record in records] == [
        {"sha1": bytes.fromhex(sha1(1)), "md5": bytes.fromhex(md5(1))}
    ]
    assert (report.format, report.role, report.dropped["other-member"]) == ("nsrl-text", "known-good", 3)


def test_several_lists_of_one_format_are_read_one_after_another(tmp_path: Path) -> None:
    content = zipped(a__txt=f"{md5(1)}\n", b__txt=f"{md5(2)}\nno digest\n", sub__dir__c__txt=f"{sha1(3)}\n")
    records, report = read(write(tmp_path / "lists.zip", content))
    assert (hexes(records, "md5"), hexes(records, "sha1")) == ([md5(1), md5(2)], [sha1(3)])
    assert [str(problem) for problem in report.problems] == ['b.txt: line 2: not-hex ("no digest")']
    assert {record.listing.source for record in records} == {"lists.zip"}


def test_members_that_mean_different_things_are_refused(tmp_path: Path) -> None:
    content = zipped(a__hdb=f"{md5(1)}:5:Some.Name\n", a__fp=f"{md5(2)}:5:Some.Name\n")
    with pytest.raises(UsageError, match="mean different things"):
        read(write(tmp_path / "lists.zip", content), PLAIN)


def test_the_format_asked_for_picks_the_members(tmp_path: Path) -> None:
    content = zipped(a__txt=f"{md5(1)}\n", b__csv=f"name,md5\nx,{md5(2)}\n")
    path = write(tmp_path / "lists.zip", content)
    assert hexes(read(path)[0], "md5") == [md5(2)]
    assert hexes(read(path, replace(BAD, format="digest-lines"))[0], "md5") == [md5(1)]
    with pytest.raises(ListFormatError, match="none of the 2 members of the zip archive is a icse list"):
        read(path, ListOptions(format="icse"))


def test_an_archive_without_lists_says_so(tmp_path: Path) -> None:
    with pytest.raises(ListFormatError, match="none of the 1 members"):
        read(write(tmp_path / "a.zip", zipped(README__txt="Hello.\nThere is nothing here.\n")))
    with pytest.raises(ListFormatError, match="none of the 0 members"):
        read(write(tmp_path / "b.zip", zipped(**{"folder/": b"", "x": b""})[:0] + _with_folder_only()))


def _with_folder_only() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.mkdir("folder")
    return buffer.getvalue()


def test_the_ending_of_the_name_counts_without_that_of_the_wrapper(tmp_path: Path) -> None:
    path = write(tmp_path / "allow.sfp.gz", gzip.compress(f"{sha1(1)}:5:Some.Name\n".encode()))
    assert [record.listing.role for record in read(path, PLAIN)[0]] == [Role.TRUSTED]


def test_detection_looks_through_wrappers() -> None:
    for wrapper in WRAPPERS:
        found = detect(WRAPPERS[wrapper](TEXT), "a")
        assert found.format == "digest-lines", wrapper
    assert detect(gzip.compress(TEXT * 50)[:3000], "a").why.startswith("gzip; ")
    for pack in (gzip.compress, lambda data: zipped(list__txt=data)):
        found = detect(pack(TEXT * 50)[:3000], "a")
        assert (found.format, found.why.endswith("rows are digest lines")) == ("digest-lines", True)
    assert detect(_with_folder_only(), "a").format is None
    assert detect(b"7z\xbc\xaf\x27\x1c" + bytes(9), "a") == (
        type(detect(b"", "a"))(None, "the file is packed (7z); unpack it first")
    )


def test_a_json_list_is_read_in_every_wrapper(tmp_path: Path) -> None:
    path = write_json(tmp_path / "plain", vics_document([{"MD5": md5(1), "Category": 1}]))
    wanted = read(path, ListOptions(source="s"))[0]
    for number, wrapper in enumerate(WRAPPERS):
        packed = write(tmp_path / str(number), WRAPPERS[wrapper](path.read_bytes() + b" " * 1001))
        assert read(packed, ListOptions(source="s"))[0] == wanted, wrapper


def test_the_content_is_at_hand_as_a_file_and_as_a_path(tmp_path: Path) -> None:
    for number, wrapper in enumerate(WRAPPERS):
        source = Source(write(tmp_path / str(number), WRAPPERS[wrapper](TEXT)))
        members = source.members()
        if members is not None:
            source = next(member for member in members if "README" not in member.member)
        with source.file() as file:
            assert file.read() == TEXT
        with source.file_path() as path:
            assert Path(path).read_bytes() == TEXT
        assert not Path(path).exists()
    plain = Source(write(tmp_path / "plain", TEXT))
    with plain.file_path() as path:
        assert path == str(tmp_path / "plain")
    assert (tmp_path / "plain").exists()


def test_the_checksum_of_a_member_is_checked(tmp_path: Path) -> None:
    packed = bytearray(zipped(list__txt=TEXT))
    wrong = struct.pack("<I", zlib.crc32(TEXT) ^ 1)
    for mark, place in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        at = packed.index(mark) + place
        packed[at : at + 4] = wrong
    with pytest.raises(ListFormatError, match="damaged"):
        read(write(tmp_path / "list", bytes(packed)))
