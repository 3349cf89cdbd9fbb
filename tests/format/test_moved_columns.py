"""Tables whose columns are not where, or not what, a reader would take them for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hashsieve.errors import ListError
from hashsieve.lists import ListOptions, read_list
from hashsieve.model import Role


def md5(number: int) -> str:
    return hashlib.md5(b"moved %d" % number).hexdigest()


def sha256(number: int) -> str:
    return hashlib.sha256(b"moved %d" % number).hexdigest()


def records(folder: Path, text: str, **options: object):
    path = folder / "list.csv"
    path.write_text(text)
    reading = read_list(path, ListOptions(role=Role.KNOWN_BAD, **options))  # type: ignore[arg-type]
    return list(reading), reading.report


def test_a_profile_decides_by_a_column_that_is_called_category(tmp_path: Path) -> None:
    rows = "".join(f"{md5(n)},{n}\n" for n in (0, 1, 2, 5))
    found, _ = records(tmp_path, "MD5,Category\n" + rows, profile="us")
    assert [each.listing.role for each in found] == [
        Role.UNDECIDED,
        Role.KNOWN_BAD,
        Role.KNOWN_BAD,
        Role.KNOWN_GOOD,
    ]


@pytest.mark.parametrize("before", ["sep=;\n", "Report of last year\n\n", "sep=;\nReport\n"])
def test_columns_are_taken_by_name_below_a_title(tmp_path: Path, before: str) -> None:
    text = before + "imphash;sha256\n" + "".join(f"{md5(n)};{sha256(n)}\n" for n in range(5))
    found, _ = records(tmp_path, text)
    assert [dict(each.digests) for each in found] == [{"sha256": bytes.fromhex(sha256(n))} for n in range(5)]


@pytest.mark.parametrize("name", ["ntlm hash", "xxh128", "parent md5", "imphash"])
def test_a_table_of_values_that_are_no_digests_of_files_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ListError):
        records(tmp_path, f"name,{name}\n" + "".join(f"file {n},{md5(n)}\n" for n in range(5)))


@pytest.mark.parametrize("name", ["imphash", "NTLM", "NT hash", "Parent MD5"])
def test_a_list_that_says_it_holds_something_else_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ListError):
        records(tmp_path, f"{name}\n" + "".join(f"{md5(n)}\n" for n in range(5)))


ICSE_HEADER = "MD5;SHA1;PhotoDNA;Image ID;Dist;New;Own;Series;Victim;Media;File available;Baseline\n"


def icse(folder: Path, *rows: str, profile: str | None = None):
    path = folder / "icse.csv"
    path.write_text(ICSE_HEADER + "".join(f"{row}\n" for row in rows))
    reading = read_list(path, ListOptions(profile=profile, format="icse"))
    return list(reading), reading.report


def icse_row(number: int, series: str, available: str, baseline: str) -> str:
    return f"{md5(number)};;;{number};y;n;n;{series};1;Image;{available};{baseline}"


def test_a_delimiter_in_the_name_of_a_series_neither_raises_nor_loses_a_role(tmp_path: Path) -> None:
    good = [icse_row(n, "series", "y", "Yes" if n % 2 else "No") for n in range(50)]
    moved = [icse_row(100, "a;b", "y", "No"), icse_row(101, "a;b", "Image", "Yes")]
    found, report = icse(tmp_path, *good, *moved)
    roles = {each.listing.ref: each.listing.role for each in found}
    assert "100" not in roles or roles["100"] == Role.UNDECIDED
    assert roles["101"] == Role.KNOWN_BAD
    assert sum(role == Role.KNOWN_BAD for role in roles.values()) == 25 + 1
    assert report.refused == {"ambiguous-columns": 1}


def test_a_profile_of_another_scheme_leaves_the_baseline_as_it_is(tmp_path: Path) -> None:
    found, _ = icse(tmp_path, icse_row(1, "series", "y", "Yes"), profile="us")
    assert [each.listing.role for each in found] == [Role.KNOWN_BAD]
