"""MISP events, hashlookup answers and shared signals: which records count, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from list_files import BAD, hexes, md5, read, sha1, sha256, write, write_json

from hashsieve.errors import ListCutShortError, ListEmptyError, ListFormatError
from hashsieve.lists import ListOptions, detect
from hashsieve.model import Listing, Record, Role


def attribute(type: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"type": type, "value": value, "to_ids": True, "uuid": f"u-{value[-4:]}", "comment": "Jane Doe"} | more


def event(*attributes: Any, objects: Any = (), **more: Any) -> dict[str, Any]:
    inner = {"info": "Jane Doe", "threat_level_id": "1", "Attribute": list(attributes), "Object": list(objects)}
    return {"Event": inner | more}


def misp_object(*attributes: Any, **more: Any) -> dict[str, Any]:
    return {"name": "file", "uuid": "o-1", "Attribute": list(attributes)} | more


def test_attributes_of_the_types_of_digests_count(tmp_path: Path) -> None:
    document = event(
        attribute("md5", md5(1).upper()),
        attribute("filename|sha256", f"a|b.exe|{sha256(2)}"),
        attribute("malware-sample", f"x.exe|{md5(3)}", data="AAAA"),
        attribute("filename", "Jane Doe"),
        attribute("ssdeep", "3:x:y"),
        attribute("filename|tlsh", "x|T1"),
        attribute("sha512", sha256(1) * 2),
        attribute("imphash", md5(9)),
        attribute("sha1", sha1(4), to_ids=False),
        attribute("sha1", sha1(5), to_ids="0"),
        attribute("md5", "xyz "),
        attribute("sha1", sha1(6), to_ids="1", deleted="0"),
    )
    records, report = read(write_json(tmp_path / "list.json", document), BAD)
    assert records[0] == Record(
        {"md5": bytes.fromhex(md5(1))}, None, Listing("list.json", Role.KNOWN_BAD, None, f"u-{md5(1)[-4:].upper()}")
    )
    found = [text for kind in ("md5", "sha1", "sha256") for text in hexes(records, kind)]
    assert found == [md5(1), md5(3), sha1(6), sha256(2)]
    assert (report.format, report.refused) == ("misp", {"not-hex": 1})
    assert report.dropped == {"other-type": 1, "similarity": 2, "unsupported-kind": 2, "not-for-detection": 2}
    assert "Jane" not in repr((records, report))


def test_the_attributes_of_an_object_are_one_file(tmp_path: Path) -> None:
    one = misp_object(
        attribute("filename", "Jane"),
        attribute("size-in-bytes", "14", object_relation="size-in-bytes"),
        attribute("md5", md5(1)),
        attribute("sha256", sha256(1)),
    )
    two = misp_object(attribute("md5", md5(2)), attribute("md5", md5(3)), attribute("sha1", sha1(3)), uuid="o-2")
    records, _ = read(write_json(tmp_path / "list", event(objects=[one, two])), BAD)
    assert [(sorted(record.digests), record.size_bytes, record.listing.ref) for record in records] == [
        (["md5", "sha256"], 14, "o-1"), (["md5"], None, "o-2"), (["sha1"], None, "o-2"), (["md5"], None, "o-2"),
    ]  # fmt: skip


def test_deleted_things_become_removals_and_the_latest_state_counts(tmp_path: Path) -> None:
    document = event(
        attribute("md5", md5(1), uuid="a", timestamp="100"),
        attribute("md5", md5(1), uuid="a", timestamp="200", deleted=True),
        attribute("md5", md5(2), uuid="b", timestamp="300"),
        attribute("md5", md5(3), uuid="b", timestamp="299"),
        objects=[
            misp_object(attribute("md5", md5(4)), deleted=True),
            misp_object(attribute("md5", md5(5)), attribute("sha1", sha1(5), deleted=True), uuid="c"),
        ],
    )
    records, report = read(write_json(tmp_path / "list", document), BAD)
    assert [(record.op, record.listing.ref) for record in records] == [
        ("remove", "a"), ("add", "b"), ("remove", "o-1"), ("add", "c"),
    ]  # fmt: skip
    assert hexes(records, "md5") == [md5(2), md5(5)]
    assert report.dropped == {"superseded": 2, "withdrawn": 3}


@pytest.mark.parametrize(
    "document",
    [
        event(attribute("md5", md5(1))),
        [event(attribute("md5", md5(1)))],
        {"response": [event(attribute("md5", md5(1)))]},
        {"response": event(attribute("md5", md5(1)))},
        {"response": {"Attribute": [attribute("md5", md5(1))]}},
        {"Attribute": [attribute("md5", md5(1))]},
        event(objects=[misp_object(attribute("md5", md5(1)))]),
    ],
)
def test_all_shapes_of_misp_documents_are_read(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "list"
    path.write_text(json.dumps(document))
    assert detect(path.read_bytes(), "x").format == "misp"
    assert hexes(read(path, BAD)[0], "md5") == [md5(1)]


def test_several_events_one_a_line_are_read(tmp_path: Path) -> None:
    lines = "".join(json.dumps(event(attribute("md5", md5(number)))) + "\n" for number in range(3))
    assert hexes(read(write(tmp_path / "list", lines), BAD)[0], "md5") == [md5(number) for number in range(3)]


def test_a_feed_manifest_is_refused_with_the_reason(tmp_path: Path) -> None:
    manifest = {"57c4445b-c548-4654-af0b-4be3950d210f": {"Orgc": {"name": "x"}, "info": "x", "threat_level_id": 1}}
    with pytest.raises(ListFormatError, match="manifest of a MISP feed"):
        read(write_json(tmp_path / "manifest.json", manifest), BAD)


def answer(number: int, **more: Any) -> dict[str, Any]:
    base = {"FileName": "Jane Doe", "FileSize": "14", "MD5": md5(number).upper(), "SHA-1": sha1(number).upper()}
    return base | {"source": "NSRL"} | more


GOOD = ListOptions(role=Role.KNOWN_GOOD)


@pytest.mark.parametrize("shape", ["one", "array", "lines", "pretty"])
def test_hashlookup_answers_in_all_shapes(tmp_path: Path, shape: str) -> None:
    answers = [answer(1)] if shape == "one" else [answer(1), answer(2)]
    text = {
        "one": json.dumps(answers[0]),
        "array": json.dumps(answers),
        "lines": "".join(json.dumps(each) + "\n" for each in answers),
        "pretty": json.dumps(answers, indent=2),
    }[shape]
    records, report = read(write(tmp_path / "list", text), GOOD)
    assert (hexes(records, "md5"), report.format) == ([md5(1), md5(2)][: len(answers)], "hashlookup")
    assert [record.size_bytes for record in records] == [14] * len(answers)
    assert "Jane" not in repr((records, report))


@pytest.mark.parametrize(
    ("given", "role"), [("known-good", "undecided"), ("trusted", "undecided"), ("known-bad", "known-bad")]
)
def test_what_hashlookup_calls_malicious_is_never_known_good(tmp_path: Path, given: str, role: str) -> None:
    text = json.dumps([answer(1, KnownMalicious="x"), answer(2, KnownMalicious=None), answer(3)])
    records, _ = read(write(tmp_path / "list", text), ListOptions(role=Role(given)))
    assert [(record.listing.role, record.listing.category) for record in records] == [
        (role, "known-malicious"), (given, None), (given, None),
    ]  # fmt: skip


def test_a_hashlookup_report_gives_what_was_known(tmp_path: Path) -> None:
    report_text = {
        "known_files": [{"FileName": "Jane", "hash": sha1(1).upper()}, {"FileName": "x", "hash": "nothing"}],
        "unknown_files": [{"FileName": "y", "hash": sha1(2)}],
    }
    records, report = read(write_json(tmp_path / "list", report_text), GOOD)
    assert (hexes(records, "sha1"), report.refused, report.dropped) == ([sha1(1)], {"not-hex": 1}, {"not-listed": 1})


def test_stopncii_signals(tmp_path: Path) -> None:
    def signal(kind: str, value: str, status: str = "Active", time: int = 1) -> dict[str, Any]:
        return {"lastModtimestamp": time, "signalType": kind, "hashValue": value, "hashStatus": status,
                "caseNumbers": {"Jane": "Doe"}, "CSPFeedbacks": []}  # fmt: skip

    document = {
        "count": 9,
        "hashRecords": [
            signal("VideoMD5", md5(1)),
            signal("VideoMD5", md5(2), "Received"),
            signal("VideoMD5", md5(3), "Withdrawn"),
            signal("VideoMD5", md5(4), time=5),
            signal("VideoMD5", md5(4).upper(), "Deleted", time=6),
            signal("ImagePDQ", sha256(1)),
            signal("VideoTMK", "x"),
            signal("VideoMD5", "xyz"),
        ],
        "nextPageToken": "x",
    }
    records, report = read(write_json(tmp_path / "list", document), BAD)
    assert (hexes(records, "md5"), report.format) == ([md5(1), md5(2)], "signals-json")
    assert report.refused == {"not-hex": 1}
    assert report.dropped == {"withdrawn": 2, "superseded": 1, "similarity": 2}
    assert "Jane" not in repr((records, report))


@pytest.mark.parametrize("array", [True, False])
def test_tech_against_terrorism_signals(tmp_path: Path, array: bool) -> None:
    def signal(number: int, **more: Any) -> dict[str, Any]:
        base = {
            "hash_digest": md5(number),
            "algorithm": "MD5",
            "ideology": "Jane",
            "file_type": "mov",
            "deleted": False,
        }
        return base | {"updated_on": f"2026-01-0{number}T00:00:00Z", "id": number} | more

    signals = [signal(1), signal(2, deleted=True), signal(3, algorithm="SHA256", hash_digest=sha256(3)),
               signal(4, algorithm="PDQ"), signal(1, updated_on="2026-02-01", hash_digest=md5(9))]  # fmt: skip
    path = tmp_path / "list"
    path.write_text(json.dumps(signals if array else {"results": signals, "next": None}))
    records, report = read(path, BAD)
    assert [(record.op, record.listing.ref, sorted(record.digests)) for record in records] == [
        ("remove", "2", []), ("add", "3", ["sha256"]), ("add", "1", ["md5"]),
    ]  # fmt: skip
    assert hexes(records, "md5") == [md5(9)]
    assert report.dropped == {"withdrawn": 1, "similarity": 1, "superseded": 1}
    assert "Jane" not in repr((records, report))


def test_threatexchange_indicators(tmp_path: Path) -> None:
    data = [
        {"id": "1", "indicator": md5(1), "type": "HASH_MD5", "last_updated": 1},
        {"id": "2", "indicator": {"id": "7", "indicator": "x"}, "raw_indicator": sha256(2), "type": "HASH_SHA256"},
        {"id": "3", "indicator": "x", "type": "HASH_PDQ"},
        {"id": "4", "indicator": md5(4), "type": "HASH_VIDEO_MD5", "should_delete": True},
        {"id": "5", "indicator": "example.com", "type": "DOMAIN"},
        {"id": "6", "indicator": {"x": 1}, "type": "HASH_MD5"},
    ]
    records, report = read(write_json(tmp_path / "list", {"data": data, "paging": {}}), BAD)
    assert [(record.op, record.listing.ref) for record in records] == [("add", "1"), ("add", "2"), ("remove", "4")]
    assert report.dropped == {"similarity": 1, "withdrawn": 1, "other-type": 1}
    assert report.refused == {"empty-value": 1}


@pytest.mark.parametrize(
    ("document", "name"),
    [
        ({"objects": [{"id": "file--1", "type": "file", "hashes": {"MD5": md5(1)}}], "type": "bundle"}, "stix"),
        (event(attribute("md5", md5(1))), "misp"),
        ([answer(1)], "hashlookup"),
        ({"hashRecords": [{"signalType": "VideoMD5", "hashValue": md5(1)}]}, "signals-json"),
    ],
)
def test_json_lists_fail_wherever_they_are_cut(tmp_path: Path, document: Any, name: str) -> None:
    text = json.dumps(document).encode()
    options = ListOptions(role=Role.KNOWN_BAD, format=name)
    for length in range(len(text)):
        with pytest.raises(ListEmptyError if not length else ListCutShortError):
            read(write(tmp_path / "list", text[:length]), options)
    assert hexes(read(write(tmp_path / "list", text), options)[0], "md5") == [md5(1)]
    assert detect(text, "x").format == name


@pytest.mark.parametrize("name", ["stix", "misp", "hashlookup", "signals-json"])
def test_deep_nesting_in_a_record_costs_that_record_only(tmp_path: Path, name: str) -> None:
    member = {"stix": "objects", "misp": "Attribute", "hashlookup": "known_files", "signals-json": "data"}[name]
    deep = '{"x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    good = {
        "stix": {"type": "file", "hashes": {"MD5": md5(1)}},
        "misp": attribute("md5", md5(1)),
        "hashlookup": {"hash": md5(1)},
        "signals-json": {"type": "HASH_MD5", "indicator": md5(1)},
    }[name]
    text = f'{{"{member}": [{deep}, {json.dumps(good)}]}}'
    records, report = read(write(tmp_path / "list", text), ListOptions(role=Role.KNOWN_BAD, format=name))
    assert (hexes(records, "md5"), report.refused) == ([md5(1)], {"malformed-record": 1})
