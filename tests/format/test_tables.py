"""Tables: headers, separators, quotes, columns by name or by map, and what must never pass for a whole table."""

from __future__ import annotations

import csv
import io
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from list_files import BAD, hexes, md5, read, sha1, sha256, write

from hashsieve.errors import ListCutShortError, ListEmptyError, ListFormatError, ListRefusedError, UsageError
from hashsieve.lists import ListOptions, detect, read_list
from hashsieve.model import DigestKind, Role


@settings(deadline=None, max_examples=80)
@given(
    rows=st.lists(st.tuples(st.integers(0, 999), st.text(max_size=20), st.integers(0, 2**40)), min_size=1, max_size=20),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    order=st.permutations(["md5", "name", "size", "sha1"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_a_csv_writer_wrote_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, str, int]],
    delimiter: str,
    quoting: int,
    end: str,
    order: list[str],
    encoding: str,
) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerow(order)
    for number, name, size in rows:
        # A carriage return alone may end a line, and a NUL no text list holds.
        cells = {
            "md5": md5(number),
            "name": name.replace("\r", "").replace("\0", ""),
            "size": size,
            "sha1": sha1(number),
        }
        writer.writerow([cells[column] for column in order])
    text = buffer.getvalue().encode(encoding, "replace")
    records, report = read(write(tmp_path_factory.getbasetemp() / "table", text), replace(BAD, format="csv"))
    assert [(record.digests["md5"].hex(), record.size_bytes) for record in records] == [
        (md5(number), size or None) for number, _, size in rows
    ]
    assert hexes(records, "sha1") == [sha1(number) for number, _, _ in rows]
    assert not report.refused


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("", "empty-value"), ("   ", "empty-value"), ("N/A", "empty-value"), ("null", "empty-value"),
        ("-", "empty-value"), (md5(9)[:31], "wrong-length"), (md5(9) + "0", "wrong-length"),
        ("ab" * 48, "wrong-length"),
        ("3:AXGBicFlgVNhBGcL6wCrFQEv:AXGHsNhxLsr2C", "not-hex"), ("T1" + "AB" * 35, "not-hex"),
    ],
)  # fmt: skip
def test_what_is_no_digest_is_refused_by_reason_and_line(tmp_path: Path, cell: str, reason: str) -> None:
    text = f"name,sha256\na,{sha256(1)}\nb,{cell}\nc,{sha256(2)}\nd,{'0' * 64}\n"
    records, report = read(write(tmp_path / "list", text))
    assert hexes(records, "sha256") == [sha256(1), sha256(2)]
    assert (report.refused, report.dropped) == ({reason: 1}, {"all-zero": 1})
    assert report.problems[0].position == "line 3"


def test_bad_rows_over_one_percent_refuse_the_table(tmp_path: Path) -> None:
    text = "name,md5\n" + f"a,{md5(1)}\n" * 200 + "b,x\n" * 11
    with pytest.raises(ListRefusedError, match="11 of 211 rows refused \\(not-hex 11\\)"):
        read(write(tmp_path / "list", text))


def test_a_table_of_only_a_header_is_empty(tmp_path: Path) -> None:
    with pytest.raises(ListEmptyError):
        read(write(tmp_path / "list", "name,md5\n"))


def test_digests_that_contradict_each_other_in_one_row_are_told(tmp_path: Path) -> None:
    text = f"hash,md5,type\n{md5(1)},{md5(2)},md5\n{md5(3)},{md5(3)},md5\n"
    records, report = read(write(tmp_path / "list", text))
    assert (hexes(records, "md5"), report.refused) == ([md5(2), md5(3)], {"contradicting-digests": 1})


