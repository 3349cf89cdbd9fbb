"""VICS lists: both shapes, any member order, categories to roles, and text that looks like structure."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from list_files import UK, US, hexes, md5, medium, read, sha1, sha256, vics, write, write_json

from hashsieve.errors import ListCutShortError, ListEmptyError, ListError, ListFormatError, UsageError
from hashsieve.lists import ListOptions, detect, latest, read_list, vics_records
from hashsieve.lists import vics as vics_reader
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
        "dropped": {"similarity": 1},
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
    monkeypatch.setattr(vics_reader, "MAX_RECORD_BYTES", 2 << 20)
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
        '{"value": "text"}',
        '{"value": [{}{}]}',
        '{"value": [{}}',
        '{"a": [}, "value": []}',
        '{"a" 1, "value": []}',
        '{a: 1, "value": []}',
        '{"a": , "value": []}',
        '[{"MD5": "x"}]',
        "no json at all",
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
    assert (report.dropped, report.refused) == ({"similarity": 1, "unsupported-kind": 1}, {})


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


def recased(document: Any, how: Any) -> Any:
    """*document* with every name of a member changed by *how*."""
    if isinstance(document, dict):
        return {how(name): recased(value, how) for name, value in document.items()}
    return [recased(each, how) for each in document] if isinstance(document, list) else document


@pytest.mark.parametrize("how", [str.lower, str.upper, str.swapcase, lambda name: name[:1].lower() + name[1:]])
@pytest.mark.parametrize("case", [False, True], ids=["hash set", "case"])
def test_names_of_members_come_in_any_letter_case(tmp_path: Path, how: Any, case: bool) -> None:
    alternatives = [{"HashName": "SHA256", "HashValue": sha256(1)}, {"HashName": "PhotoDNA", "HashValue": "AA"}]
    media = [medium(1, SHA1=sha1(1), AlternativeHashes=alternatives, PhotoDNA="AAAA"), medium(2, Category=5)]
    document = vics([{"CaseID": 1, "Media": media}] if case else media)
    expected = read(write_json(tmp_path / "list", document), PLAIN)
    got = read(write_json(tmp_path / "list", recased(document, how)), dataclasses.replace(PLAIN, format="vics"))
    assert got == expected
    assert (len(got[0]), got[0][0].digests["sha256"].hex()) == (2, sha256(1))


def test_the_order_of_members_makes_no_difference(tmp_path: Path) -> None:
    media = [dict(reversed(medium(number, SHA1=sha1(number), Tags=["{"]).items())) for number in range(50)]
    records, _ = read(write_json(tmp_path / "list", {"value": media, "@odata.context": US}), PLAIN)
    assert records == read(write_json(tmp_path / "list", vics(map(dict, media))), PLAIN)[0]
    assert {record.listing.role for record in records} == {Role.KNOWN_BAD}


ODD_VALUES = st.one_of(
    st.none(), st.integers(-5, 2**64), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5),
    st.sampled_from(["", " ", "0", "007", "12", " 12", "1e3", "N/A", "é", "a\\b", "x" * 201, "true", "\U0001f600"]),
)  # fmt: skip
ODD_DIGESTS = st.one_of(
    ODD_VALUES,
    st.integers(0, 50).flatmap(lambda n: st.sampled_from([md5(n), md5(n).upper(), sha1(n), sha256(n), f" {md5(n)}"])),
    st.sampled_from(["0" * 32, "f" * 40, "d41d8cd98f00b204e9800998ecf8427e", "g" * 32, md5(1)[:31]]),
)
ODD_MEDIUM = st.fixed_dictionaries(
    {},
    optional={
        "MediaID": ODD_VALUES, "Category": ODD_VALUES, "MediaSize": ODD_VALUES, "MD5": ODD_DIGESTS, "SHA1": ODD_DIGESTS,
        "SHA256": ODD_DIGESTS,
        "AlternativeHashes": st.sampled_from([None, [], [{"HashName": "MD5", "HashValue": md5(3)}]]),
        "PhotoDNA": st.sampled_from([None, "", "AAAA"]), "Other": ODD_VALUES,
    },
)  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    media=st.lists(st.one_of(ODD_MEDIUM, st.builds(medium, st.integers(0, 9))), max_size=6), ascii_only=st.booleans()
)
def test_the_native_reader_and_the_one_in_python_agree(
    tmp_path: Path, media: list[dict[str, Any]], ascii_only: bool
) -> None:
    def result(document: str) -> Any:
        path = write(tmp_path / "list", document)
        reading = read_list(path, dataclasses.replace(PLAIN, format="vics"))
        try:
            records = list(reading)
        except ListError as error:
            return type(error), reading.report.dropped
        return records, reading.report

    text = json.dumps(vics(media), ensure_ascii=ascii_only)
    in_python = text
    # Records with escapes in their names take the way through Python; what is only counted is not found there.
    for name in set(vics_records.MEMBERS) - {"PhotoDNA", "PDNA"}:
        in_python = in_python.replace(f'"{name}": ', f'"{name[0]}\\u{ord(name[1]):04x}{name[2:]}": ')
    for other in (in_python, json.dumps(recased(vics(media), str.swapcase), ensure_ascii=ascii_only)):
        assert result(text) == result(other)


def test_a_name_without_a_value_is_malformed_wherever_it_stands(tmp_path: Path) -> None:
    good = ", ".join(json.dumps(medium(number)) for number in range(20_000))
    for name in vics_records.MEMBERS:
        text = f'{{"@odata.context": "{US}", "value": [{good}, {{"{name}", "a": 1}}, {{"{name}"}}]}}'
        records, report = read(write(tmp_path / "list", text), PLAIN)
        assert (len(records), report.refused) == (20_000, {"malformed-record": 2})


@pytest.mark.parametrize("early", ["2020-01-02T03:04:05.1234567Z", "2020-01-02", "/Date(1500000000000)/"])
@pytest.mark.parametrize("late", ["2020-01-02T03:04:05.1234568Z", "2020-01-03T00:00:00+1:00Z", "/Date(1600000000000)/"])
@pytest.mark.parametrize("late_first", [False, True])
def test_the_latest_state_of_an_id_counts(tmp_path: Path, early: str, late: str, late_first: bool) -> None:
    states = [medium(7, Category=1, DateUpdated=early), medium(7, Category=5, DateUpdated=late)]
    media = [medium(1), *(reversed(states) if late_first else states), medium(8, DateUpdated=early)]
    records, report = read(write_json(tmp_path / "list", vics(media)), PLAIN)
    found = {(record.listing.ref, record.listing.category) for record in records}
    assert found == {("1", "1"), ("7", "5"), ("8", "1")}
    assert (report.dropped, report.taken) == ({"superseded": 1}, 3)


def test_states_that_cannot_be_ordered_are_all_kept(tmp_path: Path) -> None:
    date = "2020-01-02T03:04:05Z"
    media = [
        medium(0, DateUpdated="2020-01-01"),
        medium(0, DateUpdated="2021-01-01"),  # 0 is what writers put where there is no id
        medium(5, DateUpdated=date),
        medium(5, DateUpdated="2020-01-02T04:04:05+01:00"),  # the same moment
        medium(6, DateUpdated=date),
        medium(6),
        medium(6, DateUpdated="yesterday"),
        medium(6, DateUpdated=None),
    ]
    records, report = read(write_json(tmp_path / "list", vics(media)), PLAIN)
    assert (len(records), report.dropped) == (len(media), {})


def test_ids_of_different_cases_have_nothing_to_do_with_each_other(tmp_path: Path) -> None:
    cases = [{"Media": [medium(1, DateUpdated=f"202{year}-01-01")]} for year in range(3)]
    records, report = read(write_json(tmp_path / "list", vics(cases)), PLAIN)
    assert (len(records), report.dropped) == (3, {})


def test_very_many_repeated_ids_are_compared_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest, "IDS_A_PASS", 100)
    rng = random.Random(4)
    states = [(number % 700, rng.randrange(10**6)) for number in range(2500)]
    rng.shuffle(states)
    last = {number: max(time for n, time in states if n == number) for number, _ in states}
    media = [medium(number + 1, DateUpdated=f"/Date({time})/", MediaSize=time + 1) for number, time in states]
    records, report = read(write_json(tmp_path / "list", vics(media)), PLAIN)
    kept = [(record.listing.ref, record.size_bytes) for record in records]
    assert kept == [(str(number + 1), time + 1) for number, time in states if time == last[number]]
    assert report.dropped == {"superseded": len(media) - len(kept)}


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01", 0),
        ("1970-01-01 00:01", 60 * 10**9),
        ("1970-01-01T01:00:00.5+01:00", 500_000_000),
        ("1969-12-31T23:59:59.9999999Z", -100),
        ("1970-01-01T00:00:00-0100", 3600 * 10**9),
        ("1970-01-01T01:00:00+1:00Z", 0),
        ("/Date(1500)/", 1_500_000_000),
        ("\\/Date(-1)\\/", -1_000_000),
        ("1970-13-01", None),
        ("1970-01-01T00:00:00+99:99", None),
        ("soon", None),
        ("", None),
    ],
)
def test_times_are_read_in_the_forms_that_writers_use(text: str, ns: int | None) -> None:
    assert latest.instant(text) == ns
