"""Every text and simple binary format: what it gives, in every encoding, cut anywhere, damaged anyhow."""

from __future__ import annotations

import gzip
import random
from dataclasses import replace
from pathlib import Path

import pytest
from format_fixtures import EMPTY_MD5, ENCASE, FIXTURES, ICSE_HEAD, NSRL2, OWN_ROLES, PLAIN, SHA256, Fixture
from hypothesis import given, settings
from hypothesis import strategies as st
from list_files import BAD, hexes, md5, read, sha1, sha256, write

from hashsieve.errors import (
    ListCutShortError,
    ListEmptyError,
    ListError,
    ListFormatError,
    ListRefusedError,
    UsageError,
)
from hashsieve.lists import FORMATS, ListOptions, detect
from hashsieve.lists.taking import Other, kind_called
from hashsieve.model import DigestKind, Record, Role

NAMES = [fixture.name for fixture in FIXTURES]


def wanted(fixture: Fixture, source: str | None = None) -> list[Record]:
    """The records of a fixture, with the role that its format gives it."""
    records = fixture.records()
    role = OWN_ROLES.get(fixture.name)
    changed = []
    for record in records:
        listing = record.listing if record.listing.role is not None else replace(record.listing, role=role)
        changed.append(replace(record, listing=replace(listing, source=source or listing.source)))
    return changed


@pytest.mark.parametrize("fixture", FIXTURES, ids=NAMES)
def test_a_list_gives_exactly_its_records_and_counts(tmp_path: Path, fixture: Fixture) -> None:
    records, report = read(write(tmp_path / fixture.name, fixture.content), fixture.options)
    assert records == wanted(fixture)
    assert (report.format, report.refused, report.dropped) == (fixture.format, fixture.refused, fixture.dropped)


@pytest.mark.parametrize("fixture", FIXTURES, ids=NAMES)
def test_the_format_can_be_named_and_is_told_with_a_reason(tmp_path: Path, fixture: Fixture) -> None:
    found = detect(fixture.content, fixture.name)
    assert (found.format, bool(found.why)) == (fixture.format, True)
    options = replace(fixture.options, format=fixture.format, strict=True)
    assert read(write(tmp_path / fixture.name, fixture.content), options)[0] == wanted(fixture)


@pytest.mark.parametrize("fixture", FIXTURES, ids=NAMES)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("final", [True, False], ids=["ended", "no final end"])
def test_encodings_and_line_ends_make_no_difference(
    tmp_path: Path, fixture: Fixture, end: bytes, encoding: str, final: bool
) -> None:
    if not fixture.text:
        assert not fixture.content.isascii()
        return
    content = fixture.content if final else fixture.content.removesuffix(b"\n")
    encoded = content.replace(b"\n", end).decode().encode(encoding)
    records, report = read(write(tmp_path / fixture.name, encoded), fixture.options)
    assert records == wanted(fixture)
    assert report.refused == fixture.refused


@pytest.mark.parametrize("fixture", FIXTURES, ids=NAMES)
def test_a_wrapper_makes_no_difference(tmp_path: Path, fixture: Fixture) -> None:
    path = write(tmp_path / f"{fixture.name}.gz", gzip.compress(fixture.content))
    assert read(path, fixture.options)[0] == wanted(fixture, source=f"{fixture.name}.gz")


@pytest.mark.parametrize("fixture", FIXTURES, ids=NAMES)
def test_every_cut_gives_an_error_or_whole_rows(tmp_path: Path, fixture: Fixture) -> None:
    options = replace(fixture.options, format=fixture.format, source="s", role=_role(fixture))
    path = tmp_path / fixture.name
    whole = wanted(fixture, source="s")
    first = 1100 if not fixture.text else fixture.content.index(b"\n") + 1 if fixture.name == "no-header.csv" else 1
    size = len(fixture.content)
    # Every cut within the last row or two, and a sample of those before.
    for length in [*range(first, max(size - 90, first), 5), *range(max(size - 90, first), size)]:
        write(path, fixture.content[:length])
        try:
            records, report = read(path, options)
        except (ListCutShortError, ListEmptyError, ListFormatError):
            continue
        for record, full in zip(records, whole, strict=False):
            assert record.digests.items() <= full.digests.items(), length
            # Behind a separator an empty cell may be meant.
            assert record.digests == full.digests or fixture.content[:length].rstrip()[-1:] in b',;"', length
        assert len(records) <= len(whole)
        if fixture.format != "encase":
            assert not report.refused, length