def test_untagged_values_are_what_their_length_says_by_custom(tmp_path: Path) -> None:
    text = f"hash;notes\n{md5(1)};x\n{sha1(2).upper()};y\n"
    records, _ = read(write(tmp_path / "list", text))
    assert (hexes(records, "md5"), hexes(records, "sha1")) == ([md5(1)], [sha1(2)])
    path = write(tmp_path / "list", text + f"{sha256(3)};z\n{'ab' * 64};w\n")
    with pytest.raises(ListFormatError, match="line 4: a digest of 64 hex digits"):
        read(path)
    records, report = read(path, replace(BAD, digest=DigestKind.BLAKE3))
    assert (hexes(records, "blake3"), report.refused) == ([sha256(3)], {"unsupported-kind": 1})


def test_a_header_of_a_hash_column_and_kinds_beside_it_is_read(tmp_path: Path) -> None:
    text = f"hash,md5,sha1,sha256,list,notes\n{md5(1)},{md5(1)},{sha1(1)},,l,n\n,,,{sha256(2)},l,n\n"
    records, report = read(write(tmp_path / "list", text))
    assert (hexes(records, "md5"), hexes(records, "sha256"), report.refused) == ([md5(1)], [sha256(2)], {})


def test_a_table_that_says_nothing_about_digests_is_none() -> None:
    for text in ("name,value\na,1\nb,2\n", "a,b,c\n1,2,3\n", "type,value\n", "id,type\n1,x\n"):
        found = detect(text.encode(), "a.csv")
        assert found.format is None or text == "type,value\n", text


# ---------------------------------------------------------------- quotes and cuts


def test_a_quote_that_swallows_rows_refuses_the_table(tmp_path: Path) -> None:
    rows = "".join(f'"{md5(number)}","name {number}"\n' for number in range(50))
    for broken in (rows.replace('"name 7"', '"name 7'), rows.replace('"name 7"', '"name "7"""')):
        path = write(tmp_path / "list", '"md5","name"\n' + broken)
        try:
            got = hexes(read(path)[0], "md5")
        except (ListFormatError, ListCutShortError):
            continue
        assert got == [md5(number) for number in range(50)]
    with pytest.raises(ListFormatError, match="line 9 opens a quote that swallows the rows behind it"):
        read(write(tmp_path / "list", '"md5","name"\n' + rows.replace('"name 7"', '"name 7')))


def test_a_table_that_ends_in_quotes_is_cut_short(tmp_path: Path) -> None:
    text = f'md5,note\n{md5(1)},"a"\n{md5(2)},"b\nmore'
    with pytest.raises(ListCutShortError, match="line 3, ends within quotes"):
        read(write(tmp_path / "list", text))


def test_a_cell_without_an_end_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "list", f'md5,note\n{md5(1)},"' + "some text\n" * 600_000)
    tracemalloc.start()
    try:
        with pytest.raises(ListFormatError, match="line 2"):
            list(read_list(path, BAD))
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_lone_carriage_return_ends_no_row(tmp_path: Path) -> None:
    text = f'md5,note\n{md5(1)},a\rb\n{md5(2)},"c\rd"\n'
    records, report = read(write(tmp_path / "list", text.encode()))
    assert (hexes(records, "md5"), report.refused) == ([md5(1), md5(2)], {})


def test_an_odd_line_before_the_header_is_no_reason_to_guess(tmp_path: Path) -> None:
    text = f"# exported 2026\n\n# columns: see below\nmd5,name\n{md5(1)},a\n"
    assert hexes(read(write(tmp_path / "list", text))[0], "md5") == [md5(1)]


# ---------------------------------------------------------------- the map


TABLE = (
    f"id;Grade;File;First;Second;Bytes\n7;A;x;{md5(1)};{sha1(1)};12\n8;B;y;{md5(2)};{sha1(2)};13\n9;C;z;{md5(3)};;0\n"
)


