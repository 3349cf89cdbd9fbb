"""STIX bundles: which files a pattern means, which objects count, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from list_files import BAD, hexes, md5, read, sha1, sha256, write_json

from hashsieve.errors import ListEmptyError
from hashsieve.lists import ListOptions, detect
from hashsieve.lists.stix_pattern import MAX_ALTERNATIVES, PatternError, files_meant
from hashsieve.model import Listing, Record, Role

A, B, C = md5(1), sha1(2), sha256(3)


def meant(pattern: str) -> list[tuple[dict[str, str], int | None]]:
    return [({kind.value: text for kind, text in file.digests}, file.size_bytes) for file in files_meant(pattern).files]


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        (f"[file:hashes.MD5 = '{A}']", [({"md5": A}, None)]),
        (f"[file:hashes.md5 = '{A}']", [({"md5": A}, None)]),
        (f"[file:hashes.'SHA-1'='{B}']", [({"sha1": B}, None)]),
        (f"[ file:hashes.'SHA-256' == '{C}' ]", [({"sha256": C}, None)]),
        (f'[file:hashes."SHA-256" = \'{C}\']', [({"sha256": C}, None)]),
        (f"[file:hashes.'MD-5' = '{A}' OR file:hashes.'SHA-2' = '{C}']", [({"md5": A}, None), ({"sha256": C}, None)]),
        (f"[artifact:hashes.MD5 = '{A}']", [({"md5": A}, None)]),
        (f"[file:content_ref.hashes.MD5 = '{A}']", [({"md5": A}, None)]),
        (f"[file:hashes.MD5 = h'{A}']", [({"md5": A}, None)]),
        (f"[file:hashes.MD5 IN ('{A}', '{md5(5)}')]", [({"md5": A}, None), ({"md5": md5(5)}, None)]),
        (f"[file:hashes.MD5 = '{A}' AND file:size = 13]", [({"md5": A}, 13)]),
        (f"[file:hashes.MD5 = '{A}' AND file:hashes.'SHA-1' = '{B}']", [({"md5": A, "sha1": B}, None)]),
        (f"[file:hashes.MD5 = '{A}' AND file:name = 'it\\'s [x] OR NOT']", [({"md5": A}, None)]),
        (f"[file:name LIKE 'a%' AND (file:hashes.MD5 = '{A}' OR file:hashes.'SHA-1' = '{B}') AND file:size = 5]",
         [({"md5": A}, 5), ({"sha1": B}, 5)]),
        (f"[file:hashes.MD5 = '{A}' AND file:hashes.SSDEEP = '3:x:y']", [({"md5": A}, None)]),
        (f"[file:hashes.MD5 = '{A}' AND file:size > 5]", [({"md5": A}, None)]),
        (f"[file:hashes.MD5 = '{A}'] OR [file:hashes.'SHA-1' = '{B}']", [({"md5": A}, None), ({"sha1": B}, None)]),
        (f"([file:hashes.MD5 = '{A}'])", [({"md5": A}, None)]),
        (f"[file:hashes.MD5 = '{A}' OR ipv4-addr:value = '198.51.100.1/32']", [({"md5": A}, None)]),
        (f"[file:hashes.MD5 = '{A}' OR file:hashes.MD5 = '{A}']", [({"md5": A}, None)]),
        (f"[EXISTS file:name AND file:hashes.MD5 = '{A}']", [({"md5": A}, None)]),
        (f"[file:hashes.MD5 = '{A}' and file:size = 1]", [({"md5": A}, 1)]),
    ],
)  # fmt: skip
def test_files_that_a_pattern_means(pattern: str, files: Any) -> None:
    assert meant(pattern) == files


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (f"[file:hashes.MD5 != '{A}']", "negated"),
        (f"[file:hashes.MD5 NOT = '{A}']", "negated"),
        (f"[NOT file:hashes.MD5 = '{A}']", "negated"),
        (f"[file:hashes.MD5 NOT IN ('{A}')]", "negated"),
        (f"[file:hashes.MD5 = '{A}' AND file:name != 'x']", "negated"),
        (f"[file:hashes.MD5 = '{A}' AND process:pid = 1]", "other-type"),
        (f"[file:hashes.MD5 LIKE '{A}%']", "no-whole-digest"),
        (f"[file:hashes.MD5 MATCHES '{A}']", "no-whole-digest"),
        (f"[file:hashes.MD5 = '{A}'] AND [file:hashes.'SHA-1' = '{B}']", "needs-several-files"),
        (f"[file:hashes.MD5 = '{A}'] FOLLOWEDBY [file:hashes.MD5 = '{A}']", "needs-several-files"),
        (f"[file:hashes.MD5 = '{A}'] REPEATS 5 TIMES", "needs-several-files"),
        (f"[file:hashes.MD5 = '{A}'] WITHIN 60 SECONDS", "needs-several-files"),
        (
            f"[file:hashes.MD5 = '{A}'] START t'2020-01-01T00:00:00Z' STOP t'2021-01-01T00:00:00Z'",
            "needs-several-files",
        ),
        ("[domain-name:value = 'example.com']", "other-type"),
        ("[file:hashes.SSDEEP = '3:x:y']", "similarity"),
        (f"[file:hashes.'SHA-512' = '{C}{C}']", "unsupported-kind"),
        ("[file:name = 'x' AND file:size = 5]", None),
        (f"[file:hashes.MD5 = '{A}' AND file:hashes.MD5 = '{md5(2)}']", None),
        (f"[file:hashes.MD5 = '{A}' AND file:size = 1 AND file:size = 2]", None),
    ],
)
def test_patterns_that_mean_no_single_file(pattern: str, reason: str | None) -> None:
    meaning = files_meant(pattern)
    assert meaning.files == []
    assert list(meaning.left_out)[:1] == ([reason] if reason else [])


@pytest.mark.parametrize(
    "pattern",
    ["", "[", "[]", "file:name = 'x'", "[file:name = 'x'", "[file:name = 'x']]", "[file:name 'x']", "[file:name = ]",
     "[§]",
     "[file:hashes.MD5 = 'x' OR]", "[file:name = 'x'] WITHIN 5", "[" + "(" * 60 + "file:name = 'x'" + ")" * 60 + "]",
     "(" * 100_000, "[file:name = '" + "x" * (1 << 20) + "']",
     "[" + " AND ".join("(" + " OR ".join(["file:hashes.MD5 = 'x'"] * 20) + ")" for _ in range(5)) + "]"],
    ids=range(15),
)  # fmt: skip
def test_what_is_no_pattern_or_too_large_a_one_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        files_meant(pattern)


TERMS = st.sampled_from(
    [f"file:hashes.MD5 = '{A}'", f"file:hashes.'SHA-1' = '{B}'", "file:size = 3", "file:name != 'x'", "process:pid = 1"]
)
EXPRESSIONS = st.recursive(
    TERMS, lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["AND", "OR"]), inner), max_leaves=8
)


def evaluate(expression: str, digest: str) -> bool:
    """Whether *expression* holds for sure for a file of which only this digest and the size 3 are known."""
    terms = {f"file:hashes.MD5 = '{A}'": digest == A, f"file:hashes.'SHA-1' = '{B}'": digest == B,
             "file:size = 3": True, "file:name != 'x'": False, "process:pid = 1": False}  # fmt: skip
    for term, value in terms.items():
        expression = expression.replace(term, str(value))
    return bool(eval(expression.replace("AND", "and").replace("OR", "or")))


@settings(max_examples=200, deadline=None)
@given(expression=EXPRESSIONS)
def test_a_single_digest_is_meant_exactly_where_it_settles_the_pattern(expression: str) -> None:
    alone = {text for digests, _ in meant(f"[{expression}]") if len(digests) == 1 for text in digests.values()}
    for digest in (A, B):
        if evaluate(expression, digest) and not evaluate(expression, "neither"):
            assert digest in alone
        if digest in alone:
            assert evaluate(expression, digest)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from([*"[]()',=", "file:hashes.MD5", "'x'", " AND ", " OR ", " NOT ", "IN", "5", "WITHIN", "\\"]),
        max_size=20,
    )
)
def test_any_text_is_a_pattern_or_refused(parts: list[str]) -> None:
    try:
        assert len(files_meant("".join(parts)).files) <= MAX_ALTERNATIVES
    except PatternError:
        pass


def indicator(number: int, pattern: str, **more: Any) -> dict[str, Any]:
    """An indicator as platforms write it."""
    times = {"modified": "2026-01-01T00:00:00Z", "valid_from": "2026-01-01T00:00:00Z"}
    base = {"type": "indicator", "id": f"indicator--{number}", "name": "Jane Doe", "pattern_type": "stix", **times}
    base["pattern"] = pattern
    return base | more


def bundle(*objects: Any) -> dict[str, Any]:
    return {"type": "bundle", "id": "bundle--1", "objects": list(objects)}


def test_objects_become_records_with_their_id(tmp_path: Path) -> None:
    hashes = {"MD5": md5(1), "SHA-256": sha256(1).upper(), "SSDEEP": "3:x:y", "SHA-512": sha256(1) * 2}
    path = write_json(
        tmp_path / "list.json",
        bundle(
            {"type": "identity", "id": "identity--1", "name": "Jane Doe"},
            {"type": "file", "id": "file--1", "name": "Jane Doe", "hashes": hashes, "size": 14},
            indicator(1, f"[file:hashes.MD5 = '{md5(2)}' OR file:hashes.'SHA-1' = '{sha1(3)}']"),
            {"type": "observed-data", "id": "o--1", "objects": {"0": {"type": "file", "hashes": {"MD5": md5(4)}}}},
            {"type": "x509-certificate", "id": "x--1", "hashes": {"MD5": md5(9)}},
            {"type": "file", "id": "file--2", "name": "no hashes"},
        ),
    )
    records, report = read(path, BAD)

    def record(digests: dict[str, str], size: int | None, ref: str) -> Record:
        raw = {kind: bytes.fromhex(text) for kind, text in digests.items()}
        return Record(raw, size, Listing("list.json", Role.KNOWN_BAD, None, ref))

    assert records == [
        record({"md5": md5(1), "sha256": sha256(1)}, 14, "file--1"),
        record({"md5": md5(2)}, None, "indicator--1"),
        record({"sha1": sha1(3)}, None, "indicator--1"),
        record({"md5": md5(4)}, None, "o--1"),
    ]
    assert (report.format, report.dropped) == ("stix", {"similarity": 1, "unsupported-kind": 1})
    assert "Jane" not in repr((records, report))


def test_withdrawn_expired_superseded_and_foreign_patterns_are_left_out(tmp_path: Path) -> None:
    good = [f"[file:hashes.MD5 = '{md5(number)}']" for number in range(9)]
    objects = [
        indicator(0, good[0]),
        indicator(1, good[1], revoked=True),
        indicator(2, good[2], valid_until="2026-01-02T00:00:00Z"),
        indicator(3, good[3], valid_until="9999-01-02T00:00:00Z"),
        indicator(4, good[4], pattern_type="yara"),
        indicator(5, good[5], modified="2026-02-01T00:00:00.002Z"),
        indicator(5, good[6], modified="2026-02-01T00:00:00.001Z"),
        indicator(7, good[7]),
        indicator(7, good[7], modified="2026-02-01T00:00:00Z", revoked=True),
    ]
    records, report = read(write_json(tmp_path / "list", bundle(*objects)), BAD)
    assert hexes(records, "md5") == [md5(0), md5(3), md5(5)]
    assert [record.listing.ref for record in records if record.op == "remove"] == ["indicator--1", "indicator--7"]
    assert report.dropped == {"withdrawn": 2, "expired": 1, "other-type": 1, "superseded": 2}


def test_a_benign_indicator_is_never_known_bad(tmp_path: Path) -> None:
    path = write_json(tmp_path / "list", bundle(indicator(1, f"[file:hashes.MD5 = '{A}']", indicator_types=["Benign"])))
    for given_role, role in (("known-bad", "known-good"), ("undecided", "known-good"), ("trusted", "trusted")):
        assert [record.listing.role for record in read(path, ListOptions(role=Role(given_role)))[0]] == [role]


def test_bad_objects_are_refused_by_number(tmp_path: Path) -> None:
    objects = [indicator(1, f"[file:hashes.MD5 = '{A}']"), indicator(2, "[file:"), 5, {"type": 7},
               indicator(3, "[file:hashes.MD5 = 'xyz']")]  # fmt: skip
    records, report = read(write_json(tmp_path / "list", bundle(*objects)), BAD)
    assert hexes(records, "md5") == [A]
    assert report.refused == {"malformed-pattern": 1, "wrong-type": 2, "not-hex": 1}
    assert [problem.position for problem in report.problems] == ["object 2", "object 3", "object 4", "object 5"]


def test_envelopes_and_arrays_of_bundles_are_read_and_others_are_not(tmp_path: Path) -> None:
    inner = [indicator(1, f"[file:hashes.MD5 = '{A}']")]
    for document in ({"more": False, "objects": inner}, [bundle(*inner)], {"objects": inner, "type": "bundle"}):
        path = tmp_path / "list"
        path.write_text(json.dumps(document))
        assert detect(path.read_bytes(), "x").format == "stix"
        assert hexes(read(path, BAD)[0], "md5") == [A]
    with pytest.raises(ListEmptyError):
        read(write_json(tmp_path / "list", bundle()), BAD)