def _role(fixture: Fixture) -> Role | None:
    return OWN_ROLES.get(fixture.name, fixture.options.role)


FUZZ = settings(deadline=None, max_examples=25)


@pytest.mark.parametrize("name", [info.name for info in FORMATS])
@FUZZ
@given(data=st.data())
def test_no_bytes_leave_the_exception_tree(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    seeds = [fixture.content for fixture in FIXTURES if fixture.format == name] or [FIXTURES[0].content, ENCASE]
    content = bytearray(data.draw(st.sampled_from(seeds)) + data.draw(st.binary(max_size=60)))
    for place, piece in data.draw(
        st.lists(st.tuples(st.integers(0, 4000), st.sampled_from(SPLICES)), min_size=1, max_size=6)
    ):
        content[place % len(content) : place % len(content) + data.draw(st.integers(0, 8))] = piece
    path = write(tmp_path_factory.getbasetemp() / f"fuzz-{name}", bytes(content))
    for options in (ListOptions(role=Role.KNOWN_BAD, format=name), SHA256, ListOptions()):
        try:
            records, _ = read(path, options)
        except (ListError, UsageError):
            continue
        for record in records:
            assert record.digests
            assert all(len(raw) == DigestKind(kind).size_bytes for kind, raw in record.digests.items())
            assert record.size_bytes is None or 0 < record.size_bytes < 2**62


SPLICES = [
    b"", b"\0", b'"', b'"""', b",", b";", b"\t", b":", b"|", b"\n", b"\r", b"\r\n", b"#", b"\\", b" ", b"=", b"\xff",
    b"99999999999999999999", b"PK\x03\x04",
    b"-1", b"{", b"[", b"<", b"%%%%", b'"\n' * 3, b"\xef\xbb\xbf", md5(77).encode(),
]  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp() / "any", data)
    try:
        read(path)
    except ListError:
        pass


# ---------------------------------------------------------------- roles


@pytest.mark.parametrize("name", sorted(OWN_ROLES))
def test_a_list_with_a_role_of_its_own_may_be_lowered_and_never_raised(tmp_path: Path, name: str) -> None:
    fixture = next(each for each in FIXTURES if each.name == name)
    path = write(tmp_path / name, fixture.content)
    for role in (Role.UNDECIDED, Role.KNOWN_GOOD):
        roles = {record.listing.role for record in read(path, ListOptions(role=role))[0]}
        assert roles - {Role.UNDECIDED} == {role} - {Role.UNDECIDED}
    for role in {Role.KNOWN_BAD, Role.TRUSTED, Role.TEST} - {OWN_ROLES[name]}:
        with pytest.raises(UsageError, match=f"means {OWN_ROLES[name]} by itself"):
            read(path, ListOptions(role=role))


@pytest.mark.parametrize(
    ("ending", "role"),
    [("hdb", Role.KNOWN_BAD), ("hsb", Role.KNOWN_BAD), ("hdu", Role.KNOWN_BAD), ("hsu", Role.KNOWN_BAD),
     ("fp", Role.TRUSTED), ("sfp", Role.TRUSTED), ("FP", Role.TRUSTED)],
)  # fmt: skip
def test_the_ending_tells_the_role_of_clamav_signatures(tmp_path: Path, ending: str, role: Role) -> None:
    path = write(tmp_path / f"x.{ending}", f"{md5(1)}:5:Name\n")
    assert [record.listing.role for record in read(path, PLAIN)[0]] == [role]


