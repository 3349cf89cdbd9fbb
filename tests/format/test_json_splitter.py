"""The native splitter of JSON documents, held against the one in plain Python and against the json module."""

from __future__ import annotations

import json
from typing import Any

import json_split as oracle
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hashsieve._lists_json import ESCAPED_NAME, MAX_NESTING, ODD_NAME, ODD_TEXT, SCALAR, TOO_DEEP, JsonSplitter
from hashsieve.errors import ListCutShortError, ListError, ListFormatError

VICS_PATHS = (("value", ""), ("value", "", "media", ""), ("*odata",))
TRAPS = ['] } " , [ {', "{", '"', "\\", '\\"', "}]}", '},{"MediaID":7', "日本 ✓", "\n\t\r", '"value":[', "\u0000", ""]


def split(
    chunks: list[bytes], paths: Any = VICS_PATHS, *, limit: int = 1 << 20, **how: Any
) -> list[tuple[int, int, bytes]]:
    splitter = JsonSplitter(paths, what="a test", max_value_bytes=limit, **how)
    values = [value for chunk in chunks for value in splitter.feed(chunk)]
    splitter.finish()
    return values


def pieces(text: bytes, sizes: list[int]) -> list[bytes]:
    """*text* in chunks of *sizes*, over and over."""
    chunks, start, turn = [], 0, 0
    while start < len(text):
        size = sizes[turn % len(sizes)]
        chunks.append(text[start : start + size])
        start, turn = start + size, turn + 1
    return chunks


SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=5)
JSON_TEXT = st.one_of(st.sampled_from(TRAPS), st.text(max_size=12))
JSON_VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), JSON_TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(JSON_TEXT, inner, max_size=3)),
    max_leaves=6,
)
JSON_RECORD = st.dictionaries(st.one_of(st.sampled_from(["MediaID", "MD5", "Tags"]), JSON_TEXT), JSON_VALUE, max_size=5)


def own_names(record: dict[str, Any]) -> dict[str, Any]:
    """*record* without members that lie on a path."""
    return {
        name: value
        for name, value in record.items()
        if name.lower() not in ("media", "value") and "odata" not in name.lower()
    }


