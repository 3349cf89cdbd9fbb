"""Plain rows taken natively: the same records and the same report as by the rules for any row, line by line."""

from __future__ import annotations

import random
from array import array
from dataclasses import replace
from pathlib import Path

import pytest
from format_fixtures import FIXTURES
from hypothesis import given, settings
from hypothesis import strategies as st
from list_files import BAD, hexes, md5, read, sha1, sha256, write

from hashsieve._lists import Rules
from hashsieve.errors import HashsieveError
from hashsieve.hashset.compile import SetWriter, compile_lists
from hashsieve.hashset.hashset import HashSet
from hashsieve.hashset.testfile import TEST_DIGESTS
from hashsieve.lists import ListOptions, PackedRows, digest_lines, hashdeep, keyed_lines, read_list, split_rows
from hashsieve.model import DigestKind, Listing, Record, Role

LISTING = Listing("list", Role.KNOWN_BAD)
ODD_LINES = [
    b"", b"# comment", b"no digest", b"-", md5(9).encode()[:31], md5(9).encode() + b"a", md5(9).encode() + b" ",
    md5(9).encode() + b" x", b" " + md5(9).encode(), b"\\" + md5(9).encode() + b"  a\\nb",
    md5(9).encode() + b"  a offset 0-511", md5(9).encode() + b"  an offset of 5", md5(9).encode() + b"  a\rb",
    md5(9).encode() + b"\r", md5(9).encode() + b"  name\r", md5(9).encode() + b"\r\r", b"g" + md5(9).encode()[1:],
    md5(9).encode().replace(md5(9).encode()[:1], b"\xb0"), b"d41d8cd98f00b204e9800998ecf8427e  empty", b"0" * 32,
    b"F" * 32, b"MD5 (a) = " + md5(8).encode(), sha1(9).encode(), sha1(9).encode() + b"  name",
    b"12  " + md5(9).encode() + b"  sized", b"31d6cfe0d16ae931b73c59d7e0c089c0", md5(9).encode() + b"  \xff\xfe",
]  # fmt: skip


def sizes(*values: int) -> memoryview[int]:
    """Sizes as packed rows have them."""
    return memoryview(array("q", values).tobytes()).cast("q")


def told(path: Path, options: object) -> tuple[object, object]:
    """Everything a reading tells: records and report, or the error."""
    try:
        records, report = read(path, options)  # type: ignore[arg-type]
    except HashsieveError as error:
        return type(error), str(error)
    return records, report


@settings(deadline=None, max_examples=150)
@given(
    lines=st.lists(st.one_of(st.integers(0, 99), st.sampled_from(ODD_LINES)), max_size=60),
    end=st.sampled_from([b"\n", b"\r\n", b"\r", b"\0"]),
    final=st.booleans(),
    declared=st.sampled_from([None, DigestKind.MD5, DigestKind.SHA1]),
    chunk=st.sampled_from([1 << 20, 100]),
)
def test_digest_lines_are_told_as_without_the_native_part(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[int | bytes],
    end: bytes,
    final: bool,
    declared: DigestKind | None,
    chunk: int,
) -> None:
    forms = ["{}", "{}  name {}", "{} *name", "{}  "]
    rows = [
        line if isinstance(line, bytes) else forms[line % 4].format(md5(line), "x" * line).encode() for line in lines
    ]
    path = write(tmp_path_factory.getbasetemp() / "lines", end.join(rows) + (end if final else b""))
    options = replace(BAD, format="digest-lines", digest=declared)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hashsieve.lists.source.CHUNK_BYTES", chunk)
        patch.setattr("hashsieve.lists.lines._ODD_BYTES", 1)
        native = told(path, options)
        patch.setattr(digest_lines._Rows, "plain", lambda self, block, start: (None, start))
        assert native == told(path, options)