def test_clamav_signatures_with_another_ending_need_a_role(tmp_path: Path) -> None:
    path = write(tmp_path / "x.txt", f"{md5(1)}:5:Name\n")
    with pytest.raises(UsageError, match="give --role"):
        read(path, PLAIN)
    assert read(path)[0][0].listing.role == Role.KNOWN_BAD


def test_icse_categories_are_mapped_by_a_profile_file_and_only_lowered_by_a_role(tmp_path: Path) -> None:
    fixture = next(each for each in FIXTURES if each.format == "icse")
    path = write(tmp_path / "icse.csv", fixture.content)
    profile = write(tmp_path / "profile", "not-baseline = known-bad  # all of it\nbaseline = known-bad\n")
    roles = [record.listing.role for record in read(path, ListOptions(profile=str(profile)))[0]]
    assert roles == [Role.KNOWN_BAD, Role.KNOWN_BAD, Role.UNDECIDED, Role.KNOWN_BAD]
    assert {record.listing.role for record in read(path, ListOptions(role=Role.KNOWN_GOOD))[0]} == {Role.KNOWN_GOOD}
    assert Role.KNOWN_BAD in {record.listing.role for record in read(path, BAD)[0]}
    with pytest.raises(UsageError, match="may only lower"):
        read(path, ListOptions(role=Role.TRUSTED))


# ---------------------------------------------------------------- single formats


def test_encase_names_a_wrong_count_and_strict_refuses_it(tmp_path: Path) -> None:
    short = bytearray(ENCASE)
    short[16] = 9
    path = write(tmp_path / "set.hash", bytes(short))
    _, report = read(path)
    assert (report.taken, report.refused) == (3, {"fewer-than-stated": 1})
    assert report.detail == "EnCase hash set, 4 records, 9 stated"
    with pytest.raises(ListRefusedError, match="4 records of 9"):
        read(path, replace(BAD, strict=True))
    short[16] = 1
    assert read(write(path, bytes(short)))[1].refused == {}


def test_encase_records_without_their_zeros_are_refused(tmp_path: Path) -> None:
    broken = bytearray(ENCASE)
    broken[0x480 + 16] = 7
    _, report = read(write(tmp_path / "set.hash", bytes(broken)))
    assert (report.taken, report.refused) == (2, {"no-record-end": 1})
    assert report.problems[0].position == "record 1"


def test_a_cut_encase_header_is_cut_short(tmp_path: Path) -> None:
    with pytest.raises(ListCutShortError, match="header"):
        read(write(tmp_path / "set.hash", ENCASE[:1000]))


def test_a_long_encase_set_is_read_across_chunks(tmp_path: Path) -> None:
    digests = [bytes.fromhex(md5(number)) for number in range(70_000)]
    content = ENCASE[:0x480] + b"".join(raw + b"\0\0" for raw in digests)
    records, _ = read(write(tmp_path / "set.hash", content))
    assert [record.digests["md5"] for record in records] == digests


def test_joined_nsrl_files_are_read_on(tmp_path: Path) -> None:
    row = f'"{sha1(1)}","{md5(1)}","00000000","a",5,1,"WIN",""\n'
    _, report = read(write(tmp_path / "NSRLFile.txt", f"{NSRL2}\n{row}{NSRL2}\n{row}\n\n"), PLAIN)
    assert (report.taken, report.refused) == (2, {})


def test_an_nsrl_row_with_a_bad_digest_is_refused_for_it_and_taken_for_the_other(tmp_path: Path) -> None:
    rows = f'"{sha1(1)}","{md5(1)[:31]}","0","a",5,1,"WIN",""\n"{sha1(2)}","{md5(2)}","0"\n'
    records, report = read(write(tmp_path / "NSRLFile.txt", f"{NSRL2}\n{rows}"), PLAIN)
    assert [dict(record.digests) for record in records] == [{"sha1": bytes.fromhex(sha1(1))}]
    assert report.refused == {"wrong-length": 1, "missing-column": 1}


