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
