"""XML lists: NCMEC hash sharing pages and DFXML, and documents that are out to do harm."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from list_files import BAD, hexes, md5, read, sha1, sha256, write

from hashsieve.errors import ListCutShortError, ListError, ListFormatError, UsageError
from hashsieve.lists import ListOptions, detect, xml_stream
from hashsieve.model import Listing, Record, Role

PLAIN = ListOptions()
NAMESPACE = "https://hashsharing.ncmec.org/hashsharing/v2"


def entry(
    number: int, *, tag: str = "image", member: int = 42, time: str = "2026-01-02T03:04:05Z", **parts: str
) -> str:
    """An entry; *parts* replace the classification, the fingerprints or the feedback."""
    parts = {"classification": "A1", "fingerprints": f"<md5>{md5(number)}</md5>", "feedback": ""} | parts
    inner = "".join(f"<{name}>{text}</{name}>" for name, text in parts.items())
    who = f'<member id="{member}">Jane Doe &amp; Co</member>'
    return f"<{tag}>{who}<timestamp>{time}</timestamp><id>e{number}</id>{inner}</{tag}>"


def deleted(number: int, *, tag: str = "deletedImage", member: int = 42, time: str = "2026-01-03T00:00:00Z") -> str:
    """A tombstone."""
    return f'<{tag}><member id="{member}">J</member><id>e{number}</id><timestamp>{time}</timestamp></{tag}>'


def page(entries: Iterable[str], namespace: str = f' xmlns="{NAMESPACE}"') -> str:
    """A page of the interface."""
    return (
        f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<queryResult{namespace}>'
        f'<images count="99" maxTimestamp="2026-01-03T00:00:00Z">{"".join(entries)}</images>'
        f"<paging><next>/v2/entries?a=1&amp;start=2001</next></paging></queryResult>"
    )


def ncmec(tmp_path: Path, *entries: str, options: ListOptions = PLAIN) -> tuple[list[Record], Any]:
    return read(write(tmp_path / "page.xml", page(entries)), options)


def test_an_entry_gives_its_digests_grade_and_id_and_nothing_else(tmp_path: Path) -> None:
    prints = f"<md5>{md5(1)}</md5><sha1>{sha1(1).upper()}</sha1><pdna>AAAA</pdna><pdq>{sha256(1)}</pdq>"
    links = '<tmk-pdqf rel="self" href="/v2/entries/1/fingerprints/TMK_PDQF"/><videntifier href="x"/>'
    records, report = ncmec(tmp_path, entry(1, fingerprints=prints + links))
    digests = {"md5": bytes.fromhex(md5(1)), "sha1": bytes.fromhex(sha1(1))}
    assert records == [Record(digests, None, Listing("page.xml", Role.KNOWN_BAD, "A1", "42/e1"))]
    assert (report.format, report.role, report.dropped) == ("ncmec", "by-category", {"similarity": 4})
    assert "Jane" not in repr((records, report))


@pytest.mark.parametrize(
    ("classification", "category", "role"),
    [("A1", "A1", "known-bad"), ("A2", "A2", "known-bad"), ("B1", "B1", "known-bad"), (" B2 ", "B2", "known-bad"),
     ("", None, "undecided"), ("C9", "C9", "undecided")],
)  # fmt: skip
def test_the_classification_decides(tmp_path: Path, classification: str, category: str | None, role: str) -> None:
    records, _ = ncmec(tmp_path, entry(1, classification=classification))
    assert (records[0].listing.category, records[0].listing.role) == (category, role)


def test_profiles_of_other_schemes_do_not_apply_a_file_does_and_a_role_only_lowers(tmp_path: Path) -> None:
    own = write(tmp_path / "own", "A1 = undecided\nC9 = known-bad\n")
    for options, roles in (
        (ListOptions(profile="us"), ["known-bad", "undecided"]),
        (ListOptions(profile=str(own)), ["undecided", "known-bad"]),
        (ListOptions(role=Role.UNDECIDED), ["undecided", "undecided"]),
        (ListOptions(role=Role.KNOWN_BAD), ["known-bad", "undecided"]),
    ):
        records, _ = ncmec(tmp_path, entry(1), entry(2, classification="C9"), options=options)
        assert [record.listing.role for record in records] == roles
    with pytest.raises(UsageError, match="only lower"):
        ncmec(tmp_path, entry(1), options=ListOptions(role=Role.TRUSTED))


def test_a_tombstone_becomes_a_removal_and_cancels_the_entry_of_the_same_list(tmp_path: Path) -> None:
    records, report = ncmec(tmp_path, entry(1), deleted(1), entry(2), deleted(3, tag="deletedVideo"))
    assert [(record.op, record.listing.ref) for record in records] == [
        ("remove", "42/e1"), ("add", "42/e2"), ("remove", "42/e3"),
    ]  # fmt: skip
    assert report.dropped == {"superseded": 1}
    assert [dict(record.digests) for record in records if record.op == "remove"] == [{}, {}]


def test_the_latest_state_counts_in_any_order_and_ids_belong_to_members(tmp_path: Path) -> None:
    old, new = "2026-01-01T00:00:00Z", "2026-01-04T00:00:00.5Z"
    records, _ = ncmec(
        tmp_path,
        entry(1, time=new, classification="B2"),
        entry(1, time=old),
        deleted(2),
        entry(2, time=new),
        entry(1, time=old, member=43),
    )
    found = [(record.op, record.listing.ref, record.listing.category) for record in records]
    assert found == [("add", "42/e1", "B2"), ("add", "42/e2", "A1"), ("add", "43/e1", "A1")]


def test_a_disputed_digest_stands_apart_and_is_undecided_unless_mapped(tmp_path: Path) -> None:
    prints = f"<md5>{md5(1)}</md5><sha1>{sha1(1)}</sha1>"
    reason = '<reasons><reason guid="g" name="Jane Doe" type="Sha1"/></reasons>'
    feedback = f'<affirmativeFeedback type="Md5"/><negativeFeedback type="Sha1">{reason}</negativeFeedback>'
    disputed = entry(1, fingerprints=prints, feedback=feedback)
    records, report = ncmec(tmp_path, disputed)
    assert [(list(record.digests), record.listing.category, record.listing.role) for record in records] == [
        (["md5"], "A1", "known-bad"), (["sha1"], "A1 disputed", "undecided"),
    ]  # fmt: skip
    assert "Jane" not in repr((records, report))
    own = write(tmp_path / "own", "A1 = known-bad\nA1 disputed = known-bad\n")
    records, _ = ncmec(tmp_path, disputed, options=ListOptions(profile=str(own)))
    assert {record.listing.role for record in records} == {Role.KNOWN_BAD}


def test_bad_digests_are_refused_and_universal_ones_dropped(tmp_path: Path) -> None:
    records, report = ncmec(
        tmp_path,
        entry(1, fingerprints=f"<md5>{md5(1)[:31]}</md5>"),
        entry(2, fingerprints=f"<md5>{md5(2)}</md5><sha1>xyz</sha1>"),
        entry(3, fingerprints="<md5>d41d8cd98f00b204e9800998ecf8427e</md5>"),
        entry(4, fingerprints=""),
        entry(5, fingerprints=f"<md5> {md5(5)}\n</md5>"),
        "<deletedImage><member id='1'/></deletedImage>",
    )
    assert hexes(records, "md5") == [md5(2), md5(5)]
    assert report.refused == {"wrong-length": 1, "not-hex": 1, "no-digest": 1, "no-id": 1}
    assert report.dropped == {"empty-file": 1}


@pytest.mark.parametrize(
    "writing",
    [
        lambda text: text.encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("UTF-8", "iso-8859-1").replace("Jane", "Jané").encode("latin-1"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace(f' xmlns="{NAMESPACE}"', "").encode(),
        lambda text: text.replace("<image>", "<IMAGE>").replace("</image>", "</IMAGE>").encode(),
    ],
)  # fmt: skip
def test_encodings_namespaces_and_letter_case_make_no_difference(tmp_path: Path, writing: Any) -> None:
    path = write(tmp_path / "list", writing(page([entry(1), entry(2)])))
    records, report = read(path, PLAIN)
    assert (hexes(records, "md5"), report.format) == ([md5(1), md5(2)], "ncmec")


def test_prefixes_make_no_difference(tmp_path: Path) -> None:
    text = page([entry(1)], f' xmlns:h="{NAMESPACE}"')
    for name in ("queryResult", "images", "image", "md5", "id", "fingerprints"):
        for mark in ("<", "</"):
            text = text.replace(f"{mark}{name}>", f"{mark}h:{name}>").replace(f"{mark}{name} ", f"{mark}h:{name} ")
    assert hexes(read(write(tmp_path / "list", text), PLAIN)[0], "md5") == [md5(1)]


def test_a_page_that_is_cut_fails_wherever_it_is_cut(tmp_path: Path) -> None:
    text = page([entry(1), entry(2)]).encode()
    for length in range(1, len(text), 7):
        with pytest.raises(ListError):
            read(write(tmp_path / "list", text[:length]), ListOptions(format="ncmec"))
    with pytest.raises(ListCutShortError, match="ends before its root element"):
        read(write(tmp_path / "list", text[:-5]), PLAIN)


BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE = {
    "entities that multiply": f'<!DOCTYPE q [<!ENTITY a0 "x">{BOMB}]><queryResult>&a9;</queryResult>',
    "a file by an entity": '<!DOCTYPE q [<!ENTITY x SYSTEM "file:///etc/passwd">]><queryResult>&x;</queryResult>',
    "a document type from elsewhere": '<!DOCTYPE q SYSTEM "http://localhost:1/x.dtd"><queryResult/>',
    "an entity that is not declared": "<queryResult>&x;</queryResult>",
    "nesting": "<queryResult>" + "<a>" * 100_000,
    "a wrong root": "<html><image/></html>",
    "no XML": "queryResult",
    "two roots": "<queryResult></queryResult><queryResult/>",
    "control characters": "<queryResult>\x01</queryResult>",
    "wrong bytes": b"<queryResult>\xff\xfe</queryResult>",
    "an unknown encoding": '<?xml version="1.0" encoding="x-none"?><queryResult/>',
    "very many fingerprints": page([entry(1, fingerprints="<x/>" * 1000)]),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_documents_are_refused(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(ListFormatError):
        read(write(tmp_path / "list", text), ListOptions(format="ncmec"))


def test_a_huge_piece_of_markup_is_refused_and_huge_text_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xml_stream, "MAX_MARKUP_BYTES", 1 << 20)
    long = "x" * (3 << 20)
    with pytest.raises(ListFormatError, match="markup is larger"):
        ncmec(tmp_path, f'<image a="{long}"/>')
    records, _ = ncmec(tmp_path, entry(1, note=long), entry(2, fingerprints=f"<md5>{md5(2)}</md5><pdna>{long}</pdna>"))
    assert hexes(records, "md5") == [md5(1), md5(2)]


def dfxml(*files: str) -> str:
    """A document as hashdeep writes it."""
    return (
        "<?xml version='1.0' encoding='UTF-8'?>\n<dfxml xmloutputversion='1.0'>"
        "<creator><execution_environment><username>Jane Doe</username></execution_environment></creator>"
        + "".join(f"<fileobject><filename>Jane Doe</filename>{each}</fileobject>" for each in files)
        + "</dfxml>"
    )


def test_dfxml_gives_digests_of_whole_files_and_sizes(tmp_path: Path) -> None:
    text = dfxml(
        f"<filesize>14</filesize><hashdigest type='MD5'>{md5(1)}</hashdigest>"
        f"<hashdigest type='SHA256'>{sha256(1)}</hashdigest>",
        f"<byte_runs><byte_run><hashdigest type='md5'>{md5(9)}</hashdigest></byte_run></byte_runs>"
        f"<filesize>x</filesize><hashdigest type='sha1'>{sha1(2).upper()}</hashdigest>",
        "<name_type>d</name_type>",
        f"<md5>{md5(3)}</md5><hashdigest type='tlsh'>T1</hashdigest>",
        f"<hashdigest type='md5'>{md5(4)[:30]}</hashdigest>",
    )
    records, report = read(write(tmp_path / "list", text), BAD)
    assert [(sorted(record.digests), record.size_bytes) for record in records] == [
        (["md5", "sha256"], 14), (["sha1"], None), (["md5"], None),
    ]  # fmt: skip
    assert (report.format, report.refused) == ("dfxml", {"wrong-length": 1})
    assert report.dropped == {"piecewise": 1, "similarity": 1}
    assert "Jane" not in repr((records, report))


def test_detection_looks_at_the_root_only() -> None:
    assert detect(page([entry(1)]).encode(), "x").format == "ncmec"
    assert detect(dfxml().encode(), "x").format == "dfxml"
    assert detect(b"<!-- <queryResult> --><html></html>", "x").format is None
    assert detect(b"<!DOCTYPE queryResult><queryResult/>", "x").format is None