def test_clamav_signatures_of_parts_and_packed_databases_are_refused(tmp_path: Path) -> None:
    for name, content in (
        ("x.mdb", f"512:{md5(1)}:Name\n"),
        ("x.txt", f"512:{md5(1)}:Name\n*:{sha256(1)}:Name:73\n"),
        ("x.imp", f"{md5(1)}:512:Name\n"),
        ("main.cvd", "ClamAV-VDB:16 Sep 2021 08-32 -0400:62:6647427:90:a:b:sigmgr:1631795562" + " " * 400),
    ):
        with pytest.raises(ListFormatError, match=r"parts of files|packed ClamAV database"):
            read(write(tmp_path / name, content))


def test_a_wazuh_list_of_64_digits_needs_a_declared_kind(tmp_path: Path) -> None:
    path = write(tmp_path / "list", f"{sha256(1)}:\n")
    with pytest.raises(ListFormatError, match="--digest sha256 or --digest blake3"):
        read(path)
    assert hexes(read(path, SHA256)[0], "sha256") == [sha256(1)]


def test_loki_lines_of_64_digits_are_sha256_unless_declared(tmp_path: Path) -> None:
    path = write(tmp_path / "list", f"{sha256(1)};a\n{md5(1)};b\n")
    assert hexes(read(path)[0], "sha256") == [sha256(1)]
    records, _ = read(path, replace(BAD, digest=DigestKind.BLAKE3))
    assert (hexes(records, "blake3"), hexes(records, "md5")) == ([sha256(1)], [md5(1)])


def test_a_hashkeeper_description_is_refused_by_name(tmp_path: Path) -> None:
    head = '"hashset_id","name","vendor","package","version","authenicated_flag","notable_flag","initials"\r\n'
    with pytest.raises(ListFormatError, match=r"describes a HashKeeper set .* \.hsh"):
        read(write(tmp_path / "x.hke", head + '671,"a","b","c","d",1,0,"x"\r\n'))


BLOOM = bytes.fromhex(
    "0100000000000000e8030000000000002d431cebe2361a3f0e00000000000000e24a0000000000001e00000000000000"
)
NEVER = {
    "bloom filter": (BLOOM + bytes(2400), "DCSO bloom filter .* is approximate"),
    "broken bloom filter": (BLOOM[:24] + b"\0" * 7 + b"\x80" + bytes(16), "approximate"),
    "idx2": (b"\xff" * 32768, r"idx2 only speeds up"),
    "pickle": (b"\x80\x04\x95" + bytes(40), "pickle runs code"),
    "ssdeep": (b"ssdeep,1.1--blocksize:hash:hash,filename\n3:a:b,\"./x\"\n", "similarity"),
    "tlsh": (b"T1" + b"AB" * 35 + b"\n" + b"CD" * 35 + b"\n", "similarity"),
    "sfv": (b"; Generated by a tool\n;\na name.txt 1234abcd\nb 00000000\n", "CRC-32"),
    "misp hashes.csv": (f"{md5(1)},5dce6fe2-8d1c-4d3a-9a5e-1d2c3b4a5f60\n".encode(), "attribute values, not of files"),
}  # fmt: skip


@pytest.mark.parametrize("what", NEVER)
def test_what_is_no_list_of_file_digests_is_refused_with_the_reason(tmp_path: Path, what: str) -> None:
    content, why = NEVER[what]
    for path in (write(tmp_path / "list", content), write(tmp_path / "list.gz", gzip.compress(content))):
        with pytest.raises(ListFormatError, match=why):
            read(path)