@settings(max_examples=300, deadline=None)
@given(
    records=st.lists(JSON_RECORD.map(own_names), max_size=8),
    before=JSON_RECORD.map(own_names),
    after=JSON_RECORD.map(own_names),
    sizes=SIZES,
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_records_are_found_wherever_chunks_end_as_the_oracle_finds_them(
    records: list[dict[str, Any]],
    before: dict[str, Any],
    after: dict[str, Any],
    sizes: list[int],
    indent: int | None,
    ascii_only: bool,
) -> None:
    # Members with the same name twice are one in a dict: the document is put together from texts.
    how: dict[str, Any] = {"indent": indent, "ensure_ascii": ascii_only}
    inner = [json.dumps(part, **how).strip()[1:-1].strip() for part in (before, {"value": records}, after)]
    text = ("{" + ", ".join(part for part in inner if part) + "}").encode("utf-8", "surrogatepass")
    found = split(pieces(text, sizes))
    assert [json.loads(raw) for _, _, raw in found] == records
    assert [raw for _, _, raw in found] == [raw for part, raw in oracle.split_records([text]) if part == oracle.RECORD]
    assert not any(flags & ~ESCAPED_NAME for _, flags, _ in found)


@settings(max_examples=200, deadline=None)
@given(
    cases=st.lists(st.lists(JSON_RECORD.map(own_names), max_size=4), max_size=3),
    more=JSON_RECORD.map(own_names),
    last=st.booleans(),
    sizes=SIZES,
)
def test_an_object_with_wanted_values_gives_those_in_its_place(
    cases: list[list[dict[str, Any]]], more: dict[str, Any], last: bool, sizes: list[int]
) -> None:
    parts = [{"Media": media} | more if last else more | {"Media": media} for media in cases]
    found = split(pieces(json.dumps({"value": parts}).encode(), sizes))
    assert [json.loads(raw) for path, _, raw in found] == [record for media in cases for record in media]
    assert {path for path, _, _ in found} <= {1}


@settings(max_examples=500, deadline=None)
@given(text=st.binary(max_size=80), sizes=SIZES, start=st.sampled_from([b"", b'{"value":[', b'{"value":[{"a":', b"["]))
@example(text=b'{"a":1}{"a":2}]}', sizes=[1], start=b'{"value":[')
def test_any_bytes_give_values_or_a_typed_error_and_never_depend_on_chunks(
    text: bytes, sizes: list[int], start: bytes
) -> None:
    def outcome(chunks: list[bytes]) -> Any:
        try:
            return split(chunks)
        except ListError as error:
            return type(error), str(error)

    assert outcome(pieces(start + text, sizes)) == outcome([start + text])


def is_json(text: bytes) -> bool:
    try:
        json.loads(text, parse_constant=lambda word: json.loads("-"))
    except (ValueError, RecursionError):
        return False
    return True


TOKENS = [
    *("1", "-", "0", ".5", "1e5", "01", "null", "nul", "true", '"a"', '"\\x"', '"\\u12', '34"', ",", ":", "[", "]"),
    *("{", "}", '{"a":1}', "[1]", '"b":', "é", "'", "/"),
]
SNIPPETS = st.lists(st.sampled_from([*TOKENS, " ", "\n", '"\t"', "\0"]), max_size=8).map("".join)


@settings(max_examples=1500, deadline=None)
@given(inside=SNIPPETS)
def test_what_is_no_json_never_comes_without_a_flag(inside: str) -> None:
    try:
        found = split([b'{"value":[{"a":' + inside.encode() + b"}]}"])
    except ListError:
        return
    for _, flags, raw in found:
        if not flags & (ODD_TEXT | TOO_DEEP):
            assert is_json(raw)
        elif flags == ODD_TEXT:
            assert not is_json(raw)


@pytest.mark.parametrize(
    "value",
    ["0", "-0", "10", "-1.5", "1E+9", "2e-3", "null", "true", "false", '""', '"\\u00e9\\n\\/"', "[]", "{}", "[[],{}]"],
)
def test_what_is_json_has_no_flag(value: str) -> None:
    assert [flags for _, flags, _ in split([f'{{"value":[{{"a":{value}}}]}}'.encode()])] == [0]


def test_names_compare_without_case_and_with_escapes() -> None:
    text = rb'{"VALUE":[1],"val\u0075e":[2],"value2":[3],"x":{"value":[4]},"@oData.context":"m"}'
    assert [(path, raw) for path, _, raw in split([text])] == [(0, b"1"), (0, b"2"), (2, b'"m"')]


@pytest.mark.parametrize(
    ("record", "flags"),
    [
        (b'{"MD5":1}', 0),
        (b'{"md5":1}', ODD_NAME),
        (b'{"MD\\u0035":1}', ESCAPED_NAME),
        (b'{"x":{"md5":1}}', 0),
        (b'{"x":"md5"}', 0),
        (b"5", SCALAR),
        (b'"md5"', SCALAR),
        (b'["md5"]', 0),
    ],
)
def test_odd_spellings_of_noted_members_are_flagged(record: bytes, flags: int) -> None:
    assert split([b'{"value":[' + record + b"]}"], members=("MD5",)) == [(0, flags, record)]


def test_several_documents_follow_each_other_if_they_may() -> None:
    text = b'{"a":1}\n{"a":2} {"a":3}\n[4]\n'
    assert [raw for _, _, raw in split([text], ((),), many=True)] == [b'{"a":1}', b'{"a":2}', b'{"a":3}', b"[4]"]
    with pytest.raises(ListFormatError, match=r"the end of the file expected at byte 8"):
        split([text], ((),))


def test_deep_nesting_in_a_record_is_flagged_and_elsewhere_refused() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    found = split([b'{"value":[' + deep + b',{"a":1}]}'])
    assert [(flags, len(raw)) for _, flags, raw in found] == [(TOO_DEEP, 200_000), (0, 7)]
    with pytest.raises(ListFormatError, match=f"a nesting of at most {MAX_NESTING} expected at byte {5 + MAX_NESTING}"):
        split([b'{"x":' + deep + b"}"])


def test_a_value_over_the_limit_is_refused_and_text_outside_of_values_is_not_kept() -> None:
    chunk = b"x" * 10_000
    outside = [b'{"a":"', *[chunk] * 100, b'","', *[chunk] * 100, b'":1,"value":[1]}']
    assert [raw for _, _, raw in split(outside, limit=20_000)] == [b"1"]
    with pytest.raises(ListFormatError, match=r"a record is larger than 20000 bytes, at byte 10"):
        split([b'{"value":["', *[chunk] * 4, b'"]}'], limit=20_000)


def test_text_that_ends_early_is_cut_short() -> None:
    text = b'{"a":[1,"x\\"",{}],"value":[{"b":2}]}'
    for length in range(len(text)):
        with pytest.raises(ListCutShortError):
            split([text[:length]])
    assert len(split([text])) == 1
