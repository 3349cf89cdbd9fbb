"""VICS lists: both shapes, any member order, categories to roles, and text that looks like structure."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from list_files import UK, US, hexes, md5, medium, read, sha1, sha256, vics, write, write_json

from hashsieve.errors import ListCutShortError, ListEmptyError, ListFormatError, UsageError
from hashsieve.lists import ListOptions, detect
from hashsieve.lists import json_split as split
from hashsieve.model import DigestKind, Listing, Record, Role

PLAIN = ListOptions()
V13 = "http://github.com/ICMEC/ProjectVic/DataModels/1.3.xml#Media"
TRAPS = [
    '] } " , [ {',
    "{",
    "}",
    '"',
    "\\",
    '\\"',
    "\\\\",
    "}]}",
    '},{"MediaID":7',
    "日本 ✓",
    "\n\t\r",
    '"value":[',
    "",
]


def roles(records: list[Record]) -> list[Role]:
    """The role of each record."""
    return [record.listing.role for record in records]


def test_a_record_holds_what_the_members_say_and_nothing_else(tmp_path: Path) -> None:
    secret = {
        "Series": "Someone", "Tags": "t", "Comments": "c", "PhotoDNA": "AAAA", "Miniature": "BBBB",
        "MediaFiles": [{"MD5": md5(9), "FileName": "n", "ParentMD5": md5(8)}], "Exifs": [{"MD5": md5(7)}],
        "ParentMD5": md5(6), "RelativeFilePath": "files\\0.bin",
    }  # fmt: skip
    media = medium(1, SHA1=sha1(1).upper(), SHA256=sha256(1), MediaSize=14, **secret)
    records, report = read(write_json(tmp_path / "list.json", vics([media])), PLAIN)
    digests = {kind: bytes.fromhex(text) for kind, text in (("md5", md5(1)), ("sha1", sha1(1)), ("sha256", sha256(1)))}
    assert records == [Record(digests, 14, Listing("list.json", Role.KNOWN_BAD, "1", "1"))]
    assert report.to_json() == {
        "path": str(tmp_path / "list.json"),
        "format": "vics",
        "role": "by-category",
        "source": "list.json",
        "taken": 1,
        "refused": {},
        "dropped": {},
    }
    assert report.detail == "VICS 2.0, profile declared: US, used: us"


@pytest.mark.parametrize(
    ("marker", "options", "expected"),
    [
        (US, PLAIN, "bad bad und und good und und"),
        (US.replace("/US/", "/us/"), PLAIN, "bad bad und und good und und"),
        (UK, PLAIN, "bad bad bad und und und und"),
        (US.replace("/US/", "/CUSTOM/"), PLAIN, "und und und und und und und"),
        (V13, PLAIN, "und und und und und und und"),
        (None, PLAIN, "und und und und und und und"),
        (None, ListOptions(profile="us"), "bad bad und und good und und"),
        (UK, ListOptions(profile="US"), "bad bad und und good und und"),
        (US, ListOptions(role=Role.KNOWN_BAD), "bad bad und und good und und"),
        (US, ListOptions(role=Role.UNDECIDED), "und und und und good und und"),
        (US, ListOptions(role=Role.KNOWN_GOOD), "good good good good good good good"),
    ],
)
def test_the_category_decides_under_a_profile_and_a_role_only_lowers(
    tmp_path: Path, marker: str | None, options: ListOptions, expected: str
) -> None:
    names = {"bad": Role.KNOWN_BAD, "good": Role.KNOWN_GOOD, "und": Role.UNDECIDED}
    media = [medium(number, Category=category) for number, category in enumerate([1, 2, 3, 4, 5, 0, 8])]
    records, _ = read(write_json(tmp_path / "list", vics(media, marker)), options)
    assert roles(records) == [names[name] for name in expected.split()]
    assert [record.listing.category for record in records] == ["1", "2", "3", "4", "5", "0", "8"]


@pytest.mark.parametrize(
    ("category", "text", "role"),
    [
        ("1", "1", Role.KNOWN_BAD),
        (" 1 ", "1", Role.KNOWN_BAD),
        (1.0, "1", Role.KNOWN_BAD),
        (None, None, Role.UNDECIDED),
        ("", None, Role.UNDECIDED),
        (-1, "-1", Role.UNDECIDED),
        ("one", "one", Role.UNDECIDED),
        ("1" * 300, None, Role.UNDECIDED),
    ],
)
def test_categories_come_in_several_types(tmp_path: Path, category: Any, text: str | None, role: Role) -> None:
    records, _ = read(write_json(tmp_path / "list", vics([medium(1, Category=category)])), PLAIN)
    assert (records[0].listing.category, records[0].listing.role) == (text, role)


def test_an_absent_category_is_undecided(tmp_path: Path) -> None:
    media = medium(1)
    del media["Category"]
    assert roles(read(write_json(tmp_path / "list", vics([media])), PLAIN)[0]) == [Role.UNDECIDED]


@pytest.mark.parametrize("role", [Role.TRUSTED, Role.TEST])
def test_other_roles_cannot_be_given(tmp_path: Path, role: Role) -> None:
    path = write_json(tmp_path / "list", vics([medium(1)]))
    with pytest.raises(UsageError, match="only lower"):
        read(path, ListOptions(role=role))


@pytest.mark.parametrize(
    ("size", "expected"),
    [(14, 14), ("14", 14), (" 14 ", 14), (14.0, 14), (0, None), ("0", None), (None, None), (-5, None), ("", None),
     ("big", None), (2**63, None), ("9" * 5000, None), (1.5, None)],
)  # fmt: skip
def test_sizes_come_in_several_types_and_bad_ones_are_not_known(tmp_path: Path, size: Any, expected: int) -> None:
    records, report = read(write_json(tmp_path / "list", vics([medium(1, MediaSize=size)])), PLAIN)
    assert (records[0].size_bytes, report.refused) == (expected, {})


@pytest.mark.parametrize(
    ("media_id", "ref"), [(5, "5"), ("{a-b}", "{a-b}"), (None, None), ("", None), ("x" * 999, None)]
)
def test_the_media_id_becomes_the_reference(tmp_path: Path, media_id: Any, ref: str | None) -> None:
    records, _ = read(write_json(tmp_path / "list", vics([medium(1, MediaID=media_id)])), PLAIN)
    assert records[0].listing.ref == ref


@pytest.mark.parametrize("marker_key", ["@odata.context", "odata.metadata"])
@pytest.mark.parametrize("last", [False, True], ids=["marker first", "marker last"])
def test_the_marker_is_found_wherever_it_stands(tmp_path: Path, marker_key: str, last: bool) -> None:
    media = [medium(number) for number in range(3000)]
    document = {"value": media, marker_key: US} if last else {marker_key: US, "value": media}
    records, report = read(write_json(tmp_path / "list", document), PLAIN)
    assert roles(records) == [Role.KNOWN_BAD] * 3000
    assert report.detail.startswith("VICS 2.0, profile declared: US")


def test_a_marker_with_escaped_slashes_is_read(tmp_path: Path) -> None:
    text = json.dumps(vics([medium(1)])).replace("/", "\\/")
    assert roles(read(write(tmp_path / "list", text), PLAIN)[0]) == [Role.KNOWN_BAD]


def test_text_in_a_record_is_never_taken_for_the_marker(tmp_path: Path) -> None:
    media = medium(1, Series=US, **{"@odata.context": US, "odata.metadata": UK})
    records, report = read(write_json(tmp_path / "list", vics([media], None)), PLAIN)
    assert roles(records) == [Role.UNDECIDED]
    assert report.detail.startswith("VICS without a marker")


WRITING = {
    "single line": lambda document: json.dumps(document, separators=(",", ":")).encode(),
    "pretty": lambda document: json.dumps(document, indent=2).encode(),
    "pretty with tabs, crlf": lambda document: json.dumps(document, indent="\t").replace("\n", "\r\n").encode(),
    "not ascii": lambda document: json.dumps(document, ensure_ascii=False).encode(),
    "mark": lambda document: b"\xef\xbb\xbf" + json.dumps(document).encode(),
    "utf-16": lambda document: json.dumps(document, ensure_ascii=False).encode("utf-16"),
    "blanks around": lambda document: b" \r\n" + json.dumps(document).encode() + b"\r\n \n",
}


@pytest.mark.parametrize("writing", WRITING.values(), ids=WRITING)
@pytest.mark.parametrize("case", [False, True], ids=["hash set", "case"])
def test_all_ways_of_writing_and_both_shapes_give_the_same_records(tmp_path: Path, writing: Any, case: bool) -> None:
    media = [medium(number, Series=TRAPS[number % len(TRAPS)], Exifs=[{"MD5": "x", "P": "{"}]) for number in range(40)]
    value = [{"CaseID": "}", "Media": media[:25], "TotalMediaFiles": 3}, {"Media": media[25:]}] if case else media
    path = write(tmp_path / "list", writing(vics(value)))
    records, report = read(path, PLAIN)
    assert [record.listing.ref for record in records] == [str(number) for number in range(40)]
    assert hexes(records, "md5") == [md5(number) for number in range(40)]
    assert (report.format, report.refused) == ("vics", {})


def test_a_case_larger_than_a_read_is_streamed(tmp_path: Path) -> None:
    media = [medium(number, Comments="x" * 500) for number in range(5000)]
    case = {"CaseNumber": "1", "CaseMetadata": {"Media": [{"MD5": md5(10**6)}]}, "Media": media, "Contact": [{"a": 1}]}
    records, report = read(write_json(tmp_path / "list", vics([case, {"CaseID": 2, "Media": [medium(5000)]}])), PLAIN)
    assert hexes(records, "md5") == [md5(number) for number in range(5001)]
    assert not report.refused


def test_a_record_larger_than_a_read_is_read(tmp_path: Path) -> None:
    media = [medium(1), medium(2, Miniature="{" * (3 << 20)), medium(3, Tags=["}"] * 400_000), medium(4)]
    records, report = read(write_json(tmp_path / "list", vics(media)), PLAIN)
    assert hexes(records, "md5") == [md5(number) for number in (1, 2, 3, 4)]
    assert not report.refused


def test_a_record_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "MAX_RECORD_BYTES", 2 << 20)
    path = write_json(tmp_path / "list", vics([medium(1), medium(2, Miniature="x" * (6 << 20))]))
    with pytest.raises(ListFormatError, match="list: a record is larger than 2097152 bytes, at byte"):
        read(path, PLAIN)


@pytest.mark.parametrize("where", ["record", "top"])
def test_nesting_without_end_is_refused_and_harms_nothing(tmp_path: Path, where: str) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    good = json.dumps(medium(1))
    head = f'"deep": {deep}, ' if where == "top" else ""
    bad = f', {{"MD5": "{md5(2)}", "Deep": {deep}}}' if where == "record" else ""
    path = write(tmp_path / "list", f'{{{head}"@odata.context": "{US}", "value": [{good}{bad}]}}')
    if where == "top":
        with pytest.raises(ListFormatError, match="nesting"):
            read(path, dataclasses.replace(PLAIN, format="vics"))
    else:
        records, report = read(path, PLAIN)
        assert (hexes(records, "md5"), report.refused) == ([md5(1)], {"malformed-record": 1})


def _pieces(text: bytes, sizes: list[int]) -> list[bytes]:
    """*text* in chunks of *sizes*, over and over."""
    chunks, start, turn = [], 0, 0
    while start < len(text):
        size = sizes[turn % len(sizes)]
        chunks.append(text[start : start + size])
        start, turn = start + size, turn + 1
    return chunks


JSON_TEXT = st.one_of(st.sampled_from(TRAPS), st.text(max_size=12))
JSON_VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), JSON_TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(JSON_TEXT, inner, max_size=3)),
    max_leaves=6,
)
JSON_RECORD = st.dictionaries(st.one_of(st.sampled_from(["MediaID", "MD5", "Tags"]), JSON_TEXT), JSON_VALUE, max_size=5)


@settings(max_examples=300, deadline=None)
@given(
    records=st.lists(JSON_RECORD, max_size=8),
    before=JSON_RECORD,
    after=JSON_RECORD,
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    window=st.sampled_from([1, 30, 1 << 20]),
)
def test_the_splitter_finds_the_records_wherever_chunks_end(
    records: list[dict[str, Any]],
    before: dict[str, Any],
    after: dict[str, Any],
    sizes: list[int],
    indent: int | None,
    ascii_only: bool,
    window: int,
) -> None:
    for records_like in (*records, before, after):
        records_like.pop("Media", None)
    before.pop("value", None)
    after.pop("value", None)
    # Members with the same name twice are one in a dict: the document is put together from texts.
    how: dict[str, Any] = {"indent": indent, "ensure_ascii": ascii_only}
    inner = [json.dumps(part, **how).strip()[1:-1].strip() for part in (before, {"value": records}, after)]
    text = ("{" + ", ".join(part for part in inner if part) + "}").encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "_WINDOW_BYTES", window)
        parts = list(split.split_records(_pieces(text, sizes)))
    assert [json.loads(raw) for part, raw in parts if part == split.RECORD] == records


@settings(max_examples=200, deadline=None)
@given(
    cases=st.lists(st.lists(JSON_RECORD, max_size=4), max_size=3),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5),
)
def test_the_splitter_looks_into_cases_that_do_not_fit_its_window(
    cases: list[list[dict[str, Any]]], sizes: list[int]
) -> None:
    document = {"value": [{"CaseID": "x" * 80, "CaseMetadata": {"Media": [1]}, "Media": media} for media in cases]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "_WINDOW_BYTES", 1)
        parts = list(split.split_records(_pieces(json.dumps(document).encode(), sizes)))
    # A case may still come whole where a chunk happens to hold it; then its media are in it.
    found: list[Any] = []
    for _, raw in parts:
        record = json.loads(raw)
        found.extend(record["Media"] if record.get("CaseID") == "x" * 80 else [record])
    assert found == [record for media in cases for record in media]


def test_no_text_trap_moves_a_boundary_in_a_long_list(tmp_path: Path) -> None:
    rng = random.Random(1)
    media = []
    for number in range(8000):
        members = {f"M{i}": rng.choice(TRAPS) * rng.randrange(4) for i in range(rng.randrange(4))}
        nested = {"Exifs": [{"MediaID": 1, "P": rng.choice(TRAPS)} for _ in range(rng.randrange(3))]}
        media.append(medium(number, **members, **nested))
    path = write_json(tmp_path / "list", vics(media), separators=(",", ":"), ensure_ascii=False)
    assert path.stat().st_size > 1 << 20
    records, report = read(path, PLAIN)
    assert hexes(records, "md5") == [md5(number) for number in range(8000)]
    assert not report.refused


def test_truncated_json_fails_wherever_it_is_cut(tmp_path: Path) -> None:
    text = json.dumps(vics([medium(1, Series='a } ] " b'), medium(2)], after={"x": [1]})).encode()
    for length in range(len(text)):
        path = write(tmp_path / "list", text[:length])
        with pytest.raises(ListEmptyError if not length else ListCutShortError):
            read(path, dataclasses.replace(PLAIN, format="vics"))
    assert read(write(tmp_path / "list", text), PLAIN)[1].taken == 2


def test_a_list_cut_between_reads_fails(tmp_path: Path) -> None:
    text = json.dumps(vics([medium(number) for number in range(20000)]))
    path = write(tmp_path / "list", text[: 1 << 20])
    with pytest.raises(ListCutShortError, match=r"ends at byte 1048576"):
        read(path, PLAIN)


@pytest.mark.parametrize(
    "text",
    [
        '{"value": [] } {"value": []}',
        '{"value": [] }x',
        '{"value": {"MD5": "x"}}',
        '{"value": [{}{}]}',
        '{"value": [{}}',
        '{"a": [}, "value": []}',
        '{"a" 1, "value": []}',
        '{a: 1, "value": []}',
        '{"a": , "value": []}',
        '[{"MD5": "x"}]',
        "no json at all",
        '{"\\ud800": 1, "value": []}',
    ],
)
def test_what_is_not_built_like_a_list_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(ListFormatError, match=r"list: not the JSON of a VICS list: "):
        read(write(tmp_path / "list", text), dataclasses.replace(PLAIN, format="vics"))


@pytest.mark.parametrize("value", ["[]", "null", "[\n]"])
def test_a_list_without_records_is_empty(tmp_path: Path, value: str) -> None:
    with pytest.raises(ListEmptyError, match="no entry"):
        read(write(tmp_path / "list", f'{{"@odata.context": "{US}", "value": {value}}}'), PLAIN)


REFUSED: dict[str, tuple[Any, str]] = {
    "31 digits": (medium(7, MD5=md5(7)[:31]), "wrong-length"),
    "33 digits": (medium(7, MD5=md5(7) + "0"), "wrong-length"),
    "another kind": (medium(7, MD5=sha1(7)), "wrong-length"),
    "letters": (medium(7, MD5="g" * 32), "not-hex"),
    "not ascii": (medium(7, MD5="é" * 32), "not-hex"),
    "ssdeep": (medium(7, MD5="3:AXGBicFlgVNhBGcL6wCrFQEv:AXGHsNhxLsr2C"), "not-hex"),
    "empty": (medium(7, MD5=""), "empty-value"),
    "blanks": (medium(7, MD5="   "), "empty-value"),
    "N/A": (medium(7, MD5="N/A"), "empty-value"),
    "null in quotes": (medium(7, MD5="null"), "empty-value"),
    "dash": (medium(7, MD5="-"), "empty-value"),
    "null": (medium(7, MD5=None), "no-digest"),
    "nothing": ({}, "no-digest"),
    "number as digest": (medium(7, MD5=5), "wrong-type"),
    "boolean category": (medium(7, Category=True), "wrong-type"),
    "no object": (5, "wrong-type"),
    "null record": (None, "wrong-type"),
    "list as record": ([medium(7)], "wrong-type"),
    "text as record": ("x", "wrong-type"),
}


@pytest.mark.parametrize(("element", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_bad_record_is_refused_by_reason_and_number(tmp_path: Path, element: Any, reason: str) -> None:
    media = [medium(1), element, medium(2)]
    records, report = read(write_json(tmp_path / "list", vics(media)), PLAIN)
    assert hexes(records, "md5") == [md5(1), md5(2)]
    assert (report.refused, report.problems[0].position) == ({reason: 1}, "record 2")


def test_a_malformed_record_is_refused_and_the_others_are_read(tmp_path: Path) -> None:
    good = [json.dumps(medium(number)) for number in range(3)]
    bad = f'{{"MD5": "{md5(8)}", "Category": 1x}}'
    text = f'{{"@odata.context": "{US}", "value": [{good[0]}, {bad}, {good[1]}, {good[2]}]}}'
    records, report = read(write(tmp_path / "list", text), PLAIN)
    assert hexes(records, "md5") == [md5(number) for number in range(3)]
    assert report.refused == {"malformed-record": 1}


def test_a_record_is_taken_by_its_good_digests_and_refused_for_the_bad_one(tmp_path: Path) -> None:
    media = [medium(1, SHA1=sha1(1)[:39]), medium(2, SHA256="ab" * 48), medium(3, SHA1="", SHA256=None)]
    records, report = read(write_json(tmp_path / "list", vics(media)), PLAIN)
    assert [sorted(record.digests) for record in records] == [["md5"]] * 3
    assert (report.taken, report.refused) == (3, {"wrong-length": 2})


def test_letter_case_and_blanks_around_a_digest_make_no_difference(tmp_path: Path) -> None:
    texts = [md5(1), md5(1).upper(), md5(1).title(), f" {md5(1)}\t"]
    records, _ = read(write_json(tmp_path / "list", vics(medium(1, MD5=text) for text in texts)), PLAIN)
    assert hexes(records, "md5") == [md5(1)] * 4


def test_universal_digests_are_dropped_each(tmp_path: Path) -> None:
    blake3 = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    media = [
        medium(1, MD5="D41D8CD98F00B204E9800998ECF8427E", SHA1="DA39A3EE5E6B4B0D3255BFEF95601890AFD80709"),
        medium(2, SHA1="0" * 40),
        medium(3, SHA256="F" * 64),
        medium(4, AlternativeHashes=[{"HashName": "BLAKE3", "HashValue": blake3}]),
    ]
    records, report = read(write_json(tmp_path / "list", vics(media)), PLAIN)
    assert [record.listing.ref for record in records] == ["2", "3", "4"]
    assert [sorted(record.digests) for record in records] == [["md5"]] * 3
    assert (report.dropped, report.refused) == ({"empty-file": 3, "all-zero": 1, "all-one": 1}, {})


def test_alternative_hashes_of_supported_kinds_are_taken_and_others_counted(tmp_path: Path) -> None:
    alternatives = [
        {"HashName": "SHA-256", "HashValue": sha256(1).upper()},
        {"HashName": "PhotoDNA", "HashValue": "AAAA", "MD5": md5(5)},
        {"HashName": "sha1", "HashValue": sha1(1)},
        {"HashName": None, "HashValue": "x"},
        {"HashName": "MD5", "HashValue": None},
    ]
    records, report = read(write_json(tmp_path / "list", vics([medium(1, AlternativeHashes=alternatives)])), PLAIN)
    assert {kind: raw.hex() for kind, raw in records[0].digests.items()} == {
        DigestKind.MD5: md5(1),
        DigestKind.SHA1: sha1(1),
        DigestKind.SHA256: sha256(1),
    }
    assert (report.dropped, report.refused) == ({"unsupported-kind": 2}, {})


@pytest.mark.parametrize("alternatives", [None, [], "text", 5, {"HashName": "SHA1"}, [{"HashName": 5}]])
def test_odd_alternative_hashes_do_not_cost_the_record(tmp_path: Path, alternatives: Any) -> None:
    records, report = read(write_json(tmp_path / "list", vics([medium(1, AlternativeHashes=alternatives)])), PLAIN)
    assert (hexes(records, "md5"), report.refused) == ([md5(1)], {})


def test_digests_of_one_kind_that_differ_are_refused_and_the_member_counts(tmp_path: Path) -> None:
    media = medium(1, AlternativeHashes=[{"HashName": "MD5", "HashValue": md5(2)}])
    records, report = read(write_json(tmp_path / "list", vics([media])), PLAIN)
    assert (hexes(records, "md5"), report.refused) == ([md5(1)], {"contradicting-digests": 1})


def test_nothing_that_identifies_people_reaches_the_report(tmp_path: Path) -> None:
    secret = "Jane Doe"
    media = [
        medium(1),
        medium(2, MD5=5, Series=secret),
        medium(3, MD5=None, Comments=secret),
        medium(4, MD5=md5(4)[:9], Tags=secret),
    ]
    _, report = read(write_json(tmp_path / "list", vics(media)), PLAIN)
    assert len(report.problems) == 3
    assert secret not in repr(report)


def test_detection_needs_a_marker_or_records_in_an_object() -> None:
    assert detect(json.dumps(vics([medium(1)])).encode(), "a").format == "vics"
    assert detect(json.dumps(vics([medium(1)], None)).encode("utf-16"), "a").format == "vics"
    assert detect(b'{"response": [{"Event": {"value": "MD5"}}]}', "a").format is None
    assert detect(json.dumps([medium(1)]).encode(), "a").format is None
