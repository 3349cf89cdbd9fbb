"""hashdeep lists: rows with several digests, names that spill, pieces, and cuts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from list_files import hexes, md5, read, sha1, sha256, write

from hashsieve.errors import ListCutShortError, ListEmptyError, ListFormatError
from hashsieve.lists import detect
from hashsieve.model import Listing, Record, Role

HEAD = "%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n## Invoked from: /home/someone\n## # hashdeep -r .\n## \n"


def row(number: int, name: str = "./name") -> str:
    """A row with both digests of a made-up text."""
    return f"{number},{md5(number)},{sha256(number)},{name}\n"


def test_a_row_gives_one_record_with_all_digests_and_the_size(tmp_path: Path) -> None:
    records, report = read(write(tmp_path / "list", HEAD + row(39, 'a,b "c".csv')))
    digests = {"md5": bytes.fromhex(md5(39)), "sha256": bytes.fromhex(sha256(39))}
    assert records == [Record(digests, 39, Listing("list", Role.KNOWN_BAD))]
    assert (report.format, report.refused, report.dropped) == ("hashdeep", {}, {})


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\0"], ids=["lf", "crlf", "cr", "nul"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_and_line_ends_make_no_difference(tmp_path: Path, end: str, encoding: str) -> None:
    text = (HEAD + row(1) + row(2) + row(3)).replace("\n", end)
    records, report = read(write(tmp_path / "list", text.encode(encoding)))
    assert hexes(records, "sha256") == [sha256(number) for number in (1, 2, 3)]
    assert not report.refused


def test_the_header_line_gives_the_order_of_the_columns(tmp_path: Path) -> None:
    head = "%%%% HASHDEEP-1.0\n%%%% size,sha256,sha1,md5,filename\n"
    records, _ = read(write(tmp_path / "list", f"{head}7,{sha256(1)},{sha1(1)},{md5(1)},x\n"))
    assert {kind: raw.hex() for kind, raw in records[0].digests.items()} == {
        "md5": md5(1),
        "sha1": sha1(1),
        "sha256": sha256(1),
    }


def test_columns_of_other_kinds_are_ignored_and_counted(tmp_path: Path) -> None:
    head = "%%%% HASHDEEP-1.0\n%%%% size,tiger,md5,whirlpool,filename\n"
    rows = "".join(f"7,{'ab' * 24},{md5(number)},{'cd' * 64},a,b\n" for number in range(3))
    records, report = read(write(tmp_path / "list", head + rows))
    assert hexes(records, "md5") == [md5(number) for number in range(3)]
    assert (report.dropped, report.refused) == ({"unsupported-kind": 6}, {})


def test_lines_spilled_from_a_name_are_dropped(tmp_path: Path) -> None:
    text = HEAD + row(1, "new\nline.txt") + row(2, "a\n\nb, c, d\n2026\n%%%% not a header") + row(3)
    records, report = read(write(tmp_path / "list", text))
    assert hexes(records, "md5") == [md5(1), md5(2), md5(3)]
    assert (report.dropped, report.refused) == ({"spilled-name": 4}, {})


def test_a_line_with_no_row_before_it_has_not_spilled(tmp_path: Path) -> None:
    _, report = read(write(tmp_path / "list", HEAD + "line.txt\n" + row(1)))
    assert (report.dropped, report.refused) == ({}, {"not-a-row": 1})


def test_rows_of_piecewise_hashing_are_refused(tmp_path: Path) -> None:
    text = HEAD + row(512, "a offset 0-511") + row(513, "an offset 5-x name") + row(514, "offset 1-2, or so")
    records, report = read(write(tmp_path / "list", text))
    assert hexes(records, "md5") == [md5(513), md5(514)]
    assert (report.refused, report.problems[0].position) == ({"piecewise": 1}, "line 6")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"5,{md5(9)},{sha256(9)[:63]},x", "wrong-length"),
        (f"5,{sha1(9)},{sha256(9)},x", "wrong-length"),
        (f"5,{md5(9)},{'ab' * 48},x", "wrong-length"),
        (f"5,{md5(9)},{'z' * 64},x", "not-hex"),
        (f"5,,{sha256(9)},x", "empty-value"),
        (f"5,{md5(9)},null,x", "empty-value"),
        (f"5,{md5(9)}", "missing-column"),
    ],
)
def test_a_bad_row_is_refused_by_reason_and_line(tmp_path: Path, line: str, reason: str) -> None:
    records, report = read(write(tmp_path / "list", HEAD + row(1) + line + "\n" + row(2)))
    assert hexes(records, "md5") == [md5(1), md5(2)]
    assert (report.refused, report.problems[0].position) == ({reason: 1}, "line 7")


def test_universal_digests_are_dropped_each_and_a_row_without_any_gives_no_record(tmp_path: Path) -> None:
    empty = "0,d41d8cd98f00b204e9800998ecf8427e,e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855,e\n"
    padded = f"5,{'0' * 32},{sha256(5)},p\n" + f"6,{md5(6)},{'f' * 64},q\n"
    records, report = read(write(tmp_path / "list", HEAD + empty + padded))
    assert [sorted(record.digests) for record in records] == [["sha256"], ["md5"]]
    assert report.dropped == {"empty-file": 2, "all-zero": 1, "all-one": 1}


def test_sizes_that_say_nothing_are_not_kept(tmp_path: Path) -> None:
    rows = row(1).replace("1,", "0,", 1) + "9" * 30 + row(2)[1:]
    records, _ = read(write(tmp_path / "list", HEAD + rows))
    assert [record.size_bytes for record in records] == [None, None]


def test_joined_lists_are_read_on_with_the_columns_of_each(tmp_path: Path) -> None:
    second = f"%%%% HASHDEEP-1.0\n%%%% size,sha1,filename\n## x\n4,{sha1(4)},n\n"
    records, report = read(write(tmp_path / "list", HEAD + row(1) + second))
    assert (hexes(records, "md5"), hexes(records, "sha1")) == ([md5(1)], [sha1(4)])
    assert not report.refused


@settings(deadline=None)
@given(cuts=st.integers(0, 10**6))
def test_every_cut_gives_an_error_or_whole_rows(tmp_path_factory: pytest.TempPathFactory, cuts: int) -> None:
    content = HEAD + row(1) + row(2, "a\nb") + row(3)
    length = cuts % len(content)
    path = write(tmp_path_factory.getbasetemp() / "cut", content[:length])
    ends = [content.index(row(number)) + len(row(number, "")) - 1 for number in (1, 3)]
    ends.insert(1, content.index(row(2, "a\nb")) + len(row(2, "")) - 1)
    whole = sum(length >= end for end in ends)
    try:
        got = hexes(read(path)[0], "md5")
    except (ListCutShortError, ListEmptyError, ListFormatError):
        starts = [end - len(row(1, "")) + 1 for end in ends]
        within_row = any(start < length < end for start, end in zip(starts, ends, strict=True))
        assert within_row or not whole
        return
    assert got == [md5(number) for number in range(1, whole + 1)]


@pytest.mark.parametrize(
    "text",
    [
        "%%%% HASHDEEP-2.0\n%%%% size,md5,filename\n",
        "%%%% HASHDEEP-1.0\n%%%% size,tiger,filename\n",
        "%%%% HASHDEEP-1.0\n%%%% size,md5,name\n",
        "%%%% HASHDEEP-1.0\n5,d41d8cd98f00b204e9800998ecf84271,x\n",
    ],
)
def test_headers_that_cannot_be_read_are_refused_with_their_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ListFormatError, match=r"list: line [12]"):
        read(write(tmp_path / "list", text))


def test_a_list_with_only_a_header_is_empty(tmp_path: Path) -> None:
    with pytest.raises(ListEmptyError):
        read(write(tmp_path / "list", HEAD))
    with pytest.raises(ListCutShortError, match="columns"):
        read(write(tmp_path / "cut", "%%%% HASHDEEP-1.0\n"))


def test_the_header_is_found_behind_blank_and_comment_lines_only() -> None:
    assert detect(("\n# exported\n\n" + HEAD + row(1)).encode(), "a").format == "hashdeep"
    named = "".join(f"{md5(number)}  %%%% HASHDEEP-1.0\n" for number in range(3))
    assert detect(named.encode(), "a").format == "digest-lines"