@pytest.mark.parametrize(
    "columns",
    [
        {"md5": "First", "sha1": "Second", "size": "Bytes", "ref": "id", "category": "Grade"},
        {"md5": "first", "sha1": "SECOND", "size": "bytes", "ref": "ID", "category": "grade"},
        {"md5": "4", "sha1": "5", "size": "6", "ref": "1", "category": "2"},
    ],
)
def test_the_map_names_columns_by_name_or_number(tmp_path: Path, columns: dict[str, str]) -> None:
    records, report = read(write(tmp_path / "list", TABLE), replace(BAD, columns=columns))
    assert [(record.size_bytes, record.listing.ref, record.listing.category) for record in records] == [
        (12, "7", "A"), (13, "8", "B"), (None, "9", "C"),
    ]  # fmt: skip
    assert (hexes(records, "md5"), hexes(records, "sha1")) == ([md5(1), md5(2), md5(3)], [sha1(1), sha1(2)])
    assert (report.format, report.role, report.refused) == ("csv", "known-bad", {})


def test_a_mapped_category_decides_the_role_under_a_profile(tmp_path: Path) -> None:
    profile = str(write(tmp_path / "grades", "# ours\nA = known-bad\nB: known-good\n"))
    columns = {"md5": "First", "category": "Grade"}
    records, report = read(write(tmp_path / "list", TABLE), ListOptions(columns=columns, profile=profile))
    assert [record.listing.role for record in records] == [Role.KNOWN_BAD, Role.KNOWN_GOOD, Role.UNDECIDED]
    assert report.role == "by-category"
    with pytest.raises(UsageError, match="may only lower"):
        read(tmp_path / "list", ListOptions(columns=columns, profile=profile, role=Role.TRUSTED))
    with pytest.raises(UsageError, match="give --role"):
        read(tmp_path / "list", ListOptions(columns=columns))


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"sha512": "First"}, "knows no sha512; known: md5, sha1"),
        ({"size": "Bytes"}, "names no digest column"),
        ({}, "knows no columns"),
        ({"md5": "0"}, "counted from 1"),
    ],
)
def test_a_map_that_makes_no_sense_is_a_usage_error(tmp_path: Path, columns: dict[str, str], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        read(write(tmp_path / "list", TABLE), replace(BAD, columns=columns))


def test_a_mapped_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ListFormatError, match='names the columns "Third"'):
        read(write(tmp_path / "list", TABLE), replace(BAD, columns={"md5": "Third"}))


def test_a_map_by_number_takes_a_table_without_a_header(tmp_path: Path) -> None:
    text = f"x\t{md5(1)}\t{md5(8)}\ny\t{md5(2)}\t{md5(9)}\n"
    path = write(tmp_path / "list", text)
    assert hexes(read(path, replace(BAD, columns={"md5": "2"}))[0], "md5") == [md5(1), md5(2)]
    with pytest.raises(
        ListFormatError, match="two columns hold digests of the same length; name the columns with --map"
    ):
        read(path)


# ---------------------------------------------------------------- profiles in files


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "maps no category"),
        ("1 = worst\n", "line 1: no role is called 'worst'; known: known-bad"),
        ("1 = known-bad\n1 = undecided\n", "line 2 maps the category 1 again"),
        ("known-bad\n", "line 1 is not CATEGORY = ROLE"),
        ("#" * (2 << 20), "longer than"),
    ],
)
def test_a_profile_file_that_makes_no_sense_is_a_usage_error(tmp_path: Path, text: str, match: str) -> None:
    profile = str(write(tmp_path / "profile", text))
    with pytest.raises(UsageError, match=match):
        read(write(tmp_path / "list", f"{md5(1)}\n"), replace(BAD, profile=profile))


@pytest.mark.parametrize(
    "line", ["1 = known-bad", '"1" = "known-bad"', "1: known-bad,", "1,known-bad", "1\tknown-bad # x"]
)
def test_profile_lines_are_read_as_people_write_them(tmp_path: Path, line: str) -> None:
    profile = str(write(tmp_path / "profile", f"# ours\n\n{line}\n2;undecided\n"))
    columns = {"md5": "md5", "category": "grade"}
    path = write(tmp_path / "list", f"grade,md5\n1,{md5(1)}\n2,{md5(2)}\n3,{md5(3)}\n")
    roles = [record.listing.role for record in read(path, ListOptions(columns=columns, profile=profile))[0]]
    assert roles == [Role.KNOWN_BAD, Role.UNDECIDED, Role.UNDECIDED]