def test_spilled_names_are_no_refusal_where_a_tool_escapes_nothing(tmp_path: Path) -> None:
    text = f"{md5(1)}  /a/new\nline\nand another\n{md5(2)}  /b\n"
    records, report = read(write(tmp_path / "list", text), replace(BAD, strict=True))
    assert (hexes(records, "md5"), report.dropped) == ([md5(1), md5(2)], {"spilled-name": 2})
    # With an escaped name in the list the tool would have escaped the others too.
    for text in (f"\\{md5(1)}  /a\\nb\n{md5(2)}  /b\ngarbage\n", f"{md5(1)}\ngarbage\n", f"garbage\n{md5(2)}  /b\n"):
        assert read(write(tmp_path / "list", text))[1].refused == {"not-hex": 1}


def test_more_spilled_lines_than_names_can_have_refuse_the_list(tmp_path: Path) -> None:
    rows = [f"{md5(number)}  /a/{number}" for number in range(100)]
    for garbage in (10, 11):
        text = "\n".join([*rows, *["garbage"] * garbage]) + "\n"
        path = write(tmp_path / "list", text)
        if garbage == 10:
            assert read(path)[1].dropped == {"spilled-name": 10}
        else:
            with pytest.raises(ListRefusedError, match="11 lines are no rows"):
                read(path)


@pytest.mark.parametrize(
    ("row", "digest"),
    [("osojazpiF6F7kZ2mtB1NmSD5YnM=  a", "a2ca236b3a6217a17b919da6b41d4d9920f96273"),
     ("ULFCG2Z2MIL2C64RTWTLIHKNTEQPSYTT  a", "a2ca236b3a6217a17b919da6b41d4d9920f96273"),
     ("SHA1 (a) = osojazpiF6F7kZ2mtB1NmSD5YnM=", "a2ca236b3a6217a17b919da6b41d4d9920f96273")],
)  # fmt: skip
def test_base64_and_base32_stand_for_hex(tmp_path: Path, row: str, digest: str) -> None:
    options = replace(BAD, digest=DigestKind.SHA1, format="digest-lines")
    assert hexes(read(write(tmp_path / "list", row + "\n"), options)[0], "sha1") == [digest]


def test_names_of_kinds_are_told_in_every_spelling() -> None:
    for name in ("MD5", "md5", "File_MD5", "md5sum", "Hash MD5", "FileHash-MD5", "MD-5", "video_md5"):
        assert kind_called(name) == DigestKind.MD5, name
    for name in ("SHA256", "sha-256", "SHA2-256", "sha256_hash", "FileHash-SHA256", "Sha 256 Hash"):
        assert kind_called(name) == DigestKind.SHA256, name
    for name in ("ssdeep", "TLSH", "PhotoDNA", "pdq", "video_tmk_pdqf", "pHash"):
        assert kind_called(name) == Other.SIMILARITY, name
    for name in (
        "SHA-512",
        "sha3-256",
        "sha224",
        "crc32",
        "MD4",
        "imphash",
        "pehash",
        "authentihash",
        "BLAKE2b-256",
        "Parent MD5",
    ):
        assert kind_called(name) == Other.UNSUPPORTED, name
    for name in ("name", "FileName", "hash", "", "parent folder", "md5 of the archive", "user", "domain", "shape"):
        assert kind_called(name) is None, name


def test_random_cuts_of_a_long_list_never_pass_for_whole(tmp_path: Path) -> None:
    rows = "".join(f"{md5(number)};{sha1(number)};x{number}\n" for number in range(400))
    chance = random.Random(3)
    for _ in range(40):
        length = chance.randrange(1, len(rows))
        try:
            records, _ = read(write(tmp_path / "list", rows[:length]), replace(BAD, format="csv"))
        except (ListCutShortError, ListEmptyError, ListFormatError):
            continue
        assert len(records) == rows[:length].count("\n") + (rows[length - 1] != "\n")


def test_a_list_of_the_empty_file_only_has_no_entry(tmp_path: Path) -> None:
    for content in (f"md5,name\n{EMPTY_MD5},a\n", f"{ICSE_HEAD}\n{EMPTY_MD5};;;1;;;;;;;;yes\n"):
        with pytest.raises(ListEmptyError, match="dropped \\(empty-file 1\\)"):
            read(write(tmp_path / "list", content))
