"""Plain digest lines: all forms and encodings give the same records, and what is no digest is named."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from list_files import BAD, hexes, md5, read, sha1, sha256, write

from hashsieve.errors import ListCutShortError, ListEmptyError, ListFormatError, ListRefusedError
from hashsieve.lists import detect
from hashsieve.lists.lines import line_end, split_lines
from hashsieve.model import DigestKind, Listing, Record, Role

SHA256 = replace(BAD, digest=DigestKind.SHA256)
LINES = replace(BAD, format="digest-lines")
SHA1 = replace(LINES, digest=DigestKind.SHA1)
TEN = [md5(number) for number in range(10)]

ENCODINGS = {
    "utf-8": lambda text: text.encode(),
    "utf-8 with mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "utf-16le with mark": lambda text: b"\xff\xfe" + text.encode("utf-16-le"),
    "utf-16be with mark": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
}
ENDS = {"lf": "\n", "crlf": "\r\n", "cr": "\r", "nul": "\0"}


def test_a_record_holds_the_digest_and_the_listing_and_no_name(tmp_path: Path) -> None:
    path = write(tmp_path / "evil\nname.txt", f"{md5(1)}  secret.jpg\n")
    records, report = read(path)
    source = "evil\\nname.txt"
    assert records == [Record({"md5": bytes.fromhex(md5(1))}, None, Listing(source, Role.KNOWN_BAD))]
    assert report.to_json() == {
        "path": f"{tmp_path}/{source}",
        "format": "digest-lines",
        "role": "known-bad",
        "source": source,
        "taken": 1,
        "refused": {},
        "dropped": {},
    }


def test_the_source_in_the_options_names_the_list(tmp_path: Path) -> None:
    records, report = read(write(tmp_path / "a", f"{md5(1)}\n"), replace(BAD, source="custodian", role=Role.TRUSTED))
    assert records[0].listing == Listing("custodian", Role.TRUSTED)
    assert (report.source, report.role) == ("custodian", "trusted")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("final", [True, False], ids=["ended", "no final end"])
@pytest.mark.parametrize(
    "head", ["", "# comment line{end}{end}   {end}"], ids=["bare", "comment and blank lines first"]
)
def test_all_encodings_and_line_ends_give_the_same_records(
    tmp_path: Path, encoding: str, end: str, final: bool, head: str
) -> None:
    ending = ENDS[end]
    text = head.format(end=ending) + ending.join(TEN) + (ending if final else "")
    records, report = read(write(tmp_path / "list", ENCODINGS[encoding](text)))
    assert hexes(records, "md5") == TEN
    assert not report.refused


@settings(deadline=None)
@given(
    numbers=st.lists(st.integers(0, 10**6), min_size=1, max_size=40),
    encoding=st.sampled_from(sorted(ENCODINGS)),
    end=st.sampled_from(sorted(ENDS)),
    form=st.sampled_from(["{}", "{}  name é", "{} *name", "MD5 (na me) = {}", "        12  {}  name"]),
    upper=st.booleans(),
    final=st.booleans(),
)
def test_any_form_in_any_encoding_gives_the_same_digests(
    tmp_path_factory: pytest.TempPathFactory,
    numbers: list[int],
    encoding: str,
    end: str,
    form: str,
    upper: bool,
    final: bool,
) -> None:
    digests = [md5(number) for number in numbers]
    rows = [form.format(digest.upper() if upper else digest) for digest in digests]
    text = ENDS[end].join(rows) + (ENDS[end] if final else "")
    path = write(tmp_path_factory.getbasetemp() / "any-form", ENCODINGS[encoding](text))
    assert hexes(read(path)[0], "md5") == digests


@settings(deadline=None)
@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200)), end=st.sampled_from([b"\n", b"\r", b"\0"]))
def test_lines_do_not_depend_on_where_chunks_end(data: bytes, cuts: list[int], end: bytes) -> None:
    data = data.translate(None, b"\0\r\n").replace(b"a", end).replace(b"b", b"\r\n" if end == b"\n" else end)
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    chunks = [data[start:stop] for start, stop in pairwise(edges)]
    whole = data.replace(b"\r\n", b"\n") if end == b"\n" else data
    lines = [line for _, batch, _ in split_lines(chunks, end) for line in batch]
    assert lines == (whole.split(end) if not whole.endswith(end) else whole.split(end)[:-1]) or (not data and not lines)


def test_line_numbers_go_on_over_batches_and_chunks(tmp_path: Path) -> None:
    rows = [md5(number) + "  a name that makes the file longer than one read" for number in range(20000)]
    rows[19000] = "no digest"
    _, report = read(write(tmp_path / "list", "\n".join(rows) + "\n"))
    assert (report.taken, [str(problem) for problem in report.problems]) == (
        19999,
        ['line 19001: not-hex ("no digest")'],
    )


def test_letter_case_makes_no_difference(tmp_path: Path) -> None:
    mixed = "".join(c.upper() if i % 2 else c for i, c in enumerate(md5(1)))
    records, _ = read(write(tmp_path / "list", f"{md5(1)}\n{md5(1).upper()}\n{mixed}\n"))
    assert {record.digests["md5"] for record in records} == {hashlib.md5(b"text 1").digest()}
    assert len(records) == 3


FORMS = {
    "bare": "{}",
    "bare with blanks around": "  {}   ",
    "two blanks": "{}  name with  blanks",
    "blank and asterisk": "{} *name",
    "asterisk in the name": "{}  *name",
    "hash in the name": "{}  # name",
    "escaped": "\\{}  back\\\\slash",
    "tag": "SHA1 (name) = {}",
    "tag of another tool": "SHA-1   (name) = {}",
    "escaped tag": "\\SHA1 (new\\nline) = {}",
    "tag and the end of a tag in the name": "SHA1 (a) = d41d8cd98f00b204e9800998ecf8427e) = {}",
    "size first": "     70000  {}  ./name",
    "large size first": "123456789012  {}  ./name",
    "time between": "{} 2026:11:25:01:35:39  ./name",
    "no name": "{}  ",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_all_forms_of_a_row_give_the_same_digests(tmp_path: Path, form: str) -> None:
    digests = [sha1(number) for number in range(3)]
    records, report = read(write(tmp_path / "list", "".join(form.format(digest) + "\n" for digest in digests)))
    assert hexes(records, "sha1") == digests
    assert (report.format, report.refused) == ("digest-lines", {})


def test_forms_may_change_from_row_to_row(tmp_path: Path) -> None:
    rows = [form.format(sha1(number)) for number, form in enumerate([*FORMS.values()] * 3)]
    records, report = read(write(tmp_path / "list", "\n".join(rows) + "\n"))
    assert hexes(records, "sha1") == [sha1(number) for number in range(len(rows))]
    assert not report.refused


def test_tags_tell_the_kind_of_each_row(tmp_path: Path) -> None:
    blake3 = "ab" * 32
    rows = [f"MD5 (a) = {md5(1)}", f"SHA1 (a) = {sha1(1)}", f"SHA256 (a) = {sha256(1)}", f"BLAKE3 (a) = {blake3}"]
    records, _ = read(write(tmp_path / "list", "\n".join(rows) + "\n"))
    assert [dict(record.digests) for record in records] == [
        {"md5": bytes.fromhex(md5(1))},
        {"sha1": bytes.fromhex(sha1(1))},
        {"sha256": bytes.fromhex(sha256(1))},
        {"blake3": bytes.fromhex(blake3)},
    ]


def test_a_tagged_name_with_a_line_feed_is_put_together_again(tmp_path: Path) -> None:
    text = f"MD5 (new\nline) = {md5(1)}\nMD5 (a) = {md5(2)}\nMD5 (never closed\nMD5 (b) = {md5(3)}\n"
    records, report = read(write(tmp_path / "list", text), LINES)
    assert hexes(records, "md5") == [md5(1), md5(2), md5(3)]
    assert report.refused == {"no-digest": 1}
    assert report.problems[0].position == "line 4"


def test_a_size_column_becomes_the_size(tmp_path: Path) -> None:
    records, _ = read(write(tmp_path / "list", f"     70000  {md5(1)}  a\n         0  {md5(2)}  b\n"))
    assert [record.size_bytes for record in records] == [70000, None]


@pytest.mark.parametrize("kind", [DigestKind.SHA256, DigestKind.BLAKE3])
def test_64_digits_are_what_they_are_declared_to_be(tmp_path: Path, kind: DigestKind) -> None:
    records, _ = read(write(tmp_path / "list", f"{sha256(1)}\n"), replace(BAD, digest=kind))
    assert records[0].digests == {kind: bytes.fromhex(sha256(1))}


def test_64_digits_without_a_declaration_are_refused_with_advice(tmp_path: Path) -> None:
    path = write(tmp_path / "list", f"{md5(1)}\n{sha256(1)}  name\n")
    with pytest.raises(ListFormatError, match=r"list: line 2: .*--digest sha256 or --digest blake3"):
        read(path)


def test_under_a_declaration_other_lengths_are_refused(tmp_path: Path) -> None:
    _, report = read(write(tmp_path / "list", f"{sha256(1)}\n{md5(1)}\n{'ab' * 48}\n"), SHA256)
    assert (report.taken, report.refused) == (1, {"wrong-length": 2})


@pytest.mark.parametrize(("name", "digest"), [("MD5", md5(1)), ("SHA-1", sha1(1)), ("SHA-256", sha256(1))])
def test_a_first_line_that_names_the_kind_declares_it(tmp_path: Path, name: str, digest: str) -> None:
    records, report = read(write(tmp_path / "list", f"{name}\r\n{digest}\r\n"))
    assert [value.hex() for value in records[0].digests.values()] == [digest]
    assert not report.refused


def test_a_first_line_that_names_an_unsupported_kind_refuses_the_list(tmp_path: Path) -> None:
    path = write(tmp_path / "list", "MD4\n" + "".join(f"{digest}\n" for digest in TEN))
    with pytest.raises(ListFormatError, match="MD4"):
        read(path)


def test_a_first_line_that_contradicts_the_declaration_refuses_the_list(tmp_path: Path) -> None:
    path = write(tmp_path / "list", f"MD5\n{md5(1)}\n")
    with pytest.raises(ListFormatError, match=r"md5.*sha256"):
        read(path, SHA256)


REFUSED = {
    "quotes": ('""', "empty-value"),
    "blanks and a name": ("   name.txt", "empty-value"),
    "N/A": ("N/A", "empty-value"),
    "null": ("null", "empty-value"),
    "dash": ("-", "empty-value"),
    "tag without digest": ("MD5 (a) = ", "empty-value"),
    "31 digits": (md5(7)[:31], "wrong-length"),
    "33 digits": (md5(7) + "a", "wrong-length"),
    "letter in the digits": ("g" + md5(7)[1:], "not-hex"),
    "tag with a cut digest": (f"MD5 (a) = {md5(7)[:30]}", "wrong-length"),
    "SHA-384": ("ab" * 48, "unsupported-kind"),
    "SHA-512": ("ab" * 64, "unsupported-kind"),
    "CRC-32": ("deadbeef  name", "unsupported-kind"),
    "cksum": ("2758353365 14  name", "unsupported-kind"),
    "tag SHA512": (f"SHA512 (a) = {'ab' * 64}", "unsupported-kind"),
    "tag BLAKE2b": (f"BLAKE2b (a) = {'ab' * 64}", "unsupported-kind"),
    "tag BLAKE2b-256": (f"BLAKE2b-256 (a) = {'ab' * 32}", "unsupported-kind"),
    "tag SM3": (f"SM3 (a) = {'ab' * 32}", "unsupported-kind"),
    "tag XXH3": ("XXH3 (a) = bf9abca1beae8e4a", "unsupported-kind"),
    "ssdeep": ("3:AXGBicFlgVNhBGcL6wCrFQEv:AXGHsNhxLsr2C", "not-hex"),
    "TLSH": ("T1" + "ab" * 35, "not-hex"),
    "piece": (f"{md5(7)}  name offset 0-511", "piecewise"),
    "cell of a table": (f"{md5(7)}\t{sha1(7)}", "not-hex"),
}


@pytest.mark.parametrize(("row", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_supported_digest_is_refused_by_reason_and_line(tmp_path: Path, row: str, reason: str) -> None:
    rows = [*TEN[:3], row, *TEN[3:6]]
    records, report = read(write(tmp_path / "list", "\n".join(rows) + "\n"))
    assert hexes(records, "md5") == TEN[:6]
    assert report.refused == {reason: 1}
    assert report.problems[0].position == "line 4"


@pytest.mark.parametrize(
    ("digest", "reason"),
    [
        (hashlib.md5(b"").hexdigest(), "empty-file"),
        (hashlib.sha1(b"").hexdigest(), "empty-file"),
        (hashlib.sha256(b"").hexdigest(), "empty-file"),
        ("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262", "empty-file"),
        ("0" * 32, "all-zero"),
        ("0" * 40, "all-zero"),
        ("0" * 64, "all-zero"),
        ("f" * 32, "all-one"),
        ("F" * 40, "all-one"),
        ("F" * 64, "all-one"),
    ],
)
def test_universal_digests_are_dropped_and_counted(tmp_path: Path, digest: str, reason: str) -> None:
    kind = {32: "md5", 40: "sha1"}.get(len(digest), "blake3" if digest.startswith("af13") else "sha256")
    good = {"md5": md5, "sha1": sha1, "sha256": sha256, "blake3": sha256}[kind]
    options = replace(BAD, digest=DigestKind(kind))
    records, report = read(write(tmp_path / "list", f"{good(1)}  a\n{digest}  b\n{good(2)}  c\n"), options)
    assert hexes(records, kind) == [good(1), good(2)]
    assert (report.dropped, report.refused) == ({reason: 1}, {})


@pytest.mark.parametrize(
    ("empty", "options", "named"),
    [
        ("99aa06d3014798d86001c324468d497f", BAD, "XXH128"),
        ("31d6cfe0d16ae931b73c59d7e0c089c0", BAD, "MD4"),
        (hashlib.sha3_256(b"").hexdigest(), SHA256, "SHA3-256"),
        (hashlib.blake2b(b"", digest_size=32).hexdigest(), SHA256, "BLAKE2b-256"),
        ("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262", SHA256, "blake3"),
        (hashlib.sha256(b"").hexdigest(), replace(BAD, digest=DigestKind.BLAKE3), "sha256"),
    ],
)
def test_a_list_that_shows_to_be_of_another_kind_is_refused(
    tmp_path: Path, empty: str, options: object, named: str
) -> None:
    others = [md5(1), md5(2)] if options is BAD else [sha256(1), sha256(2)]
    path = write(tmp_path / "list", "".join(f"{digest}  name\n" for digest in [*others, empty]))
    with pytest.raises(ListFormatError, match=named):
        read(path, options)  # type: ignore[arg-type]


def test_a_name_that_says_xxhash_refuses_untyped_digests(tmp_path: Path) -> None:
    path = write(tmp_path / "files.xxh128", f"{md5(1)}  name\n")
    with pytest.raises(ListFormatError, match="xxHash"):
        read(path)
    assert read(path, replace(BAD, digest=DigestKind.MD5))[1].taken == 1


@pytest.mark.parametrize("tool", ["md5sum", "sha1sum", "sha256sum"])
@pytest.mark.parametrize("arguments", [[], ["-b"], ["--tag"], ["-z"]], ids=["text", "binary", "tag", "zero"])
def test_real_checksum_tools_on_nasty_names(tmp_path: Path, tool: str, arguments: list[str]) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    names = [
        b"back\\slash", b"new\nline", b"carriage\rreturn", b"*star", b" leading", b"trailing ", b"two  blanks",
        b"a) = d41d8cd98f00b204e9800998ecf8427e", b"d41d8cd98f00b204e9800998ecf8427e", b"#hash", b"\xff\xfe",
        b"\\", b"literal\\n", b"%%%% HASHDEEP-1.0", b"MD5 (x", b"paren(", b"tab\tname", b"-dash", b"\r", b"\n",
        b"\xe6\x97\xa5",
    ]  # fmt: skip
    folder = tmp_path / "tree"
    folder.mkdir()
    wanted = []
    for number, name in enumerate(names):
        content = b"nasty %d" % number
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(content)
        wanted.append(hashlib.new(tool.removesuffix("sum"), content).hexdigest())
    done = subprocess.run([tool, *arguments, "--", *names], cwd=folder, capture_output=True, check=True, timeout=60)
    kind = DigestKind(tool.removesuffix("sum"))
    records, report = read(write(tmp_path / "list", done.stdout), replace(BAD, digest=kind))
    assert hexes(records, kind) == wanted
    assert not report.refused


def test_names_with_line_feeds_that_were_not_escaped_are_refused_with_their_line(tmp_path: Path) -> None:
    _, report = read(write(tmp_path / "list", f"{md5(1)}  new\nline.txt\n{md5(2)}  b\n"))
    assert report.taken == 2
    assert [str(problem) for problem in report.problems] == ['line 2: not-hex ("line.txt")']


def test_a_carriage_return_in_a_name_is_part_of_it(tmp_path: Path) -> None:
    records, report = read(write(tmp_path / "list", f"{md5(1)}  carriage\rreturn\n{md5(2)}  b\n"))
    assert (hexes(records, "md5"), report.refused) == ([md5(1), md5(2)], {})


@pytest.mark.parametrize(
    "text",
    [
        f"# made somewhere else\n{md5(1)}\r{md5(2)}\r{md5(3)}\r",
        f"{md5(1)}  a\r{md5(2)}  b\n{md5(3)}  c\n",
        f"{md5(1)}  a\n{md5(2)}  b\n{md5(3)}  c\0",
    ],
)
def test_mixed_line_ends_never_lose_rows_in_silence(tmp_path: Path, text: str) -> None:
    with pytest.raises(ListFormatError, match=r"line \d+ .*line end"):
        read(write(tmp_path / "list", text), LINES)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_told_by_its_zeros(tmp_path: Path, encoding: str) -> None:
    rows = [f"{digest}  日本 {number}" for number, digest in enumerate(TEN)]
    records, report = read(write(tmp_path / "list", "\n".join(rows).encode(encoding)))
    assert hexes(records, "md5") == TEN
    assert not report.refused


def test_utf32_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ListFormatError, match="UTF-32"):
        read(write(tmp_path / "list", "\n".join(TEN).encode("utf-32")))


def test_a_nul_byte_in_a_later_line_is_refused_with_its_line(tmp_path: Path) -> None:
    rows = [md5(number) for number in range(3000)]
    rows[2500] = "\0" * 32
    with pytest.raises(ListFormatError, match="line 2501 holds a NUL byte"):
        read(write(tmp_path / "list", "\n".join(rows) + "\n"))


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "list", f"{md5(1)}\n{md5(2)}  " + "x" * (3 << 20))
    with pytest.raises(ListFormatError, match="line 2 is longer than"):
        read(path)


CUT = {
    "within the digest": ("{0}  a\n{1}  b\n", md5(3)[:20]),
    "at an odd digit": ("{0}\n{1}\n", md5(3)[:31]),
    "after one digit": ("{0}\n{1}\n", "0"),
    "at the length of another kind": ("{2}  a\n{2}  b\n", sha1(3)[:32]),
    "single line": ("", md5(3)[:31]),
    "within a tagged digest": ("MD5 (a) = {0}\n", f"MD5 (b) = {md5(3)[:30]}"),
    "before a tagged digest": ("MD5 (a) = {0}\n", "MD5 (b"),
    "within a tag": ("SHA1 (a) = {2}\n", "SHA"),
    "within a size": ("         5  {0}  a\n", "        12"),
    "within a digest behind a name with a line feed": ("MD5 (a) = {0}\nMD5 (new\n", f"line) = {md5(3)[:30]}"),
}


@pytest.mark.parametrize(("head", "last"), CUT.values(), ids=CUT)
def test_a_last_line_that_is_cut_fails_the_list(tmp_path: Path, head: str, last: str) -> None:
    path = write(tmp_path / "list", head.format(md5(1), md5(2), sha1(1)) + last)
    with pytest.raises(ListCutShortError, match="list: the last line, "):
        read(path, LINES)


def test_utf16_that_ends_within_a_character_is_cut_short(tmp_path: Path) -> None:
    content = b"\xff\xfe" + "\r\n".join(TEN).encode("utf-16-le") + b"\r"
    with pytest.raises(ListCutShortError, match="UTF-16"):
        read(write(tmp_path / "list", content))


def test_a_last_line_without_end_may_be_a_comment_or_cut_in_its_name(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a", f"{md5(1)}\n# end"))[1].taken == 1
    assert read(write(tmp_path / "b", f"{md5(1)}  a\n{md5(2)}  nam"))[1].taken == 2


def test_every_cut_gives_an_error_or_whole_rows(tmp_path: Path) -> None:
    rows = [f"{sha1(number)}  name {number}\n".encode() for number in range(3)]
    content = b"".join(rows)
    for length in range(1, len(content)):
        path = write(tmp_path / "list", content[:length])
        try:
            got = hexes(read(path, SHA1)[0], "sha1")
        except ListCutShortError:
            # Only a cut within a digest may end here.
            assert 0 < (length % len(rows[0])) < 40
            continue
        assert got == [sha1(number) for number in range(-(-length // len(rows[0])))]


def test_one_odd_first_line_does_not_decide_the_format(tmp_path: Path) -> None:
    rows = "".join(f"{md5(number)}  file ({number}).jpg\n" for number in range(1000))
    _, report = read(write(tmp_path / "list", "-- exported list (v2) --\n" + rows))
    assert (report.format, report.taken, report.refused) == ("digest-lines", 1000, {"not-hex": 1})


def test_detection_needs_half_of_the_rows() -> None:
    half = "".join(f"{md5(number)}\nsome text here\n" for number in range(5))
    assert detect(half.encode(), "a").format == "digest-lines"
    assert detect((half + "more text here\n").encode(), "a").format is None


def test_lines_of_a_table_are_not_taken_for_digest_lines() -> None:
    for separator in ",\t;|:":
        table = "".join(f"{md5(number)}{separator}{sha1(number)}\n" for number in range(9))
        assert detect(table.encode(), "a").format == (None if separator == ":" else "csv")


def test_a_list_of_an_unsupported_kind_is_refused_by_that_name(tmp_path: Path) -> None:
    rows = "".join(f"{hashlib.sha512(b'%d' % number).hexdigest()}  a\n" for number in range(20))
    with pytest.raises(ListRefusedError, match="20 of 20 rows refused \\(unsupported-kind 20\\)"):
        read(write(tmp_path / "list", rows))
    with pytest.raises(ListEmptyError, match="unsupported-kind 1"):
        read(write(tmp_path / "short", rows.splitlines()[0] + "\n"))


def test_line_end_prefers_what_cannot_stand_in_a_name() -> None:
    assert [line_end(sample) for sample in (b"a\n\r\0", b"a\r\nb", b"a\rb", b"a")] == [b"\0", b"\n", b"\r", b"\n"]