@settings(deadline=None, max_examples=150)
@given(
    lines=st.lists(st.one_of(st.integers(0, 99), st.integers(0, 17).map(str)), max_size=60),
    end=st.sampled_from([b"\n", b"\r\n", b"\r", b"\0"]),
    final=st.booleans(),
    columns=st.permutations(["md5", "sha1", "sha256", "tiger"]).map(lambda names: names[:3]),
)
def test_hashdeep_rows_are_told_as_without_the_native_part(
    tmp_path_factory: pytest.TempPathFactory, lines: list[int | str], end: bytes, final: bool, columns: list[str]
) -> None:
    makers = {"md5": md5, "sha1": sha1, "sha256": sha256, "tiger": lambda number: "ab" * 24}

    def row(number: int, size: object, name: str = "n") -> str:
        return ",".join([str(size), *(makers[column](number) for column in columns), name])

    odd = [
        "", "## comment", "spilled", row(1, 1, "a offset 0-511"), row(1, 1, "an offset b"), row(1, "9" * 19),
        row(1, "9" * 18), row(1, ""), row(1, "-1"), row(1, 0), row(1, 5, ""), row(1, 5, "a,b"), row(1, 5)[:-3],
        row(1, 5).replace(md5(1), "0" * 32), row(1, 5).replace(md5(1), "x" + md5(1)[1:]), row(1, 5, "a\rb"),
        row(1, 5) + "\r", row(1, " 5"),
    ]  # fmt: skip
    head = ["%%%% HASHDEEP-1.0", f"%%%% size,{','.join(columns)},filename"]
    rows = [odd[int(line)] if isinstance(line, str) else row(line, line, f"name {line}") for line in lines]
    text = end.join(each.encode() for each in [*head, *rows]) + (end if final else b"")
    path = write(tmp_path_factory.getbasetemp() / "rows", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hashsieve.lists.lines._ODD_BYTES", 1)
        native = told(path, BAD)
        patch.setattr(hashdeep._Rows, "plain", lambda self, block, start: (None, start))
        assert native == told(path, BAD)


@pytest.mark.parametrize("size_bytes", [16, 20, 32])
def test_every_byte_in_every_place_is_a_digit_or_ends_the_run(size_bytes: int) -> None:
    rules = Rules(b"\n", [])
    digits = ("0123456789abcdefABCDEF" * 3)[: 2 * size_bytes].encode()
    for place in range(2 * size_bytes):
        for byte in range(256):
            text = digits[:place] + bytes([byte]) + digits[place + 1 :]
            packed, used = rules.digest_lines(text + b"\n", 0, size_bytes)
            if chr(byte) in "0123456789abcdefABCDEF":
                assert (packed, used) == (bytes.fromhex(text.decode()), len(text) + 1)
            else:
                assert (packed, used) == (b"", 0)


def test_a_run_ends_before_a_digest_that_nobody_may_list() -> None:
    stop = bytes.fromhex(md5(3))
    text = "".join(f"{md5(number)}\n" for number in range(6)).encode()
    packed, used = Rules(b"\n", [stop, b"\0" * 20]).digest_lines(text, 0, 16)
    assert (packed, used) == (b"".join(bytes.fromhex(md5(number)) for number in range(3)), 3 * 33)
    assert Rules(b"\n", [stop]).digest_lines(text, 4 * 33, 16)[1] == len(text)


def test_native_rows_refuse_arguments_that_do_not_fit() -> None:
    rules = Rules(b"\n", [])
    with pytest.raises(ValueError, match="one byte"):
        Rules(b"\r\n", [])
    with pytest.raises(ValueError, match="16, 20 or 32"):
        rules.digest_lines(b"", 0, 17)
    with pytest.raises(ValueError, match="behind"):
        rules.digest_lines(b"a", 2, 16)
    with pytest.raises(ValueError, match="outside"):
        rules.sized_rows(b"", 0, [(16, 1)])
    with pytest.raises(ValueError, match="12 columns"):
        rules.sized_rows(b"", 0, [(0, 0)] * 13)
    with pytest.raises(ValueError, match="one byte"):
        rules.keyed_lines(b"", 0, b"::", 16, False)


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(["NSRLFile.txt", "NSRLFile15.txt", "four.hsh", "three.hsh", "main.hdb", "malware-hashes",
                          "hash-iocs.txt", "tags"]),
    picks=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30)), max_size=40),
    end=st.sampled_from([b"\n", b"\r\n", b"\r", b"\0"]),
    final=st.booleans(),
)  # fmt: skip
def test_rows_of_other_formats_are_told_as_without_the_native_part(
    tmp_path_factory: pytest.TempPathFactory, name: str, picks: list[tuple[int, int]], end: bytes, final: bool
) -> None:
    tags = [f"MD5 (na me {number}) = {md5(number)}".encode() for number in range(9)]
    content = {fixture.name: fixture.content for fixture in FIXTURES}.get(name, b"\n".join(tags) + b"\n")
    own = content.splitlines()
    lines = own[:1]
    for pick, change in picks:
        line = own[pick % len(own)]
        # One in two lines as it is; the others changed somewhere, or an odd line of another format.
        if change < 15:
            lines.append(line)
        elif change < 26:
            at = pick * 7 % (len(line) + 1)
            piece = (b"", b"0", b" ", b'"', b",", b":", b";", b"\r", b"x", b"\xff", b"999999999999999999999")[
                change - 15
            ]
            lines.append(line[:at] + piece + line[at + 1 :])
        else:
            lines.append(ODD_LINES[pick % len(ODD_LINES)])
    path = write(tmp_path_factory.getbasetemp() / name, end.join(lines) + (end if final else b""))
    options = ListOptions(role=None if name.startswith("NSRL") or name == "main.hdb" else Role.KNOWN_BAD)
    formats = {fixture.name: fixture.format for fixture in FIXTURES}
    options = replace(options, format=formats.get(name, "digest-lines"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hashsieve.lists.lines._ODD_BYTES", 1)
        native = told(path, options)
        for rows in (digest_lines._Rows, keyed_lines._Rows, split_rows._Rows):
            patch.setattr(rows, "plain", lambda self, block, start: (None, start))
        assert native == told(path, options)


def test_packed_rows_stand_for_their_records() -> None:
    kinds = (DigestKind.MD5, DigestKind.SHA1)
    rows = PackedRows(kinds, b"m" * 16 + b"s" * 20 + b"n" * 16 + b"t" * 20, LISTING, sizes(5, 0))
    records = [
        Record({"md5": b"m" * 16, "sha1": b"s" * 20}, 5, LISTING),
        Record({"md5": b"n" * 16, "sha1": b"t" * 20}, None, LISTING),
    ]
    assert (list(rows), len(rows)) == (records, 2)
    assert list(PackedRows(kinds[:1], b"m" * 32, LISTING)) == [Record({"md5": b"m" * 16}, None, LISTING)] * 2


def test_a_long_list_comes_in_packed_batches_of_bounded_size(tmp_path: Path) -> None:
    path = write(tmp_path / "list", "".join(f"{md5(number)}\n" for number in range(100_000)))
    batches = list(read_list(path, BAD).batches())
    assert sum(map(len, batches)) == 100_000
    assert sum(len(batch) for batch in batches if isinstance(batch, PackedRows)) > 99_000
    assert max(map(len, batches)) < 70_000


@pytest.mark.parametrize("names", ["size,md5,sha1,filename", "size,sha1,md5,filename", None])
def test_a_set_of_packed_rows_is_the_set_of_their_records(tmp_path: Path, names: str | None) -> None:
    numbers = random.Random(5).choices(range(3000), k=5000)
    if names is None:
        text = "".join(f"{md5(number)}\n" for number in numbers) + TEST_DIGESTS["md5"].hex() + "\n"
    else:
        text = f"%%%% HASHDEEP-1.0\n%%%% {names}\n"
        pair = {"md5": md5, "sha1": sha1}
        for number in numbers:
            text += f"{number}," + ",".join(pair[name](number) for name in names.split(",")[1:3]) + ",x\n"
        text += "68," + ",".join(TEST_DIGESTS[name].hex() for name in names.split(",")[1:3]) + ",x\n"
    path = write(tmp_path / "list", text)
    report = compile_lists([path], tmp_path / "packed.hset", role="known-bad")
    writer = SetWriter()
    for record in read(path)[0]:
        writer.add(record)
    writer.write(tmp_path / "records.hset")
    assert (tmp_path / "packed.hset").read_bytes() == (tmp_path / "records.hset").read_bytes()
    assert (report.lists[0].taken, report.lists[0].dropped) == (5000, {"test-file": 1})
    known = HashSet.open(tmp_path / "packed.hset")
    entry = known.entries("md5", bytes.fromhex(md5(numbers[0])))[0]
    assert entry.size_bytes == (None if names is None or numbers[0] == 0 else numbers[0])
    known.close()


def test_line_numbers_stay_right_between_runs(tmp_path: Path) -> None:
    rows = [md5(number) for number in range(50_000)]
    for at in (700, 701, 30_000, 49_998):
        rows[at] = "no digest"
    records, report = read(write(tmp_path / "list", "\n".join(rows) + "\n"))
    assert [problem.position for problem in report.problems] == [f"line {at + 1}" for at in (700, 701, 30_000, 49_998)]
    assert hexes(records, "md5") == [row for row in rows if row != "no digest"]
