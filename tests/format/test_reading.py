"""What holds for all formats: options, files that cannot be read, the rules that refuse a list, and the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from list_files import BAD, md5, medium, read, sha1, vics, write, write_json

import hashsieve.lists
from hashsieve.errors import (
    HashsieveError,
    ListEmptyError,
    ListError,
    ListFormatError,
    ListRefusedError,
    UsageError,
    shown,
)
from hashsieve.lists import FORMATS, ListOptions, detect, read_list
from hashsieve.lists.build import new_listing, new_record
from hashsieve.model import DigestKind, Listing, Record, Role

PLAIN = ListOptions()


@pytest.mark.parametrize("content", [f"{md5(1)}\n", f"%%%% HASHDEEP-1.0\n%%%% size,md5,filename\n1,{md5(1)},a\n"])
def test_a_missing_role_is_an_error_that_names_the_roles(tmp_path: Path, content: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_list(write(tmp_path / "list", content), PLAIN)
    for role in Role:
        assert role in str(caught.value)


@pytest.mark.parametrize(
    ("options", "known"),
    [
        (ListOptions(format="vic"), [info.name for info in FORMATS]),
        (ListOptions(profile="usa"), ["us", "uk"]),
        (ListOptions(role="bad"), list(Role)),  # type: ignore[arg-type]
        (ListOptions(digest="sha512"), list(DigestKind)),  # type: ignore[arg-type]
    ],
)
def test_unknown_names_are_errors_that_list_the_known_ones(options: ListOptions, known: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        read_list("/nonexistent", options)
    for name in known:
        assert name in str(caught.value)


def test_names_from_a_command_line_are_as_good_as_members(tmp_path: Path) -> None:
    options = ListOptions(role="trusted", digest="sha1")  # type: ignore[arg-type]
    records, _ = read(write(tmp_path / "list", f"{sha1(1)}\n"), options)
    assert records == [Record({"sha1": bytes.fromhex(sha1(1))}, None, Listing("list", Role.TRUSTED))]
    assert type(records[0].listing.role) is Role


def test_a_path_that_cannot_be_read_is_named_and_escaped(tmp_path: Path) -> None:
    missing = tmp_path / "no\nsuch\u202elist"
    with pytest.raises(ListError) as caught:
        read_list(missing, BAD)
    assert str(caught.value).startswith(f"{tmp_path}/no\\nsuch\\u202elist: cannot be opened: No such file")
    with pytest.raises(ListError, match="is a directory"):
        read_list(tmp_path, BAD)
    with pytest.raises(ListError, match="cannot be opened"):
        read_list("nul\0byte", BAD)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ListError, match="not a regular file"):
        read_list(tmp_path / "pipe", BAD)


def test_a_file_that_vanishes_before_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "list", f"{md5(1)}\n")
    reading = read_list(path, BAD)
    path.unlink()
    with pytest.raises(ListError, match="list: cannot be opened"):
        list(reading)


def test_paths_may_be_bytes_and_names_need_not_be_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe.txt"
    with open(path, "wb") as file:
        file.write(f"{md5(1)}\n".encode())
    reading = read_list(path, BAD)
    assert [record.listing.source for record in reading] == ["\\udcff\\udcfe.txt"]
    assert json.loads(json.dumps(reading.report.to_json()))["path"] == shown(path)


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n\n  \n", b"# only a comment\n", b"MD5\n"])
def test_a_list_without_entries_is_empty(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ListEmptyError, match="list: "):
        read(write(tmp_path / "list", content), replace(BAD, format="digest-lines" if content == b"MD5\n" else None))


def test_a_list_of_only_universal_digests_is_empty_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(ListEmptyError, match=r"dropped \(empty-file 2, all-zero 1\)"):
        read(write(tmp_path / "list", "d41d8cd98f00b204e9800998ecf8427e\n" * 2 + "0" * 32 + "\n"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<?xml version='1.0'?><a/>\n", "no known format"),
        (b"name,size\na,1\n", "no known format"),
        (bytes(range(256)), "no known format"),
    ],
)
def test_content_of_no_known_format_is_refused_with_the_formats(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(ListFormatError, match=why) as caught:
        read(write(tmp_path / "list", content))
    assert ", ".join(info.name for info in FORMATS) in str(caught.value)


@pytest.mark.parametrize("format_name", ["vics", "hashdeep"])
def test_content_that_contradicts_the_format_asked_for_is_refused(tmp_path: Path, format_name: str) -> None:
    with pytest.raises(ListFormatError):
        read(write(tmp_path / "list", f"{md5(1)}\n"), replace(BAD, format=format_name))


def test_the_format_asked_for_overrides_the_detection(tmp_path: Path) -> None:
    text = "some text\n" * 5 + f"{md5(1)}\n"
    with pytest.raises(ListFormatError):
        read(write(tmp_path / "list", text))
    assert read(tmp_path / "list", replace(BAD, format="digest-lines"))[1].taken == 1


def test_detection_says_why() -> None:
    assert detect(b"", "a").format is None
    found = detect(f"{md5(1)}  a\nodd\n{md5(2)}  b\n".encode(), "a")
    assert (found.format, found.why) == ("digest-lines", "2 of the first 3 rows are digest lines")


@pytest.mark.parametrize(
    ("good", "bad", "refused"),
    [(1000, 11, True), (1088, 11, True), (1089, 11, False), (5, 10, False), (0, 11, True), (100_000, 1011, True)],
)
def test_more_than_ten_rows_and_one_percent_refuse_the_list(tmp_path: Path, good: int, bad: int, refused: bool) -> None:
    path = write(tmp_path / "list", f"{md5(1)}\n" * good + "no digest\n" * bad)
    options = replace(BAD, format="digest-lines")
    if refused:
        with pytest.raises(ListRefusedError) as caught:
            read(path, options)
        text = str(caught.value)
        assert f"{bad} of {good + bad} rows refused (not-hex {bad})" in text
        assert "more than 10 rows and more than 1 %" in text
        assert f'line {good + 1}: not-hex ("no digest")' in text
    else:
        report = read(path, options)[1]
        assert (report.taken, report.refused) == (good, {"not-hex": bad})


def test_strict_allows_no_refused_row(tmp_path: Path) -> None:
    path = write(tmp_path / "list", f"{md5(1)}\n" * 5 + "no digest\n")
    with pytest.raises(ListRefusedError, match="strict allows none; line 6"):
        read(path, replace(BAD, strict=True))
    assert read(write(tmp_path / "list", f"{md5(1)}\n"), replace(BAD, strict=True))[1].taken == 1


def test_strict_does_not_mind_dropped_digests(tmp_path: Path) -> None:
    path = write(tmp_path / "list", f"{md5(1)}\nd41d8cd98f00b204e9800998ecf8427e\n")
    assert read(path, replace(BAD, strict=True))[1].dropped == {"empty-file": 1}


def test_only_the_first_problems_are_kept_and_excerpts_are_short_and_escaped(tmp_path: Path) -> None:
    bad = "\x1b[31m\u202e" + "x" * 500
    path = write(tmp_path / "list", (f"{md5(1)}\n" * 10_000) + f"{bad}\n" * 50)
    report = read(path)[1]
    assert report.refused == {"not-hex": 50}
    assert [problem.position for problem in report.problems] == [f"line {number}" for number in range(10_001, 10_021)]
    assert report.problems[0].excerpt == '"\\x1b[31m\\u202e' + "x" * 34 + '..."'


def test_a_list_is_iterated_once(tmp_path: Path) -> None:
    reading = read_list(write(tmp_path / "list", f"{md5(1)}\n"), BAD)
    assert len(list(reading)) == 1
    with pytest.raises(UsageError, match="once"):
        iter(reading)


def test_every_error_of_a_list_names_the_path_once(tmp_path: Path) -> None:
    path = write_json(tmp_path / "list", {"value": {"MD5": 1}})
    with pytest.raises(HashsieveError) as caught:
        read(path, ListOptions(format="vics"))
    assert str(caught.value).count(str(path)) == 1


@pytest.mark.parametrize("shape", ["lines", "vics"])
def test_memory_does_not_grow_with_the_list(tmp_path: Path, shape: str) -> None:
    if shape == "lines":
        path = write(tmp_path / "list", f"{md5(1)}  {'n' * 100}\n" * 150_000)
    else:
        path = write_json(tmp_path / "list", vics([medium(1, Tags="n" * 400)] * 40_000))
    assert path.stat().st_size > 16 << 20
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_list(path, BAD))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == (150_000 if shape == "lines" else 40_000)
    assert peak_bytes < 8 << 20


def test_records_are_built_as_the_model_builds_them() -> None:
    record = new_record({"md5": b"x"}, 5, new_listing("s", Role.TRUSTED, "1", None))
    model = Record({"md5": b"x"}, 5, Listing("s", Role.TRUSTED, "1", None))
    assert (record, repr(record)) == (model, repr(model))
    assert hash(record.listing) == hash(model.listing)


def test_formats_have_unique_names_and_texts() -> None:
    names = [info.name for info in FORMATS]
    assert len(set(names)) == len(names)
    assert (names[0], names[-1]) == ("vics", "digest-lines")
    assert all(info.summary and info.origin for info in FORMATS)


def test_the_json_decoder_is_loaded_for_json_lists_only(tmp_path: Path) -> None:
    write(tmp_path / "list", f"{md5(1)}\n")
    script = (
        "import sys\n"
        "from hashsieve.lists import ListOptions, read_list\n"
        "from hashsieve.model import Role\n"
        "assert len(list(read_list(sys.argv[1], ListOptions(role=Role.TEST)))) == 1\n"
        "print([name for name in ('msgspec', 'numpy', 'json') if name in sys.modules])\n"
    )
    engine = Path(hashsieve.lists.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "list"],
        env={**os.environ, "PYTHONPATH": str(engine)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_table_with_quotes_of_a_large_public_set_is_recognised(tmp_path: Path) -> None:
    rows = "".join(f'"{sha1(number)}","{md5(number)}","0","na(me)",1,1,"WIN",""\n' for number in range(50))
    head = '"SHA-1","MD5","CRC32","FileName","FileSize","ProductCode","OpSystemCode","SpecialCode"\n'
    records, report = read(write(tmp_path / "list.txt", head + rows), PLAIN)
    assert (len(records), report.format, report.role) == (50, "nsrl-text", "known-good")
    with pytest.raises(ListEmptyError):
        read(write(tmp_path / "list.txt", head), PLAIN)
